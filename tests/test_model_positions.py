"""Positions of Table 8 and beyond, against the families' own code, closed forms, and loops written from their formulas.

Google's convention, corners on corners, has a file of its own: test_model_position.py.
"""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from oracles import timm
from random_vit import random_images
from slow_vit import line, waves
from torch import Tensor
from vit_options import OPTIONS, drawn, option

from vitreous.architecture import ViTConfig
from vitreous.config import ModelCard
from vitreous.model.position import (
    Rotation,
    cross,
    offset_bias,
    resample,
    resample_line,
    rotate,
    rotation,
    sincos,
)
from vitreous.model.vit import ViT
from vitreous.weights.adapt import Adapted, with_size

Grid = tuple[int, int]
Array = NDArray[np.float64]

GRIDS = [
    ((3, 5), (6, 10)),
    ((3, 5), (9, 4)),
    ((8, 7), (3, 9)),
    ((12, 9), (5, 2)),
    ((7, 7), (12, 5)),
    ((4, 1), (2, 3)),
    ((5, 1), (7, 1)),
]


def random(*shape: int, seed: int = 0) -> Tensor:
    """Unit normal noise."""
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


# ---------------------------------------------------------------- tables that follow the image


def triangle(x: float, _: float = 0.0) -> float:
    """The kernel of linear interpolation."""
    return max(0.0, 1.0 - abs(x))


def cubic(x: float, a: float) -> float:
    """Keys' kernel (1981): -1/2 is the one of image libraries, -3/4 the one of those who do not antialias."""
    x = abs(x)
    if x < 1:
        return ((a + 2) * x - (a + 3)) * x * x + 1
    return (((x - 5) * x + 8) * x - 4) * a if x < 2 else 0.0


def one_axis(old: int, new: int, how: str, ratio: float) -> Array:
    """The matrix (new, old) of an interpolation along one axis, one weight after the other.

    Args:
        old: places there are.
        new: places wanted.
        how: the convention.
        ratio: old places per new one.
    """
    kernel, reach = (triangle, 1) if how.startswith("bilinear") else (cubic, 2)
    matrix = np.zeros((new, old))
    for i in range(new):
        if how.endswith("antialias"):  # the kernel is stretched over all it stands for, and cut off at the edge
            stretch = max(ratio, 1.0)
            for j in range(old):
                matrix[i, j] = kernel((j + 0.5 - (i + 0.5) * ratio) / stretch, -0.5)
            matrix[i] /= matrix[i].sum()
            continue
        at = (i + 0.5) * ratio - 0.5
        if how.endswith("corners"):
            at = i * (old - 1) / (new - 1) if new > 1 else 0.0
        for j in range(math.floor(at) + 1 - reach, math.floor(at) + 1 + reach):  # places beyond the edge repeat it
            matrix[i, min(max(j, 0), old - 1)] += kernel(at - j, -0.75)
    return matrix


CONVENTIONS = ("bilinear-corners", "bilinear-antialias", "bicubic", "bicubic-corners", "bicubic-antialias")


@pytest.mark.parametrize("how", [*CONVENTIONS, "bicubic-offset"])
@pytest.mark.parametrize(("source", "target"), GRIDS, ids=str)
def test_every_convention_is_its_formula(how: Any, source: Grid, target: Grid) -> None:
    """Within 2e-5 of matrices written down weight by weight, for one table or several; rows in front stay."""
    table = random(2, 3 + source[0] * source[1], 5)
    actual = resample(table, 3, source, target, how)
    high, wide = (
        one_axis(old, new, how, old / (new + 0.1) if how == "bicubic-offset" else old / new)
        for old, new in zip(source, target, strict=True)
    )
    picture = table[:, 3:].double().numpy().reshape(2, *source, 5)
    expected = np.einsum("rh,cw,lhwd->lrcd", high, wide, picture).reshape(2, -1, 5)
    np.testing.assert_allclose(actual[:, 3:].numpy(), expected, rtol=0, atol=2e-5)
    assert torch.equal(table[:, :3], actual[:, :3])


@pytest.mark.parametrize(("source", "target"), GRIDS, ids=str)
def test_timms_convention_is_timms(source: Grid, target: Grid) -> None:
    """timm.layers.resample_abs_pos_embed, class token and rectangles included."""
    table = random(1, 1 + source[0] * source[1], 5)
    theirs = timm().layers.resample_abs_pos_embed(table, list(target), list(source), num_prefix_tokens=1)
    torch.testing.assert_close(theirs, resample(table, 1, source, target, "bicubic-antialias"), rtol=0, atol=1e-6)


@pytest.mark.parametrize(("side", "grid"), [(4, (7, 5)), (5, (3, 8)), (7, (7, 9))])
def test_dinov2s_convention_is_metas(side: int, grid: Grid) -> None:
    """The lines of dinov2/models/vision_transformer.py, interpolate_pos_encoding, with its offset of 0.1."""
    table = random(1, 1 + side * side, 6)
    (w0, h0), M = grid, side
    sx, sy = float(w0 + 0.1) / M, float(h0 + 0.1) / M
    patches = F.interpolate(
        table[:, 1:].reshape(1, M, M, 6).permute(0, 3, 1, 2), mode="bicubic", antialias=False, scale_factor=(sx, sy)
    )
    assert (w0, h0) == patches.shape[-2:]
    theirs = torch.cat([table[:, :1], patches.permute(0, 2, 3, 1).view(1, -1, 6)], dim=1)
    actual = resample(table, 1, (M, M), grid, "bicubic-offset")
    torch.testing.assert_close(theirs, actual, rtol=0, atol=0)
    assert (actual - resample(table, 1, (M, M), grid, "bicubic")).abs().max() > 1e-3  # what leaving it out would do


def test_no_two_conventions_agree() -> None:
    """On noise they are far apart: taking another family's is a mistake one can measure."""
    table = random(1, 8 * 7, 5)
    found = [resample(table, 0, (8, 7), (3, 9), how) for how in (*CONVENTIONS, "bicubic-offset")]
    for i, one in enumerate(found):
        assert all((one - other).abs().max() > 1e-2 for other in found[:i])


@given(count=st.integers(1, 9), wanted=st.integers(1, 19))
def test_a_line_keeps_its_ends(count: int, wanted: int) -> None:
    """Straight lines between places, first on first and last on last: NumPy's interp."""
    table = random(2, count, 3, seed=count)
    actual = resample_line(table, wanted)
    for one, other in zip(table, actual, strict=True):
        np.testing.assert_allclose(other.numpy(), line(one.numpy(), wanted), rtol=0, atol=1e-5)
    assert (resample_line(table[0], wanted) == actual[0]).all()


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_a_line_keeps_its_precision(dtype: torch.dtype) -> None:
    """float64 and bfloat16 come out as such, as accurate as they are."""
    table = random(7, 3).to(dtype)
    actual = resample_line(table, 10)
    assert dtype == actual.dtype
    expected = line(table.double().numpy(), 10)
    np.testing.assert_allclose(actual.double().numpy(), expected, rtol=0, atol=10 * torch.finfo(dtype).eps)


def test_rows_and_columns_stand_side_by_side() -> None:
    """The position of patch (r, c) is row r's half and then column c's (appendix D.4)."""
    rows, columns = random(2, 3, 4), random(2, 5, 4, seed=1)
    table = cross(rows, columns).reshape(2, 3, 5, 8)
    for r in range(3):
        for c in range(5):
            assert torch.equal(torch.cat([rows[:, r], columns[:, c]], dim=1), table[:, r, c])


# ---------------------------------------------------------------- sines


def test_sines_are_big_visions() -> None:
    """The reference rows of posemb_sincos_2d for a grid of 2 x 3 and D = 8: x is the column, and comes first."""
    table = sincos((2, 3), 8, "sincos").reshape(2, 3, 8)
    first = torch.tensor([0.841471, 0.0001, 0.540302, 1, 0, 0, 1, 1])
    second = torch.tensor([0, 0, 1, 1, 0.841471, 0.0001, 0.540302, 1])
    torch.testing.assert_close(table[0, 1], first, rtol=0, atol=1e-6)
    torch.testing.assert_close(table[1, 0], second, rtol=0, atol=1e-6)


@pytest.mark.parametrize("grid", [(3, 5), (7, 4), (1, 6), (14, 14)])
@pytest.mark.parametrize("dim", [4, 12, 32])
@pytest.mark.parametrize("form", ["sincos", "sincos-mae"])
def test_sines_are_their_formula(grid: Grid, dim: int, form: Any) -> None:
    """Number by number, rectangles included; big_vision's frequency is one where D / 4 is one."""
    if (dim, form) == (4, "sincos"):  # 0 / 0 in the formula
        torch.testing.assert_close(sincos(grid, 4, "sincos-mae"), sincos(grid, 4, "sincos"), rtol=0, atol=0)
        return
    actual = sincos(grid, dim, form)
    assert (1, grid[0] * grid[1], dim) == tuple(actual.shape)
    np.testing.assert_allclose(actual[0].numpy(), waves(grid, dim, form), rtol=0, atol=1e-6)


@pytest.mark.parametrize("grid", [(3, 5), (7, 4)])
def test_sines_of_mae_are_timms_in_another_order(grid: Grid) -> None:
    """build_sincos2d_pos_embed has sin x, sin y, cos x, cos y; MAE has sin x, cos x, sin y, cos y."""
    build = timm().layers.pos_embed_sincos.build_sincos2d_pos_embed
    sx, sy, cx, cy = build(list(grid[::-1]), dim=24).reshape(grid[1], grid[0], 24).transpose(0, 1).chunk(4, dim=-1)
    theirs = torch.cat([sx, cx, sy, cy], dim=-1).reshape(1, -1, 24)
    torch.testing.assert_close(theirs, sincos(grid, 24, "sincos-mae"), rtol=0, atol=1e-5)


# ---------------------------------------------------------------- rotations


def turned(x: Tensor, by: Rotation, num_prefix: int = 0) -> Tensor:
    """`rotate` on (N, K)."""
    return rotate(x[None, None], by, num_prefix)[0, 0]


@pytest.mark.parametrize("grid", [(3, 5), (7, 4), (1, 6)])
@pytest.mark.parametrize("reference", [None, (16, 16), (4, 9)])
def test_rotation_of_eva_is_timms(grid: Grid, reference: Grid | None) -> None:
    """RotaryEmbeddingCat on rectangles, scaled to another grid or not; tokens in front are not turned."""
    layers = timm().layers
    theirs = layers.RotaryEmbeddingCat(
        12, in_pixels=False, feat_shape=list(grid), ref_feat_shape=None if reference is None else list(reference)
    ).get_embed()
    x = random(2 + grid[0] * grid[1], 12)
    by = rotation(grid, 12, "eva", 10_000.0, reference=reference)
    expected = torch.cat([x[:2], layers.apply_rot_embed_cat(x[2:], theirs)])
    torch.testing.assert_close(turned(x, by, 2), expected, rtol=0, atol=1e-5)
    assert torch.equal(turned(x, by, 2)[:2], x[:2])


@pytest.mark.parametrize("grid", [(3, 5), (7, 4), (1, 6)])
def test_rotation_of_dinov3_is_timms(grid: Grid) -> None:
    """RotaryEmbeddingDinoV3 on rectangles, halves turned together; tokens in front are not turned."""
    layers = timm().layers
    theirs = layers.pos_embed_sincos.RotaryEmbeddingDinoV3(12, temperature=100.0).get_embed(list(grid))
    x = random(5 + grid[0] * grid[1], 12)
    by = rotation(grid, 12, "dinov3", 100.0)
    expected = torch.cat([x[:5], layers.apply_rot_embed_cat(x[5:], theirs, half=True)])
    torch.testing.assert_close(turned(x, by, 5), expected, rtol=0, atol=1e-5)
    assert torch.equal(turned(x, by, 5)[:5], x[:5])


def test_periods_of_meta_are_rounded() -> None:
    """With bfloat16 the angles are those of periods with eight bits, and far from the others."""
    periods = (100.0 ** (torch.arange(4) / 4)).bfloat16().float()
    by = rotation((1, 3), 16, "dinov3", 100.0, dtype="bfloat16")
    angle = 2 * math.pi * (2 / 3) / periods  # the last column's centre lies at 2/3
    torch.testing.assert_close(by.cos[2, 4:8], angle.cos(), rtol=0, atol=1e-5)
    torch.testing.assert_close(by.sin[2, 4:8], angle.sin(), rtol=0, atol=1e-5)
    exact = rotation((1, 3), 16, "dinov3", 100.0)
    assert 1e-4 < (by.cos - exact.cos).abs().max() < 2e-2


@pytest.mark.parametrize("form", ["eva", "dinov3"])
def test_rotated_products_know_only_the_way_between(form: Any) -> None:
    """q at one patch and k at another: the product is the same wherever the pair stands; lengths stay."""
    by = rotation((6, 7), 12, form, 50.0)
    q, k = random(12).expand(42, 12), random(12, seed=1).expand(42, 12)
    products = (turned(q, by) @ turned(k, by).T).reshape(6, 7, 6, 7)
    for r, c in ((0, 0), (1, 2), (3, 1)):
        torch.testing.assert_close(products[r, c, r + 2, c + 3], products[0, 0, 2, 3], rtol=0, atol=1e-4)
    assert (products[0, 0, 2, 3] - products[0, 0, 3, 2]).abs() > 1e-2
    torch.testing.assert_close(turned(q, by).norm(dim=1), q.norm(dim=1), rtol=0, atol=1e-5)


def test_rotation_is_exact_in_half_precision() -> None:
    """Only the result is rounded: within one rounding of the float32 answer."""
    by, x = rotation((4, 5), 16, "eva", 100.0), random(20, 16).bfloat16()
    actual = turned(x, by)
    assert actual.dtype == torch.bfloat16
    torch.testing.assert_close(actual, turned(x.float(), by).bfloat16(), rtol=0, atol=0)


# ---------------------------------------------------------------- relative positions


@pytest.mark.parametrize("rows", [9, 4, 17], ids=["made for it", "stretched", "shrunk"])
def test_offsets_meet_their_rows(rows: int) -> None:
    """The bias of query i and key j is q_i times the row of i - j, in a double loop (Shaw et al., 2018)."""
    q, table = random(2, 3, 5, 4), random(rows, 4, seed=1)
    bias = offset_bias(q, table)
    fitting = torch.from_numpy(line(table.numpy(), 9)).float()
    for i in range(5):
        for j in range(5):
            torch.testing.assert_close(bias[:, :, i, j], q[:, :, i] @ fitting[i - j + 4], rtol=0, atol=1e-5)


@torch.no_grad()
def test_equal_offsets_are_no_positions() -> None:
    """A table of one repeated row moves all logits of a query alike, so the model is the one without positions."""
    model = drawn(option("relative"))
    for block in model.blocks:
        block.attn.rel_pos.copy_(block.attn.rel_pos[:1].expand_as(block.attn.rel_pos))
    bare = ViT(option("no positions")).eval()
    state = {name: value for name, value in model.state_dict().items() if not name.endswith("rel_pos")}
    bare.load_state_dict(state)
    images = random_images()
    torch.testing.assert_close(model(images), bare(images), rtol=0, atol=1e-5)


# ---------------------------------------------------------------- where positions are added


@torch.no_grad()
@pytest.mark.parametrize("position", ["learned", "learned-2d"])
def test_shared_is_every_with_one_table(position: str) -> None:
    """One table for all blocks equals a table for each, all the same; and both differ from the input alone."""
    shared = drawn(option("plain", position=position, position_at="shared", registers=2))
    every, once = (
        ViT(dataclasses.replace(shared.config, position_at=where)).eval() for where in ("every", "input")
    )  # fmt: skip
    state = shared.state_dict()
    once.load_state_dict(state)
    every.load_state_dict({k: v.expand(3, -1, -1) if k.startswith("pos_embed") else v for k, v in state.items()})
    for size in ((24, 40), (48, 16)):
        images = random_images(*size)
        torch.testing.assert_close(shared(images), every(images), rtol=0, atol=1e-5)
        assert (shared(images) - once(images)).abs().max() > 1e-2


@torch.no_grad()
def test_shared_offsets_are_every_blocks() -> None:
    """One table of offsets equals a table for each block, all the same."""
    shared = drawn(option("relative", position_at="shared"))
    own = ViT(dataclasses.replace(shared.config, position_at="input")).eval()
    state = shared.state_dict()
    offsets = state.pop("rel_pos")
    own.load_state_dict(state | {f"blocks.{i}.attn.rel_pos": offsets for i in range(3)})
    images = random_images()
    torch.testing.assert_close(shared(images), own(images), rtol=0, atol=0)


@torch.no_grad()
@pytest.mark.parametrize("name", ["no positions", "rotary of DINOv3"])
def test_patches_without_positions_are_a_set(name: str) -> None:
    """Exchanging two patches changes nothing where there are no positions, and something where queries are turned."""
    model, images = drawn(option(name)), random_images()
    swapped = images.clone()
    swapped[:, :, :8, :8], swapped[:, :, 16:, 32:] = images[:, :, 16:, 32:], images[:, :, :8, :8]
    moved = (model(swapped) - model(images)).abs().max()
    assert (moved < 1e-5) == (name == "no positions")


@torch.no_grad()
def test_tokens_in_front_have_positions_or_none() -> None:
    """A table with rows for tokens in front equals one without, those rows added to the tokens themselves."""
    own = drawn(option("distillation", registers=3))
    none = ViT(dataclasses.replace(own.config, prefix_position=False)).eval()
    state = own.state_dict()
    table = state["pos_embed"]
    none.load_state_dict(
        state
        | {
            "pos_embed": table[:, 2:],
            "cls_token": state["cls_token"] + table[:, :1],
            "dist_token": state["dist_token"] + table[:, 1:2],
        }
    )
    for size in ((24, 40), (48, 16)):
        images = random_images(*size)
        torch.testing.assert_close(own(images), none(images), rtol=0, atol=1e-5)


@torch.no_grad()
@pytest.mark.parametrize("form", ["sincos", "sincos-mae"])
def test_sines_beside_a_class_token(form: Any) -> None:
    """Class token, registers and distillation token have no sines; patches at any size have theirs."""
    model = drawn(option("plain", position=form, registers=2, distill_token=True))
    assert model.config.num_prefix_positions == 0
    for size in ((24, 40), (48, 16)):
        images = random_images(*size)
        taps = model.features(images, taps=("patch_embed", "embed")).taps
        patches = taps["embed"][:, 4:] - taps["patch_embed"]
        expected = waves((size[0] // 8, size[1] // 8), 28, form)
        np.testing.assert_allclose(patches.numpy(), np.stack([expected] * 2), rtol=0, atol=1e-5)
        assert model.cls_token is not None
        assert torch.equal(model.cls_token.expand(2, -1, -1)[:, 0], taps["embed"][:, 0])


# ---------------------------------------------------------------- another size, at run time or at load


def resized(model: ViT, size: Grid) -> ViT:
    """The model that `with_size` makes of this one's weights."""
    card = ModelCard(architecture=model.config)
    adapted = with_size(Adapted(card, dict(model.state_dict())), size)
    assert isinstance(adapted.card.architecture, ViTConfig)
    assert (adapted.card.architecture.image_size, adapted.card.preprocess.image_size) == (size, size)
    other = ViT(adapted.card.architecture)
    other.load_state_dict(adapted.tensors)
    return other.eval()


@torch.no_grad()
@pytest.mark.parametrize("name", OPTIONS)
def test_running_at_another_size_is_loading_at_it(name: str) -> None:
    """For every option: tables interpolated on the way equal tables interpolated once, and the answer does too."""
    model = drawn(option(name, depth=2))
    height, width = model.config.image_size
    size = (2 * height, 3 * width) if model.config.stem is None else (2 * height, width)
    other = resized(model, size)
    images = random_images(*size, channels=model.config.in_channels)
    torch.testing.assert_close(model(images), other(images), rtol=0, atol=1e-6)


@torch.no_grad()
@pytest.mark.parametrize("how", [*CONVENTIONS, "bicubic-offset"])
@pytest.mark.parametrize("size", [(16, 48), (48, 24), (40, 24), (8, 8)], ids=str)
def test_rectangles_of_every_convention(how: Any, size: Grid) -> None:
    """Higher, wider, of the same number of patches, or a single one: at run time as at load."""
    model = drawn(option("learned at every block", resample=how))
    other = resized(model, size)
    grid = (size[0] // 8, size[1] // 8)
    assert other.pos_embed is not None
    assert tuple(other.pos_embed.shape) == (3, 1 + grid[0] * grid[1], 28)
    images = random_images(*size)
    torch.testing.assert_close(model(images), other(images), rtol=0, atol=1e-6)


@torch.no_grad()
@pytest.mark.parametrize("name", ["plain", "rows and columns at every block", "relative, shared", "relative"])
def test_there_and_back(name: str) -> None:
    """Where interpolation keeps its places, enlarging from n to 2n - 1 and back returns every number."""
    model = drawn(option(name, patch_size=(8, 8)))
    middle = resized(model, (40, 72))  # 3 x 5 patches become 5 x 9, corners on corners
    if "relative" in name:  # offsets are interpolated in number of tokens: only their ends are kept
        tables = [k for k in model.state_dict() if k.endswith("rel_pos")]
        for k in tables:
            for end in (0, -1):
                assert torch.equal(model.state_dict()[k][end], middle.state_dict()[k][end])
        return
    home = resized(middle, (24, 40)).state_dict()
    for k, value in model.state_dict().items():
        torch.testing.assert_close(home[k], value, rtol=0, atol=1e-5)


def test_what_was_resized_is_said() -> None:
    """One line per table, with both grids and the convention; what keeps its shape is not mentioned."""
    for name, expected in {
        "plain": {("pos_embed", "bilinear-corners")},
        "rows and columns": {("pos_embed_y", "linear")},
        "relative": {(f"blocks.{i}.attn.rel_pos", "linear") for i in range(3)},
        "sines": set(),
    }.items():
        model = drawn(option(name))
        found = with_size(Adapted(ModelCard(architecture=model.config), dict(model.state_dict())), (48, 40)).resized
        assert expected == {(one.name, one.how) for one in found}, name
