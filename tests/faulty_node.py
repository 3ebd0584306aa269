"""A node that misbehaves on purpose, in this process."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
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
