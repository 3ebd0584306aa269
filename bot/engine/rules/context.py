"""What the tier rules look at, for one hedge group at one frame."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

from bot.engine.policy import Policy
from bot.model.exposure import Exposure
from bot.model.market import Frame
from bot.model.record import GroupState
from bot.model.tier import Family, FamilyVote, Reading, RuleFinding

SCORE_DIGITS = 9  # R25: scores are rounded before any comparison


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

    def configured(self, signal: str) -> bool:
        """Return whether the signal has any source for this group (else it is absent)."""
        return any(item.signal == signal and item.quality != "absent" for item in self.readings)

    def score(self, signal: str) -> float:
        """Return the signal's score, 0 when no reading of it counts."""
        found = self.reading(signal)
        return round(found.score, SCORE_DIGITS) if found else 0.0


TierRule: TypeAlias = Callable[[Policy, TierContext], tuple[RuleFinding, ...]]


def depends_on(group: str, exposures: tuple[Exposure, ...], reading: Reading) -> bool:
    """Return whether a reading counts for a group (R1).

    A market signal (TECHNICAL) counts for every group, whatever its market. A pool's counts where an exposure
    sits in that pool, and a pool of stables (named "venue:A/B") where one of its two assets is the group's
    stable. An absent reading names no subject and is listed for every group.
    """
    underlying, _, stable = group.partition("/")
    if reading.family is Family.TECHNICAL or reading.subject in ("", underlying, stable):
        return True
    if any(item.pool == reading.subject for item in exposures):
        return True
    assets = reading.subject.rpartition(":")[2].split("/")
    return len(assets) == 2 and stable in assets and underlying not in assets


def readings_for(frame: Frame, group: str, readings: tuple[Reading, ...]) -> tuple[Reading, ...]:
    exposures = tuple(item for item in frame.exposures if item.group == group)
    return tuple(item for item in readings if depends_on(group, exposures, item))
