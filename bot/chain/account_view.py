"""What the transaction manager asks a node. Reads only; replies are checked before they are believed."""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from bot.chain.chain_traits import FeeParts, traits_of
from bot.chain.fees import BLOCKS, PERCENTILE, FeeMarket, parse_fee_history
from bot.chain.node_errors import is_method_unknown
from bot.chain.raw_transaction import RawTransaction
from bot.chain.replies import address_text, hash_text
from bot.chain.rpc import Node, RevertError, RpcError, hex_bytes, quantity
from bot.chain.send_state import Intent
from bot.errors import ConfigError, DeadlineError, TransientError
from bot.model.intent import Log, Receipt


class Head(NamedTuple):
    number: int
    time_s: float
    hash: str = ""

    @property
    def pin(self) -> Any:
        """The block parameter of reads at exactly this block (EIP-1898)."""
        return {"blockHash": self.hash} if self.hash else hex(self.number)


_NONCE = re.compile(r"[0-9]{1,20}")  # of 64 bits (EIP-2681)


class Sighting(NamedTuple):
    """What the node knows of an intent's attempts: canonical receipts by hash, and the newest one."""

    receipts: dict[str, Receipt]
    newest_known: bool


class AccountView:
    """One account on one chain as a node shows it. Everything raises TransientError."""

    def __init__(
        self,
        rpc: Node,
        *,
        chain_id: int,
        sender: str,
        final_tag: str = "",
        parts: FeeParts | None = None,
    ) -> None:
        """``final_tag``: "safe" or "finalized" where a receipt counts up to the node's block of that tag.
        ``parts``: what is paid besides gas; none: that of the chain."""
        self._rpc = rpc
        self._chain_id, self._sender = chain_id, sender
        self._final_tag = final_tag
        self._parts = parts or traits_of(chain_id).fees

    async def head(self) -> Head:
        """Return the newest block. Raises ConfigError when the node serves another chain."""
        return (await self.heads())[0]

    async def heads(self) -> tuple[Head, int | None]:
        """Return the newest block and the number of the one behind the final tag, None without a tag."""
        tags = ["latest", *((self._final_tag,) if self._final_tag else ())]
        chain_id, *blocks = await self._batch(
            ("eth_chainId", []), *(("eth_getBlockByNumber", [tag, False]) for tag in tags)
        )
        if quantity(chain_id) != self._chain_id:
            raise ConfigError(f"the node serves chain {quantity(chain_id)}, configured is {self._chain_id}")
        for tag, block in zip(tags, blocks, strict=True):
            if block is None:
                raise TransientError(f"the node has no {tag} block")
        final = quantity(blocks[1].get("number")) if self._final_tag else None
        return _head(blocks[0]), final

    async def block_hash(self, number: int) -> str:
        """Return the hash of the canonical block at a height, empty when the node has none."""
        block = await self._rpc.request("eth_getBlockByNumber", [hex(number), False])
        return "" if block is None else str(block.get("hash", "")).lower()

    async def nonces(self, *blocks: int | str) -> list[int]:
        """Return how many transactions the account had sent at each block number or tag."""
        tags = [block if isinstance(block, str) else hex(block) for block in blocks]
        replies = await self._batch(*(("eth_getTransactionCount", [self._sender, tag]) for tag in tags))
        return [quantity(reply) for reply in replies]

    async def market(self) -> FeeMarket:
        return parse_fee_history(
            await self._rpc.request("eth_feeHistory", [hex(BLOCKS), "latest", [PERCENTILE]])
        )

    async def cancel_gas(self) -> int:
        """Return the gas limit of a transfer of nothing to ourselves."""
        call = {"from": self._sender, "to": self._sender}
        return quantity(await self._rpc.request("eth_estimateGas", [call])) * 5 // 4

    async def gas_anew(self, old: RawTransaction) -> int:
        """Return a gas limit for the same call by a new estimate, at most twice the old one."""
        call = {
            "from": self._sender,
            "to": old.to,
            "data": "0x" + old.data.hex(),
            "value": hex(old.value_wei),
        }
        estimate = quantity(await self._rpc.request("eth_estimateGas", [call]))
        return min(estimate * 5 // 4, 2 * old.gas)

    async def sighting(self, intent: Intent) -> Sighting:
        """Look for every attempt's receipt; one whose block is no longer canonical does not count."""
        hashes = [attempt.tx_hash for attempt in intent.attempts]
        *replies, newest = await self._batch(
            *(("eth_getTransactionReceipt", [tx_hash]) for tx_hash in hashes),
            ("eth_getTransactionByHash", [hashes[-1]]),
        )
        found = [
            _receipt(reply, tx_hash, self._parts)
            for reply, tx_hash in zip(replies, hashes, strict=True)
            if reply
        ]
        blocks = await self._batch(
            *(("eth_getBlockByNumber", [hex(receipt.block_number), False]) for receipt in found)
        )
        canonical = {
            receipt.tx_hash: receipt
            for receipt, block in zip(found, blocks, strict=True)
            if block is not None and str(block.get("hash", "")).lower() == receipt.block_hash
        }
        return Sighting(canonical, newest is not None)

    async def stranger(self, intent: Intent, *, by: int) -> str:
        """Return the hash of the transaction that used an intent's nonce by a block and is none of its own.

        Empty when it is one of them, or cannot be shown. Only its receipt proves it: a node may know a count
        long before the receipt of what raised it, and nobody vouches for the transactions of a block.
        Where an old count could not be had, and who it was lies behind it, that error is raised.
        """
        number, unanswered = await self._first_past(intent.nonce, by=by)
        block = await self._rpc.request("eth_getBlockByNumber", [hex(number), True])
        sent = {*self._sent_with(intent.nonce, block or {})}
        for tx_hash in sent - {attempt.tx_hash for attempt in intent.attempts}:
            receipt = await self._rpc.request("eth_getTransactionReceipt", [tx_hash]) or {}
            where = [str(receipt.get(name)).lower() for name in ("from", "blockHash")]
            if where == [self._sender, str(block.get("hash")).lower()]:
                return tx_hash
        if unanswered is not None and not sent:
            raise unanswered
        return ""

    async def _first_past(self, nonce: int, *, by: int) -> tuple[int, TransientError | None]:
        """Return the first block known by which the account had used a nonce, which it had by block ``by``.

        A node keeps the counts of so many blocks only, and the growing steps may go further back. Then the
        first block that it still knows is looked for, and the last error that was met comes with it.
        """
        past, below, step, unanswered = by, -1, 1, None
        while past - below > 1:
            middle = max(past - step, 0) if below < 0 else (past + below) // 2
            try:
                is_past = (await self.nonces(middle))[0] > nonce
            except DeadlineError:
                raise  # each further question could take as long
            except TransientError as error:
                is_past, unanswered = False, error
            if is_past:
                past, step = middle, 2 * step
            else:
                below = middle
        return past, unanswered

    def _sent_with(self, nonce: int, block: Mapping[str, Any]) -> Iterator[str]:
        for item in block.get("transactions") or ():
            is_ours = isinstance(item, dict) and str(item.get("from")).lower() == self._sender
            if is_ours and quantity(item.get("nonce"), "nonce of a transaction") == nonce:
                yield hash_text(item.get("hash"), "hash of a transaction")

    async def revert_reason(self, intent: Intent, block_number: int, *, mined: RawTransaction) -> str:
        """Replay a reverted call one block earlier, to have words for the journal; a guess, not a fact.

        A call inside of it that ran out of gas reverts it with words of its own: twice the gas tells.
        """
        call = {
            "from": intent.sender,
            "to": intent.to,
            "data": intent.data,
            "value": hex(mined.value_wei),
        }
        block = hex(max(0, block_number - 1))
        try:
            await self._rpc.request("eth_call", [call | {"gas": hex(mined.gas)}, block])
        except RevertError as error:
            if await self._passes(call | {"gas": hex(2 * mined.gas)}, block):
                return f"out of gas: with twice its {mined.gas} it passes; reverted: {error.reason}"
            return f"reverted: {error.reason}"
        except TransientError:
            pass
        return "mined but reverted; the same call passes one block earlier"

    async def _passes(self, call: Mapping[str, Any], block: str) -> bool:
        try:
            await self._rpc.request("eth_call", [call, block])
        except TransientError:
            return False
        return True

    async def queued_nonces(self) -> frozenset[int]:
        """Return the nonces of the account's transactions in the node's pool, runnable or not.

        ``txpool_contentFrom`` is Geth's and its kin's. Raises ConfigError where the node has no such method.
        """
        try:
            content = await self._rpc.request("txpool_contentFrom", [self._sender])
        except RpcError as error:
            if is_method_unknown(error):
                raise ConfigError(
                    "the node does not say what is in its pool (txpool_contentFrom); set chain.look_in_pool "
                    "= false"
                ) from None
            raise
        parts = [content.get(name) for name in ("pending", "queued")] if isinstance(content, dict) else []
        found = [nonce for part in parts if isinstance(part, dict) for nonce in part]
        return frozenset(int(nonce) for nonce in found if _NONCE.fullmatch(nonce))

    async def _batch(self, *calls: tuple[str, Sequence[Any]]) -> list[Any]:
        replies = await self._rpc.batch(calls)
        for reply in replies:
            if isinstance(reply, RpcError):
                raise reply
        return replies


def _head(block: Mapping[str, Any]) -> Head:
    return Head(
        number=quantity(block.get("number")),
        time_s=float(quantity(block.get("timestamp"))),
        hash=str(block.get("hash", "")).lower(),
    )


def _receipt(reply: Mapping[str, Any], tx_hash: str, parts: FeeParts) -> Receipt:
    """Read a receipt; raises TransientError when it is malformed or of another transaction."""
    if str(reply.get("transactionHash", "")).lower() != tx_hash:
        raise TransientError(f"the node answered with another receipt than {tx_hash}")
    gas_used = quantity(reply.get("gasUsed"))
    # OP-stack chains charge for L1 data on top of the gas; of another chain the field means nothing.
    l1_fee = quantity(reply["l1Fee"]) if parts is FeeParts.OP and reply.get("l1Fee") else 0
    logs = reply.get("logs")
    if not isinstance(logs, list):
        raise TransientError(f"the receipt of {tx_hash} has no list of logs")
    return Receipt(
        tx_hash=tx_hash,
        succeeded=quantity(reply.get("status")) == 1,
        block_number=quantity(reply.get("blockNumber")),
        block_hash=str(reply.get("blockHash")).lower(),
        gas_used=gas_used,
        gas_cost_wei=gas_used * quantity(reply.get("effectiveGasPrice")) + l1_fee,
        logs=tuple(_log(item, tx_hash) for item in logs),
    )


def _log(item: Any, tx_hash: str) -> Log:
    if not isinstance(item, dict) or not isinstance(item.get("topics"), list):
        raise TransientError(f"a log of {tx_hash} is malformed")
    return Log(
        address=address_text(item.get("address"), "address of a log"),
        topics=tuple(hash_text(topic, "topic of a log") for topic in item["topics"]),
        data=hex_bytes(item.get("data"), "data of a log"),
    )
