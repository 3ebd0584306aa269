"""The chain of hashes that binds the rows of a journal, and what bridges the stretches that left it."""

import hashlib
import json
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from sqlalchemy import Table

from bot.errors import InvariantError

GENESIS = "0" * 64  # what the first row names as the hash before it
RESTORE_HINT = "stop, keep the file for inspection and restore a copy"

ChainedRow = tuple[int, Table, dict[str, Any]]  # its number, its table, its columns


class Pruned(NamedTuple):
    """A stretch of rows that left, and the hashes that bind what is on its two sides."""

    first_seq: int
    last_seq: int
    previous_hash: str  # of the row before the first
    last_hash: str  # of the last


def row_hash(table: Table, row: Mapping[str, Any]) -> str:
    """Return SHA-256 over the table's name and every column but the hash itself."""
    content = {name: row[name] for name in table.columns.keys() if name != "row_hash"}  # noqa: SIM118
    text = json.dumps([table.name, content], sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


def check_chain(rows: Iterable[ChainedRow], gone: Iterable[Pruned], *, first: int, name: str) -> int:
    """Check rows from number ``first`` on, in their order; return how many there were.

    Raises InvariantError naming the first row that does not fit.
    """
    bridges = {item.first_seq: item for item in gone}
    if first > 1:  # may begin inside of what left: then it begins behind it
        inside = (item for item in bridges.values() if item.first_seq < first <= item.last_seq)
        first = max((item.last_seq + 1 for item in inside), default=first)
    expected, previous, checked = first, GENESIS if first == 1 else "", 0
    for seq, table, row in rows:
        if seq < first:
            continue
        while seq > expected and expected in bridges:  # what left later may follow what left before
            bridge = bridges[expected]
            if previous not in ("", bridge.previous_hash):
                raise InvariantError(f"journal {name} was changed before row {expected}: {RESTORE_HINT}")
            expected, previous = bridge.last_seq + 1, bridge.last_hash
        if seq != expected:
            raise InvariantError(f"journal {name} lost row {expected}: {RESTORE_HINT}")
        is_bound = (previous or row["previous_hash"]) == row["previous_hash"]
        if not is_bound or row["row_hash"] != row_hash(table, row):
            raise InvariantError(f"journal {name} was changed at row {seq} of {table.name}: {RESTORE_HINT}")
        expected, previous, checked = seq + 1, row["row_hash"], checked + 1
    return checked
