"""The numbers of the TECHNICAL signals. Table ``[signals.technical]`` of a policy file."""

from dataclasses import dataclass

from bot.errors import ConfigError
from bot.model.units import DAY_S, HOUR_S, YEAR_S
from bot.quant.indicators import LOOKBACK_PER_PERIOD
from bot.signals.anchors import Anchors, within


@dataclass(frozen=True, slots=True, kw_only=True)
class MacdEntryPolicy:
    """MACD on the longer bars that entries are timed with (R5, R12). Counted in these bars."""

    bar_s: int = 4 * HOUR_S  # signals chapter: 4 h for entries
    lookback_bars: int = 260
    confirm_bars: int = 1  # such a bar holds four of an hour: one that closed is confirmation
    fresh_bars: int = 6  # an expansion older than a day is no trigger any more
    divergence_bars: int = 24  # R5: extremes of the last four days against the four before


@dataclass(frozen=True, slots=True, kw_only=True)
class MacdRegimePolicy:
    """MACD on daily bars: the regime. Late by nature, so it explains and does not vote."""

    bar_s: int = DAY_S  # signals chapter: 24 h for regimes
    lookback_bars: int = 260


@dataclass(frozen=True, slots=True, kw_only=True)
class MacdPolicy:
    """MACD periods and what S15, R4, R5 and R12 read from it. Counted in bars of ``bar_s`` unless said."""

    fast: int = 12  # Appel
    slow: int = 26
    signal: int = 9
    lookback_bars: int = 360  # at least 10 x the longest period
    confirm_bars: int = 2  # bars that an expansion must last
    fresh_bars: int = 24  # an older expansion is no news any more
    dead_band: float = 1e-4  # share of the level; smaller histograms are rounding, not a cross
    divergence_bars: int = 48  # extremes of the last so many bars against the so many before
    breakdown_bars: int = 48  # R4: price breaks when it closes under its low of so many bars
    entry: MacdEntryPolicy = MacdEntryPolicy()
    regime: MacdRegimePolicy = MacdRegimePolicy()

    def __post_init__(self) -> None:
        for name in ("fast", "slow", "signal", "confirm_bars"):
            within(f"technical.macd.{name}", getattr(self, name), 1, 10_000)
        within("technical.macd.slow", self.slow, self.fast + 1, 10_000)
        least = LOOKBACK_PER_PERIOD * max(self.slow, self.signal)
        within("technical.macd.lookback_bars", self.lookback_bars, least, 100_000)
        within("technical.macd.entry.lookback_bars", self.entry.lookback_bars, least, 100_000)
        within("technical.macd.regime.lookback_bars", self.regime.lookback_bars, least, 100_000)
        most = (self.lookback_bars - self.settling_bars) // 2
        within("technical.macd.divergence_bars", self.divergence_bars, 2, most)
        within("technical.macd.breakdown_bars", self.breakdown_bars, 2, most)
        most = (self.entry.lookback_bars - self.settling_bars) // 2
        within("technical.macd.entry.divergence_bars", self.entry.divergence_bars, 2, most)
        within("technical.macd.entry.confirm_bars", self.entry.confirm_bars, 1, 10_000)
        within("technical.macd.entry.fresh_bars", self.entry.fresh_bars, self.entry.confirm_bars, 10_000)
        within("technical.macd.fresh_bars", self.fresh_bars, self.confirm_bars, 10_000)
        within("technical.macd.dead_band", self.dead_band, 0.0, 0.1)
        for name, bar_s in (("entry", self.entry.bar_s), ("regime", self.regime.bar_s)):
            within(f"technical.macd.{name}.bar_s", bar_s, 60, 7 * DAY_S)

    @property
    def settling_bars(self) -> int:
        """Return how many bars pass before MACD and its signal line have a value."""
        return self.slow + self.signal - 1


@dataclass(frozen=True, slots=True, kw_only=True)
class RsiPolicy:
    """Wilder's RSI of price and of the vol index (S14), and what R12 takes for exhaustion. In points."""

    period: int = 14  # Wilder 1978
    lookback_bars: int = 168  # a week; at least 10 x the period
    price: Anchors = Anchors(calm=50.0, stress=30.0)
    vol: Anchors = Anchors(calm=50.0, stress=80.0)
    exhausted_below: float = 25.0  # of price
    exhausted_bars: int = 2  # that it has to rise

    def __post_init__(self) -> None:
        within("technical.rsi.period", self.period, 2, 1_000)
        least = LOOKBACK_PER_PERIOD * self.period
        within("technical.rsi.lookback_bars", self.lookback_bars, least, 100_000)
        within("technical.rsi.exhausted_below", self.exhausted_below, 0.0, 50.0)
        within("technical.rsi.exhausted_bars", self.exhausted_bars, 1, 24)


@dataclass(frozen=True, slots=True, kw_only=True)
class BreadthPolicy:
    """The advance-decline line over the watched tokens and pools (S16, R4). Counted in bars."""

    members_min: int = 5  # fewer subjects are no market
    lookback_bars: int = 168  # a week, of the line
    divergence_bars: int = 48  # extremes of the last so many bars against the so many before
    dead_band: float = 1e-6  # log return; a smaller move is rounding, neither up nor down

    def __post_init__(self) -> None:
        within("technical.breadth.members_min", self.members_min, 2, 1_000)
        within("technical.breadth.lookback_bars", self.lookback_bars, 8, 100_000)
        within("technical.breadth.divergence_bars", self.divergence_bars, 2, self.lookback_bars // 2)
        within("technical.breadth.dead_band", self.dead_band, 0.0, 0.1)


@dataclass(frozen=True, slots=True, kw_only=True)
class TechnicalPolicy:
    """Anchors (in the signal's own unit, mostly fractions) and windows."""

    funding: Anchors = Anchors(calm=1.0, stress=3.0)  # S10, sigmas, both signs
    realised_vol: Anchors = Anchors(calm=1.0, stress=2.0)  # S11
    iv_percentile: Anchors = Anchors(calm=0.70, stress=0.98)  # S12, rank
    term_structure: Anchors = Anchors(calm=0.0, stress=0.25)  # S13
    parity_gap: Anchors = Anchors(calm=0.0, stress=2.0)  # S22, times the cost
    drawdown_speed: Anchors = Anchors(calm=-0.5, stress=-2.0)  # S24, sigmas
    vol_jump: Anchors = Anchors(calm=0.03, stress=0.15)  # S25
    semivariance: Anchors = Anchors(calm=1.0, stress=2.5)  # S26
    rsi: RsiPolicy = RsiPolicy()  # S14
    macd: MacdPolicy = MacdPolicy()  # S15
    breadth: BreadthPolicy = BreadthPolicy()  # S16

    funding_window_s: float = 30 * DAY_S
    funding_min_sigma: float = 0.02  # APR; a flatter history counts as this much
    vol_span_s: float = 24 * HOUR_S  # EWMA span of S11's short vol
    vol_window_s: float = 30 * DAY_S
    iv_window_s: float = 90 * DAY_S  # S12
    drawdown_span_s: float = 24 * HOUR_S  # S24
    vol_jump_span_s: float = 24 * HOUR_S  # S25
    semivariance_span_s: float = 24 * HOUR_S  # S26
    semivariance_window_s: float = 30 * DAY_S
    # Sources whose tenors are worked out from one level: their S13 is no voice beside S12.
    modelled_vol_sources: tuple[str, ...] = ("dvol",)

    def __post_init__(self) -> None:
        object.__setattr__(self, "modelled_vol_sources", tuple(self.modelled_vol_sources))
        within("technical.funding_min_sigma", self.funding_min_sigma, 1e-6, 10.0)
        within("technical.vol_span_s", self.vol_span_s, 1.0, self.vol_window_s)
        within("technical.drawdown_span_s", self.drawdown_span_s, 1.0, YEAR_S)
        within("technical.semivariance_span_s", self.semivariance_span_s, 1.0, self.semivariance_window_s)

    def check_bars(self, bar_s: int) -> None:
        """Raise ConfigError unless MACD's longer bars are whole multiples of ``bar_s``."""
        for name, longer_s in (("entry", self.macd.entry.bar_s), ("regime", self.macd.regime.bar_s)):
            if longer_s % bar_s:
                raise ConfigError(
                    f"signals.technical.macd.{name}.bar_s must be a multiple of signals.bar_s ({bar_s} s), "
                    f"was {longer_s}"
                )
