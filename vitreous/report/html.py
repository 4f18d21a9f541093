"""Reports as one self-contained HTML file: no external asset, no network, everything escaped.

Templates say what the page says, a file per page gives them its values, `figure`, `matrix` and `chart` draw. The page's
one style sheet and one script are allowed by their hashes; a content security policy forbids everything else, inline
styles included.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape

from vitreous.files import write_text
from vitreous.report.card import model_card as model_card
from vitreous.report.check import check_view
from vitreous.report.compare import comparison_view
from vitreous.report.content import RunReport
from vitreous.report.demo import demo_view
from vitreous.report.evaluation import evaluation_view
from vitreous.report.figure import bar
from vitreous.report.masked import MaskedReport, masked_card, masked_view
from vitreous.report.miniature import miniature_view
from vitreous.report.paper import paper_view
from vitreous.report.probe import probe_view
from vitreous.report.robustness import robustness_view
from vitreous.report.run import run_view
from vitreous.report.vtab import vtab_view
from vitreous.report.words import clean, count, name, percent, sentence

Report = TypeVar("Report")


def _page(template: str, view: Callable[[Report], dict[str, Any]]) -> Callable[[str | Path, Report], Path]:
    """A function that writes one kind of page, whole or not at all, and gives the path of its file.

    It takes that path, in a folder that exists, and what to show. A file that cannot be written is a ResourceError.
    """

    def write(path: str | Path, report: Report) -> Path:
        return _written(path, _render(template, view(report)))

    return write


write_run_report = _page("run.html.j2", run_view)
"""Write the page of a training run."""

write_demo_report = _page("demo.html.j2", demo_view)
"""Write the page of the demo."""

write_masked_report = _page("masked.html.j2", masked_view)
"""Write the page of a run of masked patch prediction."""

write_check_report = _page("check.html.j2", check_view)
"""Write the page of a check of data."""

write_probe_report = _page("probe.html.j2", probe_view)
"""Write the page of a probe of frozen features."""

write_robustness_report = _page("robustness.html.j2", robustness_view)
"""Write the page of a score on one of ImageNet's variants."""

write_evaluation_report = _page("evaluation.html.j2", evaluation_view)
"""Write the page of an evaluation."""

write_comparison_report = _page("compare.html.j2", comparison_view)
"""Write the page of a comparison of two models."""

write_vtab_report = _page("vtab.html.j2", vtab_view)
"""Write the page of a run of VTAB."""

write_paper_report = _page("paper.html.j2", paper_view)
"""Write the page of the published tables."""

write_miniature_report = _page("miniature.html.j2", miniature_view)
"""Write the page of the paper's studies in miniature."""


def write_model_card(path: str | Path, report: RunReport | MaskedReport) -> Path:
    """Write the model card, whole or not at all, and give its path.

    Args:
        path: of the Markdown file; its folder exists.
        report: what to state.

    Raises:
        ResourceError: the file cannot be written.
    """
    return _written(path, masked_card(report) if isinstance(report, MaskedReport) else model_card(report))


def _written(path: str | Path, text: str) -> Path:
    write_text(Path(path), text)
    return Path(path)


def _render(template: str, values: dict[str, Any]) -> str:
    style, script = _asset("page.css"), _asset("page.js")
    policy = "; ".join(
        [
            "default-src 'none'",
            "img-src data:",
            f"style-src {_allowed(style)}",
            f"script-src {_allowed(script)}",
            "base-uri 'none'",
            "form-action 'none'",
        ]
    )
    page = {"policy": policy, "style": Markup(style), "script": Markup(script)}
    return _environment().get_template(template).render(**page, **values)


def _allowed(source: str) -> str:
    """The hash by which a content security policy allows exactly this inline source (CSP Level 3, section 8.3)."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(source.encode()).digest()).decode()}'"


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("vitreous.report", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=_harmless,
    )
    environment.filters |= {"percent": percent, "name": name, "path": _path, "sentence": sentence}
    environment.filters["images"] = lambda number: count(number, "image")
    environment.globals["bar"] = bar
    return environment


def _path(text: str) -> Markup:
    """A path that may break its line after a slash."""
    return escape(name(text, 160)).replace("/", Markup("/<wbr>"))


def _harmless(value: Any) -> Any:
    """Every text that reaches the page loses its control characters; what was drawn here already has."""
    return clean(value) if isinstance(value, str) and not isinstance(value, Markup) else value


def _asset(file: str) -> str:
    loader = _environment().loader
    assert loader is not None
    return loader.get_source(_environment(), file)[0]
