"""How names, numbers and tables look: harmless, aligned, never rounded into a lie."""

from __future__ import annotations

import shlex
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vitreous.cli.words import columns, command, harmless, next_steps, percent, shorten, table
from vitreous.console import count


@pytest.mark.parametrize(
    ("text", "plain"),
    [
        ("photo 1.jpg", "photo 1.jpg"),
        ("Käfer 甲虫 e\u0301.png", "Käfer 甲虫 e\u0301.png"),
        ("\x1b[31mred\x1b[0m", "red"),
        ("\x1b]8;;http://evil\x1b\\click\x1b]8;;\x07", "click"),
        ("\x1bcreset", "?creset"),
        ("a\nb\tc\x00", "a?b?c?"),
        ("gpj.\u202eexe", "gpj.?exe"),
        ("\x9b31m", "?31m"),
        ("\udce9.png", "?.png"),
    ],
)
def test_names_become_harmless(text: str, plain: str) -> None:
    assert harmless(text) == plain


@given(st.text())
def test_nothing_that_moves_the_cursor_is_left(text: str) -> None:
    categories = {unicodedata.category(char) for char in harmless(text)}
    assert not categories & {"Cc", "Cf", "Cs", "Zl", "Zp"}


@given(st.text(alphabet=st.characters(categories=["L", "N", "P"])), st.integers(4, 30))
def test_shortening_keeps_the_end_and_the_width(text: str, width: int) -> None:
    short = shorten(text, width)
    assert columns(short) <= width
    assert text.endswith(short.removeprefix("..."))


def test_columns_line_up_whatever_the_script() -> None:
    rows = [("name", "n"), ("甲虫", "10"), ("e\u0301t", "7")]
    assert table(rows, right=(1,)) == ["  name   n", "  甲虫  10", "  e\u0301t     7"]
    assert table([]) == []


@pytest.mark.parametrize(
    ("share", "text"),
    [
        (0.0, "0.0 %"),
        (0.0001, "< 0.1 %"),
        (0.125, "12.5 %"),
        (0.9996, "> 99.9 %"),
        (1.0, "100.0 %"),
        (None, "-"),
        (float("nan"), "-"),
    ],
)
def test_percentages_never_round_to_all_or_nothing(share: float | None, text: str) -> None:
    assert percent(share) == text


def test_counts() -> None:
    assert [count(1, "image"), count(1240, "image"), count(2, "class", "classes")] == [
        "1 image",
        "1,240 images",
        "2 classes",
    ]


@given(st.lists(st.text(alphabet=st.characters(codec="utf-8", exclude_characters="\0"))))
def test_commands_can_be_pasted_into_a_shell(words: list[str]) -> None:
    assert shlex.split(command(*words)) == ["vitreous", *words]


def test_next_steps() -> None:
    assert next_steps(("vitreous demo", "see it")) == ["", "Next", "  vitreous demo", "      see it"]
