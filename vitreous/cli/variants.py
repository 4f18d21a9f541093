"""What `evaluate` says of ImageNet's variants: DATA may be one of their names, with --root above the images."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from vitreous import console
from vitreous.cli.answer import Answer
from vitreous.cli.words import command, harmless, next_steps, table
from vitreous.console import count
from vitreous.data.layouts.imagenet.catalogue import find_variant, is_like_variant
from vitreous.errors import UnknownNameError, UsageError
from vitreous.results.robustness import RobustnessResult

_FAILURES_SHOWN = 10


def variant_named(data: str, root: str | None) -> str | None:
    """The variant of ImageNet that DATA means by its name; None where it means something else.

    A file or folder of that name is meant before the variant, unless there is a --root.

    Args:
        data: what was typed.
        root: of --root.

    Raises:
        UnknownNameError: it is like the name of a variant, and none.
        UsageError: it is one, and there is no --root.
    """
    if not is_like_variant(data) or (root is None and os.path.exists(data)):
        return None
    try:
        variant = find_variant(data)
    except UnknownNameError as error:
        if root is not None:
            raise
        raise UnknownNameError(f"{error.what}, nor a file or folder", why=error.why, remedy=error.remedy) from None
    if root is None:
        raise UsageError(
            f"{variant.name} is the name of a data set, and nothing says where it lies",
            why=f"looked for {variant.looks}",
            remedy=f"--root DIR, the folder it lies in; to get it: {variant.source}",
        )
    return variant.name


def answer_variant(
    name: str,
    model: str,
    root: str,
    *,
    device: str,
    precision: Literal["float32", "bfloat16"],
    batch_size: int | None,
    out: str | None,
    warnings: Sequence[str] = (),
) -> Answer:
    """Score a model on a variant of ImageNet, and say what came out.

    Args:
        name: from `variant_named`.
        model: as it was typed.
        root: the folder the images lie in.
        device: where the model runs.
        precision: of the matrix products.
        batch_size: images per forward pass.
        out: folder for the page; None writes none.
        warnings: what to say of the model before and after.
    """
    from vitreous.report.content import Command
    from vitreous.study.robustness import score_variant

    variant = find_variant(name)
    flags = ["--root", root, *(["--precision", precision] if precision != "float32" else [])]
    typed = command("evaluate", model, name, *flags, *(["--out", out] if out else []))
    console.say(f"evaluating {harmless(model)} on {variant.title}, below {harmless(root)}", *warnings)
    steps = _steps(name, model, flags, out)
    found = score_variant(
        name,
        model,
        root,
        out=out,
        called=model,
        device=device,
        precision=precision,
        batch_size=batch_size,
        command=typed,
        next_steps=tuple(Command(text=text, explained=explained) for text, explained in steps),
    )
    console.say(*variant_words(found), *warnings)
    if out is not None:
        console.say("", f"page    {harmless(str(Path(out) / 'report.html'))}")
    console.say(*next_steps(*steps))
    return Answer(value=found)


def variant_words(found: RobustnessResult) -> list[str]:
    """The score as lines for a terminal, with what others report beside it.

    Args:
        found: what came out.
    """
    from vitreous.report.robustness import HEADS, corruption_rows, facts, share

    lines = ["", f"{harmless(found.model)} on {found.title}", *table([(key, value) for key, value in facts(found)])]
    if found.corruptions:
        lines += ["", *table([HEADS, *corruption_rows(found)], right=range(1, len(HEADS)))]
        if found.missing:
            lines.append(f"  missing: {', '.join(found.missing[:8])}{' ...' if len(found.missing) > 8 else ''}")
    if found.published:
        kinds = [("mCE", "mce")] if found.corruptions else [("top-1", "top1"), ("top-5", "top5")]
        head = ("published", *(title for title, _ in kinds), "source")
        rows = [(row.model, *(share(getattr(row, of)) for _, of in kinds), row.source) for row in found.published]
        lines += ["", *table([head, *rows], right=range(1, len(kinds) + 1))]
    if not found.complete:
        lines.append(f"  not comparable: {found.seen:,} images were scored, others scored {found.published_images:,}")
    if found.failed:
        rest = len(found.failed) - _FAILURES_SHOWN
        lines += ["", f"{count(len(found.failed), 'image')} could not be read"]
        lines += table([(harmless(one.path), harmless(one.reason)) for one in found.failed[:_FAILURES_SHOWN]])
        lines += [f"  and {rest:,} more"] if rest > 0 else []
    return lines


def _steps(name: str, model: str, flags: Sequence[str], out: str | None) -> list[tuple[str, str]]:
    other = "imagenet-r" if name == "imagenet-a" else "imagenet-a"
    steps = [(command("evaluate", model, other, *flags), "how it fares on images of another kind")]
    if out is None:
        page = f"{name}-score"
        explained = "the same as a page with its chart"
        steps.insert(0, (command("evaluate", model, name, *flags, "--out", page), explained))
    return steps
