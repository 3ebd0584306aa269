"""A local chain that behaves like a fresh public testnet: Sepolia's id, blocks at intervals, a gas limit.

Nothing is deployed on it, no account is unlocked for us, a transaction may have 2**24 gas (EIP-7825).
"""

import contextlib
import json
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from eth_account import Account

from bot.chain.rpc import Rpc
from bot.devnet.anvil import STATES_KEPT, choose_port, find_anvil, listens
from bot.devnet.packages import fetch

SEPOLIA = 11155111
PASSWORD = "correct horse"
ROUNDS = 2**18  # the least that is accepted


@dataclass(frozen=True, kw_only=True)
class PublicChain:
    """A running chain."""

    port: int
    chain_id: int

    @property
    def rpc_url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def ask(self, method: str, *params: Any, send: bool = False) -> Any:
        async with Rpc(self.rpc_url, timeout_s=30) as rpc:
            return await rpc.request(method, params, send=send)

    async def catch_up(self) -> None:
        """Bring the time of the chain to that of this machine, after a start behind it."""
        head = await self.ask("eth_getBlockByNumber", "latest", False)
        await self.ask("evm_increaseTime", int(time.time()) - int(head["timestamp"], 16))
        await self.ask("evm_mine")

    async def fund(self, address: str, coin: float) -> None:
        await self.ask("anvil_setBalance", address, hex(round(coin * 10**18)))


@contextlib.contextmanager
def public_chain(
    cache_dir: Path,
    *,
    chain_id: int = SEPOLIA,
    block_s: float = 0.1,
    gas_limit: int = 30_000_000,
    base_fee_wei: int = 10**9,
    behind_s: int = 0,
) -> Iterator[PublicChain]:
    """Run a chain until the end of the block. ``behind_s``: how far its clock is behind at the start."""
    port = choose_port(None)
    process = subprocess.Popen(
        [
            find_anvil(fetch(cache_dir)), "--silent", "--host", "127.0.0.1", "--port", str(port),
            "--chain-id", str(chain_id), "--block-time", str(block_s), "--gas-limit", str(gas_limit),
            "--block-base-fee-per-gas", str(base_fee_wei), "--enable-tx-gas-limit", "--accounts", "1",
            "--prune-history", str(STATES_KEPT),
            "--timestamp", str(int(time.time()) - behind_s),
        ],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        end_s = time.monotonic() + 20
        while not listens(port):
            assert process.poll() is None, "anvil ended"
            assert time.monotonic() < end_s, "anvil does not listen"
            time.sleep(0.02)
        yield PublicChain(port=port, chain_id=chain_id)
    finally:
        process.terminate()
        process.wait(10)


def new_keystore(path: Path, *, password: str = PASSWORD, seed: int | None = None) -> str:
    """Write a keystore that opens in little time; return its address. A seed makes it the same each time."""
    key = seed.to_bytes(32, "big") if seed is not None else bytes(Account.create().key)
    path.write_text(json.dumps(Account.encrypt(key, password, kdf="pbkdf2", iterations=ROUNDS)))
    path.chmod(0o600)
    return str(Account.from_key(key).address)
