"""What repeats a published number: commands of ours as they are typed, and the data and hardware they ask for.

Folders stand for the reader's own copies of the images: `imagenet-1k/` with `train` and `val` in it, and the like.
"""

from __future__ import annotations

from collections.abc import Sequence

from vitreous.config import Recipe
from vitreous.published.tables import Repeat

CLOSED = {
    "JFT-300M": "JFT-300M (Google's own: nobody else can have it)",
    "ImageNet-21k": "ImageNet-21k (14 million images, on request)",
    "ImageNet-1k": "ImageNet-1k (1.28 million images, on request)",
}
"""Data that is not there for the taking, and what to say of it."""

VTAB_ROOT = "vtab/"
"""Where commands look for the 19 tasks."""


def folder(data: str) -> str:
    """The folder that stands for a data set in a command: `imagenet-1k/`.

    Args:
        data: as a recipe names it, "ImageNet-1k".
    """
    return data.casefold().replace(" ", "-") + "/"


def run_folder(*words: str) -> str:
    """A folder below runs/ that is named for what is done in it.

    Args:
        words: recipe, model and the like.
    """
    return "runs/" + "-".join(words)


def images(*data: str) -> str:
    """What data a command needs, and whether anybody can have it.

    Args:
        data: names of data sets, the same name more than once counting once.
    """
    return ", ".join(dict.fromkeys(CLOSED.get(name, name) for name in data if name))


def pretrain(recipe: Recipe, *, model: str | None = None, run: str | None = None, epochs: int | None = None) -> str:
    """The command that trains from scratch by a recipe.

    Args:
        recipe: for pretrain.
        model: in place of the recipe's.
        run: its folder; by default named after the recipe.
        epochs: in place of the recipe's.
    """
    words = ["vitreous pretrain", folder(recipe.data), "--model", model or recipe.model, "--recipe", recipe.name]
    words += [] if epochs is None else ["--epochs", str(epochs)]
    return " ".join([*words, "--run", run or run_folder(recipe.name)])


def finetune(
    recipe: Recipe, model: str, *, data: str | None = None, run: str | None = None, more: Sequence[str] = ()
) -> str:
    """The command that transfers a model by a recipe; published weights are fetched.

    Args:
        recipe: for finetune.
        model: a run folder, or published weights by name.
        data: in place of the recipe's.
        run: its folder, where a later command needs it.
        more: other flags.
    """
    words = ["vitreous finetune", folder(data or recipe.data), "--model", model, "--recipe", recipe.name, *more]
    words += ["--run", run] if run else []
    return " ".join([*words, *_fetch(model)])


def evaluate(model: str, data: str, *, more: Sequence[str] = ()) -> str:
    """The command that scores a model on labelled images.

    Args:
        model: a run folder, or published weights by name.
        data: a folder, or a set by name.
        more: other flags.
    """
    return " ".join(["vitreous evaluate", model, data, *more, *_fetch(model)])


def vtab(model: str, *, more: Sequence[str] = ()) -> str:
    """The command that runs the 19 tasks of VTAB.

    Args:
        model: a run folder, or published weights by name.
        more: other flags.
    """
    return " ".join(["vitreous vtab", model, "--root", VTAB_ROOT, *more, *_fetch(model)])


def few_shot(model: str, data: str, shots: int) -> str:
    """The command that scores frozen features by a linear model on a few images of each class.

    Args:
        model: a run folder, or published weights by name.
        data: a folder, or a set by name.
        shots: images of each class.
    """
    return " ".join(["vitreous probe", model, data, "--only fewshot --shots", str(shots), *_fetch(model)])


def probe(model: str, data: str, how: str) -> str:
    """The command that scores frozen features by their neighbours or by a linear model.

    Args:
        model: a run folder, or published weights by name.
        data: a folder, or a set by name.
        how: "k-NN" or "linear".
    """
    return " ".join(["vitreous probe", model, data, "--only", how.lower().replace("-", ""), *_fetch(model)])


def miniature(study: str) -> str:
    """The command that asks one of the paper's questions of small models and built-in images.

    Args:
        study: its name.
    """
    return f"vitreous paper --miniature --only {study}"


def none(why: str, *, data: str = "", hardware: str = "", core_days: float | None = None) -> Repeat:
    """What is said of a number that no command gives.

    Args:
        why: the reason, a phrase.
        data: what it was trained on.
        hardware: and on what machines.
        core_days: days of one TPUv3 core.
    """
    return Repeat(remark=why, data=data, hardware=hardware, core_days=core_days)


def _fetch(model: str) -> tuple[str, ...]:
    """Published weights come from a hub; a run folder is there."""
    return () if model.startswith("runs/") else ("--fetch",)
