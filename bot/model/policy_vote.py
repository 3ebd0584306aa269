"""What a PolicyRegistry says at a block: which policy may decide, and the weights that were voted for it."""

from dataclasses import dataclass

from bot.errors import InvariantError

WHOLE_BPS = 10_000


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyVote:
    """One state of a registry. Weights are basis points of R7's whole and sum to 10 000."""

    registry: str  # checksummed
    policy_hash: str  # 64 hex digits, of the policy as its file states it
    near_bps: int
    mid_bps: int
    tail_bps: int
    sequence: int  # counts changes; a lower one is older
    changed_at_s: int
    block_number: int  # at which it was read

    def __post_init__(self) -> None:
        weights = (self.near_bps, self.mid_bps, self.tail_bps)
        if min(weights) < 0 or sum(weights) != WHOLE_BPS:
            raise InvariantError(f"weights must be >= 0 and sum to {WHOLE_BPS} bps, were {weights}")

    def says_the_same(self, other: "PolicyVote") -> bool:
        """Say whether two states differ only in when they were read."""
        return self._content == other._content

    @property
    def _content(self) -> tuple[object, ...]:
        weights = (self.near_bps, self.mid_bps, self.tail_bps)
        return (self.registry, self.policy_hash, weights, self.sequence, self.changed_at_s)
