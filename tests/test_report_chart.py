"""Charts show the numbers they are given, in files that stand alone and a figure that fits light and dark."""

from __future__ import annotations

import base64
import re
from pathlib import Path
from xml.etree import ElementTree

import pytest
from PIL import Image

from vitreous.report.chart import (
    Bar,
    BarPanels,
    Chart,
    Dots,
    Line,
    Lines,
    Panel,
    Scatter,
    _drawn,
    _panels,
    figure,
    save,
)

BARS = BarPanels(
    title="<b>two</b> panels",
    unit="accuracy, %",
    alt='a "quoted" sentence',
    panels=(
        Panel(title="All", bars=(Bar(name="ours", value=61.5, error=1.5), Bar(name="theirs", value=40.25, colour=6))),
        Panel(title="Natural", bars=(Bar(name="theirs", value=70.0, colour=6),)),
    ),
)
LINES = Lines(
    title="few-shot",
    across="images",
    up="accuracy, %",
    alt="it rises",
    log_across=True,
    diagonal=False,
    lines=(
        Line(name="ViT", points=((250, 40), (1000, 55), (4000, 71)), band=((38, 42), (54, 56), (70, 72))),
        Line(name="ResNet", points=((250, 45), (1000, 52)), colour=1, dashed=True),
    ),
)
SCATTER = Scatter(
    title="compute",
    across="exaFLOPs",
    up="top-1, %",
    alt="more compute, more accuracy",
    log_across=True,
    dots=(Dots(name="ViT", points=((55, 80.7, "B/32"), (224, 84.2, ""))), Dots(name="empty", points=(), colour=1)),
)
CHARTS = pytest.mark.parametrize("chart", [BARS, LINES, SCATTER], ids=lambda chart: type(chart).__name__)


@CHARTS
def test_files_stand_alone_and_are_equal_each_time(chart: Chart, tmp_path: Path) -> None:
    svg, png = save(chart, tmp_path, "chart")
    root = ElementTree.fromstring(svg.read_bytes())
    assert root.tag == "{http://www.w3.org/2000/svg}svg"
    assert not list(root.iter("{http://www.w3.org/2000/svg}text"))  # letters are outlines: no font is needed
    loaded = [
        value
        for element in root.iter()
        for key, value in element.attrib.items()
        if key.endswith("href") and not value.startswith("#")
    ]
    assert loaded == []
    with Image.open(png) as image:
        assert image.width == 1152  # 7.2 inches at 160 dots
    before = svg.read_bytes(), png.read_bytes()
    assert before == tuple(path.read_bytes() for path in save(chart, tmp_path, "again"))


@CHARTS
def test_a_page_gets_a_drawing_for_light_and_one_for_dark(chart: Chart) -> None:
    html = str(figure(chart))
    drawings = [base64.b64decode(data) for data in re.findall(r'base64,([^"]*)"', html)]
    assert drawings == [_drawn(chart, dark=False, kind="svg"), _drawn(chart, dark=True, kind="svg")]
    assert b"#fcfbf8" in drawings[0]
    assert b"#15171a" in drawings[1]


def test_what_a_person_named_is_escaped() -> None:
    html = str(figure(BARS))
    assert "&lt;b&gt;two&lt;/b&gt; panels" in html
    assert 'alt="a &#34;quoted&#34; sentence"' in html


def test_bars_have_the_length_of_their_values_in_the_row_of_their_name() -> None:
    first, second = _panels(BARS, ["#000000"] * 7).axes
    assert [(bar.get_width(), round(bar.get_y() + bar.get_height() / 2)) for bar in first.patches] == [
        (61.5, 0),
        (40.25, 1),
    ]
    assert [(bar.get_width(), round(bar.get_y() + bar.get_height() / 2)) for bar in second.patches] == [(70.0, 1)]
    assert [label.get_text() for label in first.get_yticklabels()] == ["ours", "theirs"]
    assert [text.get_text() for text in first.texts] == ["61.5", "40.2"]
