"""Names of listed options as Deribit and Derive write them. Both expire at 08:00 UTC."""

import re
from datetime import UTC, datetime
from typing import NamedTuple

from bot.chain.json_fields import BadReply, shown

_DERIBIT = re.compile(
    r"(?P<base>[A-Z]{2,10})-(?P<day>\d{1,2})(?P<month>[A-Z]{3})(?P<year>\d{2})"
    r"-(?P<strike>\d{1,9}(?:d\d{1,6})?)-(?P<kind>[CP])"
)
_DERIVE = re.compile(
    r"(?P<base>[A-Za-z0-9]{2,20})-(?P<date>\d{8})-(?P<strike>\d{1,9}(?:_\d{1,6})?)-(?P<kind>[CP])"
)
_MONTHS = ("JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC")
EXPIRY_HOUR_UTC = 8


class ListedOption(NamedTuple):
    """What a name says."""

    underlying: str
    expiry_s: int
    strike_usd: float
    is_put: bool


def deribit_option(name: str) -> ListedOption:
    """Return what ``ETH-27JUN27-3000-C`` says. Raises BadReply for anything else."""
    match = _DERIBIT.fullmatch(name)
    if match is None or match["month"] not in _MONTHS:
        raise BadReply(f"{shown(name)} is no Deribit option")
    month = _MONTHS.index(match["month"]) + 1
    expiry_s = _expiry_s(2_000 + int(match["year"]), month, int(match["day"]), name)
    strike = float(match["strike"].replace("d", "."))
    return _option(match["base"], expiry_s, strike, match["kind"], name)


def derive_option(name: str) -> ListedOption:
    """Return what ``ETH-20270627-3000-C`` says. Raises BadReply for anything else."""
    match = _DERIVE.fullmatch(name)
    if match is None:
        raise BadReply(f"{shown(name)} is no Derive option")
    date = match["date"]
    expiry_s = _expiry_s(int(date[:4]), int(date[4:6]), int(date[6:]), name)
    strike = float(match["strike"].replace("_", "."))
    return _option(match["base"], expiry_s, strike, match["kind"], name)


def _option(base: str, expiry_s: int, strike: float, kind: str, name: str) -> ListedOption:
    if not strike > 0.0:
        raise BadReply(f"{shown(name)} has no strike")
    return ListedOption(base, expiry_s, strike, kind == "P")


def _expiry_s(year: int, month: int, day: int, name: str) -> int:
    try:
        return int(datetime(year, month, day, EXPIRY_HOUR_UTC, tzinfo=UTC).timestamp())
    except ValueError:
        raise BadReply(f"{shown(name)} has no such date") from None
