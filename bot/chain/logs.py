"""Event logs of a block range, never silently short."""

from collections.abc import Mapping, Sequence
from typing import Any

from bot.chain.rpc import Rpc, hex_bytes, quantity
from bot.errors import StaleDataError, TransientError
from bot.model.intent import Log
from bot.model.market import Block
from bot.ports import BlockLog


async def read_logs(
    rpc: Rpc, *, addresses: Sequence[str], topics: Sequence[Sequence[str]], from_block: int, to: Block
) -> list[BlockLog]:
    """Return the logs of ``from_block``..``to``; see ``ChainReader.logs``."""
    query: dict[str, Any] = {
        "fromBlock": hex(from_block),
        "toBlock": hex(to.number),
        "address": list(addresses),
        "topics": [list(choices) or None for choices in topics],
    }
    found = [_log(raw, rpc.where) for raw in await rpc.read("eth_getLogs", [query])]
    for item in found:
        if item.block_number == to.number and item.block_hash != to.hash:
            raise StaleDataError(f"block {to.number} {to.hash} was reorganised away while its logs were read")
    return sorted(found, key=lambda item: (item.block_number, item.log_index))


def _log(raw: Mapping[str, Any], where: str) -> BlockLog:
    try:
        return BlockLog(
            log=Log(
                address=raw["address"],
                topics=tuple(raw["topics"]),
                data=hex_bytes(raw["data"]),
            ),
            block_number=quantity(raw["blockNumber"]),
            block_hash=raw["blockHash"],
            tx_hash=raw["transactionHash"],
            tx_index=quantity(raw["transactionIndex"]),
            log_index=quantity(raw["logIndex"]),
        )
    except (KeyError, TypeError) as error:
        raise TransientError(f"a log of {where} is malformed: {error!r}") from None
