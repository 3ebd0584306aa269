"""How Lyra is traded by this program, and the small values its adapter passes around."""

from dataclasses import dataclass

from bot.model.hedge import Instrument, OptionType
from bot.venues.lyra_reads import TYPE_CODES, Board, Strike
from bot.venues.option_terms import OptionGas, OptionTerms

MAX_COST_RAW = 2**127


@dataclass(frozen=True, slots=True, kw_only=True)
class LyraGas(OptionGas):
    """Gas of each action, measured on the real contracts with four boards of 14 strikes."""

    buy: int = 1_600_000  # both approvals, swap, openPosition, revoke
    sell: int = 1_050_000  # closePosition, approval and swap back
    settle: int = 1_700_000  # settleExpiredBoard, settleOptions, approval and swap back


@dataclass(frozen=True, slots=True, kw_only=True)
class LyraTerms(OptionTerms):
    """How this venue is traded."""

    name: str = "lyra"
    base_key: str = "sETH"  # what the market itself must say its underlying is
    max_abs_delta: float = 1.0  # options deeper in the money are not quoted
    iterations: int = 1  # sub-orders of a trade; more cost less premium and more gas
    cost_buffer_bps: int = 100  # over the quoted cost, never over the leg's limit
    parallel: int = 16  # eth_calls in flight
    gas: LyraGas = LyraGas()


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
