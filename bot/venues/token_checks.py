"""Whether a token does what it is told: a transfer moves all of the amount and does not say that it failed.

Asked of a view call that moves made-up money (state overrides) from Multicall3 to an address of nobody. A
token that takes a fee, or answers false without reverting, is refused before it is paid in (REL-T11).
"""

from bot.chain.abi import decode_or_none
from bot.chain.multicall import decode_aggregate3, encode_aggregate3
from bot.chain.reader import MULTICALL3
from bot.chain.rpc import RpcError
from bot.errors import VenueRejected
from bot.model.market import Block
from bot.ports import Call, ChainReader
from bot.venues.overrides import QUOTING_ADDRESS, FundedSender
from bot.venues.steps import ERC20

_AMOUNT_RAW = 10**6 + 7  # no round number, so that no fee is cut to nothing
_NO_ANSWER: tuple[str, ...] = ()  # tokens like USDT return nothing and revert when they fail


class TokenChecks:
    """Checks of tokens on one chain."""

    def __init__(self, reader: ChainReader, *, multicall3: str = MULTICALL3) -> None:
        self._reader = reader
        self._multicall3 = multicall3
        self._funded = FundedSender(reader)

    async def check(self, token: str, symbol: str, *, block: Block) -> None:
        """Raise VenueRejected for a token that takes a fee, returns false or cannot be moved at all.

        Says nothing where the node takes no overrides or the token keeps its books in an unknown place.
        """
        overrides = await self._funded.overrides(
            token=token, owner=self._multicall3, spender=QUOTING_ADDRESS, block=block
        )
        if overrides is None:
            return
        balance = ERC20.call("balanceOf", token, QUOTING_ADDRESS)
        move = Call(token, ERC20.encode("transfer", QUOTING_ADDRESS, _AMOUNT_RAW), _NO_ANSWER)
        try:
            data = await self._reader.simulate(
                to=self._multicall3,
                data=encode_aggregate3([balance, move, balance]),
                block=block,
                sender=QUOTING_ADDRESS,
                overrides=overrides,
            )
        except (RpcError, VenueRejected):  # Multicall3 itself never reverts on this
            return
        before, moved, after = decode_aggregate3(data, count=3)
        refusal = _refusal(before, moved, after)
        if refusal:
            raise VenueRejected(f"{symbol} ({token}) {refusal}; nothing was sent")


def _refusal(before: bytes | None, moved: bytes | None, after: bytes | None) -> str:
    """Return what is wrong with a token, "" for nothing."""
    if moved is None:
        return "cannot be transferred now: is it paused?"
    if moved and decode_or_none(("bool",), moved) != (True,):
        return "answers a transfer by false"
    held = [None if data is None else decode_or_none(("uint256",), data) for data in (before, after)]
    if held[0] is None or held[1] is None:
        return "does not say what an address holds"
    received_raw = held[1][0] - held[0][0]
    if received_raw != _AMOUNT_RAW:
        return f"delivers {received_raw / _AMOUNT_RAW:.2%} of what is sent: it takes a fee"
    return ""
