"""A sweep as a user runs it: which cells, over which history, evaluated where, kept where."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from bot.engine.policy import parse_policy
from bot.errors import ConfigError
from bot.model.units import DAY_S, parse_utc_s
from bot.settings import read_source
from bot.simulation.backtest import Progress
from bot.simulation.exposures import ExposureSpec, parse_exposure
from bot.simulation.history.span import history_span
from bot.simulation.history.tables import price_file
from bot.simulation.market.model import HOLE_S, load_market
from bot.simulation.sweep.cells import Evaluations
from bot.simulation.sweep.choice import Objective
from bot.simulation.sweep.evaluation import spans_of
from bot.simulation.sweep.ray_tasks import RayTasks
from bot.simulation.sweep.results import SweepResult
from bot.simulation.sweep.space_file import read_space
from bot.simulation.sweep.store import open_results
from bot.simulation.sweep.study import ENGINE, KERNEL, Study, data_digest
from bot.simulation.sweep.sweep import Plan, run_sweep
from bot.simulation.sweep.workers import Executor, Here, LocalWorkers
from bot.simulation.windows.file import Segment, Window, history_segments, read_windows, segments_of

MOST_LEAD_DAYS = 3_650.0
MOST_EMBARGO_DAYS = 365.0


@dataclass(frozen=True, slots=True, kw_only=True)
class SweepRequest:
    """What a sweep is asked for, as it was written."""

    data: Path
    windows: Path
    exposure: str
    policy: str = "steward"
    space: Path | None = None
    settings: Sequence[str] = ()  # key=a,b,c
    method: str = "grid"
    trials: int = 64
    seed: int = 1
    objective: Objective
    folds: int = 8
    embargo_days: float = 10.0
    hold_out: float = 0.0
    market: Path | None = None
    start: str | None = None  # of the history that is run; all of it where not said
    end: str | None = None
    lead_days: float | None = None  # only the windows, from so many days before each
    results: Path
    kernels: bool = False  # where they are proven equal to the engine
    processes: int = 1
    ray: str | None = None  # address, where Ray shall run it


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
    plan, study = _plan(request), _study(request)
    executor = _executor(request, study)
    with open_results(request.results, study.digest) as results, executor:
        evaluations = Evaluations(study, results, executor, trials=plan.most_policies, progress=progress)
        result = run_sweep(plan, study, evaluations)
        return SweepDone(result=result, ran=evaluations.ran, kept=evaluations.known)


def _plan(request: SweepRequest) -> Plan:
    base = read_source(request.policy).table
    parse_policy(base)
    space = read_space(base, path=request.space, given=request.settings)
    if not 0.0 <= request.embargo_days <= MOST_EMBARGO_DAYS:
        raise ConfigError(
            f"--embargo must be between 0 and {MOST_EMBARGO_DAYS:g} days, was {request.embargo_days:g}"
        )
    plan = Plan(
        policy=request.policy,
        base=base,
        space=space,
        method=request.method,
        trials=request.trials,
        seed=request.seed,
        objective=request.objective,
        folds=request.folds,
        embargo_s=request.embargo_days * DAY_S,
        hold_out=request.hold_out,
    )
    plan.check()
    if plan.method == "grid":
        space.grid()
    return plan


def _study(request: SweepRequest) -> Study:
    spec, windows = parse_exposure(request.exposure), read_windows(request.windows)
    segments = _segments(request, spec, windows)
    return Study(
        data=request.data.absolute(),
        data_digest=data_digest(request.data),
        spec=spec,
        market=load_market(request.market),
        segments=segments,
        windows=tuple(item for segment in segments for item in segment.windows),
        spans=spans_of(segments, windows),
        evaluator=KERNEL if request.kernels else ENGINE,
    )


def _segments(request: SweepRequest, spec: ExposureSpec, windows: Sequence[Window]) -> tuple[Segment, ...]:
    """Return the stretches that ``alvh backtest --windows`` runs for the same request."""
    price, lead = price_file(request.data, spec), request.lead_days
    if lead is not None:
        if not 0.0 <= lead <= MOST_LEAD_DAYS:
            raise ConfigError(f"--lead must be between 0 and {MOST_LEAD_DAYS:g} days, was {lead:g}")
        leads = segments_of(windows, lead_s=lead * DAY_S)
        found = tuple(item for item in leads if price.until(item.end_s).since(item.start_s).times_s.size)
    else:
        from_s, to_s = _range(request, spec)
        found = history_segments(price.times_s, windows, from_s=from_s, to_s=to_s, hole_s=HOLE_S)
    if not any(item.windows for item in found):
        raise ConfigError(
            f"no window of {request.windows} has a price in {request.data}; give windows inside its history"
        )
    return found


def _range(request: SweepRequest, spec: ExposureSpec) -> tuple[float, float]:
    from_s, to_s = history_span(request.data, spec)
    if request.start is not None:
        from_s = max(from_s, parse_utc_s(request.start, field="--from"))
    if request.end is not None:
        to_s = min(to_s, parse_utc_s(request.end, field="--to") + DAY_S)
    return from_s, to_s


def _executor(request: SweepRequest, study: Study) -> Executor:
    if request.ray is not None:
        return RayTasks(study, request.ray)
    return LocalWorkers(study, request.processes) if request.processes > 1 else Here(study)
