"""Runs the parts of a long backtest here or in processes, and goes on from what was kept of them."""

import asyncio
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from bot.app.pool import in_processes
from bot.engine.policy import Policy
from bot.simulation.backtest import Progress
from bot.simulation.exposures import ExposureSpec
from bot.simulation.kept_parts import KeptParts, part_name, study_digest
from bot.simulation.market.model import Market
from bot.simulation.windows.control import TierSeries, run_rotations
from bot.simulation.windows.file import Segment
from bot.simulation.windows.run import Account, Track, hours_in, run_benchmarks, run_segment

POLICY, BENCHMARKS, CONTROL = "policy", "benchmarks", "control"
Removed = Mapping[int, Mapping[str, float]]  # rotation -> window -> share


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Part:
    """One piece of work: a policy, the benchmarks or rotations of tiers over one segment."""

    kind: str
    name: str  # of the policy
    segment: Segment
    spec: ExposureSpec
    policy: Policy
    market: Market
    is_doubled: bool
    series: TierSeries | None = None  # of CONTROL
    rotations: Mapping[int, int] = field(default_factory=dict)

    @property
    def hours(self) -> int:
        return hours_in(self.segment) + 1  # with the one that ends where it begins

    @property
    def facts(self) -> Mapping[str, object]:
        """What a kept result depends on besides data, exposure, market and program."""
        turned: list[object] = []
        if self.series is not None:
            tiers = self.series.tiers.tobytes().hex(), self.series.times_s.tobytes().hex()
            turned = [tiers, sorted(self.rotations.items())]
        return {"policy": self.policy.hash, "turned": turned}


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Result:
    """What came of a part: what its kind has, all else None. A policy has no track without a price."""

    track: Track | None = None
    accounts: Mapping[str, Account] | None = None
    removed: Removed | None = None


_Run = Callable[[Sequence[Part], Path, int, Callable[[int], None]], Iterator[tuple[int, Result]]]


def run_parts(
    parts: Sequence[Part],
    *,
    data: Path,
    processes: int = 1,
    kept: KeptParts | None = None,
    progress: Progress | None = None,
) -> tuple[Result, ...]:
    """Return the result of each part, in order; the same whether here, in processes or kept before.

    Raises ConfigError as a part does; what ended before that is kept.
    """
    names = _names(parts, data) if kept is not None else {}
    found: dict[int, Result] = {}
    for at, part in enumerate(parts):
        result = _kept(kept, names[at], part) if kept is not None else None
        if result is not None:
            found[at] = result
    total, done = sum(part.hours for part in parts), sum(parts[at].hours for at in found)

    def tell(hours: int) -> None:
        nonlocal done
        done += hours
        if progress:
            progress(min(done, total), total)

    todo = [at for at in range(len(parts)) if at not in found]
    run: _Run = _in_processes if min(processes, len(todo)) > 1 else _here
    for place, result in run([parts[at] for at in todo], data, processes, tell):
        at = todo[place]
        found[at] = result
        if kept is not None:
            _keep(kept, names[at], result)
    return tuple(found[at] for at in range(len(parts)))


def _names(parts: Sequence[Part], data: Path) -> dict[int, str]:
    studies: dict[str, str] = {}
    names = {}
    for at, part in enumerate(parts):
        market = repr(part.market)
        if market not in studies:
            studies[market] = study_digest(data, part.spec, market)
        names[at] = part_name(part.kind, study=studies[market], segment=part.segment, facts=part.facts)
    return names


def _kept(kept: KeptParts, name: str, part: Part) -> Result | None:
    if part.kind == POLICY:
        track = kept.track(name, part.segment)
        return Result(track=track) if track is not None else None
    if part.kind == BENCHMARKS:
        accounts = kept.accounts(name)
        return Result(accounts=accounts) if accounts is not None else None
    removed = kept.numbers(name)
    return Result(removed=removed) if removed is not None else None


def _keep(kept: KeptParts, name: str, result: Result) -> None:
    if result.track is not None:
        kept.keep_track(name, result.track)
    if result.accounts is not None:
        kept.keep_accounts(name, result.accounts)
    if result.removed is not None:
        kept.keep_numbers(name, result.removed)


def _here(
    parts: Sequence[Part], data: Path, _: int, tell: Callable[[int], None]
) -> Iterator[tuple[int, Result]]:
    for at, part in enumerate(parts):
        yield at, _run_part(part, data=data, on_hour=partial(tell, 1))


def _in_processes(
    parts: Sequence[Part], data: Path, processes: int, tell: Callable[[int], None]
) -> Iterator[tuple[int, Result]]:
    work = partial(_run_part, data=data)
    for at, result in in_processes(work, parts, processes, length=lambda part: part.hours):
        yield at, result
        tell(parts[at].hours)


def _run_part(part: Part, *, data: Path, on_hour: Callable[[], None] | None = None) -> Result:
    what = (data, part.segment, part.spec, part.policy, part.market)
    if part.series is not None:
        rotating = run_rotations(*what, series=part.series, rotations=part.rotations, on_hour=on_hour)
        return Result(removed=asyncio.run(rotating))
    if part.kind == BENCHMARKS:
        return Result(accounts=asyncio.run(run_benchmarks(*what, on_hour=on_hour)))
    return Result(track=asyncio.run(run_segment(*what, with_benchmarks=False, on_hour=on_hour)))
