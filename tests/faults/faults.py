"""The F rows of reliability.md as faults of a provider."""

import asyncio
import json
import zlib
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from random import Random
from typing import Any

from aiohttp import web
from eth_abi.abi import decode, encode
from eth_abi.exceptions import DecodingError
from faults.proxy import Fault

RUBBISH = ("html", "empty", "text", "bomb", "huge")
HEAD = frozenset({"eth_getBlockByNumber", "eth_blockNumber"})


@dataclass(frozen=True, kw_only=True)
class Refused(Fault):
    """F1, F2: nobody is there: the connection is closed without a byte."""

    async def http(self, request, body, proxy):
        request.transport.abort()
        return web.Response()


@dataclass(frozen=True, kw_only=True)
class Late(Fault):
    """F3: answers, but late; with ``spread_s`` not always equally late."""

    delay_s: float
    spread_s: float = 0.0

    async def http(self, request, body, proxy):
        await asyncio.sleep(self.delay_s + self.spread_s * proxy.random.random())
        return None  # noqa: RET501 - the node answers then


@dataclass(frozen=True, kw_only=True)
class Drip(Fault):
    """F4: headers, then a byte a second for ever (or nothing)."""

    silent: bool = False

    async def http(self, request, body, proxy):
        response = web.StreamResponse(headers={"Content-Type": "application/json"})
        await response.prepare(request)
        with suppress(ConnectionError):  # the caller has heard enough
            for _ in range(60):
                if not self.silent:
                    await response.write(b" ")
                await asyncio.sleep(1.0)
        return response


@dataclass(frozen=True, kw_only=True)
class CutBody(Fault):
    """F5: half of the true answer, then a reset, or a clean end of half a document."""

    reset: bool = True

    async def http(self, request, body, proxy):
        text = json.dumps(await proxy.answers(body)).encode()
        half = text[: len(text) // 2]
        if not self.reset:
            return web.Response(body=half, content_type="application/json")
        response = web.StreamResponse(headers={"Content-Length": str(len(text))})
        await response.prepare(request)
        await response.write(half)
        request.transport.abort()
        return response


@dataclass(frozen=True, kw_only=True)
class Rubbish(Fault):
    """F6: a page, nothing, the wrong type, a bomb, or far too much."""

    kind: str

    def __post_init__(self) -> None:
        if self.kind == "bomb":
            _bomb()

    async def http(self, request, body, proxy):
        if self.kind == "html":
            return web.Response(status=502, text="<html>bad gateway</html>", content_type="text/html")
        if self.kind == "empty":
            return web.Response(body=b"", content_type="application/json")
        if self.kind == "text":
            return web.Response(text="ok")
        if self.kind == "bomb":
            headers = {"Content-Encoding": "gzip", "Content-Type": "application/json"}
            return web.Response(body=_bomb(), headers=headers)
        response = web.StreamResponse(headers={"Content-Type": "application/json"})
        await response.prepare(request)
        with suppress(ConnectionError):
            for _ in range(200):
                await response.write(b" " * 1_000_000)
        return response


@dataclass(frozen=True, kw_only=True)
class Ids(Fault):
    """F7: the wrong id, none, or someone else's answer."""

    kind: str

    async def reply(self, call, reply, proxy):
        if self.kind == "wrong":
            return reply | {"id": call["id"] + 1}
        if self.kind == "none":
            return {key: value for key, value in reply.items() if key != "id"}
        return reply | {"id": str(call["id"])}


@dataclass(frozen=True, kw_only=True)
class Batch(Fault):
    """F7: a batch that is reordered (allowed), short, or holds one answer twice."""

    kind: str

    async def http(self, request, body, proxy):
        if not isinstance(body, list):
            return None
        replies = await proxy.answers(body)
        if self.kind == "reordered":
            proxy.random.shuffle(replies)
        elif self.kind == "short":
            replies = replies[:-1]
        else:
            replies = [*replies[:-1], replies[0]]
        return web.json_response(replies)


@dataclass(frozen=True, kw_only=True)
class Result(Fault):
    """F8, F9: another result in place of the true one."""

    value: Any = None

    async def reply(self, call, reply, proxy):
        return {"jsonrpc": "2.0", "id": call["id"], "result": self.value}


@dataclass(frozen=True, kw_only=True)
class Limited(Fault):
    """F10: 429 with or without Retry-After, 403 key revoked, 402 quota."""

    status: int = 429
    retry_after: str | None = None

    async def http(self, request, body, proxy):
        headers = {} if self.retry_after is None else {"Retry-After": self.retry_after}
        return web.Response(status=self.status, headers=headers, text=f"denied {request.path}")


@dataclass(frozen=True, kw_only=True)
class Head(Fault):
    """F11: a head that is not the newest: ``lag`` blocks behind, or a number that is far ahead."""

    methods: frozenset[str] | None = HEAD
    lag: int = 0
    jump: int = 0

    async def reply(self, call, reply, proxy):
        if call["method"] == "eth_getBlockByNumber" and call["params"][0] != "latest":
            return reply
        newest = int(await proxy.ask("eth_blockNumber"), 16)
        if call["method"] == "eth_blockNumber":
            return reply | {"result": hex(newest - self.lag + self.jump)}
        if self.lag:
            return reply | {"result": await proxy.ask("eth_getBlockByNumber", hex(newest - self.lag), False)}
        ahead = {"number": hex(newest + self.jump), "hash": "0x" + "ab" * 32, "parentHash": "0x" + "cd" * 32}
        return reply | {"result": reply["result"] | ahead}


@dataclass(frozen=True, kw_only=True)
class Frozen(Fault):
    """F11: the head stands still at ``number``."""

    methods: frozenset[str] | None = HEAD
    number: int

    async def reply(self, call, reply, proxy):
        if call["method"] == "eth_blockNumber":
            return reply | {"result": hex(self.number)}
        if call["params"][0] != "latest":
            return reply
        return reply | {"result": await proxy.ask("eth_getBlockByNumber", hex(self.number), False)}


@dataclass(frozen=True, kw_only=True)
class Forked(Fault):
    """F12: other hashes at the same heights, and none of the true ones known.

    ``alike``: on the same fork as the other providers that fail so, else each on its own.
    """

    alike: bool = True

    async def reply(self, call, reply, proxy):
        method, result = call["method"], reply.get("result")
        if method == "eth_getBlockByNumber" and result:
            return reply | {
                "result": result | {"hash": _other(result["hash"], 0 if self.alike else proxy.seed)}
            }
        if method == "eth_getBlockByHash":
            return reply | {"result": None}
        if any(isinstance(item, dict) and "blockHash" in item for item in call["params"]):
            error = {"code": -32001, "message": "Resource not found"}
            return {"jsonrpc": "2.0", "id": call["id"], "error": error}
        return reply


@dataclass(frozen=True, kw_only=True)
class Chain(Fault):
    """F13: another chain behind the same URL."""

    methods: frozenset[str] | None = frozenset({"eth_chainId"})
    chain_id: int = 1

    async def reply(self, call, reply, proxy):
        return reply | {"result": hex(self.chain_id)}


@dataclass(frozen=True, kw_only=True)
class Liar(Fault):
    """F14: well-formed answers that are not true: ``eth_call`` as of ``blocks`` blocks ago."""

    methods: frozenset[str] | None = frozenset({"eth_call"})
    blocks: int = 20

    async def reply(self, call, reply, proxy):
        newest = int(await proxy.ask("eth_blockNumber"), 16)
        old = hex(max(newest - self.blocks, 0))
        return reply | {"result": await proxy.ask("eth_call", call["params"][0], old, *call["params"][2:])}


@dataclass(frozen=True, kw_only=True)
class Flipped(Fault):
    """F14: one byte of the answer is another."""

    methods: frozenset[str] | None = frozenset({"eth_call"})

    async def reply(self, call, reply, proxy):
        text = reply.get("result") or ""
        at = [index for index in range(2, len(text)) if text[index] != "0"]
        if not at:
            return reply
        place = proxy.random.choice(at)
        return reply | {"result": f"{text[:place]}{'1' if text[place] != '1' else '2'}{text[place + 1 :]}"}


@dataclass(frozen=True, kw_only=True)
class Unpinned(Fault):
    """F18: a lagging node behind the same URL: it does not know the block that reads are pinned to."""

    methods: frozenset[str] | None = frozenset({"eth_call", "eth_getBlockByHash"})

    async def reply(self, call, reply, proxy):
        if call["method"] == "eth_getBlockByHash":
            return reply | {"result": None}
        return {"jsonrpc": "2.0", "id": call["id"], "error": {"code": -32000, "message": "header not found"}}


@dataclass(frozen=True, kw_only=True)
class Receipt(Fault):
    """F15: a receipt that says success without its events (``bare``), or that is of another block."""

    methods: frozenset[str] | None = frozenset({"eth_getTransactionReceipt"})
    bare: bool = True

    async def reply(self, call, reply, proxy):
        receipt = reply.get("result")
        if not receipt:
            return reply
        if self.bare:
            return reply | {"result": receipt | {"logs": [], "logsBloom": "0x" + "00" * 256}}
        other = {"blockHash": _other(receipt["blockHash"], 0)}
        logs = [item | other for item in receipt["logs"]]
        return reply | {"result": receipt | other | {"logs": logs}}


@dataclass(frozen=True, kw_only=True)
class ShortLogs(Fault):
    """F16: a log is missing, or the node says that the range is too wide."""

    methods: frozenset[str] | None = frozenset({"eth_getLogs"})
    too_wide: bool = False

    async def reply(self, call, reply, proxy):
        if self.too_wide:
            query = call["params"][0]
            first, last = (int(query[name], 16) for name in ("fromBlock", "toBlock"))
            if last == first:
                return reply
            error = {"code": -32005, "message": "query returned more than 10000 results"}
            return {"jsonrpc": "2.0", "id": call["id"], "error": error}
        return reply | {"result": (reply.get("result") or [])[1:]}


@dataclass(frozen=True, kw_only=True)
class Subcalls(Fault):
    """F17: of a multicall those that answer ``word`` fail and others by chance; or the whole is spoiled."""

    methods: frozenset[str] | None = frozenset({"eth_call"})
    kind: str  # "some", "empty", "short", "reverted"
    word: str = ""
    salt: int = 0  # providers with the same spoil the same

    async def reply(self, call, reply, proxy):
        if self.kind == "reverted":
            error = {"code": 3, "message": "execution reverted", "data": "0x"}
            return {"jsonrpc": "2.0", "id": call["id"], "error": error}
        text = reply.get("result") or "0x"
        if self.kind == "empty":
            return reply | {"result": "0x"}
        if self.kind == "short":
            return reply | {"result": text[: 2 + (len(text) - 2) // 4 * 2]}
        return reply | {"result": self._some(text)}

    def _some(self, text: str) -> str:
        random = Random(f"{self.salt}/{len(text)}")
        try:
            (parts,) = decode(["(bool,bytes)[]"], bytes.fromhex(text[2:]))
        except DecodingError:
            return "0x" if self.word in text else text
        spoiled = [
            (False, b"") if self.word in data.hex() or random.random() < 0.3 else (is_well, data)
            for is_well, data in parts
        ]
        return "0x" + encode(["(bool,bytes)[]"], [spoiled]).hex()


@dataclass(frozen=True, kw_only=True)
class Fees(Fault):
    """F20: estimates of gas and fees that nobody can mean."""

    kind: str
    methods: frozenset[str] | None = frozenset(
        {"eth_estimateGas", "eth_feeHistory", "eth_maxPriorityFeePerGas", "eth_gasPrice"}
    )

    async def reply(self, call, reply, proxy):
        method = call["method"]
        if method == "eth_estimateGas":
            absurd = {"low": hex(1), "high": hex(10**15), "zero": hex(0)}
            return reply | {"result": absurd.get(self.kind, reply.get("result"))}
        if method == "eth_feeHistory":
            return reply | {"result": self._history(reply["result"])}
        return reply | {"result": hex(10**15 if self.kind in ("high", "tip") else 0)}

    def _history(self, history):
        if self.kind in ("empty", "low"):
            return history | {"baseFeePerGas": [], "reward": [], "gasUsedRatio": []}
        tip_wei = 10**15 if self.kind in ("high", "tip") else 0  # a million gwei, or none
        rewards = [[hex(tip_wei) for _ in row] for row in history.get("reward") or []]
        return history | {"reward": rewards}


@cache
def _bomb() -> bytes:
    """Return 200 MB of a number in 200 kB, made up once: making it would stall every server of the test."""
    parts = [b'{"jsonrpc":"2.0","id":1,"result":"0x', *[b"0" * 1_000_000] * 200, b'"}']
    packer = zlib.compressobj(9, zlib.DEFLATED, 31)
    return b"".join([*(packer.compress(part) for part in parts), packer.flush()])


def _other(block_hash: str, fork: int) -> str:
    return "0x" + bytes(byte ^ 0xFF ^ fork for byte in bytes.fromhex(block_hash[2:])).hex()
