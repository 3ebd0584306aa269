"""A venue whose answers are kept for a recording."""

from dataclasses import dataclass, field
from typing import NamedTuple

from bot.errors import BotError, OutcomeUnknown, StaleDataError, TransientError, VenueRejected
from bot.model.hedge import HedgeLeg, LegOutcome, Quote
from bot.ports import MarketView, Venue, VenuePosition

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
            found = await self.real.quotes(view, underlying=underlying, size=size)
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
        kind = next((name for name, known in FAILURES.items() if isinstance(error, known)), "TransientError")
        self.answers.append(Answer(self.name, underlying, size, failure=kind, why=str(error)))

    async def execute(self, leg: HedgeLeg, *, view: MarketView) -> LegOutcome:
        return await self.real.execute(leg, view=view)

    async def reconcile(self, leg: HedgeLeg, *, view: MarketView) -> LegOutcome:
        return await self.real.reconcile(leg, view=view)

    def take(self) -> list[Answer]:
        found, self.answers = self.answers, []
        return found
