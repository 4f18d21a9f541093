"""`vitreous paper` as a reader uses it: list, table, cell, JSON, page with figures, and what it refuses."""

from __future__ import annotations

import json
from pathlib import Path
from unittest.mock import create_autospec
from xml.etree import ElementTree

import pytest
from PIL import Image

from vitreous.cli import main
from vitreous.cli.paper import shown
from vitreous.published.find import published_tables
from vitreous.published.measured import Measured
from vitreous.study import paper as study
from vitreous.study.miniature import run


def test_the_list_names_every_table(capfd: pytest.CaptureFixture[str]) -> None:
    assert 0 == main(["paper"])
    said = capfd.readouterr().out
    assert all(f"  {table.name} " in said for table in published_tables())
    assert max(map(len, said.splitlines())) <= 100


@pytest.mark.parametrize("name", ["vit-table2", "augreg-table3", "vtab-leaderboard", "vit-table5"])
def test_a_table_fits_100_columns_and_keeps_every_number(name: str) -> None:
    """Where it is wider, columns come in pieces, each beside the names of the rows."""
    (found,) = study.paper(name)
    lines = shown(found)
    assert max(map(len, lines)) <= 100
    for row in found.rows:
        numbers = [word for line in lines if line.startswith(f"  {row}  ") for word in line[len(row) + 2 :].split("  ")]
        cells = [found.at(row, column) for column in found.columns]
        assert [cell.printed if cell else "-" for cell in cells] == [word.strip() for word in numbers if word.strip()]


def test_a_cell_tells_its_command_and_what_it_takes(capfd: pytest.CaptureFixture[str]) -> None:
    assert 0 == main(["paper", "vit-table2", "--cell", "cifar-100", "l/16 i21k"])
    said = " ".join(capfd.readouterr().out.split())
    assert "vit-table2: CIFAR-100, ViT-L/16 I21k printed 93.25 ± 0.05" in said
    assert "vitreous finetune cifar-100/ --model vit-l16.google_in21k --recipe paper-finetune-cifar100 --fetch" in said
    assert "needs CIFAR-100; pre-training took the authors 230 TPUv3-core-days; 5.9 exaFLOPs by these commands" in said


def test_commands_stand_once_for_all_cells_that_share_them(capfd: pytest.CaptureFixture[str]) -> None:
    assert 0 == main(["paper", "vit-table9", "--commands"])
    said = capfd.readouterr().out
    assert "  ViT-L/16 I21k: every row\n      vitreous vtab vit-l16.google_in21k --root vtab/ --fetch\n" in said
    assert 3 == said.count("      vitreous vtab ")


def test_json_has_every_cell(capfd: pytest.CaptureFixture[str]) -> None:
    assert 0 == main(["paper", "vit-table6", "--json"])
    found = json.loads(capfd.readouterr().out)
    assert 126 == len(found["cells"])
    cell = next(c for c in found["cells"] if (c["row"], c["column"]) == ("ViT-H/14, 14 epochs", "ImageNet"))
    assert (88.08, 2500, 4262, None) == (cell["value"], cell["core_days"], cell["exaflops"], cell["ours"])
    assert cell["computed_exaflops"] == pytest.approx(4262, rel=0.05)


def test_ours_stands_beside_the_published_number(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """With what it is, so that nobody takes it for the paper's."""
    what = "ViT of 3 blocks, 48 wide, on mnist-5k, in miniature"
    ours = Measured(table="vit-table8", row="2-D", column="stem", value=0.8125, spread=0.01, what=what, command="x")
    monkeypatch.setattr(study, "measured_at", lambda *at: ours if at == ("vit-table8", "2-D", "stem") else None)
    assert 0 == main(["paper", "vit-table8"])
    said = capfd.readouterr().out
    assert "0.64001 | ours 0.8125 ± 0.0100" in said
    assert f"ours: {what}" in said
    assert 0 == main(["paper", "vit-table8", "--cell", "2-D", "stem"])
    assert what in capfd.readouterr().out


def test_the_page_and_its_figures(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """paper.html with every number and command of the table, and its figure as SVG and PNG."""
    out = tmp_path / "paper"
    assert 0 == main(["paper", "vit-table9", "--out", str(out), "--json"])
    told = json.loads(capfd.readouterr().out)
    assert [str(out / "vtab.svg"), str(out / "vtab.png")] == told["figures"]
    assert {"paper.html", "vtab.svg", "vtab.png"} == {path.name for path in out.iterdir()}
    assert ElementTree.parse(out / "vtab.svg").getroot().tag.endswith("svg")
    with Image.open(out / "vtab.png") as image:
        assert min(image.size) > 400
    html = Path(told["html"]).read_text(encoding="utf-8")
    (found,) = study.paper("vit-table9")
    assert all(f">{cell.printed}<" in html for cell in found.cells)
    assert all(f"<code>{command}</code>" in html for cell in found.cells for command in cell.commands)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("paper vit-tabel9", "did you mean vit-table9"),
        ("paper vit-table9 --cell CIFAR-10 H/14", "there is no row of vit-table9 called 'CIFAR-10'"),
        ("paper vit-table2 --cell CIFAR-10 noisy", "prints nothing for CIFAR-10, Noisy Student EffNet-L2"),
        ("paper vit-table9 --cell Pets", "--cell takes a row and a column, got 1 word"),
        ("paper --commands", "--commands needs the table"),
        ("paper vit-table9 --miniature", "--miniature runs all comparisons"),
        ("paper vit-table9 --seeds 2", "--seeds goes with --miniature"),
        ("paper --miniature --seeds 0", "--seeds must be above 0, got 0"),
        ("paper vit-table9 --cell Pets H/14 --out x", "--out writes whole tables"),
    ],
)
def test_what_it_refuses(words: str, message: str, capfd: pytest.CaptureFixture[str]) -> None:
    assert 2 == main(words.split())
    assert message in " ".join(capfd.readouterr().err.split())


def test_the_miniature_is_called_as_it_wants_to_be(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """Every flag reaches it, under the name that it has there."""
    plan, done = create_autospec(run.plan, return_value=["two runs"]), create_autospec(run.miniature, return_value=None)
    monkeypatch.setattr(run, "plan", plan)
    monkeypatch.setattr(run, "miniature", done)
    assert 0 == main(["paper", "--miniature", "--dry-run", "--only", "positions", "pooling", "--json"])
    assert {"plan": ["two runs"]} == json.loads(capfd.readouterr().out)
    plan.assert_called_once_with(seeds=run.SEEDS, threads=None, only=("positions", "pooling"))
    assert 0 == main(["paper", "--miniature", "--out", "mini", "--seeds", "2", "--threads", "5", "--minutes", "7"])
    done.assert_called_once_with("mini", seeds=2, threads=5, minutes=7.0, only=())
