# Reference, not the protocol: implements the documented ABI subset of Hegic Herge's LimitController with honest minimal economics.
# pragma version ==0.4.3
"""
@title The most that all strategies together may lock
"""

owner: public(address)
limit: public(uint256)


@deploy
def __init__():
    self.owner = msg.sender
    self.limit = max_value(uint256)


@external
def setLimit(most: uint256):
    assert msg.sender == self.owner, "AccessControl: owner only"
    self.limit = most
