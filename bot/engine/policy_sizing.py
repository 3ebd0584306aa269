"""The numbers of size and layers, R7, R8, R10-R15: sections of ``Policy``, each key with its bounds."""

import math
from dataclasses import dataclass
from typing import Annotated

from bot.engine.policy_fields import (
    choice,
    duration,
    interval,
    number,
    only,
    percent,
    refuse,
    section,
    whole,
    words,
)
from bot.model.hedge import Layer
from bot.model.tier import Tier
from bot.model.units import DAY_S, HOUR_S, MINUTE_S


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerWeights:
    """Points (R7), of what ``weights_of`` says; the three sum to 100."""

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
class WeightMoves:
    """Points that signals move between layers while all three are open (R7)."""

    S13: Annotated[float, number(0, 50)]  # MID to NEAR at score 1
    S8: Annotated[float, number(0, 50)]  # NEAR to TAIL at score 1
    S18: Annotated[float, number(0, 50)]  # NEAR to TAIL, whole, once its score is over ``over``
    S21: Annotated[float, number(0, 50)]  # likewise
    over: Annotated[float, number(0, 1)]  # score of S18 and of S21


@dataclass(frozen=True, slots=True, kw_only=True)
class TierShares:
    """Share of VaR that the hedge's gain covers, by tier (R8), fractions."""

    CALM: Annotated[float, percent(0, 100)]
    GUARDED: Annotated[float, percent(0, 100)]
    ELEVATED: Annotated[float, percent(0, 100)]
    SEVERE: Annotated[float, percent(0, 100)]
    CRISIS: Annotated[float, percent(0, 100)]

    def __post_init__(self) -> None:
        self.check("sizing.shares")

    def check(self, name: str) -> None:
        """Refuse shares that fall with the tier."""
        for lower, higher in zip(list(Tier)[:-1], list(Tier)[1:], strict=True):
            if self.of(higher) < self.of(lower):
                least = f"{self.of(lower):.2%} ({lower.name})"
                raise refuse(f"{name}.{higher.name}", f"{self.of(higher):.2%}", f"at least {least}")

    def of(self, tier: Tier) -> float:
        return (self.CALM, self.GUARDED, self.ELEVATED, self.SEVERE, self.CRISIS)[tier]


@dataclass(frozen=True, slots=True, kw_only=True)
class DeltaShares(TierShares):
    """Share of the group's delta that a short perpetual takes while NEAR is open (R12), fractions."""

    def __post_init__(self) -> None:
        self.check("near.delta_share")


@dataclass(frozen=True, slots=True, kw_only=True)
class FactorPolicy:
    """R8: what hedges a token that has no listed options of its own."""

    assets: Annotated[tuple[str, ...], words()]  # underlyings whose options may stand in
    window_days: Annotated[int, whole(30, 365)]  # of the regression
    min_r_squared: Annotated[float, number(0, 1)]


@dataclass(frozen=True, slots=True, kw_only=True)
class SizingPolicy:
    """R7, R8 and R10."""

    weights: Annotated[LayerWeights, section(LayerWeights)]
    weights_of: Annotated[str, choice("notional", "premium")]
    weight_bounds: Annotated[WeightBounds, section(WeightBounds)]
    weight_moves: Annotated[WeightMoves, section(WeightMoves)]
    shares: Annotated[TierShares, section(TierShares)]
    horizon_days: Annotated[int, whole(1, 60)]
    confidence: Annotated[float, percent(50, 99.9)]
    history_days: Annotated[int, whole(30, 3_650)]
    min_paths: Annotated[int, whole(2, 3_650)]
    factors: Annotated[FactorPolicy, section(FactorPolicy)]
    loss_measure: Annotated[str, choice("usd", "hold")]
    over_hedge_tolerance: Annotated[float, percent(0, 100)]
    grid_from: Annotated[float, percent(-99, 0)]
    grid_to: Annotated[float, percent(0, 1_000)]
    grid_step: Annotated[float, percent(0.5, 50)]
    top_up_under: Annotated[float, percent(0, 100)]  # of the wanted share
    stable_window: Annotated[float, duration(MINUTE_S, DAY_S)]  # seconds
    stable_stress: Annotated[float, number(0, 1)]  # score of S5 or S6

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
class CostGuardPolicy:
    """R11."""

    max_carry_share: Annotated[float, percent(0, 1_000)]  # of 30 days' fee income
    carry_floor: Annotated[float, percent(0, 100)]  # of exposure


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
    """R12: NEAR's own trigger, and what it hedges with."""

    instrument: Annotated[str, choice("put", "perpetual")]
    delta_share: Annotated[DeltaShares, section(DeltaShares)]
    trigger: Annotated[str, choice("crossover_or_backwardation", "tier")]
    backwardation_over: Annotated[float, percent(0, 100)]  # front over back vol, of S13


@dataclass(frozen=True, slots=True, kw_only=True)
class MidPolicy:
    """R13's own trigger: ``signals`` scales in with S2 and S12, ``tier`` opens in full."""

    scaling: Annotated[str, choice("signals", "tier")]
    scale_from: Annotated[float, number(0, 1)]
    scale_to: Annotated[float, number(0, 1)]

    def __post_init__(self) -> None:
        if not self.scale_from < self.scale_to:
            raise refuse("mid.scale_to", self.scale_to, f"over mid.scale_from ({self.scale_from:g})")


@dataclass(frozen=True, slots=True, kw_only=True)
class TailPolicy:
    """R14."""

    ladder: Annotated[int, whole(1, 12)]  # expiries that entries are spread over
    index_product: Annotated[
        str, only("off", reason="no venue of this release lists a vol or basket index product")
    ]


@dataclass(frozen=True, slots=True, kw_only=True)
class WingsPolicy:
    """R15."""

    fees_to_width: Annotated[tuple[float, float], interval(percent(0, 1_000))]
    roll: Annotated[float, duration(DAY_S, 365 * DAY_S)]  # seconds; fees are counted over it
    rise_span: Annotated[float, duration(HOUR_S, 30 * DAY_S)]  # seconds; S13 rises when over its value before
