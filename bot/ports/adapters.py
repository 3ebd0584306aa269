"""What is known of one venue, position or loan, and how an order is done there. Adapters send nothing."""

from collections.abc import Mapping
from typing import Protocol

from bot.model.account_order import AccountFact, AccountOrder
from bot.model.execution import Ended, ExecutionPlan, TradeFact
from bot.model.hedge import HedgeLeg, Quote
from bot.model.intent import Receipt
from bot.model.market import Block
from bot.model.perpetual import Perpetual, PerpetualEnd, PerpetualOrder, PerpetualPosition, PerpetualQuote
from bot.model.perpetual_outcome import PerpetualFact
from bot.model.signing import Permission
from bot.ports.venues import MarketView, VenuePosition


class VenueAdapter(Protocol):
    """What is known of one option venue: what it lists and asks, what is held there, how an order is done.

    It sends nothing. `bot.venues.planned.PlannedVenue` makes a ``Venue`` of it and carries its plans out.
    """

    @property
    def name(self) -> str: ...

    @property
    def least_gas_ceiling(self) -> int:
        """Gas limit that a signer must allow: under a smaller one a leg would fail half-way."""
        ...

    @property
    def goes_on_after(self) -> frozenset[str]:
        """Purposes of steps that a Wait follows: an order that got this far goes on at a later block."""
        ...

    def permissions(self) -> tuple[Permission, ...]:
        """Return every call and allowance that a plan may hold, known without asking the chain."""
        ...

    async def quotes(self, view: MarketView, *, underlying: str, size: float) -> tuple[Quote, ...]:
        """See Venue."""
        ...

    async def held(self, view: MarketView) -> tuple[VenuePosition, ...]:
        """See Venue. Each position says what is due of it."""
        ...

    async def plan(
        self, leg: HedgeLeg, *, view: MarketView, head: Block, done: Mapping[str, Receipt]
    ) -> ExecutionPlan:
        """Return how to do a leg from the state at ``head``; steps that are ``done`` (by purpose) left out.

        The very trade is run by eth_call first. Raises VenueRejected when it is not possible within the
        leg's limit, or the instrument on the chain is another (REL-D8); nothing was sent then.
        """
        ...

    def fact(self, leg: HedgeLeg, receipts: Mapping[str, Receipt], *, view: MarketView) -> TradeFact | None:
        """Return what the receipts of a leg (by purpose) say it did, None where its trade did not succeed.

        Raises InvariantError when the trade succeeded without its event.
        """
        ...

    async def ended(
        self, leg: HedgeLeg, *, view: MarketView, head: Block, done: Mapping[str, Receipt]
    ) -> Ended | None:
        """Return how the position of a SETTLE leg ended without it, None while it is ours to settle."""
        ...


class PerpetualAdapter(Protocol):
    """What is known of one perpetual venue. `bot.venues.planned_perpetual` carries out its plans."""

    @property
    def name(self) -> str: ...

    @property
    def least_gas_ceiling(self) -> int: ...

    def permissions(self) -> tuple[Permission, ...]:
        """Return every call and allowance that a plan may hold, known without asking the chain."""
        ...

    async def perpetual_quotes(
        self, view: MarketView, *, underlying: str, size: float
    ) -> tuple[PerpetualQuote, ...]: ...

    async def held_perpetuals(self, view: MarketView) -> tuple[PerpetualPosition, ...]: ...

    async def plan(self, order: PerpetualOrder, *, view: MarketView, head: Block) -> ExecutionPlan:
        """Return how to do an order from the state at ``head``, with the very trade run by eth_call first.

        Raises VenueRejected when it is not possible within the order's limit and time.
        """
        ...

    async def after(
        self, order: PerpetualOrder, receipts: Mapping[str, Receipt], *, view: MarketView, head: Block
    ) -> ExecutionPlan | None:
        """Return what takes back margin that an order, done or failed half-way, leaves idle."""
        ...

    def fact(
        self, order: PerpetualOrder, receipts: Mapping[str, Receipt], *, view: MarketView
    ) -> PerpetualFact | None:
        """Return what the receipts (by purpose) say was done, None where nothing was."""
        ...

    def margin_moved(self, receipts: Mapping[str, Receipt], *, view: MarketView) -> float:
        """Return what the receipts moved to the venue, USD; negative where more was taken back."""
        ...

    async def ended(
        self, perpetual: Perpetual, size: float, *, view: MarketView, since_block: int
    ) -> PerpetualEnd | None:
        """See PerpetualVenue."""
        ...


class AccountAdapter(Protocol):
    """How one position or loan is acted on (R21, R29). `bot.venues.planned_account` carries it out."""

    @property
    def name(self) -> str:
        """The exposure or loan that its orders name as their subject."""
        ...

    @property
    def least_gas_ceiling(self) -> int: ...

    def permissions(self) -> tuple[Permission, ...]: ...

    async def plan(self, order: AccountOrder, *, view: MarketView, head: Block) -> ExecutionPlan:
        """Return how to do an order, with the very call run by eth_call first. Raises VenueRejected."""
        ...

    def fact(self, order: AccountOrder, receipts: Mapping[str, Receipt]) -> AccountFact | None:
        """Return what the receipts (by purpose) say was done, None where nothing was."""
        ...
