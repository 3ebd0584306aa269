# pragma version ==0.4.3
"""
@title A price feed for the devnet with Chainlink's reading interface
@notice The owner sets answers with their own time, so that a scenario can also publish late or old ones.
@dev Own code, not Chainlink's. Reads follow AggregatorV3Interface.
"""

event AnswerUpdated:
    current: indexed(int256)
    roundId: indexed(uint256)
    updatedAt: uint256

struct Round:
    answer: int256
    updated_at: uint256

decimals: public(immutable(uint8))
description: public(String[64])
version: public(constant(uint256)) = 1
owner: public(immutable(address))

latest_round: uint80
rounds: HashMap[uint80, Round]


@deploy
def __init__(feed_decimals: uint8, feed_description: String[64], first_answer: int256):
    decimals = feed_decimals
    self.description = feed_description
    owner = msg.sender
    self._publish(first_answer, block.timestamp)


@external
def setAnswer(answer: int256, updated_at: uint256):
    """
    @notice Publish a round; `updated_at` may lie in the past, never in the future
    """
    assert msg.sender == owner, "owner only"
    assert updated_at <= block.timestamp, "answer from the future"
    self._publish(answer, updated_at)


@view
@external
def latestRoundData() -> (uint80, int256, uint256, uint256, uint80):
    return self._round(self.latest_round)


@view
@external
def getRoundData(round_id: uint80) -> (uint80, int256, uint256, uint256, uint80):
    assert 0 < round_id and round_id <= self.latest_round, "No data present"
    return self._round(round_id)


@internal
def _publish(answer: int256, updated_at: uint256):
    self.latest_round += 1
    self.rounds[self.latest_round] = Round(answer=answer, updated_at=updated_at)
    log AnswerUpdated(current=answer, roundId=convert(self.latest_round, uint256), updatedAt=updated_at)


@view
@internal
def _round(round_id: uint80) -> (uint80, int256, uint256, uint256, uint80):
    found: Round = self.rounds[round_id]
    return round_id, found.answer, found.updated_at, found.updated_at, round_id
