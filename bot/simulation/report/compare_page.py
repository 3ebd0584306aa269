"""The page of two runs side by side: curves on one axis, every figure's difference, differing policy keys."""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from bot.errors import ConfigError
from bot.model.market import FloatArray
from bot.model.tier import Tier
from bot.model.units import DAY_S
from bot.simulation.attribution import PART_NAMES
from bot.simulation.report.chart_style import HEDGED, OTHERS, UNHEDGED, line, styled
from bot.simulation.report.chart_timeline import falls
from bot.simulation.report.data import ReportData
from bot.simulation.report.inputs import MonteCarloReport, SweepReport, WindowsReport
from bot.simulation.report.page import Figure, Page, Panel, head_html, list_html
from bot.simulation.report.saved_run import Run, kind_of
from bot.simulation.report.table import UNIT, Cell, Column, Kind, Table
from bot.simulation.report.tables import measures_of, text
from bot.simulation.results import ALVH
from bot.simulation.wording import UNKNOWN, percent, strategy_name, when

_SAME_START = 0.01  # of the value: nearer than this two runs began with the same position
_SECOND = OTHERS[2]


@dataclass(frozen=True, slots=True, kw_only=True)
class Side:
    """One of the two runs."""

    name: str
    run: Run


def page_of(first: Side, second: Side) -> Page:
    """Return the page. Raises ConfigError where the runs are of two kinds."""
    kinds = kind_of(first.run), kind_of(second.run)
    if kinds[0] != kinds[1]:
        raise ConfigError(
            f"{first.name} is a {kinds[0]} run and {second.name} a {kinds[1]} run; compare two of one kind"
        )
    figures = figures_table(first, second)
    panels = [_differences(first, second, figures)]
    if isinstance(first.run, ReportData) and isinstance(second.run, ReportData):
        panels.insert(0, _curves(first, first.run, second, second.run))
    panels += [_policies(first, second), _assumptions(first, second)]
    return Page(
        title=f"{first.name} against {second.name}",
        head=_head(first, second, figures),
        panels=tuple(panels),
        footer=f"{first.name} and {second.name}.",
    )


def figures_table(first: Side, second: Side) -> Table:
    """Return every figure that either run has, and the second's less the first's."""
    sides = [dict(_keyed(item.run)) for item in (first, second)]
    rows: list[tuple[Cell, ...]] = []
    for key in dict.fromkeys((*sides[0], *sides[1])):
        one, two = (side.get(key, math.nan) for side in sides)
        if all(value == 0.0 or math.isnan(value) for value in (one, two)):
            continue  # neither run has it
        rows.append((key[0], key[1], one, two, two - one))
    columns = (
        text("figure", "Figure"),
        text(UNIT, ""),
        Column(name="first", title=first.name, kind=Kind.BY_UNIT),
        Column(name="second", title=second.name, kind=Kind.BY_UNIT),
        Column(name="difference", title="Second less first", kind=Kind.DIFFERENCE),
    )
    return Table(name="figures", columns=columns, rows=tuple(rows))


def is_moved(table: Table, row: tuple[Cell, ...]) -> bool:
    """Say whether a figure of both runs differs in what a person reads of it."""
    first, second, difference = (table.text_at(row, column) for column in table.columns[2:])
    return first != second and difference != UNKNOWN


def differing_keys(first: Side, second: Side) -> Table:
    """Return the policy keys in which the runs differ, as both files write them."""
    one, two = (dict(_policy_of(item.run)) for item in (first, second))
    rows = tuple(
        (key, one.get(key, "not stated"), two.get(key, "not stated"))
        for key in sorted({*one, *two})
        if one.get(key) != two.get(key)
    )
    columns = (text("key", "Key"), text("first", first.name), text("second", second.name))
    return Table(name="policy_differences", columns=columns, rows=rows)


def _keyed(run: Run) -> Iterator[tuple[tuple[str, str], float]]:
    """Yield ((name, unit), value) of every figure of a run."""
    found = {
        ReportData: _of_stretch,
        WindowsReport: _of_windows,
        SweepReport: _of_sweep,
        MonteCarloReport: _of_fans,
    }[type(run)]
    for name, unit, value in found(run):  # type: ignore[operator]
        yield (name, unit), value


def _of_stretch(data: ReportData) -> Iterator[tuple[str, str, float]]:
    yield "Fall without hedge", "share", data.unhedged_drawdown
    yield "Fall with hedge", "share", data.hedged_drawdown
    measure = measures_of(data).get(ALVH)
    yield "Cost a year, of the position", "share", measure.cost_a_year if measure else math.nan
    yield "Hedging, net", "USD", data.money.net_usd
    found = data.attributions.get(ALVH)
    for name, value in found.parts if found else ():
        yield f"{PART_NAMES[name]} (part of the result)", "USD", value
    if found:
        yield "Residual", "USD", found.residual_usd
        yield "Result in all", "USD", found.total_usd
    tiers = data.decided.tier_by_step
    for tier in Tier:
        yield f"Time at {tier.name}", "share", sum(item is tier for item in tiers) / max(len(tiers), 1)
    yield "Orders of options", "number", float(len(data.decided.orders))
    yield "Orders for perpetuals", "number", float(len(data.decided.perpetuals))
    for item in data.compared:
        if item.name != ALVH:
            yield f"Fall with {strategy_name(item.name)}", "share", item.max_drawdown
            yield f"Cost of {strategy_name(item.name)}", "USD", item.cost_usd


def _of_windows(report: WindowsReport) -> Iterator[tuple[str, str, float]]:
    for item in report.strategies:
        name = strategy_name(item.name)
        yield f"{name}: removed", "share", item.removed
        yield f"{name}: carry a year", "share", item.carry
        yield f"{name}: net a year", "share", item.net
        yield f"{name}: efficiency", "number", item.efficiency
        yield f"{name}: trades a year", "number", item.trades_a_year
    for window in report.windows:
        yield f"{window.id}: LP alone", "share", window.unhedged
        for own in report.own:
            hedged = window.hedged.get(own, math.nan)
            yield f"{window.id}: {strategy_name(own)}", "share", hedged


def _of_sweep(report: SweepReport) -> Iterator[tuple[str, str, float]]:
    yield "Policies", "number", float(len(report.cells))
    chosen = next((item for item in report.cells if item.place == report.chosen), None)
    for what, cell in (("chosen", chosen), ("policy as it is", report.base)):
        if cell is not None:
            yield f"Removed, {what}", "share", cell.removed
            yield f"Carry a year, {what}", "share", cell.carry
            yield f"Net a year, {what}", "share", cell.net
            yield f"Efficiency, {what}", "number", cell.efficiency
            yield f"Trades a year, {what}", "number", cell.trades_a_year


def _of_fans(report: MonteCarloReport) -> Iterator[tuple[str, str, float]]:
    yield "Paths", "number", float(report.policies[0].paths)
    for number, policy in enumerate(report.policies, start=1):
        which = f" ({number})" if len(report.policies) > 1 else ""
        for item in policy.figures:
            if math.isfinite(item.unhedged.value):
                yield f"{item.name}, unhedged{which}", item.unit, item.unhedged.value
            yield f"{item.name}, hedged{which}", item.unit, item.hedged.value


def _policy_of(run: Run) -> Iterator[tuple[str, str]]:
    if isinstance(run, ReportData):
        yield from run.policy.items()
    elif isinstance(run, MonteCarloReport):
        for number, item in enumerate(run.policies, start=1):
            yield from ((f"{number}: {key}", value) for key, value in item.policy.items())
    elif isinstance(run, WindowsReport):
        for name, keys in run.policies.items():
            yield from ((f"{name}: {key}", value) for key, value in keys.items())
    else:
        chosen = next((item for item in run.cells if item.place == run.chosen), None)
        yield from zip(run.keys, chosen.values if chosen else (), strict=False)


def _head(first: Side, second: Side, figures: Table) -> str:
    shown = [row for row in figures.rows if is_moved(figures, row)]
    column = figures.columns[4]
    facts = [(str(row[0]), figures.text_at(row, column), "second less first") for row in shown[:4]]
    return head_html(
        mode="two runs",
        title=f"{_title_of(first.run)} · {_title_of(second.run)}",
        headline=f"{first.name} against {second.name}",
        lead=f"First: {first.name}. Second: {second.name}. Differences are the second's less the first's.",
        facts=facts,
    )


def _title_of(run: Run) -> str:
    return run.title


def _curves(first: Side, one: ReportData, second: Side, two: ReportData) -> Panel:
    figure, words = curves(first, one, second, two)
    better, worse = (first, second), (one.hedged_drawdown, two.hedged_drawdown)
    title = f"Both fell by {percent(worse[0])} at most"
    if percent(worse[0]) != percent(worse[1]):
        at = int(worse[1] < worse[0])
        title = (
            f"{better[at].name} fell less: {percent(worse[at])} at most, "
            f"{better[1 - at].name} {percent(worse[1 - at])}"
        )
    return Panel(
        title=title,
        subtitle="Value with hedge of both, and of the first's position alone; below, the fall from the "
        f"peak. {words} First: {_range(one)}. Second: {_range(two)}.",
        figures=(Figure(name="curves", plot=figure),),
    )


def curves(first: Side, one: ReportData, second: Side, two: ReportData) -> tuple[go.Figure, str]:
    """Return both runs on one axis, and in words what was done to fit them there.

    Runs of different lengths of history are laid over each other from their first hour, runs of different
    size as a share of their first value.
    """
    is_same_time = one.times_s[-1] >= two.times_s[0] and two.times_s[-1] >= one.times_s[0]
    starts = [float(item.unhedged_usd[0]) for item in (one, two)]
    is_same_size = abs(starts[0] - starts[1]) <= _SAME_START * max(abs(start) for start in starts)
    figure = make_subplots(rows=2, cols=1, shared_xaxes=True, vertical_spacing=0.05, row_heights=[0.65, 0.35])
    shown = (
        (one, one.unhedged_usd, starts[0], f"{first.name}, position alone", UNHEDGED),
        (one, one.hedged_usd, starts[0], first.name, HEDGED),
        (two, two.hedged_usd, starts[1], second.name, _SECOND),
    )
    for data, values, start_usd, name, colour in shown:
        times_s = data.times_s if is_same_time else data.times_s - data.times_s[0]
        scaled = values if is_same_size else values / start_usd
        _add(figure, times_s, scaled, falls(data.times_s, values), name, colour, is_same_size=is_same_size)
    unit = ("value, USD", "~s") if is_same_size else ("share of the first value", ".0%")
    figure.update_yaxes(title_text=unit[0], tickformat=unit[1], row=1, col=1)
    figure.update_yaxes(title_text="fall", tickformat=".0%", row=2, col=1)
    figure.update_xaxes(title_text="time, UTC" if is_same_time else "days from the start", row=2, col=1)
    if not is_same_time:
        _in_days(figure)
    words = "" if is_same_size else "The runs differ in size: each is a share of its first value."
    if not is_same_time:
        words += " They share no time: both begin at day 0."
    return styled(figure, height=560), words.strip()


def _add(
    figure: go.Figure,
    times_s: FloatArray,
    values: FloatArray,
    fallen: FloatArray,
    name: str,
    colour: str,
    *,
    is_same_size: bool,
) -> None:
    hover = "%{x}, $%{y:,.0f}" if is_same_size else "%{x}, %{y:.1%}"
    figure.add_trace(
        line(times_s, values, name, colour, digits=2 if is_same_size else 5, hover=hover), row=1, col=1
    )
    fall = line(times_s, fallen, f"{name}, fall", colour, digits=5, hover="%{x}, %{y:.1%}", showlegend=False)
    figure.add_trace(fall, row=2, col=1)


def _in_days(figure: go.Figure) -> None:
    """Write times since a run's first hour as days."""
    for trace in figure.data:
        since = np.array(trace.x, dtype="datetime64[s]").astype(np.float64)
        trace.x = np.round(since / DAY_S, 4).tolist()


def _range(data: ReportData) -> str:
    return f"{data.title}, {when(data.times_s[0])[:10]} to {when(data.times_s[-1] - 1.0)[:10]}"


def _differences(first: Side, second: Side, figures: Table) -> Panel:
    moved = sum(is_moved(figures, row) for row in figures.rows)
    return Panel(
        title=f"{moved} of {len(figures.rows)} figures differ" if moved else "No figure differs",
        subtitle=f"First is {first.name}, second is {second.name}. A figure that a run has not is unknown.",
        tables=(figures,),
    )


def _policies(first: Side, second: Side) -> Panel:
    table = differing_keys(first, second)
    known = [bool(dict(_policy_of(item.run))) for item in (first, second)]
    if not all(known):
        missing = " and ".join(
            item.name for item, is_known in zip((first, second), known, strict=True) if not is_known
        )
        return Panel(title="Policies", subtitle=f"{missing} does not say its policy's keys.")
    count = len(table.rows)
    title = (
        f"The policies differ in {count} key{'s' if count != 1 else ''}" if count else "One policy for both"
    )
    return Panel(title=title, tables=(table,) if count else ())


def _assumptions(first: Side, second: Side) -> Panel:
    one, two = (set(item.run.assumptions) for item in (first, second))
    lines = [f"{first.name}: {words}" for words in first.run.assumptions if words not in two]
    lines += [f"{second.name}: {words}" for words in second.run.assumptions if words not in one]
    if not lines:
        return Panel(title="Both assume the same of the market")
    return Panel(title="They assume different things of the market", html=list_html(lines))


def summary_lines(first: Side, second: Side) -> list[tuple[str, str, str, str]]:
    """Return (figure, first, second, difference) for the terminal: those that differ."""
    table = figures_table(first, second)
    ends = table.columns[2:]
    return [
        (str(row[0]), *(table.text_at(row, column) for column in ends))  # type: ignore[misc]
        for row in table.rows
        if is_moved(table, row)
    ]
