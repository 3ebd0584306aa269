"""MACD (Appel) and RSI (Wilder 1978), restarted on their look-back so that every mode agrees.

A recursive indicator remembers its first bar for ever; here it is defined on the last ``lookback`` bars and
started anew at the first of them. Missing bars are skipped, a hole longer than ``max_hole_bars`` starts it
anew behind the hole. Known bars only remain in the result: element -1 is the newest known bar.
"""

from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from bot.errors import InvariantError
from bot.model.market import FloatArray
from bot.quant.bars import Bars
from bot.quant.volatility import after_last_long_hole

LOOKBACK_PER_PERIOD = 10  # method.md: look-back of at least 10 x the longest period


class Divergence(StrEnum):
    """Whether momentum confirms the extremes of price."""

    NONE = "none"
    BEARISH = "bearish"  # higher high of price, lower high of MACD
    BULLISH = "bullish"  # lower low of price, higher low of MACD


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Macd:
    """MACD on the known bars of its look-back, all arrays of one length; NaN while it has no value."""

    close: FloatArray
    line: FloatArray  # EMA(fast) - EMA(slow), in units of close
    signal: FloatArray  # EMA of the line
    histogram: FloatArray  # line - signal
    coverage: float  # known bars after the last long hole, as a share of the look-back


def macd(
    close: FloatArray,
    *,
    lookback: int,
    fast: int = 12,
    slow: int = 26,
    signal: int = 9,
    max_hole_bars: int = 36,
) -> Macd:
    """Return MACD over the last ``lookback`` bars; all NaN with fewer than slow + signal - 1 known bars."""
    import talib  # takes pandas along, which no other command needs

    _check_lookback(lookback, longest=max(fast, slow, signal))
    known = _known(close, lookback=lookback, max_hole_bars=max_hole_bars)
    line, average, histogram = (np.full(known.size, np.nan) for _ in range(3))
    if known.size >= slow + signal - 1:
        line, average, histogram = talib.MACD(known, fastperiod=fast, slowperiod=slow, signalperiod=signal)
    return Macd(close=known, line=line, signal=average, histogram=histogram, coverage=known.size / lookback)


def rsi(close: FloatArray, *, lookback: int, period: int = 14, max_hole_bars: int = 36) -> FloatArray:
    """Return Wilder's RSI in [0, 100] on the known bars; NaN for the first ``period`` of them."""
    import talib  # takes pandas along, which no other command needs

    _check_lookback(lookback, longest=period)
    known = _known(close, lookback=lookback, max_hole_bars=max_hole_bars)
    if known.size <= period:
        return np.full(known.size, np.nan)
    return np.asarray(talib.RSI(known, timeperiod=period))


def coarser(bars: Bars, *, bar_s: int) -> Bars:
    """Return the same closes on longer bars of whole ``bar_s`` of UTC: 4 h bars open at 0:00, 4:00, ...

    Only bars that lie wholly inside ``bars`` count, so each is closed and complete, and equals the one that
    ``closed_bars`` would build from the observations. Its close is the last known one in it, NaN without any.
    """
    factor, rest = divmod(bar_s, bars.bar_s)
    if factor < 1 or rest:
        raise InvariantError(f"coarser bars must be a multiple of {bars.bar_s} s, were {bar_s}")
    opens = bars.times_s.astype(np.int64)
    first = int(-opens[0] % bar_s) // bars.bar_s if opens.size else 0
    count = max(opens.size - first, 0) // factor
    table = bars.close[first : first + count * factor].reshape(count, factor)
    known = np.isfinite(table)
    last = factor - 1 - np.argmax(known[:, ::-1], axis=1)  # of a row without any: the last, which is NaN
    close = np.where(known.any(axis=1), table[np.arange(count), last], np.nan)
    return Bars(times_s=bars.times_s[first : first + count * factor : factor], close=close, bar_s=bar_s)


def exhausted(values: FloatArray, *, below: float, rising_bars: int) -> bool | None:
    """Return whether an oscillator is under ``below`` and has risen for ``rising_bars`` bars in a row (S14).

    None when one of these values is not known.
    """
    if rising_bars < 1:
        raise InvariantError(f"exhaustion needs a rise of at least 1 bar, was {rising_bars}")
    recent = values[-rising_bars - 1 :]
    if recent.size <= rising_bars or not np.isfinite(recent).all():
        return None
    return bool(recent[-1] < below and (np.diff(recent) > 0.0).all())


def bars_since_cross_up(line: FloatArray, histogram: FloatArray, *, dead_band: float) -> int:
    """Return for how many bars a MACD expansion has lasted, 0 when there is none.

    An expansion: the histogram crossed from at most ``dead_band`` to above it and stayed there, and the line
    is above 0 now. 1 is the bar of the cross. A histogram that was never as low shows no cross.
    """
    if not histogram.size or not line[-1] > 0.0:
        return 0
    below = np.flatnonzero(~(histogram > dead_band))
    if not below.size or np.isnan(histogram[below[-1]]):
        return 0
    return int(histogram.size - 1 - below[-1])


def divergence(close: FloatArray, line: FloatArray, *, bars: int) -> Divergence:
    """Compare the extremes of the last ``bars`` bars with those of the ``bars`` bars before them.

    NONE when the MACD line is not known over both stretches.
    """
    if close.size < 2 * bars or np.isnan(line[-2 * bars :]).any():
        return Divergence.NONE
    close_was, close_is = close[-2 * bars : -bars], close[-bars:]
    line_was, line_is = line[-2 * bars : -bars], line[-bars:]
    if close_is.max() > close_was.max() and line_is.max() < line_was.max():
        return Divergence.BEARISH
    if close_is.min() < close_was.min() and line_is.min() > line_was.min():
        return Divergence.BULLISH
    return Divergence.NONE


def _check_lookback(lookback: int, *, longest: int) -> None:
    if lookback < LOOKBACK_PER_PERIOD * longest:
        raise InvariantError(
            f"indicator look-back must be at least {LOOKBACK_PER_PERIOD} x {longest} bars, was {lookback}"
        )


def _known(close: FloatArray, *, lookback: int, max_hole_bars: int) -> FloatArray:
    recent = after_last_long_hole(close[-lookback:], max_hole_bars=max_hole_bars)
    return np.ascontiguousarray(recent[np.isfinite(recent)])
