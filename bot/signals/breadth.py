"""S16: does the rest of the market go where the underlying goes?"""

import math
from dataclasses import dataclass, replace

import numpy as np

from bot.model.market import Columns, FloatArray, Metric, SeriesKey
from bot.model.tier import Family, Quality, Reading
from bot.quant.bars import Bars, closed_bars
from bot.quant.breadth import advance_decline, breadth_divergence
from bot.quant.indicators import Divergence
from bot.signals.iv_percentile import iv_keys
from bot.signals.policy import SignalsPolicy
from bot.signals.reading import (
    Inputs,
    Measured,
    NotYet,
    absent,
    absent_metric,
    gather,
    no_last_bar,
    read_subject,
    too_few,
    trailing,
)
from bot.signals.subjects import pool_underlying, primary, primary_prices

_SCORES = {Divergence.NONE: 0.0, Divergence.BULLISH: 0.0, Divergence.BEARISH: 1.0}


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """An underlying and the advance-decline line, bar by bar, both known at the last one."""

    close: FloatArray
    line: FloatArray  # NaN where too few subjects are known
    share: float  # of the bars in which enough subjects are known


@dataclass(frozen=True, slots=True, kw_only=True)
class BreadthSignal:
    """Advance-decline line of all watched tokens and pools against each hedge underlying, on closed bars.

    Score: flat 0, divergence 1, which is a new high of the underlying over two stretches of
    ``divergence_bars`` that the line does not make; a new low that it does not make is named and scores 0
    (R4 asks for it). An underlying is an asset with an implied vol of its own; where none has one, every
    asset is. Tokens are read from their primary price, pools from their own; stables do not advance.
    """

    id: str = "S16"
    name: str = "breadth"
    family: Family = Family.TECHNICAL
    unit: str = "confirmation"
    metrics: tuple[Metric, ...] = (Metric.PRICE_USD, Metric.POOL_PRICE_USD)

    def lookback_s(self, policy: SignalsPolicy) -> float:
        return (policy.technical.breadth.lookback_bars + 1) * policy.bar_s + policy.slack_s

    def read(self, columns: Columns, *, now_s: float, policy: SignalsPolicy) -> tuple[Reading, ...]:
        prices = primary_prices(columns, policy)
        if not prices:
            return absent_metric(self, Metric.PRICE_USD)
        members, least = members_of(columns, policy), policy.technical.breadth.members_min
        if len(members) < least:
            because = f"{len(members)} tokens and pools are configured, {least} are needed for breadth"
            return (absent(self, because=because),)
        hedged = tuple(key for key in prices if iv_keys(columns, key.subject))
        return tuple(self._read(columns, key, now_s=now_s, policy=policy) for key in hedged or prices)

    def _read(self, columns: Columns, key: SeriesKey, *, now_s: float, policy: SignalsPolicy) -> Reading:
        return read_subject(
            self,
            (key,),
            columns,
            lambda inputs: _measure(columns, inputs, policy),
            now_s=now_s,
            policy=policy,
        )


BREADTH = BreadthSignal()


def members_of(columns: Columns, policy: SignalsPolicy) -> tuple[SeriesKey, ...]:
    """Return one price series for each watched token, and for each pool whose underlying can move."""
    pools: dict[str, SeriesKey] = {}
    for key in columns.find(Metric.POOL_PRICE_USD):
        if pool_underlying(key.subject) not in policy.stables:
            pools.setdefault(key.subject, key)
    return (*primary_prices(columns, policy), *pools.values())


def breadth_confirms(columns: Columns, *, now_s: float, policy: SignalsPolicy, subject: str) -> bool | None:
    """Return whether the line, too, stands under its low of the ``divergence_bars`` before (R4).

    None when it cannot be told (absent, warming, missing).
    """
    key = primary(columns, Metric.PRICE_USD, subject)
    if key is None or len(members_of(columns, policy)) < policy.technical.breadth.members_min:
        return None
    lookback_s = BREADTH.lookback_s(policy)
    inputs, worst = gather((key,), columns, lookback_s=lookback_s, now_s=now_s, policy=policy)
    if worst.quality is Quality.MISSING:
        return None
    found = _line(columns, inputs, policy)
    if not isinstance(found, Line):
        return None
    line = found.line[np.isfinite(found.line)]
    return bool(line[-1] < line[-1 - policy.technical.breadth.divergence_bars : -1].min())


def _measure(columns: Columns, inputs: Inputs, policy: SignalsPolicy) -> Measured | NotYet:
    found = _line(columns, inputs, policy)
    if not isinstance(found, Line):
        return found
    bars = policy.technical.breadth.divergence_bars
    result = breadth_divergence(found.close, found.line, bars=bars)
    if result.kind is None:
        return Measured(value=math.nan, score=math.nan, because=f"breadth is not known over 2 x {bars} bars")
    score = _SCORES[result.kind]
    spoken = "no" if result.kind is Divergence.NONE else str(result.kind)
    return Measured(
        value=score,
        score=score,
        because=f"{spoken} divergence of price against the advance-decline line of "
        f"{len(members_of(columns, policy))} tokens and pools over {bars} bars ({found.share:.0%} known), "
        f"price over line by {result.gap:+.2f} of their ranges",
    )


def _line(columns: Columns, inputs: Inputs, policy: SignalsPolicy) -> Line | Measured | NotYet:
    numbers, members = policy.technical.breadth, members_of(columns, policy)
    bars = inputs.held_bars(inputs.columns[0], count=numbers.lookback_bars, policy=policy)
    parts = [
        trailing(columns, key, now_s=inputs.now_s, lookback_s=BREADTH.lookback_s(policy)) for key in members
    ]
    tables = tuple(
        closed_bars(part, bar_s=bars.bar_s, now_s=bars.end_s, count=numbers.lookback_bars) for part in parts
    )
    line = bars.once(
        ("breadth", members, numbers, policy.coverage, policy.max_hole_bars),
        lambda: _advance_decline(tables, policy),
        beside=tables,
    )
    both = np.flatnonzero(np.isfinite(bars.close) & np.isfinite(line))
    needed = max(policy.coverage * numbers.lookback_bars, 2.0 * numbers.divergence_bars + 1.0)
    if both.size < needed:
        # Breadth is as old as the last of the members that it cannot do without.
        eldest = sorted(
            (part for part in parts if part.times_s.size), key=lambda part: float(part.times_s[0])
        )
        known = replace(inputs, columns=(inputs.columns[0], *eldest[: _least(len(members), policy)]))
        return too_few(
            both.size,
            needed=needed,
            window_s=numbers.lookback_bars * policy.bar_s,
            inputs=known,
            policy=policy,
            what="breadth",
        )
    if bars.close.size - 1 - both[-1] > inputs.patience_bars(policy):
        return no_last_bar("breadth")
    return Line(close=bars.close, line=line, share=both.size / numbers.lookback_bars)


def _advance_decline(tables: tuple[Bars, ...], policy: SignalsPolicy) -> FloatArray:
    closes = np.vstack([table.close for table in tables])
    return advance_decline(
        closes,
        dead_band=policy.technical.breadth.dead_band,
        coverage=(_least(len(tables), policy) - 0.5) / len(tables),  # half a subject: safe from rounding
        max_hole_bars=policy.max_hole_bars,
    ).line


def _least(members: int, policy: SignalsPolicy) -> int:
    """Return how many subjects a bar needs: a share of them, and never fewer than the policy's minimum."""
    return max(policy.technical.breadth.members_min, math.ceil(policy.coverage * members - 1e-9))
