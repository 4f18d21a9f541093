"""Numbers and names as a person reads them."""

from __future__ import annotations

import dataclasses
import unicodedata

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from report_samples import evaluation, evaluation_of
from scipy.stats import binomtest

from vitreous.report.content import typical_images, worst_mistakes
from vitreous.report.words import (
    calibration_in_words,
    clean,
    confusions,
    count,
    name,
    percent,
    points,
    reliability,
    sentence,
    spreadsheet_cell,
)
from vitreous.results import Outcome


@given(st.floats(0, 1), st.integers(0, 2))
def test_only_perfection_reads_as_100_percent_and_only_nothing_as_0(share: float, digits: int) -> None:
    """No rounding turns one mistake among many into none, or one hit into nothing."""
    text = percent(share, digits)
    assert text.startswith("100") == (share == 1)
    assert text.startswith("0\N{NO-BREAK SPACE}%") == (share == 0)


@given(st.floats(0.001, 0.999))
def test_a_percentage_is_near_its_share(share: float) -> None:
    """One decimal is right within half of its last place."""
    assert float(percent(share).rstrip("%").strip("<>\N{NO-BREAK SPACE}")) == pytest.approx(100 * share, abs=0.0501)


def test_numbers_read_as_people_write_them() -> None:
    """Thousands are grouped, one is singular, undefined is a dash, minus is a minus."""
    assert [count(1, "image"), count(1240, "image"), count(2, "class", "classes")] == [
        "1 image",
        "1,240 images",
        "2 classes",
    ]
    assert percent(None) == percent(float("nan")) == "–"
    assert points(-0.123) == "−12.3\N{NO-BREAK SPACE}points"
    assert points(0.0001) == "0.0\N{NO-BREAK SPACE}points"
    assert sentence("pre-trained first") == "Pre-trained first."
    assert sentence("vit-s16 does it!") == "vit-s16 does it!"
    assert sentence(" ") == ""


@given(st.text(st.characters(categories=None), max_size=300))
def test_a_name_is_one_harmless_line(text: str) -> None:
    """Whatever a class or file is called, its name on a page is printable, bounded and valid UTF-8."""
    shown = name(text)
    shown.encode("utf-8")
    assert 0 < len(shown) <= 80 * 6  # a control character is spelled with six at most
    assert not any(unicodedata.category(character) in ("Cc", "Cs", "Zl", "Zp") for character in shown)
    assert not set(shown) & set("\u202e\u202d\u2066\u2067\u200f\ufeff")


def test_a_name_keeps_what_people_write() -> None:
    """Other scripts and joined emoji stay as they are; only what could disturb the page is spelled out."""
    for text in ("Šípková Růženka", "猫", "قطة", "👩\u200d🚀", "می\u200cخواهم"):
        assert name(text) == text
    assert name("evil\u202egpj.exe\x1b[31m\x00") == "evil\\u202egpj.exe\\x1b[31m\\x00"
    assert name("caf\udce9.jpg") == "caf\\udce9.jpg"
    assert name(" \n ") == "\\n"
    assert name("") == "(empty name)"
    assert len(clean("x" * 100_000)) <= 4000


def test_no_cell_begins_a_formula() -> None:
    """CSV opened in a spreadsheet runs nothing."""
    for text in ("=1+1", "+1", "-1", "@SUM(A1)"):
        assert spreadsheet_cell(text) == "'" + text
    assert spreadsheet_cell("\t=1") == "\\x09=1"
    assert spreadsheet_cell("cat") == "cat"


def test_confusions_are_the_largest_counts_off_the_diagonal() -> None:
    """The pairs listed in words are the matrix's, with each true class's images as their whole."""
    scores = evaluation(7, per_class=40, accuracy=0.7)
    matrix = np.array(scores.confusion)
    found = confusions(scores, 1000)
    assert sum(pair.count for pair in found) == matrix.sum() - np.trace(matrix)
    assert [pair.count for pair in found] == sorted((pair.count for pair in found), reverse=True)
    for pair in found:
        row, column = scores.classes.index(pair.true), scores.classes.index(pair.predicted)
        assert (pair.count, pair.support) == (matrix[row, column], matrix[row].sum())
        assert row != column
    assert len(confusions(scores, 3)) == 3


def test_reliability_bins_add_up_to_the_calibration_error() -> None:
    """The diagram shows the very gaps that the expected calibration error averages."""
    scores = evaluation(5, per_class=60)
    bins = reliability(scores)
    assert sum(one.count for one in bins) == scores.seen
    error = sum(one.count * abs(one.confidence - one.accuracy) for one in bins) / scores.seen
    assert error == pytest.approx(scores.calibration_error, abs=1e-12)
    for one in bins:
        assert one.low - 1e-9 < one.confidence < one.high + 1e-9
        reference = binomtest(round(one.accuracy * one.count), one.count).proportion_ci(method="wilson")
        assert one.interval == pytest.approx((reference.low, reference.high), abs=1e-9)


@pytest.mark.parametrize(
    ("probability", "right", "verdict"),
    [(0.95, 5, "pinch of salt"), (0.55, 9, "cautious"), (0.7, 7, "nearly at their word")],
)
def test_calibration_is_said_in_words(probability: float, right: int, verdict: str) -> None:
    """Too sure, too cautious and honest models are told apart."""
    outcomes = tuple(
        Outcome(path=f"{i}", label=0, predicted=int(i >= right), probability=probability, label_probability=0.5)
        for i in range(10)
    )
    assert verdict in calibration_in_words(evaluation_of(outcomes, ("a", "b")))


def test_worst_mistakes_are_the_surest_wrong_answers() -> None:
    """They come surest first, and none is right."""
    scores = evaluation(6, accuracy=0.6)
    worst = worst_mistakes(scores, 9)
    others = [one for one in scores.outcomes if one.predicted != one.label and one not in worst]
    assert len(worst) == 9
    assert all(one.predicted != one.label for one in worst)
    assert min(one.probability for one in worst) >= max(one.probability for one in others)


def test_typical_images_are_right_and_of_different_classes() -> None:
    """One image a class, spread over the class list, neither the surest nor the least sure."""
    chosen = typical_images(evaluation(20), 6)
    assert len({one.label for one in chosen}) == 6
    assert all(one.label == one.predicted for one in chosen)
    assert max(one.label for one in chosen) >= 15
    assert len(typical_images(evaluation(2), 6)) == 2


def test_an_evaluation_without_images_still_says_something() -> None:
    """A report of a test that saw nothing does not fail where one is needed most."""
    empty = dataclasses.replace(evaluation(3), outcomes=(), seen=0)
    assert reliability(empty) == ()
    assert "nothing can be said" in calibration_in_words(empty)
