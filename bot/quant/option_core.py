"""Value of a European option from its two discounted legs, without loss of digits far out of the money.

``asset`` is what the underlying leg is worth today (spot x exp(-yield x years)), ``cash`` the strike leg
(strike x exp(-rate x years)), ``moneyness`` is log(asset / cash), ``total`` is vol x sqrt(years).

The textbook difference asset x N(d1) - cash x N(d2) loses its digits where both terms are nearly equal. There
the value is intrinsic plus ``leg x n(h + t) x (M(-h - t) - M(t - h))``, where leg is the smaller of the two,
h = -|moneyness| / total, t = total / 2 and M(y) = N(-y) / n(y) is the Mills ratio (Jaeckel, "Let's be
rational", 2015); for a small total the difference of the two ratios is itself a series about h. Which of them
is used depends on the option alone, so that an option has the same bits in every array.
"""

import math
from functools import cache
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from bot.model.market import FloatArray

FAR = 60.0  # standard deviations at which the normal density is 0 in float64
_TAIL = 0.01  # of the smaller leg: under it the textbook difference has lost over two digits
_SMALL_TOTAL = 0.05  # under it the difference of the Mills ratios is summed as a series in total
_ONE: FloatArray = np.ones(())[()]
_NOTHING: FloatArray = np.zeros(())[()]
_INV_SQRT_2PI = 1.0 / math.sqrt(2.0 * math.pi)
_SQRT_HALF_PI = math.sqrt(0.5 * math.pi)
_SQRT_HALF = math.sqrt(0.5)


def density(x: FloatArray) -> FloatArray:
    """Return the standard normal density."""
    return np.asarray(_INV_SQRT_2PI * np.exp(-0.5 * x * x))


def number(values: ArrayLike) -> FloatArray:
    """Return float64, one number as numpy's scalar: its arithmetic takes a fifth of that on an array."""
    return np.asarray(values, dtype=np.float64)[()]


def log_ratio(above: FloatArray, below: FloatArray) -> FloatArray:
    """Return log(above / below); NaN for a negative side or for 0 / 0."""
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        return _unless(below < 0.0, np.log(above / below), np.nan)


def _unless(mask: Any, found: FloatArray, other: ArrayLike) -> FloatArray:
    """Return ``found``, or ``other`` where the mask is set: mostly nowhere, which costs no pass over it."""
    return np.where(mask, other, found)[()] if np.count_nonzero(mask) else found


def spread(moneyness: FloatArray, total: FloatArray) -> FloatArray:
    """Return moneyness / total; without time or vol inf, 0 or -inf by moneyness."""
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        return _spread(moneyness, total)


def _spread(moneyness: FloatArray, total: FloatArray) -> FloatArray:
    certain = total == 0.0
    found = moneyness / total
    return _unless(certain & (moneyness == 0.0), found, 0.0) if np.count_nonzero(certain) else found


def value(
    asset: FloatArray, cash: FloatArray, moneyness: FloatArray, total: FloatArray, sign: FloatArray
) -> FloatArray:
    """Return the option's value, >= 0; ``sign`` is 1 for a call and -1 for a put.

    The relative error stays under 1e-12 as long as the value is above 1e-290 of the legs.
    """
    half = 0.5 * total
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        middle = _spread(moneyness, total)
        textbook = sign * (asset * normal(sign * (middle + half)) - cash * normal(sign * (middle - half)))
        is_tail = (textbook < _TAIL * np.minimum(asset, cash)) & (total > 0.0)
    found = np.asarray(np.maximum(textbook, 0.0))  # keeps NaN
    if np.count_nonzero(is_tail):
        is_tail &= np.isfinite(moneyness)  # legs over 1e308 apart: the smaller one is worth nothing
        is_small = total < _SMALL_TOTAL
        kinds = [(is_tail, False)]  # mostly
        if np.count_nonzero(is_small):
            kinds = [(is_tail & ~is_small, False), (is_tail & is_small, True)]
        for chosen, small in kinds:
            if np.count_nonzero(chosen):
                near, far, log_parts, totals, signs = (
                    _chosen(item, chosen) for item in (asset, cash, moneyness, total, sign)
                )
                time_value = _tail_value(near, far, log_parts, totals, is_small=small)
                found[chosen] = np.maximum(signs * (near - far), 0.0) + time_value
    return found


def _chosen(values: FloatArray, mask: Any) -> FloatArray:
    """Return what may have fewer axes than the mask where the mask is set."""
    if np.size(values) == 1:
        return np.full(np.count_nonzero(mask), values)
    full = values if values.shape == mask.shape else np.broadcast_to(values, mask.shape)
    return np.asarray(full[mask])


def _tail_value(
    asset: FloatArray, cash: FloatArray, moneyness: FloatArray, total: FloatArray, *, is_small: bool
) -> FloatArray:
    """Return the out-of-the-money option's value where it is less than ``_TAIL`` of the smaller leg."""
    if is_small:
        with np.errstate(divide="ignore"):
            moneyness = 2.0 * np.arctanh((asset - cash) / (asset + cash))  # the same, exact also next to 0
    centre, half = np.maximum(-np.abs(moneyness) / total, -FAR), 0.5 * total
    gap = _mills_difference(centre, total) if is_small else _mills(-centre - half) - _mills(half - centre)
    return np.asarray(np.minimum(asset, cash) * density(centre + half) * gap)


def normal(x: FloatArray) -> FloatArray:
    """Return the standard normal distribution function."""
    return np.asarray(_special().ndtr(x))


@cache
def _special() -> Any:
    import scipy.special  # a sixth of a second of imports: not where nothing is priced

    return scipy.special


def _mills(y: FloatArray) -> FloatArray:
    return np.asarray(_SQRT_HALF_PI * _special().erfcx(_SQRT_HALF * y))


def _mills_difference(centre: FloatArray, total: FloatArray) -> FloatArray:
    """Return M(-centre - total / 2) - M(total / 2 - centre) by Taylor's series about ``centre``.

    The derivatives of Y(x) = M(-x) obey Y' = 1 + x Y and Y^(n+1) = x Y^(n) + n Y^(n-1).
    """
    earlier = _mills(-centre)
    latest = 1.0 + centre * earlier
    square = 0.25 * total * total
    found, power = latest, np.ones_like(square)
    for order in range(2, 8):
        earlier, latest = latest, (centre * latest + earlier) / order
        if order % 2:
            power = power * square
            found = found + power * latest
    return np.asarray(total * found)


class Terms(NamedTuple):
    """What every formula is made of; d1 and d2 are cut where the density is 0, so that 0 x inf is 0."""

    spot: FloatArray
    strike: FloatArray
    life: FloatArray
    root: FloatArray  # of life
    rate: FloatArray
    growth: FloatArray  # the dividend yield
    sign: FloatArray
    asset_discount: FloatArray
    cash_discount: FloatArray
    moneyness: FloatArray
    total: FloatArray

    @property
    def asset(self) -> FloatArray:
        """Value today of the underlying leg."""
        return self.spot if self.asset_discount is _ONE else self.spot * self.asset_discount

    @property
    def cash(self) -> FloatArray:
        """Value today of the strike leg."""
        return self.strike if self.cash_discount is _ONE else self.strike * self.cash_discount

    @property
    def d1(self) -> FloatArray:
        return self._at(0.5 * self.total)

    @property
    def d2(self) -> FloatArray:
        return self._at(-0.5 * self.total)

    @property
    def weight(self) -> FloatArray:
        """asset x n(d1), which is cash x n(d2); 0 without time or vol."""
        found = np.minimum(self.asset, self.cash) * density(np.where(self.moneyness <= 0.0, self.d1, self.d2))
        return np.asarray(np.where(self.total == 0.0, 0.0 * self.sign * found, found + 0.0 * self.sign))

    def _at(self, half: FloatArray) -> FloatArray:
        """Return moneyness / total + half, cut at FAR."""
        return np.asarray(np.clip(spread(self.moneyness, self.total) + half, -FAR, FAR))


def terms(
    spot: ArrayLike,
    strike: ArrayLike,
    years: ArrayLike,
    vol: ArrayLike,
    is_put: ArrayLike,
    rate: ArrayLike,
    dividend_yield: ArrayLike,
) -> Terms:
    life, sigma, now, level = life_left(years), number(vol), number(spot), number(strike)
    grows, pays = not _is_zero(rate), not _is_zero(dividend_yield)
    interest = number(rate) if grows else _NOTHING
    growth = number(dividend_yield) if pays else _NOTHING
    moneyness = log_ratio(now, level)
    root = np.sqrt(life)
    return Terms(
        spot=now,
        strike=level,
        life=life,
        root=root,
        rate=interest,
        growth=growth,
        sign=np.where(np.asarray(is_put, dtype=np.bool_), -_ONE, _ONE)[()],
        asset_discount=np.exp(-growth * life) if pays else _ONE,
        cash_discount=np.exp(-interest * life) if grows else _ONE,
        moneyness=moneyness + (interest - growth) * life if grows or pays else moneyness,
        total=_unless(sigma < 0.0, sigma, np.nan) * root,
    )


def life_left(years: ArrayLike) -> FloatArray:
    """Return years, 0 after expiry."""
    return np.maximum(number(years), 0.0)


def _is_zero(rate: object) -> bool:
    """Say whether money does not grow at all: then a factor of exactly 1 is left out."""
    return isinstance(rate, float) and rate == 0.0
