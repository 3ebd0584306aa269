"""Where the whole history begins and ends, and the lines on rows that are not used as they stand."""

from history_builders import HOURS, START_S

from bot.simulation.exposures import parse_exposure
from bot.simulation.history.span import data_problems, history_span

HOUR_S, DAY_S = 3_600, 86_400
SPEC = parse_exposure("v2:ETH/USDC:1000000")
SPOT = "eth_usdt_spot_1h_binance"


def test_a_short_history_begins_with_its_first_hour(folder):
    assert history_span(folder.path, SPEC) == (START_S, START_S + HOURS * HOUR_S)


def test_a_long_one_begins_a_month_after_its_first_price(folder):
    folder.hours = 61 * 24
    folder.write_all()
    assert history_span(folder.path, SPEC)[0] == START_S + 30 * DAY_S


def test_it_begins_with_the_perpetuals_funding_where_there_is_any(folder):
    lines = folder.lines("perp_funding_multi")
    folder.rewrite("perp_funding_multi", [lines[0], *lines[1 + 4 * 3 * 5 :]])  # 4 rows an 8 hours, 5 days
    assert history_span(folder.path, SPEC)[0] == START_S + 5 * DAY_S
    folder.remove("perp_funding_multi")
    assert history_span(folder.path, SPEC)[0] == START_S


def test_every_kind_of_bad_row_is_one_line(folder):
    lines = folder.lines(SPOT)
    lines[20], lines[21] = lines[21], lines[20]
    lines[30] = lines[29]
    close = lines[40].split(",")[4]
    lines[40] = lines[40].replace(close, "-5")
    folder.rewrite(SPOT, lines)
    found = data_problems(folder.path, SPEC, lookback_s=420 * DAY_S)
    assert found == (
        f"{SPOT}.csv.gz: 1 row with close that is not a number over 0, first at line 41",
        f"{SPOT}.csv.gz: 1 row with a time before the row above, sorted, first at line 22",
        f"{SPOT}.csv.gz: 1 row with a time that an earlier row has, first at line 31",
    )


def test_a_hole_longer_than_the_look_back_is_one_line(folder):
    folder.dropped = {SPOT: set(range(10 * 24, 25 * 24))}
    folder.write_all()
    (found,) = data_problems(folder.path, SPEC, lookback_s=10 * DAY_S)
    assert "no rows for 15 days between 2022-03-10T23:59:59Z and 2022-03-26T00:59:59Z" in found
    assert "longer than the look-back of 10 days" in found
    assert data_problems(folder.path, SPEC, lookback_s=16 * DAY_S) == ()
