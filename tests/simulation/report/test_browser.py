"""The page in a browser, as a person sees it: no error, nothing loaded, nothing wider than a phone."""

import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from report_builders import monte_carlo_run, sweep_run, windows_run

from bot.simulation.report.compare_page import Side
from bot.simulation.report.compare_page import page_of as compared
from bot.simulation.report.files import page_of, write_page

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
pytestmark = [
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine"),
    pytest.mark.xdist_group("browser"),
]
SIZES = {"desktop": (1200, 900), "phone": (320, 640)}


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    sync_api = pytest.importorskip("playwright.sync_api")
    with sync_api.sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield started
        started.close()


@pytest.fixture(scope="module")
def pages(crash_report, tmp_path_factory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("pages")
    runs = {
        "stretch": page_of(crash_report),
        "windows": page_of(windows_run()),
        "sweep": page_of(sweep_run()),
        "monte carlo": page_of(monte_carlo_run(2)),
        "two": compared(Side(name="a", run=crash_report), Side(name="b", run=crash_report)),
    }
    paths = {name: folder / f"{name}.html" for name in runs}
    for name, page in runs.items():
        write_page(page, paths[name])
    return paths


class Seen:
    """A page that is open, and what it said and asked for."""

    def __init__(self, browser: Any, path: Path, *, size: str = "desktop") -> None:
        width, height = SIZES[size]
        self.context = browser.new_context(viewport={"width": width, "height": height}, offline=True)
        self.page = self.context.new_page()
        self.said: list[str] = []
        self.asked: list[str] = []
        self.page.on("console", lambda message: self.said.append(message.text))
        self.page.on("pageerror", lambda error: self.said.append(str(error)))
        self.page.on("request", lambda request: self.asked.append(request.url))
        self.page.goto(path.as_uri())
        self.page.wait_for_function(
            "document.querySelectorAll('.plotly-graph-div').length === "
            "document.querySelectorAll('.plotly-graph-div .main-svg:first-child').length"
        )


@pytest.mark.parametrize("name", ["stretch", "windows", "sweep", "monte carlo", "two"])
def test_a_page_opens_without_error_or_network_and_fits_a_phone(browser, pages, name):
    seen = Seen(browser, pages[name], size="phone")
    assert seen.said == []
    assert seen.asked == [pages[name].as_uri()]
    assert seen.page.evaluate("document.documentElement.scrollWidth") == SIZES["phone"][0]
    charts = seen.page.evaluate(
        "[...document.querySelectorAll('.plotly-graph-div')].map(e => [e.id, e.clientWidth, e.clientHeight])"
    )
    assert charts
    assert all(width > 250 and height > 100 for _, width, height in charts), charts
    seen.context.close()


@pytest.fixture(scope="module")
def desktop(browser, pages) -> Iterator[Seen]:
    seen = Seen(browser, pages["stretch"])
    yield seen
    seen.context.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_can_be_read_in_both_themes(desktop, scheme):
    """WCAG 2.1: 4.5 to 1 for text on its panel."""
    desktop.page.emulate_media(color_scheme=scheme)
    panel = colour(desktop.page, "section", "background-color")
    for selector in ("section h2", "section .sub", "section td", ".layer span"):
        assert contrast(colour(desktop.page, selector, "color"), panel) >= 4.5, selector
    labels = colour(desktop.page, ".js-plotly-plot .xtick text", "fill")
    assert contrast(labels, panel) >= 4.5
    assert (sum(panel) > 600) is (scheme == "light")


def test_the_tier_under_the_pointer_says_its_reason(desktop, crash_report):
    told = desktop.page.evaluate(
        "document.getElementById('chart-timeline').data.filter(t => t.text && t.hoveron === 'points')"
        ".flatMap(t => t.text)"
    )
    first = crash_report.tiers[0]
    assert any(text.startswith(f"{first.tier.name}: {first.because[:30]}") for text in told)


def test_a_print_is_light_and_shows_what_is_folded(desktop):
    page = desktop.page
    assert page.evaluate("document.querySelectorAll('details[open]').length") == 0
    page.emulate_media(media="print", color_scheme="dark")
    page.evaluate("dispatchEvent(new Event('beforeprint'))")
    assert page.evaluate("document.querySelectorAll('details:not([open])').length") == 0
    panel = colour(page, "section", "background-color")
    assert panel == (255, 255, 255)
    assert contrast(colour(page, "section td", "color"), panel) >= 7.0
    document = page.pdf(format="A4", print_background=True)
    assert document.startswith(b"%PDF")
    assert 4 <= len(re.findall(rb"/Type\s*/Page\b", document)) <= 16


def test_numbers_on_a_heat_map_can_be_read_in_both_themes(browser, pages):
    seen = Seen(browser, pages["sweep"])
    for scheme in ("light", "dark"):
        seen.page.emulate_media(color_scheme=scheme)
        ink = colour(seen.page, "#chart-heat_1 .heatmap-label text", "fill")
        assert contrast(ink, (0x7F, 0xB4, 0xDE)) >= 4.5  # the darkest cell
        assert contrast(ink, (0xF4, 0xF1, 0xEA)) >= 4.5
    seen.context.close()


def colour(page: Any, selector: str, name: str) -> tuple[int, ...]:
    found = page.evaluate(
        "([selector, name]) => getComputedStyle(document.querySelector(selector)).getPropertyValue(name)",
        [selector, name],
    )
    return tuple(int(part) for part in re.findall(r"\d+", found)[:3])


def contrast(one: tuple[int, ...], other: tuple[int, ...]) -> float:
    """Return the contrast ratio of WCAG 2.1."""
    light, dark = sorted((luminance(one), luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def luminance(rgb: tuple[int, ...]) -> float:
    parts = [value / 255.0 for value in rgb]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
