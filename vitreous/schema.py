"""Config dataclasses to and from JSON, and the checks they are born with."""

from __future__ import annotations

import dataclasses
import difflib
import functools
import math
import types
import typing
from typing import Any, Literal, TypeVar

from vitreous.errors import ConfigError

T = TypeVar("T")


def to_json(config: Any) -> Any:
    """Plain dicts, lists, strings and numbers for a config and everything inside it."""
    if dataclasses.is_dataclass(config) and not isinstance(config, type):
        return {f.name: to_json(getattr(config, f.name)) for f in dataclasses.fields(config)}
    if isinstance(config, dict):
        return {str(key): to_json(value) for key, value in config.items()}
    if isinstance(config, list | tuple):
        return [to_json(value) for value in config]
    return config


def from_json(cls: type[T], data: Any) -> T:
    """The config of type `cls` that `to_json` wrote as `data`; unknown and missing keys are one ConfigError.

    Args:
        cls: a config dataclass of this module.
        data: what `json.loads` gives.
    """
    if not isinstance(data, dict):
        raise ConfigError(f"{cls.__name__} is written as an object, got {type(data).__name__}")
    hints = typing.get_type_hints(cls)
    fields = {f.name: f for f in dataclasses.fields(cls)}  # type: ignore[arg-type]
    unknown = [key for key in data if key not in fields]
    if unknown:
        close = difflib.get_close_matches(unknown[0], fields, n=1)
        hint = f"did you mean {close[0]!r}?" if close else f"known: {', '.join(fields)}"
        raise ConfigError(f"{cls.__name__} has no field {', '.join(map(repr, unknown))}", why=hint)
    try:
        return cls(**{name: _value(hints[name], value) for name, value in data.items()})
    except TypeError as error:
        raise ConfigError(f"{cls.__name__} is incomplete: {error}") from None


def _value(hint: Any, value: Any) -> Any:
    """`value` as read from JSON, given the type `hint` it must have: lists become tuples, objects configs."""
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
        options = [option for option in typing.get_args(hint) if option is not type(None)]
        return None if value is None else _value(_likeliest(options, value), value)
    if typing.get_origin(hint) is tuple and isinstance(value, list):
        return tuple(tuple(v) if isinstance(v, list) else v for v in value)
    if dataclasses.is_dataclass(hint) and isinstance(hint, type):
        return from_json(hint, value)
    return value


def _likeliest(options: list[Any], value: Any) -> Any:
    """The member of a union that `value` is most probably meant for: by its kind, and for objects by their keys."""
    if isinstance(value, list):
        return next((option for option in options if typing.get_origin(option) is tuple), options[0])
    configs = [option for option in options if dataclasses.is_dataclass(option)]
    if not isinstance(value, dict) or not configs:
        return options[0]
    named = {option: {f.name for f in dataclasses.fields(option)} for option in configs}
    # fields that are left out have defaults; fields that are not known mean another kind
    return min(configs, key=lambda option: (len(value.keys() - named[option]), len(named[option] - value.keys())))


@functools.cache
def _hints(cls: type) -> dict[str, Any]:
    """The types of a config's fields; worked out once, for there are hundreds of recipes."""
    return typing.get_type_hints(cls)


def check_types(config: Any) -> None:
    """Refuse values of the wrong kind and Literals outside their choices, naming the field."""
    for name, hint in _hints(type(config)).items():  # type: ignore[arg-type]
        value = getattr(config, name)
        if not _fits(hint, value):
            wanted = _spell(hint)
            raise ConfigError(f"{type(config).__name__}.{name} must be {wanted}, got {value!r}")


def _fits(hint: Any, value: Any) -> bool:
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        return any(_fits(option, value) for option in args)
    if origin is Literal:
        return value in args
    if origin is tuple:
        if not isinstance(value, tuple):
            return False
        kinds = [args[0]] * len(value) if args[-1] is Ellipsis else list(args)
        return len(kinds) == len(value) and all(map(_fits, kinds, value))
    if origin is dict:
        return isinstance(value, dict)
    if hint is Any:
        return True
    if hint is float:
        return isinstance(value, int | float) and not isinstance(value, bool)
    if hint is int:
        return isinstance(value, int) and not isinstance(value, bool)
    return isinstance(value, hint)


def _spell(hint: Any) -> str:
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
        return " or ".join(_spell(option) for option in typing.get_args(hint))
    if hint is type(None):
        return "None"
    if typing.get_origin(hint) is Literal:
        return "one of " + ", ".join(map(repr, typing.get_args(hint)))
    return getattr(hint, "__name__", None) or str(hint)


def positive(config: Any, *names: str) -> None:
    """Refuse numbers that are not above 0, not finite, or not numbers; None passes."""
    for name in names:
        value = getattr(config, name)
        if value is not None and (isinstance(value, bool) or not 0 < value < math.inf):
            raise ConfigError(f"{name} must be above 0, got {value!r}")


def share(config: Any, *names: str) -> None:
    """Refuse numbers outside [0, 1); None passes."""
    for name in names:
        value = getattr(config, name)
        if value is not None and not 0 <= value < 1:
            raise ConfigError(f"{name} must lie in [0, 1), got {value!r}")
