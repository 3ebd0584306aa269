"""The fast decoder gives what eth_abi gives and refuses what it refuses."""

import pytest
from eth_abi.abi import decode, encode
from eth_abi.exceptions import DecodingError, EncodingError
from hypothesis import given
from hypothesis import strategies as st

from bot.chain.words import decode_words, encode_words, layout_of

KINDS = ["uint8", "uint112", "uint160", "uint256", "int24", "int56", "int128", "int256", "address", "bool"]
KINDS += ["bytes32", "bytes4", "(uint112,bool)", "(address,(int24,bytes4))", "uint64[3]", "(bool,uint8)[2]"]
KINDS += ["int56[]", "uint160[]", "bool[]", "(uint8,bool)[]", "uint64[2][]"]

_word = st.one_of(
    st.binary(min_size=32, max_size=32),
    st.integers(0, 300).map(lambda value: value.to_bytes(32, "big")),
    st.integers(-300, 300).map(lambda value: value.to_bytes(32, "big", signed=True)),
    st.integers(0, 12).map(lambda words: (32 * words).to_bytes(32, "big")),  # where a list may lie
    st.binary(min_size=20, max_size=20).map(lambda raw: bytes(12) + raw),
    st.sampled_from(KINDS[:8]).flatmap(
        lambda kind: st.sampled_from([0, 1, -1]).map(
            lambda off: ((1 << (int(kind.lstrip("uint")) - 1)) + off).to_bytes(32, "big")
        )
    ),
)


@given(
    st.lists(st.sampled_from(KINDS), min_size=1, max_size=5), st.lists(_word, max_size=16), st.integers(0, 31)
)
def test_same_as_eth_abi(kinds: list[str], words: list[bytes], extra: int) -> None:
    data = b"".join(words) + bytes(extra)
    layout = layout_of(tuple(kinds))
    if layout is None:
        assert any(kind.endswith("[]") for kind in kinds)
        assert any(kind[-1] in ")]" and kind[-2:] != "[]" for kind in kinds), "a list beside a tuple or array"
        return
    try:
        expected = decode(kinds, data)
    except (DecodingError, OverflowError):
        expected = None
    found = decode_words(layout, data)
    assert found == expected
    assert found is None or [type(item) for item in found] == [type(item) for item in expected]


def test_a_list_is_refused_where_it_ends_early_or_promises_more_than_there_is() -> None:
    layout = layout_of(("int56[]", "uint160[]"))
    assert layout is not None
    whole = encode(["int56[]", "uint160[]"], [[-5, 7], [1, 2, 3]])
    assert decode_words(layout, whole) == ((-5, 7), (1, 2, 3))
    assert decode_words(layout, whole[:-1]) is None
    assert decode_words(layout, (1 << 255).to_bytes(32, "big") + whole[32:]) is None
    assert decode_words(layout, whole[:64] + (1 << 255).to_bytes(32, "big") + whole[96:]) is None


@pytest.mark.parametrize(
    "types",
    [
        (),
        ("bytes",),
        ("uint256", "string"),
        ("uint256[][]",),
        ("(uint256[],bool)",),
        ("(uint256,bytes)",),
        ("uint7",),
        ("bytes33",),
    ],
)
def test_anything_else_is_left_to_eth_abi(types: tuple[str, ...]) -> None:
    assert layout_of(types) is None


_value = st.one_of(
    st.integers(-(1 << 257), 1 << 257),
    st.integers(-300, 300),
    st.booleans(),
    st.binary(max_size=33),
    st.binary(min_size=20, max_size=20).map(lambda raw: "0x" + raw.hex()),
    st.text(max_size=4),
    st.none(),
)


@given(st.lists(st.tuples(st.sampled_from([*KINDS[:11], "string", "uint7"]), _value), max_size=4))
def test_arguments_are_encoded_as_eth_abi_does_or_left_to_it(pairs: list[tuple[str, object]]) -> None:
    kinds, values = [kind for kind, _ in pairs], [value for _, value in pairs]
    found = encode_words(kinds, values)
    if found is None:
        return
    assert found == encode(kinds, values)


@pytest.mark.parametrize(
    ("kind", "value"),
    [("uint8", 256), ("uint8", -1), ("int24", 1 << 23), ("bool", 1), ("uint256", True), ("bytes32", b"x"),
     ("address", "0x12"), ("address", 5), ("uint256", 1.0)],
)  # fmt: skip
def test_a_value_that_does_not_fit_is_never_written(kind: str, value: object) -> None:
    assert encode_words([kind], [value]) is None
    if (kind, value) != ("bytes32", b"x"):  # which eth_abi pads
        with pytest.raises(EncodingError):
            encode([kind], [value])


def test_the_number_of_arguments_must_be_that_of_the_types() -> None:
    assert encode_words(["uint8"], []) is None
    assert encode_words([], []) == b""
