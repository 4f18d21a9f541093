"""A run's price by arithmetic is what the papers print, and what fits on a device is what memory says."""

from __future__ import annotations

import dataclasses
from dataclasses import replace

import pytest

from vitreous.architecture import ViTConfig
from vitreous.config import Recipe
from vitreous.cost import flops, macs, parameters, training_flops, training_memory
from vitreous.cost.budget import DATA_SETS, as_trained, budget, find_data_set, step_flops
from vitreous.cost.hardware import DEVICES, PAPER_RUNS, estimate, find_hardware, implied_utilisation
from vitreous.cost.pixels import attention_rows
from vitreous.errors import ConfigError, UnknownNameError
from vitreous.zoo import find_model

# Appendix D.5, Table 6: epochs on JFT-300M, and 1e18 operations of the whole pre-training as the paper counts them.
EXAFLOPS = {
    "vit-b32": (7, 55),
    "vit-b16": (7, 224),
    "vit-l32": (7, 196),
    "vit-l16": (14, 1567),
    "vit-h14": (14, 4262),
    "resnet-r50x1": (7, 50),
    "resnet-r50x2": (7, 199),
    "resnet-r101x1": (7, 96),
    "resnet-r152x1": (7, 141),
    "resnet-r152x2": (14, 1126),
    "resnet-r200x3": (14, 3306),
    "r50+vit-b32": (7, 106),
    "r50+vit-b16": (7, 274),
    "r50+vit-l32": (7, 246),
    "r50+vit-l16": (14, 1668),
}
JFT = Recipe(name="jft", purpose="pretrain", epochs=7, batch_size=4096, hidden_head=True, image_size=(224, 224))
SMALL = Recipe(name="small", purpose="finetune", optimizer="sgd", steps=11, batch_size=48)


@pytest.mark.parametrize(("name", "printed"), EXAFLOPS.items())
def test_the_papers_own_runs(name: str, printed: tuple[int, int]) -> None:
    """Table 6: Transformers and hybrids within 1.5 %, ResNets within 4.5 %, which the paper counts a little lower."""
    epochs, exaflops = printed
    recipe = replace(JFT, epochs=epochs)
    config = as_trained(find_model(name), recipe, DATA_SETS["jft-300m"].classes)
    found = budget(config, recipe, DATA_SETS["jft-300m"].images)
    assert found.flops / 1e18 == pytest.approx(exaflops, rel=0.045 if name.startswith("resnet") else 0.015)


def test_what_table_2_says_of_its_hardware() -> None:
    """Core-days of TPUv3 imply between a quarter and under a half of its peak: the Transformers beat BiT-L."""
    shares = []
    for run in PAPER_RUNS:
        data = DATA_SETS[run.data]
        work = training_flops(replace(find_model(run.model), num_classes=data.classes)) * run.epochs * data.images
        shares.append(implied_utilisation(work, DEVICES["tpu-v3-core"], run.core_days))
    assert [f"{share:.0%}" for share in shares] == ["32%", "43%", "39%", "25%"]


def test_a_run_by_hand() -> None:
    """Steps, images, operations and disk of a small run."""
    config = find_model("vit-test")
    found = budget(config, SMALL, 100, keep=3)
    assert (found.steps, found.seen) == (11, 11 * 48)
    assert found.flops == 11 * 48 * training_flops(config)
    weights = 4 * parameters(config)
    assert found.checkpoint_bytes == 2 * weights  # momentum
    assert found.disk_bytes == pytest.approx(5 * 2 * weights + weights, abs=20_000)
    in_epochs = budget(config, replace(SMALL, steps=None, epochs=2.5), 100)
    assert in_epochs.steps == round(2.5 * 100 / 48)
    averaged = budget(config, replace(SMALL, optimizer="adam", average_decay=0.9), 100)
    assert averaged.checkpoint_bytes == 4 * weights


def test_as_it_is_trained() -> None:
    """Head, hidden layer, drop rates and resolution are the recipe's."""
    config = find_model("vit-b16")
    assert isinstance(config, ViTConfig)
    made = as_trained(config, replace(JFT, dropout=0.1, drop_path=0.2), 18_291)
    assert isinstance(made, ViTConfig)
    assert (made.num_classes, made.representation_size, made.dropout, made.drop_path) == (18_291, 768, 0.1, 0.2)
    assert as_trained(config, replace(SMALL, image_size=(384, 384)), 10).image_size == (384, 384)
    assert as_trained(find_model("bit-r50x1"), JFT, 7) == replace(find_model("bit-r50x1"), num_classes=7)
    masked = as_trained(config, replace(JFT, objective="masked-patch"))
    assert masked.num_classes == 512
    assert macs(masked) == pytest.approx(macs(replace(config, num_classes=0)) + 197 * 768 * 512)


def test_what_a_head_alone_costs() -> None:
    """One forward pass, and one product for the head's gradient; blocks computed twice cost a third more."""
    config = find_model("vit-b16")
    assert step_flops(config, replace(SMALL, train="head")) == flops(config) + 2 * 768 * 1000
    assert step_flops(config, SMALL) == training_flops(config) == step_flops(config, replace(SMALL, train="lora"))
    again = step_flops(config, SMALL, gradient_checkpointing=True)
    assert again / training_flops(config) == pytest.approx(4 / 3, rel=0.01)
    first = step_flops(config, replace(SMALL, train="head-first", head_first=0.25))
    assert first == pytest.approx(
        0.25 * step_flops(config, replace(SMALL, train="head")) + 0.75 * training_flops(config)
    )


@pytest.mark.parametrize("words", ["JFT-300M", "jft_300m", "ImageNet-1k", "Oxford Flowers-102", "Oxford-IIIT Pets"])
def test_data_sets_by_name(words: str) -> None:
    assert find_data_set(words) is not None
    assert find_data_set("my photos") is None


# ---------------------------------------------------------------- devices


def test_time_is_operations_over_speed() -> None:
    config, work = find_model("vit-b16"), 11 * 48 * training_flops(find_model("vit-b16"))
    found = estimate(config, SMALL, 0, DEVICES["h100"], count=4, utilisation=0.5)
    assert found.seconds == pytest.approx(work / (4 * 989.4e12 * 0.5))
    assert found.device_days == pytest.approx(4 * found.seconds / 86_400)
    assert (found.strategy, found.micro_batch, found.micro_batches) == ("copies", 12, 1)
    assert found.bytes == training_memory(config, SMALL, 12, "bfloat16").total


def test_a_batch_is_cut_so_that_it_fits() -> None:
    """Into equal pieces, each of which fits and twice as large ones do not."""
    config = find_model("vit-b16")
    found = estimate(config, JFT, 1, DEVICES["t4"])
    assert found.micro_batch * found.micro_batches >= 4096
    assert found.bytes <= 0.9 * 16e9 < training_memory(config, JFT, 2 * found.micro_batch, "bfloat16").total


def test_the_largest_models_are_shared_out() -> None:
    """ViT-G/14 on 512 TPUv3 cores: no core holds it with its moments, and a 512th of them fits."""
    config = find_model("vit-G14")
    found = estimate(config, JFT, DATA_SETS["jft-300m"].images, DEVICES["tpu-v3-core"], count=512)
    assert training_memory(config, JFT, 1, "bfloat16").total > 16e9
    assert (found.strategy, found.fits) == ("sharded", True)
    assert found.bytes < 0.9 * 16e9
    alone = estimate(config, JFT, 1, DEVICES["t4"])
    assert (alone.fits, alone.micro_batch) == (False, 0)
    assert alone.bytes > 16e9


def test_blocks_are_computed_twice_only_where_they_must() -> None:
    """ViT-H/14 on a T4 needs it, and then takes a third longer than its operations would."""
    config = find_model("vit-h14")
    found = estimate(config, JFT, 10_000, DEVICES["t4"])
    assert found.gradient_checkpointing
    work = budget(config, JFT, 10_000)
    assert found.seconds == pytest.approx(work.flops / (65e12 * 0.35) * 4 / 3, rel=0.01)
    assert not estimate(config, JFT, 10_000, DEVICES["h200"]).gradient_checkpointing
    assert estimate(config, JFT, 10_000, DEVICES["h200"], gradient_checkpointing=True).gradient_checkpointing


def test_what_cannot_be_is_refused() -> None:
    config = find_model("vit-test")
    with pytest.raises(ConfigError, match="5 devices cannot share a batch of 48 evenly"):
        estimate(config, SMALL, 1, DEVICES["h100"], count=5)
    with pytest.raises(ConfigError, match="utilisation must lie above 0"):
        estimate(config, SMALL, 1, DEVICES["h100"], utilisation=1.2)
    with pytest.raises(UnknownNameError, match="h1000"):
        find_hardware("h1000")
    assert find_hardware("NVIDIA_H100").name == "h100"


# ---------------------------------------------------------------- pixels


def test_attention_between_pixels() -> None:
    """255 x 255: 255^4 pairs for each head of each block, as the article counts; 17-pixel patches make 225^2."""
    base = find_model("vit-b16")
    assert isinstance(base, ViTConfig)
    config = replace(base, image_size=(255, 255), patch_size=(17, 17))
    rows = {row.patch: row for row in attention_rows(config)}
    assert set(rows) == {1, 17}
    assert rows[1].pairs == 255**4 == 4_228_250_625
    assert rows[17].pairs == 225**2
    assert rows[1].matrix_bytes == 2 * 144 * 255**4
    assert rows[17].flops == flops(config)


def test_attention_between_patches() -> None:
    """At 224 px every listed patch tiles; the model's own row is the model's own cost."""
    config = find_model("vit-b16")
    assert isinstance(config, ViTConfig)
    rows = attention_rows(config)
    assert [row.patch for row in rows] == [1, 2, 4, 8, 14, 16, 32]
    assert [row.tokens for row in rows] == [50_176, 12_544, 3_136, 784, 256, 196, 49]
    assert all(row.pairs == row.tokens**2 for row in rows)
    own = rows[5]
    assert own.flops == flops(config)
    assert own.attention_flops == 2 * 12 * 2 * 197 * 197 * 768
    assert {row.flops for row in attention_rows(find_vit("r50+vit-b16"))} == {row.flops for row in rows}
    assert own in attention_rows(dataclasses.replace(config, attention="window", window=(7, 7)))


def find_vit(name: str) -> ViTConfig:
    config = find_model(name)
    assert isinstance(config, ViTConfig)
    return config
