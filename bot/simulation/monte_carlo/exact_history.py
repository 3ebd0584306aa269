"""Made-up paths by the hour, as the backtest reads history.

The model makes prices, implied vols and funding. What else the engine looks at is there and calm: a stable
pool at par and of even depth, so that on-chain signals have sources and do not speak. Without them R1 would
take TECHNICAL's third score for a second family, which raises the tier far more often (docs/simulation.md).
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from bot.model.market import Column, Columns, FloatArray, Metric, SeriesKey
from bot.model.units import DAY_S, HOUR_S
from bot.simulation.exposures import ExposureSpec
from bot.simulation.history.files import DVOL_KEY, STABLE_POOL, spot_key
from bot.simulation.history.tables import LOOKBACK_S, History
from bot.simulation.market.model import Market, with_implied_vols
from bot.simulation.monte_carlo.numbers import path_numbers
from bot.simulation.monte_carlo.path_twin import AssetState, blank_state, path_keys, tell, walk
from bot.simulation.monte_carlo.run import Setup

HOURS = DAY_S // HOUR_S
START_S = 1_704_067_200  # 2024-01-01: made-up time; listed expiries follow from it
_FUNDING_HOURS = 8
_BITCOIN = DVOL_KEY.subject
_CALM_DEPTH_USD, _PAR = 1e7, 1.0


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class HourlyAsset:
    """One asset's hours of every path, [hour, path], the look-back first; float64."""

    spot_usd: float  # where the time to be looked at begins
    logs: FloatArray  # of the price
    ivs: FloatArray  # 30-day implied vol, fraction a year
    fundings: FloatArray  # fraction a year


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class HourlyPaths:
    """The underlying's hours, and Bitcoin's where it is another and the model has it (S24)."""

    first: int  # hours of the look-back
    own: HourlyAsset
    bitcoin: HourlyAsset | None


def hourly_paths(setup: Setup, spec: ExposureSpec, paths: int) -> HourlyPaths:
    """Draw the first paths anew, by the hour."""
    first = LOOKBACK_S // DAY_S * HOURS
    hours = first + setup.steps * HOURS
    own = spec.underlying
    names = [own, _BITCOIN] if _BITCOIN in setup.model.assets and own != _BITCOIN else [own]
    numbers = path_numbers(setup.model, setup.market, names, step_days=1.0 / HOURS)
    found = [
        HourlyAsset(
            spot_usd=setup.model.assets[name].spot_usd,
            logs=np.zeros((hours + 1, paths)),
            ivs=np.zeros((hours + 1, paths)),
            fundings=np.zeros((hours + 1, paths)),
        )
        for name in names
    ]
    for hour, states in enumerate(walk(numbers, path_keys(setup.seed, 0, paths), hours)):
        for asset, state in zip(found, states, strict=True):
            asset.logs[hour], asset.ivs[hour] = state.x, state.iv
            asset.fundings[hour] = state.funding
    return HourlyPaths(first=first, own=found[0], bitcoin=found[1] if len(found) > 1 else None)


def by_day(setup: Setup, hours: HourlyPaths) -> Iterator[list[AssetState]]:
    """Yield what the kernels' rules see: the end of each day, the price over that of the start.

    The days of the look-back pass unseen, so that slow means are what they would be.
    """
    name, own = setup.specs[0].underlying, hours.own
    numbers = path_numbers(setup.model, setup.market, [name], step_days=1.0)
    state = blank_state(own.logs.shape[1])
    row = list(setup.model.assets).index(name)
    for hour in range(0, own.logs.shape[0], HOURS):
        x = (own.logs[hour] - own.logs[hours.first]).astype(np.float32)
        state.moved, state.x, state.iv = x - state.x, x, own.ivs[hour].astype(np.float32)
        tell(state, numbers.assets[0], is_start=hour == 0)
        if hour >= hours.first:
            yield [state] * (row + 1)


def history_of(setup: Setup, spec: ExposureSpec, hours: HourlyPaths, path: int) -> History:
    """Return one path with the model's own implied vols, as the backtest reads history."""
    own, first = hours.own, hours.first
    size = own.logs.shape[0]
    times_s = START_S + HOUR_S * np.arange(size, dtype=np.float64) - 1.0
    index = Column(times_s=times_s, values=own.ivs[:, path])
    series = {
        spot_key(spec.underlying): _price(own, first, path, times_s),
        SeriesKey(Metric.FUNDING_APR, spec.underlying, "binance"): Column(
            times_s=times_s[::_FUNDING_HOURS], values=own.fundings[::_FUNDING_HOURS, path]
        ),
        **_calm(times_s),
    }
    if hours.bitcoin is not None:
        series[spot_key(_BITCOIN)] = _price(hours.bitcoin, first, path, times_s)
        series[DVOL_KEY] = Column(times_s=times_s, values=hours.bitcoin.ivs[:, path])
    history = History(
        underlying=spec.underlying,
        from_s=START_S + first * HOUR_S,
        to_s=START_S + (size - 1) * HOUR_S,
        columns=Columns(series=series),
        vol_index=index,
        ends_s={},
    )
    return with_implied_vols(history, _as_drawn(setup.market))


def _as_drawn(market: Market) -> Market:
    """Return a market whose implied vols are the index as it is: the model has made each asset's own."""
    level = replace(market.realised, constant=0.0, day=0.0, week=0.0, month=0.0, ratio_unknown=1.0)
    return replace(market, realised=level)


def _price(asset: HourlyAsset, first: int, path: int, times_s: FloatArray) -> Column:
    logs = asset.logs[:, path]
    return Column(times_s=times_s, values=asset.spot_usd * np.exp(logs - logs[first]))


def _calm(times_s: FloatArray) -> dict[SeriesKey, Column]:
    """Return sources of two on-chain signals (S3, S4) that stay calm."""
    even = np.ones(times_s.size)
    return {
        SeriesKey(Metric.POOL_DEPTH_USD, STABLE_POOL, "pool"): Column(
            times_s=times_s, values=_CALM_DEPTH_USD * even
        ),
        SeriesKey(Metric.POOL_PRICE_USD, STABLE_POOL, "pool"): Column(times_s=times_s, values=_PAR * even),
    }
