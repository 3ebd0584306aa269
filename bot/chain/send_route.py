"""Where signed bytes go: to every node, or to one private relay that keeps them out of the public pools."""

import asyncio
from dataclasses import dataclass
from typing import NamedTuple

from bot.chain.rpc import Node, RpcError
from bot.chain.send_errors import SendResult, classify_send_error
from bot.chain.send_outcome import sent_outcome
from bot.errors import TransientError


class Said(NamedTuple):
    """What the nodes made of a send; ``words`` are those of the most doubtful refusal."""

    result: SendResult
    words: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class SendRoute:
    """``private`` alone gets the bytes where it is given; all else is still read from ``public``.

    ``public_after_blocks``: bytes that were not mined so many blocks after they were first sent go to the
    public nodes too. None: never; past its valid-until time the transaction is cancelled as ever. A cancel
    goes to both at once: it shows nothing, and frees the nonce where the relay holds the original back.
    """

    public: Node
    private: Node | None = None
    public_after_blocks: int | None = None

    def nodes(self, *, waited_blocks: int, is_cancel: bool) -> tuple[Node, ...]:
        """Return who is given bytes that wait since ``waited_blocks``."""
        if self.private is None:
            return (self.public,)
        late = self.public_after_blocks is not None and waited_blocks >= self.public_after_blocks
        return (self.private, self.public) if is_cancel or late else (self.private,)

    async def send(self, raw: str, tx_hash: str, *, waited_blocks: int, is_cancel: bool) -> Said:
        """Give the bytes to each node once. Never raises for what a node says: nothing is closed by it."""
        nodes = self.nodes(waited_blocks=waited_blocks, is_cancel=is_cancel)
        answers = await asyncio.gather(*(_give(node, raw) for node in nodes))
        outcomes = {
            f"{node.where}#{rank}": answer
            for rank, (node, answer) in enumerate(zip(nodes, answers, strict=True))
        }
        sent = sent_outcome(outcomes, expected_hash=tx_hash)
        if sent.tx_hash is not None:
            return Said(SendResult.TAKEN)
        if isinstance(sent.error, RpcError):
            return Said(classify_send_error(sent.error.message), sent.error.message)
        return Said(SendResult.AMBIGUOUS, str(sent.error))


async def _give(node: Node, raw: str) -> str | TransientError:
    try:
        return str(await node.request("eth_sendRawTransaction", [raw], send=True))
    except TransientError as error:
        return error
