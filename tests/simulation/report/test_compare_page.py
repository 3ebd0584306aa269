"""Two runs side by side: what differs is said, what is alike is not, and only like is compared with like."""

from dataclasses import replace

import numpy as np
import pytest
from report_builders import monte_carlo_run, strategy, sweep_run, windows_run

from bot.errors import ConfigError
from bot.simulation.report.compare_page import (
    Side,
    curves,
    differing_keys,
    figures_table,
    page_of,
    summary_lines,
)
from bot.simulation.report.page import page_text


def sides(one, two):
    return Side(name="one", run=one), Side(name="two", run=two)


def test_the_difference_of_every_figure_is_the_seconds_less_the_firsts(crash_report):
    other = replace(
        crash_report, hedged_usd=crash_report.hedged_usd - 1_000.0 * np.arange(crash_report.times_s.size)
    )
    table = figures_table(*sides(crash_report, other))
    found = {row[0]: row for row in table.rows}
    _, unit, first, second, difference = found["Fall with hedge"]
    assert (unit, first, second) == ("share", crash_report.hedged_drawdown, other.hedged_drawdown)
    assert difference == pytest.approx(second - first)
    lines = dict((line[0], line[1:]) for line in summary_lines(*sides(crash_report, other)))
    assert "Fall with hedge" in lines
    assert "Fall without hedge" not in lines


def test_a_run_against_itself_differs_in_nothing(crash_report):
    page = page_of(*sides(crash_report, crash_report))
    assert summary_lines(*sides(crash_report, crash_report)) == []
    titles = [panel.title for panel in page.panels]
    assert "No figure differs" in titles
    assert "One policy for both" in titles
    assert "Both assume the same of the market" in titles


def test_differing_policy_keys_are_listed_as_the_files_write_them(crash_report):
    other = replace(crash_report, policy={"tiers.fast_vote": "off", "budget.days": "30"})
    table = differing_keys(*sides(crash_report, other))
    assert table.rows == (
        ("budget.days", "not stated", "30"),
        ("tiers.fast_vote", "0.75", "off"),
    )
    page = page_text(page_of(*sides(crash_report, other)))
    assert "The policies differ in 2 keys" in page
    unknown = page_text(page_of(*sides(crash_report, replace(crash_report, policy={}))))
    assert "two does not say its policy" in unknown


def test_runs_of_one_time_and_size_share_their_axes(crash_report):
    figure, words = curves(*pairs(crash_report, crash_report))
    assert words == ""
    assert figure.data[0].x[0].startswith("2022-04-08")
    assert figure.data[0].y[0] > 1e5


def test_runs_of_another_time_and_size_are_laid_over_each_other(crash_report):
    later = replace(
        crash_report,
        times_s=crash_report.times_s + 10**8,
        unhedged_usd=2.0 * crash_report.unhedged_usd,
        hedged_usd=2.0 * crash_report.hedged_usd,
    )
    figure, words = curves(*pairs(crash_report, later))
    assert "share of its first value" in words
    assert "begin at day 0" in words
    named = {trace.name: trace for trace in figure.data}
    assert named["one"].x[0] == named["two"].x[0] == 0.0
    assert list(named["one"].y) == list(named["two"].y)


def pairs(one, two):
    first, second = sides(one, two)
    return first, one, second, two


def test_windows_are_compared_strategy_by_strategy():
    other = windows_run(strategies=(strategy("alvh_steward", 0.25, 0.05),), own=("alvh_steward",))
    lines = {line[0]: line[1:] for line in summary_lines(*sides(windows_run(), other))}
    assert lines["ALVH steward: removed"] == ("18.0 %", "25.0 %", "+7.0 pts")
    assert "PPUT-like: removed" not in lines  # the second has none: unknown is no difference
    keys = differing_keys(*sides(windows_run(), windows_run(policies={"alvh_steward": {}})))
    assert [row[0] for row in keys.rows] == ["alvh_classic: tiers.fast_vote", "alvh_steward: tiers.fast_vote"]


@pytest.mark.parametrize("made", [windows_run, sweep_run, monte_carlo_run])
def test_every_kind_can_be_compared_with_its_like(made):
    assert page_text(page_of(*sides(made(), made()))).count("plotly.js v") == 1


def test_two_kinds_are_refused():
    with pytest.raises(ConfigError, match="one is a windows run and two a sweep run"):
        page_of(*sides(windows_run(), sweep_run()))
