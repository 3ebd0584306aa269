# Reference, not the protocol: implements the documented ABI subset of Nexus Mutual's Pool with honest minimal economics.
# pragma version ==0.4.3
"""
@title The mutual's money: premiums come in, payouts go out, and what one NXM is worth
@dev Own code, not Nexus Mutual's. Its owner sets the price of NXM, where the protocol has a market of its own.
"""

interface ERC20:
    def transfer(receiver: address, amount: uint256) -> bool: nonpayable

struct Asset:
    assetAddress: address
    isCoverAsset: bool
    isAbandoned: bool

owner: public(immutable(address))
claims: public(address)
assets: DynArray[Asset, 32]
getInternalTokenPriceInAsset: public(HashMap[uint256, uint256])  # raw units of the asset for 1 NXM


@deploy
def __init__():
    owner = msg.sender


@external
@payable
def __default__():
    pass


@external
def addAsset(assetAddress: address, isCoverAsset: bool, price: uint256):
    """
    @notice Not the protocol's: the price of NXM in the asset comes with it
    """
    assert msg.sender == owner, "owner only"
    self.getInternalTokenPriceInAsset[len(self.assets)] = price
    self.assets.append(Asset(assetAddress=assetAddress, isCoverAsset=isCoverAsset, isAbandoned=False))


@external
def setClaims(claims: address):
    assert msg.sender == owner, "owner only"
    self.claims = claims


@external
def sendPayout(assetId: uint256, to: address, amount: uint256, depositInETH: uint256):
    assert msg.sender == self.claims, "claims only"
    if assetId == 0:
        raw_call(to, b"", value=amount + depositInETH)
        return
    assert extcall ERC20(self.assets[assetId].assetAddress).transfer(to, amount, default_return_value=True)
    raw_call(to, b"", value=depositInETH)


@view
@external
def getAsset(assetId: uint256) -> Asset:
    return self.assets[assetId]


@view
@external
def getAssets() -> DynArray[Asset, 32]:
    return self.assets
