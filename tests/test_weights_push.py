"""A pushed model is the model, its card says what it is, and nothing in it can break out of the card."""

from __future__ import annotations

import builtins
import hashlib
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from hub_server import Hub, serving
from native_files import CLASSES, saved

from vitreous.errors import ModelFileError, ResourceError, UsageError
from vitreous.results import RunResult
from vitreous.schema import to_json
from vitreous.weights.hub.fetch import fetch
from vitreous.weights.hub.push import push
from vitreous.weights.load import load

NASTY = (
    '"; evil: true',
    "--- \n---\n# title",
    "<script>alert(1)</script>",
    "[link](javascript:x) | `code`",
    "tab\tbell\x07nul\x00",
    "next\u2028line\u0085",
    "turned \u202e around",
    "\ufeffmark \uffff \U0001f600",
    "'single' {a: b} & *anchor !!python/object",
    "x" * 2000,
    "yes",
)


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)  # its servers are not spoken to here
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_PROGRESS_BARS", True)
    monkeypatch.delenv("HF_ENDPOINT", raising=False)
    with serving(Hub(token="hf_mine")) as running:
        yield running


@pytest.fixture(autouse=True)
def no_token(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No test sees this person's token."""
    monkeypatch.delenv("HF_TOKEN", raising=False)
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))


def front_of(text: str) -> dict[str, Any]:
    """What a YAML reader that is not ours makes of the front matter."""
    assert text.startswith("---\n")
    found: dict[str, Any] = yaml.safe_load(text.split("\n---\n")[0][4:])
    return found


def test_a_folder_holds_the_same_bytes_and_a_card(tmp_path: Path) -> None:
    """What was pushed loads, and the card says licence, kind and classes."""
    saved(tmp_path / "m.safetensors")
    place = push(tmp_path / "m.safetensors", str(tmp_path / "out"))
    assert str(tmp_path / "out") == place
    assert (tmp_path / "m.safetensors").read_bytes() == (tmp_path / "out/model.safetensors").read_bytes()
    card = load(tmp_path / "out/model.safetensors", check=True).card
    assert card is not None
    text = (tmp_path / "out/README.md").read_text(encoding="utf-8")
    front = front_of(text)
    assert ("cc-by-4.0", "vitreous", "image-classification") == tuple(
        front[key] for key in ("license", "library_name", "pipeline_tag")
    )
    assert list(card.classes) == front["classes"]
    assert len(card.classes) == front["num_classes"] > 0
    assert "model-index" not in front
    assert "vitreous finetune" in text
    assert {"README.md", "model.safetensors"} == {path.name for path in (tmp_path / "out").iterdir()}


def test_nothing_in_a_name_breaks_out_of_the_card(tmp_path: Path) -> None:
    """Another YAML reader finds exactly as many names, no other keys, and Markdown no tag and no link."""
    saved(tmp_path / "m.safetensors", num_classes=len(NASTY))
    from native_files import card_for
    from random_vit import random_vit

    from vitreous.weights.golden import golden_of
    from vitreous.weights.native import save_native

    model = random_vit(0, num_classes=len(NASTY))
    card = card_for(model, classes=NASTY, licence="My own\n---\nlicence: 'x'", provenance={"a|b": "<b>|\n## c"})
    save_native(tmp_path / "m.safetensors", model.state_dict(), card, golden_of(model, card))
    push(tmp_path / "m.safetensors", str(tmp_path / "out"))
    text = (tmp_path / "out/README.md").read_text(encoding="utf-8")
    front = front_of(text)
    assert {
        *("license", "license_name", "library_name", "pipeline_tag", "tags", "num_classes", "classes"),
    } == set(front)
    assert "other" == front["license"]
    assert len(NASTY) == len(front["classes"])
    assert all(isinstance(label, str) for label in front["classes"])
    assert NASTY[0] == front["classes"][0]
    body = text.split("\n---\n", 1)[1]
    assert "<script>" not in body
    assert "[link](" not in body
    assert not any(line.startswith(("## c", "# title", "---")) for line in body.splitlines())


def test_a_run_brings_its_card_and_its_score(tmp_path: Path) -> None:
    """The headline goes where the hub looks for it, unless it is optimistic."""
    run = tmp_path / "photos"
    run.mkdir()
    saved(run / "model.safetensors")
    (run / "MODEL_CARD.md").write_text("# The card of the run\n", encoding="utf-8")
    result = RunResult(
        run="photos", model="m", top1=0.875, interval=(0.8, 0.93), seen=80, expected=80, seconds=1.0, report="r",
        data='photos/test: "80" images',
    )  # fmt: skip
    (run / "run.json").write_text(json.dumps({"result": to_json(result)}), encoding="utf-8")
    push(run, str(tmp_path / "out"))
    text = (tmp_path / "out/README.md").read_text(encoding="utf-8")
    (index,) = front_of(text)["model-index"]
    assert "photos" == index["name"]
    assert [{"type": "accuracy", "value": 0.875}] == index["results"][0]["metrics"]
    assert 'photos/test: "80" images' == index["results"][0]["dataset"]["name"]
    assert text.endswith("---\n\n# The card of the run\n")
    (run / "run.json").write_text(json.dumps({"result": {**to_json(result), "optimistic": True}}), encoding="utf-8")
    push(run, str(tmp_path / "out"))
    assert "model-index" not in (tmp_path / "out/README.md").read_text(encoding="utf-8")


def test_somebody_elses_readme_is_left_alone(tmp_path: Path) -> None:
    saved(tmp_path / "m.safetensors")
    (tmp_path / "README.md").write_text("# My project\n")
    with pytest.raises(UsageError, match=r"README\.md that is no model's card"):
        push(tmp_path / "m.safetensors", str(tmp_path))
    assert "# My project\n" == (tmp_path / "README.md").read_text()
    assert not (tmp_path / "model.safetensors").exists()


def test_only_whole_models_of_ours_leave(tmp_path: Path) -> None:
    """A flipped bit is found before anything is written."""
    saved(tmp_path / "m.safetensors")
    blob = bytearray((tmp_path / "m.safetensors").read_bytes())
    blob[-5] ^= 1
    (tmp_path / "m.safetensors").write_bytes(blob)
    with pytest.raises(ModelFileError, match="damaged"):
        push(tmp_path / "m.safetensors", str(tmp_path / "out"))
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("target", ["name", "a/b/c", "owner/..", "own er/name", ""])
def test_a_target_must_be_one(tmp_path: Path, target: str, monkeypatch: pytest.MonkeyPatch) -> None:
    saved(tmp_path / "m.safetensors")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError, match="neither a repository nor a folder"):
        push("m.safetensors", target)


@pytest.mark.filterwarnings("ignore:Use 'content:DeprecationWarning")  # huggingface_hub's own
def test_a_hub_gets_both_files_in_one_commit(server: Hub, tmp_path: Path) -> None:
    """As huggingface_hub sends them: the weights as a large object, the card inline; and they can be fetched again."""
    saved(tmp_path / "m.safetensors")
    content = (tmp_path / "m.safetensors").read_bytes()
    place = push(tmp_path / "m.safetensors", "someone/photos", hub_url=server.url, private=True, token="hf_mine")
    assert f"{server.url}/someone/photos" == place
    assert "private" == server.repos["someone/photos"].get("visibility")
    (lines,) = server.commits
    kinds = {line["value"]["path"]: line["key"] for line in lines if "path" in line["value"]}
    assert {"model.safetensors": "lfsFile", "README.md": "file"} == kinds
    assert {hashlib.sha256(content).hexdigest(): content} == server.stored
    assert {"Bearer hf_mine"} == {r.headers.get("Authorization") for r in server.asked if r.method == "POST"}
    readme = server.files["/someone/photos/resolve/main/README.md"].decode()
    assert CLASSES[0] == front_of(readme)["classes"][0]
    server.token = ""
    path = fetch("someone/photos", cache=tmp_path / "cache", hub_url=server.url, progress=False)
    assert content == path.read_bytes()
    push(tmp_path / "m.safetensors", "someone/photos", hub_url=server.url, token="hf_mine")  # again, into the same


def test_a_folder_can_stand_for_the_hub(tmp_path: Path) -> None:
    """What is pushed there is found there."""
    saved(tmp_path / "m.safetensors")
    (tmp_path / "shelf").mkdir()
    push(tmp_path / "m.safetensors", "someone/photos", hub_url=str(tmp_path / "shelf"))
    found = fetch("someone/photos", hub_url=str(tmp_path / "shelf"))
    assert tmp_path / "shelf/someone/photos/model.safetensors" == found


def test_a_wrong_token_is_told(server: Hub, tmp_path: Path) -> None:
    saved(tmp_path / "m.safetensors")
    with pytest.raises(ResourceError, match="does not accept the token"):
        push(tmp_path / "m.safetensors", "someone/photos", hub_url=server.url, token="hf_other")
    with pytest.raises(UsageError, match="needs a token that may write"):
        push(tmp_path / "m.safetensors", "someone/photos", hub_url=server.url)


def test_without_the_extra_the_pip_line_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    saved(tmp_path / "m.safetensors")
    real = builtins.__import__

    def missing(name: str, *rest: Any) -> Any:
        if name.startswith("huggingface_hub"):
            raise ImportError(f"No module named {name!r}")
        return real(name, *rest)

    for name in [name for name in sys.modules if name.startswith("huggingface_hub")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setattr(builtins, "__import__", missing)
    with pytest.raises(UsageError, match="needs the package huggingface_hub") as caught:
        push(tmp_path / "m.safetensors", "someone/photos", token="hf_mine")
    assert "pip install 'vitreous[hub]'" in str(caught.value.remedy)
    assert 2 == caught.value.exit_code
