"""Buy quotes for every option that Lyra lists: size, premium, fee, swap, gas, mark vol, delta, liquidity."""

import asyncio
import math
from collections.abc import Awaitable, Iterable
from dataclasses import dataclass

from bot.errors import VenueRejected
from bot.model.hedge import Instrument, OptionType, Quote
from bot.model.market import Block
from bot.model.units import WAD_DECIMALS, YEAR_S, to_fixed_down
from bot.quant import options
from bot.venues.booked import LYRA_SALE_HAIRCUT, model_usd
from bot.venues.lyra_reads import Board, Listing, LyraReads, Strike, most_contracts, wad
from bot.venues.lyra_terms import Execution, LyraTerms, instrument_of
from bot.venues.lyra_trades import LyraTrades
from bot.venues.option_quotes import Quoted, Refusal
from bot.venues.prices import Prices
from bot.venues.settlement import SettlementSwap, SwapCost

NO_COST = SwapCost(share_in=0.0, share_out=0.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Candidate:
    """A listed option that may be traded, and how much of it."""

    instrument: Instrument
    board: Board
    strike: Strike
    size: float
    liquidity: float


@dataclass(frozen=True, slots=True, kw_only=True)
class _Money:
    """The USD figures of one quote."""

    premium_usd: float
    fee_usd: float
    swap_usd: float
    why_indicative: str = ""


class LyraQuoter:
    """Quotes of one market; all of one frame in parallel, pinned to the frame's block."""

    def __init__(
        self, *, reads: LyraReads, trades: LyraTrades, swap: SettlementSwap, terms: LyraTerms
    ) -> None:
        self._reads = reads
        self._trades = trades
        self._swap = swap
        self._terms = terms

    async def quotes(self, block: Block, prices: Prices, *, size: float) -> Quoted:
        """Return a quote for every option that can be bought, and why for every other."""
        listing = await self._reads.listing(block)
        candidates, refusals = self._candidates(listing, block, size=size)
        if prices.unknown or not math.isfinite(prices.spot_usd):
            because = f"prices are not known: {prices.unknown or self._terms.underlying}"
            return (), (*refusals, *(Refusal(instrument=c.instrument, because=because) for c in candidates))
        sender, overrides = await self._trades.sender(block)
        if sender is None:
            why = "the node takes no state overrides and the account is not funded and approved"
            return self._indicative(candidates, listing, block, prices, why), refusals
        tried = await self._gather(
            self._trades.open(
                c.strike.id,
                c.instrument.option_type,
                to_fixed_down(c.size, decimals=WAD_DECIMALS),
                block=block,
                sender=sender,
                overrides=overrides,
            )
            for c in candidates
        )
        pairs = list(zip(candidates, tried, strict=True))
        refused = (Refusal(instrument=c.instrument, because=e) for c, e in pairs if isinstance(e, str))
        priced = [(c, e) for c, e in pairs if isinstance(e, Execution)]
        cost, why = await self.swap_cost(max((e.cost_raw for _, e in priced), default=0), block, prices)
        quotes = (self._quote(c, block, prices, _money(e, prices, cost, why)) for c, e in priced)
        return tuple(quotes), (*refusals, *refused)

    async def swap_cost(self, amount_raw: int, block: Block, prices: Prices) -> tuple[SwapCost, str]:
        """Return the cost of changing ``amount_raw`` in and back, or why it cannot be changed."""
        if amount_raw <= 0:
            return NO_COST, ""
        try:
            cost = await self._swap.cost(
                amount_raw,
                block=block,
                stable_usd=prices.stable_usd,
                settlement_usd=prices.settlement_usd,
            )
        except VenueRejected as refusal:
            return NO_COST, f"{self._swap.pair.settlement} cannot be had: {refusal}"
        return cost, ""

    def _candidates(
        self, listing: Listing, block: Block, *, size: float
    ) -> tuple[list[_Candidate], tuple[Refusal, ...]]:
        found, refusals = [], []
        rows = [
            (board, strike, kind)
            for board, strikes in listing.boards
            for strike in strikes
            for kind in self._terms.option_types
            if self._is_wanted(board, strike, kind, listing, block)
        ]
        for board, strike, kind in rows:
            instrument = instrument_of(board, strike, kind, self._terms, self._swap.pair.settlement)
            liquidity = most_contracts(board, strike, listing, kind=kind)
            because = self._closed(board, liquidity, listing, block)
            if because:
                refusals.append(Refusal(instrument=instrument, because=because))
                continue
            lots = (
                max(self._terms.lots(min(size, liquidity)), self._terms.lot)
                if size > 0.0
                else self._terms.lot
            )
            found.append(
                _Candidate(instrument=instrument, board=board, strike=strike, size=lots, liquidity=liquidity)
            )
        return found, tuple(refusals)

    def _is_wanted(
        self, board: Board, strike: Strike, kind: OptionType, listing: Listing, block: Block
    ) -> bool:
        """Say whether an option is within the terms' delta; an unknown delta is left to the market."""
        years = (board.expiry_s - block.timestamp_s) / YEAR_S
        is_put = kind is OptionType.PUT
        found = float(options.delta(listing.spot, strike.usd, years, board.iv(strike), is_put=is_put))
        return not abs(found) > self._terms.max_abs_delta

    def _closed(self, board: Board, liquidity: float, listing: Listing, block: Block) -> str:
        """Return why an option cannot be traded at all, "" when it can."""
        if board.frozen:
            return f"board {board.id} is frozen"
        if board.expiry_s - block.timestamp_s < listing.limits.cutoff_s:
            return f"board {board.id} is within {listing.limits.cutoff_s} s of its expiry"
        if math.isnan(listing.spot):
            return "the market's own price feed gives no price"
        if liquidity < self._terms.lot:
            return "no liquidity, or the vols stand at their bounds"
        return ""

    def _indicative(
        self, candidates: Iterable[_Candidate], listing: Listing, block: Block, prices: Prices, why: str
    ) -> tuple[Quote, ...]:
        """Return model prices plus the venue's usual spread, for what its delta band would let trade."""
        quotes = []
        for c in candidates:
            model = self._model_usd(c, block, prices)
            spread = model * LYRA_SALE_HAIRCUT
            money = _Money(premium_usd=model + spread, fee_usd=spread, swap_usd=0.0, why_indicative=why)
            quote = self._quote(c, block, prices, money)
            if listing.limits.min_delta <= abs(quote.delta) <= 1.0 - listing.limits.min_delta:
                quotes.append(quote)
        return tuple(quotes)

    def _quote(self, c: _Candidate, block: Block, prices: Prices, money: _Money) -> Quote:
        iv = c.board.iv(c.strike)
        delta = options.delta(
            prices.spot_usd,
            c.strike.usd,
            (c.board.expiry_s - block.timestamp_s) / YEAR_S,
            iv,
            is_put=c.instrument.option_type is OptionType.PUT,
        )
        return Quote(
            instrument=c.instrument,
            size=c.size,
            premium_usd=money.premium_usd,
            fee_usd=money.fee_usd,
            gas_usd=self._terms.gas.buy * prices.gas_usd,
            gas_most_usd=self._terms.gas.buy * prices.gas_most_usd,
            exit_gas_usd=abs(float(delta)) * self._terms.gas.settle * prices.gas_usd,
            swap_usd=money.swap_usd,
            iv=iv,
            delta=float(delta),
            model_usd=self._model_usd(c, block, prices),
            min_size=self._terms.lot,
            lot=self._terms.lot,
            liquidity=c.liquidity,
            valid_until_s=prices.now_s + self._terms.quote_ttl_s,
            block_number=block.number,
            indicative=bool(money.why_indicative),
            because=money.why_indicative,
        )

    def _model_usd(self, c: _Candidate, block: Block, prices: Prices) -> float:
        return model_usd(
            c.instrument,
            size=c.size,
            spot_usd=prices.spot_usd,
            iv=c.board.iv(c.strike),
            now_s=block.timestamp_s,
        )

    async def _gather(self, trades: Iterable[Awaitable[Execution]]) -> list[Execution | str]:
        """Run at most ``parallel`` at once; a refusal is its reason, any other error stops all."""
        gate = asyncio.Semaphore(self._terms.parallel)

        async def attempt(trade: Awaitable[Execution]) -> Execution | str:
            async with gate:
                try:
                    return await trade
                except VenueRejected as refusal:
                    return str(refusal)

        return await asyncio.gather(*map(attempt, trades))


def _money(execution: Execution, prices: Prices, swap: SwapCost, why: str) -> _Money:
    premium_usd = wad(execution.cost_raw) * prices.settlement_usd
    return _Money(
        premium_usd=premium_usd,
        fee_usd=wad(execution.fee_raw) * prices.settlement_usd,
        swap_usd=premium_usd * (swap.share_in + swap.share_out),
        why_indicative=why,
    )
