"""The engine and the benchmarks over one made-up history, and over the real one where it is there."""

import asyncio
import itertools
import json
import math
import tomllib
from dataclasses import replace
from importlib import resources
from pathlib import Path

import numpy as np
import pytest
from history_builders import START_S, DataFolder, price_at

from bot.app.backtest import backtest as app_backtest
from bot.engine.policy import parse_policy
from bot.model.hedge import LegStatus, Side
from bot.model.market import Metric, SeriesKey
from bot.model.tier import Tier
from bot.model.units import parse_utc_s
from bot.simulation.backtest import benchmarks, cut_moments, run_backtest
from bot.simulation.exposures import parse_exposure
from bot.simulation.history.tables import load_history
from bot.simulation.market.model import load_market, with_implied_vols
from bot.simulation.metrics import max_drawdown
from bot.simulation.report.data import from_backtest

DAY_S, HOUR_S = 86_400, 3_600
SPEC = parse_exposure("v2:ETH/USDC:1000000")
FROM_S, TO_S = START_S + 38 * DAY_S, START_S + 46 * DAY_S  # two calm days, two of crash, four after
STRATEGIES = ["alvh", "static_442", "pput", "vxth", "perp_delta", "unhedged"]
REAL = Path(__file__).parents[3] / "shared" / "data"


def classic():
    text = resources.files("bot.policies").joinpath("classic.toml").read_text(encoding="utf-8")
    return parse_policy(tomllib.loads(text))


def history_of(folder, *, from_s=FROM_S, to_s=TO_S):
    return load_history(folder.path, SPEC, from_s=from_s, to_s=to_s)


def backtest(folder, *, market=None, **options):
    return asyncio.run(run_backtest(history_of(folder, **options), SPEC, classic(), market or load_market()))


def closed_market():
    """Return the market in which an hour without an index has no vol."""
    market = load_market()
    return replace(market, realised=replace(market.realised, fills=False))


@pytest.fixture(scope="module")
def crash(tmp_path_factory):
    return backtest(DataFolder(path=tmp_path_factory.mktemp("history")).write_all())


def test_json_has_the_keys_and_kinds_of_the_issue(crash):
    facts = json.loads(json.dumps(crash.to_json(), allow_nan=False))
    assert list(facts["strategies"]) == STRATEGIES
    for item in facts["strategies"].values():
        assert {"final_value_usd", "max_drawdown", "cost_usd"} <= set(item)
        assert 0.0 <= item["max_drawdown"] < 1.0
    assert facts["tiers"][0]["ts"] == "2022-04-08T00:00:00Z"
    assert facts["first_elevated_ts"] is None or facts["first_elevated_ts"].endswith("Z")
    assert facts["assumptions"]
    assert facts["gaps"] == []
    assert facts["files"][0]["file"] == "eth_usdt_spot_1h_binance.csv.gz"


def test_the_position_alone_follows_the_root_of_price(crash):
    unhedged = crash.strategies["unhedged"]
    start, end = price_at(38 * 24 - 1), price_at(46 * 24 - 1)
    assert crash.spot_usd[0] == start
    assert unhedged.final_value_usd == pytest.approx(1e6 * math.sqrt(end / start))
    assert unhedged.cost_usd == 0.0
    assert unhedged.max_drawdown > 0.15


@pytest.mark.parametrize("name", STRATEGIES)
def test_cost_is_what_the_account_has_less_than_unhedged(crash, name):
    item, alone = crash.strategies[name], crash.strategies["unhedged"]
    assert item.cost_usd == pytest.approx(alone.final_value_usd - item.final_value_usd)


@pytest.mark.parametrize("name", STRATEGIES[:-2])
def test_cash_is_the_sum_of_the_orders(crash, name):
    item = crash.strategies[name]
    filled = [outcome for outcome in item.outcomes if outcome.status is LegStatus.FILLED]
    cash = sum(
        (-1.0 if outcome.leg.side is Side.BUY else 1.0) * outcome.premium_usd - outcome.gas_usd
        for outcome in filled
    )
    assert filled
    assert item.cash_usd[-1] == pytest.approx(cash)


@pytest.mark.parametrize("name", ["alvh", "static_442", "pput"])
def test_a_hedge_makes_the_crash_smaller(crash, name):
    assert crash.strategies[name].max_drawdown < crash.strategies["unhedged"].max_drawdown


def test_buying_costs_the_spread_and_gas_at_once_and_no_more(crash):
    item = crash.strategies["pput"]
    buy = item.outcomes[0]
    assert item.value_usd[0] - 1e6 == pytest.approx(-(2.0 * buy.fee_usd + 10.0))


def test_tiers_rise_in_the_crash(crash):
    assert crash.tiers[0].tier is Tier.CALM
    assert max(item.tier for item in crash.tiers) > Tier.CALM
    assert min(item.at_s for item in crash.tiers if item.tier > Tier.CALM) >= START_S + 40 * DAY_S


def test_decisions_do_not_know_the_future(folder, crash):
    short = backtest(folder, to_s=START_S + 42 * DAY_S)
    known = short.times_s.size
    assert short.times_s[-1] == START_S + 42 * DAY_S
    for name in STRATEGIES:
        np.testing.assert_array_equal(
            short.strategies[name].value_usd, crash.strategies[name].value_usd[:known]
        )
    assert [item.decision for item in short.records] == [item.decision for item in crash.records[:known]]


def test_the_delta_hedge_keeps_its_margin_and_takes_most_of_the_fall(crash):
    """R26: what is left of the fall is the LP's curvature and what was not set anew inside the band."""
    item, alone = crash.strategies["perp_delta"], crash.strategies["unhedged"]
    assert item.max_drawdown < 0.2 * alone.max_drawdown
    assert all(outcome.status is LegStatus.FILLED for outcome in item.perpetuals)
    costs_usd = sum(outcome.fee_usd + outcome.gas_usd for outcome in item.perpetuals)
    gains_usd = item.cash_usd[-1] + item.perpetual_usd[-1]
    assert item.value_usd[-1] == pytest.approx(alone.value_usd[-1] + gains_usd)
    assert 0.0 < costs_usd < gains_usd


def test_the_same_history_gives_the_same_json(folder, crash):
    assert json.dumps(backtest(folder).to_json()) == json.dumps(crash.to_json())


def test_a_day_without_index_trades_nothing_and_leaves_values_unknown(folder):
    folder.dropped = {"btc_dvol_1h_deribit": set(range(40 * 24, 41 * 24))}
    folder.write_all()
    result = backtest(folder, to_s=START_S + 42 * DAY_S, market=closed_market())
    blind = (result.times_s > START_S + 40 * DAY_S + 2 * HOUR_S) & (result.times_s <= START_S + 41 * DAY_S)
    for name in ("static_442", "pput"):
        item = result.strategies[name]
        assert np.isnan(item.value_usd[blind]).all()
        assert math.isfinite(item.max_drawdown)
        times = {outcome.at_s for outcome in item.outcomes if outcome.leg.side is not Side.SETTLE}
        assert not times & set(result.times_s[blind])
    assert not {item.at_s for item in result.strategies["alvh"].outcomes} & set(result.times_s[blind])
    assert [item.missing_rows for item in result.gaps] == [24]


def test_a_fall_in_hours_that_a_hedge_has_no_price_in_is_no_fall_that_it_took_off(folder):
    """The crash of day 40 to 42 is unknown to every option: the LP's part of it stands beside nothing."""
    folder.dropped = {"btc_dvol_1h_deribit": set(range(39 * 24 + 20, 60 * 24))}
    folder.write_all()
    result = backtest(folder, to_s=START_S + 43 * DAY_S, market=closed_market())
    assert max_drawdown(result.position_usd) > 0.1
    alone = result.strategies["unhedged"].max_drawdown
    assert alone < 0.05
    assert result.strategies["pput"].max_drawdown == pytest.approx(alone, rel=0.5)
    report = from_backtest(result)
    assert (report.unhedged_drawdown, report.hedged_drawdown) == (
        alone,
        result.strategies["alvh"].max_drawdown,
    )
    assert any(line.startswith("values: in ") and "a hedge has no price" in line for line in result.missing)


def test_a_range_that_ends_without_an_index_is_valued_at_its_last_known_hour(folder):
    folder.dropped = {"btc_dvol_1h_deribit": set(range(42 * 24, 60 * 24))}
    folder.write_all()
    result = backtest(folder, to_s=START_S + 43 * DAY_S, market=closed_market())
    item = result.strategies["pput"]
    assert item.final_s < result.times_s[-1]
    assert math.isfinite(item.final_value_usd)


def test_hours_without_a_price_are_not_there(folder):
    folder.dropped = {"eth_usdt_spot_1h_binance": set(range(39 * 24, 39 * 24 + 5))}
    folder.write_all()
    moments = tuple(cut_moments(with_implied_vols(history_of(folder), load_market()), SPEC))
    times_s = [item.now_s for item in moments]
    assert len(times_s) == 8 * 24 + 1 - 5
    assert START_S + 39 * DAY_S in times_s
    assert START_S + 39 * DAY_S + HOUR_S not in times_s


def test_a_moment_holds_nothing_from_after_it(folder):
    moments = tuple(cut_moments(with_implied_vols(history_of(folder), load_market()), SPEC))
    for moment in (moments[0], moments[100], moments[-1]):
        for column in moment.columns.series.values():
            assert column.times_s[-1] <= moment.now_s


def test_a_source_that_has_ended_is_absent_a_day_later(folder):
    key = SeriesKey(Metric.POOL_DEPTH_USD, "v3:USDC/USDT", "pool")
    folder.dropped = {"uniswapv3_usdc_usdt_1h": set(range(40 * 24, 60 * 24))}
    folder.write_all()
    moments = tuple(cut_moments(with_implied_vols(history_of(folder), load_market()), SPEC))
    last_s = max(item.now_s for item in moments if key in item.columns.series)
    assert last_s == START_S + 41 * DAY_S - HOUR_S


def test_fees_accrue_on_the_value_where_the_market_says_so(folder):
    priced = with_implied_vols(history_of(folder, to_s=START_S + 39 * DAY_S), load_market())
    *_, last = cut_moments(priced, SPEC, fee_apr=0.365)
    (exposure,) = last.exposures
    assert exposure.fees_uncollected_usd == pytest.approx(1_000.0, rel=0.02)  # a day at 0.1 % a day
    assert exposure.fee_income_30d_usd == pytest.approx(0.03 * exposure.value_usd)


def test_the_static_benchmark_reads_the_paths_of_the_policy():
    sizing = classic().sizing
    static, *_ = benchmarks(classic())
    assert (static.history_days, static.horizon_days, static.confidence) == (
        sizing.history_days,
        sizing.horizon_days,
        sizing.confidence,
    )


def test_a_day_without_index_is_priced_by_realised_vols_where_the_market_says_so(folder):
    folder.dropped = {"btc_dvol_1h_deribit": set(range(40 * 24, 41 * 24))}
    folder.write_all()
    result = backtest(folder, to_s=START_S + 42 * DAY_S)
    assert all(np.isfinite(item.value_usd).all() for item in result.strategies.values())
    assert [item.missing_rows for item in result.gaps] == [24]  # it is named all the same


@pytest.mark.data
@pytest.mark.skipif(not REAL.is_dir(), reason=f"the real history is not at {REAL}")
def test_terra_on_the_real_history():
    from_s, to_s = (parse_utc_s(day, field="day") for day in ("2022-05-03", "2022-05-15"))
    history = load_history(REAL, SPEC, from_s=from_s, to_s=to_s)
    result = asyncio.run(run_backtest(history, SPEC, classic(), load_market()))
    alone = result.strategies["unhedged"]
    # ETH closed at 2 856.54 on 05-02 and 2 056.48 on 05-14 (Binance): the root of the ratio, by hand
    assert alone.final_value_usd == pytest.approx(848_481, rel=1e-6)
    assert alone.max_drawdown == pytest.approx(0.2120, abs=1e-4)
    for name in ("alvh", "static_442", "pput", "vxth"):
        assert result.strategies[name].max_drawdown < alone.max_drawdown
        assert result.strategies[name].final_s == to_s
    assert math.isfinite(result.first_elevated_s)
    assert parse_utc_s("2022-05-07", field="day") < result.first_elevated_s < to_s
    assert [item.file for item in result.gaps] == ["btc_dvol_1h_deribit.csv.gz"]


@pytest.mark.data
@pytest.mark.skipif(not REAL.is_dir(), reason=f"the real history is not at {REAL}")
async def test_the_program_draws_paths_from_the_policys_four_years():
    """R8: 1 461 daily closes are asked for, over twice what the least look-back has."""
    result = await app_backtest(
        data=REAL,
        start="2022-04-20",
        end="2022-04-20",
        exposure="v2:ETH/USDC:1000000",
        policy="classic",
        market=None,
        report=None,
    )
    (sized,) = [item for item in result.records[0].decision.groups[0].findings if item.rule == "R8"]
    assert "from 1,437 daily returns" in sized.because


def test_a_series_without_a_new_row_is_the_same_object_in_the_next_hour(folder):
    history = with_implied_vols(history_of(folder), load_market())
    moments = tuple(cut_moments(history, SPEC))
    kept = 0
    for before, after in itertools.pairwise(moments):
        for key, column in after.columns.series.items():
            whole = history.columns.series[key].until(after.now_s)  # what is seen is all that was observed
            assert column.times_s.tobytes() == whole.times_s.tobytes()
            assert column.values.tobytes() == whole.values.tobytes()
            then = before.columns.series.get(key)
            if then is not None and then.times_s.size == column.times_s.size:
                assert then is column
                kept += 1
    assert kept
