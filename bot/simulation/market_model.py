"""The assumed option market: its file, and the implied vols derived from the volatility index."""

import math
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from importlib import resources
from pathlib import Path

import numpy as np

from bot.errors import ConfigError
from bot.model.market import Column, Columns, FloatArray, Metric, SeriesKey
from bot.model.units import DAY_S, HOUR_S
from bot.simulation.history_files import DVOL_KEY
from bot.simulation.tables import History
from bot.venues.simulated import OptionMarket
from bot.venues.simulated_perpetual import PerpetualMarket

VOL_SOURCE = "dvol"
HOLE_S = 36 * HOUR_S  # method.md: a recursion restarts after a longer hole
_TENORS = ((Metric.IV_7D, 7.0), (Metric.IV_30D, 30.0), (Metric.IV_90D, 90.0))
_KEYS = {
    "index": {"spread_points"},
    "term": {"half_life_days", "mean_days"},
    "skew": {"slope_calm", "slope_stress", "curvature", "stress_from_points", "stress_to_points"},
    "cost": {"spread_share", "gas_usd", "cutoff_hours", "max_contracts", "lot", "vol_max_age_hours"},
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
    "exposure": {"fee_apr"},
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
    }
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Market:
    """Everything a backtest assumes. Vols are fractions a year."""

    vol_spread: Mapping[str, float]  # underlying -> what its vol index stands over BTC's
    half_life_days: float
    mean_days: float
    options: OptionMarket
    fee_apr: float  # LP fees, fraction of value a year
    perpetual: PerpetualMarket | None = None  # None: no perpetual is quoted

    def assumptions(self, underlying: str) -> tuple[str, ...]:
        """Return every assumption as a line for a person."""
        options = self.options
        fees = (
            f"LP fees accrue at {self.fee_apr:.1%} of value a year."
            if self.fee_apr
            else "LP fees are left out, of every strategy alike."
        )
        return (
            f"Implied volatility of {underlying} is BTC DVOL plus {100 * self._spread(underlying):g} points; "
            "in hours without DVOL it is unknown and nothing is quoted. Its vol index is BTC DVOL as it is.",
            f"Term structure is modelled: variance reverts with a half-life of {self.half_life_days:g} days "
            f"to its {self.mean_days:g}-day mean. S13 therefore says nothing that the level does not.",
            f"Skew is modelled: vol x (1 - s x + {options.skew_curvature:g} x^2), x in standard deviations, "
            f"s from {options.skew_calm:g} in calm to {options.skew_stress:g} in stress.",
            f"Options are valued by Black-Scholes-Merton at rate 0, bought at +{options.spread_share:.0%} "
            f"and sold at -{options.spread_share:.0%} of premium (measured on Lyra), "
            f"gas {options.gas_usd:g} USD an order.",
            f"Listed are {options.weeklies} weekly expiries and month ends to {options.month_ends_dte:g} d, "
            f"at |delta| {options.min_abs_delta:g} to {options.max_abs_delta:g}; "
            f"no trade in the last {options.cutoff_s / HOUR_S:g} h.",
            self._perpetual_said(),
            "An option settles at the last hourly close before expiry; where that is a hole in the "
            "history, at the first close after it.",
            f"The position is opened at the first price of the range and its liquidity stays fixed. {fees}",
            "Prices are hourly closes in USDT, taken as USD; wicks inside the hour are not seen.",
        )

    def _perpetual_said(self) -> str:
        market = self.perpetual
        if market is None:
            return "No perpetual is quoted: where a policy wants one for NEAR (R27), puts stand in for it."
        return (
            f"A perpetual trades at the spot price, {market.cost:.2%} each way and {market.gas_usd:g} USD of "
            f"gas an order; margin {market.initial_margin:.0%}, liquidated under "
            f"{market.maintenance_margin:.2%} for {market.penalty:.1%}. Funding is the exchange's, each rate "
            "held until the next; in hours without one nothing is opened. Margin stays the account's own. "
            "Benchmarks hold none."
        )

    def _spread(self, underlying: str) -> float:
        return self.vol_spread[underlying]


def load_market(path: Path | None = None) -> Market:
    """Return the market of a file, or the one that ships with the program.

    Raises ConfigError naming the key that is unknown, lacking or out of bounds.
    """
    name = str(path) if path else "market.toml"
    try:
        text = (
            path.read_text(encoding="utf-8")
            if path
            else resources.files("bot.simulation").joinpath("market.toml").read_text(encoding="utf-8")
        )
        tables = tomllib.loads(text)
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ConfigError(f"market file {name} cannot be read: {error}") from error
    return parse_market(tables, name=name)


def parse_market(tables: Mapping[str, object], *, name: str = "market.toml") -> Market:
    """Return the market that the tables of a file describe. Raises ConfigError."""
    values = _Values(_checked(tables, name), name)
    options = OptionMarket(
        spread_share=values.number("cost", "spread_share"),
        gas_usd=values.number("cost", "gas_usd"),
        cutoff_s=values.number("cost", "cutoff_hours") * HOUR_S,
        max_contracts=values.number("cost", "max_contracts"),
        lot=values.number("cost", "lot"),
        vol_max_age_s=values.number("cost", "vol_max_age_hours") * HOUR_S,
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
    return Market(
        perpetual=_perpetual(values) if "perpetual" in values.tables else None,
        vol_spread={key: points / 100.0 for key, points in values.numbers("index", "spread_points").items()},
        half_life_days=values.number("term", "half_life_days", above=0.0),
        mean_days=values.number("term", "mean_days", above=0.0),
        options=options,
        fee_apr=values.number("exposure", "fee_apr"),
    )


def _perpetual(values: "_Values") -> PerpetualMarket:
    numbers = {key: values.number("perpetual", key) for key in sorted(_OPTIONAL["perpetual"])}
    return PerpetualMarket(**numbers)


def with_implied_vols(history: History, market: Market) -> History:
    """Return the history with IV_7D, IV_30D, IV_90D and VOL_INDEX of the underlying added.

    Each row is a function of the index up to its own time. Hours without an index have no row, and what is
    modelled ends with the index. VOL_INDEX is the index as published: the spread is of the level that options
    are priced at, and would make every jump of the index (S25) smaller than it was.
    """
    underlying = history.underlying
    if underlying not in market.vol_spread:
        raise ConfigError(
            f"market index.spread_points has no entry for {underlying}, has {', '.join(market.vol_spread)}"
        )
    index = history.vol_index
    vols = index.values + market.vol_spread[underlying]
    mean = mean_variance(index.times_s, vols, mean_days=market.mean_days)
    modelled = {Metric.VOL_INDEX: index.values} | {
        metric: tenor_vols(vols, mean, days=days, half_life_days=market.half_life_days)
        for metric, days in _TENORS
    }
    series = {
        SeriesKey(metric, underlying, VOL_SOURCE): Column(times_s=index.times_s, values=values)
        for metric, values in modelled.items()
    }
    end_s = history.ends_s.get(DVOL_KEY, math.inf)
    return replace(
        history,
        columns=Columns(series={**history.columns.series, **series}),
        ends_s={**history.ends_s, **dict.fromkeys(series, end_s)},
    )


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


@dataclass(frozen=True, slots=True)
class _Values:
    """Typed look-ups in the tables of a market file."""

    tables: Mapping[str, Mapping[str, object]]
    name: str

    def number(self, table: str, key: str, *, above: float = -math.inf) -> float:
        value = self.tables[table][key]
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        if is_number and above < float(value) < math.inf:  # type: ignore[arg-type]
            return float(value)  # type: ignore[arg-type]
        limit = f" over {above:g}" if above > -math.inf else ""
        raise ConfigError(f"market file {self.name}: {table}.{key} must be a number{limit}, was {value!r}")

    def flag(self, table: str, key: str) -> bool:
        value = self.tables[table][key]
        if not isinstance(value, bool):
            raise ConfigError(f"market file {self.name}: {table}.{key} must be true or false, was {value!r}")
        return value

    def numbers(self, table: str, key: str) -> dict[str, float]:
        value = self.tables[table][key]
        if not isinstance(value, dict) or not value:
            raise ConfigError(f"market file {self.name}: {table}.{key} must be a table, was {value!r}")
        nested = _Values({f"{table}.{key}": value}, self.name)
        return {name: nested.number(f"{table}.{key}", name) for name in value}


def _checked(tables: Mapping[str, object], name: str) -> Mapping[str, Mapping[str, object]]:
    """Refuse unknown and lacking tables and keys."""
    checked: dict[str, Mapping[str, object]] = {}
    wanted = {**_KEYS, **{table: keys for table, keys in _OPTIONAL.items() if table in tables}}
    for table, keys in wanted.items():
        found = tables.get(table)
        if not isinstance(found, dict):
            raise ConfigError(f"market file {name} lacks the table [{table}]")
        _same_keys(set(found), keys, where=f"market file {name}, table [{table}]")
        checked[table] = found
    _same_keys(set(tables) - set(_OPTIONAL), set(_KEYS), where=f"market file {name}")
    return checked


def _same_keys(found: set[str], allowed: set[str], *, where: str) -> None:
    for wrong, word in ((found - allowed, "unknown"), (allowed - found, "missing")):
        if wrong:
            raise ConfigError(
                f"{where}: {word} key {', '.join(sorted(wrong))}; needed are {', '.join(sorted(allowed))}"
            )
