"""The hedge along paths: the kernel's bits, and what its rules promise."""

import math
from dataclasses import replace

import numba
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bot.engine.policy import Policy
from bot.model.hedge import Layer
from bot.model.units import HOUR_S
from bot.quant import lp, options
from bot.settings import named_policy
from bot.simulation.exposures import parse_exposure
from bot.simulation.market.model import load_market, tenor_vols
from bot.simulation.monte_carlo import hedge_rows as hedge
from bot.simulation.monte_carlo import measure_tiles as measure
from bot.simulation.monte_carlo.hedge_twin import (
    blank_hedge,
    hedge_paths,
    move_tier,
    open_position,
    pick_strikes,
    price_puts,
)
from bot.simulation.monte_carlo.model import load_model
from bot.simulation.monte_carlo.numbers import calendar_of
from bot.simulation.monte_carlo.path_twin import blank_state, path_keys, tell, walk
from bot.simulation.monte_carlo.run import run, set_up
from bot.simulation.monte_carlo.sizing import layer_terms

pytestmark = pytest.mark.xdist_group("monte-carlo")  # compiled once

MODEL, MARKET = load_model(), load_market()
V2, V3 = "v2:ETH/USDC:1000000", "v3:BTC/USDC:0.2:500000"


def setup_of(
    *policies: str, exposures: tuple[str, ...] = (V2,), paths: int = 200, days: int = 40, seed: int = 7
):
    specs = [parse_exposure(text) for text in exposures]
    named = [named_policy(name) for name in policies]
    return set_up(MODEL, MARKET, specs, named, paths=paths, steps=days, seed=seed)


def twin_of(setup, policy: int = 0):
    states = walk(setup.paths, path_keys(setup.seed, 0, setup.count), setup.steps)
    return hedge_paths(states, setup.hedge, policy=policy, steps=setup.steps, step_days=setup.step_days)


@given(
    policy=st.sampled_from(["classic", "steward", "fortress", "promoter"]),
    seed=st.integers(0, 2**32),
    vote=st.floats(0.1, 0.9),
    ratio=st.floats(0.0, 1.5),
    band=st.floats(0.01, 0.9),
    capital=st.floats(0.0, 0.1),
    two=st.booleans(),
)
@settings(max_examples=10, deadline=None)
def test_the_kernel_has_the_twins_bits(policy, seed, vote, ratio, band, capital, two):
    """Any policy numbers, any paths: the same tiers, orders, cash and values, to the last bit (R25)."""
    setup = setup_of(policy, exposures=(V2, V3) if two else (V3,), seed=seed, days=33)
    rows = setup.hedge.policies.copy()
    rows[:, :, hedge.FAST], rows[:, :, hedge.VOTE] = vote, 0.5 * vote
    rows[:, :, hedge.RESET_BAND], rows[:, :, hedge.CAPITAL] = band, capital
    rows[:, :, hedge.FIRST_LAYER + hedge.RATIO_ELEVATED] = ratio
    setup = replace(setup, hedge=replace(setup.hedge, policies=rows))
    kept, twin = run(setup).kept, twin_of(setup)
    np.testing.assert_array_equal(kept[0, measure.END], twin.bare[-1])
    np.testing.assert_array_equal(kept[1, measure.END], twin.worth[-1])
    np.testing.assert_array_equal(kept[1, measure.HIGH_COUNT], (twin.tier > 1.0).sum(axis=0))
    orders = np.sum([item.orders for item in twin.hedges], axis=0)
    np.testing.assert_array_equal(kept[1, measure.ORDER_COUNT], orders)
    falls = (1.0 - twin.worth / np.maximum.accumulate(twin.worth, axis=0)).max(axis=0)
    np.testing.assert_array_equal(kept[1, measure.DEEPEST_FALL], falls)


def test_the_same_seed_gives_the_same_bits_on_any_number_of_threads():
    setup = setup_of("steward", paths=3_000, days=12)
    many = run(setup)
    had = numba.get_num_threads()
    numba.set_num_threads(1)
    try:
        one = run(setup)
    finally:
        numba.set_num_threads(had)
    np.testing.assert_array_equal(many.kept, one.kept)
    np.testing.assert_array_equal(many.counts, one.counts)
    assert many.counts.sum(axis=2).tolist() == [[3_000] * setup.points.size] * 2


def test_more_paths_begin_with_the_same_ones():
    few, many = run(setup_of("steward", paths=100, days=9)), run(setup_of("steward", paths=400, days=9))
    np.testing.assert_array_equal(many.kept[:, :, :100], few.kept)


def test_policies_do_not_touch_each_other():
    both, alone = run(setup_of("steward", "classic", days=30)), run(setup_of("classic", days=30))
    np.testing.assert_array_equal(both.kept[2], alone.kept[1])


def states_at(ivs: np.ndarray, x: np.ndarray):
    """Return a state of ETH with these implied vols and log prices."""
    setup = setup_of("classic", paths=1, days=1)
    state = blank_state(ivs.size)
    state.iv, state.x = ivs.astype(np.float32), x.astype(np.float32)
    tell(state, setup.paths.assets[0], is_start=True)
    return state


def test_puts_are_worth_what_the_market_model_says():
    """Term structure, skew and Black-Scholes-Merton of the market file, to 1e-6 of the spot."""
    random = np.random.default_rng(2)
    ivs, x = random.uniform(0.4, 1.8, 400), random.uniform(-0.6, 0.6, 400)
    state, layer = states_at(ivs, x), blank_hedge(400).layers[0]
    layer.log_strike = (x + random.uniform(-0.5, 0.2, 400)).astype(np.float32)
    layer.strike = np.exp(layer.log_strike)
    mean = 0.7
    calendar = calendar_of(layer_terms(named_policy("classic")), MARKET, mean, steps=3, step_days=1.0)[1, 2]
    days = round(365.0 * float(calendar[hedge.ROOT_YEARS]) ** 2)
    row = setup_of("classic", paths=1, days=1).hedge.market
    price_puts(state, layer, *calendar[:3], np.float32(0.0), row)
    atm = tenor_vols(ivs, np.full(400, mean), days=float(days), half_life_days=MARKET.half_life_days)
    option = MARKET.options
    away = np.clip((layer.log_strike - x) / (atm * math.sqrt(days / 365.0)), -3.0, 3.0)
    stress = np.array([option.stress(float(iv)) for iv in ivs])
    slope = option.skew_calm + (option.skew_stress - option.skew_calm) * stress
    vols = atm * (1.0 - slope * away + option.skew_curvature * away * away)
    wanted = options.price(np.exp(x), layer.strike, days / 365.0, vols, is_put=True)
    np.testing.assert_allclose(layer.price, wanted, atol=1e-6)


@pytest.mark.parametrize("delta", [0.075, 0.275, 0.425])
def test_strikes_have_the_layers_delta(delta: float):
    from scipy.special import ndtri

    state, layer = states_at(np.array([0.5, 0.8, 1.5]), np.zeros(3)), blank_hedge(3).layers[0]
    layer.buys = np.ones(3, np.bool_)
    calendar = calendar_of(layer_terms(named_policy("classic")), MARKET, 0.6, steps=1, step_days=1.0)[0, 1]
    pick_strikes(state, layer, calendar, np.float32(MARKET.options.skew_curvature), np.float32(-ndtri(delta)))
    years, away = float(calendar[hedge.ROOT_YEARS]) ** 2, layer.log_strike.astype(np.float64)
    atm = np.sqrt(float(calendar[hedge.BASE]) + float(calendar[hedge.PER_IV2]) * state.iv2) / math.sqrt(years)
    x = away / (atm * math.sqrt(years))
    vols = atm * (1.0 - state.slope * x + MARKET.options.skew_curvature * x * x)
    found = options.delta(1.0, np.exp(away), years, vols, is_put=True)
    np.testing.assert_allclose(-found, delta, atol=2e-3)


@pytest.mark.parametrize(("text", "name"), [(V2, "ETH"), ("v3:ETH/USDC:0.2:1000", "ETH")])
def test_positions_are_worth_what_lp_says(text: str, name: str):
    spec, setup = parse_exposure(text), setup_of("classic", exposures=(text,), paths=50, days=6)
    twin = twin_of(setup)
    entry = spec.open_at(1.0)
    spots = [state[0].spot.copy() for state in walk(setup.paths, path_keys(7, 0, 50), 6)]
    values = [lp.value(entry.shape, spot) / spec.value_usd for spot in spots]
    apr = MODEL.fees.v2 if text.startswith("v2") else MODEL.fees.v3
    fees, wanted = np.zeros(50), []
    for spot, value in zip(spots, values, strict=True):
        wanted.append(value + fees)
        inside = (spot >= entry.shape.lower_usd) & (spot < entry.shape.upper_usd)
        fees = fees + np.where(inside, value * apr / 365.0, 0.0)
    np.testing.assert_allclose(twin.bare, wanted, rtol=2e-5)


def test_a_range_is_opened_anew_each_week():
    setup = setup_of("classic", exposures=(V3,), paths=20, days=8)
    assert np.flatnonzero(setup.hedge.recentres).tolist() == [7]
    row, state = setup.hedge.shapes[0], states_at(np.full(3, 0.6), np.array([-0.4, 0.0, 0.4]))
    opened = open_position(state, row)
    np.testing.assert_allclose(opened.low, state.root * math.sqrt(0.8), rtol=1e-6)


def voting(*, vote: float = 0.5, fast_vote: float | None = 0.6) -> Policy:
    """Return steward with votes and a cooldown that stay: what the preset chooses moves no rule here."""
    policy = named_policy("steward")
    tiers = replace(policy.tiers, vote=vote, vote_off=0.35, fast_vote=fast_vote, cooldown=72 * HOUR_S)
    return replace(policy, tiers=tiers)


def moved_tier(
    policy: Policy, falls: list[float], rises: list[float], technical: list[float] | None = None
) -> list[float]:
    """Return the tier after each day of falls in deviations, rises of the implied vol, TECHNICAL's scores."""
    setup = set_up(MODEL, MARKET, [parse_exposure(V2)], [policy], paths=1, steps=1, seed=7)
    state, h, found = blank_state(1), blank_hedge(1), []
    for day, (fall, rise) in enumerate(zip(falls, rises, strict=True)):
        state.sigmas, state.rise = np.float32([-fall]), np.float32([rise])
        state.technical = np.float32([technical[day] if technical else 0.0])
        move_tier(state, h, setup.hedge.policies[0, 0], np.float32(day))
        found.append(float(h.tier[0]))
    return found


def test_a_tier_rises_at_once_and_falls_after_its_cooldown():
    # S24 -0.5..-2 sigma and S25 3..15 %, both in full is a fast mean of 1; 72 h, then down (R3).
    calm = [0.0] * 4
    assert moved_tier(voting(), [0.0, 2.0, *calm], [0.0, 0.15, *calm]) == [0.0, 2.0, 2.0, 2.0, 0.0, 0.0]


def test_a_tier_is_what_the_votes_ask_for():
    """R1: TECHNICAL's third score over 0.35, held to 0.35; 0.76 x S24's score + 0.72 x S25's over 0.6."""
    assert moved_tier(voting(), [1.4], [0.06]) == [2.0]  # 0.76 x 0.6 + 0.72 x 0.25 = 0.636
    assert moved_tier(voting(), [1.4], [0.05]) == [0.0]  # 0.76 x 0.6 + 0.72 x 0.167 = 0.576
    # two families have SEVERE alone, and R2's two sources
    assert moved_tier(voting(), [9.0], [0.3]) == [2.0]
    assert moved_tier(voting(fast_vote=None), [9.0], [0.3]) == [0.0]
    assert moved_tier(voting(), [0.0] * 4, [0.0] * 4, [0.65, 0.67, 0.36, 0.34]) == [0.0, 1.0, 1.0, 0.0]


@pytest.mark.parametrize(("vote", "needed"), [(0.4, 0.66), (0.6, 0.66), (0.7, 0.7)])
def test_technical_alone_needs_its_third_score_too(vote: float, needed: float):
    """R1: the third is 0.31 under the score and must be over 0.35: a vote under 0.66 moves nothing."""
    scores = [needed - 0.01, needed + 0.01]
    assert moved_tier(voting(vote=vote), [0.0] * 2, [0.0] * 2, scores) == [0.0, 1.0]


def test_a_score_that_is_not_low_keeps_the_tier():
    """R3: down only with every vote under vote_off and the fast mean under half of fast_vote."""
    quiet = [0.0] * 4
    scores = [0.0, 0.4, 0.4, 0.4, 0.3]
    assert moved_tier(voting(), [2.0, *quiet], [0.15, *quiet], scores)[1:] == [2, 2, 2, 0]
    assert moved_tier(voting(), [2.0, 1.3, 1.3, 1.3, 0.9], [0.15, *quiet])[1:] == [2, 2, 2, 0]


def test_budgets_hold_on_every_path():
    """R9: premium of a year under budget_365d of the largest value, and none without a budget."""
    setup = setup_of("fortress", paths=500, days=60)
    twin = twin_of(setup)
    most = float(setup.hedge.policies[0, 0, hedge.BUDGET_30])
    bound = 2.0 * most * twin.bare.max(axis=0) + np.maximum(twin.worth - twin.bare, 0.0).max(axis=0) + 0.05
    assert (twin.hedges[0].premium <= bound).all()
    rows = setup.hedge.policies.copy()
    rows[:, :, hedge.CAPITAL] = 0.0
    none = run(replace(setup, hedge=replace(setup.hedge, policies=rows))).kept
    assert (none[1, measure.PAID] == 0.0).all()


def test_a_policy_that_holds_nothing_changes_nothing():
    setup = setup_of("steward", paths=300, days=30)
    rows = setup.hedge.policies.copy()
    rows[:, :, hedge.CAPITAL] = rows[:, :, hedge.SHARE_ELEVATED] = 0.0
    kept = run(replace(setup, hedge=replace(setup.hedge, policies=rows))).kept
    np.testing.assert_array_equal(kept[0, measure.END], kept[1, measure.END])
    np.testing.assert_array_equal(kept[0, measure.DEEPEST_FALL], kept[1, measure.DEEPEST_FALL])
    np.testing.assert_array_equal(kept[0, measure.WORST_LOSS], kept[1, measure.WORST_LOSS])


def test_sizes_follow_the_tiers_and_the_standing_share():
    """R8 and R14: TAIL never under its CALM share; where a perpetual serves NEAR it has no puts."""
    for policy in ("classic", "steward", "fortress"):
        (ratios,) = setup_of(policy, paths=1, days=1).ratios[0]
        tail = ratios[Layer.TAIL]
        assert all(later >= tail[0] * (1.0 - 1e-9) > 0.0 for later in tail)
        assert ratios[Layer.MID][0] == 0.0
        assert (ratios[Layer.NEAR][2] > 0.0) == (policy == "classic")


def test_a_pathway_with_waiting_is_measured_from_its_peak():
    setup = setup_of("steward", paths=400, days=60, seed=3)
    kept, twin = run(setup).kept, twin_of(setup)
    bare, tiers = twin.bare.astype(np.float64), twin.tier
    falls = 1.0 - bare / np.maximum.accumulate(bare, axis=0)
    checked = 0
    for path in range(400):
        low = int(np.argmax(falls[:, path]))
        peak = int(np.argmax(bare[: low + 1, path]))
        high = np.flatnonzero(tiers[peak : low + 1, path] > 1.0)
        wanted = float(high[0]) if high.size and falls[low, path] > 0.0 else -1.0
        if np.count_nonzero(falls[:, path] >= falls[low, path] - 1e-6) == 1:  # no tie in float32
            assert kept[1, measure.WAITED, path] == wanted
            checked += 1
    assert checked > 350
