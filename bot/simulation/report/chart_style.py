"""What all figures of the reports share: colours, lines that stop at holes, and the layout.

Colours of text and grid come from the page, so that both themes work.
"""

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import plotly.graph_objects as go

from bot.model.market import FloatArray
from bot.model.tier import Tier

# One ordered ramp that colour-blind readers can tell apart; the word always stands beside it.
TIER_COLOURS = {
    Tier.CALM: "#5f7d95",
    Tier.GUARDED: "#0f8b8d",
    Tier.ELEVATED: "#d99a00",
    Tier.SEVERE: "#e8671b",
    Tier.CRISIS: "#b3123f",
}
HEDGED, UNHEDGED, PRICE = "#2f7de1", "#8b929c", "#9670c8"
GAIN, LOSS = "#0f8b8d", "#e8671b"
OTHERS = ("#0f8b8d", "#d99a00", "#d64a74", "#5f7d95", "#7a9a01", "#a0522d", "#6a5acd", "#2e8b57")
DASHES = ("solid", "dash", "dot", "dashdot")
KNOWN = {"alvh": (HEDGED, "solid"), "unhedged": (UNHEDGED, "solid")}
# Below zero, zero, above: told apart in grey and by the colour-blind too.
DIVERGING = ((0.0, "#b3123f"), (0.25, "#e8671b"), (0.5, "#f2f2ee"), (0.75, "#6aaed6"), (1.0, "#1d4f91"))
NOTHING_USD = 0.5
MOST_POINTS = 3_000  # of a line: more cannot be seen, and a phone has to draw them
_HOLE_STEPS = 1.5
_CLEAR = "rgba(0,0,0,0)"


def colours_of(names: Sequence[str]) -> dict[str, tuple[str, str]]:
    """Return colour and dash of each strategy; what is known keeps its own everywhere."""
    spare = iter(OTHERS * (1 + len(names) // len(OTHERS)))
    return {name: KNOWN.get(name) or (next(spare), "dot") for name in names}


def stamp(at_s: float) -> str:
    return str(np.datetime64(round(at_s), "s"))


def step_s(times_s: FloatArray) -> float:
    """Return the usual time between two steps."""
    return float(np.median(np.diff(times_s))) if times_s.size > 1 else 3_600.0


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


def line(
    times_s: FloatArray,
    values: FloatArray,
    name: str,
    colour: str,
    *,
    dash: str = "solid",
    digits: int = 2,
    hover: str = "%{x}, $%{y:,.0f}",
    **more: object,
) -> go.Scatter:
    """Return a line over time that stops at holes and unknown values, thinned without losing an extreme."""
    x: list[str] = []
    y: list[float | None] = []
    most = MOST_POINTS / max(values.size, 1)
    for first, end in _stretches(times_s, values):
        if x:
            x.append(x[-1])
            y.append(None)
        at = first + thinned(values[first:end], most=max(int(most * (end - first)), 8))
        x += [stamp(at_s) for at_s in times_s[at].tolist()]
        y += np.round(values[at], digits).tolist()
    return go.Scatter(
        x=x,
        y=y,
        mode="lines",
        name=name,
        line={"color": colour, "width": 2, "dash": dash},
        hovertemplate=hover + "<extra>" + name + "</extra>",
        **more,
    )


def thinned(values: FloatArray, *, most: int) -> "np.ndarray[tuple[int], np.dtype[np.int64]]":
    """Return places of at most ``most`` values (8 or more): the first, last, lowest, highest of each part."""
    if values.size <= most:
        return np.arange(values.size)
    kept: list[int] = []
    for part in np.array_split(np.arange(values.size), max(most // 4, 1)):
        inside = values[part]
        kept += [int(part[0]), int(part[inside.argmin()]), int(part[inside.argmax()]), int(part[-1])]
    return np.unique(kept)


def _stretches(times_s: FloatArray, values: FloatArray) -> Iterator[tuple[int, int]]:
    """Yield (first, end) of each run of known values without a hole in it."""
    cut_after = {int(np.searchsorted(times_s, from_s)) for from_s, _ in holes(times_s)}
    first = -1
    for i, known in enumerate(np.isfinite(values).tolist()):
        if known and first < 0:
            first = i
        if first >= 0 and (not known or i in cut_after):
            yield first, i + 1 if known else i
            first = -1
    if first >= 0:
        yield first, values.size


def curve(
    spots: FloatArray, change: FloatArray, name: str, colour: str, dash: str, width: float
) -> go.Scatter:
    """Return a line of gains over the price."""
    return go.Scatter(
        x=np.round(spots, 2).tolist(),
        y=np.round(change, 2).tolist(),
        mode="lines",
        name=name,
        line={"color": colour, "width": width, "dash": dash},
        hovertemplate="at $%{x:,.0f}: %{y:+$,.0f}<extra>" + name + "</extra>",
    )


def shade(
    figure: go.Figure, times_s: FloatArray, span_s: tuple[float, float], text: str, **place: int
) -> None:
    """Shade and name a stretch of time: a gap is drawn as one, never joined by a line.

    Its name begins at the edge that is farther from the chart's end, so that it runs into the chart.
    """
    is_late = sum(span_s) > float(times_s[0] + times_s[-1])
    figure.add_vrect(
        x0=stamp(span_s[0]),
        x1=stamp(span_s[1]),
        fillcolor=UNHEDGED,
        opacity=0.18,
        line_width=0,
        annotation_text=text,
        annotation_position=f"inside bottom {'right' if is_late else 'left'}",
        **place,
    )


def styled(figure: go.Figure, *, height: int) -> go.Figure:
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


def signed(value: float) -> str:
    return "0" if abs(value) < NOTHING_USD else f"{value:+,.0f}"
