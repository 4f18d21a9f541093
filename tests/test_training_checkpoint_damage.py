"""A checkpoint that was cut, flipped or forged is noticed, told, and never half used."""

from __future__ import annotations

import hashlib
import json
import os
import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from small_states import assert_is, flip, names, state_of

from vitreous.errors import ModelFileError
from vitreous.training.saving import checkpoint


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "run" / "checkpoints"


def content(path: Path) -> list[Path]:
    """Every file of a checkpoint, one in a subfolder among them."""
    return sorted(file for file in path.rglob("*") if file.is_file())


@pytest.fixture
def two(folder: Path) -> Path:
    """Two checkpoints, the newer one with shards too."""
    checkpoint.write(folder, state_of(1))
    with checkpoint.writing(folder, 2) as temporary:
        checkpoint.write_files(temporary, state_of(2))
        (temporary / "shards").mkdir()
        (temporary / "shards" / "__0_0.distcp").write_bytes(bytes(range(256)) * 3)
    return folder


def test_one_flipped_bit_anywhere_is_noticed_and_the_one_before_used(two: Path) -> None:
    """Fifty places in every file, the manifest included, each tried and put back."""
    newest, dice = two / "step-00000002", random.Random(4)
    files = content(newest)
    assert 6 == len(files)
    for file in files:
        size = file.stat().st_size
        for place in [0, size - 1, *(dice.randrange(size) for _ in range(48))]:
            bit = dice.randrange(8)
            flip(file, place, bit)
            state, complaints = checkpoint.read_latest(two)
            assert_is(state, 1)
            assert 1 == len(complaints), (file, place, bit)
            assert complaints[0].startswith("checkpoint step-00000002 is damaged and skipped: ")
            flip(file, place, bit)
    state, complaints = checkpoint.read_latest(two)
    assert state is not None
    assert (2, []) == (state.step, complaints)


def test_every_bit_of_the_manifest_is_covered(folder: Path) -> None:
    """All of them: version, writer, environment and its own seal too, none of which stands in another digest."""
    path = checkpoint.write(folder, state_of(1)) / "manifest.json"
    text = path.read_bytes()
    for place in range(len(text)):
        damaged = bytearray(text)
        damaged[place] ^= 1 << (place * 5 % 8)
        path.write_bytes(damaged)
        assert "manifest" in str(checkpoint.check(path.parent))
    path.write_bytes(text)
    assert checkpoint.check(path.parent) is None


@pytest.mark.parametrize("cut", [0, 1, 8, "half", "last"])
def test_any_file_cut_short_is_noticed_and_the_one_before_used(two: Path, cut: int | str) -> None:
    for file in content(two / "step-00000002"):
        whole = file.read_bytes()
        os.truncate(file, {"half": len(whole) // 2, "last": len(whole) - 1}.get(cut, cut))  # type: ignore[arg-type]
        state, complaints = checkpoint.read_latest(two)
        assert_is(state, 1)
        assert 1 == len(complaints)
        file.write_bytes(whole)
    assert [] == checkpoint.read_latest(two)[1]


def test_with_none_whole_it_is_an_error_that_lists_them(two: Path) -> None:
    """Exit code 4; nothing is silently begun again."""
    for path in checkpoint.found(two):
        os.truncate(path / "model.safetensors", 10)
    with pytest.raises(
        ModelFileError, match=r"(?s)every checkpoint.*step-00000002.*model.*step-00000001.*--run"
    ) as caught:
        checkpoint.read_latest(two)
    assert 4 == caught.value.exit_code
    with pytest.raises(ModelFileError, match=r"(?s)the checkpoint is damaged.*model\.safetensors is not what was"):
        checkpoint.read(two / "step-00000001")


def forge(path: Path, change: Callable[[dict[str, Any]], object]) -> None:
    """The manifest changed, under a correct seal."""
    file = path / "manifest.json"
    manifest = json.loads(file.read_bytes())
    change(manifest)
    manifest["seal"] = "0" * 64
    text = json.dumps(manifest, indent=1).encode()
    file.write_bytes(text.replace(b"0" * 64, hashlib.sha256(text).hexdigest().encode(), 1))


OUTSIDE = {"bytes": 6, "sha256": hashlib.sha256(b"secret").hexdigest()}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda m: m["files"].update({"../../../secret": OUTSIDE}), "do not match the manifest: ../../../secret"),
        (lambda m: m["files"].update({"/etc/hostname": OUTSIDE}), "do not match the manifest: /etc/hostname"),
        (lambda m: m["files"].update(extra=OUTSIDE), "do not match the manifest: extra"),
        (lambda m: m["files"].pop("average.safetensors"), "do not match the manifest: average.safetensors"),
        (lambda m: m["files"].update({"state.json": 5}), "its manifest is not what was written"),
        (lambda m: m["files"]["state.json"].update(sha256=None), "state.json is not what was written"),
        (lambda m: m["files"]["state.json"].pop("bytes"), "state.json is not what was written"),
        (lambda m: m.update(files=[1]), "its manifest cannot be read"),
        (lambda m: m.pop("files"), "its manifest cannot be read"),
        (lambda m: m.update(format_version="2"), "its manifest is not what was written"),
    ],
)  # fmt: skip
def test_a_manifest_that_lies_under_a_correct_seal_opens_nothing(
    two: Path, monkeypatch: pytest.MonkeyPatch, change: Callable[[dict[str, Any]], object], message: str
) -> None:
    """Files that it names outside the folder are never opened; missing and spare ones are named."""
    (two.parent.parent / "secret").write_text("secret")
    forge(two / "step-00000002", change)
    opened: list[str] = []
    watched = Path.open

    def watching(path: Path, *arguments: Any, **more: Any) -> Any:
        opened.append(str(path))
        return watched(path, *arguments, **more)

    monkeypatch.setattr(Path, "open", watching)
    state, complaints = checkpoint.read_latest(two)
    assert_is(state, 1)
    assert [f"checkpoint step-00000002 is damaged and skipped: {message}"] == [
        line.replace("files do not", "do not") for line in complaints
    ]
    assert not [path for path in opened if "secret" in path or "/etc" in path]


@pytest.mark.parametrize("text", [b"", b"{", b"[]", b"null", b"\xff\xfe", b"[" * 100_000, b'{"files": {}}'])
def test_a_manifest_that_is_none_is_damage(two: Path, text: bytes) -> None:
    (two / "step-00000002" / "manifest.json").write_bytes(text)
    assert_is(checkpoint.read_latest(two)[0], 1)
    (two / "step-00000002" / "manifest.json").unlink()
    assert_is(checkpoint.read_latest(two)[0], 1)


@pytest.mark.parametrize("kind", ["link", "folder link", "pipe", "manifest pipe", "manifest link", "file"])
def test_what_is_no_plain_file_is_damage_and_not_waited_for(two: Path, tmp_path: Path, kind: str) -> None:
    """Links lead elsewhere, and opening a pipe would wait for ever."""
    newest = two / "step-00000002"
    shutil.copytree(newest, tmp_path / "elsewhere")
    if kind.startswith("manifest"):
        (newest / "manifest.json").unlink()
    match kind:
        case "link":
            (newest / "model.safetensors").unlink()
            (newest / "model.safetensors").symlink_to(tmp_path / "elsewhere" / "model.safetensors")
        case "folder link":
            shutil.rmtree(newest / "shards")
            (newest / "shards").symlink_to(tmp_path / "elsewhere" / "shards")
        case "pipe":
            os.mkfifo(newest / "more")
        case "manifest pipe":
            os.mkfifo(newest / "manifest.json")
        case "manifest link":
            (newest / "manifest.json").symlink_to(tmp_path / "elsewhere" / "manifest.json")
        case _:
            shutil.rmtree(newest)
            newest.write_text("a file")
    state, complaints = checkpoint.read_latest(two)
    assert_is(state, 1)
    assert 1 == len(complaints)
    checkpoint.write(two, state_of(3), 1)
    assert ["step-00000003"] == names(two)


@pytest.mark.parametrize(
    ("name", "blob", "message"),
    [
        ("state.json", b"{", "cannot be understood"),
        ("state.json", b'{"step": 2, "colour": "red"}', "cannot be understood"),
        ("model.safetensors", b"\x10" + bytes(7) + b"{" * 16, "cannot be understood"),
        ("average.safetensors", None, "cannot be understood"),
    ],
)
def test_content_that_lies_under_a_correct_manifest_is_damage(
    folder: Path, name: str, blob: bytes | None, message: str
) -> None:
    checkpoint.write(folder, state_of(1))
    with checkpoint.writing(folder, 2) as temporary:
        checkpoint.write_files(temporary, state_of(2))
        (temporary / name).unlink()
        if blob is not None:
            (temporary / name).write_bytes(blob)
    state, complaints = checkpoint.read_latest(folder)
    assert_is(state, 1)
    assert message in complaints[0]


def test_a_checkpoint_under_another_name_is_damage(folder: Path) -> None:
    path = checkpoint.write(folder, state_of(1))
    path.rename(folder / "step-00000002")
    with pytest.raises(ModelFileError, match="it is of step 1, which its name does not say"):
        checkpoint.read_latest(folder)


def test_a_later_format_is_told_and_not_passed_over(two: Path) -> None:
    """Going back to an older checkpoint instead would throw work away."""
    forge(two / "step-00000002", lambda manifest: manifest.update(format_version=3, vitreous="9.8.7"))
    with pytest.raises(
        ModelFileError, match=r"(?s)written by vitreous 9\.8\.7, in format 3; this one reads 2.*upgrade"
    ):
        checkpoint.read_latest(two)
    with pytest.raises(ModelFileError, match="upgrade"):
        checkpoint.read(two / "step-00000002")
