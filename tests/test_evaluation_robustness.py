"""ImageNet's variants in their real layouts, before a model that reads its answer from an image's colour.

A picture's red and green say a number from 0 to 999; the model's logits fall with the distance from it, so that its
five best answers, and the best among any of the classes, are known by hand.
"""

from __future__ import annotations

import dataclasses
import functools
import json
from collections.abc import Callable
from pathlib import Path

import imagenet_trees as trees
import numpy as np
import pytest
import torch
from image_files import png
from torch import nn

import vitreous as vt
from vitreous.cli.variants import variant_named, variant_words
from vitreous.data.layouts.imagenet.catalogue import chosen_classes, find_variant, variant_names
from vitreous.data.layouts.imagenet.imagenet_labels import imagenet_wnids
from vitreous.data.layouts.imagenet.named import cut_centre
from vitreous.data.layouts.imagenet.objectnet import objectnet_ids
from vitreous.errors import DataError, ImageError, UsageError
from vitreous.evaluation.corruption import corruption_score, mean_over, missing_sets
from vitreous.evaluation.metrics import wilson_interval
from vitreous.evaluation.robustness import class_logits, evaluate_variant
from vitreous.predict import Predictor
from vitreous.pretrained import imagenet_names
from vitreous.published.robustness import ALEXNET_ERRORS, EXTRA_CORRUPTIONS
from vitreous.results.robustness import RobustnessResult, SeverityScore
from vitreous.study.robustness import score_variant

WNIDS = imagenet_wnids()


class Reader(nn.Module):
    """Answers with the number that an image's mean colour says."""

    def __init__(self, classes: tuple[str, ...] = imagenet_names(), size: int = 16) -> None:
        super().__init__()
        preprocess = vt.PreprocessConfig(image_size=(size, size), crop_ratio=0.5, mean=(0.0,) * 3, std=(1.0,) * 3)
        self.card = vt.ModelCard(preprocess=preprocess, classes=classes)
        known = {name: place for place, name in enumerate(imagenet_names())}
        self.place = torch.tensor([known.get(name, place) for place, name in enumerate(classes)])

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        red, green = (images.mean((2, 3))[:, :2] * 255 / 8).T
        number = 32 * red + green
        return -(number[:, None] - self.place - 0.25).abs()  # of two equally near, the smaller


def colour(number: int) -> tuple[int, int, int]:
    return number // 32 * 8, number % 32 * 8, 77


def picture(path: Path, number: int, *, height: int = 9, width: int = 7) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(encoded(number, height, width))
    return path


@functools.cache
def encoded(number: int, height: int, width: int) -> bytes:
    return png(np.full((height, width, 3), colour(number), np.uint8), 2)


def scored(
    name: str, root: Path, model: nn.Module | None = None, *, clean: bool = True, keep: Path | None = None
) -> RobustnessResult:
    return evaluate_variant(name, model or Reader(), root, batch_size=16, clean=clean, keep=keep)


def wnid_tree(root: Path, pictures: dict[int, list[int]]) -> Path:
    """Class folders, and in each pictures that say numbers."""
    for place, numbers in pictures.items():
        for index, number in enumerate(numbers):
            picture(root / WNIDS[place] / f"image_{index}.jpg", number)
    return root


# ---------------------------------------------------------------- names


def test_every_variant_is_known_by_its_name_and_others_are_refused_with_the_nearest() -> None:
    assert find_variant("ImageNet-A").title == "ImageNet-A"
    assert find_variant("imagenet-v2-matched-frequency") is find_variant("imagenet-v2")
    with pytest.raises(UsageError, match="no variant of ImageNet called 'imagenet-scetch'") as caught:
        find_variant("imagenet-scetch")
    assert "did you mean imagenet-sketch" in str(caught.value)
    assert all(name in str(caught.value) for name in variant_names())


@pytest.mark.parametrize("name", variant_names())
def test_data_that_are_not_there_are_named_with_where_to_get_them(tmp_path: Path, name: str) -> None:
    found = find_variant(name)
    with pytest.raises(DataError, match="is not there") as caught:
        scored(found.name, tmp_path)
    assert found.looks in str(caught.value)
    assert found.source in str(caught.value)
    with pytest.raises(DataError, match="there is no folder"):
        scored(found.name, tmp_path / "away")


def test_what_lies_there_packed_is_said(tmp_path: Path) -> None:
    (tmp_path / "imagenet-a.tar").write_bytes(b"")
    with pytest.raises(DataError, match=r"imagenet-a\.tar is there, but not unpacked"):
        scored("imagenet-a", tmp_path)


@pytest.mark.parametrize("name", ["imagenet-a", "imagenet-r"])
def test_the_200_classes_are_the_published_ones(name: str) -> None:
    published = trees.info(f"{name.replace('-', '_')}_synsets.txt").split()
    assert [WNIDS[place] for place in chosen_classes(name)] == published
    assert list(chosen_classes(name)) == list(map(int, trees.info(f"{name.replace('-', '_')}_indices.txt").split()))


# ---------------------------------------------------------------- A and R


def tree_of_a(root: Path) -> Path:
    """Two pictures in each of the 200 folders: the first says its class; the second another in every tenth folder."""
    chosen = chosen_classes("imagenet-a")
    return wnid_tree(
        root / "imagenet-a",
        {place: [place, chosen[-1 - n] if n % 10 == 0 else place] for n, place in enumerate(chosen)},
    )


def test_an_answer_is_chosen_among_the_200_classes_of_imagenet_a(tmp_path: Path) -> None:
    folder = tree_of_a(tmp_path)
    picture(folder / WNIDS[6] / "seven.jpg", 7)  # 7 is none of the 200, and the nearest of these is 6
    found = scored("imagenet-a", tmp_path)
    assert (found.seen, found.expected, found.answers, found.failed) == (401, 401, 200, ())
    assert found.top1 == pytest.approx(381 / 401)
    assert found.interval == wilson_interval(381, 401)
    assert found.clean is None
    assert found.drop is None
    assert not found.complete
    assert any("401 images; the published set has 7,500" in note for note in found.notes)
    assert any("validation images do not lie under --root" in note for note in found.notes)


def test_the_clean_score_is_on_the_same_200_classes(tmp_path: Path) -> None:
    tree_of_a(tmp_path)
    for place, number in ((6, 6), (7, 7), (11, 11), (11, 600)):  # 7 is none of the 200
        picture(tmp_path / "val" / WNIDS[place] / f"ILSVRC2012_val_{place * 1000 + number:08d}.JPEG", number)
    found = scored("imagenet-a", tmp_path)
    assert found.clean is not None
    assert (found.clean.seen, found.clean.expected, found.clean.answers) == (3, 3, 200)
    assert found.clean.top1 == pytest.approx(2 / 3)
    assert found.drop == pytest.approx(2 / 3 - 380 / 400)
    assert scored("imagenet-a", tmp_path, clean=False).clean is None


def test_clean_images_that_cannot_be_used_cost_no_score_and_are_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def said_of(*files: str) -> str:
        root = tmp_path / str(len(list(tmp_path.iterdir())))
        wnid_tree(root / "sketch", {5: [5]})
        for file in files:
            picture(root / file, 5)
        found = scored("imagenet-sketch", root)
        assert (found.seen, found.top1, found.clean, found.drop) == (1, 1.0, None, None)
        assert found.notes[-1] in capsys.readouterr().err
        return found.notes[-1]

    sorted_in, flat = f"{WNIDS[5]}/ILSVRC2012_val_00000001.JPEG", "ILSVRC2012_val_00000002.JPEG"
    assert "do not lie under --root" in said_of()
    assert "some validation images lie in" in said_of(f"val/{sorted_in}", f"val/{flat}")
    assert "there is no list of their labels" in said_of(f"val/{flat}")
    assert "2 folders could be ImageNet" in said_of(f"val/{sorted_in}", f"imagenet/val/{sorted_in}")


def test_other_classes_than_the_200_are_refused_with_both_counts(tmp_path: Path) -> None:
    folder = tree_of_a(tmp_path)
    picture(folder / WNIDS[7] / "1.jpg", 7)
    with pytest.raises(DataError, match="this is not ImageNet-A: 201 classes, the published set has 200"):
        scored("imagenet-a", tmp_path)
    (folder / WNIDS[7] / "1.jpg").unlink()
    (folder / WNIDS[6] / "image_0.jpg").unlink()
    (folder / WNIDS[6] / "image_1.jpg").unlink()
    with pytest.raises(DataError, match="199 classes, the published set has 200") as caught:
        scored("imagenet-a", tmp_path)
    assert WNIDS[6] in str(caught.value)


@pytest.mark.parametrize("stranger", ["extra", "n00004475"])
def test_folders_that_are_none_of_the_thousand_are_named(tmp_path: Path, stranger: str) -> None:
    folder = wnid_tree(tmp_path / "sketch", {5: [5]})
    picture(folder / stranger / "1.jpg", 5)
    with pytest.raises(
        DataError, match="1 folder of images without a WordNet id of ImageNet's 1,000 classes"
    ) as caught:
        scored("imagenet-sketch", tmp_path)
    assert stranger in str(caught.value)


def test_an_unreadable_image_is_named_and_counts_as_not_seen(tmp_path: Path) -> None:
    folder = tree_of_a(tmp_path)
    (folder / WNIDS[11] / "image_0.jpg").write_bytes(b"nothing")
    found = scored("imagenet-a", tmp_path)
    assert (found.seen, found.expected) == (399, 400)
    assert [Path(failure.path).parts[-2:] for failure in found.failed] == [(WNIDS[11], "image_0.jpg")]
    assert found.top1 == pytest.approx(379 / 399)


# ---------------------------------------------------------------- V2 and Sketch


def test_the_folders_of_v2_are_numbers_and_the_three_sets_are_three_names(tmp_path: Path) -> None:
    for folder, numbers in (("matched-frequency", (2, 10, 9)), ("threshold0.7", (2,)), ("top-images", (2, 10))):
        for number in numbers:
            picture(
                tmp_path / f"imagenetv2-{folder}-format-val" / str(number) / "a.jpeg", number if number != 9 else 99
            )
    found = scored("imagenet-v2", tmp_path)
    assert found.top1 == pytest.approx(2 / 3)  # by text, 10 would be class 0
    assert found.seen == 3
    assert found.answers == 1000
    assert scored("imagenet-v2-threshold0.7", tmp_path).seen == 1
    assert scored("imagenet-v2-top-images", tmp_path).top1 == 1.0
    picture(tmp_path / "val" / WNIDS[3] / "ILSVRC2012_val_00000007.JPEG", 3)
    assert scored("imagenet-v2", tmp_path).drop == pytest.approx(1 / 3)


def test_top_5_counts_the_five_nearest(tmp_path: Path) -> None:
    wnid_tree(tmp_path / "sketch", {500: [500, 499, 501, 498, 502, 497, 503]})
    found = scored("imagenet-sketch", tmp_path)
    assert found.top1 == pytest.approx(1 / 7)
    assert found.top5 == pytest.approx(5 / 7)


# ---------------------------------------------------------------- ReaL


def real_file(path: Path, labels: dict[int, list[int]]) -> None:
    path.write_text(json.dumps([labels.get(number, []) for number in range(1, 50_001)]))


def test_real_counts_the_images_that_have_labels_and_any_of_them_is_right(tmp_path: Path) -> None:
    says = {3: (500, [500, 20]), 7: (20, [900, 20]), 12: (31, [30]), 49_999: (5, []), 50_000: (800, [600])}
    for number, (shade, _) in says.items():
        own = {3: 500, 7: 21, 12: 31, 49_999: 5, 50_000: 600}[number]
        picture(tmp_path / "val" / WNIDS[own] / f"ILSVRC2012_val_{number:08d}.JPEG", shade)
    real_file(tmp_path / "real.json", {number: seen for number, (_, seen) in says.items()})
    found = scored("imagenet-real", tmp_path)
    assert (found.seen, found.expected) == (4, 4)  # nobody saw a class in the fifth
    assert found.top1 == pytest.approx(2 / 4)
    assert found.top5 == pytest.approx(3 / 4)
    assert found.clean is not None
    assert found.clean.seen == 5
    assert found.clean.top1 == pytest.approx(3 / 5)
    assert any("4 of 5 images count" in note for note in found.notes)


def test_real_needs_no_labels_of_2012(tmp_path: Path) -> None:
    for number in (3, 7, 12):
        picture(tmp_path / "val" / f"ILSVRC2012_val_{number:08d}.JPEG", number)
    real_file(tmp_path / "real.json", {3: [3], 7: [8], 12: [11, 12]})
    found = scored("imagenet-real", tmp_path)
    assert found.seen == 3
    assert found.top1 == pytest.approx(2 / 3)
    assert found.top5 == 1.0
    assert found.clean is None
    with pytest.raises(DataError, match="there is no list of their labels"):
        scored("imagenet", tmp_path)


def test_plain_imagenet_is_scored_flat_with_its_list(tmp_path: Path) -> None:
    folder, places = trees.flat_val(tmp_path / "ILSVRC2012" / "val"), trees.truth()
    for number in trees.NUMBERS:
        right = number != 12
        picture(folder / f"ILSVRC2012_val_{number:08d}.JPEG", int(places[number - 1]) if right else 0)
    trees.caffe_list(tmp_path / "ILSVRC2012" / "val.txt", places)
    found = scored("imagenet", tmp_path)
    assert found.seen == 5
    assert found.top1 == pytest.approx(4 / 5)
    assert found.clean is None


# ---------------------------------------------------------------- ObjectNet


def objectnet_tree(root: Path, spoil: Callable[[dict[str, int]], None] | None = None) -> Path:
    """Four folders, of which three have counterparts: a bed with two of ImageNet's classes, a drill, a tench."""
    words = [line.split("\t")[1] for line in class_lines()]
    order = np.random.default_rng(8).permutation(1000)  # the file of names has an order of its own
    mappings, images = root / "objectnet-1.0" / "mappings", root / "objectnet-1.0" / "images"
    mappings.mkdir(parents=True)
    (mappings / "imagenet_to_label_2012_v2").write_text("".join(f"{words[place]}\n" for place in order))
    lines = {str(place): int(line) for line, place in enumerate(order)}
    if spoil is not None:
        spoil(lines)
    (mappings / "pytorch_to_imagenet_2012_id.json").write_text(json.dumps(lines))
    titles = {"bed_2": "Bed", "drill": "Drill", "air_freshener": "Air freshener", "fish": "Fish"}
    (mappings / "folder_to_objectnet_label.json").write_text(json.dumps(titles))
    to = {"Fish": words[0], "Bed": f"{words[564]}; {words[831]}", "Drill": words[740]}
    (mappings / "objectnet_to_imagenet_1k.json").write_text(json.dumps(to))
    shown = {"bed_2": (564, 831, 830, 741), "drill": (740, 700, 0), "air_freshener": (1, 2), "fish": (0, 300)}
    for folder, numbers in shown.items():
        for index, number in enumerate(numbers):
            pixels = np.empty((12, 15, 3), np.uint8)
            pixels[:] = (255, 0, 0)
            pixels[2:-2, 2:-2] = colour(number)
            path = images / folder / f"{index}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(png(pixels, 2))
    return mappings


def class_lines() -> list[str]:
    lemmas = dict(line.split("\t") for line in trees.info("imagenet_synset_to_lemma.txt").splitlines())
    return [f"{wnid}\t{lemmas[wnid]}" for wnid in WNIDS]


def test_objectnet_is_answered_among_its_own_classes_without_the_red_border(tmp_path: Path) -> None:
    objectnet_tree(tmp_path)
    # bed: 564, 831 right; 830 is next to 831: right; 741 is the drill's. drill: 740, 700 right, 0 is the fish.
    # fish: 0 right, 300 is nearer to the bed (264) than to the fish. With the border, the mean colour would be another.
    found = scored("objectnet", tmp_path)
    assert (found.seen, found.expected, found.answers) == (9, 9, 3)
    assert found.top1 == pytest.approx(6 / 9)
    assert found.top5 == 1.0  # of three classes
    assert any("2 images of classes that it has not do not count" in note for note in found.notes)


def test_objectnet_s_mappings_are_followed_and_contradictions_refused(tmp_path: Path) -> None:
    assert objectnet_ids(objectnet_tree(tmp_path / "good")) == {"bed_2": (564, 831), "drill": (740,), "fish": (0,)}

    def shift(lines: dict[str, int]) -> None:
        for place in lines:
            lines[place] = (lines[place] + 1) % 1000

    with pytest.raises(DataError, match="contradict the names of ImageNet's classes"):
        objectnet_ids(objectnet_tree(tmp_path / "shifted", shift))
    mappings = objectnet_tree(tmp_path / "lacking")
    (mappings / "folder_to_objectnet_label.json").unlink()
    with pytest.raises(DataError, match="cannot be read"):
        objectnet_ids(mappings)
    (mappings / "folder_to_objectnet_label.json").write_text("[]")
    with pytest.raises(DataError, match="is damaged"):
        objectnet_ids(mappings)


def test_a_class_has_the_largest_of_its_logits() -> None:
    logits = np.random.default_rng(2).normal(size=(6, 1000)).astype(np.float32)
    ids = [(5,), (999, 3, 41), (0, 5), (17,)]
    slow = np.array([[max(float(row[place]) for place in each) for each in ids] for row in logits])
    assert (class_logits(logits, ids) == slow).all()
    assert (class_logits(logits, [(7,), (2,)]) == logits[:, [7, 2]]).all()


# ---------------------------------------------------------------- C


def corrupted_tree(root: Path, wrong: dict[str, int], names: tuple[str, ...], each: int = 4) -> Path:
    """Some pictures in each severity of each corruption, `wrong` of them in every severity saying something else."""
    for name in names:
        for severity in range(1, 6):
            for index in range(each):
                number = 700 if index < wrong.get(name, 0) else 10 * index
                path = root / name / str(severity) / WNIDS[10 * index] / f"ILSVRC2012_val_{index + 1:08d}.JPEG"
                picture(path, number, height=224, width=224)
    return root


def severities(errors: list[float]) -> list[SeverityScore]:
    return [
        SeverityScore(severity=n, top1=1 - error, top5=1.0, seen=9, expected=9, failed=())
        for n, error in enumerate(errors, 1)
    ]


def test_corruption_error_in_closed_form() -> None:
    found = corruption_score("fog", severities([0.1, 0.2, 0.3, 0.4, 0.5]), 0.1)
    assert found.error == pytest.approx(0.3)
    assert found.ce == pytest.approx(0.3 / 0.819324)
    assert found.relative_ce == pytest.approx((0.3 - 0.1) / (0.819324 - 0.435))
    assert corruption_score("fog", severities([0.1] * 4), 0.1).error is None
    extra = corruption_score("saturate", severities([0.2] * 5), 0.1)
    assert extra.error == pytest.approx(0.2)
    assert extra.ce is None
    assert extra.relative_ce is None
    alexnet = [corruption_score(name, severities([error] * 5), 0.435) for name, error in ALEXNET_ERRORS.items()]
    assert mean_over(each.ce for each in alexnet) == pytest.approx(1.0)
    assert mean_over(each.relative_ce for each in alexnet) == pytest.approx(1.0)
    assert mean_over([0.5, None]) is None
    assert len(ALEXNET_ERRORS) == 15


def test_what_the_mce_lacks() -> None:
    there = {name: list(range(1, 6)) for name in ALEXNET_ERRORS}
    assert missing_sets(there) == ()
    del there["fog"]
    there["snow"] = [1, 2, 5]
    assert missing_sets(there) == ("snow/3", "snow/4", "fog")


def test_imagenet_c_has_an_mce_when_all_of_it_is_there(tmp_path: Path) -> None:
    wrong = {"fog": 1, "snow": 2, "saturate": 2}
    corrupted_tree(tmp_path / "imagenet-c", wrong, (*ALEXNET_ERRORS, "saturate"), each=2)
    picture(tmp_path / "val" / WNIDS[0] / "ILSVRC2012_val_00000001.JPEG", 0)
    found = scored("imagenet-c", tmp_path, Reader(size=224))
    assert (found.seen, found.expected) == (150, 150)
    assert found.mce == pytest.approx((0.5 / 0.819324 + 1 / 0.866816) / 15)
    assert found.relative_mce == pytest.approx((0.5 / (0.819324 - 0.435) + 1 / (0.866816 - 0.435)) / 15)
    assert {score.name: score.error for score in found.corruptions if score.error} == {"fog": 0.5, "snow": 1.0}
    assert [(score.name, score.error, score.ce) for score in found.extra] == [("saturate", 1.0, None)]
    assert found.top1 == pytest.approx(1 - 1.5 / 15)
    assert (found.interval, found.missing) == (None, ())
    assert any("not resized" in note for note in found.notes)


def test_with_anything_missing_there_is_no_mce(tmp_path: Path) -> None:
    corrupted_tree(tmp_path, {"fog": 2}, ("fog", "brightness"))
    (tmp_path / "fog" / "3").rename(tmp_path / "away")
    found = scored("imagenet-c", tmp_path, Reader(size=32))
    assert (found.mce, found.relative_mce) == (None, None)
    assert "fog/3" in found.missing
    assert len(found.missing) == 14
    assert [(score.name, score.error) for score in found.corruptions] == [("fog", None), ("brightness", 0.0)]
    assert any("resized to the model's 32 x 32" in note for note in found.notes)


def test_scores_that_were_written_down_are_not_made_again(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder, memory = corrupted_tree(tmp_path / "imagenet-c", {"fog": 2}, ("fog",)), tmp_path / "severities.json"
    before = scored("imagenet-c", tmp_path, Reader(size=32), keep=tmp_path)
    written = json.loads(memory.read_text())
    assert [score["severity"] for score in written.values()] == [1, 2, 3, 4, 5]
    first, second, *_ = written
    written[first]["top1"] = 0.0  # to be seen where it is read again
    written[second] = {"severity": "none"}  # somebody changed it
    memory.write_text(json.dumps(written))
    picture(folder / "fog/4" / WNIDS[0] / "ILSVRC2012_val_00000001.JPEG", 0, height=225, width=224)  # another file
    after = scored("imagenet-c", tmp_path, Reader(size=32), keep=tmp_path).corruptions[0]
    assert [each.top1 for each in after.severities] == [0.0, 0.5, 0.5, 0.75, 0.5]
    assert capsys.readouterr().err.count("as it was written down before") == 3
    assert len(json.loads(memory.read_text())) == 6
    scored("imagenet-c", tmp_path, Reader(size=48), keep=tmp_path)  # another input, other scores
    assert len(json.loads(memory.read_text())) == 11
    names = imagenet_names()
    turned = scored("imagenet-c", tmp_path, Reader((*names[1:], names[0]), size=32), keep=tmp_path)
    assert len(json.loads(memory.read_text())) == 16  # the same weights, answering with other classes
    assert turned.seen == before.seen
    memory.write_text("[")
    assert scored("imagenet-c", tmp_path, Reader(size=32), keep=tmp_path).top1 == pytest.approx(before.top1 + 0.05)


def test_corrupted_images_show_their_centre_only() -> None:
    image = np.arange(240 * 230 * 3, dtype=np.int64).reshape(240, 230, 3).astype(np.uint8)
    assert (cut_centre(image) == image[8:232, 3:227]).all()
    assert (cut_centre(image[:224, :224]) == image[:224, :224]).all()
    with pytest.raises(ImageError, match="64 x 240"):
        cut_centre(image[:, :64])


# ---------------------------------------------------------------- models


def test_a_model_s_classes_count_by_name(tmp_path: Path) -> None:
    wnid_tree(tmp_path / "sketch", {5: [5], 900: [900], 77: [78]})
    names = imagenet_names()
    shuffled = tuple(names[place] for place in np.random.default_rng(1).permutation(1000))
    assert scored("imagenet-sketch", tmp_path, Reader(shuffled)).top1 == pytest.approx(2 / 3)


def test_a_model_of_other_classes_is_refused(tmp_path: Path) -> None:
    wnid_tree(tmp_path / "sketch", {5: [5]})
    for classes in (("cat", "dog"), tuple(f"class {number}" for number in range(1000))):
        with pytest.raises(UsageError, match="is for models that answer with ImageNet's 1,000 classes"):
            scored("imagenet-sketch", tmp_path, Reader(classes))


def test_outputs_without_names_are_taken_in_order_and_that_is_said(tmp_path: Path) -> None:
    wnid_tree(tmp_path / "sketch", {5: [5]})
    config = dataclasses.replace(vt.create_model("vit-test").config, num_classes=1000, image_size=(32, 32))
    predictor = Predictor(config)
    found = evaluate_variant("imagenet-sketch", predictor, tmp_path, called="mine")
    assert "mine: its 1,000 outputs have no names; taken in the order of ImageNet's classes" in found.notes


def test_the_folder_itself_is_found_from_within(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(wnid_tree(tmp_path / "imagenet-sketch", {5: [5]}))
    assert scored("imagenet-sketch", Path()).seen == 1
    monkeypatch.chdir(WNIDS[5])
    assert scored("imagenet-sketch", Path("..")).seen == 1


def test_several_folders_that_could_be_meant_are_refused(tmp_path: Path) -> None:
    for folder in ("imagenet-sketch", "sketch"):
        wnid_tree(tmp_path / folder, {5: [5]})
    with pytest.raises(DataError, match="2 folders could be ImageNet-Sketch"):
        scored("imagenet-sketch", tmp_path)


def test_the_extra_corruptions_are_none_of_the_fifteen() -> None:
    assert not set(EXTRA_CORRUPTIONS) & set(ALEXNET_ERRORS)


# ---------------------------------------------------------------- the command


def test_a_word_is_a_variant_where_it_is_no_folder_or_root_is_given(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert variant_named("mnist-5k", None) is None
    assert variant_named("data/imagenet-a", "data") is None
    assert variant_named("ImageNet-A", "data") == "imagenet-a"
    for files in ("imagenet-val-{000..063}.tar", "imagenet-*.tar", "imagenet_val.csv", "imagenet-a/", "./imagenet"):
        assert variant_named(files, None) is None
    assert variant_named("imagenet-v2-threshold0.7", "data") == "imagenet-v2-threshold0.7"
    with pytest.raises(UsageError, match="did you mean imagenet-a"):
        variant_named("imagenet-aa", "data")
    with pytest.raises(UsageError, match="no variant of ImageNet called 'imagenet100', nor a file or folder"):
        variant_named("imagenet100", None)
    with pytest.raises(UsageError, match="nothing says where it lies") as caught:
        variant_named("imagenet-a", None)
    assert "--root DIR" in str(caught.value)
    (tmp_path / "imagenet-a").mkdir()
    assert variant_named("imagenet-a", None) is None
    assert variant_named("imagenet-a", "data") == "imagenet-a"


def test_the_score_is_said_with_what_others_report_and_written_as_files(tmp_path: Path) -> None:
    corrupted_tree(tmp_path / "imagenet-c", {"fog": 2}, ("fog", "snow"))
    found = score_variant("imagenet-c", Reader(size=32), tmp_path, out=tmp_path / "out", called="mine", batch_size=16)
    said = "\n".join(variant_words(found))
    assert "none: 13 parts of it missing" in said
    assert "ResNet-50 (clean error 23.85 %)" in said
    assert "76.7 %" in said
    assert "not comparable: 40 images were scored, others scored 3,750,000" in said
    names = {"report.html", "robustness.json", "robustness.md", "robustness.png", "robustness.svg", "severities.json"}
    assert {path.name for path in (tmp_path / "out").iterdir()} == names
    written = json.loads((tmp_path / "out" / "robustness.json").read_text())
    assert (written["mce"], written["seen"], written["expected"]) == (None, 40, 40)
    assert written["corruptions"][0]["severities"][0]["top1"] in (0.5, 1.0)
    page = (tmp_path / "out" / "report.html").read_text()
    assert "no mCE: 13 parts of ImageNet-C missing" in page
    assert "fog" in (tmp_path / "out" / "robustness.md").read_text()
