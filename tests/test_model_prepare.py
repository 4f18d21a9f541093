"""The speed policy is put on from outside, chosen by measuring, said in words, and changes numbers only as asked."""

from __future__ import annotations

import copy
import json
import os
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from random_vit import BATCH, random_images, random_vit
from torch import nn
from vit_options import drawn, option

from vitreous.architecture import ResNetConfig
from vitreous.errors import ResourceError, UsageError
from vitreous.model import prepare as room
from vitreous.model.create import create_model
from vitreous.model.prepare import choose_policy, find_device, prepare

TIMES = {"float32 fused": 4.0, "float32 matmul": 3.0, "bfloat16 fused": 1.0, "bfloat16 matmul": 2.0}


@pytest.fixture
def measured(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[str]:
    """No clock: TIMES is what measuring finds; the list says what was measured, in order. The cache starts empty."""
    calls: list[str] = []

    def time_block(_: Any, for_: str, tokens: int) -> dict[str, float]:
        calls.append(f"{for_} {tokens}")
        return dict(TIMES)

    monkeypatch.setenv("VITREOUS_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(room, "_time_block", time_block)
    return calls


@torch.no_grad()
@pytest.mark.parametrize("for_", ["training", "inference"])
def test_float32_leaves_the_logits_alone(for_: Any) -> None:
    """Prepared in float32, the model answers as before, whatever form of attention was found to be faster."""
    model, images = random_vit(), random_images()
    expected = model(images)
    prepared = prepare(model, for_=for_, device="cpu", precision="float32")
    assert prepared.model is model
    assert (prepared.policy.device, prepared.policy.precision) == ("cpu", "float32")
    torch.testing.assert_close(prepared(images), expected, rtol=0, atol=1e-5)


@torch.no_grad()
def test_bfloat16_answers_in_float32() -> None:
    """Products in bfloat16, logits in float32, close to those of float32 and not equal to them."""
    model, images = random_vit(), random_images()
    expected = model(images)
    actual = prepare(model, for_="inference", device="cpu", precision="bfloat16")(images)
    assert actual.dtype == torch.float32
    assert F.cosine_similarity(actual.flatten(), expected.flatten(), dim=0) > 0.999
    assert not torch.allclose(actual, expected, rtol=0, atol=1e-5)


def test_training_in_bfloat16_keeps_float32_weights() -> None:
    """Parameters and gradients stay in float32."""
    model = random_vit()
    prepare(model, for_="training", device="cpu", precision="bfloat16")(random_images()).square().sum().backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert (parameter.dtype, parameter.grad.dtype) == (torch.float32, torch.float32)


@pytest.mark.parametrize(
    ("precision", "expected"),
    [("auto", ("bfloat16", "fused")), ("float32", ("float32", "matmul")), ("bfloat16", ("bfloat16", "fused"))],
)
def test_the_fastest_allowed_candidate_wins(measured: list[str], precision: Any, expected: tuple[str, str]) -> None:
    """Measuring decides what was left open, in every block, and the reason says which and why."""
    prepared = prepare(random_vit(), for_="training", device="cpu", precision=precision)
    assert (prepared.policy.precision, prepared.policy.attention) == expected
    assert [block.attn.form for block in prepared.model.blocks] == [expected[1]] * 3
    assert ("fastest here" if precision == "auto" else "as asked") in prepared.policy.reason
    assert " ".join(expected) in prepared.policy.reason
    assert measured == ["training 16"]


def test_measuring_happens_once_a_machine(measured: list[str]) -> None:
    """The second question about the same block is answered from the cache; another purpose or shape is measured."""
    first = choose_policy(random_vit(), for_="training", device="cpu")
    assert first == choose_policy(random_vit(seed=3), for_="training", device="cpu")
    choose_policy(random_vit(), for_="inference", device="cpu")
    choose_policy(random_vit(image_size=(48, 40)), for_="inference", device="cpu")
    assert measured == ["training 16", "inference 16", "inference 31"]


@pytest.mark.parametrize("content", ["", "{", "[]", "null", '{"other": 3}'])
def test_a_damaged_cache_is_measured_anew(measured: list[str], content: str) -> None:
    """What lies in the cache can never stop a run."""
    cache = Path(os.environ["VITREOUS_CACHE"])
    cache.mkdir()
    (cache / "measured.json").write_text(content)
    assert choose_policy(random_vit(), for_="training", device="cpu").precision == "bfloat16"
    assert TIMES in json.loads((cache / "measured.json").read_text()).values()
    assert measured == ["training 16"]


def test_a_cache_that_cannot_be_written(measured: list[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A read-only home costs a second measurement and nothing else."""
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("VITREOUS_CACHE", str(tmp_path / "file" / "cache"))
    for _ in range(2):
        assert choose_policy(random_vit(), for_="training", device="cpu").precision == "bfloat16"
    assert len(measured) == 2


def test_real_measuring_gives_every_candidate_a_time(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Unpatched: two precisions, two forms, positive times, all of them in the reason."""
    monkeypatch.setenv("VITREOUS_CACHE", str(tmp_path))
    policy = choose_policy(random_vit(), for_="training", device="cpu")
    (times,) = json.loads((tmp_path / "measured.json").read_text()).values()
    assert times.keys() == TIMES.keys()
    assert all(time > 0 for time in times.values())
    assert all(name in policy.reason for name in TIMES)
    assert f"{policy.precision} {policy.attention}" == min(times, key=times.__getitem__)


@pytest.mark.parametrize("dropout", [0.0, 0.1])
def test_measuring_leaves_the_world_alone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, dropout: float) -> None:
    """Random numbers, gradients and weights are as before: a first run equals one that finds the cache filled."""
    monkeypatch.setenv("VITREOUS_CACHE", str(tmp_path))
    model = random_vit(dropout=dropout).train()
    before = copy.deepcopy(model.state_dict())
    torch.manual_seed(3)
    expected = torch.rand(4)
    torch.manual_seed(3)
    choose_policy(model, for_="training", device="cpu")
    assert torch.is_grad_enabled()
    assert all(p.grad is None for p in model.parameters())
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert [block.attn.form for block in model.blocks] == ["fused"] * 3
    assert torch.equal(expected, torch.rand(4))


@torch.no_grad()
def test_inference_is_evaluation() -> None:
    """A model prepared for inference does not drop anything, even if it came from a training loop."""
    prepared = prepare(random_vit(dropout=0.5).train(), for_="inference", device="cpu", precision="float32")
    images = random_images()
    assert torch.equal(prepared(images), prepared(images))


@torch.no_grad()
def test_anybodys_module() -> None:
    """Any module with forward(images) -> logits can be prepared; nothing of it is measured."""
    model = nn.Sequential(nn.Flatten(), nn.Linear(3 * 24 * 40, 11))
    images = random_images()
    expected = model(images)
    prepared = prepare(model, for_="inference", device="cpu")
    assert prepared.policy.precision == "float32"
    assert torch.equal(prepared(images), expected)
    lower = prepare(model, for_="inference", device="cpu", precision="bfloat16")
    assert lower.policy.precision == "bfloat16"
    assert lower(images).shape == (BATCH, 11)


def test_a_resnet_takes_the_rule_and_a_hybrid_is_measured_by_its_blocks(measured: list[str]) -> None:
    """A ResNet has no attention to choose a form of; its precision is float32 unless another is asked for."""
    resnet = create_model(ResNetConfig(layers=(1,), image_size=(32, 48), num_classes=3), seed=0)
    for for_ in ("training", "inference"):
        policy = choose_policy(resnet, for_=for_, device="cpu")
        assert ("float32", "float32: nothing was measured for this kind of model or device") == (
            policy.precision,
            policy.reason,
        )
    assert "bfloat16" == choose_policy(resnet, for_="training", device="cpu", precision="bfloat16").precision
    assert measured == []
    hybrid = choose_policy(drawn(option("hybrid")), for_="training", device="cpu")
    assert ("bfloat16", ["training 31"]) == (hybrid.precision, measured)


@pytest.mark.parametrize("name", ["windows and tokens in front", "axial", "semantic tokens", "gated", "layer scale"])
def test_every_kind_of_block_can_be_measured(name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Unpatched; and what was measured for one kind is not taken for another."""
    monkeypatch.setenv("VITREOUS_CACHE", str(tmp_path))
    monkeypatch.setattr(room, "_PROBE_FLOPS", 1e6)
    policy = choose_policy(drawn(option(name)), for_="training", device="cpu")
    assert all(time in policy.reason for time in TIMES)
    choose_policy(random_vit(image_size=(32, 48)), for_="training", device="cpu")
    choose_policy(random_vit(), for_="training", device="cpu")
    expected = 2 if name == "layer scale" else 3  # it costs next to nothing, and is measured as a plain block
    assert expected == len(json.loads((tmp_path / "measured.json").read_text()))


def test_threads_of_a_hybrid_are_not_judged_by_its_small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its convolutions are the larger part, and share well."""
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        monkeypatch.setattr(room, "_times", lambda *_: {"x": 1.0})
        assert 1 == room.choose_threads(random_vit(), for_="training", device="cpu")
        assert 2 == room.choose_threads(drawn(option("hybrid")), for_="training", device="cpu")
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize("name", ["tpu", "gpu", "cpu:x", ""])
def test_devices_that_do_not_exist(name: str) -> None:
    """A word that is no device is a usage error with the words that are."""
    with pytest.raises(UsageError, match="auto, cpu, cuda, cuda:1 or mps"):
        find_device(name)


@pytest.mark.parametrize("name", ["meta", "xpu"])
def test_devices_vitreous_does_not_know(name: str) -> None:
    """PyTorch knows more devices than this package was written for."""
    with pytest.raises(UsageError, match=f"does not run on '{name}'"):
        find_device(name)


def test_devices_that_are_not_here(monkeypatch: pytest.MonkeyPatch) -> None:
    """A GPU that is not there is a resource error; auto falls back to what is there."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    assert find_device("auto") == torch.device("cpu")
    for name in ("cuda", "cuda:1", "mps", "cpu:1"):
        with pytest.raises(ResourceError, match=f"device {name} is not there"):
            prepare(random_vit(), for_="training", device=name)


def test_keeping_the_heap_can_be_forbidden(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is a choice for the CPU, and an environment variable turns it off."""
    monkeypatch.setenv("VITREOUS_KEEP_HEAP", "0")
    for for_ in ("training", "inference"):
        assert not choose_policy(random_vit(), for_=for_, device="cpu", precision="float32").kept_heap


def test_no_bits_of_a_model_know_of_it() -> None:
    """Weights keep their names inside: what is saved is the model, not its wrapping."""
    model = random_vit()
    prepared = prepare(model, for_="training", device="cpu", precision="float32")
    assert list(prepared.model.state_dict()) == list(random_vit().state_dict())
    assert {name.removeprefix("model.") for name in prepared.state_dict()} == set(model.state_dict())


@pytest.mark.parametrize(("alone", "together", "expected"), [(1.0, 0.95, 1), (1.0, 0.6, 2), (1.0, 3.0, 1)])
def test_a_narrow_model_gets_one_thread_unless_sharing_pays(
    monkeypatch: pytest.MonkeyPatch, alone: float, together: float, expected: int
) -> None:
    """All threads must take at most four fifths of one thread's time; the count is left as it was."""
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        monkeypatch.setattr(room, "_times", lambda *_: {"x": alone if torch.get_num_threads() == 1 else together})
        assert expected == room.choose_threads(random_vit(), for_="training", device="cpu")
        assert 2 == torch.get_num_threads()
        wide = create_model("vit-ti16", image_size=32)
        assert 2 == room.choose_threads(wide, for_="training", device="cpu")
    finally:
        torch.set_num_threads(before)
