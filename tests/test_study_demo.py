"""The demo: its page and its numbers, in a few steps here and whole under the marker `slow`."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
from browser import chromium, needs_chromium, visit

import vitreous as vt
from vitreous.cli import main
from vitreous.recipe import find
from vitreous.study import demo


@pytest.fixture(scope="module")
def hurried(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The demo with three steps in place of hundreds."""
    short = {
        name: dataclasses.replace(recipe, steps=3, epochs=None) if name.startswith("demo-") else recipe
        for name, recipe in find._recipes().items()
    }
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(find, "_recipes", lambda: short)
        patch.setenv("VITREOUS_CACHE", str(tmp_path_factory.mktemp("cache")))
        out = tmp_path_factory.mktemp("demo") / "out"
        demo.demo(out, threads=1)
    return out


def test_it_leaves_three_runs_and_a_page(hurried: Path) -> None:
    """Each of the three is a run folder like any other, with a model that can be used."""
    assert {"pretrain", "transfer", "scratch", "report.html"} == {entry.name for entry in hurried.iterdir()}
    transferred = vt.load(hurried / "transfer", check=True)
    assert demo.TRANSFER_SIZE == transferred.config.image_size
    assert tuple("0123456789") == transferred.card.classes
    facts = json.loads((hurried / "transfer" / "run.json").read_text())
    assert 1697 == facts["result"]["seen"] == facts["images"]["held_out"]
    assert 100 == facts["images"]["train"]


def test_the_transfer_keeps_what_was_learned(hurried: Path) -> None:
    """Before its first step the transferred network is the pre-trained one, at more patches, with a head of zeros."""
    parent = vt.load(hurried / "pretrain")
    moved = vt.load(hurried / "pretrain", num_classes=10, head="new", image_size=demo.TRANSFER_SIZE)
    assert (4, 4) == parent.config.grid
    assert (6, 6) == moved.config.grid
    assert not moved.head.weight.any()
    corners = [0, 5, 30, 35]  # corners stay on corners when positions are interpolated
    np.testing.assert_allclose(
        parent.pos_embed.detach()[0, [1, 4, 13, 16]], moved.pos_embed.detach()[0, [1 + c for c in corners]], atol=1e-6
    )


@needs_chromium
@pytest.mark.browser
@pytest.mark.parametrize(("scheme", "width"), [("light", 1280), ("dark", 375)])
def test_the_page_opens_without_complaint(hurried: Path, scheme: str, width: int) -> None:
    """No console error, no request, no sideways scrolling; the same for the page of each run."""
    pages = [hurried / "report.html", *(hurried / run / "report.html" for run in ("pretrain", "transfer", "scratch"))]
    with chromium() as browser:
        for page in pages:
            with visit(browser, page, width=width, scheme=scheme) as seen:
                assert [] == seen.errors == seen.requests
                wide = seen.page.evaluate("document.scrollingElement.scrollWidth")
                assert wide <= width


@pytest.mark.slow
def test_the_whole_demo_shows_the_gain_of_transfer(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Through the command, with its real recipes: transfer beats pixels, which beat training from scratch."""
    assert 0 == main(["demo", "--out", str(tmp_path / "demo"), "--json"])
    told = json.loads(capsys.readouterr().out)
    assert {"pretrain_top1", "transfer_top1", "scratch_top1", "baseline_top1", "seconds", "report"} <= set(told)
    assert told["pretrain_top1"] >= 0.94
    assert told["transfer_top1"] >= 0.91
    assert told["transfer_top1"] > told["baseline_top1"] > told["scratch_top1"]
