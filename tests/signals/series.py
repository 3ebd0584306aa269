"""Small made-up histories for signal tests."""

import numpy as np

from bot.model.market import Column, Columns, Metric, SeriesKey
from bot.model.units import DAY_S, HOUR_S

START_S = 1_650_000_000 // DAY_S * DAY_S
POOL = "v3:ETH/USDC"
STABLE_POOL = "v3:USDC/sUSD"

LIQUIDITY = SeriesKey(Metric.POOL_LIQUIDITY, POOL, "pool")
NEAR = SeriesKey(Metric.POOL_QUOTE_NEAR_USD, POOL, "pool")
QUOTE = SeriesKey(Metric.POOL_QUOTE_USD, POOL, "pool")
POOL_PRICE = SeriesKey(Metric.POOL_PRICE_USD, POOL, "pool")
STABLE_PRICE = SeriesKey(Metric.POOL_PRICE_USD, STABLE_POOL, "pool")
DEPTH = SeriesKey(Metric.POOL_DEPTH_USD, POOL, "pool")
PRICE = SeriesKey(Metric.PRICE_USD, "ETH", "binance:spot")
FUNDING = SeriesKey(Metric.FUNDING_APR, "ETH", "perp_v2")
IV_7D = SeriesKey(Metric.IV_7D, "ETH", "lyra")
IV_90D = SeriesKey(Metric.IV_90D, "ETH", "lyra")
VOL_INDEX = SeriesKey(Metric.VOL_INDEX, "ETH", "dvol")


def hourly(values, *, start_s=START_S):
    """Return one observation at the last second of each hour, as tables are loaded."""
    values = np.asarray(values, dtype=np.float64)
    return Column(times_s=start_s + HOUR_S * np.arange(values.size) + HOUR_S - 1.0, values=values)


def end_s(hours, *, start_s=START_S):
    """Return the moment at which ``hours`` hourly bars have closed."""
    return float(start_s + HOUR_S * hours)


def columns_of(**named):
    """Return Columns from the key names of this module: ``columns_of(PRICE=hourly(...))``."""
    return Columns(series={globals()[name]: column for name, column in named.items()})


def stressed(hours, *, seed=7):
    """Return every series over ``hours``, moving enough that no signal sits clipped at calm."""
    rng = np.random.default_rng(seed)

    def walk(step):
        return np.cumsum(rng.normal(0.0, 1.0, hours) * step)

    price = 3000.0 * np.exp(walk(0.005 + 0.015 * (np.arange(hours) % 200 > 150)))
    liquidity = 1e6 * np.exp(walk(0.01))
    vol = 0.7 * np.exp(walk(0.01))
    quote = 5e6 * np.exp(walk(0.01))
    return columns_of(
        LIQUIDITY=hourly(liquidity),
        NEAR=hourly(quote * rng.uniform(0.05, 0.4, hours)),
        QUOTE=hourly(quote),
        POOL_PRICE=hourly(price * (1.0 + rng.normal(0.0, 0.01, hours))),
        STABLE_PRICE=hourly(1.0 + rng.normal(0.0, 0.01, hours)),
        DEPTH=hourly(1e5 * np.exp(walk(0.05))),
        PRICE=hourly(price),
        FUNDING=hourly(rng.standard_t(3, hours) * 0.1),
        IV_7D=hourly(vol * (1.0 + rng.normal(0.1, 0.1, hours))),
        IV_90D=hourly(vol),
        VOL_INDEX=hourly(vol),
    )


def with_holes(columns, *, share, seed=3):
    """Return the same columns with a share of the reads failed (NaN), the newest row kept."""
    rng = np.random.default_rng(seed)
    series = {}
    for key, column in columns.series.items():
        lost = rng.random(column.values.size) < share
        lost[-1:] = False
        series[key] = Column(times_s=column.times_s, values=np.where(lost, np.nan, column.values))
    return Columns(series=series)
