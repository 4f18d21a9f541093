"""From a path to native tensors, whatever the format and the dialect: recognised, accounted for, or refused."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from vitreous.architecture import feature_words
from vitreous.config import ModelCard
from vitreous.errors import ConfigError, ModelFileError, UsageError, unknown_name
from vitreous.pretrained import Pretrained, find_pretrained, imagenet_names, is_pretrained_name
from vitreous.weights.dialects.dialect import Account, Dialect, Settings, translate
from vitreous.weights.dialects.dino import DINO
from vitreous.weights.dialects.google import GOOGLE
from vitreous.weights.dialects.huggingface import HUGGINGFACE
from vitreous.weights.dialects.open_clip import OPEN_CLIP
from vitreous.weights.dialects.timm import TIMM
from vitreous.weights.dialects.torchvision import TORCHVISION
from vitreous.weights.formats.container import Raw, check_finite, find_weights, open_container
from vitreous.weights.golden import Golden
from vitreous.weights.hub.fetch import fetch
from vitreous.weights.native import is_native, read_native

DIALECTS: tuple[Dialect, ...] = (GOOGLE, HUGGINGFACE, OPEN_CLIP, TORCHVISION, DINO, TIMM)
"""Every foreign dialect, the most telling names first: timm's are ours, and many others' in part."""

NATIVE = "native"
"""What vitreous's own format is called among the dialects."""

MODEL_FILE = "model.safetensors"
"""What the model is called inside a run folder."""


@dataclass(frozen=True, kw_only=True)
class Loaded:
    """A checkpoint in native terms."""

    card: ModelCard
    tensors: dict[str, Tensor]
    account: Account
    golden: Golden | None
    """Only a native file has one."""


def read(path: Path, *, verify: bool = True, settings: Settings | None = None) -> Loaded:
    """Every tensor of a checkpoint under its native name, and what became of each.

    Args:
        path: from `find_file`.
        verify: check the digest that a native file carries.
        settings: what a person states of a foreign file because names and shapes cannot tell it: fields of the
            architecture, and `root`, which of several sets of weights in a pickle to take.

    Raises:
        ModelFileError: missing, damaged, in no dialect that is known, or not fitting.
    """
    settings = dict(settings or {})
    if is_native(path):
        if settings:
            raise UsageError("a native model file states everything itself", where=str(path), why=_listed(settings))
        file = read_native(path, verify=verify)
        check_finite(path, file.tensors)
        account = Account(dialect=NATIVE, mapped=tuple(sorted(file.tensors)), dropped={}, ignored=(), notes=())
        return Loaded(card=file.card, tensors=file.tensors, account=account, golden=file.golden)
    root = settings.pop("root", None)
    raw = open_container(path, root=None if root is None else str(root))
    dialect = recognise(raw)
    try:
        understood = dialect.understand(raw, settings)
    except ConfigError as error:  # what the names and shapes say cannot be built
        raise ModelFileError(
            f"the architecture in this {dialect.title} file cannot be", where=str(raw.path), why=str(error)
        ) from error
    tensors, account = translate(raw, dialect, understood)
    card = ModelCard(
        architecture=understood.architecture,
        preprocess=understood.preprocess,
        classes=understood.classes,
        answers=understood.answers,
        features=feature_words(understood.architecture),
        licence=understood.licence,
        provenance={"began_as": f"{dialect.title} file {raw.path.name}", "assumed": list(understood.notes)},
    )
    return Loaded(card=card, tensors=tensors, account=account, golden=None)


def recognise(raw: Raw) -> Dialect:
    """The dialect that a checkpoint is in.

    Args:
        raw: names, shapes, metadata and sidecars.

    Raises:
        ModelFileError: no dialect knows these names; the first of them are shown.
    """
    for dialect in DIALECTS:
        if dialect.recognises(raw):
            return dialect
    names = list(raw.tensors)
    shown = ", ".join(f"{name} {tuple(raw.tensors[name].shape)}" for name in names[:4])
    raise ModelFileError(
        "no dialect of Vision Transformers or BiT ResNets that is known here has such names",
        where=str(raw.path),
        why=f"{len(names)} tensors: {shown}{', ...' if len(names) > 4 else ''}" if names else "it holds no tensors",
        remedy=f"known dialects: native, {', '.join(dialect.name for dialect in DIALECTS)}",
    )


def find_dialect(name: str) -> Dialect:
    """The foreign dialect of that name.

    Args:
        name: as typed after --to.

    Raises:
        UnknownNameError: there is none; carries did-you-mean.
    """
    for dialect in DIALECTS:
        if dialect.name == name:
            return dialect
    raise unknown_name("dialect", name, [NATIVE, *(dialect.name for dialect in DIALECTS)])


def find_published(source: str | Path) -> Pretrained | None:
    """The published weights that a text names; None where it names a path or nothing.

    Args:
        source: as typed.
    """
    if not isinstance(source, str) or Path(source).expanduser().exists() or not is_pretrained_name(source):
        return None
    return find_pretrained(source)


def read_published(weights: Pretrained, *, settings: Settings | None = None) -> tuple[Loaded, Path]:
    """Published weights from this machine's caches, with what is known of them beyond their file.

    Args:
        weights: as listed.
        settings: see `read`.

    Raises:
        ResourceError: they are not on this machine; says what fetches them.
    """
    path = fetch(weights, offline=True, progress=False)
    if weights.dialect == "google" and weights.family != "flexivit":  # its files do not tell the image size
        settings = {"image_size": weights.image_size, **(settings or {})}
    loaded = read(path, settings=settings)
    preprocess = dataclasses.replace(weights.preprocess, image_size=loaded.card.preprocess.image_size)
    named = loaded.card.classes or (imagenet_names() if weights.label_set == "imagenet-1k" else ())
    card = dataclasses.replace(
        loaded.card,
        classes=named,
        preprocess=preprocess,
        licence=weights.licence,
        provenance={**loaded.card.provenance, "published_as": weights.name, "source": weights.source},
    )
    return dataclasses.replace(loaded, card=card), path


def find_file(source: str | Path) -> Path:
    """The checkpoint that a path means: itself, or the result inside a run folder.

    Args:
        source: a file, a run folder, or a folder as some ecosystem writes one.

    Raises:
        ModelFileError: the folder is a run that has no model yet.
    """
    path = Path(source).expanduser()
    if path.is_dir() and (path / "run.json").exists():
        if not (path / MODEL_FILE).exists():
            raise ModelFileError(
                "this run has not finished: it has no model yet", where=str(path), remedy=f"vitreous resume {path}"
            )
        return path / MODEL_FILE
    file = find_weights(path)
    return file if is_native(file) else path


def _listed(settings: dict[str, object]) -> str:
    return "given: " + ", ".join(f"{name}={value!r}" for name, value in settings.items())


def retold(account: Account, loaded: ModelCard, path: Path) -> list[str]:
    """What was understood of a foreign checkpoint, in lines for a person.

    Args:
        account: of the reading.
        loaded: its card.
        path: the checkpoint.
    """
    config = loaded.architecture
    assert config is not None
    size = " x ".join(map(str, config.image_size))
    patch = getattr(config, "patch_size", None)
    cut = f", patch {patch[0]} x {patch[1]}" if patch else ""
    head = f"{config.num_classes:,} outputs" if config.num_classes else "no head"
    lines = [
        f"{path.name}: {account.dialect}, {config.name}{cut}, {size} px, {head}; {len(account.mapped)} tensors mapped"
    ]
    reasons: dict[str, list[str]] = {}
    for name, why in account.dropped.items():
        reasons.setdefault(why, []).append(name)
    for why, names in reasons.items():
        some = ", ".join(names[:3]) + (", ..." if len(names) > 3 else "")
        lines.append(f"  dropped {len(names)}: {some} ({why})")
    lines += [f"  ignored: {thing}" for thing in account.ignored]
    lines += [f"  assumed: {note}" for note in account.notes]
    return lines
