"""Made-up markets for a devnet: one hourly path per scenario and seed. Pure, the same on every machine.

A path is a stylised curve through calibrated points with seeded noise pinned to zero at each of them, so
every seed differs in detail and hits the same calibration. Where noise would make a fall worse than the
calibrated worst one, it is damped until it does not. Every value is rounded, so that a last-bit
difference of exp or sqrt between machines does not reach the chain.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from bot.devnet.noise import (
    PLACID,
    STEADY,
    FloatPath,
    Knots,
    Steadiness,
    bridge,
    curve,
    generator,
    ornstein_uhlenbeck,
    steady_bridge,
)
from bot.errors import InvariantError, NotFoundError
from bot.model.units import HOUR_S, YEAR_S, parse_utc_s

START_S = parse_utc_s("2022-05-05T00:00:00Z", field="scenario start")
FUNDINGS_A_DAY = 3  # the figures are per 8 h; Perp v2's premium is a rate per day
ETH_OVER_BTC_VOL = 0.15  # an ETH vol index stands about 15 points over BTC DVOL
WEI_PER_MAINNET_GWEI = 10**7  # devnet gas costs a hundredth of mainnet's, near what a rollup charges


@dataclass(frozen=True, slots=True, kw_only=True)
class MarketPoint:
    """The state of every market at one time."""

    at_s: int  # block time of the last block of the step
    eth_usd: float  # what the oracles say
    pool_gap: float  # pool price / oracle price - 1: how far the pools lag
    funding_premium: float  # perpetual's mark / index - 1 = funding a day, fraction; positive: a long pays
    iv_7d: float  # at-the-money implied vol at constant maturity, fraction a year
    iv_30d: float
    iv_90d: float
    lp_share: float  # liquidity in each ETH pool against the path's first point, flows only, fraction
    stable_usd: float  # USDC for one sUSD in the stable pool
    base_fee_wei: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """A calibrated market. ``path(seed)`` is hourly and repeatable to the digit."""

    name: str
    description: str
    sources: tuple[str, ...]  # of its calibration figures
    start_s: int
    hours: int
    history_vol: float  # a year, of the made-up history before the path
    history_steadiness: Steadiness
    stream: int  # keeps scenarios with the same seed apart
    build: Callable[[np.random.Generator, int], dict[str, FloatPath]]

    @property
    def first_point_s(self) -> int:
        """One hour after ``start_s``, which is when a fresh devnet stands ready."""
        return self.start_s + HOUR_S

    def path(self, seed: int) -> tuple[MarketPoint, ...]:
        """Return ``hours + 1`` hourly points from ``first_point_s``. ``seed`` is any integer >= 0."""
        columns = self.build(generator(seed, stream=self.stream), self.hours)
        return tuple(
            _point(self.first_point_s + hour * HOUR_S, columns, hour) for hour in range(self.hours + 1)
        )


def _point(at_s: int, columns: dict[str, FloatPath], hour: int) -> MarketPoint:
    def value(name: str, digits: int) -> float:
        return round(float(columns[name][hour]), digits)

    return MarketPoint(
        at_s=at_s,
        eth_usd=value("eth_usd", 2),
        pool_gap=value("pool_gap", 6),
        funding_premium=value("funding_premium", 7),
        iv_7d=value("iv_7d", 5),
        iv_30d=value("iv_30d", 5),
        iv_90d=value("iv_90d", 5),
        lp_share=value("lp_share", 5),
        stable_usd=value("stable_usd", 6),
        base_fee_wei=round(float(columns["gas_gwei"][hour])) * WEI_PER_MAINNET_GWEI,
    )


# --- terra -----------------------------------------------------------------------------------------------
# Hours count from the first point, 2022-05-05T01Z. UST under 0.99 first at hour 71, under 0.985 at 112,
# under 0.80 at 120, under 0.50 at 151; ETH's low on 05-12.
TERRA_PEAK_HOUR, TERRA_LOW_HOUR = 2, 175
TERRA_DRAWDOWN = 0.391
TERRA_WORST_HOUR = 0.098  # fall of the hour that ends at TERRA_WORST_AT
TERRA_WORST_AT = 157
TERRA_WORST_DAY = 0.244  # fall of the 24 h that end at the low
_LOW_USD = 1_800.0
_PEAK_USD = _LOW_USD / (1.0 - TERRA_DRAWDOWN)
_DAY_BEFORE_LOW_USD = _LOW_USD / (1.0 - TERRA_WORST_DAY)

TERRA_PRICE: Knots = {
    0: 2_940.0,
    TERRA_PEAK_HOUR: _PEAK_USD,
    24: 2_915.0,
    42: 2_885.0,
    60: 2_765.0,
    72: 2_680.0,
    84: 2_575.0,
    96: 2_520.0,
    108: 2_440.0,
    114: 2_335.0,
    120: 2_290.0,
    130: 2_425.0,
    144: 2_360.0,
    TERRA_LOW_HOUR - 24: _DAY_BEFORE_LOW_USD,
    TERRA_WORST_AT - 1: 2_345.0,
    TERRA_WORST_AT: 2_345.0 * (1.0 - TERRA_WORST_HOUR),
    163: 2_180.0,
    168: 2_140.0,
    TERRA_LOW_HOUR: _LOW_USD,
    180: 1_955.0,
    186: 1_910.0,
    192: 2_015.0,
    204: 2_100.0,
    216: 2_040.0,
    228: 1_990.0,
}
# Noise of an hour, as log return: 47 % a year before the slip, up to 240 % in the crash, so that the whole
# window realises about 150 %.
TERRA_NOISE: Knots = {
    0: 0.005,
    48: 0.005,
    72: 0.010,
    96: 0.016,
    112: 0.020,
    151: 0.020,
    180: 0.026,
    228: 0.018,
}
# DeFi TVL less what ETH's fall explains of it: TVL falls with sqrt(ETH) in a full-range pool.
TERRA_LIQUIDITY: Knots = {
    0: 1.0, 24: 0.997, 48: 0.992, 72: 0.98, 96: 0.946, 112: 0.925, 120: 0.86, 144: 0.84,
    156: 0.81, 168: 0.775, 175: 0.742, 180: 0.72, 192: 0.671, 228: 0.671,
}  # fmt: skip
TERRA_DVOL: Knots = {  # BTC, points
    0: 60, 24: 60.5, 42: 61.5, 60: 62.5, 71: 65.5, 84: 67, 100: 70, 112: 76, 120: 84.5, 130: 78.5,
    144: 82, 151: 86, 160: 90, 166: 103, 170: 112, 174: 135, 176: 140, 180: 125, 190: 122, 200: 98,
    212: 95, 228: 97,
}  # fmt: skip
TERRA_FUNDING: Knots = {  # % per 8 h
    0: 0.0085, 60: 0.0085, 72: 0.006, 108: 0.005, 120: -0.008, 132: 0.004, 150: 0.003, 157: -0.012,
    168: -0.02, 176: -0.08, 184: -0.03, 196: -0.01, 212: 0.003, 228: 0.006,
}  # fmt: skip
TERRA_FUNDING_MIN, TERRA_FUNDING_MAX = -0.080, 0.010
TERRA_FUNDING_LOW_HOUR = 176
TERRA_GAS: Knots = {  # mainnet gwei
    0: 57, 48: 45, 84: 42, 108: 66, 132: 72, 150: 110, 160: 165, 175: 214, 186: 120, 204: 70, 228: 48,
}  # fmt: skip
TERRA_STABLE: Knots = {
    0: 1.0, 72: 0.9995, 112: 0.998, 120: 0.9955, 144: 0.997, 160: 0.993, 175: 0.988, 192: 0.993, 228: 0.996,
}  # fmt: skip
POOL_LAG = 0.18  # share of an hour's return that the pools have not followed at its end
_ATTEMPTS = 40
_OTHER_HOUR, _OTHER_DAY = 0.085, 0.235  # what no other hour or day may fall


def _terra(random: np.random.Generator, hours: int) -> dict[str, FloatPath]:
    price = _terra_price(random, hours)
    dvol = curve(TERRA_DVOL, hours) + bridge(random, TERRA_DVOL, np.full(hours, 0.35))
    stress = np.clip((dvol - 60.0) / 80.0, 0.0, 1.0)
    vol_30d = np.clip(dvol, 58.0, 140.0) / 100.0 + ETH_OVER_BTC_VOL
    funding = curve(TERRA_FUNDING, hours) + ornstein_uhlenbeck(random, hours, sigma=0.0009, bound=2.0)
    funding = np.clip(funding, TERRA_FUNDING_MIN, TERRA_FUNDING_MAX)
    funding[TERRA_FUNDING_LOW_HOUR] = TERRA_FUNDING_MIN
    liquidity = curve(TERRA_LIQUIDITY, hours) + bridge(random, TERRA_LIQUIDITY, np.full(hours, 0.0008))
    lag = -POOL_LAG * np.diff(np.log(price), prepend=math.log(price[0]))
    return {
        "eth_usd": price,
        "pool_gap": np.clip(lag + ornstein_uhlenbeck(random, hours, sigma=0.0004, bound=2.0), -0.03, 0.03),
        "funding_premium": funding / 100.0 * FUNDINGS_A_DAY,
        "iv_7d": vol_30d * (0.95 + 0.20 * stress),
        "iv_30d": vol_30d,
        "iv_90d": vol_30d * (1.03 - 0.17 * stress),
        "lp_share": np.clip(liquidity, 0.0, 1.0),
        "stable_usd": curve(TERRA_STABLE, hours) + bridge(random, TERRA_STABLE, np.full(hours, 0.0002)),
        "gas_gwei": curve(TERRA_GAS, hours),
    }


def _terra_price(random: np.random.Generator, hours: int) -> FloatPath:
    base = curve({hour: math.log(usd) for hour, usd in TERRA_PRICE.items()}, hours)
    noise = bridge(random, TERRA_PRICE, curve(TERRA_NOISE, hours)[1:])
    for attempt in range(_ATTEMPTS):
        price = np.clip(np.exp(base + noise * 0.9**attempt), 1.004 * _LOW_USD, 0.999 * _PEAK_USD)
        price[TERRA_PEAK_HOUR], price[TERRA_LOW_HOUR] = _PEAK_USD, _LOW_USD
        _soften(price)
        if _terra_lawful(price):
            return price
    raise InvariantError(f"terra: no damping in {_ATTEMPTS} steps keeps the calibrated falls the worst ones")


def _soften(price: FloatPath) -> None:
    """Lift, in place, every free point that would fall further in an hour or a day than it may."""
    for hour in range(1, len(price)):
        if hour in TERRA_PRICE:
            continue
        floor = 0.925 * price[hour - 1]
        if hour >= 24:
            floor = max(floor, (1.0 - _OTHER_DAY) * price[hour - 24])
        price[hour] = max(price[hour], floor)


def _terra_lawful(price: FloatPath) -> bool:
    """The worst hour and the worst day are the calibrated ones and no others."""
    hour_return = np.delete(price[1:] / price[:-1] - 1.0, TERRA_WORST_AT - 1)
    day_return = np.delete(price[24:] / price[:-24] - 1.0, TERRA_LOW_HOUR - 24)
    return bool(hour_return.min() > -_OTHER_HOUR and day_return.min() > -_OTHER_DAY - 0.001)


# --- calm ------------------------------------------------------------------------------------------------
CALM_START_USD = 2_940.0
CALM_VOL = 0.55  # a year
CALM_MAX_EXCURSION = 0.08  # of the price from its start, as log
CALM_MAX_DAY = 0.07  # the worst of a calm quarter was 0.078
_CALM_IV = 0.65


def _calm(random: np.random.Generator, hours: int) -> dict[str, FloatPath]:
    sigma = CALM_VOL * math.sqrt(HOUR_S / YEAR_S)
    walk = steady_bridge(
        random, hours, sigma=sigma, max_excursion=CALM_MAX_EXCURSION, max_day=CALM_MAX_DAY, steadiness=PLACID
    )
    iv = _CALM_IV * np.exp(ornstein_uhlenbeck(random, hours, sigma=0.004, bound=2.0))
    return {
        "eth_usd": CALM_START_USD * np.exp(walk),
        "pool_gap": ornstein_uhlenbeck(random, hours, sigma=0.0004, bound=2.0),
        "funding_premium": (0.006 + ornstein_uhlenbeck(random, hours, sigma=0.0012, bound=1.5))
        / 100.0
        * FUNDINGS_A_DAY,
        "iv_7d": 0.95 * iv,
        "iv_30d": iv,
        "iv_90d": 1.03 * iv,
        "lp_share": 1.0 + ornstein_uhlenbeck(random, hours, sigma=0.0012, bound=2.0),
        "stable_usd": 1.0 + ornstein_uhlenbeck(random, hours, sigma=0.0002, bound=2.0),
        "gas_gwei": 35.0 + ornstein_uhlenbeck(random, hours, sigma=4.0, bound=2.0),
    }


_FIGURES = (
    "Binance ETH/USDT spot and funding, hourly and 8-hourly, 2022-05-05..14",
    "Deribit BTC DVOL, hourly, plus 15 points for ETH",
    "DefiLlama total value locked, daily; Etherscan gas price, daily mean",
    "Chainlink UST/USD rounds, for the timing",
)

SCENARIOS: dict[str, Scenario] = {
    "calm": Scenario(
        name="calm",
        description="Nine days of noise at 55 % a year: nothing may fire but what always stands",
        sources=(
            "Binance ETH/USDT spot, hourly, Jan-Feb 2023: 53 % a year, worst hour -2.6 %, worst day -7.8 %",
        ),
        start_s=START_S,
        hours=216,
        history_vol=0.60,
        history_steadiness=PLACID,
        stream=1,
        build=_calm,
    ),
    "terra": Scenario(
        name="terra",
        description="The fall of Terra, 5 to 14 May 2022: ETH -39 % in 173 hours",
        sources=_FIGURES,
        start_s=START_S,
        hours=228,
        history_vol=0.60,
        history_steadiness=STEADY,
        stream=2,
        build=_terra,
    ),
}


def scenario_named(name: str) -> Scenario:
    """Return a scenario; NotFoundError names the ones there are."""
    try:
        return SCENARIOS[name]
    except KeyError:
        raise NotFoundError(f"scenario {name!r} does not exist; there are: {', '.join(SCENARIOS)}") from None
