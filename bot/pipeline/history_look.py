"""A look at the file of a history without writing to it: the newest heads, gaps, and halts that stand."""

import sqlite3
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote

from bot.errors import TransientError
from bot.model.market import Block
from bot.pipeline.gaps import Gap, Halt

_BUSY_S = 2.0
_HEADS = """SELECT chain_id, number, hash, parent_hash, timestamp_s FROM heads AS one
            WHERE number = (SELECT MAX(number) FROM heads WHERE chain_id = one.chain_id)"""
_GAPS = "SELECT * FROM gaps ORDER BY to_s DESC, to_number DESC LIMIT ?"
_HALTS = "SELECT chain_id, since_s, why FROM halts WHERE released_at_s IS NULL ORDER BY id"


@dataclass(frozen=True, slots=True, kw_only=True)
class HistoryLook:
    """What the file says at one time."""

    heads: Mapping[int, Block] = field(default_factory=dict)  # newest observed, by chain
    gaps: tuple[Gap, ...] = ()  # the newest, newest last
    halts: tuple[Halt, ...] = ()


def look_at_history(path: Path, *, gaps: int = 20) -> HistoryLook:
    """Return what is there; nothing where no run has begun one. Raises TransientError when unreadable."""
    if not path.is_file():
        return HistoryLook()
    try:
        url = f"file:{quote(str(path.absolute()))}?mode=ro"
        with closing(sqlite3.connect(url, uri=True, timeout=_BUSY_S)) as connection:
            heads = [_block(*row) for row in connection.execute(_HEADS)]
            return HistoryLook(
                heads={item.chain_id: item for item in heads},
                gaps=tuple(Gap(*row) for row in connection.execute(_GAPS, (gaps,)))[::-1],
                halts=tuple(Halt(*row) for row in connection.execute(_HALTS)),
            )
    except sqlite3.Error as error:
        raise TransientError(f"history {path} cannot be read: {error}") from None


def _block(chain_id: int, number: int, block_hash: str, parent_hash: str, timestamp_s: int) -> Block:
    return Block(
        chain_id=chain_id, number=number, hash=block_hash, parent_hash=parent_hash, timestamp_s=timestamp_s
    )
