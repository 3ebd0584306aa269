"""Buy quotes for every option that Derive lists: what the depth of its book asks, fee included."""

import asyncio
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import numpy as np

from bot.chain.derive_actions import E18
from bot.chain.json_fields import BadReply, field, listing, mapping, number
from bot.errors import StaleDataError, TransientError, VenueRejected
from bot.model.hedge import Instrument, OptionType, ParityTerms, Quote
from bot.model.units import DAY_S, YEAR_S
from bot.ports import MarketView
from bot.quant import options
from bot.venues.booked import model_usd
from bot.venues.derive_client import DeriveClient
from bot.venues.derive_orders import DeriveTerms, amount_of, cost_e18, size_e18, taken
from bot.venues.derive_replies import (
    MOST_PAGES,
    Book,
    Contract,
    Ticker,
    book_of,
    contract_of,
    ticker_of,
)
from bot.venues.option_quotes import Refusal

_PAGE_ROWS = 1_000
_PARALLEL = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Listed:
    """One option as it stands now."""

    contract: Contract
    ticker: Ticker
    book: Book
    is_deep: bool = True  # False: only the best level is known


class DeriveMarket:
    """The public market: what is listed, tickers, books. Quotes of it say what they rest on."""

    def __init__(self, client: DeriveClient, terms: DeriveTerms) -> None:
        self._client, self._terms = client, terms
        self._contracts: dict[str, tuple[float, Mapping[str, Contract]]] = {}
        self._one_read = asyncio.Lock()
        self.refusals: tuple[Refusal, ...] = ()

    async def quotes(
        self, view: MarketView, *, underlying: str, size: float, usdc_usd: float
    ) -> tuple[Quote, ...]:
        """Return buy quotes at about ``size`` contracts. Raises TransientError, StaleDataError for a market
        whose index is not our price.
        """
        self.refusals = ()
        if underlying not in self._terms.underlyings:
            return ()
        async with self._one_read:
            contracts = await self._listing(underlying, now_s=view.now_s)
            tickers = await self._tickers(contracts, underlying, now_s=view.now_s)
            wanted = self._wanted(contracts, tickers, now_s=view.now_s)
            books = await self._books([item.instrument.id for item in wanted], tickers, now_s=view.now_s)
        found: list[Quote] = []
        refusals: list[Refusal] = []
        for contract in wanted:
            name = contract.instrument.id
            try:
                self._check_asset(contract)
                listed = _listed(contract, tickers[name], books.get(name))
                check_basis(listed.ticker, contract.instrument, view, self._terms)
                found.append(self._quote(listed, view, size=size, usdc_usd=usdc_usd))
            except VenueRejected as refusal:
                refusals.append(Refusal(instrument=contract.instrument, because=str(refusal)))
        self.refusals = tuple(refusals)
        return tuple(found)

    async def listed(self, instrument: Instrument, *, now_s: float) -> Listed:
        """Return one option afresh. Raises VenueRejected when it is another than ``instrument`` (REL-D8), is
        not traded now, or is old.
        """
        name = instrument.id
        asked = {"instrument_name": name}
        row, prices = await asyncio.gather(
            self._client.read("public/get_instrument", asked), self._client.read("public/get_ticker", asked)
        )
        contract = contract_of(row, instrument.underlying)
        if contract is None:
            raise VenueRejected(f"{name} is not traded at Derive now")
        self._check_asset(contract)
        if contract.instrument != instrument:
            found = contract.instrument.label
            raise VenueRejected(f"{name} at Derive is {found}, the leg says {instrument.label}")
        ticker = ticker_of(prices, name, now_s=now_s)
        self._check_age(name, ticker.at_s, now_s)
        books = await self._books([name], {name: ticker}, now_s=now_s)
        return _listed(contract, ticker, books.get(name))

    async def marks(self, instruments: Iterable[Instrument], *, now_s: float) -> dict[str, Listed | str]:
        """Return where options stand by name, or why that is not known."""
        gate = asyncio.Semaphore(_PARALLEL)

        async def one(instrument: Instrument) -> Listed | str:
            async with gate:
                try:
                    return await self.listed(instrument, now_s=now_s)
                except (VenueRejected, TransientError) as error:
                    return str(error)

        wanted = list(instruments)
        return dict(zip((item.id for item in wanted), await asyncio.gather(*map(one, wanted)), strict=True))

    async def _listing(self, underlying: str, *, now_s: float) -> Mapping[str, Contract]:
        at_s, contracts = self._contracts.get(underlying, (-math.inf, {}))
        if 0.0 <= now_s - at_s < self._terms.listing_ttl_s:
            return contracts
        found: dict[str, Contract] = {}
        for page in range(1, MOST_PAGES + 1):
            asked = {"expired": False, "instrument_type": "option", "currency": underlying}
            asked |= {"page": page, "page_size": _PAGE_ROWS}
            reply = await self._client.read("public/get_all_instruments", asked)
            rows = listing(field(reply, "instruments", "reply"), "instruments")
            made = [_tradable(row, underlying) for row in rows]
            found.update((item.instrument.id, item) for item in made if item is not None)
            pages = number(field(field(reply, "pagination", "reply"), "num_pages", "pages"), "num_pages")
            if page >= pages or not rows:
                self._contracts[underlying] = (now_s, found)
                return found
        raise BadReply(f"more than {MOST_PAGES} pages of instruments")

    async def _tickers(
        self, contracts: Mapping[str, Contract], underlying: str, *, now_s: float
    ) -> dict[str, Ticker]:
        """Return the usable tickers of what expires within the terms, by name."""
        last_s = now_s + self._terms.max_dte * DAY_S
        expiries = {item.instrument.expiry_s for item in contracts.values()}
        wanted = sorted(expiry_s for expiry_s in expiries if now_s < expiry_s <= last_s)
        gate = asyncio.Semaphore(_PARALLEL)

        async def page(expiry_s: int) -> Mapping[str, Any]:
            date = datetime.fromtimestamp(expiry_s, tz=UTC).strftime("%Y%m%d")
            asked = {"instrument_type": "option", "currency": underlying, "expiry_date": date}
            async with gate:
                reply = await self._client.read("public/get_tickers", asked)
            return mapping(field(reply, "tickers", "get_tickers"), "tickers")

        found: dict[str, Ticker] = {}
        for rows in await asyncio.gather(*map(page, wanted)):
            for name, row in rows.items():
                ticker = _usable(name, row, now_s=now_s) if name in contracts else None
                if ticker is not None and now_s - ticker.at_s <= self._terms.max_age_s:
                    found[name] = ticker
        return found

    def _wanted(
        self, contracts: Mapping[str, Contract], tickers: Mapping[str, Ticker], *, now_s: float
    ) -> list[Contract]:
        """Return the options of the wanted kinds and deltas, evenly thinned to ``most_books``."""
        terms = self._terms
        band = [
            contracts[name]
            for name, ticker in tickers.items()
            if contracts[name].instrument.option_type in terms.option_types
            and terms.min_abs_delta <= abs(_delta(contracts[name], ticker, now_s)) <= terms.max_abs_delta
        ]
        band.sort(key=lambda item: (item.instrument.expiry_s, item.instrument.strike_usd, item.instrument.id))
        if len(band) <= terms.most_books:
            return band
        places = np.unique(np.linspace(0, len(band) - 1, terms.most_books).round().astype(int))
        return [band[place] for place in places]

    async def _books(
        self, names: list[str], tickers: Mapping[str, Ticker], *, now_s: float
    ) -> dict[str, tuple[Book, bool]]:
        """Return books by name and whether they are deep; where only the ticker is known, its best levels."""
        raw: Mapping[str, Any] = {}
        if names:
            try:
                raw = await self._client.books(names, depth=self._terms.depth)
            except TransientError:
                raw = {}  # the tickers tell the best level, and every order has a limit
        found: dict[str, tuple[Book, bool]] = {}
        for name in names:
            try:
                if name in raw:
                    book = book_of(raw[name], name, now_s=now_s)
                    self._check_age(name, book.at_s, now_s)
                    found[name] = (book, True)
                else:
                    found[name] = (_best(tickers[name], name), False)
            except (BadReply, VenueRejected):
                continue  # a crossed or old book is no book
        return found

    def _check_asset(self, contract: Contract) -> None:
        if self._terms.assets and contract.asset not in self._terms.assets:
            raise VenueRejected(
                f"{contract.instrument.id} is of option contract {contract.asset}, which "
                "derive.account.assets does not name"
            )

    def _check_age(self, name: str, at_s: float, now_s: float) -> None:
        age_s = now_s - at_s
        if not age_s <= self._terms.max_age_s:
            raise VenueRejected(
                f"{name}: Derive's prices are {age_s:.0f} s old, "
                f"at most {self._terms.max_age_s:.0f} is allowed"
            )

    def _quote(self, listed: Listed, view: MarketView, *, size: float, usdc_usd: float) -> Quote:
        contract, ticker, book = listed.contract, listed.ticker, listed.book
        instrument = contract.instrument
        liquidity = size_e18(book.asks) / E18
        amount = amount_of(max(min(size, liquidity), contract.min_e18 / E18), contract)
        levels = taken(book.asks, amount)
        if size_e18(levels) < amount:
            raise VenueRejected(
                f"{liquidity:g} contracts are for sale, the least is {contract.min_e18 / E18:g}"
            )
        contracts = amount / E18
        mark_usd = max(ticker.mark_usd, levels[0].price_e18 / E18)
        fee_usd = contract.fee_usd(contracts, index_usd=ticker.index_usd, mark_usd=mark_usd)
        return Quote(
            instrument=instrument,
            size=contracts,
            premium_usd=(cost_e18(levels) / E18 + fee_usd) * usdc_usd,
            fee_usd=fee_usd * usdc_usd,
            gas_usd=0.0,
            swap_usd=0.0,
            iv=ticker.iv,
            delta=_delta(contract, ticker, view.now_s),
            model_usd=model_usd(
                instrument,
                size=contracts,
                spot_usd=view.spot_usd.get(instrument.underlying, math.nan),
                iv=ticker.iv,
                now_s=view.now_s,
            ),
            min_size=contract.min_e18 / E18,
            lot=contract.step_e18 / E18,
            liquidity=liquidity,
            valid_until_s=view.now_s + self._terms.quote_ttl_s,
            block_number=view.block.number if view.block else 0,
            because="" if listed.is_deep else "only the best offer of its book is known",
            bid_usd=_sale_usd(listed, amount, usdc_usd),
            parity=_parity(listed, usdc_usd, fee=self._terms.forward_fee),
        )


def sale_usd(listed: Listed, contracts_e18: int) -> tuple[float, int]:
    """Return what selling into the bids brings net of fees, USDC, and how much of it they take (1e-18)."""
    levels = taken(listed.book.bids, contracts_e18)
    sold = size_e18(levels)
    if sold == 0:
        return math.nan, 0
    gross = sum(level.price_e18 * level.amount_e18 for level in levels) // E18 / E18
    ticker, contract = listed.ticker, listed.contract
    fee_usd = contract.fee_usd(sold / E18, index_usd=ticker.index_usd, mark_usd=ticker.mark_usd)
    return gross - fee_usd, sold


def check_basis(ticker: Ticker, instrument: Instrument, view: MarketView, terms: DeriveTerms) -> None:
    """Raise StaleDataError unless the exchange's index is our price, within the terms."""
    spot_usd = view.spot_usd.get(instrument.underlying, math.nan)
    basis = ticker.index_usd / spot_usd - 1.0 if spot_usd > 0.0 else math.nan
    if not abs(basis) <= terms.max_basis:  # also refuses NaN
        raise StaleDataError(
            f"Derive's {instrument.underlying} index is {ticker.index_usd:.2f} USD, our price "
            f"{spot_usd:.2f}, allowed is a difference of {terms.max_basis:.0%}"
        )


def _listed(contract: Contract, ticker: Ticker, found: tuple[Book, bool] | None) -> Listed:
    if found is None:
        raise VenueRejected(f"{contract.instrument.id}: its book is old, crossed or out of order")
    return Listed(contract=contract, ticker=ticker, book=found[0], is_deep=found[1])


def _delta(contract: Contract, ticker: Ticker, now_s: float) -> float:
    """Return the delta of one contract to the forward, signed: by the mark vol, not as the venue says it."""
    instrument = contract.instrument
    return float(
        options.delta(
            ticker.forward_usd,
            instrument.strike_usd,
            max(instrument.expiry_s - now_s, 0.0) / YEAR_S,
            ticker.iv,
            is_put=instrument.option_type is OptionType.PUT,
        )
    )


def _sale_usd(listed: Listed, amount: int, usdc_usd: float) -> float:
    net_usd, sold = sale_usd(listed, amount)
    return net_usd * usdc_usd if sold == amount else math.nan


def _tradable(row: Any, underlying: str) -> Contract | None:
    """Return a listed option, None for one that contradicts itself: it alone is not quoted."""
    try:
        return contract_of(row, underlying)
    except BadReply:
        return None


def _usable(name: str, row: Any, *, now_s: float) -> Ticker | None:
    """Return a ticker, None for one without a vol or with a field that cannot be: it is not quoted."""
    try:
        return ticker_of(row, name, now_s=now_s)
    except BadReply:
        return None


def _best(ticker: Ticker, name: str) -> Book:
    ask, bid = (tuple(side for side in (level,) if all(side)) for level in (ticker.ask, ticker.bid))
    if ask and bid and bid[0].price_e18 >= ask[0].price_e18:
        raise BadReply(f"the ticker of {name} is crossed")
    return Book(asks=ask, bids=bid, at_s=ticker.at_s)


def _parity(listed: Listed, usdc_usd: float, *, fee: float) -> ParityTerms | None:
    """Return the middle of bid and offer beside the venue's own forward; None without both."""
    book, ticker = listed.book, listed.ticker
    if not book.asks or not book.bids:
        return None
    mid = (book.asks[0].price_e18 + book.bids[0].price_e18) / (2 * E18)
    return ParityTerms(
        mid_usd=mid * usdc_usd,
        forward_usd=ticker.forward_usd,
        discount=ticker.discount * usdc_usd,
        forward_cost_usd=fee * ticker.forward_usd * usdc_usd,
    )
