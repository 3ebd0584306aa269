"""What was, folded from the journal's full records: values, tiers, readings, and what changed when."""

from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from bot.model.hedge import LegStatus
from bot.model.reasons import kind_of
from bot.model.record import StepRecord
from bot.model.tier import Quality, Reading, Tier
from bot.simulation.report.beside_orders import beside_orders
from bot.simulation.wording import order_words, perpetual_order_words

_POINTS_KEPT = 3_000
_READINGS_KEPT = 1_000
_CHANGES_KEPT = 400
_HEARTBEAT_POINT_S = 600.0
_NOT_NEWS = frozenset({LegStatus.UNKNOWN, LegStatus.WAITING, LegStatus.PROPOSED})


class Point(NamedTuple):
    """What the whole book was worth at one step. USD."""

    at_s: float
    spot_usd: Mapping[str, float]
    position_usd: float
    hedged_usd: float  # position, hedges, and what hedging brought and cost so far
    tier: Tier  # the highest shown of all groups


class ReadingKey(NamedTuple):
    """Which signal of what, read from where."""

    signal: str
    subject: str
    source: str


class ReadingPoint(NamedTuple):
    at_s: float
    value: float
    score: float
    quality: Quality


class Change(NamedTuple):
    """Something a person wants to know of who was away. ``tier``: what a group went to."""

    at_s: float
    kind: str  # "tier", "order", "hold", "clear", "protocol"
    words: str
    tier: Tier | None = None


@dataclass(slots=True)
class Past:
    """A fold over full records, oldest first; each series forgets what is too old to be drawn."""

    points: deque[Point] = field(default_factory=lambda: deque(maxlen=_POINTS_KEPT))
    readings: dict[ReadingKey, deque[ReadingPoint]] = field(default_factory=dict)
    changes: deque[Change] = field(default_factory=lambda: deque(maxlen=_CHANGES_KEPT))
    steps: int = 0
    _last: StepRecord | None = None

    def add(self, record: StepRecord) -> None:
        """Take one more record; a heartbeat has its values alone."""
        now_s = record.decision.now_s
        position_usd = sum(record.exposure_value_usd.values())
        hedged_usd = position_usd + record.hedge_value_usd + record.cash_flow_usd
        if self._thins(record):
            self.points.pop()
        self.points.append(Point(now_s, record.spot_usd, position_usd, hedged_usd, tier_of(record)))
        for item in record.decision.readings:
            if item.quality is not Quality.ABSENT:
                rows = self.readings.setdefault(key_of(item), deque(maxlen=_READINGS_KEPT))
                rows.append(ReadingPoint(now_s, item.value, item.score, item.quality))
        self.changes.extend(_changes(self._last, record))
        self._last = record
        self.steps += 1

    def _thins(self, record: StepRecord) -> bool:
        """Say whether the newest point makes room: of heartbeats one in ten minutes is enough to draw."""
        if self._last is None or not self._last.is_heartbeat or len(self.points) < 2:
            return False
        return record.decision.now_s - self.points[-2].at_s < _HEARTBEAT_POINT_S


def key_of(item: Reading) -> ReadingKey:
    return ReadingKey(item.signal, item.subject, item.source)


def tier_of(record: StepRecord) -> Tier:
    """Return the highest tier that is shown of any group."""
    return max((group.shown_tier for group in record.decision.groups), default=Tier.CALM)


def _changes(last: StepRecord | None, record: StepRecord) -> Iterator[Change]:
    yield from _tier_changes(last, record)
    for outcome in record.outcomes:
        if outcome.status not in _NOT_NEWS:
            yield Change(outcome.at_s, "order", f"{outcome.leg.layer.value}: {order_words(outcome)}")
    for traded in record.perpetuals:
        if traded.status not in _NOT_NEWS:
            yield Change(traded.at_s, "order", f"Perpetual: {perpetual_order_words(traded)}")
    for beside in beside_orders(record.account_orders, record.covers):
        yield Change(beside.at_s, "order", beside.words)
    if last is not None:
        yield from _hold_changes(last, record)


def _hold_changes(last: StepRecord, record: StepRecord) -> Iterator[Change]:
    now_s = record.decision.now_s
    before = {kind_of(item) for item in last.decision.holds}
    after = {kind_of(item) for item in record.decision.holds}
    for hold in record.decision.holds:
        if kind_of(hold) not in before:
            yield Change(now_s, "hold", f"HOLD: {hold}")
    for hold in last.decision.holds:
        if kind_of(hold) not in after:
            yield Change(now_s, "clear", f"Hold over: {hold}")


def _tier_changes(last: StepRecord | None, record: StepRecord) -> Iterator[Change]:
    now_s = record.decision.now_s
    before = {item.group: item.shown_tier for item in last.decision.groups} if last else {}
    for group in record.decision.groups:
        old, new = before.get(group.group), group.shown_tier
        if old is not None and old is not new:
            verb = "up" if new > old else "down"
            words = f"{group.group} {verb} from {old.name} to {new.name}: {group.because}"
            yield Change(now_s, "tier", words, new)
    known = {item.protocol: item.tier for item in last.decision.protocols} if last else {}
    for item in record.decision.protocols:
        was = known.get(item.protocol)
        if was is not None and was is not item.tier:
            yield Change(now_s, "protocol", f"{item.protocol}: {was.name} to {item.tier.name}", item.tier)
