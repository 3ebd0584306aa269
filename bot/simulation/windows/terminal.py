"""The backtest over windows in 80 columns. Policies are rows, so that any number of them fits."""

import math
from collections.abc import Callable, Sequence

from rich.console import Console, Group, RenderableType
from rich.text import Text

from bot.model.tier import Tier
from bot.model.units import DAY_S, HOUR_S
from bot.simulation.report.terminal import WIDTH, Rows, hanging
from bot.simulation.results import ALVH
from bot.simulation.windows.comparison import made_worse, policy_name
from bot.simulation.windows.control import ControlFinding
from bot.simulation.windows.measures import MoneyFinding, Reached, TierFinding, WindowFinding
from bot.simulation.windows.results import PolicyFindings, WindowsResult, gap_words, unseen_words
from bot.simulation.wording import crises_words, strategy_name, when

_LATE = "none"
_BLANK = "?"


def print_windows(result: WindowsResult, console: Console) -> None:
    """Print two tables of windows for each policy, then the policies and benchmarks side by side."""
    console.print(summary(result), width=min(console.width, WIDTH))


def summary(result: WindowsResult) -> RenderableType:
    many = len(result.policies[0].windows)
    parts: list[RenderableType] = [
        Text(f"{result.spec.pool} over {many} window{'s' if many != 1 else ''}", style="bold"),
        Text(f"{result.hours:,} hours for each policy, {_run_words(result)}"),
        Text(""),
    ]
    for item in result.policies:
        parts += [Text(item.policy, style="bold"), _tiers(item), Text(""), _money(item), Text("")]
    parts += [_legend(), Text(""), *_side_by_side(result)]
    for title, lines in (
        ("Not seen (unknown, never calm)", [*unseen_words(result.policies[0].windows)]),
        ("Gaps (nothing was filled; each one is in --json)", [*gap_words(result.gaps)]),
        ("Rows that could not be used as they stand", result.problems),
        ("Missing", result.missing),
        ("Assumed", result.assumptions),
    ):
        parts += _listed(title, lines)
    return Group(*parts)


def _run_words(result: WindowsResult) -> str:
    if math.isfinite(result.lead_s):
        days = result.lead_s / DAY_S
        return f"each stretch begun {days:g} day{'' if days == 1.0 else 's'} before its window"
    return f"{when(result.from_s)} to {when(result.to_s)}; nothing runs across a hole of over 36 h"


def _legend() -> Text:
    return Text(
        f"GUARDED, ELEVATED: share of the fall suffered when the tier stood, 0 % at the peak; {_LATE}: not "
        f"before the low; {_BLANK}: not known. Since: when ELEVATED was entered, which may be before the "
        "peak. Falls are of the price, drawdowns of the LP, cost is of the LP's value, negative where the "
        "hedge earned.",
        style="dim",
    )


def _tiers(item: PolicyFindings) -> RenderableType:
    head = ("window", "fall", "GUARDED", "ELEVATED", "since", "before low")
    rows = [_tier_row(each) for each in item.windows]
    return Rows(head=head, rows=rows, wraps=(0,))


def _tier_row(item: WindowFinding) -> tuple[str, ...]:
    reached = item.elevated if item.is_known else None
    return (
        item.window.id,
        _pct(item.fall),
        _reached(item, item.guarded),
        _reached(item, item.elevated),
        when(reached.since_s) if reached else "",
        f"{(item.low_s - reached.since_s) / HOUR_S:,.0f} h" if reached else "",
    )


def _money(item: PolicyFindings) -> RenderableType:
    head = ("window", "kind", "LP unhedged", "hedged", "removed", "cost")
    rows = [
        (
            each.window.id,
            each.window.kind,
            _pct(each.unhedged),
            _pct(each.hedged.get(ALVH, math.nan)),
            _pct(each.removed(ALVH)),
            _pct(each.cost.get(ALVH, math.nan), digits=2),
        )
        for each in item.windows
    ]
    return Rows(head=head, rows=rows, left=(0, 1), wraps=(0,))


def _reached(item: WindowFinding, reached: Reached | None) -> str:
    if not item.is_known:
        return _BLANK
    return _pct(reached.share, digits=0) if reached else _LATE


def _side_by_side(result: WindowsResult) -> list[RenderableType]:
    policies = result.policies
    monies = [(strategy_name(item.name), item.money) for item in result.strategies[:-1]]
    doubled = [(strategy_name(item.name), item.money) for item in result.doubled[:-1]]
    many = policies[0].money.removed_of
    titled = (
        ("Market crises", _table(_CRISES, [(item.policy, item.tiers) for item in policies])),
        ("Time outside crises", _table(_OUTSIDE, [(item.policy, item.tiers) for item in policies])),
        (
            "Alarms outside crises: entries to ELEVATED",
            _table(_ALARMS, [(item.policy, item.tiers) for item in policies]),
        ),
        (f"Money; removed is the mean of {crises_words(many)}", _table(_MONEY, monies)),
        *([("The same with spread and skew doubled", _table(_MONEY, doubled))] if doubled else []),
    )
    shown = [part for title, table in titled for part in (Text(title, style="bold"), table, Text(""))]
    return [*shown, *_control(result), *_chosen(result)]


def _control(result: WindowsResult) -> list[RenderableType]:
    """What rotated tiers remove, where they were run, and which crises a strategy made worse."""
    lines = [_rotated(result.control)] if result.control is not None else []
    lines += [
        f"{strategy_name(item.name)} makes {', '.join(crises)} worse"
        for item in result.strategies[:-1]
        if (crises := made_worse(item))
    ]
    title = "Control (R26), and what was made worse" if result.control is not None else "Made worse"
    return _listed(title, lines)


def _rotated(found: ControlFinding) -> str:
    return (
        f"{strategy_name(found.strategy)} on {found.rotations} rotations of its own tiers removes "
        f"{_pct(found.removed_median)} in the middle, {_pct(found.removed_p95)} at the 95th percentile; on "
        f"its own tiers, decided every {found.cadence_h} h and at each change alike, "
        f"{_pct(found.own_removed)}."
    )


def _chosen(result: WindowsResult) -> list[RenderableType]:
    """What a choice on the past was worth afterwards."""
    lines = []
    for fold in result.folds:
        test = fold.test.get(fold.chosen)
        said = (
            f"removed {_pct(test.removed)}, carry {_pct(test.carry)}, net {_pct(test.net)}" if test else "?"
        )
        chosen = strategy_name(policy_name(fold.chosen)) if fold.chosen else "none: the past has no figure"
        lines.append(f"{when(fold.test_from_s)} to {when(fold.test_to_s)}: chosen {chosen}; then {said}")
    if result.held_out is not None:
        lines.append(f"held out from {when(result.held_out.from_s)}:")
        lines += [
            f"{strategy_name(policy_name(name))}: removed {_pct(money.removed)}, carry {_pct(money.carry)}, "
            f"net {_pct(money.net)} a year"
            for name, money in result.held_out.held_out.items()
        ]
    return _listed("Walk-forward and hold-out", lines)


def _table(
    columns: Sequence[tuple[str, Callable[..., str]]], items: Sequence[tuple[str, object]]
) -> RenderableType:
    rows = [(name, *(say(item) for _, say in columns)) for name, item in items]
    return Rows(head=("", *(title for title, _ in columns)), rows=rows, wraps=(0,))


def _time_at(name: str) -> Callable[[TierFinding], str]:
    return lambda item: _pct(item.time_at[name])


def _of_all(name: str) -> Callable[[TierFinding], str]:
    return lambda item: f"{getattr(item, name)} of {item.crises}"


_CRISES: tuple[tuple[str, Callable[[TierFinding], str]], ...] = (
    ("GUARDED < 1/3 of fall", _of_all("guarded_early")),
    ("ELEVATED <= 1/2", _of_all("elevated_half")),
    ("ELEVATED < 0.35", _of_all("elevated_early")),
    ("not seen", lambda item: str(item.crises_unseen)),
)
_OUTSIDE: tuple[tuple[str, Callable[[TierFinding], str]], ...] = tuple(
    (name, _time_at(name)) for name in (*(tier.name for tier in Tier), "unknown")
)
_ALARMS: tuple[tuple[str, Callable[[TierFinding], str]], ...] = (
    ("false", lambda item: str(item.false_alarms)),
    ("false a year", lambda item: _number(item.false_alarms_a_year)),
    ("10 % fall followed", lambda item: str(item.true_alarms)),
    ("end not seen", lambda item: str(item.open_alarms)),
)
_MONEY: tuple[tuple[str, Callable[[MoneyFinding], str]], ...] = (
    ("removed", lambda item: _pct(item.removed)),
    ("carry a year", lambda item: _pct(item.carry)),
    ("net a year", lambda item: _pct(item.net)),
    ("efficiency", lambda item: _number(item.efficiency)),
    ("trades a year", lambda item: _number(item.trades_a_year)),
)


def _listed(title: str, lines: Sequence[str]) -> list[RenderableType]:
    if not lines:
        return []
    return [Text(title, style="bold"), *(hanging("  - ", Text(line)) for line in lines), Text("")]


def _pct(value: float, *, digits: int = 1) -> str:
    return f"{100.0 * value:.{digits}f} %" if math.isfinite(value) else _BLANK


def _number(value: float) -> str:
    return f"{value:,.1f}" if math.isfinite(value) else _BLANK
