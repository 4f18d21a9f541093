"""How long a million images in tar shards take to be found, what their index weighs, and how shards are read from afar.

The shards are synthetic, tiny and written first, to memory where there is some: what is measured is our work, not a
disk's. Every figure comes from a process of its own; times are the middle of --rounds. An epoch is every batch's
members and their names; no image is decoded. From afar is a server on this machine that waits before each answer.

    python benchmarks/index.py                     a million images; two minutes and 2.1 GB of memory or disk
    python benchmarks/index.py --afar              images/s from a server 20 ms away, with and without read-ahead
    python benchmarks/index.py --quick             both, a thousand images: does it run?
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

import vitreous
from vitreous.console import say, use
from vitreous.data.feeding.order import batch_members
from vitreous.data.feeding.threads import in_order
from vitreous.data.imageset import ImageSet
from vitreous.data.layouts.found import Asked
from vitreous.data.layouts.remote.read_ahead import ReadAhead, Shelf
from vitreous.data.layouts.remote.remote_file import RemoteFile
from vitreous.data.layouts.shards.shard_index import index_shards
from vitreous.data.layouts.shards.shards import shard_set
from vitreous.data.recognise import recognise
from vitreous.data.sources import open_splits

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))  # for what functions import

CLASSES, BATCH, EPOCHS = 100, 256, 3
PROMISE = 10.0
"""Seconds until a million images are found, with nothing remembered, on two cores that have nothing else to do."""


# ---------------------------------------------------------------- shards


def header(name: str, size: int) -> bytes:
    """A ustar header, much faster than tarfile's."""
    head = bytearray(512)
    head[: len(name)] = name.encode()
    head[100:148] = b"0000644\0" + b"0000000\0" * 2 + b"%011o\0" % size + b"00000000000\0"
    head[148:157] = b"        0"
    head[257:265] = b"ustar\x0000"
    head[148:156] = b"%06o\0 " % sum(head)
    return bytes(head)


def member(name: str, content: bytes) -> bytes:
    """A file in a tar file."""
    return header(name, len(content)) + content + bytes(-len(content) % 512)


def write_shards(folder: Path, images: int, shards: int, image: Callable[[int], bytes]) -> None:
    """Shards of samples with a label each."""
    ends = [images * shard // shards for shard in range(shards + 1)]
    for shard in range(shards):
        with (folder / f"{shard:05d}.tar").open("wb") as file:
            for number in range(ends[shard], ends[shard + 1]):
                label = member(f"{number:08d}.cls", b"%d" % (number % CLASSES))
                file.write(member(f"{number:08d}.png", image(number)) + label)
            file.write(bytes(1024))


def tiny_images() -> Callable[[int], bytes]:
    """Makes PNG files of a few bytes, each with another picture: copies would be found."""
    from tar_shards import dot

    return dot


# ---------------------------------------------------------------- measured in processes of their own


def resident() -> float:
    """MiB of this process that are in memory now; on systems without /proc, the most that ever were."""
    from peak_memory import forget_peak

    return forget_peak() / 2**20


def timed_index(folder: str) -> dict[str, float]:
    """Seconds until every image is known, cold or warm: whoever calls removes what is remembered."""
    before, start, busy = resident(), time.perf_counter(), time.process_time()
    recognise(folder, Asked())
    return {
        "seconds": time.perf_counter() - start,
        "cpu_seconds": time.process_time() - busy,
        "more_mib": resident() - before,
    }


def timed_start(folder: str) -> dict[str, float]:
    """Seconds until training could begin: a thousand images read, and a part held out."""
    start, busy = time.perf_counter(), time.process_time()
    open_splits(folder, val=0.01, seed=0)
    return {"seconds": time.perf_counter() - start, "cpu_seconds": time.process_time() - busy}


def weighed(folder: str) -> dict[str, float]:
    """Bytes for each image, of the index and of all that stands ready for reading."""
    paths = sorted(Path(folder).glob("*.tar"))
    tracemalloc.start()
    index = index_shards(paths)
    count = len(index.offsets)
    alone = tracemalloc.get_traced_memory()[0] / count
    del index
    before = tracemalloc.get_traced_memory()[0]
    images, _ = shard_set(paths, folder, None)
    return {"index_bytes": alone, "set_bytes": (tracemalloc.get_traced_memory()[0] - before) / len(images)}


def epochs(folder: str) -> dict[str, list[float]]:
    """MiB in memory after each epoch of members and names, and seconds of each."""
    images = recognise(folder, Asked()).sets["all"]
    steps = len(images) // BATCH
    found: dict[str, list[float]] = {"mib": [resident()], "seconds": []}
    for epoch in range(EPOCHS):
        start = time.perf_counter()
        for step in range(epoch * steps, (epoch + 1) * steps):
            _, members = batch_members(seed=0, step=step, batch_size=BATCH, count=len(images), shards=images.shards)
            for place in members.tolist():
                assert images.ids[place]
        found["mib"].append(resident())
        found["seconds"].append(time.perf_counter() - start)
    return found


MEASURES = {measure.__name__: measure for measure in (timed_index, timed_start, weighed, epochs)}


def apart(measure: str, folder: Path) -> dict:
    """What a measure gives in a process of its own."""
    command = [sys.executable, __file__, "--measure", measure, "--folder", str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(done.stderr)
    return json.loads(done.stdout.splitlines()[-1])


def measure_index(folder: Path, images: int, shards: int, rounds: int) -> dict:
    """Everything about a million images."""
    write_shards(folder, images, shards, tiny_images())
    cache = Path(os.environ["VITREOUS_CACHE"])
    cold, start_cold, warm, start_warm = [], [], [], []
    for _ in range(rounds):
        shutil.rmtree(cache, ignore_errors=True)
        cold.append(apart("timed_index", folder))
        warm.append(apart("timed_index", folder))
        start_warm.append(apart("timed_start", folder))
        shutil.rmtree(cache, ignore_errors=True)
        start_cold.append(apart("timed_start", folder))
    found = {
        "images": images,
        "shards": shards,
        "cold": cold,
        "warm": warm,
        "start_cold": start_cold,
        "start_warm": start_warm,
        "index_file_bytes": sum(path.stat().st_size for path in cache.rglob("*.index")),
        **apart("weighed", folder),
        "epochs": apart("epochs", folder),
    }
    middle = {
        name: "{:8.2f} s, of processors {:6.2f} s".format(
            *(statistics.median(each[what] for each in found[name]) for what in ("seconds", "cpu_seconds"))
        )
        for name in ("cold", "warm", "start_cold", "start_warm")
    }
    mib, seconds = found["epochs"]["mib"], found["epochs"]["seconds"]
    say(
        f"{images:,} images, {2 * images:,} members, {shards:,} shards:",
        f"  index, cold            {middle['cold']}",
        f"  index, remembered      {middle['warm']}",
        f"  ready to train, cold   {middle['start_cold']}",
        f"  ready to train, warm   {middle['start_warm']}",
        f"  memory of the index    {found['index_bytes']:8.1f} bytes an image",
        f"  with the image set     {found['set_bytes']:8.1f} bytes an image",
        f"  process after 0 to {EPOCHS} epochs: {', '.join(f'{each:,.1f}' for each in mib)} MiB"
        f" ({statistics.median(seconds):.1f} s an epoch)",
    )
    return found


# ---------------------------------------------------------------- from afar


@contextmanager
def server(folder: Path, delay: float) -> Iterator[str]:
    """The address of a server of a folder's files, in a process of its own."""
    command = [sys.executable, __file__, "--serve", str(delay), "--folder", str(folder)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stdin=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        yield process.stdout.readline().strip()
        process.communicate("")


def serve(folder: Path, delay: float) -> None:
    """Until nobody reads what we say."""
    from range_server import RangeServer, serving

    with serving(RangeServer(delay=delay)) as served:
        served.put(folder)
        sys.stdout.write(served.url + "\n")
        sys.stdout.flush()
        sys.stdin.read()


class Counting:
    """A remote file that counts requests, read-ahead or not."""

    def __init__(self, file: RemoteFile) -> None:
        self.file, self.requests, self.bytes, self.lock = file, 0, 0, threading.Lock()
        self.size, self.state, self.path, self.identity = file.size, file.state, file.path, file.identity

    def read(self, start: int, size: int) -> bytes:
        """As the file's."""
        with self.lock:
            self.requests += 1
            self.bytes += size
        return self.file.read(start, size)


def afar_orders(images: ImageSet, batches: int) -> dict[str, list[int]]:
    """Places in a row, as evaluation reads, and in the order of training."""
    steps = [
        batch_members(seed=0, step=step, batch_size=256, count=len(images), shards=images.shards)[1]
        for step in range(batches)
    ]
    shuffled = np.concatenate(steps)
    return {"in a row": list(range(min(len(images), len(shuffled)))), "as training": shuffled.tolist()}


def measure_afar(
    folder: Path, delay: float, images: int, shards: int, size: int, room: int, batches: int
) -> list[dict]:
    """Images a second, requests and bytes, with and without read-ahead, in both orders, by 2 threads."""
    noise = np.random.default_rng(0).bytes(size)
    write_shards(folder, images, shards, lambda _: noise)
    index = index_shards(sorted(folder.glob("*.tar")))
    local, _ = shard_set(sorted(folder.glob("*.tar")), "local", None)
    ends = np.cumsum(index.counts)
    rows = []
    with server(folder, delay) as url:
        from vitreous.data.layouts.remote.address import Address

        for ahead in (False, True):
            for name, order in afar_orders(local, batches).items():
                files = [Counting(RemoteFile(Address(f"{url}/{shard:05d}.tar"))) for shard in range(shards)]
                shelf = Shelf(room)
                readers = [ReadAhead(file, size, shelf) if ahead else file for file in files]

                def read(place: int, readers: list = readers) -> int:
                    reader = readers[int(np.searchsorted(ends, place, side="right"))]
                    return len(reader.read(int(index.offsets[place]), int(index.sizes[place])))

                def chunk(places: list[int], read: Callable[[int], int] = read) -> int:
                    return sum(read(place) for place in places)

                chunks = [order[start : start + 16] for start in range(0, len(order), 16)]
                start = time.perf_counter()
                total = sum(in_order(chunk, chunks, workers=2, ahead=64))
                seconds = time.perf_counter() - start
                assert total == size * len(order)
                row = {
                    "order": name,
                    "read_ahead": ahead,
                    "images": len(order),
                    "images_per_second": len(order) / seconds,
                    "requests": sum(file.requests for file in files),
                    "bytes_ratio": sum(file.bytes for file in files) / total,
                    "kept_mb": shelf.used / 1e6,
                }
                rows.append(row)
                say(
                    f"  {size / 1e3:6.0f} kB  {name:12} {'with' if ahead else 'without':8}"
                    f"{row['images_per_second']:10,.0f} images/s{row['requests']:8,} requests"
                    f"{row['bytes_ratio']:7.2f} times the bytes{row['kept_mb']:7.0f} MB kept"
                )
    return rows


def main() -> int:
    """Run, print, write JSON; 1 if a million images took longer than was promised."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=1_000_000)
    parser.add_argument("--shards", type=int, default=100)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--afar", action="store_true", help="images/s from a server, instead")
    parser.add_argument("--delay", type=float, default=0.02, help="seconds before the server answers (0.02)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write everything measured as JSON")
    parser.add_argument("--quick", action="store_true", help="both, a thousand images: does it run?")
    parser.add_argument("--measure", choices=MEASURES, help=argparse.SUPPRESS)
    parser.add_argument("--serve", type=float, help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.measure:
        found = MEASURES[asked.measure](str(asked.folder))
        sys.stdout.write(json.dumps(found) + "\n")
        return 0
    if asked.serve is not None:
        serve(asked.folder, asked.serve)
        return 0
    use(sys.stdout)
    memory = Path("/dev/shm")
    everything: dict = {"python": platform.python_version(), "numpy": np.__version__, "vitreous": vitreous.__version__}
    with tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else None) as folder:
        for part in ("index", "few", "many", "small"):
            Path(folder, part).mkdir()
        os.environ["VITREOUS_CACHE"] = str(Path(folder, "cache"))
        if asked.quick or not asked.afar:
            images, shards, rounds = (1000, 7, 1) if asked.quick else (asked.images, asked.shards, asked.rounds)
            everything["index"] = measure_index(Path(folder, "index"), images, shards, rounds)
        if asked.quick or asked.afar:
            say(f"from a server {1000 * asked.delay:.0f} ms away, 2 threads:")
            cases = {  # images, shards, bytes of each, bytes that are kept, batches of 256
                "few": (2_000, 8, 100_000, 2**29, 8),  # all of them fit into what is kept
                "many": (2_000, 8, 100_000, 2**25, 8),  # a sixth fits, as of a large set
                "small": (4_000, 8, 4_000, 2**29, 15),
            }
            if asked.quick:
                cases = {"few": (300, 3, 5_000, 2**29, 1)}
            everything["afar"] = {
                name: measure_afar(Path(folder, name), asked.delay, *case) for name, case in cases.items()
            }
    if asked.json:
        asked.json.write_text(json.dumps(everything, indent=2) + "\n", encoding="utf-8")
    if asked.quick or asked.afar:
        return 0
    slowest = statistics.median(each["seconds"] for each in everything["index"]["cold"])
    say("", f"Promised within {PROMISE:.0f} s with nothing remembered: {slowest:.1f} s.")
    return int(slowest > PROMISE)


if __name__ == "__main__":
    raise SystemExit(main())
