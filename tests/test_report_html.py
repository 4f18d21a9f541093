"""The page as a file: whole, small, self-contained, the same each time, and deaf to hostile names."""

from __future__ import annotations

import base64
import dataclasses
import hashlib
import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from report_samples import demo_report, run_report

from vitreous.config import ModelCard
from vitreous.errors import ResourceError
from vitreous.report.card import model_card
from vitreous.report.content import Exhibit, Picture, RunReport
from vitreous.report.html import write_demo_report, write_model_card, write_run_report
from vitreous.results import Failure

HOSTILE = (
    "<script>window.pwned=1</script>",
    "<img src=x onerror=window.pwned=1>",
    "'\"><svg onload=window.pwned=1>",
    "{{ 7 * 7 }}{% raw %}",
    "</style></title><b>",
    "\x1b[31mred\x1b[0m",
    "=cmd|'/C calc'!A0",
    "../../etc/passwd",
    "nul\x00byte",
    "\u202egnp.exe",
    "line\nbreak | pipe `tick` [a](javascript:window.pwned=1)",
    "x" * 100_000,
    "caf\udce9",
    "javascript:window.pwned=1",
    "&lt;b&gt;",
)


class Tags(HTMLParser):
    """Every element of a page with its attributes."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))


def hostile_report() -> RunReport:
    """A report in which every text a stranger may choose is an attack."""
    report = run_report(len(HOSTILE), names=HOSTILE)
    failed = tuple(Failure(path=text, reason=text) for text in HOSTILE)
    return dataclasses.replace(
        report,
        title=HOSTILE[0],
        summary=HOSTILE[1],
        command=f"vitreous finetune '{HOSTILE[2]}'",
        data=dataclasses.replace(report.data, source=HOSTILE[4], notes=HOSTILE, failed=failed),
        environment=dict(zip(HOSTILE, HOSTILE, strict=True)),
        evaluation=dataclasses.replace(report.evaluation, failed=failed, data=HOSTILE[2]),
        card=dataclasses.replace(report.card, licence=HOSTILE[1], provenance={HOSTILE[0]: HOSTILE[10]}),
        optimistic_because=HOSTILE[1],
        result=dataclasses.replace(report.result, optimistic=True),
    )


@pytest.mark.parametrize("num_classes", [2, 10, 60])
def test_the_page_names_everything_it_rests_on(num_classes: int, tmp_path: Path) -> None:
    """Score, interval, images seen, expected and failed, baselines, command, environment, way on: all are there."""
    report = run_report(num_classes)
    page = write_run_report(tmp_path / "report.html", report).read_text(encoding="utf-8")
    text = re.sub(r"<[^>]+>", " ", page).replace("\N{NO-BREAK SPACE}", " ")
    scores = report.evaluation
    assert f"{100 * scores.top1:.1f}" in text
    assert f"between {100 * scores.interval[0]:.1f} % and {100 * scores.interval[1]:.1f} %" in text
    assert f"{scores.seen:,} of {scores.expected:,} images were read" in text
    for told in ("photos/ test/ a/ broken.jpg", "cut.jpg", "Random weights", "These images chose nothing"):
        assert told in text
    for told in (report.command, *report.environment.values(), *(step.text for step in report.next_steps)):
        assert told in text
    for baseline in report.baselines:
        assert baseline.explained in text
    assert "optimistic" not in re.sub(r"(?s)<(style|script)>.*?</\1>", "", page)


def test_an_optimistic_score_says_so_and_why(tmp_path: Path) -> None:
    """The badge stands beside the number, with one sentence."""
    page = write_run_report(tmp_path / "report.html", run_report(3, optimistic=True)).read_text(encoding="utf-8")
    assert 'class="badge warn">optimistic<' in page
    assert "the best of 30 epochs was chosen by them." in page
    assert "chose nothing" not in page


def test_the_page_asks_for_nothing_and_forbids_the_rest(tmp_path: Path) -> None:
    """Its policy allows its own style, script and pictures by hash and scheme; no element points elsewhere."""
    for path in (
        write_run_report(tmp_path / "run.html", run_report(4)),
        write_demo_report(tmp_path / "demo.html", demo_report()),
    ):
        page = path.read_text(encoding="utf-8")
        tags = Tags(page).found
        policy = next(a["content"] for t, a in tags if a.get("http-equiv") == "Content-Security-Policy")
        assert policy is not None
        for kind in ("style", "script"):
            (source,) = re.findall(rf"(?s)<{kind}>(.*?)</{kind}>", page)
            digest = base64.b64encode(hashlib.sha256(source.encode()).digest()).decode()
            assert f"{kind}-src 'sha256-{digest}'" in policy
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        for element, attributes in tags:
            assert "style" not in attributes
            assert not [key for key in attributes if key.startswith("on")]
            for key in ("src", "href"):
                assert re.match(r"data:(image/(png|jpeg);base64,|,$)|#", attributes.get(key) or "#"), element
        assert page.count("url(") == page.count("@import") == 0


def test_hostile_names_stay_names(tmp_path: Path) -> None:
    """Markup, templates, escapes, direction marks and endless names neither break nor swell the page."""
    friendly = Tags(write_run_report(tmp_path / "a.html", run_report(4)).read_text(encoding="utf-8")).found
    path = write_run_report(tmp_path / "b.html", hostile_report())
    page = path.read_text(encoding="utf-8")
    tags = Tags(page).found
    assert {tag for tag, _ in tags} <= {tag for tag, _ in friendly}
    assert {key for _, attributes in tags for key in attributes} <= {key for _, a in friendly for key in a}
    assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f\u202a-\u202e\u2066-\u2069]", page)
    assert path.stat().st_size < 1_000_000
    assert "{{ 7 * 7 }}" in page


def test_a_page_full_of_large_pictures_stays_under_two_megabytes(tmp_path: Path) -> None:
    """However many and however large the pictures, a report can be mailed."""
    report = run_report(100)
    rng = np.random.default_rng(0)
    picture = Picture(pixels=rng.integers(0, 256, (700, 900, 3), dtype=np.uint8), attention=rng.random((14, 18)))
    many = tuple(Exhibit(outcome=outcome, picture=picture) for outcome in report.evaluation.outcomes[:40])
    path = write_run_report(tmp_path / "report.html", dataclasses.replace(report, mistakes=many, looks=many))
    assert path.stat().st_size < 2_000_000


def test_the_same_content_makes_the_same_file(tmp_path: Path) -> None:
    """Nothing in the page depends on when or where it was written."""
    first = write_run_report(tmp_path / "one.html", run_report(5)).read_bytes()
    assert first == write_run_report(tmp_path / "two.html", run_report(5)).read_bytes()


def test_a_bare_report_is_a_page_too(tmp_path: Path) -> None:
    """A user's own module, no curve, no mistake, no attention, no baseline: nothing is missed."""
    report = run_report(3)
    right = tuple(dataclasses.replace(one, predicted=one.label) for one in report.evaluation.outcomes)
    bare = dataclasses.replace(
        report,
        records=(),
        baselines=(),
        mistakes=(),
        looks=(),
        card=ModelCard(),
        environment={},
        next_steps=(),
        written="",
        evaluation=dataclasses.replace(report.evaluation, outcomes=right, failed=()),
        data=dataclasses.replace(report.data, counts=(), notes=(), failed=(), fingerprint=""),
    )
    page = write_run_report(tmp_path / "report.html", bare).read_text(encoding="utf-8")
    assert "Nothing: all 72 images were named rightly." in page
    assert "a module of your own" in page
    assert 'href="#attention"' not in page


def test_a_report_that_cannot_be_written_leaves_the_old_one(tmp_path: Path) -> None:
    """Failure names the file, costs nothing that was there, and leaves no crumbs."""
    path = tmp_path / "report.html"
    path.mkdir()
    (path / "kept").touch()
    with pytest.raises(ResourceError, match=r"cannot be written") as caught:
        write_run_report(path, run_report(2))
    assert caught.value.exit_code == 6
    assert caught.value.where == str(path)
    assert [entry.name for entry in tmp_path.iterdir()] == ["report.html"]
    with pytest.raises(ResourceError, match="cannot be written"):
        write_run_report(tmp_path / "nowhere" / "report.html", run_report(2))


def test_the_model_card_states_what_is_known_and_what_is_not(tmp_path: Path) -> None:
    """Score with interval and images, baselines, data, recipe; "not stated" for the rest; no placeholder."""
    report = run_report(3)
    card = write_model_card(tmp_path / "MODEL_CARD.md", report).read_text(encoding="utf-8")
    assert card == model_card(report)
    plain = card.replace("\N{NO-BREAK SPACE}", " ")
    scores = report.evaluation
    assert f"**{100 * scores.top1:.1f} %** of {scores.seen} images" in plain
    assert f"{scores.seen:,} of {scores.expected:,} seen, 2 failed" in plain
    assert "Licence of the weights: not stated." in plain
    assert "random weights" in plain
    assert report.command in plain
    assert not re.search(r"(?i:\b(todo|tbd|fixme|more information needed|lorem)\b)|None|\{\{|\[\w+ here\]", plain)
    tables = [block.splitlines() for block in card.split("\n\n") if block.startswith("|")]
    for table in tables:
        assert len({len(re.findall(r"(?<!\\)\|", row)) for row in table}) == 1


def test_hostile_names_mean_nothing_in_the_model_card() -> None:
    """No line of the card is made by a name, and no tag, link or cell border either."""
    friendly, card = model_card(run_report(len(HOSTILE))), model_card(hostile_report())
    headings = [line for line in card.splitlines() if line.startswith("#")]
    assert len(headings) == len([line for line in friendly.splitlines() if line.startswith("#")])
    outside = re.sub(r"(?ms)^```.*?^```", "", card)
    assert not re.search(r"(?<!\\)<|(?<!\\)\[|(?<!\\)`", outside)
    assert not re.search(r"[\x00-\x08\x0b-\x1f\u202a-\u202e]", card)
    assert len(card) < 60_000
