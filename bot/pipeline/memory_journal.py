"""The journal of backtests: the same promises as the database, kept in lists, gone with the process."""

from collections.abc import Callable, Iterable, Iterator
from typing import Generic, Protocol, TypeVar

from bot.errors import InvariantError
from bot.model.account_order import AccountOrder, AccountOutcome
from bot.model.cover import CoverOrder, CoverOutcome
from bot.model.hedge import HedgeLeg, LegOutcome, LegStatus
from bot.model.intent import CLOSED_STATES, IntentEvent, IntentState
from bot.model.perpetual import PerpetualOrder
from bot.model.perpetual_outcome import PerpetualOutcome
from bot.model.record import StepRecord

# Only these say what became of a leg; the others leave it open, and its budget reserved.
CLOSING_STATUSES = frozenset({LegStatus.FILLED, LegStatus.PARTIAL, LegStatus.REJECTED})


class _Order(Protocol):
    @property
    def key(self) -> str: ...
    @property
    def group(self) -> str: ...


Order = TypeVar("Order", bound=_Order)
Outcome = TypeVar("Outcome")


class _Orders(Generic[Order, Outcome]):
    """Orders of one kind: the open ones, and what became of the others."""

    def __init__(self, what: str = "order", *, place: Callable[[Order], object]) -> None:
        """``place`` names where one order may be open at a time."""
        self._what, self._place = what, place
        self.open: dict[str, Order] = {}
        self.outcomes: list[Outcome] = []

    def begin(self, order: Order, seen: set[str]) -> None:
        what = self._what
        if order.key in seen:
            article = "an" if what == "order" else "a"
            raise InvariantError(
                f"{what} {order.key} is in the journal already; {article} {what} is executed once"
            )
        for other in self.open.values():
            if self._place(other) == self._place(order):
                raise InvariantError(
                    f"{what} {order.key} cannot open: {what} {other.key} of {self._place(order)} "
                    "is still open"
                )
        seen.add(order.key)
        self.open[order.key] = order

    def end(self, order: Order, status: LegStatus, outcome: Outcome, busy: Iterable[str]) -> None:
        """``busy`` are the orders of which a transaction is open."""
        if order.key not in self.open:
            raise InvariantError(f"{self._what} {order.key} cannot close: it is not open in the journal")
        if status in CLOSING_STATUSES:
            if order.key in busy:
                raise InvariantError(
                    f"{self._what} {order.key} cannot close: one of its transactions is open"
                )
            del self.open[order.key]
            self.outcomes.append(outcome)


class MemoryJournal:
    """Implements ``ports.Journal`` without durability. One thread."""

    def __init__(self) -> None:
        self._seen: set[str] = set()
        self._legs: _Orders[HedgeLeg, LegOutcome] = _Orders(
            "leg", place=lambda leg: f"{leg.group} {leg.layer}"
        )
        self._perpetuals: _Orders[PerpetualOrder, PerpetualOutcome] = _Orders(place=lambda order: order.group)
        self._accounts: _Orders[AccountOrder, AccountOutcome] = _Orders(place=lambda order: order.group)
        self._covers: _Orders[CoverOrder, CoverOutcome] = _Orders(place=lambda order: order.group)
        self._intents: list[IntentEvent] = []
        self._slots: dict[str, tuple[int, str, int]] = {}  # intent key -> chain, sender, nonce
        self._claims: dict[tuple[int, str, int], str] = {}  # the same, the other way round
        self._closed: set[str] = set()
        self._open_intents: dict[str, tuple[str, tuple[int, str]]] = {}  # key -> leg key, account
        self._steps: list[StepRecord] = []

    def open_leg(self, leg: HedgeLeg, *, at_s: float) -> None:  # noqa: ARG002 - the port's signature
        self._legs.begin(leg, self._seen)

    def close_leg(self, outcome: LegOutcome) -> None:
        self._legs.end(outcome.leg, outcome.status, outcome, self._busy())

    def open_legs(self) -> tuple[HedgeLeg, ...]:
        return tuple(self._legs.open.values())

    def outcomes(self) -> tuple[LegOutcome, ...]:
        return tuple(self._legs.outcomes)

    def open_perpetual(self, order: PerpetualOrder, *, at_s: float) -> None:  # noqa: ARG002 - the port's
        self._perpetuals.begin(order, self._seen)

    def close_perpetual(self, outcome: PerpetualOutcome) -> None:
        self._perpetuals.end(outcome.order, outcome.status, outcome, self._busy())

    def open_perpetuals(self) -> tuple[PerpetualOrder, ...]:
        return tuple(self._perpetuals.open.values())

    def perpetual_outcomes(self) -> tuple[PerpetualOutcome, ...]:
        return tuple(self._perpetuals.outcomes)

    def open_account_order(self, order: AccountOrder, *, at_s: float) -> None:  # noqa: ARG002 - the port's
        self._accounts.begin(order, self._seen)

    def close_account_order(self, outcome: AccountOutcome) -> None:
        self._accounts.end(outcome.order, outcome.status, outcome, self._busy())

    def open_account_orders(self) -> tuple[AccountOrder, ...]:
        return tuple(self._accounts.open.values())

    def account_outcomes(self) -> tuple[AccountOutcome, ...]:
        return tuple(self._accounts.outcomes)

    def open_cover(self, order: CoverOrder, *, at_s: float) -> None:  # noqa: ARG002 - the port's
        self._covers.begin(order, self._seen)

    def close_cover(self, outcome: CoverOutcome) -> None:
        self._covers.end(outcome.order, outcome.status, outcome, self._busy())

    def open_covers(self) -> tuple[CoverOrder, ...]:
        return tuple(self._covers.open.values())

    def cover_outcomes(self) -> tuple[CoverOutcome, ...]:
        return tuple(self._covers.outcomes)

    def _busy(self) -> set[str]:
        return {leg for leg, _ in self._open_intents.values()}

    def append_intent(self, event: IntentEvent) -> None:
        slot = (event.chain_id, event.sender, event.nonce)
        refusal = self._refusal(event, slot)
        if refusal:
            raise InvariantError(
                f"intent {event.key} ({event.state}, nonce {event.nonce}) is refused by the journal: "
                f"{refusal}"
            )
        self._slots[event.key] = slot
        self._claims[slot] = event.key
        self._open_intents[event.key] = (event.leg_key, slot[:2])
        if event.state in CLOSED_STATES:
            self._closed.add(event.key)
            del self._open_intents[event.key]
        if event.state is IntentState.RELEASED:
            del self._claims[slot]
        self._intents.append(event)

    def _refusal(self, event: IntentEvent, slot: tuple[int, str, int]) -> str:
        """Say why an event breaks a rule of journal_schema.RULES; empty when it does not."""
        known = event.key in self._slots
        if (event.state is IntentState.RESERVED) is known:
            return "an intent begins, once, with a reserved nonce"
        if event.key in self._closed:
            return "the intent is closed"
        if known:
            same = self._slots[event.key] == slot and self._open_intents[event.key][0] == event.leg_key
            return "" if same else "the intent holds another nonce, account or leg"
        if slot in self._claims:
            return "the nonce belongs to another intent"
        if any(account == slot[:2] for _, account in self._open_intents.values()):
            return "another transaction of the same account is still open"
        kinds = (self._legs, self._perpetuals, self._accounts, self._covers)
        is_open = any(event.leg_key in each.open for each in kinds)
        return "" if is_open else "its leg is not open in the journal"

    def intents(self, leg_key: str | None = None) -> tuple[IntentEvent, ...]:
        return tuple(event for event in self._intents if leg_key is None or event.leg_key == leg_key)

    def append_step(self, record: StepRecord) -> None:
        if self._steps and record.sequence <= self._steps[-1].sequence:
            raise InvariantError(
                f"step {record.sequence} cannot follow step {self._steps[-1].sequence} in the journal"
            )
        self._steps.append(record)

    def last_step(self) -> StepRecord | None:
        return self._steps[-1] if self._steps else None

    def steps(self, *, since_s: float = 0.0) -> Iterator[StepRecord]:
        return (record for record in self._steps if record.decision.now_s >= since_s)
