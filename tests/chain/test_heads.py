"""Heads: each once, gaps listed, reorgs proved and measured (REL-R3, REL-R10)."""

from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bot.chain.heads import MAX_REORG, HeadFollower, NewHead
from bot.chain.reader import JsonRpcReader
from bot.chain.rpc import Rpc
from bot.devnet.node import Devnet
from bot.errors import ConfigError, StaleDataError, TransientError
from bot.model.market import Block


class Chain:
    """A chain of headers that can grow, fork and lag."""

    def __init__(self, length: int = 100) -> None:
        self._all: dict[str, Block] = {}
        self._forks = 0
        self.blocks: list[Block] = []
        self.lag = 0
        self.fails = 0
        self.grow(length)

    def grow(self, count: int = 1) -> None:
        for _ in range(count):
            number = len(self.blocks)
            parent = self.blocks[-1].hash if self.blocks else "0x" + "00" * 32
            block = Block(
                chain_id=1,
                number=number,
                hash=f"0x{self._forks:032x}{number:032x}",
                parent_hash=parent,
                timestamp_s=number,
            )
            self._all[block.hash] = block
            self.blocks.append(block)

    def fork(self, depth: int, *, length: int | None = None) -> None:
        """Replace the last ``depth`` blocks by ``length`` (default as many) other ones."""
        self._forks += 1
        del self.blocks[len(self.blocks) - depth :]
        self.grow(depth if length is None else length)

    async def head(self) -> Block:
        if self.fails:
            self.fails -= 1
            raise TransientError("no answer")
        return self.blocks[-1 - self.lag]

    async def block(self, number: int) -> Block:
        if number >= len(self.blocks):
            raise StaleDataError(f"no block {number}")
        return self.blocks[number]

    async def block_by_hash(self, block_hash: str) -> Block | None:
        return self._all.get(block_hash)


async def _no_sleep(_: float) -> None:
    return None


def _follow(chain: Chain) -> HeadFollower:
    return HeadFollower(chain, poll_s=1, sleep=_no_sleep)


async def test_each_head_once() -> None:
    chain = Chain()
    follower = _follow(chain)
    assert await follower.poll() == NewHead(block=chain.blocks[-1])
    assert await follower.poll() is None
    chain.grow()
    assert await follower.poll() == NewHead(block=chain.blocks[-1])


@pytest.mark.parametrize("gap", [2, 5, MAX_REORG, MAX_REORG + 1, 300])
async def test_blocks_between_two_polls_are_listed(gap: int) -> None:
    chain = Chain()
    follower = _follow(chain)
    await follower.poll()
    chain.grow(gap)
    event = await follower.poll()
    assert event == NewHead(block=chain.blocks[-1], skipped=tuple(range(100, 100 + gap - 1)))


@pytest.mark.parametrize("depth", [1, 2, 5, MAX_REORG])
@pytest.mark.parametrize("longer", [0, 1, 3])
async def test_a_reorg_is_measured_exactly(depth: int, longer: int) -> None:
    """Also one of blocks that were there before the first poll."""
    chain = Chain()
    follower = _follow(chain)
    await follower.poll()
    chain.fork(depth, length=depth + longer)
    event = await follower.poll()
    first_new = 100 - depth
    assert event == NewHead(
        block=chain.blocks[-1],
        skipped=tuple(range(first_new, 100 + longer - 1)),
        reorg_depth=depth,
    )
    chain.grow()
    assert await follower.poll() == NewHead(block=chain.blocks[-1])


async def test_a_reorg_to_a_shorter_chain_is_proved_by_its_parents() -> None:
    chain = Chain()
    follower = _follow(chain)
    await follower.poll()
    chain.fork(5, length=3)
    event = await follower.poll()
    assert event == NewHead(block=chain.blocks[-1], skipped=(95, 96), reorg_depth=5)


async def test_a_reorg_after_a_long_pause_is_measured_too() -> None:
    chain = Chain()
    follower = _follow(chain)
    await follower.poll()
    chain.grow(200)
    await follower.poll()
    chain.fork(3)
    event = await follower.poll()
    assert event is not None
    assert event.reorg_depth == 3


async def test_a_reorg_during_a_long_pause_is_measured_too() -> None:
    chain = Chain()
    follower = _follow(chain)
    await follower.poll()
    chain.fork(4, length=100)
    event = await follower.poll()
    assert event == NewHead(block=chain.blocks[-1], skipped=tuple(range(96, 195)), reorg_depth=4)


async def test_a_deeper_reorg_is_said_to_be_one() -> None:
    chain = Chain()
    follower = _follow(chain)
    await follower.poll()
    chain.fork(MAX_REORG + 5, length=MAX_REORG + 6)
    event = await follower.poll()
    assert event is not None
    assert event.reorg_depth == MAX_REORG + 1
    assert await follower.poll() is None
    chain.grow()
    assert await follower.poll() == NewHead(block=chain.blocks[-1])


@pytest.mark.parametrize("lag", [1, 5, MAX_REORG])
async def test_a_node_that_lags_does_not_turn_the_head_back(lag: int) -> None:
    chain = Chain()
    follower = _follow(chain)
    await follower.poll()
    chain.lag = lag
    assert await follower.poll() is None
    chain.lag = 0
    chain.grow()
    assert await follower.poll() == NewHead(block=chain.blocks[-1])


async def test_a_node_far_behind_or_elsewhere_is_refused() -> None:
    chain = Chain()
    follower = _follow(chain)
    await follower.poll()
    chain.lag = 70
    with pytest.raises(StaleDataError, match="head went back from 99 to 29"):
        await follower.poll()
    chain.lag = 0
    chain.grow()
    assert await follower.poll() == NewHead(block=chain.blocks[-1])


async def test_a_head_whose_parent_is_not_to_be_had_is_no_head() -> None:
    chain = Chain()
    follower = _follow(chain)
    await follower.poll()
    chain.fork(3, length=4)
    del chain._all[chain.blocks[-2].hash]
    with pytest.raises(StaleDataError, match="is not to be had"):
        await follower.poll()


async def test_a_short_chain_from_its_first_block_on() -> None:
    chain = Chain(1)
    follower = _follow(chain)
    assert await follower.poll() == NewHead(block=chain.blocks[0])
    chain.grow(2)
    assert await follower.poll() == NewHead(block=chain.blocks[2], skipped=(1,))


async def test_failed_polls_are_told_and_the_stream_goes_on() -> None:
    chain = Chain()
    told: list[Exception] = []
    slept: list[float] = []

    async def sleep(seconds: float) -> None:
        slept.append(seconds)
        chain.grow()

    chain.fails = 2
    follower = HeadFollower(chain, poll_s=7, on_trouble=told.append, sleep=sleep)
    found = []
    async for block in follower.heads():
        found.append(block.number)
        if len(found) == 3:
            break
    assert found == [101, 102, 103]
    assert [str(error) for error in told] == ["no answer"] * 2
    assert slept == [7] * 4


@pytest.mark.parametrize("poll_s", [0.0, -1.0, float("nan")])
def test_poll_interval_must_be_positive(poll_s: float) -> None:
    with pytest.raises(ConfigError, match="poll interval"):
        HeadFollower(Chain(1), poll_s=poll_s)


_moves = st.lists(
    st.one_of(
        st.tuples(st.just("grow"), st.integers(1, 30)),
        st.tuples(st.just("fork"), st.integers(1, 12)),
        st.tuples(st.just("lag"), st.integers(0, 15)),
    ),
    max_size=25,
)


@given(_moves)
@settings(max_examples=60, deadline=None)
async def test_no_height_is_lost_and_none_reported_twice_on_one_chain(moves: list[tuple[str, int]]) -> None:
    """REL I5: reported and listed heights cover the chain; what a reorg replaced is listed anew."""
    chain = Chain(60)
    follower = _follow(chain)
    view: dict[int, str] = {}
    start = len(chain.blocks) - 1
    actions: dict[str, Callable[[int], None]] = {
        "grow": chain.grow,
        "fork": lambda depth: chain.fork(depth, length=depth + 1),
    }
    for kind, size in [("grow", 1), *moves, ("lag", 0), ("grow", 1)]:
        chain.lag = size if kind == "lag" else 0
        if kind != "lag":
            actions[kind](size)
        event = await follower.poll()
        if event is None:
            continue
        for height in [height for height in view if height > event.block.number]:
            del view[height]
        for height in event.skipped:
            view[height] = chain.blocks[height].hash
        view[event.block.number] = event.block.hash
    covered = range(start + 1, len(chain.blocks))
    assert set(covered) <= view.keys()
    assert all(view[height] == chain.blocks[height].hash for height in covered)


@pytest.mark.devnet
async def test_on_a_real_node(devnet: Devnet, rpc: Rpc) -> None:
    chain = await JsonRpcReader.connect(rpc, chain_id=31337)
    follower = HeadFollower(chain, poll_s=1)
    first = await follower.poll()
    assert first is not None
    await rpc.request("anvil_mine", ["0x4"])
    gap = await follower.poll()
    assert gap is not None
    assert gap.skipped == tuple(range(first.block.number + 1, first.block.number + 4))
    user = devnet.deployment.user
    tx_hash = await rpc.request("eth_sendTransaction", [{"from": user, "to": user}], send=True)
    while await rpc.read("eth_getTransactionReceipt", [tx_hash]) is None:
        pass  # mined beside the answer; it is lost in the reorg, so that the new blocks differ
    await follower.poll()
    await rpc.request("anvil_reorg", [1, []])
    reorg = await follower.poll()
    assert reorg is not None
    assert reorg == NewHead(block=await chain.head(), reorg_depth=1)
