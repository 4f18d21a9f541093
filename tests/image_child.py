"""Run as a script: decodes the files named on its standard input, and says of each what came of it and at what cost."""

from __future__ import annotations

import json
import resource
import sys
import time
import warnings

from vitreous.errors import ImageError
from vitreous.picture.decode import decode
from vitreous.picture.describe import describe


def peak() -> int:
    """The most memory this process has had, in bytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


if __name__ == "__main__":
    warnings.simplefilter("error")
    for path in sys.stdin.read().splitlines():
        before, start = peak(), time.perf_counter()
        answer = ""
        for function in (describe, decode):
            try:
                function(path)
            except ImageError as error:
                answer = error.what + (f" ({error.why})" if error.why else "")
        cost = {"seconds": time.perf_counter() - start, "bytes": peak() - before, "peak": peak(), "answer": answer}
        print(json.dumps({"path": path, **cost}), flush=True)
