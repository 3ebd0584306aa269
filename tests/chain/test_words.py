"""The fast decoder gives what eth_abi gives and refuses what it refuses."""

import pytest
from eth_abi.abi import decode
from eth_abi.exceptions import DecodingError
from hypothesis import given
from hypothesis import strategies as st

from bot.chain.words import decode_words, word_readers

KINDS = ["uint8", "uint112", "uint160", "uint256", "int24", "int56", "int128", "int256", "address", "bool"]

_word = st.one_of(
    st.binary(min_size=32, max_size=32),
    st.integers(0, 300).map(lambda value: value.to_bytes(32, "big")),
    st.integers(-300, 300).map(lambda value: value.to_bytes(32, "big", signed=True)),
    st.binary(min_size=20, max_size=20).map(lambda raw: bytes(12) + raw),
    st.sampled_from(KINDS[:8]).flatmap(
        lambda kind: st.sampled_from([0, 1, -1]).map(
            lambda off: ((1 << (int(kind.lstrip("uint")) - 1)) + off).to_bytes(32, "big")
        )
    ),
)


@given(
    st.lists(st.sampled_from(KINDS), min_size=1, max_size=5), st.lists(_word, max_size=6), st.integers(0, 31)
)
def test_same_as_eth_abi(kinds: list[str], words: list[bytes], extra: int) -> None:
    data = b"".join(words) + bytes(extra)
    readers = word_readers(tuple(kinds))
    assert readers is not None
    try:
        expected = decode(kinds, data)
    except DecodingError:
        expected = None
    found = decode_words(readers, data)
    assert found == expected
    assert found is None or [type(item) for item in found] == [type(item) for item in expected]


@pytest.mark.parametrize("types", [(), ("bytes32",), ("uint256", "string"), ("uint256[]",), ("(uint256)",)])
def test_anything_else_is_left_to_eth_abi(types: tuple[str, ...]) -> None:
    assert word_readers(types) is None
