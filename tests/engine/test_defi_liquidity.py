"""R6: liquidity leaves while consumer or producer prices rise."""

import math

import numpy as np
import pytest
from engine.factory import NOW_S, calm_columns, classic, context, frame, reading

from bot.engine.rules.defi_liquidity import defi_liquidity, may_spend_reserve
from bot.engine.tier_step import needed_tier
from bot.model.market import Column, Metric, SeriesKey
from bot.model.tier import Quality, Tier
from bot.model.units import DAY_S

POLICY = classic()
UP, FLAT, DOWN = (0.030, 0.033), (0.030, 0.030), (0.033, 0.030)


def prints(**events):
    """Two prints of each event, a month apart, the newer ten days old."""
    return {
        SeriesKey(Metric.MACRO_PRINT, event, "bls"): Column(
            times_s=NOW_S - DAY_S * np.array([41.0, 10.0]), values=np.array(values)
        )
        for event, values in events.items()
    }


def found(readings, macro):
    at = frame(calm_columns() | macro)
    return defi_liquidity(POLICY, context(POLICY, readings, at=at))[0]


@pytest.mark.parametrize(
    ("flow", "macro", "tier"),
    [
        (-0.079, prints(CPI=UP), None),
        (-0.0799999, prints(CPI=UP), None),
        (-0.08, prints(CPI=UP), Tier.SEVERE),
        (-0.3, prints(PPI=UP, CPI=DOWN), Tier.SEVERE),
        (-0.3, prints(CPI=DOWN, PPI=FLAT), None),
        (-0.3, prints(GDP=UP), None),
        (-0.3, {}, None),
        (-0.3, prints(CPI=(0.030, math.nan)), None),
        (0.0, prints(CPI=UP), None),
    ],
)
def test_r6_liquidity_leaves_while_prices_rise(flow, macro, tier):
    finding = found([reading("S1", 0.5, value=flow)], macro)
    assert finding.tier is tier
    assert finding.fired is (tier is not None)
    assert may_spend_reserve([finding]) is finding.fired
    assert needed_tier([finding]) is (tier or Tier.CALM)  # no votes are needed


@pytest.mark.parametrize("quality", [Quality.MISSING, Quality.WARMING, Quality.ABSENT])
def test_r6_unknown_liquidity_asks_for_nothing_and_is_named(quality):
    finding = found([reading("S1", math.nan, quality=quality)], prints(CPI=UP))
    assert not finding.fired
    assert "S1 is not known" in finding.because


def test_r6_held_liquidity_counts_and_the_worst_pool_decides():
    held = reading("S1", 1.0, value=-0.09, quality=Quality.HELD, subject="curve:DAI/USDC")
    finding = found([reading("S1", 0.0, value=-0.01), held], prints(CPI=UP))
    assert finding.fired
    assert "curve:DAI/USDC" in finding.because


def test_r6_stale_prints_do_not_rise():
    old = {
        key: Column(times_s=column.times_s - 200 * DAY_S, values=column.values)
        for key, column in prints(CPI=UP).items()
    }
    finding = found([reading("S1", 1.0, value=-0.5)], old)
    assert not finding.fired
    assert "not known" in finding.because
