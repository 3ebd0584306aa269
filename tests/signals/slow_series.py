"""Made-up histories of the FUNDAMENTAL signals: days with their weekends, months with their prints."""

import numpy as np
from signals.series import START_S, hourly

from bot.model.market import Column, Columns, Metric, SeriesKey
from bot.model.units import DAY_S, HOUR_S

BORROW = SeriesKey(Metric.BORROW_APR, "core/USDC", "aave_v3")
SUPPLY = SeriesKey(Metric.SUPPLY_APR, "core/USDC", "aave_v3")
CAP = SeriesKey(Metric.MARKET_CAP_USD, "AAVE", "defillama")
FEES = SeriesKey(Metric.FEES_USD_1D, "aave", "defillama")
REVENUE = SeriesKey(Metric.REVENUE_USD_1D, "aave", "defillama")
CPI = SeriesKey(Metric.MACRO_PRINT, "CPI", "bls")
PPI = SeriesKey(Metric.MACRO_PRINT, "PPI", "bls")
GDP = SeriesKey(Metric.MACRO_PRINT, "GDP", "fred:A191RL1Q225SBEA")
GDP_CONSENSUS = SeriesKey(Metric.MACRO_CONSENSUS, "GDP", "csv:gdp")
NEXT_CPI = SeriesKey(Metric.MACRO_RELEASE_S, "CPI", "macro_calendar")
NEXT_PPI = SeriesKey(Metric.MACRO_RELEASE_S, "PPI", "macro_calendar")
NEXT_FOMC = SeriesKey(Metric.MACRO_RELEASE_S, "FOMC", "macro_calendar")
ETH = SeriesKey(Metric.PRICE_USD, "ETH", "binance:spot")
BTC = SeriesKey(Metric.PRICE_USD, "BTC", "binance:spot")
SPX = SeriesKey(Metric.INDEX_CLOSE, "SPX", "fred:SP500")
LP_FEES = SeriesKey(Metric.LP_FEE_APR, "ETH/USDC", "book")
HEDGE_COST = SeriesKey(Metric.HEDGE_COST_APR, "ETH/USDC", "book")
IRR = SeriesKey(Metric.HEDGED_IRR, "ETH/USDC", "book")
ETF = SeriesKey(Metric.FLOW_USD_1D, "ETF:ETH", "csv:etf")
STABLECOINS = SeriesKey(Metric.FLOW_USD_1D, "stablecoins", "defillama")

CLOSE_S = 21 * HOUR_S  # of New York, in UTC without daylight saving
RELEASE_S = 12.5 * HOUR_S
PRINTS_APART = 30  # days


def of(**named):
    """Return Columns from the key names of this module."""
    return Columns(series={globals()[name]: column for name, column in named.items()})


def at(times_s, values):
    return Column(times_s=np.asarray(times_s, dtype=np.float64), values=np.asarray(values, dtype=np.float64))


def day_s(day, *, hour_s=0.0):
    """Return a time of a day counted from START_S; an array for an array."""
    return START_S + DAY_S * np.asarray(day, dtype=np.float64) + hour_s


def daily(values, *, hour_s=0.0):
    return at(day_s(np.arange(len(values)), hour_s=hour_s), values)


def trading(values, *, hour_s=CLOSE_S):
    """Return one value a day, those of Saturdays and Sundays left out."""
    days = np.arange(len(values))
    weekday = (START_S // DAY_S + days + 3) % 7  # 1970-01-01 was a Thursday
    open_ = weekday < 5
    return at(day_s(days[open_], hour_s=hour_s), np.asarray(values, dtype=np.float64)[open_])


def calendar(days, *, first, apart):
    """Return what a calendar read every 6 h says of releases ``apart`` days apart."""
    times = day_s(0) + 6 * HOUR_S * np.arange(4 * days)
    since = (times - day_s(first, hour_s=RELEASE_S)) // (apart * DAY_S) + 1
    return at(times, day_s(first, hour_s=RELEASE_S) + since * apart * DAY_S)


def slow(days, *, seed=5):
    """Return every series of the FUNDAMENTAL signals over ``days``, moving through their anchors."""
    rng = np.random.default_rng(seed)

    def walk(step, size=days):
        return np.exp(np.cumsum(rng.normal(0.0, step, size)))

    hours = 24 * days
    supply = 0.03 * walk(0.01, hours)
    index_day = rng.normal(0.0, 0.01, days)
    crypto = np.repeat(2.9 * index_day, 24) / 24 + rng.normal(0.0, 0.001, hours)
    months = days // PRINTS_APART + 1
    quarters = days // 91 + 1
    return of(
        BORROW=hourly(supply * rng.uniform(1.1, 2.0, hours)),
        SUPPLY=hourly(supply),
        CAP=daily(1e9 * walk(0.06), hour_s=6 * HOUR_S),
        FEES=daily(1e6 * walk(0.05)),
        REVENUE=daily(1e5 * walk(0.05)),
        CPI=at(
            day_s(PRINTS_APART * np.arange(months), hour_s=RELEASE_S), 0.03 + rng.normal(0, 0.005, months)
        ),
        PPI=at(
            day_s(2 + PRINTS_APART * np.arange(months), hour_s=RELEASE_S), 0.03 + rng.normal(0, 0.005, months)
        ),
        GDP=at(day_s(9 + 91 * np.arange(quarters), hour_s=RELEASE_S), rng.normal(0.02, 0.01, quarters)),
        GDP_CONSENSUS=at(day_s(4 + 91 * np.arange(quarters)), rng.normal(0.02, 0.01, quarters)),
        NEXT_CPI=calendar(days, first=0, apart=PRINTS_APART),
        NEXT_PPI=calendar(days, first=2, apart=PRINTS_APART),
        NEXT_FOMC=calendar(days, first=11, apart=42),
        ETH=hourly(3000.0 * np.exp(np.cumsum(crypto))),
        BTC=hourly(40000.0 * np.exp(np.cumsum(0.5 * crypto))),
        SPX=trading(4000.0 * np.exp(np.cumsum(index_day)), hour_s=DAY_S - 1.0),
        LP_FEES=hourly(0.1 + rng.normal(0.0, 0.02, hours)),
        HEDGE_COST=hourly(0.1 + rng.normal(0.0, 0.02, hours)),
        IRR=hourly(0.05 + rng.normal(0.0, 0.02, hours)),
        ETF=trading(rng.normal(0.0, 1e8, days)),
        STABLECOINS=daily(rng.normal(1e8, 5e8, days)),
    )
