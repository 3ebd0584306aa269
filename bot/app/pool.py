"""Pieces of one long run in processes of their own, on every core: the longest first, nothing left behind."""

import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from typing import TypeVar

from bot.errors import TransientError

_Piece = TypeVar("_Piece")
_Found = TypeVar("_Found")


def in_processes(
    work: Callable[[_Piece], _Found],
    pieces: Sequence[_Piece],
    processes: int,
    *,
    length: Callable[[_Piece], float],
) -> Iterator[tuple[int, _Found]]:
    """Yield the place of each piece and what came of it, as it is done, in up to so many processes.

    The longest begin first, so that no core is left alone with one at the end. Where this ends early, also by
    Ctrl-C, what still runs is ended with it. Raises what the work raises, and TransientError where a process
    ends under its piece.
    """
    context = multiprocessing.get_context("spawn")
    others = set(multiprocessing.active_children())
    longest = sorted(range(len(pieces)), key=lambda at: -length(pieces[at]))
    many = min(processes, len(pieces))
    with ProcessPoolExecutor(max_workers=many, mp_context=context, initializer=_begin) as pool:
        running = {pool.submit(work, pieces[at]): at for at in longest}
        try:
            for future in as_completed(running):
                yield running[future], future.result()
        except BaseException as error:
            pool.shutdown(wait=False, cancel_futures=True)
            for process in set(multiprocessing.active_children()) - others:
                process.terminate()
            if isinstance(error, BrokenProcessPool):
                raise TransientError(
                    "a process ended under its part of the run, as the system does when memory runs out; "
                    "run the same command again with fewer --processes"
                ) from None
            raise


def _begin() -> None:
    """Leave Ctrl-C to the parent, and its standard output too: it may be JSON, and HiGHS prints from C++.

    Python leaves the workers of a parent that is killed at work, so each waits for its parent's end itself.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
