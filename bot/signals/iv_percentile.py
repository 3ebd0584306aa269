"""S12: today's implied vol among that of the last quarter."""

import math
from dataclasses import dataclass

from bot.model.market import Columns, Metric, SeriesKey
from bot.model.tier import Family, Reading
from bot.model.units import DAY_S
from bot.quant.statistics import rank_percentile
from bot.signals.policy import SignalsPolicy
from bot.signals.reading import (
    Inputs,
    Measured,
    NotYet,
    absent_metric,
    no_last_bar,
    read_subject,
    too_few,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class IvPercentile:
    """Rank of the 30-day at-the-money IV among the other bars of its last 90 days, 0 to 1; ties half.

    One reading per source. A vol index (DVOL) is a second source of another kind: model-free, over all
    strikes. Late by nature: the rank is high when the move is under way, so it never votes alone. ``value``
    is the rank that R5 compares with 0.70; R13 scales by the score.
    """

    id: str = "S12"
    name: str = "iv_percentile"
    family: Family = Family.TECHNICAL
    unit: str = "rank"
    metrics: tuple[Metric, ...] = (Metric.IV_30D, Metric.VOL_INDEX)

    def lookback_s(self, policy: SignalsPolicy) -> float:
        return policy.technical.iv_window_s + 2 * policy.bar_s + policy.slack_s

    def read(self, columns: Columns, *, now_s: float, policy: SignalsPolicy) -> tuple[Reading, ...]:
        keys = iv_keys(columns)
        if not keys:
            return absent_metric(self, Metric.IV_30D)
        return tuple(
            read_subject(
                self, (key,), columns, lambda inputs: _measure(inputs, policy), now_s=now_s, policy=policy
            )
            for key in keys
        )


def iv_keys(columns: Columns, subject: str | None = None) -> tuple[SeriesKey, ...]:
    """Return the series of 30-day implied vol, options first, then indices."""
    return (*columns.find(Metric.IV_30D, subject), *columns.find(Metric.VOL_INDEX, subject))


def _measure(inputs: Inputs, policy: SignalsPolicy) -> Measured | NotYet:
    (column,) = inputs.columns
    window_s = policy.technical.iv_window_s
    bars = inputs.held_bars(column, count=policy.bars(window_s), policy=policy)
    known = bars.known
    count = inputs.expected(window_s, policy)
    needed = policy.coverage * count
    if known < needed:
        return too_few(known, needed=needed, window_s=window_s, inputs=inputs, policy=policy, what="IV rank")
    latest = float(bars.close[-1])
    if math.isnan(latest):
        return no_last_bar("implied vol")
    if not latest > 0.0:
        return Measured(value=math.nan, score=math.nan, because=f"an implied vol of {latest:g} is not a vol")
    rank = bars.once("rank", lambda: rank_percentile(bars.close, coverage=0.0))
    anchors = policy.technical.iv_percentile
    return Measured(
        value=rank,
        score=anchors.score(rank),
        because=f"implied vol {latest:.1%} stands over {rank:.1%} of its last {window_s / DAY_S:.0f} days "
        f"({min(known / count, 1.0):.0%} known), stress from {anchors.calm:g} to {anchors.stress:g}",
    )
