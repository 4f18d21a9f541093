"""Google's arrays answer here as in Google's code, written again in NumPy, and map as timm's own loader maps them."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

import numpy as np
import numpy_google as google
import numpy_resnet
import pytest
import torch
from google_files import answer, images, jax_bit, linen, model, native, prefixed, scanned, understand
from numpy.typing import NDArray
from oracles import timm
from parity import TOLERANCE, agree
from torch import Tensor, nn

from vitreous.model.position import resample_patches

NUMPY = "NumPy, float64, from Google's arrays"


def reference(arrays: google.Arrays, seen: NDArray, pool: str = "token", gelu: str = "tanh") -> Tensor:
    return torch.from_numpy(google.forward(arrays, seen, pool=pool, gelu=gelu))


@pytest.mark.parametrize("hidden", [0, 17], ids=["", "pre_logits"])
@pytest.mark.parametrize("pool", ["token", "gap", "map", "tok"])
@pytest.mark.parametrize("size", [(24, 24), (32, 45)], ids=["native", "32 x 45"])
def test_vision_transformers_answer_as_in_numpy(pool: str, hidden: int, size: tuple[int, int]) -> None:
    """Class token with and without a position, mean, attention pooling; at another size the table is zoomed and the
    pixels behind the last patch are not looked at."""
    arrays = google.vit_arrays(pool=pool, hidden=hidden)
    seen = images(*size)
    case = f"tiny, {size[0]} x {size[1]} px{', pre_logits' if hidden else ''}"
    agree(
        f"Google ViT, {pool}",
        case,
        answer(model(arrays, edge="crop"), seen),
        reference(arrays, seen, pool),
        against=NUMPY,
    )


def test_sines_answer_as_in_numpy() -> None:
    """Without a table positions are big_vision's sines, for rectangles too."""
    arrays = google.vit_arrays(pool="gap", rows=0)
    seen = images(24, 40)
    ours = answer(model(arrays, image_size=(24, 40)), seen)
    agree("Google ViT, sincos2d", "tiny, 24 x 40 px", ours, reference(arrays, seen, "gap"), against=NUMPY)


@pytest.mark.parametrize(
    ("stem", "patch", "size"), [((), (2, 2), (24, 24)), ((1, 2), (1, 1), (24, 24)), ((1, 2), (1, 1), (40, 45))]
)
def test_hybrids_answer_as_in_numpy(stem: tuple[int, ...], patch: tuple[int, int], size: tuple[int, int]) -> None:
    """A root alone, as in R+Ti/16, and stages; SAME padding at sizes that nothing divides."""
    arrays = google.vit_arrays(stem=stem, patch=patch)
    seen = images(*size)
    case = f"tiny, stem {stem}, {size[0]} x {size[1]} px"
    agree("Google hybrid", case, answer(model(arrays, edge="crop"), seen), reference(arrays, seen), against=NUMPY)


def test_bit_answers_as_in_numpy() -> None:
    """BiT, both namings."""
    arrays = numpy_resnet.bit_arrays((1, 2))
    seen = images(40, 56)
    theirs = torch.from_numpy(numpy_resnet.bit(arrays, seen)["logits"])
    agree("Google BiT", "tiny, 40 x 56 px", answer(model(arrays), seen), theirs, against=NUMPY)
    agree("Google BiT", "tiny, big_vision's names", answer(model(jax_bit(arrays)), seen), theirs, against=NUMPY)


def v1_arrays() -> google.Arrays:
    """big_vision/models/bit.py: a hybrid's ResNet with a head on the mean of its map."""
    rng = np.random.default_rng(5)
    head = {"head/kernel": 0.2 * rng.standard_normal((512, 11)), "head/bias": rng.standard_normal(11)}
    return numpy_resnet.hybrid_arrays((1, 2)) | {name: value.astype(np.float32) for name, value in head.items()}


def test_resnet_v1_answers_as_in_numpy() -> None:
    """big_vision's other BiT, which is not BiT."""
    arrays = v1_arrays()
    seen = images(40, 56)
    pooled = list(numpy_resnet.hybrid(arrays, seen).values())[-1].mean(axis=(1, 2))
    theirs = torch.from_numpy(pooled @ arrays["head/kernel"] + arrays["head/bias"])
    agree("Google ResNet v1", "tiny, 40 x 56 px", answer(model(arrays), seen), theirs, against=NUMPY)


def test_the_wrong_gelu_is_found_out() -> None:
    """With the exact GELU the answers leave the tolerance, on our side and on NumPy's, and both leave it alike."""
    arrays = google.vit_arrays()
    seen = images(24, 24)
    tanh, erf = (reference(arrays, seen, gelu=form) for form in ("tanh", "erf"))
    ours = answer(model(arrays), seen)
    assert (ours - erf).abs().max() > 2 * TOLERANCE
    with pytest.raises(AssertionError, match="wrong GELU"):
        agree("wrong GELU", "tiny", answer(model(arrays, gelu="erf"), seen), tanh, against=NUMPY)
    agree("Google ViT, token", "tiny, exact GELU", answer(model(arrays, gelu="erf"), seen), erf, against=NUMPY)


def test_a_class_row_can_be_merged_into_the_class_token() -> None:
    """cls + pos[0] with a table without its first row, as big_vision migrates old files, is the same function."""
    arrays = google.vit_arrays()
    merged = linen(dict(arrays))
    table = merged.pop("Transformer/posembed_input/pos_embedding")
    merged |= {"cls": merged["cls"] + table[:, :1], "pos_embedding": table[:, 1:]}
    seen = images(32, 40)
    whole, split = model(arrays), model(merged)
    assert (whole.config.num_prefix_positions, split.config.num_prefix_positions) == (1, 0)
    agree("Google ViT, tok", "tiny, class row merged", answer(split, seen), answer(whole, seen), against="vit_jax form")
    agree("Google ViT, tok", "tiny, 32 x 40 px", answer(split, seen), reference(merged, seen, "tok"), against=NUMPY)


def test_a_real_size_answers_as_in_numpy() -> None:
    """ViT-S/16 at 224 px."""
    arrays = google.vit_arrays(width=384, depth=12, heads=6, mlp=1536, patch=(16, 16), rows=196, classes=1000)
    seen = images(224, 224)[:1]
    made = model(arrays)
    assert made.config.name == "vit-s16"
    agree("Google ViT, token", "ViT-S/16, 224 px", answer(made, seen), reference(arrays, seen), against=NUMPY)


# timm's loader of Google's files


def timm_vit(**changes: Any) -> nn.Module:
    sizes = {"img_size": 24, "patch_size": 8, "embed_dim": 28, "depth": 3, "num_heads": 4, "mlp_ratio": 44.5 / 28}
    tanh = functools.partial(nn.GELU, approximate="tanh")
    build = timm().models.vision_transformer.VisionTransformer
    return build(**{**sizes, "num_classes": 11, "act_layer": tanh, **changes}).eval()


def saved(arrays: google.Arrays, folder: Path) -> str:
    np.savez(folder / "model.npz", **arrays)
    return str(folder / "model.npz")


@pytest.mark.parametrize(
    ("pool", "changes"),
    [
        ("token", {}),
        ("tok", {"no_embed_class": True}),
        ("gap", {"class_token": False, "global_pool": "avg", "fc_norm": False}),
        ("map", {"class_token": False, "global_pool": "map"}),
    ],
)
def test_timms_loader_reads_the_same_model(pool: str, changes: dict[str, Any], tmp_path: Path) -> None:
    """Each of timm's tensors is ours bit for bit, and with tanh it answers as ours does."""
    arrays = google.vit_arrays(pool=pool)
    theirs = timm_vit(**changes)
    theirs.load_pretrained(saved(arrays, tmp_path))
    same(theirs.state_dict(), native(arrays))
    seen = images(24, 24)
    against = f"timm {timm().__version__}, its npz loader"
    agree(
        f"Google ViT, {pool}",
        "tiny, 24 x 24 px, timm",
        answer(model(arrays), seen),
        answer(theirs, seen),
        against=against,
    )


def test_timms_loader_reads_the_same_siglip(tmp_path: Path) -> None:
    """Two towers with stacked blocks."""
    arrays = prefixed(scanned(google.vit_arrays(pool="map", classes=0)), "params/img/")
    theirs = timm_vit(class_token=False, global_pool="map")
    theirs.load_pretrained(saved(arrays, tmp_path))
    ours = native(arrays)
    same({name: value for name, value in theirs.state_dict().items() if not name.startswith("head.")}, ours)


def test_timms_loader_reads_the_same_hybrid(tmp_path: Path) -> None:
    """Every tensor bit for bit; timm's numerics are its own (`test_model_resnet_parity.py`)."""
    vit = timm().models.vision_transformer_hybrid
    arrays = google.vit_arrays(stem=(1, 2), patch=(1, 1), width=28)
    backbone = timm().models.resnetv2.ResNetV2(
        layers=(1, 2),
        channels=(256, 512),
        num_classes=0,
        global_pool="",
        preact=False,
        stem_type="same",
    )
    embed = functools.partial(vit.HybridEmbed, backbone=backbone, proj=True)
    theirs = timm_vit(patch_size=1, embed_layer=embed)
    theirs.load_pretrained(saved(arrays, tmp_path))
    same(theirs.state_dict(), native(arrays))


def test_timms_loader_reads_the_same_bit(tmp_path: Path) -> None:
    """Every tensor bit for bit."""
    arrays = numpy_resnet.bit_arrays((1, 2))
    layers = timm().layers
    theirs = timm().models.resnetv2.ResNetV2(
        layers=(1, 2),
        channels=(256, 512),
        num_classes=11,
        stem_type="fixed",
        conv_layer=functools.partial(layers.StdConv2d, eps=1e-8),
        norm_layer=functools.partial(layers.GroupNormAct, num_groups=32),
    )
    theirs.load_pretrained(saved(arrays, tmp_path))
    same(theirs.state_dict(), native(arrays))


def same(theirs: dict[str, Tensor], ours: dict[str, Tensor]) -> None:
    assert theirs.keys() == ours.keys()
    for name, value in theirs.items():
        assert torch.equal(value, ours[name]), name


# FlexiViT


def flexivit() -> google.Arrays:
    return google.vit_arrays(pool="tok", patch=(32, 32), rows=49)


def stretched(kernel: NDArray, size: int) -> NDArray:
    """big_vision/models/proj/flexi/vit.py, resample_patchemb: the pseudo-inverse of TensorFlow's bilinear resize, which
    does not antialias."""
    old = kernel.shape[0]
    line = np.zeros((size, old))  # one axis of the resize
    for new in range(size):
        place = min(max((new + 0.5) * old / size - 0.5, 0), old - 1)
        low = min(int(place), old - 2)
        line[new, low : low + 2] += (1 - (place - low), place - low)
    inverse = np.linalg.pinv(np.kron(line, line).T)
    return np.tensordot(inverse, kernel.reshape(old * old, *kernel.shape[2:]), axes=1).reshape(
        size, size, *kernel.shape[2:]
    )


def enlarged(table: NDArray, side: int) -> NDArray:
    """jax.image.resize(..., "linear") to more rows and columns: half-pixel bilinear."""
    old = int(np.sqrt(table.shape[1]))
    line = np.zeros((side, old))
    for new in range(side):
        place = min(max((new + 0.5) * old / side - 0.5, 0), old - 1)
        low = min(int(place), old - 2)
        line[new, low : low + 2] += (1 - (place - low), place - low)
    picture = table.reshape(old, old, -1)
    return np.einsum("ri,cj,ijd->rcd", line, line, picture).reshape(1, side * side, -1)


def test_flexivit_answers_at_its_own_patch_size() -> None:
    """240 px and patches of 32: seven by seven, and 16 pixels that nobody looks at."""
    arrays, seen = flexivit(), images(240, 240)
    made = model(arrays)
    assert (made.config.image_size, made.config.grid) == ((240, 240), (7, 7))
    agree("Google FlexiViT", "patch 32, 240 px", answer(made, seen), reference(arrays, seen, "tok"), against=NUMPY)


def test_flexivit_answers_at_another_patch_size() -> None:
    """Kernel and table resized as Google's code does it on the way to every step."""
    arrays, seen = flexivit(), images(240, 240)
    made = model(arrays, patch_size=24)
    assert made.config.grid == (10, 10)
    resized = arrays | {
        "embedding/kernel": stretched(arrays["embedding/kernel"], 24),
        "pos_embedding": enlarged(arrays["pos_embedding"], 10),
    }
    agree("Google FlexiViT", "patch 24, 240 px", answer(made, seen), reference(resized, seen, "tok"), against=NUMPY)


def test_patches_shrink_as_in_timms_loader_of_googles_files() -> None:
    """timm resizes Google's kernels without antialiasing, as TensorFlow does."""
    kernel = torch.randn(5, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    theirs = timm().layers.resample_patch_embed(kernel, [24, 24], interpolation="bilinear", antialias=False)
    assert torch.allclose(resample_patches(kernel, (24, 24)), theirs, atol=1e-4)


def test_naflex_answers_as_in_numpy() -> None:
    """A matrix over flattened patches and a table that lies there as a picture, at the table's own grid."""
    arrays = google.vit_arrays(pool="map", rows=12, classes=0)
    flat = arrays | {
        "embedding/kernel": arrays["embedding/kernel"].reshape(8 * 8 * 3, 28),
        "pos_embedding": arrays["pos_embedding"].reshape(3, 4, 28),
    }
    seen = images(24, 32)
    made = model(prefixed(flat, "params/img/"))
    assert (made.config.grid, made.config.resample) == ((3, 4), "bilinear-antialias")
    theirs = torch.from_numpy(google.forward(arrays, seen, pool="map"))
    agree("Google SigLIP 2 NaFlex", "tiny, 24 x 32 px", answer(made, seen), theirs, against=NUMPY)
    assert any("NaFlex" in note for note in understand(flat).notes)
