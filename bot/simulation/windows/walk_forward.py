"""What a choice among policies was worth on time that it had not seen: walk-forward, and a hold-out.

Every policy is run once over the whole history; here only the hours that count are chosen. A policy's own
memory runs on through the cuts, as it would in use: nothing that is chosen by looking at figures does.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from bot.errors import ConfigError
from bot.model.market import FloatArray
from bot.model.units import DAY_S, iso_utc
from bot.simulation.results import ALVH
from bot.simulation.windows.comparison import or_none, policy_name
from bot.simulation.windows.file import AFTER_CRISIS_S, Segment, Window
from bot.simulation.windows.measures import MoneyFinding, money_finding, window_findings
from bot.simulation.windows.run import Account, Track
from bot.simulation.windows.splits import hold_out_from_s, walk_forward_splits

MOST_FOLDS = 50
_SAMPLE_S = 10 * DAY_S  # what a fold is made of: R8's horizon
_LEAST_SAMPLES = 3  # in a fold: a yearly figure needs a month of hours


@dataclass(frozen=True, slots=True, kw_only=True)
class Fold:
    """One step forward: what was chosen on the past, and what it did next."""

    train_from_s: float
    train_to_s: float
    test_from_s: float
    test_to_s: float
    chosen: str  # policy; empty where the past had no figure to choose by
    train: Mapping[str, MoneyFinding]  # by policy
    test: Mapping[str, MoneyFinding]

    def to_json(self) -> dict[str, object]:
        return {
            "train_from_ts": iso_utc(self.train_from_s),
            "train_to_ts": iso_utc(self.train_to_s),
            "test_from_ts": iso_utc(self.test_from_s),
            "test_to_ts": iso_utc(self.test_to_s),
            "chosen": policy_name(self.chosen) if self.chosen else None,
            "train": _monies(self.train),
            "test": _monies(self.test),
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class HoldOut:
    """The same figures on what may be looked at while choosing, and on the last part, which may not."""

    from_s: float
    before: Mapping[str, MoneyFinding]
    held_out: Mapping[str, MoneyFinding]

    def to_json(self) -> dict[str, object]:
        return {
            "from_ts": iso_utc(self.from_s),
            "before": _monies(self.before),
            "held_out": _monies(self.held_out),
        }


def walk_forward(
    tracks: Mapping[str, Sequence[Track]], windows: Sequence[Window], *, folds: int
) -> tuple[Fold, ...]:
    """Return ``folds`` steps: each chooses the policy of the best efficiency on all that came before it.

    Stretches of 10 days that end within a crisis's 7 days before the test are not learnt from. Raises
    ConfigError for more folds than the history has room for.
    """
    segments = _segments(tracks)
    check_folds(folds, segments)
    first_s, last_s = _range(segments)
    starts = _starts(first_s, last_s)
    ends = np.append(starts[1:], last_s)
    splits = walk_forward_splits(starts, ends, folds=folds, embargo_s=AFTER_CRISIS_S)
    return tuple(
        _fold(
            tracks,
            windows,
            train=(first_s, float(ends[list(split.train)].max()) if split.train else first_s),
            test=(float(starts[list(split.test)].min()), float(ends[list(split.test)].max())),
        )
        for split in splits
    )


def check_folds(folds: int, segments: Sequence[Segment]) -> None:
    """Raises ConfigError for a number of folds that no history has, or this one has no room for."""
    if not 1 <= folds <= MOST_FOLDS:
        raise ConfigError(f"--walk-forward must be between 1 and {MOST_FOLDS} folds, was {folds}")
    samples = _starts(*_range(segments)).size
    if samples < _LEAST_SAMPLES * (folds + 1):
        raise ConfigError(
            f"--walk-forward {folds} needs {folds + 1} months of history, was "
            f"{samples / _LEAST_SAMPLES:.1f}; give fewer folds or more history"
        )


def hold_out(tracks: Mapping[str, Sequence[Track]], windows: Sequence[Window], *, share: float) -> HoldOut:
    """Return the figures before and after the cut that leaves the last ``share`` of the time aside."""
    first_s, last_s = _range(_segments(tracks))
    cut_s = hold_out_from_s(first_s, last_s, share=share)
    return HoldOut(
        from_s=cut_s,
        before=_figures(tracks, windows, (first_s, cut_s)),
        held_out=_figures(tracks, windows, (cut_s, last_s)),
    )


def part_of(track: Track, from_s: float, to_s: float) -> Track | None:
    """Return the hours of a track that end in (from_s, to_s], its gains counted from there; None for none."""
    kept = (track.times_s > from_s) & (track.times_s <= to_s)
    if not kept.any():
        return None
    first = int(np.flatnonzero(kept)[0])

    def cut(account: Account) -> Account:
        known = account.gain_usd[:first][np.isfinite(account.gain_usd[:first])]
        base = float(known[-1]) if known.size else 0.0
        trades = account.trades_s
        return Account(
            gain_usd=account.gain_usd[kept] - base, trades_s=trades[(trades > from_s) & (trades <= to_s)]
        )

    whole = [item for item in track.segment.windows if from_s <= item.start_s and item.end_s <= to_s]
    return replace(
        track,
        segment=replace(track.segment, windows=tuple(whole)),
        times_s=track.times_s[kept],
        spot_usd=track.spot_usd[kept],
        position_usd=track.position_usd[kept],
        tiers=track.tiers[kept],
        blind=track.blind[kept],
        alvh=cut(track.alvh),
        benchmarks={name: cut(account) for name, account in track.benchmarks.items()},
    )


def _fold(
    tracks: Mapping[str, Sequence[Track]],
    windows: Sequence[Window],
    *,
    train: tuple[float, float],
    test: tuple[float, float],
) -> Fold:
    past = _figures(tracks, windows, train)
    known = {name: item.efficiency for name, item in past.items() if math.isfinite(item.efficiency)}
    return Fold(
        train_from_s=train[0],
        train_to_s=train[1],
        test_from_s=test[0],
        test_to_s=test[1],
        chosen=max(known, key=known.__getitem__) if known else "",
        train=past,
        test=_figures(tracks, windows, test),
    )


def _figures(
    tracks: Mapping[str, Sequence[Track]], windows: Sequence[Window], span: tuple[float, float]
) -> dict[str, MoneyFinding]:
    """Return R26 by policy over a stretch: carry leaves out every crisis, removed is of whole ones in it."""
    found = {}
    for name, mine in tracks.items():
        parts = [part for track in mine if (part := part_of(track, *span)) is not None]
        found[name] = money_finding(parts, window_findings(parts, windows), ALVH)
    return found


def _segments(tracks: Mapping[str, Sequence[Track]]) -> list[Segment]:
    return [track.segment for mine in tracks.values() for track in mine]


def _range(segments: Sequence[Segment]) -> tuple[float, float]:
    return float(min(item.start_s for item in segments)), float(max(item.end_s for item in segments))


def _starts(first_s: float, last_s: float) -> FloatArray:
    """Return where the samples begin that folds are made of."""
    return np.arange(first_s, last_s - 0.5 * _SAMPLE_S, _SAMPLE_S)


def _monies(found: Mapping[str, MoneyFinding]) -> dict[str, object]:
    return {
        policy_name(name): {
            "removed": or_none(item.removed),
            "carry": or_none(item.carry),
            "net": or_none(item.net),
            "efficiency": or_none(item.efficiency),
            "market_crises": item.removed_of,
        }
        for name, item in found.items()
    }
