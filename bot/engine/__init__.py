"""The engine: what to protect, how much, with which legs. Pure; ``decide`` is the whole of it.

``RULES`` says for each rule of method.md that is in this release where it lives, which policy keys it reads
and which tests hold it; a test checks that all of them exist.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from bot.engine.choose import choose
from bot.engine.explain import explain
from bot.engine.holding import review_held
from bot.engine.layers import near_trigger, plan_layers, weights
from bot.engine.limits import over_hedge_factor, premium_caps
from bot.engine.rules.confirmation import confirmed
from bot.engine.rules.consensus import consensus
from bot.engine.rules.defi_liquidity import defi_liquidity
from bot.engine.rules.false_breakdown import false_breakdown
from bot.engine.rules.hard_triggers import crash
from bot.engine.rules.outer_wings import outer_wings
from bot.engine.sizing import size_group
from bot.engine.step import decide
from bot.engine.wings import wings_finding


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """Where one rule of the method lives."""

    function: Callable[..., Any]
    policy_keys: tuple[str, ...]  # sections or keys of the policy file
    tests: tuple[str, ...]  # "file::test", under tests/engine


RULES: dict[str, Rule] = {
    "R1": Rule(
        function=consensus,
        policy_keys=(
            "tiers.vote",
            "tiers.vote_off",
            "tiers.severe_score",
            "tiers.fast_vote",
            "dependencies",
            "signals.technical.modelled_vol_sources",
        ),
        tests=(
            "test_consensus.py::test_r1_votes_make_tiers",
            "test_consensus.py::test_r1_which_readings_count_for_which_group",
            "test_fast_path.py::test_r1_fast_path",
            "test_tier_laws.py::test_another_stressed_signal_never_lowers_the_tier",
        ),
    ),
    "R2": Rule(
        function=crash,
        policy_keys=("hard_triggers", "holds", "dependencies", "tiers.cooldown"),
        tests=(
            "test_hard_triggers.py::test_r2_two_independent_falls",
            "test_hard_triggers.py::test_r2_holds",
            "test_protocol_triggers.py::test_r2_powers_in_use",
            "test_protocol_triggers.py::test_r2_bridge_coverage",
            "test_protocol_triggers.py::test_r2_a_stable_off_par_at_two_kinds_of_sources",
            "test_protocol_triggers.py::test_r2_health_factor",
            "test_protocol_tier.py::test_r2_up_at_once_and_down_after_the_cooldown",
        ),
    ),
    "R3": Rule(
        function=confirmed,
        policy_keys=(
            "tiers.confirm",
            "tiers.confirm_s",
            "tiers.confirm_blocks",
            "tiers.cooldown",
            "tiers.cooldown_guarded",
            "tiers.step_down",
            "tiers.session",
            "tiers.fast_vote",
            "signals.fundamental.macro_near",
        ),
        tests=(
            "test_confirmation.py::test_r3_up_needs_frames_time_and_blocks",
            "test_confirmation.py::test_r3_one_frame_confirms_near_a_release",
            "test_confirmation.py::test_r3_fast_scores_must_be_low_on_the_way_down",
            "test_tier_laws.py::test_noise_moves_the_tier_at_most_once_a_dwell",
            "test_tier_laws.py::test_an_escalation_is_never_refused",
            "test_tier_laws.py::test_missing_data_never_lowers_the_tier",
        ),
    ),
    "R4": Rule(
        function=false_breakdown,
        policy_keys=("signals.technical.macd", "signals.technical.breadth", "tiers.breakdown_sigmas"),
        tests=(
            "test_false_breakdown.py::test_r4_denies_only_technical_alone",
            "test_false_breakdown.py::test_r4_does_not_stop_a_fast_fall",
        ),
    ),
    "R5": Rule(
        function=outer_wings,
        policy_keys=("outer_wings", "near.backwardation_over"),
        tests=(
            "test_outer_wings.py::test_r5_when_wings_are_added",
            "test_outer_wings.py::test_r5_where_wings_stand",
        ),
    ),
    "R6": Rule(
        function=defi_liquidity,
        policy_keys=("liquidity_rule",),
        tests=("test_defi_liquidity.py::test_r6_liquidity_leaves_while_prices_rise",),
    ),
    "R7": Rule(
        function=weights,
        policy_keys=("sizing.weights", "sizing.weight_bounds", "sizing.term_structure_move"),
        tests=("test_layers.py::test_r7_weights_sum_to_one_within_bounds",),
    ),
    "R8": Rule(
        function=size_group,
        policy_keys=("sizing.shares", "sizing.horizon_days", "sizing.confidence", "sizing.history_days"),
        tests=("test_sizing.py::test_r8_targets_remove_the_share_of_var",),
    ),
    "R9": Rule(
        function=premium_caps,
        policy_keys=("budget", "tiers.session"),
        tests=(
            "test_limits.py::test_r9_caps",
            "test_step.py::test_r9_spend_in_any_session_stays_under_the_cap",
        ),
    ),
    "R10": Rule(
        function=over_hedge_factor,
        policy_keys=("sizing.over_hedge_tolerance", "sizing.grid_from", "sizing.grid_to", "sizing.grid_step"),
        tests=("test_limits.py::test_r10_new_legs_keep_the_guard_at_every_point",),
    ),
    "R12": Rule(
        function=near_trigger,
        policy_keys=("near", "layers.NEAR"),
        tests=("test_layers.py::test_r12_near_trigger",),
    ),
    "R13": Rule(
        function=plan_layers,
        policy_keys=("mid", "layers.MID"),
        tests=("test_layers.py::test_r13_mid_scaling",),
    ),
    "R14": Rule(
        function=size_group,
        policy_keys=("layers.TAIL", "sizing.shares.CALM"),
        tests=("test_sizing.py::test_r14_tail_never_under_its_calm_share",),
    ),
    "R15": Rule(
        function=wings_finding,
        policy_keys=("sizing.loss_measure",),
        tests=("test_wings.py::test_r15_shape_and_break_evens",),
    ),
    "R17": Rule(
        function=choose,
        policy_keys=("layers", "roll"),
        tests=(
            "test_choose.py::test_r17_expiry_fallback",
            "test_holding.py::test_r17_which_layer_a_leg_serves",
        ),
    ),
    "R18": Rule(
        function=review_held,
        policy_keys=("no_loyalty", "tiers.cooldown"),
        tests=("test_holding.py::test_r18_what_is_sold_and_what_is_kept",),
    ),
    "R24": Rule(
        function=explain,
        policy_keys=(),
        tests=("test_explain.py::test_r24_every_rule_speaks",),
    ),
    "R25": Rule(
        function=decide,
        policy_keys=(),
        tests=("test_step.py::test_r25_same_frame_same_bytes",),
    ),
}

__all__ = ["RULES", "Rule", "decide"]
