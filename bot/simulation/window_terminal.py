"""The backtest over windows in a terminal of 80 columns."""

import math
from collections.abc import Callable, Sequence

from rich.console import Console, Group, RenderableType
from rich.text import Text

from bot.model.tier import Tier
from bot.model.units import DAY_S
from bot.simulation.report_terminal import WIDTH, Rows, hanging
from bot.simulation.results import ALVH
from bot.simulation.window_measures import MoneyFinding, Reached, WindowFinding
from bot.simulation.window_results import PolicyFindings, WindowsResult, unseen_words
from bot.simulation.wording import strategy_name

_NOT_ASKED = "-"
_LATE = "none"
_BLANK = "?"


def print_windows(result: WindowsResult, console: Console) -> None:
    """Print a table of windows for each policy, then the policies and benchmarks side by side."""
    console.print(summary(result), width=min(console.width, WIDTH))


def summary(result: WindowsResult) -> RenderableType:
    many = len(result.policies[0].windows)
    parts: list[RenderableType] = [
        Text(f"{result.spec.pool} over {many} window{'s' if many != 1 else ''}", style="bold"),
        Text(
            f"{result.hours:,} hours for each policy, each stretch begun {result.lead_s / DAY_S:g} days "
            "before its window"
        ),
        Text(""),
    ]
    for item in result.policies:
        parts += [Text(item.policy, style="bold"), _windows(item), Text("")]
    parts += [
        Text(
            "GUARDED, ELEVATED: share of the fall suffered when the tier stood, 0 % at the peak; "
            f"{_LATE}: not before the low; {_BLANK}: not known. Falls are of the price, drawdowns of the LP, "
            "cost is of the LP's value, negative where the hedge earned.",
            style="dim",
        ),
        Text(""),
        Text("Side by side", style="bold"),
        _side_by_side(result),
        Text(""),
    ]
    for title, lines in (
        ("Not seen (unknown, never calm)", [*unseen_words(result.policies[0].windows), *result.gaps]),
        ("Missing", result.missing),
        ("Assumed", result.assumptions),
    ):
        parts += _listed(title, lines)
    return Group(*parts)


def _windows(item: PolicyFindings) -> RenderableType:
    head = ("window", "kind", "fall", "GUARDED", "ELEVATED", "unhedged", "hedged", "cost")
    return Rows(head=head, rows=[_row(each) for each in item.windows], left=(0, 1))


def _row(item: WindowFinding) -> tuple[str, ...]:
    return (
        item.window.id,
        item.window.kind,
        _pct(item.fall),
        _reached(item, item.guarded),
        _reached(item, item.elevated),
        _pct(item.unhedged),
        _pct(item.hedged.get(ALVH, math.nan)),
        _pct(item.cost.get(ALVH, math.nan), digits=2),
    )


def _reached(item: WindowFinding, reached: Reached | None) -> str:
    if not item.is_known:
        return _BLANK
    return _pct(reached.share, digits=0) if reached else _LATE


def _side_by_side(result: WindowsResult) -> RenderableType:
    policies, others = result.policies, result.benchmarks
    head = (
        "",
        *(item.policy for item in policies),
        *(strategy_name(name).replace(" 4/4/2", "") for name in others),
    )
    blank = (_NOT_ASKED,) * len(others)
    rows = [(words, *map(say, policies), *blank) for words, say in _tier_lines()]
    monies = [*(item.money for item in policies), *others.values()]
    rows += [(words, *map(worth, monies)) for words, worth in _money_lines(policies)]
    return Rows(head=head, rows=rows)


def _tier_lines() -> list[tuple[str, Callable[[PolicyFindings], str]]]:
    def crises(name: str) -> Callable[[PolicyFindings], str]:
        return lambda item: f"{getattr(item.tiers, name)} of {item.tiers.crises}"

    def time_at(name: str) -> Callable[[PolicyFindings], str]:
        return lambda item: _pct(item.tiers.time_at[name])

    return [
        ("GUARDED before 1/3 of fall", crises("guarded_early")),
        ("ELEVATED by 1/2 of fall", crises("elevated_half")),
        ("ELEVATED before 0.35", crises("elevated_early")),
        ("crises not seen", lambda item: str(item.tiers.crises_unseen)),
        *((f"outside crises, {name}", time_at(name)) for name in (*(tier.name for tier in Tier), "unknown")),
        ("false alarms", lambda item: str(item.tiers.false_alarms)),
        ("false alarms a year", lambda item: _number(item.tiers.false_alarms_a_year)),
        ("alarms a fall followed", lambda item: str(item.tiers.true_alarms)),
        ("alarms not seen to an end", lambda item: str(item.tiers.open_alarms)),
    ]


def _money_lines(policies: Sequence[PolicyFindings]) -> list[tuple[str, Callable[[MoneyFinding], str]]]:
    many = policies[0].money.removed_of
    return [
        (f"removed, mean of {many}", lambda item: _pct(item.removed)),
        ("carry a year", lambda item: _pct(item.carry)),
        ("net a year", lambda item: _pct(item.net)),
        ("efficiency", lambda item: _number(item.efficiency)),
        ("trades a year", lambda item: _number(item.trades_a_year)),
    ]


def _listed(title: str, lines: Sequence[str]) -> list[RenderableType]:
    if not lines:
        return []
    return [Text(title, style="bold"), *(hanging("  - ", Text(line)) for line in lines), Text("")]


def _pct(value: float, *, digits: int = 1) -> str:
    return f"{100.0 * value:.{digits}f} %" if math.isfinite(value) else _BLANK


def _number(value: float) -> str:
    return f"{value:,.1f}" if math.isfinite(value) else _BLANK
