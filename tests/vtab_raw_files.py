"""VTAB's data sets as their authors publish them, small: every container is written by other code than reads it."""

from __future__ import annotations

import gzip
import io
import json
import pickle
import struct
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np
import scipy.io
from PIL import Image
from vtab_files import write_lists

from vitreous.published.vtab import find_task


@dataclass(frozen=True)
class Stored:
    """One image as it was written."""

    key: str
    """What TensorFlow Datasets calls it."""
    label: int
    pixels: np.ndarray | None = None
    """RGB; None where it is packed with loss."""


Written = dict[str, list[Stored]]
"""By what TensorFlow Datasets calls the split, the images in the order of the container."""

EUROSAT = "AnnualCrop Forest HerbaceousVegetation Highway Industrial Pasture PermanentCrop Residential River SeaLake"


def write_task(root: Path, name: str, counts: tuple[int, int, int] = (40, 12, 16), *, prepared: bool = True) -> Written:
    """The raw files of one task below a root, with about so many images to train, choose and test with.

    Data sets of many classes have at least an image of each. Files that serve two tasks are written for the first and
    then again, the same. DMLab, which has no raw files, is written as VTAB-1k's lists.

    Args:
        root: the folder of data sets.
        name: of the task.
        counts: of images in train, val and test; all that is cut from one split has their sum.
        prepared: whether retinas are written as prepared images, which are fast to read, or as photographs.
    """
    if name == "retinopathy":
        return _retinopathy(root / "diabetic-retinopathy-detection", counts, prepared)
    if name == "dmlab":
        labels = [[place % 6 for place in range(count)] for count in counts]
        write_lists(root / "vtab-1k" / "dmlab", dict(zip(("train800", "val200", "test"), labels, strict=True)))
        return {}
    return _WRITERS[name](root, counts)


def picture(label: int, number: int, height: int, width: int) -> np.ndarray:
    """RGB noise around a colour that tells the label, so that there is something to learn."""
    colour = np.random.default_rng([7, label]).integers(40, 216, 3)
    noise = np.random.default_rng([label, number]).integers(-30, 31, (height, width, 3))
    return (colour + noise).astype(np.uint8)


def packed(pixels: np.ndarray, form: str = "JPEG") -> bytes:
    """The image as a file."""
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, form)
    return file.getvalue()


def _labelled(count: int, classes: int, first: int = 0) -> list[int]:
    """Labels that take turns, in an order that no two neighbouring classes share."""
    return [(first + place) * 7 % classes for place in range(count)]


def _put(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)


def _cifar100(root: Path, counts: tuple[int, int, int]) -> Written:
    folder, written = root / "cifar-100-python", Written()
    folder.mkdir(parents=True, exist_ok=True)
    for split, count in {"train": counts[0] + counts[1], "test": counts[2]}.items():
        labels = _labelled(count, 100, len(split))
        images = [picture(label, place, 32, 32) for place, label in enumerate(labels)]
        data = np.stack(images).transpose(0, 3, 1, 2).reshape(count, 3072)
        (folder / split).write_bytes(
            pickle.dumps({b"data": data, b"fine_labels": labels, b"coarse_labels": [0] * count}, protocol=2)
        )
        written[split] = [Stored(str(p), label, images[p]) for p, label in enumerate(labels)]
    (folder / "meta").write_bytes(
        pickle.dumps({b"fine_label_names": [b"class %d" % n for n in range(100)]}, protocol=2)
    )
    return written


def _svhn(root: Path, counts: tuple[int, int, int]) -> Written:
    folder, written = root / "svhn", Written()
    folder.mkdir(parents=True, exist_ok=True)
    for split, count in {"train": counts[0] + counts[1], "test": counts[2]}.items():
        labels = _labelled(count, 10, len(split))
        images = [picture(label, place, 32, 32) for place, label in enumerate(labels)]
        ten = np.array([label or 10 for label in labels], np.uint8)[:, None]
        scipy.io.savemat(folder / f"{split}_32x32.mat", {"X": np.stack(images, axis=3), "y": ten}, do_compression=True)
        written[split] = [Stored(str(p), label, images[p]) for p, label in enumerate(labels)]
    return written


NORB = {"train": "smallnorb-5x46789x9x18x6x2x96x96-training", "test": "smallnorb-5x01235x9x18x6x2x96x96-testing"}


def norb_bytes(values: np.ndarray) -> bytes:
    """An array as smallNORB's authors store it."""
    magic = {"uint8": 0x1E3D4C55, "int32": 0x1E3D4C54}[values.dtype.name]
    sides = [*values.shape, *[1] * (3 - values.ndim)]
    return (
        struct.pack(f"<II{len(sides)}i", magic, values.ndim, *sides)
        + values.astype(values.dtype.newbyteorder("<")).tobytes()
    )


def _smallnorb(azimuth: bool) -> Callable[[Path, tuple[int, int, int]], Written]:
    def write(root: Path, counts: tuple[int, int, int]) -> Written:
        folder, written = root / "smallnorb", Written()
        folder.mkdir(parents=True, exist_ok=True)
        for split, count in {"train": counts[0], "test": counts[1] + counts[2]}.items():
            rng = np.random.default_rng(len(split))
            pairs = rng.integers(0, 256, (count, 2, 96, 96)).astype(np.uint8)
            info = np.stack([rng.integers(0, sides, count) for sides in (10, 9, 18, 6)], axis=1).astype(np.int32)
            pairs[:, 0, :8, :] = (info[:, 1] * 20)[:, None, None]
            pairs[:, 0, 8:16, :] = (info[:, 2] * 13)[:, None, None]
            info[:, 2] *= 2
            for what, values in {"dat": pairs, "info": info, "cat": info[:, 0] % 5}.items():
                content = norb_bytes(np.ascontiguousarray(values))
                packed_too = split == "test" and what != "cat"
                name = folder / f"{NORB[split]}-{what}.mat{'.gz' if packed_too else ''}"
                name.write_bytes(gzip.compress(content, 1) if packed_too else content)
            labels = info[:, 2] // 2 if azimuth else info[:, 1]
            written[split] = [Stored(str(p), int(labels[p]), np.stack([pairs[p, 0]] * 3, axis=2)) for p in range(count)]
        return written

    return write


def _camelyon(root: Path, counts: tuple[int, int, int]) -> Written:
    folder, written = root / "pcam", Written()
    folder.mkdir(parents=True, exist_ok=True)
    for split, part, count in zip(("train", "validation", "test"), ("train", "valid", "test"), counts, strict=True):
        labels = _labelled(count, 2, len(part))
        images = [picture(label, place, 96, 96) for place, label in enumerate(labels)]
        with h5py.File(folder / f"camelyonpatch_level_2_split_{part}_x.h5", "w") as file:
            file.create_dataset("x", data=np.stack(images), chunks=(3, 96, 96, 3), compression="gzip")
        with h5py.File(folder / f"camelyonpatch_level_2_split_{part}_y.h5", "w") as file:
            file.create_dataset("y", data=np.array(labels, np.uint8).reshape(-1, 1, 1, 1))
        written[split] = [Stored(f"{part}_{p}", label, images[p]) for p, label in enumerate(labels)]
    return written


DEPTHS = (7.5, 8.0, 8.25, 8.5, 8.9, 9.0, 9.3, 9.5, 9.7, 10.0, 10.5, 8.0000001)
DEPTH_LABELS = (0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 0)
"""The last is 8 in the precision of TensorFlow Datasets."""


def _clevr(counting: bool) -> Callable[[Path, tuple[int, int, int]], Written]:
    def write(root: Path, counts: tuple[int, int, int]) -> Written:
        folder, written = root / "CLEVR_v1.0", Written()
        for split, part, count in (("train", "train", counts[0] + counts[1]), ("validation", "val", counts[2])):
            scenes, written[split] = [], []
            for place in range(count):
                number, depth = place % 8, place * 5 % len(DEPTHS)
                name = f"CLEVR_{part}_{place:06d}.png"
                pixels = picture(number, place, 20, 30)
                alpha = np.full((20, 30, 1), 255, np.uint8)
                _put(folder / "images" / part / name, packed(np.concatenate([pixels, alpha], axis=2), "PNG"))
                objects = [{"shape": "cube", "pixel_coords": [1, 2, 12.5 + each]} for each in range(number + 3)]
                objects[place % len(objects)]["pixel_coords"] = [3, 4, DEPTHS[depth]]
                scenes.append({"split": part, "image_filename": name, "image_index": place, "objects": objects})
                written[split].append(Stored(name, number if counting else DEPTH_LABELS[depth], pixels))
            text = json.dumps({"info": {"split": part, "license": '"scenes": none'}, "scenes": scenes})
            _put(folder / "scenes" / f"CLEVR_{part}_scenes.json", text.encode())
        return written

    return write


KITTI_FILMS = 10


def _kitti(root: Path, counts: tuple[int, int, int]) -> Written:
    """Ten films of equal length: one to test with, one to choose by, whichever the draw of seed 123 takes."""
    folder, total = root / "kitti", KITTI_FILMS * counts[2]
    mapping = [f"2011_09_26 2011_09_26_drive_{place % KITTI_FILMS:04d}_sync {place:010d}" for place in range(total)]
    order = np.random.default_rng(5).permutation(total)
    _put(folder / "mapping" / "train_mapping.txt", ("\n".join(mapping) + "\n").encode())
    _put(folder / "mapping" / "train_rand.txt", ",".join(str(place + 1) for place in order).encode())
    films = sorted({line.split()[1] for line in mapping})
    state = np.random.get_state()  # the global state, as TensorFlow Datasets does
    np.random.seed(123)
    test = set(np.random.choice(films, 1, replace=False))
    val = set(np.random.choice(sorted(set(films) - test), 1, replace=False))
    np.random.set_state(state)
    written: Written = {"train": [], "validation": [], "test": []}
    depths = {0: ("Car", 8.0), 1: ("Van", 20.0), 2: ("Truck", 31.5), 3: ("Pedestrian", 2.0)}
    for number in range(total):
        label = number % 4
        kind, depth = depths[label]
        lines = [
            f"{kind} 0.00 0 -1.57 1 2 3 4 1.5 1.6 3.9 0.5 1.7 {depth} 1.6",
            "Cyclist 0 0 0 1 2 3 4 1 1 1 0 0 1.0 0",
        ]
        lines += ["DontCare -1 -1 -10 1 2 3 4 -1 -1 -1 -1000 -1000 -1000 -10"]
        _put(folder / "training" / "label_2" / f"{number:06d}.txt", ("\n".join(lines) + "\n").encode())
        pixels = picture(label, number, 12, 40)
        _put(folder / "training" / "image_2" / f"{number:06d}.png", packed(pixels, "PNG"))
        film = mapping[order[number]].split()[1]
        split = "test" if film in test else "validation" if film in val else "train"
        written[split].append(Stored(f"{number:06d}.png", label, pixels))
    return written


def _dtd(root: Path, counts: tuple[int, int, int]) -> Written:
    folder, written = root / "dtd", Written()
    names = [f"texture{number:02d}" for number in range(47)]
    for split, part, count in zip(("train", "validation", "test"), ("train1", "val1", "test1"), counts, strict=True):
        labels = _labelled(max(count, 47), 47, len(part))
        lines = [f"{names[label]}/{names[label]}_{part}{p:04d}.jpg" for p, label in enumerate(labels)]
        for place, (line, label) in enumerate(zip(lines, labels, strict=True)):
            _put(folder / "images" / line, packed(picture(label, place, 16, 24)))
        _put(folder / "labels" / f"{part}.txt", ("\n".join(lines) + "\n").encode())
        written[split] = [Stored(line, label) for line, label in zip(lines, labels, strict=True)]
    return written


def _flowers102(root: Path, counts: tuple[int, int, int]) -> Written:
    folder, total = root / "flowers102", sum(counts)
    labels = _labelled(total, 102)
    ids = np.random.default_rng(3).permutation(total) + 1
    for place, label in enumerate(labels, 1):
        _put(folder / "jpg" / f"image_{place:05d}.jpg", packed(picture(label, place, 18, 14)))
    scipy.io.savemat(folder / "imagelabels.mat", {"labels": np.array(labels, float)[None] + 1})
    parts = dict(zip(("trnid", "valid", "tstid"), np.split(ids, np.cumsum(counts)[:2]), strict=True))
    scipy.io.savemat(
        folder / "setid.mat", {name: part.astype(float)[None] for name, part in parts.items()}, do_compression=True
    )
    return {
        split: [Stored(f"image_{number:05d}.jpg", labels[number - 1]) for number in parts[name].tolist()]
        for split, name in {"train": "trnid", "validation": "valid", "test": "tstid"}.items()
    }


def _pets(root: Path, counts: tuple[int, int, int]) -> Written:
    folder, written = root / "oxford-iiit-pet", Written()
    for split, part, count in (("train", "trainval", max(counts[0] + counts[1], 37)), ("test", "test", counts[2])):
        labels = _labelled(count, 37, len(part))
        names = [f"{'Big_' if label % 2 else ''}breed{label:02d}_{part}{place}" for place, label in enumerate(labels)]
        for place, (name, label) in enumerate(zip(names, labels, strict=True)):
            _put(folder / "images" / f"{name}.jpg", packed(picture(label, place, 20, 15)))
        lines = [f"{name} {label + 1} 1 1" for name, label in zip(names, labels, strict=True)]
        _put(folder / "annotations" / f"{part}.txt", ("\n".join(lines) + "\n").encode())
        written[split] = [Stored(f"{name}.jpg", label) for name, label in zip(names, labels, strict=True)]
    return written


def _sun397(root: Path, counts: tuple[int, int, int]) -> Written:
    folder, written = root / "SUN397", Written()
    scenes = ["/a/abbey", *(f"/{chr(98 + n // 100)}/scene{n:03d}{'/outdoor' if n % 2 else ''}" for n in range(396))]
    for split, part, count in zip(("train", "validation", "test"), ("tr", "va", "te"), counts, strict=True):
        labels = _labelled(max(count, 397) if split == "train" else count, 397)
        lines = [f"{scenes[label]}/sun_{part}{place:04d}.jpg" for place, label in enumerate(labels)]
        for place, (line, label) in enumerate(zip(lines, labels, strict=True)):
            height, width = (500, 300) if split == "test" and place == 0 else (12, 17)
            _put(folder / line[1:], packed(picture(label, place, height, width)))
        _put(folder / f"sun397_tfds_{part}.txt", ("\n".join(lines) + "\n").encode())
        written[split] = [Stored(line, label) for line, label in zip(lines, labels, strict=True)]
    return written


def _class_folders(folder: Path, names: list[str], each: int, ending: str = "jpg") -> list[Stored]:
    written = []
    for label, name in enumerate(names):
        for place in range(1, each + 1):
            file = f"{name}_{place}.{ending}"
            _put(folder / name / file, packed(picture(label, place, 16, 16)))
            written.append(Stored(f"{name}_{file}", label))
    return written


def _eurosat(root: Path, counts: tuple[int, int, int]) -> Written:
    return {"train": _class_folders(root / "eurosat" / "2750", EUROSAT.split(), -(-sum(counts) // 10))}


def _resisc45(root: Path, counts: tuple[int, int, int]) -> Written:
    names = sorted(["airplane", "wetland", *(f"scene_{number}" for number in range(43))])
    return {"train": _class_folders(root / "NWPU-RESISC45", names, max(3, -(-sum(counts) // 45)))}


def _caltech101(root: Path, _counts: tuple[int, int, int]) -> Written:
    """32 images of each class, of which 30 are for training: no fewer are there."""
    names = sorted(["BACKGROUND_Google", "Faces", "accordion", *(f"thing{n:02d}" for n in range(99))], key=str.lower)
    for label, name in enumerate(names):
        for place in range(1, 33):
            content = packed(picture(label, 0, 9, 11)) if place == 1 else content
            _put(root / "101_ObjectCategories" / name / f"image_{place:04d}.jpg", content)
    return {}


def _retinopathy(folder: Path, counts: tuple[int, int, int], prepared: bool) -> Written:
    written: Written = {}
    rows: dict[str, list[str]] = {"trainLabels.csv": ["image,level"], "retinopathy_solution.csv": ["image,level,Usage"]}
    for split, part, usage, count in zip(
        ("train", "validation", "test"), ("train", "test", "test"), ("", ",Public", ",Private"), counts, strict=True
    ):
        labels = _labelled(count, 5, len(split))
        names = [f"{split[0]}{place}_{'left' if place % 2 else 'right'}" for place in range(count)]
        for place, (name, label) in enumerate(zip(names, labels, strict=True)):
            pixels = picture(label, place, 40, 40) if prepared else eye(label, place)
            _put(folder / ("btgraham-300" if prepared else "") / part / f"{name}.jpeg", packed(pixels))
            rows["trainLabels.csv" if split == "train" else "retinopathy_solution.csv"].append(f"{name},{label}{usage}")
        written[split] = [Stored(name, label) for name, label in zip(names, labels, strict=True)]
    for name, lines in rows.items():
        _put(folder / name, ("\r\n".join(lines) + "\r\n").encode())
    return written


def eye(label: int, number: int, radius: int = 50) -> np.ndarray:
    """A photograph of a disc on black."""
    pixels = picture(label, number, 2 * radius + 11, 3 * radius)
    y, x = np.ogrid[: pixels.shape[0], : pixels.shape[1]]
    pixels[(y - pixels.shape[0] // 2) ** 2 + (x - pixels.shape[1] // 2) ** 2 > radius**2] = 0
    return pixels


def _dsprites(across: bool) -> Callable[[Path, tuple[int, int, int]], Written]:
    def write(root: Path, counts: tuple[int, int, int]) -> Written:
        total = sum(counts)
        rng = np.random.default_rng(11)
        images = rng.integers(0, 2, (total, 64, 64)).astype(np.uint8)
        latents = np.stack([rng.integers(0, sides, total) for sides in (1, 3, 6, 40, 32, 32)], axis=1)
        path = root / "dsprites" / "dsprites_ndarray_co1sh3sc6or40x32y32_64x64.npz"
        path.parent.mkdir(parents=True, exist_ok=True)
        metadata = np.array({"title": "a pickle that must not be opened"}, object)
        np.savez_compressed(
            path, imgs=images, latents_classes=latents, latents_values=latents.astype(float), metadata=metadata
        )
        old = latents[:, 4] // 2 if across else np.array([[0, 0, 0, 1, 1][o % 5] + o // 5 * 2 for o in latents[:, 3]])
        return {"train": [Stored(str(p), int(old[p]), np.stack([images[p] * 255] * 3, axis=2)) for p in range(total)]}

    return write


_WRITERS: dict[str, Callable[[Path, tuple[int, int, int]], Written]] = {
    "caltech101": _caltech101,
    "cifar100": _cifar100,
    "dtd": _dtd,
    "flowers102": _flowers102,
    "pets": _pets,
    "sun397": _sun397,
    "svhn": _svhn,
    "camelyon": _camelyon,
    "eurosat": _eurosat,
    "resisc45": _resisc45,
    "clevr_count": _clevr(counting=True),
    "clevr_dist": _clevr(counting=False),
    "dsprites_loc": _dsprites(across=True),
    "dsprites_ori": _dsprites(across=False),
    "kitti": _kitti,
    "smallnorb_azi": _smallnorb(azimuth=True),
    "smallnorb_ele": _smallnorb(azimuth=False),
}
RAW_TASKS = tuple(sorted([*_WRITERS, "retinopathy"]))
"""Every task but DMLab, whose images are nowhere but in TensorFlow's records."""

assert all(find_task(name).name == name for name in RAW_TASKS)
