"""Files of torch.save: .pt, .pth, .bin, .ckpt, in the zip format and in the one before, read without trusting them.

A pickle is a program. Here it is only listed: every global that it names is looked up below, and one name that is on
neither list refuses the file before anything is built. What passes is built in a child process with limits
(`pickle_child.py`), which answers with where each tensor lies; the values are mapped here, straight from the file
where the format allows it.
"""

from __future__ import annotations

import io
import json
import math
import mmap
import os
import pickletools
import re
import signal
import subprocess
import sys
import tempfile
from _compat_pickle import IMPORT_MAPPING, NAME_MAPPING  # protocol 2 has Python 2's names
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from vitreous.errors import ModelFileError, ResourceError
from vitreous.weights.formats.archive import Member, contents, damaged, map_file, view

BUILT = re.compile(
    r"collections\.(OrderedDict|Counter)|_codecs\.encode|builtins\.(set|bytearray|complex)"
    r"|torch\._utils\._rebuild_(tensor|tensor_v2|tensor_v3|parameter|parameter_with_state)"
    r"|torch\._tensor\._rebuild_from_type_v2|torch\.serialization\._get_layout"
    r"|torch\.(Size|device|Tensor|nn\.parameter\.Parameter)|torch\.(cuda\.|storage\.)?[A-Z]\w*Storage"
    r"|torch\.(bool|b?float\d\w*|bfloat16|u?int\d+|complex\d+)"
)
"""Globals that weights are made of."""

INERT = re.compile(
    r"argparse\.Namespace|pathlib\.(_local\.)?(Pure)?(Posix|Windows)?Path|omegaconf\.[\w.]+|typing\.\w+"
    r"|numpy\.(ndarray|dtype|dtypes\.\w+|bool_?|float\d+|u?int\d+)"
    r"|numpy\.(core|_core)\.(multiarray\.(scalar|_reconstruct)|numeric\._frombuffer)"
    r"|collections\.(defaultdict|deque)|torch\.torch_version\.TorchVersion"
    r"|builtins\.(dict|list|tuple|frozenset|int|float|str|bool|bytes|NoneType)"
)
"""Globals of training state: never imported; a stand-in that does nothing takes their place."""

SCRIPT = re.compile(r"__torch__\.[\w.]+|torch\.jit\._pickle\.\w+")
"""Classes of a TorchScript archive, whose code lies beside the pickle and stays there; OpenAI's CLIP is such a file."""

_PLAIN = re.compile(
    r"PROTO|STOP|GLOBAL|NEWOBJ|REDUCE|BUILD|APPENDS?|SETITEMS?|MARK|TUPLE[123]?|NONE|NEWFALSE|NEWTRUE"
    r"|EMPTY_(TUPLE|LIST|DICT|SET)|BININT[12]?|BINFLOAT|BINUNICODE|SHORT_BINSTRING|BINPERSID|(LONG_)?BIN(GET|PUT)|LONG1"
)
"""The instructions that torch.save writes and `weights_only` knows (torch/_weights_only_unpickler.py)."""

_MAGIC = (0x1950A86A20F9469CFC6C).to_bytes(10, "little")  # torch.serialization.MAGIC_NUMBER
_MAX_PICKLE = 32 << 20  # bytes of instructions; a model with its optimizer's state has less than one
_MAX_STEPS = 4_000_000
_MAX_ANSWER = 64 << 20  # bytes
_MEMORY = 384 << 20  # bytes of address space beyond what the child has when torch is imported
_SECONDS = 60  # of the child's computing once torch is imported
_PATIENCE = 240  # seconds until it is ended, however little of them it got
_KEPT_VARIABLES = ("PATH", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "SYSTEMROOT", "TMPDIR", "TEMP")  # to find torch


@dataclass(frozen=True)
class _Place:
    """Where one tensor lies, as the child says; offset and span of its storage in bytes, the rest in elements."""

    dtype: torch.dtype
    shape: tuple[int, ...]
    stride: tuple[int, ...]
    first: int
    begin: int
    span: int


def read_pickle(
    path: Path, data: mmap.mmap, members: list[Member] | None, root: str | None
) -> tuple[dict[str, Tensor], tuple[str, ...]]:
    """The tensors of the state dict inside, by name, and what else was there, in words.

    Args:
        path: the file.
        data: the file, mapped.
        members: of the zip format, from `read_directory`; None for the format before.
        root: which state dict to take where there are several, e.g. "model_ema".

    Raises:
        ModelFileError: damaged, holding anything but weights and plain training state, or needing more time or memory
            than weights need.
    """
    torch_saved = members is not None or _MAGIC in data[:24]
    names, instructions = _listed(path, data, members, programs=1 if members is not None or not torch_saved else 5)
    script = any(re.fullmatch(r"([^/]+/)?constants\.pkl", member.name) for member in members or ())
    inert = [name for name in names if INERT.fullmatch(name) or (script and SCRIPT.fullmatch(name))]
    if refused := [name for name in names if not BUILT.fullmatch(name) and name not in inert]:
        shown = [re.sub(r"[^\w.]", "?", name)[:80] for name in refused[:8]]
        raise ModelFileError(
            "this pickle holds more than weights, so nothing in it was run",
            where=str(path),
            why=f"it names {', '.join(shown)}{' and others' if len(refused) > 8 else ''}",
            remedy="take a .safetensors file; or, if you trust it, load it yourself and save its state_dict() alone",
        )
    if not torch_saved:
        raise ModelFileError("this is a Python pickle that torch.save did not write", where=str(path))
    if strange := sorted(name for name in instructions if not _PLAIN.fullmatch(name)):
        raise ModelFileError(
            "this pickle is not written as torch.save writes by default",
            where=str(path),
            why=f"it has the instructions {', '.join(strange[:8])}",
            remedy="if you trust it, load it yourself and torch.save its state_dict(), with no pickle_protocol given",
        )
    request = {"path": str(path.resolve()), "root": root, "inert": inert, "legacy": members is None, "script": script}
    limits = {"memory": _MEMORY + 3 * len(data), "seconds": _SECONDS}
    with tempfile.TemporaryDirectory(prefix="vitreous-", ignore_cleanup_errors=True) as folder:
        answer = _ask_child(path, Path(folder), {**request, **limits})
        _check(path, answer)
        if answer["blob"]:
            values = Path(folder, "values")
            source = map_file(values) if values.stat().st_size else mmap.mmap(-1, 1)
            starts = None
        else:
            source, starts = data, _starts(path, data, members or [])
    tensors, copied = {}, 0
    for name, facts in answer["tensors"].items():
        place = _place(path, name, facts)
        if starts is not None and place.span and starts.get(place.begin) != place.span:
            raise damaged(path, f"the values of {name} are not {place.span:,} bytes long in the file")
        tensor = _tensor(source, place)
        if not tensor.is_contiguous():
            copied += tensor.nbytes
            if copied > 2 * len(data):
                raise _beyond(path, f"its tensors would unfold to more than {copied:,} bytes")
        tensors[name] = tensor.contiguous()
    note = ("the program of a TorchScript archive, which is never run",) if script else ()
    return tensors, (*note, *answer["ignored"])


def _listed(path: Path, data: mmap.mmap, members: list[Member] | None, programs: int) -> tuple[list[str], set[str]]:
    """Every global that the pickle names, in order, and every kind of instruction, read as text: nothing is built.

    `programs` pickles follow each other: magic number, version, system, the object, storage keys; in a zip only one.
    """
    if members is None:
        file = io.BytesIO(data[:_MAX_PICKLE])
    else:
        found = [member for member in members if re.fullmatch(r"([^/]+/)?data\.pkl", member.name)]
        if len(found) != 1 or found[0].size > _MAX_PICKLE:
            raise damaged(path, "it needs one data.pkl of a sensible size")
        source, offset = contents(path, data, found[0], unsigned=True)
        file = io.BytesIO(source[offset : offset + found[0].size])
    names: dict[str, None] = {}
    instructions: set[str] = set()
    strings: list[str] = []  # the last two, which a STACK_GLOBAL takes
    try:
        steps = (step for _ in range(programs) for step in pickletools.genops(file))
        for count, (code, value, _) in enumerate(steps):
            if count > _MAX_STEPS:
                raise _beyond(path, f"it has more than {_MAX_STEPS:,} instructions")
            instructions.add(code.name)
            if isinstance(value, str) and "UNICODE" in code.name:
                strings = [*strings[-1:], value]
            elif code.name in ("GLOBAL", "INST", "STACK_GLOBAL"):
                module, _, name = str(value or " ".join(strings)).partition(" ")
                module, name = NAME_MAPPING.get((module, name), (IMPORT_MAPPING.get(module, module), name))
                names[f"{module}.{name}"] = None
    except (ValueError, IndexError, OverflowError, MemoryError) as error:
        raise damaged(path, f"its pickle cannot be followed to the end: {type(error).__name__}") from error
    return list(names), instructions


def _beyond(path: Path, why: str) -> ModelFileError:
    return ModelFileError(
        "this pickle needs more than weights need", where=str(path), why=why, remedy="take it from another source"
    )


def _ask_child(path: Path, folder: Path, request: dict[str, Any]) -> dict[str, Any]:
    """The answer of `pickle_child`, which cannot outlive its limits."""
    packages = [str(Path(__file__).parents[2]), *(entry for entry in sys.path if os.path.isabs(entry))]
    kept = {name: os.environ[name] for name in _KEPT_VARIABLES if name in os.environ}
    single = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    noise = folder / "noise"
    try:
        with noise.open("wb") as errors:
            done = subprocess.run(
                [sys.executable, "-s", "-P", "-m", "vitreous.weights.formats.pickle_child", str(folder)],
                input=json.dumps(request).encode(),
                stdout=subprocess.DEVNULL,
                stderr=errors,
                cwd=folder,
                env={**kept, **single, "PYTHONPATH": os.pathsep.join(packages)},
                timeout=_PATIENCE,
                check=False,
            )
    except subprocess.TimeoutExpired as error:
        raise _beyond(path, f"it was not read after {_PATIENCE} s") from error
    except OSError as error:
        raise ResourceError(
            "no process could be started to read a pickle in", where=str(path), why=error.strerror
        ) from error
    answered = folder / "answer.json"
    if not answered.is_file() or answered.stat().st_size > _MAX_ANSWER:
        raise _beyond(path, _last_words(done.returncode, noise))
    return json.loads(answered.read_text(encoding="utf-8"))


def _check(path: Path, answer: dict[str, Any]) -> None:
    """Raise what an answer says of trouble."""
    match answer.get("trouble"):
        case None:
            return
        case "damaged":
            raise damaged(path, answer["why"])
        case "beyond":
            raise _beyond(path, answer["why"])
        case "disk":
            remedy = "make room, or set TMPDIR to a folder on another disk"
            raise ResourceError("the disk is full", where=tempfile.gettempdir(), why=answer["why"], remedy=remedy)
        case _:
            what = "no weights were found in this file"
            raise ModelFileError(what, where=str(path), why=answer["why"], remedy=answer.get("remedy"))


def _last_words(code: int, noise: Path) -> str:
    """Why a child that gave no answer probably ended."""
    if code < 0:
        ended = signal.Signals(-code).name
        return f"the process that read it was ended by {ended}" + (" (too long)" if ended == "SIGXCPU" else "")
    with noise.open("rb") as file:
        lines = file.read(4096).decode("utf-8", "replace").strip().splitlines()
    return f"the process that read it ended with {code}{': ' + lines[-1] if lines else ''}"


def _starts(path: Path, data: mmap.mmap, members: list[Member]) -> dict[int, int]:
    """Length of each storage by where it begins, checksums verified."""
    starts = {}
    for member in members:
        if member.name.endswith("/byteorder") and data[member.start : member.start + member.size] != b"little":
            raise ModelFileError(
                "this file was written on a big-endian machine", where=str(path), remedy="save it again"
            )
        if "/data/" in member.name and member.size:
            if not member.stored:
                raise damaged(path, f"{member.name} is packed, which torch.save never does")
            contents(path, data, member, unsigned=True)
            starts[member.start] = member.size
    return starts


def _place(path: Path, name: str, facts: list[Any]) -> _Place:
    dtype, shape, stride, first, begin, span = facts
    kind: Any = getattr(torch, dtype, None)
    if not isinstance(kind, torch.dtype) or min((first, begin, span, *shape, *stride)) < 0:
        raise damaged(path, f"{name} is described wrongly")
    if math.prod(shape) * kind.itemsize > 2**62:
        raise _beyond(path, f"{name} would have the shape {tuple(shape)}")
    place = _Place(kind, tuple(shape), tuple(stride), first, begin, span)
    reach = sum((side - 1) * step for side, step in zip(shape, stride, strict=True)) + 1 if 0 not in shape else 0
    if (first + reach) * kind.itemsize > span and reach:
        raise damaged(path, f"{name} reaches beyond the values that were saved for it")
    return place


def _tensor(source: mmap.mmap, place: _Place) -> Tensor:
    """A view of the file, with the strides that were saved."""
    if 0 in place.shape:
        return torch.empty(place.shape, dtype=place.dtype)
    count = place.span // place.dtype.itemsize - place.first
    flat = view(source, place.dtype, (count,), place.begin + place.first * place.dtype.itemsize)
    return flat.as_strided(place.shape, place.stride)
