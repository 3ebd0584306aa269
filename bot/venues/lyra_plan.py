"""How a leg is done on Lyra: what is checked first, which calls, within which bounds.

Buy: open, paying at most the cost now and a buffer. Sell: close, by force where the market allows only that.
Settle: settle the board if nobody did, then the position.
"""

from collections.abc import Mapping, Sequence

from bot.errors import VenueRejected
from bot.model.execution import ExecutionPlan, OnchainTx, Payment
from bot.model.hedge import HedgeLeg, Instrument, OptionType, Side
from bot.model.intent import Receipt
from bot.model.market import Block
from bot.model.units import WAD_DECIMALS, to_fixed_down, to_fixed_up
from bot.ports import ChainReader
from bot.venues.booked import SIZE_TOLERANCE
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
from bot.venues.lyra_terms import LyraTerms, instrument_of, trade_input
from bot.venues.lyra_trades import LyraTrades
from bot.venues.prices import Prices
from bot.venues.settlement import BPS, StablePair

TRADE_GAS_CEILING = 5_000_000
SETTLE_GAS_CEILING = 8_000_000  # settling a board loops over its strikes


class LyraPlanner:
    """Plans for one market; the account is the one that ``trades`` runs trades as."""

    def __init__(
        self,
        *,
        reader: ChainReader,
        reads: LyraReads,
        trades: LyraTrades,
        pair: StablePair,
        terms: LyraTerms,
    ) -> None:
        self._reader = reader
        self._reads = reads
        self._trades = trades
        self._pair = pair
        self._terms = terms
        self._market = reads.contracts.option_market

    async def plan(
        self,
        leg: HedgeLeg,
        *,
        prices: Prices,
        head: Block,
        done: Mapping[str, Receipt],  # noqa: ARG002 - no plan of Lyra's waits
    ) -> ExecutionPlan:
        """See ports.VenueAdapter."""
        if not await self._reader.has_code(self._market, block=head):
            raise VenueRejected(f"{self._market} has no code; check the address of Lyra's option market")
        if leg.side is Side.BUY:
            return await self._buy(leg, prices, head)
        position = await self._own_position(leg, head)
        terms = (await self._reads.terms([position.strike_id], head))[position.strike_id]
        await self._check_instrument(leg, terms, OPTION_TYPES.get(position.type_code), head)
        if leg.side is Side.SELL:
            return await self._sell(leg, position, prices, head)
        return self._settle(leg, position, terms, head)

    async def _buy(self, leg: HedgeLeg, prices: Prices, head: Block) -> ExecutionPlan:
        kind, strike_id = leg.instrument.option_type, _strike_id(leg.instrument)
        terms = (await self._reads.terms([strike_id], head))[strike_id]
        await self._check_instrument(leg, terms, kind, head)
        amount_raw = to_fixed_down(leg.size, decimals=WAD_DECIMALS)
        bound_raw = await self._bound_raw(leg, terms, amount_raw, prices, head)
        await self._trades.check_open(
            strike_id, kind, amount_raw, most_raw=bound_raw, gas=TRADE_GAS_CEILING, block=head
        )
        payment = Payment(
            token=self._pair.settlement_token,
            symbol=self._pair.settlement,
            decimals=self._pair.settlement_decimals,
            spender=self._market,
            amount_raw=bound_raw,
        )
        trade = self._trade("open", "openPosition", (strike_id, 0, kind, amount_raw), (0, bound_raw))
        return ExecutionPlan(
            steps=(trade,),
            trade="open",
            valid_until_s=leg.valid_until_s,
            pays=(payment,),
            most_usd=wad(bound_raw) * prices.settlement_usd,
        )

    async def _bound_raw(
        self, leg: HedgeLeg, terms: PositionTerms, amount_raw: int, prices: Prices, head: Block
    ) -> int:
        """Return the most to pay: the cost now and a buffer, never over the leg's limit."""
        limit_raw = to_fixed_down(leg.limit_usd / prices.settlement_usd, decimals=WAD_DECIMALS)
        kind = leg.instrument.option_type
        quoted = await self._trades.open_cost(terms.strike.id, kind, amount_raw, block=head)
        if quoted is None:  # nothing can be quoted before there is money; the limit itself must do
            cutoff_s = await self._reads.cutoff_s(head)
            if terms.board.frozen or terms.board.expiry_s - head.timestamp_s < cutoff_s:
                raise VenueRejected(f"board {terms.board.id} is frozen or within {cutoff_s} s of its expiry")
            return limit_raw
        if quoted.cost_raw > limit_raw:
            raise VenueRejected(
                f"the purchase costs {wad(quoted.cost_raw):.4f} {self._pair.settlement} now, "
                f"the leg allows {wad(limit_raw):.4f}; nothing was sent"
            )
        buffered_raw = -(-quoted.cost_raw * (BPS + self._terms.cost_buffer_bps) // BPS)
        return min(limit_raw, buffered_raw)

    async def _sell(
        self, leg: HedgeLeg, position: OptionPosition, prices: Prices, head: Block
    ) -> ExecutionPlan:
        kind, amount_raw = leg.instrument.option_type, to_fixed_down(leg.size, decimals=WAD_DECIMALS)
        if abs(leg.size - wad(position.amount_raw)) <= SIZE_TOLERANCE:
            amount_raw = position.amount_raw  # all of it, without float dust
        if amount_raw > position.amount_raw:
            raise VenueRejected(
                f"position {position.id} has {wad(position.amount_raw):g} contracts, leg {leg.size:g}"
            )
        floor_raw = to_fixed_up(leg.limit_usd / prices.settlement_usd, decimals=WAD_DECIMALS)
        sale = await self._trades.close_value(position, kind, amount_raw, block=head)
        if sale.cost_raw < floor_raw:
            raise VenueRejected(
                f"the sale brings {wad(sale.cost_raw):.4f} {self._pair.settlement} now, "
                f"the leg asks {wad(floor_raw):.4f}; nothing was sent"
            )
        if not sale.cost_raw:
            raise VenueRejected(f"a sale of position {position.id} brings nothing now; nothing was sent")
        function = "forceClosePosition" if sale.forced else "closePosition"
        order = (position.strike_id, position.id, kind, amount_raw)
        # Never 0: the signer asks a floor of every sale.
        least_raw = max(floor_raw, sale.cost_raw * (BPS - self._terms.cost_buffer_bps) // BPS, 1)
        return ExecutionPlan(
            steps=(self._trade("close", function, order, (least_raw, 2**255)),),
            trade="close",
            valid_until_s=leg.valid_until_s,
            least_usd=wad(least_raw) * prices.settlement_usd,
            because="closed by force" if sale.forced else "",
        )

    def _settle(
        self, leg: HedgeLeg, position: OptionPosition, terms: PositionTerms, head: Block
    ) -> ExecutionPlan:
        if head.timestamp_s < terms.board.expiry_s and not terms.settlement_raw:
            raise VenueRejected(f"position {position.id} expires at {terms.board.expiry_s}, not before")
        board = _late("settle-board", self._market, MARKET.encode("settleExpiredBoard", terms.board.id))
        collateral = self._reads.contracts.short_collateral
        own = _late("settle", collateral, COLLATERAL.encode("settleOptions", [position.id]))
        # Anyone may settle the board, and somebody may just now: the next step then plans without it.
        steps = (own,) if terms.settlement_raw else (board, own)
        return ExecutionPlan(steps=steps, trade="settle", valid_until_s=leg.valid_until_s)

    def _trade(
        self,
        purpose: str,
        function: str,
        order: tuple[int, int, OptionType, int],
        bounds_raw: tuple[int, int],
    ) -> OnchainTx:
        params = trade_input(*order, iterations=self._terms.iterations, bounds_raw=bounds_raw)
        data = MARKET.encode(function, params)
        return OnchainTx(purpose=purpose, to=self._market, data=data, gas_ceiling=TRADE_GAS_CEILING)

    async def _own_position(self, leg: HedgeLeg, head: Block) -> OptionPosition:
        """Return the leg's position. Raises VenueRejected when it is not ours or no longer open."""
        text, account = leg.position_id, self._trades.account
        position = await self._reads.position(int(text) if text.isdecimal() else 0, head)
        own: Sequence[OptionPosition] = await self._reads.positions(account, head) if account else ()
        if position.state != STATE_ACTIVE or position not in own:
            raise VenueRejected(f"position {text!r} is not an open position of {account}")
        return position

    async def _check_instrument(
        self, leg: HedgeLeg, terms: PositionTerms, kind: OptionType | None, head: Block
    ) -> None:
        """Raise VenueRejected where the chain's strike is not the instrument that was decided on (REL-D8)."""
        asset = self._pair.settlement
        listed = instrument_of(terms.board, terms.strike, kind or OptionType.PUT, self._terms, asset)
        if kind is None or listed != leg.instrument:
            raise VenueRejected(f"the leg wants {leg.instrument}, the chain has {listed}; nothing was sent")
        key = await self._reads.base_key(head)
        if key != self._terms.base_key:
            raise VenueRejected(f"the market trades {key}, expected {self._terms.base_key}; nothing was sent")


def _late(purpose: str, to: str, data: bytes) -> OnchainTx:
    return OnchainTx(purpose=purpose, to=to, data=data, gas_ceiling=SETTLE_GAS_CEILING, cleanup=True)


def _strike_id(instrument: Instrument) -> int:
    """Return 7 for "strike:7". Raises VenueRejected for another venue's names."""
    head, _, number = instrument.id.partition(":")
    if head != "strike" or not number.isdecimal():
        raise VenueRejected(f"instrument {instrument.id!r} is none of Lyra's, expected strike:<number>")
    return int(number)
