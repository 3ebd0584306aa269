"""What a person asks of history, as written. The standard library alone: every command imports it."""

from dataclasses import dataclass
from pathlib import Path

ROTATIONS = 60  # R26
POLICIES = ("classic", "steward", "fortress")  # where none is named


@dataclass(frozen=True, slots=True, kw_only=True)
class HistoryRequest:
    """Over which windows, of which history."""

    data: Path
    windows: Path
    exposure: str
    start: str | None = None  # of the history that is run; all of it where not said
    end: str | None = None
    lead_days: float | None = None  # only the windows, from so many days before each


@dataclass(frozen=True, slots=True, kw_only=True)
class Checks:
    """What is run and measured beside the plain run; None is what suits it."""

    doubled: bool | None = None  # all again with spread and skew doubled; None: what is controlled alone
    rotations: int | None = None  # of R26's control; None: 60, but none for windows alone
    folds: int | None = None  # of a walk-forward over the policies; None: no walk-forward
    hold_out: float | None = None  # last share of the time, measured apart; None: nothing is


@dataclass(frozen=True, slots=True, kw_only=True)
class WindowsRequest:
    """A backtest over windows: policies side by side."""

    history: HistoryRequest
    policies: tuple[str, ...] = POLICIES
    market: Path | None = None
    checks: Checks = Checks()
    keep: Path | None = None  # folder of finished parts
    processes: int = 1

    @property
    def is_doubled(self) -> bool:
        """Whether anything is run with spread and skew doubled; not for windows alone, unless asked for."""
        said = self.checks.doubled
        return self.history.lead_days is None if said is None else said

    @property
    def turned(self) -> int:
        """How many rotations of tiers are run."""
        if self.checks.rotations is not None:
            return self.checks.rotations
        return ROTATIONS if self.history.lead_days is None else 0
