"""Miniature ImageNets: a dozen of the thousand classes, a few tiny pictures each, laid out as the real ones are."""

from __future__ import annotations

import ast
import importlib.util
from pathlib import Path

import numpy as np
import oracles
import scipy.io
from image_files import png

CHOSEN = {  # id: place, both as timm has them; among them pairs that are easily taken for each other
    "n01440764": 0,  # tench
    "n01443537": 1,  # goldfish
    "n01484850": 2,  # great white shark
    "n02012849": 134,  # crane, the bird
    "n02113186": 264,  # Cardigan, a dog
    "n02963159": 474,  # cardigan, a garment
    "n03126707": 517,  # crane, the machine
    "n03710637": 638,  # maillot
    "n03710721": 639,  # maillot, tank suit
    "n04355933": 836,  # sunglass
    "n04356056": 837,  # sunglasses
    "n15075141": 999,  # toilet tissue
}

NUMBERS = (3, 7, 12, 49_999, 50_000)
"""Numbers of validation images that are there in miniature."""


def info(name: str) -> str:
    """A file of facts that comes with timm."""
    return (Path(str(oracles.timm().__file__)).parent / "data/_info" / name).read_text(encoding="utf-8")


def wnids() -> list[str]:
    """The thousand ids, by timm."""
    return info("imagenet_synsets.txt").split()


def clip_names() -> list[str]:
    """The names that CLIP is asked with, by open_clip, which takes seconds to import."""
    found = importlib.util.find_spec("open_clip")
    assert found is not None
    assert found.origin is not None
    tree = ast.parse(Path(found.origin).with_name("zero_shot_metadata.py").read_text(encoding="utf-8"))
    assigned = {
        node.targets[0].id: node.value
        for node in tree.body
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name)
    }
    return list(ast.literal_eval(assigned["IMAGENET_CLASSNAMES"]))


def picture(path: Path, shade: int = 0) -> Path:
    """A file with a picture of 5 x 8 pixels in it, of one colour."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(png(np.full((5, 8, 3), (shade % 256, 40, 7), np.uint8), 2))
    return path


def class_tree(root: Path, names: list[str], each: int = 2) -> Path:
    """Class folders as in train, the number of the class folder being the pictures' red."""
    for place, name in enumerate(names):
        for number in range(each):
            picture(root / name / f"{name}_{number + 9}.JPEG", place)
    return root


def flat_val(folder: Path) -> Path:
    """Validation images in one folder."""
    for number in NUMBERS:
        picture(folder / f"ILSVRC2012_val_{number:08d}.JPEG", number)
    return folder


def truth() -> np.ndarray:
    """Made-up places of all 50,000 images, none in an order that could be right by accident."""
    return np.random.default_rng(11).integers(0, 1000, 50_000)


LISTED = (*range(1, 60), *range(40_000, 40_010), 49_999, 50_000)
"""Numbers of images in the lists; the real ones have all 50,000."""


def caffe_list(path: Path, places: np.ndarray) -> None:
    """val.txt as Caffe's script fetches it."""
    path.write_text("".join(f"ILSVRC2012_val_{n:08d}.JPEG {places[n - 1]}\n" for n in LISTED))


def kaggle_list(path: Path, places: np.ndarray) -> None:
    """LOC_val_solution.csv, in no order, with one or two boxes an image."""
    names = wnids()
    rows = [
        f"ILSVRC2012_val_{n:08d},{' '.join(f'{names[places[n - 1]]} 8 1 49 27' for _ in range(1 + n % 2))} "
        for n in np.random.default_rng(5).permutation(LISTED)
    ]
    path.write_text("\n".join(["ImageId,PredictionString", *rows]) + "\n")


def devkit(data: Path, places: np.ndarray, *, compressed: bool = True) -> Path:
    """The development kit: ground truth in an order of its own, and meta.mat with 1,860 synsets, by SciPy."""
    data.mkdir(parents=True, exist_ok=True)
    order = np.random.default_rng(3).permutation(1000)  # place of each ILSVRC2012_ID from 1 on
    identity = np.argsort(order) + 1
    (data / "ILSVRC2012_validation_ground_truth.txt").write_text("".join(f"{identity[place]}\n" for place in places))
    names = wnids()
    kinds = [("ILSVRC2012_ID", "O"), ("WNID", "O"), ("words", "O"), ("num_children", "O"), ("children", "O")]
    table = np.zeros((1860, 1), np.dtype(kinds))
    for row in range(1860):
        leaf = row < 1000
        name = names[order[row]] if leaf else f"n{row:08d}"
        children = np.zeros((1, 0)) if leaf else np.arange(1.0, 6.0)
        table[row, 0] = (float(row + 1), name, f"words of {name}", float(not leaf), children)
    scipy.io.savemat(data / "meta.mat", {"other": np.arange(6.0), "synsets": table}, do_compression=compressed)
    return data
