"""The nineteen tasks of VTAB: sizes, groups, the names each goes by, and where their data is to be had.

Zhai et al., A Large-scale Study of Representation Learning with the Visual Task Adaptation Benchmark, arXiv
1910.04867. Sizes as in google-research/task_adaptation, task_adaptation/data/*_test.py; order and titles of the tasks
as in Table 9 of the ViT paper, arXiv 2010.11929. Nothing is read from a disk here.
"""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from typing import Literal, TypeAlias

from vitreous.errors import UnknownNameError

Group: TypeAlias = Literal["Natural", "Specialized", "Structured"]


def folded(name: str) -> str:
    """A task's name in one spelling: lower case, _ between words, without what CLIP_benchmark puts before it.

    Args:
        name: as typed, or of a folder: clevr-count, wds/vtab/clevr_count_all, wds_vtab-clevr_count_all, Clevr-Count.
    """
    text = name.strip().lower().replace("-", "_").replace("/", "_").replace(" ", "_")
    for before in ("clip_benchmark_", "wds_", "vtab_"):
        text = text.removeprefix(before)
    return text


@dataclass(frozen=True, kw_only=True, slots=True)
class VtabTask:
    """One task of VTAB: images to be told apart, with the published number of classes and of images."""

    name: str
    """What is typed: clevr_count."""
    title: str
    """What the ViT paper's Table 9 calls it: Clevr-Count."""
    group: Group
    classes: int
    """Number of classes; some may have no image among the 1000 that are trained on."""
    train: int
    """Number of images in the whole training part; VTAB-1k takes the first 800."""
    val: int
    """Number of images in the whole validation part; VTAB-1k takes the first 200."""
    test: int
    """Number of test images, all of which are scored under either protocol."""
    metric: str = "top-1"
    builder: str
    """Its name in TensorFlow Datasets, whose order of images defines the parts."""
    aliases: tuple[str, ...] = ()
    """Other names it goes by: in task_adaptation, in CLIP_benchmark, in VTAB-1k's folders of lists."""
    shards: str
    """Its data set at huggingface.co/datasets/clip-benchmark, as tar shards."""
    source: str
    """Where the original files are to be had, in words with an address."""

    @property
    def trainval(self) -> int:
        """Number of images to train on once the settings are chosen, under the full protocol."""
        return self.train + self.val

    @property
    def names(self) -> frozenset[str]:
        """Every name it goes by, in one spelling."""
        return frozenset(map(folded, (self.name, self.title, self.shards, *self.aliases)))


TASKS: tuple[VtabTask, ...] = (
    VtabTask(
        name="caltech101",
        title="Caltech101",
        group="Natural",
        classes=102,
        train=2754,
        val=306,
        test=6084,
        builder="caltech101",
        aliases=("caltech_101", "caltech_102", "caltech102", "caltech"),
        shards="wds_vtab-caltech101",
        source="101_ObjectCategories.tar.gz from data.caltech.edu/records/mzrjq-6wc02",
    ),
    VtabTask(
        name="cifar100",
        title="CIFAR-100",
        group="Natural",
        classes=100,
        train=45000,
        val=5000,
        test=10000,
        builder="cifar100",
        aliases=("cifar", "cifar_100"),
        shards="wds_vtab-cifar100",
        source="cifar-100-python.tar.gz from www.cs.toronto.edu/~kriz/cifar.html",
    ),
    VtabTask(
        name="dtd",
        title="DTD",
        group="Natural",
        classes=47,
        train=1880,
        val=1880,
        test=1880,
        builder="dtd",
        aliases=("dtd_47", "describable_textures"),
        shards="wds_vtab-dtd",
        source="dtd-r1.0.1.tar.gz from www.robots.ox.ac.uk/~vgg/data/dtd",
    ),
    VtabTask(
        name="flowers102",
        title="Flowers102",
        group="Natural",
        classes=102,
        train=1020,
        val=1020,
        test=6149,
        builder="oxford_flowers102",
        aliases=("flowers", "oxford_flowers102", "oxford_flowers", "flowers_102"),
        shards="wds_vtab-flowers",
        source="102flowers.tgz, imagelabels.mat and setid.mat from www.robots.ox.ac.uk/~vgg/data/flowers/102",
    ),
    VtabTask(
        name="pets",
        title="Pets",
        group="Natural",
        classes=37,
        train=2944,
        val=736,
        test=3669,
        builder="oxford_iiit_pet",
        aliases=("pet", "oxford_iiit_pet", "oxford_iiit_pets", "oxford_pet", "oxford_pets"),
        shards="wds_vtab-pets",
        source="images.tar.gz and annotations.tar.gz from www.robots.ox.ac.uk/~vgg/data/pets",
    ),
    VtabTask(
        name="sun397",
        title="Sun397",
        group="Natural",
        classes=397,
        train=76128,
        val=10875,
        test=21750,
        builder="sun397/tfds",
        aliases=("sun_397", "sun", "sun397_tfds"),
        shards="wds_sun397",
        source="SUN397.tar.gz (37 GB) from vision.princeton.edu/projects/2010/SUN, and sun397_tfds_tr.txt, "
        "sun397_tfds_va.txt and sun397_tfds_te.txt, which lie in the package tensorflow-datasets",
    ),
    VtabTask(
        name="svhn",
        title="SVHN",
        group="Natural",
        classes=10,
        train=65931,
        val=7326,
        test=26032,
        builder="svhn_cropped",
        aliases=("svhn_cropped",),
        shards="wds_vtab-svhn",
        source="train_32x32.mat and test_32x32.mat from ufldl.stanford.edu/housenumbers",
    ),
    VtabTask(
        name="camelyon",
        title="Camelyon",
        group="Specialized",
        classes=2,
        train=262144,
        val=32768,
        test=32768,
        builder="patch_camelyon",
        aliases=("pcam", "patch_camelyon", "patchcamelyon"),
        shards="wds_vtab-pcam",
        source="camelyonpatch_level_2_split_{train,valid,test}_{x,y}.h5.gz (8 GB) from github.com/basveeling/pcam",
    ),
    VtabTask(
        name="eurosat",
        title="EuroSAT",
        group="Specialized",
        classes=10,
        train=16200,
        val=5400,
        test=5400,
        builder="eurosat/rgb",
        aliases=("eurosat_rgb",),
        shards="wds_vtab-eurosat",
        source="EuroSAT_RGB.zip from zenodo.org/records/7711810",
    ),
    VtabTask(
        name="resisc45",
        title="Resisc45",
        group="Specialized",
        classes=45,
        train=18900,
        val=6300,
        test=6300,
        builder="resisc45",
        aliases=("resisc", "resisc_45", "nwpu_resisc45"),
        shards="wds_vtab-resisc45",
        source="NWPU-RESISC45.rar, by the link on gcheng-nwpu.github.io (a page that a browser has to open)",
    ),
    VtabTask(
        name="retinopathy",
        title="Retinopathy",
        group="Specialized",
        classes=5,
        train=35126,
        val=10906,
        test=42670,
        builder="diabetic_retinopathy_detection/btgraham-300",
        aliases=(
            "diabetic_retinopathy",
            "diabetic_retinopathy_detection",
            "diabetic_retinopathy_detection_btgraham_300",
        ),
        shards="wds_vtab-diabetic_retinopathy",
        source="train, test and trainLabels.csv from www.kaggle.com/c/diabetic-retinopathy-detection/data (88 GB; log "
        "in and accept the rules of the contest first), and retinopathy_solution.csv from the contest's discussions",
    ),
    VtabTask(
        name="clevr_count",
        title="Clevr-Count",
        group="Structured",
        classes=8,
        train=63000,
        val=7000,
        test=15000,
        builder="clevr",
        aliases=("clevr_count_all",),
        shards="wds_vtab-clevr_count_all",
        source="CLEVR_v1.0.zip (18 GB) from cs.stanford.edu/people/jcjohns/clevr",
    ),
    VtabTask(
        name="clevr_dist",
        title="Clevr-Dist",
        group="Structured",
        classes=6,
        train=63000,
        val=7000,
        test=15000,
        builder="clevr",
        aliases=("clevr_distance", "clevr_closest_object_distance", "clevr_closest"),
        shards="wds_vtab-clevr_closest_object_distance",
        source="CLEVR_v1.0.zip (18 GB) from cs.stanford.edu/people/jcjohns/clevr",
    ),
    VtabTask(
        name="dmlab",
        title="DMLab",
        group="Structured",
        classes=6,
        train=65550,
        val=22628,
        test=22735,
        builder="dmlab",
        aliases=("dm_lab", "dmlab_frames"),
        shards="wds_vtab-dmlab",
        source="dmlab.tar.gz from storage.googleapis.com/dmlab-vtab",
    ),
    VtabTask(
        name="dsprites_loc",
        title="dSpr-Loc",
        group="Structured",
        classes=16,
        train=589824,
        val=73728,
        test=73728,
        builder="dsprites",
        aliases=("dsprites_xpos", "dsprites_location", "dsprites_label_x_position", "dspr_loc"),
        shards="wds_vtab-dsprites_label_x_position",
        source="dsprites_ndarray_co1sh3sc6or40x32y32_64x64.npz from github.com/google-deepmind/dsprites-dataset",
    ),
    VtabTask(
        name="dsprites_ori",
        title="dSpr-Ori",
        group="Structured",
        classes=16,
        train=589824,
        val=73728,
        test=73728,
        builder="dsprites",
        aliases=("dsprites_orientation", "dsprites_label_orientation", "dspr_ori", "dspr_orient", "dsprites_orient"),
        shards="wds_vtab-dsprites_label_orientation",
        source="dsprites_ndarray_co1sh3sc6or40x32y32_64x64.npz from github.com/google-deepmind/dsprites-dataset",
    ),
    VtabTask(
        name="kitti",
        title="KITTI-Dist",
        group="Structured",
        classes=4,
        train=6347,
        val=423,
        test=711,
        builder="kitti",
        aliases=("kitti_distance", "kitti_dist", "kitti_closest_vehicle_distance"),
        shards="wds_vtab-kitti_closest_vehicle_distance",
        source="data_object_image_2.zip (12 GB), data_object_label_2.zip and devkit_object.zip (which says which video "
        "an image is from) from www.cvlibs.net/datasets/kitti/eval_object.php, after registration",
    ),
    VtabTask(
        name="smallnorb_azi",
        title="sNORB-Azim",
        group="Structured",
        classes=18,
        train=24300,
        val=12150,
        test=12150,
        builder="smallnorb",
        aliases=("smallnorb_azimuth", "smallnorb_label_azimuth", "snorb_azim", "snorb_azi"),
        shards="wds_vtab-smallnorb_label_azimuth",
        source="the dat, cat and info files of smallnorb-5x46789x9x18x6x2x96x96-training and "
        "smallnorb-5x01235x9x18x6x2x96x96-testing from cs.nyu.edu/~ylclab/data/norb-v1.0-small",
    ),
    VtabTask(
        name="smallnorb_ele",
        title="sNORB-Elev",
        group="Structured",
        classes=9,
        train=24300,
        val=12150,
        test=12150,
        builder="smallnorb",
        aliases=("smallnorb_elevation", "smallnorb_label_elevation", "snorb_elev", "snorb_ele"),
        shards="wds_vtab-smallnorb_label_elevation",
        source="the dat, cat and info files of smallnorb-5x46789x9x18x6x2x96x96-training and "
        "smallnorb-5x01235x9x18x6x2x96x96-testing from cs.nyu.edu/~ylclab/data/norb-v1.0-small",
    ),
)
"""All nineteen, in the order of the columns of the ViT paper's Table 9."""


def groups() -> dict[Group, tuple[VtabTask, ...]]:
    """The tasks of Natural (7), Specialized (4) and Structured (8), in this order."""
    names: tuple[Group, ...] = ("Natural", "Specialized", "Structured")
    return {group: tuple(task for task in TASKS if task.group == group) for group in names}


def find_task(name: str) -> VtabTask:
    """The task that a name means, in any spelling that papers and tools use.

    Args:
        name: one of TASKS, its title in Table 9, or an alias: clevr-count, pcam, wds/vtab/dsprites_label_orientation.

    Raises:
        UnknownNameError: no task is called so; the nearest names are told.
    """
    if (task := _BY_NAME.get(folded(name))) is not None:
        return task
    wanted, known = folded(name), [task.name for task in TASKS]
    close = [task.name for task in TASKS if len(wanted) > 2 and task.name.startswith(f"{wanted}_")]
    for other in difflib.get_close_matches(wanted, _BY_NAME, n=3, cutoff=0.6):
        if _BY_NAME[other].name not in close:
            close.append(_BY_NAME[other].name)
    raise UnknownNameError(
        f"there is no VTAB task called {name!r}",
        why=f"did you mean {' or '.join(close)}?" if close else None,
        remedy=f"one of: {', '.join(known)}",
    )


def _table() -> dict[str, VtabTask]:
    found: dict[str, VtabTask] = {}
    for task in TASKS:
        for name in task.names:
            assert found.setdefault(name, task) is task, "a name means one task"
    return found


_BY_NAME = _table()
