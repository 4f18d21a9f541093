"""One checkpoint written in another dialect, with equal logits or with every difference named and measured."""

from __future__ import annotations

import dataclasses
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor

import vitreous
from vitreous import console
from vitreous.architecture import Size, ViTConfig
from vitreous.config import ModelCard
from vitreous.errors import ModelFileError, UsageError
from vitreous.model.create import Model
from vitreous.results import Conversion
from vitreous.weights.adapt import Adapted
from vitreous.weights.dialects.dialect import Dialect, Package, Settings, Target
from vitreous.weights.dialects.equivalent import rewritten
from vitreous.weights.dialects.mapping import written
from vitreous.weights.formats.write import write_container, write_json
from vitreous.weights.golden import check_golden, golden_of
from vitreous.weights.load import adapt, build_from, read_any
from vitreous.weights.native import save_native
from vitreous.weights.read import MODEL_FILE, NATIVE, Loaded, find_dialect, read, retold
from vitreous.weights.verify import home_logits

TOLERANCE = 1e-4
"""Largest difference of a logit that counts as equal, times the largest logit where that is above 1."""

_WEIGHTS = (".npz", ".safetensors", ".pt", ".pth", ".bin")


def convert(
    source: str | Path,
    target: str | Path,
    to: str,
    *,
    verify: bool = False,
    allow_difference: bool = False,
    image_size: int | Size | None = None,
    settings: Settings | None = None,
    overwrite: bool = False,
) -> Conversion:
    """Write a checkpoint in another dialect, and measure how far the answers moved.

    The written checkpoint is read back and its logits compared before it takes its place; a file that computes
    something else is never left behind.

    Args:
        source: a file or folder in any dialect, or a run folder.
        target: the file or folder to write; dialects with a configuration beside the weights want a folder.
        to: "native", or the name of a foreign dialect.
        verify: also load the result with the target ecosystem's own code, where that is installed.
        allow_difference: write it even where the target cannot express the source; the difference is measured.
        image_size: resolution to convert to; the position table is resampled.
        settings: what a foreign source cannot tell; see `load`.
        overwrite: replace what is at `target`.

    Raises:
        UsageError: the target cannot express the source, and what it cannot is named.
        ModelFileError: the source cannot be read, or the written checkpoint does not answer as the source does.
    """
    place = Path(target).expanduser()
    dialect = None if to == NATIVE else find_dialect(to)
    _check_place(place, overwrite)
    loaded, path = read_any(source, settings=settings)
    if loaded.card.architecture is None:
        raise UsageError("the weights of somebody's own module belong to no dialect", where=str(path))
    if loaded.account.dialect != NATIVE:
        console.say(*retold(loaded.account, loaded.card, path))
    adapted = adapt(loaded, image_size=image_size)
    model = build_from(adapted, path)
    images = _images(model)
    with _beside(place) as workshop, torch.inference_mode():
        left_behind: tuple[str, ...] = ()
        if dialect is None:
            made = workshop / (place.name if place.suffix else MODEL_FILE)
            _write_native(made, adapted, model, loaded)
            aim = Target(form=NATIVE, architecture=loaded.card.architecture)
        else:
            aim = dialect.nearest(model.config)
            _refuse_difference(aim, dialect, allow_difference)
            package = dialect.package(aim.architecture, adapted.card, aim.form)
            made = _write_foreign(workshop, place, dialect, aim, package, adapted)
            left_behind = _left_behind(package, aim, adapted.card)
        logits = model(images)
        moved = _read_back(made, aim, images) - logits
        difference = _judged(moved, logits, "the written checkpoint", str(place), allow_difference)
        by = None
        if verify:
            theirs, by = home_logits(to, made, model.config, images)
            moved = theirs - logits
            console.say(f"{by} answers within {float(moved.abs().max()):.1e} (logits up to {_largest(logits):.3g})")
            _judged(moved, logits, by, str(place), allow_difference)
        _move(workshop, place)
    return Conversion(
        source=str(path),
        source_dialect=loaded.account.dialect,
        target_dialect=to,
        architecture=model.config.name,
        mapped=loaded.account.mapped,
        resized=adapted.resized,
        dropped=loaded.account.dropped,
        ignored=loaded.account.ignored,
        assumed=loaded.account.notes,
        differences=aim.differences,
        max_difference=difference,
        left_behind=left_behind,
        verified_by=by,
        target=str(place),
    )


def _check_place(place: Path, overwrite: bool) -> None:
    """Refuse a target that is taken, or whose folder is not there, before anything slow."""
    if not place.parent.is_dir():
        raise UsageError(f"there is no folder {place.parent} to write into", where=str(place))
    if place.suffix and place.suffix not in _WEIGHTS:
        raise UsageError(
            f"{place.suffix} is no ending of a weights file",
            where=str(place),
            remedy=f"a folder, or a name that ends in {', '.join(_WEIGHTS)}",
        )
    taken = place.is_file() or (place.is_dir() and (place.suffix or any(place.iterdir())))
    if taken and not overwrite:
        raise UsageError("something is there already", where=str(place), remedy="another name, or --overwrite")


def _refuse_difference(aim: Target, dialect: Dialect, allow_difference: bool) -> None:
    if aim.differences and not allow_difference:
        raise UsageError(
            f"{dialect.title} cannot express this model exactly",
            why="; ".join(aim.differences),
            remedy="--allow-difference writes it and measures how far the logits move",
        )


def _write_native(made: Path, adapted: Adapted, model: Model, loaded: Loaded) -> None:
    """A native file: from an unchanged native source the same bytes, golden output included, once it is proved."""
    card, golden = adapted.card, loaded.golden
    if golden is not None and card == loaded.card:
        check_golden(model, card, golden, str(made))
        save_native(made, loaded.tensors, card, golden)
        return
    if loaded.account.dialect != NATIVE:
        card = _with_provenance(card)
    save_native(made, model.state_dict(), card, golden_of(model, card))


def _with_provenance(card: ModelCard) -> ModelCard:
    return dataclasses.replace(card, provenance={**card.provenance, "vitreous": vitreous.__version__})


def _write_foreign(
    workshop: Path, place: Path, dialect: Dialect, aim: Target, package: Package, adapted: Adapted
) -> Path:
    """The checkpoint as the ecosystem writes one; a folder's path where it has a configuration beside its weights."""
    old = adapted.card.architecture
    tensors = adapted.tensors
    if isinstance(old, ViTConfig) and isinstance(aim.architecture, ViTConfig) and old != aim.architecture:
        tensors = rewritten(tensors, old, aim.architecture)
    file = workshop / (place.name if place.suffix else package.file_name)
    kind = {"": package.kind, ".npz": "npz", ".safetensors": "safetensors"}.get(place.suffix, "pickle")
    if (kind == "npz") != (package.kind == "npz"):
        raise UsageError(f"{dialect.title} weights are not kept in {place.suffix} files", where=str(place))
    write_container(file, kind, written(dialect.rules(aim.architecture, aim.form), tensors), package.metadata)
    for name, value in package.sidecars.items():
        write_json(workshop / name, value)
    return file


def _left_behind(package: Package, aim: Target, card: ModelCard) -> tuple[str, ...]:
    """What the card says and the written checkpoint does not."""
    lost = [] if package.sidecars else [*(["class names"] if card.classes else []), "preprocessing"]
    lost.append("licence and provenance")
    match card.architecture, aim.architecture:
        case ViTConfig(position="learned", resample=old), ViTConfig(resample=new) if old != new:
            lost.append(f"how positions follow the image to other sizes ({old} becomes {new})")
    return tuple(lost)


def _images(model: Model) -> Float[Tensor, "2 C H W"]:
    """Normal noise at the model's resolution, the same every time."""
    config = model.config
    generator = torch.Generator().manual_seed(0)
    return torch.randn(2, config.in_channels, *config.image_size, generator=generator)


def _read_back(made: Path, aim: Target, images: Float[Tensor, "2 C H W"]) -> Tensor:
    """Logits of the written checkpoint as it lies on the disk."""
    config = aim.architecture
    stated = {"num_heads": config.num_heads, "image_size": config.image_size} if isinstance(config, ViTConfig) else {}
    again = read(made, settings={} if aim.form == NATIVE else stated)
    return build_from(adapt(again), made)(images)


def _judged(moved: Tensor, logits: Tensor, who: str, where: str, allow_difference: bool) -> float:
    """The largest difference of a logit, if it counts as none or is allowed."""
    difference = float(moved.abs().max())
    if not difference <= TOLERANCE * max(1.0, _largest(logits)) and not allow_difference:  # NaN is no agreement
        raise ModelFileError(
            f"{who} does not answer as the source does, so nothing was kept",
            where=where,
            why=f"logits up to {_largest(logits):.3g} differ by up to {difference:.3g}",
            remedy="--allow-difference keeps it; and please report this",
        )
    return difference


def _largest(logits: Tensor) -> float:
    return float(logits.abs().max())


def _move(workshop: Path, place: Path) -> None:
    """Put what was written where it belongs."""
    folder = place.parent if place.suffix else place
    if place.suffix:
        beside = [item.name for item in workshop.iterdir() if item.name != place.name and (folder / item.name).exists()]
        if beside:
            raise UsageError(
                f"{', '.join(beside)} of another model would be overwritten",
                where=str(folder),
                remedy=f"a folder of its own: {place.with_suffix('')}/",
            )
    folder.mkdir(exist_ok=True)
    for item in sorted(workshop.iterdir()):
        item.replace(folder / item.name)


@contextmanager
def _beside(place: Path) -> Iterator[Path]:
    """A folder on the same disk as the target, gone afterwards whatever happens."""
    workshop = Path(tempfile.mkdtemp(prefix=".writing-", dir=place.parent))
    try:
        yield workshop
    finally:
        shutil.rmtree(workshop, ignore_errors=True)
