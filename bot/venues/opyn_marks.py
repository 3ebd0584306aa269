"""Marks of held oTokens: what a sale would bring before expiry, redemption after it, and what is due."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from bot.errors import VenueRejected
from bot.model.execution import Due, DueAction
from bot.model.hedge import Instrument
from bot.model.market import Block
from bot.model.units import from_fixed
from bot.ports import VenuePosition
from bot.venues.booked import model_usd, payoff_usd
from bot.venues.opyn_plan import price_push, redemption
from bot.venues.opyn_pools import OpynPools, OtokenPool, best_sale
from bot.venues.opyn_quotes import OpynQuoter, usual_vol
from bot.venues.opyn_reads import OpynReads, Settlement, System
from bot.venues.opyn_terms import OTOKEN_DECIMALS, OpynTerms, Series, collateral_usd, instrument_of
from bot.venues.prices import Prices


@dataclass(frozen=True, slots=True, kw_only=True)
class _Marking:
    """What all marks of one frame share."""

    system: System
    block: Block
    account: str
    prices: Prices
    spot: float  # Opyn's own, the one it would settle at now
    usual_iv: float


@dataclass(frozen=True, slots=True, kw_only=True)
class _Holding:
    series: Series
    amount_raw: int

    @property
    def size(self) -> float:
        return from_fixed(self.amount_raw, decimals=OTOKEN_DECIMALS)


class OpynMarks:
    """Positions of one account. The position id of an oToken is its address."""

    def __init__(self, *, reads: OpynReads, pools: OpynPools, quoter: OpynQuoter, terms: OpynTerms) -> None:
        self._reads = reads
        self._pools = pools
        self._quoter = quoter
        self._terms = terms
        self._contracts = reads.contracts

    async def held(self, block: Block, prices: Prices, *, account: str) -> tuple[VenuePosition, ...]:
        """Return what the account holds, but for what expired worthless: that stays in it for ever."""
        system = await self._reads.system(block)
        every = await self._reads.all_series(system, block)
        amounts = await self._reads.balances([item.otoken for item in every], account, block)
        holdings = [
            _Holding(series=series, amount_raw=raw)
            for series, raw in zip(every, amounts, strict=True)
            if raw > 0
        ]
        if not holdings:
            return ()
        living = [item for item in holdings if item.series.expiry_s > block.timestamp_s]
        pools = await self._pools.of([item.otoken for item in _alive(every, block)], block) if living else {}
        marking = _Marking(
            system=system,
            block=block,
            account=account,
            prices=prices,
            spot=await self._reads.spot(system, block),
            usual_iv=self._usual_iv(every, pools, block, prices) if living else math.nan,
        )
        marks = [await self._living(item, pools[item.series.otoken], marking) for item in living]
        ended = [await self._expired(item, marking) for item in holdings if item not in living]
        return (*marks, *(item for item in ended if item is not None))

    def _usual_iv(
        self,
        every: Sequence[Series],
        pools: dict[str, tuple[OtokenPool, ...]],
        block: Block,
        prices: Prices,
    ) -> float:
        return usual_vol(
            [
                self._quoter.implied_vol(item, pools[item.otoken], now_s=block.timestamp_s, prices=prices)
                for item in _alive(every, block)
            ]
        )

    async def _living(self, item: _Holding, pools: Sequence[OtokenPool], marking: _Marking) -> VenuePosition:
        series, prices, now_s = item.series, marking.prices, marking.block.timestamp_s
        instrument = self._instrument(series)
        orders = [(series.otoken, pool, item.amount_raw) for pool in pools]
        sale = best_sale(await self._pools.sell(orders, marking.block))
        net = math.nan
        if sale is not None:
            gross = from_fixed(sale.token_raw, decimals=self._contracts.decimals) * prices.settlement_usd
            net = max(gross - self._terms.gas.sell * prices.gas_usd, 0.0)
        iv = self._quoter.implied_vol(series, pools, now_s=now_s, prices=prices)
        iv = iv if math.isfinite(iv) else marking.usual_iv  # below intrinsic value no vol is to be seen
        return VenuePosition(
            id=series.otoken,
            instrument=instrument,
            size=item.size,
            iv=iv,
            model_usd=model_usd(instrument, size=item.size, spot_usd=prices.spot_usd, iv=iv, now_s=now_s),
            liquidation_usd=net,
            intrinsic_usd=payoff_usd(instrument, marking.spot, size=item.size),
            marked_by="quoteExactInputSingle of the sale",
            due=Due(
                from_s=float(series.expiry_s), because="it is redeemed after expiry, once prices are final"
            ),
        )

    async def _expired(self, item: _Holding, marking: _Marking) -> VenuePosition | None:
        """Mark an expired holding; None where it is final that it pays nothing."""
        series = item.series
        state = await self._reads.settlement(marking.system, series, marking.block)
        payoff = self._payoff_usd(item, state, marking)
        if state.is_allowed:
            raw = await self._reads.payout_raw(series, item.amount_raw, marking.block)
            if not raw:
                return None
            payoff = collateral_usd(raw, series, contracts=self._contracts, prices=marking.prices)
        (is_allowed,) = await self._reads.whitelisted(marking.system, [series.otoken], marking.block)
        due = self._due(series, state, payoff, marking)
        if not is_allowed:
            due = _wait("the whitelist does not have it: it cannot be redeemed")
        elif due.is_for_us:
            due = await self._tried(due, item, state, marking)
            is_allowed = due.is_for_us
        net = payoff - self._terms.gas.redeem * marking.prices.gas_usd
        return VenuePosition(
            id=series.otoken,
            instrument=self._instrument(series),
            size=item.size,
            iv=math.nan,
            model_usd=payoff,
            liquidation_usd=max(net, 0.0) if state.is_allowed and is_allowed else math.nan,
            settleable=due.is_for_us,
            intrinsic_usd=payoff,
            marked_by="getPayout" if state.is_allowed else "price at expiry, not final",
            due=due,
        )

    def _payoff_usd(self, item: _Holding, state: Settlement, marking: _Marking) -> float:
        """Return the payoff at the price that was pushed, or at today's while none was."""
        spot = from_fixed(state.price_raw, decimals=OTOKEN_DECIMALS) if state.is_pushed else marking.spot
        return payoff_usd(self._instrument(item.series), spot, size=item.size)

    def _due(self, series: Series, state: Settlement, payoff_usd: float, marking: _Marking) -> Due:
        gas = self._terms.gas
        if marking.system.is_paused:
            return _wait("Opyn is paused in full")
        if state.is_allowed:
            if payoff_usd > gas.redeem * marking.prices.gas_usd:
                return Due(action=DueAction.SETTLE, from_s=float(series.expiry_s), because="prices are final")
            return _wait(f"it pays {payoff_usd:.2f} USD, which redeeming would cost in gas")
        if state.is_pushed:
            return _wait(f"the price that was pushed may be disputed for {state.dispute_s} s")
        if state.is_locked:
            return _wait("no price can be pushed yet", from_s=series.expiry_s + state.locking_s)
        can_push = bool(self._contracts.pricer) and state.pricer == self._contracts.pricer.lower()
        if can_push and payoff_usd > (gas.redeem + gas.push) * marking.prices.gas_usd:
            return Due(
                action=DueAction.SETTLE, from_s=float(series.expiry_s), because="nobody pushed its price"
            )
        return _wait("nobody pushed its price yet")

    async def _tried(self, due: Due, item: _Holding, state: Settlement, marking: _Marking) -> Due:
        """Return what is due; a wait where the call would revert, as by a pricer that is its bot's alone."""
        try:
            if state.is_allowed:
                await redemption(
                    self._reads, item.series, item.amount_raw, marking.block, account=marking.account
                )
            else:
                await price_push(self._reads, item.series, state, marking.block, account=marking.account)
        except VenueRejected as refused:
            return _wait(str(refused))
        return due

    def _instrument(self, series: Series) -> Instrument:
        return instrument_of(series, contracts=self._contracts, terms=self._terms)


def _alive(every: Sequence[Series], block: Block) -> list[Series]:
    return [item for item in every if item.expiry_s > block.timestamp_s]


def _wait(because: str, *, from_s: float = -math.inf) -> Due:
    return Due(action=DueAction.WAIT, from_s=from_s, because=because)
