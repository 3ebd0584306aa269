"""Uniswap v4 and the vault as they are deployed: owners, price, fees for the positions."""

from pathlib import Path

import pytest

from bot.chain.rpc import Rpc
from bot.devnet.deploy_bench import Bench
from bot.devnet.deploy_v4 import V4Deployment, deploy_v4, withdraw_v4
from bot.devnet.deploy_vault import USER_USDC, WHALE_USDC, deploy_vault, vault_contract
from bot.devnet.node import Devnet
from bot.devnet.packages import fetch

pytestmark = pytest.mark.devnet


@pytest.fixture
def bench(devnet: Devnet, rpc: Rpc, cache_dir: Path) -> Bench:
    return Bench(rpc, fetch(cache_dir), devnet.deployment.accounts)


async def test_positions_earn_from_the_swaps(devnet: Devnet, bench: Bench) -> None:
    """Both positions belong to whom they should, the price is back, and the fees can be taken."""
    at = devnet.deployment
    v4: V4Deployment = await deploy_v4(
        bench, usdc=at.usdc, price_usd=at.start_price_usd, user=at.user, whale=at.whale, trader=at.trader
    )
    positions = bench.at("PositionManager", v4.position_manager)
    assert (await positions.call("ownerOf", v4.user_token_id)).lower() == at.user.lower()
    assert (await positions.call("ownerOf", v4.whale_token_id)).lower() == at.whale.lower()
    state = await bench.at("StateView", v4.state_view).call("getSlot0", v4.pool.pool_id)
    assert v4.pool.price_from_sqrt(state[0]) == pytest.approx(at.start_price_usd, rel=1e-9)
    usdc = bench.at("TestERC20SetDecimals", at.usdc)
    before = await usdc.call("balanceOf", at.user)
    await withdraw_v4(bench, v4, owner=at.user, token_id=v4.user_token_id, liquidity_raw=0)
    assert await usdc.call("balanceOf", at.user) > before


async def test_the_vault_holds_what_was_deposited(devnet: Devnet, bench: Bench) -> None:
    at = devnet.deployment
    found = await deploy_vault(bench, usdc=at.usdc, user=at.user, whale=at.whale)
    vault = vault_contract(bench, found)
    assert await vault.call("totalAssets") == (WHALE_USDC + USER_USDC) * 10**6
    assert await vault.call("maxWithdraw", at.user) == USER_USDC * 10**6
