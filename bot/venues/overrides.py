"""Makes an address look funded and approved to eth_call, so that a trade can be quoted without a key.

Where a token keeps its balances is found once, by one call: every storage slot in which a balance could
lie is overridden by a number of its own, and the balance that comes back names the slot.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from eth_utils.crypto import keccak

from bot.chain.rpc import RpcError
from bot.errors import VenueRejected
from bot.model.market import Block
from bot.ports import ChainReader
from bot.venues.steps import ERC20

# The last 20 bytes of keccak256("alvh quote"): nobody holds its key, and nothing is ever sent to it.
QUOTING_ADDRESS = "0xcdd2b6f66b5b794f7ba8d905390d6a82f9e09ace"
AMOUNT_RAW = 2**127  # more than any trade costs, and far from an overflow
_SEEN = 2**120  # first of the numbers the probe puts in; odd enough not to be a real balance
_SLOTS = 110  # oTokens have theirs at 101 and 102, behind two gaps of 50 words
# ERC-7201 slot of "openzeppelin.storage.ERC20", where OpenZeppelin 5's upgradeable tokens keep both
_OPENZEPPELIN_5 = 0x52C63247E1F47DB19D5CE0460030C497F067CA4CEBF71BA98EEADABE20BACE00
_REFUSED_CODES = frozenset({-32601, -32602})  # no such method or parameter


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """Where a mapping lies: its slot, and whether key or slot is hashed first."""

    slot: int
    vyper: bool  # Vyper hashes slot then key, Solidity key then slot

    def of(self, *keys: str) -> int:
        """Return the storage slot of a (nested) mapping's entry."""
        place = self.slot.to_bytes(32)
        for key in keys:
            word = bytes.fromhex(key.removeprefix("0x")).rjust(32, b"\0")
            place = keccak(place + word if self.vyper else word + place)
        return int.from_bytes(place)


_CANDIDATES = tuple(
    Layout(slot=slot, vyper=vyper)
    for vyper in (False, True)
    for slot in (*range(_SLOTS), _OPENZEPPELIN_5, _OPENZEPPELIN_5 + 1)
)


class FundedSender:
    """State overrides for one chain; what was found out about a token is kept."""

    def __init__(self, reader: ChainReader) -> None:
        self._reader = reader
        self._layouts: dict[str, tuple[Layout, Layout] | None] = {}

    async def overrides(self, *, token: str, owner: str, spender: str, block: Block) -> dict[str, Any] | None:
        """Return overrides that give ``owner`` money and ``spender`` the right to take it.

        None when the node takes no overrides or the token keeps its books elsewhere. Raises TransientError
        when that could not be found out now.
        """
        if token not in self._layouts:
            self._layouts[token] = await self._find(token, owner=owner, spender=spender, block=block)
        found = self._layouts[token]
        if found is None:
            return None
        balances, allowances = found
        return state_diff(token, {balances.of(owner): AMOUNT_RAW, allowances.of(owner, spender): AMOUNT_RAW})

    async def check(self, to: str, data: bytes, *, token: str, owner: str, block: Block) -> None:
        """Run a call as ``owner``, as if it had ``token`` and had let ``to`` take it. Raises VenueRejected.

        Says nothing where ``overrides`` has none to give.
        """
        overrides = await self.overrides(token=token, owner=owner, spender=to, block=block)
        if overrides is not None:
            await self._reader.simulate(to=to, data=data, block=block, sender=owner, overrides=overrides)

    async def _find(
        self, token: str, *, owner: str, spender: str, block: Block
    ) -> tuple[Layout, Layout] | None:
        balances = await self.probe(token, ERC20.encode("balanceOf", owner), lambda at: at.of(owner), block)
        if balances is None:
            return None
        allowances = await self.probe(
            token, ERC20.encode("allowance", owner, spender), lambda at: at.of(owner, spender), block
        )
        return None if allowances is None else (balances, allowances)

    async def probe(
        self,
        token: str,
        view: bytes,
        place: Callable[[Layout], int],
        block: Block,
        *,
        candidates: Sequence[Layout] = _CANDIDATES,
    ) -> Layout | None:
        """Return where a contract keeps what ``view`` answers, None where that cannot be found.

        ``place`` says which word each candidate would keep it in.
        """
        diff = {place(layout): _SEEN + index for index, layout in enumerate(candidates)}
        try:
            answer = await self._reader.simulate(
                to=token, data=view, block=block, sender=token, overrides=state_diff(token, diff)
            )
        except VenueRejected:  # the view itself reverted
            return None
        except RpcError as error:
            if error.code in _REFUSED_CODES:
                return None
            raise
        index = int.from_bytes(answer) - _SEEN
        return candidates[index] if len(answer) == 32 and 0 <= index < len(candidates) else None


def state_diff(token: str, words: Mapping[int, int]) -> dict[str, Any]:
    """Return eth_call's third parameter that sets storage words of one contract."""
    hexed = {f"0x{slot:064x}": f"0x{value:064x}" for slot, value in words.items()}
    return {token: {"stateDiff": hexed}}
