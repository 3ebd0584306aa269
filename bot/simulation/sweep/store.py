"""The results file of sweeps: one JSON line for each finished evaluation, on disk before the next begins.

Lines are only ever added. A line that a crash cut off is dropped; lines of other studies, policies and
versions lie beside and are never taken for these.
"""

import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from io import FileIO
from pathlib import Path
from typing import Any

from bot.errors import ConfigError
from bot.model.parsing import json_of
from bot.simulation.sweep.evaluation import Evaluation, evaluation_from

FORMAT = 1
_BEGINS = b'{"format":'  # every line


class ResultsFile:
    """Evaluations of one study, by the hash of their policy. Make it with ``open_results``."""

    def __init__(self, file: FileIO, study_digest: str, path: Path) -> None:
        self._file, self._study, self._path = file, study_digest, path
        self._found: dict[str, Evaluation] = {}
        self._read()

    def __len__(self) -> int:
        """Return how many policies have ever been evaluated on this study, as far as the file knows."""
        return len(self._found)

    def get(self, policy_hash: str) -> Evaluation | None:
        return self._found.get(policy_hash)

    def add(self, evaluation: Evaluation) -> Evaluation:
        """Write an evaluation and return it as it will be read again. Raises ConfigError."""
        row = {"format": FORMAT, "study": self._study, **evaluation.to_json()}
        line = json.dumps(row, allow_nan=False, separators=(",", ":")).encode() + b"\n"
        try:
            left = line
            while left:
                left = left[self._file.write(left) :]
            os.fsync(self._file.fileno())
        except OSError as error:
            raise _unwritable(self._path, error) from None
        kept = evaluation_from(json_of(line))
        self._found[kept.policy_hash] = kept
        return kept

    def _read(self) -> None:
        good = 0
        for number, line in enumerate(self._path.read_bytes().splitlines(keepends=True), start=1):
            if not line.endswith(b"\n"):
                self._refuse_other(line, number)
                break
            self._take(line, number)
            good += len(line)
        self._file.truncate(good)

    def _refuse_other(self, line: bytes, number: int) -> None:
        """Refuse a last line that is no cut-off one of ours: it would be dropped."""
        if not (line.startswith(_BEGINS) or _BEGINS.startswith(line)):
            raise self._no_result(number)

    def _take(self, line: bytes, number: int) -> None:
        try:
            row: Any = json_of(line)
            if row["format"] == FORMAT and row["study"] == self._study:
                kept = evaluation_from(row)
                self._found[kept.policy_hash] = kept
        except (ValueError, KeyError, TypeError):
            raise self._no_result(number) from None

    def _no_result(self, number: int) -> ConfigError:
        return ConfigError(
            f"results file {self._path}, line {number} is no result of a sweep; name another --results"
        )


@contextmanager
def open_results(path: Path, study_digest: str) -> Iterator[ResultsFile]:
    """Open a results file, made where there is none, for this process alone.

    Raises ConfigError for a file that cannot be read and written, that is no results file, or that another
    sweep has open.
    """
    try:
        file = path.open("ab", buffering=0)  # a buffer would try a failed write again when it is closed
    except OSError as error:
        raise _unwritable(path, error) from None
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise ConfigError(
                f"results file {path} is in use by another sweep; wait for it, or name another --results"
            ) from None
        yield ResultsFile(file, study_digest, path)


def _unwritable(path: Path, error: OSError) -> ConfigError:
    return ConfigError(f"results file {path} cannot be written: {error.strerror}; name another --results")
