"""Reads a PolicyRegistry at the pinned block, and keeps the last state that was good (R22).

Nothing is guessed: what cannot be read, was not decided for this policy, or is older than what was in force,
changes nothing and is told. While no good state is known, or the owners decided otherwise, nothing opens.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

from bot.chain.abi import Abi
from bot.chain.address import checksummed
from bot.errors import BotError, DisagreementError, InvariantError, TransientError
from bot.model.market import Block
from bot.model.policy_vote import PolicyVote
from bot.ports import ChainReader

REGISTRY = Abi.load("PolicyRegistry")


async def read_registry(reader: ChainReader, address: str, *, block: Block) -> PolicyVote:
    """Return what a registry says at a block.

    Raises TransientError when it does not answer, DisagreementError when its answer is none that a registry
    can give.
    """
    (row,) = await reader.read([REGISTRY.call("currentPolicy", address)], block=block)
    if row is None:
        raise TransientError(f"policy registry {address} does not answer at block {block.number}")
    policy_hash, near_bps, mid_bps, tail_bps, sequence, changed_at_s = row
    try:
        return PolicyVote(
            registry=checksummed(address),
            policy_hash=policy_hash.hex(),
            near_bps=near_bps,
            mid_bps=mid_bps,
            tail_bps=tail_bps,
            sequence=sequence,
            changed_at_s=changed_at_s,
            block_number=block.number,
        )
    except InvariantError as error:
        raise DisagreementError(f"policy registry {address} at block {block.number}: {error}") from None


@dataclass(frozen=True, slots=True, kw_only=True)
class Mandate:
    """What decides at a block: the vote in force, and why nothing may be opened under it, if so."""

    vote: PolicyVote | None = None
    hold: str = ""

    @property
    def holds(self) -> tuple[str, ...]:
        return (self.hold,) if self.hold else ()


@dataclass(slots=True, kw_only=True)
class RegistryWatch:
    """Follows one registry. ``refusal`` says why a state cannot be in force ("" when it can).

    ``last`` is the state that was in force when the program last ran, from its journal.
    """

    address: str
    refusal: Callable[[PolicyVote], str]
    last: PolicyVote | None = None
    on_trouble: Callable[[BotError], None] = lambda _: None
    _told: str = field(default="", init=False)

    async def at(self, reader: ChainReader, block: Block) -> Mandate:
        """Return what decides at a block. Raises StaleDataError when the block is no longer canonical."""
        try:
            found = await read_registry(reader, self.address, block=block)
        except (TransientError, DisagreementError) as error:
            return self._kept(str(error), holds=self.last is None)
        if self.last is not None and found.sequence < self.last.sequence:
            older = f"sequence {found.sequence} is lower than {self.last.sequence}, which was in force before"
            return self._kept(f"policy registry {self.address}: {older}", holds=True)
        if why := self.refusal(found):
            return self._kept(f"policy registry {self.address}, block {block.number}: {why}", holds=True)
        self._told = ""
        if self.last is None or not found.says_the_same(self.last):
            self.last = found
        return Mandate(vote=self.last)

    def _kept(self, why: str, *, holds: bool) -> Mandate:
        """Keep the last good state; tell each reason once."""
        if why != self._told:
            self._told = why
            self.on_trouble(DisagreementError(why))
        return Mandate(vote=self.last, hold=why if holds else "")
