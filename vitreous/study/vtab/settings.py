"""What is asked of a run of VTAB, and the settings that each protocol tries on every task.

paper    the ViT paper's: one setting for all tasks (appendix B.1.1, Table 4). Images are treated as in BiT, which
         neither crops nor mirrors where that changes the answer; which tasks these are stands in scenic's
         vtab_plainvit_config.py.
light    VTAB's lightweight sweep, after VTAB's description: 2 rates x 2 lengths, SGD, rate to a tenth at 30, 60
         and 90 %.
heavy    VTAB's heavyweight random search, after VTAB's description; the ranges are this package's.
augreg   AugReg's: 4 rates x 2 lengths at 224 pixels (vit_jax_augreg.ipynb).
"""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import Literal

import numpy as np

from vitreous.architecture import Architecture, Size, as_pair
from vitreous.config import Recipe, TrainOptions
from vitreous.console import count
from vitreous.cost.budget import as_trained
from vitreous.errors import ConfigError, UsageError
from vitreous.published.vtab import TASKS, VtabTask, find_task, groups
from vitreous.recipe import find_recipe
from vitreous.schema import check_types, positive, to_json
from vitreous.training.plan import resolve_recipe

Protocol = Literal["paper", "light", "heavy", "augreg"]
Method = Literal["full", "linear"]
Precision = Literal["auto", "float32", "bfloat16"]

SEEDS = 3  # of the ViT paper's Table 2
TRIALS = 100

_BASE = "paper-finetune-vtab"
_UNCUT = frozenset({"clevr_dist", "clevr_count", "dmlab", "kitti", "dsprites_loc"})
_UNMIRRORED = frozenset({"dsprites_loc", "dsprites_ori", "smallnorb_azi"})
_RATES = "--protocol light or augreg, which try several rates"
_NOT_BY_SET = {
    "steps": "--steps",
    "epochs": "--steps",
    "image_size": "--image-size",
    "learning_rate": _RATES,
    "learning_rate_for": _RATES,
    "sweep": _RATES,
}
"""What a setting states itself, so that --set could not change it, or only a part of it; and what to give instead."""
_WORDS = {
    "paper": "the ViT paper's one setting for all tasks",
    "light": "the lightweight sweep, after VTAB's description",
    "heavy": "the heavyweight random search, after VTAB's description, in ranges of this package's own",
    "augreg": "AugReg's sweep for VTAB",
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Asked:
    """What is asked of a run of VTAB, and all that its scores depend on besides model and images."""

    protocol: Protocol = "paper"
    method: Method = "full"
    vtab: Literal["1k", "full"] = "1k"
    trials: int = TRIALS
    """Settings that heavy tries."""
    steps: int | None = None
    """In place of the protocol's."""
    image_size: int | Size | None = None
    """In place of the protocol's."""
    batch_size: int | None = None
    """In place of the protocol's."""
    set: str = ""
    """Other numbers of the recipe."""
    precision: Precision = "auto"
    tasks: tuple[str, ...] = ()
    """Names of TASKS, in their order; empty for all."""
    seeds: int = SEEDS
    device: str = "auto"
    threads: int | None = None
    keep_models: bool = False
    """Keep the trained models of the final runs."""

    def __post_init__(self) -> None:
        check_types(self)
        positive(self, "trials", "steps", "batch_size", "seeds", "threads")
        if self.image_size is not None and min(as_pair(self.image_size)) < 1:
            raise ConfigError(f"--image-size must be positive, got {self.image_size}")
        for part in self.set.split(","):
            if (remedy := _NOT_BY_SET.get(name := part.partition("=")[0].strip())) is not None:
                raise UsageError(
                    f"--set {name} changes nothing here: the protocol gives every setting its own", remedy=remedy
                )

    @property
    def chosen(self) -> tuple[VtabTask, ...]:
        """The tasks, in the order of TASKS."""
        return tuple(task for task in TASKS if not self.tasks or task.name in self.tasks)

    def fixed(self) -> dict[str, object]:
        """What may not change between two visits to one folder; more seeds and tasks may come, on other machines."""
        free = (
            "tasks",
            "seeds",
            "device",
            "threads",
            "keep_models",
            *(() if self.protocol == "heavy" else ("trials",)),
        )
        return {name: value for name, value in to_json(self).items() if name not in free}


@dataclass(frozen=True, kw_only=True, slots=True)
class Setting:
    """One way to train on a task, spelled as a person would ask for it."""

    name: str
    """In words: `rate 0.01, 2,500 steps`."""
    slug: str
    """The name of its folder."""
    recipe: str
    changes: str
    """As after --set."""
    learning_rate: float
    steps: int

    def options(self, asked: Asked) -> TrainOptions:
        """What is asked of the training.

        Args:
            asked: gives the machine, and what the person changes of every setting.
        """
        return TrainOptions(
            recipe=self.recipe,
            set=self.changes,
            learning_rate=self.learning_rate,
            steps=self.steps,
            batch_size=asked.batch_size,
            image_size=asked.image_size,
            device=asked.device,
            threads=asked.threads,
            precision=asked.precision,
            keep=1,
        )

    def resolved(self, asked: Asked) -> Recipe:
        """The whole recipe.

        Args:
            asked: see `options`.
        """
        return resolve_recipe("finetune", self.options(asked))


def parse_tasks(text: str | None) -> tuple[str, ...]:
    """The tasks that a person lists, in the order of TASKS; none for all of them.

    Args:
        text: names, aliases and groups with commas between: `natural,clevr_count`.

    Raises:
        UnknownNameError: no task is called so.
        UsageError: there is nothing between the commas.
    """
    if text is None or text.strip().lower() == "all":
        return ()
    by_group = {str(group).lower(): [task.name for task in members] for group, members in groups().items()}
    wanted: set[str] = set()
    for word in filter(None, (word.strip() for word in text.split(","))):
        wanted.update(by_group.get(word.lower()) or [find_task(word).name])
    if not wanted:
        raise UsageError("--tasks names no task", remedy="--tasks natural,clevr_count")
    return tuple(task.name for task in TASKS if task.name in wanted)


def settings_of(asked: Asked, task: VtabTask) -> tuple[Setting, ...]:
    """What the protocol tries on a task, the cheaper and the more careful first; equal ones once.

    The same for every task, but for how images are cut and mirrored where the protocol looks at that.

    Args:
        asked: names the protocol.
        task: decides cuts and mirrors.
    """
    made = {"paper": _paper, "light": _light, "heavy": _heavy, "augreg": _augreg}[asked.protocol](asked, task)
    found: dict[tuple[str, str, float, int], Setting] = {}
    for setting in made:
        changes = ",".join(filter(None, (setting.changes, asked.set)))
        setting = dataclasses.replace(setting, changes=changes)
        found.setdefault((setting.recipe, changes, setting.learning_rate, setting.steps), setting)
    return tuple(sorted(found.values(), key=lambda each: (each.steps, each.learning_rate, each.slug)))


def check_fits(asked: Asked, config: Architecture) -> None:
    """Refuse what a model cannot be trained at, such as a resolution that its patches do not divide.

    Args:
        asked: names the protocol, and with it the resolution of all tasks.
        config: of the model.

    Raises:
        UsageError: naming the nearest resolutions.
    """
    recipes = [setting.resolved(asked) for setting in settings_of(asked, asked.chosen[0])]
    try:
        for recipe in recipes:
            as_trained(config, recipe)
    except ConfigError as error:
        raise UsageError(error.what, why=error.why, remedy=f"--image-size N: {error.remedy}") from None


def chosen_by(asked: Asked, tries: int) -> str:
    """How a setting comes about, in words.

    Args:
        asked: says whether there are 200 validation images or all.
        tries: how many settings were tried; none where there is only one.
    """
    if not tries:
        return "one setting for all tasks"
    return "best on the 200 validation images" if asked.vtab == "1k" else "best on the validation images"


def in_words(asked: Asked) -> str:
    """How every task is trained, in a sentence.

    Args:
        asked: names the protocol.
    """
    task = asked.chosen[0]
    tried = settings_of(asked, task)
    how = "everything fine-tuned" if asked.method == "full" else "a linear head on frozen features"
    images = "VTAB-1k" if asked.vtab == "1k" else "VTAB with all training images"
    what = f"{images}, {_WORDS[asked.protocol]}, {how}"
    if len(tried) == 1:
        recipe = tried[0].resolved(asked)
        return (
            f"{what}: rate {recipe.peak:g}, {count(recipe.steps or 0, 'step')} of {count(recipe.batch_size, 'image')}"
        )
    then = "all 1,000 images" if asked.vtab == "1k" else "these too"
    return f"{what}: the best of {len(tried)} settings on the validation images, then trained on {then}"


def deviations(asked: Asked) -> tuple[str, ...]:
    """In what the run is not what its protocol says, one phrase each.

    Args:
        asked: what was asked.
    """
    task = asked.chosen[0]
    plain = Asked(protocol=asked.protocol, method=asked.method, trials=asked.trials)
    meant = [setting.resolved(plain) for setting in settings_of(plain, task)]
    done = [setting.resolved(asked) for setting in settings_of(asked, task)]
    found = [f"{words}, not {meant_words}" for words, meant_words in _compared(done, meant)]
    changes = [part.strip() for part in asked.set.split(",") if part.strip()]
    found += [part.replace("=", " ") for part in changes if part.partition("=")[0].strip() != "batch_size"]
    if asked.method == "linear" and asked.protocol in ("paper", "augreg"):
        found.append("a linear head on frozen features, not fine-tuning")
    if asked.vtab == "full" and asked.protocol in ("paper", "augreg"):
        found.append("all training images, not 1,000")
    if asked.seeds < SEEDS and asked.protocol == "paper":
        found.append(f"{count(asked.seeds, 'seed')}, not {SEEDS}")
    if asked.protocol == "heavy" and asked.trials != TRIALS:
        found.append(f"{count(asked.trials, 'trial')}, not {TRIALS}")
    return tuple(found)


def _compared(done: list[Recipe], meant: list[Recipe]) -> list[tuple[str, str]]:
    """Values that differ, in words; the resolution of a linear head is the model's own and a setting like any other."""
    pairs = []
    for words, values in (
        ("steps", lambda r: f"{r.steps:,}"),
        ("images a step", lambda r: f"{r.batch_size:,}"),
        ("px", lambda r: "own" if r.image_size is None else "x".join(map(str, dict.fromkeys(r.image_size)))),
        ("rate", lambda r: f"{r.peak:g}"),
    ):
        ours, theirs = (" and ".join(dict.fromkeys(map(values, some))) for some in (done, meant))
        if ours != theirs:
            pairs.append((f"{ours} {words}", theirs))
    return pairs


def _paper(asked: Asked, task: VtabTask) -> list[Setting]:
    recipe = find_recipe(_BASE, "finetune")
    side = as_pair(asked.image_size or recipe.image_size or 384)[0]
    resize = round(side * (recipe.augment.resize or 448) / (recipe.image_size or (384, 384))[0])
    steps = asked.steps or recipe.steps or 0
    changes = f"augment.resize={side if task.name in _UNCUT else resize}" + _mirror(task)
    return [_setting(_BASE, changes, recipe.learning_rate, steps)]


def _augreg(asked: Asked, task: VtabTask) -> list[Setting]:
    changes = ("augment.crop=centre" if task.name in _UNCUT else "") + _mirror(task)
    lengths = [500, 2500]
    if (steps := asked.steps) is not None:  # the two differ in warm-up besides: of one length there is one
        lengths = [min(lengths, key=lambda length: abs(length - steps))]
    recipes = [find_recipe(f"augreg-finetune-vtab-{length}-224px", "finetune") for length in lengths]
    return [
        _setting(recipe.name, changes.removeprefix(","), rate, asked.steps or recipe.steps or 0)
        for recipe in recipes
        for rate in recipe.sweep
    ]


def _light(asked: Asked, task: VtabTask) -> list[Setting]:  # noqa: ARG001  one sweep for all tasks
    """Whole images at 224 pixels; the warm-up is that of task_adaptation's run_all_tasks.sh, 80 steps of 1,000."""
    changes = f"schedule=steps,milestones=0.3:0.6:0.9,{_WARMUP},clip_norm=nothing,{_WHOLE}" + _size(asked)
    lengths = [asked.steps] if asked.steps else [2_500, 10_000]
    return [_setting(_BASE, changes, rate, steps) for steps in lengths for rate in (0.01, 0.1)]


def _heavy(asked: Asked, task: VtabTask) -> list[Setting]:  # noqa: ARG001  one search for all tasks
    """The trials of a random search, the same for all tasks: each is a function of its own number."""
    return [_trial(asked, number) for number in range(asked.trials)]


_WARMUP = "warmup_steps=nothing,warmup_fraction=0.08"
_WHOLE = "augment.crop=centre,augment.flip=false"
_CROPS = ("augment.crop=centre", "augment.crop=squash", "augment.crop=inception,augment.crop_area=0.3:1.0")


def _trial(asked: Asked, number: int) -> Setting:
    draw = np.random.default_rng([19, number])
    optimizer = ("sgd", "adam")[int(draw.integers(2))]
    low, high = (1e-3, 0.3) if optimizer == "sgd" else (1e-5, 1e-3)
    rate = float(f"{math.exp(draw.uniform(math.log(low), math.log(high))):.2g}")
    steps = int(draw.choice([500, 1_000, 2_500, 5_000, 10_000]))
    decay = float(draw.choice([0.0, 1e-4, 1e-3, 1e-2]))
    batch = int(draw.choice([64, 128, 256, 512]))
    crop = _CROPS[int(draw.integers(len(_CROPS)))]
    flip = ("true", "false")[int(draw.integers(2))]
    jitter = float(draw.choice([0.0, 0.4]))
    changes = [
        f"optimizer={optimizer},weight_decay={decay:g},{_WARMUP}",
        *([] if asked.batch_size else [f"batch_size={batch}"]),
        crop,
        f"augment.flip={flip},augment.jitter={jitter:g},augment.resize=nothing",
    ]
    setting = _setting(_BASE, ",".join(changes) + _size(asked), rate, asked.steps or steps)
    return dataclasses.replace(setting, slug=f"trial-{number:03d}", name=f"trial {number}: {optimizer}, {setting.name}")


def _setting(recipe: str, changes: str, rate: float, steps: int) -> Setting:
    return Setting(
        name=f"rate {rate:g}, {count(steps, 'step')}",
        slug=f"{steps}-steps-rate-{rate:g}",
        recipe=recipe,
        changes=changes,
        learning_rate=rate,
        steps=steps,
    )


def _mirror(task: VtabTask) -> str:
    return ",augment.flip=false" if task.name in _UNMIRRORED else ""


def _size(asked: Asked) -> str:
    return "" if asked.image_size else ",image_size=224:224"
