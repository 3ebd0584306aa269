"""A JSON-RPC proxy in front of a real node that fails on purpose, seeded: the rig of the F rows.

It keeps what it was asked and which heads it served, so that a test can say afterwards what the program
could have known. A fault acts on HTTP (``http``) or on single replies (``reply``); see faults.py.
"""

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, nullcontext
from dataclasses import dataclass, field
from random import Random
from typing import Any

import aiohttp
from aiohttp import web
from campaign.pool import Pool, Refused

from bot.chain.rpc import RpcError


@dataclass(frozen=True, kw_only=True)
class Fault:
    """Does nothing; faults override one of the two. ``methods`` limits it, None means all."""

    methods: frozenset[str] | None = None

    def concerns(self, call: dict[str, Any]) -> bool:
        return self.methods is None or call.get("method") in self.methods

    @property
    def acts_on_http(self) -> bool:
        return type(self).http is not Fault.http

    async def http(self, request: web.Request, body: Any, proxy: "FaultProxy") -> web.StreamResponse | None:
        """Answer the whole request, or None to go on."""
        return None

    async def reply(self, call: dict[str, Any], reply: dict[str, Any], proxy: "FaultProxy") -> Any:
        """Return what is sent in place of the node's reply."""
        return reply


@dataclass
class FaultProxy:
    """One provider. ``fault`` is what it does wrong now; ``pool`` stands in place of the node's own."""

    upstream: str
    seed: int = 1
    url: str = ""
    fault: Fault | None = None
    pool: Pool | None = None
    asked: Counter = field(default_factory=Counter)  # method -> times
    hits: int = 0  # requests and replies that a fault spoiled
    served: dict[int, str] = field(default_factory=dict)  # height -> hash of heads that were served as latest
    random: Random = field(init=False)
    _session: aiohttp.ClientSession = field(init=False, repr=False)

    def __post_init__(self) -> None:
        self.random = Random(self.seed)

    @contextmanager
    def failing(self, fault: Fault) -> Iterator[None]:
        """Fail in this way until the block ends."""
        self.fault = fault
        try:
            yield
        finally:
            self.fault = None

    async def ask(self, method: str, *params: Any) -> Any:
        """Ask the real node, past every fault."""
        body = {"jsonrpc": "2.0", "id": 1, "method": method, "params": list(params)}
        return (await self._pass(body)).get("result")

    async def handle(self, request: web.Request) -> web.StreamResponse:
        body = await request.json()
        calls = body if isinstance(body, list) else [body]
        self.asked.update(call["method"] for call in calls)
        fault = self.fault
        if fault is not None and any(map(fault.concerns, calls)):
            self.hits += fault.acts_on_http
            response = await fault.http(request, body, self)
            if response is not None:
                return response
        return web.Response(text=json.dumps(await self.answers(body, fault)), content_type="application/json")

    async def answers(self, body: Any, fault: Fault | None = None) -> Any:
        """Answer a call or a batch of them, past ``http`` of every fault."""
        if isinstance(body, list):
            return [await self.answer(call, fault) for call in body]
        return await self.answer(body, fault)

    async def answer(self, call: dict[str, Any], fault: Fault | None = None) -> Any:
        """Answer one call, past ``http`` of every fault."""
        reply = await (self._pass(call) if self.pool is None else self._pooled(call, self.pool))
        if fault is not None and fault.concerns(call):
            true, reply = reply, await fault.reply(call, reply, self)
            self.hits += reply != true
        if call["method"] == "eth_getBlockByNumber" and call["params"][0] == "latest":
            self._note_head(reply)
        return reply

    async def _pooled(self, call: dict[str, Any], pool: Pool) -> Any:
        """Answer what a pool answers; the node the rest."""
        method, params = call["method"], call.get("params", [])
        if method == "eth_sendRawTransaction":
            try:
                return {"jsonrpc": "2.0", "id": call["id"], "result": await pool.offer(params[0])}
            except Refused as refusal:
                error = {"code": -32000, "message": str(refusal)}
            except RpcError as refusal:
                error = {"code": refusal.code, "message": refusal.message}
            return {"jsonrpc": "2.0", "id": call["id"], "error": error}
        if method == "txpool_contentFrom":
            return {"jsonrpc": "2.0", "id": call["id"], "result": await pool.content(params[0])}
        reply = await self._pass(call)
        if method == "eth_getTransactionByHash" and reply.get("result") is None:
            return reply | {"result": pool.transaction(params[0])}
        if method == "eth_getTransactionCount" and params[1] == "pending" and "result" in reply:
            return reply | {"result": hex(pool.pending(params[0], int(reply["result"], 16)))}
        return reply

    def _note_head(self, reply: Any) -> None:
        block = reply.get("result") if isinstance(reply, dict) else None
        if isinstance(block, dict) and isinstance(block.get("number"), str):
            try:
                self.served[int(block["number"], 16)] = block["hash"]
            except (ValueError, KeyError):
                return  # a malformed head is none

    async def _pass(self, body: Any) -> Any:
        if self._session.closed:
            raise web.HTTPServiceUnavailable  # a call that outlived its case
        turn = nullcontext() if self.pool is None else self.pool.turns.reading()
        async with turn, self._session.post(self.upstream, json=body) as response:
            return await response.json(content_type=None)


@asynccontextmanager
async def fault_proxy(
    upstream: str, *, seed: int = 1, token: str = "", host: str = "127.0.0.1"
) -> AsyncIterator[FaultProxy]:
    """Serve on a free loopback port until the block ends. ``token`` is the key in its URL."""
    proxy = FaultProxy(upstream, seed)
    application = web.Application(client_max_size=50_000_000)
    application.router.add_post("/{rest:.*}", proxy.handle)
    runner = web.AppRunner(application, shutdown_timeout=0.1)
    await runner.setup()
    async with aiohttp.ClientSession() as session:
        proxy._session = session
        try:
            await web.TCPSite(runner, host, 0).start()
            name = f"[{host}]" if ":" in host else host
            proxy.url = f"http://{name}:{runner.addresses[0][1]}/{token or f'key-{seed}'}"
            yield proxy
        finally:
            proxy.fault = None
            await asyncio.wait_for(runner.cleanup(), 10.0)
