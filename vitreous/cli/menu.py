"""Which verbs there are, and the page that `vitreous --help` shows. Imports nothing, so that it is there at once."""

from __future__ import annotations

from typing import NamedTuple


class Verb(NamedTuple):
    """One verb, as the menu shows it."""

    name: str
    """What is typed after `vitreous`."""
    summary: str
    """What it does, in one short line."""
    example: str
    """A whole command."""
    home: str
    """Where its dataclass lives: `module:Class` in this room."""


GROUPS: tuple[tuple[str, tuple[Verb, ...]], ...] = (
    (
        "Start here",
        (
            Verb(
                "demo",
                "the article in miniature: offline, on real digits, in two minutes",
                "vitreous demo",
                "demo:Demo",
            ),
        ),
    ),
    (
        "Prepare",
        (
            Verb(
                "check",
                "unreadable, duplicate, leaking, conflicting images: before training",
                "vitreous check photos/",
                "check:Check",
            ),
        ),
    ),
    (
        "Train",
        (
            Verb(
                "finetune",
                "transfer a model to your images: the main job",
                "vitreous finetune photos/ --model model.safetensors",
                "train:Finetune",
            ),
            Verb(
                "pretrain",
                "train a model from scratch",
                "vitreous pretrain photos/ --model vit-ti16",
                "train:Pretrain",
            ),
            Verb(
                "resume",
                "go on exactly where a run stopped",
                "vitreous resume runs/photos-1",
                "train:Resume",
            ),
            Verb(
                "replay",
                "what went wrong in the step that ended a diverged run",
                "vitreous replay runs/photos-1",
                "train:Replay",
            ),
        ),
    ),
    (
        "Use",
        (
            Verb(
                "predict",
                "labels for files, folders and patterns, to terminal, CSV or JSONL",
                "vitreous predict runs/photos-1 inbox/ --out labels.csv",
                "use:Predict",
            ),
            Verb(
                "evaluate",
                "accuracy with its interval, per class, and calibration",
                "vitreous evaluate runs/photos-1 photos/test",
                "use:Evaluate",
            ),
        ),
    ),
    (
        "Judge",
        (
            Verb(
                "vtab",
                "the 19 tasks of VTAB by group, beside the published models",
                "vitreous vtab runs/photos-1 --root vtab/",
                "vtab:Vtab",
            ),
            Verb(
                "probe",
                "which model suits your images, before any is trained",
                "vitreous probe vit-s16.augreg_in21k runs/photos-1 photos/",
                "probe:Probe",
            ),
            Verb(
                "compare",
                "two models on the same images: better, or within noise",
                "vitreous compare runs/photos-1 runs/photos-2 photos/test",
                "compare:Compare",
            ),
            Verb(
                "paper",
                "the papers' tables, what repeats a number, the same in miniature",
                "vitreous paper vit-table2",
                "paper:Paper",
            ),
        ),
    ),
    (
        "Weights",
        (
            Verb(
                "convert",
                "any checkpoint into any ecosystem's format, with equal logits",
                "vitreous convert ViT-B_16.npz vit-b16/ --to huggingface",
                "weights:Convert",
            ),
            Verb(
                "push",
                "a model with its card to a hub or a folder",
                "vitreous push runs/photos-1 me/photos",
                "weights:Push",
            ),
        ),
    ),
    (
        "Look up",
        (
            Verb(
                "models",
                "architectures and published weights, or all about one",
                "vitreous models vit-b16",
                "lists:Models",
            ),
            Verb(
                "recipes",
                "the training recipes, or every number in one and its source",
                "vitreous recipes paper-imagenet",
                "lists:Recipes",
            ),
            Verb(
                "cost",
                "what a model and its training take, before anything is begun",
                "vitreous cost vit-b16",
                "cost:Cost",
            ),
        ),
    ),
)

VERBS: dict[str, Verb] = {verb.name: verb for _, verbs in GROUPS for verb in verbs}

EXIT_CODES = (
    "0 done   2 usage   3 data   4 model file   5 diverged   6 resources",
    "75 stopped by a signal, 130 by Ctrl-C: state saved, `vitreous resume` goes on",
)


def page(version: str, *, bold: bool) -> str:
    """The help page of the whole command.

    Args:
        version: of the package.
        bold: whether headings may be set in bold for a terminal.
    """

    def heading(text: str) -> str:
        return f"\033[1m{text}\033[0m" if bold else text

    lines = [
        f"{heading('vitreous')} {version}: the Vision Transformer, whole.",
        "Train it, fine-tune it, evaluate it, use it.",
        "",
        "usage: vitreous VERB ...       each verb explains itself: vitreous VERB --help",
    ]
    for title, verbs in GROUPS:
        lines += ["", heading(title)]
        for verb in verbs:
            lines += [f"  {verb.name:<10}{verb.summary}", f"  {'':<10}$ {verb.example}"]
    lines += ["", heading("Everywhere")]
    lines += ["  --json    one JSON value on stdout, words for people on stderr"]
    lines += ["  --debug   show where in the program an unexpected failure happened"]
    lines += ["", heading("Exit codes"), *(f"  {line}" for line in EXIT_CODES)]
    return "\n".join(lines)
