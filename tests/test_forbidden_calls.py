"""Data never becomes code: nothing in the package unpickles, evaluates or unpacks to paths, one named module apart."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent / "vitreous"

ALLOWED = {"weights/formats/pickle_child.py": {"torch.load()"}}
"""What the child process that opens pickles may do, and nobody else."""

MODULES = {
    "pickle",
    "_pickle",
    "cPickle",
    "dill",
    "cloudpickle",
    "joblib",
    "shelve",
    "marshal",
    "code",
    "codeop",
    "runpy",
}
CALLS = {"eval", "exec", "compile", "__import__", "torch.load", "torch.jit.load", "torch.package.PackageImporter"}
CALLS |= {"yaml.load", "yaml.unsafe_load", "yaml.full_load", "os.system", "os.popen", "os.execv", "os.spawnv"}
CALLS |= {"torch.hub.load", "pandas.read_pickle"}
METHODS = (".extractall", ".extract", ".unpack_archive")
KEYWORDS = {"shell", "allow_pickle", "trust_remote_code"}


def dotted(node: ast.AST, names: dict[str, str]) -> str:
    """The full name that an expression calls, through `import a as b` and `from a import b`."""
    match node:
        case ast.Name():
            return names.get(node.id, node.id)
        case ast.Attribute():
            return f"{dotted(node.value, names)}.{node.attr}"
        case _:
            return "?"


def forbidden(source: str) -> Iterator[str]:
    """Every way in which the source could run what lies in data, or write where data says."""
    tree = ast.parse(source)
    names: dict[str, str] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import | ast.ImportFrom):
            module = node.module or "" if isinstance(node, ast.ImportFrom) else ""
            for alias in node.names:
                full = f"{module}.{alias.name}" if module else alias.name
                names[alias.asname or (alias.name if module else alias.name.split(".")[0])] = (
                    full if alias.asname or module else full.split(".")[0]
                )
                if full.split(".")[0] in MODULES:
                    yield f"import {full.split('.')[0]}"
                if full in CALLS:
                    yield f"import {full}"
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call):
            continue
        called = dotted(node.func, names)
        foreign = not called.startswith("vitreous.")  # our own functions are looked into where they stand
        if called in CALLS or called.removeprefix("builtins.") in CALLS or (foreign and called.endswith(METHODS)):
            yield f"{called}()"
        for keyword in node.keywords:
            harmless = isinstance(keyword.value, ast.Constant) and keyword.value.value is False
            if keyword.arg in KEYWORDS and not harmless:
                yield f"{called}({keyword.arg}=...)"
        if called == "torch.load" and not any(
            keyword.arg == "weights_only" and isinstance(keyword.value, ast.Constant) and keyword.value.value is True
            for keyword in node.keywords
        ):
            yield "torch.load() without weights_only"


def test_data_never_becomes_code() -> None:
    """C13."""
    found = {
        path.relative_to(ROOT).as_posix(): set(forbidden(path.read_text(encoding="utf-8")))
        for path in sorted(ROOT.rglob("*.py"))
    }
    assert ALLOWED == {name: dangers for name, dangers in found.items() if dangers}


@pytest.mark.parametrize(
    "source",
    [
        "import pickle",
        "import pickle as p",
        "from _pickle import loads",
        "import joblib",
        "def f():\n    import shelve",
        "import torch\ntorch.load('x', weights_only=True)",
        "import torch as t\nt.load('x')",
        "from torch import load",
        "from torch import load as read\nread('x')",
        "torch.jit.load('x')",
        "eval('1')",
        "import builtins\nbuiltins.exec('1')",
        "compile('1', 'x', 'exec')",
        "import yaml\nyaml.load(open('x'))",
        "archive.extractall('.')",
        "archive.extract(name)",
        "import shutil\nshutil.unpack_archive('x')",
        "subprocess.run('ls', shell=True)",
        "subprocess.run('ls', shell=asked)",
        "numpy.load('x', allow_pickle=True)",
        "AutoModel.from_pretrained('x', trust_remote_code=True)",
        "import os\nos.system('ls')",
    ],
)
def test_the_check_sees(source: str) -> None:
    assert list(forbidden(source))


def test_the_check_leaves_the_innocent_alone() -> None:
    innocent = "model.eval(); re.compile('x'); numpy.load('x', allow_pickle=False); json.load(f); torch.compile(model)"
    assert list(forbidden(innocent)) == []


def test_unpickling_without_weights_only_is_seen_even_where_it_is_allowed() -> None:
    assert "torch.load() without weights_only" in set(forbidden("import torch\ntorch.load('x', weights_only=False)"))
