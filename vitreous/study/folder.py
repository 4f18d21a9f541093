"""The folder in which a result is written, made before anything slow."""

from __future__ import annotations

from pathlib import Path

from vitreous.errors import UsageError
from vitreous.files import cannot_write


def result_folder(folder: Path, *marks: str) -> Path:
    """The folder, made; one that holds something else than an earlier result is refused.

    Args:
        folder: where a result is to be written.
        marks: files by which an earlier result is known; one of them is enough.

    Raises:
        UsageError: there is something else.
        ResourceError: it cannot be made.
    """
    try:
        if folder.exists() and any(folder.iterdir()) and not any((folder / mark).exists() for mark in marks):
            raise UsageError("the folder is not empty", where=str(folder), remedy="--out FOLDER that is not there yet")
        folder.mkdir(parents=True, exist_ok=True)
    except (OSError, ValueError) as error:  # ValueError: a name with a zero byte
        raise cannot_write(folder, 0, error) from error
    return folder
