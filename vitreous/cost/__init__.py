"""What a model, a run and a machine cost, by arithmetic on configs alone: nothing here needs PyTorch or a model.

arithmetic.py   parameters and operations, part by part
"""

from vitreous.cost.arithmetic import (
    Part,
    attention_pairs,
    flops,
    macs,
    parameters,
    parts,
    tokens,
    training_flops,
)

__all__ = [
    "Part",
    "attention_pairs",
    "flops",
    "macs",
    "parameters",
    "parts",
    "tokens",
    "training_flops",
]
