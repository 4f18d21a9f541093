"""An architecture as the Python call that makes it."""

from __future__ import annotations

import dataclasses
from typing import Any

from vitreous.architecture import Architecture, ResNetConfig, ViTConfig
from vitreous.errors import ConfigError


def spelled_config(config: Architecture) -> str:
    """`vt.ResNetConfig(layers=(1, 1))`: what typed after `import vitreous as vt` gives the same architecture.

    Args:
        config: fields that it would have by itself are left out.
    """
    given = {field.name: getattr(config, field.name) for field in dataclasses.fields(config)}
    fields = [f"{name}={_value(value)}" for name, value in given.items() if not _by_itself(config, name)]
    return f"vt.{type(config).__name__}({', '.join(fields)})"


def _by_itself(config: Architecture, name: str) -> bool:
    """Whether leaving the field out changes nothing."""
    field = next(field for field in dataclasses.fields(config) if field.name == name)
    if field.default is dataclasses.MISSING:
        return False
    try:
        return dataclasses.replace(config, **{name: field.default}) == config
    except ConfigError:  # what the field belongs to cannot be without it
        return False


def _value(value: Any) -> str:
    return spelled_config(value) if isinstance(value, ViTConfig | ResNetConfig) else repr(value)
