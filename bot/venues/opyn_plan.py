"""How a leg is done on Opyn.

Buy and sell: a swap on Uniswap v3, bounded by an argument. Settle: redeem at the Controller once settlement
is allowed; where nobody pushed the price at expiry, push it and wait for the dispute period first.
"""

from collections.abc import Mapping

from bot.errors import VenueRejected
from bot.model.execution import ExecutionPlan, OnchainTx, Payment, Wait
from bot.model.hedge import HedgeLeg, Side
from bot.model.intent import Receipt
from bot.model.market import Block
from bot.model.units import from_fixed, to_fixed_down, to_fixed_up
from bot.venues.booked import SIZE_TOLERANCE
from bot.venues.opyn_pools import OpynPools, OtokenPool, PoolTrade, best_buy, best_sale
from bot.venues.opyn_reads import CONTROLLER, PRICER, OpynReads, Settlement, System
from bot.venues.opyn_rounds import first_round
from bot.venues.opyn_terms import OTOKEN_DECIMALS, OpynTerms, Series, collateral_usd, instrument_of, otoken_of
from bot.venues.overrides import FundedSender
from bot.venues.prices import Prices
from bot.venues.settlement import BPS
from bot.venues.token_checks import TokenChecks
from bot.venues.v3_swap import Exact, V3Swap

BUY, SELL, REDEEM, PUSH = "open", "close", "redeem", "push-price"
SWAP_GAS_CEILING, REDEEM_GAS_CEILING, PUSH_GAS_CEILING = 800_000, 700_000, 500_000
ACTION_REDEEM = 8  # Actions.ActionType
_NOBODY = "0x" + "00" * 20


class OpynPlanner:
    """Plans for one system and one account."""

    def __init__(
        self,
        *,
        reads: OpynReads,
        pools: OpynPools,
        checks: TokenChecks,
        terms: OpynTerms,
        account: str,
    ) -> None:
        self._reads, self._pools, self._checks = reads, pools, checks
        self._terms, self._account = terms, account
        self._contracts = reads.contracts
        self._funded = FundedSender(reads.reader)

    async def plan(
        self, leg: HedgeLeg, *, prices: Prices, head: Block, done: Mapping[str, Receipt]
    ) -> ExecutionPlan:
        """See ports.VenueAdapter."""
        c = self._contracts
        for name, address in (("Controller", c.controller), ("SwapRouter", c.router)):
            if not await self._reads.reader.has_code(address, block=head):
                raise VenueRejected(f"{address} has no code; check the address of the {name}")
        system = await self._reads.system(head)
        series = await self._series(leg, system, head)
        if leg.side is Side.BUY:
            return await self._buy(leg, series, system, prices, head)
        if leg.side is Side.SELL:
            return await self._sell(leg, series, prices, head)
        return await self._settle(leg, series, system, prices, head, done)

    async def _buy(
        self, leg: HedgeLeg, series: Series, system: System, prices: Prices, head: Block
    ) -> ExecutionPlan:
        c = self._contracts
        if system.is_paused:
            raise VenueRejected(
                "Opyn is paused in full: what is bought could not be redeemed; nothing was sent"
            )
        self._check_alive(series, head, self._terms.cutoff_s)
        await self._checks.check(c.token, c.symbol, block=head)
        await self._checks.check(series.otoken, "the oToken", block=head)
        amount_raw = to_fixed_down(leg.size, decimals=OTOKEN_DECIMALS)
        limit_raw = to_fixed_down(leg.limit_usd / prices.settlement_usd, decimals=c.decimals)
        trade = best_buy(await self._pools.buy(await self._orders(series, amount_raw, head), head))
        if trade is None:
            raise VenueRejected(f"no pool sells {leg.size:g} of {series.otoken} now; nothing was sent")
        if trade.token_raw > limit_raw:
            raise VenueRejected(
                f"the purchase costs {self._usd(trade.token_raw, prices):.4f} USD now, "
                f"the leg allows {leg.limit_usd:.4f}; nothing was sent"
            )
        most_raw = min(limit_raw, -(-trade.token_raw * (BPS + self._terms.cost_buffer_bps) // BPS))
        payment = Payment(
            token=c.token, symbol=c.symbol, decimals=c.decimals, spender=c.router, amount_raw=most_raw
        )
        step = await self._swap(leg, Exact.OUT, series, trade.pool, (amount_raw, most_raw), head)
        return ExecutionPlan(
            steps=(step,),
            trade=BUY,
            valid_until_s=leg.valid_until_s,
            pays=(payment,),
            most_usd=self._usd(most_raw, prices),
        )

    async def _sell(self, leg: HedgeLeg, series: Series, prices: Prices, head: Block) -> ExecutionPlan:
        c = self._contracts
        self._check_alive(series, head, 0.0)
        amount_raw = await self._held_raw(leg, series, head)
        floor_raw = to_fixed_up(leg.limit_usd / prices.settlement_usd, decimals=c.decimals)
        trade = best_sale(await self._pools.sell(await self._orders(series, amount_raw, head), head))
        if trade is None or trade.token_raw < floor_raw:
            brings = self._usd(trade.token_raw, prices) if trade else 0.0
            raise VenueRejected(
                f"the sale brings {brings:.4f} USD now, the leg asks {leg.limit_usd:.4f} and more than 0; "
                "nothing was sent"
            )
        least_raw = self._least_raw(trade, floor_raw)
        payment = Payment(
            token=series.otoken,
            symbol="oToken",
            decimals=OTOKEN_DECIMALS,
            spender=c.router,
            amount_raw=amount_raw,
        )
        step = await self._swap(leg, Exact.IN, series, trade.pool, (amount_raw, least_raw), head)
        return ExecutionPlan(
            steps=(step,),
            trade=SELL,
            valid_until_s=leg.valid_until_s,
            pays=(payment,),
            least_usd=self._usd(least_raw, prices),
        )

    async def _swap(
        self,
        leg: HedgeLeg,
        exact: Exact,
        series: Series,
        pool: OtokenPool,
        amounts_raw: tuple[int, int],
        head: Block,
    ) -> OnchainTx:
        """Return the swap of (oTokens, bound on tokens), tried as if it were funded. Raises VenueRejected."""
        c, is_purchase = self._contracts, exact is Exact.OUT
        spent, bought = (c.token, series.otoken) if is_purchase else (series.otoken, c.token)
        swap = V3Swap(
            exact=exact,
            token_in=spent,
            token_out=bought,
            pool_fee=pool.fee,
            recipient=self._account,
            valid_until_s=leg.valid_until_s,
            amount_raw=amounts_raw[0],
            bound_raw=amounts_raw[1],
        )
        await self._funded.check(c.router, swap.data, token=spent, owner=self._account, block=head)
        return OnchainTx(
            purpose=BUY if is_purchase else SELL, to=c.router, data=swap.data, gas_ceiling=SWAP_GAS_CEILING
        )

    async def _settle(
        self,
        leg: HedgeLeg,
        series: Series,
        system: System,
        prices: Prices,
        head: Block,
        done: Mapping[str, Receipt],
    ) -> ExecutionPlan:
        if head.timestamp_s < series.expiry_s:
            raise VenueRejected(f"{series.otoken} expires at {series.expiry_s}, not before")
        state = await self._reads.settlement(system, series, head)
        if state.is_allowed:
            return await self._redeem(leg, series, prices, head, again=REDEEM in done)
        is_pushed = PUSH in done
        if state.is_pushed or is_pushed:
            wait = Wait(because=f"the price at expiry may be disputed for {state.dispute_s} s")
            if not is_pushed:  # nothing of this order is under way that would have to be followed
                raise VenueRejected(f"{wait.because}; nothing was sent")
            return ExecutionPlan(steps=(wait,), trade=REDEEM, valid_until_s=leg.valid_until_s)
        data = await price_push(self._reads, series, state, head, account=self._account)
        push = OnchainTx(purpose=PUSH, to=self._contracts.pricer, data=data, gas_ceiling=PUSH_GAS_CEILING)
        wait = Wait(
            because=f"the price at expiry was pushed; it may be disputed for {state.dispute_s} s",
            until_s=head.timestamp_s + state.dispute_s,
        )
        return ExecutionPlan(steps=(push, wait), trade=REDEEM, valid_until_s=leg.valid_until_s)

    async def _redeem(
        self, leg: HedgeLeg, series: Series, prices: Prices, head: Block, *, again: bool
    ) -> ExecutionPlan:
        """``again``: one was mined without effect, and a purpose is mined once."""
        amount_raw = await self._held_raw(leg, series, head)
        payout_raw = await self._reads.payout_raw(series, amount_raw, head)
        if not payout_raw:
            raise VenueRejected(f"{series.otoken} expired worthless: nothing to redeem")
        data = await redemption(self._reads, series, amount_raw, head, account=self._account)
        target = self._contracts.controller
        purpose = f"{REDEEM}@{head.number}" if again else REDEEM
        step = OnchainTx(purpose=purpose, to=target, data=data, gas_ceiling=REDEEM_GAS_CEILING, cleanup=True)
        return ExecutionPlan(
            steps=(step,),
            trade=REDEEM,
            valid_until_s=leg.valid_until_s,
            least_usd=collateral_usd(payout_raw, series, contracts=self._contracts, prices=prices),
        )

    async def _series(self, leg: HedgeLeg, system: System, head: Block) -> Series:
        """Return the leg's series. Raises VenueRejected where it is another (REL-D8) or not allowed."""
        otoken = otoken_of(leg.instrument)
        series = await self._reads.series(otoken, head) if otoken else None
        if series is None:
            raise VenueRejected(
                f"instrument {leg.instrument.id!r} is no oToken of this system; nothing was sent"
            )
        listed = instrument_of(series, contracts=self._contracts, terms=self._terms)
        if listed != leg.instrument:
            raise VenueRejected(f"the leg wants {leg.instrument}, the chain has {listed}; nothing was sent")
        (is_allowed,) = await self._reads.whitelisted(system, [series.otoken], head)
        if not is_allowed and leg.side is not Side.SELL:
            raise VenueRejected(
                f"{series.otoken} is not whitelisted: it cannot be redeemed; nothing was sent"
            )
        return series

    def _check_alive(self, series: Series, head: Block, cutoff_s: float) -> None:
        if series.expiry_s - head.timestamp_s <= cutoff_s:
            raise VenueRejected(
                f"{series.otoken} expires at {series.expiry_s}, it is {head.timestamp_s}: "
                f"not traded in the last {cutoff_s:.0f} s or later; nothing was sent"
            )

    async def _orders(
        self, series: Series, amount_raw: int, head: Block
    ) -> list[tuple[str, OtokenPool, int]]:
        pools = await self._pools.of([series.otoken], head)
        return [(series.otoken, pool, amount_raw) for pool in pools[series.otoken]]

    async def _held_raw(self, leg: HedgeLeg, series: Series, head: Block) -> int:
        """Return the leg's size in raw units: all that is held where it means all."""
        if leg.position_id != series.otoken:
            raise VenueRejected(f"position {leg.position_id!r} is not {series.otoken}")
        (held_raw,) = await self._reads.balances([series.otoken], self._account, head)
        held = from_fixed(held_raw, decimals=OTOKEN_DECIMALS)
        if abs(leg.size - held) <= SIZE_TOLERANCE:
            return held_raw
        wanted_raw = to_fixed_down(leg.size, decimals=OTOKEN_DECIMALS)
        if not 0 < wanted_raw <= held_raw:
            raise VenueRejected(
                f"{self._account} holds {held:g} of {series.otoken}, the leg says {leg.size:g}"
            )
        return wanted_raw

    def _least_raw(self, trade: PoolTrade, floor_raw: int) -> int:
        """Never 0: the signer asks a floor of every sale."""
        return max(floor_raw, trade.token_raw * (BPS - self._terms.cost_buffer_bps) // BPS, 1)

    def _usd(self, raw: int, prices: Prices) -> float:
        return from_fixed(raw, decimals=self._contracts.decimals) * prices.settlement_usd


async def redemption(
    reads: OpynReads, series: Series, amount_raw: int, head: Block, *, account: str
) -> bytes:
    """Return the call that redeems. Raises VenueRejected where it would revert: MarginPool may be short."""
    action = (ACTION_REDEEM, _NOBODY, account, series.otoken, 0, amount_raw, 0, b"")
    data = CONTROLLER.encode("operate", [action])
    await reads.reader.simulate(to=reads.contracts.controller, data=data, block=head, sender=account)
    return data


async def price_push(
    reads: OpynReads, series: Series, state: Settlement, head: Block, *, account: str
) -> bytes:
    """Return the call that pushes the price at expiry. Raises VenueRejected where that is not for us."""
    pricer, reader = reads.contracts.pricer, reads.reader
    if state.is_locked or not pricer or state.pricer != pricer.lower():
        why = "cannot be pushed yet" if state.is_locked else "was not pushed, and no pricer of ours can"
        raise VenueRejected(f"the price of {series.expiry_s} {why}; nothing was sent")
    row = (await reader.read([PRICER.call("aggregator", pricer)], block=head))[0]
    if row is None:
        raise VenueRejected(f"pricer {pricer} names no feed; nothing was sent")
    number = await first_round(reader, str(row[0]), at_s=series.expiry_s, block=head)
    data = PRICER.encode("setExpiryPriceInOracle", series.expiry_s, number)
    await reader.simulate(to=pricer, data=data, block=head, sender=account)
    return data
