"""Vol index and at-the-money term structure of Deribit and Derive (S11 to S13)."""

import math
from itertools import pairwise

import pytest
from web_server import HOUR_S, Sources, dvol_at, reply

from bot.chain.json_fields import BadReply
from bot.chain.option_names import deribit_option, derive_option
from bot.errors import ConfigError, TransientError
from bot.model.market import Metric
from bot.watchers.web.client import WebClient
from bot.watchers.web.deribit import DeribitSurface, DeribitVolIndex
from bot.watchers.web.derive import DeriveSurface
from bot.watchers.web.smile import StrikeVol, atm_points, constant_maturity

API = "/api/v2"
DAY_S = 86_400


def surface(kind: str, url: str):
    return DeribitSurface(base_url=f"{url}{API}") if kind == "deribit" else DeriveSurface(base_url=url)


@pytest.mark.parametrize("kind", ["deribit", "derive"])
async def test_the_term_structure_is_in_fractions(served: Sources, web: WebClient, kind: str):
    rows = await surface(kind, served.url).read(web, now_s=served.now_s)
    assert [row.metric for row in rows] == [Metric.IV_7D, Metric.IV_30D, Metric.IV_90D]
    for row, days in zip(rows, (7, 30, 90), strict=True):
        assert row.value == pytest.approx(0.60 * (1 - 0.0005 * days), abs=0.004)
        assert row.source == kind
        assert served.now_s - 2.0 <= row.observed_at_s <= served.now_s
    assert rows[0].value > rows[2].value


@pytest.mark.parametrize(
    ("kind", "deribit_scale", "derive_scale"), [("deribit", 1.0, 1.0), ("derive", 100.0, 100.0)]
)
async def test_percent_taken_for_fraction_is_refused(
    served: Sources, web: WebClient, kind: str, deribit_scale: float, derive_scale: float
):
    served.iv_scale_deribit, served.iv_scale_derive = deribit_scale, derive_scale
    rows = await surface(kind, served.url).read(web, now_s=served.now_s)
    assert all(math.isnan(row.value) and "percent and fraction mixed up" in row.why_unknown for row in rows)


@pytest.mark.parametrize("kind", ["deribit", "derive"])
async def test_one_expiry_is_no_flat_term_structure(served: Sources, web: WebClient, kind: str):
    served.expiries = served.expiries[3:4]
    rows = await surface(kind, served.url).read(web, now_s=served.now_s)
    assert all(math.isnan(row.value) and "needs 2" in row.why_unknown for row in rows)


async def test_a_tenor_past_the_listed_expiries_is_unknown(served: Sources, web: WebClient):
    served.expiries = served.expiries[:2]  # 2 and 7 days
    rows = await surface("deribit", served.url).read(web, now_s=served.now_s)
    assert [math.isnan(row.value) for row in rows] == [False, True, True]
    assert "nearest to 90 days" in rows[2].why_unknown


async def test_old_summaries_are_no_surface(served: Sources, web: WebClient):
    rows = await surface("deribit", served.url).read(web, now_s=served.now_s + 3_600)
    assert all(math.isnan(row.value) and "has a vol of now" in row.why_unknown for row in rows)


async def test_the_vol_index_is_a_fraction_of_now(served: Sources, web: WebClient):
    source = DeribitVolIndex(underlyings=("ETH", "BTC"), base_url=f"{served.url}{API}")
    rows = await source.read(web, now_s=served.now_s)
    assert [row.key for row in rows] == list(source.series)
    assert rows[0].value == pytest.approx(dvol_at(served.now_s) / 100.0, rel=1e-3)
    assert rows[0].observed_at_s == served.now_s


async def test_dvol_history_follows_the_continuation_and_leaves_the_open_hour(
    served: Sources, web: WebClient
):
    served.page_rows = 100
    since_s = served.now_s - 1_000 * HOUR_S
    rows = await DeribitVolIndex(base_url=f"{served.url}{API}").history(
        web, since_s=since_s, until_s=served.now_s
    )
    times = [row.observed_at_s for row in rows]
    assert {round(b - a) for a, b in pairwise(times)} == {HOUR_S}  # no missing day
    assert len(rows) == 1_000
    assert times[-1] <= served.now_s
    assert (times[-1] + 1) % HOUR_S == 0
    assert len(served.asked) == 11


async def test_pages_that_do_not_end_are_refused(served: Sources, web: WebClient):
    page = {"data": [], "continuation": int((served.now_s + 5) * 1e3)}
    served.faults[f"{API}/public/get_volatility_index_data"] = reply({"result": page})
    with pytest.raises(TransientError, match="do not come to an end"):
        await DeribitVolIndex(base_url=f"{served.url}{API}").history(
            web, since_s=served.now_s - 10 * HOUR_S, until_s=served.now_s
        )


@pytest.mark.parametrize(
    ("body", "why"),
    [
        ({"result": {"data": [], "continuation": None}}, "no value of the last 15 minutes"),
        ({"result": {"data": [[1]], "continuation": None}}, "1 values, expected 5"),
        ({"result": {"data": [["x", 1, 1, 1, 1]], "continuation": None}}, "no number"),
        ({"result": {"data": [[1_795_263_540_000, 1, 1, 1, 0.6]]}}, "percent and fraction mixed up"),
        ({"result": {"data": [[1_795_263_540, 60, 60, 60, 60]]}}, "in its unit"),
        ({"error": {"code": 10028, "message": "too_many_requests"}}, "too_many_requests"),
    ],
)
async def test_a_wrong_vol_index_is_unknown(served: Sources, web: WebClient, body, why):
    served.faults[f"{API}/public/get_volatility_index_data"] = reply(body)
    rows = await DeribitVolIndex(base_url=f"{served.url}{API}").read(web, now_s=served.now_s)
    assert math.isnan(rows[0].value)
    assert why in rows[0].why_unknown


def test_option_names():
    option = deribit_option("ETH-27JUN27-3000-C")
    assert option == ("ETH", 1_814_083_200, 3_000.0, False)
    assert derive_option("ETH-20270627-3000-C") == option
    assert deribit_option("BTC-3JAN27-0d5-P").strike_usd == 0.5
    assert derive_option("DOGE-20270103-0_125-P").strike_usd == 0.125
    for name in (
        "ETH-31FEB27-3000-C",
        "ETH-27JUL27-0-C",
        "ETH-27XXX27-1-C",
        "ETH-PERPETUAL",
        "",
        "x" * 10**6,
    ):
        with pytest.raises(BadReply) as caught:
            deribit_option(name)
        assert len(str(caught.value)) < 120
    for name in ("ETH-20271301-1-C", "ETH-PERP", "ETH-20270103-1-X"):
        with pytest.raises(BadReply):
            derive_option(name)


def option(strike: float, iv: float, *, is_put: bool, days: float = 30.0, forward: float = 100.0):
    return StrikeVol(expiry_s=days * DAY_S, strike=strike, is_put=is_put, iv=iv, forward=forward)


def test_the_vol_at_the_forward_is_between_its_neighbours_by_variance():
    listed = [option(90.0, 0.8, is_put=True), option(110.0, 0.6, is_put=False)]
    ((years, iv),) = atm_points(listed, now_s=0.0)
    share = math.log(100 / 90) / math.log(110 / 90)
    assert years == pytest.approx(30 / 365)
    assert iv == pytest.approx(math.sqrt(0.64 * (1 - share) + 0.36 * share))


def test_the_out_of_the_money_side_is_read():
    listed = [
        option(90.0, 2.0, is_put=False),
        option(90.0, 0.8, is_put=True),
        option(110.0, 0.6, is_put=False),
        option(110.0, 3.0, is_put=True),
    ]
    assert atm_points(listed, now_s=0.0) == atm_points(listed[1:3], now_s=0.0)
    assert atm_points([option(100.0, 0.5, is_put=True)], now_s=0.0)[0][1] == pytest.approx(0.5)


def test_strikes_on_one_side_give_no_vol():
    assert atm_points([option(90.0, 0.8, is_put=True)], now_s=0.0) == []
    assert atm_points([option(110.0, 0.8, is_put=False), option(120.0, 0.8, is_put=False)], now_s=0.0) == []
    with pytest.raises(BadReply, match="needs 2"):
        constant_maturity([], 30.0)


@pytest.mark.parametrize("underlyings", [(), ("SOL",), ("ETH", "ETH"), ("",)])
def test_deribit_has_two_vol_indexes(underlyings):
    with pytest.raises(ConfigError):
        DeribitVolIndex(underlyings=underlyings)
