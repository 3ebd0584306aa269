"""Heads: each once, gaps listed, reorgs proved and measured (REL-R3, REL-R10)."""

from collections.abc import Callable, Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bot.chain.heads import MAX_REORG, FinalBlock, FinalityError, HeadFollower, NewHead, final_block_of
from bot.chain.reader import JsonRpcReader
from bot.chain.rpc import Node, Rpc, RpcError
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
    assert event == NewHead(block=chain.blocks[-1], skipped=range(100, 100 + gap - 1))


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
        skipped=range(first_new, 100 + longer - 1),
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
    assert event == NewHead(block=chain.blocks[-1], skipped=range(95, 97), reorg_depth=5)


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
    assert event == NewHead(block=chain.blocks[-1], skipped=range(96, 195), reorg_depth=4)


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
    assert await follower.poll() == NewHead(block=chain.blocks[2], skipped=range(1, 2))


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


class Final:
    """What the chain calls final: ``lag`` blocks behind its head."""

    def __init__(self, chain: Chain, lag: int = 10) -> None:
        self.chain, self.lag, self.fails = chain, lag, False

    async def __call__(self) -> FinalBlock | None:
        if self.fails:
            raise TransientError("no answer")
        block = self.chain.blocks[-1 - self.lag]
        return FinalBlock(number=block.number, hash=block.hash)


async def _final_noted(chain: Chain) -> HeadFollower:
    follower = HeadFollower(chain, poll_s=1, sleep=_no_sleep, final=Final(chain))
    await follower.poll()
    await follower.note_final()
    return follower


@pytest.mark.parametrize("depth", [1, 5, 10])
async def test_a_reorg_above_the_final_block_is_only_a_reorg(depth: int) -> None:
    """REL-C1. Block 89 is final, 90 to 99 are not."""
    chain = Chain()
    follower = await _final_noted(chain)
    chain.fork(depth)
    event = await follower.poll()
    assert event is not None
    assert event.reorg_depth == depth
    await follower.note_final()


@pytest.mark.parametrize("depth", [11, 15, MAX_REORG, MAX_REORG + 5])
@pytest.mark.parametrize("longer", [1, 50])
async def test_a_reorg_below_the_final_block_halts_until_a_person_releases(depth: int, longer: int) -> None:
    """REL-C6: within one poll, and a retry does not get past it."""
    chain = Chain()
    follower = await _final_noted(chain)
    chain.fork(depth, length=depth + longer)
    for _ in range(3):
        with pytest.raises(FinalityError, match=r"block 89 .* was final and has been replaced"):
            await follower.poll()
    follower.release()
    event = await follower.poll()
    assert event is not None
    assert event.block == chain.blocks[-1]


async def test_a_breach_is_seen_also_when_the_final_block_moves_on() -> None:
    chain = Chain()
    follower = await _final_noted(chain)
    chain.fork(30, length=100)
    with pytest.raises(FinalityError):
        await follower.note_final()
    with pytest.raises(FinalityError):
        await follower.poll()


async def test_the_stream_of_events_ends_at_a_breach_and_survives_a_failed_look() -> None:
    chain = Chain()
    told: list[Exception] = []
    final = Final(chain)
    final.fails = True
    follower = HeadFollower(chain, poll_s=1, sleep=_no_sleep, final=final, on_trouble=told.append)
    events = follower.events()
    await anext(events)
    chain.grow()
    await anext(events)
    assert [str(error) for error in told] == ["no answer"]
    final.fails = False
    chain.grow()
    await anext(events)
    chain.grow()
    await anext(events)
    chain.fork(20, length=25)
    with pytest.raises(FinalityError):
        await anext(events)


async def test_a_final_block_that_goes_back_is_a_node_that_lags() -> None:
    chain = Chain()
    final = Final(chain)
    follower = HeadFollower(chain, poll_s=1, final=final)
    await follower.poll()
    await follower.note_final()
    final.lag = 40
    await follower.note_final()
    chain.fork(15)
    with pytest.raises(FinalityError, match="block 89"):
        await follower.poll()


class _Tags:
    """A node that answers the finalized tag with ``answer``."""

    where = "here"

    def __init__(self, answer: Any) -> None:
        self.answer = answer

    async def read(self, method: str, params: Sequence[Any] = (), *, deadline_s: float | None = None) -> Any:
        assert (method, list(params)) == ("eth_getBlockByNumber", ["finalized", False])
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer

    request = batch = close = read


@pytest.mark.parametrize("answer", [None, RpcError(-32602, "unknown tag")])
async def test_a_chain_without_finality_has_none(answer: Any) -> None:
    node: Node = _Tags(answer)  # type: ignore[assignment]
    assert await final_block_of(node)() is None


async def test_the_final_block_of_a_node() -> None:
    node: Node = _Tags({"number": "0x5", "hash": "0x" + "AB" * 32})  # type: ignore[assignment]
    assert await final_block_of(node)() == FinalBlock(number=5, hash="0x" + "ab" * 32)


@pytest.mark.parametrize("away", [0, 1, 7, 5_000])
async def test_what_came_while_the_program_was_down_is_a_gap_and_not_passed_over(away: int) -> None:
    """I5: catch-up after downtime, of any length."""
    chain = Chain()
    known = chain.blocks[-5:]
    chain.grow(away)
    follower = HeadFollower(chain, poll_s=1, known=known)
    event = await follower.poll()
    if away == 0:
        assert event is None
        return
    assert event is not None
    assert event.gap == ((100, 98 + away) if away > 1 else None)
    assert event.reorg_depth == 0


async def test_a_reorg_while_the_program_was_down_is_measured() -> None:
    chain = Chain()
    known = chain.blocks[-8:]
    chain.fork(3, length=6)
    event = await HeadFollower(chain, poll_s=1, known=known).poll()
    assert event == NewHead(block=chain.blocks[-1], skipped=range(97, 102), reorg_depth=3)


class _Waker:
    """Wakes on demand and keeps what it was asked to wait."""

    def __init__(self, chain: Chain) -> None:
        self.chain, self.waited = chain, list[float]()

    async def wait(self, timeout_s: float) -> bool:
        self.waited.append(timeout_s)
        self.chain.grow()
        return True


async def test_a_wake_ends_the_wait_and_is_not_believed() -> None:
    chain = Chain()
    wake = _Waker(chain)
    events = HeadFollower(chain, poll_s=12, wake=wake, sleep=_never).events()
    assert [(await anext(events)).block.number for _ in range(3)] == [99, 100, 101]
    assert wake.waited == [12, 12]


async def test_wakes_are_spaced() -> None:
    """On a chain of four blocks a second, a websocket would else ask for four decisions a second."""
    chain, slept = Chain(), list[float]()

    async def sleep(seconds: float) -> None:
        slept.append(seconds)

    wake = _Waker(chain)
    events = HeadFollower(chain, poll_s=12, wake=wake, wake_gap_s=1.5, sleep=sleep).events()
    assert [(await anext(events)).block.number for _ in range(3)] == [99, 100, 101]
    assert (slept, wake.waited) == ([1.5, 1.5], [10.5, 10.5])


async def test_parents_that_were_reorganised_while_they_were_read_are_no_history() -> None:
    class Moving(Chain):
        async def block(self, number: int) -> Block:
            if number == 90 and not self._forks:
                self.fork(30)
            return await super().block(number)

    chain = Moving()
    follower = _follow(chain)
    with pytest.raises(StaleDataError, match="is not the parent of"):
        await follower.poll()
    assert (await follower.poll()) == NewHead(block=chain.blocks[-1])


async def _never(_: float) -> None:
    raise AssertionError


@pytest.mark.devnet
@pytest.mark.parametrize("depth", [1, 2, 3, 5, 8, 13, 20])
async def test_reorgs_of_a_real_node(devnet: Devnet, rpc: Rpc, depth: int) -> None:
    """REL-C1 on anvil: exact to depth 20."""
    await rpc.request("anvil_mine", ["0x19"])
    chain = await JsonRpcReader.connect(rpc, chain_id=31337)
    follower = HeadFollower(chain, poll_s=1, final=final_block_of(rpc))
    first = await follower.poll()
    assert first is not None
    # Empty blocks at the same times would be the same blocks again: the new ones pay to somebody else.
    await rpc.request("anvil_setCoinbase", ["0x" + f"{depth:02x}" * 20])
    await rpc.request("anvil_reorg", [depth, []])
    await rpc.request("anvil_mine", ["0x1"])
    event = await follower.poll()
    assert event is not None
    assert event.block == await chain.head()
    assert event.reorg_depth == depth


@pytest.mark.devnet
async def test_on_a_real_node(devnet: Devnet, rpc: Rpc) -> None:
    chain = await JsonRpcReader.connect(rpc, chain_id=31337)
    follower = HeadFollower(chain, poll_s=1)
    first = await follower.poll()
    assert first is not None
    await rpc.request("anvil_mine", ["0x4"])
    gap = await follower.poll()
    assert gap is not None
    assert gap.skipped == range(first.block.number + 1, first.block.number + 4)
    user = devnet.deployment.user
    tx_hash = await rpc.request("eth_sendTransaction", [{"from": user, "to": user}], send=True)
    while await rpc.read("eth_getTransactionReceipt", [tx_hash]) is None:
        pass  # mined beside the answer; it is lost in the reorg, so that the new blocks differ
    await follower.poll()
    await rpc.request("anvil_reorg", [1, []])
    reorg = await follower.poll()
    assert reorg is not None
    assert reorg == NewHead(block=await chain.head(), reorg_depth=1)
