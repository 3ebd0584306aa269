"""Long parts in as many processes as there are cores, each with a world of its own."""

import multiprocessing
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from typing import TypeVar

from campaign.place import NODE

Item = TypeVar("Item")
Found = TypeVar("Found")


def spread(work: Callable[[Sequence[Item]], list[Found]], items: Sequence[Item], *, jobs: int) -> list[Found]:
    """Return what ``work`` found in all items, dealt out in turn; a node that was named serves one process.

    ``jobs``: processes, 0 for as many as cores. ``work`` must be a function of a module.
    """
    count = 1 if os.environ.get(NODE) else max(1, min(jobs or os.cpu_count() or 1, len(items)))
    parts = [items[first::count] for first in range(count)]
    with ProcessPoolExecutor(count, mp_context=multiprocessing.get_context("spawn")) as executor:
        return [found for part in executor.map(work, parts) for found in part]
