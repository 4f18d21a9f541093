"""Where the time of preparing images goes: reading, decoding, framing, augmenting, and what would help most."""

from __future__ import annotations

import time
from dataclasses import dataclass

import numpy as np

from vitreous.config import AugmentConfig, PreprocessConfig
from vitreous.data.augmenting.augment import finished, framed, sample_rng
from vitreous.data.feeding import fast as fast_path
from vitreous.data.imageset import ImageSet
from vitreous.picture.decode import decode

_PATIENCE = 2.0  # seconds to spend on it; from afar a few images must do


@dataclass(frozen=True, slots=True)
class Stages:
    """Milliseconds per image, in one thread, means over a few images."""

    read: float
    """From disk or network; with the decoding where a set gives no files."""
    decode: float
    frame: float
    """Cropping and resizing."""
    augment: float
    """All that comes after."""

    @property
    def total(self) -> float:
        """All of them."""
        return self.read + self.decode + self.frame + self.augment

    def advice(self, *, fast: bool, cached: bool, workers: int, cores: int) -> str:
        """One sentence for a run that waits for its images: where the time goes, and what to type.

        Args:
            fast: whether the fast path is taken already.
            cached: whether images are kept already.
            workers: threads that prepare images.
            cores: that the process may use.
        """
        named = {"reading": self.read, "decoding": self.decode, "cropping": self.frame, "augmenting": self.augment}
        worst = max(named, key=lambda name: named[name])
        parts = ", ".join(f"{name} {took:.1f}" for name, took in named.items())
        said = f"an image takes {self.total:.1f} ms of one thread ({parts})"
        if worst == "reading":
            more = f"--workers {max(16, 2 * workers)}"
            return f"{said}: {more}" + ("" if cached else ", or --cache disk where the disk is remote")
        if workers < cores:
            return f"{said}: --workers {cores}"
        if worst in ("decoding", "cropping") and not fast:
            return f"{said}: --decode fast" + ("" if cached else ", or --cache memory")
        if worst == "decoding" and not cached:
            return f"{said}: --cache memory, or store the images smaller"
        return f"{said}: more cores, a larger share of which prepares images"


def time_stages(
    images: ImageSet, preprocess: PreprocessConfig, augment: AugmentConfig, *, fast: bool = False, count: int = 24
) -> Stages:
    """Prepare a few images from all over a set, and see how long each part takes.

    Args:
        images: one or more.
        preprocess: gives the resolution.
        augment: what happens to each image.
        fast: whether JPEGs are decoded by the fast path.
        count: how many images.

    Raises:
        ImageError: an image cannot be read.
    """
    took, seen, began = np.zeros(4), 0, time.perf_counter()
    chosen = np.linspace(0, len(images) - 1, min(count, len(images))).astype(int).tolist()
    for index in chosen:
        rng = sample_rng(0, 0, index)
        clock = [time.perf_counter()]
        if images.encoded is None:
            image = images.read(index)
            clock += [time.perf_counter()] * 2
            view = framed(image, rng, augment, preprocess)
        else:
            blob = images.encoded(index)
            clock.append(time.perf_counter())
            jpeg = fast_path.fast_jpeg(blob) if fast else None
            plan = None if jpeg is None else fast_path.planned(jpeg, rng, augment, preprocess)
            pixels = None if plan is None else fast_path.decoded(plan)
            if plan is not None and pixels is not None:
                clock.append(time.perf_counter())
                view = fast_path.mapped(pixels, plan, preprocess.image_size)
            else:
                image = decode(blob, name=images.ids[index])
                clock.append(time.perf_counter())
                view = framed(image, sample_rng(0, 0, index), augment, preprocess)
        clock.append(time.perf_counter())
        finished(view, rng, augment, preprocess)
        clock.append(time.perf_counter())
        took += np.diff(clock)
        seen += 1
        if clock[-1] - began > _PATIENCE:
            break
    read, decoding, frame, rest = (1000 * took / seen).tolist()
    return Stages(read, decoding, frame, rest)
