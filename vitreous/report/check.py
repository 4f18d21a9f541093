"""What the page of `vitreous check` is made of: pictures side by side that are the same, and what to do about it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vitreous.console import duration
from vitreous.report import images
from vitreous.report.content import Command
from vitreous.report.words import count, name
from vitreous.results import CheckResult, ImageGroup, OddImage

GROUPS_SHOWN = 8
"""Groups of each kind that are shown as pictures."""

IMAGES_SHOWN = 4
"""Pictures of one group."""

ODD_SHOWN = 12

_FAILURES_SHOWN = 200
_LISTED = 200  # groups named below those that are shown
_PATHS_LISTED = 6
_HOW = {
    "bytes": "equal files",
    "pixels": "equal pictures in different files",
    "near": "pictures that look the same",
}


@dataclass(frozen=True, kw_only=True, slots=True)
class CheckReport:
    """Everything the page of one check shows."""

    title: str
    summary: str
    """One sentence under the title."""
    result: CheckResult
    pictures: dict[tuple[str, str], NDArray[np.uint8]]
    """(height, width, 3) RGB by part and path; an image that is not in it is named only."""
    command: str
    written: str = ""
    next_steps: tuple[Command, ...] = ()
    listable: bool = True
    """Whether a clean list can be written: the images are files of their own."""


def groups_shown(result: CheckResult) -> tuple[ImageGroup, ...]:
    """The groups whose pictures the page shows.

    Args:
        result: of the check.
    """
    kinds = (result.leaks, result.conflicts, result.duplicates, result.near)
    return tuple(group for groups in kinds for group in groups[:GROUPS_SHOWN])


def odd_shown(result: CheckResult) -> tuple[OddImage, ...]:
    """The odd images whose pictures the page shows: the first of each kind in turn.

    Args:
        result: of the check.
    """
    kinds: dict[str, list[OddImage]] = {}
    for image in result.odd:
        kinds.setdefault(image.kind, []).append(image)
    turns = [image for place in range(ODD_SHOWN) for some in kinds.values() for image in some[place : place + 1]]
    return tuple(turns[:ODD_SHOWN])


def check_view(report: CheckReport) -> dict[str, Any]:
    """Values for `check.html.j2`.

    Args:
        report: what to show.
    """
    result = report.result
    sections = [_section(report, *kind) for kind in _kinds(result) if kind[2]]
    todo = [*_todo(report), *((concern.what, concern.remedy) for concern in result.warnings)]
    links = [("todo", "What to do")] if todo else []
    links += [("unreadable", "Cannot be read")] if result.unreadable else []
    links += [(section["id"], section["title"]) for section in sections]
    links += [("odd", "Odd images")] if result.odd else []
    links += [("classes", "Classes")] + ([("labels", "Labels")] if result.shuffle_test else [])
    odd = odd_shown(result)
    return {
        "title": name(report.title),
        "summary": report.summary,
        "written": report.written,
        "links": [*links, ("next", "How to go on")],
        "score": f"{result.images:,}",
        "score_label": f"{'image' if result.images == 1 else 'images'} looked at, in {duration(result.seconds)}",
        "verdict": _verdict(result, len(todo)),
        "clean": not result.faulty,
        "facts": _facts(result),
        "notes": result.notes,
        "todo": todo,
        "failed": {"count": len(result.unreadable), "rows": result.unreadable[:_FAILURES_SHOWN]},
        "sections": sections,
        "odd": [_odd(report, image) for image in odd],
        "odd_words": _odd_words(result, len(odd)),
        "counts": _counts(result),
        "shuffle": result.shuffle_test,
        "command": report.command,
        "next_steps": report.next_steps,
    }


def _kinds(result: CheckResult) -> list[tuple[str, str, Sequence[ImageGroup], str]]:
    return [
        (
            "leaks",
            "Leaks",
            result.leaks,
            "The same picture, or nearly, in two parts. What a model has learned from must not score it: such a score"
            " is too high.",
        ),
        (
            "conflicts",
            "Conflicts",
            result.conflicts,
            "The same picture with more than one label. At most one of them is right; look, and keep that one.",
        ),
        (
            "duplicates",
            "Duplicates",
            result.duplicates,
            "Equal pictures, pixel for pixel. One of each is enough.",
        ),
        (
            "near",
            "Near duplicates",
            result.near,
            "Pictures that look the same: at most 4 of the 64 bits of their difference hash differ. Some are the same"
            " photograph saved anew, some are neighbours of one burst, and a few may only resemble each other.",
        ),
    ]


def _section(report: CheckReport, key: str, title: str, groups: Sequence[ImageGroup], words: str) -> dict[str, Any]:
    shown = [_group(report, group) for group in groups[:GROUPS_SHOWN]]
    rest = groups[GROUPS_SHOWN : GROUPS_SHOWN + _LISTED]
    listed = [
        {
            "how": _HOW[group.how],
            "paths": [image.path for image in group.images[:_PATHS_LISTED]],
            "more": max(0, len(group.images) - _PATHS_LISTED),
        }
        for group in rest
    ]
    total = sum(len(group.images) for group in groups)
    return {
        "id": key,
        "title": title,
        "words": words,
        "counted": f"{count(len(groups), 'group')}, {count(total, 'image')}",
        "groups": shown,
        "listed": listed,
        "unlisted": len(groups) - len(shown) - len(listed),
    }


def _group(report: CheckReport, group: ImageGroup) -> dict[str, Any]:
    plates = [
        {**_plate(pixels), "alt": f"{image.part}: {name(image.path)}, labelled {name(image.label)}"}
        for image in group.images[:IMAGES_SHOWN]
        if (pixels := report.pictures.get((image.part, image.path))) is not None
    ]
    shown = group.images[:IMAGES_SHOWN]
    parts = {image.part for image in group.images}
    return {
        "plates": plates,
        "how": _HOW[group.how],
        "images": [
            {"part": "" if parts == {"all"} else image.part, "label": name(image.label), "path": image.path}
            for image in shown
        ],
        "more": len(group.images) - len(shown),
    }


def _plate(pixels: NDArray[np.uint8]) -> dict[str, Any]:
    height, width = pixels.shape[:2]
    return {"image": images.data_uri(pixels), "crisp": images.is_small(pixels), "width": width, "height": height}


def _odd(report: CheckReport, image: OddImage) -> dict[str, Any]:
    pixels = report.pictures.get((image.part, image.path))
    plates = [] if pixels is None else [{**_plate(pixels), "alt": f"{image.kind}: {name(image.path)}"}]
    return {"plates": plates, "kind": image.kind, "what": image.what, "path": image.path}


def _odd_words(result: CheckResult, shown: int) -> str:
    total = len(result.odd)
    return "" if total <= shown else f"{shown} of {total:,} are shown; findings.json names them all."


def _todo(report: CheckReport) -> list[tuple[str, str]]:
    """What is wrong with single images, and what to do about it."""
    result, listed = report.result, report.listable
    found = [
        (
            len(result.unreadable),
            "image cannot be read",
            "images cannot be read",
            "Mend or remove them; or train with --bad-images skip",
        ),
        (
            len(result.leaks),
            "picture lies in several parts, or nearly",
            "pictures lie in several parts, or nearly",
            ("A clean list (--fix clean.csv) takes them out of train; " if listed else "Take them out of train; ")
            + "--dedupe when training does so for equal ones",
        ),
        (
            len(result.conflicts),
            "picture has several labels",
            "pictures have several labels",
            "Keep the image whose label is right" + ("; a clean list leaves out all of them" if listed else ""),
        ),
        (
            len(result.duplicates),
            "picture is there more than once",
            "pictures are there more than once",
            "A clean list keeps one of each" if listed else "Keep one of each",
        ),
    ]
    return [(count(number, one, many), remedy) for number, one, many, remedy in found if number]


def _verdict(result: CheckResult, number: int) -> str:
    if not result.faulty:
        return "Nothing was found that has to be mended."
    return f"{count(number, 'thing')} to look at, listed below with what to do."


def _facts(result: CheckResult) -> list[tuple[str, str]]:
    facts = [
        ("unreadable", len(result.unreadable)),
        ("leaks", len(result.leaks)),
        ("conflicts", len(result.conflicts)),
        ("duplicates", len(result.duplicates)),
        ("near duplicates", len(result.near)),
        ("odd images", len(result.odd)),
    ]
    return [(key, f"{number:,}") for key, number in facts]


def _counts(result: CheckResult) -> dict[str, Any]:
    parts = list(next(iter(result.classes.values()), {}))
    most = max((number for row in result.classes.values() for number in row.values()), default=0) or 1
    rows = [
        {
            "name": label,
            "numbers": [
                {"count": numbers[part], "share": numbers[part] / most, "style": "first" if place == 0 else "third"}
                for place, part in enumerate(parts)
            ],
        }
        for label, numbers in result.classes.items()
    ]
    totals = [sum(row[part] for row in result.classes.values()) for part in parts]
    return {"parts": ["images" if part == "all" else part for part in parts], "rows": rows, "totals": totals}
