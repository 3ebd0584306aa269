"""S2: liquid reserves against what providers withdraw in a day."""

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from bot.model.market import Column, Columns, FloatArray, Metric
from bot.model.tier import Family, Reading
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
from bot.signals.subjects import primary


@dataclass(frozen=True, slots=True, kw_only=True)
class QuickRatio:
    """Quote reserves within 2 % of price / P95 over 30 days of the 24 h net outflow, per pool.

    Outflow at a closed bar: the share of liquidity that left in the 24 h before it, times the quote reserves
    at their start; an inflow counts 0. A source slower than a bar is taken row by row, its 24 h starting at
    the last row at or before their start. The P95 is floored at a small share of the quote reserves of today,
    so that a pool nobody left reads calm with a number instead of infinity.
    """

    id: str = "S2"
    name: str = "quick_ratio"
    family: Family = Family.ONCHAIN
    unit: str = "ratio"
    metrics: tuple[Metric, ...] = (
        Metric.POOL_QUOTE_NEAR_USD,
        Metric.POOL_LIQUIDITY,
        Metric.POOL_QUOTE_USD,
    )

    def lookback_s(self, policy: SignalsPolicy) -> float:
        return policy.onchain.outflow_window_s + policy.onchain.outflow_span_s + policy.bar_s + policy.slack_s

    def read(self, columns: Columns, *, now_s: float, policy: SignalsPolicy) -> tuple[Reading, ...]:
        subjects = dict.fromkeys(key.subject for key in columns.find(self.metrics[0]))
        if not subjects:
            return absent_metric(self, self.metrics[0])
        return tuple(self._read_pool(columns, subject, now_s=now_s, policy=policy) for subject in subjects)

    def _read_pool(self, columns: Columns, subject: str, *, now_s: float, policy: SignalsPolicy) -> Reading:
        found = {metric: primary(columns, metric, subject) for metric in self.metrics}
        keys = tuple(key for key in found.values() if key is not None)
        if len(keys) < len(found):
            lacking = ", ".join(metric for metric, key in found.items() if key is None)
            return absent(
                self, subject=subject, because=f"no source of {lacking} is configured for {subject}"
            )
        return read_subject(
            self, keys, columns, lambda inputs: _measure(inputs, policy), now_s=now_s, policy=policy
        )


def _measure(inputs: Inputs, policy: SignalsPolicy) -> Measured | NotYet:
    near, _, quote = inputs.columns
    found = _outflows(inputs, policy)
    needed = policy.coverage * inputs.expected(policy.onchain.outflow_window_s, policy)
    if found.known < needed:
        span = inputs.expected(policy.onchain.outflow_span_s, policy)  # the first outflow ends so much later
        return too_few(
            found.known + min(found.samples, span),
            needed=needed + span,
            window_s=policy.onchain.outflow_window_s + policy.onchain.outflow_span_s,
            inputs=inputs,
            policy=policy,
            what="24 h outflow",
        )
    reserve_usd, near_usd = (value_at(column, inputs.good_s) for column in (quote, near))
    claim_usd = found.claim_usd
    floor_usd = policy.onchain.outflow_floor * reserve_usd
    claims = f"P{100 * policy.onchain.outflow_quantile:.0f} 24 h outflow {claim_usd:,.0f} USD"
    if claim_usd < floor_usd:
        claims += f", floored at {floor_usd:,.0f}"
    divisor = max(claim_usd, floor_usd)
    ratio = near_usd / divisor if divisor > 0.0 else 0.0  # no reserves at all is no cover at all
    anchors = policy.onchain.quick_ratio
    return Measured(
        value=ratio,
        score=anchors.score(ratio),
        because=f"quote reserves within 2 % {near_usd:,.0f} USD against {claims}: {ratio:.2f}, "
        f"stress from {anchors.calm:g} to {anchors.stress:g}",
    )


class _Outflows(NamedTuple):
    samples: int  # of liquidity that are known
    known: int  # outflows that end in the window
    claim_usd: float  # their quantile; NaN without any


def _outflows(inputs: Inputs, policy: SignalsPolicy) -> _Outflows:
    _, liquidity, quote = inputs.columns
    if inputs.interval_s > policy.bar_s:
        outflow = row_outflow(liquidity, quote, good_s=inputs.good_s, policy=policy)
        return _summed_up(liquidity.values, outflow, policy)
    count, span = policy.bars(policy.onchain.outflow_window_s), policy.bars(policy.onchain.outflow_span_s)
    shares, reserves = (
        inputs.bars(column, count=count + span, policy=policy) for column in (liquidity, quote)
    )
    return shares.once(
        ("outflow", span, policy.onchain.outflow_quantile),
        lambda: _summed_up(shares.close, net_outflow(shares.close, reserves.close, span=span), policy),
        beside=(reserves,),
    )


def _summed_up(shares: FloatArray, outflow: FloatArray, policy: SignalsPolicy) -> _Outflows:
    known = outflow[np.isfinite(outflow)]
    claim_usd = float(np.quantile(known, policy.onchain.outflow_quantile)) if known.size else math.nan
    return _Outflows(int(np.isfinite(shares).sum()), int(known.size), claim_usd)


def row_outflow(liquidity: Column, quote: Column, *, good_s: float, policy: SignalsPolicy) -> FloatArray:
    """Return the outflow that ends with each row of the window, USD; NaN where its start is not known.

    The last rows at or before the start count, if no long hole lies between.
    """
    ends = liquidity.until(good_s).since(good_s - policy.onchain.outflow_window_s)
    starts_s = ends.times_s - policy.onchain.outflow_span_s
    (was, was_s), (usd, usd_s) = (_known_at(column, starts_s) for column in (liquidity, quote))
    usable = (was > 0.0) & (starts_s - np.minimum(was_s, usd_s) <= policy.max_hole_s)
    start = np.where(usable, was, np.nan)
    return np.asarray(np.maximum(1.0 - ends.values / start, 0.0) * usd)


def _known_at(column: Column, at_s: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Return the last known value at or before each time, and its own time; NaN where there is none."""
    known = np.isfinite(column.values)
    values, times_s = (np.append(np.nan, part[known]) for part in (column.values, column.times_s))
    place = np.searchsorted(column.times_s[known], at_s, side="right")
    return values[place], times_s[place]


def net_outflow(shares: FloatArray, reserves_usd: FloatArray, *, span: int) -> FloatArray:
    """Return the USD that left in the ``span`` bars before each bar after the first ``span``; >= 0 or NaN."""
    start = np.where(shares[:-span] > 0.0, shares[:-span], np.nan)
    return np.asarray(np.maximum(1.0 - shares[span:] / start, 0.0) * reserves_usd[:-span])
