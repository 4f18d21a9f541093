"""The child process that opens a pickle: `python -m vitreous.weights.formats.pickle_child FOLDER`, a request on stdin.

The only module that unpickles. It imports torch first, then gives up the right to more memory and time than weights
need, loads with `weights_only` and stand-ins in place of training state, and writes FOLDER/answer.json: where in the
file each tensor lies, or, for the format before zip, where in FOLDER/values it has put it. It never reads values from a
zip file: there every tensor is on the meta device, so that no size in the file costs anything.
"""

from __future__ import annotations

import errno
import json
import re
import sys
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from torch import Tensor

resource: ModuleType | None
try:
    import resource
except ImportError:  # Windows
    resource = None

ROOTS = (
    "model",
    "state_dict",
    "model_state_dict",
    "module",
    "teacher",
    "student",
    "model_ema",
    "state_dict_ema",
    "ema",
)
"""Names under which a state dict lies in a training checkpoint, the one to prefer first (DeiT, MAE: model; Lightning:
state_dict; DINO: the teacher, which its papers evaluate; averages of weights only when asked, or when alone)."""

_MAX_DEPTH = 6  # of what is looked at
_MAX_LOOKS = 200_000
_MAX_IGNORED = 50  # lines


class NoWeights(Exception):
    """The file is whole, and is no state dict; `remedy` says what to type."""

    def __init__(self, why: str, remedy: str | None = None) -> None:
        self.remedy = remedy
        super().__init__(why)


class Inert:
    """What is put in place of an object of training state: it takes everything and does nothing."""

    called = ""
    """The full name of what it stands for."""
    state: object = None
    """What the object would have been filled with."""

    def __new__(cls, *_: object) -> Inert:
        """An instance, whatever the arguments."""
        return object.__new__(cls)

    def __init__(self, *_: object) -> None: ...

    def __setstate__(self, state: object) -> None:
        self.state = state


def stand_in(name: str) -> Callable[..., object]:
    """What is called in place of a global.

    Args:
        name: the global's full name, kept to be reported.
    """
    match name:
        case "collections.defaultdict":
            return lambda *_: {}  # its items follow as for a dict
        case "collections.deque":
            return lambda *_: []
        case _:
            return type("Inert", (Inert,), {"called": name})


def scripted(module: object, prefix: str = "") -> dict[str, Tensor]:
    """The tensors of a TorchScript module by the names of its attributes, as its `state_dict()` has them.

    Args:
        module: as unpickled, with stand-ins for its classes.
        prefix: what its names begin with.
    """
    found: dict[str, Tensor] = {}
    if prefix.count(".") > 40 or not isinstance(module, Inert) or not isinstance(module.state, dict):
        return found
    for name, value in module.state.items():
        if isinstance(value, Tensor):
            found[f"{prefix}{name}"] = value
        else:
            found |= scripted(value, f"{prefix}{name}.")
        if len(found) > _MAX_LOOKS:
            raise NoWeights("its modules hold each other")
    return found


def limit(memory: int, seconds: int, file_bytes: int) -> None:
    """Give up the right to more, for good; called once torch is imported, whose own size differs by build.

    Args:
        memory: bytes of address space beyond what is used now.
        seconds: of computing from now on.
        file_bytes: the largest file that may be written.
    """
    if resource is None:
        return
    spent = resource.getrusage(resource.RUSAGE_SELF)
    seconds += int(spent.ru_utime + spent.ru_stime) + 1
    limits = {resource.RLIMIT_CPU: seconds, resource.RLIMIT_FSIZE: file_bytes, resource.RLIMIT_CORE: 0}
    statistics = Path("/proc/self/statm")
    if statistics.exists():
        used = int(statistics.read_text().split()[0]) * resource.getpagesize()
        limits[resource.RLIMIT_AS] = used + memory
    for kind, value in limits.items():
        _, hard = resource.getrlimit(kind)
        value = value if hard == resource.RLIM_INFINITY else min(value, hard)
        resource.setrlimit(kind, (value, value))


def tensors_in(value: object, depth: int = 0, looks: list[int] | None = None) -> int:
    """How many tensors lie in nested containers, as far as it is worth looking.

    Args:
        value: anything that was unpickled, cycles included.
        depth: how deep `value` lies.
        looks: the count of what has been looked at so far.
    """
    looks = [0] if looks is None else looks
    looks[0] += 1
    if isinstance(value, Tensor):
        return 1
    if depth > _MAX_DEPTH or looks[0] > _MAX_LOOKS:
        return 0
    match value:
        case Mapping():
            return sum(tensors_in(item, depth + 1, looks) for item in value.values())
        case list() | tuple():
            return sum(tensors_in(item, depth + 1, looks) for item in value)
        case _:
            return 0


def is_state(value: object) -> bool:
    """Whether this is a state dict: tensors by name, and no further containers of tensors.

    Args:
        value: anything that was unpickled.
    """
    if not isinstance(value, Mapping) or not any(isinstance(item, Tensor) for item in value.values()):
        return False
    others = ((key, item) for key, item in value.items() if not isinstance(item, Tensor))
    return not any(tensors_in(item) for key, item in others if not _is_training(key))


def _is_training(key: object) -> bool:
    return isinstance(key, str) and ("optim" in key or key == "opt")


def choose(tree: object, root: str | None) -> tuple[str, Mapping[str, Any], list[str]]:
    """The one state dict: where it lies, itself, and in words what lies beside it.

    Args:
        tree: what the file holds.
        root: where to look, e.g. "model_ema" or "ema/model"; None takes the only one, or the first of ROOTS.

    Raises:
        NoWeights: there is none, or several and none is to be preferred.
    """
    at, ignored = "", list[str]()
    wanted = [] if root is None else [part for part in root.split("/") if part]
    while wanted or not is_state(tree):
        if not isinstance(tree, Mapping):
            kind = tree.called if isinstance(tree, Inert) else type(tree).__name__
            raise NoWeights(f"{at or 'the file'} holds a {kind}, not tensors by name")
        found = {
            key: count for key, value in tree.items() if isinstance(value, Mapping) and (count := tensors_in(value))
        }
        states = [key for key in found if not _is_training(key)]
        key = wanted.pop(0) if wanted else next((key for key in ROOTS if key in states), None)
        if key is None and len(states) == 1:
            key = states[0]
        if key is None or key not in found:
            raise _none_or_several(at, key, states)
        others = [(f"{at}{_shown(other)}", value) for other, value in tree.items() if other != key]
        ignored += [f"{place}: {_words(value, place)}" for place, value in others]
        tree, at = tree[key], f"{at}{key}/"
        if len(at) > 1000:
            raise NoWeights("it is nested without end")
    assert isinstance(tree, Mapping)
    ignored += [f"{at}{_shown(key)}: {_words(value)}" for key, value in tree.items() if not isinstance(value, Tensor)]
    return at, tree, ignored


def _none_or_several(at: str, wanted: str | None, states: list[Any]) -> NoWeights:
    paths = [f"{at}{_shown(key)}" for key in states]
    if wanted is not None:
        return NoWeights(f"there is no {at}{wanted} in it", f"one of: {', '.join(paths)}" if paths else None)
    if not paths:
        return NoWeights(f"{at or 'the file'} holds no tensors by name")
    return NoWeights(f"tensors lie in {', '.join(paths)}", f"say which: root={paths[0]!r}")


def _shown(text: object) -> str:
    shown = text if isinstance(text, str) and text.isprintable() else repr(text) if isinstance(text, str | int) else "?"
    return shown if len(shown) <= 60 else shown[:60] + "..."


def _words(value: object, at: str = "") -> str:
    """What a value is, in a few words; `at` is where it lies, if it could be taken instead."""
    if isinstance(value, Inert):
        numpys = {"scalar": "a NumPy number", "_reconstruct": "a NumPy array", "_frombuffer": "a NumPy array"}
        return numpys.get(value.called.rpartition(".")[2], value.called)
    match value:
        case Tensor():
            return f"a tensor of shape {tuple(value.shape)}"
        case str():
            return _shown(value)
        case bool() | float() | None:
            return str(value)
        case int():
            return str(value) if value.bit_length() < 64 else "a huge number"
    count = tensors_in(value)
    if at and is_state(value):
        return f"{count} tensors, taken with root={at!r}"
    return f"{count} tensors of training state" if count else type(value).__name__


def described(state: Mapping[str, Any]) -> tuple[dict[str, Tensor], dict[str, list[Any]]]:
    """The tensors of a state dict, and for each dtype, shape, stride, first element, and its storage's place and span.

    Args:
        state: from `choose`.
    """
    tensors, places = {}, {}
    for name, tensor in state.items():
        if not isinstance(tensor, Tensor):
            continue
        if not isinstance(name, str) or not name.isprintable():
            raise NoWeights(f"a tensor is called {_shown(name)}")
        if tensor.layout != torch.strided or tensor.is_quantized:
            raise NoWeights(f"{name} is sparse or quantised")
        storage = tensor.untyped_storage()
        kind = str(tensor.dtype).removeprefix("torch.")
        shape, stride = list(tensor.shape), list(tensor.stride())
        begin = getattr(storage, "_checkpoint_offset", None)
        tensors[name] = tensor
        places[name] = [kind, shape, stride, tensor.storage_offset(), begin, storage.nbytes()]
    return tensors, places


def write_values(tensors: Mapping[str, Tensor], path: Path, room: int) -> dict[str, list[Any]]:
    """Put every tensor into one file, contiguously, one after the other, and say where; one at a time in memory.

    Args:
        tensors: on the CPU.
        path: the file.
        room: bytes that it may have.
    """
    size = sum(tensor.numel() * tensor.element_size() for tensor in tensors.values())
    if size > room:
        raise MemoryError(f"its tensors would unfold to {size:,} bytes")
    places: dict[str, list[Any]] = {}
    with path.open("xb") as file:
        for name, tensor in tensors.items():
            begin, span = file.tell(), tensor.numel() * tensor.element_size()
            solid = tensor.detach().contiguous()
            if span:
                file.write(solid.reshape(-1).view(torch.uint8).numpy().data)
            kind = str(tensor.dtype).removeprefix("torch.")
            places[name] = [kind, list(solid.shape), list(solid.stride()), 0, begin, span]
    return places


def read(request: dict[str, Any], folder: Path) -> dict[str, Any]:
    """The answer to a request: see `vitreous.weights.formats.pickles`.

    Args:
        request: path, root, inert (names of globals to be stood in for), legacy, script.
        folder: where values may be put.
    """
    torch.serialization.add_safe_globals([(stand_in(name), name) for name in request["inert"]])
    in_place = not request["legacy"]
    at, state, ignored = choose(_load(request, "meta" if in_place else "cpu"), request["root"])
    tensors, places = described(state)
    if in_place and any(place[4] is None for place in places.values()):  # a torch that does not say where they lie
        in_place = False
        tensors, _ = described(choose(_load(request, "cpu"), request["root"])[1])
    if not in_place:
        places = write_values(tensors, folder / "values", 2 * Path(request["path"]).stat().st_size)
    if len(ignored) > _MAX_IGNORED:
        ignored = [*ignored[:_MAX_IGNORED], f"and {len(ignored) - _MAX_IGNORED} more"]
    return {"tensors": places, "root": at.rstrip("/"), "ignored": ignored, "blob": not in_place}


def _load(request: dict[str, Any], device: str) -> object:
    """What the file holds, unpickled: the one place where that is done."""
    with open(request["path"], "rb") as file:  # a file has no name by which torch.load could take it for safetensors
        if not request["script"]:
            return torch.load(file, map_location=device, weights_only=True)
        # torch.load would refuse the program or hand it to torch.jit; its data.pkl is like any other
        torch.serialization._is_torchscript_zip = lambda _: False
        return scripted(torch.load(file, map_location=device, weights_only=True))


def answer(request: dict[str, Any], folder: Path) -> dict[str, Any]:
    """As `read`; whatever goes wrong becomes an answer too.

    Args:
        request: see `read`.
        folder: see `read`.
    """
    try:
        return read(request, folder)
    except NoWeights as error:
        return {"trouble": "weightless", "why": str(error), "remedy": error.remedy}
    except (MemoryError, RecursionError) as error:
        return {"trouble": "beyond", "why": str(error) or "it needs more memory than weights do"}
    except OSError as error:
        return {"trouble": "disk" if error.errno in (errno.ENOSPC, errno.EDQUOT) else "damaged", "why": str(error)}
    except Exception as error:  # an unpickler fed with nonsense fails in every way there is
        beyond = re.search("memory|allocate", str(error)) is not None
        return {"trouble": "beyond" if beyond else "damaged", "why": f"{type(error).__name__}: {_first_line(error)}"}


def _first_line(error: Exception) -> str:
    """What went wrong, without torch's advice on how to trust the file."""
    text = str(error).split("\n\nCheck the documentation")[0]
    text = re.split(r"WeightsUnpickler error:|trusted source\.", text)[-1].strip().split(" was not an allowed")[0]
    line = text.splitlines()[0] if text else "no more is known"
    return "".join(letter if letter.isprintable() else "?" for letter in line)[:300]


def main() -> None:
    """Read the request, give up rights, answer."""
    folder = Path(sys.argv[1])
    request = json.load(sys.stdin)
    warnings.simplefilter("ignore")
    limit(request["memory"], request["seconds"], 2 * Path(request["path"]).stat().st_size + (64 << 20))
    (folder / "answer.json").write_text(json.dumps(answer(request, folder)), encoding="utf-8")


if __name__ == "__main__":
    main()
