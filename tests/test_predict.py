"""Predictor: the same answer alone and among others, everything taken from the card, every image accounted for."""

from __future__ import annotations

import dataclasses
import io
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import vit_options
from native_files import CLASSES, card_for, saved
from numpy.typing import NDArray
from PIL import Image
from random_resnet import random_resnet
from random_vit import random_vit
from scipy import special
from torch import nn

from vitreous.architecture import ViTConfig
from vitreous.config import ModelCard, PreprocessConfig
from vitreous.errors import ImageError, ModelFileError, UsageError
from vitreous.model.create import build as build_model
from vitreous.model.create import create_model
from vitreous.model.prepare import prepare
from vitreous.model.vit import ViT
from vitreous.picture.preprocess import preprocess
from vitreous.predict import Predictor, _images_per_pass, ranked, softmax
from vitreous.results import Failure, Prediction
from vitreous.zoo import find_model


def pixels(count: int, size: tuple[int, int], seed: int = 0) -> NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 256, (count, *size, 3), dtype=np.uint8)


def trained_size(config: ViTConfig) -> ViT:
    """A random ViT whose logits are as large as a trained one's, about 10."""
    model = create_model(config, seed=0)
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for value in model.parameters():  # nothing stays zero or one
            value += 0.02 * torch.randn(value.shape, generator=generator)
        model.head.weight.normal_(std=4 / model.head.in_features**0.5, generator=generator)
    return model


class Convolutional(nn.Module):
    """Somebody's own network: no ViT, and no attention."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(3, 40, 3, padding=1), nn.BatchNorm2d(40), nn.ReLU(), nn.Dropout(0.5), nn.Conv2d(40, 72, 5, 3)
        )
        self.head = nn.Linear(72, 6)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.head(self.body(images).mean((2, 3))) * 60


_SHAPES = [  # the first two in passes of 64, the third and fourth of 16, the last of one image
    ViTConfig(image_size=(28, 35), patch_size=(7, 7), embed_dim=64, num_heads=4, mlp_dim=256, depth=6, num_classes=10),
    ViTConfig(
        image_size=(48, 32), patch_size=(16, 16), embed_dim=192, num_heads=3, mlp_dim=768, depth=3, num_classes=1000
    ),
    ViTConfig(
        image_size=(32, 48), patch_size=(8, 8), embed_dim=384, num_heads=6, mlp_dim=1536, depth=2, num_classes=10
    ),
    ViTConfig(
        image_size=(64, 72),
        patch_size=(8, 8),
        embed_dim=64,
        num_heads=4,
        mlp_dim=128,
        depth=2,
        num_classes=1000,
        pool="mean",
        representation_size=48,
    ),
    ViTConfig(
        image_size=(72, 80), patch_size=(8, 8), embed_dim=768, num_heads=12, mlp_dim=1536, depth=1, num_classes=37
    ),
]


_OPTIONS = (
    "registers", "distillation", "attention pooling, everything on", "gated", "rotary of DINOv3", "relative, shared",
    "learned at every block", "windows and tokens in front", "axial and tokens in front", "layer scale", "hybrid",
    "hybrid of the other style", "semantic tokens of a hybrid",
)  # fmt: skip


def _options() -> Iterator[Any]:
    """Small models of every kind with every number random; none of their logits are flat."""
    for name in _OPTIONS:
        yield pytest.param(lambda name=name: vit_options.drawn(vit_options.option(name)), id=name)
    yield pytest.param(lambda: random_resnet(), id="BiT")
    yield pytest.param(lambda: random_resnet(style="v1", layers=(1, 1)), id="ResNet")


@pytest.mark.usefixtures("threads")
@pytest.mark.parametrize("build", list(_options()))
def test_every_architecture_answers_an_image_alike_alone_and_in_any_batch(build: Any) -> None:
    """Within 1e-6 in float32, in passes of 16 and of the Predictor's own choice."""
    model = build()
    card = ModelCard(
        architecture=model.config,
        preprocess=PreprocessConfig(image_size=model.config.image_size),
        classes=tuple(map(str, range(11))),
    )
    images = pixels(35, model.config.image_size)
    for batch_size in (None, 16):
        predictor = Predictor((model, card), batch_size=batch_size)
        together = predictor.logits(images)
        assert 0.5 < together.std()
        for size, first in [(1, 0), (1, 13), (1, 34), (3, 2), (16, 17)]:
            some = slice(first, first + size)
            np.testing.assert_allclose(predictor.logits(images[some]), together[some], rtol=0, atol=1e-6)
        shuffled = np.random.default_rng(1).permutation(len(images))
        np.testing.assert_allclose(predictor.logits(images[shuffled]), together[shuffled], rtol=0, atol=1e-6)


@pytest.mark.parametrize(
    ("name", "side", "images"),
    [("bit-r50x1", 224, 16), ("bit-r50x1", 480, 1), ("bit-r152x4", 224, 1), ("r26+vit-s32", 224, 16),
     ("r50+vit-b16", 224, 1), ("r26+vit-s32", 512, 1)],
)  # fmt: skip
def test_a_pass_of_a_resnet_is_as_large_as_its_maps_allow(name: str, side: int, images: int) -> None:
    """A single image is not kept waiting for fifteen others, nor memory filled, where one keeps the CPU busy."""
    with torch.device("meta"):
        model = build_model(dataclasses.replace(find_model(name), image_size=(side, side)))
    assert images == _images_per_pass(model, (side, side), "cpu", None)


def _models() -> Iterator[Any]:
    for config in _SHAPES:
        card = ModelCard(
            architecture=config,
            preprocess=PreprocessConfig(image_size=config.image_size),
            classes=tuple(map(str, range(config.num_classes))),
        )
        yield pytest.param(lambda config=config: trained_size(config), card, id=f"vit-{config.embed_dim}-{config.pool}")
    card = ModelCard(preprocess=PreprocessConfig(image_size=(20, 26)), classes=tuple("abcdef"))
    yield pytest.param(lambda: Convolutional(), card, id="convolutional")


@pytest.fixture(params=[1, 2])
def threads(request: pytest.FixtureRequest) -> Iterator[int]:
    before = torch.get_num_threads()
    torch.set_num_threads(request.param)
    yield request.param
    torch.set_num_threads(before)


@pytest.mark.usefixtures("threads")
@pytest.mark.parametrize("batch_size", [None, 5])
@pytest.mark.parametrize(("build", "card"), list(_models()))
def test_an_image_has_the_same_logits_alone_and_in_any_batch(build: Any, card: ModelCard, batch_size: Any) -> None:
    """Within 1e-6 in float32, at the size of trained logits, wherever in a batch of 1, 3, 64 or 67 it stands."""
    torch.manual_seed(0)
    predictor = Predictor((build(), card), batch_size=batch_size)
    images = pixels(67 if math.prod(card.preprocess.image_size) < 5000 else 19, card.preprocess.image_size)
    together = predictor.logits(images)
    assert 3 < np.abs(together).max() < 100
    for size, first in [(1, 0), (1, 6), (1, 31), (1, 66), (3, 2), (3, 40), (64, 3)]:
        some = slice(first, first + size)
        np.testing.assert_allclose(predictor.logits(images[some]), together[some], rtol=0, atol=1e-6)
    shuffled = np.random.default_rng(1).permutation(len(images))
    np.testing.assert_allclose(predictor.logits(images[shuffled]), together[shuffled], rtol=0, atol=1e-6)


@pytest.mark.parametrize(("asked", "pass_"), [(1, 1), (2, 16), (16, 16), (17, 32), (100, 112)])
def test_a_pass_is_one_image_or_a_multiple_of_sixteen(asked: int, pass_: int) -> None:
    assert Predictor("vit-test", batch_size=asked).batch_size == pass_


def test_two_predictors_of_one_model_agree(tmp_path: Path) -> None:
    """From the file, the run folder or the module: the same passes, so the same logits to the last bit."""
    model = saved(tmp_path / "model.safetensors")
    images = pixels(5, (24, 40))
    answers = [
        Predictor(source).logits(images)
        for source in (tmp_path, model, (model, model.card), prepare(model, for_="inference"))
    ]
    for other in answers[1:]:
        assert np.array_equal(answers[0], other)


def test_logits_are_those_of_the_plain_model_and_plain_preprocessing(tmp_path: Path) -> None:
    """Decode, fit, normalise, forward: against the model called by hand on an image of another size."""
    model = saved(tmp_path / "model.safetensors")
    assert model.card is not None
    image = pixels(1, (61, 47))[0]
    with torch.no_grad():
        expected = model(torch.from_numpy(preprocess(image, model.card.preprocess))[None])[0].numpy()
    answer = Predictor(tmp_path)(image, top=11)
    order = np.argsort(-expected)
    assert [CLASSES[index] for index in order] == [name for name, _ in answer.top]
    np.testing.assert_allclose([p for _, p in answer.top], special.softmax(expected)[order], atol=1e-6)
    assert (CLASSES[order[0]], order[0], "") == (answer.label, answer.index, answer.path)
    assert answer.probability == answer.top[0][1]


def test_a_picture_is_the_same_by_path_bytes_pillow_or_array(tmp_path: Path) -> None:
    saved(tmp_path / "model.safetensors")
    predictor = Predictor(tmp_path)
    image = pixels(1, (30, 50))[0]
    file = tmp_path / "photo.png"
    Image.fromarray(image).save(file)
    forms = (file, str(file), file.read_bytes(), Image.open(io.BytesIO(file.read_bytes())), image)
    answers = [predictor(form) for form in forms]
    assert [str(file), str(file), "", "", ""] == [answer.path for answer in answers]
    assert 1 == len({answer.top for answer in answers})
    assert answers == predictor(list(forms))
    assert predictor([]) == []
    assert 5 == len(answers[0].top)


def test_a_stream_keeps_order_and_names_what_it_cannot_read(tmp_path: Path) -> None:
    """More images than one pass holds, unreadable ones among them: one answer each, in their order."""
    saved(tmp_path / "model.safetensors")
    predictor = Predictor(tmp_path, batch_size=9)
    assert predictor.batch_size == 16
    paths = [tmp_path / f"{i}.png" for i in range(37)]
    for path, image in zip(paths, pixels(37, (24, 40)), strict=True):
        Image.fromarray(image).save(path)
    paths[3].write_bytes(paths[3].read_bytes()[:200])
    paths[17].write_text("no picture")
    paths[36] = tmp_path / "nowhere.png"
    outcomes = list(predictor.stream(paths, top=2))
    assert [str(path) for path in paths] == [outcome.path for outcome in outcomes]
    assert [3, 17, 36] == [i for i, outcome in enumerate(outcomes) if isinstance(outcome, Failure)]
    for outcome in outcomes:
        if isinstance(outcome, Prediction):
            assert predictor(outcome.path, top=2) == outcome
        else:
            assert outcome.reason
            assert "\n" not in outcome.reason
    with pytest.raises(ImageError, match=r"3\.png"):
        predictor(paths)


def test_a_stream_draws_only_a_little_ahead(tmp_path: Path) -> None:
    """An endless source is fine: what is held does not grow."""
    saved(tmp_path / "model.safetensors")
    image = pixels(1, (24, 40))[0]
    drawn = [0]

    def endless() -> Iterator[NDArray[np.uint8]]:
        while True:
            drawn[0] += 1
            yield image

    stream = Predictor(tmp_path, batch_size=1).stream(endless())
    for _ in range(10):
        next(stream)
    assert drawn[0] < 30


def test_a_predictor_does_not_touch_the_module_it_was_given() -> None:
    """Mode, attention form and weights of a module in training stay; what happens to it later is not seen."""
    model = random_vit()
    model.card = card_for(model)
    model.train()
    model.blocks[0].eval()
    forms = [block.attn.form for block in model.blocks]
    images = pixels(3, (24, 40))
    predictor = Predictor(model)
    before = predictor.logits(images)
    assert model.training
    assert not model.blocks[0].training
    assert forms == [block.attn.form for block in model.blocks]
    with torch.no_grad():
        model.head.bias += 1
    assert np.array_equal(before, predictor.logits(images))


def test_dropout_and_batch_statistics_are_off() -> None:
    card = ModelCard(preprocess=PreprocessConfig(image_size=(20, 26)), classes=tuple("abcdef"))
    predictor = Predictor((Convolutional().train(), card))
    images = pixels(4, (20, 26))
    assert np.array_equal(predictor.logits(images), predictor.logits(images))


def test_a_name_gives_random_weights_and_numbered_classes() -> None:
    predictor = Predictor("vit-test")
    assert tuple("0123456789") == predictor.classes
    assert (32, 32) == predictor.preprocess.image_size
    assert "0" == predictor(pixels(1, (32, 32))[0]).label  # a head of zeros: all are equal, the first is named


def _with_card(model: Any, **changes: Any) -> Any:
    model.card = card_for(random_vit(), **changes)
    return model


@pytest.mark.parametrize(
    ("build", "kind", "message"),
    [
        (lambda: nn.Linear(2, 3), UsageError, r"(?s)the Linear has no card.*model\.card = vt\.ModelCard"),
        (lambda: random_vit(num_classes=0), UsageError, "ViT has no card"),
        (lambda: _with_card(random_vit(num_classes=0)), UsageError, "has no head"),
        (lambda: _with_card(Convolutional(), classes=()), UsageError, "names no classes"),
        (lambda: _with_card(random_vit(num_classes=4)), ModelFileError, "has 4 outputs, but its card names 11 classes"),
    ],
)
def test_models_that_cannot_name_anything_are_refused(build: Any, kind: type, message: str) -> None:
    with pytest.raises(kind, match=message):
        Predictor(build())


def test_answers_that_make_no_sense_are_refused() -> None:
    """Too few logits, logits that are not finite, images of another size, nonsense asked for."""
    images = pixels(2, (24, 40))
    short = Predictor(_with_card(Convolutional()))
    with pytest.raises(ModelFileError, match=r"(?s)with logits \(16, 6\).*names 11 classes"):
        short.logits(images)
    broken = random_vit()
    with torch.no_grad():
        broken.head.bias[2] = float("nan")
    with pytest.raises(ModelFileError, match="not finite"):
        Predictor(_with_card(broken)).logits(images)
    fine = Predictor(_with_card(random_vit()))
    with pytest.raises(UsageError, match=r"takes images of \(24, 40\), got \(40, 24\)"):
        fine.logits(images.transpose(0, 2, 1, 3).copy())
    with pytest.raises(UsageError, match="top must be above 0"):
        fine(images[0], top=0)
    with pytest.raises(UsageError, match="batch_size must be above 0"):
        Predictor("vit-test", batch_size=0)


def test_softmax_and_ranking_against_scipy_and_sorting() -> None:
    logits = np.random.default_rng(0).normal(0, 30, (7, 13)).astype(np.float32)
    np.testing.assert_allclose(softmax(logits), special.softmax(logits.astype(np.float64), axis=1), rtol=1e-12)
    for row, order in zip(logits, ranked(logits, 4), strict=True):
        assert sorted(range(13), key=lambda i, row=row: -row[i])[:4] == order.tolist()
    assert [[0, 1, 2]] == ranked(np.zeros((1, 5)), 3).tolist()
