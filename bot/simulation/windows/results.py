"""What a backtest over windows found, and its JSON: times ISO 8601 UTC, ratios fractions, null unknown."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from bot.model.market import Column
from bot.model.units import DAY_S, iso_utc
from bot.simulation.exposures import ExposureSpec
from bot.simulation.history.tables import Gap
from bot.simulation.results import ALVH, gap_json
from bot.simulation.windows.comparison import (
    StrategyFinding,
    or_none,
    policy_name,
    ratios_json,
    summary_json,
    unhedged_finding,
    windows_json,
)
from bot.simulation.windows.control import ControlFinding
from bot.simulation.windows.file import Window
from bot.simulation.windows.intervals import MoneyRange
from bot.simulation.windows.measures import (
    MoneyFinding,
    Reached,
    TierFinding,
    WindowFinding,
    money_finding,
    tier_finding,
    window_findings,
)
from bot.simulation.windows.run import Track
from bot.simulation.windows.walk_forward import Fold, HoldOut


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyFindings:
    """All figures of one policy."""

    policy: str
    policy_hash: str
    windows: tuple[WindowFinding, ...]
    tiers: TierFinding
    money: MoneyFinding


@dataclass(frozen=True, slots=True, kw_only=True)
class WindowsResult:
    """Policies and benchmarks side by side."""

    spec: ExposureSpec
    lead_s: float  # NaN: the whole history was run
    hours: int  # run for each policy
    policies: tuple[PolicyFindings, ...]  # at least one
    benchmarks: Mapping[str, MoneyFinding]
    strategies: tuple[StrategyFinding, ...]  # policies, benchmarks, then the position alone
    doubled: tuple[StrategyFinding, ...]  # the same with spread and skew doubled; empty where not asked for
    control: ControlFinding | None
    folds: tuple[Fold, ...]  # of a walk-forward; empty where not asked for
    held_out: HoldOut | None
    from_s: float  # first and last hour that was run
    to_s: float
    problems: tuple[str, ...]  # rows of the files that could not be used as they stand
    missing: tuple[str, ...]  # each with the windows that lack it, unless all do
    gaps: tuple[Gap, ...]
    assumptions: tuple[str, ...]
    ranges: Mapping[str, MoneyRange] = field(default_factory=dict)  # of carry and net, by strategy

    def to_json(self) -> dict[str, object]:
        """Return the facts as plain values; NaN is null."""
        return {
            "exposure": {"pool": self.spec.pool, "value_usd": self.spec.value_usd},
            "from_ts": iso_utc(self.from_s),
            "to_ts": iso_utc(self.to_s),
            "lead_days": or_none(self.lead_s / DAY_S),
            "hours": self.hours,
            "windows": windows_json(self.strategies),
            "summary": summary_json(self.strategies),
            "control": self.control.to_json() if self.control else {"rotations": 0, "removed_p95": None},
            "summary_doubled": summary_json(self.doubled),
            "ratios": ratios_json(self.strategies, self.doubled, self.control),
            "walk_forward": [item.to_json() for item in self.folds],
            "hold_out": self.held_out.to_json() if self.held_out else None,
            "policies": [_policy_json(item) for item in self.policies],
            "benchmarks": {name: _money_json(item) for name, item in self.benchmarks.items()},
            "problems": list(self.problems),
            "missing": list(self.missing),
            "gaps": [gap_json(item) for item in self.gaps],
            "assumptions": list(self.assumptions),
        }


def findings_of(
    policy: str, policy_hash: str, tracks: Sequence[Track], windows: Sequence[Window], price: Column
) -> PolicyFindings:
    """Return the figures of one policy from its tracks. ``price`` is the whole price file."""
    found = window_findings(tracks, windows)
    return PolicyFindings(
        policy=policy,
        policy_hash=policy_hash,
        windows=found,
        tiers=tier_finding(tracks, found, price),
        money=money_finding(tracks, found, ALVH),
    )


def strategies_of(
    policies: Sequence[PolicyFindings], benchmarks: Mapping[str, MoneyFinding]
) -> tuple[StrategyFinding, ...]:
    """Return policies, benchmarks and the position alone side by side."""
    first = policies[0].windows
    found = [
        StrategyFinding(
            name=policy_name(item.policy),
            windows=item.windows,
            account=ALVH,
            money=item.money,
            tiers=item.tiers,
        )
        for item in policies
    ]
    found += [
        StrategyFinding(name=name, windows=first, account=name, money=money, tiers=None)
        for name, money in benchmarks.items()
    ]
    return (*found, unhedged_finding(found[0]))


def unseen_words(findings: Sequence[WindowFinding]) -> Iterator[str]:
    """Yield a line for every window in which something was not seen."""
    for item in findings:
        name, hours = item.window.id, item.hours
        if item.hours_priced < hours:
            unknown = "" if item.is_known else "; too few for a figure"
            yield f"{name}: {hours - item.hours_priced} of {hours} hours without a price{unknown}"
        if item.hours_hedgeable < item.hours_priced:
            unpriced = item.hours_priced - item.hours_hedgeable
            unknown = "" if math.isfinite(item.unhedged) else "; the hedge is unknown, not nothing"
            yield f"{name}: {unpriced} of {hours} hours without an implied volatility{unknown}"


def gap_words(gaps: Sequence[Gap]) -> Iterator[str]:
    """Yield a line for every file with gaps: how many, how many rows, and the longest."""
    for file in dict.fromkeys(item.file for item in gaps):
        mine = [item for item in gaps if item.file == file]
        longest = max(mine, key=lambda item: item.to_s - item.from_s)
        if len(mine) == 1:
            yield str(longest)
            continue
        rows = sum(item.missing_rows for item in mine)
        yield (
            f"{file}: {rows:,} rows missing in {len(mine)} gaps, the longest between "
            f"{iso_utc(longest.from_s)} and {iso_utc(longest.to_s)}"
        )


def _policy_json(item: PolicyFindings) -> dict[str, object]:
    tiers = item.tiers
    return {
        "policy": item.policy,
        "policy_hash": item.policy_hash,
        "windows": [_window_json(each) for each in item.windows],
        "market_crises": tiers.crises,
        "market_crises_unseen": tiers.crises_unseen,
        "guarded_before_a_third": tiers.guarded_early,
        "elevated_at_half_or_before": tiers.elevated_half,
        "elevated_before_035": tiers.elevated_early,
        "hours_outside_crises": tiers.outside_hours,
        "time_outside_crises": {name: or_none(share) for name, share in tiers.time_at.items()},
        "false_alarms": tiers.false_alarms,
        "true_alarms": tiers.true_alarms,
        "open_alarms": tiers.open_alarms,
        "false_alarms_a_year": or_none(tiers.false_alarms_a_year),
        **_money_json(item.money),
    }


def _window_json(item: WindowFinding) -> dict[str, object]:
    return {
        "id": item.window.id,
        "kind": item.window.kind,
        "from_ts": iso_utc(item.window.start_s),
        "to_ts": iso_utc(item.window.end_s),
        "hours": item.hours,
        "hours_priced": item.hours_priced,
        "hours_hedgeable": item.hours_hedgeable,
        "market_crisis": item.is_market_crisis,
        "fall": or_none(item.fall),
        "peak_ts": _iso_or_none(item.peak_s),
        "low_ts": _iso_or_none(item.low_s),
        "guarded": _reached_json(item.guarded),
        "elevated": _reached_json(item.elevated),
        "highest_tier": item.highest.name if item.highest is not None else None,
        "lp_fall": or_none(item.lp_fall),
        "unhedged_drawdown": or_none(item.unhedged),
        "hedged_drawdown": {name: or_none(value) for name, value in item.hedged.items()},
        "cost_share": {name: or_none(value) for name, value in item.cost.items()},
    }


def _reached_json(item: Reached | None) -> dict[str, object] | None:
    return {"since_ts": iso_utc(item.since_s), "share_of_fall": item.share} if item else None


def _money_json(item: MoneyFinding) -> dict[str, object]:
    return {
        "removed": or_none(item.removed),
        "removed_of_crises": item.removed_of,
        "carry": or_none(item.carry),
        "net": or_none(item.net),
        "efficiency": or_none(item.efficiency),
        "trades_a_year": or_none(item.trades_a_year),
    }


def _iso_or_none(at_s: float) -> str | None:
    return iso_utc(at_s) if math.isfinite(at_s) else None
