"""What training minimises, as sums over images: micro-batches of one batch add up to the undivided batch."""

from __future__ import annotations

import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor


def cross_entropy(
    logits: Float[Tensor, "B Y"], labels: Int[Tensor, " B"], *, label_smoothing: float, batch_size: int
) -> Float[Tensor, ""]:
    """This micro-batch's share of the batch's mean softmax cross-entropy.

    Args:
        logits: float32.
        labels: class indices.
        label_smoothing: probability taken from the true class and spread over all.
        batch_size: images in the whole batch, of which these are a part.
    """
    return F.cross_entropy(logits, labels, label_smoothing=label_smoothing, reduction="sum") / batch_size
