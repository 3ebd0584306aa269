"""The made-up hourly history before a scenario: enough that no signal is warming when the market moves. Pure.

Every series ends at the level that is read at the first point, so history and path join without a jump.
Running backwards from there, prices are a random walk and everything else reverts to its level.
"""

import math
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from bot.errors import InvariantError
from bot.model.market import FloatArray, Metric, SeriesKey
from bot.model.units import HOUR_S, YEAR_S
from bot.simulation.stress.description import Scenario
from bot.simulation.stress.noise import FloatPath, ornstein_uhlenbeck, steady_bridge
from bot.simulation.stress.paths import named_generator

HISTORY_DAYS = 95
_MAX_EXCURSION = 0.15  # of the price over the history, as log
_LIQUIDITY_SIGMA = 0.0008  # small deposits and withdrawals
_GAP_SIGMA = 0.0004  # of pool prices around the oracle
_STABLE_SIGMA = 0.0002
_IV_SIGMA = 0.015  # of all vols together, from hour to hour
_SWING_DAYS = 45.0  # period of their slow swing: what stands at the end is the middle of its range
_TENOR_SIGMA = 0.004  # of each tenor by itself
_FEE_SIGMA = 0.10  # of gas prices
_RATE_SIGMA = 0.03  # of lending rates
_ETHER = ("ETH", "WETH")
_MARKET = (*_ETHER, "BTC")
_POOL_MONEY = (Metric.POOL_QUOTE_USD, Metric.POOL_QUOTE_NEAR_USD, Metric.POOL_DEPTH_USD)
_STATES = (  # what stands until something happens
    Metric.PAUSED,
    Metric.UPGRADED,
    Metric.OWNERSHIP_CHANGED,
    Metric.ROLE_CHANGED,
    Metric.HEALTH_FACTOR,
    Metric.VIRTUAL_PRICE,
    Metric.EXCHANGE_RATE,
    Metric.BRIDGE_COVERAGE,
    Metric.SEQUENCER_UP,
    Metric.UTILISATION,
)
_FEES = (Metric.BASE_FEE_GWEI, Metric.PRIORITY_FEE_GWEI)
_RATES = (Metric.SUPPLY_APR, Metric.BORROW_APR)


class _Market(NamedTuple):
    """What the series share; arrays run back from the last hour of the history, factors of the level."""

    price: FloatPath  # of ETH
    vol: FloatPath


def history_values(
    scenario: Scenario,
    seed: int,
    *,
    levels: Mapping[SeriesKey, float],
    days: int = HISTORY_DAYS,
) -> dict[SeriesKey, FloatArray]:
    """Return hourly values of every series in ``levels``, oldest first, the newest an hour before the level.

    A level that is unknown raises InvariantError. A series does not depend on which others are asked for.
    """
    hours = days * 24
    market = _market(scenario, seed, hours)
    found = {}
    for key in sorted(levels):
        if not math.isfinite(levels[key]):
            raise InvariantError(f"history needs a known level of {key}, found {levels[key]}")
        if key.metric is Metric.FUNDING_APR:  # crosses zero, so it moves by sums and not by shares
            random = named_generator(scenario, seed, str(key))
            noise = _around(random, hours, scenario.history.funding_sigma)
            values = levels[key] + noise
        else:
            values = levels[key] * _shape(key, scenario, seed, market, hours)
        found[key] = np.ascontiguousarray(values[:0:-1])
    return found


def _market(scenario: Scenario, seed: int, hours: int) -> _Market:
    random = named_generator(scenario, seed, "market")
    walk = steady_bridge(
        random,
        hours,
        sigma=scenario.history.vol * math.sqrt(HOUR_S / YEAR_S),
        max_excursion=_MAX_EXCURSION,
        steadiness=scenario.history.steadiness,
    )
    noise = _around(random, hours, _IV_SIGMA)
    side = 1.0 if random.random() < 0.5 else -1.0
    days = np.arange(hours + 1) / 24.0
    swing = side * scenario.history.iv_swing * np.sin(2.0 * math.pi * days / _SWING_DAYS)
    return _Market(price=np.exp(walk), vol=np.exp(noise + swing))


def _shape(key: SeriesKey, scenario: Scenario, seed: int, market: _Market, hours: int) -> FloatPath:
    """Return the values from now backwards as factors of the level; the first is 1."""
    random = named_generator(scenario, seed, str(key))
    if key.metric in (Metric.IV_30D, Metric.VOL_INDEX):
        return market.vol  # the index is the 30-day vol
    if key.metric in (Metric.IV_7D, Metric.IV_90D):
        return market.vol * np.exp(_around(random, hours, _TENOR_SIGMA))
    if key.metric in (Metric.PRICE_USD, Metric.POOL_PRICE_USD):
        return _price(key, market, random, hours)
    if key.metric in _STATES:
        return np.ones(hours + 1)
    if key.metric in (*_FEES, *_RATES):
        return np.exp(_around(random, hours, _FEE_SIGMA if key.metric in _FEES else _RATE_SIGMA))
    # One draw per pool: its liquidity, reserves, depth and balances move together.
    is_balance = key.metric is Metric.TOKEN_UNITS
    pool, _, token = key.subject.rpartition("/") if is_balance else (key.subject, "", "")
    liquidity = 1.0 + _around(named_generator(scenario, seed, pool), hours, _LIQUIDITY_SIGMA)
    if _base(pool) not in _ETHER:
        return liquidity
    if key.metric in _POOL_MONEY:
        return liquidity * np.sqrt(market.price)
    if is_balance:
        return liquidity * np.sqrt(market.price) ** (-1.0 if token in _ETHER else 1.0)
    return liquidity


def _price(key: SeriesKey, market: _Market, random: np.random.Generator, hours: int) -> FloatPath:
    if _base(key.subject) not in _MARKET:
        return 1.0 + _around(random, hours, _STABLE_SIGMA)
    if key.source.startswith("chainlink"):
        return market.price
    return market.price * (1.0 + _around(random, hours, _GAP_SIGMA))


def _base(subject: str) -> str:
    """Return the underlying of "v3:ETH/USDC", or the asset itself."""
    return subject.rpartition(":")[2].partition("/")[0]


def _around(random: np.random.Generator, hours: int, sigma: float) -> FloatPath:
    """Return mean-reverting noise that starts (that is, ends) at 0."""
    return ornstein_uhlenbeck(random, hours, sigma=sigma, bound=2.5, start=0.0)
