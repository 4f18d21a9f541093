"""The command on the real rooms: train, go on, measure, label; one JSON value each, with the keys promised."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from small_photos import write_photos

from vitreous.cli import main


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four photos in each of a few classes."""
    folder = tmp_path_factory.mktemp("whole") / "my photos"
    write_photos(folder, per_class=4)
    return folder


def test_train_resume_measure_and_label(photos: Path, capfd: pytest.CaptureFixture[str]) -> None:
    def machine(*words: str) -> Any:
        assert main([*words, "--json"]) == 0
        return json.loads(capfd.readouterr().out)

    run = str(photos.parent / "run")
    asked = ["finetune", str(photos), "--model", "vit-test", "--steps", "2", "--run", run, "--threads", "1"]
    assert list(machine(*asked, "--dry-run")) == ["plan"]
    assert not Path(run).exists()
    trained = machine(*asked)
    assert {"run", "model", "top1", "seen", "expected", "seconds", "report"} <= set(trained)
    assert trained["run"] == run
    assert Path(trained["model"]).is_file()
    assert Path(trained["report"]).is_file()
    assert machine("resume", run) == trained

    score = machine("evaluate", run, str(photos))
    assert {"top1", "top5", "seen", "expected", "failed", "interval"} <= set(score)
    assert score["seen"] == score["expected"] > 0

    bad = photos.parent / "bad.jpg"
    bad.write_bytes(b"\xff\xd8\xff")
    said = machine("predict", run, str(photos), str(bad), "--top", "2")
    assert {"path", "label", "probability", "top"} <= set(said["predictions"][0])
    assert [item["path"] for item in said["failed"]] == [str(bad)]
    right = [Path(item["path"]).parent.name == item["label"] for item in said["predictions"]]
    assert len(right) == score["seen"]
    assert sum(right) / len(right) == pytest.approx(score["top1"], abs=1e-12)


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (["finetune", "no/such", "--model", "vit-test"], 3),
        (["finetune", "PHOTOS", "--model", "vit-tst"], 2),
        (["finetune", "PHOTOS", "--model", "vit-test", "--image-size", "30"], 2),
        (["finetune", "PHOTOS", "--model", "vit-test", "--recipe", "no-such"], 2),
        (["pretrain", "PHOTOS", "--model", "vit-test", "--device", "cuda:9"], 6),
        (["evaluate", "BAD", "PHOTOS"], 4),
        (["predict", "BAD", "PHOTOS"], 4),
        (["resume", "no/such"], 2),
    ],
)
def test_every_mistake_has_its_exit_code(
    photos: Path, words: list[str], code: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "bad.safetensors").write_bytes(b"no model")
    places = {"PHOTOS": str(photos), "BAD": "bad.safetensors"}
    assert main([places.get(word, word) for word in words]) == code
    assert not (tmp_path / "runs").exists() or not any((tmp_path / "runs").iterdir())
