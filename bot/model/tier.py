"""Tiers, families, readings and votes."""

import math
from dataclasses import dataclass
from enum import IntEnum, StrEnum


class Tier(IntEnum):
    """Protection tiers, ordered."""

    CALM = 0
    GUARDED = 1
    ELEVATED = 2
    SEVERE = 3
    CRISIS = 4


class Family(StrEnum):
    """Groups of signals whose consensus is needed (R1)."""

    TECHNICAL = "TECHNICAL"
    FUNDAMENTAL = "FUNDAMENTAL"
    ONCHAIN = "ONCHAIN"


class Quality(StrEnum):
    """How far a reading can be trusted. Only LIVE and HELD readings carry a score."""

    LIVE = "live"
    HELD = "held"  # source fails; score holds at its last value for `hold`
    WARMING = "warming"  # history too short; neither votes nor degrades
    MISSING = "missing"  # configured source fails past `hold`; degrades its family
    ABSENT = "absent"  # no source configured; neither votes nor degrades


_SCORED = (Quality.LIVE, Quality.HELD)


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """One signal of method.md, read for one subject at one time."""

    signal: str  # "S10"
    name: str  # "funding"
    subject: str  # underlying or pool
    family: Family
    value: float  # in `unit`; NaN unknown
    unit: str
    score: float  # [0, 1]; NaN when quality carries no score
    quality: Quality
    because: str  # one line with the numbers
    observed_at_s: float = math.nan
    source: str = ""
    warm_at_s: float = math.nan  # WARMING only: when history will suffice
    held_until_s: float = math.nan  # HELD only: when it is missing unless its source is back
    informs: bool = False  # shown and alerted on, but no part of a family: neither votes nor degrades it

    @property
    def counts(self) -> bool:
        return self.quality in _SCORED and math.isfinite(self.score)


@dataclass(frozen=True, slots=True, kw_only=True)
class FamilyVote:
    """The consensus of one family for one group (R1)."""

    family: Family
    score: float  # mean of its two highest scores from different sources; missing second = 0
    third_score: float
    voting: bool  # with hysteresis between vote and vote_off
    configured: int
    live: int
    because: str

    @property
    def degraded(self) -> bool:
        return self.configured > 0 and 2 * self.live < self.configured


@dataclass(frozen=True, slots=True, kw_only=True)
class RuleFinding:
    """What one rule said in this decision; kept also when it did not fire."""

    rule: str  # "R1"
    fired: bool
    because: str
    tier: Tier | None = None  # least market tier the rule asks for
    caps_tier: Tier | None = None  # most market tier the rule allows (R4, single-family R1)
    latent: bool = False  # R4: it would cap wherever TECHNICAL came to escalate alone
    missed: float = math.nan  # how far it is from firing, in ``unit``, >= 0; NaN: fired, or no number tells
    unit: str = ""
