"""JSON-RPC over HTTP for money: ids checked, one deadline per call, nothing secret in an error.

web3.py 8 accepts a reply with a wrong id, returns None for ``result: null``, sends transactions again,
multiplies its timeout by its retries, ignores Retry-After and writes the URL with its key into exceptions.
"""

import asyncio
import itertools
import random
import time
import zlib
from collections.abc import Sequence
from typing import Any, Protocol

import orjson
import tenacity

from bot.chain.http_session import (
    TRANSPORT_ERRORS,
    BodyTooLarge,
    Closeable,
    HttpSession,
    bounded_body,
    retry_after_s,
    short,
)
from bot.chain.node_errors import (
    HttpStatusError,
    RateLimitedError,
    ReplyTooLargeError,
    RevertError,
    RpcError,
    is_rate_limit,
    node_error,
)
from bot.chain.node_url import checked_url, endpoint, is_private_host, redact_url, secrets_of
from bot.chain.replies import hex_bytes, is_data, problem_of, quantity, shown
from bot.errors import ConfigError, DeadlineError, InvariantError, TransientError

__all__ = [
    "MAX_RETRY_AFTER_S",
    "SEND_METHODS",
    "HttpStatusError",
    "Node",
    "RateLimitedError",
    "ReplyTooLargeError",
    "RevertError",
    "Rpc",
    "RpcError",
    "hex_bytes",
    "quantity",
    "read_again",
    "redact_url",
]

SEND_METHODS = frozenset({"eth_sendRawTransaction", "eth_sendTransaction"})
MAX_RETRY_AFTER_S = 600.0
_FIRST_PAUSE_S = 0.1  # between two tries, at most; doubles up to the longest
_LONGEST_PAUSE_S = 2.0
_WORDS_AT_MOST = 300  # letters of a node's own message


class Node(Protocol):
    """One node or several that answer as one: see :class:`Rpc` for what each method promises."""

    @property
    def where(self) -> str:
        """Where the answers come from, without anything secret."""
        ...

    async def request(self, method: str, params: Sequence[Any] = (), *, send: bool = False) -> Any: ...

    async def batch(self, calls: Sequence[tuple[str, Sequence[Any]]]) -> list[Any]: ...

    async def read(
        self, method: str, params: Sequence[Any] = (), *, deadline_s: float | None = None
    ) -> Any: ...

    async def close(self) -> None: ...


class Rpc(Closeable):
    """One node. Use as an async context manager, or call :meth:`close`.

    ``timeout_s`` bounds a whole call from connect to the last byte; ``max_body_bytes`` bounds a reply, also
    after it was unpacked. Plain http to a public host is refused unless ``allow_plain_http``.
    """

    def __init__(
        self,
        url: str,
        *,
        timeout_s: float = 10.0,
        max_body_bytes: int = 5_000_000,
        allow_plain_http: bool = False,
    ) -> None:
        checked_url(url, schemes=("http", "https"), allow_plain=allow_plain_http)
        if not timeout_s > 0 or max_body_bytes <= 0:
            raise ConfigError(f"RPC timeout and body limit must be > 0, were {timeout_s}, {max_body_bytes}")
        self.where = redact_url(url)
        self.endpoint = endpoint(url)
        self.timeout_s = timeout_s
        self._url = url
        self._secrets = secrets_of(url)
        self._max_body_bytes = max_body_bytes
        # Packing costs a near node more than the bytes that it saves.
        packing = "identity" if is_private_host(url) else "gzip"
        self._http = HttpSession(
            self.where,
            headers={
                "Accept": "application/json",
                "Accept-Encoding": packing,
                "Content-Type": "application/json",
            },
            connections=50,
            unpacks=False,  # a packed reply is unpacked here, up to the limit and no further
        )
        self._ids = itertools.count(1)
        self._quiet_until = 0.0  # time.monotonic() before which the node asked not to be called

    def __repr__(self) -> str:
        return f"Rpc({self.where})"

    async def close(self) -> None:
        await self._http.close()

    async def request(self, method: str, params: Sequence[Any] = (), *, send: bool = False) -> Any:
        """Do one call, once: never retried here. ``send`` must be true for calls that send a transaction.

        Raises RevertError and RpcError for the node's own errors, RateLimitedError, DeadlineError, and
        TransientError for everything else. After an error of a send, the transaction may have been taken.
        """
        if (method in SEND_METHODS) != send:
            raise InvariantError(f"{method} called with send={send}")
        call = self._call(method, params)
        reply = await self._post(method, call)
        return self._result(method, call["id"], reply)

    async def batch(self, calls: Sequence[tuple[str, Sequence[Any]]]) -> list[Any]:
        """Do several reads in one HTTP request. A call's own error stands in its place as an RpcError."""
        if not calls:
            return []
        if any(method in SEND_METHODS for method, _ in calls):
            raise InvariantError("a batch carries reads only, found a send")
        bodies = [self._call(method, params) for method, params in calls]
        replies = await self._post("batch", bodies)
        if not isinstance(replies, list):
            self._result("batch", bodies[0]["id"], replies)
            raise TransientError(f"batch at {self.where}: the reply is no list")
        by_id = {_id_of(reply): reply for reply in replies}
        if len(replies) != len(bodies) or by_id.keys() != {body["id"] for body in bodies}:
            raise TransientError(f"batch at {self.where}: ids of the replies do not match")
        return [self._item(body["method"], body["id"], by_id[body["id"]]) for body in bodies]

    async def read(self, method: str, params: Sequence[Any] = (), *, deadline_s: float | None = None) -> Any:
        """Do one idempotent read, again with growing pauses while it fails in transit.

        All tries together end within ``deadline_s`` (default: twice the timeout of one call). A pause that
        the node asked for is kept, or the last error raised at once when it does not fit. Errors that the
        node itself reports are not retried, rate limits are.
        """
        limit_s = 2 * self.timeout_s if deadline_s is None else deadline_s
        return await read_again(self, method, params, limit_s=limit_s)

    def _call(self, method: str, params: Sequence[Any]) -> dict[str, Any]:
        return {"jsonrpc": "2.0", "id": next(self._ids), "method": method, "params": list(params)}

    async def _post(self, method: str, body: Any) -> Any:
        pause_s = self._quiet_until - time.monotonic()
        if pause_s > 0:
            raise RateLimitedError(
                f"{method} at {self.where}: not sent, the node asked for a pause of {pause_s:.1f} s more",
                pause_s,
            )
        packed = _encoded(method, body)
        # The errors of aiohttp may hold the URL: only their class is kept, and they are not chained.
        try:
            async with asyncio.timeout(self.timeout_s):
                status, headers, text = await self._exchange(packed)
        except TimeoutError:
            failure: TransientError = DeadlineError(
                f"{method} at {self.where}: no answer within {self.timeout_s:g} s"
            )
        except BodyTooLarge:
            failure = ReplyTooLargeError(
                f"{method} at {self.where}: reply is larger than {self._max_body_bytes} bytes"
            )
        except (*TRANSPORT_ERRORS, zlib.error) as error:
            failure = TransientError(f"{method} at {self.where}: {short(error)}")
        else:
            return self._parsed(method, status, headers, text)
        raise failure

    async def _exchange(self, body: bytes) -> tuple[int, Any, bytes]:
        limit = self._max_body_bytes
        async with self._http.open().post(self._url, data=body, allow_redirects=False) as response:
            raw = await bounded_body(response, limit=limit)
            return response.status, response.headers, _unpacked(raw, response.headers, limit)

    def _parsed(self, method: str, status: int, headers: Any, text: bytes) -> Any:
        if status == 429:
            asked_s = retry_after_s(headers.get("Retry-After", ""), unsaid_s=1.0)
            pause_s = min(max(asked_s, 0.0), MAX_RETRY_AFTER_S)
            self._quiet_until = time.monotonic() + pause_s
            raise RateLimitedError(
                f"{method} at {self.where}: rate limited, asked to wait {pause_s:.1f} s", pause_s
            )
        try:
            reply = orjson.loads(text)  # refuses NaN, bad UTF-8 and anything nested over 1,024 deep
        except orjson.JSONDecodeError:
            reply = None
        if status != 200 and not (isinstance(reply, dict) and reply.get("error")):
            raise HttpStatusError(f"{method} at {self.where}: HTTP {status}", status)
        if not isinstance(reply, dict | list):
            raise TransientError(f"{method} at {self.where}: the reply is no JSON-RPC")
        return reply

    def _item(self, method: str, call_id: int, reply: Any) -> Any:
        try:
            return self._result(method, call_id, reply)
        except RpcError as error:
            return error

    def _result(self, method: str, call_id: int, reply: Any) -> Any:
        if not isinstance(reply, dict):
            raise TransientError(f"{method} at {self.where}: the reply is no JSON-RPC")
        error = reply.get("error")
        # A node that could not read the request answers with a null id; any other id is a mix-up.
        if _id_of(reply) != call_id and not (error and reply.get("id") is None):
            raise TransientError(f"{method} at {self.where}: the reply carries a wrong id")
        if error:
            raise self._node_error(error)
        if "result" not in reply:
            raise TransientError(f"{method} at {self.where}: the reply has neither result nor error")
        if problem := problem_of(method, reply["result"]):
            raise TransientError(f"{method} at {self.where}: {problem} (wrong shape)")
        return reply["result"]

    def _node_error(self, error: Any) -> RpcError:
        fields = error if isinstance(error, dict) else {"message": error}
        said = fields.get("message", "")
        words = said if isinstance(said, str) else shown(said)
        for secret in self._secrets:  # before it is cut, or a part of one could be left at the end
            words = words.replace(secret, "…")
        message = "".join(letter if letter.isprintable() else " " for letter in words[:_WORDS_AT_MOST])
        return node_error(fields.get("code"), message, _error_data(fields.get("data")))


async def read_again(node: Node, method: str, params: Sequence[Any], *, limit_s: float) -> Any:
    """Ask ``node.request`` until it answers, for ``limit_s`` in all; see ``Rpc.read``."""
    if method in SEND_METHODS:
        raise InvariantError(f"{method} is not idempotent and must never be retried")
    end = time.monotonic() + limit_s
    try:
        async with asyncio.timeout(limit_s):
            try:
                return await node.request(method, params)
            except TransientError as error:
                pause_s = _backoff_s(error, 1)
                if not _worth_another_try(error) or time.monotonic() + pause_s >= end:
                    raise
            # Set up only now, for it costs a quarter of a round trip to a near node.
            await asyncio.sleep(pause_s)
            retrying = tenacity.AsyncRetrying(
                retry=tenacity.retry_if_exception(_worth_another_try),
                wait=_wait,
                stop=lambda state: time.monotonic() + state.upcoming_sleep >= end,
                reraise=True,
            )
            return await retrying(node.request, method, params)
    except TimeoutError:
        pass
    raise DeadlineError(f"{method} at {node.where}: no answer within {limit_s:g} s")


def _id_of(reply: Any) -> int | None:
    """Return the id of a reply when it is a whole number: True and 1.0 equal 1 in Python, and are not."""
    found = reply.get("id") if isinstance(reply, dict) else None
    return found if type(found) is int else None


def _encoded(method: str, body: Any) -> bytes:
    try:
        return orjson.dumps(body)
    except orjson.JSONEncodeError as error:
        raise InvariantError(f"parameters of {method} are no JSON: {error}") from None


def _unpacked(raw: bytes, headers: Any, limit: int) -> bytes:
    """Return a body as it was before it was packed, never making more than ``limit`` bytes of it."""
    packing = headers.get("Content-Encoding", "identity").strip().lower()
    if packing in ("", "identity"):
        return raw
    if packing not in ("gzip", "deflate"):
        raise ValueError(f"unasked Content-Encoding {packing}")
    inflater = zlib.decompressobj(wbits=zlib.MAX_WBITS | 32)  # takes either header
    text = inflater.decompress(raw, limit + 1)
    if len(text) > limit:
        raise BodyTooLarge
    if not inflater.eof:
        raise ValueError("a packed body that was cut short")
    return text


def _worth_another_try(error: BaseException) -> bool:
    if isinstance(error, RpcError):
        return is_rate_limit(error)
    return isinstance(error, TransientError) and not isinstance(error, ReplyTooLargeError)


def _wait(state: tenacity.RetryCallState) -> float:
    error = state.outcome.exception() if state.outcome is not None else None
    return _backoff_s(error, state.attempt_number + 1)


def _backoff_s(error: BaseException | None, attempt: int) -> float:
    if isinstance(error, RateLimitedError):
        return error.retry_after_s + 0.05  # land after the window, not on its edge
    return random.uniform(0.0, min(_FIRST_PAUSE_S * 2.0 ** (attempt - 1), _LONGEST_PAUSE_S))


def _error_data(data: Any) -> bytes:
    if isinstance(data, dict):  # some nodes wrap the revert bytes
        data = data.get("data")
    return bytes.fromhex(data[2:]) if is_data(data) else b""
