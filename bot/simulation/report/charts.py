"""The figures of a run's report beside its timeline: comparison, payoff, cost of carry, attribution."""

import math
from collections.abc import Mapping, Sequence

import numpy as np
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from bot.model.hedge import Layer
from bot.model.market import FloatArray
from bot.model.units import DAY_S, YEAR_S
from bot.simulation.attribution import PART_NAMES, POSITION_PARTS, Attribution
from bot.simulation.report.chart_style import (
    DASHES,
    DIVERGING,
    GAIN,
    HEDGED,
    LOSS,
    NOTHING_USD,
    OTHERS,
    PRICE,
    UNHEDGED,
    colours_of,
    curve,
    holes,
    line,
    shade,
    signed,
    stamp,
    styled,
)
from bot.simulation.report.data import ReportData
from bot.simulation.report.money import Paid
from bot.simulation.report.payoff_view import Payoff, PayoffSurface
from bot.simulation.wording import strategy_name

ROLLING_S = 30 * DAY_S
_LABEL_LEVELS = 3  # break-evens stand close together, so their labels take turns in height
_INVENTORY = {Layer.TAIL: OTHERS[3], Layer.MID: OTHERS[0], Layer.NEAR: OTHERS[1]}


def comparison(data: ReportData) -> go.Figure:
    """Return the value of every strategy."""
    figure = go.Figure()
    colours = colours_of(list(data.curves))
    for name, values in data.curves.items():
        colour, dash = colours[name]
        figure.add_trace(line(data.times_s, values, strategy_name(name), colour, dash=dash))
    for span_s in holes(data.times_s):
        shade(figure, data.times_s, span_s, "no data")
    figure.update_yaxes(title_text="value, USD", tickformat="~s")
    figure.update_xaxes(title_text="time, UTC")
    return styled(figure, height=380)


def payoff(view: Payoff, underlying: str) -> go.Figure:
    """Return the change from today's value over the price: position, hedges, and both."""
    figure = go.Figure()
    figure.add_trace(curve(view.spots_usd, view.alone, "position alone", UNHEDGED, "solid", 2))
    for hedge, dash in zip(view.hedges, DASHES, strict=False):
        figure.add_trace(
            curve(view.spots_usd, hedge.change_usd, f"hedge alone, {hedge.label}", PRICE, dash, 1)
        )
    for both, dash in zip(view.both, DASHES, strict=False):
        figure.add_trace(curve(view.spots_usd, both.change_usd, f"both, {both.label}", HEDGED, dash, 2.5))
    figure.add_vline(
        x=view.spot_usd,
        line_width=1,
        line_dash="dot",
        annotation_text=f"spot {view.spot_usd:,.0f}",
        annotation_position="bottom right",
    )
    for bound in sorted({bound for pair in view.ranges_usd for bound in pair}):
        if view.spots_usd[0] < bound < view.spots_usd[-1]:
            figure.add_vline(
                x=bound,
                line_width=1,
                annotation_text=f"range {bound:,.0f}",
                annotation_position="top left",  # the spot's label stands at the bottom
            )
    _label_break_evens(figure, view)
    figure.update_xaxes(title_text=f"{underlying} price, USD", tickformat=",.0f")
    figure.update_yaxes(title_text="change from today, USD", tickformat="~s")
    return styled(figure, height=460)


def _label_break_evens(figure: go.Figure, view: Payoff) -> None:
    """Label hedges' break-evens above the zero line, those of the whole below it, each at its own height."""
    found = sorted(labelled_break_evens(view))
    for kind, direction in (("hedge", -1), ("both", 1)):
        mine = [item for item in found if item[1].startswith(kind)]
        for i, (level, label) in enumerate(mine):
            figure.add_annotation(
                x=level,
                y=0,
                text=f"{level:,.0f}<br>{label}",
                showarrow=True,
                arrowwidth=1,
                ax=0,
                ay=direction * (30 + 32 * (i % _LABEL_LEVELS)),
            )


def labelled_break_evens(view: Payoff) -> list[tuple[float, str]]:
    """Return prices where the hedges alone, and position and hedges together, neither gain nor lose.

    Today's own price is left out: everything is measured from there.
    """
    named = [("hedge", curve) for curve in view.hedges] + [("both", curve) for curve in view.both]
    return [
        (level, f"{name} {curve.label}")
        for name, curve in named
        for level in curve.break_evens_usd
        if abs(level / view.spot_usd - 1.0) > 0.01
    ]


def payoff_surface(surface: PayoffSurface, underlying: str, spot_usd: float) -> go.Figure:
    """Return gains of the hedged position over the price and the days from now, zero in the middle."""
    most = max(float(np.abs(row).max()) for row in surface.change_usd)
    figure = go.Figure(
        go.Heatmap(
            x=np.round(surface.spots_usd, 2).tolist(),
            y=np.round(surface.days, 3).tolist(),
            z=[np.round(row, 0).tolist() for row in surface.change_usd],
            zmin=-most,
            zmax=most,
            colorscale=[list(item) for item in DIVERGING],
            colorbar={"title": {"text": "USD"}, "tickformat": "~s", "thickness": 14},
            hovertemplate="at $%{x:,.0f} in %{y:.0f} d: %{z:+$,.0f}<extra></extra>",
        )
    )
    figure.add_vline(x=spot_usd, line_width=1, line_dash="dot", annotation_text=f"spot {spot_usd:,.0f}")
    for days in surface.expiries_days:
        figure.add_hline(y=days, line_width=1, line_dash="dash")
    figure.update_xaxes(title_text=f"{underlying} price, USD", tickformat=",.0f")
    figure.update_yaxes(title_text="days from now; dashed: an expiry")
    return styled(figure, height=380)


def carry(data: ReportData, paid: Paid) -> go.Figure:
    """Return what hedging paid, received and is worth so far, and its loss over 30 days a year."""
    rolling = rolling_cost(data.times_s, data.unhedged_usd, paid.net_usd)
    is_long = bool(np.isfinite(rolling).any())
    heights = [0.6, 0.4] if is_long else [1.0]
    figure = make_subplots(
        rows=len(heights), cols=1, shared_xaxes=True, vertical_spacing=0.06, row_heights=heights
    )
    for name, values, colour, dash in (
        ("paid so far", -paid.paid_usd, LOSS, "solid"),
        ("received so far", paid.received_usd, GAIN, "solid"),
        ("still held, at sale value", paid.held_usd, PRICE, "dot"),
        ("all together", paid.net_usd, HEDGED, "solid"),
    ):
        figure.add_trace(line(data.times_s, values, name, colour, dash=dash), row=1, col=1)
    if is_long:
        percent = line(
            data.times_s,
            rolling,
            "loss over the last 30 days",
            UNHEDGED,
            digits=5,
            hover="%{x}, %{y:.1%} a year",
            showlegend=False,
        )
        figure.add_trace(percent, row=2, col=1)
        figure.update_yaxes(title_text="loss a year, 30 days", tickformat=".0%", row=2, col=1)
    for span_s in holes(data.times_s):
        shade(figure, data.times_s, span_s, "no data")
    figure.update_yaxes(title_text="USD", tickformat="~s", row=1, col=1)
    figure.update_xaxes(title_text="time, UTC", row=len(heights), col=1)
    return styled(figure, height=520 if is_long else 360)


def rolling_cost(times_s: FloatArray, position_usd: FloatArray, net_usd: FloatArray) -> FloatArray:
    """Return what the last 30 days of hedging lost, of the position's value then, as of a year.

    NaN in the first 30 days and where the value is unknown; negative where hedging gained.
    """
    before = np.searchsorted(times_s, times_s - ROLLING_S, side="right") - 1
    known = before >= 0
    lost_usd = np.full(times_s.shape, np.nan)
    lost_usd[known] = net_usd[before[known]] - net_usd[known]
    base = np.where(known, position_usd[np.maximum(before, 0)], np.nan)
    return np.asarray(lost_usd / base * (YEAR_S / ROLLING_S))


def inventory(data: ReportData) -> go.Figure:
    """Return the contracts that each layer held over time, stacked, and the units of perpetuals."""
    is_linear = bool(data.decided.perpetual_holdings)
    heights = [0.66, 0.34] if is_linear else [1.0]
    figure = make_subplots(
        rows=len(heights), cols=1, shared_xaxes=True, vertical_spacing=0.08, row_heights=heights
    )
    layers = inventory_by_layer(data)
    edges = [stamp(at_s) for at_s in _edges(data)]
    for layer, colour in _INVENTORY.items():
        if layers[layer].any():
            figure.add_trace(_stacked(edges, layers[layer], layer.value, colour), row=1, col=1)
    if is_linear:
        figure.add_trace(_stepped(edges, _units(data)), row=2, col=1)
        figure.update_yaxes(title_text=f"perpetual, {data.underlying}", row=2, col=1)
    figure.update_yaxes(title_text="option contracts", row=1, col=1)
    figure.update_xaxes(title_text="time, UTC", row=len(heights), col=1)
    return styled(figure, height=440 if is_linear else 300)


def _stacked(edges: Sequence[str], contracts: FloatArray, name: str, colour: str) -> go.Scatter:
    return go.Scatter(
        x=list(edges),
        y=np.round(contracts, 4).tolist(),
        name=name,
        mode="lines",
        line={"shape": "hv", "width": 1, "color": colour},
        stackgroup="contracts",
        hovertemplate="%{x}: %{y:,.2f} contracts<extra>" + name + "</extra>",
    )


def _stepped(edges: Sequence[str], units: FloatArray) -> go.Scatter:
    return go.Scatter(
        x=list(edges),
        y=np.round(units, 4).tolist(),
        name="perpetual",
        mode="lines",
        line={"shape": "hv", "width": 2, "color": PRICE},
        hovertemplate="%{x}: %{y:+,.2f} units<extra>perpetual</extra>",
    )


def inventory_by_layer(data: ReportData) -> dict[Layer, FloatArray]:
    """Return the contracts of each layer from each change on."""
    edges = _edges(data)
    found = {layer: np.zeros(len(edges)) for layer in Layer}
    for item in data.decided.holdings:
        found[item.layer] += _while_held(edges, item.from_s, item.to_s, item.contracts)
    return found


def _units(data: ReportData) -> FloatArray:
    edges = _edges(data)
    units = np.zeros(len(edges))
    for item in data.decided.perpetual_holdings:
        units += _while_held(edges, item.from_s, item.to_s, item.units)
    return units


def _while_held(edges: Sequence[float], from_s: float, to_s: float, size: float) -> FloatArray:
    """Return the size at each edge; what is held at the last one is held there too."""
    at = np.array(edges)
    is_last = (at == at[-1]) & (to_s >= at[-1])
    return np.where((at >= from_s) & ((at < to_s) | is_last), size, 0.0)


def _edges(data: ReportData) -> list[float]:
    spans = [(item.from_s, item.to_s) for item in data.decided.holdings]
    spans += [(item.from_s, item.to_s) for item in data.decided.perpetual_holdings]
    inner = {at_s for span in spans for at_s in span}
    return sorted({float(data.times_s[0]), float(data.times_s[-1]), *inner})


def attribution(found: Attribution, *, of_hedge: bool) -> go.Figure:
    """Return a waterfall of what the hedge, or the position alone, gained; with what no part explains.

    A part of nothing is left out, but for the residual of the whole: that it is nothing is worth showing.
    """
    mine = [(name, value) for name, value in found.parts if (name in POSITION_PARTS) is not of_hedge]
    parts = [(PART_NAMES[name], value) for name, value in mine if abs(value) >= NOTHING_USD]
    if of_hedge:
        parts.append(("residual", found.residual_usd))
    total = math.fsum(value for _, value in parts)
    return waterfall(parts, "hedging" if of_hedge else "position alone", total)


def waterfall(parts: Sequence[tuple[str, float]], total_name: str, total: float) -> go.Figure:
    """Return steps from nothing to a total, USD, from the top down: so that names fit a phone."""
    figure = go.Figure(
        go.Waterfall(
            orientation="h",
            y=[*(name for name, _ in parts), total_name],
            x=[*(0.0 if abs(value) < NOTHING_USD else value for _, value in parts), 0.0],
            measure=[*("relative" for _ in parts), "total"],
            text=[*(signed(value) for _, value in parts), signed(total)],
            textposition="outside",
            cliponaxis=False,
            constraintext="none",  # else the numbers shrink with the bars on a phone
            increasing_marker_color=GAIN,
            decreasing_marker_color=LOSS,
            totals_marker_color=HEDGED,
            connector_line_color=UNHEDGED,
            hovertemplate="%{y}: %{text}<extra></extra>",
        )
    )
    figure.update_xaxes(title_text="USD", tickformat="~s", range=_room(parts))
    figure.update_yaxes(autorange="reversed", automargin=True)
    return styled(figure, height=90 + 30 * (len(parts) + 1))


def _room(parts: Sequence[tuple[str, float]]) -> list[float]:
    """Return a range with room for the numbers beside the bars."""
    levels = np.cumsum([0.0, *(value for _, value in parts)])
    low, high = float(levels.min()), float(levels.max())
    room = 0.18 * max(high - low, 1.0)
    return [low - room, high + room]


def attribution_bars(found: Mapping[str, Attribution]) -> go.Figure:
    """Return what each strategy's hedge gained and cost, part by part, side by side."""
    figure = go.Figure()
    colours = dict(zip([name for name in PART_NAMES if name not in POSITION_PARTS], OTHERS, strict=False))
    names = [strategy_name(name) for name in found]
    for part, colour in colours.items():
        values = [dict(item.parts)[part] for item in found.values()]
        if any(abs(value) >= NOTHING_USD for value in values):
            figure.add_trace(
                go.Bar(
                    y=names,
                    x=np.round(values, 2).tolist(),
                    name=PART_NAMES[part],
                    orientation="h",
                    marker_color=colour,
                    hovertemplate="%{y}: %{x:+$,.0f}<extra>" + PART_NAMES[part] + "</extra>",
                )
            )
    figure.update_layout(barmode="relative")
    figure.update_xaxes(title_text="USD, costs to the left", tickformat="~s", zeroline=True)
    figure.update_yaxes(autorange="reversed")
    return styled(figure, height=120 + 44 * len(names))
