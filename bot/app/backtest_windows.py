"""The backtest over crisis and calm windows as a user runs it: policies side by side, on every core."""

import asyncio
import multiprocessing
import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path

from bot.engine.policy import Policy
from bot.errors import ConfigError
from bot.model.market import Column
from bot.model.units import DAY_S
from bot.settings import named_policy
from bot.simulation.backtest import Progress
from bot.simulation.exposures import ExposureSpec, parse_exposure
from bot.simulation.market_model import load_market
from bot.simulation.tables import price_file
from bot.simulation.window_measures import money_finding
from bot.simulation.window_results import WindowsResult, findings_of
from bot.simulation.window_run import Track, hours_in, run_segment
from bot.simulation.windows import Segment, Window, read_windows, segments_of

MOST_LEAD_DAYS = 3_650.0


@dataclass(frozen=True, slots=True)
class _Job:
    """One policy over one segment."""

    data: Path
    segment: Segment
    spec: ExposureSpec
    name: str
    policy: Policy
    market: Path | None
    with_benchmarks: bool  # once is enough: they do the same beside every policy


def backtest_windows(
    *,
    data: Path,
    windows: Path,
    exposure: str,
    policies: Sequence[str],
    market: Path | None,
    lead_days: float,
    processes: int = 1,
    progress: Progress | None = None,
) -> WindowsResult:
    """Run each policy over every window of a file and measure R26.

    ``progress`` is called with hours done and hours in all. Raises ConfigError for files, policies or an
    exposure that cannot be read, for a policy named twice, and where no window has a price.
    """
    if not 0.0 <= lead_days <= MOST_LEAD_DAYS:
        raise ConfigError(f"--lead must be between 0 and {MOST_LEAD_DAYS:g} days, was {lead_days:g}")
    if len(set(policies)) < len(policies):
        raise ConfigError(f"--policy must name each policy once, was {', '.join(policies)}")
    spec, chosen = parse_exposure(exposure), read_windows(windows)
    named = {name: named_policy(name) for name in policies}
    assumed = load_market(market).assumptions(spec.underlying)
    price = price_file(data, spec)
    segments = [item for item in segments_of(chosen, lead_s=lead_days * DAY_S) if _has_price(item, price)]
    if not segments:
        raise ConfigError(f"no window of {windows} has a price in {data}; give windows inside its history")
    jobs = [
        _Job(data, segment, spec, name, policy, market, with_benchmarks=name == policies[0])
        for name, policy in named.items()
        for segment in segments
    ]
    tracks = _all_tracks(jobs, processes=processes, progress=progress)
    return _result(spec, lead_days * DAY_S, named, tracks, chosen, price, assumed)


def _has_price(segment: Segment, price: Column) -> bool:
    return bool(price.until(segment.end_s).since(segment.start_s).times_s.size)


def _all_tracks(
    jobs: Sequence[_Job], *, processes: int, progress: Progress | None
) -> Mapping[str, list[Track]]:
    """Run the jobs here or in so many processes; the same tracks either way."""
    total, done = sum(hours_in(job.segment) for job in jobs), 0

    def tell(hours: int) -> None:
        nonlocal done
        done += hours
        if progress:
            progress(done, total)

    run = _in_processes if min(processes, len(jobs)) > 1 else _here
    found = dict(run(jobs, processes, tell))
    tracks: dict[str, list[Track]] = {job.name: [] for job in jobs}
    for at, job in enumerate(jobs):
        track = found[at]
        if track is not None:
            tracks[job.name].append(track)
    return tracks


def _here(
    jobs: Sequence[_Job],
    _: int,
    tell: Callable[[int], None],
) -> Iterator[tuple[int, Track | None]]:
    for at, job in enumerate(jobs):
        yield at, _track(job, lambda: tell(1))


def _in_processes(
    jobs: Sequence[_Job], processes: int, tell: Callable[[int], None]
) -> Iterator[tuple[int, Track | None]]:
    """The longest segments begin first, so that no core is left alone with one at the end."""
    context = multiprocessing.get_context("spawn")
    longest = sorted(range(len(jobs)), key=lambda at: -hours_in(jobs[at].segment))
    many = min(processes, len(jobs))
    with ProcessPoolExecutor(max_workers=many, mp_context=context, initializer=_silence) as pool:
        running = {pool.submit(_track, jobs[at]): at for at in longest}
        for future in as_completed(running):
            at = running[future]
            yield at, future.result()
            tell(hours_in(jobs[at].segment))


def _silence() -> None:
    """Keep a worker's standard output away from ours, which may be JSON: HiGHS prints to it from C++."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _track(job: _Job, on_hour: Callable[[], None] | None = None) -> Track | None:
    return asyncio.run(
        run_segment(
            job.data,
            job.segment,
            job.spec,
            job.policy,
            load_market(job.market),
            with_benchmarks=job.with_benchmarks,
            on_hour=on_hour,
        )
    )


def _result(
    spec: ExposureSpec,
    lead_s: float,
    named: Mapping[str, Policy],
    tracks: Mapping[str, Sequence[Track]],
    windows: Sequence[Window],
    price: Column,
    assumed: tuple[str, ...],
) -> WindowsResult:
    found = tuple(
        findings_of(name, policy.hash, tracks[name], windows, price) for name, policy in named.items()
    )
    first = tracks[found[0].policy]
    names = first[0].benchmarks if first else {}
    return WindowsResult(
        spec=spec,
        lead_s=lead_s,
        hours=sum(track.times_s.size for track in first),
        policies=found,
        benchmarks={name: money_finding(first, found[0].windows, name) for name in names},
        missing=_missing(first),
        gaps=tuple(dict.fromkeys(item for track in first for item in track.gaps)),
        assumptions=assumed,
    )


def _missing(tracks: Sequence[Track]) -> tuple[str, ...]:
    """Return what stretches lack, each line once, with the windows of those that lack it unless all do."""
    lacking: dict[str, list[Track]] = {}
    for track in tracks:
        for line in track.missing:
            lacking.setdefault(line, []).append(track)
    return tuple(
        line if len(found) == len(tracks) else f"{line}; {_names(found)}" for line, found in lacking.items()
    )


def _names(tracks: Sequence[Track]) -> str:
    return ", ".join(window.id for track in tracks for window in track.segment.windows)
