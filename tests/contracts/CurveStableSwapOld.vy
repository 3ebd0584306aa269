# pragma version 0.4.3
# Reference contract of the interface of Curve's first StableSwap pools (every index an int128, no oracle;
# stored_rates of fixed length, as some have them), with two coins and the real invariant. Balances and rates
# are set, not traded.
import stableswap_math

initializes: stableswap_math

get_virtual_price: public(uint256)
addresses: address[2]
held: uint256[2]
rates: uint256[2]
amp: uint256
fee: uint256  # 1e10


@deploy
def __init__(coins: address[2], rates: uint256[2], amp: uint256, fee: uint256):
    self.addresses = coins
    self.rates = rates
    self.amp = amp
    self.fee = fee
    self.get_virtual_price = 10**18


@external
def set_balances(balances: uint256[2]):
    self.held = balances


@external
def set_rates(rates: uint256[2]):
    self.rates = rates


@external
@view
def stored_rates() -> uint256[2]:
    return self.rates


@external
@view
def coins(i: int128) -> address:
    return self.addresses[convert(i, uint256)]


@external
@view
def balances(i: int128) -> uint256:
    return self.held[convert(i, uint256)]


@external
@view
def get_dy(i: int128, j: int128, dx: uint256) -> uint256:
    xp: uint256[2] = [self.held[0] * self.rates[0] // 10**18, self.held[1] * self.rates[1] // 10**18]
    sold: uint256 = convert(i, uint256)
    bought: uint256 = convert(j, uint256)
    x: uint256 = xp[sold] + dx * self.rates[sold] // 10**18
    dy: uint256 = xp[bought] - stableswap_math.other_balance(x, xp, self.amp) - 1
    return (dy - dy * self.fee // 10**10) * 10**18 // self.rates[bought]
