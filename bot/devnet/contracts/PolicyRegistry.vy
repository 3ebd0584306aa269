# pragma version ==0.4.3
"""
@title Which policy may decide, and how its premium is split between the layers
@notice Only ``owner`` changes it: a timelock that carries out votes, or a Safe. The bot reads it at the block
        it decides on.
@dev Weights are basis points that sum to 10 000. ``sequence`` counts changes, so that an older state is told
     from a newer one.
"""

WHOLE_BPS: constant(uint256) = 10_000

event PolicyChanged:
    policyHash: indexed(bytes32)
    sequence: indexed(uint256)
    nearBps: uint256
    midBps: uint256
    tailBps: uint256

owner: public(immutable(address))
policy_hash: bytes32
weights_bps: uint256[3]
sequence: uint256
changed_at: uint256


@deploy
def __init__(changed_by: address, policy_hash: bytes32, near_bps: uint256, mid_bps: uint256, tail_bps: uint256):
    assert changed_by != empty(address), "an owner is needed"
    owner = changed_by
    self._set(policy_hash, near_bps, mid_bps, tail_bps)


@external
def setPolicy(policy_hash: bytes32, near_bps: uint256, mid_bps: uint256, tail_bps: uint256):
    """
    @notice Put another policy, or other weights, in force from this block on
    @param policy_hash The hash that the bot prints for the policy file (`alvh policy check`)
    """
    assert msg.sender == owner, "owner only"
    self._set(policy_hash, near_bps, mid_bps, tail_bps)


@view
@external
def currentPolicy() -> (bytes32, uint256, uint256, uint256, uint256, uint256):
    """
    @return Policy hash, the weights of NEAR, MID and TAIL in basis points, sequence, time of the last change
    """
    return (
        self.policy_hash,
        self.weights_bps[0],
        self.weights_bps[1],
        self.weights_bps[2],
        self.sequence,
        self.changed_at,
    )


@internal
def _set(policy_hash: bytes32, near_bps: uint256, mid_bps: uint256, tail_bps: uint256):
    assert policy_hash != empty(bytes32), "a policy hash is needed"
    assert near_bps + mid_bps + tail_bps == WHOLE_BPS, "weights must sum to 10000"
    self.policy_hash = policy_hash
    self.weights_bps = [near_bps, mid_bps, tail_bps]
    self.sequence += 1
    self.changed_at = block.timestamp
    log PolicyChanged(
        policyHash=policy_hash,
        sequence=self.sequence,
        nearBps=near_bps,
        midBps=mid_bps,
        tailBps=tail_bps,
    )
