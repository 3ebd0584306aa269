"""What the processes of a pool do in tests. Light: each of them imports it."""

import os
import signal
import time
from pathlib import Path

from bot.errors import ConfigError


def double(number: int) -> int:
    print("noise")  # noqa: T201 - what a library prints must not reach the parent's standard output
    return 2 * number


def refuse(number: int) -> int:
    if number == 333:
        raise ConfigError("333 is refused")
    time.sleep(60.0)
    return number


def die(number: int) -> int:
    os.kill(os.getpid(), signal.SIGKILL)
    return number


def first_waits(place: str) -> int:
    """Say that it runs; a path waits for long, nothing returns at once."""
    if place:
        Path(place).touch()
        time.sleep(60.0)
    return len(place)
