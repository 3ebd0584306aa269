"""Heads over a websocket are hints: REL-R10, F19. Polling finds every block, whatever the link does."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest
from aiohttp import WSMsgType, web
from send_tools import until

from bot.chain.heads import HeadFollower
from bot.chain.reader import JsonRpcReader
from bot.chain.rpc import Rpc
from bot.chain.wake import HeadWaker
from bot.devnet.node import Devnet
from bot.errors import ConfigError, InvariantError, TransientError

KEY = "s3cr3t-api-key-0123456789"
Script = Callable[["HeadServer", web.WebSocketResponse], Awaitable[None]]


class HeadServer:
    """A node that takes subscriptions to heads; ``script`` runs on each link once it is subscribed."""

    def __init__(self) -> None:
        self.url = ""
        self.links = 0
        self.refuses = False
        self.script: Script = _wait

    async def handle(self, request: web.Request) -> web.StreamResponse:
        link = web.WebSocketResponse()
        await link.prepare(request)
        asked = await link.receive()
        assert asked.type is WSMsgType.TEXT
        call = json.loads(asked.data)
        assert (call["method"], call["params"]) == ("eth_subscribe", ["newHeads"])
        self.links += 1
        if self.refuses:
            await link.send_json({"jsonrpc": "2.0", "id": call["id"], "error": {"code": -32601}})
        else:
            await link.send_json({"jsonrpc": "2.0", "id": call["id"], "result": "0x1"})
            await self.script(self, link)
        await link.close()
        return link


async def _wait(_: HeadServer, link: web.WebSocketResponse) -> None:
    await link.receive()  # until the other side closes


def head(number: int) -> str:
    result = {"number": hex(number), "hash": f"0x{number:064x}"}
    return json.dumps(
        {"jsonrpc": "2.0", "method": "eth_subscription", "params": {"subscription": "0x1", "result": result}}
    )


@pytest.fixture
async def server() -> AsyncIterator[HeadServer]:
    async with serving() as found:
        yield found


@asynccontextmanager
async def serving() -> AsyncIterator[HeadServer]:
    node = HeadServer()
    application = web.Application()
    application.router.add_get("/{rest:.*}", node.handle)
    runner = web.AppRunner(application, shutdown_timeout=0.1)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        node.url = f"ws://127.0.0.1:{runner.addresses[0][1]}/{KEY}"
        yield node
    finally:
        await runner.cleanup()


def waker(server: HeadServer, told: list[str] | None = None, *, silence_s: float = 5.0) -> HeadWaker:
    return HeadWaker(
        server.url,
        block_time_s=0.01,
        least_silence_s=silence_s,
        on_trouble=lambda error: (told if told is not None else []).append(str(error)),
        jitter=lambda: 0.0,
    )


async def test_a_head_wakes_at_once_and_once(server: HeadServer) -> None:
    """F19: duplicates and heads out of order are harmless."""
    go = asyncio.Event()

    async def script(_: HeadServer, link: web.WebSocketResponse) -> None:
        await go.wait()
        for number in (5, 6, 6, 5, 4):
            await link.send_str(head(number))
        await link.receive()

    server.script = script
    async with waker(server) as wake:
        assert await wake.wait(30), "a new link may have missed heads"
        assert not await wake.wait(0.01)
        go.set()
        assert await wake.wait(2)
        await until(lambda: wake.heads == 3)
        while await wake.wait(0.1):
            pass
        assert wake.heads == 3
        assert KEY not in repr(wake)


@pytest.mark.parametrize(
    "text",
    [
        "{",
        "[]",
        "null",
        '"x"',
        "{}",
        '{"params":[]}',
        '{"params":{"result":{"hash":7}}}',
        "\x00",
        "[" * 5_000,
    ],
)
async def test_what_is_no_head_says_nothing(server: HeadServer, text: str) -> None:
    async def script(_: HeadServer, link: web.WebSocketResponse) -> None:
        await link.send_str(text)
        await link.send_str(head(7))
        await link.receive()

    server.script = script
    async with waker(server) as wake:
        while wake.heads == 0:
            assert await wake.wait(2)
        assert (wake.heads, wake.connections) == (1, 1)


async def test_a_cut_link_is_dialled_anew_and_told_once(server: HeadServer) -> None:
    """F19, R10: for ever, and every new link wakes."""
    told: list[str] = []

    async def script(_: HeadServer, link: web.WebSocketResponse) -> None:
        return None  # and the link is closed

    server.script = script
    async with waker(server, told) as wake:
        while wake.connections < 3:
            assert await wake.wait(5)
    assert len(told) == 1
    assert "heads come by polling alone" in told[0]
    assert KEY not in told[0]


async def test_a_silent_link_is_noticed(server: HeadServer) -> None:
    """R10: web3.py 8 waits on a silent link for ever."""
    told: list[str] = []
    async with waker(server, told, silence_s=0.1) as wake:
        while wake.connections < 2:
            assert await wake.wait(5)
    assert "no head within 0.1 s" in told[0]


async def test_each_outage_is_told(server: HeadServer) -> None:
    told: list[str] = []

    async def script(node: HeadServer, link: web.WebSocketResponse) -> None:
        await link.send_str(head(node.links))

    server.script = script
    async with waker(server, told) as wake:
        while wake.heads < 3:
            assert await wake.wait(5)
    assert len(told) >= 2


async def test_a_refused_subscription_and_a_dead_port_are_told(server: HeadServer) -> None:
    told: list[str] = []
    server.refuses = True
    async with waker(server, told) as wake:
        assert not await wake.wait(0.2)
        await until(lambda: told)
    assert "refuses to subscribe" in told[0]
    server.url = f"ws://127.0.0.1:1/{KEY}"
    async with waker(server, told) as wake:
        assert not await wake.wait(0.2)
        await until(lambda: len(told) > 1)
    assert "ClientConnectorError" in told[1]
    assert KEY not in told[1]


async def test_a_message_of_any_size_is_not_read(server: HeadServer) -> None:
    told: list[str] = []

    async def script(_: HeadServer, link: web.WebSocketResponse) -> None:
        await link.send_str(" " * 2_000_000)

    server.script = script
    async with waker(server, told) as wake:
        while not told:
            await wake.wait(0.05)
    assert "the link was closed" in told[0]


async def test_waiting_without_a_listener_is_a_bug() -> None:
    with pytest.raises(InvariantError, match="is not running"):
        await HeadWaker("ws://127.0.0.1:1").wait(1)


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("http://127.0.0.1", "must be ws"),
        (f"ws://node.example/{KEY}", "plain ws to a public host"),
        (f"wss://node.example/{KEY} ", "has a space at position"),
    ],
)
def test_a_url_that_is_none_is_refused(url: str, words: str) -> None:
    with pytest.raises(ConfigError, match=words) as caught:
        HeadWaker(url)
    assert KEY not in str(caught.value)


def test_times_must_be_positive() -> None:
    with pytest.raises(ConfigError, match="must be > 0"):
        HeadWaker("ws://127.0.0.1", block_time_s=0.0)


@pytest.mark.devnet
async def test_no_block_is_missed_on_a_real_node_while_the_link_is_cut(devnet: Devnet, rpc: Rpc) -> None:
    """I5, F19: heads and gaps cover all heights; the link only makes the poll come sooner."""
    chain = await JsonRpcReader.connect(rpc, chain_id=31337)
    told: list[str] = []
    seen: list[int] = []
    start = (await chain.head()).number
    async with HeadWaker(
        devnet.rpc_url.replace("http", "ws"), on_trouble=lambda error: told.append(str(error))
    ) as wake:
        follower = HeadFollower(chain, poll_s=30, wake=wake, on_trouble=_raise)
        events = follower.events()
        await anext(events)
        for _ in range(10):
            await rpc.request("evm_mine", [])
            event = await asyncio.wait_for(anext(events), 5)  # far sooner than the poll of 30 s
            seen += [*event.skipped, event.block.number]
        await events.aclose()
    assert seen == list(range(start + 1, start + 11))
    assert told == []
    follower = HeadFollower(chain, poll_s=0.05, known=[await chain.block(start + 10)])
    await rpc.request("anvil_mine", ["0x5"])
    event = await follower.poll()
    assert event is not None
    assert event.gap == (start + 11, start + 14)


def _raise(error: Exception) -> None:
    assert isinstance(error, TransientError)
    raise error
