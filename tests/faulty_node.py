"""A node that misbehaves on purpose, in this process."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

Answer = Callable[[web.Request, Any], Awaitable[web.StreamResponse]]


class FaultyNode:
    """Answers every POST with what ``answer`` makes of it, and keeps what was asked."""

    def __init__(self) -> None:
        self.url = ""
        self.asked: list[Any] = []
        self.answer: Answer = self.ok("0x1")

    async def handle(self, request: web.Request) -> web.StreamResponse:
        body = await request.json()
        self.asked.append(body)
        return await self.answer(request, body)

    @staticmethod
    def ok(result: object) -> Answer:
        async def answer(_: web.Request, body: Any) -> web.Response:
            return web.json_response({"jsonrpc": "2.0", "id": body["id"], "result": result})

        return answer

    @staticmethod
    def error(error: object, *, status: int = 200) -> Answer:
        async def answer(_: web.Request, body: Any) -> web.Response:
            reply = {"jsonrpc": "2.0", "id": body["id"], "error": error}
            return web.json_response(reply, status=status)

        return answer

    @staticmethod
    def raw(text: str, *, status: int = 200, headers: dict[str, str] | None = None) -> Answer:
        async def answer(_: web.Request, __: Any) -> web.Response:
            return web.Response(text=text, status=status, headers=headers, content_type="application/json")

        return answer

    def in_turn(self, *answers: Answer) -> None:
        """Give each answer once, then the last for ever."""
        left = list(answers)

        async def answer(request: web.Request, body: Any) -> web.StreamResponse:
            chosen = left.pop(0) if len(left) > 1 else left[0]
            return await chosen(request, body)

        self.answer = answer


@asynccontextmanager
async def faulty_node() -> AsyncIterator[FaultyNode]:
    """Serve on a free loopback port until the block ends."""
    node = FaultyNode()
    application = web.Application()
    application.router.add_post("/{rest:.*}", node.handle)
    runner = web.AppRunner(application, shutdown_timeout=0.1)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        node.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        yield node
    finally:
        await runner.cleanup()


@dataclass
class HonestChain:
    """A small chain that answers like a node; several nodes can stand on one, or on copies that differ."""

    chain_id: int = 1
    salt: int = 0  # chains of another salt have other hashes from ``forked_at`` on
    forked_at: int = 0
    head: int = 100
    values: dict[str, Any] = field(default_factory=dict)  # answers of methods that are not blocks

    def hash_of(self, number: int) -> str:
        salt = self.salt if number >= self.forked_at else 0
        return f"0x{salt + 1:032x}{number:032x}"

    def block(self, number: int) -> dict[str, Any] | None:
        if not 0 <= number <= self.head:
            return None
        return {
            "number": hex(number),
            "hash": self.hash_of(number),
            "parentHash": self.hash_of(number - 1) if number else "0x" + "00" * 32,
            "timestamp": hex(1_700_000_000 + 12 * number),
        }

    def result(self, method: str, params: Any) -> Any:
        if method == "eth_chainId":
            return hex(self.chain_id)
        if method == "eth_blockNumber":
            return hex(self.head)
        if method == "eth_getBlockByNumber":
            number = {"latest": self.head, "finalized": max(self.head - 64, 0)}.get(params[0])
            return self.block(int(params[0], 16) if number is None else number)
        if method == "eth_getBlockByHash":
            number = int(params[0][-32:], 16)
            return self.block(number) if self.hash_of(number) == params[0] else None
        answer = self.values.get(method, "0x1")
        return answer(params) if callable(answer) else answer


Twist = Callable[[str, Any, Any], Any]  # (method, params, honest result) -> what is said instead


class NodeError(Exception):
    """Raised in a twist: the node answers with this error object."""


@dataclass
class Provider:
    """A faulty node that stands on a chain and can twist each answer, or fail whole requests."""

    node: FaultyNode
    chain: HonestChain
    twist: Twist = lambda _method, _params, result: result
    fault: Answer | None = None  # in place of any answer

    def __post_init__(self) -> None:
        self.node.answer = self._answer

    @property
    def methods(self) -> list[str]:
        bodies = [body if isinstance(body, list) else [body] for body in self.node.asked]
        return [call["method"] for body in bodies for call in body]

    async def _answer(self, request: web.Request, body: Any) -> web.StreamResponse:
        if self.fault is not None:
            return await self.fault(request, body)
        calls = body if isinstance(body, list) else [body]
        replies = [self._reply(call) for call in calls]
        return web.json_response(replies if isinstance(body, list) else replies[0])

    def _reply(self, call: Any) -> dict[str, Any]:
        reply = {"jsonrpc": "2.0", "id": call["id"]}
        method, params = call["method"], call["params"]
        try:
            return {**reply, "result": self.twist(method, params, self.chain.result(method, params))}
        except NodeError as error:
            return {**reply, "error": error.args[0]}


async def hang(_: web.Request, __: Any) -> web.StreamResponse:
    """Never answer."""
    await asyncio.sleep(60)
    raise AssertionError


async def cut(request: web.Request, _: Any) -> web.StreamResponse:
    """Take the request and drop the connection."""
    assert request.transport is not None
    request.transport.abort()
    return web.Response()
