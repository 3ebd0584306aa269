"""From a value to a stress score, and the checks that all numbers of signals pass."""

import math
from dataclasses import dataclass, fields
from typing import Any

from bot.errors import ConfigError
from bot.model.units import DAY_S


def within(key: str, value: float, low: float, high: float) -> None:
    """Raise ConfigError unless low <= value <= high."""
    if not low <= value <= high:  # also refuses NaN
        raise ConfigError(f"signals.{key} must be between {low:g} and {high:g}, was {value}")


def check_windows(family: str, numbers: Any, *, bar_s: int) -> None:
    """Raise ConfigError for a span or window that is under two bars or over 400 days."""
    for item in fields(numbers):
        if item.name.endswith(("_window_s", "_span_s")):
            within(f"{family}.{item.name}", getattr(numbers, item.name), 2 * bar_s, 400 * DAY_S)


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
