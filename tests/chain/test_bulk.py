"""One call at many contracts: every path gives the same numbers and the same unknowns as calls one by one."""

import numpy as np
import pytest
from eth_abi.abi import decode, encode
from eth_abi.exceptions import DecodingError
from hypothesis import given
from hypothesis import strategies as st

from bot.chain.abi import Abi
from bot.chain.bulk import (
    GET_RESERVES,
    LENS_PAYS_FROM,
    RESERVES_TYPES,
    WordTable,
    asks_reserves,
    read_words,
    requests,
    unpack_aggregate3,
    unpack_reserves,
)
from bot.chain.lens import Lenses, Way
from bot.chain.reader import JsonRpcReader
from bot.chain.rpc import Rpc
from bot.devnet.deployment import CHAIN_ID
from bot.devnet.node import Devnet
from bot.errors import InvariantError, TransientError
from bot.ports import Call

EOA = "0x00000000000000000000000000000000000000aa"
PAIR = Abi.load("UniswapV2Pair")
REVERTS, SHORT, DIRTY, BURNS = (
    f"0x00000000000000000000000000000000000000{digits}" for digits in ("b1", "b2", "b3", "b4")
)
CODES = {
    REVERTS: "0x60006000fd",  # REVERT(0, 0)
    SHORT: "0x60406000f3",  # RETURN of 64 bytes, all zero
    DIRTY: "0x7f" + "ff" * 32 + "60005260606000f3",  # MSTORE(0, 2^256 - 1), RETURN of 96 bytes
}
BURNER = "0x5b600056"  # JUMPDEST PUSH1 0 JUMP: burns all the gas it gets

words = st.one_of(
    st.integers(0, (1 << 256) - 1),
    st.sampled_from([0, 1, (1 << 112) - 1, 1 << 112, (1 << 64) - 1, 1 << 64, (1 << 32) - 1, 1 << 32]),
    st.sampled_from(
        [(1 << 256) - 1, (1 << 256) - (1 << 23), (1 << 256) - (1 << 23) - 1, (1 << 23) - 1, 1 << 23]
    ),
    st.integers(0, (1 << 112) - 1),
)
kinds = st.sampled_from(
    ["uint8", "uint32", "uint112", "uint128", "uint256", "int24", "int128", "int256", "bool", "address"]
)


@pytest.fixture
async def chain(devnet: Devnet, rpc: Rpc) -> JsonRpcReader:
    for address, code in CODES.items():
        await rpc.request("anvil_setCode", [address, code])
    await rpc.request("evm_mine")
    return await JsonRpcReader.connect(rpc, chain_id=CHAIN_ID, multicall3=devnet.deployment.multicall3)


async def _every_way(chain: JsonRpcReader, targets: list[str]) -> list[WordTable]:
    block = await chain.head()
    tables = [await read_words(chain, GET_RESERVES, targets, types=RESERVES_TYPES, block=block, lens=False)]
    for way in (Way.OVERRIDE, Way.DEPLOYLESS, Way.NONE):
        chain._lenses = Lenses(chain.eth_call, way=way)
        tables.append(
            await read_words(chain, GET_RESERVES, targets, types=RESERVES_TYPES, block=block, lens=True)
        )
    return tables


@pytest.mark.devnet
async def test_every_way_reads_the_same_beside_bad_targets(chain: JsonRpcReader, devnet: Devnet) -> None:
    pair = devnet.deployment.v2_pair
    targets = [pair, EOA, REVERTS, SHORT, DIRTY, devnet.deployment.usdc, pair] * 60
    block = await chain.head()
    expected = await chain.read([PAIR.call("getReserves", target) for target in targets[:7]], block=block)
    assert expected[0] is not None
    assert expected[1:6] == [None] * 5
    for table in await _every_way(chain, targets):
        assert table.rows() == expected * 60
        assert table.known.tolist() == [True, *[False] * 5, True] * 60
        assert not table.limbs[~table.known].any(), "what is unknown is not left lying about"
        assert table.floats(0)[0] == pytest.approx(expected[0][0], rel=1e-15)
        assert np.isnan(table.floats(0)[1])


@pytest.mark.devnet
async def test_a_target_that_burns_all_gas_is_the_only_one_unknown(
    chain: JsonRpcReader, rpc: Rpc, devnet: Devnet
) -> None:
    await rpc.request("anvil_setCode", [BURNS, BURNER])
    await rpc.request("evm_mine")
    pair = devnet.deployment.v2_pair
    for table in await _every_way(chain, [pair, BURNS, pair, BURNS, pair]):
        assert table.known.tolist() == [True, False, True, False, True]


@pytest.mark.devnet
async def test_any_view_call_of_integers_can_be_read_in_bulk(chain: JsonRpcReader, devnet: Devnet) -> None:
    at, block = devnet.deployment, await chain.head()
    erc20 = Abi.load("ERC20")
    table = await read_words(
        chain, erc20.encode("decimals"), [at.usdc, EOA, at.weth, at.susd], types=("uint8",), block=block
    )
    assert table.ints(0) == [6, None, 18, 18]
    slot0 = Abi.load("UniswapV3Pool").call("slot0", at.v3_pool)
    pools = await read_words(
        chain, slot0.data, [at.v3_pool, at.stable_pool], types=slot0.outputs, block=block
    )
    alone = await chain.read([slot0], block=block)
    assert pools.rows()[0] == alone[0]
    assert pools.floats(1)[0] == alone[0][1], "a signed value"
    empty = await read_words(chain, GET_RESERVES, [], types=RESERVES_TYPES, block=block)
    assert empty.rows() == []


@pytest.mark.devnet
async def test_many_pairs_asked_one_by_one_are_read_by_one_lens(
    chain: JsonRpcReader, rpc: Rpc, devnet: Devnet
) -> None:
    """Each watcher asks for its own pair; together they are one request."""
    code = await rpc.read("eth_getCode", [devnet.deployment.v2_pair, "latest"])
    pairs = [f"0x{0xABC000 + number:040x}" for number in range(LENS_PAYS_FROM)]
    for number, pair in enumerate(pairs):
        await rpc.request("anvil_setCode", [pair, code])
        await rpc.request("anvil_setStorageAt", [pair, "0x8", f"0x{(7 << 224) | (number << 112) | 5:064x}"])
    await rpc.request("evm_mine")
    calls = [PAIR.call("getReserves", pair) for pair in pairs]
    found = await chain.read([*calls, PAIR.call("getReserves", EOA)], block=await chain.head())
    assert found == [*((5, number, 7) for number in range(LENS_PAYS_FROM)), None]
    assert chain._lenses.way is Way.OVERRIDE


async def test_only_the_usual_reserves_go_to_the_lens() -> None:
    """Solidly's pairs answer getReserves with three uint256."""
    usual = [Call(f"0x{number:040x}", GET_RESERVES, RESERVES_TYPES) for number in range(LENS_PAYS_FROM)]
    other = Call(EOA, GET_RESERVES, ("uint256", "uint256", "uint256"))
    assert not asks_reserves(other)
    assert list(requests([other, *usual])) == [usual, [other]]
    assert list(requests([other, *usual[1:]])) == [[other, *usual[1:]]]


async def test_types_without_a_range_are_our_mistake() -> None:
    with pytest.raises(InvariantError, match="not string"):
        await read_words(None, b"", [EOA], types=("string",), block=None)  # type: ignore[arg-type]


@given(st.lists(kinds, min_size=1, max_size=4), st.data())
def test_arrays_decode_as_eth_abi_does(types: list[str], data: st.DataObject) -> None:
    size = len(types)
    answer = st.one_of(
        st.lists(words, min_size=size, max_size=size),
        st.lists(words, max_size=size + 2),
    ).map(lambda numbers: b"".join(number.to_bytes(32, "big") for number in numbers))
    items = data.draw(st.lists(st.tuples(st.sampled_from([True, True, True, False]), answer), max_size=6))
    reply = encode(["(bool,bytes)[]"], [items])
    limbs, known = unpack_aggregate3(reply, len(items), tuple(types))
    found = WordTable(types=tuple(types), limbs=limbs, known=known)
    expected = [_decoded(types, answer) if success else None for success, answer in items]
    assert found.rows() == expected
    assert [None if item is None else len(item) for item in found.answers()] == [
        None if row is None else 32 * size for row in expected
    ]
    for value in range(size):
        column = [None if row is None else row[value] for row in expected]
        assert found.ints(value) == column
        exact = [np.nan if item is None else float(item) for item in column]
        np.testing.assert_allclose(found.floats(value), exact, rtol=3e-16)


def _decoded(types: list[str], data: bytes) -> tuple[int, ...] | None:
    try:
        values = decode(types, data)
    except DecodingError:
        return None
    return tuple(int(value, 16) if isinstance(value, str) else int(value) for value in values)


@given(
    st.lists(
        st.tuples(st.booleans(), *(st.integers(0, (1 << bits) - 1) for bits in (112, 112, 32))), max_size=5
    )
)
def test_packed_reserves_come_out_as_they_went_in(pairs: list[tuple[bool, int, int, int]]) -> None:
    flags = bytes(known for known, *_ in pairs)
    packed = b"".join(
        (r0 << 144 | r1 << 32 | stamp if known else 0).to_bytes(32, "big") for known, r0, r1, stamp in pairs
    )
    limbs, known = unpack_reserves(flags + packed, len(pairs))
    found = WordTable(types=RESERVES_TYPES, limbs=limbs, known=known).rows()
    assert found == [tuple(rest) if known else None for known, *rest in pairs]


@given(st.binary(max_size=700), st.integers(0, 3))
def test_noise_is_refused_or_unknown(noise: bytes, count: int) -> None:
    try:
        limbs, known = unpack_aggregate3(noise, count, RESERVES_TYPES)
    except TransientError:
        return
    assert limbs.shape == (count, 3, 4)
    assert not limbs[~known].any()
