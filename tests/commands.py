"""The ``alvh`` command as tests use it: real processes, a folder with configuration and state, a devnet."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from bot.chain.signer_wire import SOCKET_NAME
from bot.devnet.config import write_config
from bot.devnet.deployment import Deployment

TESTS = Path(__file__).parent
ALVH = Path(sys.executable).with_name("alvh")
KEYSTORE_ROUNDS = 2**18  # the least that is accepted


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """How a command ended. ``code`` is negative when a signal ended it."""

    code: int
    out: str
    err: str

    @property
    def document(self) -> Any:
        """The JSON document on standard output, which holds nothing else; NaN is refused."""
        return strict_json(self.out)

    def refused(self, code: int, *words: str) -> None:
        """Check that the command ended with ``code`` and one line that holds ``words``."""
        assert self.code == code, self
        assert self.err.startswith("error: "), self
        assert self.err.count("\n") == 1, self
        assert "Traceback" not in self.err, self
        assert "{" not in self.err, self
        for word in words:
            assert word in self.err, (word, self)
        assert self.out == "", self


@dataclass(slots=True, kw_only=True)
class Running:
    """A command under way."""

    pid: int
    folder: Path
    _server: "CommandServer"

    @property
    def is_alive(self) -> bool:
        """Whether it still runs; one that ended and was not waited for does not."""
        try:
            return Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
        except FileNotFoundError:
            return False

    def wait(self) -> Ended:
        code = self._server.wait(self.pid)
        return Ended(code=code, out=self.out, err=self.err)

    @property
    def out(self) -> str:
        return (self.folder / "out").read_text()

    @property
    def err(self) -> str:
        return (self.folder / "err").read_text()

    def until(self, condition: Callable[[], Any], *, within_s: float = 30.0) -> None:
        """Wait until something is true while the command runs."""
        end_s = time.monotonic() + within_s
        while not condition():
            assert time.monotonic() < end_s, (self.out, self.err)
            time.sleep(0.02)


class CommandServer:
    """Starts commands; see command_server.py."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._number = 0
        self._asked = 0
        self._live: set[int] = set()  # started, and not waited for
        self._process = subprocess.Popen(
            [sys.executable, str(TESTS / "command_server.py")],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=environment(),
            text=True,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        try:
            self.end_all()
        finally:
            with self._process:
                assert self._process.stdin is not None
                self._process.stdin.close()

    def start(
        self,
        *arguments: str,
        cwd: Path,
        env: dict[str, str] | None = None,
        file_limit_bytes: int | None = None,
        die: str = "",
        arm: Sequence[Sequence[str]] = (),
        main: str = "",
        umask: int | None = None,
    ) -> Running:
        self._number += 1
        folder = self._folder / str(self._number)
        folder.mkdir()
        for name in ("out", "err"):
            (folder / name).touch()
        request = {
            "start": list(arguments),
            "cwd": str(cwd),
            "env": env or {},
            "out": str(folder / "out"),
            "err": str(folder / "err"),
            "file_limit_bytes": file_limit_bytes,
            "die": die,
            "arm": [list(item) for item in arm],
            "main": main,
            "umask": umask,
        }
        pid = self.ask(request)
        self._live.add(pid)
        return Running(pid=pid, folder=folder, _server=self)

    def wait(self, pid: int) -> int:
        code = self.ask({"wait": pid})
        self._live.discard(pid)  # a wait that was cut short leaves it to be ended
        return code

    def end_all(self) -> None:
        """Kill what a test left running, or the session would wait for it at its end."""
        for pid in tuple(self._live):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
            self.wait(pid)

    def ask(self, request: dict[str, Any]) -> int:
        """Return the answer to this request; one to an earlier, whose wait was cut short, is left out."""
        stdin, stdout = self._process.stdin, self._process.stdout
        assert stdin is not None
        assert stdout is not None
        self._asked += 1
        stdin.write(json.dumps({**request, "number": self._asked}) + "\n")
        stdin.flush()
        while line := stdout.readline():
            number, answer = map(int, line.split())
            if number == self._asked:
                return answer
        raise AssertionError("the server of commands has ended")


@dataclass(kw_only=True)
class Home:
    """A folder with alvh.toml, keystore and state, as ``alvh devnet up`` writes it."""

    folder: Path
    server: CommandServer
    env: dict[str, str] = field(default_factory=dict)

    @property
    def config(self) -> Path:
        return self.folder / "alvh.toml"

    def start(self, *arguments: str, **options: Any) -> Running:
        return self.server.start(*arguments, cwd=self.folder, env=self.env, **options)

    def alvh(self, *arguments: str, **options: Any) -> Ended:
        """Run a command to its end."""
        return self.start(*arguments, **options).wait()

    @contextmanager
    def signer(self) -> Iterator[None]:
        """Run ``alvh signer`` beside, as a service would: a bot then starts none of its own."""
        running = self.start("signer")
        running.until((self.folder / SOCKET_NAME).exists)
        try:
            yield
        finally:
            os.kill(running.pid, signal.SIGTERM)
            running.wait()

    def change(self, pattern: str, replacement: str) -> None:
        """Change the configuration; the pattern must be there."""
        text, count = re.subn(
            pattern, lambda _: replacement, self.config.read_text(), count=1, flags=re.DOTALL
        )
        assert count == 1, pattern
        self.config.write_text(text)

    def journal(self, mode: str) -> Path:
        return self.folder / f"journal-{mode}.sqlite"

    def copy(self, folder: Path) -> "Home":
        """Return a home with the same configuration and the same state, which nobody else uses."""
        shutil.copytree(self.folder, folder)
        (folder / "alvh.toml").write_text(self.config.read_text().replace(str(self.folder), str(folder)))
        return Home(folder=folder, server=self.server, env=dict(self.env))


def write_home(deployment: Deployment, rpc_url: str, folder: Path, server: CommandServer) -> Home:
    """Write the configuration of a devnet."""
    write_config(deployment, rpc_url=rpc_url, directory=folder)
    home = Home(folder=folder, server=server)
    home.change(r"poll_s = 1\.0", "poll_s = 0.05")
    return home


def console_script(*arguments: str, cwd: Path, timeout_s: float = 60.0) -> Ended:
    """Run the installed command itself."""
    done = subprocess.run(
        [str(ALVH), *arguments],
        cwd=cwd,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=timeout_s,
        check=False,
    )
    return Ended(code=done.returncode, out=done.stdout, err=done.stderr)


def strict_json(text: str) -> Any:
    def refuse(name: str) -> None:
        raise AssertionError(f"{name} is not JSON")

    return json.loads(text, parse_constant=refuse)


def environment() -> dict[str, str]:
    """A terminal of 80 columns, no settings from outside, and no threads before a fork."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith("ALVH_") or name == "ALVH_CACHE_DIR"
    }
    return {**kept, "COLUMNS": "80", "OPENBLAS_NUM_THREADS": "1", "NO_COLOR": "1"}
