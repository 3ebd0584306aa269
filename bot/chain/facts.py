"""Answers that can never change (a pool's tokens, a token's decimals), asked once per run."""

from bot.chain.abi import FixedCall
from bot.model.market import Block
from bot.ports import Call

_MAX_KEPT = 20_000
Answer = tuple[object, ...]


class Facts:
    """Keeps the answers of FixedCalls for as long as each block is seen to stand on the one before.

    After a reorg another contract may lie at an address, so whatever was read is asked again. So it is after
    a gap between two blocks, where a reorg could not have been seen, and for reads of the past.
    """

    def __init__(self) -> None:
        self._known: dict[Call, Answer] = {}
        self._last: Block | None = None

    def go_to(self, block: Block) -> None:
        """Say which block is read next."""
        last = self._last
        if last is not None and block.hash == last.hash:
            return
        follows = last is not None and block.parent_hash == last.hash and block.number == last.number + 1
        if not follows or len(self._known) > _MAX_KEPT:
            self._known.clear()
        self._last = block

    def get(self, call: Call) -> Answer | None:
        return self._known.get(call) if isinstance(call, FixedCall) else None

    def keep(self, call: Call, answer: Answer | None, *, block: Block) -> None:
        """Keep what a FixedCall answered at ``block``; a failure is asked again."""
        last = self._last
        if (
            isinstance(call, FixedCall)
            and answer is not None
            and last is not None
            and last.hash == block.hash
        ):
            self._known[call] = answer
