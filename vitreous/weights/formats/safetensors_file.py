"""safetensors files of any origin, mapped by the safetensors library, which checks sizes, types and overlaps."""

from __future__ import annotations

from pathlib import Path

from safetensors import SafetensorError, safe_open
from torch import Tensor

from vitreous.weights.formats.archive import damaged

_MAX_HEADER = 32 << 20  # bytes; the library would parse 100 MB


def read_safetensors(path: Path, head: bytes) -> tuple[dict[str, Tensor], dict[str, str]]:
    """The tensors by name, each a view of the mapped file, and the metadata of the header.

    Args:
        path: the file.
        head: its first bytes, eight at least.

    Raises:
        ModelFileError: damaged.
    """
    if (length := int.from_bytes(head[:8], "little")) > _MAX_HEADER:
        raise damaged(path, f"its header would have {length:,} bytes, more than {_MAX_HEADER:,}")
    try:
        with safe_open(path, framework="pt") as file:
            return {name: file.get_tensor(name) for name in file.keys()}, dict(file.metadata() or {})  # noqa: SIM118
    except (SafetensorError, KeyError, ValueError, RuntimeError) as error:
        raise damaged(path, f"it is not whole as safetensors: {error}") from error
