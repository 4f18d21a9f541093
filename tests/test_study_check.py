"""`check` finds every planted fault and no other, shows it on a page, and writes a list that is clean."""

from __future__ import annotations

import gc
import html
import json
import os
import re
import shutil
import weakref
from pathlib import Path

import numpy as np
import pytest
from flawed_photos import Flaws, scene, write_flawed, write_scenes
from PIL import Image
from tar_shards import write_striped_shards

import vitreous as vt
from vitreous.data.imageset import ImageSet, array_set
from vitreous.data.sources import open_images
from vitreous.errors import ResourceError, UsageError
from vitreous.results import CheckResult, ImageGroup, ShuffleTest
from vitreous.schema import to_json
from vitreous.study import check as room
from vitreous.study.check import check, free_folder, next_commands


@pytest.fixture(scope="module")
def flawed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Flaws]:
    folder = tmp_path_factory.mktemp("flawed") / "photos"
    return folder, write_flawed(folder)


@pytest.fixture(autouse=True)
def own_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VITREOUS_CACHE", str(tmp_path / "cache"))


def below(folder: Path, groups: tuple[ImageGroup, ...]) -> set[frozenset[str]]:
    return {frozenset(Path(image.path).relative_to(folder).as_posix() for image in group.images) for group in groups}


def test_every_planted_fault_is_found_and_no_other(flawed: tuple[Path, Flaws]) -> None:
    """Precision and recall are 1 for every kind."""
    folder, truth = flawed
    found = check(folder)
    assert truth.unreadable == {Path(item.path).relative_to(folder).as_posix() for item in found.unreadable}
    assert truth.equal == below(folder, found.duplicates)
    assert truth.near == below(folder, found.near)
    assert truth.leaks == below(folder, found.leaks)
    assert truth.conflicts == below(folder, found.conflicts)
    assert truth.odd == {(Path(image.path).relative_to(folder).as_posix(), image.kind) for image in found.odd}
    how = {frozenset(Path(image.path).name for image in group.images): group.how for group in found.duplicates}
    assert "pixels" == how.pop(frozenset({"0.png", "again.bmp"}))
    assert {"bytes"} == set(how.values())
    assert 57 == found.images
    assert {"train": 16, "val": 5} == found.classes["cow"]
    assert found.faulty
    assert {"odd images"} == {concern.kind for concern in found.warnings}


def test_the_same_is_found_a_second_time_and_without_near_pictures(flawed: tuple[Path, Flaws]) -> None:
    def lasting(found: CheckResult) -> dict[str, object]:
        return {key: value for key, value in to_json(found).items() if key != "seconds"}

    folder, _ = flawed
    first = check(folder)
    assert lasting(first) == lasting(check(folder))
    without = check(folder, near=False)
    assert () == without.near
    assert 1 == len(without.leaks)
    assert first.duplicates == without.duplicates


def snapshot(folder: Path) -> dict[str, tuple[int, bytes]]:
    return {str(path): (path.stat().st_mtime_ns, path.read_bytes()) for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("beside", [True, False])
def test_the_clean_list_is_clean_and_touches_no_image(flawed: tuple[Path, Flaws], tmp_path: Path, beside: bool) -> None:
    folder, truth = flawed
    before = snapshot(folder)
    listed = (folder.parent if beside else tmp_path) / "clean.csv"
    found = check(folder, fix=listed)
    assert before == snapshot(folder)
    again = check(listed)
    assert ((), (), (), ()) == (again.unreadable, again.duplicates, again.leaks, again.conflicts)
    lost = 57 - again.images
    assert found.kept == again.images
    # three unreadable, two conflicting, one of each other equal pair, and the near picture of train
    assert 3 + 2 + 3 + 1 == lost
    names = listed.read_text().splitlines()
    assert any(line.endswith("/val/cow/leak.png,cow,val") for line in names)
    assert not any("/train/cow/0.png" in line or "/train/ant/1.png" in line or "says-cow" in line for line in names)
    assert len(truth.near) - 1 == len(again.near)
    assert found.classes.keys() == again.classes.keys()


def test_the_page_shows_it_and_a_file_name_cannot_harm_it(tmp_path: Path) -> None:
    evil = "<img src=x onerror=alert(1)>"
    write_scenes(tmp_path / "p" / evil, range(3))
    write_scenes(tmp_path / "p" / "bee", range(20, 24))
    shutil.copy(tmp_path / "p" / "bee" / "0.png", tmp_path / "p" / evil / f"{evil} & \u202egnp.png")
    (tmp_path / "p" / "bee" / "<b>cut<b>.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    found = check(tmp_path / "p", out=tmp_path / "out" / "deep")
    page = (tmp_path / "out" / "deep" / "report.html").read_text(encoding="utf-8")
    assert found.html == str(tmp_path / "out" / "deep" / "report.html")
    assert "<img src=x" not in page
    assert "<b>cut" not in page
    assert "\u202e" not in page
    assert html.escape(evil) in page
    assert 4 == page.count('src="data:image/'), "the pair among conflicts and among duplicates"
    assert not re.search(r'(?:src|href)="(?!data:|#)', page)
    assert to_json(found) == json.loads((tmp_path / "out" / "deep" / "findings.json").read_text())
    check(tmp_path / "p", out=tmp_path / "out" / "deep")  # its own page may be written again


def test_pages_stay_small_and_name_the_rest(tmp_path: Path) -> None:
    write_scenes(tmp_path / "p/ant", range(14))
    write_scenes(tmp_path / "p/bee", range(14))
    for copy in range(8):
        shutil.copy(tmp_path / "p/ant/0.png", tmp_path / f"p/ant/{copy}-again.png")
    found = check(tmp_path / "p", out=tmp_path / "out")
    page = (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    assert 14 == len(found.conflicts) == len(found.duplicates)
    assert 2 * (4 + 7 * 2) == page.count('src="data:image/')
    assert "6 more, by name" in page
    assert len(page) < 600_000


def test_pictures_in_memory_are_checked_too() -> None:
    pixels = np.stack([scene(number, (40, 50)) for number in (1, 2, 3, 1)])
    found = vt.check(array_set("scenes", pixels, np.array([0, 1, 0, 1]), ["a", "b"]))
    assert ["scenes/00000", "scenes/00003"] == [image.path for image in found.conflicts[0].images]
    assert ("a", "b") == tuple(image.label for image in found.conflicts[0].images)


def test_small_pictures_are_not_compared_by_their_looks_and_that_is_said() -> None:
    found = check(open_images("digits").subset(range(300)))
    assert (300, 10, (), ()) == (found.images, len(found.classes), found.near, found.odd)
    assert any("too small" in note for note in found.notes)


def test_the_shuffle_test_is_part_of_the_answer(tmp_path: Path) -> None:
    digits = open_images("digits").subset(range(450), "digits")
    found = check(digits, shuffle_test=True, out=tmp_path / "out")
    assert found.shuffle_test is not None
    assert found.shuffle_test.passed
    assert "shuffled" in (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    assert "labels" not in {concern.kind for concern in found.warnings}


def test_too_little_for_the_shuffle_test_is_told_beside_what_was_found(tmp_path: Path) -> None:
    write_scenes(tmp_path / "p/ant", range(4))
    shutil.copy(tmp_path / "p/ant/0.png", tmp_path / "p/ant/again.png")
    found = check(tmp_path / "p", shuffle_test=True)
    assert (None, 1) == (found.shuffle_test, len(found.duplicates))
    (told,) = (concern.what for concern in found.warnings if concern.kind == "labels")
    assert "two classes" in told


@pytest.mark.parametrize(
    ("name", "message"),
    [("clean.txt", "CSV"), ("nowhere/clean.csv", "no folder"), ("p.csv", "over the data itself")],
)
def test_a_list_that_cannot_be_written_is_refused_first(tmp_path: Path, name: str, message: str) -> None:
    write_scenes(tmp_path / "p/ant", range(3))
    write_scenes(tmp_path / "p/bee", range(20, 23))
    (tmp_path / "p.csv").write_text("path,label\np/ant/0.png,a\np/bee/0.png,b\np/ant/1.png,a\np/bee/1.png,b\n")
    with pytest.raises(UsageError, match=message):
        check(tmp_path / "p.csv", fix=tmp_path / name)


def test_a_table_in_the_folder_of_the_data_is_not_written_over(tmp_path: Path) -> None:
    write_scenes(tmp_path / "p/ant", range(3))
    write_scenes(tmp_path / "p/bee", range(20, 23))
    table = tmp_path / "p" / "notes.csv"
    assert 6 == check(tmp_path / "p", fix=table).kept
    table.write_text("mine")
    with pytest.raises(UsageError, match="over the data itself"):
        check(tmp_path / "p", fix=table)
    assert "mine" == table.read_text()


def test_no_secret_of_an_address_reaches_the_page(tmp_path: Path) -> None:
    write_scenes(tmp_path / "p/ant", range(2))
    typed = "vitreous check 'https://name:word@host/a.tar?token=hush77' --no-near"
    check(tmp_path / "p", out=tmp_path / "out", command=typed)
    page = (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    assert "a.tar" in page
    assert "name:word" not in page
    assert "hush77" not in page


def test_images_that_are_no_files_cannot_be_listed(tmp_path: Path) -> None:
    write_striped_shards(tmp_path / "s", "train-", 1, 6)
    for data in (tmp_path / "s", "digits"):
        with pytest.raises(UsageError, match="no files of their own"):
            check(data, fix=tmp_path / "clean.csv")
    assert not (tmp_path / "clean.csv").exists()


def test_no_list_is_proposed_for_images_that_cannot_be_listed(tmp_path: Path) -> None:
    """The same copies, in a folder and in an archive."""
    for label, number in (("ant", 1), ("bee", 20)):
        write_scenes(tmp_path / "p" / label, range(number, number + 3))
    shutil.copy(tmp_path / "p/ant/1.png", tmp_path / "p/ant/copy.png")
    shutil.make_archive(str(tmp_path / "q"), "zip", tmp_path / "p")
    for name, proposed in (("p", True), ("q.zip", False)):
        found = check(tmp_path / name, out=tmp_path / f"out-{name}")
        assert 1 == len(found.duplicates)
        assert proposed == any("--fix" in step.text for step in next_commands(found))
        page = (tmp_path / f"out-{name}" / "report.html").read_text(encoding="utf-8")
        assert proposed == ("--fix" in page) == ("clean list" in page)
        assert not proposed or "Keep one of each" not in page


def test_a_list_can_be_written_though_its_first_image_is_gone(tmp_path: Path) -> None:
    write_scenes(tmp_path / "p/ant", range(3))
    write_scenes(tmp_path / "p/bee", range(20, 23))
    data = open_images(tmp_path / "p")
    Path(data.ids[0]).unlink()
    assert 5 == check(data, fix=tmp_path / "clean.csv").kept


def test_a_folder_with_other_things_in_it_is_left_alone(tmp_path: Path) -> None:
    write_scenes(tmp_path / "p/ant", range(2))
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.tex").write_text("years")
    with pytest.raises(UsageError, match="not empty"):
        check(tmp_path / "p", out=tmp_path / "mine")
    with pytest.raises(ResourceError):
        check(tmp_path / "p", out=tmp_path / "mine" / "thesis.tex" / "sub")
    assert ["thesis.tex"] == os.listdir(tmp_path / "mine")


def test_the_folder_is_the_first_that_is_free(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert Path("checks/my-photos-1") == Path(free_folder("data/my photos/"))
    (tmp_path / "checks" / "my-photos-1").mkdir(parents=True)
    assert Path("checks/my-photos-2") == Path(free_folder("data/my photos/"))
    (tmp_path / "a.csv").touch()
    assert Path("checks/a-1") == Path(free_folder("a.csv"))
    assert Path("checks/data-1") == Path(free_folder("/"))
    assert Path("checks/a.tar-1") == Path(free_folder("https://name:word@host/a.tar?token=hush77"))


def test_an_image_that_goes_away_meanwhile_is_named_and_not_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_scenes(tmp_path / "p/ant", range(3))
    write_scenes(tmp_path / "p/bee", range(3))
    keep = room._result

    def then_lose(name: str, found: room._Found, tested: ShuffleTest | None, began: float) -> CheckResult:
        result = keep(name, found, tested, began)
        (tmp_path / "p/ant/1.png").unlink()
        return result

    monkeypatch.setattr(room, "_result", then_lose)
    check(tmp_path / "p", out=tmp_path / "out")
    page = (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    assert "ant/<wbr>1.png" in page
    assert 2 * 5 == page.count('src="data:image/')


def test_images_are_not_held_in_memory() -> None:
    """At most a few chunks of 16 are alive at once, however many there are."""
    alive: set[int] = set()
    most = 0

    def read(place: int) -> np.ndarray:
        nonlocal most
        pixels = np.array(scene(place, (40, 50)))
        alive.add(place)
        weakref.finalize(pixels, alive.discard, place)
        most = max(most, len(alive))
        return pixels

    images = ImageSet("many", ("a", "b"), [str(place) for place in range(240)], np.arange(240) % 2, read)
    assert 240 == check(images).images
    gc.collect()
    assert most <= 16 * (os.cpu_count() or 1)
    assert not alive


def test_classes_and_frames_are_told(tmp_path: Path) -> None:
    for film in (1, 2, 3):
        for frame in range(4):
            target = tmp_path / "p/train" / ("ant", "bee")[film % 2] / f"vid{film}_{frame:04d}.png"
            target.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(scene(100 * film + frame)).save(target)
    write_scenes(tmp_path / "p/val/Ant ", range(2))
    found = check(tmp_path / "p")
    assert {"class names", "frames"} == {concern.kind for concern in found.warnings}
    assert {
        "ant": {"train": 4, "val": 0},
        "bee": {"train": 8, "val": 0},
        "Ant ": {"train": 0, "val": 2},
    } == found.classes
