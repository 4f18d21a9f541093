"""The pages of `vitreous cost`: tables of what a model, a run and attention between pixels take."""

from __future__ import annotations

import math
from collections.abc import Sequence

from vitreous import console
from vitreous.architecture import Architecture, ResNetConfig, ViTConfig
from vitreous.cli.words import harmless, percent, table
from vitreous.config import Recipe
from vitreous.cost import Part, flops, parameters, parts, tokens, training_flops, training_memory
from vitreous.cost.budget import Budget, file_bytes
from vitreous.cost.hardware import Estimate
from vitreous.cost.pixels import Row, attention_rows
from vitreous.study.alternatives import Alternative

TOGETHER = 32
"""Images in one forward pass, where memory is told without a machine to fit."""
_SHORT = 0.02  # seconds of a pass below which arithmetic is not what takes the time
_SMALL = 0.01  # parts below this share of parameters and operations stand in one line


def head(config: Architecture) -> list[str]:
    """Three lines about the model itself.

    Args:
        config: as it is priced.
    """
    high, wide = config.image_size
    first = f"{parameters(config):,} parameters, a file of {size(file_bytes(config))}"
    if isinstance(config, ResNetConfig):
        cut = f"{high} x {wide} px, a last map of {tokens(config):,} cells"
    else:
        rows, columns = config.grid
        cut = f"{high} x {wide} px in {rows} x {columns} patches of {config.stride[0]} px: {tokens(config):,} tokens"
    once, whole = scaled(flops(config)), scaled(training_flops(config))
    name = f"{harmless(config.name):<9}"
    indent = " " * len(name)
    return [f"{name} {first}", f"{indent} {cut}", f"{indent} {once}FLOP for an image, {whole}FLOP to train on it"]


def share_table(config: Architecture) -> list[str]:
    """Where parameters and operations go, the small parts in one line.

    Args:
        config: as it is priced.
    """
    found, P, M = parts(config), parameters(config), flops(config) // 2
    large = [part for part in found if part.parameters > _SMALL * P or part.macs > _SMALL * M]
    rest = [part for part in found if part not in large]
    if rest:
        names = rest[0].name if len(rest) == 1 else "the rest"
        large.append(Part(names, sum(part.parameters for part in rest), sum(part.macs for part in rest)))
    rows = [
        (
            part.name,
            f"{part.parameters:,}",
            _share(part.parameters, P),
            f"{scaled(2 * part.macs)}",
            _share(part.macs, M),
        )
        for part in large
    ]
    return ["", *table([("part", "parameters", "", "FLOP", ""), *rows], right=range(1, 5))]


def memory_table(config: Architecture, recipe: Recipe) -> list[str]:
    """What training holds, in both precisions.

    Args:
        config: as it is priced.
        recipe: the optimiser, and whether weights are averaged.
    """
    both = [training_memory(config, recipe, TOGETHER, precision) for precision in ("float32", "bfloat16")]
    twice = [training_memory(config, recipe, TOGETHER, precision, True) for precision in ("float32", "bfloat16")]
    rows: list[tuple[str, ...]] = [("to train", "float32", "bfloat16")]
    moments = {"adam": "moments of Adam", "lamb": "moments of LAMB", "sgd": "momentum"}[recipe.optimizer]
    kinds = [("weights", "weights"), ("gradients", "gradients"), (moments, "moments"), ("averaged weights", "average")]
    rows += [(words, *(size(getattr(held, name)) for held in both)) for words, name in kinds if getattr(both[0], name)]
    rows.append((f"activations of {TOGETHER} images", *(size(held.activations) for held in both)))
    rows.append(("  with gradient checkpointing", *(size(held.activations) for held in twice)))
    return ["", *table(rows, right=(1, 2))]


def cheaper_table(found: Sequence[Alternative]) -> list[str]:
    """What would be cheaper, and what is known of its accuracy.

    Args:
        found: see `alternatives`.
    """
    rows = [("cheaper", "FLOP", "memory", "ImageNet top-1, published")]
    for way in found:
        said = way.reported
        words = f"{said.then:.1f} for {said.now:.1f} % ({said.tag})" if said else ""
        rows.append((way.name, f"{way.flops:.0%}", f"{way.memory:.0%}", words))
    return ["", *table(rows, right=(1, 2))]


def pixel_line(config: ViTConfig) -> list[str]:
    """Why images are cut into patches, in one sentence with this model's numbers.

    Args:
        config: as it is priced.
    """
    pixels, heads = attention_rows(config)[0], config.depth * config.num_heads
    return [
        "",
        f"  Attention between pixels would compare {pixels.pairs:,} pairs in each of",
        f"  {heads:,} heads: {size(pixels.matrix_bytes)} for one image. Hence patches (--pixels).",
    ]


def pixel_table(config: ViTConfig) -> list[str]:
    """The same encoder on pixels and on patches of several sizes.

    Args:
        config: as it is priced.
    """
    rows = attention_rows(config)
    head_row = ("patch", "tokens", "pairs a head", "matrices", "attention", "whole model", "times less")
    shown = [head_row, *(_pixel_row(row, rows[0]) for row in rows)]
    high, wide = config.image_size
    return [
        f"{harmless(config.name)} at {high} x {wide} px, {config.depth} blocks of {config.num_heads} heads",
        "",
        *table(shown, right=range(7)),
        "",
        "  pairs    every token looks at every other: N x N for N tokens",
        "  matrices the weights of all heads and blocks for one image, in bfloat16",
        "  FLOP     for one image, forward; the last column against patches of 1 pixel",
        "",
        "  Twice the side of an image are 16 times the pairs: the article's 255 x 255 pixels",
        "  make 255^4 = 4,228,250,625 for every head of every block, 15 x 15 patches of 17",
        "  pixels 50,625. Patches are what makes attention to a whole image possible at all.",
    ]


def _pixel_row(row: Row, pixels: Row) -> tuple[str, ...]:
    return (
        f"{row.patch} px",
        f"{row.tokens:,}",
        f"{row.pairs:,}",
        size(row.matrix_bytes),
        f"{scaled(row.attention_flops)}FLOP",
        f"{scaled(row.flops)}FLOP",
        f"{pixels.flops / row.flops:,.0f}",
    )


def run_lines(recipe: Recipe, data: str, work: Budget) -> list[str]:
    """What a recipe on some images takes, whatever it runs on.

    Args:
        recipe: as it is followed.
        data: what the images are called.
        work: see `budget`.
    """
    images = f"{work.images:,} images" if work.images else "as many images as come"
    return [
        "",
        f"run       {recipe.name} on {images}{f' ({harmless(data)})' if data else ''}",
        f"          {work.steps:,} steps of {recipe.batch_size:,}: {work.seen:,} images seen, {scaled(work.flops)}FLOP",
        f"disk      {size(work.disk_bytes)} at most: checkpoints of {size(work.checkpoint_bytes)}, the model, records",
    ]


def hardware_table(found: Sequence[Estimate], work: Budget) -> list[str]:
    """How long a run takes on named devices, and how it fits.

    Args:
        found: none, or some.
        work: what is to be done.
    """
    if not found:
        return []
    rows = [("hardware", "time", "device-days", "memory", "of", "each step on one device")]
    for each in found:
        rows.append(
            (
                f"{each.count} x {each.device.name}",
                time_words(each.seconds) if each.fits else "-",
                f"{each.device_days:,.2f}" if each.fits else "-",
                f"{each.bytes / 1e9:,.1f} GB",
                f"{each.device.memory / 1e9:,.0f} GB",
                _split(each),
            )
        )
    notes = [f"at {found[0].utilisation:.0%} of the published 16-bit peak: an assumption, --utilisation changes it"]
    if any(each.fits and each.seconds < _SHORT * work.steps * each.micro_batches for each in found):
        notes.append("passes this short are held up by starting kernels and reading images: expect longer")
    return ["", *table(rows, right=(1, 2, 3, 4), indent=""), *notes]


def _split(each: Estimate) -> str:
    if not each.fits:
        return "does not fit, even sharded and with checkpointing" if each.count > 1 else "does not fit: more devices"
    ways = [f"{each.micro_batches} x {each.micro_batch} images"]
    ways += {"one device": [], "copies": ["DDP"], "sharded": ["FSDP"]}[each.strategy]
    ways += ["checkpointing"] if each.gradient_checkpointing else []
    return ", ".join(ways)


def price_lines(price: dict[str, dict[str, float]]) -> list[str]:
    """What was predicted of a run beside what it took.

    Args:
        price: of its run.json.
    """
    told, took = price.get("predicted") or {}, price.get("measured") or {}
    rows = [("", "predicted", "measured", "")]
    for name, words in (("seconds", time_words), ("bytes", size)):
        if name in told and name in took:
            off = f"{took[name] / told[name] - 1:+.0%}" if told[name] else ""
            rows.append(({"seconds": "time", "bytes": "memory"}[name], words(told[name]), words(took[name]), off))
    return ["", *table(rows, right=(1, 2, 3))] if len(rows) > 1 else []


def scaled(number: float) -> str:
    """12,345,678 as "12.3 M", ready for a unit.

    Args:
        number: 0 or more.
    """
    power = min(max(int(math.log10(max(number, 1))) // 3, 0), 7)
    text = f"{number / 1000**power:.3g}"
    if text == "1e+03":
        power, text = power + 1, "1"
    return f"{text} {' kMGTPEZ'[power].strip()}"


def size(num_bytes: float) -> str:
    """Bytes as a person says it.

    Args:
        num_bytes: 0 or more.
    """
    return f"{scaled(num_bytes)}B"


def time_words(seconds: float) -> str:
    """A time as a person says it; from two days on in days, from two years on in years.

    Args:
        seconds: 0 or more.
    """
    days = seconds / 86_400
    if days >= 730:
        return f"{days / 365.25:,.0f} years"
    return f"{days:,.1f} days" if days >= 2 else console.duration(seconds)


def _share(part: int, whole: int) -> str:
    return percent(part / whole) if part else ""
