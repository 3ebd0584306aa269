# Reference, not the protocol: implements the documented ABI subset of Opyn Gamma's Whitelist with honest minimal economics.
# pragma version ==0.4.3
"""
@title What may be created, deposited, minted and redeemed
"""

interface AddressBook:
    def getOtokenFactory() -> address: view

event ProductWhitelisted:
    productHash: bytes32
    underlying: indexed(address)
    strike: indexed(address)
    collateral: indexed(address)
    isPut: bool

event CollateralWhitelisted:
    collateral: indexed(address)

event OtokenWhitelisted:
    otoken: indexed(address)

event OtokenBlacklisted:
    otoken: indexed(address)

addressBook: public(immutable(address))
owner: public(address)
isWhitelistedCollateral: public(HashMap[address, bool])
isWhitelistedOtoken: public(HashMap[address, bool])
products: HashMap[bytes32, bool]


@deploy
def __init__(address_book: address):
    addressBook = address_book
    self.owner = msg.sender


@view
@external
def isWhitelistedProduct(underlying: address, strike: address, collateral: address, is_put: bool) -> bool:
    return self.products[keccak256(abi_encode(underlying, strike, collateral, is_put))]


@external
def whitelistProduct(underlying: address, strike: address, collateral: address, is_put: bool):
    """
    @notice Allow series whose collateral covers them whole: a put in its strike asset, a call in its underlying
    """
    self._only_owner()
    assert self.isWhitelistedCollateral[collateral], "Whitelist: Collateral is not whitelisted"
    covered: bool = collateral == (strike if is_put else underlying)
    assert covered, "Whitelist: Only allow fully collateralized products"
    product: bytes32 = keccak256(abi_encode(underlying, strike, collateral, is_put))
    self.products[product] = True
    log ProductWhitelisted(
        productHash=product, underlying=underlying, strike=strike, collateral=collateral, isPut=is_put
    )


@external
def whitelistCollateral(collateral: address):
    self._only_owner()
    self.isWhitelistedCollateral[collateral] = True
    log CollateralWhitelisted(collateral=collateral)


@external
def whitelistOtoken(otoken: address):
    assert msg.sender == staticcall AddressBook(addressBook).getOtokenFactory(), "Whitelist: Sender is not OtokenFactory"
    self.isWhitelistedOtoken[otoken] = True
    log OtokenWhitelisted(otoken=otoken)


@external
def blacklistOtoken(otoken: address):
    self._only_owner()
    self.isWhitelistedOtoken[otoken] = False
    log OtokenBlacklisted(otoken=otoken)


@view
@internal
def _only_owner():
    assert msg.sender == self.owner, "Ownable: caller is not the owner"
