"""`predict` and `evaluate`: which images are meant, what is written where, and what a machine reads."""

from __future__ import annotations

import csv
import inspect
import io
import json
import os
import sys
import types
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from vitreous.cli import main
from vitreous.cli.paths import find_images
from vitreous.cli.sheet import Sheet
from vitreous.config import PreprocessConfig
from vitreous.errors import DataError, UsageError
from vitreous.results import ClassScore, Evaluation, Failure, Outcome, Prediction

EVIL = "=cmd|' /C calc'!A0"


def picture(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full((6, 10, 3), 90, np.uint8)).save(path, format="PNG")
    return path


@pytest.fixture
def inbox(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Ten pictures' worth of trouble, seen from the folder above."""
    monkeypatch.chdir(tmp_path)
    for name in ["2.png", "10.png", "deep/er/a.JPG", "noname", "b/c d.webp", ".hidden.png", "b/._c.png"]:
        picture(tmp_path / "inbox" / name)
    (tmp_path / "inbox" / "notes.txt").write_text("words")
    (tmp_path / "inbox" / "phone.heic").write_bytes(b"\0\0\0\x18ftypheic")
    return tmp_path / "inbox"


@pytest.mark.usefixtures("inbox")
def test_a_folder_is_searched_to_the_bottom(capfd: pytest.CaptureFixture[str]) -> None:
    found = ["2.png", "10.png", "noname", "phone.heic", "b/c d.webp", "deep/er/a.JPG"]
    assert find_images(["inbox"]) == [f"inbox/{name}" for name in found]
    assert capfd.readouterr().err == "left out 1 file without an image (.txt 1)\n"


@pytest.mark.usefixtures("inbox")
def test_files_and_patterns_keep_their_order() -> None:
    assert find_images(["inbox/notes.txt", "inbox/2.png"]) == ["inbox/notes.txt", "inbox/2.png"]
    assert find_images(["inbox/*.png", "inbox/2.png"]) == ["inbox/2.png", "inbox/10.png"]
    assert find_images(["inbox/**/*.JPG"]) == ["inbox/deep/er/a.JPG"]
    assert sorted(find_images(["inbox/**"])) == sorted([*find_images(["inbox"]), "inbox/notes.txt"])


def test_a_name_that_looks_like_a_pattern_is_a_name(inbox: Path) -> None:
    picture(inbox / "a[1].png")
    assert find_images(["inbox/a[1].png"]) == ["inbox/a[1].png"]


def test_a_link_that_leads_back_ends(inbox: Path) -> None:
    before = find_images(["inbox"])
    (inbox / "deep" / "again").symlink_to(inbox, target_is_directory=True)
    assert find_images(["inbox"]) == before


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("outbox", "no such file or folder\n.*\n  why +did you mean inbox"),
        ("no/where/a.png", "no such file or folder\n.*\n  why +there is no folder no/where either"),
        ("inbox/*.gif", "no image matches"),
        ("empty", "no image in this folder"),
    ],
)
def test_words_that_name_nothing_are_errors(inbox: Path, word: str, message: str) -> None:
    (inbox.parent / "empty").mkdir()
    with pytest.raises(DataError, match=message):
        find_images([word])


# ---- predict ----


def rows_of(path: Path) -> list[list[str]]:
    return list(csv.reader(io.StringIO(path.read_text(encoding="utf-8"), newline="")))


class StandIn:
    """A predictor that knows by the name: `bad` cannot be read, everything else is a cat."""

    asked: dict[str, Any]
    classes = ("bird", "cat", EVIL)
    preprocess = PreprocessConfig(image_size=(24, 40))
    device = "cpu"

    def __init__(
        self,
        source: str,
        *,
        device: str = "auto",
        precision: str = "float32",
        batch_size: int | None = None,
    ) -> None:
        type(self).asked = {"source": source, "device": device, "precision": precision, "batch_size": batch_size}

    def stream(self, paths: Sequence[str], top: int = 5) -> Iterator[Prediction | Failure]:
        for path in paths:
            if "bad" in path:
                yield Failure(path=path, reason="cut after\n12 bytes")
            else:
                pairs = (("cat", 0.9996), (EVIL, 0.0003), ("bird", 0.0001))[:top]
                yield Prediction(path=path, label="cat", index=1, probability=0.9996, top=pairs)


@pytest.fixture
def predictor(monkeypatch: pytest.MonkeyPatch) -> type[StandIn]:
    import vitreous

    module = types.ModuleType("vitreous.predict")
    module.Predictor = StandIn  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "vitreous.predict", module)
    monkeypatch.setattr(vitreous, "predict", module, raising=False)
    return StandIn


@pytest.fixture
def two(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    picture(tmp_path / "in" / "-good.png")
    picture(tmp_path / "in" / "bad one.png")
    return tmp_path


@pytest.mark.usefixtures("two")
def test_predict_speaks_to_a_person(predictor: type[StandIn], capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["predict", "runs/a b", "in", "--top", "2", "--device", "cpu", "--batch-size", "7"]) == 0
    assert predictor.asked == {"source": "runs/a b", "device": "cpu", "precision": "float32", "batch_size": 7}
    said = capfd.readouterr()
    assert said.err == ""
    assert said.out.splitlines()[:5] == [
        "runs/a b: 3 classes, 24 x 40 px, cpu; 2 images to label",
        "  in/-good.png    cat > 99.9 %   =cmd|' /C calc'!A0 < 0.1 %",
        "  in/bad one.png  cannot be read: cut after?12 bytes",
        "",
        "1 image labelled, 1 could not be read",
    ]
    assert "vitreous predict 'runs/a b' in --out labels.csv" in said.out


@pytest.mark.usefixtures("two", "predictor", "evaluated")
@pytest.mark.parametrize("words", [["predict", "vit-test", "in"], ["evaluate", "vit-test", "digits"]])
def test_random_weights_are_named_first_and_last(words: list[str], capfd: pytest.CaptureFixture[str]) -> None:
    assert main(words) == 0
    said, _, after = capfd.readouterr().out.partition("Next")
    assert said.count("vit-test is an architecture with random weights") == 2
    assert "random" not in after


@pytest.mark.usefixtures("two", "predictor")
def test_predict_speaks_to_a_machine(capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["predict", "m", "in", "--json", "--top", "1"]) == 0
    assert json.loads(capfd.readouterr().out) == {
        "predictions": [
            {"path": "in/-good.png", "label": "cat", "index": 1, "probability": 0.9996, "top": [["cat", 0.9996]]}
        ],
        "failed": [{"path": "in/bad one.png", "reason": "cut after\n12 bytes"}],
        "out": None,
    }


@pytest.mark.usefixtures("two", "predictor")
def test_strict_turns_an_unreadable_image_into_exit_code_3() -> None:
    assert main(["predict", "m", "in/-good.png", "--strict"]) == 0
    assert main(["predict", "m", "in", "--strict"]) == 3
    assert main(["predict", "m", "in", "--strict", "--json"]) == 3


@pytest.mark.usefixtures("predictor")
def test_predict_writes_csv_that_no_spreadsheet_runs(two: Path, capfd: pytest.CaptureFixture[str]) -> None:
    os.chdir("in")
    assert main(["predict", "m", "--out", "../labels.csv", "--top", "2", "--", ".", "-good.png"]) == 0
    said = capfd.readouterr().out
    assert "could not be read" in said
    assert "labels.csv" in said
    assert rows_of(two / "labels.csv") == [
        ["path", "label", "probability", "label_2", "probability_2", "error"],
        ["./-good.png", "cat", "0.999600", "'" + EVIL, "0.000300", ""],
        ["./bad one.png", "", "", "", "", "cut after\n12 bytes"],
        ["'-good.png", "cat", "0.999600", "'" + EVIL, "0.000300", ""],
    ]
    assert sorted(path.name for path in two.iterdir()) == ["in", "labels.csv"]


@pytest.mark.usefixtures("predictor")
def test_predict_writes_json_lines(two: Path) -> None:
    assert main(["predict", "m", "in", "--out", "labels.jsonl"]) == 0
    rows = [json.loads(line) for line in (two / "labels.jsonl").read_text().splitlines()]
    assert [row["path"] for row in rows] == ["in/-good.png", "in/bad one.png"]
    assert rows[0]["top"][2] == ["bird", 0.0001]
    assert rows[1] == {"path": "in/bad one.png", "reason": "cut after\n12 bytes"}


def test_fewer_classes_than_asked_for_leave_cells_empty(tmp_path: Path) -> None:
    with Sheet(tmp_path / "a.csv", 3) as sheet:
        sheet.write(Prediction(path="p", label="x", index=0, probability=1.0, top=(("x", 1.0),)))
    rows = rows_of(tmp_path / "a.csv")
    assert rows[1] == ["p", "x", "1.000000", "", "", "", "", ""]
    assert len(rows[0]) == len(rows[1])


def test_a_table_is_whole_or_not_there(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text("of yesterday")
    sheet = Sheet(tmp_path / "a.jsonl", 1).__enter__()
    sheet.write(Failure(path="p", reason="r"))
    sheet.__exit__(KeyboardInterrupt, KeyboardInterrupt(), None)
    assert (tmp_path / "a.jsonl").read_text() == "of yesterday"
    assert json.loads((tmp_path / "a.jsonl.partial").read_text()) == {"path": "p", "reason": "r"}


def test_a_table_without_a_row_leaves_nothing(tmp_path: Path) -> None:
    sheet = Sheet(tmp_path / "a.csv", 1).__enter__()
    sheet.__exit__(KeyboardInterrupt, KeyboardInterrupt(), None)
    assert list(tmp_path.iterdir()) == []


def test_a_path_that_is_no_unicode_comes_back_as_it_was(tmp_path: Path) -> None:
    raw = os.fsdecode(b"caf\xe9.png")
    with Sheet(tmp_path / "a.csv", 1) as sheet:
        sheet.write(Failure(path=raw, reason="r"))
    assert b"caf\xe9.png" in (tmp_path / "a.csv").read_bytes()


@pytest.mark.parametrize(
    ("out", "message"),
    [("a.xlsx", "must end in .csv or .jsonl"), ("no/a.csv", "a folder that is not there"), ("d.csv", "not a file")],
)
def test_a_table_nowhere_is_refused_before_the_model_is_read(tmp_path: Path, out: str, message: str) -> None:
    (tmp_path / "d.csv").mkdir()
    with pytest.raises(UsageError, match=message):
        Sheet(tmp_path / out, 1)


@pytest.mark.usefixtures("two")
@pytest.mark.parametrize("words", [["--top", "0"], ["--batch-size", "0"], ["--threads", "-1"]])
def test_impossible_numbers_are_refused(words: list[str]) -> None:
    assert main(["predict", "m", "in", *words]) == 2


# ---- evaluate ----


def evaluation(num_classes: int = 3) -> Evaluation:
    scores = [
        ClassScore(name=f"class {i}", support=10 * (i > 0), precision=0.5, recall=i / num_classes, f1=None)
        for i in range(num_classes)
    ]
    return Evaluation(
        top1=0.875,
        top5=1.0,
        balanced=0.8,
        interval=(0.77, 0.94),
        calibration_error=0.031,
        seen=80,
        expected=81,
        failed=(Failure(path="photos/x\x1b[31m.png", reason="cut"),),
        classes=tuple(score.name for score in scores),
        per_class=tuple(scores),
        confusion=((0,) * num_classes,) * num_classes,
        outcomes=(Outcome(path="p", label=0, predicted=0, probability=1.0, label_probability=1.0),),
        data="photos/test",
    )


@pytest.fixture
def evaluated(monkeypatch: pytest.MonkeyPatch) -> list[tuple[tuple[Any, ...], dict[str, Any]]]:
    """Calls of a stand-in for `evaluate`."""
    calls = []

    def evaluate(*args: Any, **keywords: Any) -> Evaluation:
        calls.append((args, keywords))
        return evaluation(30 if "many" in args[1] else 3)

    import vitreous.evaluation

    module = types.ModuleType("vitreous.evaluation.evaluate")
    module.evaluate = evaluate  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "vitreous.evaluation.evaluate", module)
    monkeypatch.setattr(vitreous.evaluation, "evaluate", module, raising=False)
    return calls


def test_evaluate_passes_on_what_was_asked(evaluated: list[Any]) -> None:
    words = "m photos --split val --root elsewhere --device cpu --precision bfloat16 --batch-size 5"
    assert main(["evaluate", *words.split()]) == 0
    keywords = {"split": "val", "root": "elsewhere", "device": "cpu", "precision": "bfloat16", "batch_size": 5}
    assert evaluated == [(("m", "photos"), keywords)]


@pytest.mark.usefixtures("evaluated")
def test_evaluate_speaks_to_a_machine(capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["evaluate", "m", "photos", "--json"]) == 0
    said = json.loads(capfd.readouterr().out)
    expected = {"top1": 0.875, "top5": 1.0, "seen": 80, "expected": 81, "interval": [0.77, 0.94]}
    assert expected.items() <= said.items()
    assert said["failed"] == [{"path": "photos/x\x1b[31m.png", "reason": "cut"}]


@pytest.mark.usefixtures("evaluated")
def test_evaluate_speaks_to_a_person(capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["evaluate", "m", "photos"]) == 0
    out = capfd.readouterr().out
    assert "photos/test; 80 of 81 images seen" in out
    assert "87.5 %  95 % interval 77.0 % to 94.0 %" in out
    assert "photos/x.png  cut" in out
    assert "class 0" not in out  # it has no images
    assert "class 2" in out
    assert out.rstrip().splitlines()[-2].strip() == "vitreous predict m new.jpg"


@pytest.mark.usefixtures("evaluated")
def test_of_many_classes_the_hardest_are_shown(capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["evaluate", "m", "many"]) == 0
    out = capfd.readouterr().out
    assert "the 20 hardest of 29 classes" in out
    assert "class 1 " in out
    assert "class 29" not in out


def test_the_real_rooms_take_what_the_command_passes() -> None:
    from vitreous.evaluation.evaluate import evaluate
    from vitreous.predict import Predictor

    machine: dict[str, Any] = {"device": "cpu", "precision": "float32", "batch_size": None}
    inspect.signature(evaluate).bind("m", "d", split=None, root=None, **machine)
    inspect.signature(Predictor).bind("m", **machine)
    inspect.signature(Predictor.stream).bind(None, ["a"], top=3)
