"""What happens to a training image, one thing after the other: crop, motion, mirror, policy, colours, erasing.

A pure function of the run's seed, the epoch, the image's index and the repeat, so that workers, restarts and
micro-batches change nothing. The order is DeiT's and big_vision's; what mixes images with each other is in
training/learning/mix.py.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from vitreous.config import AugmentConfig, PreprocessConfig
from vitreous.data.augmenting.affine import motion, moved
from vitreous.data.augmenting.colour import jittered, three
from vitreous.data.augmenting.crops import crop, cut, ground_size
from vitreous.data.augmenting.erase import erased
from vitreous.data.augmenting.operations import Warp
from vitreous.data.augmenting.randaugment import randaugment, randaugment_timm
from vitreous.picture.preprocess import fit, resized, whole_size

_PURPOSE = 2  # sets this stream apart from that of the order of images (data/feeding/order.py)


def sample_rng(seed: int, epoch: int, index: int, repeat: int = 0) -> np.random.Generator:
    """The random numbers of one view of one image in one epoch.

    Args:
        seed: of the run.
        epoch: from 0.
        index: of the image in its set.
        repeat: which view of it, from 0, where a batch shows it several times.
    """
    key = (seed, epoch, index, repeat) if repeat else (seed, epoch, index)
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence(key, spawn_key=(_PURPOSE,))))


def augment(
    image: UInt8[np.ndarray, "H W 3"],
    rng: np.random.Generator,
    config: AugmentConfig,
    preprocess: PreprocessConfig,
) -> UInt8[np.ndarray, "h w 3"]:
    """One random view of an image, at the model's resolution.

    Args:
        image: RGB.
        rng: from `sample_rng`.
        config: what may happen.
        preprocess: gives the resolution, the interpolation, the crop where none is drawn, and the noise's scale.

    Raises:
        ConfigError: the frame is to be cut from something smaller than it.
    """
    return finished(framed(image, rng, config, preprocess), rng, config, preprocess)


def ground(
    image: UInt8[np.ndarray, "H W 3"], config: AugmentConfig, preprocess: PreprocessConfig
) -> UInt8[np.ndarray, "h w 3"]:
    """The image as every view of it begins: itself, or resized, where the crop is cut from a resized one.

    Augmenting this gives what augmenting the image gives, bit for bit, so it can be kept in the image's place.

    Args:
        image: RGB.
        config: `crop` says whether it is resized.
        preprocess: gives the resolution and the interpolation.

    Raises:
        ConfigError: the frame is to be cut from something smaller than it.
    """
    image_size = image.shape[0], image.shape[1]
    if config.crop == "centre":
        size = None if moves(config) else whole_size(image_size, preprocess)
    else:
        size = ground_size(image_size, config, preprocess)
    return image if size is None else resized(image, size, preprocess.interpolation)


def finished(
    view: UInt8[np.ndarray, "h w 3"], rng: np.random.Generator, config: AugmentConfig, preprocess: PreprocessConfig
) -> UInt8[np.ndarray, "h w 3"]:
    """A framed view with all that happens to it then: mirror, policy, colours, erasing.

    Args:
        view: at the model's resolution.
        rng: what is left of it after framing.
        config: what may happen.
        preprocess: gives the interpolation and the noise's scale.
    """
    if config.flip and rng.random() < 0.5:
        view = view[:, ::-1]
    view = _changed(view, rng, config, preprocess)
    if config.jitter > 0:
        view = jittered(view, rng, config.jitter)
    if config.erase > 0 and rng.random() < config.erase:
        view = erased(view, rng, preprocess)
    return view


def framed(
    image: UInt8[np.ndarray, "H W 3"], rng: np.random.Generator, config: AugmentConfig, preprocess: PreprocessConfig
) -> UInt8[np.ndarray, "h w 3"]:
    """A random part of the image at the model's resolution, moved about.

    Args:
        image: RGB.
        rng: from `sample_rng`.
        config: how it is cropped and moved.
        preprocess: gives the resolution, the interpolation, and the crop where none is drawn.

    Raises:
        ConfigError: the frame is to be cut from something smaller than it.
    """
    size, interpolation, moved_about = preprocess.image_size, preprocess.interpolation, moves(config)
    if config.crop == "centre" and not moved_about:
        return fit(image, preprocess)
    source, box = crop(image, rng, config, preprocess)
    if moved_about:
        return moved(source, box, motion(rng, config, size), size, interpolation)
    return cut(source, box, size, interpolation)


def moves(config: AugmentConfig) -> bool:
    """Whether images are rotated, shifted or zoomed beside being cropped.

    Args:
        config: what may happen to an image.
    """
    return config.rotate > 0 or config.shift > 0 or config.zoom > 0


def _changed(
    view: UInt8[np.ndarray, "h w 3"], rng: np.random.Generator, config: AugmentConfig, preprocess: PreprocessConfig
) -> UInt8[np.ndarray, "h w 3"]:
    """What the policy makes of a view."""
    layers, magnitude = config.rand_layers, config.rand_magnitude
    match config.policy:
        case "none":
            return view
        case "randaugment":
            return randaugment(view, rng, layers=layers, magnitude=magnitude)
        case "randaugment-timm":
            warp = _warp(preprocess)
            return randaugment_timm(view, rng, layers=layers, magnitude=magnitude, std=config.rand_std, warp=warp)
        case "three":
            return three(view, rng)


def _warp(preprocess: PreprocessConfig) -> Warp:
    """timm's way to turn, slant and shift: as images are resized, on their mean colour (`transforms_imagenet_train`).

    Pillow's maps know no filter wider than bicubic.
    """
    ways = {"nearest": Image.Resampling.NEAREST, "bilinear": Image.Resampling.BILINEAR}
    red, green, blue = (min(255, round(255 * value)) for value in preprocess.mean)
    return Warp(ways.get(preprocess.interpolation, Image.Resampling.BICUBIC), (red, green, blue))
