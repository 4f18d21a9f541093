"""How long opening a ViT-B/16 takes and how much memory, beside safetensors, timm and transformers.

Every case runs in a process of its own, imports first and then only opens the file. Files are written anew with random
weights and are in the page cache. Memory is counted on Linux; pages of a mapped file are in the peak, and can be given
back at any time.

    python benchmarks/loading.py
    python benchmarks/loading.py --quick    # a tiny model, once: does it run?
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import subprocess
import sys
import tempfile
import textwrap
from pathlib import Path

TESTS = Path(__file__).resolve().parent.parent / "tests"  # oracles.py there imports timm beside a CPU-only torch

CASES: dict[str, tuple[str, str, str]] = {  # name: (file, what is imported before the clock starts, what is timed)
    "read the bytes": ("timm/model.safetensors", "", "blob = open(path, 'rb').read()"),
    "safetensors.torch.load_file": (
        "timm/model.safetensors",
        "from safetensors.torch import load_file",
        "model = load_file(path); touch(model.values())",
    ),
    "vitreous, native": ("native.safetensors", "from vitreous.weights.load import load", "model = load(path)"),
    "vitreous, native, digest not checked": (
        "native.safetensors",
        "from vitreous.weights.load import load",
        "model = load(path, verify=False)",
    ),
    "vitreous, timm .safetensors": (
        "timm/model.safetensors",
        "from vitreous.weights.load import load",
        "model = load(path)",
    ),
    "vitreous, Hugging Face folder": ("hf", "from vitreous.weights.load import load", "model = load(path)"),
    "vitreous, Google .npz": ("google.npz", "from vitreous.weights.load import load", "model = load(path)"),
    "vitreous, torchvision .pth": ("torchvision.pth", "from vitreous.weights.load import load", "model = load(path)"),
    "timm.create_model": (
        "timm",
        "import oracles; timm = oracles.timm()",
        "model = timm.create_model(f'local-dir:{path}', pretrained=True)",
    ),
    "transformers from_pretrained": (
        "hf",
        "import oracles; oracles.torchvision(); from transformers import ViTForImageClassification",
        "model = ViTForImageClassification.from_pretrained(path)",
    ),
}

PROGRAM = """
import contextlib, io, json, sys, time, warnings
warnings.simplefilter("ignore")
sys.path.insert(0, {tests!r})
import torch
torch.set_num_threads(2)
def touch(tensors):
    # one number of every page, so that a mapped file counts as read
    for tensor in tensors:
        tensor.flatten()[::1024].sum()
def kilobytes(name):
    with open("/proc/self/status") as status:
        return int(next(line.split()[1] for line in status if line.startswith(name + ":")))
{imports}
path = {path!r}
with open("/proc/self/clear_refs", "w") as file:
    file.write("5")  # the largest so far is forgotten
with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
    before = kilobytes("VmRSS"), kilobytes("RssAnon")
    began = time.perf_counter()
    {work}
    if hasattr(locals().get("model"), "parameters"):
        touch(model.parameters())
    seconds = time.perf_counter() - began
    after = kilobytes("VmHWM"), kilobytes("RssAnon")
print(json.dumps([seconds, *((a - b) / 1024 for a, b in zip(after, before))]))
"""


def measure(path: Path, imports: str, work: str) -> tuple[float, ...]:
    """Seconds, MiB that the process's largest memory grew by, and MiB of its own (not of the file) that stayed."""
    program = PROGRAM.format(
        tests=str(TESTS), imports=imports, path=str(path), work=textwrap.indent(work, "    ").strip()
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    return tuple(json.loads(done.stdout.splitlines()[-1]))


def write_files(folder: Path, name: str) -> None:
    """The same random model in every dialect that is timed."""
    from vitreous.config import ModelCard, PreprocessConfig
    from vitreous.model.create import create_model
    from vitreous.weights.convert import convert
    from vitreous.weights.golden import golden_of
    from vitreous.weights.native import save_native

    model = create_model(name, seed=0).eval()
    card = ModelCard(architecture=model.config, preprocess=PreprocessConfig(image_size=model.config.image_size))
    save_native(folder / "native.safetensors", model.state_dict(), card, golden_of(model, card))
    for target, to in (
        ("timm", "timm"),
        ("hf", "huggingface"),
        ("google.npz", "google"),
        ("torchvision.pth", "torchvision"),
    ):
        convert(folder / "native.safetensors", folder / target, to, allow_difference=True)


def main() -> None:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--rounds", type=int, default=5, help="processes per case")
    parser.add_argument("--quick", action="store_true", help="a tiny model, once")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        write_files(folder, "vit-ti16" if asked.quick else "vit-b16")
        megabytes = (folder / "native.safetensors").stat().st_size / 2**20
        times: dict[str, list[tuple[float, ...]]] = {name: [] for name in CASES}
        for _ in range(1 if asked.quick else asked.rounds):
            for name, (file, imports, work) in CASES.items():
                times[name].append(measure(folder / file, imports, work))
    print(f"\n{megabytes:.0f} MiB of weights, {platform.python_implementation()} {platform.python_version()}\n")
    print("| opened by | seconds | peak, MiB | of its own afterwards, MiB |\n|---|---|---|---|")
    for name, taken in times.items():
        seconds, peak, own = map(statistics.median, zip(*taken, strict=True))
        print(f"| {name} | {seconds:.2f} | {peak:,.0f} | {own:,.0f} |")


if __name__ == "__main__":
    main()
