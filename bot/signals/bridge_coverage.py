"""S7: a bridge that minted more than it locked."""

import math
from dataclasses import dataclass, replace

import numpy as np

from bot.model.market import Columns, Metric, SeriesKey
from bot.model.tier import Family, Reading
from bot.quant.bridges import LOCKED, MINTED, coverage
from bot.signals.holdings import kind_of, label_of, token_of
from bot.signals.policy import SignalsPolicy
from bot.signals.reading import Inputs, Measured, absent, absent_metric, read_subject, value_at
from bot.signals.samples import known_rows


@dataclass(frozen=True, slots=True, kw_only=True)
class BridgeCoverage:
    """Collateral locked at the origin / supply minted at all destinations, per bridge and token.

    Both sides count as last read, each while it may hold. Where a source gives the ratio itself
    (BRIDGE_COVERAGE), that is a reading of its own. A bridge of which one side alone is configured is absent.
    """

    id: str = "S7"
    name: str = "bridge_coverage"
    family: Family = Family.ONCHAIN
    unit: str = "fraction"
    metrics: tuple[Metric, ...] = (Metric.BRIDGE_COVERAGE, Metric.TOKEN_UNITS)

    def lookback_s(self, policy: SignalsPolicy) -> float:
        return policy.bar_s + policy.slack_s

    def read(self, columns: Columns, *, now_s: float, policy: SignalsPolicy) -> tuple[Reading, ...]:
        found = [
            read_subject(
                self, (key,), columns, lambda inputs: _told(inputs, policy), now_s=now_s, policy=policy
            )
            for key in columns.find(Metric.BRIDGE_COVERAGE)
        ]
        sides = [key for key in columns.find(Metric.TOKEN_UNITS) if _is_side(key)]
        found += [
            self._read_token(columns, subject, now_s=now_s, policy=policy)
            for subject in dict.fromkeys(key.subject for key in sides)
        ]
        return tuple(found) or absent_metric(self, Metric.BRIDGE_COVERAGE)

    def _read_token(self, columns: Columns, subject: str, *, now_s: float, policy: SignalsPolicy) -> Reading:
        keys = tuple(key for key in columns.find(Metric.TOKEN_UNITS, subject) if _is_side(key))
        keys = tuple(sorted(keys, key=lambda key: kind_of(key.source) != LOCKED))  # the lockbox names it
        bridge, token = label_of(keys[0]), token_of(keys[0])
        source = f"{LOCKED}:{token}"
        lacking = [side for side in (LOCKED, MINTED) if side not in {kind_of(key.source) for key in keys}]
        if lacking:
            because = f"no {lacking[0]} amount of {subject} is configured: its coverage is unknown"
            return absent(self, subject=bridge, source=source, because=because)
        reading = read_subject(
            self, keys, columns, lambda inputs: _measure(inputs, keys, policy), now_s=now_s, policy=policy
        )
        return replace(reading, subject=bridge, source=source)


def _is_side(key: SeriesKey) -> bool:
    return kind_of(key.source) in (LOCKED, MINTED) and bool(label_of(key))


def _measure(inputs: Inputs, keys: tuple[SeriesKey, ...], policy: SignalsPolicy) -> Measured:
    known = {key: known_rows(column) for key, column in zip(keys, inputs.columns, strict=True)}
    with np.errstate(over="ignore"):  # of a supply that is all but nothing
        held = coverage(
            Columns(series=known),
            bridge=label_of(keys[0]),
            token=token_of(keys[0]),
            max_lag_s=inputs.patience_s,
        )
    locked, minted = (
        sum(value_at(column, inputs.now_s) for key, column in known.items() if kind_of(key.source) == side)
        for side in (LOCKED, MINTED)
    )
    return _scored(
        float(held.values[-1]), f"{locked:,.0f} {token_of(keys[0])} locked, {minted:,.0f} minted", policy
    )


def _told(inputs: Inputs, policy: SignalsPolicy) -> Measured:
    return _scored(value_at(inputs.columns[0], inputs.good_s), "locked over minted", policy)


def _scored(ratio: float, what: str, policy: SignalsPolicy) -> Measured:
    if not 0.0 <= ratio < math.inf:
        return Measured(value=math.nan, score=math.nan, because=f"{what}: there is no ratio of these")
    anchors = policy.onchain.bridge_coverage
    return Measured(
        value=ratio,
        score=anchors.score(ratio),
        because=f"{what}: {ratio:.4f}, stress from {anchors.calm:g} to {anchors.stress:g}",
    )
