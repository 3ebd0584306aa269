"""A policy's numbers as the kernels read them, and a fresh memory."""

import math
from collections.abc import Sequence

import numpy as np

from bot.engine.policy import Policy
from bot.engine.rules.context import SCORE_DIGITS
from bot.model.tier import Tier
from bot.simulation.kernels import layout as at
from bot.simulation.kernels.compiling import Floats, Integers


def parameters(policy: Policy) -> Floats:
    """Return the numbers of one policy, by layout's place."""
    tiers, values = policy.tiers, np.zeros(at.PARAMETERS)
    values[at.VOTE], values[at.VOTE_OFF], values[at.SEVERE_SCORE] = (
        tiers.vote,
        tiers.vote_off,
        tiers.severe_score,
    )
    values[at.FAST_VOTE] = values[at.FAST_CALM] = math.inf
    if tiers.fast_vote is not None:
        values[at.FAST_VOTE] = round(tiers.fast_vote, SCORE_DIGITS)
        values[at.FAST_CALM] = round(tiers.fast_vote / 2.0, SCORE_DIGITS)
    values[at.CONFIRM], values[at.CONFIRM_S] = tiers.confirm, tiers.confirm_s
    values[at.CONFIRM_BLOCKS] = tiers.confirm_blocks
    values[at.COOLDOWN], values[at.COOLDOWN_GUARDED] = tiers.cooldown, tiers.cooldown_guarded
    values[at.STEP_DOWN_ONE] = 1.0 if tiers.step_down == "one" else 0.0
    values[at.SESSION] = tiers.session
    _money(policy, values)
    return values


def _money(policy: Policy, values: Floats) -> None:
    near, perpetual, guard = policy.near, policy.perpetual, policy.cost_guard
    values[at.NEAR_BY_TIER] = 1.0 if near.trigger == "tier" else 0.0
    for tier in Tier:
        values[at.DELTA_SHARE + tier] = near.delta_share.of(tier)
    values[at.RESET_BAND], values[at.MIN_FUNDING] = perpetual.reset_band, perpetual.min_funding
    values[at.MAX_NOTIONAL], values[at.MAX_MARGIN] = perpetual.max_notional, perpetual.max_margin
    values[at.MAX_SLIPPAGE] = perpetual.max_slippage
    values[at.DEFINED_RISK] = policy.budget.defined_risk_capital
    values[at.MIN_ORDER] = policy.orders.min_order
    values[at.CARRY_SHARE], values[at.CARRY_FLOOR] = guard.max_carry_share, guard.carry_floor
    values[at.WACC] = policy.signals.fundamental.carry_wacc
    values[at.TOLERANCE] = policy.sizing.over_hedge_tolerance
    values[at.PAUSE_FIRST], values[at.PAUSE_LONGEST] = policy.orders.refusal_pause


def fresh_memory(policies: Sequence[Policy]) -> tuple[Floats, Integers]:
    """Return the floats and the integers of a block, a row a policy."""
    numbers = np.zeros((len(policies), at.FIELDS))
    for lane, policy in enumerate(policies):
        numbers[lane, : at.PARAMETERS] = parameters(policy)
    memory = numbers[:, at.MEMORY_FROM : at.REST_FROM]
    memory[:, [at.NEEDED_S, at.STEPPED_DOWN_S, at.PEAK_USD]] = -math.inf
    memory[:, at.WORST] = math.inf
    return numbers, np.zeros((len(policies), at.INTEGERS), dtype=np.int64)
