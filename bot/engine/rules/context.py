"""What the tier rules look at, for one hedge group at one frame."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

from bot.engine.policy import Policy
from bot.model.exposure import Exposure
from bot.model.market import Frame, Metric, SeriesKey
from bot.model.record import GroupState
from bot.model.tier import Family, FamilyVote, Quality, Reading, RuleFinding

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
    _by_signal: dict[str, list[Reading]] = field(default_factory=dict, init=False, repr=False)

    def of_signal(self, signal: str) -> Sequence[Reading]:
        """Return the readings of a signal, counting or not, in their order."""
        if not self._by_signal:
            for item in self.readings:
                self._by_signal.setdefault(item.signal, []).append(item)
        return self._by_signal.get(signal, ())

    def reading(self, signal: str) -> Reading | None:
        """Return the group's most stressed counting reading of a signal; None when none counts.

        Another market's reading has a vote (R1) but does not set this group's layers.
        """
        counting = [
            item
            for item in self.of_signal(signal)
            if item.counts and (item.family is not Family.TECHNICAL or item.subject in ("", self.underlying))
        ]
        return max(counting, key=lambda item: (item.score, item.subject, item.source), default=None)

    def of(self, signal: str, subject: str) -> Reading | None:
        """Return the most stressed counting reading of a signal for one subject; None when none counts."""
        counting = (item for item in self.of_signal(signal) if item.subject == subject and item.counts)
        return max(counting, key=lambda item: (item.score, item.source), default=None)

    def reads(self, reading: Reading, metric: Metric) -> bool:
        """Return whether a reading is of this metric, for a signal that is read for several (S14, S15)."""
        return SeriesKey(metric, reading.subject, reading.source) in self.frame.columns.series

    def configured(self, signal: str) -> bool:
        """Return whether the signal has any source for this group (else it is absent)."""
        return any(item.quality is not Quality.ABSENT for item in self.of_signal(signal))

    def score(self, signal: str) -> float:
        """Return the signal's score, 0 when no reading of it counts."""
        found = self.reading(signal)
        return round(found.score, SCORE_DIGITS) if found else 0.0


TierRule: TypeAlias = Callable[[Policy, TierContext], tuple[RuleFinding, ...]]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Reach:
    """What one group depends on, worked out once for all readings (R1)."""

    policy: Policy
    stable: str
    places: frozenset[str]  # pool (or vault, bridge, market), protocol and id of each exposure
    owners: frozenset[str]  # these, the underlying and the stable: what ``[dependencies]`` lists parts of
    itself: frozenset[str]  # these, the group and its chains
    parts: frozenset[str]  # labels that are listed under an owner
    stables: frozenset[str]

    def includes(self, reading: Reading) -> bool:
        """Return whether a reading counts for the group.

        For every group: what names no subject (an absent reading too), TECHNICAL signals of any market, and
        macro, beta and flows. Else the subject must be something the group depends on:

        - itself: the group, its underlying, its stable, the chain (S8), or a place of an exposure, which is
          its pool, vault, bridge or market, its protocol or its id; "place/token" is the same place;
        - by ``[dependencies]`` of the policy: a label (a bridge of S7, a contract of S9, a market of S17, a
          token of S18) that is listed as part of one of these;
        - a pool of stables alone ("venue:A/B") that has the group's stable;
        - for S17 also the market of the group's stable, wherever it is lent; for S18 the token of a protocol.
        """
        subject = reading.subject
        if not subject or subject in self.itself:
            return True
        if reading.family is Family.TECHNICAL or reading.signal in MARKET_WIDE:
            return True
        place, _, token = subject.rpartition("/")
        if place in self.places or (reading.signal == LENDING_RATES and token == self.stable):
            return True
        if self.parts and not self.parts.isdisjoint(_names_of(label_of(reading))):
            return True
        return self._is_own_token(reading) or self._is_stable_pool(subject)

    def _is_own_token(self, reading: Reading) -> bool:
        if reading.signal != CASH_FLOW:
            return False
        return not self.owners.isdisjoint(self.policy.signals.fundamental.protocols_of(reading.subject))

    def _is_stable_pool(self, subject: str) -> bool:
        venue, _, pair = subject.rpartition(":")
        if not venue or "/" not in pair:
            return False
        assets = pair.split("/")
        return self.stable in assets and self.stables.issuperset(assets)


def reach_of(policy: Policy, group: str, exposures: Sequence[Exposure]) -> Reach:
    """Return what a group depends on; ``exposures`` are its own."""
    underlying, _, stable = group.partition("/")
    places = frozenset(name for item in exposures for name in (item.pool, item.protocol, item.id))
    owners = places | {underlying, stable}
    return Reach(
        policy=policy,
        stable=stable,
        places=places,
        owners=owners,
        itself=owners | {group} | {str(item.chain_id) for item in exposures},
        parts=frozenset(label for name, labels in policy.dependencies if name in owners for label in labels),
        stables=frozenset(policy.signals.stables) | {stable},
    )


def places_read(
    policy: Policy, group: str, exposures: Sequence[Exposure], readings: Sequence[Reading]
) -> tuple[int, ...]:
    """Return where the readings that count for a group stand among all (R1)."""
    reach = reach_of(policy, group, exposures)
    return tuple([place for place, item in enumerate(readings) if reach.includes(item)])


def readings_for(
    policy: Policy, frame: Frame, group: str, readings: Sequence[Reading]
) -> tuple[Reading, ...]:
    exposures = tuple(item for item in frame.exposures if item.group == group)
    return tuple([readings[place] for place in places_read(policy, group, exposures, readings)])


def label_of(reading: Reading) -> str:
    """Return what a reading is of: its subject, and for S7, which is read per token, "bridge/token"."""
    token = reading.source.partition(":")[2] if reading.signal == COVERAGE else ""
    return f"{reading.subject}/{token}" if token else reading.subject


def owners_of(policy: Policy, label: str) -> tuple[str, ...]:
    """Return the names that the policy lists a label under; "label/token" is looked up as label too."""
    names = _names_of(label)
    return tuple(name for name, labels in policy.dependencies if not names.isdisjoint(labels))


def _names_of(label: str) -> frozenset[str]:
    """Return under which names a label may be listed: as itself, and "label/token" as label."""
    return frozenset((label, label.rpartition("/")[0] or label))
