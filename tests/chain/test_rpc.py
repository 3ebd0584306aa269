"""REL-R8, REL-R9 and the faults that web3.py 8 gets wrong, against a misbehaving node."""

import asyncio
import time
import traceback
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
from aiohttp import web
from eth_abi.abi import encode
from faulty_node import FaultyNode, faulty_node

from bot.chain.rpc import (
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
        started = time.monotonic()
        with pytest.raises(DeadlineError, match=r"within 0\.2 s"):
            await rpc.request("eth_blockNumber")
        assert time.monotonic() - started < 0.7
        with pytest.raises(DeadlineError):
            await rpc.read("eth_blockNumber", deadline_s=0.5)
        assert time.monotonic() - started < 1.7


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
        started = time.monotonic()
        with pytest.raises(DeadlineError):
            await rpc.request("eth_blockNumber")
        assert time.monotonic() - started < 0.8


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
        started = time.monotonic()
        with pytest.raises(RateLimitedError, match="not sent"):
            await rpc.request("eth_sendRawTransaction", ["0x00"], send=True)
        with pytest.raises(RateLimitedError):  # 7 s do not fit into 1 s, so there is no point in waiting
            await rpc.read("eth_blockNumber", deadline_s=1)
        assert time.monotonic() - started < 0.5
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


async def test_a_closed_connection_is_a_mistake_and_not_a_bad_node(faulty: FaultyNode) -> None:
    rpc = Rpc(faulty.url)
    await rpc.close()
    with pytest.raises(InvariantError, match="was closed"):
        await rpc.request("eth_blockNumber")
