"""One door for every form a picture comes in: the same pixels, from any thread, or an error that says what to type."""

from __future__ import annotations

import io
import re
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch
from image_files import exif, gradient
from image_fuzz import corpus
from PIL import Image

from vitreous.errors import ImageError
from vitreous.picture.decode import Source, decode
from vitreous.picture.describe import Description, describe

H, W = 24, 40
PICTURE = gradient(H, W)
FLOATS = np.ascontiguousarray(PICTURE.transpose(2, 0, 1)).astype(np.float32) / 255


def test_every_form_gives_the_same_pixels(tmp_path: Path) -> None:
    file = io.BytesIO()
    Image.fromarray(np.rot90(PICTURE)).save(file, "PNG", exif=exif(6))
    (tmp_path / "a.png").write_bytes(file.getvalue())
    forms: list[Source] = [
        *(tmp_path / "a.png", str(tmp_path / "a.png"), file.getvalue(), Image.open(file), Image.fromarray(PICTURE)),
        *(PICTURE, FLOATS, FLOATS.astype(np.float64), FLOATS.astype(np.float16)),
        *(torch.from_numpy(FLOATS), torch.from_numpy(PICTURE), torch.from_numpy(FLOATS).half()),
    ]
    for form in forms:
        decoded = decode(form)
        assert decoded.dtype == np.uint8
        assert (decoded == PICTURE).all(), type(form)


@pytest.mark.parametrize(
    ("array", "words"),
    [
        (FLOATS * 255, "from 20 to 235"),
        (FLOATS * 2 - 1, "before it was normalised"),
        (np.where(FLOATS > 0.5, np.nan, FLOATS), "outside 0 to 1"),
        (np.zeros((3, H, 3), np.float32), "which axis holds the channels cannot be told"),
        (FLOATS.transpose(1, 2, 0), "channels last"),
        (PICTURE.transpose(2, 0, 1), "channels first"),
        (np.zeros((3, H, 3, 1), np.uint8), "several images"),
        (PICTURE[None], "several images"),
        (PICTURE[:, :, 0], "grey"),
        (np.dstack([PICTURE, PICTURE[:, :, 0]]), "four channels"),
        (PICTURE.astype(np.int64), "what is white is not known"),
        (PICTURE.astype(bool), "what is white is not known"),
        (np.zeros((0, W, 3), np.uint8), r"\(0, 40, 3\)"),
        (torch.from_numpy(FLOATS).requires_grad_(), "detach"),
    ],
)
def test_what_an_array_means_is_never_guessed(array: np.ndarray, words: str) -> None:
    with pytest.raises(ImageError, match=words) as caught:
        decode(array)
    assert "image given as an array" == caught.value.where
    with pytest.raises(ImageError, match=words):
        describe(array)


@pytest.mark.parametrize(
    "array", [FLOATS * 255, FLOATS.transpose(1, 2, 0), PICTURE.transpose(2, 0, 1), PICTURE[:, :, 0]]
)
def test_the_remedy_is_what_to_type(array: np.ndarray) -> None:
    with pytest.raises(ImageError) as caught:
        decode(array)
    code = re.split(", (?:or|if) ", str(caught.value.remedy))[0]
    mended = done(code, array)
    assert decode(mended).shape == (H, W, 3)


def done(code: str, image: np.ndarray) -> np.ndarray:
    """The four remedies, done."""
    return {
        "image / 255": lambda: image / 255,
        "image.transpose(2, 0, 1)": lambda: image.transpose(2, 0, 1),
        "image.transpose(1, 2, 0)": lambda: image.transpose(1, 2, 0),
        "numpy.stack([image] * 3, axis=-1)": lambda: np.stack([image] * 3, axis=-1),
    }[code]()


def test_a_float_array_is_described_as_its_picture() -> None:
    assert Description("array", W, H, "RGB", 1, None, 1) == describe(FLOATS)


def test_strings_of_numpy_are_paths_and_files(tmp_path: Path) -> None:
    """As an array of paths gives them one by one."""
    file = tmp_path / "first.png"
    Image.fromarray(PICTURE).save(file)
    sources: tuple[Source, ...] = (np.array([str(file)])[0], np.bytes_(file.read_bytes()))
    for source in sources:
        assert (decode(source) == PICTURE).all()
        assert (describe(source).width, describe(source).height) == (W, H)
    with pytest.raises(ImageError) as caught:
        decode(np.str_(tmp_path / "none.png"))
    assert caught.value.where == str(tmp_path / "none.png")


def test_threads_decode_as_one_does() -> None:
    """Two hundred times, in eight threads at once: the same bytes every time."""
    files = corpus()
    alone = [decode(data).tobytes() for data in files]
    order = np.random.default_rng(0).permutation(np.arange(8 * len(files)) % len(files)).tolist()
    with ThreadPoolExecutor(8) as pool:
        together = list(pool.map(lambda place: decode(files[place]).tobytes(), order))
    assert [alone[place] for place in order] == together
    with ThreadPoolExecutor(8) as pool:
        converted = set(pool.map(lambda _: decode(files[0], profile="convert").tobytes(), range(40)))
    assert 1 == len(converted)
