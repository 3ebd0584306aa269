"""The base layers: DIVERSIFICATION (R19), INSURANCE (R20), RESERVE (R21), and exit (R29).

They buy no option and change no tier. What they want done is a proposal: nothing here is executed.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from bot.engine.base_layers.diversification import diversification
from bot.engine.base_layers.exit_plan import exit_plan
from bot.engine.base_layers.insurance import insurance
from bot.engine.base_layers.reserve import reserve
from bot.engine.policy import Policy
from bot.model.base_layers import Proposal
from bot.model.market import Frame
from bot.model.record import GroupDecision, ProtocolDecision
from bot.model.tier import RuleFinding

__all__ = ["BaseLayers", "base_layers", "diversification", "exit_plan", "insurance", "reserve"]


@dataclass(frozen=True, slots=True, kw_only=True)
class BaseLayers:
    proposals: tuple[Proposal, ...]  # the most urgent rule first: exit, loans and reserve, cover, spread
    findings: tuple[RuleFinding, ...]  # by rule


def base_layers(
    policy: Policy, frame: Frame, groups: Sequence[GroupDecision], protocols: Sequence[ProtocolDecision]
) -> BaseLayers:
    """Return what the base layers propose after the tiers of a frame are decided."""
    market_tiers = {item.group: item.tier for item in groups}
    protocol_tiers = {item.protocol: item.tier for item in protocols}
    leaving, left = exit_plan(policy, frame, market_tiers, protocols)
    ready, kept = reserve(policy, frame, groups, protocol_tiers)
    covering, covered = insurance(policy, frame, market_tiers, protocol_tiers)
    moving, spread = diversification(policy, frame, protocol_tiers)
    return BaseLayers(
        proposals=(*leaving, *ready, *covering, *moving), findings=(*spread, *covered, *kept, *left)
    )
