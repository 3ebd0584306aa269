"""R3: up after confirmation, down after a calm cooldown, one step or straight, once a session."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

from bot.engine.policy import Policy
from bot.engine.policy_tiers import TierPolicy
from bot.engine.rules.consensus import unproven_calm
from bot.engine.rules.context import TierContext
from bot.engine.rules.fast_path import fast_mean, is_calming
from bot.model.market import Block
from bot.model.record import GroupState, Pending
from bot.model.tier import RuleFinding, Tier
from bot.signals.macro import release_near


def confirmed(
    policy: Policy, context: TierContext, needed: Tier, *, holds: Sequence[str]
) -> tuple[GroupState, RuleFinding]:
    """Return the group's memory with its new tier, and why it moved or did not.

    ``needed`` is the tier that the rules ask for in this frame. A hold, a degraded family, a vote that ended
    for want of data alone or fast scores that are not low keep the tier from falling; none stops it from
    rising. Within a day of a macro release (S19) one frame confirms.
    """
    tiers, state, now_s = policy.tiers, context.state, context.frame.now_s
    pending = _pending(state, needed, now_s=now_s, block=height_of(context.frame.blocks))
    unrest = _unrest(policy, context)
    is_needed = needed >= state.tier  # R3 counts the cooldown from here; unrest refuses the step in its frame
    state = replace(state, pending=pending, last_needed_s=now_s if is_needed else state.last_needed_s)
    if not pending:
        return _down(tiers, state, context, needed, holds=holds, unrest=unrest)
    near = release_near(context.frame.columns, now_s=now_s, policy=policy.signals)
    confirm = 1 if near.near else tiers.confirm
    done = (item.tier for item in pending if _is_confirmed(tiers, item, context, confirm=confirm))
    risen = max(done, default=state.tier)
    if risen > state.tier:
        left = tuple(item for item in pending if item.tier > risen)
        because = f"up from {state.tier.name} to {risen.name}: {_spoken(pending, risen, now_s)}"
        because += f"; one frame confirms, {near.because}" if near.near else ""
        state = replace(state, tier=risen, pending=left, last_needed_s=now_s)
        return state, RuleFinding(rule="R3", fired=True, because=because, tier=risen)
    return state, RuleFinding(rule="R3", fired=False, because=_waiting(tiers, pending[-1], context))


def _unrest(policy: Policy, context: TierContext) -> str:
    """Return why the scores do not allow a step down, empty when they do (R3).

    A score that is missing is not low: it counts at its worst where its family voted, and in the fast mean.
    """
    tiers = policy.tiers
    tallest = max((vote.score for vote in context.votes), default=0.0)
    if tallest >= tiers.vote_off:
        return f"the highest family score is {tallest:.3f}, not under {tiers.vote_off:g}"
    unproven = unproven_calm(policy, context)
    if unproven:
        family, lost = next(iter(unproven.items()))
        return f"{family} was high and may still be: {lost} missing"
    if tiers.fast_vote is None:
        return ""
    fast = fast_mean(context)
    if is_calming(tiers, fast):
        return ""
    return f"{fast.spoken} is not known to be under half of {tiers.fast_vote:g}"


def cooldown_from(tiers: TierPolicy, tier: Tier) -> float:
    """Return the seconds for which a tier must not have been needed before it falls."""
    return tiers.cooldown_guarded if tier <= Tier.GUARDED else tiers.cooldown


def _pending(state: GroupState, needed: Tier, *, now_s: float, block: int) -> tuple[Pending, ...]:
    """Return one entry for each higher tier that is asked for, counting from when it first was."""
    before: Mapping[Tier, Pending] = {item.tier: item for item in state.pending}
    entries = []
    for tier in map(Tier, range(state.tier + 1, needed + 1)):
        known = before.get(tier)
        entries.append(
            replace(known, frames=known.frames + 1)
            if known
            else Pending(tier=tier, frames=1, since_s=now_s, since_block=block)
        )
    return tuple(entries)


def _is_confirmed(tiers: TierPolicy, item: Pending, context: TierContext, *, confirm: int) -> bool:
    height = height_of(context.frame.blocks)
    spans_blocks = not (height and item.since_block) or height - item.since_block >= tiers.confirm_blocks
    spans_time = context.frame.now_s - item.since_s >= tiers.confirm_s
    return item.frames >= confirm and (confirm == 1 or (spans_time and spans_blocks))


def height_of(blocks: Mapping[int, Block]) -> int:
    """Return the height on the frame's first chain; 0 where frames have no block (backtest)."""
    return blocks[min(blocks)].number if blocks else 0


def _spoken(pending: Sequence[Pending], tier: Tier, now_s: float) -> str:
    item = next(each for each in pending if each.tier is tier)
    frames = "1 frame" if item.frames == 1 else f"{item.frames} frames"
    return f"asked for in {frames} over {now_s - item.since_s:.0f} s"


def _waiting(tiers: TierPolicy, item: Pending, context: TierContext) -> str:
    now_s, height = context.frame.now_s, height_of(context.frame.blocks)
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
    unrest: str,
) -> tuple[GroupState, RuleFinding]:
    if needed >= state.tier:
        return state, RuleFinding(rule="R3", fired=False, because=f"{state.tier.name} is what is asked for")
    refusal = _refusal(tiers, state, context, holds=holds, unrest=unrest)
    if refusal:
        because = f"{state.tier.name} stays though {needed.name} would do: {refusal}"
        return state, RuleFinding(rule="R3", fired=False, because=because)
    lower = Tier(state.tier - 1) if tiers.step_down == "one" else needed
    quiet_h = (context.frame.now_s - state.last_needed_s) / 3600.0
    because = f"down from {state.tier.name} to {lower.name}: not needed for {quiet_h:.1f} h"
    state = replace(state, tier=lower, last_step_down_s=context.frame.now_s)
    return state, RuleFinding(rule="R3", fired=True, because=because)


def _refusal(
    tiers: TierPolicy, state: GroupState, context: TierContext, *, holds: Sequence[str], unrest: str
) -> str:
    """Return why the tier may not fall now; empty when it may."""
    now_s = context.frame.now_s
    degraded = [vote.family.value for vote in context.votes if vote.degraded]
    if holds:
        return f"HOLD ({holds[0]})"
    if degraded:
        return f"{', '.join(degraded)} is degraded"
    if unrest:
        return unrest
    quiet_s, cooldown_s = now_s - state.last_needed_s, cooldown_from(tiers, state.tier)
    if quiet_s < cooldown_s:
        return f"cooldown ends in {(cooldown_s - quiet_s) / 3600.0:.1f} h"
    since_down_s = now_s - state.last_step_down_s
    if math.isfinite(since_down_s) and since_down_s < tiers.session:
        return f"one step down a session; the next in {(tiers.session - since_down_s) / 3600.0:.1f} h"
    return ""
