"""R5: wings far out while implied vol is high and MACD diverges from price."""

import math

import numpy as np
import pytest
from engine.factory import FEED, NOW_S, calm_columns, classic, context, flat, frame, reading

from bot.engine.rules.outer_wings import outer_wings
from bot.errors import ConfigError
from bot.model.market import Column
from bot.model.tier import Quality
from bot.quant.indicators import Divergence
from bot.signals.macd import price_divergence

POLICY = classic()
HOURS = 1_300  # 4 h bars need 260 of them


def columns_of(kind):
    """A market whose price makes a higher high: with less momentum (bearish), or with more (none)."""
    columns = calm_columns(hours=HOURS)
    if kind == "unknown":
        return {key: column for key, column in columns.items() if key != FEED and key.subject != "ETH"}
    steps = np.arange(HOURS)
    wave = 20.0 * np.sin(2.0 * np.pi * steps / 40.0)
    values = 2_000.0 + wave
    if kind == "bearish":  # a burst up in the window before, then a slow crawl to a little more
        burst = np.interp(steps, [0, HOURS - 180, HOURS - 120, HOURS - 110, HOURS - 1], [0, 0, 400, 380, 420])
        values = 2_000.0 + burst
    return columns | {FEED: Column(times_s=flat(1.0, hours=HOURS).times_s, values=values)}


def directive(kind="bearish", *, rank=0.8, term=None, cash=None, policy=POLICY):
    readings = [reading("S12", 0.5, value=rank)] if rank is not None else []
    readings += [reading("S13", 0.1, value=term)] if term is not None else []
    readings += [reading("S18", 0.1, value=cash, subject="uniswap-v2")] if cash is not None else []
    return outer_wings(policy, context(policy, readings, at=frame(columns_of(kind))))


@pytest.mark.parametrize(
    ("kind", "expected"), [("bearish", Divergence.BEARISH), ("none", Divergence.NONE), ("unknown", None)]
)
def test_the_markets_of_this_file_are_what_they_say(kind, expected):
    at = frame(columns_of(kind))
    found = price_divergence(at.columns, now_s=NOW_S, policy=POLICY.signals, subject="ETH")
    assert found is expected


@pytest.mark.parametrize(
    ("kind", "rank", "add"),
    [
        ("bearish", 0.699999, False),
        ("bearish", 0.70, True),
        ("bearish", 0.99, True),
        ("bearish", None, False),
        ("none", 0.99, False),
        ("unknown", 0.99, False),
    ],
)
def test_r5_when_wings_are_added(kind, rank, add):
    found = directive(kind, rank=rank)
    assert found.add is add
    assert found.finding.fired is add
    assert (found.near_cap, found.beyond_break_even) == ((30.0, (0.15, 0.20)) if add else (None, None))
    assert found.finding.tier is None  # wings move no tier


@pytest.mark.parametrize(
    ("term", "cash", "nearer"),
    [
        (0.05, 0.9, True),
        (0.0, 0.9, False),  # flat is no backwardation
        (0.05, 1.0, False),  # at the median is not under it
        (None, 0.9, False),
        (0.05, None, False),
        (-0.1, 0.5, False),
    ],
)
def test_r5_where_wings_stand(term, cash, nearer):
    found = directive(term=term, cash=cash)
    assert found.add
    assert found.out_of_the_money == ((0.05, 0.07) if nearer else None)
    assert found.beyond_break_even == (None if nearer else (0.15, 0.20))


def test_r5_missing_rank_adds_nothing():
    gone = reading("S12", math.nan, quality=Quality.MISSING)
    found = outer_wings(POLICY, context(POLICY, [gone], at=frame(columns_of("bearish"))))
    assert not found.add
    assert "S12 is not known" in found.finding.because


def test_r5_verticals_only_where_the_policy_allows_short_legs():
    assert not directive().as_verticals
    allowed = classic(outer_wings={"short_legs": True})
    assert directive(policy=allowed).as_verticals
    assert not directive(policy=allowed, rank=0.1).as_verticals


def test_r5_cap_under_the_bound_of_r7_is_refused():
    with pytest.raises(ConfigError, match=r"outer_wings\.near_cap"):
        classic(outer_wings={"near_cap": 29})
