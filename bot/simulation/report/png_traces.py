"""The traces of the reports' figures, drawn by matplotlib: lines, boxes, bars, waterfalls and heat maps."""

import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any, Literal

import numpy as np
from matplotlib import ticker
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap, Normalize

from bot.errors import InvariantError
from bot.simulation.report.chart_style import UNHEDGED

Trace = Mapping[str, Any]  # as plotly's own JSON has it
_DATE = re.compile(r"\d{4}-\d\d-\d\d")
_DASHES = {"solid": "-", "dash": "--", "dot": ":", "dashdot": "-."}
_SYMBOLS = {
    "circle": "o",
    "triangle-up": "^",
    "triangle-down": "v",
    "square": "s",
    "diamond": "D",
    "star": "*",
    "x": "x",
}
_DEFAULT = "#2f7de1"
_SUFFIXES = ((1e9, "B"), (1e6, "M"), (1e3, "k"))


@dataclass(slots=True)
class Drawn:
    """What traces of one pair of axes share: where stacks stand, and which rows have names."""

    axes: Axes
    barmode: str = "group"
    above: dict[str, Any] = field(default_factory=dict)  # stack group, or sign of bars -> its top
    last_line: tuple[Any, Any] | None = None
    bars: int = 0  # drawn so far
    bar_traces: int = 1  # to be drawn in all


def draw(trace: Trace, on: Drawn) -> None:
    """Draw one trace. Raises InvariantError for a kind that no report uses."""
    kind = trace.get("type", "scatter")
    if kind not in _KINDS:
        raise InvariantError(f"a figure's trace of kind {kind!r} cannot be drawn as PNG")
    _KINDS[kind](trace, on)


def values(found: Sequence[Any]) -> Any:
    """Return coordinates for matplotlib: times, numbers with NaN for a gap, or names."""
    first = next((item for item in found if item is not None), 0.0)
    if isinstance(first, str) and _DATE.match(first):
        return np.array([np.datetime64("NaT") if item is None else item for item in found], "datetime64[s]")
    if isinstance(first, str):
        return list(found)
    return np.array([math.nan if item is None else item for item in found], dtype=np.float64)


def plain(text: str) -> str:
    """Return a text of a figure without its markup."""
    return re.sub(r"<[^>]+>", "", text.replace("<br>", "\n"))


def number_writer(form: str) -> Callable[[float, int], str]:
    """Return what writes numbers as d3 does, for the forms that the reports use."""

    def write(value: float, _: int = 0) -> str:
        if form.endswith("s"):
            size = next(((value / scale, suffix) for scale, suffix in _SUFFIXES if abs(value) >= scale), None)
            return f"{size[0]:g}{size[1]}" if size else f"{value:g}"
        return format(value, form.replace("~", ""))

    return write


def _scatter(trace: Trace, on: Drawn) -> None:
    x, y = values(trace["x"]), values(trace["y"])
    style, name = trace.get("line", {}), _name(trace)
    colour = style.get("color", trace.get("marker", {}).get("color", _DEFAULT))
    opacity = trace.get("opacity", 1.0)
    mode = trace.get("mode", "lines")
    if trace.get("fill") == "toself":
        for xs, ys in _parts(x, y):
            on.axes.fill(xs, ys, facecolor=trace.get("fillcolor", colour), alpha=opacity, linewidth=0)
        return
    if trace.get("stackgroup"):
        _stack(trace, on, x, y, colour)
        return
    if trace.get("fill") in ("tonexty", "tozeroy"):
        _fill_below(trace, on, x, y)
    if "lines" in mode:
        on.axes.plot(
            x,
            y,
            color=colour,
            alpha=opacity,
            linewidth=0.75 * float(style.get("width", 2.0)),
            linestyle=_DASHES[style.get("dash", "solid")],
            drawstyle="steps-post" if style.get("shape") == "hv" else "default",
            label=name,
        )
    if "markers" in mode:
        _markers(trace, on, x, y, "_nolegend_" if "lines" in mode else name)
    if "text" in mode:
        _texts(trace, on, x, y)
    on.last_line = (x, y)


def _fill_below(trace: Trace, on: Drawn, x: Any, y: Any) -> None:
    below = on.last_line[1] if trace["fill"] == "tonexty" and on.last_line else np.zeros(len(y))
    colour, opacity = _colour(trace.get("fillcolor", UNHEDGED))
    on.axes.fill_between(x, below, y, color=colour, alpha=opacity, linewidth=0, step=_step(trace))


def _stack(trace: Trace, on: Drawn, x: Any, y: Any, colour: str) -> None:
    group = trace["stackgroup"]
    low = on.above.get(group, np.zeros(len(y)))
    step = _step(trace)
    on.axes.fill_between(x, low, low + y, color=colour, alpha=0.6, linewidth=0, step=step, label=_name(trace))
    on.above[group] = low + y


def _step(trace: Trace) -> Literal["post"] | None:
    return "post" if trace.get("line", {}).get("shape") == "hv" else None


def _markers(trace: Trace, on: Drawn, x: Any, y: Any, name: str) -> None:
    marker = trace.get("marker", {})
    symbols = marker.get("symbol", "circle")
    each = [symbols] * len(x) if isinstance(symbols, str) else list(symbols)
    colours = marker.get("color", _DEFAULT)
    size = marker.get("size", 8)
    for symbol in dict.fromkeys(each):
        at = [i for i, found in enumerate(each) if found == symbol]
        on.axes.scatter(
            [x[i] for i in at],
            [y[i] for i in at],
            marker=_SYMBOLS[symbol],
            color=colours if isinstance(colours, str) else [colours[i] for i in at],
            s=[0.6 * (size if isinstance(size, int | float) else size[i]) ** 2 for i in at],
            zorder=3,
            label=name,
        )
        name = "_nolegend_"
    for key in ("error_x", "error_y"):
        if trace.get(key):
            found: Any = [trace[key]["arrayminus"], trace[key]["array"]]
            bounds = {"xerr" if key == "error_x" else "yerr": found}
            on.axes.errorbar(x, y, fmt="none", ecolor=UNHEDGED, linewidth=1.0, **bounds)


def _texts(trace: Trace, on: Drawn, x: Any, y: Any) -> None:
    for at_x, at_y, words in zip(x, y, trace["text"], strict=True):
        on.axes.annotate(
            plain(words), (at_x, at_y), textcoords="offset points", xytext=(6, 4), fontsize=8, clip_on=False
        )


def _bar(trace: Trace, on: Drawn) -> None:
    is_flat = trace.get("orientation") == "h"
    names, sizes = (trace["y"], trace["x"]) if is_flat else (trace["x"], trace["y"])
    lengths = values(sizes)
    at = np.arange(len(names), dtype=np.float64)
    width, low = 0.8, np.zeros(len(names))
    if on.barmode in ("relative", "stack"):
        for sign, key in ((1.0, "up"), (-1.0, "down")):
            here = sign * np.nan_to_num(lengths) > 0.0
            top = on.above.setdefault(key, np.zeros(len(names)))
            low[here] = top[here]
            top[here] += lengths[here]
    else:
        width = 0.8 / on.bar_traces
        at = at - 0.4 + width * (on.bars + 0.5)
        on.bars += 1
    colour = trace.get("marker", {}).get("color", _DEFAULT)
    if is_flat:
        on.axes.barh(at, lengths, height=width, left=low, color=colour, label=_name(trace))
        on.axes.set_yticks(range(len(names)), [str(name) for name in names])
        on.axes.axvline(0.0, color="#566072", linewidth=0.8)
    else:
        on.axes.bar(at, lengths, width=width, bottom=low, color=colour, label=_name(trace))
        on.axes.set_xticks(range(len(names)), [str(name) for name in names])
        on.axes.axhline(0.0, color="#566072", linewidth=0.8)


def _waterfall(trace: Trace, on: Drawn) -> None:
    """Draw steps from the top down."""
    at = 0.0
    steps = zip(trace["x"], trace["measure"], trace["text"], strict=True)
    for place, (size, measure, words) in enumerate(steps):
        is_total = measure == "total"
        low, high = (0.0, at) if is_total else (at, at + size)
        key = "totals" if is_total else "increasing" if size >= 0.0 else "decreasing"
        on.axes.barh(place, high - low, left=low, height=0.8, color=trace[key]["marker"]["color"])
        is_left = high < low
        on.axes.annotate(
            words,
            (high, place),
            textcoords="offset points",
            xytext=(-3 if is_left else 3, 0),
            ha="right" if is_left else "left",
            va="center",
            fontsize=8,
        )
        at = high
    on.axes.set_yticks(range(len(trace["y"])), list(trace["y"]))
    on.axes.axvline(0.0, color="#566072", linewidth=0.8)


def _heatmap(trace: Trace, on: Drawn) -> None:
    cells = np.array([values(row) for row in trace["z"]], dtype=np.float64)
    colours = LinearSegmentedColormap.from_list("report", [tuple(item) for item in trace["colorscale"]])
    low = trace.get("zmin", np.nanmin(cells) if np.isfinite(cells).any() else 0.0)
    high = trace.get("zmax", np.nanmax(cells) if np.isfinite(cells).any() else 1.0)
    x, y = values(trace["x"]), values(trace["y"])
    for axis, found in (("x", x), ("y", y)):
        if isinstance(found, list):
            getattr(on.axes, f"set_{axis}ticks")(range(len(found)), found)
    mesh = on.axes.pcolormesh(
        _edges(x), _edges(y), cells, cmap=colours, norm=Normalize(float(low), float(high)), shading="flat"
    )
    told = trace.get("colorbar", {})
    bar = on.axes.figure.colorbar(mesh, ax=on.axes, fraction=0.04, pad=0.02)
    bar.ax.tick_params(labelsize=8)
    bar.set_label(plain(told.get("title", {}).get("text", "")), fontsize=8)
    if told.get("tickformat"):
        bar.formatter = ticker.FuncFormatter(number_writer(told["tickformat"]))
    for row, texts in enumerate(trace.get("text") or ()):
        for column, words in enumerate(texts):
            on.axes.text(column, row, plain(words), ha="center", va="center", fontsize=7)


def _edges(at: Any) -> Any:
    """Return the edges of cells around their middles; names stand at 0, 1, 2."""
    middles = np.arange(len(at), dtype=np.float64) if isinstance(at, list) else at
    if len(middles) < 2:
        return np.array([middles[0] - 0.5, middles[0] + 0.5])
    inner = (middles[1:] + middles[:-1]) / 2.0
    return np.concatenate(
        [[middles[0] - (inner[0] - middles[0])], inner, [middles[-1] + (middles[-1] - inner[-1])]]
    )


def _parts(x: Any, y: Any) -> Iterator[tuple[Any, Any]]:
    """Yield each polygon of a trace: gaps part them."""
    for known, places in groupby(range(len(y)), key=lambda i: bool(np.isfinite(y[i]))):
        if known:
            at = list(places)
            yield x[at], y[at]


def _name(trace: Trace) -> str:
    return str(trace["name"]) if trace.get("name") and trace.get("showlegend", True) else "_nolegend_"


def _colour(text: str) -> tuple[Any, float]:
    """Return a colour and its opacity: plotly writes "rgba(47,125,225,0.2)"."""
    found = re.fullmatch(r"rgba\((\d+),\s*(\d+),\s*(\d+),\s*([\d.]+)\)", text)
    if not found:
        return text, 0.3
    return tuple(int(part) / 255.0 for part in found.groups()[:3]), float(found[4])


_KINDS: Mapping[str, Callable[[Trace, Drawn], None]] = {
    "scatter": _scatter,
    "bar": _bar,
    "waterfall": _waterfall,
    "heatmap": _heatmap,
}
