"""R20: cover is a standing share, bought in CALM, renewed before it ends, and never a hedge."""

import math
from dataclasses import replace

import pytest
from engine.factory import GROUP, NOW_S, classic, exposure, frame
from hypothesis import given, settings
from hypothesis import strategies as st

from bot.engine.base_layers.insurance import cover_states, insurance
from bot.engine.step import decide
from bot.model.base_layers import Action, BaseHoldings, Cover
from bot.model.record import EngineState
from bot.model.tier import Tier
from bot.model.units import DAY_S

POLICY = classic(insurance={"shares": {"dex": "5 %", "lending": "20 %"}})
WANTED = 50_000.0  # 5 % of the factory's million in uniswap-v2
CALM = {GROUP: Tier.CALM}


def cover(amount_usd=WANTED, days=100.0, **changes):
    base = Cover(id="c1", protocol="uniswap-v2", amount_usd=amount_usd, expires_s=NOW_S + days * DAY_S)
    return replace(base, **changes)


def look(*covers, market=CALM, protocol=None, policy=POLICY, **changes):
    held = frame(base=BaseHoldings(covers=covers), quotes=(), **changes)
    tiers = {} if protocol is None else {"uniswap-v2": protocol}
    return insurance(policy, held, market, tiers)


def asked(proposals):
    return [(item.action, item.subject, pytest.approx(item.amount_usd)) for item in proposals]


BUY = (Action.BUY_COVER, "uniswap-v2")
RENEW = (Action.RENEW_COVER, "c1")


@pytest.mark.parametrize(
    ("amounts", "bought"),
    [
        ((), WANTED),
        ((20_000.0,), 30_000.0),
        ((44_999.0,), 5_001.0),
        ((45_000.0,), 0.0),  # buy_under, 90 %
        ((WANTED,), 0.0),
        ((80_000.0,), 0.0),
        ((20_000.0, 25_000.0), 0.0),
    ],
)
def test_r20_bought_in_calm_up_to_the_share(amounts, bought):
    proposals, (found,) = look(*(cover(usd, id=f"c{i}") for i, usd in enumerate(amounts)))
    assert asked(proposals) == ([(*BUY, bought)] if bought else [])
    assert found.fired is bool(bought)
    assert "uniswap-v2 (dex)" in found.because


@pytest.mark.parametrize("tier", list(Tier))
def test_r20_the_market_tier_says_when_and_never_how_much(tier):
    held = cover(20_000.0)
    proposals, (found,) = look(held, market={GROUP: tier})
    assert asked(proposals) == ([(*BUY, 30_000.0)] if tier is Tier.CALM else [])
    if tier is not Tier.CALM:
        assert f"30,000 USD short; bought in CALM, the market tier is {tier.name}" in found.because


def test_r20_an_unknown_market_tier_is_not_calm():
    proposals, (found,) = look(market={})
    assert proposals == ()
    assert "not known" in found.because


def test_r20_one_group_of_a_protocol_out_of_calm_is_enough_to_wait():
    other = exposure(1e5, id="v2:2", stable="DAI")
    market = {GROUP: Tier.CALM, "ETH/DAI": Tier.GUARDED}
    proposals, _ = look(market=market, exposures=(exposure(), other))
    assert proposals == ()
    elsewhere = replace(other, protocol="curve")
    proposals, _ = look(market=market, exposures=(exposure(), elsewhere))
    assert asked(proposals) == [(*BUY, WANTED)]


@pytest.mark.parametrize(
    ("tier", "buys"),
    [
        (None, True),  # no source watches it
        (Tier.CALM, True),
        (Tier.GUARDED, True),
        (Tier.ELEVATED, False),
        (Tier.SEVERE, False),
        (Tier.CRISIS, False),
    ],
)
def test_r20_none_for_a_protocol_above_guarded(tier, buys):
    fresh, (found,) = look(protocol=tier)
    renewed, _ = look(cover(days=3.0), protocol=tier)
    assert bool(fresh) is bool(renewed) is buys
    assert ("above GUARDED" in found.because) is not buys


@pytest.mark.parametrize(
    ("days", "renewed"),
    [(14.001, False), (14.0, True), (13.999, True), (0.001, True)],
)
@pytest.mark.parametrize("tier", [Tier.CALM, Tier.CRISIS])
def test_r20_renewed_14_days_before_expiry_in_any_market(days, renewed, tier):
    proposals, (found,) = look(cover(days=days), market={GROUP: tier})
    assert asked(proposals) == ([(*RENEW, WANTED)] if renewed else [])
    assert [item.due_s for item in proposals] == [NOW_S + days * DAY_S] * renewed
    assert f"ends in {days:.1f} d" in found.because


@pytest.mark.parametrize(
    ("amounts", "renewals"),
    [
        ((30_000.0, 30_000.0), (30_000.0, 20_000.0)),  # no more than is wanted
        ((60_000.0, 30_000.0), (WANTED,)),
    ],
)
def test_r20_a_renewal_is_of_what_is_still_wanted(amounts, renewals):
    covers = [cover(usd, days=3.0 + i, id=f"c{i}") for i, usd in enumerate(amounts)]
    proposals, _ = look(*reversed(covers))
    assert asked(proposals) == [(Action.RENEW_COVER, f"c{i}", usd) for i, usd in enumerate(renewals)]
    replaced, _ = look(*covers, cover(WANTED, id="new"))
    assert replaced == ()


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"expires_s": NOW_S}, "has expired on 2023-11-15"),
        ({"expires_s": NOW_S - DAY_S}, "has expired on 2023-11-14"),
        ({"expires_s": math.nan}, "has no known expiry"),
        ({"expires_s": math.inf}, "has no known expiry"),
        ({"starts_s": NOW_S + DAY_S}, "begins on 2023-11-16"),
        ({"amount_usd": math.nan}, "is of nan USD"),
        ({"amount_usd": -1.0}, "is of -1 USD"),
        ({"amount_usd": math.inf}, "is of inf USD"),
    ],
)
def test_r20_cover_that_does_not_count_is_named(changes, words):
    proposals, (found,) = look(cover(**changes))
    assert asked(proposals) == [(*BUY, WANTED)]
    assert f"cover c1 {words}" in found.because


def test_r20_cover_of_another_protocol_does_not_count_and_its_expiry_is_not_lost():
    proposals, findings = look(cover(protocol="aave-v3", days=10.0))
    assert asked(proposals) == [(*BUY, WANTED)]
    assert "cover c1 of aave-v3 ends on 2023-11-25" in findings[-1].because
    assert "no position lies in aave-v3" in findings[-1].because


def test_r20_no_class_is_absent_and_not_nothing():
    proposals, (found,) = look(exposures=(exposure(protocol="mine"),))
    assert proposals == ()
    assert "insurance.classes does not list mine" in found.because
    proposals, (found,) = look(policy=classic(insurance={"shares": {"dex": "0 %", "lending": "20 %"}}))
    assert proposals == ()
    assert "nothing is missing" in found.because


def test_r20_an_unknown_value_buys_nothing():
    bad = replace(exposure(), value_usd=math.nan)
    proposals, (found,) = look(exposures=(bad,))
    assert proposals == ()
    assert "is not known" in found.because


def test_r20_an_unread_position_is_named():
    _, (found,) = look(unseen=("v3:7",))
    assert "v3:7 was not read" in found.because


def test_r20_cover_counts_in_no_hedge():
    """R8, R10 and the plan are the same with cover and without."""
    _, without = decide(POLICY, EngineState(), frame())
    _, beside = decide(POLICY, EngineState(), frame(base=BaseHoldings(covers=(cover(1e9),))))
    assert beside.plan == without.plan
    assert [replace(item) for item in beside.groups] == list(without.groups)
    assert beside.limits == without.limits


@given(
    amounts=st.lists(st.floats(1.0, 1e6), max_size=4),
    days=st.lists(st.floats(-5.0, 60.0), min_size=4, max_size=4),
    tiers=st.tuples(st.sampled_from(Tier), st.sampled_from(Tier)),
    protocol=st.sampled_from([None, *Tier]),
)
@settings(max_examples=60, deadline=None)
def test_r20_no_tier_changes_the_size_of_cover(amounts, days, tiers, protocol):
    covers = [
        cover(usd, days=day, id=f"c{i}") for i, (usd, day) in enumerate(zip(amounts, days, strict=False))
    ]
    held = frame(base=BaseHoldings(covers=tuple(covers)), quotes=())
    (state,) = cover_states(POLICY, held)
    found = []
    for tier in tiers:
        proposals, _ = look(*covers, market={GROUP: tier}, protocol=protocol)
        found.append({item.key: item.amount_usd for item in proposals})
        bought = sum(item.amount_usd for item in proposals)
        # What lasts, with what is asked for, is never over the wanted share.
        lasting = state.held_usd if any(item.action is Action.BUY_COVER for item in proposals) else 0.0
        renewed = sum(item.amount_usd for item in proposals if item.action is Action.RENEW_COVER)
        assert renewed <= max(0.0, state.wanted_usd - state.lasting_usd) + 1e-6
        assert bought - renewed <= max(0.0, state.wanted_usd - lasting) + 1e-6
    for key in found[0].keys() & found[1].keys():
        assert found[0][key] == found[1][key]
    differ = found[0].keys() ^ found[1].keys()
    assert all(action == Action.BUY_COVER for _, action, _ in differ), "the tier only lets buying wait"
