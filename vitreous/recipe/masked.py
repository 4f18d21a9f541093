"""Masked patch prediction (Dosovitskiy et al., ICLR 2021, appendix B.1.2), and fine-tuning from it."""

from __future__ import annotations

import dataclasses
from typing import Literal

from vitreous.config import Recipe
from vitreous.recipe.family import Family
from vitreous.recipe.vit_paper import FINETUNE, PAPER, PRETRAIN

# Name, target, what is predicted, and what the appendix says of it.
_TARGETS: tuple[tuple[str, Literal["mean-colour", "downsampled", "pixels"], str, str], ...] = (
    ("", "mean-colour", "the mean colour of hidden patches in 3 bits a channel", "79.9 % ImageNet top-1 (section 4.6)"),
    ("-downsampled", "downsampled", "4 x 4 colours of hidden patches in 3 bits a channel", "close to mean colour"),
    ("-pixels", "pixels", "all pixels of hidden patches, by squared error", "slightly worse than mean colour"),
)


def families() -> tuple[Family, ...]:
    """Pre-training without labels, with each of the three targets, and what follows it."""
    return (
        Family(
            name="paper-masked",
            title="masked patch prediction, without labels",
            paper=PAPER,
            recipes=tuple(_pretraining()),
        ),
        Family(
            name="paper-masked-finetune", title="fine-tuning from masked patches", paper=PAPER, recipes=(_finetuning(),)
        ),
    )


def _pretraining() -> list[Recipe]:
    return [
        dataclasses.replace(
            PRETRAIN,
            name=f"paper-masked-jft300m{suffix}",
            summary=f"vit-b16 on JFT-300M, predicting {predicted}",
            source=f"{PAPER}, appendix B.1.2 and section 4.6; weight decay is not stated, 0 here",
            expected=f"after fine-tuning {score}; most of it after 100,000 steps",
            hardware="TPUv3",
            model="vit-b16",
            data="JFT-300M",
            objective="masked-patch",
            masked_target=target,
            masked_share=0.5,
            learning_rate=2e-4,
            schedule="cosine",
            epochs=None,
            steps=1_000_000,
            hidden_head=False,
        )
        for suffix, target, predicted, score in _TARGETS
    ]


def _finetuning() -> Recipe:
    return dataclasses.replace(
        FINETUNE,
        name="paper-masked-finetune-imagenet",
        summary="to ImageNet-1k at 384 px, from masked patch prediction",
        source=f"{PAPER}, Table 4, row ImageNet, and section 4.6; of its rates 0.03 as in vit_jax/configs, or --sweep",
        expected="79.9 % ImageNet top-1 with ViT-B/16, 2 % above training from scratch (section 4.6)",
        hardware="TPUv3",
        model="runs/paper-masked-jft300m",
        data="ImageNet-1k",
        learning_rate=0.03,
        sweep=(0.003, 0.01, 0.03, 0.06),
        sweep_share=0.01,
        steps=20_000,
    )
