"""The table of recipes, docs/recipes.md, made of the recipes themselves; run as a script, this writes it."""

from __future__ import annotations

from pathlib import Path

from vitreous.recipe import recipe_families

PAGE = Path(__file__).resolve().parent.parent / "docs" / "recipes.md"


def page() -> str:
    """All recipes in Markdown, a table for each family."""
    lines = [
        "# Recipes",
        "",
        "What each is expected to reach, by whoever published it, on what machine, and what it reached here.",
        "`vitreous recipes NAME` shows every number in one of them, its source, and the command that runs it.",
        "Written by `python tests/recipe_page.py`.",
    ]
    for family in recipe_families():
        lines += ["", f"## {family.title}", "", f"{family.paper}. For `vitreous {family.purpose}`.", ""]
        lines += ["| recipe | what | expected | trained on | run here |", "|---|---|---|---|---|"]
        for recipe in family.recipes:
            expected, here = recipe.expected or "no published score", recipe.measured or "only configured"
            lines.append(f"| `{recipe.name}` | {recipe.summary} | {expected} | {recipe.hardware or '-'} | {here} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
