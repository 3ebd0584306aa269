"""Logs of a range are never silently short (REL-F16, I5), nor of another block, range or contract."""

import random
from collections.abc import AsyncIterator
from typing import Any

import pytest
from faulty_node import FaultyNode, HonestChain, NodeError, Provider, faulty_node
from hypothesis import given
from hypothesis import strategies as st

from bot.chain.bloom import bloom_mask, chance_of_all, mask_of
from bot.chain.logs import read_logs
from bot.chain.rpc import Rpc, RpcError
from bot.devnet.node import Devnet
from bot.errors import StaleDataError, TransientError
from bot.model.market import Block

POOL, OTHER = "0x" + "aa" * 20, "0x" + "ab" * 20
SWAP, MINT = "0x" + "51" * 32, "0x" + "52" * 32
SENDER = "0x" + "53" * 32


def log(block: int, index: int = 0, *, address: str = POOL, topic: str = SWAP, **changed: Any) -> dict:
    return {
        "address": address,
        "topics": [topic, SENDER],
        "data": "0x01",
        "blockNumber": hex(block),
        "blockHash": HonestChain().hash_of(block),
        "transactionHash": f"0x{block:064x}",
        "transactionIndex": "0x0",
        "logIndex": hex(index),
        **changed,
    }


class LogChain(HonestChain):
    """A chain with logs, blooms and receipts, served by a node with a widest range."""

    logs: list[dict] = []  # noqa: RUF012 - set per test
    widest: int = 10_000
    noise: int = 0
    has_receipts: bool = True

    def block(self, number: int) -> dict[str, Any] | None:
        found = super().block(number)
        if found is not None:
            bloom = self.noise
            for item in self.logs:
                if int(item["blockNumber"], 16) == number:
                    bloom |= mask_of(bytes.fromhex(each[2:]) for each in (item["address"], *item["topics"]))
            found["logsBloom"] = f"0x{bloom:0512x}"
        return found

    def result(self, method: str, params: Any) -> Any:
        if method == "eth_getLogs":
            return self._logs(params[0])
        if method == "eth_getBlockReceipts":
            if not self.has_receipts:
                raise NodeError({"code": -32601, "message": "method not found"})
            logs = [item for item in self.logs if item["blockNumber"] == params[0]]
            return [
                {
                    "transactionHash": item["transactionHash"],
                    "blockHash": item["blockHash"],
                    "blockNumber": item["blockNumber"],
                    "gasUsed": "0x1",
                    "logs": [item],
                }
                for item in logs
            ]
        return super().result(method, params)

    def _logs(self, query: dict) -> list[dict]:
        if "blockHash" in query:
            return [item for item in self.logs if item["blockHash"] == query["blockHash"]]
        first, last = int(query["fromBlock"], 16), int(query["toBlock"], 16)
        if last - first + 1 > self.widest:
            raise NodeError({"code": -32005, "message": "query returned more than 10000 results"})
        return [
            item
            for item in self.logs
            if first <= int(item["blockNumber"], 16) <= last
            and (not query["address"] or item["address"] in query["address"])
            and all(
                not choices or item["topics"][place] in choices
                for place, choices in enumerate(query["topics"])
            )
        ]


@pytest.fixture
async def node() -> AsyncIterator[Provider]:
    async with faulty_node() as found:
        yield Provider(found, LogChain(head=2_000))


@pytest.fixture
async def rpc_to(node: Provider) -> AsyncIterator[Rpc]:
    async with Rpc(node.node.url) as connection:
        yield connection


def block(number: int, block_hash: str = "") -> Block:
    return Block(
        chain_id=1,
        number=number,
        hash=block_hash or HonestChain().hash_of(number),
        parent_hash=HonestChain().hash_of(number - 1),
        timestamp_s=0,
    )


def chain_of(node: Provider) -> LogChain:
    assert isinstance(node.chain, LogChain)
    return node.chain


async def swaps(rpc: Rpc, first: int, last: int, topics: tuple[tuple[str, ...], ...] = ((SWAP,),)) -> list:
    found = await read_logs(rpc, addresses=[POOL], topics=topics, from_block=first, to=block(last))
    return [(item.block_number, item.log_index) for item in found]


async def test_all_logs_in_the_order_of_the_chain(node: Provider, rpc_to: Rpc) -> None:
    chain_of(node).logs = [log(12, 3), log(10, 1), log(12, 2), log(11, topic=MINT), log(10, address=OTHER)]
    assert await swaps(rpc_to, 10, 12) == [(10, 1), (12, 2), (12, 3)]
    assert "eth_getBlockReceipts" not in node.methods, "the bloom of block 11 rules a swap of the pool out"
    assert await swaps(rpc_to, 13, 12) == []


@pytest.mark.parametrize("widest", [1, 3, 64, 1_000, 10_000])
async def test_a_range_too_wide_is_read_in_parts(node: Provider, rpc_to: Rpc, widest: int) -> None:
    chain = chain_of(node)
    draw = random.Random(3)
    chain.logs = [log(number, draw.randrange(50)) for number in range(900, 1_100, 7)]
    chain.widest = widest
    first = 1_000 if widest == 1 else 900
    expected = [(int(item["blockNumber"], 16), int(item["logIndex"], 16)) for item in chain.logs]
    assert await swaps(rpc_to, first, 1_099) == [each for each in expected if each[0] >= first]


@pytest.mark.parametrize("code", [-32000, -32005, -32602, -32603])
async def test_a_node_that_answers_no_range_is_asked_a_few_times_only(
    node: Provider, rpc_to: Rpc, code: int
) -> None:
    def twist(method: str, _: object, result: object) -> object:
        if method == "eth_getLogs":
            raise NodeError({"code": code, "message": "block range is too large"})
        return result

    node.twist = twist
    with pytest.raises(RpcError, match="too large"):
        await swaps(rpc_to, 100, 1_123)
    assert node.methods.count("eth_getLogs") == 11


async def test_a_rate_limit_is_no_reason_to_ask_more_often(node: Provider) -> None:
    node.fault = FaultyNode.raw("", status=429, headers={"Retry-After": "60"})
    async with Rpc(node.node.url, timeout_s=0.5) as rpc:
        with pytest.raises(TransientError, match="rate limited"):
            await swaps(rpc, 100, 1_000)
    assert len(node.node.asked) == 1


@pytest.mark.parametrize("last", [60, 50])
async def test_a_log_that_is_kept_back_is_found_by_the_bloom(node: Provider, rpc_to: Rpc, last: int) -> None:
    """F16: silently short by one."""
    chain_of(node).logs = [log(50)]
    node.twist = lambda method, _, result: [] if method == "eth_getLogs" else result
    assert await swaps(rpc_to, 50, last) == [(50, 0)]
    chain_of(node).has_receipts = False
    with pytest.raises(TransientError, match="the bloom of block 50 says that a log is there"):
        await swaps(rpc_to, 50, last)


async def test_a_bloom_that_holds_nearly_everything_proves_nothing(node: Provider, rpc_to: Rpc) -> None:
    """On a busy chain every bloom holds every pair, and the receipts of every block would be read."""
    chain_of(node).noise = (1 << 2_048) - 1
    assert await swaps(rpc_to, 50, 60) == []
    assert "eth_getBlockReceipts" not in node.methods


async def test_a_later_topic_that_the_bloom_rules_out_needs_no_receipts(node: Provider, rpc_to: Rpc) -> None:
    chain_of(node).logs = [log(50)]
    assert await swaps(rpc_to, 50, 50, ((SWAP,), ("0x" + "77" * 32,))) == []
    assert await swaps(rpc_to, 50, 50, ((SWAP,), (SENDER,))) == [(50, 0)]
    assert "eth_getBlockReceipts" not in node.methods


async def test_a_rollup_without_blooms_is_no_trouble(node: Provider, rpc_to: Rpc) -> None:
    chain_of(node).logs = [log(50)]
    node.twist = lambda method, _, result: (
        {**result, "logsBloom": "0x" + "00" * 256} if method == "eth_getBlockByNumber" else result
    )
    assert await swaps(rpc_to, 50, 52) == [(50, 0)]


async def test_a_log_that_the_bloom_rules_out_is_made_up(node: Provider, rpc_to: Rpc) -> None:
    chain_of(node).logs = [log(50, topic=MINT)]
    node.twist = lambda method, _, result: [log(50)] if method == "eth_getLogs" else result
    with pytest.raises(TransientError, match="ruled out"):
        await swaps(rpc_to, 50, 50)


@pytest.mark.parametrize(
    ("came", "error", "words"),
    [
        ([log(50, address=OTHER)], TransientError, "not asked for"),
        ([log(50, topic=MINT)], TransientError, "not asked for"),
        ([log(61)], TransientError, "not asked for"),
        ([log(49)], TransientError, "not asked for"),
        ([log(50, topics=[])], TransientError, "not asked for"),
        ([log(50), log(50, data="0x02")], TransientError, "two different logs 0 of block 50"),
        ([log(50), log(50, 1, blockHash="0x" + "99" * 32)], StaleDataError, "reorganised"),
        ([log(50, blockHash="0x" + "99" * 32)], StaleDataError, "reorganised"),
        ([log(50, removed=True)], StaleDataError, "reorganised"),
        ([log(50, blockNumber="0x")], TransientError, "blockNumber: expected a hex quantity"),
        ([log(50, blockNumber=50)], TransientError, "blockNumber"),
        ([log(50, logIndex=hex(10**80))], TransientError, "logIndex"),
        ([log(50, address="0xaa")], TransientError, "address: expected an address"),
        ([log(50, topics=["0x51"])], TransientError, "topics: expected a hash"),
        ([log(50, topics=None)], TransientError, "topics"),
        ([log(50, data="0xzz")], TransientError, "data: expected hex data"),
        ([log(50, transactionHash=None)], TransientError, "transactionHash"),
        (["0x"], TransientError, "malformed"),
        ([[[]]], TransientError, "malformed"),
        (None, TransientError, "no list"),
        ({}, TransientError, "no list"),
    ],
)
async def test_what_was_not_asked_for_is_refused_by_name(
    node: Provider, rpc_to: Rpc, came: object, error: type[Exception], words: str
) -> None:
    """REL-F8, F9, F16."""
    chain_of(node).noise = (1 << 2_048) - 1
    node.twist = lambda method, _, result: came if method == "eth_getLogs" else result
    with pytest.raises(error, match=words):
        await read_logs(_Once(rpc_to), addresses=[POOL], topics=[[SWAP]], from_block=50, to=block(60))


class _Once:
    """Asks once where Rpc would ask again, so that a refusal needs no wait."""

    def __init__(self, rpc: Rpc) -> None:
        self.where, self.request, self.batch, self.close = rpc.where, rpc.request, rpc.batch, rpc.close

    async def read(self, method: str, params: Any = (), *, deadline_s: float | None = None) -> Any:
        return await self.request(method, params)


async def test_the_same_log_twice_is_one(node: Provider, rpc_to: Rpc) -> None:
    chain_of(node).logs = [log(50)]
    node.twist = lambda method, _, result: result * 2 if method == "eth_getLogs" else result
    assert await swaps(rpc_to, 50, 60) == [(50, 0)]


@pytest.mark.parametrize("first", [60, 50, 10])
async def test_an_end_that_was_reorganised_away_is_stale_even_without_logs(
    node: Provider, rpc_to: Rpc, first: int
) -> None:
    with pytest.raises(StaleDataError, match="reorganised away"):
        await read_logs(
            rpc_to, addresses=[POOL], topics=[[SWAP]], from_block=first, to=block(60, "0x" + "99" * 32)
        )


async def test_headers_that_are_no_chain_are_stale(node: Provider, rpc_to: Rpc) -> None:
    def twist(method: str, params: Any, result: Any) -> Any:
        return {**result, "hash": "0x" + "98" * 32} if params[:1] == ["0x37"] else result

    node.twist = twist
    with pytest.raises(StaleDataError, match="not one chain"):
        await swaps(rpc_to, 50, 60)


async def test_a_block_that_the_node_has_not_got_yet_is_not_empty(node: Provider, rpc_to: Rpc) -> None:
    """REL-F18: a lagging node answers a range past its head with an empty list."""
    node.chain.head = 55
    for first in (60, 50, 10):
        with pytest.raises(TransientError, match="has no block"):
            await swaps(rpc_to, first, 60)


def test_a_bloom_item_sets_at_most_three_bits() -> None:
    """That they are the right three is shown on a real node below."""
    mask = bloom_mask(bytes.fromhex(POOL[2:]))
    assert 1 <= mask.bit_count() <= 3
    assert mask < 1 << 2_048
    assert chance_of_all((1 << 2_048) - 1, mask) == 1.0
    assert chance_of_all(0, mask) == 0.0


@given(st.sets(st.binary(min_size=20, max_size=32), min_size=1, max_size=20))
def test_a_bloom_never_rules_out_what_is_in_it(items: set[bytes]) -> None:
    bloom = mask_of(items)
    assert all(not bloom_mask(item) & ~bloom for item in items)


@pytest.mark.devnet
async def test_real_logs_and_real_blooms(devnet: Devnet, rpc: Rpc) -> None:
    """The bloom of a real node holds what our bits say, and every log of the deployment comes back."""
    raw = await rpc.read("eth_getBlockByNumber", ["latest", False])
    head = Block(
        chain_id=31337,
        number=int(raw["number"], 16),
        hash=raw["hash"],
        parent_hash=raw["parentHash"],
        timestamp_s=0,
    )
    first = max(head.number - 300, 0)
    everything = await read_logs(rpc, addresses=[], topics=[], from_block=first, to=head)
    assert everything
    for item in random.Random(1).sample(everything, 10):
        header = await rpc.read("eth_getBlockByHash", [item.block_hash, False])
        mask = mask_of(bytes.fromhex(part[2:]) for part in (item.log.address, *item.log.topics))
        assert not mask & ~int(header["logsBloom"], 16)
    one = everything[-1]
    header = await rpc.read("eth_getBlockByHash", [one.block_hash, False])
    there = Block(
        chain_id=31337,
        number=one.block_number,
        hash=one.block_hash,
        parent_hash=header["parentHash"],
        timestamp_s=0,
    )
    found = await read_logs(
        rpc,
        addresses=[one.log.address],
        topics=[[one.log.topics[0]]],
        from_block=max(one.block_number - 20, 0),
        to=there,
    )
    assert one in found


async def test_a_wide_range_from_a_node_that_lags_is_not_short_at_its_end(
    node: Provider, rpc_to: Rpc
) -> None:
    """F16, F18: behind a balancer one node gives the headers, and one that lags gives the logs it has."""
    chain_of(node).logs = [log(900), log(1_098), log(1_099)]

    def lags(method: str, _: object, result: object) -> object:
        return result[:1] if method == "eth_getLogs" and isinstance(result, list) else result

    node.twist = lags
    assert await swaps(rpc_to, 800, 1_099) == [(900, 0), (1_098, 0), (1_099, 0)]
