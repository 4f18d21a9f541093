"""How long the command takes to answer: wall time of whole processes, best and median of a few.

`vitreous --help` promises to be there in under 0.35 s; the exit code says whether it was.

    python benchmarks/startup.py
    python benchmarks/startup.py --rounds 20
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import time

PROMISE = 0.35  # seconds, for the help page
COMMANDS = (["--help"], ["--version"], ["models"], ["recipes", "--json"], ["finetune", "--help"], ["finetune"])


def seconds(words: list[str]) -> float:
    """Wall time of one run of the command."""
    began = time.perf_counter()
    subprocess.run([sys.executable, "-m", "vitreous", *words], capture_output=True, check=False)
    return time.perf_counter() - began


def main() -> int:
    """Measure and print; 1 if the help page came too late."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--rounds", type=int, default=7, help="runs of each command")
    rounds = parser.parse_args().rounds
    print(f"{'command':<28}{'best':>8}{'median':>9}")
    late = False
    for words in COMMANDS:
        seconds(words)  # files into the page cache
        times = [seconds(words) for _ in range(rounds)]
        late |= words == ["--help"] and statistics.median(times) > PROMISE
        print(f"vitreous {' '.join(words):<19}{min(times):>6.3f} s{statistics.median(times):>7.3f} s")
    return int(late)


if __name__ == "__main__":
    raise SystemExit(main())
