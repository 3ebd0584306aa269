"""Funding of Hyperliquid, dYdX v4 and Derive (S10)."""

import math
from itertools import pairwise

import pytest
from web_server import HOUR_S, Sources, funding_at, html, in_turn, limited, raw, reply

from bot.errors import ConfigError, TransientError
from bot.model.market import Metric
from bot.watchers.web.client import WebClient
from bot.watchers.web.derive import DeriveFunding
from bot.watchers.web.dydx_v4 import DydxSource
from bot.watchers.web.hyperliquid import HyperliquidSource

YEAR = 24 * 365


def values(rows):
    return {(row.metric, row.subject): row.value for row in rows}


async def test_hyperliquid_is_joined_by_position(served: Sources, web: WebClient):
    source = HyperliquidSource(coins=("ETH", "BTC"), base_url=served.url)
    rows = await source.read(web, now_s=served.now_s)
    assert [row.key for row in rows] == list(source.series)
    assert values(rows)[Metric.FUNDING_APR, "ETH"] == pytest.approx(0.0000125 * YEAR)
    assert values(rows)[Metric.OPEN_INTEREST_USD, "ETH"] == pytest.approx(550_000.5 * 3_000.1)
    assert all(row.source == "hyperliquid" and not row.why_unknown for row in rows)


@pytest.mark.parametrize(
    ("funding", "why"),
    [
        ("0.6", "allowed is -0.05 to 0.05"),  # an 8-hour percentage, not a rate of an hour
        ("NaN", "no number"),
        ("1e999", "not finite"),
        ("1_000", "no number"),
        (None, "no number"),
        (True, "no number"),
        ({}, "no number"),
    ],
)
async def test_absurd_funding_is_unknown(served: Sources, web: WebClient, funding, why):
    served.funding = funding
    rows = await HyperliquidSource(base_url=served.url).read(web, now_s=served.now_s)
    assert len(rows) == 2
    assert all(math.isnan(row.value) and why in row.why_unknown for row in rows)


async def test_lists_of_different_length_are_not_joined(served: Sources, web: WebClient):
    served.faults["/info"] = reply([{"universe": [{"name": "BTC"}, {"name": "ETH"}]}, [{"funding": "0"}]])
    rows = await HyperliquidSource(base_url=served.url).read(web, now_s=served.now_s)
    assert all("2 assets but 1 contexts" in row.why_unknown for row in rows)


async def test_a_coin_that_is_not_listed_or_delisted_is_unknown(served: Sources, web: WebClient):
    rows = await HyperliquidSource(coins=("OLD", "WAT"), base_url=served.url).read(web, now_s=served.now_s)
    assert all(math.isnan(row.value) and "is not listed" in row.why_unknown for row in rows)


async def test_hyperliquid_history_pages_forward_without_a_hole(served: Sources, web: WebClient):
    since_s = served.now_s - 1_200 * HOUR_S
    source = HyperliquidSource(base_url=served.url)
    rows = await source.history(web, since_s=since_s, until_s=served.now_s)
    assert len(rows) == 1_200
    steps = {round(b.observed_at_s - a.observed_at_s) for a, b in pairwise(rows)}
    assert steps == {HOUR_S}
    assert rows[-1].value == pytest.approx(funding_at(round(rows[-1].observed_at_s)) * YEAR)
    assert served.paths().count("/info") == 3


async def test_a_history_that_breaks_off_is_no_short_history(served: Sources, web: WebClient):
    served.faults["/info"] = in_turn(lambda _request, body: server_page(served, body), raw("no", status=403))
    with pytest.raises(TransientError, match="HTTP 403"):
        await HyperliquidSource(base_url=served.url).history(
            web, since_s=served.now_s - 900 * HOUR_S, until_s=served.now_s
        )


def server_page(served: Sources, body):
    from aiohttp import web as server

    return server.json_response(served._hyperliquid("", None, body))


async def test_dydx_reads_at_the_time_of_its_newest_block(served: Sources, web: WebClient):
    served.indexer_lag_s = 20.0
    rows = await DydxSource(base_url=f"{served.url}/v4").read(web, now_s=served.now_s)
    assert values(rows)[Metric.FUNDING_APR, "ETH"] == pytest.approx(-0.000008 * YEAR)
    assert values(rows)[Metric.OPEN_INTEREST_USD, "ETH"] == pytest.approx(12_000.25 * 3_000.5)
    assert {row.observed_at_s for row in rows} == {served.now_s - 20.0}


async def test_a_lagging_indexer_is_unknown(served: Sources, web: WebClient):
    served.indexer_lag_s = 500.0
    rows = await DydxSource(base_url=f"{served.url}/v4").read(web, now_s=served.now_s)
    assert all(math.isnan(row.value) and "500 s behind, allowed 120 s" in row.why_unknown for row in rows)


async def test_an_indexer_of_the_future_is_unknown(served: Sources, web: WebClient):
    served.indexer_lag_s = -1_000.0
    rows = await DydxSource(base_url=f"{served.url}/v4").read(web, now_s=served.now_s)
    assert all("in the future" in row.why_unknown for row in rows)


async def test_one_market_that_is_closed_leaves_the_others(served: Sources, web: WebClient):
    good = {"status": "ACTIVE", "oraclePrice": "1", "nextFundingRate": "0", "openInterest": "5"}
    markets = {"ETH-USD": good | {"status": "CANCEL_ONLY"}, "BTC-USD": good}
    served.faults["/v4/perpetualMarkets"] = reply({"markets": markets})
    rows = await DydxSource(underlyings=("ETH", "BTC"), base_url=f"{served.url}/v4").read(
        web, now_s=served.now_s
    )
    assert [math.isnan(row.value) for row in rows] == [True, True, False, False]
    assert "CANCEL_ONLY" in rows[0].why_unknown


async def test_dydx_history_pages_backward(served: Sources, web: WebClient):
    served.page_rows = 100
    rows = await DydxSource(base_url=f"{served.url}/v4").history(
        web, since_s=served.now_s - 450 * HOUR_S, until_s=served.now_s
    )
    assert len(rows) == 450
    assert rows == sorted(rows, key=lambda row: row.observed_at_s)
    assert len({row.observed_at_s for row in rows}) == 450


async def test_derive_funding_and_index(served: Sources, web: WebClient):
    source = DeriveFunding(base_url=served.url, with_price=True)
    rows = await source.read(web, now_s=served.now_s)
    assert values(rows)[Metric.FUNDING_APR, "ETH"] == pytest.approx(0.00001 * YEAR)
    assert values(rows)[Metric.PRICE_USD, "ETH"] == 3_000.2
    assert rows[0].observed_at_s == served.now_s - 1.0
    assert served.asked[-1][1] == {"instrument_type": "perp", "currency": "ETH"}


async def test_a_stale_ticker_is_unknown(served: Sources, web: WebClient):
    served.derive_age_s = 700.0
    rows = await DeriveFunding(base_url=served.url).read(web, now_s=served.now_s)
    assert math.isnan(rows[0].value)
    assert "700 s old, allowed 600 s" in rows[0].why_unknown


async def test_derive_history_asks_in_milliseconds_and_in_windows(served: Sources, web: WebClient):
    since_s = served.now_s - 20 * 24 * HOUR_S
    rows = await DeriveFunding(base_url=served.url).history(web, since_s=since_s, until_s=served.now_s)
    assert len(rows) == 480
    bodies = [body for path, body in served.asked if path.endswith("history")]
    assert len(bodies) == 3
    assert bodies[0]["start_timestamp"] == int(since_s * 1e3)


async def test_an_answer_for_another_span_is_refused(served: Sources, web: WebClient):
    served.faults["/public/get_funding_rate_history"] = reply(
        {
            "result": {
                "funding_rate_history": [{"timestamp": int(served.now_s * 1e3), "funding_rate": "0.00001"}]
            }
        }
    )
    with pytest.raises(TransientError, match="another span"):
        await DeriveFunding(base_url=served.url).history(
            web, since_s=served.now_s - 90 * 24 * HOUR_S, until_s=served.now_s - 60 * 24 * HOUR_S
        )


@pytest.mark.parametrize("fault", [html(), raw("{"), raw("x", status=404), limited("5"), reply([]), reply(7)])
async def test_every_fault_is_unknown_with_a_reason(served: Sources, web: WebClient, fault):
    served.faults["/*"] = fault
    for source in (
        HyperliquidSource(base_url=served.url),
        DydxSource(base_url=f"{served.url}/v4"),
        DeriveFunding(base_url=served.url),
    ):
        rows = await source.read(web, now_s=served.now_s)
        assert {row.key for row in rows} == set(source.series)
        assert all(math.isnan(row.value) and row.why_unknown for row in rows)


@pytest.mark.parametrize(
    "make",
    [
        lambda: HyperliquidSource(coins=()),
        lambda: HyperliquidSource(coins=("ETH", "ETH")),
        lambda: HyperliquidSource(base_url="http://api.hyperliquid.xyz"),
        lambda: HyperliquidSource(every_s=0.0),
        lambda: DydxSource(underlyings=()),
        lambda: DydxSource(max_lag_s=math.nan),
        lambda: DeriveFunding(underlyings=()),
        lambda: DeriveFunding(every_s=math.nan),
    ],
)
def test_what_cannot_be_is_refused(make):
    with pytest.raises(ConfigError):
        make()
