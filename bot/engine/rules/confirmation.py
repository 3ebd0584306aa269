"""R3: up after confirmation, down after a calm cooldown, one step or straight, once a session."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

from bot.engine.policy import Policy, TierPolicy
from bot.engine.rules.context import TierContext
from bot.model.market import Block
from bot.model.record import GroupState, Pending
from bot.model.tier import RuleFinding, Tier


def confirmed(
    policy: Policy, context: TierContext, needed: Tier, *, holds: Sequence[str]
) -> tuple[GroupState, RuleFinding]:
    """Return the group's memory with its new tier, and why it moved or did not.

    ``needed`` is the tier that the rules ask for in this frame. A hold or a blind family keeps the tier
    from falling; neither stops it from rising.
    """
    tiers, state, now_s = policy.tiers, context.state, context.frame.now_s
    pending = _pending(state, needed, now_s=now_s, block=_height(context.frame.blocks))
    state = replace(state, pending=pending)
    tallest = max((vote.score for vote in context.votes), default=0.0)
    if needed >= state.tier or tallest >= tiers.vote_off:
        state = replace(state, last_needed_s=now_s)
    risen = max((item.tier for item in pending if _is_confirmed(tiers, item, context)), default=state.tier)
    if risen > state.tier:
        left = tuple(item for item in pending if item.tier > risen)
        because = f"up from {state.tier.name} to {risen.name}: {_spoken(pending, risen, now_s)}"
        state = replace(state, tier=risen, pending=left, last_needed_s=now_s)
        return state, RuleFinding(rule="R3", fired=True, because=because, tier=risen)
    if pending:
        return state, RuleFinding(rule="R3", fired=False, because=_waiting(tiers, pending[-1], context))
    return _down(tiers, state, context, needed, holds=holds, tallest=tallest)


def _pending(state: GroupState, needed: Tier, *, now_s: float, block: int) -> tuple[Pending, ...]:
    """Return one entry for each higher tier that is asked for, counting from when it first was."""
    before: Mapping[Tier, Pending] = {item.tier: item for item in state.pending}
    entries = []
    for tier in (each for each in Tier if state.tier < each <= needed):
        known = before.get(tier)
        entries.append(
            replace(known, frames=known.frames + 1)
            if known
            else Pending(tier=tier, frames=1, since_s=now_s, since_block=block)
        )
    return tuple(entries)


def _is_confirmed(tiers: TierPolicy, item: Pending, context: TierContext) -> bool:
    height = _height(context.frame.blocks)
    spans_blocks = not (height and item.since_block) or height - item.since_block >= tiers.confirm_blocks
    spans_time = context.frame.now_s - item.since_s >= tiers.confirm_s
    return item.frames >= tiers.confirm and (tiers.confirm == 1 or (spans_time and spans_blocks))


def _height(blocks: Mapping[int, Block]) -> int:
    """Return the height on the frame's first chain; 0 where frames have no block (backtest)."""
    return blocks[min(blocks)].number if blocks else 0


def _spoken(pending: Sequence[Pending], tier: Tier, now_s: float) -> str:
    item = next(each for each in pending if each.tier is tier)
    frames = "1 frame" if item.frames == 1 else f"{item.frames} frames"
    return f"asked for in {frames} over {now_s - item.since_s:.0f} s"


def _waiting(tiers: TierPolicy, item: Pending, context: TierContext) -> str:
    now_s, height = context.frame.now_s, _height(context.frame.blocks)
    blocks = f", {height - item.since_block} of {tiers.confirm_blocks} blocks" if height else ""
    return (
        f"{item.tier.name} waits for confirmation: frame {item.frames} of {tiers.confirm}, "
        f"{now_s - item.since_s:.0f} of {tiers.confirm_s:.0f} s{blocks}"
    )


def _down(
    tiers: TierPolicy,
    state: GroupState,
    context: TierContext,
    needed: Tier,
    *,
    holds: Sequence[str],
    tallest: float,
) -> tuple[GroupState, RuleFinding]:
    if needed >= state.tier:
        return state, RuleFinding(rule="R3", fired=False, because=f"{state.tier.name} is what is asked for")
    refusal = _refusal(tiers, state, context, holds=holds, tallest=tallest)
    if refusal:
        because = f"{state.tier.name} stays though {needed.name} would do: {refusal}"
        return state, RuleFinding(rule="R3", fired=False, because=because)
    lower = Tier(state.tier - 1) if tiers.step_down == "one" else needed
    quiet_h = (context.frame.now_s - state.last_needed_s) / 3600.0
    because = f"down from {state.tier.name} to {lower.name}: not needed for {quiet_h:.1f} h"
    state = replace(state, tier=lower, last_step_down_s=context.frame.now_s)
    return state, RuleFinding(rule="R3", fired=True, because=because)


def _refusal(
    tiers: TierPolicy, state: GroupState, context: TierContext, *, holds: Sequence[str], tallest: float
) -> str:
    """Return why the tier may not fall now; empty when it may."""
    now_s = context.frame.now_s
    degraded = [vote.family.value for vote in context.votes if vote.degraded]
    if holds:
        return f"HOLD ({holds[0]})"
    if degraded:
        return f"{', '.join(degraded)} is degraded"
    if tallest >= tiers.vote_off:
        return f"the highest family score is {tallest:.3f}, not under {tiers.vote_off:g}"
    quiet_s = now_s - state.last_needed_s
    if quiet_s < tiers.cooldown:
        return f"cooldown ends in {(tiers.cooldown - quiet_s) / 3600.0:.1f} h"
    since_down_s = now_s - state.last_step_down_s
    if math.isfinite(since_down_s) and since_down_s < tiers.session:
        return f"one step down a session; the next in {(tiers.session - since_down_s) / 3600.0:.1f} h"
    return ""
