"""One rank of a world that torchrun starts, sees die and starts anew: run by the distributed tests."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

from vitreous.distributed import joined
from vitreous.errors import VitreousError
from vitreous.training.signals import StopRequests


def main() -> int:
    """As `one_life` in several_ranks.py, whose many imports seven processes can do without."""
    work, life, code = Path(sys.argv[1]), os.environ["TORCHELASTIC_RESTART_COUNT"], 0
    try:
        with joined("cpu") as group, StopRequests("runs/my run"):
            rank = group.world.rank
            group.at_work_on("runs/my run")
            group.barrier()
            (work / f"life-{life}-rank-{rank}").write_text(str(os.getpid()))
            while life == "0" and rank < 2:
                time.sleep(0.05)
            for step in range(5):
                assert group.sum([rank, step]) == [3, 3 * step]
    except VitreousError as error:
        print(error, file=sys.stderr, flush=True)
        code = error.exit_code
    (work / f"code-{life}-{os.environ['RANK']}").write_text(str(code))
    return code


if __name__ == "__main__":
    sys.exit(main())
