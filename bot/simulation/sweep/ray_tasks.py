"""Runs the jobs of a sweep as Ray tasks, on as many machines as a Ray cluster has. The same results as here.

Ray itself runs in a process of its own: it prints to standard output, takes signals, waits long for a cluster
that does not answer and ends its process when the cluster's head is lost. None of that may cost a result.
A task whose node dies is run again on another. Nodes need this program, not the data: files are sent along.
"""

import atexit
import multiprocessing
import os
import shutil
import signal
import socket
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection
from multiprocessing.context import SpawnProcess
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from bot.errors import BotError, ConfigError, DeadlineError, TransientError
from bot.simulation.sweep.evaluation import Evaluation
from bot.simulation.sweep.study import Job, Study, code_digest, data_digest, data_files, evaluate
from bot.simulation.sweep.workers import Done, Hours, exit_words

HERE = "here"  # no address: the cluster of this machine where one runs, else one started for this sweep
CONNECT_S = 120.0
_TCP_S = 5.0
_STOP_S = 10.0
_ASK_S = 1.0  # between two looks at a cluster that has nothing done, and at the sweep that waits
_NO_NODE_S = 60.0  # without any processor, until it is given up
_RETRIES = 5  # of a task whose node or process died
_FORM = "HOST:PORT or ray://HOST:PORT"


class RayTasks:
    """Runs jobs on a Ray cluster; ``address`` is HERE, "auto", HOST:PORT or ray://HOST:PORT.

    Entering raises ConfigError for an address that is none, where Ray is not installed and for a cluster
    without a processor, TransientError or DeadlineError for one that does not answer.
    """

    def __init__(self, study: Study, address: str, *, connect_s: float = CONNECT_S) -> None:
        self._study, self._address, self._connect_s = study, address, connect_s
        self._context = multiprocessing.get_context("spawn")
        self._process: SpawnProcess | None = None
        self._link: Connection | None = None

    def __enter__(self) -> Self:
        _reach(self._address)
        self._link, theirs = self._context.Pipe()
        self._process = self._context.Process(
            target=_drive, args=(theirs, self._study, self._address), daemon=False
        )
        self._process.start()
        theirs.close()
        try:
            if not self._link.poll(self._connect_s):
                raise DeadlineError(
                    f"Ray at {self._address} did not answer within {self._connect_s:g} s; "
                    "check that it runs (ray status), or leave --ray out"
                )
            self._hear()
        except BaseException:
            self._stop(0.0)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop(_STOP_S)

    def run(self, jobs: Sequence[Job], on_hours: Hours) -> Iterator[Done]:
        """Yield each job's place and result as it is done. Raises TransientError when the cluster is lost."""
        del on_hours  # a task says nothing before its end
        assert self._link is not None  # noqa: S101 - only between enter and exit
        self._link.send(tuple(jobs))
        for _ in jobs:
            yield self._hear()

    def _hear(self) -> Any:
        assert self._link is not None  # noqa: S101 - likewise
        assert self._process is not None  # noqa: S101 - likewise
        try:
            what, found = self._link.recv()
        except (EOFError, OSError):
            self._process.join(_STOP_S)
            raise TransientError(
                f"Ray at {self._address} was lost ({exit_words(self._process)}); what is done is kept, "
                "run the same command again"
            ) from None
        if what == "error":
            raise found
        return found

    def _stop(self, wait_s: float) -> None:
        if self._link is not None:
            self._link.close()  # on which the process leaves the cluster
        if self._process is not None:
            self._process.join(wait_s)
            if self._process.is_alive():
                self._process.kill()
                self._process.join()
        self._link = self._process = None


def _reach(address: str) -> None:
    """Refuse an address that is none, and one where nobody listens, before anything is started."""
    if address in (HERE, "auto"):
        return
    host, colon, port = address.removeprefix("ray://").rpartition(":")
    if not colon or not host or not port.isdecimal() or not 0 < int(port) < 65_536:
        raise ConfigError(f"--ray must be {_FORM}, or nothing for this machine, was {address!r}")
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=_TCP_S).close()
    except OSError as error:
        why = error.strerror or str(error)
        raise TransientError(
            f"Ray at {address} does not answer: {why}; start it with ray start --head, or leave --ray out"
        ) from None


@dataclass(frozen=True, slots=True, kw_only=True)
class Shipment:
    """What a task needs besides its job. Sent to each node once."""

    study: Study
    files: tuple[tuple[str, bytes], ...]
    code: str


def _drive(link: Connection, study: Study, address: str) -> None:
    """Be the driver of a cluster until the other end hangs up."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    nothing = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nothing, 1)
    os.dup2(nothing, 2)
    try:
        ray = _connected(address)
    except BotError as error:
        link.send(("error", error))
        return
    try:
        files = tuple((path.name, path.read_bytes()) for path in data_files(study.data))
        shipment = ray.put(Shipment(study=study, files=files, code=code_digest()))
        task = ray.remote(num_cpus=1, max_retries=_RETRIES)(run_task)
        link.send(("ready", None))
        while True:
            for answer in _answers(ray, task, shipment, link.recv()):
                if answer is not None:
                    link.send(answer)
                elif link.poll():  # nothing is ever sent while jobs run: the other end has hung up
                    return
    except (EOFError, OSError):
        return  # the sweep has ended
    finally:
        ray.shutdown()


def _connected(address: str) -> Any:
    """Return the ray module, connected. Raises ConfigError, TransientError."""
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    try:
        import ray
    except ImportError:
        raise ConfigError("--ray needs Ray: pip install 'alvh-bot[ray]'") from None
    try:
        ray.init(
            address=None if address == HERE else address,
            include_dashboard=False if address == HERE else None,
            log_to_driver=False,
        )
    except (ray.exceptions.RayError, ConnectionError, RuntimeError, ValueError, OSError) as error:
        raise TransientError(f"Ray at {address} cannot be joined: {_first_line(error)}") from None
    found: Any = ray  # untyped
    if _processors(found) < 1.0:
        raise ConfigError(f"Ray at {address} has no processor; add a node with ray start --address")
    return found


def _processors(ray: Any) -> float:
    return float(ray.cluster_resources().get("CPU", 0.0))


def _answers(ray: Any, task: Any, shipment: Any, jobs: Sequence[Job]) -> Iterator[tuple[str, Any] | None]:
    """Yield ("done", (place, evaluations)) for each job, or one ("error", error) at last; None meanwhile."""
    running = {task.remote(shipment, job): at for at, job in enumerate(jobs)}
    seen_s = time.monotonic()
    while running:
        done, _ = ray.wait(list(running), num_returns=1, timeout=_ASK_S)
        if done or _processors(ray) >= 1.0:
            seen_s = time.monotonic()
        elif time.monotonic() - seen_s > _NO_NODE_S:
            yield "error", TransientError("Ray has no node with a processor left; what is done is kept")
            return
        if not done:
            yield None
        for reference in done:
            what, found = _taken(ray, reference)
            if what == "error":
                yield what, found
                return
            yield what, (running.pop(reference), found)


def _taken(ray: Any, reference: Any) -> tuple[str, Any]:
    try:
        answer: tuple[str, Any] = ray.get(reference)
    except ray.exceptions.RayError as error:
        return "error", TransientError(f"a Ray task failed: {_last_line(error)}; what is done is kept")
    return answer


def run_task(shipment: Shipment, job: Job) -> tuple[str, list[Evaluation] | BotError]:
    """Evaluate a job on a node; an error is an answer, so that it arrives as it is."""
    try:
        if code_digest() != shipment.code:
            raise ConfigError("a Ray node has another version of this program; install the same on all nodes")
        return "done", evaluate(_placed(shipment), job, _unheard)
    except BotError as error:
        return "error", error


def _unheard() -> None:
    """Hours are not told across a cluster."""


_PLACED: dict[str, Path] = {}  # digest of data files -> where this process has them


def _placed(shipment: Shipment) -> Study:
    """Return the study with its files where they are on this node; written there where they are not."""
    study = shipment.study
    if study.data_digest not in _PLACED:
        is_here = study.data.is_dir() and data_digest(study.data) == study.data_digest
        _PLACED[study.data_digest] = study.data if is_here else _written(shipment)
    return replace(study, data=_PLACED[study.data_digest])


def _written(shipment: Shipment) -> Path:
    folder = Path(tempfile.mkdtemp(prefix="alvh-sweep-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    for name, content in shipment.files:
        (folder / name).write_bytes(content)
    return folder


def _first_line(error: BaseException) -> str:
    return next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)


def _last_line(error: BaseException) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1] if lines else type(error).__name__
