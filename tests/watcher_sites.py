"""Every kind of watcher on contracts that give all of its series a value: real ones, or reference contracts.

``SITES`` maps a kind to what sets its contracts up, returns the watcher's arguments and notes, in
``Site.more``, the addresses that are not in the Deployment.
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

from balancer_builders import deploy_balancer
from reference_contracts import (
    GMX_MARKET,
    deploy_comet,
    deploy_comet_feeds,
    deploy_gmx,
    deploy_reference,
)

from bot.chain.abi import Abi
from bot.devnet.deploy_bench import Bench, Contract
from bot.devnet.deploy_tokens import UNLIMITED
from bot.devnet.deployment import CHAIN_ID, Deployment
from bot.watchers.balancer_rows import PoolToken
from bot.watchers.curve import CurveCoin
from bot.watchers.lending import Account, LendingToken
from bot.watchers.pools import ERC20, Pool
from bot.watchers.tvl import Token
from bot.watchers.v4_pools import NATIVE, V4Pool

Arguments = dict[str, Any]
WAD = 10**18
NEVER = 2**40
_ROUTER = Abi.load("SwapRouter")
_TRADED_ETH = 20


@dataclass(kw_only=True)
class Site:
    """The devnet, and what a site put beside it."""

    at: Deployment
    bench: Bench
    send: Any  # Sender of watchers/conftest.py
    more: list[str] = field(default_factory=list)

    def use(self, contract: Contract) -> str:
        """Return the address of a contract that the watcher is configured on."""
        self.more.append(contract.address)
        return contract.address

    @property
    def eth_usdc(self) -> dict[str, Any]:
        return {
            "base": "ETH",
            "quote": "USDC",
            "base_token": self.at.weth,
            "quote_token": self.at.usdc,
            "base_decimals": 18,
            "quote_decimals": 6,
        }

    @property
    def v2_pool(self) -> Pool:
        return Pool(label="v2:ETH/USDC", address=self.at.v2_pair, **self.eth_usdc)

    @property
    def v3_pool(self) -> Pool:
        return Pool(label="v3:ETH/USDC", address=self.at.v3_pool, **self.eth_usdc)


async def _aave_v3(site: Site) -> Arguments:
    usdc = LendingToken(symbol="USDC", address=site.at.usdc, decimals=6)
    mine = Account(label="mine", address=site.at.user)
    provider = site.at.aave_addresses_provider
    return {"label": "aave", "addresses_provider": provider, "reserves": (usdc,), "accounts": (mine,)}


async def _admin_events(site: Site) -> Arguments:
    address, owner = site.at.perp_clearing_house, site.at.deployer
    return {"label": "perp", "address": address, "window_blocks": 10, "expected_owner": owner}


async def _balancer_v2(site: Site) -> Arguments:
    found = await deploy_balancer(site.bench, site.at)
    watcher = found.watcher
    return {
        "label": "b",
        "pool_id": watcher.pool_id,
        "tokens": watcher.tokens,
        "vault": site.use(found.vault),
    }


async def _balancer_v3(site: Site) -> Arguments:
    vault, at = await deploy_reference(site.bench, "BalancerV3Vault"), site.at
    raw, live = [3_000_000 * 10**6, 2_000_000 * WAD], [3_000_000 * WAD, 2_000_000 * WAD]
    await vault.send("set_balances", [at.usdc, at.susd], raw, live)
    await vault.send("set_supply", 4_900_000 * WAD, 1_020_000_000_000_000_000)
    tokens = (
        PoolToken(symbol="USDC", address=at.usdc, decimals=6),
        PoolToken(symbol="sUSD", address=at.susd, decimals=18),
    )
    return {"label": "b", "pool": site.use(vault), "vault": vault.address, "tokens": tokens}


async def _bridge_lock(site: Site) -> Arguments:
    token = {"token": "USDC", "token_address": site.at.usdc, "decimals": 6}
    return {"bridge": "l2", "lockboxes": (site.at.v2_pair,), **token}


async def _bridge_supply(site: Site) -> Arguments:
    return {"bridge": "l2", "token": "USDC", "token_address": site.at.usdc, "decimals": 6}


async def _chainlink(site: Site) -> Arguments:
    return {
        "label": "ETH/USD",
        "underlying": "ETH",
        "address": site.at.feed_eth_usd,
        "heartbeat_s": 3_600,
    }


async def _chainlink_rate(site: Site) -> Arguments:
    feed = await site.bench.deploy_own("ChainlinkFeed", 18, "stETH / ETH", 998 * 10**15)
    return {
        "label": "stETH/ETH",
        "token": "stETH",
        "unit": "ETH",
        "address": site.use(feed),
        "heartbeat_s": 86_400,
        "highest": 1.5,
    }


async def _compound_v3(site: Site) -> Arguments:
    comet = await deploy_comet(site.bench, site.at, await deploy_comet_feeds(site.bench))
    base = LendingToken(symbol="USDC", address=site.at.usdc, decimals=6)
    mine = Account(label="mine", address=site.at.user)
    return {"label": "comet", "comet": site.use(comet), "base": base, "accounts": (mine,)}


async def _curve(site: Site) -> Arguments:
    at = site.at
    rates = [10**30, 10**18]
    pool = await deploy_reference(site.bench, "CurveStableSwapNG", [at.usdc, at.susd], rates, 200, 4 * 10**6)
    await pool.send("set_balances", [40_000_000 * 10**6, 60_000_000 * WAD])
    await pool.send("set_prices", 1_010_000_000_000_000_000, 990_000_000_000_000_000)
    coins = (
        CurveCoin(symbol="USDC", address=at.usdc, decimals=6),
        CurveCoin(symbol="sUSD", address=at.susd, decimals=18),
    )
    return {
        "label": "p",
        "pool": site.use(pool),
        "coins": coins,
        "value_by": "rates",
        "has_oracle": True,
        "quote": "USDC",
        "quote_is_usd": True,
    }


async def _erc4626(site: Site) -> Arguments:
    share = {"share": "vUSDC", "share_decimals": 6}
    asset = {"asset": "USDC", "asset_token": site.at.usdc, "asset_decimals": 6}
    return {"label": "vault:USDC", "vault": site.at.usdc_vault, **share, **asset}


async def _gas(site: Site) -> Arguments:
    tip, cap = hex(2 * 10**9), hex(100 * 10**9)
    payment = {"from": site.at.trader, "to": site.at.user, "value": "0x1", "gas": hex(21_000)}
    body = payment | {"maxPriorityFeePerGas": tip, "maxFeePerGas": cap}
    await site.bench.rpc.request("anvil_setNextBlockBaseFeePerGas", [hex(10**9)])
    await site.bench.rpc.request("eth_sendTransaction", [body], send=True)
    await site.bench.rpc.request("evm_mine")  # the node may not have mined the payment yet
    await _fees_are_told(site)
    return {"chain_id": CHAIN_ID, "blocks": 2}


async def _fees_are_told(site: Site) -> None:
    """Wait until the node's fee history has its newest block: it keeps the two apart, one after the other."""
    for _ in range(100):
        head = await site.bench.rpc.request("eth_getBlockByNumber", ["latest", False])
        fees = await site.bench.rpc.request("eth_feeHistory", ["0x2", head["number"], [50.0]])
        newest = int(fees["oldestBlock"], 16) + len(fees["gasUsedRatio"]) - 1
        if newest == int(head["number"], 16) and fees["baseFeePerGas"][-2] == head["baseFeePerGas"]:
            return
        await asyncio.sleep(0.05)


async def _gmx_v2(site: Site) -> Arguments:
    store = await deploy_gmx(site.bench)
    return {"underlying": "ETH", "data_store": site.use(store), "market": GMX_MARKET}


async def _lyra_iv(site: Site) -> Arguments:
    return {
        "underlying": "ETH",
        "option_market": site.at.lyra_option_market,
        "pricer": site.at.lyra_pricer,
        "synthetix_adapter": site.at.lyra_synthetix_adapter,
    }


async def _perp_v2_funding(site: Site) -> Arguments:
    return {
        "underlying": "ETH",
        "exchange": site.at.perp_exchange,
        "base_token": site.at.perp_base_token,
        "config": site.at.perp_clearing_house_config,
    }


async def _sandwich(site: Site) -> Arguments:
    await _trade(site, site.at.weth, site.at.usdc, _TRADED_ETH * WAD)
    return {"pool": site.v3_pool, "window_blocks": 5}


async def _sequencer(site: Site) -> Arguments:
    feed = await site.bench.deploy_own("ChainlinkFeed", 0, "sequencer", 0)
    await site.send.wait(3_700)  # past its grace
    return {"chain_id": CHAIN_ID, "feed": site.use(feed)}


async def _synthetix_v3(site: Site) -> Arguments:
    perps = await deploy_reference(site.bench, "SynthetixPerpsMarket")
    await perps.send("create", 100, "Ethereum", "ETH", 1_000 * WAD, 9 * WAD)
    await perps.send("trade", 100, 100 * WAD, 500 * WAD)
    await site.send.wait(3_600)
    return {"underlying": "ETH", "perps_market": site.use(perps), "market_id": 100, "symbol": "ETH"}


async def _tvl(site: Site) -> Arguments:
    usdc = Token(symbol="USDC", address=site.at.usdc, decimals=6)
    return {"label": "v3:ETH/USDC", "holder": site.at.v3_pool, "tokens": (usdc,)}


async def _twap_vol(site: Site) -> Arguments:
    """Three windows, and the price of each is another."""
    at = site.at
    for sold, bought, amount in (
        (at.weth, at.usdc, _TRADED_ETH * WAD),
        (at.usdc, at.weth, _TRADED_ETH * 3_000 * 10**6),
        (at.weth, at.usdc, 2 * _TRADED_ETH * WAD),
    ):
        await _trade(site, sold, bought, amount)
        await site.send.wait(600)
    return {"pool": site.v3_pool, "window_s": 600, "windows": 3}


async def _uniswap_v2(site: Site) -> Arguments:
    return {"pool": site.v2_pool}


async def _uniswap_v3(site: Site) -> Arguments:
    return {"pool": site.v3_pool, "tick_lens": site.at.v3_tick_lens}


async def _uniswap_v3_stable(site: Site) -> Arguments:
    at = site.at
    tokens = {**site.eth_usdc, "base": "sUSD", "base_token": at.susd}
    return {"pool": Pool(label="v3:USDC/sUSD", address=at.stable_pool, **tokens)}


async def _uniswap_v4(site: Site) -> Arguments:
    at = site.at
    pool = V4Pool(
        label="v4:ETH/USDC",
        manager=at.v4_pool_manager,
        state_view=at.v4_state_view,
        **{**site.eth_usdc, "base_token": NATIVE},
        fee=at.v4_pool_fee,
        tick_spacing=at.v4_tick_spacing,
    )
    return {"pool": pool}


async def _trade(site: Site, sold: str, bought: str, amount_raw: int) -> None:
    """Sell into the v3 pool at any price."""
    at = site.at
    await site.send(at.trader, sold, ERC20.encode("approve", at.v3_router, UNLIMITED))
    order = (sold, bought, 500, at.trader, NEVER, amount_raw, 0, 0)
    await site.send(at.trader, at.v3_router, _ROUTER.encode("exactInputSingle", order))


SITES: dict[str, Callable[[Site], Awaitable[Arguments]]] = {
    "aave_v3": _aave_v3,
    "admin_events": _admin_events,
    "balancer_v2": _balancer_v2,
    "balancer_v3": _balancer_v3,
    "bridge_lock": _bridge_lock,
    "bridge_supply": _bridge_supply,
    "chainlink": _chainlink,
    "chainlink_rate": _chainlink_rate,
    "compound_v3": _compound_v3,
    "curve": _curve,
    "erc4626": _erc4626,
    "gas": _gas,
    "gmx_v2": _gmx_v2,
    "lyra_iv": _lyra_iv,
    "perp_v2_funding": _perp_v2_funding,
    "sandwich": _sandwich,
    "sequencer": _sequencer,
    "synthetix_v3": _synthetix_v3,
    "tvl": _tvl,
    "twap_vol": _twap_vol,
    "uniswap_v2": _uniswap_v2,
    "uniswap_v3": _uniswap_v3,
    "uniswap_v3_stable": _uniswap_v3_stable,
    "uniswap_v4": _uniswap_v4,
}
