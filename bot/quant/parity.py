"""Put-call parity over the quotes of all venues (S22, R27).

For European options of one strike and expiry: call - put = discount x (forward - strike), Stoll, "The
Relationship Between Put and Call Option Prices" (1969). What is left over is a gap; it is real when it
exceeds what trading the three legs costs.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from bot.errors import InvariantError
from bot.model.market import FloatArray


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ParityRows:
    """Options of one underlying, one row each, all arrays of one length; money in USD per unit of it.

    A row with anything unknown, a price or cost under 0, or a strike, forward or discount that is not over
    0 makes no pair.
    """

    is_call: NDArray[np.bool_]
    strike_usd: FloatArray
    expiry_s: NDArray[np.int64]
    price_usd: FloatArray  # fair middle of what the venue buys and sells at
    cost_usd: FloatArray  # of trading this option: half its spread, fees, its share of gas
    forward_usd: FloatArray  # of the underlying at the row's expiry
    discount: FloatArray  # of a USD at the row's expiry, 1 where the rate is 0

    def __post_init__(self) -> None:
        sizes = {array.shape for array in self._arrays()}
        if len(sizes) != 1 or self.is_call.ndim != 1:
            raise InvariantError(f"parity needs arrays of one length, shapes were {sorted(sizes)}")

    def _arrays(self) -> tuple[NDArray[np.generic], ...]:
        return (
            self.is_call,
            self.strike_usd,
            self.expiry_s,
            self.price_usd,
            self.cost_usd,
            self.forward_usd,
            self.discount,
        )

    def sound(self) -> NDArray[np.bool_]:
        """Return which rows can be used."""
        over_zero = [self.strike_usd, self.forward_usd, self.discount]
        not_under = [self.price_usd, self.cost_usd]
        usable = np.ones(self.is_call.shape, dtype=np.bool_)
        for values in over_zero:
            usable &= np.isfinite(values) & (values > 0.0)
        for values in not_under:
            usable &= np.isfinite(values) & (values >= 0.0)
        return usable


@dataclass(frozen=True, slots=True, kw_only=True)
class ParityPair:
    """A call and a put of one strike and expiry, at whichever venues, by their rows."""

    call: int
    put: int
    gap_usd: float  # positive: the call is dear, or the put cheap
    cost_usd: float  # of trading both and the forward

    @property
    def ratio(self) -> float:
        """Return gap over cost, signed."""
        return self.gap_usd / self.cost_usd


def parity_gap_usd(
    call_usd: ArrayLike,
    put_usd: ArrayLike,
    *,
    forward_usd: ArrayLike,
    strike_usd: ArrayLike,
    discount: ArrayLike,
) -> FloatArray:
    """Return (call - put) - discount x (forward - strike); NaN where an input is unknown."""
    call, put = np.asarray(call_usd, np.float64), np.asarray(put_usd, np.float64)
    forward, strike = np.asarray(forward_usd, np.float64), np.asarray(strike_usd, np.float64)
    return np.asarray((call - put) - np.asarray(discount, np.float64) * (forward - strike))


def parity_pairs(rows: ParityRows, *, forward_cost_usd: float) -> tuple[ParityPair, ...]:
    """Return every call with every put of its strike and expiry, over all venues, in the order of the rows.

    ``forward_cost_usd`` is what trading the forward costs per unit. The two legs must agree on the forward
    only as their venues do: the mean of both is used. A pair without any cost is left out: nothing is free.
    """
    if not (math.isfinite(forward_cost_usd) and forward_cost_usd >= 0.0):
        raise InvariantError(f"the forward's cost must be a number of at least 0, was {forward_cost_usd}")
    usable = rows.sound()
    puts: dict[tuple[float, int], list[int]] = {}
    for place in np.flatnonzero(usable & ~rows.is_call).tolist():
        puts.setdefault(_listing(rows, place), []).append(place)
    found = []
    for call in np.flatnonzero(usable & rows.is_call).tolist():
        for put in puts.get(_listing(rows, call), ()):
            pair = _pair(rows, call, put, forward_cost_usd)
            if pair.cost_usd > 0.0:
                found.append(pair)
    return tuple(found)


def widest_gap(rows: ParityRows, *, forward_cost_usd: float) -> ParityPair | None:
    """Return the pair with the largest gap over cost, either sign, the first of equals; None for none."""
    pairs = parity_pairs(rows, forward_cost_usd=forward_cost_usd)
    return max(pairs, key=lambda pair: abs(pair.ratio), default=None)


def _listing(rows: ParityRows, place: int) -> tuple[float, int]:
    return float(rows.strike_usd[place]), int(rows.expiry_s[place])


def _pair(rows: ParityRows, call: int, put: int, forward_cost_usd: float) -> ParityPair:
    gap = parity_gap_usd(
        rows.price_usd[call],
        rows.price_usd[put],
        forward_usd=0.5 * (rows.forward_usd[call] + rows.forward_usd[put]),
        strike_usd=rows.strike_usd[call],
        discount=0.5 * (rows.discount[call] + rows.discount[put]),
    )
    cost = float(rows.cost_usd[call] + rows.cost_usd[put]) + forward_cost_usd
    return ParityPair(call=call, put=put, gap_usd=float(gap), cost_usd=cost)
