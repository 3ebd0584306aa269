"""The kernels' perpetual is the engine's whole run: decisions, loop, venue and book (R27, R9-R11).

Orders are the same, whole lots and all; money agrees within 1e-9 of it.
"""

import asyncio
from dataclasses import replace

import numpy as np
import pytest
from history_builders import START_S
from hypothesis import given, settings
from hypothesis import strategies as st

from bot.engine.step import decide
from bot.model.hedge import LegStatus
from bot.model.market import Block, Column, Columns, Metric, SeriesKey
from bot.model.record import EngineState, GroupState
from bot.model.tier import Tier
from bot.pipeline.loop import Moment
from bot.pipeline.memory_journal import MemoryJournal
from bot.simulation.backtest import alvh_steps, cut_moments
from bot.simulation.exposures import at_price, parse_exposure
from bot.simulation.history.tables import load_history
from bot.simulation.kernels.evaluate import evaluate_perpetual, evaluate_tiers
from bot.simulation.kernels.tape_set import Tapes
from bot.simulation.market.model import load_market, with_implied_vols

from .kernel_builders import HOUR_S, STEWARD, WITHOUT_OPTIONS, random_policy

pytestmark = pytest.mark.xdist_group("kernels")  # compiled once

DAY_S = 24 * HOUR_S
PRICE, FUNDING = (
    SeriesKey(Metric.PRICE_USD, "ETH", "binance:spot"),
    SeriesKey(Metric.FUNDING_APR, "ETH", "binance"),
)
PATH_DAYS, STEPS = 40, 36
V3 = "v3:ETH/USDC:1000000:-20%:+20%"


def engine_run(moments, policy, market, decide=decide):
    """Return tiers, cash, open value and orders of the program's own loop."""

    async def run():
        journal = MemoryJournal()
        steps = [
            (int(item.record.decision.groups[0].tier), item.perpetual_cash_usd, item.perpetual_open_usd)
            async for item in alvh_steps(moments, policy, market, journal=journal, decide=decide)
        ]
        return steps, journal.perpetual_outcomes()

    steps, outcomes = asyncio.run(run())
    tiers, cash, marks = map(np.array, zip(*steps, strict=True))
    return tiers, cash, marks, outcomes


def forcing(tiers):
    """Return a decide function under which the market tier is what is given: kept by its cooldown."""
    steps = iter(tiers.tolist())

    def forced(policy, state, frame):
        (group,) = {item.group for item in frame.exposures}
        before = state.groups.get(group, GroupState())
        kept = replace(before, tier=Tier(next(steps)), last_needed_s=frame.now_s, pending=())
        return decide(policy, EngineState(groups={group: kept}), frame)

    return forced


def assert_same(run, engine):
    tiers, cash, marks, outcomes = engine
    assert run.tiers.tolist() == tiers.tolist()
    wanted = [(item.order.action.value, item.status is LegStatus.FILLED) for item in outcomes]
    assert [(item.action, item.filled) for item in run.orders] == wanted
    np.testing.assert_allclose(
        [item.size for item in run.orders], [item.order.size for item in outcomes], rtol=1e-12, atol=0.0
    )
    margins = [
        item.order.release_usd if item.order.reduce_only else item.order.margin_usd for item in outcomes
    ]
    np.testing.assert_allclose([item.margin_usd for item in run.orders], margins, rtol=1e-9, atol=1e-6)
    scale = max(1.0, float(np.abs(cash).max()), float(np.abs(marks).max()))
    np.testing.assert_allclose(run.cash_usd, cash, rtol=1e-9, atol=1e-9 * scale)
    np.testing.assert_allclose(run.open_usd, marks, rtol=1e-9, atol=1e-9 * scale)


def made_up_moments(random, spec):
    """Hours with leaps and missing funding; no options, no vol index: nothing but the perpetual trades."""
    hours = PATH_DAYS * 24 + STEPS
    leaps = random.normal(0.0, 0.12, hours) * (random.random(hours) < 0.04)
    prices = 2000.0 * np.exp(np.cumsum(random.normal(0.0, 0.006, hours) + leaps))
    times_s = START_S + HOUR_S * np.arange(1.0, hours + 1.0)
    funded = times_s[::8] if random.random() < 0.5 else times_s[: -STEPS // 2 : 8]
    rates = random.normal(0.0, float(random.choice([0.1, 2.0])), funded.size)
    rates[random.random(rates.size) < 0.1] = np.nan
    series = {
        PRICE: Column(times_s=times_s - 1.0, values=prices, memo={}),
        FUNDING: Column(times_s=funded - 1.0, values=rates, memo={}),
    }
    moments, exposure = [], None
    for step in range(hours - STEPS, hours):
        now_s, spot = float(times_s[step]), float(prices[step])
        if exposure is None or (step == hours - STEPS // 2 and random.random() < 0.5):
            exposure = spec.open_at(spot)  # also opened anew half way
        here = at_price(exposure, spot)
        moments.append(
            Moment(
                now_s=now_s,
                blocks={1: _block(now_s)},
                columns=Columns(series={key: item.until(now_s) for key, item in series.items()}),
                exposures=(replace(here, fees_uncollected_usd=step * 3.0),),
            )
        )
    return tuple(moments)


def _block(now_s):
    return Block(chain_id=1, number=int(now_s) // 12, hash="made up", parent_hash="", timestamp_s=int(now_s))


def random_market(random):
    market = load_market()
    perpetual = replace(
        market.perpetual,
        cost=float(random.choice([0.0, 0.0015, 0.02])),
        gas_usd=float(random.choice([0.0, 5.0])),
        lot=float(random.choice([0.001, 0.5, 7.0])),
        max_units=float(random.choice([15.0, 50_000.0])),
        penalty=float(random.choice([0.0, 0.025])),
    )
    return replace(market, perpetual=perpetual)


@settings(deadline=None, max_examples=8)
@given(seed=st.integers(0, 2**32 - 1))
def test_any_policy_on_any_path_under_any_tiers_trades_as_the_engine(seed):
    random = np.random.default_rng(seed)
    measure = str(random.choice(["usd", "hold"]))
    base = replace(
        WITHOUT_OPTIONS, sizing=replace(WITHOUT_OPTIONS.sizing, loss_measure=measure, history_days=30)
    )
    policy = random_policy(random, base)
    kept = replace(policy.tiers, cooldown=1e6, cooldown_guarded=1e6, confirm=20)  # see forcing
    policy = replace(policy, tiers=kept)
    policy = replace(policy, near=replace(policy.near, trigger="tier"))
    spec = parse_exposure(str(random.choice(["v2:ETH/USDC:1000000", V3])))
    moments, market = made_up_moments(random, spec), random_market(random)
    tiers = np.repeat(random.integers(0, 5, STEPS // 6), 6).astype(np.int8)
    wanted = engine_run(moments, policy, market, forcing(tiers))
    tapes = Tapes(moments=moments, market=market)
    for compiled in (False, True):
        (run,) = evaluate_perpetual([policy], tapes, tiers=tiers[np.newaxis], compiled=compiled)
        assert_same(run, wanted)


@pytest.fixture(scope="module")
def crash(tmp_path_factory):
    """The made-up crash of the history builder: its hours from just before it."""
    from history_builders import DataFolder

    folder = DataFolder(path=tmp_path_factory.mktemp("history")).write_all().path
    spec, market = parse_exposure("v2:ETH/USDC:1000000"), load_market()
    from_s = START_S + 40 * DAY_S
    history = load_history(folder, spec, from_s=from_s, to_s=from_s + 3 * DAY_S)
    priced = with_implied_vols(history, market)
    return tuple(cut_moments(priced, spec, position=market.position(spec))), market


def test_signals_tiers_and_trades_of_a_crash_are_the_engines(crash):
    moments, market = crash
    wanted = engine_run(moments, WITHOUT_OPTIONS, market)
    tapes = Tapes(moments=moments, market=market)
    (run,) = evaluate_perpetual([WITHOUT_OPTIONS], tapes)
    assert_same(run, wanted)
    assert run.trades > 0
    assert max(run.tiers) >= Tier.ELEVATED


def test_the_tiers_of_a_policy_with_options_are_the_engines_too(crash):
    moments, market = crash
    tiers, *_ = engine_run(moments, STEWARD, market)
    found = evaluate_tiers([STEWARD, WITHOUT_OPTIONS], Tapes(moments=moments, market=market))
    assert found[0].tolist() == tiers.tolist()
