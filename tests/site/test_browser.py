"""The site as its readers meet it: in a headless Chromium, opened as files, with no network.

`tox -e site` runs these; without a Chromium or playwright they skip and say so."""

from __future__ import annotations

import csv
import importlib.util
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest
from site_records import EVIL, folder, site

sync_api = pytest.importorskip(
    "playwright.sync_api", reason="playwright is not installed; `tox -e site` does"
)
pytestmark = pytest.mark.site

CHROMIUM = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
)  # fmt: skip
Page = Any  # playwright's; it need not be installed where types are checked


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    path = os.environ.get("CREDITBENCH_CHROMIUM") or next(filter(None, map(shutil.which, CHROMIUM)), None)
    if path is None:
        pytest.skip("no Chromium is installed; CREDITBENCH_CHROMIUM may name one")
    with sync_api.sync_playwright() as playwright:
        own = playwright.chromium.launch(executable_path=path, args=list(FLAGS))
        yield own
        own.close()


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("site")
    site(folder(place / "records"), place / "out")
    return place / "out"


def until(page: Page, words: str) -> None:
    """Waits until an expression holds. Playwright's own wait polls by eval, which the pages forbid."""
    for _ in range(200):
        if page.evaluate(words):
            return
        page.wait_for_timeout(50)  # [ms]
    raise AssertionError(f"it never came to hold: {words}")


@pytest.fixture
def visit(browser: Any, pages: Path) -> Iterator[Callable[..., Page]]:
    """Opens a page of the site. What it logs, raises, asks or fetches from elsewhere fails the test."""
    found: list[str] = []
    contexts = []

    def refused(dialog: Any) -> None:
        found.append(f"dialog: {dialog.message}")
        dialog.dismiss()

    def asked(request: Any) -> None:
        if not request.url.startswith(("file:", "blob:", "data:")):
            found.append(f"asked for {request.url}")

    def open_page(place: str = "index.html", **context: Any) -> Page:
        own = browser.new_context(viewport={"width": 1400, "height": 900}, accept_downloads=True, **context)
        contexts.append(own)
        page = own.new_page()
        page.on("console", lambda message: found.append(f"console {message.type}: {message.text}"))
        page.on("pageerror", lambda error: found.append(f"error: {error}"))
        page.on("dialog", refused)
        page.on("request", asked)
        page.goto(f"file://{pages}/{place}")
        if page.locator("#board").count():
            page.wait_for_selector("#board tbody tr")
            page.wait_for_selector("#curves svg, #curves .empty")
        return page

    yield open_page
    for own in contexts:
        own.close()
    assert found == []


def column(page: Page, key: str) -> list[str]:
    return [text.strip() for text in page.locator(f"#board tbody td.{key}").all_inner_texts()]


def rules(page: Page) -> list[str]:
    return [text.split("\n")[0].strip() for text in column(page, "rule")]


def points(page: Page) -> list[str]:
    return [link.get_attribute("aria-label").split(":")[0] for link in page.locator("#pareto svg a").all()]


def choose(page: Page, name: str, value: str) -> None:
    page.locator(f"#filters [name={name}]").select_option(value)


def head(page: Page, title: str) -> Any:
    return page.locator("#board thead th").filter(has_text=title)


# ------------------------------------------------------------------------------------------ the pages


def test_no_page_logs_an_error_or_asks_for_anything_but_files(
    visit: Callable[..., Page], pages: Path
) -> None:
    places = sorted(path.relative_to(pages).as_posix() for path in pages.rglob("*.html"))
    one_cell = next(place for place in places if place.startswith("cells/"))
    for place in [place for place in places if not place.startswith("cells/")] + [one_cell]:
        page = visit(place)
        assert page.locator("h1").count() == 1, place


def test_a_rule_called_script_is_shown_as_text(visit: Callable[..., Page]) -> None:
    page = visit("tasks/digits.html#status=ok&q=script")
    assert rules(page) == [EVIL]
    assert EVIL in points(page)[0] or any(EVIL.startswith(name) for name in points(page))
    page.locator("#board td.rule a").click()
    page.wait_for_selector("h1")
    assert page.locator("h1").inner_text() == EVIL
    assert page.locator("h1 script, h1 img").count() == 0
    assert EVIL in page.locator("#audit").inner_text()
    assert EVIL in page.locator("#legend").inner_text()


def test_every_state_is_shown_and_none_is_averaged_away(visit: Callable[..., Page]) -> None:
    page = visit("tasks/digits.html#network=mlp")
    status = dict(zip(rules(page), column(page, "status"), strict=True))
    assert status["shaky"].startswith("2 of 3 ok, 1 diverged")
    assert "weights stopped being finite </script>" in status["shaky"]
    assert status["picky"].startswith("skipped")
    scores = dict(zip(rules(page), column(page, "score"), strict=True))
    assert scores["picky"] == "–"
    assert scores["shaky"] == "90.00 ±0.00*"
    suite = visit("suites/small.html")
    assert dict(zip(rules(suite), column(suite, "status"), strict=True))["absent"] == "missing"
    assert "2 of the seeds that the suite asks for were not run" in suite.locator("#board").inner_text()


# ------------------------------------------------------------------------------------------ the table


def test_headings_sort_and_what_is_absent_stays_last(visit: Callable[..., Page]) -> None:
    page = visit("tasks/digits.html#network=mlp")
    for _ in range(2):
        head(page, "score, %").click()
        known = [text for text in column(page, "score") if text != "–"]
        values = [float(text.split()[0].rstrip("*")) for text in known]
        assert values in (sorted(values), sorted(values, reverse=True))
        assert column(page, "score")[-1] == "–"
        assert "sort=score" in unquote(page.url)
    assert head(page, "score, %").get_attribute("aria-sort") is not None


def test_a_heading_sorts_from_the_keyboard(visit: Callable[..., Page]) -> None:
    page = visit("tasks/digits.html#network=mlp")
    head(page, "step, × bp").locator("[tabindex='0']").first.focus()
    page.keyboard.press("Enter")
    until(page, "location.hash.includes('ratio')")
    known = [float(text) for text in column(page, "ratio") if text != "–"]
    assert known == sorted(known, reverse=True)
    assert len(known) == 5


def test_filters_narrow_the_table_and_the_charts(visit: Callable[..., Page]) -> None:
    page = visit("index.html")
    everything = len(rules(page))
    choose(page, "task", "mnist")
    assert set(column(page, "task")) == {"mnist"}
    assert len(rules(page)) == 4 < everything
    assert page.locator("#group").input_value() == "mnist · mlp"
    assert sorted(points(page)) == ["bp", "dfa", "fa", "last-layer"]
    page.locator("#filters [type=reset]").click()
    assert len(rules(page)) == everything


def test_tracks_never_stand_in_one_table(visit: Callable[..., Page]) -> None:
    page = visit("tasks/digits.html#columns=rule,score,track")
    assert set(column(page, "track")) == {"tuned"}
    choose(page, "track", "default settings")
    assert set(column(page, "track")) == {"default settings"}
    assert rules(page) == ["fa"]
    assert "" not in [
        option.get_attribute("value") for option in page.locator("#filters [name=track] option").all()
    ]


def test_the_search_finds_a_rule_and_says_when_nothing_matches(visit: Callable[..., Page]) -> None:
    page = visit("index.html")
    page.get_by_label("Search").fill("uncosted")
    until(page, "location.hash.includes('q=uncosted')")
    assert rules(page) == ["uncosted"]
    page.get_by_label("Search").fill("no such rule")
    page.wait_for_selector("#board .dt-empty")
    assert "Nothing matches" in page.locator("#board").inner_text()


def test_the_column_picker_shows_and_hides(visit: Callable[..., Page]) -> None:
    page = visit("tasks/digits.html")
    assert head(page, "trained on").count() == 0
    page.get_by_role("button", name="Columns").click()
    page.locator(".dt-button-collection").get_by_text("trained on").click()
    page.keyboard.press("Escape")
    assert head(page, "trained on").count() == 1
    assert "device" in unquote(page.url)


def test_a_link_restores_the_view(visit: Callable[..., Page]) -> None:
    page = visit("tasks/digits.html")
    choose(page, "network", "conv")
    page.locator("#cost").select_option("memory")
    page.locator("#along").select_option("seconds")
    page.locator("#scale").select_option("error")
    head(page, "rule").click()
    page.locator("#legend button", has_text="last-layer").click()
    address = page.locator("#permalink").evaluate("link => link.href")
    again = visit(address.split("/out/")[1])
    for other in (page, again):
        assert set(column(other, "network")) == {"conv"}
        assert other.locator("#cost").input_value() == "memory"
        assert other.locator("#along").input_value() == "seconds"
        assert other.locator("#scale").input_value() == "error"
        assert sorted(points(other)) == ["bp", "dfa", "fa"]
    assert rules(again) == rules(page)
    assert again.url == page.url


def test_back_and_forth_in_the_address_changes_the_view(visit: Callable[..., Page]) -> None:
    page = visit("tasks/digits.html#network=conv")
    page.evaluate("location.hash = '#network=mlp&q=shaky'")
    until(page, "document.querySelectorAll('#board tbody tr').length === 1")
    assert rules(page) == ["shaky"]


def test_the_view_downloads_as_csv_with_exact_values(visit: Callable[..., Page], tmp_path: Path) -> None:
    page = visit("tasks/digits.html#network=conv")
    with page.expect_download() as event:
        page.get_by_role("button", name="CSV of this view").click()
    event.value.save_as(tmp_path / "view.csv")
    with (tmp_path / "view.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["rule"] for row in rows] == rules(page) == ["bp", "dfa", "fa", "last-layer"]
    assert float(rows[0]["score"]) == pytest.approx(0.981)


def test_paper_gets_every_row(visit: Callable[..., Page]) -> None:
    page = visit("index.html")
    everything = len(rules(page))
    page.locator(".dt-length select").select_option("10")
    assert len(rules(page)) == 10 < everything
    page.evaluate("window.dispatchEvent(new Event('beforeprint'))")
    assert len(rules(page)) == everything
    page.emulate_media(media="print")
    assert not page.locator("#filters").is_visible()


# ----------------------------------------------------------------------------------------- the charts


def test_the_cost_chart_leaves_out_and_names_what_has_no_figure(visit: Callable[..., Page]) -> None:
    page = visit("tasks/digits.html#network=mlp")
    assert len(points(page)) == 5  # four rules and the hostile one
    note = page.locator("#pareto-note").inner_text()
    assert "Left out, without this figure: " in note
    assert "uncosted" in note.split("Left out")[1]
    assert "picky (skipped)" in note
    assert "On the front: last-layer, dfa, bp" in note


@pytest.mark.parametrize(
    ("cost", "label"),
    [("energy", "nJ"), ("macs", "MACs"), ("ratio", "× bp"), ("step", "ms"), ("memory", "MB")],
)
def test_every_cost_has_its_chart(visit: Callable[..., Page], cost: str, label: str) -> None:
    page = visit(f"tasks/digits.html#network=conv&cost={cost}")
    assert label in page.locator("#pareto svg").first.get_attribute("aria-label")
    assert len(points(page)) == 4


def test_a_point_is_a_link_that_the_keyboard_follows(visit: Callable[..., Page]) -> None:
    page = visit("tasks/digits.html#network=conv")
    page.locator("#pareto svg a").first.focus()
    page.keyboard.press("Enter")
    page.wait_for_selector("#again")
    assert "on digits, conv" in page.locator("h1").inner_text()


def test_hovering_a_point_tells_its_figures(visit: Callable[..., Page]) -> None:
    page = visit("tasks/digits.html#network=conv")
    page.locator("#pareto svg a").first.hover()
    until(page, "document.querySelector('#pareto [aria-label=tip]')?.textContent.includes('%')")


def test_curves_have_bands_and_leave_a_diverged_seed_out_of_the_mean(visit: Callable[..., Page]) -> None:
    page = visit("tasks/digits.html#network=mlp")
    assert page.locator("#curves [aria-label=area] path, #curves g[aria-label=area] path").count() >= 4
    assert "Not in a mean: shaky seed 2 (diverged)" in page.locator("#curves-note").inner_text()
    for along, words in (("seconds", "seconds"), ("modelled", "joules")):
        page.locator("#along").select_option(along)
        assert words in page.locator("#curves svg").first.get_attribute("aria-label")
    assert "Left out, without this figure" in page.locator("#curves-note").inner_text()


# --------------------------------------------------------------------------------- light, dark, access


def test_dark_and_light_follow_the_system_and_the_button(visit: Callable[..., Page]) -> None:
    paper = "getComputedStyle(document.body).backgroundColor"
    light, dark = visit(color_scheme="light"), visit(color_scheme="dark")
    assert light.evaluate(paper) == "rgb(255, 255, 255)"
    assert dark.evaluate(paper) != light.evaluate(paper)
    button = light.locator("#theme")
    while button.inner_text() != "Theme: dark":
        button.click()
    assert light.evaluate(paper) == dark.evaluate(paper)
    light.reload()
    assert light.evaluate(paper) == dark.evaluate(paper)


def axe() -> str:
    found = importlib.util.find_spec("axe_playwright_python")
    if found is None or not found.submodule_search_locations:
        pytest.skip("axe-playwright-python is not installed; `tox -e site` does")
    return (Path(next(iter(found.submodule_search_locations))) / "axe.min.js").read_text(encoding="utf-8")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize(
    "place",
    [
        "index.html",
        "tasks/digits.html",
        "rules/bp.html",
        "suites/small.html",
        "audit.html",
        "reading.html",
        "cells",
    ],
)
def test_axe_finds_nothing(visit: Callable[..., Page], pages: Path, place: str, scheme: str) -> None:
    if place == "cells":
        place = min((pages / "cells").iterdir()).relative_to(pages).as_posix()
    page = visit(place, color_scheme=scheme, bypass_csp=True)
    page.evaluate(axe())
    found = page.evaluate("axe.run(document, {resultTypes: ['violations'], preload: false})")
    told = [
        f"{one['id']}: {node['target']} {node['failureSummary']}"
        for one in found["violations"]
        for node in one["nodes"]
    ]
    assert told == []


def test_a_phone_scrolls_tables_and_not_the_page(visit: Callable[..., Page]) -> None:
    page = visit("index.html")
    page.set_viewport_size({"width": 390, "height": 844})
    page.wait_for_timeout(300)
    assert page.evaluate("document.documentElement.scrollWidth <= 390")
