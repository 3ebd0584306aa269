# pragma version 0.4.3
# Reference contract of the interface of Curve's StableSwap-NG pools (coins and balances by uint256, get_dy by
# int128, stored_rates, price_oracle(i)), with two coins and the real invariant. Balances and the EMA are set,
# not traded.
import stableswap_math

initializes: stableswap_math

coins: public(address[2])
balances: public(uint256[2])
get_virtual_price: public(uint256)
rates: uint256[2]
oracle: uint256
amp: uint256
fee: uint256  # 1e10


@deploy
def __init__(coins: address[2], rates: uint256[2], amp: uint256, fee: uint256):
    self.coins = coins
    self.rates = rates
    self.amp = amp
    self.fee = fee
    self.get_virtual_price = 10**18
    self.oracle = 10**18


@external
def set_balances(balances: uint256[2]):
    self.balances = balances


@external
def set_rates(rates: uint256[2]):
    self.rates = rates


@external
def set_prices(virtual_price: uint256, oracle: uint256):
    self.get_virtual_price = virtual_price
    self.oracle = oracle


@external
@view
def stored_rates() -> DynArray[uint256, 8]:
    return [self.rates[0], self.rates[1]]


@external
@view
def price_oracle(i: uint256) -> uint256:
    assert i == 0
    return self.oracle


@external
@view
def get_dy(i: int128, j: int128, dx: uint256) -> uint256:
    xp: uint256[2] = [self.balances[0] * self.rates[0] // 10**18, self.balances[1] * self.rates[1] // 10**18]
    sold: uint256 = convert(i, uint256)
    bought: uint256 = convert(j, uint256)
    x: uint256 = xp[sold] + dx * self.rates[sold] // 10**18
    dy: uint256 = xp[bought] - stableswap_math.other_balance(x, xp, self.amp) - 1
    return (dy - dy * self.fee // 10**10) * 10**18 // self.rates[bought]
