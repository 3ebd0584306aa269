"""How far a source can be trusted now: how old its newest observation is against its own cadence."""

import math
from dataclasses import dataclass
from itertools import pairwise
from statistics import median
from typing import Any

from bot.model.market import Column, FloatArray, SeriesKey
from bot.model.tier import Quality
from bot.model.units import MINUTE_S
from bot.signals.policy import SignalsPolicy

_CADENCE_ROWS = 24  # rows that a source's interval is read from
_FEED = "chainlink:"  # sources whose observations keep the feed's own update time


@dataclass(frozen=True, slots=True, kw_only=True)
class Freshness:
    """How far a column can be trusted now."""

    quality: Quality  # LIVE, HELD or MISSING
    good_s: float  # last known observation; NaN when there is none
    interval_s: float  # typical spacing of its rows
    patience_s: float  # age at which a held score is missing
    because: str


def freshness(key: SeriesKey, column: Column, *, now_s: float, policy: SignalsPolicy) -> Freshness:
    """Judge a column that ends at ``now_s``.

    LIVE while its newest row is known and not late; HELD while the last known row is within ``hold`` of that;
    MISSING after it, and when no row is known at all.
    """
    newest_s = column.times_s[-_CADENCE_ROWS:]
    if column.memo is None or not newest_s.size or not math.isfinite(column.values[-1]):
        return _freshness(key, column, now_s=now_s, policy=policy)
    # Where the newest row is known, nothing but the newest rows counts, however long the column is.
    version = (now_s, newest_s.size, newest_s[0], newest_s[-1])
    kept: tuple[Any, SignalsPolicy, Freshness] | None = column.memo.get("freshness")
    if kept is None or kept[0] != version or kept[1] is not policy:
        found = _freshness(key, column, now_s=now_s, policy=policy)
        kept = column.memo["freshness"] = (version, policy, found)
    return kept[2]


def _freshness(key: SeriesKey, column: Column, *, now_s: float, policy: SignalsPolicy) -> Freshness:
    interval = _interval(key, column, policy)
    late_s = _late_after_s(key, interval, policy)
    patience_s = late_s + max(policy.hold_chain_s, policy.hold_http_intervals * interval)
    last = column.last_known()
    good_s = float(column.times_s[last]) if last >= 0 else math.nan
    age_s, fails = now_s - good_s, last != column.values.size - 1
    if last < 0:
        quality, because = Quality.MISSING, f"{key} has no known value"
    elif age_s <= late_s and not fails:
        quality, because = Quality.LIVE, ""
    else:
        quality = Quality.HELD if age_s <= patience_s else Quality.MISSING
        verb = "held for" if quality is Quality.HELD else "over its hold of"
        because = (
            f"{key} {'fails' if fails else 'is late'}: last known {age_s / MINUTE_S:.0f} min ago, "
            f"{verb} {patience_s / MINUTE_S:.0f} min"
        )
    return Freshness(
        quality=quality, good_s=good_s, interval_s=interval, patience_s=patience_s, because=because
    )


def quiet_bars(key: SeriesKey, policy: SignalsPolicy) -> int:
    """Return how many bars in a row a source may leave empty without a hole: those of a feed's heartbeat.

    A feed keeps the time of its own updates; any other source has a row for each bar, or a hole.
    """
    return math.ceil(policy.feed_heartbeat_s / policy.bar_s) if key.source.startswith(_FEED) else 0


def late_after_s(key: SeriesKey, column: Column, *, policy: SignalsPolicy) -> float:
    """Return the age from which the newest observation of a column is late."""
    return _late_after_s(key, _interval(key, column, policy), policy)


def _late_after_s(key: SeriesKey, interval_s: float, policy: SignalsPolicy) -> float:
    late_s = policy.late_intervals * interval_s
    return max(late_s, policy.feed_heartbeat_s) if key.source.startswith(_FEED) else late_s


def _interval(key: SeriesKey, column: Column, policy: SignalsPolicy) -> float:
    """Return the median spacing of the newest rows, failed reads included, within what the metric allows."""
    least_s, most_s = policy.fundamental.intervals.of(key) or (0.0, policy.max_interval_s)
    if least_s == most_s:
        return least_s
    newest_s = column.times_s[-_CADENCE_ROWS:]
    if column.memo is None or not newest_s.size:
        return min(_median_step(newest_s, policy), most_s)
    # Rows are only added at the end, so as many rows between the same times are the same rows.
    place = ("interval", policy.bar_s)
    version = (newest_s.size, newest_s[0], newest_s[-1])
    kept: tuple[Any, float] | None = column.memo.get(place)
    if kept is None or kept[0] != version:
        kept = column.memo[place] = (version, _median_step(newest_s, policy))
    return min(kept[1], most_s)


def _median_step(newest_s: FloatArray, policy: SignalsPolicy) -> float:
    times_s = newest_s.tolist()
    # A feed may be read often between its updates: rows of one time are one.
    steps_s = [later - earlier for earlier, later in pairwise(times_s) if later > earlier]
    return float(median(steps_s)) if steps_s else float(policy.bar_s)  # cadence not known yet
