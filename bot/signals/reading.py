"""From a column to a reading: how fresh a source is, when history suffices, and the one shape of the result.

A measure looks only at what lies in its look-back before the last good observation, so a prefix, a trailing
window and the whole history give the same reading, and a held score is the last good one.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import Any, Protocol, TypeAlias, TypeVar

import numpy as np

from bot.model.market import Column, Columns, Metric, SeriesKey
from bot.model.tier import Family, Quality, Reading
from bot.model.units import iso_utc
from bot.quant.bars import Bars, closed_bars
from bot.signals.freshness import Freshness as Freshness
from bot.signals.freshness import freshness as freshness
from bot.signals.freshness import late_after_s as late_after_s
from bot.signals.freshness import quiet_bars as quiet_bars
from bot.signals.policy import SignalsPolicy

T = TypeVar("T")


class Signal(Protocol):
    """One signal of method.md. Pure: the same columns, time and policy give the same readings."""

    @property
    def id(self) -> str: ...

    @property
    def name(self) -> str: ...

    @property
    def family(self) -> Family: ...

    @property
    def unit(self) -> str: ...

    @property
    def metrics(self) -> tuple[Metric, ...]:
        """The metrics it reads; the first names the subjects it is read for."""
        ...

    def lookback_s(self, policy: SignalsPolicy) -> float:
        """Return how much history a reading may look at, hold included."""
        ...

    def read(self, columns: Columns, *, now_s: float, policy: SignalsPolicy) -> tuple[Reading, ...]:
        """Return one reading per subject and independent source, at least one (ABSENT)."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """What a measure found. ``value`` NaN means that it could not be told, and ``because`` says why."""

    value: float
    score: float
    because: str


@dataclass(frozen=True, slots=True, kw_only=True)
class NotYet:
    """History is too short; ``warm_at_s`` is when it will suffice if no observation is missed."""

    warm_at_s: float
    because: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Inputs:
    """The trailing columns of one subject, in the order of the keys that were asked for."""

    columns: tuple[Column, ...]
    good_s: float  # the last time at which all of them were known
    now_s: float
    interval_s: float  # the slowest cadence among them
    patience_s: float  # how old an observation may be and still hold

    def bars(self, column: Column, *, count: int, policy: SignalsPolicy, bar_s: int | None = None) -> Bars:
        """Return the last bars that are closed now and not past the bar of the last good observation.

        ``bar_s`` asks for longer ones than the policy's, which must be a multiple of these.
        """
        good_end_s = (math.floor(self.good_s / policy.bar_s) + 1) * policy.bar_s
        end_s = min(self.now_s, good_end_s)
        return closed_bars(column, bar_s=bar_s or policy.bar_s, now_s=end_s, count=count)

    def patience_bars(self, policy: SignalsPolicy, *, bar_s: int | None = None) -> int:
        return int(self.patience_s // (bar_s or policy.bar_s))

    def once(self, what: Any, make: Callable[[], T]) -> T:
        """Return ``make()``, worked out once for the same rows of all columns and the same ``good_s``.

        ``make`` must depend on nothing else; what it returns must not be changed.
        """
        memo = self.columns[0].memo
        if memo is None or not all(column.times_s.size for column in self.columns):
            return make()
        # Rows are only added, so as many rows between the same times are the same rows.
        rows = [(each.times_s.size, each.times_s[0], each.times_s[-1]) for each in self.columns]
        version = (self.good_s, rows)
        kept = memo.get(what)
        if kept is None or kept[0] != version:
            kept = memo[what] = (version, make())
        made: T = kept[1]
        return made

    def expected(self, span_s: float, policy: SignalsPolicy) -> int:
        """Return how many samples a whole span has: its bars, or the rows of a source slower than a bar."""
        return int(span_s // max(float(policy.bar_s), self.interval_s))

    def held_bars(
        self, column: Column, *, count: int, policy: SignalsPolicy, bar_s: int | None = None
    ) -> Bars:
        """Return ``bars`` that end with a known one, stepping back as far as patience goes.

        A quiet feed may leave a bar empty without failing. The last close is NaN when patience ran out: the
        source was away for longer and is back in the open bar.
        """
        patience = self.patience_bars(policy, bar_s=bar_s)
        longer = self.bars(column, count=count + patience, policy=policy, bar_s=bar_s)
        return longer.once(("held", patience), lambda: _held(longer, patience))


def _held(longer: Bars, patience: int) -> Bars:
    count = longer.close.size - patience
    empty = 0
    if count and not math.isfinite(longer.close[-1]):
        known = np.flatnonzero(np.isfinite(longer.close))
        empty = longer.close.size - 1 - int(known[-1]) if known.size else 0
    end = longer.close.size - (empty if empty <= patience else 0)
    part = slice(end - count, end)
    return Bars(times_s=longer.times_s[part], close=longer.close[part], bar_s=longer.bar_s)


Measure: TypeAlias = Callable[[Inputs], Measured | NotYet]
QuietMeasure: TypeAlias = Callable[..., Measured | NotYet]  # (inputs, *, quiet, policy)


def trailing(columns: Columns, key: SeriesKey, *, now_s: float, lookback_s: float) -> Column:
    """Return the observations of a series in (now_s - lookback_s, now_s]."""
    return columns[key].until(now_s).since(now_s - lookback_s)


def gather(
    keys: tuple[SeriesKey, ...], columns: Columns, *, lookback_s: float, now_s: float, policy: SignalsPolicy
) -> tuple[Inputs, Freshness]:
    """Return the trailing columns and the freshness of the worst of them."""
    if len(keys) == 1:
        part = trailing(columns, keys[0], now_s=now_s, lookback_s=lookback_s)
        only = freshness(keys[0], part, now_s=now_s, policy=policy)
        alone = Inputs(
            columns=(part,),
            good_s=only.good_s,
            now_s=now_s,
            interval_s=only.interval_s,
            patience_s=only.patience_s,
        )
        return alone, only
    parts = tuple(trailing(columns, key, now_s=now_s, lookback_s=lookback_s) for key in keys)
    found = [freshness(key, part, now_s=now_s, policy=policy) for key, part in zip(keys, parts, strict=True)]
    inputs = Inputs(
        columns=parts,
        good_s=min(item.good_s for item in found),
        now_s=now_s,
        interval_s=max(item.interval_s for item in found),
        patience_s=min(item.patience_s for item in found),
    )
    return inputs, max(found, key=lambda item: _RANK[item.quality])


def read_subject(
    signal: Signal,
    keys: tuple[SeriesKey, ...],
    columns: Columns,
    measure: Measure,
    *,
    now_s: float,
    policy: SignalsPolicy,
) -> Reading:
    """Return the reading of one subject and source; ``keys[0]`` names them, all keys are needed."""
    inputs, worst = gather(keys, columns, lookback_s=signal.lookback_s(policy), now_s=now_s, policy=policy)
    if worst.quality is Quality.MISSING:
        return _reading(signal, keys[0], Quality.MISSING, because=worst.because, observed_at_s=worst.good_s)
    result = measure(inputs)
    if isinstance(result, NotYet):
        return _reading(
            signal,
            keys[0],
            Quality.WARMING,
            because=f"{result.because}; warm at {iso_utc(result.warm_at_s)}",
            observed_at_s=inputs.good_s,
            warm_at_s=result.warm_at_s,
        )
    quality = Quality.MISSING if math.isnan(result.score) else worst.quality
    because = f"{result.because}; {worst.because}" if worst.because else result.because
    return _reading(
        signal,
        keys[0],
        quality,
        because=because,
        observed_at_s=inputs.good_s,
        value=result.value,
        score=result.score,
        held_until_s=worst.good_s + worst.patience_s if quality is Quality.HELD else math.nan,
    )


def read_each(
    signal: Signal,
    keys: tuple[SeriesKey, ...],
    columns: Columns,
    measure: QuietMeasure,
    *,
    now_s: float,
    policy: SignalsPolicy,
) -> tuple[Reading, ...]:
    """Return one reading for each series, of one metric all of them; absent without any.

    ``measure`` is also told how many quiet bars the source may have and the policy.
    """
    if not keys:
        return absent_metric(signal, signal.metrics[0])
    return tuple(
        read_subject(
            signal,
            (key,),
            columns,
            partial(measure, quiet=quiet_bars(key, policy), policy=policy),
            now_s=now_s,
            policy=policy,
        )
        for key in keys
    )


def value_at(column: Column, at_s: float) -> float:
    """Return the last known value at or before ``at_s``, NaN when there is none."""
    part = column.until(at_s)
    last = part.last_known()
    return float(part.values[last]) if last >= 0 else math.nan


def too_few(
    known: int, *, needed: float, window_s: float, inputs: Inputs, policy: SignalsPolicy, what: str
) -> Measured | NotYet:
    """Return that ``known`` samples of a window are too few: not yet, or no more.

    A history that spans the window, no long hole in it, is not short: its source fails too often to be used.
    """
    starts_s = [_start_s(column, policy) for column in inputs.columns]
    if max(starts_s) > inputs.good_s - window_s + policy.late_intervals * inputs.interval_s:
        return not_yet(known, needed=needed, inputs=inputs, policy=policy, what=what)
    because = (
        f"{what}: {known} known of a whole window, {math.ceil(needed)} needed; its source fails too often"
    )
    return Measured(value=math.nan, score=math.nan, because=because)


def _start_s(column: Column, policy: SignalsPolicy) -> float:
    """Return since when a column has known rows without a long hole between them; infinity for never."""
    times_s = column.times_s[np.isfinite(column.values)]
    holes = np.flatnonzero(np.diff(times_s) > policy.max_hole_s)
    return float(times_s[holes[-1] + 1 if holes.size else 0]) if times_s.size else math.inf


def not_yet(known: int, *, needed: float, inputs: Inputs, policy: SignalsPolicy, what: str) -> NotYet:
    """Return that ``known`` samples are fewer than needed, and when an unbroken feed will have them."""
    lacking = max(math.ceil(needed) - known, 1)
    if inputs.interval_s > policy.bar_s:  # a slow source counts by its own rows
        warm_at_s = inputs.good_s + lacking * inputs.interval_s
    else:
        warm_at_s = (math.floor(inputs.now_s / policy.bar_s) + lacking) * policy.bar_s
    return NotYet(warm_at_s=warm_at_s, because=f"{what}: {known} known, {math.ceil(needed)} needed")


def no_last_bar(what: str) -> Measured:
    """Return that the source is back after a failure and its first whole bar is not closed yet."""
    because = f"{what}: the last closed bar has no observation"
    return Measured(value=math.nan, score=math.nan, because=because)


def absent(signal: Signal, *, because: str, subject: str = "", source: str = "") -> Reading:
    """Return the reading of a signal that has no source configured."""
    return _absent(signal.id, signal.name, signal.family, signal.unit, subject, source, because)


@lru_cache(maxsize=256)  # frame after frame the same are absent
def _absent(
    signal: str, name: str, family: Family, unit: str, subject: str, source: str, because: str
) -> Reading:
    return Reading(
        signal=signal,
        name=name,
        subject=subject,
        family=family,
        value=math.nan,
        unit=unit,
        score=math.nan,
        quality=Quality.ABSENT,
        because=because,
        source=source,
    )


def absent_metric(signal: Signal, metric: Metric) -> tuple[Reading, ...]:
    return (absent(signal, because=f"no source of {metric} is configured"),)


def _reading(
    signal: Signal,
    key: SeriesKey,
    quality: Quality,
    *,
    because: str,
    observed_at_s: float = math.nan,
    value: float = math.nan,
    score: float = math.nan,
    warm_at_s: float = math.nan,
    held_until_s: float = math.nan,
) -> Reading:
    return Reading(
        signal=signal.id,
        name=signal.name,
        subject=key.subject,
        family=signal.family,
        value=value,
        unit=signal.unit,
        score=score,
        quality=quality,
        because=because,
        observed_at_s=observed_at_s,
        source=key.source,
        warm_at_s=warm_at_s,
        held_until_s=held_until_s,
    )


_RANK = {Quality.LIVE: 0, Quality.HELD: 1, Quality.MISSING: 2}
