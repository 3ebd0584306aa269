"""``alvh sweep`` as a person runs it: what it refuses, what it keeps, what it prints."""

import gc
import json
import os
import signal
import time
import warnings
from pathlib import Path

import pytest
import typer
from commands import CommandServer
from history_builders import DataFolder

from bot.cli.shared import keeping
from bot.output import with_json_target

WINDOWS = "id,start_utc,end_utc_exclusive,kind\n" + "".join(
    f"crash_{at},2022-04-{day},2022-04-{day + 1},crisis\n" for at, day in enumerate((10, 12, 16, 20))
)
OPTIONS = {
    "--windows": "windows.csv",
    "--exposure": "v2:ETH/USDC:1000000",
    "--set": "near.delta_share.ELEVATED=25%,30%",
    "--lead": "0",
    "--folds": "4",
    "--processes": "1",
}


@pytest.fixture
def data(tmp_path: Path) -> DataFolder:
    (tmp_path / "windows.csv").write_text(WINDOWS)
    folder = tmp_path / "data"
    folder.mkdir()
    return DataFolder(path=folder).write_all()


def words_of(made: DataFolder, **changes: str) -> list[str]:
    named = {f"--{name.replace('_', '-')}": value for name, value in changes.items()}
    return [part for pair in {"--data": str(made.path), **OPTIONS, **named}.items() for part in pair]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"set": "tiers.fast_vot=0.6,0.7"}, ("'tiers.fast_vot'", "tiers.fast_vote")),
        ({"set": "tiers.fast_vote=0.6,1.7"}, ("tiers.fast_vote", "1.7")),
        ({"set": "tiers.fast_vote"}, ("--set", "KEY")),
        ({"space": "nowhere.toml"}, ("nowhere.toml", "cannot be read")),
        ({"policy": "stewart"}, ("stewart", "steward")),
        ({"method": "anneal"}, ("--method", "anneal", "grid")),
        ({"trials": "0"}, ("--trials", "0")),
        ({"seed": "x"}, ("--seed", "x")),
        ({"folds": "3"}, ("--folds", "3")),
        ({"objective": "profit"}, ("--objective", "profit", "efficiency")),
        ({"max_carry": "0.05"}, ("--max-carry", "0.05", "percentage")),
        ({"hold_out": "0.95"}, ("--hold-out", "0.95")),
        ({"embargo": "-1"}, ("--embargo", "-1")),
        ({"lead": "-1"}, ("--lead", "-1")),
        ({"windows": "nowhere.csv"}, ("nowhere.csv",)),
        ({"data": "nowhere"}, ("--data", "nowhere")),
        ({"exposure": "v9:ETH/USDC:1"}, ("v9",)),
        ({"ray": "nobody"}, ("--ray", "nobody", "HOST:PORT")),
        ({"results": "absent/r.jsonl"}, ("absent/r.jsonl", "--results")),
        ({"json": "absent/r.json"}, ("--json", "absent")),
        ({"report": "absent/r.html"}, ("--report", "absent")),
    ],
    ids=str,
)
def test_a_sweep_that_cannot_be(server: CommandServer, tmp_path: Path, data: DataFolder, changes, words):
    ended = server.start("sweep", *words_of(data, **changes), cwd=tmp_path).wait()
    ended.refused(4, *(word.replace("KEY", "key=a,b,c") for word in words))
    assert not (tmp_path / "alvh-sweep.jsonl").exists() or not (tmp_path / "alvh-sweep.jsonl").read_text()


def test_a_ray_that_does_not_answer(server: CommandServer, tmp_path: Path, data: DataFolder):
    ended = server.start("sweep", *words_of(data, ray="127.0.0.1:1"), cwd=tmp_path).wait()
    ended.refused(1, "Ray at 127.0.0.1:1 does not answer")


def test_a_sweep_that_is_interrupted_goes_on_where_it_was(
    server: CommandServer, tmp_path: Path, data: DataFolder
):
    given = words_of(data)
    results = tmp_path / "alvh-sweep.jsonl"
    running = server.start("sweep", *given, cwd=tmp_path)
    until = time.monotonic() + 120.0
    while not (results.exists() and results.read_text().count("\n")) and time.monotonic() < until:
        time.sleep(0.02)
    os.kill(running.pid, signal.SIGINT)
    ended = running.wait()
    assert (ended.code, ended.out) == (1, "")
    assert "every finished evaluation is kept in alvh-sweep.jsonl: the same command goes on" in ended.err
    assert results.read_text().count("\n") == 1

    ended = server.start("sweep", *given, cwd=tmp_path).wait()
    assert ended.code == 0, ended
    assert "2 policies of this study; 1 run now" in ended.out
    for words in ("steward as it is", "removed", "a  near.delta_share.ELEVATED", "What it is worth"):
        assert words in ended.out
    document = server.start("sweep", *given, "--json", cwd=tmp_path).wait().document
    assert [row["values"] for row in sorted(document["rows"], key=lambda row: row["place"])] == [
        {"near.delta_share.ELEVATED": "25%"},
        {"near.delta_share.ELEVATED": "30%"},
    ]
    server.start("sweep", *given, "--json", "out.json", "--report", "sweep.html", cwd=tmp_path).wait()
    assert "near.delta_share.ELEVATED" in (tmp_path / "sweep.html").read_text()
    assert json.loads((tmp_path / "out.json").read_text()) == document


def test_an_interrupted_backtest_says_what_it_keeps(server: CommandServer, tmp_path: Path, data: DataFolder):
    """One line, and the exit code of an error."""
    given = {name: OPTIONS[name] for name in ("--windows", "--exposure", "--lead")}
    words = [part for pair in {"--data": str(data.path), **given}.items() for part in pair]
    running = server.start("backtest", *words, "--keep", "kept", "--processes", "1", cwd=tmp_path)
    until = time.monotonic() + 120.0
    while not list(tmp_path.glob("kept/*.npz")) and time.monotonic() < until:
        time.sleep(0.02)
    os.kill(running.pid, signal.SIGINT)
    ended = running.wait()
    assert (ended.code, ended.out) == (1, "")
    said = "interrupted; finished parts are kept in kept: the same command goes on from there"
    assert ended.err.splitlines()[-1] == said


def test_ctrl_c_before_a_coroutine_has_begun_is_one_line_too(capfd: pytest.CaptureFixture[str]):
    """Python warns of a coroutine that is dropped before its first step, after the line of the command."""

    async def segment() -> None: ...

    def interrupted() -> None:
        begun = segment()
        try:
            raise KeyboardInterrupt
        finally:
            assert begun.cr_frame is not None

    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("default")
        with pytest.raises(typer.Exit), keeping("parts are kept in kept"):
            interrupted()
        gc.collect()
    assert seen == []
    assert capfd.readouterr().err.startswith("interrupted; parts are kept in kept: ")


def test_an_interrupted_run_that_keeps_nothing_says_one_word(server: CommandServer, tmp_path: Path):
    """Its scenario is a pipe: once that is open, the command is at work."""
    os.mkfifo(tmp_path / "slow.toml")
    running = server.start("stress", "slow.toml", cwd=tmp_path)
    with (tmp_path / "slow.toml").open("w"):
        os.kill(running.pid, signal.SIGINT)
        ended = running.wait()
    assert (ended.code, ended.out, ended.err) == (1, "", "interrupted\n")


def test_ray_without_an_address_means_this_machine():
    assert with_json_target(["sweep", "--ray", "--json"]) == ["sweep", "--ray", "here", "--json", "-"]
    assert with_json_target(["sweep", "--ray", "host:6379"]) == ["sweep", "--ray", "host:6379"]
