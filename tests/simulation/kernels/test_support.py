"""What the kernels do not cover is refused by name, before anything is run."""

from dataclasses import replace

import numpy as np
import pytest
from engine.factory import exposure, reading

from bot.errors import ConfigError
from bot.model.market import Columns
from bot.model.tier import Quality
from bot.pipeline.loop import Moment
from bot.settings import PolicySettings, load_policy
from bot.simulation.kernels.evaluate import evaluate_perpetual, evaluate_tiers
from bot.simulation.kernels.support import (
    kernel_supports,
    market_unsupported,
    policy_unsupported,
    readings_unsupported,
    tiers_unsupported,
)
from bot.simulation.kernels.tape_set import Tapes
from bot.simulation.kernels.tapes import tier_key
from bot.simulation.market.model import load_market

from .kernel_builders import STEWARD, WITHOUT_OPTIONS

MARKET = load_market()


def moment(number=0, **changes):
    here = exposure(**changes.pop("exposure", {}))
    fields = {"blocks": {}, "columns": Columns(series={}), "exposures": (here,)}
    return Moment(now_s=1e9 + 3600.0 * number, **{**fields, **changes})


def names(reasons):
    return [item.name for item in reasons]


def test_a_policy_that_trades_near_by_perpetual_alone_is_covered():
    assert kernel_supports(WITHOUT_OPTIONS, MARKET, [moment()]) == ()


@pytest.mark.parametrize("preset", ["classic", "steward", "fortress"])
def test_the_presets_buy_options_which_only_the_engine_chooses(preset):
    reasons = policy_unsupported(load_policy(PolicySettings(preset=preset)))
    assert "no options" in names(reasons)
    assert "CALM" in reasons[0].because


def test_a_put_for_near_and_an_overlay_are_the_engines():
    put = replace(WITHOUT_OPTIONS, near=replace(WITHOUT_OPTIONS.near, instrument="put"))
    sold = replace(WITHOUT_OPTIONS, overlay=replace(WITHOUT_OPTIONS.overlay, enabled=True))
    assert names(policy_unsupported(put)) == ["NEAR by perpetual"]
    assert names(policy_unsupported(sold)) == ["no overlay"]


def test_a_market_without_perpetual_a_tiny_lot_and_calls_are_the_engines():
    tiny = replace(MARKET, perpetual=replace(MARKET.perpetual, lot=1e-7))
    calls = replace(MARKET, options=replace(MARKET.options, list_calls=True))
    assert names(market_unsupported(replace(MARKET, perpetual=None))) == ["a perpetual"]
    assert names(market_unsupported(tiny)) == ["lot over dust"]
    assert names(market_unsupported(calls)) == ["S22 absent"]


def test_two_exposures_holds_and_fees_of_a_known_income_are_the_engines():
    two = moment(exposures=(exposure(), exposure()))
    assert names(tiers_unsupported([two])) == ["one exposure"]
    assert names(tiers_unsupported([moment(holds=("a person paused it",))])) == ["plain moments"]
    earning = moment(exposure={"fee_income_30d_usd": 100.0})
    assert names(kernel_supports(WITHOUT_OPTIONS, MARKET, [earning])) == ["S21 absent"]


def test_signals_of_the_book_tie_tiers_to_the_run():
    carry, parity = reading("S21", 0.5), reading("S22", 0.5)
    assert names(readings_unsupported([carry, parity])) == ["S21 absent", "S22 absent"]
    gone = replace(carry, quality=Quality.ABSENT)
    assert readings_unsupported([gone, reading("S10", 1.0)]) == ()


def test_what_is_not_covered_is_refused_in_one_line_that_says_so():
    tapes = Tapes(moments=[moment()], market=MARKET)
    with pytest.raises(ConfigError, match=r"kernels do not cover this run \(no options\).*use the engine"):
        evaluate_perpetual([STEWARD], tapes)
    tied = Tapes(moments=[moment(exposure={"fee_income_30d_usd": 100.0})], market=MARKET)
    with pytest.raises(ConfigError, match="S21 absent"):
        evaluate_tiers([STEWARD], tied)
    with pytest.raises(ConfigError, match="need a moment at least"):
        Tapes(moments=[], market=MARKET)


def test_given_tiers_of_another_shape_are_refused():
    tapes = Tapes(moments=[moment(number) for number in range(3)], market=MARKET)
    with pytest.raises(ConfigError, match=r"1 x 3 are needed, found \(1, 2\)"):
        evaluate_perpetual([WITHOUT_OPTIONS], tapes, tiers=np.zeros((1, 2), dtype=np.int8))


def test_no_policy_at_all_gives_nothing():
    tapes = Tapes(moments=[moment()], market=MARKET)
    assert evaluate_tiers([], tapes).shape == (0, 1)
    assert evaluate_perpetual([], tapes) == ()


def test_policies_share_a_tape_unless_a_number_that_it_rests_on_differs():
    later = replace(STEWARD, tiers=replace(STEWARD.tiers, vote=0.6, cooldown=0.0, cooldown_guarded=0.0))
    assert tier_key(STEWARD) == tier_key(later)
    assert tier_key(STEWARD) == tier_key(WITHOUT_OPTIONS)
    nearer = replace(STEWARD, hard_triggers=replace(STEWARD.hard_triggers, sigmas=5.0))
    deeper = replace(STEWARD, liquidity_rule=replace(STEWARD.liquidity_rule, fall=-0.2))
    steeper = replace(STEWARD, tiers=replace(STEWARD.tiers, breakdown_sigmas=2.0))
    assert len({tier_key(item) for item in (STEWARD, nearer, deeper, steeper)}) == 4
