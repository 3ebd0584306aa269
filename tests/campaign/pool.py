"""What a network's transaction pool does and anvil's does not: geth's rules, in front of anvil.

anvil takes a replacement that pays one wei more, forgets what a reorganisation removed, and mines at once.
Here a replacement pays 10 % more of both fees (geth ``--txpool.pricebump``, core/txpool/legacypool/list.go),
transactions can be held back, dropped, or put back after a reorganisation, and each refusal can be said in
the words of six clients (their sources are named in bot/chain/send_errors.py).
"""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from eth_account import Account
from eth_account.typed_transactions import TypedTransaction
from eth_utils.crypto import keccak
from hexbytes import HexBytes

from bot.chain.rpc import Rpc, RpcError, quantity

BUMP_PERCENT = 10


class Mode(StrEnum):
    PASS = "pass"  # to the node, which mines it
    HOLD = "hold"  # in the pool, known and not mined
    DROP = "drop"  # taken with a hash, and forgotten (T2)


class Client(StrEnum):
    GETH = "geth"
    ERIGON = "erigon"
    BESU = "besu"
    NETHERMIND = "nethermind"
    ANVIL = "anvil"
    ARBITRUM = "arbitrum"


class Refusal(StrEnum):
    KNOWN = "known"
    NONCE_TOO_LOW = "nonce too low"
    NONCE_TOO_HIGH = "nonce too high"
    REPLACEMENT = "replacement underpriced"
    UNDERPRICED = "underpriced"
    FUNDS = "funds"


WORDS: dict[Client, dict[Refusal, str]] = {
    Client.GETH: {
        Refusal.KNOWN: "already known",
        Refusal.NONCE_TOO_LOW: "nonce too low: next nonce {next}, tx nonce {nonce}",
        Refusal.NONCE_TOO_HIGH: "nonce too high",
        Refusal.REPLACEMENT: "replacement transaction underpriced",
        Refusal.UNDERPRICED: "transaction underpriced: gas tip cap 0, minimum needed 1",
        Refusal.FUNDS: "insufficient funds for gas * price + value: balance 0, tx cost 1, overshot 1",
    },
    Client.ERIGON: {
        Refusal.KNOWN: "existing txn with same hash",
        Refusal.NONCE_TOO_LOW: "nonce too low",
        Refusal.NONCE_TOO_HIGH: "nonce too high",
        Refusal.REPLACEMENT: "could not replace existing tx",
        Refusal.UNDERPRICED: "fee too low",
        Refusal.FUNDS: "insufficient funds",
    },
    Client.BESU: {
        Refusal.KNOWN: "Known transaction",
        Refusal.NONCE_TOO_LOW: "Nonce too low",
        Refusal.NONCE_TOO_HIGH: "Nonce too high",
        Refusal.REPLACEMENT: "Replacement transaction underpriced",
        Refusal.UNDERPRICED: "Gas price below configured minimum gas price",
        Refusal.FUNDS: "Upfront cost exceeds account balance",
    },
    Client.NETHERMIND: {
        Refusal.KNOWN: "AlreadyKnown",
        Refusal.NONCE_TOO_LOW: "OldNonce, Current nonce: {next}, nonce of rejected tx: {nonce}",
        Refusal.NONCE_TOO_HIGH: "NonceGap, Future nonce. Expected nonce: {next}",
        Refusal.REPLACEMENT: "ReplacementNotAllowed",
        Refusal.UNDERPRICED: "FeeTooLow, MaxFeePerGas too low",
        Refusal.FUNDS: "InsufficientFunds, Account balance: 0",
    },
    Client.ANVIL: {
        Refusal.KNOWN: "transaction already imported",
        Refusal.NONCE_TOO_LOW: "nonce too low",
        Refusal.NONCE_TOO_HIGH: "nonce too high",
        Refusal.REPLACEMENT: "insufficient gas price to replace existing transaction",
        Refusal.UNDERPRICED: "max fee per gas less than block base fee",
        Refusal.FUNDS: "Insufficient funds for gas * price + value",
    },
    Client.ARBITRUM: {
        Refusal.KNOWN: "already known",
        Refusal.NONCE_TOO_LOW: "nonce too low: address 0x, tx: {nonce} state: {next}",
        Refusal.NONCE_TOO_HIGH: "nonce too high: address 0x, tx: {nonce} state: {next}",
        Refusal.REPLACEMENT: "replacement transaction underpriced",
        Refusal.UNDERPRICED: "max fee per gas less than block base fee: address 0x",
        Refusal.FUNDS: "insufficient funds for gas * price + value: address 0x have 0 want 1",
    },
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Pooled:
    """A signed transaction, decoded by eth-account and not by the program."""

    raw: str
    hash: str
    sender: str
    nonce: int
    max_fee_wei: int
    tip_wei: int
    to: str
    data: str
    value_wei: int
    gas: int
    chain_id: int

    @classmethod
    def of(cls, raw: str) -> "Pooled":
        fields = TypedTransaction.from_bytes(HexBytes(raw)).as_dict()
        return cls(
            raw=raw,
            hash="0x" + keccak(hexstr=raw).hex(),
            sender=Account.recover_transaction(raw),
            nonce=fields["nonce"],
            max_fee_wei=fields["maxFeePerGas"],
            tip_wei=fields["maxPriorityFeePerGas"],
            to="0x" + bytes(fields["to"]).hex(),
            data="0x" + bytes(fields["data"]).hex(),
            value_wei=fields["value"],
            gas=fields["gas"],
            chain_id=fields["chainId"],
        )

    def document(self) -> dict[str, Any]:
        """As a node shows a transaction that is in no block."""
        return {
            "hash": self.hash, "from": self.sender, "nonce": hex(self.nonce), "to": self.to,
            "input": self.data, "value": hex(self.value_wei), "gas": hex(self.gas),
            "maxFeePerGas": hex(self.max_fee_wei), "maxPriorityFeePerGas": hex(self.tip_wei),
            "gasPrice": hex(self.max_fee_wei), "chainId": hex(self.chain_id), "type": "0x2",
            "blockHash": None, "blockNumber": None, "transactionIndex": None,
        }  # fmt: skip


_MINED_WITHIN_S = 0.3  # of a node that mines at once; what the next block has no room for is longer in it


class Refused(Exception):
    """The pool refuses; the text is the client's."""


@dataclass
class Turns:
    """What is read, and blocks, in turn.

    While it mines, anvil answers a call at its newest block, named by number or by hash, as if it were in the
    next one: providers of one node would contradict each other.
    """

    _reads: int = 0
    _mining: asyncio.Lock = field(default_factory=asyncio.Lock)
    _idle: asyncio.Event = field(default_factory=asyncio.Event)

    def __post_init__(self) -> None:
        self._idle.set()

    @asynccontextmanager
    async def reading(self) -> AsyncIterator[None]:
        async with self._mining:
            self._reads += 1
            self._idle.clear()
        try:
            yield
        finally:
            self._reads -= 1
            if not self._reads:
                self._idle.set()

    @asynccontextmanager
    async def mining(self) -> AsyncIterator[None]:
        async with self._mining:
            await self._idle.wait()
            yield


@dataclass
class Pool:
    """One pool for all providers. ``seen`` is every transaction that was ever offered, in order.

    ``at`` gives a nonce a mode of its own, ``says`` what is answered to it in place of taking it.
    """

    chain: Rpc
    mode: Mode = Mode.PASS
    at: dict[int, Mode] = field(default_factory=dict)
    says: dict[int, str] = field(default_factory=dict)
    client: Client = Client.GETH
    held: dict[str, Pooled] = field(default_factory=dict)
    turns: Turns = field(default_factory=Turns)
    seen: list[Pooled] = field(default_factory=list)
    refused: list[tuple[Pooled, Refusal]] = field(default_factory=list)
    first_s: dict[str, float] = field(default_factory=dict)  # hash -> when it was first offered, monotonic

    async def offer(self, raw: str) -> str:
        """Take signed bytes as eth_sendRawTransaction does; return the hash. Raises Refused, RpcError."""
        offered = Pooled.of(raw)
        self.seen.append(offered)
        self.first_s.setdefault(offered.hash, time.monotonic())
        if offered.nonce in self.says:
            raise Refused(self.says[offered.nonce])
        await self._judge(offered)
        mode = self.at.get(offered.nonce, self.mode)
        if mode is Mode.HOLD:
            self._replace(offered)
        elif mode is Mode.PASS:
            self._replace(offered, keep=False)
            await self._give(raw)
        return offered.hash

    def transaction(self, tx_hash: str) -> dict[str, Any] | None:
        """Return a held transaction as eth_getTransactionByHash does, None where the pool has none."""
        found = self.held.get(tx_hash)
        return None if found is None else found.document()

    def pending(self, sender: str, latest: int) -> int:
        """Return eth_getTransactionCount at "pending": held ones in a row from ``latest`` on."""
        nonces = {item.nonce for item in self.held.values() if item.sender.lower() == sender.lower()}
        while latest in nonces:
            latest += 1
        return latest

    async def content(self, sender: str) -> dict[str, dict[str, Any]]:
        """Return what txpool_contentFrom answers, which anvil does not have: its pool's, and what is held."""
        found: dict[str, dict[str, Any]] = {"pending": {}, "queued": {}}
        inside = await self.chain.request("txpool_content")
        for part, rows in found.items():
            for account, own in inside.get(part, {}).items():
                rows.update(own if account.lower() == sender.lower() else {})
        held = [item for item in self.held.values() if item.sender.lower() == sender.lower()]
        found["pending"].update({str(item.nonce): item.document() for item in held})
        return found

    def of(self, nonce: int) -> list[Pooled]:
        """Return the different transactions that were offered for a nonce, in order."""
        return list({item.hash: item for item in self.seen if item.nonce == nonce}.values())

    async def release(self, *, only: str = "") -> None:
        """Give what is held to the node, by nonce; ``only`` one hash of them."""
        chosen = sorted(self.held.values(), key=lambda item: item.nonce)
        for item in chosen:
            if not only or item.hash == only:
                del self.held[item.hash]
                await self._give(item.raw)

    async def put_back(self) -> int:
        """Offer again what was seen and is not on the chain now, as geth does after a reorganisation."""
        count = 0
        for item in {item.nonce: item for item in self.seen}.values():
            if await self.chain.request("eth_getTransactionReceipt", [item.hash]) is None:
                try:
                    await self._give(item.raw)
                    count += 1
                except RpcError:
                    continue  # another transaction has its nonce
        return count

    async def _give(self, raw: str) -> None:
        """Give one to the node; where that mines at once, nothing is read until it has."""
        async with self.turns.mining():
            await self.chain.request("eth_sendRawTransaction", [raw], send=True)
            end_s = time.monotonic() + _MINED_WITHIN_S
            while time.monotonic() < end_s and await self.chain.request("anvil_getAutomine"):
                if not quantity((await self.chain.request("txpool_status"))["pending"]):
                    return

    async def _judge(self, offered: Pooled) -> None:
        latest = quantity(await self.chain.request("eth_getTransactionCount", [offered.sender, "latest"]))
        is_known = await self._is_known(offered)
        # Nothing is awaited from here on: by the next provider the same one may come at the same time.
        if is_known or offered.hash in self.held:
            self._refuse(offered, Refusal.KNOWN, latest)
        if offered.nonce < latest:
            self._refuse(offered, Refusal.NONCE_TOO_LOW, latest)
        for other in self.held.values():
            if (other.sender, other.nonce) == (offered.sender, offered.nonce) and not _outbids(
                offered, other
            ):
                self._refuse(offered, Refusal.REPLACEMENT, latest)

    async def _is_known(self, offered: Pooled) -> bool:
        """Whether the node has it: other providers of the network then have it too."""
        return await self.chain.request("eth_getTransactionByHash", [offered.hash]) is not None

    def _refuse(self, offered: Pooled, why: Refusal, latest: int) -> None:
        self.refused.append((offered, why))
        raise Refused(WORDS[self.client][why].format(next=latest, nonce=offered.nonce))

    def _replace(self, offered: Pooled, *, keep: bool = True) -> None:
        for tx_hash, other in tuple(self.held.items()):
            if (other.sender, other.nonce) == (offered.sender, offered.nonce):
                del self.held[tx_hash]
        if keep:
            self.held[offered.hash] = offered


def _outbids(new: Pooled, old: Pooled) -> bool:
    return all(
        100 * mine >= (100 + BUMP_PERCENT) * theirs
        for mine, theirs in ((new.max_fee_wei, old.max_fee_wei), (new.tip_wei, old.tip_wei))
    )
