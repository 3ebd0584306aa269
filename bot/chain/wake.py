"""New heads over a websocket, as a hint and nothing more: it ends a wait, polling finds out what is true.

Its own connection, on which nothing is asked but the subscription. web3.py 8 loses heads when such a link is
cut and does not notice a silent one (measured); here neither matters, for a head is never taken from it.
"""

import asyncio
import random
import socket
from collections import OrderedDict
from collections.abc import Callable
from types import TracebackType
from typing import Any

import aiohttp
import orjson

from bot.chain.node_url import checked_url, redact_url
from bot.errors import ConfigError, InvariantError, TransientError

_SUBSCRIBE_ID = 1
_REMEMBERED = 64  # hashes of heads that woke already
_MAX_MESSAGE_BYTES = 1_000_000  # a header is 2 kB
_FIRST_PAUSE_S = 0.2  # before the first new attempt; doubles up to the longest
_LONGEST_PAUSE_S = 30.0
_SILENT_BLOCKS = 3  # block times without a head, after which a link counts as dead (REL-R10)
_QUICKACK: int | None = getattr(socket, "TCP_QUICKACK", None)  # Linux only


class HeadWaker:
    """Subscribes to newHeads and wakes whoever waits. Use as an async context manager.

    A link that fails or says nothing for max(3 block times, ``least_silence_s``) is dialled anew, for ever,
    with pauses that grow; ``on_trouble`` hears once of each outage. Implements ``heads.Wake``.
    """

    def __init__(
        self,
        url: str,
        *,
        block_time_s: float = 12.0,
        least_silence_s: float = 5.0,
        connect_s: float = 10.0,
        on_trouble: Callable[[TransientError], None] = lambda _: None,
        allow_plain_ws: bool = False,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        checked_url(url, schemes=("ws", "wss"), allow_plain=allow_plain_ws, what="websocket URL")
        if not (block_time_s > 0 and least_silence_s > 0 and connect_s > 0):
            raise ConfigError(
                f"websocket times must be > 0 s, were block time {block_time_s}, least silence "
                f"{least_silence_s}, connect {connect_s}"
            )
        self.where = redact_url(url)
        self.connections = 0  # how often it subscribed
        self.heads = 0  # how many different heads it heard of
        self._url = url
        self._silence_s = max(_SILENT_BLOCKS * block_time_s, least_silence_s)
        self._connect_s = connect_s
        self._on_trouble = on_trouble
        self._jitter = jitter
        self._woken = asyncio.Event()
        self._seen: OrderedDict[str, None] = OrderedDict()
        self._task: asyncio.Task[None] | None = None

    def __repr__(self) -> str:
        return f"HeadWaker({self.where})"

    async def __aenter__(self) -> "HeadWaker":
        self._task = asyncio.create_task(self._follow(), name=f"heads of {self.where}")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
            self._task = None

    async def wait(self, timeout_s: float) -> bool:
        """Return true once there may be a new head, false after ``timeout_s``.

        A hint that came since the last wait ends this one at once. Raises InvariantError when the task
        behind it has died, so that this can never go unnoticed.
        """
        if self._task is None or self._task.done():
            raise InvariantError(f"the task that listens to {self.where} is not running")
        try:
            async with asyncio.timeout(timeout_s):
                await self._woken.wait()
        except TimeoutError:
            return False
        self._woken.clear()
        return True

    async def _follow(self) -> None:
        pause_s = _FIRST_PAUSE_S
        is_out = False
        while True:
            heads_before = self.heads
            problem = await self._listen()
            if self.heads != heads_before:  # it worked for a while: this is a new outage
                pause_s, is_out = _FIRST_PAUSE_S, False
            if not is_out:
                is_out = True
                self._on_trouble(
                    TransientError(
                        f"websocket {self.where}: {problem}; heads come by polling alone meanwhile"
                    )
                )
            await asyncio.sleep(pause_s * (0.5 + self._jitter() / 2))
            pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)

    async def _listen(self) -> str:
        """Connect, subscribe and pass hints on until the link ends; returns why it did."""
        try:
            async with aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar()) as session:
                async with asyncio.timeout(self._connect_s):
                    link = await session.ws_connect(
                        self._url,
                        max_msg_size=_MAX_MESSAGE_BYTES,
                        timeout=aiohttp.ClientWSTimeout(ws_close=1.0),
                    )
                try:
                    return await self._hints(link)
                finally:
                    await link.close()
        except TimeoutError:
            return f"no connection within {self._connect_s:g} s"
        except (aiohttp.ClientError, OSError, ValueError) as error:  # its text may hold the URL
            return type(error).__name__

    async def _hints(self, link: aiohttp.ClientWebSocketResponse) -> str:
        await link.send_str(_SUBSCRIBE)
        loop = asyncio.get_running_loop()
        silent_from = loop.time()
        while True:
            try:
                async with asyncio.timeout_at(silent_from + self._silence_s):
                    message = await link.receive()
            except TimeoutError:
                return f"no head within {self._silence_s:g} s"
            _acknowledge_at_once(link)
            if message.type not in (aiohttp.WSMsgType.TEXT, aiohttp.WSMsgType.BINARY):
                return "the link was closed"
            reply = _decoded(message.data)
            if reply.get("id") == _SUBSCRIBE_ID and reply.get("error"):
                return "the node refuses to subscribe to newHeads"
            if reply.get("id") == _SUBSCRIBE_ID:
                self.connections += 1
                self._woken.set()  # a head may have come while there was no link
            elif (found := _head_hash(reply)) is not None:
                silent_from = loop.time()
                self._hint(found)

    def _hint(self, block_hash: str) -> None:
        """Wake once per head, however often and in whatever order the node names it."""
        if block_hash in self._seen:
            return
        self.heads += 1
        self._seen[block_hash] = None
        if len(self._seen) > _REMEMBERED:
            self._seen.popitem(last=False)
        self._woken.set()


_SUBSCRIBE = orjson.dumps(
    {"jsonrpc": "2.0", "id": _SUBSCRIBE_ID, "method": "eth_subscribe", "params": ["newHeads"]}
).decode()


def _decoded(data: Any) -> dict[str, Any]:
    """Return a message as an object; one that is none says nothing."""
    try:
        found = orjson.loads(data)
    except orjson.JSONDecodeError:
        return {}
    return found if isinstance(found, dict) else {}


def _head_hash(reply: dict[str, Any]) -> str | None:
    params = reply.get("params")
    head = params.get("result") if isinstance(params, dict) else None
    found = head.get("hash") if isinstance(head, dict) else None
    return found[:66] if isinstance(found, str) else None


def _acknowledge_at_once(link: aiohttp.ClientWebSocketResponse) -> None:
    """Undo delayed acknowledgement, which the kernel turns on again by itself.

    Without it a node that sends by Nagle's algorithm holds the second of two heads back for 40 ms
    (measured: 44 ms instead of 1.3 ms with blocks back to back).
    """
    found = link.get_extra_info("socket")
    if _QUICKACK is not None and found is not None:
        found.setsockopt(socket.IPPROTO_TCP, _QUICKACK, 1)
