"""What was observed: blocks, observations, their columns, and the frame a decision is made on."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from functools import lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from bot.model.base_layers import NOTHING_STATED, BaseHoldings

if TYPE_CHECKING:
    from bot.model.exposure import Exposure
    from bot.model.hedge import HeldCondor, HeldHedge, Quote, Spend
    from bot.model.perpetual import HeldPerpetual, PerpetualOrder, PerpetualQuote

FloatArray: TypeAlias = NDArray[np.float64]


class Metric(StrEnum):
    """What an observation measures. The unit is part of the name or of the comment."""

    PRICE_USD = "price_usd"  # subject: asset symbol ("ETH", "sUSD"); one column per source
    POOL_PRICE_USD = "pool_price_usd"  # subject: pool id; spot price of the underlying in the pool
    POOL_LIQUIDITY = "pool_liquidity"  # subject: pool id; v2 LP supply, v3 sum of position liquidity
    POOL_QUOTE_USD = "pool_quote_usd"  # subject: pool id; all quote-side reserves
    POOL_QUOTE_NEAR_USD = "pool_quote_near_usd"  # subject: pool id; quote reserves within 2 % of price
    POOL_DEPTH_USD = "pool_depth_usd"  # subject: pool id; USD that moves the price by 2 %
    # Whole tokens held, price-free; subject: "<pool, vault or bridge>/<token>"
    TOKEN_UNITS = "token_units"  # noqa: S105 - a token in the other sense
    FUNDING_APR = "funding_apr"  # subject: underlying; fraction a year, positive = a long pays
    IV_7D = "iv_7d"  # subject: underlying; at-the-money implied vol at constant maturity, fraction a year
    IV_30D = "iv_30d"
    IV_90D = "iv_90d"
    VOL_INDEX = "vol_index"  # subject: underlying; DVOL-like index, fraction a year
    VOL_OF_VOL = "vol_of_vol"  # subject: underlying; how unsteady that index is, over its usual (ratio)
    # subject: underlying; put-call parity: widest gap between a call and a put of one strike and expiry and
    # the discounted forward, over its whole cost; positive = the call is dear
    PARITY_GAP = "parity_gap"
    REALISED_VOL = "realised_vol"  # subject: underlying; of a pool's own observations, fraction a year
    # Pools and vaults
    POOL_SHARE = "pool_share"  # subject: "<pool>/<token>"; share of the pool's value, fraction
    VIRTUAL_PRICE = "virtual_price"  # subject: pool; LP token in the pool's own unit; falling is a loss
    EXCHANGE_RATE = "exchange_rate"  # subject: "<token>/<unit>"; e.g. a vault share in its asset
    IDLE_UNITS = "idle_units"  # subject: "<vault or market>/<token>"; can be withdrawn at once
    BRIDGE_COVERAGE = "bridge_coverage"  # subject: bridge; locked / minted, fraction
    # Lending
    SUPPLY_APR = "supply_apr"  # subject: "<market>/<token>"; fraction a year, not compounded
    BORROW_APR = "borrow_apr"
    UTILISATION = "utilisation"  # subject: "<market>/<token>"; fraction
    HEALTH_FACTOR = "health_factor"  # subject: position; inf is written as 1e6
    # The book's own figures, subject: hedge group ("ETH/USDC"); rates are fractions a year
    HEDGE_MARK_USD = "hedge_mark_usd"  # what its hedges are worth: a sale now, else the model
    LP_FEE_APR = "lp_fee_apr"  # fee income over value
    HEDGE_COST_APR = "hedge_cost_apr"  # what the hedge cost over the value it protects, negative earned
    HEDGED_IRR = "hedged_irr"  # of the hedged position, effective; or, subject: bridge, of locked liquidity
    # Chain
    BASE_FEE_GWEI = "base_fee_gwei"  # subject: chain id
    PRIORITY_FEE_GWEI = "priority_fee_gwei"  # subject: chain id; a high percentile of what was paid
    SANDWICH_SHARE = "sandwich_share"  # subject: pool; share of volume that was sandwiched, fraction
    SEQUENCER_UP = "sequencer_up"  # subject: chain id; 1 up past its grace, 0 down or within it
    # Admin events, subject: contract label. PAUSED is a state (1 paused); the others count events in a
    # trailing window of blocks.
    PAUSED = "paused"
    UPGRADED = "upgraded"
    OWNERSHIP_CHANGED = "ownership_changed"
    ROLE_CHANGED = "role_changed"
    # From HTTP sources and files
    VOLUME_USD_1D = "volume_usd_1d"  # subject: pool id; traded in the 24 h before
    TVL_USD = "tvl_usd"  # subject: protocol; falls when prices fall, so it only confirms
    OPEN_INTEREST_USD = "open_interest_usd"  # subject: underlying
    MARKET_CAP_USD = "market_cap_usd"  # subject: token
    FEES_USD_1D = "fees_usd_1d"  # subject: protocol; paid by users in 24 h
    REVENUE_USD_1D = "revenue_usd_1d"  # subject: protocol; kept by it
    FLOW_USD_1D = "flow_usd_1d"  # subject: "ETF:ETH", "stablecoins"; positive is money coming in
    INDEX_CLOSE = "index_close"  # subject: "SPX", "VIX"; daily close in its own points
    MACRO_PRINT = "macro_print"  # subject: "CPI", "PPI", "GDP"; year on year, GDP annualised, fraction
    MACRO_CONSENSUS = "macro_consensus"  # subject: as MACRO_PRINT; expected before the print, fraction
    MACRO_RELEASE_S = "macro_release_s"  # subject: "CPI", "PPI", "GDP", "FOMC"; time of the next, epoch s


class SeriesKey(NamedTuple):
    """Names one column: what, of whom, from where."""

    metric: Metric
    subject: str
    source: str

    def __str__(self) -> str:
        return f"{self.metric}:{self.subject}@{self.source}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """A block header, as much of it as a decision rests on."""

    chain_id: int
    number: int
    hash: str
    parent_hash: str
    timestamp_s: int
    base_fee_wei: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Observation:
    """One measured value. ``value`` is NaN where the read failed, and ``why_unknown`` says why."""

    metric: Metric
    subject: str
    source: str
    value: float
    observed_at_s: float  # the source's clock
    read_at_s: float  # ours
    block_number: int | None = None
    why_unknown: str = ""

    @property
    def key(self) -> SeriesKey:
        return SeriesKey(self.metric, self.subject, self.source)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Column:
    """Trailing observations of one series, oldest first. NaN marks a read that failed.

    ``memo`` may hold what was worked out from closed bars. It belongs to whoever keeps the series and lives
    from frame to frame: rows may only be added at the end while it does. It never changes a result.
    """

    times_s: FloatArray
    values: FloatArray
    memo: dict[Any, Any] | None = field(default=None, repr=False)

    def until(self, now_s: float) -> "Column":
        """Return the part observed at or before ``now_s``."""
        if not self.times_s.size or self.times_s[-1] <= now_s:
            return self
        end = int(self.times_s.searchsorted(now_s, side="right"))
        return Column(times_s=self.times_s[:end], values=self.values[:end], memo=self.memo)

    def since(self, start_s: float) -> "Column":
        """Return the part observed after ``start_s``."""
        if not self.times_s.size or self.times_s[0] > start_s:
            return self
        start = int(self.times_s.searchsorted(start_s, side="right"))
        return Column(times_s=self.times_s[start:], values=self.values[start:], memo=self.memo)

    def last_known(self) -> int:
        """Return the position of the last finite value, -1 when there is none."""
        size = self.values.size
        if size and math.isfinite(self.values[-1]):
            return size - 1
        known = np.flatnonzero(np.isfinite(self.values))
        return int(known[-1]) if known.size else -1


EMPTY_COLUMN = Column(times_s=np.empty(0), values=np.empty(0))


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Columns:
    """All series that are configured. A key with an empty column is configured but has no rows yet."""

    series: Mapping[SeriesKey, Column]
    _found: dict[tuple[Metric, str | None], tuple[SeriesKey, ...]] = field(
        default_factory=dict, init=False, repr=False
    )

    def find(self, metric: Metric, subject: str | None = None) -> tuple[SeriesKey, ...]:
        """Return the matching keys in a stable order; empty means no source is configured (absent)."""
        if not self._found and self.series:
            self._found.update(_by_metric(tuple(self.series)))
        return self._found.get((metric, subject), ())

    def __getitem__(self, key: SeriesKey) -> Column:
        return self.series.get(key, EMPTY_COLUMN)

    def latest(self, metric: Metric, subject: str) -> tuple[float, float]:
        """Return the newest known (value, observed_at_s) over all sources, NaN and -inf when none."""
        best = (float("nan"), float("-inf"))
        for key in self.find(metric, subject):
            column = self.series[key]
            last = column.last_known()
            if last >= 0 and column.times_s[last] > best[1]:
                best = (float(column.values[last]), float(column.times_s[last]))
        return best


@lru_cache(maxsize=64)  # frame after frame has the same series
def _by_metric(keys: tuple[SeriesKey, ...]) -> Mapping[tuple[Metric, str | None], tuple[SeriesKey, ...]]:
    """Return the keys of each metric, and of each of its subjects, in order."""
    found: dict[tuple[Metric, str | None], list[SeriesKey]] = {}
    for key in sorted(keys):
        for subject in (None, key.subject):
            found.setdefault((key.metric, subject), []).append(key)
    return {place: tuple(each) for place, each in found.items()}


def columns_from(observations: Iterable[Observation]) -> Columns:
    """Return observations as columns, sorted by source time (stable for equal times)."""
    rows: dict[SeriesKey, list[tuple[float, float]]] = {}
    for item in observations:
        rows.setdefault(item.key, []).append((item.observed_at_s, item.value))
    series = {}
    for key, pairs in rows.items():
        table = np.array(sorted(pairs, key=lambda pair: pair[0]), dtype=np.float64)
        series[key] = Column(times_s=table[:, 0], values=table[:, 1])
    return Columns(series=series)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Frame:
    """Everything one decision may look at. Nothing else, and no clock, reaches the engine."""

    now_s: float
    blocks: Mapping[int, Block]
    columns: Columns
    exposures: tuple["Exposure", ...]
    held: tuple["HeldHedge", ...] = ()
    condors: tuple["HeldCondor", ...] = ()  # sold by R16's overlay
    perpetuals: tuple["HeldPerpetual", ...] = ()
    quotes: Sequence["Quote"] = ()
    perpetual_quotes: tuple["PerpetualQuote", ...] = ()
    perpetual_orders: tuple["PerpetualOrder", ...] = ()  # without a final outcome: they may still be filled
    pair_venues: tuple[str, ...] | None = None  # that fill options in two parts (R27); None: any would
    spends: tuple["Spend", ...] = ()
    holds: tuple[str, ...] = field(default=())  # reasons why nothing new may be opened
    unseen: tuple[str, ...] = field(default=())  # positions that were not read once: not to be taken as gone
    base: BaseHoldings = NOTHING_STATED  # reserves, covers and loans that a user states (R20, R21)
    open_legs: tuple[str, ...] = ()  # keys of legs whose layer waits: no final outcome, or refused just now
