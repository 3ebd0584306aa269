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

    def flush(self) -> None: ...

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
        # Height and time from which on heads are not observed, when all that were observed are gone.
        self._unseen: tuple[int, float] | None = None
        self._why = NOT_RUNNING

    def trouble(self, why: str) -> None:
        """Say why heads are not observed now; holds until one is."""
        self._why = why

    def reorganised(self, event: NewHead) -> bool:
        """Take rows back that stood on blocks which are gone. Returns whether any stood there.

        Past MAX_REORG blocks nothing says where the dead chain began: all rows are taken back.
        """
        head, depth = event.block, event.reorg_depth
        if depth > MAX_REORG:
            self._halt_for_depth(head)
            return self._take_back(0)
        if depth:
            return self._take_back(event.skipped[0] if event.skipped else head.number)
        last = self._last
        if last is None or head.number > last.number or self._is_stored(head):
            return False
        return self._take_back(head.number)  # the first head since a start has no depth, and is another one

    def observed(self, head: Block) -> Gap | None:
        """Note that ``head`` was observed. Returns the gap before it, if there is one."""
        gap, last = None, self._last
        unseen = self._unseen if last is None else (last.number + 1, float(last.timestamp_s))
        if unseen is not None and head.number > unseen[0]:
            gap = Gap(
                chain_id=self._chain_id,
                from_number=unseen[0],
                to_number=head.number - 1,
                from_s=unseen[1],
                to_s=float(head.timestamp_s),
                why=self._why,
            )
            self._store.add_gap(gap)
        self._store.add_head(head)
        self._last, self._unseen, self._why = head, None, BETWEEN_POLLS
        return gap

    async def check_stored(self, chain: CanonicalChain, *, deepest: int = 64) -> int:
        """Take back rows of heads that were reorganised away while nobody looked. Returns how many heads.

        Raises TransientError. A height that the node does not have proves nothing: it may lag. When none of
        the ``deepest`` newest is left, the chain is another one from further down, and no row of it stays.
        """
        gone: list[Block] = []
        stored = self._store.last_heads(self._chain_id)
        for head in reversed(stored[-deepest:]):
            try:
                found = await chain.block(head.number)
            except StaleDataError:
                continue
            if found.hash == head.hash:
                break
            gone.append(head)
        if not gone:
            return 0
        if stored[-1].number - gone[-1].number >= MAX_REORG:
            self._halt_for_depth(stored[-1])
        all_gone = len(gone) == deepest
        self._take_back(0 if all_gone else gone[-1].number)
        return len(stored) if all_gone else len(gone)

    async def check_filled(self, chain: CanonicalChain, head: Block) -> bool:
        """Take back the newest rows when ``head``, under which they were filled, is gone by now.

        For the time in which no head is followed yet. Returns whether it is gone. Raises TransientError.
        """
        try:
            stands = (await chain.block(head.number)).hash == head.hash
        except StaleDataError:
            stands = False
        if not stands:
            self._take_back(max(head.number - MAX_REORG, 0))
        return not stands

    def _take_back(self, first_gone: int) -> bool:
        before = self._store.last_heads(self._chain_id)
        rows = self._store.orphan(self._keys, chain_id=self._chain_id, from_block=first_gone)
        left = self._store.last_heads(self._chain_id)
        self._last = left[-1] if left else None
        if before and not left:
            self._unseen = (max(before[0].number, first_gone), float(before[0].timestamp_s))
        return rows > 0

    def _is_stored(self, head: Block) -> bool:
        stored = reversed(self._store.last_heads(self._chain_id))
        return any(seen.number == head.number and seen.hash == head.hash for seen in stored)

    def _halt_for_depth(self, head: Block) -> None:
        self.halt(head, f"at {head.number} it was reorganised by more than {MAX_REORG} blocks")

    def halt(self, head: Block | None, why: str) -> None:
        """Open nothing until a person has looked: what was decided may rest on blocks that are gone."""
        seen = head or self._last
        since_s = float(seen.timestamp_s) if seen else 0.0
        text = f"chain {self._chain_id}: {why}; check what was decided on it, then run alvh release"
        self._store.add_halt(Halt(self._chain_id, since_s, text))
        self._store.flush()  # a kill right after it must not lose it


def join_gaps(newest: Gap, gap: Gap) -> Gap | None:
    """Return two gaps of one chain as one stretch when both lie between polls and follow each other."""
    if {newest.why, gap.why} != {BETWEEN_POLLS} or gap.from_number <= newest.to_number:
        return None
    return newest._replace(to_number=gap.to_number, to_s=gap.to_s)
