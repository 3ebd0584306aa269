"""``RULES``: where each rule of method.md that is in this release lives, which policy keys it reads and which
tests hold it. A test checks that all of them exist.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from bot.engine.base_layers import diversification, exit_plan, insurance, reserve
from bot.engine.cost_guard import carry_caps
from bot.engine.explain import explain
from bot.engine.holding import no_loyalty
from bot.engine.layers import near_trigger, plan_layers, weights
from bot.engine.limits import over_hedge_factor, premium_caps
from bot.engine.monetise import monetise
from bot.engine.overlay import overlay
from bot.engine.perpetual_orders import short_perpetual
from bot.engine.rules.confirmation import confirmed
from bot.engine.rules.consensus import consensus
from bot.engine.rules.defi_liquidity import defi_liquidity
from bot.engine.rules.false_breakdown import false_breakdown
from bot.engine.rules.hard_triggers import crash
from bot.engine.rules.outer_wings import outer_wings
from bot.engine.sizing import size_group
from bot.engine.step import decide
from bot.engine.time_shift import time_shift
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
            "test_wing_strikes.py::test_r5_takes_the_named_strikes_that_fit_a_layer_and_else_its_own",
            "test_wing_strikes.py::test_r5_stands_nearer_in_backwardation",
            "test_layers.py::test_r5_wings_cap_near",
        ),
    ),
    "R6": Rule(
        function=defi_liquidity,
        policy_keys=("liquidity_rule",),
        tests=("test_defi_liquidity.py::test_r6_liquidity_leaves_while_prices_rise",),
    ),
    "R7": Rule(
        function=weights,
        policy_keys=(
            "sizing.weights",
            "sizing.weights_of",
            "sizing.weight_bounds",
            "sizing.weight_moves",
            "outer_wings.near_cap",
        ),
        tests=(
            "test_layers.py::test_r7_scores_move_points",
            "test_layers.py::test_r7_weights_sum_to_one_within_bounds",
            "test_sizing.py::test_r7_premium_at_risk_keeps_the_weights",
        ),
    ),
    "R8": Rule(
        function=size_group,
        policy_keys=(
            "sizing.shares",
            "sizing.horizon_days",
            "sizing.confidence",
            "sizing.history_days",
            "sizing.min_paths",
            "sizing.factors",
        ),
        tests=(
            "test_sizing.py::test_r8_targets_remove_the_share_of_var",
            "test_group_paths.py::test_r8_eth_and_btc_use_the_same_dates",
            "test_group_paths.py::test_r8_options_on_another_underlying_remove_the_share",
            "test_group_paths.py::test_r8_under_the_least_r_squared_all_of_it_is_basis_risk",
            "test_group_paths.py::test_r8_few_runs_without_a_hole_do_not_speak",
        ),
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
        policy_keys=(
            "sizing.over_hedge_tolerance",
            "sizing.grid_from",
            "sizing.grid_to",
            "sizing.grid_step",
            "sizing.stable_window",
            "sizing.stable_stress",
        ),
        tests=(
            "test_limits.py::test_r10_new_legs_keep_the_guard_at_every_point",
            "test_settlement.py::test_r10_which_settlement_assets_are_stressed",
            "test_settlement.py::test_r10_new_legs_settle_elsewhere_where_any_venue_quotes",
            "test_settlement.py::test_r10_else_new_coverage_shrinks_by_the_score",
        ),
    ),
    "R11": Rule(
        function=carry_caps,
        policy_keys=("cost_guard", "signals.fundamental.carry_wacc"),
        tests=(
            "test_cost_guard.py::test_r11_limit_by_tier_and_fees",
            "test_cost_guard.py::test_r11_counts_what_was_spent_in_thirty_days",
            "test_cost_guard.py::test_r11_net_carry_is_cost_less_what_is_left_plus_capital",
            "test_sizing.py::test_r11_only_tails_standing_share_is_exempt",
        ),
    ),
    "R12": Rule(
        function=near_trigger,
        policy_keys=("near", "layers.NEAR", "signals.technical.rsi"),
        tests=(
            "test_layers.py::test_r12_near_trigger",
            "test_layers.py::test_r12_not_on_exhaustion",
        ),
    ),
    "R13": Rule(
        function=plan_layers,
        policy_keys=("mid", "layers.MID"),
        tests=(
            "test_layers.py::test_r13_mid_scaling",
            "test_layers.py::test_r13_tier_scaling_opens_in_full",
        ),
    ),
    "R14": Rule(
        function=size_group,
        policy_keys=("layers.TAIL", "sizing.shares.CALM", "tail"),
        tests=(
            "test_sizing.py::test_r14_tail_never_under_its_calm_share",
            "test_sizing.py::test_r14_tail_is_a_ladder_over_the_listed_expiries",
        ),
    ),
    "R15": Rule(
        function=wings_finding,
        policy_keys=("sizing.loss_measure", "wings"),
        tests=(
            "test_wings.py::test_r15_shape_and_break_evens",
            "test_wings.py::test_r15_fees_to_width_and_the_listed_width_that_meets_it",
            "test_wing_strikes.py::test_r15_wings_widen_and_tighten",
            "test_wing_strikes.py::test_r15_wider_is_one_listed_strike_further_out",
        ),
    ),
    "R16": Rule(
        function=overlay,
        policy_keys=("overlay", "budget.defined_risk_capital", "orders.max_slippage"),
        tests=(
            "test_overlay.py::test_r16_a_condor_of_the_method_is_sold",
            "test_overlay.py::test_r16_when_nothing_is_sold",
            "test_overlay.py::test_r16_what_is_closed",
            "test_overlay.py::test_r16_worst_loss_counts_in_defined_risk_capital",
            "test_overlay.py::test_r16_losses_count_in_value_at_risk",
            "test_overlay.py::test_r16_losses_count_in_the_over_hedge_guard",
            "test_overlay.py::test_r16_laws",
        ),
    ),
    "R17": Rule(
        function=time_shift,
        policy_keys=("layers", "roll", "signals.fundamental.carry_wacc"),
        tests=(
            "test_choose.py::test_r17_expiry_fallback",
            "test_holding.py::test_r17_which_layer_a_leg_serves",
            "test_time_shift.py::test_r17_when_a_layer_lets_a_leg_go",
            "test_time_shift.py::test_r17_easing_needs_both_levels",
            "test_time_shift.py::test_r17_costs_of_both_ways_by_hand",
            "test_time_shift.py::test_r17_expiring_leg_without_budget_raises_the_alarm",
            "test_time_shift.py::test_r17_a_replaced_leg_is_sold_only_after_its_replacement",
        ),
    ),
    "R18": Rule(
        function=no_loyalty,
        policy_keys=("no_loyalty", "tiers.cooldown", "orders.min_order"),
        tests=(
            "test_holding.py::test_r18_what_is_sold_and_what_is_kept",
            "test_holding.py::test_r18_positions_that_left",
            "test_holding.py::test_r18_hedges_of_positions_that_left_are_let_go",
            "test_holding.py::test_r18_an_unknown_target_lets_nothing_go",
            "test_holding.py::test_r18_laws_of_every_sale",
            "test_holding.py::test_r18_churn_is_bounded",
        ),
    ),
    "R19": Rule(
        function=diversification,
        policy_keys=("diversification",),
        tests=(
            "base_layers/test_diversification.py::test_r19_share_limit",
            "base_layers/test_diversification.py::test_r19_hhi_limit",
            "base_layers/test_diversification.py::test_r19_once_the_proposal_is_done_the_limits_hold",
            "base_layers/test_levelling.py::test_no_smaller_move_repairs",
        ),
    ),
    "R20": Rule(
        function=insurance,
        policy_keys=("insurance",),
        tests=(
            "base_layers/test_insurance.py::test_r20_bought_in_calm_up_to_the_share",
            "base_layers/test_insurance.py::test_r20_renewed_14_days_before_expiry_in_any_market",
            "base_layers/test_insurance.py::test_r20_none_for_a_protocol_above_guarded",
            "base_layers/test_insurance.py::test_r20_no_tier_changes_the_size_of_cover",
            "base_layers/test_insurance.py::test_r20_cover_counts_in_no_hedge",
        ),
    ),
    "R21": Rule(
        function=reserve,
        policy_keys=("reserve", "hard_triggers.hf_min"),
        tests=(
            "base_layers/test_reserve.py::test_r21_spent_at_severe_of_market_or_protocol",
            "base_layers/test_reserve.py::test_r21_which_loans_are_rescued",
            "base_layers/test_reserve.py::test_r21_health_after_is_at_least_the_target",
            "base_layers/test_reserve.py::test_r21_never_spends_more_than_the_reserve_has",
        ),
    ),
    "R24": Rule(
        function=explain,
        policy_keys=(),
        tests=(
            "test_explain.py::test_r24_every_rule_speaks",
            "test_explain.py::test_r24_a_standing_repeats_the_votes_of_its_record",
            "test_nearest.py::test_r24_the_smallest_change_up_moves_the_tier_and_one_percent_less_does_not",
            "test_nearest.py::test_r24_no_smaller_change_of_scores_moves_the_tier_up",
            "test_nearest.py::test_r24_the_change_down_lets_the_tier_fall_and_less_of_any_part_does_not",
        ),
    ),
    "R25": Rule(
        function=decide,
        policy_keys=(),
        tests=("test_step.py::test_r25_same_frame_same_bytes",),
    ),
    "R29": Rule(
        function=exit_plan,
        policy_keys=("exit", "hard_triggers.coverage_crisis"),
        tests=(
            "base_layers/test_exit_plan.py::test_r29_on_protocol_tier_crisis_alone",
            "base_layers/test_exit_plan.py::test_r29_by_itself_only_where_the_policy_says_so_in_words",
            "base_layers/test_exit_plan.py::test_r29_hedges_of_what_left_are_left_to_r18",
        ),
    ),
    "R27": Rule(
        function=short_perpetual,
        policy_keys=("near.instrument", "near.delta_share", "perpetual"),
        tests=(
            "test_perpetual.py::test_r12_a_short_on_the_tiers_share_of_delta",
            "test_perpetual.py::test_r12_reset_when_delta_has_moved_by_the_band",
            "test_perpetual.py::test_r27_a_quote_that_may_not_be_shorted_leaves_near_to_puts",
            "test_perpetual.py::test_r27_stands_in_where_no_near_option_is_listed_and_goes_when_one_is_back",
            "test_perpetual.py::test_r27_margin_is_added_where_liquidation_came_near",
            "test_perpetual.py::test_r9_limits_of_perpetuals_cut_and_say_so",
            "test_perpetual.py::test_r10_laws_of_the_short_and_the_options_together",
            "test_conversion.py::test_r27_a_put_of_a_call_and_a_short",
            "test_conversion.py::test_r27_the_planner_takes_the_cheaper_and_the_leg_says_what_it_is_made_of",
        ),
    ),
    "R28": Rule(
        function=monetise,
        policy_keys=(
            "monetise",
            "tiers.confirm",
            "tiers.confirm_s",
            "tiers.confirm_blocks",
            "tiers.cooldown",
        ),
        tests=(
            "test_monetise.py::test_r28_limit_of_delta",
            "test_monetise.py::test_r28_limit_of_value",
            "test_monetise.py::test_r28_a_part_needs_a_confirmed_step",
            "test_monetise.py::test_r28_sells_only_while_the_venue_pays",
            "test_monetise.py::test_r28_the_layer_is_bought_at_its_own_delta_before_the_part_goes",
            "test_monetise.py::test_r28_laws",
        ),
    ),
}
