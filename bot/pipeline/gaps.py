"""What was not observed, and why: each head is observed or lies in a gap with a reason (REL-I5)."""

from collections.abc import Sequence
from typing import NamedTuple, Protocol

from bot.chain.heads import MAX_REORG, NewHead
from bot.errors import StaleDataError
from bot.model.market import Block, SeriesKey
from bot.model.units import iso_utc

BETWEEN_POLLS = "appeared between two polls"
NOT_RUNNING = "the program was not running"


class Gap(NamedTuple):
    """A stretch of heads that were not observed, both ends included.

    Heads inside it that were observed all the same are in the list of heads: short gaps of one reason,
    such as those between two polls, are kept as one stretch.
    """

    chain_id: int
    from_number: int
    to_number: int
    from_s: float  # time of the last head observed before it
    to_s: float  # time of the first one observed after it
    why: str

    def __str__(self) -> str:
        return (
            f"chain {self.chain_id}: blocks {self.from_number} to {self.to_number} were not observed "
            f"({iso_utc(self.from_s)} to {iso_utc(self.to_s)}): {self.why}"
        )


class Halt(NamedTuple):
    """Why nothing new may be opened until a person has looked."""

    chain_id: int
    since_s: float
    why: str


class HeadsStore(Protocol):
    """What a head log needs of the history."""

    def add_head(self, block: Block) -> None: ...

    def add_gap(self, gap: Gap) -> None: ...

    def add_halt(self, halt: Halt) -> None: ...

    def last_heads(self, chain_id: int) -> Sequence[Block]:
        """Return observed heads, oldest first."""
        ...

    def orphan(self, keys: Sequence[SeriesKey], *, chain_id: int, from_block: int) -> int: ...


class CanonicalChain(Protocol):
    async def block(self, number: int) -> Block:
        """Return the canonical block of a height. Raises StaleDataError when there is none."""
        ...


class HeadLog:
    """Follows which heads of one chain were observed and lets rows of blocks that are gone leave.

    ``keys`` are the series that are read from this chain.
    """

    def __init__(self, store: HeadsStore, *, chain_id: int, keys: Sequence[SeriesKey]) -> None:
        self._store = store
        self._chain_id = chain_id
        self._keys = tuple(keys)
        stored = store.last_heads(chain_id)
        self._last: Block | None = stored[-1] if stored else None
        self._why = NOT_RUNNING

    def trouble(self, why: str) -> None:
        """Say why heads are not observed now; holds until one is."""
        self._why = why

    def reorganised(self, event: NewHead) -> bool:
        """Take rows back that stood on blocks which are gone. Returns whether any stood there."""
        head, depth = event.block, event.reorg_depth
        if not depth or self._last is None:
            return False
        first_gone = event.skipped[0] if event.skipped else head.number
        if depth > MAX_REORG:
            self.halt(head, f"at {head.number} it was reorganised by more than {MAX_REORG} blocks")
        return self._take_back(first_gone)

    def observed(self, head: Block) -> Gap | None:
        """Note that ``head`` was observed. Returns the gap before it, if there is one."""
        gap, last = None, self._last
        if last is not None and head.number > last.number + 1:
            gap = Gap(
                chain_id=self._chain_id,
                from_number=last.number + 1,
                to_number=head.number - 1,
                from_s=float(last.timestamp_s),
                to_s=float(head.timestamp_s),
                why=self._why,
            )
            self._store.add_gap(gap)
        self._store.add_head(head)
        self._last, self._why = head, BETWEEN_POLLS
        return gap

    async def check_stored(self, chain: CanonicalChain, *, deepest: int = 64) -> int:
        """Take back rows of heads that were reorganised away while nobody looked. Returns how many heads.

        Raises TransientError. A height that the node does not have proves nothing: it may lag.
        """
        gone: list[Block] = []
        for head in reversed(self._store.last_heads(self._chain_id)[-deepest:]):
            try:
                found = await chain.block(head.number)
            except StaleDataError:
                continue
            if found.hash == head.hash:
                break
            gone.append(head)
        if gone:
            self._take_back(gone[-1].number)
        return len(gone)

    def _take_back(self, first_gone: int) -> bool:
        rows = self._store.orphan(self._keys, chain_id=self._chain_id, from_block=first_gone)
        left = self._store.last_heads(self._chain_id)
        self._last = left[-1] if left else None
        return rows > 0

    def halt(self, head: Block | None, why: str) -> None:
        """Open nothing until a person has looked: what was decided may rest on blocks that are gone."""
        seen = head or self._last
        since_s = float(seen.timestamp_s) if seen else 0.0
        text = f"chain {self._chain_id}: {why}; check what was decided on it, then release the halt"
        self._store.add_halt(Halt(self._chain_id, since_s, text))


def join_gaps(newest: Gap, gap: Gap) -> Gap | None:
    """Return two gaps of one chain as one stretch when both lie between polls and follow each other."""
    if {newest.why, gap.why} != {BETWEEN_POLLS} or gap.from_number <= newest.to_number:
        return None
    return newest._replace(to_number=gap.to_number, to_s=gap.to_s)
