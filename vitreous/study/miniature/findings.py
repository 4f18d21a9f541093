"""From scores to tables and sentences: what differs by more than chance, and whether the paper found the same.

A difference counts as clear when it exceeds Student's t for two means over the seeds, two-sided at 95 %, with the
spread of both arms pooled. One seed has no spread, and nothing is said to be clear then.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping

from vitreous.results.miniature import MiniatureArm, MiniatureFinding, MiniatureScore, MiniatureStudy
from vitreous.study.miniature.plan import Arm, Claim, Study, Work, seeded
from vitreous.study.miniature.work import Score

# 97.5 % points of Student's t by degrees of freedom, 2 n - 2 for n seeds; past the last it is a little too strict
_STUDENT = {2: 4.303, 4: 2.776, 6: 2.447, 8: 2.306, 10: 2.228, 12: 2.179, 14: 2.145, 16: 2.120, 18: 2.101}

_EQUAL = 0.02  # a study that could not have seen a difference of so much says nothing of two arms being alike


def study_results(study: Study, seeds: int, scores: Mapping[Work, Mapping[str, Score]]) -> MiniatureStudy:
    """Table and findings of one study; arms without a score are left out and counted.

    Args:
        study: as planned.
        seeds: how many runs of each arm were asked for.
        scores: of the runs that are finished, by measure.
    """
    arms = [found for arm in study.arms if (found := _arm(arm, seeds, scores)) is not None]
    by_name = {arm.name: arm for arm in arms}
    findings = [
        finding(claim, by_name[claim.first], by_name[claim.second], study.measure)
        for claim in study.claims
        if claim.first in by_name and claim.second in by_name
    ]
    return MiniatureStudy(
        name=study.name,
        title=study.title,
        place=study.place,
        about=study.about,
        here=study.here,
        measure=study.measure,
        arms=tuple(arms),
        findings=tuple(findings),
        theirs=study.theirs,
        missing=sum(work not in scores for work in study.runs(seeds)),
    )


def _arm(arm: Arm, seeds: int, scores: Mapping[Work, Mapping[str, Score]]) -> MiniatureArm | None:
    there = [scores[work] for seed in range(seeds) if (work := seeded(arm.work, seed)) in scores]
    if not there:
        return None
    return MiniatureArm(
        name=arm.name,
        trained=arm.trained,
        learned=arm.work.learned,
        flops=sum(work.flops for work in arm.work.chain()),
        seeds=len(there),
        scores={
            measure: _score([one[measure] for one in there])
            for measure in there[0]
            if all(measure in one for one in there)
        },
        paper=arm.paper,
    )


def _score(each: list[Score]) -> MiniatureScore:
    values = [score.value for score in each]
    return MiniatureScore(
        mean=statistics.fmean(values),
        spread=statistics.stdev(values) if len(values) > 1 else None,
        values=tuple(values),
        seen=min(score.seen for score in each),
        expected=max(score.expected for score in each),
    )


def finding(claim: Claim, first: MiniatureArm, second: MiniatureArm, measure: str) -> MiniatureFinding:
    """What two arms say of what the paper claims, in a sentence that goes no further than the spread of the seeds.

    Args:
        claim: the paper's.
        first: the arm it names first.
        second: the arm it names second.
        measure: which of their scores.
    """
    one, other = first.scores[measure], second.scores[measure]
    difference = one.mean - other.mean
    least = least_clear(one, other)
    clear = least is not None and abs(difference) > least
    where = f"{_quoted(first.name)} is {100 * abs(difference):.1f} points {'above' if difference >= 0 else 'below'} "
    where += _quoted(second.name)
    if least is None:
        return MiniatureFinding(
            sentence=f"{where}; with one seed nothing says whether that is chance.",
            difference=difference,
            clear=False,
            claimed=claim.expected is not None,
            agrees=None,
        )
    spread = "beyond" if clear else "within"
    sentence = f"{where}: {spread} the spread of the seeds ({100 * least:.1f} points would be clear)"
    agrees = _agrees(claim, difference, clear, least)
    verdict = {
        True: f". The paper found the same: {claim.words}.",
        False: f". The paper found otherwise: {claim.words}.",
        None: f", so it speaks neither for nor against the paper, which found {claim.words}.",
    }[agrees]
    return MiniatureFinding(
        sentence=sentence + (verdict if claim.expected else "."),
        difference=difference,
        clear=clear,
        claimed=claim.expected is not None,
        agrees=agrees,
    )


def least_clear(one: MiniatureScore, other: MiniatureScore) -> float | None:
    """The least difference of two means that counts as clear; None where a spread is missing.

    Args:
        one: over its seeds.
        other: over its own.
    """
    if one.spread is None or other.spread is None:
        return None
    n, m = len(one.values), len(other.values)
    pooled = ((n - 1) * one.spread**2 + (m - 1) * other.spread**2) / (n + m - 2)
    student = _STUDENT[min(2 * ((n + m - 2) // 2), max(_STUDENT))]
    return student * math.sqrt(pooled * (1 / n + 1 / m))


def _agrees(claim: Claim, difference: float, clear: bool, least: float) -> bool | None:
    """Whether this is what the paper found; None where the seeds cannot tell."""
    match claim.expected:
        case None:
            return None
        case "equal":
            return False if clear else True if least <= _EQUAL else None
        case "above":
            return difference > 0 if clear else None
        case "below":
            return difference < 0 if clear else None


def _quoted(name: str) -> str:
    return f"“{name}”"
