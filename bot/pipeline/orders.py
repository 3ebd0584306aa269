"""Orders beside the hedges that are done once: on positions and loans (R21, R29), of cover (R20).

The guarantees are those of legs: an order is in the journal before anything is sent, one is open per group,
what an earlier run left open is looked up on the chain.
"""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, Generic, Protocol, TypeVar

from bot.errors import OutcomeUnknown, StaleDataError, TransientError, VenueRejected
from bot.model.hedge import OPEN_STATUSES, LegStatus
from bot.ports import MarketView

# What a venue may raise when it could not look or cannot tell: nothing is known of the order.
UNSEEN = (OutcomeUnknown, TransientError, StaleDataError, VenueRejected)


class OrderLike(Protocol):
    """What an order says of itself."""

    @property
    def key(self) -> str: ...
    @property
    def group(self) -> str: ...


class OutcomeLike(Protocol):
    """What became of it. ``cost_usd`` is what hedging paid, NaN where a price was not known."""

    __dataclass_fields__: ClassVar[dict[str, Any]]

    @property
    def status(self) -> LegStatus: ...
    @property
    def at_s(self) -> float: ...
    @property
    def tx_hash(self) -> str: ...
    @property
    def because(self) -> str: ...
    @property
    def reconciled(self) -> bool: ...
    @property
    def cost_usd(self) -> float: ...


Order = TypeVar("Order", bound=OrderLike)
Outcome = TypeVar("Outcome", bound=OutcomeLike)
Order_contra = TypeVar("Order_contra", contravariant=True)
Outcome_co = TypeVar("Outcome_co", covariant=True)


class OrderVenue(Protocol[Order_contra, Outcome_co]):
    """Where orders of one kind go."""

    async def execute(self, order: Order_contra, *, view: MarketView) -> Outcome_co: ...
    async def reconcile(self, order: Order_contra, *, view: MarketView) -> Outcome_co: ...


class _Open(Protocol[Order_contra]):
    def __call__(self, order: Order_contra, *, at_s: float) -> None: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class OrderRows(Generic[Order, Outcome]):
    """The rows of one kind in the journal."""

    open: _Open[Order]
    close: Callable[[Outcome], None]
    still_open: Callable[[], tuple[Order, ...]]
    outcomes: Callable[[], tuple[Outcome, ...]]
    order_of: Callable[[Outcome], Order]
    made: Callable[..., Outcome]  # of order, status, at_s, because, reconciled


@dataclass(slots=True, kw_only=True)
class Orders(Generic[Order, Outcome]):
    """State is the journal's: a new one on the same journal goes on where the last stopped.

    Without a venue nothing is done. ``booked`` is told of every closed order, those of the journal first.
    """

    venue: OrderVenue[Order, Outcome] | None
    rows: OrderRows[Order, Outcome]
    booked: Callable[[Outcome], None]
    _news: list[Outcome] = field(init=False, default_factory=list)  # not in a record yet
    _pending: dict[str, tuple[LegStatus, str]] = field(init=False, default_factory=dict)  # last look

    def __post_init__(self) -> None:
        for outcome in self.rows.outcomes():
            self.booked(outcome)

    def news(self) -> tuple[Outcome, ...]:
        """Return what became of orders since the last call, each once."""
        news, self._news = tuple(self._news), []
        return news

    async def reconcile(self, view: MarketView) -> None:
        """Close what an earlier step or run left open, from chain facts alone."""
        if self.venue is None:
            return
        before, self._pending = self._pending, {}
        for order in self.rows.still_open():
            try:
                outcome = await self.venue.reconcile(order, view=view)
            except UNSEEN:
                continue  # stays open: blocks its group's orders until a fact is known
            done = self._close(order, replace(outcome, reconciled=True))
            said = (done.status, done.because)
            if done.status in OPEN_STATUSES:
                self._pending[order.key] = said
            if done.status not in OPEN_STATUSES or (_waits(done) and before.get(order.key) != said):
                self._news.append(done)

    def is_open(self, orders: Iterable[Order]) -> bool:
        """Say whether an order is open that is one of these or in the way of one."""
        groups = {order.group for order in orders}
        return any(item.group in groups for item in self.rows.still_open())

    async def execute(self, orders: Sequence[Order], view: MarketView) -> bool:
        """Do orders that were not done before, in their order; stop at one whose end is open.

        Says whether any was begun.
        """
        if self.venue is None or not orders:
            return False
        known = {self.rows.order_of(item).key for item in self.rows.outcomes()}
        begun = False
        for order in orders:
            if order.key in known:
                continue
            begun = True
            outcome = await self._execute(self.venue, order, view)
            self._news.append(outcome)
            if outcome.status in OPEN_STATUSES:
                self._pending[order.key] = (outcome.status, outcome.because)
                break
        return begun

    async def _execute(self, venue: OrderVenue[Order, Outcome], order: Order, view: MarketView) -> Outcome:
        self.rows.open(order, at_s=view.now_s)
        try:
            return self._close(order, await venue.execute(order, view=view))
        except UNSEEN as error:
            return self.rows.made(order=order, status=LegStatus.UNKNOWN, at_s=view.now_s, because=str(error))

    def _close(self, order: Order, outcome: Outcome) -> Outcome:
        if not math.isfinite(outcome.cost_usd):  # one NaN would be in every sum from now on
            why = f"booked without a known price: {outcome.tx_hash or outcome.because}"
            outcome = self.rows.made(
                order=order,
                status=LegStatus.UNKNOWN,
                at_s=outcome.at_s,
                because=why,
                reconciled=outcome.reconciled,
            )
        if outcome.status in OPEN_STATUSES:
            return outcome  # stays open in the journal
        self.rows.close(outcome)
        self.booked(outcome)
        return outcome


def _waits(outcome: OutcomeLike) -> bool:
    """Say whether others must act on it."""
    return outcome.status in (LegStatus.PROPOSED, LegStatus.WAITING)
