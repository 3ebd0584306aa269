"""Venues in trouble: any venue, halted or with a wider spread for some hours.

Gas is in the option venue's own terms, which read the chain's gas price; a perpetual's is scaled here.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from bot.errors import InvariantError
from bot.model.hedge import HedgeLeg, LegOutcome, LegStatus, Quote, Side
from bot.model.perpetual import Perpetual, PerpetualEnd, PerpetualOrder, PerpetualPosition, PerpetualQuote
from bot.model.perpetual_outcome import PerpetualOutcome, refused
from bot.ports import MarketView, PerpetualVenue, Venue, VenuePosition
from bot.venues.booked import rejected

GasTimes = Callable[[float], float]  # of a time: gas against its usual price


@dataclass(frozen=True, slots=True, kw_only=True)
class Conditions:
    """What is wrong with the venues at one time."""

    halted: str = ""  # why; empty: trading goes on
    spread_times: float = 1.0
    gas_times: float = 1.0  # of perpetuals

    @property
    def is_usual(self) -> bool:
        """Say whether options trade as they always do."""
        return not self.halted and self.spread_times == 1.0


ConditionsAt = Callable[[float], Conditions]


class StressedVenue:
    """Implements ports.Venue over another one."""

    def __init__(self, inner: Venue, conditions: ConditionsAt) -> None:
        self._inner, self._conditions = inner, conditions

    @property
    def name(self) -> str:
        return self._inner.name

    async def quotes(self, view: MarketView, *, underlying: str, size: float) -> Sequence[Quote]:
        """Return the quotes under the conditions of the time; none while halted."""
        now = self._conditions(view.now_s)
        if now.halted:
            return ()
        found = await self._inner.quotes(view, underlying=underlying, size=size)
        return found if now.is_usual else tuple(_dearer(quote, now) for quote in found)

    async def held(self, view: MarketView) -> tuple[VenuePosition, ...]:
        """Return the positions; while halted none can be sold, and each is marked to its model."""
        now = self._conditions(view.now_s)
        found = await self._inner.held(view)
        return found if now.is_usual else tuple(_harder_to_sell(item, now) for item in found)

    async def execute(self, leg: HedgeLeg, *, view: MarketView) -> LegOutcome:
        """Fill a leg, its spread as the conditions say; refuse it while halted, but a settlement."""
        now = self._conditions(view.now_s)
        if now.halted and leg.side is not Side.SETTLE:
            return rejected(leg, at_s=view.now_s, because=now.halted)
        outcome = await self._inner.execute(leg, view=view)
        if now.is_usual or outcome.status is not LegStatus.FILLED:
            return outcome
        return _dearer_fill(outcome, now)

    async def reconcile(self, leg: HedgeLeg, *, view: MarketView) -> LegOutcome:
        return await self._inner.reconcile(leg, view=view)


class StressedPerpetualVenue:
    """Implements ports.PerpetualVenue over another one."""

    def __init__(self, inner: PerpetualVenue, conditions: ConditionsAt) -> None:
        self._inner, self._conditions = inner, conditions

    @property
    def name(self) -> str:
        return self._inner.name

    async def perpetual_quotes(
        self, view: MarketView, *, underlying: str, size: float
    ) -> tuple[PerpetualQuote, ...]:
        """Return the quotes under the conditions of the time; none while halted."""
        now = self._conditions(view.now_s)
        if now.halted:
            return ()
        found = await self._inner.perpetual_quotes(view, underlying=underlying, size=size)
        return tuple(
            replace(item, cost=item.cost * now.spread_times, gas_usd=item.gas_usd * now.gas_times)
            for item in found
        )

    async def held_perpetuals(self, view: MarketView) -> tuple[PerpetualPosition, ...]:
        return await self._inner.held_perpetuals(view)

    async def execute(self, order: PerpetualOrder, *, view: MarketView) -> PerpetualOutcome:
        """Fill an order, its cost and gas as the conditions say; refuse it while halted."""
        now = self._conditions(view.now_s)
        if now.halted:
            return refused(order, at_s=view.now_s, because=now.halted)
        outcome = await self._inner.execute(order, view=view)
        return replace(
            outcome, fee_usd=outcome.fee_usd * now.spread_times, gas_usd=outcome.gas_usd * now.gas_times
        )

    async def reconcile(self, order: PerpetualOrder, *, view: MarketView) -> PerpetualOutcome:
        return await self._inner.reconcile(order, view=view)

    async def ended(
        self, perpetual: Perpetual, size: float, *, view: MarketView, since_block: int
    ) -> PerpetualEnd | None:
        return await self._inner.ended(perpetual, size, view=view, since_block=since_block)


def conditions_at(troubles: Sequence[tuple[float, float, Conditions]], gas_times: GasTimes) -> ConditionsAt:
    """Return the conditions of each time: of (from, to, what is wrong), the end left out."""

    def at(now_s: float) -> Conditions:
        here = [item for from_s, to_s, item in troubles if from_s <= now_s < to_s]
        return Conditions(
            halted=next((item.halted for item in here if item.halted), ""),
            spread_times=max((item.spread_times for item in here), default=1.0),
            gas_times=gas_times(now_s),
        )

    return at


def _dearer(quote: Quote, now: Conditions) -> Quote:
    more_usd = quote.fee_usd * (now.spread_times - 1.0)
    return replace(quote, premium_usd=quote.premium_usd + more_usd, fee_usd=quote.fee_usd + more_usd)


def _harder_to_sell(item: VenuePosition, now: Conditions) -> VenuePosition:
    if now.halted and not item.settleable:
        return replace(item, liquidation_usd=math.nan)
    cost_usd = item.model_usd - item.liquidation_usd  # spread and gas of a sale; NaN where none is possible
    worse_usd = item.liquidation_usd - cost_usd * (now.spread_times - 1.0)
    return replace(item, liquidation_usd=worse_usd if math.isnan(worse_usd) else max(worse_usd, 0.0))


def _dearer_fill(outcome: LegOutcome, now: Conditions) -> LegOutcome:
    """Return the fill with the wider spread in it; a settlement has none."""
    leg = outcome.leg
    if leg.side is Side.SETTLE:
        return outcome
    more_usd = outcome.fee_usd * (now.spread_times - 1.0)
    sign = 1.0 if leg.side is Side.BUY else -1.0
    premium_usd = max(outcome.premium_usd + sign * more_usd, 0.0)
    if leg.side is Side.BUY and premium_usd > leg.limit_usd * (1.0 + 1e-9):
        raise InvariantError(
            f"leg {leg.key} was filled for {premium_usd:.2f} USD at a wider spread, "
            f"it allows {leg.limit_usd:.2f}"
        )
    return replace(outcome, premium_usd=premium_usd, fee_usd=outcome.fee_usd + more_usd)
