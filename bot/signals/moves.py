"""Moves from bar to bar for the signals that add them up (S24, S25, S26), with the rule for holes."""

import math

import numpy as np

from bot.model.market import FloatArray
from bot.quant.bars import Bars
from bot.signals.policy import SignalsPolicy
from bot.signals.reading import Inputs, Measured, NotYet, no_last_bar, too_few


def moves(close: FloatArray, *, quiet_bars: int) -> FloatArray:
    """Return log returns, as long as ``close``, NaN in the first known bar and before it.

    A run of at most ``quiet_bars`` empty bars is a feed that had nothing to say: the return over it is real,
    stands in the bar where the feed spoke again, and the empty bars return 0. Else the fall that wakes a
    quiet feed would be lost. A longer run is a hole: its bars and the first one behind it have no return, so
    none crosses it. A price that is not > 0 is no price.
    """
    out = np.full(close.shape, np.nan)
    usable = np.isfinite(close) & (close > 0.0)
    if usable.all():
        out[1:] = np.diff(np.log(close))
        return out
    known = np.flatnonzero(usable)
    if known.size < 2:
        return out
    quiet = np.diff(known) - 1 <= quiet_bars
    out[known[1:]] = np.where(quiet, np.diff(np.log(close[known])), np.nan)
    between = np.searchsorted(known, np.arange(known[0], known[-1]), side="right") - 1
    empty = ~usable[known[0] : known[-1]]
    out[known[0] : known[-1]][empty & quiet[between]] = 0.0
    return out


def steps_of(bars: Bars, *, quiet_bars: int) -> FloatArray:
    """Return ``moves`` between bars, one fewer than these; signals of one price share them."""
    return bars.once(("moves", quiet_bars), lambda: moves(bars.close, quiet_bars=quiet_bars)[1:])


def moving_bars(
    inputs: Inputs, *, span: int, window_s: float, quiet_bars: int, policy: SignalsPolicy, what: str
) -> tuple[Bars, FloatArray] | Measured | NotYet:
    """Return the last ``span`` + 1 bars of the first column and the moves between, if enough are known."""
    bars = inputs.held_bars(inputs.columns[0], count=span + 1, policy=policy)
    known = bars.known
    needed = policy.coverage * (span + 1)
    if known < needed:
        return too_few(known, needed=needed, window_s=window_s, inputs=inputs, policy=policy, what=what)
    if math.isnan(bars.close[-1]):
        return no_last_bar(what)
    steps = steps_of(bars, quiet_bars=quiet_bars)
    if not np.isfinite(steps).any():
        return Measured(value=math.nan, score=math.nan, because=f"{what}: no two known bars without a hole")
    return bars, steps


def known_share(bars: Bars) -> str:
    """Return the share of known bars in words."""
    return f"{bars.coverage:.0%} of bars known"
