"""How sure carry and net are (R26): 90 % intervals from blocks of ten days, drawn anew with replacement."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from bot.model.market import FloatArray
from bot.model.units import HOUR_S, YEAR_S
from bot.simulation.intervals import BLOCK_S, LEAST_BLOCKS, SEED, UNKNOWN, Interval, interval
from bot.simulation.results import ALVH
from bot.simulation.windows.comparison import policy_name
from bot.simulation.windows.file import Window, outside_crises
from bot.simulation.windows.measures import LEAST_HOURS, account_of
from bot.simulation.windows.run import Track

_RESAMPLES = 2_000
_LOST, _EXPOSED, _HOURS = range(3)


@dataclass(frozen=True, slots=True, kw_only=True)
class MoneyRange:
    """Intervals of yearly losses, fractions of exposure."""

    carry: Interval = UNKNOWN
    net: Interval = UNKNOWN


def money_ranges(policies: Mapping[str, Sequence[Track]], windows: Sequence[Window]) -> dict[str, MoneyRange]:
    """Return the intervals of each policy, and of each benchmark of the first one's tracks, by its name."""
    found = {policy_name(name): _range(tracks, windows, ALVH) for name, tracks in policies.items()}
    first = next(iter(policies.values()), ())
    names = first[0].benchmarks if first else {}
    return found | {name: _range(first, windows, name) for name in names}


def _range(tracks: Sequence[Track], windows: Sequence[Window], name: str) -> MoneyRange:
    outside = [block for track in tracks for block in _blocks(track, windows, name, only_outside=True)]
    always = [block for track in tracks for block in _blocks(track, windows, name, only_outside=False)]
    return MoneyRange(carry=_interval(outside), net=_interval(always))


def _blocks(track: Track, windows: Sequence[Window], name: str, *, only_outside: bool) -> list[FloatArray]:
    """Return (USD lost, USD x hours exposed, hours) of each block with a known gain in it."""
    gain = account_of(track, name).gain_usd
    known = np.flatnonzero(np.isfinite(gain))
    times_s, lost = track.times_s[known], -np.diff(gain[known], prepend=0.0)
    kept = outside_crises(times_s, windows if only_outside else ())
    rows = np.column_stack([lost, track.position_usd[known], np.ones(known.size)])[kept]
    block = ((times_s[kept] - track.segment.start_s) // BLOCK_S).astype(np.int64)
    edges = np.flatnonzero(np.diff(block)) + 1
    return [part.sum(axis=0) for part in np.split(rows, edges) if part.size]


def _interval(blocks: Sequence[FloatArray]) -> Interval:
    if len(blocks) < LEAST_BLOCKS or sum(block[_HOURS] for block in blocks) < LEAST_HOURS:
        return UNKNOWN
    rows = np.array(blocks)
    at = np.random.default_rng(SEED).integers(len(blocks), size=(_RESAMPLES, len(blocks)))
    drawn = rows[at].sum(axis=1)
    return interval(drawn[:, _LOST] / drawn[:, _EXPOSED] * (YEAR_S / HOUR_S))
