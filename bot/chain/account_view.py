"""What the transaction manager asks a node. Reads only; replies are checked before they are believed."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from bot.chain.fees import (
    BLOCKS,
    PERCENTILE,
    FeeMarket,
    FeePolicy,
    Fees,
    fee_cap_wei,
    first_fees,
    parse_fee_history,
)
from bot.chain.rpc import Node, RevertError, RpcError, hex_bytes, quantity
from bot.chain.send_state import Intent
from bot.errors import ConfigError, TransientError, VenueRejected
from bot.model.intent import Log, Receipt, TxRequest


class Head(NamedTuple):
    number: int
    time_s: float


class Sighting(NamedTuple):
    """What the node knows of an intent's attempts: canonical receipts by hash, and the newest one."""

    receipts: dict[str, Receipt]
    newest_known: bool


class AccountView:
    """One account on one chain as a node shows it. Everything raises TransientError."""

    def __init__(self, rpc: Node, *, chain_id: int, sender: str) -> None:
        self._rpc = rpc
        self._chain_id = chain_id
        self._sender = sender

    async def head(self) -> Head:
        """Return the newest block. Raises ConfigError when the node serves another chain."""
        chain_id, block = await self._batch(("eth_chainId", []), ("eth_getBlockByNumber", ["latest", False]))
        if quantity(chain_id) != self._chain_id:
            raise ConfigError(f"the node serves chain {quantity(chain_id)}, configured is {self._chain_id}")
        if block is None:
            raise TransientError("the node has no latest block")
        return Head(number=quantity(block.get("number")), time_s=float(quantity(block.get("timestamp"))))

    async def nonces(self, *blocks: int | str) -> list[int]:
        """Return how many transactions the account had sent at each block number or tag."""
        tags = [block if isinstance(block, str) else hex(block) for block in blocks]
        replies = await self._batch(*(("eth_getTransactionCount", [self._sender, tag]) for tag in tags))
        return [quantity(reply) for reply in replies]

    async def market(self) -> FeeMarket:
        return parse_fee_history(
            await self._rpc.request("eth_feeHistory", [hex(BLOCKS), "latest", [PERCENTILE]])
        )

    async def simulated_gas(self, request: TxRequest) -> int:
        """Return the gas limit: 1.25 times the estimate, never over the ceiling.

        Raises VenueRejected when the call reverts, needs too much gas, or its target has no code.
        """
        call = {
            "from": self._sender,
            "to": request.to,
            "data": "0x" + request.data.hex(),
            "value": hex(request.value_wei),
        }
        try:
            if request.data and not hex_bytes(await self._rpc.read("eth_getCode", [request.to, "latest"])):
                raise VenueRejected(f"{request.purpose}: there is no contract at {request.to}")
            await self._rpc.read("eth_call", [call, "latest"])
            estimate = quantity(await self._rpc.read("eth_estimateGas", [call]))
        except RevertError as error:
            raise VenueRejected(f"{request.purpose}: {error.reason} (simulated, nothing was sent)") from None
        if estimate > request.gas_ceiling:
            raise VenueRejected(
                f"{request.purpose}: needs {estimate} gas, the ceiling is {request.gas_ceiling}"
            )
        return min(estimate * 5 // 4, request.gas_ceiling)

    async def affordable_fees(self, request: TxRequest, policy: FeePolicy, *, gas: int) -> Fees:
        """Return the first fees of a request. Raises VenueRejected when bounds or balance forbid them."""
        cap_wei = fee_cap_wei(policy, max_gas_cost_wei=request.max_gas_cost_wei, gas=gas)
        fees = first_fees(await self.market(), policy, cap_wei=cap_wei)
        needed_wei = gas * fees.max_fee_wei + request.value_wei
        held = quantity(await self._rpc.read("eth_getBalance", [self._sender, "latest"]))
        if held < needed_wei:
            raise VenueRejected(
                f"{request.purpose}: gas and value may cost {needed_wei / 1e18:.6f} of the chain's coin, "
                f"{self._sender} holds {held / 1e18:.6f}: send it some (nothing was signed)"
            )
        return fees

    async def cancel_gas(self) -> int:
        """Return the gas limit of a transfer of nothing to ourselves."""
        call = {"from": self._sender, "to": self._sender}
        return quantity(await self._rpc.request("eth_estimateGas", [call])) * 5 // 4

    async def sighting(self, intent: Intent) -> Sighting:
        """Look for every attempt's receipt; one whose block is no longer canonical does not count."""
        hashes = [attempt.tx_hash for attempt in intent.attempts]
        *replies, newest = await self._batch(
            *(("eth_getTransactionReceipt", [tx_hash]) for tx_hash in hashes),
            ("eth_getTransactionByHash", [hashes[-1]]),
        )
        found = [_receipt(reply, tx_hash) for reply, tx_hash in zip(replies, hashes, strict=True) if reply]
        blocks = await self._batch(
            *(("eth_getBlockByNumber", [hex(receipt.block_number), False]) for receipt in found)
        )
        canonical = {
            receipt.tx_hash: receipt
            for receipt, block in zip(found, blocks, strict=True)
            if block is not None and str(block.get("hash", "")).lower() == receipt.block_hash
        }
        return Sighting(canonical, newest is not None)

    async def revert_reason(self, intent: Intent, block_number: int) -> str:
        """Replay a reverted call one block earlier, to have words for the journal; a guess, not a fact."""
        call = {"from": intent.sender, "to": intent.to, "data": intent.data}
        try:
            await self._rpc.request("eth_call", [call, hex(max(0, block_number - 1))])
        except RevertError as error:
            return f"reverted: {error.reason}"
        except TransientError:
            pass
        return "mined but reverted; the same call passes one block earlier"

    async def _batch(self, *calls: tuple[str, Sequence[Any]]) -> list[Any]:
        replies = await self._rpc.batch(calls)
        for reply in replies:
            if isinstance(reply, RpcError):
                raise reply
        return replies


def _receipt(reply: Mapping[str, Any], tx_hash: str) -> Receipt:
    """Read a receipt; raises TransientError when it is malformed or of another transaction."""
    if str(reply.get("transactionHash", "")).lower() != tx_hash:
        raise TransientError(f"the node answered with another receipt than {tx_hash}")
    gas_used = quantity(reply.get("gasUsed"))
    # OP-stack chains charge for L1 data on top of the gas.
    l1_fee = quantity(reply["l1Fee"]) if reply.get("l1Fee") else 0
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
        address=str(item.get("address")),
        topics=tuple(str(topic) for topic in item["topics"]),
        data=hex_bytes(item.get("data")),
    )
