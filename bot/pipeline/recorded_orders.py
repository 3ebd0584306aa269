"""The orders of a recording: where a journal stood, what a person asked for, and what became of it all."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol, Self, TypeVar

from bot.errors import TransientError
from bot.model.account_order import AccountOrder, AccountOutcome
from bot.model.cover import CoverOrder, CoverOutcome, HeldCover
from bot.model.hedge import HedgeLeg, LegOutcome, LegStatus
from bot.model.perpetual import PerpetualOrder
from bot.model.perpetual_outcome import PerpetualOutcome
from bot.model.record import StepRecord
from bot.pipeline import codec
from bot.pipeline.desk import Asked, Request
from bot.pipeline.memory_journal import CLOSING_STATUSES, MemoryJournal
from bot.ports import Journal, MarketView

NO_SUCH_ORDER = "the recording has no such order"
Document = dict[str, list[str]]
_Outcome = TypeVar("_Outcome", AccountOutcome, CoverOutcome)


@dataclass(frozen=True, slots=True, kw_only=True)
class JournalOrders:
    """Every order of a journal: what became of the closed ones, oldest first, and the open ones."""

    outcomes: tuple[LegOutcome, ...] = ()
    open_legs: tuple[HedgeLeg, ...] = ()
    perpetual_outcomes: tuple[PerpetualOutcome, ...] = ()
    open_perpetuals: tuple[PerpetualOrder, ...] = ()
    account_outcomes: tuple[AccountOutcome, ...] = ()
    open_account_orders: tuple[AccountOrder, ...] = ()
    cover_outcomes: tuple[CoverOutcome, ...] = ()
    open_covers: tuple[CoverOrder, ...] = ()

    @classmethod
    def of(cls, journal: Journal) -> Self:
        """Read them all."""
        closed = cls(
            outcomes=journal.outcomes(),
            perpetual_outcomes=journal.perpetual_outcomes(),
            account_outcomes=journal.account_outcomes(),
            cover_outcomes=journal.cover_outcomes(),
        )
        return closed._with_open(journal)

    def after(self, record: StepRecord, journal: Journal) -> Self:
        """Return them after a step: its record tells what closed, the journal what is open."""
        closed = replace(
            self,
            outcomes=(*self.outcomes, *_closed(record.outcomes)),
            perpetual_outcomes=(*self.perpetual_outcomes, *_closed(record.perpetuals)),
            account_outcomes=(*self.account_outcomes, *_closed(record.account_orders)),
            cover_outcomes=(*self.cover_outcomes, *_closed(record.covers)),
        )
        return closed._with_open(journal)

    def _with_open(self, journal: Journal) -> Self:
        return replace(
            self,
            open_legs=journal.open_legs(),
            open_perpetuals=journal.open_perpetuals(),
            open_account_orders=journal.open_account_orders(),
            open_covers=journal.open_covers(),
        )

    def document(self) -> Document:
        """Return them as a recording keeps them."""
        return {
            name: [codec.dumps(item) for item in getattr(self, field_name)]
            for field_name, (name, _) in _STORED.items()
        }

    @classmethod
    def from_document(cls, start: Mapping[str, Any]) -> Self:
        """Return what ``document`` wrote; an older program did not write every kind."""
        return cls(
            **{
                field_name: tuple(codec.loads(kind, text) for text in start.get(name, ()))
                for field_name, (name, kind) in _STORED.items()
            }
        )

    def journal(self, last: StepRecord | None) -> MemoryJournal:
        """Return a journal that stands there, ``last`` its newest step."""
        journal = MemoryJournal()
        for outcome in self.outcomes:
            journal.open_leg(outcome.leg, at_s=outcome.at_s)
            journal.close_leg(outcome)
        for traded in self.perpetual_outcomes:
            journal.open_perpetual(traded.order, at_s=traded.at_s)
            journal.close_perpetual(traded)
        for moved in self.account_outcomes:
            journal.open_account_order(moved.order, at_s=moved.at_s)
            journal.close_account_order(moved)
        for bought in self.cover_outcomes:
            journal.open_cover(bought.order, at_s=bought.at_s)
            journal.close_cover(bought)
        self._open_in(journal)
        if last is not None:
            journal.append_step(last)
        return journal

    def _open_in(self, journal: MemoryJournal) -> None:
        for leg in self.open_legs:
            journal.open_leg(leg, at_s=0.0)
        for perpetual in self.open_perpetuals:
            journal.open_perpetual(perpetual, at_s=0.0)
        for order in self.open_account_orders:
            journal.open_account_order(order, at_s=0.0)
        for cover in self.open_covers:
            journal.open_cover(cover, at_s=0.0)


_STORED: Mapping[str, tuple[str, type[Any]]] = {
    "outcomes": ("outcomes", LegOutcome),
    "open_legs": ("open", HedgeLeg),
    "perpetual_outcomes": ("perpetual_outcomes", PerpetualOutcome),
    "open_perpetuals": ("open_perpetuals", PerpetualOrder),
    "account_outcomes": ("account_outcomes", AccountOutcome),
    "open_account_orders": ("open_account_orders", AccountOrder),
    "cover_outcomes": ("cover_outcomes", CoverOutcome),
    "open_covers": ("open_covers", CoverOrder),
}


class _Ended(Protocol):
    @property
    def status(self) -> LegStatus: ...


Outcome = TypeVar("Outcome", bound=_Ended)


def _closed(outcomes: Iterable[Outcome]) -> Iterator[Outcome]:
    return (item for item in outcomes if item.status in CLOSING_STATUSES)


@dataclass(slots=True)
class PlaybackDesk:
    """Leaves for each step what a person had left for it; the pauses are in the moment.

    ``takes_legs``: hedges by hand are of one book, and senseless in the book of another policy.
    """

    takes_legs: bool
    _requests: tuple[Request, ...] = field(default=(), init=False)

    def at(self, requests: tuple[Request, ...]) -> None:
        """Go to a step."""
        self._requests = requests

    def asked(self) -> Asked:
        found = (
            item if self.takes_legs else replace(item, legs=(), perpetuals=()) for item in self._requests
        )
        return Asked(requests=tuple((Path(), item) for item in found))

    def done(self, path: Path) -> None:
        """Nothing is kept: the next step has what was left for it."""


@dataclass(slots=True)
class PlaybackAccountVenue:
    """Does with positions and loans what was done in the step that is played."""

    _outcomes: tuple[AccountOutcome, ...] = field(default=(), init=False)

    def at(self, record: StepRecord) -> None:
        """Go to a step."""
        self._outcomes = record.account_orders

    async def execute(self, order: AccountOrder, *, view: MarketView) -> AccountOutcome:
        return _outcome_of(order.key, self._outcomes) or AccountOutcome(
            order=order, status=LegStatus.REJECTED, at_s=view.now_s, because=NO_SUCH_ORDER
        )

    async def reconcile(self, order: AccountOrder, *, view: MarketView) -> AccountOutcome:  # noqa: ARG002
        if (found := _outcome_of(order.key, self._outcomes)) is None:
            raise unseen(order.key)
        return found


@dataclass(slots=True)
class PlaybackCoverVenue:
    """As PlaybackAccountVenue, for covers. What the account holds is in the moment."""

    name: str = "recorded"
    _outcomes: tuple[CoverOutcome, ...] = field(default=(), init=False)

    def at(self, record: StepRecord) -> None:
        """Go to a step."""
        self._outcomes = record.covers

    async def held(self, view: MarketView) -> tuple[HeldCover, ...]:  # noqa: ARG002
        return ()

    async def execute(self, order: CoverOrder, *, view: MarketView) -> CoverOutcome:
        return _outcome_of(order.key, self._outcomes) or CoverOutcome(
            order=order, status=LegStatus.REJECTED, at_s=view.now_s, because=NO_SUCH_ORDER
        )

    async def reconcile(self, order: CoverOrder, *, view: MarketView) -> CoverOutcome:  # noqa: ARG002
        if (found := _outcome_of(order.key, self._outcomes)) is None:
            raise unseen(order.key)
        return found


def _outcome_of(key: str, outcomes: Sequence[_Outcome]) -> _Outcome | None:
    return next((item for item in outcomes if item.order.key == key), None)


def unseen(key: str) -> TransientError:
    """Return why an open order is not closed: the run saw no news of it at this step either."""
    return TransientError(f"the recording has no news of order {key} at this step")
