# Reference, not the protocol: implements the documented ABI subset of Opyn Gamma's OtokenFactory with honest minimal economics.
# pragma version ==0.4.3
"""
@title Creates option series and lists them
@dev Each series is an ERC-1167 proxy whose CREATE2 salt is the hash of its terms, so its address is known before.
"""

interface AddressBook:
    def getWhitelist() -> address: view
    def getOtokenImpl() -> address: view

interface Whitelist:
    def isWhitelistedProduct(underlying: address, strike: address, collateral: address, is_put: bool) -> bool: view
    def whitelistOtoken(otoken: address): nonpayable

interface Otoken:
    def initialize(
        address_book: address,
        underlying: address,
        strike: address,
        collateral: address,
        strike_price: uint256,
        expiry: uint256,
        is_put: bool,
    ): nonpayable

event OtokenCreated:
    tokenAddress: address
    creator: address
    underlying: indexed(address)
    strike: indexed(address)
    collateral: indexed(address)
    strikePrice: uint256
    expiry: uint256
    isPut: bool

MAX_EXPIRY: constant(uint256) = 11_865_398_400  # 2345-12-31
DAY: constant(uint256) = 86_400
EIGHT_HOURS: constant(uint256) = 28_800
# Creation code of an ERC-1167 proxy as create_minimal_proxy_to writes it, around the address of the code.
PROXY_HEAD: constant(Bytes[19]) = x"602d3d8160093d39f3363d3d373d3d3d363d73"
PROXY_TAIL: constant(Bytes[15]) = x"5af43d82803e903d91602b57fd5bf3"

addressBook: public(immutable(address))
otokens: public(DynArray[address, 4096])
by_terms: HashMap[bytes32, address]


@deploy
def __init__(address_book: address):
    addressBook = address_book


@external
def createOtoken(
    underlying: address,
    strike: address,
    collateral: address,
    strike_price: uint256,
    expiry: uint256,
    is_put: bool,
) -> address:
    """
    @notice Create a series; anyone may, of a whitelisted product, expiring at 08:00 UTC
    @param strike_price In the strike asset, with 8 decimals
    """
    assert expiry > block.timestamp, "OtokenFactory: Can't create expired option"
    assert expiry < MAX_EXPIRY, "OtokenFactory: Can't create option with expiry > 2345/12/31"
    assert (expiry - EIGHT_HOURS) % DAY == 0, "OtokenFactory: Option has to expire 08:00 UTC"
    terms: bytes32 = self._terms(underlying, strike, collateral, strike_price, expiry, is_put)
    assert self.by_terms[terms] == empty(address), "OtokenFactory: Option already created"
    whitelist: Whitelist = Whitelist(staticcall AddressBook(addressBook).getWhitelist())
    listed: bool = staticcall whitelist.isWhitelistedProduct(underlying, strike, collateral, is_put)
    assert listed, "OtokenFactory: Unsupported Product"
    assert not is_put or strike_price > 0, "OtokenFactory: Can't create a $0 strike put option"

    created: address = create_minimal_proxy_to(staticcall AddressBook(addressBook).getOtokenImpl(), salt=terms)
    extcall Otoken(created).initialize(addressBook, underlying, strike, collateral, strike_price, expiry, is_put)
    self.by_terms[terms] = created
    self.otokens.append(created)
    extcall whitelist.whitelistOtoken(created)
    log OtokenCreated(
        tokenAddress=created,
        creator=msg.sender,
        underlying=underlying,
        strike=strike,
        collateral=collateral,
        strikePrice=strike_price,
        expiry=expiry,
        isPut=is_put,
    )
    return created


@view
@external
def getOtokensLength() -> uint256:
    return len(self.otokens)


@view
@external
def getOtoken(
    underlying: address,
    strike: address,
    collateral: address,
    strike_price: uint256,
    expiry: uint256,
    is_put: bool,
) -> address:
    return self.by_terms[self._terms(underlying, strike, collateral, strike_price, expiry, is_put)]


@view
@external
def getTargetOtokenAddress(
    underlying: address,
    strike: address,
    collateral: address,
    strike_price: uint256,
    expiry: uint256,
    is_put: bool,
) -> address:
    """
    @notice Where a series lies or would lie
    """
    terms: bytes32 = self._terms(underlying, strike, collateral, strike_price, expiry, is_put)
    implementation: address = staticcall AddressBook(addressBook).getOtokenImpl()
    code_hash: bytes32 = keccak256(concat(PROXY_HEAD, convert(implementation, bytes20), PROXY_TAIL))
    place: bytes32 = keccak256(concat(x"ff", convert(self, bytes20), terms, code_hash))
    return convert(convert(place, uint256) & (2**160 - 1), address)


@pure
@internal
def _terms(
    underlying: address,
    strike: address,
    collateral: address,
    strike_price: uint256,
    expiry: uint256,
    is_put: bool,
) -> bytes32:
    return keccak256(abi_encode(underlying, strike, collateral, strike_price, expiry, is_put))
