"""Dated cash flows: internal rate of return, present value, cost of capital, dividend-discount value.

Rates are effective fractions a year of 365 days: 1 earns ``1 + rate`` in 365 days. Flows are USD, positive is
received, negative is paid. A figure that cannot be told is NaN and says why.
"""

import math
from dataclasses import dataclass

import numpy as np

from bot.errors import InvariantError
from bot.model.market import FloatArray
from bot.model.units import YEAR_S

_MAX_LOG_RATE = 700.0  # exp overflows behind it: no rate that a float can hold
_STEPS = 200  # bisection alone needs about 60 for any double
_ROUNDING = 1e-12  # of the flows of one time


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """A number, or NaN and the reason."""

    value: float
    because: str = ""  # "" while the value is known


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class CashFlows:
    """Dated flows, in any order; several at one time add up."""

    times_s: FloatArray
    amounts_usd: FloatArray

    def __post_init__(self) -> None:
        if self.times_s.shape != self.amounts_usd.shape or self.times_s.ndim != 1:
            raise InvariantError(
                f"cash flows need as many times as amounts, were {self.times_s.shape} "
                f"and {self.amounts_usd.shape}"
            )

    def less(self, other: "CashFlows") -> "CashFlows":
        """Return these flows less the others: what choosing these in their place changes."""
        return CashFlows(
            times_s=np.concatenate((self.times_s, other.times_s)),
            amounts_usd=np.concatenate((self.amounts_usd, -other.amounts_usd)),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Way:
    """One way to stay protected over a period (R17): roll now, or hold and rebuy."""

    flows: CashFlows  # spread, fees and gas included; the model value left at the end comes last, positive
    gain_usd: float  # R8 gain over the period, > 0


@dataclass(frozen=True, slots=True, kw_only=True)
class RollChoice:
    """Which way is cheaper per unit of protection."""

    roll: bool  # False while either cost is unknown: what cannot be told is not traded
    roll_cost: float  # present cost per USD of gain; negative earns
    hold_cost: float
    rate: Figure  # IRR of rolling in place of holding
    because: str


def npv(flows: CashFlows, *, rate: float, at_s: float) -> float:
    """Return the value at ``at_s`` of all flows, earlier ones compounded, in USD; NaN when anything is."""
    if not rate > -1.0:
        return math.nan
    years = (flows.times_s - at_s) / YEAR_S
    return float(np.sum(flows.amounts_usd * np.exp(-math.log1p(rate) * years)))


def irr(flows: CashFlows) -> Figure:
    """Return the one rate at which the flows are worth nothing, in [-1, inf).

    NaN with a reason unless the flows, in the order of time, change sign exactly once: then there is one
    rate and no other (Descartes' rule of signs), whichever side comes first.
    """
    if not (np.isfinite(flows.times_s).all() and np.isfinite(flows.amounts_usd).all()):
        return Figure(value=math.nan, because="a cash flow is unknown")
    times_s, amounts = _netted(flows)
    changes = np.flatnonzero(np.diff(np.sign(amounts)))
    if changes.size != 1:
        return Figure(value=math.nan, because=_why_no_rate(amounts, changes.size))
    log_rate = _log_rate((times_s - times_s[0]) / YEAR_S, amounts, int(changes[0]) + 1)
    if not log_rate < _MAX_LOG_RATE:
        because = f"the rate is over e^{_MAX_LOG_RATE:.0f} a year: the flows are too close together"
        return Figure(value=math.nan, because=because)
    return Figure(value=math.expm1(log_rate))


def wacc(values_usd: FloatArray, costs: FloatArray) -> float:
    """Return the weighted average cost of a mix of funding, a fraction a year.

    ``values_usd`` are the market values of its parts, ``costs`` what each costs a year after any relief. NaN
    when a part is unknown or there is none; raises InvariantError for a value under 0.
    """
    if values_usd.shape != costs.shape or (values_usd < 0.0).any():
        raise InvariantError(
            f"funding needs one cost per value and values of at least 0, were {values_usd} and {costs}"
        )
    total = float(values_usd.sum())
    return float(values_usd @ costs) / total if 0.0 < total < math.inf else math.nan


def capm_rate(*, risk_free: float, beta: float, risk_premium: float) -> float:
    """Return the rate that the capital asset pricing model asks for, a fraction a year (Sharpe 1964)."""
    return risk_free + beta * risk_premium


def dividend_discount_value(*, earnings: float, payout: float, growth: float, rate: float) -> Figure:
    """Return the value of a stream of dividends that grows for ever, in units of ``earnings`` (S18).

    Gordon and Shapiro (1956): earnings x payout x (1 + growth) / (rate - growth), with ``earnings`` of the
    last year and ``rate`` as of ``capm_rate``, both a year. NaN unless growth < rate and something is paid.
    """
    if not all(map(math.isfinite, (earnings, payout, growth, rate))):
        return Figure(value=math.nan, because="an input of the dividend-discount value is unknown")
    if not growth < rate:
        return Figure(value=math.nan, because=f"growth {growth:.1%} is not under the rate {rate:.1%}")
    if not (earnings > 0.0 and payout > 0.0):
        return Figure(
            value=math.nan, because=f"nothing is paid out: earnings {earnings:g}, payout {payout:.0%}"
        )
    return Figure(value=earnings * payout * (1.0 + growth) / (rate - growth))


def cost_per_gain(way: Way, *, rate: float, at_s: float) -> float:
    """Return the present cost per USD of R8 gain; NaN when unknown or nothing is gained, negative earns."""
    cost_usd = -npv(way.flows, rate=rate, at_s=at_s)
    return cost_usd / way.gain_usd if way.gain_usd > 0.0 else math.nan


def roll_or_hold(roll: Way, hold: Way, *, rate: float, at_s: float) -> RollChoice:
    """Choose the way with the lower cost per unit of gain over the same period, discounted at ``rate`` (R17).

    Equal costs hold: a trade needs a reason.
    """
    roll_cost, hold_cost = (cost_per_gain(way, rate=rate, at_s=at_s) for way in (roll, hold))
    chosen = roll_cost < hold_cost
    if math.isnan(roll_cost) or math.isnan(hold_cost):
        because = f"not rolled: cost per gain unknown (roll {roll_cost:.3f}, hold {hold_cost:.3f})"
    else:
        verb = "rolled" if chosen else "held"
        because = f"{verb}: {roll_cost:.3f} a USD of gain to roll, {hold_cost:.3f} to hold and rebuy"
    return RollChoice(
        roll=chosen,
        roll_cost=roll_cost,
        hold_cost=hold_cost,
        rate=irr(roll.flows.less(hold.flows)),
        because=because,
    )


def _netted(flows: CashFlows) -> tuple[FloatArray, FloatArray]:
    """Return the flows by time, one a time; those that cancel but for rounding are left out."""
    times_s, place = np.unique(flows.times_s, return_inverse=True)
    amounts = np.bincount(place, weights=flows.amounts_usd, minlength=times_s.size).astype(np.float64)
    gross = np.bincount(place, weights=np.abs(flows.amounts_usd), minlength=times_s.size)
    real = np.abs(amounts) > _ROUNDING * gross
    return times_s[real], amounts[real]


def _why_no_rate(amounts: FloatArray, changes: int) -> str:
    if not amounts.size:
        return "there is no cash flow"
    if changes == 0:
        return f"all cash flows are {'received' if amounts[0] > 0.0 else 'paid'}: no rate makes them nothing"
    return f"the cash flows change sign {changes} times: more than one rate is possible"


def _log_rate(years: FloatArray, amounts: FloatArray, change: int) -> float:
    """Return ln(1 + rate) of flows of which those from ``change`` on have the other sign.

    h(x) = ln sum |early| e^(-x t) - ln sum |late| e^(-x t) is 0 there. Its slope is the mean time of the late
    flows less that of the early ones, weighted: always between the least and the greatest distance of a late
    from an early flow. So h(0) over these two brackets the root, and nothing overflows. Newton inside it.
    """
    early, late = np.log(np.abs(amounts[:change])), np.log(np.abs(amounts[change:]))
    early_t, late_t = years[:change], years[change:]
    at_zero = _log_sum(early) - _log_sum(late)
    ends = -at_zero / (late_t[0] - early_t[-1]), -at_zero / (late_t[-1] - early_t[0])
    low, high = float(min(ends)), float(max(ends))
    x = 0.5 * (low + high)
    for _ in range(_STEPS):
        left, right = early - x * early_t, late - x * late_t
        height = _log_sum(left) - _log_sum(right)
        low, high = (x, high) if height < 0.0 else (low, x)
        slope = _weighted(right, late_t) - _weighted(left, early_t)
        step = x - height / slope
        following = step if low < step < high else 0.5 * (low + high)
        if abs(following - x) <= 1e-15 * max(abs(x), 1e-3):
            break
        x = following
    return x


def _log_sum(logs: FloatArray) -> float:
    top = float(logs.max())
    return top + math.log(float(np.exp(logs - top).sum()))


def _weighted(logs: FloatArray, times: FloatArray) -> float:
    weights = np.exp(logs - logs.max())
    return float(weights @ times) / float(weights.sum())
