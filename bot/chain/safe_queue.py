"""Proposals as files: for a Safe whose owners share a folder, and for whoever wants no service in between.

Each proposal is a folder named by its hash; ``proposal.json`` is written once and each signature is a file of
its own, so that two owners who sign at the same time cannot lose each other's. Files appear whole.
"""

import json
import os
import tempfile
from dataclasses import replace
from pathlib import Path

from bot.chain.address import checksummed
from bot.chain.safe_documents import proposal_document, proposal_from
from bot.chain.safe_proposal import Proposal, checked
from bot.errors import DisagreementError, NotFoundError, TransientError, VenueRejected
from bot.model.parsing import json_of

_PROPOSAL, _SIGNATURE = "proposal.json", ".sig"
_MOST_BYTES = 2_000_000
_HASH_LETTERS = 66


class SafeQueue:
    """A ProposalStore in ``folder``, for one Safe on one chain."""

    def __init__(self, folder: Path, *, chain_id: int, safe: str) -> None:
        self._folder = folder / f"{chain_id}-{safe.lower()}"
        self._chain_id, self._safe = chain_id, safe

    @property
    def where(self) -> str:
        return str(self._folder)

    async def put(self, proposal: Proposal) -> None:
        checked(proposal, chain_id=self._chain_id, safe=self._safe, where="the bot")
        place = self._place(proposal.tx_hash)
        if not (place / _PROPOSAL).exists():
            self._write(place / _PROPOSAL, json.dumps(proposal_document(proposal), indent=1) + "\n")
        for owner, signature in proposal.signatures.items():
            self._write(place / f"{owner}{_SIGNATURE}", signature.hex() + "\n")

    async def sign(self, tx_hash: str, owner: str, signature: bytes) -> None:
        place = self._place(tx_hash)
        if not (place / _PROPOSAL).exists():
            raise VenueRejected(f"no proposal {tx_hash} in {self.where}; list them with: alvh safe list")
        self._write(place / f"{checksummed(owner)}{_SIGNATURE}", signature.hex() + "\n")

    async def get(self, tx_hash: str) -> Proposal | None:
        place = self._place(tx_hash)
        return self._read(place) if (place / _PROPOSAL).exists() else None

    async def waiting(self, *, from_nonce: int) -> tuple[Proposal, ...]:
        try:
            places = sorted(path.parent for path in self._folder.glob(f"*/{_PROPOSAL}"))
        except OSError as error:
            raise TransientError(f"queue {self.where} cannot be read: {error.strerror}") from None
        found = [item for item in map(self._read, places) if item.tx.nonce >= from_nonce]
        return tuple(sorted(found, key=lambda item: (item.tx.nonce, item.tx_hash)))

    def _place(self, tx_hash: str) -> Path:
        name = tx_hash.lower()
        if len(name) != _HASH_LETTERS or set(name[2:]) - set("0123456789abcdef") or name[:2] != "0x":
            raise NotFoundError(f"a Safe transaction hash has 64 hex digits after 0x, was {tx_hash!r:.80}")
        return self._folder / name

    def _read(self, place: Path) -> Proposal:
        try:
            proposal = proposal_from(json_of(_text(place / _PROPOSAL)))
            signatures = {
                checksummed(path.stem): bytes.fromhex(_text(path).strip())
                for path in sorted(place.glob(f"*{_SIGNATURE}"))
            }
        except OSError as error:
            raise TransientError(f"proposal {place} cannot be read: {error.strerror}") from None
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise DisagreementError(
                f"proposal {place} is damaged ({type(error).__name__}), and nothing of it is signed or sent; "
                "restore it, or move the folder away"
            ) from None
        if proposal.tx_hash != place.name:
            raise DisagreementError(f"proposal {place} holds that of another hash, {proposal.tx_hash:.66}")
        found = replace(proposal, signatures=signatures)
        return checked(found, chain_id=self._chain_id, safe=self._safe, where=str(place))

    def _write(self, path: Path, text: str) -> None:
        """Write a file whole or not at all, durably."""
        try:
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            handle, name = tempfile.mkstemp(dir=path.parent, prefix=".part-")
            with os.fdopen(handle, "w", encoding="ascii") as file:
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
            Path(name).replace(path)
        except OSError as error:
            raise TransientError(f"{path} cannot be written: {error.strerror}") from None


def _text(path: Path) -> str:
    with path.open("rb") as file:
        return file.read(_MOST_BYTES).decode("ascii")
