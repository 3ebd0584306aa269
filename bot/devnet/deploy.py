"""Deploys the whole devnet: every contract, liquidity, boards, and the user's positions.

Chain time is fixed, so every deployment is the same chain: genesis on 2022-05-04 20:00 UTC, ready at
2022-05-05 00:00 UTC, the week in which Terra fell.
"""

from dataclasses import dataclass
from typing import Any

from eth_utils.address import to_checksum_address

from bot.chain.rpc import Rpc
from bot.devnet.deploy_bench import Bench, Contract
from bot.devnet.deploy_lyra import Lyra, deploy_lyra, list_first_boards
from bot.devnet.deploy_perp import Perp, add_maker, deploy_perp, open_market
from bot.devnet.deploy_tokens import MULTICALL3, Tokens, deploy_feed, deploy_tokens, put_multicall3
from bot.devnet.deploy_uniswap import (
    FEE_STABLE,
    FEE_VOLATILE,
    Pool,
    UniswapV2,
    UniswapV3,
    add_v2,
    add_v3,
    create_pool,
    deploy_v2,
    deploy_v3,
    v3_split,
)
from bot.devnet.deploy_watched import deploy_watched
from bot.devnet.deployment import PERP_MAKER, TRADER, USER, WHALE, Deployment
from bot.devnet.packages import Library

GENESIS_S = 1_651_694_400  # 2022-05-04 20:00 UTC
READY_S = 1_651_708_800  # 2022-05-05 00:00 UTC
START_PRICE_USD = 2940.0

USER_V3_USD = 600_000.0
USER_V3_RANGE_USD = (1470.0, 5880.0)
USER_V2_USD = 400_000.0
USER_USDC_RAW = 100_000 * 10**6
USER_WEI = 100 * 10**18  # for gas

_WHALE_V3_USD = 30_000_000.0
_WHALE_V3_RANGE_USD = (294.0, 29_400.0)
_WHALE_V2_USD = 30_000_000.0
_STABLE_RANGES = ((0.97, 1.03, 20_000_000), (0.5, 2.0, 20_000_000))  # prices, and whole units of each token
_TRADER_WETH = 100_000
_TRADER_STABLE = 300_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class _Site:
    """What has been built so far."""

    tokens: Tokens
    feed: Contract
    v2: UniswapV2
    v3: UniswapV3
    pool: Pool
    stable_pool: Pool
    lyra: Lyra
    perp: Perp


async def deploy_all(rpc: Rpc, library: Library) -> Deployment:
    """Deploy on a fresh node whose genesis is ``GENESIS_S``. Raises InvariantError when anything reverts."""
    found = await rpc.request("eth_accounts")
    bench = Bench(rpc, library, tuple(to_checksum_address(account) for account in found))
    await rpc.request("anvil_setBlockTimestampInterval", [1])
    site = await _build(bench)
    token_ids = await _fill_pools(bench, site)
    watched = await deploy_watched(bench, site.tokens, price_usd=START_PRICE_USD)
    await _fill_accounts(bench, site)
    await bench.set_time(READY_S - 60)  # both kinds of pools now have hours of observations
    await site.feed.send("setAnswer", round(START_PRICE_USD * 10**8), READY_S - 60)
    await site.perp.feed.send("setAnswer", round(START_PRICE_USD * 10**8), READY_S - 60)
    await site.perp.dispatcher.send("dispatchPrice", 0)
    await add_maker(site.perp, site.tokens.usdc, maker=bench.accounts[PERP_MAKER], price_usd=START_PRICE_USD)
    boards = await list_first_boards(site.lyra, now_s=READY_S, spot_usd=START_PRICE_USD)
    await bench.set_time(READY_S)
    return Deployment(
        **_uniswap(site),
        **site.lyra.addresses,
        **_perp(site.perp),
        **watched.fields,
        multicall3=MULTICALL3,
        weth=site.tokens.weth.address,
        usdc=site.tokens.usdc.address,
        susd=site.tokens.susd.address,
        feed_eth_usd=site.feed.address,
        user_v3_token_id=token_ids[0],
        whale_v3_token_id=token_ids[1],
        lyra_board_ids=boards,
        user=bench.accounts[USER],
        accounts=bench.accounts,
        start_price_usd=START_PRICE_USD,
        deployed_at_s=READY_S,
    )


async def _build(bench: Bench) -> _Site:
    await put_multicall3(bench)
    tokens = await deploy_tokens(bench)
    v3 = await deploy_v3(bench, tokens)
    usdc, weth, susd = (tokens.usdc, 6), (tokens.weth, 18), (tokens.susd, 18)
    perp = await deploy_perp(bench, tokens.usdc, price_usd=START_PRICE_USD)
    await open_market(perp)
    return _Site(
        tokens=tokens,
        feed=await deploy_feed(bench, "ETH / USD", START_PRICE_USD),
        v2=await deploy_v2(bench, tokens),
        v3=v3,
        pool=await create_pool(bench, v3, unit=weth, pricing=usdc, fee=FEE_VOLATILE, price=START_PRICE_USD),
        stable_pool=await create_pool(bench, v3, unit=susd, pricing=usdc, fee=FEE_STABLE, price=1.0),
        lyra=await deploy_lyra(bench, tokens.susd, spot_usd=START_PRICE_USD),
        perp=perp,
    )


async def _fill_pools(bench: Bench, site: _Site) -> tuple[int, int]:
    """Liquidity of the whale, then of the user; return the NFT ids of (user, whale) in the WETH/USDC pool."""
    whale, user = bench.accounts[WHALE], bench.accounts[USER]
    whale_id = await _mint_volatile(site, whale, _WHALE_V3_USD, _WHALE_V3_RANGE_USD)
    for lower, upper, amount in _STABLE_RANGES:
        await site.tokens.susd.send("mint", whale, amount * 10**18)
        await site.tokens.usdc.send("mint", whale, amount * 10**6)
        await add_v3(
            site.v3, site.stable_pool, owner=whale,
            unit_raw=amount * 10**18, pricing_raw=amount * 10**6, lower=lower, upper=upper,
        )  # fmt: skip
    for owner, value_usd in ((whale, _WHALE_V2_USD), (user, USER_V2_USD)):
        await add_v2(site.v2, site.tokens, owner=owner, price=START_PRICE_USD, value_usd=value_usd)
    user_id = await _mint_volatile(site, user, USER_V3_USD, USER_V3_RANGE_USD)
    return user_id, whale_id


async def _mint_volatile(site: _Site, owner: str, value_usd: float, range_usd: tuple[float, float]) -> int:
    lower, upper = range_usd
    weth, usdc = v3_split(value_usd, price=START_PRICE_USD, lower=lower, upper=upper)
    weth_raw, usdc_raw = round(weth * 10**18), round(usdc * 10**6)
    await site.tokens.weth.send("deposit", sender=owner, value_wei=weth_raw)
    await site.tokens.usdc.send("mint", owner, usdc_raw)
    return await add_v3(
        site.v3, site.pool, owner=owner, unit_raw=weth_raw, pricing_raw=usdc_raw, lower=lower, upper=upper
    )


async def _fill_accounts(bench: Bench, site: _Site) -> None:
    """The trader gets means to move every pool; the user is left with exactly its USDC and gas."""
    tokens, trader, user = site.tokens, bench.accounts[TRADER], bench.accounts[USER]
    await tokens.weth.send("deposit", sender=trader, value_wei=_TRADER_WETH * 10**18)
    await tokens.usdc.send("mint", trader, _TRADER_STABLE * 10**6)
    await tokens.susd.send("mint", trader, _TRADER_STABLE * 10**18)
    dust = await tokens.weth.call("balanceOf", user)
    if dust:
        await tokens.weth.send("withdraw", dust, sender=user)
    left = await tokens.usdc.call("balanceOf", user)
    await tokens.usdc.send("burn", user, left)
    await tokens.usdc.send("mint", user, USER_USDC_RAW)
    await bench.rpc.request("anvil_setBalance", [user, hex(USER_WEI)])


def _uniswap(site: _Site) -> dict[str, Any]:
    return {
        **site.v3.addresses,
        "v2_factory": site.v2.factory.address,
        "v2_router": site.v2.router.address,
        "v2_pair": site.v2.pair,
        "v3_pool": site.pool.address,
        "stable_pool": site.stable_pool.address,
        "stable_pool_fee": site.stable_pool.fee,
    }


def _perp(perp: Perp) -> dict[str, Any]:
    return {
        "perp_clearing_house": perp.clearing_house.address,
        "perp_vault": perp.vault.address,
        "perp_exchange": perp.exchange.address,
        "perp_account_balance": perp.balance.address,
        "perp_base_token": perp.base.address,
        "perp_quote_token": perp.quote.address,
        "perp_pool": perp.pool.address,
        "perp_clearing_house_config": perp.config.address,
        "perp_feed": perp.feed.address,
        "perp_price_dispatcher": perp.dispatcher.address,
    }
