"""The front door tells the truth: every command in the README runs, and its map is the tree."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image
from small_photos import stripes, write_photos

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")


FENCED = re.findall(r"^```(\w*)\n(.*?)^```$", README, re.M | re.S)


def stories() -> list[list[tuple[str, str]]]:
    """The page's examples; those that name the same run or file are one story, in the order of the page."""
    told: list[tuple[set[str], list[int]]] = []
    for place, (language, text) in enumerate(FENCED):
        if language in ("sh", "python"):
            names, places = set(re.findall(r"runs/\w+|\w+\.safetensors|\w+\.npz", text)), [place]
            for story in [story for story in told if story[0] & names]:
                told.remove(story)
                names, places = names | story[0], places + story[1]
            told.append((names, places))
    return [[FENCED[place] for place in sorted(places)] for _, places in told]


@pytest.fixture
def somewhere(tmp_path: Path) -> Path:
    """A folder as a newcomer has it: photos, and a new one."""
    write_photos(tmp_path / "photos", per_class=6)
    write_photos(tmp_path / "more-photos", per_class=3, first=50)
    Image.fromarray(stripes(1, 99, (120, 90))).save(tmp_path / "new.jpg")
    return tmp_path


def run(words: list[str], folder: Path) -> None:
    environment = {
        **os.environ,
        "VITREOUS_CACHE": str(folder / "cache"),
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
    }
    ran = subprocess.run(words, cwd=folder, env=environment, capture_output=True, text=True, timeout=400, check=False)
    assert 0 == ran.returncode, f"{' '.join(words)}\n{ran.stdout}\n{ran.stderr}"


STORIES = stories()


@pytest.mark.parametrize("story", STORIES, ids=[text.splitlines()[0][:40] for (_, text), *_ in STORIES])
def test_every_command_and_every_example_runs(somewhere: Path, story: list[tuple[str, str]]) -> None:
    """In the order of the page, in one folder for what belongs together, as written."""
    for language, text in story:
        if language == "python":
            run([sys.executable, "-c", text], somewhere)
            continue
        for line in text.strip().splitlines():
            assert line.startswith("vitreous "), line
            run(["bash", "-c", line], somewhere)


def test_no_example_is_left_out() -> None:
    """Every fenced command or program of the page belongs to exactly one story."""
    told = sorted(part for story in STORIES for part in story)
    assert told == sorted(part for part in FENCED if part[0] in ("sh", "python"))
    assert len(told) >= 5


def test_the_two_commands_are_targets_of_the_makefile() -> None:
    """`make demo` and `make test` exist, and continuous integration calls the second."""
    assert shutil.which("make")
    for target in ("demo", "test"):
        dry = subprocess.run(["make", "-n", target], cwd=ROOT, capture_output=True, text=True, check=False)
        assert 0 == dry.returncode, dry.stderr
    assert "make test" in (ROOT / ".ci" / "run").read_text()


def test_the_map_is_the_tree() -> None:
    """Every file of the package stands in the map with a phrase, and nothing else does."""
    block = next(text for _, text in FENCED if text.startswith("vitreous/\n"))
    listed, folder = set(), ""
    for line in block.splitlines()[1:]:
        match = re.fullmatch(r"( +)(\S+)(?: {2,}(\S.*))?", line)
        assert match, line
        if match[2].endswith("/"):
            folder = match[2]
            continue
        assert match[3], f"{match[2]} has no phrase"
        listed.add((folder if len(match[1]) > 2 else "") + match[2])
    files = {str(p.relative_to(ROOT / "vitreous")) for p in (ROOT / "vitreous").rglob("*.py") if p.stat().st_size}
    assert files == listed
