"""The policy: every number that a rule needs, frozen, bounded and hashed.

A policy file is TOML; the caller reads it and hands the mapping to ``parse_policy``. Nothing has a default
in code: a number that decides about money stands in the file (bot/policies/classic.toml).
"""

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Annotated

from bot.engine.policy_fields import (
    choice,
    duration,
    flag,
    interval,
    number,
    only,
    percent,
    plain,
    read_section,
    refuse,
    section,
    text,
    whole,
)
from bot.model.hedge import Layer
from bot.model.tier import Tier
from bot.model.units import DAY_S, HOUR_S, MINUTE_S
from bot.signals.policy import SignalsPolicy

_FAST_ABSENT = "the fast path needs S14, S24, S25 and S26, which this release does not have"
_PERPETUAL_ABSENT = "a perpetual NEAR hedge (R27) is not in this release"


@dataclass(frozen=True, slots=True, kw_only=True)
class TierPolicy:
    """R1 and R3: how signals become tiers."""

    vote: Annotated[float, number(0.05, 0.95)]
    vote_off: Annotated[float, number(0.0, 0.95)]
    severe_score: Annotated[float, number(0.05, 1.0)]
    fast_vote: Annotated[str, only("off", reason=_FAST_ABSENT)]
    confirm: Annotated[int, whole(1, 20)]
    confirm_s: Annotated[float, duration(0, DAY_S)]
    confirm_blocks: Annotated[int, whole(0, 1_000)]
    cooldown: Annotated[float, duration(0, 30 * DAY_S)]  # seconds
    step_down: Annotated[str, choice("one", "straight")]
    session: Annotated[float, duration(HOUR_S, 7 * DAY_S)]  # seconds

    def __post_init__(self) -> None:
        if not self.vote_off < self.vote:
            raise refuse("tiers.vote_off", self.vote_off, f"under tiers.vote ({self.vote:g})")
        if not self.vote <= self.severe_score:
            raise refuse("tiers.severe_score", self.severe_score, f"at least tiers.vote ({self.vote:g})")


@dataclass(frozen=True, slots=True, kw_only=True)
class HardTriggerPolicy:
    """R2, market kind: a fall that two independent price sources confirm."""

    window: Annotated[float, duration(5 * MINUTE_S, DAY_S)]  # seconds
    sigmas: Annotated[float, number(1, 50)]
    elevated_fall: Annotated[float, percent(1, 90)]
    severe_fall: Annotated[float, percent(1, 95)]

    def __post_init__(self) -> None:
        if not self.elevated_fall < self.severe_fall:
            raise refuse("hard_triggers.severe_fall", self.severe_fall, "over hard_triggers.elevated_fall")


@dataclass(frozen=True, slots=True, kw_only=True)
class HoldPolicy:
    """R2 HOLD: when prices may not be traded on."""

    price_max_age: Annotated[float, duration(1, 2 * DAY_S)]  # seconds
    price_disagreement: Annotated[float, percent(0.1, 50)]
    clock_skew: Annotated[float, duration(1, HOUR_S)]  # seconds


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerWeights:
    """Points of option notional (R7); the three sum to 100."""

    NEAR: Annotated[float, number(0, 100)]
    MID: Annotated[float, number(0, 100)]
    TAIL: Annotated[float, number(0, 100)]

    def of(self, layer: Layer) -> float:
        return {Layer.NEAR: self.NEAR, Layer.MID: self.MID, Layer.TAIL: self.TAIL}[layer]


@dataclass(frozen=True, slots=True, kw_only=True)
class WeightBounds:
    """Least and most points of a layer while all three are open (R7)."""

    NEAR: Annotated[tuple[float, float], interval(number(0, 100))]
    MID: Annotated[tuple[float, float], interval(number(0, 100))]
    TAIL: Annotated[tuple[float, float], interval(number(0, 100))]

    def of(self, layer: Layer) -> tuple[float, float]:
        return {Layer.NEAR: self.NEAR, Layer.MID: self.MID, Layer.TAIL: self.TAIL}[layer]


@dataclass(frozen=True, slots=True, kw_only=True)
class TierShares:
    """Share of VaR that the hedge's gain covers, by tier (R8), fractions."""

    CALM: Annotated[float, percent(0, 100)]
    GUARDED: Annotated[float, percent(0, 100)]
    ELEVATED: Annotated[float, percent(0, 100)]
    SEVERE: Annotated[float, percent(0, 100)]
    CRISIS: Annotated[float, percent(0, 100)]

    def __post_init__(self) -> None:
        for lower, higher in zip(list(Tier)[:-1], list(Tier)[1:], strict=True):
            if self.of(higher) < self.of(lower):
                name, least = f"sizing.shares.{higher.name}", f"{self.of(lower):.2%} ({lower.name})"
                raise refuse(name, f"{self.of(higher):.2%}", f"at least {least}")

    def of(self, tier: Tier) -> float:
        return (self.CALM, self.GUARDED, self.ELEVATED, self.SEVERE, self.CRISIS)[tier]


@dataclass(frozen=True, slots=True, kw_only=True)
class SizingPolicy:
    """R7, R8 and R10."""

    weights: Annotated[LayerWeights, section(LayerWeights)]
    weight_bounds: Annotated[WeightBounds, section(WeightBounds)]
    term_structure_move: Annotated[float, number(0, 50)]  # points from MID to NEAR at S13 score 1
    shares: Annotated[TierShares, section(TierShares)]
    horizon_days: Annotated[int, whole(1, 60)]
    confidence: Annotated[float, percent(50, 99.9)]
    history_days: Annotated[int, whole(30, 3_650)]
    loss_measure: Annotated[str, choice("usd", "hold")]
    over_hedge_tolerance: Annotated[float, percent(0, 100)]
    grid_from: Annotated[float, percent(-99, 0)]
    grid_to: Annotated[float, percent(0, 1_000)]
    grid_step: Annotated[float, percent(0.5, 50)]
    top_up_under: Annotated[float, percent(0, 100)]  # of the wanted share
    stable_window: Annotated[float, duration(MINUTE_S, DAY_S)]  # seconds

    def __post_init__(self) -> None:
        total = sum(self.weights.of(layer) for layer in Layer)
        if not math.isclose(total, 100.0, abs_tol=1e-9):
            spoken = ", ".join(f"{layer} {self.weights.of(layer):g}" for layer in Layer)
            raise refuse("sizing.weights", spoken, f"three numbers that sum to 100 (these sum to {total:g})")
        for layer in Layer:
            low, high = self.weight_bounds.of(layer)
            if not low <= self.weights.of(layer) <= high:
                name = f"sizing.weights.{layer}"
                raise refuse(name, self.weights.of(layer), f"inside its bounds [{low:g}, {high:g}]")


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
class LayerPolicy:
    """R12-R14, R17: which option a layer buys and how long the option keeps its layer."""

    dte: Annotated[tuple[float, float], interval(duration(0, 3_650 * DAY_S, unbounded=True))]  # seconds
    delta: Annotated[tuple[float, float], interval(number(0.01, 0.99))]  # absolute
    roll_at: Annotated[float, duration(0, 365 * DAY_S)]  # seconds to expiry

    @property
    def entry_s(self) -> tuple[float, float]:
        """Return the band of seconds to expiry for entry: what would be rolled at once is left out."""
        return max(self.dte[0], self.roll_at), self.dte[1]


@dataclass(frozen=True, slots=True, kw_only=True)
class LayersPolicy:
    NEAR: Annotated[LayerPolicy, section(LayerPolicy)]
    MID: Annotated[LayerPolicy, section(LayerPolicy)]
    TAIL: Annotated[LayerPolicy, section(LayerPolicy)]

    def __post_init__(self) -> None:
        for layer in Layer:
            low, high = self.of(layer).entry_s
            if not low < high:
                name = f"layers.{layer}.roll_at"
                raise refuse(name, f"{self.of(layer).roll_at / DAY_S:g} d", f"under {high / DAY_S:g} d (dte)")
        for nearer, farther in ((Layer.NEAR, Layer.MID), (Layer.MID, Layer.TAIL)):
            if self.of(farther).dte[0] < self.of(nearer).dte[1]:
                raise refuse(f"layers.{farther}.dte", self.of(farther).dte, f"beyond {nearer}'s band")

    def of(self, layer: Layer) -> LayerPolicy:
        return {Layer.NEAR: self.NEAR, Layer.MID: self.MID, Layer.TAIL: self.TAIL}[layer]


@dataclass(frozen=True, slots=True, kw_only=True)
class NearPolicy:
    """R12's own trigger."""

    instrument: Annotated[str, only("put", reason=_PERPETUAL_ABSENT)]
    trigger: Annotated[str, choice("crossover_or_backwardation", "tier")]
    backwardation_over: Annotated[float, percent(0, 100)]  # front over back vol, of S13


@dataclass(frozen=True, slots=True, kw_only=True)
class MidPolicy:
    """R13's own trigger: ``signals`` scales in with S2, ``tier`` opens in full."""

    scaling: Annotated[str, choice("signals", "tier")]
    scale_from: Annotated[float, number(0, 1)]
    scale_to: Annotated[float, number(0, 1)]

    def __post_init__(self) -> None:
        if not self.scale_from < self.scale_to:
            raise refuse("mid.scale_to", self.scale_to, f"over mid.scale_from ({self.scale_from:g})")


@dataclass(frozen=True, slots=True, kw_only=True)
class RollPolicy:
    """R17."""

    venue_cutoff: Annotated[float, duration(0, 7 * DAY_S)]  # seconds before expiry when trading stops
    compare_over: Annotated[float, duration(DAY_S, 90 * DAY_S)]  # seconds
    easing_from: Annotated[float, percent(0, 100)]  # of S13
    easing_to: Annotated[float, percent(-100, 100)]

    def __post_init__(self) -> None:
        if not self.easing_to < self.easing_from:
            raise refuse("roll.easing_to", f"{self.easing_to:.1%}", "under roll.easing_from")


@dataclass(frozen=True, slots=True, kw_only=True)
class LoyaltyPolicy:
    """R18."""

    resize_band: Annotated[tuple[float, float], interval(percent(0, 1_000))]
    min_hold: Annotated[float, duration(0, 30 * DAY_S)]  # seconds
    min_salvage: Annotated[float, percent(0, 100)]

    def __post_init__(self) -> None:
        if not self.resize_band[0] <= 1.0 <= self.resize_band[1]:
            raise refuse("no_loyalty.resize_band", self.resize_band, "a pair around 100 %")


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
    sizing: Annotated[SizingPolicy, section(SizingPolicy)]
    budget: Annotated[BudgetPolicy, section(BudgetPolicy)]
    layers: Annotated[LayersPolicy, section(LayersPolicy)]
    near: Annotated[NearPolicy, section(NearPolicy)]
    mid: Annotated[MidPolicy, section(MidPolicy)]
    roll: Annotated[RollPolicy, section(RollPolicy)]
    no_loyalty: Annotated[LoyaltyPolicy, section(LoyaltyPolicy)]
    orders: Annotated[OrderPolicy, section(OrderPolicy)]
    hash: str = field(init=False, compare=False, default="")

    def __post_init__(self) -> None:
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
