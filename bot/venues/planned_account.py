"""Carries out orders on positions and loans: the executor is the one of hedges, the money rules too."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType

from bot.errors import NotFoundError, VenueRejected
from bot.model.account_order import AccountFact, AccountOrder, AccountOutcome
from bot.model.execution import ExecutionPlan
from bot.model.hedge import LegStatus
from bot.model.intent import Receipt
from bot.model.market import Block
from bot.ports import AccountAdapter, ChainReader, MarketView, Proposer, Transactor
from bot.venues.order_life import AtHand, OrderLife
from bot.venues.planned_orders import PlannedOrders, Together
from bot.venues.prices import Money, prices_of

_NONE: Mapping[str, str] = MappingProxyType({})


class PlannedAccount(PlannedOrders[AccountOrder, AccountOutcome]):
    """Does orders by the adapter that their subject names, one at a time.

    Without ``custody`` it plans, and refuses every order.
    """

    def __init__(
        self,
        adapters: Sequence[AccountAdapter],
        *,
        reader: ChainReader,
        money: Money,
        custody: Transactor | Proposer | None,
        refused: Mapping[str, str] = _NONE,
    ) -> None:
        """``refused`` says of what is configured and cannot be acted on why not."""
        super().__init__(Together(name="account", parts=adapters), reader=reader, custody=custody)
        self._barred = refused
        self._adapters: Mapping[str, AccountAdapter] = {item.name: item for item in adapters}
        self._money = money

    @property
    def subjects(self) -> tuple[str, ...]:
        """What can be acted on."""
        return tuple(self._adapters)

    async def plan(self, order: AccountOrder, *, view: MarketView) -> ExecutionPlan:
        """Return how an order would be done now; nothing is sent.

        Raises VenueRejected where it cannot be, NotFoundError where its subject is not configured.
        """
        if why := self._barred.get(order.subject):
            raise VenueRejected(f"{why}; nothing was sent")
        return await self._adapter(order).plan(order, view=view, head=await self._reader.head())

    def _adapter(self, order: AccountOrder) -> AccountAdapter:
        if why := self._barred.get(order.subject):
            raise NotFoundError(f"order {order.key}: {why}")
        try:
            return self._adapters[order.subject]
        except KeyError:
            known = ", ".join((*self._adapters, *self._barred)) or "none"
            raise NotFoundError(f"order {order.key}: {order.subject!r} is none of: {known}") from None

    def _why_never(self, order: AccountOrder) -> str:
        return self._barred.get(order.subject, "")

    def _place(self, order: AccountOrder) -> str:
        return order.subject

    def _refused(self, order: AccountOrder, *, at_s: float, because: str) -> AccountOutcome:
        return AccountOutcome(order=order, status=LegStatus.REJECTED, at_s=at_s, because=because)

    def _life(self, at: AtHand[AccountOrder]) -> "_AccountLife":
        return _AccountLife(at=at, prices=prices_of(at.view, self._money), adapter=self._adapter(at.order))


@dataclass(frozen=True, slots=True, kw_only=True)
class _AccountLife(OrderLife[AccountOrder, AccountOutcome]):
    """One order. Its gas is NaN where the coin's price is not known."""

    adapter: AccountAdapter

    @property
    def _unknown_prices(self) -> str:
        """Prices that are unknown stop nothing here: a position must be able to leave without them."""
        return ""

    async def _plan(self, head: Block, done: Mapping[str, Receipt]) -> ExecutionPlan:
        del done  # no plan of a position or loan waits
        return await self.adapter.plan(self.order, view=self.view, head=head)

    def _fact(self) -> AccountFact | None:
        return self.adapter.fact(self.order, self.run.receipts)

    async def _booked(self, because: str) -> AccountOutcome:
        fact, spent = self._fact(), self._spent(because)
        if fact is None:
            return spent
        return replace(
            spent,
            status=LegStatus.FILLED,
            moved=fact.moved,
            tx_hash=fact.receipt.tx_hash,
            block_number=fact.receipt.block_number,
        )

    def _unfilled(self, status: LegStatus, *, gas_usd: float, because: str) -> AccountOutcome:
        return AccountOutcome(
            order=self.order, status=status, at_s=self.prices.now_s, gas_usd=gas_usd, because=because
        )
