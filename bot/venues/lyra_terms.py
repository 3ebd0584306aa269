"""How Lyra is traded by this program, and the small values its adapter passes around."""

from dataclasses import dataclass

from bot.chain.fees import FeePolicy
from bot.model.hedge import Instrument, OptionType
from bot.ports import MarketView
from bot.venues.lyra_reads import TYPE_CODES, Board, Strike
from bot.venues.prices import Money, Prices, prices_of
from bot.venues.settlement import StablePair

# The last 20 bytes of keccak256("alvh quote"): nobody holds its key, and nothing is ever sent to it.
QUOTING_ADDRESS = "0xcdd2b6f66b5b794f7ba8d905390d6a82f9e09ace"
MAX_COST_RAW = 2**127


@dataclass(frozen=True, slots=True, kw_only=True)
class GasUse:
    """Gas of each action, measured on the real contracts with four boards of 14 strikes."""

    buy: int = 1_600_000  # both approvals, swap, openPosition, revoke
    sell: int = 1_050_000  # closePosition, approval and swap back
    settle: int = 1_700_000  # settleExpiredBoard, settleOptions, approval and swap back

    @property
    def least_ceiling(self) -> int:
        """Return a gas limit under which each transaction of a leg fits, on boards of that size.

        That is all of the leg's gas, a quarter more for what is refunded only at its end (EIP-3529 allows a
        fifth of the gas used), and the quarter that a limit has over its estimate.
        """
        return max(self.buy, self.sell, self.settle) * 25 // 16


@dataclass(frozen=True, slots=True, kw_only=True)
class LyraTerms:
    """How this venue is traded; nothing here is read from the chain."""

    name: str = "lyra"
    underlying: str = "ETH"
    base_key: str = "sETH"  # what the market itself must say its underlying is
    option_types: tuple[OptionType, ...] = tuple(OptionType)  # which are listed for sale to us
    max_abs_delta: float = 1.0  # options deeper in the money are not quoted
    iterations: int = 1  # sub-orders of a trade; more cost less premium and more gas
    lot: float = 0.01
    cost_buffer_bps: int = 100  # over the quoted cost, never over the leg's limit
    # A leg re-quotes and keeps to its limit when it is sent, and one purchase of five transactions takes
    # about 108 s on a chain of 12 s blocks at two confirmations: longer than any sane ``orders.valid_for``,
    # so that this is what bounds a leg and a plan's second leg has its time too.
    quote_ttl_s: float = 900.0
    parallel: int = 16  # eth_calls in flight
    priority_fee_wei: int = 10**9  # tip that is expected
    tip_cap_wei: int = FeePolicy().tip_max_wei  # tip that is reserved
    gas: GasUse = GasUse()


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """An option that is listed and has no quote, or no executable one."""

    instrument: Instrument
    because: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Execution:
    """What a trade would do at one block."""

    cost_raw: int  # paid for a purchase, received for a sale; fee included
    fee_raw: int
    forced: bool = False


def trade_input(
    strike_id: int,
    position_id: int,
    kind: OptionType,
    amount_raw: int,
    *,
    iterations: int,
    bounds_raw: tuple[int, int] = (0, MAX_COST_RAW),
) -> tuple[int, ...]:
    """Return OptionMarket.TradeInputParameters of a long trade; ``bounds_raw`` is (least, most) cost."""
    return (strike_id, position_id, iterations, TYPE_CODES[kind], amount_raw, 0, *bounds_raw)


def instrument_of(board: Board, strike: Strike, kind: OptionType, terms: LyraTerms, asset: str) -> Instrument:
    return Instrument(
        venue=terms.name,
        id=f"strike:{strike.id}",
        underlying=terms.underlying,
        option_type=kind,
        strike_usd=strike.usd,
        expiry_s=board.expiry_s,
        settlement=asset,
    )


def prices_in(view: MarketView, *, terms: LyraTerms, pair: StablePair) -> Prices:
    """Return the prices of a view that this market's quotes and marks are made of."""
    return prices_of(view, money_of(terms, pair), underlying=terms.underlying)


def money_of(terms: LyraTerms, pair: StablePair) -> Money:
    return Money(
        settlement=pair.settlement,
        stable=pair.stable,
        priority_fee_wei=terms.priority_fee_wei,
        tip_cap_wei=terms.tip_cap_wei,
    )
