"""What is deployed on a test chain: given tokens, the pool's path, the chain's own feed as a source."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from bot.app.testnet_site import feed_price_usd
from bot.chain.rpc import Rpc
from bot.deployments import known
from bot.devnet.deploy_bench import Bench
from bot.devnet.deployment import DEPLOYER, Deployment
from bot.devnet.node import Devnet
from bot.devnet.packages import fetch
from bot.devnet.testnet import Inputs, TestnetDeployment, deploy_system, needed_tokens
from bot.devnet.testnet_upkeep import publish, renew_boards, swap_input_raw
from bot.devnet.testnet_view import DeployView
from bot.errors import ConfigError, StaleDataError

pytestmark = pytest.mark.devnet

PRICE_USD = 2940.0
USER = "0x" + "ab" * 20
SEPOLIA = 11155111


@pytest.fixture
def at(devnet: Devnet) -> Deployment:
    return devnet.deployment


@pytest.fixture
def bench(at: Deployment, rpc: Rpc, cache_dir: Path) -> Bench:
    return Bench(rpc, fetch(cache_dir), (at.accounts[DEPLOYER],))


def inputs(**changes: Any) -> Inputs:
    wanted = Inputs(price_usd=PRICE_USD, user=USER, has_multicall3=True, user_wei=10**15)
    return replace(wanted, **changes)


async def deploy(bench: Bench, wanted: Inputs) -> TestnetDeployment:
    return await deploy_system(bench, wanted, chain_id=31337, genesis="0x01")


async def test_given_tokens_are_taken_from_the_deployer_and_none_is_minted(
    bench: Bench, at: Deployment
) -> None:
    wanted = inputs(
        usdc=at.usdc, weth=at.weth, liquidity_usd=500_000.0, exposure_usd=20_000.0, user_usdc=3_000.0
    )
    usdc, weth = (bench.at("TestERC20SetDecimals", address) for address in (at.usdc, at.weth))
    needed = needed_tokens(wanted)
    assert set(needed) == {at.usdc, at.weth}
    await bench.at("WETH9", at.weth).send("deposit", value_wei=needed[at.weth])
    await usdc.send("mint", bench.deployer, needed[at.usdc])
    had = [await token.call("balanceOf", bench.deployer) for token in (usdc, weth)]
    supply = await usdc.call("totalSupply")

    system = await deploy(bench, wanted)

    assert (system.usdc, system.weth, system.mints_usdc, system.mints_weth) == (
        at.usdc,
        at.weth,
        False,
        False,
    )
    assert await usdc.call("totalSupply") == supply
    left = [await token.call("balanceOf", bench.deployer) for token in (usdc, weth)]
    for before, after, most in zip(had, left, (needed[at.usdc], needed[at.weth]), strict=True):
        assert 0.98 * most < before - after <= most  # what was asked for is enough, and not much too much
    assert await usdc.call("balanceOf", USER) == 3_000 * 10**6
    positions = bench.at("NonfungiblePositionManager", system.v3_position_manager)
    assert (await positions.call("ownerOf", system.user_v3_token_id)).lower() == USER
    assert not await publish(bench, system, price_usd=2500.0)  # nobody's to mint: the pool is left alone


async def test_the_pool_follows_a_price_over_a_wide_way(bench: Bench) -> None:
    system = await deploy(bench, inputs())
    for price in (2940.0 * 0.5, 2940.0 * 3, 2940.0 * 0.2, 2940.0):
        assert await publish(bench, system, price_usd=price)
        sqrt = (await bench.at("UniswapV3Pool", system.v3_pool).call("slot0"))[0] / 2**96
        raw = sqrt**2 if int(system.weth, 16) < int(system.usdc, 16) else 1 / sqrt**2
        assert raw * 10**12 == pytest.approx(price, rel=1e-6)


@pytest.mark.parametrize("up", [True, False])
def test_a_swap_is_given_at_least_what_it_takes(up: bool) -> None:
    """Whitepaper of Uniswap v3, 6.14 and 6.16: L (b - a) of token1, or L (1/a - 1/b) of token0."""
    liquidity, low, high = 10**21, 2 * 2**96, 3 * 2**96
    then, now = (high, low) if up else (low, high)
    exact = 10**21 if up else 10**21 / 6
    given = swap_input_raw(liquidity, sqrt_now=now, sqrt_then=then)
    assert 2 * exact <= given <= 2.001 * exact


@pytest.mark.parametrize("iv", [0.0, 0.09, 5.1, float("nan")])
async def test_a_vol_that_is_none_is_refused(bench: Bench, at: Deployment, iv: float) -> None:
    system = TestnetDeployment.__new__(TestnetDeployment)
    with pytest.raises(ConfigError, match="iv must be a fraction"):
        await renew_boards(bench, system, iv=iv)


async def test_the_price_of_the_chain_s_own_feed_is_taken_while_it_is_fresh(bench: Bench, rpc: Rpc) -> None:
    """The feed of Sepolia, by its known address, played by our own contract with the same interface."""
    place = known(SEPOLIA).address("chainlink.ETH/USD")
    with pytest.raises(ConfigError, match="does not answer on this chain"):
        await feed_price_usd(rpc, SEPOLIA)
    feed = await bench.deploy_own("ChainlinkFeed", 8, "ETH / USD", round(3111.5 * 10**8))
    for slot in range(8):  # the storage goes with the code
        word = await rpc.read("eth_getStorageAt", [feed.address, hex(slot), "latest"])
        await rpc.request("anvil_setStorageAt", [place, "0x" + slot.to_bytes(32, "big").hex(), word])
    await rpc.request("anvil_setCode", [place, await rpc.read("eth_getCode", [feed.address, "latest"])])
    there = bench.own_at("ChainlinkFeed", place)
    await there.send("setAnswer", round(3222.5 * 10**8), await bench.now_s())
    assert await feed_price_usd(rpc, SEPOLIA) == 3222.5
    await bench.set_time(await bench.now_s() + 7_300)
    with pytest.raises(StaleDataError, match=r"feed is 7,30. s old, at most 7,200 s are allowed"):
        await feed_price_usd(rpc, SEPOLIA)
    with pytest.raises(ConfigError, match="no ETH/USD feed is known on chain 31337"):
        await feed_price_usd(rpc, 31337)


@pytest.mark.parametrize(
    ("block_limit", "most"),
    [
        (8_000_000, 8_000_000),
        (60_000_000, 2**24),  # EIP-7825
        (2**50, 32_000_000),  # what the header of an Arbitrum chain states
    ],
)
async def test_the_most_gas_of_a_transaction(block_limit: int, most: int) -> None:
    class Node:
        async def read(self, method: str, params: Any) -> Any:
            return {"gasLimit": hex(block_limit)}

    assert await DeployView(Node(), USER).gas_cap() == most  # type: ignore[arg-type]


def test_inputs_of_another_version_are_refused() -> None:
    with pytest.raises(ConfigError, match="do not match this version"):
        Inputs.of({"price_usd": 1.0})


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"chain_id": 1}'])
def test_a_deployment_file_that_is_none_is_one_line(tmp_path: Path, text: str) -> None:
    path = tmp_path / "deployment.json"
    path.write_text(text)
    with pytest.raises(ConfigError, match="run `alvh testnet deploy` again") as caught:
        TestnetDeployment.load(path)
    assert "\n" not in str(caught.value)
