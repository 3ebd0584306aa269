"""Perp v2 (curie) with one ETH market, its index feed and a maker's liquidity."""

from dataclasses import dataclass
from math import isqrt, log

from bot.devnet.deploy_bench import Bench, Contract
from bot.devnet.deploy_tokens import UNLIMITED, deploy_feed

_POOL_FEE = 3000  # 0.3 %, tick spacing 60
_TICK_SPACING = 60
_CARDINALITY = 300  # two weeks of hourly observations; anvil hashes every slot at every block
_FEED_TIMEOUT_S = 40 * 60
_FEED_TWAP_S = 30 * 60
_MAX_TICKS_PER_BLOCK = 1000  # the contract's ceiling: about 10 % of price
_MAX_SPREAD = 400_000  # of a million: mark may stray 40 % from index before orders are refused
_MAKER_DEPOSIT_USD = 50_000_000
_MAKER_VALUE_USD = 20_000_000
_NEVER = 2**40


@dataclass(frozen=True, kw_only=True)
class Perp:
    """The contracts of one perpetual market."""

    feed: Contract
    dispatcher: Contract
    quote: Contract
    base: Contract
    pool: Contract
    config: Contract
    registry: Contract
    order_book: Contract
    exchange: Contract
    balance: Contract
    insurance: Contract
    vault: Contract
    clearing_house: Contract


async def deploy_perp(bench: Bench, usdc: Contract, *, price_usd: float) -> Perp:
    """Deploy and wire everything; nobody has deposited yet and the pool is young."""
    feed = await deploy_feed(bench, "ETH / USD index", price_usd)
    reader = await bench.deploy("ChainlinkPriceFeedV3", feed.address, _FEED_TIMEOUT_S, _FEED_TWAP_S)
    dispatcher = await bench.deploy("PriceFeedDispatcher", reader.address)
    quote, base = await _virtual_tokens(bench, dispatcher)
    factory = await bench.deploy("UniswapV3Factory")  # Perp v2 keeps its own pools
    pool = await _pool(bench, factory, base, quote, price_usd)
    perp = await _core(bench, usdc, factory, (feed, dispatcher, quote, base, pool))
    await _connect(perp, bench)
    return perp


async def open_market(perp: Perp) -> None:
    """List the market. The pool needs 15 minutes of observations before anyone can trade."""
    for token in (perp.base, perp.quote):
        await token.send("mintMaximumTo", perp.clearing_house.address)
        await token.send("addWhitelist", perp.clearing_house.address)
        await token.send("addWhitelist", perp.pool.address)
    await perp.registry.send("addPool", perp.base.address, _POOL_FEE)
    await perp.registry.send("setMarketMaxPriceSpreadRatio", perp.base.address, _MAX_SPREAD)
    await perp.exchange.send("setMaxTickCrossedWithinBlock", perp.base.address, _MAX_TICKS_PER_BLOCK)
    await perp.config.send("setSettlementTokenBalanceCap", UNLIMITED)


async def add_maker(perp: Perp, usdc: Contract, *, maker: str, price_usd: float) -> None:
    """Deposit for the maker and quote from a fifth of the price to five times it."""
    await usdc.send("mint", maker, _MAKER_DEPOSIT_USD * 10**6)
    await usdc.send("approve", perp.vault.address, _MAKER_DEPOSIT_USD * 10**6, sender=maker)
    await perp.vault.send("deposit", usdc.address, _MAKER_DEPOSIT_USD * 10**6, sender=maker)
    lower, upper = (
        round(log(price_usd * factor) / log(1.0001) / _TICK_SPACING) * _TICK_SPACING for factor in (0.2, 5.0)
    )
    base_raw = round(_MAKER_VALUE_USD / 2 / price_usd * 10**18)
    quote_raw = _MAKER_VALUE_USD // 2 * 10**18
    order = (perp.base.address, base_raw, quote_raw, lower, upper, 0, 0, False, _NEVER)
    await perp.clearing_house.send("addLiquidity", order, sender=maker)


async def _virtual_tokens(bench: Bench, dispatcher: Contract) -> tuple[Contract, Contract]:
    """vUSD and vETH; the base must sort below the quote, so deploy until it does."""
    quote = await bench.deploy("QuoteToken")
    base = await bench.deploy("BaseToken")
    while int(base.address, 16) > int(quote.address, 16):
        base = await bench.deploy("BaseToken")
    await quote.send("initialize", "vUSD", "vUSD")
    await base.send("initialize", "vETH", "vETH", dispatcher.address)
    return quote, base


async def _pool(
    bench: Bench, factory: Contract, base: Contract, quote: Contract, price_usd: float
) -> Contract:
    await factory.send("createPool", base.address, quote.address, _POOL_FEE)
    pool = bench.at("UniswapV3Pool", await factory.call("getPool", base.address, quote.address, _POOL_FEE))
    await pool.send("initialize", isqrt(round(price_usd * 10**6) * (1 << 192) // 10**6))
    await pool.send("increaseObservationCardinalityNext", _CARDINALITY)
    return pool


async def _core(
    bench: Bench,
    usdc: Contract,
    factory: Contract,
    market: tuple[Contract, Contract, Contract, Contract, Contract],
) -> Perp:
    feed, dispatcher, quote, base, pool = market
    config = await bench.deploy("ClearingHouseConfig")
    await config.send("initialize")
    registry = await bench.deploy("MarketRegistry")
    await registry.send("initialize", factory.address, quote.address)
    order_book = await bench.deploy("OrderBook")
    await order_book.send("initialize", registry.address)
    exchange = await bench.deploy("Exchange")
    await exchange.send("initialize", registry.address, order_book.address, config.address)
    balance = await bench.deploy("AccountBalance")
    await balance.send("initialize", config.address, order_book.address)
    insurance = await bench.deploy("InsuranceFund")
    await insurance.send("initialize", usdc.address)
    vault = await bench.deploy("Vault")
    await vault.send("initialize", insurance.address, config.address, balance.address, exchange.address)
    house = await bench.deploy("ClearingHouse")
    core = (config, vault, quote, factory, exchange, balance, insurance)
    await house.send("initialize", *(contract.address for contract in core))
    return Perp(
        feed=feed, dispatcher=dispatcher, quote=quote, base=base, pool=pool, config=config,
        registry=registry, order_book=order_book, exchange=exchange, balance=balance,
        insurance=insurance, vault=vault, clearing_house=house,
    )  # fmt: skip


async def _connect(perp: Perp, bench: Bench) -> None:
    await perp.exchange.send("setAccountBalance", perp.balance.address)
    await perp.order_book.send("setExchange", perp.exchange.address)
    await perp.insurance.send("setVault", perp.vault.address)
    await perp.balance.send("setVault", perp.vault.address)
    collateral = await bench.deploy("CollateralManager")
    limits = (5, 750_000, 500_000, 2_000, 30_000, 10_000 * 10**6, 500 * 10**6)
    await collateral.send("initialize", perp.config.address, perp.vault.address, *limits)
    await perp.vault.send("setCollateralManager", collateral.address)
    for contract in (perp.vault, perp.balance, perp.exchange, perp.order_book, perp.registry):
        await contract.send("setClearingHouse", perp.clearing_house.address)
