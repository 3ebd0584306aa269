# Reference, not the protocol: implements the documented ABI subset of Hegic Herge's PositionsManager with honest minimal economics.
# pragma version ==0.4.3
"""
@title One ERC-721 per option, numbered from 0
@dev Not enumerable, as the protocol's: who holds what is told by Transfer events. Single approvals are left out.
"""

interface Receiver:
    def onERC721Received(operator: address, sender: address, token_id: uint256, data: Bytes[32]) -> bytes4: nonpayable

event Transfer:
    sender: indexed(address)
    receiver: indexed(address)
    tokenId: indexed(uint256)

event ApprovalForAll:
    owner: indexed(address)
    operator: indexed(address)
    approved: bool

RECEIVED: constant(bytes4) = 0x150b7a02

owner: public(address)
pool: public(address)
nextTokenId: public(uint256)
balanceOf: public(HashMap[address, uint256])
isApprovedForAll: public(HashMap[address, HashMap[address, bool]])
holders: HashMap[uint256, address]


@deploy
def __init__():
    self.owner = msg.sender


@external
def setPool(treasury: address):
    """
    @notice Say who may create options; the protocol grants it a role
    """
    assert msg.sender == self.owner, "AccessControl: owner only"
    self.pool = treasury


@external
def createOptionFor(holder: address) -> uint256:
    assert msg.sender == self.pool, "AccessControl: HEGIC_POOL_ROLE is missing"
    assert holder != empty(address), "ERC721: mint to the zero address"
    created: uint256 = self.nextTokenId
    self.nextTokenId = created + 1
    self.holders[created] = holder
    self.balanceOf[holder] += 1
    log Transfer(sender=empty(address), receiver=holder, tokenId=created)
    if holder.is_contract:
        answer: bytes4 = extcall Receiver(holder).onERC721Received(msg.sender, empty(address), created, b"")
        assert answer == RECEIVED, "ERC721: transfer to non ERC721Receiver implementer"
    return created


@view
@external
def ownerOf(token_id: uint256) -> address:
    return self._owner_of(token_id)


@view
@external
def isApprovedOrOwner(spender: address, token_id: uint256) -> bool:
    return self._is_allowed(spender, token_id)


@external
def setApprovalForAll(operator: address, approved: bool):
    self.isApprovedForAll[msg.sender][operator] = approved
    log ApprovalForAll(owner=msg.sender, operator=operator, approved=approved)


@external
def transferFrom(sender: address, receiver: address, token_id: uint256):
    assert self._is_allowed(msg.sender, token_id), "ERC721: transfer caller is not owner nor approved"
    assert self._owner_of(token_id) == sender, "ERC721: transfer from incorrect owner"
    assert receiver != empty(address), "ERC721: transfer to the zero address"
    self.holders[token_id] = receiver
    self.balanceOf[sender] -= 1
    self.balanceOf[receiver] += 1
    log Transfer(sender=sender, receiver=receiver, tokenId=token_id)


@view
@internal
def _owner_of(token_id: uint256) -> address:
    found: address = self.holders[token_id]
    assert found != empty(address), "ERC721: owner query for nonexistent token"
    return found


@view
@internal
def _is_allowed(spender: address, token_id: uint256) -> bool:
    holder: address = self._owner_of(token_id)
    return spender == holder or self.isApprovedForAll[holder][spender]
