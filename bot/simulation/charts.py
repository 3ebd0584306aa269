"""The report's figures. Colours of text and grid come from the page, so that both themes work."""

from collections.abc import Mapping, Sequence

import numpy as np
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from bot.model.hedge import Layer, LegOutcome, LegStatus, Side
from bot.model.market import FloatArray
from bot.model.tier import Tier
from bot.simulation.payoff_view import Payoff
from bot.simulation.report_data import ReportData
from bot.simulation.report_money import Money
from bot.simulation.wording import order_words, strategy_name

# One ordered ramp that colour-blind readers can tell apart; the word always stands beside it.
TIER_COLOURS = {
    Tier.CALM: "#5f7d95",
    Tier.GUARDED: "#0f8b8d",
    Tier.ELEVATED: "#d99a00",
    Tier.SEVERE: "#e8671b",
    Tier.CRISIS: "#b3123f",
}
HEDGED, UNHEDGED, PRICE = "#2f7de1", "#8b929c", "#9670c8"
_OTHERS = ("#0f8b8d", "#d99a00", "#d64a74", "#5f7d95")
_DASHES = ("solid", "dash", "dot", "dashdot")
_LAYER_ROWS = {Layer.TAIL: 0, Layer.MID: 1, Layer.NEAR: 2}
_SIDE_MARKS = {
    Side.BUY: ("triangle-up", "buy"),
    Side.SELL: ("triangle-down", "sell"),
    Side.SETTLE: ("square", "settle"),
}
_HOLE_STEPS = 1.5
_NOTHING_USD = 0.5
_MARGIN = 0.02
_LABEL_LEVELS = 3  # break-evens stand close together, so their labels take turns in height
_CLEAR = "rgba(0,0,0,0)"


def timeline(data: ReportData) -> go.Figure:
    """Return value, price, layers with orders, and tiers, on one time axis."""
    figure = make_subplots(
        rows=4,
        cols=1,
        shared_xaxes=True,
        vertical_spacing=0.035,
        row_heights=[0.38, 0.24, 0.2, 0.18],
    )
    figure.add_trace(_line(data, data.unhedged_usd, "position alone", UNHEDGED), row=1, col=1)
    figure.add_trace(_line(data, data.hedged_usd, "with hedge", HEDGED), row=1, col=1)
    figure.add_trace(_line(data, data.spot_usd, f"{data.underlying} price", PRICE), row=2, col=1)
    _add_layers(figure, data)
    _add_tiers(figure, data)
    for span_s in holes(data.times_s):
        _shade(figure, data, span_s, "no data")
    for span_s in unknown_stretches(data.times_s, data.hedged_usd):
        _shade(figure, data, span_s, "hedge value unknown", row=1, col=1)
    figure.update_yaxes(title_text="value, USD", row=1, col=1, tickformat="~s")
    figure.update_yaxes(title_text="price, USD", row=2, col=1, tickformat=",.0f", nticks=5)
    end_s = data.times_s[-1] + _step_s(data.times_s)
    margin_s = _MARGIN * (end_s - data.times_s[0])  # a mark at either end stays whole
    figure.update_xaxes(range=[_stamp(data.times_s[0] - margin_s), _stamp(end_s + margin_s)])
    figure.update_xaxes(title_text="time, UTC", row=4, col=1)
    return _styled(figure, height=760)


def _shade(figure: go.Figure, data: ReportData, span_s: tuple[float, float], text: str, **place: int) -> None:
    """Shade and name a stretch of time: a gap is drawn as one, never joined by a line.

    Its name begins at the edge that is farther from the chart's end, so that it runs into the chart.
    """
    is_late = sum(span_s) > float(data.times_s[0] + data.times_s[-1])
    figure.add_vrect(
        x0=_stamp(span_s[0]),
        x1=_stamp(span_s[1]),
        fillcolor=UNHEDGED,
        opacity=0.18,
        line_width=0,
        annotation_text=text,
        annotation_position=f"inside bottom {'right' if is_late else 'left'}",
        **place,
    )


def comparison(data: ReportData) -> go.Figure:
    """Return the value of every strategy."""
    figure = go.Figure()
    spare = iter(_OTHERS)
    for name, values in data.paths.items():
        known = {"alvh": (HEDGED, "solid"), "unhedged": (UNHEDGED, "solid")}
        colour, dash = known.get(name) or (next(spare), "dot")
        figure.add_trace(_line(data, values, strategy_name(name), colour, dash=dash))
    figure.update_yaxes(title_text="value, USD", tickformat="~s")
    figure.update_xaxes(title_text="time, UTC")
    return _styled(figure, height=380)


def payoff(view: Payoff, underlying: str) -> go.Figure:
    """Return the change from today's value over the price: position, hedges, and both."""
    figure = go.Figure()
    figure.add_trace(_curve(view.spots_usd, view.alone, "position alone", UNHEDGED, "solid", 2))
    for hedge, dash in zip(view.hedges, _DASHES, strict=False):
        figure.add_trace(
            _curve(view.spots_usd, hedge.change_usd, f"hedge alone, {hedge.label}", PRICE, dash, 1)
        )
    for both, dash in zip(view.both, _DASHES, strict=False):
        figure.add_trace(_curve(view.spots_usd, both.change_usd, f"both, {both.label}", HEDGED, dash, 2.5))
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
    return _styled(figure, height=460)


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


def attribution(money: Money, *, hedged_less_unhedged_usd: float) -> go.Figure:
    """Return a waterfall of what hedging paid and brought, with what it leaves unexplained.

    A part of nothing is left out, but for the residual: that it is nothing is worth showing.
    """
    parts = [
        ("premium", -money.premium_usd),
        ("venue fees", -money.fee_usd),
        ("swap", -money.swap_usd),
        ("gas", -money.gas_usd),
        ("covers", -money.cover_usd),
        ("sold", money.sold_usd),
        ("settled", money.settled_usd),
        ("still held", money.mark_usd),
        *((f"perpetual {name}", value) for name, value in money.perpetual.parts),
    ]
    parts = [(name, value) for name, value in parts if abs(value) >= _NOTHING_USD]
    parts.append(("residual", hedged_less_unhedged_usd - money.net_usd))
    figure = go.Figure(
        go.Waterfall(
            x=[*(name for name, _ in parts), "net"],
            y=[*(0.0 if abs(value) < _NOTHING_USD else value for _, value in parts), 0.0],
            measure=[*("relative" for _ in parts), "total"],
            text=[*(_signed(value) for _, value in parts), _signed(hedged_less_unhedged_usd)],
            textposition="outside",
            cliponaxis=False,
            constraintext="none",  # else the numbers shrink with the bars on a phone
            increasing_marker_color="#0f8b8d",
            decreasing_marker_color="#e8671b",
            totals_marker_color=HEDGED,
            connector_line_color=UNHEDGED,
        )
    )
    figure.update_yaxes(title_text="USD", tickformat="~s")
    return _styled(figure, height=360)


def holes(times_s: FloatArray) -> list[tuple[float, float]]:
    """Return stretches between steps that are much longer than the usual one."""
    if times_s.size < 3:
        return []
    apart = np.diff(times_s)
    wide = np.flatnonzero(apart > _HOLE_STEPS * float(np.median(apart)))
    return [(float(times_s[i]), float(times_s[i + 1])) for i in wide]


def unknown_stretches(times_s: FloatArray, values: FloatArray) -> list[tuple[float, float]]:
    """Return (from, to) of each run of unknown values, the known neighbours included."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], np.isnan(values), [False]]).astype(np.int8)))
    last = times_s.size - 1
    return [
        (float(times_s[max(first - 1, 0)]), float(times_s[min(end, last)]))
        for first, end in zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True)
    ]


def _add_layers(figure: go.Figure, data: ReportData) -> None:
    """Add one band per layer, as thick as what it holds, with its orders on it."""
    most: dict[Layer, float] = {}
    for holding in data.decided.holdings:
        most[holding.layer] = max(most.get(holding.layer, 0.0), holding.contracts)
    for holding in data.decided.holdings:
        thickness = 1.0 + 9.0 * holding.contracts / most[holding.layer]
        figure.add_trace(
            go.Scatter(
                x=[_stamp(holding.from_s), _stamp(holding.to_s)],
                y=[_LAYER_ROWS[holding.layer]] * 2,
                mode="lines",
                line={"color": HEDGED, "width": thickness},
                opacity=0.35,
                hovertemplate=f"{holding.layer}: {holding.contracts:,.2f} contracts held<extra></extra>",
                showlegend=False,
            ),
            row=3,
            col=1,
        )
    for side, (symbol, word) in _SIDE_MARKS.items():
        orders = [item for item in data.decided.orders if item.leg.side is side]
        if orders:
            figure.add_trace(_order_marks(orders, symbol, word), row=3, col=1)
    names = sorted(_LAYER_ROWS, key=lambda layer: _LAYER_ROWS[layer])
    figure.update_yaxes(
        tickvals=list(range(len(names))),
        ticktext=[layer.value for layer in names],
        range=[-0.6, 2.6],
        showgrid=False,
        zeroline=False,
        row=3,
        col=1,
    )


def _order_marks(orders: Sequence[LegOutcome], symbol: str, word: str) -> go.Scatter:
    filled = [item.status in (LegStatus.FILLED, LegStatus.PARTIAL) for item in orders]
    return go.Scatter(
        x=[_stamp(item.at_s) for item in orders],
        y=[_LAYER_ROWS[item.leg.layer] for item in orders],
        mode="markers",
        name=word,
        marker={
            "symbol": [symbol if done else "x" for done in filled],
            "size": 9,
            "color": HEDGED,
            "line": {"width": 1, "color": "#ffffff"},
        },
        text=[order_words(item) for item in orders],
        hovertemplate="%{text}<extra></extra>",
    )


def _add_tiers(figure: go.Figure, data: ReportData) -> None:
    """Add the stepped band: height and colour say the tier, the axis says the word."""
    for from_s, to_s, tier in tier_runs(data.times_s, data.decided.tier_by_step):
        figure.add_trace(
            go.Scatter(
                x=[_stamp(from_s), _stamp(from_s), _stamp(to_s), _stamp(to_s)],
                y=[0, tier + 1, tier + 1, 0],
                mode="lines",
                fill="toself",
                line={"width": 0, "color": TIER_COLOURS[tier]},
                fillcolor=TIER_COLOURS[tier],
                hoveron="fills",
                text=tier.name,
                hoverinfo="text",
                showlegend=False,
            ),
            row=4,
            col=1,
        )
    figure.update_yaxes(
        tickvals=[tier + 1 for tier in Tier],
        ticktext=[tier.name for tier in Tier],
        range=[0, len(Tier) + 0.2],
        row=4,
        col=1,
    )


def tier_runs(times_s: FloatArray, tiers: Sequence[Tier]) -> list[tuple[float, float, Tier]]:
    """Return (from, to, tier) of each stretch of one tier; none runs across a hole."""
    if not tiers:
        return []
    before_hole = {from_s for from_s, _ in holes(times_s)}
    step_s = _step_s(times_s)
    runs: list[tuple[float, float, Tier]] = []
    start = 0
    for i, tier in enumerate(tiers):
        is_last = i == len(tiers) - 1
        ends_here = is_last or tiers[i + 1] is not tier or float(times_s[i]) in before_hole
        if ends_here:
            is_cut = is_last or float(times_s[i]) in before_hole
            end_s = float(times_s[i]) + step_s if is_cut else float(times_s[i + 1])
            runs.append((float(times_s[start]), end_s, tier))
            start = i + 1
    return runs


def _step_s(times_s: FloatArray) -> float:
    return float(np.median(np.diff(times_s))) if times_s.size > 1 else 3_600.0


def _line(data: ReportData, values: FloatArray, name: str, colour: str, *, dash: str = "solid") -> go.Scatter:
    """Return a line that stops at holes."""
    cuts = [int(np.searchsorted(data.times_s, from_s)) + 1 for from_s, _ in holes(data.times_s)]
    times = np.insert(data.times_s, cuts, [data.times_s[i] - 1.0 for i in cuts])
    return go.Scatter(
        x=[_stamp(at_s) for at_s in times],
        y=np.round(np.insert(values, cuts, np.nan), 2).tolist(),
        mode="lines",
        name=name,
        line={"color": colour, "width": 2, "dash": dash},
        hovertemplate="%{x}, $%{y:,.0f}<extra>" + name + "</extra>",
    )


def _curve(
    spots: FloatArray, change: FloatArray, name: str, colour: str, dash: str, width: float
) -> go.Scatter:
    return go.Scatter(
        x=np.round(spots, 2).tolist(),
        y=np.round(change, 2).tolist(),
        mode="lines",
        name=name,
        line={"color": colour, "width": width, "dash": dash},
        hovertemplate="at $%{x:,.0f}: %{y:+$,.0f}<extra>" + name + "</extra>",
    )


def _styled(figure: go.Figure, *, height: int) -> go.Figure:
    layout: Mapping[str, object] = {
        "height": height,
        "margin": {"l": 64, "r": 12, "t": 8, "b": 44},
        "paper_bgcolor": _CLEAR,
        "plot_bgcolor": _CLEAR,
        "font": {"family": "system-ui, sans-serif", "size": 12},
        "legend": {"orientation": "h", "y": 1.02, "yanchor": "bottom", "x": 0},
        "hovermode": "closest",
    }
    return figure.update_layout(**layout)


def _stamp(at_s: float) -> str:
    return str(np.datetime64(round(at_s), "s"))


def _signed(value: float) -> str:
    return "0" if abs(value) < _NOTHING_USD else f"{value:+,.0f}"
