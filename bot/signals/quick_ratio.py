"""S2: liquid reserves against what providers withdraw in a day."""

import math
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from bot.model.market import Column, Columns, FloatArray, Metric, SeriesKey
from bot.model.tier import Family, Reading
from bot.signals.holdings import Holding, held_tokens, holdings, supplied, token_of
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
from bot.signals.treasury import read_treasuries


@dataclass(frozen=True, slots=True, kw_only=True)
class QuickRatio:
    """Liquid reserves / P95 over 30 days of the 24 h net outflow, per pool, vault and lending market.

    Pool: quote reserves within 2 % of price against what left. Vault or market: what can be withdrawn at once
    against what its depositors withdrew. Treasury: stables, at par at most, and native coins against the
    obligations of 30 days that the policy states; without them there is no such reading.

    Outflow at a closed bar: the share of liquidity that left in the 24 h before it, times the quote reserves
    at their start; an inflow counts 0. A source slower than a bar is taken row by row, its 24 h starting at
    the last row at or before their start. The P95 is floored at a small share of the quote reserves of today,
    so that a pool nobody left reads calm with a number instead of infinity.

    A pool with liquidity at all prices (x y = k) has 1 % of its quote within 2 % of price, whatever happens:
    2 would be a pool whose worst days take half a percent. The policy has own anchors for these.
    """

    id: str = "S2"
    name: str = "quick_ratio"
    family: Family = Family.ONCHAIN
    unit: str = "ratio"
    metrics: tuple[Metric, ...] = (
        Metric.POOL_QUOTE_NEAR_USD,
        Metric.POOL_LIQUIDITY,
        Metric.POOL_QUOTE_USD,
        Metric.IDLE_UNITS,
        Metric.TOKEN_UNITS,
        Metric.UTILISATION,
        Metric.PRICE_USD,
    )

    def lookback_s(self, policy: SignalsPolicy) -> float:
        return policy.onchain.outflow_window_s + policy.onchain.outflow_span_s + policy.bar_s + policy.slack_s

    def read(self, columns: Columns, *, now_s: float, policy: SignalsPolicy) -> tuple[Reading, ...]:
        pools = dict.fromkeys(key.subject for key in columns.find(self.metrics[0]))
        found = [self._read_pool(columns, subject, now_s=now_s, policy=policy) for subject in pools]
        found += [
            self._read_vault(columns, idle, now_s=now_s, policy=policy)
            for idle in columns.find(Metric.IDLE_UNITS)
        ]
        found += read_treasuries(self, columns, now_s=now_s, policy=policy)
        return tuple(found) or absent_metric(self, self.metrics[0])

    def _read_pool(self, columns: Columns, subject: str, *, now_s: float, policy: SignalsPolicy) -> Reading:
        found = {metric: primary(columns, metric, subject) for metric in _POOL_METRICS}
        keys = tuple(key for key in found.values() if key is not None)
        if len(keys) < len(found):
            lacking = ", ".join(metric for metric, key in found.items() if key is None)
            return absent(
                self, subject=subject, because=f"no source of {lacking} is configured for {subject}"
            )
        return read_subject(
            self,
            keys,
            columns,
            lambda inputs: _measure(inputs, inputs.columns, policy, _POOL),
            now_s=now_s,
            policy=policy,
        )

    def _read_vault(
        self, columns: Columns, idle: SeriesKey, *, now_s: float, policy: SignalsPolicy
    ) -> Reading:
        (vault,) = holdings([idle]) or (Holding(label=idle.subject, source=idle.source, keys=(idle,)),)
        units = next((key for key in held_tokens(columns, policy) if key.subject == idle.subject), None)
        lent = SeriesKey(Metric.UTILISATION, idle.subject, idle.source)
        words = _Words(near=f"idle {token_of(idle)}", claim="withdrawals", unit=token_of(idle))

        def measure(inputs: Inputs) -> Measured | NotYet:
            near, amount = inputs.columns
            if units is None:
                amount = supplied(near, amount, max_lag_s=inputs.patience_s)
            return _measure(inputs, (near, amount, amount), policy, words)

        if units is None and lent not in columns.series:
            reading = absent(
                self, because=f"no amounts of {idle.subject} are configured: its withdrawals are unknown"
            )
        else:
            reading = read_subject(self, (idle, units or lent), columns, measure, now_s=now_s, policy=policy)
        return replace(reading, subject=vault.label, source=vault.reading_source)


# Within 2 % of price lies 1 - sqrt(0.98) or sqrt(1.02) - 1 of the quote of x y = k.
_FULL_RANGE = (0.0095, 0.0105)
_POOL_METRICS = (Metric.POOL_QUOTE_NEAR_USD, Metric.POOL_LIQUIDITY, Metric.POOL_QUOTE_USD)


class _Words(NamedTuple):
    near: str
    claim: str
    unit: str


_POOL = _Words(near="quote reserves within 2 %", claim="outflow", unit="USD")


def _measure(
    inputs: Inputs, columns: tuple[Column, ...], policy: SignalsPolicy, words: _Words
) -> Measured | NotYet:
    near, amount, reserve = columns
    found = _outflows(inputs, amount, reserve, policy)
    needed = policy.coverage * inputs.expected(policy.onchain.outflow_window_s, policy)
    if found.known < needed:
        span = inputs.expected(policy.onchain.outflow_span_s, policy)  # the first outflow ends so much later
        return too_few(
            found.known + min(found.samples, span),
            needed=needed + span,
            window_s=policy.onchain.outflow_window_s + policy.onchain.outflow_span_s,
            inputs=inputs,
            policy=policy,
            what=f"24 h {words.claim}",
        )
    return _ratio(value_at(near, inputs.good_s), found.claim, value_at(reserve, inputs.good_s), policy, words)


def _ratio(near: float, claim: float, reserve: float, policy: SignalsPolicy, words: _Words) -> Measured:
    """Score ``near`` against the claim, both in the unit of ``words``."""
    floor = policy.onchain.outflow_floor * reserve
    digits = 0 if words is _POOL else 2  # of a USD, or of a token
    quantile = f"P{100 * policy.onchain.outflow_quantile:.0f} 24 h {words.claim}"
    claims = f"{quantile} {claim:,.{digits}f} {words.unit}"
    if claim < floor:
        claims += f", floored at {floor:,.{digits}f}"
    divisor = max(claim, floor)
    ratio = near / divisor if divisor > 0.0 else 0.0  # no reserves at all is no cover at all
    anchors = policy.onchain.quick_ratio
    if words is _POOL and _FULL_RANGE[0] * reserve <= near <= _FULL_RANGE[1] * reserve:
        anchors = policy.onchain.full_range_quick_ratio
    return Measured(
        value=ratio,
        score=anchors.score(ratio),
        because=f"{words.near} {near:,.{digits}f} {words.unit} against {claims}: {ratio:.2f}, "
        f"stress from {anchors.calm:g} to {anchors.stress:g}",
    )


class _Outflows(NamedTuple):
    samples: int  # of liquidity that are known
    known: int  # outflows that end in the window
    claim: float  # their quantile, in the unit of the reserves; NaN without any


def _outflows(inputs: Inputs, liquidity: Column, quote: Column, policy: SignalsPolicy) -> _Outflows:
    if inputs.interval_s > policy.bar_s:

        def of_rows() -> _Outflows:
            outflow = row_outflow(liquidity, quote, good_s=inputs.good_s, policy=policy)
            return _summed_up(liquidity.values, outflow, policy)

        return inputs.once(("outflows of rows", policy.onchain, policy.max_hole_s), of_rows)
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
    claim = float(np.quantile(known, policy.onchain.outflow_quantile)) if known.size else math.nan
    return _Outflows(int(np.isfinite(shares).sum()), int(known.size), claim)


def row_outflow(liquidity: Column, quote: Column, *, good_s: float, policy: SignalsPolicy) -> FloatArray:
    """Return the outflow that ends with each row of the window, USD; NaN where its start is not known.

    The last rows at or before the start count, if no long hole lies between.
    """
    ends = liquidity.until(good_s).since(good_s - policy.onchain.outflow_window_s)
    starts_s = ends.times_s - policy.onchain.outflow_span_s
    (was, was_s), (usd, usd_s) = (_known_at(column, starts_s) for column in (liquidity, quote))
    usable = (was > 0.0) & (starts_s - np.minimum(was_s, usd_s) <= policy.max_hole_s)
    start = np.where(usable, was, np.nan)
    return _left(ends.values, start, usd)


def _known_at(column: Column, at_s: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Return the last known value at or before each time, and its own time; NaN where there is none."""
    known = np.isfinite(column.values)
    values, times_s = (np.append(np.nan, part[known]) for part in (column.values, column.times_s))
    place = np.searchsorted(column.times_s[known], at_s, side="right")
    return values[place], times_s[place]


def net_outflow(shares: FloatArray, reserves_usd: FloatArray, *, span: int) -> FloatArray:
    """Return the USD that left in the ``span`` bars before each bar after the first ``span``; >= 0 or NaN."""
    start = np.where(shares[:-span] > 0.0, shares[:-span], np.nan)
    return _left(shares[span:], start, reserves_usd[:-span])


def _left(end: FloatArray, start: FloatArray, reserves: FloatArray) -> FloatArray:
    """Return the share that left, of the reserves; absurd amounts overflow to infinity or NaN, silently."""
    with np.errstate(over="ignore", invalid="ignore"):
        return np.asarray(np.maximum(1.0 - end / start, 0.0) * reserves)
