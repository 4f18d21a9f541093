"""What a run of masked patch prediction leaves behind: a headless model file, its score on hidden patches, a report."""

from __future__ import annotations

import dataclasses
import shlex
import time
from pathlib import Path

import numpy as np

from vitreous import console
from vitreous.config import ModelCard
from vitreous.model.prepare import Prepared
from vitreous.report.content import Command
from vitreous.report.html import write_masked_report, write_model_card
from vitreous.report.masked import MaskedReport, MaskedScore
from vitreous.results import RunResult
from vitreous.training.finish import data_sheet, final_card
from vitreous.training.loop import Trained
from vitreous.training.masked.patch import vit_of
from vitreous.training.masked.score import score_masked
from vitreous.training.onlooker import Onlooker
from vitreous.training.plan import Plan
from vitreous.training.run import RunFolder
from vitreous.training.tell import environment
from vitreous.weights.native import golden_of, save_native

_SHOWN = 8  # held-out images whose hidden patches the report shows


def masked_result(plan: Plan, folder: RunFolder | Onlooker, trained: Trained, command: str) -> RunResult:
    """Write everything a finished run leaves behind, and give the headline: hidden colours said rightly.

    Args:
        plan: its model is the `MaskedPatch` with the final weights; what is saved is the Vision Transformer inside.
        folder: where everything goes.
        trained: what training took, for the report.
        command: what to type to do this again.

    Returns:
        The result that run.json keeps too.
    """
    path, held_out = folder.path, plan.held_out
    vit = vit_of(plan.model).eval()
    vit.card = card = final_card(dataclasses.replace(plan, model=vit), command)
    save_native(path / "model.safetensors", vit.state_dict(), card, golden_of(vit, card))
    console.say("hiding patches of the held-out images ...")
    exact = dataclasses.replace(plan.policy, precision="float32")
    score = score_masked(
        Prepared(plan.model, exact).eval(),
        held_out,
        card.preprocess,
        plan.recipe,
        plan.micro_batch,
        shown=np.linspace(0, len(held_out) - 1, _SHOWN).round().astype(int).tolist(),
    )
    result = RunResult(
        run=str(path),
        model=str(path / "model.safetensors"),
        top1=score.share,
        interval=score.interval,
        seen=score.seen,
        expected=score.expected,
        seconds=trained.seconds,
        report=str(path / "report.html"),
        data=f"{held_out.name}, {score.seen:,} images",
        score="hidden colours",
    )
    report = masked_report(plan, folder, result, score, card)
    write_masked_report(path / "report.html", report)
    write_model_card(path / "MODEL_CARD.md", report)
    return result


def masked_report(
    plan: Plan, folder: RunFolder | Onlooker, result: RunResult, score: MaskedScore, card: ModelCard
) -> MaskedReport:
    """Everything the page of this run shows.

    Args:
        plan: what was done.
        folder: holds the records.
        result: the headline.
        score: on the held-out images.
        card: of the trained model.
    """
    summary = (
        f"{plan.source} learned to fill hidden patches of {len(plan.splits.train):,} images without their labels, in "
        f"{console.duration(result.seconds)} on {plan.policy.device}, starting from "
        f"{'random weights' if plan.random else plan.source}."
    )
    return MaskedReport(
        title=Path(plan.data).name or plan.data,
        summary=summary,
        result=result,
        score=score,
        records=tuple(folder.records()),
        data=data_sheet(plan),
        card=card,
        recipe=plan.recipe,
        command=card.provenance["command"],
        environment=environment(plan),
        random_weights=plan.random,
        written=time.strftime("%Y-%m-%d %H:%M"),
        next_steps=(
            Command(
                text=f"vitreous finetune DATA --model {shlex.quote(str(folder.path))}",
                explained="teach it classes, from few labelled images: a new head is put on",
            ),
        ),
    )
