"""The dict of arrays and lists in a pickle, read without unpickling: only what such dicts need is known.

A pickle is a program. Here it is followed by an interpreter that builds dicts, lists, tuples, numbers, text and NumPy
arrays of plain numbers, and nothing else: a name of anything more, or an instruction for more, refuses the file, and
nothing that a file names is ever imported or called. Protocols 2 to 5 of Python 2 and 3.
"""

from __future__ import annotations

import io
import math
import pickletools
import struct
from collections.abc import Callable

import numpy as np

from vitreous.errors import DataError

_MAX_STEPS = 2_000_000  # instructions; CIFAR-100's 50,000 images need 250,000, and each costs some hundred bytes

_ROOTS = ("numpy.core", "numpy._core")  # before and since NumPy 2
_NAMES = {
    **{f"{root}.multiarray _reconstruct": "reconstruct" for root in _ROOTS},
    **{f"{root}.multiarray scalar": "scalar" for root in _ROOTS},
    **{f"{root}.numeric _frombuffer": "frombuffer" for root in _ROOTS},
    "numpy ndarray": "ndarray",
    "numpy dtype": "dtype",
    "_codecs encode": "encode",
    "__builtin__ bytes": "bytes",
}
"""Everything that a pickle may name, as it is written there, and what the interpreter calls it."""

_VALUES = frozenset(
    {
        *("NONE", "NEWTRUE", "NEWFALSE", "BININT", "BININT1", "BININT2", "LONG1", "BINFLOAT"),
        *("BINSTRING", "SHORT_BINSTRING", "BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8"),
        *("BINBYTES", "SHORT_BINBYTES", "BINBYTES8", "BYTEARRAY8"),
    }
)
"""Instructions that push what stands behind them."""

_INSTRUCTIONS = {instruction.code.encode("latin-1"): instruction for instruction in pickletools.opcodes}
_CONSTANTS: dict[str, object] = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False}


class _Mark:
    """Where a list of arguments begins."""


class _Name:
    """One of the few names that a pickle may hold; never the thing itself."""

    def __init__(self, what: str) -> None:
        self.what = what


class _Kind:
    """A NumPy dtype as it is described: first its kind and size, then its byte order."""

    def __init__(self, code: str) -> None:
        self.code = code
        self.dtype: np.dtype[np.generic] | None = None


class _Array:
    """A NumPy array: first announced, then given shape, dtype and values."""

    def __init__(self) -> None:
        self.values: np.ndarray | None = None


class _Stop(Exception):
    """Why a pickle cannot be followed any further, in one clause."""


def read_pickled_dict(content: bytes, where: str) -> dict[str, object]:
    """What a pickled dict holds: numbers, text, lists and tuples of these, and NumPy arrays, which share its memory.

    Python 2's strings are taken as Latin-1, as every reader of CIFAR's files does.

    Args:
        content: of the file.
        where: its path, for errors.

    Raises:
        DataError: the file is cut off or damaged, or it holds anything else; nothing in it was run.
    """
    try:
        return _plain(_Interpreter(content).run())
    except _Stop as error:
        raise DataError(
            "this pickle cannot be read",
            where=where,
            why=str(error),
            remedy="fetch it again; if you trust it, save its pictures and labels as NumPy arrays",
        ) from error


def _plain(found: object) -> dict[str, object]:
    """A dict by names, with arrays in place of their descriptions."""
    if not isinstance(found, dict):
        raise _Stop("it holds no dict")
    plain: dict[str, object] = {}
    for key, value in found.items():
        if isinstance(value, _Array) and value.values is None:
            raise _Stop("it announces an array that never comes")
        plain[_text(key)] = value.values if isinstance(value, _Array) else value
    return plain


def _text(key: object) -> str:
    return key.decode("latin-1") if isinstance(key, bytes) else str(key)


class _Interpreter:
    """One pickle, followed from its first byte; its memory is some multiple of the pickle's size.

    Args:
        content: of the file.
    """

    def __init__(self, content: bytes) -> None:
        self._content, self._file = content, io.BytesIO(content)
        self._stack: list[object] = []
        self._memo: dict[int, object] = {}
        self._encoded = 0

    def run(self) -> object:
        """What the pickle builds.

        Raises:
            _Stop: it is cut off, damaged, or holds what it may not.
        """
        for step in range(_MAX_STEPS):
            name, value = self._next()
            if step == 0 and name != "PROTO":
                raise _Stop("it does not begin as one of protocol 2 or later does")
            if name == "STOP":
                return self._pop()
            self._do(name, value)
        raise _Stop(f"it has more than {_MAX_STEPS:,} instructions")

    def _next(self) -> tuple[str, object]:
        """The next instruction and what stands behind it; one that is not known is not even read."""
        code = self._file.read(1)
        if not code:
            raise _Stop("it is cut off")
        instruction = _INSTRUCTIONS.get(code)
        if instruction is None or instruction.name not in _KNOWN:
            known = f"the instruction {instruction.name}" if instruction else f"the byte {code[0]}"
            raise _Stop(f"it has {known} at byte {self._file.tell() - 1:,}, which pictures and labels do not need")
        if instruction.arg is None:
            return instruction.name, _CONSTANTS.get(instruction.name)
        try:
            return instruction.name, instruction.arg.reader(self._file)
        except (ValueError, struct.error, OverflowError) as error:
            cut = self._file.tell() >= len(self._content)
            raise _Stop("it is cut off" if cut else f"{instruction.name} cannot be read: {error}") from error

    def _do(self, name: str, value: object) -> None:
        if name in _VALUES:
            self._stack.append(value)
        else:
            _ACTIONS[name](self, value)

    # what instructions do; `value` is what stands behind them

    def _pop(self) -> object:
        if not self._stack or isinstance(self._stack[-1], _Mark):
            raise _Stop("an instruction lacks what it works on")
        return self._stack.pop()

    def _since_mark(self) -> list[object]:
        for place in range(len(self._stack) - 1, -1, -1):
            if isinstance(self._stack[place], _Mark):
                found = self._stack[place + 1 :]
                del self._stack[place:]
                return found
        raise _Stop("a list of things has no beginning")

    def _nothing(self, _value: object) -> None:
        """FRAME says how much to read ahead; everything is there already."""

    def _proto(self, value: object) -> None:
        if value not in (2, 3, 4, 5):
            raise _Stop(f"it is of protocol {value}")

    def _mark(self, _value: object) -> None:
        self._stack.append(_Mark())

    def _put(self, value: object) -> None:
        assert isinstance(value, int)
        if not self._stack or isinstance(self._stack[-1], _Mark):
            raise _Stop("there is nothing to remember")
        self._memo[value] = self._stack[-1]

    def _memoize(self, _value: object) -> None:
        self._put(len(self._memo))

    def _get(self, value: object) -> None:
        if value not in self._memo:
            raise _Stop("it recalls what was never remembered")
        assert isinstance(value, int)
        self._stack.append(self._memo[value])

    def _empty_dict(self, _value: object) -> None:
        self._stack.append({})

    def _empty_list(self, _value: object) -> None:
        self._stack.append([])

    def _tuple(self, _value: object) -> None:
        self._stack.append(tuple(self._since_mark()))

    def _short_tuple(self, count: int) -> None:
        self._stack.append(tuple([self._pop() for _ in range(count)][::-1]))

    def _append(self, _value: object) -> None:
        self._extend([self._pop()])

    def _appends(self, _value: object) -> None:
        self._extend(self._since_mark())

    def _extend(self, values: list[object]) -> None:
        target = self._stack[-1] if self._stack else None
        if not isinstance(target, list):
            raise _Stop("something is put into what is no list")
        target += values

    def _set_item(self, _value: object) -> None:
        value = self._pop()
        self._set([self._pop(), value])

    def _set_items(self, _value: object) -> None:
        self._set(self._since_mark())

    def _set(self, pairs: list[object]) -> None:
        target = self._stack[-1] if self._stack else None
        if not isinstance(target, dict) or len(pairs) % 2:
            raise _Stop("something is put into what is no dict")
        for key, value in zip(pairs[::2], pairs[1::2], strict=True):
            if not isinstance(key, str | bytes | int):
                raise _Stop("a key of a dict is no name")
            target[key] = value

    def _global(self, value: object) -> None:
        self._name(str(value))

    def _stack_global(self, _value: object) -> None:
        name, module = self._pop(), self._pop()
        if not isinstance(name, str) or not isinstance(module, str):
            raise _Stop("a name is no text")
        self._name(f"{module} {name}")

    def _name(self, text: str) -> None:
        if text not in _NAMES:
            shown = "".join(letter if letter.isprintable() else "?" for letter in text.replace(" ", "."))[:80]
            raise _Stop(f"it names {shown}, which pictures and labels do not need, so nothing in it was run")
        self._stack.append(_Name(_NAMES[text]))

    def _reduce(self, _value: object) -> None:
        given, called = self._pop(), self._pop()
        if not isinstance(called, _Name) or not isinstance(given, tuple):
            raise _Stop("something is called that is no function")
        match called.what, given:
            case "reconstruct", (_Name(what="ndarray"), (0,), b"b" | "b"):
                self._stack.append(_Array())
            case "dtype", (str(code), *_) if len(given) in (1, 3):
                self._stack.append(_kind(code))
            case "scalar", (_Kind() as kind, bytes() | str() as values):
                self._stack.append(_scalar(kind, self._bytes_of(values)))
            case "frombuffer", (bytes() | bytearray() as values, _Kind() as kind, tuple(shape), "C" | "F" as order):
                array = _Array()
                array.values = _values(values, kind, shape, order == "F")
                self._stack.append(array)
            case "encode", (str(text), "latin1" | "latin-1"):
                self._stack.append(self._bytes_of(text))  # how protocol 2 of Python 3 writes bytes
            case "bytes", ():
                self._stack.append(b"")  # and this is how it writes none
            case _:
                raise _Stop(f"{called.what} is given what it does not take")

    def _build(self, _value: object) -> None:
        state = self._pop()
        target = self._stack[-1] if self._stack else None
        match target, state:
            case _Kind(dtype=None), (3 | 4, "|" | "<" | ">" | "=" as order, None, None, None, -1, -1, 0):
                target.dtype = np.dtype(target.code).newbyteorder(order)
            case _Array(values=None), (1, tuple(shape), _Kind() as kind, bool() as fortran, bytes() | str() as values):
                target.values = _values(self._bytes_of(values), kind, shape, fortran)
            case _:
                raise _Stop("something is described that is no array")

    def _bytes_of(self, values: bytes | str) -> bytes:
        """The bytes of numbers, which may be written as text; all such texts together are no longer than the pickle."""
        if isinstance(values, bytes):
            return values
        self._encoded += len(values)
        if self._encoded > len(self._content):  # one text that is recalled again and again would fill the memory
            raise _Stop("the same text stands for the bytes of numbers too often")
        try:
            return values.encode("latin-1")
        except UnicodeEncodeError as error:
            raise _Stop("the bytes of numbers are text") from error


def _kind(code: str) -> _Kind:
    if code not in ("u1", "u2", "u4", "u8", "i1", "i2", "i4", "i8", "f2", "f4", "f8", "b1"):
        raise _Stop(f"it holds numbers of the kind {code[:20]!r}")
    return _Kind(code)


def _dtype(kind: _Kind) -> np.dtype[np.generic]:
    if kind.dtype is None:
        raise _Stop("the byte order of numbers is missing")
    return kind.dtype


def _scalar(kind: _Kind, content: bytes) -> object:
    dtype = _dtype(kind)
    if len(content) != dtype.itemsize:
        raise _Stop("a number has too many or too few bytes")
    return np.frombuffer(content, dtype)[0].item()


def _values(content: bytes | bytearray, kind: _Kind, shape: tuple[object, ...], fortran: bool) -> np.ndarray:
    dtype = _dtype(kind)
    sides = [side for side in shape[:8] if type(side) is int and 0 <= side <= len(content)]
    if len(sides) != len(shape) or math.prod(sides) * dtype.itemsize != len(content):
        raise _Stop(f"the shape of an array is not that of its {len(content):,} bytes")
    return np.frombuffer(content, dtype).reshape(sides, order="F" if fortran else "C")


_ACTIONS: dict[str, Callable[[_Interpreter, object], None]] = {
    "PROTO": _Interpreter._proto,
    "FRAME": _Interpreter._nothing,
    "MARK": _Interpreter._mark,
    "BINPUT": _Interpreter._put,
    "LONG_BINPUT": _Interpreter._put,
    "MEMOIZE": _Interpreter._memoize,
    "BINGET": _Interpreter._get,
    "LONG_BINGET": _Interpreter._get,
    "EMPTY_DICT": _Interpreter._empty_dict,
    "EMPTY_LIST": _Interpreter._empty_list,
    "EMPTY_TUPLE": lambda machine, _: machine._short_tuple(0),
    "TUPLE1": lambda machine, _: machine._short_tuple(1),
    "TUPLE2": lambda machine, _: machine._short_tuple(2),
    "TUPLE3": lambda machine, _: machine._short_tuple(3),
    "TUPLE": _Interpreter._tuple,
    "APPEND": _Interpreter._append,
    "APPENDS": _Interpreter._appends,
    "SETITEM": _Interpreter._set_item,
    "SETITEMS": _Interpreter._set_items,
    "GLOBAL": _Interpreter._global,
    "STACK_GLOBAL": _Interpreter._stack_global,
    "REDUCE": _Interpreter._reduce,
    "BUILD": _Interpreter._build,
}

_KNOWN = _VALUES | _ACTIONS.keys() | {"STOP"}
"""All instructions that are followed."""
