"""Every number that a signal needs, with the defaults of method.md. Table ``[signals]`` of a policy file."""

import math
from dataclasses import dataclass, fields

from bot.errors import ConfigError
from bot.model.units import DAY_S, HOUR_S, MINUTE_S
from bot.quant.indicators import LOOKBACK_PER_PERIOD


def _within(key: str, value: float, low: float, high: float) -> None:
    if not low <= value <= high:  # also refuses NaN
        raise ConfigError(f"signals.{key} must be between {low:g} and {high:g}, was {value}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Anchors:
    """Stress is 0 at ``calm`` and beyond, 1 at ``stress`` and beyond, linear between; any order."""

    calm: float
    stress: float

    def __post_init__(self) -> None:
        if not (math.isfinite(self.calm) and math.isfinite(self.stress)) or self.calm == self.stress:
            raise ConfigError(
                f"signals: anchors must be two different finite numbers, were calm {self.calm} and "
                f"stress {self.stress}"
            )

    def score(self, value: float) -> float:
        """Return the stress in [0, 1], rounded to 1e-9 (R25); NaN for NaN."""
        if math.isnan(value):
            return math.nan
        part = (value - self.calm) / (self.stress - self.calm)
        return round(min(max(part, 0.0), 1.0), 9)


@dataclass(frozen=True, slots=True, kw_only=True)
class MacdPolicy:
    """MACD periods and what S15, R4 and R12 read from it. Counted in bars of ``bar_s``."""

    fast: int = 12  # Appel
    slow: int = 26
    signal: int = 9
    lookback_bars: int = 360  # at least 10 x the longest period
    confirm_bars: int = 2  # bars that an expansion must last
    fresh_bars: int = 24  # an expansion older than this is no trigger any more
    dead_band: float = 1e-4  # share of the level; smaller histograms are rounding, not a cross
    divergence_bars: int = 48  # extremes of the last so many bars against the so many before
    breakdown_bars: int = 48  # R4: price breaks when it closes under its low of so many bars

    def __post_init__(self) -> None:
        for name in ("fast", "slow", "signal", "confirm_bars"):
            _within(f"macd.{name}", getattr(self, name), 1, 10_000)
        _within("macd.slow", self.slow, self.fast + 1, 10_000)
        longest = max(self.slow, self.signal)
        _within("macd.lookback_bars", self.lookback_bars, LOOKBACK_PER_PERIOD * longest, 100_000)
        for name in ("divergence_bars", "breakdown_bars"):
            _within(f"macd.{name}", getattr(self, name), 2, (self.lookback_bars - self.settling_bars) // 2)
        _within("macd.fresh_bars", self.fresh_bars, self.confirm_bars, 10_000)
        _within("macd.dead_band", self.dead_band, 0.0, 0.1)

    @property
    def settling_bars(self) -> int:
        """Return how many bars pass before MACD and its signal line have a value."""
        return self.slow + self.signal - 1


@dataclass(frozen=True, slots=True, kw_only=True)
class SignalsPolicy:
    """Anchors (in the signal's own unit, mostly fractions), windows and data rules of all signals."""

    tvl_drawdown: Anchors = Anchors(calm=-0.03, stress=-0.12)  # S1
    quick_ratio: Anchors = Anchors(calm=2.0, stress=1.0)  # S2
    pool_imbalance: Anchors = Anchors(calm=0.005, stress=0.03)  # S3, constant-product and concentrated pools
    depth: Anchors = Anchors(calm=0.7, stress=0.15)  # S4
    funding: Anchors = Anchors(calm=1.0, stress=3.0)  # S10, sigmas, both signs
    realised_vol: Anchors = Anchors(calm=1.0, stress=2.0)  # S11
    term_structure: Anchors = Anchors(calm=0.0, stress=0.25)  # S13
    macd: MacdPolicy = MacdPolicy()  # S15

    bar_s: int = HOUR_S
    coverage: float = 0.6  # share of its bars that a mean, quantile or rank needs
    max_hole_s: float = 36 * HOUR_S  # a longer hole restarts a recursion
    hold_chain_s: float = 30 * MINUTE_S  # a failing source holds its score this long
    hold_http_intervals: float = 2.0  # or so many of its own intervals, if that is longer
    late_intervals: float = 1.5  # an observation is late when older than so many of its intervals
    max_interval_s: float = 8 * HOUR_S  # slowest cadence a source may have (8-hourly funding)
    feed_heartbeat_s: float = (
        3_600.0  # a quiet price feed is not late before its heartbeat (Chainlink ETH/USD)
    )

    tvl_window_s: float = 48 * HOUR_S
    outflow_span_s: float = 24 * HOUR_S
    outflow_window_s: float = 30 * DAY_S
    outflow_quantile: float = 0.95
    outflow_floor: float = 0.001  # of quote reserves: the least claim that S2 divides by
    depth_window_s: float = 7 * DAY_S
    depth_best_s: float = 3 * HOUR_S
    funding_window_s: float = 30 * DAY_S
    funding_min_sigma: float = 0.02  # APR; a flatter history counts as this much
    vol_span_s: float = 24 * HOUR_S  # EWMA span of S11's short vol
    vol_window_s: float = 30 * DAY_S
    stables: tuple[str, ...] = ("DAI", "USDC", "USDT", "sUSD")  # S3 compares their pools to 1

    def __post_init__(self) -> None:
        object.__setattr__(self, "stables", tuple(self.stables))
        _within("bar_s", self.bar_s, 60, DAY_S)
        if DAY_S % self.bar_s:
            raise ConfigError(f"signals.bar_s must divide a day of {DAY_S} s, was {self.bar_s}")
        _within("coverage", self.coverage, 0.1, 1.0)
        _within("outflow_quantile", self.outflow_quantile, 0.5, 1.0)
        _within("outflow_floor", self.outflow_floor, 1e-6, 1.0)
        _within("funding_min_sigma", self.funding_min_sigma, 1e-6, 10.0)
        _within("hold_http_intervals", self.hold_http_intervals, 0.0, 10.0)
        _within("late_intervals", self.late_intervals, 1.0, 10.0)
        _within("max_interval_s", self.max_interval_s, self.bar_s, 7 * DAY_S)
        for name in ("hold_chain_s", "feed_heartbeat_s", "max_hole_s"):
            _within(name, getattr(self, name), 0.0, 30 * DAY_S)
        for item in fields(self):
            if item.name.endswith(("_window_s", "_span_s")):
                _within(item.name, getattr(self, item.name), 2 * self.bar_s, 400 * DAY_S)
        _within("depth_best_s", self.depth_best_s, 1.0, self.depth_window_s)
        _within("vol_span_s", self.vol_span_s, 2 * self.bar_s, self.vol_window_s)

    @property
    def max_hole_bars(self) -> int:
        """Return the longest hole that is skipped, in bars."""
        return int(self.max_hole_s // self.bar_s)

    @property
    def slack_s(self) -> float:
        """Return how far behind now the last good observation may lie before a reading is missing."""
        slowest = max(self.late_intervals * self.max_interval_s, self.feed_heartbeat_s)
        return slowest + max(self.hold_chain_s, self.hold_http_intervals * self.max_interval_s)

    def bars(self, span_s: float) -> int:
        """Return how many whole bars a span has."""
        return int(span_s // self.bar_s)
