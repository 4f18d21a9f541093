"""`vitreous check`: its words, its one JSON value, its exit codes."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from flawed_photos import scene, write_flawed, write_scenes
from PIL import Image

from vitreous.cli import main


@pytest.fixture(scope="module")
def flawed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("flawed") / "photos"
    write_flawed(folder)
    return folder


@pytest.fixture(autouse=True)
def somewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VITREOUS_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)


def test_what_is_found_is_said_in_short_and_with_what_to_type_next(
    flawed: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(flawed, "photos")
    assert 0 == main(["check", "photos"])
    said = capfd.readouterr().out
    assert "photos: 57 images in 3 classes (train 43, val 14)" in said
    for line in (
        "  unreadable  3  files that are no sound image",
        "  leaks       2  the same picture in two parts",
        "  photos/train/cow/0.png  =  photos/val/cow/leak.png",
        "  photos/train/ant/1.png  ~  photos/val/ant/smaller.jpg",
        "  photos/train/ant/2.png (ant)  =  photos/train/cow/says-cow.png (cow)",
        "  vitreous check photos --fix clean.csv",
    ):
        assert line in said.splitlines()
    assert "photos/train/bee/empty.png  the file is empty (0 bytes)" in said
    assert f"page    {Path('checks/photos-1/report.html')}" in said
    assert Path("checks/photos-1/report.html").is_file()
    assert Path("checks/photos-1/findings.json").is_file()


def test_strict_and_a_clean_list(flawed: Path, capfd: pytest.CaptureFixture[str]) -> None:
    shutil.copytree(flawed, "photos")
    for odd in ("train/cow/dot.png", "train/cow/banner.png", "train/cow/blank.png", "train/bee/blank.png"):
        (Path("photos") / odd).unlink()
    assert 3 == main(["check", "photos", "--strict", "--fix", "clean.csv"])
    assert "list    clean.csv: 44 of 53 images" in capfd.readouterr().out
    assert 0 == main(["check", "clean.csv", "--strict"])
    assert "vitreous finetune clean.csv --model MODEL" in capfd.readouterr().out


def test_one_json_value_with_the_promised_keys(flawed: Path, capfd: pytest.CaptureFixture[str]) -> None:
    shutil.copytree(flawed, "photos")
    assert 3 == main(["check", "photos", "--json", "--strict", "--out", "mine"])
    value = json.loads(capfd.readouterr().out)
    promised = {"images", "classes", "unreadable", "duplicates", "leaks", "conflicts", "warnings"}
    assert promised | {"near", "odd", "notes", "html", "manifest", "shuffle_test"} <= value.keys()
    assert {"path", "reason"} == value["unreadable"][0].keys()
    assert {"kind", "what", "remedy"} == value["warnings"][0].keys()
    assert {"how", "images"} == value["leaks"][0].keys()
    assert {"path", "part", "label"} == value["leaks"][0]["images"][0].keys()
    assert (57, {"train": 12, "val": 5}) == (value["images"], value["classes"]["ant"])
    assert (str(Path("mine/report.html")), None) == (value["html"], value["manifest"])
    assert value == json.loads(Path("mine/findings.json").read_text())


def test_clean_images_are_said_to_be_clean(capfd: pytest.CaptureFixture[str]) -> None:
    write_scenes(Path("p/ant"), range(3))
    write_scenes(Path("p/bee"), range(20, 23))
    assert 0 == main(["check", "p", "--strict", "--no-near"])
    said = capfd.readouterr().out
    assert "warnings" not in said
    assert "--fix" not in said
    assert "clean" in Path("checks/p-1/report.html").read_text(encoding="utf-8")


def test_names_cannot_harm_the_terminal(capfd: pytest.CaptureFixture[str]) -> None:
    write_scenes(Path("p/a\x1b[31m"), range(3))
    write_scenes(Path("p/bee"), range(3))
    Image.fromarray(scene(50)).save("p/bee/x\x1b]0;y\x07.png")
    assert 0 == main(["check", "p"])
    assert "\x1b" not in capfd.readouterr().out


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["check"], 2, "needs DATA"),
        (["check", "nowhere"], 3, "no such file or folder"),
        (["check", "p", "--seed", "-1"], 2, "--seed"),
        (["check", "p", "--fix", "clean.json"], 2, "CSV"),
    ],
)
def test_mistakes_are_one_message(words: list[str], code: int, message: str, capfd: pytest.CaptureFixture[str]) -> None:
    write_scenes(Path("p/ant"), range(2))
    write_scenes(Path("p/bee"), range(20, 22))
    assert code == main(words)
    assert message in capfd.readouterr().err
    assert not Path("checks").exists()
