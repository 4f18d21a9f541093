"""What models know of some images before they are trained on them: neighbours, linear, few-shot, layer by layer.

Features are computed once for each model and kept; what stands on them takes seconds. Every model is asked about the
same held-out images, so that differences are paired.
"""

from __future__ import annotations

import dataclasses
import itertools
import json
import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from torch import nn

from vitreous import console
from vitreous.architecture import ResNetConfig, ViTConfig
from vitreous.cost.budget import as_trained, budget
from vitreous.data.sources import ImageSet, Splits, open_splits
from vitreous.data.vtab.parts import together
from vitreous.errors import DataError, UsageError
from vitreous.evaluation.features import frozen, module_of
from vitreous.evaluation.fewshot import SEEDS, SHOTS
from vitreous.evaluation.paired import holm, in_accord
from vitreous.files import write_text
from vitreous.machine import cache_folder
from vitreous.predict import Model, Predictor
from vitreous.recipe import find_recipe
from vitreous.report.chart import save
from vitreous.report.content import Command
from vitreous.report.html import write_probe_report
from vitreous.report.probe import ProbeReport, probe_charts
from vitreous.report.words import percent, points
from vitreous.results import Failure, FinetunePrice, ProbeDifference, ProbeResult
from vitreous.schema import to_json
from vitreous.study.folder import result_folder
from vitreous.study.price import measure as measure_passes
from vitreous.study.probe_scores import KINDS, Kind, Material, Scored, Wanted, is_noise, paired, scored, signed
from vitreous.zoo import is_model_name

_FOUND = "probe.json"
_PRICED = "small-finetune"
_DECIDING = ("linear", "k-NN")


def probe(
    models: Model | list[Model],
    data: str | Path | ImageSet | Splits,
    *,
    only: Sequence[Kind] = KINDS,
    layers: bool = False,
    shots: Sequence[int] = SHOTS,
    seeds: Sequence[int] = SEEDS,
    val: float = 0.2,
    seed: int = 0,
    out: str | Path | None = None,
    measure: bool = False,
    device: str = "auto",
    precision: Literal["float32", "bfloat16"] = "float32",
    batch_size: int | None = None,
    root: str | None = None,
    bad_images: Literal["error", "skip"] = "error",
    cache: str | Path | None = None,
    command: str | None = None,
    next_steps: Sequence[Command] = (),
) -> ProbeResult:
    """How well a model's frozen features name images: nearest neighbours, a linear layer, a few examples per class.

    Nothing of the model is trained. Scores come from test images or, where there are none, from images held out as
    `finetune` holds them out; none of these choose anything. With several models, a sentence tells which suits the
    images, and whether that is more than chance.

    Args:
        models: one, or a list: whatever `Predictor` takes; no head or class names are needed.
        data: whatever training takes; an image set; or splits.
        only: which of "knn", "linear" and "fewshot".
        layers: whether to look at every block as well.
        shots: examples per class.
        seeds: of their draw.
        val: share of each class held out where there are no val images.
        seed: decides which, what the linear probe holds out to choose by, and its weights.
        out: folder for report.html, probe.json and the charts; by default none is written.
        measure: whether to measure some passes of training here, to tell how long fine-tuning would take.
        device: "auto", "cpu", "cuda", "cuda:1" or "mps".
        precision: of the matrix products.
        batch_size: images per forward pass; see `Predictor`.
        root: where the files of a built-in set lie.
        bad_images: stop at unreadable images, or leave them out and name them.
        cache: folder where features are kept between calls; by default in vitreous' own.
        command: what was typed, for the page.
        next_steps: what to type next, for the page.

    Raises:
        DataError: the data cannot be learned from.
        ModelFileError: a model cannot be used.
        UsageError: there is nothing to do, or a folder that holds something else.
        ResourceError: a file cannot be written.
    """
    began = time.monotonic()
    asked: list[Model] = models if isinstance(models, list) else [models]
    _check(asked, only)
    folder = None if out is None else result_folder(Path(out), _FOUND)
    material, held_out, notes, unread = open_material(data, val=val, seed=seed, root=root, bad_images=bad_images)
    console.say(*(f"  {note}" for note in notes), f"  scored on {held_out}")
    wanted = Wanted(only=tuple(only), layers=layers, shots=tuple(shots), seeds=tuple(seeds), seed=seed)
    kept = cache_folder() / "features" if cache is None else Path(cache)
    found = []
    for source, name in zip(asked, _names(asked), strict=True):
        random = _is_random(source)
        console.say("", name + (": random weights" if random else ""))
        predictor = frozen(source, device=device, precision=precision, batch_size=batch_size)
        price = _price(predictor, material.train, measure=measure)
        found.append(scored(predictor, material, wanted, name=name, random=random, price=price, cache=kept))
    result = _result(material, found, held_out=held_out, notes=notes, unread=unread, began=began)
    return result if folder is None else _written(result, folder, command, next_steps)


def _check(asked: list[Model], only: Sequence[Kind]) -> None:
    if not asked:
        raise UsageError("there is no model to probe")
    if unknown := [kind for kind in only if kind not in KINDS]:
        raise UsageError(f"there is no probe called {unknown[0]}", remedy=f"some of {', '.join(KINDS)}")
    if not only:
        raise UsageError("there is nothing to measure", remedy=f"some of {', '.join(KINDS)}")


def open_material(
    data: str | Path | ImageSet | Splits,
    *,
    val: float,
    seed: int,
    root: str | None,
    bad_images: Literal["error", "skip"],
) -> tuple[Material, str, tuple[str, ...], tuple[Failure, ...]]:
    """What is learned from and scored on, where the latter comes from, what was recognised, and what was left out.

    Test images are scored where there are some, and then val images choose settings; else val images are scored.

    Args:
        data: see `probe`.
        val: see `probe`.
        seed: see `probe`.
        root: see `probe`.
        bad_images: see `probe`.

    Raises:
        DataError: the data cannot be learned from, or an image has several labels.
    """
    splits = open_splits(data, val=val, seed=seed, root=root, bad_images=bad_images)
    if splits.train.targets is not None:
        raise DataError(
            "a probe asks for one class per image, and these have several, or shares of them",
            where=splits.train.name,
            remedy="vitreous evaluate, with a model that is trained on such labels",
        )
    assert splits.val is not None, "data is always opened with something held out"
    if splits.test is None:
        material = Material(train=splits.train, test=splits.val, choose=0)
    else:
        whole = together(splits.train, splits.val)
        material = Material(train=whole, test=splits.test, choose=len(splits.val))
    held_out = f"{material.test.name}: {console.count(len(material.test), 'image')} that choose nothing"
    notes = splits.notes
    if material.choose:
        chosen = console.count(material.choose, "image")
        notes = (
            *notes,
            f"learned from {len(material.train):,}, of which the {chosen} held out choose the linear layers",
        )
    return material, held_out, notes, splits.failed


def _names(asked: list[Model]) -> list[str]:
    """What each model is called; models of one name are numbered."""
    names: list[str] = []
    for source in asked:
        match source:
            case str() | Path():
                name = os.fspath(source)
            case ViTConfig() | ResNetConfig():
                name = source.name
            case _:
                module = source[0] if isinstance(source, tuple) else source
                name = getattr(getattr(module, "config", None), "name", "") or type(module).__name__
        same = sum(other == name or other.startswith(f"{name} (") for other in names)
        names.append(f"{name} ({same + 1})" if same else name)
    return names


def _is_random(source: Model) -> bool:
    """Whether the name of an architecture stands where trained weights are expected."""
    if isinstance(source, nn.Module | tuple):
        return False
    return not isinstance(source, str | Path) or (isinstance(source, str) and is_model_name(source))


def _price(predictor: Predictor, train: ImageSet, *, measure: bool) -> FinetunePrice | None:
    """What fine-tuning takes by the recipe for small data; None for somebody's own module."""
    config = getattr(module_of(predictor), "config", None)
    if not isinstance(config, ViTConfig | ResNetConfig):
        return None
    recipe = find_recipe(_PRICED, "finetune")
    config = as_trained(config, recipe, len(train.classes))
    work = budget(config, recipe, len(train))
    seconds = None
    if measure:
        taken = measure_passes(config, recipe, device=predictor.device)
        seconds = work.steps * taken.step_seconds(recipe.batch_size)
    return FinetunePrice(recipe=recipe.name, flops=work.flops, seconds=seconds)


def _result(
    material: Material,
    found: list[Scored],
    *,
    held_out: str,
    notes: tuple[str, ...],
    unread: tuple[Failure, ...],
    began: float,
) -> ProbeResult:
    by = _deciding(found)
    best = max(found, key=lambda one: _top1(one, by))
    differences = _differences(found, best, by)
    failed: dict[Failure, None] = dict.fromkeys(unread)
    for one in found:
        failed |= dict.fromkeys(one.failed)
    return ProbeResult(
        data=material.train.name,
        classes=material.train.classes,
        train=len(material.train),
        seen=min(one.seen for one in found),
        expected=len(material.test),
        failed=tuple(failed),
        held_out=held_out,
        models=tuple(one.found for one in found),
        differences=tuple(differences),
        recommendation=_recommendation(found, best, by, differences) if differences else "",
        notes=notes,
        seconds=time.monotonic() - began,
    )


def _differences(found: list[Scored], best: Scored, by: str) -> list[ProbeDifference]:
    """The best beside each other one; which is best was seen in the same images, so that all pairs are tested."""
    first = sorted(found, key=lambda one: one is not best)
    pairs = list(itertools.combinations(first, 2))
    gaps = [paired(one.right[by], other.right[by]) for one, other in pairs]
    corrected = holm([gap.p_value for gap in gaps])
    differences = []
    for (one, other), gap, p_value in zip(pairs, gaps, corrected, strict=True):
        if one is not best:
            continue
        within_noise = is_noise(gap, p_value)
        differences.append(
            ProbeDifference(
                better=best.found.model,
                other=other.found.model,
                by=by,
                difference=gap.difference,
                interval=in_accord(gap.interval, within_noise=within_noise),
                within_noise=within_noise,
                p_value=p_value,
            )
        )
    return differences


def _deciding(found: list[Scored]) -> str:
    """The score that models are compared by: linear, else neighbours, else the most examples per class."""
    names = [score.name for score in found[0].found.scores]
    return next((name for name in _DECIDING if name in names), names[-1])


def _top1(one: Scored, by: str) -> float:
    return next(score.top1 for score in one.found.scores if score.name == by)


def _recommendation(found: list[Scored], best: Scored, by: str, differences: list[ProbeDifference]) -> str:
    """Which model suits the images, by how much, and the cheaper one where chance may have decided."""
    near = [one for one in differences if one.within_noise]
    words = f"{best.found.model} does best: {percent(_top1(best, by))} ({by})"
    if clear := [one for one in differences if not one.within_noise]:
        words += ", more than chance above " + " and ".join(f"{one.other} ({_gap(one)})" for one in clear)
    words += "."
    if near:
        words += " Within noise of it: " + " and ".join(f"{one.other} ({_gap(one)})" for one in near) + "."
        close = [best, *(one for one in found if one.found.model in {each.other for each in near})]
        priced = [(one.found.price.flops, one.found.model) for one in close if one.found.price is not None]
        if len(priced) == len(close):
            least, name = min(priced, key=lambda pair: pair[0])
            most = max(flops for flops, _ in priced)
            if most >= 1.1 * least:
                words += f" Of these, {name} is the cheapest to fine-tune."
    if any(one.found.random for one in found):
        words += " Random weights are here to compare with, not to be used."
    return words


def _gap(one: ProbeDifference) -> str:
    low, high = one.interval
    return f"by {points(one.difference)}, 95 % interval {signed(low)} to {signed(high)}"


def _written(result: ProbeResult, folder: Path, command: str | None, next_steps: Sequence[Command]) -> ProbeResult:
    charts = [str(path) for name, chart in probe_charts(result).items() for path in save(chart, folder, name)]
    files = (*charts, str(folder / _FOUND))
    result = dataclasses.replace(result, html=str(folder / "report.html"), files=files)
    write_probe_report(
        folder / "report.html",
        ProbeReport(
            result=result,
            command=command or "vt.probe(...)",
            written=time.strftime("%Y-%m-%d %H:%M"),
            next_steps=tuple(next_steps),
        ),
    )
    write_text(folder / _FOUND, json.dumps(to_json(result), indent=1) + "\n")
    return result
