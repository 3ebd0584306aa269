"""REL-R8, REL-R9 and the faults that web3.py 8 gets wrong, against a misbehaving node."""

import asyncio
import contextlib
import os
import re
import time
import traceback
import tracemalloc
import zlib
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path

import pytest
from aiohttp import web
from at_best import at_best
from eth_abi.abi import encode
from faulty_node import Answer, FaultyNode, faulty_node

from bot.chain.replies import SHAPES
from bot.chain.rpc import (
    SEND_METHODS,
    RateLimitedError,
    ReplyTooLargeError,
    RevertError,
    Rpc,
    RpcError,
    hex_bytes,
    quantity,
    redact_url,
)
from bot.errors import ConfigError, DeadlineError, InvariantError, TransientError

KEY = "s3cr3t-api-key-0123456789"


@pytest.fixture
async def faulty() -> AsyncIterator[FaultyNode]:
    async with faulty_node() as node:
        yield node


def reply(call: dict, result: object) -> dict:
    return {"jsonrpc": "2.0", "id": call["id"], "result": result}


async def test_returns_the_result_and_sends_positional_parameters(faulty: FaultyNode) -> None:
    async with Rpc(faulty.url) as rpc:
        assert await rpc.request("eth_getBalance", ["0xabc", "latest"]) == "0x1"
    assert faulty.asked[0]["method"] == "eth_getBalance"
    assert faulty.asked[0]["params"] == ["0xabc", "latest"]


async def test_every_call_has_its_own_id(faulty: FaultyNode) -> None:
    async with Rpc(faulty.url) as rpc:
        await asyncio.gather(*(rpc.request("eth_chainId") for _ in range(20)))
    assert len({call["id"] for call in faulty.asked}) == 20


@pytest.mark.parametrize(
    "text",
    [
        '{"jsonrpc":"2.0","id":999999,"result":"0x1"}',  # another call's reply
        '{"jsonrpc":"2.0","id":null,"result":"0x1"}',
        '{"jsonrpc":"2.0","id":"1","result":"0x1"}',
        '{"jsonrpc":"2.0","id":1}',
        '{"jsonrpc":"2.0","id":1,"result":null}',
        '{"jsonrpc":"2.0","id":1,"result":17}',
        '{"jsonrpc":"2.0","id":1,"result":"17"}',
        '{"jsonrpc":"2.0","id":1,"result":{"reth',  # cut short
        "[]",
        "null",
        '"0x1"',
        "<html>502 Bad Gateway</html>",
        "",
    ],
)
async def test_refuses_a_reply_that_is_not_the_answer(faulty: FaultyNode, text: str) -> None:
    faulty.answer = faulty.raw(text)
    async with Rpc(faulty.url) as rpc:
        with pytest.raises(TransientError) as caught:
            await rpc.request("eth_blockNumber")
    assert not isinstance(caught.value, RpcError)


@pytest.mark.parametrize(
    "method", ["eth_chainId", "eth_getBalance", "eth_call", "eth_getLogs", "eth_feeHistory"]
)
async def test_null_is_no_value_where_one_is_needed(faulty: FaultyNode, method: str) -> None:
    faulty.answer = faulty.ok(None)
    async with Rpc(faulty.url) as rpc:
        with pytest.raises(TransientError, match="wrong shape"):
            await rpc.request(method)


async def test_null_is_an_answer_where_it_has_a_meaning(faulty: FaultyNode) -> None:
    faulty.answer = faulty.ok(None)
    async with Rpc(faulty.url) as rpc:
        assert await rpc.request("eth_getTransactionReceipt", ["0x00"]) is None


@pytest.mark.parametrize("status", [301, 302, 400, 401, 403, 404, 500, 502, 503])
async def test_http_status_is_transient_and_never_followed(faulty: FaultyNode, status: int) -> None:
    faulty.answer = faulty.raw("<html>", status=status, headers={"Location": faulty.url + "/elsewhere"})
    async with Rpc(faulty.url) as rpc:
        with pytest.raises(TransientError, match=f"HTTP {status}"):
            await rpc.request("eth_blockNumber")
    assert len(faulty.asked) == 1


async def test_node_errors_keep_code_message_and_data(faulty: FaultyNode) -> None:
    faulty.answer = faulty.error({"code": -32000, "message": "nonce too low", "data": "0x1234"}, status=400)
    async with Rpc(faulty.url) as rpc:
        with pytest.raises(RpcError, match="nonce too low") as caught:
            await rpc.request("eth_sendRawTransaction", ["0x00"], send=True)
    assert (caught.value.code, caught.value.data) == (-32000, b"\x12\x34")
    assert not isinstance(caught.value, RevertError)


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (
            {
                "code": 3,
                "message": "execution reverted",
                "data": "0x08c379a0" + encode(["string"], ["Invalid token ID"]).hex(),
            },
            "Invalid token ID",
        ),
        (
            {
                "code": 3,
                "message": "execution reverted",
                "data": "0x4e487b71" + encode(["uint256"], [0x11]).hex(),
            },
            "panic 0x11 (arithmetic overflow)",
        ),
        ({"code": -32000, "message": "execution reverted: OLD"}, "OLD"),
        (
            {"code": -32000, "message": "execution reverted", "data": {"data": "0xdeadbeef"}},
            "unknown error 0xdeadbeef",
        ),
        ({"code": 3, "message": "execution reverted", "data": "0x"}, "execution reverted"),
    ],
)
async def test_reverts_are_told_apart_and_explained(faulty: FaultyNode, error: dict, reason: str) -> None:
    faulty.answer = faulty.error(error)
    async with Rpc(faulty.url) as rpc:
        with pytest.raises(RevertError) as caught:
            await rpc.read("eth_call", [{}, "latest"])
    assert caught.value.reason == reason
    assert len(faulty.asked) == 1, "a revert is an answer and not asked for again"


async def test_a_hang_ends_at_the_deadline(faulty: FaultyNode) -> None:
    async def hang(*_: object) -> web.Response:
        await asyncio.sleep(30)
        raise AssertionError

    faulty.answer = hang
    async with Rpc(faulty.url, timeout_s=0.2) as rpc:

        async def ask() -> None:
            with pytest.raises(DeadlineError, match=r"within 0\.2 s"):
                await rpc.request("eth_blockNumber")

        async def read() -> None:
            with pytest.raises(DeadlineError):
                await rpc.read("eth_blockNumber", deadline_s=0.5)

        assert await at_best(0.7, ask)
        assert await at_best(1.0, read)


async def test_a_slow_drip_ends_at_the_deadline(faulty: FaultyNode) -> None:
    async def drip(request: web.Request, _: object) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        for _ in range(200):
            await response.write(b" ")
            await asyncio.sleep(0.05)
        return response

    faulty.answer = drip
    async with Rpc(faulty.url, timeout_s=0.3) as rpc:

        async def ask() -> None:
            with pytest.raises(DeadlineError):
                await rpc.request("eth_blockNumber")

        assert await at_best(0.8, ask)


@pytest.mark.parametrize("announced", [True, False])
async def test_a_huge_body_is_not_read(faulty: FaultyNode, announced: bool) -> None:
    async def flood(request: web.Request, _: object) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Length": "100000000"} if announced else {})
        await response.prepare(request)
        for _ in range(1_000):
            await response.write(b"0" * 100_000)
        return response

    faulty.answer = flood
    async with Rpc(faulty.url, max_body_bytes=1_000_000) as rpc:
        with pytest.raises(ReplyTooLargeError, match="larger than 1000000 bytes"):
            await rpc.request("eth_getLogs")
        with pytest.raises(ReplyTooLargeError):
            await rpc.read("eth_getLogs")
    assert len(faulty.asked) == 2, "the same question would bring the same flood"


async def test_retry_after_is_kept_for_every_later_call(faulty: FaultyNode) -> None:
    faulty.answer = faulty.raw("", status=429, headers={"Retry-After": "7"})
    async with Rpc(faulty.url) as rpc:
        with pytest.raises(RateLimitedError) as caught:
            await rpc.request("eth_blockNumber")
        assert caught.value.retry_after_s == 7

        async def ask() -> None:
            with pytest.raises(RateLimitedError, match="not sent"):
                await rpc.request("eth_sendRawTransaction", ["0x00"], send=True)
            with pytest.raises(RateLimitedError):  # 7 s do not fit into 1 s, so there is no point in waiting
                await rpc.read("eth_blockNumber", deadline_s=1)

        assert await at_best(0.5, ask)
    assert len(faulty.asked) == 1


async def test_retry_after_as_a_date(faulty: FaultyNode) -> None:
    later = format_datetime(datetime.now(UTC) + timedelta(seconds=30), usegmt=True)
    faulty.answer = faulty.raw("", status=429, headers={"Retry-After": later})
    async with Rpc(faulty.url) as rpc:
        with pytest.raises(RateLimitedError) as caught:
            await rpc.request("eth_blockNumber")
    assert 27 < caught.value.retry_after_s <= 30


async def test_reads_wait_out_a_short_pause_and_succeed(faulty: FaultyNode) -> None:
    faulty.in_turn(faulty.raw("", status=429, headers={"Retry-After": "0.2"}), faulty.ok("0x5"))
    async with Rpc(faulty.url) as rpc:
        started = time.monotonic()
        assert await rpc.read("eth_blockNumber") == "0x5"
        assert time.monotonic() - started >= 0.2
    assert len(faulty.asked) == 2


async def test_reads_are_repeated_and_sends_never(faulty: FaultyNode) -> None:
    faulty.in_turn(faulty.raw("", status=502), faulty.raw("{", status=200), faulty.ok("0x5"))
    async with Rpc(faulty.url) as rpc:
        assert await rpc.read("eth_blockNumber") == "0x5"
        assert len(faulty.asked) == 3
        faulty.answer = faulty.raw("", status=502)
        with pytest.raises(TransientError):
            await rpc.request("eth_sendRawTransaction", ["0x00"], send=True)
        assert len(faulty.asked) == 4
        with pytest.raises(InvariantError, match="never be retried"):
            await rpc.read("eth_sendRawTransaction", ["0x00"])
        with pytest.raises(InvariantError):
            await rpc.request("eth_sendRawTransaction", ["0x00"])
        with pytest.raises(InvariantError):
            await rpc.batch([("eth_sendRawTransaction", ["0x00"])])
    assert len(faulty.asked) == 4


async def test_batch_pairs_by_id_and_keeps_single_errors(faulty: FaultyNode) -> None:
    async def backwards(_: web.Request, calls: dict | list) -> web.Response:
        failed = {
            "jsonrpc": "2.0",
            "id": calls[1]["id"],
            "error": {"code": 3, "message": "execution reverted: no"},
        }
        return web.json_response([reply(calls[2], "0x3"), failed, reply(calls[0], "0x1")])

    faulty.answer = backwards
    async with Rpc(faulty.url) as rpc:
        first, second, third = await rpc.batch([("eth_chainId", []), ("eth_call", []), ("eth_gasPrice", [])])
        assert (first, third) == ("0x1", "0x3")
        assert isinstance(second, RevertError)
        assert second.reason == "no"
        assert await rpc.batch([]) == []


@pytest.mark.parametrize("fault", ["missing", "double", "foreign", "object"])
async def test_batch_refuses_replies_that_do_not_pair(faulty: FaultyNode, fault: str) -> None:
    async def answer(_: web.Request, calls: dict | list) -> web.Response:
        good = [reply(call, "0x1") for call in calls]
        replies = {
            "missing": good[:1],
            "double": [good[0], good[0]],
            "foreign": [good[0], {**good[1], "id": 10_000}],
            "object": {"jsonrpc": "2.0", "id": None, "error": {"code": -32600, "message": "no batches"}},
        }
        return web.json_response(replies[fault])

    faulty.answer = answer
    async with Rpc(faulty.url) as rpc:
        with pytest.raises(TransientError):
            await rpc.batch([("eth_chainId", []), ("eth_chainId", [])])


async def test_no_error_shows_the_key(faulty: FaultyNode) -> None:
    """Status, refused connection, rate limit, deadline, bad URL, and a node that repeats the key."""
    address = faulty.url.removeprefix("http://")
    url = f"http://user:{KEY}@{address}/v2/{KEY}?apikey={KEY}"
    texts = [repr(Rpc(url))]
    for answer in (
        faulty.raw("", status=503),
        faulty.raw(f"<html>{KEY}</html>"),
        faulty.error({"code": -32000, "message": f"key {KEY} is over quota"}),
        faulty.raw("", status=429, headers={"Retry-After": "0"}),
    ):
        faulty.answer = answer
        async with Rpc(url) as rpc:
            texts += await _failure(rpc)
    async with Rpc(f"http://127.0.0.1:1/{KEY}", timeout_s=1) as rpc:
        texts += await _failure(rpc)
    with pytest.raises(ConfigError) as caught:
        Rpc(f"ftp://{address}/{KEY}")
    texts.append(str(caught.value))
    assert not [text for text in texts if KEY in text]
    assert all(text for text in texts)


async def _failure(rpc: Rpc) -> list[str]:
    with pytest.raises(TransientError) as caught:
        await rpc.request("eth_blockNumber")
    assert caught.value.__context__ is None, "the transport's error, which may hold the URL, is not chained"
    return [str(caught.value), repr(caught.value), "".join(traceback.format_exception(caught.value))]


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("https://u:p@node.example:8545/v3/key?x=1", "https://node.example:8545/…"),
        ("http://[::1]:8545/key", "http://[::1]:8545/…"),
        ("https://node.example", "https://node.example/…"),
        ("http://node.example:notaport/key", "?"),
        ("", "?://?/…"),
    ],
)
def test_redacted_url(url: str, shown: str) -> None:
    assert redact_url(url) == shown


@pytest.mark.parametrize(
    "url", ["", "ftp://node/x", "http://", "http:///key", "http://node:port/x", "http://[::1/x"]
)
def test_a_url_that_is_none_is_refused_at_once(url: str) -> None:
    with pytest.raises(ConfigError, match="RPC URL must be"):
        Rpc(url)


@pytest.mark.parametrize(("timeout_s", "limit"), [(0.0, 1), (-1.0, 1), (float("nan"), 1), (1.0, 0)])
def test_limits_that_are_none_are_refused(timeout_s: float, limit: int) -> None:
    with pytest.raises(ConfigError, match="must be > 0"):
        Rpc("http://node", timeout_s=timeout_s, max_body_bytes=limit)


@pytest.mark.parametrize("value", [None, 5, "5", "0x", "0x05", "0xzz", "-0x1", True])
def test_quantity_refuses_what_is_none(value: object) -> None:
    with pytest.raises(TransientError):
        quantity(value)


@pytest.mark.parametrize("value", [None, 5, "0x1", "0xzz", "12", "0x1 2 "])
def test_hex_bytes_refuses_what_is_none(value: object) -> None:
    with pytest.raises(TransientError):
        hex_bytes(value)


def test_quantity_and_hex_bytes() -> None:
    assert (quantity("0x0"), quantity("0xff")) == (0, 255)
    assert (hex_bytes("0x"), hex_bytes("0x00ff")) == (b"", b"\x00\xff")


@pytest.mark.parametrize("packing", ["gzip", "deflate"])
async def test_a_packed_reply_is_unpacked_up_to_the_limit_and_no_further(
    faulty: FaultyNode, packing: str
) -> None:
    """REL-F6: 100 kB on the wire that would be 100 MB; what is held stays below the limit."""
    bomb = zlib.compressobj(wbits=31 if packing == "gzip" else 15)
    zeros = bomb.compress(b" " * 100_000_000) + bomb.flush()
    assert len(zeros) < 200_000
    faulty.answer = _packed(zeros, packing)
    async with Rpc(faulty.url, max_body_bytes=1_000_000) as rpc:
        tracemalloc.start()
        with pytest.raises(ReplyTooLargeError):
            await rpc.request("eth_getLogs")
        peak_bytes = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak_bytes < 10_000_000
        small = zlib.compressobj(wbits=31 if packing == "gzip" else 15)
        packed = small.compress(b'{"jsonrpc":"2.0","id":2,"result":"0x5"}') + small.flush()
        faulty.answer = _packed(packed, packing)
        assert await rpc.request("eth_blockNumber") == "0x5"
        for broken in (packed[:-9], b"not packed", b""):
            faulty.answer = _packed(broken, packing)
            with pytest.raises(TransientError):
                await rpc.request("eth_blockNumber")


@pytest.mark.parametrize("packing", ["br", "zstd", "gzip, gzip", "x"])
async def test_a_packing_that_was_not_asked_for_is_refused(faulty: FaultyNode, packing: str) -> None:
    faulty.answer = _packed(b"x", packing)
    async with Rpc(faulty.url) as rpc:
        with pytest.raises(TransientError):
            await rpc.request("eth_blockNumber")


def _packed(body: bytes, packing: str) -> Answer:
    async def answer(*_: object) -> web.Response:
        return web.Response(body=body, headers={"Content-Encoding": packing})

    return answer


@pytest.mark.parametrize("brackets", ["[", '{"a":'])
async def test_json_nested_too_deeply_is_no_json(faulty: FaultyNode, brackets: str) -> None:
    """REL-F9: no RecursionError, whatever the depth."""
    async with Rpc(faulty.url) as rpc:
        for depth in (900, 1_100, 200_000):
            faulty.answer = faulty.raw(f'{{"jsonrpc":"2.0","id":1,"result":{brackets * depth}')
            with pytest.raises(TransientError):
                await rpc.request("eth_call")
            closed = "[" * depth + "]" * depth
            faulty.answer = faulty.raw(f'{{"jsonrpc":"2.0","id":2,"result":{closed}}}')
            with pytest.raises(TransientError):
                await rpc.request("eth_call")


@pytest.mark.parametrize("where", ["status", "header"])
async def test_a_head_that_drips_ends_at_the_deadline(where: str) -> None:
    """REL-R9: a byte now and then, and headers that never end."""

    async def serve(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, asyncio.CancelledError):
            if where == "header":
                writer.write(b"HTTP/1.1 200 OK\r\n")
            for number in range(400):
                writer.write(b"H" if where == "status" else b"X-%d: y\r\n" % number)
                await writer.drain()
                await asyncio.sleep(0.02)
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    try:
        async with Rpc(f"http://127.0.0.1:{port}", timeout_s=0.3) as rpc:

            async def ask() -> None:
                with pytest.raises(TransientError):
                    await rpc.request("eth_blockNumber")

            assert await at_best(0.8, ask)
    finally:
        server.close()


async def test_a_reply_that_comes_twice_answers_one_call(faulty: FaultyNode) -> None:
    """REL-F7: two replies in one body, and a reply to an earlier call."""
    async with Rpc(faulty.url) as rpc:
        faulty.answer = faulty.raw(
            '{"jsonrpc":"2.0","id":1,"result":"0x1"}{"jsonrpc":"2.0","id":1,"result":"0x2"}'
        )
        with pytest.raises(TransientError):
            await rpc.request("eth_blockNumber")
        faulty.answer = faulty.raw('{"jsonrpc":"2.0","id":1,"result":"0x1"}')
        with pytest.raises(TransientError, match="wrong id"):
            await rpc.request("eth_blockNumber")


@pytest.mark.parametrize("wrong", ["true", "1.0", '"1"', "[1]", "{}"])
async def test_an_id_that_only_equals_ours_is_wrong(faulty: FaultyNode, wrong: str) -> None:
    faulty.answer = faulty.raw(f'{{"jsonrpc":"2.0","id":{wrong},"result":"0x1"}}')
    async with Rpc(faulty.url) as rpc:
        with pytest.raises(TransientError, match="wrong id"):
            await rpc.request("eth_blockNumber")


BLOCK = {"number": "0x1", "hash": "0x" + "11" * 32, "parentHash": "0x" + "10" * 32, "timestamp": "0x5"}
RECEIPT = {
    "transactionHash": "0x" + "22" * 32,
    "blockHash": "0x" + "11" * 32,
    "blockNumber": "0x1",
    "gasUsed": "0x5208",
    "logs": [],
}
NO_QUANTITY = [
    None,
    "0x",
    "0xZZ",
    "12",
    "-0x1",
    "0x-1",
    hex(10**80),
    hex(2**256),
    True,
    7,
    7.5,
    [],
    {},
    ["0x1"],
]
QUANTITIES = [
    "eth_blockNumber",
    "eth_chainId",
    "eth_gasPrice",
    "eth_maxPriorityFeePerGas",
    "eth_getBalance",
    "eth_getTransactionCount",
    "eth_estimateGas",
]


@pytest.mark.parametrize("method", QUANTITIES)
async def test_no_method_takes_what_is_no_quantity(faulty: FaultyNode, method: str) -> None:
    """REL-F8, F9."""
    async with Rpc(faulty.url) as rpc:
        for value in NO_QUANTITY:
            faulty.answer = faulty.ok(value)
            with pytest.raises(TransientError, match=f"{method} at .* is no hex quantity"):
                await rpc.request(method)
        faulty.answer = faulty.ok(hex(2**256 - 1))
        assert await rpc.request(method) == hex(2**256 - 1)


@pytest.mark.parametrize("method", sorted(SHAPES))
async def test_null_and_nonsense_of_every_method(faulty: FaultyNode, method: str) -> None:
    """REL-F8, F9: null is None where it means "not known" and an error everywhere else; NaN is no JSON."""
    send = method in SEND_METHODS
    async with Rpc(faulty.url) as rpc:
        for value in (True, 5, "", "0xg", [[[]]], {"a": None}):
            if value == [[[]]] and method in ("eth_getLogs",):
                continue  # its items are checked where they are read
            faulty.answer = faulty.ok(value)
            with pytest.raises(TransientError, match=method):
                await rpc.request(method, send=send)
        faulty.answer = faulty.raw('{"jsonrpc":"2.0","id":7,"result":NaN}')
        with pytest.raises(TransientError):
            await rpc.request(method, send=send)
        faulty.answer = faulty.ok(None)
        if method in NULL_MEANS_UNKNOWN:
            assert await rpc.request(method) is None
        else:
            with pytest.raises(TransientError, match=rf"{method} at .* \(wrong shape\)"):
                await rpc.request(method, send=send)


NULL_MEANS_UNKNOWN = {
    "eth_getBlockByNumber",
    "eth_getBlockByHash",
    "eth_getBlockReceipts",
    "eth_getTransactionByHash",
    "eth_getTransactionReceipt",
}


@pytest.mark.parametrize(
    ("method", "good", "name", "bad"),
    [
        *(("eth_getBlockByNumber", BLOCK, name, bad) for name in BLOCK for bad in (None, 5, "0xzz", True)),
        ("eth_getBlockByHash", BLOCK, "number", hex(10**80)),
        ("eth_getBlockByHash", BLOCK, "baseFeePerGas", "12"),
        *(("eth_getTransactionReceipt", RECEIPT, name, bad) for name in RECEIPT for bad in (None, 5, "0xzz")),
        ("eth_getTransactionReceipt", RECEIPT, "status", True),
        ("eth_getTransactionByHash", {"hash": "0x" + "22" * 32}, "hash", "0x22"),
        ("eth_feeHistory", {"oldestBlock": "0x1", "baseFeePerGas": ["0x1"]}, "baseFeePerGas", [None]),
        ("eth_feeHistory", {"oldestBlock": "0x1", "baseFeePerGas": ["0x1"]}, "oldestBlock", "1"),
        ("eth_feeHistory", {"oldestBlock": "0x1", "baseFeePerGas": ["0x1"]}, "gasUsedRatio", [-0.5]),
        ("eth_feeHistory", {"oldestBlock": "0x1", "baseFeePerGas": ["0x1"]}, "reward", [["0x"]]),
    ],
)
async def test_a_field_that_is_wrong_or_missing_is_named(
    faulty: FaultyNode, method: str, good: dict, name: str, bad: object
) -> None:
    """REL-F9."""
    async with Rpc(faulty.url) as rpc:
        faulty.answer = faulty.ok(good)
        assert await rpc.request(method) == good
        faulty.answer = faulty.ok({**good, name: bad})
        with pytest.raises(TransientError, match=f"{method} at .*{name}"):
            await rpc.request(method)
        if name in good:
            faulty.answer = faulty.ok({key: value for key, value in good.items() if key != name})
            with pytest.raises(TransientError, match=f"{name} is missing"):
                await rpc.request(method)


def test_every_method_that_the_program_asks_has_a_shape() -> None:
    """But for those that control a devnet."""
    found = set()
    for path in Path("bot").rglob("*.py"):
        found |= set(re.findall(r'"(eth_[a-zA-Z]+)"', path.read_text()))
    assert found
    assert found - {"eth_subscribe", "eth_subscription", "eth_usd"} <= SHAPES.keys()


async def test_a_message_of_the_node_is_one_printable_line(faulty: FaultyNode) -> None:
    faulty.answer = faulty.error({"code": -32000, "message": "bad\n\x1b[31mthing\u202e" + "x" * 5_000})
    async with Rpc(faulty.url) as rpc:
        with pytest.raises(RpcError) as caught:
            await rpc.request("eth_blockNumber")
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 400


async def test_too_many_results_are_no_rate_limit(faulty: FaultyNode) -> None:
    """Some nodes say it with the code of one; asking again would bring the same."""
    faulty.answer = faulty.error({"code": -32005, "message": "query returned more than 10000 results"})
    async with Rpc(faulty.url) as rpc:
        with pytest.raises(RpcError):
            await rpc.read("eth_getLogs", [{}])
    assert len(faulty.asked) == 1


@pytest.mark.parametrize(
    "url",
    [
        " https://node.example/KEY",
        "https://node.example/KEY ",
        "https://node.example/KEY\n",
        "\thttps://node.example/KEY",
        "https://node.example/K EY",
        "https://node.example/KEY\x00",
        "https://node.example/KEY\u200b",
        "https://node.example/KEY\u00a0",
    ],
)
def test_a_url_with_a_space_is_refused_by_name(url: str) -> None:
    with pytest.raises(ConfigError, match=r"has (a space|the character U\+[0-9A-F]{4}) at position \d+ of"):
        Rpc(url)


@pytest.mark.parametrize(
    "host", ["node.example", "8.8.8.8", "[2001:4860:4860::8888]", "localhost.example.com"]
)
def test_plain_http_to_a_public_host_is_refused(host: str) -> None:
    with pytest.raises(ConfigError, match=r"use https, or set chain\.allow_plain_http") as caught:
        Rpc(f"http://{host}/{KEY}")
    assert KEY not in str(caught.value)
    Rpc(f"http://{host}/{KEY}", allow_plain_http=True)
    Rpc(f"https://{host}/{KEY}")


@pytest.mark.parametrize(
    "host",
    ["localhost", "127.0.0.1", "[::1]", "10.1.2.3", "192.168.0.9", "anvil", "node.local", "a.localhost"],
)
def test_plain_http_at_home_is_fine(host: str) -> None:
    Rpc(f"http://{host}:8545")


async def test_memory_and_sockets_stay_flat(faulty: FaultyNode) -> None:
    """H7 in small: one socket for calls in turn, and no growth after the first."""
    async with Rpc(faulty.url) as rpc:
        for _ in range(50):
            await rpc.request("eth_blockNumber")
        before = len(os.listdir("/proc/self/fd"))
        for _ in range(300):
            await rpc.request("eth_blockNumber")
        assert len(os.listdir("/proc/self/fd")) == before


async def test_a_closed_connection_is_a_mistake_and_not_a_bad_node(faulty: FaultyNode) -> None:
    rpc = Rpc(faulty.url)
    await rpc.close()
    with pytest.raises(InvariantError, match="was closed"):
        await rpc.request("eth_blockNumber")


@pytest.mark.parametrize("before", range(290, 301))
async def test_a_key_at_the_end_of_a_long_message_is_not_shown_in_part(
    faulty: FaultyNode, before: int
) -> None:
    faulty.answer = faulty.error({"code": -32000, "message": "x" * before + KEY + "x" * 50})
    async with Rpc(f"{faulty.url}/{KEY}") as rpc:
        with pytest.raises(RpcError) as caught:
            await rpc.request("eth_blockNumber")
    assert KEY[:2] not in str(caught.value)
