"""The protocol tier (R2, vocabulary): up at once, down after its cooldown when nothing asks for it.

It is kept per protocol, stable and bridge, drives base layers, alerts and exit, and buys no market layer.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from bot.engine.policy import Policy
from bot.engine.rules.confirmation import cooldown_from
from bot.engine.rules.protocol_triggers import ProtocolFinding, protocol_findings, protocols_of
from bot.model.exposure import Exposure
from bot.model.market import Frame
from bot.model.record import EngineState, ProtocolDecision
from bot.model.tier import Reading, RuleFinding, Tier


@dataclass(frozen=True, slots=True, kw_only=True)
class ProtocolStep:
    """The tiers of all protocols after one frame."""

    tiers: Mapping[str, Tier]  # those over CALM
    needed_s: Mapping[str, float]  # when each of them was last asked for
    decisions: tuple[ProtocolDecision, ...]  # every name that a source speaks of or that has a tier


def protocol_step(
    policy: Policy, state: EngineState, frame: Frame, readings: Sequence[Reading]
) -> ProtocolStep:
    """Return the protocols' next tiers. A source that fails keeps a tier, and never raises one."""
    found: dict[str, list[ProtocolFinding]] = {name: [] for name in state.protocol_tiers}
    for item in protocol_findings(policy, frame, readings):
        found.setdefault(item.protocol, []).append(item)
    tiers, needed_s, decisions = {}, {}, []
    for name in sorted(found):
        before = state.protocol_tiers.get(name, Tier.CALM)
        since_s = state.protocol_needed_s.get(name, -math.inf)
        tier, at_s, moved = _moved(policy, before, since_s, found[name], now_s=frame.now_s)
        if tier > Tier.CALM:
            tiers[name], needed_s[name] = tier, at_s
        decisions.append(
            ProtocolDecision(
                protocol=name,
                tier=tier,
                previous_tier=before,
                groups=_groups_of(frame.exposures, name),
                findings=(*(item.finding for item in found[name]), moved),
            )
        )
    return ProtocolStep(tiers=tiers, needed_s=needed_s, decisions=tuple(decisions))


def highest_protocol(decisions: Sequence[ProtocolDecision], group: str) -> tuple[str, Tier]:
    """Return the protocol with the highest tier among those that a hedge group depends on; "" for none."""
    mine = [item for item in decisions if group in item.groups and item.tier > Tier.CALM]
    worst = max(mine, key=lambda item: item.tier, default=None)  # the first of equals, by name
    return (worst.protocol, worst.tier) if worst else ("", Tier.CALM)


def _moved(
    policy: Policy, before: Tier, since_s: float, found: Sequence[ProtocolFinding], *, now_s: float
) -> tuple[Tier, float, RuleFinding]:
    """Return the next tier, when it was last asked for, and R3's word on it."""
    asked = max((item.finding.tier for item in found if item.finding.tier is not None), default=Tier.CALM)
    silent = [item.finding.because for item in found if item.unknown]
    if asked >= before:
        because = (
            f"up from {before.name} to {asked.name} at once"
            if asked > before
            else f"{asked.name} is asked for"
        )
        return asked, now_s, _word(fired=asked > before, because=because)
    if silent:
        because = f"{before.name} stays, {asked.name} is not proven: {silent[0]}"
        return before, now_s, _word(fired=False, because=because)
    quiet_s, cooldown_s = now_s - since_s, cooldown_from(policy.tiers, before)
    if quiet_s < cooldown_s:
        because = f"{before.name} stays: cooldown ends in {(cooldown_s - quiet_s) / 3600.0:.1f} h"
        return before, since_s, _word(fired=False, because=because)
    because = f"down from {before.name} to {asked.name}: not asked for in {quiet_s / 3600.0:.1f} h"
    return asked, now_s, _word(fired=True, because=because)


def _word(*, fired: bool, because: str) -> RuleFinding:
    return RuleFinding(rule="R3", fired=fired, because=because)


def _groups_of(exposures: Sequence[Exposure], name: str) -> tuple[str, ...]:
    return tuple(sorted({item.group for item in exposures if name in protocols_of((item,))}))
