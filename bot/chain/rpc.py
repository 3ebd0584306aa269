"""JSON-RPC over HTTP for money: ids checked, one deadline per call, nothing secret in an error.

web3.py 8 accepts a reply with a wrong id, returns None for ``result: null``, sends transactions again,
multiplies its timeout by its retries, ignores Retry-After and writes the URL with its key into exceptions.
"""

import asyncio
import itertools
import json
import re
import time
from collections.abc import Callable, Sequence
from email.utils import parsedate_to_datetime
from types import TracebackType
from typing import Any
from urllib.parse import unquote, urlsplit

import aiohttp
import tenacity

from bot.chain.abi import revert_reason
from bot.errors import ConfigError, DeadlineError, InvariantError, TransientError

SEND_METHODS = frozenset({"eth_sendRawTransaction", "eth_sendTransaction"})
MAX_RETRY_AFTER_S = 600.0
_CHUNK_BYTES = 65_536
_REVERT_CODE = 3
_RATE_LIMIT_CODES = frozenset({-32005, 429})
_QUANTITY = re.compile(r"0x(0|[1-9a-fA-F][0-9a-fA-F]*)")
_HASH = re.compile(r"0x[0-9a-fA-F]{64}")


class RpcError(TransientError):
    """The node answered with a JSON-RPC error object."""

    def __init__(self, code: int, message: str, data: bytes = b"") -> None:
        super().__init__(code, message, data)
        self.code = code
        self.message = message
        self.data = data

    def __str__(self) -> str:
        return f"node error {self.code}: {self.message}"


class RevertError(RpcError):
    """The EVM reverted the call; asking again at the same block brings the same answer."""

    @property
    def reason(self) -> str:
        """The decoded reason, or the node's own words when it sent no revert data."""
        if self.data:
            return revert_reason(self.data)
        text = self.message.partition("execution reverted")[2].lstrip(": ")
        return text or self.message or "reverted without a reason"

    def __str__(self) -> str:
        return f"reverted: {self.reason}"


class RateLimitedError(TransientError):
    """The node asked for a pause of ``retry_after_s``; until then nothing is sent to it."""

    def __init__(self, message: str, retry_after_s: float) -> None:
        super().__init__(message, retry_after_s)
        self.message = message
        self.retry_after_s = retry_after_s

    def __str__(self) -> str:
        return self.message


class ReplyTooLargeError(TransientError):
    """The reply is larger than we are willing to read; ask for less."""


def redact_url(url: str) -> str:
    """Return scheme, host and port of a URL; path, query and user info may hold a key."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "?", parts.port
    except ValueError:
        return "?"
    shown = f"[{host}]" if ":" in host else host
    return f"{parts.scheme or '?'}://{shown}{f':{port}' if port else ''}/…"


class Rpc:
    """One node. Use as an async context manager, or call :meth:`close`.

    ``timeout_s`` bounds a whole call from connect to the last byte; ``max_body_bytes`` bounds a reply.
    """

    def __init__(self, url: str, *, timeout_s: float = 10.0, max_body_bytes: int = 5_000_000) -> None:
        self.where = redact_url(url)
        if not self.where.startswith(("http://", "https://")) or "//?" in self.where:
            raise ConfigError(f"RPC URL must be http(s)://host[:port]/…, was {self.where}")
        if not timeout_s > 0 or max_body_bytes <= 0:
            raise ConfigError(f"RPC timeout and body limit must be > 0, were {timeout_s}, {max_body_bytes}")
        self._url = url
        self._secrets = _secrets(url)
        self._timeout_s = timeout_s
        self._max_body_bytes = max_body_bytes
        self._ids = itertools.count(1)
        self._session: aiohttp.ClientSession | None = None
        self._closed = False
        self._quiet_until = 0.0  # time.monotonic() before which the node asked not to be called

    def __repr__(self) -> str:
        return f"Rpc({self.where})"

    async def __aenter__(self) -> "Rpc":
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        self._closed = True
        if self._session is not None:
            await self._session.close()
            self._session = None

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
        by_id = {reply.get("id"): reply for reply in replies if isinstance(reply, dict)}
        if len(replies) != len(bodies) or by_id.keys() != {body["id"] for body in bodies}:
            raise TransientError(f"batch at {self.where}: ids of the replies do not match")
        return [self._item(body["method"], body["id"], by_id[body["id"]]) for body in bodies]

    async def read(self, method: str, params: Sequence[Any] = (), *, deadline_s: float | None = None) -> Any:
        """Do one idempotent read, again with growing pauses while it fails in transit.

        All tries together end within ``deadline_s`` (default: twice the timeout of one call). A pause that
        the node asked for is kept, or the last error raised at once when it does not fit. Errors that the
        node itself reports are not retried, rate limits are.
        """
        if method in SEND_METHODS:
            raise InvariantError(f"{method} is not idempotent and must never be retried")
        limit_s = 2 * self._timeout_s if deadline_s is None else deadline_s
        end = time.monotonic() + limit_s
        retrying = tenacity.AsyncRetrying(
            retry=tenacity.retry_if_exception(_worth_another_try),
            wait=_wait,
            stop=lambda state: time.monotonic() + state.upcoming_sleep >= end,
            reraise=True,
        )
        try:
            async with asyncio.timeout(limit_s):
                return await retrying(self.request, method, params)
        except TimeoutError:
            pass
        raise DeadlineError(f"{method} at {self.where}: no answer within {limit_s:g} s")

    def _call(self, method: str, params: Sequence[Any]) -> dict[str, Any]:
        return {"jsonrpc": "2.0", "id": next(self._ids), "method": method, "params": list(params)}

    async def _post(self, method: str, body: Any) -> Any:
        pause_s = self._quiet_until - time.monotonic()
        if pause_s > 0:
            raise RateLimitedError(
                f"{method} at {self.where}: not sent, the node asked for a pause of {pause_s:.1f} s more",
                pause_s,
            )
        # The errors of aiohttp may hold the URL: only their class is kept, and they are not chained.
        try:
            async with asyncio.timeout(self._timeout_s):
                status, headers, text = await self._exchange(body)
        except TimeoutError:
            failure: TransientError = DeadlineError(
                f"{method} at {self.where}: no answer within {self._timeout_s:g} s"
            )
        except ReplyTooLargeError:
            failure = ReplyTooLargeError(
                f"{method} at {self.where}: reply is larger than {self._max_body_bytes} bytes"
            )
        except (aiohttp.ClientError, OSError, ValueError) as error:
            failure = TransientError(f"{method} at {self.where}: {_short(error)}")
        else:
            return self._parsed(method, status, headers, text)
        raise failure

    async def _exchange(self, body: Any) -> tuple[int, Any, bytes]:
        async with self._open().post(self._url, json=body, allow_redirects=False) as response:
            if (response.content_length or 0) > self._max_body_bytes:
                raise ReplyTooLargeError
            parts, size = [], 0
            async for part in response.content.iter_chunked(_CHUNK_BYTES):
                size += len(part)
                if size > self._max_body_bytes:
                    raise ReplyTooLargeError
                parts.append(part)
            return response.status, response.headers, b"".join(parts)

    def _open(self) -> aiohttp.ClientSession:
        if self._closed:
            raise InvariantError(f"the connection to {self.where} was closed")
        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=50, keepalive_timeout=60),
                cookie_jar=aiohttp.DummyCookieJar(),
                timeout=aiohttp.ClientTimeout(total=self._timeout_s),
                headers={"Accept": "application/json"},
            )
        return self._session

    def _parsed(self, method: str, status: int, headers: Any, text: bytes) -> Any:
        if status == 429:
            pause_s = _retry_after_s(headers.get("Retry-After", ""))
            self._quiet_until = time.monotonic() + pause_s
            raise RateLimitedError(
                f"{method} at {self.where}: rate limited, asked to wait {pause_s:.1f} s", pause_s
            )
        try:
            reply = json.loads(text)
        except ValueError:
            reply = None
        if status != 200 and not (isinstance(reply, dict) and reply.get("error")):
            raise TransientError(f"{method} at {self.where}: HTTP {status}")
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
        if reply.get("id") != call_id and not (error and reply.get("id") is None):
            raise TransientError(f"{method} at {self.where}: the reply carries a wrong id")
        if error:
            raise self._node_error(error)
        if "result" not in reply:
            raise TransientError(f"{method} at {self.where}: the reply has neither result nor error")
        fits = _SHAPES.get(method)
        if fits is not None and not fits(reply["result"]):
            raise TransientError(
                f"{method} at {self.where}: result {_shown(reply['result'])} has a wrong shape"
            )
        return reply["result"]

    def _node_error(self, error: Any) -> RpcError:
        fields = error if isinstance(error, dict) else {"message": str(error)}
        code = fields.get("code")
        message = str(fields.get("message", ""))[:300]
        for secret in self._secrets:
            message = message.replace(secret, "…")
        data = _error_data(fields.get("data"))
        reverted = code == _REVERT_CODE or "revert" in message.lower() or message.startswith("EVM error")
        return (RevertError if reverted else RpcError)(code if isinstance(code, int) else 0, message, data)


def quantity(value: Any) -> int:
    """Return a JSON-RPC quantity as an int. Raises TransientError when it is none."""
    if not _is_quantity(value):
        raise TransientError(f"expected a hex quantity, found {_shown(value)}")
    return int(value, 16)


def hex_bytes(value: Any) -> bytes:
    """Return JSON-RPC data as bytes. Raises TransientError when it is none."""
    if not _is_data(value):
        raise TransientError(f"expected hex data, found {_shown(value)}")
    return bytes.fromhex(value[2:])


def _is_quantity(value: Any) -> bool:
    return isinstance(value, str) and _QUANTITY.fullmatch(value) is not None


def _is_data(value: Any) -> bool:
    if not isinstance(value, str) or not value.startswith("0x") or len(value) % 2:
        return False
    try:  # much faster than a pattern on the large replies of a multicall
        bytes.fromhex(value[2:])
    except ValueError:
        return False
    return not any(space in value for space in " \t\n\r\f\v")


def _is_hash(value: Any) -> bool:
    return isinstance(value, str) and _HASH.fullmatch(value) is not None


_SHAPES: dict[str, Callable[[Any], bool]] = {
    "eth_blockNumber": _is_quantity,
    "eth_chainId": _is_quantity,
    "eth_gasPrice": _is_quantity,
    "eth_maxPriorityFeePerGas": _is_quantity,
    "eth_getBalance": _is_quantity,
    "eth_getTransactionCount": _is_quantity,
    "eth_estimateGas": _is_quantity,
    "eth_call": _is_data,
    "eth_getCode": _is_data,
    "eth_getStorageAt": _is_data,
    "eth_sendRawTransaction": _is_hash,
    "eth_sendTransaction": _is_hash,
    "eth_getLogs": lambda value: isinstance(value, list),
    "eth_feeHistory": lambda value: isinstance(value, dict),
    "eth_getBlockByNumber": lambda value: value is None or isinstance(value, dict),
    "eth_getBlockByHash": lambda value: value is None or isinstance(value, dict),
    "eth_getTransactionByHash": lambda value: value is None or isinstance(value, dict),
    "eth_getTransactionReceipt": lambda value: value is None or isinstance(value, dict),
}


def _worth_another_try(error: BaseException) -> bool:
    if isinstance(error, RpcError):
        return error.code in _RATE_LIMIT_CODES
    return isinstance(error, TransientError) and not isinstance(error, ReplyTooLargeError)


_backoff = tenacity.wait_random_exponential(multiplier=0.1, max=2.0)


def _wait(state: tenacity.RetryCallState) -> float:
    error = state.outcome.exception() if state.outcome is not None else None
    if isinstance(error, RateLimitedError):
        return error.retry_after_s + 0.05  # land after the window, not on its edge
    return _backoff(state)


def _retry_after_s(header: str) -> float:
    """Return the pause in seconds that a Retry-After header asks for (a number or an HTTP date)."""
    text = header.strip()
    try:
        pause_s = float(text) if text else 1.0
    except ValueError:
        try:
            pause_s = parsedate_to_datetime(text).timestamp() - time.time()
        except ValueError:
            pause_s = 1.0
    return min(max(pause_s, 0.0), MAX_RETRY_AFTER_S) if pause_s == pause_s else 1.0


def _error_data(data: Any) -> bytes:
    if isinstance(data, dict):  # some nodes wrap the revert bytes
        data = data.get("data")
    return bytes.fromhex(data[2:]) if _is_data(data) else b""


def _short(error: BaseException) -> str:
    """Name an error of the transport without its text, which may hold the URL."""
    cause = getattr(error, "os_error", error)
    words = cause.strerror if isinstance(cause, OSError) and cause.strerror else ""
    return f"{type(error).__name__}{f' ({words})' if words else ''}"


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else text[:77] + "…"


def _secrets(url: str) -> tuple[str, ...]:
    """Return the parts of a URL that may be keys, longest first, so that none survives in a message."""
    parts = urlsplit(url)
    pieces = [parts.path.strip("/"), *parts.path.split("/"), parts.query, *re.split("[=&]", parts.query)]
    pieces += [parts.username or "", parts.password or ""]
    pieces += [unquote(piece) for piece in pieces]
    return tuple(sorted({piece for piece in pieces if len(piece) >= 8}, key=len, reverse=True))
