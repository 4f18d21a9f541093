"""Numbers and names as a person reads them: percentages, counts, names made harmless, confusions in sentences."""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vitreous.results import Evaluation

NAME_LENGTH = 80
"""Longer names are cut for display; no page grows with a hostile one."""
TEXT_LENGTH = 4000
"""No text on a page is longer than this."""

_BINS = 15  # equal-width bins, as Evaluation.calibration_error states
_DIRECTION_MARKS = frozenset("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\ufeff")
_SPACE = "\N{NO-BREAK SPACE}"


def percent(share: float | None, digits: int = 1) -> str:
    """A fraction as a percentage that never rounds an imperfect score to 100 % or a present one to 0 %.

    Args:
        share: in [0, 1]; None where it is undefined.
        digits: after the decimal point.
    """
    if share is None or not np.isfinite(share):
        return "–"
    if share in (0.0, 1.0):
        return f"{100 * share:.0f}{_SPACE}%"
    text = f"{100 * share:.{digits}f}"
    if float(text) == 100:
        return f">{100 - 10**-digits:.{digits}f}{_SPACE}%"
    if float(text) == 0:
        return f"<{10**-digits:.{digits}f}{_SPACE}%"
    return f"{text}{_SPACE}%"


def points(difference: float) -> str:
    """A difference of two fractions in percentage points, with its sign: `+12.3 points`.

    Args:
        difference: in [-1, 1].
    """
    number = f"{100 * difference:+.1f}".replace("-", "−")
    return f"{'0.0' if number in ('+0.0', '−0.0') else number}{_SPACE}points"


def count(number: int, unit: str, units: str | None = None) -> str:
    """A count with its unit: `1 image`, `1,240 images`.

    Args:
        number: 0 or more.
        unit: in the singular.
        units: in the plural; by default with an s.
    """
    return f"{number:,} {unit if number == 1 else units or unit + 's'}"


def plain(number: float) -> str:
    """A number in few digits: `0.03`, `1e-05`, `12`, `1,240`.

    Args:
        number: any finite number.
    """
    return f"{number:,.0f}" if number == int(number) and abs(number) < 1e9 else f"{number:.4g}"


def clean(text: str, length: int = TEXT_LENGTH) -> str:
    """Text that cannot disturb what stands around it: control, direction and unpaired characters are spelled out.

    Line feeds stay. Escaping for HTML or Markdown is not done here.

    Args:
        text: anything, also from a file name that is not valid Unicode.
        length: the longest result, in characters; the middle of a longer text is left out.
    """
    if len(text) > length:
        half = (length - 3) // 2
        text = f"{text[:half]} … {text[len(text) - half :]}"
    return "".join(character if _harmless(character) else _spell(character) for character in text)


def _harmless(character: str) -> bool:
    if character in _DIRECTION_MARKS:
        return False
    return character == "\n" or unicodedata.category(character) not in ("Cc", "Cs", "Zl", "Zp")


def _spell(character: str) -> str:
    point = ord(character)
    return f"\\x{point:02x}" if point < 256 else f"\\u{point:04x}"


def sentence(text: str) -> str:
    """Text that begins with a capital letter and ends with a full stop, unless it has another ending.

    A first word with a digit in it is a name (vit-s16, mnist-5k) and stays as it is.

    Args:
        text: one sentence; nothing stays nothing.
    """
    text = text.strip()
    if not text:
        return ""
    first = text.split()[0]
    text = text if any(map(str.isdigit, first)) else text[0].upper() + text[1:]
    return text + ("" if text[-1] in ".!?…" else ".")


def spreadsheet_cell(text: str) -> str:
    """Text that no spreadsheet takes for a formula: a leading sign that could begin one gets an apostrophe before it.

    Args:
        text: a class or file name, as it is written to CSV.
    """
    text = clean(text).replace("\n", "\\n")
    return f"'{text}" if text[:1] in ("=", "+", "-", "@") else text


def name(text: str, length: int = NAME_LENGTH) -> str:
    """A class or file name on one short line.

    Args:
        text: anything.
        length: the longest result, in characters, before control characters are spelled out.
    """
    return clean(text, length).replace("\n", "\\n").strip() or "(empty name)"


@dataclass(frozen=True, kw_only=True, slots=True)
class Confusion:
    """One class taken for another."""

    true: str
    predicted: str
    count: int
    support: int
    """Images whose true class this is."""

    @property
    def share(self) -> float:
        """Part of the true class's images."""
        return self.count / self.support


def confusions(evaluation: Evaluation, most: int = 6) -> tuple[Confusion, ...]:
    """The class pairs confused most often, most frequent first, then by share of the true class.

    Args:
        evaluation: whose confusion matrix to read.
        most: how many at most.
    """
    matrix = np.array(evaluation.confusion, dtype=np.int64).reshape(len(evaluation.classes), -1)
    supports = matrix.sum(axis=1)
    wrong = matrix - np.diag(np.diag(matrix))
    found = [
        Confusion(
            true=evaluation.classes[row],
            predicted=evaluation.classes[column],
            count=int(wrong[row, column]),
            support=int(supports[row]),
        )
        for row, column in np.argwhere(wrong)
    ]
    return tuple(sorted(found, key=lambda pair: (-pair.count, -pair.share))[:most])


@dataclass(frozen=True, kw_only=True, slots=True)
class Reliability:
    """One bin of the reliability diagram: answers given with a probability in (low, high]."""

    low: float
    high: float
    count: int
    confidence: float
    """Mean probability of the answers in the bin."""
    accuracy: float
    """Share of them that are right."""
    interval: tuple[float, float]
    """95 % Wilson score interval of `accuracy`."""


def reliability(evaluation: Evaluation) -> tuple[Reliability, ...]:
    """The non-empty bins of the reliability diagram (Guo et al., ICML 2017, section 2), lowest first.

    Args:
        evaluation: whose outcomes to sort into 15 bins of equal width.
    """
    probability, right = _confidence(evaluation)
    edges = np.linspace(0, 1, _BINS + 1)
    places = np.clip(np.searchsorted(edges, probability, side="left") - 1, 0, _BINS - 1)
    bins = []
    for place in np.unique(places):
        inside = places == place
        accuracy, number = float(right[inside].mean()), int(inside.sum())
        bins.append(
            Reliability(
                low=float(edges[place]),
                high=float(edges[place + 1]),
                count=number,
                confidence=float(probability[inside].mean()),
                accuracy=accuracy,
                interval=_wilson(accuracy, number),
            )
        )
    return tuple(bins)


def _wilson(share: float, number: int) -> tuple[float, float]:
    """95 % score interval of a proportion (Wilson, JASA 1927)."""
    z = 1.959963984540054
    centre = (share + z * z / (2 * number)) / (1 + z * z / number)
    half = z * np.sqrt(share * (1 - share) / number + z * z / (4 * number * number)) / (1 + z * z / number)
    return max(0.0, float(centre - half)), min(1.0, float(centre + half))


def calibration_in_words(evaluation: Evaluation) -> str:
    """Whether the model's probabilities can be taken at their word, in a sentence or two.

    Args:
        evaluation: on at least one image.
    """
    probability, right = _confidence(evaluation)
    if not len(right):
        return "No image was seen, so nothing can be said about its probabilities."
    gap = float(probability.mean() - right.mean())
    means = f"On average it is {percent(float(probability.mean()))} sure and {percent(float(right.mean()))} right"
    if abs(gap) < 0.01:
        verdict = "its probabilities can be taken nearly at their word"
    elif gap > 0:
        verdict = "it is surer than it should be: read its probabilities with a pinch of salt"
    else:
        verdict = "it is more often right than it claims: its probabilities are cautious"
    return f"{means}; {verdict}."


def _confidence(evaluation: Evaluation) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Probability of each given answer, and 1.0 where it is right."""
    probability = np.array([outcome.probability for outcome in evaluation.outcomes], dtype=np.float64)
    right = np.array([outcome.predicted == outcome.label for outcome in evaluation.outcomes], dtype=np.float64)
    return probability, right
