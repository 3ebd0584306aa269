"""The F rows of reliability.md as faults of a provider."""

import asyncio
import json
import zlib
from dataclasses import dataclass
from functools import cache
from typing import Any

from aiohttp import web
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
        text = json.dumps(await proxy._pass(body)).encode()
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
        replies = await proxy._pass(body)
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
    """F12: other hashes at the same heights, and none of the true ones known."""

    async def reply(self, call, reply, proxy):
        method, result = call["method"], reply.get("result")
        if method == "eth_getBlockByNumber" and result:
            return reply | {"result": result | {"hash": _other(result["hash"])}}
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


@cache
def _bomb() -> bytes:
    """Return 200 MB of a number in 200 kB, made up once: making it would stall every server of the test."""
    parts = [b'{"jsonrpc":"2.0","id":1,"result":"0x', *[b"0" * 1_000_000] * 200, b'"}']
    packer = zlib.compressobj(9, zlib.DEFLATED, 31)
    return b"".join([*(packer.compress(part) for part in parts), packer.flush()])


def _other(block_hash: str) -> str:
    return "0x" + bytes(byte ^ 0xFF for byte in bytes.fromhex(block_hash[2:])).hex()
