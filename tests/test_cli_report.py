"""``alvh report`` over saved runs, and ``alvh backtest --report``, as a person runs them."""

from pathlib import Path

import pytest
from commands import CommandServer
from history_builders import DataFolder
from report_builders import sweep_run, windows_run

from bot.simulation.report.files import write_run

STRETCH = ("--exposure", "v2:ETH/USDC:1000000", "--from", "2022-04-10", "--to", "2022-04-10")


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A folder with two saved runs of windows and one of a sweep."""
    runs = {"before": windows_run(), "after": windows_run(hours=41_000, policies={}), "sweep": sweep_run()}
    for name, run in runs.items():
        (tmp_path / name).mkdir()
        write_run(run, tmp_path / name / "run.json")
    return tmp_path


def test_a_backtest_leaves_a_folder_that_can_be_reported_again_and_compared(
    server: CommandServer, tmp_path: Path
):
    (tmp_path / "data").mkdir()
    DataFolder(path=tmp_path / "data").write_all()
    for policy in ("classic", "steward"):
        words = ("backtest", "--data", "data", *STRETCH, "--policy", policy, "--report", policy)
        ended = server.start(*words, cwd=tmp_path).wait()
        assert ended.code == 0, ended
        assert ended.out.rstrip().endswith(f"report: {policy}")
    again = server.start("report", "steward", "--report", "again", cwd=tmp_path).wait()
    assert again.code == 0, again
    pages = [(tmp_path / name / "index.html").read_bytes() for name in ("steward", "again")]
    assert pages[0] == pages[1]
    both = server.start("report", "classic", "steward/run.json", cwd=tmp_path).wait()
    assert both.code == 0, both
    assert "first: classic; second: steward" in both.out
    assert max(map(len, both.out.splitlines())) <= 80
    page = (tmp_path / "alvh-report.html").read_text(encoding="utf-8")
    assert "near.instrument" in page  # a key in which the presets differ


def test_a_saved_run_is_headed_as_its_page(server: CommandServer, home: Path):
    ended = server.start("report", "before", "--report", "page.html", cwd=home).wait()
    assert ended.code == 0, ended
    assert "ALVH steward removed 18.0 % of the fall" in " ".join(ended.out.split())
    assert (home / "page.html").read_text(encoding="utf-8").startswith("<!doctype html>")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("nowhere",), ("nowhere", "cannot be read", "run.json")),
        (("before", "sweep"), ("before", "windows run", "sweep", "one kind")),
        (("before", "before"), ("before", "name two")),
        (("before", "after", "sweep"), ("one run or two", "was 3")),
        (("before", "--report", "none/page.html"), ("none", "folder")),
        (("before", "--report", "."), (".", "folder holds")),
        (("page.html", "--report", "other.html"), ("page.html", "other.html")),
        (("--config", "none.toml"), ("none.toml",)),
    ],
    ids=" ".join,
)
def test_what_cannot_be_reported_is_refused_in_one_line(server: CommandServer, home: Path, words, said):
    before = sorted(home.rglob("*"))
    server.start("report", *words, cwd=home).wait().refused(4, *said)
    assert sorted(home.rglob("*")) == before


def test_a_report_of_a_newer_program_is_refused(server: CommandServer, home: Path):
    run = home / "before" / "run.json"
    run.write_text(run.read_text().replace('"version": 1', '"version": 9'))
    server.start("report", "before", cwd=home).wait().refused(4, "version 9", "reads 1")
