"""One LP position as its pool has it: amounts in its own tokens, and in USD only where a price is known."""

import math
from dataclasses import dataclass

from bot.model.exposure import ExposureKind, LpShape

FULL_RANGE_TICK = 887_000  # every tick spacing up to 200 puts its last usable tick at or past this one


@dataclass(frozen=True, slots=True, kw_only=True)
class LpToken:
    """A token of a pool. ``symbol`` is what the token says of itself: printable, cut, never proof."""

    symbol: str
    address: str  # 0x0000000000000000000000000000000000000000 is the chain's own coin (v4)
    decimals: int


@dataclass(frozen=True, slots=True, kw_only=True)
class TickRange:
    """Where a position lies on the pool's own scale, turned so that a higher tick is a higher price."""

    tick: int
    lower: int
    upper: int

    @property
    def contains(self) -> bool:
        return self.lower <= self.tick < self.upper

    @property
    def turned(self) -> "TickRange":
        """The same place on the scale of the other price: token0 in token1 and the other way round."""
        return TickRange(tick=-self.tick - 1, lower=-self.upper, upper=-self.lower)

    @property
    def is_full(self) -> bool:
        return self.lower <= -FULL_RANGE_TICK and self.upper >= FULL_RANGE_TICK


@dataclass(frozen=True, slots=True, kw_only=True)
class Deposits:
    """What was put in and is still in: each withdrawal takes its share of both tokens off.

    All amounts are whole tokens. NaN is unknown, and ``why_unknown`` says why.
    """

    units: float = math.nan  # base token
    quote: float = math.nan
    entry_value: float = math.nan  # in quote tokens, each deposit at the price of its own block
    liquidity: float = math.nan  # of the deposits alone, as LpShape counts; v2 fees make it grow
    fees_units: float = math.nan  # v3: fees collected so far
    fees_quote: float = math.nan
    # v3: fees collected in the last 30 days less what was uncollected when they began; with what is
    # uncollected now this is the income of 30 days.
    month_units: float = math.nan
    month_quote: float = math.nan
    since_s: float = math.nan  # block time of the first deposit
    source: str = ""  # "logs", "entry price 2500"
    why_unknown: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class V4PoolKey:
    """What names a v4 pool beside its tokens."""

    pool_manager: str
    fee: int  # millionths of the input; 8388608 where the hook sets it
    tick_spacing: int
    hooks: str  # the zero address: none


@dataclass(frozen=True, slots=True, kw_only=True)
class LpPosition:
    """One position at one block. Prices are quote tokens per base token, like the range of ``shape``."""

    id: str  # "v3:1", "v2:0x…", "v4:7"
    kind: ExposureKind
    protocol: str  # "uniswap-v3"
    chain_id: int
    pool: str  # label, "v3:ETH/USDC"
    pool_address: str  # v4: pool id
    fee: float  # of a swap, fraction; NaN: unknown, or set by a hook
    owner: str  # who may withdraw: of a staked position, whom the staker names
    staker: str = ""  # contract that holds it for the owner
    staker_pool: int | None = None  # v2 with a MasterChef: its pid
    base: LpToken
    quote: LpToken
    shape: LpShape
    liquidity_raw: int  # as the contracts count it; v2: LP tokens
    ticks: TickRange | None = None  # None: v2
    v4_key: V4PoolKey | None = None  # None: v2, v3
    spot: float
    units: float  # base tokens held, fees left out (v2: they are part of what is held)
    quote_units: float
    value: float  # quote tokens
    fees_units: float = math.nan  # uncollected; NaN: unknown
    fees_quote: float = math.nan
    why_no_fees: str = ""
    deposits: Deposits = Deposits(why_unknown="not looked for")
    quote_usd: float = math.nan  # USD per quote token
    usd_source: str = ""  # where the price is from, or why there is none

    @property
    def in_range(self) -> bool:
        return self.ticks.contains if self.ticks is not None else True

    @property
    def distance_lower(self) -> float:
        """As ``LpShape.distance_lower``."""
        return 1.0 if self._is_full else self.shape.distance_lower(self.spot)

    @property
    def distance_upper(self) -> float:
        """As ``LpShape.distance_upper``."""
        return math.inf if self._is_full else self.shape.distance_upper(self.spot)

    @property
    def value_usd(self) -> float:
        return self.value * self.quote_usd

    @property
    def fees(self) -> float:
        """Uncollected fees in quote tokens at the pool's price."""
        return self.fees_units * self.spot + self.fees_quote

    @property
    def fees_usd(self) -> float:
        return self.fees * self.quote_usd

    @property
    def fee_income_30d(self) -> float:
        """Fees of the last 30 days in quote tokens at the pool's price; NaN: unknown, always so for v2."""
        return self.deposits.month_units * self.spot + self.deposits.month_quote + self.fees

    @property
    def _is_full(self) -> bool:
        return self.ticks is None or self.ticks.is_full
