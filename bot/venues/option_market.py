"""What the simulated option market assumes: listing, skew, and what a trade costs beside its model value."""

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from bot.errors import ConfigError
from bot.model.market import Columns, FloatArray, Metric
from bot.venues.booked import SaleTerms

GAS_CHAIN = "1"  # whose gas price moves an order's gas: a roll-up pays there for its data


@dataclass(frozen=True, slots=True, kw_only=True)
class OptionMarket:
    """What the venue assumes. Vols are fractions a year, money is USD, shares are fractions.

    Half the spread is the larger of a share of the model value and so many vols of it, more in stress, and a
    share of notional on top. Terms left out are not in this market.
    """

    spread_share: float  # of model value, added to a purchase and taken off a sale
    gas_usd: float  # per order, at the reference gas price and in calm
    cutoff_s: float  # no trade this near to expiry
    max_contracts: float  # most it sells in one order
    lot: float
    vol_max_age_s: float  # older vols are unknown, and nothing is quoted
    skew_calm: float  # slope of vol over normalised log-moneyness, fraction per standard deviation
    skew_stress: float
    skew_curvature: float
    stress_from_vol: float  # 30-day vol at which the slope starts to steepen, and spread and gas to grow
    stress_to_vol: float
    weeklies: int
    month_ends_dte: float
    min_abs_delta: float  # strikes outside are not listed
    max_abs_delta: float
    strike_step_short: float  # share of spot between strikes, rounded to a plain number
    strike_step_long: float
    short_dte: float
    list_calls: bool
    spread_vol: float = 0.0  # least half spread, as vol
    impact_vol: float = 0.0  # added to it by an order of ``impact_contracts``, in proportion to its size
    impact_contracts: float = math.inf
    spread_stress: float = 0.0  # times it is added to itself in full stress
    notional_share: float = 0.0  # fee on spot x size, each way
    notional_cap: float = 1.0  # most of that fee, share of model value
    gas_stress: float = 0.0  # times gas is added to itself in full stress
    gas_gwei: float = (
        math.inf
    )  # daily mean of mainnet's gas price at which gas_usd holds; dearer days scale it

    def __post_init__(self) -> None:
        checks = {
            "spread_share": 0.0 <= self.spread_share < 1.0,
            "gas_usd": 0.0 <= self.gas_usd < math.inf,
            "max_contracts": 0.0 < self.max_contracts < math.inf,
            "lot": 0.0 < self.lot <= self.max_contracts,
            "vol_max_age_s": 0.0 < self.vol_max_age_s < math.inf,
            "stress_to_vol": 0.0 <= self.stress_from_vol < self.stress_to_vol,
            "weeklies": 1 <= self.weeklies <= 52,
            "max_abs_delta": 0.0 < self.min_abs_delta < self.max_abs_delta < 1.0,
            "strike_step_short": 0.001 <= self.strike_step_short <= 0.5,
            "strike_step_long": 0.001 <= self.strike_step_long <= 0.5,
            "spread_vol": 0.0 <= self.spread_vol < 1.0,
            "impact_vol": 0.0 <= self.impact_vol < 1.0,
            "impact_contracts": self.impact_contracts > 0.0,
            "spread_stress": 0.0 <= self.spread_stress <= 20.0,
            "notional_share": 0.0 <= self.notional_share < 0.1,
            "notional_cap": self.notional_cap >= 0.0,
            "gas_stress": 0.0 <= self.gas_stress <= 1_000.0,
            "gas_gwei": self.gas_gwei > 0.0,
        }
        wrong = [name for name, is_right in checks.items() if not is_right]
        if wrong:
            raise ConfigError(f"market {wrong[0]}: {getattr(self, wrong[0])} is outside what is allowed")

    @property
    def needs_vega(self) -> bool:
        return self.spread_vol > 0.0 or self.impact_vol > 0.0

    def stress(self, vol_30d: float) -> float:
        """Return how stressed a 30-day vol is, 0 to 1; 0 where it is unknown."""
        if math.isnan(vol_30d):
            return 0.0
        share = (vol_30d - self.stress_from_vol) / (self.stress_to_vol - self.stress_from_vol)
        return min(max(share, 0.0), 1.0)


class Conditions(NamedTuple):
    """What trading costs at one moment."""

    stress: float  # 0 to 1
    gas_usd: float  # of one order
    curvature: float  # of the skew


def conditions_at(
    columns: Columns, underlying: str, curve: FloatArray | None, market: OptionMarket
) -> Conditions:
    """Return the conditions at the end of ``columns``; ``curve`` holds the 7, 30 and 90-day vols."""
    stress = market.stress(float(curve[1])) if curve is not None else 0.0
    gwei, _ = columns.latest(Metric.BASE_FEE_GWEI, GAS_CHAIN)
    dearer = max(gwei / market.gas_gwei, 1.0) if math.isfinite(gwei) else 1.0
    unsteady, _ = columns.latest(Metric.VOL_OF_VOL, underlying)
    return Conditions(
        stress=stress,
        gas_usd=market.gas_usd * dearer * (1.0 + market.gas_stress * stress),
        curvature=market.skew_curvature * (unsteady if math.isfinite(unsteady) else 1.0),
    )


def half_spread_usd(
    market: OptionMarket,
    model_usd: FloatArray,
    *,
    vega_usd: FloatArray | float,
    notional_usd: FloatArray | float,
    size: FloatArray | float,
    stress: FloatArray | float,
) -> FloatArray:
    """Return what an order pays over, or gets under, its model value: half the spread, impact and fee.

    ``model_usd``, ``vega_usd`` (per 1.00 of vol) and ``notional_usd`` (spot x size) are of the whole order,
    one number or one for each of several orders.
    """
    vol = market.spread_vol + market.impact_vol * size / market.impact_contracts
    half = np.maximum(market.spread_share * model_usd, vol * np.asarray(vega_usd))
    fee = np.minimum(market.notional_share * notional_usd, market.notional_cap * model_usd)
    return np.asarray(half * (1.0 + market.spread_stress * stress) + fee)


def sale_terms(
    market: OptionMarket, *, model_usd: float, half_usd: float, conditions: Conditions
) -> SaleTerms:
    """Return what selling a position costs, as a share of its model value: all of it at most."""
    haircut = min(half_usd / model_usd, 1.0) if model_usd > 0.0 else market.spread_share
    return SaleTerms(
        haircut=haircut,
        gas_usd=conditions.gas_usd,
        cutoff_s=market.cutoff_s,
        source="the simulated market's spread",
    )
