"""How heartbeats leave a journal: read in stretches, kept in an archive first, bridged by their hashes.

A heartbeat says that a step was done and nothing was new; what it repeats is in the full step before it, of
which there is one an hour at least. Orders, transactions and full steps never leave.
"""

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from bot.errors import InvariantError
from bot.model.parsing import json_of
from bot.pipeline.journal_chain import RESTORE_HINT, Pruned


@dataclass(frozen=True, slots=True, kw_only=True)
class Archive:
    """The file in which rows that leave are kept."""

    name: str
    sha256: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PruneResult:
    """What left a journal."""

    rows: int
    stretches: int
    archive: Archive | None = None  # none where nothing left


def stretches(rows: Iterable[tuple[int, str, str]]) -> Iterator[Pruned]:
    """Join rows (number, hash before, own hash) that follow each other, in the order of their numbers."""
    part: Pruned | None = None
    for seq, previous_hash, own_hash in rows:
        if part is not None and seq == part.last_seq + 1:
            part = part._replace(last_seq=seq, last_hash=own_hash)
            continue
        if part is not None:
            yield part
        part = Pruned(seq, seq, previous_hash, own_hash)
    if part is not None:
        yield part


def row_of(part: Pruned, archive: Archive, *, at_s: float) -> dict[str, Any]:
    """Return the row of ``prunings`` that stays in place of a stretch, not yet bound into the chain."""
    hashes = {"previous_hash": part.previous_hash, "last_hash": part.last_hash}
    return {
        "first_seq": part.first_seq,
        "last_seq": part.last_seq,
        "at_s": at_s,
        "body": json.dumps({**hashes, "archive": archive.name, "archive_sha256": archive.sha256}),
    }


def pruned_of(row: Any) -> Pruned:
    """Return the stretch of a row of ``prunings``. Raises InvariantError for one that makes no sense."""
    try:
        body = json_of(row.body)
        hashes = (str(body["previous_hash"]), str(body["last_hash"]))
    except (ValueError, LookupError, TypeError):
        raise InvariantError(f"row {row.seq} of prunings makes no sense: {RESTORE_HINT}") from None
    return Pruned(int(row.first_seq), int(row.last_seq), *hashes)
