"""ImageNet and its variants are recognised in every form people have them, and every class is the one that is meant."""

from __future__ import annotations

import dataclasses
import json
import random
import shutil
import struct
import tracemalloc
from pathlib import Path

import imagenet_trees as trees
import numpy as np
import oracles
import pytest
import scipy.io
import torch
from image_files import gradient, png
from PIL import Image

from vitreous.data.classes import match_classes
from vitreous.data.layouts.folders.file_table import FileTable
from vitreous.data.layouts.found import Asked, Found
from vitreous.data.layouts.imagenet.devkit import find_truth
from vitreous.data.layouts.imagenet.imagenet import find_imagenet
from vitreous.data.layouts.imagenet.imagenet_labels import imagenet_place, imagenet_places, imagenet_wnids
from vitreous.data.layouts.imagenet.matlab import table_columns
from vitreous.data.layouts.imagenet.variants import corruptions, find_real, real_images, real_labels, real_targets
from vitreous.data.recognise import recognise
from vitreous.errors import DataError
from vitreous.pretrained import imagenet_names

IDS = list(trees.CHOSEN)
PLACES = list(trees.CHOSEN.values())


def names() -> list[str]:
    """torchvision's, which are the ones a class is called by here."""
    return list(oracles.torchvision().models._meta._IMAGENET_CATEGORIES)


def words() -> list[str]:
    """All words of each synset, as timm and Hugging Face have them."""
    lemmas = dict(line.split("\t") for line in trees.info("imagenet_synset_to_lemma.txt").splitlines())
    return [lemmas[wnid] for wnid in trees.wnids()]


def found(path: Path, *, keep_empty: bool = False) -> Found:
    answer = find_imagenet(str(path), Asked(keep_empty=keep_empty))
    assert answer is not None
    return answer


# ---------------------------------------------------------------- the thousand classes


def test_ids_are_in_the_order_of_the_logits() -> None:
    assert list(imagenet_wnids()) == trees.wnids() == sorted(imagenet_wnids())


@pytest.mark.parametrize(
    "spelt",
    [
        pytest.param(trees.wnids, id="WordNet ids"),
        pytest.param(names, id="torchvision"),
        pytest.param(words, id="Hugging Face"),
        pytest.param(lambda: [text.partition(",")[0].replace(" ", "_") for text in words()], id="Keras"),
        pytest.param(trees.clip_names, id="CLIP"),
        pytest.param(lambda: [str(place) for place in range(1000)], id="numbers"),
    ],
)
def test_every_published_list_is_understood(spelt: object) -> None:
    """Also those in which two classes share a name, which the place tells apart."""
    listed = spelt()  # type: ignore[operator]
    places = imagenet_places(listed)
    assert places is not None
    assert places.tolist() == list(range(1000))
    for place, name in enumerate(listed):
        if listed.count(name) == 1 and name != "crane":  # alone, a crane is what is called so here
            assert imagenet_place(name) == place


def test_a_list_may_be_part_of_one_and_in_any_order() -> None:
    chosen = random.Random(2).sample(range(1000), 40)
    for listed in (trees.wnids(), names(), words()):
        distinct = [place for place in chosen if listed.count(listed[place]) == 1]
        places = imagenet_places([listed[place] for place in distinct])
        assert places is not None
        assert places.tolist() == distinct
    shuffled = imagenet_places([str(place) for place in [*range(500, 1000), *range(500)]])
    assert shuffled is not None
    assert shuffled[:2].tolist() == [500, 501]


@pytest.mark.parametrize(
    "listed",
    [
        [],
        ["0", "1", "2"],  # a class "2" of ten is no shark
        [str(place) for place in range(1001)],
        ["tench", "n01440764"],  # one class twice
        ["tench", "unicorn"],
        ["n01440764", "3"],
        ["n00000000"],
        ["missile ", "CRANE", "Crane"],
    ],
)
def test_what_is_no_list_of_its_classes_is_none(listed: list[str]) -> None:
    assert imagenet_places(listed) is None


def test_names_that_are_easily_confused_are_kept_apart() -> None:
    assert [imagenet_place(name) for name in ("Cardigan", "cardigan", "CARDIGAN")] == [264, 474, None]
    assert [imagenet_place(name) for name in ("crane bird", "crane", "maillot", "maillot, tank suit")] == [
        134,
        517,
        638,
        639,
    ]
    assert [imagenet_place(name) for name in ("sunglass", "sunglasses", "projectile", "missile")] == [
        836,
        837,
        744,
        657,
    ]
    assert imagenet_place("Great_White_Shark") == 2
    assert imagenet_place("unicorn") is None
    assert imagenet_place("1000") is None
    assert len(set(imagenet_names())) == 1000


# ---------------------------------------------------------------- class folders


def test_class_folders_carry_names_and_meet_a_model_by_them(tmp_path: Path) -> None:
    trees.class_tree(tmp_path / "train", IDS, each=3)
    trees.class_tree(tmp_path / "val", IDS[4:], each=1)
    answer = found(tmp_path)
    train, val = answer.sets["train"], answer.sets["val"]
    assert train.classes == tuple(names()[place] for place in PLACES)
    assert val.classes == train.classes[4:]
    reference = oracles.torchvision().datasets.ImageFolder(str(tmp_path / "train"))
    assert dict(reference.samples) == dict(zip(train.ids, train.labels.tolist(), strict=True))
    assert [train.read(index)[0, 0, 0] for index in range(len(train))] == train.labels.tolist()
    matched = match_classes(val, names(), known_to="the model")
    assert matched.labels.tolist() == PLACES[4:]
    assert answer.notes[0] == (
        f"{tmp_path}/train: 12 of ImageNet's 1,000 classes, each folder named by its WordNet id (n01440764 is tench)"
    )


def test_what_is_recognised_comes_through_the_door(tmp_path: Path) -> None:
    trees.class_tree(tmp_path / "imagenet-a", IDS)  # as -A, -R, -Sketch or train alone
    (tmp_path / "imagenet-a" / "README.txt").write_text("200 classes")
    answer = recognise(str(tmp_path / "imagenet-a"), Asked())
    assert answer.sets["all"].classes[3:7] == ("crane bird", "Cardigan", "cardigan", "crane")
    assert answer.sets["all"].encoded is not None


def test_two_machines_agree_on_it(tmp_path: Path) -> None:
    one = found(trees.class_tree(tmp_path / "one", IDS)).sets["all"]
    two = found(trees.class_tree(tmp_path / "elsewhere/two", IDS)).sets["all"]
    assert one.fingerprint == two.fingerprint
    trees.picture(tmp_path / "one" / IDS[3] / "more.JPEG")
    assert found(tmp_path / "one").sets["all"].fingerprint != one.fingerprint


def test_empty_class_folders_count_where_one_learns(tmp_path: Path) -> None:
    trees.class_tree(tmp_path, IDS[:3])
    (tmp_path / IDS[5]).mkdir()
    assert len(found(tmp_path, keep_empty=True).sets["all"].classes) == 4
    assert len(found(tmp_path).sets["all"].classes) == 3


def test_other_folders_are_left_to_others(tmp_path: Path) -> None:
    assert find_imagenet(str(tmp_path / "nothing"), Asked()) is None
    assert find_imagenet(str(trees.class_tree(tmp_path / "pets", ["cat", "dog"])), Asked()) is None
    assert find_imagenet(str(trees.class_tree(tmp_path / "mixed", [*IDS, "dog"])), Asked()) is None
    assert find_imagenet(str(trees.class_tree(tmp_path / "21k", [*IDS, "n00004475"])), Asked()) is None
    numbers = trees.class_tree(tmp_path / "numbers", ["0", "1", "2", "10"])
    assert find_imagenet(str(numbers), Asked()) is None
    trees.class_tree(tmp_path / "tiny/train", IDS)  # Tiny ImageNet, whose val is laid out otherwise
    trees.picture(tmp_path / "tiny/val/images/val_0.JPEG")
    assert find_imagenet(str(tmp_path / "tiny"), Asked()) is None


def test_broken_files_of_the_real_one_are_read(tmp_path: Path) -> None:
    """One file of train is a PNG, some twenty are CMYK."""
    trees.class_tree(tmp_path, IDS[:2], each=1)
    (tmp_path / IDS[0] / "n01440764_1.JPEG").write_bytes(png(gradient(11, 13), 2))
    Image.fromarray(np.full((9, 14, 4), (0, 255, 255, 0), np.uint8), "CMYK").save(tmp_path / IDS[1] / "a.JPEG", "JPEG")
    images = found(tmp_path).sets["all"]
    at = {Path(path).name: index for index, path in enumerate(images.ids)}
    assert (images.read(at["n01440764_1.JPEG"]) == gradient(11, 13)).all()
    red = images.read(at["a.JPEG"])
    assert red.shape == (9, 14, 3)
    assert (red[..., 0] > 200).all()
    assert (red[..., 1:] < 60).all()


# ---------------------------------------------------------------- flat validation images


@pytest.fixture(scope="module")
def truth() -> np.ndarray:
    return trees.truth()


@pytest.fixture(scope="module")
def kits(tmp_path_factory: pytest.TempPathFactory, truth: np.ndarray) -> dict[bool, Path]:
    """The development kit with its table compressed, or not."""
    root = tmp_path_factory.mktemp("kits")
    return {
        compressed: trees.devkit(root / str(compressed), truth, compressed=compressed) for compressed in (True, False)
    }


def check_flat(root: Path, truth: np.ndarray, source: str, part: str = "val") -> None:
    answer = found(root)
    val = answer.sets[part]
    assert [Path(key).name for key in val.keys] == [f"ILSVRC2012_val_{number:08d}.JPEG" for number in trees.NUMBERS]
    assert val.labels.tolist() == [truth[number - 1] for number in trees.NUMBERS]
    assert val.classes == tuple(names())
    assert val.read(2)[0, 0].tolist() == [12, 40, 7]
    assert any("5 images of ImageNet's 1,000 classes, labelled by " in note and source in note for note in answer.notes)


def test_flat_images_are_labelled_by_caffe_s_list(tmp_path: Path, truth: np.ndarray) -> None:
    trees.flat_val(tmp_path / "val")
    trees.caffe_list(tmp_path / "val.txt", truth)
    check_flat(tmp_path, truth, "val.txt")
    check_flat(tmp_path / "val", truth, "val.txt", part="all")
    (tmp_path / "meta").mkdir()
    (tmp_path / "val.txt").rename(tmp_path / "meta" / "val.txt")
    check_flat(tmp_path, truth, "meta/val.txt")


@pytest.mark.parametrize("compressed", [True, False])
@pytest.mark.parametrize("place", ["ILSVRC2012_devkit_t12/data", "."])
def test_flat_images_are_labelled_by_the_development_kit(
    tmp_path: Path, truth: np.ndarray, kits: dict[bool, Path], compressed: bool, place: str
) -> None:
    trees.flat_val(tmp_path / "val")
    shutil.copytree(kits[compressed], tmp_path / place, dirs_exist_ok=True)
    check_flat(tmp_path, truth, "ground_truth.txt")


def test_kaggle_s_package_is_read_from_any_of_its_folders(tmp_path: Path, truth: np.ndarray) -> None:
    home = tmp_path / "ILSVRC/Data/CLS-LOC"
    trees.flat_val(home / "val")
    trees.class_tree(home / "train", IDS)
    trees.picture(home / "test/ILSVRC2012_test_00000001.JPEG")
    trees.kaggle_list(tmp_path / "LOC_val_solution.csv", truth)
    for root in (tmp_path, tmp_path / "ILSVRC", home):
        check_flat(root, truth, "LOC_val_solution.csv")
        answer = found(root)
        assert list(answer.sets) == ["train", "val"]
        assert len(answer.sets["train"]) == 24
        assert any("test: left out, as nobody outside knows the labels" in note for note in answer.notes)


def test_lists_that_agree_are_one_and_others_are_refused(
    tmp_path: Path, truth: np.ndarray, kits: dict[bool, Path]
) -> None:
    trees.flat_val(tmp_path / "val")
    shutil.copytree(kits[True], tmp_path / "ILSVRC2012_devkit_t12/data")
    trees.caffe_list(tmp_path / "val.txt", truth)
    check_flat(tmp_path, truth, "val.txt")
    other = truth.copy()
    other[40_000] = (other[40_000] + 1) % 1000
    trees.caffe_list(tmp_path / "val.txt", other)
    with pytest.raises(DataError, match="contradict each other about 1 images") as caught:
        find_imagenet(str(tmp_path), Asked())
    assert str(caught.value.why).startswith("ILSVRC2012_val_00040001: ")


def test_flat_images_without_labels_are_refused(tmp_path: Path, kits: dict[bool, Path]) -> None:
    trees.flat_val(tmp_path / "val")
    (tmp_path / "val.txt").write_text("images/one.jpg 3\n")  # another's list
    with pytest.raises(DataError, match="no list of their labels") as caught:
        find_imagenet(str(tmp_path), Asked())
    assert caught.value.remedy == f"unpack ILSVRC2012_devkit_t12.tar.gz into {tmp_path}"
    (tmp_path / "data").mkdir()
    shutil.copy(kits[True] / "ILSVRC2012_validation_ground_truth.txt", tmp_path / "data")
    with pytest.raises(DataError, match=r"meta\.mat is missing"):
        find_imagenet(str(tmp_path), Asked())


def test_half_sorted_images_are_refused(tmp_path: Path) -> None:
    trees.flat_val(tmp_path / "val")
    trees.class_tree(tmp_path / "val", IDS[:2])
    with pytest.raises(DataError, match="some validation images lie in"):
        find_imagenet(str(tmp_path), Asked())


@pytest.mark.parametrize(
    ("name", "content", "row", "why"),
    [
        (
            "val.txt",
            "ILSVRC2012_val_00000003.JPEG 65\n\nILSVRC2012_val_00000004.JPEG 1000\n",
            3,
            "no number from 0 to 999",
        ),
        ("val.txt", "ILSVRC2012_val_00000003.JPEG 65\ncat.jpg 4\n", 2, "no name of a validation image"),
        ("val.txt", "ILSVRC2012_val_00000003.JPEG 6\nILSVRC2012_val_00000003.JPEG 5\n", 2, "another label above"),
        (
            "LOC_val_solution.csv",
            "ImageId,PredictionString\nILSVRC2012_val_00000003,n99999999 1 1 2 2\n",
            2,
            "n99999999",
        ),
    ],
)
def test_a_bad_row_is_named(tmp_path: Path, name: str, content: str, row: int, why: str) -> None:
    (tmp_path / name).write_text(content)
    with pytest.raises(DataError, match="a row of the labels") as caught:
        find_truth(tmp_path)
    assert caught.value.where == f"{tmp_path / name}:{row}"
    assert why in str(caught.value.why)


def test_an_image_that_a_list_leaves_out_is_named(tmp_path: Path) -> None:
    trees.flat_val(tmp_path)
    (tmp_path / "val.txt").write_text("ILSVRC2012_val_00000003.JPEG 65\n")
    with pytest.raises(DataError, match="an image has no label") as caught:
        find_imagenet(str(tmp_path), Asked())
    assert caught.value.where == f"{tmp_path}/ILSVRC2012_val_00000007.JPEG"


# ---------------------------------------------------------------- meta.mat


@pytest.mark.parametrize("version", ["6.1_SOL2", "6.5.1_GLNX86", "7.1_GLNX86", "7.4_GLNX86"])
@pytest.mark.parametrize("table", ["teststruct", "teststructarr"])
def test_files_that_matlab_wrote_are_read_as_scipy_does(version: str, table: str) -> None:
    """Big and little endian, compressed and not, numbers narrowed as MATLAB does; they come with SciPy."""
    path = Path(scipy.io.__file__).parent / f"matlab/tests/data/{table}_{version}.mat"
    if not path.is_file():
        pytest.skip("this SciPy comes without its tests")
    expected = scipy.io.loadmat(path, squeeze_me=True)[table]
    rows = table_columns(path.read_bytes(), table, expected.dtype.names, str(path))
    assert len(rows) == expected.size
    for row, wanted in zip(rows, np.atleast_1d(expected), strict=True):
        for value, want in zip(row, wanted.tolist() if isinstance(wanted, np.void) else wanted.item(), strict=True):
            if isinstance(value, str):
                assert value == want
            elif value is not None and np.isrealobj(want):
                assert list(value) == np.atleast_1d(want).ravel(order="F").tolist()


@pytest.mark.parametrize("compressed", [True, False])
def test_a_damaged_table_is_refused_never_misread(tmp_path: Path, compressed: bool) -> None:
    table = np.zeros((30, 1), [("ILSVRC2012_ID", "O"), ("WNID", "O"), ("gaps", "O")])
    for row in range(30):
        table[row, 0] = (float(row + 1), IDS[row % 12], np.arange(float(row)))
    scipy.io.savemat(tmp_path / "meta.mat", {"synsets": table}, do_compression=compressed)
    content, fields = (tmp_path / "meta.mat").read_bytes(), ("ILSVRC2012_ID", "WNID")
    whole = table_columns(content, "synsets", fields, "meta.mat")
    assert whole == [((float(row + 1),), IDS[row % 12]) for row in range(30)]
    for cut in (0, 3, 127, 128, 131, 200, len(content) // 2, len(content) - 9):
        with pytest.raises(DataError):
            table_columns(content[:cut], "synsets", fields, "meta.mat")
    shuffler = random.Random(8)
    for _ in range(200):
        damaged = bytearray(content)
        for _ in range(3):
            damaged[shuffler.randrange(128, len(content))] ^= 1 << shuffler.randrange(8)
        try:
            rows = table_columns(bytes(damaged), "synsets", fields, "meta.mat")
        except DataError:
            continue
        assert not compressed or rows == whole  # zlib's sum holds; without it letters may differ, which the ids tell
    with pytest.raises(DataError, match="no table called classes"):
        table_columns(content, "classes", fields, "meta.mat")
    with pytest.raises(DataError, match="no field gloss") as caught:
        table_columns(content, "synsets", ("gloss",), "meta.mat")
    assert caught.value.why is not None


def test_numbers_of_other_synsets_are_refused(tmp_path: Path, kits: dict[bool, Path]) -> None:
    shutil.copytree(kits[False], tmp_path, dirs_exist_ok=True)
    content = (tmp_path / "meta.mat").read_bytes()
    (tmp_path / "meta.mat").write_bytes(content.replace(b"n01440764", b"n01440765"))
    with pytest.raises(DataError, match="are not the classes of ILSVRC 2012"):
        find_truth(tmp_path)


# ---------------------------------------------------------------- variants


def test_v2_s_folders_are_numbers_not_text(tmp_path: Path) -> None:
    root = trees.class_tree(tmp_path / "imagenetv2-matched-frequency-format-val", ["0", "1", "2", "10", "134", "999"])
    images = found(root).sets["all"]
    assert images.classes == tuple(names()[place] for place in (0, 1, 2, 10, 134, 999))
    assert match_classes(images, names(), known_to="the model").labels[::2].tolist() == [0, 1, 2, 10, 134, 999]
    assert images.read(6)[0, 0, 0] == 3  # of the folder 10, the fourth that was made
    trees.class_tree(tmp_path / "imagenetv2-top-images-format-val", ["0", "7"])
    with pytest.raises(DataError, match="these are 2 sets of ImageNet-V2") as caught:
        find_imagenet(str(tmp_path), Asked())
    assert caught.value.remedy == f"choose one: {tmp_path}/imagenetv2-matched-frequency-format-val"


def test_corrupted_images_are_one_set_for_each_severity(tmp_path: Path) -> None:
    for corruption in ("fog", "noise/shot_noise"):
        for severity in (1, 3, 5):
            trees.class_tree(tmp_path / corruption / str(severity), IDS[severity:], each=1)
    listed = corruptions(tmp_path)
    assert {name: sorted(levels) for name, levels in listed.items()} == {"fog": [1, 3, 5], "shot_noise": [1, 3, 5]}
    with pytest.raises(DataError, match=r"this is ImageNet-C: 2 corruptions \(fog, shot_noise\)") as caught:
        recognise(str(tmp_path), Asked())
    assert caught.value.remedy == f"choose one: {tmp_path}/fog/5"
    with pytest.raises(DataError, match="3 severities of one corruption"):
        recognise(str(tmp_path / "noise/shot_noise"), Asked())
    images = recognise(str(listed["shot_noise"][3]), Asked()).sets["all"]
    assert images.classes == tuple(names()[place] for place in PLACES[3:])
    assert corruptions(trees.class_tree(tmp_path / "stars", ["1", "2", "3", "4", "5"])) == {}


@pytest.fixture(scope="module")
def real_json(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The published labels, which come with timm."""
    path = tmp_path_factory.mktemp("real") / "real.json"
    path.write_text(trees.info("imagenet_real_labels.json"))
    return path


def test_real_is_read_as_published(real_json: Path) -> None:
    real = real_labels(real_json)
    sizes = np.diff(real.ends, prepend=0)
    assert np.bincount(sizes).tolist() == [3163, 39394, 5408, 1319, 411, 161, 88, 41, 13, 2]
    assert len(real.classes) == 57_553
    assert [np.flatnonzero(row).tolist() for row in real.rows(np.arange(5))] == [
        [],
        [795, 970],
        [230, 231],
        [809],
        [516, 850],
    ]


def test_real_scores_as_timm_does(real_json: Path) -> None:
    real = real_labels(real_json)
    files = [f"val/ILSVRC2012_val_{number:08d}.JPEG" for number in range(1, 50_001)]
    guesses = torch.from_numpy(np.random.default_rng(4).integers(0, 1000, 50_000))
    guesses[::3] = torch.from_numpy(real.main)[::3]
    judge = oracles.timm().data.RealLabelsImagenet(files, real_json=str(real_json), topk=(1,))
    judge.add_result(torch.nn.functional.one_hot(guesses[:3000], 1000).float())
    counted = np.flatnonzero(np.diff(real.ends[:3000], prepend=0))
    hits = real.rows(counted)[np.arange(len(counted)), guesses.numpy()[counted]]
    assert len(counted) == len(judge.is_correct[1])
    assert 100 * hits.mean(dtype=np.float64) == pytest.approx(judge.get_accuracy(1), abs=1e-9)


def test_images_get_real_s_labels_and_keep_their_own(tmp_path: Path, real_json: Path) -> None:
    numbers = (1, 2, 5, 4)  # nobody saw a class in the first
    for place, number in enumerate(numbers):
        trees.picture(tmp_path / "val" / IDS[3 - place] / f"ILSVRC2012_val_{number:08d}.JPEG", number)
    images = found(tmp_path / "val").sets["all"]
    (tmp_path / "real.json").write_text(real_json.read_text())
    path = find_real(tmp_path / "val")
    assert path == find_real(tmp_path) == tmp_path / "real.json"
    seen, notes = real_images(images, path)
    assert [key.rpartition("_")[2] for key in seen.keys] == ["00000004.JPEG", "00000005.JPEG", "00000002.JPEG"]
    assert seen.targets is not None
    assert [np.flatnonzero(row).tolist() for row in seen.targets.rows(np.arange(3))] == [[809], [516, 850], [795, 970]]
    assert not seen.targets.soft
    assert seen.classes == tuple(names())
    assert [seen.read(index)[0, 0, 0] for index in range(3)] == [4, 5, 2]
    assert notes == [f"{tmp_path}/val: 3 images with the labels of {path}; 1 in which people saw no class do not count"]
    assert len({images.fingerprint, seen.fingerprint, images.subset([0, 1, 2]).fingerprint}) == 3
    assert images.targets is None
    aligned = real_targets(images, real_labels(path))
    assert np.diff(aligned.ends, prepend=0).tolist() == [1, 2, 2, 0]


def test_real_is_for_the_validation_images_only(tmp_path: Path, real_json: Path) -> None:
    images = found(trees.class_tree(tmp_path, IDS)).sets["all"]
    with pytest.raises(DataError, match="validation images of ILSVRC 2012 only"):
        real_images(images, real_json)


@pytest.mark.parametrize("damage", ["", "[", "{}", "[[1]]", "short", "1000", "true", "twice", "text"])
def test_another_list_is_not_taken_for_real(tmp_path: Path, damage: str) -> None:
    rows: list[object] = [[] for _ in range(50_000)]
    rows[7] = {"1000": [1000], "true": [True], "twice": [4, 4], "text": "cat"}.get(damage, [3])
    if damage in ("1000", "true", "twice", "text"):
        damage = json.dumps(rows)
    elif damage == "short":
        damage = json.dumps(rows[1:])
    (tmp_path / "real.json").write_text(damage)
    with pytest.raises(DataError, match="this is not ReaL's list"):
        real_labels(tmp_path / "real.json")


# ---------------------------------------------------------------- a million files


def test_an_image_costs_little_more_than_its_name() -> None:
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        table = FileTable("imagenet/train")
        for place in range(5_000):
            table.add(f"n01440764/n01440764_{place:05d}.JPEG", 100_000 + place)
        kept = tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()
    assert kept < 5_000 * 70
    assert table.paths[4_999] == "imagenet/train/n01440764/n01440764_04999.JPEG"
    assert table.keys[0] == "n01440764/n01440764_00000.JPEG"
    assert table.sizes[7] == 100_007


def test_subsets_keep_their_files(tmp_path: Path) -> None:
    images = found(trees.class_tree(tmp_path, IDS)).sets["all"]
    few = dataclasses.replace(images.subset([5, 2]))
    assert list(few.keys) == [images.keys[5], images.keys[2]]
    assert (few.read(0) == images.read(5)).all()


def test_elements_that_lack_their_numbers_are_damage() -> None:
    """An empty head, fields without a length, and a letter that Unicode has not."""

    def element(kind: int, content: bytes) -> bytes:
        return struct.pack("<II", kind, len(content)) + content + bytes(-len(content) % 8)

    head, name = bytes(124) + b"\0\1IM", element(5, b"") + element(1, b"synsets")
    flags = element(6, struct.pack("<II", 2, 0))
    letter = element(
        14, element(6, struct.pack("<II", 4, 0)) + element(5, b"") + element(1, b"") + element(6, b"\xff" * 4)
    )
    for parts in (
        element(6, b"") + name,
        flags + name + element(5, b"") + element(1, b"WNID\0\0\0\0") + letter,
        flags + name + element(5, struct.pack("<I", 8)) + element(1, b"WNID\0\0\0\0") + letter,
    ):
        with pytest.raises(DataError, match="the file is damaged"):
            table_columns(head + element(14, parts), "synsets", ("WNID",), "meta.mat")
