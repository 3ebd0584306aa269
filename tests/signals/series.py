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

# S12, S14-S16, S22, S24-S26
IV_30D = SeriesKey(Metric.IV_30D, "ETH", "lyra")
BTC_PRICE = SeriesKey(Metric.PRICE_USD, "BTC", "binance:spot")
BTC_INDEX = SeriesKey(Metric.VOL_INDEX, "BTC", "deribit")
LINK_PRICE = SeriesKey(Metric.PRICE_USD, "LINK", "binance:spot")
UNI_PRICE = SeriesKey(Metric.PRICE_USD, "UNI", "binance:spot")
AAVE_PRICE = SeriesKey(Metric.PRICE_USD, "AAVE", "binance:spot")
PARITY = SeriesKey(Metric.PARITY_GAP, "ETH", "lyra")
VOLUME = SeriesKey(Metric.VOLUME_USD_1D, POOL, "pool")

# S1-S3 of holders, S5-S9
USDC_FEED = SeriesKey(Metric.PRICE_USD, "USDC", "chainlink:USDC/USD")
USDC_EMA = SeriesKey(Metric.PRICE_USD, "USDC", "curve:3pool")
USDT_FEED = SeriesKey(Metric.PRICE_USD, "USDT", "chainlink:USDT/USD")
USDT_EMA = SeriesKey(Metric.PRICE_USD, "USDT", "curve:3pool")
VAULT_UNITS = SeriesKey(Metric.TOKEN_UNITS, "sdai/DAI", "erc4626")
VAULT_IDLE = SeriesKey(Metric.IDLE_UNITS, "sdai/DAI", "erc4626")
VAULT_RATE = SeriesKey(Metric.EXCHANGE_RATE, "sDAI/DAI", "erc4626")
LENT_IDLE = SeriesKey(Metric.IDLE_UNITS, "aave/WETH", "aave_v3")
LENT_USE = SeriesKey(Metric.UTILISATION, "aave/WETH", "aave_v3")
CURVE_USDC = SeriesKey(Metric.TOKEN_UNITS, "curve:3pool/USDC", "curve")
CURVE_USDT = SeriesKey(Metric.TOKEN_UNITS, "curve:3pool/USDT", "curve")
SHARE_USDC = SeriesKey(Metric.POOL_SHARE, "curve:3pool/USDC", "curve")
SHARE_USDT = SeriesKey(Metric.POOL_SHARE, "curve:3pool/USDT", "curve")
VIRTUAL_PRICE = SeriesKey(Metric.VIRTUAL_PRICE, "curve:3pool", "curve")
LOCKED = SeriesKey(Metric.TOKEN_UNITS, "arbitrum/USDC", "lockbox")
MINTED = SeriesKey(Metric.TOKEN_UNITS, "arbitrum/USDC", "minted")
PRIORITY_FEE = SeriesKey(Metric.PRIORITY_FEE_GWEI, "1", "gas")
SANDWICHED = SeriesKey(Metric.SANDWICH_SHARE, POOL, "sandwich")
PAUSED = SeriesKey(Metric.PAUSED, "router", "admin_events")
UPGRADED = SeriesKey(Metric.UPGRADED, "router", "admin_events")


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
    onchain = stressed_onchain(hours, seed=seed + 1)
    technical = stressed_technical(hours, seed=seed + 2)
    series = columns_of(
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
    return Columns(series={**series.series, **technical.series, **onchain.series})


def stressed_technical(hours, *, seed=9):
    """Return the series of other markets, of parity and of volume, moving likewise."""
    rng = np.random.default_rng(seed)
    bursts = 0.005 + 0.015 * (np.arange(hours) % 200 > 150)

    def walk(level, step=bursts):
        return hourly(level * np.exp(np.cumsum(rng.normal(0.0, 1.0, hours) * step)))

    return columns_of(
        IV_30D=walk(0.7, 0.01),
        BTC_PRICE=walk(40_000.0),
        BTC_INDEX=walk(0.6, 0.01),
        LINK_PRICE=walk(15.0),
        UNI_PRICE=walk(8.0),
        AAVE_PRICE=walk(90.0),
        PARITY=hourly(rng.normal(0.0, 1.0, hours)),
        VOLUME=walk(2e7, 0.05),
    )


def stressed_onchain(hours, *, seed=8):
    """Return the series of holders, stables, bridges, chains and contracts, moving likewise."""
    rng = np.random.default_rng(seed)
    bursts = 1.0 + 4.0 * (np.arange(hours) % 200 > 150)

    def walk(step):
        return np.exp(np.cumsum(rng.normal(0.0, step, hours)))

    def near_par():
        return 1.0 + rng.normal(0.0, 0.001, hours) * bursts

    usdc, usdt = 1e8 * walk(0.01), 1e8 * walk(0.01)
    use = rng.uniform(0.6, 0.9, hours)
    return columns_of(
        USDC_FEED=hourly(near_par()),
        USDC_EMA=hourly(near_par()),
        USDT_FEED=hourly(near_par()),
        USDT_EMA=hourly(near_par()),
        VAULT_UNITS=hourly(1e6 * walk(0.01)),
        VAULT_IDLE=hourly(rng.uniform(5e4, 4e5, hours)),
        VAULT_RATE=hourly(1.05 * walk(0.001)),
        LENT_IDLE=hourly((1.0 - use) * 1e5 * walk(0.01)),
        LENT_USE=hourly(use),
        CURVE_USDC=hourly(usdc),
        CURVE_USDT=hourly(usdt),
        SHARE_USDC=hourly(usdc / (usdc + usdt)),
        SHARE_USDT=hourly(usdt / (usdc + usdt)),
        VIRTUAL_PRICE=hourly(1.01 * walk(0.001)),
        LOCKED=hourly(1e6 * (1.0 - np.abs(rng.normal(0.0, 0.01, hours)))),
        MINTED=hourly(np.full(hours, 1e6)),
        PRIORITY_FEE=hourly(2.0 * np.exp(rng.normal(0.0, 0.5, hours)) * bursts),
        SANDWICHED=hourly(rng.uniform(0.0, 0.03, hours) * bursts),
        PAUSED=hourly(rng.random(hours) < 0.3),
        UPGRADED=hourly(rng.integers(0, 2, hours)),
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
