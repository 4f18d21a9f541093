"""DINOv2's and DINOv3's forward pass on Meta's own tensor names, written from the facts of their papers and code.

Functions of a state dict in float64: no module, none of this package and none of Meta's code. The facts are in
facebookresearch/dinov2 (b8931f7) and dinov3 (6876159), models/vision_transformer.py and layers/; the names, their
order and shapes that `names` gives are what their modules hold.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor

State = Mapping[str, Tensor]


def names(
    *, width: int, depth: int, heads: int, mlp: int, patch: int, rows: int = 0, registers: int = 0,
    gated: bool = False, scaled: bool = True, version: int = 2, bias: bool = True,
) -> dict[str, tuple[int, ...]]:  # fmt: skip
    """Every tensor of Meta's model, with its shape; `load_state_dict(strict=True)` there wants exactly these.

    Args:
        width, depth, heads, mlp, patch: sizes.
        rows: of DINOv2's position table, that of the class token included.
        registers: register (DINOv2) or storage (DINOv3) tokens.
        gated: SwiGLU in place of the MLP.
        scaled: with LayerScale.
        version: 2 or 3; 3 has a mask on the biases of keys.
        bias: whether queries, keys and values have one.
    """
    D = width
    shapes: dict[str, tuple[int, ...]] = {"cls_token": (1, 1, D), "mask_token": (1, D), "norm.weight": (D,)}
    shapes |= {"norm.bias": (D,), "patch_embed.proj.weight": (D, 3, patch, patch), "patch_embed.proj.bias": (D,)}
    if version == 2:
        shapes["pos_embed"] = (1, rows, D)
    else:
        shapes["rope_embed.periods"] = (D // heads // 4,)
    if registers:
        shapes["register_tokens" if version == 2 else "storage_tokens"] = (1, registers, D)
    layers = {"attn.proj": (D, D)}
    match gated, version:
        case False, _:
            layers |= {"mlp.fc1": (mlp, D), "mlp.fc2": (D, mlp)}
        case True, 2:
            layers |= {"mlp.w12": (2 * mlp, D), "mlp.w3": (D, mlp)}
        case _:
            layers |= {"mlp.w1": (mlp, D), "mlp.w2": (mlp, D), "mlp.w3": (D, mlp)}
    for i in range(depth):
        block: dict[str, tuple[int, ...]] = {"attn.qkv.weight": (3 * D, D)}
        if bias:
            block["attn.qkv.bias"] = (3 * D,)
            if version == 3:
                block["attn.qkv.bias_mask"] = (3 * D,)
        for name, shape in layers.items():
            block |= {f"{name}.weight": shape, f"{name}.bias": shape[:1]}
        for name in ("norm1", "norm2"):
            block |= {f"{name}.weight": (D,), f"{name}.bias": (D,)}
        if scaled:
            block |= {"ls1.gamma": (D,), "ls2.gamma": (D,)}
        shapes |= {f"blocks.{i}.{name}": shape for name, shape in block.items()}
    return shapes


def random_state(shapes: Mapping[str, tuple[int, ...]], seed: int = 0) -> dict[str, Tensor]:
    """Numbers for every tensor: random but for the mask of biases and the periods, which are what they are.

    Args:
        shapes: from `names`.
        seed: fixes the numbers.
    """
    generator = torch.Generator().manual_seed(seed)
    state = {}
    for name, shape in shapes.items():
        noise = torch.randn(shape, generator=generator)
        if name.endswith("bias_mask"):
            noise = torch.cat([torch.ones(shape[0] // 3), torch.zeros(shape[0] // 3), torch.ones(shape[0] // 3)])
        elif name.endswith("periods"):
            noise = 100.0 ** (2 * torch.arange(shape[0]) / (2 * shape[0]))
        elif len(shape) == 1:
            noise = 1 + 0.4 * noise if name.endswith("weight") else 0.4 * noise
        elif shape[0] == 1:
            noise = 0.7 * noise
        else:
            noise = noise / math.sqrt(math.prod(shape[1:]))
        state[name] = noise
    return state


def tokens(state: State, images: Tensor, heads: int) -> Tensor:
    """All tokens after the final norm, (B, 1 + registers + patches, D), in float64.

    Args:
        state: under Meta's names.
        images: (B, 3, H, W).
        heads: of attention.
    """
    s = {name: value.double() for name, value in state.items()}
    kernel = s["patch_embed.proj.weight"]
    patch = kernel.shape[-1]
    grid = images.shape[2] // patch, images.shape[3] // patch
    cut = F.unfold(images.double(), patch, stride=patch).transpose(1, 2)  # (B, h * w, 3 * P * P), reading order
    x = cut @ kernel.flatten(1).T + s["patch_embed.proj.bias"]
    D = x.shape[-1]
    x = torch.cat([s["cls_token"].expand(len(x), 1, D), x], dim=1)
    third = "rope_embed.periods" in s
    turn = None
    if third:
        turn = _angles(grid, s["rope_embed.periods"])
    else:
        x = x + _positions(s, grid)
    registers = s.get("storage_tokens" if third else "register_tokens")
    if registers is not None:
        x = torch.cat([x[:, :1], registers.expand(len(x), -1, D), x[:, 1:]], dim=1)
    eps = 1e-5 if third else 1e-6
    i = 0
    while f"blocks.{i}.norm1.weight" in s:
        b = {name.removeprefix(f"blocks.{i}."): value for name, value in s.items() if name.startswith(f"blocks.{i}.")}
        x = x + _attention(b, _norm(x, b, "norm1", eps), heads, turn) * b.get("ls1.gamma", 1.0)
        x = x + _mlp(b, _norm(x, b, "norm2", eps)) * b.get("ls2.gamma", 1.0)
        i += 1
    return _norm(x, s, "norm", eps)


def _norm(x: Tensor, s: State, name: str, eps: float) -> Tensor:
    centred = x - x.mean(-1, keepdim=True)
    return centred / (centred.square().mean(-1, keepdim=True) + eps).sqrt() * s[f"{name}.weight"] + s[f"{name}.bias"]


def _positions(s: State, grid: tuple[int, int]) -> Tensor:
    """The table at another grid: without registers by a scale that is 0.1 rows too large, with them antialiased."""
    table = s["pos_embed"]
    side = math.isqrt(table.shape[1] - 1)
    if grid == (side, side):
        return table
    picture = table[:, 1:].float().reshape(1, side, side, -1).permute(0, 3, 1, 2)  # Meta's code resizes in float32
    if "register_tokens" in s:
        picture = F.interpolate(picture, size=grid, mode="bicubic", antialias=True)
    else:
        scale = ((grid[0] + 0.1) / side, (grid[1] + 0.1) / side)
        picture = F.interpolate(picture, scale_factor=scale, mode="bicubic")
    return torch.cat([table[:, :1], picture.flatten(2).transpose(1, 2).double()], dim=1)


def _angles(grid: tuple[int, int], periods: Tensor) -> Tensor:
    """Half of the angles by row, half by column, centres of patches in [-1, 1]; then the same again: (h * w, K)."""
    rows, columns = (2 * (torch.arange(side, dtype=torch.float64) + 0.5) / side - 1 for side in grid)
    place = torch.stack([rows.repeat_interleave(grid[1]), columns.repeat(grid[0])], dim=1)  # (h * w, 2)
    half = (2 * math.pi * place[:, :, None] / periods).flatten(1)
    return torch.cat([half, half], dim=1)


def _attention(b: State, x: Tensor, heads: int, turn: Tensor | None) -> Tensor:
    B, N, D = x.shape
    qkv = x @ b["attn.qkv.weight"].T
    if "attn.qkv.bias" in b:
        qkv = qkv + b["attn.qkv.bias"] * b.get("attn.qkv.bias_mask", 1.0)
    q, k, v = (part.view(B, N, heads, -1).transpose(1, 2) for part in qkv.split(D, dim=-1))
    if turn is not None:
        q, k = _turned(q, turn), _turned(k, turn)
    weights = (q @ k.transpose(-1, -2) / math.sqrt(D // heads)).softmax(-1)
    mixed = (weights @ v).transpose(1, 2).reshape(B, N, D)
    return mixed @ b["attn.proj.weight"].T + b["attn.proj.bias"]


def _turned(x: Tensor, angles: Tensor) -> Tensor:
    """Patches turned, entry i with entry i + K / 2; the tokens before them as they are."""
    front = x.shape[2] - len(angles)
    head, tail = x[:, :, :front], x[:, :, front:]
    half = tail.shape[-1] // 2
    swapped = torch.cat([-tail[..., half:], tail[..., :half]], dim=-1)
    return torch.cat([head, tail * angles.cos() + swapped * angles.sin()], dim=2)


def _mlp(b: State, x: Tensor) -> Tensor:
    if "mlp.w12.weight" in b:
        gate, value = (x @ b["mlp.w12.weight"].T + b["mlp.w12.bias"]).chunk(2, dim=-1)
    elif "mlp.w1.weight" in b:
        gate, value = (x @ b[f"mlp.w{n}.weight"].T + b[f"mlp.w{n}.bias"] for n in (1, 2))
    else:
        hidden = x @ b["mlp.fc1.weight"].T + b["mlp.fc1.bias"]
        hidden = 0.5 * hidden * (1 + torch.erf(hidden / math.sqrt(2)))
        return hidden @ b["mlp.fc2.weight"].T + b["mlp.fc2.bias"]
    return gate * torch.sigmoid(gate) * value @ b["mlp.w3.weight"].T + b["mlp.w3.bias"]
