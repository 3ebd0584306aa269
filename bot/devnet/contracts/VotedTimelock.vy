# pragma version ==0.4.3
"""
@title A vote with a timelock: what a majority decided is done after a delay that anyone can watch
@notice Voters and their weights are fixed at deployment. propose -> vote -> queue -> (delay) -> execute.
@dev Own code for the devnet, in the manner of OpenZeppelin's Governor with a TimelockController; states have
     the numbers of IGovernor.ProposalState. It has no token, no delegation and no upgrade.
"""

MAX_VOTERS: constant(uint256) = 32
MAX_DATA: constant(uint256) = 4096

PENDING: constant(uint256) = 0
ACTIVE: constant(uint256) = 1
CANCELED: constant(uint256) = 2
DEFEATED: constant(uint256) = 3
SUCCEEDED: constant(uint256) = 4
QUEUED: constant(uint256) = 5
EXPIRED: constant(uint256) = 6
EXECUTED: constant(uint256) = 7

event ProposalCreated:
    proposalId: indexed(uint256)
    proposer: indexed(address)
    target: address
    data: Bytes[MAX_DATA]
    voteEnd: uint256
    description: String[200]

event VoteCast:
    voter: indexed(address)
    proposalId: indexed(uint256)
    support: bool
    weight: uint256

event ProposalQueued:
    proposalId: indexed(uint256)
    eta: uint256

event ProposalExecuted:
    proposalId: indexed(uint256)

event ProposalCanceled:
    proposalId: indexed(uint256)

struct Proposal:
    proposer: address
    target: address
    data: Bytes[MAX_DATA]
    vote_end: uint256
    eta: uint256
    votes_for: uint256
    votes_against: uint256
    is_canceled: bool
    is_executed: bool

quorum: public(immutable(uint256))
voting_period: public(immutable(uint256))
delay: public(immutable(uint256))
grace: public(immutable(uint256))
weight_of: public(HashMap[address, uint256])
proposal_count: public(uint256)

proposals: HashMap[uint256, Proposal]
has_voted: public(HashMap[uint256, HashMap[address, bool]])


@deploy
def __init__(
    voters: DynArray[address, MAX_VOTERS],
    weights: DynArray[uint256, MAX_VOTERS],
    quorum_weight: uint256,
    voting_period_s: uint256,
    delay_s: uint256,
    grace_s: uint256,
):
    assert len(voters) == len(weights), "a weight for each voter"
    total: uint256 = 0
    for i: uint256 in range(len(voters), bound=MAX_VOTERS):
        assert weights[i] > 0 and self.weight_of[voters[i]] == 0, "each voter once, with a weight"
        self.weight_of[voters[i]] = weights[i]
        total += weights[i]
    assert 0 < quorum_weight and quorum_weight <= total, "quorum outside of the votes"
    assert delay_s > 0 and grace_s > 0 and voting_period_s > 0, "times must be over 0"
    quorum = quorum_weight
    voting_period = voting_period_s
    delay = delay_s
    grace = grace_s


@external
def propose(target: address, data: Bytes[MAX_DATA], description: String[200]) -> uint256:
    """
    @notice Ask for one call; voting begins at once
    """
    assert self.weight_of[msg.sender] > 0, "voters only"
    self.proposal_count += 1
    proposal_id: uint256 = self.proposal_count
    vote_end: uint256 = block.timestamp + voting_period
    self.proposals[proposal_id].proposer = msg.sender
    self.proposals[proposal_id].target = target
    self.proposals[proposal_id].data = data
    self.proposals[proposal_id].vote_end = vote_end
    log ProposalCreated(
        proposalId=proposal_id,
        proposer=msg.sender,
        target=target,
        data=data,
        voteEnd=vote_end,
        description=description,
    )
    return proposal_id


@external
def castVote(proposal_id: uint256, support: bool):
    weight: uint256 = self.weight_of[msg.sender]
    assert weight > 0, "voters only"
    assert self._state(proposal_id) == ACTIVE, "not open for votes"
    assert not self.has_voted[proposal_id][msg.sender], "voted already"
    self.has_voted[proposal_id][msg.sender] = True
    if support:
        self.proposals[proposal_id].votes_for += weight
    else:
        self.proposals[proposal_id].votes_against += weight
    log VoteCast(voter=msg.sender, proposalId=proposal_id, support=support, weight=weight)


@external
def queue(proposal_id: uint256):
    """
    @notice Start the delay of what was decided; anyone may
    """
    assert self._state(proposal_id) == SUCCEEDED, "not decided"
    eta: uint256 = block.timestamp + delay
    self.proposals[proposal_id].eta = eta
    log ProposalQueued(proposalId=proposal_id, eta=eta)


@external
def execute(proposal_id: uint256):
    """
    @notice Do what was decided, after the delay and within the grace time; anyone may
    """
    assert self._state(proposal_id) == QUEUED, "not queued, or too late"
    found: Proposal = self.proposals[proposal_id]
    assert block.timestamp >= found.eta, "the delay is not over"
    self.proposals[proposal_id].is_executed = True
    raw_call(found.target, found.data)
    log ProposalExecuted(proposalId=proposal_id)


@external
def cancel(proposal_id: uint256):
    """
    @notice Its proposer may take a proposal back until it is executed
    """
    found: uint256 = self._state(proposal_id)
    assert msg.sender == self.proposals[proposal_id].proposer, "proposer only"
    assert found != CANCELED and found != EXECUTED, "it ended"
    self.proposals[proposal_id].is_canceled = True
    log ProposalCanceled(proposalId=proposal_id)


@view
@external
def state(proposal_id: uint256) -> uint256:
    return self._state(proposal_id)


@view
@external
def etaOf(proposal_id: uint256) -> uint256:
    """
    @notice When a queued proposal may be executed; 0 before it is queued
    """
    return self.proposals[proposal_id].eta


@view
@internal
def _state(proposal_id: uint256) -> uint256:
    assert 0 < proposal_id and proposal_id <= self.proposal_count, "no such proposal"
    found: Proposal = self.proposals[proposal_id]
    if found.is_executed:
        return EXECUTED
    if found.is_canceled:
        return CANCELED
    if block.timestamp < found.vote_end:
        return ACTIVE
    if found.votes_for < quorum or found.votes_for <= found.votes_against:
        return DEFEATED
    if found.eta == 0:
        return SUCCEEDED
    if block.timestamp > found.eta + grace:
        return EXPIRED
    return QUEUED
