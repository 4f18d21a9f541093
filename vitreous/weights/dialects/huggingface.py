"""Hugging Face's dialect: ViT, DeiT, MAE, DINOv2 and DINOv3, the image towers of CLIP and SigLIP.

Tables of names stand in `hf_names.py`, what is inferred from a file in `hf_read.py`, and the way back in `hf_write.py`.
"""

from __future__ import annotations

from vitreous.architecture import Architecture, ViTConfig
from vitreous.weights.dialects.dialect import Dialect
from vitreous.weights.dialects.hf_names import tensor_rules
from vitreous.weights.dialects.hf_read import understand
from vitreous.weights.dialects.hf_spellings import family_of
from vitreous.weights.dialects.hf_write import TITLE, nearest, package
from vitreous.weights.dialects.mapping import Rule
from vitreous.weights.formats.container import Raw


def recognises(raw: Raw) -> bool:
    """Whether the names are those of one of Hugging Face's image towers.

    Args:
        raw: the checkpoint.
    """
    return family_of(raw.tensors) is not None


def rules(architecture: Architecture, form: str) -> list[Rule]:
    """The table of a class for an architecture.

    Args:
        architecture: of a Vision Transformer.
        form: name of the class, as `understand` or `nearest` gave it.
    """
    assert isinstance(architecture, ViTConfig)
    return tensor_rules(architecture, form)


HUGGINGFACE = Dialect(
    name="huggingface",
    title=TITLE,
    recognises=recognises,
    understand=understand,
    rules=rules,
    nearest=nearest,
    package=package,
)
"""transformers' checkpoints, of versions 4 and 5."""
