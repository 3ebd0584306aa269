"""The page of a sweep: every policy that was tried, the chosen one and the flatness around it."""

import math
from collections.abc import Sequence

import numpy as np
import plotly.graph_objects as go

from bot.simulation.report.chart_style import HEDGED, LOSS, UNHEDGED, styled
from bot.simulation.report.inputs import Heat, SweepCell, SweepReport
from bot.simulation.report.page import Figure, Page, Panel, head_html, list_html, row_html, stacked_table
from bot.simulation.report.table import Cell, Column, Kind, Table
from bot.simulation.report.tables import share_column, text
from bot.simulation.wording import UNKNOWN, percent

_SCALE = ((0.0, "#f4f1ea"), (0.5, "#c4dcee"), (1.0, "#7fb4de"))  # light: numbers stand on it in black
_SHARES = ("removed", "carry", "net")
_SHOWN_ROWS = 30
_CELL_PX = 34


def page_of(report: SweepReport) -> Page:
    """Return the page."""
    return Page(
        title=_headline(report),
        head=_head(report),
        panels=(*_heats(report), _cells(report), *_checks(report), *_trust(report)),
        footer=f"{len(report.cells):,} policies.",
    )


def heat_map(heat: Heat, objective: str) -> go.Figure:
    """Return the objective over two keys with the chosen cell framed; its neighbours show the flatness."""
    texts = [[_said(objective, value) for value in row.tolist()] for row in heat.rows]
    texts[heat.chosen[0]][heat.chosen[1]] += " ★"
    figure = go.Figure(
        go.Heatmap(
            x=list(heat.x_values),
            y=list(heat.y_values),
            z=[
                [None if math.isnan(value) else round(value, 6) for value in row.tolist()]
                for row in heat.rows
            ],
            text=texts,
            texttemplate="%{text}",
            colorscale=[list(item) for item in _SCALE],
            colorbar={"title": {"text": objective}, "thickness": 14},
            hovertemplate=f"{heat.x_key} %{{x}}, {heat.y_key} %{{y}}: %{{text}}<extra></extra>",
        )
    )
    row, column = heat.chosen
    figure.add_shape(
        type="rect",
        x0=column - 0.5,
        x1=column + 0.5,
        y0=row - 0.5,
        y1=row + 0.5,
        line={"color": LOSS, "width": 3},
    )
    figure.update_xaxes(title_text=heat.x_key, type="category")
    figure.update_yaxes(title_text=heat.y_key, type="category")
    return styled(figure, height=160 + _CELL_PX * max(len(heat.y_values), 3))


def scatter(report: SweepReport) -> go.Figure:
    """Return every policy by its carry and what it removed; the efficient ones joined."""
    known = [item for item in report.cells if math.isfinite(item.removed) and math.isfinite(item.carry)]
    figure = go.Figure()
    edge = sorted((item for item in known if item.is_efficient), key=lambda item: item.carry)
    if edge:
        figure.add_trace(
            go.Scatter(
                x=[item.carry for item in edge],
                y=[item.removed for item in edge],
                mode="lines",
                name="no other removes as much at less carry",
                line={"color": HEDGED, "width": 1, "dash": "dot"},
                hoverinfo="skip",
            )
        )
    for keeps, name, colour in (
        (False, "breaks a constraint", UNHEDGED),
        (True, "keeps every constraint", HEDGED),
    ):
        mine = [item for item in known if item.keeps is keeps]
        if mine:
            figure.add_trace(_points(report, mine, name, colour, "circle", 7))
    marked = [item for item in known if item.place == report.chosen]
    if marked:
        figure.add_trace(_points(report, marked, "chosen", LOSS, "star", 15))
    if math.isfinite(report.base.removed) and math.isfinite(report.base.carry):
        figure.add_trace(_points(report, [report.base], "policy as it is", LOSS, "diamond", 11))
    figure.update_xaxes(title_text="carry a year, of exposure", tickformat=".1%")
    figure.update_yaxes(title_text="removed of the fall", tickformat=".0%")
    return styled(figure, height=440)


def cell_table(report: SweepReport, cells: Sequence[SweepCell]) -> Table:
    """Return the figures of cells, best plateau first."""
    columns = (
        Column(name="place", title="Cell", kind=Kind.NUMBER),
        *(text(key, key) for key in report.keys),
        *(share_column(name, name.capitalize()) for name in _SHARES),
        Column(name="efficiency", title="Efficiency", kind=Kind.NUMBER),
        Column(name="trades_a_year", title="Trades a year", kind=Kind.NUMBER),
        Column(
            name="plateau",
            title="Plateau",
            kind=Kind.SHARE if report.objective in _SHARES else Kind.NUMBER,
        ),
        text("keeps", "Keeps all"),
        text("refused", ""),
    )
    return Table(name="cells", columns=columns, rows=tuple(map(_cell_row, cells)))


def _cell_row(item: SweepCell) -> tuple[Cell, ...]:
    return (
        float(item.place),
        *item.values,
        item.removed,
        item.carry,
        item.net,
        item.efficiency,
        item.trades_a_year,
        item.plateau,
        "refused" if item.refused else "yes" if item.keeps else "no",
        item.refused,
    )


def _points(
    report: SweepReport, items: Sequence[SweepCell], name: str, colour: str, symbol: str, size: int
) -> go.Scatter:
    return go.Scatter(
        x=np.round([item.carry for item in items], 6).tolist(),
        y=np.round([item.removed for item in items], 6).tolist(),
        mode="markers",
        name=name,
        marker={"color": colour, "symbol": symbol, "size": size, "line": {"width": 1, "color": "#ffffff"}},
        text=[_values_words(report, item) for item in items],
        hovertemplate="%{text}: %{y:.1%} removed at %{x:.1%}<extra>" + name + "</extra>",
    )


def _values_words(report: SweepReport, item: SweepCell) -> str:
    return ", ".join(f"{key} {value}" for key, value in zip(report.keys, item.values, strict=False))


def _chosen(report: SweepReport) -> SweepCell | None:
    return next((item for item in report.cells if item.place == report.chosen), None)


def _headline(report: SweepReport) -> str:
    chosen = _chosen(report)
    if chosen is None:
        return "No policy of this sweep has a known figure"
    return (
        f"The chosen policy removes {percent(chosen.removed)} of the fall at {percent(chosen.carry)} carry a "
        f"year; as it is, {percent(report.base.removed)} at {percent(report.base.carry)}"
    )


def _head(report: SweepReport) -> str:
    chosen = _chosen(report)
    facts = [("Policies", f"{len(report.cells):,}", "tried")]
    if chosen is not None:
        facts.append((report.objective.capitalize(), _value(report, chosen), "of the chosen policy"))
        plateau = _said(report.objective, chosen.plateau)
        facts.append(("Plateau", plateau, "mean of it and its neighbours, what it was chosen by"))
    facts.append((report.objective.capitalize() + " before", _value(report, report.base), "policy as it is"))
    constraints = "; ".join(report.constraints) or "none"
    values = f"Chosen: {_values_words(report, chosen)}. " if chosen else ""
    return head_html(
        mode="sweep",
        title=report.title,
        headline=_headline(report),
        lead=f"{values}Sought: {report.objective}. Constraints: {constraints}. The chosen cell has the best "
        "plateau, not the best figure: the best cell alone is the luckiest one.",
        facts=facts,
    )


def _heats(report: SweepReport) -> tuple[Panel, ...]:
    return tuple(
        Panel(
            title=_heat_title(heat, report.objective),
            subtitle=f"{report.objective.capitalize()} over {heat.x_key} and {heat.y_key}, every other key "
            "as in the chosen policy, which is framed and starred. Blank is refused or unknown.",
            figures=(Figure(name=f"heat_{number}", plot=heat_map(heat, report.objective)),),
            files=(_heat_file(heat, number, report.objective),),
        )
        for number, heat in enumerate(report.heats, start=1)
    )


def _heat_title(heat: Heat, objective: str) -> str:
    row, column = heat.chosen
    here = float(heat.rows[row][column])
    around = [
        float(heat.rows[at][place])
        for at, place in ((row - 1, column), (row + 1, column), (row, column - 1), (row, column + 1))
        if 0 <= at < len(heat.rows) and 0 <= place < len(heat.rows[0])
    ]
    known = [value for value in around if math.isfinite(value)]
    if not known:
        return f"{objective.capitalize()} {_said(objective, here)} where chosen"
    return (
        f"{objective.capitalize()} {_said(objective, here)} where chosen, "
        f"{_said(objective, min(known))} to {_said(objective, max(known))} one step beside it"
    )


def _heat_file(heat: Heat, number: int, objective: str) -> Table:
    columns = (text(heat.y_key, ""), text(heat.x_key, ""), Column(name=objective, title="", kind=Kind.NUMBER))
    rows = tuple(
        (y, x, value)
        for y, row in zip(heat.y_values, heat.rows, strict=True)
        for x, value in zip(heat.x_values, row.tolist(), strict=True)
    )
    return Table(name=f"heat_{number}", columns=columns, rows=rows)


def _cells(report: SweepReport) -> Panel:
    kept = sum(item.keeps for item in report.cells)
    shown = cell_table(report, report.cells[:_SHOWN_ROWS])
    whole = cell_table(report, report.cells)
    rest = len(report.cells) - _SHOWN_ROWS
    more = f" The first {_SHOWN_ROWS} are shown, {rest:,} more are in the folder's file." if rest > 0 else ""
    return Panel(
        title=f"{kept:,} of {len(report.cells):,} policies keep every constraint",
        subtitle=f"Every policy that was tried, the best plateau first; fractions a year of exposure.{more}",
        figures=(Figure(name="cells", plot=scatter(report)),),
        tables=(shown,) if rest <= 0 else (),
        html="" if rest <= 0 else _html_of(shown),
        files=(whole,) if rest > 0 else (),
    )


def _html_of(table: Table) -> str:
    """Return rows for the page alone: the folder's file has all of them."""
    names = [column for column in table.columns if column.title]
    rows = [row_html("td", [table.text_at(row, column) for column in names]) for row in table.rows]
    return stacked_table(row_html("th", [column.title for column in names]), rows)


def _checks(report: SweepReport) -> tuple[Panel, ...]:
    if not report.checks:
        return ()
    columns = (text("check", "Check"), text("found", "Found"))
    return (
        Panel(
            title="What is left of the figure once the search is paid for",
            subtitle="Purged cross-validation, deflation for the number of policies tried, and the last of "
            "history, which no choice has looked at.",
            tables=(Table(name="checks", columns=columns, rows=report.checks),),
        ),
    )


def _trust(report: SweepReport) -> tuple[Panel, ...]:
    if not report.assumptions:
        return ()
    return (Panel(title="What it rests on", html=list_html(report.assumptions)),)


def _value(report: SweepReport, cell: SweepCell) -> str:
    return _said(report.objective, float(getattr(cell, report.objective)))


def _said(objective: str, value: float) -> str:
    if not math.isfinite(value):
        return UNKNOWN
    return percent(value) if objective in _SHARES else f"{value:.2f}"
