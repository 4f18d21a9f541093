"""What a dialect is: an ecosystem's way to name and lay out the same weights, readable and writable from one table.

Each dialect has one file in this room that ends in a `Dialect`. Reading: the container gives names and tensors,
`understand` infers the architecture from them and tidies the names, `rules` says which of them make up which native
tensor, and everything is accounted for or refused. Writing goes through the same rules backwards.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import torch
from torch import Tensor

from vitreous.architecture import Architecture
from vitreous.config import ModelCard, PreprocessConfig
from vitreous.errors import ModelFileError
from vitreous.model.create import build
from vitreous.weights.dialects.mapping import Rule
from vitreous.weights.formats.container import Raw

Settings = Mapping[str, Any]
"""What a person states because names and shapes cannot tell it: fields of the architecture, such as num_heads."""


@dataclass(frozen=True, kw_only=True)
class Understood:
    """What a dialect made of a checkpoint's names, shapes and sidecars."""

    form: str
    """Which of the dialect's tables fits, such as "vit" or "bit"."""
    architecture: Architecture
    tensors: dict[str, Tensor]
    """Under the names that the table uses: prefixes stripped, old spellings renewed, stacks taken apart."""
    preprocess: PreprocessConfig
    classes: tuple[str, ...] = ()
    answers: Literal["one", "several"] = "one"
    """As in `ModelCard`."""
    licence: str = "not stated"
    dropped: dict[str, str] = field(default_factory=dict)
    """Tensors that are known and not needed, with the reason."""
    notes: tuple[str, ...] = ()
    """What was assumed because neither names nor shapes tell it, one sentence each."""


@dataclass(frozen=True, kw_only=True)
class Target:
    """The nearest that a dialect can express to an architecture."""

    form: str
    architecture: Architecture
    """What the other side will compute; equal to the source where nothing differs."""
    differences: tuple[str, ...] = ()
    """What it cannot express, in words: "GELU tanh becomes erf"."""


@dataclass(frozen=True, kw_only=True)
class Package:
    """What stands around the tensors in a written checkpoint."""

    kind: str
    """"npz", "safetensors" or "pickle"."""
    file_name: str
    """What the weights are called inside a folder."""
    sidecars: dict[str, dict[str, Any]] = field(default_factory=dict)
    """JSON files beside the weights; a dialect that needs them is written as a folder."""
    metadata: dict[str, str] = field(default_factory=dict)
    """For the header of a safetensors file."""


@dataclass(frozen=True, kw_only=True)
class Dialect:
    """One ecosystem's checkpoints, both ways."""

    name: str
    """What to type after --to."""
    title: str
    """What it is called in a sentence."""
    recognises: Callable[[Raw], bool]
    """Whether names, metadata or sidecars are this dialect's; quick, and false rather than wrong."""
    understand: Callable[[Raw, Settings], Understood]
    """Architecture and tidy names; raises ModelFileError naming what cannot be inferred and the setting that tells."""
    rules: Callable[[Architecture, str], list[Rule]]
    """The table for an architecture and a form."""
    nearest: Callable[[Architecture], Target]
    """What of an architecture can be written; raises UsageError where nothing comes near."""
    package: Callable[[Architecture, ModelCard, str], Package]
    """What stands around the tensors, for an architecture, its card and a form."""


@dataclass(frozen=True, kw_only=True)
class Account:
    """What became of every tensor in a checkpoint."""

    dialect: str
    mapped: tuple[str, ...]
    """Foreign tensors that are part of the model now."""
    dropped: dict[str, str]
    """Foreign tensors that are not, with the reason."""
    ignored: tuple[str, ...]
    """What lay in the file beside the weights, in words."""
    notes: tuple[str, ...]
    """What was assumed."""


def translate(raw: Raw, dialect: Dialect, understood: Understood) -> tuple[dict[str, Tensor], Account]:
    """Every native tensor of an understood checkpoint, and what became of each foreign one.

    Args:
        raw: as read from disk.
        dialect: whose it is.
        understood: its architecture and tidy tensors.

    Raises:
        ModelFileError: missing, spare and misshapen tensors, all in one error with the likely cause.
    """
    with torch.device("meta"):
        wanted = {name: tuple(t.shape) for name, t in build(understood.architecture).state_dict().items()}
    rules, found = dialect.rules(understood.architecture, understood.form), understood.tensors
    used = {name for rule in rules for name in rule.foreign}
    missing = [name for rule in rules for name in rule.foreign if name not in found]
    spare = [name for name in found if name not in used]
    native, misshapen = {}, []
    for rule in rules:
        if any(name not in found for name in rule.foreign):
            continue
        try:
            tensor = rule.layout.read(*(found[name] for name in rule.foreign))
        except (RuntimeError, IndexError) as error:
            misshapen.append(f"{', '.join(rule.foreign)}: {error}")
            continue
        if tuple(tensor.shape) != wanted.get(rule.native):
            misshapen.append(
                f"{', '.join(rule.foreign)} gives {tuple(tensor.shape)}, {wanted.get(rule.native)} is wanted"
            )
        native[rule.native] = tensor
    if missing or spare or misshapen:
        raise unaccounted(str(raw.path), f"{dialect.title}, {understood.architecture.name}", missing, spare, misshapen)
    assert native.keys() == wanted.keys(), f"{dialect.name}'s table is not whole: {native.keys() ^ wanted.keys()}"
    account = Account(
        dialect=dialect.name,
        mapped=tuple(sorted(used)),
        dropped=dict(understood.dropped),
        ignored=raw.ignored,
        notes=understood.notes,
    )
    return native, account


_CAUSES = (  # part of a name: what it most likely means
    (("reg_token", "register"), "register-token weights, no registers in the config"),
    (("ls1", "ls2", "gamma_", "layer_scale", "lambda1"), "LayerScale weights, no layer_scale in the config"),
    (("norm_pre", "ln_pre", "pre_layrnorm"), "a norm before the blocks (CLIP), pre_norm=False in the config"),
    (("dist_token", "head_dist", "distillation"), "a distilled model (DeiT), no distill_token in the config"),
    (("attn_pool", "MAPHead", "probe"), "attention pooling, another pool in the config"),
    (("q_norm", "k_norm"), "norms on queries and keys, qk_norm=False in the config"),
    (("fc_norm",), "a norm after pooling, pool_norm='before' in the config"),
    (("lora_",), "LoRA adapters: merge them into the weights before saving"),
    (("text_model", "token_embedding", "logit_scale"), "a text tower: only image towers are read"),
    (("decoder",), "a decoder: only encoders are read"),
    (("w12", "gate_proj", "fc1_g"), "a gated MLP, mlp='gelu' in the config"),
)


def unaccounted(
    where: str, what: str, missing: list[str], spare: list[str], misshapen: list[str], remedy: str | None = None
) -> ModelFileError:
    """One error for everything in a file that does not fit, with the likely cause.

    Args:
        where: the file.
        what: what it was taken for.
        missing: tensors that the model needs and the file lacks.
        spare: tensors that the file has and the model does not.
        misshapen: tensors of another shape, each in words.
        remedy: what to do; by default to state the architecture.
    """
    listed = (("missing", missing), ("spare", spare), ("misshapen", misshapen))
    words = [f"{len(names)} {kind}: {', '.join(names)}" for kind, names in listed if names]
    causes = [cause for parts, cause in _CAUSES if any(part in name for name in spare for part in parts)]
    if not causes and missing and spare:
        near = difflib.get_close_matches(missing[0], spare, n=1, cutoff=0.75)
        causes = [f"another spelling of the names: {near[0]} in place of {missing[0]}"] if near else []
    return ModelFileError(
        f"the weights in the file are not those of the model ({what})",
        where=where,
        why="; ".join([*words, *(f"probably {cause}" for cause in causes[:2])]),
        remedy=remedy or "state what names and shapes do not tell, e.g. settings={'num_heads': 6}, or fetch it again",
    )
