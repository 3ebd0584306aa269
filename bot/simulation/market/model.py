"""The assumed option market: its file, and the implied vols derived from the index and realised vols."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from bot.model.market import Column, Columns, FloatArray, Metric, SeriesKey
from bot.model.units import DAY_S, HOUR_S
from bot.simulation.exposures import ExposureSpec, PositionPath
from bot.simulation.history.files import DVOL_KEY, spot_key
from bot.simulation.history.tables import History
from bot.simulation.market.file import Values, checked, read_tables
from bot.simulation.market.implied_vols import HOLE_S as HOLE_S
from bot.simulation.market.implied_vols import (
    RealisedModel,
    VolOfVolModel,
    index_at,
    relative_vol,
    vol_of_vol_ratio,
)
from bot.simulation.market.words import assumptions_of
from bot.venues.option_market import OptionMarket
from bot.venues.simulated_perpetual import PerpetualMarket

VOL_SOURCE = "dvol"
_BITCOIN = DVOL_KEY.subject
_TENORS = ((Metric.IV_7D, 7.0), (Metric.IV_30D, 30.0), (Metric.IV_90D, 90.0))
_KEYS = {
    "realised": {"constant", "day", "week", "month", "fade_days", "ratio_unknown", "fills"},
    "term": {"half_life_days", "mean_days"},
    "skew": {"slope_calm", "slope_stress", "curvature", "stress_from_points", "stress_to_points"},
    "vol_of_vol": {"half_life_days", "usual", "low", "high"},
    "cost": {
        "spread_share",
        "spread_points",
        "impact_points",
        "impact_contracts",
        "spread_stress",
        "notional_share",
        "notional_cap",
        "cutoff_hours",
        "max_contracts",
        "lot",
        "vol_max_age_hours",
    },
    "gas": {"order_usd", "stress", "gwei"},
    "listing": {
        "weeklies",
        "month_ends_dte",
        "min_abs_delta",
        "max_abs_delta",
        "strike_step_short",
        "strike_step_long",
        "short_dte",
        "list_calls",
    },
    "exposure": {"fee_apr", "recentre_days", "recentre_cost"},
}
_OPTIONAL = {
    "perpetual": {
        "cost",
        "initial_margin",
        "maintenance_margin",
        "penalty",
        "gas_usd",
        "lot",
        "max_units",
    },
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Market:
    """Everything a backtest assumes. Vols are fractions a year."""

    realised: RealisedModel
    half_life_days: float
    mean_days: float
    options: OptionMarket
    vol_of_vol: VolOfVolModel
    fee_apr: float  # LP fees, fraction of value a year
    recentre_days: float  # how often a position with a range is opened anew around the price
    recentre_cost: float  # of what is swapped for that, fraction
    perpetual: PerpetualMarket | None = None  # None: no perpetual is quoted

    def assumptions(self, underlying: str) -> tuple[str, ...]:
        """Return every assumption as a line for a person."""
        return assumptions_of(self, underlying)

    def position(self, spec: ExposureSpec) -> PositionPath:
        """Return the path of a position that is opened anew as this market assumes."""
        return PositionPath(
            spec=spec, recentre_s=self.recentre_days * DAY_S, recentre_cost=self.recentre_cost
        )

    def doubled(self) -> "Market":
        """Return the market with spread and skew doubled (R26): every share, vol and fee of a trade."""
        options, perpetual = self.options, self.perpetual
        return replace(
            self,
            options=replace(
                options,
                spread_share=min(2.0 * options.spread_share, 0.99),
                spread_vol=2.0 * options.spread_vol,
                impact_vol=2.0 * options.impact_vol,
                notional_share=2.0 * options.notional_share,
                skew_calm=2.0 * options.skew_calm,
                skew_stress=2.0 * options.skew_stress,
                skew_curvature=2.0 * options.skew_curvature,
            ),
            perpetual=None if perpetual is None else replace(perpetual, cost=2.0 * perpetual.cost),
        )


def load_market(path: Path | None = None) -> Market:
    """Return the market of a file, or the one that ships with the program.

    Raises ConfigError naming the key that is unknown, lacking or out of bounds.
    """
    packaged = "market.toml"
    return parse_market(read_tables(path, packaged=packaged), name=str(path) if path else packaged)


def parse_market(tables: Mapping[str, object], *, name: str = "market.toml") -> Market:
    """Return the market that the tables of a file describe. Raises ConfigError."""
    values = Values(checked(tables, needed=_KEYS, optional=_OPTIONAL, name=name), name)
    return Market(
        realised=_realised(values),
        half_life_days=values.number("term", "half_life_days", above=0.0),
        mean_days=values.number("term", "mean_days", above=0.0),
        options=_options(values),
        vol_of_vol=VolOfVolModel(
            half_life_days=values.number("vol_of_vol", "half_life_days", above=0.0),
            usual=values.number("vol_of_vol", "usual", above=0.0),
            low=values.number("vol_of_vol", "low", above=0.0),
            high=values.number("vol_of_vol", "high", above=0.0),
        ),
        fee_apr=values.number("exposure", "fee_apr"),
        recentre_days=values.number("exposure", "recentre_days", above=0.0),
        recentre_cost=values.share("exposure", "recentre_cost"),
        perpetual=_perpetual(values) if "perpetual" in values.tables else None,
    )


def _options(values: Values) -> OptionMarket:
    return OptionMarket(
        spread_share=values.number("cost", "spread_share"),
        spread_vol=values.number("cost", "spread_points") / 100.0,
        impact_vol=values.number("cost", "impact_points") / 100.0,
        impact_contracts=values.number("cost", "impact_contracts"),
        spread_stress=values.number("cost", "spread_stress"),
        notional_share=values.number("cost", "notional_share"),
        notional_cap=values.number("cost", "notional_cap"),
        cutoff_s=values.number("cost", "cutoff_hours") * HOUR_S,
        max_contracts=values.number("cost", "max_contracts"),
        lot=values.number("cost", "lot"),
        vol_max_age_s=values.number("cost", "vol_max_age_hours") * HOUR_S,
        gas_usd=values.number("gas", "order_usd"),
        gas_stress=values.number("gas", "stress"),
        gas_gwei=values.number("gas", "gwei"),
        skew_calm=values.number("skew", "slope_calm"),
        skew_stress=values.number("skew", "slope_stress"),
        skew_curvature=values.number("skew", "curvature"),
        stress_from_vol=values.number("skew", "stress_from_points") / 100.0,
        stress_to_vol=values.number("skew", "stress_to_points") / 100.0,
        weeklies=int(values.number("listing", "weeklies")),
        month_ends_dte=values.number("listing", "month_ends_dte"),
        min_abs_delta=values.number("listing", "min_abs_delta"),
        max_abs_delta=values.number("listing", "max_abs_delta"),
        strike_step_short=values.number("listing", "strike_step_short"),
        strike_step_long=values.number("listing", "strike_step_long"),
        short_dte=values.number("listing", "short_dte"),
        list_calls=values.flag("listing", "list_calls"),
    )


def _realised(values: Values) -> RealisedModel:
    return RealisedModel(
        constant=values.number("realised", "constant"),
        day=values.number("realised", "day"),
        week=values.number("realised", "week"),
        month=values.number("realised", "month"),
        fade_days=values.number("realised", "fade_days", above=0.0),
        ratio_unknown=values.number("realised", "ratio_unknown", above=0.0),
        fills=values.flag("realised", "fills"),
    )


def _perpetual(values: Values) -> PerpetualMarket:
    numbers = {key: values.number("perpetual", key) for key in sorted(_OPTIONAL["perpetual"])}
    return PerpetualMarket(**numbers)


def with_implied_vols(history: History, market: Market, *, index_everywhere: bool = False) -> History:
    """Return the history with IV_7D, IV_30D, IV_90D, VOL_INDEX and VOL_OF_VOL of the underlying added.

    Each row is a function of what was known by its own time. VOL_INDEX is BTC's index as published, so that
    its jumps (S25) are those that were seen; ``index_everywhere`` puts the modelled one where none was, for
    programmes that are defined by its level.
    """
    underlying, index = history.underlying, history.vol_index
    own = history.price
    bitcoin = history.columns[spot_key(_BITCOIN)]
    stands_for = bitcoin if bitcoin.times_s.size else own  # whose realised vol the index follows
    times_s = own.times_s
    levels = index_at(times_s, index, stands_for, market.realised)
    vols = levels
    if underlying != _BITCOIN:
        vols = relative_vol(times_s, levels, own, bitcoin, market.realised)
    known = np.isfinite(vols)
    series = _series(underlying, times_s[known], vols[known], market)
    published = Column(times_s=times_s[known], values=levels[known]) if index_everywhere else index
    unsteady = vol_of_vol_ratio(Column(times_s=times_s[known], values=levels[known]), market.vol_of_vol)
    series[SeriesKey(Metric.VOL_OF_VOL, underlying, VOL_SOURCE)] = Column(
        times_s=times_s[known], values=unsteady
    )
    ends_s = dict.fromkeys(series, _modelled_until_s(history, market))
    index_key = SeriesKey(Metric.VOL_INDEX, underlying, VOL_SOURCE)
    series[index_key] = published
    ends_s[index_key] = math.inf if index_everywhere else history.ends_s.get(DVOL_KEY, math.inf)
    return replace(
        history,
        columns=Columns(series={**history.columns.series, **series}),
        ends_s={**history.ends_s, **ends_s},
    )


def _series(
    underlying: str, times_s: FloatArray, vols: FloatArray, market: Market
) -> dict[SeriesKey, Column]:
    mean = mean_variance(times_s, vols, mean_days=market.mean_days)
    return {
        SeriesKey(metric, underlying, VOL_SOURCE): Column(
            times_s=times_s,
            values=tenor_vols(vols, mean, days=days, half_life_days=market.half_life_days),
        )
        for metric, days in _TENORS
    }


def _modelled_until_s(history: History, market: Market) -> float:
    """Return when modelled vols end for good: with the index, or with the price that they follow."""
    key = spot_key(history.underlying) if market.realised.fills else DVOL_KEY
    return history.ends_s.get(key, math.inf)


def mean_variance(times_s: FloatArray, vols: FloatArray, *, mean_days: float) -> FloatArray:
    """Return at each time the mean of all variances so far, weighted by exp(-age / mean_days).

    Starts anew after a hole over 36 h: before it, at its first value, the mean is the value itself.
    """
    means = np.empty_like(vols)
    weighted = weight = 0.0
    last_s = -math.inf
    for i, (at_s, vol) in enumerate(zip(times_s.tolist(), vols.tolist(), strict=True)):
        kept = math.exp((last_s - at_s) / (mean_days * DAY_S)) if at_s - last_s <= HOLE_S else 0.0
        weighted, weight, last_s = kept * weighted + vol * vol, kept * weight + 1.0, at_s
        means[i] = weighted / weight
    return means


def tenor_vols(vol_30d: FloatArray, mean: FloatArray, *, days: float, half_life_days: float) -> FloatArray:
    """Return the vol at a tenor from the 30-day vol and the mean variance it reverts to."""
    speed = math.log(2.0) / half_life_days
    share = _reversion(speed * days) / _reversion(speed * 30.0)
    return np.sqrt(np.maximum(mean + (vol_30d**2 - mean) * share, 1e-4))


def _reversion(x: float) -> float:
    return -math.expm1(-x) / x
