"""Run as a script: decodes the files named on its standard input, and says of each what came of it and at what cost."""

from __future__ import annotations

import json
import sys
import time
import warnings

from peak_memory import forget_peak, peak_memory

from vitreous.errors import ImageError
from vitreous.picture.decode import decode
from vitreous.picture.describe import describe

if __name__ == "__main__":
    warnings.simplefilter("error")
    for path in sys.stdin.read().splitlines():
        before, start = forget_peak(), time.perf_counter()
        answer = ""
        for function in (describe, decode):
            try:
                function(path)
            except ImageError as error:
                answer = error.what + (f" ({error.why})" if error.why else "")
        cost = {"seconds": time.perf_counter() - start, "bytes": peak_memory() - before, "answer": answer}
        print(json.dumps({"path": path, **cost}), flush=True)
