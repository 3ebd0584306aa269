# Reference contract of ERC-20 tokens as some are: they take a fee, or answer false in place of reverting.
# pragma version 0.4.3

event Transfer:
    sender: indexed(address)
    receiver: indexed(address)
    value: uint256

event Approval:
    owner: indexed(address)
    spender: indexed(address)
    value: uint256

symbol: public(constant(String[3])) = "ODD"  # Gamma names an oToken after its assets
decimals: public(constant(uint8)) = 6
balanceOf: public(HashMap[address, uint256])
allowance: public(HashMap[address, HashMap[address, uint256]])
fee_bps: public(uint256)  # of what is sent, burnt on the way
is_deaf: public(bool)  # moves nothing and answers false


@external
def set_oddity(fee_bps: uint256, deaf: bool):
    self.fee_bps = fee_bps
    self.is_deaf = deaf


@external
def mint(account: address, amount: uint256):
    self.balanceOf[account] += amount
    log Transfer(sender=empty(address), receiver=account, value=amount)


@external
def approve(spender: address, amount: uint256) -> bool:
    self.allowance[msg.sender][spender] = amount
    log Approval(owner=msg.sender, spender=spender, value=amount)
    return True


@external
def transfer(receiver: address, amount: uint256) -> bool:
    return self._move(msg.sender, receiver, amount)


@external
def transferFrom(sender: address, receiver: address, amount: uint256) -> bool:
    if self.is_deaf:
        return False
    self.allowance[sender][msg.sender] -= amount
    return self._move(sender, receiver, amount)


@internal
def _move(sender: address, receiver: address, amount: uint256) -> bool:
    if self.is_deaf:
        return False
    self.balanceOf[sender] -= amount
    received: uint256 = amount - amount * self.fee_bps // 10_000
    self.balanceOf[receiver] += received
    log Transfer(sender=sender, receiver=receiver, value=received)
    return True
