"""The page of a backtest over crisis and calm windows (R26): policies and benchmarks side by side."""

import math
from collections.abc import Sequence
from html import escape

from bot.model.tier import Tier
from bot.simulation.report import chart_windows
from bot.simulation.report.inputs import StrategyFigures, WindowsReport
from bot.simulation.report.page import Figure, Page, Panel, head_html, list_html
from bot.simulation.report.table import Cell, Column, Kind, Table
from bot.simulation.report.tables import share_column, text, with_bounds
from bot.simulation.wording import UNKNOWN, percent, strategy_name

_NUMBER = Kind.NUMBER
_YEARLY = (("removed", "Removed"), ("carry", "Carry a year"), ("net", "Net a year"))


def page_of(report: WindowsReport) -> Page:
    """Return the page."""
    return Page(
        title=headline(report),
        head=_head(report),
        panels=(
            _money(report),
            _windows(report),
            *_doubled(report),
            *_checks(report),
            *_tiers(report),
            _trust(report),
        ),
        footer=f"{report.hours:,} hours for each policy.",
    )


def headline(report: WindowsReport) -> str:
    """Return what the best of the policies came to, in words and numbers."""
    own = [item for item in report.strategies if item.name in report.own]
    best = _best(own)
    if best is None:
        known = [item for item in own if math.isfinite(item.removed)]
        most = max(known, key=lambda item: item.removed, default=None)
        if most is None:
            return "No policy has a known figure in these windows"
        return f"{strategy_name(most.name)} removed {percent(most.removed)} of the fall; its carry is unknown"
    return (
        f"{strategy_name(best.name)} removed {percent(best.removed)} of the fall "
        f"at {percent(best.carry)} carry a year"
    )


def summary_table(report: WindowsReport) -> Table:
    """Return R26's figures of every strategy."""
    columns = (
        text("strategy", "Strategy"),
        *with_bounds(share_column("removed", "Removed")),
        *with_bounds(share_column("carry", "Carry a year")),
        *with_bounds(share_column("net", "Net a year")),
        Column(name="efficiency", title="Efficiency", kind=_NUMBER),
        Column(name="trades_a_year", title="Trades a year", kind=_NUMBER),
        Column(name="false_alarms_a_year", title="False alarms a year", kind=_NUMBER),
    )
    best = _best([item for item in report.strategies if item.name in report.own])
    return Table(
        name="summary",
        columns=columns,
        rows=tuple(map(_summary_row, report.strategies)),
        own=strategy_name(best.name) if best else "",
    )


def _summary_row(item: StrategyFigures) -> tuple[Cell, ...]:
    return (
        strategy_name(item.name),
        item.removed,
        item.removed_range.low,
        item.removed_range.high,
        item.carry,
        item.carry_range.low,
        item.carry_range.high,
        item.net,
        item.net_range.low,
        item.net_range.high,
        item.efficiency,
        item.trades_a_year,
        item.false_alarms_a_year,
    )


def window_table(report: WindowsReport) -> Table:
    """Return each window's falls, alone and under every strategy, and how early the tiers stood."""
    names = [item.name for item in report.strategies if item.name in report.windows[0].hedged]
    columns = (
        text("window", "Window"),
        text("kind", "Kind"),
        Column(name="from_ts", title="", kind=Kind.TIME),
        Column(name="to_ts", title="", kind=Kind.TIME),
        share_column("fall", "Price fell"),
        share_column("unhedged", "LP alone"),
        *(share_column(name, strategy_name(name)) for name in names),
        *(share_column(f"{name}_at_guarded", "") for name in report.own),
        *(share_column(f"{name}_at_elevated", "") for name in report.own),
    )
    rows: tuple[tuple[Cell, ...], ...] = tuple(
        (
            item.id,
            item.kind,
            item.from_s,
            item.to_s,
            item.fall,
            item.unhedged,
            *(item.hedged.get(name, math.nan) for name in names),
            *(item.guarded.get(name, math.nan) for name in report.own),
            *(item.elevated.get(name, math.nan) for name in report.own),
        )
        for item in report.windows
    )
    return Table(name="windows", columns=columns, rows=rows)


def _head(report: WindowsReport) -> str:
    crises = [item for item in report.windows if item.is_market_crisis]
    best = _best([item for item in report.strategies if item.name in report.own])
    rival = _best([item for item in report.strategies if item.name not in report.own])
    facts = [("Market crises", str(len(crises)), f"of {len(report.windows)} windows")]
    if best is not None:
        facts += [
            ("Removed of the fall", percent(best.removed), _range_words(best)),
            ("Carry a year", percent(best.carry), "loss outside crises, of exposure"),
            ("Efficiency", _ratio(best.efficiency), _against(rival)),
        ]
    own = ", ".join(strategy_name(name) for name in report.own)
    return head_html(
        mode="backtest over windows",
        title=report.title,
        headline=headline(report),
        lead=f"Compared: {own}, and the benchmarks on the same hours, prices and costs.",
        facts=facts,
    )


def _money(report: WindowsReport) -> Panel:
    control = report.control
    against = ""
    if control is not None and math.isfinite(control.removed_p95):
        against = (
            f" {strategy_name(control.policy)} on {control.rotations} rotations of its own tiers removes "
            f"{percent(control.removed_p95)} at the 95th percentile: what is over that is timing."
        )
    return Panel(
        title=_rank_title(report),
        subtitle="Removed is the mean over market crises (the LP falls by more than 5 %) of 1 - hedged / "
        "unhedged drawdown; carry the hedge's loss outside crises, net in all hours, of exposure a year; "
        "efficiency is removed / carry, with carry at least 0.5 %; dotted rays join equal efficiency. Under "
        f"a number: where 90 % of its resamples lie; removed is resampled over crises.{against}",
        figures=_scatter(report),
        tables=(summary_table(report),),
    )


def _scatter(report: WindowsReport) -> tuple[Figure, ...]:
    if not any(math.isfinite(item.carry) and math.isfinite(item.removed) for item in report.strategies):
        return ()
    return (Figure(name="removed_carry", plot=chart_windows.removed_at_carry(report)),)


def _rank_title(report: WindowsReport) -> str:
    best, rival = (
        _best([item for item in report.strategies if (item.name in report.own) is is_own])
        for is_own in (True, False)
    )
    if best is None or rival is None or not rival.efficiency > 0.0:
        return "What was removed, and what it cost"
    return (
        f"{strategy_name(best.name)} is {best.efficiency / rival.efficiency:.1f} times as efficient as "
        f"{strategy_name(rival.name)}, the best benchmark"
    )


def _windows(report: WindowsReport) -> Panel:
    crises = [item for item in report.windows if item.is_market_crisis]
    worse = [
        item.id
        for item in crises
        if any(item.hedged.get(name, math.nan) > item.unhedged for name in report.own)
    ]
    title = f"In {len(worse)} of {len(crises)} market crises a policy made the fall deeper"
    return Panel(
        title=title if worse else f"No policy made the fall of a market crisis deeper, of {len(crises)}",
        subtitle="The deepest fall of the LP in each window, alone and hedged, in hours with option prices. "
        "What is unknown says so; it is not nothing.",
        figures=(Figure(name="falls", plot=chart_windows.falls(report)),),
        tables=(window_table(report),),
    )


def doubled_table(report: WindowsReport) -> Table:
    """Return the figures with spread and skew doubled, and what is left of the efficiency."""
    plain = {item.name: item.efficiency for item in report.strategies}
    columns = (
        text("strategy", "Strategy"),
        *(share_column(name, title) for name, title in _YEARLY),
        Column(name="efficiency", title="Efficiency", kind=_NUMBER),
        share_column("efficiency_left", "Of it left"),
    )
    rows: tuple[tuple[Cell, ...], ...] = tuple(
        (
            strategy_name(item.name),
            item.removed,
            item.carry,
            item.net,
            item.efficiency,
            _over(item.efficiency, plain.get(item.name, math.nan)),
        )
        for item in report.doubled
    )
    return Table(name="doubled", columns=columns, rows=rows)


def _doubled(report: WindowsReport) -> tuple[Panel, ...]:
    if not report.doubled:
        return ()
    table = doubled_table(report)
    own = [row for row in table.rows if row[0] in [strategy_name(name) for name in report.own]]
    left = [float(row[-1]) for row in own if math.isfinite(float(row[-1]))]
    title = "With spread and skew doubled"
    if left:
        title += f" at least {percent(min(left))} of each policy's efficiency is left"
    return (Panel(title=title, subtitle="The same history at twice the costs.", tables=(table,)),)


def _checks(report: WindowsReport) -> tuple[Panel, ...]:
    if not report.checks:
        return ()
    columns = (text("check", "Check"), text("found", "Found"))
    return (
        Panel(
            title="On time that no choice had seen",
            subtitle="Walk-forward: the policy that the past would have chosen, on what followed. Hold-out: "
            "the last part of the time, measured apart.",
            tables=(Table(name="checks", columns=columns, rows=report.checks),),
        ),
    )


def _tiers(report: WindowsReport) -> tuple[Panel, ...]:
    known = [item for item in report.strategies if item.time_at]
    if not known:
        return ()
    names = [*(tier.name for tier in Tier), "unknown"]
    columns = (text("policy", "Policy"), *(share_column(name.lower(), name) for name in names))
    rows: tuple[tuple[Cell, ...], ...] = tuple(
        (strategy_name(item.name), *(item.time_at.get(name, 0.0) for name in names)) for item in known
    )
    calm = max(known, key=lambda item: item.time_at.get("CALM", 0.0))
    return (
        Panel(
            title=f"Outside crises {strategy_name(calm.name)} was CALM {percent(calm.time_at['CALM'])} "
            "of the time",
            subtitle="Share of the hours outside crises in each tier; unknown is CALM that nobody could see.",
            figures=(Figure(name="time_in_tiers", plot=chart_windows.time_in_tiers(report)),),
            tables=(Table(name="time_in_tiers", columns=columns, rows=rows),),
        ),
    )


def _trust(report: WindowsReport) -> Panel:
    lists = (
        ("Not seen (unknown, never calm)", report.unseen),
        ("Gaps in the data; nothing was filled", report.gaps),
        ("Missing files, and what is lost without them", report.missing),
        ("Assumptions", report.assumptions),
    )
    count = len(report.unseen) + len(report.gaps) + len(report.missing)
    begun = "The whole history was run."
    if math.isfinite(report.lead_days):
        begun = f"Each stretch began {report.lead_days:g} days before its window."
    return Panel(
        title="Can this be trusted? " + (f"{count} gaps or missing files" if count else "Nothing is missing"),
        subtitle=f"What was assumed, and what was not there. {begun}",
        html="".join(f"<h3>{escape(name)}</h3>{list_html(items)}" for name, items in lists if items),
        files=_policy_files(report),
    )


def _policy_files(report: WindowsReport) -> tuple[Table, ...]:
    keys = sorted({key for values in report.policies.values() for key in values})
    if not keys:
        return ()
    named = dict(sorted(report.policies.items()))
    columns = (text("key", "Key"), *(text(name, name) for name in named))
    rows = tuple((key, *(values.get(key, "") for values in named.values())) for key in keys)
    return (Table(name="policies", columns=columns, rows=rows),)


def _best(items: Sequence[StrategyFigures]) -> StrategyFigures | None:
    known = [item for item in items if math.isfinite(item.efficiency)]
    return max(known, key=lambda item: item.efficiency, default=None)


def _range_words(item: StrategyFigures) -> str:
    low, high = item.removed_range.low, item.removed_range.high
    return f"90 % interval {percent(low)} to {percent(high)}" if math.isfinite(low) else "mean of the crises"


def _over(one: float, other: float) -> float:
    return one / other if other > 0.0 else math.nan


def _ratio(value: float) -> str:
    return f"{value:.1f}" if math.isfinite(value) else UNKNOWN


def _against(rival: StrategyFigures | None) -> str:
    if rival is None:
        return "removed over carry"
    return f"{strategy_name(rival.name)}, the best benchmark: {_ratio(rival.efficiency)}"
