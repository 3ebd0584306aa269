"""The figures of the pages as plotly reads them, in the colours of the reports. Text takes the page's own."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from bot.dashboard.past import Point, ReadingPoint
from bot.model.tier import Tier
from bot.simulation.report.chart_style import (
    DASHES,
    HEDGED,
    PRICE,
    TIER_COLOURS,
    UNHEDGED,
    curve,
    line,
    stamp,
    styled,
)
from bot.simulation.report.payoff_view import Payoff

_LABEL_LEVELS = 2  # labels of break-evens take turns in height
Figure = dict[str, Any]


def timeline(points: Sequence[Point], underlying: str) -> Figure:
    """Return the book's value with and without hedge, the price, and the tier as a band below."""
    figure = make_subplots(
        rows=3, cols=1, shared_xaxes=True, vertical_spacing=0.05, row_heights=[0.44, 0.26, 0.30]
    )
    times_s = np.array([item.at_s for item in points])
    for name, values, colour in (
        ("position alone", [item.position_usd for item in points], UNHEDGED),
        ("with hedge", [item.hedged_usd for item in points], HEDGED),
    ):
        figure.add_trace(_trace(times_s, values, name, colour), row=1, col=1)
    prices = [item.spot_usd.get(underlying, math.nan) for item in points]
    figure.add_trace(_trace(times_s, prices, f"{underlying} price", PRICE), row=2, col=1)
    for box in _tier_boxes(points):
        figure.add_trace(box, row=3, col=1)
    figure.update_yaxes(title_text="value, USD", tickformat="~s", row=1, col=1)
    figure.update_yaxes(title_text="price, USD", tickformat=",.0f", nticks=4, row=2, col=1)
    figure.update_yaxes(
        tickvals=[0.5, 1.5, 2.5, 3.5, 4.5],
        ticktext=[tier.name.capitalize() for tier in Tier],
        range=[0, len(Tier)],
        showgrid=False,
        row=3,
        col=1,
    )
    figure.update_xaxes(title_text="time, UTC", row=3, col=1)
    return _plain(styled(figure, height=520))


def payoff(view: Payoff, underlying: str) -> Figure:
    """Return the change from today's value over the price: position, hedges, and both, now and at expiry."""
    figure = go.Figure()
    figure.add_trace(curve(view.spots_usd, view.alone, "position alone", UNHEDGED, "solid", 2))
    for hedge, dash in zip(view.hedges, DASHES, strict=False):
        figure.add_trace(curve(view.spots_usd, hedge.change_usd, f"hedge, {hedge.label}", PRICE, dash, 1.5))
    for both, dash in zip(view.both, DASHES, strict=False):
        figure.add_trace(curve(view.spots_usd, both.change_usd, f"both, {both.label}", HEDGED, dash, 2.5))
    figure.add_vline(
        x=view.spot_usd, line_width=1, line_dash="dot", annotation_text=f"spot {view.spot_usd:,.0f}",
        annotation_position="bottom right",
    )  # fmt: skip
    for bound in sorted({bound for pair in view.ranges_usd for bound in pair}):
        if view.spots_usd[0] < bound < view.spots_usd[-1]:
            figure.add_vline(
                x=bound, line_width=1, annotation_text=f"range {bound:,.0f}", annotation_position="top left"
            )
    _label_break_evens(figure, view)
    figure.update_xaxes(title_text=f"{underlying} price, USD", tickformat=",.0f")
    figure.update_yaxes(title_text="change from today, USD", tickformat="~s", zeroline=True)
    return _plain(styled(figure, height=420))


def signal(points: Sequence[ReadingPoint], unit: str) -> Figure:
    """Return a signal's value over its score, on one time axis."""
    figure = make_subplots(rows=2, cols=1, shared_xaxes=True, vertical_spacing=0.08, row_heights=[0.6, 0.4])
    times_s = np.array([item.at_s for item in points])
    hover = "%{x}, %{y:.4~g}"
    values = [item.value for item in points]
    figure.add_trace(_trace(times_s, values, "value", HEDGED, digits=8, hover=hover), row=1, col=1)
    scores = [item.score for item in points]
    figure.add_trace(_trace(times_s, scores, "score", PRICE, digits=3, hover="%{x}, %{y:.2f}"), row=2, col=1)
    figure.update_yaxes(title_text=unit or "value", row=1, col=1)
    figure.update_yaxes(title_text="score", range=[-0.05, 1.05], nticks=3, row=2, col=1)
    figure.update_xaxes(title_text="time, UTC", row=2, col=1)
    return _plain(styled(figure, height=340))


def _trace(
    times_s: "np.ndarray[Any, np.dtype[np.float64]]",
    values: Sequence[float],
    name: str,
    colour: str,
    **more: Any,
) -> go.Scatter:
    return line(times_s, np.array(values, dtype=np.float64), name, colour, **more)


def _tier_boxes(points: Sequence[Point]) -> list[go.Scatter]:
    """Return the stretches of each tier as filled boxes, as high as the tier."""
    found: dict[Tier, tuple[list[str | None], list[float | None]]] = {}
    begin = 0
    for i in range(1, len(points) + 1):
        if i < len(points) and points[i].tier is points[begin].tier:
            continue
        tier = points[begin].tier
        x, y = found.setdefault(tier, ([], []))
        first, end = stamp(points[begin].at_s), stamp(points[min(i, len(points) - 1)].at_s)
        x += [first, first, end, end, None]
        y += [0.0, tier + 1.0, tier + 1.0, 0.0, None]
        begin = i
    return [
        go.Scatter(
            x=x, y=y, mode="lines", fill="toself", line={"width": 0, "color": TIER_COLOURS[tier]},
            fillcolor=TIER_COLOURS[tier], hoverinfo="skip", showlegend=False, name=tier.name,
        )
        for tier, (x, y) in found.items()
    ]  # fmt: skip


def _label_break_evens(figure: go.Figure, view: Payoff) -> None:
    """Label where position and hedges together come out even; today's own price is left out."""
    named = sorted(
        (level, curve.label)
        for curve in view.both
        for level in curve.break_evens_usd
        if abs(level / view.spot_usd - 1.0) > 0.01
    )
    for i, (level, label) in enumerate(named):
        figure.add_annotation(
            x=level, y=0, text=f"even at {level:,.0f}<br>{label}", showarrow=True, arrowwidth=1, ax=0,
            ay=34 + 34 * (i % _LABEL_LEVELS),
        )  # fmt: skip


def _plain(figure: go.Figure) -> Figure:
    """Return data and layout alone: the template would be most of the bytes; the page has its own look."""
    found = figure.to_plotly_json()
    found["layout"].pop("template", None)
    found["layout"]["margin"]["b"] = 56
    return {"data": found["data"], "layout": found["layout"]}
