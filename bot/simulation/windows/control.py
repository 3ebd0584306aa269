"""R26's control: the same policy on rotations of its own tier series, so that luck has a figure.

A rotation turns the tier series of the whole history by so many hours; everything else, from prices to the
layers, stays where it is. The hedging is the engine's own (``engine.step.decide`` with the tiers put in place
of R1 to R4's), run over the market crises and what comes before them, with a decision whenever the tier
changes and every ``cadence_h`` hours. Rotation 0, the policy's own tiers, is run in the same way: what it
says beside the engine's run shows what the coarser decisions cost.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bot.engine.group import Group
from bot.engine.policy import Policy
from bot.engine.step import Stages
from bot.engine.step import decide as engine_decide
from bot.engine.tier_step import TierStep, decide_tier
from bot.model.hedge import Quote
from bot.model.market import FloatArray, Frame
from bot.model.record import Decision, EngineState, GroupState
from bot.model.tier import Reading, Tier
from bot.model.units import DAY_S, HOUR_S
from bot.pipeline.loop import Moment, Pipeline, view_of
from bot.pipeline.memory_journal import MemoryJournal
from bot.ports import MarketView
from bot.signals import read_signals
from bot.simulation.backtest import cut_moments
from bot.simulation.benchmarks.desk import marks_usd
from bot.simulation.exposures import ExposureSpec
from bot.simulation.history.tables import load_history, lookback_for
from bot.simulation.market.model import HOLE_S, Market, with_implied_vols
from bot.simulation.metrics import max_drawdown
from bot.simulation.results import cash_usd
from bot.simulation.windows.file import Segment, Window, segments_of
from bot.simulation.windows.measures import COVERAGE, WindowFinding
from bot.simulation.windows.run import Track, position_usd
from bot.venues.simulated import SimulatedVenue
from bot.venues.simulated_perpetual import SimulatedPerpetualVenue

LEAD_S = 60 * DAY_S  # a TAIL leg lives so long at most: after it, all that is held was bought at these tiers
CADENCE_H = 24


@dataclass(frozen=True, slots=True, kw_only=True)
class ControlFinding:
    """What rotated tiers removed. Fractions; NaN is unknown."""

    strategy: str
    removed: tuple[float, ...]  # by each rotation: the mean over the same market crises
    own_removed: float  # by the policy's own tiers, decided as rarely
    cadence_h: int

    @property
    def rotations(self) -> int:
        return len(self.removed)

    @property
    def removed_p95(self) -> float:
        known = [value for value in self.removed if math.isfinite(value)]
        return float(np.quantile(known, 0.95)) if known else math.nan

    @property
    def removed_median(self) -> float:
        known = [value for value in self.removed if math.isfinite(value)]
        return float(np.median(known)) if known else math.nan

    def to_json(self) -> dict[str, object]:
        """Return plain values; NaN is null."""
        figures = {
            "removed_p95": self.removed_p95,
            "removed_median": self.removed_median,
            "own_removed": self.own_removed,
        }
        return {
            "rotations": self.rotations,
            **{name: value if math.isfinite(value) else None for name, value in figures.items()},
            "strategy": self.strategy,
            "cadence_hours": self.cadence_h,
        }


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class TierSeries:
    """The tiers of a policy over all hours that were run, as one series that can be turned."""

    times_s: FloatArray
    tiers: NDArray[np.int8]

    def rotated(self, times_s: FloatArray, hours: int) -> NDArray[np.int8]:
        """Return the tiers at given times after turning the series by so many of its hours.

        An hour that is not in the series takes the next one's tier.
        """
        place = np.searchsorted(self.times_s, times_s) + hours
        return self.tiers[place % self.times_s.size]


def tier_series(tracks: Sequence[Track]) -> TierSeries:
    """Return the tiers of tracks in time order."""
    ordered = sorted(tracks, key=lambda item: item.segment.start_s)
    return TierSeries(
        times_s=np.concatenate([item.times_s for item in ordered]),
        tiers=np.concatenate([item.tiers for item in ordered]),
    )


def turns(hours: int, *, rotations: int) -> tuple[int, ...]:
    """Return by how many hours each rotation turns a series of so many: equal steps, none of them 0."""
    return tuple(round(hours * (at + 1) / (rotations + 1)) for at in range(rotations))


def control_stretches(
    findings: Sequence[WindowFinding], segments: Sequence[Segment], *, lead_s: float = LEAD_S
) -> tuple[Segment, ...]:
    """Return what is run for the control: each market crisis with a known hedge, and the time before it.

    Nothing reaches out of the stretch of history that its crisis is in.
    """
    crises = [item.window for item in findings if item.is_market_crisis and math.isfinite(item.unhedged)]
    found = []
    for stretch in segments_of(crises, lead_s=lead_s):
        home = next(item for item in segments if stretch.windows[0] in item.windows)
        found.append(replace(stretch, start_s=max(stretch.start_s, home.start_s)))
    return tuple(found)


def control_finding(
    strategy: str, parts: Sequence[Mapping[int, Mapping[str, float]]], *, rotations: int, cadence_h: int
) -> ControlFinding:
    """Return all stretches together; each part maps a rotation to what it removed by window."""

    def mean(rotation: int) -> float:
        values = [value for part in parts for value in part.get(rotation, {}).values()]
        known = [value for value in values if math.isfinite(value)]
        return float(np.mean(known)) if known else math.nan

    return ControlFinding(
        strategy=strategy,
        removed=tuple(mean(rotation) for rotation in range(1, rotations + 1)),
        own_removed=mean(0),
        cadence_h=cadence_h,
    )


async def run_rotations(
    data: Path,
    stretch: Segment,
    spec: ExposureSpec,
    policy: Policy,
    market: Market,
    *,
    series: TierSeries,
    rotations: Mapping[int, int],
    cadence_h: int = CADENCE_H,
    on_hour: Callable[[], None] | None = None,
) -> Mapping[int, Mapping[str, float]]:
    """Return what each rotation removed in each window of a stretch. ``rotations``: name -> hours turned.

    All of them go through the hours together, so that quotes and readings are made once.
    """
    moments = _moments(data, stretch, spec, policy, market)
    times_s = np.array([item.now_s for item in moments])
    shared = _Shared(market=market)
    runs = [
        _Rotation(name, policy, market, shared, tiers=series.rotated(times_s, hours), cadence_h=cadence_h)
        for name, hours in rotations.items()
    ]
    watched = _inside(times_s, stretch.windows)
    for at, moment in enumerate(moments):
        shared.forget()
        view = view_of(moment)
        for run in runs:
            if run.is_due(at):
                await run.step(moment, at)
            if watched[at]:
                await run.mark(view)
        if on_hour:
            on_hour()
    position = np.array([position_usd(item) for item in moments])[watched]
    return {run.name: run.removed(stretch.windows, times_s[watched], position) for run in runs}


def _moments(
    data: Path, stretch: Segment, spec: ExposureSpec, policy: Policy, market: Market
) -> tuple[Moment, ...]:
    lookback_s = lookback_for(policy.sizing.history_days)
    history = load_history(data, spec, from_s=stretch.start_s, to_s=stretch.end_s, lookback_s=lookback_s)
    filled = with_implied_vols(history, market)
    return tuple(cut_moments(filled, spec, fee_apr=market.fee_apr, position=market.position(spec)))


@dataclass(slots=True, kw_only=True)
class _Shared:
    """What is the same for every rotation at one moment, made once."""

    market: Market
    quotes: dict[tuple[str, float], Sequence[Quote]] = field(default_factory=dict)
    readings: tuple[Reading, ...] | None = None

    def forget(self) -> None:
        self.quotes.clear()
        self.readings = None

    def read(self, policy: Policy, frame: Frame) -> tuple[Reading, ...]:
        if self.readings is None:
            self.readings = tuple(read_signals(frame.columns, now_s=frame.now_s, policy=policy.signals))
        return self.readings


class _SharingVenue(SimulatedVenue):
    """A simulated venue that takes quotes from the ones made for another rotation."""

    def __init__(self, shared: _Shared) -> None:
        super().__init__(shared.market.options)
        self._shared = shared

    async def quotes(self, view: MarketView, *, underlying: str, size: float) -> Sequence[Quote]:
        place = (underlying, size)
        if place not in self._shared.quotes:
            self._shared.quotes[place] = await super().quotes(view, underlying=underlying, size=size)
        return self._shared.quotes[place]


class _Rotation:
    """One account under one rotation of the tiers."""

    def __init__(
        self,
        name: int,
        policy: Policy,
        market: Market,
        shared: _Shared,
        *,
        tiers: NDArray[np.int8],
        cadence_h: int,
    ) -> None:
        self.name = name
        self.gains: list[float] = []  # one a watched hour
        self._tiers, self._cadence_h = tiers, cadence_h
        self._tier = Tier.CALM
        self._cash_usd = 0.0
        self._stages = Stages(read=shared.read, tier=self._put_tier)
        self._venue = _SharingVenue(shared)
        perpetual = SimulatedPerpetualVenue(market.perpetual) if market.perpetual else None
        self._perpetual = perpetual
        self._pipeline = Pipeline(
            mode="backtest",
            policy=policy,
            decide=self._decide,
            venues={self._venue.name: self._venue},
            journal=MemoryJournal(),
            perpetual_venues={} if perpetual is None else {perpetual.name: perpetual},
        )

    def is_due(self, at: int) -> bool:
        """Say whether to decide at an hour: the tier has changed, or it is time."""
        return at == 0 or at % self._cadence_h == 0 or bool(self._tiers[at] != self._tiers[at - 1])

    async def step(self, moment: Moment, at: int) -> None:
        self._tier = Tier(int(self._tiers[at]))
        record = await self._pipeline.step(moment)
        self._cash_usd += sum(map(cash_usd, record.outcomes))

    async def mark(self, view: MarketView) -> None:
        """Note what hedging has gained by now."""
        book = self._pipeline.perpetuals.book
        held = book.held(await self._perpetual.held_perpetuals(view)) if self._perpetual else ()
        options_usd = marks_usd(await self._venue.held(view))
        self.gains.append(self._cash_usd + options_usd + book.cash_flow_usd + book.open_value_usd(held))

    def removed(
        self, windows: Sequence[Window], times_s: FloatArray, position_usd: FloatArray
    ) -> dict[str, float]:
        """Return what it removed in each window. Both arrays have one value for each watched hour."""
        gains_usd = np.array(self.gains)
        return {item.id: _removed(item, times_s, position_usd, gains_usd) for item in windows}

    def _decide(self, policy: Policy, state: EngineState, frame: Frame) -> tuple[EngineState, Decision]:
        return engine_decide(policy, state, frame, stages=self._stages)

    def _put_tier(
        self,
        policy: Policy,
        before: GroupState,
        frame: Frame,
        group: Group,
        readings: Sequence[Reading],
        holds: Sequence[str],
    ) -> TierStep:
        """Return R1 to R4's step with this rotation's tier in it."""
        found = decide_tier(policy, before, frame, group, readings, holds)
        state = replace(found.context.state, tier=self._tier, pending=())
        return replace(found, context=replace(found.context, state=state), needed=self._tier)


def _inside(times_s: FloatArray, windows: Sequence[Window]) -> NDArray[np.bool_]:
    found = np.zeros(times_s.size, dtype=bool)
    for window in windows:
        found |= (times_s >= window.start_s) & (times_s <= window.end_s)
    return found


def _removed(window: Window, times_s: FloatArray, position: FloatArray, gains: FloatArray) -> float:
    """Return 1 - hedged / unhedged drawdown in a window, as ``measures`` reckons it."""
    known = (times_s >= window.start_s) & (times_s <= window.end_s) & np.isfinite(gains)
    if int((known & (times_s > window.start_s)).sum()) < COVERAGE * (window.end_s - window.start_s) / HOUR_S:
        return math.nan
    at_s, alone, gain = times_s[known], position[known], gains[known]
    unhedged = max_drawdown(alone, times_s=at_s, hole_s=HOLE_S)
    hedged = max_drawdown(alone + gain - gain[0], times_s=at_s, hole_s=HOLE_S)
    return 1.0 - hedged / unhedged if unhedged > 0.0 else math.nan
