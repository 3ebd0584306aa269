"""What systemd hears: a real datagram socket, and a loop that stands still."""

import asyncio
import socket
import threading
import time

import pytest
from send_tools import until

from bot.observe.stalls import StallWatch
from bot.observe.supervisor import Supervisor
from bot.settings import supervisor_of_environment


@pytest.fixture
def notified(tmp_path):
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(str(tmp_path / "notify"))
        listener.setblocking(False)
        yield str(tmp_path / "notify"), lambda: listener.recv(1_000).decode()


async def test_words_go_to_the_supervisor_and_the_watchdog_hears_while_the_program_lives(notified):
    address, heard = notified
    supervisor = Supervisor(address=address, watchdog_s=0.03)
    supervisor.tell("READY=1", "STATUS=following chain 1")
    assert heard() == "READY=1\nSTATUS=following chain 1"
    alive = True
    task = asyncio.create_task(supervisor.watch(lambda: alive))
    await asyncio.sleep(0.05)
    assert heard() == "WATCHDOG=1"
    alive = False
    await asyncio.sleep(0.02)
    while True:
        try:
            assert heard() == "WATCHDOG=1"
        except BlockingIOError:
            break
    await asyncio.sleep(0.05)
    with pytest.raises(BlockingIOError):
        heard()
    task.cancel()


def test_a_supervisor_that_does_not_listen_is_no_trouble(tmp_path):
    Supervisor(address=str(tmp_path / "nobody")).tell("READY=1")
    Supervisor(address="@alvh-test-nobody").tell("READY=1")


def test_the_environment_says_who_listens_and_how_often(monkeypatch):
    assert supervisor_of_environment() == ("", 0.0)
    monkeypatch.setenv("NOTIFY_SOCKET", "/run/x")
    monkeypatch.setenv("WATCHDOG_USEC", "30000000")
    assert supervisor_of_environment() == ("/run/x", 30.0)
    monkeypatch.setenv("WATCHDOG_PID", "1")
    assert supervisor_of_environment() == ("/run/x", 0.0), "another process is watched"
    monkeypatch.delenv("WATCHDOG_PID")
    monkeypatch.setenv("WATCHDOG_USEC", "soon")
    assert supervisor_of_environment() == ("/run/x", 0.0)


async def test_a_loop_that_stands_still_is_told_while_it_stands_and_when_it_goes_on():
    """REL-H6, at a third of its times: the thread hears of it before the loop comes round."""
    told, ended = [], []

    def hear(seconds, where):
        told.append((seconds, where, threading.current_thread().name, bool(ended)))

    watch = StallWatch(on_stall=hear, on_end=lambda *what: ended.append(what), stall_s=1.0, beat_s=0.02)
    beat = asyncio.create_task(watch.beat())
    with watch.watching():
        await asyncio.sleep(0.05)
        assert (told, ended) == ([], [])
        began_s = time.monotonic()
        while not told and time.monotonic() - began_s < 30.0:
            time.sleep(0.01)  # noqa: ASYNC251 - the fault
        time.sleep(0.3)  # noqa: ASYNC251 - likewise: it goes on after it was told
        assert len(told) == 1
        await until(lambda: ended)
    beat.cancel()
    ((seconds, where, thread, had_ended),) = told
    assert 1.0 <= seconds < 2.5
    assert (thread, had_ended) == ("stall-watch", False)
    assert "test_supervisor.py" in where
    ((stood_s, same),) = ended
    assert seconds < stood_s
    assert same == where
    assert not [item for item in threading.enumerate() if item.name == "stall-watch"]
