"""The figures of a backtest over windows: what was removed at which carry, each fall, time in the tiers."""

import math
from collections.abc import Iterable, Sequence
from itertools import cycle

import numpy as np
import plotly.graph_objects as go

from bot.model.tier import Tier
from bot.simulation.report.chart_style import HEDGED, OTHERS, TIER_COLOURS, UNHEDGED, styled
from bot.simulation.report.inputs import StrategyFigures, WindowsReport
from bot.simulation.wording import strategy_name

_RAYS = (1.0, 2.0, 4.0)  # efficiencies that are drawn
_OWN = (HEDGED, "#1d4f91", "#6aaed6", *OTHERS)
_BAR_PX = 15


def removed_at_carry(report: WindowsReport) -> go.Figure:
    """Return every strategy by its carry and what it removed; rays join equal efficiency."""
    known = [
        item
        for item in report.strategies
        if math.isfinite(item.removed) and math.isfinite(item.carry) and item.name != "unhedged"
    ]
    figure = go.Figure()
    right = _room((item.carry for item in known), least=0.01)  # hedges that earned lie left of zero
    top = _room((_high(item) for item in known), least=0.05)
    for ratio in _RAYS:
        end = min(right, top / ratio)
        figure.add_trace(
            go.Scatter(
                x=[0.0, end],
                y=[0.0, ratio * end],
                mode="lines",
                line={"color": UNHEDGED, "width": 1, "dash": "dot"},
                showlegend=False,
                hoverinfo="skip",
            )
        )
        figure.add_annotation(x=end, y=ratio * end, text=f"x{ratio:g}", showarrow=False, xanchor="right")
    for is_own, name, colour in ((True, "policies", HEDGED), (False, "benchmarks", UNHEDGED)):
        mine = [item for item in known if (item.name in report.own) is is_own]
        if mine:
            figure.add_trace(_points(mine, name, colour))
    _add_control(figure, report)
    figure.update_xaxes(title_text="carry a year, of exposure", tickformat=".0%", zeroline=True)
    figure.update_yaxes(title_text="removed of the fall", tickformat=".0%", zeroline=True)
    return styled(figure, height=460)


def _room(levels: Iterable[float], *, least: float) -> float:
    """Return how far an axis from zero reaches: a little past the highest level."""
    return 1.15 * max(max(levels, default=0.0), least)


def _points(items: Sequence[StrategyFigures], name: str, colour: str) -> go.Scatter:
    above = [max(item.removed_range.high - item.removed, 0.0) for item in items]
    below = [max(item.removed - item.removed_range.low, 0.0) for item in items]
    return go.Scatter(
        x=np.round([item.carry for item in items], 5).tolist(),
        y=np.round([item.removed for item in items], 5).tolist(),
        mode="markers+text",
        name=name,
        marker={"color": colour, "size": 11},
        text=[strategy_name(item.name) for item in items],
        textposition="top center",
        error_y={
            "type": "data",
            "symmetric": False,
            "array": np.nan_to_num(above).round(5).tolist(),
            "arrayminus": np.nan_to_num(below).round(5).tolist(),
            "color": colour,
            "thickness": 1,
        },
        hovertemplate="%{text}: %{y:.1%} removed at %{x:.1%} a year<extra></extra>",
    )


def _high(item: StrategyFigures) -> float:
    return item.removed_range.high if math.isfinite(item.removed_range.high) else item.removed


def _add_control(figure: go.Figure, report: WindowsReport) -> None:
    control = report.control
    if control is not None and math.isfinite(control.removed_p95):
        figure.add_hline(
            y=control.removed_p95,
            line_width=1,
            line_dash="dash",
            annotation_text=f"{strategy_name(control.policy)} on rotated tiers, 95th percentile",
            annotation_position="bottom right",
        )


def falls(report: WindowsReport) -> go.Figure:
    """Return the LP's drawdown in every window, alone and under each policy."""
    seen = [item for item in report.windows if math.isfinite(item.unhedged)]
    names = [item.id for item in seen]
    figure = go.Figure()
    series = [("unhedged", [item.unhedged for item in seen], UNHEDGED)]
    series += [
        (name, [item.hedged.get(name, math.nan) for item in seen], colour)
        for name, colour in zip(report.own, cycle(_OWN), strict=False)
    ]
    for name, values, colour in series:
        figure.add_trace(
            go.Bar(
                y=names,
                x=[None if math.isnan(value) else round(value, 5) for value in values],
                name=strategy_name(name),
                orientation="h",
                marker_color=colour,
                hovertemplate="%{y}: %{x:.1%}<extra>" + strategy_name(name) + "</extra>",
            )
        )
    figure.update_layout(barmode="group", bargap=0.25)
    figure.update_xaxes(title_text="deepest fall of the LP in the window", tickformat=".0%")
    figure.update_yaxes(autorange="reversed")
    return styled(figure, height=110 + _BAR_PX * len(series) * max(len(names), 1))


def time_in_tiers(report: WindowsReport) -> go.Figure:
    """Return the share of the hours outside crises in each tier, by policy."""
    items = [item for item in report.strategies if item.time_at]
    names = [strategy_name(item.name) for item in items]
    figure = go.Figure()
    colours = {tier.name: TIER_COLOURS[tier] for tier in Tier} | {"unknown": "#c9ced6"}
    for name, colour in colours.items():
        figure.add_trace(
            go.Bar(
                y=names,
                x=[round(item.time_at.get(name, 0.0), 5) for item in items],
                name=name,
                orientation="h",
                marker_color=colour,
                hovertemplate="%{y}: %{x:.1%}<extra>" + name + "</extra>",
            )
        )
    figure.update_layout(barmode="stack")
    figure.update_xaxes(title_text="share of the hours outside crises", tickformat=".0%")
    figure.update_yaxes(autorange="reversed")
    return styled(figure, height=120 + 34 * len(names))
