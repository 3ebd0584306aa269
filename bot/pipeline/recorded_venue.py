"""A venue whose answers are kept for a recording."""

from dataclasses import dataclass, field
from typing import NamedTuple

from bot.errors import BotError, OutcomeUnknown, StaleDataError, TransientError, VenueRejected
from bot.model.hedge import HedgeLeg, LegOutcome, Quote
from bot.model.perpetual import (
    Perpetual,
    PerpetualEnd,
    PerpetualOrder,
    PerpetualPosition,
    PerpetualQuote,
)
from bot.model.perpetual_outcome import PerpetualOutcome
from bot.ports import MarketView, PerpetualVenue, Venue, VenuePosition

_UNSEEN = (TransientError, StaleDataError, VenueRejected, OutcomeUnknown)
FAILURES: dict[str, type[BotError]] = {
    kind.__name__: kind for kind in (TransientError, StaleDataError, VenueRejected)
}
HELD = ""  # in place of an underlying: what is held was asked for


class Answer(NamedTuple):
    """What a venue answered to one question in one step."""

    venue: str
    underlying: str
    size: float
    quotes: tuple[Quote, ...] = ()
    positions: tuple[VenuePosition, ...] = ()
    failure: str = ""  # name of the error
    why: str = ""
    perpetual_quotes: tuple[PerpetualQuote, ...] = ()
    perpetual_positions: tuple[PerpetualPosition, ...] = ()


@dataclass(slots=True)
class RecordedVenue:
    """A venue whose quotes are kept as they are given. All else goes to the real one."""

    real: Venue
    answers: list[Answer] = field(default_factory=list)

    @property
    def name(self) -> str:
        return self.real.name

    async def quotes(self, view: MarketView, *, underlying: str, size: float) -> tuple[Quote, ...]:
        try:
            found = tuple(await self.real.quotes(view, underlying=underlying, size=size))
        except _UNSEEN as error:
            self._failed(underlying, size, error)
            raise
        self.answers.append(Answer(self.name, underlying, size, quotes=found))
        return found

    async def held(self, view: MarketView) -> tuple[VenuePosition, ...]:
        try:
            found = await self.real.held(view)
        except _UNSEEN as error:
            self._failed(HELD, 0.0, error)
            raise
        self.answers.append(Answer(self.name, HELD, 0.0, positions=found))
        return found

    def _failed(self, underlying: str, size: float, error: BotError) -> None:
        self.answers.append(_failure(self.name, underlying, size, error))

    async def execute(self, leg: HedgeLeg, *, view: MarketView) -> LegOutcome:
        return await self.real.execute(leg, view=view)

    async def reconcile(self, leg: HedgeLeg, *, view: MarketView) -> LegOutcome:
        return await self.real.reconcile(leg, view=view)

    def take(self) -> list[Answer]:
        found, self.answers = self.answers, []
        return found


@dataclass(slots=True)
class RecordedPerpetualVenue:
    """A venue of perpetuals whose answers are kept. What it booked by itself is in the step's record."""

    real: PerpetualVenue
    answers: list[Answer] = field(default_factory=list)

    @property
    def name(self) -> str:
        return self.real.name

    async def perpetual_quotes(
        self, view: MarketView, *, underlying: str, size: float
    ) -> tuple[PerpetualQuote, ...]:
        try:
            found = await self.real.perpetual_quotes(view, underlying=underlying, size=size)
        except _UNSEEN as error:
            self.answers.append(_failure(self.name, underlying, size, error))
            raise
        self.answers.append(Answer(self.name, underlying, size, perpetual_quotes=found))
        return found

    async def held_perpetuals(self, view: MarketView) -> tuple[PerpetualPosition, ...]:
        try:
            found = await self.real.held_perpetuals(view)
        except _UNSEEN as error:
            self.answers.append(_failure(self.name, HELD, 0.0, error))
            raise
        self.answers.append(Answer(self.name, HELD, 0.0, perpetual_positions=found))
        return found

    async def execute(self, order: PerpetualOrder, *, view: MarketView) -> PerpetualOutcome:
        return await self.real.execute(order, view=view)

    async def reconcile(self, order: PerpetualOrder, *, view: MarketView) -> PerpetualOutcome:
        return await self.real.reconcile(order, view=view)

    async def ended(
        self, perpetual: Perpetual, size: float, *, view: MarketView, since_block: int
    ) -> PerpetualEnd | None:
        return await self.real.ended(perpetual, size, view=view, since_block=since_block)

    def take(self) -> list[Answer]:
        found, self.answers = self.answers, []
        return found


def _failure(venue: str, underlying: str, size: float, error: BotError) -> Answer:
    kind = next((name for name, known in FAILURES.items() if isinstance(error, known)), "TransientError")
    return Answer(venue, underlying, size, failure=kind, why=str(error))
