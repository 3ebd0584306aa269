"""R8: paths of several groups on the same dates, tokens by beta, and what no option may stand in for."""

import math
from dataclasses import replace

import numpy as np
import pytest
from engine.factory import (
    FEED,
    GROUP,
    NOW_S,
    SPOT,
    board,
    calm_columns,
    classic,
    context,
    exposure,
    frame,
    held,
    option,
)

from bot.engine.choose import choose
from bot.engine.group import group_contracts, read_group
from bot.engine.group_paths import group_paths
from bot.engine.layers import open_layers, plan_layers
from bot.engine.sizing import size_group
from bot.engine.step import decide
from bot.model.hedge import Layer
from bot.model.market import Column, Metric, SeriesKey
from bot.model.record import EngineState, GroupState
from bot.model.tier import Tier
from bot.model.units import DAY_S
from bot.quant.bars import closed_bars
from bot.quant.joint_paths import BETA_RESIDUAL, Asset, joint_paths
from bot.quant.var import EWMA_STUDENT, FILTERED_HISTORICAL, spot_paths

POLICY = classic()
DAYS = 500
BTC = SeriesKey(Metric.PRICE_USD, "BTC", "chainlink:btc")
UNI = SeriesKey(Metric.PRICE_USD, "UNI", "pool")
RNG = np.random.default_rng(5)
ETH_RETURNS = 0.03 * RNG.standard_normal(DAYS)
BTC_RETURNS = 0.7 * ETH_RETURNS + 0.015 * RNG.standard_normal(DAYS)
NOISE = RNG.standard_normal(DAYS)


def closes(returns, last):
    path = np.exp(np.cumsum(returns))
    return last * path / path[-1]


def daily(values):
    times_s = NOW_S - 1.0 - DAY_S * np.arange(values.size - 1, -1, -1.0)
    return Column(times_s=times_s, values=np.asarray(values, dtype=np.float64))


ETH_DAILY, BTC_DAILY = daily(closes(ETH_RETURNS, SPOT)), daily(closes(BTC_RETURNS, 40_000.0))


def uni_daily(noise):
    """A token with beta 1.5 to ETH and residuals of this daily deviation."""
    return daily(closes(1.5 * ETH_RETURNS + noise * NOISE, 8.0))


def of(underlying, *, spot, **changes):
    at = exposure(spot=spot, id=underlying, underlying=underlying, pool=f"v2:{underlying}/USDC", **changes)
    return replace(at, spot_usd=spot)


BTC_LP, UNI_LP = of("BTC", spot=40_000.0), of("UNI", spot=8.0)


def at_frame(columns, *exposures, **changes):
    return frame(calm_columns() | columns, exposures=exposures, **changes)


def bars(column):
    return closed_bars(column, bar_s=DAY_S, now_s=NOW_S, count=POLICY.sizing.history_days)


def test_r8_eth_alone_is_drawn_from_its_own_history_bit_for_bit():
    alone = at_frame({FEED: ETH_DAILY}, exposure())
    beside = at_frame({FEED: ETH_DAILY, BTC: BTC_DAILY}, exposure())  # BTC is priced, nothing is in it
    own = spot_paths(bars(ETH_DAILY).close, spot=1.0, horizon_days=10)
    for at in (alone, beside):
        group = read_group(POLICY, at, GROUP)
        assert np.array_equal(group.paths, group.spot_usd * own.spots)
        assert (group.hedged_by, group.beta, group.basis, group.unhedged) == ("ETH", 1.0, "", "")
        assert group.var_method == FILTERED_HISTORICAL


def test_r8_eth_and_btc_use_the_same_dates():
    holes = BTC_DAILY.values.copy()
    holes[[60, 200, 201, 202, 330]] = np.nan
    at = at_frame({FEED: ETH_DAILY, BTC: daily(holes)}, exposure(), BTC_LP)
    assets = {
        name: Asset(daily_close=bars(column).close, spot=1.0)
        for name, column in (("ETH", ETH_DAILY), ("BTC", daily(holes)))
    }
    both = joint_paths(assets, horizon_days=10)
    eth, btc = (read_group(POLICY, at, name) for name in (GROUP, "BTC/USDC"))
    assert eth.paths.shape == btc.paths.shape
    assert np.array_equal(eth.paths, eth.spot_usd * both["ETH"].spots)
    assert np.array_equal(btc.paths, btc.spot_usd * both["BTC"].spots)
    ends = [np.log(group.paths[:, -1] / group.spot_usd) for group in (eth, btc)]
    assert np.corrcoef(*ends)[0, 1] > 0.7


def test_r8_a_token_is_hedged_by_its_beta():
    at = at_frame({FEED: ETH_DAILY, BTC: BTC_DAILY, UNI: uni_daily(0.01)}, UNI_LP, quotes=board())
    group = read_group(POLICY, at, "UNI/USDC")
    assert (group.underlying, group.hedged_by, group.unhedged) == ("UNI", "ETH", "")
    assert group.beta == pytest.approx(1.5, abs=0.15)
    assert "hedged by options on ETH: beta 1." in group.basis
    assert group.var_method == BETA_RESIDUAL
    assert group.spot_usd == pytest.approx(SPOT)
    assert group.value_usd == pytest.approx(1e6)
    fall = group.spot_usd * 0.9  # a v2 position in a token that falls by 0.9 ** beta
    assert group.loss_at(np.array([fall]))[0] == pytest.approx(1e6 * (1.0 - 0.9 ** (group.beta / 2)))
    rows = np.corrcoef(group.losses_usd, group.paths[:, -1])[0, 1]
    assert rows < -0.7  # it loses on the rows on which ETH falls


def test_r8_options_on_another_underlying_remove_the_share():
    at = at_frame({FEED: ETH_DAILY, UNI: uni_daily(0.01)}, UNI_LP, quotes=board())
    group = read_group(POLICY, at, "UNI/USDC")
    plans, _, _ = plan_layers(POLICY, context(POLICY, state=GroupState(tier=Tier.SEVERE)), force=True)
    choices = choose(POLICY, group, open_layers(Tier.SEVERE), at.quotes)
    sizing = size_group(POLICY, group, Tier.SEVERE, plans, choices)
    assert sizing.reached == pytest.approx(0.25, abs=1e-6)
    assert {target.choice.quote.instrument.underlying for target in sizing.targets.values()} == {"ETH"}
    assert "hedged by options on ETH" in sizing.finding.because


def test_r8_under_the_least_r_squared_all_of_it_is_basis_risk():
    at = at_frame({FEED: ETH_DAILY, BTC: BTC_DAILY, UNI: uni_daily(0.2)}, UNI_LP, quotes=board())
    group = read_group(POLICY, at, "UNI/USDC")
    assert "basis risk" in group.unhedged
    assert "under 0.5" in group.unhedged
    _, decision = decide(POLICY, EngineState(), at)
    (found,) = decision.groups
    assert not decision.plan.legs
    assert any("basis risk" in item.reason and item.missing == 1.0 for item in found.shortfalls)
    assert found.var_usd > 0.0
    loose = classic(sizing={"factors": {"assets": ["ETH", "BTC"], "window_days": 90, "min_r_squared": 0.0}})
    assert read_group(loose, at, "UNI/USDC").unhedged == ""


def test_r8_a_token_with_listed_options_of_its_own_needs_no_other():
    own = tuple(
        replace(item, instrument=replace(item.instrument, underlying="UNI")) for item in board(spot=SPOT)
    )
    at = at_frame({FEED: ETH_DAILY, UNI: uni_daily(0.2)}, UNI_LP, quotes=own)
    group = read_group(POLICY, at, "UNI/USDC")
    assert (group.hedged_by, group.unhedged, group.basis) == ("UNI", "", "")
    assert group.spot_usd == 8.0


@pytest.mark.parametrize("noise", [0.01, 0.2])
def test_r8_held_legs_keep_their_underlying(noise):
    """Legs bought on ETH are counted on ETH's paths, though R^2 fell or the token's own are quoted now."""
    leg = held(option(1_800, 30), Layer.MID, 1.0, group="UNI/USDC")
    own = tuple(replace(item, instrument=replace(item.instrument, underlying="UNI")) for item in board())
    columns = {FEED: ETH_DAILY, BTC: BTC_DAILY, UNI: uni_daily(noise)}
    group = read_group(POLICY, at_frame(columns, UNI_LP, quotes=own, held=(leg,)), "UNI/USDC")
    assert group.hedged_by == "ETH"
    assert bool(group.unhedged) is (noise == 0.2)
    gains = group_contracts(group, [(leg.instrument, leg.iv)]).path_gains(group.paths)
    assert np.isfinite(gains).all()
    other = replace(leg.instrument, underlying="UNI")
    assert np.isnan(group_contracts(group, [(other, leg.iv)]).path_gains(group.paths)).all()


def test_r8_a_token_without_any_history_has_no_beta():
    at = at_frame({FEED: ETH_DAILY}, UNI_LP, quotes=board())
    group = read_group(POLICY, at, "UNI/USDC")
    assert group.hedged_by == "UNI"
    assert group.var_method == EWMA_STUDENT
    short = read_group(
        POLICY, at_frame({FEED: ETH_DAILY, UNI: daily(np.array([7.9, 8.0]))}, UNI_LP), "UNI/USDC"
    )
    assert "no beta" in short.unhedged


@pytest.mark.parametrize(("lengths", "method"), [((109,), EWMA_STUDENT), ((110,), FILTERED_HISTORICAL)])
def test_r8_few_runs_without_a_hole_do_not_speak(lengths, method):
    """A history in pieces has returns enough and few runs of ten days without a hole."""
    values = np.full(1_000, np.nan)
    pieces = [29] * 20  # each warms up for 20 returns and leaves less than one run
    start = 0
    for size in (*pieces, *(length + 20 for length in lengths)):
        values[start : start + size] = SPOT * np.exp(0.03 * np.cumsum(RNG_2.standard_normal(size)))
        start += size + 3
    found = group_paths(POLICY, at_frame({FEED: daily(values[: start - 3])}, exposure()), "ETH").own
    assert found.returns_known >= 250
    assert found.method == method


RNG_2 = np.random.default_rng(6)


def test_r8_paths_are_worked_out_once_a_day():
    columns = {key: replace(column, memo={}) for key, column in ((FEED, ETH_DAILY), (BTC, BTC_DAILY))}
    columns[UNI] = replace(uni_daily(0.01), memo={})
    at = at_frame(columns, exposure(), BTC_LP, UNI_LP)
    first = {name: group_paths(POLICY, at, name) for name in ("ETH", "BTC", "UNI")}
    later = replace(at, now_s=NOW_S + 3_600.0)
    for name, paths in first.items():
        assert group_paths(POLICY, later, name).own is paths.own
        assert math.isfinite(paths.own.vol)
