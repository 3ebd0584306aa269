"""Which change of a condition is real, and so worth a message. Pure: time comes with each look.

A change is real when

- a condition is worse than what was last told of it, or nothing was told: it is told at once; or
- for ``settle_s`` seconds all that was seen of it was better than what was last told: then the worst of that
  time is told, which is that it eased, or that it is over. Whatever comes back before is no change; or
- it stands as told, but nothing was watched for longer than ``gap_s`` seconds: it may have ended and come
  back meanwhile, and is told once more.

So a tier that flaps a thousand times between two blocks gives one message when it rises and one when it has
stayed down. Severity comes first, then level. An event (``once``) is a change by itself.
"""

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from enum import StrEnum

from bot.alerts.condition import Condition, Severity, kind_of_key

Rank = tuple[int, int]  # severity, level
GONE: Rank = (-1, 0)


class Turn(StrEnum):
    """How a condition changed."""

    NEW = "new"
    WORSE = "worse"
    AGAIN = "again"  # after a gap in watching: still, or anew
    EASED = "eased"
    OVER = "over"


@dataclass(slots=True, kw_only=True)
class Standing:
    """What a person was last told of a condition that stands, and what was seen of it since."""

    severity: Severity
    level: int
    title: str
    since_s: float  # when it was first told
    told_at_s: float
    better_since_s: float = math.nan  # all that was seen since was better than what was told; NaN: it is not
    worst: Rank = GONE  # of that time
    worst_title: str = ""  # empty where it was gone all the time
    recheck: bool = False  # nothing was watched for a while, and it was not seen since

    @property
    def rank(self) -> Rank:
        return self.severity.value, self.level


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """A real change. ``condition`` is what was seen; None where it is over, or eased before a restart."""

    turn: Turn
    key: str
    title: str  # of the condition, as it was told or is now
    about: Severity  # the most urgent of what it was and is
    severity: Severity  # of the message: that something eased is INFO
    condition: Condition | None
    stood_s: float = 0.0  # EASED, OVER: since it was first told
    unwatched_s: float = 0.0  # AGAIN

    @property
    def kind(self) -> str:
        return kind_of_key(self.key)


@dataclass(slots=True, kw_only=True)
class News:
    """Remembers what was told. ``settle_s`` and ``gap_s`` are explained above."""

    settle_s: float = 0.0
    gap_s: float = math.inf
    standing: dict[str, Standing] = field(default_factory=dict)
    watched_at_s: float = math.nan  # of the last look that saw everything
    is_unsaved: bool = False  # something that a restart must know changed; whoever keeps it clears this
    _unwatched_s: float = field(default=0.0, init=False)
    _worst: dict[str, Condition] = field(default_factory=dict, init=False)  # as this process saw it

    def take(
        self,
        conditions: Iterable[Condition],
        *,
        now_s: float,
        about: str = "",
        unsure: Callable[[str], bool] = lambda _: False,
    ) -> tuple[Change, ...]:
        """Take the conditions that hold now and return the real changes.

        ``about`` limits what can end here to keys with this prefix, for callers that see a part only;
        ``unsure`` names keys of which nothing is known now, which therefore go on standing.
        """
        if not about:
            self._watched(now_s)
        now = {item.key: item for item in conditions}
        changes = [change for item in now.values() if (change := self._seen_now(item, now_s)) is not None]
        missing = [key for key in self.standing if key.startswith(about) and key not in now]
        ended = (self._better(key, None, now_s) for key in missing if not unsure(key))
        return (*changes, *(change for change in ended if change is not None))

    def _watched(self, now_s: float) -> None:
        """Note a look that saw everything, and a gap before it."""
        gap_s = now_s - self.watched_at_s
        if gap_s > self.gap_s:
            self._unwatched_s = gap_s
            for told in self.standing.values():
                told.recheck = True
        self.watched_at_s = now_s

    def _seen_now(self, item: Condition, now_s: float) -> Change | None:
        told = self.standing.get(item.key)
        if item.once:
            return _change(Turn.NEW, item)
        rank = (item.severity.value, item.level)
        if told is None or rank > told.rank:
            return self._tell(Turn.NEW if told is None else Turn.WORSE, item, now_s)
        if told.recheck:
            return self._tell(Turn.AGAIN, item, now_s)
        if rank == told.rank:
            self.is_unsaved |= not math.isnan(told.better_since_s)
            told.better_since_s = math.nan
            return None
        return self._better(item.key, item, now_s)

    def _tell(self, turn: Turn, item: Condition, now_s: float) -> Change:
        told = self.standing.get(item.key)
        self.standing[item.key] = Standing(
            severity=item.severity,
            level=item.level,
            title=item.title,
            since_s=told.since_s if told is not None else now_s,
            told_at_s=now_s,
        )
        return _change(turn, item, unwatched_s=self._unwatched_s if turn is Turn.AGAIN else 0.0)

    def _better(self, key: str, seen: Condition | None, now_s: float) -> Change | None:
        """Note that something is better than what was told, or gone, and return that once it has settled."""
        told = self.standing[key]
        rank = GONE if seen is None else (seen.severity.value, seen.level)
        began_s = told.better_since_s
        begins = math.isnan(began_s) or now_s < began_s  # the latter: a clock was set back
        if begins:
            told.better_since_s = now_s
        if begins or rank > told.worst:
            told.worst, told.worst_title = rank, "" if seen is None else seen.title
            self.is_unsaved = True
            self._worst.pop(key, None)
            if seen is not None:
                self._worst[key] = seen
        if now_s - told.better_since_s < self.settle_s:
            return None
        worst = self._worst.pop(key, None)
        if told.worst == GONE:
            del self.standing[key]
            return _end(Turn.OVER, key, told, worst, now_s)
        severity, level = told.worst
        self.standing[key] = Standing(
            severity=Severity(severity),
            level=level,
            title=told.worst_title,
            since_s=told.since_s,
            told_at_s=now_s,
        )
        return _end(Turn.EASED, key, told, worst, now_s)


def _change(turn: Turn, item: Condition, *, unwatched_s: float = 0.0) -> Change:
    return Change(
        turn=turn,
        key=item.key,
        title=item.title,
        about=item.severity,
        severity=item.severity,
        condition=item,
        unwatched_s=unwatched_s,
    )


def _end(turn: Turn, key: str, told: Standing, seen: Condition | None, now_s: float) -> Change:
    return Change(
        turn=turn,
        key=key,
        title=told.worst_title if turn is Turn.EASED else told.title,
        about=told.severity,
        severity=Severity.INFO,
        condition=seen,
        stood_s=max(0.0, now_s - told.since_s),
    )
