"""The life of one order, whatever it is for: planned, carried out, looked up again, reviewed, booked.

Options, perpetuals, covers, positions and loans differ in what they plan and book. The rest is the same for
all of them and stands here: nothing is sent twice, a refusal and an end that cannot be seen are told apart,
and an open proposal is looked at again.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

from bot.errors import AwaitingSignatures, OutcomeUnknown, StaleDataError, TransientError, VenueRejected
from bot.model.execution import ExecutionPlan, Wait
from bot.model.hedge import LegStatus
from bot.model.intent import Receipt
from bot.model.market import Block
from bot.model.units import WAD_DECIMALS, from_fixed
from bot.ports import ChainReader, MarketView, Proposer, Transactor
from bot.venues.executor import OrderRun
from bot.venues.prices import Prices
from bot.venues.settlement import SettlementSwap

UNSEEN = (TransientError, StaleDataError)


class AnyOrder(Protocol):
    """What all orders have: a key that never changes, and a time on the chain until which they hold."""

    @property
    def key(self) -> str: ...

    @property
    def valid_until_s(self) -> float: ...


Order = TypeVar("Order", bound=AnyOrder)
Outcome = TypeVar("Outcome")


@dataclass(frozen=True, slots=True, kw_only=True)
class AtHand(Generic[Order]):
    """An order that is taken up: at which view, from whose account, and the way of its transactions."""

    order: Order
    view: MarketView
    run: OrderRun
    reader: ChainReader
    custody: Transactor | Proposer


@dataclass(frozen=True, slots=True, kw_only=True)
class OrderLife(ABC, Generic[Order, Outcome]):
    """One order, on its way or looked up again. What it is for says how it is planned, read and booked."""

    at: AtHand[Order]
    prices: Prices  # of the view: what it is booked at

    @property
    def order(self) -> Order:
        return self.at.order

    @property
    def view(self) -> MarketView:
        return self.at.view

    @property
    def run(self) -> OrderRun:
        return self.at.run

    @abstractmethod
    async def _plan(self, head: Block, done: Mapping[str, Receipt]) -> ExecutionPlan | None:
        """Return the plan at a block, what is done already left out; None: nothing is left to be done.

        Checks its worst case against the order. Raises VenueRejected.
        """

    @abstractmethod
    def _fact(self) -> object | None:
        """Return what the receipts say the order did, None while they say nothing."""

    @abstractmethod
    async def _booked(self, because: str) -> Outcome:
        """Return the end, with what is worth saying of it."""

    @abstractmethod
    def _unfilled(self, status: LegStatus, *, gas_usd: float, because: str) -> Outcome:
        """Return an outcome of no trade."""

    async def _tidy(self, again: bool) -> str:  # noqa: ARG002 - ``again``: it is only looked up
        """Do what follows an order, and return a note."""
        return ""

    @property
    def _unknown_prices(self) -> str:
        """Name the prices without which nothing is begun and nothing booked, "" when all are known."""
        return self.prices.unknown

    @property
    def _goes_on_after(self) -> frozenset[str]:
        """See ports.VenueAdapter."""
        return frozenset()

    async def execute(self) -> Outcome:
        """Do the order to its end. A refusal, and an end that cannot be seen, are outcomes."""
        if self._unknown_prices:
            return self._refused(f"prices are not known: {self._unknown_prices}; nothing was sent")
        because, wait = "", None
        try:
            because, wait = await self._carry_out({})
        except (VenueRejected, *UNSEEN) as error:
            because = str(error)
            if not self.run.has_sent:
                seen = isinstance(error, VenueRejected)
                return self._refused(because if seen else f"{because}; nothing was sent")
            if not isinstance(error, VenueRejected):
                return self._unseen(error)
            wait = self._still_open(because)
        except OutcomeUnknown as error:
            return self._unseen(error)
        return await self._finished(because, wait, again=False)

    async def reconcile(self) -> Outcome:
        """Say what became of the order; sends only clean-up, and what a Wait was in the way of."""
        wait, because = None, ""
        try:
            await self.run.finish()
            if self._is_half_done():
                because, wait = await self._carry_out(self.run.receipts)
                return await self._finished(because, wait, again=False)
        except AwaitingSignatures as error:
            return await self._reviewed(error)
        except VenueRejected as refusal:
            because = str(refusal)
            wait = self._still_open(because)
        except (OutcomeUnknown, *UNSEEN) as error:
            return self._unseen(error)
        return await self._finished(
            because or ("abandoned at restart" if self._fact() is None else ""), wait, again=True
        )

    def _is_half_done(self) -> bool:
        """Say whether a step was mined that the order goes on after, and the rest is still to be done."""
        done = {name for name, receipt in self.run.receipts.items() if receipt.succeeded}
        return bool(self._goes_on_after & done) and self._fact() is None

    def _still_open(self, because: str) -> Wait | None:
        """Return what a refused order waits for: one that is half done is tried again at a later block."""
        return Wait(because=because) if self._is_half_done() else None

    async def _carry_out(self, done: Mapping[str, Receipt]) -> tuple[str, Wait | None]:
        """Plan and send. Returns what is worth saying, and what the plan waits for."""
        head = await self.at.reader.head()
        if head.timestamp_s > self.order.valid_until_s and not done:
            raise VenueRejected(
                f"the order was valid until {self.order.valid_until_s:.0f}, it is {head.timestamp_s}"
            )
        plan = await self._plan(head, done)
        if plan is None:
            return "", None
        return plan.because, await self.run.carry_out(plan, head=head)

    async def _finished(self, because: str, wait: Wait | None, *, again: bool) -> Outcome:
        """Do what follows, leave no allowance behind, and book what the receipts say."""
        if wait is not None:
            return self._standing(LegStatus.WAITING, wait.because)
        notes = [because]
        try:
            notes.append(await self._tidy(again))
            await self.run.finish()
            if self._unknown_prices:
                return self._unseen(TransientError(f"prices are not known: {self._unknown_prices}"))
            return await self._booked("; ".join(filter(None, notes)))
        except (VenueRejected, OutcomeUnknown, *UNSEEN) as error:
            return self._unseen(error)

    async def _reviewed(self, awaiting: AwaitingSignatures) -> Outcome:
        """Look at an open proposal again: is it still worth what its owners are asked to sign?

        One that is not is withdrawn.
        """
        order, because = self.order, ""
        try:
            head = await self.at.reader.head()
            if head.timestamp_s > order.valid_until_s:
                because = f"the order was valid until {order.valid_until_s:.0f}, it is {head.timestamp_s}"
            else:
                await self._plan(head, {})
        except VenueRejected as refusal:
            because = f"overtaken by the market: {refusal}"
        except (OutcomeUnknown, *UNSEEN) as trouble:
            said = f"{awaiting}; it could not be looked at again: {trouble}"
            return self._standing(LegStatus.PROPOSED, said)
        if because and isinstance(self.at.custody, Proposer):
            try:
                await self.at.custody.withdraw(order.key, because=because)
            except (OutcomeUnknown, *UNSEEN) as trouble:
                return self._unseen(trouble)
        return self._standing(LegStatus.PROPOSED, because or str(awaiting))

    def _refused(self, because: str) -> Outcome:
        return self._standing(LegStatus.REJECTED, because)

    def _unseen(self, error: Exception) -> Outcome:
        """An end that cannot be seen now: reconcile finds it by the order's key."""
        proposed = isinstance(error, AwaitingSignatures)
        return self._standing(LegStatus.PROPOSED if proposed else LegStatus.UNKNOWN, str(error))

    def _standing(self, status: LegStatus, because: str) -> Outcome:
        """Refused before anything was sent, or still open."""
        gas = 0.0 if self._unknown_prices else self._gas_usd()
        return self._unfilled(status, gas_usd=gas, because=because)

    def _spent(self, because: str) -> Outcome:
        """Refused, with the gas that was burnt on the way."""
        return self._unfilled(LegStatus.REJECTED, gas_usd=self._gas_usd(), because=because)

    def _gas_usd(self) -> float:
        """Return what all transactions burnt, each once, those without effect too; NaN for NaN."""
        costs = {receipt.tx_hash: receipt.gas_cost_wei for receipt in self.run.receipts.values()}
        spent = from_fixed(sum(costs.values()), decimals=WAD_DECIMALS)
        return spent * self.prices.eth_usd if spent else 0.0


def swap_usd(run: OrderRun, swap: SettlementSwap | None, *, account: str, prices: Prices) -> float:
    """Return what changing the settlement token cost an order; negative when it gained."""
    if swap is None:
        return 0.0
    swaps = (run.receipts.get(purpose) for purpose in ("swap-in", "swap-out"))
    costs = (
        swap.cost_usd(
            receipt, account=account, stable_usd=prices.stable_usd, settlement_usd=prices.settlement_usd
        )
        for receipt in swaps
        if receipt is not None and receipt.succeeded
    )
    return sum(costs, 0.0)
