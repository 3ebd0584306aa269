"""A Safe whose owners sign at once: every order is one transaction of a real 2-of-3 Safe, or none."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from safe_builders import SafeWorld

from bot.chain.address import checksummed
from bot.chain.rpc import RevertError
from bot.chain.safe_batch import InnerCall, batch_tx
from bot.errors import VenueRejected
from bot.model.intent import Receipt, TxRequest


@dataclass
class SignedAtOnce:
    """ports.Proposer."""

    safes: SafeWorld
    proposed: list[tuple[str, ...]] = field(default_factory=list)  # purposes of each batch
    receipts: dict[str, dict[str, Receipt]] = field(default_factory=dict)

    @property
    def address(self) -> str:
        return self.safes.address

    async def propose(self, requests: Sequence[TxRequest]) -> Mapping[str, Receipt]:
        calls = [InnerCall(to=checksummed(item.to), data=item.data) for item in requests]
        nonce = (await self.safes.state()).nonce
        try:
            receipt = await self.safes.signed(batch_tx(calls, multi_send=self.safes.multi_send, nonce=nonce))
        except RevertError as error:
            raise VenueRejected(f"the batch would fail: {error.reason}") from None
        self.proposed.append(tuple(item.purpose for item in requests))
        found = {item.purpose: receipt for item in requests}
        self.receipts.setdefault(requests[0].leg_key, {}).update(found)
        return found

    async def withdraw(self, leg_key: str, *, because: str) -> None:
        raise AssertionError(f"{leg_key} was never open: {because}")

    async def resume(self, leg_key: str) -> Mapping[str, Receipt]:
        return self.receipts.get(leg_key, {})
