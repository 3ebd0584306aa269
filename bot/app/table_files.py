"""Tables written to a file page by page, whole or not at all: CSV for people, Parquet for programs."""

import csv
import math
import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Any, Self, TextIO

import pyarrow as pa
import pyarrow.parquet as pq

from bot.errors import ConfigError

_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n")  # what a spreadsheet would run, or take for another cell
Row = Sequence[Any]


class Kind(StrEnum):
    """What a column holds; none of it known is an empty cell."""

    TEXT = "text"
    NUMBER = "number"
    WHOLE = "whole"
    FLAG = "flag"
    TIME = "time"  # seconds since the epoch, written as UTC


_PARQUET = {
    Kind.TEXT: pa.string(),
    Kind.NUMBER: pa.float64(),
    Kind.WHOLE: pa.int64(),
    Kind.FLAG: pa.bool_(),
    Kind.TIME: pa.timestamp("us", tz="UTC"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """A name, columns with what they hold, and rows in pages."""

    name: str
    columns: Sequence[tuple[str, Kind]]
    pages: Iterable[Sequence[Row]]


class TableFormat(StrEnum):
    CSV = "csv"
    PARQUET = "parquet"


def write_table(table: Table, path: Path, form: TableFormat, *, force: bool = False) -> int:
    """Write a table and return how many rows it has. Raises ConfigError; then the file is as it was."""
    if path.exists() and not force:
        raise ConfigError(f"{path} exists already: name another file, or add --force to replace it")
    scratch = path.with_name(f".{path.name}.{os.getpid()}.part")
    rows = 0
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with _settled(scratch, path), _WRITERS[form](scratch, table) as writer:
            for page in table.pages:
                writer.add(page)
                rows += len(page)
    except OSError as error:
        raise ConfigError(
            f"{path} cannot be written: {error.strerror or error}; free space or name another"
        ) from None
    return rows


@contextmanager
def _settled(scratch: Path, path: Path) -> Iterator[None]:
    """Let what was written take its name once it is on disk; leave nothing else."""
    try:
        yield
        with scratch.open("rb") as file:
            os.fsync(file.fileno())
        scratch.replace(path)
    finally:
        with suppress(OSError):
            scratch.unlink(missing_ok=True)


class _CsvWriter:
    def __init__(self, path: Path, table: Table) -> None:
        self._file: TextIO = path.open("x", encoding="utf-8", newline="")
        self._writer = csv.writer(self._file)
        self._writer.writerow([name for name, _ in table.columns])
        self._kinds = [kind for _, kind in table.columns]

    def add(self, page: Sequence[Row]) -> None:
        self._writer.writerows([list(map(_cell, self._kinds, row)) for row in page])

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()


class _ParquetWriter:
    def __init__(self, path: Path, table: Table) -> None:
        self._schema = pa.schema([(name, _PARQUET[kind]) for name, kind in table.columns])
        self._kinds = [kind for _, kind in table.columns]
        self._writer = pq.ParquetWriter(path, self._schema, compression="zstd")

    def add(self, page: Sequence[Row]) -> None:
        columns = zip(*page, strict=True) if page else ()
        arrays = [
            pa.array([_value(kind, item) for item in column], type=_PARQUET[kind])
            for kind, column in zip(self._kinds, columns, strict=True)
        ]
        self._writer.write_table(pa.Table.from_arrays(arrays, schema=self._schema))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._writer.close()


_WRITERS: dict[TableFormat, type[_CsvWriter] | type[_ParquetWriter]] = {
    TableFormat.CSV: _CsvWriter,
    TableFormat.PARQUET: _ParquetWriter,
}


def _cell(kind: Kind, value: Any) -> str:
    """Return a cell that no spreadsheet runs as a formula; numbers stay numbers."""
    found = _value(kind, value)
    if found is None:
        return ""
    if isinstance(found, datetime):
        return found.isoformat().replace("+00:00", "Z")
    if isinstance(found, bool):
        return str(found).lower()
    text = str(found)
    return f"'{text}" if kind is Kind.TEXT and text.startswith(_FORMULA) else text


def _value(kind: Kind, value: Any) -> Any:
    """Return a value as Parquet has it; None for what is not known."""
    if value is None or (isinstance(value, float) and not math.isfinite(value)):
        return None
    if kind is Kind.TIME:
        return datetime.fromtimestamp(value, tz=UTC)
    return str(value) if kind is Kind.TEXT else value
