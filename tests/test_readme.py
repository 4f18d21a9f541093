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


@pytest.fixture(scope="module")
def somewhere(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder as a newcomer has it: photos, and a new one."""
    folder = tmp_path_factory.mktemp("newcomer")
    write_photos(folder / "photos", per_class=6)
    write_photos(folder / "more-photos", per_class=3, first=50)
    Image.fromarray(stripes(1, 99, (120, 90))).save(folder / "new.jpg")
    return folder


def run(words: list[str], folder: Path) -> None:
    environment = {
        **os.environ,
        "VITREOUS_CACHE": str(folder / "cache"),
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
    }
    ran = subprocess.run(words, cwd=folder, env=environment, capture_output=True, text=True, timeout=400, check=False)
    assert 0 == ran.returncode, f"{' '.join(words)}\n{ran.stdout}\n{ran.stderr}"


def test_every_command_and_every_example_runs(somewhere: Path) -> None:
    """In the order of the page, in one folder, as written."""
    in_order = [(language, text) for language, text in FENCED if language in ("sh", "python")]
    assert len(in_order) >= 5
    for language, text in in_order:
        if language == "python":
            run([sys.executable, "-c", text], somewhere)
            continue
        for line in text.strip().splitlines():
            assert line.startswith("vitreous "), line
            run(["bash", "-c", line], somewhere)


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
