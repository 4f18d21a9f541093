"""Other people's implementations, made importable so that tests can compare against them.

torchvision's wheel is built for CUDA; beside a CPU-only torch its import, and timm's, fails with `operator
torchvision::nms does not exist`, because it registers fake kernels for operators that it could not load. Those
registrations are left out while it is imported; its transforms and timm's models need none of them.
Product code never imports either.
"""

from __future__ import annotations

import functools
import importlib
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType

from vitreous.weights.verify import without_fake_kernels


@contextmanager
def _without_fake_kernels() -> Iterator[None]:
    """As the product imports them to verify a conversion with, and without warnings that are not ours."""
    with without_fake_kernels(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


@functools.cache
def torchvision() -> ModuleType:
    """torchvision, with `torchvision.transforms` and `torchvision.transforms.v2` imported."""
    with _without_fake_kernels():
        importlib.import_module("torchvision.transforms.v2")
        return importlib.import_module("torchvision")


@functools.cache
def timm() -> ModuleType:
    """timm, with `timm.data` and `timm.models` imported."""
    torchvision()
    with _without_fake_kernels():
        importlib.import_module("timm.data")
        importlib.import_module("timm.models")
        return importlib.import_module("timm")
