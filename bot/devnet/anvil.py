"""Anvil on the loopback interface, as a child process or detached.

A child ends with the program that started it: at ``stop``, at interpreter exit, and on Linux also when the
parent is killed. A detached node outlives it and is known by its process id.
"""

import atexit
import contextlib
import ctypes
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Self

from bot.devnet.deployment import CHAIN_ID, MNEMONIC
from bot.devnet.packages import Library, machine
from bot.errors import ConfigError, TransientError

ANVIL_VERSION = "1.7.1"
HOST = "127.0.0.1"
_READY_TIMEOUT_S = 20.0
_STOP_TIMEOUT_S = 5.0
_POLL_S = 0.01
_LOOKS = 5  # that find no node before it counts as ended
_PORTS_TRIED = 3
_BALANCE_ETH = 1_000_000
# What the contracts need. Later forks keep the hash of each block in the state (EIP-2935), and anvil hashes
# the whole state at every block: after some thousand blocks that alone is half of its work.
_HARDFORK = "cancun"
_PR_SET_PDEATHSIG = 1  # linux/prctl.h
# Old states are kept for reorgs only; without a bound every block makes the next one slower.
STATES_KEPT = 256
_DETACH = '"$@" </dev/null >/dev/null 2>&1 & echo $!'


def find_anvil(library: Library) -> str:
    """The locked anvil of this platform, else one of the same version on PATH, else ConfigError."""
    if any("anvil" in package.members for package in library.packages):
        return str(library.path("anvil"))
    found = shutil.which("anvil")
    if found is None:
        raise ConfigError(f"no pinned anvil for {machine()}: put anvil {ANVIL_VERSION} on PATH")
    told = subprocess.run([found, "--version"], capture_output=True, text=True, check=False)  # noqa: S603
    if ANVIL_VERSION not in told.stdout:
        words = " ".join(told.stdout.split()[:3]) or "nothing"
        raise ConfigError(f"{found} --version says {words}: the devnet needs anvil {ANVIL_VERSION} on PATH")
    return found


def choose_port(port: int | None) -> int:
    """Return ``port`` if nobody listens there, else ConfigError; a free one for None."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port or 0))
        except (OSError, OverflowError) as error:
            reason = error.strerror if isinstance(error, OSError) else "a port is 1 to 65535"
            raise ConfigError(
                f"cannot start the devnet on port {port}: {reason}; choose another port or stop what uses it"
            ) from None
        return int(probe.getsockname()[1])


def listens(port: int) -> bool:
    """True when something accepts connections there."""
    with contextlib.suppress(OSError), socket.create_connection((HOST, port), timeout=1.0):
        return True
    return False


@dataclass(kw_only=True)
class Anvil:
    """A node that belongs to this process. Use as a context manager, or call ``stop``."""

    process: subprocess.Popen[bytes]
    port: int
    _log: IO[bytes]
    _stopped: bool = field(default=False, init=False)

    @classmethod
    def start(
        cls,
        binary: str,
        *,
        port: int | None = None,
        genesis_s: int | None = None,
        state: Path | None = None,
        states_kept: int = STATES_KEPT,
    ) -> Self:
        """Start a node and return at once; ``wait_ready`` says when it answers.

        ``state`` is a dumped state to load. Raises ConfigError when the port is busy. On Linux the node
        ends with the thread that calls this, so call it from one that lasts.
        """
        port = choose_port(port)
        log = tempfile.TemporaryFile()  # noqa: SIM115 - closed in stop
        process = subprocess.Popen(  # noqa: S603 - our own binary and arguments
            _arguments(binary, port=port, genesis_s=genesis_s, state=state, states_kept=states_kept),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,  # Ctrl-C in the terminal is ours to handle, not the node's
            preexec_fn=_end_with_parent(),
        )
        node = cls(process=process, port=port, _log=log)
        atexit.register(node.stop)
        return node

    @property
    def rpc_url(self) -> str:
        """Where it answers JSON-RPC."""
        return f"http://{HOST}:{self.port}"

    def wait_ready(self) -> None:
        """Return when the node listens. Raises TransientError, with its own words, when it does not."""
        until = time.monotonic() + _READY_TIMEOUT_S
        while time.monotonic() < until:
            if self.process.poll() is not None:
                raise TransientError(f"anvil ended with code {self.process.returncode}: {self._words()}")
            if listens(self.port):
                return
            time.sleep(_POLL_S)
        raise TransientError(f"anvil does not listen on port {self.port} after {_READY_TIMEOUT_S:.0f} s")

    def stop(self) -> None:
        """End the node and wait until it is gone; harmless when repeated."""
        if self._stopped:
            return
        self._stopped = True
        atexit.unregister(self.stop)
        self.process.terminate()
        try:
            self.process.wait(_STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self._log.close()

    def _words(self) -> str:
        self._log.seek(0)
        said = self._log.read().decode(errors="replace")
        return " ".join(said.split())[:300] or "it said nothing"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()


def start_detached(binary: str, *, port: int | None, state: Path) -> tuple[int, int]:
    """Start a node that outlives this process; return (process id, port) once it listens.

    A free port may be taken by somebody else before the node has it: another one is tried then.
    """
    for _ in range(_PORTS_TRIED if port is None else 1):
        chosen = choose_port(port)
        pid = _detach(_arguments(binary, port=chosen, genesis_s=None, state=state))
        if _comes_up(pid, chosen):
            return pid, chosen
        stop_detached(pid, chosen)
    raise TransientError(f"a detached anvil did not come up on port {chosen}")


def _detach(command: list[str]) -> int:
    """Start a command as nobody's child, by a shell in between, so that it leaves no zombie."""
    told = subprocess.run(  # noqa: S603 - fixed script; the arguments are passed, not spliced
        ["/bin/sh", "-c", _DETACH, "sh", *command],
        capture_output=True,
        text=True,
        check=True,
        start_new_session=True,
    )
    return int(told.stdout)


def _comes_up(pid: int, port: int) -> bool:
    """Wait until the node listens; False when it has ended, or after the time-out.

    While a process becomes another (exec) its command line can be empty, so one look is no proof of its end.
    """
    until, gone = time.monotonic() + _READY_TIMEOUT_S, 0
    while time.monotonic() < until and gone < _LOOKS:
        gone = 0 if is_node(pid, port) else gone + 1
        if not gone and listens(port):
            return True
        time.sleep(_POLL_S)
    return False


def stop_detached(pid: int, port: int) -> bool:
    """End a detached node and wait until it is gone; False when it no longer ran."""
    if not is_node(pid, port):
        return False
    for word in (signal.SIGTERM, signal.SIGKILL):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, word)
        until = time.monotonic() + _STOP_TIMEOUT_S
        while time.monotonic() < until:
            if not is_node(pid, port) and not listens(port):  # it closes its port last
                return True
            time.sleep(_POLL_S)
    raise TransientError(f"anvil (process {pid}) does not end; port {port} is still taken")


def is_node(pid: int, port: int) -> bool:
    """True while process ``pid`` is the node started for ``port``; ids of ended processes come again."""
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, PermissionError):
        return False
    listing = Path(f"/proc/{pid}/cmdline")
    if not listing.parent.parent.joinpath("self").exists():  # no /proc on this system
        return listens(port)
    with contextlib.suppress(OSError):
        return f"--port\0{port}\0".encode() in listing.read_bytes()
    return False


def _arguments(
    binary: str, *, port: int, genesis_s: int | None, state: Path | None, states_kept: int = STATES_KEPT
) -> list[str]:
    arguments = [
        binary, "--silent", "--host", HOST, "--port", str(port),
        "--chain-id", str(CHAIN_ID), "--mnemonic", MNEMONIC, "--balance", str(_BALANCE_ETH),
        "--no-request-size-limit", "--prune-history", str(states_kept),
        "--hardfork", _HARDFORK,
    ]  # fmt: skip
    if genesis_s is not None:
        arguments += ["--timestamp", str(genesis_s)]
    if state is not None:
        arguments += ["--load-state", str(state)]
    return arguments


def _end_with_parent() -> Callable[[], None] | None:
    """On Linux, what the child runs to be ended by the kernel with the thread that started it."""
    if not sys.platform.startswith("linux"):
        return None
    libc = ctypes.CDLL(None, use_errno=True)  # loaded before the fork: the child must not allocate much
    parent = os.getpid()

    def in_child() -> None:
        libc.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
        if os.getppid() != parent:  # the parent went before the kernel was told
            os._exit(1)

    return in_child
