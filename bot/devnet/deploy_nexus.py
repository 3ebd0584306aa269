"""Nexus Mutual as reference contracts: a mutual with money, two staking pools and three products."""

from dataclasses import dataclass

from bot.devnet.deploy_bench import Bench, Contract

ETH_ASSET, USDC_ASSET = 0, 6
DAY_S = 86_400
GRACE_S, COOL_DOWN_S, REDEMPTION_S = 35 * DAY_S, DAY_S, 30 * DAY_S
VOTING_S = 3 * DAY_S
PRODUCTS = ("Aave v3", "Uniswap v3", "Lyra")  # by product id
PRICE_BPS = (250, 300, 400)  # of the amount a year
NXM_WEI, NXM_USDC_RAW = 10**16, 30 * 10**6  # what one NXM is worth
STAKE_NXM = (40_000, 20_000)
MUTUAL_WEI, MUTUAL_USDC_RAW = 1_000 * 10**18, 5_000_000 * 10**6
_NXM = 10**18
_LAST_TRANCHE = 7  # of the eight open ones


@dataclass(frozen=True, slots=True, kw_only=True)
class NexusDeployment:
    """Where it all lies. The deployer owns each of them and decides on claims."""

    registry: Contract
    cover: Contract
    broker: Contract
    nft: Contract
    products: Contract
    pool: Contract
    staking: Contract
    claims: Contract


async def deploy_nexus(bench: Bench, *, usdc: str) -> NexusDeployment:
    """Deploy and fund it; the deployer mints the mutual's USDC."""
    registry = await bench.deploy_own("reference/NexusMutualRegistry")
    nft = await bench.deploy_own("reference/NexusMutualCoverNFT")
    products = await bench.deploy_own("reference/NexusMutualCoverProducts")
    pool = await bench.deploy_own("reference/NexusMutualPool")
    staking = await bench.deploy_own("reference/NexusMutualStakingViewer")
    parts = (registry.address, nft.address, products.address, pool.address, staking.address)
    cover = await bench.deploy_own("reference/NexusMutualCover", *parts)
    broker = await bench.deploy_own("reference/NexusMutualCoverBroker", cover.address, pool.address)
    claims = await bench.deploy_own("reference/NexusMutualClaims", cover.address)
    found = NexusDeployment(
        registry=registry,
        cover=cover,
        broker=broker,
        nft=nft,
        products=products,
        pool=pool,
        staking=staking,
        claims=claims,
    )
    await nft.send("changeOperator", cover.address)
    for contract in (cover, pool):
        await contract.send("setClaims", claims.address)
    await staking.send("setCover", cover.address)
    await _list_assets(bench, found, usdc)
    await _list_products(found)
    await registry.send("admit", broker.address)
    await broker.send("maxApproveCoverContract", usdc)
    return found


async def _list_assets(bench: Bench, found: NexusDeployment, usdc: str) -> None:
    """Ids are those of the protocol: 0 ETH, 6 USDC; what lies between is not covered here."""
    eth = "0x" + "ee" * 20
    for asset in range(USDC_ASSET + 1):
        token = {ETH_ASSET: eth, USDC_ASSET: usdc}.get(asset, "0x" + "00" * 20)
        price = {ETH_ASSET: NXM_WEI, USDC_ASSET: NXM_USDC_RAW}.get(asset, 0)
        await found.pool.send("addAsset", token, price > 0, price)
    await bench.transact(
        "the mutual's ETH", to=found.pool.address, data="0x", sender=bench.deployer, value_wei=MUTUAL_WEI
    )
    await bench.at("TestERC20SetDecimals", usdc).send("mint", found.pool.address, MUTUAL_USDC_RAW)


async def _list_products(found: NexusDeployment) -> None:
    individual_claims = 0
    await found.products.send("addProductType", (individual_claims, GRACE_S, COOL_DOWN_S, REDEMPTION_S))
    assets = 1 << ETH_ASSET | 1 << USDC_ASSET
    for name in PRODUCTS:
        await found.products.send("addProduct", (0, 100, 0, assets, 0, 0, False, False), name)
    for stake in STAKE_NXM:
        await add_pool(found, stake)


async def add_pool(
    found: NexusDeployment, stake_nxm: int, *, is_private: bool = False, tranche: int = _LAST_TRANCHE
) -> int:
    """Open a staking pool for every product; its stake ends with the tranche. Returns its id."""
    pool_id = len(await found.staking.call("getAllPools")) + 1
    viewer = found.staking.address
    pool = await found.staking.bench.deploy_own("reference/NexusMutualStakingPool", viewer, pool_id)
    await found.staking.send("addPool", stake_nxm * _NXM, pool.address, is_private, tranche)
    for product_id, price_bps in enumerate(PRICE_BPS):
        await found.staking.send("addProduct", pool_id, product_id, 50, price_bps)
    return pool_id
