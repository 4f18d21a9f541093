"""Figures: the numbers can be read back from the drawing."""

from __future__ import annotations

import math
import xml.etree.ElementTree as ET

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from report_samples import evaluation

from vitreous.report.figure import Series, bar, interval_strip, line_chart, reliability_diagram, tag, ticks
from vitreous.report.matrix import chosen_classes, heat_map
from vitreous.report.words import percent, reliability


@given(st.floats(-1e6, 1e6), st.floats(1e-6, 1e6), st.integers(2, 12))
def test_ticks_are_few_round_and_inside(low: float, width: float, most: int) -> None:
    """Steps are 1, 2 or 5 times a power of ten; no tick lies outside; not too many, and not none."""
    high = low + width
    assume(width > 1e-6 * abs(low))
    marks = ticks(low, high, most)
    assert 1 <= len(marks) <= most
    slack = 1e-6 * width
    assert low - slack <= marks[0]
    assert marks[-1] <= high + slack
    if len(marks) > 1:
        step = (marks[-1] - marks[0]) / (len(marks) - 1)
        assert np.diff(marks) == pytest.approx([step] * (len(marks) - 1), rel=1e-3)
        mantissa = step / 10 ** math.floor(math.log10(step) + 1e-9)
        assert min(abs(mantissa - round_one) for round_one in (1, 2, 5, 10)) < 0.01


def test_a_line_can_be_read_back_from_its_chart() -> None:
    """Corners stand at the data's places on the axes that the ticks mark; what is not a number is left out."""
    points = ((1.0, 2.0), (2.0, float("nan")), (3.0, 0.5), (5.0, float("inf")), (9.0, 1.25))
    root = ET.fromstring(line_chart("Loss", [Series(name="train", points=points)], across="epoch", floor=0.0))
    corners = np.array([list(map(float, pair.split(","))) for pair in root.find(".//polyline").get("points").split()])
    ys = {text.text: float(text.get("y")) - 4 for text in root.iter("text") if text.get("text-anchor") == "end"}
    scale = (ys["2"] - ys["0"]) / 2
    assert (corners[:, 1] - ys["0"]) / scale == pytest.approx([2.0, 0.5, 1.25], abs=0.01)
    across = (corners[:, 0] - corners[0, 0]) / (corners[-1, 0] - corners[0, 0])
    assert across == pytest.approx([0, 0.25, 1], abs=0.01)
    titles = [title.text for title in root.iter("title")]
    assert titles == ["train, epoch 1: 2", "train, epoch 3: 0.5", "train, epoch 9: 1.25"]
    assert root.get("role") == "img"
    assert "train from 2 to 1.25" in root.get("aria-label")


def test_a_long_training_makes_a_short_drawing() -> None:
    """A hundred thousand records still draw in a few kilobytes, first and last included."""
    points = tuple((float(step), math.sin(step / 5000)) for step in range(100_000))
    drawing = line_chart("Loss", [Series(name="train", points=points)], across="step")
    assert len(drawing) < 40_000
    titles = [title.text for title in ET.fromstring(drawing).iter("title")]
    assert titles[0].startswith("train, step 0:")
    assert titles[-1].startswith("train, step 99,999:")


def test_names_of_lines_do_not_touch() -> None:
    """Lines that end at one place have their names one under the other."""
    lines = [Series(name=f"line {i}", points=((0.0, 0.0), (1.0, 1.0 + i / 1000))) for i in range(4)]
    root = ET.fromstring(line_chart("Accuracy", lines, across="epoch"))
    heights = sorted(float(text.get("y")) for text in root.iter("text") if "name" in text.get("class"))
    assert min(np.diff(heights)) >= 14


@pytest.mark.parametrize("points", [(), ((1.0, 3.0),), ((1.0, 3.0), (2.0, 3.0)), ((1.0, float("nan")),)])
def test_odd_curves_are_drawn_too(points: tuple[tuple[float, float], ...]) -> None:
    """Nothing, one point, a constant and no number at all make a figure."""
    ET.fromstring(line_chart("Loss", [Series(name="train", points=points)], across="epoch"))


@given(st.integers(1, 400), st.data())
def test_the_interval_stands_around_the_score(number: int, data: st.DataObject) -> None:
    """Low edge, score and high edge follow each other from left to right inside the drawing."""
    hits = data.draw(st.integers(0, number))
    share = hits / number
    low, high = max(0.0, share - 0.3 / number**0.5), min(1.0, share + 0.3 / number**0.5)
    root = ET.fromstring(interval_strip(share, (low, high)))
    band = root.find(".//rect[@class='band']")
    left, right = float(band.get("x")), float(band.get("x")) + float(band.get("width"))
    dot = float(root.find(".//circle").get("cx"))
    assert 0 <= left <= dot + 0.01
    assert dot <= right + 0.01
    assert right <= float(root.get("width"))
    assert percent(low) in root.get("aria-label")


def test_a_bar_is_as_long_as_its_share() -> None:
    """100 units are 100 %; no share draws no bar."""
    root = ET.fromstring(bar(0.375, "first", (0.3, 0.45)))
    widths = {box.get("class"): float(box.get("width")) for box in root.iter("rect")}
    assert widths == {"first": 37.5, "pale first": 15}
    assert list(ET.fromstring(bar(None)).iter("rect")) == []


def test_dots_of_the_reliability_diagram_stand_at_confidence_and_accuracy() -> None:
    """Every bin has its dot; positions match the axes within a pixel."""
    bins = reliability(evaluation(8))
    root = ET.fromstring(reliability_diagram(bins))
    ideal = root.find(".//line[@class='ideal']")
    x0, y0, x1, y1 = (float(ideal.get(key)) for key in ("x1", "y1", "x2", "y2"))
    dots = [((float(d.get("cx")) - x0) / (x1 - x0), (float(d.get("cy")) - y0) / (y1 - y0)) for d in root.iter("circle")]
    assert dots == [pytest.approx((one.confidence, one.accuracy), abs=0.005) for one in bins]


def test_markup_in_a_name_stays_text() -> None:
    """Attributes and children are escaped wherever they come from."""
    hostile = "</title><script>alert(1)</script>\"'\x00"
    root = ET.fromstring(tag("g", {"aria-label": hostile}, tag("title", {}, hostile)))
    assert root.get("aria-label") == root[0].text == hostile.replace("\x00", "\\x00")
    chart = line_chart(hostile, [Series(name=hostile, points=((0.0, 1.0), (1.0, 2.0)))] * 2, across=hostile)
    assert "<script" not in chart
    ET.fromstring(chart)


@pytest.mark.parametrize("num_classes", [2, 3, 10, 17, 60, 100])
def test_every_count_of_the_confusion_matrix_is_on_the_map(num_classes: int) -> None:
    """Each count above zero has one cell in its row and column that says it on hover; small maps also write it."""
    scores = evaluation(num_classes, accuracy=0.7)
    matrix = np.array(scores.confusion)
    root = ET.fromstring(heat_map(scores.confusion, scores.classes))
    ground = root.find(".//rect[@class='ground']")
    left, top = float(ground.get("x")), float(ground.get("y"))
    side = float(ground.get("width")) / num_classes
    read = np.zeros_like(matrix)
    for cell in root.iter("rect"):
        if cell.get("class") == "ground":
            continue
        row, column = int((float(cell.get("y")) - top) / side), int((float(cell.get("x")) - left) / side)
        said = cell.find("title").text
        assert said.startswith(f"{scores.classes[row]} {'recognised' if row == column else 'taken for'}")
        assert cell.get("class") == ("right" if row == column else "wrong")
        read[row, column] += int(said.split(": ")[1].split(" of ")[0])
    assert np.array_equal(matrix, read)
    written = [int(text.text) for text in root.iter("text") if "cell" in text.get("class")]
    assert written == ([] if num_classes > 24 else matrix[matrix > 0].tolist())
    assert float(root.get("width")) < 1100


def test_of_too_many_classes_those_with_most_mistakes_are_shown() -> None:
    """A map of a thousand classes is drawn for the hundred that matter."""
    rng = np.random.default_rng(3)
    matrix = np.diag(np.full(300, 50))
    busy = np.sort(rng.choice(300, 100, replace=False))
    for row in busy:
        matrix[row, (row + 1) % 300] += 1
        matrix[row, row - 1] += 3
    shown = chosen_classes(tuple(map(tuple, matrix.tolist())))
    assert len(shown) == 100
    wrong = (matrix - np.diag(np.diag(matrix))).sum(0) + (matrix - np.diag(np.diag(matrix))).sum(1)
    assert wrong[list(shown)].min() >= np.delete(wrong, shown).max()
    assert list(shown) == sorted(shown)


def test_heat_map_with_a_class_without_images() -> None:
    """An empty row is left blank and divides nothing by zero."""
    drawing = heat_map(((3, 1), (0, 0)), ("a", "b"))
    assert len([cell for cell in ET.fromstring(drawing).iter("rect") if cell.get("class") != "ground"]) == 2
