"""A signer process of tests: the real desk, memory and socket behind a key of tests. Run as a script.

``signer_process.py FOLDER [KEY=VALUE ...]``: ``die=persist`` kills the process between the memory's sync and
the answer of the first signature; ``lie=KIND`` answers with something else than a signature of the account.
Writes "ready" once it serves, and lives until standard input ends.
"""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from threading import Thread

from send_builders import KEY, rules

from bot.app.kill_switch import pause_at_signal
from bot.chain.pause import read_pause
from bot.chain.signing.desk import SigningDesk
from bot.chain.signing.hardening import harden
from bot.chain.signing.keys import LocalKey
from bot.chain.signing.memory import SignerMemory
from bot.chain.signing.server import SignerServer

SCRIPT = Path(__file__)
SOCKET, MEMORY = "signer.sock", "signer.log"
OTHER_KEY = bytes.fromhex("61" * 32)


class _DyingKey(LocalKey):
    """Is killed when it is to sign: its entry is on disk, its answer never leaves."""

    def signature(self, message: bytes) -> bytes:
        os.kill(os.getpid(), signal.SIGKILL)
        time.sleep(60)
        return super().signature(message)


class _LyingKey(LocalKey):
    """Gives what is no signature of the account over the message."""

    lie = ""

    def signature(self, message: bytes) -> bytes:
        if self.lie == "hang":
            time.sleep(60)
        if self.lie == "other key":
            return LocalKey(OTHER_KEY).signature(message)
        if self.lie == "other message":
            return super().signature(message + b"\0")
        if self.lie == "short":
            return super().signature(message)[:64]
        return bytes(65)


def main(folder: Path, options: dict[str, str]) -> None:
    harden()
    pause_at_signal((folder,), what="signer")
    key: LocalKey = LocalKey(KEY)
    if "die" in options:
        key = _DyingKey(KEY)
    if "lie" in options:
        _LyingKey.lie = options["lie"]
        key = _LyingKey(KEY)
    memory = SignerMemory(folder / MEMORY)
    desk = SigningDesk(key, rules(), memory, paused=lambda: str(read_pause(folder) or ""))
    server = SignerServer(desk, memory, folder / SOCKET, policy_hash=options.get("policy", ""))
    Thread(target=server.serve, daemon=True).start()
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    sys.stdin.read()
    server.close()


@dataclass(frozen=True, slots=True)
class Running:
    """A signer process under test."""

    process: subprocess.Popen[str]
    folder: Path

    @property
    def path(self) -> Path:
        return self.folder / SOCKET

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()


@contextmanager
def signer_process(folder: Path, **options: str) -> Iterator[Running]:
    """Start a signer over the state in ``folder``, serving when this gives it, and end it."""
    command = [
        sys.executable,
        str(SCRIPT),
        str(folder),
        *(f"{name}={value}" for name, value in options.items()),
    ]
    process = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n", process.stderr.read() if process.stderr else ""
        yield Running(process, folder)
    finally:
        process.kill()
        process.communicate()


def stand_still(pid: int) -> None:
    """Stop a process, and wait until the last of its threads has stopped."""
    os.kill(pid, signal.SIGSTOP)
    while any(" T " not in stat.read_text() for stat in Path(f"/proc/{pid}/task").glob("*/stat")):
        time.sleep(0.01)


def occurs(pid: int, needle: bytes) -> bool:
    """Say whether bytes are in the arguments, the environment or the writable memory of a process."""
    found = any(needle in Path(f"/proc/{pid}/{name}").read_bytes() for name in ("cmdline", "environ"))
    with open(f"/proc/{pid}/maps") as maps, open(f"/proc/{pid}/mem", "rb", 0) as memory:
        for line in maps:
            place, mode = line.split()[:2]
            if not mode.startswith("rw"):
                continue
            start, end = (int(edge, 16) for edge in place.split("-"))
            try:
                memory.seek(start)
                found = found or needle in memory.read(end - start)
            except (OSError, OverflowError, ValueError):  # special pages
                continue
    return found


if __name__ == "__main__":
    main(Path(sys.argv[1]), dict(item.split("=", 1) for item in sys.argv[2:]))
