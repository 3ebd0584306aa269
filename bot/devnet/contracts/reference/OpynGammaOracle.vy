# Reference, not the protocol: implements the documented ABI subset of Opyn Gamma's Oracle with honest minimal economics.
# pragma version ==0.4.3
"""
@title Prices of assets, live and at expiry, with 8 decimals in USD
@dev At expiry: the locking period passes, the pricer pushes, the dispute period passes. A stable asset skips all of it.
"""

interface Pricer:
    def getPrice() -> uint256: view

event PricerUpdated:
    asset: indexed(address)
    pricer: indexed(address)

event ExpiryPriceUpdated:
    asset: indexed(address)
    expiryTimestamp: indexed(uint256)
    price: uint256
    onchainTimestamp: uint256

event ExpiryPriceDisputed:
    asset: indexed(address)
    expiryTimestamp: indexed(uint256)
    disputedPrice: uint256
    newPrice: uint256
    disputeTimestamp: uint256

event StablePriceUpdated:
    asset: indexed(address)
    price: uint256

struct Stored:
    price: uint256
    pushed_at: uint256

owner: public(address)
getDisputer: public(address)
getPricer: public(HashMap[address, address])
getPricerLockingPeriod: public(HashMap[address, uint256])
getPricerDisputePeriod: public(HashMap[address, uint256])
stable: HashMap[address, uint256]
stored: HashMap[address, HashMap[uint256, Stored]]


@deploy
def __init__():
    self.owner = msg.sender


@external
def setAssetPricer(asset: address, pricer: address):
    self._only_owner()
    assert pricer != empty(address), "Oracle: cannot set pricer to address(0)"
    assert self.stable[asset] == 0, "Oracle: could not set a pricer for stable asset"
    self.getPricer[asset] = pricer
    log PricerUpdated(asset=asset, pricer=pricer)


@external
def setLockingPeriod(pricer: address, seconds: uint256):
    self._only_owner()
    self.getPricerLockingPeriod[pricer] = seconds


@external
def setDisputePeriod(pricer: address, seconds: uint256):
    self._only_owner()
    self.getPricerDisputePeriod[pricer] = seconds


@external
def setDisputer(disputer: address):
    self._only_owner()
    self.getDisputer = disputer


@external
def setStablePrice(asset: address, price: uint256):
    self._only_owner()
    no_pricer: bool = self.getPricer[asset] == empty(address)
    assert no_pricer, "Oracle: could not set stable price for an asset with pricer"
    self.stable[asset] = price
    log StablePriceUpdated(asset=asset, price=price)


@external
def setExpiryPrice(asset: address, expiry: uint256, price: uint256):
    """
    @notice Push the price at `expiry`; once, by the asset's pricer, after the locking period
    """
    assert msg.sender == self.getPricer[asset], "Oracle: caller is not authorized to set expiry price"
    assert self._locking_over(asset, expiry), "Oracle: locking period is not over yet"
    assert self.stored[asset][expiry].pushed_at == 0, "Oracle: dispute period started"
    self.stored[asset][expiry] = Stored(price=price, pushed_at=block.timestamp)
    log ExpiryPriceUpdated(asset=asset, expiryTimestamp=expiry, price=price, onchainTimestamp=block.timestamp)


@external
def disputeExpiryPrice(asset: address, expiry: uint256, price: uint256):
    """
    @notice Replace a pushed price; by the disputer, while its dispute period lasts
    """
    assert msg.sender == self.getDisputer, "Oracle: caller is not the disputer"
    assert not self._dispute_over(asset, expiry), "Oracle: dispute period over"
    old: Stored = self.stored[asset][expiry]
    assert old.pushed_at != 0, "Oracle: price to dispute does not exist"
    self.stored[asset][expiry].price = price
    log ExpiryPriceDisputed(
        asset=asset, expiryTimestamp=expiry, disputedPrice=old.price, newPrice=price, disputeTimestamp=block.timestamp
    )


@view
@external
def getPrice(asset: address) -> uint256:
    if self.stable[asset] != 0:
        return self.stable[asset]
    assert self.getPricer[asset] != empty(address), "Oracle: Pricer for this asset not set"
    return staticcall Pricer(self.getPricer[asset]).getPrice()


@view
@external
def getExpiryPrice(asset: address, expiry: uint256) -> (uint256, bool):
    """
    @return The price, 0 while none was pushed, and whether it can no longer change
    """
    if self.stable[asset] != 0:
        return self.stable[asset], True
    return self.stored[asset][expiry].price, self._dispute_over(asset, expiry)


@view
@external
def isLockingPeriodOver(asset: address, expiry: uint256) -> bool:
    return self._locking_over(asset, expiry)


@view
@external
def isDisputePeriodOver(asset: address, expiry: uint256) -> bool:
    return self._dispute_over(asset, expiry)


@view
@internal
def _locking_over(asset: address, expiry: uint256) -> bool:
    if self.stable[asset] != 0:
        return True
    return block.timestamp > expiry + self.getPricerLockingPeriod[self.getPricer[asset]]


@view
@internal
def _dispute_over(asset: address, expiry: uint256) -> bool:
    if self.stable[asset] != 0:
        return True
    pushed_at: uint256 = self.stored[asset][expiry].pushed_at
    if pushed_at == 0:
        return False
    return block.timestamp > pushed_at + self.getPricerDisputePeriod[self.getPricer[asset]]


@view
@internal
def _only_owner():
    assert msg.sender == self.owner, "Ownable: caller is not the owner"
