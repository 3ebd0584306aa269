"""How Panoptic v2 is traded by this program, and the small values its adapter passes around.

Only puts are bought: tokenType is the cash token, sizes count in the underlying. A perpetual option has no
premium up front; its cost streams while the price is in the option's range. What is booked as the premium is
the money that is put aside for that stream: it is deposited as collateral beyond the margin, melts as the
stream is owed, and what is left of it comes back with the payoff. So an option costs here what it is expected
to cost over its effective life, as anywhere else.
"""

import math
from dataclasses import dataclass

from bot.model.hedge import ExerciseStyle, Instrument, OptionType, StrikeMode
from bot.model.units import DAY_S, USDC_DECIMALS, WAD_DECIMALS, YEAR_DAYS
from bot.venues.option_terms import OptionGas, OptionTerms
from bot.venues.panoptic_token_id import Leg, TokenId, price_of_tick
from bot.venues.prices import Prices

RATIO_UNIT = 10_000_000  # of Panoptic's collateral ratios
BPS = 10_000
Pair = tuple[int, int]  # raw amounts of (underlying, cash)


@dataclass(frozen=True, slots=True, kw_only=True)
class PanopticContracts:
    """Addresses of one pool, as its deployment lists them. *Unit* is the underlying, *cash* the stable."""

    pool: str  # PanopticPool
    uniswap_pool: str
    unit_token: str
    cash_token: str
    unit_tracker: str  # CollateralTracker of each
    cash_tracker: str
    router: str  # Uniswap v3 SwapRouter: buys the little of the underlying that premium is also owed in
    cash: str = "USDC"
    unit: str = "WETH"
    unit_decimals: int = WAD_DECIMALS
    cash_decimals: int = USDC_DECIMALS

    @property
    def unit_index(self) -> int:
        """Return 0 where the underlying is Uniswap's token0, else 1."""
        return int(int(self.unit_token, 16) > int(self.cash_token, 16))

    def ordered(self, pair: Pair) -> Pair:
        """Turn (token0, token1) into (underlying, cash), or back."""
        return pair if self.unit_index == 0 else (pair[1], pair[0])

    def price_of_tick(self, tick: float) -> float:
        """Return cash of one underlying, whole units."""
        decimals = self.ordered((self.unit_decimals, self.cash_decimals))
        price = price_of_tick(tick, decimals0=decimals[0], decimals1=decimals[1])
        return price if self.unit_index == 0 else 1.0 / price

    def worth_usd(self, pair: Pair, prices: Prices) -> float:
        """Return what raw (underlying, cash) are worth; either may be negative."""
        unit = float(pair[0] / 10**self.unit_decimals)
        cash = float(pair[1] / 10**self.cash_decimals)
        return unit * prices.spot_usd + cash * prices.settlement_usd


@dataclass(frozen=True, slots=True, kw_only=True)
class PanopticGas(OptionGas):
    """Gas of each action; of a dispatch what venues.md measured on the protocol's own code."""

    buy: int = 2_000_000  # approvals, swap, both deposits, dispatch, revocations
    sell: int = 1_500_000  # dispatch with its swap, both withdrawals
    dispatch_ceiling: int = 4_000_000
    deposit_ceiling: int = 400_000
    withdraw_ceiling: int = 1_500_000
    swap_ceiling: int = 600_000

    @property
    def least_ceiling(self) -> int:
        return self.dispatch_ceiling


@dataclass(frozen=True, slots=True, kw_only=True)
class PanopticTerms(OptionTerms):
    """How this venue is traded."""

    name: str = "panoptic"
    option_types: tuple[OptionType, ...] = (OptionType.PUT,)  # wanted: without puts nothing is listed
    from_block: int = 0  # where the pool was deployed: options are found by its events from here
    assumed_iv: float = 0.8  # volatility that effective life and expected premium are reckoned with, a year
    prepaid: float = 1.0  # money put aside for premium, over what is expected in the effective life
    min_dte: float = 1.0  # effective life of what is listed, days
    max_dte: float = 120.0
    max_moneyness: float = 0.5  # strikes further than this from the spot are not listed, fraction
    buyer_ratio: int = 1_000_000  # margin of a bought option over its notional, of 10,000,000
    buffer: int = 10_666_667  # what margin is multiplied with at a purchase; under other rules none is bought
    max_spread: float = 2.0  # bought over still sold liquidity of a chunk, after our purchase; Panoptic's: 9
    slippage_ticks: int = 50  # either way of where a dispatch should end, about 0.5 %
    swap_slippage_bps: int = 50
    rescan_blocks: int = 256  # newest blocks whose events are read again, in case they were reorganised
    parallel: int = 8
    gas: PanopticGas = PanopticGas()


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class Chunk:
    """Where options lie: a strike and a width of one pool. Ticks are Uniswap's."""

    strike: int
    width: int

    @property
    def id(self) -> str:
        return f"put:{self.strike}:{self.width}"

    def token_id(self, pool_id: int, *, unit_index: int, ratio: int) -> TokenId:
        """Return the bought put on it; positions of one account differ by their ratio."""
        leg = Leg(
            strike=self.strike,
            width=self.width,
            is_long=True,
            token_type=1 - unit_index,
            asset=unit_index,
            ratio=ratio,
        )
        return TokenId(pool_id=pool_id, legs=(leg,))

    def ticks(self, tick_spacing: int) -> tuple[int, int]:
        span = self.width * tick_spacing
        return self.strike - span // 2, self.strike + span - span // 2


def limits_of(tick: int, end: int, *, slack: int, spread: int, swaps: bool = True) -> tuple[int, int, int]:
    """Return a dispatch's limits: the tick after it lies within ``slack`` of where it starts and should end.

    Descending, so that what is in the money is swapped in the same call, or ascending.
    """
    low, high = min(tick, end) - slack - 1, max(tick, end) + slack + 1
    return (high, low, spread) if swaps else (low, high, spread)


def effective_days(width: int, *, tick_spacing: int, iv: float) -> float:
    """Return the days to expiry of the European option that a chunk of this width behaves like.

    G. Lambert's equivalence of Uniswap liquidity and perpetual options ("Uniswap V3 LP tokens as perpetual
    put and call options", 2021), by equal gamma at the strike: liquidity that is worth one underlying has
    gamma 1 / (2 K (r^1/2 - r^-1/2)), where the range is from K/r to K r; the option has
    1 / (K s (2 pi T)^1/2), so that T = 2 (r^1/2 - r^-1/2)^2 / (pi s^2).
    """
    root = 1.0001 ** (width * tick_spacing / 4)
    return float(2.0 * (root - 1.0 / root) ** 2 / (math.pi * iv * iv) * YEAR_DAYS)


def instrument_of(
    chunk: Chunk, *, tick_spacing: int, now_s: float, contracts: PanopticContracts, terms: PanopticTerms
) -> Instrument:
    """Return a chunk's put as it is listed now."""
    days = effective_days(chunk.width, tick_spacing=tick_spacing, iv=terms.assumed_iv)
    return Instrument(
        venue=terms.name,
        id=chunk.id,
        underlying=terms.underlying,
        option_type=OptionType.PUT,
        strike_usd=contracts.price_of_tick(chunk.strike),
        expiry_s=round(now_s + days * DAY_S),
        settlement=contracts.cash,
        style=ExerciseStyle.PERPETUAL,
        strike_mode=StrikeMode.RANGE,
        closes_whole=True,
    )
