"""The made-up hourly history before a scenario: enough that no signal is warming when the market moves. Pure.

Every series ends at the level that the watchers read on the devnet, so history and live rows join without
a jump. Running backwards from there, prices are a random walk and everything else reverts to its level.
"""

import math
import zlib
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from bot.devnet.noise import FloatPath, generator, ornstein_uhlenbeck, steady_bridge
from bot.devnet.scenarios import Scenario
from bot.errors import InvariantError
from bot.model.market import Metric, Observation, SeriesKey
from bot.model.units import HOUR_S, YEAR_S

HISTORY_DAYS = 95
_MAX_EXCURSION = 0.15  # of the price over the history, as log
_LIQUIDITY_SIGMA = 0.0008  # small deposits and withdrawals
_GAP_SIGMA = 0.0004  # of pool prices around the oracle
_STABLE_SIGMA = 0.0002
_FUNDING_SIGMA = 0.015  # APR; 0.0014 % per 8 h
_IV_SIGMA = 0.015  # of all vols together
_TENOR_SIGMA = 0.004  # of each tenor by itself
_ETHER = ("ETH", "WETH")
_POOL_MONEY = (Metric.POOL_QUOTE_USD, Metric.POOL_QUOTE_NEAR_USD, Metric.POOL_DEPTH_USD)
_VOLS = (Metric.IV_7D, Metric.IV_30D, Metric.IV_90D, Metric.VOL_INDEX)


class _Market(NamedTuple):
    """What the series share; arrays run back from the last hour of the history, factors of the level."""

    price: FloatPath  # of ETH
    vol: FloatPath


def history(
    scenario: Scenario,
    seed: int,
    *,
    levels: Mapping[SeriesKey, float],
    end_s: int,
    days: int = HISTORY_DAYS,
) -> list[Observation]:
    """Return hourly rows of every series in ``levels``, oldest first, the newest one hour before ``end_s``.

    ``levels`` is what the watchers read at ``end_s``; a level that is unknown raises InvariantError. A
    series does not depend on which others are asked for.
    """
    hours = days * 24
    market = _market(_random(seed, scenario, "market"), scenario, hours)
    rows = []
    for key in sorted(levels):
        if not math.isfinite(levels[key]):
            raise InvariantError(f"history needs a known level of {key}, found {levels[key]}")
        values = levels[key] * _shape(key, scenario, seed, market, hours)
        if key.metric is Metric.FUNDING_APR:  # crosses zero, so it moves by sums and not by shares
            values = levels[key] + _around(_random(seed, scenario, str(key)), hours, _FUNDING_SIGMA)
        rows += [_row(key, float(values[back]), end_s - back * HOUR_S) for back in range(hours, 0, -1)]
    return sorted(rows, key=lambda row: row.observed_at_s)  # stable: keys stay in order within an hour


def _random(seed: int, scenario: Scenario, name: str) -> np.random.Generator:
    """A generator of its own for everything that has a name."""
    return generator(seed, stream=(zlib.crc32(name.encode()) << 8) + scenario.stream)


def _market(random: np.random.Generator, scenario: Scenario, hours: int) -> _Market:
    sigma = scenario.history_vol * math.sqrt(HOUR_S / YEAR_S)
    walk = steady_bridge(
        random, hours, sigma=sigma, max_excursion=_MAX_EXCURSION, steadiness=scenario.history_steadiness
    )
    return _Market(price=np.exp(walk), vol=np.exp(_around(random, hours, _IV_SIGMA)))


def _shape(key: SeriesKey, scenario: Scenario, seed: int, market: _Market, hours: int) -> FloatPath:
    """Return the values from now backwards as factors of the level; the first is 1."""
    random = _random(seed, scenario, str(key))
    if key.metric in (Metric.IV_30D, Metric.VOL_INDEX):
        return market.vol  # the index is the 30-day vol
    if key.metric in (Metric.IV_7D, Metric.IV_90D):
        return market.vol * np.exp(_around(random, hours, _TENOR_SIGMA))
    if key.metric in (Metric.PRICE_USD, Metric.POOL_PRICE_USD):
        return _price(key, market, random, hours)
    # One draw per pool: its liquidity, reserves, depth and balances move together.
    is_balance = key.metric is Metric.TOKEN_UNITS
    pool, _, token = key.subject.rpartition("/") if is_balance else (key.subject, "", "")
    liquidity = 1.0 + _around(_random(seed, scenario, pool), hours, _LIQUIDITY_SIGMA)
    if key.metric in _POOL_MONEY:
        return liquidity * np.sqrt(market.price)
    if is_balance:
        return liquidity * np.sqrt(market.price) ** (-1.0 if token in _ETHER else 1.0)
    return liquidity


def _price(key: SeriesKey, market: _Market, random: np.random.Generator, hours: int) -> FloatPath:
    base = key.subject.rpartition(":")[2].partition("/")[0]  # of "v3:ETH/USDC", or the asset itself
    if base not in _ETHER:
        return 1.0 + _around(random, hours, _STABLE_SIGMA)
    if key.source.startswith("chainlink"):
        return market.price
    return market.price * (1.0 + _around(random, hours, _GAP_SIGMA))


def _around(random: np.random.Generator, hours: int, sigma: float) -> FloatPath:
    """Return mean-reverting noise that starts (that is, ends) at 0."""
    return ornstein_uhlenbeck(random, hours, sigma=sigma, bound=2.5, start=0.0)


def _row(key: SeriesKey, value: float, at_s: int) -> Observation:
    return Observation(
        metric=key.metric,
        subject=key.subject,
        source=key.source,
        value=value,
        observed_at_s=float(at_s),
        read_at_s=float(at_s),
    )
