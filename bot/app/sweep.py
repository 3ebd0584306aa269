"""A sweep as a user runs it: which cells, over which history, evaluated where, kept where."""

import math
import os
from dataclasses import dataclass

from bot.engine.policy import parse_policy
from bot.engine.policy_readers import quantity
from bot.errors import ConfigError
from bot.model.units import DAY_S
from bot.settings import read_source
from bot.simulation.backtest import Progress
from bot.simulation.market.model import load_market
from bot.simulation.sweep.cells import Evaluations
from bot.simulation.sweep.choice import OBJECTIVES, Objective
from bot.simulation.sweep.evaluation import spans_of
from bot.simulation.sweep.ray_tasks import RayTasks
from bot.simulation.sweep.request import Judging, Running, SweepRequest
from bot.simulation.sweep.results import SweepResult
from bot.simulation.sweep.space_file import read_space
from bot.simulation.sweep.store import open_results
from bot.simulation.sweep.study import ENGINE, KERNEL, Study, data_digest
from bot.simulation.sweep.sweep import Plan, run_sweep
from bot.simulation.sweep.workers import Executor, Here, LocalWorkers
from bot.simulation.windows.stretches import stretches_of

MOST_EMBARGO_DAYS = 365.0


@dataclass(frozen=True, slots=True, kw_only=True)
class SweepDone:
    result: SweepResult
    ran: int  # policies evaluated now; all others were in the results file
    kept: int  # policies of this study in the file


def sweep(request: SweepRequest, progress: Progress | None = None) -> SweepDone:
    """Run a sweep; what is evaluated is on disk at once, also where this ends early.

    ``progress`` is called with hours done and hours in all. Raises ConfigError for a request that cannot be
    meant, before anything is run; TransientError where processes or a Ray cluster are lost.
    """
    plan, study = _plan(request), study_of(request)
    executor = _executor(request.running, study)
    with open_results(request.running.results, study.digest) as results, executor:
        evaluations = Evaluations(study, results, executor, trials=plan.most_policies, progress=progress)
        result = run_sweep(plan, study, evaluations)
        return SweepDone(result=result, ran=evaluations.ran, kept=evaluations.known)


def study_of(request: SweepRequest) -> Study:
    """Return what every policy of a sweep is evaluated on: what ``alvh backtest --windows`` runs.

    Raises ConfigError for what cannot be read, and where no window has a price.
    """
    over, data = stretches_of(request.history), request.history.data
    return Study(
        data=data.absolute(),
        data_digest=data_digest(data),
        spec=over.spec,
        market=load_market(request.running.market),
        segments=over.segments,
        windows=over.windows,
        spans=spans_of(over.segments, over.windows),
        evaluator=KERNEL if request.running.kernels else ENGINE,
    )


def _plan(request: SweepRequest) -> Plan:
    search, judging = request.search, request.judging
    base = read_source(search.policy).table
    parse_policy(base)
    plan = Plan(
        policy=search.policy,
        base=base,
        space=read_space(base, path=search.space, given=search.settings or ()),
        method=search.method,
        trials=search.trials,
        seed=search.seed,
        objective=_objective(judging),
        folds=judging.folds,
        embargo_s=_embargo_s(judging.embargo_days),
        hold_out=judging.hold_out,
    )
    plan.check()
    if plan.method == "grid":
        plan.space.grid()
    return plan


def _embargo_s(days: float) -> float:
    if not 0.0 <= days <= MOST_EMBARGO_DAYS:
        raise ConfigError(f"--embargo must be between 0 and {MOST_EMBARGO_DAYS:g} days, was {days:g}")
    return days * DAY_S


def _objective(judging: Judging) -> Objective:
    name, limits = judging.objective, judging.limits
    if name not in OBJECTIVES:
        raise ConfigError(f"--objective must be one of {', '.join(OBJECTIVES)}, was {name!r}")
    return Objective(
        name=name,
        min_removed=-math.inf if limits.removed is None else _share(limits.removed, "--min-removed"),
        max_carry=math.inf if limits.carry is None else _share(limits.carry, "--max-carry"),
        max_net=math.inf if limits.net is None else _share(limits.net, "--max-net"),
        max_trades=math.inf if limits.trades is None else limits.trades,
    )


def _share(text: str, option: str) -> float:
    """Return a percentage as a fraction."""
    found = quantity(text)
    if found is None or found[1] != "%":
        raise ConfigError(f"{option} must be a percentage such as 2.5%, was {text!r}")
    return found[0]


def _executor(running: Running, study: Study) -> Executor:
    if running.ray is not None:
        return RayTasks(study, running.ray)
    processes = running.processes or os.cpu_count() or 1
    return LocalWorkers(study, processes) if processes > 1 else Here(study)
