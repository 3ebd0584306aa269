"""Where the pipeline writes down what it decides and does."""

from collections.abc import Iterator
from typing import Protocol

from bot.model.account_order import AccountOrder, AccountOutcome
from bot.model.cover import CoverOrder, CoverOutcome
from bot.model.hedge import HedgeLeg, LegOutcome
from bot.model.intent import IntentEvent
from bot.model.perpetual import PerpetualOrder
from bot.model.perpetual_outcome import PerpetualOutcome
from bot.model.record import StepRecord


class Journal(Protocol):
    """Append-only and durable: a method that returned has been fsynced."""

    def open_leg(self, leg: HedgeLeg, *, at_s: float) -> None:
        """Record that a leg is being executed and reserve its budget. Refuses a known key."""
        ...

    def close_leg(self, outcome: LegOutcome) -> None: ...

    def open_legs(self) -> tuple[HedgeLeg, ...]: ...

    def outcomes(self) -> tuple[LegOutcome, ...]:
        """Return all closed legs, oldest first."""
        ...

    def open_perpetual(self, order: PerpetualOrder, *, at_s: float) -> None:
        """As ``open_leg``: recorded before anything is sent; one open order per group, beside its layers."""
        ...

    def close_perpetual(self, outcome: PerpetualOutcome) -> None: ...

    def open_perpetuals(self) -> tuple[PerpetualOrder, ...]: ...

    def perpetual_outcomes(self) -> tuple[PerpetualOutcome, ...]:
        """Return all closed orders, oldest first."""
        ...

    def open_account_order(self, order: AccountOrder, *, at_s: float) -> None:
        """As ``open_leg``: recorded before anything is sent; one open order per group, beside its layers."""
        ...

    def close_account_order(self, outcome: AccountOutcome) -> None: ...

    def open_account_orders(self) -> tuple[AccountOrder, ...]: ...

    def account_outcomes(self) -> tuple[AccountOutcome, ...]:
        """Return all closed orders on positions and loans, oldest first."""
        ...

    def open_cover(self, order: CoverOrder, *, at_s: float) -> None:
        """As ``open_leg``: recorded before anything is sent; one open order per protocol."""
        ...

    def close_cover(self, outcome: CoverOutcome) -> None: ...

    def open_covers(self) -> tuple[CoverOrder, ...]: ...

    def cover_outcomes(self) -> tuple[CoverOutcome, ...]:
        """Return all closed purchases of cover, oldest first."""
        ...

    def append_intent(self, event: IntentEvent) -> None: ...

    def intents(self, leg_key: str | None = None) -> tuple[IntentEvent, ...]:
        """Return intent events, oldest first."""
        ...

    def append_step(self, record: StepRecord) -> None: ...

    def last_step(self) -> StepRecord | None: ...

    def steps(self, *, since_s: float = 0.0) -> Iterator[StepRecord]: ...
