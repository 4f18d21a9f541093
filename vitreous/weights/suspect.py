"""What a file that should be a model, but is not, most likely is instead: the words for the error."""

from __future__ import annotations

import difflib
import zipfile
from pathlib import Path

_MAGIC: tuple[tuple[bytes, str], ...] = (
    (b"\x89HDF", "this is an HDF5 file, as Keras writes"),
    (b"\x93NUMPY", "this is a single NumPy array (.npy)"),
    (b"\x1f\x8b", "this is a gzip archive"),
    (b"version https://git-lfs", "this is a Git LFS pointer, not the weights: run `git lfs pull`"),
    (b"\xff\xd8\xff", "this is a JPEG picture"),
    (b"\x89PNG", "this is a PNG picture"),
    (b"GGUF", "this is a GGUF file"),
)


def likely_kind(path: Path, head: bytes, size: int) -> str:
    """In one clause, what a file that is not safetensors seems to be.

    Args:
        path: for archives, whose table of contents tells more.
        head: its first bytes, some hundreds where there are as many.
        size: of the file in bytes.
    """
    if size == 0:
        return "the file is empty"
    for magic, words in _MAGIC:
        if head.startswith(magic):
            return words
    if head.startswith(b"PK\x03\x04"):
        return _archive(path)
    if path.suffix.lower() == ".onnx":
        return "this is an ONNX graph, which is run and not loaded; the files that it names are not opened"
    if head[:1] == b"\x80" and head[1:2] in b"\x02\x03\x04\x05":
        return "this is a Python pickle, as old versions of PyTorch wrote"
    if head.lstrip()[:1] == b"<":
        return "this is a web page: the download probably failed"
    if not any(head):
        return "it begins with nothing but zeros: a write or a download was cut short"
    if _is_text(head):
        return "this is a text file"
    return "it does not begin as a safetensors file does: it is damaged, or of another kind"


def nearest_path(path: Path) -> str | None:
    """A hint for a path that does not exist: the nearest name beside it, or the part of it that is missing.

    Args:
        path: what was typed.
    """
    if not path.parent.is_dir():
        return f"there is no folder {path.parent} either"
    close = difflib.get_close_matches(path.name, sorted(entry.name for entry in path.parent.iterdir()), n=1)
    return f"did you mean {path.with_name(close[0])}?" if close else None


def _archive(path: Path) -> str:
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except (OSError, zipfile.BadZipFile):
        return "this is a zip archive, and a damaged one"
    if any(name.endswith("data.pkl") for name in names):
        return "this is a PyTorch pickle, as torch.save writes"
    if names and all(name.endswith(".npy") for name in names):
        return "this is a NumPy archive (.npz)"
    return "this is a zip archive"


def _is_text(head: bytes) -> bool:
    try:
        text = head.decode("utf-8")
    except UnicodeDecodeError as error:
        if error.start < len(head) - 4:  # a character cut in two at the end is no sign of anything
            return False
        text = head[: error.start].decode("utf-8")
    return all(letter.isprintable() or letter in "\r\n\t" for letter in text)
