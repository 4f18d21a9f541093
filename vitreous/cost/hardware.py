"""Named devices: peak operations and memory as their makers publish them, how long a run takes, and whether it fits."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NamedTuple

from vitreous.architecture import Architecture, Size
from vitreous.config import Recipe
from vitreous.cost.budget import block_parameters, budget
from vitreous.cost.memory import Memory, training_memory
from vitreous.errors import ConfigError, unknown_name

_USABLE = 0.9  # share of a device's memory that is left for a model
_COMFORTABLE = 8  # images of a micro-batch below which a device is not kept busy


class Device(NamedTuple):
    """One device, as its maker describes it."""

    name: str
    """What to type after --hardware."""
    title: str
    """What it is called."""
    peak: float
    """Dense operations a second on 16-bit numbers (bfloat16, float16 on V100 and T4), without sparsity."""
    memory: float
    """Bytes."""
    source: str
    """Where peak and memory are written."""


_NVIDIA, _TPU = "NVIDIA data sheet", "Google Cloud TPU documentation"
DEVICES: dict[str, Device] = {
    device.name: device
    for device in (
        Device("v100", "NVIDIA V100 SXM2 32 GB", 125e12, 32e9, _NVIDIA),
        Device("t4", "NVIDIA T4", 65e12, 16e9, _NVIDIA),
        Device("a100-40", "NVIDIA A100 SXM 40 GB", 312e12, 40e9, _NVIDIA),
        Device("a100-80", "NVIDIA A100 SXM 80 GB", 312e12, 80e9, _NVIDIA),
        Device("l4", "NVIDIA L4", 121e12, 24e9, _NVIDIA),
        Device("l40s", "NVIDIA L40S", 362e12, 48e9, _NVIDIA),
        Device("rtx4090", "NVIDIA GeForce RTX 4090", 165.2e12, 24e9, "NVIDIA Ada GPU architecture white paper"),
        Device("h100", "NVIDIA H100 SXM", 989.4e12, 80e9, _NVIDIA),
        Device("h100-pcie", "NVIDIA H100 PCIe", 756e12, 80e9, _NVIDIA),
        Device("h200", "NVIDIA H200 SXM", 989.4e12, 141e9, _NVIDIA),
        Device("b200", "NVIDIA HGX B200", 2250e12, 180e9, _NVIDIA),
        Device("mi250x", "AMD Instinct MI250X, both dies", 383e12, 128e9, "AMD data sheet"),
        Device("mi300x", "AMD Instinct MI300X", 1307.4e12, 192e9, "AMD data sheet"),
        Device("tpu-v2-core", "TPU v2, one of a chip's two cores", 22.5e12, 8e9, _TPU),
        Device("tpu-v3-core", "TPU v3, one of a chip's two cores", 61.5e12, 16e9, _TPU),
        Device("tpu-v4", "TPU v4 chip", 275e12, 32e9, _TPU),
        Device("tpu-v5e", "TPU v5e chip", 197e12, 16e9, _TPU),
        Device("tpu-v5p", "TPU v5p chip", 459e12, 95e9, _TPU),
    )
}


class PaperRun(NamedTuple):
    """A pre-training that the ViT paper reports in core-days of TPUv3 (Table 2)."""

    model: str
    """The zoo's name."""
    data: str
    """See `budget.DATA_SETS`."""
    epochs: int
    """Passes over it (Table 3; BiT-L: Kolesnikov et al., 2020, section 3.3)."""
    core_days: int
    """As Table 2 prints it, in days of one core."""


PAPER_RUNS = (
    PaperRun("vit-h14", "jft-300m", 14, 2500),
    PaperRun("vit-l16", "jft-300m", 14, 680),
    PaperRun("vit-l16", "imagenet-21k", 90, 230),
    PaperRun("bit-r152x4", "jft-300m", 40, 9900),
)
"""What they took of TPUv3's peak is between a quarter and two fifths; see `implied_utilisation`."""

ASSUMED = 0.35
"""Share of the peak that a Vision Transformer's matrix products reach where nothing else is said: the paper's own runs
on TPUv3 reached 32, 43 and 39 %."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Estimate:
    """A run on named devices."""

    device: Device
    count: int
    """How many devices share each batch."""
    utilisation: float
    """Share of the peak that is reached."""
    strategy: Literal["one device", "copies", "sharded"]
    """One device; a whole copy of the model on each (DDP); or weights, gradients and moments shared out (FSDP)."""
    gradient_checkpointing: bool
    """Whether blocks are computed twice."""
    micro_batch: int
    """Images in one forward pass on one device; 0 where not even one fits."""
    micro_batches: int
    """Forward passes for one step on one device."""
    bytes: int
    """On one device at its height, with that micro-batch; with one image where that does not fit."""
    seconds: float
    """From the first step to the last."""

    @property
    def fits(self) -> bool:
        """Whether it runs at all."""
        return self.micro_batch > 0

    @property
    def device_days(self) -> float:
        """Days of one device."""
        return self.seconds * self.count / 86_400


def find_hardware(name: str) -> Device:
    """The device called `name`.

    Args:
        name: as in `DEVICES`, in any case.

    Raises:
        UnknownNameError: it is not in the table.
    """
    found = DEVICES.get(name.strip().lower().replace("_", "-").removeprefix("nvidia-"))
    if found is None:
        raise unknown_name("device", name, DEVICES)
    return found


def estimate(
    config: Architecture,
    recipe: Recipe,
    images: int,
    device: Device,
    *,
    count: int = 1,
    utilisation: float = ASSUMED,
    gradient_checkpointing: bool = False,
    image_size: int | Size | None = None,
) -> Estimate:
    """How long a recipe takes on some devices, and how the batch is cut so that it fits.

    The simplest way that keeps a device busy is taken: whole copies, then shared weights, then blocks computed twice.
    What devices say to each other is part of the utilisation.

    Args:
        config: as it is trained; see `budget.as_trained`.
        recipe: batch, steps or epochs, optimiser, what learns.
        images: training images.
        device: see `find_hardware`.
        count: devices that share each batch.
        utilisation: share of the peak that is reached, of the operations really done.
        gradient_checkpointing: compute blocks twice, whether it must be or not.
        image_size: in pixels; None for the config's own.

    Raises:
        ConfigError: the batch cannot be shared out evenly, or the utilisation is no share.
    """
    if not 0 < utilisation <= 1:
        raise ConfigError(f"utilisation must lie above 0 and at most at 1, got {utilisation:g}", remedy="0.35")
    if count < 1 or recipe.batch_size % count:
        raise ConfigError(
            f"{count} devices cannot share a batch of {recipe.batch_size} evenly",
            remedy=f"a count that divides {recipe.batch_size}, or another batch size",
        )
    share = recipe.batch_size // count
    ways = [(sharded, again) for again in (False, True) for sharded in (False, True) if count > 1 or not sharded]
    ways = [way for way in ways if way[1] or not gradient_checkpointing]
    room = [_most(config, recipe, share, device, count, *way, image_size) for way in ways]
    chosen = next((i for i, most in enumerate(room) if most >= min(share, _COMFORTABLE)), None)
    if chosen is None:
        chosen = max(range(len(ways)), key=lambda i: (room[i], -i)) if any(room) else len(ways) - 1
    (sharded, again), most = ways[chosen], room[chosen]
    passes = -(-share // most) if most else share
    micro = -(-share // passes) if most else 0
    memory = training_memory(config, recipe, max(1, micro), "bfloat16", again, image_size=image_size)
    work = budget(config, recipe, images, image_size=image_size, gradient_checkpointing=again)
    return Estimate(
        device=device,
        count=count,
        utilisation=utilisation,
        strategy="one device" if count == 1 else "sharded" if sharded else "copies",
        gradient_checkpointing=again,
        micro_batch=micro,
        micro_batches=passes,
        bytes=_on_one(config, memory, count if sharded else 1),
        seconds=work.flops / (device.peak * utilisation * count),
    )


def implied_utilisation(flops: float, device: Device, device_days: float) -> float:
    """The share of a device's peak at which so many operations take so long.

    Args:
        flops: of the whole run.
        device: what it ran on.
        device_days: days times devices.
    """
    return flops / (device.peak * device_days * 86_400)


def _most(
    config: Architecture,
    recipe: Recipe,
    share: int,
    device: Device,
    count: int,
    sharded: bool,
    again: bool,
    image_size: int | Size | None,
) -> int:
    """The largest micro-batch that fits, at most the device's share of the batch; 0 for none."""
    one, two = (training_memory(config, recipe, n, "bfloat16", again, image_size=image_size) for n in (1, 2))
    each = two.activations - one.activations
    fixed = _on_one(config, one, count if sharded else 1) - one.activations
    return max(0, min(share, int((_USABLE * device.memory - fixed) / max(each, 1))))


def _on_one(config: Architecture, memory: Memory, shards: int) -> int:
    """Bytes on one of the devices that share weights and what stands behind them."""
    if shards == 1:
        return memory.total
    # the block at work and the next one are whole, with the gradients of one
    gathered = 3 * 4 * block_parameters(config)
    return (memory.total - memory.activations) // shards + gathered + memory.activations
