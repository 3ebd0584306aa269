# An oToken that was upgraded to keep a hundredth of every transfer: the reference contract, with a greedy move.
# pragma version ==0.4.3
"""
@title One option series as an ERC-20 with 8 decimals
@dev The factory puts a minimal proxy before this code for each series. Permit is left out, name and symbol are fixed
     words, and Gamma's init is named initialize: the former is no name in Vyper.
"""

interface AddressBook:
    def getController() -> address: view

event Transfer:
    sender: indexed(address)
    receiver: indexed(address)
    value: uint256

event Approval:
    owner: indexed(address)
    spender: indexed(address)
    value: uint256

name: public(constant(String[32])) = "Reference oToken"
symbol: public(constant(String[8])) = "oREF"
decimals: public(constant(uint8)) = 8

controller: public(address)
underlyingAsset: public(address)
strikeAsset: public(address)
collateralAsset: public(address)
strikePrice: public(uint256)
expiryTimestamp: public(uint256)
isPut: public(bool)

totalSupply: public(uint256)
gap: uint256[93]  # Gamma's balances and allowances lie at slots 101 and 102, behind two gaps
balanceOf: public(HashMap[address, uint256])
allowance: public(HashMap[address, HashMap[address, uint256]])


@external
def initialize(
    address_book: address,
    underlying: address,
    strike: address,
    collateral: address,
    strike_price: uint256,
    expiry: uint256,
    is_put: bool,
):
    """
    @notice Say what the series is; once, by its factory in the transaction that creates it
    """
    assert self.controller == empty(address), "Contract instance has already been initialized"
    self.controller = staticcall AddressBook(address_book).getController()
    self.underlyingAsset = underlying
    self.strikeAsset = strike
    self.collateralAsset = collateral
    self.strikePrice = strike_price
    self.expiryTimestamp = expiry
    self.isPut = is_put


@view
@external
def getOtokenDetails() -> (address, address, address, uint256, uint256, bool):
    return (
        self.collateralAsset,
        self.underlyingAsset,
        self.strikeAsset,
        self.strikePrice,
        self.expiryTimestamp,
        self.isPut,
    )


@external
def mintOtoken(account: address, amount: uint256):
    assert msg.sender == self.controller, "Otoken: Only Controller can mint Otokens"
    self.totalSupply += amount
    self.balanceOf[account] += amount
    log Transfer(sender=empty(address), receiver=account, value=amount)


@external
def burnOtoken(account: address, amount: uint256):
    assert msg.sender == self.controller, "Otoken: Only Controller can burn Otokens"
    assert self.balanceOf[account] >= amount, "ERC20: burn amount exceeds balance"
    self.totalSupply -= amount
    self.balanceOf[account] -= amount
    log Transfer(sender=account, receiver=empty(address), value=amount)


@external
def transfer(to: address, amount: uint256) -> bool:
    self._move(msg.sender, to, amount)
    return True


@external
def transferFrom(owner: address, to: address, amount: uint256) -> bool:
    assert self.allowance[owner][msg.sender] >= amount, "ERC20: transfer amount exceeds allowance"
    self.allowance[owner][msg.sender] -= amount
    self._move(owner, to, amount)
    return True


@external
def approve(spender: address, amount: uint256) -> bool:
    self.allowance[msg.sender][spender] = amount
    log Approval(owner=msg.sender, spender=spender, value=amount)
    return True


@internal
def _move(owner: address, to: address, amount: uint256):
    assert to != empty(address), "ERC20: transfer to the zero address"
    assert self.balanceOf[owner] >= amount, "ERC20: transfer amount exceeds balance"
    self.balanceOf[owner] -= amount
    self.balanceOf[to] += amount - amount // 100
    log Transfer(sender=owner, receiver=to, value=amount)
