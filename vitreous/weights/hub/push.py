"""A native model file and its card into a folder, or into a repository of a hub."""

from __future__ import annotations

import json
import os
import re
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from vitreous.architecture import ResNetConfig
from vitreous.config import ModelCard
from vitreous.errors import ConfigError, ModelFileError, ResourceError, UsageError
from vitreous.files import cannot_write, write_atomically, write_text
from vitreous.report.card import markdown_table, safe
from vitreous.report.facts import model_facts
from vitreous.report.words import clean, count
from vitreous.results import RunResult
from vitreous.schema import from_json
from vitreous.weights.hub.fetch import HUB, endpoint_of, hub_token, is_repo
from vitreous.weights.native import read_native
from vitreous.weights.read import MODEL_FILE, find_file

_CARD = "README.md"
_HEADS = ("what", "value")
_RUN_CARD = "MODEL_CARD.md"
_MOST_CLASSES = 1000  # listed in the card; the model file has them all
_LICENCES = {  # what the hub calls by a name of its own; anything else is "other" with a name
    *("apache-2.0", "mit", "bsd-2-clause", "bsd-3-clause", "isc", "cc0-1.0", "cc-by-3.0", "cc-by-4.0", "cc-by-sa-3.0"),
    *("cc-by-sa-4.0", "cc-by-nc-2.0", "cc-by-nc-3.0", "cc-by-nc-4.0", "cc-by-nc-sa-4.0", "cc-by-nc-nd-4.0"),
    *("cc-by-nd-4.0", "gpl-2.0", "gpl-3.0", "lgpl-3.0", "agpl-3.0", "mpl-2.0", "unlicense", "openrail"),
}
_UNPRINTABLE = re.compile(r"[^\x20-\x7e\xa0-\ud7ff\ue000-\ufefe\uff00-\ufffd\U00010000-\U0010ffff]")  # in YAML 1.1


def push(
    model_path: str | Path,
    target: str,
    *,
    hub_url: str | None = None,
    private: bool = False,
    token: str | None = None,
) -> str:
    """Where the model now is: the address of its repository, or its folder.

    Args:
        model_path: a native model file, or a run folder.
        target: OWNER/NAME on the hub, or a folder, which begins with `.`, `~` or `/`, ends with `/`, or exists.
        hub_url: another hub, or a folder that stands for one, in place of HF_ENDPOINT and huggingface.co.
        private: nobody else may see a repository that is made here.
        token: by default HF_TOKEN, or what `hf auth login` has written.

    Raises:
        ModelFileError: the model file is damaged, or none of ours.
        UsageError: the target is neither, holds something else, or the package that uploads is not installed.
        ResourceError: no network, no permission, or no room.
    """
    path = find_file(model_path)
    card = read_native(path).card  # checks every byte before anything leaves
    text = readme(path, card)
    if folder := _as_folder(target):
        return _into_folder(path, text, folder)
    if not is_repo(target):
        raise UsageError(
            f"{target!r} is neither a repository nor a folder", remedy="OWNER/NAME for the hub, ./NAME for a folder"
        )
    hub = endpoint_of(hub_url)
    if isinstance(hub, Path):
        return _into_folder(path, text, hub / target)
    return _upload(path, text, target, hub or HUB, private, token or hub_token())


def readme(path: Path, card: ModelCard) -> str:
    """The README.md of a model: what the hub reads, between lines of dashes, and what people read.

    Args:
        path: the model file; the card and the score of a run are taken from beside it.
        card: from the model file.
    """
    front = "\n".join(f"{key}: {_yaml(value)}" for key, value in _front(path, card).items())
    run_card = path.with_name(_RUN_CARD)
    body = run_card.read_text(encoding="utf-8") if run_card.is_file() else "\n\n".join(_body(card)) + "\n"
    return f"---\n{front}\n---\n\n{body}"


def _front(path: Path, card: ModelCard) -> dict[str, Any]:
    """What the hub reads. Names of classes are the person's, and anything may stand in them."""
    licence = card.licence.strip().lower()
    known = {"license": licence if licence in _LICENCES else "other" if licence != "not stated" else "unknown"}
    if known["license"] == "other":
        known["license_name"] = card.licence
    bit = isinstance(card.architecture, ResNetConfig)
    front: dict[str, Any] = {
        **known,
        "library_name": "vitreous",
        "pipeline_tag": "image-classification" if card.classes else "image-feature-extraction",
        "tags": ["vitreous", "resnet" if bit else "vision-transformer"],
    }
    if card.classes:
        front["num_classes"] = len(card.classes)
        front["classes"] = list(card.classes[:_MOST_CLASSES])
    if (result := _result(path)) and not result.optimistic:
        front["model-index"] = [
            {
                "name": path.parent.name,
                "results": [
                    {
                        "task": {"type": "image-classification"},
                        "dataset": {"name": result.data or "not stated", "type": "images"},
                        "metrics": [{"type": "accuracy", "value": round(result.top1, 6)}],
                    }
                ],
            }
        ]
    return front


def _result(path: Path) -> RunResult | None:
    """The score that the run beside the model file has recorded."""
    try:
        return from_json(RunResult, json.loads(path.with_name("run.json").read_text(encoding="utf-8"))["result"])
    except (OSError, ValueError, KeyError, TypeError, ConfigError):
        return None


def _yaml(value: Any) -> str:
    """A value in one line of YAML, which JSON is where every character is printable or escaped."""
    match value:
        case str():
            plain = json.dumps(clean(value, 1000), ensure_ascii=False)
            return _UNPRINTABLE.sub(lambda found: f"\\u{ord(found[0]):04x}", plain)
        case list():
            return f"[{', '.join(map(_yaml, value))}]"
        case dict():
            return "{" + ", ".join(f"{_yaml(key)}: {_yaml(inner)}" for key, inner in value.items()) + "}"
    return json.dumps(value)


def _body(card: ModelCard) -> list[str]:
    """What people read where no run has written a card."""
    rows = [(key, str(value)) for key, value in card.provenance.items() if not isinstance(value, dict | list)]
    blocks = [
        f"# {safe(card.architecture.name if card.architecture else 'A model')}",
        markdown_table(_HEADS, model_facts(card)),
        "## Use",
        '```python\nimport vitreous as vt\n\nmodel = vt.load("model.safetensors", check=True)\n'
        'print(vt.Predictor("model.safetensors")("image.jpg").label)\n```',
    ]
    if rows:
        blocks += ["## Where it comes from", markdown_table(_HEADS, rows)]
    if card.classes:
        listed = ", ".join(safe(label) for label in card.classes[:_MOST_CLASSES])
        more = len(card.classes) - _MOST_CLASSES
        rest = f", and {count(more, 'class', 'classes')} more" if more > 0 else ""
        blocks += [f"## {count(len(card.classes), 'class', 'classes')}", f"{listed}{rest}."]
    return [*blocks, "## Licence", f"Of the weights: {safe(card.licence)}."]


def _as_folder(target: str) -> Path | None:
    folder = Path(target).expanduser()
    told = target.startswith((".", "~", "/")) or target.endswith(("/", os.sep)) or folder.is_absolute()
    return folder if target and (told or folder.is_dir()) else None


def _into_folder(path: Path, text: str, folder: Path) -> str:
    """Model file and card into a folder that holds nothing else of those names."""
    card = folder / _CARD
    if card.exists() and 'library_name: "vitreous"' not in card.read_text(encoding="utf-8", errors="replace"):
        raise UsageError(
            "the folder has a README.md that is no model's card", where=str(card), remedy="name another folder"
        )
    try:
        folder.mkdir(parents=True, exist_ok=True)
        size, target = path.stat().st_size, folder / MODEL_FILE
        if not (target.exists() and target.samefile(path)):
            write_atomically(target, _chunks(path), size)
    except OSError as error:
        raise cannot_write(folder, 0, error) from error
    write_text(card, text)
    return str(folder)


def _chunks(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        while chunk := file.read(1 << 20):
            yield chunk


def _upload(path: Path, text: str, repo: str, hub: str, private: bool, token: str | None) -> str:
    """Both files in one commit; the repository is made where there is none."""
    try:
        import huggingface_hub
        from huggingface_hub.errors import HfHubHTTPError
    except ImportError as error:
        raise UsageError(
            "pushing to a hub needs the package huggingface_hub",
            why=str(error),
            remedy="pip install 'vitreous[hub]', or push into a folder: ./NAME",
        ) from error
    if not token:
        raise UsageError(
            "pushing to a hub needs a token that may write",
            where=hub,
            remedy="export HF_TOKEN=hf_... from the settings of your account there",
        )
    api = huggingface_hub.HfApi(endpoint=hub, token=token, library_name="vitreous")
    with tempfile.TemporaryDirectory() as folder:
        card = Path(folder) / _CARD
        card.write_text(text, encoding="utf-8")
        files = {MODEL_FILE: path, _CARD: card}
        operations = [huggingface_hub.CommitOperationAdd(file, str(place)) for file, place in files.items()]
        try:
            api.create_repo(repo, private=private or None, exist_ok=True)
            api.create_commit(repo, operations, commit_message="A model by vitreous")
        except HfHubHTTPError as error:
            raise _refused(error.response.status_code, repo, hub) from error
        except ValueError as error:
            raise ModelFileError("the hub does not accept the card", where=f"{hub}/{repo}", why=str(error)) from error
        except (OSError, RuntimeError) as error:
            raise ResourceError(
                "the upload did not go through",
                where=f"{hub}/{repo}",
                why=f"{type(error).__name__}: {error}",
                remedy="the same command again; what is there already is not sent twice",
            ) from error
    return f"{hub}/{repo}"


def _refused(code: int, repo: str, hub: str) -> Exception:
    if code == 401:
        return ResourceError(
            "the hub does not accept the token",
            where=hub,
            why="it is wrong, or has expired",
            remedy="export HF_TOKEN=hf_... with one that may write",
        )
    if code == 403:
        return ResourceError(
            f"you may not write to {repo}",
            where=hub,
            why="the token may only read, or the name is not yours",
            remedy="export HF_TOKEN=hf_... with one that may write, or push under your own name",
        )
    return ResourceError("the hub refuses", where=f"{hub}/{repo}", why=f"it answers {code}")
