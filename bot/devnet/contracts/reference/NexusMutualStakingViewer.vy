# Reference, not the protocol: implements the documented ABI subset of Nexus Mutual's StakingViewer with honest minimal economics.
# pragma version ==0.4.3
"""
@title Staking pools: who underwrites what, at which price, and how much of it
@dev Own code, not Nexus Mutual's: pools, products and viewer in one. A pool covers twice its stake times the weight of
     the product, less the product's reduction, and only what ends, grace included, before the tranche of its stake
     does. A purchase raises the price by 5 % of its share of the capacity; it falls back by two points a day.
"""

struct Pool:
    poolId: uint256
    isPrivatePool: bool
    manager: address
    poolFee: uint256
    maxPoolFee: uint256
    activeStake: uint256
    currentAPY: uint256
    metadataIpfsHash: String[64]

struct StakingProduct:
    productId: uint256
    lastEffectiveWeight: uint256
    targetWeight: uint256
    targetPrice: uint256
    bumpedPrice: uint256
    bumpedPriceUpdateTime: uint256

CAPACITY_RATIO: constant(uint256) = 20_000  # of 10_000
ALLOCATION_UNIT: constant(uint256) = 10**16  # 0.01 NXM
TRANCHE_S: constant(uint256) = 91 * 86_400
TRANCHES: constant(uint256) = 8
PRICE_DENOMINATOR: constant(uint256) = 10_000
WEIGHT_DENOMINATOR: constant(uint256) = 100
PRICE_BUMP_RATIO: constant(uint256) = 500
PRICE_CHANGE_PER_DAY: constant(uint256) = 200
DAY_S: constant(uint256) = 86_400
YEAR_S: constant(uint256) = 365 * 86_400

owner: public(immutable(address))
cover: public(address)
pools: DynArray[Pool, 16]
products: HashMap[uint256, HashMap[uint256, StakingProduct]]  # pool, product
listed: HashMap[uint256, DynArray[uint256, 64]]  # products of a pool
allocated: public(HashMap[uint256, HashMap[uint256, uint256]])  # NXM
stakingPool: public(HashMap[uint256, address])
tranches: HashMap[uint256, uint256]  # the one that all stake of a pool lies in


@deploy
def __init__():
    owner = msg.sender


@external
def setCover(cover: address):
    assert msg.sender == owner, "owner only"
    self.cover = cover


@external
def addPool(stake: uint256, pool: address, isPrivate: bool, tranche: uint256) -> uint256:
    """
    @notice Pools count from 1, as in the protocol
    @param tranche Of the 8 open ones, 0 the current, the one whose end is the stake's
    """
    assert msg.sender == owner, "owner only"
    pool_id: uint256 = len(self.pools) + 1
    self.pools.append(Pool(
        poolId=pool_id, isPrivatePool=isPrivate, manager=msg.sender, poolFee=10, maxPoolFee=20, activeStake=stake,
        currentAPY=0, metadataIpfsHash="",
    ))
    self.stakingPool[pool_id] = pool
    self.tranches[pool_id] = block.timestamp // TRANCHE_S + tranche
    return pool_id


@external
def addProduct(poolId: uint256, productId: uint256, weight: uint256, price: uint256):
    assert msg.sender == owner, "owner only"
    self.listed[poolId].append(productId)
    self.products[poolId][productId] = StakingProduct(
        productId=productId, lastEffectiveWeight=weight, targetWeight=weight, targetPrice=price, bumpedPrice=price,
        bumpedPriceUpdateTime=block.timestamp,
    )


@external
def requestAllocation(
    poolId: uint256,
    productId: uint256,
    amount: uint256,
    period: uint256,
    grace: uint256,
    reduction: uint256,
    minPrice: uint256,
    useFixedPrice: bool,
) -> uint256:
    """
    @return The premium in NXM
    """
    assert msg.sender == self.cover, "cover only"
    product: StakingProduct = self.products[poolId][productId]
    capacity: uint256 = self._capacity(poolId, productId, CAPACITY_RATIO, reduction)
    outlasts: bool = self.tranches[poolId] >= (block.timestamp + period + grace) // TRANCHE_S
    if not outlasts or capacity < self.allocated[poolId][productId] + amount:
        raw_revert(method_id("InsufficientCapacity()"))
    self.allocated[poolId][productId] += amount
    target: uint256 = max(product.targetPrice, minPrice)
    base: uint256 = target
    if not useFixedPrice:
        fallen: uint256 = PRICE_CHANGE_PER_DAY * (block.timestamp - product.bumpedPriceUpdateTime) // DAY_S
        if product.bumpedPrice > target + fallen:
            base = product.bumpedPrice - fallen
        self.products[poolId][productId].bumpedPrice = base + PRICE_BUMP_RATIO * amount // capacity
        self.products[poolId][productId].bumpedPriceUpdateTime = block.timestamp
    return amount * base // PRICE_DENOMINATOR * period // YEAR_S


@external
def requestDeallocation(poolId: uint256, productId: uint256, amount: uint256):
    assert msg.sender == self.cover, "cover only"
    self.allocated[poolId][productId] -= amount


@view
@external
def getPool(poolId: uint256) -> Pool:
    return self.pools[poolId - 1]


@view
@external
def getAllPools() -> DynArray[Pool, 16]:
    return self.pools


@view
@external
def getProductPools(productId: uint256) -> DynArray[Pool, 16]:
    found: DynArray[Pool, 16] = []
    for pool: Pool in self.pools:
        if self.products[pool.poolId][productId].targetWeight > 0:
            found.append(pool)
    return found


@view
@external
def getPoolProducts(poolId: uint256) -> DynArray[StakingProduct, 64]:
    found: DynArray[StakingProduct, 64] = []
    for product_id: uint256 in self.listed[poolId]:
        found.append(self.products[poolId][product_id])
    return found


@view
@external
def getTrancheCapacities(
    poolId: uint256, productId: uint256, firstTrancheId: uint256, trancheCount: uint256, ratio: uint256, reduction: uint256
) -> DynArray[uint256, TRANCHES]:
    capacity: uint256 = self._capacity(poolId, productId, ratio, reduction)
    return self._in_tranche(poolId, firstTrancheId, trancheCount, capacity // ALLOCATION_UNIT)


@view
@external
def getActiveAllocations(poolId: uint256, productId: uint256) -> DynArray[uint256, TRANCHES]:
    taken: uint256 = self.allocated[poolId][productId]
    return self._in_tranche(poolId, block.timestamp // TRANCHE_S, TRANCHES, taken // ALLOCATION_UNIT)


@view
@internal
def _in_tranche(poolId: uint256, first: uint256, count: uint256, amount: uint256) -> DynArray[uint256, TRANCHES]:
    found: DynArray[uint256, TRANCHES] = []
    for i: uint256 in range(count, bound=TRANCHES):
        found.append(amount if self.tranches[poolId] == first + i else 0)
    return found


@view
@internal
def _capacity(poolId: uint256, productId: uint256, ratio: uint256, reduction: uint256) -> uint256:
    stake: uint256 = self.pools[poolId - 1].activeStake
    weight: uint256 = self.products[poolId][productId].targetWeight
    return stake * ratio * (10_000 - reduction) * weight // (10_000 * 10_000 * WEIGHT_DENOMINATOR)
