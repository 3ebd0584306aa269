"""Pages of windows, sweeps and Monte Carlo runs: titles that answer, sums, what is unknown, bare files."""

import csv
import html
import io
import math
import re

import numpy as np
import pytest
from report_builders import monte_carlo_run, strategy, sweep_run, window, windows_run

from bot.simulation.report import chart_windows, fans_page, sweep_page, windows_page
from bot.simulation.report.files import page_of
from bot.simulation.report.page import page_text
from bot.simulation.report.table import csv_text
from bot.simulation.wording import percent

RUNS = {"windows": windows_run(), "sweep": sweep_run(), "monte-carlo": monte_carlo_run(2)}


def shown(run):
    return re.sub(r"<script.*?</script>", "", page_text(page_of(run)), flags=re.DOTALL)


def rows(table):
    return list(csv.DictReader(io.StringIO(csv_text(table))))


@pytest.mark.parametrize("name", RUNS)
def test_a_page_loads_nothing_and_names_each_file_once(name):
    page = page_of(RUNS[name])
    text = page_text(page)
    assert "http" not in shown(RUNS[name])
    assert text.count("plotly.js v") == 1
    figures = [figure.name for _, figure in page.figures]
    tables = [table.name for table in page.tables]
    assert len(set(figures)) == len(figures)
    assert len(set(tables)) == len(tables)
    assert all(f'id="chart-{figure}"' in text for figure in figures)


def test_windows_are_headed_by_the_most_efficient_policy():
    page = page_of(windows_run())
    assert page.title == "ALVH steward removed 18.0 % of the fall at 4.5 % carry a year"
    assert "ALVH steward is 2.1 times as efficient as PPUT-like" in page.panels[0].title
    assert "10.0 %" in page.panels[0].subtitle  # the control's
    assert page.panels[1].title == "In 1 of 2 market crises a policy made the fall deeper"
    assert "at least 67.5 % of each policy's efficiency is left" in page.panels[2].title


def test_the_windows_file_holds_what_the_run_says():
    run = windows_run()
    summary = {row["strategy"]: row for row in rows(windows_page.summary_table(run))}
    assert float(summary["ALVH steward"]["removed_p05"]) == 0.14
    assert summary["ALVH classic"]["removed_p05"] == ""
    found = {row["window"]: row for row in rows(windows_page.window_table(run))}
    assert float(found["crash"]["alvh_steward"]) == 0.24
    assert (found["quiet"]["unhedged"], found["quiet"]["kind"]) == ("", "calm")
    assert percent(0.24) in shown(run)


def test_windows_without_a_known_figure_say_so():
    unknown = windows_run(strategies=(strategy("alvh_steward", math.nan, math.nan),), own=("alvh_steward",))
    assert page_of(unknown).title == "No policy has a known figure in these windows"
    part = windows_run(strategies=(strategy("alvh_steward", 0.2, math.nan),), own=("alvh_steward",))
    assert page_of(part).title == "ALVH steward removed 20.0 % of the fall; its carry is unknown"
    assert "removed_carry" not in [figure.name for _, figure in page_of(part).figures]


def test_axes_begin_at_zero_also_where_every_hedge_earned():
    """Rays of equal efficiency lead to the right and up, whatever the strategies came to."""
    earned = windows_run(strategies=(strategy("alvh_steward", -0.02, -0.01),), control=None)
    figure = chart_windows.removed_at_carry(earned)
    rays = [trace for trace in figure.data if trace.mode == "lines"]
    assert len(rays) == 3
    assert all(trace.x[1] > 0.0 and trace.y[1] > 0.0 for trace in rays)


def test_every_policy_has_its_bar_however_many_there_are():
    own = tuple(f"alvh_{number}" for number in range(14))
    named = dict.fromkeys(own, 0.2)
    report = windows_run(own=own, windows=(window("crash", 0.3, named),))
    assert [trace.name for trace in chart_windows.falls(report).data][1:] == [
        f"ALVH {number}" for number in range(14)
    ]


def test_a_sweep_is_headed_by_the_chosen_cell_and_shows_what_is_beside_it():
    page = page_of(sweep_run())
    assert page.title.startswith("The chosen policy removes 20.0 % of the fall at 5.0 % carry a year")
    assert page.panels[0].title == "Efficiency 4.00 where chosen, 3.60 to 3.80 one step beside it"
    assert page.panels[1].title == "3 of 6 policies keep every constraint"
    (heat,) = page.panels[0].figures[0].plot.data
    assert heat.text[0][0] == "4.00 ★"
    assert heat.z[1][1] is None
    assert "tiers.fast_vote 0.6, perpetual.margin_days 5" in shown(sweep_run())


def test_a_long_sweep_is_whole_in_its_file():
    run = sweep_run(cells=80)
    cells = next(table for table in page_of(run).tables if table.name == "cells")
    assert [int(float(row["place"])) for row in rows(cells)] == list(range(80))
    assert "50 more are in the folder" in shown(run)


def test_a_sweep_without_a_figure_says_so():
    run = sweep_run(chosen=None, heats=())
    assert page_of(run).title == "No policy of this sweep has a known figure"


def test_monte_carlo_figures_stand_with_their_intervals():
    run = monte_carlo_run()
    page = shown(run)
    assert page_of(run).title == "Mean deepest fall: 30.0 % without hedge, 24.0 % with it"
    assert "<small>27.0 % to 33.0 %</small>" in page
    assert "-6.0 pts" in page
    (risk,) = [table for table in page_of(run).tables if table.name == "risk_1"]
    found = rows(risk)
    assert float(found[0]["hedged_p95"]) == pytest.approx(0.264)
    assert (found[1]["unhedged"], found[1]["hedged"]) == ("", "2.0")  # without hedge there is no such thing


def test_a_fan_has_its_quantiles_in_order_and_in_the_file():
    (policy,) = monte_carlo_run().policies
    figure = fans_page.fan(policy.fans[0])
    ends = [trace.y[-1] for trace in figure.data if trace.name.startswith("hedged")]
    assert ends == [ends[0], *ends[1:]]
    low, high, inner_low, inner_high, median = ends
    assert low < inner_low < median < inner_high < high
    table = next(item for item in page_of(monte_carlo_run()).tables if item.name == "fan_1_1")
    last = rows(table)[-1]
    assert float(last["hedged_p05"]) == low
    assert [float(last[f"unhedged_p{level:02d}"]) for level in (5, 25, 50, 75, 95)] == sorted(
        float(last[f"unhedged_p{level:02d}"]) for level in (5, 25, 50, 75, 95)
    )


def test_a_histogram_parts_at_zero_and_counts_every_path():
    (policy,) = monte_carlo_run().policies
    better, worse = fans_page.histogram(policy.differences[0]).data
    assert (better.name, worse.name) == ("the hedge did better", "the hedge did worse")
    assert (better.x[0], worse.x[-1]) == (0.0, 0.0)
    assert sum(better.y[:-1]) + sum(worse.y[:-1]) == pytest.approx(1.0)
    titles = [panel.title for panel in page_of(monte_carlo_run()).panels]
    assert "Value at the end: the hedge did no worse on 40.0 % of the paths" in titles


def test_several_policies_stand_on_one_page():
    page = page_of(monte_carlo_run(2))
    assert {"risk_1", "risk_2", "fan_2_1"} <= {table.name for table in page.tables}
    assert any(panel.title.endswith("(policy 1)") for panel in page.panels)


def test_every_text_of_every_page_is_escaped():
    evil = "<script>alert(1)</script>"
    runs = (
        windows_run(title=evil, assumptions=(evil,), gaps=(evil,), missing=(evil,), checks=((evil, evil),)),
        sweep_run(title=evil, checks=((evil, evil),), constraints=(evil,), assumptions=(evil,)),
    )
    for run in runs:
        assert evil not in page_text(page_of(run))
        assert html.escape(evil) in page_text(page_of(run))


def test_a_heat_map_of_one_value_draws():
    heat = sweep_page.heat_map(sweep_run().heats[0], "removed")
    assert heat.layout.shapes[0].x0 == -0.5
    assert np.isfinite(heat.layout.height)
