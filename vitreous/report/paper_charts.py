"""Figures of the published tables: compute, amount of data, VTAB by groups, and speed against accuracy."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations

from vitreous.published.find import find_table
from vitreous.published.vtab import groups
from vitreous.published.vtab_results import BIT_L, BIT_RERUNS, TABLE_9, VtabResult, leaderboard
from vitreous.report.chart import Bar, BarPanels, Chart, Dots, Line, Lines, Panel, Scatter

_VIT, _RESNET, _HYBRID, _GREY = 0, 1, 2, 6
_NEAR_ACROSS, _NEAR_UP = 1.45, 0.25  # times as much compute, percentage points
_MILLIONS = {"ImageNet": 1.3, "ImageNet-21k": 14.0, "JFT-300M": 303.0}


@dataclass(frozen=True, kw_only=True, slots=True)
class PaperChart:
    """One figure of the page."""

    name: str
    """Of its files."""
    tables: tuple[str, ...]
    """Whose numbers it draws."""
    chart: Chart
    words: str
    """What to see in it, in a sentence or two."""


def charts(table: str | None = None) -> tuple[PaperChart, ...]:
    """The figures of all published tables, or of one.

    Args:
        table: its name; None for all.
    """
    drawn = (_compute(), _amount(), _vtab(), _speed())
    return tuple(each for each in drawn if table is None or table in each.tables)


def _compute() -> PaperChart:
    table = find_table("vit-table6")
    kinds: dict[str, list[tuple[float, float, str]]] = {"ViT": [], "ResNet": [], "hybrid": []}
    for row in table.rows:
        kind = "ResNet" if row.name.startswith("ResNet") else "hybrid" if "+" in row.name else "ViT"
        model, _, length = row.name.partition(", ")
        label = _short(model) + ("" if length.startswith("7 ") else "*")
        kinds[kind].append((table.value(row.name, "exaFLOPs"), table.value(row.name, "ImageNet"), label))
    _join_labels(kinds)
    colours = {"ViT": (_VIT, "o"), "ResNet": (_RESNET, "s"), "hybrid": (_HYBRID, "^")}
    chart = Scatter(
        title="ImageNet accuracy against pre-training compute on JFT-300M",
        dots=tuple(
            Dots(name=kind, points=tuple(points), colour=colours[kind][0], marker=colours[kind][1])
            for kind, points in kinds.items()
        ),
        across="pre-training, exaFLOPs",
        up="ImageNet top-1, %",
        alt="Scatter of 18 models: at equal compute Vision Transformers reach more than ResNets, and hybrids are ahead"
        " of both at small compute only.",
        log_across=True,
    )
    words = (
        "Table 6 of the paper; * after 14 epochs, the others after 7. For the same accuracy a Vision Transformer takes"
        " about half of a ResNet's compute (over five data sets the paper says a half to a quarter); hybrids lead while"
        " there is little of it, and the lead is gone for the largest."
    )
    return PaperChart(name="compute", tables=("vit-table6",), chart=chart, words=words)


def _join_labels(kinds: dict[str, list[tuple[float, float, str]]]) -> None:
    """Points whose labels would lie on each other say theirs together, behind the right one."""
    places = sorted((x, y, kind, at) for kind, points in kinds.items() for at, (x, y, _) in enumerate(points))
    for (x, y, kind, at), (next_x, next_y, next_kind, next_at) in combinations(places, 2):
        if next_x < _NEAR_ACROSS * x and abs(next_y - y) < _NEAR_UP:
            label, other = kinds[kind][at][2], kinds[next_kind][next_at][2]
            both = f"(R50+){label}" if other == f"R50+{label}" else f"{label}, {other}"
            kinds[kind][at] = (x, y, "")
            kinds[next_kind][next_at] = (next_x, next_y, both)


def _short(model: str) -> str:
    return model.replace("ViT-", "").replace("ResNet", "R").replace("R50x1+", "R50+")


def _amount() -> PaperChart:
    table = find_table("vit-table5")
    lines = []
    for place, column in enumerate(table.columns):
        found = [(_MILLIONS[data], table.find(f"{data}: ImageNet", column.name)[2]) for data in _MILLIONS]
        points = tuple((across, cell.value) for across, cell in found if cell is not None and cell.value is not None)
        lines.append(Line(name=column.name, points=points, colour=place))
    chart = Lines(
        title="ImageNet accuracy against the number of pre-training images",
        lines=tuple(lines),
        across="pre-training images, millions (ImageNet, ImageNet-21k, JFT-300M)",
        up="ImageNet top-1, %",
        alt="Five lines that rise with the number of pre-training images: on ImageNet alone the Base models lead, on"
        " JFT-300M the largest.",
        log_across=True,
    )
    words = (
        "Table 5 of the paper, fine-tuned at 384 pixels. With ImageNet alone larger models are worse than smaller ones;"
        " with 300 million images they are better."
    )
    return PaperChart(name="pretraining-size", tables=("vit-table5",), chart=chart, words=words)


def _vtab() -> PaperChart:
    board = {result.name: result for result in leaderboard()}
    shown = [(result, _VIT) for result in TABLE_9] + [(result, _RESNET) for result in (BIT_L, *BIT_RERUNS)]
    shown += [(board[name], _GREY) for name in ("Sup-Rotation-100%", "Sup-100%", "From-Scratch")]
    panels = [Panel(title="All (19)", bars=tuple(_bar(result, None, colour) for result, colour in shown))]
    for group, tasks in groups().items():
        bars = [_bar(result, group, colour) for result, colour in shown if group in result.groups]
        panels.append(Panel(title=f"{group} ({len(tasks)})", bars=tuple(bars)))
    chart = BarPanels(
        title="VTAB-1k: all tasks, and the three groups",
        panels=tuple(panels),
        unit="top-1, %, mean over the tasks",
        alt="Bars of nine models in four panels: the Vision Transformers from JFT-300M lead on natural and structured"
        " tasks, and specialized tasks are alike for all but training from scratch.",
    )
    words = (
        "Table 9 of the paper beside BiT and the public leaderboard. Bars are means over tasks, thin lines the standard"
        " deviation of three runs. BiT-L's groups were never published; BiT-M is from ImageNet-21k; the grey models are"
        " ResNet-50."
    )
    return PaperChart(name="vtab", tables=("vit-table9", "vtab-groups", "vtab-leaderboard"), chart=chart, words=words)


def _bar(result: VtabResult, group: str | None, colour: int) -> Bar:
    if group is not None:
        return Bar(name=result.name, value=result.groups[group], colour=colour)
    mean = result.mean
    assert mean is not None
    return Bar(name=result.name, value=mean, error=result.printed_spread, colour=colour)


def _speed() -> PaperChart:
    table = find_table("augreg-table3")
    kinds: dict[str, list[tuple[float, float, str]]] = {"ViT": [], "hybrid": []}
    for row in table.rows:
        point = table.value(row.name, "img/s 384"), table.value(row.name, "i21k300 384"), row.name
        kinds["hybrid" if row.name.startswith("R") else "ViT"].append(point)
    chart = Scatter(
        title="AugReg: ImageNet accuracy against speed at 384 pixels",
        dots=(
            Dots(name="ViT", points=tuple(kinds["ViT"]), colour=_VIT),
            Dots(name="hybrid", points=tuple(kinds["hybrid"]), colour=_HYBRID, marker="^"),
        ),
        across="images a second on one V100",
        up="ImageNet top-1, %",
        alt="Scatter of nine models: R50+L/32 is as accurate as L/16 and six times as fast; B/32 is the fastest above"
        " 83 percent.",
        log_across=True,
    )
    words = (
        "Table 3 of AugReg, pre-trained on ImageNet-21k for 300 epochs. R50+L/32 is more accurate than L/16 at six"
        " times its speed, and B/32 as good as S/16 at three times its."
    )
    return PaperChart(name="augreg-speed", tables=("augreg-table3", "augreg-readme"), chart=chart, words=words)
