"""ImageNet-C's figures: corruption error, its mean (mCE) and the relative mCE, from errors alone.

Source: Hendrycks and Dietterich 2019, section 4.3: CE_c = sum_s E_sc / sum_s E_sc(AlexNet), and relative CE_c =
sum_s (E_sc - E_clean) / sum_s (E_sc(AlexNet) - E_clean(AlexNet)); each is averaged over the 15 corruptions.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence

from vitreous.published.robustness import ALEXNET_CLEAN_ERROR, ALEXNET_ERRORS
from vitreous.results.robustness import CorruptionScore, SeverityScore

SEVERITIES = (1, 2, 3, 4, 5)


def corruption_score(
    name: str, severities: Sequence[SeverityScore], clean_error: float | None = None
) -> CorruptionScore:
    """What one corruption does to a model, against what it does to AlexNet.

    Args:
        name: of the corruption, as its folder is called.
        severities: those that are there.
        clean_error: the model's error on clean images in [0, 1], where it is known.
    """
    if sorted(each.severity for each in severities) != list(SEVERITIES):
        return CorruptionScore(name=name, severities=tuple(severities), error=None)
    error = sum(1.0 - each.top1 for each in severities) / len(SEVERITIES)
    alexnet = ALEXNET_ERRORS.get(name)
    lost = None if clean_error is None else error - clean_error
    return CorruptionScore(
        name=name,
        severities=tuple(severities),
        error=error,
        ce=None if alexnet is None else error / alexnet,
        relative_ce=None if alexnet is None or lost is None else lost / (alexnet - ALEXNET_CLEAN_ERROR),
    )


def mean_over(values: Iterable[float | None]) -> float | None:
    """The mean of the values; None where one is not known, or there are none.

    Args:
        values: such as the CE of each corruption.
    """
    known: list[float] = []
    for value in values:
        if value is None:
            return None
        known.append(value)
    return sum(known) / len(known) if known else None


def missing_sets(found: Mapping[str, Collection[int]]) -> tuple[str, ...]:
    """What of the 15 corruptions is not there, without which there is no mCE: "fog", or "fog/3" for one severity.

    Args:
        found: the severities of each corruption that is there.
    """
    lacking: list[str] = []
    for name in ALEXNET_ERRORS:
        if name not in found:
            lacking.append(name)
        else:
            lacking += [f"{name}/{level}" for level in SEVERITIES if level not in found[name]]
    return tuple(lacking)
