"""A ChainReader that answers from a table, for what no real contract would answer."""

from collections.abc import Mapping, Sequence
from typing import Any

from bot.chain.abi import Abi
from bot.errors import TransientError, VenueRejected
from bot.model.market import Block
from bot.ports import BlockLog, Call, FeeHistory

BLOCK = Block(
    chain_id=31337, number=7, hash="0x" + "07" * 32, parent_hash="0x" + "06" * 32, timestamp_s=1_700_000_000
)
_DECIMALS = Abi.load("ERC20").encode("decimals")


class FakeChain:
    """``answers`` maps calldata to decoded results; what it does not know fails, as with allowFailure.

    ``decimals`` maps a token to its decimals, where tokens differ: their calldata are the same.
    """

    chain_id = BLOCK.chain_id

    def __init__(
        self,
        answers: Mapping[bytes, tuple[Any, ...] | None],
        *,
        code: bool = True,
        decimals: Mapping[str, int] | None = None,
    ) -> None:
        self.answers = dict(answers)
        self.code = code
        self.decimals = {token.lower(): value for token, value in (decimals or {}).items()}

    async def head(self) -> Block:
        return BLOCK

    async def read(self, calls: Sequence[Call], *, block: Block) -> list[tuple[Any, ...] | None]:
        return [self._answer(call) for call in calls]

    def _answer(self, call: Call) -> tuple[Any, ...] | None:
        if call.data == _DECIMALS and call.target.lower() in self.decimals:
            return (self.decimals[call.target.lower()],)
        return self.answers.get(call.data)

    async def simulate(
        self,
        *,
        to: str,
        data: bytes,
        block: Block,
        sender: str,
        overrides: Mapping[str, Any] | None = None,
        gas: int | None = None,
    ) -> bytes:
        raise VenueRejected("nothing to simulate")

    async def storage_at(self, address: str, slot: int, *, block: Block) -> bytes:
        return bytes(32)

    async def has_code(self, address: str, *, block: Block) -> bool:
        return self.code

    async def logs(
        self, *, addresses: Sequence[str], topics: Sequence[Sequence[str]], from_block: int, to: Block
    ) -> list[BlockLog]:
        return []

    async def fee_history(self, *, blocks: int, percentiles: Sequence[float], to: Block) -> FeeHistory:
        raise TransientError("no fee history")
