"""Calls of the Derive v3 API: JSON by POST, and order books by websocket, the only place with their depth.

A read is tried again while it fails in transit. A call that changes something is sent once: unless the
exchange itself says no, its outcome is unknown. Errors never carry headers, signatures or a URL's path.
"""

import asyncio
import itertools
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import aiohttp
import orjson
import tenacity

from bot.chain.http_session import TRANSPORT_ERRORS, BodyTooLarge, Closeable, HttpSession, bounded_body
from bot.chain.json_fields import BadReply, document, field, listing, mapping, shown, string
from bot.chain.node_url import checked_url, redact_url
from bot.errors import (
    ConfigError,
    DeadlineError,
    InvariantError,
    OutcomeUnknown,
    StaleDataError,
    TransientError,
    VenueRejected,
)
from bot.venues.derive_signing import DeriveSigner

MOST_SKEW_S = 60.0  # design.md: more is HOLD
SENDS = frozenset({"private/order", "private/send_rfq", "private/execute_quote", "private/cancel_rfq"})
# Codes by which the exchange says that a request took no effect (docs.derive.xyz, "Error Codes"). Every other
# says nothing: timeouts of its engine (9xxx), "already consumed" and "non-unique nonce" are among them.
_REFUSALS = frozenset(
    {-32700, -32602, -32601, -32600, -32000, 401, 403, 429}
    | set(range(10_000, 10_100))
    | {11_000, *range(11_002, 11_016), *range(11_018, 11_056), *range(11_100, 11_112), *range(11_200, 11_204)}
    | set(range(12_000, 12_100))
    | set(range(14_000, 14_100))
    | {16_000, 16_001, 16_100}
)
_TRIES = 4
_BOOKS_S = 3.0  # books are published all the time: one that does not come by then is quoted by its ticker
_PAUSE_S, _MOST_PAUSE_S = 1.0, 600.0  # after a rate limit that names no time; at most
_DEPTHS = (1, 10, 20, 100)
_MOST_CHANNELS = 200


class DeriveRefused(VenueRejected):
    """The exchange said no, with a code of its own; the request took no effect."""

    def __init__(self, message: str, code: int) -> None:
        super().__init__(message, code)
        self.message = message
        self.code = code

    def __str__(self) -> str:
        return self.message


class _Passing(TransientError):
    """A read that failed in transit and may be tried again."""


class _NotSent(_Passing):
    """No connection came about, so that nothing left this machine."""


class DeriveClient(Closeable):
    """The API of one account, or public reads only. Use as an async context manager, or call :meth:`close`.

    ``timeout_s`` bounds one exchange from connect to the last byte, and twice that all tries of a read.
    """

    def __init__(
        self,
        *,
        base_url: str,
        ws_url: str,
        owner: str = "",
        signer: DeriveSigner | None = None,
        timeout_s: float = 10.0,
        max_body_bytes: int = 8_000_000,
        clock: Callable[[], float] = time.time,
    ) -> None:
        checked_url(base_url, schemes=("http", "https"), allow_plain=False, what="Derive URL")
        checked_url(ws_url, schemes=("ws", "wss"), allow_plain=False, what="Derive websocket URL")
        if not timeout_s > 0 or max_body_bytes <= 0:
            raise ConfigError(
                f"Derive timeout and body limit must be > 0, were {timeout_s}, {max_body_bytes}"
            )
        self.where = redact_url(base_url)
        self.timeout_s = timeout_s
        self._base_url, self._ws_url = base_url.rstrip("/"), ws_url
        self._owner, self._signer = owner, signer
        self._max_body_bytes = max_body_bytes
        self._clock = clock
        self._http = HttpSession(
            self.where,
            headers={"Accept": "application/json", "Content-Type": "application/json"},
            connections=20,
        )
        self._ids = itertools.count(1)
        self._quiet_until = 0.0  # time.monotonic() before which the exchange asked not to be called

    def __repr__(self) -> str:
        return f"DeriveClient({self.where})"

    async def close(self) -> None:
        await self._http.close()

    async def read(self, method: str, params: Mapping[str, Any]) -> Any:
        """Return the result of an idempotent call. Raises TransientError, also for a plain no."""
        if method in SENDS:
            raise InvariantError(f"{method} changes something and is never repeated; use send")
        limit_s = 2 * self.timeout_s
        end_s = time.monotonic() + limit_s
        retrying = tenacity.AsyncRetrying(
            retry=tenacity.retry_if_exception_type(_Passing),
            wait=tenacity.wait_random_exponential(multiplier=0.2, max=2.0),
            stop=lambda state: (
                state.attempt_number >= _TRIES or time.monotonic() + state.upcoming_sleep >= end_s
            ),
            reraise=True,
        )
        try:
            async with asyncio.timeout(limit_s):
                return await retrying(self._once, method, params)
        except TimeoutError:
            pass
        except VenueRejected as refusal:  # a read refuses no order
            raise TransientError(str(refusal)) from None
        raise DeadlineError(f"{method} at {self.where}: no answer within {limit_s:g} s")

    async def send(self, method: str, params: Mapping[str, Any], *, key: str) -> Any:
        """Do a call that changes something, once. Raises DeriveRefused when the exchange says no,
        VenueRejected when nothing left this machine, OutcomeUnknown with ``key`` in every other case.
        """
        if method not in SENDS:
            raise InvariantError(f"{method} is no call that sends; use read")
        try:
            return await self._once(method, params)
        except _NotSent as error:
            raise VenueRejected(f"not sent: {error}") from None
        except TransientError as error:
            raise OutcomeUnknown(f"{method} at {self.where} ({error})", key) from None

    async def check_clock(self) -> float:
        """Return how far the exchange's clock is before ours, seconds. Raises StaleDataError over 60 s."""
        asked_s = self._clock()
        found = await self.read("public/get_time", {})
        took_s = self._clock() - asked_s
        if isinstance(found, bool) or not isinstance(found, int):
            raise BadReply(f"public/get_time is no number, found {shown(found)}")
        skew_s = found / 1e3 - (asked_s + took_s / 2)
        if not abs(skew_s) <= MOST_SKEW_S + took_s / 2:
            raise StaleDataError(
                f"the clock of Derive is {skew_s:+,.1f} s off this machine's, at most {MOST_SKEW_S:.0f} is "
                "allowed: correct this machine's clock"
            )
        return skew_s

    async def books(self, names: Sequence[str], *, depth: int) -> dict[str, Any]:
        """Return one raw snapshot of each order book that answers in time, by instrument name.

        Raises TransientError when none does. An instrument that is missing is not an empty book.
        """
        if depth not in _DEPTHS or not 0 < len(names) <= _MOST_CHANNELS:
            raise InvariantError(
                f"books: depth {depth} or {len(names)} instruments; allowed {_DEPTHS}, 1-200"
            )
        wanted = {f"orderbook.{name}.1.{depth}": name for name in dict.fromkeys(names)}
        found: dict[str, Any] = {}
        why = f"no book within {min(self.timeout_s, _BOOKS_S):g} s"
        try:
            async with asyncio.timeout(min(self.timeout_s, _BOOKS_S)):
                await self._snapshots(wanted, found)
        except TimeoutError:
            pass
        except (aiohttp.ClientError, OSError) as error:
            why = type(error).__name__
        if not found:
            raise TransientError(f"order books at {redact_url(self._ws_url)}: {why}")
        return found

    async def _snapshots(self, wanted: dict[str, str], found: dict[str, Any]) -> None:
        """Put snapshots into ``found``; channels that the exchange refuses leave ``wanted``."""
        call_id = next(self._ids)
        limit = self._max_body_bytes
        async with self._http.open().ws_connect(self._ws_url, max_msg_size=limit, heartbeat=20.0) as socket:
            call = {"id": call_id, "method": "subscribe", "params": {"channels": sorted(wanted)}}
            await socket.send_bytes(orjson.dumps(call))
            async for message in socket:
                if message.type not in (aiohttp.WSMsgType.TEXT, aiohttp.WSMsgType.BINARY):
                    return
                if (pair := _book_of(message.data, call_id, wanted)) is not None:
                    found[pair[0]] = pair[1]
                if len(found) == len(wanted):
                    return

    async def _once(self, method: str, params: Mapping[str, Any]) -> Any:
        if (pause_s := self._quiet_until - time.monotonic()) > 0.0:
            raise DeriveRefused(
                f"{method} at {self.where}: not sent, {pause_s:.1f} s of a pause are left", 429
            )
        headers = await self._headers(method)
        failure: TransientError
        # The errors of aiohttp may hold the URL: only their class is kept, and they are not chained.
        try:
            async with asyncio.timeout(self.timeout_s):
                status, pause, body = await self._post(f"{self._base_url}/{method}", params, headers)
        except TimeoutError:
            failure = _Passing(f"{method} at {self.where}: no answer within {self.timeout_s:g} s")
        except aiohttp.ClientConnectorError as error:
            failure = _NotSent(f"{method} at {self.where}: {type(error).__name__}")
        except TRANSPORT_ERRORS as error:
            failure = _Passing(f"{method} at {self.where}: {type(error).__name__}")
        else:
            return self._result(method, status, pause, body)
        raise failure

    async def _headers(self, method: str) -> dict[str, str]:
        if not method.startswith("private/"):
            return {}
        if self._signer is None:
            raise InvariantError(f"{method} needs a session key, and this client has none")
        stamp = int(self._clock() * 1e3)
        try:
            signature = await self._signer.sign_derive_login(stamp)
        except (TransientError, OutcomeUnknown) as error:  # a login that went nowhere does nothing
            raise _NotSent(f"{method} at {self.where}: no login ({error})") from None
        return {
            "X-DeriveWallet": self._owner,
            "X-DeriveTimestamp": str(stamp),
            "X-DeriveSignature": signature,
        }

    async def _post(
        self, url: str, params: Mapping[str, Any], headers: Mapping[str, str]
    ) -> tuple[int, str, bytes]:
        """Return status, Retry-After and body."""
        data = orjson.dumps(params)
        async with self._http.open().post(url, data=data, headers=headers, allow_redirects=False) as response:
            try:
                body = await bounded_body(response, limit=self._max_body_bytes)
            except BodyTooLarge:
                raise BadReply(
                    f"{self.where}: the reply is larger than {self._max_body_bytes} bytes"
                ) from None
            return response.status, response.headers.get("Retry-After", ""), body

    def _result(self, method: str, status: int, pause: str, body: bytes) -> Any:
        try:
            reply = document(body, "the reply")
        except BadReply:
            reply = None
        if isinstance(reply, dict) and isinstance(reply.get("error"), dict):
            raise self._error(method, reply["error"])
        if status == 429:
            asked_s = float(pause) if pause.isdecimal() else _PAUSE_S
            self._quiet_until = time.monotonic() + min(asked_s, _MOST_PAUSE_S)
            raise DeriveRefused(f"{method} at {self.where}: rate limited", 429)
        if status >= 500:
            raise _Passing(f"{method} at {self.where}: HTTP {status}")
        if status != 200 or not isinstance(reply, dict) or "result" not in reply:
            raise BadReply(f"{method} at {self.where}: HTTP {status} and no result")
        return reply["result"]

    def _error(self, method: str, error: Mapping[str, Any]) -> TransientError | DeriveRefused:
        code, words = error.get("code"), ascii(error.get("message", ""))[:120]
        detail = "" if error.get("data") is None else f", {ascii(error['data'])[:120]}"
        text = f"{method} at {self.where}: {words} ({shown(code)}{detail})"
        if isinstance(code, int) and code in _REFUSALS:
            return DeriveRefused(text, code)
        return _Passing(text)


def _book_of(text: str | bytes, call_id: int, wanted: dict[str, str]) -> tuple[str, Any] | None:
    """Return a book's name and snapshot; None for the answer to the subscription. Raises BadReply."""
    message = mapping(document(text, "a websocket message"), "the message")
    if "method" not in message:
        _take_answer(message, call_id, wanted)
        return None
    params = field(message, "params", "notification")
    channel = string(field(params, "channel", "notification"), "channel")
    if channel not in wanted:
        return None
    data = mapping(field(params, "data", channel), channel)
    if data.get("instrument_name") != wanted[channel]:
        raise BadReply(f"{channel} brings the book of {shown(data.get('instrument_name'))}")
    return wanted[channel], data


def _take_answer(message: Mapping[str, Any], call_id: int, wanted: dict[str, str]) -> None:
    if message.get("id") != call_id:
        raise BadReply(f"a reply has id {shown(message.get('id'))}, expected {call_id}")
    result = field(message, "result", "subscribe")
    live = listing(field(result, "current_subscriptions", "subscribe"), "current_subscriptions")
    for channel in [name for name in wanted if name not in live]:
        del wanted[channel]
    if not wanted:
        raise BadReply("every order book that was asked for is refused")
