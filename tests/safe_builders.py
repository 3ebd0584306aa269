"""A real 2-of-3 Safe on the devnet, whose owners' keys the tests hold."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from eth_account import Account
from eth_account.signers.local import LocalAccount

from bot.chain.reader import JsonRpcReader
from bot.chain.rpc import RevertError, Rpc, hex_bytes, quantity
from bot.chain.safe import SafeTx, execution, safe_tx_hash
from bot.chain.safe_state import SafeState, read_safe
from bot.devnet.deploy_bench import Bench, Contract
from bot.devnet.deploy_safe import SafeSystem, create_safe, deploy_safe_system
from bot.devnet.deployment import CHAIN_ID, Deployment
from bot.devnet.packages import devnet_packages, fetch, read_lock
from bot.model.intent import Log, Receipt

SAFE_PACKAGE = "@safe-global/safe-contracts"
OWNERS: tuple[LocalAccount, ...] = tuple(Account.from_key(bytes([7, n]) + bytes(30)) for n in range(1, 4))
STRANGER: LocalAccount = Account.from_key(bytes([9]) + bytes(31))


def signature(owner: LocalAccount, tx_hash: bytes) -> bytes:
    """EIP-712 form: the hash itself is signed, v 27 or 28."""
    return bytes(owner.unsafe_sign_hash(tx_hash).signature)


def signatures(tx_hash: bytes, owners: Sequence[LocalAccount]) -> dict[str, bytes]:
    return {owner.address: signature(owner, tx_hash) for owner in owners}


def safe_bench(rpc: Rpc, cache_dir: Path, accounts: tuple[str, ...]) -> Bench:
    """A bench that also has Safe's contracts."""
    wanted = [*devnet_packages(), *(item for item in read_lock() if item.name == SAFE_PACKAGE)]
    return Bench(rpc, fetch(cache_dir, packages=wanted), accounts)


@dataclass
class SafeWorld:
    """The Safe, what it is made from, and a way to send from an account that the node unlocked."""

    bench: Bench
    rpc: Rpc
    reader: JsonRpcReader
    at: Deployment
    system: SafeSystem
    safe: Contract

    @property
    def address(self) -> str:
        return self.safe.address

    @property
    def multi_send(self) -> str:
        return self.system.multi_send.address

    def hash_of(self, tx: SafeTx) -> bytes:
        return safe_tx_hash(tx, chain_id=CHAIN_ID, safe=self.address)

    async def state(self) -> SafeState:
        return await read_safe(self.reader, self.address, block=await self.reader.head())

    async def balance(self, token: str, account: str | None = None) -> int:
        contract = self.bench.at("TestERC20SetDecimals", token)
        return int(await contract.call("balanceOf", account or self.address))

    async def allowance(self, token: str, spender: str) -> int:
        contract = self.bench.at("TestERC20SetDecimals", token)
        return int(await contract.call("allowance", self.address, spender))

    async def execute(self, tx: SafeTx, given: dict[str, bytes], *, sender: str | None = None) -> Receipt:
        """Simulate and send ``execTransaction``; the revert is raised as the node words it."""
        return await self.send(self.address, execution(tx, given), sender=sender)

    async def signed(self, tx: SafeTx, owners: Sequence[LocalAccount] = OWNERS[:2]) -> Receipt:
        return await self.execute(tx, signatures(self.hash_of(tx), owners))

    async def command(self, function: str, *args: Any) -> Receipt:
        """Let the owners change their own Safe."""
        data = self.safe.artifact.abi.encode(function, *args)
        tx = SafeTx(to=self.address, data=data, nonce=(await self.state()).nonce)
        return await self.signed(tx)

    async def send(self, to: str, data: bytes, *, sender: str | None = None) -> Receipt:
        call = {"from": sender or self.at.whale, "to": to, "data": "0x" + data.hex(), "gas": hex(15_000_000)}
        await self.rpc.request("eth_call", [call, "latest"])
        tx_hash = await self.rpc.request("eth_sendTransaction", [call], send=True)
        raw = None
        while raw is None:
            raw = await self.rpc.request("eth_getTransactionReceipt", [tx_hash])
        return _receipt(tx_hash, raw)


async def make_safe(
    rpc: Rpc, cache_dir: Path, at: Deployment, *, l2: bool = False, threshold: int = 2
) -> SafeWorld:
    """A Safe of OWNERS that holds 10,000 USDC."""
    bench = safe_bench(rpc, cache_dir, at.accounts)
    system = await deploy_safe_system(bench, l2=l2)
    owners = [owner.address for owner in OWNERS]
    safe = await create_safe(bench, system, owners=owners, threshold=threshold)
    await bench.at("TestERC20SetDecimals", at.usdc).send("mint", safe.address, 10_000 * 10**6)
    reader = await JsonRpcReader.connect(rpc, chain_id=CHAIN_ID, multicall3=at.multicall3)
    return SafeWorld(bench, rpc, reader, at, system, safe)


def reason(error: RevertError) -> str:
    return error.reason


def _receipt(tx_hash: str, raw: dict[str, Any]) -> Receipt:
    gas_used = quantity(raw["gasUsed"])
    return Receipt(
        tx_hash=tx_hash,
        succeeded=quantity(raw["status"]) == 1,
        block_number=quantity(raw["blockNumber"]),
        block_hash=raw["blockHash"],
        gas_used=gas_used,
        gas_cost_wei=gas_used * quantity(raw["effectiveGasPrice"]),
        logs=tuple(
            Log(address=log["address"], topics=tuple(log["topics"]), data=hex_bytes(log["data"]))
            for log in raw["logs"]
        ),
    )
