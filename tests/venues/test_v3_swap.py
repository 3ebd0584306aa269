"""Swaps of Uniswap v3 as they are sent, and as the signer's rule reads them."""

from dataclasses import replace

import pytest

from bot.model.signing import Guard
from bot.venues.v3_swap import ROUTER, Exact, V3Swap, swap_rule

USDC, WETH, ME, ROUTER_AT = (f"0x{digit * 40}" for digit in "123a")
SWAP = V3Swap(
    exact=Exact.IN,
    token_in=USDC,
    token_out=WETH,
    pool_fee=500,
    recipient=ME,
    valid_until_s=1_700_000_000.9,
    amount_raw=3_000,
    bound_raw=2_900,
)


@pytest.mark.parametrize("exact", list(Exact))
def test_what_the_rule_looks_at_is_what_the_swap_says(exact: Exact):
    name, arguments = ROUTER.decode_input(replace(SWAP, exact=exact).data)
    rule = swap_rule(ROUTER_AT.upper().replace("0X", "0x"), exact, opens=False)
    assert (rule.target, rule.function, rule.guard) == (ROUTER_AT, name, Guard.BOUND)
    (order,) = arguments.values()
    bound = rule.most if exact is Exact.OUT else rule.least
    assert bound is not None
    assert rule.deadline is not None
    assert order[bound[1]] == SWAP.bound_raw
    assert order[rule.recipients[0][1]] == ME
    assert order[rule.deadline[1]] == 1_700_000_000  # never later than it was said to be valid
    assert order[:3] == (USDC, WETH, 500)
    assert order[5] == SWAP.amount_raw
    assert (rule.most is None) is (exact is Exact.IN)
    assert (rule.least is None) is (exact is Exact.OUT)


def test_a_rule_pins_the_tokens_that_are_known_and_notes_the_one_that_is_not():
    open_ended = swap_rule(ROUTER_AT, Exact.OUT, opens=True, token_in=USDC.upper())
    assert (open_ended.equals, open_ended.buys) == ((((0, 0), USDC),), (0, 1))
    pinned = swap_rule(ROUTER_AT, Exact.IN, opens=False, token_in=USDC, token_out=WETH)
    assert (pinned.equals, pinned.buys) == ((((0, 0), USDC), ((0, 1), WETH)), None)
