"""The pages in a browser, as a person sees them: right, quiet, readable in both themes, fit for a phone."""

import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest
from dashboard_builders import (
    CHROMIUM,
    TOKEN,
    Running,
    screenshots_folder,
    serving,
    settings_in,
    write_steps,
    writer,
)

from bot.chain.pause import read_pause
from bot.model.record import StepRecord
from bot.model.tier import Tier

pytestmark = [
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine"),
    pytest.mark.xdist_group("browser"),
]
PAGES = {
    "overview": "/",
    "signals": "/signals",
    "positions": "/positions",
    "orders": "/orders",
    "runs": "/runs",
    "health": "/health",
}
LOOKS = {"light": ("light", 1200, 900), "dark": ("dark", 1200, 900), "phone": ("light", 360, 740)}
WITH_CHARTS = {"overview": 1, "signals": 0, "positions": 1}
_UPDATED_WITHIN_S = 2.0
_PATIENCE_S = 30.0


class Visit:
    """A signed-in browser window, and what it complained of."""

    def __init__(self, browser: Any, running: Running, look: str = "light") -> None:
        scheme, width, height = LOOKS[look]
        self.context = browser.new_context(
            viewport={"width": width, "height": height}, color_scheme=scheme, reduced_motion="reduce"
        )
        self.page = self.context.new_page()
        self.said: list[str] = []
        self.asked: list[str] = []
        self.page.on("console", lambda item: self.said.append(item.text) if item.type == "error" else None)
        self.page.on("pageerror", lambda error: self.said.append(str(error)))
        self.page.on("request", lambda request: self.asked.append(request.url))
        self.url = running.url.rstrip("/")
        self.page.goto(f"{self.url}/login#token={TOKEN}")
        self.page.wait_for_url(f"{self.url}/")

    def open(self, name: str) -> None:
        self.page.goto(self.url + PAGES[name])
        if WITH_CHARTS.get(name):
            self.page.wait_for_selector(".plot .main-svg")


def shown_in_time(is_shown: Callable[[], bool], *, since_s: float) -> bool:
    """Wait until something is shown, and say whether it was in time; a page forbids scripts to wait."""
    while not is_shown():
        assert time.monotonic() - since_s < _PATIENCE_S
        time.sleep(0.02)
    return time.monotonic() - since_s < _UPDATED_WITHIN_S


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    sync_api = pytest.importorskip("playwright.sync_api")
    with sync_api.sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield started
        started.close()


@pytest.fixture(params=LOOKS)
def visit(browser, dashboard, request) -> Iterator[Visit]:
    made = Visit(browser, dashboard, request.param)
    yield made
    made.context.close()


@pytest.fixture(scope="module")
def desktop(browser, dashboard) -> Iterator[Visit]:
    made = Visit(browser, dashboard)
    yield made
    made.context.close()


def test_every_page_is_quiet_fits_and_can_be_read_by_everybody(visit, request, tmp_path_factory):
    """No console error, nothing from elsewhere, no sideways scroll, no serious finding of axe."""
    axe_playwright = pytest.importorskip("axe_playwright_python.sync_playwright")
    look = request.node.callspec.params["visit"]
    folder = screenshots_folder(tmp_path_factory.getbasetemp() / "screenshots")
    for name in PAGES:
        visit.open(name)
        width = visit.page.evaluate("[document.documentElement.scrollWidth, innerWidth]")
        assert width[0] <= width[1], (look, name)
        visit.page.screenshot(path=folder / f"{name}-{look}.png", full_page=True)
        if look == "phone":  # the same page and the same colours as light
            continue
        found = axe_playwright.Axe().run(visit.page).response["violations"]
        grave = [
            (item["id"], [node["html"][:120] for node in item["nodes"][:3]])
            for item in found
            if item["impact"] in ("serious", "critical")
        ]
        assert not grave, (look, name, grave)
    assert visit.said == []
    assert all(address.startswith(visit.url) for address in visit.asked)


def test_the_first_screen_says_state_protection_money_and_trust(desktop, records):
    desktop.open("overview")
    said = desktop.page.inner_text("main")
    last = records[-1]
    assert desktop.page.inner_text("h1") == last.decision.groups[0].tier.name
    assert last.decision.groups[0].because in said
    assert "NOT RUNNING" in said
    for words in (
        "Protection held against wanted",
        "What changed",
        "What comes next",
        "Budget",
        "block 14,",
    ):
        assert words in said
    shown = desktop.page.locator(".layer").all_inner_texts()
    assert [text.split("\n")[0] for text in shown] == ["NEAR", "MID", "TAIL"]
    assert desktop.page.title() == f"{last.decision.groups[0].tier.name} · Overview · ALVH"


def test_charts_have_their_lines_and_positions_their_payoff(desktop):
    desktop.open("overview")
    names = desktop.page.evaluate("document.getElementById('plot-timeline').data.map(item => item.name)")
    assert {"position alone", "with hedge", "ETH price"} <= set(names)
    desktop.open("positions")
    names = desktop.page.evaluate("document.getElementById('plot-payoff-1').data.map(item => item.name)")
    assert names[0] == "position alone"
    assert "both, now" in names
    assert desktop.page.locator("table.greeks tbody tr").count() == 2


def test_a_signal_shows_its_course(desktop):
    desktop.open("signals")
    assert desktop.page.locator("svg.spark").count() > 3
    desktop.page.locator("tbody a").first.click()
    desktop.page.wait_for_selector("#plot-signal .main-svg")
    names = desktop.page.evaluate("document.getElementById('plot-signal').data.map(item => item.name)")
    assert names == ["value", "score"]
    assert desktop.said == []


def test_orders_tell_their_life_and_link_to_the_explorer(desktop):
    desktop.open("orders")
    desktop.page.locator("details summary").first.click()
    states = desktop.page.locator("details[open] .state").all_inner_texts()
    assert states == ["reserved", "signed", "sent", "mined", "final"]
    link = desktop.page.locator("td .tx a").first.get_attribute("href")
    assert link.startswith("https://explorer.test/tx/0x")


def test_a_report_opens_without_any_right(desktop):
    desktop.open("runs")
    assert "Crash of <April>" in desktop.page.inner_text("main")
    with desktop.context.expect_page() as opened:
        desktop.page.get_by_role("link", name="Crash of <April>").click()
    page = opened.value
    page.wait_for_load_state()
    assert page.title() == "ran"  # its own script runs
    assert page.evaluate("self.origin") == "null"
    assert page.evaluate("fetch('/').then(() => 'reached', () => 'blocked')") == "blocked"
    page.close()


def test_the_keyboard_reaches_the_page_and_shows_where_it_is(desktop):
    desktop.open("health")
    desktop.page.keyboard.press("Tab")
    assert desktop.page.evaluate("document.activeElement.className") == "skip"
    desktop.page.keyboard.press("Enter")
    assert desktop.page.evaluate("document.activeElement.id") == "main"
    desktop.page.keyboard.press("Tab")
    width = desktop.page.evaluate("getComputedStyle(document.activeElement).outlineWidth")
    assert width == "3px"


def test_the_theme_is_kept(desktop):
    desktop.open("health")
    ground = "getComputedStyle(document.body).backgroundColor"
    light = desktop.page.evaluate(ground)
    desktop.page.click("#theme")
    desktop.page.click("#theme")
    dark = desktop.page.evaluate(ground)
    assert light != dark
    desktop.page.reload()
    assert desktop.page.evaluate(ground) == dark
    desktop.page.evaluate("localStorage.clear()")


def test_a_new_step_is_shown_within_two_seconds_and_what_is_open_stays_open(browser, records, tmp_path):
    """A machine that stands still once proves nothing: of three steps one must be shown in time."""
    with writer(tmp_path) as journal:
        write_steps(journal, records[:-3])
        with serving(settings_in(tmp_path)) as running:
            visit = Visit(browser, running)
            visit.open("orders")
            visit.page.locator("details summary").first.click()

            def is_in_time(step: StepRecord, tier: Tier) -> bool:
                groups = tuple(replace(item, tier=tier) for item in step.decision.groups)
                newer = replace(step, decision=replace(step.decision, groups=groups))
                began_s = time.monotonic()
                write_steps(journal, [newer])
                return shown_in_time(lambda: visit.page.title().startswith(tier.name), since_s=began_s)

            tiers = (Tier.CRISIS, Tier.CALM, Tier.CRISIS)
            assert any(is_in_time(step, tier) for step, tier in zip(records[-3:], tiers, strict=True))
            assert visit.page.locator("details[open]").count() == 1
            assert visit.said == []
            visit.context.close()


def test_a_pause_is_asked_for_twice_and_written_once(browser, records, tmp_path):
    with writer(tmp_path) as journal:
        write_steps(journal, records[-1:])
    with serving(settings_in(tmp_path)) as running:
        visit = Visit(browser, running)
        visit.page.get_by_role("link", name="Pause…").click()
        assert read_pause(tmp_path) is None
        visit.page.fill("#why", "the pool looks odd <b>")
        visit.page.get_by_role("button", name="Pause now").click()
        visit.page.wait_for_url(f"{visit.url}/")
        pause = read_pause(tmp_path)
        assert pause is not None
        assert pause.why == "the pool looks odd <b>"
        said = visit.page.inner_text(".notices")
        assert "PAUSED" in said
        assert "the pool looks odd <b>" in said
        assert "alvh resume" in said
        assert visit.said == []
        visit.context.close()


def test_a_page_that_is_no_longer_kept_up_to_date_says_so(browser, records, tmp_path):
    with writer(tmp_path) as journal:
        write_steps(journal, records[-1:])
    with serving(settings_in(tmp_path)) as running:
        visit = Visit(browser, running)
    visit.page.wait_for_selector("#offline:not([hidden])", timeout=15_000)
    assert "Not kept up to date since" in visit.page.inner_text("#offline")
    visit.context.close()
