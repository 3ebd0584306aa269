"""One leg on Lyra, from the checks to the last revoked allowance.

Buy: swap exactly what is missing of the settlement token, approve exactly the bound, open, revoke the rest.
Sell: close (by force where the market allows only that), then change the proceeds back. Settle: settle the
board if nobody did, settle the position, change the payoff back. Whatever happens, no allowance stays.
"""

from bot.errors import OutcomeUnknown, StaleDataError, TransientError, VenueRejected
from bot.model.hedge import Instrument, LegOutcome, LegStatus, OptionType, Side
from bot.model.intent import Receipt
from bot.model.market import Block
from bot.model.units import WAD_DECIMALS, to_fixed_down, to_fixed_up
from bot.ports import Call, ChainReader, MarketView
from bot.venues.booked import SIZE_TOLERANCE, rejected
from bot.venues.lyra_booking import LegBooking, trade_receipt
from bot.venues.lyra_reads import (
    COLLATERAL,
    MARKET,
    OPTION_TYPES,
    STATE_ACTIVE,
    LyraReads,
    OptionPosition,
    PositionTerms,
    wad,
)
from bot.venues.lyra_settled import BY_HAND, Ended, read_end
from bot.venues.lyra_terms import LyraTerms, instrument_of, prices_of, trade_input
from bot.venues.lyra_trades import LyraTrades
from bot.venues.settlement import BPS, SettlementSwap
from bot.venues.steps import ERC20, LegSteps

TRADE_GAS_CEILING = 5_000_000
SETTLE_GAS_CEILING = 8_000_000  # settling a board loops over its strikes
CLEANUP_S = 3_600.0  # a revoke must still be valid when its leg no longer is


class LyraExecution:
    """Executes or reconciles one leg for one account."""

    def __init__(
        self,
        *,
        reader: ChainReader,
        reads: LyraReads,
        trades: LyraTrades,
        swap: SettlementSwap,
        terms: LyraTerms,
        steps: LegSteps,
        view: MarketView,
    ) -> None:
        self._reader = reader
        self._reads = reads
        self._trades = trades
        self._swap = swap
        self._terms = terms
        self._steps = steps
        self._leg = steps.leg
        self._account = steps.transactor.address
        self._market = reads.contracts.option_market
        self._prices = prices_of(view, terms=terms, pair=swap.pair)
        self._booking = LegBooking(
            contracts=reads.contracts, swap=swap, account=self._account, prices=self._prices
        )
        self._again = False  # a later run of the same leg: its purposes must not meet the first one's

    async def execute(self) -> LegOutcome:
        """Do the leg to its end. A refusal, and an end that cannot be seen, are outcomes."""
        if self._prices.unknown:  # what it costs could not be booked
            because = f"prices are not known: {self._prices.unknown}; nothing was sent"
            return rejected(self._leg, at_s=self._prices.now_s, because=because)
        try:
            because = await self._trade()
        except VenueRejected as refusal:
            if not self._steps.sent:
                return rejected(self._leg, at_s=self._prices.now_s, because=str(refusal))
            because = str(refusal)
        except (TransientError, StaleDataError) as error:
            if not self._steps.sent:
                because = f"{error}; nothing was sent"
                return rejected(self._leg, at_s=self._prices.now_s, because=because)
            return self._unknown(error)
        except OutcomeUnknown as error:
            return self._unknown(error)
        return await self._finish(because)

    async def reconcile(self) -> LegOutcome:
        """Say what became of a leg that an earlier run left open; sends nothing but revocations."""
        self._again = True
        try:
            await self._steps.refresh()
        except (OutcomeUnknown, TransientError, StaleDataError) as error:
            return self._unknown(error)
        done = trade_receipt(self._leg, self._steps.receipts) is not None
        return await self._finish("" if done else "abandoned at restart", sweep=False)

    async def _trade(self) -> str:
        """Send the leg's own transactions. Returns what is worth saying of a trade that succeeded."""
        leg = self._leg
        head = await self._reader.head()
        if head.timestamp_s > leg.valid_until_s:
            raise VenueRejected(f"the leg was valid until {leg.valid_until_s:.0f}, it is {head.timestamp_s}")
        if not await self._reader.has_code(self._market, block=head):
            raise VenueRejected(f"{self._market} has no code; check the address of Lyra's option market")
        if leg.side is Side.BUY:
            return await self._buy(head)
        if leg.side is Side.SETTLE:
            ended = await read_end(self._reads, leg, account=self._account, head=head)
            if ended is not None:  # booked by `_finish`
                return ""
        position = await self._own_position()
        terms = (await self._reads.terms([position.strike_id], head))[position.strike_id]
        kind = OPTION_TYPES.get(position.type_code)
        await self._check_instrument(terms, kind, head)
        if leg.side is Side.SELL:
            return await self._sell(position, leg.instrument.option_type, head)
        return await self._settle(position, terms, head)

    async def _buy(self, head: Block) -> str:
        leg, kind = self._leg, self._leg.instrument.option_type
        strike_id = _strike_id(leg.instrument)
        terms = (await self._reads.terms([strike_id], head))[strike_id]
        await self._check_instrument(terms, kind, head)
        amount_raw = to_fixed_down(leg.size, decimals=WAD_DECIMALS)
        self._bound_gas(head)
        bound_raw = await self._bound_raw(terms, kind, amount_raw, head)
        await self._trades.check_open(
            strike_id, kind, amount_raw, most_raw=bound_raw, gas=TRADE_GAS_CEILING, block=head
        )
        await self._fund(bound_raw, head)
        await self._steps.approve(
            "approve-open",
            token=self._swap.pair.settlement_token,
            spender=self._market,
            amount_raw=bound_raw,
            valid_until_s=leg.valid_until_s,
        )
        await self._send_trade("open", "openPosition", (strike_id, 0, kind, amount_raw), (0, bound_raw))
        return ""

    def _bound_gas(self, head: Block) -> None:
        """Let gas take what the leg's reserve leaves over its limit, and no less than a quote reserves."""
        leg, prices, buy_gas = self._leg, self._prices, self._terms.gas.buy
        if leg.reserve_usd <= leg.limit_usd:
            return
        bound_usd = max(leg.reserve_usd - leg.limit_usd, buy_gas * prices.gas_most_usd)
        fee_wei = head.base_fee_wei + self._terms.priority_fee_wei
        now_usd = wad(buy_gas * fee_wei) * prices.eth_usd
        if now_usd > bound_usd:
            raise VenueRejected(
                f"gas would cost {now_usd:.2f} USD now, the leg's reserve leaves {bound_usd:.2f}; "
                "nothing was sent"
            )

        def left_wei() -> int:
            left_usd = bound_usd - self._booking.gas_usd(self._steps.receipts)
            return max(to_fixed_up(max(left_usd, 0.0) / prices.eth_usd, decimals=WAD_DECIMALS), 1)

        self._steps.gas_left_wei = left_wei

    async def _bound_raw(self, terms: PositionTerms, kind: OptionType, amount_raw: int, head: Block) -> int:
        """Return the most to pay: the cost now and a buffer, never over the leg's limit."""
        limit_raw = to_fixed_down(self._leg.limit_usd / self._prices.settlement_usd, decimals=WAD_DECIMALS)
        quoted = await self._trades.open_cost(terms.strike.id, kind, amount_raw, block=head)
        if quoted is None:  # nothing can be quoted before there is money; the limit itself must do
            cutoff_s = await self._reads.cutoff_s(head)
            if terms.board.frozen or terms.board.expiry_s - head.timestamp_s < cutoff_s:
                raise VenueRejected(f"board {terms.board.id} is frozen or within {cutoff_s} s of its expiry")
            return limit_raw
        if quoted.cost_raw > limit_raw:
            raise VenueRejected(
                f"the purchase costs {wad(quoted.cost_raw):.4f} {self._swap.pair.settlement} now, "
                f"the leg allows {wad(limit_raw):.4f}; nothing was sent"
            )
        buffered_raw = -(-quoted.cost_raw * (BPS + self._terms.cost_buffer_bps) // BPS)
        return min(limit_raw, buffered_raw)

    async def _fund(self, bound_raw: int, head: Block) -> None:
        """Swap what the account lacks of the bound; settlement tokens that lie loose are used first."""
        pair = self._swap.pair
        loose_raw, stable_raw = await self._balances(head)
        shortfall_raw = bound_raw - loose_raw
        if shortfall_raw <= 0:
            return
        needed_raw = await self._swap.bound_in_raw(shortfall_raw, block=head)
        if needed_raw > stable_raw:
            raise VenueRejected(
                f"the purchase needs {self._swap.stable_amount(needed_raw):.2f} {pair.stable}, "
                f"the account holds {self._swap.stable_amount(stable_raw):.2f}; nothing was sent"
            )
        await self._swap.swap_in(
            self._steps,
            stable_raw=needed_raw,
            min_settlement_raw=shortfall_raw,
            valid_until_s=self._leg.valid_until_s,
        )

    async def _sell(self, position: OptionPosition, kind: OptionType, head: Block) -> str:
        leg = self._leg
        amount_raw = to_fixed_down(leg.size, decimals=WAD_DECIMALS)
        if abs(leg.size - wad(position.amount_raw)) <= SIZE_TOLERANCE:
            amount_raw = position.amount_raw  # all of it, without float dust
        if amount_raw > position.amount_raw:
            raise VenueRejected(
                f"position {position.id} has {wad(position.amount_raw):g} contracts, leg {leg.size:g}"
            )
        floor_raw = to_fixed_up(leg.limit_usd / self._prices.settlement_usd, decimals=WAD_DECIMALS)
        sale = await self._trades.close_value(position, kind, amount_raw, block=head, owner=self._account)
        if sale.cost_raw < floor_raw:
            raise VenueRejected(
                f"the sale brings {wad(sale.cost_raw):.4f} {self._swap.pair.settlement} now, "
                f"the leg asks {wad(floor_raw):.4f}; nothing was sent"
            )
        function = "forceClosePosition" if sale.forced else "closePosition"
        order = (position.strike_id, position.id, kind, amount_raw)
        least_raw = max(floor_raw, sale.cost_raw * (BPS - self._terms.cost_buffer_bps) // BPS)
        await self._send_trade("close", function, order, (least_raw, 2**255))
        return "closed by force" if sale.forced else ""

    async def _settle(self, position: OptionPosition, terms: PositionTerms, head: Block) -> str:
        if head.timestamp_s < terms.board.expiry_s and not terms.settlement_raw:
            raise VenueRejected(f"position {position.id} expires at {terms.board.expiry_s}, not before")
        if not terms.settlement_raw:
            await self._settle_board(terms)
        await self._steps.send(
            "settle",
            to=self._reads.contracts.short_collateral,
            data=COLLATERAL.encode("settleOptions", [position.id]),
            gas_ceiling=SETTLE_GAS_CEILING,
            valid_until_s=self._cleanup_until_s(head),
        )
        return ""

    async def _settle_board(self, terms: PositionTerms) -> None:
        """Settle the whole board, which anyone may do and somebody may have done just now."""
        head = await self._reader.head()
        try:
            await self._steps.send(
                "settle-board",
                to=self._market,
                data=MARKET.encode("settleExpiredBoard", terms.board.id),
                gas_ceiling=SETTLE_GAS_CEILING,
                valid_until_s=self._cleanup_until_s(head),
            )
        except VenueRejected:
            strike_id = terms.strike.id
            now = await self._reads.terms([strike_id], await self._reader.head())
            if not now[strike_id].settlement_raw:
                raise

    async def _finish(self, because: str, *, sweep: bool = True) -> LegOutcome:
        """Leave no allowance behind, change proceeds back, and book what the receipts say."""
        notes = [because]
        try:
            ended = await self._ended()
            gone = ended is not None and ended.because == BY_HAND
            done = ended is not None or trade_receipt(self._leg, self._steps.receipts) is not None
            if sweep and done and not gone and self._leg.side is not Side.BUY:
                notes.append(await self._sweep())
            await self._revoke()
            await self._steps.refresh()
        except (VenueRejected, OutcomeUnknown, TransientError, StaleDataError) as error:
            return self._unknown(error)
        if self._prices.unknown:
            return self._unknown(TransientError(f"prices are not known: {self._prices.unknown}"))
        because = "; ".join(filter(None, notes))
        outcome = self._booking.outcome(self._leg, self._steps.receipts, because=because)
        return ended.booked(outcome, settlement_usd=self._prices.settlement_usd) if ended else outcome

    async def _ended(self) -> Ended | None:
        """Return how our position ended where a SETTLE leg found that done without it, else None."""
        if self._leg.side is not Side.SETTLE or "settle" in self._steps.receipts:
            return None
        head = await self._reader.head()
        return await read_end(self._reads, self._leg, account=self._account, head=head)

    async def _sweep(self) -> str:
        """Change all loose settlement tokens back; where the pool is off, keep them and say so."""
        head = await self._reader.head()
        loose_raw, _ = await self._balances(head)
        if loose_raw < self._swap.limits.min_sweep_raw:
            return ""
        try:
            await self._swap.swap_out(
                self._steps,
                settlement_raw=loose_raw,
                block=head,
                valid_until_s=self._cleanup_until_s(head),
            )
        except VenueRejected as refusal:
            return f"{wad(loose_raw):.2f} {self._swap.pair.settlement} kept: {refusal}"
        return ""

    async def _revoke(self) -> None:
        """Set to zero whatever allowance of ours is left. Raises VenueRejected when one cannot be."""
        pair, head = self._swap.pair, await self._reader.head()
        grants = (
            ("router-stable", pair.stable_token, pair.router),
            ("router-settlement", pair.settlement_token, pair.router),
            ("market", pair.settlement_token, self._market),
        )
        left = await self._read_ints(
            [ERC20.call("allowance", token, self._account, spender) for _, token, spender in grants], head
        )
        for (label, token, spender), amount_raw in zip(grants, left, strict=True):
            if amount_raw:
                await self._steps.approve(
                    f"revoke-{label}@{head.number}" if self._again else f"revoke-{label}",
                    token=token,
                    spender=spender,
                    amount_raw=0,
                    valid_until_s=self._cleanup_until_s(head),
                )

    async def _send_trade(
        self,
        purpose: str,
        function: str,
        order: tuple[int, int, OptionType, int],
        bounds_raw: tuple[int, int],
    ) -> Receipt:
        params = trade_input(*order, iterations=self._terms.iterations, bounds_raw=bounds_raw)
        return await self._steps.send(
            purpose,
            to=self._market,
            data=MARKET.encode(function, params),
            gas_ceiling=TRADE_GAS_CEILING,
            valid_until_s=self._leg.valid_until_s,
        )

    async def _own_position(self) -> OptionPosition:
        """Return the leg's position. Raises VenueRejected when it is not ours or no longer open."""
        text = self._leg.position_id
        head = await self._reader.head()
        position = await self._reads.position(int(text) if text.isdecimal() else 0, head)
        own = await self._reads.positions(self._account, head)
        if position.state != STATE_ACTIVE or position not in own:
            raise VenueRejected(f"position {text!r} is not an open position of {self._account}")
        return position

    async def _check_instrument(self, terms: PositionTerms, kind: OptionType | None, head: Block) -> None:
        """Raise VenueRejected where the chain's strike is not the instrument that was decided on (REL-D8)."""
        wanted = self._leg.instrument
        asset = self._swap.pair.settlement
        listed = instrument_of(terms.board, terms.strike, kind or OptionType.PUT, self._terms, asset)
        if kind is None or listed != wanted:
            raise VenueRejected(f"the leg wants {wanted}, the chain has {listed}; nothing was sent")
        key = await self._reads.base_key(head)
        if key != self._terms.base_key:
            raise VenueRejected(f"the market trades {key}, expected {self._terms.base_key}; nothing was sent")

    async def _balances(self, head: Block) -> tuple[int, int]:
        """Return what the account holds, raw: settlement tokens, stable."""
        pair = self._swap.pair
        calls = [
            ERC20.call("balanceOf", pair.settlement_token, self._account),
            ERC20.call("balanceOf", pair.stable_token, self._account),
        ]
        settlement_raw, stable_raw = await self._read_ints(calls, head)
        return settlement_raw, stable_raw

    async def _read_ints(self, calls: list[Call], head: Block) -> list[int]:
        rows = await self._reader.read(calls, block=head)
        if any(row is None for row in rows):
            raise TransientError(f"a token of {self._account} could not be read at block {head.number}")
        return [int(row[0]) for row in rows if row is not None]

    def _cleanup_until_s(self, head: Block) -> float:
        return max(self._leg.valid_until_s, head.timestamp_s + CLEANUP_S)

    def _unknown(self, error: Exception) -> LegOutcome:
        """An end that cannot be seen now: reconcile finds it by the leg's key."""
        return LegOutcome(
            leg=self._leg,
            status=LegStatus.UNKNOWN,
            at_s=self._prices.now_s,
            gas_usd=0.0 if self._prices.unknown else self._booking.gas_usd(self._steps.receipts),
            because=str(error),
        )


def _strike_id(instrument: Instrument) -> int:
    """Return 7 for "strike:7". Raises VenueRejected for another venue's names."""
    head, _, number = instrument.id.partition(":")
    if head != "strike" or not number.isdecimal():
        raise VenueRejected(f"instrument {instrument.id!r} is none of Lyra's, expected strike:<number>")
    return int(number)
