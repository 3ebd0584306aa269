"""Whatever contracts answer, a position is either read whole or refused by name; never a made-up number."""

import math

import pytest
from fake_chain import BLOCK, FakeChain
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bot.errors import BotError
from bot.model.lp_position import LpPosition
from bot.quant.lp_figures import figures_of
from bot.watchers.pools import Pool
from bot.watchers.positions import V2PositionReader, V3PositionReader, V4PositionReader, read_positions
from bot.watchers.positions.staked import LpStaker, NftStaker
from bot.watchers.v4_pools import V4Pool

BASE, QUOTE, POOL, OTHER = ("0x" + digit * 40 for digit in "1234")
PAIR = Pool(
    label="v3:ETH/USDC", address=POOL, base="ETH", quote="USDC",
    base_token=BASE, quote_token=QUOTE, base_decimals=18, quote_decimals=6,
)  # fmt: skip
V4 = V4Pool(
    label="v4:ETH/USDC", manager=OTHER, state_view=POOL, base="ETH", quote="USDC",
    base_token=BASE, quote_token=QUOTE, base_decimals=18, quote_decimals=6, fee=500, tick_spacing=10,
)  # fmt: skip
READERS = {
    "v2": V2PositionReader(holder=OTHER, pool=PAIR),
    "v2 staked": V2PositionReader(holder=OTHER, pool=PAIR, staker=LpStaker(address=OTHER, pool_id=1)),
    "v3": V3PositionReader(token_id=1, pool=PAIR, manager=OTHER),
    "v3 staked": V3PositionReader(
        token_id=1, pool=PAIR, manager=OTHER, staker=NftStaker(address=OTHER, depositor=BASE)
    ),
    "v4": V4PositionReader(token_id=1, pool=V4, manager=OTHER),
}
# Answers that a right contract could give come often, so that the checks behind the first are reached too.
ADDRESSES = st.sampled_from([BASE, QUOTE, POOL, OTHER, "0x" + "0" * 40])
TYPICAL = st.sampled_from([0, 1, 6, 18, 500, 2**96, 2**128 - 1, 10**18])
KEY = st.just((BASE, QUOTE, 500, 10, "0x" + "0" * 40))


def value_of(kind: str) -> st.SearchStrategy:
    if kind == "address":
        return ADDRESSES
    if kind == "bool":
        return st.booleans()
    if kind.startswith("("):
        return KEY
    bits = int(kind.lstrip("uint"))
    low, high = (0, 2**bits - 1) if kind.startswith("u") else (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)
    return st.one_of(st.integers(low, high), TYPICAL.filter(lambda number: number <= high))


class AbsurdChain(FakeChain):
    def __init__(self, data: st.DataObject) -> None:
        super().__init__({}, code=data.draw(st.booleans()))
        self._data = data

    async def read(self, calls, *, block):
        return [
            self._data.draw(st.one_of(st.none(), *[st.tuples(*map(value_of, call.outputs))] * 6))
            for call in calls
        ]


@pytest.mark.parametrize("name", READERS)
@given(data=st.data())
@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
async def test_absurd_answers_are_refused_or_consistent(name: str, data: st.DataObject) -> None:
    (found,) = await read_positions(AbsurdChain(data), [READERS[name]], block=BLOCK)
    if not isinstance(found, LpPosition):
        assert isinstance(found, BotError)
        assert str(found)
        assert "\n" not in str(found)
        return
    assert 0 < found.spot < math.inf
    assert 0 <= found.value < math.inf
    assert found.fees_units >= 0 or found.why_no_fees
    figures_of(found)


@pytest.mark.parametrize("name", READERS)
async def test_no_answer_at_all_is_no_position(name: str) -> None:
    for code in (True, False):
        (found,) = await read_positions(FakeChain({}, code=code), [READERS[name]], block=BLOCK)
        assert isinstance(found, BotError)
