"""S7, S8 and S9: bridges, block space, admin powers."""

import dataclasses
import math

import numpy as np
import pytest
from signals.series import POOL, end_s, hourly

from bot.errors import ConfigError
from bot.model.market import Column, Columns, Metric, SeriesKey
from bot.model.tier import Quality
from bot.signals import SIGNALS
from bot.signals.admin_events import admin_events
from bot.signals.onchain_policy import OnchainPolicy, numbers_of
from bot.signals.policy import SignalsPolicy

POLICY = SignalsPolicy()
WEEK = 7 * 24 + 2


def of(metric, subject, source, values):
    column = values if isinstance(values, Column) else hourly(values)
    return {SeriesKey(metric, subject, source): column}


def read(name, series, hours, *, policy=POLICY):
    return SIGNALS[name].read(Columns(series=series), now_s=end_s(hours), policy=policy)


def read_one(name, series, hours, *, policy=POLICY):
    (reading,) = read(name, series, hours, policy=policy)
    return reading


def bridge(locked, *minted):
    series = of(Metric.TOKEN_UNITS, "arbitrum/USDC", "lockbox", locked)
    for place, values in enumerate(minted):
        source = "minted" if len(minted) == 1 else f"minted:{place}"
        series |= of(Metric.TOKEN_UNITS, "arbitrum/USDC", source, values)
    return series


@pytest.mark.parametrize(
    ("locked", "score"),
    [(1010.0, 0.0), (1000.0, 0.0), (990.0, 0.5), (980.0, 1.0), (979.0, 1.0), (899.0, 1.0), (0.0, 1.0)],
)
def test_s7_divides_what_is_locked_by_what_was_minted(locked, score):
    reading = read_one("S7", bridge([locked], [1000.0]), 1)
    assert reading.value == pytest.approx(locked / 1000.0)
    assert reading.score == pytest.approx(score, abs=2e-9)
    assert (reading.subject, reading.source) == ("arbitrum", "lockbox:USDC")


def test_s7_adds_up_all_destinations():
    assert read_one("S7", bridge([990.0], [600.0], [400.0]), 1).score == pytest.approx(0.5)


def test_s7_reads_a_ratio_that_a_source_gives():
    reading = read_one("S7", of(Metric.BRIDGE_COVERAGE, "nomad", "csv:x", [0.99]), 1)
    assert (reading.subject, reading.score) == ("nomad", pytest.approx(0.5))


@pytest.mark.parametrize("minted", [0.0, math.nan])
def test_s7_of_an_unknown_ratio_is_missing(minted):
    reading = read_one("S7", bridge([990.0], [minted]), 1)
    assert reading.quality is Quality.MISSING
    assert math.isnan(reading.score)


@pytest.mark.parametrize(("kept", "lacking"), [("lockbox", "minted"), ("minted", "lockbox")])
def test_s7_of_one_side_is_absent_and_names_the_other(kept, lacking):
    reading = read_one("S7", of(Metric.TOKEN_UNITS, "arbitrum/USDC", kept, [1.0]), 1)
    assert (reading.quality, reading.subject) == (Quality.ABSENT, "arbitrum")
    assert f"no {lacking} amount of arbitrum/USDC is configured" in reading.because


def test_s7_sees_a_drain_at_the_first_read_of_the_lockbox():
    """The other side was last read half a minute before."""
    minted = Column(times_s=np.array([end_s(1)]), values=np.array([1000.0]))
    locked = Column(times_s=end_s(1) + np.array([-30.0, 30.0]), values=np.array([1000.0, 0.0]))
    series = of(Metric.TOKEN_UNITS, "b/T", "lockbox", locked) | of(
        Metric.TOKEN_UNITS, "b/T", "minted", minted
    )
    (reading,) = SIGNALS["S7"].read(Columns(series=series), now_s=end_s(1) + 31.0, policy=POLICY)
    assert (reading.value, reading.score) == (0.0, 1.0)


def test_s7_holds_while_one_side_fails_and_then_is_missing():
    for lost, quality in ((0, Quality.LIVE), (2, Quality.HELD), (4, Quality.MISSING)):
        reading = read_one("S7", bridge([990.0] * (10 - lost) + [math.nan] * lost, [1000.0] * 10), 10)
        assert reading.quality is quality
        assert math.isnan(reading.score) if quality is Quality.MISSING else reading.score == 0.5


FLOWS = [(Metric.PRIORITY_FEE_GWEI, "1", 2.0), (Metric.SANDWICH_SHARE, POOL, 0.02)]


@pytest.mark.parametrize(
    ("ratio", "score"), [(0.5, 0.0), (1.0, 0.0), (1.5, 0.0), (2.75, 0.5), (4.0, 1.0), (100.0, 1.0)]
)
@pytest.mark.parametrize(("metric", "subject", "norm"), FLOWS)
def test_s8_scores_a_spike_against_the_week(metric, subject, norm, ratio, score):
    reading = read_one("S8", of(metric, subject, "x", [norm] * (WEEK - 1) + [norm * ratio]), WEEK)
    assert reading.value == pytest.approx(ratio)
    assert reading.score == pytest.approx(score, abs=2e-9)
    assert reading.subject == subject


@pytest.mark.parametrize(
    ("metric", "subject", "floor"),
    [(Metric.PRIORITY_FEE_GWEI, "10", 0.01), (Metric.SANDWICH_SHARE, POOL, 0.01)],
)
def test_s8_of_a_quiet_week_is_measured_against_the_floor(metric, subject, floor):
    reading = read_one("S8", of(metric, subject, "x", [0.0] * (WEEK - 1) + [2.75 * floor]), WEEK)
    assert reading.score == pytest.approx(0.5)
    assert "floored" in reading.because
    assert read_one("S8", of(metric, subject, "x", [0.0] * WEEK), WEEK).score == 0.0


def test_s8_leaves_one_blocks_auction_out():
    week = hourly([2.0] * WEEK)
    blocks_s = end_s(WEEK) + 12.0 * np.arange(100)
    column = Column(
        times_s=np.concatenate((week.times_s, blocks_s)),
        values=np.concatenate((week.values, np.full(99, 2.0), [500.0])),
    )
    series = Columns(series=of(Metric.PRIORITY_FEE_GWEI, "1", "gas", column))
    (reading,) = SIGNALS["S8"].read(series, now_s=float(blocks_s[-1]), policy=POLICY)
    assert (reading.quality, reading.value) == (Quality.LIVE, pytest.approx(1.0))


def test_s8_refuses_a_negative_share_and_waits_for_a_week():
    bad = read_one("S8", of(Metric.SANDWICH_SHARE, POOL, "x", [0.1] * (WEEK - 1) + [-0.1]), WEEK)
    assert bad.quality is Quality.MISSING
    young = read_one("S8", of(Metric.PRIORITY_FEE_GWEI, "1", "x", [1.0] * 50), 50)
    assert young.quality is Quality.WARMING


ADMIN = (Metric.PAUSED, Metric.UPGRADED, Metric.OWNERSHIP_CHANGED, Metric.ROLE_CHANGED)


@pytest.mark.parametrize("metric", ADMIN)
@pytest.mark.parametrize(("value", "score"), [(0.0, 0.0), (1.0, 1.0), (3.0, 1.0)])
def test_s9_is_one_while_a_power_is_in_use(metric, value, score):
    series = of(metric, "router", "admin_events", [0.0, value])
    reading = read_one("S9", series, 2)
    assert (reading.value, reading.score, reading.subject) == (value, score, "router")
    assert reading.source == f"admin_events:{metric}"
    found = admin_events(Columns(series=series), now_s=end_s(2), policy=POLICY)
    assert [(item.contract, item.kind, item.value, item.source) for item in found] == (
        [("router", metric, value, "admin_events")] if value else []
    )


def test_s9_names_every_contract_and_kind_for_itself():
    series = of(Metric.PAUSED, "aave/USDC", "aave_v3", [1.0])
    series |= of(Metric.UPGRADED, "router", "admin_events", [2.0])
    series |= of(Metric.ROLE_CHANGED, "router", "admin_events", [0.0])
    found = admin_events(Columns(series=series), now_s=end_s(1), policy=POLICY)
    assert [(item.contract, item.kind) for item in found] == [
        ("aave/USDC", Metric.PAUSED),
        ("router", Metric.UPGRADED),
    ]
    assert len(read("S9", series, 1)) == 3


def test_s9_holds_a_pause_while_its_source_fails_and_then_it_is_missing_not_calm():
    for lost, quality, count in ((1, Quality.HELD, 1), (4, Quality.MISSING, 0)):
        series = of(Metric.PAUSED, "router", "admin_events", [1.0] * 6 + [math.nan] * lost)
        reading = read_one("S9", series, 6 + lost)
        assert reading.quality is quality
        assert reading.score == 1.0 or math.isnan(reading.score)
        changes = admin_events(Columns(series=series), now_s=end_s(6 + lost), policy=POLICY)
        assert len(changes) == count


def test_s9_refuses_a_negative_count():
    assert read_one("S9", of(Metric.UPGRADED, "r", "x", [-1.0]), 1).quality is Quality.MISSING


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [
        ("peg_median_s", 1.0, "peg_median_s"),
        ("peg_sample_s", 0.0, "peg_sample_s"),
        ("peg_sample_s", 4 * 3600.0, "peg_sample_s"),
        ("reer_min_vol", 0.0, "reer_min_vol"),
        ("reer_min_vol", math.nan, "reer_min_vol"),
        ("mev_recent_s", 0.0, "mev_recent_s"),
        ("priority_fee_floor_gwei", 0.0, "priority_fee_floor_gwei"),
        ("sandwich_floor", 2.0, "sandwich_floor"),
        ("reer_weights", ("USDC",), "name=value"),
        ("reer_weights", ("USDC=1", "USDC=2"), "each name once"),
        ("reer_weights", ("USDC=-1",), "reer_weights of USDC"),
        ("reer_weights", ("USDC=much",), "reer_weights of USDC"),
        ("priced_as", ("WETH",), "name=value"),
        ("treasury_obligations", ("dao=0",), "treasury_obligations of dao"),
        ("share_targets", ("curve:3pool/USDC=0.5",), "must add up to 1"),
        ("share_targets", ("USDC=1",), "<pool>/<token>=<share>"),
        ("share_targets", ("a/X=1.5", "a/Y=-0.5"), "share_targets of a/X"),
    ],
)
def test_a_number_of_onchain_signals_out_of_bounds_is_refused_by_name(key, value, words):
    with pytest.raises(ConfigError, match=words):
        dataclasses.replace(OnchainPolicy(), **{key: value})


def test_anchors_of_onchain_signals_are_those_of_the_method():
    policy = OnchainPolicy()
    assert [
        (item.calm, item.stress)
        for item in (policy.share_imbalance, policy.peg, policy.reer, policy.bridge_coverage, policy.mev_flow)
    ] == [(0.05, 0.35), (0.0015, 0.006), (1.0, 4.0), (1.0, 0.98), (1.5, 4.0)]
    assert (policy.peg_median_s, policy.reer_window_s, policy.mev_window_s) == (10_800, 30 * 86_400, 604_800)


def test_entries_are_read_by_the_last_equals_sign():
    assert numbers_of("x", ("balancer:A/B/A = 0.8",), low=0.0, high=1.0) == {"balancer:A/B/A": 0.8}
