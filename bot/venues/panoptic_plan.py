"""How a leg is done at Panoptic: what is checked first, which calls, within which bounds.

Buy: deposit margin and the premium that is put aside, then mint. No more than the deposit can be lost; the
opening is bounded by the ticks, since far from its strike a put ties up less than is deposited. Sell or
settle: burn with a swap near the price it was decided at, then withdraw what is not other positions'.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass

from bot.errors import VenueRejected
from bot.model.execution import ExecutionPlan, OnchainTx, Step, Wait
from bot.model.hedge import HedgeLeg, Side
from bot.model.intent import Receipt
from bot.model.market import Block
from bot.model.units import from_fixed, to_fixed_down, to_fixed_up
from bot.venues.booked import SIZE_TOLERANCE
from bot.venues.panoptic_quotes import (
    WIDE_TICKS,
    Cost,
    PanopticQuoter,
    Situation,
    chunk_of,
    free_token_id,
)
from bot.venues.panoptic_reads import (
    POOL,
    PanopticReads,
    PoolState,
    Position,
    notional_raw,
)
from bot.venues.panoptic_steps import (
    CLOSE,
    DEPOSIT_CASH,
    DEPOSIT_UNIT,
    OPEN,
    ROUNDING_RAW,
    WITHDRAW_CASH,
    WITHDRAW_UNIT,
    PanopticSteps,
)
from bot.venues.panoptic_terms import BPS, RATIO_UNIT, Pair, PanopticTerms, instrument_of, limits_of
from bot.venues.panoptic_token_id import amounts_of, liquidity_of
from bot.venues.prices import Prices
from bot.venues.token_checks import TokenChecks

_LEAST_PREMIUM = 0.5  # of the estimate: a limit that leaves less pays for no life worth the name
_DRIFT = 0.02  # of the premium that is owed: it grows until the close is mined
_TOP_UP = 1.05  # of what is owed in the underlying
_DUST_USD = 1.0  # less is not worth a transaction
_TICK = 1e-4  # of a price


@dataclass(frozen=True, slots=True, kw_only=True)
class Closing:
    """What a close would do to the account's collateral, raw (underlying, cash) unless it says USD."""

    brings: Pair  # by the burn alone
    assets: Pair  # after it
    keep_usd: float  # of other positions: margin and what is put aside for them
    margin_usd: float  # of this one
    to_buy_raw: int  # underlying that the close buys back in the pool
    end_tick: int  # where that leaves the price
    swaps: bool  # False: the pool is too thin for it; the underlying is owed and bought beforehand
    spare_usd: float  # put aside for this one's premium, what is owed of it included
    value_usd: float  # received for the position: what is withdrawn less its margin


class PanopticPlanner:
    """Plans for one pool and account."""

    def __init__(
        self,
        *,
        reads: PanopticReads,
        quoter: PanopticQuoter,
        checks: TokenChecks,
        terms: PanopticTerms,
        account: str,
    ) -> None:
        self._reads, self._quoter, self._checks, self._terms = reads, quoter, checks, terms
        self._contracts, self._account = reads.contracts, account
        self._steps = PanopticSteps(
            reader=reads.reader, contracts=reads.contracts, terms=terms, account=account
        )

    async def plan(
        self, leg: HedgeLeg, *, prices: Prices, head: Block, done: Mapping[str, Receipt]
    ) -> ExecutionPlan:
        """See ports.VenueAdapter."""
        if not 0.0 < prices.spot_usd < math.inf:
            raise VenueRejected(f"the price of {self._terms.underlying} is not known; nothing was sent")
        state = await self._reads.state(head)
        positions = await self._reads.positions(self._account, head)
        if leg.side is Side.BUY:
            return await self._buy(leg, state, positions, prices, head)
        if CLOSE in done:
            return await self._withdraw_rest(leg, state, positions, prices, head, done)
        return await self._close(leg, state, positions, prices, head)

    async def closing(
        self, position: Position, positions: list[Position], state: PoolState, prices: Prices, head: Block
    ) -> Closing:
        """Run the close by eth_call. Raises VenueRejected with the pool's reason."""
        others = [item for item in positions if item is not position]
        brings, end_tick, swaps = await self._tried(position, others, state, head)
        assets = await self._reads.assets(self._account, head)
        margins = {item.id: self._margin_usd(item, state, prices) for item in positions}
        notionals = {item.id: self._notional_raw(item, state) for item in positions}
        spare_usd = self._contracts.worth_usd(assets, prices) - sum(margins.values())
        share = notionals[position.id] / sum(notionals.values())
        return Closing(
            brings=brings,
            assets=(assets[0] + brings[0], assets[1] + brings[1]),
            keep_usd=sum(margins.values()) - margins[position.id] + spare_usd * (1.0 - share),
            margin_usd=margins[position.id],
            to_buy_raw=self._inside(position, state) if swaps else 0,
            end_tick=end_tick,
            swaps=swaps,
            spare_usd=spare_usd * share,
            value_usd=self._contracts.worth_usd(brings, prices) + spare_usd * share,
        )

    async def _tried(
        self, position: Position, others: list[Position], state: PoolState, head: Block
    ) -> tuple[Pair, int, bool]:
        """Return what a close brings, the tick after it, and whether it swaps: where that is possible."""
        lent = (2 * position.contracts_raw, self._notional_raw(position, state))
        refusal: VenueRejected | None = None
        for swaps in (True, False):
            limits = limits_of(state.tick, state.tick, slack=WIDE_TICKS, spread=0, swaps=swaps)
            data = self._burn(position, others, limits)
            try:
                brings, end = await self._reads.dispatched(data, account=self._account, lent=lent, block=head)
            except VenueRejected as error:
                refusal = refusal or error
            else:
                return brings, end, swaps
        raise refusal or VenueRejected(f"position {position.id} cannot be closed")

    # --- buying ---------------------------------------------------------------------------------------

    async def _buy(
        self, leg: HedgeLeg, state: PoolState, positions: list[Position], prices: Prices, head: Block
    ) -> ExecutionPlan:
        await self._check_purchase(leg, state, prices, head)
        c, terms, chunk = self._contracts, self._terms, chunk_of(leg.instrument)
        held = [item.token_id.value for item in positions]
        now = Situation(state=state, prices=prices, block=head, held=held)
        token_id = free_token_id(chunk, held, state.rules.pool_id, unit_index=c.unit_index)
        size_raw = to_fixed_down(leg.size, decimals=c.unit_decimals) // token_id.legs[0].ratio
        (offer,) = await self._quoter.offers([chunk], state.rules, head)
        cost = await self._quoter.cost(offer, token_id, size_raw, now)
        slack, end = terms.slippage_ticks, cost.end_tick
        data = self._quoter.dispatch(token_id, size_raw, now, slack=slack, end_tick=end)
        aside_usd = self._aside_usd(leg, cost.opening_usd, cost.premium_usd)
        unit_raw, cash_raw = self._deposits(cost, aside_usd, prices)
        unit = await self._steps.unit(unit_raw, state, leg.valid_until_s, head)
        return ExecutionPlan(
            steps=(
                *(() if positions else await self._swept(prices, head)),
                *unit.steps,
                self._steps.deposit(DEPOSIT_CASH, c.cash_tracker, cash_raw),
                self._steps.deposit(DEPOSIT_UNIT, c.unit_tracker, unit_raw),
                self._steps.step(OPEN, c.pool, data, terms.gas.dispatch_ceiling),
            ),
            trade=OPEN,
            valid_until_s=leg.valid_until_s,
            pays=(self._steps.payment(c.cash_token, c.cash_tracker, cash_raw), *unit.pays),
            most_usd=c.worth_usd((unit.own_raw, cash_raw + unit.cash_raw), prices) - cost.margin_usd,
            because=f"{cost.margin_usd:.2f} USD are tied up as margin, {aside_usd:.2f} put aside for premium",
        )

    async def _check_purchase(self, leg: HedgeLeg, state: PoolState, prices: Prices, head: Block) -> None:
        """Raise VenueRejected where the pool, the instrument or a token is not what was decided on."""
        if refusal := self._quoter.closed(state, prices):
            raise VenueRejected(f"{refusal}; nothing was sent")
        self._check_instrument(leg, state, head)
        c = self._contracts
        for token, symbol in ((c.cash_token, c.cash), (c.unit_token, c.unit)):
            await self._checks.check(token, symbol, block=head)

    def _deposits(self, cost: Cost, aside_usd: float, prices: Prices) -> Pair:
        """Return what is deposited, raw (underlying, cash): half of the premium in each, the rest in cash."""
        c = self._contracts
        unit_raw = to_fixed_up(aside_usd / 2 / prices.spot_usd, decimals=c.unit_decimals)
        cash_usd = cost.margin_usd + aside_usd / 2
        cash_raw = to_fixed_up(cash_usd / prices.settlement_usd, decimals=c.cash_decimals)
        return unit_raw, cash_raw + cost.opening_cash_raw

    async def _swept(self, prices: Prices, head: Block) -> tuple[OnchainTx, ...]:
        """Return the withdrawal of what an order that failed left in the pool, if it is worth one."""
        assets = await self._reads.assets(self._account, head)
        return self._steps.sweep(assets) if self._contracts.worth_usd(assets, prices) > _DUST_USD else ()

    def _aside_usd(self, leg: HedgeLeg, opening_usd: float, premium_usd: float) -> float:
        """Return what is put aside for premium: the estimate, or what the leg's limit leaves of it."""
        costs = 1.0 + self._terms.swap_slippage_bps / BPS  # of getting half of it in the underlying
        left_usd = (leg.limit_usd - opening_usd) / costs - 0.01  # both deposits are rounded up
        if left_usd < _LEAST_PREMIUM * premium_usd:
            raise VenueRejected(
                f"opening costs {opening_usd:.2f} USD and {premium_usd:.2f} are to be put aside for premium, "
                f"the leg allows {leg.limit_usd:.2f} in all; nothing was sent"
            )
        return min(premium_usd, left_usd)

    def _check_instrument(self, leg: HedgeLeg, state: PoolState, head: Block) -> None:
        """Raise VenueRejected where the pool's chunk is not the instrument that was decided on (REL-D8)."""
        listed = instrument_of(
            chunk_of(leg.instrument),
            tick_spacing=state.rules.tick_spacing,
            now_s=head.timestamp_s,
            contracts=self._contracts,
            terms=self._terms,
        )
        same = math.isclose(listed.strike_usd, leg.instrument.strike_usd, rel_tol=1e-6)
        if not listed.is_that(leg.instrument) or not same:
            raise VenueRejected(f"the leg wants {leg.instrument}, the chain has {listed}; nothing was sent")

    # --- closing --------------------------------------------------------------------------------------

    async def _close(
        self, leg: HedgeLeg, state: PoolState, positions: list[Position], prices: Prices, head: Block
    ) -> ExecutionPlan:
        position = self._own(leg, positions)
        others = [item for item in positions if item is not position]
        found = await self.closing(position, positions, state, prices, head)
        if leg.side is Side.SELL and found.value_usd < leg.limit_usd:
            raise VenueRejected(
                f"the sale brings {found.value_usd:.2f} USD now, the leg asks {leg.limit_usd:.2f}; "
                "nothing was sent"
            )
        c, slack = self._contracts, self._slack(leg, found, state, prices)
        lacks_raw = self._to_cover_raw(others, state) - found.assets[0]
        top_up_raw = max(math.ceil(lacks_raw * _TOP_UP), 0)
        unit = await self._steps.unit(top_up_raw, state, leg.valid_until_s, head)
        deposit = self._steps.deposit(DEPOSIT_UNIT, c.unit_tracker, top_up_raw)
        slip_raw = math.ceil(self._swap_cash_raw(found.to_buy_raw, state) * slack * _TICK)
        out = self._withdrawable(found, position, others, top_up_raw, slip_raw, state, prices)
        brought = (out[0] - unit.own_raw, out[1] - unit.cash_raw)
        # What is bought beforehand moves the same pool, at its end twice as far as its mean price may be off.
        room = slack + (2 * self._terms.swap_slippage_bps if unit.cash_raw else 0)
        limits = limits_of(state.tick, found.end_tick, slack=room, spread=0, swaps=found.swaps)
        data = self._burn(position, others, limits)
        last: tuple[Step, ...] = self._steps.withdrawals(out, others)
        if unit.cash_raw and top_up_raw > 2 * max(
            position.owed[0], 0
        ):  # it moves the price: see what is left
            last = (Wait(because="what the close left is withdrawn once it is known"),)
        return ExecutionPlan(
            steps=(
                *unit.steps,
                *((deposit,) if top_up_raw else ()),
                self._steps.step(CLOSE, c.pool, data, self._terms.gas.dispatch_ceiling),
                *last,
            ),
            trade=CLOSE,
            valid_until_s=leg.valid_until_s,
            pays=unit.pays,
            least_usd=max(c.worth_usd(brought, prices) - found.margin_usd, 0.0),
        )

    def _withdrawable(
        self,
        found: Closing,
        position: Position,
        others: list[Position],
        top_up_raw: int,
        slip_raw: int,
        state: PoolState,
        prices: Prices,
    ) -> Pair:
        """Return what may be taken out, raw (underlying, cash), whatever the close does within its bounds."""
        unit_raw = found.assets[0] + top_up_raw - math.ceil(max(position.owed[0], 0) * _DRIFT) - ROUNDING_RAW
        cash_raw = found.assets[1] - math.ceil(max(position.owed[1], 0) * _DRIFT) - slip_raw - ROUNDING_RAW
        if others:  # the underlying stays for their premium
            keep_usd = found.keep_usd - self._contracts.worth_usd((unit_raw, 0), prices)
            if state.safe_mode:  # one token does not stand for the other then
                keep_usd = max(keep_usd, sum(self._margin_usd(item, state, prices) for item in others))
            unit_raw = 0
            cash_raw -= to_fixed_up(
                max(keep_usd, 0.0) / prices.settlement_usd, decimals=self._contracts.cash_decimals
            )
        return max(unit_raw, 0), max(cash_raw, 1)

    async def _withdraw_rest(
        self,
        leg: HedgeLeg,
        state: PoolState,
        positions: list[Position],
        prices: Prices,
        head: Block,
        done: Mapping[str, Receipt],
    ) -> ExecutionPlan:
        """Return the withdrawals that an order still lacks whose close was mined before it was cut off."""
        unit_raw, cash_raw = await self._reads.assets(self._account, head)
        if positions:
            keep_usd = sum(self._margin_usd(item, state, prices) for item in positions) * (1.0 + _DRIFT)
            keep_usd += sum(self._contracts.worth_usd(item.owed, prices) for item in positions)
            cash_raw -= to_fixed_up(keep_usd / prices.settlement_usd, decimals=self._contracts.cash_decimals)
            unit_raw = 0
        if WITHDRAW_UNIT in done:  # what it left for a premium that grew is the next order's
            unit_raw = 0
        out = (max(unit_raw - ROUNDING_RAW, 0), max(cash_raw - ROUNDING_RAW, 1))
        return ExecutionPlan(
            steps=self._steps.withdrawals(out, positions, again=head.number if WITHDRAW_CASH in done else 0),
            trade=CLOSE,
            valid_until_s=max(leg.valid_until_s, head.timestamp_s + 3_600.0),
            least_usd=leg.limit_usd,
        )

    def _slack(self, leg: HedgeLeg, found: Closing, state: PoolState, prices: Prices) -> int:
        """Return how many ticks the price may move until the close, as far as the leg's limit bears it."""
        ticks = self._terms.slippage_ticks
        each_usd = (
            self._contracts.worth_usd((0, self._swap_cash_raw(found.to_buy_raw, state)), prices) * _TICK
        )
        if leg.side is Side.SELL and each_usd * ticks > 0.0:
            ticks = min(ticks, int((found.value_usd - leg.limit_usd) / each_usd))
        return max(ticks, 2)

    def _swap_cash_raw(self, unit_raw: int, state: PoolState) -> int:
        c = self._contracts
        cash = from_fixed(unit_raw, decimals=c.unit_decimals) * c.price_of_tick(state.tick)
        return to_fixed_up(cash, decimals=c.cash_decimals)

    def _burn(self, position: Position, others: list[Position], limits: tuple[int, int, int]) -> bytes:
        ids = [item.token_id.value for item in others]
        return POOL.encode("dispatch", [position.token_id.value], ids, [0], [limits], False, 0)

    def _inside(self, position: Position, state: PoolState) -> int:
        """Return the underlying that the position's chunk is made of now."""
        lower, upper = position.chunk.ticks(state.rules.tick_spacing)
        unit = self._contracts.unit_index
        liquidity = liquidity_of(position.contracts_raw, asset=unit, lower=lower, upper=upper)
        return amounts_of(liquidity, sqrt_price_x96=state.sqrt_price_x96, lower=lower, upper=upper)[unit]

    def _to_cover_raw(self, others: list[Position], state: PoolState) -> int:
        """Return the underlying that what stays open must have: in safe mode cash does not stand for it."""
        if not state.safe_mode:
            return 0
        owed_raw = sum(max(item.owed[0], 0) for item in others) * (1.0 + _DRIFT)
        return math.ceil(owed_raw * state.rules.buffer / RATIO_UNIT)

    def _own(self, leg: HedgeLeg, positions: list[Position]) -> Position:
        """Return the leg's position. Raises VenueRejected where it is not ours, or only a part is to go."""
        for item in positions:
            if item.id == leg.position_id:
                held = from_fixed(item.contracts_raw, decimals=self._contracts.unit_decimals)
                if abs(held - leg.size) > max(SIZE_TOLERANCE, held * SIZE_TOLERANCE):
                    raise VenueRejected(
                        f"position {item.id} is {held:g} contracts and can only be closed whole, "
                        f"the leg has {leg.size:g}"
                    )
                if item.chunk != chunk_of(leg.instrument):
                    raise VenueRejected(
                        f"position {item.id} is {item.chunk.id}, the leg says {leg.instrument.id}"
                    )
                return item
        raise VenueRejected(f"position {leg.position_id!r} is not an open position of {self._account}")

    # --- parts ----------------------------------------------------------------------------------------

    def _notional_raw(self, position: Position, state: PoolState) -> int:
        return notional_raw(
            position.chunk,
            position.contracts_raw,
            unit_index=self._contracts.unit_index,
            tick_spacing=state.rules.tick_spacing,
        )

    def _margin_usd(self, position: Position, state: PoolState, prices: Prices) -> float:
        margin = state.rules.margin_raw(self._notional_raw(position, state))
        return self._contracts.worth_usd((0, margin), prices)
