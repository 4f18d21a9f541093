"""Every architecture trains: pretrain, finetune, resume, predict and evaluate, ResNets and hybrids as ViTs."""

from __future__ import annotations

import dataclasses
import json
import math
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from small_photos import CLASSES, write_photos, write_photos_with_test
from tiny_architectures import BIT, HYBRID, TINY

import vitreous as vt
from vitreous.config import TrainOptions
from vitreous.errors import ConfigError
from vitreous.model import prepare
from vitreous.model.create import Model
from vitreous.schema import to_json
from vitreous.training.job import Run, plan
from vitreous.training.plan import make_plan
from vitreous.training.spelled import spelled_config
from vitreous.training.tell import describe

QUICK: dict[str, Any] = {"batch_size": 12, "threads": 1, "precision": "float32"}
LONGER = {HYBRID.name: 24, BIT.name: 24}  # steps; others take four, the last with a learning rate of 0

Runs = Callable[[str], Run]


@pytest.fixture(scope="module", autouse=True)
def quick_measuring() -> Iterator[None]:
    """What is fastest here is not what these tests are about."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(prepare, "_PROBE_FLOPS", 1e5)
        yield


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_photos_with_test(tmp_path_factory.mktemp("photos"), per_class=8, test=4)


@pytest.fixture(scope="module")
def pretrained(photos: Path, tmp_path_factory: pytest.TempPathFactory) -> Runs:
    """The finished run of an architecture, trained when first asked for."""
    done: dict[str, Run] = {}

    def run(name: str) -> Run:
        if name not in done:
            folder = tmp_path_factory.mktemp("runs") / name
            steps = LONGER.get(name, 4)
            done[name] = vt.pretrain(
                photos, model=TINY[name], run=str(folder), steps=steps, learning_rate=3e-3, **QUICK
            )
        return done[name]

    return run


def _images(model: Model, batch: int = 3) -> torch.Tensor:
    size = model.config.image_size
    return torch.randn(batch, 3, *size, generator=torch.Generator().manual_seed(2))


@pytest.mark.parametrize("name", TINY)
def test_the_file_is_the_trained_model(pretrained: Runs, name: str) -> None:
    """Read back, it has the architecture, the bits and the logits of the model that was trained."""
    run = pretrained(name)
    loaded = vt.load(run.folder, check=True)
    assert run.model.config == loaded.config
    assert len(CLASSES) == loaded.config.num_classes
    trained = run.model.state_dict()
    assert list(trained) == list(loaded.state_dict())
    assert all(torch.equal(trained[key], value) for key, value in loaded.state_dict().items())
    images = _images(loaded)
    with torch.no_grad():
        torch.testing.assert_close(run.model(images), loaded(images), rtol=0, atol=1e-6)  # perhaps in another form


@pytest.mark.parametrize("name", TINY)
def test_every_parameter_learned(pretrained: Runs, name: str) -> None:
    """Training moved all of them: none is cut off from the loss or forgotten by the optimiser."""
    run = pretrained(name)
    began, ended = vt.create_model(TINY[name], num_classes=len(CLASSES), seed=0), run.model.state_dict()
    moved = {key for key, value in began.state_dict().items() if not torch.equal(value, ended[key])}
    assert set(began.state_dict()) == moved


@pytest.mark.parametrize("name", TINY)
def test_the_run_folder_predicts_and_evaluates_as_the_run_did(pretrained: Runs, photos: Path, name: str) -> None:
    """Score, labels and probabilities come out again from the file alone."""
    run = pretrained(name)
    again = vt.evaluate(run.folder, photos, split="test")
    assert run.result.top1 == again.top1
    assert 12 == again.seen == run.result.seen
    predictor = vt.Predictor(run.folder)
    for outcome in again.outcomes[::5]:
        answer = predictor(next(photos.rglob(Path(outcome.path).name)))
        assert outcome.probability == pytest.approx(answer.probability, abs=1e-6)
        assert again.classes[outcome.predicted] == answer.label


@pytest.fixture(scope="module")
def two_classes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Fewer classes than the models have learned."""
    folder = write_photos(tmp_path_factory.mktemp("two"), per_class=4)
    shutil.rmtree(folder / CLASSES[2])
    return folder


def _larger(name: str) -> dict[str, Any]:
    """Options of a short fine-tuning at a larger size, which windows of 2 x 3 patches must tile."""
    return {**QUICK, "image_size": (48, 48) if name == "tiny-windows" else (48, 64), "batch_size": 6, "steps": 2}


@pytest.mark.parametrize("name", TINY)
def test_fine_tuning_begins_from_the_file_with_a_head_of_zeros(pretrained: Runs, two_classes: Path, name: str) -> None:
    """At another resolution and for other classes: the body is the file's, bit for bit, but for its positions."""
    run = pretrained(name)
    made = make_plan("finetune", two_classes, run.result.model, TrainOptions(**_larger(name)))
    before = run.model.state_dict()
    for key, value in made.model.state_dict().items():
        if key.startswith(("head.", "head_dist.")):
            assert (2, 0) == (len(value), int(value.count_nonzero()))
        elif not key.rpartition(".")[2].startswith(("pos_embed", "rel_pos")) or "filter" in name:
            assert torch.equal(before[key], value), key


@pytest.mark.parametrize(
    "name", ["tiny-vit", HYBRID.name, BIT.name, "tiny-windows", "tiny-filter", "tiny-distilled", "tiny-relative"]
)
def test_fine_tuning_at_another_size_and_for_other_classes(
    pretrained: Runs, two_classes: Path, tmp_path: Path, name: str
) -> None:
    """The new head learns; the file that comes out says its size, its classes and where it began."""
    file, options = pretrained(name).result.model, _larger(name)
    tuned = vt.finetune(two_classes, model=file, run=str(tmp_path / "run"), **options)
    assert options["image_size"] == vt.load(tuned.folder).config.image_size == tuned.model.card.preprocess.image_size
    assert (CLASSES[:2], file) == (tuned.model.card.classes, tuned.model.card.provenance["began_from"])
    heads = [value for key, value in tuned.model.state_dict().items() if key.startswith("head") and value.ndim > 1]
    assert heads
    assert all(head.count_nonzero() for head in heads)


@pytest.mark.parametrize("name", [HYBRID.name, BIT.name])
def test_the_loss_falls(pretrained: Runs, name: str) -> None:
    """From chance (a head of zeros says ln 3) to clearly less, and better than guessing on images never seen."""
    records = [json.loads(line) for line in (pretrained(name).folder / "metrics.jsonl").read_text().splitlines()]
    losses = [record["loss"] for record in records]
    assert 24 == len(losses)
    assert losses[0] == pytest.approx(math.log(3), abs=1e-6)
    assert np.mean(losses[-4:]) < 0.75 * np.mean(losses[:4])
    assert pretrained(name).result.top1 > 0.5


@pytest.mark.parametrize("made", [HYBRID, BIT], ids=lambda made: made.name)
def test_killed_and_resumed_equals_uninterrupted(photos: Path, tmp_path: Path, made: Any) -> None:
    """SIGKILL in most of three steps; dropout and stochastic depth, where there are any, averaging, accumulation."""
    script = Path(__file__).with_name("kill_and_resume.py")
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "VITREOUS_CACHE": str(tmp_path / "cache")}
    ran = subprocess.run(
        [sys.executable, script, photos, tmp_path / "work", "small-pretrain", "3", json.dumps(to_json(made))],
        capture_output=True, text=True, env=environment, timeout=300, check=False,
    )  # fmt: skip
    assert 0 == ran.returncode, ran.stderr
    told = json.loads(ran.stdout)
    assert told["kills"] >= 2
    assert told["whole"] == told["again"]
    assert told["whole"] == told["killed"]


@pytest.mark.parametrize("name", TINY)
def test_an_architecture_is_spelled_as_it_is_made(name: str) -> None:
    """Python makes the same one of it again; what it would be by itself is left out."""
    assert TINY[name] == eval(spelled_config(TINY[name]), {"vt": vt})
    assert "standardize" not in spelled_config(TINY[name])
    assert "vt.ResNetConfig(name='tiny-bit', image_size=(32, 48), layers=(1, 1))" == spelled_config(BIT)


@pytest.mark.parametrize("name", ["tiny-root-hybrid", "tiny-resnet"])
def test_the_command_of_a_run_that_no_shell_can_name_is_python(pretrained: Runs, tmp_path: Path, name: str) -> None:
    """It does the run again, to the bit."""
    run = pretrained(name)
    command = run.model.card.provenance["command"]
    assert command in json.loads((run.folder / "run.json").read_text())["command"]
    again = eval(command.replace(repr(str(run.folder)), repr(str(tmp_path / "again"))), {"vt": vt})
    for key, value in run.model.state_dict().items():
        assert torch.equal(value, again.model.state_dict()[key])


def test_what_an_object_cannot_be_spelled_as_has_a_name(photos: Path, tmp_path: Path) -> None:
    """A module that was made before is called model."""
    made = vt.create_model(TINY["tiny-resnet"], num_classes=3, seed=0)
    run = vt.finetune(photos, model=made, run=str(tmp_path / "run"), steps=1, **QUICK)
    assert run.model.card.provenance["command"].startswith(f"vt.finetune({str(photos)!r}, model=model, steps=1, ")


@pytest.mark.parametrize(
    ("changes", "words"),
    [({"in_channels": 1}, "in_channels=1, and they are read as RGB"), ({"pool": "none"}, "for every token")],
)
def test_what_cannot_learn_labels_of_photos_is_refused(
    photos: Path, tmp_path: Path, changes: dict[str, Any], words: str
) -> None:
    """Exit code 2, before anything is trained, and no folder is left."""
    made = dataclasses.replace(TINY["tiny-vit"], **changes)
    with pytest.raises(ConfigError, match=words) as caught:
        vt.pretrain(photos, model=made, run=str(tmp_path / "run"), **QUICK)
    assert 2 == caught.value.exit_code
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("name", "left_out"),
    [(BIT.name, ("tanh layer", "dropout of 0.1")), ("tiny-distilled", ("tanh layer",)), (HYBRID.name, ())],
)
def test_what_a_recipe_asks_of_other_architectures_is_left_out_aloud(
    photos: Path, name: str, left_out: tuple[str, ...]
) -> None:
    """The paper's recipe has dropout and a hidden layer in the head; the plan and the record say what was not done."""
    asked = TrainOptions(recipe="paper-imagenet", steps=3, image_size=(32, 48), batch_size=12)
    made = make_plan("pretrain", photos, TINY[name], asked)
    told = "\n".join(describe(made, None))
    for words in ("tanh layer", "dropout of 0.1"):
        assert (words in left_out) == (words in told)
    assert made.recipe.hidden_head == ("tanh layer" not in left_out)
    assert made.recipe.dropout == (None if "dropout of 0.1" in left_out else 0.1)
    rates = {part.p for part in made.model.modules() if isinstance(part, torch.nn.Dropout)}
    assert rates == ({0.1} if made.recipe.dropout else set())


def _words(run: Run) -> list[str]:
    return [(run.folder / name).read_text(encoding="utf-8") for name in ("report.html", "MODEL_CARD.md")]


def test_the_report_of_a_resnet_knows_no_patches_and_no_attention(pretrained: Runs) -> None:
    """What it says is true of a ResNet: units, channels, the mean of a map."""
    for text in _words(pretrained(BIT.name)):
        text = re.sub(r"<style>.*?</style>", "", text, flags=re.DOTALL)
        for word in ("patch", "Patch", "ttention", "token", "Transformer", "encoder", "What it looks at"):
            assert word not in text, word
        assert "tiny-bit" in text
        assert "1 + 1" in text
        assert "the mean of a map of 512 channels" in text
        assert "32 × 48 pixels" in text


@pytest.mark.parametrize(
    ("name", "pictures"),
    [
        ("tiny-vit", True), (HYBRID.name, True), ("tiny-windows", True), ("tiny-everything", True),
        ("tiny-distilled", True), ("tiny-relative", True),
        (BIT.name, False), ("tiny-resnet", False), ("tiny-axial", False), ("tiny-filter", False),
    ],
)  # fmt: skip
def test_attention_is_shown_where_it_means_something(pretrained: Runs, name: str, pictures: bool) -> None:
    """Rollout needs tokens with a place in the image, and one matrix of attention per block."""
    report, _ = _words(pretrained(name))
    assert pictures == ("What it looks at" in report)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        (
            HYBRID.name,
            ["4 × 6 of 2 × 2 cells of the map, 8 × 8 pixels each", "a ResNet of 1 unit, a map of 256 channels"],
        ),
        ("tiny-root-hybrid", ["4 × 6 of 2 × 2 cells of the map", "a ResNet that ends behind its root"]),
        ("tiny-filter", ["5 semantic tokens from a map of 8 × 12"]),
        ("tiny-windows", ["in windows of 2 × 3 patches", "registers", "4 × 6 of 8 × 8 pixels"]),
        ("tiny-axial", ["along rows, then along columns"]),
        ("tiny-distilled", ["the class token and the distillation token"]),
        ("tiny-everything", ["what a learned probe gathers", "registers"]),
    ],
)
def test_the_card_says_what_the_model_is(pretrained: Runs, name: str, said: list[str]) -> None:
    for text in _words(pretrained(name)):
        for words in said:
            assert words in text


@pytest.mark.parametrize(
    ("name", "gigas"), [("bit-r50x1", "4.09"), pytest.param("r50+vit-b16", "21.5", marks=pytest.mark.slow)]
)
def test_a_dry_run_of_a_large_one_says_what_it_would_cost(name: str, gigas: str) -> None:
    """Micro-batch, multiply-adds and memory, and nothing is written."""
    lines = "\n".join(plan("pretrain", "digits", model=name, threads=1, precision="float32", steps=9, micro_batch=4))
    for words in (name, "224 x 224 px", "batch 128 as 32 x 4", f"{gigas} G multiply-adds an image", "GB of memory"):
        assert words in lines
