"""A figure of a report as PNG, drawn by matplotlib from the figure's own data.

Plotly's own way to a PNG runs a browser, which a server has not. So every figure stays defined once, and what
it holds (lines, bars, waterfalls, heat maps, shaded spans, labels) is drawn again here, on white.
"""

import io
import math
import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import plotly.graph_objects as go
from matplotlib import dates, rc_context, ticker
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from bot.simulation.report.png_traces import Drawn, draw, number_writer, plain, values

_WIDTH_IN, _DPI, _PX_PER_IN = 9.0, 140, 110.0
_INK, _SOFT, _GRID = "#1b2330", "#566072", "#e6eaf0"
_TITLE_CHARS, _SUBTITLE_CHARS = 82, 128
_TITLE_LINE_IN, _SUBTITLE_LINE_IN, _LEGEND_IN, _BELOW_IN = 0.27, 0.17, 0.32, 0.62
_LEFT, _LEFT_NAMED, _RIGHT = 0.09, 0.2, 0.975


def png_bytes(plot: go.Figure, *, title: str, subtitle: str = "") -> bytes:
    """Return a figure with its title as PNG; the same figure gives the same bytes on one machine."""
    with rc_context({"text.parse_math": False, "axes.unicode_minus": True}):  # a dollar sign is one
        return _drawn(plot, title, subtitle)


def _drawn(plot: go.Figure, title: str, subtitle: str) -> bytes:
    layout = plot.to_plotly_json()["layout"]
    titles = textwrap.wrap(title, _TITLE_CHARS)
    subtitles = textwrap.wrap(subtitle, _SUBTITLE_CHARS)
    head_in = 0.15 + _TITLE_LINE_IN * len(titles) + _SUBTITLE_LINE_IN * len(subtitles) + _LEGEND_IN
    body_in = float(layout.get("height", 400)) / _PX_PER_IN
    height_in = head_in + body_in + _BELOW_IN
    figure = Figure(figsize=(_WIDTH_IN, height_in), dpi=_DPI, facecolor="white")
    canvas = FigureCanvasAgg(figure)
    figure.text(
        0.02, 1.0 - 0.12 / height_in, "\n".join(titles), fontsize=13, weight="bold", color=_INK, va="top"
    )
    below = 0.15 + _TITLE_LINE_IN * len(titles)
    figure.text(0.02, 1.0 - below / height_in, "\n".join(subtitles), fontsize=8, color=_SOFT, va="top")
    left, right = _sides(plot)
    area = (left, _BELOW_IN / height_in, right - left, body_in / height_in)
    _draw_all(figure, plot, area, legend_y=1.0 - (head_in - _LEGEND_IN) / height_in)
    out = io.BytesIO()
    canvas.print_png(out, metadata={"Software": None})  # type: ignore[no-untyped-call]
    return out.getvalue()


def _sides(plot: go.Figure) -> tuple[float, float]:
    """Return where the axes begin and end: names and a colour bar need room."""
    kinds = {(trace.type, getattr(trace, "orientation", None)) for trace in plot.data}
    is_named = any(found in kinds for found in (("bar", "h"), ("waterfall", "h"))) or any(
        kind == "heatmap" and isinstance(next(iter(trace.y), 0.0), str)
        for kind, trace in ((trace.type, trace) for trace in plot.data)
    )
    return (_LEFT_NAMED if is_named else _LEFT), 0.94 if ("heatmap", None) in kinds else _RIGHT


def _draw_all(figure: Figure, plot: go.Figure, area: tuple[float, ...], *, legend_y: float) -> None:
    found = plot.to_plotly_json()
    layout = found["layout"]
    drawn: dict[str, Drawn] = {}
    bars = sum(trace.get("type") == "bar" for trace in found["data"])
    for trace in found["data"]:
        x_id, y_id = trace.get("xaxis") or "x", trace.get("yaxis") or "y"
        if y_id not in drawn:
            axes = figure.add_axes(_place(layout, x_id, y_id, area))
            drawn[y_id] = Drawn(axes=axes, barmode=layout.get("barmode", "group"), bar_traces=max(bars, 1))
            _prepare(axes)
        draw(trace, drawn[y_id])
    for y_id, on in drawn.items():
        x_id = "x" + y_id[1:]
        _set_axis(on.axes, layout.get(f"xaxis{x_id[1:]}", {}), "x")
        _set_axis(on.axes, layout.get(f"yaxis{y_id[1:]}", {}), "y")
    for shape in layout.get("shapes", ()):
        _shape(shape, drawn)
    for note in layout.get("annotations", ()):
        _annotate(note, drawn)
    _legend(figure, list(drawn.values()), legend_y)


def _place(
    layout: Mapping[str, Any], x_id: str, y_id: str, area: tuple[float, ...]
) -> tuple[float, float, float, float]:
    left, bottom, width, height = area
    x_0, x_1 = layout.get(f"xaxis{x_id[1:]}", {}).get("domain", (0.0, 1.0))
    y_0, y_1 = layout.get(f"yaxis{y_id[1:]}", {}).get("domain", (0.0, 1.0))
    return (left + width * x_0, bottom + height * y_0, width * (x_1 - x_0), height * (y_1 - y_0))


def _prepare(axes: Axes) -> None:
    axes.grid(color=_GRID, linewidth=0.8)
    axes.set_axisbelow(True)
    axes.tick_params(labelsize=8, colors=_SOFT, length=0)
    for side in ("top", "right", "left", "bottom"):
        axes.spines[side].set_visible(False)


def _set_axis(axes: Axes, axis: Mapping[str, Any], which: str) -> None:
    on = axes.xaxis if which == "x" else axes.yaxis
    words = plain(axis.get("title", {}).get("text", "") or "")
    on.set_label_text(words, fontsize=8, color=_SOFT)
    if axis.get("type") == "log":
        (axes.set_xscale if which == "x" else axes.set_yscale)("log")
    bounds = axis.get("range")
    if bounds is not None:
        low, high = values([*bounds])
        if axis.get("type") == "log":
            low, high = 10.0**low, 10.0**high
        (axes.set_xlim if which == "x" else axes.set_ylim)(low, high)
    if axis.get("autorange") == "reversed":
        (axes.invert_xaxis if which == "x" else axes.invert_yaxis)()
    if axis.get("tickvals") is not None:
        on.set_ticks([*axis["tickvals"]], [*map(str, axis.get("ticktext") or axis["tickvals"])])
    elif isinstance(on.get_converter(), dates.DateConverter | dates._SwitchableDateConverter):
        locator = dates.AutoDateLocator(maxticks=9)  # type: ignore[no-untyped-call]
        on.set_major_locator(locator)
        on.set_major_formatter(dates.ConciseDateFormatter(locator))  # type: ignore[no-untyped-call]
    elif axis.get("tickformat"):
        on.set_major_formatter(ticker.FuncFormatter(number_writer(axis["tickformat"])))
    if axis.get("showticklabels") is False:
        on.set_tick_params(labelbottom=False, labelleft=False)


def _shape(shape: Mapping[str, Any], drawn: Mapping[str, Drawn]) -> None:
    """Draw a line or a box across axes; what names no axes of its own stands on all that share its time."""
    axes = _axes_of(shape, drawn)
    line = shape.get("line", {})
    x_0, x_1 = values([shape["x0"], shape["x1"]])
    if shape["type"] == "rect" and "fillcolor" not in shape:
        y_0, y_1 = values([shape["y0"], shape["y1"]])
        edge = {"color": line.get("color", _SOFT), "linewidth": line.get("width", 1.0)}
        axes.plot([x_0, x_1, x_1, x_0, x_0], [y_0, y_0, y_1, y_1, y_0], **edge)
        return
    if shape["type"] == "rect":
        axes.axvspan(x_0, x_1, color=shape["fillcolor"], alpha=shape.get("opacity", 0.2), linewidth=0)
        return
    style = {"dot": ":", "dash": "--"}.get(line.get("dash", ""), "-")
    if "domain" in str(shape.get("xref", "")):
        axes.axhline(values([shape["y0"]])[0], color=_SOFT, linewidth=1.0, linestyle=style)
    elif "domain" in str(shape.get("yref", "")):
        axes.axvline(x_0, color=_SOFT, linewidth=1.0, linestyle=style)
    else:
        axes.plot([x_0, x_1], values([shape["y0"], shape["y1"]]), color=_SOFT, linewidth=1.0, linestyle=style)


def _annotate(note: Mapping[str, Any], drawn: Mapping[str, Drawn]) -> None:
    axes = _axes_of(note, drawn)
    x_in_axes, y_in_axes = ("domain" in str(note.get(key, "")) for key in ("xref", "yref"))
    x, y = values([note["x"]])[0], values([note["y"]])[0]
    shift = (0.7 * note.get("ax", 0), -0.7 * note.get("ay", 0)) if note.get("showarrow") else (3, 3)
    right = note.get("xanchor") == "right"
    axes.annotate(
        plain(note["text"]),
        (x, y),
        xycoords=(
            "axes fraction" if x_in_axes else "data",
            "axes fraction" if y_in_axes else "data",
        ),
        textcoords="offset points",
        xytext=(-shift[0] if right else shift[0], -12 if note.get("yanchor") == "top" else shift[1]),
        fontsize=7.5,
        color=_INK,
        ha="right" if right else "center" if note.get("showarrow") else "left",
        arrowprops={"arrowstyle": "-", "color": _SOFT, "linewidth": 0.8} if note.get("showarrow") else None,
        annotation_clip=False,
    )


def _axes_of(item: Mapping[str, Any], drawn: Mapping[str, Drawn]) -> Axes:
    for key in ("yref", "xref"):
        found = str(item.get(key, "")).removesuffix(" domain")
        y_id = "y" + found[1:]
        if found[:1] in ("x", "y") and y_id in drawn:
            return drawn[y_id].axes
    return next(iter(drawn.values())).axes


def _legend(figure: Figure, drawn: Sequence[Drawn], y: float) -> None:
    found = [
        (handle, label)
        for on in drawn
        for handle, label in zip(*on.axes.get_legend_handles_labels(), strict=True)
    ]
    if found:
        handles, labels = zip(*found, strict=True)
        figure.legend(
            handles,
            labels,
            loc="upper left",
            bbox_to_anchor=(0.015, y),
            ncols=max(1, math.ceil(len(labels) / math.ceil(len(labels) / 6))),
            frameon=False,
            fontsize=8,
            columnspacing=1.2,
            handlelength=1.6,
        )


def is_png(data: bytes) -> bool:
    """Say whether bytes begin as a PNG file does."""
    return data.startswith(b"\x89PNG\r\n\x1a\n") and np.frombuffer(data[16:24], ">u4").min() > 0
