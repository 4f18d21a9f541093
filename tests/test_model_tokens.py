"""Tokens in front, tokens from feature maps, what stands on a residual branch, and what the head reads of them."""

from __future__ import annotations

import dataclasses
import functools
import itertools
import math
import os
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest
import torch
from oracles import timm
from random_vit import draw, random_images
from torch import Tensor, nn
from vit_options import OPTIONS, STEM, V1, V2, drawn, option

from vitreous.architecture import ResNetConfig, ViTConfig
from vitreous.config import ModelCard
from vitreous.errors import ConfigError
from vitreous.model.create import create_model
from vitreous.model.layers import DropPath, LayerScale, Mlp, SemanticFilter, activation, drop_path_rates
from vitreous.model.pool import AttentionPool
from vitreous.model.vit import ViT
from vitreous.weights.adapt import Adapted, with_channels

ROOT = Path(__file__).parent.parent


def random(*shape: int, seed: int = 0) -> Tensor:
    """Unit normal noise."""
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


# ---------------------------------------------------------------- tokens in front


@torch.no_grad()
def test_registers_stand_behind_the_class_token_and_have_no_position() -> None:
    """Order: class token, distillation token, registers, patches; of these only the registers enter as they are."""
    model = drawn(option("registers", distill_token=True))
    taps = model.features(random_images(), taps=("patch_embed", "embed")).taps
    assert model.cls_token is not None
    assert model.dist_token is not None
    assert model.reg_token is not None
    assert model.pos_embed is not None
    embed, table = taps["embed"], model.pos_embed
    assert tuple(table.shape) == (1, 2 + 15, 28)
    assert torch.equal(embed[:, :1], (model.cls_token + table[:, :1]).expand(2, -1, -1))
    assert torch.equal(embed[:, 1:2], (model.dist_token + table[:, 1:2]).expand(2, -1, -1))
    assert torch.equal(embed[:, 2:6], model.reg_token.expand(2, -1, -1))
    assert torch.equal(embed[:, 6:], taps["patch_embed"] + table[:, 2:])


@torch.no_grad()
def test_features_tell_the_tokens_apart() -> None:
    """The last norm's tokens in the same order, each in the field of its name."""
    model = drawn(option("registers", distill_token=True))
    features = model.features(random_images(), taps="norm")
    tokens = features.taps["norm"]
    assert features.cls is not None
    assert features.distill is not None
    assert torch.equal(tokens[:, 0], features.cls)
    assert torch.equal(tokens[:, 1], features.distill)
    assert torch.equal(tokens[:, 2:6], features.registers)
    assert torch.equal(tokens[:, 6:], features.patches)
    assert features.grid == (3, 5)
    alone = drawn(option("attention pooling")).features(random_images())
    assert alone.cls is None
    assert alone.distill is None
    assert tuple(alone.registers.shape) == (2, 0, 28)


@torch.no_grad()
@pytest.mark.parametrize("pool_norm", ["before", "after"])
def test_two_heads_answer_in_the_mean(pool_norm: str) -> None:
    """Class token through one head, distillation token through the other (DeiT, section 4), both normalised."""
    model = drawn(option("distillation", pool_norm=pool_norm))
    images = random_images()
    features = model.features(images)
    assert features.cls is not None
    assert features.distill is not None
    assert model.head_dist is not None
    one, two = model.head(model.fc_norm(features.cls)), model.head_dist(model.fc_norm(features.distill))
    torch.testing.assert_close(model(images), 0.5 * (one + two), rtol=0, atol=1e-6)
    assert (one - two).abs().max() > 0.1


def test_tokens_in_front_do_not_begin_as_twins() -> None:
    """The class token is zero, as Google's; registers and the distillation token are not, nor equal to each other."""
    model = create_model(option("registers", distill_token=True, prefix_position=False), seed=0)
    assert isinstance(model, ViT)
    assert model.cls_token is not None
    assert model.dist_token is not None
    assert model.reg_token is not None
    assert not model.cls_token.any()
    tokens = torch.cat([model.cls_token, model.dist_token, model.reg_token], dim=1)[0]
    assert all((one - other).abs().max() > 1e-3 for one, other in itertools.combinations(tokens, 2))
    assert tokens[1:].std().item() == pytest.approx(0.02, rel=0.2)


# ---------------------------------------------------------------- what the head reads


@torch.no_grad()
def test_norm_before_and_after_the_mean_differ() -> None:
    """The same weights, the norm on either side: each is what its formula says, and they are far apart."""
    before = drawn(option("plain", pool="mean", class_token=True, registers=2))
    after = ViT(dataclasses.replace(before.config, pool_norm="after")).eval()
    after.load_state_dict({name.replace("norm.", "fc_norm.", 1) if name.startswith("norm.") else name: value
                           for name, value in before.state_dict().items()})  # fmt: skip
    images = random_images()
    tokens = before.features(images, taps="blocks.2").taps["blocks.2"][:, 3:]  # patches alone
    expected = {
        before: before.head(before.norm(tokens).mean(dim=1)),
        after: before.head(before.norm(tokens.mean(dim=1))),
    }
    for model, logits in expected.items():
        torch.testing.assert_close(model(images), logits, rtol=0, atol=1e-5)
    assert (before(images) - after(images)).abs().max() > 1e-2


@torch.no_grad()
@pytest.mark.parametrize("gelu", ["erf", "tanh"])
def test_attention_pooling_is_timms(gelu: str) -> None:
    """AttentionPoolLatent with the same weights: the pooled vector, and the weights shown by the tap."""
    made = option("attention pooling", gelu=gelu)
    ours = draw(AttentionPool(made)).eval()
    act = nn.GELU if gelu == "erf" else functools.partial(nn.GELU, approximate="tanh")
    norm = functools.partial(nn.LayerNorm, eps=made.norm_eps)
    theirs = timm().layers.AttentionPoolLatent(28, num_heads=4, mlp_ratio=44 / 28, norm_layer=norm, act_layer=act)
    theirs.load_state_dict(ours.state_dict())
    x = random(3, 17, 28)
    torch.testing.assert_close(ours(x), theirs.eval()(x), rtol=0, atol=1e-5)


@torch.no_grad()
def test_attention_pooling_shows_its_weights() -> None:
    """The tap is one row of shares per head, and applied to the values it gives what is pooled."""
    model = drawn(option("attention pooling"))
    images = random_images()
    taps = model.features(images, taps=("norm", "pool.weights", "pool")).taps
    pool, weights = model.attn_pool, taps["pool.weights"]
    assert pool is not None
    assert tuple(weights.shape) == (2, 4, 1, 15)
    torch.testing.assert_close(weights.sum(dim=-1), torch.ones(2, 4, 1), rtol=0, atol=1e-6)
    assert weights.std() > 0.01
    v = pool.kv(taps["norm"])[..., 28:].view(2, 15, 4, 7).transpose(1, 2)
    gathered = pool.proj((weights @ v).transpose(1, 2).flatten(1))
    torch.testing.assert_close(gathered + pool.mlp(pool.norm(gathered)), taps["pool"], rtol=0, atol=1e-5)


@torch.no_grad()
def test_without_pooling_every_token_is_answered() -> None:
    """One row of logits per token, those in front included: the head on each."""
    model = drawn(option("a row per token"))
    logits = model(random_images())
    assert tuple(logits.shape) == (2, 2 + 15, 11)
    tokens = model.features(random_images(), taps="norm").taps["norm"]
    assert model.pre_logits is not None
    for t in range(tokens.shape[1]):
        expected = model.head(torch.tanh(model.pre_logits.fc(tokens[:, t])))
        torch.testing.assert_close(logits[:, t], expected, rtol=0, atol=1e-5)


@torch.no_grad()
@pytest.mark.parametrize("pool", ["cls", "mean", "map", "cls+mean"])
def test_without_a_head_the_pooled_features_come_out(pool: str) -> None:
    """num_classes=0: the tap "pool", as wide as what pooling hands on."""
    model = drawn(option("plain", pool=pool, num_classes=0))
    images = random_images()
    features = model(images)
    assert features.shape == (2, 56 if pool == "cls+mean" else 28)
    assert torch.equal(features, model.features(images, taps="pool").taps["pool"])


# ---------------------------------------------------------------- inside a block


@torch.no_grad()
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("norm", [True, False])
def test_swiglu_is_timms(bias: bool, norm: bool) -> None:
    """SwiGLUPacked with the same weights; with bias and norm it is the MLP of EVA-02's larger models."""
    made = option("gated", mlp_bias=bias, mlp_norm=norm)
    ours = draw(Mlp(made)).eval()
    layer = functools.partial(nn.LayerNorm, eps=made.norm_eps) if norm else None
    theirs = timm().layers.SwiGLUPacked(28, hidden_features=2 * 44, bias=bias, norm_layer=layer)
    theirs.load_state_dict(ours.state_dict())
    x = random(2, 15, 28)
    torch.testing.assert_close(ours(x), theirs.eval()(x), rtol=0, atol=1e-5)


def test_the_three_gelus_are_three() -> None:
    """Each against its formula in float64, and as far from the others as is known: 4.73e-4 and 2.03e-2."""
    x = torch.linspace(-6, 6, 24_001, dtype=torch.float64)
    phi = 0.5 * (1 + torch.special.erf(x / math.sqrt(2)))
    expected = {
        "erf": x * phi,
        "tanh": 0.5 * x * (1 + torch.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3))),
        "quick": x / (1 + torch.exp(-1.702 * x)),
    }
    for name, values in expected.items():
        torch.testing.assert_close(activation(option("plain", gelu=name))(x), values, rtol=0, atol=1e-12)
    assert (expected["tanh"] - expected["erf"]).abs().max() == pytest.approx(4.73e-4, abs=1e-6)
    assert (expected["quick"] - expected["erf"]).abs().max() == pytest.approx(2.03e-2, abs=1e-4)


@torch.no_grad()
def test_layer_scale_multiplies_each_channel() -> None:
    """At its first value every branch is that much smaller; at zero a block does nothing."""
    scale = LayerScale(28)
    scale.gamma.copy_(random(28))
    x = random(2, 5, 28, seed=1)
    torch.testing.assert_close(scale(x), x * random(28), rtol=0, atol=0)
    model = create_model(option("layer scale", layer_scale=1e-5), seed=0)
    assert isinstance(model, ViT)
    for block in model.blocks:
        for part in (block.ls1, block.ls2):
            assert torch.equal(torch.full((28,), 1e-5), part.gamma)
            part.gamma.zero_()
    taps = model.features(random_images(), taps=("embed", "blocks.2")).taps
    assert torch.equal(taps["embed"], taps["blocks.2"])


# ---------------------------------------------------------------- stochastic depth


def test_rates_rise_or_stay() -> None:
    """Linear from 0 to the rate over the blocks (AugReg), or the same for all (DeiT-III, DINOv2)."""
    linear = option("plain", depth=5, drop_path=0.2)
    assert drop_path_rates(linear) == pytest.approx([0.0, 0.05, 0.1, 0.15, 0.2])
    assert drop_path_rates(dataclasses.replace(linear, drop_path_schedule="constant")) == [0.2] * 5
    assert drop_path_rates(dataclasses.replace(linear, depth=1)) == [0.0]
    for attention in ("full", "axial"):
        model = ViT(dataclasses.replace(linear, attention=attention))
        for block, rate in zip(model.blocks, drop_path_rates(linear), strict=True):
            found = {part.rate for part in block.modules() if isinstance(part, DropPath)}
            assert found == {rate}


@torch.no_grad()
def test_an_image_skips_whole_or_not_at_all() -> None:
    """Each image of the batch on its own; the share that skips is the rate, and the mean stays."""
    path = DropPath(0.3).train()
    torch.manual_seed(0)
    x = torch.ones(20_000, 3, 2)
    y = path(x)
    skipped = (y == 0).all(dim=(1, 2))
    assert torch.equal(skipped, (y == 0).any(dim=(1, 2)))
    torch.testing.assert_close(y[~skipped], x[~skipped] / 0.7)
    assert skipped.float().mean().item() == pytest.approx(0.3, abs=3 * math.sqrt(0.21 / 20_000))
    assert y.mean().item() == pytest.approx(1.0, abs=0.02)
    assert torch.equal(path.eval()(x), x)


@torch.no_grad()
def test_stochastic_depth_in_a_model() -> None:
    """While training, each image goes through some branches and not through others; a seed says which; eval has all."""
    made = option("layer scale", depth=2, drop_path=0.5, drop_path_schedule="constant")
    model = drawn(made)
    images = random_images(batch=1)
    whole = model(images)
    assert torch.equal(whole, drawn(dataclasses.replace(made, drop_path=0.0))(images))
    paths = [part for part in model.modules() if isinstance(part, DropPath)]
    possible = []
    for kept in itertools.product((0.0, 2.0), repeat=4):  # two branches in each of two blocks, in order
        turn = iter(kept)
        hooks = [path.register_forward_hook(lambda _path, _x, y, turn=turn: y * next(turn)) for path in paths]
        possible.append(model(images))
        assert next(turn, None) is None
        for hook in hooks:
            hook.remove()
    model.train()
    torch.manual_seed(1)
    drawn_now = model(images.expand(40, -1, -1, -1))
    which = {min(range(16), key=lambda i: (possible[i] - row).abs().max().item()) for row in drawn_now}
    assert all(min((p - row).abs().max() for p in possible) < 1e-4 for row in drawn_now)
    assert len(which) > 8  # forty images of one batch went many different ways
    torch.manual_seed(1)
    assert torch.equal(drawn_now, model(images.expand(40, -1, -1, -1)))


# ---------------------------------------------------------------- channels and edges


def adapted(model: ViT, count: int) -> ViT:
    """The model that `with_channels` makes of this one's weights."""
    found = with_channels(Adapted(ModelCard(architecture=model.config), dict(model.state_dict())), count)
    assert isinstance(found.card.architecture, ViTConfig)
    other = ViT(found.card.architecture)
    other.load_state_dict(found.tensors)
    return other.eval()


@torch.no_grad()
def test_a_grey_picture_has_the_same_tokens() -> None:
    """Weights of three channels summed into one: grey as one channel is grey as three."""
    model = drawn(option("plain"))
    grey = random_images(channels=1)
    torch.testing.assert_close(adapted(model, 1)(grey), model(grey.expand(-1, 3, -1, -1)), rtol=0, atol=1e-5)


@torch.no_grad()
@pytest.mark.parametrize("count", [2, 4, 7])
def test_other_numbers_of_channels(count: int) -> None:
    """Filters are repeated in turn, and scaled so that equal channels give the tokens of equal channels."""
    model = drawn(option("plain"))
    other = adapted(model, count)
    kernel, old = other.patch_embed.proj.weight, model.patch_embed.proj.weight
    for c in range(count):
        torch.testing.assert_close(kernel[:, c], old[:, c % 3] * 3 / count)
    assert torch.isfinite(other(random_images(channels=count))).all()


@pytest.mark.parametrize("channels", [1, 4])
def test_another_number_of_channels_than_the_models_is_refused(channels: int) -> None:
    """The error says both."""
    with pytest.raises(ConfigError, match=rf"takes images of {channels} channels, got \(2, 3, 24, 40\)"):
        drawn(option("plain", in_channels=channels))(random_images())


@torch.no_grad()
def test_pixels_behind_the_last_patch_are_not_seen() -> None:
    """edge="crop": the answer is that of the cropped image, whatever stands beyond; less than a patch is refused."""
    model = drawn(option("cropped edge"))
    images = random_images(29, 47)
    assert model.config.grid == (3, 5)
    assert torch.equal(model(images), model(images[:, :, :24, :40]))
    beyond = images.clone()
    beyond[:, :, 24:] = 100.0
    beyond[:, :, :, 40:] = -100.0
    assert torch.equal(model(images), model(beyond))
    with pytest.raises(ConfigError, match="height 7 is not divisible by patch height 8"):
        model(random_images(7, 47))
    with pytest.raises(ConfigError, match="height 29 is not divisible"):
        drawn(option("plain"))(images)


# ---------------------------------------------------------------- tokens from feature maps

STEMS: dict[str, ResNetConfig] = {
    "root alone": STEM,
    "first stage of v1": V1,
    "second stage of v1": dataclasses.replace(V1, layers=(1, 1)),
    "third stage of v1": dataclasses.replace(V1, layers=(1, 1, 1)),
    "root alone of v2": dataclasses.replace(V2, layers=()),
    "first stage of v2": dataclasses.replace(V2, layers=(1,)),
    "third stage of v2": dataclasses.replace(V2, layers=(1, 1, 1)),
}


@torch.no_grad()
@pytest.mark.parametrize("stem", STEMS.values(), ids=STEMS)
def test_a_hybrid_cuts_any_feature_map(stem: ResNetConfig) -> None:
    """Patches of 1 x 2 cells, a class token and a position each: the model is a ViT on the map of its stem."""
    high, wide = stem.reduction, 2 * stem.reduction
    model = drawn(option("plain", stem=stem, patch_size=(1, 2), image_size=(2 * high, 3 * wide)))
    assert model.config.stride == (high, wide)
    on_maps = ViT(dataclasses.replace(
        model.config, stem=None, in_channels=stem.num_features, image_size=(2, 6), num_classes=11
    )).eval()  # fmt: skip
    state = model.state_dict()
    on_maps.load_state_dict({name: value for name, value in state.items() if ".backbone." not in name})
    trunk = model.patch_embed.backbone
    assert trunk is not None
    for size in ((2 * high, 3 * wide), (3 * high, 2 * wide)):
        images = random_images(*size)
        features = model.features(images, taps="patch_embed.backbone")
        maps = features.taps["patch_embed.backbone"]
        assert features.grid == (size[0] // high, size[1] // wide)
        assert tuple(maps.shape) == (2, stem.num_features, size[0] // high, 2 * size[1] // wide)
        assert maps.min() >= 0
        assert torch.equal(trunk(images), maps)
        torch.testing.assert_close(model(images), on_maps(maps), rtol=0, atol=1e-5)


@torch.no_grad()
@pytest.mark.parametrize("size", [(27, 45), (33, 38), (17, 64)], ids=str)
def test_a_cropping_hybrid_takes_any_size(size: tuple[int, int]) -> None:
    """The stem rounds its map up, patches are cut from it, and what remains of the map is left away."""
    model = drawn(option("cropped hybrid"))
    features = model.features(random_images(*size), taps="patch_embed.backbone")
    high, wide = math.ceil(size[0] / 4), math.ceil(size[1] / 4)
    assert features.taps["patch_embed.backbone"].shape[2:] == (high, wide)
    assert features.grid == (high // 2, wide // 2) == model.config.grid_at(size)
    assert features.patches.shape[1] == (high // 2) * (wide // 2)
    with pytest.raises(ConfigError, match="is not divisible by patch"):
        drawn(option("hybrid"))(random_images(*size))


@torch.no_grad()
def test_semantic_tokens_are_those_of_their_equation() -> None:
    """T = softmax over places (X W)^T X (Wu et al., 2020, equation 1), one token and one place after the other."""
    made = option("semantic tokens")
    module = SemanticFilter(made)
    module.weight.copy_(random(6, 28))
    x = random(2, 15, 28, seed=1)
    actual = module(x)
    for image in range(2):
        for token in range(6):
            answers = [math.exp(float(x[image, place] @ module.weight[token])) for place in range(15)]
            expected = sum(a / sum(answers) * x[image, place].numpy() for place, a in enumerate(answers))
            np.testing.assert_allclose(actual[image, token].numpy(), expected, rtol=0, atol=1e-5)


@torch.no_grad()
@pytest.mark.parametrize("name", ["semantic tokens", "semantic tokens of a hybrid"])
def test_semantic_tokens_are_as_many_at_every_resolution(name: str) -> None:
    """The table has a row for each, the filter a map over the places, and no size changes their number."""
    model = drawn(option(name))
    assert model.pos_embed is not None
    assert model.pos_embed.shape[1] == 1 + 6
    for size in ((24, 40), (48, 16), (8, 8)):
        features = model.features(random_images(*size), taps="patch_embed.filter")
        assert features.grid == (1, 6)
        assert tuple(features.patches.shape) == (2, 6, 28)
        maps = features.taps["patch_embed.filter"]
        places = math.prod(side // by for side, by in zip(size, model.config.stride, strict=True))
        assert tuple(maps.shape) == (2, places, 6)
        torch.testing.assert_close(maps.sum(dim=1), torch.ones(2, 6), rtol=0, atol=1e-5)


@torch.no_grad()
def test_semantic_tokens_do_not_know_where() -> None:
    """Exchanging patches moves nothing: a filter looks at what, not at where."""
    model, images = drawn(option("semantic tokens")), random_images()
    swapped = images.clone()
    swapped[:, :, :8, :8], swapped[:, :, 16:, 32:] = images[:, :, 16:, 32:], images[:, :, :8, :8]
    torch.testing.assert_close(model(images), model(swapped), rtol=0, atol=1e-5)


# ---------------------------------------------------------------- export, without the type checks of the test run

EXPORTED: list[dict[str, Any]] = [  # every option at least once, several at a time
    {"position": "learned-2d", "position_at": "every", "distill_token": True, "registers": 3, "layer_scale": 0.3},
    {"position": "relative", "position_at": "shared", "pool": "map", "qk_norm": True, "attn_norm": True},
    {**OPTIONS["windows and rotary"], "rotary": "eva", "mlp": "swiglu", "mlp_norm": True, "pool_norm": "after"},
    {**OPTIONS["rotary of DINOv3"], "position": "sincos", "attention": "axial", "qkv_bias": "query-value"},
    {**OPTIONS["semantic tokens of a hybrid"], "pool": "none", "edge": "crop", "pre_norm": True, "gelu": "quick"},
]


def test_main_options_export() -> None:
    """torch.export with a free batch size, away from the model's own resolution, gives the same logits."""
    code = """
        import torch
        from random_vit import random_images
        from test_model_tokens import EXPORTED
        from vit_options import drawn, option
        torch.set_num_threads(1)
        for changes in EXPORTED:
            model = drawn(option("plain", **changes, depth=2))
            height, width = model.config.image_size
            images, more = (random_images(2 * height, width, batch=count) for count in (2, 5))
            free = ({0: torch.export.Dim("batch")},)
            exported = torch.export.export(model, (images,), dynamic_shapes=free).module()
            for batch in (images, more, more[:1]):
                torch.testing.assert_close(exported(batch), model(batch), rtol=0, atol=1e-5)
        """
    result = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", textwrap.dedent(code)],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'tests'}"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stdout + result.stderr
