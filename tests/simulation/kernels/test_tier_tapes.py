"""The kernels' tiers are the engine's (R1-R4, R6): same readings, same frames, same tier after every one."""

from dataclasses import replace

import numpy as np
import pytest
from engine.factory import (
    FEED,
    GROUP,
    NOW_S,
    POOL,
    TWAP,
    block,
    calm_columns,
    exposure,
    frame,
    hourly,
    reading,
)
from hypothesis import given, settings
from hypothesis import strategies as st

from bot.engine.group import read_group
from bot.engine.rules.hard_triggers import find_holds
from bot.engine.tier_step import decide_tier
from bot.model.market import Column, Columns, Metric, SeriesKey
from bot.model.record import GroupState
from bot.model.tier import Quality
from bot.signals import read_signals
from bot.simulation.kernels import layout
from bot.simulation.kernels.evaluate import Inputs, Wanted, run_policies
from bot.simulation.kernels.tapes import TierTape, tape_column

from .kernel_builders import HOUR_S, STEWARD, random_policy

pytestmark = pytest.mark.xdist_group("kernels")  # compiled once

SIGNALS = ("S1", "S2", "S3", "S10", "S11", "S12", "S13", "S26", "S17", "S23", "S20")
SUBJECTS = {"S17": "aave/USDC", "S23": "stablecoins"}
FAST = (("S24", "ETH"), ("S24", "BTC"), ("S25", "ETH"))
STEPS = 40


def engine_tiers(policy, frames, readings):
    """The engine's own R1-R4, frame after frame."""
    state, tiers = GroupState(), []
    for at, every in zip(frames, readings, strict=True):
        group = read_group(policy, at, GROUP)
        found = decide_tier(policy, state, at, group, every, holds=find_holds(policy, at))
        state = found.context.state
        tiers.append(int(state.tier))
    return tiers


def kernel_tiers(policy, frames, readings, *, compiled):
    pairs = [tape_column(policy, at, every) for at, every in zip(frames, readings, strict=True)]
    tape = TierTape(
        times_s=np.array([at.now_s for at in frames]),
        blocks=np.array([next((each.number for each in at.blocks.values()), 0) for at in frames]),
        scores=np.array([scores for scores, _ in pairs]).T.copy(),
        flags=np.array([flags for _, flags in pairs]),
    )
    alone = Inputs(tape=tape, market=None, grid=np.empty(0), stress=np.empty(0))
    (run,) = run_policies([policy], alone, wanted=Wanted(path=False, orders=False), compiled=compiled)
    return run.tiers.tolist()


def random_readings(random, steps):
    """Readings that linger near thresholds, come from several sources, go missing, warm up and end."""
    few = random.random() < 0.3  # one family alone
    names = [name for name in SIGNALS if not few or name in ("S10", "S11", "S12", "S13", "S26")]
    names = [name for name in names if random.random() < 0.8]
    level = {name: random.random() for name in (*names, *map(str, FAST))}
    rows = []
    for _ in range(steps):
        every = []
        for name in names:
            level[name] = float(np.clip(level[name] + random.normal(0.0, 0.15), 0.0, 1.0))
            subject = {"subject": SUBJECTS[name]} if name in SUBJECTS else {}
            every.append(read_at(random, name, level[name], **subject))
            if random.random() < 0.2:
                every.append(read_at(random, name, level[name] / 2.0, source="other", **subject))
        for name, subject in FAST:
            key = str((name, subject))
            level[key] = float(np.clip(level[key] + random.normal(0.0, 0.2), 0.0, 1.0))
            every.append(read_at(random, name, level[key], subject=subject))
        rows.append(every)
    return rows


def read_at(random, name, score, **changes):
    found = reading(name, round(score, 4), informs=name == "S20", **changes)
    quality = random.choice([*Quality], p=[0.84, 0.04, 0.02, 0.08, 0.02])
    if quality in (Quality.LIVE, Quality.HELD):
        return replace(found, quality=quality)
    return replace(found, quality=quality, score=float("nan"), value=float("nan"))


def quiet_frames(random, steps):
    """Frames with a price that is sometimes stale, and blocks that sometimes do not come."""
    found, now_s, height = [], NOW_S, 100
    with_blocks = random.random() < 0.7
    for _ in range(steps):
        now_s += float(random.choice([30.0, 60.0, HOUR_S, 30.0 * HOUR_S]))
        height += int(random.integers(0, 20))
        age_s = 10.0 if random.random() < 0.9 else 2.0 * HOUR_S
        columns = {FEED: Column(times_s=np.array([now_s - age_s]), values=np.array([2000.0]))}
        blocks = {31337: block(height, now_s)} if with_blocks else {}
        found.append(frame(columns, now_s=now_s, blocks=blocks, quotes=()))
    return found


@settings(deadline=None, max_examples=25)
@given(seed=st.integers(0, 2**32 - 1))
def test_any_readings_give_the_engines_tiers(seed):
    random = np.random.default_rng(seed)
    policy = random_policy(random, STEWARD)
    readings, frames = random_readings(random, STEPS), quiet_frames(random, STEPS)
    wanted = engine_tiers(policy, frames, readings)
    assert kernel_tiers(policy, frames, readings, compiled=False) == wanted
    assert kernel_tiers(policy, frames, readings, compiled=True) == wanted


def stormy_frames(random, hours):
    """Columns whose last hours may crash at two sources, break a low, lose liquidity and see a print."""
    columns = calm_columns(NOW_S, hours=45 * 24)
    falls = np.cumsum(random.normal(-0.002, 0.01, hours) - 0.12 * (random.random(hours) < 0.06))
    for key in (FEED, TWAP):
        values = columns[key].values.copy()
        values[-hours:] *= np.exp(falls + random.normal(0.0, 0.002, hours))
        columns[key] = Column(times_s=columns[key].times_s, values=values)
    pool = SeriesKey(Metric.POOL_LIQUIDITY, POOL, "pool")
    values = columns[pool].values.copy()
    values[-hours:] *= np.linspace(1.0, random.choice([0.85, 1.0]), hours)
    columns[pool] = Column(times_s=columns[pool].times_s, values=values)
    prints = np.array([NOW_S - 60 * 24 * HOUR_S, NOW_S - 30 * 24 * HOUR_S])
    columns[SeriesKey(Metric.MACRO_PRINT, "CPI", "bls")] = Column(
        times_s=prints, values=np.array([0.03, random.choice([0.02, 0.04])])
    )
    columns[SeriesKey(Metric.MACRO_RELEASE_S, "FOMC", "calendar")] = Column(
        times_s=prints, values=np.array([prints[1], NOW_S + random.choice([-10.0, 900.0]) * HOUR_S])
    )
    whole = Columns(series={key: replace(column, memo={}) for key, column in columns.items()})
    found = []
    for back in range(hours - 1, -1, -1):
        now_s = NOW_S - back * HOUR_S
        series = {key: column.until(now_s) for key, column in whole.series.items()}
        spot = float(series[FEED].values[-1])
        found.append(frame(series, now_s=now_s, quotes=(), exposures=(exposure(spot=spot),), blocks={}))
    return found


@settings(deadline=None, max_examples=5)
@given(seed=st.integers(0, 2**32 - 1))
def test_any_path_gives_the_engines_tiers(seed):
    """R2's crash, R4's false breakdown, R6 and releases come from columns, not from readings."""
    random = np.random.default_rng(seed)
    policy = random_policy(random, STEWARD)
    frames = stormy_frames(random, 24)
    readings = [read_signals(at.columns, now_s=at.now_s, policy=policy.signals) for at in frames]
    wanted = engine_tiers(policy, frames, readings)
    assert kernel_tiers(policy, frames, readings, compiled=True) == wanted


def test_the_paths_reach_the_rules_so_that_equality_says_something():
    """Over a few seeds the tape's flags show a crash or R6, and a release."""
    bits = 0
    for seed in range(6):
        for at in stormy_frames(np.random.default_rng(seed), 24)[::4]:
            readings = read_signals(at.columns, now_s=at.now_s, policy=STEWARD.signals)
            bits |= tape_column(STEWARD, at, readings)[1]
    assert bits >> layout.FORCED_SHIFT & 7
    assert bits & layout.NEAR_RELEASE


def sliding_frames(steps):
    """A long slide that flattens into marginal new lows: R4 calls the break false."""
    values = np.concatenate((np.full(760, 2000.0), 2000.0 - 4.0 * np.arange(140)))
    values = np.concatenate((values, values[-1] - 0.05 * np.arange(1, 61)))
    columns = calm_columns() | {FEED: hourly(values)}
    whole = {key: replace(column, memo={}) for key, column in columns.items()}
    times_s = [NOW_S - back * HOUR_S for back in range(steps - 1, -1, -1)]
    return [
        frame({key: item.until(now_s) for key, item in whole.items()}, now_s=now_s, quotes=(), blocks={})
        for now_s in times_s
    ]


def test_r4_denies_the_same_escalations():
    frames = sliding_frames(30)
    policy = replace(STEWARD, tiers=replace(STEWARD.tiers, confirm=1, fast_vote=None))
    technical = [reading(name, 1.0) for name in ("S10", "S11", "S13")]
    both = [*technical, reading("S1", 0.3), reading("S2", 0.3)]
    found = [tape_column(policy, at, both)[1] & layout.DENIED for at in frames]
    assert any(found)
    for readings in (both, [*both, reading("S3", 1.0), reading("S4", 1.0)]):
        every = [readings] * len(frames)
        wanted = engine_tiers(policy, frames, every)
        assert kernel_tiers(policy, frames, every, compiled=True) == wanted
        assert kernel_tiers(policy, frames, every, compiled=False) == wanted
