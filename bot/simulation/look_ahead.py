"""Checks that no decision knows the future: what comes after a moment is changed, what came before must not.

Both runs are the real path: files, modelled vols, the program's own loop, the simulated venues, and every
benchmark. A change that moves nothing after the moment either would prove nothing, so that is told too.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from bot.engine.policy import Policy
from bot.model.market import Column, Columns, Metric, SeriesKey
from bot.model.units import DAY_S, HOUR_S, iso_utc
from bot.pipeline import codec
from bot.pipeline.memory_journal import MemoryJournal
from bot.pipeline.moments import Moment
from bot.simulation.backtest import alvh_steps, benchmarks, cut_moments
from bot.simulation.benchmarks.desk import run_strategy
from bot.simulation.exposures import ExposureSpec
from bot.simulation.history.tables import History
from bot.simulation.market.model import Market, with_implied_vols

BEFORE_S, AFTER_S = 3 * DAY_S, DAY_S  # what is run around each moment
_NOISE = 0.10  # of what comes after it, in logs
_SHIFT_S = 2.0 * DAY_S  # of release times
Ready = Callable[[History, Market], History]


@dataclass(frozen=True, slots=True, kw_only=True)
class Probe:
    """One moment and one strategy."""

    strategy: str
    at_s: float
    steps: int  # compared: those at or before it
    first_changed_s: float  # of them; NaN when all are the same
    moves_later: bool  # whether the change moved anything after it, as it should

    @property
    def is_clean(self) -> bool:
        return math.isnan(self.first_changed_s)


@dataclass(frozen=True, slots=True, kw_only=True)
class LookAhead:
    """What all probes say."""

    probes: tuple[Probe, ...]

    @property
    def is_clean(self) -> bool:
        """Say whether no step changed, and at least one probe of each strategy could have seen it."""
        sighted = {item.strategy for item in self.probes if item.moves_later}
        return all(item.is_clean for item in self.probes) and sighted == {
            item.strategy for item in self.probes
        }

    def to_json(self) -> dict[str, object]:
        return {
            "clean": self.is_clean,
            "probes": [
                {
                    "strategy": item.strategy,
                    "at_ts": iso_utc(item.at_s),
                    "steps_compared": item.steps,
                    "first_changed_ts": None if item.is_clean else iso_utc(item.first_changed_s),
                    "future_moves_later_steps": item.moves_later,
                }
                for item in self.probes
            ],
        }


def probe_times(first_s: float, last_s: float, *, probes: int, seed: int) -> tuple[float, ...]:
    """Return moments to probe at: one at random in each of so many equal parts, at ends of hours."""
    low_s, high_s = first_s + BEFORE_S, last_s - AFTER_S
    at = np.random.default_rng(seed).uniform(size=probes)
    found = low_s + (np.arange(probes) + at) / probes * max(high_s - low_s, 0.0)
    return tuple((np.floor(found / HOUR_S) * HOUR_S).tolist())


async def check_at(
    history: History,
    spec: ExposureSpec,
    policies: Mapping[str, Policy],
    market: Market,
    *,
    at_s: float,
    seed: int,
    ready: Ready = with_implied_vols,
) -> tuple[Probe, ...]:
    """Return what each policy and benchmark says at one moment. ``history`` must reach a day past it.

    ``ready`` makes a history ready to be run: it is part of what is checked.
    """
    known = await _said(ready(history, market), spec, policies, market)
    other = await _said(ready(changed_after(history, at_s, seed=seed), market), spec, policies, market)
    return tuple(_probe(name, at_s, known[name], other[name]) for name in known)


def changed_after(history: History, at_s: float, *, seed: int) -> History:
    """Return the history with everything that was observed after a moment changed at random."""
    draws = np.random.default_rng([seed, round(at_s)])
    return replace(
        history,
        columns=Columns(
            series={
                key: _changed(key, column, at_s, draws)
                for key, column in sorted(history.columns.series.items())
            }
        ),
        vol_index=_changed(None, history.vol_index, at_s, draws),
    )


def _changed(key: SeriesKey | None, column: Column, at_s: float, draws: np.random.Generator) -> Column:
    later = column.times_s > at_s
    noise = draws.normal(scale=_NOISE, size=column.times_s.size)
    is_time = key is not None and key.metric is Metric.MACRO_RELEASE_S
    moved = column.values + _SHIFT_S if is_time else column.values * np.exp(noise)
    return Column(times_s=column.times_s, values=np.where(later, moved, column.values))


async def _said(
    filled: History, spec: ExposureSpec, policies: Mapping[str, Policy], market: Market
) -> dict[str, list[tuple[float, str]]]:
    """Return what each strategy did at each hour, as text."""
    moments = tuple(cut_moments(filled, spec, fee_apr=market.fee_apr, position=market.position(spec)))
    said = {name: await _records(moments, policy, market) for name, policy in policies.items()}
    first = next(iter(policies.values()))
    for strategy in benchmarks(first):
        path = await run_strategy(strategy, moments, market)
        rows = zip(moments, path.cash_usd.tolist(), path.hedge_usd.tolist(), strict=True)
        said[strategy.name] = [(item.now_s, f"{cash!r} {hedge!r}") for item, cash, hedge in rows]
    return said


async def _records(moments: Sequence[Moment], policy: Policy, market: Market) -> list[tuple[float, str]]:
    steps = alvh_steps(moments, policy, market, journal=MemoryJournal())
    return [(step.record.decision.now_s, codec.dumps(step.record)) async for step in steps]


def _probe(
    name: str, at_s: float, known: Sequence[tuple[float, str]], other: Sequence[tuple[float, str]]
) -> Probe:
    pairs = list(zip(known, other, strict=True))
    differ = [one[0] for one, two in pairs if one != two]
    before = [now_s for now_s in differ if now_s <= at_s]
    return Probe(
        strategy=name,
        at_s=at_s,
        steps=sum(one[0] <= at_s for one, _ in pairs),
        first_changed_s=min(before, default=math.nan),
        moves_later=len(differ) > len(before),
    )
