# pragma version 0.4.3
# Reference contract of the interface of Curve's two-coin crypto pools (every index a uint256, price_oracle()
# without an index), with the constant product in place of their invariant. Sizes over a third of a balance are
# refused, as those pools refuse what would leave their safe range.

coins: public(address[2])
balances: public(uint256[2])
get_virtual_price: public(uint256)
price_oracle: public(uint256)
fee: uint256  # 1e10


@deploy
def __init__(coins: address[2], fee: uint256):
    self.coins = coins
    self.fee = fee
    self.get_virtual_price = 10**18


@external
def set_balances(balances: uint256[2]):
    self.balances = balances


@external
def set_prices(virtual_price: uint256, oracle: uint256):
    self.get_virtual_price = virtual_price
    self.price_oracle = oracle


@external
@view
def get_dy(i: uint256, j: uint256, dx: uint256) -> uint256:
    assert i != j
    assert dx <= self.balances[i] // 3, "unsafe"
    dy: uint256 = self.balances[j] * dx // (self.balances[i] + dx)
    return dy - dy * self.fee // 10**10
