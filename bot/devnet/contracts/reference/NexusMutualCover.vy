# Reference, not the protocol: implements the documented ABI subset of Nexus Mutual's Cover with honest minimal economics.
# pragma version ==0.4.3
"""
@title Covers are bought here, by members
@dev Own code, not Nexus Mutual's. Left out: editing a cover, payment in NXM, reinsurance.
"""

interface Registry:
    def getMemberId(account: address) -> uint256: view

interface NFT:
    def mint(to: address) -> uint256: nonpayable

interface MutualPool:
    def getAsset(assetId: uint256) -> Asset: view
    def getInternalTokenPriceInAsset(assetId: uint256) -> uint256: view

interface Products:
    def getProductCount() -> uint256: view
    def getProductWithType(productId: uint256) -> (Product, ProductType): view

interface Staking:
    def requestAllocation(
        poolId: uint256,
        productId: uint256,
        amount: uint256,
        period: uint256,
        grace: uint256,
        reduction: uint256,
        minPrice: uint256,
        useFixedPrice: bool,
    ) -> uint256: nonpayable
    def requestDeallocation(poolId: uint256, productId: uint256, amount: uint256): nonpayable

interface ERC20:
    def transferFrom(sender: address, receiver: address, amount: uint256) -> bool: nonpayable

event CoverBought:
    coverId: indexed(uint256)
    originalCoverId: indexed(uint256)
    buyerMemberId: indexed(uint256)
    productId: uint256

struct BuyCoverParams:
    coverId: uint256
    owner: address
    productId: uint24
    coverAsset: uint8
    amount: uint96
    period: uint32
    maxPremiumInAsset: uint256
    paymentAsset: uint8
    commissionRatio: uint16
    commissionDestination: address
    ipfsData: String[128]

struct PoolAllocationRequest:
    poolId: uint256
    coverAmountInAsset: uint256

struct PoolAllocation:
    poolId: uint40
    coverAmountInNXM: uint96
    premiumInNXM: uint96
    allocationId: uint24

struct CoverData:
    productId: uint24
    coverAsset: uint8
    amount: uint96
    start: uint32
    period: uint32
    gracePeriod: uint32
    rewardsRatio: uint16
    capacityRatio: uint16

struct Asset:
    assetAddress: address
    isCoverAsset: bool
    isAbandoned: bool

struct Product:
    productType: uint16
    minPrice: uint16
    __gap: uint144
    coverAssets: uint32
    initialPriceRatio: uint16
    capacityReductionRatio: uint16
    isDeprecated: bool
    useFixedPrice: bool

struct ProductType:
    claimMethod: uint8
    gracePeriod: uint32
    assessmentCooldownPeriod: uint32
    payoutRedemptionPeriod: uint32

MIN_PERIOD_S: constant(uint32) = 28 * 86_400
MAX_PERIOD_S: constant(uint32) = 365 * 86_400
MAX_COMMISSION_RATIO: public(constant(uint256)) = 3_000
DEFAULT_MIN_PRICE_RATIO: public(constant(uint256)) = 100
ETH_ASSET_ID: constant(uint8) = 0
ONE_NXM: constant(uint256) = 10**18
ALLOCATION_UNIT: constant(uint256) = 10**16  # 0.01 NXM

owner: public(immutable(address))
registry: public(immutable(address))
coverNFT: public(immutable(address))
coverProducts: public(immutable(address))
pool: public(immutable(address))
staking: immutable(address)

claims: public(address)
paused: public(bool)
getCoverDataCount: public(uint256)
covers: HashMap[uint256, CoverData]
allocations: HashMap[uint256, DynArray[PoolAllocation, 8]]
getCoverMetadata: public(HashMap[uint256, String[128]])


@deploy
def __init__(known: address, nft: address, products: address, money: address, stakers: address):
    owner = msg.sender
    registry = known
    coverNFT = nft
    coverProducts = products
    pool = money
    staking = stakers


@external
def setClaims(found: address):
    assert msg.sender == owner, "owner only"
    self.claims = found


@external
def setPaused(is_paused: bool):
    assert msg.sender == owner, "owner only"
    self.paused = is_paused


@external
@payable
@nonreentrant
def buyCover(params: BuyCoverParams, poolAllocationRequests: DynArray[PoolAllocationRequest, 8]) -> uint256:
    member: uint256 = staticcall Registry(registry).getMemberId(msg.sender)
    if member == 0:
        raw_revert(method_id("OnlyMember()"))
    if self.paused:
        raw_revert(abi_encode(convert(1 << 6, uint256), convert(1 << 6, uint256), method_id=method_id("Paused(uint256,uint256)")))
    if params.coverId != 0:
        raw_revert(method_id("EditNotSupported()"))
    if params.period < MIN_PERIOD_S:
        raw_revert(method_id("CoverPeriodTooShort()"))
    if params.period > MAX_PERIOD_S:
        raw_revert(method_id("CoverPeriodTooLong()"))
    if convert(params.commissionRatio, uint256) > MAX_COMMISSION_RATIO:
        raw_revert(method_id("CommissionRateTooHigh()"))
    if params.amount == 0:
        raw_revert(method_id("CoverAmountIsZero()"))
    if params.paymentAsset != params.coverAsset:
        raw_revert(method_id("InvalidPaymentAsset()"))
    cover_id: uint256 = extcall NFT(coverNFT).mint(params.owner)
    self.getCoverDataCount = cover_id
    self.getCoverMetadata[cover_id] = params.ipfsData
    price: uint256 = staticcall MutualPool(pool).getInternalTokenPriceInAsset(convert(params.coverAsset, uint256))
    due: uint256 = self._create(params, poolAllocationRequests, cover_id, price)
    self._collect(params, price * due // ONE_NXM)
    log CoverBought(
        coverId=cover_id, originalCoverId=cover_id, buyerMemberId=member, productId=convert(params.productId, uint256)
    )
    return cover_id


@external
def expireCover(coverId: uint256):
    """
    @notice Anyone: give the pools their capacity back once a cover has ended
    """
    found: CoverData = self.covers[coverId]
    if block.timestamp < convert(found.start, uint256) + convert(found.period, uint256):
        raw_revert(abi_encode(coverId, method_id=method_id("CoverNotYetExpired(uint256)")))
    self._release(coverId, convert(found.productId, uint256), 1, 1)


@external
def burnStake(coverId: uint256, amount: uint256):
    assert msg.sender == self.claims, "claims only"
    found: CoverData = self.covers[coverId]
    self._release(coverId, convert(found.productId, uint256), amount, convert(found.amount, uint256))
    self.covers[coverId].amount = found.amount - convert(amount, uint96)


@view
@external
def getCoverData(coverId: uint256) -> CoverData:
    return self.covers[coverId]


@view
@external
def getPoolAllocations(coverId: uint256) -> DynArray[PoolAllocation, 8]:
    return self.allocations[coverId]


@internal
def _create(
    params: BuyCoverParams, requests: DynArray[PoolAllocationRequest, 8], cover_id: uint256, price: uint256
) -> uint256:
    """
    @return What is due in NXM
    """
    product_id: uint256 = convert(params.productId, uint256)
    if product_id >= staticcall Products(coverProducts).getProductCount():
        raw_revert(method_id("ProductNotFound()"))
    product: Product = empty(Product)
    kind: ProductType = empty(ProductType)
    product, kind = staticcall Products(coverProducts).getProductWithType(product_id)
    if product.isDeprecated:
        raw_revert(method_id("ProductDeprecated()"))
    asset: Asset = staticcall MutualPool(pool).getAsset(convert(params.coverAsset, uint256))
    allowed: bool = product.coverAssets == 0 or convert(product.coverAssets, uint256) >> convert(params.coverAsset, uint256) & 1 == 1
    if not allowed or not asset.isCoverAsset or asset.isAbandoned:
        raw_revert(method_id("CoverAssetNotSupported()"))
    least: uint256 = convert(product.minPrice, uint256) if product.minPrice != 0 else DEFAULT_MIN_PRICE_RATIO
    total: uint256 = 0
    due: uint256 = 0
    for request: PoolAllocationRequest in requests:
        nxm: uint256 = (request.coverAmountInAsset * ONE_NXM + price - 1) // price
        nxm = (nxm + ALLOCATION_UNIT - 1) // ALLOCATION_UNIT * ALLOCATION_UNIT
        premium: uint256 = extcall Staking(staking).requestAllocation(
            request.poolId,
            product_id,
            nxm,
            convert(params.period, uint256),
            convert(kind.gracePeriod, uint256),
            convert(product.capacityReductionRatio, uint256),
            least,
            product.useFixedPrice,
        )
        self.allocations[cover_id].append(PoolAllocation(
            poolId=convert(request.poolId, uint40), coverAmountInNXM=convert(nxm, uint96),
            premiumInNXM=convert(premium, uint96), allocationId=convert(cover_id, uint24),
        ))
        total += nxm
        due += premium
    amount: uint256 = total * price // ONE_NXM
    if amount < convert(params.amount, uint256):
        raw_revert(method_id("InsufficientCoverAmountAllocated()"))
    self.covers[cover_id] = CoverData(
        productId=params.productId, coverAsset=params.coverAsset, amount=convert(amount, uint96),
        start=convert(block.timestamp, uint32), period=params.period, gracePeriod=kind.gracePeriod,
        rewardsRatio=5_000, capacityRatio=20_000,
    )
    return due


@payable
@internal
def _collect(params: BuyCoverParams, premium: uint256):
    total: uint256 = premium * 10_000 // (10_000 - convert(params.commissionRatio, uint256))
    commission: uint256 = total - premium
    if total > params.maxPremiumInAsset:
        raw_revert(method_id("PriceExceedsMaxPremiumInAsset()"))
    if params.paymentAsset != ETH_ASSET_ID:
        if msg.value > 0:
            raw_revert(method_id("UnexpectedEthSent()"))
        token: ERC20 = ERC20((staticcall MutualPool(pool).getAsset(convert(params.paymentAsset, uint256))).assetAddress)
        if premium > 0:
            assert extcall token.transferFrom(msg.sender, pool, premium, default_return_value=True)
        if commission > 0:
            assert extcall token.transferFrom(msg.sender, params.commissionDestination, commission, default_return_value=True)
        return
    if msg.value < total:
        raw_revert(method_id("InsufficientEthSent()"))
    raw_call(pool, b"", value=premium)
    if commission > 0:
        raw_call(params.commissionDestination, b"", value=commission)
    if msg.value > total:
        raw_call(msg.sender, b"", value=msg.value - total)


@internal
def _release(cover_id: uint256, product_id: uint256, part: uint256, whole: uint256):
    for i: uint256 in range(len(self.allocations[cover_id]), bound=8):
        found: PoolAllocation = self.allocations[cover_id][i]
        nxm: uint256 = convert(found.coverAmountInNXM, uint256) * part // whole
        extcall Staking(staking).requestDeallocation(convert(found.poolId, uint256), product_id, nxm)
        self.allocations[cover_id][i].coverAmountInNXM = found.coverAmountInNXM - convert(nxm, uint96)
