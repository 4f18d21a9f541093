"""The nineteen tasks are those of the benchmark, and are found by every name that papers and tools give them."""

from __future__ import annotations

import pytest

from vitreous.errors import UsageError
from vitreous.published.vtab import TASKS, find_task, groups

# task, CLIP_benchmark's name, its data set, the folder of VTAB-1k's lists, the ending of BiT's checkpoints
NAMES = """
caltech101 wds/vtab/caltech101 clip-benchmark/wds_vtab-caltech101 caltech101 caltech101
cifar100 wds/vtab/cifar100 clip-benchmark/wds_vtab-cifar100 cifar cifar100
dtd wds/vtab/dtd clip-benchmark/wds_vtab-dtd dtd dtd
flowers102 wds/vtab/flowers clip-benchmark/wds_vtab-flowers oxford_flowers102 oxford_flowers102
pets wds/vtab/pets clip-benchmark/wds_vtab-pets oxford_iiit_pet oxford_iiit_pet
svhn wds/vtab/svhn clip-benchmark/wds_vtab-svhn svhn svhn
sun397 wds/sun397 clip-benchmark/wds_sun397 sun397 sun397
camelyon wds/vtab/pcam clip-benchmark/wds_vtab-pcam patch_camelyon patch_camelyon
eurosat wds/vtab/eurosat clip-benchmark/wds_vtab-eurosat eurosat eurosat
resisc45 wds/vtab/resisc45 clip-benchmark/wds_vtab-resisc45 resisc45 resisc45
retinopathy wds/vtab/diabetic_retinopathy clip-benchmark/wds_vtab-diabetic_retinopathy diabetic_retinopathy retinopathy
clevr_count wds/vtab/clevr_count_all clip-benchmark/wds_vtab-clevr_count_all clevr_count clevr-count
clevr_dist wds/vtab/clevr_closest_object_distance wds_vtab-clevr_closest_object_distance clevr_dist clevr-distance
dmlab wds/vtab/dmlab clip-benchmark/wds_vtab-dmlab dmlab dmlab
kitti wds/vtab/kitti_closest_vehicle_distance wds_vtab-kitti_closest_vehicle_distance kitti kitti-distance
dsprites_loc wds/vtab/dsprites_label_x_position wds_vtab-dsprites_label_x_position dsprites_loc dsprites-xpos
dsprites_ori wds/vtab/dsprites_label_orientation wds_vtab-dsprites_label_orientation dsprites_ori dsprites-orientation
smallnorb_azi wds/vtab/smallnorb_label_azimuth wds_vtab-smallnorb_label_azimuth smallnorb_azi smallnorb-azimuth
smallnorb_ele wds/vtab/smallnorb_label_elevation wds_vtab-smallnorb_label_elevation smallnorb_ele smallnorb-elevation
"""
RENAMED = "cifar_100 cifar100, caltech_102 caltech101, dtd_47 dtd, oxford_pet pets, patch_camelyon camelyon"

# train, val, test and classes, by the tests in google-research/task_adaptation
SIZES = """
Caltech101 2754 306 6084 102 | CIFAR-100 45000 5000 10000 100 | DTD 1880 1880 1880 47 | Flowers102 1020 1020 6149 102
Pets 2944 736 3669 37 | Sun397 76128 10875 21750 397 | SVHN 65931 7326 26032 10 | Camelyon 262144 32768 32768 2
EuroSAT 16200 5400 5400 10 | Resisc45 18900 6300 6300 45 | Retinopathy 35126 10906 42670 5
Clevr-Count 63000 7000 15000 8 | Clevr-Dist 63000 7000 15000 6 | DMLab 65550 22628 22735 6
dSpr-Loc 589824 73728 73728 16 | dSpr-Ori 589824 73728 73728 16 | KITTI-Dist 6347 423 711 4
sNORB-Azim 24300 12150 12150 18 | sNORB-Elev 24300 12150 12150 9
"""


@pytest.mark.parametrize("line", NAMES.split("\n")[1:-1])
def test_every_name_finds_its_task(line: str) -> None:
    task, *others = line.split()
    assert {task} == {find_task(name).name for name in [task, *others, find_task(task).title, task.upper()]}


def test_folders_that_people_renamed_are_known() -> None:
    for pair in RENAMED.split(", "):
        name, task = pair.split()
        assert find_task(name).name == task


def test_tasks_have_the_published_sizes_in_the_order_of_the_paper() -> None:
    rows = [row.split() for line in SIZES.strip().split("\n") for row in line.split(" | ")]
    assert [(title, *map(int, sizes)) for title, *sizes in rows] == [
        (task.title, task.train, task.val, task.test, task.classes) for task in TASKS
    ]
    assert {task.metric for task in TASKS} == {"top-1"}


def test_groups_have_seven_four_and_eight_tasks() -> None:
    assert {"Natural": 7, "Specialized": 4, "Structured": 8} == {name: len(tasks) for name, tasks in groups().items()}
    assert TASKS == tuple(task for tasks in groups().values() for task in tasks)


@pytest.mark.parametrize(
    ("typed", "hint"),
    [
        ("clevr", "did you mean clevr_count or clevr_dist"),
        ("flower102", "did you mean flowers102"),
        ("imagenet", "one of: caltech101, cifar100"),
    ],
)
def test_other_names_are_refused_with_the_nearest(typed: str, hint: str) -> None:
    with pytest.raises(UsageError, match=f"no VTAB task called '{typed}'[^$]*{hint}"):
        find_task(typed)
