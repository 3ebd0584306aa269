"""The dashboard beside a live run on a devnet: its steps are on the page, each within two seconds."""

import asyncio
import os
import signal
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from commands import Home
from dashboard_builders import CHROMIUM, TOKEN

from bot.chain.rpc import Rpc
from bot.pipeline.journal import SqlJournal
from bot.settings import load_settings

pytestmark = [
    pytest.mark.devnet,
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine"),
]
_SEQUENCE = "Number(document.querySelector('.rows div:nth-child(2) dd').textContent.split(',')[0])"
_SHOWN_WITHIN_S = 2.0
_PATIENCE_S = 30.0


@asynccontextmanager
async def opened(address: str, said: list[str]) -> AsyncIterator[Any]:
    """Open an address in a browser; ``said`` gets its complaints."""
    async_api = pytest.importorskip("playwright.async_api")
    async with async_api.async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        page = await browser.new_page()
        page.on("console", lambda item: said.append(item.text) if item.type == "error" else None)
        page.on("pageerror", lambda error: said.append(str(error)))
        await page.goto(address)
        yield page
        await browser.close()


async def test_a_live_run_is_shown_and_followed(home: Home):
    settings = f'\n[dashboard]\nport = 0\ntoken = "{TOKEN}"\n'
    home.config.write_text(home.config.read_text() + settings)
    run = home.start("run", "--dashboard")
    await asyncio.to_thread(run.until, lambda: "dashboard: http" in run.err, within_s=60.0)
    address = next(line for line in run.err.splitlines() if line.startswith("dashboard: ")).split()[-1]
    assert TOKEN not in run.err  # which is no terminal here, but a log
    said: list[str] = []
    async with opened(f"{address}login#token={TOKEN}", said) as page:
        await page.wait_for_selector(".facts", timeout=60_000)
        assert await page.inner_text(".layer b") == "NEAR"
        await page.goto(f"{address}health")
        async with Rpc(load_settings(home.config).chain.urls[0], timeout_s=30) as rpc:
            for _ in range(3):  # a machine that stands still once proves nothing
                first = await page.evaluate(_SEQUENCE)
                await rpc.request("evm_mine", ())
                await asyncio.to_thread(run.until, lambda seen=first: newest_step(home) > seen)
                if await seconds_until_shown(page, first) < _SHOWN_WITHIN_S:
                    break
            else:
                pytest.fail(f"no step of three was shown within {_SHOWN_WITHIN_S} s")
        assert await page.inner_text(".rows .state") == "running"
        assert said == []
        os.kill(run.pid, signal.SIGTERM)
        assert (await asyncio.to_thread(run.wait)).code == 0
        await page.wait_for_selector("#offline:not([hidden])", timeout=20_000)  # it ended with its run


async def seconds_until_shown(page: Any, first: int) -> float:
    """Return how long a page takes to show a step after ``first``."""
    written_s = time.monotonic()
    while await page.evaluate(_SEQUENCE) <= first:
        assert time.monotonic() - written_s < _PATIENCE_S
        await asyncio.sleep(0.02)
    return time.monotonic() - written_s


def newest_step(home: Home) -> int:
    with SqlJournal(home.journal("dry-run"), read_only=True) as journal:
        last = journal.last_step()
    return last.sequence if last is not None else 0
