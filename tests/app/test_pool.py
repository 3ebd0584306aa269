"""Pieces of a run in processes: each answer in its place, and nothing left behind however it ends."""

import multiprocessing
import signal
import subprocess
import sys
import time
from contextlib import closing, suppress
from pathlib import Path

import pool_children
import pytest

from bot.app.pool import in_processes
from bot.errors import ConfigError, TransientError


def run(work, pieces, processes=2):
    return in_processes(work, pieces, processes, length=lambda piece: len(str(piece)))


def nobody_is_left():
    until = time.monotonic() + 20.0
    while multiprocessing.active_children() and time.monotonic() < until:
        time.sleep(0.02)
    return not multiprocessing.active_children()


def test_each_answer_has_its_place_and_nothing_is_printed(capfd):
    assert dict(run(pool_children.double, [1, 22, 333])) == {0: 2, 1: 44, 2: 666}
    assert capfd.readouterr().out == ""
    assert nobody_is_left()


def test_a_refusal_arrives_as_it_is_and_ends_what_still_runs():
    started = time.monotonic()
    with pytest.raises(ConfigError, match="333 is refused"):
        list(run(pool_children.refuse, [1, 22, 333]))
    assert nobody_is_left()
    assert time.monotonic() - started < 50.0


def test_a_process_that_is_killed_is_one_line():
    with pytest.raises(TransientError, match="fewer --processes") as refusal:
        list(run(pool_children.die, [1, 22]))
    assert "\n" not in str(refusal.value)
    assert nobody_is_left()


def test_what_runs_ends_with_its_consumer(tmp_path):
    """As on Ctrl-C: what is done was handed over, the rest is not waited for."""
    started, mark = time.monotonic(), tmp_path / "running"
    with closing(run(pool_children.first_waits, [str(mark), ""])) as found:
        assert next(found) == (1, 0)
        while not mark.exists():
            time.sleep(0.02)
    assert nobody_is_left()
    assert time.monotonic() - started < 50.0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_whoever_is_killed_leaves_no_process_at_work(number):
    code = (
        "import time; from bot.app.pool import in_processes; "
        "list(in_processes(time.sleep, [600.0, 600.0], 2, length=float))"
    )
    parent = subprocess.Popen([sys.executable, "-c", code])
    try:
        workers = wait_for(lambda: begun(parent.pid), many=2)
    finally:
        parent.send_signal(number)
        parent.wait(10)
    assert wait_for(lambda: {pid for pid in workers if not Path(f"/proc/{pid}").exists()}, many=2)


def begun(parent):
    """Return the workers of a process that have put Ctrl-C aside: those wait for their parent's end."""
    found = set()
    for stat in Path("/proc").glob("[0-9]*/status"):
        with suppress(OSError):
            lines = dict(line.split(":\t", 1) for line in stat.read_text().splitlines() if ":\t" in line)
            is_worker = int(lines["PPid"]) == parent and int(lines["Threads"]) > 1
            if is_worker and int(lines["SigIgn"], 16) >> (signal.SIGINT - 1) & 1:
                found.add(int(stat.parent.name))
    return found


def wait_for(looked, *, many):
    until = time.monotonic() + 30.0
    while len(found := looked()) < many and time.monotonic() < until:
        time.sleep(0.05)
    assert len(found) == many
    return found
