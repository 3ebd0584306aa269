"""What a person asks of a sweep, as written. The standard library alone: every command imports it."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from bot.simulation.requests import HistoryRequest


@dataclass(frozen=True, slots=True, kw_only=True)
class Search:
    """Which policies are tried: keys varied in one of them, and how cells are drawn."""

    policy: str = "steward"
    space: Path | None = None
    settings: Sequence[str] | None = None  # key=a,b,c
    method: str = "grid"
    trials: int = 64
    seed: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What a chosen cell must keep to; None binds nothing. Shares are texts with a percent sign."""

    removed: str | None = None  # at least
    carry: str | None = None  # at most, a year
    net: str | None = None
    trades: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Judging:
    """What is sought, and how the choice is judged by what it did not see."""

    objective: str = "efficiency"
    limits: Limits = Limits()
    folds: int = 8
    embargo_days: float = 10.0
    hold_out: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Running:
    """How policies are evaluated: on which market, where, and where each result is kept at once."""

    results: Path
    market: Path | None = None
    kernels: bool = False  # where they are proven equal to the engine
    processes: int | None = None  # at once; None: one per core
    ray: str | None = None  # address, where Ray shall run it


@dataclass(frozen=True, slots=True, kw_only=True)
class SweepRequest:
    history: HistoryRequest
    search: Search
    judging: Judging
    running: Running
