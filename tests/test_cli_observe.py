"""A run that is looked at: metrics, health, JSON lines, alerts, a supervisor; what its start refuses."""

import json
import os
import signal
import socket
import stat
import threading
import urllib.error
import urllib.request
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest
from commands import Home
from small_disk import fill, small_disk

from bot.pipeline.loop import Pipeline

pytestmark = [pytest.mark.devnet, pytest.mark.xdist_group("cli")]

SECRET_PATH = "a-secret-path-of-the-hook"


def free_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return taken.getsockname()[1]


@pytest.fixture
def receiver():
    """A webhook's receiver in a thread, and what came."""
    came = []

    class Take(BaseHTTPRequestHandler):
        def do_POST(self):
            came.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_):
            pass

    server = HTTPServer(("127.0.0.1", 0), Take)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    yield server.server_address[1], came
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def supervised(tmp_path):
    """What a supervisor at the socket "notify" hears; it listens all the time, for the queue is short."""
    heard = []
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(str(tmp_path / "notify"))

        def listen():
            while said := listener.recv(500):
                heard.append(said.decode())

        thread = threading.Thread(target=listen)
        thread.start()
        yield heard
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as last:
            last.sendto(b"", str(tmp_path / "notify"))
        thread.join()


def asked(port: int, path: str) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=5) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()
    except urllib.error.URLError:
        return 0, ""


def test_a_run_is_seen_from_all_sides(home: Home, receiver, supervised, tmp_path):
    """One run: a warning goes to a real webhook, a second target fails and is shown everywhere."""
    hook, came = receiver
    port, log = free_port(), home.folder / "logs.jsonl"
    targets = f"""
[alerts]
urls = ["json://127.0.0.1:1/{SECRET_PATH}"]
least = "info"
alive_at = "00:00"

[[alerts.targets]]
url = "http://127.0.0.1:{hook}/{SECRET_PATH}"
secret = "sixteen letters and more"
"""
    home.config.write_text(home.config.read_text() + targets)
    home.env |= {"NOTIFY_SOCKET": str(tmp_path / "notify"), "WATCHDOG_USEC": "6000000"}
    running = home.start("run", "--metrics", str(port), "--log-file", str(log))
    running.until(lambda: asked(port, "/health")[0] == 200)
    running.until(lambda: came)
    _, metrics = asked(port, "/metrics")
    document = json.loads(asked(port, "/health")[1])
    well = home.alvh("health", "--port", str(port), "--json")
    status = home.alvh("status", "--json").document
    os.kill(running.pid, signal.SIGTERM)
    ended = running.wait()
    assert ended.code == 0, ended
    running.until(lambda: supervised[-1:] == ["STOPPING=1"])  # the listener may be behind
    assert supervised[0] == "READY=1\nSTATUS=following chain 31337"
    assert "WATCHDOG=1" in supervised
    assert (well.code, well.document["state"]) == (0, "deciding")
    assert (document["mode"], document["journal_writable"]) == ("dry-run", True)
    assert [item["target"] for item in document["alerts"]] == ["1 JSON", "2 signed webhook"]
    for name in ("alvh_tier{", "alvh_budget_left_usd{", "alvh_spot_usd{", "alvh_chain_block_number{"):
        assert name in metrics, name
    assert 'alvh_build_info{mode="dry-run"' in metrics
    assert came, "the webhook took what the other target did not"
    assert all(item["text"].endswith(tuple("abcdefghijklmnopqrstuvwxyz")) for item in came)
    failing = next(item for item in status["alerts"]["targets"] if item["target"] == "1 JSON")
    assert failing["waiting"] >= 1
    assert failing["failures"] >= 1
    assert stat.S_IMODE(log.stat().st_mode) == 0o600
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    kinds = {item["event"] for item in lines}
    assert {"decision", "notice", "alert", "trouble"} <= kinds
    told = log.read_text() + ended.err + ended.out + metrics + json.dumps(document) + json.dumps(status)
    assert SECRET_PATH not in told
    gone = home.alvh("health", "--port", str(port))
    assert (gone.code, gone.out) == (3, f"not running: no bot answers on 127.0.0.1:{port}\n")
    assert home.alvh("health").code == 3, "by the journal too"


@pytest.fixture
def told(home: Home, receiver):
    """The titles that a webhook of this home was told."""
    hook, came = receiver
    home.config.write_text(
        f'{home.config.read_text()}\n[alerts]\nurls = ["json://127.0.0.1:{hook}/x"]\nsettle_s = 0\n'
    )
    return lambda: [item["title"].removeprefix("[alvh dry-run] ") for item in came]


def test_a_start_that_fails_is_told_once_and_over_with_the_first_decision(home: Home, told):
    """REL-I13: a supervisor tries every few seconds, and nobody would know."""
    home.change(r"poll_s = 0\.05", "poll_s = 0.05\ntimeout_s = 0.5")
    whole = home.config.read_text()
    home.change(r'rpc_url = "[^"]*"', f'rpc_url = "http://127.0.0.1:{free_port()}"')
    for _ in range(2):
        assert home.alvh("run", "--once").code in (1, 5)
    assert told() == ["the bot cannot start"]
    home.config.write_text(whole)
    assert home.alvh("run", "--once").code == 0
    assert "over: the bot cannot start" in told()


def raise_in_each_step() -> None:
    """Put a bug into the loop of the command that is started next."""

    async def step(_self, _moment):
        raise ValueError("https://node.example/s3cr3t")

    Pipeline.step = step


def test_a_bug_in_a_step_is_told(home: Home, told):
    ended = home.alvh("run", "--once", arm=[[f"{__name__}:raise_in_each_step"]])
    assert ended.code not in (0, 4)
    assert told() == ["the bot cannot start"]


def test_a_second_bot_alarms_nobody(home: Home, told):
    first = home.start("run", "--json")
    first.until(lambda: first.out.count("\n") >= 1)
    home.alvh("run", "--once").refused(4, "in use")
    os.kill(first.pid, signal.SIGTERM)
    assert first.wait().code == 0
    assert "the bot cannot start" not in told()


def test_a_start_on_a_full_disk_is_told_and_goes_on_once_there_is_room(home: Home, told, tmp_path):
    """REL-H1: exit code 4 would keep a supervisor from ever trying again."""
    (tmp_path / "disk").mkdir()
    with small_disk(tmp_path / "disk") as folder:
        home.change(r'state_dir = "[^"]*"', f'state_dir = "{folder}"')
        filler = fill(folder)
        running = home.start("run", "--json")
        running.until(told)
        assert told() == ["the disk is full: nothing is decided"]
        assert running.is_alive
        filler.unlink()
        running.until(lambda: running.out)
        os.kill(running.pid, signal.SIGTERM)
        assert running.wait().code == 0


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--metrics", "0"), ("--metrics", "0")),
        (("--log-file", "missing/folder/x.log"), ("log missing/folder/x.log cannot be opened", "--log-file")),
    ],
    ids=["port", "log"],
)
def test_what_cannot_be_served_or_written_is_refused_at_the_start(home: Home, arguments, words):
    home.alvh("run", "--once", *arguments).refused(4, *words)


def test_a_port_that_is_taken_is_refused_in_one_line(home: Home):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        home.alvh("run", "--once", "--metrics", str(port)).refused(4, f"127.0.0.1:{port}", "another program")


def test_something_else_on_the_port_is_no_healthy_bot(home: Home, receiver):
    ended = home.alvh("health", "--port", str(receiver[0]))
    assert ended.code == 1
    assert ended.out.startswith("unknown: what answers on 127.0.0.1:")
