"""Pinned reads: on the real chain, and against a node that cannot, lies or lags (REL-R1, REL-R6, REL-R7)."""

from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any

import pytest
from aiohttp import web
from eth_abi.abi import encode
from faulty_node import FaultyNode, faulty_node

from bot.chain.abi import Abi
from bot.chain.multicall import decode_aggregate3
from bot.chain.reader import JsonRpcReader
from bot.chain.rpc import Rpc, RpcError
from bot.devnet.node import Devnet
from bot.errors import ConfigError, InvariantError, StaleDataError, TransientError, VenueRejected
from bot.model.market import Block
from bot.ports import Call

ERC20 = Abi.load("ERC20")
MULTICALL = Abi.load("Multicall3")
EOA = "0x00000000000000000000000000000000000000aa"


@pytest.fixture
async def faulty() -> AsyncIterator[FaultyNode]:
    async with faulty_node() as node:
        yield node


@pytest.fixture
async def chain(devnet: Devnet, rpc: Rpc) -> JsonRpcReader:
    return await JsonRpcReader.connect(rpc, chain_id=31337, multicall3=devnet.deployment.multicall3)


@pytest.mark.devnet
async def test_connect_names_both_chain_ids(rpc: Rpc) -> None:
    with pytest.raises(ConfigError, match=r"chain id 1 is configured but the node .* is on chain 31337"):
        await JsonRpcReader.connect(rpc, chain_id=1)


@pytest.mark.devnet
async def test_connect_refuses_a_multicall_without_code(rpc: Rpc) -> None:
    with pytest.raises(ConfigError, match=f"{EOA} has no code on chain 31337"):
        await JsonRpcReader.connect(rpc, chain_id=31337, multicall3=EOA)
    with pytest.raises(ConfigError, match="must be an address"):
        await JsonRpcReader.connect(rpc, chain_id=31337, multicall3="here")


@pytest.mark.devnet
async def test_reads_are_of_the_block_that_is_named(chain: JsonRpcReader, rpc: Rpc, devnet: Devnet) -> None:
    at = devnet.deployment
    calls = [
        MULTICALL.call("getBlockNumber", at.multicall3),
        MULTICALL.call("getCurrentBlockTimestamp", at.multicall3),
        ERC20.call("symbol", at.usdc),
    ]
    first = await chain.head()
    await rpc.request("anvil_mine", ["0x5"])
    second = await chain.head()
    assert second.number == first.number + 5
    for block in (first, second):
        number, time_s, symbol = await chain.read(calls, block=block)
        assert (number, time_s, symbol) == ((block.number,), (block.timestamp_s,), ("USDC",))
    assert await chain.block(first.number) == first
    assert await chain.block_by_hash(second.hash) == second
    assert await chain.block_by_hash("0x" + "11" * 32) is None


@pytest.mark.devnet
async def test_a_failed_sub_call_is_none_and_never_zero(chain: JsonRpcReader, devnet: Devnet) -> None:
    """REL-R7: no code, a revert, another contract, and too short an answer beside a good one."""
    at = devnet.deployment
    block = await chain.head()
    good = ERC20.call("decimals", at.usdc)
    results = await chain.read(
        [
            ERC20.call("balanceOf", EOA, at.user),
            Abi.load("NonfungiblePositionManager").call("positions", at.v3_position_manager, 10**9),
            ERC20.call("name", at.v3_pool),
            Call(at.usdc, good.data, ("uint256", "uint256")),
            good,
        ],
        block=block,
    )
    assert results == [None, None, None, None, (6,)]
    assert await chain.read([], block=block) == []


@pytest.mark.devnet
async def test_many_calls_are_cut_into_requests(chain: JsonRpcReader, devnet: Devnet) -> None:
    calls = [
        MULTICALL.call("getEthBalance", devnet.deployment.multicall3, f"0x{n:040x}") for n in range(1150)
    ]
    calls[1149] = MULTICALL.call("getEthBalance", devnet.deployment.multicall3, devnet.deployment.user)
    results = await chain.read(calls, block=await chain.head())
    assert len(results) == 1150
    assert results[1149] is not None
    assert results[1149][0] > 10**18


@pytest.mark.devnet
async def test_one_call_that_burns_all_gas_does_not_take_the_others_along(
    chain: JsonRpcReader, rpc: Rpc, devnet: Devnet
) -> None:
    """An endless loop eats 63/64 of what is left, so the calls after it must be read without it."""
    loop = "0x00000000000000000000000000000000000000bb"
    await rpc.request("anvil_setCode", [loop, "0x5b600056"])  # JUMPDEST PUSH1 0 JUMP
    await rpc.request("evm_mine")
    usdc = ERC20.call("decimals", devnet.deployment.usdc)
    heavy = Abi.load("UniswapV3Pool").call("slot0", loop)
    results = await chain.read([usdc, heavy, usdc, heavy, usdc], block=await chain.head())
    assert results == [(6,), None, (6,), None, (6,)]


@pytest.mark.devnet
async def test_a_block_that_was_reorganised_away_is_stale(
    chain: JsonRpcReader, rpc: Rpc, devnet: Devnet
) -> None:
    """REL-R6: every kind of pinned read says so."""
    usdc, user = devnet.deployment.usdc, devnet.deployment.user
    await rpc.request("anvil_mine", ["0x3"])
    tx_hash = await rpc.request("eth_sendTransaction", [{"from": user, "to": user}], send=True)
    while await rpc.read("eth_getTransactionReceipt", [tx_hash]) is None:
        pass  # mined beside the answer; it is lost in the reorg, so that the new blocks differ
    gone = await chain.head()
    await rpc.request("anvil_reorg", [2, []])
    for read in (
        lambda: chain.read([ERC20.call("decimals", usdc)], block=gone),
        lambda: chain.has_code(usdc, block=gone),
        lambda: chain.storage_at(usdc, 0, block=gone),
        lambda: chain.simulate(to=usdc, data=ERC20.encode("decimals"), block=gone, sender=EOA),
    ):
        with pytest.raises(StaleDataError, match=f"block {gone.number} {gone.hash} was reorganised away"):
            await read()


@pytest.mark.devnet
async def test_a_block_above_the_head_is_stale(chain: JsonRpcReader, rpc: Rpc) -> None:
    head = await chain.head()
    snapshot = await rpc.request("evm_snapshot")
    await rpc.request("anvil_mine", ["0x2"])
    above = await chain.head()
    await rpc.request("evm_revert", [snapshot])
    with pytest.raises(StaleDataError):
        await chain.has_code(EOA, block=above)
    assert await chain.head() == head


@pytest.mark.devnet
async def test_simulate_returns_or_rejects_with_the_reason(chain: JsonRpcReader, devnet: Devnet) -> None:
    at = devnet.deployment
    block = await chain.head()
    data = ERC20.encode("transfer", at.user, 10**12)
    with pytest.raises(VenueRejected, match="would revert: "):
        await chain.simulate(to=at.usdc, data=data, block=block, sender=EOA)
    assert await chain.simulate(to=at.usdc, data=ERC20.encode("decimals"), block=block, sender=EOA) == (
        6
    ).to_bytes(32, "big")


@pytest.mark.devnet
async def test_simulate_with_a_changed_state(chain: JsonRpcReader, devnet: Devnet) -> None:
    """The stand-in code answers with its own balance: SELFBALANCE PUSH0 MSTORE PUSH1 32 PUSH0 RETURN."""
    block = await chain.head()
    overrides = {EOA: {"code": "0x475f5260205ff3", "balance": hex(77)}}
    found = await chain.simulate(to=EOA, data=b"", block=block, sender=EOA, overrides=overrides)
    assert int.from_bytes(found, "big") == 77
    assert not await chain.has_code(EOA, block=block)


@pytest.mark.devnet
async def test_storage_and_code(chain: JsonRpcReader, rpc: Rpc, devnet: Devnet) -> None:
    at = devnet.deployment
    before = await chain.head()
    await rpc.request("evm_mine")
    await rpc.request("anvil_setStorageAt", [at.usdc, "0x63", "0x" + (5).to_bytes(32, "big").hex()])
    await rpc.request("evm_mine")
    after = await chain.head()
    assert await chain.storage_at(at.usdc, 99, block=before) == bytes(32)
    assert await chain.storage_at(at.usdc, 99, block=after) == (5).to_bytes(32, "big")
    assert await chain.has_code(at.usdc, block=after)
    assert not await chain.has_code(EOA, block=after)


@pytest.mark.devnet
async def test_a_block_of_another_chain_is_our_mistake(chain: JsonRpcReader) -> None:
    block = Block(chain_id=1, number=1, hash="0x" + "0" * 64, parent_hash="0x" + "0" * 64, timestamp_s=1)
    with pytest.raises(InvariantError, match="block of chain 1"):
        await chain.read([], block=block)


Respond = Callable[[str, list[Any]], Any]


class OldNode:
    """Just enough of a chain of one block, with the behaviour that a test gives it."""

    def __init__(self, faulty: FaultyNode, respond: Respond) -> None:
        self.calls: list[tuple[str, list[Any]]] = []
        self.hash = "0x" + "aa" * 32

        async def answer(_: web.Request, body: dict) -> web.Response:
            self.calls.append((body["method"], body["params"]))
            found = respond(body["method"], body["params"])
            if found is None:
                found = self._usual(body["method"])
            kind = "error" if isinstance(found, dict) and "code" in found else "result"
            return web.json_response({"jsonrpc": "2.0", "id": body["id"], kind: found})

        faulty.answer = answer

    def _usual(self, method: str) -> Any:
        return {
            "eth_chainId": "0x5",
            "eth_getCode": "0x00",
            "eth_getBlockByNumber": {
                "number": "0x10",
                "hash": self.hash,
                "parentHash": "0x" + "bb" * 32,
                "timestamp": "0x6500",
            },
        }[method]


async def test_a_node_that_knows_no_block_hashes_is_pinned_by_number(faulty: FaultyNode) -> None:
    def respond(method: str, params: list[Any]) -> Any:
        if any(isinstance(item, dict) and "blockHash" in item for item in params):
            return {"code": -32602, "message": "invalid argument 1: hex string without 0x prefix"}
        return (
            "0x" + encode(["(bool,bytes)[]"], [[(True, encode(["uint256"], [9]))]]).hex()
            if method == "eth_call"
            else None
        )

    old = OldNode(faulty, respond)
    async with Rpc(faulty.url) as rpc:
        chain = await JsonRpcReader.connect(rpc, chain_id=5)
        block = await chain.head()
        assert await chain.read([Call(EOA, b"", ("uint256",))], block=block) == [(9,)]
        assert ("eth_call", "0x10") in [(method, params[-1]) for method, params in old.calls if params]
        old.hash = "0x" + "cc" * 32
        with pytest.raises(StaleDataError, match="was reorganised away"):
            await chain.read([Call(EOA, b"", ("uint256",))], block=block)


async def test_a_fresh_block_that_the_node_does_not_know_yet_is_asked_for_again(
    faulty: FaultyNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bot.chain.reader._UNKNOWN_BLOCK_PAUSE_S", 0)
    misses = [1, 1]

    def respond(method: str, _: list[Any]) -> Any:
        if method == "eth_getStorageAt":
            return {"code": -32000, "message": "header not found"} if misses and misses.pop() else "0x01"
        return None

    OldNode(faulty, respond)
    async with Rpc(faulty.url) as rpc:
        chain = await JsonRpcReader.connect(rpc, chain_id=5)
        block = await chain.head()
        assert await chain.storage_at(EOA, 0, block=block) == (1).to_bytes(32, "big")
        misses += [1] * 3
        with pytest.raises(TransientError, match="header not found"):
            await chain.storage_at(EOA, 0, block=block)


async def test_a_batch_that_is_too_much_is_halved(faulty: FaultyNode) -> None:
    """The node takes two calls at most; one call in the middle fails on its own."""
    sizes = []

    def respond(method: str, params: list[Any]) -> Any:
        if method != "eth_call":
            return None
        count = int(params[0]["data"][2 + 8 + 64 : 2 + 8 + 128], 16)
        sizes.append(count)
        if count > 2:
            return {"code": -32000, "message": "out of gas"}
        return "0x" + encode(["(bool,bytes)[]"], [[(True, bytes(32))] * count]).hex()

    OldNode(faulty, respond)
    async with Rpc(faulty.url) as rpc:
        chain = await JsonRpcReader.connect(rpc, chain_id=5)
        calls = [Call(EOA, bytes([number]), ("uint256",)) for number in range(7)]
        results = await chain.read(calls, block=await chain.head())
    assert results == [(0,)] * 7
    assert sizes == [7, 3, 1, 2, 4, 2, 2]


async def test_a_node_that_refuses_everything_is_not_read_as_empty(faulty: FaultyNode) -> None:
    def respond(method: str, _: list[Any]) -> Any:
        return {"code": -32000, "message": "daily quota used up"} if method == "eth_call" else None

    old = OldNode(faulty, respond)
    async with Rpc(faulty.url) as rpc:
        chain = await JsonRpcReader.connect(rpc, chain_id=5)
        calls = [Call(EOA, bytes([number]), ("uint256",)) for number in range(100)]
        with pytest.raises(RpcError, match="daily quota"):
            await chain.read(calls, block=await chain.head())
    assert len(old.calls) < 15, "one branch of the halves is enough to know"


async def test_a_rate_limit_is_not_answered_with_more_requests(faulty: FaultyNode) -> None:
    def respond(method: str, _: list[Any]) -> Any:
        return {"code": -32005, "message": "limit exceeded"} if method == "eth_call" else None

    old = OldNode(faulty, respond)
    async with Rpc(faulty.url, timeout_s=0.5) as rpc:
        chain = await JsonRpcReader.connect(rpc, chain_id=5)
        head = await chain.head()
        before = len(old.calls)
        with pytest.raises(RpcError, match="limit exceeded"):
            await chain.read([Call(EOA, bytes([number]), ("uint256",)) for number in range(8)], block=head)
    sizes = {int(params[0]["data"][74:138], 16) for method, params in old.calls[before:]}
    assert sizes == {8}, "the same request again after a pause, never its halves"


@pytest.mark.parametrize("field", ["number", "hash", "parentHash", "timestamp"])
async def test_a_block_that_lacks_a_field_is_refused(faulty: FaultyNode, field: str) -> None:
    old: OldNode

    def respond(method: str, _: list[Any]) -> Any:
        if method != "eth_getBlockByNumber":
            return None
        return {key: value for key, value in old._usual(method).items() if key != field}

    old = OldNode(faulty, respond)
    async with Rpc(faulty.url, timeout_s=1.0) as rpc:
        reader = JsonRpcReader(rpc, chain_id=5, multicall3=EOA, pins_by_hash=True)
        with pytest.raises(TransientError, match=field):
            await reader.head()


async def test_the_chain_behind_the_url_may_change(faulty: FaultyNode) -> None:
    """REL-R1: checked again whenever asked."""
    found = ["0x1", "0x5", "0x5"]
    OldNode(faulty, lambda method, _: found.pop() if method == "eth_chainId" else None)
    async with Rpc(faulty.url) as rpc:
        chain = await JsonRpcReader.connect(rpc, chain_id=5)
        await chain.check_chain()
        with pytest.raises(ConfigError, match="is on chain 1, it was on 5"):
            await chain.check_chain()


def test_decode_of_nothing() -> None:
    assert decode_aggregate3(encode(["(bool,bytes)[]"], [[]]), count=0) == []


@pytest.mark.devnet
async def test_what_can_never_change_is_asked_once_until_a_reorg(
    chain: JsonRpcReader, rpc: Rpc, devnet: Devnet, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[list[bytes]] = []

    async def aggregate(calls: Sequence[Call], block: Block) -> list[bytes | None]:
        asked.append([call.data for call in calls])
        return await inner(calls, block)

    inner = chain.aggregate
    monkeypatch.setattr(chain, "aggregate", aggregate)
    pair = Abi.load("UniswapV2Pair")
    at = devnet.deployment.v2_pair
    calls = [pair.fixed_call("token0", at), pair.call("totalSupply", at)]
    both, supply_only = [call.data for call in calls], [calls[1].data]
    first = await chain.read(calls, block=await chain.head())
    await rpc.request("evm_mine")
    assert await chain.read(calls, block=await chain.head()) == first
    assert asked == [both, supply_only]
    await rpc.request(
        "anvil_reorg", [1, [[{"from": devnet.deployment.user, "to": devnet.deployment.user}, 0]]]
    )
    assert await chain.read(calls, block=await chain.head()) == first
    assert asked == [both, supply_only, both]
