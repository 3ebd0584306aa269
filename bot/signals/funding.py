"""S10: perpetual funding that left its habit, in either direction."""

import math
from dataclasses import dataclass

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
    samples, count = _samples(inputs, policy)
    known = samples[np.isfinite(samples)]
    needed = policy.coverage * count
    if known.size < needed:
        return too_few(
            int(known.size),
            needed=needed,
            window_s=policy.technical.funding_window_s,
            inputs=inputs,
            policy=policy,
            what="funding mean",
        )
    if math.isnan(samples[-1]):
        return no_last_bar("funding")
    with np.errstate(over="ignore", invalid="ignore"):  # absurd rates: told as unknown below
        mean, latest = float(known.mean()), float(samples[-1])
        sigma = max(float(known.std()), policy.technical.funding_min_sigma)
    if not math.isfinite(sigma):
        because = f"a funding of {np.abs(known).max():g} a year is in the window: no rate is that large"
        return Measured(value=math.nan, score=math.nan, because=because)
    z = (latest - mean) / sigma
    anchors, share = policy.technical.funding, min(known.size / count, 1.0)
    return Measured(
        value=z,
        score=anchors.score(abs(z)),
        because=f"funding {latest:+.1%} a year against {mean:+.1%} +- {sigma:.1%} over "
        f"{policy.technical.funding_window_s / DAY_S:.0f} days ({share:.0%} known): {z:+.1f} sigma, "
        f"stress from {anchors.calm:g} to {anchors.stress:g} either way",
    )


def _samples(inputs: Inputs, policy: SignalsPolicy) -> tuple[FloatArray, int]:
    """Return the samples of the window, newest last, and how many a full window has."""
    (funding,) = inputs.columns
    if inputs.interval_s <= policy.bar_s:
        count = policy.bars(policy.technical.funding_window_s)
        return inputs.held_bars(funding, count=count, policy=policy).close, count
    rows = funding.until(inputs.good_s).since(inputs.good_s - policy.technical.funding_window_s)
    return rows.values, inputs.expected(policy.technical.funding_window_s, policy)
