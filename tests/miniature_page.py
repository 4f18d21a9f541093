"""A finished folder of the studies in miniature, copied to docs/ and to the measured values of the tables.

python tests/miniature_page.py FOLDER
"""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
MEASURED = ROOT / "vitreous" / "published" / "measured.json"

_POSITIONS = {"every layer, shared": "every layer, shared", "every layer": "every layer", "stem": "stem"}
_TABLE_7 = {"smaller ResNet": "ResNet50", "larger ResNet": "ResNet152x2"}


def entries(result: dict[str, Any]) -> list[dict[str, Any]]:
    """The measured values of one finished result, as published/measured.py reads them.

    Args:
        result: results.json.
    """
    versions = ", ".join(f"{name} {result['environment'][name]}" for name in ("vitreous", "PyTorch"))
    found = []
    for study in result["studies"]:
        for arm in study["arms"]:
            score = arm["scores"][study["measure"]]
            for table, row, column, scale in _cells(study["name"], arm["name"]):
                spread = score["spread"]
                found.append(
                    {
                        "table": table,
                        "row": row,
                        "column": column,
                        "value": round(scale * score["mean"], 5 if scale == 1 else 2),
                        "spread": None if spread is None else round(scale * spread, 5 if scale == 1 else 2),
                        "what": f"in miniature: {arm['trained']}, on {arm['learned']:,} digits; 5-shot on digits of "
                        f"other writers, {len(score['values'])} seeds",
                        "date": result["written"][:10],
                        "versions": versions,
                        "command": "vitreous paper --miniature",
                    }
                )
    return found


def _cells(study: str, arm: str) -> list[tuple[str, str, str, float]]:
    """Table, row, column and unit of the published number that this arm stands beside."""
    first, _, rest = arm.partition(", ")
    if study == "positions":
        return [("vit-table8", first, _POSITIONS[rest or "stem"], 1)]
    if study == "optimizers":
        return [("vit-table7", "Average", f"{_TABLE_7[first]} {rest}", 100)]
    return []


def main(folder: Path) -> None:
    """Copy page, charts and measured values.

    Args:
        folder: of a finished `vitreous paper --miniature`.
    """
    result = json.loads((folder / "results.json").read_text(encoding="utf-8"))
    if result["runs"] != result["planned"]:
        sys.exit(f"{result['planned'] - result['runs']} runs are not done yet: {result['command']}")
    charts = ROOT / "docs" / "miniature"
    charts.mkdir(exist_ok=True)
    for path in sorted((folder / "charts").iterdir()):
        shutil.copyfile(path, charts / path.name)
    text = (folder / "miniature.md").read_text(encoding="utf-8").replace("](charts/", "](miniature/")
    typed = result["command"].replace(f" --out {folder}", "")
    (ROOT / "docs" / "miniature.md").write_text(text.replace(result["command"], typed), encoding="utf-8")
    ours = entries(result)
    places = {(one["table"], one["row"], one["column"]) for one in ours}
    before = json.loads(MEASURED.read_text(encoding="utf-8")) if MEASURED.exists() else []
    kept = [one for one in before if (one["table"], one["row"], one["column"]) not in places]
    MEASURED.write_text(json.dumps([*kept, *ours], indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
