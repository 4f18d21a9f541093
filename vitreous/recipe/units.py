"""Between the units that weight decay is stated in.

PyTorch's AdamW takes learning_rate * weight_decay of every weight in each step. big_vision's optimiser adds wd * weight
to an update that the learning rate was already multiplied into, and scales both by the schedule alone, which runs from
0 to 1 and back (big_vision/optax.py). The two take the same step where wd = weight_decay * peak learning rate.
"""

from __future__ import annotations


def decoupled(wd: float, learning_rate: float) -> float:
    """PyTorch's weight_decay that does what big_vision's `config.wd` does.

    Args:
        wd: as big_vision writes it, 0 or more.
        learning_rate: the peak, big_vision's `config.lr`, above 0.
    """
    return wd / learning_rate
