"""S5: a stable that left par, by two sources that do not depend on each other."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from bot.model.market import Column, Columns, FloatArray, Metric, SeriesKey
from bot.model.tier import Family, Quality, Reading
from bot.model.units import HOUR_S
from bot.signals.holdings import kind_of
from bot.signals.policy import SignalsPolicy
from bot.signals.reading import (
    Inputs,
    Measured,
    NotYet,
    absent,
    freshness,
    late_after_s,
    read_subject,
    trailing,
)
from bot.signals.samples import as_of, known_rows, sampled

_RANK = {Quality.LIVE: 0, Quality.HELD: 1}  # all else comes last


class PegNow(NamedTuple):
    """How far a stable is from par at one moment, as far as two kinds of sources agree on the side."""

    deviation: float  # fraction, >= 0; NaN when fewer than two kinds are known
    because: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Peg:
    """Deviation from par that two kinds of sources confirm, median of 3 h, per stable.

    Sources are PRICE_USD: feeds, TWAPs, EMA oracles, a venue's price; never a pool's spot. Two are of one
    kind when their names agree before the colon: of each kind the source farthest from par counts, of all
    kinds the second farthest on one side. So no single source moves it, and none can hide what two others
    say. The median is over evenly spaced moments, whatever the rate of reads; a failing source holds its
    last price for as long as any score holds, then it is left out while two other kinds remain.
    """

    id: str = "S5"
    name: str = "peg"
    family: Family = Family.ONCHAIN
    unit: str = "fraction"
    metrics: tuple[Metric, ...] = (Metric.PRICE_USD,)

    def lookback_s(self, policy: SignalsPolicy) -> float:
        # The oldest sample may rest on a price as old as patience allows.
        return policy.onchain.peg_median_s + policy.bar_s + 2 * policy.slack_s

    def read(self, columns: Columns, *, now_s: float, policy: SignalsPolicy) -> tuple[Reading, ...]:
        found = tuple(
            self._read_stable(columns, stable, keys, now_s=now_s, policy=policy)
            for stable in policy.stables
            if (keys := columns.find(Metric.PRICE_USD, stable))
        )
        return found or (absent(self, because="no price of a stable is configured"),)

    def _read_stable(
        self,
        columns: Columns,
        stable: str,
        keys: tuple[SeriesKey, ...],
        *,
        now_s: float,
        policy: SignalsPolicy,
    ) -> Reading:
        kinds = sorted({kind_of(key.source) for key in keys})
        if len(kinds) < 2:
            because = f"{stable} needs two kinds of price sources configured, has one: {kinds[0]}"
            return absent(self, subject=stable, source=kinds[0], because=because)
        sources = [
            _source(columns, key, now_s=now_s, lookback_s=self.lookback_s(policy), policy=policy)
            for key in keys
        ]
        reading = read_subject(
            self,
            _freshest_two(sources),
            columns,
            lambda inputs: _measure(inputs, stable, sources, policy),
            now_s=now_s,
            policy=policy,
        )
        return replace(reading, source="+".join(kinds))


class _Source(NamedTuple):
    key: SeriesKey
    known: Column  # its reads that did not fail
    hold_s: float  # how long its last price stands
    order: tuple[int, float]  # freshest first


def _source(
    columns: Columns, key: SeriesKey, *, now_s: float, lookback_s: float, policy: SignalsPolicy
) -> _Source:
    part = trailing(columns, key, now_s=now_s, lookback_s=lookback_s)
    fresh = freshness(key, part, now_s=now_s, policy=policy)
    order = (_RANK.get(fresh.quality, 2), -fresh.good_s if math.isfinite(fresh.good_s) else math.inf)
    return _Source(key, known_rows(part), fresh.patience_s, order)


def _freshest_two(sources: Sequence[_Source]) -> tuple[SeriesKey, ...]:
    """Return the freshest source of each of the two freshest kinds."""
    best: dict[str, _Source] = {}
    for item in sorted(sources, key=lambda item: (item.order, item.key)):
        best.setdefault(kind_of(item.key.source), item)
    return tuple(item.key for item in list(best.values())[:2])


def _measure(
    inputs: Inputs, stable: str, sources: Sequence[_Source], policy: SignalsPolicy
) -> Measured | NotYet:
    numbers = policy.onchain
    count = int(numbers.peg_median_s // numbers.peg_sample_s)
    moments_s = inputs.good_s - numbers.peg_sample_s * np.arange(count, dtype=np.float64)[::-1]
    gap_s = policy.late_intervals * policy.bar_s
    deviations = _confirmed(
        {
            item.key: sampled(item.known.until(inputs.good_s), moments_s, hold_s=item.hold_s, gap_s=gap_s)
            for item in sources
        }
    )
    known = deviations[np.isfinite(deviations)]
    needed = math.ceil(policy.coverage * count)
    if known.size < needed:
        return _too_few(inputs, int(known.size), needed=needed, policy=policy)
    value, now = float(np.median(known)), float(deviations[-1])
    anchors, hours = numbers.peg, numbers.peg_median_s / HOUR_S
    latest = "unknown" if math.isnan(now) else f"{now:.2%}"
    return Measured(
        value=value,
        score=anchors.score(value),
        because=f"{stable} {value:.2%} from par by two kinds of sources, median of {hours:g} h (now {latest})"
        f", stress from {anchors.calm:.2%} to {anchors.stress:.2%}",
    )


def _too_few(inputs: Inputs, known: int, *, needed: int, policy: SignalsPolicy) -> Measured | NotYet:
    """Return when an unbroken feed will have stood for long enough, or that a source fails too often."""
    first_s = max(float(known_rows(column).times_s[0]) for column in inputs.columns)
    if first_s <= inputs.good_s - policy.onchain.peg_median_s:
        because = (
            f"deviation from par: {known} samples known of a whole window, {needed} needed; "
            "its source fails too often"
        )
        return Measured(value=math.nan, score=math.nan, because=because)
    lacking_s = (needed - known) * policy.onchain.peg_sample_s
    rows = math.ceil(lacking_s / inputs.interval_s)  # it is known again with a row, not between rows
    because = f"deviation from par: {known} samples known, {needed} needed"
    return NotYet(warm_at_s=inputs.good_s + rows * inputs.interval_s, because=because)


def _confirmed(prices: Mapping[SeriesKey, FloatArray]) -> FloatArray:
    """Return at each moment the deviation that two kinds confirm on one side; NaN with fewer than two."""
    sides = []
    for sign in (-1.0, 1.0):
        farthest: dict[str, FloatArray] = {}
        for key, usd in prices.items():
            off = np.where((usd > 0.0) & np.isfinite(usd), np.maximum(sign * (usd - 1.0), 0.0), np.nan)
            kind = kind_of(key.source)
            farthest[kind] = np.fmax(farthest[kind], off) if kind in farthest else off
        sides.append(_second_largest(list(farthest.values())))
    return np.asarray(np.maximum(*sides))


def _second_largest(parts: Sequence[FloatArray]) -> FloatArray:
    ranked = np.sort(np.where(np.isnan(parts), -np.inf, parts), axis=0)
    return np.asarray(np.where(np.isfinite(ranked[-2]), ranked[-2], np.nan))


def peg_now(columns: Columns, stable: str, *, now_s: float, policy: SignalsPolicy) -> PegNow:
    """Return the deviation of this moment, without the median: R2's hard trigger.

    Only prices that are not late count; a kind whose newest reads failed stands with its last one until then.
    """
    lookback_s, at_s = PEG.lookback_s(policy), np.array([now_s])
    prices = {}
    for key in columns.find(Metric.PRICE_USD, stable):
        part = trailing(columns, key, now_s=now_s, lookback_s=lookback_s)
        prices[key] = as_of(known_rows(part), at_s, max_lag_s=late_after_s(key, part, policy=policy))
    known = {key.source: float(usd[0]) for key, usd in prices.items() if 0.0 < usd[0] < math.inf}
    said = ", ".join(f"{source} {usd:.4f}" for source, usd in known.items()) or "no price"
    kinds = {kind_of(source) for source in known}
    if len(kinds) < 2:
        return PegNow(math.nan, f"{stable}: {said}; two kinds of sources are needed, {len(kinds)} known")
    deviation = float(_confirmed(prices)[0])
    return PegNow(deviation, f"{stable}: {said}; two kinds confirm {deviation:.2%} from par")


PEG = Peg()
