"""S17: what a lending market asks of borrowers over what it pays to suppliers."""

import math
from dataclasses import dataclass

import numpy as np

from bot.model.market import Columns, FloatArray, Metric, SeriesKey
from bot.model.tier import Family, Reading
from bot.model.units import DAY_S
from bot.signals.policy import SignalsPolicy
from bot.signals.reading import (
    Inputs,
    Measured,
    NotYet,
    absent,
    absent_metric,
    read_subject,
    too_few,
    value_at,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class RateDifferential:
    """(Borrow APR - supply APR) / its median of the hourly bars of 30 days, per market of a stable.

    The median is floored, since the differential of an idle market is next to nothing and any loan would be
    a multiple of it. A market whose token is no stable is not read: its rates follow its own demand.
    """

    id: str = "S17"
    name: str = "rate_differential"
    family: Family = Family.FUNDAMENTAL
    unit: str = "ratio"
    metrics: tuple[Metric, ...] = (Metric.BORROW_APR, Metric.SUPPLY_APR)

    def lookback_s(self, policy: SignalsPolicy) -> float:
        numbers = policy.fundamental
        slack_s = max(policy.slack_s, policy.slack_of_s(numbers.intervals.daily_s))
        return numbers.rate_window_s + policy.bar_s + slack_s

    def read(self, columns: Columns, *, now_s: float, policy: SignalsPolicy) -> tuple[Reading, ...]:
        keys = [key for key in columns.find(Metric.BORROW_APR) if _token(key.subject) in policy.stables]
        if not keys:
            return absent_metric(self, Metric.BORROW_APR)
        return tuple(self._read_market(columns, key, now_s=now_s, policy=policy) for key in keys)

    def _read_market(
        self, columns: Columns, borrow: SeriesKey, *, now_s: float, policy: SignalsPolicy
    ) -> Reading:
        supply = SeriesKey(Metric.SUPPLY_APR, borrow.subject, borrow.source)
        if supply not in columns.series:
            because = f"{borrow.source} has no {Metric.SUPPLY_APR} of {borrow.subject} configured"
            return absent(self, subject=borrow.subject, source=borrow.source, because=because)
        return read_subject(
            self,
            (borrow, supply),
            columns,
            lambda inputs: _measure(inputs, policy),
            now_s=now_s,
            policy=policy,
        )


def _token(subject: str) -> str:
    return subject.rpartition("/")[2]


def _measure(inputs: Inputs, policy: SignalsPolicy) -> Measured | NotYet:
    numbers = policy.fundamental
    count = policy.bars(numbers.rate_window_s)
    needed = policy.coverage * inputs.expected(numbers.rate_window_s, policy)
    borrow, supply = (inputs.bars(column, count=count, policy=policy) for column in inputs.columns)
    known, middle = borrow.once(
        "rate differential", lambda: _known_median(borrow.close - supply.close), beside=(supply,)
    )
    if known < needed:
        return too_few(
            known,
            needed=needed,
            window_s=numbers.rate_window_s,
            inputs=inputs,
            policy=policy,
            what="rate differential",
        )
    asked, paid = (value_at(column, inputs.good_s) for column in inputs.columns)
    divisor = max(middle, numbers.rate_min_median)
    ratio, anchors = (asked - paid) / divisor, numbers.rate_differential
    floored = f", floored at {divisor:.2%}" if middle < divisor else ""
    return Measured(
        value=ratio,
        score=anchors.score(ratio),
        because=f"borrow {asked:.2%} less supply {paid:.2%} a year is {asked - paid:+.2%} against a median "
        f"of {middle:+.2%} over {numbers.rate_window_s / DAY_S:.0f} days{floored}: {ratio:.2f}, "
        f"stress from {anchors.calm:g} to {anchors.stress:g}",
    )


def _known_median(spread: FloatArray) -> tuple[int, float]:
    known = spread[np.isfinite(spread)]
    return int(known.size), float(np.median(known)) if known.size else math.nan
