"""Recipes carry the numbers of their sources, transcribed here a second time: tables, commands and closed forms."""

from __future__ import annotations

import argparse
import math
import shlex
from typing import Any

import pytest
import torch

from vitreous.config import Recipe
from vitreous.recipe import decoupled, find_recipe, hyperrule, recipe_names
from vitreous.training.learning.schedule import learning_rate

# Table 3 of the ViT paper: models, data, epochs, base rate, decay, weight decay, dropout.
TABLE_3 = """
vit-b16 vit-b32         jft300m      7      8e-4  linear  0.1   0.0
vit-l32                 jft300m      7      6e-4  linear  0.1   0.0
vit-l16                 jft300m      7/14   4e-4  linear  0.1   0.0
vit-h14                 jft300m      14     3e-4  linear  0.1   0.0
resnet-r50x1 resnet-r50x2   jft300m  7      1e-3  linear  0.1   0.0
resnet-r101x1           jft300m      7      8e-4  linear  0.1   0.0
resnet-r152x1 resnet-r152x2 jft300m  7      6e-4  linear  0.1   0.0
r50+vit-b16 r50+vit-b32 jft300m      7      8e-4  linear  0.1   0.0
r50+vit-l32             jft300m      7      2e-4  linear  0.1   0.0
r50+vit-l16             jft300m      7/14   4e-4  linear  0.1   0.0
vit-b16 vit-b32         imagenet21k  90     1e-3  linear  0.03  0.1
vit-l16 vit-l32         imagenet21k  30/90  1e-3  linear  0.03  0.1
vit-b16 vit-b32 vit-l16 vit-l32 imagenet 300 3e-3 cosine  0.3   0.1
"""

# Table 5, ImageNet top-1 after pre-training on ImageNet-1k and ImageNet-21k; Table 6 after JFT-300M.
TOP_1 = {
    "paper-imagenet": {"vit-b16": 77.91, "vit-b32": 73.38, "vit-l16": 76.53, "vit-l32": 71.16},
    "paper-imagenet21k": {"vit-b16": 83.97, "vit-b32": 81.28, "vit-l16": 85.15, "vit-l32": 80.99},
    "paper-jft300m": {
        "vit-b32": 80.73,
        "vit-b16": 84.15,
        "vit-l32": 84.37,
        "vit-l16-7ep": 86.30,
        "vit-l16": 87.12,
        "vit-h14": 88.08,
        "resnet-r50x1": 77.54,
        "resnet-r50x2": 82.12,
        "resnet-r101x1": 80.67,
        "resnet-r152x1": 81.88,
        "resnet-r152x2": 84.97,
        "r50+vit-b32": 84.90,
        "r50+vit-b16": 85.58,
        "r50+vit-l32": 85.68,
        "r50+vit-l16-7ep": 86.60,
        "r50+vit-l16": 87.12,
    },
}

# Table 4 with appendix B.1.1: steps, rates, held-out share; and ViT-B/16's score from ImageNet-21k (Table 5).
TABLE_4 = {
    "paper-finetune-imagenet": (20_000, {0.003, 0.01, 0.03, 0.06}, 0.01, 83.97),
    "paper-finetune-cifar100": (10_000, {0.001, 0.003, 0.01, 0.03}, 0.02, 91.67),
    "paper-finetune-cifar10": (10_000, {0.001, 0.003, 0.01, 0.03}, 0.02, 98.95),
    "paper-finetune-pets": (500, {0.001, 0.003, 0.01, 0.03}, 0.1, 94.43),
    "paper-finetune-flowers": (500, {0.001, 0.003, 0.01, 0.03}, 0.1, 99.38),
}


def table_3() -> list[tuple[str, str, tuple[Any, ...]]]:
    """(recipe, model, numbers) for each model and length of Table 3."""
    rows = []
    for line in TABLE_3.strip().splitlines():
        *models, data, epochs, rate, decay, weight_decay, dropout = line.split()
        lengths = [int(text) for text in epochs.split("/")]
        for model in models:
            for length in lengths:
                name = f"paper-{data}-{model}" + ("" if length == max(lengths) else f"-{length}ep")
                rows.append((name, model, (length, float(rate), decay, float(weight_decay), float(dropout))))
    return rows


@pytest.mark.parametrize(("name", "model", "row"), table_3())
def test_pretraining_is_table_3(name: str, model: str, row: tuple[Any, ...]) -> None:
    """Every model of every row; Adam, batch 4096, 10k steps of warm-up, 224 px; clipping on ImageNet alone."""
    recipe = find_recipe(name, "pretrain")
    numbers = (recipe.epochs, recipe.learning_rate, recipe.schedule, recipe.weight_decay, recipe.dropout or 0.0)
    assert row == numbers
    assert model == recipe.model
    same_for_all = {
        "optimizer": "adam",
        "betas": (0.9, 0.999),
        "batch_size": 4096,
        "warmup_steps": 10_000,
        "image_size": (224, 224),
        "learning_rate_for": None,
        "loss": "softmax",
        "label_smoothing": 0.0,
        "average_decay": None,
        "clip_norm": 1.0 if "imagenet-" in name else None,
        "hidden_head": not model.startswith("resnet"),
    }
    assert same_for_all == {field: getattr(recipe, field) for field in same_for_all}


def test_table_3_is_all_of_the_papers_pretraining() -> None:
    """16 on JFT-300M, 6 on ImageNet-21k, 4 on ImageNet; no other recipe calls itself so."""
    masked = {name for name in recipe_names("pretrain") if name.startswith("paper-masked")}
    assert {name for name, *_ in table_3()} == {n for n in recipe_names("pretrain") if n[:6] == "paper-"} - masked
    assert len(table_3()) == 26
    assert len(masked) == 3


@pytest.mark.parametrize("data", TOP_1)
def test_expected_scores_are_those_of_tables_5_and_6(data: str) -> None:
    """Every recipe quotes its own model's score."""
    for model, score in TOP_1[data].items():
        assert find_recipe(f"{data}-{model}", "pretrain").expected.startswith(f"{score:.2f} %")


@pytest.mark.parametrize(("name", "row"), TABLE_4.items())
def test_finetuning_is_table_4(name: str, row: tuple[int, set[float], float, float]) -> None:
    """Steps, rates and held-out share are the table's; the rest is common to all rows."""
    recipe, (steps, rates, share, score) = find_recipe(name, "finetune"), row
    assert (steps, rates, share) == (recipe.steps, set(recipe.sweep), recipe.sweep_share)
    assert recipe.learning_rate in rates
    assert f"{score:.2f} %" in recipe.expected
    assert_sgd_as_in_table_4(recipe)
    assert recipe.image_size == (384, 384)
    assert recipe.average_decay is None


def assert_sgd_as_in_table_4(recipe: Recipe) -> None:
    common = {
        "optimizer": "sgd",
        "momentum": 0.9,
        "batch_size": 512,
        "schedule": "cosine",
        "weight_decay": 0.0,
        "clip_norm": 1.0,
        "hidden_head": False,
        "epochs": None,
        "label_smoothing": 0.0,
        "mixup": 0.0,
        "train": "all",
    }
    assert common == {field: getattr(recipe, field) for field in common}
    assert recipe.warmup_steps is not None
    assert 0 < recipe.warmup_steps < (recipe.steps or 0)


@pytest.mark.parametrize(("pixels", "score"), [(512, "85.30"), (518, "88.55")])
def test_the_headline_runs_are_larger_and_averaged(pixels: int, score: str) -> None:
    """Table 2: L/16 at 512, H/14 at 518, both in whole patches, Polyak averaging 0.9999."""
    recipe = find_recipe(f"paper-finetune-imagenet-{pixels}", "finetune")
    assert (recipe.image_size, recipe.average_decay, recipe.steps) == ((pixels, pixels), 0.9999, 20_000)
    assert score in recipe.expected
    assert pixels % (16 if pixels == 512 else 14) == 0
    assert_sgd_as_in_table_4(recipe)


def test_vtab_is_one_setting() -> None:
    """0.01 for 2,500 steps at 384 px for all 19 tasks, nothing to choose; cropped and mirrored, or neither."""
    cropped, whole = (find_recipe(f"paper-finetune-vtab{end}", "finetune") for end in ("", "-whole"))
    for recipe in (cropped, whole):
        assert (recipe.learning_rate, recipe.steps, recipe.sweep) == (0.01, 2_500, ())
        assert recipe.image_size == (384, 384)
        assert_sgd_as_in_table_4(recipe)
    assert "72.72" in cropped.expected
    assert "77.63" in cropped.expected
    assert (cropped.augment.crop, cropped.augment.resize, cropped.augment.flip) == ("squash", 448, True)
    assert (whole.augment.crop, whole.augment.resize, whole.augment.flip) == ("squash", 384, False)


def test_the_papers_images_are_cropped_and_flipped_only() -> None:
    """Inception crops of 5-100 % of the area and mirroring, nothing more."""
    for name in (*(name for name, *_ in table_3()), *TABLE_4):
        augment = find_recipe(name, "finetune" if name in TABLE_4 else "pretrain").augment
        assert (augment.crop, augment.crop_area, augment.flip) == ("inception", (0.05, 1.0), True)
        assert (augment.policy, augment.jitter, augment.erase, augment.rotate) == ("none", 0.0, 0.0, 0.0)


def test_masked_patches_are_appendix_b() -> None:
    """A million steps at 2e-4, half of the patches, three targets; then Table 4's ImageNet row."""
    targets = set()
    for name in ("paper-masked-jft300m", "paper-masked-jft300m-downsampled", "paper-masked-jft300m-pixels"):
        recipe = find_recipe(name, "pretrain")
        targets.add(recipe.masked_target)
        assert (recipe.objective, recipe.masked_share) == ("masked-patch", 0.5)
        assert (recipe.steps, recipe.batch_size, recipe.learning_rate) == (1_000_000, 4096, 2e-4)
        assert (recipe.optimizer, recipe.warmup_steps, recipe.schedule) == ("adam", 10_000, "cosine")
    assert targets == {"mean-colour", "downsampled", "pixels"}
    after = find_recipe("paper-masked-finetune-imagenet", "finetune")
    assert_sgd_as_in_table_4(after)
    assert (after.objective, after.steps, after.image_size) == ("labels", 20_000, (384, 384))
    assert "79.9 %" in after.expected


def cosine(peak: float, warmup: int, total: int, now: int) -> float:
    """vit_jax/utils.py, create_learning_rate_schedule."""
    progress = min(max((now - warmup) / (total - warmup), 0.0), 1.0)
    return peak * 0.5 * (1 + math.cos(math.pi * progress)) * min(1.0, now / warmup)


def test_the_rate_rises_and_falls_as_in_the_authors_code() -> None:
    """ImageNet's cosine and ImageNet-21k's line, at the steps that these have with their images and batch."""
    imagenet, total = find_recipe("paper-imagenet", "pretrain"), round(300 * 1_281_167 / 4096)
    for now in (1, 5_000, 10_000, 10_001, 40_000, total - 1, total):
        expected = cosine(3e-3, 10_000, total, now)
        assert expected == pytest.approx(learning_rate(imagenet, now - 1, total, total / 300), rel=1e-12, abs=1e-18)
    line, total = find_recipe("paper-imagenet21k", "pretrain"), 300_000
    rates = [learning_rate(line, now - 1, total, total / 90) for now in (2_500, 10_000, 155_000, total)]
    assert rates == pytest.approx([0.25e-3, 1e-3, (1e-3 + 1e-5) / 2, 1e-5], rel=1e-12)


# AugReg: RandAugment's layers and magnitude, Mixup, as the paper's appendix and big_vision's configs print them.
LEVELS = {
    "none": (None, None, 0.0),
    "light1": (2, 0, 0.0),
    "light2": (2, 10, 0.2),
    "medium1": (2, 15, 0.2),
    "medium2": (2, 15, 0.5),
    "strong1": (2, 20, 0.5),
    "strong2": (2, 20, 0.8),
}


@pytest.mark.parametrize(
    ("prefix", "epochs", "bias"),
    [("augreg-i1k", 300, -6.9), ("augreg-i21k-30ep", 30, -10.0), ("augreg-i21k-300ep", 300, -10.0)],
)
def test_augreg_is_28_settings_for_each_data_set_and_length(prefix: str, epochs: int, bias: float) -> None:
    """7 levels, with and without dropout and stochastic depth, decay 0.1 and 0.03; all the rest the same."""
    names = [f"{prefix}-{level}{drop}-wd{decay}" for level in LEVELS for drop in ("", "-drop") for decay in (0.1, 0.03)]
    assert len(set(names)) == 28
    assert {n for n in recipe_names("pretrain") if n.startswith(f"{prefix}-") and "-wd" in n} == set(names)
    for name in names:
        recipe = find_recipe(name, "pretrain")
        level = name.removeprefix(f"{prefix}-").split("-")[0]
        layers, magnitude, mixup = LEVELS[level]
        augment = recipe.augment
        if layers is None:
            assert augment.policy == "none"
        else:
            assert (augment.policy, augment.rand_layers, augment.rand_magnitude) == ("randaugment", layers, magnitude)
        drop = 0.1 if "-drop" in name else 0.0
        assert (mixup, drop, drop) == (recipe.mixup, recipe.dropout, recipe.drop_path)
        assert recipe.weight_decay == float(name.rpartition("wd")[2])
        assert (recipe.epochs, recipe.head_bias, recipe.loss) == (epochs, bias, "sigmoid")
        assert (recipe.learning_rate, recipe.warmup_steps, recipe.schedule) == (1e-3, 10_000, "cosine")
        assert (recipe.batch_size, recipe.clip_norm, recipe.cutmix) == (4096, 1.0, 0.0)
        assert (augment.crop, augment.crop_area, augment.flip) == ("inception", (0.05, 1.0), True)


def test_the_scale_of_augregs_file_names_is_told_apart() -> None:
    """What the paper calls light1 and light2 lies in files that say light0 and light1."""
    for level, file in {"light1": "light0", "light2": "light1"}.items():
        source = find_recipe(f"augreg-i21k-300ep-{level}-wd0.1", "pretrain").source
        assert f"released files call this level {file}" in source
    assert "released files" not in find_recipe("augreg-i1k-medium1-wd0.1", "pretrain").source


# big_vision's vit_i1k.py and vit_i21k.py: level per model.
@pytest.mark.parametrize(
    ("data", "levels"),
    [
        ("i1k", {"ti16": "light1", "s32": "medium1", "s16": "medium2", "b32": "medium2", "b16": "medium2"}),
        ("i21k", {"ti16": "none", "s32": "none", "s16": "light1", "b32": "light2", "b16": "light2", "l16": "medium2"}),
    ],
)
def test_augregs_recommended_level_is_big_visions(data: str, levels: dict[str, str]) -> None:
    """Each is the grid's setting without dropout at decay 0.1, which is big_vision's 1e-4 at rate 1e-3."""
    length = "" if data == "i1k" else "-300ep"
    for model, level in levels.items():
        recipe = find_recipe(f"augreg-{data}-vit-{model}", "pretrain")
        setting = find_recipe(f"augreg-{data}{length}-{level}-wd0.1", "pretrain")
        differing = {f for f in Recipe.__dataclass_fields__ if getattr(recipe, f) != getattr(setting, f)}
        assert differing <= {"name", "summary", "source", "expected", "model", "weight_decay"}
        assert recipe.weight_decay == pytest.approx(0.1)


# AugReg's Table 4: rates, and steps with their warm-up.
AUGREG_TABLE_4 = {
    "imagenet": ({0.01, 0.03}, {20_000: 500}, 0.01),
    "pets": ({1e-3, 3e-3, 1e-2}, {500: 100, 2_500: 200}, 0.1),
    "kitti": ({1e-3, 3e-3, 1e-2}, {500: 100, 2_500: 200}, 0.1),
    "cifar100": ({1e-3, 3e-3, 1e-2}, {2_500: 200, 10_000: 500}, 0.02),
    "resisc45": ({1e-3, 3e-3, 1e-2}, {2_500: 200, 10_000: 500}, 0.25),
}


@pytest.mark.parametrize("short", AUGREG_TABLE_4)
@pytest.mark.parametrize("pixels", [224, 384])
def test_augregs_finetuning_is_its_table_4(short: str, pixels: int) -> None:
    """Every length at both resolutions."""
    rates, lengths, share = AUGREG_TABLE_4[short]
    for steps, warmup in lengths.items():
        name = f"augreg-finetune-{short}" + (f"-{steps}" if len(lengths) > 1 else "") + ("-224px" * (pixels == 224))
        recipe = find_recipe(name, "finetune")
        assert (steps, warmup, rates, share) == (
            recipe.steps,
            recipe.warmup_steps,
            set(recipe.sweep),
            recipe.sweep_share,
        )
        assert recipe.learning_rate in rates
        assert recipe.image_size == (pixels, pixels)
        assert_sgd_as_in_table_4(recipe)


@pytest.mark.parametrize(("steps", "rates"), [(500, {0.001, 0.003, 0.01, 0.03}), (2_500, {0.001, 0.003, 0.01, 0.03})])
def test_augreg_chooses_on_vtab(steps: int, rates: set[float]) -> None:
    recipe = find_recipe(f"augreg-finetune-vtab-{steps}-224px", "finetune")
    assert (steps, rates) == (recipe.steps, set(recipe.sweep))


# big_vision/configs/transfer.py: rate, crop, steps, mean test score of AugReg's B/32.
@pytest.mark.parametrize(
    ("short", "row"),
    [
        ("imagenet", (0.03, "inception", 20_000, 83.27)),
        ("cifar10", (0.003, "resmall", 10_000, 98.55)),
        ("cifar100", (0.01, "resmall", 10_000, 91.35)),
        ("pets", (0.003, "inception", 500, 93.78)),
        ("flowers", (0.003, "inception", 500, 99.43)),
    ],
)
def test_big_visions_finetuning(short: str, row: tuple[Any, ...]) -> None:
    recipe = find_recipe(f"bigvision-finetune-{short}", "finetune")
    rate, crop, steps, score = row
    assert (rate, crop, steps) == (recipe.learning_rate, recipe.augment.crop, recipe.steps)
    assert f"{score} %" in recipe.expected
    assert (448 if crop == "resmall" else None) == recipe.augment.resize
    assert_sgd_as_in_table_4(recipe)


@pytest.mark.parametrize(
    ("epochs", "scores"), [(90, (76.5, 83.1, 64.2)), (150, (78.5, 84.5, 66.4)), (300, (80.0, 85.4, 68.3))]
)
def test_plain_vit_is_vit_s16_i1k(epochs: int, scores: tuple[float, float, float]) -> None:
    """Batch 1024, RandAugment (2, 10), Mixup 0.2, softmax, and decay in PyTorch's units."""
    recipe = find_recipe(f"plain-vit-{epochs}ep", "pretrain")
    assert all(str(score) in recipe.expected for score in scores)
    assert (recipe.epochs, recipe.batch_size, recipe.learning_rate) == (epochs, 1024, 1e-3)
    assert recipe.weight_decay * recipe.learning_rate == pytest.approx(1e-4)
    assert (recipe.warmup_steps, recipe.clip_norm, recipe.loss, recipe.mixup) == (10_000, 1.0, "softmax", 0.2)
    assert (recipe.augment.rand_layers, recipe.augment.rand_magnitude) == (2, 10)
    assert (recipe.model, recipe.hidden_head) == ("vit-s16-gap", True)


@pytest.mark.parametrize("share", [1.0, 0.3])
def test_both_units_of_weight_decay_take_the_same_step(share: float) -> None:
    """One step of Adam by hand in big_vision's order (clip, Adam, * lr, + wd * weight, * schedule), and PyTorch's."""
    peak, wd = 2e-3, 3e-4
    weight = torch.tensor([0.5, -1.25, 3.0], dtype=torch.float64)
    gradient = torch.tensor([0.2, -0.01, 4.0], dtype=torch.float64)
    adam = gradient / (gradient.abs() + 1e-8)  # the first step, both moments corrected for their start
    big_visions = weight - share * (peak * adam + wd * weight)
    ours = torch.nn.Parameter(weight.clone())
    ours.grad = gradient
    torch.optim.AdamW([ours], lr=share * peak, eps=1e-8, weight_decay=decoupled(wd, peak)).step()
    torch.testing.assert_close(ours.detach(), big_visions, rtol=1e-12, atol=0)
    assert not torch.allclose(ours.detach(), weight - share * peak * adam, rtol=1e-6)  # decay counts


# README_revenge.md of facebookresearch/deit. Every command: cosine, 5 epochs of warm-up from 1e-6, no dropout.
_LAMB_I1K = "--weight-decay 0.05 --smoothing 0.0 --opt fusedlamb --mixup .8 --cutmix 1.0 --repeated-aug --bce-loss"
_LAMB_I1K += " --color-jitter 0.3 --ThreeAugment"
_ADAM = "--lr 1e-5 --epochs 20 --weight-decay 0.1 --smoothing 0.1 --opt adamw --mixup .8 --cutmix 1.0"
_ADAM += " --aa rand-m9-mstd0.5-inc1 --no-repeated-aug"
_LAMB_I21K = "--weight-decay 0.02 --smoothing 0.1 --opt fusedlamb --mixup 0 --cutmix 1.0 --no-repeated-aug"
_LAMB_I21K += " --color-jitter 0.3 --ThreeAugment --src"
REVENGE = {
    "deit3-i1k-vit-s16": f"--batch 256 --lr 4e-3 --epochs 800 --input-size 224 --node 1 --drop-path 0.05 {_LAMB_I1K}",
    "deit3-i1k-vit-b16": f"--batch 256 --lr 3e-3 --epochs 800 --input-size 192 --node 1 --drop-path 0.2 {_LAMB_I1K}",
    "deit3-i1k-vit-l16": f"--batch 64 --lr 3e-3 --epochs 800 --input-size 192 --node 4 --drop-path 0.45 {_LAMB_I1K}",
    "deit3-i1k-vit-h14": f"--batch 64 --lr 3e-3 --epochs 800 --input-size 160 --node 4 --drop-path 0.6 {_LAMB_I1K}",
    "deit3-finetune-224-vit-b16": f"--batch 64 --input-size 224 --node 1 --drop-path 0.2 {_ADAM}",
    "deit3-finetune-224-vit-l16": f"--batch 64 --input-size 224 --node 1 --drop-path 0.45 {_ADAM}",
    "deit3-finetune-224-vit-h14": f"--batch 32 --input-size 224 --node 2 --drop-path 0.55 {_ADAM}",
    "deit3-finetune-384-vit-s16": f"--batch 64 --input-size 384 --node 1 --drop-path 0.0 {_ADAM}",
    "deit3-i21k-vit-s16": f"--batch 128 --lr 1e-3 --epochs 240 --input-size 224 --node 2 --drop-path .05 {_LAMB_I21K}",
    "deit3-i21k-vit-b16": f"--batch 64 --lr 1e-3 --epochs 240 --input-size 224 --node 4 --drop-path .1 {_LAMB_I21K}",
    "deit3-i21k-vit-l16": f"--batch 64 --lr 1e-3 --epochs 240 --input-size 224 --node 4 --drop-path .3 {_LAMB_I21K}",
    "deit3-i21k-vit-h14": f"--batch 64 --lr 1e-3 --epochs 90 --input-size 128 --node 4 --drop-path .5 {_LAMB_I21K}",
}
REVENGE |= {
    f"deit3-finetune-i21k-vit-{model}": f"--batch {batch} --lr 3e-4 --epochs 50 --input-size 224 --node {nodes} "
    f"--drop-path {drop_path} {_LAMB_I21K}"
    for model, batch, nodes, drop_path in (("s16", 128, 2, 0.05), ("b16", 64, 4, 0.15), ("l16", 64, 4, 0.4))
}
REVENGE["deit3-finetune-i21k-vit-h14"] = (
    f"--batch 64 --lr 3e-4 --epochs 50 --input-size 224 --node 4 --drop-path 0.45 {_LAMB_I21K}"
)


def parsed(line: str) -> argparse.Namespace:
    """A command of facebookresearch/deit; 8 GPUs in a node."""
    parser = argparse.ArgumentParser()
    for name in ("batch", "node", "epochs", "input-size"):
        parser.add_argument(f"--{name}", type=int)
    for name in ("lr", "weight-decay", "smoothing", "mixup", "cutmix", "drop-path", "color-jitter"):
        parser.add_argument(f"--{name}", type=float)
    for name in ("opt", "aa"):
        parser.add_argument(f"--{name}")
    for name in ("repeated-aug", "no-repeated-aug", "bce-loss", "ThreeAugment", "src"):
        parser.add_argument(f"--{name}", action="store_true")
    return parser.parse_args(shlex.split(line))


@pytest.mark.parametrize("name", REVENGE)
def test_deit_3_is_its_commands(name: str) -> None:
    """Flag for flag; a batch that its 3 repeats do not divide comes within 1 % of it."""
    asked, recipe = parsed(REVENGE[name]), find_recipe(name, "finetune" if "finetune" in name else "pretrain")
    assert (recipe.optimizer, recipe.clip_norm) == (("lamb", 1.0) if asked.opt == "fusedlamb" else ("adam", None))
    assert asked.lr == recipe.learning_rate == recipe.peak
    assert (asked.epochs, asked.weight_decay, asked.smoothing) == (
        recipe.epochs,
        recipe.weight_decay,
        recipe.label_smoothing,
    )
    assert (asked.mixup, asked.cutmix, asked.drop_path) == (recipe.mixup, recipe.cutmix, recipe.drop_path)
    assert (asked.input_size, asked.input_size) == recipe.image_size
    assert recipe.loss == ("sigmoid-mean" if asked.bce_loss else "softmax")
    assert recipe.repeats == (3 if asked.repeated_aug else 1)
    batch = asked.batch * asked.node * 8
    assert batch == (512 if asked.opt == "adamw" else 2048)
    assert recipe.batch_size == pytest.approx(batch, rel=0.01 if recipe.repeats > 1 else 0)
    augment = recipe.augment
    assert augment.policy == ("three" if asked.ThreeAugment else "randaugment-timm")
    assert augment.jitter == (asked.color_jitter if asked.ThreeAugment else 0.0)
    assert (augment.rand_magnitude, augment.rand_std) == ((9, 0.5) if asked.aa else (10, 0.0))
    assert (augment.crop, augment.crop_area[0], augment.erase) == (
        ("padded", 0.05, 0.0) if asked.src else ("inception", 0.08, 0.0)
    )
    assert (recipe.schedule, recipe.warmup_epochs, recipe.warmup_from) == ("cosine", 5, 1e-6)
    assert (recipe.final_learning_rate, recipe.drop_path_schedule, recipe.dropout) == (1e-5, "constant", 0.0)


def test_every_deit_3_recipe_has_its_command() -> None:
    """The two higher resolutions that the README scores without a command are as the one it has."""
    named = {name for name in recipe_names() if name.startswith("deit3-")}
    assert named - set(REVENGE) == {"deit3-finetune-384-vit-b16", "deit3-finetune-384-vit-l16"}
    assert set(REVENGE) <= named
    told, other = (find_recipe(f"deit3-finetune-384-vit-{size}", "finetune") for size in ("s16", "b16"))
    differing = {f for f in Recipe.__dataclass_fields__ if getattr(told, f) != getattr(other, f)}
    assert differing == {"name", "summary", "expected", "hardware", "model", "drop_path"}


@pytest.mark.parametrize(("model", "score"), [("ti16", 72.2), ("s16", 79.9), ("b16", 81.8)])
def test_deit_is_main_py(model: str, score: float) -> None:
    """AdamW at 5e-4 for 512 images, from 1e-6 over 5 epochs to 1e-5 after 300; everything that main.py mixes in."""
    recipe = find_recipe(f"deit-vit-{model}", "pretrain")
    assert recipe.expected.startswith(f"{score} %")
    assert recipe.peak == pytest.approx(1e-3, rel=0.01)
    numbers = {
        "optimizer": "adam",
        "learning_rate": 5e-4,
        "learning_rate_for": 512,
        "weight_decay": 0.05,
        "eps": 1e-8,
        "schedule": "cosine",
        "warmup_epochs": 5,
        "warmup_from": 1e-6,
        "final_learning_rate": 1e-5,
        "epochs": 300,
        "label_smoothing": 0.1,
        "mixup": 0.8,
        "cutmix": 1.0,
        "drop_path": 0.1,
        "dropout": 0.0,
        "repeats": 3,
        "clip_norm": None,
        "loss": "softmax",
        "drop_path_schedule": "linear",
        "image_size": (224, 224),
    }
    assert numbers == {field: getattr(recipe, field) for field in numbers}
    augment = recipe.augment
    assert (augment.policy, augment.rand_magnitude, augment.rand_std) == ("randaugment-timm", 9, 0.5)
    assert (augment.erase, augment.crop_area) == (0.25, (0.08, 1.0))


def test_deit_at_384_px_is_its_command() -> None:
    """`--batch-size 32 --input-size 384 --nodes 2 --lr 5e-6 --weight-decay 1e-8 --epochs 30 --min-lr 5e-6`."""
    recipe = find_recipe("deit-finetune-384-vit-b16", "finetune")
    assert (recipe.learning_rate, recipe.learning_rate_for, recipe.final_learning_rate) == (5e-6, 512, 5e-6)
    assert (recipe.weight_decay, recipe.epochs, recipe.image_size) == (1e-8, 30, (384, 384))
    assert recipe.batch_size == pytest.approx(32 * 2 * 8, rel=0.02)


@pytest.mark.parametrize(
    ("model", "row"),
    [
        ("vit-b16", (0.65, 5e-4, 100, 0.1, 83.664)),
        ("vit-l16", (0.75, 1e-3, 50, 0.2, 85.952)),
        ("vit-h14", (0.75, 1e-3, 50, 0.3, 86.928)),
    ],
)
def test_mae_finetuning_is_its_commands(model: str, row: tuple[float, ...]) -> None:
    """blr for 256 images at batch 1024, so that the rate is 4 times that; layer-wise decay per model."""
    recipe = find_recipe(f"mae-finetune-{model}", "finetune")
    layer_decay, blr, epochs, drop_path, score = row
    assert (layer_decay, epochs, drop_path) == (recipe.layer_decay, recipe.epochs, recipe.drop_path)
    assert recipe.peak == pytest.approx(4 * blr)
    assert (recipe.learning_rate, recipe.learning_rate_for, recipe.batch_size) == (blr, 256, 1024)
    assert (recipe.weight_decay, recipe.mixup, recipe.cutmix, recipe.label_smoothing) == (0.05, 0.8, 1.0, 0.1)
    assert (recipe.warmup_epochs, recipe.final_learning_rate, recipe.augment.erase) == (5, 1e-6, 0.25)
    assert f"{score} %" in recipe.expected


@pytest.mark.parametrize(
    ("images", "size", "row"),
    [
        (19_999, (95, 97), (160, 128, 0.0, 500, 100, [200, 300, 400])),  # 9,215 pixels, one less than 96 * 96
        (20_000, (96, 96), (512, 480, 0.1, 10_000, 500, [3_000, 6_000, 9_000])),
        (499_999, (64, 48), (160, 128, 0.1, 10_000, 500, [3_000, 6_000, 9_000])),
        (500_000, (300, 500), (512, 480, 0.1, 20_000, 500, [6_000, 12_000, 18_000])),
    ],
)
def test_bits_hyperrule(images: int, size: tuple[int, int], row: tuple[Any, ...]) -> None:
    """Resolution by area, Mixup and length by the number of images; the rate falls at the rule's own steps."""
    recipe = hyperrule(images, size)
    resize, crop, mixup, steps, warmup, falls = row
    assert (resize, (crop, crop)) == (recipe.augment.resize, recipe.image_size)
    assert (mixup, steps, warmup) == (recipe.mixup, recipe.steps, recipe.warmup_steps)
    assert (recipe.name, recipe.optimizer, recipe.batch_size) == ("bit-hyperrule", "sgd", 512)
    rates = [learning_rate(recipe, step, steps, 1.0) for step in range(steps)]
    assert rates[warmup - 1] == pytest.approx(0.003)
    assert falls == [step for step in range(warmup, steps) if rates[step] < 0.5 * rates[step - 1]]
    assert rates[-1] == pytest.approx(3e-6)


def test_the_listed_hyperrule_is_the_one_for_few_large_images() -> None:
    assert find_recipe("bit-hyperrule", "finetune") == hyperrule(1_000, (224, 224))
