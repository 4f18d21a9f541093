"""OpenCV, with which TensorFlow Datasets prepared the images of SUN397 and of the retinas."""

from __future__ import annotations

from typing import Any

from vitreous.errors import UsageError


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
