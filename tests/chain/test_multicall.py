"""Our aggregate3 encoding against eth_abi, and replies that are not what they should be."""

import contextlib

import pytest
from eth_abi.abi import decode, encode
from hypothesis import given
from hypothesis import strategies as st

from bot.chain.abi import Abi
from bot.chain.multicall import (
    MAX_CALL_BYTES,
    MAX_CALLS,
    SELECTOR,
    chunks,
    decode_aggregate3,
    encode_aggregate3,
)
from bot.errors import InvariantError, TransientError
from bot.ports import Call

ADDRESS = "0x" + "ab" * 20

addresses = st.binary(min_size=20, max_size=20).map(lambda raw: "0x" + raw.hex())
calls = st.lists(st.builds(Call, addresses, st.binary(max_size=200), st.just(("uint256",))), max_size=12)
results = st.lists(st.tuples(st.booleans(), st.binary(max_size=200)), max_size=12)


def _reply(items: list[tuple[bool, bytes]]) -> bytes:
    return encode(["(bool,bytes)[]"], [items])


@given(calls)
def test_encoding_is_byte_equal_to_eth_abi(items: list[Call]) -> None:
    rows = [(call.target, True, call.data) for call in items]
    assert encode_aggregate3(items) == Abi.load("Multicall3").encode("aggregate3", rows)
    assert encode_aggregate3(items)[:4] == SELECTOR


@given(results)
def test_decoding_agrees_with_eth_abi(items: list[tuple[bool, bytes]]) -> None:
    (expected,) = decode(["(bool,bytes)[]"], _reply(items))
    found = decode_aggregate3(_reply(items), count=len(items))
    assert found == [data if success else None for success, data in expected]


@given(results.filter(bool), st.data())
def test_a_reply_that_is_cut_or_miscounted_is_refused(items: list, data: st.DataObject) -> None:
    whole = _reply(items)
    with pytest.raises(TransientError):
        decode_aggregate3(whole, count=len(items) + 1)
    padding = -len(items[-1][1]) % 32  # zeros after the last result carry nothing
    cut = data.draw(st.integers(0, len(whole) - padding - 1))
    try:
        found = decode_aggregate3(whole[:cut], count=len(items))
    except TransientError:
        return
    assert found[-1] is None, "only the bytes of a failed call are not looked at"


@given(st.binary(max_size=400), st.integers(0, 5))
def test_noise_never_breaks_out(noise: bytes, count: int) -> None:
    with contextlib.suppress(TransientError):
        assert len(decode_aggregate3(noise, count=count)) == count


def test_success_must_be_a_bool() -> None:
    reply = bytearray(_reply([(True, b"")]))
    reply[32 * 3 + 31] = 2
    with pytest.raises(TransientError, match="malformed"):
        decode_aggregate3(bytes(reply), count=1)


@pytest.mark.parametrize("target", ["", "0x12", "vitalik.eth", ADDRESS + "00"])
def test_a_target_that_is_no_address_is_our_mistake(target: str) -> None:
    with pytest.raises(InvariantError, match="must be an address"):
        encode_aggregate3([Call(target, b"", ())])


@given(st.lists(st.integers(0, 40_000), max_size=500))
def test_chunks_keep_order_and_limits(sizes: list[int]) -> None:
    items = [Call(ADDRESS, bytes(size), (str(index),)) for index, size in enumerate(sizes)]
    parts = list(chunks(items))
    assert [call for part in parts for call in part] == items
    for part in parts:
        assert 1 <= len(part) <= MAX_CALLS
        assert len(part) == 1 or sum(len(call.data) for call in part) <= MAX_CALL_BYTES
