"""One leg of two parts (R27): what is sent, what is given back, and what is booked of it."""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

from bot.errors import AwaitingSignatures, OutcomeUnknown, StaleDataError, TransientError, VenueRejected
from bot.model.execution import Ended, ExecutionPlan, OnchainTx, TradeFact
from bot.model.hedge import Conversion, HedgeLeg, LegOutcome, LegStatus, Side
from bot.model.intent import Receipt
from bot.model.market import Block
from bot.model.perpetual import PerpetualAction, PerpetualOrder
from bot.model.perpetual_outcome import PerpetualFact
from bot.model.units import WAD_DECIMALS, from_fixed
from bot.ports import ChainReader, MarketView, PerpetualAdapter, VenueAdapter
from bot.venues.booked import SIZE_TOLERANCE, rejected
from bot.venues.executor import CLEANUP_S, OrderRun
from bot.venues.prices import Prices
from bot.venues.settlement import SettlementSwap

UNDO_SHARE = 0.03  # of the mark, fee and impact included: the most that giving a perpetual back may cost
PERPETUAL, UNDO = "perpetual-", "undo"  # before the purposes of a part's transactions
_UNSEEN = (TransientError, StaleDataError)


@dataclass(frozen=True, slots=True, kw_only=True)
class PairOrder:
    """Money is USD; ``units`` are those of the perpetual, signed as it is held."""

    leg: HedgeLeg
    conversion: Conversion
    view: MarketView
    option: VenueAdapter
    perpetual: PerpetualAdapter
    run: OrderRun
    run_until: Callable[[float, bool], OrderRun]  # a run of the same order that may send until then
    reader: ChainReader
    prices: Prices
    swap: SettlementSwap | None
    account: str

    @property
    def units(self) -> float:
        return self.leg.size * self.conversion.perpetual_size

    async def execute(self) -> LegOutcome:
        """Do both parts or none. A refusal, and an end that cannot be seen, are outcomes."""
        if self.prices.unknown:
            return self._refused(f"prices are not known: {self.prices.unknown}; nothing was sent")
        because = ""
        try:
            await (self._buy() if self.leg.side is Side.BUY else self._close())
        except (VenueRejected, *_UNSEEN) as error:
            if not self.run.has_sent:
                return self._refused(str(error))
            if not isinstance(error, VenueRejected):
                return self._unknown(error)
            because = str(error)
        except OutcomeUnknown as error:
            return self._unknown(error)
        return await self._finish(because)

    async def reconcile(self) -> LegOutcome:
        """Bring the leg to both parts or none; sends nothing but what that takes."""
        try:
            await self.run.finish()
        except (VenueRejected, OutcomeUnknown, *_UNSEEN) as error:
            return self._unknown(error)
        return await self._finish("" if self._option_fact() else "abandoned at restart")

    async def _buy(self) -> None:
        """Open the perpetual, then buy the option with what the leg's limit leaves."""
        head = await self._head()
        price_usd = await self._price(self.units, head)
        left_usd = self.leg.limit_usd - self.units * (price_usd - self._strike)
        option = await self._option_plan(left_usd, head)  # both are tried before anything is sent
        slack_usd = max(left_usd - option.most_usd, 0.0)
        order = self._order(
            PerpetualAction.OPEN,
            self.units,
            limit_usd=price_usd + slack_usd / self.units,
            margin_usd=self.leg.size * self.conversion.margin_usd,
        )
        part = _renamed(await self.perpetual.plan(order, view=self.view, head=head), PERPETUAL)
        await self._both(part, option, head)

    async def _close(self) -> None:
        """Close the perpetual, then sell or settle the option; of one others settled, it alone is left."""
        head = await self._head()
        price_usd = await self._price(-self.units, head)
        order = self._closing(-self.units, price_usd)
        part = _renamed(await self.perpetual.plan(order, view=self.view, head=head), PERPETUAL)
        if await self._ended() is not None:
            await self.run.carry_out(part, head=head)
            return
        option = await self._option_plan(self._left(-self.units * (self._strike - price_usd)), head)
        await self._both(part, option, head)

    async def _ended(self) -> Ended | None:
        """Return how the option of a SETTLE leg ended without it, else None."""
        if self.leg.side is not Side.SETTLE or self._option_fact() is not None:
            return None
        head = await self.reader.head()
        return await self.option.ended(self._option_leg(), view=self.view, head=head)

    async def _both(self, part: ExecutionPlan, option: ExecutionPlan, head: Block) -> None:
        """Send both as one batch, or one after the other: the option's bound is what then is left."""
        if self.run.is_batch:
            joined = replace(
                option,
                steps=(*part.steps, *option.steps),
                pays=(*part.pays, *option.pays),
                valid_until_s=min(part.valid_until_s, option.valid_until_s),
            )
            await self.run.carry_out(joined, head=head)
            return
        await self.run.carry_out(part, head=head, label=f"{PERPETUAL}margin")
        await self._then_option(self.run)

    async def _then_option(self, run: OrderRun) -> None:
        fact = self._perpetual_fact()
        done_usd = self._worth(fact) if fact else 0.0
        head = await self._head()
        limit_usd = self.leg.limit_usd + done_usd if self.leg.side is Side.BUY else self._left(done_usd)
        await run.carry_out(await self._option_plan(limit_usd, head), head=head)

    def _left(self, brought_usd: float) -> float:
        """Return the least that the option of a closing must bring, beside what its perpetual brought."""
        return max(self.leg.limit_usd - brought_usd, 0.0) if self.leg.side is Side.SELL else 0.0

    async def _option_plan(self, limit_usd: float, head: Block) -> ExecutionPlan:
        """Return the option's plan within a bound of its own: most to pay, or least to take."""
        if not limit_usd >= 0.0:
            raise VenueRejected(f"the perpetual alone costs {-limit_usd:.2f} USD more than the leg allows")
        plan = await self.option.plan(self._option_leg(limit_usd), view=self.view, head=head, done={})
        slack_usd = 1e-6 * max(limit_usd, 1.0)
        if self.leg.side is Side.BUY and not plan.most_usd <= limit_usd + slack_usd:
            raise VenueRejected(
                f"the option may cost {plan.most_usd:.2f} USD, {limit_usd:.2f} are left for it"
            )
        if self.leg.side is Side.SELL and not plan.least_usd >= limit_usd - slack_usd:
            raise VenueRejected(f"the option may bring {plan.least_usd:.2f} USD, it must {limit_usd:.2f}")
        return plan

    def _option_leg(self, limit_usd: float = 0.0) -> HedgeLeg:
        option = self.conversion.option
        return replace(self.leg, instrument=option, limit_usd=limit_usd, reserve_usd=0.0, conversion=None)

    async def _head(self) -> Block:
        head = await self.reader.head()
        if head.timestamp_s > self.leg.valid_until_s:
            raise VenueRejected(
                f"the leg was valid until {self.leg.valid_until_s:.0f}, it is {head.timestamp_s}"
            )
        return head

    @property
    def _strike(self) -> float:
        return self.conversion.option.strike_usd

    async def _price(self, size: float, head: Block) -> float:
        """Return what a trade of ``size`` units would be done at now, fee and impact included."""
        wanted = self.conversion.perpetual
        quotes = await self.perpetual.perpetual_quotes(
            replace(self.view, block=head), underlying=wanted.underlying, size=abs(size)
        )
        quote = next((item for item in quotes if item.perpetual == wanted), None)
        if quote is None:
            raise VenueRejected(f"{self.perpetual.name} gives no quote for {wanted.id}")
        return quote.mark_usd * (1.0 + math.copysign(quote.cost, size))

    def _closing(self, size: float, price_usd: float, *, late_s: float = 0.0) -> PerpetualOrder:
        """Return the order that gives ``size`` back, at most 3 % beyond its price now."""
        return self._order(
            PerpetualAction.REDUCE,
            size,
            limit_usd=price_usd * (1.0 + math.copysign(UNDO_SHARE, size)),
            release_usd=abs(size / self.conversion.perpetual_size) * self.conversion.margin_usd,
            late_s=late_s,
        )

    def _order(
        self,
        action: PerpetualAction,
        size: float,
        *,
        limit_usd: float,
        margin_usd: float = 0.0,
        release_usd: float = 0.0,
        late_s: float = 0.0,
    ) -> PerpetualOrder:
        return PerpetualOrder(
            key=self.leg.key,
            group=self.leg.group,
            action=action,
            perpetual=self.conversion.perpetual,
            size=size,
            margin_usd=margin_usd,
            limit_usd=limit_usd,
            expected_usd=0.0,
            valid_until_s=max(self.leg.valid_until_s, late_s),
            release_usd=release_usd,
        )

    async def _finish(self, because: str) -> LegOutcome:
        """Give back a part that stands alone, and its margin; leave no allowance; book what was done."""
        notes = [because]
        try:
            ended = await self._ended()
            is_buy = self.leg.side is Side.BUY
            notes.append(await self._undone() if is_buy else await self._unpaired(ended))
            await self.run.finish()
        except (VenueRejected, OutcomeUnknown, *_UNSEEN) as error:
            return self._unknown(error)
        if self.prices.unknown:
            return self._unknown(TransientError(f"prices are not known: {self.prices.unknown}"))
        return self._booked("; ".join(filter(None, notes)), ended)

    async def _undone(self) -> str:
        """Close what of the perpetual has no option beside it, and take its margin back."""
        head = await self.reader.head()
        late = self.run_until(max(self.leg.valid_until_s, head.timestamp_s + CLEANUP_S), True)
        excess = self._excess()
        if abs(excess) > SIZE_TOLERANCE:
            price_usd = await self._price(-excess, head)
            late_s = head.timestamp_s + CLEANUP_S
            order = self._closing(-excess, price_usd, late_s=late_s)
            plan = await self.perpetual.plan(order, view=self.view, head=head)
            await late.carry_out(_renamed(plan, f"{UNDO}.{head.number}-"), head=head)
            self.run.receipts.update(late.receipts)
            note = f"{abs(excess):g} units of the perpetual were given back: the option was not had"
        else:
            order = self._order(PerpetualAction.OPEN, self.units, limit_usd=1.0, margin_usd=self._margin_usd)
            note = ""
        await self._take_back(order, late)
        return note

    @property
    def _margin_usd(self) -> float:
        return self.leg.size * self.conversion.margin_usd

    async def _take_back(self, order: PerpetualOrder, run: OrderRun) -> None:
        """Withdraw margin that a part given back, or never opened, leaves idle; tried once."""
        mine = self._receipts(PERPETUAL)
        if order.reduce_only and self.leg.side is Side.BUY:
            mine = next((found for found in self._undoings() if found), mine)
        if run.is_batch or any(name.endswith("withdraw") for name in self.run.receipts):
            return
        head = await self.reader.head()
        try:
            plan = await self.perpetual.after(order, mine, view=self.view, head=head)
            if plan is not None:
                late = replace(plan, valid_until_s=head.timestamp_s + CLEANUP_S)
                await run.carry_out(_renamed(late, PERPETUAL), head=head)
                self.run.receipts.update(run.receipts)
        except VenueRejected:
            return  # it stays the account's own, and the next order uses it first

    async def _unpaired(self, ended: Ended | None) -> str:
        """After a closing: take margin back, and sell or settle the option if it was not."""
        perpetual = self._perpetual_fact()
        if perpetual is None:
            return ""
        note = ""
        if self._option_fact() is None and ended is None:
            try:
                await self._then_option(self.run_until(self.leg.valid_until_s, True))
            except VenueRejected as refusal:
                if (await self.reader.head()).timestamp_s <= self.leg.valid_until_s:
                    raise  # looked at again at the next block
                note = f"the perpetual is closed and the option is kept alone: {refusal}"
            await self.run.finish()
        order = self._closing(-self.units, perpetual.price_usd)
        await self._take_back(order, self.run_until(self.leg.valid_until_s, True))
        if self._option_fact() is not None:
            note = await self.run.sweep()
        return note

    def _excess(self) -> float:
        """Return the units of the perpetual that have no option beside them, signed."""
        option = self._option_fact()
        wanted = option.size * self.conversion.perpetual_size if option else 0.0
        opened = self._perpetual_fact()
        return (opened.size if opened else 0.0) + math.fsum(item.size for item in self._undo_facts()) - wanted

    def _receipts(self, prefix: str) -> dict[str, Receipt]:
        found = self.run.receipts.items()
        return {name.removeprefix(prefix): item for name, item in found if name.startswith(prefix)}

    def _undoings(self) -> list[dict[str, Receipt]]:
        prefixes = {f"{name.partition('-')[0]}-" for name in self.run.receipts if name.startswith(UNDO)}
        return [self._receipts(prefix) for prefix in sorted(prefixes)]

    def _undo_facts(self) -> list[PerpetualFact]:
        order = self._closing(-self.units, 1.0)
        facts = [self.perpetual.fact(order, item, view=self.view) for item in self._undoings()]
        return [item for item in facts if item is not None]

    def _perpetual_fact(self) -> PerpetualFact | None:
        order = self._closing(-self.units, 1.0)
        return self.perpetual.fact(order, self._receipts(PERPETUAL), view=self.view)

    def _option_fact(self) -> TradeFact | None:
        return self.option.fact(self._option_leg(), self.run.receipts, view=self.view)

    def _worth(self, fact: PerpetualFact) -> float:
        """Return what a trade of the perpetual adds to the pair, reckoned from the strike, less costs."""
        return -fact.size * (fact.price_usd - self._strike) - fact.fee_usd + fact.funding_usd

    def _booked(self, because: str, ended: Ended | None) -> LegOutcome:
        """Return filled where both parts were done, else refused; with all that was spent either way."""
        option, is_buy = self._option_fact(), self.leg.side is Side.BUY
        perpetual = self._perpetual_fact()
        parts = [*([perpetual] if perpetual else []), *self._undo_facts()]
        brought_usd = math.fsum(map(self._worth, parts))
        if option is not None:
            brought_usd += -option.premium_usd if is_buy else option.premium_usd
        elif ended is not None and perpetual is not None:
            brought_usd += ended.payoff_usd
        spent = LegOutcome(
            leg=self.leg,
            status=LegStatus.REJECTED,
            at_s=self.prices.now_s,
            premium_usd=-brought_usd if is_buy else brought_usd,
            fee_usd=math.fsum(item.fee_usd for item in parts) + (option.fee_usd if option else 0.0),
            swap_usd=self._swap_usd(),
            gas_usd=self._gas_usd(),
            because=because,
        )
        if option is None and (is_buy or perpetual is None):
            return spent
        receipt = option.receipt if option else parts[0].receipt
        size = option.size if option else (ended.size if ended else 0.0)  # 0: the option is kept alone
        whole = size >= self.leg.size - SIZE_TOLERANCE
        return replace(
            spent,
            status=LegStatus.FILLED if whole else LegStatus.PARTIAL,
            filled_size=size,
            position_id=option.position_id if option else self.leg.position_id,
            perpetual_usd=perpetual.price_usd if perpetual else 0.0,
            tx_hash=receipt.tx_hash,
            block_number=max(receipt.block_number, *(item.receipt.block_number for item in parts), 0),
        )

    def _gas_usd(self) -> float:
        costs = {receipt.tx_hash: receipt.gas_cost_wei for receipt in self.run.receipts.values()}
        return from_fixed(sum(costs.values()), decimals=WAD_DECIMALS) * self.prices.eth_usd

    def _swap_usd(self) -> float:
        if self.swap is None:
            return 0.0
        swaps = (self.run.receipts.get(purpose) for purpose in ("swap-in", "swap-out"))
        return math.fsum(
            self.swap.cost_usd(
                receipt,
                account=self.account,
                stable_usd=self.prices.stable_usd,
                settlement_usd=self.prices.settlement_usd,
            )
            for receipt in swaps
            if receipt is not None and receipt.succeeded
        )

    def _refused(self, because: str) -> LegOutcome:
        return rejected(self.leg, at_s=self.prices.now_s, because=because)

    def _unknown(self, error: Exception) -> LegOutcome:
        """An end that cannot be seen now, or a part that stands alone: reconcile goes on with it."""
        status = LegStatus.PROPOSED if isinstance(error, AwaitingSignatures) else LegStatus.UNKNOWN
        gas_usd = 0.0 if self.prices.unknown else self._gas_usd()
        return LegOutcome(
            leg=self.leg, status=status, at_s=self.prices.now_s, gas_usd=gas_usd, because=str(error)
        )


def _renamed(plan: ExecutionPlan, prefix: str) -> ExecutionPlan:
    """Return a plan whose transactions have purposes of their own within the order."""
    steps = tuple(
        replace(step, purpose=prefix + step.purpose) if isinstance(step, OnchainTx) else step
        for step in plan.steps
    )
    return replace(plan, steps=steps, trade=prefix + plan.trade)
