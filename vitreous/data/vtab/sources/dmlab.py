"""DMLab: frames of DeepMind Lab, from the records that its authors publish. Key: an image's file name.

tensorflow_datasets/image_classification/dmlab.py: filename, image (a JPEG of 360 x 480) and label.
"""

from __future__ import annotations

import mmap
from pathlib import Path

import numpy as np
from jaxtyping import UInt8

from vitreous.data.imageset import ImageSet, fingerprint
from vitreous.data.vtab.parts import Parts
from vitreous.data.vtab.sources.tf_records import RecordError, Span, records, single_values
from vitreous.data.vtab.sources.whole import folders, whole
from vitreous.data.words import natural_key
from vitreous.errors import DataError
from vitreous.picture.decode import decode
from vitreous.published.vtab import VtabTask

_SPLITS = ("train", "validation", "test")
_CLASSES = tuple(f"label {label}" for label in range(6))
"""Close, far and very far, each of positive or negative reward; which is which was not published."""


def open_dmlab(root: Path, task: VtabTask) -> Parts | None:
    """The six classes of distance and reward, from dmlab-train.tfrecord and so on.

    Args:
        root: the folder of data sets.
        task: dmlab.

    Raises:
        DataError: files are missing or damaged.
    """
    for folder in folders(root, task):
        files = {split: _files(folder, split) for split in _SPLITS}
        if not any(files.values()):
            continue
        splits, keys = {}, {}
        for split, paths in files.items():
            if not paths:
                raise DataError(
                    f"dmlab-{split}.tfrecord is missing", where=str(folder), remedy="unpack dmlab.tar.gz again"
                )
            splits[split], keys[split] = _split(split, paths)
        return whole(task, splits, keys, f"raw files in {folder}")
    return None


def _files(folder: Path, split: str) -> list[Path]:
    found = (path for path in folder.glob(f"dmlab-{split}.tfrecord*") if path.is_file())
    return sorted(found, key=lambda path: natural_key(path.name))


def _split(split: str, paths: list[Path]) -> tuple[ImageSet, list[str]]:
    spans: list[tuple[memoryview, Span]] = []
    keys: list[str] = []
    labels: list[int] = []
    for path in paths:
        try:
            with path.open("rb") as file:
                content = memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
            for span in records(content):
                key, label, image = _example(content, span)
                keys.append(key)
                labels.append(label)
                spans.append((content, image))
        except (OSError, ValueError) as error:  # an empty file cannot be mapped
            raise DataError(
                "this is no whole file of DMLab's records",
                where=str(path),
                why=str(error),
                remedy="unpack dmlab.tar.gz again",
            ) from error

    def encoded(index: int) -> bytes:
        content, (start, end) = spans[index]
        return bytes(content[start:end])

    def read(index: int) -> UInt8[np.ndarray, "H W 3"]:
        return decode(encoded(index), name=f"dmlab/{split}/{keys[index]}")

    images = ImageSet(
        name=f"dmlab/{split}",
        classes=_CLASSES,
        ids=[f"dmlab/{split}/{key}" for key in keys],
        labels=np.array(labels, np.int64),
        read=read,
        encoded=encoded,
        fingerprint=fingerprint("dmlab", keys, labels, [end - start for _, (start, end) in spans]),
    )
    return images, keys


def _example(content: memoryview, span: Span) -> tuple[str, int, Span]:
    """Key, label and where the image lies."""
    values = single_values(content, span)
    name, label, image = (values.get(each) for each in ("filename", "label", "image"))
    if not isinstance(name, tuple) or not isinstance(label, int) or not isinstance(image, tuple):
        raise RecordError(f"the record at byte {span[0]:,} has no filename, label and image")
    if not 0 <= label < len(_CLASSES):
        raise RecordError(f"the record at byte {span[0]:,} has label {label}")
    return bytes(content[slice(*name)]).decode("utf-8"), label, image
