"""S18: what the market pays for a protocol's fees and revenue, against its habit."""

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from bot.model.market import Column, Columns, FloatArray, Metric, SeriesKey
from bot.model.tier import Family, Quality, Reading
from bot.model.units import DAY_S, YEAR_DAYS
from bot.quant.cash_flows import dividend_discount_value
from bot.signals.daily import too_few_days, trailing_mean
from bot.signals.policy import SignalsPolicy
from bot.signals.reading import Inputs, Measured, NotYet, absent, absent_metric, read_subject, value_at

_KINDS = {Metric.FEES_USD_1D: "price to fees", Metric.REVENUE_USD_1D: "price to earnings"}


@dataclass(frozen=True, slots=True, kw_only=True)
class PriceToCashFlow:
    """Market value / annualised fees over the median of that ratio over 180 days; likewise for revenue.

    The subject is the token: one reading for the fees of its protocol (price to cash flow) and one for the
    revenue (P/E, source with "/revenue"), where both that and a market value are configured. A day's flow is
    the mean of the 7 days that end with it. The 30-day shift of the market value, and for tokens that pay
    out the price over the dividend-discount value, are named beside the number and do not score.
    """

    id: str = "S18"
    name: str = "price_to_cash_flow"
    family: Family = Family.FUNDAMENTAL
    unit: str = "ratio"
    metrics: tuple[Metric, ...] = (Metric.MARKET_CAP_USD, Metric.FEES_USD_1D, Metric.REVENUE_USD_1D)

    def lookback_s(self, policy: SignalsPolicy) -> float:
        numbers = policy.fundamental
        slack_s = policy.slack_of_s(numbers.intervals.daily_s)
        return numbers.value_window_s + numbers.fees_span_s + 2 * DAY_S + slack_s

    def read(self, columns: Columns, *, now_s: float, policy: SignalsPolicy) -> tuple[Reading, ...]:
        caps = columns.find(Metric.MARKET_CAP_USD)
        if not caps:
            return absent_metric(self, Metric.MARKET_CAP_USD)
        return tuple(
            reading for cap in caps for reading in self._read_token(columns, cap, now_s=now_s, policy=policy)
        )

    def _read_token(
        self, columns: Columns, cap: SeriesKey, *, now_s: float, policy: SignalsPolicy
    ) -> list[Reading]:
        flows = flows_of(columns, cap, policy)
        if not flows:
            because = f"no source of fees or revenue of {cap.subject} is configured; [signals.fundamental] "
            because += "protocols names whose they are"
            return [absent(self, subject=cap.subject, source=cap.source, because=because)]
        return [self._read_flow(columns, flow, cap, now_s=now_s, policy=policy) for flow in flows]

    def _read_flow(
        self, columns: Columns, flow: SeriesKey, cap: SeriesKey, *, now_s: float, policy: SignalsPolicy
    ) -> Reading:
        def measure(inputs: Inputs) -> Measured | NotYet:
            return _measure(inputs, flow.metric, cap.subject, policy)

        reading = read_subject(self, (cap, flow), columns, measure, now_s=now_s, policy=policy)
        if flow.metric is Metric.FEES_USD_1D:
            return reading
        return replace(reading, source=f"{cap.source}/revenue")


def under_median(readings: Iterable[Reading]) -> bool | None:
    """Return whether any S18 among ``readings`` lies under its median (R5); None when none can be read."""
    mine = [item for item in readings if item.signal == "S18" and item.quality is not Quality.ABSENT]
    counted = [item.value < 1.0 for item in mine if item.counts]
    return any(counted) if counted else None


def flows_of(columns: Columns, cap: SeriesKey, policy: SignalsPolicy) -> tuple[SeriesKey, ...]:
    """Return the fees and the revenue that stand behind a token, of the first protocol that has a source.

    A series from the source of the market value is preferred.
    """
    for protocol in policy.fundamental.protocols_of(cap.subject):
        found = [_nearest(columns.find(metric, protocol), cap.source) for metric in _KINDS]
        flows = tuple(key for key in found if key is not None)
        if flows:
            return flows
    return ()


def _nearest(keys: tuple[SeriesKey, ...], source: str) -> SeriesKey | None:
    return next((key for key in keys if key.source == source), keys[0] if keys else None)


class _Now(NamedTuple):
    cap_usd: float
    yearly_usd: float  # the flow of a year at the pace of the last days; NaN where too few are known


def _measure(inputs: Inputs, metric: Metric, token: str, policy: SignalsPolicy) -> Measured | NotYet:
    numbers, kind = policy.fundamental, _KINDS[metric]
    count = int(numbers.value_window_s // DAY_S)
    past = _past_ratios(inputs, count=count, policy=policy)
    known = past[np.isfinite(past)]
    if known.size < policy.coverage * count:
        return too_few_days(
            int(known.size),
            needed=policy.coverage * count,
            lead_s=numbers.fees_span_s,
            window_s=numbers.value_window_s,
            inputs=inputs,
            max_hole_s=numbers.max_hole_s,
            what=f"{kind} of {token}",
        )
    now, middle = _now(inputs, policy), float(np.median(known))
    if not now.yearly_usd > 0.0:
        because = f"{kind} of {token}: no {metric.partition('_')[0]} of the last days to price"
        return Measured(value=math.nan, score=math.nan, because=because)
    ratio, anchors = now.cap_usd / now.yearly_usd / middle, numbers.price_to_cash_flow
    return Measured(
        value=ratio,
        score=anchors.score(ratio),
        because=f"{kind} of {token} {now.cap_usd / now.yearly_usd:,.1f} against a median of {middle:,.1f} "
        f"over {count} days ({known.size / count:.0%} known): {ratio:.2f}, stress from {anchors.calm:g} to "
        f"{anchors.stress:g}; {'; '.join(_asides(inputs, now, metric, token, policy))}",
    )


def _past_ratios(inputs: Inputs, *, count: int, policy: SignalsPolicy) -> FloatArray:
    """Return market value over annualised flow at each of the last ``count`` daily closes; NaN unknown."""
    span = int(policy.fundamental.fees_span_s // DAY_S)
    cap, flow = (
        inputs.bars(column, count=count + span - 1, policy=policy, bar_s=DAY_S).close
        for column in inputs.columns
    )
    yearly = YEAR_DAYS * trailing_mean(flow, span=span, coverage=policy.coverage)
    return cap[span - 1 :] / np.where(yearly > 0.0, yearly, np.nan)


def _now(inputs: Inputs, policy: SignalsPolicy) -> _Now:
    cap, flow = inputs.columns
    span_s = policy.fundamental.fees_span_s
    last = flow.last_known()
    recent = flow.since(float(flow.times_s[last]) - span_s + DAY_S / 2)
    known = recent.values[np.isfinite(recent.values)]
    enough = known.size >= policy.coverage * (span_s // DAY_S)
    yearly_usd = YEAR_DAYS * float(known.mean()) if enough else math.nan
    return _Now(float(cap.values[cap.last_known()]), yearly_usd)


def _asides(inputs: Inputs, now: _Now, metric: Metric, token: str, policy: SignalsPolicy) -> list[str]:
    days = policy.fundamental.cap_shift_window_s / DAY_S
    shift = cap_shift(
        inputs.columns[0], span_s=policy.fundamental.cap_shift_window_s, max_age_s=policy.max_hole_s
    )
    moved = "unknown" if math.isnan(shift) else f"{shift:+.1%}"
    said = [f"market value {now.cap_usd / 1e6:,.0f} M USD, over {days:.0f} days {moved}"]
    dividends = policy.fundamental.dividends
    if metric is Metric.REVENUE_USD_1D and token in dividends.shares:
        worth = dividend_discount_value(
            earnings=now.yearly_usd,
            payout=dividends.shares[token],
            growth=dividends.growth,
            rate=dividends.rate,
        )
        over = worth.because or f"{now.cap_usd / worth.value:.2f}"
        said.append(f"price over dividend-discount value {over}")
    return said


def cap_shift(cap: Column, *, span_s: float, max_age_s: float) -> float:
    """Return the last known market value over that of ``span_s`` before it, - 1 (S18).

    NaN when none is known then or at most ``max_age_s`` earlier.
    """
    last = cap.last_known()
    if last < 0:
        return math.nan
    then_s = float(cap.times_s[last]) - span_s
    before = value_at(cap.since(then_s - max_age_s), then_s)
    return float(cap.values[last]) / before - 1.0 if before > 0.0 else math.nan
