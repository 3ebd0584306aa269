"""Sends the transactions of one leg, in order, each under a key and a purpose of its own."""

from collections.abc import Callable, Mapping

from bot.chain.abi import Abi
from bot.errors import InvariantError
from bot.model.hedge import HedgeLeg
from bot.model.intent import Receipt, TxRequest
from bot.ports import Transactor

ERC20 = Abi.load("ERC20")
APPROVE_GAS_CEILING = 120_000


class LegSteps:
    """The transactions of one leg so far. A purpose is used once in the life of a leg.

    ``earlier`` are the receipts that an earlier run of the same leg left behind.
    """

    def __init__(
        self, transactor: Transactor, leg: HedgeLeg, *, earlier: Mapping[str, Receipt] | None = None
    ) -> None:
        self.transactor = transactor
        self.leg = leg
        self.receipts: dict[str, Receipt] = dict(earlier or {})
        self.sent = len(self.receipts)
        self.gas_left_wei: Callable[[], int] = lambda: 0  # bound on the next step's gas, 0: none

    async def send(
        self,
        purpose: str,
        *,
        to: str,
        data: bytes,
        gas_ceiling: int,
        valid_until_s: float,
        bounded: bool = True,
    ) -> Receipt:
        """Send one transaction and wait for it. Raises as ``Transactor.send`` does."""
        if purpose in self.receipts:
            raise InvariantError(f"leg {self.leg.key} sent {purpose!r} before; a purpose is used once")
        request = TxRequest(
            key=f"{self.leg.key}/{self.sent}-{purpose}",
            leg_key=self.leg.key,
            purpose=purpose,
            to=to,
            data=data,
            valid_until_s=valid_until_s,
            gas_ceiling=gas_ceiling,
            max_gas_cost_wei=self.gas_left_wei() if bounded else 0,
        )
        self.sent += 1
        receipt = await self.transactor.send(request)
        self.receipts[purpose] = receipt
        return receipt

    async def approve(
        self, purpose: str, *, token: str, spender: str, amount_raw: int, valid_until_s: float
    ) -> None:
        """Let ``spender`` take exactly ``amount_raw``; 0 revokes."""
        await self.send(
            purpose,
            to=token,
            data=ERC20.encode("approve", spender, amount_raw),
            gas_ceiling=APPROVE_GAS_CEILING,
            valid_until_s=valid_until_s,
            bounded=amount_raw > 0,  # a revocation is sent at any price
        )

    async def refresh(self) -> None:
        """Take in receipts of transactions that were mined without effect; their gas counts too.

        Raises OutcomeUnknown when a transaction of the leg is still in flight.
        """
        self.receipts.update(await self.transactor.resume(self.leg.key))


def token_delta(receipt: Receipt, *, token: str, account: str) -> int:
    """Return how much of ``token`` the account gained in a transaction, raw, by its Transfer events."""
    own = account.lower()
    moved = 0
    for event in ERC20.logs("Transfer", receipt.logs, address=token):
        source, target, amount = event.values()
        moved += amount * ((target == own) - (source == own))
    return moved
