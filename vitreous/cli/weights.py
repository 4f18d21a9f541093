"""Verbs that move weights: `convert` and `push`."""

from __future__ import annotations

import dataclasses
import re
from dataclasses import dataclass, field
from typing import Any, Literal

from vitreous import console
from vitreous.architecture import ResNetConfig, Size, ViTConfig
from vitreous.cli.answer import Answer, Common
from vitreous.cli.flags import positional
from vitreous.cli.hub import Hub
from vitreous.cli.words import command, harmless, next_steps
from vitreous.errors import UsageError, unknown_name
from vitreous.results import Conversion


@dataclass(frozen=True, kw_only=True, slots=True)
class Convert:
    """Write a checkpoint in another ecosystem's format, with equal logits."""

    source: str = positional()
    """A file or folder in any dialect, a run folder, or a pretrained name."""
    target: str = positional()
    """The file or folder to write."""
    to: Literal["native", "google", "timm", "huggingface", "torchvision", "dinov2", "openclip"]
    """The dialect to write."""
    verify: bool = False
    """Also load the result with the target ecosystem's own code, where it is installed, and compare logits."""
    allow_difference: bool = False
    """Write it even where the target cannot express the source, and print how far the logits move."""
    image_size: int | Size | None = None
    """Resolution to convert to; the position table is resampled."""
    settings: str = ""
    """What names and shapes of the source cannot tell, as num_heads=6,gelu=tanh,image_size=24x40."""
    overwrite: bool = False
    """Replace what is there."""
    hub: Hub = field(default_factory=Hub)
    common: Common = field(default_factory=Common)

    def answer(self) -> Answer:
        """Convert, and say what became of every tensor."""
        settings = parse_settings(self.settings)
        self.hub.settle(self.source)
        from vitreous.weights.convert import convert

        done = convert(
            self.source,
            self.target,
            self.to,
            verify=self.verify,
            allow_difference=self.allow_difference,
            image_size=self.image_size,
            settings=settings,
            overwrite=self.overwrite,
        )
        console.say(*_outcome(done))
        steps = [(command("predict", done.target, "new.jpg"), "use it")] if done.target_dialect == "native" else []
        back = command("convert", done.target, "again.safetensors", "--to", "native")
        console.say(*next_steps(*steps, *([] if steps else [(back, "read it back")])))
        return Answer(value=done)


@dataclass(frozen=True, kw_only=True, slots=True)
class Push:
    """Put a model with its card into a hub repository or a folder."""

    model: str = positional()
    """A run folder or a native model file."""
    target: str = positional()
    """OWNER/NAME on the hub, or a folder to write, which begins with . or / or ends with /."""
    hub_url: str | None = None
    """Another hub than huggingface.co."""
    private: bool = False
    """Nobody else may see the repository."""
    common: Common = field(default_factory=Common)

    def answer(self) -> Answer:
        """Push, and say where it is."""
        from vitreous.weights.hub.push import push

        place = push(self.model, self.target, hub_url=self.hub_url, private=self.private)
        console.say(f"pushed to {harmless(place)}")
        return Answer(value={"model": self.model, "target": place})


def parse_settings(text: str) -> dict[str, Any]:
    """Fields of an architecture from `num_heads=6,gelu=tanh,image_size=24x40`.

    Args:
        text: pairs with commas between; empty for none.

    Raises:
        UsageError: a pair without =, or a name that is no field.
    """
    known = sorted({f.name for kind in (ViTConfig, ResNetConfig) for f in dataclasses.fields(kind)} | {"root"})
    settings: dict[str, Any] = {}
    for part in filter(None, (part.strip() for part in text.split(","))):
        name, equals, value = part.partition("=")
        if not equals:
            raise UsageError(f"--settings takes pairs, got {part!r}", remedy="--settings num_heads=6,gelu=tanh")
        if name not in known:
            raise unknown_name("setting", name, known)
        settings[name] = _value(value)
    return settings


def _value(text: str) -> Any:
    if text in ("true", "false"):
        return text == "true"
    if size := re.fullmatch(r"(\d+)x(\d+)", text):
        return int(size[1]), int(size[2])
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text


def _outcome(done: Conversion) -> list[str]:
    lines = [f"{harmless(done.target)}: {done.target_dialect}, {done.architecture}"]
    lines += [f"  resized {each.name}: {each.source} -> {each.target} ({each.how})" for each in done.resized]
    lines += [f"  differs: {what}" for what in done.differences]
    lines.append(f"  read back, its logits differ by at most {done.max_difference:.1e}")
    if done.verified_by:
        lines.append(f"  {done.verified_by} loads it")
    if done.left_behind:
        lines.append(f"  left behind, for this dialect has no place for them: {', '.join(done.left_behind)}")
    return lines
