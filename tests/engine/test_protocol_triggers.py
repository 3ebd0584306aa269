"""R2, protocol kind: pauses, powers, coverage, pegs and health factors."""

import math

import numpy as np
import pytest
from engine.factory import NOW_S, calm_columns, classic, exposure, frame, reading

from bot.engine.rules.protocol_triggers import health_alarms, names_of, protocol_findings
from bot.model.market import Column, Metric, SeriesKey
from bot.model.tier import Quality, Tier

POLICY = classic()
PARTS = {"uniswap-v2": ["v2-factory"], "USDC": ["arbitrum/USDC"]}


def rows(*values, age_s=5.0):
    """Minutely reads, the last ``age_s`` ago."""
    times_s = NOW_S - age_s - 60.0 * np.arange(len(values) - 1, -1, -1)
    return Column(times_s=times_s, values=np.array(values, dtype=float))


def of(series, readings=(), *, policy=POLICY, **changes):
    return protocol_findings(policy, frame(calm_columns() | series, **changes), readings)


def powers(metric, *values, label="uniswap-v2", **changes):
    return {SeriesKey(metric, label, "admin_events"): rows(*values, **changes)}


@pytest.mark.parametrize(
    ("metric", "values", "tier"),
    [
        (Metric.PAUSED, (0.0, 0.0), None),
        (Metric.PAUSED, (0.0, 1.0), Tier.CRISIS),
        (Metric.PAUSED, (1.0, 0.0), None),
        (Metric.PAUSED, (1.0, math.nan), Tier.CRISIS),  # held
        (Metric.UPGRADED, (0.0, 1.0), Tier.ELEVATED),
        (Metric.OWNERSHIP_CHANGED, (0.0, 2.0), Tier.ELEVATED),
        (Metric.ROLE_CHANGED, (1.0, 1.0), Tier.ELEVATED),
        (Metric.ROLE_CHANGED, (1.0, 0.0), None),
    ],
)
def test_r2_powers_in_use(metric, values, tier):
    (found,) = of(powers(metric, *values))
    assert (found.protocol, found.finding.tier, found.unknown) == ("uniswap-v2", tier, False)
    assert found.finding.fired is (tier is not None)


@pytest.mark.parametrize(
    "series", [powers(Metric.PAUSED, 1.0, 1.0, 1.0, age_s=7200.0), powers(Metric.PAUSED, math.nan)]
)
def test_r2_powers_that_cannot_be_read_are_unknown(series):
    (found,) = of(series)
    assert found.unknown
    assert not found.finding.fired
    assert "unknown" in found.finding.because


@pytest.mark.parametrize(
    ("line", "tier"),
    [
        ("uniswap-v2 upgraded until 2023-11-15", None),  # NOW_S is its first second; the last day counts
        ("uniswap-v2 upgraded until 2023-11-14", Tier.ELEVATED),
        ("uniswap-v2 role_changed until 2030-01-01", Tier.ELEVATED),  # another change
        ("v2-factory upgraded until 2030-01-01", Tier.ELEVATED),  # another contract
    ],
)
def test_r2_an_announced_change_is_no_alarm(line, tier):
    policy = classic(hard_triggers={"announced": [line]})
    (found,) = of(powers(Metric.UPGRADED, 1.0), policy=policy)
    assert found.finding.tier is tier
    assert ("not announced" in found.finding.because) is (tier is not None)


def test_r2_a_pause_cannot_be_announced_away():
    policy = classic(hard_triggers={"announced": ["uniswap-v2 upgraded until 2030-01-01"]})
    assert of(powers(Metric.PAUSED, 1.0), policy=policy)[0].finding.tier is Tier.CRISIS


@pytest.mark.parametrize(
    ("value", "tier"),
    [
        (1.0, None),
        (0.98, None),
        (0.979999, Tier.SEVERE),
        (0.90, Tier.SEVERE),
        (0.899999, Tier.CRISIS),
        (0.0, Tier.CRISIS),
    ],
)
def test_r2_bridge_coverage(value, tier):
    policy = classic(dependencies=PARTS)
    read = reading("S7", 0.5, value=value, subject="arbitrum", source="locked:USDC")
    (found,) = of({}, [read], policy=policy)
    assert (found.protocol, found.finding.tier) == ("USDC", tier)


@pytest.mark.parametrize(
    ("quality", "count", "unknown"),
    [
        (Quality.MISSING, 1, True),
        (Quality.HELD, 1, False),
        (Quality.WARMING, 0, None),
        (Quality.ABSENT, 0, None),
    ],
)
def test_r2_bridge_coverage_that_is_not_live(quality, count, unknown):
    value = 0.5 if quality is Quality.HELD else math.nan
    read = reading("S7", value, value=value, subject="arbitrum", source="locked:USDC", quality=quality)
    found = of({}, [read])
    assert [item.unknown for item in found] == [unknown] * count
    assert [item.finding.tier for item in found] == [Tier.CRISIS if quality is Quality.HELD else None] * count


def prices(**sources):
    return {
        SeriesKey(Metric.PRICE_USD, "USDC", source.replace("_", ":")): rows(1.0, value)
        for source, value in sources.items()
    }


@pytest.mark.parametrize(
    ("sources", "fired", "unknown"),
    [
        ({"chainlink_usdc": 0.94, "twap_pool": 0.94}, True, False),
        ({"chainlink_usdc": 0.94, "twap_pool": 0.95}, False, False),  # 5 % is not over 5 %
        ({"chainlink_usdc": 0.80, "twap_pool": 0.9499}, True, False),
        ({"chainlink_usdc": 1.06, "twap_pool": 1.07}, True, False),  # either way
        ({"chainlink_usdc": 0.90, "twap_pool": 1.10}, False, False),  # they do not agree on the side
        ({"chainlink_usdc": 0.5, "chainlink_other": 0.5, "twap_pool": 1.0}, False, False),  # one kind twice
        ({"chainlink_usdc": 0.5, "twap_pool": 1.0, "curve_pool": 0.94}, True, False),
        ({"chainlink_usdc": 0.5, "twap_pool": 0.0}, False, True),  # no price at all
    ],
)
def test_r2_a_stable_off_par_at_two_kinds_of_sources(sources, fired, unknown):
    (found,) = of(prices(**sources))
    assert (found.protocol, found.finding.fired, found.unknown) == ("USDC", fired, unknown)
    assert found.finding.tier is (Tier.SEVERE if fired else None)


def test_r2_one_source_of_a_stable_says_nothing():
    assert of(prices(chainlink_usdc=0.5)) == ()


def test_r2_the_market_tier_is_not_asked_for():
    """Whose tier a finding raises: what lists it, else the protocol of the exposure there, else itself."""
    policy = classic(dependencies=PARTS)
    exposures = (exposure(),)
    assert names_of(policy, exposures, "v2-factory") == ("uniswap-v2",)
    assert names_of(policy, exposures, "v2:ETH/USDC") == ("uniswap-v2",)
    assert names_of(policy, exposures, "v2:ETH/USDC/USDC") == ("uniswap-v2",)
    assert names_of(policy, exposures, "arbitrum/USDC") == ("USDC",)
    assert names_of(policy, exposures, "arbitrum/DAI") == ("arbitrum/DAI",)
    assert names_of(policy, exposures, "somebody") == ("somebody",)
    assert names_of(policy, (), "v2:ETH/USDC") == ("v2:ETH/USDC",)


def health(*values, **changes):
    return {SeriesKey(Metric.HEALTH_FACTOR, "loan", "aave_v3"): rows(*values, **changes)}


@pytest.mark.parametrize(
    ("values", "alarm"),
    [((1.3, 1.25), False), ((1.3, 1.249999), True), ((1.3, 0.0), True), ((1.0, 1.3), False), ((1e6,), False)],
)
def test_r2_health_factor(values, alarm):
    alarms, findings = health_alarms(POLICY, frame(calm_columns() | health(*values)))
    assert [item.fired for item in findings] == [alarm]
    assert [(item.position, item.health_factor) for item in alarms] == [("loan", values[-1])] * alarm
    assert all(item.tier is None for item in findings)


@pytest.mark.parametrize("series", [health(math.nan), health(1.0, 1.0, 1.0, age_s=7200.0), health()])
def test_r2_unknown_health_is_named_and_is_no_order(series):
    alarms, findings = health_alarms(POLICY, frame(calm_columns() | series))
    assert alarms == ()
    assert "unknown" in findings[0].because


def test_r2_worst_health_first():
    series = health(1.2) | {SeriesKey(Metric.HEALTH_FACTOR, "other", "aave_v3"): rows(1.1)}
    alarms, _ = health_alarms(POLICY, frame(calm_columns() | series))
    assert [item.position for item in alarms] == ["other", "loan"]
