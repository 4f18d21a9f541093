"""The same weights give the same logits in Hugging Face's and timm's Vision Transformers.

Every parameter and buffer of the other model is drawn at random, so that no swap of two tensors, and no tensor left
out, can pass.
"""

from __future__ import annotations

import functools
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from oracles import timm
from random_vit import config, draw, random_images
from safetensors.torch import load_file
from torch import Tensor, nn

from vitreous.architecture import ViTConfig
from vitreous.model.vit import ViT

timm()  # transformers imports torchvision, which needs the same care
with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import transformers
    from transformers import ViTConfig as TheirConfig
    from transformers import ViTForImageClassification, ViTModel

# Our name -> theirs, inside a block; on disk (and in memory before transformers 5), and in memory from 5 on.
BLOCK_ON_DISK = {
    "norm1": "layernorm_before",
    "norm2": "layernorm_after",
    "q": "attention.attention.query",
    "k": "attention.attention.key",
    "v": "attention.attention.value",
    "attn.proj": "attention.output.dense",
    "mlp.fc1": "intermediate.dense",
    "mlp.fc2": "output.dense",
}
BLOCK_IN_MEMORY = {
    "norm1": "layernorm_before",
    "norm2": "layernorm_after",
    "q": "attention.q_proj",
    "k": "attention.k_proj",
    "v": "attention.v_proj",
    "attn.proj": "attention.o_proj",
    "mlp.fc1": "mlp.fc1",
    "mlp.fc2": "mlp.fc2",
}


def from_hugging_face(state: Mapping[str, Tensor], c: ViTConfig, *, on_disk: bool, prefix: str) -> dict[str, Tensor]:
    """Their tensors under our names, every one of them used exactly once."""
    block, at = (BLOCK_ON_DISK, "encoder.layer.") if on_disk else (BLOCK_IN_MEMORY, "layers.")
    left = dict(state)
    ours = {
        "cls_token": left.pop(f"{prefix}embeddings.cls_token"),
        "pos_embed": left.pop(f"{prefix}embeddings.position_embeddings"),
    }
    for kind in ("weight", "bias"):
        ours[f"patch_embed.proj.{kind}"] = left.pop(f"{prefix}embeddings.patch_embeddings.projection.{kind}")
        ours[f"norm.{kind}"] = left.pop(f"{prefix}layernorm.{kind}")
        if c.num_classes:
            ours[f"head.{kind}"] = left.pop(f"classifier.{kind}")
        if c.representation_size:
            ours[f"pre_logits.fc.{kind}"] = left.pop(f"{prefix}pooler.dense.{kind}")
        for i in range(c.depth):
            theirs = {name: left.pop(f"{prefix}{at}{i}.{other}.{kind}") for name, other in block.items()}
            ours[f"blocks.{i}.attn.qkv.{kind}"] = torch.cat([theirs.pop(part) for part in "qkv"])
            ours |= {f"blocks.{i}.{name}.{kind}": value for name, value in theirs.items()}
    assert left == {}, "tensors of theirs without a place in ours"
    return ours


def their_config(c: ViTConfig) -> TheirConfig:
    """Their words for our architecture."""
    return TheirConfig(
        hidden_size=c.embed_dim,
        num_hidden_layers=c.depth,
        num_attention_heads=c.num_heads,
        intermediate_size=c.mlp_dim,
        hidden_act={"erf": "gelu", "tanh": "gelu_pytorch_tanh"}[c.gelu],
        layer_norm_eps=c.norm_eps,
        image_size=c.image_size,
        patch_size=c.patch_size,
        num_channels=c.in_channels,
        num_labels=c.num_classes,
        pooler_output_size=c.representation_size,
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
    )


def loaded(c: ViTConfig, state: Mapping[str, Tensor]) -> ViT:
    """Our model with these weights, all of them and no others."""
    model = ViT(c)
    model.load_state_dict(state, strict=True)
    return model.eval()


def assert_same(actual: Tensor, expected: Tensor, *, least_std: float = 0.5) -> None:
    """Logits that vary, equal within 1e-5 in float32."""
    assert (torch.float32, torch.float32) == (expected.dtype, actual.dtype)
    assert expected.std() >= least_std, f"logits vary too little to prove anything: {expected.std():.3f}"
    np.testing.assert_allclose(actual.numpy(), expected.numpy(), rtol=0, atol=1e-5)


VARIANTS: dict[str, dict[str, Any]] = {
    "as Google trained them, on the hub": {"norm_eps": 1e-12},
    "rectangular patches": {"patch_size": (8, 10)},
    "square": {"image_size": (40, 40)},
    "tanh gelu": {"gelu": "tanh"},
    "large eps": {"norm_eps": 0.1},
    "one channel": {"in_channels": 1},
}


@torch.no_grad()
@pytest.mark.parametrize("attention", ["eager", "sdpa"])
@pytest.mark.parametrize("changes", VARIANTS.values(), ids=VARIANTS.keys())
def test_hugging_face_classifier(changes: dict[str, Any], attention: str) -> None:
    """ViTForImageClassification, its in-memory names, both its forms of attention."""
    c = config(**changes)
    theirs = draw(ViTForImageClassification._from_config(their_config(c), attn_implementation=attention)).eval()
    in_memory = int(transformers.__version__.split(".")[0]) >= 5
    ours = loaded(c, from_hugging_face(theirs.state_dict(), c, on_disk=not in_memory, prefix="vit."))
    images = random_images(*c.image_size, channels=c.in_channels)
    assert_same(ours(images), theirs(images).logits)


@torch.no_grad()
def test_hugging_face_file(tmp_path: Path) -> None:
    """The names that save_pretrained writes are the old ones; read from the file they give the same logits."""
    c = config()
    theirs = draw(ViTForImageClassification(their_config(c)), seed=4).eval()
    theirs.save_pretrained(tmp_path)
    state = load_file(tmp_path / "model.safetensors")
    ours = loaded(c, from_hugging_face(state, c, on_disk=True, prefix="vit."))
    images = random_images()
    assert_same(ours(images), theirs(images).logits)


@torch.no_grad()
def test_hugging_face_tokens_and_pooler() -> None:
    """ViTModel without a head: all tokens after the final norm, and the tanh layer that it calls pooler."""
    c = config(num_classes=0, representation_size=19)
    theirs = draw(ViTModel(their_config(c)), seed=5).eval()
    ours = loaded(c, from_hugging_face(theirs.state_dict(), c, on_disk=False, prefix=""))
    images = random_images()
    expected = theirs(images)
    tokens = ours.features(images)
    assert tokens.cls is not None
    assert_same(torch.cat([tokens.cls[:, None], tokens.patches], dim=1), expected.last_hidden_state)
    assert_same(ours(images), expected.pooler_output)


@torch.no_grad()
def test_hugging_face_intermediates() -> None:
    """Attention weights and the residual stream of every block are theirs too."""
    c = config()
    theirs = ViTForImageClassification._from_config(their_config(c), attn_implementation="eager")
    draw(theirs, seed=6).eval()
    ours = loaded(c, from_hugging_face(theirs.state_dict(), c, on_disk=False, prefix="vit."))
    images = random_images()
    expected = theirs(images, output_attentions=True, output_hidden_states=True)
    names = ["embed", *(f"blocks.{i}" for i in range(c.depth)), *(f"blocks.{i}.attn.weights" for i in range(c.depth))]
    taps = ours.features(images, taps=names).taps
    for i in range(c.depth):
        assert_same(taps[f"blocks.{i}.attn.weights"], expected.attentions[i], least_std=0.01)
        assert_same(taps[f"blocks.{i - 1}" if i else "embed"], expected.hidden_states[i])


def timm_model(c: ViTConfig) -> nn.Module:
    """Their words for our architecture."""
    return timm().models.vision_transformer.VisionTransformer(
        img_size=c.image_size,
        patch_size=c.patch_size,
        in_chans=c.in_channels,
        num_classes=c.num_classes,
        global_pool="token" if c.pool == "cls" else "avg",
        class_token=c.class_token,
        fc_norm=False,
        embed_dim=c.embed_dim,
        depth=c.depth,
        num_heads=c.num_heads,
        mlp_ratio=c.mlp_dim / c.embed_dim + 1e-9,
        norm_layer=functools.partial(nn.LayerNorm, eps=c.norm_eps),
        act_layer={"erf": "gelu", "tanh": "gelu_tanh"}[c.gelu],
    )


TIMM_VARIANTS: dict[str, dict[str, Any]] = VARIANTS | {
    "defaults": {},
    "mean of the patches": {"pool": "mean"},
    "mean beside a class token": {"pool": "mean", "class_token": True},
    "features": {"num_classes": 0},
}


@torch.no_grad()
@pytest.mark.parametrize("fused", [True, False], ids=["fused", "matmul"])
@pytest.mark.parametrize("changes", TIMM_VARIANTS.values(), ids=TIMM_VARIANTS.keys())
def test_timm(changes: dict[str, Any], fused: bool) -> None:
    """timm's state dict loads as it is, strictly, and both forms of attention agree with both of theirs."""
    c = config(**changes)
    theirs = draw(timm_model(c)).eval()
    ours = loaded(c, theirs.state_dict())
    for mine, other in zip(ours.blocks, theirs.blocks, strict=True):
        other.attn.fused_attn = fused
        mine.attn.form = "fused" if fused else "matmul"
    images = random_images(*c.image_size, channels=c.in_channels)
    assert_same(ours(images), theirs(images))
    back = timm_model(c)
    back.load_state_dict(ours.state_dict(), strict=True)
    for block in back.blocks:
        block.attn.fused_attn = fused
    assert torch.equal(theirs(images), back.eval()(images))
