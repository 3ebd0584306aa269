# Reference, not the protocol: implements the documented ABI subset of Hegic Herge's LimitController with honest minimal economics.
# pragma version ==0.4.3
"""
@title The most that all strategies together may lock
"""

interface Treasury:
    def totalBalance() -> uint256: view
    def totalLocked() -> uint256: view
    def lockedPremium() -> uint256: view

owner: public(address)
operationalTreasury: public(address)
most: uint256


@deploy
def __init__():
    self.owner = msg.sender
    self.most = max_value(uint256)


@external
def setLimit(most: uint256):
    assert msg.sender == self.owner, "AccessControl: owner only"
    self.most = most


@external
def setOperationalTreasury(treasury: address):
    """
    @notice Sell no more than the treasury's own money allows, whatever the cover pool could pay
    """
    assert msg.sender == self.owner, "AccessControl: owner only"
    self.operationalTreasury = treasury


@view
@external
def limit() -> uint256:
    if self.operationalTreasury == empty(address):
        return self.most
    treasury: Treasury = Treasury(self.operationalTreasury)
    free: uint256 = (
        staticcall treasury.totalBalance() - staticcall treasury.totalLocked() - staticcall treasury.lockedPremium()
    )
    return min(self.most, free)
