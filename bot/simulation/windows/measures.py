"""R26 over crisis and calm windows: how early each tier came, what hedging removed, and what calm cost.

Pure functions of tracks. What is not known (no price, no option price, a degraded family) is counted apart:
never as calm, never as a success.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from bot.model.market import Column, FloatArray
from bot.model.tier import Tier
from bot.model.units import DAY_S, HOUR_S, YEAR_S
from bot.simulation.market.model import HOLE_S
from bot.simulation.metrics import deepest_fall, max_drawdown
from bot.simulation.windows.file import CRISIS, Window, outside_crises
from bot.simulation.windows.run import Account, Track

COVERAGE = 0.60  # method.md: a figure needs 60 % of its bars
MARKET_FALL = 0.05  # R26: a market crisis takes more than this off the LP
ALARM_FALL, ALARM_S = 0.10, 7 * DAY_S  # R26: what must follow an ELEVATED entry for it not to be false
CARRY_FLOOR = 0.005  # R26: of efficiency's divisor
LEAST_HOURS = 30 * 24  # a figure a year from less than a month of hours says nothing
GUARDED_SHARE, ELEVATED_SHARE, EARLY_SHARE = 1.0 / 3.0, 0.5, 0.35  # the aims, of the fall


@dataclass(frozen=True, slots=True, kw_only=True)
class Reached:
    """When a tier stood in a fall: the first hour from the peak to the low."""

    first_s: float  # that hour
    since_s: float  # when it was entered, which may be before the peak
    share: float  # of the fall that was suffered by then, 0 at the peak, 1 at the low


@dataclass(frozen=True, slots=True, kw_only=True)
class WindowFinding:
    """One window under one policy. Fractions; NaN is unknown."""

    window: Window
    hours: int
    hours_priced: int  # with a price of the underlying
    hours_hedgeable: int  # with option prices too
    fall: float  # of the underlying, deepest in the window; none runs across a hole over 36 h
    peak_s: float
    low_s: float
    guarded: Reached | None  # None: not before the low
    elevated: Reached | None
    highest: Tier | None  # None where nothing was seen
    unhedged: float  # drawdown of the LP alone, over the hours with a known hedge
    hedged: Mapping[str, float]  # drawdown with the hedge of "alvh" and of each benchmark
    cost: Mapping[str, float]  # paid for hedging in the window, of the LP's value at its start; < 0 earned
    lp_fall: float  # drawdown of the LP alone, over all hours with a price

    @property
    def is_known(self) -> bool:
        return self.hours_priced >= COVERAGE * self.hours

    @property
    def is_market_crisis(self) -> bool:
        return self.window.kind == CRISIS and self.lp_fall > MARKET_FALL

    def removed(self, name: str) -> float:
        """Return 1 - hedged / unhedged drawdown, NaN where either is unknown."""
        return 1.0 - self.hedged.get(name, math.nan) / self.unhedged if self.unhedged > 0.0 else math.nan


@dataclass(frozen=True, slots=True, kw_only=True)
class MoneyFinding:
    """What a hedge was worth over all windows. Fractions of exposure; NaN is unknown."""

    removed: float  # mean over market crises with a known hedge
    removed_of: int  # how many those are
    carry: float  # loss in the hours outside crises, a year
    net: float  # loss in all hours, a year
    trades_a_year: float

    @property
    def efficiency(self) -> float:
        return self.removed / max(self.carry, CARRY_FLOOR)


@dataclass(frozen=True, slots=True, kw_only=True)
class TierFinding:
    """How the tiers of a policy behaved."""

    crises: int  # market crises, unseen ones included
    crises_unseen: int  # of them, those with too few prices: no tier counts as early there
    guarded_early: int  # GUARDED before a third of the fall
    elevated_half: int  # ELEVATED at or before half of it
    elevated_early: int  # ELEVATED before 0.35 of it
    outside_hours: int
    time_at: Mapping[str, float]  # share of the hours outside crises by tier name, and "unknown"
    false_alarms: int
    true_alarms: int
    open_alarms: int  # the 7 days after them were not seen whole, and no such fall in what was seen
    false_alarms_a_year: float  # of hours outside crises; NaN with less than a month of them


def window_findings(tracks: Sequence[Track], windows: Sequence[Window]) -> tuple[WindowFinding, ...]:
    """Return one finding per window, in time order; an unseen one has no hours."""
    found = {window.id: (track, window) for track in tracks for window in track.segment.windows}
    return tuple(
        _window(*found[window.id]) if window.id in found else _unseen(window)
        for window in sorted(windows, key=lambda item: item.start_s)
    )


def tier_finding(tracks: Sequence[Track], findings: Sequence[WindowFinding], price: Column) -> TierFinding:
    """Return how early and how often tiers stood. ``price`` is the whole file: alarms look 7 days ahead."""
    windows = [item.window for item in findings]
    crises = [item for item in findings if item.is_market_crisis]
    seen = [item for item in crises if item.is_known]
    unseen = [item for item in findings if item.window.kind == CRISIS and not item.is_known]
    outside = sum(int(outside_crises(track.times_s, windows).sum()) for track in tracks)
    verdicts = [is_false for track in tracks for is_false in _alarms(track, windows, price)]
    false = verdicts.count(True)
    return TierFinding(
        crises=len(seen) + len(unseen),
        crises_unseen=len(unseen),
        guarded_early=sum(_share(item.guarded) < GUARDED_SHARE for item in seen),
        elevated_half=sum(_share(item.elevated) <= ELEVATED_SHARE for item in seen),
        elevated_early=sum(_share(item.elevated) < EARLY_SHARE for item in seen),
        outside_hours=outside,
        time_at=_time_at(tracks, windows, outside),
        false_alarms=false,
        true_alarms=verdicts.count(False),
        open_alarms=verdicts.count(None),
        false_alarms_a_year=_per_year(false, outside),
    )


def money_finding(tracks: Sequence[Track], findings: Sequence[WindowFinding], name: str) -> MoneyFinding:
    """Return the money figures of "alvh" or of a benchmark."""
    windows = [item.window for item in findings]
    removed = [item.removed(name) for item in findings if item.is_market_crisis]
    known = [value for value in removed if math.isfinite(value)]
    outside = [
        _loss(track, account_of(track, name), outside_crises(track.times_s, windows)) for track in tracks
    ]
    always = [_loss(track, account_of(track, name), np.ones(track.times_s.size, bool)) for track in tracks]
    hours = sum(track.times_s.size for track in tracks)
    trades = sum(account_of(track, name).trades_s.size for track in tracks)
    return MoneyFinding(
        removed=float(np.mean(known)) if known else math.nan,
        removed_of=len(known),
        carry=_a_year(outside),
        net=_a_year(always),
        trades_a_year=_per_year(trades, hours),
    )


def account_of(track: Track, name: str) -> Account:
    return track.benchmarks.get(name, track.alvh)


def _share(reached: Reached | None) -> float:
    return reached.share if reached else math.inf


def _window(track: Track, window: Window) -> WindowFinding:
    inside = np.flatnonzero((track.times_s >= window.start_s) & (track.times_s <= window.end_s))
    hours = int((window.end_s - window.start_s) // HOUR_S)
    if not inside.size:
        return _unseen(window)
    part = slice(int(inside[0]), int(inside[-1]) + 1)
    spot, times_s = track.spot_usd[part], track.times_s[part]
    peak, low = _deepest(spot, times_s)
    fall = 1.0 - float(spot[low] / spot[peak]) if low > peak else 0.0
    names = ("alvh", *track.benchmarks)
    gains = {name: account_of(track, name).gain_usd[part] for name in names}
    position = track.position_usd[part]
    known = np.logical_and.reduce([np.isfinite(gain) for gain in gains.values()])
    counted = times_s > window.start_s  # the hour that ends at the start is a base, no hour of the window
    hours_hedgeable = int((known & counted).sum())
    enough = hours_hedgeable >= COVERAGE * hours
    return WindowFinding(
        window=window,
        hours=hours,
        hours_priced=min(int(counted.sum()), hours),
        hours_hedgeable=min(hours_hedgeable, hours),
        fall=fall,
        peak_s=float(times_s[peak]),
        low_s=float(times_s[low]),
        guarded=_reached(track, part.start + peak, part.start + low, Tier.GUARDED),
        elevated=_reached(track, part.start + peak, part.start + low, Tier.ELEVATED),
        highest=Tier(int(track.tiers[part].max())),
        unhedged=_fall_of(position[known], times_s[known]) if enough else math.nan,
        hedged={
            name: _hedged(position[known], gain[known], times_s[known]) if enough else math.nan
            for name, gain in gains.items()
        },
        cost={
            name: _cost(position[known], gain[known]) if enough else math.nan for name, gain in gains.items()
        },
        lp_fall=_fall_of(position, times_s),
    )


def _unseen(window: Window) -> WindowFinding:
    return WindowFinding(
        window=window,
        hours=int((window.end_s - window.start_s) // HOUR_S),
        hours_priced=0,
        hours_hedgeable=0,
        fall=math.nan,
        peak_s=math.nan,
        low_s=math.nan,
        guarded=None,
        elevated=None,
        highest=None,
        unhedged=math.nan,
        hedged={},
        cost={},
        lp_fall=math.nan,
    )


def _deepest(spot: FloatArray, times_s: FloatArray) -> tuple[int, int]:
    """Return the positions of (peak, low) of the deepest fall that crosses no hole; (0, 0) for none."""
    best = (0.0, 0, 0)
    starts = [0, *(np.flatnonzero(np.diff(times_s) > HOLE_S) + 1).tolist(), spot.size]
    for first, last in pairwise(starts):
        found = deepest_fall(spot[first:last])
        if found:
            peak, low = first + found[0], first + found[1]
            best = max(best, (1.0 - float(spot[low] / spot[peak]), peak, low), key=lambda item: item[0])
    return best[1], best[2]


def _reached(track: Track, peak: int, low: int, tier: Tier) -> Reached | None:
    """Return when the tier first stood from the peak on, at the low at the latest."""
    standing = np.flatnonzero(track.tiers[peak : low + 1] >= tier)
    if low <= peak or not standing.size:
        return None
    first = peak + int(standing[0])
    spot = track.spot_usd
    share = float((spot[peak] - spot[first]) / (spot[peak] - spot[low]))
    below = np.flatnonzero(track.tiers[:first] < tier)
    since = int(below[-1]) + 1 if below.size else 0
    return Reached(
        first_s=float(track.times_s[first]), since_s=float(track.times_s[since]), share=max(share, 0.0)
    )


def _hedged(position: FloatArray, gain: FloatArray, times_s: FloatArray) -> float:
    """Return the drawdown of the LP with what the hedge gained since the window began."""
    return _fall_of(position + gain - gain[0], times_s) if gain.size else math.nan


def _fall_of(value: FloatArray, times_s: FloatArray) -> float:
    return max_drawdown(value, times_s=times_s, hole_s=HOLE_S) if value.size else math.nan


def _cost(position: FloatArray, gain: FloatArray) -> float:
    return float((gain[0] - gain[-1]) / position[0]) if gain.size else math.nan


def _time_at(tracks: Sequence[Track], windows: Sequence[Window], hours: int) -> Mapping[str, float]:
    counts = dict.fromkeys([*(tier.name for tier in Tier), "unknown"], 0)
    for track in tracks:
        keep = outside_crises(track.times_s, windows)
        for tier in Tier:
            here = keep & (track.tiers == tier)
            doubtful = here & track.blind if tier is Tier.CALM else np.zeros_like(here)
            counts[tier.name] += int((here & ~doubtful).sum())
            counts["unknown"] += int(doubtful.sum())
    return {name: count / hours if hours else math.nan for name, count in counts.items()}


def _alarms(track: Track, windows: Sequence[Window], price: Column) -> Iterator[bool | None]:
    """Yield of each entry to ELEVATED outside crises whether it was false; None where it cannot be told."""
    high = track.tiers >= Tier.ELEVATED
    entries = high & ~np.concatenate([[False], high[:-1]])
    for at in np.flatnonzero(entries & outside_crises(track.times_s, windows)).tolist():
        yield _is_false(float(track.times_s[at]), float(track.spot_usd[at]), price)


def _is_false(at_s: float, spot_usd: float, price: Column) -> bool | None:
    after = price.until(at_s + ALARM_S).since(at_s)
    if after.values.size and float(after.values.min()) <= spot_usd * (1.0 - ALARM_FALL):
        return False
    edges = np.concatenate([[at_s], after.times_s, [at_s + ALARM_S]])
    return None if float(np.diff(edges).max()) > HOLE_S else True


@dataclass(frozen=True, slots=True, kw_only=True)
class _Loss:
    usd: float
    exposure_usd_hours: float  # value of the LP summed over the hours with a known gain
    hours: int


def _loss(track: Track, account: Account, keep: NDArray[np.bool_]) -> _Loss:
    """Return what the hedge lost in the kept hours. A change over unpriced hours counts in its last one."""
    known = np.flatnonzero(np.isfinite(account.gain_usd))
    change = np.diff(account.gain_usd[known], prepend=0.0)  # nothing was gained before the first hour
    kept = keep[known]
    value = track.position_usd[known]
    return _Loss(
        usd=-float(change[kept].sum()), exposure_usd_hours=float(value[kept].sum()), hours=int(kept.sum())
    )


def _a_year(losses: Sequence[_Loss]) -> float:
    """Return a loss as a fraction of exposure a year; NaN where too few hours are known."""
    exposure_usd = sum(item.exposure_usd_hours for item in losses)
    loss_usd = sum(item.usd for item in losses)
    known = sum(item.hours for item in losses) >= LEAST_HOURS and exposure_usd > 0.0
    return loss_usd / exposure_usd * (YEAR_S / HOUR_S) if known else math.nan


def _per_year(count: float, hours: int) -> float:
    """Return a count as of a year; NaN where it was taken over less than a month."""
    return count * YEAR_S / (hours * HOUR_S) if hours >= LEAST_HOURS else math.nan
