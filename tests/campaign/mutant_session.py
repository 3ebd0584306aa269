"""One pytest session that many mutants share: tests are imported once, each mutant runs in a fork of it.

First every test runs as it is, and the lines of the mutated files that it runs are noted. Then for each
mutant a child exchanges the code of one function (``__code__`` of the object that everyone holds) and runs
the tests that run its line, quickest first, until one fails.
"""

import contextlib
import functools
import gc
import inspect
import os
import resource
import select
import shutil
import signal
import sys
import tempfile
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from types import CodeType, FrameType, FunctionType
from typing import Any

import pytest
from _pytest.runner import runtestprotocol
from hypothesis import HealthCheck, Phase, settings

from campaign.mutants import Mutant

SURVIVED, KILLED, TIMEOUT = "survived", "killed", "timeout"
_MEMORY = 6 * 2**30
_LEAST_S, _TIMES_SLOWER = 10.0, 4.0
_BROKEN = 3  # status of a child whose mutant could not be put in place


@dataclass(slots=True)
class Seen:
    """What one test did while nothing was changed."""

    item: pytest.Item
    seconds: float
    lines: dict[str, set[int]] = field(default_factory=dict)  # by file


def quick_hypothesis() -> None:
    """The same examples at each run, and none shrunk: a failure is all that is asked for."""
    settings.register_profile(
        "mutation",
        phases=(Phase.explicit, Phase.generate),
        derandomize=True,
        database=None,
        deadline=None,
        print_blob=False,
        suppress_health_check=list(HealthCheck),
    )
    settings.load_profile("mutation")


class MutantSession:
    """A pytest plugin in place of its loop. ``report`` is called with each verdict as it is known."""

    def __init__(
        self,
        mutants: Sequence[Mutant],
        texts: dict[str, str],
        root: Path,
        report: Callable[[Mutant, str, str], None],
        told: Callable[[list[Seen]], None],
    ) -> None:
        self._mutants, self._texts, self._root = mutants, texts, root
        self._report, self._told = report, told
        self._paths = {str(root / name): name for name in texts}
        self._kills: defaultdict[str, Counter[str]] = defaultdict(Counter)  # by function, of each test

    def pytest_configure(self) -> None:
        quick_hypothesis()

    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        if session.testsfailed:
            raise session.Interrupted("a test file cannot be imported")
        seen = [self._as_it_is(item, session) for item in session.items]
        seen.sort(key=lambda one: one.seconds)
        self._told(seen)
        unchanged = in_child(lambda: _first_failure([one.item for one in seen], session), limit_s=600.0)
        if unchanged[0] != 0:
            raise session.Interrupted(f"a test fails in a fork without any change: {unchanged[1]}")
        gc.collect()
        gc.freeze()  # so that a fork shares its pages
        for mutant in self._mutants:
            self._judge(mutant, seen, session)
        return True

    def _as_it_is(self, item: pytest.Item, session: pytest.Session) -> Seen:
        found = Seen(item=item, seconds=0.0)
        started = time.perf_counter()
        with self._watched(found):
            failed = _failed(item, session)
        found.seconds = time.perf_counter() - started
        if failed:
            raise session.Interrupted(f"{item.nodeid} fails without any change")
        return found

    @contextmanager
    def _watched(self, found: Seen) -> Any:
        def lines(frame: FrameType, event: str, argument: Any) -> Any:
            if event == "line":
                found.lines[self._paths[frame.f_code.co_filename]].add(frame.f_lineno)
            return lines

        def calls(frame: FrameType, event: str, argument: Any) -> Any:
            name = self._paths.get(frame.f_code.co_filename)
            if name is None:
                return None
            found.lines.setdefault(name, set()).add(frame.f_lineno)
            return lines

        before = sys.gettrace()
        threading.settrace(calls)
        sys.settrace(calls)
        try:
            yield
        finally:
            sys.settrace(before)
            threading.settrace(None)  # type: ignore[arg-type]

    def _judge(self, mutant: Mutant, seen: list[Seen], session: pytest.Session) -> None:
        chosen = [one for one in seen if not one.lines.get(mutant.file, set()).isdisjoint(mutant.lines)]
        # What killed the neighbours of a mutant most likely kills it.
        kills = self._kills[mutant.function]
        chosen.sort(key=lambda one: (-kills[one.item.nodeid], one.seconds))
        if not chosen:
            self._report(mutant, SURVIVED, "no test runs it")
            return
        limit_s = _LEAST_S + _TIMES_SLOWER * sum(one.seconds for one in chosen)

        def work() -> str:
            put_in_place(mutant, self._texts[mutant.file])
            return _first_failure([one.item for one in chosen], session)

        status, by = in_child(work, limit_s=limit_s)
        if status == _BROKEN:
            raise session.Interrupted(f"mutant {mutant.id} could not be put in place: {by}")
        verdict = SURVIVED if status == 0 else TIMEOUT if status == -signal.SIGALRM else KILLED
        kills[by] += 1
        self._report(mutant, verdict, by or f"{len(chosen)} tests")


def put_in_place(mutant: Mutant, text: str) -> None:
    """Exchange the code of the function that a mutant changes. Raises LookupError."""
    name = mutant.file.removesuffix(".py").replace("/", ".")
    code = compile(mutant.applied(text), str(Path(import_module(name).__file__ or "")), "exec")
    _function(import_module(name), mutant.function).__code__ = _code(code, mutant.function)


def _code(code: CodeType, function: str) -> CodeType:
    for part in function.split("."):
        inside = [item for item in code.co_consts if isinstance(item, CodeType) and item.co_name == part]
        if len(inside) != 1:
            raise LookupError(f"{function} is there {len(inside)} times")
        code = inside[0]
    return code


def _function(owner: Any, function: str) -> FunctionType:
    found = functools.reduce(inspect.getattr_static, function.split("."), owner)
    for name in ("fget", "__func__"):
        found = getattr(found, name, found)
    found = inspect.unwrap(found)
    if not isinstance(found, FunctionType):
        raise LookupError(f"{function} is no function")
    return found


def _failed(item: pytest.Item, session: pytest.Session) -> bool:
    """Run one test; what belongs to the whole session stays for the next."""
    reports = runtestprotocol(item, log=False, nextitem=session)  # type: ignore[arg-type]
    return any(report.failed for report in reports)


def _first_failure(items: Sequence[pytest.Item], session: pytest.Session) -> str:
    """Return the name of the first test that fails, in folders of this process alone."""
    folder = _temporary(os.getpid())
    folder.mkdir(mode=0o700)
    tempfile.tempdir = str(folder)
    os.chdir(folder)  # a mutant may name a file "None"
    session.config._tmp_path_factory._basetemp = folder  # type: ignore[attr-defined]
    return next((item.nodeid for item in items if _failed(item, session)), "")


def in_child(work: Callable[[], str], *, limit_s: float) -> tuple[int, str]:
    """Run in a fork: status 0 where ``work`` says nothing, else what it said."""
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(reader)
        _work_and_end(work, writer)
    os.close(writer)
    handle = os.pidfd_open(pid)
    ended, _, _ = select.select([handle], [], [], limit_s)
    os.close(handle)
    if not ended:
        os.kill(pid, signal.SIGKILL)
    _, status = os.waitpid(pid, 0)
    with os.fdopen(reader, "rb") as file:
        os.set_blocking(file.fileno(), False)
        said = (file.read() or b"").decode("utf-8", "replace")
    with contextlib.suppress(ProcessLookupError):  # what its tests started and left
        os.killpg(pid, signal.SIGKILL)
    shutil.rmtree(_temporary(pid), ignore_errors=True)
    return (-signal.SIGALRM if not ended else os.waitstatus_to_exitcode(status)), said


def _temporary(pid: int) -> Path:
    return Path(os.environ.get("TMPDIR", "/tmp")) / f"mutant-{pid}"  # noqa: S108 - this process's own name


def _work_and_end(work: Callable[[], str], writer: int) -> None:
    """Never returns: what follows in this fork is its parent's."""
    status = 1
    try:
        os.setpgid(0, 0)
        silence = os.open(os.devnull, os.O_RDWR)
        for stream in (0, 1, 2):
            os.dup2(silence, stream)
        resource.setrlimit(resource.RLIMIT_AS, (_MEMORY, _MEMORY))
        said = work()
        os.write(writer, said.encode()[:4000])
        status = 1 if said else 0
    except LookupError as error:
        os.write(writer, str(error).encode()[:4000])
        status = _BROKEN
    except BaseException as error:  # noqa: BLE001 - also the end of the session, as a mutant may ask for
        os.write(writer, repr(error).encode()[:4000])
    finally:
        os._exit(status)
