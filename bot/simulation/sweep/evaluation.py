"""What one policy did, in sums that the measures of R26 follow from over any choice of spans and windows.

A policy is run once. Folds of a cross-validation only choose which of its hours count.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bot.model.market import FloatArray
from bot.model.units import DAY_S, HOUR_S, YEAR_S
from bot.simulation.windows.file import Segment, Window, crisis_spans, outside_crises
from bot.simulation.windows.measures import CARRY_FLOOR, LEAST_HOURS, window_findings
from bot.simulation.windows.run import Track

BoolArray = NDArray[np.bool_]

LONGEST_SPAN_S = 10 * DAY_S  # R8's horizon: fine enough that an embargo of days costs little


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """A stretch of time (from_s, to_s]: the hours that end in it."""

    from_s: float
    to_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class SpanSums:
    """What hedging lost in the hours of one span with a known gain; once outside crises, once in all."""

    outside_usd: float
    outside_usd_hours: float  # value of the LP summed over the hours
    outside_hours: int
    always_usd: float
    always_usd_hours: float
    always_hours: int
    hours: int  # with a price, whether or not the hedge had one
    trades: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluation:
    """One policy over one study."""

    policy_hash: str
    spans: tuple[SpanSums, ...]  # one for each span of the study
    removed: tuple[float, ...]  # by window of the study: R26's, NaN where it is no known market crisis

    def to_json(self) -> dict[str, Any]:
        """Return plain values from which ``evaluation_from`` makes the same evaluation to the last bit."""
        return {
            "policy_hash": self.policy_hash,
            "spans": [[getattr(item, name) for name in SpanSums.__slots__] for item in self.spans],
            "removed": [value if math.isfinite(value) else None for value in self.removed],
        }


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Measures:
    """R26 of several policies over one choice of spans and windows; NaN is unknown. One value a policy."""

    removed: FloatArray  # mean over the market crises in the choice
    carry: FloatArray  # fraction of exposure a year
    net: FloatArray
    trades_a_year: FloatArray

    @property
    def efficiency(self) -> FloatArray:
        return np.asarray(self.removed / np.maximum(self.carry, CARRY_FLOOR))

    def at(self, index: int) -> dict[str, float]:
        """Return the measures of one policy by name."""
        names = ("removed", "carry", "net", "efficiency", "trades_a_year")
        return {name: float(getattr(self, name)[index]) for name in names}


class Sums:
    """The evaluations of many policies side by side, for measures over any choice of spans at once."""

    def __init__(self, evaluations: Sequence[Evaluation], window_spans: Sequence[int]) -> None:
        """``window_spans`` is the place of the span that has most of each window, -1 for none."""
        many = len(evaluations)
        self._window_spans = np.array(window_spans, dtype=np.int64)
        self._sums = {
            name: np.array(
                [[getattr(span, name) for span in item.spans] for item in evaluations], dtype=np.float64
            )
            for name in SpanSums.__slots__
        }
        self._removed = np.array([item.removed for item in evaluations], dtype=np.float64).reshape(many, -1)

    def measures(self, spans: Sequence[int]) -> Measures:
        """Return the measures of every policy over the chosen spans and the windows in them."""
        chosen = list(spans)
        hours = self._of("hours", chosen)
        trades = _where(hours >= LEAST_HOURS, self._of("trades", chosen), hours)
        return Measures(
            removed=_mean_known(self._removed[:, np.isin(self._window_spans, chosen)]),
            carry=self._a_year("outside", chosen),
            net=self._a_year("always", chosen),
            trades_a_year=trades * (YEAR_S / HOUR_S),
        )

    def _a_year(self, which: str, spans: list[int]) -> FloatArray:
        exposure = self._of(f"{which}_usd_hours", spans)
        known = (self._of(f"{which}_hours", spans) >= LEAST_HOURS) & (exposure > 0.0)
        return _where(known, self._of(f"{which}_usd", spans), exposure) * (YEAR_S / HOUR_S)

    def _of(self, name: str, spans: list[int]) -> FloatArray:
        return np.asarray(self._sums[name][:, spans].sum(axis=1))


def spans_of(segments: Sequence[Segment], windows: Sequence[Window]) -> tuple[Span, ...]:
    """Return the hours of all segments cut into spans of ten days at most, that which ends at a start too.

    A crisis lies in one span with all that R26 keeps out of calm, the 3 days before it and the 7 after, and
    with any other crisis that these meet: no cut through it can put half of it on either side of a split.
    """
    whole = _joined(crisis_spans(windows))
    cuts = {edge for item in segments for edge in (item.start_s, item.end_s)} | {
        edge for span in whole for edge in span
    }
    found: list[Span] = []
    for segment in segments:
        inside = sorted(cut for cut in cuts if segment.start_s < cut <= segment.end_s)
        for from_s, to_s in pairwise([segment.start_s - HOUR_S, *inside]):
            is_whole = any(low < to_s <= high for low, high in whole)
            found += [Span(from_s=from_s, to_s=to_s)] if is_whole else _cut(from_s, to_s)
    return tuple(found)


def window_spans(windows: Sequence[Window], spans: Sequence[Span]) -> tuple[int, ...]:
    """Return the place of the span that has most of each window, -1 where none has any."""
    return tuple(_holder(item, spans) for item in windows)


def _holder(window: Window, spans: Sequence[Span]) -> int:
    shared = [min(window.end_s, span.to_s) - max(window.start_s, span.from_s) for span in spans]
    best = max(range(len(spans)), key=shared.__getitem__, default=-1)
    return best if best >= 0 and shared[best] > 0.0 else -1


def _joined(spans: Iterable[tuple[float, float]]) -> list[tuple[float, float]]:
    found: list[tuple[float, float]] = []
    for from_s, to_s in sorted(spans):
        if found and from_s <= found[-1][1]:
            found[-1] = (found[-1][0], max(found[-1][1], to_s))
        else:
            found.append((from_s, to_s))
    return found


def _cut(from_s: float, to_s: float) -> list[Span]:
    """Cut a stretch into equal spans of ten days at most."""
    edges = np.linspace(from_s, to_s, math.ceil((to_s - from_s) / LONGEST_SPAN_S) + 1).tolist()
    return [Span(from_s=low, to_s=high) for low, high in pairwise(edges)]


def evaluate_tracks(
    policy_hash: str, tracks: Sequence[Track], windows: Sequence[Window], spans: Sequence[Span]
) -> Evaluation:
    """Return the sums of one policy from its tracks."""
    findings = {item.window.id: item for item in window_findings(tracks, windows)}
    ordered = [findings[window.id] for window in windows]
    hours = [_hours(track, windows) for track in tracks]
    return Evaluation(
        policy_hash=policy_hash,
        spans=tuple(_span_sums(hours, span) for span in spans),
        removed=tuple(item.removed("alvh") if item.is_market_crisis else math.nan for item in ordered),
    )


def evaluation_from(found: Mapping[str, Any]) -> Evaluation:
    """Return the evaluation of ``Evaluation.to_json``. Raises KeyError, TypeError or ValueError."""
    return Evaluation(
        policy_hash=found["policy_hash"],
        spans=tuple(SpanSums(**dict(zip(SpanSums.__slots__, item, strict=True))) for item in found["spans"]),
        removed=tuple(math.nan if value is None else float(value) for value in found["removed"]),
    )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Hours:
    """The hours of one track, in time order: all, and those with a known gain."""

    times_s: FloatArray
    trades_s: FloatArray
    known_s: FloatArray
    lost_usd: FloatArray  # since the known hour before: a change over unpriced hours counts in its last
    position_usd: FloatArray
    outside: BoolArray  # of crises


def _hours(track: Track, windows: Sequence[Window]) -> _Hours:
    known = np.flatnonzero(np.isfinite(track.alvh.gain_usd))
    known_s = track.times_s[known]
    return _Hours(
        times_s=track.times_s,
        trades_s=track.alvh.trades_s,
        known_s=known_s,
        lost_usd=-np.diff(track.alvh.gain_usd[known], prepend=0.0),  # nothing was gained before the first
        position_usd=track.position_usd[known],
        outside=outside_crises(known_s, windows),
    )


def _span_sums(hours: Sequence[_Hours], span: Span) -> SpanSums:
    parts = [_part(item, span) for item in hours]
    return SpanSums(
        outside_usd=math.fsum(item.outside_usd for item in parts),
        outside_usd_hours=math.fsum(item.outside_usd_hours for item in parts),
        outside_hours=sum(item.outside_hours for item in parts),
        always_usd=math.fsum(item.always_usd for item in parts),
        always_usd_hours=math.fsum(item.always_usd_hours for item in parts),
        always_hours=sum(item.always_hours for item in parts),
        hours=sum(item.hours for item in parts),
        trades=sum(item.trades for item in parts),
    )


def _part(item: _Hours, span: Span) -> SpanSums:
    """Return the sums of one track."""
    inside = _inside(item.known_s, span)
    lost, value, outside = item.lost_usd[inside], item.position_usd[inside], item.outside[inside]
    return SpanSums(
        outside_usd=float(lost[outside].sum()),
        outside_usd_hours=float(value[outside].sum()),
        outside_hours=int(outside.sum()),
        always_usd=float(lost.sum()),
        always_usd_hours=float(value.sum()),
        always_hours=int(lost.size),
        hours=_count(item.times_s, span),
        trades=_count(item.trades_s, span),
    )


def _inside(times_s: FloatArray, span: Span) -> slice:
    """Return where times in order lie in a span."""
    first, end = np.searchsorted(times_s, (span.from_s, span.to_s), side="right").tolist()
    return slice(first, end)


def _count(times_s: FloatArray, span: Span) -> int:
    return int(times_s[_inside(times_s, span)].size)


def _mean_known(values: FloatArray) -> FloatArray:
    """Return the mean of each row's known values, NaN for a row without one."""
    known = np.isfinite(values)
    many = np.asarray(known.sum(axis=1))
    return _where(np.asarray(many > 0), np.where(known, values, 0.0).sum(axis=1), many)


def _where(known: BoolArray, above: FloatArray, below: NDArray[Any]) -> FloatArray:
    """Return above / below where it is known, NaN elsewhere."""
    return np.asarray(np.divide(above, below, out=np.full(above.shape, np.nan), where=known))
