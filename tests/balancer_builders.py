"""The real Balancer v2 Vault and a composable stable pool on the devnet."""

from dataclasses import dataclass
from typing import Any

from eth_abi.abi import encode
from reference_contracts import deploy_reference

from bot.devnet.deploy_bench import Bench, Contract
from bot.devnet.deploy_tokens import UNLIMITED
from bot.devnet.deployment import Deployment
from bot.watchers.balancer_rows import PoolToken
from bot.watchers.balancer_v2 import BalancerV2Watcher

FEE = 10**14  # 0.01 %
ZERO = "0x" + "00" * 20
USDC_RAW, SUSD_RAW = 3_000_000 * 10**6, 2_000_000 * 10**18
RATE = 1_250_000_000_000_000_000  # of sUSD, as its rate provider says


@dataclass(frozen=True, kw_only=True)
class Balancer:
    """The Vault and a composable stable pool of USDC and sUSD."""

    vault: Contract
    authorizer: Contract
    fees: Contract
    pool: Contract
    watcher: BalancerV2Watcher


async def deploy_balancer(bench: Bench, at: Deployment) -> Balancer:
    """Deploy it; the whale holds the pool, in which sUSD counts ``RATE``."""
    authorizer = await bench.deploy("BalancerAuthorizer", bench.deployer)
    vault = await bench.deploy("BalancerV2Vault", authorizer.address, at.weth, 90 * 86_400, 30 * 86_400)
    fees = await bench.deploy("ProtocolFeePercentagesProvider", vault.address, 10**18, 10**18)
    factory = await bench.deploy("ComposableStablePoolFactory", vault.address, fees.address, "f", "p")
    provider = (await deploy_reference(bench, "RateProvider", RATE)).address
    tokens = sorted((at.usdc, at.susd), key=lambda token: int(token, 16))
    providers = [provider if token == at.susd else ZERO for token in tokens]
    arguments = ("Stable", "BPT", tokens, 200, providers, [3600, 3600], [False, False], FEE, bench.deployer)
    pool = bench.at("ComposableStablePool", await create_pool(bench, factory, arguments))
    amounts = {at.usdc: USDC_RAW, at.susd: SUSD_RAW}
    pool_id = await pool.call("getPoolId")
    await join_pool(bench, vault, pool_id, amounts, owner=at.whale)
    watcher = BalancerV2Watcher(
        label="b",
        pool_id="0x" + pool_id.hex(),
        tokens=(
            PoolToken(symbol="sUSD", address=at.susd, decimals=18),
            PoolToken(symbol="USDC", address=at.usdc, decimals=6),
        ),
        vault=vault.address,
    )
    return Balancer(vault=vault, authorizer=authorizer, fees=fees, pool=pool, watcher=watcher)


async def create_pool(bench: Bench, factory: Contract, arguments: tuple[Any, ...]) -> str:
    """Create a pool and return the address that the factory says it will have."""
    pool = str(await factory.call("create", *arguments))
    await factory.send("create", *arguments)
    return pool


async def join_pool(
    bench: Bench, vault: Contract, pool_id: bytes, amounts: dict[str, int], *, owner: str
) -> None:
    """The first deposit (kind 0, INIT), which names the pool's own BPT too where it lists it."""
    for token, amount in amounts.items():
        contract = bench.at("TestERC20SetDecimals", token)
        await contract.send("mint", owner, amount)
        await contract.send("approve", vault.address, UNLIMITED, sender=owner)
    tokens, _, _ = await vault.call("getPoolTokens", pool_id)
    by_lower = {token.lower(): amount for token, amount in amounts.items()}
    given_raw = [by_lower.get(token.lower(), UNLIMITED) for token in tokens]
    told_raw = [by_lower.get(token.lower(), 0) for token in tokens]
    user_data = encode(["uint256", "uint256[]"], [0, told_raw])
    await vault.send("joinPool", pool_id, owner, owner, (tokens, given_raw, user_data, False), sender=owner)
