"""DefiLlama, user's tables, calendar, inflation prints and FRED (S6, S18 to S20, S23)."""

import json
import math
from datetime import UTC, datetime
from pathlib import Path

import pytest
from web_server import DAY_S, Sources, html, raw, reply

from bot.errors import ConfigError, TransientError
from bot.model.market import Metric, Observation, columns_from
from bot.model.tier import Quality
from bot.model.units import HOUR_S
from bot.signals import SIGNALS
from bot.signals.policy import SignalsPolicy
from bot.watchers.web.bls import BlsSource
from bot.watchers.web.client import WebClient
from bot.watchers.web.csv_series import CsvSeries
from bot.watchers.web.defillama import DefiLlamaSource, DefiLlamaTokenSource, StablecoinFlowSource
from bot.watchers.web.fred import FredSource
from bot.watchers.web.macro_calendar import MacroCalendar, packaged


def at(text: str) -> float:
    return datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()


# A user's table


def price_row(at_s: float) -> Observation:
    return Observation(
        metric=Metric.PRICE_USD,
        subject="ETH",
        source="binance:spot",
        value=2e3 + at_s % 11e3,
        observed_at_s=at_s,
        read_at_s=at_s,
    )


async def test_a_table_of_hourly_volume_is_what_s15_reads(tmp_path: Path, web: WebClient):
    """The volume of 24 hours that a pool's site or subgraph tells, hour by hour, as JSON."""
    path, pool, now_s = tmp_path / "volume.json", "v3:ETH/USDC", at("2022-05-20T00:00")
    hours = [now_s - HOUR_S * back for back in range(500, -1, -1)]
    path.write_text(json.dumps({"data": [{"t": at_s, "usd": f"{1e6 + at_s % 7e3}"} for at_s in hours]}))
    source = CsvSeries(
        label="volume", where=str(path), metric=Metric("volume_usd_1d"), subject=pool, table="json",
        rows_at=("data",), time_column="t", value_column="usd", time_format="seconds", step_s=HOUR_S,
    )  # fmt: skip
    rows = [*await source.history(web, since_s=hours[0], until_s=now_s), *await source.read(web, now_s=now_s)]
    prices = list(map(price_row, hours))
    (found,) = [
        item
        for item in SIGNALS["S15"].read(columns_from([*rows, *prices]), now_s=now_s, policy=SignalsPolicy())
        if item.source == "csv:volume"
    ]
    assert (found.subject, found.quality) == (pool, Quality.LIVE)


# DefiLlama


async def test_tvl_and_units_of_a_protocol(served: Sources, web: WebClient):
    source = DefiLlamaSource(protocol="aave-v3", tokens=("WETH", "USDC"), base_url=served.url)
    rows = await source.read(web, now_s=served.now_s)
    assert [row.key for row in rows] == list(source.series)
    assert [(row.metric, row.subject) for row in rows] == [
        (Metric.TVL_USD, "aave-v3"),
        (Metric.TOKEN_UNITS, "aave-v3/WETH"),
        (Metric.TOKEN_UNITS, "aave-v3/USDC"),
    ]
    assert rows[1].value == 500_100.0
    assert rows[0].observed_at_s == served.now_s // DAY_S * DAY_S
    history = await source.history(web, since_s=served.now_s - 30 * DAY_S, until_s=served.now_s)
    assert len(history) == 3 * 30
    assert history == sorted(history, key=lambda row: row.observed_at_s)


async def test_one_chain_of_a_protocol(served: Sources, web: WebClient):
    source = DefiLlamaSource(protocol="aave-v3", chain="Ethereum", base_url=served.url)
    rows = await source.read(web, now_s=served.now_s)
    assert rows[0].subject == "aave-v3:Ethereum"
    assert rows[0].value > 0.0
    none = DefiLlamaSource(protocol="aave-v3", chain="Base", base_url=served.url)
    assert "has no Base" in (await none.read(web, now_s=served.now_s))[0].why_unknown


async def test_a_token_that_is_not_held_is_unknown_not_zero(served: Sources, web: WebClient):
    source = DefiLlamaSource(protocol="aave-v3", tokens=("WETH", "NOPE"), base_url=served.url)
    rows = await source.read(web, now_s=served.now_s)
    assert [math.isnan(row.value) for row in rows] == [False, False, True]
    assert "NOPE: no row" in rows[2].why_unknown


async def test_a_tvl_of_zero_or_of_last_week_is_unknown(served: Sources, web: WebClient):
    source = DefiLlamaSource(protocol="aave-v3", base_url=served.url)
    row = {"date": served.now_s // 1, "totalLiquidityUSD": 0.0}
    served.faults["/protocol/aave-v3"] = reply({"tvl": [row], "tokens": []})
    (zero,) = await source.read(web, now_s=served.now_s)
    assert math.isnan(zero.value)
    assert "expected more than 0" in zero.why_unknown
    old = {"date": served.now_s - 5 * DAY_S, "totalLiquidityUSD": 1e9}
    served.faults["/protocol/aave-v3"] = reply({"tvl": [old], "tokens": []})
    (stale,) = await source.read(web, now_s=served.now_s)
    assert math.isnan(stale.value)
    assert "432000 s old" in stale.why_unknown


async def test_market_value_fees_and_revenue(served: Sources, web: WebClient):
    source = DefiLlamaTokenSource(protocol="aave-v3", token="AAVE", base_url=served.url)
    rows = await source.read(web, now_s=served.now_s)
    assert [row.key for row in rows] == list(source.series)
    assert [row.value for row in rows] == [4.2e9, 2e6, pytest.approx(2e5)]
    # The day that has not ended has no total yet.
    assert rows[1].observed_at_s == served.now_s // DAY_S * DAY_S
    history = await source.history(web, since_s=served.now_s - 10 * DAY_S, until_s=served.now_s)
    assert len(history) == 20


async def test_stablecoins_are_counted_in_units(served: Sources, web: WebClient):
    source = StablecoinFlowSource(base_url=served.url)
    (row,) = await source.read(web, now_s=served.now_s)
    assert row.subject == "stablecoins"
    assert row.value == pytest.approx(1e8)  # 1.5e11 rises by 1e8 a day, whatever a coin is worth


async def test_a_missing_day_is_no_redemption(served: Sources, web: WebClient):
    rows = [
        {"date": str(day), "totalCirculating": {"peggedUSD": 1.5e11 + 1e8 * i}}
        for i, day in enumerate(served.days(10))
    ]
    del rows[4]
    rows[7]["totalCirculating"] = {}
    served.faults["/stablecoincharts/all"] = reply(rows)
    history = await StablecoinFlowSource(base_url=served.url).history(web, since_s=0.0, until_s=served.now_s)
    assert len(history) == 6
    assert {round(row.value) for row in history} == {100_000_000}


# Tables of the user's own


def csv_of(path: Path, **more: object) -> CsvSeries:
    fields = {"label": "flows", "where": str(path), "metric": Metric.FLOW_USD_1D, "subject": "ETF:ETH"} | more
    return CsvSeries(**fields)  # type: ignore[arg-type]


async def test_a_csv_file_is_read(tmp_path: Path, web: WebClient, served: Sources):
    path = tmp_path / "etf.csv"
    path.write_text(
        '﻿date,total\n2026-11-18,-12.5\n2026-11-19,\n2026-11-20,"1,234.5"\n2026-11-23,9\n', "utf-8"
    )
    source = csv_of(path, value_column="total", scale=1e6, hour_new_york="16:00")
    (row,) = await source.read(web, now_s=served.now_s)
    assert row.value == 1_234.5e6
    assert row.observed_at_s == at("2026-11-20T21:00:00")  # 16:00 in New York, winter
    assert row.source == "csv:flows"
    rows = await source.history(web, since_s=at("2026-11-01"), until_s=served.now_s)
    assert [item.value for item in rows] == [-12.5e6, 1_234.5e6]


async def test_json_of_a_url_is_read(web: WebClient, served: Sources):
    served.faults["/etf"] = reply(
        {
            "data": {
                "list": [["2026-11-19", "5", "BTC"], ["2026-11-20", "7", "ETH"], ["2026-11-20", "8", "BTC"]]
            }
        }
    )
    source = CsvSeries(
        label="etf", where=f"{served.url}/etf", metric=Metric.FLOW_USD_1D, subject="ETF:ETH", table="json",
        rows_at=("data", "list"), time_column="0", value_column="1", only_column="2", only_value="ETH",
    )  # fmt: skip
    (row,) = await source.read(web, now_s=served.now_s)
    assert row.value == 7.0
    assert source.base_url == f"{served.url}/etf"


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "lacks column date, value"),
        ("date,close\n2026-11-20,1\n", "lacks column value"),
        ("date,value\n", "no row that is known by now"),
        ("date,value\n2026-13-40,1\n", "row 1 date is no ISO 8601 time"),
        ("date,value\n2026-11-20,abc\n", "row 1 value is no number"),
        ("date,value\n2026-11-20,inf\n", "row 1 value is no number"),
        ("date,value\n2026-11-20\n2026-11-19,1\n", "172"),
        ("<html></html>", "a web page"),
        ("date,value\n2026-09-01,1\n", "s old, allowed 172800 s"),
    ],
)
async def test_a_table_that_cannot_be_read_is_unknown(
    tmp_path: Path, web: WebClient, served: Sources, text: str, why: str
):
    path = tmp_path / "x.csv"
    path.write_text(text, "utf-8")
    (row,) = await csv_of(path).read(web, now_s=served.now_s + 3 * DAY_S * (why == "172"))
    assert math.isnan(row.value)
    assert why in row.why_unknown


async def test_files_that_are_not_there_or_no_text(tmp_path: Path, web: WebClient, served: Sources):
    (row,) = await csv_of(tmp_path / "none.csv").read(web, now_s=served.now_s)
    assert "No such file" in row.why_unknown
    (tmp_path / "bin.csv").write_bytes(b"\xff\xfe\x00")
    (row,) = await csv_of(tmp_path / "bin.csv").read(web, now_s=served.now_s)
    assert "no UTF-8" in row.why_unknown
    (tmp_path / "x.json").write_text("{", "utf-8")
    (row,) = await csv_of(tmp_path / "x.json", table="json").read(web, now_s=served.now_s)
    assert "no JSON" in row.why_unknown


@pytest.mark.parametrize(
    "more",
    [
        {"label": ""}, {"label": "a:b"}, {"subject": ""}, {"scale": 0.0}, {"scale": math.nan},
        {"step_s": 0.0}, {"delimiter": "::"}, {"hour_new_york": "25:00"},
        {"hour_new_york": "8"}, {"every_s": 0.0},
    ],
)  # fmt: skip
def test_a_table_that_cannot_be_is_refused(more):
    with pytest.raises(ConfigError):
        csv_of(Path("x.csv"), **more)


def test_http_tables_are_refused():
    with pytest.raises(ConfigError, match="must be https"):
        csv_of(Path(), where="http://example.org/x.csv")


# Calendar


async def test_the_packaged_calendar(web: WebClient, served: Sources):
    rows = await MacroCalendar().read(web, now_s=served.now_s)
    found = {row.subject: row for row in rows}
    assert found["CPI"].value == at("2026-12-10T13:30:00")
    assert found["FOMC"].value == at("2026-12-09T19:00:00")
    for event in ("PPI", "GDP"):
        assert math.isnan(found[event].value)
        assert "name ics_url, fred_api_key or file" in found[event].why_unknown
    assert not served.asked


async def test_summer_and_winter_time(web: WebClient):
    rows = await MacroCalendar(events=("CPI", "FOMC")).read(web, now_s=at("2026-07-01"))
    assert [row.value for row in rows] == [at("2026-07-14T12:30:00"), at("2026-07-29T18:00:00")]


async def test_a_calendar_that_ended_is_unknown(web: WebClient):
    rows = await MacroCalendar(events=("CPI", "FOMC")).read(web, now_s=at("2026-12-20"))
    assert math.isnan(rows[0].value)
    assert rows[1].value == at("2027-01-27T19:00:00")


async def test_the_moment_of_a_release_is_past(web: WebClient):
    (row,) = await MacroCalendar(events=("CPI",)).read(web, now_s=at("2026-11-10T13:30:00"))
    assert row.value == at("2026-12-10T13:30:00")


def test_every_packaged_date_is_a_weekday_in_order():
    calendar = packaged()
    assert {event: len(releases) for event, releases in calendar.items()} == {
        "CPI": 10,
        "FOMC": 17,
    }
    for event, releases in calendar.items():
        times = [item.at_s for item in releases]
        assert times == sorted(times), event
        assert all(datetime.fromtimestamp(time, tz=UTC).weekday() < 5 for time in times)


async def test_a_calendar_of_the_users_own_is_added(tmp_path: Path, web: WebClient, served: Sources):
    path = tmp_path / "mine.toml"
    path.write_text('[GDP]\nhour = "08:30"\n[GDP.dates]\n2026-12-22 = "2026-Q3"\n', "utf-8")
    rows = await MacroCalendar(events=("GDP", "CPI"), file=str(path)).read(web, now_s=served.now_s)
    assert [row.value for row in rows] == [at("2026-12-22T13:30:00"), at("2026-12-10T13:30:00")]


@pytest.mark.parametrize(
    "text",
    [
        "[XYZ]\n",
        "[CPI]\nhour = 5\n",
        "[CPI.dates]\n2026-99-99 = ''\n",
        "no toml",
        "[CPI]\nhour='99:99'\n[CPI.dates]\n",
    ],
)
def test_a_wrong_calendar_refuses_to_start(tmp_path: Path, text: str):
    path = tmp_path / "mine.toml"
    path.write_text(text, "utf-8")
    with pytest.raises(ConfigError):
        MacroCalendar(file=str(path))
    with pytest.raises(ConfigError):
        MacroCalendar(file=str(tmp_path / "none.toml"))


ICS = """BEGIN:VCALENDAR\r
VERSION:2.0\r
BEGIN:VEVENT\r
DTSTART;TZID=US-Eastern:20270113T083000\r
SUMMARY:Consumer Price\r
  Index\r
END:VEVENT\r
BEGIN:VEVENT\r
DTSTART:20261217T133000Z\r
SUMMARY:Producer Price Index\r
END:VEVENT\r
BEGIN:VEVENT\r
DTSTART:20261204T133000Z\r
SUMMARY:Employment Situation\r
END:VEVENT\r
END:VCALENDAR\r
"""


async def test_the_ics_of_bls_adds_dates(web: WebClient, served: Sources):
    served.faults["/bls.ics"] = raw(ICS, kind="text/calendar")
    source = MacroCalendar(events=("CPI", "PPI"), ics_url=f"{served.url}/bls.ics")
    rows = await source.read(web, now_s=at("2026-12-11"))
    assert [row.value for row in rows] == [at("2027-01-13T13:30:00"), at("2026-12-17T13:30:00")]


async def test_a_refresh_that_fails_leaves_what_is_known(web: WebClient, served: Sources):
    served.faults["/bls.ics"] = html()
    source = MacroCalendar(events=("CPI", "GDP"), ics_url=f"{served.url}/bls.ics")
    rows = await source.read(web, now_s=served.now_s)
    assert rows[0].value == at("2026-12-10T13:30:00")
    assert "refresh failed" in rows[1].why_unknown


async def test_fred_gives_release_dates(web: WebClient, served: Sources):
    source = MacroCalendar(events=("GDP",), fred_api_key="k" * 32, fred_url=f"{served.url}/fred")
    (row,) = await source.read(web, now_s=served.now_s)
    assert row.value == at("2026-12-11T13:30:00")
    assert "kkkk" not in repr(source)


async def test_fred_is_not_asked_for_the_fomc(web: WebClient, served: Sources):
    """Its release 101 has a date on every day, so each day would be a meeting."""
    source = MacroCalendar(events=("CPI", "FOMC"), fred_api_key="k" * 32, fred_url=f"{served.url}/fred")
    rows = {row.subject: row.value for row in await source.read(web, now_s=served.now_s)}
    assert rows["FOMC"] == at("2026-12-09T19:00:00")
    assert rows["CPI"] == at("2026-12-11T13:30:00")
    (row,) = await MacroCalendar(events=("FOMC",), fred_api_key="k" * 32).read(web, now_s=at("2031-01-01"))
    assert row.why_unknown.endswith("no later FOMC release is known; name file")


async def test_history_says_what_was_next(web: WebClient):
    rows = await MacroCalendar(events=("CPI",)).history(
        web, since_s=at("2026-05-01"), until_s=at("2026-07-01")
    )
    assert [row.value for row in rows] == [
        at("2026-05-12T12:30:00"),
        at("2026-06-10T12:30:00"),
        at("2026-07-14T12:30:00"),
    ]
    assert rows[1].observed_at_s == at("2026-05-12T12:30:00")


# Prints


async def test_inflation_year_on_year(web: WebClient, served: Sources):
    source = BlsSource(base_url=f"{served.url}/publicAPI")
    rows = await source.read(web, now_s=at("2026-10-20"))
    assert [(row.subject, row.value) for row in rows] == [("CPI", 0.03), ("PPI", 0.03)]
    assert rows[0].observed_at_s == at("2026-10-14T12:30:00")  # September's figure
    assert served.asked[-1][1]["seriesid"] == ["CUUR0000SA0", "WPUFD4"]
    assert len(served.asked) == 1


async def test_the_month_that_was_never_collected_gives_no_rate(web: WebClient, served: Sources):
    row = {"year": "2026", "period": "M10", "value": "326.5"}
    data = [row, row | {"year": "2025", "value": "-"}, row | {"year": "2025", "period": "M09"}]
    served.faults["/publicAPI/v1/timeseries/data/"] = reply(
        {
            "status": "REQUEST_SUCCEEDED",
            "Results": {"series": [{"seriesID": "CUUR0000SA0", "data": data}]},
        }
    )
    (found,) = await BlsSource(events=("CPI",), base_url=f"{served.url}/publicAPI").read(
        web, now_s=served.now_s
    )
    assert math.isnan(found.value)
    assert "2026-10 has no index of a year before" in found.why_unknown


async def test_a_refused_request_says_why_without_the_key(web: WebClient, served: Sources):
    key = "0123456789abcdef"
    served.faults["/publicAPI/*"] = reply(
        {"status": "REQUEST_NOT_PROCESSED", "message": [f"threshold for key {key} reached"], "Results": {}}
    )
    rows = await BlsSource(base_url=f"{served.url}/publicAPI", api_key=key).read(web, now_s=served.now_s)
    assert all("did not answer the request" in row.why_unknown for row in rows)
    assert all(key not in row.why_unknown for row in rows)


async def test_prints_of_the_past_are_known_at_their_release(web: WebClient, served: Sources):
    source = BlsSource(events=("CPI",), base_url=f"{served.url}/publicAPI")
    rows = await source.history(web, since_s=at("2026-01-01"), until_s=at("2026-10-20"))
    times = {row.observed_at_s for row in rows}
    assert at("2026-10-14T12:30:00") in times
    assert at("2026-01-01T00:00:00") not in times
    assert len(rows) == 10  # December 2025 to September 2026
    early = await source.history(web, since_s=at("2019-01-01"), until_s=at("2019-12-31"))
    assert early[0].observed_at_s == at("2019-01-01T00:00:00") or early[0].observed_at_s == at("2019-02-01")


async def test_fred_closes_and_first_releases(web: WebClient, served: Sources):
    spx = FredSource(
        series_id="SP500",
        metric=Metric.INDEX_CLOSE,
        subject="SPX",
        api_key="x" * 32,
        base_url=f"{served.url}/fred",
    )
    (row,) = await spx.read(web, now_s=served.now_s)
    assert row.value == 6_011.5
    assert row.source == "fred:SP500"
    assert row.observed_at_s == at("2026-11-20T21:00:00")
    gdp = FredSource(
        series_id="A191RL1Q225SBEA", metric=Metric.MACRO_PRINT, subject="GDP", api_key="x" * 32, scale=0.01,
        hour_new_york="08:30", first_release=True, step_s=100 * DAY_S, base_url=f"{served.url}/fred",
    )  # fmt: skip
    (print_,) = await gdp.read(web, now_s=served.now_s)
    assert print_.value == pytest.approx(0.016)
    assert print_.observed_at_s == at("2026-10-29T12:30:00")
    assert "xxxx" not in repr(gdp)


@pytest.mark.parametrize(
    ("date", "known_at"),
    [
        ("2026-11-20", "2026-11-21T00:00:00"),
        ("20261120", "2026-11-21T00:00:00"),
        ("2026-11-20T21:00:00Z", "2026-11-20T21:00:00"),
    ],
)
async def test_a_day_is_known_when_it_has_ended(tmp_path: Path, web: WebClient, date: str, known_at: str):
    """Else a replay would see the close of a day at its first minute."""
    path = tmp_path / "vix.csv"
    path.write_text(f"date,value\n2026-11-19,17\n{date},18\n", "utf-8")
    source = csv_of(path, metric=Metric.INDEX_CLOSE, subject="VIX")
    (before,) = await source.read(web, now_s=at(known_at) - 1)
    (after,) = await source.read(web, now_s=at(known_at))
    assert (before.value, after.value) == (17.0, 18.0)
    assert after.observed_at_s == at(known_at)


@pytest.mark.parametrize(
    ("metric", "value"),
    [
        (Metric.IV_30D, "65.2"),  # percent
        (Metric.VOL_INDEX, "65.2"),
        (Metric.MACRO_PRINT, "2.8"),
        (Metric.MACRO_CONSENSUS, "2.8"),
        (Metric.FUNDING_APR, "1095"),
        (Metric.INDEX_CLOSE, "0"),
        (Metric.MARKET_CAP_USD, "-5"),
        (Metric.FEES_USD_1D, "-5"),
    ],
)
async def test_a_value_in_another_unit_is_unknown(tmp_path: Path, web: WebClient, metric: Metric, value: str):
    path = tmp_path / "series.csv"
    path.write_text(f"date,value\n2026-11-20,{value}\n", "utf-8")
    (row,) = await csv_of(path, metric=metric).read(web, now_s=at("2026-11-21"))
    assert math.isnan(row.value)
    assert "is its scale right?" in row.why_unknown
    if value in ("65.2", "2.8"):
        (right,) = await csv_of(path, metric=metric, scale=0.01).read(web, now_s=at("2026-11-21"))
        assert right.value == pytest.approx(float(value) / 100)


async def test_a_fred_print_without_its_scale_is_unknown(web: WebClient, served: Sources):
    gdp = FredSource(
        series_id="A191RL1Q225SBEA", metric=Metric.MACRO_PRINT, subject="GDP", api_key="x" * 32,
        hour_new_york="08:30", first_release=True, step_s=100 * DAY_S, base_url=f"{served.url}/fred",
    )  # fmt: skip
    (row,) = await gdp.read(web, now_s=served.now_s)
    assert math.isnan(row.value)
    assert "is its scale right?" in row.why_unknown


def test_a_print_is_known_at_its_release_and_not_at_the_start_of_its_quarter():
    with pytest.raises(ConfigError, match="a macro_print needs first_release = true"):
        FredSource(
            series_id="A191RL1Q225SBEA",
            metric=Metric.MACRO_PRINT,
            subject="GDP",
            api_key="x" * 32,
            scale=0.01,
        )


async def test_faults_of_tables_are_unknown_and_histories_raise(web: WebClient, served: Sources):
    served.faults["/*"] = html()
    sources = (
        DefiLlamaSource(protocol="aave-v3", tokens=("WETH",), base_url=served.url),
        DefiLlamaTokenSource(protocol="aave-v3", token="AAVE", base_url=served.url),
        StablecoinFlowSource(base_url=served.url),
        BlsSource(base_url=f"{served.url}/publicAPI"),
    )
    for source in sources:
        rows = await source.read(web, now_s=served.now_s)
        assert {row.key for row in rows} == set(source.series)
        assert all(math.isnan(row.value) and "a web page" in row.why_unknown for row in rows)
        with pytest.raises(TransientError):
            await source.history(web, since_s=served.now_s - DAY_S, until_s=served.now_s)


@pytest.mark.parametrize(
    "make",
    [
        lambda: DefiLlamaSource(protocol=""),
        lambda: DefiLlamaSource(protocol="x", every_s=10.0),
        lambda: DefiLlamaSource(protocol="x", tokens=("",)),
        lambda: DefiLlamaTokenSource(protocol="x", token=""),
        lambda: BlsSource(events=("GDP",)),
        lambda: BlsSource(every_s=60.0),
        lambda: FredSource(series_id="X", metric=Metric.INDEX_CLOSE, subject="X", api_key=""),
        lambda: MacroCalendar(events=("NFP",)),
        lambda: MacroCalendar(ics_url="http://www.bls.gov/x.ics"),
    ],
)
def test_what_cannot_be_is_refused(make):
    with pytest.raises(ConfigError):
        make()
