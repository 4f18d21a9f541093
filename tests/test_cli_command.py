"""The command as a whole: instant pages, one shape of error, one JSON value, exit codes."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest

import vitreous
from vitreous import console
from vitreous.cli import failure, lists, main
from vitreous.cli.answer import Answer, Common, as_text
from vitreous.cli.menu import VERBS
from vitreous.errors import (
    DataError,
    DivergedError,
    InterruptedRun,
    ModelFileError,
    ResourceError,
    UsageError,
    VitreousError,
)

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(capfd: pytest.CaptureFixture[str]) -> Run:
    """Run the command in this process: (exit code, stdout, stderr)."""

    def run_main(*words: str) -> tuple[int, str, str]:
        code = main(words)
        said = capfd.readouterr()
        return code, said.out, said.err

    return run_main


def start(*words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run the command in a process of its own."""
    return subprocess.run(
        [sys.executable, "-m", "vitreous", *words],
        env={**os.environ, **environment},
        capture_output=True,
        encoding=environment.get("PYTHONIOENCODING", "utf-8"),
        timeout=60,
        check=False,
    )


@pytest.mark.parametrize("words", [[], ["--help"], ["-h"], ["help"]])
def test_the_front_page_shows_every_verb_with_an_example(run: Run, words: list[str]) -> None:
    code, out, err = run(*words)
    assert (code, err) == (0, "")
    for verb in VERBS.values():
        assert f"  {verb.name} " in out
        assert verb.summary in out
        assert f"$ {verb.example}" in out
    assert max(map(len, out.splitlines())) <= 80


@pytest.mark.parametrize(
    ("words", "heavy"),
    [
        (["--help"], "torch numpy PIL tyro rich dataclasses"),
        (["--version"], "torch numpy PIL tyro rich dataclasses"),
        (["models"], "torch"),
        *[([verb, "--help"], "torch tyro") for verb in VERBS],
    ],
)
def test_pages_come_without_heavy_imports(words: list[str], heavy: str) -> None:
    code = f"""
import sys
from vitreous.cli import main
assert main({words!r}) == 0
found = set({heavy.split()!r}) & set(sys.modules)
assert not found, found
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("verb", VERBS)
def test_each_verb_explains_itself_in_eighty_columns(run: Run, verb: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    code, out, err = run(verb, "--help")
    assert (code, err) == (0, "")
    assert VERBS[verb].example in out
    assert "--json" in out
    assert max(map(len, out.splitlines())) <= 80
    assert run("help", verb) == (code, out, err)


def test_examples_name_flags_that_exist() -> None:
    from vitreous.cli.flags import parse
    from vitreous.cli.session import verb_class

    for verb in VERBS.values():
        words = verb.example.split()
        assert words[:2] == ["vitreous", verb.name]
        parse(verb_class(verb), words[2:], name=verb.name, example="")


def test_version(run: Run) -> None:
    assert run("--version") == (0, f"vitreous {vitreous.__version__}\n", "")


def test_unknown_verb_is_met_with_the_nearest(run: Run) -> None:
    code, out, err = run("finetun", "photos/")
    assert (code, out) == (2, "")
    assert err.splitlines() == [
        "✗ there is no verb 'finetun'",
        "  why    did you mean finetune?",
        "  try    vitreous --help lists them all",
    ]


def test_flags_come_after_the_verb(run: Run) -> None:
    code, out, err = run("--seed", "3", "demo")
    assert (code, out) == (2, "")
    assert "the verb comes first" in err


# ---- a stand-in verb that fails or answers as told ----


@pytest.fixture
def verb(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[], Answer]], None]:
    """Put a body under the verb `models`."""

    def put(body: Callable[[], Answer]) -> None:
        @dataclass(frozen=True, kw_only=True)
        class StandIn:
            """A verb that does as it is told."""

            common: Common = field(default_factory=Common)

            def answer(self) -> Answer:
                return body()

        monkeypatch.setattr(lists, "Models", StandIn)

    return put


def raising(error: BaseException) -> Callable[[], Answer]:
    def body() -> Answer:
        raise error

    return body


def interrupted(code: int) -> InterruptedRun:
    error = InterruptedRun("stopped by Ctrl-C", where="runs/a", remedy="vitreous resume runs/a")
    error.exit_code = code
    return error


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (VitreousError("odd"), 1),
        (UsageError("odd"), 2),
        (DataError("odd"), 3),
        (ModelFileError("odd"), 4),
        (DivergedError("odd"), 5),
        (ResourceError("odd"), 6),
        (interrupted(75), 75),
        (interrupted(130), 130),
        (KeyboardInterrupt(), 130),
        (ZeroDivisionError("odd"), 1),
        (OSError(28, "No space left on device", "/full/disk"), 6),
        (PermissionError(13, "Permission denied", "/not/mine"), 6),
        (MemoryError(), 6),
        (RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried ..."), 6),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, BaseException) else str(value),
)
@pytest.mark.parametrize("for_machine", [False, True])
def test_every_failure_is_one_message_and_one_exit_code(
    run: Run, verb: Callable[[Callable[[], Answer]], None], error: BaseException, code: int, for_machine: bool
) -> None:
    verb(raising(error))
    got, out, err = run("models", *["--json"][: int(for_machine)])
    assert got == code
    assert err.startswith("✗ ")
    assert "Traceback" not in err
    if not for_machine:
        assert out == ""
        return
    said = json.loads(out)
    assert list(said) == ["error", "exit_code"]
    assert list(said["error"]) == ["what", "where", "why", "try"]
    assert said["exit_code"] == code
    assert said["error"]["what"] in err


def test_the_four_parts_of_a_message(run: Run, verb: Callable[[Callable[[], Answer]], None]) -> None:
    verb(raising(DataError("2 images cannot be read", where="photos", why="a.jpg: cut\nb.jpg: empty", remedy="mend")))
    code, out, err = run("models", "--json")
    assert code == 3
    assert err.splitlines() == [
        "✗ 2 images cannot be read",
        "  where  photos",
        "  why    a.jpg: cut",
        "         b.jpg: empty",
        "  try    mend",
    ]
    assert json.loads(out)["error"] == {
        "what": "2 images cannot be read",
        "where": "photos",
        "why": "a.jpg: cut\nb.jpg: empty",
        "try": "mend",
    }


def test_a_traceback_only_for_those_who_ask(
    run: Run, verb: Callable[[Callable[[], Answer]], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    verb(raising(ZeroDivisionError("by nothing")))
    assert "Traceback" not in run("models")[2]
    assert "✗ ZeroDivisionError: by nothing" in run("models")[2]
    assert "Traceback" in run("models", "--debug")[2]
    monkeypatch.setenv("VITREOUS_DEBUG", "1")
    assert "Traceback" in run("models")[2]


def test_names_cannot_paint_the_terminal(run: Run, verb: Callable[[Callable[[], Answer]], None]) -> None:
    verb(raising(DataError("no\x1b[2J\x07such", where="\x1b]0;owned\x07a\u202egpj.exe", why="x\ny\r")))
    err = run("models")[2]
    assert err.splitlines() == ["✗ no?such", "  where  a?gpj.exe", "  why    x", "         y"]


def test_with_json_whoever_prints_stdout_holds_one_value(
    run: Run, verb: Callable[[Callable[[], Answer]], None]
) -> None:
    def body() -> Answer:
        print("a library that talks")
        console.say("words for a person")
        return Answer(value={"top1": float("nan"), "interval": (0.25, 0.5)}, exit_code=3)

    verb(body)
    code, out, err = run("models", "--json")
    assert code == 3
    assert json.loads(out) == {"top1": None, "interval": [0.25, 0.5]}
    assert out.count("\n") == 1
    assert err == "a library that talks\nwords for a person\n"
    code, out, err = run("models")
    assert (code, out, err) == (3, "a library that talks\nwords for a person\n", "")


def test_json_is_plain_ascii_with_nothing_that_is_not_json() -> None:
    text = as_text({"a": [float("inf"), 1.5, "Käfer \ud800"], "b": (Path("x").name, None)})
    assert text.isascii()
    assert json.loads(text) == {"a": [None, 1.5, "Käfer \ud800"], "b": ["x", None]}


class Terminal(io.TextIOWrapper):
    """A stream that says it is a terminal."""

    mode = "w"

    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("encoding", "environment", "expected"),
    [
        ("utf-8", {"TERM": "xterm"}, "\033[1;31m✗\033[0m odd\n"),
        ("utf-8", {"TERM": "xterm", "NO_COLOR": "1"}, "✗ odd\n"),
        ("utf-8", {"TERM": "dumb"}, "✗ odd\n"),
        ("ascii", {"TERM": "xterm"}, "\033[1;31mx\033[0m odd\n"),
        ("latin-1", {"TERM": "dumb"}, "x odd\n"),
    ],
)
def test_marks_and_colour_only_where_they_show(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, encoding: str, environment: dict[str, str], expected: str
) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    with Terminal((tmp_path / "said").open("wb"), encoding=encoding, newline="\n") as stream:
        failure.tell(VitreousError("odd"), stream)
    assert (tmp_path / "said").read_text(encoding) == expected


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "utf-8"])
def test_any_locale_will_do(encoding: str) -> None:
    done = start("models", "vit-ü16", PYTHONIOENCODING=encoding)
    assert done.returncode == 2
    assert "there is no model called" in done.stderr
    assert start("--help", PYTHONIOENCODING=encoding).returncode == 0


def test_a_reader_that_leaves_ends_the_command_quietly() -> None:
    with subprocess.Popen(
        [sys.executable, "-m", "vitreous", "models"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        process.stdout.close()
        assert process.stderr is not None
        said = process.stderr.read()
        process.wait(timeout=60)
    assert (process.returncode, said) == (141, "")


def test_the_console_is_put_back(run: Run) -> None:
    run("models", "--json")
    assert console.stream() is sys.stderr
