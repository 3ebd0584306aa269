"""The life of one order, whatever it is for: planned, carried out, looked up again, reviewed, booked.

Options, perpetuals, covers, positions and loans differ in what they plan and book. The rest is the same for
all of them and stands here: nothing is sent twice, a refusal and an end that cannot be seen are told apart,
and an open proposal is looked at again.
"""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Generic, TypeVar

from bot.errors import AwaitingSignatures, OutcomeUnknown, StaleDataError, TransientError, VenueRejected
from bot.model.execution import ExecutionPlan, Wait
from bot.model.hedge import LegStatus
from bot.model.intent import Receipt
from bot.model.market import Block
from bot.model.units import WAD_DECIMALS, from_fixed
from bot.ports import ChainReader, Proposer, Transactor
from bot.venues.executor import OrderRun

UNSEEN = (TransientError, StaleDataError)
Outcome = TypeVar("Outcome")


@dataclass(frozen=True, slots=True, kw_only=True)
class OrderLife(Generic[Outcome]):
    """One order, on its way or looked up again."""

    key: str
    valid_until_s: float  # chain time
    run: OrderRun
    reader: ChainReader
    custody: Transactor | Proposer
    # Makes the plan at a block, what is done already left out, and checks its worst case against the order;
    # None: nothing is left to be done. Raises VenueRejected.
    plan: Callable[[Block, Mapping[str, Receipt]], Awaitable[ExecutionPlan | None]]
    is_done: Callable[[], bool]  # the receipts say so
    book: Callable[[str], Awaitable[Outcome]]  # the end, with what is worth saying of it
    stand: Callable[[LegStatus, str], Outcome]  # refused before anything was sent, or still open
    # Does what follows, and returns a note; the argument says that it is only looked up again.
    tidy: Callable[[bool], Awaitable[str]] | None = None
    unknown_prices: str = ""  # that booking needs: nothing is begun, and nothing booked, without them
    goes_on_after: frozenset[str] = frozenset()  # see ports.VenueAdapter

    async def execute(self) -> Outcome:
        """Do the order to its end. A refusal, and an end that cannot be seen, are outcomes."""
        if self.unknown_prices:
            return self._refused(f"prices are not known: {self.unknown_prices}; nothing was sent")
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
        except OutcomeUnknown as error:
            return self._unseen(error)
        return await self._ended(because, wait, again=False)

    async def reconcile(self) -> Outcome:
        """Say what became of the order; sends only clean-up, and what a Wait was in the way of."""
        wait, because = None, ""
        try:
            await self.run.finish()
            done = {name for name, receipt in self.run.receipts.items() if receipt.succeeded}
            if self.goes_on_after & done and not self.is_done():
                because, wait = await self._carry_out(self.run.receipts)
                return await self._ended(because, wait, again=False)
        except AwaitingSignatures as error:
            return await self._reviewed(error)
        except VenueRejected as refusal:
            because = str(refusal)
        except (OutcomeUnknown, *UNSEEN) as error:
            return self._unseen(error)
        return await self._ended(
            because or ("" if self.is_done() else "abandoned at restart"), None, again=True
        )

    async def _carry_out(self, done: Mapping[str, Receipt]) -> tuple[str, Wait | None]:
        """Plan and send. Returns what is worth saying, and what the plan waits for."""
        head = await self.reader.head()
        if head.timestamp_s > self.valid_until_s and not done:
            raise VenueRejected(
                f"the order was valid until {self.valid_until_s:.0f}, it is {head.timestamp_s}"
            )
        plan = await self.plan(head, done)
        if plan is None:
            return "", None
        return plan.because, await self.run.carry_out(plan, head=head)

    async def _ended(self, because: str, wait: Wait | None, *, again: bool) -> Outcome:
        """Do what follows, leave no allowance behind, and book what the receipts say."""
        if wait is not None:
            return self.stand(LegStatus.WAITING, wait.because)
        notes = [because]
        try:
            if self.tidy is not None:
                notes.append(await self.tidy(again))
            await self.run.finish()
            if self.unknown_prices:
                return self._unseen(TransientError(f"prices are not known: {self.unknown_prices}"))
            return await self.book("; ".join(filter(None, notes)))
        except (VenueRejected, OutcomeUnknown, *UNSEEN) as error:
            return self._unseen(error)

    async def _reviewed(self, error: AwaitingSignatures) -> Outcome:
        """Look at an open proposal again: is it still worth what its owners are asked to sign?"""
        because = ""
        try:
            head = await self.reader.head()
            if head.timestamp_s > self.valid_until_s:
                because = f"the order was valid until {self.valid_until_s:.0f}, it is {head.timestamp_s}"
            else:
                await self.plan(head, {})
        except VenueRejected as refusal:
            because = f"overtaken by the market: {refusal}"
        except (OutcomeUnknown, *UNSEEN) as trouble:
            return self.stand(LegStatus.PROPOSED, f"{error}; it could not be looked at again: {trouble}")
        if because and isinstance(self.custody, Proposer):
            try:
                await self.custody.withdraw(self.key, because=because)
            except (OutcomeUnknown, *UNSEEN) as trouble:
                return self._unseen(trouble)
        return self.stand(LegStatus.PROPOSED, because or str(error))

    def _refused(self, because: str) -> Outcome:
        return self.stand(LegStatus.REJECTED, because)

    def _unseen(self, error: Exception) -> Outcome:
        """An end that cannot be seen now: reconcile finds it by the order's key."""
        proposed = isinstance(error, AwaitingSignatures)
        return self.stand(LegStatus.PROPOSED if proposed else LegStatus.UNKNOWN, str(error))


def gas_usd(run: OrderRun, eth_usd: float) -> float:
    """Return what all transactions of an order burnt, each once, those without effect too; NaN for NaN."""
    costs = {receipt.tx_hash: receipt.gas_cost_wei for receipt in run.receipts.values()}
    spent = from_fixed(sum(costs.values()), decimals=WAD_DECIMALS)
    return spent * eth_usd if spent else 0.0


def nobody_signs(key: str, name: str) -> TransientError:
    """Return why an open order is not looked up: only whoever signs may say that it never was."""
    return TransientError(f"order {key} stays open: {name} has no account that can sign and follow it")
