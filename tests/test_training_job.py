"""pretrain and finetune, whole: what they leave behind, what they refuse, and that the machine does not matter."""

from __future__ import annotations

import csv
import json
import shlex
from pathlib import Path

import numpy as np
import pytest
import torch
from small_photos import CLASSES, write_photos, write_photos_with_test
from torch import nn

import vitreous as vt
from vitreous.cli import main
from vitreous.config import TrainOptions
from vitreous.errors import ConfigError, DataError, DivergedError, ResourceError, UnknownNameError, UsageError
from vitreous.training.job import plan
from vitreous.training.keywords import TrainKeywords
from vitreous.weights.native import read_native

QUICK = {"image_size": 32, "batch_size": 12, "threads": 2, "precision": "float32"}


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_photos_with_test(tmp_path_factory.mktemp("photos"), per_class=10, test=5)


@pytest.fixture(scope="module")
def run(photos: Path, tmp_path_factory: pytest.TempPathFactory) -> vt.training.job.Run:  # type: ignore[name-defined]
    """A network that learned its stripes."""
    return vt.pretrain(photos, model="vit-test", run=str(tmp_path_factory.mktemp("runs") / "one"), steps=60, **QUICK)


def test_it_learns_and_leaves_a_whole_run_folder(run) -> None:
    """Everything the design lists is there, and the numbers agree with each other."""
    result = run.result
    assert result.top1 >= 0.8  # three kinds of coloured stripes; chance is a third
    assert 15 == result.seen == result.expected
    names = {entry.name for entry in run.folder.iterdir()}
    assert {"run.json", "metrics.jsonl", "checkpoints", "model.safetensors", "predictions.csv", "report.html",
            "MODEL_CARD.md"} <= names  # fmt: skip
    facts = json.loads((run.folder / "run.json").read_text())
    assert result.top1 == facts["result"]["top1"]
    assert "small-pretrain" == facts["recipe"]["name"]
    rows = list(csv.DictReader((run.folder / "predictions.csv").read_text().splitlines()))
    assert 15 == len(rows)
    assert result.top1 == pytest.approx(np.mean([row["label"] == row["predicted"] for row in rows]))
    assert CLASSES == read_native(run.folder / "model.safetensors").card.classes
    assert "random weights" in (run.folder / "report.html").read_text()


def test_evaluate_predict_and_the_run_agree(run, photos: Path) -> None:
    """The file alone, read back, says the same about every image as the run did."""
    again = vt.evaluate(run.result.model, photos, split="test")
    assert run.result.top1 == again.top1 == run.evaluate(photos, split="test").top1
    predictor = vt.Predictor(run.folder)
    image = photos / "test" / "bee" / "bee-1000.png"
    answer = predictor(image)
    outcome = next(o for o in again.outcomes if o.path.endswith("bee-1000.png"))
    assert outcome.probability == pytest.approx(answer.probability, abs=1e-6)
    assert again.classes[outcome.predicted] == answer.label


def test_finetune_from_a_file_at_a_higher_resolution(run, tmp_path: Path) -> None:
    """Position table interpolated, a new head of zeros for other classes, the file's card as parent."""
    other = write_photos(tmp_path / "two", per_class=6)
    tuned = vt.finetune(
        other, model=run.result.model, run=str(tmp_path / "run"), steps=3, **{**QUICK, "image_size": 48}
    )
    assert (6, 6) == tuned.model.config.grid
    card = read_native(Path(tuned.result.model)).card
    assert (48, 48) == card.preprocess.image_size
    assert run.result.model == card.provenance["began_from"]


def test_the_micro_batch_does_not_change_the_result(photos: Path, tmp_path: Path) -> None:
    """12 images at once, or as 5 + 5 + 2: the same weights within rounding."""
    ends = []
    for micro in (12, 5):
        options = {**QUICK, "steps": 4, "micro_batch": micro, "learning_rate": 0.01}
        done = vt.finetune(photos, model="vit-test", run=str(tmp_path / str(micro)), **options)
        ends.append(done.model.state_dict())
    for name, value in ends[0].items():
        torch.testing.assert_close(value, ends[1][name], rtol=1e-4, atol=1e-6)


def test_another_seed_is_another_run(photos: Path, tmp_path: Path) -> None:
    """The seed reaches weights, order and augmentation."""
    runs = [vt.pretrain(photos, model="vit-test", run=str(tmp_path / str(s)), steps=2, seed=s, **QUICK) for s in (0, 1)]
    digests = {read_native(Path(run.result.model)).digest for run in runs}
    assert 2 == len(digests)


class Tiny(nn.Module):
    """Somebody's own network."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 7, 5, stride=5)
        self.norm = nn.BatchNorm2d(7)
        self.head = nn.Linear(7, 3)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.head(self.norm(self.conv(images)).relu().mean((2, 3)))


def test_a_module_of_ones_own_enters_by_the_same_door(photos: Path, tmp_path: Path) -> None:
    """Trained, scored, saved, and filled again from the file; also at a rectangular size."""
    torch.manual_seed(0)
    done = vt.finetune(photos, model=Tiny(), run=str(tmp_path / "own"), steps=3, **{**QUICK, "image_size": (30, 40)})
    filled = vt.load(done.result.model, into=Tiny())
    images = torch.randn(2, 3, 30, 40)
    assert torch.equal(done.model(images), filled.eval()(images))
    assert CLASSES == filled.card.classes
    wrong = Tiny()
    wrong.head = nn.Linear(7, 5)
    with pytest.raises(ConfigError, match=r"with logits \(1, 3\), got \(1, 5\)"):
        vt.finetune(photos, model=wrong, run=str(tmp_path / "wrong"), steps=3, **QUICK)


def test_a_vit_of_ones_own_must_fit_the_classes(photos: Path, tmp_path: Path) -> None:
    """It is trained as it is, also away from its own resolution; with another number of outputs it is refused."""
    done = vt.finetune(
        photos, model=vt.create_model("vit-test", num_classes=3), run=str(tmp_path / "own"), steps=2,
        **{**QUICK, "image_size": (24, 40)},
    )  # fmt: skip
    assert (24, 40) == vt.load(done.folder).card.preprocess.image_size
    with pytest.raises(ConfigError, match=r"with logits \(1, 3\), got \(1, 10\)"):
        vt.finetune(photos, model=vt.create_model("vit-test"), run=str(tmp_path / "wrong"), steps=2, **QUICK)


def test_divergence_ends_in_one_error_and_keeps_the_checkpoints(photos: Path, tmp_path: Path) -> None:
    """Exit code 5, with what to type to see why; the three batches that led there are kept."""
    module = Tiny()
    with torch.no_grad():
        module.head.weight.fill_(float("nan"))
    with pytest.raises(DivergedError, match="vitreous replay") as caught:
        vt.finetune(photos, model=module, run=str(tmp_path / "run"), steps=5, **QUICK)
    assert 5 == caught.value.exit_code
    assert 3 == len(list((tmp_path / "run" / "diverged").glob("step-*/batch.json")))


def test_a_named_recipe_brings_its_model(photos: Path) -> None:
    """The size of the images too, which are those of the model."""
    lines = "\n".join(plan("pretrain", photos, recipe="small-images", steps=2, threads=1, precision="float32"))
    assert "vit-28: random weights, 0.14 M parameters, 28 x 28 px" in lines


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"model": "vit-tst"}, UnknownNameError, "vit-test"),
        ({"model": "vit-test", "recipe": "papr-imagenet"}, UnknownNameError, "paper-imagenet"),
        ({"model": "vit-test", "recipe": "small-finetune"}, UsageError, "is for finetune"),
        ({"model": "vit-test", "image_size": 33}, ConfigError, "32 or 40"),
        ({"model": "vit-test", "epochs": 2.0, "steps": 3}, ConfigError, "exclude each other"),
        ({"model": "vit-test", "device": "tpu"}, UsageError, "auto, cpu, cuda"),
        ({"model": "vit-test", "learning_rat": 0.1}, ConfigError, "did you mean 'learning_rate'"),
        ({}, UsageError, "--model vit-ti16"),
    ],
)
def test_bad_requests_end_in_one_error_and_leave_no_folder(
    photos: Path, tmp_path: Path, options: dict, error: type[Exception], words: str
) -> None:
    """What to type next is in the message."""
    with pytest.raises(error, match=words) as caught:
        vt.pretrain(photos, run=str(tmp_path / "run"), **options)
    assert 2 == caught.value.exit_code
    assert not (tmp_path / "run").exists()


def test_the_command_in_the_file_does_the_run_again(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Typed as it stands, in another folder, it ends with the same weights; a rectangular size is spelled as typed."""
    asked = {**QUICK, "image_size": (24, 40), "steps": 2, "seed": 5}
    monkeypatch.chdir(tmp_path)
    first = vt.pretrain(photos, model="vit-test", run="runs/here", **asked)
    card = read_native(Path(first.result.model)).card
    words = shlex.split(card.provenance["command"])
    assert ["vitreous", "pretrain"] == words[:2]
    assert "24x40" in words
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert 0 == main(words[1:])
    files = (Path("runs/here/model.safetensors"), tmp_path / "runs/here/model.safetensors")
    assert 1 == len({read_native(file).digest for file in files})


def test_missing_data_leaves_no_folder(tmp_path: Path) -> None:
    """Exit code 3."""
    with pytest.raises(DataError) as caught:
        vt.pretrain(tmp_path / "nothing", model="vit-test", run=str(tmp_path / "run"))
    assert 3 == caught.value.exit_code
    assert not (tmp_path / "run").exists()


def test_a_folder_that_cannot_be_written_is_told(photos: Path, tmp_path: Path) -> None:
    """The run folder's parent is a file."""
    (tmp_path / "file").write_text("x")
    with pytest.raises(ResourceError, match="cannot be written"):
        vt.pretrain(photos, model="vit-test", run=str(tmp_path / "file" / "run"), **QUICK)
    with pytest.raises(UsageError, match="is a file"):
        vt.pretrain(photos, model="vit-test", run=str(tmp_path / "file"), **QUICK)


def test_a_dry_run_describes_and_writes_nothing(photos: Path, tmp_path: Path) -> None:
    """Data, model, recipe and machine in words."""
    lines = "\n".join(plan("finetune", photos, model="vit-test", run=str(tmp_path / "run"), steps=4, **QUICK))
    for words in ("3 classes", "random weights", "small-finetune", "batch 12", "4 steps", "32 x 32"):
        assert words in lines
    assert not (tmp_path / "run").exists()


def test_options_are_the_same_from_python_and_from_the_command() -> None:
    """The keyword arguments of the verbs are exactly the fields of TrainOptions."""
    assert set(TrainOptions.__dataclass_fields__) == set(TrainKeywords.__annotations__)
