"""At-the-money vol of listed options at constant maturities, from the vol of every strike (S11 to S13)."""

import math
from collections.abc import Iterable
from dataclasses import dataclass

from bot.chain.json_fields import BadReply
from bot.model.market import Metric
from bot.model.units import DAY_S, HOUR_S, YEAR_S
from bot.quant.surface import HIGHEST_IV, LOWEST_IV, iv_at_tenor, nearest_expiry

TENORS = ((Metric.IV_7D, 7.0), (Metric.IV_30D, 30.0), (Metric.IV_90D, 90.0))
_SHORTEST_LIFE_S = 12 * HOUR_S  # the vol of an option that expires today says little about a week


@dataclass(frozen=True, slots=True, kw_only=True)
class StrikeVol:
    """The vol of one listed option, fraction a year, and the forward of its expiry."""

    expiry_s: float
    strike: float
    is_put: bool
    iv: float
    forward: float


def checked_iv(iv: float, what: str) -> float:
    """Return a vol as a fraction a year. Raises BadReply for one that is in another unit."""
    if not LOWEST_IV <= iv <= HIGHEST_IV:
        raise BadReply(
            f"{what} is {iv:.4g} a year, allowed is {LOWEST_IV} to {HIGHEST_IV:g}: "
            "percent and fraction mixed up?"
        )
    return iv


def atm_points(options: Iterable[StrikeVol], *, now_s: float) -> list[tuple[float, float]]:
    """Return (years, vol at the forward) of every expiry whose strikes lie on both sides of its forward.

    Between the two nearest strikes the variance is linear in the logarithm of strike over forward. A strike
    below the forward is read from its put, one above from its call; the other side stands in where that is
    not listed.
    """
    by_expiry: dict[float, list[StrikeVol]] = {}
    for option in options:
        if option.expiry_s - now_s >= _SHORTEST_LIFE_S and option.strike > 0.0 and option.forward > 0.0:
            by_expiry.setdefault(option.expiry_s, []).append(option)
    points = []
    for expiry_s, listed in sorted(by_expiry.items()):
        variance = _variance_at_forward(listed)
        if math.isfinite(variance):
            points.append(((expiry_s - now_s) / YEAR_S, math.sqrt(variance)))
    return points


def constant_maturity(points: list[tuple[float, float]], days: float) -> float:
    """Return the vol at ``days``. Raises BadReply where the listed expiries do not reach that far."""
    if len(points) < 2:
        raise BadReply(f"{len(points)} expiries have a vol at the forward, a term structure needs 2")
    years = days * DAY_S / YEAR_S
    expiries = [expiry for expiry, _ in points]
    nearest, is_near = nearest_expiry(expiries, years)
    if not is_near:
        raise BadReply(f"the expiry nearest to {days:g} days is in {nearest * YEAR_S / DAY_S:.1f} days")
    return float(iv_at_tenor(expiries, [iv for _, iv in points], years))


def _variance_at_forward(listed: list[StrikeVol]) -> float:
    """Return the variance at the forward of one expiry, NaN when a side of it has no strike."""
    found: dict[float, tuple[bool, float]] = {}
    for option in listed:
        at = math.log(option.strike / option.forward)
        out_of_the_money = option.is_put == (at <= 0.0)
        if at not in found or (out_of_the_money and not found[at][0]):
            found[at] = (out_of_the_money, option.iv**2)
    below = max((at for at in found if at <= 0.0), default=math.nan)
    above = min((at for at in found if at >= 0.0), default=math.nan)
    if math.isnan(below) or math.isnan(above):
        return math.nan
    if above == below:
        return found[below][1]
    share = -below / (above - below)
    return found[below][1] * (1.0 - share) + found[above][1] * share
