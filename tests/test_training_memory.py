"""What training will hold in memory is counted beforehand, and is what autograd then holds."""

from __future__ import annotations

import pytest
import torch
from tiny_architectures import TINY
from torch import nn

from vitreous.architecture import ResNetConfig, ViTConfig
from vitreous.model.create import create_model
from vitreous.recipe import find_recipe
from vitreous.training.memory import kept_bytes, training_bytes


def _held(model: nn.Module, count: int, size: tuple[int, int]) -> int:
    """Bytes behind a real forward pass, found by walking the graph's saved tensors."""
    held: dict[int, int] = {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        held[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        logits = model(torch.randn(count, 3, *size))
    assert logits.requires_grad
    return sum(held.values())


@pytest.mark.parametrize("form", ["fused", "matmul"])
@pytest.mark.parametrize("made", TINY.values(), ids=TINY)
def test_it_is_what_autograd_holds(made: ViTConfig | ResNetConfig, form: str) -> None:
    """Exactly, with attention as two products; the fused kernel may hold a little less or more."""
    model = create_model(made, seed=0).train()
    for part in model.modules():
        if hasattr(part, "form"):
            part.form = form
    size = (made.image_size[0], made.image_size[1])
    real = _held(model, 5, size) - _held(model, 4, size)
    assert kept_bytes(model, size) == pytest.approx(real, rel=0.01 if form == "matmul" else 0.2)


def test_a_linear_layer_by_hand() -> None:
    """One image of 3 x 4 x 5 numbers waits for the first layer, seven numbers for the ReLU, and again for the last."""
    model = nn.Sequential(nn.Flatten(), nn.Linear(60, 7), nn.ReLU(), nn.Linear(7, 2))
    assert 4 * (60 + 7) == kept_bytes(model, (4, 5))  # the ReLU's output is the last layer's input
    weights = 4 * (60 * 7 + 7 + 7 * 2 + 2)
    adam, sgd = find_recipe("small-pretrain", "pretrain"), find_recipe("paper-finetune-cifar", "finetune")
    assert 5 * weights + 3 * 268 == training_bytes(model, adam, 3, 268.0)  # two moments, and the averaged weights
    assert 3 * weights + 3 * 268 == training_bytes(model, sgd, 3, 268.0)  # momentum alone
    model[1].requires_grad_(False)
    assert 3 * 4 * 16 + 4 * 427 == training_bytes(model, sgd, 0, 0.0)  # what is frozen has neither


class Looks(nn.Module):
    """Decides by what it sees."""

    def __init__(self) -> None:
        super().__init__()
        self.norm, self.head = nn.BatchNorm2d(3), nn.Linear(3, 2)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        pooled = self.norm(images).mean((2, 3))
        return self.head(pooled) if images.sum() > 0 else self.head(-pooled)


def test_a_module_is_left_as_it_is_found() -> None:
    """Weights, running means, modes and random numbers; one that looks at its images gets a guess."""
    model = Looks()
    model.norm.eval()
    before = {key: value.clone() for key, value in model.state_dict().items()}
    torch.manual_seed(3)
    expected = torch.rand(4)
    torch.manual_seed(3)
    assert 16e6 == kept_bytes(model, (8, 10))
    made = create_model(TINY["tiny-vit"], seed=0).eval()
    kept_bytes(made, (32, 48))
    assert torch.equal(expected, torch.rand(4))
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())
    assert (True, False) == (model.training, model.norm.training)
    assert not made.training
