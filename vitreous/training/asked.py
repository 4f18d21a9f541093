"""What run.json keeps of what was asked, and whether a resumed run is still the one that began."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import vitreous
from vitreous import console
from vitreous.architecture import ResNetConfig, ViTConfig, architecture_from_json
from vitreous.config import TrainOptions
from vitreous.data.layouts.builtin import builtin_names
from vitreous.data.layouts.remote.address import shown
from vitreous.errors import DataError, UsageError
from vitreous.pretrained import is_pretrained_name
from vitreous.schema import to_json
from vitreous.training.plan import Data, Model, Plan, Verb
from vitreous.training.tell import environment
from vitreous.zoo import is_model_name

_ASKED = ("verb", "options", "data_path", "model", "architecture")

_COSTS = ("workers", "micro_batch", "gradient_checkpointing", "compile", "parallel", "checkpoint_minutes", "cache")

_FREE = frozenset((*_COSTS, "data_path", "root", "keep", "log"))
"""What a person may edit in run.json between two lives of a run; the images are compared wherever they lie."""


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
        "data_path": _data_path(data) if isinstance(data, str | Path) else None,
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
            "run.json does not say which images or model this run was given",
            where=str(path),
            why="they were Python objects, or an address with a password or a signature in it",
            remedy=f"vt.resume({str(path)!r}, data=..., model=...)",
        )
    return data, model


def begun_facts(plan: Plan, facts: dict[str, Any]) -> dict[str, Any]:
    """What a run that goes on is held against, as run.json keeps it beside what may be edited.

    Args:
        plan: as resolved.
        facts: of run.json; what it says already of how the run began stays.
    """
    sets = {
        name: {"images": len(images), "fingerprint": images.fingerprint} for name, images in plan.splits.sets.items()
    }
    return {"begun": facts.get("begun") or {name: facts[name] for name in _ASKED}, "sets": sets}


def check_same(plan: Plan, facts: dict[str, Any], *, allow_data_change: bool) -> dict[str, Any]:
    """Refuse to go on with another recipe or other images, and say once what keeps the rest from being bit-exact.

    Gives what run.json must remember besides.

    Args:
        plan: as resolved now.
        facts: of run.json.
        allow_data_change: other images are meant.

    Raises:
        DataError: the images are not those the run began with.
        UsageError: run.json was edited, or this version resolves it otherwise.
    """
    _refuse_changes("another recipe", facts.get("recipe"), to_json(plan.recipe))
    new = _data_change(plan, facts, allow_data_change)
    changes = [*facts.get("data_changes", []), *new]
    now = to_json(plan.card)
    card = facts.get("card") and {**now, **facts["card"]}  # written before a field was there, it had the default
    if card and changes and len(card["classes"]) == len(plan.card.classes):
        card = {**card, "classes": now["classes"]}  # they follow the images
    _refuse_changes("another model", card, now)
    if not changes:
        _refuse_changes(
            "another length", {"steps": facts.get("total_steps", plan.total_steps)}, {"steps": plan.total_steps}
        )
    begun, here = facts.get("environment") or {}, environment(plan)
    changed = [f"{name} {begun[name]} -> {here[name]}" for name in here if name in begun and begun[name] != here[name]]
    if changed:
        console.say(f"going on is right but not bit-exact: {', '.join(changed)}")
    return {"data_changes": changes} if new else {}


def check_asked(facts: dict[str, Any]) -> None:
    """Refuse what was asked for and is edited now, except where that changes what the run costs and not what it learns.

    Args:
        facts: of run.json.

    Raises:
        UsageError: with the differences.
    """
    begun = facts.get("begun")
    if begun is None:  # nothing was resolved yet
        return
    before = {**begun, **begun["options"], "options": None}
    now = {**{name: facts.get(name) for name in _ASKED}, **facts["options"], "options": None}
    free = [name for name in now if name in _FREE and now[name] != before.get(name)]
    if free:
        console.say(f"going on with {', '.join(_change(name, before, now) for name in free)}, as run.json says now")
    _refuse_changes("something else", before, {name: before.get(name) if name in _FREE else now[name] for name in now})


def _refuse_changes(what: str, before: dict[str, Any] | None, now: dict[str, Any]) -> None:
    changed = [name for name in now if before and before.get(name) != now[name]]
    if before and changed:
        raise UsageError(
            f"this run began with {what}: {', '.join(_change(name, before, now) for name in changed)}",
            where="run.json",
            why="a run that changes on its way is neither the one nor the other",
            remedy="put back what was changed, or start a new run",
        )


def _change(name: str, before: dict[str, Any], now: dict[str, Any]) -> str:
    """One difference; of nested values only what differs in them."""
    was, is_ = before.get(name), now[name]
    if isinstance(was, dict) and isinstance(is_, dict):
        return ", ".join(f"{name} {_change(key, was, is_)}" for key in is_ if was.get(key) != is_[key])
    return f"{name} {was!r} -> {is_!r}"


def _data_change(plan: Plan, facts: dict[str, Any], allowed: bool) -> list[dict[str, Any]]:
    """The images as they were, where they are others now; nothing where they are the same."""
    then, now = facts.get("sets"), begun_facts(plan, facts)["sets"]
    if then is None and facts.get("fingerprint"):  # as the first version kept it
        then = {"train": {"images": facts["images"]["train"], "fingerprint": facts["fingerprint"]}}
        now = {"train": now["train"]}
    if not then or then == now:
        return []
    none = {"images": 0, "fingerprint": ""}
    counts = [
        f"{name} {then.get(name, none)['images']:,} images then, {now.get(name, none)['images']:,} now"
        for name in then | now
        if then.get(name) != now.get(name)
    ]
    what = f"{'; '.join(counts)}: added, removed, renamed or of other sizes"
    if not allowed:
        raise DataError(
            "the images are not those this run began with",
            where=plan.data,
            why=what,
            remedy="put them back, start a new run, or go on all the same with --allow-data-change",
        )
    console.say(f"going on with other images: {what}")
    return [then]


def _data_path(data: str | Path) -> str | None:
    """Where the images lie; None for an address that holds a secret, which is never written down."""
    return _lasting(data, data in builtin_names()) if shown(str(data)) == str(data) else None


def _lasting(named: str | Path, is_name: bool) -> str:
    """A path that still holds when the run is resumed from elsewhere; a name as it is, whatever lies there."""
    return str(Path(named).resolve()) if Path(named).exists() and not is_name else str(named)
