"""The policy: every number that a rule needs, frozen, bounded and hashed.

A policy file is TOML; the caller reads it and hands the mapping to ``parse_policy``. Nothing has a default
in code: a number that decides about money stands in the file (bot/policies/classic.toml).
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Annotated

from bot.engine.policy_base import DiversificationPolicy, ExitPolicy, InsurancePolicy, ReservePolicy
from bot.engine.policy_fields import plain, read_section, refuse, section, text
from bot.engine.policy_holding import LoyaltyPolicy, MonetisePolicy, OverlayPolicy, RollPolicy
from bot.engine.policy_orders import BudgetPolicy, OrderPolicy
from bot.engine.policy_perpetual import PerpetualPolicy
from bot.engine.policy_sizing import (
    CostGuardPolicy,
    LayersPolicy,
    MidPolicy,
    NearPolicy,
    SizingPolicy,
    TailPolicy,
    WingsPolicy,
)
from bot.engine.policy_tiers import (
    HardTriggerPolicy,
    HoldPolicy,
    Labels,
    LabelsReader,
    LiquidityRulePolicy,
    OuterWingPolicy,
    TierPolicy,
)
from bot.signals.policy import SignalsPolicy


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """One policy. ``hash`` is the sha256 of all its numbers in canonical form."""

    name: Annotated[str, text()]
    signals: Annotated[SignalsPolicy, plain(SignalsPolicy)]
    tiers: Annotated[TierPolicy, section(TierPolicy)]
    hard_triggers: Annotated[HardTriggerPolicy, section(HardTriggerPolicy)]
    holds: Annotated[HoldPolicy, section(HoldPolicy)]
    dependencies: Annotated[Labels, LabelsReader()]  # protocol, stable or pool -> labels that are part of it
    outer_wings: Annotated[OuterWingPolicy, section(OuterWingPolicy)]
    liquidity_rule: Annotated[LiquidityRulePolicy, section(LiquidityRulePolicy)]
    sizing: Annotated[SizingPolicy, section(SizingPolicy)]
    cost_guard: Annotated[CostGuardPolicy, section(CostGuardPolicy)]
    budget: Annotated[BudgetPolicy, section(BudgetPolicy)]
    layers: Annotated[LayersPolicy, section(LayersPolicy)]
    near: Annotated[NearPolicy, section(NearPolicy)]
    perpetual: Annotated[PerpetualPolicy, section(PerpetualPolicy)]
    mid: Annotated[MidPolicy, section(MidPolicy)]
    tail: Annotated[TailPolicy, section(TailPolicy)]
    wings: Annotated[WingsPolicy, section(WingsPolicy)]
    roll: Annotated[RollPolicy, section(RollPolicy)]
    no_loyalty: Annotated[LoyaltyPolicy, section(LoyaltyPolicy)]
    monetise: Annotated[MonetisePolicy, section(MonetisePolicy)]
    overlay: Annotated[OverlayPolicy, section(OverlayPolicy)]
    orders: Annotated[OrderPolicy, section(OrderPolicy)]
    diversification: Annotated[DiversificationPolicy, section(DiversificationPolicy)]
    insurance: Annotated[InsurancePolicy, section(InsurancePolicy)]
    reserve: Annotated[ReservePolicy, section(ReservePolicy)]
    exit: Annotated[ExitPolicy, section(ExitPolicy)]
    hash: str = field(init=False, compare=False, default="")

    def __post_init__(self) -> None:
        bounds, cap = self.sizing.weight_bounds, self.outer_wings.near_cap
        least = max(bounds.NEAR[0], 100.0 - bounds.MID[1] - bounds.TAIL[1])
        if cap < least:  # R5 could not hold R7's bounds
            allowed = f"at least {least:g}: with less, sizing.weight_bounds cannot hold"
            raise refuse("outer_wings.near_cap", cap, allowed)
        if self.perpetual.margin_days > self.sizing.horizon_days:
            allowed = f"at most sizing.horizon_days ({self.sizing.horizon_days})"
            raise refuse("perpetual.margin_days", self.perpetual.margin_days, allowed)
        self.reserve.check(hf_min=self.hard_triggers.hf_min)
        content = asdict(self)
        del content["hash"]
        canonical = json.dumps(content, sort_keys=True, separators=(",", ":"), default=str)
        object.__setattr__(self, "hash", hashlib.sha256(canonical.encode()).hexdigest())


def parse_policy(table: Mapping[str, object]) -> Policy:
    """Return the policy that a parsed TOML file states.

    Raises ConfigError, one line naming the key, the value found and what is allowed: for an unknown or
    missing key, a wrong form or unit, a number out of bounds, weights that do not sum to 100.
    """
    return read_section(Policy, table, "")
