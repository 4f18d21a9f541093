"""A run of a few weights that `prove` can open, in this process or by name in another, and some that forget things."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import torch
from torch import nn

from vitreous.data.feeding.order import batch_members
from vitreous.errors import DataError
from vitreous.training.learning.average import Average
from vitreous.training.saving import checkpoint


class SmallSession:
    """Learns noise with dropout, AdamW and an average of the weights."""

    def __init__(self, start: Path | None) -> None:
        torch.manual_seed(7)
        self.model = nn.Sequential(nn.Linear(5, 11), nn.Dropout(0.3), nn.Linear(11, 3)).train()
        self.optimizer = torch.optim.AdamW(self.model.parameters(), lr=0.01)
        self.average = Average(self.model, 0.9)
        self.step = 0
        if start is not None:
            state = checkpoint.read(start)
            checkpoint.restore(state, self.model, self.optimizer, self.average)
            self.step = state.step

    def members(self) -> list[int]:
        return batch_members(seed=3, step=self.step, batch_size=4, count=13)[1].tolist()

    def advance(self) -> list[str]:
        torch.manual_seed(100 + self.step)
        members = self.members()
        images = torch.stack([torch.randn(5, generator=torch.Generator().manual_seed(n)) for n in members])
        self.model(images).square().mean().backward()
        self.optimizer.step()
        self.optimizer.zero_grad()
        self.average.update(self.model, self.step)
        self.step += 1
        return [f"{n}.png" for n in members]

    def state(self) -> checkpoint.State:
        return checkpoint.capture(self.step, self.model, self.optimizer, self.average, seconds=1.0, meter={})


class Forgetful(SmallSession):
    """Begins its moments again in every process, and the order of images too."""

    def state(self) -> checkpoint.State:
        state = super().state()
        return state if self.step != 1 else dataclasses.replace(state, optimizer={})

    def members(self) -> list[int]:
        return [0, 1, 2, 3] if not self.optimizer.state else super().members()


def open_small(run: Path, start: Path | None) -> SmallSession:  # noqa: ARG001
    return SmallSession(start)


def open_forgetful(run: Path, start: Path | None) -> SmallSession:  # noqa: ARG001
    return Forgetful(start)


def open_broken(run: Path, start: Path | None) -> SmallSession:
    if start is not None and run not in start.parents:
        raise DataError("the images are gone", where="photos", why="somebody removed them")
    return SmallSession(start)
