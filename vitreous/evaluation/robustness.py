"""A classifier of ImageNet's thousand classes on ImageNet and its variants, each scored as its authors score it.

Sources: ReaL (Beyer et al. 2020), -V2 (Recht et al. 2019), -A (Hendrycks et al. 2021, natural-adv-examples/eval.py), -R
(Hendrycks et al. 2021, imagenet-r/eval.py), -Sketch (Wang et al. 2019), -C (Hendrycks and Dietterich 2019), ObjectNet
(Barbu et al. 2019; the maximum over the classes that stand for one, as wise-ft has it).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from jaxtyping import Bool, Float32, Int

from vitreous.config import PreprocessConfig
from vitreous.console import Progress, count, say
from vitreous.data.feeding.loader import evaluation_batches
from vitreous.data.feeding.threads import num_readers
from vitreous.data.imageset import ImageSet
from vitreous.data.layouts.imagenet.catalogue import Variant, chosen_classes, find_variant
from vitreous.data.layouts.imagenet.imagenet_labels import NUM_CLASSES, imagenet_places
from vitreous.data.layouts.imagenet.named import (
    CORRUPTED_SIDE,
    Labelled,
    corrupted_images,
    find_folder,
    missing,
    open_clean,
    open_corruptions,
    open_real,
    open_variant,
)
from vitreous.data.words import some
from vitreous.errors import DataError, UsageError
from vitreous.evaluation.corruption import corruption_score, mean_over, missing_sets
from vitreous.evaluation.metrics import wilson_interval
from vitreous.evaluation.severities import Remembered
from vitreous.predict import Model, Predictor, ranked
from vitreous.published.robustness import ALEXNET_CLEAN_ERROR, ALEXNET_ERRORS, EXTRA_CORRUPTIONS, published_scores
from vitreous.results.images import Failure
from vitreous.results.robustness import CleanScore, CorruptionScore, RobustnessResult, SeverityScore

_TOP = 5
_READ = 64  # images read together; the Predictor cuts them into its passes


@dataclass(frozen=True, eq=False)
class _Judge:
    """A model whose logits are in the order of ImageNet's classes."""

    name: str
    predictor: Predictor
    column: Int[np.ndarray, 1000]
    """Which of the model's logits is that of each class."""
    notes: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class _Answers:
    """What the model said of the images that can be read."""

    places: Int[np.ndarray, " n"]
    """In the image set, in order."""
    best: Int[np.ndarray, "n top"]
    """Classes among which the answer was chosen, best first."""
    failed: dict[int, Failure]
    """By places in the image set."""


def evaluate_variant(
    name: str,
    model: Model | Predictor,
    root: str | Path,
    *,
    device: str = "auto",
    precision: Literal["float32", "bfloat16"] = "float32",
    batch_size: int | None = None,
    clean: bool = True,
    called: str | None = None,
    keep: Path | None = None,
) -> RobustnessResult:
    """A model's score on ImageNet or one of its variants, each with its own labels, crop and rule.

    Args:
        name: as `variant_names` lists them, such as "imagenet-a".
        model: whatever `Predictor` takes, or one that is ready; its device, precision and batch size then hold.
        root: the folder of the data set, or one above; where ImageNet's validation images lie there too, the score on
            them says what the variant costs.
        device: "auto", "cpu", "cuda", "cuda:1" or "mps".
        precision: of the matrix products.
        batch_size: images per forward pass; see `Predictor`.
        clean: whether to score the validation images as well, where they are there.
        called: what to call the model; by default what `model` says.
        keep: folder in which the scores on ImageNet-C's sets are written down as they come, and found again.

    Raises:
        UnknownNameError: there is no variant of that name.
        UsageError: the model does not answer with ImageNet's thousand classes.
        DataError: the images are not there, are something else, or not one of them can be read.
        ModelFileError: the model cannot be used.
        ResourceError: `keep` cannot be written to.
    """
    variant, folder = find_variant(name), Path(root).expanduser()
    find_folder(variant, folder)  # before the model is read, which may take long
    predictor = (
        model
        if isinstance(model, Predictor)
        else Predictor(model, device=device, precision=precision, batch_size=batch_size)
    )
    judge = _judge(predictor, variant, called or (str(model) if isinstance(model, str | Path) else "the model"))
    if judge.notes:
        say(*judge.notes)
    if variant.layout == "corruptions":
        return _corrupted(judge, variant, folder, clean, Remembered(predictor, keep))
    if variant.name == "imagenet-real":
        return _real(judge, variant, folder)
    labelled = open_variant(variant, folder)
    say(*labelled.notes)  # of every layout at least one
    compared = clean and variant.layout in ("wnids", "numbers")
    found = _clean(judge, folder, chosen_classes(variant.name)) if compared else None
    answers = _ask(judge, labelled, judge.predictor.preprocess, variant.title)
    first, five = _hits(answers, labelled.images)
    result = _result(judge, variant, labelled.images, first, five, tuple(answers.failed.values()), labelled.notes)
    return result if found is None else _against(result, found)


def _judge(predictor: Predictor, variant: Variant, called: str) -> _Judge:
    """The place of each of the thousand classes among the model's logits: by name, or by order where none has one."""
    classes = predictor.classes
    places = imagenet_places(classes) if len(classes) == NUM_CLASSES else None
    if places is None:
        raise UsageError(
            f"{variant.name} is for models that answer with ImageNet's 1,000 classes",
            where=called,
            why=f"this one has {len(classes):,} classes ({some(list(classes), 5)})",
            remedy="fine-tune it on ImageNet, or take weights that are; a model of other classes is scored on a folder"
            " of images of its own classes",
        )
    column = np.empty(NUM_CLASSES, np.int64)
    column[places] = np.arange(NUM_CLASSES)
    notes: tuple[str, ...] = ()
    if not predictor.card.classes:
        notes = (f"{called}: its 1,000 outputs have no names; taken in the order of ImageNet's classes",)
    return _Judge(called, predictor, column, notes)


def _ask(judge: _Judge, labelled: Labelled, preprocess: PreprocessConfig, label: str) -> _Answers:
    """The best answers to every image, none left out: what cannot be read is named."""
    images, predictor = labelled.images, judge.predictor
    found: list[Int[np.ndarray, " b"]] = []
    best: list[Int[np.ndarray, "b top"]] = []
    failed: list[Failure] = []
    batches = evaluation_batches(
        images,
        preprocess=preprocess,
        batch_size=max(_READ, predictor.batch_size),
        workers=num_readers(images),
    )
    with Progress(label, len(images)) as progress:
        for places, pixels, unread in batches:
            failed += unread
            if len(places):
                logits = predictor.logits(pixels)[:, judge.column]
                best.append(ranked(class_logits(logits, labelled.ids), _TOP))
                found.append(places)
            progress.advance(len(places) + len(unread))
    if not found:
        raise DataError(
            "not one of the images can be read",
            where=images.name,
            why="; ".join(f"{failure.path}: {failure.reason}" for failure in failed[:3]) or "there are none",
        )
    seen = np.concatenate(found)
    unseen = np.setdiff1d(np.arange(len(images)), seen)  # in order, as are the failures
    return _Answers(seen, np.concatenate(best), dict(zip(unseen.tolist(), failed, strict=True)))


def class_logits(logits: Float32[np.ndarray, "b 1000"], ids: Sequence[Sequence[int]]) -> Float32[np.ndarray, "b Y"]:
    """For each class of a variant the largest logit of the classes of ImageNet that stand for it.

    Args:
        logits: in the order of ImageNet's classes.
        ids: for each class, those that stand for it: one or several.
    """
    if all(len(each) == 1 for each in ids):
        return logits[:, [each[0] for each in ids]]
    ends = np.cumsum([len(each) for each in ids])
    return np.maximum.reduceat(logits[:, [place for each in ids for place in each]], [0, *ends[:-1]], axis=1)


def _hits(answers: _Answers, images: ImageSet) -> tuple[Bool[np.ndarray, " n"], Bool[np.ndarray, " n"]]:
    """Whether the first, and one of the five first, answers to each image is its class."""
    right = answers.best == images.labels[answers.places][:, None]
    return right[:, 0], right.any(axis=1)


def _result(
    judge: _Judge,
    variant: Variant,
    images: ImageSet,
    first: Bool[np.ndarray, " n"],
    five: Bool[np.ndarray, " n"],
    failed: tuple[Failure, ...],
    notes: tuple[str, ...],
) -> RobustnessResult:
    expected = len(first) + len(failed)
    if expected != variant.images:
        notes = (*notes, f"{expected:,} images; the published set has {variant.images:,}")
    return RobustnessResult(
        name=variant.name,
        title=variant.title,
        model=judge.name,
        top1=float(first.mean()),
        top5=float(five.mean()),
        interval=wilson_interval(int(first.sum()), len(first)),
        answers=len(images.classes),
        seen=len(first),
        expected=expected,
        failed=failed,
        published_images=variant.images,
        published=published_scores(variant.name),
        notes=(*judge.notes, *notes),
    )


def _real(judge: _Judge, variant: Variant, root: Path) -> RobustnessResult:
    """ReaL: right is what people saw. The images in which they saw no class are answered for the first labels only."""
    opened = open_real(root)
    labelled, real = opened.labelled, opened.real
    counts = np.diff(real.ends, prepend=0) > 0
    if not counts.any():
        raise DataError(f"none of the {len(counts):,} images counts for ReaL", where=labelled.images.name)
    said = f"{int(counts.sum()):,} of {len(counts):,} images count"
    said += "" if counts.all() else ": in the others people saw none of the 1,000 classes"
    notes = (*labelled.notes, said)
    say(*notes)
    answers = _ask(judge, labelled, judge.predictor.preprocess, variant.title)
    kept = counts[answers.places]
    if not kept.any():
        raise DataError("not one of the images that count can be read", where=labelled.images.name)
    right = np.empty(answers.best.shape, bool)
    for start in range(0, len(right), 1000):  # a row has a thousand columns
        rows = slice(start, start + 1000)
        shown = real.rows(answers.places[rows]) > 0
        right[rows] = np.take_along_axis(shown, answers.best[rows], axis=1)
    failed = tuple(failure for place, failure in answers.failed.items() if counts[place])
    first, five = right[kept, 0], right[kept].any(axis=1)
    result = _result(judge, variant, labelled.images, first, five, failed, notes)
    if not opened.own:
        return result
    own, own_five = _hits(answers, labelled.images)
    return _against(result, _clean_score(own, own_five, answers, labelled))


def _clean(judge: _Judge, root: Path, classes: Sequence[int]) -> CleanScore | str:
    """The same question asked of ImageNet's validation images; where it cannot be, why.

    That ends nothing, as the variant has a score without them; asked before it, what is said can still be mended.
    """
    said = "ImageNet's validation images do not lie under --root: there is no clean score to compare with"
    try:
        if (labelled := open_clean(root, classes)) is not None:
            name, images = labelled.images.name, len(labelled.images)
            say(f"{name}: {count(images, 'validation image')} of the same {len(classes):,} classes")
            answers = _ask(judge, labelled, judge.predictor.preprocess, "clean images")
            return _clean_score(*_hits(answers, labelled.images), answers, labelled)
    except DataError as error:
        parts = [part for part in (error.what, error.where, error.why) if part]
        said = f"there is no clean score to compare with: {'; '.join(parts)}"
    say(said)
    return said


def _clean_score(
    first: Bool[np.ndarray, " n"], five: Bool[np.ndarray, " n"], answers: _Answers, labelled: Labelled
) -> CleanScore:
    return CleanScore(
        top1=float(first.mean()),
        top5=float(five.mean()),
        answers=len(labelled.ids),
        seen=len(first),
        expected=len(labelled.images),
        failed=tuple(answers.failed.values()),
    )


def _against(result: RobustnessResult, clean: CleanScore | str) -> RobustnessResult:
    if isinstance(clean, str):
        return dataclasses.replace(result, notes=(*result.notes, clean))
    return dataclasses.replace(result, clean=clean, drop=clean.top1 - result.top1)


def _corrupted(judge: _Judge, variant: Variant, root: Path, clean: bool, remembered: Remembered) -> RobustnessResult:
    """ImageNet-C: every severity of every corruption that is there, and the mCE where all are."""
    folder, found = open_corruptions(root)
    lacking = missing_sets(found)
    known = {name: levels for name, levels in found.items() if name in (*ALEXNET_ERRORS, *EXTRA_CORRUPTIONS)}
    if not set(known) & set(ALEXNET_ERRORS):
        raise missing(variant, root)
    notes = [
        f"{folder}: {count(len(known), 'corruption')}, {count(sum(map(len, known.values())), 'set')} of images",
        _shown_as(judge),
    ]
    if lacking:
        notes.append(f"no mCE, as these are missing: {some(list(lacking), 8)}")
    if others := sorted(set(found) - set(known)):
        notes.append(f"{folder}: left out {some(others)}, which are no corruptions of ImageNet-C")
    say(*notes)
    clean_score = _clean(judge, root, range(NUM_CLASSES)) if clean else None
    clean_error = None
    if isinstance(clean_score, CleanScore):
        notes.append(f"relative mCE takes AlexNet's error on clean images as {100 * ALEXNET_CLEAN_ERROR:.1f} %")
        clean_error = 1.0 - clean_score.top1
    scores = {
        name: corruption_score(
            name,
            [_severity(judge, name, level, known[name][level], remembered) for level in sorted(known[name])],
            clean_error,
        )
        for name in (*ALEXNET_ERRORS, *EXTRA_CORRUPTIONS)
        if name in known
    }
    main = tuple(score for name, score in scores.items() if name in ALEXNET_ERRORS)
    result = _pooled(judge, variant, main, tuple(notes))
    result = dataclasses.replace(
        result,
        corruptions=main,
        extra=tuple(score for name, score in scores.items() if name in EXTRA_CORRUPTIONS),
        missing=lacking,
        mce=None if lacking else mean_over(score.ce for score in main),
        relative_mce=None if lacking else mean_over(score.relative_ce for score in main),
    )
    return result if clean_score is None else _against(result, clean_score)


def _shown_as(judge: _Judge) -> str:
    height, width = judge.predictor.preprocess.image_size
    said = f"shown as they are, the centre of {CORRUPTED_SIDE} x {CORRUPTED_SIDE} pixels"
    if (height, width) == (CORRUPTED_SIDE, CORRUPTED_SIDE):
        return f"{said}, not resized, whatever the model's card says of other images"
    return f"{said} resized to the model's {height} x {width}: published figures are for models of 224 pixels"


def _severity(judge: _Judge, name: str, severity: int, folder: Path, remembered: Remembered) -> SeverityScore:
    labelled = corrupted_images(folder)
    # the images have the size already; where the model's is another, they are resized whole and nothing is cut
    preprocess = dataclasses.replace(judge.predictor.preprocess, resize="squash", crop_ratio=1.0)
    if (known := remembered.find(f"{name}/{severity}", labelled.images, preprocess)) is not None:
        say(f"{name} {severity}: as it was written down before")
        return known
    answers = _ask(judge, labelled, preprocess, f"{name} {severity}")
    first, five = _hits(answers, labelled.images)
    score = SeverityScore(
        severity=severity,
        top1=float(first.mean()),
        top5=float(five.mean()),
        seen=len(first),
        expected=len(labelled.images),
        failed=tuple(answers.failed.values()),
    )
    remembered.keep(f"{name}/{severity}", labelled.images, preprocess, score)
    return score


def _pooled(
    judge: _Judge, variant: Variant, scores: Sequence[CorruptionScore], notes: tuple[str, ...]
) -> RobustnessResult:
    """All images of the 15 corruptions together."""
    sets = [each for score in scores for each in score.severities]
    seen = sum(each.seen for each in sets)
    expected = sum(each.expected for each in sets)
    if expected != variant.images:
        notes = (*notes, f"{expected:,} images of the 15 corruptions; the published set has {variant.images:,}")
    return RobustnessResult(
        name=variant.name,
        title=variant.title,
        model=judge.name,
        top1=sum(each.top1 * each.seen for each in sets) / seen,
        top5=sum(each.top5 * each.seen for each in sets) / seen,
        interval=None,
        answers=NUM_CLASSES,
        seen=seen,
        expected=expected,
        failed=tuple(failure for each in sets for failure in each.failed),
        published_images=variant.images,
        published=published_scores(variant.name),
        notes=(*judge.notes, *notes),
    )
