"""Positions follow the image exactly as the authors' code makes them: scipy's zoom of order 1."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import ndimage

from vitreous.model.position import resample

Grid = tuple[int, int]


def table(num_prefix: int, grid: Grid, dim: int = 5, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    """A random table (1, R + h * w, D)."""
    generator = torch.Generator().manual_seed(grid[0] * 100 + grid[1])
    return torch.randn(1, num_prefix + grid[0] * grid[1], dim, generator=generator, dtype=dtype)


def zoomed(values: torch.Tensor, num_prefix: int, source: Grid, target: Grid) -> np.ndarray:
    """What vit_jax/checkpoint.py does, with a factor of its own for each axis."""
    prefix, rest = values.numpy()[0, :num_prefix], values.numpy()[0, num_prefix:]
    factors = (target[0] / source[0], target[1] / source[1], 1)
    picture = ndimage.zoom(rest.reshape(*source, -1), factors, order=1)
    assert target == picture.shape[:2]
    return np.concatenate([prefix, picture.reshape(-1, values.shape[-1])])[None]


@pytest.mark.parametrize(
    ("source", "target"),
    [
        ((14, 14), (24, 24)),  # 224 -> 384 px, patch 16
        ((24, 24), (14, 14)),
        ((14, 14), (32, 20)),
        ((7, 7), (12, 12)),
        ((3, 5), (6, 10)),
        ((3, 5), (9, 4)),
        ((6, 4), (3, 9)),
        ((12, 9), (5, 2)),
        ((2, 7), (7, 2)),
        ((1, 5), (4, 5)),
        ((4, 5), (1, 3)),
    ],
)
@pytest.mark.parametrize("num_prefix", [0, 1, 5])
def test_equal_to_scipy(source: Grid, target: Grid, num_prefix: int) -> None:
    """Within 1e-5, up, down and across, rectangles included; class token and registers keep their rows exactly."""
    values = table(num_prefix, source)
    actual = resample(values, num_prefix, source, target)
    assert (1, num_prefix + target[0] * target[1], 5) == tuple(actual.shape)
    np.testing.assert_allclose(actual.numpy(), zoomed(values, num_prefix, source, target), rtol=0, atol=1e-5)
    assert torch.equal(values[:, :num_prefix], actual[:, :num_prefix])


side = st.integers(1, 20)


@given(source=st.tuples(side, side), target=st.tuples(side, side), num_prefix=st.integers(0, 3))
def test_equal_to_scipy_everywhere(source: Grid, target: Grid, num_prefix: int) -> None:
    """The same for any two grids."""
    values = table(num_prefix, source)
    actual = resample(values, num_prefix, source, target)
    np.testing.assert_allclose(actual.numpy(), zoomed(values, num_prefix, source, target), rtol=0, atol=1e-5)


def test_the_same_grid_is_untouched() -> None:
    """Bit for bit, without a copy."""
    values = table(1, (3, 5))
    assert resample(values, 1, (3, 5), (3, 5)) is values


def test_corners_stay_on_corners() -> None:
    """The four corner patches keep their positions at any resolution."""
    values = table(0, (3, 5))
    large = resample(values, 0, (3, 5), (8, 9)).reshape(8, 9, 5)
    small = values.reshape(3, 5, 5)
    for y, x in ((0, 0), (0, -1), (-1, 0), (-1, -1)):
        torch.testing.assert_close(small[y, x], large[y, x], rtol=0, atol=1e-6)


def test_it_is_not_another_librarys_resampling() -> None:
    """Half-pixel bilinear, which timm's loader uses, is far away: the comparison can tell."""
    values = table(0, (3, 5))
    picture = values.reshape(1, 3, 5, 5).permute(0, 3, 1, 2)
    other = torch.nn.functional.interpolate(picture, size=(6, 10), mode="bilinear", align_corners=False)
    ours = resample(values, 0, (3, 5), (6, 10)).reshape(1, 6, 10, 5).permute(0, 3, 1, 2)
    assert (other - ours).abs().max() > 0.1


def test_a_linear_ramp_stays_linear() -> None:
    """Rows and columns are not swapped: a ramp along one axis remains one along that axis."""
    ramp = torch.arange(3.0).repeat_interleave(5).reshape(1, 15, 1)  # rises with the row
    grown = resample(ramp, 0, (3, 5), (5, 9)).reshape(5, 9)
    torch.testing.assert_close(torch.linspace(0, 2, 5)[:, None].expand(5, 9), grown)


def test_gradients_flow_to_the_table() -> None:
    """Training away from the table's resolution trains the table; the mass of each weight row is 1."""
    values = table(2, (3, 5)).requires_grad_()
    resample(values, 2, (3, 5), (7, 6)).sum().backward()
    assert values.grad is not None
    assert torch.equal(torch.ones(1, 2, 5), values.grad[:, :2])
    torch.testing.assert_close(torch.full((5,), 42.0), values.grad[0, 2:].sum(dim=0))


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_the_tables_precision_is_kept(dtype: torch.dtype) -> None:
    """What goes in as float64 or bfloat16 comes out as such, as accurate as that type is."""
    values = table(1, (3, 5), dtype=torch.float64).to(dtype)
    actual = resample(values, 1, (3, 5), (6, 7))
    assert dtype == actual.dtype
    expected = zoomed(values.double(), 1, (3, 5), (6, 7))
    np.testing.assert_allclose(actual.double().numpy(), expected, rtol=0, atol=20 * torch.finfo(dtype).eps)
