"""The iron-condor view of liquidity with bought wings, and the legs of a sold condor (R15, R16).

Against holding its tokens an LP is a short strangle: with a put and a call bought outside its range it has
the payoff of an iron condor. In USD it is a short put: with a put bought below it is a bull put spread. All
figures are at expiry, USD; sizes are units of the underlying.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise, product

import numpy as np
from numpy.typing import ArrayLike
from scipy.optimize import brentq
from scipy.special import ndtri

from bot.errors import InvariantError
from bot.model.market import FloatArray
from bot.quant import payoff
from bot.quant.replication import BoolArray, LossClaim, rising
from bot.quant.smile import Smile

CREDIT_BAND = (0.15, 0.25)  # credit over width that R15 and R16 ask for
DELTA_BAND = (0.15, 0.25)  # |delta| of the sold legs of a condor (R16)
_NEAR_ZERO = 1e-9  # share of the entry price that stands for a spot of 0
_DOUBLINGS = 200  # of the spot in the search beyond the last strike
_ROUNDING = 1e-12

Curve = Callable[[float], float]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Wings:
    """Option legs held beside the positions: sizes > 0 bought, < 0 sold; the premium is their net cost."""

    strikes: FloatArray
    is_puts: BoolArray
    sizes: FloatArray
    premium_usd: float

    def __post_init__(self) -> None:
        rows = (self.strikes, self.sizes)
        sound = all(row.ndim == 1 and row.shape == np.shape(self.is_puts) for row in rows)
        if not sound or not all(np.isfinite(row).all() for row in rows) or not (self.strikes > 0.0).all():
            raise InvariantError(
                f"wings: equal rows of strikes > 0 and finite sizes, were {self.strikes} and {self.sizes}"
            )
        if not math.isfinite(self.premium_usd):
            raise InvariantError(f"wings: premium must be known, was {self.premium_usd}")


@dataclass(frozen=True, slots=True, kw_only=True)
class CondorView:
    """Positions, fees of one roll and wings as one payoff at expiry."""

    kind: str  # "iron condor" or "bull put spread"
    break_evens: tuple[float, ...]  # rising
    max_gain_usd: float  # inf: not bounded
    max_gain_at: float
    max_loss_usd: float  # >= 0; inf: the risk is not defined
    max_loss_at: float

    @property
    def defined_risk(self) -> bool:
        return math.isfinite(self.max_loss_usd)


def lp_with_wings(claim: LossClaim, wings: Wings, *, fees_usd: float) -> CondorView:
    """Return what the positions of a claim, the fees of one roll and the wings come to together.

    Gains count: whether the claim is floored makes no difference. Exact up to rounding: between kinks the
    payoff is concave, so its extremes are at kinks and where its slope is 0.
    """
    if not math.isfinite(fees_usd):
        raise InvariantError(f"iron-condor view: the fees of a roll must be known, were {fees_usd}")
    whole = replace(claim, floored=False)
    fixed = fees_usd - wings.premium_usd

    def gain(spot: float) -> float:
        at = np.array([spot])
        legs = payoff.expiry_payoff(at, strikes=wings.strikes, is_puts=wings.is_puts, sizes=wings.sizes)
        return float(legs[0] - whole.payoff(at)[0]) + fixed

    def slope(spot: float) -> float:
        puts, calls = -1.0 * (spot < wings.strikes), 1.0 * (spot >= wings.strikes)
        paid = np.where(wings.is_puts, puts, calls)
        return float((wings.sizes * paid).sum() - whole.slope(spot))

    far = float((wings.sizes * ~np.asarray(wings.is_puts, np.bool_)).sum() - whole.slope(math.inf))
    points = _turning_points(claim, wings, slope, far)
    values = [gain(point) for point in points]
    without_top = any(math.isinf(shape.upper_usd) for shape in claim.shapes)
    scale = _ROUNDING * max(claim.value_usd, 1.0)
    flat = abs(far) * claim.entry_usd <= scale
    best, worst = int(np.argmax(values)), int(np.argmin(values))
    unbounded = far > 0.0 and (not flat or without_top)
    grows, falls = unbounded or (flat and without_top), far < 0.0 and not flat
    return CondorView(
        kind="iron condor" if claim.measure == "hold" else "bull put spread",
        break_evens=_break_evens(gain, points, values, rises=grows, falls=falls, scale=scale),
        max_gain_usd=math.inf if grows else values[best],
        max_gain_at=math.inf if grows else points[best],
        max_loss_usd=math.inf if falls else max(-values[worst], 0.0),
        max_loss_at=math.inf if falls else points[worst],
    )


def credit_to_width(credit_usd: ArrayLike, width_usd: ArrayLike, units: ArrayLike) -> FloatArray:
    """Return credit / (width x units); NaN unless width and units are > 0.

    The credit is what is collected per roll: a condor's premium, an LP's fees less the premium of its wings.
    The width is how far the wing lies outside the range (or the sold strike), the units what is held beyond
    it.
    """
    credit, width, size = (np.asarray(item, dtype=np.float64) for item in (credit_usd, width_usd, units))
    known = (width > 0.0) & (size > 0.0)
    return np.asarray(np.where(known, credit / np.where(known, width * size, 1.0), np.nan))


def strike_for_credit(
    strikes: ArrayLike,
    *,
    inner_usd: float,
    units: float,
    credit_usd: float,
    is_put: bool,
    band: tuple[float, float] = CREDIT_BAND,
) -> float:
    """Return the listed wing strike outside ``inner_usd`` whose credit to width is nearest the band's middle.

    NaN where no listed strike lies in the band. ``credit_usd`` is one sum or one per strike (R15).
    """
    listed = np.atleast_1d(np.asarray(strikes, dtype=np.float64))
    width = inner_usd - listed if is_put else listed - inner_usd
    ratio = credit_to_width(credit_usd, width, units)
    fits = (ratio >= band[0]) & (ratio <= band[1]) & (listed > 0.0)
    if not fits.any():
        return math.nan
    distance = np.where(fits, np.abs(ratio - 0.5 * (band[0] + band[1])), np.inf)
    return float(listed[int(np.argmin(distance))])


def strike_at_delta(smile: Smile, delta: float, *, is_put: bool) -> float:
    """Return the strike whose |delta| on the forward is ``delta`` by the smile; NaN if that is unknown.

    Out of range (0, 1) it raises InvariantError. With skew the vol moves with the strike: the root of
    d1(k) = -k / s + s / 2, s = sqrt(total variance at k).
    """
    if not 0.0 < delta < 1.0:
        raise InvariantError(f"strike at delta: |delta| must lie in (0, 1), was {delta}")
    if smile.svi is None:
        return math.nan
    wanted = float(-ndtri(delta) if is_put else ndtri(delta))

    def miss(k: float) -> float:
        total = float(np.sqrt(smile.total_variance(k)))
        return (-k / total + 0.5 * total if total > 0.0 else math.copysign(math.inf, -k)) - wanted

    reach = 4.0 * max(float(np.sqrt(smile.total_variance(0.0))), 1e-6) * max(1.0, abs(wanted))
    for _ in range(6):
        if miss(-reach) > 0.0 > miss(reach):
            return smile.forward * math.exp(float(brentq(miss, -reach, reach, xtol=1e-13, rtol=1e-13)))
        reach *= 2.0
    return math.nan


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class OptionRow:
    """One side of a listed expiry at rising strikes, USD per unit; |delta| of each. NaN is no quote."""

    strikes: FloatArray
    bids_usd: FloatArray
    asks_usd: FloatArray
    deltas: FloatArray

    def __post_init__(self) -> None:
        if len({np.shape(getattr(self, name)) for name in self.__slots__}) != 1 or self.strikes.size < 2:
            raise InvariantError("option row: needs two or more strikes and rows of equal length")
        rising(self.strikes, "strikes of an option row")


@dataclass(frozen=True, slots=True, kw_only=True)
class IronCondor:
    """A sold condor per unit: strikes from the lowest up, credit at bid for sold, ask for bought legs."""

    long_put: float
    short_put: float
    short_call: float
    long_call: float
    credit_usd: float

    @property
    def width_usd(self) -> float:
        """The wider wing: only one side can be lost."""
        return max(self.short_put - self.long_put, self.long_call - self.short_call)

    @property
    def credit_to_width(self) -> float:
        return self.credit_usd / self.width_usd

    @property
    def max_gain_usd(self) -> float:
        return self.credit_usd

    @property
    def max_loss_usd(self) -> float:
        return self.width_usd - self.credit_usd

    @property
    def break_evens(self) -> tuple[float, float]:
        return self.short_put - self.credit_usd, self.short_call + self.credit_usd


def choose_condor(
    puts: OptionRow,
    calls: OptionRow,
    *,
    delta_band: tuple[float, float] = DELTA_BAND,
    credit_band: tuple[float, float] = CREDIT_BAND,
) -> IronCondor | None:
    """Return the condor that R16 may sell, None where the listed strikes give none.

    Sold are the put and the call with |delta| in the band nearest its middle; of the pairs of wings with
    credit to width in the band the most even one is bought, then the one nearest the band's middle, then the
    narrowest.
    """
    short_put, short_call = _short(puts, delta_band), _short(calls, delta_band)
    if short_put < 0 or short_call < 0 or puts.strikes[short_put] >= calls.strikes[short_call]:
        return None
    sold = float(puts.bids_usd[short_put] + calls.bids_usd[short_call])
    middle = 0.5 * (credit_band[0] + credit_band[1])
    found: list[tuple[float, float, float, IronCondor]] = []
    for low, high in product(range(short_put), range(short_call + 1, calls.strikes.size)):
        condor = IronCondor(
            long_put=float(puts.strikes[low]), short_put=float(puts.strikes[short_put]),
            short_call=float(calls.strikes[short_call]), long_call=float(calls.strikes[high]),
            credit_usd=sold - float(puts.asks_usd[low] + calls.asks_usd[high]),
        )  # fmt: skip
        if credit_band[0] <= condor.credit_to_width <= credit_band[1]:  # NaN is not
            lower, upper = condor.short_put - condor.long_put, condor.long_call - condor.short_call
            found.append((abs(lower - upper), abs(condor.credit_to_width - middle), condor.width_usd, condor))
    return min(found, key=lambda item: item[:3])[3] if found else None


@dataclass(frozen=True, slots=True, kw_only=True)
class PutSpread:
    """Two puts of one expiry per unit. ``premium_usd`` > 0 is paid (long), < 0 received (bull put spread)."""

    high_strike: float
    low_strike: float
    premium_usd: float

    def __post_init__(self) -> None:
        if not 0.0 < self.low_strike < self.high_strike < math.inf:
            raise InvariantError(
                f"put spread: 0 < low < high strike, were {self.low_strike} and {self.high_strike}"
            )
        if not 0.0 < abs(self.premium_usd) < self.high_strike - self.low_strike:
            raise InvariantError(
                f"put spread: premium must lie between 0 and the width, was {self.premium_usd}; "
                "outside, one of the quotes is wrong"
            )

    @property
    def kind(self) -> str:
        return "long put spread" if self.premium_usd > 0.0 else "bull put spread"

    @property
    def width_usd(self) -> float:
        return self.high_strike - self.low_strike

    @property
    def break_even(self) -> float:
        return self.high_strike - abs(self.premium_usd)

    @property
    def max_gain_usd(self) -> float:
        return self.width_usd - self.premium_usd if self.premium_usd > 0.0 else -self.premium_usd

    @property
    def max_loss_usd(self) -> float:
        return self.width_usd - self.max_gain_usd


def _short(row: OptionRow, band: tuple[float, float]) -> int:
    """Return the sold strike's place, -1 where none is in the band with a bid."""
    fits = (row.deltas >= band[0]) & (row.deltas <= band[1]) & (row.bids_usd > 0.0)
    if not fits.any():
        return -1
    return int(np.argmin(np.where(fits, np.abs(row.deltas - 0.5 * (band[0] + band[1])), np.inf)))


def _turning_points(claim: LossClaim, wings: Wings, slope: Curve, far: float) -> list[float]:
    """Return 0, every kink and every spot with slope 0, rising: between them the payoff is monotone."""
    kinks = np.unique(np.concatenate([claim.kinks, wings.strikes]))
    last = float(kinks[-1])
    if slope(last) > 0.0 > far:  # it turns beyond the last kink: look until the slope is down
        end = last
        for _ in range(_DOUBLINGS):
            end *= 2.0
            if slope(end) < 0.0:
                break
        kinks = np.append(kinks, end)
    ends = [
        claim.entry_usd * _NEAR_ZERO,
        *(float(kink) for kink in kinks if kink > claim.entry_usd * _NEAR_ZERO),
    ]
    points = [0.0]
    for left, right in pairwise(ends):
        before = math.nextafter(right, 0.0)
        if slope(left) > 0.0 > slope(before):
            points.append(float(brentq(slope, left, before, xtol=_ROUNDING * right)))
        points.append(right)
    return points


def _break_evens(
    gain: Curve, points: Sequence[float], values: Sequence[float], *, rises: bool, falls: bool, scale: float
) -> tuple[float, ...]:
    """Return where the payoff changes its sign, and where it does so beyond the last point."""
    spots, gains = list(points), [0.0 if abs(value) <= scale else value for value in values]
    if (rises and gains[-1] < 0.0) or (falls and gains[-1] > 0.0):
        end = spots[-1]
        for _ in range(_DOUBLINGS):
            end *= 2.0
            if gain(end) * gains[-1] < 0.0:
                spots.append(end)
                gains.append(gain(end))
                break
    found: list[float] = []
    last = 0  # last point with a sign
    for place in range(1, len(spots)):
        if gains[place] == 0.0:
            continue
        if gains[last] * gains[place] < 0.0:
            touched = spots[last + 1 : place]
            root = [float(brentq(gain, spots[last], spots[place], xtol=_ROUNDING * spots[place]))]
            found.extend(sorted({touched[0], touched[-1]}) if touched else root)
        last = place
    return tuple(found)
