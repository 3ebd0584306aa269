"""``scripts/bench start``: how long a person waits for the help page and for a completed word."""

import os
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from bench_timers import Figures

_ALVH = str(Path(sys.executable).with_name("alvh"))
_ROUNDS = 21
_WORD = {"_ALVH_COMPLETE": "complete_bash", "COMP_WORDS": "alvh mon", "COMP_CWORD": "1"}


async def bench_start() -> Figures:
    """Return medians in seconds, and the help over an empty program of the same Python."""
    taken: dict[str, list[float]] = {"python": [], "help": [], "completion": []}
    for number in range(_ROUNDS + 1):
        round_s = {
            "python": _seconds([sys.executable, "-c", "pass"]),
            "help": _seconds([_ALVH, "--help"]),
            "completion": _seconds([_ALVH], _WORD),
        }
        for name, seconds in round_s.items() if number else ():  # the first one warms up
            taken[name].append(seconds)
    return {
        "help_s": float(np.median(taken["help"])),
        "help_over_python": float(np.median(np.array(taken["help"]) / np.array(taken["python"]))),
        "completion_s": float(np.median(taken["completion"])),
    }


def _seconds(command: Sequence[str], more: Mapping[str, str] | None = None) -> float:
    begin = time.perf_counter()
    subprocess.run(command, env={**os.environ, **(more or {})}, capture_output=True, check=False)
    return time.perf_counter() - begin
