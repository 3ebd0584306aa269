"""Units and the only conversions between chain integers and floats."""

import math
from datetime import UTC, datetime
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal
from functools import lru_cache

from bot.errors import ConfigError

MINUTE_S = 60
HOUR_S = 3_600
DAY_S = 86_400
YEAR_DAYS = 365  # method.md: the year of every annual figure
YEAR_S = YEAR_DAYS * DAY_S
WAD_DECIMALS = 18
USDC_DECIMALS = 6


def from_fixed(raw: int, *, decimals: int) -> float:
    """Return a chain integer as a float in whole units."""
    return float(Decimal(raw).scaleb(-decimals))


def to_fixed_down(value: float, *, decimals: int) -> int:
    """Return whole units as a chain integer, rounded towards minus infinity (what we ask for)."""
    return int((Decimal(repr(value)) * 10**decimals).to_integral_value(ROUND_FLOOR))


def to_fixed_up(value: float, *, decimals: int) -> int:
    """Return whole units as a chain integer, rounded up (what we are ready to pay)."""
    return int((Decimal(repr(value)) * 10**decimals).to_integral_value(ROUND_CEILING))


@lru_cache(maxsize=1024)  # records name the same few times again and again
def iso_utc(timestamp_s: float) -> str:
    """Return seconds since the epoch as ISO 8601 UTC, to the second: ``2022-05-09T16:14:00Z``.

    What no calendar has (a node may date its block anyhow) is returned as the number itself.
    """
    try:
        moment = datetime.fromtimestamp(math.floor(timestamp_s), tz=UTC)
    except (ValueError, OverflowError, OSError):
        return f"{timestamp_s}"
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


def parse_utc_s(text: str, *, field: str) -> int:
    """Return an ISO date or time, UTC when no zone is given, as seconds since the epoch."""
    try:
        moment = datetime.fromisoformat(text)
        moment = moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)
    except (ValueError, OverflowError):  # the latter: its zone puts it outside the years 1 to 9999
        raise ConfigError(
            f"{field} must be an ISO 8601 date or time such as 2022-05-09, was {text!r}"
        ) from None
    return int(moment.timestamp())
