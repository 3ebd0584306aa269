"""Processes of a sweep: the same results as in one, whatever dies on the way, and none left behind."""

import os
import signal
from dataclasses import replace
from pathlib import Path

import pytest
import sweep_children
from history_builders import DataFolder
from sweep_builders import hours_study, ignored, jobs_of

from bot.errors import ConfigError, TransientError
from bot.simulation.exposures import parse_exposure
from bot.simulation.sweep.study import data_digest
from bot.simulation.sweep.workers import Here, LocalWorkers


def test_processes_give_the_results_of_one(folder: DataFolder):
    study, jobs = hours_study(folder.path), jobs_of("20 %", "25 %", "30 %")
    with Here(study) as here:
        expected = dict(here.run(jobs, ignored))
    with LocalWorkers(study, 2) as workers:
        found = dict(workers.run(jobs, ignored))
        again = dict(workers.run(jobs[:1], ignored))  # by the same processes
    assert sorted(found) == [0, 1, 2]
    for at, item in found.items():
        assert repr(item) == repr(expected[at])  # to the last bit, NaN included
    assert repr(again) == repr({0: expected[0]})


def test_what_an_evaluation_refuses_arrives_as_it_is(folder: DataFolder):
    study = hours_study(folder.path)
    folder.remove("eth_usdt_spot_1h_binance")
    with (
        LocalWorkers(study, 1) as workers,
        pytest.raises(ConfigError, match=r"eth_usdt_spot_1h_binance.csv.gz is not in"),
    ):
        list(workers.run(jobs_of("20 %"), ignored))


def test_a_job_whose_process_dies_is_run_again_by_another(tmp_path: Path):
    told: list[tuple[int, int]] = []
    with LocalWorkers({"folder": tmp_path}, 2, serve=sweep_children.die_once) as workers:  # type: ignore[arg-type]
        found = dict(workers.run(["a", "b", "c", "d"], lambda at, hours: told.append((at, hours))))  # type: ignore[list-item]
    assert {at: item[0] for at, item in found.items()} == {0: "a", 1: "b", 2: "c", 3: "d"}
    assert sorted(told) == [(at, 5) for at in range(4)]


def test_a_process_that_dies_with_nothing_to_do_is_replaced_at_the_next_job(tmp_path: Path):
    """A Bayesian search asks in rounds: between two of them a process may wait, and be ended."""
    with LocalWorkers({"folder": tmp_path}, 1, serve=sweep_children.die_idle) as workers:  # type: ignore[arg-type]
        first = dict(workers.run(["a"], ignored))  # type: ignore[list-item]
        workers._workers[0].process.join(30.0)
        second = dict(workers.run(["b", "c"], ignored))  # type: ignore[list-item]
    assert first == {0: ["a"]}
    assert second == {0: ["b"], 1: ["c"]}


def test_a_job_that_ends_every_process_is_given_up(tmp_path: Path):
    words = "an evaluation ended its process 3 times, last with code 7; what is done is kept"
    with (
        LocalWorkers({"folder": tmp_path}, 1, serve=sweep_children.die) as workers,  # type: ignore[arg-type]
        pytest.raises(TransientError, match=words),
    ):
        list(workers.run(["a"], ignored))  # type: ignore[list-item]


def test_leaving_ends_processes_in_the_middle_of_a_job(tmp_path: Path):
    """As Ctrl-C does: it is raised where results are waited for."""

    def interrupt(*_: object) -> None:
        if len(list(tmp_path.iterdir())) == 2:
            signal.setitimer(signal.ITIMER_REAL, 0.0)  # once: a second one would end the clearing up
            raise KeyboardInterrupt

    before = signal.signal(signal.SIGALRM, interrupt)
    signal.setitimer(signal.ITIMER_REAL, 0.1, 0.1)
    try:
        with (
            pytest.raises(KeyboardInterrupt),
            LocalWorkers({"folder": tmp_path}, 2, serve=sweep_children.hang) as workers,  # type: ignore[arg-type]
        ):
            list(workers.run(["a", "b"], ignored))  # type: ignore[list-item]
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0.0)
        signal.signal(signal.SIGALRM, before)
    assert not any(_lives(int(path.name)) for path in tmp_path.iterdir())


def _lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_whatever_could_change_a_result_changes_what_it_is_kept_under(folder: DataFolder):
    study = hours_study(folder.path)
    others = [
        replace(study, data_digest="other"),
        replace(study, spec=parse_exposure("v2:ETH/USDC:2000000")),
        replace(study, market=replace(study.market, fee_apr=0.1)),
        replace(study, spans=study.spans[:0]),
        hours_study(folder.path, hours=9),
    ]
    assert len({item.digest for item in [study, *others]}) == len(others) + 1
    assert hours_study(folder.path).digest == study.digest
    folder.dropped["perp_funding_multi"] = {3}
    folder.write_all()
    assert data_digest(folder.path) != study.data_digest


def test_a_study_does_not_care_where_its_data_lie(folder: DataFolder):
    study = hours_study(folder.path)
    assert replace(study, data=Path("elsewhere")).digest == study.digest
