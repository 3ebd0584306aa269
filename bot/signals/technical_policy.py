"""The numbers of the TECHNICAL signals. Table ``[signals.technical]`` of a policy file."""

from dataclasses import dataclass

from bot.model.units import DAY_S, HOUR_S
from bot.quant.indicators import LOOKBACK_PER_PERIOD
from bot.signals.anchors import Anchors, within


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
            within(f"technical.macd.{name}", getattr(self, name), 1, 10_000)
        within("technical.macd.slow", self.slow, self.fast + 1, 10_000)
        longest = max(self.slow, self.signal)
        within("technical.macd.lookback_bars", self.lookback_bars, LOOKBACK_PER_PERIOD * longest, 100_000)
        for name in ("divergence_bars", "breakdown_bars"):
            within(
                f"technical.macd.{name}",
                getattr(self, name),
                2,
                (self.lookback_bars - self.settling_bars) // 2,
            )
        within("technical.macd.fresh_bars", self.fresh_bars, self.confirm_bars, 10_000)
        within("technical.macd.dead_band", self.dead_band, 0.0, 0.1)

    @property
    def settling_bars(self) -> int:
        """Return how many bars pass before MACD and its signal line have a value."""
        return self.slow + self.signal - 1


@dataclass(frozen=True, slots=True, kw_only=True)
class TechnicalPolicy:
    """Anchors (in the signal's own unit, mostly fractions) and windows."""

    funding: Anchors = Anchors(calm=1.0, stress=3.0)  # S10, sigmas, both signs
    realised_vol: Anchors = Anchors(calm=1.0, stress=2.0)  # S11
    term_structure: Anchors = Anchors(calm=0.0, stress=0.25)  # S13
    macd: MacdPolicy = MacdPolicy()  # S15

    funding_window_s: float = 30 * DAY_S
    funding_min_sigma: float = 0.02  # APR; a flatter history counts as this much
    vol_span_s: float = 24 * HOUR_S  # EWMA span of S11's short vol
    vol_window_s: float = 30 * DAY_S

    def __post_init__(self) -> None:
        within("technical.funding_min_sigma", self.funding_min_sigma, 1e-6, 10.0)
        within("technical.vol_span_s", self.vol_span_s, 1.0, self.vol_window_s)
