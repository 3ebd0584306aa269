"""R24: everything that led to a decision, and what would change it, as plain facts.

``explain`` reads a journal's record and the policy that it was decided under, nothing else; the terminal and
the JSON document say what it found. Where the policy at hand is another one nothing is worked out anew.
"""

import math
from dataclasses import dataclass

from bot.engine.limits import (
    BUDGET_30D_CAP,
    BUDGET_365D_CAP,
    DEFINED_RISK_CAP,
    OVER_HEDGE_CAP,
    SESSION_CAP,
)
from bot.engine.nearest import Nearest, nearest
from bot.engine.policy import Policy
from bot.engine.standing import FAST_COUNT, Standing, standings
from bot.model.record import Decision, GroupDecision, StepRecord
from bot.model.tier import Family, Quality, Reading, RuleFinding, Tier

_CAPS = (  # of R9: how shortfalls name it, and its figures in ``Decision.limits``
    (SESSION_CAP, "session"),
    (DEFINED_RISK_CAP, "defined_risk"),
    (BUDGET_30D_CAP, "budget_30d"),
    (BUDGET_365D_CAP, "budget_365d"),
)
_COST_GUARD = "R11"
_RANKS = ("highest", "second", "third")


@dataclass(frozen=True, slots=True, kw_only=True)
class Contribution:
    """What one reading did for one group (R1)."""

    place: int  # in ``Decision.readings``
    reading: Reading
    role: str  # "highest", "second", "third", "fast", or why it has none
    adds: float  # to its family's score: half of its own where it is one of the two highest
    adds_fast: float  # to the fast mean
    without: Tier | None  # the tier that would be asked for were its score 0; None: it has no score


@dataclass(frozen=True, slots=True, kw_only=True)
class Limit:
    """One limit on new protection, and whether it cut this group's plan. USD, NaN where it has no sum."""

    rule: str
    name: str
    limit_usd: float
    used_usd: float
    bound: bool
    because: str

    @property
    def room_usd(self) -> float:
        return max(self.limit_usd - self.used_usd, 0.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupExplanation:
    """One hedge group of a decision."""

    decision: GroupDecision
    asked: Tier | None  # what the rules asked for; None where it cannot be worked out
    contributions: tuple[Contribution, ...]  # most stressed first within each family
    limits: tuple[Limit, ...]
    nearest: Nearest | None  # None where ``unknown`` says why
    unknown: str = ""

    @property
    def fired(self) -> tuple[RuleFinding, ...]:
        return tuple(item for item in self.decision.findings if item.fired)

    @property
    def not_fired(self) -> tuple[RuleFinding, ...]:
        return tuple(item for item in self.decision.findings if not item.fired)


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """One decision."""

    record: StepRecord  # the full record that is explained
    shown_for: StepRecord  # what was asked for: the same, or a heartbeat that repeats it
    policy: Policy
    groups: tuple[GroupExplanation, ...]
    doubtful: tuple[Reading, ...]  # held, missing or warming
    absent: tuple[str, ...]  # signals without any source, "S8 mev_flow"

    @property
    def decision(self) -> Decision:
        return self.record.decision

    @property
    def is_heartbeat(self) -> bool:
        return self.shown_for.sequence != self.record.sequence

    @property
    def is_same_policy(self) -> bool:
        return self.policy.hash == self.decision.policy_hash


def explain(policy: Policy, record: StepRecord, *, shown_for: StepRecord | None = None) -> Explanation:
    """Return what led to a decision. ``policy`` should be the one that it was made under."""
    decision = record.decision
    shown = {item.signal for item in decision.readings if item.quality is not Quality.ABSENT}
    doubt = (Quality.HELD, Quality.MISSING, Quality.WARMING)
    return Explanation(
        record=record,
        shown_for=shown_for or record,
        policy=policy,
        groups=tuple(_group(item, decision) for item in standings(policy, decision, record.state)),
        doubtful=tuple(item for item in decision.readings if item.quality in doubt),
        absent=tuple(
            dict.fromkeys(
                f"{item.signal} {item.name}" for item in decision.readings if item.signal not in shown
            )
        ),
    )


def _group(standing: Standing, decision: Decision) -> GroupExplanation:
    unknown = _why_unknown(standing, decision)
    return GroupExplanation(
        decision=standing.decision,
        asked=None if unknown else standing.needed(),
        contributions=() if unknown else contributions(standing),
        limits=_limits(standing.decision, decision),
        nearest=None if unknown else nearest(standing),
        unknown=unknown,
    )


def _why_unknown(standing: Standing, decision: Decision) -> str:
    """Return why nothing can be worked out from the record; empty when it can."""
    if standing.policy.hash != decision.policy_hash:
        return (
            f"decided under policy {decision.policy_hash[:12]}, at hand is {standing.policy.name} "
            f"{standing.policy.hash[:12]}: name the policy file of that time (--policy)"
        )
    if not standing.decision.reads and not standing.decision.votes:
        return "the record is a heartbeat, which keeps no readings"
    return ""


def contributions(standing: Standing) -> tuple[Contribution, ...]:
    """Return what every reading that has a source did for a group, by family, the most stressed first."""
    ranks: dict[int, int] = {}
    counted: dict[int, str] = {}  # readings of a source whose highest reading counts in their place
    for family in Family:
        for rank, source in enumerate(standing.sources(family)):
            first, *others = (standing.place(item) for item in source.readings)
            ranks[first] = rank
            top = source.readings[0]
            name = " ".join(part for part in (top.signal, top.subject, top.source.partition(":")[0]) if part)
            counted.update({place: f"not counted beside the higher {name}" for place in others})
    fast = standing.fast_slots({}) if standing.policy.tiers.fast_vote is not None else ()
    tops = [slot.scores[0][1] for slot in fast if slot.scores]
    made = [
        Contribution(
            place=place,
            reading=item,
            role=_role(item, ranks.get(place), counted.get(place, "")),
            adds=item.score / 2.0 if ranks.get(place, 2) < 2 else 0.0,
            adds_fast=tops.count(place) * item.score / FAST_COUNT if place in tops else 0.0,
            without=standing.needed({place: 0.0}) if item.counts else None,
        )
        for place, item in zip(standing.places, standing.readings, strict=True)
        if item.quality is not Quality.ABSENT
    ]
    order = list(Family)
    return tuple(
        sorted(
            made,
            key=lambda item: (order.index(item.reading.family), -_known(item.reading.score), item.place),
        )
    )


def _role(reading: Reading, rank: int | None, counted: str) -> str:
    if reading.informs:
        return "informs only"
    if not reading.counts:
        return reading.quality.value if reading.quality is not Quality.LIVE else "unknown"
    if rank is None:
        return counted or "speaks through R2 alone"
    return _RANKS[rank] if rank < len(_RANKS) else "below the third"


def _known(score: float) -> float:
    return score if math.isfinite(score) else -1.0


def _limits(group: GroupDecision, decision: Decision) -> tuple[Limit, ...]:
    """Return R9's caps, R10 and R11, each with what it cut of this group's plan."""
    figures = decision.limits
    caps = [
        Limit(
            rule="R9",
            name=name,
            limit_usd=figures[f"{key}_cap_usd"],
            used_usd=figures[f"{key}_used_usd"],
            bound=_binds(group, name),
            because=_cut(group, name),
        )
        for name, key in _CAPS
        if f"{key}_cap_usd" in figures
    ]
    return (
        *caps,
        *_spoken(group, "R10", OVER_HEDGE_CAP, _binds(group, OVER_HEDGE_CAP)),
        *_spoken(group, _COST_GUARD, "cost guard (R11)", _fires(group, _COST_GUARD)),
    )


def _spoken(group: GroupDecision, rule: str, name: str, bound: bool) -> tuple[Limit, ...]:
    """Return a limit that is told by its rule's finding; none where the rule was not asked."""
    said = [item.because for item in group.findings if item.rule == rule]
    if not said:
        return ()
    return (
        Limit(
            rule=rule,
            name=name,
            limit_usd=math.nan,
            used_usd=math.nan,
            bound=bound or _fires(group, rule),
            because="; ".join(said),
        ),
    )


def _fires(group: GroupDecision, rule: str) -> bool:
    return any(item.rule == rule and item.fired for item in group.findings)


def _binds(group: GroupDecision, name: str) -> bool:
    return any(item.cap.startswith(name) for item in group.shortfalls)


def _cut(group: GroupDecision, name: str) -> str:
    """Say what a cap cut off, by layer; empty where it cut nothing."""
    cut = [item for item in group.shortfalls if item.cap.startswith(name)]
    return ", ".join(f"{item.layer} {item.missing:.0%} of its target" for item in cut)
