"""What is known of chains: every entry says where it is from, and what is not known is cautious."""

import pytest

from bot.chain.chain_traits import FeeParts, listed, traits_of
from bot.chain.signer import MAINNETS


def test_every_chain_has_a_depth_a_kind_of_fees_and_a_source():
    chains = listed()
    assert len(chains) > 20
    for chain_id, traits in chains.items():
        assert 1 <= traits.depth <= 64, chain_id
        assert traits.source, chain_id


def test_names_are_those_of_the_signer():
    named = {chain_id: traits.name for chain_id, traits in listed().items() if chain_id in MAINNETS}
    assert named == {chain_id: MAINNETS[chain_id] for chain_id in named}


def test_a_chain_that_is_not_listed_is_as_deep_as_the_most_cautious_listed_one():
    unlisted = traits_of(4_242_424_242)
    assert unlisted.depth == max(traits.depth for traits in listed().values())
    assert unlisted.fees is FeeParts.L1
    assert unlisted.name == "chain 4242424242"


@pytest.mark.parametrize(
    ("chain_id", "depth", "fees"),
    [
        (1, 2, FeeParts.L1),
        (10, 1, FeeParts.OP),
        (8453, 1, FeeParts.OP),
        (42161, 1, FeeParts.ARBITRUM),
        (11155111, 5, FeeParts.L1),
        (421614, 5, FeeParts.ARBITRUM),
        (31337, 1, FeeParts.L1),
    ],
)
def test_golden_rows(chain_id, depth, fees):
    assert (traits_of(chain_id).depth, traits_of(chain_id).fees) == (depth, fees)
