"""S13: front implied vol over back."""

import math
from dataclasses import dataclass

import numpy as np

from bot.model.market import Columns, Metric, SeriesKey
from bot.model.tier import Family, Reading
from bot.quant.surface import term_slope
from bot.signals.policy import SignalsPolicy
from bot.signals.reading import (
    Inputs,
    Measured,
    NotYet,
    absent,
    absent_metric,
    no_last_bar,
    not_yet,
    read_subject,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class TermStructure:
    """7-day IV / 90-day IV - 1 of one source at its last closed bar; positive is backwardation.

    Late by nature. A source whose tenors are worked out from one level (``modelled_vol_sources`` of the
    policy, such as a backtest's from DVOL) says here what S12 says of that level: R1 hears both once.
    """

    id: str = "S13"
    name: str = "term_structure"
    family: Family = Family.TECHNICAL
    unit: str = "fraction"
    metrics: tuple[Metric, ...] = (Metric.IV_7D, Metric.IV_90D)

    def lookback_s(self, policy: SignalsPolicy) -> float:
        return 2 * policy.bar_s + policy.slack_s

    def read(self, columns: Columns, *, now_s: float, policy: SignalsPolicy) -> tuple[Reading, ...]:
        fronts = columns.find(Metric.IV_7D)
        if not fronts:
            return absent_metric(self, Metric.IV_7D)
        return tuple(self._read_pair(columns, front, now_s=now_s, policy=policy) for front in fronts)

    def _read_pair(
        self, columns: Columns, front: SeriesKey, *, now_s: float, policy: SignalsPolicy
    ) -> Reading:
        back = SeriesKey(Metric.IV_90D, front.subject, front.source)
        if back not in columns.series:
            because = f"{front.source} has no {Metric.IV_90D} of {front.subject} configured"
            return absent(self, subject=front.subject, source=front.source, because=because)
        return read_subject(
            self, (front, back), columns, lambda inputs: _measure(inputs, policy), now_s=now_s, policy=policy
        )


def _measure(inputs: Inputs, policy: SignalsPolicy) -> Measured | NotYet:
    count = 1 + inputs.patience_bars(policy)
    bars = [inputs.bars(column, count=count, policy=policy) for column in inputs.columns]
    front, back = (item.close for item in bars)
    both = np.flatnonzero(np.isfinite(front) & np.isfinite(back))
    if not both.size:
        if inputs.columns[0].until(bars[0].times_s[0]).times_s.size:
            return no_last_bar("implied vol")
        return not_yet(0, needed=1, inputs=inputs, policy=policy, what="closed bar with both vols")
    front_iv, back_iv = float(front[both[-1]]), float(back[both[-1]])
    slope = float(term_slope(front_iv, back_iv))
    if math.isnan(slope):
        why = f"7-day IV {front_iv:g} or 90-day IV {back_iv:g} is not a vol"
        return Measured(value=math.nan, score=math.nan, because=why)
    anchors, shape = policy.technical.term_structure, "backwardation" if slope > 0.0 else "contango"
    return Measured(
        value=slope,
        score=anchors.score(slope),
        because=f"7-day IV {front_iv:.1%} against 90-day {back_iv:.1%}: {slope:+.1%}, {shape}, "
        f"stress from {anchors.calm:.0%} to {anchors.stress:.0%}",
    )
