"""Runs one policy and the benchmarks over one segment, and keeps what the measures need of every hour."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bot.engine.policy import Policy
from bot.model.hedge import LegOutcome, LegStatus, Side
from bot.model.market import FloatArray, Metric
from bot.model.perpetual import PerpetualAction
from bot.model.perpetual_outcome import PerpetualOutcome
from bot.model.record import StepRecord
from bot.model.units import HOUR_S
from bot.pipeline.loop import Moment
from bot.pipeline.memory_journal import MemoryJournal
from bot.simulation.backtest import alvh_steps, benchmarks, cut_moments
from bot.simulation.benchmarks.desk import run_strategy
from bot.simulation.exposures import ExposureSpec
from bot.simulation.history.tables import Gap, History, load_history, lookback_for
from bot.simulation.market.model import Market, with_implied_vols
from bot.simulation.results import cash_usd
from bot.simulation.windows.file import Segment

HourDone = Callable[[], None]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Account:
    """What hedging did to the account: one value an hour, USD."""

    gain_usd: FloatArray  # cash received less paid, and the mark of what is held; NaN where unpriced
    trades_s: FloatArray  # when something was bought or sold; settling at expiry is no trade


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Track:
    """One policy over one segment. Hours without a price are not there."""

    segment: Segment
    times_s: FloatArray  # ends of hours
    spot_usd: FloatArray
    position_usd: FloatArray  # the LP alone
    tiers: NDArray[np.int8]  # market tier after the step
    blind: NDArray[np.bool_]  # a family was degraded or no signal live: CALM is not known to be calm
    alvh: Account
    benchmarks: Mapping[str, Account]  # empty where they were not asked for
    missing: tuple[str, ...]  # files and series that had nothing for this segment
    gaps: tuple[Gap, ...]


class _LastStep(MemoryJournal):
    """Keeps the newest step alone: a year of hourly records would fill the memory."""

    def append_step(self, record: StepRecord) -> None:
        super().append_step(record)
        del self._steps[:-1]


async def run_segment(
    data: Path,
    segment: Segment,
    spec: ExposureSpec,
    policy: Policy,
    market: Market,
    *,
    with_benchmarks: bool,
    on_hour: HourDone | None = None,
) -> Track | None:
    """Return what happened in a segment; None when no hour of it has a price.

    Raises ConfigError for files that cannot be read.
    """
    history = load_history(
        data,
        spec,
        from_s=segment.start_s,
        to_s=segment.end_s,
        lookback_s=lookback_for(policy.sizing.history_days),
    )
    priced_history, position = with_implied_vols(history, market), market.position(spec)
    moments = tuple(cut_moments(priced_history, spec, fee_apr=market.fee_apr, position=position))
    if not moments:
        return None
    priced = priced_hours(moments, spec, market)
    tiers, blind, alvh = await _run_policy(moments, policy, market, priced, on_hour)
    beside = await _accounts(history, spec, policy, market) if with_benchmarks else {}
    return Track(
        segment=segment,
        times_s=np.array([item.now_s for item in moments]),
        spot_usd=np.array([item.exposures[0].spot_usd for item in moments]),
        position_usd=np.array([position_usd(item) for item in moments]),
        tiers=tiers,
        blind=blind,
        alvh=alvh,
        benchmarks=beside,
        missing=history.missing,
        gaps=tuple(item for item in history.gaps if item.in_range),
    )


async def run_benchmarks(
    data: Path,
    segment: Segment,
    spec: ExposureSpec,
    policy: Policy,
    market: Market,
    *,
    on_hour: HourDone | None = None,
) -> Mapping[str, Account]:
    """Return the account of every benchmark in a segment, by name; empty when no hour of it has a price.

    ``policy`` says on which paths the static programme is sized. Raises ConfigError like ``run_segment``.
    """
    history = load_history(
        data,
        spec,
        from_s=segment.start_s,
        to_s=segment.end_s,
        lookback_s=lookback_for(policy.sizing.history_days),
    )
    return await _accounts(history, spec, policy, market, on_hour)


async def _accounts(
    history: History,
    spec: ExposureSpec,
    policy: Policy,
    market: Market,
    on_hour: HourDone | None = None,
) -> Mapping[str, Account]:
    # Programmes that are defined by the index's level read the modelled one where none was published.
    filled = with_implied_vols(history, market, index_everywhere=market.realised.fills)
    moments = tuple(cut_moments(filled, spec, fee_apr=market.fee_apr, position=market.position(spec)))
    if not moments:
        return {}
    priced, found = priced_hours(moments, spec, market), dict[str, Account]()
    strategies = benchmarks(policy)
    for strategy in strategies:
        is_last = strategy is strategies[-1]
        path = await run_strategy(strategy, moments, market, on_hour=on_hour if is_last else None)
        gain = np.where(priced, path.hedge_usd + path.cash_usd, np.nan)
        trades_s = np.append(_trades(path.outcomes), _perpetual_trades(path.perpetuals))
        found[strategy.name] = Account(gain_usd=gain, trades_s=np.sort(trades_s))
    return found


def priced_hours(moments: Sequence[Moment], spec: ExposureSpec, market: Market) -> NDArray[np.bool_]:
    """Return in which hours options had a price."""
    return np.array([_is_priced(item, spec, market) for item in moments])


async def _run_policy(
    moments: Sequence[Moment],
    policy: Policy,
    market: Market,
    priced: NDArray[np.bool_],
    on_hour: HourDone | None,
) -> tuple[NDArray[np.int8], NDArray[np.bool_], Account]:
    journal = _LastStep()
    tiers, blind, marks, cash = [], [], [], []
    async for step in alvh_steps(moments, policy, market, journal=journal):
        (group,) = step.record.decision.groups
        tiers.append(int(group.tier))
        blind.append(bool(group.degraded) or not any(vote.live for vote in group.votes))
        marks.append(step.hedge_usd + step.perpetual_cash_usd)
        cash.append(sum(map(cash_usd, step.record.outcomes)))
        if on_hour:
            on_hour()
    gain = np.where(priced, np.array(marks) + np.cumsum(cash, dtype=np.float64), np.nan)
    perpetuals = _perpetual_trades(journal.perpetual_outcomes())
    trades_s = np.sort(np.append(_trades(journal.outcomes()), perpetuals))
    account = Account(gain_usd=gain, trades_s=trades_s)
    return np.array(tiers, dtype=np.int8), np.array(blind, dtype=np.bool_), account


def _is_priced(moment: Moment, spec: ExposureSpec, market: Market) -> bool:
    """Return whether options had a price in this hour: without one, no hedge is not a hedge of 0."""
    vol, at_s = moment.columns.latest(Metric.IV_30D, spec.underlying)
    return math.isfinite(vol) and moment.now_s - at_s <= market.options.vol_max_age_s


def position_usd(moment: Moment) -> float:
    """Return what the LP alone is worth, fees that were not collected in it."""
    return sum(item.value_usd + item.fees_uncollected_usd for item in moment.exposures)


def _trades(outcomes: Sequence[LegOutcome]) -> FloatArray:
    done = (LegStatus.FILLED, LegStatus.PARTIAL)
    return np.array(
        [item.at_s for item in outcomes if item.status in done and item.leg.side is not Side.SETTLE],
        dtype=np.float64,
    )


def _perpetual_trades(outcomes: Sequence[PerpetualOutcome]) -> FloatArray:
    """Return when a perpetual was bought or sold; margin that moves and a liquidation are no trades."""
    return np.array(
        [
            item.at_s
            for item in outcomes
            if item.filled_size and item.order.action is not PerpetualAction.ENDED
        ],
        dtype=np.float64,
    )


def hours_in(segment: Segment) -> int:
    return int((segment.end_s - segment.start_s) // HOUR_S)
