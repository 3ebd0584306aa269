# Reference, not the protocol: implements the documented ABI subset of Nexus Mutual's Registry with honest minimal economics.
# pragma version ==0.4.3
"""
@title Who is a member
@dev Own code, not Nexus Mutual's. Its owner admits members, where the protocol asks for KYC and a fee.
"""

owner: public(immutable(address))
getMemberId: public(HashMap[address, uint256])
getMemberCount: public(uint256)


@deploy
def __init__():
    owner = msg.sender


@external
def admit(account: address):
    """
    @notice Not part of Nexus Mutual's ABI
    """
    assert msg.sender == owner, "owner only"
    assert self.getMemberId[account] == 0, "known"
    self.getMemberCount += 1
    self.getMemberId[account] = self.getMemberCount


@view
@external
def isMember(account: address) -> bool:
    return self.getMemberId[account] != 0
