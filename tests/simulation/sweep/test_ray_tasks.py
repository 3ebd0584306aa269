"""Ray: what is refused before anything is started, and what a cluster that says nothing costs.

The whole command on two nodes of which one is killed, its table compared, is ``scripts/campaign sweep``.
"""

import socket
import time
from collections.abc import Iterator
from dataclasses import replace

import pytest
from history_builders import DataFolder
from sweep_builders import hours_study, ignored, jobs_of, study

from bot.errors import ConfigError, DeadlineError, TransientError
from bot.simulation.sweep.ray_tasks import HERE, RayTasks, Shipment, run_task
from bot.simulation.sweep.study import code_digest, data_files
from bot.simulation.sweep.workers import Here


@pytest.fixture
def mute() -> Iterator[str]:
    """The address of somebody who takes connections and never says a word."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"127.0.0.1:{server.getsockname()[1]}"


@pytest.fixture
def closed() -> str:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return f"127.0.0.1:{server.getsockname()[1]}"


@pytest.mark.parametrize("address", ["cluster", "cluster:", ":6379", "host:port", "host:0", "ray://host", ""])
def test_an_address_that_is_none_is_refused(address: str):
    with (
        pytest.raises(ConfigError, match="--ray must be HOST:PORT or ray://HOST:PORT"),
        RayTasks(study(), address),
    ):
        pass


@pytest.mark.parametrize("scheme", ["", "ray://"])
def test_an_address_where_nobody_listens_is_refused_at_once(closed: str, scheme: str):
    def seconds() -> float:
        began = time.monotonic()
        words = rf"Ray at {scheme}{closed} does not answer: .*refused; start it"
        with pytest.raises(TransientError, match=words), RayTasks(study(), f"{scheme}{closed}"):
            pass
        return time.monotonic() - began

    assert any(seconds() < 2.0 for _ in range(3))


def test_an_address_that_never_answers_costs_its_time_limit_and_no_more(mute: str):
    tasks = RayTasks(study(), mute, connect_s=0.5)
    with pytest.raises(DeadlineError, match=rf"Ray at {mute} did not answer within 0.5 s"), tasks:
        pass
    assert tasks._process is None


@pytest.mark.campaign
def test_ray_gives_the_results_of_one_process(folder: DataFolder):
    """Two batches, as a Bayesian search asks for them."""
    here, jobs = hours_study(folder.path, hours=4), jobs_of("20 %", "25 %", "30 %")
    with Here(here) as executor:
        expected = dict(executor.run(jobs, ignored))
    with RayTasks(here, HERE) as tasks:
        found = dict(tasks.run(jobs, ignored))
        again = dict(tasks.run(jobs[1:2], ignored))
    assert {at: repr(item) for at, item in found.items()} == {at: repr(item) for at, item in expected.items()}
    assert repr(again) == repr({0: expected[1]})


def shipment_of(made: DataFolder, **change: str) -> Shipment:
    files = tuple((path.name, path.read_bytes()) for path in data_files(made.path))
    return Shipment(
        **{"study": hours_study(made.path, hours=4), "files": files, "code": code_digest(), **change}
    )


def test_a_node_without_the_data_is_sent_them(folder: DataFolder):
    (job,) = jobs_of("25 %")
    shipment = shipment_of(folder)
    expected = run_task(shipment, job)
    away = replace(shipment.study, data=folder.path / "elsewhere", data_digest="of another node")
    what, found = run_task(replace(shipment, study=away), job)
    assert what == "done"
    assert repr(found) == repr(expected[1])


def test_a_node_with_another_version_of_the_program_is_refused(folder: DataFolder):
    what, error = run_task(shipment_of(folder, code="other"), jobs_of("25 %")[0])
    assert what == "error"
    with pytest.raises(ConfigError, match="another version of this program"):
        raise error


def test_what_a_task_refuses_is_its_answer(folder: DataFolder):
    shipment = shipment_of(folder)
    away = replace(shipment.study, data=folder.path / "elsewhere", data_digest="without prices")
    files = tuple(item for item in shipment.files if not item[0].startswith("eth_usdt"))
    what, error = run_task(replace(shipment, study=away, files=files), jobs_of("25 %")[0])
    assert what == "error"
    assert isinstance(error, ConfigError)
    assert "eth_usdt_spot_1h_binance" in str(error)
