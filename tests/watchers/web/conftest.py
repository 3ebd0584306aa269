"""A served market of 2026-11-21 12:20 UTC, and a client for it."""

from collections.abc import AsyncIterator

import pytest
from web_server import Sources, sources_at

from bot.watchers.web.client import WebClient

NOW_S = 1_795_263_600.0  # 2026-11-21T12:20:00Z


@pytest.fixture
async def served() -> AsyncIterator[Sources]:
    async with sources_at(NOW_S) as sources:
        yield sources


@pytest.fixture
async def web(served: Sources) -> AsyncIterator[WebClient]:
    host = served.url.removeprefix("http://")
    async with WebClient(timeout_s=5.0, rates={host: 1_000.0}) as client:
        yield client
