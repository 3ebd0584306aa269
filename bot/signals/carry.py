"""S21: whether a hedged position still earns its keep."""

from collections.abc import Callable
from dataclasses import dataclass, replace

from bot.model.market import Columns, Metric, SeriesKey
from bot.model.tier import Family, Reading
from bot.model.units import DAY_S, iso_utc
from bot.quant.carry import FEE_INCOME_DAYS
from bot.signals.policy import SignalsPolicy
from bot.signals.reading import Inputs, Measured, NotYet, absent, read_subject

_SPAN_S = float(FEE_INCOME_DAYS * DAY_S)


@dataclass(frozen=True, slots=True, kw_only=True)
class Carry:
    """Per hedge group: LP fee APR less annualised hedge cost, and the hedged position's IRR less the WACC.

    The second has "/irr" in its source; for a bridge it is the IRR on locked liquidity. The figures come from
    the book (bot/quant/carry.py). The anchors lie around 0: a score over 0.5 says that carry is negative.
    A group whose hedges were not marked 30 days ago has no cost yet: it is warming.
    """

    id: str = "S21"
    name: str = "carry"
    family: Family = Family.FUNDAMENTAL
    unit: str = "fraction"
    metrics: tuple[Metric, ...] = (Metric.LP_FEE_APR, Metric.HEDGE_COST_APR, Metric.HEDGED_IRR)

    def lookback_s(self, policy: SignalsPolicy) -> float:
        return _SPAN_S + policy.bar_s + policy.slack_s

    def read(self, columns: Columns, *, now_s: float, policy: SignalsPolicy) -> tuple[Reading, ...]:
        readings = [
            self._read_carry(columns, key, now_s=now_s, policy=policy)
            for key in columns.find(Metric.LP_FEE_APR)
        ]
        for key in columns.find(Metric.HEDGED_IRR):
            found = self._read((key,), _irr, columns, now_s=now_s, policy=policy)
            readings.append(replace(found, source=f"{key.source}/irr"))
        because = f"no source of {Metric.LP_FEE_APR} or {Metric.HEDGED_IRR} is configured"
        return tuple(readings) or (absent(self, because=because),)

    def _read_carry(
        self, columns: Columns, fees: SeriesKey, *, now_s: float, policy: SignalsPolicy
    ) -> Reading:
        cost = SeriesKey(Metric.HEDGE_COST_APR, fees.subject, fees.source)
        marks = SeriesKey(Metric.HEDGE_MARK_USD, fees.subject, fees.source)
        if cost not in columns.series and marks in columns.series:
            return self._read((fees, marks), _warming, columns, now_s=now_s, policy=policy)
        if cost not in columns.series:
            because = f"{fees.source} has no {Metric.HEDGE_COST_APR} of {fees.subject} configured"
            return absent(self, subject=fees.subject, source=fees.source, because=because)
        return self._read((fees, cost), _carry, columns, now_s=now_s, policy=policy)

    def _read(
        self,
        keys: tuple[SeriesKey, ...],
        measure: Callable[[Inputs, SignalsPolicy], Measured | NotYet],
        columns: Columns,
        *,
        now_s: float,
        policy: SignalsPolicy,
    ) -> Reading:
        return read_subject(
            self, keys, columns, lambda inputs: measure(inputs, policy), now_s=now_s, policy=policy
        )


def _carry(inputs: Inputs, policy: SignalsPolicy) -> Measured:
    fees, cost = (float(column.values[column.last_known()]) for column in inputs.columns)
    return _scored(fees - cost, f"LP fees {fees:.1%} a year less hedge cost {cost:.1%}", policy)


def _warming(inputs: Inputs, policy: SignalsPolicy) -> NotYet:  # noqa: ARG001 - as the other measures
    """Say from when on a mark of 30 days before is known."""
    marks = inputs.columns[1].since(inputs.now_s - _SPAN_S)
    first_s = float(marks.times_s[0]) if marks.times_s.size else inputs.now_s
    return NotYet(
        warm_at_s=first_s + _SPAN_S,
        because=f"hedge cost: no mark of {FEE_INCOME_DAYS} days ago, the first is {iso_utc(first_s)}",
    )


def _irr(inputs: Inputs, policy: SignalsPolicy) -> Measured:
    (column,) = inputs.columns
    rate, wacc = float(column.values[column.last_known()]), policy.fundamental.carry_wacc
    return _scored(rate - wacc, f"IRR {rate:.1%} a year against a WACC of {wacc:.1%}", policy)


def _scored(carry: float, said: str, policy: SignalsPolicy) -> Measured:
    anchors = policy.fundamental.carry
    because = f"{said}: {carry:+.1%}, stress from {anchors.calm:+.1%} to {anchors.stress:+.1%}"
    return Measured(value=carry, score=anchors.score(carry), because=because)
