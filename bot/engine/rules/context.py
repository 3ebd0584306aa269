"""What the tier rules look at, for one hedge group at one frame."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from bot.engine.policy import Policy
from bot.model.exposure import Exposure
from bot.model.market import Frame, Metric, SeriesKey
from bot.model.record import GroupState
from bot.model.tier import Family, FamilyVote, Reading, RuleFinding

SCORE_DIGITS = 9  # R25: scores are rounded before any comparison
MARKET_WIDE = (
    "S19",
    "S20",
    "S23",
)  # FUNDAMENTAL signals of the whole market: their subject is a print or index
COVERAGE, LENDING_RATES, CASH_FLOW = "S7", "S17", "S18"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class TierContext:
    """One group, what it remembers, and the readings that count for it (R1)."""

    group: str
    underlying: str
    stable: str
    state: GroupState
    frame: Frame
    readings: tuple[Reading, ...]
    votes: tuple[FamilyVote, ...]

    def reading(self, signal: str) -> Reading | None:
        """Return the group's most stressed counting reading of a signal; None when none counts.

        Another market's reading has a vote (R1) but does not set this group's layers.
        """
        counting = [
            item
            for item in self.readings
            if item.signal == signal
            and item.counts
            and (item.family is not Family.TECHNICAL or item.subject in ("", self.underlying))
        ]
        return max(counting, key=lambda item: (item.score, item.subject, item.source), default=None)

    def of(self, signal: str, subject: str) -> Reading | None:
        """Return the most stressed counting reading of a signal for one subject; None when none counts."""
        counting = (
            item
            for item in self.readings
            if item.signal == signal and item.subject == subject and item.counts
        )
        return max(counting, key=lambda item: (item.score, item.source), default=None)

    def reads(self, reading: Reading, metric: Metric) -> bool:
        """Return whether a reading is of this metric, for a signal that is read for several (S14, S15)."""
        return SeriesKey(metric, reading.subject, reading.source) in self.frame.columns.series

    def configured(self, signal: str) -> bool:
        """Return whether the signal has any source for this group (else it is absent)."""
        return any(item.signal == signal and item.quality != "absent" for item in self.readings)

    def score(self, signal: str) -> float:
        """Return the signal's score, 0 when no reading of it counts."""
        found = self.reading(signal)
        return round(found.score, SCORE_DIGITS) if found else 0.0


TierRule: TypeAlias = Callable[[Policy, TierContext], tuple[RuleFinding, ...]]


def depends_on(policy: Policy, group: str, exposures: Sequence[Exposure], reading: Reading) -> bool:
    """Return whether a reading counts for a group (R1).

    For every group: what names no subject (an absent reading too), TECHNICAL signals of any market, and
    macro, beta and flows. Else the subject must be something the group depends on:

    - itself: the group, its underlying, its stable, the chain (S8), or a place of an exposure, which is its
      pool, vault, bridge or market, its protocol or its id; "place/token" is the same place;
    - by ``[dependencies]`` of the policy: a label (a bridge of S7, a contract of S9, a market of S17, a token
      of S18) that is listed as part of one of these;
    - a pool of stables alone ("venue:A/B") that has the group's stable;
    - for S17 also the market of the group's stable, wherever it is lent; for S18 the token of a protocol.
    """
    if reading.family is Family.TECHNICAL or reading.signal in MARKET_WIDE or not reading.subject:
        return True
    underlying, _, stable = group.partition("/")
    places = places_of(exposures)
    if reading.subject in places | {group, underlying, stable} | {str(item.chain_id) for item in exposures}:
        return True
    place, _, token = reading.subject.rpartition("/")
    if place in places or (reading.signal == LENDING_RATES and token == stable):
        return True
    parts_of = set(owners_of(policy, label_of(reading)))
    if reading.signal == CASH_FLOW:
        parts_of.update(policy.signals.fundamental.protocols_of(reading.subject))
    return bool(parts_of & (places | {underlying, stable})) or _is_stable_pool(
        policy, reading.subject, stable
    )


def places_of(exposures: Sequence[Exposure]) -> set[str]:
    """Return where exposures lie: pool (or vault, bridge, market), protocol and id of each."""
    return {name for item in exposures for name in (item.pool, item.protocol, item.id)}


def label_of(reading: Reading) -> str:
    """Return what a reading is of: its subject, and for S7, which is read per token, "bridge/token"."""
    token = reading.source.partition(":")[2] if reading.signal == COVERAGE else ""
    return f"{reading.subject}/{token}" if token else reading.subject


def owners_of(policy: Policy, subject: str) -> tuple[str, ...]:
    """Return the names that the policy lists a label under; "label/token" is looked up as label too."""
    place = subject.rpartition("/")[0]
    return tuple(
        name for name, labels in policy.dependencies if subject in labels or (place and place in labels)
    )


def _is_stable_pool(policy: Policy, subject: str, stable: str) -> bool:
    venue, colon, pair = subject.rpartition(":")
    assets = pair.split("/")
    known = {*policy.signals.stables, stable}
    return bool(venue and colon) and len(assets) > 1 and stable in assets and known.issuperset(assets)


def readings_for(
    policy: Policy, frame: Frame, group: str, readings: Sequence[Reading]
) -> tuple[Reading, ...]:
    exposures = tuple(item for item in frame.exposures if item.group == group)
    return tuple(item for item in readings if depends_on(policy, group, exposures, item))
