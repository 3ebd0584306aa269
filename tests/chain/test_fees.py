"""Fees: what a first attempt pays, and the replacement rule of the nodes (REL-E6, REL-F20)."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.chain.fees import GWEI, FeeMarket, FeePolicy, Fees, bumped, first_fees, parse_fee_history
from bot.errors import InvariantError, TransientError, VenueRejected

wei = st.integers(0, 10_000 * GWEI)
markets = st.builds(FeeMarket, next_base_wei=wei, median_tip_wei=st.integers(0, 10**6 * GWEI))


@st.composite
def policies(draw):
    low, middle, high = sorted(draw(st.tuples(wei, wei, wei)))
    return FeePolicy(tip_min_wei=low, tip_max_wei=middle, max_fee_cap_wei=high)


@st.composite
def paid(draw):
    tip, extra = draw(wei), draw(wei)
    return Fees(max_fee_wei=tip + extra, tip_wei=tip)


def test_the_tip_shrinks_to_what_the_cap_leaves():
    """A dear tip is a wish; only the base fee and the least tip make a transaction too dear."""
    market = FeeMarket(next_base_wei=2 * GWEI, median_tip_wei=3 * GWEI)
    assert first_fees(market, FeePolicy(), cap_wei=4 * GWEI) == Fees(max_fee_wei=4 * GWEI, tip_wei=2 * GWEI)
    least = FeePolicy().tip_min_wei
    assert first_fees(market, FeePolicy(), cap_wei=2 * GWEI + least).tip_wei == least
    with pytest.raises(VenueRejected, match="too dear"):
        first_fees(market, FeePolicy(), cap_wei=2 * GWEI + least - 1)


def test_first_fees_are_twice_the_next_base_and_the_median_tip():
    market = FeeMarket(next_base_wei=20 * GWEI, median_tip_wei=2 * GWEI)
    assert first_fees(market, FeePolicy()) == Fees(max_fee_wei=42 * GWEI, tip_wei=2 * GWEI)


@given(markets, policies())
def test_first_fees_keep_to_the_policy_or_refuse(market, policy):
    try:
        fees = first_fees(market, policy)
    except VenueRejected:
        assert market.next_base_wei + policy.tip_min_wei > policy.max_fee_cap_wei or (
            market.next_base_wei + policy.tip_max_wei > policy.max_fee_cap_wei
        )
        return
    assert policy.tip_min_wei <= fees.tip_wei <= policy.tip_max_wei
    assert market.next_base_wei + fees.tip_wei <= fees.max_fee_wei <= policy.max_fee_cap_wei


@given(paid(), markets, policies(), st.booleans(), st.one_of(st.none(), wei))
def test_a_bump_pays_an_eighth_more_on_both_fields_or_is_none(old, market, policy, cancel, bound):
    """REL-E6: nodes ask 10 %; never over the cap, and a cancel knows no bound of its request."""
    own = policy.max_fee_cap_wei if bound is None else min(bound, policy.max_fee_cap_wei)
    cap = policy.cancel_cap_wei if cancel else own
    new = bumped(old, market, policy, cancel=cancel, cap_wei=None if bound is None else own)
    if new is None:
        assert max(old.max_fee_wei * 9, old.tip_wei * 9) > cap * 8 - 8 or old.max_fee_wei + 1 > cap
        return
    assert new.max_fee_wei * 8 >= old.max_fee_wei * 9
    assert new.tip_wei * 8 >= old.tip_wei * 9
    assert new.max_fee_wei > old.max_fee_wei
    assert new.tip_wei > old.tip_wei
    assert new.max_fee_wei <= cap


@given(markets, policies(), st.data())
def test_a_cancel_always_fits_over_what_the_policy_let_pay(market, policy, data):
    """Any attempt within the cap, above a few wei, can be replaced by a cancel."""
    top = policy.max_fee_cap_wei
    if top < 4:
        return
    max_fee = data.draw(st.integers(2, top))
    old = Fees(max_fee_wei=max_fee, tip_wei=data.draw(st.integers(0, max_fee)))
    assert bumped(old, market, policy, cancel=True) is not None


def test_a_bump_follows_a_market_that_ran_away():
    old = Fees(max_fee_wei=10 * GWEI, tip_wei=GWEI)
    market = FeeMarket(next_base_wei=50 * GWEI, median_tip_wei=2 * GWEI)
    assert bumped(old, market, FeePolicy()) == Fees(max_fee_wei=102 * GWEI, tip_wei=2 * GWEI)


def test_history_gives_the_next_base_and_the_median_of_tips_that_were_paid():
    reply = {
        "baseFeePerGas": ["0x1", "0x2", "0x3", "0x4"],
        "reward": [["0x0"], ["0x5"], ["0x9"]],
    }
    assert parse_fee_history(reply) == FeeMarket(next_base_wei=4, median_tip_wei=5)


@pytest.mark.parametrize("rewards", [None, [], [[]], [["0x0"]]])
def test_a_history_without_tips_has_a_median_of_zero(rewards):
    assert parse_fee_history({"baseFeePerGas": ["0x7"], "reward": rewards}).median_tip_wei == 0


@pytest.mark.parametrize(
    "bases", [None, [], "0x1", [None], ["1"], ["0x"], ["0xzz"], [7], ["-0x1"], ["0x" + "f" * 65]]
)
def test_a_history_that_is_malformed_is_refused(bases):
    """REL-F9, REL-F20."""
    with pytest.raises(TransientError):
        parse_fee_history({"baseFeePerGas": bases})


@pytest.mark.parametrize("values", [(-1, 0), (1, 2), (0, -1)])
def test_impossible_fees_are_refused(values):
    with pytest.raises(InvariantError):
        Fees(max_fee_wei=values[0], tip_wei=values[1])


@pytest.mark.parametrize(
    "bad",
    [{"tip_min_wei": -1}, {"tip_min_wei": 5 * GWEI}, {"max_fee_cap_wei": GWEI}, {"cancel_factor": 1}],
)
def test_an_impossible_policy_is_refused(bad):
    with pytest.raises(InvariantError):
        FeePolicy(**bad)
