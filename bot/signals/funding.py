"""S10: perpetual funding that left its habit, in either direction."""

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from bot.model.market import Columns, FloatArray, Metric
from bot.model.tier import Family, Reading
from bot.model.units import DAY_S
from bot.signals.policy import SignalsPolicy
from bot.signals.reading import Inputs, Measured, NotYet, absent_metric, no_last_bar, read_subject, too_few


@dataclass(frozen=True, slots=True, kw_only=True)
class Funding:
    """Z-score of annualised funding over the 30 days that end with it, per source; both signs score.

    Closed bars; a source slower than a bar (8-hourly settlements) is taken observation by observation, each
    counting for its own interval. Sigma is the population deviation, floored so that a funding that never
    moved does not turn a trifle into stress.
    """

    id: str = "S10"
    name: str = "funding"
    family: Family = Family.TECHNICAL
    unit: str = "sigma"
    metrics: tuple[Metric, ...] = (Metric.FUNDING_APR,)

    def lookback_s(self, policy: SignalsPolicy) -> float:
        return policy.technical.funding_window_s + policy.bar_s + policy.slack_s

    def read(self, columns: Columns, *, now_s: float, policy: SignalsPolicy) -> tuple[Reading, ...]:
        keys = columns.find(Metric.FUNDING_APR)
        if not keys:
            return absent_metric(self, Metric.FUNDING_APR)
        return tuple(
            read_subject(
                self, (key,), columns, lambda inputs: _measure(inputs, policy), now_s=now_s, policy=policy
            )
            for key in keys
        )


def _measure(inputs: Inputs, policy: SignalsPolicy) -> Measured | NotYet:
    seen, count = _samples(inputs, policy)
    needed = policy.coverage * count
    if seen.known < needed:
        return too_few(
            seen.known,
            needed=needed,
            window_s=policy.technical.funding_window_s,
            inputs=inputs,
            policy=policy,
            what="funding mean",
        )
    if math.isnan(seen.latest):
        return no_last_bar("funding")
    mean, latest, sigma = seen.mean, seen.latest, max(seen.deviation, policy.technical.funding_min_sigma)
    if not math.isfinite(sigma):
        because = f"a funding of {seen.largest:g} a year is in the window: no rate is that large"
        return Measured(value=math.nan, score=math.nan, because=because)
    z = (latest - mean) / sigma
    anchors, share = policy.technical.funding, min(seen.known / count, 1.0)
    return Measured(
        value=z,
        score=anchors.score(abs(z)),
        because=f"funding {latest:+.1%} a year against {mean:+.1%} +- {sigma:.1%} over "
        f"{policy.technical.funding_window_s / DAY_S:.0f} days ({share:.0%} known): {z:+.1f} sigma, "
        f"stress from {anchors.calm:g} to {anchors.stress:g} either way",
    )


class _Samples(NamedTuple):
    """The samples of a window; all but ``known`` and ``latest`` are NaN where none is known."""

    known: int
    latest: float
    mean: float
    deviation: float
    largest: float  # without its sign


def _samples(inputs: Inputs, policy: SignalsPolicy) -> tuple[_Samples, int]:
    """Return what the samples of the window say, and how many a full window has."""
    (funding,) = inputs.columns
    window_s = policy.technical.funding_window_s
    if inputs.interval_s <= policy.bar_s:
        count = policy.bars(window_s)
        bars = inputs.held_bars(funding, count=count, policy=policy)
        return bars.once("funding", lambda: _summed_up(bars.close)), count

    def of_rows() -> _Samples:
        return _summed_up(funding.until(inputs.good_s).since(inputs.good_s - window_s).values)

    return inputs.once(("funding of rows", window_s), of_rows), inputs.expected(window_s, policy)


def _summed_up(samples: FloatArray) -> _Samples:
    known = samples[np.isfinite(samples)]
    if not known.size:
        return _Samples(0, math.nan, math.nan, math.nan, math.nan)
    with np.errstate(over="ignore", invalid="ignore"):  # absurd rates: told as unknown
        mean, deviation = float(known.mean()), float(known.std())
    return _Samples(int(known.size), float(samples[-1]), mean, deviation, float(np.abs(known).max()))
