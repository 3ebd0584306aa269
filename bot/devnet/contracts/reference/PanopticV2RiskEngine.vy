# Reference, not the protocol: implements the documented ABI subset of Panoptic v2's RiskEngine with honest minimal economics.
# pragma version ==0.4.3
"""
@title The risk parameters of the Panoptic reference pool, and its guardian's lock
@dev Own code, not Panoptic's. The parameters are those published for v2; margin itself is computed in the pool.
"""

interface Pool:
    def setLockMode(mode: uint8): nonpayable

NOTIONAL_FEE: public(constant(uint16)) = 1  # basis points of the notional, at mint
PREMIUM_FEE: public(constant(uint16)) = 100  # basis points of the premium that is settled
SELLER_COLLATERAL_RATIO: public(constant(uint256)) = 2_000_000  # of 10_000_000
BUYER_COLLATERAL_RATIO: public(constant(uint256)) = 1_000_000
BP_DECREASE_BUFFER: public(constant(uint32)) = 10_666_667
MAX_SPREAD: public(constant(uint24)) = 90_000  # removed over net liquidity, of 10_000
MAX_OPEN_LEGS: public(constant(uint256)) = 26
MAX_TICKS_DELTA: public(constant(int256)) = 724
MAX_TWAP_DELTA_DISPATCH: public(constant(uint16)) = 513
VEGOID: public(constant(uint8)) = 8

GUARDIAN: public(immutable(address))


@deploy
def __init__():
    GUARDIAN = msg.sender


@external
def lockPool(pool: address):
    if msg.sender != GUARDIAN:
        raw_revert(method_id("NotGuardian()"))
    extcall Pool(pool).setLockMode(3)


@external
def unlockPool(pool: address):
    if msg.sender != GUARDIAN:
        raw_revert(method_id("NotGuardian()"))
    extcall Pool(pool).setLockMode(0)
