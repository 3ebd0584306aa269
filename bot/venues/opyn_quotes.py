"""Buy quotes of oTokens: what their Uniswap v3 pools ask for them, price impact included."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median

from bot.model.hedge import Instrument, OptionType, Quote
from bot.model.market import Block
from bot.model.units import YEAR_S, from_fixed, to_fixed_down
from bot.quant import options
from bot.venues.booked import model_usd
from bot.venues.option_quotes import Quoted, sorted_out
from bot.venues.opyn_pools import OpynPools, OtokenPool, PoolTrade, best_buy, deepest
from bot.venues.opyn_reads import OpynReads, System
from bot.venues.opyn_terms import OTOKEN_DECIMALS, OpynTerms, Series, instrument_of
from bot.venues.prices import Prices


@dataclass(frozen=True, slots=True, kw_only=True)
class _Listed:
    """A series that may be bought, its pools, and the vol that their price implies (NaN: none)."""

    series: Series
    instrument: Instrument
    pools: tuple[OtokenPool, ...]
    iv: float
    problem: str


class OpynQuoter:
    """Quotes of one system, all of one frame pinned to its block."""

    def __init__(self, *, reads: OpynReads, pools: OpynPools, terms: OpynTerms) -> None:
        self._reads = reads
        self._pools = pools
        self._terms = terms
        self._contracts = reads.contracts

    async def quotes(self, block: Block, prices: Prices, *, size: float) -> Quoted:
        """Return a quote for every series that can be bought, and why for every other that is alive."""
        listed = await self._listed(block, prices)
        trades = await self._asked(listed, size, block)
        return sorted_out(
            (item.instrument, self._quote(item, trades.get(item.series.otoken, ()), block, prices))
            for item in listed
        )

    def implied_vol(
        self, series: Series, pools: Sequence[OtokenPool], *, now_s: float, prices: Prices
    ) -> float:
        """Return the vol of the deepest pool's own price; NaN where it is below intrinsic, or no pool is."""
        pool = deepest(pools)
        if pool is None:
            return math.nan
        price_usd = pool.price(token_decimals=self._contracts.decimals) * prices.settlement_usd
        return float(
            options.implied_vol(
                price_usd,
                prices.spot_usd,
                from_fixed(series.strike_raw, decimals=OTOKEN_DECIMALS),
                (series.expiry_s - now_s) / YEAR_S,
                is_put=series.is_put,
            )
        )

    async def _listed(self, block: Block, prices: Prices) -> list[_Listed]:
        system = await self._reads.system(block)
        every = await self._reads.all_series(system, block)
        alive = [
            item
            for item in every
            if item.expiry_s > block.timestamp_s and item.option_type in self._terms.option_types
        ]
        names = [item.otoken for item in alive]
        allowed = await self._reads.whitelisted(system, names, block)
        pools = await self._pools.of(names, block)
        found = []
        for series, is_allowed in zip(alive, allowed, strict=True):
            mine = pools[series.otoken]
            iv = self.implied_vol(series, mine, now_s=block.timestamp_s, prices=prices)
            instrument = instrument_of(series, contracts=self._contracts, terms=self._terms)
            problem = self._closed(series, system, block, is_allowed=is_allowed) or _unpriced(
                mine, prices, iv
            )
            found.append(_Listed(series=series, instrument=instrument, pools=mine, iv=iv, problem=problem))
        return found

    def _closed(self, series: Series, system: System, block: Block, *, is_allowed: bool) -> str:
        """Return why a series is not to be bought at all, "" when it may be."""
        if not is_allowed:
            return "the whitelist does not have it: it could not be redeemed"
        if system.is_paused:
            return "Opyn is paused in full"
        if series.expiry_s - block.timestamp_s < self._terms.cutoff_s:
            return f"it expires within {self._terms.cutoff_s:.0f} s"
        return ""

    async def _asked(
        self, listed: Sequence[_Listed], size: float, block: Block
    ) -> Mapping[str, list[PoolTrade | None]]:
        """Ask every pool for what it can sell of the size that is wanted."""
        orders = []
        for item in listed:
            for pool in item.pools if not item.problem else ():
                amount = self._terms.lots(min(size, pool.most(impact=self._terms.max_impact)))
                if amount >= self._terms.lot:
                    raw = to_fixed_down(amount, decimals=OTOKEN_DECIMALS)
                    orders.append((item.series.otoken, pool, raw))
        trades = await self._pools.buy(orders, block)
        found: dict[str, list[PoolTrade | None]] = {}
        for (otoken, _, _), trade in zip(orders, trades, strict=True):
            found.setdefault(otoken, []).append(trade)
        return found

    def _quote(
        self, item: _Listed, trades: Sequence[PoolTrade | None], block: Block, prices: Prices
    ) -> Quote | str:
        """Return the quote of a series, or why there is none."""
        if item.problem:
            return item.problem
        largest = max((trade.amount_raw for trade in trades if trade), default=0)
        trade = best_buy([found for found in trades if found and found.amount_raw == largest])
        if trade is None:
            return f"no pool sells {self._terms.lot:g} of it within {self._terms.max_impact:.0%} of its price"
        size = from_fixed(trade.amount_raw, decimals=OTOKEN_DECIMALS)
        premium_usd = from_fixed(trade.token_raw, decimals=self._contracts.decimals) * prices.settlement_usd
        instrument = item.instrument
        years = (instrument.expiry_s - block.timestamp_s) / YEAR_S
        is_put = instrument.option_type is OptionType.PUT
        return Quote(
            instrument=instrument,
            size=size,
            premium_usd=premium_usd,
            fee_usd=premium_usd * trade.pool.fee / 1_000_000,
            gas_usd=self._terms.gas.buy * prices.gas_usd,
            gas_most_usd=self._terms.gas.buy * prices.gas_most_usd,
            swap_usd=0.0,
            iv=item.iv,
            delta=float(options.delta(prices.spot_usd, instrument.strike_usd, years, item.iv, is_put=is_put)),
            model_usd=model_usd(
                instrument, size=size, spot_usd=prices.spot_usd, iv=item.iv, now_s=block.timestamp_s
            ),
            min_size=self._terms.lot,
            lot=self._terms.lot,
            liquidity=trade.pool.most(impact=self._terms.max_impact),
            valid_until_s=prices.now_s + self._terms.quote_ttl_s,
            block_number=block.number,
            because=f"Uniswap v3 pool {trade.pool.address}",
        )


def _unpriced(pools: Sequence[OtokenPool], prices: Prices, iv: float) -> str:
    if not pools:
        return "it has no pool on Uniswap v3"
    if prices.unknown or not math.isfinite(prices.spot_usd):
        return f"prices are not known: {prices.unknown or 'the underlying'}"
    if math.isnan(iv):
        return "its pool's price is outside what any vol gives, as below intrinsic value"
    return ""


def usual_vol(ivs: Sequence[float]) -> float:
    """Return the median of the vols that are known, NaN where none is."""
    return median([iv for iv in ivs if math.isfinite(iv)] or [math.nan])
