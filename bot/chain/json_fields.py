"""Checks of decoded JSON from HTTP sources: every field is of the type and range that its document says.

Numbers that come as decimal strings are parsed exactly before they become a float. Whatever does not fit
raises BadReply, which names the field and the value found, never a number that was made up.
"""

import math
import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import orjson

from bot.errors import TransientError

EARLIEST_S = 1_230_768_000.0  # 2009: an older stamp is in another unit or a zero
LATEST_S = 7_258_118_400.0  # 2200: a later stamp is in milliseconds
CLOCK_ROOM_S = 120.0  # a source's clock may be this much ahead of ours
_DECIMAL = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]{1,3})?")
_LONGEST_NUMBER = 80
_SHOWN = 60


class BadReply(TransientError):
    """A reply that is not of the documented shape; becomes ``why_unknown`` of what rests on it."""


def document(raw: bytes | str, what: str) -> Any:
    """Return a JSON document. Raises BadReply for what is none: NaN, bad UTF-8, or nested over 254 deep."""
    try:
        found = orjson.loads(raw)
        orjson.dumps(found)  # stops sooner than what walks through it, and before Python's own stack does
    except (orjson.JSONDecodeError, orjson.JSONEncodeError):
        raise BadReply(f"{what} is no JSON") from None
    return found


def mapping(value: Any, what: str) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise BadReply(f"{what} is no object, found {shown(value)}")
    return value


def listing(value: Any, what: str) -> Sequence[Any]:
    if not isinstance(value, list):
        raise BadReply(f"{what} is no list, found {shown(value)}")
    return value


def field(value: Any, name: str, what: str) -> Any:
    """Return a field of an object. Raises BadReply when it is not there."""
    found = mapping(value, what)
    if name not in found:
        raise BadReply(f"{what} has no {name}")
    return found[name]


def string(value: Any, what: str) -> str:
    if not isinstance(value, str):
        raise BadReply(f"{what} is no text, found {shown(value)}")
    return value


def number(value: Any, what: str, *, least: float = -math.inf, most: float = math.inf) -> float:
    """Return a JSON number or a decimal string as a finite float inside [least, most]."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise BadReply(f"{what} is no number, found {shown(value)}")
    if isinstance(value, str):
        if len(value) > _LONGEST_NUMBER or not _DECIMAL.fullmatch(value):
            raise BadReply(f"{what} is no number, found {shown(value)}")
        found = float(Decimal(value))
    else:
        found = float(value) if abs(value) < 1e300 else math.inf
    if not math.isfinite(found):
        raise BadReply(f"{what} is not finite")
    if not least <= found <= most:
        raise BadReply(f"{what} is {found:.6g}, allowed is {least:g} to {most:g}")
    return found


def seconds(value: Any, what: str, *, now_s: float = math.inf) -> float:
    """Return a stamp in seconds since the epoch. Raises BadReply for one of the future or another unit."""
    return _checked(number(value, what), what, now_s)


def millis(value: Any, what: str, *, now_s: float = math.inf) -> float:
    """Return a stamp in milliseconds since the epoch as seconds."""
    return _checked(number(value, what) / 1e3, what, now_s)


def iso_seconds(value: Any, what: str, *, now_s: float = math.inf) -> float:
    """Return an ISO 8601 date or time (UTC where it names no zone) as seconds since the epoch."""
    text = string(value, what)
    try:
        moment = datetime.fromisoformat(text[:40])
        at_s = (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError):
        raise BadReply(f"{what} is no ISO 8601 time, found {shown(text)}") from None
    return _checked(at_s, what, now_s)


def result_of(reply: Any) -> Any:
    """Return the result of a JSON-RPC reply over HTTP. Raises BadReply with the venue's own words."""
    fields = mapping(reply, "the reply")
    if "result" not in fields:
        error = fields.get("error")
        words = error.get("message", "") if isinstance(error, dict) else ""
        raise BadReply(f"the venue answers with an error: {ascii(words)[:80]}")
    return fields["result"]


def shown(value: Any) -> str:
    """Return a value for a message: one line, cut, without control characters."""
    if isinstance(value, dict | list):
        return f"{'an object' if isinstance(value, dict) else 'a list'} of {len(value)}"
    text = ascii(value)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"


def _checked(at_s: float, what: str, now_s: float) -> float:
    if not EARLIEST_S <= at_s <= LATEST_S:
        raise BadReply(f"{what} is no time of this century in its unit, found {at_s:.6g} s")
    if at_s > now_s + CLOCK_ROOM_S:
        raise BadReply(f"{what} lies {at_s - now_s:.0f} s in the future")
    return at_s
