"""What is looked for when a VTAB task's images are wanted, and where a person gets them and puts them."""

from __future__ import annotations

import shlex
from pathlib import Path

from vitreous.published.vtab import VtabTask

_ORIGINALS = {
    "caltech101": "101_ObjectCategories, a folder of class folders",
    "cifar100": "cifar-100-python or cifar-100-binary",
    "dtd": "images, and labels with train1.txt, val1.txt and test1.txt",
    "oxford_flowers102": "jpg, imagelabels.mat and setid.mat",
    "oxford_iiit_pet": "images, and annotations with trainval.txt and test.txt",
    "sun397/tfds": "the class folders of SUN397, and sun397_tfds_tr.txt, sun397_tfds_va.txt and sun397_tfds_te.txt",
    "svhn_cropped": "train_32x32.mat and test_32x32.mat",
    "patch_camelyon": "the six files camelyonpatch_level_2_split_{train,valid,test}_{x,y}.h5",
    "eurosat/rgb": "EuroSAT_RGB or 2750, a folder of class folders",
    "resisc45": "NWPU-RESISC45, a folder of class folders",
    "diabetic_retinopathy_detection/btgraham-300": "train, trainLabels.csv, test and retinopathy_solution.csv",
    "clevr": "CLEVR_v1.0 with images and scenes",
    "dmlab": "dmlab-train.tfrecord, dmlab-validation.tfrecord and dmlab-test.tfrecord",
    "kitti": "training/image_2, training/label_2 and the devkit's mapping",
    "dsprites": "dsprites_ndarray_co1sh3sc6or40x32y32_64x64.npz or .hdf5",
    "smallnorb": "the dat, cat and info files of smallnorb-5x...-training and -testing",
}
"""By name in TensorFlow Datasets, the files and folders that their authors' archives hold."""

_SHARED = {"clevr": "clevr", "dsprites": "dsprites", "smallnorb": "smallnorb"}
"""Folders for files that serve two tasks."""

_LISTS = {"cifar100": "cifar", "flowers102": "oxford_flowers102", "pets": "oxford_iiit_pet"}
_LISTS |= {"camelyon": "patch_camelyon", "retinopathy": "diabetic_retinopathy"}
"""What the folders of VTAB-1k's lists are called, where not as the task."""


def looked_for(task: VtabTask, root: Path, *, full: bool) -> tuple[str, ...]:
    """What there was none of, one phrase for each kind of source.

    Args:
        task: which.
        root: where it was looked for.
        full: whether the whole training parts were wanted, which only original files have.
    """
    files = f"original files below {root}: {_ORIGINALS[task.builder]}"
    if full:
        return (files,)
    folder = _LISTS.get(task.name, task.name)
    return (
        f"VTAB-1k's lists: train800.txt, val200.txt and test.txt in {root}/{folder}, or in vtab-1k/{folder} there",
        files,
        f"tar shards: train and test with tar files in {root}/{task.shards}, or below wds or vtab there",
    )


def remedy(task: VtabTask, root: Path | None, *, full: bool) -> str:
    """Where to get a task's images, and where to put them.

    Args:
        task: which.
        root: the folder of data sets; None where nobody named one.
        full: whether the whole training parts are wanted, which only original files have.
    """
    where = "ROOT" if root is None else str(root)
    place = f"{where}/{_SHARED.get(task.builder, task.name)}"
    ways = [f"get {task.source}; unpack in {place}"]
    if task.name == "caltech101" and not full:
        ways[0] += " (only the lists tell which 1,000 images are the published ones)"
    if not full:
        ways.append(
            "get VTAB-1k's lists with their images (github.com/dongzelian/SSF links to all), as"
            f" {where}/vtab-1k/{_LISTS.get(task.name, task.name)}"
        )
        ways.append(
            "fetch shards, not quite the published 1,000 images:"
            f" hf download clip-benchmark/{task.shards} --repo-type dataset"
            f" --local-dir {shlex.quote(f'{where}/{task.shards}')}"
        )
    told = "; or ".join(ways)
    return f"{told}; then name the folder with --root" if root is None else told
