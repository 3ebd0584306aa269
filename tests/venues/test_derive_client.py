"""Calls of the Derive API: one deadline, bodies capped, sends once, ids checked, nothing secret shown."""

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from derive_server import Fault
from derive_world import FRACTIONAL, OWNER, PUT, World, derive_world

from bot.chain.json_fields import BadReply
from bot.errors import (
    ConfigError,
    DeadlineError,
    InvariantError,
    OutcomeUnknown,
    StaleDataError,
    TransientError,
    VenueRejected,
)
from bot.venues.derive_client import SENDS, DeriveClient

TIME = "public/get_time"


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    async with derive_world(tmp_path) as made:
        yield made


@pytest.mark.parametrize(
    "fault",
    [Fault(before=True, times=2), Fault(error=(-32603, "x"), times=2), Fault(body=b"", status=503, times=1)],
)
async def test_a_read_is_tried_again_in_transit(world: World, fault: Fault) -> None:
    world.server.faults[TIME] = fault
    assert await world.client.read(TIME, {}) == int(world.exchange.now_s * 1e3)
    assert world.server.count(TIME) > 1


@pytest.mark.parametrize(
    "fault",
    [
        Fault(error=(12001, "Instrument not found")),
        Fault(body=b"slow", status=429),
        Fault(body=b"[]"),
        Fault(body=b"{}"),
        Fault(body=b"no", status=404),
    ],
)
async def test_a_plain_answer_is_not_asked_for_again(world: World, fault: Fault) -> None:
    world.server.faults[TIME] = fault
    with pytest.raises(TransientError):
        await world.client.read(TIME, {})
    assert world.server.count(TIME) == 1


async def test_all_tries_of_a_read_end_in_time(world: World) -> None:
    world.server.faults[TIME] = Fault(delay_s=5.0)
    with pytest.raises((DeadlineError, TransientError)):
        await world.client.read(TIME, {})


@pytest.mark.parametrize("method", sorted(SENDS))
async def test_a_send_is_never_a_read(world: World, method: str) -> None:
    with pytest.raises(InvariantError, match="never repeated"):
        await world.client.read(method, {})
    with pytest.raises(InvariantError, match="use read"):
        await world.client.send(TIME, {}, key="k")


@pytest.mark.parametrize(
    "fault", [Fault(before=True), Fault(after=True), Fault(delay_s=3.0), Fault(body=b"x" * 9_000_000)]
)
async def test_a_send_without_an_answer_is_unknown_and_sent_once(world: World, fault: Fault) -> None:
    world.server.faults["private/cancel_rfq"] = fault
    world.exchange.rfqs["r"] = {"status": "open"}
    with pytest.raises(OutcomeUnknown) as found:
        await world.client.send("private/cancel_rfq", {"rfq_id": "r", "subaccount_id": 7}, key="leg/1")
    assert found.value.key == "leg/1"
    assert world.server.count("private/cancel_rfq") == 1


async def test_a_send_on_a_connection_that_died_is_not_repeated(world: World) -> None:
    """A kept connection that the server closes: the HTTP library must not try the send again by itself."""
    await world.client.read(TIME, {})
    world.server.faults["private/cancel_rfq"] = Fault(before=True)
    with pytest.raises(OutcomeUnknown):
        await world.client.send("private/cancel_rfq", {"rfq_id": "r"}, key="k")
    assert world.server.count("private/cancel_rfq") == 1


async def test_where_nobody_listens_nothing_was_sent(world: World) -> None:
    client = DeriveClient(
        base_url="http://127.0.0.1:9/v3", ws_url="ws://127.0.0.1:9/v3/ws", owner=OWNER, signer=world.signer,
        timeout_s=0.5, clock=world.clock,
    )  # fmt: skip
    async with client:
        with pytest.raises(VenueRejected, match="not sent"):
            await client.send("private/order", {}, key="k")
        with pytest.raises(TransientError):
            await client.books([PUT], depth=10)


async def test_a_private_call_without_a_key_is_a_bug(world: World) -> None:
    async with DeriveClient(base_url=world.server.url, ws_url=world.server.ws_url) as client:
        with pytest.raises(InvariantError, match="session key"):
            await client.read("private/get_positions", {})


async def test_logins_are_checked_by_the_exchange(world: World) -> None:
    world.exchange.session_keys = {"0x" + "00" * 20}
    with pytest.raises(TransientError, match="14014"):
        await world.client.read("private/get_positions", {"subaccount_id": 7})


@pytest.mark.parametrize("skew", [-61.5, 61.5, 3_600.0])
async def test_a_clock_that_is_off_is_told(world: World, skew: float) -> None:
    world.server.skew_s = skew
    with pytest.raises(StaleDataError, match="clock of Derive"):
        await world.client.check_clock()


@pytest.mark.parametrize("time", ["1", None, True, 1.5])
async def test_a_time_that_is_none(world: World, time: Any) -> None:
    world.server.faults[TIME] = Fault(tamper=lambda _: time)
    with pytest.raises(BadReply):
        await world.client.check_clock()


async def test_books_come_by_websocket_and_a_refused_one_is_missing(world: World) -> None:
    found = await world.client.books([PUT, FRACTIONAL, "ETH-20261127-9999-P"], depth=10)
    assert set(found) == {PUT, FRACTIONAL}
    assert found[PUT]["asks"][0] == {"price": "40", "amount": "2"}
    (call,) = [params for name, params in world.server.asked if name == "subscribe"]
    assert sorted(call["channels"])[0] == f"orderbook.{PUT}.1.10"


async def test_no_book_at_all_raises(world: World) -> None:
    with pytest.raises(TransientError, match="refused"):
        await world.client.books(["ETH-20261127-9999-P"], depth=10)
    world.server.silent_books = True
    with pytest.raises(TransientError, match="no book within"):
        await world.client.books([PUT], depth=10)
    with pytest.raises(InvariantError):
        await world.client.books([PUT], depth=7)


async def test_a_book_of_another_option_is_refused(world: World) -> None:
    world.server.faults["subscribe"] = Fault(tamper=lambda data: {**data, "instrument_name": FRACTIONAL})
    with pytest.raises(BadReply, match="brings the book of"):
        await world.client.books([PUT], depth=10)


@pytest.mark.parametrize(
    "answer",
    ['{"id": 999, "result": {"current_subscriptions": []}}', "no json", "[]", '{"id": 1, "error": {}}'],
)
async def test_a_websocket_that_mixes_up_ids_is_refused(world: World, answer: str) -> None:
    async def socket(request: web.Request) -> web.StreamResponse:
        made = web.WebSocketResponse()
        await made.prepare(request)
        await made.receive()
        await made.send_str(answer)
        await made.close()
        return made

    app = web.Application()
    app.router.add_get("/ws", socket)
    async with TestServer(app) as server:
        url = str(server.make_url("/ws")).replace("http://", "ws://")
        async with DeriveClient(base_url=world.server.url, ws_url=url, timeout_s=1.0) as client:
            with pytest.raises(BadReply):
                await client.books([PUT], depth=10)


async def test_nothing_secret_is_in_what_it_says(world: World) -> None:
    client = DeriveClient(
        base_url="http://127.0.0.1:9/v3/SECRETKEY", ws_url="ws://127.0.0.1:9/SECRETKEY", owner=OWNER,
        signer=world.signer, timeout_s=0.5, clock=world.clock,
    )  # fmt: skip
    async with client:
        assert "SECRET" not in repr(client)
        for method in (TIME, "private/get_positions"):
            with pytest.raises(TransientError) as found:
                await client.read(method, {})
            assert "SECRET" not in str(found.value)
            assert found.value.__cause__ is None


@pytest.mark.parametrize("url", ["http://example.com/v3", "ftp://127.0.0.1", "https://", "https://a b/"])
def test_an_address_that_is_not_safe_is_refused(url: str) -> None:
    with pytest.raises(ConfigError):
        DeriveClient(base_url=url, ws_url="wss://example.com/ws")


async def test_after_close_nothing_is_asked(world: World) -> None:
    await world.client.close()
    with pytest.raises(InvariantError, match="closed"):
        await world.client.read(TIME, {})


async def test_what_is_sent_is_plain_json_with_the_login_headers(world: World) -> None:
    await world.client.read("private/get_positions", {"subaccount_id": 7})
    name, body = world.server.asked[-1]
    assert name == "private/get_positions"
    assert json.dumps(body) == '{"subaccount_id": 7}'


async def test_a_pause_that_was_asked_for_is_kept(world: World) -> None:
    world.server.faults[TIME] = Fault(body=b"", status=429, headers={"Retry-After": "30"}, times=1)
    with pytest.raises(TransientError, match="rate limited"):
        await world.client.read(TIME, {})
    with pytest.raises(TransientError, match="pause"):
        await world.client.read(TIME, {})
    with pytest.raises(VenueRejected, match="not sent"):
        await world.client.send("private/order", {}, key="k")
    assert world.server.count(TIME) == 1
    assert world.server.count("private/order") == 0


async def test_bodies_have_a_limit(world: World) -> None:
    client = DeriveClient(
        base_url=world.server.url,
        ws_url=world.server.ws_url,
        max_body_bytes=100,
        timeout_s=0.5,
        clock=world.clock,
    )
    async with client:
        with pytest.raises(TransientError, match="larger than 100 bytes"):
            await client.read("public/get_instrument", {"instrument_name": PUT})
        with pytest.raises(TransientError):
            await client.books([PUT], depth=10)
