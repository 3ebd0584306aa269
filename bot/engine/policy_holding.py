"""The numbers of what is held, R16-R18 and R28: sections of ``Policy``, each key with its bounds."""

from dataclasses import dataclass
from typing import Annotated

from bot.engine.policy_fields import duration, flag, interval, number, percent, refuse, whole
from bot.model.units import DAY_S


@dataclass(frozen=True, slots=True, kw_only=True)
class RollPolicy:
    """R17."""

    venue_cutoff: Annotated[float, duration(0, 7 * DAY_S)]  # seconds before expiry when trading stops
    compare_over: Annotated[float, duration(DAY_S, 90 * DAY_S)]  # seconds
    easing_from: Annotated[float, percent(0, 100)]  # of S13
    easing_to: Annotated[float, percent(-100, 100)]

    def __post_init__(self) -> None:
        if not self.easing_to < self.easing_from:
            raise refuse("roll.easing_to", f"{self.easing_to:.1%}", "under roll.easing_from")


@dataclass(frozen=True, slots=True, kw_only=True)
class LoyaltyPolicy:
    """R18."""

    resize_band: Annotated[tuple[float, float], interval(percent(0, 1_000))]
    min_hold: Annotated[float, duration(0, 30 * DAY_S)]  # seconds
    min_salvage: Annotated[float, percent(0, 100)]

    def __post_init__(self) -> None:
        if not self.resize_band[0] <= 1.0 <= self.resize_band[1]:
            raise refuse("no_loyalty.resize_band", self.resize_band, "a pair around 100 %")


@dataclass(frozen=True, slots=True, kw_only=True)
class MonetisePolicy:
    """R28: when the profit of a leg is taken, and where it goes."""

    enabled: Annotated[bool, flag()]
    delta_over: Annotated[float, number(0.5, 0.99)]  # absolute
    value_over: Annotated[float, number(1.5, 1_000)]  # times the leg's cost
    parts: Annotated[int, whole(1, 20)]  # equal ones, one for each confirmed step
    min_bid: Annotated[float, percent(0, 100)]  # of model value
    to_reserve: Annotated[float, percent(0, 100)]  # of the profit; the rest goes back to R9's budgets


@dataclass(frozen=True, slots=True, kw_only=True)
class OverlayPolicy:
    """R16: the sold condor."""

    enabled: Annotated[bool, flag()]
    delta: Annotated[tuple[float, float], interval(number(0.01, 0.5))]  # absolute, of the sold legs
    credit: Annotated[tuple[float, float], interval(percent(1, 90))]  # over the wider wing's width
    dte: Annotated[tuple[float, float], interval(duration(DAY_S, 60 * DAY_S))]  # seconds, at entry
    roll_at: Annotated[float, duration(0, 30 * DAY_S)]  # seconds to expiry
    vol_ratio: Annotated[float, number(1, 5)]  # implied over realised vol, 30 days each
    max_share: Annotated[float, percent(0, 10)]  # of exposure; method.md R16: at most 10 %

    def __post_init__(self) -> None:
        if not self.roll_at < self.dte[0]:
            least = f"under overlay.dte's start, {self.dte[0] / DAY_S:g} d"
            raise refuse("overlay.roll_at", f"{self.roll_at / DAY_S:g} d", least)
