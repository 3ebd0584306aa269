"""Sweeps without an engine: policies whose evaluations are worked out from their own numbers."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from history_builders import START_S as HISTORY_S

from bot.engine.policy import Policy, parse_policy
from bot.model.units import DAY_S, HOUR_S
from bot.settings import read_source
from bot.simulation.exposures import parse_exposure
from bot.simulation.market.model import load_market
from bot.simulation.sweep.choice import Objective
from bot.simulation.sweep.evaluation import Evaluation, Span, SpanSums, spans_of
from bot.simulation.sweep.space import policy_table
from bot.simulation.sweep.space_file import read_space
from bot.simulation.sweep.study import Job, Study, data_digest
from bot.simulation.sweep.sweep import Plan
from bot.simulation.sweep.workers import Done, Here, Hours
from bot.simulation.windows.file import Segment, Window

BASE = read_source("steward").table
START_S = 1_650_000_000 // DAY_S * DAY_S
SPAN_D = 40  # days; long enough for a figure a year from each
YEAR_H = 365 * 24

Score = Callable[[Policy, int], tuple[float, float]]  # (removed, carry) of a policy in a span


def window(name: str, first_day: int, days: int, kind: str = "crisis") -> Window:
    start_s = float(START_S + first_day * DAY_S)
    return Window(id=name, start_s=start_s, end_s=start_s + days * DAY_S, kind=kind)


def study(spans: int = 8) -> Study:
    """Return a study of so many spans of 40 days, one crisis in each."""
    windows = tuple(window(f"crisis_{at}", at * SPAN_D + 10, 3) for at in range(spans))
    end_s = float(START_S + spans * SPAN_D * DAY_S)
    return Study(
        data=Path("nowhere"),
        data_digest="made-up",
        spec=parse_exposure("v2:ETH/USDC:1000000"),
        market=load_market(),
        segments=(Segment(start_s=float(START_S), end_s=end_s, windows=windows),),
        windows=windows,
        spans=tuple(
            Span(from_s=float(START_S + at * SPAN_D * DAY_S), to_s=float(START_S + (at + 1) * SPAN_D * DAY_S))
            for at in range(spans)
        ),
    )


def sums(removed: float, carry: float, *, hours: int = SPAN_D * 24, trades: int = 4) -> SpanSums:
    """Return the sums of a span in which a hedge of 1 USD of LP cost ``carry`` a year, net the same."""
    return SpanSums(
        outside_usd=carry * hours / YEAR_H,
        outside_usd_hours=float(hours),
        outside_hours=hours,
        always_usd=carry * hours / YEAR_H,
        always_usd_hours=float(hours),
        always_hours=hours,
        hours=hours,
        trades=trades,
    )


def evaluation(name: str, scores: Sequence[tuple[float, float]]) -> Evaluation:
    """Return the evaluation of a policy from (removed, carry) of each span."""
    return Evaluation(
        policy_hash=name,
        spans=tuple(sums(removed, carry) for removed, carry in scores),
        removed=tuple(removed for removed, _ in scores),
    )


class Pretend(Here):
    """An executor that runs no engine; ``order`` is how it hands results back."""

    def __init__(
        self, wanted: Study, score: Score, order: Callable[[list[int]], list[int]] = lambda places: places
    ) -> None:
        self._wanted, self._score, self._order = wanted, score, order
        self.jobs: list[Job] = []

    def run(self, jobs: Sequence[Job], on_hours: Hours) -> Iterator[Done]:
        self.jobs += jobs
        for at in self._order(list(range(len(jobs)))):
            on_hours(at, 100)
            yield at, [self._evaluate(parse_policy(table)) for table in jobs[at].tables]

    def _evaluate(self, policy: Policy) -> Evaluation:
        return evaluation(policy.hash, [self._score(policy, at) for at in range(len(self._wanted.spans))])


def plan(*settings: str, **change: Any) -> Plan:
    given: dict[str, Any] = {
        "policy": "steward",
        "base": BASE,
        "space": read_space(BASE, path=None, given=settings),
        "method": "grid",
        "trials": 16,
        "seed": 1,
        "objective": Objective(),
        "folds": 4,
        "embargo_s": 0.0,
    }
    return Plan(**{**given, **change})


def share_of(policy: Policy) -> float:
    """Return a number that the tests sweep: the perpetual's share of delta at ELEVATED."""
    return policy.near.delta_share.ELEVATED


def hours_study(folder: Path, *, hours: int = 8) -> Study:
    """Return a study of a few hours around the crash of the made-up history."""
    start_s = float(HISTORY_S + 40 * DAY_S)
    window = Window(id="crash", start_s=start_s, end_s=start_s + hours * HOUR_S, kind="crisis")
    segments = (Segment(start_s=start_s, end_s=window.end_s, windows=(window,)),)
    return Study(
        data=folder,
        data_digest=data_digest(folder),
        spec=parse_exposure("v2:ETH/USDC:1000000"),
        market=load_market(),
        segments=segments,
        windows=(window,),
        spans=spans_of(segments, (window,)),
    )


def jobs_of(*shares: str) -> list[Job]:
    tables = [policy_table(BASE, ("near.delta_share.ELEVATED",), (share,)) for share in shares]
    return [Job(tables=(table,)) for table in tables]


def ignored(at: int, hours: int) -> None:
    """Hours are of no interest here."""
