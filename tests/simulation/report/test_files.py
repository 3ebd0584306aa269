"""A report as a folder: page, run, CSV and PNG; runs that are read again give the same page."""

import csv
import html
import io
import json
import re
from dataclasses import replace
from datetime import UTC, datetime

import numpy as np
import pytest
from PIL import Image
from report_builders import monte_carlo_run, sweep_run, windows_run

from bot.errors import ConfigError
from bot.simulation.exposures import parse_exposure
from bot.simulation.report.files import page_of, write_report, write_run
from bot.simulation.report.page import page_text
from bot.simulation.report.saved_run import read_run, run_text
from bot.simulation.report.table import Kind, cell_text
from bot.simulation.report.target import refuse_bad_target
from bot.simulation.wording import strategy_name, usd

DAY_S = 86_400
SPEC = parse_exposure("v2:ETH/USDC:1000000")


@pytest.fixture(scope="module")
def folder(crash_report, tmp_path_factory):
    target = tmp_path_factory.mktemp("reports") / "steward"
    write_report(crash_report, target)
    return target


def rows(path):
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def seconds(text):
    return datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()


def test_a_folder_holds_the_page_the_run_and_a_file_for_each_table_and_figure(crash_report, folder):
    page = page_of(crash_report)
    assert sorted(item.name for item in folder.iterdir()) == ["csv", "index.html", "png", "run.json"]
    assert {item.stem for item in (folder / "csv").iterdir()} == {table.name for table in page.tables}
    assert {item.stem for item in (folder / "png").iterdir()} == {figure.name for _, figure in page.figures}
    assert (folder / "index.html").read_text(encoding="utf-8") == page_text(page)
    assert [item.name for item in folder.parent.iterdir()] == ["steward"]


def test_every_figure_is_drawn_as_png(folder):
    for path in (folder / "png").iterdir():
        with Image.open(path) as image:
            assert image.size[0] == 1260, path.name
            assert len(image.convert("RGB").getcolors(2**24)) > 20, path.name


def test_the_files_hold_the_pages_figures(crash_report, folder):
    page = html.unescape((folder / "index.html").read_text(encoding="utf-8"))
    for row in rows(folder / "csv" / "comparison.csv"):
        for name, kind in (("final_value_usd", Kind.USD), ("max_drawdown", Kind.SHARE)):
            assert cell_text(float(row[name]), kind) in page
    own = next(row for row in rows(folder / "csv" / "comparison.csv") if "ALVH" in row["strategy"])
    assert float(own["max_drawdown"]) == crash_report.hedged_drawdown
    assert usd(float(own["final_value_usd"])) in page


def test_the_waterfall_and_the_table_sum_to_the_result(crash_report, folder):
    table = rows(folder / "csv" / "attribution.csv")
    names = [name for name in table[0] if name != "part"]
    assert names == [f"{name}_usd" for name in crash_report.names]
    for name in names:
        parts = [float(row[name]) for row in table if row["part"] != "Total"]
        total = next(float(row[name]) for row in table if row["part"] == "Total")
        assert sum(parts) == pytest.approx(total, abs=1e-6)
        residual = next(float(row[name]) for row in table if row["part"] == "Residual")
        assert abs(residual) < 1e-6
    equity = rows(folder / "csv" / "equity.csv")
    gained = float(equity[-1]["alvh_usd"]) - float(equity[0]["unhedged_usd"])
    total = next(float(row["alvh_usd"]) for row in table if row["part"] == "Total")
    assert gained == pytest.approx(total)


def test_the_equity_file_holds_every_hour_and_its_falls(crash_report, folder):
    table = rows(folder / "csv" / "equity.csv")
    assert [seconds(row["ts"]) for row in table] == crash_report.times_s.tolist()
    falls = [float(row["alvh_fall"]) for row in table if row["alvh_fall"]]
    assert max(falls) == pytest.approx(crash_report.hedged_drawdown)
    assert {row["tier"] for row in table} == {item.name for item in crash_report.decided.tier_by_step}


def test_paid_received_and_held_make_the_net(crash_report, folder):
    for row in rows(folder / "csv" / "carry.csv"):
        if row["net_usd"]:
            paid, received, held, net = (
                float(row[name]) for name in ("paid_usd", "received_usd", "held_usd", "net_usd")
            )
            assert received + held - paid == pytest.approx(net, abs=1e-6)
    last = rows(folder / "csv" / "carry.csv")[-1]
    assert float(last["net_usd"]) == pytest.approx(crash_report.money.net_usd)
    assert float(last["held_usd"]) == pytest.approx(
        crash_report.money.mark_usd + crash_report.money.perpetual.open_usd, abs=1e-6
    )


@pytest.mark.parametrize(
    "made",
    [None, windows_run, sweep_run, monte_carlo_run],
    ids=("backtest", "windows", "sweep", "monte-carlo"),
)
def test_a_run_that_is_read_again_gives_the_same_page(crash_report, tmp_path, made):
    before = made() if made else crash_report
    write_run(before, tmp_path / "run.json")
    after = read_run(tmp_path)
    assert run_text(after) == run_text(before)
    assert page_text(page_of(after)) == page_text(page_of(before))
    head = json.loads(run_text(before))
    assert (head["format"], head["version"]) == ("alvh-run", 1)


def test_a_report_is_written_over_an_earlier_one_and_over_nothing_else(tmp_path):
    target = tmp_path / "report"
    write_report(windows_run(), target)
    write_report(sweep_run(), target)
    tables = {f"{table.name}.csv" for table in page_of(sweep_run()).tables}
    assert {item.name for item in (target / "csv").iterdir()} == tables
    (target / "notes.txt").touch()
    with pytest.raises(ConfigError, match=r"the folder holds notes\.txt"):
        write_report(sweep_run(), target)
    assert sorted(item.name for item in tmp_path.iterdir()) == ["report"]


@pytest.mark.parametrize(
    ("target", "words"),
    [
        ("none/report", "needs the folder"),
        ("none/report.html", "needs the folder"),
        ("folder.html", "is a folder"),
        ("file", "is a file that is no .html"),
    ],
)
def test_a_place_that_cannot_be_written_is_refused(tmp_path, target, words):
    (tmp_path / "folder.html").mkdir()
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match=words) as found:
        refuse_bad_target(tmp_path / target)
    assert "\n" not in str(found.value)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{", "cannot be read"),
        ("[]", "is no saved run"),
        ('{"format": "other", "run": {}}', "is no saved run"),
        (
            '{"format": "alvh-run", "version": 2, "kind": "sweep", "run": {}}',
            "version 2, this program reads 1",
        ),
        ('{"format": "alvh-run", "version": 1, "kind": "dream", "run": {}}', "'dream'"),
        ('{"format": "alvh-run", "version": 1, "kind": "sweep", "run": {}}', "is not whole"),
        ('{"format": "alvh-run", "version": 1, "kind": "sweep", "run": {"odd": 1}}', "is not whole"),
    ],
)
def test_a_file_that_is_no_run_is_refused_in_one_line(tmp_path, text, words):
    (tmp_path / "run.json").write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError, match=re.escape(words)) as found:
        read_run(tmp_path)
    assert "\n" not in str(found.value)


def test_a_run_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="cannot be read"):
        read_run(tmp_path / "none")


def test_a_part_that_was_changed_by_hand_shows_as_residual(crash_report):
    """The total is of the path of values: an order that is lost from the record does not vanish."""
    found = crash_report.attributions["alvh"]
    hedge = replace(found.hedge, premium_usd=0.0)
    assert replace(found, hedge=hedge).residual_usd == pytest.approx(found.hedge.premium_usd)


def test_values_between_are_kept_when_a_line_is_thinned():
    from bot.simulation.report.chart_style import thinned

    values = np.zeros(100_000)
    values[31_337], values[77_777] = -5.0, 7.0
    kept = thinned(values, most=400)
    assert kept.size <= 400
    assert {0, 31_337, 77_777, 99_999} <= set(kept.tolist())


def test_names_are_those_of_people(crash_report, folder):
    page = (folder / "index.html").read_text(encoding="utf-8")
    for name in crash_report.names:
        assert html.escape(strategy_name(name)) in page
    assert "perp_delta" not in re.sub(r"<script.*?</script>", "", page, flags=re.DOTALL)


def test_text_of_a_file_is_one_record_a_row(folder):
    for path in (folder / "csv").iterdir():
        text = path.read_text(encoding="utf-8")
        table = list(csv.reader(io.StringIO(text)))
        assert len({len(row) for row in table}) == 1, path.name
