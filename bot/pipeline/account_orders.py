"""The loop's part that acts on what is protected: withdraws positions (R29), pays for loans (R21).

The guarantees are those of legs: an order is in the journal before anything is sent, one is open per group,
what an earlier run left open is looked up on the chain. A person's orders are done as they come. By itself
the loop does only what the policy says in words that nobody is asked for, and once: never again for the same
subject while one is open, nor within a session after one was done.

Money that is moved stays the account's own and is in no sum of hedging; the gas of moving it is.
"""

import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from bot.errors import OutcomeUnknown, StaleDataError, TransientError, VenueRejected
from bot.model.account_order import AccountOrder, AccountOutcome
from bot.model.base_layers import Action, BaseLayer, Needs, Proposal
from bot.model.exposure import Exposure
from bot.model.hedge import OPEN_STATUSES, LegStatus
from bot.ports import AccountVenue, Journal, MarketView

ALONE = "alone."  # begins the keys of orders that nobody was asked for
_UNSEEN = (OutcomeUnknown, TransientError, StaleDataError, VenueRejected)
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
    _news: list[AccountOutcome] = field(init=False, default_factory=list)  # not in a record yet
    _pending: dict[str, tuple[LegStatus, str]] = field(init=False, default_factory=dict)  # last look
    _done_s: dict[str, float] = field(init=False, default_factory=dict)  # subject -> last own order done
    _refused: dict[str, tuple[int, float]] = field(init=False, default_factory=dict)  # in a row, the last
    _gas_usd: float = field(init=False, default=0.0)

    def __post_init__(self) -> None:
        for outcome in self.journal.account_outcomes():
            self._note(outcome)

    @property
    def cash_flow_usd(self) -> float:
        """Return what the orders cost in gas, negative."""
        return -self._gas_usd

    def news(self) -> tuple[AccountOutcome, ...]:
        """Return what became of orders since the last call, each once."""
        news, self._news = tuple(self._news), []
        return news

    async def reconcile(self, view: MarketView) -> None:
        """Close what an earlier step or run left open, from chain facts alone."""
        if self.venue is None:
            return
        before, self._pending = self._pending, {}
        for order in self.journal.open_account_orders():
            try:
                outcome = await self.venue.reconcile(order, view=view)
            except _UNSEEN:
                continue  # stays open: blocks its group's orders until a fact is known
            done = self._close(replace(outcome, reconciled=True))
            said = (done.status, done.because)
            if done.status in OPEN_STATUSES:
                self._pending[order.key] = said
            if done.status not in OPEN_STATUSES or (_waits(done) and before.get(order.key) != said):
                self._news.append(done)

    def is_open(self, orders: Iterable[AccountOrder]) -> bool:
        """Say whether an order is open that is one of these or in the way of one."""
        groups = {order.group for order in orders}
        return any(item.group in groups for item in self.journal.open_account_orders())

    async def execute(self, orders: Sequence[AccountOrder], view: MarketView) -> bool:
        """Do orders that were not done before, in their order; stop at one whose end is open.

        Says whether any was begun.
        """
        if self.venue is None or not orders:
            return False
        known = {item.order.key for item in self.journal.account_outcomes()}
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

    async def _execute(self, venue: AccountVenue, order: AccountOrder, view: MarketView) -> AccountOutcome:
        self.journal.open_account_order(order, at_s=view.now_s)
        try:
            return self._close(await venue.execute(order, view=view))
        except _UNSEEN as error:
            return AccountOutcome(order=order, status=LegStatus.UNKNOWN, at_s=view.now_s, because=str(error))

    def _close(self, outcome: AccountOutcome) -> AccountOutcome:
        if not math.isfinite(outcome.gas_usd):  # one NaN would be in every sum from now on
            why = f"booked without a known price of gas: {outcome.tx_hash or outcome.because}"
            outcome = replace(outcome, status=LegStatus.UNKNOWN, gas_usd=0.0, because=why)
        if outcome.status in OPEN_STATUSES:
            return outcome  # stays open in the journal
        self.journal.close_account_order(outcome)
        self._note(outcome)
        return outcome

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


def _waits(outcome: AccountOutcome) -> bool:
    """Say whether others must act on it."""
    return outcome.status in (LegStatus.PROPOSED, LegStatus.WAITING)
