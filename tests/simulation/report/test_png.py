"""PNG files from the figures' own data: every kind of trace a report uses, each mark where it belongs."""

import io

import numpy as np
import plotly.graph_objects as go
import pytest
from PIL import Image
from report_builders import monte_carlo_run, sweep_run, windows_run

from bot.errors import InvariantError
from bot.simulation.report.chart_style import line
from bot.simulation.report.files import page_of
from bot.simulation.report.png import is_png, png_bytes
from bot.simulation.report.png_traces import number_writer, plain


def pixels(figure):
    with Image.open(io.BytesIO(png_bytes(figure, title="A title that is said"))) as image:
        return np.asarray(image.convert("RGB")).astype(int)


def share_of(found, colour, *, near=30):
    rgb = [int(colour[at : at + 2], 16) for at in (1, 3, 5)]
    return float((np.abs(found - rgb).max(axis=2) <= near).mean())


@pytest.mark.parametrize("made", [windows_run, sweep_run, lambda: monte_carlo_run(2)])
def test_every_figure_of_every_kind_of_run_is_drawn(made):
    for panel, figure in page_of(made()).figures:
        data = png_bytes(figure.plot, title=panel.title, subtitle=panel.subtitle)
        assert is_png(data), figure.name


def test_the_same_figure_gives_the_same_bytes():
    figure = go.Figure(go.Scatter(x=[0.0, 1.0], y=[1.0, 3.0], mode="lines"))
    assert png_bytes(figure, title="a") == png_bytes(figure, title="a")


def test_bars_are_as_long_as_their_values():
    figure = go.Figure(go.Bar(x=[1.0, 4.0], y=["a", "b"], orientation="h", marker_color="#2f7de1"))
    found = pixels(figure.update_layout(height=300))
    blue = np.abs(found - [47, 125, 225]).max(axis=2) <= 10
    widths = blue.sum(axis=1)
    lengths = sorted(set(widths[widths > 0].tolist()))
    assert lengths[-1] / lengths[0] == pytest.approx(4.0, rel=0.03)


def test_a_line_stops_at_a_hole():
    """Two days at one level with ten days of nothing between: nothing is drawn there."""
    times_s = np.concatenate([np.arange(48.0), 288.0 + np.arange(48.0)]) * 3_600.0
    trace = line(times_s, np.full(96, 5.0), "value", "#2f7de1")
    assert trace.y.count(None) == 1
    found = pixels(go.Figure(trace).update_layout(height=300, showlegend=False))
    blue = np.abs(found - [47, 125, 225]).max(axis=2) <= 30
    assert not blue[:, 560:760].any()
    assert blue[200:, :400].any()


def test_a_dollar_sign_is_one():
    text = png_bytes(go.Figure(go.Scatter(x=[0], y=[0])), title="It cost $5 and brought $7")
    assert is_png(text)
    assert plain("a<br><b>b</b>") == "a\nb"


def test_an_unknown_kind_of_trace_is_a_bug():
    with pytest.raises(InvariantError, match="'pie'"):
        png_bytes(go.Figure(go.Pie(labels=["a"], values=[1.0])), title="a")


@pytest.mark.parametrize(
    ("form", "value", "text"),
    [
        ("~s", 1_500_000.0, "1.5M"),
        ("~s", -20_000.0, "-20k"),
        ("~s", 3.0, "3"),
        (",.0f", 12_345.6, "12,346"),
        (".0%", -0.05, "-5%"),
    ],
)
def test_numbers_on_axes_read_as_on_the_page(form, value, text):
    assert number_writer(form)(value, 0) == text


def test_colours_reach_the_picture():
    figure = go.Figure(
        go.Heatmap(x=["a", "b"], y=["c"], z=[[0.0, 1.0]], colorscale=[[0, "#ff0000"], [1, "#0000ff"]])
    )
    found = pixels(figure.update_layout(height=300))
    assert share_of(found, "#ff0000") > 0.1
    assert share_of(found, "#0000ff") > 0.1
