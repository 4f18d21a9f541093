"""A verb's flags: from a frozen dataclass to the values that were typed, by way of tyro.

A verb is a frozen dataclass. Its fields are the flags, the docstring under each field is the help, a field that is
itself a dataclass lends its fields, and `positional()` marks the words that need no flag. tyro takes the words apart;
what a value may be, and what is said when it is not, stands here.
"""

from __future__ import annotations

import ast
import contextlib
import dataclasses
import inspect
import io
import itertools
import math
import re
import textwrap
import types
import typing
from collections.abc import Sequence
from dataclasses import MISSING, dataclass
from typing import Annotated, Any, Literal, TypeVar

from vitreous.architecture import Size
from vitreous.errors import UsageError, unknown_name

V = TypeVar("V")

_METAVARS = {
    "device": "NAME",
    "dialect": "NAME",
    "family": "NAME",
    "group_by": "REGEX",
    "hub_url": "URL",
    "model": "MODEL",
    "out": "FILE",
    "recipe": "NAME",
    "root": "DIR",
    "set": "A=X,B=Y",
    "run": "DIR",
    "split": "NAME",
    "time": "TIME",
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Flag:
    """One flag or one positional word of a verb."""

    name: str
    """The field's name, with underscores."""
    kind: Any
    """What it holds, None aside: str, int, float, bool, a Literal, `int | Size`, or tuple[str, ...]."""
    default: Any
    """Its value when nothing is typed; dataclasses.MISSING where something must be."""
    help: str
    """One or two sentences."""
    metavar: str
    """What stands for the value in the help; a positional has no other name."""
    positional: bool
    """Whether it is given without a flag in front."""
    group: str
    """Where it stands in the help: the field it came by, or empty for the verb's own."""

    @property
    def spelled(self) -> str:
        """As a person types it: `--batch-size`, or `DATA`."""
        return self.metavar if self.positional else "--" + self.name.replace("_", "-")

    @property
    def choices(self) -> tuple[str, ...]:
        """The only words it takes, where they are few; beside numbers, where it takes these too."""
        kinds = typing.get_args(self.kind) if _is_union(self.kind) else (self.kind,)
        return next((typing.get_args(kind) for kind in kinds if typing.get_origin(kind) is Literal), ())

    @property
    def many(self) -> bool:
        """Whether it takes every word that is left."""
        return typing.get_origin(self.kind) is tuple

    @property
    def is_size(self) -> bool:
        """Whether it takes one number or height and width."""
        return _is_size(self.kind)


def option(default: Any, *, metavar: str) -> Any:
    """A dataclass field for a flag whose value has a name of its own in the help.

    Args:
        default: its value when nothing is typed.
        metavar: what stands for its value.
    """
    return dataclasses.field(default=default, metadata={"metavar": metavar})


def positional(default: Any = MISSING, *, metavar: str | None = None) -> Any:
    """A dataclass field that is typed without a flag.

    Args:
        default: its value when nothing is typed; by default it must be given.
        metavar: what stands for it in the help; by default its name in capitals.
    """
    return dataclasses.field(default=default, metadata={"positional": True, "metavar": metavar})


def flags_of(verb: type, group: str = "") -> tuple[Flag, ...]:
    """Every flag of a verb, those of the dataclasses inside it included, in the order of the help.

    Args:
        verb: a frozen dataclass.
        group: what the help calls them.
    """
    hints, docs = typing.get_type_hints(verb), _field_docs(verb)
    found: list[Flag] = []
    for spec in dataclasses.fields(verb):
        hint: Any = hints[spec.name]
        if dataclasses.is_dataclass(hint):
            found.extend(flags_of(typing.cast(type, hint), group=spec.name))
            continue
        kind = _without_none(hint)
        is_positional = bool(spec.metadata.get("positional"))
        usual = _word(spec) if is_positional else _METAVARS.get(spec.name) or _metavar(kind)
        found.append(
            Flag(
                name=spec.name,
                kind=kind,
                default=spec.default,
                help=docs[spec.name],
                metavar=spec.metadata.get("metavar") or usual,
                positional=is_positional,
                group=group,
            )
        )
    return tuple(found)


def parse(verb: type[V], words: Sequence[str], *, name: str, example: str) -> V:
    """The verb with the values that were typed.

    Args:
        verb: a frozen dataclass.
        words: what was typed after the verb's name.
        name: the verb as typed, "vitreous finetune".
        example: a whole command to show beside a complaint.

    Raises:
        UsageError: an unknown flag, a missing or a spare word, or a value of the wrong kind.
    """
    flags = flags_of(verb)
    _check_spelling(flags, words, name)
    values, spare = _take_apart(flags, words, name)
    if spare:
        wanted = " ".join(flag.spelled for flag in flags if flag.positional) or "no words"
        raise UsageError(
            f"{name} takes {wanted}, and {' '.join(spare)!r} is left over",
            why="names with spaces need quotes, and words without a flag stand side by side",
            remedy=example,
        )
    for flag in flags:
        if flag.default is MISSING and not values[flag.name]:
            raise UsageError(f"{name} needs {flag.spelled}: {flag.help[0].lower()}{flag.help[1:]}", remedy=example)
    return _build(verb, values)


def _check_spelling(flags: Sequence[Flag], words: Sequence[str], name: str) -> None:
    """Refuse unknown flags and flags without their value, more clearly than tyro would."""
    known = {flag.spelled: flag for flag in flags if not flag.positional}
    for word, following in itertools.pairwise([*words, "--"]):
        if word == "--":
            return
        typed, equals, _ = word.partition("=")
        if not typed.startswith("--"):
            continue
        flag = known.get(typed.replace("_", "-"))
        if flag is None:
            hint = unknown_name("flag", typed, known)
            raise UsageError(f"{name} has no flag {typed}", why=hint.why, remedy=f"{name} --help")
        if flag.kind is bool and equals:
            raise UsageError(f"{flag.spelled} takes no value, got {word!r}", remedy=flag.spelled)
        if flag.kind is not bool and not equals and (following == "--" or following in known):
            raise UsageError(f"{flag.spelled} needs a value: {flag.spelled} {flag.metavar}", remedy=f"{name} --help")


def _take_apart(flags: Sequence[Flag], words: Sequence[str], name: str) -> tuple[dict[str, Any], list[str]]:
    """Values by field name, and the words left over; what tyro complains about becomes a UsageError."""
    import tyro

    form = dataclasses.make_dataclass("Form", [_form_field(flag) for flag in flags], kw_only=True)
    complaint = io.StringIO()
    filled: Any
    try:
        with contextlib.redirect_stderr(complaint):
            filled, spare = tyro.cli(form, prog=name, args=list(words), return_unknown_args=True, add_help=False)
    except SystemExit:
        raise UsageError(_unboxed(complaint.getvalue()), remedy=f"{name} --help") from None
    return vars(filled), spare


def _form_field(flag: Flag) -> tuple[str, Any, Any]:
    """One field of the dataclass that tyro reads. Nothing is required of it: `parse` says better what is missing."""
    import tyro

    absent: Any = () if flag.many else None
    default = dataclasses.field(default=absent if flag.default is MISSING else flag.default)
    if flag.kind is bool:
        return flag.name, Annotated[bool, tyro.conf.FlagCreatePairsOff], default

    def read(words: list[str]) -> Any:
        return tuple(words) if flag.many else _value(flag, words[0])

    reader = tyro.constructors.PrimitiveConstructorSpec(
        nargs="*" if flag.many else 1,
        metavar=flag.metavar,
        instance_from_str=read,
        is_instance=lambda value: True,  # noqa: ARG005  every default is right by construction
        str_from_instance=lambda value: [str(value)],
    )
    if flag.positional:
        return flag.name, Annotated[Any, reader, tyro.conf.Positional], default
    return flag.name, Annotated[Any, reader], default


def _unboxed(text: str) -> str:
    """The first paragraph of a message that tyro drew a box around."""
    rows = [row.strip(" │|") for row in text.splitlines()]
    body = [row for row in rows if row and not re.match(r"[╭╰+]", row)]
    end = next((i for i, row in enumerate(body) if re.fullmatch(r"[─-]+", row)), len(body))
    return " ".join(body[:end]) or "the command could not be understood"


def _value(flag: Flag, word: str) -> Any:
    if flag.kind is str:
        return word
    if flag.choices:
        if word in flag.choices:
            return word
        if _is_union(flag.kind):
            return _number(flag, float, word, f"a number or {' or '.join(flag.choices)}")
        hint = unknown_name("value", word, flag.choices)
        raise UsageError(f"{flag.spelled} cannot be {word!r}", why=hint.why, remedy=hint.remedy)
    if flag.is_size:
        match = re.fullmatch(r"(\d+)(?:x(\d+))?", word)
        if match:
            return (int(match[1]), int(match[2])) if match[2] else int(match[1])
        raise UsageError(
            f"{flag.spelled} must be one number or HEIGHTxWIDTH, got {word!r}",
            remedy=f"{flag.spelled} 224, or {flag.spelled} 224x384",
        )
    return _number(flag, flag.kind, word, "a whole number" if flag.kind is int else "a number")


def _number(flag: Flag, kind: type, word: str, wanted: str) -> int | float:
    with contextlib.suppress(ValueError):
        number: int | float = kind(word)
        if math.isfinite(number):
            return number
    raise UsageError(f"{flag.spelled} must be {wanted}, got {word!r}")


def _build(verb: type[V], values: dict[str, Any]) -> V:
    """The dataclass from flat values; the dataclasses inside it first."""
    parts = {}
    for name, hint in typing.get_type_hints(verb).items():
        inner: Any = hint if dataclasses.is_dataclass(hint) else None
        parts[name] = values[name] if inner is None else _build(inner, values)
    return verb(**parts)


def _field_docs(cls: type) -> dict[str, str]:
    """The docstring under each field, which Python itself does not keep."""
    body = ast.parse(textwrap.dedent(inspect.getsource(cls))).body[0]
    assert isinstance(body, ast.ClassDef)
    docs = {}
    for field, below in itertools.pairwise(body.body):
        if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name):
            text = below.value.value if isinstance(below, ast.Expr) and isinstance(below.value, ast.Constant) else ""
            docs[field.target.id] = " ".join(str(text).split())
    return docs


def _without_none(hint: Any) -> Any:
    """`int` for `int | None`; other unions stay."""
    if not _is_union(hint):
        return hint
    options = [option for option in typing.get_args(hint) if option is not type(None)]
    return options[0] if len(options) == 1 else hint


def _is_union(kind: Any) -> bool:
    return typing.get_origin(kind) in (typing.Union, types.UnionType)


def _is_size(kind: Any) -> bool:
    return _is_union(kind) and Size in typing.get_args(kind)


def _word(spec: dataclasses.Field[Any]) -> str:
    return spec.name.upper() if spec.default is MISSING else f"[{spec.name.upper()}]"


def _metavar(kind: Any) -> str:
    if _is_union(kind):
        return "N|HxW" if _is_size(kind) else "X"
    return {int: "N", float: "X", bool: ""}.get(kind, "WORD")
