"""What run.json keeps of what was asked, and whether a resumed run is still the one that began."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import vitreous
from vitreous import console
from vitreous.architecture import ResNetConfig, ViTConfig, architecture_from_json
from vitreous.config import TrainOptions
from vitreous.data.builtin import builtin_names
from vitreous.errors import DataError, UsageError
from vitreous.pretrained import is_pretrained_name
from vitreous.schema import to_json
from vitreous.training.plan import Data, Model, Plan, Verb
from vitreous.training.tell import environment
from vitreous.zoo import is_model_name


def asked_facts(verb: Verb, data: Data, model: Model, options: TrainOptions) -> dict[str, Any]:
    """What was asked, as run.json keeps it.

    Args:
        verb: "pretrain" or "finetune".
        data: as for that verb.
        model: as for that verb.
        options: what was asked.
    """
    named = isinstance(model, str) and (is_model_name(model) or is_pretrained_name(model))
    return {
        "vitreous": vitreous.__version__,
        "verb": verb,
        "options": to_json(options),
        "data_path": _lasting(data, data in builtin_names()) if isinstance(data, str | Path) else None,
        "model": _lasting(model, named) if isinstance(model, str | Path) else None,
        "architecture": to_json(model) if isinstance(model, ViTConfig | ResNetConfig) else None,
    }


def recorded(facts: dict[str, Any], path: Path, data: Data | None, model: Model | None) -> tuple[Data, Model]:
    """The data and the model of a run that goes on.

    Args:
        facts: of run.json.
        path: the run folder.
        data: given again, where the run was given objects.
        model: given again, where the run was given objects.

    Raises:
        UsageError: one of them was an object, and is not given again.
    """
    if model is None and facts.get("architecture"):
        model = architecture_from_json(facts["architecture"])
    data = data if data is not None else facts.get("data_path")
    model = model if model is not None else facts.get("model")
    if data is None or model is None:
        raise UsageError(
            "this run was given its images or model as Python objects",
            where=str(path),
            remedy=f"vt.resume({str(path)!r}, data=..., model=...)",
        )
    return data, model


def check_same(plan: Plan, facts: dict[str, Any], *, allow_data_change: bool) -> None:
    """Refuse to go on with another recipe or other images, and say once what keeps the rest from being bit-exact.

    Args:
        plan: as resolved now.
        facts: of run.json.
        allow_data_change: other images are meant.

    Raises:
        DataError: the images are not those the run began with.
        UsageError: run.json was edited, or this version resolves it otherwise.
    """
    before, now = facts.get("recipe"), to_json(plan.recipe)
    if before and before != now:
        changed = [f"{name} {before.get(name)!r} -> {now.get(name)!r}" for name in now if before.get(name) != now[name]]
        raise UsageError(
            f"this run began with another recipe: {', '.join(changed)}",
            where="run.json",
            why="a run that changes on its way is neither the one nor the other",
            remedy="put run.json back, or start a new run with these options",
        )
    then = facts.get("fingerprint")
    if then and then != plan.splits.train.fingerprint:
        what = f"{facts['images']['train']:,} training images then, {len(plan.splits.train):,} now, or others of them"
        if not allow_data_change:
            raise DataError(
                "the images are not those this run began with",
                where=plan.data,
                why=what,
                remedy="put them back, start a new run, or go on all the same with --allow-data-change",
            )
        console.say(f"going on with other images: {what}")
    begun, here = facts.get("environment") or {}, environment(plan)
    changed = [f"{name} {begun[name]} -> {here[name]}" for name in here if name in begun and begun[name] != here[name]]
    if changed:
        console.say(f"going on is right but not bit-exact: {', '.join(changed)}")


def _lasting(named: str | Path, is_name: bool) -> str:
    """A path that still holds when the run is resumed from elsewhere; a name as it is, whatever lies there."""
    return str(Path(named).resolve()) if Path(named).exists() and not is_name else str(named)
