"""What moves and what stays: every way of transfer, its count of weights, and LoRA merged without a trace."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Iterator
from typing import Any

import pytest
import torch
import torch.distributed as dist
import torch.nn.functional as F
from tiny_architectures import BIT, TINY
from torch import Tensor, nn
from torch.distributed.device_mesh import DeviceMesh, init_device_mesh
from torch.distributed.fsdp import fully_shard

import vitreous as vt
from vitreous.config import Recipe
from vitreous.errors import ConfigError
from vitreous.model.create import build, draw
from vitreous.model.vit import ViT
from vitreous.training.learning.average import Average
from vitreous.training.learning.optim import build_optimizer
from vitreous.training.learning.transfer import begin, ever_trained, finish, head_only_steps, heads_of, phase

WAYS = ["all", "head", "head-first", "lora", "bitfit"]
TOTAL = 5
VITS = [name for name, made in TINY.items() if made is not BIT and "resnet" not in name]


def recipe(train: str, **changes: Any) -> Recipe:
    settings: dict[str, Any] = {"learning_rate": 0.05, "optimizer": "sgd", "lora_rank": 3, "weight_decay": 0.1}
    return Recipe(name="any", purpose="finetune", steps=TOTAL, train=train, **{**settings, **changes})


def tiny(name: str = "tiny-vit", seed: int = 0) -> Any:
    """A model whose head is not zero, so that gradients reach everything."""
    model = build(dataclasses.replace(TINY[name], num_classes=7))
    draw(model, torch.Generator().manual_seed(seed))
    with torch.no_grad():
        for head in heads_of(model).values():
            for parameter in head.parameters():
                parameter.normal_(0, 0.3, generator=torch.Generator().manual_seed(seed))
    return model


def images(count: int = 4) -> Tensor:
    return torch.randn(count, 3, 32, 48, generator=torch.Generator().manual_seed(9))


def weights(model: nn.Module) -> dict[str, Tensor]:
    return {name: value.detach().clone() for name, value in model.named_parameters()}


def train(model: nn.Module, given: Recipe, steps: range = range(3)) -> None:
    """Some steps as the loop does them; every parameter that moves has a gradient, and no other."""
    phase(model, given, steps.start, TOTAL)  # a loop wraps the model for several devices here
    optimizer = build_optimizer(model, given)
    for step in steps:
        phase(model, given, step, TOTAL)
        F.cross_entropy(model(images()), torch.tensor([0, 6, 2, 2])).backward()
        for parameter in model.parameters():
            assert (parameter.grad is not None) == parameter.requires_grad
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)


def trained(model: nn.Module) -> set[str]:
    return {name for name, parameter in model.named_parameters() if parameter.requires_grad}


def moved(before: dict[str, Tensor], model: nn.Module) -> set[str]:
    return {name for name, value in weights(model).items() if not torch.equal(before[name], value)}


def in_head(name: str) -> bool:
    return name.startswith("head")


@pytest.mark.parametrize("way", WAYS)
def test_what_is_frozen_stays_to_the_bit_and_all_else_moves(way: str) -> None:
    """Three steps; afterwards everything can be trained again and has its old name."""
    model, given = tiny(), recipe(way, head_first=0.9)
    before = weights(model)
    begin(model, given, seed=1)
    train(model, given)
    finish(model, given)
    assert set(before) == set(weights(model)) == trained(model)
    expected = {
        "all": set(before),
        "head": {name for name in before if in_head(name)},
        "head-first": {name for name in before if in_head(name)},
        "bitfit": {name for name in before if name.endswith("bias") or in_head(name)},
        "lora": {name for name in before if name.endswith(("qkv.weight", "proj.weight", "fc1.weight", "fc2.weight"))}
        - {"patch_embed.proj.weight"}
        | {name for name in before if in_head(name)},
    }[way]
    assert expected == moved(before, model)


@pytest.mark.parametrize(
    ("way", "count"),
    [
        ("all", 86_567_656),
        ("head", 768 * 1000 + 1000),
        ("head-first", 86_567_656),
        # biases of patches, and of 12 blocks with 2 norms, qkv, projection and MLP, and of the final norm
        ("bitfit", 768 + 12 * (2 * 768 + 3 * 768 + 768 + 4 * 768 + 768) + 768 + 769_000),
        # rank * (in + out) of qkv, projection and both matrices of the MLP
        ("lora", 12 * 8 * ((768 + 2304) + (768 + 768) + 2 * (768 + 3072)) + 769_000),
    ],
)
def test_counts_of_b16(way: str, count: int) -> None:
    """How many numbers of ViT-B/16 with 1000 classes each way trains."""
    with torch.device("meta"):
        model = build(vt.find_model("vit-b16"))
    begin(model, recipe(way, lora_rank=8))
    parameters = dict(model.named_parameters())
    assert ever_trained(model, recipe(way)) == trained(model)
    assert count == sum(parameters[name].numel() for name in trained(model))
    optimizer = build_optimizer(model, recipe(way))
    assert count == sum(p.numel() for group in optimizer.param_groups for p in group["params"])


@pytest.mark.parametrize("optimizer", ["sgd", "adam", "lamb"])
def test_the_head_first_and_then_all(optimizer: str) -> None:
    """0.4 of 5 steps are 2: a function of the step alone, also for a run that is resumed beyond them."""
    model, given = tiny(), recipe("head-first", head_first=0.4, optimizer=optimizer)
    begin(model, given)
    before = weights(model)
    assert 2 == head_only_steps(given, TOTAL)
    for step in (4, 0, 2, 1):
        phase(model, given, step, TOTAL)
        assert trained(model) == ({"head.weight", "head.bias"} if step < 2 else set(before))
    train(model, given, range(2))
    assert {"head.weight", "head.bias"} == moved(before, model)
    train(model, given, range(1, 3))  # its optimiser is made while only the head learns
    assert set(before) == moved(before, model)


def test_head_only_keeps_nothing_of_the_backbone_for_a_way_back() -> None:
    """No tensor before the head is part of the graph, so none is held in memory."""
    model = tiny()
    begin(model, recipe("head"))
    tokens = model.features(images()).patches
    assert not tokens.requires_grad
    kept: list[tuple[int, ...]] = []
    with torch.autograd.graph.saved_tensors_hooks(lambda t: kept.append(tuple(t.shape)) or t, lambda t: t):
        model(images())
    assert all(len(shape) <= 2 for shape in kept)  # the head's input (B, D), no tokens (B, N, D)


@pytest.mark.parametrize("name", VITS)
def test_lora_begins_as_the_same_function_and_merges_into_it(name: str) -> None:
    """To the bit at the start; after training, the merged model equals the unmerged and has the plain keys."""
    model, given = tiny(name).eval(), recipe("lora", learning_rate=0.2)
    keys = set(model.state_dict())
    with torch.no_grad():  # PyTorch chooses other kernels where there is to be a way back
        before = model.requires_grad_(False)(images())
        begin(model.requires_grad_(True), given, seed=2)
        assert torch.equal(before, model(images()))
    assert {f"{at}.weight" for at, part in model.named_modules() if hasattr(part, "parametrizations")} == {
        key for key in keys if key.endswith(".weight") and isinstance(model.get_submodule(key[:-7]), nn.Linear)
    } - {key for key in keys if key.startswith(("head", "pre_logits"))}
    model.train()
    train(model, given)
    model.eval()
    unmerged = model(images())
    finish(model, given)
    assert (before - unmerged).abs().max() > 1e-3
    torch.testing.assert_close(unmerged, model(images()), rtol=0, atol=1e-6)
    assert keys == set(model.state_dict())
    plain = build(model.config)
    plain.load_state_dict(model.state_dict(), strict=True)
    assert torch.equal(model(images()), plain.eval()(images()))


def test_loras_update_is_the_papers() -> None:
    """W + B A alpha / rank, A of variance 1 / in and drawn from the seed, B zero."""
    model = vt.create_model("vit-test", num_classes=5)
    twin, other = copy.deepcopy(model), copy.deepcopy(model)
    given = recipe("lora", lora_rank=4)
    for each, seed in ((model, 0), (twin, 0), (other, 1)):
        begin(each, given, seed=seed)
    layer, again, else_ = (each.blocks[1].mlp.fc1.parametrizations.weight for each in (model, twin, other))
    up, down = layer[0].up, layer[0].down
    assert (layer.original.shape[0], 4) == up.shape
    assert (4, layer.original.shape[1]) == down.shape
    assert not up.any()
    assert torch.equal(down, again[0].down)
    assert not torch.equal(down, else_[0].down)
    drawn = torch.cat([p.flatten() * p.shape[1] ** 0.5 for n, p in model.named_parameters() if n.endswith(".down")])
    assert 1.0 == pytest.approx(float(drawn.detach().std()), abs=0.05)
    with torch.no_grad():
        up.normal_(generator=torch.Generator().manual_seed(3))
    expected = layer.original + 8 / 4 * torch.einsum("or,ri->oi", up, down)
    torch.testing.assert_close(expected, model.blocks[1].mlp.fc1.weight)


def test_lora_goes_on_from_its_own_state() -> None:
    """A checkpoint of a run with updates on, loaded into a model that `begin` has made ready with another draw."""
    model, given = tiny(), recipe("lora")
    begin(model, given, seed=1)
    train(model, given)
    resumed = tiny(seed=5)
    begin(resumed, given, seed=4)
    resumed.load_state_dict(model.state_dict(), strict=True)
    finish(model, given)
    finish(resumed, given)
    for name, value in weights(model).items():
        assert torch.equal(value, weights(resumed)[name])


def test_an_average_is_put_in_before_the_merge() -> None:
    """The average follows the updates by their own names, frozen weights with them."""
    model, given = tiny(), recipe("lora")
    begin(model, given)
    average = Average(model, 0.5)
    train(model, given)
    average.update(model, 0)
    average.swap(model)
    expected = model.eval()(images())
    finish(model, given)
    torch.testing.assert_close(expected, model(images()), rtol=0, atol=1e-6)


@pytest.mark.parametrize("way", WAYS)
def test_what_a_person_froze_stays_frozen(way: str) -> None:
    """During the run, and after it; a run that broke off leaves nothing behind for the next one."""
    model = tiny()
    model.pos_embed.requires_grad_(False)
    model.head.bias.requires_grad_(False)
    frozen = {"pos_embed", "head.bias"}
    everything = set(weights(model))
    begin(model, recipe("lora"))
    begin(model, recipe(way))
    for step in range(TOTAL):
        phase(model, recipe(way), step, TOTAL)
        assert not frozen & trained(model)
    finish(model, recipe(way))
    assert everything - frozen == trained(model)
    assert everything == set(weights(model))


def test_freezing_by_hand_between_runs_is_respected() -> None:
    """A run of all weights remembers nothing that the next one would bring back."""
    model = tiny()
    for way in ("all", "head"):
        begin(model, recipe(way))
        finish(model, recipe(way))
    model.requires_grad_(False)
    model.head.requires_grad_(True)
    begin(model, recipe("all"))
    assert {"head.weight", "head.bias"} == trained(model) == set(ever_trained(model, recipe("all")))


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DeviceMesh]:
    """A world of one process: weights are sharded as in a larger one, into a single shard."""
    store = dist.FileStore(str(tmp_path_factory.mktemp("store") / "store"), 1)
    dist.init_process_group("gloo", store=store, rank=0, world_size=1)
    yield init_device_mesh("cpu", (1,))
    dist.destroy_process_group()


@pytest.mark.parametrize("optimizer", ["sgd", "adam", "lamb"])
@pytest.mark.parametrize("way", ["all", "head-first", "lora"])
def test_sharded_weights_are_trained_alike(way: str, optimizer: str, alone: DeviceMesh) -> None:
    """FSDP2 turns every weight into a DTensor; groups, optimisers, average and merge know nothing of it."""
    given = recipe(way, optimizer=optimizer, layer_decay=0.7, head_first=0.3)
    results = []
    for sharded in (False, True):
        model = tiny("tiny-windows")
        begin(model, given, seed=3)
        if sharded:
            for block in model.blocks:
                fully_shard(block, mesh=alone)
            fully_shard(model, mesh=alone)
        average = Average(model, 0.5)
        train(model, given)
        average.update(model, 3)
        average.swap(model)
        finish(model, given)
        results.append({n: v.full_tensor() if sharded else v for n, v in weights(model).items()})
    for name, value in results[0].items():
        torch.testing.assert_close(value, results[1][name], rtol=0, atol=1e-6)


class Somebodys(nn.Module):
    """A model of somebody else's, with a batch norm and no layer called head."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(3, 6, 3), nn.BatchNorm2d(6), nn.AdaptiveAvgPool2d(1), nn.Flatten())
        self.first = nn.Linear(6, 5)
        self.classify = nn.Linear(5, 7)

    def forward(self, x: Tensor) -> Tensor:
        return self.classify(self.first(self.body(x)).relu())


@pytest.mark.parametrize(
    ("model", "names"),
    [
        (tiny(), ["head"]),
        (tiny("tiny-distilled"), ["head", "head_dist"]),
        (tiny("tiny-bit"), ["head.fc"]),
        (Somebodys(), ["classify"]),
        (nn.Linear(3, 2), [""]),
    ],
    ids=["ViT", "distilled", "ResNet", "somebody's", "Linear"],
)
def test_where_the_head_is(model: nn.Module, names: list[str]) -> None:
    assert names == list(heads_of(model))
    begin(model, recipe("head"))
    assert trained(model) == {
        name for name in weights(model) if name.startswith(tuple(f"{at}." if at else "" for at in names))
    }


def test_a_frozen_batch_norm_takes_no_statistics() -> None:
    """Head only leaves somebody else's backbone as it is, statistics too; training all takes them."""
    model = Somebodys()
    for way, moves in (("head", False), ("head-first", True), ("all", True)):
        given = recipe(way, head_first=0.2)
        before = copy.deepcopy(dict(model.named_buffers()))
        begin(model, given)
        model.train()
        train(model, given, range(1))
        assert all(torch.equal(before[name], value) for name, value in model.named_buffers()) == (way != "all")
        train(model, given, range(1, 3))
        assert all(torch.equal(before[name], value) for name, value in model.named_buffers()) != moves
        finish(model, given)


@pytest.mark.parametrize(
    ("model", "way", "words"),
    [
        (build(BIT), "lora", r"(?s)LoRA updates .*it is a ResNet.*--train head"),
        (Somebodys(), "lora", r"(?s)LoRA updates .*it is a Somebodys"),
        (ViT(dataclasses.replace(TINY["tiny-vit"], num_classes=0)), "lora", "no head that could be trained"),
        (ViT(dataclasses.replace(TINY["tiny-vit"], num_classes=0)), "head-first", "no head that could be trained"),
        (nn.Sequential(nn.Flatten()), "head", r"(?s)no head .*Sequential has neither .* nor a last nn.Linear"),
        (nn.Sequential(nn.Flatten(), nn.Linear(4, 3)), "bitfit", "no.* outside its head"),
    ],
)
def test_what_a_model_lacks_is_said(model: nn.Module, way: str, words: str) -> None:
    """In one message, and the model is as it was."""
    before = list(weights(model))
    with pytest.raises(ConfigError, match=words):
        begin(model, recipe(way))
    assert before == list(weights(model))
    assert set(before) == trained(model)
