"""Hundreds of megabytes, packed or not, cost no client of the bot more than 50 MiB of memory (REL-F6)."""

import asyncio
import gzip
import json
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from fuzz.flood_child import CLIENTS

MOST_MIB = 50.0
BODY_BYTES = 200_000_000
PART = b"0" * 100_000
KINDS = ("bomb", "plain", "announced")
CHILD = Path(__file__).with_name("flood_child.py")


async def flood(request: web.Request) -> web.StreamResponse:
    """Send 200 MB, announced or not, or a packed body that unpacks to as much."""
    kind = request.match_info["kind"]
    if kind == "ready":
        return web.Response(text="{}")
    headers = {"Content-Length": str(BODY_BYTES)} if kind == "announced" else {}
    if kind == "bomb":
        headers = {"Content-Encoding": "gzip"}
    response = web.StreamResponse(headers=headers)
    await response.prepare(request)
    parts = [request.app[BOMB]] if kind == "bomb" else (PART for _ in range(BODY_BYTES // len(PART)))
    try:
        for part in parts:
            await response.write(part)
    except ConnectionError:  # the client has had enough
        pass
    return response


BOMB = web.AppKey("bomb", bytes)


@pytest.fixture(scope="module")
def bomb() -> bytes:
    return gzip.compress(bytes(BODY_BYTES), 9)


@pytest.fixture
async def server(bomb: bytes) -> AsyncIterator[TestServer]:
    app = web.Application()
    app[BOMB] = bomb
    app.router.add_route("*", "/{kind:ready|bomb|plain|announced}{rest:.*}", flood)
    async with TestServer(app) as running:
        yield running


@pytest.mark.parametrize("client", sorted(CLIENTS))
async def test_a_flood_is_refused_and_not_kept(server: TestServer, client: str):
    urls = [f"http://127.0.0.1:{server.port}/{kind}" for kind in ("ready", *KINDS)]
    process = await asyncio.create_subprocess_exec(
        sys.executable, str(CHILD), client, *urls, stdout=asyncio.subprocess.PIPE
    )
    out, _ = await process.communicate()
    found = json.loads(out)
    assert all("larger than" in words for words in found["said"]), found
    assert len(found["said"]) == len(KINDS)
    assert found["grown_mib"] < MOST_MIB
