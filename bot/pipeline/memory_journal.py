"""The journal of backtests: the same promises as the database, kept in lists, gone with the process."""

from collections.abc import Iterator

from bot.errors import InvariantError
from bot.model.account_order import AccountOrder, AccountOutcome
from bot.model.hedge import HedgeLeg, LegOutcome, LegStatus
from bot.model.intent import CLOSED_STATES, IntentEvent, IntentState
from bot.model.perpetual import PerpetualOrder
from bot.model.perpetual_outcome import PerpetualOutcome
from bot.model.record import StepRecord

# Only these say what became of a leg; the others leave it open, and its budget reserved.
CLOSING_STATUSES = frozenset({LegStatus.FILLED, LegStatus.PARTIAL, LegStatus.REJECTED})


class MemoryJournal:
    """Implements ``ports.Journal`` without durability. One thread."""

    def __init__(self) -> None:
        self._seen: set[str] = set()
        self._open: dict[str, HedgeLeg] = {}
        self._outcomes: list[LegOutcome] = []
        self._perpetuals: dict[str, PerpetualOrder] = {}  # open ones
        self._perpetual_outcomes: list[PerpetualOutcome] = []
        self._account_orders: dict[str, AccountOrder] = {}  # open ones
        self._account_outcomes: list[AccountOutcome] = []
        self._intents: list[IntentEvent] = []
        self._slots: dict[str, tuple[int, str, int]] = {}  # intent key -> chain, sender, nonce
        self._claims: dict[tuple[int, str, int], str] = {}  # the same, the other way round
        self._closed: set[str] = set()
        self._open_intents: dict[str, tuple[str, tuple[int, str]]] = {}  # key -> leg key, account
        self._steps: list[StepRecord] = []

    def open_leg(self, leg: HedgeLeg, *, at_s: float) -> None:  # noqa: ARG002 - the port's signature
        if leg.key in self._seen:
            raise InvariantError(f"leg {leg.key} is in the journal already; a leg is executed once")
        for other in self._open.values():
            if (other.group, other.layer) == (leg.group, leg.layer):
                raise InvariantError(
                    f"leg {leg.key} cannot open: leg {other.key} of {leg.group} {leg.layer} is still open"
                )
        self._seen.add(leg.key)
        self._open[leg.key] = leg

    def close_leg(self, outcome: LegOutcome) -> None:
        if outcome.leg.key not in self._open:
            raise InvariantError(f"leg {outcome.leg.key} cannot close: it is not open in the journal")
        if outcome.status in CLOSING_STATUSES:
            if any(leg == outcome.leg.key for leg, _ in self._open_intents.values()):
                raise InvariantError(f"leg {outcome.leg.key} cannot close: one of its transactions is open")
            del self._open[outcome.leg.key]
            self._outcomes.append(outcome)

    def open_legs(self) -> tuple[HedgeLeg, ...]:
        return tuple(self._open.values())

    def outcomes(self) -> tuple[LegOutcome, ...]:
        return tuple(self._outcomes)

    def open_perpetual(self, order: PerpetualOrder, *, at_s: float) -> None:  # noqa: ARG002 - the port's
        if order.key in self._seen:
            raise InvariantError(f"order {order.key} is in the journal already; an order is executed once")
        for other in self._perpetuals.values():
            if other.group == order.group:
                raise InvariantError(
                    f"order {order.key} cannot open: order {other.key} of {order.group} is still open"
                )
        self._seen.add(order.key)
        self._perpetuals[order.key] = order

    def close_perpetual(self, outcome: PerpetualOutcome) -> None:
        key = outcome.order.key
        if key not in self._perpetuals:
            raise InvariantError(f"order {key} cannot close: it is not open in the journal")
        if outcome.status in CLOSING_STATUSES:
            if any(leg == key for leg, _ in self._open_intents.values()):
                raise InvariantError(f"order {key} cannot close: one of its transactions is open")
            del self._perpetuals[key]
            self._perpetual_outcomes.append(outcome)

    def open_perpetuals(self) -> tuple[PerpetualOrder, ...]:
        return tuple(self._perpetuals.values())

    def perpetual_outcomes(self) -> tuple[PerpetualOutcome, ...]:
        return tuple(self._perpetual_outcomes)

    def open_account_order(self, order: AccountOrder, *, at_s: float) -> None:  # noqa: ARG002 - the port's
        if order.key in self._seen:
            raise InvariantError(f"order {order.key} is in the journal already; an order is executed once")
        for other in self._account_orders.values():
            if other.group == order.group:
                raise InvariantError(
                    f"order {order.key} cannot open: order {other.key} of {order.group} is still open"
                )
        self._seen.add(order.key)
        self._account_orders[order.key] = order

    def close_account_order(self, outcome: AccountOutcome) -> None:
        key = outcome.order.key
        if key not in self._account_orders:
            raise InvariantError(f"order {key} cannot close: it is not open in the journal")
        if outcome.status in CLOSING_STATUSES:
            if any(leg == key for leg, _ in self._open_intents.values()):
                raise InvariantError(f"order {key} cannot close: one of its transactions is open")
            del self._account_orders[key]
            self._account_outcomes.append(outcome)

    def open_account_orders(self) -> tuple[AccountOrder, ...]:
        return tuple(self._account_orders.values())

    def account_outcomes(self) -> tuple[AccountOutcome, ...]:
        return tuple(self._account_outcomes)

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
        is_open = any(event.leg_key in each for each in (self._open, self._perpetuals, self._account_orders))
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
