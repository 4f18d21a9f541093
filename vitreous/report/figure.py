"""Figures as inline SVG, drawn from numbers and coloured by the page's CSS variables; nothing here knows HTML.

Every figure has `role="img"` and a sentence for those who hear it; marks carry a `<title>`, which browsers show on
hover. Colours are classes (`first`, `second`, `grid`, ...), never values, so that one figure serves light and dark.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from markupsafe import Markup, escape

from vitreous.report.words import Reliability, clean, count, percent, plain

_WIDTH, _HEIGHT = 420, 250  # user units of a chart: about the pixels it gets on a phone
_DOTS = 60  # marks with a tooltip per line, at most
_POINTS = 400  # corners per line, at most


def tag(name: str, attributes: Mapping[str, object], *children: str) -> Markup:
    """An element with escaped attributes; children are escaped unless they are Markup.

    Args:
        name: of the element.
        attributes: numbers are written in few digits; None leaves the attribute out.
        children: elements or text.
    """
    pairs = ((key, _attribute(value)) for key, value in attributes.items() if value is not None)
    written = "".join(f' {key}="{escape(clean(value))}"' for key, value in pairs)
    inside = "".join(child if isinstance(child, Markup) else escape(clean(child)) for child in children)
    return Markup(f"<{name}{written}>{inside}</{name}>")


def _attribute(value: object) -> str:
    return f"{value:.2f}".rstrip("0").rstrip(".") if isinstance(value, float) else str(value)


def _svg(width: float, height: float, label: str, *children: str, style: str = "chart") -> Markup:
    view = f"0 0 {_attribute(float(width))} {_attribute(float(height))}"
    attributes = {"class": style, "viewBox": view, "width": float(width), "height": float(height)}
    return tag("svg", {**attributes, "role": "img", "aria-label": label}, *children)


def _text(x: float, y: float, words: str, style: str, anchor: str = "start", turn: float | None = None) -> Markup:
    rotation = None if turn is None else f"rotate({turn:g} {x:.2f} {y:.2f})"
    place = {"x": x, "y": y, "class": style, "text-anchor": anchor, "transform": rotation}
    return tag("text", place, words)


def _line(x1: float, y1: float, x2: float, y2: float, style: str) -> Markup:
    return tag("line", {"x1": x1, "y1": y1, "x2": x2, "y2": y2, "class": style})


def _box(x: float, y: float, width: float, height: float, style: str, title: str = "") -> Markup:
    hover = [tag("title", {}, title)] if title else []
    return tag("rect", {"x": x, "y": y, "width": width, "height": height, "class": style}, *hover)


def ticks(low: float, high: float, most: int = 6) -> list[float]:
    """Round numbers (1, 2 or 5 times a power of ten apart) inside [low, high], as many as `most` allows.

    Args:
        low: finite.
        high: finite, above low.
        most: the largest number of ticks, 2 or more.
    """
    if not high > low:
        return [low]
    power = 10.0 ** (math.floor(math.log10((high - low) / most)) - 1)
    for decade in (1, 10, 100, 1000):
        for factor in (1, 2, 5):
            step = factor * decade * power
            first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
            if last - first < most:
                return [place * step for place in range(first, last + 1)]
    return [low, high]


@dataclass(frozen=True, kw_only=True, slots=True)
class Series:
    """One line of a chart."""

    name: str
    points: tuple[tuple[float, float], ...]
    """(x, y) with x rising; points that are not finite are left out."""
    style: str = "first"
    """CSS class: first, second, third or fourth."""


@dataclass(frozen=True, kw_only=True, slots=True)
class _Frame:
    """Where data coordinates land on the drawing."""

    x: tuple[float, float]
    y: tuple[float, float]
    left: float
    right: float
    top: float = 14.0
    bottom: float = _HEIGHT - 40.0

    def across(self, x: float) -> float:
        return self.left + (x - self.x[0]) / ((self.x[1] - self.x[0]) or 1.0) * (self.right - self.left)

    def down(self, y: float) -> float:
        return self.bottom - (y - self.y[0]) / ((self.y[1] - self.y[0]) or 1.0) * (self.bottom - self.top)


def line_chart(
    label: str,
    series: Sequence[Series],
    *,
    across: str,
    spell: Callable[[float], str] = plain,
    floor: float | None = None,
    ceiling: float | None = None,
) -> Markup:
    """A line chart with a few round ticks and each line named at its end.

    Args:
        label: what the chart shows, for those who hear it.
        series: lines; those without a finite point are left out.
        across: name of the x axis.
        spell: how a y value is written.
        floor: smallest y the axis must reach down to.
        ceiling: largest y the axis must reach up to.
    """
    lines = [(one, _finite(one.points)) for one in series]
    lines = [(one, points) for one, points in lines if points]
    if not lines:
        return _svg(_WIDTH, 60, f"{label}: nothing was recorded", _text(0, 30, "nothing was recorded", "note"))
    xs = [x for _, points in lines for x, _ in points]
    ys = [y for _, points in lines for _, y in points]
    ys += [edge for edge in (floor, ceiling) if edge is not None]
    low, high = min(ys), max(ys)
    marks = _covering(low, high if high > low else low + (abs(low) or 1.0), ceiling)
    gutter = 10 + 6.6 * max(len(spell(mark)) for mark in marks)
    margin = 12 + (6.6 * max(len(one.name) for one, _ in lines) if len(lines) > 1 else 0)
    frame = _Frame(x=(min(xs), max(xs)), y=(marks[0], max(high, marks[-1])), left=gutter, right=_WIDTH - margin)
    drawn = [_axes(frame, marks, spell, across)]
    drawn += [_curve(frame, one, points, across, spell) for one, points in lines]
    if len(lines) > 1:
        drawn.append(_names(frame, lines))
    spoken = "; ".join(f"{one.name} from {spell(p[0][1])} to {spell(p[-1][1])}" for one, p in lines)
    return _svg(_WIDTH, _HEIGHT, f"{label}, by {across}: {spoken}", *drawn)


def _covering(low: float, high: float, ceiling: float | None) -> list[float]:
    """Ticks that reach from below `low` to above `high`, but not above the ceiling."""
    marks = ticks(low, high, 6)
    step = marks[1] - marks[0] if len(marks) > 1 else high - low
    if marks[0] > low + 1e-9 * step:
        marks.insert(0, marks[0] - step)
    if marks[-1] < high - 1e-9 * step and (ceiling is None or marks[-1] + step <= ceiling):
        marks.append(marks[-1] + step)
    return marks


def _finite(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    kept = [(x, y) for x, y in points if math.isfinite(x) and math.isfinite(y)]
    stride = -(-len(kept) // _POINTS) or 1
    return kept[:-1:stride] + kept[-1:]


def _axes(frame: _Frame, marks: Sequence[float], spell: Callable[[float], str], across: str) -> Markup:
    parts = []
    for mark in marks:
        y = frame.down(mark)
        parts += [
            _line(frame.left, y, frame.right, y, "grid"),
            _text(frame.left - 8, y + 4, spell(mark), "tick", "end"),
        ]
    parts.append(_line(frame.left, frame.bottom, frame.right, frame.bottom, "axis"))
    for mark in ticks(*frame.x):
        x = frame.across(mark)
        parts += [_line(x, frame.bottom, x, frame.bottom + 4, "axis")]
        parts += [_text(x, frame.bottom + 18, plain(round(mark, 9)), "tick", "middle")]
    parts.append(_text((frame.left + frame.right) / 2, _HEIGHT - 5, across, "note", "middle"))
    return tag("g", {}, *parts)


def _curve(
    frame: _Frame,
    one: Series,
    points: Sequence[tuple[float, float]],
    across: str,
    spell: Callable[[float], str],
) -> Markup:
    path = " ".join(f"{frame.across(x):.1f},{frame.down(y):.1f}" for x, y in points)
    parts = [tag("polyline", {"points": path, "class": f"line {one.style}"})]
    stride = -(-len(points) // _DOTS)
    for x, y in [*points[:-1:stride], points[-1]]:
        hover = tag("title", {}, f"{one.name}, {across} {plain(round(x, 3))}: {spell(y)}")
        parts.append(tag("circle", {"cx": frame.across(x), "cy": frame.down(y), "r": 6, "class": "hover"}, hover))
    x, y = points[-1]
    parts.append(tag("circle", {"cx": frame.across(x), "cy": frame.down(y), "r": 3, "class": f"dot {one.style}"}))
    return tag("g", {"class": "series"}, *parts)


def _names(frame: _Frame, lines: Sequence[tuple[Series, list[tuple[float, float]]]]) -> Markup:
    """Each line's name at its right end, moved apart where they would touch."""
    placed: list[Markup] = []
    above = -math.inf
    for one, points in sorted(lines, key=lambda line: -line[1][-1][1]):
        above = max(frame.down(points[-1][1]), above + 15)
        placed.append(_text(frame.right + 8, above + 4, one.name, f"name {one.style}"))
    return tag("g", {}, *placed)


def bar(share: float | None, style: str = "first", interval: tuple[float, float] | None = None) -> Markup:
    """A bar from 0 to 100 % that fills the width it is given; over the interval its shade changes.

    Args:
        share: in [0, 1]; None leaves the track empty.
        style: CSS class of the bar.
        interval: (low, high) in [0, 1].
    """
    parts = [tag("rect", {"width": 100 * share, "height": 10, "class": style})] if share else []
    if share and interval:
        low, high = 100 * interval[0], 100 * interval[1]
        parts += [_box(low, 0, high - low, 10, f"pale {style}"), _line(100 * share, 0, 100 * share, 10, "mark")]
    attributes = {"class": "bar", "viewBox": "0 0 100 10", "preserveAspectRatio": "none", "aria-hidden": "true"}
    return tag("svg", attributes, *parts)


def interval_strip(share: float, interval: tuple[float, float]) -> Markup:
    """A number line around a score: its 95 % confidence interval as a band, the score as a dot.

    Args:
        share: the score, in [0, 1].
        interval: (low, high), in [0, 1].
    """
    width, left, right, y = 360, 4.0, 330.0, 14.0
    low, high = interval
    room = max(0.8 * (high - low), 0.01)
    frame = _Frame(x=(max(0.0, low - room), min(1.0, high + room)), y=(0, 1), left=left, right=right)
    parts = [_line(left, y, right, y, "axis")]
    parts += [_line(x, y - 3, x, y + 3, "axis") for x in map(frame.across, ticks(*frame.x, 12))]
    band = frame.across(low), frame.across(high)
    anchors = ("middle", "middle") if band[1] - band[0] > 60 else ("end", "start")
    for x, edge, anchor in zip(band, interval, anchors, strict=True):
        parts.append(_text(max(x, 18.0 if anchor == "middle" else 36.0), y + 27, percent(edge), "tick", anchor))
    said = f"95 % interval from {percent(low)} to {percent(high)}"
    parts.append(_box(band[0], y - 7, max(band[1] - band[0], 1.0), 14, "band", said))
    parts += [_line(x, y - 9, x, y + 9, "whisker") for x in band]
    parts.append(tag("circle", {"cx": frame.across(share), "cy": y, "r": 6, "class": "dot first"}))
    return _svg(width, 46, f"{percent(share)}, {said}", *parts, style="chart strip")


def reliability_diagram(bins: Sequence[Reliability]) -> Markup:
    """How often answers of a given probability are right, against the diagonal of perfect honesty.

    Args:
        bins: non-empty bins, lowest first.
    """
    height, base = 340, 264.0
    frame = _Frame(x=(0, 1), y=(0, 1), left=54, right=_WIDTH - 18.0, bottom=base)
    parts = []
    for mark in (0.0, 0.25, 0.5, 0.75, 1.0):
        x, y = frame.across(mark), frame.down(mark)
        parts += [_line(frame.left, y, frame.right, y, "grid"), _text(46, y + 4, f"{100 * mark:.0f} %", "tick", "end")]
        parts.append(_text(x, height - 22, f"{100 * mark:.0f} %", "tick", "middle"))
    parts.append(_line(frame.left, frame.down(0), frame.right, frame.down(1), "ideal"))
    fullest = max((one.count for one in bins), default=1)
    for one in bins:
        x, y = frame.across(one.confidence), frame.down(one.accuracy)
        said = (
            f"said {percent(one.low, 0)} to {percent(one.high, 0)}: {count(one.count, 'answer')}, "
            f"{percent(one.accuracy)} right, {percent(one.confidence)} expected"
        )
        reach = [frame.down(edge) for edge in one.interval]
        parts.append(_line(x, reach[0], x, reach[1], "reach"))
        tall = 34 * one.count / fullest
        left, right = frame.across(one.low) + 1, frame.across(one.high) - 1
        parts.append(_box(left, base + 40 - tall, right - left, tall, "amount", said))
        size = 3.5 + 4.5 * math.sqrt(one.count / fullest)
        parts.append(tag("circle", {"cx": x, "cy": y, "r": size, "class": "dot first"}, tag("title", {}, said)))
    parts.append(_line(frame.left, base, frame.right, base, "axis"))
    parts.append(_line(frame.left, base + 40, frame.right, base + 40, "axis"))
    parts.append(_text(frame.left + 6, 26, "share that is right", "note"))
    parts.append(
        _text((frame.left + frame.right) / 2, height - 5, "probability the model gave its answer", "note", "middle")
    )
    spoken = "; ".join(f"{percent(one.confidence, 0)} said, {percent(one.accuracy, 0)} right" for one in bins)
    return _svg(_WIDTH, height, f"Reliability diagram: {spoken}", *parts)
