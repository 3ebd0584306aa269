"""The inside of the egress test: run as a script in a network namespace that has loopback and nothing else.

``egress_child.py FOLDER COMMAND ...``: starts a devnet, a webhook's receiver and a heartbeat's, writes the
configuration that names them, and runs each command of ``COMMANDS`` under strace. Writes FOLDER/seen.json
and one trace for each command beside it; egress.py reads them.
"""

import asyncio
import fcntl
import json
import os
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

from bot.devnet.config import write_config
from bot.devnet.node import Devnet, start_devnet
from bot.settings import cache_dir
from campaign.traced import LONGEST_TEXT, SYSCALLS

ALVH = Path(sys.executable).with_name("alvh")
WITHIN_S = 120.0
_SIOCSIFFLAGS, _IFF_UP, _SIOCGIFFLAGS = 0x8914, 0x1, 0x8913
_WITH_PID = 'echo $$ >"$0"; exec "$@"'


@dataclass(frozen=True, slots=True)
class World:
    """What is there to be reached, and what the receivers heard."""

    folder: Path
    node: str  # address:port, as all of these
    hook: str
    heart: str
    heard: set[str] = field(default_factory=set)

    def asked(self, port: int, path: str) -> bool:
        """True once something answers there, whatever it says."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=5):
                return True
        except OSError:
            return False


def raise_loopback() -> None:
    """Bring ``lo`` up, as ``ip link set lo up`` does."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
        asked = struct.pack("16sh", b"lo", 0).ljust(40, b"\0")
        (flags,) = struct.unpack_from("h", fcntl.ioctl(control, _SIOCGIFFLAGS, asked), 16)
        fcntl.ioctl(control, _SIOCSIFFLAGS, struct.pack("16sh", b"lo", flags | _IFF_UP).ljust(40, b"\0"))


def free_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return int(taken.getsockname()[1])


@contextmanager
def receiver(name: str, heard: set[str]) -> Iterator[str]:
    """Take whatever comes, and put ``name`` into ``heard``; yields address:port."""

    class Take(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length", 0)))
            heard.add(name)
            self.send_response(200)
            self.end_headers()

        do_GET = do_POST

        def log_message(self, *_: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Take) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"127.0.0.1:{server.server_address[1]}"
        server.shutdown()


@contextmanager
def world(folder: Path) -> Iterator[World]:
    heard: set[str] = set()
    devnet: Devnet = asyncio.run(start_devnet(cache_dir()))
    try:
        with receiver("hook", heard) as hook, receiver("heart", heard) as heart:
            path = write_config(devnet.deployment, rpc_url=devnet.rpc_url, directory=folder)
            text = path.read_text().replace("poll_s = 1.0", "poll_s = 0.2")
            path.write_text(text + _alerts(hook, heart))
            yield World(folder, devnet.rpc_url.partition("//")[2], hook, heart, heard)
    finally:
        devnet.stop()


def _alerts(hook: str, heart: str) -> str:
    return f"""
[alerts]
least = "info"
alive_at = "00:00"
heartbeat_url = "http://{heart}/beat"
heartbeat_every_s = 5

[[alerts.targets]]
url = "http://{hook}/hook"
secret = "sixteen letters and more"
"""


def traced(here: World, name: str, arguments: tuple[str, ...], until: Callable[[], bool] | None) -> int:
    """Run ``alvh`` under strace, to its end or until something is true; return the exit code."""
    pid_file = here.folder / f"{name}.pid"
    strace = ["strace", "-f", "-qq", "--seccomp-bpf", "-s", str(LONGEST_TEXT), "-e", f"trace={SYSCALLS}"]
    strace += ["-o", str(here.folder / f"{name}.trace"), "sh", "-c", _WITH_PID, str(pid_file)]
    with (here.folder / f"{name}.said").open("wb") as said:
        process = subprocess.Popen(
            [*strace, str(ALVH), *arguments],
            cwd=here.folder,
            stdin=subprocess.DEVNULL,
            stdout=said,
            stderr=said,
        )
        try:
            if until is not None:
                _wait(until, process)
                os.kill(int(pid_file.read_text()), signal.SIGTERM)
            return process.wait(timeout=WITHIN_S)
        finally:
            process.kill()
            process.wait()


def _wait(until: Callable[[], bool], process: subprocess.Popen[bytes]) -> None:
    end_s = time.monotonic() + WITHIN_S
    while not until() and process.poll() is None and time.monotonic() < end_s:
        time.sleep(0.1)


def run_command(here: World, name: str) -> int:
    """Run one of ``COMMANDS``; return its exit code."""
    port = free_port()
    if name == "service":
        arguments = ("run", "--live", "--metrics", str(port))
        return traced(
            here, name, arguments, lambda: here.heard == {"hook", "heart"} and here.asked(port, "/health")
        )
    if name == "dashboard":
        return traced(here, name, (name, "--port", str(port)), lambda: here.asked(port, "/login"))
    return traced(here, name, COMMANDS[name], None)


COMMANDS: dict[str, tuple[str, ...]] = {
    "dry": ("run", "--once"),
    "live": ("run", "--live", "--once"),
    "service": (),  # until an alert and a heartbeat came
    "dashboard": (),  # until a page was served
    "alerts": ("alerts", "test"),
    "doctor": ("doctor",),
}


def bytes_out() -> int:
    """Return how many bytes left this namespace by any interface but loopback."""
    rows = [line.partition(":") for line in Path("/proc/net/dev").read_text().splitlines()[2:]]
    return sum(int(figures.split()[8]) for name, _, figures in rows if name.strip() != "lo")


def main(folder: Path, names: list[str]) -> None:
    raise_loopback()
    with world(folder) as here:
        codes = {name: run_command(here, name) for name in names}
        seen = {"node": here.node, "hook": here.hook, "heart": here.heart, "codes": codes}
    (folder / "seen.json").write_text(json.dumps({**seen, "bytes_out": bytes_out()}))


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
