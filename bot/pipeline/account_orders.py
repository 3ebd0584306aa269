"""The loop's part that acts on what is protected: withdraws positions (R29), pays for loans (R21).

A person's orders are done as they come. By itself the loop does only what the policy says in words that
nobody is asked for, and once: never again for the same subject while one is open, nor within a session
after one was done.

Money that is moved stays the account's own and is in no sum of hedging; the gas of moving it is.
"""

import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from bot.model.account_order import AccountOrder, AccountOutcome
from bot.model.base_layers import Action, BaseLayer, Needs, Proposal
from bot.model.exposure import Exposure
from bot.model.hedge import LegStatus
from bot.pipeline.orders import OrderRows, Orders
from bot.ports import AccountVenue, Journal, MarketView

ALONE = "alone."  # begins the keys of orders that nobody was asked for
_LAYERS = {
    Action.WITHDRAW: BaseLayer.EXIT,
    Action.TOP_UP: BaseLayer.RESERVE,
    Action.REPAY: BaseLayer.RESERVE,
}
_NO_NAME = re.compile(r"[^A-Za-z0-9._-]+")


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountTerms:
    """How often the loop acts by itself. Seconds, from the policy."""

    session_s: float  # after an order that was done, for the same subject
    valid_for_s: float
    pause_s: tuple[float, float]  # first and longest wait after refused orders


@dataclass(slots=True, kw_only=True)
class AccountOrders:
    """State is the journal's: a new one on the same journal goes on where the last stopped.

    Without a venue (a dry run, a monitor) proposals are shown and nothing is done.
    """

    venue: AccountVenue | None
    journal: Journal
    terms: AccountTerms
    _orders: Orders[AccountOrder, AccountOutcome] = field(init=False)
    _done_s: dict[str, float] = field(init=False, default_factory=dict)  # subject -> last own order done
    _refused: dict[str, tuple[int, float]] = field(init=False, default_factory=dict)  # in a row, the last
    _gas_usd: float = field(init=False, default=0.0)

    def __post_init__(self) -> None:
        journal = self.journal
        rows = OrderRows(
            open=journal.open_account_order,
            close=journal.close_account_order,
            still_open=journal.open_account_orders,
            outcomes=journal.account_outcomes,
            order_of=lambda outcome: outcome.order,
            made=AccountOutcome,
        )
        self._orders = Orders(venue=self.venue, rows=rows, booked=self._note)

    @property
    def cash_flow_usd(self) -> float:
        """Return what the orders cost in gas, negative."""
        return -self._gas_usd

    def news(self) -> tuple[AccountOutcome, ...]:
        """Return what became of orders since the last call, each once."""
        return self._orders.news()

    async def reconcile(self, view: MarketView) -> None:
        """Close what an earlier step or run left open, from chain facts alone."""
        await self._orders.reconcile(view)

    def is_open(self, orders: Iterable[AccountOrder]) -> bool:
        """Say whether an order is open that is one of these or in the way of one."""
        return self._orders.is_open(orders)

    async def execute(self, orders: Sequence[AccountOrder], view: MarketView) -> bool:
        """Do orders that were not done before. Says whether any was begun."""
        return await self._orders.execute(orders, view)

    async def act(
        self, proposals: Sequence[Proposal], exposures: Sequence[Exposure], view: MarketView
    ) -> bool:
        """Do what the policy lets the executor do by itself. Says whether any order was begun."""
        if self.venue is None:
            return False
        groups = {item.id: item.group for item in exposures}
        return await self.execute(list(self._own(proposals, groups, view.now_s)), view)

    def _own(
        self, proposals: Sequence[Proposal], groups: Mapping[str, str], now_s: float
    ) -> Iterator[AccountOrder]:
        """Yield an order for each proposal that nobody must confirm, at most one for each group."""
        open_orders = self.journal.open_account_orders()
        taken = {item.group for item in open_orders}
        subjects = {item.subject for item in open_orders}
        for item in proposals:
            group = groups.get(item.subject, item.subject)
            order = None if group in taken or item.subject in subjects else self._order(item, group, now_s)
            if order is not None:
                taken.add(group)
                yield order

    def _order(self, item: Proposal, group: str, now_s: float) -> AccountOrder | None:
        """Return the order of a proposal; None where a person must confirm it, or it is not due again yet.

        For a loan it is what RESERVE pays: the policy lets no other money be spent.
        """
        if item.needs is not Needs.NOBODY or _LAYERS.get(item.action) is not item.layer:
            return None
        if self._waits_s(item.subject) > now_s:
            return None
        is_exit = item.action is Action.WITHDRAW
        amount = item.part if is_exit else item.from_reserve_usd
        if not 0.0 < amount < math.inf or (is_exit and amount > 1.0):
            return None
        name = _NO_NAME.sub(".", item.subject)
        return AccountOrder(
            key=f"{ALONE}{round(now_s * 1000)}-{name}-{item.action.name}",
            group=group,
            action=item.action,
            subject=item.subject,
            part=amount if is_exit else 1.0,
            amount_usd=0.0 if is_exit else amount,
            valid_until_s=now_s + self.terms.valid_for_s,
            because=item.because,
        )

    def _waits_s(self, subject: str) -> float:
        """Return until when nothing is done for a subject by itself."""
        until_s = self._done_s.get(subject, -math.inf) + self.terms.session_s
        if subject in self._refused:
            count, last_s = self._refused[subject]
            first_s, longest_s = self.terms.pause_s
            until_s = max(until_s, last_s + min(longest_s, first_s * 2.0 ** min(count - 1, 16)))
        return until_s

    def _note(self, outcome: AccountOutcome) -> None:
        self._gas_usd += outcome.gas_usd
        order = outcome.order
        if not order.key.startswith(ALONE):
            return
        if outcome.status is LegStatus.REJECTED:
            count = self._refused.get(order.subject, (0, 0.0))[0]
            self._refused[order.subject] = (count + 1, outcome.at_s)
        else:
            self._refused.pop(order.subject, None)
            self._done_s[order.subject] = outcome.at_s
