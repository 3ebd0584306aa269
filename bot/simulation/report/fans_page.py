"""The page of a Monte Carlo run: fans of values, figures of risk with intervals, what hedging changed."""

import math
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import plotly.graph_objects as go

from bot.model.market import FloatArray
from bot.simulation.report.chart_style import GAIN, HEDGED, LOSS, UNHEDGED, styled
from bot.simulation.report.inputs import (
    LEVELS,
    Estimate,
    Fan,
    FanReport,
    Histogram,
    MonteCarloReport,
    RiskFigure,
)
from bot.simulation.report.page import Figure, Page, Panel, head_html, list_html
from bot.simulation.report.table import UNIT, UNITS, Cell, Column, Kind, Table, cell_text, unit_text
from bot.simulation.report.tables import policy, text, with_bounds

_MIDDLE = len(LEVELS) // 2
_FORMATS = {"USD": "~s", "share": ".0%", "days": ",.0f", "number": ",.2f"}
_BANDS = {UNHEDGED: "rgba(139,146,156,", HEDGED: "rgba(47,125,225,"}


def page_of(report: MonteCarloReport) -> Page:
    """Return the page: the figures of every policy, then the fans and changes of each."""
    panels = [_figures(item, number, report) for number, item in enumerate(report.policies, start=1)]
    for number, item in enumerate(report.policies, start=1):
        panels += [*_fans(item, number, report), *_differences(item, number, report)]
    first = report.policies[0]
    return Page(
        title=_headline(report),
        head=_head(report),
        panels=(*panels, _trust(report)),
        footer=f"Seed {first.seed}.",
    )


def fan(item: Fan) -> go.Figure:
    """Return both distributions over time: bands of 5 to 95 and 25 to 75 %, and the medians."""
    figure = go.Figure()
    for name, rows, colour in (("unhedged", item.unhedged, UNHEDGED), ("hedged", item.hedged, HEDGED)):
        for low, high, opacity in ((0, 4, "0.14)"), (1, 3, "0.26)")):
            words = f"{name}, {LEVELS[low]:.0%} to {LEVELS[high]:.0%}"
            figure.add_trace(_edge(item.days, rows[low], words, colour))
            figure.add_trace(
                _edge(
                    item.days, rows[high], words, colour, fill="tonexty", fillcolor=_BANDS[colour] + opacity
                )
            )
        figure.add_trace(
            go.Scatter(
                x=item.days.tolist(),
                y=rows[_MIDDLE].tolist(),
                mode="lines",
                name=f"{name}, median",
                line={"color": colour, "width": 2.5},
                hovertemplate="day %{x:.0f}: %{y:" + _FORMATS[item.unit] + "}<extra>" + name + "</extra>",
            )
        )
    figure.update_xaxes(title_text="days")
    figure.update_yaxes(title_text=f"{item.name}, {item.unit}", tickformat=_FORMATS[item.unit])
    return styled(figure, height=420)


def histogram(item: Histogram) -> go.Figure:
    """Return how often a difference lay where; gains and losses by hue and by side of zero."""
    middles = (item.edges[1:] + item.edges[:-1]) / 2.0
    shares = item.counts / max(float(item.counts.sum()), 1.0)
    figure = go.Figure()
    for keep, name, colour in (
        (middles >= 0.0, "the hedge did better", GAIN),
        (middles < 0.0, "the hedge did worse", LOSS),
    ):
        if not keep.any():
            continue
        last = int(np.flatnonzero(keep)[-1])  # a step runs from its bin's lower edge to the upper one
        figure.add_trace(
            go.Scatter(
                x=[*item.edges[:-1][keep].tolist(), float(item.edges[last + 1])],
                y=[*shares[keep].tolist(), float(shares[last])],
                mode="lines",
                name=name,
                line={"color": colour, "shape": "hv", "width": 1.5},
                fill="tozeroy",
                hovertemplate="%{x:,.4g}: %{y:.1%}<extra>" + name + "</extra>",
            )
        )
    figure.update_xaxes(title_text=f"{item.name}, {item.unit}", tickformat=_FORMATS[item.unit], zeroline=True)
    figure.update_yaxes(title_text="share of the paths", tickformat=".1%")
    return styled(figure, height=340)


def _edge(days: FloatArray, values: FloatArray, words: str, colour: str, **fill: str) -> go.Scatter:
    return go.Scatter(
        x=days.tolist(),
        y=values.tolist(),
        mode="lines",
        name=words,
        line={"color": colour, "width": 1, "dash": "dot"},
        showlegend=False,
        hoverinfo="skip",
        **fill,
    )


def risk_table(report: FanReport, number: int) -> Table:
    """Return every figure without and with hedge, and the difference, with the paths' intervals.

    What a position without hedge does not have stays empty.
    """
    columns = (
        text("figure", "Figure"),
        text(UNIT, ""),
        *with_bounds(Column(name="unhedged", title="Unhedged", kind=Kind.BY_UNIT)),
        *with_bounds(Column(name="hedged", title="Hedged", kind=Kind.BY_UNIT)),
        *with_bounds(Column(name="difference", title="Hedged less unhedged", kind=Kind.DIFFERENCE)),
    )
    return Table(name=f"risk_{number}", columns=columns, rows=tuple(map(_risk_row, report.figures)))


def _risk_row(item: RiskFigure) -> tuple[Cell, ...]:
    each = (item.unhedged, item.hedged, item.difference)
    is_of_hedge = math.isnan(item.unhedged.value)
    rows = (_cells(found, is_empty=is_of_hedge and found is not item.hedged) for found in each)
    return (item.name, item.unit, *(cell for row in rows for cell in row))


def _cells(found: Estimate, *, is_empty: bool) -> tuple[Cell, ...]:
    return ("", "", "") if is_empty else (found.value, found.range.low, found.range.high)


def _headline(report: MonteCarloReport) -> str:
    first = _first(report.policies[0])
    if first is None:
        return "No figure is known on these paths"
    words = (
        f"{first.name}: {_said(first, first.unhedged)} without hedge, {_said(first, first.hedged)} with it"
    )
    return words if len(report.policies) == 1 else f"{words} ({report.policies[0].title})"


def _first(item: FanReport) -> RiskFigure | None:
    return next((each for each in item.figures if math.isfinite(each.difference.value)), None)


def _said(item: RiskFigure, found: Estimate) -> str:
    return unit_text(found.value, item.unit)


def _head(report: MonteCarloReport) -> str:
    first = report.policies[0]
    known = [item for item in first.figures if math.isfinite(item.difference.value)]
    facts = [
        (item.name, _said(item, item.hedged), f"without hedge {_said(item, item.unhedged)}")
        for item in known[:4]
    ]
    return head_html(
        mode="monte carlo",
        title=report.title,
        headline=_headline(report),
        lead=f"{first.paths:,} paths of {first.days:g} days, seed {first.seed}.",
        facts=facts,
    )


def _of(item: FanReport, report: MonteCarloReport) -> str:
    return f" ({item.title})" if len(report.policies) > 1 else ""


def _figures(item: FanReport, number: int, report: MonteCarloReport) -> Panel:
    return Panel(
        title=f"Risk without and with hedge{_of(item, report)}",
        subtitle="Under a number: the interval that so many paths give it (90 %). It says nothing of the "
        "model: what that assumes stands at the end.",
        tables=(risk_table(item, number),),
    )


def _fans(item: FanReport, number: int, report: MonteCarloReport) -> Iterator[Panel]:
    for place, each in enumerate(item.fans, start=1):
        name = f"fan_{number}_{place}"
        yield Panel(
            title=_fan_title(each) + _of(item, report),
            subtitle=f"{each.name}, {each.unit}, over the days: bands hold 90 % and 50 % of the paths, lines "
            "are medians; hedged is strong, unhedged is grey.",
            figures=(Figure(name=name, plot=fan(each)),),
            files=(_fan_file(each, name),),
        )


def _fan_title(item: Fan) -> str:
    hedged, alone = (unit_text(float(rows[0][-1]), item.unit) for rows in (item.hedged, item.unhedged))
    return f"{item.name}: one path in twenty ends under {hedged} hedged, under {alone} unhedged"


def _fan_file(item: Fan, name: str) -> Table:
    kinds = [(side, rows) for side, rows in (("unhedged", item.unhedged), ("hedged", item.hedged))]
    columns = (
        Column(name="day", title="", kind=Kind.NUMBER),
        *(
            Column(name=f"{side}_p{100 * level:02.0f}", title="", kind=UNITS[item.unit])
            for side, _ in kinds
            for level in LEVELS
        ),
    )
    stacked = np.column_stack([item.days, *(row for _, rows in kinds for row in rows)])
    return Table(name=name, columns=columns, rows=tuple(map(tuple, stacked.tolist())))


def _differences(item: FanReport, number: int, report: MonteCarloReport) -> Iterator[Panel]:
    for place, each in enumerate(item.differences, start=1):
        name = f"difference_{number}_{place}"
        yield Panel(
            title=_difference_title(each) + _of(item, report),
            subtitle=f"{each.name}, {each.unit}: what the hedge changed on each path, better to the right.",
            figures=(Figure(name=name, plot=histogram(each)),),
            files=(_difference_file(each, name),),
        )


def _difference_title(item: Histogram) -> str:
    middles = (item.edges[1:] + item.edges[:-1]) / 2.0
    total = float(item.counts.sum())
    better = float(item.counts[middles >= 0.0].sum()) / total if total else math.nan
    return f"{item.name}: the hedge did no worse on {cell_text(better, Kind.SHARE)} of the paths"


def _difference_file(item: Histogram, name: str) -> Table:
    kind = UNITS[item.unit]
    columns = (
        Column(name="from", title="", kind=kind),
        Column(name="to", title="", kind=kind),
        Column(name="paths", title="", kind=Kind.NUMBER),
    )
    rows = zip(item.edges[:-1].tolist(), item.edges[1:].tolist(), item.counts.tolist(), strict=True)
    return Table(name=name, columns=columns, rows=tuple(rows))


def _trust(report: MonteCarloReport) -> Panel:
    assumed = report.assumptions
    files = tuple(
        replace(policy(item.policy), name=f"policy_{number}")
        for number, item in enumerate(report.policies, start=1)
        if item.policy
    )
    return Panel(title="What it rests on", html=list_html(assumed) if assumed else "", files=files)
