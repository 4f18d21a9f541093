"""The images of the studies: digits to learn from, and digits of other writers to transfer to."""

from __future__ import annotations

import functools

import numpy as np

from vitreous.data.imageset import ImageSet, Splits, array_set
from vitreous.data.sources import open_images
from vitreous.data.split import few_per_class
from vitreous.study.miniature.plan import Images

BORDER = 2
"""Black pixels put around each of scikit-learn's 8 x 8 digits, which fill their frame as MNIST's do not."""


@functools.cache
def other_writers() -> ImageSet:
    """Scikit-learn's digits in a black border, so that they stand in the frame as MNIST's do.

    Raises:
        UsageError: scikit-learn is not installed.
    """
    plain = open_images("digits")
    pixels = np.stack([plain.read(place)[:, :, 0] for place in range(len(plain))])
    framed = np.pad(pixels, ((0, 0), (BORDER, BORDER), (BORDER, BORDER)))
    return array_set("digits, framed", framed, plain.labels, plain.classes, mirror_safe=False)


def splits(images: Images, seed: int) -> Splits:
    """The images of one run: to learn from, and others of the same set to be scored on.

    Args:
        images: as planned.
        seed: of the run; it chooses which images of each class are learned from, where not all are.

    Raises:
        UsageError: the package that holds the images is not installed.
    """
    if images.name == "digits":
        assert images.per_class is not None, "digits are fine-tuned on, with few labels"
        few, others = few_per_class(other_writers(), images.per_class, seed)
        return Splits(train=few, val=None, test=others)
    learned, held_out = _digits()
    if images.per_class is not None:
        learned, _ = few_per_class(learned, images.per_class, seed)
    return Splits(train=learned, val=None, test=held_out)


@functools.cache
def _digits() -> tuple[ImageSet, ImageSet]:
    return open_images("mnist-5k", split="train"), open_images("mnist-5k", split="test")
