# Reference, not the protocol: implements the documented ABI subset of Nexus Mutual's CoverBroker with honest minimal economics.
# pragma version ==0.4.3
"""
@title Covers for those who are no members: the broker is one, and passes payment and refund on
@dev Own code, not Nexus Mutual's.
"""

interface Cover:
    def buyCover(params: BuyCoverParams, poolAllocationRequests: DynArray[PoolAllocationRequest, 8]) -> uint256: payable

interface MutualPool:
    def getAsset(assetId: uint256) -> Asset: view

interface ERC20:
    def approve(spender: address, amount: uint256) -> bool: nonpayable
    def balanceOf(account: address) -> uint256: view
    def transfer(receiver: address, amount: uint256) -> bool: nonpayable
    def transferFrom(sender: address, receiver: address, amount: uint256) -> bool: nonpayable

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

struct Asset:
    assetAddress: address
    isCoverAsset: bool
    isAbandoned: bool

NXM_ASSET_ID: constant(uint8) = 255

owner: public(immutable(address))
cover: public(immutable(address))
pool: public(immutable(address))


@deploy
def __init__(seller: address, money: address):
    owner = msg.sender
    cover = seller
    pool = money


@external
@payable
def __default__():
    pass


@external
def maxApproveCoverContract(token: address):
    assert msg.sender == owner, "owner only"
    extcall ERC20(token).approve(cover, max_value(uint256), default_return_value=True)


@external
@payable
@nonreentrant
def buyCover(params: BuyCoverParams, poolAllocationRequests: DynArray[PoolAllocationRequest, 8]) -> uint256:
    if params.owner == empty(address) or params.owner == self:
        raw_revert(method_id("InvalidOwnerAddress()"))
    if params.paymentAsset == NXM_ASSET_ID:
        raw_revert(method_id("InvalidPaymentAsset()"))
    if params.paymentAsset == 0:
        before: uint256 = self.balance - msg.value
        bought: uint256 = extcall Cover(cover).buyCover(params, poolAllocationRequests, value=msg.value)
        if self.balance > before:
            raw_call(msg.sender, b"", value=self.balance - before)
        return bought
    if msg.value > 0:
        raw_revert(method_id("InvalidPayment()"))
    token: ERC20 = ERC20((staticcall MutualPool(pool).getAsset(convert(params.paymentAsset, uint256))).assetAddress)
    held: uint256 = staticcall token.balanceOf(self)
    assert extcall token.transferFrom(msg.sender, self, params.maxPremiumInAsset, default_return_value=True)
    cover_id: uint256 = extcall Cover(cover).buyCover(params, poolAllocationRequests)
    left: uint256 = staticcall token.balanceOf(self)
    if left > held:
        assert extcall token.transfer(msg.sender, left - held, default_return_value=True)
    return cover_id
