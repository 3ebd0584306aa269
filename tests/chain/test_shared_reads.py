"""Callers of one turn share requests, answers and nothing else."""

import asyncio
from collections.abc import Iterator, Sequence

import pytest

from bot.chain.abi import FixedCall
from bot.chain.facts import Facts
from bot.chain.multicall import chunks
from bot.chain.shared_reads import SharedReads
from bot.errors import DisagreementError, InvariantError, TransientError
from bot.model.market import Block
from bot.ports import Call


def _block(number: int, *, branch: str = "a", parent: str = "a") -> Block:
    return Block(
        chain_id=1,
        number=number,
        hash=f"{branch}{number}",
        parent_hash=f"{parent}{number - 1}",
        timestamp_s=number,
    )


def _call(number: int) -> Call:
    return Call("0x" + "11" * 20, bytes([number]), ("uint256",))


class Fetch:
    """Answers a call with its own calldata; what is in ``failing`` spoils the calls behind it, too."""

    def __init__(self) -> None:
        self.requests: list[list[int]] = []
        self.failing: set[int] = set()
        self.broken: set[int] = set()
        self.disputed: set[int] = set()
        self.gate = asyncio.Event()
        self.gate.set()
        self.cancelled = 0

    async def __call__(self, calls: Sequence[Call], block: Block) -> list[bytes | None]:
        numbers = [call.data[0] for call in calls]
        self.requests.append(numbers)
        try:
            await self.gate.wait()
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        if self.broken & set(numbers):
            raise TransientError("no answer")
        if self.disputed & set(numbers):
            raise DisagreementError("one says so, one says no")
        spoiled = next((index for index, number in enumerate(numbers) if number in self.failing), 99)
        return [None if index >= spoiled else call.data for index, call in enumerate(calls)]


@pytest.fixture
def fetch() -> Fetch:
    return Fetch()


@pytest.fixture
def shared(fetch: Fetch) -> SharedReads:
    return SharedReads(fetch, chunks)


async def test_one_turn_is_one_request_and_equal_calls_are_asked_once(
    fetch: Fetch, shared: SharedReads
) -> None:
    block = _block(1)
    first, second = await asyncio.gather(
        shared.ask([_call(1), _call(2)], block), shared.ask([_call(2), _call(3), _call(2)], block)
    )
    assert (first, second) == ([b"\1", b"\2"], [b"\2", b"\3", b"\2"])
    assert fetch.requests == [[1, 2, 3]]
    assert await shared.ask([_call(1)], block) == [b"\1"], "the next turn asks anew"
    assert len(fetch.requests) == 2


async def test_blocks_are_never_mixed(fetch: Fetch, shared: SharedReads) -> None:
    await asyncio.gather(shared.ask([_call(1)], _block(1)), shared.ask([_call(1)], _block(1, branch="b")))
    assert fetch.requests == [[1], [1]]


async def test_many_calls_are_several_requests_at_once(fetch: Fetch) -> None:
    shared = SharedReads(fetch, lambda calls: (calls[at : at + 2] for at in range(0, len(calls), 2)))
    answers = await shared.ask([_call(number) for number in range(5)], _block(1))
    assert answers == [bytes([number]) for number in range(5)]
    assert fetch.requests == [[0, 1], [2, 3], [4]]


async def test_calls_that_cannot_be_cut_into_requests_fail_and_do_not_hang(fetch: Fetch) -> None:
    def refuse(calls: Sequence[Call]) -> Iterator[Sequence[Call]]:
        raise InvariantError("no request holds this call")

    shared = SharedReads(fetch, refuse)
    with pytest.raises(InvariantError, match="no request holds"):
        await shared.ask([_call(1)], _block(1))


async def test_a_call_that_fails_beside_others_is_asked_again_alone(
    fetch: Fetch, shared: SharedReads
) -> None:
    """The first caller's call burns all gas, and so the second caller's fails: not when it is asked alone."""
    fetch.failing = {1}
    first, second = await asyncio.gather(shared.ask([_call(1)], _block(1)), shared.ask([_call(2)], _block(1)))
    assert first == [None]
    assert second == [b"\2"]
    assert fetch.requests == [[1, 2], [1], [2]]
    assert await shared.ask([_call(1)], _block(1)) == [None]
    assert len(fetch.requests) == 4, "a call that failed alone is not asked twice"


async def test_a_disagreement_reaches_only_those_who_asked_for_it(fetch: Fetch, shared: SharedReads) -> None:
    fetch.disputed = {1}
    first, second = await asyncio.gather(
        shared.ask([_call(1), _call(3)], _block(1)), shared.ask([_call(2)], _block(1)), return_exceptions=True
    )
    assert isinstance(first, DisagreementError)
    assert second == [b"\2"]
    assert sorted(fetch.requests) == [[1, 3], [1, 3, 2], [2]]
    with pytest.raises(DisagreementError):
        await shared.ask([_call(1)], _block(1))
    assert len(fetch.requests) == 4, "alone it is not asked twice"


async def test_a_broken_request_reaches_only_those_who_are_in_it(fetch: Fetch) -> None:
    shared = SharedReads(fetch, lambda calls: (calls[at : at + 1] for at in range(len(calls))))
    fetch.broken = {1}
    first, second = await asyncio.gather(
        shared.ask([_call(1), _call(2)], _block(1)),
        shared.ask([_call(2), _call(3)], _block(1)),
        return_exceptions=True,
    )
    assert isinstance(first, TransientError)
    assert second == [b"\2", b"\3"]


async def test_a_request_that_nobody_waits_for_is_cancelled(fetch: Fetch, shared: SharedReads) -> None:
    fetch.gate.clear()
    tasks = [asyncio.create_task(shared.ask([_call(1)], _block(1))) for _ in range(2)]
    for _ in range(5):
        await asyncio.sleep(0)
    assert fetch.requests == [[1]]
    tasks[0].cancel()
    await asyncio.gather(tasks[0], return_exceptions=True)
    assert fetch.cancelled == 0, "the other caller still waits"
    tasks[1].cancel()
    await asyncio.gather(tasks[1], return_exceptions=True)
    await asyncio.sleep(0)
    assert fetch.cancelled == 1


def test_facts_hold_along_a_chain_that_is_seen_to_be_one() -> None:
    facts, call = Facts(), FixedCall("0x" + "11" * 20, b"\1", ("address",))
    facts.go_to(_block(5))
    assert facts.get(call) is None
    facts.keep(call, ("token",), block=_block(5))
    facts.go_to(_block(5))
    facts.go_to(_block(6))
    assert facts.get(call) == ("token",)


@pytest.mark.parametrize(
    "then",
    [_block(6, branch="b"), _block(7, parent="b"), _block(8), _block(2)],
    ids=["sibling", "child of another", "gap", "past"],
)
def test_facts_are_asked_again_after_a_reorg_a_gap_or_for_the_past(then: Block) -> None:
    facts, call = Facts(), FixedCall("0x" + "11" * 20, b"\1", ("address",))
    facts.go_to(_block(6))
    facts.keep(call, ("token",), block=_block(6))
    facts.go_to(then)
    assert facts.get(call) is None


def test_only_what_can_never_change_and_was_read_is_a_fact() -> None:
    facts, fixed = Facts(), FixedCall("0x" + "11" * 20, b"\1", ("address",))
    facts.go_to(_block(6))
    facts.keep(_call(1), (1,), block=_block(6))
    facts.keep(fixed, None, block=_block(6))
    facts.keep(fixed, ("old",), block=_block(5))
    assert facts.get(_call(1)) is None
    assert facts.get(fixed) is None
