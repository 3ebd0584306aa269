"""Event logs of a block range, never silently short (REL-F16).

A node that finds a range too wide is asked for less at a time. What comes back must be what was asked for.
Of the last ``BLOOM_BLOCKS`` blocks of a range the headers are read too: their blooms prove logs absent, and
where one says that a log is there which did not come, the block's receipts decide. So a node that lags, and
gives what it has without a word, is found out. On a busy chain blooms are so full that they say little;
there, and further back, agreement of several providers is what protects.
"""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from bot.chain.bloom import chance_of_all, mask_of
from bot.chain.node_errors import ReplyTooLargeError, RpcError, is_method_unknown, is_rate_limit
from bot.chain.replies import address_text, hash_text, hex_bytes, quantity
from bot.chain.rpc import Node
from bot.errors import StaleDataError, TransientError
from bot.model.intent import Log
from bot.model.market import Block
from bot.ports import BlockLog

BLOOM_BLOCKS = 32  # whose headers are read, in one batch
_TELLING = 0.02  # a bloom that holds a log by chance more often than this says nothing
_INVALID_PARAMETERS = -32602


@dataclass(frozen=True, slots=True)
class LogFilter:
    """Which logs are wanted, in lower case; an empty choice means any."""

    addresses: frozenset[str]
    topics: tuple[frozenset[str], ...]

    def fits(self, log: Log) -> bool:
        return (not self.addresses or log.address in self.addresses) and all(
            not choices or (place < len(log.topics) and log.topics[place] in choices)
            for place, choices in enumerate(self.topics)
        )

    def may_be_in(self, bloom: int) -> set[tuple[str, str]]:
        """Return each (address, first topic) of which a bloom tells that a wanted log is there."""
        later = [[mask_of([bytes.fromhex(each[2:])]) for each in choices] for choices in self.topics[1:]]
        if not all(not masks or any(_tells(bloom, mask) for mask in masks) for masks in later):
            return set()
        return {kind for kind, mask in self._masks().items() if _tells(bloom, mask)}

    def _masks(self) -> dict[tuple[str, str], int]:
        """Return the bloom bits of each (address, first topic) wanted, either empty where any will do."""
        first = self.topics[0] if self.topics else frozenset()
        return {
            (address, topic): mask_of(bytes.fromhex(item[2:]) for item in (address, topic) if item)
            for address in self.addresses or {""}
            for topic in first or {""}
            if address or topic
        }


def _tells(bloom: int, mask: int) -> bool:
    """Whether a bloom holds a mask, and not only because it holds nearly everything."""
    return not mask & ~bloom and chance_of_all(bloom, mask) <= _TELLING


async def read_logs(
    rpc: Node, *, addresses: Sequence[str], topics: Sequence[Sequence[str]], from_block: int, to: Block
) -> list[BlockLog]:
    """Return the logs of ``from_block``..``to``; see ``ChainReader.logs``."""
    if from_block > to.number:
        return []
    wanted = LogFilter(
        frozenset(address.lower() for address in addresses),
        tuple(frozenset(topic.lower() for topic in choices) for choices in topics),
    )
    query = {
        "address": list(addresses),
        "topics": [list(choices) or None for choices in topics],
    }
    found = await _in_spans(rpc, query, wanted, from_block, to.number)
    near = max(from_block, to.number - BLOOM_BLOCKS + 1)
    headers = await _headers(rpc, near, to)
    checked = await _checked_by_bloom(
        rpc, [item for item in found if item.block_number >= near], headers, wanted
    )
    found = [*(item for item in found if item.block_number < near), *checked]
    if any(item.block_number == to.number and item.block_hash != to.hash for item in found):
        raise _reorganised(to)
    return sorted(found, key=lambda item: (item.block_number, item.log_index))


async def _in_spans(
    rpc: Node, query: Mapping[str, Any], wanted: LogFilter, first: int, last: int
) -> list[BlockLog]:
    """Read a range as wide as the node will answer, halving where it will not and growing again after."""
    found: list[BlockLog] = []
    span, start = last - first + 1, first
    while start <= last:
        end = min(start + span - 1, last)
        try:
            raw = await rpc.read("eth_getLogs", [{**query, "fromBlock": hex(start), "toBlock": hex(end)}])
        except (RpcError, ReplyTooLargeError) as error:
            if start == end or is_rate_limit(error) or is_method_unknown(error):
                raise
            span = (end - start + 1) // 2
            continue
        found += _taken(raw, wanted, start, end, rpc.where)
        start, span = end + 1, 2 * span
    return found


def _taken(raw: Sequence[Any], wanted: LogFilter, first: int, last: int, where: str) -> list[BlockLog]:
    """Return the logs of one answer, each once. Raises when one was not asked for or two cannot both be."""
    found: dict[tuple[int, int], BlockLog] = {}
    hashes: dict[int, str] = {}
    for entry in raw:
        item = _log(entry, where)
        if not (first <= item.block_number <= last and wanted.fits(item.log)):
            raise TransientError(
                f"eth_getLogs at {where}: a log of {item.log.address} in block {item.block_number} came that "
                f"was not asked for (blocks {first} to {last})"
            )
        if hashes.setdefault(item.block_number, item.block_hash) != item.block_hash:
            raise StaleDataError(f"block {item.block_number} was reorganised while its logs were read")
        if found.setdefault((item.block_number, item.log_index), item) != item:
            raise TransientError(
                f"eth_getLogs at {where}: two different logs {item.log_index} of block {item.block_number}"
            )
    return list(found.values())


async def _headers(rpc: Node, first: int, to: Block) -> list[Mapping[str, Any]]:
    """Return the canonical headers of ``first``..``to``, one chain that ends in ``to``."""
    heights = range(first, to.number + 1)
    if len(heights) == 1:
        headers = [await rpc.read("eth_getBlockByNumber", [hex(first), False])]
    else:
        headers = await rpc.batch([("eth_getBlockByNumber", [hex(height), False]) for height in heights])
    for height, header in zip(heights, headers, strict=True):
        if isinstance(header, RpcError):
            raise header
        if header is None:
            raise TransientError(f"{rpc.where} has no block {height} whose logs are wanted")
        if quantity(header["number"], "number of a block") != height:
            raise TransientError(f"{rpc.where} answered with another block than {height}")
    if hash_text(headers[-1]["hash"]) != to.hash.lower():
        raise _reorganised(to)
    for parent, child in pairwise(headers):
        if hash_text(child["parentHash"]) != hash_text(parent["hash"]):
            raise StaleDataError(
                f"the blocks {first} to {to.number} of {rpc.where} are not one chain; reorganised"
            )
    return headers


async def _checked_by_bloom(
    rpc: Node, found: Sequence[BlockLog], headers: Sequence[Mapping[str, Any]], wanted: LogFilter
) -> list[BlockLog]:
    by_block: dict[int, list[BlockLog]] = {}
    for item in found:
        by_block.setdefault(item.block_number, []).append(item)
    doubtful = []
    for header in headers:
        number = quantity(header["number"])
        logs = by_block.get(number, [])
        if any(item.block_hash != hash_text(header["hash"]) for item in logs):
            raise StaleDataError(f"block {number} was reorganised while its logs were read")
        if _misses_one(header, logs, wanted, rpc.where):
            doubtful.append(header)
    settled = await asyncio.gather(*(_by_receipts(rpc, header, wanted) for header in doubtful))
    for header, logs in zip(doubtful, settled, strict=True):
        by_block[quantity(header["number"])] = logs
    return [item for logs in by_block.values() for item in logs]


def _misses_one(header: Mapping[str, Any], logs: Sequence[BlockLog], wanted: LogFilter, where: str) -> bool:
    """Whether the bloom says that a log is there of a kind of which none came.

    A chain that leaves its blooms empty (some rollups do) says nothing by them. Raises TransientError when
    a log came that the bloom rules out.
    """
    bloom = int.from_bytes(hex_bytes(header.get("logsBloom") or "0x", "logsBloom"), "big")
    if not bloom:
        return False
    for item in logs:
        mask = mask_of(bytes.fromhex(part[2:]) for part in (item.log.address, *item.log.topics))
        if mask & ~bloom:
            raise TransientError(
                f"eth_getLogs at {where}: a log of {item.log.address} in block {item.block_number} is ruled "
                "out by the block's own bloom"
            )
    came = {(address, topic) for item in logs for address, topic in _kinds(item.log)}
    return bool(wanted.may_be_in(bloom) - came)


def _kinds(log: Log) -> tuple[tuple[str, str], ...]:
    topic = log.topics[0] if log.topics else ""
    return ((log.address, topic), (log.address, ""), ("", topic))


async def _by_receipts(rpc: Node, header: Mapping[str, Any], wanted: LogFilter) -> list[BlockLog]:
    """Return the wanted logs of one block as its receipts have them, which settles what is there."""
    number = quantity(header["number"])
    try:
        receipts = await rpc.read("eth_getBlockReceipts", [header["number"]])
    except RpcError as error:
        if not is_method_unknown(error) and error.code != _INVALID_PARAMETERS:
            raise
        return await _again(rpc, header, wanted)
    if receipts is None:
        raise TransientError(f"{rpc.where} has no receipts of block {number}")
    found = [_log(entry, rpc.where) for receipt in receipts for entry in receipt["logs"]]
    if any(item.block_hash != hash_text(header["hash"]) for item in found):
        raise StaleDataError(f"block {number} was reorganised while its receipts were read")
    return [item for item in found if wanted.fits(item.log)]


async def _again(rpc: Node, header: Mapping[str, Any], wanted: LogFilter) -> list[BlockLog]:
    """Ask for all logs of one block by its hash, where the node gives no receipts of a block."""
    number = quantity(header["number"])
    raw = await rpc.read("eth_getLogs", [{"blockHash": header["hash"]}])
    anything = LogFilter(frozenset(), ())
    found = [item for item in _taken(raw, anything, number, number, rpc.where) if wanted.fits(item.log)]
    if _misses_one(header, found, wanted, rpc.where):
        raise TransientError(
            f"eth_getLogs at {rpc.where}: the bloom of block {number} says that a log is there which does "
            "not come"
        )
    return found


def _reorganised(to: Block) -> StaleDataError:
    return StaleDataError(f"block {to.number} {to.hash} was reorganised away while its logs were read")


def _log(raw: Any, where: str) -> BlockLog:
    if not isinstance(raw, dict) or not isinstance(raw.get("topics"), list):
        raise TransientError(f"a log of {where} is malformed: topics are no list")
    if raw.get("removed") is True:
        raise StaleDataError(f"a log of {where} belongs to a block that was reorganised away")
    try:
        return BlockLog(
            log=Log(
                address=address_text(raw.get("address"), "address"),
                topics=tuple(hash_text(topic, "topics") for topic in raw["topics"]),
                data=hex_bytes(raw.get("data"), "data"),
            ),
            block_number=quantity(raw.get("blockNumber"), "blockNumber"),
            block_hash=hash_text(raw.get("blockHash"), "blockHash"),
            tx_hash=hash_text(raw.get("transactionHash"), "transactionHash"),
            tx_index=quantity(raw.get("transactionIndex"), "transactionIndex"),
            log_index=quantity(raw.get("logIndex"), "logIndex"),
        )
    except TransientError as error:
        raise TransientError(f"a log of {where} is malformed: {error}") from None
