"""What a scenario is: paths of what is observed, faults of sources and venues, and the figures it must hit.

A scenario is a TOML file. What it leaves out stands as ``standing.toml`` says. Hours count from its first
point.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from bot.simulation.stress.noise import Knots, Steadiness


class Kind(StrEnum):
    """What a scenario is a test of."""

    CRISIS = "crisis"  # the market falls
    PROTOCOL = "protocol"  # a protocol, bridge or stable breaks, the market hardly moves
    OPERATION = "operation"  # the market falls while the bot or its venue cannot work as usual
    ALARM = "false alarm"  # nothing falls far: what hedging costs and how often it alarms in vain


class FaultKind(StrEnum):
    """What is wrong with a source."""

    UNSEEN = "unseen"  # no frame at all: the node does not answer
    FAILING = "failing"  # every read fails: a row without a value
    SILENT = "silent"  # no rows: what is known grows old
    FROZEN = "frozen"  # rows go on with the value of the start: the source is wrong and does not say so


class VenueTrouble(StrEnum):
    """What is wrong with the venues."""

    HALTED = "halted"  # nothing is quoted, and no order is filled but the settlement of what has expired
    WIDE = "wide"  # the spread is a multiple of the usual one


@dataclass(frozen=True, slots=True, kw_only=True)
class Reverting:
    """Mean-reverting noise (Ornstein-Uhlenbeck) in the unit of its path."""

    sigma: float  # standing deviation
    bound: float  # in sigmas


@dataclass(frozen=True, slots=True, kw_only=True)
class Walk:
    """A walk that realises the same vol in every half-day and ends where its curve does."""

    vol: float  # a year
    max_excursion: float  # from the curve, as log
    max_day: float  # of 24 hours, as log
    steadiness: Steadiness


@dataclass(frozen=True, slots=True, kw_only=True)
class Fall:
    """What keeps the calibrated falls of a price the worst ones, whatever the noise.

    Fractions. Free points are lifted where they fall further than ``softened``; noise is damped until no
    hour but ``worst_hour_at`` and no day but the one that ends at ``worst_day_at`` falls as far as ``least``.
    """

    worst_hour_at: int
    worst_day_at: int
    softened_hour: float
    softened_day: float
    least_hour: float
    least_day: float
    inside: tuple[float, float] = (1.004, 0.999)  # of the lowest and of the highest knot


@dataclass(frozen=True, slots=True, kw_only=True)
class PathSpec:
    """One seeded path."""

    name: str
    unit: str
    source: str
    knots: Knots
    digits: int
    is_log: bool = False  # straight in the logarithm, noise is a log return
    is_step: bool = False  # stands at a knot's value until the next knot
    noise: Knots | None = None  # standard deviation an hour, pinned to zero at every knot
    reverting: Reverting | None = None
    walk: Walk | None = None
    fall: Fall | None = None
    lag: float = 0.0  # of the price's hourly log return, taken off
    bounds: tuple[float, float] = (-math.inf, math.inf)
    pins: Knots = field(default_factory=dict)  # exact values, whatever the noise
    wicks: Mapping[float, float] = field(default_factory=dict)  # exact values of single steps within an hour


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """A calibration figure that every seed's path reproduces."""

    name: str  # one of ``figures.MEASURES``
    path: str
    value: float
    tolerance: float
    unit: str
    source: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """Something that cannot be read, from an hour to another, the end left out."""

    kind: FaultKind
    from_h: float
    to_h: float
    sources: tuple[str, ...]  # kinds of sources (before the colon) or metrics; empty: all
    because: str

    def holds(self, hour: float) -> bool:
        return self.from_h <= hour < self.to_h


@dataclass(frozen=True, slots=True, kw_only=True)
class Trouble:
    """Something that the venues do not do, from an hour to another, the end left out."""

    kind: VenueTrouble
    from_h: float
    to_h: float
    times: float  # WIDE: of the usual spread
    because: str

    def holds(self, hour: float) -> bool:
        return self.from_h <= hour < self.to_h


@dataclass(frozen=True, slots=True, kw_only=True)
class Print:
    """A macro release: a figure, and when the next one comes."""

    event: str  # "CPI"
    at_s: int
    value: float  # year on year, fraction
    next_s: int


@dataclass(frozen=True, slots=True, kw_only=True)
class VolSurface:
    """How option vols follow from BTC's index: at-the-money at 30 days, front and back of the term."""

    eth_over_btc: float  # points
    from_points: float  # of the index: stress 0
    to_points: float  # stress 1
    front: tuple[float, float]  # 7-day over 30-day vol at stress 0 and 1
    back: tuple[float, float]  # 90-day over 30-day vol


@dataclass(frozen=True, slots=True, kw_only=True)
class Systems:
    """What is there to be watched beside the market, and what a user has stated."""

    bridge: str = ""  # that the exposure's stable comes over
    loan: float = math.nan  # health factor of the user's loan at the first point; NaN: there is no loan
    loan_share: float = 0.1  # its debt, of exposure


@dataclass(frozen=True, slots=True, kw_only=True)
class Past:
    """The made-up time before a path."""

    vol: float  # of ETH, a year
    steadiness: Steadiness
    iv_swing: float  # how far implied vols swing around their level, as log
    funding_sigma: float  # a year


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """One scenario. ``paths`` draw their noise in this order from one seeded stream."""

    name: str
    alias: str  # shorter name that commands take too; empty: none
    title: str
    kind: Kind
    sources: tuple[str, ...]
    notes: tuple[str, ...]  # what the description leaves out or assumes
    start_s: int
    hours: int
    step_s: int
    stream: int  # keeps scenarios with the same seed apart
    history: Past
    measured: str  # path whose fall is the event
    vol: VolSurface
    paths: tuple[PathSpec, ...]
    standing: tuple[PathSpec, ...]  # paths of standing.toml that this one leaves as they are
    figures: tuple[Figure, ...] = ()
    faults: tuple[Fault, ...] = ()
    troubles: tuple[Trouble, ...] = ()
    prints: tuple[Print, ...] = ()
    systems: Systems = Systems()
    dependencies: Mapping[str, tuple[str, ...]] = field(default_factory=dict)  # added to the policy's

    @property
    def steps_an_hour(self) -> int:
        return 3_600 // self.step_s

    @property
    def steps(self) -> int:
        return self.hours * self.steps_an_hour
