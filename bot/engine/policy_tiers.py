"""The numbers of the tier rules R1-R6: sections of ``Policy``, each key with its bounds."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, TypeAlias

from bot.engine.policy_fields import (
    choice,
    duration,
    flag,
    interval,
    number,
    off_or,
    percent,
    refuse,
    whole,
    words,
)
from bot.model.market import Metric
from bot.model.units import DAY_S, HOUR_S, MINUTE_S

Labels: TypeAlias = tuple[tuple[str, tuple[str, ...]], ...]  # (name, labels that are part of it), sorted
CHANGES = (Metric.UPGRADED, Metric.OWNERSHIP_CHANGED, Metric.ROLE_CHANGED)
_ANNOUNCED = re.compile(rf"(\S+) ({'|'.join(CHANGES)}) until (\d{{4}}-\d{{2}}-\d{{2}})")


@dataclass(frozen=True, slots=True, kw_only=True)
class Announced:
    """A change of a contract's powers that was announced, so that R2 does not take it for an attack."""

    label: str  # of the watched contract
    change: Metric  # one of CHANGES
    until_s: float  # the end of its last day, UTC

    def __str__(self) -> str:
        # The day that ends at until_s; ``hash`` of the policy and ``alvh policy show`` use it too.
        return f"{self.label} {self.change} until {datetime.fromtimestamp(self.until_s - 1.0, UTC):%Y-%m-%d}"


@dataclass(frozen=True, slots=True)
class AnnouncedReader:
    """Lines such as "v3-factory upgraded until 2026-12-31"."""

    allowed: str = f'a list of "<label> <{"|".join(CHANGES)}> until <YYYY-MM-DD>"'
    bounds: str = "any lines"

    def __call__(self, value: object, name: str) -> tuple[Announced, ...]:
        if not isinstance(value, list | tuple):
            raise refuse(name, value, self.allowed)
        return tuple(self._one(item, name) for item in value)

    def _one(self, item: object, name: str) -> Announced:
        match = _ANNOUNCED.fullmatch(item.strip()) if isinstance(item, str) else None
        if match is None:
            raise refuse(name, item, self.allowed)
        try:
            day = datetime.strptime(match[3], "%Y-%m-%d").replace(tzinfo=UTC)
        except ValueError:
            raise refuse(name, item, self.allowed) from None
        return Announced(label=match[1], change=Metric(match[2]), until_s=day.timestamp() + DAY_S)


@dataclass(frozen=True, slots=True)
class LabelsReader:
    """A table of lists: a name, and the labels that are part of it."""

    allowed: str = 'a table of lists such as uniswap-v3 = ["v3-factory"]'
    bounds: str = "any names = any labels"

    def __call__(self, value: object, name: str) -> Labels:
        if not isinstance(value, Mapping):
            raise refuse(name, value, self.allowed)
        return tuple(sorted((key, words()(part, f"{name}.{key}")) for key, part in value.items()))


@dataclass(frozen=True, slots=True, kw_only=True)
class TierPolicy:
    """R1 and R3: how signals become tiers."""

    vote: Annotated[float, number(0.05, 0.95)]
    vote_off: Annotated[float, number(0.0, 0.95)]
    severe_score: Annotated[float, number(0.05, 1.0)]
    fast_vote: Annotated[float | None, off_or(number(0.05, 0.99))]  # None: no fast path
    breakdown_sigmas: Annotated[float, number(0.0, 10.0)]  # of S24, a fall; R4
    confirm: Annotated[int, whole(1, 20)]
    confirm_s: Annotated[float, duration(0, DAY_S)]
    confirm_blocks: Annotated[int, whole(0, 1_000)]
    cooldown: Annotated[float, duration(0, 30 * DAY_S)]  # seconds, from ELEVATED and above
    cooldown_guarded: Annotated[float, duration(0, 30 * DAY_S)]  # seconds, from GUARDED
    step_down: Annotated[str, choice("one", "straight")]
    session: Annotated[float, duration(HOUR_S, 7 * DAY_S)]  # seconds

    def __post_init__(self) -> None:
        if not self.vote_off < self.vote:
            raise refuse("tiers.vote_off", self.vote_off, f"under tiers.vote ({self.vote:g})")
        if not self.vote <= self.severe_score:
            raise refuse("tiers.severe_score", self.severe_score, f"at least tiers.vote ({self.vote:g})")
        if self.cooldown_guarded > self.cooldown:
            found = f"{self.cooldown_guarded / HOUR_S:g} h"
            raise refuse(
                "tiers.cooldown_guarded", found, f"at most tiers.cooldown ({self.cooldown / HOUR_S:g} h)"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class HardTriggerPolicy:
    """R2: what needs no vote. Market kind: a fall that two independent price sources confirm."""

    window: Annotated[float, duration(5 * MINUTE_S, DAY_S)]  # seconds
    sigmas: Annotated[float, number(1, 50)]
    elevated_fall: Annotated[float, percent(1, 90)]
    severe_fall: Annotated[float, percent(1, 95)]
    coverage_severe: Annotated[float, percent(1, 100)]  # of S7, fraction
    coverage_crisis: Annotated[float, percent(1, 100)]
    peg_severe: Annotated[float, percent(0.1, 90)]  # of S5, either way
    hf_min: Annotated[float, number(1.0, 10.0)]  # health factor of a lending position
    announced: Annotated[tuple[Announced, ...], AnnouncedReader()]

    def __post_init__(self) -> None:
        if not self.elevated_fall < self.severe_fall:
            raise refuse("hard_triggers.severe_fall", self.severe_fall, "over hard_triggers.elevated_fall")
        if not self.coverage_crisis < self.coverage_severe:
            raise refuse(
                "hard_triggers.coverage_crisis", self.coverage_crisis, "under hard_triggers.coverage_severe"
            )

    def is_announced(self, label: str, change: Metric, *, now_s: float) -> bool:
        """Return whether a change of a contract's powers stands on the list, its last day not over."""
        return any(
            item.label == label and item.change is change and now_s < item.until_s for item in self.announced
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class HoldPolicy:
    """R2 HOLD: when prices may not be traded on."""

    price_max_age: Annotated[float, duration(1, 2 * DAY_S)]  # seconds
    price_disagreement: Annotated[float, percent(0.1, 50)]
    clock_skew: Annotated[float, duration(1, HOUR_S)]  # seconds


@dataclass(frozen=True, slots=True, kw_only=True)
class OuterWingPolicy:
    """R5."""

    iv_rank: Annotated[float, number(0.0, 1.0)]  # of S12
    beyond_break_even: Annotated[tuple[float, float], interval(percent(0, 80))]  # of the break-even
    backwardated_otm: Annotated[tuple[float, float], interval(percent(0, 80))]  # of spot
    near_cap: Annotated[float, number(0, 100)]  # points of weight
    short_legs: Annotated[bool, flag()]


@dataclass(frozen=True, slots=True, kw_only=True)
class LiquidityRulePolicy:
    """R6."""

    fall: Annotated[float, percent(-90, -0.1)]  # of S1, negative
