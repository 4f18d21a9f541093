"""The confusion matrix as a heat map, from 2 classes with every count written to 100 with a count on hover.

Right answers are blue, wrong ones orange, and stronger means a larger share of the true class; wrong answers are drawn
on a square-root scale so that a few of them can be seen.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from markupsafe import Markup
from numpy.typing import NDArray

from vitreous.report.figure import tag
from vitreous.report.words import count, name, percent

MOST_CLASSES = 100
"""With more classes only those involved in most mistakes are drawn."""

_LETTER = 6.3  # units of one letter at the labels' size
_SIDES = ((4, 72.0), (8, 52.0), (12, 42.0), (24, 26.0), (40, 18.0), (60, 12.0), (MOST_CLASSES, 7.5))
# Strengths between which black and white change places as the readable colour: on dark paper, and on light paper for
# wrong and for right answers. A test works the contrast out from the style sheet.
_FAINT, _STRONG = 0.62, {False: 0.892, True: 0.792}
_TALLEST = 26  # letters of a label, at most


def chosen_classes(confusion: Sequence[Sequence[int]]) -> tuple[int, ...]:
    """The classes a heat map shows: all, or the hundred with most wrong answers from or to them, in order.

    Args:
        confusion: counts [true][predicted].
    """
    matrix = np.array(confusion, dtype=np.int64)
    if len(matrix) <= MOST_CLASSES:
        return tuple(range(len(matrix)))
    wrong = matrix - np.diag(np.diag(matrix))
    worst = np.argsort(-(wrong.sum(axis=0) + wrong.sum(axis=1)), kind="stable")[:MOST_CLASSES]
    return tuple(sorted(worst.tolist()))


def heat_map(confusion: Sequence[Sequence[int]], classes: Sequence[str]) -> Markup:
    """The confusion matrix drawn: a row per true class, a column per predicted class.

    Args:
        confusion: counts [true][predicted], of at least one class.
        classes: their names; the same number.
    """
    shown = chosen_classes(confusion)
    matrix = np.array(confusion, dtype=np.int64)
    shares = matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1)
    names = [name(classes[place], _TALLEST) for place in shown]
    side = _side(len(shown))
    every = max(1, math.ceil(9.5 / side))
    letters = max(len(word) for word in names)
    long = letters * _LETTER
    turn = 0 if long < side - 4 else -90 if side < 16 else -45
    left, tall = 28 + long, long * math.sin(math.radians(-turn)) + (8 if turn == -45 else 0)
    head, slant = (36 if turn else 42) + tall, tall if turn == -45 else 0.0
    width, height = left + len(shown) * side + 8 + max(0.0, slant - side / 2), head + len(shown) * side + 2
    parts = [tag("g", {"class": "frame"}, _frame(left, head, len(shown), side))]
    for i, row in enumerate(shown):
        cells = [
            _cell(matrix, shares, (row, column), names[i], names[j], left + j * side, head + i * side, side)
            for j, column in enumerate(shown)
            if matrix[row, column]
        ]
        parts.append(tag("g", {}, *cells))
        if i % every == 0:
            parts += _labels(names[i], i, left, head, side, turn)
    middle = left + len(shown) * side / 2
    parts.append(tag("text", {"x": middle, "y": 13, "class": "note", "text-anchor": "middle"}, "the model’s answer"))
    y = head + len(shown) * side / 2
    turned = {"x": 12, "y": y, "class": "note", "text-anchor": "middle", "transform": f"rotate(-90 12 {y:.1f})"}
    parts.append(tag("text", turned, "truth"))
    number = count(len(shown), "class", "classes")
    said = f"Confusion matrix of {number}; the pairs confused most often are listed beside it"
    attributes = {
        "class": "chart matrix fits" if len(shown) <= 12 else "chart matrix",
        "viewBox": f"0 0 {width:.0f} {height:.0f}",
        "role": "img",
    }
    return tag("svg", {**attributes, "width": round(width), "height": round(height), "aria-label": said}, *parts)


def _side(number: int) -> float:
    """Side of a cell: generous where counts are written, small where there are many classes."""
    return next(side for most, side in _SIDES if number <= most)


def _frame(left: float, top: float, number: int, side: float) -> Markup:
    length = number * side
    return tag("rect", {"x": left, "y": top, "width": length, "height": length, "class": "ground"})


def _labels(word: str, place: int, left: float, head: float, side: float, turn: int) -> list[Markup]:
    small = "tick small" if side < 16 else "tick"
    y = head + (place + 0.5) * side + 4
    x = left + (place + 0.5) * side + (3 if turn == -90 else 0)
    above = {"x": x, "y": head - 8, "class": small, "text-anchor": "start" if turn else "middle"}
    return [
        tag("text", {"x": left - 8, "y": y, "class": small, "text-anchor": "end"}, word),
        tag("text", {**above, "transform": f"rotate({turn} {x:.1f} {head - 8:.1f})" if turn else None}, word),
    ]


def _cell(
    matrix: NDArray[np.int64],
    shares: NDArray[np.float64],
    place: tuple[int, int],
    true: str,
    predicted: str,
    x: float,
    y: float,
    side: float,
) -> Markup:
    number, share = int(matrix[place]), float(shares[place])
    right = place[0] == place[1]
    strength = 0.12 + 0.88 * (share if right else math.sqrt(share))
    gap = 1.0 if side >= 12 else 0.5
    box = {"x": x + gap / 2, "y": y + gap / 2, "width": side - gap, "height": side - gap}
    said = f"{true} taken for {predicted}" if not right else f"{true} recognised"
    hover = tag("title", {}, f"{said}: {number:,} of {int(matrix[place[0]].sum()):,} ({percent(share)})")
    cell = tag("rect", {**box, "class": "right" if right else "wrong", "fill-opacity": strength}, hover)
    if side < 26 or (side < 40 and number > 99):
        return cell
    written = {"x": x + side / 2, "y": y + side / 2 + 4.5, "text-anchor": "middle"}
    style = "cell " + ("faint" if strength < _FAINT else "middling" if strength < _STRONG[right] else "strong")
    return cell + tag("text", {**written, "class": style, "pointer-events": "none"}, f"{number:,}")
