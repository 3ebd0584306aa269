"""Runs the engine and the benchmarks over real history, hour by hour, on one simulated market."""

import math
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from bot.engine.policy import Policy
from bot.engine.step import decide as engine_decide
from bot.errors import ConfigError
from bot.model.market import Block, Column, Columns, FloatArray, SeriesKey
from bot.model.record import StepRecord
from bot.model.units import DAY_S, HOUR_S, YEAR_S, iso_utc
from bot.pipeline.loop import Decide, Moment, Pipeline, view_of
from bot.pipeline.memory_journal import MemoryJournal
from bot.ports import PerpetualVenue, VenuePosition
from bot.simulation.benchmarks.desk import Path, marks_usd, run_strategy
from bot.simulation.benchmarks.strategies import (
    DeltaHedge,
    PerpetualStrategy,
    PutProgramme,
    StaticLayers,
    Strategy,
    TailProgramme,
)
from bot.simulation.exposures import ExposureSpec, PositionPath
from bot.simulation.history.tables import History
from bot.simulation.market.model import HOLE_S, Market, with_implied_vols
from bot.simulation.metrics import max_drawdown
from bot.simulation.results import (
    ALVH,
    UNHEDGED,
    BacktestResult,
    StrategyResult,
    cash_usd,
    shapes_of,
    tier_changes,
)
from bot.venues.simulated import SimulatedVenue
from bot.venues.simulated_perpetual import SimulatedPerpetualVenue

_ENDED_S = DAY_S  # a file that ended longer ago is absent, not failing
_BLOCK_S = 12  # simulated block time: R3 counts blocks
_DUST = 1e-9

Progress = Callable[[int, int], None]  # hours done, hours in all


async def run_backtest(
    history: History,
    spec: ExposureSpec,
    policy: Policy,
    market: Market,
    *,
    decide: Decide = engine_decide,
    progress: Progress | None = None,
) -> BacktestResult:
    """Run alvh and every benchmark on the same hours, prices and costs.

    Raises ConfigError when the history has no hour in its range.
    """
    moments = _moments_of(history, spec, market)
    times_s = np.array([item.now_s for item in moments])
    position_usd = np.array([_position_usd(item) for item in moments])
    records, path, final_positions = await _run_alvh(moments, policy, market, decide, progress)
    runs = [(ALVH, "This program: layered puts by tier.", path)]
    runs += await _run_benchmarks(history, spec, policy, market)
    strategies, known = _side_by_side(runs, times_s, position_usd)
    return BacktestResult(
        spec=spec,
        policy_hash=policy.hash,
        times_s=times_s,
        spot_usd=np.array([item.exposures[0].spot_usd for item in moments]),
        position_usd=position_usd,
        strategies=strategies,
        records=records,
        tiers=tuple(tier_changes(records)),
        final_positions=final_positions,
        assumptions=market.assumptions(spec.underlying),
        found=history.found,
        missing=(*_unknown_words(times_s, known), *history.missing),
        gaps=tuple(item for item in history.gaps if item.in_range),
        shapes=shapes_of(item.exposures[0].shape for item in moments),
    )


def _moments_of(history: History, spec: ExposureSpec, market: Market) -> tuple[Moment, ...]:
    priced = with_implied_vols(history, market)
    moments = tuple(cut_moments(priced, spec, fee_apr=market.fee_apr, position=market.position(spec)))
    if not moments:
        raise ConfigError(
            f"no hour with a price between {iso_utc(history.from_s)} and {iso_utc(history.to_s)}; "
            "choose another --from and --to"
        )
    return moments


async def _run_benchmarks(
    history: History, spec: ExposureSpec, policy: Policy, market: Market
) -> list[tuple[str, str, Path]]:
    """Return (name, about, path) of every benchmark and of the position alone.

    Programmes that are defined by the index's level read the modelled one where none was published.
    """
    filled = with_implied_vols(history, market, index_everywhere=market.realised.fills)
    moments = tuple(cut_moments(filled, spec, fee_apr=market.fee_apr, position=market.position(spec)))
    runs = [
        (strategy.name, strategy.about, await run_strategy(strategy, moments, market))
        for strategy in benchmarks(policy)
    ]
    nothing = Path(
        hedge_usd=np.zeros(len(moments)),
        perpetual_usd=np.zeros(len(moments)),
        cash_usd=np.zeros(len(moments)),
    )
    return [*runs, (UNHEDGED, "The position alone.", nothing)]


def benchmarks(policy: Policy) -> tuple[Strategy | PerpetualStrategy, ...]:
    """Return fresh benchmark strategies; they keep state, so one set serves one run.

    What is sized on value at risk reads the same paths as the engine does under ``policy``.
    """
    sizing = policy.sizing
    static = StaticLayers(
        history_days=sizing.history_days, horizon_days=sizing.horizon_days, confidence=sizing.confidence
    )
    return (static, PutProgramme(), TailProgramme(), DeltaHedge())


def cut_moments(
    history: History, spec: ExposureSpec, *, fee_apr: float = 0.0, position: PositionPath | None = None
) -> Iterator[Moment]:
    """Yield one moment at the end of every hour that has a price; hours without one are not there.

    A series whose file has ended, or not begun, is left out: its source is absent, not failing.
    ``position``: as it is opened and opened anew; opened once where not said.
    """
    price, cut = history.price, _Cut(history)
    ends_s = np.ceil(price.times_s / HOUR_S) * HOUR_S
    inside = (ends_s >= history.from_s) & (ends_s <= history.to_s)
    position = position or PositionPath(spec=spec)
    fees_usd, last_s = 0.0, math.nan
    for now_s, spot_usd in zip(ends_s[inside].tolist(), price.values[inside].tolist(), strict=True):
        exposure = position.at(now_s, spot_usd)
        if fee_apr > 0.0:
            hours_s = now_s - last_s if now_s - last_s <= HOLE_S else 0.0  # none earned across a hole
            fees_usd += exposure.value_usd * fee_apr * hours_s / YEAR_S
            exposure = replace(
                exposure,
                fees_uncollected_usd=fees_usd,
                fee_income_30d_usd=exposure.value_usd * fee_apr * 30.0 * DAY_S / YEAR_S,
            )
        last_s = now_s
        yield Moment(
            now_s=now_s,
            blocks={exposure.chain_id: _block(exposure.chain_id, now_s)},
            columns=cut.at(now_s),
            exposures=(exposure,),
        )


class _Cut:
    """The series of a history up to one hour after the other; what has no new row stays the same object."""

    def __init__(self, history: History) -> None:
        # Each series has a memo, so that the bars of an hour serve the next one too.
        self._whole = {key: replace(item, memo={}) for key, item in history.columns.series.items()}
        self._gone_s = {key: history.ends_s.get(key, math.inf) + _ENDED_S for key in self._whole}
        self._parts: dict[SeriesKey, Column] = {}

    def at(self, now_s: float) -> Columns:
        series = {}
        for key, column in self._whole.items():
            part = column.until(now_s)
            known = self._parts.get(key)
            if known is None or known.times_s.size != part.times_s.size:
                known = self._parts[key] = part
            if known.times_s.size and now_s <= self._gone_s[key]:
                series[key] = known
        return Columns(series=series)


def _block(chain_id: int, now_s: float) -> Block:
    number = int(now_s) // _BLOCK_S
    return Block(
        chain_id=chain_id,
        number=number,
        hash=f"simulated:{number}",
        parent_hash=f"simulated:{number - 1}",
        timestamp_s=int(now_s),
    )


class AlvhStep(NamedTuple):
    """One step, and what is held and was gained after its trades; the record's sums are of before them."""

    record: StepRecord
    positions: tuple[VenuePosition, ...]
    perpetual_open_usd: float  # what closing the perpetuals at the mark would gain; NaN without a price
    perpetual_cash_usd: float  # what perpetuals brought so far: gains and funding less fees and gas

    @property
    def hedge_usd(self) -> float:
        return marks_usd(self.positions) + self.perpetual_open_usd


async def _run_alvh(
    moments: Sequence[Moment], policy: Policy, market: Market, decide: Decide, progress: Progress | None
) -> tuple[tuple[StepRecord, ...], Path, tuple[VenuePosition, ...]]:
    """Drive the program's own loop over the moments; also return what is held at the end."""
    journal = MemoryJournal()
    records: list[StepRecord] = []
    marks: list[float] = []
    perpetuals: list[float] = []
    positions: tuple[VenuePosition, ...] = ()
    cash: list[float] = []
    async for step in alvh_steps(moments, policy, market, decide=decide, journal=journal):
        records.append(step.record)
        positions = step.positions
        marks.append(step.hedge_usd)
        perpetuals.append(step.perpetual_open_usd)
        cash.append(step.perpetual_cash_usd)
        if progress:
            progress(len(records), len(moments))
    options = np.cumsum([sum(map(cash_usd, item.outcomes)) for item in records], dtype=np.float64)
    path = Path(
        hedge_usd=np.array(marks),
        perpetual_usd=np.array(perpetuals),
        cash_usd=options + np.array(cash),
        outcomes=journal.outcomes(),
    )
    return tuple(records), path, positions


async def alvh_steps(
    moments: Sequence[Moment],
    policy: Policy,
    market: Market,
    *,
    journal: MemoryJournal,
    decide: Decide = engine_decide,
) -> AsyncIterator[AlvhStep]:
    """Yield each step's record and what is held after its trades.

    A record's own cash and mark are of before its trades; a path wants those after them.
    """
    venue = SimulatedVenue(market.options)
    perpetual = SimulatedPerpetualVenue(market.perpetual) if market.perpetual else None
    perpetuals: dict[str, PerpetualVenue] = {} if perpetual is None else {perpetual.name: perpetual}
    pipeline = Pipeline(
        mode="backtest",
        policy=policy,
        decide=decide,
        venues={venue.name: venue},
        journal=journal,
        perpetual_venues=perpetuals,
    )
    views = map(view_of, moments)
    async for record in pipeline.run(_feed(moments)):
        view, book = next(views), pipeline.perpetuals.book
        held = book.held(await perpetual.held_perpetuals(view)) if perpetual else ()
        yield AlvhStep(
            record=record,
            positions=await venue.held(view),
            perpetual_open_usd=book.open_value_usd(held),
            perpetual_cash_usd=book.cash_flow_usd,
        )


async def _feed(moments: Sequence[Moment]) -> AsyncIterator[Moment]:
    for moment in moments:
        yield moment


def _side_by_side(
    runs: Sequence[tuple[str, str, Path]], times_s: FloatArray, position_usd: FloatArray
) -> tuple[dict[str, StrategyResult], NDArray[np.bool_]]:
    """Return every strategy by name, and the hours with a value of all of them: falls are of these."""
    known = np.logical_and.reduce([np.isfinite(path.cash_usd + path.hedge_usd) for _, _, path in runs])
    found = {run[0]: _result(*run, times_s, position_usd, known=known) for run in runs}
    return found, known


def _result(
    name: str,
    about: str,
    path: Path,
    times_s: FloatArray,
    position_usd: FloatArray,
    *,
    known: NDArray[np.bool_],
) -> StrategyResult:
    value_usd = position_usd + path.cash_usd + path.hedge_usd
    own = np.flatnonzero(np.isfinite(value_usd))
    last = int(own[-1]) if own.size else 0  # the first hour has no hedge and is always known
    return StrategyResult(
        name=name,
        about=about,
        value_usd=value_usd,
        hedge_usd=path.hedge_usd,
        perpetual_usd=path.perpetual_usd,
        cash_usd=path.cash_usd,
        outcomes=path.outcomes,
        perpetuals=path.perpetuals,
        final_value_usd=float(value_usd[last]),
        final_s=float(times_s[last]),
        max_drawdown=max_drawdown(value_usd[known], times_s=times_s[known], hole_s=HOLE_S),
        cost_usd=float(position_usd[last] - value_usd[last]),
    )


def _unknown_words(times_s: FloatArray, known: NDArray[np.bool_]) -> Iterator[str]:
    """Yield a line where some hours leave the value of a hedge unknown: nothing is compared in them."""
    unknown = np.flatnonzero(~known)
    if unknown.size:
        yield (
            f"values: in {unknown.size:,} of {known.size:,} hours a hedge has no price, first at "
            f"{iso_utc(times_s[unknown[0]])}; falls are of the other hours, for all alike, and a final value "
            "is the last known"
        )


def _position_usd(moment: Moment) -> float:
    return sum(item.value_usd + item.fees_uncollected_usd for item in moment.exposures)
