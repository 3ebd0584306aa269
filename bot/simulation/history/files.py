"""Which history files the backtest knows, and how their rows become observations.

A file here is one entry of ``tables_for``: its columns, its cadence, when its values were known, and
the series it gives. Adding a file is adding an entry.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np

from bot.model.market import Column, FloatArray, Metric, SeriesKey
from bot.model.units import DAY_S, HOUR_S
from bot.simulation.exposures import UNDERLYINGS, ExposureSpec

SPOT_SOURCE = "binance:spot"
DVOL_KEY = SeriesKey(Metric.VOL_INDEX, "BTC", "deribit")
STABLE_POOL = "v3:USDC/USDT"

# An hourly row is known when its hour ends; one second earlier keeps its close inside its own bar.
_HOUR_END_S = HOUR_S - 1
_FUNDINGS_A_YEAR = 3 * 365  # Binance settles every 8 h
_TWO_PERCENT_UP = math.sqrt(1.02) - 1.0
# New York closes at 20:00 or 21:00 UTC; the later one is taken all year, so that no close is known early.
_NEW_YORK_CLOSE_S = 21 * HOUR_S
_SPY_TO_SPX = 10.0  # the fund's share is about a tenth of the index; S20 reads returns alone
_LONGEST_BREAK_S = 3 * DAY_S  # Friday's close to Monday's
_RELEASES = {"CPI": "cpi", "PPI": "ppi", "FOMC": "fomc_decision"}  # intermeeting moves are not scheduled
_LONGEST_WAIT_S = 49 * DAY_S  # FOMC meetings are up to seven weeks apart
_STABLECOINS = ("usdt_mcap", "usdc_mcap", "busd_mcap")
_TWO_PERCENT_DOWN = 1.0 - math.sqrt(0.98)
_MAINNET = 1
_V2_FILES = {"v2:ETH/USDC": "uniswapv2_usdc_weth_4h", "v2:ETH/DAI": "uniswapv2_dai_weth_4h"}

Rows = Mapping[str, FloatArray]  # numeric columns by name, and "at_s": when each row was known


def _as_read(rows: Rows) -> Rows:
    return rows


@dataclass(frozen=True, slots=True, kw_only=True)
class HistoryTable:
    """One kind of file."""

    file: str  # without the ending
    what: str
    step_s: int  # rows are this far apart; irregular files: the longest usual step
    shift_s: int  # from a row's stamp to when its values were known
    series: Callable[[Rows], Mapping[SeriesKey, FloatArray]]
    without: str  # what is lost without the file
    positive: tuple[str, ...] = ()  # numeric columns that must be > 0
    not_negative: tuple[str, ...] = ()
    any_sign: tuple[str, ...] = ()
    keep: Mapping[str, str] = field(default_factory=dict)  # text column -> the value of the rows to use
    may_be_blank: bool = False  # a row with an empty number is a day without one, not a bad row
    prepare: Callable[[Rows], Rows] = _as_read  # of the whole file, before a range is cut from it
    is_required: bool = False
    stands_s: int = 0  # a row says something for so long: one before the range may be all that it needs

    @property
    def numeric(self) -> tuple[str, ...]:
        return (*self.positive, *self.not_negative, *self.any_sign)

    @property
    def is_hourly_close(self) -> bool:
        """Whether each row is what an hour closed at: an hour has one."""
        return self.step_s == HOUR_S and self.shift_s == _HOUR_END_S

    @property
    def columns(self) -> tuple[str, ...]:
        return ("ts", *self.keep, *self.numeric)


def tables_for(spec: ExposureSpec) -> tuple[HistoryTable, ...]:
    """Return the files that say something about an exposure, the required ones first."""
    tables = [
        _spot(spec.underlying),
        _vol_index(),
        _perpetual(spec.underlying),
        funding_table(spec.underlying),
        _stable_pool(),
        *(_spot(other, is_required=False) for other in UNDERLYINGS if other != spec.underlying),
        *(funding_table(other) for other in UNDERLYINGS if other != spec.underlying),
        _stablecoin_flow(),
        _index("SPX", "spy_close", "S&P 500, daily close of the fund SPY x 10", times=_SPY_TO_SPX),
        _index("VIX", "vix_close", "VIX, daily close (Cboe)"),
        *(_releases(subject, event) for subject, event in _RELEASES.items()),
        _gas(),
    ]
    if spec.pool in _V2_FILES:
        tables.append(_v2_pool(spec.pool))
    return tuple(tables)


def spot_key(underlying: str) -> SeriesKey:
    return SeriesKey(Metric.PRICE_USD, underlying, SPOT_SOURCE)


def column_of(rows: Rows, values: FloatArray) -> Column:
    return Column(times_s=rows["at_s"], values=values)


def _spot(underlying: str, *, is_required: bool = True) -> HistoryTable:
    return HistoryTable(
        file=f"{underlying.lower()}_usdt_spot_1h_binance",
        what=f"{underlying} spot price, hourly close, USDT taken as USD (Binance)",
        positive=("close",),
        step_s=HOUR_S,
        shift_s=_HOUR_END_S,
        series=lambda rows: {spot_key(underlying): rows["close"]},
        without="no price of the underlying" if is_required else f"no {underlying} price (its S24, S14, S20)",
        is_required=is_required,
    )


def _vol_index() -> HistoryTable:
    return HistoryTable(
        file="btc_dvol_1h_deribit",
        what="BTC 30-day implied volatility index DVOL, hourly close (Deribit)",
        positive=("close",),
        step_s=HOUR_S,
        shift_s=_HOUR_END_S,
        series=lambda rows: {DVOL_KEY: rows["close"] / 100.0},
        without="no implied volatility, so no option can be priced",
        is_required=True,
    )


def _perpetual(underlying: str) -> HistoryTable:
    # Named to sort after the spot source: the first of a price's sources is the primary one.
    key = SeriesKey(Metric.PRICE_USD, underlying, "binance:usdm-perp")
    return HistoryTable(
        file=f"{underlying.lower()}_usdt_perp_1h_binance",
        what=f"{underlying} perpetual price, hourly close, checked against spot; of the same exchange, "
        "so R2 cannot fire on the two of them (Binance)",
        positive=("close",),
        step_s=HOUR_S,
        shift_s=_HOUR_END_S,
        series=lambda rows: {key: rows["close"]},
        without="no perpetual price to check spot against (R2 HOLD)",
    )


def funding_table(underlying: str) -> HistoryTable:
    key = SeriesKey(Metric.FUNDING_APR, underlying, "binance")
    return HistoryTable(
        file="perp_funding_multi",
        what=f"{underlying} perpetual funding every 8 h, as a yearly rate (Binance)",
        keep={"exchange": "binance", "asset": underlying},
        any_sign=("rate",),
        step_s=8 * HOUR_S,
        shift_s=0,
        series=lambda rows: {key: rows["rate"] * _FUNDINGS_A_YEAR},
        without=f"no funding signal of {underlying} (S10)",
    )


def _stable_pool() -> HistoryTable:
    def series(rows: Rows) -> Mapping[SeriesKey, FloatArray]:
        # Both tokens have 6 decimals. The sum that moves the price 2 % is taken as if the active
        # liquidity reached that far; S4 compares it with its own median, so only its change counts.
        depth_usd = rows["liquidity"] * _TWO_PERCENT_UP / 1e6
        # Its price is no PRICE_USD of USDC: S4 and S6 would be two votes of one pool's spot, where R1 wants
        # different sources, and S5 wants two kinds of them.
        return {
            SeriesKey(Metric.POOL_DEPTH_USD, STABLE_POOL, "pool"): depth_usd,
            SeriesKey(Metric.POOL_PRICE_USD, STABLE_POOL, "pool"): np.power(1.0001, rows["tick"]),
        }

    return HistoryTable(
        file="uniswapv3_usdc_usdt_1h",
        what="Uniswap v3 USDC/USDT 0.01 % pool: price, and active liquidity as a stand-in for depth",
        not_negative=("liquidity",),
        any_sign=("tick",),
        step_s=HOUR_S,
        shift_s=0,  # the state at the first block of the hour
        series=series,
        without="no stable-pool depth and imbalance (S3, S4)",
    )


def _stablecoin_flow() -> HistoryTable:
    def prepare(rows: Rows) -> Rows:
        # A change over more than a day is no day's flow: unknown, as is the first row's.
        change = np.diff(np.sum([rows[name] for name in _STABLECOINS], axis=0), prepend=np.nan)
        is_day = np.diff(rows["at_s"], prepend=-np.inf) <= DAY_S
        return {"at_s": rows["at_s"], "flow_usd": np.where(is_day, change, np.nan)}

    return HistoryTable(
        file="stablecoin_mcap_daily",
        what="issuance of USDT, USDC and BUSD: daily change of their market value",
        positive=_STABLECOINS,
        step_s=DAY_S,
        shift_s=DAY_S,
        series=lambda rows: {SeriesKey(Metric.FLOW_USD_1D, "stablecoins", "market-value"): rows["flow_usd"]},
        without="no stablecoin issuance (S23)",
        prepare=prepare,
    )


def _index(subject: str, column: str, what: str, *, times: float = 1.0) -> HistoryTable:
    return HistoryTable(
        file="vix_spx_daily",
        what=what,
        positive=(column,),
        may_be_blank=True,
        step_s=_LONGEST_BREAK_S,
        shift_s=_NEW_YORK_CLOSE_S,
        series=lambda rows: {SeriesKey(Metric.INDEX_CLOSE, subject, "daily-close"): rows[column] * times},
        without=f"no close of {subject}" + (" (S20)" if subject == "SPX" else ""),
    )


def _releases(subject: str, event: str) -> HistoryTable:
    """The calendar as it was known: each release names the one after it, which is published far ahead."""

    def prepare(rows: Rows) -> Rows:
        return {"at_s": rows["at_s"][:-1], "next_s": rows["at_s"][1:]}

    return HistoryTable(
        file="macro_events_us",
        what=f"times of {subject} releases (BLS and Federal Reserve schedules), without the figures",
        keep={"event": event},
        step_s=_LONGEST_WAIT_S,
        stands_s=_LONGEST_WAIT_S,
        shift_s=0,
        series=lambda rows: {SeriesKey(Metric.MACRO_RELEASE_S, subject, "calendar"): rows["next_s"]},
        without=f"no {subject} calendar (S19)",
        prepare=prepare,
    )


def _gas() -> HistoryTable:
    """What orders cost, not a signal: S8 reads what priority paid, and a day's mean price is not that."""
    return HistoryTable(
        file="eth_gas_price_daily",
        what="mainnet gas price, daily mean in gwei (Etherscan), which moves what orders cost",
        positive=("gas_gwei_avg",),
        step_s=DAY_S,
        shift_s=DAY_S,
        series=lambda rows: {
            SeriesKey(Metric.BASE_FEE_GWEI, str(_MAINNET), "daily-mean"): rows["gas_gwei_avg"]
        },
        without="no gas price: orders cost the model's gas",
    )


def _v2_pool(pool: str) -> HistoryTable:
    """Liquidity and reserves. The price is not read: the only oracle here is an hourly close, up to an hour
    away from it, and S3 would take the market's move of that hour for an imbalance of the pool.
    """

    def series(rows: Rows) -> Mapping[SeriesKey, FloatArray]:
        quote_usd = rows["reserve0"]
        measures = {
            Metric.POOL_LIQUIDITY: rows["totalSupply"],
            Metric.POOL_QUOTE_USD: quote_usd,
            Metric.POOL_QUOTE_NEAR_USD: quote_usd * _TWO_PERCENT_DOWN,
            Metric.POOL_DEPTH_USD: quote_usd * _TWO_PERCENT_UP,
        }
        return {SeriesKey(metric, pool, "pool"): values for metric, values in measures.items()}

    return HistoryTable(
        file=_V2_FILES[pool],
        what="Uniswap v2 pool of the exposure: reserves and LP supply about every 4 h, not its price (S3)",
        positive=("reserve0", "reserve1", "totalSupply"),
        step_s=6 * HOUR_S,
        shift_s=0,
        series=series,
        without="no liquidity flow and depth of the pool (S1, S2, S4)",
    )
