"""How a leg is done on Hegic.

Buy: `buy` takes neither a price nor a deadline, so it is given an allowance of exactly the premium. Sell and
settle are the same call, the exercise of the whole position, and only before it expires.
"""

from collections.abc import Mapping

from bot.errors import VenueRejected
from bot.model.execution import ExecutionPlan, OnchainTx, Payment
from bot.model.hedge import HedgeLeg, Side
from bot.model.intent import Receipt
from bot.model.market import Block
from bot.model.units import from_fixed, to_fixed_down, to_fixed_up
from bot.venues.booked import SIZE_TOLERANCE
from bot.venues.hegic_marks import HegicMarks
from bot.venues.hegic_quotes import HegicQuoter
from bot.venues.hegic_reads import TREASURY, HegicPosition, HegicReads, Sold
from bot.venues.hegic_terms import HegicStrategy, HegicTerms, bought, listed, parse_listed
from bot.venues.overrides import FundedSender
from bot.venues.prices import Prices
from bot.venues.settlement import BPS
from bot.venues.token_checks import TokenChecks

BUY, EXERCISE = "open", "exercise"
BUY_GAS_CEILING, EXERCISE_GAS_CEILING = 1_500_000, 1_000_000


class HegicPlanner:
    """Plans for one system and one account."""

    def __init__(
        self,
        *,
        reads: HegicReads,
        quoter: HegicQuoter,
        marks: HegicMarks,
        checks: TokenChecks,
        terms: HegicTerms,
        account: str,
    ) -> None:
        self._reads, self._quoter, self._marks = reads, quoter, marks
        self._checks, self._terms, self._account = checks, terms, account
        self._contracts = reads.contracts
        self._funded = FundedSender(reads.reader)

    async def plan(
        self,
        leg: HedgeLeg,
        *,
        prices: Prices,
        head: Block,
        done: Mapping[str, Receipt],  # noqa: ARG002 - no plan of Hegic's waits
    ) -> ExecutionPlan:
        """See ports.VenueAdapter."""
        treasury = self._contracts.treasury
        if not await self._reads.reader.has_code(treasury, block=head):
            raise VenueRejected(f"{treasury} has no code; check the address of Hegic's treasury")
        if leg.side is Side.BUY:
            return await self._buy(leg, prices, head)
        return await self._exercise(leg, prices, head)

    async def _buy(self, leg: HedgeLeg, prices: Prices, head: Block) -> ExecutionPlan:
        strategy, period_s = self._strategy(leg)
        sold = await self._checked(leg, strategy, period_s, head)
        amount_raw = to_fixed_down(leg.size, decimals=strategy.decimals)
        premium_raw = await self._premium_raw(leg, strategy, amount_raw, period_s, prices, head)
        await self._check_payable(leg, sold, prices, head)
        await self._checks.check(self._contracts.token, self._contracts.symbol, block=head)
        data = TREASURY.encode("buy", strategy.address, self._account, amount_raw, period_s, [])
        await self._funded.check(
            self._contracts.treasury, data, token=self._contracts.token, owner=self._account, block=head
        )
        payment = Payment(
            token=self._contracts.token,
            symbol=self._contracts.symbol,
            decimals=self._contracts.decimals,
            spender=self._contracts.treasury,
            amount_raw=premium_raw,
        )
        return ExecutionPlan(
            steps=(self._step(BUY, data, BUY_GAS_CEILING),),
            trade=BUY,
            valid_until_s=leg.valid_until_s,
            pays=(payment,),
            most_usd=self._usd(premium_raw, prices),
        )

    async def _exercise(self, leg: HedgeLeg, prices: Prices, head: Block) -> ExecutionPlan:
        position = await self._own_position(leg, head)
        floor_raw = to_fixed_up(leg.limit_usd / prices.settlement_usd, decimals=self._contracts.decimals)
        if not position.payoff_raw or position.payoff_raw < floor_raw:
            raise VenueRejected(
                f"exercise of position {position.id} pays {self._usd(position.payoff_raw, prices):.2f} USD "
                f"now, the leg asks {leg.limit_usd:.2f}, and more than 0; nothing was sent"
            )
        if refusal := await self._marks.pay_off(position, self._account, head):
            raise VenueRejected(f"position {position.id} would not be paid: {refusal}; nothing was sent")
        data = TREASURY.encode("payOff", position.id, self._account)
        return ExecutionPlan(
            steps=(self._step(EXERCISE, data, EXERCISE_GAS_CEILING),),
            trade=EXERCISE,
            valid_until_s=min(leg.valid_until_s, position.expires_s - 1.0),
            # payOff takes no floor: this is what the simulation paid.
            least_usd=self._usd(position.payoff_raw, prices),
        )

    async def _checked(self, leg: HedgeLeg, strategy: HegicStrategy, period_s: int, head: Block) -> Sold:
        """Return what the strategy sells. Raises VenueRejected where that is not the leg's (REL-D8)."""
        (sold,) = await self._reads.sold([strategy], head)
        if problem := sold.problem or await self._reads.wiring(head):
            raise VenueRejected(f"{strategy.name}: {problem}; nothing was sent")
        if not sold.periods_s[0] <= period_s <= sold.periods_s[1]:
            raise VenueRejected(f"{strategy.name} sells {sold.periods_s} seconds, the leg wants {period_s}")
        now = listed(
            strategy,
            period_s=period_s,
            spot=sold.spot,
            now_s=head.timestamp_s,
            contracts=self._contracts,
            terms=self._terms,
        )
        if not now.is_that(leg.instrument):
            raise VenueRejected(f"the leg wants {leg.instrument}, the chain has {now}; nothing was sent")
        drift = abs(now.strike_usd / leg.instrument.strike_usd - 1.0)
        if not drift * BPS <= self._terms.max_strike_drift_bps:
            raise VenueRejected(
                f"the strike would be {now.strike_usd:.2f} now, {leg.instrument.strike_usd:.2f} was decided "
                f"on: {drift:.2%} apart, allowed {self._terms.max_strike_drift_bps / BPS:.2%}; "
                "nothing was sent"
            )
        return sold

    async def _premium_raw(
        self,
        leg: HedgeLeg,
        strategy: HegicStrategy,
        amount_raw: int,
        period_s: int,
        prices: Prices,
        head: Block,
    ) -> int:
        """Return the premium, which is also the allowance: a dearer one then fails whole."""
        (premium_raw,) = await self._reads.premiums([(strategy, amount_raw, period_s)], head)
        limit_raw = to_fixed_down(leg.limit_usd / prices.settlement_usd, decimals=self._contracts.decimals)
        if not premium_raw or premium_raw > limit_raw:
            raise VenueRejected(
                f"the premium is {self._usd(premium_raw or 0, prices):.4f} USD now (0: none is quoted), "
                f"the leg allows {leg.limit_usd:.4f}; nothing was sent"
            )
        return premium_raw

    async def _check_payable(self, leg: HedgeLeg, sold: Sold, prices: Prices, head: Block) -> None:
        funds = await self._reads.funds(head)
        most = self._quoter.payable(leg.instrument, funds, spot=sold.spot, token_usd=prices.settlement_usd)
        if leg.size > most:
            raise VenueRejected(
                f"Hegic's free funds of {self._usd(funds.free_raw, prices):,.0f} USD could pay for {most:g} "
                f"contracts after a move of {self._terms.stress_move:.0%}, the leg wants {leg.size:g}"
            )

    async def _own_position(self, leg: HedgeLeg, head: Block) -> HegicPosition:
        """Return the leg's position. Raises VenueRejected where it is not ours, has ended or is another."""
        for position in await self._reads.positions(self._account, head):
            if str(position.id) == leg.position_id:
                break
        else:
            raise VenueRejected(
                f"position {leg.position_id!r} is no option that {self._account} can still exercise"
            )
        own = bought(
            position.strategy,
            position_id=position.id,
            spot=position.spot,
            expiry_s=position.expires_s,
            contracts=self._contracts,
            terms=self._terms,
        )
        if own != leg.instrument:
            raise VenueRejected(f"the leg is of {leg.instrument}, the chain has {own}; nothing was sent")
        if abs(leg.size - position.size) > SIZE_TOLERANCE:
            raise VenueRejected(
                f"position {position.id} of {position.size:g} contracts is exercised whole or not at all, "
                f"the leg wants {leg.size:g}"
            )
        return position

    def _strategy(self, leg: HedgeLeg) -> tuple[HegicStrategy, int]:
        parsed = parse_listed(leg.instrument.id)
        for item in self._contracts.strategies:
            if parsed and item.name == parsed[0]:
                return item, parsed[1]
        raise VenueRejected(f"instrument {leg.instrument.id!r} is no strategy of Hegic that is configured")

    def _step(self, purpose: str, data: bytes, gas_ceiling: int) -> OnchainTx:
        return OnchainTx(purpose=purpose, to=self._contracts.treasury, data=data, gas_ceiling=gas_ceiling)

    def _usd(self, raw: int, prices: Prices) -> float:
        return from_fixed(raw, decimals=self._contracts.decimals) * prices.settlement_usd
