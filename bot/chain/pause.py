"""The pause: a file that says who stopped new risk, when and why. The bot writes it, the signer reads it.

While it is there only what closes, claims, revokes or cancels is signed. It outlives every process, and only
a person takes it away (REL-L2): what they released is kept beside it, so that a circuit breaker knows its own
release from a file that somebody deleted. A file that cannot be read counts as a pause.
"""

import json
import os
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from errno import EISDIR
from math import isfinite, nan
from pathlib import Path
from typing import Any

from bot.errors import ConfigError, one_line
from bot.model.parsing import json_of
from bot.model.units import iso_utc

_NAME = "paused"
_RELEASED = "released"  # the last pause that a person ended
_MOST_BYTES = 4_096


@dataclass(frozen=True, slots=True, kw_only=True)
class Pause:
    """Who paused, when (Unix seconds, NaN where the file does not say) and why."""

    who: str
    at_s: float
    why: str

    def __str__(self) -> str:
        when = iso_utc(self.at_s) if isfinite(self.at_s) else "an unknown time"
        return f"paused by {self.who} at {when}: {self.why}"


def pause_path(state_dir: Path) -> Path:
    return state_dir / _NAME


def read_pause(state_dir: Path) -> Pause | None:
    """Return the pause that is in force, None when there is none."""
    return _read(pause_path(state_dir))


def first_pause(folders: Iterable[Path]) -> Pause | None:
    """Return the first pause that is in force in any of some folders."""
    return next(filter(None, map(read_pause, folders)), None)


def read_released(state_dir: Path) -> Pause | None:
    """Return the pause that a person ended last, None when there was none."""
    return _read(state_dir / _RELEASED)


def _read(path: Path) -> Pause | None:
    try:
        with path.open("rb") as file:
            fields = json_of(file.read(_MOST_BYTES))
        who, why = one_line(str(fields["who"])), one_line(str(fields["why"]))
        return Pause(who=who, at_s=_stamp(fields["at_s"]), why=why)
    except FileNotFoundError:
        return None
    except OSError as error:
        return _unreadable(path, error.strerror or type(error).__name__)
    except (ValueError, KeyError, TypeError):
        return _unreadable(path, "it is damaged")


def write_pause(state_dir: Path, pause: Pause) -> Pause:
    """Put a pause in force, on disk when this returns; the one in force stays. Returns what is in force.

    Raises ConfigError when it cannot be written: nothing is paused then.
    """
    if (there := read_pause(state_dir)) is not None:
        return there
    path = pause_path(state_dir)
    text = json.dumps({"who": pause.who[:200], "at_s": pause.at_s, "why": pause.why[:1_000]})
    try:
        state_dir.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=state_dir, prefix=f".{_NAME}.")  # of mode 0600
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text + "\n")
            file.flush()
            os.fsync(file.fileno())
        Path(name).replace(path)
        _sync(state_dir)
    except OSError as error:
        raise ConfigError(f"{path} cannot be written, nothing is paused: {error.strerror}") from None
    return pause


def end_pause(state_dir: Path) -> Pause | None:
    """Take the pause away and return it, None when there was none. Raises ConfigError."""
    there = read_pause(state_dir)
    try:
        if pause_path(state_dir).is_dir():
            raise IsADirectoryError(EISDIR, "it is a folder")
        pause_path(state_dir).replace(state_dir / _RELEASED)
        _sync(state_dir)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise ConfigError(
            f"{pause_path(state_dir)} cannot be removed, the pause stays: {error.strerror}"
        ) from None
    return there


def _stamp(value: Any) -> float:
    """Return Unix seconds, NaN for what no float can hold. Raises TypeError or ValueError."""
    try:
        return float(value)
    except OverflowError:
        return nan


def _unreadable(path: Path, why: str) -> Pause:
    return Pause(who="nobody known", at_s=nan, why=f"{path} is there and cannot be read ({why})")


def _sync(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
