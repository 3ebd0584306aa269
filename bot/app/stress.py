"""Stress scenarios as a user runs them: policies side by side, on every core."""

import asyncio
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from bot.alerts.conditions import of_step
from bot.app.pool import in_processes
from bot.engine.policy import Policy
from bot.errors import ConfigError
from bot.model.record import StepRecord
from bot.model.units import HOUR_S
from bot.settings import named_policy
from bot.simulation.backtest import Progress
from bot.simulation.exposures import ExposureSpec, parse_exposure
from bot.simulation.market.model import load_market
from bot.simulation.stress.catalogue import ALL, names, scenario_named
from bot.simulation.stress.description import Scenario
from bot.simulation.stress.findings import Finding, finding_of
from bot.simulation.stress.run import Told, run_scenario


@dataclass(frozen=True, slots=True)
class _Job:
    """One policy through one scenario."""

    scenario: Scenario
    seed: int
    spec: ExposureSpec
    name: str
    policy: Policy
    market: Path | None


@dataclass(frozen=True, slots=True)
class Stressed:
    """What came of the runs; ``unfinished`` names those that Ctrl-C ended or left out: "calm, steward"."""

    findings: tuple[Finding, ...]
    unfinished: tuple[str, ...]


def stress(
    *,
    scenario: str,
    policies: Sequence[str],
    exposure: str,
    seed: int,
    market: Path | None,
    processes: int = 1,
    progress: Progress | None = None,
) -> Stressed:
    """Run every policy through a scenario, or through all of them: by scenario, then as policies were given.

    What is finished when Ctrl-C comes is returned. Raises KeyboardInterrupt where that is nothing,
    NotFoundError for an unknown scenario, ConfigError for a policy, market, exposure or seed that cannot be
    used, and for a policy named twice.
    """
    if seed < 0:
        raise ConfigError(f"--seed must be a whole number of at least 0, was {seed}")
    if len(set(policies)) < len(policies):
        raise ConfigError(f"--policy must name each policy once, was {', '.join(policies)}")
    chosen = [scenario_named(name) for name in (names() if scenario == ALL else (scenario,))]
    spec, named = parse_exposure(exposure), {name: named_policy(name) for name in policies}
    load_market(market)  # refused here, in one line, and not in a worker
    jobs = [_Job(each, seed, spec, name, policy, market) for each in chosen for name, policy in named.items()]
    return _all(jobs, processes=processes, progress=progress)


def _all(jobs: Sequence[_Job], *, processes: int, progress: Progress | None) -> Stressed:
    """Run the jobs here or in so many processes; the same findings either way."""
    found: dict[int, Finding] = {}
    total, done = sum(job.scenario.hours for job in jobs), 0.0

    def tell(hours: float) -> None:
        nonlocal done
        done = min(done + hours, total)  # the first point of each is no hour
        if progress:
            progress(round(done), total)

    run = _in_processes if min(processes, len(jobs)) > 1 else _here
    try:
        found.update(run(jobs, processes, tell))  # one by one, as they are done
    except KeyboardInterrupt:
        if not found:
            raise
    return Stressed(
        tuple(found[at] for at in sorted(found)),
        tuple(f"{job.scenario.name}, {job.name}" for at, job in enumerate(jobs) if at not in found),
    )


def _here(jobs: Sequence[_Job], _: int, tell: Callable[[float], None]) -> Iterator[tuple[int, Finding]]:
    for at, job in enumerate(jobs):
        step_h = job.scenario.step_s / HOUR_S
        yield at, _finding(job, partial(tell, step_h))


def _in_processes(
    jobs: Sequence[_Job], processes: int, tell: Callable[[float], None]
) -> Iterator[tuple[int, Finding]]:
    for at, found in in_processes(_finding, jobs, processes, length=lambda job: job.scenario.steps):
        yield at, found
        tell(float(jobs[at].scenario.hours))


def _finding(job: _Job, on_step: Callable[[], None] | None = None) -> Finding:
    run = asyncio.run(
        run_scenario(
            job.scenario,
            job.seed,
            job.spec,
            job.policy,
            load_market(job.market),
            alarms=lambda record: _alarms(record, job.scenario),
            on_step=on_step,
        )
    )
    found = finding_of(replace(run, policy=job.name))
    return replace(found, run=replace(found.run, records=()))  # hundreds of them: what they say was measured


def _alarms(record: StepRecord, scenario: Scenario) -> Iterable[tuple[str, Told]]:
    """Return what the bot's alerts would tell of a step; trades are orders, not alarms."""
    at_h = (record.decision.now_s - scenario.start_s) / HOUR_S
    return [
        (item.key, Told(at_h, item.severity.name.lower(), item.title, item.happened))
        for item in of_step(record)
        if not item.once
    ]
