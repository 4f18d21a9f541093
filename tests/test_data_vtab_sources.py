"""VTAB's data sets as their authors publish them: every image, label and place is right, and nothing damaged passes."""

from __future__ import annotations

import gzip
import hashlib
import shutil
import struct
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import h5py
import numpy as np
import pytest
import scipy.ndimage
from PIL import Image
from vtab_raw_files import NORB, RAW_TASKS, Written, eye, norb_bytes, write_task

from vitreous.data.imageset import ImageSet
from vitreous.data.vtab import find
from vitreous.data.vtab.parts import Parts
from vitreous.data.vtab.sources import clevr
from vitreous.errors import DataError, ImageError
from vitreous.published.vtab import find_task

RULES: dict[str, tuple[tuple[str, float, float], ...]] = {
    **dict.fromkeys(
        ("dtd", "flowers102", "sun397", "camelyon", "retinopathy", "kitti"),
        (("train", 0, 1), ("validation", 0, 1), ("test", 0, 1)),
    ),
    **dict.fromkeys(("cifar100", "svhn"), (("train", 0, 0.9), ("train", 0.9, 1), ("test", 0, 1))),
    "pets": (("train", 0, 0.8), ("train", 0.8, 1), ("test", 0, 1)),
    **dict.fromkeys(("clevr_count", "clevr_dist"), (("train", 0, 0.9), ("train", 0.9, 1), ("validation", 0, 1))),
    **dict.fromkeys(("eurosat", "resisc45"), (("train", 0, 0.6), ("train", 0.6, 0.8), ("train", 0.8, 1))),
    **dict.fromkeys(("dsprites_loc", "dsprites_ori"), (("train", 0, 0.8), ("train", 0.8, 0.9), ("train", 0.9, 1))),
    **dict.fromkeys(("smallnorb_azi", "smallnorb_ele"), (("train", 0, 1), ("test", 0, 0.5), ("test", 0.5, 1))),
}
"""By task, the split of TensorFlow Datasets that train, val and test are cut from, and where (task_adaptation)."""


def opened(root: Path, name: str) -> Parts:
    for opener in find._RAW[name]:
        if (parts := opener(root, find_task(name))) is not None:
            return parts
    raise AssertionError(f"{name} was not found")


def hashed(split: str, key: str) -> int:
    return int(hashlib.md5((split + key).encode()).hexdigest(), 16)


def called(images: ImageSet, place: int, key: str) -> bool:
    """Whether what a person reads is this image."""
    shown = images.ids[place]
    number = key.rpartition("_")[2]
    if number.isdecimal():
        return int(shown.rpartition("/")[2]) == int(number)
    return shown.endswith(key.lstrip("/")) or shown.replace("/", "_").endswith(key) or f"/{key}.jpeg" in shown


@pytest.mark.parametrize("name", sorted(set(RAW_TASKS) - {"caltech101"}))
def test_every_image_has_its_label_and_its_place(tmp_path: Path, name: str) -> None:
    """Order, parts, labels and pixels are what was written, by rules that are told here once more."""
    written = write_task(tmp_path, name)
    parts = opened(tmp_path, name)
    assert find_task(name).classes == len(set(parts.train.classes))
    for images, (split, start, end) in zip((parts.train, parts.val, parts.test), RULES[name], strict=True):
        expected = sorted(written[split], key=lambda stored: hashed(split, stored.key))
        expected = expected[int(start * len(expected) + 1e-9) : int(end * len(expected) + 1e-9)]
        assert len(expected) == len(images) > 0
        assert [stored.label for stored in expected] == images.labels.tolist()
        for place, stored in enumerate(expected):
            assert called(images, place, stored.key), (images.ids[place], stored.key)
            pixels = images.read(place)
            assert (pixels.dtype, pixels.shape[2:]) == (np.uint8, (3,))
            if stored.pixels is not None:
                assert np.array_equal(stored.pixels, pixels)
            elif name not in ("sun397", "retinopathy"):
                assert np.array_equal(np.asarray(Image.open(images.ids[place]).convert("RGB")), pixels)
    assert not parts.exact
    assert any("are published" in note for note in parts.notes)


def test_images_are_read_by_several_threads_at_once(tmp_path: Path) -> None:
    for name in ("camelyon", "svhn", "dsprites_loc", "smallnorb_azi"):
        write_task(tmp_path, name)
        images = opened(tmp_path, name).train
        places = list(range(len(images))) * 6
        with ThreadPoolExecutor(8) as pool:
            found = list(pool.map(images.read, places))
        again = opened(tmp_path, name).train
        assert all(np.array_equal(again.read(place), pixels) for place, pixels in zip(places, found, strict=True))


def test_the_parts_of_caltech101_are_told_to_be_others_than_the_published(tmp_path: Path) -> None:
    """30 images of each class are to train with, nine tenths of them to learn from, the others to test with."""
    write_task(tmp_path, "caltech101")
    parts = opened(tmp_path, "caltech101")
    assert not parts.exact
    assert "never published" in parts.notes[0]
    assert "2,754, 306 and 204 images" in parts.notes[1]
    assert (2754, 306, 204) == (len(parts.train), len(parts.val), len(parts.test))
    assert {30} == set((parts.train.counts + parts.val.counts).tolist())
    assert "background_google" == parts.test.classes[1]  # lower case, in the order of lower case
    seen = [*parts.train.ids, *parts.val.ids, *parts.test.ids]
    assert 3264 == len(set(seen))
    places = {name: label for label, name in enumerate(parts.train.classes)}
    assert all(
        places[Path(path).parent.name.lower()] == label
        for path, label in zip(seen[:2754], parts.train.labels, strict=True)
    )


def test_large_images_of_sun397_are_made_small(tmp_path: Path) -> None:
    """150,000 pixels become 120,000 with the same shape; smaller ones stay as they are."""
    write_task(tmp_path, "sun397")
    parts = opened(tmp_path, "sun397")
    shapes = {parts.test.read(place).shape for place in range(len(parts.test))}
    assert {(447, 268, 3), (12, 17, 3)} == shapes


def test_the_films_of_kitti_are_not_on_both_sides(tmp_path: Path) -> None:
    written = write_task(tmp_path, "kitti", (9, 9, 4))
    mapping = (tmp_path / "kitti/mapping/train_mapping.txt").read_text().splitlines()
    order = [int(number) - 1 for number in (tmp_path / "kitti/mapping/train_rand.txt").read_text().split(",")]
    parts, films = opened(tmp_path, "kitti"), []
    for images in (parts.train, parts.val, parts.test):
        films.append({mapping[order[int(Path(path).stem)]].split()[1] for path in images.ids})
    assert [8, 1, 1] == list(map(len, films))
    assert 10 == len(set.union(*films))
    assert {0, 1, 2, 3} == {stored.label for stored in written["train"]}


def test_photographs_of_retinas_are_prepared(tmp_path: Path) -> None:
    """Another library's blur gives the same image: local mean away, a disc of nine tenths, grey around it."""
    write_task(tmp_path, "retinopathy", (3, 2, 2), prepared=False)
    parts = opened(tmp_path, "retinopathy")
    assert all((540, 540, 3) == parts.train.read(place).shape for place in range(3))
    folder = next(tmp_path.glob("diabetic*"))
    large = eye(2, 1, radius=300)  # scaled by 1
    large[305, 150:750] = np.maximum(large[305, 150:750], 60)
    large[:, 750] = 0  # 600 pixels across
    name = Path(parts.train.ids[0])
    Image.fromarray(large).save(folder / "train" / name.name, quality=100, subsampling=0)
    stored = np.asarray(Image.open(folder / "train" / name.name)).astype(float)
    radius = (stored[305].sum(axis=1) > stored[305].sum(axis=1).mean() / 10).sum() / 2
    blurred = scipy.ndimage.gaussian_filter(stored, (10, 10, 0), truncate=3, mode="mirror")
    expected = np.clip(4 * stored - 4 * blurred + 128, 0, 255)
    y, x = np.ogrid[: stored.shape[0], : stored.shape[1]]
    expected[(y - 305) ** 2 + (x - 450) ** 2 > 270**2] = 128
    expected = expected[35:575, 180:720]
    found = parts.train.read(0).astype(float)
    assert found.shape == expected.shape
    assert (128 == found[:20, :20]).mean() > 0.9
    assert 300 == radius
    smooth = [scipy.ndimage.uniform_filter(each, (9, 9, 0)) for each in (found, expected)]
    assert np.abs(smooth[0] - smooth[1]).mean() < 2


def test_a_source_that_is_not_there_is_not_found(tmp_path: Path) -> None:
    for name in RAW_TASKS:
        assert [None] == [opener(tmp_path, find_task(name)) for opener in find._RAW[name]]


def cut(path: str, share: float = 0.7) -> Callable[[Path], None]:
    def damage(root: Path) -> None:
        file = root / path
        content = file.read_bytes()
        file.write_bytes(content[: int(len(content) * share)])

    return damage


def gone(path: str) -> Callable[[Path], None]:
    def damage(root: Path) -> None:
        file = root / path
        shutil.rmtree(file) if file.is_dir() else file.unlink()

    return damage


def text(path: str, content: str) -> Callable[[Path], None]:
    return lambda root: (root / path).write_text(content) and None


def _huge_norb(root: Path) -> None:
    content = (root / f"smallnorb/{NORB['train']}-dat.mat").read_bytes()
    claim = content[:8] + struct.pack("<i", 900_000) + content[12:]
    (root / f"smallnorb/{NORB['train']}-dat.mat").write_bytes(claim)


def _huge_packed_norb(root: Path) -> None:
    header = norb_bytes(np.zeros((1, 2, 96, 96), np.uint8))[:8] + struct.pack("<4i", 900_000, 2, 96, 96)
    (root / f"smallnorb/{NORB['test']}-dat.mat.gz").write_bytes(gzip.compress(header))


def _packed_h5(root: Path) -> None:
    for path in (root / "pcam").glob("*.h5"):
        path.rename(path.with_name(f"{path.name}.gz"))


def _linked_h5(root: Path) -> None:
    path = root / "pcam/camelyonpatch_level_2_split_test_x.h5"
    path.rename(root / "elsewhere.h5")
    with h5py.File(path, "w") as file:
        file["x"] = h5py.ExternalLink(str(root / "elsewhere.h5"), "x")


SCENE = '{"info": {}, "scenes": [{"image_filename": "CLEVR_train_000000.png", "objects": %s}]}'
PCAM, CLEVR = "pcam/camelyonpatch_level_2_split", "CLEVR_v1.0/scenes/CLEVR_train_scenes.json"
DSPRITES = "dsprites/dsprites_ndarray_co1sh3sc6or40x32y32_64x64.npz"
DAMAGES: list[tuple[str, Callable[[Path], None], str]] = [
    ("cifar100", cut("cifar-100-python/train"), "cut off|damaged|pickle"),
    ("svhn", cut("svhn/train_32x32.mat"), "damaged"),
    ("svhn", gone("svhn/test_32x32.mat"), "test_32x32.mat is missing"),
    ("svhn", text("svhn/test_32x32.mat", ""), "cannot be read"),
    ("smallnorb_azi", cut(f"smallnorb/{NORB['train']}-dat.mat"), "there are"),
    ("smallnorb_azi", cut(f"smallnorb/{NORB['test']}-dat.mat.gz"), "no whole file"),
    ("smallnorb_azi", _huge_norb, "speaks of"),
    ("smallnorb_azi", _huge_packed_norb, "cannot unpack to"),
    ("smallnorb_ele", gone(f"smallnorb/{NORB['train']}-info.mat"), "-info.mat is missing"),
    ("camelyon", cut(f"{PCAM}_train_x.h5"), "HDF5 file is damaged"),
    ("camelyon", text(f"{PCAM}_valid_y.h5", "no"), "HDF5 file is damaged"),
    ("camelyon", gone(f"{PCAM}_valid_y.h5"), "valid_y.h5 is missing"),
    ("camelyon", _packed_h5, "gunzip"),
    ("camelyon", _linked_h5, "no array called x"),
    ("clevr_count", cut(CLEVR), "ends within its scenes"),
    ("clevr_count", text(CLEVR, "{}"), "ends within its scenes"),
    ("clevr_count", text(CLEVR, SCENE % "[]"), "class -3"),
    ("clevr_dist", text(CLEVR, SCENE % '[{"pixel_coords": [1, 2, 101]}]'), "101.0 away"),
    ("clevr_dist", text(CLEVR, SCENE % '[{"pixel_coords": ["x"]}]'), "scene 0 is none"),
    ("clevr_dist", text(CLEVR, SCENE % '[{"pixel_coords": [0, 0, 1e999]}]'), "inf away"),
    ("clevr_count", text(CLEVR, SCENE % '"abcde"'), "scene 0 is none"),
    ("clevr_count", gone("CLEVR_v1.0/images/train/CLEVR_train_000007.png"), "CLEVR_train_000007.png"),
    ("clevr_count", gone("CLEVR_v1.0/scenes/CLEVR_val_scenes.json"), "scenes are missing"),
    ("kitti", gone("kitti/mapping"), "development kit is missing"),
    ("kitti", gone("kitti/training/label_2/000004.txt"), "a list is missing"),
    ("kitti", text("kitti/training/label_2/000004.txt", "Car 1 2 3\n"), "4 columns"),
    ("kitti", text("kitti/mapping/train_rand.txt", "1,2,99999"), "mapping is damaged"),
    ("dtd", text("dtd/labels/val1.txt", "../a/b.jpg"), "no texture/image"),
    ("dtd", gone("dtd/labels/test1.txt"), "a list is missing"),
    ("flowers102", gone("flowers102/imagelabels.mat"), "imagelabels.mat is missing"),
    ("flowers102", gone("flowers102/jpg"), "40 of the 40 images"),
    ("flowers102", cut("flowers102/setid.mat", 0.5), "damaged"),
    ("pets", text("oxford-iiit-pet/annotations/test.txt", "a_1 99 1 1\n"), "not name, class, species and breed"),
    ("sun397", gone("SUN397/sun397_tfds_tr.txt"), "copy image_classification/sun397_tfds"),
    ("sun397", text("SUN397/sun397_tfds_va.txt", "/../../etc/passwd\n"), "not like /a/abbey"),
    ("eurosat", gone("eurosat/2750/River"), "1 of 10 classes: River"),
    ("resisc45", gone("NWPU-RESISC45/scene_3"), "44 class folders"),
    ("retinopathy", gone("diabetic-retinopathy-detection/retinopathy_solution.csv"), "solution.csv is missing"),
    ("retinopathy", text("diabetic-retinopathy-detection/trainLabels.csv", "image,level\nx,7\n"), "grade from 0 to 4"),
    ("dsprites_ori", cut(DSPRITES), "no whole file of dSprites"),
]


@pytest.mark.parametrize(("name", "damage", "said"), DAMAGES, ids=lambda value: value if isinstance(value, str) else "")
def test_damaged_files_are_one_clear_message(
    tmp_path: Path, name: str, damage: Callable[[Path], None], said: str
) -> None:
    write_task(tmp_path, name)
    damage(tmp_path)
    with pytest.raises(DataError, match=said):
        opened(tmp_path, name)


def test_a_damaged_scene_of_clevr_is_not_read_to_the_end_of_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(clevr, "_PIECE", 64)
    monkeypatch.setattr(clevr, "_LARGEST", 1024)
    write_task(tmp_path, "clevr_count")
    path = tmp_path / CLEVR
    content = path.read_text()
    at = content.index("image_filename", content.index("scenes") + 100)
    for damaged, why in {
        content[:at] + '"' + content[at:] + " " * 4096: "one of its scenes is damaged",
        " " * 4096 + content: "there are no scenes in it",
    }.items():
        path.write_text(damaged)
        with pytest.raises(DataError, match=why):
            opened(tmp_path, "clevr_count")


def test_a_damaged_patch_is_one_image_that_cannot_be_read(tmp_path: Path) -> None:
    """The others can: only what is asked for is read."""
    write_task(tmp_path, "camelyon")
    path = tmp_path / f"{PCAM}_train_x.h5"
    with h5py.File(path) as file:
        chunk = file["x"].id.get_chunk_info_by_coord((6, 0, 0, 0))
    content = bytearray(path.read_bytes())
    content[chunk.byte_offset + 20 : chunk.byte_offset + 60] = bytes(40)
    path.write_bytes(content)
    images, failed = opened(tmp_path, "camelyon").train, []
    for place in range(len(images)):
        try:
            images.read(place)
        except ImageError as error:
            failed.append((int(images.ids[place].rpartition("/")[2]), error.where))
    assert [(number, f"{path}, x[{number}]") for number in (6, 7, 8)] == sorted(failed)


def test_pixels_of_dsprites_that_are_damaged_stop_everything(tmp_path: Path) -> None:
    """They are unpacked when the first image is asked for, and then checked to the last byte."""
    write_task(tmp_path, "dsprites_ori")
    path = tmp_path / DSPRITES
    content = bytearray(path.read_bytes())
    content[len(content) // 3] ^= 0xFF
    path.write_bytes(content)
    with pytest.raises(DataError, match="no whole file of dSprites"):
        opened(tmp_path, "dsprites_ori").train.read(0)


def test_dsprites_is_the_same_from_hdf5(tmp_path: Path) -> None:
    written: Written = write_task(tmp_path, "dsprites_ori")
    path = tmp_path / DSPRITES
    with np.load(path, allow_pickle=False) as arrays, h5py.File(path.with_suffix(".hdf5"), "w") as file:
        file["imgs"], file["latents/classes"] = arrays["imgs"], arrays["latents_classes"]
    before = opened(tmp_path, "dsprites_ori")
    before.train.read(0)  # from here on nothing is read from the file
    path.rename(tmp_path / "away.npz")
    after = opened(tmp_path, "dsprites_ori")
    assert len(written["train"]) == sum(map(len, (after.train, after.val, after.test)))
    for one, other in ((before.train, after.train), (before.test, after.test)):
        assert one.labels.tolist() == other.labels.tolist()
        assert all(np.array_equal(one.read(place), other.read(place)) for place in range(len(one)))
