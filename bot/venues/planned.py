"""Makes a venue of an adapter: its plans are carried out, and what the receipts say is booked.

One executor for every venue: what an order may cost, that nothing is left allowed, and how an end that is
not seen is found again, is the same for all of them.
"""

import asyncio
import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

from bot.errors import AwaitingSignatures, OutcomeUnknown, StaleDataError, TransientError, VenueRejected
from bot.model.execution import Ended, TradeFact, Wait
from bot.model.hedge import HedgeLeg, LegOutcome, LegStatus, Quote, Side
from bot.model.intent import Receipt
from bot.model.market import Block
from bot.model.signing import Permission
from bot.model.units import WAD_DECIMALS, from_fixed, to_fixed_up
from bot.ports import ChainReader, MarketView, Messenger, Proposer, Transactor, VenueAdapter, VenuePosition
from bot.venues.booked import SIZE_TOLERANCE, rejected
from bot.venues.executor import OrderRun
from bot.venues.prices import Money, Prices, prices_of
from bot.venues.settlement import SettlementSwap
from bot.venues.steps import ERC20

_UNSEEN = (TransientError, StaleDataError)


class PlannedVenue:
    """Venue over one adapter.

    Without ``custody`` it lists, quotes and marks, and refuses every leg. One custody per account: two
    would mix up each other's allowances.
    """

    def __init__(
        self,
        adapter: VenueAdapter,
        *,
        reader: ChainReader,
        money: Money,
        custody: Transactor | Proposer | None = None,
        swap: SettlementSwap | None = None,
        messenger: Messenger | None = None,
        buy_gas: int = 0,
    ) -> None:
        """``buy_gas`` is what all transactions of a purchase use; 0 leaves its gas to the limits alone."""
        self.adapter = adapter
        self._reader, self._money, self._custody = reader, money, custody
        self._swap, self._messenger, self._buy_gas = swap, messenger, buy_gas
        self._one_leg = asyncio.Lock()  # two legs at once would overwrite each other's allowances

    @property
    def name(self) -> str:
        return self.adapter.name

    @property
    def least_gas_ceiling(self) -> int:
        return self.adapter.least_gas_ceiling

    @property
    def sends_messages(self) -> bool:
        """Say whether orders go to a service off the chain, and not by transactions alone."""
        return self._messenger is not None

    @property
    def money(self) -> Money:
        return self._money

    @property
    def swap(self) -> SettlementSwap | None:
        return self._swap

    def permissions(self) -> tuple[Permission, ...]:
        """Return every call and allowance that a leg may send, for the signer's allow-list."""
        return (*self.adapter.permissions(), *(self._swap.permissions() if self._swap else ()))

    async def quotes(self, view: MarketView, *, underlying: str, size: float) -> tuple[Quote, ...]:
        return await self.adapter.quotes(view, underlying=underlying, size=size)

    async def held(self, view: MarketView) -> tuple[VenuePosition, ...]:
        return await self.adapter.held(view)

    async def execute(self, leg: HedgeLeg, *, view: MarketView) -> LegOutcome:
        """Do one leg to its end: filled, refused (with what was spent on the way), waiting or unknown."""
        if self._custody is None:
            return rejected(leg, at_s=view.now_s, because=f"{self.name}: no account that can sign")
        async with self._one_leg:
            return await self._order(leg, view, self._custody).execute()

    async def reconcile(self, leg: HedgeLeg, *, view: MarketView) -> LegOutcome:
        """Say what became of a leg that an earlier step or run left open, and revoke what it left allowed."""
        if self._custody is None:
            return rejected(leg, at_s=view.now_s, because=f"{self.name}: no account that can sign")
        async with self._one_leg:
            return await self._order(leg, view, self._custody, again=True).reconcile()

    async def loose_settlement_usd(self, view: MarketView) -> float:
        """Return the worth of settlement tokens the account holds outside positions: cash, used first."""
        if self._custody is None or view.block is None or self._swap is None:
            return 0.0
        pair = self._swap.pair
        call = ERC20.call("balanceOf", pair.settlement_token, self._custody.address)
        row = (await self._reader.read([call], block=view.block))[0]
        price = view.stable_usd.get(pair.settlement, math.nan)
        return math.nan if row is None else self._swap.settlement_amount(row[0]) * price

    def _order(
        self, leg: HedgeLeg, view: MarketView, custody: Transactor | Proposer, *, again: bool = False
    ) -> "_LegOrder":
        run = OrderRun(
            reader=self._reader,
            custody=custody,
            key=leg.key,
            valid_until_s=leg.valid_until_s,
            permissions=self.permissions(),
            swap=self._swap,
            messenger=self._messenger,
            again=again,
        )
        return _LegOrder(
            leg=leg,
            view=view,
            adapter=self.adapter,
            run=run,
            reader=self._reader,
            prices=prices_of(view, self._money),
            custody=custody,
            money=self._money,
            swap=self._swap,
            buy_gas=self._buy_gas,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class _LegOrder:
    """One leg, on its way or looked up again."""

    leg: HedgeLeg
    view: MarketView
    adapter: VenueAdapter
    run: OrderRun
    reader: ChainReader
    prices: Prices
    custody: Transactor | Proposer
    money: Money
    swap: SettlementSwap | None
    buy_gas: int

    async def execute(self) -> LegOutcome:
        """Do the leg to its end. A refusal, and an end that cannot be seen, are outcomes."""
        if self.prices.unknown:  # what it costs could not be booked
            return self._refused(f"prices are not known: {self.prices.unknown}; nothing was sent")
        try:
            because = await self._carry_out({})
        except VenueRejected as refusal:
            if not self.run.has_sent:
                return self._refused(str(refusal))
            because = str(refusal)
        except _UNSEEN as error:
            if not self.run.has_sent:
                return self._refused(f"{error}; nothing was sent")
            return self._unknown(error)
        except OutcomeUnknown as error:
            return self._unknown(error)
        return because if isinstance(because, LegOutcome) else await self._finish(because)

    async def reconcile(self) -> LegOutcome:
        """Say what became of the leg; sends nothing but revocations, and what a Wait was in the way of."""
        try:
            await self.run.finish()
            goes_on = self.adapter.goes_on_after & {
                purpose for purpose, receipt in self.run.receipts.items() if receipt.succeeded
            }
            if goes_on and self._fact() is None:
                because = await self._carry_out(self.run.receipts)
                return because if isinstance(because, LegOutcome) else await self._finish(because)
        except AwaitingSignatures as error:
            return await self._reviewed(error)
        except VenueRejected as refusal:
            return await self._finish(str(refusal), sweep=False)
        except (OutcomeUnknown, *_UNSEEN) as error:
            return self._unknown(error)
        return await self._finish("" if self._fact() else "abandoned at restart", sweep=False)

    async def _carry_out(self, done: Mapping[str, Receipt]) -> str | LegOutcome:
        """Plan and send. Returns what is worth saying of it, or the outcome where the plan waits."""
        leg, head = self.leg, await self.reader.head()
        if head.timestamp_s > leg.valid_until_s and not done:
            raise VenueRejected(f"the leg was valid until {leg.valid_until_s:.0f}, it is {head.timestamp_s}")
        if leg.side is Side.SETTLE and await self.adapter.ended(leg, view=self.view, head=head) is not None:
            return ""  # booked by `_finish`
        if leg.side is Side.BUY:
            self._bound_gas(head)
        plan = await self.adapter.plan(leg, view=self.view, head=head, done=done)
        self._check_bounds(plan.most_usd, plan.least_usd)
        wait = await self.run.carry_out(plan, head=head)
        return plan.because if wait is None else self._waiting(wait)

    def _check_bounds(self, most_usd: float, least_usd: float) -> None:
        """Raise VenueRejected where a plan's worst case is worse than the leg allows."""
        leg = self.leg
        slack_usd = 1e-6 * max(leg.limit_usd, 1.0)  # of the conversion into raw units
        if leg.side is Side.BUY and not most_usd <= leg.limit_usd + slack_usd:
            raise VenueRejected(f"the plan may cost {most_usd:.2f} USD, the leg allows {leg.limit_usd:.2f}")
        if leg.side is Side.SELL and not least_usd >= leg.limit_usd - slack_usd:
            raise VenueRejected(f"the plan may bring {least_usd:.2f} USD, the leg asks {leg.limit_usd:.2f}")

    def _bound_gas(self, head: Block) -> None:
        """Let gas take what the leg's reserve leaves over its limit, and no less than a quote reserves."""
        leg, prices = self.leg, self.prices
        if leg.reserve_usd <= leg.limit_usd or self.run.is_batch:
            return
        bound_usd = max(leg.reserve_usd - leg.limit_usd, self.buy_gas * prices.gas_most_usd)
        fee_wei = head.base_fee_wei + self.money.priority_fee_wei
        now_usd = from_fixed(self.buy_gas * fee_wei, decimals=WAD_DECIMALS) * prices.eth_usd
        if now_usd > bound_usd:
            raise VenueRejected(
                f"gas would cost {now_usd:.2f} USD now, the leg's reserve leaves {bound_usd:.2f}; "
                "nothing was sent"
            )

        def left_wei() -> int:
            left_usd = max(bound_usd - self._gas_usd(), 0.0)
            return max(to_fixed_up(left_usd / prices.eth_usd, decimals=WAD_DECIMALS), 1)

        self.run.bound_gas(left_wei)

    async def _finish(self, because: str, *, sweep: bool = True) -> LegOutcome:
        """Leave no allowance behind, change proceeds back, and book what the receipts say."""
        notes = [because]
        try:
            ended = await self._ended()
            done = ended is not None or self._fact() is not None
            if sweep and done and not (ended and ended.by_hand) and self.leg.side is not Side.BUY:
                notes.append(await self.run.sweep())
            await self.run.finish()
        except (VenueRejected, OutcomeUnknown, *_UNSEEN) as error:
            return self._unknown(error)
        if self.prices.unknown:
            return self._unknown(TransientError(f"prices are not known: {self.prices.unknown}"))
        return self._booked("; ".join(filter(None, notes)), ended)

    async def _ended(self) -> Ended | None:
        """Return how our position ended where a SETTLE leg found that done without it, else None."""
        if self.leg.side is not Side.SETTLE or self._fact() is not None:
            return None
        return await self.adapter.ended(self.leg, view=self.view, head=await self.reader.head())

    async def _reviewed(self, error: AwaitingSignatures) -> LegOutcome:
        """Look at an open proposal again: is it still worth what its owners are asked to sign?"""
        because = ""
        try:
            head = await self.reader.head()
            if head.timestamp_s > self.leg.valid_until_s:
                because = f"the leg was valid until {self.leg.valid_until_s:.0f}, it is {head.timestamp_s}"
            else:
                plan = await self.adapter.plan(self.leg, view=self.view, head=head, done={})
                self._check_bounds(plan.most_usd, plan.least_usd)
        except VenueRejected as refusal:
            because = f"overtaken by the market: {refusal}"
        except (OutcomeUnknown, *_UNSEEN) as trouble:
            return self._open(LegStatus.PROPOSED, f"{error}; it could not be looked at again: {trouble}")
        if because and isinstance(self.custody, Proposer):
            try:
                await self.custody.withdraw(self.leg.key, because=because)
            except (OutcomeUnknown, *_UNSEEN) as trouble:
                return self._unknown(trouble)
        return self._open(LegStatus.PROPOSED, because or str(error))

    def _fact(self) -> TradeFact | None:
        return self.adapter.fact(self.leg, self.run.receipts, view=self.view)

    def _booked(self, because: str, ended: Ended | None) -> LegOutcome:
        """Return filled where the leg's trade succeeded, else refused; with all that was spent either way."""
        spent = LegOutcome(
            leg=self.leg,
            status=LegStatus.REJECTED,
            at_s=self.prices.now_s,
            swap_usd=self._swap_usd(),
            gas_usd=self._gas_usd(),
            because=because,
        )
        fact = self._fact()
        if fact is not None:
            whole = fact.size >= self.leg.size - SIZE_TOLERANCE
            return replace(
                spent,
                status=LegStatus.FILLED if whole else LegStatus.PARTIAL,
                filled_size=fact.size,
                premium_usd=fact.premium_usd,
                fee_usd=fact.fee_usd,
                position_id=fact.position_id,
                tx_hash=fact.receipt.tx_hash,
                block_number=fact.receipt.block_number,
            )
        if ended is None:
            return spent
        return replace(
            spent,
            status=LegStatus.FILLED,
            filled_size=ended.size,
            premium_usd=ended.payoff_usd,
            position_id=self.leg.position_id,
            tx_hash=ended.tx_hash,
            block_number=ended.block_number,
            because="; ".join(filter(None, (ended.because, because))),
        )

    def _gas_usd(self) -> float:
        """Return what all transactions of the leg burnt, those without effect included, each once."""
        costs = {receipt.tx_hash: receipt.gas_cost_wei for receipt in self.run.receipts.values()}
        return from_fixed(sum(costs.values()), decimals=WAD_DECIMALS) * self.prices.eth_usd

    def _swap_usd(self) -> float:
        """Return what changing the settlement token cost; negative when it gained."""
        if self.swap is None:
            return 0.0
        swaps = (self.run.receipts.get(purpose) for purpose in ("swap-in", "swap-out"))
        costs = (
            self.swap.cost_usd(
                receipt,
                account=self.custody.address,
                stable_usd=self.prices.stable_usd,
                settlement_usd=self.prices.settlement_usd,
            )
            for receipt in swaps
            if receipt is not None and receipt.succeeded
        )
        return sum(costs, 0.0)

    def _waiting(self, wait: Wait) -> LegOutcome:
        return self._open(LegStatus.WAITING, wait.because)

    def _refused(self, because: str) -> LegOutcome:
        return rejected(self.leg, at_s=self.prices.now_s, because=because)

    def _unknown(self, error: Exception) -> LegOutcome:
        """An end that cannot be seen now: reconcile finds it by the leg's key."""
        if isinstance(error, AwaitingSignatures):
            return self._open(LegStatus.PROPOSED, str(error))
        return self._open(LegStatus.UNKNOWN, str(error))

    def _open(self, status: LegStatus, because: str) -> LegOutcome:
        gas_usd = 0.0 if self.prices.unknown else self._gas_usd()
        return LegOutcome(
            leg=self.leg, status=status, at_s=self.prices.now_s, gas_usd=gas_usd, because=because
        )
