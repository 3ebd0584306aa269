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
from bot.model.record import StepRecord
from bot.model.units import HOUR_S
from bot.pipeline.loop import Moment
from bot.pipeline.memory_journal import MemoryJournal
from bot.simulation.backtest import alvh_steps, benchmarks, cut_moments, run_strategy
from bot.simulation.exposures import ExposureSpec
from bot.simulation.market_model import Market, with_implied_vols
from bot.simulation.results import cash_usd
from bot.simulation.strategies import Strategy
from bot.simulation.tables import Gap, load_history, lookback_for
from bot.simulation.windows import Segment

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
    moments = tuple(cut_moments(with_implied_vols(history, market), spec, fee_apr=market.fee_apr))
    if not moments:
        return None
    priced = np.array([_is_priced(item, spec, market) for item in moments])
    tiers, blind, alvh = await _run_policy(moments, policy, market, priced, on_hour)
    strategies = benchmarks(policy) if with_benchmarks else ()
    return Track(
        segment=segment,
        times_s=np.array([item.now_s for item in moments]),
        spot_usd=np.array([item.exposures[0].spot_usd for item in moments]),
        position_usd=np.array([_position_usd(item) for item in moments]),
        tiers=tiers,
        blind=blind,
        alvh=alvh,
        benchmarks={item.name: await _benchmark(item, moments, market, priced) for item in strategies},
        missing=history.missing,
        gaps=tuple(item for item in history.gaps if item.in_range),
    )


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
    trades_s = np.sort(np.append(_trades(journal.outcomes()), _perpetual_trades(journal)))
    account = Account(gain_usd=gain, trades_s=trades_s)
    return np.array(tiers, dtype=np.int8), np.array(blind, dtype=np.bool_), account


async def _benchmark(
    strategy: Strategy, moments: Sequence[Moment], market: Market, priced: NDArray[np.bool_]
) -> Account:
    path = await run_strategy(strategy, moments, market)
    gain = np.where(priced, path.hedge_usd + path.cash_usd, np.nan)
    return Account(gain_usd=gain, trades_s=_trades(path.outcomes))


def _is_priced(moment: Moment, spec: ExposureSpec, market: Market) -> bool:
    """Return whether options had a price in this hour: without one, no hedge is not a hedge of 0."""
    vol, at_s = moment.columns.latest(Metric.IV_30D, spec.underlying)
    return math.isfinite(vol) and moment.now_s - at_s <= market.options.vol_max_age_s


def _position_usd(moment: Moment) -> float:
    return sum(item.value_usd + item.fees_uncollected_usd for item in moment.exposures)


def _trades(outcomes: Sequence[LegOutcome]) -> FloatArray:
    done = (LegStatus.FILLED, LegStatus.PARTIAL)
    return np.array(
        [item.at_s for item in outcomes if item.status in done and item.leg.side is not Side.SETTLE],
        dtype=np.float64,
    )


def _perpetual_trades(journal: MemoryJournal) -> FloatArray:
    """Return when a perpetual was bought or sold; margin that moves and a liquidation are no trades."""
    return np.array(
        [
            item.at_s
            for item in journal.perpetual_outcomes()
            if item.filled_size and item.order.action is not PerpetualAction.ENDED
        ],
        dtype=np.float64,
    )


def hours_in(segment: Segment) -> int:
    return int((segment.end_s - segment.start_s) // HOUR_S)
