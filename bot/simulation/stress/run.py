"""Takes one policy through one seed of a scenario: the program's own loop on simulated venues."""

import math
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from bot.engine.policy import Policy
from bot.engine.step import decide as engine_decide
from bot.model.market import FloatArray, Metric
from bot.model.record import StepRecord
from bot.model.units import HOUR_S
from bot.pipeline.loop import Decide, Pipeline, view_of
from bot.pipeline.memory_journal import MemoryJournal
from bot.ports import PerpetualVenue
from bot.quant import lp
from bot.simulation.benchmarks.desk import marks_usd
from bot.simulation.exposures import ExposureSpec
from bot.simulation.market.model import Market
from bot.simulation.results import cash_usd
from bot.simulation.stress.description import Scenario, VenueTrouble
from bot.simulation.stress.paths import PRICE, Paths, build_paths
from bot.simulation.stress.venues import (
    Conditions,
    ConditionsAt,
    StressedPerpetualVenue,
    StressedVenue,
    conditions_at,
)
from bot.simulation.stress.world import World, build_world, moments, with_dependencies
from bot.venues.simulated import SimulatedVenue
from bot.venues.simulated_perpetual import SimulatedPerpetualVenue

StepDone = Callable[[], None]


class Told(NamedTuple):
    """One alarm as the bot's user would get it."""

    at_h: float  # from the first point
    severity: str
    title: str
    text: str


Alarms = Callable[[StepRecord], Iterable[tuple[str, Told]]]  # by a key that stands while the condition does


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class StressRun:
    """What happened. Arrays have one value for each step that the bot saw."""

    scenario: Scenario
    seed: int
    spec: ExposureSpec
    policy: str  # its name
    policy_hash: str
    paths: Paths
    hours: FloatArray
    position_usd: FloatArray  # the LP alone, its stable at its own price
    gain_usd: FloatArray  # cash received less paid, and the mark of what is held
    records: tuple[StepRecord, ...]
    told: tuple[Told, ...]  # each condition when it began, or became more severe


async def run_scenario(
    scenario: Scenario,
    seed: int,
    spec: ExposureSpec,
    policy: Policy,
    market: Market,
    *,
    alarms: Alarms = lambda _: (),
    decide: Decide = engine_decide,
    on_step: StepDone | None = None,
) -> StressRun:
    """Run it. Raises ConfigError for a seed under 0 and for an exposure that scenarios do not move."""
    paths = build_paths(scenario, seed)
    world = build_world(paths, spec)
    known = with_dependencies(policy, scenario, spec)
    records, gains, told = list[StepRecord](), list[float](), _Told()
    async for record, gain_usd in _steps(world, known, market, decide):
        records.append(record)
        gains.append(gain_usd)
        told.hear(alarms(record))
        if on_step:
            on_step()
    return StressRun(
        scenario=scenario,
        seed=seed,
        spec=spec,
        policy=policy.name,
        policy_hash=known.hash,
        paths=paths,
        hours=world.seen,
        position_usd=_position_usd(world),
        gain_usd=np.array(gains),
        records=tuple(records),
        told=tuple(told.news),
    )


async def _steps(
    world: World, policy: Policy, market: Market, decide: Decide
) -> AsyncIterator[tuple[StepRecord, float]]:
    """Yield each step's record, and what hedging has gained after its trades."""
    at = _conditions(world, market)
    options = StressedVenue(SimulatedVenue(market.options), at)
    inner = SimulatedPerpetualVenue(market.perpetual) if market.perpetual else None
    perpetual = None if inner is None else StressedPerpetualVenue(inner, at)
    perpetuals: dict[str, PerpetualVenue] = {} if perpetual is None else {perpetual.name: perpetual}
    pipeline = Pipeline(
        mode="stress",
        policy=policy,
        decide=decide,
        venues={options.name: options},
        journal=MemoryJournal(),
        perpetual_venues=perpetuals,
    )
    cash = 0.0
    for moment in moments(world):
        record = await pipeline.step(moment)
        view, book = view_of(moment), pipeline.perpetuals.book
        held = book.held(await perpetual.held_perpetuals(view)) if perpetual else ()
        cash += sum(map(cash_usd, record.outcomes))
        marks = marks_usd(await options.held(view)) + book.open_value_usd(held)
        yield record, cash + book.cash_flow_usd + marks


def _position_usd(world: World) -> FloatArray:
    """Return what the LP is worth at each step that is seen, in dollars.

    Its pool is priced in the stable: off par, arbitrage leaves it with more of what fell.
    """
    paths, spec, parts = world.paths, world.spec, world.scenario.steps_an_hour
    seen = np.round(world.seen * parts).astype(np.int64)
    spot_usd, stable_usd = paths[PRICE][seen], paths[f"{spec.stable.lower()}_usd"][seen]
    shape = spec.open_at(float(paths[PRICE][0])).shape
    return np.asarray(lp.value(shape, spot_usd / stable_usd) * stable_usd)


def _conditions(world: World, market: Market) -> ConditionsAt:
    scenario = world.scenario
    troubles = [
        (
            scenario.start_s + item.from_h * HOUR_S,
            scenario.start_s + item.to_h * HOUR_S,
            Conditions(halted=item.because)
            if item.kind is VenueTrouble.HALTED
            else Conditions(spread_times=item.times),
        )
        for item in scenario.troubles
    ]
    gas = world.columns[world.columns.find(Metric.BASE_FEE_GWEI)[0]]

    def gas_times(now_s: float) -> float:
        gwei = float(gas.until(now_s).values[-1])
        return max(gwei / market.options.gas_gwei, 1.0) if math.isfinite(gwei) else 1.0

    return conditions_at(troubles, gas_times)


class _Told:
    """Keeps what of the conditions is news: one that begins, or becomes more severe."""

    def __init__(self) -> None:
        self.news: list[Told] = []
        self._standing: dict[str, Told] = {}

    def hear(self, conditions: Iterable[tuple[str, Told]]) -> None:
        now = dict(conditions)
        for key, item in now.items():
            before = self._standing.get(key)
            if before is None or before.title != item.title:
                self.news.append(item)
        self._standing = now


def tiers_of(records: Sequence[StepRecord]) -> NDArray[np.int8]:
    """Return the market tier after each step."""
    return np.array([int(item.decision.groups[0].tier) for item in records], dtype=np.int8)
