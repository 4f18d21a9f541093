"""The fast path shows what the exact path shows, nearly: same part, same way up, and it refuses what that refuses."""

from __future__ import annotations

import io
import math
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from vitreous.config import AugmentConfig, PreprocessConfig
from vitreous.data.augmenting.augment import augment, sample_rng
from vitreous.data.feeding import fast
from vitreous.data.feeding.loader import training_batches
from vitreous.data.feeding.stages import Stages, time_stages
from vitreous.data.feeding.views import Views
from vitreous.data.imageset import ImageSet
from vitreous.errors import ImageError, UsageError
from vitreous.picture.decode import decode

FRAME = PreprocessConfig(image_size=(56, 72))
CROPS: dict[str, dict[str, Any]] = {
    "inception": {},
    "inception moved": {"rotate": 20.0, "shift": 0.1, "zoom": 0.2},
    "resmall": {"crop": "resmall"},
    "resmall moved": {"crop": "resmall", "rotate": 20.0},
    "squash": {"crop": "squash"},
    "padded": {"crop": "padded"},
}


def picture(height: int, width: int, seed: int = 0) -> np.ndarray:
    """Smooth blobs of colour with edges between them, no two parts alike."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 256, (height // 40 + 2, width // 40 + 2, 3), np.uint8)
    smooth = np.asarray(Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC)).copy()
    smooth[height // 3 : height // 2, width // 5 : width // 3] = (250, 30, 60)
    return smooth


def jpeg(pixels: np.ndarray, **options: Any) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "JPEG", **{"quality": 95, **options})
    return file.getvalue()


def blobs_set(blobs: list[bytes]) -> ImageSet:
    ids = [f"photos/{number}.jpg" for number in range(len(blobs))]
    return ImageSet(
        "photos",
        ("a",),
        ids,
        np.zeros(len(blobs), np.int64),
        read=lambda index: decode(blobs[index], name=ids[index]),
        encoded=lambda index: blobs[index],
    )


def both(blob: bytes, config: AugmentConfig, epoch: int = 0) -> tuple[np.ndarray, np.ndarray]:
    images = blobs_set([blob])
    exact, quick = (Views(images, FRAME, config, 3, quick).view(epoch, 0) for quick in (False, True))
    return exact, quick


def planned(blob: bytes, config: AugmentConfig, epoch: int = 0) -> fast.Plan | None:
    found = fast.fast_jpeg(blob)
    return None if found is None else fast.planned(found, sample_rng(3, epoch, 0), config, FRAME)


def apart(exact: np.ndarray, quick: np.ndarray) -> float:
    return float(np.abs(exact.astype(int) - quick).mean())


@pytest.mark.parametrize("name", CROPS)
@pytest.mark.parametrize("orientation", range(1, 9))
def test_the_same_part_is_seen_the_same_way_up(name: str, orientation: int) -> None:
    """All eight ways to hold a camera; a shift by a pixel, a wrong mirror or another crop would be far off."""
    config = AugmentConfig(**CROPS[name])
    exif = Image.Exif()
    exif[0x0112] = orientation
    blob = jpeg(picture(301, 447), exif=exif)
    for epoch in range(4):
        assert planned(blob, config, epoch) is not None
        exact, quick = both(blob, config, epoch)
        assert (56, 72, 3) == quick.shape
        assert 0 < apart(exact, quick) < 1.5


def test_large_photographs_are_decoded_at_an_eighth() -> None:
    """Of 1201 x 1603 pixels all crops but small ones need only a part; each output pixel still has one of its own."""
    blob, seen = jpeg(picture(1201, 1603)), set()
    for epoch in range(30):
        config = AugmentConfig(crop_area=(0.008, 0.06) if epoch % 2 else (0.1, 1.0))
        plan = planned(blob, config, epoch)
        assert plan is not None
        seen.add(plan.eighths)
        assert min(np.abs(np.diag(plan.affine))) >= 1 or plan.eighths == 8
        pixels = fast.decoded(plan)
        assert pixels is not None
        assert tuple(math.ceil(side * plan.eighths / 8) for side in (1201, 1603)) == pixels.shape[:2]
        assert apart(*both(blob, config, epoch)) < 2.5  # edges as sharp as no photograph's at this size
    assert {1, 2, 4} <= seen


def test_random_numbers_are_drawn_alike() -> None:
    """What comes after the crop is drawn the same: erasing falls on the same place."""
    config = AugmentConfig(erase=1.0, rotate=5.0)
    drawn = []
    for quick in (False, True):
        rng = sample_rng(3, 0, 0)
        blob = jpeg(picture(300, 400))
        if quick:
            found = fast.fast_jpeg(blob)
            assert found is not None
            fast.planned(found, rng, config, FRAME)
            rng.random()  # the mirror's
        else:
            augment(decode(blob), rng, AugmentConfig(rotate=5.0), FRAME)
        drawn.append(rng.random())
    assert drawn[0] == drawn[1]


def odd_images() -> dict[str, bytes]:
    """Files that the fast path leaves alone."""
    pixels = picture(91, 133)
    png = io.BytesIO()
    Image.fromarray(pixels).save(png, "PNG")
    grey, cmyk = io.BytesIO(), io.BytesIO()
    Image.fromarray(pixels[..., 0]).save(grey, "JPEG")
    Image.fromarray(pixels).convert("CMYK").save(cmyk, "JPEG")
    unusual = jpeg(pixels)
    broken = bytearray(unusual)
    broken[len(broken) // 2] ^= 0x55  # libjpeg warns of it, Pillow says nothing
    return {"PNG": png.getvalue(), "grey": grey.getvalue(), "CMYK": cmyk.getvalue(), "damaged": bytes(broken)}


@pytest.mark.parametrize("name", ["PNG", "grey", "CMYK"])
def test_what_is_no_colour_jpeg_is_decoded_exactly(name: str) -> None:
    exact, quick = both(odd_images()[name], AugmentConfig(rotate=9.0))
    assert (exact == quick).all()


@pytest.mark.parametrize("changes", [{"crop": "centre"}, {"crop": "padded", "shift": 0.1}])
def test_crops_that_are_defined_to_the_pixel_stay_exact(changes: dict[str, Any]) -> None:
    config = AugmentConfig(**changes)
    blob = jpeg(picture(133, 200))
    assert planned(blob, config) is None
    exact, quick = both(blob, config)
    assert (exact == quick).all()


@pytest.mark.parametrize("kind", [{}, {"progressive": True}, {"subsampling": 0}])
def test_damage_is_refused_as_by_the_exact_path(kind: dict[str, Any]) -> None:
    """Cut off at every 61st byte, and 60 times with a byte changed: never a view where decoding raises, and never
    other pixels than the exact path's where libjpeg warns."""
    blob, config = jpeg(picture(67, 91), **kind), AugmentConfig()
    rng = np.random.default_rng(0)
    cases = [blob[:length] for length in range(0, len(blob), 61)]
    for _ in range(60):
        spoiled = bytearray(blob)
        spoiled[int(rng.integers(len(spoiled)))] = int(rng.integers(256))
        cases.append(bytes(spoiled))
    refused = 0
    for case in cases:
        images, outcomes = blobs_set([case]), []
        for quick in (False, True):
            try:
                outcomes.append(Views(images, FRAME, config, 3, quick).view(0, 0).shape)
            except ImageError as error:
                outcomes.append(f"{error.where}: {error}")
        refused += isinstance(outcomes[0], str)
        assert outcomes[0] == outcomes[1]
        assert isinstance(outcomes[0], tuple) or outcomes[0].startswith("photos/0.jpg: ")
    assert refused > len(blob) // 61 * 0.9


def test_bombs_are_refused_before_they_are_decoded() -> None:
    blob = bytearray(jpeg(picture(67, 91)))
    start = blob.index(b"\xff\xc0")
    blob[start + 5 : start + 9] = (19_000).to_bytes(2, "big") * 2
    with pytest.raises(ImageError, match="too large"):
        Views(blobs_set([bytes(blob)]), FRAME, AugmentConfig(), 0, True).view(0, 0)


def test_threads_and_restarts_change_no_pixel() -> None:
    images = blobs_set([jpeg(picture(120 + n, 170 - n, n)) for n in range(9)] + list(odd_images().values())[:3])

    def batches(workers: int, first: int = 0) -> dict[int, bytes]:
        found = training_batches(
            images, preprocess=FRAME, augment=AugmentConfig(), seed=1, batch_size=7, micro_batch=7,
            first_step=first, num_steps=4, workers=workers, fast=True,
        )  # fmt: skip
        return {batch.step: batch.images.tobytes() for batch in found}

    alone = batches(0)
    assert alone == batches(3)
    assert {3: alone[3]} == batches(2, first=3)


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "simplejpeg", None)
    with pytest.raises(UsageError) as caught:
        next(
            iter(
                training_batches(
                    blobs_set([jpeg(picture(60, 80))]), preprocess=FRAME, augment=AugmentConfig(), seed=0,
                    batch_size=1, micro_batch=1, first_step=0, num_steps=1, workers=0, fast=True,
                )
            )
        )  # fmt: skip
    assert 'pip install "vitreous[fast]"' in str(caught.value)


@pytest.mark.parametrize("quick", [False, True])
def test_stages_are_told_apart(quick: bool) -> None:
    images = blobs_set([jpeg(picture(375, 500, n)) for n in range(3)])
    found = time_stages(images, FRAME, AugmentConfig(policy="randaugment", rand_layers=9), fast=quick)
    assert min(found.read, found.decode, found.frame, found.augment) >= 0
    assert found.augment > found.read
    assert pytest.approx(found.total) == found.read + found.decode + found.frame + found.augment


def test_advice_names_the_worst_stage_and_what_to_type() -> None:
    slow_disk, slow_decoder = Stages(50.0, 3.0, 1.0, 0.1), Stages(0.1, 3.0, 1.0, 0.1)
    settings: dict[str, Any] = {"fast": False, "cached": False, "workers": 8, "cores": 8}
    assert "--workers 16, or --cache disk" in slow_disk.advice(**settings)
    assert "reading 50.0" in slow_disk.advice(**settings)
    assert "--decode fast, or --cache memory" in slow_decoder.advice(**settings)
    assert "--workers 8" in slow_decoder.advice(**{**settings, "workers": 2})
    assert "--cache memory" in slow_decoder.advice(**{**settings, "fast": True})


def test_the_set_on_disk_is_read_as_files(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(blob := jpeg(picture(80, 120)))
    exact, quick = both((tmp_path / "a.jpg").read_bytes(), AugmentConfig())
    assert blob == (tmp_path / "a.jpg").read_bytes()
    assert 0 < apart(exact, quick) < 2


def test_a_file_that_is_no_jpeg_is_read_once() -> None:
    """Its bytes are at hand when the exact path begins: from afar, reading is what takes long."""
    file = io.BytesIO()
    Image.fromarray(picture(70, 90)).save(file, "PNG")
    read: list[int] = []

    def encoded(index: int) -> bytes:
        read.append(index)
        return file.getvalue()

    def anew(index: int) -> np.ndarray:
        return decode(encoded(index), name="x.png")

    images = ImageSet("photos", ("a",), ["x.png"], np.zeros(1, np.int64), anew, encoded=encoded)
    quick = Views(images, FRAME, AugmentConfig(), 0, fast=True).view(0, 0)
    assert [0] == read
    assert np.array_equal(quick, Views(images, FRAME, AugmentConfig(), 0).view(0, 0))
