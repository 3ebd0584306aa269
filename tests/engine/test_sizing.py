"""R8 and R14: how much."""

import math

import numpy as np
import pytest
from engine.factory import (
    FEED,
    GROUP,
    NOW_S,
    SPOT,
    SUSD,
    board,
    calm_columns,
    classic,
    context,
    exposure,
    frame,
    held,
    lp_shape,
    option,
    reading,
)
from hypothesis import given, settings
from hypothesis import strategies as st

from bot.engine.choose import choose
from bot.engine.group import group_loss, read_group
from bot.engine.layers import open_layers, plan_layers
from bot.engine.sizing import covered_share, held_path_gains, size_group
from bot.model.hedge import Layer
from bot.model.market import Column, Metric, SeriesKey
from bot.model.record import GroupState
from bot.model.tier import Tier
from bot.model.units import DAY_S
from bot.quant.var import FILTERED_HISTORICAL, value_at_risk

POLICY = classic()


def sized(tier, *, policy=POLICY, at=None):
    at = at or frame()
    group = read_group(policy, at, GROUP)
    state = GroupState(tier=tier)
    plans, _, _ = plan_layers(policy, context(policy, [reading("S2", 1.0)], state=state, at=at), force=True)
    choices = choose(policy, group, open_layers(tier), at.quotes)
    return group, size_group(policy, group, tier, plans, choices)


@pytest.mark.parametrize("tier", Tier)
def test_r8_targets_remove_the_share_of_var(tier):
    group, sizing = sized(tier)
    gains = sum(target.units * target.unit_gains for target in sizing.targets.values())
    left = value_at_risk(group.losses_usd - gains)
    assert 1.0 - left / group.var_usd == pytest.approx(POLICY.sizing.shares.of(tier), abs=1e-6)
    assert sizing.reached == pytest.approx(POLICY.sizing.shares.of(tier), abs=1e-6)


def test_r8_notionals_keep_the_weights():
    _, sizing = sized(
        Tier.GUARDED,
        policy=classic(sizing={"shares": {**dict.fromkeys(Tier.__members__, "15 %"), "CALM": "0 %"}}),
    )
    units = {slot.layer: target.units for slot, target in sizing.targets.items()}
    assert units[Layer.MID] / units[Layer.TAIL] == pytest.approx(2.0)


def test_r8_says_the_real_shares_where_tail_is_lifted_and_its_paths():
    group, sizing = sized(Tier.GUARDED)
    units = {slot.layer: target.units for slot, target in sizing.targets.items()}
    total = sum(units.values())
    assert units[Layer.TAIL] > 0.34 * total  # R7 alone would give it a third
    for slot, target in sizing.targets.items():
        assert target.weight == pytest.approx(units[slot.layer] / total)
    assert f"so notionals are MID {100 * units[Layer.MID] / total:.1f}" in sizing.finding.because
    paths = f"{group.paths.shape[0]} paths from {group.daily_returns} daily returns"
    assert paths in sizing.finding.because
    _, plain = sized(Tier.CALM)
    assert "notionals" not in plain.finding.because


@pytest.mark.parametrize("tier", Tier)
def test_r14_tail_never_under_its_calm_share(tier):
    tails = {
        t: next(x.units for s, x in sized(t)[1].targets.items() if s.layer is Layer.TAIL)
        for t in (Tier.CALM, tier)
    }
    assert tails[tier] >= tails[Tier.CALM] * (1.0 - 1e-9)


def test_r8_a_layer_without_listing_holds_its_share_back():
    quotes = tuple(item for item in board() if item.instrument.dte(NOW_S) > 60)
    _, sizing = sized(Tier.SEVERE, at=frame(quotes=quotes))
    assert sizing.targets[next(s for s in sizing.targets if s.layer is Layer.NEAR)].units == 0.0
    # NEAR's 40 points are missing; MID falls back on the farther expiry.
    assert sizing.reached == pytest.approx(0.6 * 0.25, abs=1e-6)


def test_r8_long_history_is_filtered_historical_simulation():
    rng = np.random.default_rng(11)
    days = 500
    close = SPOT * np.exp(np.cumsum(0.03 * rng.standard_normal(days)))
    column = Column(times_s=NOW_S - 1.0 - DAY_S * np.arange(days - 1, -1, -1.0), values=close)
    group = read_group(POLICY, frame(calm_columns() | {FEED: column}), GROUP)
    assert group.var_method == FILTERED_HISTORICAL
    assert group.paths.shape[1] == 11
    assert group.var_usd > 0.0


def test_r8_unknown_price_sizes_nothing():
    at = frame({}, exposures=(exposure(spot_usd=math.nan),))
    group, sizing = sized(Tier.SEVERE, at=at)
    assert math.isnan(group.var_usd)
    assert all(not target.units > 0.0 for target in sizing.targets.values())


def test_r8_a_worthless_exposure_needs_nothing():
    group, sizing = sized(Tier.SEVERE, at=frame(exposures=(exposure(shape=lp_shape(0.0), value_usd=0.0),)))
    assert group.var_usd == 0.0
    assert all(target.units == 0.0 for target in sizing.targets.values())
    assert covered_share(group, np.zeros_like(group.losses_usd)) == 0.0


def test_r8_expired_on_the_path_settles_and_alive_keeps_its_vol():
    group = read_group(POLICY, frame(), GROUP)
    short = held(option(2000, 5), Layer.NEAR, 1.0, spot=group.spot_usd)
    long = held(option(2000, 75), Layer.TAIL, 1.0, spot=group.spot_usd)
    worst = int(np.argmin(group.paths[:, -1]))
    fifth = group.paths[worst, 5]
    assert held_path_gains(group, [short])[worst] == pytest.approx(max(0.0, 2000 - fifth) - short.model_usd)
    alive = held(option(2000, 65), Layer.TAIL, 1.0, spot=float(group.paths[worst, -1]))
    assert held_path_gains(group, [long])[worst] == pytest.approx(alive.model_usd - long.model_usd, rel=1e-9)


def test_r8_hold_measure_loses_on_both_sides():
    losses = group_loss([exposure()], SPOT, np.array([1000.0, 2000.0, 4000.0]), measure="hold")
    assert losses[0] > 0.0
    assert losses[1] == 0.0
    assert losses[2] > 0.0


@pytest.mark.parametrize(
    ("rows", "worth"),
    [
        ([(-7200.0, 0.5), (-3000.0, 1.0), (-60.0, 0.7)], (29 * 1.0 + 1 * 0.7) / 30),  # not the last print
        ([(-900.0, 0.9), (-60.0, 0.9)], 0.9),
        ([(-900.0, 1.2), (-60.0, 1.3)], 1.0),  # never more than its face
        ([(-3961.0, 0.9)], math.nan),  # older than price_max_age
        ([(-3959.0, 0.9)], 0.9),
        ([(-900.0, 0.9), (-60.0, math.nan)], math.nan),  # fails now
        ([(-60.0, 0.0)], math.nan),
    ],
)
def test_r10_a_settlement_asset_counts_at_its_mean_of_half_an_hour(rows, worth):
    times_s, prices = (np.array(part) for part in zip(*rows, strict=True))
    columns = calm_columns() | {SUSD: Column(times_s=NOW_S + times_s, values=prices)}
    found = read_group(POLICY, frame(columns, quotes=()), GROUP).stable_usd["sUSD"]
    assert found == pytest.approx(worth, nan_ok=True)


def test_r10_the_first_source_of_a_settlement_asset_counts():
    columns = calm_columns() | {
        SeriesKey(Metric.PRICE_USD, "sUSD", "a"): Column(
            times_s=np.array([NOW_S - 60]), values=np.array([0.8])
        ),
        SeriesKey(Metric.PRICE_USD, "sUSD", "b"): Column(
            times_s=np.array([NOW_S - 1]), values=np.array([0.6])
        ),
    }
    assert read_group(POLICY, frame(columns, quotes=()), GROUP).stable_usd["sUSD"] == 0.8


@settings(deadline=None, max_examples=20)
@given(st.floats(0.0, 0.5), st.floats(0.3, 1.5))
def test_r8_share_is_a_ceiling(share, iv):
    shares = dict.fromkeys(Tier.__members__, f"{100 * share:.4f} %")
    _, sizing = sized(Tier.SEVERE, policy=classic(sizing={"shares": shares}), at=frame(quotes=board(iv=iv)))
    assert sizing.reached <= share + 0.02  # one outcome of 199 at most
