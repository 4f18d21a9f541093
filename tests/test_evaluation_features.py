"""Frozen features: what the head reads, the same alone and among others, found again, nobody dropped."""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from random_resnet import random_resnet
from random_vit import random_vit
from torch import Tensor, nn

from vitreous.config import ModelCard, PreprocessConfig
from vitreous.data.imageset import ImageSet, array_set
from vitreous.data.sources import open_images
from vitreous.errors import DataError, ImageError, ResourceError, UsageError
from vitreous.evaluation import features
from vitreous.evaluation.features import extract, frozen, num_layers
from vitreous.evaluation.fewshot import few_shot
from vitreous.model.vit import ViT
from vitreous.picture.preprocess import fit, normalise
from vitreous.predict import Predictor


def images(count: int = 37, side: int = 11) -> ImageSet:
    draw = np.random.default_rng(5)
    pixels = draw.integers(0, 256, (count, side, side + 2, 3), dtype=np.uint8)
    return array_set("noise", pixels, np.arange(count) % 3, ("ant", "bee", "cat"))


def inputs(predictor: Predictor, some: ImageSet) -> Tensor:
    whole = np.stack([fit(some.read(place), predictor.preprocess) for place in range(len(some))])
    return torch.from_numpy(normalise(whole, predictor.preprocess))


KINDS: dict[str, dict[str, Any]] = {
    "class token": {},
    "mean": {"class_token": False, "pool": "mean", "pool_norm": "after"},
    "attention pooling": {"class_token": False, "pool": "map"},
    "registers and tanh": {"registers": 2, "representation_size": 19},
    "token and mean": {"pool": "cls+mean"},
}


@pytest.mark.parametrize("kind", KINDS)
@torch.inference_mode()
def test_pooled_is_what_the_head_reads(kind: str) -> None:
    """The head on the pooled features gives the logits, for every way of pooling."""
    model, some = random_vit(**KINDS[kind]), images()
    predictor = frozen(model_with_card(model))
    found = extract(predictor, some)
    logits = model.head(torch.from_numpy(np.array(found.pooled)))
    torch.testing.assert_close(logits, model(inputs(predictor, some)), atol=2e-5, rtol=1e-4)
    assert (37, 37, ()) == (found.seen, found.expected, found.failed)
    assert some.labels.tolist() == found.labels.tolist()
    assert found.reads


def model_with_card(model: ViT) -> ViT:
    size = model.config.image_size
    model.card = ModelCard(architecture=model.config, preprocess=PreprocessConfig(image_size=size, resize="squash"))
    return model.eval()


@torch.inference_mode()
def test_the_mean_of_a_resnet_is_what_its_head_reads() -> None:
    model, some = random_resnet(), images(21)
    predictor = frozen(model)
    found = extract(predictor, some, layers=(0, -1))
    assert model.head.fc is not None
    logits = model.head.fc(torch.from_numpy(found.pooled)[:, :, None, None]).flatten(1)
    torch.testing.assert_close(logits, model(inputs(predictor, some)), atol=2e-5, rtol=1e-4)
    np.testing.assert_allclose(found.by_layer[2][0], found.pooled, atol=1e-6)  # the last unit, behind the final norm
    assert (21, 256) == found.by_layer[0][1].shape


@torch.inference_mode()
def test_blocks_come_behind_the_final_norm() -> None:
    """As DINOv2's get_intermediate_layers(norm=True): written out with the modules themselves."""
    model, some = model_with_card(random_vit(**KINDS["registers and tanh"])), images(18)
    predictor = frozen(model)
    found = extract(predictor, some, layers=(-3, 1))
    assert [0, 1] == sorted(found.by_layer)
    x = model.features(inputs(predictor, some), "blocks.0").taps["blocks.0"]
    normed = torch.nn.functional.layer_norm(x, (28,), model.norm.weight, model.norm.bias, model.norm.eps)
    first, mean = found.by_layer[0]
    np.testing.assert_allclose(first, normed[:, 0], atol=1e-5)
    np.testing.assert_allclose(mean, normed[:, 3:].mean(1), atol=1e-5)  # a class token and two registers stand before


def test_a_block_of_a_mean_pooled_model_is_normed_after_pooling() -> None:
    model = model_with_card(random_vit(**KINDS["mean"]))
    found = extract(frozen(model), images(17), layers=(2,))
    np.testing.assert_allclose(found.by_layer[2][0], found.pooled, atol=1e-6)
    np.testing.assert_array_equal(*found.by_layer[2])


def test_an_image_alone_has_the_features_it_has_among_others() -> None:
    predictor, some = frozen(model_with_card(random_vit())), images(23)
    among = extract(predictor, some, layers=(1,))
    alone = extract(predictor, some.subset([19]), layers=(1,))
    np.testing.assert_array_equal(among.pooled[19], alone.pooled[0])
    np.testing.assert_array_equal(among.by_layer[1][1][19], alone.by_layer[1][1][0])


@torch.inference_mode()
def test_a_model_without_a_head_has_features() -> None:
    """Its own answer is what a head would read."""
    model = model_with_card(random_vit(num_classes=0))
    predictor, some = frozen(model), images(5)
    torch.testing.assert_close(torch.from_numpy(extract(predictor, some).pooled), model(inputs(predictor, some)))


class Own(nn.Module):
    """Somebody's own network, whose last linear layer reads 6 numbers."""

    def __init__(self, flat: bool = True) -> None:
        super().__init__()
        self.first, self.last, self.flat = nn.Linear(3, 6), nn.Linear(6, 2), flat

    def forward(self, x: Tensor) -> Tensor:
        x = self.first(x.mean(dim=(2, 3)) if self.flat else x.permute(0, 2, 3, 1)).tanh()
        return self.last(x) if self.flat else self.last(x).mean(dim=(1, 2))


@torch.inference_mode()
def test_of_somebodys_own_module_the_last_linear_layer_tells() -> None:
    model, some = Own(), images(9)
    predictor = frozen((model, ModelCard(preprocess=PreprocessConfig(image_size=(16, 24)))))
    expected = model.first(inputs(predictor, some).mean(dim=(2, 3))).tanh()
    torch.testing.assert_close(torch.from_numpy(extract(predictor, some).pooled), expected)
    with pytest.raises(UsageError, match="no block 0"):
        extract(predictor, some, layers=(0,))
    other = frozen((Own(flat=False), ModelCard(preprocess=PreprocessConfig(image_size=(16, 24)))))
    with pytest.raises(UsageError, match=r"shape \(16, 16, 24, 6\)"):
        extract(other, some)


def test_an_unknown_block_is_one_clear_error() -> None:
    predictor = frozen(model_with_card(random_vit()))
    assert 3 == num_layers(predictor)
    with pytest.raises(UsageError, match=r"no block 3\n.*blocks 0 to 2"):
        extract(predictor, images(3), layers=(3,))


def photos(folder: Path) -> ImageSet:
    draw = np.random.default_rng(2)
    for place in range(6):
        path = folder / ("ant" if place % 2 else "bee") / f"{place}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(draw.integers(0, 256, (9, 13, 3), dtype=np.uint8)).save(path)
    return open_images(str(folder))


def test_features_are_found_again_until_a_photo_changes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    predictor, cache = frozen(model_with_card(random_vit())), tmp_path / "cache"
    some = photos(tmp_path / "photos")
    (tmp_path / "photos" / "ant" / "3.png").write_bytes(b"no image")
    first = extract(predictor, some, layers=(0, 2), cache=cache)
    assert (5, 6) == (first.seen, first.expected)
    assert ["3.png"] == [Path(failure.path).name for failure in first.failed]
    assert isinstance(first.pooled, np.memmap)
    in_memory = extract(predictor, some, layers=(0, 2))
    np.testing.assert_array_equal(first.pooled, in_memory.pooled)
    np.testing.assert_array_equal(first.by_layer[2][1], in_memory.by_layer[2][1])

    with monkeypatch.context() as patch:
        patch.setattr(features, "_pass", None)  # nothing may be computed
        again = extract(predictor, some, layers=(0, 2), cache=cache)
        np.testing.assert_array_equal(first.pooled, again.pooled)
        np.testing.assert_array_equal(first.places, again.places)
        assert first.failed == again.failed

    Image.new("RGB", (9, 9), (200, 30, 10)).save(tmp_path / "photos" / "ant" / "3.png")
    mended = extract(predictor, some, layers=(0, 2), cache=cache)
    assert (6, ()) == (mended.seen, mended.failed)
    assert 2 == len(list(cache.iterdir()))


def test_another_model_other_blocks_or_other_pixels_have_features_of_their_own(tmp_path: Path) -> None:
    some, model = images(4), model_with_card(random_vit())
    extract(frozen(model), some, cache=tmp_path)
    extract(frozen(model), some, layers=(1,), cache=tmp_path)
    extract(frozen(model, precision="bfloat16"), some, cache=tmp_path)
    assert model.card is not None
    card = dataclasses.replace(
        model.card, preprocess=PreprocessConfig(image_size=(24, 40), resize="squash", mean=(0.1, 0.2, 0.3))
    )
    extract(frozen((model, card)), some, cache=tmp_path)
    with torch.no_grad():
        model.norm.bias[3] += 1e-3
    extract(frozen(model), some, cache=tmp_path)
    assert 5 == len(list(tmp_path.iterdir()))
    extract(frozen(model), some, cache=tmp_path)
    assert 5 == len(list(tmp_path.iterdir()))


def test_damaged_features_are_made_anew(tmp_path: Path) -> None:
    predictor, some = frozen(model_with_card(random_vit())), images(4)
    whole = np.array(extract(predictor, some, cache=tmp_path).pooled)
    (file,) = tmp_path.glob("*/pooled.npy")
    file.write_bytes(file.read_bytes()[:-5])
    np.testing.assert_array_equal(whole, extract(predictor, some, cache=tmp_path).pooled)
    assert len(file.read_bytes()) == file.stat().st_size > 4 * 28 * 4


def test_an_image_that_can_be_read_again_is_looked_at_again(tmp_path: Path) -> None:
    predictor, some, broken = frozen(model_with_card(random_vit())), photos(tmp_path / "photos"), {3}
    read = some.read

    def fails(place: int) -> np.ndarray:
        if place in broken:
            raise ImageError("the network is away", where=some.ids[place])
        return read(place)

    some = dataclasses.replace(some, read=fails, encoded=None)
    assert 5 == extract(predictor, some, cache=tmp_path / "cache").seen
    assert 5 == extract(predictor, some, cache=tmp_path / "cache").seen
    broken.clear()
    assert 6 == extract(predictor, some, cache=tmp_path / "cache").seen


def test_what_could_change_unnoticed_is_not_found_again(tmp_path: Path) -> None:
    model, shift = model_with_card(random_vit()), 0

    def read(place: int) -> np.ndarray:
        return np.full((9, 9, 3), 20 * place + shift, np.uint8)

    some = ImageSet(name="drawn", classes=("a", "b"), ids=["1", "2"], labels=np.array([0, 1]), read=read)
    before = np.array(extract(frozen(model), some, cache=tmp_path).pooled)
    shift = 100
    after = extract(frozen(model), some, cache=tmp_path).pooled
    assert np.abs(after - before).max() > 1e-3

    class Mine(nn.Module):
        def __init__(self, factor: float) -> None:
            super().__init__()
            self.factor, self.head = factor, nn.Linear(3, 2)
            nn.init.ones_(self.head.weight)
            nn.init.zeros_(self.head.bias)

        def forward(self, images: torch.Tensor) -> torch.Tensor:
            logits: torch.Tensor = self.head(self.factor * images.mean(dim=(2, 3)))
            return logits

    known, card = images(4), ModelCard(preprocess=PreprocessConfig(image_size=(9, 9)), classes=("a", "b"))
    one, two = (extract(frozen((Mine(factor), card)), known, cache=tmp_path).pooled for factor in (1.0, 2.0))
    np.testing.assert_allclose(two, 2 * one, rtol=1e-6)
    assert [] == list(tmp_path.iterdir())


def test_features_that_were_not_used_for_longest_give_way(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    predictor = frozen(model_with_card(random_vit()))
    sets = [images(count) for count in (40, 41, 42)]
    left = tmp_path / ".writing-1-00ff00ff"
    left.mkdir()
    (left / "pooled.npy").touch()
    for aged in (left / "pooled.npy", left):
        os.utime(aged, (0, 0))
    other = tmp_path / "mine.txt"
    other.touch()
    monkeypatch.setattr("shutil.disk_usage", lambda _: type("Usage", (), {"free": 30_000}))
    kept: list[Path] = []
    for place, some in enumerate(sets[:2]):
        extract(predictor, some, cache=tmp_path)
        kept += [facts.parent for facts in tmp_path.glob("*/facts.json") if facts.parent not in kept]
        os.utime(kept[-1] / "facts.json", (1_000 + place, 1_000 + place))
    assert (not left.exists(), 2) == (True, len(kept))
    extract(predictor, sets[0], cache=tmp_path)  # used, and so the younger of the two
    size = sum(file.stat().st_size for file in kept[0].iterdir())
    monkeypatch.setattr("shutil.disk_usage", lambda _: type("Usage", (), {"free": 3 * size}))  # half of 5 is 2
    extract(predictor, sets[2], cache=tmp_path)
    assert (True, False, True) == (kept[0].exists(), kept[1].exists(), other.exists())


def test_what_is_interrupted_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    predictor, some = frozen(model_with_card(random_vit()), batch_size=16), images(70)
    calls = []

    def fail(*given: object) -> np.ndarray:
        calls.append(given)
        if len(calls) > 2:
            raise KeyboardInterrupt
        return real(*given)  # type: ignore[arg-type]

    real = features._pass
    monkeypatch.setattr(features, "_pass", fail)
    with pytest.raises(KeyboardInterrupt):
        extract(predictor, some, cache=tmp_path)
    assert [] == list(tmp_path.iterdir())


def test_a_full_disk_is_told_before_anything_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.disk_usage", lambda _: type("Usage", (), {"free": 10}))
    with pytest.raises(ResourceError, match=r"disk is full(.|\n)*VITREOUS_CACHE"):
        extract(frozen(model_with_card(random_vit())), images(4), cache=tmp_path)
    assert [] == list(tmp_path.iterdir())


def test_not_one_readable_image_is_an_error(tmp_path: Path) -> None:
    some = photos(tmp_path / "photos")
    for name in some.ids:
        Path(name).write_bytes(b"no image")
    with pytest.raises(DataError, match="not one of the images"):
        extract(frozen(model_with_card(random_vit())), some, cache=tmp_path / "cache")


def test_features_of_a_name_are_those_of_fixed_weights() -> None:
    some = images(3)
    np.testing.assert_array_equal(extract(frozen("vit-test"), some).pooled, extract(frozen("vit-test"), some).pooled)


def test_a_subset_keeps_what_belongs_together() -> None:
    whole = extract(frozen(model_with_card(random_vit())), images(12), layers=(0,))
    some = whole.subset(np.array([7, 2]))
    np.testing.assert_array_equal(whole.by_layer[0][0][[7, 2]], some.by_layer[0][0])
    assert ([7, 2], 2, 2) == (some.places.tolist(), some.seen, some.expected)
    assert 12 == few_shot(whole, whole, shots=(1,)).seen
