"""decide() as a whole: walks, money laws, purity."""

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
    buys,
    calm_columns,
    classic,
    exposure,
    frame,
    held,
    listed,
    option,
    quote,
    spend,
    stressed_columns,
)
from hypothesis import given, settings
from hypothesis import strategies as st

from bot.engine.plan import leg_layer, round_down
from bot.engine.step import decide
from bot.model.hedge import HeldHedge, Layer, Side, Spend, SpendKind
from bot.model.market import Column, Metric, SeriesKey
from bot.model.record import EngineState, GroupState
from bot.model.tier import Tier
from bot.model.units import DAY_S, HOUR_S
from bot.pipeline.codec import dumps, loads

POLICY = classic()


class Account:
    """Fills every leg at its expected price and keeps the ledger, as the pipeline's book does."""

    def __init__(self, policy=POLICY, expiries=(5.4, 20.4, 45.4, 80.4, 120.4)):
        self.policy = policy
        self.state, self.decisions = EngineState(), []
        self.hedges: list[HeldHedge] = []
        self.spends: list[Spend] = []
        self.expiries = [int(NOW_S + days * DAY_S) for days in expiries]

    def step(self, columns, now_s, *, spot=SPOT, **changes):
        quotes = listed(self.expiries, now_s=now_s, spot=spot)
        marks = {item.instrument.id: item for item in quotes}
        self.hedges = [self._mark(hedge, marks, now_s) for hedge in self.hedges]
        at = frame(
            columns, now_s=now_s, quotes=quotes, held=tuple(self.hedges), spends=tuple(self.spends), **changes
        )
        self.state, decision = decide(self.policy, self.state, at)
        self.decisions.append(decision)
        for leg in decision.plan.legs:
            self._fill(leg, now_s)
        return decision

    def _mark(self, hedge, marks, now_s):
        if hedge.instrument.expiry_s <= now_s:
            return replace(hedge, settleable=True, model_usd=0.0, liquidation_usd=0.0)
        fresh = next((item for key, item in marks.items() if key == hedge.instrument.id), None)
        if fresh is None:
            return hedge
        model = fresh.model_usd / fresh.size * hedge.size
        return replace(hedge, iv=fresh.iv, model_usd=model, liquidation_usd=0.85 * model)

    def _fill(self, leg, now_s):
        if leg.side is Side.BUY:
            self.spends.append(spend(now_s, leg.expected_usd + 2.0))
            self.hedges.append(
                HeldHedge(
                    id=leg.key,
                    instrument=leg.instrument,
                    layer=leg.layer,
                    size=leg.size,
                    cost_usd=leg.expected_usd + 2.0,
                    opened_at_s=now_s,
                    iv=0.8,
                    model_usd=leg.expected_usd,
                    liquidation_usd=math.nan,
                    group=leg.group,
                )
            )
            return
        sold = next(item for item in self.hedges if item.id == leg.position_id)
        self.hedges.remove(sold)
        if leg.side is Side.SELL:
            self.spends.append(spend(now_s, -leg.expected_usd, kind=SpendKind.PROCEEDS))
            if leg.size < sold.size * (1.0 - 1e-9):
                left = 1.0 - leg.size / sold.size
                self.hedges.append(
                    replace(
                        sold,
                        size=sold.size * left,
                        cost_usd=sold.cost_usd * left,
                        model_usd=sold.model_usd * left,
                        liquidation_usd=sold.liquidation_usd * left,
                    )
                )


def tier(decision):
    return decision.groups[0].tier


def test_walk_calm_stress_calm():
    account = Account()
    now_s = NOW_S
    for _ in range(4):  # calm: the standing TAIL and nothing else
        decision = account.step(calm_columns(now_s), now_s)
        assert tier(decision) is Tier.CALM
        now_s += HOUR_S
    assert {hedge.layer for hedge in account.hedges} == {Layer.TAIL}
    assert len(account.hedges) == 1

    seen = []
    for hour in range(4):  # stress
        decision = account.step(stressed_columns(now_s, stressed_h=hour + 3), now_s)
        seen.append(tier(decision))
        now_s += HOUR_S
    assert seen == [Tier.CALM, Tier.SEVERE, Tier.SEVERE, Tier.SEVERE]  # confirmed on the second frame
    assert {hedge.layer for hedge in account.hedges} == set(Layer)
    stressed_until = now_s - HOUR_S

    steps_down = []
    for _ in range(90):  # calm again
        before = account.decisions[-1].groups[0].tier
        decision = account.step(calm_columns(now_s), now_s)
        if tier(decision) < before:
            steps_down.append((now_s, tier(decision)))
        now_s += HOUR_S
    assert [item for _, item in steps_down] == [Tier.ELEVATED, Tier.GUARDED, Tier.CALM]
    assert steps_down[0][0] - stressed_until == 6 * HOUR_S
    gaps = np.diff([at for at, _ in steps_down])
    assert (gaps == 24 * HOUR_S).all()
    sold = {leg.layer for item in account.decisions for leg in item.plan.legs if leg.side is Side.SELL}
    assert sold <= {Layer.NEAR, Layer.MID}
    assert Layer.MID in sold  # closed with the tier, unwanted for the cooldown, over 48 h old


def test_r25_same_frame_same_bytes():
    for columns in (calm_columns(), stressed_columns()):
        state = EngineState(groups={GROUP: GroupState(tier=Tier.SEVERE, last_needed_s=NOW_S - HOUR_S)})
        hedge = held(option(1300, 70), Layer.TAIL, 3.0)
        one, two = (decide(POLICY, state, frame(dict(columns), held=(hedge,))) for _ in range(2))
        assert dumps(one[0]) == dumps(two[0])
        assert dumps(one[1]) == dumps(two[1])
        assert dumps(loads(type(one[1]), dumps(one[1]))) == dumps(one[1])


def test_r25_order_of_inputs_does_not_matter():
    quotes, hedges = (
        list(board()),
        [held(option(1300, 70), Layer.TAIL, 3.0), held(option(1700, 30), Layer.MID, 2.0)],
    )
    state = EngineState(groups={GROUP: GroupState(tier=Tier.SEVERE, last_needed_s=NOW_S)})
    _, one = decide(POLICY, state, frame(quotes=tuple(quotes), held=tuple(hedges)))
    _, two = decide(POLICY, state, frame(quotes=tuple(quotes[::-1]), held=tuple(hedges[::-1])))
    assert dumps(one) == dumps(two)


MARKETS = st.lists(
    st.tuples(st.booleans(), st.floats(0.7, 1.15), st.integers(1, 30)), min_size=4, max_size=14
)


@settings(deadline=None, max_examples=12)
@given(MARKETS)
def test_r9_spend_in_any_session_stays_under_the_cap(market):
    """Over random markets: in no 24 h window is more spent than 25 % of 3 % of the highest exposure in it."""
    account, now_s, caps = Account(), NOW_S, []
    for stressed, move, hours in market:
        columns = stressed_columns(now_s) if stressed else calm_columns(now_s)
        decision = account.step(columns, now_s, spot=SPOT, exposures=(exposure(1e6 * move),))
        caps.append((now_s, decision.limits["session_cap_usd"]))
        open_usd = sum(hedge.cost_usd for hedge in account.hedges)
        bought = any(leg.side is Side.BUY for leg in decision.plan.legs)
        assert not bought or open_usd <= decision.limits["defined_risk_cap_usd"] * (1.0 + 1e-9)
        now_s += hours * HOUR_S
    spent = [(item.at_s, item.usd) for item in account.spends if item.kind is SpendKind.PREMIUM]
    for at_s, _ in spent:
        window = sum(usd for when, usd in spent if at_s - 24 * HOUR_S < when <= at_s)
        assert window <= max(cap for when, cap in caps if when <= at_s) * (1.0 + 1e-9)


@pytest.mark.parametrize(
    "broken",
    [
        {"quotes": tuple(replace(item, premium_usd=math.nan) for item in board())},
        {"quotes": tuple(replace(item, iv=math.nan) for item in board())},
        {"quotes": ()},
        {"exposures": (exposure(spot_usd=math.nan),), "columns": {}},
        {"exposures": ()},
        {"holds": ("feed is down",)},
        {"columns": {FEED: Column(times_s=np.array([NOW_S - 1e5]), values=np.array([SPOT]))}},
        {"columns": {FEED: Column(times_s=np.array([NOW_S]), values=np.array([math.nan]))}},
    ],
)
def test_nan_stale_and_hold_never_buy(broken):
    broken = dict(broken)
    columns = broken.pop("columns", None)
    state = EngineState(groups={GROUP: GroupState(tier=Tier.SEVERE, last_needed_s=NOW_S)})
    _, decision = decide(POLICY, state, frame(columns, **broken))
    assert not buys(decision)
    for group in decision.groups:
        assert group.tier is Tier.SEVERE
        assert group.shortfalls


def test_hold_still_sells_and_settles():
    unwanted = held(option(1960, 4), Layer.NEAR, 5.0, id="near")
    expired = held(option(1960, -1), Layer.MID, 5.0, id="old", settleable=True)
    state = EngineState(
        groups={GROUP: GroupState(last_needed_s=NOW_S, unwanted_since_s={"near": NOW_S - 7 * HOUR_S})}
    )
    _, decision = decide(POLICY, state, frame(held=(unwanted, expired), holds=("feed is down",)))
    assert [(leg.side, leg.position_id) for leg in decision.plan.legs] == [
        (Side.SETTLE, "old"),
        (Side.SELL, "near"),
    ]


def test_degraded_family_shows_and_blocks_and_buys_nothing_more():
    columns = calm_columns()
    for key in list(columns):
        if key.metric in (Metric.POOL_LIQUIDITY, Metric.POOL_DEPTH_USD, Metric.POOL_QUOTE_NEAR_USD):
            columns[key] = columns[key].until(NOW_S - 3 * DAY_S)
    state = EngineState(groups={GROUP: GroupState(tier=Tier.GUARDED, last_needed_s=NOW_S - 50 * HOUR_S)})
    _, decision = decide(POLICY, state, frame(columns))
    (group,) = decision.groups
    assert group.degraded == ("ONCHAIN",)
    assert group.tier is Tier.GUARDED
    assert group.because.startswith("GUARDED (data): ONCHAIN degraded")
    _, calm = decide(POLICY, EngineState(), frame(columns))
    assert calm.groups[0].tier is Tier.CALM
    assert set(buys(calm)) == {Layer.TAIL}


def test_an_open_leg_blocks_its_layer_only():
    state = EngineState(groups={GROUP: GroupState(tier=Tier.SEVERE, last_needed_s=NOW_S)})
    _, free = decide(POLICY, state, frame())
    key = next(leg.key for leg in free.plan.legs if leg.layer is Layer.NEAR)
    assert leg_layer(key) == (GROUP, "NEAR")
    _, blocked = decide(POLICY, state, frame(open_legs=(key,)))
    assert Layer.NEAR not in buys(blocked)
    assert Layer.MID in buys(blocked)
    assert any("no final outcome" in item.reason for item in blocked.groups[0].shortfalls)
    _, unreadable = decide(POLICY, state, frame(open_legs=("who knows",)))
    assert not buys(unreadable)


def test_keys_are_deterministic_and_unique():
    state = EngineState(groups={GROUP: GroupState(tier=Tier.SEVERE, last_needed_s=NOW_S)})
    keys = [leg.key for leg in decide(POLICY, state, frame())[1].plan.legs]
    assert len(set(keys)) == len(keys) >= 2
    assert keys == [leg.key for leg in decide(POLICY, state, frame())[1].plan.legs]
    assert all(key.startswith(f"{POLICY.hash[:12]}.{round(NOW_S * 1000)}-ETH.USDC-") for key in keys)


def test_limits_bound_every_buy():
    state = EngineState(groups={GROUP: GroupState(tier=Tier.SEVERE, last_needed_s=NOW_S)})
    for leg in decide(POLICY, state, frame())[1].plan.legs:
        assert leg.limit_usd == pytest.approx(1.03 * leg.expected_usd)
        assert NOW_S < leg.valid_until_s <= NOW_S + 600.0
        assert round(leg.size / 0.01, 6) == round(round(leg.size / 0.01), 6)


def test_liquidity_and_minimum_size_are_shortfalls():
    thin = frame(quotes=board(liquidity=30.0))
    _, decision = decide(POLICY, EngineState(), thin)
    sizes = [leg.size for leg in decision.plan.legs]
    assert len(sizes) == 3, "what one strike cannot sell is bought at the next"
    assert max(sizes) <= 30.0
    assert not decision.groups[0].shortfalls
    assert decision.groups[0].covered_share == pytest.approx(0.05, abs=1e-4)
    _, decision = decide(POLICY, EngineState(), frame(quotes=board(liquidity=15.0)))
    assert {leg.size for leg in decision.plan.legs} == {15.0}
    assert "sells only 45 in 3 options" in decision.groups[0].shortfalls[0].reason
    _, decision = decide(POLICY, EngineState(), frame(quotes=board(liquidity=1.0)))  # of about 100
    assert not buys(decision)
    (short,) = decision.groups[0].shortfalls
    assert "under the least order, 5% of" in short.reason
    assert short.missing == 1.0
    _, decision = decide(POLICY, EngineState(), frame(quotes=board(min_size=1e4)))
    assert not buys(decision)
    assert "under the venue's least" in decision.groups[0].shortfalls[0].reason


@pytest.mark.parametrize(
    ("value", "lot", "expected"), [(0.999, 0.5, 0.5), (1.0, 0.1, 1.0), (0.3, 0.1, 0.3), (0.7, 0.0, 0.7)]
)
def test_round_down(value, lot, expected):
    assert round_down(value, lot) == pytest.approx(expected)


def test_roll_sells_only_once_the_slot_is_served():
    """R17: without room for the new leg the old one stays."""
    aged = held(option(1800, 25), Layer.TAIL, 40.0, salvage=0.99)
    _, rolled = decide(POLICY, EngineState(), frame(held=(aged,)))
    sides = [(leg.side, leg.layer) for leg in rolled.plan.legs]
    assert sides == [(Side.BUY, Layer.TAIL), (Side.SELL, Layer.TAIL)]
    purchase, sale = rolled.plan.legs
    assert sale.only_after == purchase.key
    broke = (spend(NOW_S - HOUR_S, 7_490.0),)
    _, kept = decide(POLICY, EngineState(), frame(held=(aged,), spends=broke))
    assert kept.plan.legs == ()


@pytest.mark.parametrize(("liquidity", "sells"), [(30.0, False), (60.0, True)])
def test_r17_a_roll_that_takes_several_orders_waits_for_the_one_that_is_enough(liquidity, sells):
    """About 100 contracts are wanted. Legs fill apart: were the sale to wait for any of the orders, that one
    alone could be filled and the old leg gone."""
    aged = held(option(1800, 25), Layer.TAIL, 40.0, salvage=0.99)
    _, decision = decide(POLICY, EngineState(), frame(held=(aged,), quotes=board(liquidity=liquidity)))
    orders = [leg for leg in decision.plan.legs if leg.side is Side.BUY]
    assert len(orders) > 1
    largest = max(orders, key=lambda leg: leg.size)
    sales = [leg.only_after for leg in decision.plan.legs if leg.side is Side.SELL]
    assert sales == ([largest.key] if sells else [])
    wanted = next(item for item in decision.groups[0].targets if item.layer is Layer.TAIL).wanted_contracts
    assert (largest.size >= 0.5 * wanted) is sells


@pytest.mark.parametrize("days", [-1.0, 0.3, 25.0, 75.0])
@pytest.mark.parametrize("size", [0.0, -5.0, math.nan, math.inf])
def test_a_held_leg_without_a_size_raises_nothing_and_is_not_traded(days, size):
    state = EngineState(
        groups={GROUP: GroupState(tier=Tier.SEVERE, last_needed_s=NOW_S, unwanted_since_s={"h": 0.0})}
    )
    leg = held(option(1_700, days), Layer.TAIL, 5.0, id="h", settleable=True)
    _, decision = decide(POLICY, state, frame(held=(replace(leg, size=size),)))
    assert all(leg.side is Side.BUY for leg in decision.plan.legs)
    if not size <= 0.0 and days > 0.0:  # what it would gain is not known (R10)
        assert not decision.plan.legs


@pytest.mark.parametrize(("age_h", "remembers"), [(10, True), (72, False)])
def test_r17_easing_lasts_until_the_mid_legs_are_rolled(age_h, remembers):
    mid = held(option(1960, 12), Layer.MID, 20.0, salvage=0.99, age_s=age_h * HOUR_S)
    state = EngineState(groups={GROUP: GroupState(tier=Tier.GUARDED, last_needed_s=NOW_S, wide_term=True)})
    after, decision = decide(POLICY, state, frame(held=(mid,)))
    sold = [leg.position_id for leg in decision.plan.legs if leg.side is Side.SELL]
    assert sold == ([] if remembers else [mid.id])
    assert after.groups[GROUP].wide_term is remembers


def test_expiring_leg_is_replaced_or_an_alarm_says_so():
    near = held(option(1960, 0.9), Layer.NEAR, 60.0)
    state = EngineState(groups={GROUP: GroupState(tier=Tier.SEVERE, last_needed_s=NOW_S)})
    _, fine = decide(POLICY, state, frame(held=(near,)))
    assert Layer.NEAR in buys(fine)
    _, broke = decide(POLICY, state, frame(held=(near,), spends=(spend(NOW_S - HOUR_S, 7_499.0),)))
    assert Layer.NEAR not in buys(broke)
    alarms = [item.because for item in broke.groups[0].findings if item.because.startswith("ALARM")]
    assert alarms == [f"ALARM: NEAR leg {near.id} expires unreplaced"]


def test_hedges_without_exposure_are_let_go():
    orphan = held(option(1300, 70), Layer.TAIL, 3.0)
    state, first = decide(POLICY, EngineState(), frame(exposures=(), held=(orphan,)))
    assert first.plan.legs == ()
    assert first.groups[0].value_usd == 0.0
    later = NOW_S + 6 * HOUR_S
    again = replace(orphan, opened_at_s=NOW_S - 3 * DAY_S)
    _, second = decide(POLICY, state, frame(calm_columns(later), now_s=later, exposures=(), held=(again,)))
    assert [leg.side for leg in second.plan.legs] == [Side.SELL]


def test_two_groups_share_the_caps():
    other = exposure(id="v2:2", stable="DAI", pool="v2:ETH/DAI")
    state = EngineState(
        groups={name: GroupState(tier=Tier.SEVERE, last_needed_s=NOW_S) for name in (GROUP, "ETH/DAI")}
    )
    _, decision = decide(POLICY, state, frame(exposures=(exposure(), other)))
    assert {item.group for item in decision.groups} == {GROUP, "ETH/DAI"}
    worst = sum(leg.limit_usd for leg in decision.plan.legs)
    assert worst <= decision.limits["session_cap_usd"] == pytest.approx(0.25 * 0.03 * 2e6, rel=0.02)


def test_crash_without_votes_escalates_in_two_frames():
    """R2 needs no votes, R3 still wants its confirmation."""
    state = EngineState()
    for hour in (1, 2):
        now_s = NOW_S + 120.0 * hour
        columns = calm_columns(NOW_S)
        for key in list(columns):
            if key.metric is Metric.PRICE_USD and key.subject == "ETH":
                column = columns[key]
                columns[key] = Column(
                    times_s=np.append(column.times_s, now_s), values=np.append(column.values, SPOT * 0.8)
                )
        state, decision = decide(POLICY, state, frame(columns, now_s=now_s))
    assert tier(decision) is Tier.SEVERE


def test_quotes_for_another_settlement_price_count_below_par():
    """R10: a stable under 1 USD pays less, so more contracts are wanted for the same share."""
    weak = calm_columns()
    weak[SeriesKey(Metric.PRICE_USD, "sUSD", "pool")] = Column(
        times_s=np.array([NOW_S - 1.0]), values=np.array([0.9])
    )
    _, par = decide(POLICY, EngineState(), frame())
    _, below = decide(POLICY, EngineState(), frame(weak))
    assert buys(below)[Layer.TAIL] == pytest.approx(buys(par)[Layer.TAIL] / 0.9, rel=1e-3)


def test_venue_quote_sizes_do_not_change_the_unit_cost():
    small = frame(quotes=tuple(quote(item.instrument, size=1.0) for item in board()))
    assert buys(decide(POLICY, EngineState(), small)[1]) == buys(decide(POLICY, EngineState(), frame())[1])
