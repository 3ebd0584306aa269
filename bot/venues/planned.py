"""Makes a venue of an adapter: its plans are carried out, and what the receipts say is booked.

One executor for every venue: what an order may cost, that nothing is left allowed, and how an end that is
not seen is found again, is the same for all of them.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

from bot.errors import VenueRejected
from bot.model.execution import Ended, ExecutionPlan, TradeFact
from bot.model.hedge import HedgeLeg, LegOutcome, LegStatus, Quote, Side
from bot.model.intent import Receipt
from bot.model.market import Block
from bot.model.units import WAD_DECIMALS, from_fixed, to_fixed_up
from bot.ports import ChainReader, MarketView, Messenger, Proposer, Transactor, VenueAdapter, VenuePosition
from bot.venues.booked import SIZE_TOLERANCE, rejected
from bot.venues.order_life import AtHand, OrderLife, swap_usd
from bot.venues.planned_orders import PlannedOrders
from bot.venues.prices import Money, prices_of
from bot.venues.settlement import SettlementSwap
from bot.venues.steps import ERC20


class PlannedVenue(PlannedOrders[HedgeLeg, LegOutcome]):
    """Venue over one adapter. Without ``custody`` it lists, quotes and marks, and refuses every leg."""

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
        super().__init__(adapter, reader=reader, custody=custody, swap=swap, messenger=messenger)
        self.adapter, self.money = adapter, money
        self._buy_gas = buy_gas

    @property
    def sends_messages(self) -> bool:
        """Say whether orders go to a service off the chain, and not by transactions alone."""
        return self._messenger is not None

    async def quotes(self, view: MarketView, *, underlying: str, size: float) -> tuple[Quote, ...]:
        return await self.adapter.quotes(view, underlying=underlying, size=size)

    async def held(self, view: MarketView) -> tuple[VenuePosition, ...]:
        return await self.adapter.held(view)

    async def loose_settlement_usd(self, view: MarketView) -> float:
        """Return the worth of settlement tokens the account holds outside positions: cash, used first."""
        if self._custody is None or view.block is None or self.swap is None:
            return 0.0
        pair = self.swap.pair
        call = ERC20.call("balanceOf", pair.settlement_token, self._custody.address)
        row = (await self._reader.read([call], block=view.block))[0]
        price = view.stable_usd.get(pair.settlement, math.nan)
        return math.nan if row is None else self.swap.settlement_amount(row[0]) * price

    def _refused(self, order: HedgeLeg, *, at_s: float, because: str) -> LegOutcome:
        return rejected(order, at_s=at_s, because=because)

    def _life(self, at: AtHand[HedgeLeg]) -> "_LegLife":
        return _LegLife(
            at=at,
            prices=prices_of(at.view, self.money),
            adapter=self.adapter,
            money=self.money,
            swap=self.swap,
            buy_gas=self._buy_gas,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class _LegLife(OrderLife[HedgeLeg, LegOutcome]):
    """One leg."""

    adapter: VenueAdapter
    money: Money
    swap: SettlementSwap | None
    buy_gas: int

    @property
    def _goes_on_after(self) -> frozenset[str]:
        return self.adapter.goes_on_after

    async def _plan(self, head: Block, done: Mapping[str, Receipt]) -> ExecutionPlan | None:
        leg = self.order
        if leg.side is Side.SETTLE and await self._end_at(head) is not None:
            return None  # booked at the end
        if leg.side is Side.BUY:
            self._bound_gas(head)
        plan = await self.adapter.plan(leg, view=self.view, head=head, done=done)
        self._check_bounds(plan.most_usd, plan.least_usd)
        return plan

    def _check_bounds(self, most_usd: float, least_usd: float) -> None:
        """Raise VenueRejected where a plan's worst case is worse than the leg allows."""
        leg = self.order
        slack_usd = 1e-6 * max(leg.limit_usd, 1.0)  # of the conversion into raw units
        if leg.side is Side.BUY and not most_usd <= leg.limit_usd + slack_usd:
            raise VenueRejected(f"the plan may cost {most_usd:.2f} USD, the leg allows {leg.limit_usd:.2f}")
        if leg.side is Side.SELL and not least_usd >= leg.limit_usd - slack_usd:
            raise VenueRejected(f"the plan may bring {least_usd:.2f} USD, the leg asks {leg.limit_usd:.2f}")

    def _bound_gas(self, head: Block) -> None:
        """Let gas take what the leg's reserve leaves over its limit, and no less than a quote reserves."""
        leg, prices = self.order, self.prices
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

    async def _tidy(self, again: bool) -> str:
        """Change what a sale or settlement of this run brought back into the stable."""
        ended = await self._ended()
        done = ended is not None or self._fact() is not None
        moved_by_hand = ended is not None and ended.by_hand
        if again or not done or moved_by_hand or self.order.side is Side.BUY:
            return ""
        return await self.run.sweep()

    async def _ended(self) -> Ended | None:
        """Return how our position ended where a SETTLE leg found that done without it, else None."""
        if self.order.side is not Side.SETTLE or self._fact() is not None:
            return None
        return await self._end_at(await self.at.reader.head())

    async def _end_at(self, head: Block) -> Ended | None:
        return await self.adapter.ended(self.order, view=self.view, head=head, done=self.run.receipts)

    def _fact(self) -> TradeFact | None:
        return self.adapter.fact(self.order, self.run.receipts, view=self.view)

    async def _booked(self, because: str) -> LegOutcome:
        """Return filled where the leg's trade succeeded, else refused; with all that was spent either way."""
        ended = await self._ended()
        swapped_usd = swap_usd(self.run, self.swap, account=self.at.custody.address, prices=self.prices)
        spent = replace(self._spent(because), swap_usd=swapped_usd)
        fact = self._fact()
        if fact is not None:
            whole = fact.size >= self.order.size - SIZE_TOLERANCE
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
            position_id=self.order.position_id,
            tx_hash=ended.tx_hash,
            block_number=ended.block_number,
            because="; ".join(filter(None, (ended.because, because))),
        )

    def _unfilled(self, status: LegStatus, *, gas_usd: float, because: str) -> LegOutcome:
        return LegOutcome(
            leg=self.order, status=status, at_s=self.prices.now_s, gas_usd=gas_usd, because=because
        )
