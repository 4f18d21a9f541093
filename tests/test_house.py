"""The house keeps its floors, its rooms keep to themselves, and nothing in it grows past reading size."""

from __future__ import annotations

import ast
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent / "vitreous"

FLOORS = [  # ground first; rooms on one line are strangers to each other
    "errors",
    "schema | files",
    "architecture",
    "config",
    "zoo | recipe | results | console | machine",
    "cost | published | pretrained",
    "picture | runtime",
    "model | data | report | distributed",
    "weights",
    "predict",
    "evaluation | inspection",
    "export",
    "training | serve",
    "study",
    "cli",
]
FLOOR = {room: height for height, rooms in enumerate(FLOORS) for room in rooms.split(" | ")}

TORCHLESS = ["errors", "schema", "architecture", "config", "files", "zoo", "recipe", "results", "console", "machine"]
TORCHLESS += ["cost", "published", "pretrained", "picture", "runtime", "data", "report", "cli"]

# may be imported inside the function that needs them
EXTRAS = {"sklearn", "mlxtend", "matplotlib", "huggingface_hub", "tensorboard", "wandb"}
EXTRAS |= {"pyarrow", "fsspec", "h5py", "simplejpeg", "cv2"}

FILE_LINES, FUNCTION_LINES, LOOP_LINES = 600, 80, 120


def sources() -> list[Path]:
    return sorted(ROOT.rglob("*.py"))


def room_of(path: Path) -> str:
    return path.relative_to(ROOT).with_suffix("").parts[0]


def rooms_there() -> set[str]:
    return {room_of(path) for path in sources()} - {"__init__", "__main__"}


def imported(node: ast.AST) -> list[str]:
    """Full dotted names that an import statement asks for; empty for other nodes."""
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    if isinstance(node, ast.ImportFrom):
        return [f"{node.module}.{alias.name}" for alias in node.names]
    return []


def arrows(path: Path) -> Iterator[tuple[str, str]]:
    """(importing room, imported room) for every import in a file, those inside functions included."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        for name in imported(node):
            parts = name.split(".")
            if parts[0] == "vitreous" and len(parts) > 1:
                yield room_of(path), parts[1]


def functions(path: Path) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


def run_python(code: str, folder: Path | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)],
        cwd=folder or ROOT.parent,
        env={"PYTHONPATH": str(ROOT.parent), "PATH": "", "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def test_every_room_has_a_floor() -> None:
    assert set() == rooms_there() - set(FLOOR)


def test_imports_only_go_down() -> None:
    upward = [
        f"{path.relative_to(ROOT)}: {here} -> {there}"
        for path in sources()
        if room_of(path) in FLOOR
        for here, there in arrows(path)
        if here != there and FLOOR.get(there, -1) >= FLOOR[here]
    ]
    assert upward == []


def test_imports_are_absolute() -> None:
    relative = [
        f"{path.relative_to(ROOT)}:{node.lineno}"
        for path in sources()
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.ImportFrom) and node.level
    ]
    assert relative == []


def test_imports_stand_at_the_top() -> None:
    """Inside functions only in the command, which must start at once, and for packages of optional extras."""
    hidden = [
        f"{path.relative_to(ROOT)}:{node.lineno}: {name}"
        for path in sources()
        if room_of(path) != "cli"
        for function in functions(path)
        for node in ast.walk(function)
        for name in imported(node)
        if name.split(".")[0] not in EXTRAS
    ]
    assert hidden == []


def test_only_one_file_knows_of_distributed_training() -> None:
    knowing = {
        room_of(path)
        for path in sources()
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        for name in imported(node)
        if name.startswith("torch.distributed")
    }
    assert knowing <= {"distributed"}


@pytest.mark.parametrize("room", TORCHLESS)
def test_room_needs_no_torch(room: str) -> None:
    modules = [
        ".".join(["vitreous", *path.relative_to(ROOT).with_suffix("").parts]).removesuffix(".__init__")
        for path in sources()
        if room_of(path) == room
    ]
    if not modules:
        assert room in {"cost", "published", "runtime"}, f"{room} is gone: take it off the list"
        return
    done = run_python(f"import sys, {', '.join(modules)}; sys.exit('torch' in sys.modules and 'torch was imported')")
    assert (done.returncode, done.stderr) == (0, "")


def test_importing_vitreous_does_nothing_else(tmp_path: Path) -> None:
    done = run_python(
        """
        import os, random, signal, sys, threading, warnings
        def state():
            handlers = [signal.getsignal(s) for s in sorted(signal.valid_signals())]
            return (dict(os.environ), handlers, threading.active_count(), list(warnings.filters), random.getstate(),
                    sys.stdout, sys.stderr, sys.excepthook, os.getcwd())
        before = state()
        import vitreous
        assert before == state()
        heavy = {"torch", "numpy", "PIL", "rich", "tyro", "jinja2", "safetensors"} & set(sys.modules)
        assert not heavy, heavy
        """,
        tmp_path,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert list(tmp_path.iterdir()) == []


def test_files_stay_readable() -> None:
    lengths = {str(path.relative_to(ROOT)): len(path.read_text(encoding="utf-8").splitlines()) for path in sources()}
    assert {name: lines for name, lines in lengths.items() if lines > FILE_LINES} == {}


def test_functions_stay_readable() -> None:
    """The training loop alone may be longer: it is read as one piece."""
    long = [
        f"{path.relative_to(ROOT)}:{node.name} has {lines} lines"
        for path in sources()
        for node in functions(path)
        if (lines := (node.end_lineno or 0) - node.lineno + 1)
        > (LOOP_LINES if path.relative_to(ROOT).as_posix() == "training/loop.py" else FUNCTION_LINES)
    ]
    assert long == []


def test_no_room_for_leftovers() -> None:
    names = {part for path in sources() for part in path.relative_to(ROOT).with_suffix("").parts}
    assert set() == names & {"utils", "util", "common", "helpers", "legacy", "misc"}


def test_words_for_people_go_through_the_console() -> None:
    printing = {
        room_of(path)
        for path in sources()
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "print"
    }
    assert printing <= {"console", "cli"}


UNPICKLERS = {"pickle", "_pickle", "cPickle", "dill", "cloudpickle", "joblib", "shelve", "marshal"}
UNSAFE = {"torch.load", "torch.hub.load", "yaml.load", "yaml.unsafe_load", "os.system", "os.popen"}


def test_opening_a_model_does_not_import_the_compiler(tmp_path: Path) -> None:
    """A normal drawn into a tensor without memory would: a second and a half before any model is there."""
    done = run_python(
        """
        import sys
        from vitreous.model.create import create_model
        for name in ("vit-mu16", "r+vit-ti16", "bit-r50x1"):
            create_model(name, num_classes=0)
        print("torch._dynamo" in sys.modules)
        """,
        tmp_path,
    )
    assert done.stdout.strip() == "False", done.stdout + done.stderr
