"""What the page of a backtest over windows is made of, from its result."""

import math
from collections.abc import Mapping, Sequence

from bot.model.units import DAY_S, iso_utc
from bot.simulation.intervals import UNKNOWN, mean_interval
from bot.simulation.report.inputs import ControlFigures, StrategyFigures, WindowFigures, WindowsReport
from bot.simulation.results import UNHEDGED
from bot.simulation.windows.comparison import StrategyFinding, policy_name
from bot.simulation.windows.intervals import MoneyRange
from bot.simulation.windows.measures import MoneyFinding, Reached, WindowFinding
from bot.simulation.windows.results import WindowsResult, gap_words, unseen_words
from bot.simulation.wording import percent, strategy_name, usd

_NO_RANGE = MoneyRange()


def windows_report(
    result: WindowsResult, *, policies: Mapping[str, Mapping[str, str]] | None = None
) -> WindowsReport:
    """Return the report. ``policies`` are the keys of each policy as written, by its name."""
    own = tuple(policy_name(item.policy) for item in result.policies)
    hedged = [item for item in result.strategies if item.name != UNHEDGED]
    span = f"{iso_utc(result.from_s)[:10]} to {iso_utc(result.to_s)[:10]}"
    return WindowsReport(
        title=f"{usd(result.spec.value_usd)} in {result.spec.pool}, {span} (UTC)",
        hours=result.hours,
        lead_days=result.lead_s / DAY_S,
        own=own,
        strategies=tuple(_strategy(result, item) for item in hedged),
        doubled=tuple(_money(item.name, item.money) for item in result.doubled if item.name != UNHEDGED),
        windows=tuple(_window(result, hedged, at) for at in range(len(hedged[0].windows))),
        control=_control(result),
        checks=(*_walk_forward(result), *_hold_out(result)),
        policies=policies or {},
        unseen=tuple(unseen_words(result.policies[0].windows)),
        gaps=tuple(gap_words(result.gaps)),
        missing=result.missing,
        assumptions=result.assumptions,
    )


def _money(name: str, money: MoneyFinding) -> StrategyFigures:
    return StrategyFigures(
        name=name,
        removed=money.removed,
        carry=money.carry,
        net=money.net,
        efficiency=money.efficiency,
        trades_a_year=money.trades_a_year,
    )


def _strategy(result: WindowsResult, item: StrategyFinding) -> StrategyFigures:
    money, tiers = item.money, item.tiers
    ranges = result.ranges.get(item.name, _NO_RANGE)
    removed = [each.removed(item.account) for each in item.windows if each.is_market_crisis]
    return StrategyFigures(
        name=item.name,
        removed=money.removed,
        removed_range=mean_interval(removed) if math.isfinite(money.removed) else UNKNOWN,
        carry=money.carry,
        carry_range=ranges.carry,
        net=money.net,
        net_range=ranges.net,
        efficiency=money.efficiency,
        trades_a_year=money.trades_a_year,
        false_alarms_a_year=tiers.false_alarms_a_year if tiers else math.nan,
        time_at=dict(tiers.time_at) if tiers else {},
    )


def _window(result: WindowsResult, hedged: Sequence[StrategyFinding], at: int) -> WindowFigures:
    first = hedged[0].windows[at]
    stood = {policy_name(item.policy): item.windows[at] for item in result.policies}
    return WindowFigures(
        id=first.window.id,
        kind=first.window.kind,
        from_s=first.window.start_s,
        to_s=first.window.end_s,
        fall=first.fall,
        is_market_crisis=first.is_market_crisis,
        unhedged=first.unhedged,
        hedged={item.name: item.windows[at].hedged.get(item.account, math.nan) for item in hedged},
        guarded={name: _share(item, item.guarded) for name, item in stood.items()},
        elevated={name: _share(item, item.elevated) for name, item in stood.items()},
    )


def _share(item: WindowFinding, reached: Reached | None) -> float:
    """Return the share of the fall at which a tier stood; of a window that was hardly seen it is unknown."""
    return reached.share if reached and item.is_known else math.nan


def _control(result: WindowsResult) -> ControlFigures | None:
    found = result.control
    if found is None:
        return None
    return ControlFigures(policy=found.strategy, rotations=found.rotations, removed_p95=found.removed_p95)


def _walk_forward(result: WindowsResult) -> list[tuple[str, str]]:
    """Return a line for each step forward: what the past chose, and what that did next."""
    rows = []
    for fold in result.folds:
        span = f"{iso_utc(fold.test_from_s)[:10]} to {iso_utc(fold.test_to_s)[:10]}"
        found = fold.test.get(fold.chosen)
        said = (
            f"{strategy_name(policy_name(fold.chosen))}: {_said(found)}"
            if found
            else "no figure to choose by"
        )
        rows.append((f"Walk-forward, {span}", said))
    return rows


def _hold_out(result: WindowsResult) -> list[tuple[str, str]]:
    found = result.held_out
    if found is None:
        return []
    since = iso_utc(found.from_s)[:10]
    return [
        (
            f"{strategy_name(policy_name(name))}, held out from {since}",
            f"{_said(money)}; before it {_said(found.before[name])}",
        )
        for name, money in found.held_out.items()
    ]


def _said(money: MoneyFinding) -> str:
    return f"removed {percent(money.removed)}, carry {percent(money.carry)}, net {percent(money.net)} a year"
