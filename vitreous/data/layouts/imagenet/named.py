"""The images of ImageNet's variants by name: found below a folder, labelled, and shown as each is meant to be shown."""

from __future__ import annotations

import dataclasses
import shlex
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import UInt8

from vitreous.data.classes import match_classes
from vitreous.data.imageset import ImageSet, fingerprint
from vitreous.data.layouts.folders.walk import few_entries, subfolders, unordered_entries
from vitreous.data.layouts.imagenet.catalogue import Variant, chosen_classes, find_variant, is_called
from vitreous.data.layouts.imagenet.devkit import Truth, find_truth, val_number
from vitreous.data.layouts.imagenet.imagenet import (
    holds_validation_images,
    images_by_class_number,
    images_by_wnid,
    validation_images,
)
from vitreous.data.layouts.imagenet.imagenet_labels import NUM_CLASSES, imagenet_wnids, is_wnid
from vitreous.data.layouts.imagenet.objectnet import find_objectnet, objectnet_images
from vitreous.data.layouts.imagenet.variants import (
    corruptions,
    find_real,
    has_class_numbers,
    real_labels,
    real_targets,
)
from vitreous.data.targets import Targets
from vitreous.data.words import some
from vitreous.errors import DataError, ImageError
from vitreous.pretrained import imagenet_names

CORRUPTED_SIDE = 224
"""Pixels of a side of ImageNet-C's images: their centre is cut out, and nothing is resized."""

_VAL_FOLDERS = ("val", "valid", "validation", "ilsvrc2012imgval", "imagenetval")
_KAGGLE_HOMES = ("ILSVRC/Data/CLS-LOC", "Data/CLS-LOC")
_HOMES = ("imagenet", "objectnet", "robustness", "ilsvrc", "reassessed")
_PACKED = (".tar", ".tar.gz", ".tgz", ".zip")


@dataclass(frozen=True, eq=False)
class Labelled:
    """Images of one variant, and which of ImageNet's thousand classes stand for each of theirs."""

    images: ImageSet
    """Labelled by places in `ids`."""
    ids: tuple[tuple[int, ...], ...]
    """For each class among which the answer is chosen, the classes of ImageNet that stand for it."""
    notes: tuple[str, ...]
    """What was found, in sentences."""


@dataclass(frozen=True, eq=False)
class Relabelled:
    """ImageNet's validation images with the labels of ReaL, and with their own."""

    labelled: Labelled
    """All images, with the labels of ILSVRC 2012."""
    own: bool
    """Whether those labels were there; where they were not, ReaL's stand in their place and say nothing."""
    real: Targets
    """For each of the images the classes that people saw; none for those that do not count."""


def open_variant(variant: Variant, root: Path) -> Labelled:
    """The images of a variant that is one set.

    Args:
        variant: none of corruptions.
        root: its folder, or one above.

    Raises:
        DataError: it is not there, or is something else.
    """
    if variant.layout == "validation":
        return _validation(variant, root)
    folder = find_folder(variant, root)
    if variant.layout == "objectnet":
        images, ids, notes = objectnet_images(folder)
        return Labelled(images, ids, tuple(notes))
    opened = images_by_class_number if variant.layout == "numbers" else images_by_wnid
    images, notes = opened(folder, str(folder))
    classes = chosen_classes(variant.name)
    if len(classes) < NUM_CLASSES:
        _check_classes(variant, images, classes, folder)
    return _among(images, classes, notes)


def open_real(root: Path) -> Relabelled:
    """ImageNet's validation images with ReaL's labels.

    Args:
        root: holds real.json, and the images or the folder they lie in.

    Raises:
        DataError: either is missing, or is something else.
    """
    variant = find_variant("imagenet-real")
    folder = find_folder(variant, root)
    path = find_real(root) or find_real(folder)
    if path is None:
        raise missing(variant, root)
    labels = real_labels(path)
    truth, said = None, f"{path}: the classes that people saw in each image"
    if own := not _is_flat(folder) or find_truth(folder) is not None:
        images, notes = validation_images(folder, str(folder))
    else:
        truth = Truth(str(path), labels.main)
        images, notes = validation_images(folder, str(folder), truth)
        said += "; their labels of 2012 are not there, so that there is nothing to compare with"
    labelled = _among(images, range(NUM_CLASSES), [*notes, said])
    return Relabelled(labelled, own, real_targets(labelled.images, labels))


def open_clean(root: Path, classes: Sequence[int]) -> Labelled | None:
    """ImageNet's validation images of some classes; None where there are none below a folder.

    Args:
        root: holds them, perhaps beside the variants.
        classes: of the thousand; an answer is chosen among these.

    Raises:
        DataError: they have no labels, or only some lie in class folders; or there are several folders of them.
    """
    variant = find_variant("imagenet")
    if not _validation_folders(variant, root):
        return None
    folder = find_folder(variant, root)
    images, _ = validation_images(folder, str(folder))
    images = match_classes(images, imagenet_names(), known_to="ImageNet")
    kept = images.subset(np.flatnonzero(np.isin(images.labels, np.array(classes))))
    return _among(kept, classes, []) if len(kept) else None


def open_corruptions(root: Path) -> tuple[Path, dict[str, dict[int, Path]]]:
    """ImageNet-C's folder, and in it the folder of every corruption and severity that is there.

    Args:
        root: its folder, or one above.

    Raises:
        DataError: it is not there.
    """
    folder = find_folder(find_variant("imagenet-c"), root)
    return folder, corruptions(folder)


def corrupted_images(folder: Path) -> Labelled:
    """The images of one severity of one corruption, cut to the 224 pixels in their centre.

    Args:
        folder: holds class folders.

    Raises:
        DataError: there is no image in any class folder.
    """
    images, notes = images_by_wnid(folder, str(folder))
    return _among(_shown(images, cut_centre, "centre of 224 pixels"), range(NUM_CLASSES), notes)


def cut_centre(image: UInt8[np.ndarray, "H W 3"]) -> UInt8[np.ndarray, "h w 3"]:
    """The 224 x 224 pixels in the centre, as torchvision's CenterCrop cuts them.

    Args:
        image: RGB, of at least that size.

    Raises:
        ImageError: it is smaller: no image of ImageNet-C.
    """
    height, width = image.shape[:2]
    if min(height, width) < CORRUPTED_SIDE:
        raise ImageError(
            f"an image of {width} x {height} pixels",
            why=f"those of ImageNet-C have {CORRUPTED_SIDE} x {CORRUPTED_SIDE}",
        )
    top, left = round((height - CORRUPTED_SIDE) / 2), round((width - CORRUPTED_SIDE) / 2)
    return np.ascontiguousarray(image[top : top + CORRUPTED_SIDE, left : left + CORRUPTED_SIDE])


def find_folder(variant: Variant, root: Path) -> Path:
    """The folder of a variant below another, up to two floors down.

    Args:
        variant: what to look for.
        root: its folder, or one above.

    Raises:
        DataError: there is none, or there are several.
    """
    if not root.is_dir():
        raise DataError(
            f"there is no folder {root}",
            why=f"--root is the folder that {variant.title} lies in, or one above",
            remedy=f"give that folder; or {_get(variant)}",
        )
    if variant.layout == "validation":
        found = _validation_folders(variant, root)
    else:
        looks = _LOOKS[variant.layout]
        alone = [root] if variant.layout in ("corruptions", "objectnet") and looks(root) else []
        named = (folder for folder in _near(root) if is_called(folder.name, variant.folders))
        found = _distinct(alone or [folder for folder in named if looks(folder)])
    if not found:
        raise missing(variant, root)
    if len(found) > 1:
        raise DataError(
            f"{len(found)} folders could be {variant.title}",
            where=str(root),
            why=some([str(folder) for folder in found]),
            remedy=f"choose one: --root {found[0]}",
        )
    return found[0]


def missing(variant: Variant, root: Path) -> DataError:
    """That a variant is not there: what was looked for, what lies there packed, and where to get it.

    Args:
        variant: what was looked for.
        root: where.
    """
    packed = [
        entry.name
        for entry in few_entries(root)
        if entry.name.endswith(_PACKED) and is_called(_stem(entry.name), variant.folders)
    ]
    return DataError(
        f"{variant.title} is not there",
        where=str(root),
        why=f"{some(packed)} is there, but not unpacked" if packed else f"looked for {variant.looks}",
        remedy=f"tar -xf {shlex.quote(str(root / packed[0]))} -C {shlex.quote(str(root))}"
        if packed and not packed[0].endswith(".zip")
        else f"unpack it in {root}"
        if packed
        else f"{_get(variant)}, and unpack it in {root}",
    )


def _get(variant: Variant) -> str:
    return f"get {variant.source}"


def _stem(name: str) -> str:
    return next((name.removesuffix(end) for end in (".tar.gz", ".tgz", ".tar", ".zip") if name.endswith(end)), name)


def _validation(variant: Variant, root: Path) -> Labelled:
    folder = find_folder(variant, root)
    images, notes = validation_images(folder, str(folder))
    return _among(images, range(NUM_CLASSES), notes)


def _validation_folders(variant: Variant, root: Path) -> list[Path]:
    """Folders that hold ILSVRC 2012's validation images: below the folder, below one of ImageNet's in it, or itself."""
    inside = [folder for folder in subfolders(root) if is_called(folder.name, variant.folders)]
    homes = [home for folder in (root, *inside) for home in (folder, *(folder / below for below in _KAGGLE_HOMES))]
    below = [each for home in homes if home.is_dir() for each in subfolders(home)]
    found = [folder for folder in below if is_called(folder.name, _VAL_FOLDERS) and holds_validation_images(folder)]
    if not found and is_called(root.resolve().name, _VAL_FOLDERS) and holds_validation_images(root):
        found = [root]
    if not found:  # flat images right in the folder that was given
        found = [home for home in (root, *inside) if _is_flat(home)]
    return _distinct(found)


def _is_flat(folder: Path) -> bool:
    """Whether validation images lie in a folder itself."""
    return any(val_number(entry.name) for entry in unordered_entries(folder))


def _near(root: Path) -> Iterator[Path]:
    """The folder itself, those in it, and those in folders that are called after ImageNet."""
    yield root if root.name not in ("", "..") else root.resolve()  # . has no name of its own
    for folder in subfolders(root):
        yield folder
        if any(word in folder.name.casefold() for word in _HOMES):
            yield from subfolders(folder)


def _distinct(folders: Sequence[Path]) -> list[Path]:
    return list({folder.resolve(): folder for folder in folders}.values())


def _has_wnids(folder: Path) -> bool:
    return any(is_wnid(below.name) for below in subfolders(folder))


_LOOKS: dict[str, Callable[[Path], bool]] = {
    "wnids": _has_wnids,
    "numbers": has_class_numbers,
    "corruptions": lambda folder: bool(corruptions(folder)),
    "objectnet": lambda folder: find_objectnet(folder) is not None,
}


def _check_classes(variant: Variant, images: ImageSet, classes: Sequence[int], folder: Path) -> None:
    """Refuse other classes than the published ones: the answer is chosen among them, so others give other scores."""
    names, wnids = imagenet_names(), imagenet_wnids()
    wanted, there = {names[place]: wnids[place] for place in classes}, set(images.classes)
    lacking = [wnids for name, wnids in wanted.items() if name not in there]
    others = [wnids[names.index(name)] for name in images.classes if name not in wanted]
    if not lacking and not others:
        return
    said = [f"{len(lacking):,} of the published ones have no images ({some(lacking)})"] if lacking else []
    said += [f"{len(others):,} are none of them ({some(others)})"] if others else []
    raise DataError(
        f"this is not {variant.title}: {len(images.classes):,} classes, the published set has {len(classes):,}",
        where=str(folder),
        why="; ".join(said) + "; the answer is chosen among the classes, so that other classes give another score",
        remedy=f"get {variant.source}; or give the folder as DATA, for the score among all 1,000 classes",
    )


def _among(images: ImageSet, classes: Sequence[int], notes: Sequence[str]) -> Labelled:
    """Images with an answer chosen among some of the thousand classes."""
    names = imagenet_names()
    matched = match_classes(images, [names[place] for place in classes], known_to="ImageNet")
    return Labelled(matched, tuple((place,) for place in classes), tuple(notes))


def _shown(images: ImageSet, cut: Callable[[np.ndarray], np.ndarray], how: str) -> ImageSet:
    """The same images, of which only a part is shown."""
    return dataclasses.replace(
        images,
        read=lambda index: cut(images.read(index)),
        encoded=None,
        fingerprint=fingerprint(images.fingerprint, how),
    )
