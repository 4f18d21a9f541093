"""The most memory that this process has had: for scripts that tests start to be measured.

On Linux getrusage begins with the peak of the process that started this one, and hides everything below it.
"""

from __future__ import annotations

import sys
from pathlib import Path

if sys.platform != "win32":
    import resource

_STATUS, _CLEAR = Path("/proc/self/status"), Path("/proc/self/clear_refs")


def peak_memory() -> int:
    """Bytes, since this program began or `forget_peak`."""
    if sys.platform == "win32":
        raise NotImplementedError("nothing here tells it")
    if not _STATUS.exists():
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    lines = _STATUS.read_text().splitlines()
    return 1024 * next(int(line.split()[1]) for line in lines if line.startswith("VmHWM:"))


def forget_peak() -> int:
    """Begin again with what is held now, in bytes; where the system cannot, with the peak so far."""
    if _CLEAR.exists():
        _CLEAR.write_text("5")  # proc(5): the peak becomes what is resident now
    return peak_memory()
