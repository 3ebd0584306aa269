"""R1-R4 for one group: its votes, the tier that they ask for, and the tier that it has after confirmation."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from bot.engine.group import Group
from bot.engine.policy import Policy
from bot.engine.rules import TIER_RULES
from bot.engine.rules.confirmation import confirmed
from bot.engine.rules.consensus import family_votes, voting_memory
from bot.engine.rules.context import TierContext, places_read
from bot.engine.rules.fast_path import fast_places
from bot.model.market import Frame
from bot.model.record import GroupState
from bot.model.tier import Reading, RuleFinding, Tier


@dataclass(frozen=True, slots=True, kw_only=True)
class TierStep:
    """What R1-R4 made of one group."""

    context: TierContext  # its state is the new one
    previous: Tier
    needed: Tier  # what the rules ask for in this frame
    findings: tuple[RuleFinding, ...]
    reads: tuple[int, ...]  # places of the context's readings among all
    fast_reads: tuple[int, ...]  # of those in its fast mean

    @property
    def moved(self) -> str:
        """Return R3's word where the tier waits, stays up or falls; empty where it is simply asked for."""
        tier = self.context.state.tier
        if tier > self.previous or tier is self.previous is self.needed:
            return ""
        return next(item.because for item in self.findings if item.rule == "R3")


def decide_tier(
    policy: Policy,
    before: GroupState,
    frame: Frame,
    group: Group,
    readings: Sequence[Reading],
    holds: Sequence[str],
) -> TierStep:
    """Return a group's memory after R1-R4."""
    reads = places_read(policy, group.name, group.exposures, readings)
    mine = tuple([readings[place] for place in reads])
    context = TierContext(
        group=group.name,
        underlying=group.underlying,
        stable=group.stable,
        state=before,
        frame=frame,
        readings=mine,
        votes=family_votes(policy, before, mine),
    )
    findings = tuple(found for rule in TIER_RULES.values() for found in rule(policy, context))
    needed = needed_tier(findings)
    after, moved = confirmed(policy, context, needed, holds=holds)
    after = replace(after, voting=voting_memory(policy, context))
    return TierStep(
        context=replace(context, state=after),
        previous=before.tier,
        needed=needed,
        findings=(*findings, moved),
        reads=reads,
        fast_reads=fast_places(context, reads),
    )


def needed_tier(findings: Sequence[RuleFinding]) -> Tier:
    """Return the tier that is asked for: votes under R4's cap, hard triggers without one."""
    voted = max(
        (item.tier for item in findings if item.rule == "R1" and item.tier is not None), default=Tier.CALM
    )
    cap = min((item.caps_tier for item in findings if item.caps_tier is not None), default=Tier.CRISIS)
    forced = max(
        (item.tier for item in findings if item.rule != "R1" and item.fired and item.tier is not None),
        default=Tier.CALM,
    )
    return max(min(voted, cap), forced)
