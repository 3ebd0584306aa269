# Reference contract of the interfaces by which staked LP positions are asked for: StakingRewards and Curve
# gauges (balanceOf, stakingToken, lp_token), MasterChef (userInfo, poolInfo, lpToken), UniswapV3Staker
# (deposits) and gauges of NFTs (stakedContains). It says what it was told; it holds what it was sent.
# pragma version 0.4.3

token: address
amounts: HashMap[address, uint256]
owners: HashMap[uint256, address]
contained: HashMap[address, HashMap[uint256, bool]]
pools: HashMap[uint256, address]
is_chef: bool


@external
def setToken(token: address):
    self.token = token


@external
def setAmount(user: address, amount: uint256):
    self.amounts[user] = amount


@external
def setPool(pid: uint256, token: address):
    self.pools[pid] = token


@external
def setOwner(token_id: uint256, owner: address):
    self.owners[token_id] = owner


@external
def setContains(user: address, token_id: uint256):
    self.contained[user][token_id] = True


@external
@view
def balanceOf(account: address) -> uint256:
    return self.amounts[account]


@external
@view
def stakingToken() -> address:
    assert self.token != empty(address)
    return self.token


@external
@view
def userInfo(pid: uint256, user: address) -> (uint256, uint256):
    return self.amounts[user], 7


@external
@view
def poolInfo(pid: uint256) -> (address, uint256, uint256, uint256):
    assert self.pools[pid] != empty(address)
    return self.pools[pid], 1, 2, 3


@external
@view
def deposits(token_id: uint256) -> (address, uint256, int24, int24):
    return self.owners[token_id], 1, -10, 10


@external
@view
def stakedContains(user: address, token_id: uint256) -> bool:
    return self.contained[user][token_id]


@external
@view
def onERC721Received(operator: address, sender: address, token_id: uint256, data: Bytes[1024]) -> bytes4:
    return 0x150b7a02
