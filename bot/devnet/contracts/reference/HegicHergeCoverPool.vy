# Reference, not the protocol: implements the documented ABI subset of Hegic Herge's CoverPool with honest minimal economics.
# pragma version ==0.4.3
"""
@title Pays for the treasury when it runs dry, out of a payoff pool's allowance
@dev Stakers, epochs and profit shares are left out. The cover token (HEGIC) is a balance in here, paid at one price.
"""

from ethereum.ercs import IERC20

PRICE_DECIMALS: constant(uint256) = 10**30

owner: public(address)
treasury: public(address)
profitToken: public(immutable(address))
payoffPool: public(immutable(address))
changingPrice: public(immutable(uint256))
coverTokenTotal: public(uint256)


@deploy
def __init__(profit_token: address, payoff_pool: address, changing_price: uint256, cover_tokens: uint256):
    """
    @param changing_price Units of the profit token for one unit of the cover token, times 1e30
    """
    self.owner = msg.sender
    profitToken = profit_token
    payoffPool = payoff_pool
    changingPrice = changing_price
    self.coverTokenTotal = cover_tokens


@external
def setTreasury(treasury: address):
    """
    @notice Say who may be paid; the protocol grants it a role
    """
    assert msg.sender == self.owner, "AccessControl: owner only"
    self.treasury = treasury


@view
@external
def availableForPayment() -> uint256:
    """
    @return The least of what the cover tokens are worth, what the payoff pool holds and what it allows
    """
    covered: uint256 = self.coverTokenTotal * changingPrice // PRICE_DECIMALS
    held: uint256 = staticcall IERC20(profitToken).balanceOf(payoffPool)
    allowed: uint256 = staticcall IERC20(profitToken).allowance(payoffPool, self)
    return min(covered, min(held, allowed))


@external
def payOut(amount: uint256):
    assert msg.sender == self.treasury, "AccessControl: OPERATIONAL_TRESUARY_ROLE is missing"
    cover: uint256 = amount * PRICE_DECIMALS // changingPrice
    assert self.coverTokenTotal >= cover, "ERC20: transfer amount exceeds balance"
    self.coverTokenTotal -= cover
    moved: bool = extcall IERC20(profitToken).transferFrom(payoffPool, msg.sender, amount, default_return_value=True)
    assert moved, "SafeERC20: ERC20 operation did not succeed"
