"""Every number that a signal needs, with the defaults of method.md. Table ``[signals]`` of a policy file."""

from dataclasses import dataclass

from bot.errors import ConfigError
from bot.model.units import DAY_S, HOUR_S, MINUTE_S
from bot.signals.anchors import Anchors, check_windows, within
from bot.signals.fundamental_policy import FundamentalPolicy
from bot.signals.onchain_policy import OnchainPolicy
from bot.signals.technical_policy import MacdPolicy, TechnicalPolicy

__all__ = ["Anchors", "MacdPolicy", "SignalsPolicy"]


@dataclass(frozen=True, slots=True, kw_only=True)
class SignalsPolicy:
    """What all signals share, and the numbers of each family."""

    onchain: OnchainPolicy = OnchainPolicy()
    technical: TechnicalPolicy = TechnicalPolicy()
    fundamental: FundamentalPolicy = FundamentalPolicy()

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
    stables: tuple[str, ...] = ("DAI", "USDC", "USDT", "sUSD")  # S3 compares their pools to 1

    def __post_init__(self) -> None:
        object.__setattr__(self, "stables", tuple(self.stables))
        within("bar_s", self.bar_s, 60, DAY_S)
        if DAY_S % self.bar_s:
            raise ConfigError(f"signals.bar_s must divide a day of {DAY_S} s, was {self.bar_s}")
        within("coverage", self.coverage, 0.1, 1.0)
        within("hold_http_intervals", self.hold_http_intervals, 0.0, 10.0)
        within("late_intervals", self.late_intervals, 1.0, 10.0)
        within("max_interval_s", self.max_interval_s, self.bar_s, 7 * DAY_S)
        for name in ("hold_chain_s", "feed_heartbeat_s", "max_hole_s"):
            within(name, getattr(self, name), 0.0, 30 * DAY_S)
        for family in ("onchain", "technical", "fundamental"):
            check_windows(family, getattr(self, family), bar_s=self.bar_s)
        self.technical.check_bars(self.bar_s)

    @property
    def max_hole_bars(self) -> int:
        """Return the longest hole that is skipped, in bars."""
        return int(self.max_hole_s // self.bar_s)

    @property
    def slack_s(self) -> float:
        """Return how far behind now the last good observation may lie before a reading is missing."""
        return self.slack_of_s(self.max_interval_s)

    def slack_of_s(self, interval_s: float) -> float:
        """Return ``slack_s`` of a source whose rows come at most so far apart."""
        late_s = max(self.late_intervals * interval_s, self.feed_heartbeat_s)
        return late_s + max(self.hold_chain_s, self.hold_http_intervals * interval_s)

    def bars(self, span_s: float) -> int:
        """Return how many whole bars a span has."""
        return int(span_s // self.bar_s)
