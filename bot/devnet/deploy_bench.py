"""What a deployment writes with: contracts deployed and called, one transaction after the other.

Who signs is the writer's: on a devnet the node's own unlocked accounts, on a public test chain a keystore
(bot/devnet/testnet_sender.py). The bot itself never sends this way.
"""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from eth_utils.address import to_checksum_address

from bot.chain.rpc import Node, hex_bytes, quantity
from bot.devnet.artifacts import Artifact, own_artifact, read_artifact
from bot.devnet.packages import Library
from bot.errors import InvariantError, TransientError

_RECEIPT_LOOKS, _RECEIPT_PAUSE_S = 6000, 0.005  # half a minute: on a busy machine a node mines late
_GAS = 20_000_000  # explicit, so that the node estimates nothing


class Writer(Protocol):
    """Puts one transaction on the chain."""

    async def transact(
        self, what: str, *, to: str | None, data: str, sender: str, value_wei: int
    ) -> Mapping[str, Any]:
        """Return the receipt of a transaction that succeeded; ``to`` None creates a contract.

        Raises InvariantError or VenueRejected with the reason when it reverts.
        """
        ...


@dataclass(frozen=True)
class Contract:
    """A deployed contract as the bench drives it."""

    address: str
    artifact: Artifact
    bench: "Bench"

    async def send(
        self, function: str, *args: Any, sender: str | None = None, value_wei: int = 0
    ) -> Mapping[str, Any]:
        """Transact, check that it succeeded, return the receipt. The sender is the deployer unless given."""
        data = "0x" + self.artifact.abi.encode(function, *args).hex()
        return await self.bench.transact(
            f"{self.artifact.name}.{function}", to=self.address, data=data, sender=sender, value_wei=value_wei
        )

    async def call(self, function: str, *args: Any, sender: str | None = None) -> Any:
        """Read at the latest block: one value, or a tuple of them."""
        abi = self.artifact.abi
        data = "0x" + abi.encode(function, *args).hex()
        call = {"from": sender or self.bench.deployer, "to": self.address, "data": data}
        values = abi.decode(function, hex_bytes(await self.bench.rpc.read("eth_call", [call, "latest"])))
        return values[0] if len(values) == 1 else values


class Bench:
    """Deploys artifacts and sends transactions one after the other, each in its own block."""

    def __init__(
        self, rpc: Node, library: Library, accounts: tuple[str, ...], *, writer: Writer | None = None
    ) -> None:
        """``accounts[0]`` deploys. Without a writer the node signs, with its unlocked accounts."""
        self.rpc = rpc
        self.library = library
        self.accounts = accounts
        self.deployer = accounts[0]
        self._writer = writer or UnlockedWriter(rpc)
        self._artifacts: dict[str, Artifact] = {}

    def artifact(self, name: str) -> Artifact:
        """A contract of the locked packages by its name."""
        if name not in self._artifacts:
            self._artifacts[name] = read_artifact(self.library.path(name), name)
        return self._artifacts[name]

    def at(self, name: str, address: str) -> Contract:
        """A contract that another contract created."""
        return Contract(to_checksum_address(address), self.artifact(name), self)

    def own_at(self, name: str, address: str) -> Contract:
        """One of our own Vyper contracts that was deployed before."""
        return Contract(to_checksum_address(address), own_artifact(name), self)

    async def deploy(self, name: str, *args: Any, libraries: Mapping[str, str] | None = None) -> Contract:
        """Deploy a contract of the locked packages."""
        return await self._create(self.artifact(name), args, libraries or {})

    async def deploy_own(self, name: str, *args: Any) -> Contract:
        """Deploy one of our own Vyper contracts."""
        return await self._create(own_artifact(name), args, {})

    async def create(self, name: str, code: str) -> str:
        """Deploy creation code (0x hex) and return the contract's address."""
        receipt = await self.transact(f"creation of {name}", to=None, data=code)
        return str(to_checksum_address(receipt["contractAddress"]))

    async def _create(
        self, artifact: Artifact, args: tuple[Any, ...], libraries: Mapping[str, str]
    ) -> Contract:
        data = artifact.encode_creation(*args, libraries=libraries)
        return Contract(await self.create(artifact.name, data), artifact, self)

    async def transact(
        self, what: str, *, to: str | None, data: str, sender: str | None = None, value_wei: int = 0
    ) -> Mapping[str, Any]:
        """Send one transaction and return its receipt; raises with the reason if it reverted."""
        return await self._writer.transact(
            what, to=to, data=data, sender=sender or self.deployer, value_wei=value_wei
        )

    async def set_time(self, timestamp_s: int) -> None:
        """Mine one block at the given time."""
        await self.rpc.request("evm_setNextBlockTimestamp", [timestamp_s])
        await self.rpc.request("evm_mine", [])

    async def now_s(self) -> int:
        """Time of the latest block."""
        block = await self.rpc.read("eth_getBlockByNumber", ["latest", False])
        return quantity(block["timestamp"])


@dataclass(frozen=True)
class UnlockedWriter:
    """Lets a local node sign with its unlocked accounts."""

    rpc: Node

    async def transact(
        self, what: str, *, to: str | None, data: str, sender: str, value_wei: int
    ) -> Mapping[str, Any]:
        transaction = {"from": sender, "data": data, "value": hex(value_wei), "gas": hex(_GAS)}
        if to is not None:
            transaction["to"] = to
        tx_hash = await self.rpc.request("eth_sendTransaction", [transaction], send=True)
        receipt = await self._receipt(what, tx_hash)
        if receipt["status"] != "0x1":
            reason = await self._reason(transaction, receipt)
            raise InvariantError(f"devnet deployment: {what} failed: {reason}")
        return receipt

    async def _receipt(self, what: str, tx_hash: str) -> dict[str, Any]:
        """The node mines right after it has answered the send, so the first look may come too early."""
        for _ in range(_RECEIPT_LOOKS):
            receipt: dict[str, Any] | None = await self.rpc.request("eth_getTransactionReceipt", [tx_hash])
            if receipt is not None:
                return receipt
            await asyncio.sleep(_RECEIPT_PAUSE_S)
        raise InvariantError(f"devnet deployment: {what} was not mined")

    async def _reason(self, transaction: dict[str, Any], receipt: dict[str, Any]) -> str:
        before = hex(quantity(receipt["blockNumber"]) - 1)
        try:
            await self.rpc.request("eth_call", [transaction, before])
        except TransientError as error:
            return str(error)
        return "it succeeds one block earlier"
