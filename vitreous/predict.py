"""From images to labels: one path from pixels to logits, for `predict`, `evaluate` and everything that stands on them.

An image has the same logits alone and among others because every forward pass of a Predictor has the same shape, the
last one filled up with black images, and because that shape is one image or a multiple of 16. Matrix kernels choose the
order of their sums by shape (a head applied to one row and to 64 differs in the sixth decimal), and when a few rows
are shared out among threads, also by a row's place.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from itertools import islice
from pathlib import Path
from typing import Any, Literal, overload

import numpy as np
import torch
from jaxtyping import Float, Float32, UInt8
from torch import nn

from vitreous.architecture import Architecture, ResNetConfig, Size
from vitreous.config import ModelCard, PreprocessConfig
from vitreous.data.feeding.threads import in_order, num_cores
from vitreous.errors import ImageError, ModelFileError, UsageError
from vitreous.model.prepare import Policy, Prepared, find_device
from vitreous.model.resnet import ResNet
from vitreous.model.vit import ViT
from vitreous.picture.decode import Source, decode, reason
from vitreous.picture.preprocess import fit, normalise
from vitreous.results import Failure, Prediction
from vitreous.weights.load import open_model

Model = str | Path | Architecture | nn.Module | tuple[nn.Module, ModelCard]
"""A zoo name, model file, run folder or config; a module that has a `card`, or a module and its card."""

_ROWS = 16  # from here on, kernels were seen to treat every row of a batch alike, with 1 to 16 threads
_PASSES = ((1 << 12, 4 * _ROWS), (1 << 16, _ROWS))
"""Images per pass on a CPU by the size of one image, tokens times width: the smallest passes within 4 % of full speed
for models 48 to 768 wide, so that a single image is not kept waiting. Past the last, one image keeps a CPU busy."""
_LARGE_MAP = 3 << 19
"""Numbers in a ResNet's widest feature map from which on one image keeps a CPU busy: R50x1 at 320 pixels is as fast
alone as in a pass of 16, at 224 half as fast."""


class Predictor:
    """A model, ready to label images; everything about images and classes comes from its card.

    A module is copied: nothing done here changes it, and training it on does not change the Predictor.

    Args:
        source: a model file, a run folder, a zoo name or config (random weights), a module that has a `card`, or a
            module and its card.
        device: "auto" takes CUDA, then Apple's MPS, then the CPU; or "cpu", "cuda", "cuda:1", "mps".
        precision: in float32 an image has the same logits alone and among others, within 1e-6.
        batch_size: images per forward pass, 1 or rounded up to a multiple of 16; by default the fewest that reach about
            full speed. Every pass has this many, so a large number makes a single image slow; another number may
            move the last digit of a logit.

    Raises:
        ModelFileError: the file cannot be used.
        UsageError: the module has no card, or the card names no classes.
    """

    def __init__(
        self,
        source: Model,
        *,
        device: str = "auto",
        precision: Literal["float32", "bfloat16"] = "float32",
        batch_size: int | None = None,
    ) -> None:
        if batch_size is not None and batch_size < 1:
            raise UsageError(f"batch_size must be above 0, got {batch_size}")
        model, self.card = _open(source)
        self.classes = _class_names(model, self.card)
        self.preprocess: PreprocessConfig = self.card.preprocess
        self.device: str = str(find_device(device))
        self._model = Prepared(model.eval(), _policy(self.device, precision))
        self.batch_size: int = _images_per_pass(model, self.preprocess.image_size, self.device, batch_size)

    @overload
    def __call__(self, image: Source, top: int = 5) -> Prediction: ...
    @overload
    def __call__(self, image: list[Any] | tuple[Any, ...], top: int = 5) -> list[Prediction]: ...
    def __call__(self, image: Source | list[Any] | tuple[Any, ...], top: int = 5) -> Prediction | list[Prediction]:
        """What the model says about an image, or a list of them.

        Args:
            image: a path, the bytes of a file, a Pillow image, (H, W, 3) uint8 RGB, or (3, H, W) floats in [0, 1]; or
                a list of these.
            top: how many classes to give, the most probable first.

        Raises:
            ImageError: an image cannot be read; use `stream` to go on with the others.
        """
        if not isinstance(image, list | tuple):
            return self._predictions([_named(image)], [self._pixels(image)], top)[0]
        pixels = list(in_order(self._pixels, image, workers=_workers(len(image)), ahead=2 * self.batch_size))
        return self._predictions([_named(one) for one in image], pixels, top)

    def stream(self, images: Iterable[Source], top: int = 5) -> Iterator[Prediction | Failure]:
        """An answer for every image, in their order, as they come; memory does not grow with their number.

        Args:
            images: paths, or anything else that one call takes; drawn a little ahead of the answers.
            top: how many classes to give, the most probable first.
        """
        with closing(in_order(self._attempt, images, workers=num_cores(), ahead=2 * self.batch_size)) as read:
            while some := list(islice(read, self.batch_size)):
                good = [(name, found) for name, found in some if not isinstance(found, Failure)]
                answers = iter(self._predictions([name for name, _ in good], [found for _, found in good], top))
                for _, found in some:
                    yield found if isinstance(found, Failure) else next(answers)

    def logits(self, pixels: UInt8[np.ndarray, "B h w 3"]) -> Float32[np.ndarray, "B Y"]:
        """Logits of images that already have the model's size.

        Args:
            pixels: RGB, as `vitreous.picture.preprocess.fit` gives them.

        Raises:
            UsageError: they have another size.
            ModelFileError: the model answers with something that is not one finite number per class.
        """
        if pixels.shape[1:3] != self.preprocess.image_size:
            raise UsageError(f"the model takes images of {self.preprocess.image_size}, got {pixels.shape[1:3]}")
        answers = np.empty((len(pixels), len(self.classes)), np.float32)
        for first in range(0, len(pixels), self.batch_size):
            some = pixels[first : first + self.batch_size]
            answers[first : first + len(some)] = self._pass(some)
        return answers

    @property
    def prepared(self) -> Prepared:
        """The model under its policy, for those who read more of it than logits; not to be changed."""
        return self._model

    def probabilities(self, logits: Float[np.ndarray, "B Y"]) -> Float[np.ndarray, "B Y"]:
        """How sure the model is of each class, in float64: of one among all, or of each by itself, as its card says.

        Args:
            logits: finite.
        """
        return softmax(logits) if self.card.answers == "one" else sigmoid(logits)

    @torch.inference_mode()
    def _pass(self, pixels: UInt8[np.ndarray, "b h w 3"]) -> Float32[np.ndarray, "b Y"]:
        """Logits of at most `batch_size` images, from a pass of exactly that many."""
        full = np.zeros((self.batch_size, *pixels.shape[1:]), np.uint8)
        full[: len(pixels)] = pixels  # the rest stays black
        logits = self._model(torch.from_numpy(normalise(full, self.preprocess))).cpu().numpy()
        if logits.shape != (self.batch_size, len(self.classes)):
            raise ModelFileError(
                f"the model answers {self.batch_size} images with logits {logits.shape}",
                why=f"its card names {len(self.classes)} classes",
            )
        if not np.isfinite(logits[: len(pixels)]).all():
            raise ModelFileError(
                "the model answers with numbers that are not finite",
                why="its weights are damaged, or its training diverged",
                remedy="use an earlier model",
            )
        return logits[: len(pixels)]

    def _pixels(self, image: Source) -> UInt8[np.ndarray, "h w 3"]:
        return fit(decode(image), self.preprocess)

    def _attempt(self, image: Source) -> tuple[str, UInt8[np.ndarray, "h w 3"] | Failure]:
        try:
            return _named(image), self._pixels(image)
        except ImageError as error:
            return _named(image), Failure(path=_named(image), reason=reason(error))

    def _predictions(
        self, names: Sequence[str], pixels: Sequence[UInt8[np.ndarray, "h w 3"]], top: int
    ) -> list[Prediction]:
        if not pixels:
            return []
        if top < 1:
            raise UsageError(f"top must be above 0, got {top}")
        probabilities = self.probabilities(self.logits(np.stack(pixels)))
        best = ranked(probabilities, top)
        answers = []
        for name, row, order in zip(names, probabilities, best, strict=True):
            ranking = tuple((self.classes[index], float(row[index])) for index in order)
            answers.append(
                Prediction(path=name, label=ranking[0][0], index=int(order[0]), probability=ranking[0][1], top=ranking)
            )
        return answers


def softmax(logits: Float[np.ndarray, "B Y"]) -> Float[np.ndarray, "B Y"]:
    """Probabilities in float64: each row is not negative and sums to 1.

    Args:
        logits: finite.
    """
    exact = logits.astype(np.float64)
    powers = np.exp(exact - exact.max(axis=1, keepdims=True))
    return powers / powers.sum(axis=1, keepdims=True)


def sigmoid(logits: Float[np.ndarray, "B Y"]) -> Float[np.ndarray, "B Y"]:
    """Probabilities in float64, each for itself.

    Args:
        logits: finite.
    """
    small = np.exp(-np.abs(logits.astype(np.float64)))  # never above 1, so that nothing overflows
    return np.where(logits >= 0, 1.0, small) / (1.0 + small)


def ranked(scores: Float[np.ndarray, "B Y"], top: int) -> np.ndarray:
    """Places of the `top` largest scores of each row, best first; the earlier of two equal ones comes first.

    Args:
        scores: logits or probabilities.
        top: 1 or more; all places where there are fewer.
    """
    return np.argsort(-scores, axis=1, kind="stable")[:, :top].copy()  # a view would keep the whole order


def _open(source: Model) -> tuple[nn.Module, ModelCard]:
    """A module of the Predictor's own, and its card."""
    if isinstance(source, Prepared):
        source = source.model
    if isinstance(source, tuple):
        return copy.deepcopy(source[0]), source[1]
    if isinstance(source, nn.Module):
        card = getattr(source, "card", None)
        if not isinstance(card, ModelCard):
            raise UsageError(
                f"the {type(source).__name__} has no card",
                why="the card says how images become its input, and what its classes are called",
                remedy="model.card = vt.ModelCard(preprocess=vt.PreprocessConfig(image_size=...), classes=(...))",
            )
        return copy.deepcopy(source), card
    model, _ = open_model(source)
    card = model.card if isinstance(model, ViT | ResNet) else None
    if card is None:  # random weights
        assert isinstance(model, ViT | ResNet)
        card = ModelCard(architecture=model.config, preprocess=PreprocessConfig(image_size=model.config.image_size))
    return model, card


def _class_names(model: nn.Module, card: ModelCard) -> tuple[str, ...]:
    """The card's class names, or numbers for a ViT that never learned any."""
    outputs = model.config.num_classes if isinstance(model, ViT | ResNet) else len(card.classes)
    if outputs == 0:
        what = "has no head" if isinstance(model, ViT | ResNet) else "has a card that names no classes"
        raise UsageError(f"the model {what}, so it cannot name what it sees")
    if card.classes and len(card.classes) != outputs:
        raise ModelFileError(f"the model has {outputs} outputs, but its card names {len(card.classes)} classes")
    return card.classes or tuple(map(str, range(outputs)))


def _policy(device: str, precision: Literal["float32", "bfloat16"]) -> Policy:
    """One policy for every machine, not the fastest by measurement: the fused kernel treats an image the same wherever
    in the batch it stands, which products of many tiny matrices do not (seen with 7 tokens on a CPU). For inference it
    is the faster form as well."""
    return Policy(
        device=device, precision=precision, attention="fused", kept_heap=False, reason="the same answers everywhere"
    )


def _images_per_pass(model: nn.Module, size: Size, device: str, asked: int | None) -> int:
    if asked is not None:
        return 1 if asked == 1 else math.ceil(asked / _ROWS) * _ROWS
    if device != "cpu":
        return 4 * _ROWS
    match model:
        case ResNet(config=config):
            return _images_per_trunk(config, size)
        case ViT(config=config):
            numbers = config.tokens_at(size) * config.embed_dim
            count = next((count for most, count in _PASSES if numbers < most), 1)
            return min(count, _images_per_trunk(config.stem, size)) if config.stem is not None else count
    return _ROWS


def _images_per_trunk(config: ResNetConfig, size: Size) -> int:
    """Images per pass on a CPU for a ResNet: its first stage makes the widest map, at a quarter of the size."""
    channels = config.width_factor * (256 if config.layers else 64)
    return _ROWS if channels * size[0] * size[1] < 16 * _LARGE_MAP else 1


def _workers(count: int) -> int:
    """Threads for reading `count` images; none for so few that starting them would take longer."""
    return num_cores() if count > 3 else 0


def _named(image: Source) -> str:
    return str(image) if isinstance(image, str | Path) else ""
