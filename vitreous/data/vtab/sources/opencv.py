"""OpenCV, with which TensorFlow Datasets prepared the images of SUN397 and of the retinas."""

from __future__ import annotations

from typing import Any

import numpy as np
from jaxtyping import UInt8

from vitreous.errors import ImageError, UsageError


def opencv_for(title: str) -> Any:
    """The module cv2, of one thread for each of ours.

    Args:
        title: what its images are needed for.

    Raises:
        UsageError: it is not installed.
    """
    try:
        import cv2
    except ImportError as error:
        raise UsageError(
            f"the images of {title} are prepared with OpenCV, which is not installed",
            why="other resizing gives other pixels than the published ones",
            remedy='pip install "vitreous[fast]"',
        ) from error
    cv2.setNumThreads(1)
    return cv2


def resized_by(cv2: Any, image: UInt8[np.ndarray, "H W 3"], factor: float, name: str) -> UInt8[np.ndarray, "h w 3"]:
    """An image larger or smaller by a factor, as OpenCV makes it: bilinear, without regard to what falls between.

    Args:
        cv2: the module.
        image: RGB.
        factor: of each side.
        name: what to call the image in errors.

    Raises:
        ImageError: nothing of one side would be left.
    """
    height, width = (round(side * factor) for side in image.shape[:2])
    if not height or not width:
        raise ImageError(
            "the image is too narrow to be made smaller", where=name, why=f"it has {image.shape[:2]} pixels"
        )
    return np.asarray(cv2.resize(image, dsize=None, fx=factor, fy=factor))
