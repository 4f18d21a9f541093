"""Every public name explains itself, and what is said of arguments is true of the signature."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent / "vitreous"

Function = ast.FunctionDef | ast.AsyncFunctionDef


def documented(doc: str) -> list[str]:
    """Names listed in a Google-style Args section, in order."""
    body = re.search(r"^Args:\n((?:    .*\n?|\n)+)", doc, re.M)
    return re.findall(r"^    \*{0,2}(\w+)", body.group(1), re.M) if body else []


def parameters(node: Function) -> list[str]:
    a = node.args
    return [x.arg for x in [*a.posonlyargs, *a.args, a.vararg, *a.kwonlyargs, a.kwarg] if x]


def definitions() -> Iterator[tuple[str, ast.AST]]:
    """Every class, function and method with its place; functions inside functions are their owner's affair."""

    def inside(body: list[ast.stmt], place: str) -> Iterator[tuple[str, ast.AST]]:
        for node in body:
            if isinstance(node, ast.ClassDef):
                yield f"{place}{node.name}", node
                yield from inside(node.body, f"{place}{node.name}.")
            elif isinstance(node, Function):
                yield f"{place}{node.name}", node

    for path in sorted(ROOT.rglob("*.py")):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        yield from inside(tree.body, f"{path.relative_to(ROOT)}:")


def with_arguments() -> Iterator[object]:
    """Functions, and classes whose docstring speaks for their __init__, that have an Args section."""
    for place, node in definitions():
        if not isinstance(node, Function | ast.ClassDef) or "Args:" not in (ast.get_docstring(node) or ""):
            continue
        owner = node
        if isinstance(node, ast.ClassDef):
            makers = [inner for inner in node.body if isinstance(inner, Function) and inner.name == "__init__"]
            assert makers, f"{place} documents arguments but has no __init__"
            owner = makers[0]
        is_method = "." in place.split(":")[1] or owner is not node
        is_static = any("staticmethod" in ast.unparse(mark) for mark in owner.decorator_list)
        yield pytest.param(parameters(owner)[is_method and not is_static :], ast.get_docstring(node), id=place)


@pytest.mark.parametrize(("signature", "doc"), list(with_arguments()))
def test_args_section_equals_signature(signature: list[str], doc: str) -> None:
    assert documented(doc) == signature


def test_everything_public_has_a_docstring() -> None:
    bare = [
        place
        for place, node in definitions()
        if not any(part.startswith("_") for part in place.split(":")[1].split("."))
        and isinstance(node, Function | ast.ClassDef)
        and not ast.get_docstring(node)
        and not any("overload" in ast.unparse(mark) or ".setter" in ast.unparse(mark) for mark in node.decorator_list)
    ]
    assert bare == []


def test_every_module_says_what_lives_there() -> None:
    bare = [
        str(path.relative_to(ROOT))
        for path in sorted(ROOT.rglob("*.py"))
        if (tree := ast.parse(path.read_text(encoding="utf-8"))).body and not ast.get_docstring(tree)
    ]
    assert bare == []


def test_the_reader_of_docstrings_reads() -> None:
    doc = "Gives it.\n\nArgs:\n    first: one,\n        on two lines.\n\n    second: two.\n\nRaises:\n    Error: no."
    assert documented(doc) == ["first", "second"]
