"""What a step is worth telling: tiers, holds, degraded data, shortfalls, trades, ranges, health factors."""

import math
from dataclasses import replace

import pytest
from pipeline_builders import START_S, filled, leg, record_of

from bot.alerts.condition import Severity
from bot.alerts.conditions import Limits, of_positions, of_step, unsure_of
from bot.errors import ConfigError
from bot.model.base_layers import Action, BaseLayer, Proposal
from bot.model.cover import CoverOrder, CoverOutcome, CoverProduct
from bot.model.exposure import Exposure, ExposureKind, LpShape
from bot.model.hedge import Layer, LegStatus, Shortfall
from bot.model.market import Metric, Observation, columns_from
from bot.model.record import ProtocolDecision
from bot.model.tier import Family, Quality, Reading, RuleFinding, Tier

LIMITS = Limits(health_factor=1.25, range_margin=0.0, rearm=0.02)


def position(spot_usd, *, lower_usd=1_800.0, upper_usd=2_200.0):
    shape = LpShape(liquidity=100.0, lower_usd=lower_usd, upper_usd=upper_usd)
    return Exposure(
        id="v3:7",
        kind=ExposureKind.UNISWAP_V3,
        protocol="uniswap-v3",
        chain_id=1,
        pool="v3:ETH/USDC",
        underlying="ETH",
        stable="USDC",
        shape=shape,
        spot_usd=spot_usd,
        value_usd=1e5,
    )


def health(value):
    return columns_from(
        [
            Observation(
                metric=Metric.HEALTH_FACTOR,
                subject="aave:0x1",
                source="aave_v3",
                value=value,
                observed_at_s=START_S,
                read_at_s=START_S,
            )
        ]
    )


def by_key(conditions):
    return {item.key: item for item in conditions}


@pytest.mark.parametrize(
    ("tier", "severity"),
    [
        (Tier.GUARDED, Severity.INFO),
        (Tier.ELEVATED, Severity.WARNING),
        (Tier.SEVERE, Severity.CRITICAL),
        (Tier.CRISIS, Severity.CRITICAL),
    ],
)
def test_a_tier_above_calm_is_a_condition_with_its_reason(tier, severity):
    found = by_key(of_step(record_of(tier=tier, because="funding at 2.4 sigma")))["tier:ETH/USDC"]
    assert (found.severity, found.level) == (severity, tier.value)
    assert found.happened == "funding at 2.4 sigma."


def test_a_protocol_tier_names_the_protocol_who_depends_on_it_and_why():
    asks = RuleFinding(rule="R2", fired=True, because="v3-factory is paused", tier=Tier.CRISIS)
    paused = ProtocolDecision(
        protocol="uniswap-v3",
        tier=Tier.CRISIS,
        previous_tier=Tier.CALM,
        groups=("ETH/USDC",),
        findings=(asks,),
    )
    record = record_of()
    record = replace(record, decision=replace(record.decision, protocols=(paused,)))
    found = by_key(of_step(record))["protocol:uniswap-v3"]
    assert found.severity is Severity.CRITICAL
    assert "v3-factory is paused. ETH/USDC depends on it." in found.text
    calm = replace(record, decision=replace(record.decision, protocols=(replace(paused, tier=Tier.CALM),)))
    assert of_step(calm) == ()


@pytest.mark.parametrize(("score", "informs", "count"), [(0.4, True, 1), (0.0, True, 0), (0.4, False, 0)])
def test_what_informs_is_told_and_a_heartbeat_does_not_end_it(score, informs, count):
    beta = Reading(
        signal="S20", name="beta", subject="ETH", family=Family.FUNDAMENTAL, value=3.1, unit="",
        score=score, quality=Quality.LIVE, because="30-day beta 3.1", informs=informs,
    )  # fmt: skip
    record = record_of()
    record = replace(record, decision=replace(record.decision, readings=(beta,)))
    keys = [item.key for item in of_step(record)]
    assert keys == ["informs:S20:ETH:"] * count
    beat = replace(record, is_heartbeat=True, decision=replace(record.decision, readings=()))
    assert unsure_of("informs:S20:ETH:", beat, (), active_holds=())
    assert not unsure_of("informs:S20:ETH:", record, (), active_holds=())


def test_calm_without_holds_or_trades_is_nothing():
    assert of_step(record_of(tier=Tier.CALM)) == ()


def test_degraded_data_names_the_family_and_says_that_it_is_not_calm():
    found = by_key(of_step(record_of(degraded=("ONCHAIN",))))["degraded:ETH/USDC:ONCHAIN"]
    assert found.severity is Severity.WARNING
    assert "ONCHAIN" in found.title
    assert "alvh doctor" in found.text


@pytest.mark.parametrize(
    ("tier", "severity"), [(Tier.CALM, Severity.INFO), (Tier.ELEVATED, Severity.WARNING)]
)
def test_a_shortfall_is_urgent_once_protection_is_needed(tier, severity):
    short = Shortfall(layer=Layer.NEAR, missing=0.4, missing_contracts=3.0, reason="no expiry in band")
    found = by_key(of_step(record_of(tier=tier, shortfalls=(short,))))["shortfall:ETH/USDC:NEAR:"]
    assert found.severity is severity
    assert "40%" in found.text
    assert "no expiry in band" in found.text


@pytest.mark.parametrize(
    ("status", "severity", "word"),
    [
        (LegStatus.FILLED, Severity.INFO, "bought"),
        (LegStatus.REJECTED, Severity.WARNING, "rejected"),
        (LegStatus.UNKNOWN, Severity.CRITICAL, "unknown"),
    ],
)
def test_a_trade_is_an_event(status, severity, word):
    outcome = replace(filled(leg()), status=status, because="as the test has it")
    (found,) = of_step(record_of(outcomes=(outcome,)))
    assert (found.severity, found.once) == (severity, True)
    assert word in found.title
    assert "ETH 2,000 put" in found.title


@pytest.mark.parametrize("spot", [1_799.0, 2_200.0, 2_500.0])
def test_out_of_range_names_price_and_range(spot):
    (found,) = of_positions([position(spot)], columns_from([]), limits=LIMITS, active=())
    assert found.key == "range:1:v3:7"
    assert f"{spot:,.6g}" in found.text
    assert "1,800 to 2,200" in found.text


def test_an_out_of_range_alert_ends_only_past_the_margin():
    ask = lambda spot, active: of_positions(  # noqa: E731
        [position(spot)], columns_from([]), limits=LIMITS, active=active
    )
    assert ask(1_801.0, ()) == ()
    assert len(ask(1_801.0, {"range:1:v3:7"})) == 1
    assert ask(1_840.0, {"range:1:v3:7"}) == ()


def test_a_margin_warns_before_the_end():
    limits = Limits(range_margin=0.05)
    (found,) = of_positions([position(1_850.0)], columns_from([]), limits=limits, active=())
    assert found.severity is Severity.INFO
    assert "close" in found.title


def test_a_full_range_position_is_never_out_of_range():
    full = position(1e9, lower_usd=0.0, upper_usd=math.inf)
    assert of_positions([full], columns_from([]), limits=LIMITS, active=()) == ()


def test_health_factor_under_its_limit_is_critical_and_ends_past_the_margin():
    key = "health:aave:0x1"
    (found,) = of_positions([], health(1.24), limits=LIMITS, active=())
    assert (found.key, found.severity) == (key, Severity.CRITICAL)
    assert of_positions([], health(1.26), limits=LIMITS, active=()) == ()
    assert len(of_positions([], health(1.26), limits=LIMITS, active={key})) == 1
    assert of_positions([], health(1.28), limits=LIMITS, active={key}) == ()


def test_a_health_factor_that_cannot_be_read_neither_starts_nor_ends_an_alert():
    assert of_positions([], health(math.nan), limits=LIMITS, active=()) == ()
    assert len(of_positions([], health(math.nan), limits=LIMITS, active={"health:aave:0x1"})) == 1


@pytest.mark.parametrize("limits", [{"health_factor": 0.9}, {"range_margin": 1.0}, {"rearm": -0.1}])
def test_limits_that_cannot_be_are_refused(limits):
    with pytest.raises(ConfigError, match=r"alerts\."):
        Limits(**limits)


@pytest.mark.parametrize(
    ("first", "second", "same"),
    [
        (
            "price of ETH is 70 s old, at most 60 s allowed",
            "price of ETH is 82 s old, at most 60 s allowed",
            True,
        ),
        ("chain 10 was last read 75 s ago", "chain 10 was last read 1,087.5 s ago", True),
        ("chain 10 is not read: refused", "chain 8453 is not read: refused", False),
        ("no price of ETH is known", "no price of BTC is known", False),
        (f"block 7 0x{7:064x} is gone", f"block 8 0x{8:064x} is gone", True),
        (f"feed 0x{7:040x} failed", f"feed 0x{8:040x} failed", False),
        ("a and b disagree on ETH by 1.2%", "a and b disagree on ETH by 13.4%", True),
        ("position v3:7 is unknown", "position v3:8 is unknown", False),
    ],
)
def test_a_hold_whose_figures_move_is_one_condition(first, second, same):
    (one,), (two,) = of_step(record_of(holds=(first,))), of_step(record_of(holds=(second,)))
    assert (one.key == two.key) is same


def test_a_position_without_a_price_is_neither_in_nor_out_of_range():
    unknown = [position(math.nan)]
    assert of_positions(unknown, health(2.0), limits=LIMITS, active=()) == ()
    (stands,) = of_positions(unknown, health(2.0), limits=LIMITS, active={"range:1:v3:7"})
    assert stands.key == "range:1:v3:7"


def test_a_cover_that_ends_soon_is_told_until_it_is_renewed_and_a_heartbeat_does_not_end_it():
    ending = Proposal(
        rule="R20",
        layer=BaseLayer.INSURANCE,
        action=Action.RENEW_COVER,
        subject="7",
        amount_usd=50_000.0,
        because="cover 7 ends on 2022-05-19, within 14 d",
        due_s=START_S + 14 * 86_400.0,
        follows="alvh cover buy buys it",
    )
    record = record_of()
    record = replace(record, decision=replace(record.decision, proposals=(ending,)))
    found = by_key(of_step(record))["cover:7"]
    assert (found.severity, found.title) == (Severity.WARNING, "cover 7 ends on 2022-05-19")
    assert "alvh cover buy" in found.text
    beat = replace(record, is_heartbeat=True)
    assert unsure_of("cover:7", beat, (), active_holds=())
    assert not unsure_of("cover:7", record, (), active_holds=())


@pytest.mark.parametrize(
    ("status", "severity", "words"),
    [
        (LegStatus.FILLED, Severity.INFO, "bought cover of uniswap-v3, 1,000 USD, for 9 USD"),
        (LegStatus.REJECTED, Severity.WARNING, "a purchase of cover of uniswap-v3 was rejected"),
        (LegStatus.UNKNOWN, Severity.CRITICAL, "the outcome of a purchase of cover of uniswap-v3 is unknown"),
    ],
)
def test_what_became_of_a_purchase_of_cover_is_told_once(status, severity, words):
    product = CoverProduct(venue="nexus", id="1", name="Uniswap v3", protocol="uniswap-v3")
    order = CoverOrder(
        key="c", product=product, amount_usd=1_000.0, period_s=90 * 86_400, limit_usd=10.0,
        expected_usd=9.0, valid_until_s=4e9,
    )  # fmt: skip
    outcome = CoverOutcome(order=order, status=status, at_s=START_S, premium_usd=9.0, because="said so")
    (found,) = of_step(replace(record_of(), covers=(outcome,)))
    assert (found.severity, found.title, found.once) == (severity, words, True)
