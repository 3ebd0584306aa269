"""What the adapters of option venues on one chain have in common.

Quotes and marks are had at the view's block, plans at the head they are asked for, all at the prices of the
view. A venue brings as parts what it lists, marks and plans; it says itself which calls a plan may hold, what
the receipts say, and how a position ends without an order.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Generic, Protocol, TypeVar

from bot.model.execution import Ended, ExecutionPlan, TradeFact
from bot.model.hedge import HedgeLeg, Quote
from bot.model.intent import Receipt
from bot.model.market import Block
from bot.model.signing import Permission
from bot.model.venue import VenueCapabilities
from bot.ports import ChainReader, MarketView, Proposer, Transactor, VenuePosition
from bot.venues.option_quotes import Quoted, Refusal
from bot.venues.option_terms import OptionTerms
from bot.venues.planned import PlannedVenue
from bot.venues.prices import Money, Prices, pinned, prices_of
from bot.venues.settlement import SettlementSwap


class Quoter(Protocol):
    async def quotes(self, block: Block, prices: Prices, *, size: float) -> Quoted:
        """Return a quote for every option that can be bought, and why for every other."""
        ...


class Marks(Protocol):
    async def held(self, block: Block, prices: Prices, *, account: str) -> tuple[VenuePosition, ...]:
        """Return what an account holds. Raises TransientError when it cannot be read."""
        ...


class Planner(Protocol):
    async def plan(
        self, leg: HedgeLeg, *, prices: Prices, head: Block, done: Mapping[str, Receipt]
    ) -> ExecutionPlan:
        """See ports.VenueAdapter."""
        ...


Terms = TypeVar("Terms", bound=OptionTerms)


class OptionAdapter(ABC, Generic[Terms]):
    """VenueAdapter of one deployment.

    ``account`` says whose options are marked and who trades; none: quotes only.
    """

    capabilities: VenueCapabilities
    goes_on_after: frozenset[str] = frozenset()

    def __init__(
        self,
        *,
        terms: Terms,
        money: Money,
        account: str | None,
        quoter: Quoter,
        marks: Marks,
        planner: Planner,
    ) -> None:
        self.terms, self.money, self._account = terms, money, account
        self._quoter, self._marks, self._planner = quoter, marks, planner
        self._refusals: tuple[Refusal, ...] = ()

    @property
    def name(self) -> str:
        return self.terms.name

    @property
    def refusals(self) -> tuple[Refusal, ...]:
        """Options that the last ``quotes`` call listed and could not quote, with the reason."""
        return self._refusals

    @property
    def least_gas_ceiling(self) -> int:
        return self.terms.gas.least_ceiling

    @abstractmethod
    def permissions(self) -> tuple[Permission, ...]:
        """Return every call that a leg may hold."""

    async def quotes(self, view: MarketView, *, underlying: str, size: float) -> tuple[Quote, ...]:
        """Return buy quotes at the view's block; what has none is in ``refusals``."""
        found: tuple[Quote, ...] = ()
        self._refusals = ()
        if underlying == self.terms.underlying:
            found, self._refusals = await self._quoter.quotes(pinned(view), self._prices(view), size=size)
        return found

    async def held(self, view: MarketView) -> tuple[VenuePosition, ...]:
        """Return the account's options at the view's block."""
        if self._account is None:
            return ()
        return await self._marks.held(pinned(view), self._prices(view), account=self._account)

    async def plan(
        self, leg: HedgeLeg, *, view: MarketView, head: Block, done: Mapping[str, Receipt]
    ) -> ExecutionPlan:
        return await self._planner.plan(leg, prices=self._prices(view), head=head, done=done)

    def fact(self, leg: HedgeLeg, receipts: Mapping[str, Receipt], *, view: MarketView) -> TradeFact | None:
        return self._fact(leg, receipts, self._prices(view))

    async def ended(
        self,
        leg: HedgeLeg,
        *,
        view: MarketView,
        head: Block,
        done: Mapping[str, Receipt],  # noqa: ARG002 - for a venue whose orders end in several steps
    ) -> Ended | None:
        return await self._ended(leg, self._prices(view), head)

    @abstractmethod
    def _fact(self, leg: HedgeLeg, receipts: Mapping[str, Receipt], prices: Prices) -> TradeFact | None:
        """See ports.VenueAdapter."""

    @abstractmethod
    async def _ended(self, leg: HedgeLeg, prices: Prices, head: Block) -> Ended | None:
        """See ports.VenueAdapter."""

    def _prices(self, view: MarketView) -> Prices:
        return prices_of(view, self.money, underlying=self.terms.underlying)


def owner_of(custody: Transactor | Proposer | None, account: str | None) -> str | None:
    """Return whose positions they are: of what signs, else of the account that is only looked at."""
    return account if custody is None else custody.address


def planned_venue(
    adapter: OptionAdapter[Terms],
    *,
    reader: ChainReader,
    custody: Transactor | Proposer | None,
    swap: SettlementSwap | None = None,
) -> PlannedVenue:
    """Return the venue over an adapter; without ``custody`` it quotes and marks."""
    return PlannedVenue(
        adapter,
        reader=reader,
        money=adapter.money,
        custody=custody,
        swap=swap,
        buy_gas=adapter.terms.gas.buy,
    )


def unpaid(leg: HedgeLeg, head: Block, because: str, *, by_hand: bool) -> Ended:
    """Return that a leg's position ended and brought the account nothing by that."""
    return Ended(size=leg.size, payoff_usd=0.0, block_number=head.number, because=because, by_hand=by_hand)
