"""How what a plan holds gets out: as transactions, as messages, as a proposal to the owners of a Safe."""

from collections.abc import Mapping, Sequence
from typing import Protocol, runtime_checkable

from bot.model.execution import SignedMessage
from bot.model.intent import Receipt, TxRequest


class Transactor(Protocol):
    """Sends transactions under the money rules; one per (chain, account)."""

    @property
    def address(self) -> str: ...

    async def send(self, request: TxRequest) -> Receipt:
        """Simulate, reserve a nonce, sign, journal, broadcast, wait to confirmation depth.

        A key has one effect at most: what was sent by it is followed. ``request.again`` sends it anew where
        nothing of it can take effect any more.
        Raises VenueRejected when the simulation reverts (nothing was signed) or the transaction was
        mined without effect, OutcomeUnknown when neither success nor failure is proved.
        """
        ...

    async def resume(self, leg_key: str) -> Mapping[str, Receipt]:
        """Drive every open intent of a leg to a closing fact, by the bytes on disk.

        Returns the receipts by purpose, that of a cancel under "<purpose>-cancelled", of a further one with
        its nonce. Waits only briefly: raises OutcomeUnknown when a fact cannot be had now.
        """
        ...


class Messenger(Protocol):
    """Signs messages for a service off the chain and gives them to it, each once."""

    async def send(self, message: SignedMessage, *, leg_key: str, valid_until_s: float) -> Receipt:
        """Sign, journal, post. The receipt's only log holds the service's reply as JSON, its hash is its id.

        Raises VenueRejected when the service refused it for good, OutcomeUnknown when that is not known.
        """
        ...

    async def resume(self, leg_key: str) -> Mapping[str, Receipt]:
        """As ``Transactor.resume``: ask the service what became of what was sent; sends nothing."""
        ...


@runtime_checkable
class Proposer(Protocol):
    """Proposes a whole plan to the owners of a Safe, which sends it as one transaction or not at all."""

    @property
    def address(self) -> str:
        """The Safe: whose money and positions they are."""
        ...

    async def propose(self, requests: Sequence[TxRequest]) -> Mapping[str, Receipt]:
        """Propose the transactions of one order as one batch; receipts by purpose once it was executed.

        They all are the batch's receipt. Raises AwaitingSignatures until then, VenueRejected when the batch
        would fail (nothing was proposed) or was executed without effect, OutcomeUnknown when that cannot be
        seen. A key that was proposed before is followed, never proposed a second time.
        """
        ...

    async def withdraw(self, leg_key: str, *, because: str) -> None:
        """Replace an open proposal by a rejection at the same Safe nonce: its market went, or its time."""
        ...

    async def resume(self, leg_key: str) -> Mapping[str, Receipt]:
        """As ``Transactor.resume``; raises AwaitingSignatures while it is open."""
        ...
