"""What every area of ``scripts/bench`` times with."""

import time
from collections.abc import Awaitable, Callable

import numpy as np

Figures = dict[str, float]


def median_ms(work: Callable[[], object], *, rounds: int, warm: int = 3) -> tuple[float, float]:
    """Return (median, 95th percentile) in ms."""
    for _ in range(warm):
        work()
    taken = []
    for _ in range(rounds):
        started = time.perf_counter()
        work()
        taken.append(time.perf_counter() - started)
    return float(np.median(taken)) * 1e3, float(np.percentile(taken, 95)) * 1e3


async def timed_s(work: Callable[[], Awaitable[object]]) -> float:
    started = time.perf_counter()
    await work()
    return time.perf_counter() - started
