"""Marks of held Hegic options: there is no sale, the way out is exercise, and only before expiry."""

import math
from dataclasses import dataclass

from bot.errors import VenueRejected
from bot.model.execution import Due, DueAction
from bot.model.market import Block
from bot.model.units import from_fixed
from bot.ports import VenuePosition
from bot.venues.booked import model_usd
from bot.venues.hegic_quotes import HegicQuoter
from bot.venues.hegic_reads import TREASURY, HegicPosition, HegicReads
from bot.venues.hegic_terms import HegicTerms, bought
from bot.venues.prices import Prices


@dataclass(frozen=True, slots=True, kw_only=True)
class _Exercise:
    """What exercising a position now would do."""

    payoff_usd: float
    net_usd: float  # gas off
    refusal: str  # why it is not paid, "" when it would be

    @property
    def is_worth_it(self) -> bool:
        return self.net_usd > 0.0


class HegicMarks:
    """Positions of one account."""

    def __init__(self, *, reads: HegicReads, quoter: HegicQuoter, terms: HegicTerms) -> None:
        self._reads = reads
        self._quoter = quoter
        self._terms = terms

    async def held(self, block: Block, prices: Prices, *, account: str) -> tuple[VenuePosition, ...]:
        """Return the options that can still be exercised. One that expired is gone, whatever it was worth."""
        positions = await self._reads.positions(account, block)
        return tuple([await self._mark(item, account, block, prices) for item in positions])

    async def pay_off(self, position: HegicPosition, account: str, block: Block) -> str:
        """Run the very exercise by eth_call. Returns why it fails, "" when it is paid."""
        treasury = self._reads.contracts.treasury
        data = TREASURY.encode("payOff", position.id, account)
        try:
            await self._reads.reader.simulate(to=treasury, data=data, block=block, sender=account)
        except VenueRejected as refusal:
            return str(refusal)
        return ""

    async def _mark(
        self, position: HegicPosition, account: str, block: Block, prices: Prices
    ) -> VenuePosition:
        contracts = self._reads.contracts
        instrument = bought(
            position.strategy,
            position_id=position.id,
            spot=position.spot,
            expiry_s=position.expires_s,
            contracts=contracts,
            terms=self._terms,
        )
        left_s = position.expires_s - block.timestamp_s
        iv = await self._quoter.implied_vol(position.strategy, left_s=left_s, block=block, prices=prices)
        exercise = await self._exercise(position, account, block, prices)
        due = self._due(position, exercise, block)
        return VenuePosition(
            id=str(position.id),
            instrument=instrument,
            size=position.size,
            iv=iv,
            model_usd=model_usd(
                instrument, size=position.size, spot_usd=prices.spot_usd, iv=iv, now_s=block.timestamp_s
            ),
            liquidation_usd=math.nan if exercise.refusal else max(exercise.net_usd, 0.0),
            settleable=due.is_for_us,
            intrinsic_usd=exercise.payoff_usd,
            marked_by="eth_call of the exercise",
            due=due,
        )

    async def _exercise(
        self, position: HegicPosition, account: str, block: Block, prices: Prices
    ) -> _Exercise:
        payoff = from_fixed(position.payoff_raw, decimals=self._reads.contracts.decimals)
        payoff_usd = payoff * prices.settlement_usd
        refusal = "it is out of the money"
        if position.payoff_raw:
            refusal = await self.pay_off(position, account, block)
        return _Exercise(
            payoff_usd=payoff_usd,
            net_usd=payoff_usd - self._terms.gas.exercise * prices.gas_usd,
            refusal=refusal,
        )

    def _due(self, position: HegicPosition, exercise: _Exercise, block: Block) -> Due:
        """In its last hours an option that brings more than its gas is exercised, by whoever holds it."""
        window_s = min(self._terms.exercise_lead_s, position.window_s or math.inf)
        from_s, until_s = position.expires_s - window_s, float(position.expires_s)
        if block.timestamp_s < from_s:
            because = "it is exercised in its last hours if it is in the money then"
            return Due(from_s=from_s, until_s=until_s, because=because)
        action, because = (
            DueAction.EXERCISE,
            "the venue never exercises by itself: it pays before expiry or not",
        )
        if exercise.refusal:
            action, because = DueAction.WAIT, exercise.refusal
        elif not exercise.is_worth_it:
            action, because = DueAction.WAIT, f"exercise brings {exercise.net_usd:.2f} USD after gas"
        return Due(action=action, from_s=from_s, until_s=until_s, because=because)
