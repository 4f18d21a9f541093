"""dSprites drawn anew agrees with what was published and measured, and with a slow drawing of its own."""

from __future__ import annotations

import math

import numpy as np
import pytest

from vitreous.data.vtab.dsprites import COUNT, drawn, regenerated
from vitreous.published.vtab import find_task

# measured in the published animation: degrees from straight up and radius at scale 1, about (0, -1.5)
HEART = """0:3.79 3:4.12 6:5.05 9:5.71 12:6.46 15:6.76 18:7.47 21:7.94 24:8.35 27:8.74 30:9.03 36:9.62 42:9.95 48:10.19
54:10.31 60:10.36 66:10.27 72:10.10 78:9.81 84:9.40 90:9.00 96:8.59 102:8.14 108:7.81 114:7.53 120:7.29 126:7.09
132:7.10 138:6.96 144:7.07 150:7.17 156:7.45 162:7.79 165:8.08 168:8.31 171:8.72 174:9.26 177:9.89 180:11.14"""


def number(shape: int, scale: int = 5, orientation: int = 0, x: int = 0, y: int = 0) -> int:
    """By the published bases."""
    return 245760 * shape + 40960 * scale + 1024 * orientation + 32 * x + y


def white(index: int) -> np.ndarray:
    image = drawn(index)
    assert (image.shape, image.dtype) == ((64, 64, 3), np.uint8)
    assert {0, 255} == set(np.unique(image).tolist())
    assert np.array_equal(image[..., 0], image[..., 1])
    assert np.array_equal(image[..., 0], image[..., 2])
    return image[..., 0] > 0


def test_areas_at_no_rotation_are_the_published_ones() -> None:
    """Squares are right at every scale; four pixels of an ellipse and two of a heart may lie on the edge."""
    areas = [[int(white(number(shape, scale)).sum()) for scale in range(6)] for shape in range(3)]
    assert [100, 144, 196, 256, 324, 400] == areas[0]
    assert np.abs(np.subtract([76, 104, 144, 184, 228, 288], areas[1])).tolist() in ([0] * 6, [0, 0, 0, 0, 0, 4])
    assert 2 >= np.abs(np.subtract([58, 84, 108, 140, 182, 222], areas[2])).max()
    assert 222 == areas[2][5]


def test_the_heart_stands_on_its_tip_between_known_borders() -> None:
    heart = white(number(2))
    rows, columns = np.nonzero(heart)
    assert (6, 25, 7, 23) == (columns.min(), columns.max(), rows.min(), rows.max())
    for scale in range(6):
        heart = white(number(2, scale))
        assert np.array_equal(heart[:, :32], heart[:, :32][:, ::-1])
    assert white(number(2)).sum(axis=1)[23] <= 2 < white(number(2)).sum(axis=1)[8]


def test_a_whole_turn_is_none() -> None:
    for shape in range(3):
        for scale, x, y in ((0, 0, 0), (2, 31, 7), (5, 13, 30)):
            assert np.array_equal(drawn(number(shape, scale, 0, x, y)), drawn(number(shape, scale, 39, x, y)))
            assert not np.array_equal(drawn(number(shape, scale, 0, x, y)), drawn(number(shape, scale, 3, x, y)))


def test_places_go_from_16_to_48_pixels() -> None:
    """Across with the class of x, down with that of y, 32/31 pixels a step."""
    for shape in (0, 1):
        for place in range(32):
            rows, columns = np.nonzero(white(number(shape, 5, 0, place, 31 - place)))
            assert 16 + 32 * place / 31 == pytest.approx(columns.mean() + 0.5, abs=0.51)
            assert 48 - 32 * place / 31 == pytest.approx(rows.mean() + 0.5, abs=0.51)


def test_shapes_turn_against_the_clock() -> None:
    """At class 5, 0.8 rad, an ellipse that lay flat leans like a slash: further right is further up."""
    rows, columns = np.nonzero(white(number(1, 5, 5, 16, 16)))
    assert -0.9 < np.corrcoef(rows, columns)[0, 1] < -0.3


def test_every_image_is_there_once_more_in_slow() -> None:
    """Ray by ray: crossings of the outline to the right of a pixel's middle, and distances to an ellipse's foci."""
    outline = [tuple(map(float, pair.split(":"))) for pair in HEART.split()]
    half = [(r * math.sin(math.radians(a)), -1.5 - r * math.cos(math.radians(a))) for a, r in outline]
    shapes = {0: [(-9.6, -9.6), (9.6, -9.6), (9.6, 9.6), (-9.6, 9.6)], 2: half + [(-x, y) for x, y in half[-2:0:-1]]}
    rng, wrong, total = np.random.default_rng(4), 0, 0
    for index in rng.choice(COUNT, 45, replace=False).tolist():
        shape, scale, turn = index // 245760, 0.5 + 0.1 * (index // 40960 % 6), index // 1024 % 40 * 2 * math.pi / 39
        x0, y0 = 16 + 32 * (index // 32 % 32) / 31, 16 + 32 * (index % 32) / 31
        expected = np.zeros((64, 64), bool)
        # the outline is turned, where the drawing turns the pixels back
        corners = [(scale * u, scale * v) for u, v in shapes.get(shape, [])]
        corners = [
            (x0 + u * math.cos(turn) + v * math.sin(turn), y0 - u * math.sin(turn) + v * math.cos(turn))
            for u, v in corners
        ]
        focus = scale * math.sqrt(12.8**2 - 7.2**2)
        foci = [(x0 + s * focus * math.cos(turn), y0 - s * focus * math.sin(turn)) for s in (-1, 1)]
        for row in range(max(0, int(y0) - 15), min(64, int(y0) + 16)):
            for column in range(max(0, int(x0) - 15), min(64, int(x0) + 16)):
                x, y = column + 0.5, row + 0.5
                if shape == 1:
                    way = sum(math.hypot(x - fx, y - fy) for fx, fy in foci)
                    expected[row, column] = way <= 2 * 12.8 * scale
                    continue
                crossings = 0
                for (ax, ay), (bx, by) in zip(corners, corners[1:] + corners[:1], strict=True):
                    if (ay > y) != (by > y) and x < ax + (y - ay) * (bx - ax) / (by - ay):
                        crossings += 1
                expected[row, column] = crossings % 2
        found = white(index)
        wrong, total = wrong + int((found != expected).sum()), total + int(expected.sum())
    assert wrong <= 0.002 * total


@pytest.mark.parametrize(("name", "column", "sides"), [("dsprites_loc", 32, 32), ("dsprites_ori", 1024, 40)])
def test_the_parts_are_the_published_images(name: str, column: int, sides: int) -> None:
    """Order, sizes and labels of TensorFlow Datasets; and it is said that they are drawn anew."""
    parts = regenerated(find_task(name))
    places = [
        [int(key.rpartition("/")[2]) for key in images.ids[:8]] for images in (parts.train, parts.val, parts.test)
    ]
    assert [16399, 634903, 206287, 470425, 352707, 688889, 488958, 372070] == places[0]
    assert [220697, 85843, 84902, 106270] == places[1][:4]
    assert [493443, 195884, 225768, 246626] == places[2][:4]
    assert (589824, 73728, 73728) == (len(parts.train), len(parts.val), len(parts.test))
    for images in (parts.train, parts.val, parts.test):
        chosen = np.random.default_rng(6).choice(len(images), 300).tolist()
        old = [int(images.ids[place].rpartition("/")[2]) // column % sides for place in chosen]
        new = [[0, 0, 0, 1, 1][value % 5] + 2 * (value // 5) if sides == 40 else value // 2 for value in old]
        assert new == images.labels[chosen].tolist()
        assert np.array_equal(drawn(int(images.ids[7].rpartition("/")[2])), images.read(7))
    assert 16 == len(set(parts.test.classes))
    assert parts.regenerated
    assert not parts.exact
    assert "regenerated" in parts.source
    assert "half a pixel" in parts.notes[0]
    assert ("97.5 %" in "".join(parts.notes)) == (name == "dsprites_ori")
