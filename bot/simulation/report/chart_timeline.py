"""The timeline of a run: value, fall from the peak, price, layers with their orders, tiers; one time axis."""

import textwrap
from collections.abc import Sequence
from html import escape

import numpy as np
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from bot.model.hedge import Layer, LegOutcome, LegStatus, Side
from bot.model.market import FloatArray
from bot.model.tier import Tier
from bot.simulation.market.implied_vols import HOLE_S
from bot.simulation.metrics import drawdowns
from bot.simulation.report.chart_style import (
    HEDGED,
    PRICE,
    TIER_COLOURS,
    UNHEDGED,
    holes,
    line,
    shade,
    stamp,
    step_s,
    styled,
    unknown_stretches,
)
from bot.simulation.report.data import ReportData
from bot.simulation.wording import order_words

_LAYER_ROWS = {Layer.TAIL: 0, Layer.MID: 1, Layer.NEAR: 2}
_PERPETUAL_ROW = 3
_SIDE_MARKS = {
    Side.BUY: ("triangle-up", "buy"),
    Side.SELL: ("triangle-down", "sell"),
    Side.SETTLE: ("square", "settle"),
}
_MARGIN = 0.02
_BAND = 0.8  # of the row that a layer has
_VALUE, _FALL, _PRICE, _LAYERS, _TIERS = range(1, 6)


def timeline(data: ReportData) -> go.Figure:
    """Return value, falls, price, layers with orders, and tiers, on one time axis."""
    figure = make_subplots(
        rows=5,
        cols=1,
        shared_xaxes=True,
        vertical_spacing=0.03,
        row_heights=[0.30, 0.17, 0.19, 0.18, 0.16],
    )
    _add_values(figure, data)
    figure.add_trace(line(data.times_s, data.spot_usd, f"{data.underlying} price", PRICE), row=_PRICE, col=1)
    _add_layers(figure, data)
    _add_tiers(figure, data)
    for span_s in holes(data.times_s):
        shade(figure, data.times_s, span_s, "no data")
    for span_s in unknown_stretches(data.times_s, data.hedged_usd):
        shade(figure, data.times_s, span_s, "hedge value unknown", row=_VALUE, col=1)
    figure.update_yaxes(title_text="price, USD", row=_PRICE, col=1, tickformat=",.0f", nticks=5)
    end_s = data.times_s[-1] + step_s(data.times_s)
    margin_s = _MARGIN * (end_s - data.times_s[0])  # a mark at either end stays whole
    figure.update_xaxes(range=[stamp(data.times_s[0] - margin_s), stamp(end_s + margin_s)])
    figure.update_xaxes(title_text="time, UTC", row=_TIERS, col=1)
    return styled(figure, height=920)


def falls(times_s: FloatArray, values: FloatArray) -> FloatArray:
    """Return the fall from the peak so far as a fraction <= 0; it starts anew after a hole over 36 h."""
    cuts = np.flatnonzero(np.diff(times_s) > HOLE_S) + 1
    parts = [drawdowns(part) for part in np.split(values, cuts)]
    return np.asarray(-np.concatenate(parts))


def _add_values(figure: go.Figure, data: ReportData) -> None:
    for values, name, colour in (
        (data.unhedged_usd, "position alone", UNHEDGED),
        (data.hedged_usd, "with hedge", HEDGED),
    ):
        figure.add_trace(line(data.times_s, values, name, colour), row=_VALUE, col=1)
        fall = line(
            data.times_s,
            falls(data.times_s, values),
            f"{name}, fall",
            colour,
            digits=5,
            hover="%{x}, %{y:.1%}",
            showlegend=False,
        )
        figure.add_trace(fall, row=_FALL, col=1)
    figure.update_yaxes(title_text="value, USD", row=_VALUE, col=1, tickformat="~s")
    figure.update_yaxes(title_text="fall", row=_FALL, col=1, tickformat=".0%", nticks=5)


def _add_layers(figure: go.Figure, data: ReportData) -> None:
    """Add one band per layer, as high as what it holds, with its orders on it."""
    decided = data.decided
    for layer, row in _LAYER_ROWS.items():
        held = [item for item in decided.holdings if item.layer is layer]
        bands = [(item.from_s, item.to_s, item.contracts) for item in held]
        _add_bands(figure, bands, row, f"{layer}: ", " contracts held")
    stretches = [(item.from_s, item.to_s, item.units) for item in decided.perpetual_holdings]
    _add_bands(figure, stretches, _PERPETUAL_ROW, "perpetual: ", f" {data.underlying} held")
    for side, (symbol, word) in _SIDE_MARKS.items():
        orders = [item for item in decided.orders if item.leg.side is side]
        if orders:
            figure.add_trace(_order_marks(orders, symbol, word), row=_LAYERS, col=1)
    names = [layer.value for layer in sorted(_LAYER_ROWS, key=lambda layer: _LAYER_ROWS[layer])]
    names += ["PERP"] if stretches else []
    figure.update_yaxes(
        tickvals=[row + _BAND / 2.0 for row in range(len(names))],
        ticktext=names,
        range=[-0.15, len(names)],
        showgrid=False,
        zeroline=False,
        row=_LAYERS,
        col=1,
    )


def _add_bands(
    figure: go.Figure, stretches: Sequence[tuple[float, float, float]], row: int, before: str, after: str
) -> None:
    """Add stretches of (from, to, size) as one band above a row's line."""
    if not stretches:
        return
    most = max(abs(size) for _, _, size in stretches)
    corners = [
        (from_s, to_s, row + _BAND * abs(size) / most, f"{before}{size:,.2f}{after}")
        for from_s, to_s, size in stretches
    ]
    figure.add_trace(_boxes(corners, row, HEDGED, opacity=0.45), row=_LAYERS, col=1)


def _boxes(
    corners: Sequence[tuple[float, float, float, str]], base: float, colour: str, *, opacity: float
) -> go.Scatter:
    """Return filled boxes of (from, to, height, words), all in one trace: a year may have hundreds."""
    x: list[str | None] = []
    y: list[float | None] = []
    text: list[str] = []
    for from_s, to_s, top, words in corners:
        x += [stamp(from_s), stamp(from_s), stamp(to_s), stamp(to_s), None]
        y += [base, top, top, base, None]
        text += [words] * 5
    return go.Scatter(
        x=x,
        y=y,
        mode="lines",
        fill="toself",
        line={"width": 0, "color": colour},
        fillcolor=colour,
        opacity=opacity,
        hoveron="points",
        text=text,
        hovertemplate="%{text}<extra></extra>",
        showlegend=False,
    )


def _order_marks(orders: Sequence[LegOutcome], symbol: str, word: str) -> go.Scatter:
    filled = [item.status in (LegStatus.FILLED, LegStatus.PARTIAL) for item in orders]
    return go.Scatter(
        x=[stamp(item.at_s) for item in orders],
        y=[_LAYER_ROWS[item.leg.layer] + _BAND / 2.0 for item in orders],
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
    """Add the stepped band: height and colour say the tier, the axis the word, the pointer the reason."""
    reasons = [(item.at_s, item.because) for item in data.tiers]
    runs = tier_runs(data.times_s, data.decided.tier_by_step)
    for tier in Tier:
        corners = [
            (from_s, to_s, tier + 1.0, _tier_words(tier, from_s, reasons))
            for from_s, to_s, stood in runs
            if stood is tier
        ]
        if corners:
            figure.add_trace(_boxes(corners, 0.0, TIER_COLOURS[tier], opacity=1.0), row=_TIERS, col=1)
    figure.update_yaxes(
        tickvals=[tier + 1 for tier in Tier],
        ticktext=[tier.name for tier in Tier],
        range=[0, len(Tier) + 0.2],
        row=_TIERS,
        col=1,
    )


def _tier_words(tier: Tier, from_s: float, reasons: Sequence[tuple[float, str]]) -> str:
    because = next((why for at_s, why in reversed(reasons) if at_s <= from_s), "")
    words = f"{tier.name}: {because}" if because else tier.name
    return "<br>".join(textwrap.wrap(escape(words), 70))


def tier_runs(times_s: FloatArray, tiers: Sequence[Tier]) -> list[tuple[float, float, Tier]]:
    """Return (from, to, tier) of each stretch of one tier; none runs across a hole."""
    if not tiers:
        return []
    before_hole = {from_s for from_s, _ in holes(times_s)}
    usual_s = step_s(times_s)
    runs: list[tuple[float, float, Tier]] = []
    start = 0
    for i, tier in enumerate(tiers):
        is_last = i == len(tiers) - 1
        ends_here = is_last or tiers[i + 1] is not tier or float(times_s[i]) in before_hole
        if ends_here:
            is_cut = is_last or float(times_s[i]) in before_hole
            end_s = float(times_s[i]) + usual_s if is_cut else float(times_s[i + 1])
            runs.append((float(times_s[start]), end_s, tier))
            start = i + 1
    return runs
