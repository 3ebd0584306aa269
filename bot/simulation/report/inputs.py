"""What the pages of windows, sweeps and Monte Carlo runs are made of: plain values that a run file keeps.

Who runs them fills these; the pages know nothing else of them. Fractions, USD, seconds; NaN is unknown.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

from bot.model.market import FloatArray
from bot.simulation.intervals import UNKNOWN, Interval

LEVELS = (0.05, 0.25, 0.50, 0.75, 0.95)  # of a fan, from below


@dataclass(frozen=True, slots=True, kw_only=True)
class StrategyFigures:
    """R26 of one policy or benchmark over all windows."""

    name: str
    removed: float  # mean over the market crises with a known hedge
    removed_range: Interval = UNKNOWN
    carry: float = math.nan  # a year
    carry_range: Interval = UNKNOWN
    net: float = math.nan
    net_range: Interval = UNKNOWN
    efficiency: float = math.nan
    trades_a_year: float = math.nan
    false_alarms_a_year: float = math.nan  # of a policy
    time_at: Mapping[str, float] = field(default_factory=dict)  # tier -> share of the hours outside crises


@dataclass(frozen=True, slots=True, kw_only=True)
class WindowFigures:
    """One window."""

    id: str
    kind: str
    from_s: float
    to_s: float
    fall: float  # of the price
    is_market_crisis: bool
    unhedged: float  # drawdown of the LP alone
    hedged: Mapping[str, float]  # strategy -> drawdown
    guarded: Mapping[str, float]  # policy -> share of the fall suffered when it stood; NaN not before the low
    elevated: Mapping[str, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class ControlFigures:
    """What the same policy removes on rotations of its own tiers: what is left when its timing is chance."""

    policy: str
    rotations: int
    removed_p95: float


@dataclass(frozen=True, slots=True, kw_only=True)
class WindowsReport:
    """A backtest over crisis and calm windows: policies and benchmarks side by side."""

    title: str
    hours: int  # run for each policy
    lead_days: float  # before each window; NaN: the whole history was run
    own: tuple[str, ...]  # the policies among the strategies
    strategies: tuple[StrategyFigures, ...]  # policies first
    windows: tuple[WindowFigures, ...]
    doubled: tuple[StrategyFigures, ...] = ()  # the same with spread and skew doubled
    control: ControlFigures | None = None
    checks: tuple[tuple[str, str], ...] = ()  # walk-forward and hold-out: what was checked, what came of it
    policies: Mapping[str, Mapping[str, str]] = field(default_factory=dict)  # name -> key -> value as written
    unseen: tuple[str, ...] = ()
    gaps: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()
    assumptions: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class SweepCell:
    """One policy of a sweep."""

    place: int
    values: tuple[str, ...]  # of the sweep's keys, as a policy file writes them
    removed: float = math.nan
    carry: float = math.nan
    net: float = math.nan
    efficiency: float = math.nan
    trades_a_year: float = math.nan
    keeps: bool = False  # every constraint
    plateau: float = math.nan  # the objective, mean of the cell and its neighbours
    is_efficient: bool = False
    refused: str = ""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Heat:
    """The objective over two keys, all others as in the chosen cell."""

    x_key: str
    y_key: str
    x_values: tuple[str, ...]
    y_values: tuple[str, ...]
    rows: tuple[FloatArray, ...]  # one for each value of y; NaN is refused or unknown
    chosen: tuple[int, int]  # row, column


@dataclass(frozen=True, slots=True, kw_only=True)
class SweepReport:
    """Every policy of a sweep, the chosen one, and what is left of its figure."""

    title: str
    objective: str  # name of a figure
    keys: tuple[str, ...]
    cells: tuple[SweepCell, ...]  # the best plateau first
    base: SweepCell  # the policy as it is
    chosen: int | None  # place
    best: int | None  # place of the best cell by itself
    heats: tuple[Heat, ...] = ()
    checks: tuple[tuple[str, str], ...] = ()  # what was checked, and what came of it
    constraints: tuple[str, ...] = ()
    assumptions: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Fan:
    """The distribution of one value over time, without and with hedge."""

    name: str
    unit: str  # "USD" or "share"
    days: FloatArray
    unhedged: tuple[FloatArray, ...]  # one for each of LEVELS
    hedged: tuple[FloatArray, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """A figure of a Monte Carlo run with the interval that its paths give it."""

    value: float
    range: Interval = UNKNOWN


@dataclass(frozen=True, slots=True, kw_only=True)
class RiskFigure:
    """One measure of risk, without and with hedge, and hedged less unhedged."""

    name: str
    unit: str  # "USD", "share", "days" or "number"
    unhedged: Estimate
    hedged: Estimate
    difference: Estimate


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Histogram:
    """How often a change lay in each bin, positive where the hedge did better.

    ``edges`` has one number more than ``counts``.
    """

    name: str
    unit: str
    edges: FloatArray
    counts: FloatArray


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class FanReport:
    """One policy on all paths of a Monte Carlo run."""

    title: str
    paths: int
    days: float
    seed: int
    figures: tuple[RiskFigure, ...]
    fans: tuple[Fan, ...] = ()
    differences: tuple[Histogram, ...] = ()
    policy: Mapping[str, str] = field(default_factory=dict)
    assumptions: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class MonteCarloReport:
    """A Monte Carlo run: every policy on the same paths."""

    title: str
    policies: tuple[FanReport, ...]  # at least one

    @property
    def assumptions(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(line for item in self.policies for line in item.assumptions))
