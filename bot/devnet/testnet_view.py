"""What a deployment asks a node. Reads only; replies are checked before they are believed."""

from collections.abc import Mapping, Sequence
from typing import Any

import rlp  # type: ignore[import-untyped]
from eth_utils.address import to_checksum_address
from eth_utils.crypto import keccak

from bot.chain.fees import BLOCKS, PERCENTILE, FeeMarket, FeePolicy, parse_fee_history
from bot.chain.raw_transaction import decode_raw
from bot.chain.rpc import Node, RpcError, hex_bytes, quantity
from bot.devnet.testnet_key import CREATION
from bot.devnet.testnet_log import Signed
from bot.errors import InvariantError, TransientError

TX_GAS_CAP = 2**24  # EIP-7825: no transaction may ask for more, however large the block
NITRO_GAS_CAP = 32_000_000  # Arbitrum: what a block really takes; its header states 2**50
_NO_LIMIT = 10**12
_BATCH = 50  # calls in one request; public nodes refuse large ones


class DeployView:
    """One account on one chain as a node shows it. Everything raises TransientError."""

    def __init__(self, node: Node, sender: str) -> None:
        self._node = node
        self._sender = sender

    async def chain_id(self) -> int:
        return quantity(await self._node.read("eth_chainId"))

    async def genesis(self) -> str:
        """Return the hash of block 0: it tells two chains of one id apart."""
        block = await self._node.read("eth_getBlockByNumber", ["0x0", False])
        if block is None:
            raise TransientError("the node does not show block 0")
        return str(block["hash"]).lower()

    async def nonce(self, tag: str) -> int:
        return quantity(await self._node.read("eth_getTransactionCount", [self._sender, tag]))

    async def balance_wei(self) -> int:
        return quantity(await self._node.read("eth_getBalance", [self._sender, "latest"]))

    async def has_code(self, address: str) -> bool:
        return bool(hex_bytes(await self._node.read("eth_getCode", [address, "latest"])))

    async def market(self) -> FeeMarket:
        return parse_fee_history(
            await self._node.read("eth_feeHistory", [hex(BLOCKS), "latest", [PERCENTILE]])
        )

    async def gas_cap(self) -> int:
        """Return the most gas that one transaction may have: the block's limit, and that of EIP-7825."""
        block = await self._node.read("eth_getBlockByNumber", ["latest", False])
        if block is None:
            raise TransientError("the node has no latest block")
        limit = quantity(block.get("gasLimit"))
        return NITRO_GAS_CAP if limit > _NO_LIMIT else min(limit, TX_GAS_CAP)

    async def estimate(self, *, to: str, data: bytes, value_wei: int) -> int:
        """Return the gas that a transaction would use now. Raises RevertError."""
        call = {"from": self._sender, "data": "0x" + data.hex(), "value": hex(value_wei)}
        if to != CREATION:
            call["to"] = to
        return quantity(await self._node.read("eth_estimateGas", [call]))

    async def receipt(self, attempts: Sequence[Signed]) -> tuple[Mapping[str, Any] | None, int]:
        """Return the canonical receipt of any attempt, and how deep it is: 1 in the newest block."""
        head, *found = await self._batch(
            ("eth_blockNumber", []), *(("eth_getTransactionReceipt", [item.tx_hash]) for item in attempts)
        )
        for receipt, attempt in zip(found, attempts, strict=True):
            if receipt is None:
                continue
            number = quantity(receipt.get("blockNumber"))
            block = await self._node.read("eth_getBlockByNumber", [hex(number), False])
            if block is not None and block.get("hash") == receipt.get("blockHash"):
                return self._checked(receipt, attempt), quantity(head) - number + 1
        return None, 0

    async def receipts(self, signed: Sequence[Signed]) -> list[Mapping[str, Any] | None]:
        """Return the receipt of each, None where the node has none."""
        found: list[Mapping[str, Any] | None] = []
        for start in range(0, len(signed), _BATCH):
            part = signed[start : start + _BATCH]
            replies = await self._batch(*(("eth_getTransactionReceipt", [item.tx_hash]) for item in part))
            found += [
                self._checked(reply, item) if reply is not None else None
                for reply, item in zip(replies, part, strict=True)
            ]
        return found

    async def codes(self, addresses: Sequence[str]) -> list[bool]:
        """Say of each address whether it has code."""
        found: list[bool] = []
        for start in range(0, len(addresses), _BATCH):
            part = addresses[start : start + _BATCH]
            replies = await self._batch(*(("eth_getCode", [item, "latest"]) for item in part))
            found += [bool(hex_bytes(reply)) for reply in replies]
        return found

    def _checked(self, receipt: Mapping[str, Any], attempt: Signed) -> Mapping[str, Any]:
        """Return the receipt with the address of what it created, computed rather than believed."""
        if str(receipt.get("transactionHash", "")).lower() != attempt.tx_hash:
            raise TransientError(f"the node answered with another receipt than {attempt.tx_hash}")
        if not is_creation(attempt):
            return receipt
        address, told = created_address(self._sender, attempt.nonce), receipt.get("contractAddress")
        if told is not None and str(told).lower() != address.lower():
            raise InvariantError(
                f"{attempt.what}: the node says it made {told}, by sender and nonce it is {address}"
            )
        return {**receipt, "contractAddress": address}

    async def _batch(self, *calls: tuple[str, Sequence[Any]]) -> list[Any]:
        replies = await self._node.batch(calls)
        for reply in replies:
            if isinstance(reply, RpcError):
                raise reply
        return replies


def is_creation(signed: Signed) -> bool:
    return decode_raw(signed.raw).to == CREATION


def created_address(sender: str, nonce: int) -> str:
    """Return where CREATE puts the contract of a sender's nonce: the last 20 bytes of keccak(rlp(both))."""
    packed: bytes = rlp.encode([bytes.fromhex(sender[2:]), nonce])
    return str(to_checksum_address(keccak(packed)[12:]))


def expected_fee_wei(market: FeeMarket, policy: FeePolicy) -> int:
    """Return what a unit of gas will about cost: the next base fee and the usual tip."""
    tip = min(max(market.median_tip_wei, policy.tip_min_wei), policy.tip_max_wei)
    return market.next_base_wei + tip
