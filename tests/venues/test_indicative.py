"""Indicative quotes of public books, alone and under PaperVenue."""

import math
from collections.abc import AsyncIterator

import pytest
from web_server import DAY_S, Sources, in_turn, raw, reply, sources_at

from bot.errors import ConfigError, StaleDataError, TransientError
from bot.model.hedge import HedgeLeg, Layer, LegStatus, OptionType, Side
from bot.model.market import Block, Columns
from bot.ports import MarketView
from bot.venues.booked import model_usd
from bot.venues.indicative import IndicativeTerms, IndicativeVenue, indicative_book, indicative_venue
from bot.venues.paper import PaperVenue
from bot.watchers.web.client import WebClient, rates_of

NOW_S = 1_795_263_600.0
INDEX = 3_000.4


@pytest.fixture
async def served() -> AsyncIterator[Sources]:
    async with sources_at(NOW_S) as sources:
        yield sources


@pytest.fixture
async def web(served: Sources) -> AsyncIterator[WebClient]:
    async with WebClient(timeout_s=5.0, rates={served.url.removeprefix("http://"): 1_000.0}) as client:
        yield client


def view(*, now_s: float = NOW_S, spot: float = 3_001.0, number: int = 7, **stable: float) -> MarketView:
    block = Block(
        chain_id=1,
        number=number,
        hash=f"0x{number:064x}",
        parent_hash="0x" + "00" * 32,
        timestamp_s=int(now_s),
    )
    return MarketView(
        now_s=now_s, block=block, columns=Columns(series={}), spot_usd={"ETH": spot}, stable_usd=stable
    )


def venue(kind: str, served: Sources, web: WebClient, **terms: object) -> IndicativeVenue:
    url = f"{served.url}/api/v2" if kind == "deribit" else served.url
    return indicative_venue(kind, web, terms=IndicativeTerms(**terms), base_url=url)  # type: ignore[arg-type]


async def test_a_deribit_quote_says_what_parity_is_checked_with(served: Sources, web: WebClient):
    """S22: bid 0.019 and best offer 0.021 of the coin; a dollar at expiry is worth index / forward now."""
    quotes = await venue("deribit", served, web, forward_fee=0.001).quotes(view(), underlying="ETH", size=15)
    for item in quotes:
        days = (item.instrument.expiry_s - NOW_S) / DAY_S
        forward = INDEX * (1.0 + 0.0001 * days)
        terms = item.parity
        assert terms is not None
        assert terms.mid_usd == pytest.approx(0.02 * INDEX)
        assert terms.forward_usd == pytest.approx(forward)
        assert terms.discount == pytest.approx(INDEX / forward)
        assert terms.forward_cost_usd == pytest.approx(0.001 * forward)
    assert {item.instrument.option_type for item in quotes} == set(OptionType)


async def test_a_derive_quote_says_what_parity_is_checked_with(served: Sources, web: WebClient):
    """S22: in USDC, bid 38.4 and offer 43.8, the venue's own forward and discount factor."""
    found = venue("derive", served, web)
    terms = (await found.quotes(view(USDC=0.98), underlying="ETH", size=2.0))[0].parity
    assert terms is not None
    assert terms.mid_usd == pytest.approx(0.98 * 41.1)
    assert (terms.forward_usd, terms.discount) == (3_000.8, pytest.approx(0.98 * 0.999))
    assert terms.forward_cost_usd == pytest.approx(0.98 * 0.0005 * 3_000.8)


async def test_without_a_sound_bid_parity_cannot_be_checked(served: Sources, web: WebClient):
    book = {"timestamp": int(NOW_S * 1e3), "asks": [[0.0005, 50.0]], "bids": []}
    served.faults["/api/v2/public/get_order_book"] = reply({"result": book})
    quotes = await venue("deribit", served, web).quotes(view(), underlying="ETH", size=4.0)
    assert quotes, "the bid of the summary is over the offer: one of them is old"
    assert all(item.parity is None for item in quotes)


@pytest.mark.parametrize("kind", ["deribit", "derive"])
async def test_every_quote_says_that_it_is_indicative(served: Sources, web: WebClient, kind: str):
    quotes = await venue(kind, served, web).quotes(view(), underlying="ETH", size=2.0)
    assert len(quotes) > 20
    for quote in quotes:
        assert quote.indicative
        assert f"public book of {kind}" in quote.because
        assert quote.instrument.venue == kind
        assert quote.instrument.expiry_s % DAY_S == 8 * 3_600
        assert 0.02 <= abs(quote.delta) <= 0.6
        assert (quote.delta < 0) == (quote.instrument.option_type is OptionType.PUT)
        assert quote.premium_usd > quote.fee_usd > 0.0
        assert quote.block_number == 7
        assert quote.valid_until_s > NOW_S
        assert quote.model_usd == pytest.approx(
            model_usd(quote.instrument, size=quote.size, spot_usd=3_001.0, iv=quote.iv, now_s=NOW_S)
        )


async def test_deribit_premiums_are_in_the_coin_at_the_index(served: Sources, web: WebClient):
    found = venue("deribit", served, web)
    quotes = await found.quotes(view(), underlying="ETH", size=15.0)
    quote = quotes[0]
    # 10 contracts at 0.021 ETH, 5 at 0.022; the fee of 0.0003 ETH is under its cap of 12.5 % of the price.
    assert quote.size == 15.0
    assert quote.fee_usd == pytest.approx(15 * 0.0003 * INDEX)
    assert quote.premium_usd == pytest.approx((10 * 0.021 + 5 * 0.022 + 15 * 0.0003) * INDEX)
    assert quote.liquidity == 35.0
    assert (quote.min_size, quote.lot, quote.instrument.settlement) == (1.0, 1.0, "ETH")


async def test_the_fee_is_capped_for_cheap_options(served: Sources, web: WebClient):
    book = {"timestamp": int(NOW_S * 1e3), "asks": [[0.0005, 50.0]], "bids": []}
    served.faults["/api/v2/public/get_order_book"] = reply({"result": book})
    quote = (await venue("deribit", served, web).quotes(view(), underlying="ETH", size=4.0))[0]
    assert quote.fee_usd == pytest.approx(4 * 0.125 * 0.0005 * INDEX)


async def test_derive_prices_are_usdc_with_a_flat_and_a_relative_fee(served: Sources, web: WebClient):
    quote = (await venue("derive", served, web).quotes(view(), underlying="ETH", size=2.0))[0]
    assert quote.fee_usd == pytest.approx(0.5 + 2 * 0.0003 * 3_000.2)
    assert quote.premium_usd == pytest.approx(2 * 43.8 + quote.fee_usd)
    assert quote.instrument.settlement == "USDC"
    assert "USDC taken as 1 USD" in quote.because
    priced = await venue("derive", served, web).quotes(view(USDC=0.98), underlying="ETH", size=2.0)
    assert priced[0].premium_usd == pytest.approx(0.98 * quote.premium_usd)
    assert "taken as" not in priced[0].because


async def test_no_more_is_quoted_than_is_for_sale(served: Sources, web: WebClient):
    quote = (await venue("derive", served, web).quotes(view(), underlying="ETH", size=9.0))[0]
    assert quote.size == quote.liquidity == 3.46
    small = (await venue("derive", served, web).quotes(view(), underlying="ETH", size=0.0))[0]
    assert small.size == 0.1


async def test_whole_lots_down(served: Sources, web: WebClient):
    found = venue("deribit", served, web)
    assert (await found.quotes(view(), underlying="ETH", size=2.9))[0].size == 2.0
    assert (await found.quotes(view(), underlying="ETH", size=0.3))[0].size == 1.0


async def test_an_option_without_offers_is_refused_by_name(served: Sources, web: WebClient):
    empty = {"timestamp": int(NOW_S * 1e3), "asks": [], "bids": []}
    served.faults["/api/v2/public/get_order_book"] = in_turn(
        reply({"result": empty}), raw("x", status=404), reply({"result": {"timestamp": 1}}),
        lambda request, _body: served_book(served, request),
    )  # fmt: skip
    found = venue("deribit", served, web, parallel=1)
    quotes = await found.quotes(view(), underlying="ETH", size=1.0)
    whys = [item.because for item in found.refusals]
    assert len(whys) == 3
    assert "0 contracts are for sale" in whys[0]
    assert "HTTP 404" in whys[1]
    assert "in its unit" in whys[2]
    assert quotes


def served_book(served: Sources, request):
    from aiohttp import web as server

    return server.json_response({"result": served._order_book(request.query)})


async def test_the_book_is_read_once_in_its_time(served: Sources, web: WebClient):
    found = venue("deribit", served, web, book_ttl_s=30.0)
    await found.quotes(view(), underlying="ETH", size=1.0)
    asked = len(served.asked)
    await found.quotes(view(now_s=NOW_S + 20, number=8), underlying="ETH", size=5.0)
    assert len(served.asked) == asked
    served.now_s += 40
    await found.quotes(view(now_s=NOW_S + 40, number=9), underlying="ETH", size=5.0)
    paths = [path.rsplit("/", 1)[-1] for path in served.paths()]
    assert paths.count("get_book_summary_by_currency") == 2
    assert paths.count("get_instruments") == 1


async def test_many_options_are_thinned_evenly(served: Sources, web: WebClient):
    found = venue("deribit", served, web, most_books=10)
    quotes = await found.quotes(view(), underlying="ETH", size=1.0)
    assert len(quotes) == 10
    assert served.paths().count("/api/v2/public/get_order_book") == 10
    assert len({quote.instrument.expiry_s for quote in quotes}) >= 5


@pytest.mark.parametrize("spot", [2_800.0, math.nan, 0.0])
async def test_an_index_that_is_not_our_price_gives_no_quote(served: Sources, web: WebClient, spot: float):
    with pytest.raises(StaleDataError, match=r"ETH index is 3000\.40 USD"):
        await venue("deribit", served, web).quotes(view(spot=spot), underlying="ETH", size=1.0)


@pytest.mark.parametrize("kind", ["deribit", "derive"])
async def test_a_book_that_cannot_be_read_raises(served: Sources, web: WebClient, kind: str):
    served.faults["/*"] = raw("<html>", kind="text/html")
    with pytest.raises(TransientError, match="a web page"):
        await venue(kind, served, web).quotes(view(), underlying="ETH", size=1.0)


@pytest.mark.parametrize("kind", ["deribit", "derive"])
async def test_percent_and_fraction_mixed_up_give_no_quote(served: Sources, web: WebClient, kind: str):
    served.iv_scale_deribit, served.iv_scale_derive = 1.0, 100.0
    if kind == "derive":
        with pytest.raises(TransientError, match="has a vol of now"):
            await venue(kind, served, web).quotes(view(), underlying="ETH", size=1.0)
    else:
        assert await venue(kind, served, web).quotes(view(), underlying="ETH", size=1.0) == ()


async def test_another_underlying_is_not_quoted(served: Sources, web: WebClient):
    assert await venue("deribit", served, web).quotes(view(), underlying="BTC", size=1.0) == ()
    assert not served.asked


def leg_for(quote, *, limit_usd: float) -> HedgeLeg:
    return HedgeLeg(
        key="p:0",
        group="ETH",
        layer=Layer.MID,
        side=Side.BUY,
        instrument=quote.instrument,
        size=quote.size,
        limit_usd=limit_usd,
        expected_usd=quote.premium_usd,
        valid_until_s=NOW_S + 100,
    )


async def test_nothing_can_be_executed(served: Sources, web: WebClient):
    found = venue("deribit", served, web)
    quote = (await found.quotes(view(), underlying="ETH", size=2.0))[0]
    leg = leg_for(quote, limit_usd=1e9)
    for outcome in (await found.execute(leg, view=view()), await found.reconcile(leg, view=view())):
        assert outcome.status is LegStatus.REJECTED
        assert "indicative, nothing can be traded" in outcome.because
    assert await found.held(view()) == ()


async def test_paper_books_the_real_premium_and_says_so(served: Sources, web: WebClient):
    paper = PaperVenue(venue("deribit", served, web))
    assert paper.name == "deribit"
    quote = (await paper.quotes(view(), underlying="ETH", size=2.0))[0]
    outcome = await paper.execute(leg_for(quote, limit_usd=quote.premium_usd), view=view())
    assert outcome.status is LegStatus.FILLED
    assert outcome.premium_usd == quote.premium_usd
    assert "paper: filled at the quote, indicative: public book of deribit" in outcome.because
    assert outcome.tx_hash == ""
    (held,) = await paper.held(view())
    assert held.size == 2.0
    assert held.iv == quote.iv


def test_terms_and_names_are_checked():
    for terms in ({"underlyings": ()}, {"max_abs_delta": 0.01}, {"most_books": 0}, {"max_basis": 0.0}):
        with pytest.raises(ConfigError):
            IndicativeTerms(**terms)  # type: ignore[arg-type]
    assert rates_of([indicative_book("deribit")]) == {"www.deribit.com": 5.0}
    with pytest.raises(ConfigError, match="deribit, derive"):
        indicative_venue("binance", None)  # type: ignore[arg-type]


async def test_a_price_of_the_coin_is_not_taken_as_that_of_a_stable(served: Sources, web: WebClient):
    alone = await venue("deribit", served, web).quotes(view(), underlying="ETH", size=2.0)
    priced = await venue("deribit", served, web).quotes(view(ETH=3_001.0), underlying="ETH", size=2.0)
    assert [item.premium_usd for item in priced] == [item.premium_usd for item in alone]
