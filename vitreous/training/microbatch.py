"""How many images go through the model at once: on a CPU what is fastest, on a GPU what fits.

It changes memory and speed, and never what is learned: the batch is made of as many micro-batches as it takes.
"""

from __future__ import annotations

import hashlib
import json
import math
import statistics
import time

import torch
from torch import nn

from vitreous.architecture import Size
from vitreous.machine import remembered
from vitreous.model.prepare import Policy, Prepared, device_key
from vitreous.model.resnet import ResNet
from vitreous.model.vit import ViT
from vitreous.schema import to_json

_CPU_BUDGET = 2e9  # bytes of activations per micro-batch: past some hundred megabytes a CPU gains nothing
_GPU_SHARE = 0.7  # of the card's free memory
_SMALLEST, _LARGEST = 8, 256
_PROBE_SECONDS = 3.0  # for all candidates together
_WORTH_IT = 0.97  # a larger micro-batch must take at most this part of the time per image

_NO_MEMORY = (
    *("can't allocate memory", "not enough memory", "out of memory", "DefaultCPUAllocator"),
    *("could not create a primitive", "could not create a memory"),  # oneDNN's words for it
)


def choose_micro_batch(module: nn.Module, size: Size, policy: Policy, *, largest: int, bytes_each: float) -> int:
    """Images per forward pass; the batch is cut into equal pieces of at most that many.

    Args:
        module: what will be trained; timed where it is one of this package's own and the device is a CPU.
        size: (height, width) of the images in pixels.
        policy: how it is run.
        largest: images of one batch that this process has to deal with.
        bytes_each: what one image keeps waiting for the backward pass.
    """
    fits = max(1, int(_budget(policy) / max(bytes_each, 1.0)))
    if fits > _SMALLEST and largest > _SMALLEST and policy.device == "cpu" and isinstance(module, ViT | ResNet):
        fits = min(fits, _fastest(module, size, policy, min(fits, largest, _LARGEST)))
    return math.ceil(largest / math.ceil(largest / min(fits, largest)))


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an exception says that memory ran out, on whatever device.

    Args:
        error: as caught.
    """
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    return isinstance(error, RuntimeError) and any(words in str(error) for words in _NO_MEMORY)


def _budget(policy: Policy) -> float:
    if policy.device.startswith("cuda"):
        return _GPU_SHARE * float(torch.cuda.mem_get_info(torch.device(policy.device))[0])
    return _CPU_BUDGET


def _fastest(module: ViT | ResNet, size: Size, policy: Policy, largest: int) -> int:
    """The micro-batch with the least time per image, measured once on this machine."""
    key = f"micro-batch up to {largest} {pass_key(module, size, policy)}"
    return int(remembered(key, lambda: _measure(module, size, policy, largest)))


def pass_key(module: ViT | ResNet, size: Size, policy: Policy) -> str:
    """All that the time of a forward and backward pass depends on but the number of images, for what is remembered.

    Args:
        module: the network.
        size: (height, width) of the images in pixels.
        policy: how it is run.
    """
    config = json.dumps(to_json(module.config), sort_keys=True)
    shape = hashlib.sha256(config.encode()).hexdigest()[:16]
    how = f"{policy.precision} {policy.attention} heap {policy.kept_heap}"
    return f"{shape} {size[0]}x{size[1]} {how} {device_key(policy.device)}"


@torch.random.fork_rng(devices=[])  # dropout draws, and the person's own random numbers stay as they were
def _measure(module: ViT | ResNet, size: Size, policy: Policy, largest: int) -> int:
    modes = {part: part.training for part in module.modules()}
    prepared = Prepared(module, policy).train()
    best, fastest, began = _SMALLEST, math.inf, time.monotonic()
    count = _SMALLEST
    try:
        while count <= largest and time.monotonic() - began < _PROBE_SECONDS:
            each = seconds_each(prepared, torch.randn(count, module.config.in_channels, *size))
            if each < _WORTH_IT * fastest:
                best, fastest = count, each
            elif count > 2 * best:
                break
            count *= 2
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
    finally:
        module.zero_grad(set_to_none=True)
        for part, mode in modes.items():
            part.training = mode
    return best


def seconds_each(prepared: Prepared, images: torch.Tensor) -> float:
    """Seconds per image of one forward and backward pass, the median of three after one to warm up.

    Args:
        prepared: in training mode; its gradients are added to.
        images: as many as go through it at once.
    """
    cuda, taken = prepared.policy.device.startswith("cuda"), []
    for _ in range(4):
        began = time.perf_counter()
        prepared(images).float().square().mean().backward()
        if cuda:
            torch.cuda.synchronize()
        taken.append(time.perf_counter() - began)
        if sum(taken) > _PROBE_SECONDS:  # a large model: its first pass says enough
            break
    return statistics.median(taken[1:] or taken) / len(images)
