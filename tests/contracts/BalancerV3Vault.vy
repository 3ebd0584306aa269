# pragma version 0.4.3
# Reference contract of the interface of Balancer v3's Vault with its extension and admin (IVaultExtension,
# IVaultAdmin), for one pool, whose BPT (totalSupply) it answers for too. All answers are set.

struct TokenInfo:
    tokenType: uint8
    rateProvider: address
    paysYieldFees: bool


tokens: DynArray[address, 8]
raw: DynArray[uint256, 8]
live: DynArray[uint256, 8]
rate: uint256
totalSupply: public(uint256)
isVaultPaused: public(bool)
pool_paused: bool
recovery: bool


@external
def set_balances(tokens: DynArray[address, 8], raw: DynArray[uint256, 8], live: DynArray[uint256, 8]):
    self.tokens = tokens
    self.raw = raw
    self.live = live


@external
def set_supply(supply: uint256, rate: uint256):
    self.totalSupply = supply
    self.rate = rate


@external
def set_pauses(vault: bool, pool: bool, recovery: bool):
    self.isVaultPaused = vault
    self.pool_paused = pool
    self.recovery = recovery


@external
@view
def getPoolTokenInfo(
    pool: address,
) -> (DynArray[address, 8], DynArray[TokenInfo, 8], DynArray[uint256, 8], DynArray[uint256, 8]):
    assert pool == self, "PoolNotRegistered"
    infos: DynArray[TokenInfo, 8] = []
    for token: address in self.tokens:
        infos.append(TokenInfo(tokenType=1, rateProvider=self, paysYieldFees=True))
    return self.tokens, infos, self.raw, self.live


@external
@view
def getCurrentLiveBalances(pool: address) -> DynArray[uint256, 8]:
    assert pool == self, "PoolNotRegistered"
    return self.live


@external
@view
def getBptRate(pool: address) -> uint256:
    assert pool == self, "PoolNotRegistered"
    return self.rate


@external
@view
def isPoolPaused(pool: address) -> bool:
    assert pool == self, "PoolNotRegistered"
    return self.pool_paused


@external
@view
def isPoolInRecoveryMode(pool: address) -> bool:
    assert pool == self, "PoolNotRegistered"
    return self.recovery
