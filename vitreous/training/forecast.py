"""What a run will take, told from its first steps, to be held against what it took."""

from __future__ import annotations

import contextlib
import math
import statistics
import sys
from typing import Any

import torch

from vitreous.console import duration
from vitreous.training.plan import Plan

with contextlib.suppress(ImportError):  # there is none on Windows
    import resource

_WARM = 5  # steps that are not yet like the others
_MEASURED = 20


class Forecast:
    """Seconds and bytes of the rest of a run in this process, said once enough steps are measured.

    Args:
        steps: steps that are left.
        looks: scores on held-out images that are left.
        look_steps: what such a score costs, in training steps.
        memory: bytes that training is expected to take besides what the process holds already.
        cuda: the card that holds the model, or None.
    """

    def __init__(self, steps: int, looks: float, look_steps: float, memory: float, cuda: torch.device | None) -> None:
        self.steps, self.looks, self.look_steps = steps, looks, look_steps
        self.bytes = memory + (0 if cuda else resident_bytes())
        self.predicted: dict[str, float] | None = None
        self._cuda, self._taken, self._looking, self._spent = cuda, [0.0][:0], [0.0][:0], 0.0

    @classmethod
    def begin(cls, plan: Plan, first: int, looks: int, watched: int) -> Forecast:
        """A forecast for the steps from `first` on.

        Args:
            plan: what is done.
            first: the step this process begins with.
            looks: scores on held-out images in the whole run.
            watched: images behind each of them.
        """
        left = plan.total_steps - first
        cuda = torch.device(plan.policy.device) if plan.policy.device.startswith("cuda") else None
        # looking at an image is a third of learning from it
        look_steps = watched / plan.world_size / (3 * plan.recipe.batch_size)
        return cls(left, looks * left / max(plan.total_steps, 1), look_steps, plan.memory, cuda)

    def step(self, seconds: float) -> None:
        """Take in a step; after enough of them `predicted` is there and stays.

        Args:
            seconds: it took, images included.
        """
        self._spent += seconds
        if self.predicted is None:
            self._taken.append(seconds)
            if len(self._taken) == _WARM + _MEASURED:
                each = statistics.median(self._taken[_WARM:])
                rest = self.steps - len(self._taken) + (self.looks - len(self._looking)) * self.look_steps
                self.predicted = {
                    "seconds": self._spent + each * max(rest, 0.0),
                    "bytes": self.bytes,
                    "measured_steps": _MEASURED,
                }

    def looked(self, seconds: float) -> None:
        """Take in a score on held-out images.

        Args:
            seconds: it took.
        """
        self._spent += seconds
        self._looking.append(seconds)

    def words(self) -> dict[str, str]:
        """Predicted beside measured, for a person."""
        if self.predicted is None:
            return {}
        taken = self.facts()["measured"]
        return {
            "time": f"{duration(self._spent)}, {duration(self.predicted['seconds'])} predicted from"
            f" {_MEASURED} measured steps",
            "memory": f"{taken['bytes'] / 1e9:.2f} GB, {self.predicted['bytes'] / 1e9:.2f} GB predicted",
        }

    def facts(self) -> dict[str, Any]:
        """Predicted beside measured, for run.json; nothing is predicted for runs of a few steps."""
        return {
            "predicted": self.predicted,
            "measured": {"seconds": self._spent, "bytes": peak_bytes(self._cuda)},
        }


def resident_bytes() -> float:
    """Bytes of memory that this process holds now, as far as the system tells."""
    try:
        with open("/proc/self/statm", encoding="ascii") as file:
            return float(int(file.read().split()[1]) * resource.getpagesize())
    except OSError:  # not Linux
        return 0.0


def peak_bytes(cuda: torch.device | None) -> float:
    """Most bytes that this process held at any time, on the card where there is one.

    Args:
        cuda: the card, or None.
    """
    if cuda is not None:
        return float(torch.cuda.max_memory_allocated(cuda))
    if sys.platform == "win32":
        return math.nan
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most * (1.0 if sys.platform == "darwin" else 1024.0)
