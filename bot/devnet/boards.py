"""Which Lyra boards the devnet lists: expiries, base IV, and strikes at chosen deltas. Pure.

A market script opens later boards with the same function, at the spot and IV of its moment.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import exp, sqrt
from statistics import NormalDist

DAY_S = 86_400
EXPIRY_HOUR_S = 8 * 3600  # boards expire at 08:00 UTC
_YEAR_S = 365 * DAY_S
_STRIKE_STEP_USD = 20.0
# |delta| of the put at each strike: TAIL to NEAR densely, then strikes whose call is out of the money.
_PUT_DELTAS = (0.04, 0.06, 0.08, 0.10, 0.13, 0.17, 0.22, 0.27, 0.32, 0.38, 0.44, 0.50, 0.65, 0.80)
_TAIL_SKEW = 0.55  # rise of the skew factor per unit of delta below one half


@dataclass(frozen=True, slots=True, kw_only=True)
class Board:
    """One expiry. ``base_iv`` is a fraction a year; a strike's vol is base_iv x its skew."""

    expiry_s: int
    base_iv: float
    strikes_usd: tuple[float, ...]
    skews: tuple[float, ...]


def plan_board(*, now_s: float, days: int, spot_usd: float, base_iv: float) -> Board:
    """Return the board that expires at 08:00 UTC, ``days`` whole days after the day of ``now_s``."""
    expiry_s = int(now_s) // DAY_S * DAY_S + days * DAY_S + EXPIRY_HOUR_S
    years = (expiry_s - now_s) / _YEAR_S
    skew_of: dict[float, float] = {}
    for delta in _PUT_DELTAS:
        skew = 1.0 + _TAIL_SKEW * max(0.0, 0.5 - delta)
        strike = _strike(spot_usd, years, base_iv * skew, delta)
        skew_of.setdefault(round(strike / _STRIKE_STEP_USD) * _STRIKE_STEP_USD, skew)
    strikes = sorted(skew_of)
    return Board(
        expiry_s=expiry_s,
        base_iv=base_iv,
        strikes_usd=tuple(strikes),
        skews=tuple(round(skew_of[strike], 4) for strike in strikes),
    )


def board_call(board: Board) -> tuple[int, int, Sequence[int], Sequence[int], bool]:
    """Arguments of ``OptionMarket.createOptionBoard`` (1e18 fixed point, not frozen)."""
    return (
        board.expiry_s,
        _e18(board.base_iv),
        [_e18(strike) for strike in board.strikes_usd],
        [_e18(skew) for skew in board.skews],
        False,
    )


def _strike(spot: float, years: float, vol: float, put_delta: float) -> float:
    """Strike whose put has delta ``-put_delta`` under Black-Scholes without interest."""
    total = vol * sqrt(years)
    return spot * exp(total * total / 2 - total * NormalDist().inv_cdf(1.0 - put_delta))


def _e18(value: float) -> int:
    return round(value * 10**9) * 10**9
