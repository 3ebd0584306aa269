"""Sends the transactions of one order, in order, each under a key and a purpose of its own."""

import math
from collections.abc import Callable, Mapping, Sequence

from bot.chain.abi import Abi
from bot.errors import InvariantError, OutcomeUnknown
from bot.model.execution import OnchainTx
from bot.model.intent import Receipt, TxRequest
from bot.ports import Proposer, Transactor

ERC20 = Abi.load("ERC20")
APPROVE_GAS_CEILING = 120_000


class OrderSteps:
    """The transactions of one order so far. A purpose is mined once in the life of an order.

    ``again`` says that an earlier run of it may have tried the same: what never took effect is tried anew,
    once ``refresh`` has seen its end.
    """

    def __init__(self, custody: Transactor | Proposer, key: str, *, again: bool = False) -> None:
        self.custody = custody
        self.key = key
        self.again = again
        self.receipts: dict[str, Receipt] = {}
        self.sent = 0
        self.gas_left_wei: Callable[[], int] = lambda: 0  # bound on the next step's gas, 0: none

    @property
    def is_batch(self) -> bool:
        """Say whether all goes out as one: nothing can be sent in answer to what an earlier step did."""
        return isinstance(self.custody, Proposer)

    async def send(
        self, steps: Sequence[OnchainTx], *, valid_until_s: float, cleanup_until_s: float = -math.inf
    ) -> None:
        """Send transactions and wait for each, or propose them as one. Raises as the custody does.

        ``cleanup_until_s`` is how long clean-up is valid where that is longer.
        """
        late_s = max(valid_until_s, cleanup_until_s)
        if isinstance(self.custody, Proposer):
            requests = [self._request(step, valid_until_s) for step in steps]
            self.receipts.update(await self.custody.propose(requests) if requests else {})
            return
        for step in steps:
            request = self._request(step, late_s if step.cleanup else valid_until_s)
            self.receipts[step.purpose] = await self.custody.send(request)

    def _request(self, step: OnchainTx, valid_until_s: float) -> TxRequest:
        if step.purpose in self.receipts:
            raise InvariantError(f"order {self.key} sent {step.purpose!r} before; a purpose is used once")
        request = TxRequest(
            key=f"{self.key}/{self.sent}-{step.purpose}",
            leg_key=self.key,
            purpose=step.purpose,
            to=step.to,
            data=step.data,
            value_wei=step.value_wei,
            valid_until_s=valid_until_s,
            gas_ceiling=step.gas_ceiling,
            max_gas_cost_wei=0 if step.cleanup or self.is_batch else self.gas_left_wei(),
            again=self.again,
        )
        self.sent += 1
        return request

    async def refresh(self) -> None:
        """Take in receipts of transactions that were mined without effect; their gas counts too.

        Raises OutcomeUnknown when a transaction of the order is still in flight.
        """
        self.receipts.update(await self.custody.resume(self.key))


def approval(purpose: str, *, token: str, spender: str, amount_raw: int) -> OnchainTx:
    """Return the step that lets ``spender`` take exactly ``amount_raw``; 0 revokes, and is clean-up."""
    return OnchainTx(
        purpose=purpose,
        to=token,
        data=ERC20.encode("approve", spender, amount_raw),
        gas_ceiling=APPROVE_GAS_CEILING,
        cleanup=amount_raw == 0,
    )


def token_delta(receipt: Receipt, *, token: str, account: str) -> int:
    """Return how much of ``token`` the account gained in a transaction, raw, by its Transfer events."""
    own = account.lower()
    moved = 0
    for event in ERC20.logs("Transfer", receipt.logs, address=token):
        source, target, amount = event.values()
        moved += amount * ((target == own) - (source == own))
    return moved


def executed(receipts: Mapping[str, Receipt], purpose: str) -> Receipt | None:
    """Return the receipt of a step that was mined and did what it was for, None without one."""
    receipt = receipts.get(purpose)
    return receipt if receipt is not None and receipt.succeeded else None


def without_event(key: str, receipt: Receipt, event: str = "its event") -> OutcomeUnknown:
    """Return the error of an order whose transaction succeeded, and whose receipt lacks what must be in it.

    A node may have given half a receipt: it is asked for again, and the order stays open until then (F15).
    """
    return OutcomeUnknown(
        f"transaction {receipt.tx_hash}, which succeeded without {event} in the receipt that the node gave",
        key,
    )


def is_alone(receipt: Receipt, receipts: Mapping[str, Receipt]) -> bool:
    """Say whether a receipt is that of one step only, and not of a batch."""
    return sum(item.tx_hash == receipt.tx_hash for item in receipts.values()) <= 1
