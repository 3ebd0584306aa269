"""What became of a position that is to be settled and that somebody else, or a person, ended before us."""

from bot.model.execution import Ended
from bot.model.hedge import HedgeLeg, OptionType
from bot.model.market import Block
from bot.model.units import WAD_DECIMALS
from bot.venues.lyra_reads import (
    OPTION_TYPES,
    STATE_ACTIVE,
    STATE_EMPTY,
    STATE_SETTLED,
    LyraReads,
    OptionPosition,
    wad,
)

BY_OTHERS = "settled by somebody else"
BY_HAND = "closed or moved by hand; nothing to settle"


async def read_end(
    reads: LyraReads, leg: HedgeLeg, *, account: str, head: Block, settlement_usd: float
) -> Ended | None:
    """Return how the position of a SETTLE leg ended, None while it is still the account's to settle."""
    if not leg.position_id.isdecimal():
        return None
    position = await reads.position(int(leg.position_id), head)
    if position.state == STATE_SETTLED:
        payoff_raw = await _payoff_raw(reads, position, head)
        return Ended(
            size=wad(position.amount_raw),
            payoff_usd=wad(payoff_raw) * settlement_usd,
            block_number=head.number,
            because=BY_OTHERS,
        )
    expired = head.timestamp_s >= leg.instrument.expiry_s
    if position.state == STATE_EMPTY or not expired:  # never was, or still has to be sold and not settled
        return None
    if position.state == STATE_ACTIVE and position in await reads.positions(account, head):
        return None
    return Ended(size=leg.size, payoff_usd=0.0, block_number=head.number, because=BY_HAND, by_hand=True)


async def _payoff_raw(reads: LyraReads, position: OptionPosition, head: Block) -> int:
    terms = (await reads.terms([position.strike_id], head))[position.strike_id]
    inner = terms.strike.price_raw - terms.settlement_raw
    if OPTION_TYPES[position.type_code] is OptionType.CALL:
        inner = -inner
    # ShortCollateral._sendLongPutProceeds: (strike - price).multiplyDecimal(amount), rounded down.
    return max(inner, 0) * position.amount_raw // int(10**WAD_DECIMALS)
