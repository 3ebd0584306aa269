"""Runs ``alvh`` commands as processes of their own without importing the program again for each.

Reads one JSON request per line and answers with one line, which begins with the "number" of the request: who
was cut short while waiting knows a late answer by it. {"start": [...arguments], "cwd", "env", "out", "err"}
forks a child that calls ``bot.cli.main`` as the console script does; {"wait": pid} tells its exit code,
negative for a signal, as often as it is asked. Options of a start that belong to the test and not to the
program: ``file_limit_bytes`` lets no file grow larger (a full disk), ``die`` is "before 3" or "after 3":
SIGKILL at the third write of the journal; ``arm`` is a list of ["module:function", argument...] that is
called before; ``main`` is "module:function" in place of the console script.
"""

import gc
import importlib
import json
import os
import resource
import signal
import sys
import time
import traceback
from typing import Any, NoReturn

import rich._emoji_codes  # noqa: F401 - what commands import when they run, imported once, like the next
import sqlalchemy.dialects.sqlite  # noqa: F401
import talib  # noqa: F401

import bot.app.backtest
import bot.app.by_hand
import bot.app.databases
import bot.app.demo
import bot.app.export
import bot.app.journals
import bot.app.look
import bot.app.plan
import bot.app.sweep
import bot.app.watch
import bot.chain.accounts
import bot.documents
import bot.manual_document
import bot.terminal.manual
import bot.terminal.perpetual  # noqa: F401
from bot import cli
from bot.deployments import known_chains
from bot.pipeline.journal import SqlJournal


def main() -> None:
    requests, answers = os.fdopen(os.dup(0), encoding="utf-8"), os.fdopen(os.dup(1), "w", encoding="utf-8")
    known_chains()  # the files of the package are read once, as its modules are
    gc.collect()
    gc.freeze()
    for line in requests:
        wanted = json.loads(line)
        answer = _wait(wanted["wait"]) if "wait" in wanted else _start(wanted)
        answers.write(f"{wanted['number']} {answer}\n")
        answers.flush()


def _wait(pid: int) -> int:
    if pid not in _ended:
        _ended[pid] = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    return _ended[pid]


_ended: dict[int, int] = {}  # codes by process, for who was not there to hear one


def _start(wanted: dict[str, Any]) -> int:
    pid = os.fork()
    if not pid:
        _become(wanted)
    _ended.pop(pid, None)
    return pid


def _become(wanted: dict[str, Any]) -> NoReturn:
    code: Any = 1
    try:
        for target, path in ((0, os.devnull), (1, wanted["out"]), (2, wanted["err"])):
            handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o600)
            os.dup2(handle, target)
            os.close(handle)
        os.chdir(wanted["cwd"])
        os.environ.update(wanted["env"])
        if (umask := wanted.get("umask")) is not None:
            os.umask(umask)
        if (limit := wanted["file_limit_bytes"]) is not None:
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)  # then a write fails with EFBIG, as one with ENOSPC
            resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
        if wanted["die"]:
            _die_at(*wanted["die"].split())
        for name, *arguments in wanted["arm"]:
            _named(name)(*arguments)
        sys.argv = ["alvh", *wanted["start"]]
        (_named(wanted["main"]) if wanted["main"] else cli.main)()
        code = 0
    except SystemExit as end:
        code = end.code
    except BaseException:  # noqa: BLE001 - what the interpreter does with it
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code if isinstance(code, int) else 0 if code is None else 1)


def _named(name: str) -> Any:
    module, _, function = name.partition(":")
    return getattr(importlib.import_module(module), function)


def _die_at(when: str, number: str) -> None:
    """Put a SIGKILL before or after one write of the journal: no ``finally`` of the program runs."""
    write, done = SqlJournal._append, 0

    def killing(journal: SqlJournal, *arguments: Any) -> None:
        nonlocal done
        done += 1
        for moment in ("before", "after"):
            if (when, number) == (moment, str(done)):
                os.kill(os.getpid(), signal.SIGKILL)
                time.sleep(60.0)
            if moment == "before":
                write(journal, *arguments)

    SqlJournal._append = killing  # type: ignore[method-assign]


if __name__ == "__main__":
    main()
