"""Buy quotes of Panoptic puts: what opening costs by eth_call, and the premium that is expected to stream."""

import asyncio
import math
from dataclasses import dataclass

from bot.errors import VenueRejected
from bot.model.hedge import Instrument, OptionType, Quote
from bot.model.market import Block
from bot.model.units import YEAR_DAYS, from_fixed, to_fixed_down
from bot.quant import options
from bot.venues.booked import model_usd
from bot.venues.option_quotes import Quoted, sorted_out
from bot.venues.overrides import QUOTING_ADDRESS
from bot.venues.panoptic_reads import POOL, PanopticReads, PoolState, Rules, notional_raw
from bot.venues.panoptic_terms import (
    Chunk,
    PanopticTerms,
    effective_days,
    instrument_of,
    limits_of,
)
from bot.venues.panoptic_token_id import MAX_RATIO, TokenId, liquidity_of, notional_of
from bot.venues.panoptic_value import expected_premium, spread_multiplier
from bot.venues.prices import Prices

MOST_SPREAD = 2**23 - 1
WIDE_TICKS = 2_000  # of a trial: further than Panoptic lets a dispatch move the price
MAX_BASIS = 0.05  # of the pool's price against the view's: beyond it one of the two is not the market's


@dataclass(frozen=True, slots=True, kw_only=True)
class Offer:
    """One chunk of which some can be bought."""

    chunk: Chunk
    net: int  # liquidity still sold
    removed: int  # bought of it
    most_raw: int  # contracts that can be bought now, raw

    def after(self, liquidity: int) -> tuple[int, int]:
        """Return (net, removed) once so much more is bought."""
        return self.net - liquidity, self.removed + liquidity


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """What one purchase costs, USD unless it says raw."""

    opening_usd: float  # commission, value at the strike's range, cost of the swap: gone at once
    opening_cash_raw: int  # the same as cash; >= 0
    commission_usd: float
    premium_usd: float  # put aside for the stream
    margin_usd: float  # tied up, comes back
    end_tick: int  # where the purchase's swap leaves the price


@dataclass(frozen=True, slots=True, kw_only=True)
class Situation:
    """What all purchases of one moment share."""

    state: PoolState
    prices: Prices
    block: Block
    held: list[int]  # tokenIds that are open already


class PanopticQuoter:
    """Quotes of one pool at one block."""

    def __init__(self, *, reads: PanopticReads, terms: PanopticTerms, account: str | None) -> None:
        self._reads, self._terms = reads, terms
        self._contracts = reads.contracts
        self._account = account or QUOTING_ADDRESS

    async def quotes(self, block: Block, prices: Prices, *, size: float) -> Quoted:
        """Return a quote for every put that can be bought, and why for every other; none without prices."""
        wanted = OptionType.PUT in self._terms.option_types
        if not wanted or prices.unknown or not math.isfinite(prices.spot_usd):
            return (), ()
        state = await self._reads.state(block)
        found = self._listed(await self._reads.chunks(block), state, block)
        offers = await self.offers([chunk for chunk, _ in found], state.rules, block)
        refusal = self.closed(state, prices)
        held = [item.token_id.value for item in await self._reads.positions(self._account, block)]
        now = Situation(state=state, prices=prices, block=block, held=held)
        gate = asyncio.Semaphore(self._terms.parallel)

        async def attempt(offer: Offer, instrument: Instrument) -> tuple[Instrument, Quote | str]:
            async with gate:
                try:
                    quote = refusal or await self._quote(offer, instrument, now, size=size)
                except VenueRejected as error:
                    return instrument, str(error)
                return instrument, quote

        pairs = zip(offers, (instrument for _, instrument in found), strict=True)
        return sorted_out(await asyncio.gather(*(attempt(*pair) for pair in pairs)))

    def closed(self, state: PoolState, prices: Prices) -> str:
        """Return why nothing may be opened in the pool now, "" when it may."""
        if state.safe_mode:
            return f"the pool is in safe mode {state.safe_mode}: its oracle and its price are apart"
        known = (self._terms.buyer_ratio, self._terms.buffer)
        if (state.rules.buyer_ratio, state.rules.buffer) != known:
            return (
                f"the risk engine asks {state.rules.buyer_ratio} and {state.rules.buffer} as margin, known "
                f"are {known[0]} and {known[1]}: the venue was upgraded"
            )
        price_usd = self._contracts.price_of_tick(state.tick) * prices.settlement_usd
        if not abs(price_usd / prices.spot_usd - 1.0) <= MAX_BASIS:
            return (
                f"the pool's price is {price_usd:.2f} USD, {self._terms.underlying} is at "
                f"{prices.spot_usd:.2f}: more than {MAX_BASIS:.0%} apart"
            )
        return ""

    async def offers(self, chunks: list[Chunk], rules: Rules, block: Block) -> list[Offer]:
        """Return what can be bought of each chunk within the spread that terms and pool allow."""
        limit = min(self._terms.max_spread, rules.max_spread / 10_000)
        liquidities = await self._reads.liquidity(chunks, rules, block)
        found = []
        for chunk, (net, removed) in zip(chunks, liquidities, strict=True):
            free = max(int((limit * net - removed) / (1.0 + limit)), 0)
            lower, upper = chunk.ticks(rules.tick_spacing)
            unit = self._contracts.unit_index
            most_raw = notional_of(free, token_type=unit, lower=lower, upper=upper)
            found.append(Offer(chunk=chunk, net=net, removed=removed, most_raw=most_raw))
        return found

    async def cost(self, offer: Offer, token_id: TokenId, size_raw: int, now: Situation) -> Cost:
        """Run the purchase by eth_call and add the premium to expect. Raises VenueRejected with the reason.

        ``size_raw`` is contracts over the leg's ratio.
        """
        rules, prices = now.state.rules, now.prices
        contracts_raw = size_raw * token_id.legs[0].ratio
        if contracts_raw > offer.most_raw:
            most = from_fixed(offer.most_raw, decimals=self._contracts.unit_decimals)
            raise VenueRejected(f"{most:g} contracts of {offer.chunk.id} are for sale within the spread")
        notional = notional_raw(
            offer.chunk, contracts_raw, unit_index=self._contracts.unit_index, tick_spacing=rules.tick_spacing
        )
        data = self.dispatch(token_id, size_raw, now, slack=WIDE_TICKS, end_tick=now.state.tick)
        gained, end_tick = await self._reads.dispatched(
            data, account=self._account, lent=(contracts_raw, 2 * notional), block=now.block
        )
        cash = 10**self._contracts.cash_decimals
        return Cost(
            opening_usd=max(-self._contracts.worth_usd(gained, prices), 0.0),
            opening_cash_raw=max(-gained[1], 0),
            commission_usd=rules.commission_raw(notional) / cash * prices.settlement_usd,
            premium_usd=self.premium_usd(offer, contracts_raw, now.state, prices),
            margin_usd=rules.margin_raw(notional) / cash * prices.settlement_usd,
            end_tick=end_tick,
        )

    def dispatch(
        self, token_id: TokenId, size_raw: int, now: Situation, *, slack: int, end_tick: int
    ) -> bytes:
        """Return the call that mints, with a swap of what is in the money."""
        limits = limits_of(now.state.tick, end_tick, slack=slack, spread=MOST_SPREAD)
        final = [*now.held, token_id.value]
        return POOL.encode("dispatch", [token_id.value], final, [size_raw], [limits], False, 0)

    def premium_usd(self, offer: Offer, contracts_raw: int, state: PoolState, prices: Prices) -> float:
        """Return the premium that is expected in the effective life, at the spread after the purchase."""
        lower, upper = offer.chunk.ticks(state.rules.tick_spacing)
        low, high = sorted(self._contracts.price_of_tick(tick) for tick in (lower, upper))
        days = effective_days(
            offer.chunk.width, tick_spacing=state.rules.tick_spacing, iv=self._terms.assumed_iv
        )
        spot = self._contracts.price_of_tick(state.tick)
        each = expected_premium(spot, low, high, years=days / YEAR_DAYS, iv=self._terms.assumed_iv)
        liquidity = liquidity_of(contracts_raw, asset=self._contracts.unit_index, lower=lower, upper=upper)
        more = spread_multiplier(*offer.after(liquidity), vegoid=state.rules.vegoid)
        size = from_fixed(contracts_raw, decimals=self._contracts.unit_decimals)
        return each * size * more * self._terms.prepaid * prices.settlement_usd

    def _listed(self, chunks: list[Chunk], state: PoolState, block: Block) -> list[tuple[Chunk, Instrument]]:
        """Return the chunks whose life and strike the terms ask for."""
        spot, found = self._contracts.price_of_tick(state.tick), []
        for chunk in chunks:
            instrument = instrument_of(
                chunk,
                tick_spacing=state.rules.tick_spacing,
                now_s=block.timestamp_s,
                contracts=self._contracts,
                terms=self._terms,
            )
            near = abs(instrument.strike_usd / spot - 1.0) <= self._terms.max_moneyness
            days = instrument.dte(block.timestamp_s)
            if near and self._terms.min_dte <= days <= self._terms.max_dte:
                found.append((chunk, instrument))
        return found

    async def _quote(self, offer: Offer, instrument: Instrument, now: Situation, *, size: float) -> Quote:
        terms, prices, block = self._terms, now.prices, now.block
        lots, liquidity = self._lots(offer, size)
        unit = self._contracts.unit_index
        token_id = free_token_id(offer.chunk, now.held, now.state.rules.pool_id, unit_index=unit)
        size_raw = to_fixed_down(lots, decimals=self._contracts.unit_decimals) // token_id.legs[0].ratio
        cost = await self.cost(offer, token_id, size_raw, now)
        days, iv = instrument.dte(block.timestamp_s), terms.assumed_iv
        strike = instrument.strike_usd
        model = model_usd(instrument, size=lots, spot_usd=prices.spot_usd, iv=iv, now_s=block.timestamp_s)
        return Quote(
            instrument=instrument,
            size=lots,
            premium_usd=cost.opening_usd + cost.premium_usd,
            fee_usd=cost.commission_usd,
            gas_usd=terms.gas.buy * prices.gas_usd,
            gas_most_usd=terms.gas.buy * prices.gas_most_usd,
            swap_usd=0.0,
            iv=iv,
            delta=float(options.delta(prices.spot_usd, strike, days / YEAR_DAYS, iv, is_put=True)),
            model_usd=model,
            min_size=terms.lot,
            lot=terms.lot,
            liquidity=liquidity,
            valid_until_s=prices.now_s + terms.quote_ttl_s,
            block_number=block.number,
            because=(
                f"estimate: {cost.premium_usd:.2f} USD are put aside for the premium expected to stream in "
                f"{days:.1f} d at {iv:.0%}; {cost.margin_usd:.2f} more are tied up as margin"
            ),
        )

    def _lots(self, offer: Offer, size: float) -> tuple[float, float]:
        """Return how many contracts are quoted and how many there are, in whole lots."""
        lot = self._terms.lot
        most = from_fixed(offer.most_raw, decimals=self._contracts.unit_decimals)
        liquidity = round(math.floor(most / lot) * lot, 8)
        if liquidity < lot:
            raise VenueRejected("nobody sells this chunk now, or all of it within the spread is bought")
        return round(max(math.floor(min(size, liquidity) / lot + 1e-9), 1) * lot, 8), liquidity


def free_token_id(chunk: Chunk, held: list[int], pool_id: int, *, unit_index: int) -> TokenId:
    """Return the first tokenId of a chunk that is not held: an account can mint each only once.

    Raises VenueRejected when all 127 ratios are.
    """
    for ratio in range(1, MAX_RATIO + 1):
        token_id = chunk.token_id(pool_id, unit_index=unit_index, ratio=ratio)
        if token_id.value not in held:
            return token_id
    raise VenueRejected(f"all {MAX_RATIO} positions that {chunk.id} can have are open; close one first")


def chunk_of(instrument: Instrument) -> Chunk:
    """Return what "put:-196920:12" names. Raises VenueRejected for another venue's names."""
    kind, _, rest = instrument.id.partition(":")
    strike, _, width = rest.partition(":")
    if kind != "put" or not strike.removeprefix("-").isdecimal() or not width.isdecimal():
        raise VenueRejected(
            f"instrument {instrument.id!r} is none of Panoptic's, expected put:<strike>:<width>"
        )
    return Chunk(strike=int(strike), width=int(width))
