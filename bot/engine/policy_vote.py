"""A policy under a vote: its own numbers, with the layer weights that were voted for it.

The owners' signature (R22) covers the policy as its file states it, the bounds of the weights included; a
vote moves the weights inside those bounds and nothing else. What refuses a file refuses a vote.
"""

from dataclasses import replace

from bot.engine.policy import Policy
from bot.engine.policy_sizing import LayerWeights
from bot.errors import ConfigError
from bot.model.policy_vote import PolicyVote

_BPS_PER_POINT = 100


def under_vote(policy: Policy, vote: PolicyVote | None) -> Policy:
    """Return the policy that decides while a vote is in force; its hash is that of the numbers it has then.

    A vote on another policy changes nothing. Raises ConfigError when the weights are outside of the policy's
    bounds: ``refusal`` says so before.
    """
    if vote is None or vote.policy_hash != policy.hash:
        return policy
    weights = LayerWeights(
        NEAR=vote.near_bps / _BPS_PER_POINT,
        MID=vote.mid_bps / _BPS_PER_POINT,
        TAIL=vote.tail_bps / _BPS_PER_POINT,
    )
    return replace(policy, sizing=replace(policy.sizing, weights=weights))


def refusal(policy: Policy, vote: PolicyVote) -> str:
    """Return why a vote cannot be in force for a policy, "" when it can."""
    if vote.policy_hash != policy.hash:
        return (
            f"the registry's policy is {vote.policy_hash[:12]}…, configured is {policy.hash[:12]}… "
            f"({policy.name}): the owners did not decide on it"
        )
    try:
        under_vote(policy, vote)
    except ConfigError as error:
        return f"the voted weights are refused: {error}"
    return ""
