"""Every signal: what it says, how sure that is, what it means for the tier, and how it went."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from bot.dashboard.past import ReadingKey, ReadingPoint, key_of
from bot.dashboard.shown import signal_name
from bot.dashboard.snapshot import Snapshot
from bot.model.tier import Family, FamilyVote, Quality, Reading, RuleFinding

SPARK_WIDTH, SPARK_HEIGHT = 120.0, 28.0
_SPARK_POINTS = 120
_SPARK_MARGIN = 2.0
_QUALITY_WORDS = {
    Quality.LIVE: "live",
    Quality.HELD: "held: its source fails",
    Quality.WARMING: "warming",
    Quality.MISSING: "missing",
    Quality.ABSENT: "no source",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class SignalRow:
    """One reading with the course of its score."""

    reading: Reading
    key: ReadingKey
    quality_words: str
    spark: Markup  # points of an SVG polyline; "" with less than two


@dataclass(frozen=True, slots=True, kw_only=True)
class FamilyView:
    """The signals of one family, and how it votes in each group."""

    family: Family
    votes: tuple[tuple[str, FamilyVote], ...]  # by group
    rows: tuple[SignalRow, ...]


def families(seen: Snapshot) -> list[FamilyView]:
    """Return all readings that have a source, the highest score of each family first."""
    if seen.full is None:
        return []
    decision = seen.full.decision
    found = []
    for family in Family:
        mine = [
            item for item in decision.readings if item.family is family and item.quality is not Quality.ABSENT
        ]
        votes = [
            (item.group, vote) for item in decision.groups for vote in item.votes if vote.family is family
        ]
        rows = tuple(_row(item, seen) for item in sorted(mine, key=_rank))
        found.append(FamilyView(family=family, votes=tuple(votes), rows=rows))
    return found


def absent(seen: Snapshot) -> list[str]:
    """Return the signals that no source is configured for."""
    readings = seen.full.decision.readings if seen.full is not None else ()
    there = {item.signal for item in readings if item.quality is not Quality.ABSENT}
    names = {f"{item.signal} {signal_name(item.name)}" for item in readings if item.signal not in there}
    return sorted(names, key=lambda name: (len(name.split()[0]), name))


def rules(seen: Snapshot) -> list[tuple[str, RuleFinding]]:
    """Return what each rule said of each group; those that fired first."""
    groups = seen.full.decision.groups if seen.full is not None else ()
    found = [(group.group, item) for group in groups for item in group.findings]
    return sorted(found, key=lambda item: (not item[1].fired, item[0], int(item[1].rule[1:] or 0)))


def series(seen: Snapshot, key: ReadingKey) -> Sequence[ReadingPoint]:
    """Return the course of one reading, oldest first; empty for one that is unknown."""
    return tuple(seen.past.readings.get(key, ()))


def _row(item: Reading, seen: Snapshot) -> SignalRow:
    return SignalRow(
        reading=item,
        key=key_of(item),
        quality_words=_QUALITY_WORDS[item.quality],
        spark=spark([point.score for point in series(seen, key_of(item))]),
    )


def _rank(item: Reading) -> tuple[float, int, str]:
    return -item.score if item.counts else 1.0, int(item.signal[1:]), item.subject


def spark(scores: Sequence[float]) -> Markup:
    """Return the points of a line of scores in [0, 1], the newest at the right; unknown ones are left out."""
    known = [value for value in scores if math.isfinite(value)][-_SPARK_POINTS:]
    if len(known) < 2:
        return Markup()
    step = (SPARK_WIDTH - 2.0 * _SPARK_MARGIN) / (len(known) - 1)
    room = SPARK_HEIGHT - 2.0 * _SPARK_MARGIN
    points = " ".join(
        f"{_SPARK_MARGIN + step * i:.1f},{_SPARK_MARGIN + room * (1.0 - min(max(value, 0.0), 1.0)):.1f}"
        for i, value in enumerate(known)
    )
    return Markup(points)  # noqa: S704 - numbers of ours, longer than a text of a stranger may be
