"""The batch at which training went wrong, kept so that it can be gone through again, alone and to the bit.

    diverged/step-00000030/   model, optimizer and average as they were before the step, sealed as a checkpoint is
                              batch.json   what the step was, and every image's place, name, class, epoch and index
                              images.npz   the pixels as they were fed: augmented, not yet mixed
                              contact.png  the same to look at

Each of several processes writes its own images; those after the first carry their rank (images-1.npz).
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw

from vitreous import console
from vitreous.data.feeding.loader import Batch
from vitreous.data.imageset import ImageSet
from vitreous.distributed import Group
from vitreous.errors import ModelFileError, ResourceError, UsageError
from vitreous.training.saving import checkpoint
from vitreous.training.saving.checkpoint_folder import found
from vitreous.training.trouble.divergence import Setting

FOLDER = "diverged"

_KEPT = 3  # batches: as many as end a run in a row
_SHOWN = 1024  # images on the contact sheet


@dataclass(frozen=True, kw_only=True)
class Kept:
    """What was kept of one step."""

    folder: Path
    at: Setting
    parts: tuple[Batch, ...]
    """The whole batch, cut into micro-batches as it was."""
    ids: tuple[str, ...]
    """Names of its images, by place."""
    state: checkpoint.State
    """Model, optimiser and average before the step."""


def keep(
    run: Path,
    state: checkpoint.State,
    parts: tuple[Batch, ...],
    at: Setting,
    *,
    seed: int,
    ids: Sequence[str],
    classes: Sequence[str],
) -> Path | None:
    """Keep a step's batch and the state before it; older ones beyond three go. Gives the folder.

    Failing to keep it must not hide what it is evidence of: then one line says so, and None is given.

    Args:
        run: the run folder.
        state: before the step; its `step` is that of the batch.
        parts: the batch in its micro-batches.
        at: what the step was done with.
        seed: of the run.
        ids: names of all training images.
        classes: their class names.
    """
    assert state.step == at.step, "the state is that of another step"
    folder = run / FOLDER
    try:
        with checkpoint.writing(folder, at.step, _KEPT, size=2 * sum(part.images.nbytes for part in parts)) as place:
            checkpoint.write_files(place, state)
            write_batch(place, parts, at, seed=seed, ids=ids, classes=classes)
    except ResourceError as error:
        console.say(f"the batch of step {at.step + 1:,} is not kept: {error.what} ({error.why})")
        return None
    return folder / f"step-{at.step:08d}"


def keep_together(
    run: Path,
    state: checkpoint.State,
    parts: tuple[Batch, ...],
    at: Setting,
    group: Group,
    *,
    seed: int,
    images: ImageSet,
) -> Path | None:
    """As `keep`, by several processes: the first writes the state, each writes its own images.

    Args:
        run: the run folder.
        state: before the step, the same in all processes.
        parts: this process's share of the batch.
        at: what the step was done with.
        group: the processes that train together.
        seed: of the run.
        images: to learn from.
    """
    place: str | None = None
    try:
        with contextlib.ExitStack() as stack:
            if group.first:
                place = str(stack.enter_context(checkpoint.writing(run / FOLDER, at.step, _KEPT)))
                checkpoint.write_files(Path(place), state)
            if (shared := group.shared(place)) is not None:
                rank = group.world.rank
                write_batch(Path(shared), parts, at, seed=seed, ids=images.ids, classes=images.classes, rank=rank)
            group.barrier()
    except (ResourceError, OSError) as error:
        if place is None and group.first:  # the folder could not be made: the others must not wait for it
            group.shared(None)
            group.barrier()
        console.say(f"the batch of step {at.step + 1:,} is not kept: {error}")
        return None
    return run / FOLDER / f"step-{at.step:08d}" if shared is not None else None


def write_batch(
    folder: Path,
    parts: tuple[Batch, ...],
    at: Setting,
    *,
    seed: int,
    ids: Sequence[str],
    classes: Sequence[str],
    rank: int = 0,
) -> None:
    """Write one process's share of a batch.

    Args:
        folder: as `checkpoint.writing` gives it.
        parts: this process's images, in micro-batches.
        at: what the step was done with.
        seed: of the run.
        ids: names of all training images.
        classes: their class names.
        rank: of this process.
    """
    mark = f"-{rank}" if rank else ""
    images = np.concatenate([part.images for part in parts])
    labels, epochs, indices = (
        np.concatenate([getattr(part, name) for part in parts]) for name in ("labels", "epochs", "indices")
    )
    given = [part.targets for part in parts if part.targets is not None]
    targets = np.concatenate(given) if given else np.empty((0, 0), np.float32)
    # a mate is the image one place before, so that all but the first are there already
    mates, mate_labels = parts[0].mates, parts[0].mate_labels
    np.savez(
        folder / f"images{mark}.npz",
        images=images,
        labels=labels,
        epochs=epochs,
        indices=indices,
        before=images[:0] if mates is None else mates[:1],
        before_label=labels[:0] if mate_labels is None else mate_labels[:1],
        targets=targets,
        before_target=targets[:0] if parts[0].mate_targets is None else parts[0].mate_targets[:1],
        cuts=np.array([[part.first, len(part.images)] for part in parts], np.int64),
    )
    names = [classes[label] if 0 <= label < len(classes) else "" for label in labels.tolist()]
    rows = zip(names, epochs.tolist(), indices.tolist(), strict=True)
    facts = {
        **{name: _plain(value) for name, value in dataclasses.asdict(at).items()},
        "seed": seed,
        "micro_batches": [{"first": part.first, "images": len(part.images)} for part in parts],
        "images": [
            {"place": place, "id": ids[index], "class": name, "epoch": epoch, "index": index}
            for place, (name, epoch, index) in enumerate(rows, parts[0].first)
        ],
    }
    (folder / f"batch{mark}.json").write_text(json.dumps(facts, indent=1), encoding="utf-8")
    contact_sheet(images, names, parts[0].first).save(folder / f"contact{mark}.png")


def latest(run: Path) -> Path:
    """The newest batch that a run has kept.

    Args:
        run: the run folder.

    Raises:
        UsageError: it has kept none.
    """
    folders = found(run / FOLDER)
    if not folders:
        raise UsageError("this run has kept no batch: none of its steps went wrong", where=str(run))
    return folders[0]


def read(folder: Path) -> Kept:
    """What was kept of one step.

    Args:
        folder: as `latest` gives it.

    Raises:
        ModelFileError: it is damaged, or not whole.
    """
    state = checkpoint.read(folder)
    try:
        marks = sorted((path.stem.removeprefix("batch") for path in folder.glob("batch*.json")), key=_rank)
        facts = [json.loads((folder / f"batch{mark}.json").read_text(encoding="utf-8")) for mark in marks]
        parts = [part for mark in marks for part in _parts(folder / f"images{mark}.npz", state.step)]
        return Kept(
            folder=folder,
            at=_setting(facts[0]),
            parts=(*parts[:-1], dataclasses.replace(parts[-1], last=True)),
            ids=tuple(image["id"] for share in facts for image in share["images"]),
            state=state,
        )
    except (OSError, ValueError, KeyError, TypeError, IndexError) as error:
        raise ModelFileError("the kept batch cannot be understood", where=str(folder), why=repr(error)) from error


def contact_sheet(images: np.ndarray, names: Sequence[str], first: int = 0) -> Image.Image:
    """All images of a batch on one page, each with its place and class.

    Args:
        images: (n, height, width, 3) uint8; those past the first thousand are only counted.
        names: of their classes.
        first: place of the first.
    """
    shown = images[:_SHOWN]
    side = 96 if len(shown) <= 256 else 48
    columns = max(1, math.ceil(math.sqrt(len(shown))))
    width, height = side + 4, side + 16
    sheet = Image.new("RGB", (columns * width, math.ceil(len(shown) / columns) * height + 16), "white")
    draw = ImageDraw.Draw(sheet)
    for number, pixels in enumerate(shown):
        left, top = number % columns * width, number // columns * height
        small = Image.fromarray(pixels)
        small = small.resize(_within(small.size, side), Image.Resampling.NEAREST if small.width < side else None)
        sheet.paste(small, (left + 2, top + 2))
        # the built-in font knows Latin letters only
        text = f"{first + number} {names[number]}".encode("ascii", "replace").decode()[: side // 6]
        draw.text((left + 2, top + side + 2), text, fill="black")
    if len(images) > len(shown):
        draw.text((2, sheet.height - 13), f"and {len(images) - len(shown):,} more in images.npz", fill="black")
    return sheet


def _within(size: tuple[int, int], side: int) -> tuple[int, int]:
    scale = side / max(size)
    return max(1, round(size[0] * scale)), max(1, round(size[1] * scale))


def _parts(path: Path, step: int) -> Iterator[Batch]:
    """The micro-batches of one process, with their mates."""
    with np.load(path, allow_pickle=False) as file:
        kept = dict(file)
    mixes = len(kept["before"]) > 0
    mates = np.concatenate([kept["before"], kept["images"]])
    mate_labels = np.concatenate([kept["before_label"], kept["labels"]])
    targets = kept.get("targets", kept["labels"][:0])  # the first version knew one label for each image only
    mate_targets = np.concatenate([kept["before_target"], targets]) if len(targets) and mixes else targets
    start = 0
    for first, count in kept["cuts"].tolist():
        piece = slice(start, start + count)
        yield Batch(
            step=step,
            first=first,
            last=False,
            images=kept["images"][piece],
            labels=kept["labels"][piece],
            epochs=kept["epochs"][piece],
            indices=kept["indices"][piece],
            mates=mates[piece] if mixes else None,
            mate_labels=mate_labels[piece] if mixes else None,
            targets=targets[piece] if len(targets) else None,
            mate_targets=mate_targets[piece] if len(targets) and mixes else None,
        )
        start += count


def _setting(facts: dict[str, Any]) -> Setting:
    numbers = {name: float(facts[name]) for name in ("loss", "grad_norm", "rate", "peak")}
    return Setting(step=facts["step"], warmup=facts["warmup"], clip_norm=facts["clip_norm"], **numbers)


def _plain(value: float | int | None) -> float | int | str | None:
    """A number as JSON knows it: what is not finite becomes its name."""
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value


def _rank(mark: str) -> int:
    return int(mark.removeprefix("-") or 0)
