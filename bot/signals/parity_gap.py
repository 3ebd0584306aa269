"""S22: put-call parity that no longer holds: someone pays for one side whatever it costs."""

import math
from dataclasses import dataclass

from bot.model.market import Columns, Metric
from bot.model.tier import Family, Reading
from bot.signals.policy import SignalsPolicy
from bot.signals.reading import Inputs, Measured, NotYet, absent_metric, no_last_bar, not_yet, read_subject


@dataclass(frozen=True, slots=True, kw_only=True)
class ParityGap:
    """Widest (call - put) - discounted (forward - strike) over its whole cost, per underlying and source.

    Quotes do not live in columns: whoever reads them writes PARITY_GAP (``bot.quant.parity``), and the signal
    reads it at its last closed bar. Both signs score; positive means that the call is dear, or the put cheap.
    """

    id: str = "S22"
    name: str = "parity_gap"
    family: Family = Family.TECHNICAL
    unit: str = "x cost"
    metrics: tuple[Metric, ...] = (Metric.PARITY_GAP,)

    def lookback_s(self, policy: SignalsPolicy) -> float:
        return 2 * policy.bar_s + policy.slack_s

    def read(self, columns: Columns, *, now_s: float, policy: SignalsPolicy) -> tuple[Reading, ...]:
        keys = columns.find(Metric.PARITY_GAP)
        if not keys:
            return absent_metric(self, Metric.PARITY_GAP)
        return tuple(
            read_subject(
                self, (key,), columns, lambda inputs: _measure(inputs, policy), now_s=now_s, policy=policy
            )
            for key in keys
        )


def _measure(inputs: Inputs, policy: SignalsPolicy) -> Measured | NotYet:
    (column,) = inputs.columns
    bars = inputs.held_bars(column, count=1, policy=policy)
    ratio = float(bars.close[-1])
    if math.isnan(ratio):
        if column.until(bars.times_s[0]).times_s.size:
            return no_last_bar("put-call parity")
        return not_yet(0, needed=1, inputs=inputs, policy=policy, what="closed bar with a call and a put")
    anchors = policy.technical.parity_gap
    dear = "calls are dear" if ratio > 0.0 else "puts are dear"
    return Measured(
        value=ratio,
        score=anchors.score(abs(ratio)),
        because=f"put-call parity is off by {abs(ratio):.2f} x its cost"
        f"{f', {dear}' if ratio else ''}; stress from {anchors.calm:g} to {anchors.stress:g}",
    )
