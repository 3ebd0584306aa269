"""Makes a venue of an adapter: its plans are carried out, and what the receipts say is booked.

One executor for every venue: what an order may cost, that nothing is left allowed, and how an end that is
not seen is found again, is the same for all of them.
"""

import asyncio
import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

from bot.errors import VenueRejected
from bot.model.execution import Ended, ExecutionPlan, TradeFact
from bot.model.hedge import HedgeLeg, LegOutcome, LegStatus, Quote, Side
from bot.model.intent import Receipt
from bot.model.market import Block
from bot.model.signing import Permission
from bot.model.units import WAD_DECIMALS, from_fixed, to_fixed_up
from bot.ports import ChainReader, MarketView, Messenger, Proposer, Transactor, VenueAdapter, VenuePosition
from bot.venues.booked import SIZE_TOLERANCE, rejected
from bot.venues.executor import OrderRun
from bot.venues.order_life import OrderLife, gas_usd, nobody_signs
from bot.venues.prices import Money, Prices, prices_of
from bot.venues.settlement import SettlementSwap
from bot.venues.steps import ERC20


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
            return await self._order(leg, view, self._custody).life().execute()

    async def reconcile(self, leg: HedgeLeg, *, view: MarketView) -> LegOutcome:
        """Say what became of a leg that an earlier step or run left open, and revoke what it left allowed.

        Raises TransientError without ``custody``.
        """
        if self._custody is None:
            raise nobody_signs(leg.key, self.name)
        async with self._one_leg:
            return await self._order(leg, view, self._custody, again=True).life().reconcile()

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

    def life(self) -> OrderLife[LegOutcome]:
        return OrderLife(
            key=self.leg.key,
            valid_until_s=self.leg.valid_until_s,
            run=self.run,
            reader=self.reader,
            custody=self.custody,
            plan=self._plan,
            is_done=lambda: self._fact() is not None,
            book=self._booked,
            stand=self._standing,
            tidy=self._sweep,
            unknown_prices=self.prices.unknown,
            goes_on_after=self.adapter.goes_on_after,
        )

    async def _plan(self, head: Block, done: Mapping[str, Receipt]) -> ExecutionPlan | None:
        leg = self.leg
        if leg.side is Side.SETTLE and await self.adapter.ended(leg, view=self.view, head=head) is not None:
            return None  # booked at the end
        if leg.side is Side.BUY:
            self._bound_gas(head)
        plan = await self.adapter.plan(leg, view=self.view, head=head, done=done)
        self._check_bounds(plan.most_usd, plan.least_usd)
        return plan

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

    async def _sweep(self, again: bool) -> str:
        """Change what a sale or settlement of this run brought back into the stable."""
        ended = await self._ended()
        done = ended is not None or self._fact() is not None
        moved_by_hand = ended is not None and ended.by_hand
        if again or not done or moved_by_hand or self.leg.side is Side.BUY:
            return ""
        return await self.run.sweep()

    async def _ended(self) -> Ended | None:
        """Return how our position ended where a SETTLE leg found that done without it, else None."""
        if self.leg.side is not Side.SETTLE or self._fact() is not None:
            return None
        return await self.adapter.ended(self.leg, view=self.view, head=await self.reader.head())

    def _fact(self) -> TradeFact | None:
        return self.adapter.fact(self.leg, self.run.receipts, view=self.view)

    async def _booked(self, because: str) -> LegOutcome:
        """Return filled where the leg's trade succeeded, else refused; with all that was spent either way."""
        ended = await self._ended()
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
        return gas_usd(self.run, self.prices.eth_usd)

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

    def _standing(self, status: LegStatus, because: str) -> LegOutcome:
        gas = 0.0 if self.prices.unknown else self._gas_usd()
        return LegOutcome(leg=self.leg, status=status, at_s=self.prices.now_s, gas_usd=gas, because=because)
