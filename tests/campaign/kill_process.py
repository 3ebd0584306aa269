"""The processes of ``scripts/campaign kills``: the bot as a fork of this one, and its signer beside."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from campaign.kill_child import Action, run_child

_SIGNER = "from bot.cli import main; main()"
_DEADLINE_S = 120.0  # of one child


class Child:
    """The bot over one state folder, forked. ``point`` is where it kills itself; empty: nowhere."""

    def __init__(self, config: Path, state: Path, action: Action, point: str) -> None:
        self._ended = ""
        sys.stdout.flush()
        self._pid = os.fork()
        if self._pid == 0:
            code = 1
            try:
                text = os.open(state / "said.txt", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
                os.dup2(text, 1)
                os.dup2(text, 2)
                code = run_child(config, state, action, point)
            finally:
                sys.stderr.flush()
                os._exit(code)

    def wait(self) -> str:
        """Return how it ended: "exit N" or the signal's name."""
        if not self.until(lambda: False, within_s=_DEADLINE_S) and not self._ended:
            os.kill(self._pid, signal.SIGTERM)
            os.waitpid(self._pid, 0)
            self._ended = f"no end within {_DEADLINE_S:.0f} s"
        return self._ended

    def until(self, condition: Callable[[], bool], *, within_s: float = _DEADLINE_S) -> bool:
        """Wait until something is true; False when the child ended, or the time is over, before."""
        end_s = time.monotonic() + within_s
        while not condition():
            if self._has_ended() or time.monotonic() > end_s:
                return False
            time.sleep(0.002)
        return True

    def kill_after(self, delay_s: float) -> str:
        """Kill it in a while; return how it ended."""
        self.until(lambda: False, within_s=delay_s)
        if not self._ended:
            with suppress(ProcessLookupError):
                os.kill(self._pid, signal.SIGKILL)
        return self.wait()

    def _has_ended(self) -> bool:
        if not self._ended:
            found, status = os.waitpid(self._pid, os.WNOHANG)
            if found:
                is_signal = os.WIFSIGNALED(status)
                code = os.WEXITSTATUS(status)
                self._ended = signal.Signals(os.WTERMSIG(status)).name if is_signal else f"exit {code}"
        return bool(self._ended)


def said(state: Path) -> str:
    """Return the last words of the bots of one state folder."""
    path = state / "said.txt"
    return path.read_text("utf-8")[-600:].strip() if path.exists() else ""


@contextmanager
def signer_process(config: Path) -> Iterator[None]:
    """Run the signer beside the bot until the block ends, as a supervisor would."""
    command = [sys.executable, "-P", "-c", _SIGNER, "signer", "--lifeline", "--config", str(config)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        try:
            line = process.stdout.readline() if process.stdout is not None else b""
            if b"address" not in line:
                raise SystemExit(f"the signer did not start: {line.decode(errors='replace').strip()}")
            yield
        finally:
            if process.stdin is not None:
                process.stdin.close()
            process.wait(timeout=20)
