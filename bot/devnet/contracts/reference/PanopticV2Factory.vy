# Reference, not the protocol: implements the documented ABI subset of PanopticFactoryV3 with honest minimal economics.
# pragma version ==0.4.3
"""
@title Where Panoptic's reference pools are found
@dev Own code, not Panoptic's. Pools are deployed beside it and registered by its owner; there is no deployNewPool.
"""

event PoolDeployed:
    poolAddress: indexed(address)
    uniswapPool: indexed(address)
    collateralTracker0: address
    collateralTracker1: address
    riskEngine: address

interface Pool:
    def collateralToken0() -> address: view
    def collateralToken1() -> address: view
    def riskEngine() -> address: view
    def uniswapPool() -> address: view

getPanopticPool: public(HashMap[address, HashMap[address, address]])  # Uniswap pool, risk engine
owner: public(immutable(address))


@deploy
def __init__():
    owner = msg.sender


@external
def register(pool: address):
    """
    @notice Make a pool known. Not part of Panoptic's ABI
    """
    assert msg.sender == owner, "owner only"
    uniswap_pool: address = staticcall Pool(pool).uniswapPool()
    risk_engine: address = staticcall Pool(pool).riskEngine()
    assert self.getPanopticPool[uniswap_pool][risk_engine] == empty(address), "known"
    self.getPanopticPool[uniswap_pool][risk_engine] = pool
    log PoolDeployed(
        poolAddress=pool,
        uniswapPool=uniswap_pool,
        collateralTracker0=staticcall Pool(pool).collateralToken0(),
        collateralTracker1=staticcall Pool(pool).collateralToken1(),
        riskEngine=risk_engine,
    )
