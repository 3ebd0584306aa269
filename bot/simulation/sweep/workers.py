"""Runs the jobs of a sweep on this machine, in processes of its own. The same results as anywhere else."""

import multiprocessing
import os
import signal
import sys
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from types import TracebackType
from typing import Protocol, Self, TypeAlias

from bot.errors import BotError, TransientError
from bot.simulation.sweep.evaluation import Evaluation
from bot.simulation.sweep.study import Job, Study, evaluate

Hours: TypeAlias = Callable[[int, int], None]  # called with a job's place and the hours it has run since
Done: TypeAlias = tuple[int, list[Evaluation]]  # place of a job and its evaluations

_MOST_LOST = 3  # processes that may end under one job before it is given up
_TELL_EVERY = 100  # hours: a message for each would cost more than the hour
_STOP_S = 5.0


class Executor(Protocol):
    """Where jobs run. Open it with ``with``; leaving ends whatever still runs."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    def run(self, jobs: Sequence[Job], on_hours: Hours) -> Iterator[Done]:
        """Yield each job's place and result as it is done, in any order. Raises BotError."""


class Here:
    """Runs jobs in this process, one after the other."""

    def __init__(self, study: Study) -> None:
        self._study = study

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        pass

    def run(self, jobs: Sequence[Job], on_hours: Hours) -> Iterator[Done]:
        for at, job in enumerate(jobs):
            yield at, evaluate(self._study, job, partial(on_hours, at, 1))


@dataclass(slots=True)
class _Worker:
    process: SpawnProcess
    link: Connection
    job: int | None = None  # place of the one it runs


@dataclass(slots=True)
class _Round:
    """The jobs of one call of ``run``."""

    jobs: Sequence[Job]
    waiting: deque[int]
    lost: dict[int, int] = field(default_factory=dict)  # job -> processes that ended under it
    left: int = 0


class LocalWorkers:
    """Runs jobs in up to so many processes. One that ends under a job is replaced, the job run again."""

    def __init__(
        self, study: Study, processes: int, *, serve: "Callable[[Connection], None] | None" = None
    ) -> None:
        """``serve`` is what a process does: take the study, then job after job, from its link."""
        self._study, self._processes = study, processes
        self._serve = serve or serve_jobs
        self._context = multiprocessing.get_context("spawn")
        self._workers: list[_Worker] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End every process, also one in the middle of a job: what is done is already on disk."""
        for worker in self._workers:
            worker.process.terminate()
        for worker in self._workers:
            worker.process.join(_STOP_S)
            if worker.process.is_alive():
                worker.process.kill()
                worker.process.join()
            worker.link.close()
        self._workers.clear()

    def run(self, jobs: Sequence[Job], on_hours: Hours) -> Iterator[Done]:
        """Yield each job's place and result as it is done.

        Raises TransientError for a job under which process after process ended.
        """
        rounds = _Round(jobs=jobs, waiting=deque(range(len(jobs))), left=len(jobs))
        while rounds.left:
            self._hand_out(rounds)
            busy = {worker.link: worker for worker in self._workers if worker.job is not None}
            for link in wait(list(busy)):
                found = self._hear(busy[link], rounds, on_hours)  # type: ignore[index]
                if found is not None:
                    rounds.left -= 1
                    yield found

    def _hand_out(self, rounds: _Round) -> None:
        for worker in tuple(self._workers):
            if worker.job is None and rounds.waiting:
                self._give(worker, rounds)
        while rounds.waiting and len(self._workers) < self._processes:
            self._workers.append(self._start())
            self._give(self._workers[-1], rounds)

    def _give(self, worker: _Worker, rounds: _Round) -> None:
        worker.job = rounds.waiting.popleft()
        try:
            worker.link.send(rounds.jobs[worker.job])
        except OSError:  # it ended while it had nothing to do
            self._replace(worker, rounds)

    def _start(self) -> _Worker:
        ours, theirs = self._context.Pipe()
        process = self._context.Process(target=self._serve, args=(theirs,), daemon=True)
        process.start()
        theirs.close()  # so that the end of the process is the end of the link
        with suppress(OSError):  # one that has ended already is replaced when it is given its job
            ours.send(self._study)
        return _Worker(process=process, link=ours)

    def _hear(self, worker: _Worker, rounds: _Round, on_hours: Hours) -> Done | None:
        try:
            what, found = worker.link.recv()
        except (EOFError, OSError):
            self._replace(worker, rounds)
            return None
        assert worker.job is not None  # noqa: S101 - only a busy worker is listened to
        if what == "hours":
            on_hours(worker.job, found)
            return None
        if what == "error":
            raise found
        done, worker.job = worker.job, None
        return done, found

    def _replace(self, worker: _Worker, rounds: _Round) -> None:
        assert worker.job is not None  # noqa: S101 - likewise
        worker.process.join(_STOP_S)
        worker.link.close()
        self._workers.remove(worker)
        lost = rounds.lost[worker.job] = rounds.lost.get(worker.job, 0) + 1
        if lost == _MOST_LOST:
            raise TransientError(
                f"an evaluation ended its process {lost} times, last with {exit_words(worker.process)}; "
                "what is done is kept: run the same command again with fewer --processes or more memory"
            )
        rounds.waiting.appendleft(worker.job)


def exit_words(process: SpawnProcess) -> str:
    """Return how a process ended: "signal 9" or "code 1"."""
    code = process.exitcode
    return f"signal {-code}" if code is not None and code < 0 else f"code {code}"


def serve_jobs(link: Connection) -> None:
    """Evaluate job after job until the other end hangs up."""
    signal.signal(
        signal.SIGINT, signal.SIG_IGN
    )  # Ctrl-C reaches the whole group; ours to end is the parent's
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # HiGHS prints to it from C++
    study: Study = link.recv()
    while True:
        try:
            job: Job = link.recv()
        except (EOFError, OSError):
            return
        try:
            teller = _Teller(link)
            link.send(("done", evaluate(study, job, teller.hour)))
        except BotError as error:
            link.send(("error", error))


@dataclass(slots=True)
class _Teller:
    """Tells the parent of hours, many at a time."""

    link: Connection
    hours: int = 0

    def hour(self) -> None:
        self.hours += 1
        if self.hours == _TELL_EVERY:
            self.link.send(("hours", self.hours))
            self.hours = 0
