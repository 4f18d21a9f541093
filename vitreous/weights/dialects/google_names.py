"""Names in Google's files: prefixes taken off, other towers left behind, old spellings renewed, stacks taken apart.

Whatever a file calls its arrays, they leave here under big_vision's names (flax Linen's numbers, the position table at
the root) or, for BiT, under those of the TensorFlow release; `spelled` gives the names of vit_jax's own files.
Sources: vit_jax/checkpoint.py; big_vision/models/vit.py (fix_old_checkpoints) and models/bit_paper.py; flax's
convert_pre_linen, which tells why old files count all layers of a block together (LayerNorm_2, MlpBlock_3).
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from torch import Tensor

from vitreous.errors import ModelFileError
from vitreous.weights.formats.container import Raw

TABLE = "pos_embedding"
OLD_TABLES = ("Transformer/posembed_input/pos_embedding", "Transformer/pos_embedding")
"""Where vit_jax has the position table, and where big_vision had it before 2022."""

_ROOT = re.compile(
    r"((?:params/|opt/target/)?(?:img/)?)"
    r"(?:(?:embedding|conv_root|root_block/conv_root|resnet/root_block/standardized_conv2d(?:_\d+)?)/kernel"
    r"|Transformer/encoder_norm/scale)"
)
_MIXER = re.compile(r"(?:params/|opt/target/)?MixerBlock_\d+/.+")
_TRAINING = re.compile(r"opt/(?!target/).+|opt_state/.+|step|(?:extra|chrono)/.+")
_OTHER_TOWERS = (
    (re.compile(r"(?:params/|opt/target/)?txt/.+"), "text tower: only the image tower is read"),
    (re.compile(r"(?:params/|opt/target/)?llm/.+"), "language model: only the image tower is read"),
    (re.compile(r"(?:params/|opt/target/)?[tb]"), "temperature or bias of the contrastive loss"),
)

_PRE_LINEN = (  # Linen counts each class of a block on its own, the older API counted all together
    ("MultiHeadDotProductAttention_0", "MultiHeadDotProductAttention_1"),
    ("LayerNorm_1", "LayerNorm_2"),
    ("MlpBlock_0", "MlpBlock_3"),
)
_BLOCK = re.compile(r"(Transformer/encoderblock_\d+)/(\w+)/(.+)")
_STACK = "Transformer/encoderblock/"
_MOST_BLOCKS = 1000
"""Far more than anybody has; an empty array could claim any number."""
_INLINED = re.compile(r"probe|(?:LayerNorm|MlpBlock|MultiHeadDotProductAttention)_\d+/.+")
_IN_MAP_HEAD = re.compile(r"MAPHead_0/(LayerNorm|MlpBlock|MultiHeadDotProductAttention)_\d+/(.+)")
_GROUP_NORM = re.compile(r"(?:.*/)?(?:gn\d|gn_root|gn_proj|norm-pre-head|group_norm)/(?:scale|bias|gamma|beta)")

_BIT = (  # big_vision's names for BiT, and the release's
    (re.compile(r"root_block/conv_root/kernel"), r"resnet/root_block/standardized_conv2d/kernel"),
    (re.compile(r"(block\d+/unit\d+)/conv_proj/kernel"), r"resnet/\1/a/proj/standardized_conv2d/kernel"),
    (re.compile(r"norm-pre-head/scale"), r"resnet/group_norm/gamma"),
    (re.compile(r"norm-pre-head/bias"), r"resnet/group_norm/beta"),
    (re.compile(r"head/(kernel|bias)"), r"resnet/head/conv2d/\1"),
    *(
        (re.compile(rf"(block\d+/unit\d+)/{old}{number}/{value}"), rf"resnet/\1/{letter}/{new}")
        for number, letter in enumerate("abc", start=1)
        for old, value, new in (
            ("conv", "kernel", "standardized_conv2d/kernel"),
            ("gn", "scale", "group_norm/gamma"),
            ("gn", "bias", "group_norm/beta"),
        )
    ),
)
_NUMBERED = re.compile(r"/(standardized_conv2d|group_norm|conv2d)_\d+/")


def root_of(names: Iterable[str]) -> str | None:
    """What stands before every name of the image tower, such as "params/img/"; None if this is not one of Google's.

    Args:
        names: all in the file.
    """
    found = {match[1] for name in names if (match := _ROOT.fullmatch(name))}
    return max(found, key=len) if found else None


def is_mixer(names: Iterable[str]) -> bool:
    """Whether these are an MLP-Mixer's, which has the same makers and no attention.

    Args:
        names: all in the file.
    """
    return any(_MIXER.fullmatch(name) for name in names)


def tidied(raw: Raw, root: str) -> tuple[dict[str, Tensor], dict[str, str]]:
    """The arrays under one spelling, and those left out, with the reason.

    What is known by no name stays under the name it has, for the account to refuse.

    Args:
        raw: as read from disk.
        root: from `root_of`.

    Raises:
        ModelFileError: two arrays would have the same name.
    """
    found: dict[str, Tensor] = {}
    dropped: dict[str, str] = {}
    for name, tensor in raw.tensors.items():
        if why := _reason_to_drop(name, root):
            dropped[name] = why
            continue
        plain = name.removeprefix(root) if name.startswith(root) else name
        if _GROUP_NORM.fullmatch(plain) and tensor.ndim == 4 and tensor.shape[:3] == (1, 1, 1):
            tensor = tensor.reshape(-1)  # old Linen kept the axes it broadcast over (flax issue 1721)
        _put(found, plain, tensor, raw)
    bit = any(name.startswith(("resnet/", "root_block/")) for name in found)
    respelled: dict[str, Tensor] = {}
    for name, tensor in found.items():
        for new, part in _bit(name, tensor) if bit else _vit(name, tensor, "probe" in found):
            _put(respelled, new, part, raw)
    return respelled, dropped


def spelled(name: str) -> str:
    """The name that vit_jax's own files have for what big_vision calls `name`.

    Args:
        name: big_vision's.
    """
    if name == TABLE:
        return OLD_TABLES[0]
    return _renumbered(name, dict(_PRE_LINEN))


def _reason_to_drop(name: str, root: str) -> str | None:
    if _TRAINING.fullmatch(name):
        return "state of the optimizer or of the training run"
    if root.endswith("img/"):
        return next((why for pattern, why in _OTHER_TOWERS if pattern.fullmatch(name)), None)
    return None


def _vit(name: str, tensor: Tensor, inlined: bool) -> list[tuple[str, Tensor]]:
    """One array under its present name, or one for each block where the blocks are stacked (lax.scan)."""
    if name in OLD_TABLES:
        return [(TABLE, tensor)]
    if name.startswith(_STACK) and tensor.ndim and tensor.shape[0] <= _MOST_BLOCKS:
        rest = name.removeprefix(_STACK)
        parts = ((f"Transformer/encoderblock_{i}/{rest}", part) for i, part in enumerate(tensor.unbind(0)))
        return [(_renumbered(part_name, _LINEN), part) for part_name, part in parts]
    if inlined and _INLINED.fullmatch(name):  # as ViT-G was developed
        name = f"MAPHead_0/{name}"
    name = _IN_MAP_HEAD.sub(r"MAPHead_0/\1_0/\2", name)
    return [(_renumbered(name, _LINEN), tensor)]


_LINEN = {old: new for new, old in _PRE_LINEN}


def _renumbered(name: str, numbers: dict[str, str]) -> str:
    match = _BLOCK.fullmatch(name)
    return f"{match[1]}/{numbers.get(match[2], match[2])}/{match[3]}" if match else name


def _bit(name: str, tensor: Tensor) -> list[tuple[str, Tensor]]:
    """One array of a BiT under the release's name."""
    for pattern, new in _BIT:
        if pattern.fullmatch(name):
            if name == "head/kernel" and tensor.ndim == 2:
                tensor = tensor[None, None]
            return [(pattern.sub(new, name), tensor)]
    return [(_NUMBERED.sub(r"/\1/", name), tensor)]


def _put(found: dict[str, Tensor], name: str, tensor: Tensor, raw: Raw) -> None:
    if name in found:
        raise ModelFileError(
            "two arrays in this file are the same part of the model",
            where=str(raw.path),
            why=f"both are {name}, in two spellings",
        )
    found[name] = tensor


def shape_of(tensors: dict[str, Tensor], name: str, rank: int, raw: Raw) -> tuple[int, ...]:
    """The shape of an array that the architecture is told from.

    Args:
        tensors: by tidy name.
        name: tidy.
        rank: how many axes it must have.
        raw: for messages.

    Raises:
        ModelFileError: it is missing or has another number of axes.
    """
    if name not in tensors:
        raise ModelFileError(
            "an array is missing from which the architecture is told",
            where=str(raw.path),
            why=f"{name}, or an older spelling of it",
            remedy="fetch the file again",
        )
    shape = tuple(tensors[name].shape)
    if len(shape) != rank or not all(shape):
        raise ModelFileError(
            f"{name} has the shape {shape}", where=str(raw.path), why=f"{rank} axes are wanted, none of them empty"
        )
    return shape


def count_of(tensors: dict[str, Tensor], pattern: str, first: int, raw: Raw) -> int:
    """How many numbered parts there are, up to the largest number, so that one missing between them is found later.

    Args:
        tensors: by tidy name.
        pattern: a regular expression that begins a name and captures the number.
        first: the number that counting begins with.
        raw: for messages.

    Raises:
        ModelFileError: a number so large that most would be missing.
    """
    numbers = {int(match[1]) for name in tensors if (match := re.match(pattern, name))}
    count = max(numbers, default=first - 1) - first + 1
    if count > 2 * len(numbers) or min(numbers, default=first) < first:
        raise ModelFileError(
            "parts of the model are missing, or numbered wrongly",
            where=str(raw.path),
            why=f"their numbers are {', '.join(map(str, sorted(numbers)[:12]))}",
            remedy="fetch the file again",
        )
    return count
