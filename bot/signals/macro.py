"""S19: inflation prints that rise, growth that surprises, and the releases to come."""

import math
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from bot.model.market import Column, Columns, Metric, SeriesKey
from bot.model.tier import Family, Reading
from bot.model.units import HOUR_S, iso_utc
from bot.signals.policy import SignalsPolicy
from bot.signals.reading import Inputs, Measured, NotYet, absent, read_subject, trailing

INFLATION = ("CPI", "PPI")
GROWTH = "GDP"


@dataclass(frozen=True, slots=True, kw_only=True)
class Macro:
    """One reading per print and per calendar; the latter and GDP inform, and do not vote.

    CPI, PPI: year on year less that of the prior print. Score: 0 while it does not rise, half-way when it
    does, 1 when a release is due within 48 h besides. GDP: print less consensus, else less the prior print;
    the method names no direction in which that is stress, so its score is 0. Calendar: hours to the next
    FOMC, CPI or PPI release, 1 within those 48 h. A date is known for as long as it lies ahead, and the hours
    to it run on while a print is held.
    """

    id: str = "S19"
    name: str = "macro"
    family: Family = Family.FUNDAMENTAL
    unit: str = "fraction"
    metrics: tuple[Metric, ...] = (Metric.MACRO_PRINT, Metric.MACRO_CONSENSUS, Metric.MACRO_RELEASE_S)

    def lookback_s(self, policy: SignalsPolicy) -> float:
        """A print may be as old as its hold, and the one before it two intervals older (a late release)."""
        intervals = policy.fundamental.intervals
        slowest_s = max(intervals.quarterly_s, intervals.monthly_s, intervals.calendar_s)
        return 2 * slowest_s + policy.slack_of_s(slowest_s)

    def read(self, columns: Columns, *, now_s: float, policy: SignalsPolicy) -> tuple[Reading, ...]:
        prints = [
            self.read_print(columns, key, now_s=now_s, policy=policy)
            for key in columns.find(Metric.MACRO_PRINT)
        ] or [absent(self, because=f"no source of {Metric.MACRO_PRINT} is configured")]
        calendars = [
            self._read_calendar(columns, key, now_s=now_s, policy=policy)
            for key in _calendars(columns, policy)
        ] or [_informs(absent(self, because=f"no source of {Metric.MACRO_RELEASE_S} is configured"))]
        return (*prints, *calendars)

    def read_print(self, columns: Columns, key: SeriesKey, *, now_s: float, policy: SignalsPolicy) -> Reading:
        def measure(inputs: Inputs) -> Measured | NotYet:
            if key.subject == GROWTH:
                return _surprise(inputs, _consensus(self, columns, key, now_s=now_s, policy=policy), policy)
            return _rise(inputs, next_release(columns, now_s=now_s, policy=policy), key, policy)

        reading = read_subject(self, (key,), columns, measure, now_s=now_s, policy=policy)
        return reading if key.subject in INFLATION else _informs(reading)

    def _read_calendar(
        self, columns: Columns, key: SeriesKey, *, now_s: float, policy: SignalsPolicy
    ) -> Reading:
        reading = read_subject(
            self, (key,), columns, lambda inputs: _hours(inputs, key, policy), now_s=now_s, policy=policy
        )
        return _informs(replace(reading, unit="h"))


MACRO = Macro()


class NextRelease(NamedTuple):
    """The next release of the events that count, as far as calendars say."""

    event: str  # "" when none is known
    at_s: float  # NaN when none is known
    unknown: tuple[str, ...]  # events with a calendar that names no later release


@dataclass(frozen=True, slots=True, kw_only=True)
class NearRelease:
    """Whether a release is so near that R3 confirms on one frame."""

    near: bool | None  # None: no calendar can tell
    event: str  # the nearest release that is known, "" for none
    at_s: float  # when it was or will be; NaN for none
    because: str


def cpi_or_ppi_rising(columns: Columns, *, now_s: float, policy: SignalsPolicy) -> bool | None:
    """Return whether CPI or PPI stands above its prior print (R6); held prints count.

    None when neither is seen to rise and one that is configured cannot be read, or none is configured.
    """
    readings = [
        MACRO.read_print(columns, key, now_s=now_s, policy=policy)
        for event in INFLATION
        for key in columns.find(Metric.MACRO_PRINT, event)
    ]
    if any(item.counts and item.value >= policy.fundamental.macro_min_rise for item in readings):
        return True
    return False if readings and all(item.counts for item in readings) else None


def release_near(columns: Columns, *, now_s: float, policy: SignalsPolicy) -> NearRelease:
    """Return whether an FOMC, CPI or PPI release lies within ``macro_near_s``, ahead or behind (R3)."""
    near_s = policy.fundamental.macro_near_s
    known = [
        (abs(at_s - now_s), at_s, key.subject)
        for key in _calendars(columns, policy)
        for at_s in _releases(columns, key, now_s=now_s, policy=policy)
    ]
    if known and min(known)[0] <= near_s:
        _, at_s, event = min(known)
        return _near(True, event, at_s, f"{event} release {_from_now(at_s, now_s)}, within {_h(near_s)}")
    following = next_release(columns, now_s=now_s, policy=policy)
    if following.unknown or not following.event:
        lacking = ", ".join(following.unknown) or ", ".join(policy.fundamental.macro_events)
        because = f"no calendar names the next release of {lacking}"
        return _near(None, following.event, following.at_s, because)
    because = f"next release {following.event} {_from_now(following.at_s, now_s)}, not within {_h(near_s)}"
    return _near(False, following.event, following.at_s, because)


def next_release(columns: Columns, *, now_s: float, policy: SignalsPolicy) -> NextRelease:
    """Return the first release after now of the events that count."""
    ahead, unknown = [], []
    for event in policy.fundamental.macro_events:
        keys = columns.find(Metric.MACRO_RELEASE_S, event)
        dates = [
            at_s
            for key in keys
            for at_s in _releases(columns, key, now_s=now_s, policy=policy)[-1:]
            if at_s > now_s
        ]
        ahead += [(min(dates), event)] if dates else []
        unknown += [event] if keys and not dates else []
    at_s, event = min(ahead, default=(math.nan, ""))
    return NextRelease(event, at_s, tuple(unknown))


def _near(near: bool | None, event: str, at_s: float, because: str) -> NearRelease:
    return NearRelease(near=near, event=event, at_s=at_s, because=because)


def _calendars(columns: Columns, policy: SignalsPolicy) -> list[SeriesKey]:
    return [
        key
        for event in policy.fundamental.macro_events
        for key in columns.find(Metric.MACRO_RELEASE_S, event)
    ]


def _releases(columns: Columns, key: SeriesKey, *, now_s: float, policy: SignalsPolicy) -> list[float]:
    """Return the release times that a calendar gave: those that passed, and the newest word on the next."""
    column = trailing(columns, key, now_s=now_s, lookback_s=MACRO.lookback_s(policy))
    known = column.values[np.isfinite(column.values)]
    turns = np.flatnonzero(np.diff(known))  # a calendar repeats the same date until it has passed
    passed = known[turns][known[turns] <= now_s]  # a date ahead that was replaced since had been moved
    return [*passed.tolist(), *known[-1:].tolist()]


class _Prints(NamedTuple):
    at_s: float  # when the newest was first seen
    value: float
    prior: float  # NaN when it is not in the look-back
    prior_at_s: float


def _prints(column: Column, policy: SignalsPolicy) -> _Prints:
    """Return the newest print and the one before it.

    A source may repeat a print with newer times. Rows of one value are one print, unless they span more
    than two prints can be apart: then the next print came out the same.
    """
    known = np.isfinite(column.values)
    times_s, values = column.times_s[known], column.values[known]
    others = np.flatnonzero(values != values[-1])
    first = int(others[-1]) + 1 if others.size else 0
    at_s, value = float(times_s[first]), float(values[-1])
    if float(times_s[-1]) - at_s >= policy.fundamental.macro_apart_span_s:
        return _Prints(float(times_s[-1]), value, value, at_s)
    if not first:
        return _Prints(at_s, value, math.nan, math.nan)
    return _Prints(at_s, value, float(values[first - 1]), float(times_s[first - 1]))


def _rise(inputs: Inputs, following: NextRelease, key: SeriesKey, policy: SignalsPolicy) -> Measured | NotYet:
    found, numbers = _prints(inputs.columns[0], policy), policy.fundamental
    if math.isnan(found.prior):
        return _one_print(found, inputs, key.subject)
    change = found.value - found.prior
    rising = change >= numbers.macro_min_rise
    hours = (following.at_s - inputs.now_s) / HOUR_S
    due = rising and hours <= numbers.macro_within_s / HOUR_S
    score = 1.0 if due else numbers.macro_rising_score if rising else 0.0
    because = (
        f"{key.subject} {found.value:.1%} a year against {found.prior:.1%} in the prior print: "
        f"{'rising' if rising else 'not rising'}; {_said_of(following, hours)}; "
        f"stress when rising and within {_h(numbers.macro_within_s)}"
    )
    return Measured(value=change, score=round(score, 9), because=because)


def _said_of(following: NextRelease, hours: float) -> str:
    said = f"next release {following.event} in {hours:.0f} h" if following.event else "next release unknown"
    return said + (f" ({', '.join(following.unknown)} unknown)" if following.unknown else "")


def _one_print(found: _Prints, inputs: Inputs, event: str) -> NotYet:
    warm_at_s = max(found.at_s + inputs.interval_s, inputs.now_s + HOUR_S)
    return NotYet(warm_at_s=warm_at_s, because=f"{event}: 1 print known, 2 needed")


def _consensus(
    signal: Macro, columns: Columns, key: SeriesKey, *, now_s: float, policy: SignalsPolicy
) -> Column | None:
    keys = columns.find(Metric.MACRO_CONSENSUS, key.subject)
    lookback_s = signal.lookback_s(policy)
    return trailing(columns, keys[0], now_s=now_s, lookback_s=lookback_s) if keys else None


def _surprise(inputs: Inputs, consensus: Column | None, policy: SignalsPolicy) -> Measured | NotYet:
    found = _prints(inputs.columns[0], policy)
    expected, against = math.nan, "consensus"
    if consensus is not None:
        # What was expected of an earlier quarter says nothing of this one.
        since_s = found.prior_at_s if math.isfinite(found.prior_at_s) else -math.inf
        asked = consensus.until(found.at_s).since(since_s)
        last = asked.last_known()
        expected = float(asked.values[last]) if last >= 0 else math.nan
    if math.isnan(expected):
        expected, against = found.prior, "prior print"
    if math.isnan(expected):
        return _one_print(found, inputs, GROWTH)
    surprise = found.value - expected
    because = f"{GROWTH} {found.value:+.1%} a year against {expected:+.1%}, the {against}: {surprise:+.1%}"
    return Measured(value=surprise, score=0.0, because=f"{because}; informs, no part of the vote")


def _hours(inputs: Inputs, key: SeriesKey, policy: SignalsPolicy) -> Measured:
    column = inputs.columns[0]
    at_s = float(column.values[column.last_known()])
    hours = (at_s - inputs.now_s) / HOUR_S
    if hours <= 0.0:
        because = f"{key.subject} was due {iso_utc(at_s)}; no calendar names the release after it"
        return Measured(value=math.nan, score=math.nan, because=because)
    within_h = policy.fundamental.macro_within_s / HOUR_S
    because = f"next {key.subject} release in {hours:.0f} h at {iso_utc(at_s)}; near within {within_h:g} h"
    return Measured(value=hours, score=1.0 if hours <= within_h else 0.0, because=because)


def _informs(reading: Reading) -> Reading:
    return replace(reading, informs=True)


def _from_now(at_s: float, now_s: float) -> str:
    hours = (at_s - now_s) / HOUR_S
    return f"in {hours:.1f} h" if hours >= 0.0 else f"{-hours:.1f} h ago"


def _h(span_s: float) -> str:
    return f"{span_s / HOUR_S:g} h"
