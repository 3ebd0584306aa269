"""The loader fills nothing and drops nothing silently."""

import gzip
import math
import tomllib
from importlib import resources

import numpy as np
import pytest
from history_builders import HOUR_S, START_S, price_at, stamp

from bot.engine.policy import parse_policy
from bot.errors import ConfigError
from bot.model.market import Metric, SeriesKey
from bot.model.tier import Quality
from bot.signals import SIGNALS
from bot.signals.drawdown_speed import DrawdownSpeed
from bot.simulation.exposures import parse_exposure
from bot.simulation.history.files import tables_for
from bot.simulation.history.tables import load_history, lookback_for, read_rows

SPEC = parse_exposure("v2:ETH/USDC:1000000")
SPOT, DVOL, POOL = "eth_usdt_spot_1h_binance", "btc_dvol_1h_deribit", "uniswapv3_usdc_usdt_1h"
DAY_S = 86_400
FROM_S, TO_S = START_S + 35 * DAY_S, START_S + 50 * DAY_S


def classic_signals():
    text = resources.files("bot.policies").joinpath("classic.toml").read_text(encoding="utf-8")
    return parse_policy(tomllib.loads(text)).signals


def day_stamp(day):
    return stamp(START_S + day * DAY_S)[:10]


def load(folder, *, from_s=FROM_S, to_s=TO_S):
    return load_history(folder.path, SPEC, from_s=from_s, to_s=to_s)


def test_an_hourly_row_is_known_a_second_before_its_hour_ends(folder):
    price = load(folder).price
    assert price.times_s[0] == START_S + HOUR_S - 1
    assert price.values[5] == price_at(5)
    assert price.times_s[-1] == TO_S - 1


@pytest.mark.parametrize(("history_days", "days"), [(30, 420), (418, 420), (1461, 1463)])
def test_the_look_back_holds_the_daily_closes_of_the_policy(history_days, days):
    assert lookback_for(history_days) == days * DAY_S


def test_the_look_back_cuts_what_is_older(folder):
    history = load_history(folder.path, SPEC, from_s=FROM_S, to_s=TO_S, lookback_s=5 * DAY_S)
    assert history.price.times_s[0] == FROM_S - 5 * DAY_S + HOUR_S - 1


def test_one_exchange_is_not_sold_as_two_sources():
    (perpetual,) = [item for item in tables_for(SPEC) if "perpetual price" in item.what]
    assert "R2 cannot fire" in perpetual.what


def test_funding_is_a_yearly_rate_of_the_right_exchange_and_asset(folder):
    column = load(folder).columns[SeriesKey(Metric.FUNDING_APR, "ETH", "binance")]
    np.testing.assert_allclose(column.values, 1e-4 * 3 * 365)
    assert column.times_s[1] - column.times_s[0] == 8 * HOUR_S


def test_the_stable_pool_gives_price_and_depth_at_the_start_of_the_hour(folder):
    columns = load(folder).columns
    price = columns[SeriesKey(Metric.POOL_PRICE_USD, "v3:USDC/USDT", "pool")]
    depth = columns[SeriesKey(Metric.POOL_DEPTH_USD, "v3:USDC/USDT", "pool")]
    np.testing.assert_allclose(price.values[:3], [1 / 1.0001, 1.0, 1.0001])
    assert price.times_s[0] == START_S
    # 5e17 of liquidity in 6-decimal units: 5e17 x (sqrt(1.02) - 1) / 1e6 USD
    assert depth.values[0] == pytest.approx(4.975247e9, rel=1e-5)


def test_one_pools_spot_is_no_price_of_a_stable(folder):
    """S4 and S6 of one pool would be one source that votes twice (R1); S5 wants two kinds of sources."""
    columns = load(folder).columns
    for name in ("S5", "S6"):
        readings = SIGNALS[name].read(columns, now_s=TO_S, policy=classic_signals())
        assert [item.quality for item in readings] == [Quality.ABSENT]


def test_the_index_is_a_fraction_and_bitcoins_own(folder):
    history = load(folder)
    assert history.vol_index.values[0] == pytest.approx(0.60)
    assert history.columns.find(Metric.VOL_INDEX) == (SeriesKey(Metric.VOL_INDEX, "BTC", "deribit"),)


def test_the_index_of_bitcoin_is_not_two_sources_where_bitcoin_is_hedged(folder):
    folder.write_prices("btc")
    spec = parse_exposure("v2:BTC/USDC:1000000")
    history = load_history(folder.path, spec, from_s=FROM_S, to_s=TO_S)
    assert history.vol_index.values.size
    assert not history.columns.find(Metric.VOL_INDEX)  # the model's stands for it


def test_the_speed_of_bitcoin_has_its_price_and_vol(folder):
    """S24 of BTC, one of the five fast scores (R1), reads both."""
    folder.write_prices("btc")
    columns = load(folder).columns
    (reading,) = [
        item
        for item in DrawdownSpeed().read(columns, now_s=TO_S, policy=classic_signals())
        if item.subject == "BTC"
    ]
    assert reading.quality is Quality.LIVE
    assert load(folder).columns.find(Metric.FUNDING_APR, "BTC")


def test_issuance_is_the_change_of_a_day_known_after_it(folder):
    days = [(day_stamp(d), 70e9 + 1e8 * d, 40e9, 10e9 - 3e7 * d) for d in range(60) if d not in (30, 31)]
    folder.write("stablecoin_mcap_daily", ("ts", "usdt_mcap", "usdc_mcap", "busd_mcap"), days)
    flow = load(folder).columns[SeriesKey(Metric.FLOW_USD_1D, "stablecoins", "market-value")]
    assert flow.times_s[0] == START_S + DAY_S  # the row of the first day, when that day is over
    assert math.isnan(flow.values[0])
    np.testing.assert_allclose(flow.values[1:30], 7e7)
    assert math.isnan(flow.values[30])  # over three days: no day's flow
    assert flow.values[31] == pytest.approx(7e7)


def test_index_closes_are_known_after_new_york_and_blank_days_are_no_bad_rows(folder):
    days = [(day_stamp(d), 20.0 + d, "" if d == 36 else 400.0 + d) for d in range(60)]
    folder.write("vix_spx_daily", ("ts", "vix_close", "spy_close"), days)
    history = load(folder)
    spx = history.columns[SeriesKey(Metric.INDEX_CLOSE, "SPX", "daily-close")]
    vix = history.columns[SeriesKey(Metric.INDEX_CLOSE, "VIX", "daily-close")]
    assert spx.times_s[0] == START_S + 21 * HOUR_S
    assert spx.values[0] == pytest.approx(4000.0)
    assert vix.values.size == spx.values.size + 1
    assert all(not item.bad_rows for item in history.found)


def test_a_calendar_names_the_next_release_and_no_figure(folder):
    rows = [(stamp(START_S + d * DAY_S), event) for d in (10, 40, 70) for event in ("cpi", "fomc_minutes")]
    folder.write(
        "macro_events_us", ("ts", "event"), [*rows, (stamp(START_S + 20 * DAY_S), "fomc_intermeeting")]
    )
    columns = load(folder).columns
    dates = columns[SeriesKey(Metric.MACRO_RELEASE_S, "CPI", "calendar")]
    assert dates.times_s.tolist() == [START_S + 10 * DAY_S, START_S + 40 * DAY_S]
    assert dates.values.tolist() == [START_S + 40 * DAY_S, START_S + 70 * DAY_S]
    assert not columns.find(Metric.MACRO_RELEASE_S, "FOMC")  # minutes and unscheduled moves are none
    assert not columns.find(Metric.MACRO_PRINT)


def test_the_calendar_before_a_short_range_stands_in_it(folder):
    """A release is known since the one before it: a range of two days without one has a calendar too."""
    rows = [(stamp(START_S + day * DAY_S), "cpi") for day in (10, 40, 70)]
    folder.write("macro_events_us", ("ts", "event"), rows)
    history = load(folder, from_s=START_S + 44 * DAY_S, to_s=START_S + 46 * DAY_S)
    release_s, known_s = history.columns.latest(Metric.MACRO_RELEASE_S, "CPI")
    assert (release_s, known_s) == (START_S + 70 * DAY_S, START_S + 40 * DAY_S)
    assert not any("CPI" in line for line in history.missing)


def test_what_is_optional_and_not_there_is_named(folder):
    folder.remove("perp_funding_multi")
    history = load(folder)
    assert any("perp_funding_multi" in item and "S10" in item for item in history.missing)
    assert not history.columns.find(Metric.FUNDING_APR)


@pytest.mark.parametrize("name", [SPOT, DVOL])
def test_a_required_file_that_is_not_there_is_refused_by_name_and_folder(folder, name):
    folder.remove(name)
    with pytest.raises(ConfigError, match=name) as error:
        load(folder)
    assert str(folder.path) in str(error.value)


def test_a_folder_that_is_not_there_is_refused(folder):
    with pytest.raises(ConfigError, match="--data"):
        load_history(folder.path / "nowhere", SPEC, from_s=FROM_S, to_s=TO_S)


def test_from_must_be_before_to(folder):
    with pytest.raises(ConfigError, match="--from must be at least an hour before --to"):
        load(folder, from_s=TO_S, to_s=FROM_S)


def test_a_range_without_prices_is_refused_and_told_what_there_is(folder):
    with pytest.raises(ConfigError, match="has no rows from 2030") as error:
        load(folder, from_s=START_S + 3_000 * DAY_S, to_s=START_S + 3_010 * DAY_S)
    assert stamp(START_S + HOUR_S - 1) in str(error.value)


def test_a_lacking_column_is_refused_and_told_what_there_is(folder):
    lines = folder.lines(SPOT)
    folder.rewrite(SPOT, [lines[0].replace("close", "last"), *lines[1:]])
    with pytest.raises(ConfigError, match="lacks column close"):
        load(folder)


def test_a_truncated_file_is_refused(folder):
    path = folder.path / f"{SPOT}.csv.gz"
    path.write_bytes(path.read_bytes()[:-400])
    with pytest.raises(ConfigError, match="cannot be read"):
        load(folder)


def test_a_file_that_is_not_gzip_is_refused(folder):
    (folder.path / f"{SPOT}.csv.gz").write_bytes(b"ts,close\n")
    with pytest.raises(ConfigError, match="cannot be read"):
        load(folder)


def test_an_empty_file_is_refused(folder):
    (folder.path / f"{SPOT}.csv.gz").write_bytes(gzip.compress(b""))
    with pytest.raises(ConfigError, match="cannot be read"):
        load(folder)


def test_a_quotation_mark_that_is_never_closed_is_refused(folder):
    """It would hide every row after it; one that is closed hides nothing."""
    lines = folder.lines(SPOT)
    folder.rewrite(SPOT, [*lines[:50], f'"{lines[50]}', *lines[51:]])
    with pytest.raises(ConfigError, match="a quotation mark is never closed"):
        load(folder)
    stamp, _, rest = lines[50].partition(",")
    folder.rewrite(SPOT, [*lines[:50], f'"{stamp}",{rest}', *lines[51:60], f"{lines[60]},1", *lines[61:]])
    assert load(folder).found[0].bad_rows == ("1 row with too many fields",)


def test_a_price_file_without_a_usable_row_says_why(folder):
    lines = folder.lines(SPOT)
    rows = [line.split(",") for line in lines[1:]]
    folder.rewrite(SPOT, [lines[0], *(",".join([*row[:4], f"-{row[4]}", *row[5:]]) for row in rows)])
    words = r"has no usable row: 1440 rows with close that is not a number over 0, first at line 2; fetch"
    with pytest.raises(ConfigError, match=words):
        load(folder)


def test_bad_rows_are_counted_named_and_left_out(folder):
    lines = folder.lines(SPOT)
    lines[10] = lines[10].replace(str(price_at(9)), "nan")
    lines[11] = lines[11].replace(str(price_at(10)), "-1")
    lines[12] = "yesterday" + lines[12][20:]
    lines[13] = lines[13][:21]  # a short row: the close is missing
    lines[14] = lines[14] + ",1,2,3"  # a long row
    lines[16] = lines[15]  # a repeated hour
    folder.rewrite(SPOT, lines)
    history = load(folder)
    report = history.found[0]
    assert report.bad_rows == (
        "1 row with too many fields",
        "1 row with a time that is not ISO 8601, first at line 13",
        "3 rows with close that is not a number over 0, first at line 11",
        "1 row with a time that an earlier row has, first at line 16",
    )
    assert history.price.times_s.size == 50 * 24 - 6
    assert np.isfinite(history.price.values).all()


def test_rows_out_of_order_are_sorted(folder):
    lines = folder.lines(SPOT)
    folder.rewrite(SPOT, [lines[0], *reversed(lines[1:])])
    history = load(folder)
    assert (np.diff(history.price.times_s) == HOUR_S).all()
    assert history.found[0].bad_rows == (
        "1439 rows with a time before the row above, sorted, first at line 3",
    )


def test_of_two_closes_of_one_hour_the_last_stays_and_the_other_is_named(folder):
    """An hour has one price: a second one would be a second moment at the same time."""
    lines = folder.lines(SPOT)
    late = lines[41 * 24].replace(":00:00Z", ":00:20Z").replace(str(price_at(41 * 24 - 1)), "1.0")
    folder.rewrite(SPOT, [*lines[: 41 * 24 + 1], late, *lines[41 * 24 + 1 :]])
    history = load(folder)
    assert history.found[0].bad_rows == ("1 row with an hour that a later row has, first at line 986",)
    assert history.price.times_s.size == 50 * 24
    assert history.price.values.min() > 1_000.0


def test_a_gap_in_the_range_is_named_with_its_rows(folder):
    folder.dropped = {DVOL: set(range(40 * 24, 41 * 24))}
    folder.write_all()
    gaps = [item for item in load(folder).gaps if item.in_range]
    assert [(item.file, item.missing_rows) for item in gaps] == [(f"{DVOL}.csv.gz", 24)]
    assert gaps[0].from_s == START_S + 40 * DAY_S - 1
    assert "24 rows missing between 2022-04-09T23:59:59Z" in str(gaps[0])


def test_a_gap_before_the_range_is_kept_apart(folder):
    folder.dropped = {SPOT: set(range(100, 110))}
    folder.write_all()
    assert [(item.missing_rows, item.in_range) for item in load(folder).gaps] == [(10, False)]


def test_a_file_that_ends_inside_the_range_has_a_gap_to_its_end(folder):
    folder.dropped = {POOL: set(range(45 * 24, 60 * 24))}
    folder.write_all()
    history = load(folder)
    gaps = [item for item in history.gaps if item.in_range]
    assert [(item.file, round(item.missing_rows / 24)) for item in gaps] == [(f"{POOL}.csv.gz", 5)]
    assert (
        history.ends_s[SeriesKey(Metric.POOL_DEPTH_USD, "v3:USDC/USDT", "pool")]
        == START_S + 45 * DAY_S - HOUR_S
    )


def test_a_file_without_rows_in_the_range_is_named_and_not_used(folder):
    folder.dropped = {POOL: set(range(20 * 24, 60 * 24))}
    folder.write_all()
    history = load(folder)
    report = next(item for item in history.found if item.file.startswith(POOL))
    assert report.note.startswith("no rows in the range, not used")
    assert f"{report.file}: {report.note}" in history.missing
    assert not history.columns.find(Metric.POOL_DEPTH_USD)


def test_a_full_range_has_no_gap(folder):
    assert load(folder).gaps == ()


def test_a_file_that_changed_is_read_anew(folder):
    """Files are kept once read; a download that replaces one must be seen."""
    table = tables_for(SPEC)[0]
    path = folder.path / f"{table.file}.csv.gz"
    rows, _ = read_rows(path, table)
    again, _ = read_rows(path, table)
    assert again["close"] is rows["close"]
    with pytest.raises(ValueError, match="read-only"):
        rows["close"][0] = 1.0
    folder.rewrite(table.file, folder.lines(table.file)[:-24])
    shorter, _ = read_rows(path, table)
    assert shorter["close"].size == rows["close"].size - 24
