# Reference, not the protocol: implements the documented ABI subset of Opyn Gamma's MarginPool with honest minimal economics.
# pragma version ==0.4.3
"""
@title Holds all collateral; it is what collateral is approved to
"""

from ethereum.ercs import IERC20

interface AddressBook:
    def getController() -> address: view

event TransferToPool:
    asset: indexed(address)
    user: indexed(address)
    amount: uint256

event TransferToUser:
    asset: indexed(address)
    user: indexed(address)
    amount: uint256

addressBook: public(immutable(address))
getStoredBalance: public(HashMap[address, uint256])


@deploy
def __init__(address_book: address):
    addressBook = address_book


@external
def transferToPool(asset: address, user: address, amount: uint256):
    self._only_controller()
    assert amount > 0, "MarginPool: transferToPool amount is equal to 0"
    self.getStoredBalance[asset] += amount
    moved: bool = extcall IERC20(asset).transferFrom(user, self, amount, default_return_value=True)
    assert moved, "SafeERC20: ERC20 operation did not succeed"
    log TransferToPool(asset=asset, user=user, amount=amount)


@external
def transferToUser(asset: address, user: address, amount: uint256):
    self._only_controller()
    assert user != self, "MarginPool: cannot transfer assets to oneself"
    assert self.getStoredBalance[asset] >= amount, "SafeMath: subtraction overflow"
    self.getStoredBalance[asset] -= amount
    moved: bool = extcall IERC20(asset).transfer(user, amount, default_return_value=True)
    assert moved, "SafeERC20: ERC20 operation did not succeed"
    log TransferToUser(asset=asset, user=user, amount=amount)


@view
@internal
def _only_controller():
    controller: address = staticcall AddressBook(addressBook).getController()
    assert msg.sender == controller, "MarginPool: Sender is not Controller"
