"""What is wrong with a set of labelled images, found before training: one pass over all of them, a page, a clean list.

Nothing is changed: images are only read, and the clean data set is a list of those that are kept.
"""

from __future__ import annotations

import dataclasses
import itertools
import json
import os
import shlex
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from jaxtyping import UInt8

from vitreous.data.checking.census import class_concerns, class_counts
from vitreous.data.checking.clean import kept_places
from vitreous.data.checking.copies import (
    Copies,
    Everything,
    Spot,
    equal_rows,
    everything,
    find_copies,
    in_conflict,
    label_of,
)
from vitreous.data.checking.frames import frame_concerns
from vitreous.data.checking.odd import comparable, find_odd, odd_concerns, odd_notes
from vitreous.data.checking.shuffle import shuffle_test as test_by_shuffling
from vitreous.data.checking.similar import connected, find_near
from vitreous.data.checking.survey import Survey, survey
from vitreous.data.imageset import ImageSet, Splits
from vitreous.data.layouts.found import Asked
from vitreous.data.layouts.manifests.manifest_rows import ManifestRow, write_manifest
from vitreous.data.layouts.remote.address import shown
from vitreous.data.recognise import recognise
from vitreous.errors import DataError, ImageError, UsageError
from vitreous.files import write_text
from vitreous.picture.preprocess import resized
from vitreous.report.check import IMAGES_SHOWN, CheckReport, groups_shown, odd_shown
from vitreous.report.content import Command
from vitreous.report.html import write_check_report
from vitreous.results import CheckedImage, CheckResult, Concern, ImageGroup, ShuffleTest
from vitreous.schema import to_json
from vitreous.study.folder import result_folder

_FINDINGS = "findings.json"
_THUMBNAIL = 224  # pixels of the longer side on the page


@dataclass(eq=False)
class _Found:
    """What was found, by places; the result says the same by names."""

    surveys: dict[str, Survey]
    copies: list[Copies]
    conflicts: list[Copies]
    near: list[tuple[Spot, ...]]
    """Two or more pictures that hang together, by part and place."""
    notes: list[str]
    concerns: list[Concern] = field(default_factory=list)
    """What was asked for and could not be told."""

    @property
    def sets(self) -> dict[str, ImageSet]:
        """All images, by part."""
        return {part: one.images for part, one in self.surveys.items()}

    @property
    def readable(self) -> dict[str, ImageSet]:
        """The sets without images that cannot be read."""
        return {
            part: one.images.subset(one.asked[one.seen]) if one.failures else one.images
            for part, one in self.surveys.items()
        }


def check(
    data: str | Path | ImageSet | Splits,
    *,
    near: bool = True,
    shuffle_test: bool = False,
    fix: str | Path | None = None,
    out: str | Path | None = None,
    seed: int = 0,
    root: str | None = None,
    command: str | None = None,
) -> CheckResult:
    """Look at every image of a data set once, and tell what is wrong with it before a model learns from it.

    Args:
        data: whatever training takes; an image set; or splits.
        near: whether to look for pictures that look the same though their pixels differ.
        shuffle_test: whether to see if labels have to do with images at all; this reads up to 10,000 images again.
        fix: a CSV file to write: the images without those that cannot be read or contradict each other, one of each,
            and none of train that is held out too. No image is touched.
        out: folder for report.html and findings.json; by default neither is written.
        seed: of the shuffle test.
        root: where the files of a built-in set lie.
        command: what was typed, for the page.

    Raises:
        DataError: there are no images, or the data cannot be understood.
        UsageError: `fix` cannot be written for data of this kind.
        ResourceError: a file cannot be written.
    """
    began = time.monotonic()
    recognised = recognise(data, Asked(root=root, keep_empty=True))
    if fix is not None:
        _check_fixable(recognised.sets, Path(fix), data)
    folder = None if out is None else result_folder(Path(out), _FINDINGS)
    surveys = survey({part: (images, np.arange(len(images))) for part, images in recognised.sets.items()}, "checking")
    found = _find(surveys, recognised.notes, near=near)
    tested = _tested(found, seed) if shuffle_test else None
    result = _result(recognised.name, found, tested, began)
    if fix is not None:
        result = dataclasses.replace(result, manifest=str(fix), kept=_write_clean(Path(fix), found))
    if folder is not None:
        result = dataclasses.replace(result, html=str(folder / "report.html"))
        typed = shown(command or f"vitreous check {shlex.quote(recognised.name)}")
        write_check_report(folder / "report.html", _report(result, found, typed))
        write_text(folder / _FINDINGS, json.dumps(to_json(result), indent=1) + "\n")
    return result


def free_folder(name: str) -> str:
    """The first of checks/NAME-1, checks/NAME-2 ... that is not there yet.

    Args:
        name: of the data.
    """
    last = Path(name).stem if Path(name).is_file() else Path(shown(name)).name
    plain = "".join(sign if sign.isalnum() or sign in "-_." else "-" for sign in last).strip("-.")[:60]
    places = (os.path.join("checks", f"{plain or 'data'}-{number}") for number in itertools.count(1))
    return next(place for place in places if not os.path.lexists(place))


def _find(surveys: Mapping[str, Survey], notes: Sequence[str], *, near: bool) -> _Found:
    sets = {part: one.images for part, one in surveys.items()}
    seen = everything(surveys)
    copies = find_copies(seen)
    found = _Found(dict(surveys), copies, in_conflict(copies, sets), [], list(notes))
    if near:
        found.near, said = _near(seen)
        found.notes += said
    return found


def _tested(found: _Found, seed: int) -> ShuffleTest | None:
    """The shuffle test; where there is too little for one, that is told beside everything else."""
    try:
        return test_by_shuffling(found.readable, seed)
    except DataError as error:
        what, remedy = f"the labels were not tested: {error.what}", error.remedy or "add images, or leave the test out"
        found.concerns.append(Concern(kind="labels", what=what, remedy=remedy))
        return None


def _near(seen: Everything) -> tuple[list[tuple[Spot, ...]], list[str]]:
    """Groups of pictures that look the same, and what is to be said of the search."""
    rows = np.flatnonzero(comparable(seen.looks))
    looks = seen.looks[rows]
    links, complete = find_near(looks["across"], looks["down"])
    near = []
    for some in equal_rows(connected(links, len(rows))):
        if len(np.unique(looks["pixels"][some])) > 1:
            near.append(tuple(seen.spot(row) for row in rows[some].tolist()))
    notes = []
    if plain := len(seen.looks) - len(rows):
        shows = "1 image shows" if plain == 1 else f"{plain:,} images show"
        notes.append(f"{shows} too little, or too small, to look for near duplicates; equal ones are found")
    if not complete:
        notes.append(
            "thousands of pictures look alike: each was compared with its nearest only, so some pairs may lack"
        )
    return near, notes


def _result(name: str, found: _Found, tested: ShuffleTest | None, began: float) -> CheckResult:
    sets, readable = found.sets, found.readable
    odd = find_odd(found.surveys)
    concerns = [*class_concerns(readable), *frame_concerns(next(iter(readable.values()))), *found.concerns]
    near = tuple(_group(sets, spots, "near") for spots in found.near)
    if several := [group for group in near if len({image.label for image in group.images}) > 1]:
        groups = "1 group" if len(several) == 1 else f"{len(several):,} groups"
        what = f"{groups} of pictures that look the same with more than one label"
        concerns.append(Concern(kind="conflicts", what=what, remedy="look whether both labels can be right"))
    concerns += odd_concerns(odd)
    if tested is not None and tested.passed is False:
        concerns.append(
            Concern(kind="labels", what=tested.explained, remedy="look at a few images beside their labels")
        )
    copies = {id(group): _group(sets, group.spots, "bytes" if group.same_file else "pixels") for group in found.copies}
    everywhere = (*copies.values(), *near)
    return CheckResult(
        data=name,
        images=sum(map(len, sets.values())),
        classes=class_counts(sets),
        unreadable=tuple(failure for one in found.surveys.values() for _, failure in sorted(one.failures.items())),
        duplicates=tuple(copies.values()),
        near=near,
        leaks=tuple(group for group in everywhere if len({image.part for image in group.images}) > 1),
        conflicts=tuple(copies[id(group)] for group in found.conflicts),
        odd=tuple(odd),
        warnings=tuple(concerns),
        notes=(*found.notes, *odd_notes(odd, found.surveys)),
        seconds=time.monotonic() - began,
        shuffle_test=tested,
    )


def _group(sets: Mapping[str, ImageSet], spots: Sequence[Spot], how: str) -> ImageGroup:
    images = tuple(
        CheckedImage(path=sets[spot.part].ids[spot.place], part=spot.part, label=label_of(sets[spot.part], spot.place))
        for spot in spots
    )
    return ImageGroup(how=how, images=images)


def _check_fixable(sets: Mapping[str, ImageSet], fix: Path, data: object) -> None:
    """Refuse what no list of image files can say, before anything slow."""
    if fix.suffix.lower() != ".csv":
        raise UsageError(f"--fix writes a table in CSV, got {fix}", remedy=f"--fix {fix.with_suffix('.csv')}")
    if not fix.parent.is_dir():
        raise UsageError("there is no folder to write the table to", where=str(fix.parent))
    if fix.exists() and isinstance(data, str | Path) and Path(data).exists() and _is_or_holds(Path(data), fix):
        raise UsageError("--fix would write over the data itself", where=str(fix), remedy="another name")
    for images in sets.values():
        if images.targets is not None and images.targets.soft:
            raise UsageError("--fix cannot write shares of labels into a table", where=images.name)
        inside = images.encoded is None or images.shards or images.in_memory
        if inside or (len(images) and not any(map(os.path.lexists, images.ids))):
            raise UsageError(
                "--fix lists files, and these images are no files of their own",
                where=images.name,
                remedy="the list of findings (findings.json) names what to leave out",
            )


def _is_or_holds(data: Path, file: Path) -> bool:
    """Whether a file is the data, or lies in its folder, where a table of labels may be."""
    return file.samefile(data) or file.resolve().is_relative_to(data.resolve())


def _write_clean(fix: Path, found: _Found) -> int:
    """Write the list of images that are kept; gives how many."""
    across = [spots for spots in found.near if len({spot.part for spot in spots}) > 1]
    keep = kept_places(found.surveys, found.copies, found.conflicts, across)
    base = os.path.abspath(fix.parent)
    rows = [
        ManifestRow(
            path=_from(base, images.ids[place]),
            labels=_labels(images, place),
            split="" if part == "all" else part,
            group="" if images.groups is None else str(images.groups[place]),
        )
        for part, images in found.sets.items()
        for place in np.flatnonzero(keep[part]).tolist()
    ]
    write_manifest(fix, rows)
    return len(rows)


def _from(base: str, path: str) -> str:
    """A path counted from a folder that it lies in, with `/` between; absolute where it lies elsewhere."""
    whole = os.path.abspath(path)
    inside = whole.startswith(os.path.join(base, ""))
    return (os.path.relpath(whole, base) if inside else whole).replace(os.sep, "/")


def _labels(images: ImageSet, place: int) -> tuple[str, ...]:
    targets = images.targets
    if targets is None:
        return (images.classes[int(images.labels[place])],)
    start = int(targets.ends[place - 1]) if place else 0
    return tuple(images.classes[int(at)] for at in targets.classes[start : int(targets.ends[place])])


def _report(result: CheckResult, found: _Found, command: str) -> CheckReport:
    parts = ", ".join(f"{part} {len(images):,}" for part, images in found.sets.items() if part != "all")
    return CheckReport(
        title=result.data,
        summary=f"{result.images:,} images in {len(result.classes):,} classes{f' ({parts})' if parts else ''}, each"
        " read and compared with all the others before anything learns from them.",
        result=result,
        pictures=_pictures(result, found.sets),
        command=command,
        written=time.strftime("%Y-%m-%d %H:%M"),
        next_steps=next_commands(result),
        listable=_listable(result),
    )


def next_commands(result: CheckResult) -> tuple[Command, ...]:
    """What to type next.

    Args:
        result: of the check.
    """
    data = shlex.quote(result.data)
    if result.manifest is not None:
        clean = shlex.quote(result.manifest)
        return (
            Command(text=f"vitreous check {clean}", explained="see that the list is clean"),
            Command(text=f"vitreous finetune {clean} --model MODEL", explained="train on what is left"),
        )
    steps = [Command(text=f"vitreous finetune {data} --model MODEL", explained="train on these images")]
    if _listable(result):
        mend = "a clean list of images: none unreadable, one of each, no leaks; the images stay as they are"
        steps.insert(0, Command(text=f"vitreous check {data} --fix clean.csv", explained=mend))
    return tuple(steps)


def _listable(result: CheckResult) -> bool:
    """Whether there is something that a clean list leaves out, and it lies in files that can be listed."""
    groups = (*result.duplicates, *result.leaks, *result.conflicts)
    paths = itertools.chain(
        (failure.path for failure in result.unreadable), (image.path for group in groups for image in group.images)
    )
    return any(map(os.path.lexists, paths))


def _pictures(result: CheckResult, sets: Mapping[str, ImageSet]) -> dict[tuple[str, str], UInt8[np.ndarray, "h w 3"]]:
    """Small pictures of the images that the page shows, by part and path."""
    wanted = {(image.part, image.path) for group in groups_shown(result) for image in group.images[:IMAGES_SHOWN]}
    wanted |= {(image.part, image.path) for image in odd_shown(result)}
    found = {}
    for part, images in sets.items():
        asked = {path for its_part, path in wanted if its_part == part}
        places = {path: place for place, path in enumerate(images.ids) if path in asked} if asked else {}
        for path, place in places.items():
            try:
                found[part, path] = _small(images.read(place))
            except ImageError:  # gone since it was looked at: named, not shown
                continue
    return found


def _small(pixels: UInt8[np.ndarray, "H W 3"]) -> UInt8[np.ndarray, "h w 3"]:
    height, width = pixels.shape[:2]
    scale = min(1.0, _THUMBNAIL / max(height, width))
    return resized(pixels, (max(1, round(height * scale)), max(1, round(width * scale))), "box")
