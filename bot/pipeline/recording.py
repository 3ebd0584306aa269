"""A recording of a run: everything its decisions rested on, to decide again later.

A recording is a folder of parts, one for each run and each day of it. A part stands by itself:

``start.json``           policy, state and every order at its first step
``base.parquet``         every row of the history at its first step
``figures.parquet``      every row that was derived until then (bot/pipeline/derived.py)
``rows-NNNN.parquet``    what joined or left the history since, in order, each with the step it came before;
                         of kind "derived" what that step derived, which a replay derives again
``steps-NNNN.parquet``   one row for each step: moment, answers of venues, what a person asked for, decision
``tail.jsonl``           the steps that are in no Parquet file yet, one line each

Lines are written step by step; every so many, they become Parquet files by an atomic rename. After a crash
the tail is read as far as it is whole. When the folder is over its size, the oldest parts are deleted.
"""

import hashlib
import json
import math
import os
import shutil
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TextIO, TypeAlias

import numpy as np
import pandas as pd

from bot.engine.policy import Policy
from bot.errors import ConfigError, InvariantError
from bot.model.market import SeriesKey
from bot.model.parsing import json_of
from bot.model.record import StepRecord
from bot.model.units import DAY_S, iso_utc
from bot.pipeline import codec
from bot.pipeline.derived import Figures
from bot.pipeline.desk import request_document
from bot.pipeline.history import Change, History
from bot.pipeline.history_store import NO_BLOCK, StoredRows
from bot.pipeline.loop import Step
from bot.pipeline.recorded_orders import JournalOrders
from bot.pipeline.recorded_venue import Answer, RecordedPerpetualVenue, RecordedVenue
from bot.ports import Journal

SCHEMA = 1
STEPS_PER_FILE = 300  # an hour of 12 s blocks
MAX_BYTES = 4 * 1024**3
START, BASE, FIGURES, TAIL = "start.json", "base.parquet", "figures.parquet", "tail.jsonl"
DERIVED = "derived"  # kind of a row

STEP_COLUMNS = (
    "sequence",
    "now_s",
    "blocks",
    "exposures",
    "holds",
    "unseen",
    "base",
    "vote",
    "held",
    "answers",
    "asked",
    "record",
    "decision_hash",
)
CHANGE_COLUMNS = (
    "sequence",
    "kind",
    "metric",
    "subject",
    "source",
    "at_s",
    "value",
    "read_at_s",
    "block",
    "why_unknown",
)
BASE_COLUMNS = ("metric", "subject", "source", "observed_at_s", "value", "block")

Line: TypeAlias = dict[str, Any]


@dataclass(slots=True, kw_only=True)
class Recorder:
    """Writes a recording. ``write`` is called with every step, before it is in the journal.

    Raises ConfigError when the folder cannot be used, InvariantError when it cannot be written any more.
    """

    folder: Path
    mode: str
    policy: Policy
    history: History
    journal: Journal
    venues: Sequence[RecordedVenue | RecordedPerpetualVenue] = ()
    figures: Figures | None = None
    steps_per_file: int = STEPS_PER_FILE
    max_bytes: int = MAX_BYTES
    _part: Path | None = field(default=None, init=False)
    _day: int = field(default=-1, init=False)
    _lines: int = field(default=0, init=False)  # in the tail
    _tail: TextIO | None = field(default=None, init=False)
    _orders: JournalOrders = field(init=False)
    _run: str = field(default="", init=False)
    _last: StepRecord | None = field(default=None, init=False)

    def __post_init__(self) -> None:
        try:
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            for part in parts(self.folder):
                close_tail(part)
        except OSError as error:
            raise ConfigError(f"recording {self.folder} cannot be used: {error.strerror}") from None
        self._last = self.journal.last_step()
        self._orders = JournalOrders.of(self.journal)
        self.history.record()
        if self.figures is not None:
            self.figures.record()

    def write(self, step: Step) -> None:
        """Add one step."""
        changes = [_change(item) for item in self.history.changes()]
        derived = self.figures.taken() if self.figures is not None else []
        changes += [[DERIVED, *_change(item)[1:]] for item in derived]
        answers = [item for venue in self.venues for item in venue.take()]
        try:
            if self._begins_part(step):
                changes = []  # they are in the tables that a part begins with
            self._add(_line(step, changes, answers))
        except OSError as error:
            raise InvariantError(
                f"recording {self.folder} could not be written: {error.strerror}; free space and start again"
            ) from error
        self._last = step.record
        self._orders = self._orders.after(step.record, self.journal)
        if self._lines >= self.steps_per_file:
            self.close()

    def close(self) -> None:
        """Turn the tail into Parquet files."""
        if self._tail is not None:
            self._tail.close()
            self._tail = None
        if self._part is not None:
            close_tail(self._part)
            self._make_room()
        self._lines = 0

    def _begins_part(self, step: Step) -> bool:
        """Begin a part for a run and for each day of it."""
        day = math.floor(step.decision.now_s / DAY_S)
        if self._part is not None and day == self._day:
            return False
        self.close()
        part = _new_part(self.folder, step.decision.now_s)
        self._run, self._part, self._day = self._run or part.name, part, day
        write_parquet(part / BASE, _base_table(self.history.base()))
        write_parquet(part / FIGURES, _base_table(self.figures.base() if self.figures is not None else ()))
        start = {
            "schema": SCHEMA,
            "mode": self.mode,
            "run": self._run,
            "policy_hash": self.policy.hash,
            "last": codec.dumps(self._last) if self._last else "",
            **self._orders.document(),
        }
        write_whole(part / START, json.dumps(start).encode())
        return True

    def _add(self, line: Line) -> None:
        if self._part is None:
            raise InvariantError("a step was recorded before its part began")
        if self._tail is None:
            self._tail = open(self._part / TAIL, "a", encoding="utf-8")  # noqa: SIM115 - stays open
        self._tail.write(json.dumps(line, separators=(",", ":")) + "\n")
        self._tail.flush()  # a crash of the program loses nothing; one of the machine, at most the tail
        self._lines += 1

    def _make_room(self) -> None:
        """Delete the oldest parts until the folder is under its size; the one being written stays."""
        found = parts(self.folder)
        sizes = [sum(item.stat().st_size for item in part.iterdir()) for part in found]
        while len(found) > 1 and sum(sizes) > self.max_bytes:
            shutil.rmtree(found.pop(0))
            sizes.pop(0)


def parts(folder: Path) -> list[Path]:
    """Return the parts of a recording, oldest first."""
    return sorted(item.parent for item in folder.glob(f"*/{START}"))


def close_tail(part: Path) -> None:
    """Turn the tail of a part, as far as it is whole, into Parquet files. Does nothing without one."""
    lines = tail_lines(part)
    if lines:
        number = len(list(part.glob("steps-*.parquet"))) + 1
        steps = pd.DataFrame([{name: line.get(name, "") for name in STEP_COLUMNS} for line in lines])
        changes = [[line["sequence"], *change] for line in lines for change in line["changes"]]
        write_parquet(part / f"rows-{number:04d}.parquet", _changes_table(changes))
        # Last, since a file of steps is what says that its rows are there too.
        write_parquet(part / f"steps-{number:04d}.parquet", steps)
    (part / TAIL).unlink(missing_ok=True)


def tail_lines(part: Path) -> list[Line]:
    """Return the steps of the tail that are whole and in no Parquet file yet."""
    path = part / TAIL
    if not path.exists():
        return []
    done = last_sequence(part)
    lines: list[Line] = []
    for text in path.read_bytes().split(b"\n"):
        try:
            line = json_of(text)
            is_new = line["sequence"] > done
        except (ValueError, LookupError, TypeError):
            break  # torn by a crash: nothing after it counts
        if is_new:
            lines.append(line)
    return lines


def last_sequence(part: Path) -> int:
    """Return the number of the last step that is in a Parquet file, 0 for none."""
    files = sorted(part.glob("steps-*.parquet"))
    return int(pd.read_parquet(files[-1], columns=["sequence"])["sequence"].max()) if files else 0


def decision_hash(step: Step) -> str:
    """Return a digest of a whole decision."""
    return hashlib.sha256(codec.dumps(step.decision).encode()).hexdigest()


def write_parquet(path: Path, table: pd.DataFrame) -> None:
    """Write a table; the file is there whole or not at all."""
    scratch = path.with_suffix(".part")
    table.to_parquet(scratch, engine="pyarrow", compression="zstd", index=False)
    _settle(scratch, path)


def write_whole(path: Path, data: bytes) -> None:
    scratch = path.with_suffix(".part")
    scratch.write_bytes(data)
    _settle(scratch, path)


def _settle(scratch: Path, path: Path) -> None:
    with scratch.open("rb") as file:
        os.fsync(file.fileno())
    scratch.replace(path)


def _new_part(folder: Path, at_s: float) -> Path:
    name = iso_utc(at_s).replace(":", "").replace("-", "")
    number = len(list(folder.glob(f"{name}*")))  # two runs in one second
    part = folder / (f"{name}-{number}" if number else name)
    part.mkdir(mode=0o700)
    return part


def _line(step: Step, changes: list[list[Any]], answers: Iterable[Answer]) -> Line:
    moment = step.moment
    return {
        "sequence": step.record.sequence,
        "now_s": moment.now_s,
        "blocks": _many(moment.blocks.values()),
        "exposures": _many(moment.exposures),
        "holds": json.dumps(list(moment.holds)),
        "unseen": json.dumps(list(moment.unseen)),
        "base": codec.dumps(moment.base),
        "vote": "" if moment.vote is None else codec.dumps(moment.vote),
        "held": _many(step.frame.held),
        "answers": json.dumps([_answer(item) for item in answers]),
        "asked": json.dumps([request_document(item) for item in step.asked]),
        "record": codec.dumps(step.record),
        "decision_hash": decision_hash(step),
        "changes": changes,
    }


def _many(values: Iterable[Any]) -> str:
    return json.dumps([codec.dumps(item) for item in values])


def _answer(item: Answer) -> list[Any]:
    quotes = [codec.dumps(quote) for quote in item.quotes]
    positions = [codec.dumps(position) for position in item.positions]
    row: list[Any] = [item.venue, item.underlying, item.size, quotes, positions, item.failure, item.why]
    perpetual = [codec.dumps(quote) for quote in item.perpetual_quotes]
    held = [codec.dumps(position) for position in item.perpetual_positions]
    return [*row, perpetual, held]


def _change(item: Change) -> list[Any]:
    """Return a change as a row of CHANGE_COLUMNS without the step."""
    row = item.row
    key = row.key if row is not None else item.key
    named = [key.metric.value, key.subject, key.source] if key is not None else ["", "", ""]
    if row is None:
        block = item.from_block if item.key is not None else None
        return [item.kind.value, *named, item.before_s, None, 0.0, block, ""]
    value = row.value if math.isfinite(row.value) else None
    return [
        item.kind.value,
        *named,
        row.observed_at_s,
        value,
        row.read_at_s,
        row.block_number,
        row.why_unknown,
    ]


def _changes_table(rows: Sequence[Sequence[Any]]) -> pd.DataFrame:
    table = pd.DataFrame(rows, columns=list(CHANGE_COLUMNS))
    return table.astype({"value": "float64", "block": "Int64"})


def _base_table(rows: Iterable[StoredRows]) -> pd.DataFrame:
    """Return one row for each observation, and one without a time for a series that has none."""
    found = [item if item.times_s.size else _placeholder(item.key) for item in rows]
    tables = [
        pd.DataFrame(
            {
                "metric": item.key.metric.value,
                "subject": item.key.subject,
                "source": item.key.source,
                "observed_at_s": item.times_s,
                "value": item.values,
                "block": item.blocks,
            }
        )
        for item in found
    ]
    return pd.concat(tables, ignore_index=True) if tables else pd.DataFrame(columns=list(BASE_COLUMNS))


def _placeholder(key: SeriesKey) -> StoredRows:
    return StoredRows(key, np.array([np.nan]), np.array([np.nan]), np.array([NO_BLOCK], dtype=np.int64))
