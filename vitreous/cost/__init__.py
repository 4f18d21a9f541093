"""What a model, a run and a machine cost, by arithmetic on configs alone: nothing here needs PyTorch or a model.

arithmetic.py   parameters and operations, part by part
memory.py       bytes that training holds
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
from vitreous.cost.memory import Kept, Memory, kept, learned, training_memory

__all__ = [
    "Kept",
    "Memory",
    "Part",
    "attention_pairs",
    "flops",
    "kept",
    "learned",
    "macs",
    "parameters",
    "parts",
    "tokens",
    "training_flops",
    "training_memory",
]
