"""A Safe transaction on its way to enough signatures, and what of it may be believed.

Whoever keeps proposals (a service, a folder) is believed nothing: the hash is computed again from the
fields, and a signature counts only for the owner whose key made it.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from bot.chain.safe import ZERO, SafeTx, is_approval, safe_tx_hash, signed_by
from bot.chain.safe_state import SafeState
from bot.errors import DisagreementError

MOST_ORIGIN = 200  # letters, as the Transaction Service takes


@dataclass(frozen=True, slots=True, kw_only=True)
class Proposal:
    """One Safe transaction with the signatures collected so far, by the owner they are said to be of."""

    tx: SafeTx
    tx_hash: str  # 0x hex, that of ``tx``
    signatures: Mapping[str, bytes] = field(default_factory=dict)
    origin: str = ""  # what its proposer says of it; never believed
    proposer: str = ZERO  # an owner or a delegate

    @property
    def digest(self) -> bytes:
        return bytes.fromhex(self.tx_hash[2:])


@dataclass(frozen=True, slots=True, kw_only=True)
class Gathered:
    """The signatures of a proposal that count, by owner, and why others do not."""

    signatures: Mapping[str, bytes]
    refused: tuple[str, ...] = ()

    def reached(self, state: SafeState) -> bool:
        return len(self.signatures) >= state.threshold


class ProposalStore(Protocol):
    """Where the owners of one Safe leave and find proposals."""

    @property
    def where(self) -> str:
        """Return what a person knows it by, without anything secret."""
        ...

    async def put(self, proposal: Proposal) -> None:
        """Leave a proposal, with its signatures, for the owners; again with the same hash changes nothing.

        Raises VenueRejected when it is refused, TransientError when it was surely not taken now,
        OutcomeUnknown when that cannot be told.
        """
        ...

    async def sign(self, tx_hash: str, owner: str, signature: bytes) -> None:
        """Add an owner's signature. Raises as ``put`` does."""
        ...

    async def get(self, tx_hash: str) -> Proposal | None:
        """Return a proposal by its hash, None where there is none.

        Raises TransientError when it cannot be read, DisagreementError when it is not what it says it is.
        """
        ...

    async def waiting(self, *, from_nonce: int) -> tuple[Proposal, ...]:
        """Return what was not executed, from this Safe nonce on, by nonce. Raises as ``get``."""
        ...


def proposal_of(tx: SafeTx, *, chain_id: int, safe: str, origin: str = "", proposer: str = ZERO) -> Proposal:
    """Return a proposal of a transaction, without signatures yet."""
    digest = safe_tx_hash(tx, chain_id=chain_id, safe=safe)
    return Proposal(tx=tx, tx_hash="0x" + digest.hex(), origin=origin[:MOST_ORIGIN], proposer=proposer)


def checked(proposal: Proposal, *, chain_id: int, safe: str, where: str) -> Proposal:
    """Return a proposal whose hash is that of its fields. Raises DisagreementError: whoever kept it lies."""
    found = "0x" + safe_tx_hash(proposal.tx, chain_id=chain_id, safe=safe).hex()
    if found != proposal.tx_hash.lower():
        raise DisagreementError(
            f"{where} shows Safe transaction {proposal.tx.nonce} under hash {proposal.tx_hash:.66}, its "
            f"fields hash to {found}: nothing of it is signed; check who keeps the proposals"
        )
    return proposal


def gather(proposal: Proposal, state: SafeState, *, approvers: Iterable[str] = ()) -> Gathered:
    """Return which signatures of a proposal the Safe will take.

    ``approvers`` are owners that approved the hash on the chain (``safe_state.approved``); they need no
    signature, and a signature that only points at an approval counts for nobody else.
    """
    good: dict[str, bytes] = {}
    refused: list[str] = []
    for owner, signature in sorted(proposal.signatures.items()):
        why = _refusal(proposal, owner, signature, state)
        if why:
            refused.append(f"signature of {owner} is not counted: {why}")
        elif not is_approval(signature):
            good[owner] = signature
    for owner in approvers:
        if owner in state.owners:
            good.setdefault(owner, bytes(12) + bytes.fromhex(owner[2:]) + bytes(32) + b"\1")
    return Gathered(signatures=good, refused=tuple(refused))


def _refusal(proposal: Proposal, owner: str, signature: bytes, state: SafeState) -> str:
    if owner not in state.owners:
        return "no owner"
    signer = signed_by(proposal.digest, signature)
    if signer == owner:
        return ""
    return f"made by {signer}, or for another transaction" if signer else "not a signature of a key"
