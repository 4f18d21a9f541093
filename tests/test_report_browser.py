"""The pages in a real browser: silent, complete at every width, readable in both lights, sortable."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from browser import chromium, needs_chromium, visit
from playwright.sync_api import Browser
from report_samples import demo_report, run_report
from test_report_html import hostile_report

from vitreous.report.html import write_demo_report, write_run_report

pytestmark = [pytest.mark.browser, needs_chromium]

PAGES = ["two", "ten", "sixty", "hostile", "demo"]

# WCAG 2.2, success criterion 1.4.3: contrast of each text with what is painted behind it.
_CONTRASTS = """() => {
  const probe = Object.assign(document.createElement("canvas"), {width: 1, height: 1}).getContext("2d");
  const rgba = (colour) => {
    probe.clearRect(0, 0, 1, 1); probe.fillStyle = colour; probe.fillRect(0, 0, 1, 1);
    const [r, g, b, a] = probe.getImageData(0, 0, 1, 1).data; return [r, g, b, a / 255];
  };
  const over = (top, under) => [0, 1, 2].map((i) => top[i] * top[3] + under[i] * (1 - top[3]));
  const light = (c) => c.map((v) => (v /= 255) <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)
    .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
  const ground = (element) => {
    for (let e = element; e; e = e.parentElement) {
      const colour = rgba(getComputedStyle(e).backgroundColor);
      if (colour[3] === 1) return colour.slice(0, 3);
    }
    return [255, 255, 255];
  };
  const found = [];
  const walk = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walk.nextNode()) {
    const element = walk.currentNode.parentElement;
    if (!walk.currentNode.textContent.trim() || element.closest("title, script, [hidden]")) continue;
    const style = getComputedStyle(element);
    let behind = ground(element);
    const cell = element.matches(".cell") && element.previousElementSibling;
    if (cell) {
      const paint = getComputedStyle(cell), colour = rgba(paint.fill);
      behind = over([...colour.slice(0, 3), Number(paint.fillOpacity)], behind);
    }
    const text = over(rgba(element instanceof SVGElement ? style.fill : style.color), behind);
    const [a, b] = [light(text), light(behind)].sort((x, y) => y - x);
    found.push([(a + 0.05) / (b + 0.05), walk.currentNode.textContent.trim().slice(0, 40)]);
  }
  return found;
}"""


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as running:
        yield running


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("pages")
    reports = {"two": run_report(2, optimistic=True), "ten": run_report(10), "sixty": run_report(60)}
    reports["hostile"] = hostile_report()
    found = {name: write_run_report(folder / f"{name}.html", report) for name, report in reports.items()}
    return {**found, "demo": write_demo_report(folder / "demo.html", demo_report())}


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [375, 1280])
@pytest.mark.parametrize("name", PAGES)
def test_a_page_opens_without_a_word(
    browser: Browser, pages: dict[str, Path], name: str, width: int, scheme: str
) -> None:
    """No console error, no request, no sideways scrolling; every picture is there; no name became code."""
    with visit(browser, pages[name], width=width, scheme=scheme) as seen:
        page = seen.page
        wide, room = page.evaluate("[document.scrollingElement.scrollWidth, document.scrollingElement.clientWidth]")
        assert wide <= room
        broken = "[...document.images].filter((image) => !image.complete || !image.naturalWidth).length"
        assert page.evaluate(broken) == 0
        assert page.evaluate("window.pwned") is None
        assert seen.errors == []
        assert seen.requests == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("name", ["ten", "two", "demo"])
def test_every_text_can_be_read(browser: Browser, pages: dict[str, Path], name: str, scheme: str) -> None:
    """Contrast is 4.5 or more for every text, figures on the heat map included."""
    with visit(browser, pages[name], scheme=scheme) as seen:
        found = seen.page.evaluate(_CONTRASTS)
        assert len(found) > 100
        assert [entry for entry in found if entry[0] < 4.5] == []


@pytest.mark.parametrize("name", ["ten", "demo"])
def test_the_page_speaks_to_those_who_hear_it(browser: Browser, pages: dict[str, Path], name: str) -> None:
    """Pictures have texts, drawings labels, tables headings and captions, scrolling boxes names; ids are unique."""
    with visit(browser, pages[name]) as seen:
        for missing in (
            "img:not([alt]), img[alt='']",
            "svg:not([aria-label]):not([aria-hidden])",
            "th:not([scope])",
            "section:not([aria-labelledby])",
            ".scroll:not([aria-label])",
            "table:not(.verdict):not(:has(caption))",
            "button:not([aria-label]):not(:has(*)):empty",
        ):
            assert seen.page.locator(missing).count() == 0, missing
        assert seen.page.locator("h1").count() == 1
        assert seen.page.evaluate("document.documentElement.lang") == "en"
        ids = seen.page.evaluate("[...document.querySelectorAll('[id]')].map((e) => e.id)")
        assert len(ids) == len(set(ids))
        links = seen.page.evaluate("[...document.querySelectorAll('a')].map((a) => a.getAttribute('href').slice(1))")
        assert set(links) <= set(ids)
        assert len(links) >= 7


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_toggle_changes_the_light_and_is_remembered(browser: Browser, pages: dict[str, Path], scheme: str) -> None:
    """One press changes the paper and what the button offers; opening the page again keeps the choice."""
    paper = "getComputedStyle(document.body).backgroundColor"
    with visit(browser, pages["two"], scheme=scheme) as seen:
        button = seen.page.locator("button.theme")
        offered, before = button.get_attribute("aria-label"), seen.page.evaluate(paper)
        assert offered == f"Switch to {'dark' if scheme == 'light' else 'light'} colours"
        button.click()
        after = seen.page.evaluate(paper)
        assert after != before
        assert button.get_attribute("aria-label") == f"Switch to {scheme} colours"
        seen.page.reload()
        assert seen.page.evaluate(paper) == after
        seen.page.locator("button.theme").press("Enter")
        assert seen.page.evaluate(paper) == before
        assert seen.errors == []


def test_the_class_table_sorts(browser: Browser, pages: dict[str, Path]) -> None:
    """A press on a heading sorts by number or name, a second press the other way round, and says which."""
    report = run_report(10)
    scores = {score.name: score for score in report.evaluation.per_class}
    names = "[...document.querySelectorAll('table.scores tbody th')].map((cell) => cell.textContent)"
    with visit(browser, pages["ten"]) as seen:
        weakest = [scores[name].f1 for name in seen.page.evaluate(names)]
        assert weakest == sorted(weakest)
        head = seen.page.locator("table.scores thead th").nth(2)
        head.locator("button").click()
        recalls = [scores[name].recall for name in seen.page.evaluate(names)]
        assert (recalls, head.get_attribute("aria-sort")) == (sorted(recalls), "ascending")
        head.locator("button").press("Enter")
        recalls = [scores[name].recall for name in seen.page.evaluate(names)]
        assert (recalls, head.get_attribute("aria-sort")) == (sorted(recalls, reverse=True), "descending")
        seen.page.locator("table.scores thead th button").first.click()
        assert seen.page.evaluate(names) == sorted(scores)
        assert seen.page.locator("table.scores [aria-sort]").count() == 1


def test_paper_is_white_and_shows_everything(browser: Browser, pages: dict[str, Path]) -> None:
    """Printed from a dark screen the page is dark on white, and no table is cut off by its box."""
    with visit(browser, pages["sixty"], scheme="dark") as seen:
        seen.page.emulate_media(media="print", color_scheme="dark")
        assert seen.page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
        boxes = "[...document.querySelectorAll('.tall')].every((e) => e.scrollHeight <= e.clientHeight + 1)"
        assert seen.page.evaluate(boxes)
        assert not seen.page.locator("button.theme").is_visible()


def test_the_page_is_whole_without_its_script(browser: Browser, pages: dict[str, Path]) -> None:
    """With scripts switched off everything but the toggle and the sorting is there."""
    context = browser.new_context(java_script_enabled=False)
    try:
        page = context.new_page()
        page.goto(pages["ten"].as_uri())
        assert page.locator("table.scores tbody tr").count() == 10
        assert not page.locator("button.theme").is_visible()
    finally:
        context.close()
