"""Charts that leave the page: one description, drawn by matplotlib to SVG and PNG, and for a page in light and dark.

The figures of `figure.py` are part of a page and take its colours; a chart is a picture of its own, for a paper or a
slide. Its colours are those of Okabe and Ito (2008), which people who are colour-blind tell apart; whatever colour says
is also said by a name or a mark. Letters are drawn as outlines, so that a chart looks the same everywhere.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from textwrap import wrap
from typing import TYPE_CHECKING, Any

from markupsafe import Markup

from vitreous.errors import UsageError
from vitreous.files import write_atomically
from vitreous.report.figure import tag

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_LIGHT = ("#0072b2", "#d55e00", "#009e73", "#a8498a", "#b98200", "#3a94c9", "#77736b")
_DARK = ("#5ab2e8", "#f08a3c", "#3dc79b", "#dd9bc3", "#f0c04a", "#a8d8f5", "#98948b")
_MARKS = ("o", "s", "^", "D", "v", "P", "X")
_INK, _PAPER = ("#1e1d1b", "#e8e5de"), ("#fcfbf8", "#15171a")
_GRID = ("#e0dbd0", "#34383e")
_WIDTH = 7.2  # inches, as two columns of a paper
_ROW = 0.3  # inches of one bar
_LETTERS = 95  # of a title in one line


@dataclass(frozen=True, kw_only=True, slots=True)
class Bar:
    """One bar of a panel."""

    name: str
    value: float
    error: float | None = None
    """How far the true value may lie to either side, such as the standard deviation over seeds."""
    colour: int = 0
    """Place in the palette, 0 to 5; 6 is grey."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Panel:
    """Bars under one title."""

    title: str
    bars: tuple[Bar, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class BarPanels:
    """Panels side by side with one row for each name; bars begin at 0, their values stand beside them."""

    title: str
    panels: tuple[Panel, ...]
    unit: str
    """What values are, with their unit: `accuracy, %`."""
    alt: str
    """The whole chart in a sentence, for those who hear it."""
    most: float = 100.0
    """Where the scale ends."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Line:
    """One line of a chart."""

    name: str
    points: tuple[tuple[float, float], ...]
    band: tuple[tuple[float, float], ...] | None = None
    """Lower and upper end of what each point may be, in the order of the points."""
    colour: int = 0
    dashed: bool = False
    marker: bool = True


@dataclass(frozen=True, kw_only=True, slots=True)
class Lines:
    """A line chart."""

    title: str
    lines: tuple[Line, ...]
    across: str
    up: str
    alt: str
    log_across: bool = False
    diagonal: bool = False
    """Draw the line on which both axes are equal, as in a reliability diagram."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Dots:
    """Points of one kind; an empty label is not written."""

    name: str
    points: tuple[tuple[float, float, str], ...]
    colour: int = 0
    marker: str = "o"


@dataclass(frozen=True, kw_only=True, slots=True)
class Scatter:
    """Labelled points, by kind."""

    title: str
    dots: tuple[Dots, ...]
    across: str
    up: str
    alt: str
    log_across: bool = False


Chart = BarPanels | Lines | Scatter


def figure(chart: Chart) -> Markup:
    """The chart for a page: a figure with a light and a dark drawing, of which the page shows the one that fits.

    Args:
        chart: what to draw.
    """
    drawings = [
        Markup('<img class="drawing {}" src="{}" alt="{}">').format(name, _as_source(_svg(chart, dark=dark)), chart.alt)
        for name, dark in (("by-day", False), ("by-night", True))
    ]
    scrolled = tag("div", {"class": "scroll", "tabindex": "0", "role": "group", "aria-label": chart.title}, *drawings)
    return tag("figure", {"class": "drawn"}, scrolled, tag("figcaption", {}, chart.title))


def save(chart: Chart, folder: Path, name: str) -> tuple[Path, Path]:
    """Write the chart as NAME.svg and NAME.png, light, each whole or not at all, and give both paths.

    Args:
        chart: what to draw.
        folder: one that exists.
        name: of the files, without an ending.

    Raises:
        ResourceError: a file cannot be written.
    """
    svg, png = folder / f"{name}.svg", folder / f"{name}.png"
    for path, kind in ((svg, "svg"), (png, "png")):
        drawn = _drawn(chart, dark=False, kind=kind, titled=True)
        write_atomically(path, [drawn], len(drawn))
    return svg, png


def _as_source(svg: bytes) -> str:
    return f"data:image/svg+xml;base64,{base64.b64encode(svg).decode()}"


def _svg(chart: Chart, *, dark: bool) -> bytes:
    return _drawn(chart, dark=dark, kind="svg")


def _drawn(chart: Chart, *, dark: bool, kind: str, titled: bool = False) -> bytes:
    with _style(dark=dark):
        drawing = _draw(chart, _DARK if dark else _LIGHT)
        if titled:  # on a page the caption says it
            drawing.suptitle("\n".join(wrap(chart.title, _LETTERS)), x=0.01, ha="left", fontsize=10)
        file = io.BytesIO()
        nothing = {"Date": None, "Creator": None} if kind == "svg" else {"Software": None}  # equal charts, equal bytes
        drawing.savefig(file, format=kind, dpi=160, metadata=nothing)
    return file.getvalue()


@contextmanager
def _style(*, dark: bool) -> Iterator[None]:
    matplotlib = _matplotlib()
    ink, paper, grid = _INK[dark], _PAPER[dark], _GRID[dark]
    settings = {
        "font.family": "DejaVu Sans",
        "font.size": 9,
        "axes.titlesize": 10,
        "axes.titleweight": "bold",
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.edgecolor": grid,
        "axes.labelcolor": ink,
        "axes.titlecolor": ink,
        "axes.facecolor": paper,
        "axes.axisbelow": True,
        "figure.facecolor": paper,
        "grid.color": grid,
        "legend.frameon": False,
        "text.color": ink,
        "xtick.color": ink,
        "ytick.color": ink,
        "savefig.facecolor": paper,
        "svg.fonttype": "path",
        "svg.hashsalt": "vitreous",
    }
    with matplotlib.rc_context(settings):
        yield


def _matplotlib() -> Any:
    try:
        import matplotlib
    except ImportError as error:  # pragma: no cover  a dependency, unless somebody took it away
        raise UsageError("charts need matplotlib", remedy="pip install matplotlib") from error
    return matplotlib


def _blank(height: float) -> Figure:
    """A figure without pyplot, which would keep it, and ask for a screen."""
    from matplotlib.figure import Figure

    return Figure(figsize=(_WIDTH, height), layout="constrained")


def _draw(chart: Chart, palette: Sequence[str]) -> Figure:
    match chart:
        case BarPanels():
            return _panels(chart, palette)
        case Lines():
            return _lines(chart, palette)
        case Scatter():
            return _scatter(chart, palette)


def _panels(chart: BarPanels, palette: Sequence[str]) -> Figure:
    names = list(dict.fromkeys(bar.name for panel in chart.panels for bar in panel.bars))
    drawing = _blank(0.9 + _ROW * len(names))
    panels = drawing.subplots(1, len(chart.panels), sharey=True, squeeze=False)[0]
    for axes, panel in zip(panels, chart.panels, strict=True):
        _bars(axes, panel, names, palette, chart.most)
    panels[0].set_yticks(range(len(names)), names)
    panels[0].set_ylim(len(names) - 0.4, -0.6)  # the first name on top
    drawing.supxlabel(chart.unit, fontsize=9)
    return drawing


def _bars(axes: Axes, panel: Panel, names: Sequence[str], palette: Sequence[str], most: float) -> None:
    axes.set_title(panel.title, loc="left")
    axes.set_xlim(0, most * 1.3)  # room for the numbers
    axes.set_xticks([0, most / 2, most])
    axes.tick_params(length=0)
    axes.spines["left"].set_visible(False)
    axes.grid(axis="x")
    for bar in panel.bars:
        row = names.index(bar.name)
        axes.barh(row, bar.value, 0.68, color=palette[bar.colour])
        if bar.error:
            axes.errorbar(bar.value, row, xerr=bar.error, color=axes.yaxis.label.get_color(), capsize=2, linewidth=0.9)
        axes.text(bar.value + (bar.error or 0) + 0.03 * most, row, f"{bar.value:.1f}", va="center", fontsize=8)


def _lines(chart: Lines, palette: Sequence[str]) -> Figure:
    drawing = _blank(4.0)
    axes = drawing.subplots()
    if chart.diagonal:
        axes.axline((0, 0), slope=1, color=palette[6], linewidth=1, linestyle=":")
    for place, line in enumerate(chart.lines):
        across, up = zip(*line.points, strict=True) if line.points else ((), ())
        colour = palette[line.colour]
        axes.plot(
            across, up, color=colour, label=line.name, linewidth=1.6, markersize=5,
            linestyle="--" if line.dashed else "-", marker=_MARKS[place % len(_MARKS)] if line.marker else None,
        )  # fmt: skip
        if line.band is not None:
            low, high = zip(*line.band, strict=True)
            axes.fill_between(across, low, high, color=colour, alpha=0.16, linewidth=0)
    return _finish(drawing, axes, chart, lambda: [x for line in chart.lines for x, _ in line.points])


def _scatter(chart: Scatter, palette: Sequence[str]) -> Figure:
    drawing = _blank(4.4)
    axes = drawing.subplots()
    for dots in chart.dots:
        across, up, _ = zip(*dots.points, strict=True) if dots.points else ((), (), ())
        axes.scatter(across, up, color=palette[dots.colour], label=dots.name, marker=dots.marker, s=34)
    for dots in chart.dots:
        for x, y, label in dots.points:
            if label:
                axes.annotate(label, (x, y), xytext=(5, -3), textcoords="offset points", fontsize=7.5)
    return _finish(drawing, axes, chart, lambda: [x for dots in chart.dots for x, _, _ in dots.points])


def _finish(drawing: Figure, axes: Axes, chart: Lines | Scatter, places: Callable[[], list[float]]) -> Figure:
    axes.set_xlabel(chart.across)
    axes.set_ylabel(chart.up)
    axes.grid()
    axes.tick_params(length=0)
    if chart.log_across:
        _log_scale(axes, sorted(set(places())))
    elif all(place == int(place) for place in places()):  # 1, 2, 3, not 1.0, 1.2
        _whole_numbers(axes)
    if sum(bool(name) for name in _names(chart)) > 1:
        axes.legend(fontsize=8)
    return drawing


def _whole_numbers(axes: Axes) -> None:
    from matplotlib.ticker import MaxNLocator

    axes.xaxis.set_major_locator(MaxNLocator(integer=True))


def _log_scale(axes: Axes, places: Sequence[float]) -> None:
    """A logarithmic scale with plain numbers: the places themselves where they are few and apart, else 1, 2 and 5."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

    axes.set_xscale("log")
    if 1 < len(places) <= 7 and all(after >= 1.5 * before for before, after in pairwise(places)):
        axes.set_xticks(places)
    else:
        axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda place, _: f"{place:,.10g}"))
    axes.xaxis.set_minor_locator(NullLocator())


def _names(chart: Lines | Scatter) -> list[str]:
    return [line.name for line in chart.lines] if isinstance(chart, Lines) else [dots.name for dots in chart.dots]
