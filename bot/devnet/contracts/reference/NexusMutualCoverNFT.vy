# Reference, not the protocol: implements the documented ABI subset of Nexus Mutual's CoverNFT with honest minimal economics.
# pragma version ==0.4.3
"""
@title Who owns a cover: an ERC-721 token each
@dev Own code, not Nexus Mutual's. Left out: single-token and operator approvals, metadata.
"""

event Transfer:
    sender: indexed(address)
    to: indexed(address)
    id: indexed(uint256)

operator: public(address)
totalSupply: public(uint256)
balanceOf: public(HashMap[address, uint256])
owners: HashMap[uint256, address]


@deploy
def __init__():
    self.operator = msg.sender


@external
def changeOperator(newOperator: address):
    if msg.sender != self.operator:
        raw_revert(method_id("NotOperator()"))
    self.operator = newOperator


@external
def mint(to: address) -> uint256:
    if msg.sender != self.operator:
        raw_revert(method_id("NotOperator()"))
    if to == empty(address):
        raw_revert(method_id("InvalidRecipient()"))
    self.totalSupply += 1
    self.owners[self.totalSupply] = to
    self.balanceOf[to] += 1
    log Transfer(sender=empty(address), to=to, id=self.totalSupply)
    return self.totalSupply


@external
def transferFrom(sender: address, to: address, id: uint256):
    if self.owners[id] != sender:
        raw_revert(method_id("WrongFrom()"))
    if msg.sender != sender:
        raw_revert(method_id("NotAuthorized()"))
    if to == empty(address):
        raw_revert(method_id("InvalidRecipient()"))
    self.owners[id] = to
    self.balanceOf[sender] -= 1
    self.balanceOf[to] += 1
    log Transfer(sender=sender, to=to, id=id)


@view
@external
def ownerOf(id: uint256) -> address:
    owner: address = self.owners[id]
    if owner == empty(address):
        raw_revert(method_id("NotMinted()"))
    return owner


@view
@external
def isApprovedOrOwner(spender: address, tokenId: uint256) -> bool:
    return self.owners[tokenId] == spender
