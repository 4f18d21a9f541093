"""One training view after the other: read, or found in the cache, decoded, cropped, augmented.

Neither the cache nor the thread changes a view: it is a pure function of (seed, epoch, index, repeat), and of whether
decoding is exact or fast.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import UInt8

from vitreous.config import AugmentConfig, PreprocessConfig
from vitreous.data.augmenting.augment import augment, finished, ground, sample_rng
from vitreous.data.feeding import fast as fast_path
from vitreous.data.feeding.cache import ImageCache
from vitreous.data.imageset import ImageSet
from vitreous.picture.decode import decode


@dataclass(frozen=True, eq=False)
class Views:
    """How a run sees its images."""

    images: ImageSet
    preprocess: PreprocessConfig
    augment: AugmentConfig
    seed: int
    fast: bool = False
    """Whether JPEGs are decoded by the fast path."""
    cache: ImageCache | None = None
    """Where images are kept from epoch to epoch."""

    def view(self, epoch: int, index: int, repeat: int = 0) -> UInt8[np.ndarray, "h w 3"]:
        """One random view of an image, at the model's resolution.

        Args:
            epoch: from 0.
            index: of the image in its set.
            repeat: which view of it, from 0, where a batch shows it several times.

        Raises:
            ImageError: the image cannot be read.
        """
        kept = None if self.cache is None else self.cache.find(index)
        if kept is not None and kept.ndim == 3:
            return self._exact(kept, epoch, index, repeat)
        blob = None
        if self.fast and self.images.encoded is not None:
            blob = self.images.encoded(index) if kept is None else kept.tobytes()
            if (seen := self._fast(blob, epoch, index, repeat)) is not None:
                if self.cache is not None and kept is None:
                    self.cache.keep(index, np.frombuffer(blob, np.uint8))
                return seen
        # a file that is no ordinary JPEG is at hand already: it is not read a second time
        image = self.images.read(index) if blob is None else decode(blob, name=self.images.ids[index])
        if self.cache is not None:
            image = ground(image, self.augment, self.preprocess)
            self.cache.keep(index, image)
        return self._exact(image, epoch, index, repeat)

    def _exact(
        self, image: UInt8[np.ndarray, "H W 3"], epoch: int, index: int, repeat: int
    ) -> UInt8[np.ndarray, "h w 3"]:
        return augment(image, sample_rng(self.seed, epoch, index, repeat), self.augment, self.preprocess)

    def _fast(self, blob: bytes, epoch: int, index: int, repeat: int) -> UInt8[np.ndarray, "h w 3"] | None:
        """The view by the fast path, where it can be had."""
        rng = sample_rng(self.seed, epoch, index, repeat)
        if (jpeg := fast_path.fast_jpeg(blob)) is None:
            return None
        if (plan := fast_path.planned(jpeg, rng, self.augment, self.preprocess)) is None:
            return None
        if (pixels := fast_path.decoded(plan)) is None:
            return None
        view = fast_path.mapped(pixels, plan, self.preprocess.image_size)
        return finished(view, rng, self.augment, self.preprocess)
