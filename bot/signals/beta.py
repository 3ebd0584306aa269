"""S20: how far ETH and BTC move with the stock market."""

import math
from dataclasses import dataclass, replace
from typing import NamedTuple

from bot.model.market import Column, Columns, Metric, SeriesKey
from bot.model.tier import Family, Reading
from bot.model.units import DAY_S, YEAR_DAYS
from bot.quant.bars import Bars
from bot.quant.statistics import PairedReturns, ols, rolling_beta, trading_day_returns, trend
from bot.signals.daily import begun_s
from bot.signals.fundamental_policy import FundamentalPolicy
from bot.signals.policy import SignalsPolicy
from bot.signals.reading import Inputs, Measured, NotYet, absent, absent_metric, read_subject
from bot.signals.subjects import primary

_TRADING_DAYS_A_YEAR = 252
_DAYS_OFF = 4  # a weekend and a holiday or two between now and the next close


@dataclass(frozen=True, slots=True, kw_only=True)
class Beta:
    """CAPM beta by OLS of the asset's returns between the index's closes, 30 days; informs, never votes.

    The asset's price at a close of the index is that of its last closed bar. The beta of 90 days and the
    slope, the trend of the 30-day beta over them as a change in 30 days, are named beside it.
    """

    id: str = "S20"
    name: str = "beta"
    family: Family = Family.FUNDAMENTAL
    unit: str = "beta"
    metrics: tuple[Metric, ...] = (Metric.PRICE_USD, Metric.INDEX_CLOSE)

    def lookback_s(self, policy: SignalsPolicy) -> float:
        numbers = policy.fundamental
        slack_s = max(policy.slack_s, policy.slack_of_s(numbers.intervals.trading_s))
        return numbers.beta_long_window_s + numbers.beta_max_gap_s + numbers.beta_price_age_s + slack_s

    def read(self, columns: Columns, *, now_s: float, policy: SignalsPolicy) -> tuple[Reading, ...]:
        index = primary(columns, Metric.INDEX_CLOSE, policy.fundamental.beta_index)
        found = [primary(columns, Metric.PRICE_USD, asset) for asset in policy.fundamental.beta_assets]
        prices = [key for key in found if key is not None]
        if index is None:
            because = f"no source of {Metric.INDEX_CLOSE} {policy.fundamental.beta_index} is configured"
            readings: tuple[Reading, ...] = (absent(self, because=because),)
        elif not prices:
            readings = absent_metric(self, Metric.PRICE_USD)
        else:
            readings = tuple(
                self._read_asset(columns, key, index, now_s=now_s, policy=policy) for key in prices
            )
        return tuple(replace(reading, informs=True) for reading in readings)

    def _read_asset(
        self, columns: Columns, price: SeriesKey, index: SeriesKey, *, now_s: float, policy: SignalsPolicy
    ) -> Reading:
        return read_subject(
            self,
            (price, index),
            columns,
            lambda inputs: _measure(inputs, policy),
            now_s=now_s,
            policy=policy,
        )


class _Betas(NamedTuple):
    recent: int  # paired returns that are known
    longer: int
    short: float  # slope over each window; NaN where it cannot be told
    long: float
    slope: float  # of the short beta, change in as many trading days


def _measure(inputs: Inputs, policy: SignalsPolicy) -> Measured | NotYet:
    numbers = policy.fundamental
    short_n, long_n = _trading_days(numbers)
    found = _betas(inputs, policy)
    if found.longer < policy.coverage * long_n or found.recent < policy.coverage * short_n:
        return _too_few(found, inputs=inputs, policy=policy)
    if math.isnan(found.short):
        because = f"{numbers.beta_index} did not move over the window: no beta"
        return Measured(value=math.nan, score=math.nan, because=because)
    anchors = numbers.beta
    return Measured(
        value=found.short,
        score=anchors.score(found.short),
        because=f"beta to {numbers.beta_index} {found.short:.2f} over "
        f"{numbers.beta_short_window_s / DAY_S:.0f} days and {found.long:.2f} over "
        f"{numbers.beta_long_window_s / DAY_S:.0f}, {_slope_words(found.slope, short_n)}; "
        f"alert from {anchors.calm:g} to {anchors.stress:g}, no vote",
    )


def _betas(inputs: Inputs, policy: SignalsPolicy) -> _Betas:
    """Return the figures, worked out once for the same closed bars and the same closes of the index."""
    price, index = inputs.columns
    numbers = policy.fundamental
    span_s = numbers.beta_long_window_s + numbers.beta_max_gap_s + numbers.beta_price_age_s
    bars = inputs.bars(price, count=policy.bars(span_s), policy=policy)
    start_s = inputs.good_s - numbers.beta_long_window_s - numbers.beta_max_gap_s
    closes = index.until(bars.end_s).since(start_s)
    ends_s = (float(closes.times_s[0]), float(closes.times_s[-1])) if closes.times_s.size else ()
    version = ("beta", numbers, policy.coverage, closes.times_s.size, ends_s)
    return bars.once(version, lambda: _figures(bars, closes, policy))


def _figures(bars: Bars, closes: Column, policy: SignalsPolicy) -> _Betas:
    numbers, coverage = policy.fundamental, policy.coverage
    paired = trading_day_returns(
        closes.times_s,
        closes.values,
        bars.times_s + bars.bar_s,
        bars.close,
        max_gap_s=numbers.beta_max_gap_s,
        max_age_s=numbers.beta_price_age_s,
    )
    newest_s = float(paired.times_s[-1]) if paired.times_s.size else math.nan
    recent = _since(paired, newest_s - numbers.beta_short_window_s)
    longer = _since(paired, newest_s - numbers.beta_long_window_s)
    short, long = (
        ols(part.index_returns, part.asset_returns, coverage=coverage) for part in (recent, longer)
    )
    window, _ = _trading_days(numbers)
    rolled = rolling_beta(longer.index_returns, longer.asset_returns, window=window, coverage=coverage)
    slope = trend(rolled[window - 1 :], coverage=coverage).slope * window
    return _Betas(short.pairs, long.pairs, short.slope, long.slope, slope)


def _slope_words(slope: float, days: int) -> str:
    if math.isnan(slope):
        return "its slope is unknown"
    word = "rising" if slope > 0.0 else "not rising"
    return f"{word} by {slope:+.2f} in {days} trading days"


def _trading_days(numbers: FundamentalPolicy) -> tuple[int, int]:
    """Return how many closes the short and the long window have."""
    spans_s = numbers.beta_short_window_s, numbers.beta_long_window_s
    short, long = (round(span_s / DAY_S * _TRADING_DAYS_A_YEAR / YEAR_DAYS) for span_s in spans_s)
    return max(short, 3), max(long, 3)


def _since(paired: PairedReturns, start_s: float) -> PairedReturns:
    part = paired.times_s > start_s
    return PairedReturns(paired.times_s[part], paired.index_returns[part], paired.asset_returns[part])


def _too_few(found: _Betas, *, inputs: Inputs, policy: SignalsPolicy) -> Measured | NotYet:
    numbers = policy.fundamental
    recent, longer = (math.ceil(policy.coverage * days) for days in _trading_days(numbers))
    what = (
        f"beta: {found.longer} closes paired over the long window, {longer} needed; "
        f"{found.recent} over the short one, {recent} needed"
    )
    begun = max(begun_s(column, max_hole_s=numbers.max_hole_s) for column in inputs.columns)
    if begun <= inputs.good_s - numbers.beta_long_window_s + numbers.beta_max_gap_s:
        because = f"{what}; its source fails too often"
        return Measured(value=math.nan, score=math.nan, because=because)
    lacking = max(longer - found.longer, recent - found.recent, 1)
    days = math.ceil(lacking * YEAR_DAYS / _TRADING_DAYS_A_YEAR) + _DAYS_OFF
    return NotYet(warm_at_s=inputs.now_s + days * DAY_S, because=what)
