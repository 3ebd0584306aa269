"""Aave v3 with the devnet's WETH and USDC as reserves, and prices that the deployer sets.

The contracts of the package are v3.0; live markets are newer. What the bot reads (PoolDataProvider,
getUserAccountData) is the same in both.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from bot.devnet.deploy_bench import Bench, Contract

ZERO = "0x" + "00" * 20
RAY = 10**27
USD_UNIT = 10**8  # the oracle's base currency: USD with 8 decimals
VARIABLE_RATE = 2  # interestRateMode of Pool.borrow
_PROVIDER_ID = "Devnet Market"
_BPS = 10_000
# optimal usage, base rate, slope 1, slope 2, then the stable rates that nobody uses here; shares of 1
_RATES = (0.8, 0.0, 0.04, 0.75, 0.005, 0.75, 0.01, 0.08, 0.2)


@dataclass(frozen=True, kw_only=True)
class Reserve:
    """One asset to list; thresholds are fractions of its value."""

    token: str
    symbol: str
    decimals: int
    price_usd: float
    loan_to_value: float
    liquidation_threshold: float
    liquidation_bonus: float = 0.05


@dataclass(frozen=True, kw_only=True)
class AaveMarket:
    """Where the market lies; everything is owned by the deployer."""

    provider: Contract
    pool: Contract  # the proxy
    configurator: Contract  # the proxy
    acl_manager: Contract
    oracle: Contract
    data_provider: Contract
    pool_implementation: str

    async def set_price(self, token: str, price_usd: float) -> None:
        """Let the oracle answer another price: its source is exchanged for one with this answer."""
        bench = self.oracle.bench
        source = await bench.deploy("MockAggregator", round(price_usd * USD_UNIT))
        await self.oracle.send("setAssetSources", [token], [source.address])

    async def supply(self, token: Contract, raw: int, *, sender: str) -> None:
        """Supply tokens that ``sender`` has; they count as collateral from then on."""
        await token.send("approve", self.pool.address, raw, sender=sender)
        await self.pool.send("supply", token.address, raw, sender, 0, sender=sender)

    async def borrow(self, token: str, raw: int, *, sender: str) -> None:
        """Borrow at the variable rate."""
        await self.pool.send("borrow", token, raw, VARIABLE_RATE, 0, sender, sender=sender)

    async def upgrade_pool(self) -> str:
        """Put the package's pool of a later revision behind the proxy; return its address."""
        bench, libraries = self.pool.bench, await _libraries(self.pool.bench)
        implementation = await bench.deploy("MockPoolInherited", self.provider.address, libraries=libraries)
        await self.provider.send("setPoolImpl", implementation.address)
        return implementation.address


async def deploy_aave(bench: Bench, reserves: tuple[Reserve, ...]) -> AaveMarket:
    """Deploy a market with these reserves, all of which can be supplied and borrowed."""
    owner = bench.deployer
    provider = await bench.deploy("PoolAddressesProvider", _PROVIDER_ID, owner)
    await provider.send("setACLAdmin", owner)
    acl = await bench.deploy("ACLManager", provider.address)
    await provider.send("setACLManager", acl.address)
    await acl.send("addPoolAdmin", owner)
    await acl.send("addEmergencyAdmin", owner)
    oracle = await _oracle(bench, provider.address, reserves)
    await provider.send("setPriceOracle", oracle.address)
    pool, implementation = await _pool(bench, provider)
    configurator = await _configurator(bench, provider)
    data = await bench.deploy("AaveProtocolDataProvider", provider.address)
    await provider.send("setPoolDataProvider", data.address)
    market = AaveMarket(
        provider=provider,
        pool=pool,
        configurator=configurator,
        acl_manager=acl,
        oracle=oracle,
        data_provider=data,
        pool_implementation=implementation,
    )
    await _list(bench, market, reserves)
    return market


async def _oracle(bench: Bench, provider: str, reserves: tuple[Reserve, ...]) -> Contract:
    sources = [
        (await bench.deploy("MockAggregator", round(reserve.price_usd * USD_UNIT))).address
        for reserve in reserves
    ]
    tokens = [reserve.token for reserve in reserves]
    return await bench.deploy("AaveOracle", provider, tokens, sources, ZERO, ZERO, USD_UNIT)


async def _libraries(bench: Bench) -> Mapping[str, str]:
    """The eight libraries of the pool; FlashLoanLogic itself calls BorrowLogic."""
    names = ("BorrowLogic", "BridgeLogic", "EModeLogic", "LiquidationLogic", "PoolLogic", "SupplyLogic")
    found = {name: (await bench.deploy(name)).address for name in names}
    flash = await bench.deploy("FlashLoanLogic", libraries={"BorrowLogic": found["BorrowLogic"]})
    return {**found, "FlashLoanLogic": flash.address}


async def _pool(bench: Bench, provider: Contract) -> tuple[Contract, str]:
    implementation = await bench.deploy("Pool", provider.address, libraries=await _libraries(bench))
    await implementation.send("initialize", provider.address)
    await provider.send("setPoolImpl", implementation.address)
    return bench.at("Pool", await provider.call("getPool")), implementation.address


async def _configurator(bench: Bench, provider: Contract) -> Contract:
    logic = await bench.deploy("ConfiguratorLogic")
    implementation = await bench.deploy("PoolConfigurator", libraries={"ConfiguratorLogic": logic.address})
    await implementation.send("initialize", provider.address)
    await provider.send("setPoolConfiguratorImpl", implementation.address)
    return bench.at("PoolConfigurator", await provider.call("getPoolConfigurator"))


async def _list(bench: Bench, market: AaveMarket, reserves: tuple[Reserve, ...]) -> None:
    tokens = {
        name: await bench.deploy(name, market.pool.address)
        for name in ("AToken", "StableDebtToken", "VariableDebtToken")
    }
    rates = [round(share * RAY) for share in _RATES]
    strategy = await bench.deploy("DefaultReserveInterestRateStrategy", market.provider.address, *rates)
    listings = [_listing(reserve, tokens, strategy.address, bench.deployer) for reserve in reserves]
    await market.configurator.send("initReserves", listings)
    for reserve in reserves:
        shares = (reserve.loan_to_value, reserve.liquidation_threshold, 1 + reserve.liquidation_bonus)
        limits = [round(share * _BPS) for share in shares]
        await market.configurator.send("configureReserveAsCollateral", reserve.token, *limits)
        await market.configurator.send("setReserveBorrowing", reserve.token, True)


def _listing(
    reserve: Reserve, tokens: Mapping[str, Contract], strategy: str, treasury: str
) -> tuple[object, ...]:
    """InitReserveInput; its last field, extra bytes for the tokens, must not be empty."""
    names = [f"{kind} {reserve.symbol}" for kind in ("Devnet", "a", "Debt", "debt", "Stable debt", "stable")]
    implementations = [tokens[name].address for name in ("AToken", "StableDebtToken", "VariableDebtToken")]
    return (
        *implementations,
        reserve.decimals,
        strategy,
        reserve.token,
        treasury,
        ZERO,
        *names,
        b"\x10",
    )
