"""S23: money that leaves: ETFs, stablecoins, new issues."""

import math
from dataclasses import dataclass

import numpy as np

from bot.model.market import Column, Columns, FloatArray, Metric
from bot.model.tier import Family, Reading
from bot.model.units import DAY_S
from bot.signals.daily import too_few_days, trailing_mean
from bot.signals.policy import SignalsPolicy
from bot.signals.reading import Inputs, Measured, NotYet, absent_metric, read_subject

_WEEK = 7  # days


@dataclass(frozen=True, slots=True, kw_only=True)
class RiskFlow:
    """Z-score of the 7-day sum of a daily flow among the 7-day sums of 90 days, per flow and source.

    Days are counted back from the newest row, so that a close in New York stays on its day. A day that the
    source usually has and that is missing counts as the mean of its week, not as nothing. Sigma is the
    population deviation, floored by a share of the usual size of a sum.
    """

    id: str = "S23"
    name: str = "risk_flow"
    family: Family = Family.FUNDAMENTAL
    unit: str = "sigma"
    metrics: tuple[Metric, ...] = (Metric.FLOW_USD_1D,)

    def lookback_s(self, policy: SignalsPolicy) -> float:
        numbers = policy.fundamental
        return (
            numbers.flow_window_s
            + numbers.flow_span_s
            + DAY_S
            + policy.slack_of_s(numbers.intervals.trading_s)
        )

    def read(self, columns: Columns, *, now_s: float, policy: SignalsPolicy) -> tuple[Reading, ...]:
        keys = columns.find(Metric.FLOW_USD_1D)
        if not keys:
            return absent_metric(self, Metric.FLOW_USD_1D)
        return tuple(
            read_subject(
                self, (key,), columns, lambda inputs: _measure(inputs, policy), now_s=now_s, policy=policy
            )
            for key in keys
        )


def _measure(inputs: Inputs, policy: SignalsPolicy) -> Measured | NotYet:
    numbers = policy.fundamental
    span, count = int(numbers.flow_span_s // DAY_S), int(numbers.flow_window_s // DAY_S)
    sums = inputs.once(
        ("flow sums", span, count, policy.coverage),
        lambda: flow_sums(
            inputs.columns[0], good_s=inputs.good_s, span=span, count=count, coverage=policy.coverage
        ),
    )
    known = sums[np.isfinite(sums)]
    if known.size < policy.coverage * count:
        return too_few_days(
            int(known.size),
            needed=policy.coverage * count,
            lead_s=(span - 1) * DAY_S,
            window_s=numbers.flow_window_s,
            inputs=inputs,
            max_hole_s=numbers.max_hole_s,
            what=f"{span}-day flow",
        )
    latest, mean = float(sums[-1]), float(known.mean())
    if math.isnan(latest):
        because = f"{span}-day flow: too few days of the last {span} are known"
        return Measured(value=math.nan, score=math.nan, because=because)
    usual = float(np.abs(known).mean())
    sigma = max(float(known.std()), numbers.flow_min_sigma * usual, numbers.flow_min_sigma_usd)
    z, anchors = (latest - mean) / sigma, numbers.risk_flow
    return Measured(
        value=z,
        score=anchors.score(z),
        because=f"{span}-day flow {latest / 1e6:+,.0f} M USD against {mean / 1e6:+,.0f} +- "
        f"{sigma / 1e6:,.0f} over {count} days ({known.size / count:.0%} known): {z:+.1f} sigma, "
        f"stress from {anchors.calm:g} to {anchors.stress:g}",
    )


def flow_sums(column: Column, *, good_s: float, span: int, count: int, coverage: float) -> FloatArray:
    """Return the sums of ``span`` days that end at each of the last ``count``, oldest first, USD.

    A source may have no row on some weekdays: those on which it never has one are not missed. A sum is NaN
    where less than ``coverage`` of the others is known.
    """
    days = count + span - 1
    rows = column.until(good_s)
    back = np.round((good_s - rows.times_s) / DAY_S)
    taken = np.isfinite(rows.values) & (back < days)
    flow = np.full(days, np.nan)
    flow[days - 1 - back[taken].astype(np.intp)] = rows.values[taken]  # the last of several on a day wins
    mean = trailing_mean(flow, span=span, coverage=0.0)
    seen = np.lib.stride_tricks.sliding_window_view(np.isfinite(flow), span).sum(axis=1)
    open_days = np.unique(np.flatnonzero(np.isfinite(flow)) % _WEEK).size
    usual = span * open_days / _WEEK
    return np.where((seen > 0) & (seen >= coverage * usual), mean * usual, np.nan)
