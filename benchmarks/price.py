"""What runs were predicted to take beside what they took: time and memory, in real runs of the command.

Each run is a process of its own. Two predictions are held against it: the one of `vitreous cost --measure`, made before
anything is begun, and the one that the run itself makes from its first 20 steps and writes into run.json. Steps are as
many as fill the asked time. The promise is 20 %, for runs of three minutes or more, in the median of three.

    python benchmarks/price.py                    three runs of three minutes each of two models: 20 minutes
    python benchmarks/price.py --models vit-ti16:96 --minutes 5 --rounds 1 --json price.json
    python benchmarks/price.py --quick            seconds; its figures mean nothing
"""

from __future__ import annotations

import argparse
import json
import math
import os
import statistics
import subprocess
import sys
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from vitreous.console import duration, say, use

RECIPE, DATA = "small-pretrain", "digits"
PROMISE = 0.2


@dataclass(frozen=True, kw_only=True)
class Run:
    """One run: seconds and bytes, as predicted before, predicted on the way, and measured."""

    steps: int
    before_seconds: float
    forecast_seconds: float
    forecast_bytes: float
    seconds: float
    bytes: float


def command(words: list[str]) -> Any:
    """What a vitreous command answers with, as JSON."""
    done = subprocess.run(
        [sys.executable, "-m", "vitreous", *words, "--json"], capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise SystemExit(f"vitreous {' '.join(words)}\n{done.stderr}")
    return json.loads(done.stdout)


def run(model: str, image_size: int, seconds: float, folder: Path) -> Run:
    """Ask for the price, fill the time with steps, train, and read what run.json says of its price."""
    words = ["--recipe", RECIPE, "--image-size", str(image_size)]
    here = command(["cost", model, *words, "--data", DATA, "--measure"])["run"]
    step = here["here"]["seconds"] / here["steps"]
    steps = max(40, math.ceil(seconds / step))
    command(["pretrain", DATA, "--model", model, *words, "--steps", str(steps), "--run", str(folder)])
    price = json.loads((folder / "run.json").read_text(encoding="utf-8"))["price"]
    predicted, measured = price["predicted"] or {}, price["measured"]
    return Run(
        steps=steps,
        before_seconds=steps * step,
        forecast_seconds=predicted.get("seconds", math.nan),
        forecast_bytes=predicted.get("bytes", math.nan),
        seconds=measured["seconds"],
        bytes=measured["bytes"],
    )


def off(predicted: float, measured: float) -> float:
    """How much more it took than was predicted, as a share of what it took."""
    return measured / predicted - 1


def line(model: str, found: list[Run]) -> str:
    """Medians of one model's runs as a row."""
    middle = {name: statistics.median(asdict(each)[name] for each in found) for name in asdict(found[0])}
    return (
        f"{model:<16}{middle['steps']:>7,.0f}{duration(middle['seconds']):>12}"
        f"{statistics.median(off(each.before_seconds, each.seconds) for each in found):>+16.0%}"
        f"{statistics.median(off(each.forecast_seconds, each.seconds) for each in found):>+14.0%}"
        f"{middle['bytes'] / 1e9:>12.2f}"
        f"{statistics.median(off(each.forecast_bytes, each.bytes) for each in found):>+12.0%}"
    )


def main() -> int:
    """Run, print a table, write JSON; 1 if a forecast was off by more than was promised."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="+", default=["vit-ti16:96", "vit-s16:64"], metavar="NAME:PIXELS")
    parser.add_argument("--minutes", type=float, default=3.2, help="least length of a run (3.2)")
    parser.add_argument("--rounds", type=int, default=3, help="runs of each model (3)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write everything measured as JSON")
    parser.add_argument("--quick", action="store_true", help="vit-test for two seconds: does it run?")
    asked = parser.parse_args()
    use(sys.stdout)
    models = ["vit-test:32"] if asked.quick else asked.models
    rounds, seconds = (1, 2.0) if asked.quick else (asked.rounds, 60 * asked.minutes)
    say(f"{'model':<16}{'steps':>7}{'took':>12}{'cost --measure':>16}{'forecast':>14}{'peak, GB':>12}{'forecast':>12}")
    everything: dict[str, list[Run]] = {}
    with tempfile.TemporaryDirectory() as folder:
        os.environ["VITREOUS_CACHE"] = str(Path(folder) / "cache")  # measured now, not remembered
        for case in models:
            name, _, pixels = case.rpartition(":")
            everything[case] = [
                run(name, int(pixels), seconds, Path(folder) / f"{name}-{pixels}-{i}") for i in range(rounds)
            ]
            say(line(case, everything[case]))
    if asked.json:
        content = {case: [asdict(each) for each in found] for case, found in everything.items()}
        asked.json.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
    if asked.quick:
        return 0
    medians = [
        abs(statistics.median(off(getattr(each, f"forecast_{what}"), getattr(each, what)) for each in found))
        for found in everything.values()
        for what in ("seconds", "bytes")
    ]
    say("", f"Promised within {PROMISE:.0%}: the largest median is off by {max(medians):.0%}.")
    return int(max(medians) > PROMISE)


if __name__ == "__main__":
    raise SystemExit(main())
