"""Marks of held positions: the model value, and what a sale or a settlement would bring net."""

import asyncio
import math
from dataclasses import dataclass

from bot.errors import VenueRejected
from bot.model.execution import NOTHING_DUE, Due, DueAction
from bot.model.hedge import Instrument
from bot.model.market import Block
from bot.ports import VenuePosition
from bot.venues.booked import model_usd, payoff_usd
from bot.venues.lyra_quotes import LyraQuoter
from bot.venues.lyra_reads import OPTION_TYPES, LyraReads, OptionPosition, PositionTerms, wad
from bot.venues.lyra_terms import Execution, LyraTerms, instrument_of
from bot.venues.lyra_trades import LyraTrades
from bot.venues.prices import Prices
from bot.venues.settlement import SettlementSwap


@dataclass(frozen=True, slots=True, kw_only=True)
class _Marking:
    """What all marks of one frame share."""

    block: Block
    prices: Prices
    spot: float  # the market's own price of the underlying, the one it would settle at now
    share_out: float  # lost in changing proceeds back; NaN when they cannot be changed


class LyraMarks:
    """Positions of one account."""

    def __init__(
        self,
        *,
        reads: LyraReads,
        trades: LyraTrades,
        quoter: LyraQuoter,
        swap: SettlementSwap,
        terms: LyraTerms,
    ) -> None:
        self._reads = reads
        self._trades = trades
        self._quoter = quoter
        self._swap = swap
        self._terms = terms

    async def held(self, block: Block, prices: Prices, *, account: str) -> tuple[VenuePosition, ...]:
        """Return every long position of the account. Raises TransientError when they cannot be read."""
        positions = await self._reads.positions(account, block)
        if not positions:
            return ()
        terms = await self._reads.terms([item.strike_id for item in positions], block)
        gate = asyncio.Semaphore(self._terms.parallel)

        async def sale(position: OptionPosition) -> Execution | None:
            async with gate:
                return await self._sale(position, terms[position.strike_id], block)

        sales = await asyncio.gather(*map(sale, positions))
        marking = await self._marking(prices, block, [item for item in sales if item])
        return tuple(
            self._mark(position, terms[position.strike_id], execution, marking)
            for position, execution in zip(positions, sales, strict=True)
        )

    async def _sale(self, position: OptionPosition, terms: PositionTerms, block: Block) -> Execution | None:
        """Return what selling all of a position would bring, None when the market refuses or it has ended."""
        if _ended(terms, block):
            return None
        kind = OPTION_TYPES[position.type_code]
        try:
            return await self._trades.close_value(position, kind, position.amount_raw, block=block)
        except VenueRejected:
            return None

    async def _marking(self, prices: Prices, block: Block, sales: list[Execution]) -> _Marking:
        largest = max((item.cost_raw for item in sales), default=10**18)
        cost, why = await self._quoter.swap_cost(largest, block, prices)
        spot = await self._reads.spot(block)
        return _Marking(
            block=block,
            prices=prices,
            spot=spot if math.isfinite(spot) else prices.spot_usd,
            share_out=math.nan if why else cost.share_out,
        )

    def _mark(
        self, position: OptionPosition, terms: PositionTerms, sale: Execution | None, marking: _Marking
    ) -> VenuePosition:
        prices, kind = marking.prices, OPTION_TYPES[position.type_code]
        asset, size = self._swap.pair.settlement, wad(position.amount_raw)
        instrument = instrument_of(terms.board, terms.strike, kind, self._terms, asset)
        iv, ended = terms.board.iv(terms.strike), _ended(terms, marking.block)
        price = wad(terms.settlement_raw) if terms.settlement_raw else marking.spot
        if ended:
            gross = payoff_usd(instrument, price, size=size) * prices.settlement_usd
            model, gas = gross, self._terms.gas.settle
        else:
            gross = wad(sale.cost_raw) * prices.settlement_usd if sale else math.nan
            model = model_usd(
                instrument, size=size, spot_usd=prices.spot_usd, iv=iv, now_s=marking.block.timestamp_s
            )
            gas = self._terms.gas.sell
        inner = payoff_usd(instrument, price, size=size) * prices.settlement_usd
        net = gross * (1.0 - marking.share_out) - gas * prices.gas_usd
        return VenuePosition(
            id=str(position.id),
            instrument=instrument,
            size=size,
            iv=iv,
            model_usd=model,
            liquidation_usd=net if math.isnan(net) else max(net, 0.0),
            settleable=ended,
            intrinsic_usd=inner,
            marked_by="settlement price" if ended else "eth_call of the sale",
            due=_due(instrument, inner) if ended else NOTHING_DUE,
        )


def _ended(terms: PositionTerms, block: Block) -> bool:
    """Expired or settled: it can no longer be traded, and anyone may settle it."""
    return terms.settlement_raw > 0 or block.timestamp_s >= terms.board.expiry_s


def _due(instrument: Instrument, intrinsic_usd: float) -> Due:
    """Say what is due of an option that has ended: anyone may settle it, and nobody must."""
    action = DueAction.SETTLE if intrinsic_usd > 0.0 else DueAction.WORTHLESS
    return Due(action=action, from_s=float(instrument.expiry_s), because="its board has expired")
