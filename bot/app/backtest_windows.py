"""The backtest over crisis and calm windows as a user runs it: policies side by side, on every core."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from bot.app.backtest_parts import BENCHMARKS, CONTROL, POLICY, Part, Result, run_parts
from bot.engine.policy import Policy
from bot.errors import ConfigError
from bot.model.units import DAY_S
from bot.settings import named_policy
from bot.simulation.backtest import Progress
from bot.simulation.history.span import data_problems
from bot.simulation.history.tables import lookback_for
from bot.simulation.kept_parts import KeptParts
from bot.simulation.market.model import Market, load_market
from bot.simulation.requests import WindowsRequest
from bot.simulation.windows.comparison import StrategyFinding, policy_name, refuse_one_name
from bot.simulation.windows.control import (
    CADENCE_H,
    ControlFinding,
    control_finding,
    control_stretches,
    tier_series,
    turns,
)
from bot.simulation.windows.intervals import money_ranges
from bot.simulation.windows.measures import MoneyFinding, money_finding, window_findings
from bot.simulation.windows.results import PolicyFindings, WindowsResult, findings_of, strategies_of
from bot.simulation.windows.run import Account, Track
from bot.simulation.windows.splits import hold_out_from_s
from bot.simulation.windows.stretches import Stretches, stretches_of
from bot.simulation.windows.walk_forward import check_folds, hold_out, walk_forward

MOST_ROTATIONS = 1_000
CONTROLLED = "steward"  # whose tiers are turned, where it is among the policies


@dataclass(frozen=True, slots=True, kw_only=True)
class _Study:
    """What was asked for, read."""

    request: WindowsRequest
    over: Stretches
    policies: Mapping[str, Policy]
    market: Market

    @property
    def first(self) -> Policy:
        return next(iter(self.policies.values()))

    @property
    def controlled(self) -> str:
        return CONTROLLED if CONTROLLED in self.policies else next(iter(self.policies))

    def run(self, *, is_doubled: bool) -> Mapping[str, Policy]:
        """Return the policies that are run: under doubled costs the controlled one, unless all were asked."""
        if is_doubled and not self.request.checks.doubled:
            return {self.controlled: self.policies[self.controlled]}
        return self.policies


@dataclass(frozen=True, slots=True, kw_only=True)
class _Tracks:
    """What was run under one market: tracks by policy, the first one's with the benchmarks."""

    policies: Mapping[str, Sequence[Track]]

    def first(self) -> Sequence[Track]:
        return next(iter(self.policies.values()))


def backtest_windows(request: WindowsRequest, *, progress: Progress | None = None) -> WindowsResult:
    """Run each policy over the history, measure R26 over it and over every window of a file.

    ``progress`` is called with hours done and hours in all. Raises ConfigError for files, policies or an
    exposure that cannot be read, for a policy named twice, and where no window has a price.
    """
    study = _study(request)
    kept = KeptParts(request.keep) if request.keep is not None else None
    markets = {False: study.market, **({True: study.market.doubled()} if request.is_doubled else {})}
    parts = [part for is_doubled in markets for part in _parts(study, markets[is_doubled], is_doubled)]
    found = run_parts(
        parts, data=request.history.data, processes=request.processes, kept=kept, progress=progress
    )
    by_market = {flag: _tracks(study, parts, found, is_doubled=flag) for flag in markets}
    plain = by_market[False]
    findings = _findings(study, plain)
    control = _control(study, plain, kept=kept, progress=progress)
    doubled = _strategies(study, by_market[True]) if request.is_doubled else ()
    return _result(study, plain, findings, control, doubled)


def _study(request: WindowsRequest) -> _Study:
    checks = request.checks
    if not 0 <= request.turned <= MOST_ROTATIONS:
        raise ConfigError(f"--rotations must be between 0 and {MOST_ROTATIONS}, was {checks.rotations}")
    refuse_one_name(request.policies)
    if checks.hold_out is not None:
        hold_out_from_s(0.0, 1.0, share=checks.hold_out)
    over = stretches_of(request.history)
    if checks.folds is not None:
        check_folds(checks.folds, over.segments)
    return _Study(
        request=request,
        over=over,
        policies={name: named_policy(name) for name in request.policies},
        market=load_market(request.market),
    )


def _parts(study: _Study, market: Market, is_doubled: bool) -> list[Part]:
    """Return what is run under one market: each policy, then the benchmarks, over every segment."""
    run = [(POLICY, name, policy) for name, policy in study.run(is_doubled=is_doubled).items()]
    return [
        Part(
            kind=kind,
            name=name,
            segment=segment,
            spec=study.over.spec,
            policy=policy,
            market=market,
            is_doubled=is_doubled,
        )
        for kind, name, policy in (*run, (BENCHMARKS, BENCHMARKS, study.first))
        for segment in study.over.segments
    ]


def _tracks(study: _Study, parts: Sequence[Part], found: Sequence[Result], *, is_doubled: bool) -> _Tracks:
    """Sort what was run by policy, in time order, and put the benchmarks beside the first policy's."""
    policies: dict[str, list[Track]] = {name: [] for name in study.run(is_doubled=is_doubled)}
    beside: dict[float, Mapping[str, Account]] = {}
    for part, result in zip(parts, found, strict=True):
        if part.is_doubled is is_doubled:
            if result.track is not None:
                policies[part.name].append(result.track)
            if result.accounts is not None:
                beside[part.segment.start_s] = result.accounts
    first = next(iter(policies))
    policies[first] = [
        replace(track, benchmarks=beside.get(track.segment.start_s, {})) for track in policies[first]
    ]
    return _Tracks(policies=policies)


def _findings(study: _Study, tracks: _Tracks) -> tuple[PolicyFindings, ...]:
    return tuple(
        findings_of(name, study.policies[name].hash, mine, study.over.windows, study.over.price)
        for name, mine in tracks.policies.items()
    )


def _benchmarks(tracks: _Tracks, findings: Sequence[PolicyFindings]) -> dict[str, MoneyFinding]:
    first = tracks.first()
    names = first[0].benchmarks if first else {}
    return {name: money_finding(first, findings[0].windows, name) for name in names}


def _strategies(study: _Study, tracks: _Tracks) -> tuple[StrategyFinding, ...]:
    findings = _findings(study, tracks)
    return strategies_of(findings, _benchmarks(tracks, findings))


def _control(
    study: _Study, tracks: _Tracks, *, kept: KeptParts | None, progress: Progress | None
) -> ControlFinding | None:
    """Run R26's control on the market crises; None where it was not asked for, or nothing is to be run."""
    request, name = study.request, study.controlled
    mine = tracks.policies[name]
    if not request.turned or not mine:
        return None
    series = tier_series(mine)
    hours = turns(series.times_s.size, rotations=request.turned)
    turned = {0: 0, **{at: many for at, many in enumerate(hours, start=1)}}
    stretches = control_stretches(window_findings(mine, study.over.windows), study.over.segments)
    parts = [
        Part(
            kind=CONTROL,
            name=name,
            segment=stretch,
            spec=study.over.spec,
            policy=study.policies[name],
            market=study.market,
            is_doubled=False,
            series=series,
            rotations=chunk,
        )
        for stretch in stretches
        for chunk in _chunks(turned, min(request.processes, 4))
    ]
    found = run_parts(
        parts, data=request.history.data, processes=request.processes, kept=kept, progress=progress
    )
    removed = [item.removed for item in found if item.removed is not None]
    return control_finding(policy_name(name), removed, rotations=request.turned, cadence_h=CADENCE_H)


def _chunks(turned: Mapping[int, int], many: int) -> list[dict[int, int]]:
    """Deal rotations out, so that each process has some."""
    items = list(turned.items())
    dealt = [dict(items[at::many]) for at in range(max(many, 1))]
    return [item for item in dealt if item]


def _result(
    study: _Study,
    tracks: _Tracks,
    findings: tuple[PolicyFindings, ...],
    control: ControlFinding | None,
    doubled: tuple[StrategyFinding, ...],
) -> WindowsResult:
    first, history, checks = tracks.first(), study.request.history, study.request.checks
    lead = history.lead_days
    benchmarks = _benchmarks(tracks, findings)
    return WindowsResult(
        spec=study.over.spec,
        lead_s=math.nan if lead is None else lead * DAY_S,
        hours=sum(track.times_s.size for track in first),
        policies=findings,
        benchmarks=benchmarks,
        strategies=strategies_of(findings, benchmarks),
        doubled=doubled,
        control=control,
        folds=walk_forward(tracks.policies, study.over.windows, folds=checks.folds) if checks.folds else (),
        held_out=hold_out(tracks.policies, study.over.windows, share=checks.hold_out)
        if checks.hold_out
        else None,
        from_s=float(min(track.times_s[0] for track in first)),
        to_s=float(max(track.times_s[-1] for track in first)),
        problems=data_problems(
            history.data, study.over.spec, lookback_s=lookback_for(study.first.sizing.history_days)
        ),
        missing=_missing(first),
        gaps=tuple(dict.fromkeys(item for track in first for item in track.gaps)),
        assumptions=study.market.assumptions(study.over.spec.underlying),
        ranges=money_ranges(tracks.policies, study.over.windows),
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
    named = ", ".join(window.id for track in tracks for window in track.segment.windows)
    return named or f"{len(tracks)} stretches without a window"
