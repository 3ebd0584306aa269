"""A look at a history without writing to it: the newest heads, gaps, and halts that stand."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError

from bot.errors import TransientError
from bot.model.market import Block
from bot.pipeline import databases
from bot.pipeline.gaps import Gap, Halt
from bot.pipeline.history_place import HistoryPlace

_HEADS = sa.text(
    "SELECT chain_id, number, hash, parent_hash, timestamp_s FROM heads AS one "
    "WHERE number = (SELECT MAX(number) FROM heads WHERE chain_id = one.chain_id)"
)
_GAPS = sa.text(
    "SELECT chain_id, from_number, to_number, from_s, to_s, why FROM gaps "
    "ORDER BY to_s DESC, to_number DESC LIMIT :at_most"
)
_HALTS = sa.text("SELECT chain_id, since_s, why FROM halts WHERE released_at_s IS NULL ORDER BY id")


@dataclass(frozen=True, slots=True, kw_only=True)
class HistoryLook:
    """What the history says at one time, whoever wrote it."""

    heads: Mapping[int, Block] = field(default_factory=dict)  # newest observed, by chain
    gaps: tuple[Gap, ...] = ()  # the newest, newest last
    halts: tuple[Halt, ...] = ()


class HistoryLooker:
    """Looks again and again; begins once a run has begun a history."""

    def __init__(self, place: HistoryPlace, *, who: str) -> None:
        self._place, self._who = place, who
        self._engine: sa.Engine | None = None

    def look(self, *, gaps: int = 20) -> HistoryLook:
        """Return what is there; nothing where no run has begun one.

        Raises ConfigError for what is no history, TransientError when it cannot be read now.
        """
        self._engine = self._engine or self._place.open_reader(who=self._who)
        if self._engine is None:
            return HistoryLook()
        try:
            with self._engine.connect() as connection, connection.begin():
                heads = [Block(**row) for row in connection.execute(_HEADS).mappings()]
                found = connection.execute(_GAPS, {"at_most": gaps}).all()
                halts = tuple(Halt(*row) for row in connection.execute(_HALTS))
        except DBAPIError as error:
            self.close()
            raise TransientError(
                f"history {self._place.name} cannot be read: {databases.reason(error)}"
            ) from None
        return HistoryLook(
            heads={item.chain_id: item for item in heads},
            gaps=tuple(Gap(*row) for row in found)[::-1],
            halts=halts,
        )

    def close(self) -> None:
        if self._engine is not None:
            self._engine.dispose()
            self._engine = None
