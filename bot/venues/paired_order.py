"""One leg of two parts (R27): what is sent, what is given back, and what is booked of it."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from bot.errors import VenueRejected
from bot.model.execution import Ended, ExecutionPlan, OnchainTx, TradeFact, Wait
from bot.model.hedge import Conversion, HedgeLeg, LegOutcome, LegStatus, Side
from bot.model.intent import Receipt
from bot.model.market import Block
from bot.model.perpetual import PerpetualAction, PerpetualOrder
from bot.model.perpetual_outcome import PerpetualFact
from bot.ports import PerpetualAdapter, VenueAdapter
from bot.venues.booked import SIZE_TOLERANCE
from bot.venues.executor import CLEANUP_S, OrderRun
from bot.venues.order_life import OrderLife, swap_usd
from bot.venues.settlement import SettlementSwap

UNDO_SHARE = 0.03  # of the mark, fee and impact included: the most that giving a perpetual back may cost
PERPETUAL, UNDO = "perpetual-", "undo"  # before the purposes of a part's transactions

# Of the perpetual, of the option (None: it has ended), and the block that both were made at.
Plans = tuple[ExecutionPlan, ExecutionPlan | None, Block]


@dataclass(frozen=True, slots=True, kw_only=True)
class PairOrder(OrderLife[HedgeLeg, LegOutcome]):
    """Money is USD; ``units`` are those of the perpetual, signed as it is held."""

    conversion: Conversion
    option: VenueAdapter
    perpetual: PerpetualAdapter
    run_until: Callable[[float, bool], OrderRun]  # a run of the same order that may send until then
    swap: SettlementSwap | None

    @property
    def leg(self) -> HedgeLeg:
        return self.order

    @property
    def units(self) -> float:
        return self.leg.size * self.conversion.perpetual_size

    async def _plan(self, head: Block, done: Mapping[str, Receipt]) -> ExecutionPlan:
        """Return both parts as one: what a batch sends, and what an open proposal is looked at again by."""
        del head, done  # planned at the newest block, and no pair waits
        part, option, _ = await self._planned()
        return _joined(part, option)

    async def _carry_out(self, done: Mapping[str, Receipt]) -> tuple[str, Wait | None]:
        """Do both parts or none."""
        del done
        part, option, head = await self._planned()
        if option is None or self.run.is_batch:
            await self.run.carry_out(_joined(part, option), head=head)
            return "", None
        await self.run.carry_out(part, head=head, label=f"{PERPETUAL}margin")
        await self._then_option(self.run)  # its bound is what the perpetual left of the leg's
        return "", None

    async def _planned(self) -> Plans:
        return await (self._purchase() if self.leg.side is Side.BUY else self._closing_plans())

    async def _purchase(self) -> Plans:
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
        return part, option, head

    async def _closing_plans(self) -> Plans:
        """Close the perpetual, then sell or settle the option; of one others settled, it alone is left."""
        head = await self._head()
        price_usd = await self._price(-self.units, head)
        order = self._closing(-self.units, price_usd)
        part = _renamed(await self.perpetual.plan(order, view=self.view, head=head), PERPETUAL)
        if await self._ended() is not None:
            return part, None, head
        option = await self._option_plan(self._left(-self.units * (self._strike - price_usd)), head)
        return part, option, head

    async def _ended(self) -> Ended | None:
        """Return how the option of a SETTLE leg ended without it, else None."""
        if self.leg.side is not Side.SETTLE or self._fact() is not None:
            return None
        head = await self.at.reader.head()
        return await self.option.ended(self._option_leg(), view=self.view, head=head, done=self.run.receipts)

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
        head = await self.at.reader.head()
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

    async def _tidy(self, again: bool) -> str:  # noqa: ARG002
        """Give back a part that stands alone, and its margin, also of a leg that is only looked up."""
        if self.leg.side is Side.BUY:
            return await self._undone()
        return await self._unpaired(await self._ended())

    async def _undone(self) -> str:
        """Close what of the perpetual has no option beside it, and take its margin back."""
        head = await self.at.reader.head()
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
        head = await self.at.reader.head()
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
        if self._fact() is None and ended is None:
            try:
                await self._then_option(self.run_until(self.leg.valid_until_s, True))
            except VenueRejected as refusal:
                if (await self.at.reader.head()).timestamp_s <= self.leg.valid_until_s:
                    raise  # looked at again at the next block
                note = f"the perpetual is closed and the option is kept alone: {refusal}"
            await self.run.finish()
        order = self._closing(-self.units, perpetual.price_usd)
        await self._take_back(order, self.run_until(self.leg.valid_until_s, True))
        if self._fact() is not None:
            note = await self.run.sweep()
        return note

    def _excess(self) -> float:
        """Return the units of the perpetual that have no option beside them, signed."""
        option = self._fact()
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

    def _fact(self) -> TradeFact | None:
        return self.option.fact(self._option_leg(), self.run.receipts, view=self.view)

    def _worth(self, fact: PerpetualFact) -> float:
        """Return what a trade of the perpetual adds to the pair, reckoned from the strike, less costs."""
        return -fact.size * (fact.price_usd - self._strike) - fact.fee_usd + fact.funding_usd

    async def _booked(self, because: str) -> LegOutcome:
        """Return filled where both parts were done, else refused; with all that was spent either way."""
        ended = await self._ended()
        option, is_buy = self._fact(), self.leg.side is Side.BUY
        perpetual = self._perpetual_fact()
        parts = [*([perpetual] if perpetual else []), *self._undo_facts()]
        brought_usd = math.fsum(map(self._worth, parts))
        if option is not None:
            brought_usd += -option.premium_usd if is_buy else option.premium_usd
        elif ended is not None and perpetual is not None:
            brought_usd += ended.payoff_usd
        spent = replace(
            self._spent(because),
            premium_usd=-brought_usd if is_buy else brought_usd,
            fee_usd=math.fsum(item.fee_usd for item in parts) + (option.fee_usd if option else 0.0),
            swap_usd=swap_usd(self.run, self.swap, account=self.at.custody.address, prices=self.prices),
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

    def _unfilled(self, status: LegStatus, *, gas_usd: float, because: str) -> LegOutcome:
        return LegOutcome(
            leg=self.leg, status=status, at_s=self.prices.now_s, gas_usd=gas_usd, because=because
        )


def _joined(part: ExecutionPlan, option: ExecutionPlan | None) -> ExecutionPlan:
    """Return the steps of both parts in their order; of an option that has ended there are none."""
    if option is None:
        return part
    return replace(
        option,
        steps=(*part.steps, *option.steps),
        pays=(*part.pays, *option.pays),
        valid_until_s=min(part.valid_until_s, option.valid_until_s),
    )


def _renamed(plan: ExecutionPlan, prefix: str) -> ExecutionPlan:
    """Return a plan whose transactions have purposes of their own within the order."""
    steps = tuple(
        replace(step, purpose=prefix + step.purpose) if isinstance(step, OnchainTx) else step
        for step in plan.steps
    )
    return replace(plan, steps=steps, trade=prefix + plan.trade)
