"""Buy quotes of Hegic: premium, implied vol, and how much the venue sells and could come to pay."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from bot.model.hedge import Instrument, OptionType, Quote
from bot.model.market import Block
from bot.model.units import YEAR_S, from_fixed, to_fixed_down
from bot.quant import options
from bot.venues.hegic_reads import Funds, HegicReads, Sold
from bot.venues.hegic_terms import HegicStrategy, HegicTerms, listed
from bot.venues.option_quotes import Quoted, sorted_out
from bot.venues.prices import Prices


@dataclass(frozen=True, slots=True, kw_only=True)
class _Offer:
    """One strategy at one period."""

    sold: Sold
    period_s: int
    instrument: Instrument

    @property
    def strategy(self) -> HegicStrategy:
        return self.sold.strategy


class HegicQuoter:
    """Quotes of one system, all of one frame pinned to its block."""

    def __init__(self, *, reads: HegicReads, terms: HegicTerms) -> None:
        self._reads = reads
        self._terms = terms
        self._contracts = reads.contracts

    async def quotes(self, block: Block, prices: Prices, *, size: float) -> Quoted:
        """Return a quote for every strategy and period that can be bought, and why for every other."""
        sold = await self._reads.sold(self._wanted(), block)
        offers = [self._offer(item, period_s, block) for item in sold for period_s in _periods(item, sold)]
        problem = f"prices are not known: {prices.unknown}" if prices.unknown else ""
        problem = problem or await self._reads.wiring(block)
        if problem:
            return sorted_out((item.instrument, problem) for item in offers)
        liquidity = await self._liquidity(offers, block, prices)
        sizes = [self._terms.lots(min(size, most)) if size > 0.0 else self._terms.lot for most in liquidity]
        orders = [
            (item.strategy, to_fixed_down(amount, decimals=item.strategy.decimals), item.period_s)
            for item, amount in zip(offers, sizes, strict=True)
        ]
        premiums = await self._reads.premiums(orders, block)
        return sorted_out(
            (item.instrument, self._quote(item, amount, most, premium_raw, block, prices))
            for item, amount, most, premium_raw in zip(offers, sizes, liquidity, premiums, strict=True)
        )

    def payable(self, instrument: Instrument, funds: Funds, *, spot: float, token_usd: float) -> float:
        """Return how many contracts the venue could pay for after the move that it must stand.

        It locks only a premium for each: what counts is what is free of its funds, not promised to others.
        """
        move = self._terms.stress_move
        if instrument.option_type is OptionType.PUT:
            owed_usd = instrument.strike_usd - spot * (1.0 - move)
        else:
            owed_usd = spot * (1.0 + move) - instrument.strike_usd
        free_usd = from_fixed(funds.free_raw, decimals=self._contracts.decimals) * token_usd
        return self._terms.funds_share * free_usd / owed_usd if owed_usd > 0.0 else math.inf

    async def implied_vol(
        self, strategy: HegicStrategy, *, left_s: float, block: Block, prices: Prices
    ) -> float:
        """Return the vol at which the venue sells its kind now, at the period nearest to ``left_s``."""
        (sold,) = await self._reads.sold([strategy], block)
        period_s = round(min(max(left_s, sold.periods_s[0]), sold.periods_s[1]))
        unit_raw = 10**strategy.decimals
        (premium_raw,) = await self._reads.premiums([(strategy, unit_raw, period_s)], block)
        if premium_raw is None:
            return math.nan
        offer = self._offer(sold, period_s, block)
        return self._iv(offer, self._usd(premium_raw, prices), prices)

    def _wanted(self) -> list[HegicStrategy]:
        terms = self._terms
        return [
            item
            for item in self._contracts.strategies
            if item.underlying == terms.underlying and item.option_type in terms.option_types
        ]

    def _offer(self, sold: Sold, period_s: int, block: Block) -> _Offer:
        instrument = listed(
            sold.strategy,
            period_s=period_s,
            spot=sold.spot,
            now_s=block.timestamp_s,
            contracts=self._contracts,
            terms=self._terms,
        )
        return _Offer(sold=sold, period_s=period_s, instrument=instrument)

    async def _liquidity(self, offers: Sequence[_Offer], block: Block, prices: Prices) -> list[float]:
        """Return the most contracts of each offer: by the venue's limits, and by what it could pay."""
        funds = await self._reads.funds(block)
        raw = await self._reads.available([(item.strategy, item.period_s) for item in offers], block)
        found = []
        for item, available_raw in zip(offers, raw, strict=True):
            available = from_fixed(available_raw, decimals=item.strategy.decimals)
            payable = self.payable(
                item.instrument, funds, spot=item.sold.spot, token_usd=prices.settlement_usd
            )
            found.append(min(available, payable))
        return found

    def _quote(
        self, offer: _Offer, size: float, most: float, premium_raw: int | None, block: Block, prices: Prices
    ) -> Quote | str:
        """Return the quote of an offer, or why there is none."""
        if offer.sold.problem:
            return offer.sold.problem
        if size < self._terms.lot:
            return f"the venue sells, or could come to pay for, only {most:g} contracts"
        if not premium_raw:
            return "the venue quotes no premium"
        premium_usd = self._usd(premium_raw, prices)
        iv = self._iv(offer, premium_usd / size, prices)
        if math.isnan(iv):
            return f"{premium_usd / size:.2f} USD for one is outside what any vol gives"
        delta = options.delta(
            prices.spot_usd,
            offer.instrument.strike_usd,
            offer.period_s / YEAR_S,
            iv,
            is_put=offer.instrument.option_type is OptionType.PUT,
        )
        return Quote(
            instrument=offer.instrument,
            size=size,
            premium_usd=premium_usd,
            fee_usd=0.0,
            gas_usd=self._terms.gas.buy * prices.gas_usd,
            gas_most_usd=self._terms.gas.buy * prices.gas_most_usd,
            swap_usd=0.0,
            iv=iv,
            delta=float(delta),
            model_usd=premium_usd,  # there is no other side: the vol is the one that it is sold at
            min_size=self._terms.lot,
            lot=self._terms.lot,
            liquidity=most,
            valid_until_s=prices.now_s + self._terms.quote_ttl_s,
            block_number=block.number,
            because=f"struck at fill, {offer.strategy.moneyness:.0%} of spot",
        )

    def _iv(self, offer: _Offer, unit_usd: float, prices: Prices) -> float:
        instrument = offer.instrument
        found = options.implied_vol(
            unit_usd,
            prices.spot_usd,
            instrument.strike_usd,
            offer.period_s / YEAR_S,
            is_put=instrument.option_type is OptionType.PUT,
        )
        return float(found)

    def _usd(self, raw: int, prices: Prices) -> float:
        return from_fixed(raw, decimals=self._contracts.decimals) * prices.settlement_usd


def _periods(item: Sold, sold: Sequence[Sold]) -> tuple[int, ...]:
    """Return the periods to quote: the longest, and the shortest where no other strategy's longest is it."""
    shortest, longest = item.periods_s
    if shortest > longest:  # there is none, which is its problem
        return (shortest,)
    others = {other.periods_s[1] for other in sold if other.strategy.kind == item.strategy.kind}
    return (longest,) if shortest in others else (shortest, longest)
