"""S6: a stable that moves against the other stables."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from bot.model.market import Columns, FloatArray, Metric, SeriesKey
from bot.model.tier import Family, Reading
from bot.model.units import DAY_S, HOUR_S
from bot.quant.bars import Bars
from bot.quant.volatility import log_returns
from bot.signals.onchain_policy import OnchainPolicy, numbers_of
from bot.signals.policy import SignalsPolicy
from bot.signals.reading import (
    Inputs,
    Measured,
    NotYet,
    absent,
    freshness,
    read_subject,
    too_few,
    trailing,
)
from bot.signals.subjects import primary


@dataclass(frozen=True, slots=True, kw_only=True)
class Reer:
    """24 h volatility of a stable's effective rate / the median of its 24 h volatilities of 30 days.

    The effective rate is the price against the geometric mean of the other stables, weighted by trade (the
    form of the BIS effective exchange rates, Klau and Fung 2006). All are dollars, so there is one price
    level and the nominal rate is the real one. Bar returns of the basket are over the members known in
    both bars, weights made to sum to 1: a member that fails makes no jump. The norm has a floor, so that
    rounding of quiet feeds is no stress.
    """

    id: str = "S6"
    name: str = "reer"
    family: Family = Family.ONCHAIN
    unit: str = "ratio"
    metrics: tuple[Metric, ...] = (Metric.PRICE_USD,)

    def lookback_s(self, policy: SignalsPolicy) -> float:
        return policy.onchain.reer_window_s + 2 * policy.bar_s + policy.slack_s

    def read(self, columns: Columns, *, now_s: float, policy: SignalsPolicy) -> tuple[Reading, ...]:
        weights = numbers_of("reer_weights", policy.onchain.reer_weights, low=0.0, high=math.inf)
        found = {stable: primary(columns, Metric.PRICE_USD, stable) for stable in policy.stables}
        prices = {stable: key for stable, key in found.items() if key is not None}
        readings = tuple(
            self._read_stable(columns, stable, prices, weights, now_s=now_s, policy=policy)
            for stable in prices
        )
        return readings or (absent(self, because="no price of a stable is configured"),)

    def _read_stable(
        self,
        columns: Columns,
        stable: str,
        prices: Mapping[str, SeriesKey],
        weights: Mapping[str, float],
        *,
        now_s: float,
        policy: SignalsPolicy,
    ) -> Reading:
        own = prices[stable]
        basket = {key: weights[other] for other, key in prices.items() if _is_other(other, stable, weights)}
        if not basket:
            because = f"no price of another stable with a weight is configured against {stable}"
            return absent(self, subject=stable, source=own.source, because=because)
        lookback_s = self.lookback_s(policy)
        freshest = _freshest(columns, basket, now_s=now_s, lookback_s=lookback_s, policy=policy)
        rest = [key for key in basket if key != freshest]

        def measure(inputs: Inputs) -> Measured | NotYet:
            others = [inputs.columns[1]]
            others += [trailing(columns, key, now_s=now_s, lookback_s=lookback_s) for key in rest]
            count = policy.bars(policy.onchain.reer_window_s) + 1
            own_bars, *bars = (
                inputs.bars(column, count=count, policy=policy) for column in (inputs.columns[0], *others)
            )
            parts = [basket[key] for key in (freshest, *rest)]
            return _measure(inputs, stable, own_bars, bars, parts, policy)

        return read_subject(self, (own, freshest), columns, measure, now_s=now_s, policy=policy)


def _is_other(other: str, stable: str, weights: Mapping[str, float]) -> bool:
    return other != stable and weights.get(other, 0.0) > 0.0


def _freshest(
    columns: Columns,
    basket: Mapping[SeriesKey, float],
    *,
    now_s: float,
    lookback_s: float,
    policy: SignalsPolicy,
) -> SeriesKey:
    """Return the member that was read last, the heavier of two: the basket stands while one member does."""

    def order(key: SeriesKey) -> tuple[float, float, SeriesKey]:
        part = trailing(columns, key, now_s=now_s, lookback_s=lookback_s)
        good_s = freshness(key, part, now_s=now_s, policy=policy).good_s
        return (-good_s if math.isfinite(good_s) else math.inf, -basket[key], key)

    return min(basket, key=order)


def _measure(
    inputs: Inputs,
    stable: str,
    own: Bars,
    others: Sequence[Bars],
    weights: Sequence[float],
    policy: SignalsPolicy,
) -> Measured | NotYet:
    numbers = policy.onchain
    span, count = policy.bars(numbers.reer_span_s), policy.bars(numbers.reer_window_s)
    what = ("reer", span, policy.coverage, tuple(weights))

    def measured() -> tuple[int, float, float]:
        returns = effective_returns(own.close, [bars.close for bars in others], weights)
        vols = rolling_vols(returns, span=span, coverage=policy.coverage)
        known = vols[np.isfinite(vols)]
        norm = float(np.median(known)) if known.size else math.nan
        return int(np.isfinite(returns).sum()), float(vols[-1]), norm

    known, vol, norm = own.once(what, measured, beside=tuple(others))
    needed = policy.coverage * count
    if known < needed:
        return too_few(
            known,
            needed=needed,
            window_s=numbers.reer_window_s,
            inputs=inputs,
            policy=policy,
            what="effective rate",
        )
    if math.isnan(vol) or math.isnan(norm):
        because = f"effective rate of {stable}: under {policy.coverage:.0%} of the last {span} bars are known"
        return Measured(value=math.nan, score=math.nan, because=because)
    return _against_norm(stable, vol, norm, count=len(others), numbers=numbers)


def _against_norm(stable: str, vol: float, norm: float, *, count: int, numbers: OnchainPolicy) -> Measured:
    """Return how far the vol of an effective rate against ``count`` stables is over its norm, floored."""
    ratio = vol / max(norm, numbers.reer_min_vol)
    anchors = numbers.reer
    floored = f", floored at {numbers.reer_min_vol:.3%}" if norm < numbers.reer_min_vol else ""
    return Measured(
        value=ratio,
        score=anchors.score(ratio),
        because=f"effective rate of {stable} against {count} stables: vol {vol:.3%} in "
        f"{numbers.reer_span_s / HOUR_S:.0f} h against {norm:.3%}{floored} over "
        f"{numbers.reer_window_s / DAY_S:.0f} days: {ratio:.2f}, "
        f"stress from {anchors.calm:g} to {anchors.stress:g}",
    )


def effective_returns(own: FloatArray, others: Sequence[FloatArray], weights: Sequence[float]) -> FloatArray:
    """Return the log return of each bar against the basket; one shorter than the closes, NaN unknown."""
    parts = np.array([log_returns(close)[1:] for close in others])
    known = np.isfinite(parts)
    weight = np.asarray(weights, dtype=np.float64)[:, np.newaxis] * known
    total = weight.sum(axis=0)
    basket = (weight * np.where(known, parts, 0.0)).sum(axis=0)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(log_returns(own)[1:] - np.where(total > 0.0, basket / total, np.nan))


def rolling_vols(returns: FloatArray, *, span: int, coverage: float) -> FloatArray:
    """Return the zero-mean vol over each ``span`` bars that end in the window, scaled to the span.

    NaN where fewer than ``coverage`` of them are known.
    """
    if returns.size < span:
        return np.full(1, math.nan)
    windows = np.lib.stride_tricks.sliding_window_view(returns, span)
    known = np.isfinite(windows)
    count = known.sum(axis=1)
    squares = np.where(known, windows, 0.0) ** 2
    enough = (count >= coverage * span) & (count > 0)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(np.where(enough, np.sqrt(squares.sum(axis=1) / count * span), np.nan))
