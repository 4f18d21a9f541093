"""Masked patch prediction: what is hidden, what is asked, what is true, and that a model learns it."""

from __future__ import annotations

import math
from collections.abc import Iterator
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
import torch
from random_vit import draw, random_images, random_vit
from scipy import special, stats
from tiny_architectures import TINY
from torch import Tensor

from vitreous.architecture import ResNetConfig, ViTConfig
from vitreous.config import AugmentConfig, PreprocessConfig, Recipe
from vitreous.data.feeding.loader import Batch, training_batches
from vitreous.data.imageset import ImageSet, array_set
from vitreous.errors import ConfigError
from vitreous.model.create import create_model
from vitreous.model.prepare import Policy, Prepared
from vitreous.model.vit import ViT
from vitreous.training.masked.patch import (
    MaskedPatch,
    MaskedPatchObjective,
    corruption,
    masked_loss,
    masked_patch,
    validate_masked,
    vit_of,
)
from vitreous.training.masked.targets import MaskedTarget, colour_classes, colour_of_pixels, colours, patch_pixels

TARGETS: tuple[MaskedTarget, ...] = ("mean-colour", "downsampled", "pixels")
VITS = {name: config for name, config in TINY.items() if isinstance(config, ViTConfig) and config.num_tokens is None}
PLAIN = PreprocessConfig(image_size=(24, 40), crop_ratio=1.0)
STILL = AugmentConfig(crop="centre", flip=False)


def recipe(target: MaskedTarget = "mean-colour", **changes: Any) -> Recipe:
    settings: dict[str, Any] = {"batch_size": 12, "steps": 2, "augment": STILL, "masked_target": target}
    return Recipe(name="hidden", purpose="pretrain", objective="masked-patch", **{**settings, **changes})


def policy(precision: Any = "float32") -> Policy:
    return Policy(device="cpu", precision=precision, attention="fused", kept_heap=False, reason="for a test")


def noise(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def noise_set(count: int, height: int = 24, width: int = 40) -> ImageSet:
    return array_set("noise", noise(count, height, width, 3), np.zeros(count, np.int64), ("any",))


def keys(count: int, seed: int = 3) -> np.ndarray:
    return np.stack([np.full(count, seed), np.arange(count)], axis=1)


def hiding(target: MaskedTarget = "mean-colour", seed: int = 0, **changes: Any) -> MaskedPatch:
    """A small model whose every number is random, the predicting layer's too."""
    return draw(MaskedPatch(random_vit(seed, num_classes=0, **changes), target, seed), seed).eval()


def nothing_hidden(count: int, patches: int, asked: list[int]) -> tuple[Tensor, Tensor, Tensor]:
    own = torch.arange(patches).repeat(count, 1)
    return torch.tensor(asked).repeat(count, 1), torch.zeros(count, patches, dtype=torch.bool), own


# --- what is true -----------------------------------------------------------------------------------------------------


def test_colours_of_a_hand_made_image_are_known_classes() -> None:
    """2 x 3 patches of 4 x 6 pixels, one colour each; half black and half white is exactly the fifth level."""
    painted: dict[tuple[int, int], tuple[tuple[int, int, int], int]] = {
        (0, 0): ((255, 0, 0), 7 * 64),
        (0, 1): ((0, 255, 0), 7 * 8),
        (0, 2): ((0, 0, 255), 7),
        (1, 0): ((255, 255, 255), 511),
        (1, 1): ((31, 127, 128), 0 * 64 + 3 * 8 + 4),
        (1, 2): ((32, 96, 223), 1 * 64 + 3 * 8 + 6),
    }
    images = np.zeros((2, 8, 18, 3), np.uint8)
    for (row, column), (colour, _) in painted.items():
        images[0, 4 * row : 4 * row + 4, 6 * column : 6 * column + 6] = colour
    images[1, ::2] = 255
    expected = [number for _, number in painted.values()]
    found = colour_classes(images, (2, 3), (4, 6), side=1)
    assert [expected, [4 * 73] * 6] == found[..., 0].tolist()
    assert expected == colour_of_pixels(patch_pixels(images, (2, 3), (4, 6)))[0].tolist()


def test_cells_lie_in_reading_order() -> None:
    """A patch whose every cell has its own shade: 4 x 4 cells of 1 x 2 pixels."""
    shades = np.arange(16).reshape(4, 4) * 16 + 4
    images = np.zeros((1, 4, 8, 3), np.uint8)
    images[0, ..., 1] = shades.repeat(2, axis=1)
    assert [8 * (8 * shade // 255) for shade in shades.flatten().tolist()] == colour_classes(
        images, (1, 1), (4, 8), side=4
    )[0, 0].tolist()


@pytest.mark.parametrize("patch", [(8, 4), (6, 10), (3, 5), (1, 2)])
@pytest.mark.parametrize("side", [1, 4])
def test_colours_equal_a_slow_count_in_fractions(patch: tuple[int, int], side: int) -> None:
    """Cells that cut pixels count them by their area; a pixel row and column behind the last patch count nothing."""
    images = noise(2, 2 * patch[0] + 1, 3 * patch[1] + 1, 3)
    found = colour_classes(images, (2, 3), patch, side).tolist()
    for b, n in np.ndindex(2, 6):
        corner = (n // 3) * patch[0], (n % 3) * patch[1]
        for cell in range(side * side):
            expected = slow_colour(images[b], corner, patch, divmod(cell, side), side)
            assert expected == found[b][n][cell]


def slow_colour(
    image: np.ndarray, corner: tuple[int, int], patch: tuple[int, int], cell: tuple[int, int], side: int
) -> int:
    begin = [Fraction(patch[axis] * cell[axis], side) for axis in (0, 1)]
    end = [Fraction(patch[axis] * (cell[axis] + 1), side) for axis in (0, 1)]
    sums, area = [Fraction(0)] * 3, Fraction(0)
    for y, x in np.ndindex(*patch):
        covered = max(Fraction(0), min(end[0], y + 1) - max(begin[0], y))
        covered *= max(Fraction(0), min(end[1], x + 1) - max(begin[1], x))
        area += covered
        for channel in range(3):
            sums[channel] += covered * int(image[corner[0] + y, corner[1] + x, channel])
    red, green, blue = (min(7, math.floor(8 * total / area / 255)) for total in sums)
    return red * 64 + green * 8 + blue


def test_the_colour_of_a_class_is_of_that_class() -> None:
    every = np.arange(512)
    images = colours(every)[None, None].repeat(2, axis=1).repeat(3, axis=2)
    assert every.tolist() == colour_classes(images, (1, 512), (2, 3), side=1)[0, :, 0].tolist()


def test_pixels_are_those_of_each_patch() -> None:
    images = noise(2, 8, 18, 3)
    pixels = patch_pixels(images, (2, 3), (4, 6))
    np.testing.assert_allclose(pixels[1, 5], images[1, 4:, 12:].reshape(-1) / 127.5 - 1, atol=1e-6)


# --- what is hidden ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("patches", "share", "count"),
    [(196, 0.5, 98), (49, 0.5, 24), (15, 0.15, 2), (6, 1.0, 6), (4, 0.01, 1), (1, 0.5, 1)],
)
def test_exactly_the_share_is_corrupted(patches: int, share: float, count: int) -> None:
    drawn = corruption(keys(50), patches, share, purpose=9)
    assert (50, count) == drawn.places.shape
    assert (np.diff(drawn.places, axis=1) > 0).all()
    assert drawn.places.min() >= 0
    assert drawn.places.max() < patches
    own = np.arange(patches)
    chosen = (drawn.places[..., None] == own).any(axis=1)
    swapped = drawn.source != own
    assert not (drawn.masked & ~chosen).any(), "only corrupted patches are masked"
    assert not (swapped & (~chosen | drawn.masked)).any(), "only corrupted patches are swapped, not the masked ones"


def test_fates_places_and_partners_are_as_frequent_as_they_should_be() -> None:
    images, patches = 3000, 10
    drawn = corruption(keys(images), patches, 0.5, purpose=9)
    own = np.arange(patches)
    swapped = drawn.source != own
    masked, swaps, total = int(drawn.masked.sum()), int(swapped.sum()), images * 5
    assert stats.binomtest(masked, total, 0.8).pvalue > 1e-3
    assert stats.binomtest(swaps, total, 0.1).pvalue > 1e-3
    assert stats.chisquare(np.bincount(drawn.places.flatten(), minlength=patches)).pvalue > 1e-3
    steps = (drawn.source - own)[swapped] % patches
    assert stats.chisquare(np.bincount(steps, minlength=patches)[1:]).pvalue > 1e-3
    together = np.zeros((patches, patches))
    for places in drawn.places:
        together[np.ix_(places, places)] += 1
    pairs = together[np.triu_indices(patches, 1)] / images  # 5 of 10: each pair with probability 2 / 9
    assert abs(pairs - 2 / 9).max() < 0.04


def test_corruption_equals_a_slow_loop() -> None:
    drawn = corruption(keys(20), 12, 0.5, purpose=9)
    for image in range(20):
        raw = np.random.PCG64(np.random.SeedSequence((3, image), spawn_key=(9,))).random_raw(36).tolist()
        order, fates, others = raw[:12], raw[12:24], raw[24:]
        places = sorted(sorted(range(12), key=order.__getitem__)[:6])
        masked, source = [False] * 12, list(range(12))
        for place in places:
            if fates[place] / 2**64 < 0.8:
                masked[place] = True
            elif fates[place] / 2**64 < 0.9:
                rest = [(place + step) % 12 for step in range(1, 12)]
                source[place] = rest[others[place] * 11 // 2**64]
        assert (places, masked, source) == tuple(part[image].tolist() for part in vars(drawn).values())


def test_corruption_of_an_image_is_its_own_affair() -> None:
    """Cut or ordered otherwise, each image is corrupted alike; another purpose, seed or image is another corruption."""
    every = corruption(keys(9), 15, 0.5, purpose=9)
    part = corruption(keys(9)[[7, 2]], 15, 0.5, purpose=9)
    for name, values in vars(part).items():
        assert (values == getattr(every, name)[[7, 2]]).all()
    assert (corruption(keys(9), 15, 0.5, purpose=8).places != every.places).any()
    assert (corruption(keys(9, seed=4), 15, 0.5, purpose=9).places != every.places).any()
    assert len(np.unique(every.places, axis=0)) > 6


# --- the model --------------------------------------------------------------------------------------------------------


@torch.no_grad()
@pytest.mark.parametrize("config", VITS.values(), ids=VITS.keys())
def test_without_corruption_the_tokens_are_the_models_own(config: ViTConfig) -> None:
    vit = create_model(config, num_classes=0, seed=0)
    model = masked_patch(vit, recipe(), 0).eval()
    torch.nn.init.normal_(model.predict.weight)
    images, asked = random_images(32, 48), [5, 0, 23]
    said = model(images, *nothing_hidden(2, 24, asked))
    assert (2, 3, 512) == said.shape
    expected = model.predict(model.norm(vit.features(images).patches[:, asked]))
    torch.testing.assert_close(said, expected, rtol=0, atol=1e-5)


@torch.no_grad()
def test_a_swapped_patch_looks_like_the_other() -> None:
    """As if the other patch's pixels stood in its place; both from the image as it was."""
    model, images = hiding(), random_images()
    places, masked, source = nothing_hidden(2, 15, [2, 9, 14])
    source[0, 2], source[0, 9], source[1, 14] = 9, 2, 0
    painted = images.clone()
    painted[0, :, 0:8, 16:24] = images[0, :, 8:16, 32:40]
    painted[0, :, 8:16, 32:40] = images[0, :, 0:8, 16:24]
    painted[1, :, 16:24, 32:40] = images[1, :, 0:8, 0:8]
    said = model(images, places, masked, source)
    expected = model(painted, *nothing_hidden(2, 15, [2, 9, 14]))
    torch.testing.assert_close(said, expected, rtol=0, atol=1e-5)
    assert (said - model(images, *nothing_hidden(2, 15, [2, 9, 14]))).abs().max() > 0.01


@torch.no_grad()
def test_a_masked_patch_looks_like_the_mask() -> None:
    """With the embedding of a patch as the mask, masking equals painting that patch there; its position stays."""
    model, images, paint = hiding(registers=2), random_images(), random_images(8, 8, batch=1, seed=5)
    model.mask_token.copy_(model.vit.patch_embed(paint))
    places, masked, source = nothing_hidden(2, 15, [7])
    masked[0, 7] = masked[1, 3] = True
    painted = images.clone()
    painted[0, :, 8:16, 16:24] = paint[0]
    painted[1, :, 0:8, 24:32] = paint[0]
    expected = model(painted, *nothing_hidden(2, 15, [7]))
    torch.testing.assert_close(model(images, places, masked, source), expected, rtol=0, atol=1e-5)


def test_gradients_go_to_the_mask_and_not_behind_it() -> None:
    model, images = hiding(), random_images().requires_grad_()
    places, masked, source = nothing_hidden(2, 15, [1, 7])
    masked[0, 7] = True
    model(images, places, masked, source).square().sum().backward()
    felt = images.grad.abs().sum(1).unflatten(2, (5, 8)).unflatten(1, (3, 8)).sum((2, 4)).flatten(1)
    assert [(0, 7)] == [tuple(place) for place in (felt == 0).nonzero().tolist()]
    assert model.mask_token.grad.abs().min() > 0
    model.zero_grad(set_to_none=True)
    model(images, *nothing_hidden(2, 15, [1, 7])).square().sum().backward()
    assert 0 == model.mask_token.grad.abs().max()


@pytest.mark.parametrize("config", VITS.values(), ids=VITS.keys())
def test_everything_that_learns_is_reached(config: ViTConfig) -> None:
    """What DistributedDataParallel asks of a model; afterwards everything learns again."""
    vit = create_model(config, num_classes=0, seed=0)
    model = masked_patch(vit, recipe(), 0)
    drawn = corruption(keys(2), 24, 0.5, purpose=9)
    assert drawn.masked.any()
    model(random_images(32, 48), *drawn.tensors()).square().sum().backward()
    assert [] == [name for name, value in model.named_parameters() if value.requires_grad and value.grad is None]
    assert vit is vit_of(Prepared(model, policy()))
    assert all(value.requires_grad for value in vit.parameters())


def test_the_seed_decides_the_mask_and_the_predictions_begin_at_zero() -> None:
    first, again, other = (MaskedPatch(random_vit(num_classes=0), "pixels", seed) for seed in (1, 1, 2))
    assert torch.equal(first.mask_token, again.mask_token)
    assert not torch.equal(first.mask_token, other.mask_token)
    assert 0.01 < first.mask_token.std() < 0.03
    assert 0 == first.predict.weight.abs().max()
    assert (192, 28) == first.predict.weight.shape


@pytest.mark.parametrize("name", ["tiny-bit", "tiny-filter"])
def test_models_without_patches_are_refused(name: str) -> None:
    with pytest.raises(ConfigError, match=f"{name} has no tokens that stand for patches"):
        masked_patch(create_model(TINY[name], num_classes=0), recipe(), 0)


def test_a_head_is_refused() -> None:
    with pytest.raises(ConfigError, match="vit has a head for 11 classes"):
        masked_patch(random_vit(), recipe(), 0)


def test_mixed_images_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"mixup is 0\.2 and cutmix 0"):
        masked_patch(random_vit(num_classes=0), recipe(mixup=0.2), 0)


def test_patches_that_are_partly_missing_are_refused() -> None:
    """A stem rounds its map up, so the last cells of a cropped hybrid may see less than a whole patch."""
    stem = ResNetConfig(style="v1", layers=(), num_classes=0)
    config = random_vit(num_classes=0).config
    hybrid = ViT(
        ViTConfig(**{**_fields(config), "stem": stem, "patch_size": (2, 2), "edge": "crop", "image_size": (29, 48)})
    )
    with pytest.raises(ConfigError, match="reach beyond images of 29 x 48 pixels"):
        masked_patch(hybrid, recipe(), 0)


def _fields(config: ViTConfig) -> dict[str, Any]:
    return {name: getattr(config, name) for name in config.__dataclass_fields__}


# --- the loss ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("target", TARGETS)
def test_loss_and_score_equal_a_slow_loop(target: MaskedTarget) -> None:
    objective, images = MaskedPatchObjective(target), noise(3, 24, 40, 3)
    places = np.array([[0, 4, 7], [2, 3, 14], [5, 6, 9]])
    targets = objective.targets(images, places, (3, 5), (8, 8))
    outputs = torch.randn(3, 3, {"mean-colour": 512, "downsampled": 16 * 512, "pixels": 192}[target])
    if target != "pixels":  # some answers are right
        outputs[0, 1, 0 * 512 + int(targets[0, 1, 0])] = 9.0
        outputs[2, 0, (targets.shape[2] - 1) * 512 + int(targets[2, 0, -1])] = 9.0
    loss, right = 0.0, 0.0
    for b, k in np.ndindex(3, 3):
        top, left = 8 * (places[b, k] // 5), 8 * (places[b, k] % 5)
        said, patch = outputs[b, k].double().numpy(), images[b, top : top + 8, left : left + 8]
        if target == "pixels":
            loss += ((said - (patch.reshape(-1) / 127.5 - 1)) ** 2).mean() / 3
            level = [min(7, max(0, math.floor(4 * (said[c::3].mean() + 1)))) for c in range(3)]
            right += (level == [int(8 * patch[..., c].mean() / 255) for c in range(3)]) / 3
            continue
        cells = 16 if target == "downsampled" else 1
        for cell in range(cells):
            where, side = divmod(cell, 4), 4 if cells == 16 else 1
            truth = slow_colour(images[b], (top, left), (8, 8), where if side == 4 else (0, 0), side)
            logits = said[512 * cell : 512 * cell + 512]
            loss -= special.log_softmax(logits)[truth] / cells / 3
            right += (int(logits.argmax()) == truth) / cells / 3
    np.testing.assert_allclose(float(objective.loss(outputs, targets)), loss, rtol=1e-5)
    np.testing.assert_allclose(objective.correct(outputs, targets), right, rtol=1e-5)
    assert target == "pixels" or right > 0


def batches(images: ImageSet, chosen: Recipe, micro: int, steps: int = 1, seed: int = 5) -> Iterator[Batch]:
    return training_batches(
        images, preprocess=PLAIN, augment=chosen.augment, seed=seed, batch_size=chosen.batch_size,
        micro_batch=micro, first_step=0, num_steps=steps, workers=0, repeats=chosen.repeats,
    )  # fmt: skip


@pytest.mark.parametrize("target", TARGETS)
def test_micro_batches_add_up_to_the_undivided_batch(target: MaskedTarget) -> None:
    chosen, model = recipe(target), hiding(target)
    images = noise_set(20)
    sums = {}
    for micro in (12, 5, 1):
        model.zero_grad(set_to_none=True)
        loss, correct = 0.0, 0.0
        for batch in batches(images, chosen, micro):
            part, right = masked_loss(Prepared(model, policy()), batch, PLAIN, chosen, 5)
            (part / chosen.batch_size).backward()
            loss, correct = loss + float(part.detach()), correct + right
        gradient = torch.cat([value.grad.flatten() for value in model.parameters() if value.requires_grad])
        sums[micro] = (loss, correct, gradient)
    for micro in (5, 1):
        np.testing.assert_allclose(sums[micro][:2], sums[12][:2], rtol=1e-5)
        assert (sums[micro][2] - sums[12][2]).norm() < 1e-5 * sums[12][2].norm()


def test_each_showing_of_an_image_is_corrupted_anew() -> None:
    """In another epoch, and in the same batch with repeated augmentation."""
    chosen, model, seen = recipe(repeats=3), Spy(hiding()), noise_set(4)
    for batch in batches(seen, chosen, 12, steps=2):
        masked_loss(model, batch, PLAIN, chosen, 5)
    assert 24 == len({places.tobytes() + masked.tobytes() for places, masked in model.asked})


class Spy(Prepared):
    """Remembers what was corrupted in each image."""

    def __init__(self, model: MaskedPatch) -> None:
        super().__init__(model, policy())
        self.asked: list[tuple[np.ndarray, np.ndarray]] = []

    def forward(self, images: Tensor, *others: Tensor) -> Tensor:
        places, masked, _ = (value.numpy() for value in others)
        self.asked += zip(places, masked, strict=True)
        return super().forward(images, *others)


def test_held_out_images_are_corrupted_alike_every_time() -> None:
    images, model = noise_set(7), hiding()
    first, spy, part = Spy(model), Spy(model), Spy(model)
    scores = [validate_masked(first, images, PLAIN, recipe(), batch_size=7)]
    scores += [validate_masked(spy, images, PLAIN, recipe(), batch_size=3)]
    validate_masked(part, images.subset([4, 1]), PLAIN, recipe(), batch_size=3)
    assert [first.asked[i][1].tobytes() for i in (4, 1)] == [masked.tobytes() for _, masked in part.asked]
    np.testing.assert_allclose(scores[0], scores[1], rtol=1e-5)
    assert all((a[0] == b[0]).all() and (a[1] == b[1]).all() for a, b in zip(first.asked, spy.asked, strict=True))
    assert first.training
    trained = Spy(model)
    for batch in batches(images, recipe(batch_size=7), 7):
        masked_loss(trained, batch, PLAIN, recipe(batch_size=7), 5)
    assert not {a[1].tobytes() for a in trained.asked} & {a[1].tobytes() for a in first.asked}


def test_bfloat16_predicts_in_float32() -> None:
    model = hiding()
    exact = Prepared(model, policy())(random_images(), *nothing_hidden(2, 15, [1, 4]))
    rough = Prepared(model, policy("bfloat16"))(random_images(), *nothing_hidden(2, 15, [1, 4]))
    assert torch.float32 == rough.dtype
    assert 0 < (exact - rough).abs().max() < 0.2


# --- learning ---------------------------------------------------------------------------------------------------------


def tiles(count: int, seed: int) -> ImageSet:
    """4 x 6 tiles of 4 x 4 pixels in one of eight colours, a little uneven: what shows tells what is hidden."""
    rng = np.random.default_rng(seed)
    palette = np.array([[r, g, b] for r in (45, 205) for g in (50, 210) for b in (110, 180)])
    pixels = palette[rng.integers(8, size=count)][:, None, None] + rng.integers(-9, 10, (count, 16, 24, 3))
    return array_set("tiles", pixels.astype(np.uint8), np.zeros(count, np.int64), ("any",))


@pytest.mark.parametrize("target", TARGETS)
def test_a_model_learns_to_say_what_is_hidden(target: MaskedTarget) -> None:
    """On held-out images, where the commonest colour is right for about an eighth of the tiles."""
    preprocess = PreprocessConfig(image_size=(16, 24), crop_ratio=1.0)
    config = ViTConfig(image_size=(16, 24), patch_size=(4, 4), embed_dim=32, depth=2, num_heads=2, mlp_dim=64)
    chosen = recipe(target, batch_size=32, steps=60)
    model = Prepared(masked_patch(create_model(config, num_classes=0, seed=0), chosen, 0), policy()).train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=4e-3, weight_decay=0.0)
    stream = training_batches(
        tiles(2000, 0), preprocess=preprocess, augment=STILL, seed=0, batch_size=32, micro_batch=32,
        first_step=0, num_steps=60, workers=0,
    )  # fmt: skip
    for batch in stream:
        loss, _ = masked_loss(model, batch, preprocess, chosen, 0)
        (loss / 32).backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
    _, right = validate_masked(model, tiles(100, 1), preprocess, chosen, batch_size=50)
    assert right > 0.8
