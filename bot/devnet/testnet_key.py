"""The deployer's key on a test chain: it may create contracts, and signs for named chains only.

The bot's own signer knows no contract creation and never signs one. A deployment is a person's own act on a
chain without real money; its key is in this process only while the command runs.
"""

from typing import NoReturn, Protocol

from bot.chain.fees import Fees
from bot.chain.signer import Signed, Unsigned
from bot.chain.transaction_bytes import assembled, preimage
from bot.errors import InvariantError

CREATION = "0x"  # target of a transaction that creates a contract
_NEVER_S = float("inf")


class Key(Protocol):
    """See bot.chain.signing.keys.Key."""

    @property
    def address(self) -> str: ...

    def signature(self, message: bytes) -> bytes: ...


class DeployKey:
    """Signs EIP-1559 transactions for the chains it was made for, and for no others."""

    __slots__ = ("_chain_ids", "_key", "address")

    def __init__(self, key: Key, *, chain_ids: frozenset[int]) -> None:
        self.address: str = key.address
        self._key = key
        self._chain_ids = chain_ids

    def __repr__(self) -> str:
        return f"DeployKey({self.address})"

    def __reduce__(self) -> NoReturn:
        raise TypeError("a key is never copied or pickled")

    def sign(
        self, *, chain_id: int, nonce: int, to: str, data: bytes, value_wei: int, gas: int, fees: Fees
    ) -> Signed:
        """Return signed bytes; ``to`` CREATION creates a contract."""
        if chain_id not in self._chain_ids:
            raise InvariantError(
                f"the deployer's key does not sign for chain {chain_id}: it is no test chain"
            )
        unsigned = Unsigned(
            chain_id=chain_id,
            nonce=nonce,
            to=to,
            data=data,
            value_wei=value_wei,
            gas=gas,
            fees=fees,
            valid_until_s=_NEVER_S,
        )
        return assembled(unsigned, self._key.signature(preimage(unsigned)))
