"""The policy: every number that a rule needs, frozen, bounded and hashed.

A policy file is TOML; the caller reads it and hands the mapping to ``parse_policy``. Nothing has a default
in code: a number that decides about money stands in the file (bot/policies/classic.toml).
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Annotated

from bot.engine.policy_fields import (
    duration,
    flag,
    interval,
    number,
    percent,
    plain,
    read_section,
    refuse,
    section,
    text,
)
from bot.engine.policy_holding import LoyaltyPolicy, MonetisePolicy, OverlayPolicy, RollPolicy
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
from bot.model.units import DAY_S
from bot.signals.policy import SignalsPolicy


@dataclass(frozen=True, slots=True, kw_only=True)
class BudgetPolicy:
    """R9 caps, fractions of exposure (session: of defined-risk capital)."""

    defined_risk_capital: Annotated[float, percent(0, 100)]
    session_share: Annotated[float, percent(0, 25)]  # method.md R9: never more than 25 %
    budget_30d: Annotated[float, percent(0, 100)]
    budget_365d: Annotated[float, percent(0, 100)]
    escalation_reserve: Annotated[bool, flag()]  # docs/adr/0004

    def __post_init__(self) -> None:
        if self.budget_365d < self.budget_30d:
            raise refuse("budget.budget_365d", f"{self.budget_365d:.2%}", "at least budget.budget_30d")


@dataclass(frozen=True, slots=True, kw_only=True)
class OrderPolicy:
    """Limits of every order."""

    max_slippage: Annotated[float, percent(0, 50)]
    valid_for: Annotated[float, duration(1, DAY_S)]  # seconds
    max_price_ratio: Annotated[float, number(1.5, 1_000)]
    min_order: Annotated[float, percent(0, 100)]
    quote_share: Annotated[float, percent(1, 100)]  # of what the exposure is worth, in the underlying
    refusal_pause: Annotated[tuple[float, float], interval(duration(1, DAY_S))]  # seconds: first, longest


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
    mid: Annotated[MidPolicy, section(MidPolicy)]
    tail: Annotated[TailPolicy, section(TailPolicy)]
    wings: Annotated[WingsPolicy, section(WingsPolicy)]
    roll: Annotated[RollPolicy, section(RollPolicy)]
    no_loyalty: Annotated[LoyaltyPolicy, section(LoyaltyPolicy)]
    monetise: Annotated[MonetisePolicy, section(MonetisePolicy)]
    overlay: Annotated[OverlayPolicy, section(OverlayPolicy)]
    orders: Annotated[OrderPolicy, section(OrderPolicy)]
    hash: str = field(init=False, compare=False, default="")

    def __post_init__(self) -> None:
        least = self.sizing.weight_bounds.NEAR[0]
        if self.outer_wings.near_cap < least:  # R5 could not hold R7's bounds
            raise refuse(
                "outer_wings.near_cap",
                self.outer_wings.near_cap,
                f"at least sizing.weight_bounds.NEAR ({least:g})",
            )
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
