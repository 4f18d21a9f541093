"""Training and inference images per second of vitreous beside timm, and the machine's matrix-multiply rate, in one run.

On the CPU. Each library lives in a process of its own, as its user would run it; the two take turns, so that a noisy
moment of the machine meets both. Same architecture, same weights (the logits are compared), same batch, precision,
threads and optimiser. vitreous runs under `vitreous.model.prepare.prepare`, timm at its defaults under autocast.

    python benchmarks/throughput.py                         Ti at batch 32 and S at batch 8, about three minutes
    python benchmarks/throughput.py --models vit-b16:8 --rounds 7 --json base.json
    python benchmarks/throughput.py --quick                 a smoke test on vit-test; its figures mean nothing
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import json
import math
import multiprocessing
import os
import platform
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date
from importlib.metadata import version
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vitreous.architecture import ViTConfig
from vitreous.console import duration, say, use
from vitreous.model.create import create_model
from vitreous.model.prepare import prepare
from vitreous.model.vit import ViT
from vitreous.zoo import find_model

TESTS = Path(__file__).resolve().parent.parent / "tests"  # oracles.py there imports timm beside a CPU-only torch
SIDES = ("vitreous", "timm")

Precision = Literal["float32", "bfloat16"]
Mode = Literal["inference", "training"]


@dataclass(frozen=True, kw_only=True)
class Case:
    """One thing to measure."""

    model: str
    batch: int
    mode: Mode
    precision: Precision


@dataclass(frozen=True, kw_only=True)
class Ready:
    """What a side says once a case is built and warm."""

    step_seconds: float
    logits: list[list[float]]
    """Of two images in float32 before any step: both sides must agree."""
    how: str
    """The policy in words."""


@dataclass(frozen=True, kw_only=True)
class Spread:
    """Median of the rounds, with the slowest and the fastest of them."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        """The spread of one figure a round."""
        return cls(median=statistics.median(values), low=min(values), high=max(values))

    def words(self, digits: int) -> str:
        """`16.3 (15.9-16.8)`."""
        return f"{self.median:.{digits}f} ({self.low:.{digits}f}-{self.high:.{digits}f})"


# --- arithmetic: what one image costs ---------------------------------------------------------------------------------


def flops(config: ViTConfig, mode: Mode) -> int:
    """Exact floating-point operations of all matrix products for one image; a multiply-add counts as two.

    Backward costs twice forward: one product for the gradient of each factor. Only the images need no gradient.
    Operations that a library repeats or leaves out are not counted: this is what the mathematics asks for.

    Args:
        config: the architecture, at the resolution of its position table.
        mode: forward only, or forward and backward.
    """
    patches = config.grid[0] * config.grid[1]
    tokens = patches + bool(config.class_token)
    dim, hidden = config.embed_dim, config.mlp_dim
    embedding = patches * config.in_channels * config.patch_size[0] * config.patch_size[1] * dim
    dense = tokens * (4 * dim * dim + 2 * dim * hidden)  # q, k, v, output; the two layers of the MLP
    attention = 2 * tokens * tokens * dim  # q k^T, and weights times v
    head = dim * config.num_classes
    forward = 2 * (embedding + config.depth * (dense + attention) + head)
    return forward if mode == "inference" else 3 * forward - 2 * embedding


# --- one side, in its own process -------------------------------------------------------------------------------------


def serve(side: str, threads: int | None, pipe: Connection) -> None:
    """Build each case that arrives, then run as many steps as asked and answer with the seconds they took."""
    if threads:
        torch.set_num_threads(threads)
    while (case := pipe.recv()) is not None:
        step, ready = build(side, case)
        pipe.send(ready)
        while count := pipe.recv():
            began = time.perf_counter()
            for _ in range(count):
                step()
            pipe.send(time.perf_counter() - began)


def build(side: str, case: Case) -> tuple[Callable[[], None], Ready]:
    """One step of `case` as a function, warmed up."""
    reference = create_model(case.model, seed=0)
    nn.init.normal_(reference.head.weight, std=0.1, generator=torch.Generator().manual_seed(1))
    images = torch.randn(case.batch, 3, *reference.config.image_size, generator=torch.Generator().manual_seed(2))
    labels = torch.arange(case.batch) % reference.config.num_classes
    model: nn.Module = reference if side == "vitreous" else timm_twin(reference)
    with torch.inference_mode():
        logits = model.eval()(images[:2]).tolist()
    model.train(case.mode == "training")
    if side == "vitreous":
        prepared = prepare(model, for_=case.mode, device="cpu", precision=case.precision)
        forward: Callable[[Tensor], Tensor] = prepared
        how = f"{prepared.policy.attention} attention" + (", kept heap" if prepared.policy.kept_heap else "")
    else:
        forward, how = under_autocast(model, case.precision), "as it comes"
    step = training_step(model, forward, images, labels) if case.mode == "training" else inference_step(forward, images)
    step()
    began = time.perf_counter()
    step()
    return step, Ready(step_seconds=time.perf_counter() - began, logits=logits, how=how)


def timm_twin(model: ViT) -> nn.Module:
    """timm's VisionTransformer of the same architecture, holding the same weights."""
    if str(TESTS) not in sys.path:
        sys.path.insert(0, str(TESTS))
    from oracles import timm  # only this side needs timm

    c = model.config
    twin = timm().models.vision_transformer.VisionTransformer(
        img_size=c.image_size,
        patch_size=c.patch_size,
        num_classes=c.num_classes,
        embed_dim=c.embed_dim,
        depth=c.depth,
        num_heads=c.num_heads,
        mlp_ratio=c.mlp_dim / c.embed_dim,
    )
    twin.load_state_dict(model.state_dict(), strict=True)
    return twin


def under_autocast(model: nn.Module, precision: Precision) -> Callable[[Tensor], Tensor]:
    """How anybody runs a model in a precision."""

    def forward(images: Tensor) -> Tensor:
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=precision == "bfloat16"):
            return model(images).float()

    return forward


def inference_step(forward: Callable[[Tensor], Tensor], images: Tensor) -> Callable[[], None]:
    """Images to logits."""

    def step() -> None:
        with torch.inference_mode():
            forward(images)

    return step


def training_step(
    model: nn.Module, forward: Callable[[Tensor], Tensor], images: Tensor, labels: Tensor
) -> Callable[[], None]:
    """Forward, backward and fused AdamW, the same for both sides."""
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-5, fused=True)

    def step() -> None:
        optimizer.zero_grad(set_to_none=True)
        F.cross_entropy(forward(images), labels).backward()
        optimizer.step()

    return step


# --- the run ----------------------------------------------------------------------------------------------------------


class MatrixMultiply:
    """The machine's best matrix-multiply rate, sampled again and again during the run.

    Args:
        side: rows and columns of the square factors.
    """

    def __init__(self, side: int) -> None:
        self.flops = 2 * side**3
        self.factors = {name: torch.randn(2, side, side).to(getattr(torch, name)) for name in ("float32", "bfloat16")}
        self.best = dict.fromkeys(self.factors, 0.0)
        for name in self.factors:
            self.sample(name)

    def sample(self, precision: str) -> None:
        """Multiply three times; the best rate so far, in operations per second, stays."""
        x, w = self.factors[precision]
        for _ in range(3):
            began = time.perf_counter()
            F.linear(x, w)
            self.best[precision] = max(self.best[precision], self.flops / (time.perf_counter() - began))


def measure(case: Case, pipes: dict[str, Connection], gemm: MatrixMultiply, rounds: int, turn: float) -> dict[str, Any]:
    """Both sides of one case in turns; images per second, ratio, and how it was run."""
    ready: dict[str, Ready] = {}
    for side, pipe in pipes.items():  # one after the other: neither warms up on the other's time
        pipe.send(case)
        ready[side] = pipe.recv()
    apart = (torch.tensor(ready["vitreous"].logits) - torch.tensor(ready["timm"].logits)).abs().max().item()
    if apart > 1e-4:
        raise SystemExit(f"{case.model}: logits differ by {apart:.1e}: the two sides do not run the same model")
    counts = {side: max(1, math.ceil(turn / r.step_seconds)) for side, r in ready.items()}
    rates: dict[str, list[float]] = {side: [] for side in pipes}
    for number in range(rounds):
        gemm.sample(case.precision)
        for side in sorted(pipes, reverse=bool(number % 2)):  # who begins changes from round to round
            pipes[side].send(counts[side])
            rates[side].append(case.batch * counts[side] / pipes[side].recv())
    for pipe in pipes.values():
        pipe.send(0)
    ratios = [ours / theirs for ours, theirs in zip(rates["vitreous"], rates["timm"], strict=True)]
    return {
        **dataclasses.asdict(case),
        "gflop_per_image": flops(find_model(case.model), case.mode) / 1e9,
        "images_per_second": {side: dataclasses.asdict(Spread.of(values)) for side, values in rates.items()},
        "ratio": dataclasses.asdict(Spread.of(ratios)),
        "how": {side: r.how for side, r in ready.items()},
        "logits_apart": apart,
    }


def run(cases: Sequence[Case], *, rounds: int, turn: float, gemm_side: int, threads: int | None) -> dict[str, Any]:
    """Measure all cases and gather what a reader needs to judge the figures.

    Args:
        cases: inference first: a training policy may keep the heap for the rest of the process.
        rounds: turns of each side in each case.
        turn: least seconds of one turn.
        gemm_side: size of the matrices whose product is the yardstick.
        threads: per process; None leaves PyTorch's choice.
    """
    began = time.perf_counter()
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else 0.0
    if threads:
        torch.set_num_threads(threads)
    gemm = MatrixMultiply(gemm_side)
    context = multiprocessing.get_context("spawn")
    with contextlib.ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory())
        os.environ["VITREOUS_CACHE"] = folder  # what prepare() chooses is measured now, not remembered
        pipes: dict[str, Connection] = {}
        for side in SIDES:
            pipes[side], theirs = context.Pipe()
            process = context.Process(target=serve, args=(side, threads, theirs), daemon=True)
            process.start()
            stack.callback(process.terminate)
        results = []
        for case in cases:
            results.append(measure(case, pipes, gemm, rounds, turn))
            say(line(results[-1], gemm))
        for pipe in pipes.values():
            pipe.send(None)
    for result in results:
        peak = gemm.best[result["precision"]]
        result["share_of_gemm"] = {
            side: rate["median"] * result["gflop_per_image"] * 1e9 / peak
            for side, rate in result["images_per_second"].items()
        }
    return {
        "date": date.today().isoformat(),
        "seconds": time.perf_counter() - began,
        "versions": {name: version(name) for name in ("vitreous", "timm", "torch")}
        | {"python": platform.python_version()},
        "machine": {
            "cpus": os.cpu_count(),
            "instructions": torch.backends.cpu.get_cpu_capability(),
            "threads": torch.get_num_threads(),
            "load_before": load,
        },
        "rounds": rounds,
        "gemm_gflop_per_second": {name: best / 1e9 for name, best in gemm.best.items()},
        "cases": results,
    }


HEADER = (
    f"{'model':<10}{'batch':>5}  {'what':<10}{'precision':<10}{'vitreous, images/s':>24}{'timm, images/s':>24}"
    f"{'ratio':>20}{'of GEMM':>9}"
)


def line(result: dict[str, Any], gemm: MatrixMultiply) -> str:
    """One case as a row under HEADER; the share is against the best product so far."""
    ours, theirs = (Spread(**result["images_per_second"][side]) for side in SIDES)
    digits = 1 if ours.median < 1000 else 0
    share = ours.median * result["gflop_per_image"] * 1e9 / gemm.best[result["precision"]]
    return (
        f"{result['model']:<10}{result['batch']:>5}  {result['mode']:<10}{result['precision']:<10}"
        f"{ours.words(digits):>24}{theirs.words(digits):>24}{Spread(**result['ratio']).words(2):>20}{share:>9.0%}"
    )


def main() -> None:
    """Measure, print a table, write JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="+", default=["vit-ti16:32", "vit-s16:8"], metavar="NAME:BATCH")
    parser.add_argument("--modes", nargs="+", default=["inference", "training"], choices=["inference", "training"])
    parser.add_argument("--rounds", type=int, default=5, help="turns of each side (5)")
    parser.add_argument("--threads", type=int, help="CPU threads (PyTorch's choice)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write everything measured as JSON")
    parser.add_argument("--quick", action="store_true", help="vit-test, two rounds: does it run?")
    asked = parser.parse_args()
    use(sys.stdout)
    models = [name.rpartition(":") for name in (["vit-test:4"] if asked.quick else asked.models)]
    cases = [
        Case(model=name, batch=int(batch), mode=mode, precision=precision)
        for mode in sorted(asked.modes)  # inference before training, see run()
        for name, _, batch in models
        for precision in ("float32", "bfloat16")
    ]
    say(HEADER)
    found = run(
        cases,
        rounds=2 if asked.quick else asked.rounds,
        turn=0.01 if asked.quick else 0.5,
        gemm_side=256 if asked.quick else 2048,
        threads=asked.threads,
    )
    peaks = ", ".join(f"{name} {rate:.0f} GFLOP/s" for name, rate in found["gemm_gflop_per_second"].items())
    say("", f"Best matrix multiply: {peaks}; {found['machine']['threads']} threads; {duration(found['seconds'])}")
    if (load := found["machine"]["load_before"]) > 0.5:
        say(f"The machine was busy before the run (load {load:.1f}): the figures are too low and uneven.")
    if asked.json:
        asked.json.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
