# Reference, not the protocol: implements the documented ABI subset of Nexus Mutual's Claims with honest minimal economics.
# pragma version ==0.4.3
"""
@title Claims on covers, and what becomes of them
@dev Own code, not Nexus Mutual's. Its owner accepts or denies, where the protocol's assessors vote for some days and a
     cool-down follows; both times pass here as well.
"""

interface Registry:
    def getMemberId(account: address) -> uint256: view

interface NFT:
    def ownerOf(id: uint256) -> address: view

interface Cover:
    def getCoverData(coverId: uint256) -> CoverData: view
    def burnStake(coverId: uint256, amount: uint256): nonpayable
    def registry() -> address: view
    def coverNFT() -> address: view
    def coverProducts() -> address: view
    def pool() -> address: view

interface Products:
    def getProductWithType(productId: uint256) -> (Product, ProductType): view

interface MutualPool:
    def sendPayout(assetId: uint256, to: address, amount: uint256, depositInETH: uint256): nonpayable

event ClaimSubmitted:
    user: indexed(address)
    claimId: uint256
    coverId: indexed(uint256)
    productId: uint256

event MetadataSubmitted:
    claimId: indexed(uint256)
    ipfsMetadata: bytes32

event ClaimPayoutRedeemed:
    user: indexed(address)
    amount: uint256
    claimId: uint256
    coverId: uint256

event ClaimDepositRetrieved:
    claimId: indexed(uint256)
    user: indexed(address)

struct CoverData:
    productId: uint24
    coverAsset: uint8
    amount: uint96
    start: uint32
    period: uint32
    gracePeriod: uint32
    rewardsRatio: uint16
    capacityRatio: uint16

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

struct Claim:
    coverId: uint32
    amount: uint96
    coverAsset: uint8
    payoutRedemptionPeriod: uint32
    payoutRedeemed: bool
    depositRetrieved: bool

struct Assessment:
    assessingGroupId: uint16
    cooldownPeriod: uint32
    start: uint32
    votingEnd: uint32
    acceptVotes: uint8
    denyVotes: uint8

struct ClaimDetails:
    claimId: uint256
    claim: Claim
    cover: CoverData
    assessment: Assessment
    status: uint8
    outcome: uint8
    redeemable: bool
    ipfsMetadata: bytes32

CLAIM_DEPOSIT_IN_ETH: public(constant(uint256)) = 5 * 10**16
VOTING_S: constant(uint256) = 3 * 86_400
COOLDOWN: constant(uint8) = 1  # AssessmentStatus; 0 voting, 2 final
PENDING: constant(uint8) = 0  # AssessmentOutcome
ACCEPTED: constant(uint8) = 1
DENIED: constant(uint8) = 2
DRAW: constant(uint8) = 3

owner: public(immutable(address))
cover: public(immutable(address))
registry: public(immutable(address))
coverNFT: public(immutable(address))
pool: public(immutable(address))

getClaimsCount: public(uint256)
claims: HashMap[uint256, Claim]
assessments: HashMap[uint256, Assessment]
metadata: HashMap[uint256, bytes32]
lastClaimSubmissionOnCover: public(HashMap[uint256, uint256])


@deploy
def __init__(seller: address):
    owner = msg.sender
    cover = seller
    registry = staticcall Cover(seller).registry()
    coverNFT = staticcall Cover(seller).coverNFT()
    pool = staticcall Cover(seller).pool()


@external
def assess(claimId: uint256, accept: bool):
    """
    @notice Stands for the assessors' votes. Not part of Nexus Mutual's ABI
    """
    assert msg.sender == owner, "owner only"
    self.assessments[claimId].acceptVotes = 1 if accept else 0
    self.assessments[claimId].denyVotes = 0 if accept else 1


@external
@payable
def submitClaim(coverId: uint32, requestedAmount: uint96, ipfsMetadata: bytes32) -> Claim:
    if staticcall Registry(registry).getMemberId(msg.sender) == 0:
        raw_revert(method_id("OnlyMember()"))
    cover_id: uint256 = convert(coverId, uint256)
    if staticcall NFT(coverNFT).ownerOf(cover_id) != msg.sender:
        raw_revert(method_id("NotCoverOwner()"))
    last: uint256 = self.lastClaimSubmissionOnCover[cover_id]
    if last > 0 and self._outcome(last) == PENDING:
        raw_revert(method_id("ClaimIsBeingAssessed()"))
    if last > 0 and self._is_redeemable(last):
        raw_revert(method_id("PayoutCanStillBeRedeemed()"))
    data: CoverData = staticcall Cover(cover).getCoverData(cover_id)
    if requestedAmount > data.amount:
        raw_revert(method_id("CoveredAmountExceeded()"))
    if block.timestamp <= convert(data.start, uint256):
        raw_revert(method_id("CantBuyCoverAndClaimInTheSameBlock()"))
    over: uint256 = convert(data.start, uint256) + convert(data.period, uint256) + convert(data.gracePeriod, uint256)
    if over <= block.timestamp:
        raw_revert(method_id("GracePeriodPassed()"))
    if msg.value != CLAIM_DEPOSIT_IN_ETH:
        raw_revert(method_id("AssessmentDepositNotExact()"))
    product: Product = empty(Product)
    kind: ProductType = empty(ProductType)
    product, kind = staticcall Products(staticcall Cover(cover).coverProducts()).getProductWithType(convert(data.productId, uint256))
    self.getClaimsCount += 1
    claim_id: uint256 = self.getClaimsCount
    self.lastClaimSubmissionOnCover[cover_id] = claim_id
    self.metadata[claim_id] = ipfsMetadata
    self.assessments[claim_id] = Assessment(
        assessingGroupId=1,
        cooldownPeriod=kind.assessmentCooldownPeriod,
        start=convert(block.timestamp, uint32),
        votingEnd=convert(block.timestamp + VOTING_S, uint32),
        acceptVotes=0,
        denyVotes=0,
    )
    claim: Claim = Claim(
        coverId=coverId, amount=requestedAmount, coverAsset=data.coverAsset,
        payoutRedemptionPeriod=kind.payoutRedemptionPeriod, payoutRedeemed=False, depositRetrieved=False,
    )
    self.claims[claim_id] = claim
    log ClaimSubmitted(user=msg.sender, claimId=claim_id, coverId=cover_id, productId=convert(data.productId, uint256))
    if ipfsMetadata != empty(bytes32):
        log MetadataSubmitted(claimId=claim_id, ipfsMetadata=ipfsMetadata)
    raw_call(pool, b"", value=msg.value)
    return claim


@external
def redeemClaimPayout(claimId: uint256):
    if staticcall Registry(registry).getMemberId(msg.sender) == 0:
        raw_revert(method_id("OnlyMember()"))
    claim: Claim = self.claims[claimId]
    if claim.coverId == 0:
        raw_revert(method_id("InvalidClaimId()"))
    if staticcall NFT(coverNFT).ownerOf(convert(claim.coverId, uint256)) != msg.sender:
        raw_revert(method_id("NotCoverOwner()"))
    if not self._is_redeemable(claimId):
        raw_revert(method_id("ClaimNotRedeemable()"))
    self.claims[claimId].payoutRedeemed = True
    self.claims[claimId].depositRetrieved = True
    amount: uint256 = convert(claim.amount, uint256)
    extcall Cover(cover).burnStake(convert(claim.coverId, uint256), amount)
    extcall MutualPool(pool).sendPayout(convert(claim.coverAsset, uint256), msg.sender, amount, CLAIM_DEPOSIT_IN_ETH)
    log ClaimPayoutRedeemed(user=msg.sender, amount=amount, claimId=claimId, coverId=convert(claim.coverId, uint256))
    log ClaimDepositRetrieved(claimId=claimId, user=msg.sender)


@view
@external
def getClaim(claimId: uint256) -> Claim:
    return self.claims[claimId]


@view
@external
def getClaimDetails(claimId: uint256) -> ClaimDetails:
    claim: Claim = self.claims[claimId]
    if claim.coverId == 0:
        raw_revert(method_id("InvalidClaimId()"))
    assessment: Assessment = self.assessments[claimId]
    status: uint8 = COOLDOWN + 1
    if block.timestamp < convert(assessment.votingEnd, uint256):
        status = COOLDOWN - 1
    elif block.timestamp <= self._end(claimId):
        status = COOLDOWN
    return ClaimDetails(
        claimId=claimId,
        claim=claim,
        cover=staticcall Cover(cover).getCoverData(convert(claim.coverId, uint256)),
        assessment=assessment,
        status=status,
        outcome=self._outcome(claimId),
        redeemable=self._is_redeemable(claimId),
        ipfsMetadata=self.metadata[claimId],
    )


@view
@internal
def _end(claim_id: uint256) -> uint256:
    """
    @return When voting and cool-down are over
    """
    assessment: Assessment = self.assessments[claim_id]
    return convert(assessment.votingEnd, uint256) + convert(assessment.cooldownPeriod, uint256)


@view
@internal
def _outcome(claim_id: uint256) -> uint8:
    if block.timestamp <= self._end(claim_id):
        return PENDING
    assessment: Assessment = self.assessments[claim_id]
    if assessment.acceptVotes > assessment.denyVotes:
        return ACCEPTED
    return DENIED if assessment.acceptVotes < assessment.denyVotes else DRAW


@view
@internal
def _is_redeemable(claim_id: uint256) -> bool:
    claim: Claim = self.claims[claim_id]
    in_time: bool = block.timestamp < self._end(claim_id) + convert(claim.payoutRedemptionPeriod, uint256)
    return self._outcome(claim_id) == ACCEPTED and in_time and not claim.payoutRedeemed
