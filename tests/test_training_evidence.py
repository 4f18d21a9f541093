"""A batch that went wrong is kept whole, and goes wrong in the same way, to the bit, when it is gone through again."""

from __future__ import annotations

import dataclasses
import json
import math
import resource
import signal
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

import vitreous as vt
from vitreous.config import PreprocessConfig
from vitreous.data.feeding.loader import Batch
from vitreous.errors import ModelFileError, UsageError
from vitreous.picture.preprocess import normalise
from vitreous.training.learning.mix import Mix, mixed, mixed_targets
from vitreous.training.learning.objective import LabelObjective, targets_of
from vitreous.training.saving import checkpoint
from vitreous.training.trouble import evidence
from vitreous.training.trouble.divergence import Setting
from vitreous.training.trouble.replay import Replayed, digest, replay

H, W, CLASSES, BATCH, STEP = 16, 24, ("ant", "<bee>", "çat"), 7, 30
IDS = [f"photos/{n}.png" for n in range(50)]
HALF = Mix(0.7)


class SmallEngine:
    """A step as training does it: dropout by place, images mixed with their mates, losses summed over micro-batches."""

    def __init__(self, model: nn.Module, mix: Mix | None = HALF) -> None:
        self.model, self.mix = model, mix
        self.preprocess, self.objective = PreprocessConfig(image_size=(H, W)), LabelObjective()

    def loss(self, part: Batch) -> tuple[Tensor, float]:
        torch.manual_seed(1000 * part.step + part.first)
        images = torch.from_numpy(normalise(part.images, self.preprocess))
        targets = targets_of(torch.from_numpy(part.labels), len(CLASSES))
        if self.mix is not None:
            assert part.mates is not None
            assert part.mate_labels is not None
            images = mixed(images, torch.from_numpy(normalise(part.mates, self.preprocess)), self.mix)
            targets = mixed_targets(targets, targets_of(torch.from_numpy(part.mate_labels), len(CLASSES)), self.mix)
        return self.objective.loss(self.model(images), targets), 0.0

    def gradients(self, parts: tuple[Batch, ...]) -> tuple[float, float]:
        total = 0.0
        for part in parts:
            loss, _ = self.loss(part)
            (loss / BATCH).backward()
            total += float(loss.detach()) / BATCH
        return total, 0.0


def batch(cuts: tuple[int, ...] = (3, 2, 2), mates: bool = True) -> tuple[Batch, ...]:
    """Seven images in micro-batches."""
    rng = np.random.default_rng(4)
    images = rng.integers(0, 256, (BATCH, H, W, 3)).astype(np.uint8)
    labels, indices = rng.integers(0, 3, BATCH), rng.permutation(50)[:BATCH]
    parts, first = [], 0
    for count in cuts:
        piece = slice(first, first + count)
        parts.append(
            Batch(
                step=STEP,
                first=first,
                last=first + count == BATCH,
                images=images[piece],
                labels=labels[piece],
                epochs=np.full(count, 2),
                indices=indices[piece],
                mates=np.roll(images, 1, 0)[piece] if mates else None,
                mate_labels=np.roll(labels, 1)[piece] if mates else None,
            )
        )
        first += count
    return tuple(parts)


def small_vit() -> nn.Module:
    return vt.create_model("vit-test", num_classes=3, image_size=(H, W), dropout=0.2, seed=2).train()


def state_of(model: nn.Module) -> checkpoint.State:
    return checkpoint.capture(STEP, model, torch.optim.AdamW(model.parameters()), None, seconds=1.0, meter={})


def trained(run: Path, model: nn.Module, parts: tuple[Batch, ...], mix: Mix | None = HALF) -> tuple[Path, str]:
    """Do the backward pass of a step as training would, and keep it; its folder, and the digest of its gradients."""
    model.zero_grad()
    loss, _ = SmallEngine(model, mix).gradients(parts)
    norm = float(nn.utils.get_total_norm([p.grad for p in model.parameters() if p.grad is not None]))
    at = Setting(step=STEP, loss=loss, grad_norm=norm, rate=0.1, peak=0.3, warmup=5, clip_norm=1.0)
    folder = evidence.keep(run, state_of(model), parts, at, seed=9, ids=IDS, classes=CLASSES)
    assert folder is not None
    return folder, digest({name: p.grad for name, p in model.named_parameters() if p.grad is not None})


def again(run: Path, model: nn.Module, mix: Mix | None = HALF) -> Replayed:
    return replay(evidence.read(evidence.latest(run)), model, SmallEngine(model, mix))


@pytest.mark.parametrize("cuts", [(7,), (3, 2, 2), (1, 6)])
@pytest.mark.parametrize("mix", [None, Mix(0.7), Mix(0.8, (2, 9, 4, 12))])
def test_a_kept_batch_gives_the_same_gradients_to_the_bit(
    tmp_path: Path, cuts: tuple[int, ...], mix: Mix | None
) -> None:
    """Dropout, mixing and micro-batches included; into a model that had other weights."""
    folder, gradients = trained(tmp_path, small_vit(), batch(cuts, mix is not None), mix)
    assert tmp_path / "diverged" / "step-00000030" == folder
    other = small_vit()
    with torch.no_grad():
        for parameter in other.parameters():
            parameter.add_(1.0)
    other.head.eval()
    modes = [part.training for part in other.modules()]
    replayed = again(tmp_path, other, mix)
    assert replayed.exact
    assert gradients == replayed.gradients
    assert modes == [part.training for part in other.modules()]
    assert all(parameter.grad is None for parameter in other.parameters())
    assert (replayed.module, replayed.weights, replayed.parameters) == (None, (), ())
    assert 3 == len(replayed.images)
    assert "equal to the bit" in "\n".join(replayed.words())


def test_a_batch_is_read_back_as_it_was(tmp_path: Path) -> None:
    """Every array of every micro-batch, the numbers of the step, and the state before it."""
    model, parts = small_vit(), batch()
    kept = evidence.read(trained(tmp_path, model, parts)[0])
    for before, after in zip(parts, kept.parts, strict=True):
        for field in dataclasses.fields(Batch):
            np.testing.assert_array_equal(getattr(before, field.name), getattr(after, field.name))
    assert tuple(IDS[index] for part in parts for index in part.indices) == kept.ids
    assert (30, 0.1, 0.3, 5, 1.0) == tuple(
        getattr(kept.at, name) for name in ("step", "rate", "peak", "warmup", "clip_norm")
    )
    assert all(torch.equal(kept.state.model[name], value) for name, value in model.state_dict().items())


def test_it_can_be_read_without_this_program(tmp_path: Path) -> None:
    """JSON that any reader takes, pixels that need no unpickling, and a sheet with every image on it."""
    parts = batch((7,))
    folder, _ = trained(tmp_path, small_vit(), parts)
    facts = json.loads(
        (folder / "batch.json").read_text(encoding="utf-8"), parse_constant=lambda name: pytest.fail(name)
    )
    first = {"place": 0, "id": IDS[parts[0].indices[0]], "class": CLASSES[parts[0].labels[0]], "epoch": 2}
    assert first | {"index": int(parts[0].indices[0])} == facts["images"][0]
    assert (30, 9, 0.1, [{"first": 0, "images": 7}]) == tuple(
        facts[name] for name in ("step", "seed", "rate", "micro_batches")
    )
    with np.load(folder / "images.npz", allow_pickle=False) as file:
        np.testing.assert_array_equal(parts[0].images, file["images"])
    with Image.open(folder / "contact.png") as sheet:
        pixels = np.asarray(sheet)
    shown = np.asarray(Image.fromarray(parts[0].images[1]).resize((96, 64), Image.Resampling.NEAREST))
    np.testing.assert_array_equal(shown, pixels[2:66, 102:198])  # the second image stands 100 pixels to the right


def test_two_processes_shares_make_up_the_batch(tmp_path: Path) -> None:
    """Each writes its own images into the one folder; together they are the batch in its order."""
    model, parts = small_vit(), batch((2, 2, 3))
    at = Setting(step=STEP, loss=math.nan, grad_norm=math.inf, rate=0.1, peak=0.3, warmup=5, clip_norm=None)
    with checkpoint.writing(tmp_path / "diverged", STEP) as place:
        checkpoint.write_files(place, state_of(model))
        for rank, share in enumerate((parts[:2], parts[2:])):
            evidence.write_batch(place, share, at, seed=9, ids=IDS, classes=CLASSES, rank=rank)
    kept = evidence.read(evidence.latest(tmp_path))
    assert [0, 2, 4] == [part.first for part in kept.parts]
    assert [False, False, True] == [part.last for part in kept.parts]
    np.testing.assert_array_equal(parts[2].mates, kept.parts[2].mates)
    assert math.isnan(kept.at.loss)
    assert math.inf == kept.at.grad_norm


class Standardised(nn.Module):
    """Divides an image by its own range, which an image of one colour does not have."""

    def forward(self, images: Tensor) -> Tensor:
        low, high = images.amin((1, 2, 3), keepdim=True), images.amax((1, 2, 3), keepdim=True)
        return (images - low) / (high - low)


def test_the_image_and_the_layer_that_make_nan_are_named(tmp_path: Path) -> None:
    """F1: one grey image in seven; it is named, with the module where the numbers ended."""
    torch.manual_seed(1)
    model = nn.Sequential(nn.Identity(), Standardised(), nn.Flatten(), nn.Linear(H * W * 3, 3))
    parts = batch((4, 3), mates=False)
    parts[1].images[1] = 77
    trained(tmp_path, model, parts, None)
    replayed = again(tmp_path, model, None)
    assert replayed.exact
    assert "1" == replayed.module
    assert [(5, IDS[parts[1].indices[1]])] == [(image.place, image.id) for image in replayed.images]
    assert ("3.weight", "3.bias") == replayed.parameters
    told = "\n".join(replayed.words())
    assert f"place 5: {IDS[parts[1].indices[1]]}  loss nan" in told
    assert "the first output that is not finite is that of 1" in told


def test_a_weight_and_a_gradient_that_are_not_finite_are_named(tmp_path: Path) -> None:
    """F1: whichever of them it was."""
    model = small_vit()
    with torch.no_grad():
        model.blocks[1].norm2.bias[3] = math.nan
    trained(tmp_path / "weight", model, batch())
    replayed = again(tmp_path / "weight", small_vit())
    assert ("blocks.1.norm2.bias",) == replayed.weights
    assert "blocks.1.norm2" == replayed.module
    assert BATCH == len(replayed.images)

    class Root(nn.Module):
        """|x|**0.5, whose slope at 0 is not finite while its value is."""

        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(H * W * 3, 3)
            nn.init.zeros_(self.layer.weight)
            nn.init.zeros_(self.layer.bias)

        def forward(self, images: Tensor) -> Tensor:
            return self.layer(images.flatten(1)).abs().sqrt()

    trained(tmp_path / "gradient", Root(), batch(mates=False), None)
    replayed = again(tmp_path / "gradient", Root(), None)
    assert replayed.module is None
    assert ("layer.weight", "layer.bias") == replayed.parameters
    assert replayed.exact
    assert 3 == len(replayed.images)


def test_three_batches_are_kept_at_most(tmp_path: Path) -> None:
    """A fault that comes back again and again does not fill the disk."""
    model, parts = small_vit(), batch((7,))
    for step in range(31, 36):
        at = Setting(step=step, loss=math.nan, grad_norm=1.0, rate=0.1, peak=0.3, warmup=5, clip_norm=None)
        state = dataclasses.replace(state_of(model), step=step)
        evidence.keep(tmp_path, state, parts, at, seed=9, ids=IDS, classes=CLASSES)
    assert ["step-00000033", "step-00000034", "step-00000035"] == sorted(
        p.name for p in (tmp_path / "diverged").iterdir()
    )


def test_a_full_disk_costs_the_evidence_and_nothing_else(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What went wrong must still be told; so this says one line."""
    limits, handler = resource.getrlimit(resource.RLIMIT_FSIZE), signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    at = Setting(step=STEP, loss=math.nan, grad_norm=1.0, rate=0.1, peak=0.3, warmup=5, clip_norm=None)
    state, parts = state_of(small_vit()), batch()
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, limits[1]))
        folder = evidence.keep(tmp_path, state, parts, at, seed=9, ids=IDS, classes=CLASSES)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, handler)
    assert folder is None
    assert "the batch of step 31 is not kept: the disk is full" in capsys.readouterr().err
    assert [] == list((tmp_path / "diverged").iterdir())


def test_damage_and_absence_are_told(tmp_path: Path) -> None:
    """A flipped bit in the pixels is noticed before they are used."""
    with pytest.raises(UsageError, match="has kept no batch"):
        evidence.latest(tmp_path)
    folder, _ = trained(tmp_path, small_vit(), batch())
    blob = bytearray((folder / "images.npz").read_bytes())
    blob[len(blob) // 2] ^= 4
    (folder / "images.npz").write_bytes(blob)
    with pytest.raises(ModelFileError, match=r"images\.npz is not what was written"):
        evidence.read(folder)


def test_a_sheet_of_very_many_images_stays_small() -> None:
    """The first thousand are shown, the others counted."""
    sheet = evidence.contact_sheet(np.zeros((1500, 5, 9, 3), np.uint8), ["a"] * 1500)
    assert (32 * 52, 32 * 64 + 16) == sheet.size
