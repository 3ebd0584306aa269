# Reference, not the protocol: implements the documented ABI subset of Nexus Mutual's StakingPool with honest minimal economics.
# pragma version ==0.4.3
"""
@title What one staking pool can cover and what of it is taken, by the tranches of its stake
@dev Own code, not Nexus Mutual's: its state lies in the viewer.
"""

interface Viewer:
    def getTrancheCapacities(
        poolId: uint256, productId: uint256, firstTrancheId: uint256, trancheCount: uint256, ratio: uint256, reduction: uint256
    ) -> DynArray[uint256, 8]: view
    def getActiveAllocations(poolId: uint256, productId: uint256) -> DynArray[uint256, 8]: view

TRANCHE_S: constant(uint256) = 91 * 86_400

viewer: immutable(address)
pool_id: immutable(uint256)


@deploy
def __init__(found: address, number: uint256):
    viewer = found
    pool_id = number


@view
@external
def getTrancheCapacities(
    productId: uint256, firstTrancheId: uint256, trancheCount: uint256, capacityRatio: uint256, reductionRatio: uint256
) -> DynArray[uint256, 8]:
    """
    @return In units of 0.01 NXM
    """
    if firstTrancheId < block.timestamp // TRANCHE_S:
        raw_revert(method_id("RequestedTrancheIsExpired()"))
    return staticcall Viewer(viewer).getTrancheCapacities(
        pool_id, productId, firstTrancheId, trancheCount, capacityRatio, reductionRatio
    )


@view
@external
def getActiveAllocations(productId: uint256) -> DynArray[uint256, 8]:
    return staticcall Viewer(viewer).getActiveAllocations(pool_id, productId)
