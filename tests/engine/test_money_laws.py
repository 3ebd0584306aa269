"""Laws of money that hold for every decision, whatever is listed, held and protected: R9, R10, R18, R25.

Books of several venues, settlement assets, contract sizes and lots, coarse and none; exposures of 1 USD to
1e12; held legs of every state; two groups of one underlying; and single values that cannot be.
"""

import math
from dataclasses import replace

import numpy as np
from engine.factory import (
    NOW_S,
    board,
    calm_columns,
    classic,
    exposure,
    frame,
    held,
    lp_shape,
    option,
    spend,
    stressed_columns,
)
from engine.held_legs import preset
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from bot.engine.cost_guard import carry_caps
from bot.engine.group import group_contracts, group_names, read_group
from bot.engine.limits import premium_caps, spot_grid
from bot.engine.step import decide
from bot.model.hedge import Layer, OptionType, Side, SpendKind
from bot.model.record import EngineState, GroupState
from bot.model.tier import Tier
from bot.model.units import DAY_S

FREE = {"defined_risk_capital": "100 %", "budget_30d": "100 %", "budget_365d": "100 %"}
POLICIES = (
    classic(),
    preset("steward"),
    preset("fortress"),
    classic(sizing={"loss_measure": "hold"}),
    classic(budget={"venue_share": "50 %"}),
    classic(budget={**FREE, "escalation_reserve": False}, cost_guard={"carry_floor": "100 %"}),
)
GROUPS = ("ETH/USDC", "ETH/DAI")
NO_NUMBERS = (math.nan, math.inf, -math.inf, 0.0, -1.0, 1e-12, 1e70)
BOARDS = {days: board(days=days) for days in ((5.0, 30.0, 75.0), (3.0, 20.0, 45.0, 58.0), (0.2, 10.0, 400.0))}
MONEY = ("premium_usd", "fee_usd", "swap_usd", "model_usd", "delta")
STATES = ("size", "cost_usd", "iv", "model_usd", "liquidation_usd", "opened_at_s")


def listed(rng):
    """Return a board of which each option is one venue's, in one asset and one contract size."""
    quotes = []
    for number, item in enumerate(BOARDS[rng.choice(tuple(BOARDS))]):
        if rng.random() < 0.4:
            continue
        venue, multiplier = rng.choice(("paper", "second")), rng.choice((1.0, 1.0, 0.1, 10.0))
        named = {"venue": venue, "id": f"{venue}:{number}", "multiplier": multiplier}
        instrument = replace(item.instrument, settlement=rng.choice(("sUSD", "USDC")), **named)
        terms = {
            "lot": rng.choice((0.0, 0.01, 1.0, 5.0)),
            "min_size": rng.choice((0.0, 0.01, 1.0, 10.0)),
            "liquidity": rng.choice((0.05, 3.0, 40.0, 1e4, 1e9)),
            "gas_usd": rng.choice((0.0, 2.0, 80.0)),
            "gas_most_usd": rng.choice((0.0, 100.0)),
        }
        money = {name: multiplier * getattr(item, name) for name in MONEY}
        quote = replace(item, instrument=instrument, **money, **terms)
        if rng.random() < 0.1:
            name = rng.choice((*MONEY, *terms, "size", "iv", "valid_until_s", "bid_usd"))
            quote = replace(quote, **{name: rng.choice(NO_NUMBERS)})
        quotes.append(quote)
    return tuple(quotes)


def book(rng, quotes):
    """Return held legs, some of them in what is listed, some expired, some with a value that cannot be."""
    legs = []
    for number in range(rng.choice((0, 1, 3))):
        days = rng.choice((-1.0, 0.3, 2.0, 25.0, 80.0))
        instrument = option(rng.choice((1_400, 1_900, 2_200)), days, kind=rng.choice(tuple(OptionType)))
        if quotes and rng.random() < 0.5:
            instrument = rng.choice(quotes).instrument
        group, size = rng.choice((*GROUPS, "", "gone/X")), rng.choice((0.5, 50.0, 400.0))
        layer, age_s = rng.choice(tuple(Layer)), rng.choice((10.0, 2 * DAY_S, 9 * DAY_S))
        leg = held(instrument, layer, size, salvage=rng.choice((0.2, 0.6, 1.2)), age_s=age_s, group=group)
        leg = replace(leg, id=f"h{number}", settleable=rng.random() < 0.3)
        if rng.random() < 0.25:
            leg = replace(leg, **{rng.choice(STATES): rng.choice(NO_NUMBERS)})
        legs.append(leg)
    return tuple(legs)


def positions(rng):
    found = []
    for number in range(rng.choice((0, 1, 1, 2))):
        value_usd = rng.choice((1.0, 1e3, 1e6, 1e9, 1e12))
        item = exposure(value_usd, id=f"e{number}", stable=rng.choice(("USDC", "DAI")))
        if rng.random() < 0.3:
            ends = rng.choice(((1_500.0, 2_200.0), (1_900.0, 3_000.0), (2_100.0, 2_200.0)))
            item = replace(item, shape=lp_shape(item.shape.liquidity, *ends))
        fees_usd = rng.choice((0.0, 0.01 * value_usd, math.nan, -5.0))
        found.append(replace(item, fee_income_30d_usd=fees_usd))
    return tuple(found)


def ledger(rng):
    kinds = (SpendKind.PREMIUM, SpendKind.RESERVED, SpendKind.PROCEEDS)
    found = []
    for _ in range(rng.choice((0, 2))):
        kind = rng.choice(kinds)
        usd = rng.choice((1.0, 500.0, 6_000.0)) * (-1.0 if kind is SpendKind.PROCEEDS else 1.0)
        found.append(spend(NOW_S - rng.choice((10.0, 2 * DAY_S)), usd, kind=kind))
    return tuple(found)


def scene(rng):
    quotes = listed(rng)
    columns = calm_columns() if rng.random() < 0.5 else stressed_columns()
    made = {"held": book(rng, quotes), "exposures": positions(rng), "spends": ledger(rng)}
    return frame(columns, quotes=quotes, **made)


# A scene of random choices hardly shrinks: it takes the five minutes that a test has, and tells nothing.
TOLD_AT_ONCE = (Phase.explicit, Phase.reuse, Phase.generate)


@settings(deadline=None, max_examples=60, phases=TOLD_AT_ONCE)
@given(
    st.randoms(use_true_random=False),
    st.sampled_from(POLICIES),
    st.sampled_from(Tier),
    st.booleans(),
)
def test_laws_of_every_decision(rng, policy, tier, unwanted):
    at = scene(rng)
    since = {f"h{number}": NOW_S - 9 * DAY_S for number in range(3)} if unwanted else {}
    memory = GroupState(tier=tier, last_needed_s=NOW_S, unwanted_since_s=since)
    with np.errstate(all="ignore"):
        _, decision = decide(policy, EngineState(groups=dict.fromkeys(GROUPS, memory)), at)
        buys = [leg for leg in decision.plan.legs if leg.side is Side.BUY]
        sells = [leg for leg in decision.plan.legs if leg.side is Side.SELL]
        keeps_caps(policy, at, buys)
        keeps_terms(at, buys)
        sells_only_for_value(policy, at, sells)
        for name in group_names(at):
            group, mine = read_group(policy, at, name), [leg for leg in buys if leg.group == name]
            keeps_guard(policy, at, group, mine)
            keeps_carry(carry_caps(policy, group, decision_tier(decision, name), at), at, mine)


def keeps_caps(policy, at, buys):
    """R9: whatever the groups are, together they stay within every cap."""
    exposure_usd = sum(read_group(policy, at, name).value_usd for name in group_names(at))
    for cap in premium_caps(policy, at, exposure_usd=exposure_usd):
        most_usd = sum(leg.reserve_usd for leg in buys if cap.venue in ("", leg.instrument.venue))
        assert most_usd <= cap.room_usd * (1.0 + 1e-6) + 1e-6, cap.name
    for leg in buys:
        assert leg.expected_usd <= leg.limit_usd <= leg.reserve_usd < math.inf


def keeps_terms(at, buys):
    known = {item.instrument: item for item in at.quotes}
    bought = {}
    for leg in buys:
        quote = known[leg.instrument]
        bought[leg.instrument] = bought.get(leg.instrument, 0.0) + leg.size
        assert leg.size >= quote.min_size * (1.0 - 1e-9)
        assert leg.valid_until_s <= quote.valid_until_s
        if quote.lot > 0.0:
            lots = leg.size / quote.lot
            assert abs(lots - round(lots)) <= 1e-9 * max(lots, 1.0)
    assert all(size <= known[name].liquidity * (1.0 + 1e-6) for name, size in bought.items())


def sells_only_for_value(policy, at, sells):
    """R18: nothing young, nothing for less than its salvage, no more than there is."""
    known, sold = {item.id: item for item in at.held}, {}
    for leg in sells:
        hedge = known[leg.position_id]
        sold[hedge.id] = sold.get(hedge.id, 0.0) + leg.size
        assert hedge.liquidation_usd > 0.0
        assert hedge.liquidation_usd >= policy.no_loyalty.min_salvage * hedge.model_usd
        assert at.now_s - hedge.opened_at_s >= policy.no_loyalty.min_hold
    assert all(size <= known[name].size * (1.0 + 1e-9) for name, size in sold.items())


def decision_tier(decision, name):
    return next(item.tier for item in decision.groups if item.group == name)


def keeps_carry(cap, at, buys):
    """R11: what a plan costs to carry is in its room. TAIL is left out, of which a part is exempt."""
    known = {item.instrument: item for item in at.quotes}
    counted = [(known[leg.instrument], leg.size) for leg in buys if leg.layer is not Layer.TAIL]
    carry_usd = sum(cap.carry_usd(quote, size) + quote.gas_usd for quote, size in counted)
    assert carry_usd <= cap.room_usd * (1.0 + 1e-6) + 1e-6


def keeps_guard(policy, at, group, buys):
    """R10: in whole lots every part of the purchases keeps it, since each has at least one of its own."""
    if not buys:
        return
    known = {item.instrument: item for item in at.quotes}
    quotes = [known[leg.instrument] for leg in buys]
    kept = [item for item in group.held if item.instrument.expiry_s > at.now_s and item.size > 0.0]
    spots = spot_grid(policy.sizing, group.spot_usd)
    fresh = group_contracts(group, [(item.instrument, item.iv) for item in quotes])
    old = group_contracts(group, [(item.instrument, item.iv) for item in kept])
    over = np.array([leg.size - quote.lot for leg, quote in zip(buys, quotes, strict=True)])
    limit = np.maximum(group.loss_at(spots), 0.0) * (1.0 + policy.sizing.over_hedge_tolerance)
    for days in {0.0, float(group.horizon_days), *fresh.dte, *old.dte}:
        before = np.array([item.size for item in kept]) @ old.gains_at(spots, days) if kept else 0.0
        room = np.maximum(limit - before, 0.0)
        assert np.isfinite(room).all()
        gains = over @ np.maximum(fresh.gains_at(spots, days), 0.0)
        assert (gains <= room + 1e-6 * max(1.0, group.value_usd)).all()
