"""Pictures in reports: exact when small, bounded when large, and attention where it was."""

from __future__ import annotations

import base64
import io

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from vitreous.report import images
from vitreous.report.content import Picture


def read(uri: str) -> NDArray[np.uint8]:
    """The pixels of a data address."""
    head, data = uri.split(",", 1)
    assert head in ("data:image/png;base64", "data:image/jpeg;base64")
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(data))))


def noise(height: int, width: int) -> NDArray[np.uint8]:
    return np.random.default_rng(height).integers(0, 256, (height, width, 3), dtype=np.uint8)


@pytest.mark.parametrize(("name", "anchors"), [("viridis", images._VIRIDIS), ("inferno", images._INFERNO)])
def test_colour_maps_are_matplotlibs(name: str, anchors: str) -> None:
    """Within 3 % of the published tables, everywhere."""
    colormaps = pytest.importorskip("matplotlib").colormaps
    values = np.linspace(0, 1, 256)
    expected = 255 * colormaps[name](values)[:, :3]
    assert np.abs(images.colour_map(values, anchors).astype(float) - expected).max() < 8


def test_small_pictures_are_exact() -> None:
    """A digit comes back pixel for pixel."""
    digit = noise(28, 20)
    assert images.is_small(digit)
    assert np.array_equal(digit, read(images.data_uri(digit)))


@pytest.mark.parametrize("shape", [(1200, 900), (224, 224), (70, 3000), (5000, 65)])
def test_large_pictures_are_bounded(shape: tuple[int, int]) -> None:
    """Noise, the worst to compress, stays under the byte limit and keeps its proportions."""
    uri = images.data_uri(noise(*shape))
    height, width = read(uri).shape[:2]
    assert len(uri) < 30_500
    assert max(height, width) <= 320
    assert width == pytest.approx(shape[1] * height / shape[0], abs=max(1.0, shape[1] / shape[0]))


def test_a_photo_stays_close_to_itself() -> None:
    """A smooth picture survives its compression."""
    down, across = np.mgrid[0:200, 0:300]
    photo = np.stack([down, across * 0.8, 255 - down], -1).astype(np.uint8)
    assert np.abs(read(images.data_uri(photo)).astype(int) - photo).mean() < 3


@pytest.mark.parametrize("shape", [(28, 36), (224, 160), (500, 700)])
def test_the_overlay_is_brightest_where_the_model_looked(shape: tuple[int, int]) -> None:
    """The glow sits at the attended patch: rows stay rows, columns stay columns."""
    attention = np.zeros((4, 6), np.float32)
    attention[1, 4] = 0.02
    grey = np.full((*shape, 3), 90, np.uint8)
    glow = images.overlay(grey, attention).astype(int).sum(-1)
    row, column = np.unravel_index(glow.argmax(), glow.shape)
    assert 1 / 4 <= row / glow.shape[0] <= 2 / 4
    assert 4 / 6 <= column / glow.shape[1] <= 5 / 6
    assert glow.shape[1] / glow.shape[0] == pytest.approx(shape[1] / shape[0], abs=0.01)
    assert glow.max() > 2 * np.median(glow)


def test_the_picture_shows_through_its_overlay() -> None:
    """Where nothing is attended, light stays lighter than dark."""
    halves = np.zeros((100, 80, 3), np.uint8)
    halves[:50] = 220
    shown = images.overlay(halves, np.eye(5, 4)).astype(int).sum(-1)
    assert shown[30:45, 60:].mean() > shown[55:60, 60:].mean() + 100


def test_even_attention_does_not_divide_by_zero() -> None:
    """A model that looks everywhere alike glows nowhere."""
    shown = images.overlay(np.full((80, 100, 3), 100, np.uint8), np.full((2, 3), 0.5))
    assert np.ptp(shown, axis=(0, 1)).max() == 0


def test_patches_are_the_picture_in_reading_order() -> None:
    """Put side by side they make the picture again."""
    picture = noise(24, 40)
    pieces = list(images.patches(picture, (8, 10)))
    rows = [np.concatenate(pieces[row * 4 : row * 4 + 4], axis=1) for row in range(3)]
    assert np.array_equal(picture, np.concatenate(rows))


def test_a_cut_picture_shows_every_patch_apart() -> None:
    """Opaque pixels are the picture's, enlarged; the gaps between patches are transparent."""
    picture = noise(24, 40)
    cut = images.cut(picture, (8, 10))
    opaque = cut[..., 3] == 255
    rows, columns = opaque.any(axis=1), opaque.any(axis=0)
    gaps = [int(np.diff(line.astype(int)).clip(0).sum()) for line in (rows, columns)]
    assert gaps == [2, 3]
    kept = cut[rows][:, columns, :3]
    factor = kept.shape[0] // 24
    assert np.array_equal(picture.repeat(factor, 0).repeat(factor, 1), kept)


def test_position_similarity_is_brightest_at_the_patch_itself() -> None:
    """Map (r, c) has its lightest pixel at (r, c)."""
    rows, columns = np.mgrid[0:3, 0:5]
    distance = (rows[..., None, None] - rows) ** 2 + (columns[..., None, None] - columns) ** 2
    sheet = images.similarity(np.exp(-distance / 3.0)).astype(int)
    assert sheet.shape == (3 * 4 - 1, 5 * 6 - 1, 4)
    for row in range(3):
        for column in range(5):
            small = sheet[row * 4 :, column * 6 :][:3, :5, :3].sum(-1)
            assert np.unravel_index(small.argmax(), small.shape) == (row, column)


def test_a_huge_grid_is_thinned() -> None:
    """A thousand patches give a sheet of at most 20 x 20 maps."""
    sheet = images.similarity(np.random.default_rng(0).random((32, 24, 32, 24), np.float32))
    assert sheet.shape == (20 * 33 - 1, 20 * 25 - 1, 4)


@pytest.mark.parametrize("shape", [(8, 8), (8, 8, 4), (0, 8, 3)])
def test_a_picture_of_the_wrong_shape_is_refused(shape: tuple[int, ...]) -> None:
    """Grey, transparent and empty arrays are bugs of whoever made them."""
    with pytest.raises(AssertionError):
        Picture(pixels=np.zeros(shape, np.uint8))
