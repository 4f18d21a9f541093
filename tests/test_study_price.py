"""Time on this machine is measured in real passes of the real model, once, and leaves nothing behind."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from vitreous.config import Recipe
from vitreous.study import price
from vitreous.study.price import Measured, measure
from vitreous.zoo import find_model

ADAM = Recipe(name="adam", purpose="pretrain", steps=1, batch_size=6, clip_norm=1.0, average_decay=0.9, dropout=0.1)


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VITREOUS_CACHE", str(tmp_path))


def test_twenty_passes_or_more(monkeypatch: pytest.MonkeyPatch) -> None:
    """After some that only warm up; what was measured is remembered, and other settings are measured anew."""
    counted: list[int] = []
    real = price._passes

    def passes(*given: object) -> Measured:
        counted.append(1)
        return real(*given)  # type: ignore[arg-type]

    monkeypatch.setattr(price, "_passes", passes)
    config, threads = find_model("vit-mu16-32"), torch.get_num_threads()
    torch.manual_seed(3)
    expected = torch.rand(4)
    torch.manual_seed(3)
    first = measure(config, ADAM, micro_batch=4)
    assert torch.equal(expected, torch.rand(4))
    assert torch.get_num_threads() == threads
    assert first.passes >= 20
    assert first.micro_batch == 4
    assert min(first.pass_seconds, first.update_seconds) > 0
    assert measure(config, ADAM, micro_batch=4) == first
    assert counted == [1]
    measure(config, replace(ADAM, train="head"), micro_batch=4)
    measure(config, ADAM, micro_batch=4, gradient_checkpointing=True)
    assert len(counted) == 3


def test_a_micro_batch_is_never_more_than_the_batch() -> None:
    assert measure(find_model("vit-mu16-32"), ADAM, micro_batch=50, precision="float32").micro_batch == 6


def test_a_step_is_its_passes_and_one_update() -> None:
    made = Measured(
        device="cpu", threads=1, precision="float32", micro_batch=8, passes=20, pass_seconds=0.5, update_seconds=0.25
    )
    assert made.step_seconds(32) == 4 * 0.5 + 0.25
    assert made.images_per_second(32) == 32 / 2.25
