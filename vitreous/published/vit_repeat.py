"""What repeats a number of the ViT paper: from a pre-training, or from released weights, to a task.

Commands pre-train where the paper's weights were never released (JFT-300M, ImageNet-1k), and fetch the released weights
where they were (ImageNet-21k).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from vitreous.config import Recipe
from vitreous.published import repeat
from vitreous.published.tables import Repeat, grid
from vitreous.published.vit_numbers import TABLE_6
from vitreous.recipe import find_recipe, recipe_names
from vitreous.zoo import find_model

TASKS = {
    "ImageNet": "imagenet",
    "CIFAR-10": "cifar10",
    "CIFAR-100": "cifar100",
    "Oxford-IIIT Pets": "pets",
    "Oxford Flowers-102": "flowers",
}
_CORE_DAYS = {("vit-h14", "JFT-300M"): 2500, ("vit-l16", "JFT-300M"): 680, ("vit-l16", "ImageNet-21k"): 230}

_FAMILIES = {"JFT-300M": "paper-jft300m", "ImageNet-21k": "paper-imagenet21k", "ImageNet": "paper-imagenet"}
_SWEPT = "best of the rates that Table 4 lists: --sweep tries them all"
_H14 = "378 px, which is 27 patches of 14: 384 is no multiple"


@dataclass(frozen=True, kw_only=True, slots=True)
class Start:
    """What a fine-tuning begins with."""

    name: str
    """The architecture."""
    recipe: Recipe
    """Of its pre-training."""
    epochs: int
    """Of its pre-training."""
    model: str
    """What to fine-tune: a run folder, or published weights by name."""
    before: tuple[str, ...] = ()
    """The command that makes the run folder."""
    core_days: float | None = None
    exaflops: float | None = None


def begin(data: str, model: str, epochs: int | None = None) -> Start:
    """What a model is fine-tuned from.

    Args:
        data: what it was pre-trained on, as Table 5 says it: ImageNet, ImageNet-21k or JFT-300M.
        model: the zoo's name.
        epochs: of pre-training; by default the longest that the paper has of this model.
    """
    if data == "JFT-300M":
        longest = max(length for name, length in _EXAFLOPS if name == model)
        epochs = epochs or longest
        recipe = jft_recipe(model, epochs)
        assert recipe is not None, f"no recipe pre-trains {model} on JFT-300M"
        other = None if recipe.epochs == epochs else epochs
        run = repeat.run_folder(recipe.name) + (f"-{epochs}ep" if other else "")
        return Start(
            name=model,
            recipe=recipe,
            epochs=epochs,
            model=run,
            before=(repeat.pretrain(recipe, run=run, epochs=other),),
            core_days=_CORE_DAYS.get((model, data)) if epochs == longest else None,
            exaflops=_EXAFLOPS[model, epochs],
        )
    # of H/14 on ImageNet-21k only the weights are known: Table 3 has no row for it, and takes one rate for all others
    name = f"{_FAMILIES[data]}-{model}"
    recipe = find_recipe(name if name in recipe_names("pretrain") else f"{_FAMILIES[data]}-vit-l16", "pretrain")
    public = data == "ImageNet-21k"
    return Start(
        name=model,
        recipe=recipe,
        epochs=int(recipe.epochs or 0),
        model=f"{model}.google_in21k" if public else repeat.run_folder(recipe.name),
        before=() if public else (repeat.pretrain(recipe),),
        core_days=_CORE_DAYS.get((model, data)),
    )


def jft_recipe(model: str, epochs: int) -> Recipe | None:
    """The recipe of that length, or one of another length of the same model; None where Table 3 has no such model.

    Args:
        model: the zoo's name.
        epochs: of pre-training.
    """
    names = [f"paper-jft300m-{model}-{epochs}ep", f"paper-jft300m-{model}"]
    known = [name for name in names if name in recipe_names("pretrain")]
    return find_recipe(known[0], "pretrain") if known else None


def model_and_epochs(row: str) -> tuple[str, int]:
    """The zoo's name and the length from the name of a row of Table 6.

    Args:
        row: "ViT-B/32, 7 epochs".
    """
    model, _, length = row.partition(", ")
    return find_model(model).name, int(length.split()[0])


_EXAFLOPS = {
    model_and_epochs(name): cell.value for name, (*_, cell) in grid(TABLE_6).items() if cell is not None and cell.value
}
"""Table 6's last column, by model and epochs."""


def transfer(start: Start, task: str, *, higher: bool = False) -> Repeat:
    """Fine-tuning to a task, at 384 pixels, or as for Table 2 at the higher resolution of its model.

    Args:
        start: what it begins with.
        task: as the tables name it.
        higher: whether ImageNet is learned at 512 pixels (518 for H/14) with averaged weights.
    """
    real, short = task == "ImageNet ReaL", TASKS.get(task, "imagenet")
    large = start.name == "vit-h14"
    name = f"paper-finetune-{short}" + (("-518" if large else "-512") if higher and short == "imagenet" else "")
    recipe = find_recipe(name, "finetune")
    size = ("--image-size", "378") if large and recipe.image_size == (384, 384) else ()
    run = repeat.run_folder(recipe.name, start.model.removeprefix("runs/")) if real else None
    lines = [*start.before, repeat.finetune(recipe, start.model, more=size, run=run)]
    lines += [repeat.evaluate(run, "imagenet-real", more=("--root", "imagenet-1k/"))] if run else []
    return chain(start, lines, recipe.data, remark="; ".join([_SWEPT, *([_H14] if size else [])]))


def vtab(start: Start) -> Repeat:
    """The 19 tasks with the paper's one setting.

    Args:
        start: what each begins with.
    """
    return chain(start, (*start.before, repeat.vtab(start.model)), "VTAB-1k")


def counting(start: Start) -> Repeat:
    """How many operations pre-training takes.

    Args:
        start: whose pre-training.
    """
    line = f"vitreous cost {start.name} --recipe {start.recipe.name} --hardware tpu-v3-core"
    line += "" if start.recipe.epochs == start.epochs else f" --epochs {start.epochs}"
    return replace(chain(start, (line,)), remark="computed, nothing is trained", data="")


def chain(start: Start, commands: Sequence[str], *data: str, remark: str = "") -> Repeat:
    """Commands with what they need, that of pre-training included.

    Args:
        start: what they begin with.
        commands: in their order; equal ones are said once.
        data: what the commands after pre-training read.
        remark: what they do otherwise than the authors did.
    """
    return Repeat(
        commands=tuple(dict.fromkeys(commands)),
        remark=remark,
        data=repeat.images(*([start.recipe.data] if start.before else []), *data),
        hardware="TPUv3",
        core_days=start.core_days,
        exaflops=start.exaflops,
    )
