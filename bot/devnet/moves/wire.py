"""Calldata by signature, reads through Multicall3, and blocks of transactions from unlocked accounts.

A block is sent with explicit nonces and descending gas prices, so that its order, and with explicit time
and base fee its hash, are the same in every run.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, NamedTuple

from eth_abi.abi import decode, encode
from eth_utils.crypto import keccak

from bot.chain.rpc import Rpc, RpcError
from bot.errors import InvariantError

_GAS_PRICE_WEI = 100 * 10**9  # over every base fee of a scenario; only orders the block
_AGGREGATE = "aggregate3((address,bool,bytes)[])"


class View(NamedTuple):
    """One read: target, ``name(types)``, arguments, and the types of what comes back."""

    target: str
    signature: str
    args: tuple[Any, ...]
    outputs: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Tx:
    """One transaction of an unlocked account."""

    purpose: str  # what an error message says failed
    sender: str
    to: str
    data: str
    gas: int
    value_wei: int = 0


def calldata(signature: str, *args: Any) -> str:
    """Return hex calldata for ``name(type,...)``."""
    selector, types = _parsed(signature)
    return "0x" + (selector + encode(types, args)).hex()


@cache
def _parsed(signature: str) -> tuple[bytes, tuple[str, ...]]:
    return keccak(text=signature)[:4], _split(signature[signature.index("(") + 1 : -1])


def _split(types: str) -> tuple[str, ...]:
    """Split at the commas that are outside brackets."""
    parts, depth, start = [], 0, 0
    for place, letter in enumerate(types):
        depth += (letter == "(") - (letter == ")")
        if letter == "," and depth == 0:
            parts.append(types[start:place])
            start = place + 1
    return (*parts, types[start:]) if types else ()


async def read_all(rpc: Rpc, multicall3: str, views: Sequence[View]) -> list[tuple[Any, ...]]:
    """Return the decoded outputs of every view at the latest block. InvariantError when one fails."""
    calls = [(view.target, True, bytes.fromhex(calldata(view.signature, *view.args)[2:])) for view in views]
    found = await rpc.request("eth_call", [{"to": multicall3, "data": calldata(_AGGREGATE, calls)}, "latest"])
    (results,) = decode(["(bool,bytes)[]"], bytes.fromhex(found[2:]))
    answers = []
    for view, (ok, data) in zip(views, results, strict=True):
        if not ok or not data:
            raise InvariantError(f"market script: {view.signature} of {view.target} cannot be read")
        answers.append(decode(view.outputs, data))
    return answers


class Ledger:
    """Mines blocks of transactions at given times and checks every receipt.

    Use as an async context manager around one step: mining by itself is off inside and on after it.
    """

    def __init__(self, rpc: Rpc) -> None:
        self._rpc = rpc
        self._nonces: dict[str, int] = {}
        self._sent: list[tuple[Tx, str]] = []
        self.head_s = 0
        self.head_number = 0

    async def __aenter__(self) -> "Ledger":
        (block, _) = await self._control(
            ("eth_getBlockByNumber", ["latest", False]), ("evm_setAutomine", [False])
        )
        self.head_s, self.head_number = int(block["timestamp"], 16), int(block["number"], 16)
        self._nonces.clear()
        self._sent.clear()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._rpc.request("evm_setAutomine", [True])

    async def mine(self, transactions: Sequence[Tx], *, at_s: int, base_fee_wei: int) -> None:
        """Mine one block with these transactions, in this order."""
        await self._number(transactions)
        fields = []
        for place, transaction in enumerate(transactions):
            nonce = self._nonces[transaction.sender]
            self._nonces[transaction.sender] += 1
            price = _GAS_PRICE_WEI + len(transactions) - place
            fields.append(_fields(transaction) | {"nonce": hex(nonce), "gasPrice": hex(price)})
        hashes = await asyncio.gather(
            *(self._rpc.request("eth_sendTransaction", [each], send=True) for each in fields)
        )
        self._sent.extend(zip(transactions, hashes, strict=True))
        await self._control(
            ("evm_setNextBlockTimestamp", [at_s]), ("anvil_setNextBlockBaseFeePerGas", [hex(base_fee_wei)])
        )
        await self._rpc.request("evm_mine", [])
        self.head_s = at_s
        self.head_number += 1

    async def mine_empty(self, count: int, *, interval_s: int) -> None:
        """Mine empty blocks, ``interval_s`` apart."""
        if count <= 0:
            return
        await self._rpc.request("evm_setNextBlockTimestamp", [self.head_s + interval_s])
        await self._rpc.request("anvil_mine", [hex(count), hex(interval_s)])
        self.head_s += count * interval_s
        self.head_number += count

    async def check(self) -> None:
        """Raise InvariantError for the first transaction that did not succeed, with its reason."""
        receipts = await self._control(
            *(("eth_getTransactionReceipt", [tx_hash]) for _, tx_hash in self._sent)
        )
        for (transaction, _), receipt in zip(self._sent, receipts, strict=True):
            if receipt is None:
                raise InvariantError(f"market script: {transaction.purpose} was not mined")
            if receipt["status"] != "0x1":
                reason = await self._reason(transaction, receipt)
                raise InvariantError(f"market script: {transaction.purpose} reverted: {reason}")
        self._sent.clear()

    async def _number(self, transactions: Sequence[Tx]) -> None:
        new = sorted({each.sender for each in transactions} - self._nonces.keys())
        counts = await self._control(*(("eth_getTransactionCount", [sender, "latest"]) for sender in new))
        self._nonces.update((sender, int(count, 16)) for sender, count in zip(new, counts, strict=True))

    async def _control(self, *calls: tuple[str, list[Any]]) -> list[Any]:
        answers = await self._rpc.batch(calls)
        for (method, _), answer in zip(calls, answers, strict=True):
            if isinstance(answer, RpcError):
                raise InvariantError(f"market script: {method} failed: {answer}")
        return answers

    async def _reason(self, transaction: Tx, receipt: dict[str, Any]) -> str:
        """Why it failed: the call again one block earlier, so without what preceded it in its own."""
        if int(receipt["gasUsed"], 16) == transaction.gas:
            return f"out of gas, limit {transaction.gas}"
        before = hex(int(receipt["blockNumber"], 16) - 1)
        try:
            await self._rpc.request("eth_call", [_fields(transaction), before])
        except RpcError as error:
            return str(error)
        return "it succeeds one block earlier"


def _fields(transaction: Tx) -> dict[str, str]:
    return {
        "from": transaction.sender,
        "to": transaction.to,
        "data": transaction.data,
        "gas": hex(transaction.gas),
        "value": hex(transaction.value_wei),
    }
