"""Marks of held puts: what a close would bring, what the range itself pays, and when a close is due."""

import asyncio
import math

from bot.errors import VenueRejected
from bot.model.execution import NOTHING_DUE, Due, DueAction
from bot.model.market import Block
from bot.model.units import YEAR_DAYS, from_fixed
from bot.ports import VenuePosition
from bot.quant import options
from bot.venues.panoptic_plan import Closing, PanopticPlanner
from bot.venues.panoptic_reads import PanopticReads, PoolState, Position
from bot.venues.panoptic_terms import PanopticTerms, instrument_of
from bot.venues.panoptic_value import range_payoff
from bot.venues.prices import Prices

MARKED_BY = "eth_call of the close, with what is left of the premium put aside"


class PanopticMarks:
    """Positions of one account."""

    def __init__(self, *, reads: PanopticReads, planner: PanopticPlanner, terms: PanopticTerms) -> None:
        self._reads, self._planner, self._terms = reads, planner, terms
        self._contracts = reads.contracts

    async def held(self, block: Block, prices: Prices, *, account: str) -> tuple[VenuePosition, ...]:
        """Return every bought put of the account. Raises TransientError when they cannot be read."""
        positions = await self._reads.positions(account, block)
        if not positions:
            return ()
        state = await self._reads.state(block)
        gate = asyncio.Semaphore(self._terms.parallel)

        async def close(position: Position) -> Closing | None:
            async with gate:
                try:
                    return await self._planner.closing(position, positions, state, prices, block)
                except VenueRejected:
                    return None

        closings = await asyncio.gather(*map(close, positions))
        pairs = zip(positions, closings, strict=True)
        return tuple(self._mark(item, found, state, prices, block) for item, found in pairs)

    def _mark(
        self, position: Position, found: Closing | None, state: PoolState, prices: Prices, block: Block
    ) -> VenuePosition:
        c, iv = self._contracts, self._terms.assumed_iv
        size = from_fixed(position.contracts_raw, decimals=c.unit_decimals)
        instrument = instrument_of(
            position.chunk,
            tick_spacing=state.rules.tick_spacing,
            now_s=block.timestamp_s,
            contracts=c,
            terms=self._terms,
        )
        low, high = sorted(map(c.price_of_tick, position.chunk.ticks(state.rules.tick_spacing)))
        inner = float(range_payoff(c.price_of_tick(state.tick), low, high)) * size * prices.settlement_usd
        years = instrument.dte(block.timestamp_s) / YEAR_DAYS
        model = options.price(prices.spot_usd, instrument.strike_usd, years, iv, is_put=True)
        gas_usd = self._terms.gas.sell * prices.gas_usd
        due = NOTHING_DUE if found is None else self._due(position, found, prices)
        return VenuePosition(
            id=position.id,
            instrument=instrument,
            size=size,
            iv=iv,
            model_usd=float(model) * size,
            liquidation_usd=math.nan if found is None else max(found.value_usd - gas_usd, 0.0),
            settleable=due.is_for_us,
            intrinsic_usd=inner,
            marked_by="" if found is None else MARKED_BY,
            due=due,
        )

    def _due(self, position: Position, found: Closing, prices: Prices) -> Due:
        """Say that a put must be closed whose premium has used up what was put aside: next is its margin."""
        owed_usd = self._contracts.worth_usd(position.owed, prices)
        if not found.spare_usd <= owed_usd:  # also where the price is not known
            return NOTHING_DUE
        return Due(
            action=DueAction.EXERCISE,
            because=(
                f"its premium of {owed_usd:.2f} USD has used up the {max(found.spare_usd, 0.0):.2f} put "
                "aside; what streams on is taken from its margin, and it is liquidated in the end"
            ),
        )
