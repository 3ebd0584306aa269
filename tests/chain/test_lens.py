"""Lenses on a real node and on nodes that cannot run them: what a node can do is found out once."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.chain.assembler import assemble
from bot.chain.ladder import TickSource, lens_ticks
from bot.chain.lens import RESERVES, TICKS, Lens, Lenses, Way, code_of, creation_of
from bot.chain.node_errors import RpcError
from bot.errors import InvariantError, TransientError
from bot.model.market import Block

BLOCK = Block(chain_id=1, number=7, hash="0x07", parent_hash="0x06", timestamp_s=0)
POOL = "0x" + "33" * 20
SOURCE = TickSource(target=POOL, bitmap=b"\1\2\3\4", tick=b"\5\6\7\x08")
REFUSED = RpcError(-32602, "too many arguments")
LIMITED = RpcError(-32005, "too many requests")


class Node:
    """Answers each call with the next of what it is given, an error or bytes, and keeps what was asked."""

    def __init__(self, *answers: bytes | Exception) -> None:
        self.answers = list(answers)
        self.asked: list[str] = []

    async def __call__(
        self, request: dict[str, Any], block: Block, overrides: dict[str, Any] | None = None
    ) -> bytes:
        self.asked.append("override" if overrides else "deployless")
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer


async def test_an_override_is_used_where_it_works() -> None:
    node = Node(bytes(33), b"one", b"two")
    lenses = Lenses(node)
    assert await lenses.run(RESERVES, b"", block=BLOCK) == b"one"
    assert await lenses.run(TICKS, b"", block=BLOCK) == b"two"
    assert node.asked == ["override"] * 3
    assert lenses.way is Way.OVERRIDE


@pytest.mark.parametrize("first", [REFUSED, b"", bytes(32)], ids=["refused", "ignored", "other answer"])
async def test_deployless_where_overrides_are_refused_or_ignored(first: bytes | Exception) -> None:
    node = Node(first, bytes(33), b"one")
    lenses = Lenses(node)
    assert await lenses.run(RESERVES, b"", block=BLOCK) == b"one"
    assert lenses.way is Way.DEPLOYLESS
    assert await lenses.run(RESERVES, bytes(50_000), block=BLOCK) is None, "longer than creation code may be"
    assert node.asked == ["override", "deployless", "deployless"]


async def test_a_node_that_can_do_neither_is_asked_once() -> None:
    node = Node(REFUSED, REFUSED)
    lenses = Lenses(node)
    for _ in range(3):
        assert await lenses.run(RESERVES, b"", block=BLOCK) is None
    assert node.asked == ["override", "deployless"]


async def test_a_failure_in_transit_decides_nothing() -> None:
    node = Node(TransientError("no answer"), bytes(33), b"one")
    lenses = Lenses(node)
    with pytest.raises(TransientError, match="no answer"):
        await lenses.run(RESERVES, b"", block=BLOCK)
    assert lenses.way is None
    assert await lenses.run(RESERVES, b"", block=BLOCK) == b"one"


async def test_a_rate_limit_says_nothing_of_lenses() -> None:
    node = Node(LIMITED, bytes(33), b"one")
    lenses = Lenses(node)
    with pytest.raises(RpcError, match="too many"):
        await lenses.run(RESERVES, b"", block=BLOCK)
    assert await lenses.run(RESERVES, b"", block=BLOCK) == b"one"


def test_both_forms_hold_the_same_program() -> None:
    for lens in (RESERVES, TICKS):
        assert len(creation_of(lens)) >= 256, "so that its length takes two bytes where it is pushed"
        assert creation_of(lens) != code_of(lens)


def test_assembler() -> None:
    assert assemble("0 0x1234 ADD ; a comment ADD") == bytes.fromhex("6000" + "611234" + "01")
    assert assemble("start: @start JUMP @end end:") == bytes.fromhex("5b" + "610000" + "56" + "610008" + "5b")
    assert assemble("DUP1 DUP16 SWAP1 SWAP16") == bytes.fromhex("808f909f")
    with pytest.raises(InvariantError, match="'PUSH9x' is no instruction"):
        assemble("PUSH9x")


class LensNode:
    """A reader whose lens answers from a table of initialised ticks; refuses more words than ``limit``."""

    def __init__(
        self, ticks: dict[int, tuple[int, int]], *, limit: int = 10**9, answer: bytes | None = None
    ) -> None:
        self.ticks = ticks
        self.limit = limit
        self.answer = answer
        self.asked: list[int] = []

    async def run_lens(self, lens: Lens, data: bytes, *, block: Block) -> bytes | None:
        start, stop, spacing = (int.from_bytes(data[at : at + 32], "big", signed=True) for at in (32, 64, 96))
        self.asked.append(stop - start)
        if stop - start > self.limit:
            return None
        if self.answer is not None:
            return self.answer
        out = (1).to_bytes(32, "big")
        for tick, (net, gross) in sorted(self.ticks.items()):
            if start <= (tick // spacing) >> 8 < stop:
                out += (((tick & 0xFFFFFF) << 128) | gross).to_bytes(32, "big")
                out += net.to_bytes(32, "big", signed=True)
        return out


ticks = st.dictionaries(
    st.integers(-88_727, 88_727).map(lambda number: number * 10),
    st.tuples(st.integers(-(1 << 127), (1 << 127) - 1), st.integers(0, (1 << 128) - 1)),
    max_size=8,
)
WORDS = range(-347, 347)


@given(ticks, st.sampled_from([10**9, 400, 180]))
async def test_ticks_are_read_whole_or_in_halves(table: dict[int, tuple[int, int]], limit: int) -> None:
    node = LensNode(table, limit=limit)
    found = await lens_ticks(node, SOURCE, words=WORDS, tick_spacing=10, block=BLOCK)  # type: ignore[arg-type]
    assert found == [(tick, *values) for tick, values in sorted(table.items())]


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        bytes(32),
        (2).to_bytes(32, "big"),
        (1).to_bytes(32, "big") + bytes(63),
        bytes(31) + b"\1" + bytes(32),
    ],
)
async def test_a_reply_that_is_not_the_lens_is_no_ladder(answer: bytes) -> None:
    node = LensNode({}, answer=answer)
    assert await lens_ticks(node, SOURCE, words=WORDS, tick_spacing=10, block=BLOCK) is None  # type: ignore[arg-type]


async def test_a_node_that_refuses_small_parts_too_is_given_up() -> None:
    node = LensNode({}, limit=0)
    assert await lens_ticks(node, SOURCE, words=WORDS, tick_spacing=10, block=BLOCK) is None  # type: ignore[arg-type]
    assert len(node.asked) < 6


def test_both_calls_of_a_source_are_equally_long() -> None:
    with pytest.raises(InvariantError, match="equally long"):
        TickSource(target=POOL, bitmap=b"1234", tick=b"12345")
    with pytest.raises(InvariantError, match="equally long"):
        TickSource(target=POOL, bitmap=bytes(65), tick=bytes(65))
