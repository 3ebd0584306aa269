"""R26 on tracks made by hand: every figure is worked out on paper."""

import math

import numpy as np
import pytest

from bot.model.market import Column
from bot.model.tier import Tier
from bot.model.units import HOUR_S
from bot.simulation.windows.file import Segment, Window
from bot.simulation.windows.measures import money_finding, tier_finding, window_findings
from bot.simulation.windows.results import unseen_words
from bot.simulation.windows.run import Account, Track

YEAR_H = 365 * 24
DAY = 24


def window(name, first_h, hours, kind):
    return Window(id=name, start_s=first_h * HOUR_S, end_s=(first_h + hours) * HOUR_S, kind=kind)


def track(spot, tiers, *windows, gain=None, blind=None, first_h=0, keep=None, trades=(), others=None):
    """One row an hour from ``first_h`` on; rows not in ``keep`` are holes. The LP is worth its spot."""
    size = len(spot)
    kept = np.arange(size) if keep is None else np.array(keep)
    times_s = (first_h + np.arange(size)) * float(HOUR_S)
    values = np.array(spot, dtype=np.float64)[kept]
    end_s = max(item.end_s for item in windows)
    account = Account(
        gain_usd=(np.zeros(size) if gain is None else np.array(gain, dtype=np.float64))[kept],
        trades_s=np.array(trades, dtype=np.float64),
    )
    return Track(
        segment=Segment(start_s=first_h * HOUR_S, end_s=end_s, windows=windows),
        times_s=times_s[kept],
        spot_usd=values,
        position_usd=values,
        tiers=np.array(tiers, dtype=np.int8)[kept],
        blind=np.zeros(kept.size, bool) if blind is None else np.array(blind, dtype=bool)[kept],
        alvh=account,
        benchmarks={} if others is None else others,
        missing=(),
        gaps=(),
    )


def price_of(item, more=()):
    spot = [*item.spot_usd.tolist(), *more]
    times_s = item.times_s[0] + np.arange(len(spot)) * float(HOUR_S)
    return Column(times_s=times_s, values=np.array(spot, dtype=np.float64))


# Ten hours flat at 100, then 5 an hour down to 50, then flat: 24 hours after the hour the window starts at.
FALL = [100.0] * 10 + [100.0 - 5.0 * i for i in range(1, 11)] + [50.0] * 5
CRASH = window("crash", 0, DAY, "crisis")


def tiers_from(**rises):
    """Return tiers of 25 hours that rise at given hours: GUARDED=12 stands from hour 12 on."""
    tiers = [0] * 25
    for name, hour in rises.items():
        tiers[hour:] = [max(each, Tier[name]) for each in tiers[hour:]]
    return tiers


@pytest.mark.parametrize(
    ("tiers", "guarded", "elevated"),
    [
        (tiers_from(GUARDED=12, ELEVATED=14), 0.3, 0.5),
        (tiers_from(GUARDED=9, ELEVATED=9), 0.0, 0.0),  # at the peak, the last hour of the flat
        (tiers_from(GUARDED=0), 0.0, None),  # stood since before
        (tiers_from(ELEVATED=19), 1.0, 1.0),  # at the low
        (tiers_from(ELEVATED=20), None, None),  # after the low, which is the first hour at 50
        ([2] * 5 + [0] * 20, None, None),  # rose and fell before the peak: it protected nothing of this fall
    ],
    ids=str,
)
def test_the_share_of_the_fall_is_that_at_the_first_hour_the_tier_stands(tiers, guarded, elevated):
    spot = list(FALL)
    spot[9] = 100.001  # a peak of one hour
    (found,) = window_findings([track(spot, tiers, CRASH)], [CRASH])
    assert found.fall == pytest.approx(0.5, abs=1e-4)
    for reached, share in ((found.guarded, guarded), (found.elevated, elevated)):
        assert (reached is None) == (share is None)
        if share is not None:
            assert reached.share == pytest.approx(share, abs=1e-4)


def test_a_tier_that_stood_before_the_peak_says_since_when():
    (found,) = window_findings([track(FALL, tiers_from(GUARDED=3), CRASH)], [CRASH])
    assert found.guarded.since_s == 3 * HOUR_S


@pytest.mark.parametrize(
    ("at", "third", "half", "early"),
    [(13, 0, 1, 0), (12, 1, 1, 1), (14, 0, 1, 0), (15, 0, 0, 0)],
)
def test_the_aims_count_shares_of_the_fall(at, third, half, early):
    """Hours 12, 13, 14, 15 have 30, 40, 50, 60 % of the fall: a third and 0.35 below, half at or below."""
    item = track(FALL, tiers_from(ELEVATED=at), CRASH)
    tiers = tier_finding([item], window_findings([item], [CRASH]), price_of(item))
    assert (tiers.crises, tiers.crises_unseen) == (1, 0)
    assert (tiers.guarded_early, tiers.elevated_half, tiers.elevated_early) == (third, half, early)


def test_a_bridge_or_a_small_fall_is_no_market_crisis():
    bridge = window("bridge", 0, DAY, "bridge")
    small = [100.0 - 0.2 * i for i in range(25)]  # 4.8 %
    for item in (track(FALL, [0] * 25, bridge), track(small, [0] * 25, CRASH)):
        findings = window_findings([item], item.segment.windows)
        assert tier_finding([item], findings, price_of(item)).crises == 0


def test_a_crisis_with_too_few_prices_is_counted_as_unseen_and_never_as_early():
    item = track(FALL, [2] * 25, CRASH, keep=range(14))  # 13 of 24 hours
    findings = window_findings([item], [CRASH])
    tiers = tier_finding([item], findings, price_of(item))
    assert not findings[0].is_known
    assert (tiers.crises, tiers.crises_unseen, tiers.guarded_early, tiers.elevated_half) == (1, 1, 0, 0)
    assert "crash: 11 of 24 hours without a price; too few for a figure" in unseen_words(findings)


def test_an_hour_that_is_missing_is_not_made_up_for_by_the_hour_before_the_window():
    item = track(FALL, [0] * 25, CRASH, keep=[*range(7), *range(8, 25)])
    (found,) = window_findings([item], [CRASH])
    assert (found.hours, found.hours_priced, found.hours_hedgeable) == (24, 23, 23)


def test_a_window_that_was_not_run_is_unseen():
    (found,) = window_findings([], [CRASH])
    assert (found.hours, found.hours_priced, found.is_known, found.highest) == (24, 0, False, None)
    assert math.isnan(found.unhedged)


def test_no_fall_crosses_a_hole_over_36_h():
    long = window("long", 0, 100, "crisis")
    spot = [100.0] * 20 + [0.0] * 40 + [60.0] * 20 + [54.0] * 21
    item = track(spot, [0] * 101, long, keep=[*range(20), *range(60, 101)])
    (found,) = window_findings([item], [long])
    assert found.fall == pytest.approx(0.1)
    assert found.lp_fall == pytest.approx(0.1)


def test_hedged_and_cost_count_from_the_start_of_the_window():
    """A gain of half the fall halves it; the 7 lost before the window are not its cost."""
    gain = [-7.0] * 10 + [-7.0 + 2.5 * i for i in range(1, 11)] + [18.0] * 5
    item = track(FALL, [0] * 25, CRASH, gain=gain)
    (found,) = window_findings([item], [CRASH])
    assert found.unhedged == pytest.approx(0.5)
    assert found.hedged["alvh"] == pytest.approx(0.25)
    assert found.removed("alvh") == pytest.approx(0.5)
    assert found.cost["alvh"] == pytest.approx(-0.25)


def test_hours_without_option_prices_are_left_out_on_both_sides():
    gain = [0.0] * 16 + [math.nan] * 9  # the low was not priced: 30 % had fallen when it ended
    item = track(FALL, [0] * 25, CRASH, gain=gain)
    (found,) = window_findings([item], [CRASH])
    assert found.unhedged == found.hedged["alvh"] == pytest.approx(0.3)
    assert "crash: 9 of 24 hours without an implied volatility" in unseen_words([found])


def test_a_hedge_known_in_under_60_percent_of_hours_is_unknown_not_nothing():
    item = track(FALL, [0] * 25, CRASH, gain=[0.0] * 14 + [math.nan] * 11)
    findings = window_findings([item], [CRASH])
    assert math.isnan(findings[0].removed("alvh"))
    money = money_finding([item], findings, "alvh")
    assert math.isnan(money.removed)
    assert money.removed_of == 0


def test_removed_is_the_mean_of_the_known_crises_and_benchmarks_have_their_own():
    half = [0.0] * 10 + [2.5 * i for i in range(1, 11)] + [25.0] * 5
    whole = Account(gain_usd=2.0 * np.array(half), trades_s=np.array([1.0]))
    item = track(FALL, [0] * 25, CRASH, gain=half, others={"pput": whole})
    findings = window_findings([item], [CRASH])
    assert money_finding([item], findings, "alvh").removed == pytest.approx(0.5)
    assert money_finding([item], findings, "pput").removed == pytest.approx(1.0)


# hours outside crises

CALM_H = 60 * DAY
CALM = window("quiet", 0, CALM_H, "calm")


def calm_track(tiers=None, **options):
    rows = CALM_H + 1
    return track([100.0] * rows, tiers if tiers is not None else [0] * rows, CALM, **options)


def test_carry_net_and_trades_are_of_a_year_and_of_exposure():
    """1 USD lost evenly on 100 USD over 60 days."""
    rows = CALM_H + 1
    gain = -np.linspace(0.0, 1.0, rows)
    item = calm_track(gain=gain, trades=[5.0, 6.0, 7.0])
    findings = window_findings([item], [CALM])
    money = money_finding([item], findings, "alvh")
    assert money.carry == pytest.approx(0.01 * YEAR_H / rows)
    assert money.net == pytest.approx(money.carry)
    assert money.trades_a_year == pytest.approx(3 * YEAR_H / rows)
    assert math.isnan(money.efficiency)


def test_a_figure_a_year_needs_a_month_of_hours():
    item = track(FALL, [0] * 25, window("quiet", 0, DAY, "calm"), gain=[-float(i) for i in range(25)])
    findings = window_findings([item], item.segment.windows)
    assert math.isnan(money_finding([item], findings, "alvh").carry)
    assert math.isnan(tier_finding([item], findings, price_of(item)).false_alarms_a_year)


def test_efficiency_has_a_floor_of_half_a_percent():
    free = [0.0] * 10 + [2.5 * i for i in range(1, 11)] + [25.0] * 5
    crash = track(FALL, [0] * 25, CRASH, gain=free)
    calm_window = window("quiet", 100 * DAY, CALM_H, "calm")
    calm = track([100.0] * (CALM_H + 1), [0] * (CALM_H + 1), calm_window, first_h=100 * DAY)
    findings = window_findings([crash, calm], [CRASH, calm_window])
    money = money_finding([crash, calm], findings, "alvh")
    assert money.carry == 0.0
    assert money.efficiency == pytest.approx(0.5 / 0.005)


def test_time_at_tiers_counts_a_degraded_calm_as_unknown():
    rows = CALM_H + 1
    tiers = np.zeros(rows)
    tiers[:144] = 1
    blind = np.zeros(rows, dtype=bool)
    blind[:288] = True  # half of them at GUARDED, which is a tier, half at CALM, which is not known
    item = calm_track(tiers=tiers, blind=blind)
    found = tier_finding([item], window_findings([item], [CALM]), price_of(item))
    assert found.time_at["GUARDED"] == pytest.approx(144 / rows)
    assert found.time_at["unknown"] == pytest.approx(144 / rows)
    assert sum(found.time_at.values()) == pytest.approx(1.0)


def test_hours_around_a_crisis_are_not_outside_it():
    """3 days before to 7 after: 11 of 31 days with a crisis of one day."""
    crash = window("crash", 10 * DAY, DAY, "crisis")
    after = window("after", 11 * DAY, 20 * DAY, "calm")
    rows = 31 * DAY
    item = track([100.0] * rows, [0] * rows, crash, after)
    found = tier_finding([item], window_findings([item], [crash, after]), price_of(item))
    assert found.outside_hours == 20 * DAY


def alarm(after, *, at=40, keep=None):
    """Return the verdicts on one entry of two hours, with a path of prices after it."""
    tiers = np.zeros(CALM_H + 1)
    tiers[at : at + 2] = 2
    item = calm_track(tiers=tiers)
    price = np.full(CALM_H + 1, 100.0)
    for hours, value in after.items():
        price[at + hours] = value
    times_s = np.arange(CALM_H + 1) * float(HOUR_S)
    kept = np.ones(times_s.size, dtype=bool)
    if keep is not None:
        kept[at + keep :] = False
    found = tier_finding(
        [item],
        window_findings([item], [CALM]),
        Column(times_s=times_s[kept], values=price[kept]),
    )
    return found.false_alarms, found.true_alarms, found.open_alarms


@pytest.mark.parametrize(
    ("after", "verdict"),
    [
        ({}, (1, 0, 0)),
        ({100: 90.01}, (1, 0, 0)),
        ({100: 90.0}, (0, 1, 0)),
        ({7 * DAY: 90.0}, (0, 1, 0)),
        ({7 * DAY + 1: 90.0}, (1, 0, 0)),
        ({-1: 80.0}, (1, 0, 0)),  # what fell before it does not make it true
    ],
    ids=str,
)
def test_an_alarm_is_false_without_a_10_percent_fall_within_7_days(after, verdict):
    assert alarm(after) == verdict


def test_an_alarm_whose_days_were_not_seen_is_open_unless_the_fall_was_seen():
    assert alarm({}, keep=60) == (0, 0, 1)
    assert alarm({50: 85.0}, keep=60) == (0, 1, 0)


def test_every_entry_counts_and_a_standing_tier_is_one():
    tiers = np.zeros(CALM_H + 1)
    tiers[100:200] = 2
    tiers[150:160] = 3
    tiers[300:301] = 4
    item = calm_track(tiers=tiers)
    found = tier_finding([item], window_findings([item], [CALM]), price_of(item, [100.0] * 8 * DAY))
    assert found.false_alarms == 2
    assert found.false_alarms_a_year == pytest.approx(2 * YEAR_H / (CALM_H + 1))


def test_an_alarm_in_a_crisis_is_not_false():
    item = track(FALL, [2] * 25, CRASH)
    found = tier_finding([item], window_findings([item], [CRASH]), price_of(item))
    assert (found.outside_hours, found.false_alarms, found.open_alarms) == (0, 0, 0)
    assert math.isnan(found.time_at["CALM"])
