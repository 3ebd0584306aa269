"""Reads of one chain through JSON-RPC, all pinned to a block hash (EIP-1898).

What several watchers ask for at the same time goes out together; what can never change is asked once.
"""

import asyncio
from binascii import unhexlify
from collections.abc import Mapping, Sequence
from typing import Any

from eth_utils.address import is_hex_address

from bot.chain.abi import decode_or_none
from bot.chain.bulk import (
    GET_RESERVES,
    LENS_PAYS_FROM,
    RESERVES_TYPES,
    asks_reserves,
    read_words,
    requests,
)
from bot.chain.facts import Facts
from bot.chain.lens import Lens, Lenses
from bot.chain.logs import read_logs
from bot.chain.multicall import decode_aggregate3, encode_aggregate3
from bot.chain.node_errors import ReplyTooLargeError, RevertError, RpcError, is_rate_limit
from bot.chain.replies import hex_bytes, quantity
from bot.chain.rpc import Node
from bot.chain.shared_reads import SharedReads
from bot.errors import ConfigError, InvariantError, StaleDataError, TransientError, VenueRejected
from bot.model.market import Block
from bot.ports import BlockLog, Call, FeeHistory

MULTICALL3 = "0xcA11bde05977b3631167028862bE2a173976CA11"

_UNKNOWN_BLOCK_TRIES = 3  # behind a load balancer a node may lag a fresh block by a moment
_UNKNOWN_BLOCK_PAUSE_S = 0.2
_UNKNOWN_BLOCK_WORDS = ("not found", "not currently canonical", "unknown block", "is not canonical")
_METHOD_NOT_FOUND = -32601
_BAD_PARAMETER_CODES = frozenset({-32602, -32600})


class JsonRpcReader:
    """ChainReader over one node. Make it with :meth:`connect`, which checks what it is talking to.

    Reads are idempotent and retried within the deadline of the Rpc; a whole-batch failure raises
    TransientError, a block that is no longer canonical StaleDataError.
    """

    def __init__(self, rpc: Node, *, chain_id: int, multicall3: str, pins_by_hash: bool) -> None:
        self._rpc = rpc
        self._chain_id = chain_id
        self._multicall3 = multicall3
        self._pins_by_hash = pins_by_hash
        self._lenses = Lenses(self.eth_call)
        self._facts = Facts()
        self._shared = SharedReads(self._fetch, requests)

    @classmethod
    async def connect(cls, rpc: Node, *, chain_id: int, multicall3: str = MULTICALL3) -> "JsonRpcReader":
        """Check the chain id, that Multicall3 has code, and whether the node takes block hashes.

        Raises ConfigError naming both ids, or the address without code.
        """
        found = quantity(await rpc.read("eth_chainId"))
        if found != chain_id:
            raise ConfigError(
                f"chain id {chain_id} is configured but the node at {rpc.where} is on chain {found}; "
                "change chain.id or chain.rpc_url"
            )
        if not is_hex_address(multicall3):
            raise ConfigError(f"multicall3 must be an address, was {multicall3!r}")
        reader = cls(rpc, chain_id=chain_id, multicall3=multicall3, pins_by_hash=True)
        head = await reader.head()
        try:
            has_code = await reader.has_code(multicall3, block=head)
        except RpcError as error:
            if error.code not in _BAD_PARAMETER_CODES:
                raise
            reader = cls(rpc, chain_id=chain_id, multicall3=multicall3, pins_by_hash=False)
            has_code = await reader.has_code(multicall3, block=head)
        if not has_code:
            raise ConfigError(
                f"multicall3 {multicall3} has no code on chain {chain_id}; configure its address"
            )
        return reader

    @property
    def chain_id(self) -> int:
        return self._chain_id

    @property
    def multicall3(self) -> str:
        return self._multicall3

    async def check_chain(self) -> None:
        """Raise ConfigError when the node behind the URL has come to be on another chain (REL-R1)."""
        found = quantity(await self._rpc.read("eth_chainId"))
        if found != self._chain_id:
            raise ConfigError(
                f"the node at {self._rpc.where} is on chain {found}, it was on {self._chain_id}"
            )

    async def head(self) -> Block:
        """Return the newest block."""
        raw = await self._rpc.read("eth_getBlockByNumber", ["latest", False])
        if raw is None:
            raise TransientError(f"the node at {self._rpc.where} knows no latest block")
        return self._block(raw)

    async def block(self, number: int) -> Block:
        """Return the canonical block of a height. Raises StaleDataError when the node has none there."""
        raw = await self._rpc.read("eth_getBlockByNumber", [hex(number), False])
        if raw is None:
            raise StaleDataError(f"block {number} is not on the chain of {self._rpc.where}")
        return self._block(raw)

    async def block_by_hash(self, block_hash: str) -> Block | None:
        """Return a block that the node knows, canonical or not; None when it does not."""
        raw = await self._rpc.read("eth_getBlockByHash", [block_hash, False])
        return None if raw is None else self._block(raw)

    async def read(self, calls: Sequence[Call], *, block: Block) -> list[tuple[Any, ...] | None]:
        """Return one decoded tuple per call, None where it failed, came back empty or does not decode."""
        self._check_own(block)
        self._facts.go_to(block)
        results: list[tuple[Any, ...] | None] = [self._facts.get(call) for call in calls]
        asked = [place for place, result in enumerate(results) if result is None]
        if asked:
            answers = await self._shared.ask([calls[place] for place in asked], block)
            for place, data in zip(asked, answers, strict=True):
                results[place] = _decoded(calls[place], data)
                self._facts.keep(calls[place], results[place], block=block)
        return results

    async def run_lens(self, lens: Lens, data: bytes, *, block: Block) -> bytes | None:
        """Return what a lens makes of its input; None where the node cannot run it, or not on this much.

        Raises TransientError when the read failed in transit, StaleDataError when the block is gone.
        """
        try:
            return await self._lenses.run(lens, data, block=block)
        except (RpcError, ReplyTooLargeError):
            return None

    async def eth_call(
        self, request: dict[str, Any], block: Block, overrides: dict[str, Any] | None = None
    ) -> bytes:
        """Do one ``eth_call`` at a block. Raises RpcError with the node's own words, RevertError also."""
        extra = () if overrides is None else (overrides,)
        # The shape was checked with the reply; a second look costs as much as all the rest of the decoding.
        return unhexlify((await self._pinned("eth_call", (request,), block, extra))[2:])

    async def aggregate(self, calls: Sequence[Call], block: Block) -> list[bytes | None]:
        """Read one chunk; where the node cannot do it whole (gas, size), read its halves."""
        request = {"to": self._multicall3, "data": "0x" + encode_aggregate3(calls).hex()}
        try:
            return decode_aggregate3(await self.eth_call(request, block), count=len(calls))
        except (RpcError, ReplyTooLargeError) as error:
            if isinstance(error, RpcError) and is_rate_limit(error):
                raise  # its halves would be two requests more of what the node has too many of
            if len(calls) == 1:
                if isinstance(error, RevertError | ReplyTooLargeError):
                    return [None]
                raise
        middle = len(calls) // 2
        first = await self.aggregate(calls[:middle], block)
        return first + await self.aggregate(calls[middle:], block)

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
        """Return what the call would return; ``overrides`` is the state override set of eth_call."""
        call = {"from": sender, "to": to, "data": "0x" + data.hex()}
        if gas is not None:
            call["gas"] = hex(gas)
        extra = () if overrides is None else (dict(overrides),)
        try:
            return hex_bytes(await self._pinned("eth_call", (call,), block, extra))
        except RevertError as error:
            raise VenueRejected(f"call of {to} would revert: {error.reason}") from None

    async def storage_at(self, address: str, slot: int, *, block: Block) -> bytes:
        """Return one storage word, 32 bytes."""
        word = hex_bytes(await self._pinned("eth_getStorageAt", (address, hex(slot)), block))
        return word.rjust(32, b"\0")

    async def has_code(self, address: str, *, block: Block) -> bool:
        return bool(hex_bytes(await self._pinned("eth_getCode", (address,), block)))

    async def logs(
        self, *, addresses: Sequence[str], topics: Sequence[Sequence[str]], from_block: int, to: Block
    ) -> list[BlockLog]:
        self._check_own(to)
        return await read_logs(self._rpc, addresses=addresses, topics=topics, from_block=from_block, to=to)

    async def fee_history(self, *, blocks: int, percentiles: Sequence[float], to: Block) -> FeeHistory:
        self._check_own(to)
        raw = await self._rpc.read("eth_feeHistory", [hex(blocks), hex(to.number), list(percentiles)])
        try:
            return FeeHistory(
                oldest_block=quantity(raw["oldestBlock"]),
                base_fee_wei=tuple(quantity(item) for item in raw["baseFeePerGas"]),
                gas_used_share=tuple(float(item) for item in raw["gasUsedRatio"]),
                reward_wei=tuple(tuple(quantity(item) for item in row) for row in raw.get("reward") or ()),
            )
        except (KeyError, TypeError, ValueError) as error:
            raise TransientError(f"the fee history of {self._rpc.where} is malformed: {error!r}") from None

    async def _fetch(self, calls: Sequence[Call], block: Block) -> list[bytes | None]:
        """Read what shared_requests put into one request."""
        if len(calls) < LENS_PAYS_FROM or not all(map(asks_reserves, calls)):
            return await self.aggregate(calls, block)
        targets = [call.target for call in calls]
        table = await read_words(self, GET_RESERVES, targets, types=RESERVES_TYPES, block=block)
        return table.answers()

    async def _pinned(
        self, method: str, params: tuple[Any, ...], block: Block, extra: tuple[Any, ...] = ()
    ) -> Any:
        """Call ``method`` at the state after ``block``. Raises StaleDataError when it is not canonical."""
        self._check_own(block)
        if not self._pins_by_hash:
            result = await self._rpc.read(method, (*params, hex(block.number), *extra))
            await self._check_canonical(block)
            return result
        pin = {"blockHash": block.hash, "requireCanonical": True}
        for attempt in range(_UNKNOWN_BLOCK_TRIES):
            try:
                return await self._rpc.read(method, (*params, pin, *extra))
            except RpcError as error:
                if not _says_unknown_block(error):
                    raise
                await self._check_canonical(block)
                problem = error
            if attempt < _UNKNOWN_BLOCK_TRIES - 1:
                await asyncio.sleep(_UNKNOWN_BLOCK_PAUSE_S)
        raise TransientError(f"{method} at block {block.number}: {problem}")

    async def _check_canonical(self, block: Block) -> None:
        found = await self.block(block.number)
        if found.hash != block.hash:
            raise StaleDataError(
                f"block {block.number} {block.hash} was reorganised away, now there is {found.hash}"
            )

    def _check_own(self, block: Block) -> None:
        if block.chain_id != self._chain_id:
            raise InvariantError(
                f"block of chain {block.chain_id} given to a reader of chain {self._chain_id}"
            )

    def _block(self, raw: Mapping[str, Any]) -> Block:
        try:
            return Block(
                chain_id=self._chain_id,
                number=quantity(raw["number"]),
                hash=_hash(raw["hash"]),
                parent_hash=_hash(raw["parentHash"]),
                timestamp_s=quantity(raw["timestamp"]),
                base_fee_wei=quantity(raw.get("baseFeePerGas", "0x0")),
            )
        except KeyError as error:
            raise TransientError(f"a block of {self._rpc.where} lacks {error}") from None


def _hash(value: Any) -> str:
    data = hex_bytes(value)
    if len(data) != 32:
        raise TransientError(f"expected a hash of 32 bytes, found {len(data)}")
    return "0x" + data.hex()


def _says_unknown_block(error: RpcError) -> bool:
    if error.code == _METHOD_NOT_FOUND:
        return False
    text = error.message.lower()
    return error.code == -32001 or any(words in text for words in _UNKNOWN_BLOCK_WORDS)


def _decoded(call: Call, data: bytes | None) -> tuple[Any, ...] | None:
    return None if data is None else decode_or_none(call.outputs, data)
