"""The devnet's contracts as the watchers are configured on them."""

from pathlib import Path

import pytest

from bot.chain.reader import JsonRpcReader
from bot.chain.rpc import Rpc
from bot.devnet.deploy_aave import AaveMarket, Reserve, deploy_aave
from bot.devnet.deploy_bench import Bench
from bot.devnet.deploy_v4 import V4Deployment, deploy_v4
from bot.devnet.deploy_vault import VaultDeployment, deploy_vault
from bot.devnet.deployment import CHAIN_ID, Deployment
from bot.devnet.node import Devnet
from bot.devnet.packages import fetch, read_lock
from bot.watchers.pools import Pool


@pytest.fixture
def at(devnet: Devnet) -> Deployment:
    return devnet.deployment


@pytest.fixture
async def chain(rpc: Rpc, at: Deployment) -> JsonRpcReader:
    return await JsonRpcReader.connect(rpc, chain_id=CHAIN_ID, multicall3=at.multicall3)


@pytest.fixture
def v2_pool(at: Deployment) -> Pool:
    return _eth_usdc(at, "v2:ETH/USDC", at.v2_pair)


@pytest.fixture
def v3_pool(at: Deployment) -> Pool:
    return _eth_usdc(at, "v3:ETH/USDC", at.v3_pool)


@pytest.fixture
def stable_pool(at: Deployment) -> Pool:
    return Pool(
        label="v3:USDC/sUSD",
        address=at.stable_pool,
        base="sUSD",
        quote="USDC",
        base_token=at.susd,
        quote_token=at.usdc,
        base_decimals=18,
        quote_decimals=6,
    )


@pytest.fixture
def bench(rpc: Rpc, at: Deployment, cache_dir: Path) -> Bench:
    """Deploys more of the locked packages on the devnet, also those that only tests use."""
    return Bench(rpc, fetch(cache_dir, packages=read_lock()), at.accounts)


@pytest.fixture
async def v4(bench: Bench, at: Deployment) -> V4Deployment:
    """Uniswap v4 with an ETH/USDC pool in which the whale and the user hold a position each."""
    return await deploy_v4(
        bench, usdc=at.usdc, price_usd=at.start_price_usd, user=at.user, whale=at.whale, trader=at.trader
    )


@pytest.fixture
async def aave(bench: Bench, at: Deployment) -> AaveMarket:
    """Aave v3 with WETH at 3000 USD (liquidated from 82.5 %) and USDC; nobody has supplied yet."""
    shares = {"loan_to_value": 0.8, "liquidation_threshold": 0.825}
    return await deploy_aave(
        bench,
        (
            Reserve(token=at.weth, symbol="WETH", decimals=18, price_usd=3_000.0, **shares),
            Reserve(token=at.usdc, symbol="USDC", decimals=6, price_usd=1.0, **shares),
        ),
    )


@pytest.fixture
async def vault(bench: Bench, at: Deployment) -> VaultDeployment:
    """An ERC-4626 vault of USDC with deposits of the whale and the user."""
    return await deploy_vault(bench, usdc=at.usdc, user=at.user, whale=at.whale)


def _eth_usdc(at: Deployment, label: str, address: str) -> Pool:
    return Pool(
        label=label,
        address=address,
        base="ETH",
        quote="USDC",
        base_token=at.weth,
        quote_token=at.usdc,
        base_decimals=18,
        quote_decimals=6,
    )


class Sender:
    """Sends from the node's own unlocked accounts and waits until it is mined."""

    def __init__(self, rpc: Rpc) -> None:
        self._rpc = rpc

    async def __call__(self, sender: str, to: str, data: bytes, *, value_wei: int = 0) -> None:
        body = {
            "from": sender,
            "to": to,
            "data": "0x" + data.hex(),
            "value": hex(value_wei),
            "gas": hex(10**7),
        }
        tx_hash = await self._rpc.request("eth_sendTransaction", [body | {"gas": hex(10**7)}], send=True)
        receipt = None
        while receipt is None:  # the node mines beside its answer; the test's own time limit ends this
            receipt = await self._rpc.read("eth_getTransactionReceipt", [tx_hash])
        assert receipt["status"] == "0x1", f"the transaction to {to} reverted"

    async def give_weth(self, to: str, at: Deployment, amount: int) -> None:
        await self._rpc.request("anvil_setBalance", [to, hex(amount + 10**20)])
        await self(to, at.weth, bytes.fromhex("d0e30db0"), value_wei=amount)  # deposit()

    async def wait(self, seconds: int) -> None:
        head = await self._rpc.read("eth_getBlockByNumber", ["latest", False])
        await self._rpc.request("evm_setNextBlockTimestamp", [int(head["timestamp"], 16) + seconds])
        await self._rpc.request("evm_mine")


@pytest.fixture
def send(rpc: Rpc) -> Sender:
    return Sender(rpc)
