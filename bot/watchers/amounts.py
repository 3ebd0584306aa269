"""Raw token amounts as whole units, refused where they cannot be one."""

from typing import Any

from bot.model.units import from_fixed
from bot.watchers.rows import BadRead, need

_MAX_RAW = 2**112  # 5.2e33, the largest reserve of a Uniswap v2 pair: no real amount comes near


def whole_units(result: tuple[Any, ...] | None, decimals: int, what: str) -> float:
    """Return a sub-call's amount in whole tokens. Raises BadRead for none and for an absurd one."""
    return plausible(need(result, what)[0], decimals, what)


def plausible(raw: int, decimals: int, what: str) -> float:
    """Return a raw amount in whole tokens. Raises BadRead for an absurd one."""
    return from_fixed(plausible_raw(raw, what), decimals=decimals)


def plausible_raw(raw: int, what: str) -> int:
    """Return a raw amount as it is. Raises BadRead for an absurd one."""
    if not 0 <= raw < _MAX_RAW:
        raise BadRead(f"{what} answers {raw:.3e}: no amount of a token")
    return raw


def check_decimals(result: tuple[Any, ...] | None, wanted: int, what: str) -> None:
    """Raise BadRead when a token has other decimals than configured."""
    (found,) = need(result, f"decimals of {what}")
    if found != wanted:
        raise BadRead(f"{what} has {found} decimals, configured are {wanted}")
