"""R24: where a group stands after a decision, from its record alone, and what other scores would ask for.

The same functions that vote are asked again (R1, R4), so that an answer cannot differ from the engine's.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TypeAlias

import numpy as np

from bot.engine.policy import Policy
from bot.engine.rules.consensus import consensus, family_votes, lone_family, may_vote, stress_of
from bot.engine.rules.context import SCORE_DIGITS, TierContext
from bot.engine.rules.false_breakdown import escalates_otherwise
from bot.engine.rules.fast_path import fast_signals
from bot.model.market import Column, Columns, Frame, Metric, SeriesKey
from bot.model.record import Decision, EngineState, GroupDecision, GroupState
from bot.model.tier import Family, FamilyVote, Quality, Reading, RuleFinding, Tier
from bot.signals.anchors import Anchors

FORCING = ("R2", "R6")  # rules that ask for a market tier without votes
_SHARE_VALUE = (Metric.VIRTUAL_PRICE, Metric.EXCHANGE_RATE)
_BOTH_SIGNS = ("S10", "S22")  # scored by their distance from 0
GRAIN = 10.0**-SCORE_DIGITS  # the least that a comparison of scores can tell apart (R25)
FAST_COUNT = 5.0  # scores of the fast mean
_NOTHING = Column(times_s=np.empty(0), values=np.empty(0))

Scores: TypeAlias = Mapping[int, float]  # place of a reading in ``Decision.readings`` -> another score


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """One stress that enters its family once (R1): a signal, or what is modelled from one level."""

    name: str
    readings: tuple[Reading, ...]  # that count, the most stressed first

    @property
    def score(self) -> float:
        return round(self.readings[0].score, SCORE_DIGITS)


@dataclass(frozen=True, slots=True, kw_only=True)
class Shift:
    """One reading whose score would have to move, with its value where that follows from the score."""

    place: int  # of the reading in ``Decision.readings``
    reading: Reading
    score: float  # to
    value: float  # to, in the reading's unit; NaN where the score does not follow from one value

    @property
    def size(self) -> float:
        return abs(self.score - self.reading.score)


@dataclass(frozen=True, slots=True, kw_only=True)
class Slot:
    """One of the five scores of the fast mean."""

    name: str
    scores: tuple[tuple[float, int], ...]  # (score, place) of each reading that counts, highest first
    is_missing: bool  # its source fails: it counts 0 on the way up and 1 on the way down


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Standing:
    """One group after a decision: what counts for it and what it remembers."""

    policy: Policy
    decision: GroupDecision
    state: GroupState
    readings: tuple[Reading, ...]  # that count for the group (R1)
    places: tuple[int, ...]  # of each in ``Decision.readings``
    now_s: float
    holds: tuple[str, ...]
    fast: tuple[Reading, ...]  # of its fast mean

    @property
    def tier(self) -> Tier:
        return self.decision.tier

    @property
    def underlying(self) -> str:
        return self.decision.group.partition("/")[0]

    def context(self, scores: Scores | None = None) -> TierContext:
        """Return what R1 and R4 look at, with some readings at other scores (and values that follow)."""
        scores = scores or {}
        readings = tuple(
            with_score(self.policy, item, scores[place]) if place in scores else item
            for place, item in zip(self.places, self.readings, strict=True)
        )
        priced = [item for item in self.fast if item.signal == "S14"]
        columns = {SeriesKey(Metric.PRICE_USD, item.subject, item.source): _NOTHING for item in priced}
        return TierContext(
            group=self.decision.group,
            underlying=self.underlying,
            stable=self.decision.group.partition("/")[2],
            state=self.state,
            frame=Frame(now_s=self.now_s, blocks={}, columns=Columns(series=columns), exposures=()),
            readings=readings,
            votes=family_votes(self.policy, self.state, readings),
        )

    def needed(self, scores: Scores | None = None) -> Tier:
        """Return the tier that would be asked for at these scores, hard triggers as they were."""
        context = self.context(scores)
        asked = consensus(self.policy, context)[0].tier or Tier.CALM
        if self.is_break_unconfirmed and not escalates_otherwise(self.policy, context):
            asked = min(asked, self.tier)
        return max(asked, self.forced)

    @property
    def is_break_unconfirmed(self) -> bool:
        """Return whether R4 caps the tier wherever TECHNICAL is alone."""
        return any(item.latent for item in self.decision.findings if item.rule == "R4")

    @property
    def forced(self) -> Tier:
        """Return the tier that hard triggers ask for."""
        return max((item.tier for item in self.forcing if item.tier is not None), default=Tier.CALM)

    @property
    def forcing(self) -> tuple[RuleFinding, ...]:
        found = (item for item in self.decision.findings if item.rule in FORCING and item.fired)
        return tuple(item for item in found if item.tier is not None)

    def lone(self) -> FamilyVote | None:
        """Return the only family that can vote, if there is one (R1)."""
        return lone_family(self.context())

    def sources(self, family: Family) -> tuple[Source, ...]:
        """Return what a family's score can be made of, highest first."""
        found: dict[str, list[Reading]] = {}
        for item in self.readings:
            if item.family is family and item.counts and may_vote(item):
                found.setdefault(stress_of(self.policy, item), []).append(item)
        made = [
            Source(name=name, readings=tuple(sorted(items, key=lambda item: -item.score)))
            for name, items in found.items()
        ]
        return tuple(sorted(made, key=lambda item: (-item.score, item.name)))

    def fast_slots(self, scores: Scores) -> tuple[Slot, ...]:
        """Return the five fast scores, some readings at other scores."""
        found = []
        for name, readings in fast_signals(self.context()):
            known = [(self._score(item, scores), self.place(item)) for item in readings if item.counts]
            missing = not known and any(item.quality is Quality.MISSING for item in readings)
            known.sort(key=lambda pair: (-pair[0], pair[1]))
            found.append(Slot(name=name, scores=tuple(known), is_missing=missing))
        return tuple(found)

    def _score(self, reading: Reading, scores: Scores) -> float:
        return scores.get(self.place(reading), round(reading.score, SCORE_DIGITS))

    def place(self, reading: Reading) -> int:
        """Return where a reading of the group stands in ``Decision.readings``."""
        return next(place for place, item in zip(self.places, self.readings, strict=True) if item is reading)

    def shifts(self, scores: Scores) -> tuple[Shift, ...]:
        """Return the moves to these scores, the largest first."""
        found = []
        for place, item in zip(self.places, self.readings, strict=True):
            if place in scores and scores[place] != round(item.score, SCORE_DIGITS):
                value = value_at(self.policy, item, scores[place])
                found.append(Shift(place=place, reading=item, score=scores[place], value=value))
        return tuple(sorted(found, key=lambda item: (-round(item.size, SCORE_DIGITS), item.place)))


def standings(policy: Policy, decision: Decision, state: EngineState) -> tuple[Standing, ...]:
    """Return where every group of a full record stands. A group of a heartbeat has no readings."""
    return tuple(
        Standing(
            policy=policy,
            decision=group,
            state=state.groups.get(group.group, GroupState(tier=group.tier)),
            readings=tuple(decision.readings[place] for place in group.reads),
            places=group.reads,
            now_s=decision.now_s,
            holds=decision.holds,
            fast=tuple(decision.readings[place] for place in group.fast_reads),
        )
        for group in decision.groups
    )


def with_score(policy: Policy, reading: Reading, score: float) -> Reading:
    """Return a reading at another score, its value moved along where it follows from the score."""
    value = value_at(policy, reading, score)
    return replace(reading, score=score, value=value if math.isfinite(value) else reading.value)


def value_at(policy: Policy, reading: Reading, score: float) -> float:
    """Return the nearest value that has this score, in the reading's unit; NaN where no anchors give it."""
    anchors = anchors_of(policy, reading)
    if anchors is None:
        return math.nan
    value = anchors.calm + score * (anchors.stress - anchors.calm)
    return math.copysign(value, reading.value) if reading.signal in _BOTH_SIGNS else value


def anchors_of(policy: Policy, reading: Reading) -> Anchors | None:
    """Return the anchors that made a reading's score; None for signals that are read from states."""
    value = abs(reading.value) if reading.signal in _BOTH_SIGNS else reading.value
    fitting = [
        anchors
        for anchors in _candidates(policy, reading)
        if anchors.score(value) == round(reading.score, SCORE_DIGITS)
    ]
    return fitting[0] if len(fitting) == 1 else None


def _candidates(policy: Policy, reading: Reading) -> tuple[Anchors, ...]:
    """Return a signal's anchors. What has several (S14: price and vol index) is told apart by its score."""
    chain, market, slow = policy.signals.onchain, policy.signals.technical, policy.signals.fundamental
    if reading.signal == "S1":
        is_share = reading.source.endswith(tuple(f":{metric}" for metric in _SHARE_VALUE))
        return (chain.share_value if is_share else chain.tvl_drawdown,)
    return {
        "S2": tuple(dict.fromkeys((chain.quick_ratio, chain.full_range_quick_ratio))),
        "S3": (chain.pool_imbalance, chain.share_imbalance),
        "S4": (chain.depth,),
        "S5": (chain.peg,),
        "S6": (chain.reer,),
        "S7": (chain.bridge_coverage,),
        "S8": (chain.mev_flow,),
        "S10": (market.funding,),
        "S11": (market.realised_vol,),
        "S12": (market.iv_percentile,),
        "S13": (market.term_structure,),
        "S14": (market.rsi.price, market.rsi.vol),
        "S17": (slow.rate_differential,),
        "S18": (slow.price_to_cash_flow,),
        "S20": (slow.beta,),
        "S21": (slow.carry,),
        "S22": (market.parity_gap,),
        "S23": (slow.risk_flow,),
        "S24": (market.drawdown_speed,),
        "S25": (market.vol_jump,),
        "S26": (market.semivariance,),
    }.get(reading.signal, ())
