"""R27 for NEAR: when a perpetual serves, how much is short, what its limits are, and the laws it keeps."""

import math
from dataclasses import replace

import numpy as np
import pytest
from engine.factory import (
    FEED,
    GROUP,
    NOW_S,
    SPOT,
    TWAP,
    board,
    calm_columns,
    classic,
    exposure,
    frame,
    option,
    set_last,
)
from engine.factory import held as held_of
from hypothesis import given, settings
from hypothesis import strategies as st

from bot.engine.group import group_contracts, read_group
from bot.engine.limits import DEFINED_RISK_CAP, OVER_HEDGE_CAP, premium_caps, spot_grid
from bot.engine.perpetual import best_perpetual, margin_per_unit, perpetual_at_risk, stress_price
from bot.engine.perpetual_orders import LIQUIDITY_CAP, MARGIN_CAP, NOTIONAL_CAP
from bot.engine.plan import PAUSED
from bot.engine.step import decide
from bot.model.hedge import Layer
from bot.model.perpetual import HeldPerpetual, Perpetual, PerpetualAction, PerpetualQuote
from bot.model.record import Decision, EngineState, GroupState
from bot.model.tier import Tier
from bot.pipeline.codec import dumps, loads

SHARES = {"CALM": "0 %", "GUARDED": "0 %", "ELEVATED": "25 %", "SEVERE": "35 %", "CRISIS": "50 %"}
NEAR = {"instrument": "perpetual", "trigger": "tier", "delta_share": SHARES}
WIDE = {"defined_risk_capital": "20 %"}
POLICY = classic(near=NEAR, budget=WIDE)
DELTA = 250.0  # units: half of 1m USD at 2,000
STEADY = calm_columns()
for _key in (FEED, TWAP):  # the last price is SPOT itself
    STEADY[_key] = set_last(STEADY[_key], SPOT, hours=1)
ETH_PERP = Perpetual(venue="perp-v2", id="vETH", underlying="ETH", settlement="USDC")


def perp(**changes) -> PerpetualQuote:
    base = PerpetualQuote(
        perpetual=ETH_PERP,
        size=10.0,
        mark_usd=SPOT,
        funding_apr=0.05,
        cost=0.001,
        initial_margin=0.1,
        maintenance_margin=0.0625,
        gas_usd=1.0,
        min_size=0.01,
        lot=0.01,
        liquidity=10_000.0,
        valid_until_s=NOW_S + 600.0,
        block_number=1,
    )
    return replace(base, **changes)


def short(units: float = 62.5, **changes) -> HeldPerpetual:
    base = HeldPerpetual(
        id="perp:1",
        perpetual=ETH_PERP,
        group=GROUP,
        size=-units,
        entry_usd=SPOT,
        mark_usd=SPOT,
        margin_usd=0.2 * units * SPOT,
        liquidation_usd=2.0 * SPOT,
        opened_at_s=NOW_S - 3_600.0,
    )
    return replace(base, **changes)


def at(tier: Tier = Tier.ELEVATED, *, policy=POLICY, perps=None, quotes=None, **changes) -> Decision:
    state = EngineState(groups={GROUP: GroupState(tier=tier, last_needed_s=NOW_S)})
    seen = frame(
        STEADY,
        quotes=full_board() if quotes is None else quotes,
        perpetual_quotes=(perp(),) if perps is None else perps,
        **changes,
    )
    return decide(policy, state, seen)[1]


def full_board():
    return board(days=(6.0, 30.0, 75.0))


def far_board():
    """Options of MID and TAIL alone: none in NEAR's band."""
    return board(days=(30.0, 75.0))


def finding(decision: Decision):
    return next(item for item in decision.groups[0].findings if item.rule == "R27")


def opened(decision: Decision) -> float:
    return sum(-item.size for item in decision.perpetuals if item.action is PerpetualAction.OPEN)


def near_row(decision: Decision):
    return next(item for item in decision.groups[0].targets if item.layer is Layer.NEAR)


def cap_of(decision: Decision) -> str:
    return next(
        (item.cap for item in decision.groups[0].shortfalls if item.layer is Layer.NEAR and item.cap), ""
    )


@pytest.mark.parametrize(
    ("tier", "share"),
    [(Tier.CALM, 0.0), (Tier.GUARDED, 0.0), (Tier.ELEVATED, 0.25), (Tier.SEVERE, 0.35), (Tier.CRISIS, 0.5)],
)
def test_r12_a_short_on_the_tiers_share_of_delta(tier, share):
    decision = at(tier)
    assert opened(decision) == pytest.approx(share * DELTA, abs=0.011)
    assert not [leg for leg in decision.plan.legs if leg.layer is Layer.NEAR]
    assert near_row(decision).wanted_contracts == pytest.approx(share * DELTA)
    assert near_row(decision).open == (share > 0.0)
    assert finding(decision).fired == (share > 0.0)


def test_r27_the_order_bears_the_stress_and_says_what_it_costs():
    decision = at()
    (order,) = decision.perpetuals
    group = read_group(POLICY, frame(STEADY, quotes=full_board()), GROUP)
    stress_usd = stress_price(POLICY, group, SPOT)
    assert stress_usd > SPOT
    units = -order.size
    equity_usd = order.margin_usd + units * (SPOT - stress_usd)  # once the mark is at the stress price
    assert equity_usd >= 0.0625 * units * stress_usd * (1.0 - 1e-9)
    assert order.margin_usd == pytest.approx(units * margin_per_unit(perp(), stress_usd))
    assert order.limit_usd == pytest.approx(SPOT * (1.0 - 0.001 - 0.005))
    assert order.expected_usd == pytest.approx(units * SPOT * 0.001 + 1.0)
    assert not order.reduce_only
    assert order.position_id == ""
    assert loads(Decision, dumps(decision)) == decision
    assert "perpetual short 0.00 to 62.50 ETH" in decision.groups[0].because
    assert "removes" in finding(decision).because


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"funding_apr": -0.3000001}, "funding is -30.0%"),
        ({"funding_apr": math.nan}, "funding"),
        ({"mark_usd": 2_101.0}, "off the spot"),
        ({"mark_usd": math.nan}, "finite"),
        ({"mark_usd": 0.0}, "finite"),
        ({"cost": -0.001}, "cost"),
        ({"cost": 1.0}, "cost"),
        ({"liquidity": 0.0}, "liquidity"),
        ({"liquidity": math.inf}, "liquidity"),
        ({"initial_margin": 1.5}, "margins"),
        ({"maintenance_margin": 0.2}, "margins"),
        ({"valid_until_s": NOW_S - 1.0}, "expired 1 s ago"),
        ({"indicative": True}, "indicative only"),
        ({"lot": math.nan}, "lot"),
    ],
)
def test_r27_a_quote_that_may_not_be_shorted_leaves_near_to_puts(changes, words):
    decision = at(perps=(perp(**changes),))
    assert not decision.perpetuals
    assert words in finding(decision).because
    assert any(leg.layer is Layer.NEAR for leg in decision.plan.legs)


@pytest.mark.parametrize("apr", [-0.3, 0.0, 2.0])
def test_r27_funding_at_the_limit_is_taken(apr):
    assert opened(at(perps=(perp(funding_apr=apr),))) > 0.0


def test_r27_paper_quotes_fill_on_paper_only():
    assert at(perps=(perp(indicative=True, on_paper=True),)).perpetuals


def test_r27_stands_in_where_no_near_option_is_listed_and_goes_when_one_is_back():
    policy = classic(near={"trigger": "tier"}, budget=WIDE)  # wants puts
    assert not at(policy=policy).perpetuals
    alone = at(policy=policy, quotes=far_board())
    assert opened(alone) == pytest.approx(0.2 * DELTA, abs=0.011)
    assert "no option of NEAR's band" in finding(alone).because
    back = at(policy=policy, perpetuals=(short(50.0),))
    assert any(leg.layer is Layer.NEAR for leg in back.plan.legs)
    assert not back.perpetuals  # the put is not held yet
    put = next(leg for leg in back.plan.legs if leg.layer is Layer.NEAR)
    served = at(
        policy=policy, perpetuals=(short(50.0),), held=(held_of(put.instrument, Layer.NEAR, put.size),)
    )
    (order,) = served.perpetuals
    assert (order.action, order.size) == (PerpetualAction.REDUCE, 50.0)
    assert order.reduce_only
    assert order.position_id == "perp:1"
    assert order.limit_usd == pytest.approx(SPOT * (1.0 + 0.006))


@pytest.mark.parametrize(
    ("held", "change"),
    [
        (62.5 / 1.3 + 0.01, 0.0),  # target / 1.3: 23 % under it
        (62.5 * 0.7, 0.0),  # at the band
        (62.5 * 0.7 - 0.1, 18.85),  # beyond it
        (62.5 * 1.3 - 0.01, 0.0),
        (62.5 * 1.3 + 0.1, -18.85),
        (251.0, -188.5),  # more than the group's delta is never kept
    ],
)
def test_r12_reset_when_delta_has_moved_by_the_band(held, change):
    decision = at(perpetuals=(short(held),))
    assert -sum(item.size for item in decision.perpetuals) == pytest.approx(change, abs=0.011)


@pytest.mark.parametrize("tier", [Tier.CALM, Tier.GUARDED])
def test_r12_closes_with_its_tier(tier):
    (order,) = at(tier, perpetuals=(short(),)).perpetuals
    assert (order.action, order.size) == (PerpetualAction.REDUCE, 62.5)
    assert "NEAR is closed" in order.because


def test_r27_closing_needs_no_quote_no_trigger_and_no_calm():
    (order,) = at(Tier.CALM, perps=(), perpetuals=(short(),), holds=("oracle is stale",)).perpetuals
    assert order.action is PerpetualAction.REDUCE
    assert math.isnan(order.expected_usd)


def test_r27_a_hold_opens_nothing_and_reports_the_shortfall():
    decision = at(holds=("oracle is stale",))
    assert not decision.perpetuals
    assert any("HOLD" in item.reason for item in decision.groups[0].shortfalls)


def test_r27_what_is_held_goes_on_without_a_quote():
    decision = at(perps=(), perpetuals=(short(),))
    assert not decision.perpetuals
    assert not [leg for leg in decision.plan.legs if leg.layer is Layer.NEAR]
    assert near_row(decision).held_contracts == pytest.approx(62.5)


def test_r27_a_position_that_was_not_read_has_not_left():
    state = {"exposures": (exposure(5e5),), "perpetuals": (short(),), "unseen": ("v3:7",)}
    assert not [item for item in at(**state).perpetuals if item.reduce_only]
    assert [item for item in at(**{**state, "unseen": ()}).perpetuals if item.reduce_only]


def test_r27_hedges_of_positions_that_left_are_closed():
    (order,) = at(exposures=(), perpetuals=(short(),)).perpetuals
    assert (order.action, order.size) == (PerpetualAction.REDUCE, 62.5)


def test_r27_an_order_under_way_is_waited_for():
    decision = at(open_legs=("abc.1-ETH.USDC-PERPETUAL-0",))
    assert not decision.perpetuals
    assert any(leg.layer is Layer.TAIL for leg in decision.plan.legs)  # the layers do not wait for it


@pytest.mark.parametrize(
    ("policy", "perps", "cap"),
    [
        (classic(near=NEAR, budget=WIDE, perpetual={"max_notional": "5 %"}), perp(), NOTIONAL_CAP),
        (classic(near=NEAR, budget=WIDE, perpetual={"max_margin": "1 %"}), perp(), MARGIN_CAP),
        (classic(near=NEAR, budget={"defined_risk_capital": "1 %"}), perp(), DEFINED_RISK_CAP),
        (POLICY, perp(liquidity=20.0), LIQUIDITY_CAP),
    ],
)
def test_r9_limits_of_perpetuals_cut_and_say_so(policy, perps, cap):
    decision = at(policy=policy, perps=(perps,))
    assert 0.0 < opened(decision) < 62.0
    assert cap_of(decision) == cap
    (order,) = decision.perpetuals
    units = -order.size
    assert units * SPOT <= 1e6 * policy.perpetual.max_notional
    assert order.margin_usd <= 1e6 * policy.perpetual.max_margin


def test_r9_loss_to_liquidation_counts_in_defined_risk_capital():
    held = short(liquidation_usd=2_200.0, margin_usd=20_000.0)
    assert held.loss_to_liquidation_usd == pytest.approx(62.5 * 200.0)
    assert replace(held, liquidation_usd=math.nan).loss_to_liquidation_usd == 20_000.0
    assert replace(held, liquidation_usd=9_000.0).loss_to_liquidation_usd == 20_000.0
    assert replace(held, entry_usd=2_300.0).loss_to_liquidation_usd == 0.0

    def used(perpetuals):
        seen = frame(STEADY, perpetuals=perpetuals)
        caps = premium_caps(POLICY, seen, exposure_usd=1e6)
        return next(cap.used_usd for cap in caps if cap.name == DEFINED_RISK_CAP)

    assert used((held,)) - used(()) == pytest.approx(12_500.0)


def test_r27_margin_is_added_where_liquidation_came_near():
    group = read_group(POLICY, frame(STEADY, quotes=full_board()), GROUP)
    stress_usd = stress_price(POLICY, group, SPOT)
    near_usd = SPOT + 0.5 * (stress_usd - SPOT)
    (order,) = at(perpetuals=(short(liquidation_usd=near_usd),)).perpetuals
    assert order.action is PerpetualAction.ADD_MARGIN
    assert order.margin_usd == pytest.approx(62.5 * 1.0625 * (stress_usd - near_usd))
    far_usd = SPOT + 0.71 * (stress_usd - SPOT)
    assert not at(perpetuals=(short(liquidation_usd=far_usd),)).perpetuals


def test_r27_without_room_for_margin_the_short_shrinks_to_what_its_margin_bears():
    policy = classic(near=NEAR, budget=WIDE, perpetual={"max_margin": "0 %"})
    group = read_group(policy, frame(STEADY, quotes=full_board()), GROUP)
    stress_usd = stress_price(policy, group, SPOT)
    near_usd = SPOT + 0.5 * (stress_usd - SPOT)
    (order,) = at(policy=policy, perpetuals=(short(liquidation_usd=near_usd),)).perpetuals
    assert order.reduce_only
    left = 62.5 - order.size
    equity_usd = 62.5 * (near_usd * 1.0625 - SPOT)  # that makes near_usd its liquidation
    assert equity_usd + left * (SPOT - stress_usd) == pytest.approx(left * 0.0625 * stress_usd)


def test_r27_what_shrinks_for_want_of_margin_is_not_enlarged_beside_it():
    policy = classic(near=NEAR, budget=WIDE, perpetual={"max_margin": "0.5 %"})
    group = read_group(policy, frame(STEADY, quotes=full_board()), GROUP)
    near_usd = SPOT + 0.3 * (stress_price(policy, group, SPOT) - SPOT)
    held = short(20.0, liquidation_usd=near_usd, margin_usd=4_990.0)  # the target is 62.5
    (order,) = at(policy=policy, perpetuals=(held,)).perpetuals
    assert order.reduce_only


def test_r27_strays_count_in_no_figure_of_the_short():
    long = short(id="perp:9", size=5.0)
    assert "short 62.5 ETH, 62.5 after this step" in finding(at(perpetuals=(short(), long))).because


def test_r27_an_unknown_price_of_liquidation_is_an_alarm():
    assert "ALARM" in finding(at(perpetuals=(short(liquidation_usd=math.nan),))).because


def test_r27_strays_are_closed():
    long = short(id="perp:9", size=5.0)
    other = short(id="perp:8", perpetual=replace(ETH_PERP, underlying="BTC"))
    orders = {item.position_id: item for item in at(perpetuals=(short(), long, other)).perpetuals}
    assert orders["perp:9"].size == -5.0
    assert orders["perp:9"].limit_usd < SPOT
    assert orders["perp:8"].size == 62.5
    assert "perp:1" not in orders


def test_r27_the_cheapest_and_where_it_is_held_first():
    dear = perp(perpetual=replace(ETH_PERP, venue="dear"), cost=0.002)
    seen = frame(STEADY, quotes=full_board(), perpetual_quotes=(dear, perp()))
    group = read_group(POLICY, seen, GROUP)
    assert best_perpetual(POLICY, seen, group)[0] == perp()
    there = replace(seen, perpetuals=(short(perpetual=dear.perpetual),))
    assert best_perpetual(POLICY, there, read_group(POLICY, there, GROUP))[0] == dear


def test_r27_a_bad_quote_beside_a_good_one_of_the_same_perpetual_is_left_out():
    for both in ((perp(mark_usd=-1.0), perp()), (perp(), perp(mark_usd=-1.0))):
        (order,) = at(perps=both).perpetuals
        assert order.limit_usd > 0.0


def test_r12_the_trigger_holds_the_short_back_as_a_shortfall():
    policy = classic(near={"instrument": "perpetual", "delta_share": SHARES}, budget=WIDE)
    decision = at(policy=policy)
    assert not decision.perpetuals
    reasons = [item for item in decision.groups[0].shortfalls if item.layer is Layer.NEAR]
    assert reasons
    assert reasons[0].missing_contracts == pytest.approx(62.5)
    assert opened(at(Tier.SEVERE, policy=policy)) == pytest.approx(0.35 * DELTA, abs=0.011)


def test_r11_carry_of_the_short_is_bounded_in_elevated():
    dear = perp(funding_apr=-0.29, cost=0.02)
    calm = at(perps=(dear,))
    units = opened(calm)
    month_usd = units * SPOT * (2 * 0.02 + 0.29 * 30 / 365)
    assert 0.0 < units < 62.0
    assert month_usd <= 2 * 0.0025 * 1e6
    assert "cost guard" in cap_of(calm)
    assert opened(at(Tier.SEVERE, perps=(dear,))) == pytest.approx(0.35 * DELTA, abs=0.011)


@settings(max_examples=12, deadline=None)
@given(
    share=st.integers(5, 100),
    held=st.floats(0.0, 250.0),
    cost=st.floats(0.0, 0.05),
    mark=st.floats(1_905.0, 2_095.0),
    tier=st.sampled_from([Tier.ELEVATED, Tier.SEVERE, Tier.CRISIS]),
)
def test_r10_laws_of_the_short_and_the_options_together(share, held, cost, mark, tier):
    """Never over the delta, never over R10's bound at any point, with all that is held and bought."""
    shares = {**SHARES, "ELEVATED": f"{share} %", "SEVERE": f"{share} %", "CRISIS": f"{share} %"}
    policy = classic(near={**NEAR, "delta_share": shares}, budget=WIDE, perpetual={"conversions": False})
    perpetuals = (short(held, mark_usd=mark),) if held > 0.01 else ()
    decision = at(tier, policy=policy, perps=(perp(cost=cost, mark_usd=mark),), perpetuals=perpetuals)
    after = held * bool(perpetuals) - sum(item.size for item in decision.perpetuals)
    assert after <= DELTA * (1.0 + 1e-9)
    assert all(math.isfinite(item.size) for item in decision.perpetuals)
    spots = spot_grid(policy.sizing, SPOT)
    group = read_group(policy, frame(STEADY, quotes=full_board()), GROUP)
    gain = np.maximum(after * (SPOT - spots), 0.0)
    if opened(decision) > 0.0:
        buys = [leg for leg in decision.plan.legs if leg.side.value == "buy"]
        sold = {item.instrument: item for item in full_board()}
        terms = group_contracts(group, [(leg.instrument, sold[leg.instrument].iv) for leg in buys])
        sizes = np.array([leg.size for leg in buys])
        for days in (0.0, 10.0):
            options = sizes @ np.maximum(terms.gains_at(spots, days), 0.0) if buys else 0.0
            lots = 0.01 * (np.maximum(terms.gains_at(spots, days), 0.0).sum(axis=0) if buys else 0.0)
            bound = np.maximum(group.loss_at(spots), 0.0) * 1.05 + lots + 0.01 * np.maximum(SPOT - spots, 0.0)
            assert (gain + options <= bound * (1.0 + 1e-9) + 1e-6).all()


def test_r10_cuts_the_short_where_options_already_cover():
    puts = held_of(option(2_000.0, 30.0), Layer.MID, 300.0)
    decision = at(Tier.CRISIS, held=(puts,))
    assert opened(decision) < 0.5 * DELTA - 1.0
    assert cap_of(decision) == OVER_HEDGE_CAP


def test_same_frame_same_bytes_in_any_order_of_quotes():
    other = perp(perpetual=replace(ETH_PERP, venue="other"))
    assert dumps(at(perps=(perp(), other))) == dumps(at(perps=(other, perp())))


def fill_all(held: tuple[HeldPerpetual, ...], orders, mark: float) -> tuple[HeldPerpetual, ...]:
    """Return what a venue would hold after these orders, each filled at the mark and its margin paid in."""
    units, margin_usd = sum(-item.size for item in held), sum(item.margin_usd for item in held)
    for order in orders:
        part = min(max(order.size, 0.0) / units, 1.0) if units > 0.0 else 0.0
        units, margin_usd = units - order.size, margin_usd * (1.0 - part) + order.margin_usd
    entry = held[0].entry_usd if held else mark
    if units <= 1e-9:
        return ()
    liquidation = (margin_usd + units * entry) / (units * 1.0625)
    return (short(units, entry_usd=entry, mark_usd=mark, margin_usd=margin_usd, liquidation_usd=liquidation),)


@pytest.mark.parametrize("seed", [1, 2])
def test_r27_along_a_walk_the_short_stays_covered_and_is_not_churned(seed):
    """Over 40 steps of +-2 %: never over the delta, never near liquidation, closed in CALM, few orders."""
    random = np.random.default_rng(seed)
    tiers = [Tier.ELEVATED] * 15 + [Tier.SEVERE] * 15 + [Tier.CALM] * 10
    held: tuple[HeldPerpetual, ...] = ()
    spot, orders = SPOT, 0
    position = exposure()
    for tier in tiers:
        spot *= math.exp(random.normal(0.0, 0.02))
        columns = dict(STEADY)
        for key in (FEED, TWAP):
            columns[key] = set_last(columns[key], spot, hours=1)
        held = tuple(replace(item, mark_usd=spot) for item in held)
        seen = frame(columns, exposures=(position,), perpetuals=held, perpetual_quotes=(perp(mark_usd=spot),))
        state = EngineState(groups={GROUP: GroupState(tier=tier, last_needed_s=NOW_S)})
        found = decide(POLICY, state, seen)[1].perpetuals
        orders += len(found)
        held = fill_all(held, found, spot)
        group = read_group(POLICY, seen, GROUP)
        for item in held:
            assert -item.size <= group.delta * (1.0 + 1e-9)
            assert item.liquidation_usd >= spot + 0.65 * (stress_price(POLICY, group, spot) - spot)
        assert bool(held) == (tier is not Tier.CALM)
    assert orders <= 12


def test_r27_what_is_reduced_releases_its_margin_and_what_bears_the_rest_stays():
    """A reduction to the target takes its part of the margin out; one for want of margin leaves it all."""
    decision = at(Tier.CALM, perpetuals=(short(50.0),))
    (order,) = decision.perpetuals
    assert order.reduce_only
    assert order.release_usd == pytest.approx(0.2 * 50.0 * SPOT)
    half = at(perpetuals=(short(125.0),))  # to 62.5
    (order,) = [item for item in half.perpetuals if item.reduce_only]
    assert order.release_usd == pytest.approx(order.size * 0.2 * SPOT)
    near = short(60.0, liquidation_usd=1.02 * SPOT, margin_usd=1e6)  # R9 leaves no margin to add
    kept = at(perpetuals=(near,), policy=classic(near=NEAR, perpetual={"max_margin": "1 %"}, budget=WIDE))
    orders = [item for item in kept.perpetuals if item.reduce_only]
    assert orders
    assert [item.release_usd for item in orders] == [0.0] * len(orders)


def test_r27_refused_openings_wait_alone():
    """A venue that refuses to open does not keep a short from being reduced, nor margin from being added."""
    key = f"plan-{GROUP.replace('/', '.')}-PERPETUAL-0"
    waits = at(open_legs=(f"{PAUSED}{key}",))
    assert not waits.perpetuals
    assert "refused to open it twice" in finding(waits).because
    reduced = at(Tier.CALM, perpetuals=(short(50.0),), open_legs=(f"{PAUSED}{key}",))
    assert [item.action for item in reduced.perpetuals] == [PerpetualAction.REDUCE]
    assert not at(Tier.CALM, perpetuals=(short(50.0),), open_legs=(key,)).perpetuals


def test_r9_an_order_that_may_still_be_filled_keeps_its_room():
    """An open order of another group takes notional, margin and capital until its end is known."""
    alone = at()
    (order,) = alone.perpetuals
    waiting = replace(order, key="plan-OTHER-PERPETUAL-0", group="OTHER")
    limited = classic(near=NEAR, perpetual={"max_notional": "20 %"}, budget=WIDE)
    free, beside = at(policy=limited), at(policy=limited, perpetual_orders=(waiting,))
    assert opened(free) + opened(beside) == pytest.approx(0.2 * 1e6 / SPOT, rel=0.01)
    assert cap_of(beside) == NOTIONAL_CAP
    seen = frame(STEADY, quotes=full_board(), perpetual_quotes=(perp(),), perpetual_orders=(waiting,))
    assert perpetual_at_risk(seen) == pytest.approx(order.margin_usd)
