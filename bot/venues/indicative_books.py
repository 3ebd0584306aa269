"""Public option books of Deribit and Derive, read for what an option would cost: no account, no order.

Deribit's options on BTC and ETH are inverse: premium, fee and payoff are in the coin, worth USD at the
index. Its fee is the taker commission of the underlying (0.0003 coin a contract) but at most 12.5 % of the
option's price. Derive's are in USDC, with a rate on the index, a flat fee an order, and the same kind of cap.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, ClassVar, NamedTuple, Protocol

from bot.chain.json_fields import (
    BadReply,
    field,
    listing,
    mapping,
    millis,
    number,
    result_of,
    seconds,
    string,
)
from bot.chain.option_names import deribit_option, derive_option
from bot.model.hedge import Instrument, OptionType
from bot.ports import WebReader

DERIBIT_URL = "https://www.deribit.com/api/v2"
DERIVE_URL = "https://api.lyra.finance"
LOWEST_IV, HIGHEST_IV = 0.01, 5.0
DERIBIT_FEE_CAP = 0.125  # of the option's price; its fee page, "BTC and ETH options fees can never be higher"
_DEPTH = 20
_MOST_PAGES = 50
_MOST_AGE_S = 120.0  # a book older than this is no book


class Offer(NamedTuple):
    """Contracts that are for sale at one price."""

    usd: float  # a contract
    contracts: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Contract:
    """What is listed, and on which terms."""

    instrument: Instrument
    lot: float
    min_size: float
    fee_rate: float  # of the underlying's price, a contract
    fee_cap: float  # of the option's price
    fee_order_usd: float = 0.0  # an order

    def fee_usd(self, offer: Offer, *, index_usd: float) -> float:
        """Return the fee of taking an offer whole, the flat fee of the order left out."""
        return offer.contracts * min(self.fee_rate * index_usd, self.fee_cap * offer.usd)


@dataclass(frozen=True, slots=True, kw_only=True)
class Listed:
    """One option of a book as it stands now."""

    contract: Contract
    iv: float  # mark vol, fraction a year
    forward_usd: float
    bid_usd: float  # a contract, NaN when nobody bids
    offers: tuple[Offer, ...] | None  # cheapest first; None: one more call tells
    at_s: float
    discount: float  # of one of the book's own dollars at expiry


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """A whole book, and the index its prices are turned into USD with."""

    index_usd: float
    options: tuple[Listed, ...]


class OptionBook(Protocol):
    """One venue's public book."""

    @property
    def name(self) -> str: ...

    async def contracts(self, web: WebReader, *, underlying: str) -> Mapping[str, Contract]:
        """Return what is listed, by instrument name. Changes rarely."""
        ...

    async def snapshot(
        self,
        web: WebReader,
        contracts: Mapping[str, Contract],
        *,
        underlying: str,
        now_s: float,
        until_s: float,
    ) -> Snapshot:
        """Return the book of what expires after ``now_s`` and not after ``until_s``."""
        ...

    async def offers(
        self, web: WebReader, listed: Listed, *, index_usd: float, now_s: float
    ) -> tuple[Offer, ...]:
        """Return what is for sale of one option, cheapest first."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class DeribitBook:
    """Deribit's inverse options on BTC and ETH."""

    requests_per_s: ClassVar[float] = 5.0

    base_url: str = DERIBIT_URL

    @property
    def name(self) -> str:
        return "deribit"

    async def contracts(self, web: WebReader, *, underlying: str) -> Mapping[str, Contract]:
        params = {"currency": underlying, "kind": "option", "expired": "false"}
        rows = listing(await self._get(web, "get_instruments", params), "get_instruments")
        found = (self._contract(row, underlying) for row in rows)
        return {item.instrument.id: item for item in found if item is not None}

    async def snapshot(
        self,
        web: WebReader,
        contracts: Mapping[str, Contract],
        *,
        underlying: str,
        now_s: float,
        until_s: float,
    ) -> Snapshot:
        index = await self._get(web, "get_index_price", {"index_name": f"{underlying.lower()}_usd"})
        index_usd = number(field(index, "index_price", "index"), "index_price", least=1e-9, most=1e9)
        params = {"currency": underlying, "kind": "option"}
        rows = listing(await self._get(web, "get_book_summary_by_currency", params), "book summary")
        found = []
        for row in rows:
            contract = contracts.get(string(field(row, "instrument_name", "row"), "instrument_name"))
            if contract is not None and now_s < contract.instrument.expiry_s <= until_s:
                found.append(_deribit_listed(row, contract, index_usd=index_usd, now_s=now_s))
        return Snapshot(index_usd=index_usd, options=tuple(item for item in found if item is not None))

    async def offers(
        self, web: WebReader, listed: Listed, *, index_usd: float, now_s: float
    ) -> tuple[Offer, ...]:
        name = listed.contract.instrument.id
        book = await self._get(web, "get_order_book", {"instrument_name": name, "depth": str(_DEPTH)})
        at_s = millis(field(book, "timestamp", name), f"{name} timestamp", now_s=now_s)
        if now_s - at_s > _MOST_AGE_S:
            raise BadReply(f"the book of {name} is {now_s - at_s:.0f} s old, allowed {_MOST_AGE_S:g} s")
        rows = listing(field(book, "asks", name), f"{name} asks")
        return tuple(sorted(_level(row, name, index_usd) for row in rows))

    async def _get(self, web: WebReader, method: str, params: Mapping[str, str]) -> Any:
        return result_of(await web.get(f"{self.base_url}/public/{method}", params=params))

    def _contract(self, row: Any, underlying: str) -> Contract | None:
        """Return the terms of a listed option; None for one that is not inverse or not open."""
        name = string(field(row, "instrument_name", "instrument"), "instrument_name")
        inverse = mapping(row, name).get("settlement_currency") == underlying
        if not inverse or field(row, "is_active", name) is not True:
            return None
        option = deribit_option(name)
        strike = number(field(row, "strike", name), f"{name} strike")
        expiry_s = millis(field(row, "expiration_timestamp", name), f"{name} expiration_timestamp")
        if strike != option.strike_usd or abs(expiry_s - option.expiry_s) > 1.0:
            raise BadReply(f"{name} says strike {strike:g} and expiry {expiry_s:.0f}, its name another")
        least = number(field(row, "min_trade_amount", name), f"{name} min_trade_amount", least=1e-6)
        return Contract(
            instrument=Instrument(
                venue=self.name,
                id=name,
                underlying=underlying,
                option_type=OptionType.PUT if option.is_put else OptionType.CALL,
                strike_usd=strike,
                expiry_s=int(expiry_s),
                settlement=underlying,
                multiplier=number(field(row, "contract_size", name), f"{name} contract_size", least=1e-6),
            ),
            lot=least,
            min_size=least,
            fee_rate=number(field(row, "taker_commission", name), f"{name} fee", least=0.0, most=0.1),
            fee_cap=DERIBIT_FEE_CAP,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class DeriveBook:
    """Derive's options, in USDC. Its tickers show the best offer only."""

    requests_per_s: ClassVar[float] = 2.0

    base_url: str = DERIVE_URL

    @property
    def name(self) -> str:
        return "derive"

    async def contracts(self, web: WebReader, *, underlying: str) -> Mapping[str, Contract]:
        found: dict[str, Contract] = {}
        for page in range(1, _MOST_PAGES + 1):
            body = {
                "expired": False,
                "instrument_type": "option",
                "currency": underlying,
                "page": page,
                "page_size": 1_000,
            }
            reply = result_of(await web.post(f"{self.base_url}/public/get_all_instruments", body=body))
            rows = listing(field(reply, "instruments", "reply"), "instruments")
            terms = [self._contract(row, underlying) for row in rows]
            found.update((item.instrument.id, item) for item in terms if item is not None)
            pages = number(field(field(reply, "pagination", "reply"), "num_pages", "pages"), "num_pages")
            if page >= pages or not rows:
                return found
        raise BadReply(f"more than {_MOST_PAGES} pages of instruments")

    async def snapshot(
        self,
        web: WebReader,
        contracts: Mapping[str, Contract],
        *,
        underlying: str,
        now_s: float,
        until_s: float,
    ) -> Snapshot:
        expiries = {item.instrument.expiry_s for item in contracts.values()}
        found: list[Listed] = []
        index_usd = float("nan")
        for expiry_s in sorted(expiry for expiry in expiries if now_s < expiry <= until_s):
            date = datetime.fromtimestamp(expiry_s, tz=UTC).strftime("%Y%m%d")
            body = {"instrument_type": "option", "currency": underlying, "expiry_date": date}
            reply = result_of(await web.post(f"{self.base_url}/public/get_tickers", body=body))
            for name, row in mapping(field(reply, "tickers", "reply"), "tickers").items():
                if (contract := contracts.get(name)) is None:
                    continue
                if (listed := _derive_listed(name, row, contract, now_s=now_s)) is not None:
                    found.append(listed)
                    index_usd = number(field(row, "I", name), f"{name} I", least=1e-9, most=1e9)
        if not found:
            raise BadReply(f"no option on {underlying} has a vol of now")
        return Snapshot(index_usd=index_usd, options=tuple(found))

    async def offers(
        self,
        web: WebReader,  # noqa: ARG002 - the ticker told it
        listed: Listed,
        *,
        index_usd: float,  # noqa: ARG002
        now_s: float,  # noqa: ARG002
    ) -> tuple[Offer, ...]:
        return listed.offers or ()

    def _contract(self, row: Any, underlying: str) -> Contract | None:
        name = string(field(row, "instrument_name", "instrument"), "instrument_name")
        if field(row, "is_active", name) is not True:
            return None
        option = derive_option(name)
        details = field(row, "option_details", name)
        expiry_s = seconds(field(details, "expiry", name), f"{name} expiry")
        strike = number(field(details, "strike", name), f"{name} strike")
        if strike != option.strike_usd or abs(expiry_s - option.expiry_s) > 1.0:
            raise BadReply(f"{name} says strike {strike:g} and expiry {expiry_s:.0f}, its name another")
        cap = mapping(row, name).get("mark_price_fee_rate_cap")
        return Contract(
            instrument=Instrument(
                venue=self.name,
                id=name,
                underlying=underlying,
                option_type=OptionType.PUT if option.is_put else OptionType.CALL,
                strike_usd=strike,
                expiry_s=int(expiry_s),
                settlement="USDC",
            ),
            lot=number(field(row, "amount_step", name), f"{name} amount_step", least=1e-9),
            min_size=number(field(row, "minimum_amount", name), f"{name} minimum_amount", least=1e-9),
            fee_rate=number(field(row, "taker_fee_rate", name), f"{name} fee", least=0.0, most=0.1),
            fee_cap=float("inf") if cap is None else number(cap, f"{name} fee cap", least=0.0, most=1.0),
            fee_order_usd=number(field(row, "base_fee", name), f"{name} base_fee", least=0.0, most=1e3),
        )


def _deribit_listed(row: Any, contract: Contract, *, index_usd: float, now_s: float) -> Listed | None:
    """Return one row of the book summary; None when it has no vol, no offer, or is old."""
    name = contract.instrument.id
    fields = mapping(row, name)
    at_s = millis(field(row, "creation_timestamp", name), f"{name} creation_timestamp", now_s=now_s)
    if now_s - at_s > _MOST_AGE_S or fields.get("mark_iv") is None or fields.get("ask_price") is None:
        return None
    iv = number(fields["mark_iv"], f"{name} mark_iv", least=0.0) / 100.0
    if not LOWEST_IV <= iv <= HIGHEST_IV:
        return None
    bid = fields.get("bid_price")
    forward_usd = number(field(row, "underlying_price", name), f"{name} forward", least=1e-9, most=1e9)
    return Listed(
        contract=contract,
        iv=iv,
        forward_usd=forward_usd,
        bid_usd=float("nan") if bid is None else number(bid, f"{name} bid", least=0.0) * index_usd,
        offers=None,
        at_s=at_s,
        discount=index_usd / forward_usd,  # an inverse option pays in the coin
    )


def _derive_listed(name: str, row: Any, contract: Contract, *, now_s: float) -> Listed | None:
    at_s = millis(field(row, "t", name), f"{name} t", now_s=now_s)
    pricing = field(row, "option_pricing", name)
    if pricing is None or now_s - at_s > _MOST_AGE_S:
        return None
    iv = number(field(pricing, "i", name), f"{name} option_pricing.i", least=0.0)
    if not LOWEST_IV <= iv <= HIGHEST_IV:
        return None
    price = number(field(row, "a", name), f"{name} a", least=0.0, most=1e9)
    size = number(field(row, "A", name), f"{name} A", least=0.0, most=1e12)
    bid = number(field(row, "b", name), f"{name} b", least=0.0, most=1e9)
    discount = mapping(pricing, name).get("df")
    return Listed(
        contract=contract,
        iv=iv,
        forward_usd=number(field(pricing, "f", name), f"{name} option_pricing.f", least=1e-9, most=1e9),
        bid_usd=bid if bid > 0.0 else float("nan"),  # the venue writes 0 where nobody bids or offers
        offers=(Offer(price, size),) if price > 0.0 and size > 0.0 else (),
        at_s=at_s,
        discount=1.0 if discount is None else number(discount, f"{name} df", least=1e-9, most=2.0),
    )


def _level(row: Any, name: str, index_usd: float) -> Offer:
    pair = listing(row, f"{name} ask")
    if len(pair) != 2:
        raise BadReply(f"{name}: an ask has {len(pair)} values, expected 2")
    price = number(pair[0], f"{name} ask price", least=1e-9, most=10.0)
    return Offer(price * index_usd, number(pair[1], f"{name} ask size", least=0.0, most=1e9))
