"""Several providers as one: REL-R1, R2, R4, R8, R11 and the faults F1, F3, F8, F10 to F14, F18."""

import asyncio
import itertools
import math
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Any

import pytest
import send_builders
from aiohttp import ClientSession, web
from at_best import at_best
from eth_utils.crypto import keccak
from faulty_node import FaultyNode, HonestChain, NodeError, Provider, cut, faulty_node, hang
from hypothesis import assume, given
from hypothesis import strategies as st
from send_tools import until

from bot.chain.agreement import Ballot
from bot.chain.fees import GWEI
from bot.chain.heads import HeadFollower
from bot.chain.provider_health import Bench, ProviderHealth
from bot.chain.providers import Providers
from bot.chain.raw_transaction import decode_raw
from bot.chain.reader import JsonRpcReader
from bot.chain.rpc import RevertError, Rpc, RpcError
from bot.devnet.node import Devnet
from bot.errors import (
    BotError,
    ConfigError,
    DeadlineError,
    DisagreementError,
    StaleDataError,
    TransientError,
)
from bot.model.market import Block, Metric, Observation, SeriesKey
from bot.pipeline.history import History
from bot.pipeline.journal import SqlJournal
from bot.pipeline.sources import LiveSource, chain_clock
from bot.ports import Call, ChainReader

KEY = "s3cr3t-api-key-0123456789"
RAW = "0x02f86b0180843b9aca00"
Make = Callable[..., Awaitable["Rig"]]


class Rig:
    """Providers under test, the nodes behind them, and what was told."""

    def __init__(self, nodes: list[Provider], providers: Providers, told: list[str]) -> None:
        self.nodes, self.providers, self.told = nodes, providers, told

    async def head(self) -> int:
        return int((await self.providers.request("eth_getBlockByNumber", ["latest", False]))["number"], 16)

    async def readmitted(self, place: int) -> None:
        """Wait for the probe that runs beside the reads."""
        try:
            await until(lambda: self.usable[place])
        except TimeoutError:
            raise AssertionError(self.providers.status()) from None

    async def probed(self, place: int) -> None:
        await until(lambda: self.providers._pool.members[place].probe is None)

    @property
    def usable(self) -> list[bool]:
        return [status.usable for status in self.providers.status()]

    def forget(self) -> None:
        for provider in self.nodes:
            provider.node.asked.clear()


@pytest.fixture
async def make() -> AsyncIterator[Make]:
    """Make a rig of ``count`` providers, each standing on a chain of its own that is equal to the others."""
    async with AsyncExitStack() as stack:

        async def build(
            count: int = 3, *, agreement: int = 1, timeout_s: float = 5.0, patience_s: float = 2.0
        ) -> Rig:
            nodes = [
                Provider(await stack.enter_async_context(faulty_node()), HonestChain()) for _ in range(count)
            ]
            told: list[str] = []
            providers = Providers(
                [Rpc(f"{each.node.url}/{KEY}", timeout_s=timeout_s) for each in nodes],
                chain_id=1,
                agreement=agreement,
                max_head_lag=3,
                on_trouble=lambda error: told.append(str(error)),
                patience_s=patience_s,
            )
            await stack.enter_async_context(providers)
            return Rig(nodes, providers, told)

        yield build


def lie(method: str, value: object) -> Callable[[str, object, object], object]:
    return lambda asked, _, result: value if asked == method else result


def refuse(method: str, error: dict) -> Callable[[str, object, object], object]:
    def twist(asked: str, _: object, result: object) -> object:
        if asked == method:
            raise NodeError(error)
        return result

    return twist


# --- configuration


@pytest.mark.parametrize(
    ("urls", "agreement", "words"),
    [
        ([], 1, "no provider"),
        (["https://a.example/k", "https://b.example", "https://A.example/k/"], 1, "more than once"),
        (["https://a.example/k?key=1", "https://a.example:443/k?key=2"], 1, "more than once"),
        (["https://u:p@a.example/k", "https://a.example/k", "https://a.example/k"], 1, "more than once"),
        (["https://a.example/key1", "https://a.example/key2", "https://b.example"], 2, "same host"),
        (["https://a.example", "https://b.example"], 3, "must be 1 to 2"),
        (["https://a.example", "https://b.example"], 0, "must be 1 to 2"),
        ([f"https://{name}.example" for name in "abcd"], 2, "no majority"),
    ],
)
async def test_a_quorum_that_is_none_is_refused(urls: list[str], agreement: int, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        Providers([Rpc(url) for url in urls], chain_id=1, agreement=agreement)


async def test_two_keys_of_one_host_are_fine_without_agreement() -> None:
    Providers([Rpc("https://a.example/key1"), Rpc("https://a.example/key2")], chain_id=1)


# --- fail-over


async def test_the_first_that_works_is_asked_and_no_other(make: Make) -> None:
    rig = await make()
    rig.nodes[0].chain.values["eth_gasPrice"] = "0xa"
    await rig.providers.read("eth_gasPrice")
    rig.forget()
    for _ in range(5):
        assert await rig.providers.read("eth_gasPrice") == "0xa"
    assert [len(each.methods) for each in rig.nodes] == [5, 0, 0]


async def test_one_down_is_no_outage_and_told_once(make: Make) -> None:
    """REL-F1: the next provider at once, no alarm storm, and back when it is back."""
    rig = await make(patience_s=1)
    await rig.head()
    rig.nodes[0].fault = cut
    for _ in range(10):
        assert await rig.providers.read("eth_gasPrice") == "0x1"
        assert await rig.head() == 100
    assert len(rig.told) == 1
    assert KEY not in rig.told[0]
    assert rig.usable == [False, True, True]
    rig.nodes[0].fault = None
    rig.providers._pool.members[0].health.paused_until_s = 0  # the pause is over
    rig.forget()
    await rig.providers.read("eth_gasPrice")
    await rig.readmitted(0)
    await rig.providers.read("eth_gasPrice")
    assert rig.nodes[0].methods[-1] == "eth_gasPrice"


async def test_all_down_is_said_and_ends_when_one_is_back(make: Make) -> None:
    """REL-F2, I13: resumes with the first poll after."""
    rig = await make()
    await rig.head()
    for each in rig.nodes:
        each.fault = FaultyNode.raw("", status=502)
    for _ in range(4):
        with pytest.raises(TransientError):
            await rig.providers.request("eth_gasPrice")
    assert len(rig.told) == 3
    rig.nodes[2].fault = None
    assert await rig.providers.request("eth_gasPrice") == "0x1"
    assert rig.usable == [False, False, True]


async def test_a_hanging_provider_costs_its_patience_and_no_more(make: Make) -> None:
    """REL-F3, F4, R9."""

    async def hanging(places: slice, *, timeout_s: float) -> Rig:
        rig = await make(timeout_s=timeout_s, patience_s=0.1)
        await rig.head()
        for each in rig.nodes[places]:
            each.fault = hang
        rig.forget()
        return rig

    one_hangs = [await hanging(slice(1), timeout_s=5.0) for _ in range(3)]
    left = iter(one_hangs)

    async def five_reads() -> None:
        rig = next(left)
        for _ in range(5):
            assert await rig.providers.request("eth_gasPrice") == "0x1"

    assert await at_best(0.9, five_reads)
    asked = [len(rig.nodes[0].methods) for rig in one_hangs if rig.nodes[1].methods]
    assert 1 in asked, "who hangs is not asked again first"
    all_hang = iter([await hanging(slice(3), timeout_s=1.0) for _ in range(3)])

    async def one_read() -> None:
        with pytest.raises(DeadlineError):
            await next(all_hang).providers.request("eth_gasPrice")

    assert await at_best(1.5, one_read)


async def test_what_a_node_reverts_is_an_answer(make: Make) -> None:
    rig = await make()
    await rig.head()
    rig.nodes[0].twist = refuse("eth_call", {"code": 3, "message": "execution reverted: no"})
    rig.forget()
    with pytest.raises(RevertError, match="no"):
        await rig.providers.read("eth_call", [{}, "latest"])
    assert [each.methods for each in rig.nodes] == [["eth_call"], [], []]


async def test_a_provider_that_does_not_know_the_block_passes_the_question_on(make: Make) -> None:
    """REL-F18: the head came from a fast node, the preferred one has not got it yet."""
    rig = await make()
    await rig.head()
    rig.nodes[0].twist = refuse("eth_call", {"code": -32000, "message": "header not found"})
    rig.nodes[1].chain.values["eth_call"] = "0x22"
    assert await rig.providers.read("eth_call", [{}, {"blockHash": "0x" + "11" * 32}]) == "0x22"
    rig.nodes[0].chain.head = 90
    assert await rig.providers.read("eth_getBlockByNumber", ["0x5f", False]) is not None
    assert rig.told == []
    for each in rig.nodes:
        each.twist = refuse("eth_call", {"code": -32000, "message": "header not found"})
    with pytest.raises(RpcError, match="header not found"):
        await rig.providers.read("eth_call", [{}, {"blockHash": "0x" + "11" * 32}])


async def test_null_of_one_is_not_the_last_word(make: Make) -> None:
    """REL-F8, also with everybody: None, which a caller must treat as not known."""
    rig = await make()
    await rig.head()
    rig.nodes[0].twist = lambda method, _, result: None if method == "eth_getBlockByHash" else result
    block = await rig.providers.read("eth_getBlockByHash", [HonestChain().hash_of(50), False])
    assert block["number"] == "0x32"
    assert await rig.providers.read("eth_getBlockByHash", ["0x" + "77" * 32, False]) is None


async def test_a_rate_limit_window_is_kept_and_others_answer(make: Make) -> None:
    """REL-R8, F10: 0 calls in the window."""
    rig = await make()
    await rig.head()
    rig.nodes[0].fault = FaultyNode.raw("", status=429, headers={"Retry-After": "30"})
    assert await rig.providers.read("eth_gasPrice") == "0x1"
    rig.forget()
    for _ in range(5):
        await rig.head()
        await rig.providers.read("eth_gasPrice")
    assert rig.nodes[0].methods == []
    assert "asked for a pause" in rig.providers.status()[0].because


@pytest.mark.parametrize("status", [401, 402, 403])
async def test_a_refused_key_is_benched_at_once(make: Make, status: int) -> None:
    rig = await make()
    await rig.head()
    rig.nodes[0].fault = FaultyNode.raw("", status=status)
    assert await rig.providers.read("eth_gasPrice") == "0x1"
    assert rig.usable[0] is False
    assert len(rig.told) == 1
    assert f"HTTP {status}" in rig.told[0]
    assert KEY not in rig.told[0]


async def test_a_batch_fails_over_as_one(make: Make) -> None:
    rig = await make()
    await rig.head()
    rig.nodes[0].twist = refuse("eth_gasPrice", {"code": -32005, "message": "limit exceeded"})
    rig.nodes[1].chain.values["eth_gasPrice"] = "0x7"
    assert await rig.providers.batch([("eth_chainId", []), ("eth_gasPrice", [])]) == ["0x1", "0x7"]
    assert await rig.providers.batch([]) == []


async def test_providers_do_for_a_reader_and_a_follower(make: Make) -> None:
    rig = await make()
    for each in rig.nodes:
        each.chain.values["eth_getCode"] = "0x60"
    chain = await JsonRpcReader.connect(rig.providers, chain_id=1)
    follower = HeadFollower(chain, poll_s=1)
    event = await follower.poll()
    assert event is not None
    assert event.block.number == 100


# --- which chain


async def test_a_provider_of_another_chain_is_never_used(make: Make) -> None:
    """REL-R1, F13 at start."""
    rig = await make()
    rig.nodes[0].chain.chain_id = 5
    for _ in range(3):
        assert await rig.providers.read("eth_getBalance", ["0x00", "latest"]) == "0x1"
    assert "eth_getBalance" not in rig.nodes[0].methods
    assert len(rig.told) == 1
    assert "it serves chain 5, configured is 1" in rig.told[0]


async def test_a_provider_that_changes_its_chain_is_out_within_a_poll(make: Make) -> None:
    """REL-R1, F13 in mid-session and on recovery: quarantined until it is back on the chain."""
    rig = await make()
    await rig.head()
    rig.nodes[0].chain.chain_id = 5
    await rig.head()
    assert rig.usable == [False, True, True]
    rig.forget()
    await rig.providers.read("eth_getBalance", ["0x00", "latest"])
    rig.providers._pool.members[0].health.paused_until_s = 0
    await rig.head()
    await rig.probed(0)
    assert rig.usable == [False, True, True]
    assert set(rig.nodes[0].methods) <= {"eth_chainId", "eth_getBlockByNumber"}
    rig.nodes[0].chain.chain_id = 1
    rig.providers._pool.members[0].health.paused_until_s = 0
    await rig.head()
    await rig.readmitted(0)


async def test_a_wrong_chain_in_a_batch_is_seen(make: Make) -> None:
    rig = await make()
    await rig.head()
    rig.nodes[0].chain.chain_id = 5
    found = await rig.providers.batch([("eth_chainId", []), ("eth_getBlockByNumber", ["latest", False])])
    assert found[0] == "0x1"
    assert rig.usable == [False, True, True]


async def test_all_of_another_chain_is_a_mistake_in_the_configuration(make: Make) -> None:
    rig = await make(2)
    for each in rig.nodes:
        each.chain.chain_id = 5
    with pytest.raises(ConfigError, match="it serves chain 5, configured is 1"):
        await JsonRpcReader.connect(rig.providers, chain_id=1)


async def test_all_that_change_their_chain_later_are_an_outage(make: Make) -> None:
    """REL-F13 in mid-session: nothing is read, and the program does not end, for they may come back."""
    rig = await make(2)
    await rig.head()
    for each in rig.nodes:
        each.chain.chain_id = 5
    for _ in range(3):
        with pytest.raises(TransientError):
            await rig.head()
    assert len(rig.told) == 2


# --- health, on a clock of its own


def test_pauses_grow_and_are_forgiven_after_good_conduct() -> None:
    health = ProviderHealth()
    now_s, pauses = 1_000.0, []
    for _ in range(9):
        health.failed("down", now_s)
        if health.bench is None:  # one failure is none yet
            health.failed("down", now_s)
        pauses.append(health.paused_until_s - now_s)
        now_s = health.paused_until_s
        assert not health.may_be_probed(now_s - 0.01)
        assert health.may_be_probed(now_s - 0.01, in_need=True), "when nothing else is left"
        assert health.may_be_probed(now_s)
    assert pauses == [1, 2, 4, 8, 16, 32, 60, 60, 60]
    health.proved_chain(now_s, is_probe=True)
    assert health.is_usable(now_s)
    now_s += 700
    health.failed("down", now_s)
    health.failed("down", now_s)
    assert health.paused_until_s - now_s == 1


def test_what_is_on_its_way_does_not_end_a_bench() -> None:
    health = ProviderHealth()
    health.put_out(Bench.DISSENTS, "lies", 0.0)
    health.proved_chain(0.1, is_probe=False)
    assert not health.is_usable(0.1)
    assert not health.may_be_probed(59.0, in_need=True), "who lies is not asked in need either"
    health.proved_chain(61.0, is_probe=True)
    assert health.is_usable(61.0)


@pytest.mark.parametrize("why", [Bench.WRONG_CHAIN, Bench.REFUSES])
def test_in_need_no_pause_outlasts_a_poll_by_much(why: Bench) -> None:
    """REL-I13, F13: the fault may be over; a minute more of blindness would be of our own making."""
    health = ProviderHealth()
    for number in range(8):
        health.put_out(why, "no", 100.0 * number)
    assert health.paused_until_s == 760.0
    assert not health.may_be_probed(704.9, in_need=True), "its quota is not burnt by asking at every poll"
    assert health.may_be_probed(705.0, in_need=True)
    assert not health.may_be_probed(705.0), "where others are left, it waits"


def test_a_pause_that_was_asked_for_overrides_all() -> None:
    health = ProviderHealth()
    health.proved_chain(0.0, is_probe=True)
    health.asked_for_pause(10.0, 0.0)
    health.asked_for_pause(1.0, 0.0)
    assert not health.is_usable(9.9)
    assert not health.may_be_probed(9.9, in_need=True)
    assert health.is_usable(10.0)


# --- heads


@pytest.mark.parametrize("lag", [4, 10, 50])
async def test_a_provider_that_lags_is_benched_until_it_caught_up(make: Make, lag: int) -> None:
    """REL-R2, F11: benched within two polls, back with the poll that shows it has caught up."""
    rig = await make()
    rig.nodes[0].chain.head = 100 - lag
    assert await rig.head() == 100
    assert rig.usable == [False, True, True]
    rig.forget()
    await rig.providers.read("eth_gasPrice")
    assert "eth_gasPrice" not in rig.nodes[0].methods
    rig.nodes[0].chain.head = 100
    await rig.head()
    assert rig.usable == [True, True, True]


@pytest.mark.parametrize("lag", [1, 3])
async def test_a_small_lag_is_no_matter_and_the_newest_head_counts(make: Make, lag: int) -> None:
    rig = await make()
    rig.nodes[0].chain.head = 100 - lag
    assert await rig.head() == 100
    assert rig.usable == [True, True, True]
    assert rig.told == []


@pytest.mark.parametrize("agreement", [1, 2])
async def test_a_head_far_ahead_of_all_others_drags_nobody(make: Make, agreement: int) -> None:
    """REL-F11: +10,000 from one of three."""
    rig = await make(agreement=agreement)
    rig.nodes[1].chain.head = 10_100
    for _ in range(3):
        assert await rig.head() == 100
    assert rig.usable == [True, False, True]
    assert "10000 blocks ahead" in rig.told[0]


async def test_the_last_one_left_is_used_even_if_it_lagged(make: Make) -> None:
    rig = await make(2)
    rig.nodes[1].chain.head = 50
    assert await rig.head() == 100
    rig.nodes[0].fault = cut
    for _ in range(3):
        try:
            assert await rig.head() == 50
            break
        except TransientError:
            continue
    else:
        pytest.fail("nobody answered within three polls")


async def test_alternating_heights_never_turn_a_follower_back(make: Make) -> None:
    """REL-R3 over many polls, seeded."""
    rig = await make()
    for each in rig.nodes:
        each.chain.values["eth_getCode"] = "0x60"
    follower = HeadFollower(await JsonRpcReader.connect(rig.providers, chain_id=1), poll_s=1)
    draw = random.Random(7)
    top, last = 100, 0
    for _ in range(60):
        top += draw.randint(0, 2)
        for each in rig.nodes:
            each.chain.head = top - draw.randint(0, 6)
        try:
            event = await follower.poll()
        except (TransientError, StaleDataError):
            continue
        if event is not None:
            assert event.block.number > last
            assert event.reorg_depth == 0
            last = event.block.number
    assert last > 130


# --- agreement

LIES = {
    "price": ("eth_call", "0x" + "99" * 32),
    "nonce": ("eth_getTransactionCount", "0x63"),
    "balance": ("eth_getBalance", "0xffffffff"),
    "code": ("eth_getCode", "0x99"),
    "storage": ("eth_getStorageAt", "0x" + "99" * 32),
    "logs": ("eth_getLogs", []),
    "receipt": ("eth_getTransactionReceipt", None),
    "block": ("eth_getBlockByHash", None),
}
LOG = {
    "address": "0x" + "aa" * 20,
    "topics": ["0x" + "bb" * 32],
    "data": "0x",
    "blockNumber": "0x32",
    "blockHash": HonestChain().hash_of(50),
    "transactionHash": "0x" + "cc" * 32,
    "transactionIndex": "0x0",
    "logIndex": "0x0",
}
RECEIPT = {
    "transactionHash": "0x" + "cc" * 32,
    "transactionIndex": "0x0",
    "blockHash": HonestChain().hash_of(50),
    "blockNumber": "0x32",
    "status": "0x1",
    "gasUsed": "0x5208",
    "effectiveGasPrice": "0x1",
    "logs": [LOG],
}
PARAMS: dict[str, list] = {
    "eth_call": [{"to": "0x" + "aa" * 20}, "latest"],
    "eth_getTransactionCount": ["0x" + "aa" * 20, "latest"],
    "eth_getBalance": ["0x" + "aa" * 20, "latest"],
    "eth_getCode": ["0x" + "aa" * 20, "0x32"],
    "eth_getStorageAt": ["0x" + "aa" * 20, "0x0", "latest"],
    "eth_getLogs": [{"fromBlock": "0x32", "toBlock": "0x32"}],
    "eth_getTransactionReceipt": ["0x" + "cc" * 32],
    "eth_getBlockByHash": [HonestChain().hash_of(50), False],
}
HONEST: dict[str, object] = {
    "eth_call": "0x" + "11" * 32,
    "eth_getTransactionCount": "0x5",
    "eth_getBalance": "0x64",
    "eth_getCode": "0x60",
    "eth_getStorageAt": "0x" + "00" * 31 + "07",
    "eth_getLogs": [LOG],
    "eth_getTransactionReceipt": RECEIPT,
}


def _false(kind: str, salt: int) -> object:
    """Return a lie of a kind; lies of different salt differ."""
    value = LIES[kind][1]
    if kind == "logs":
        return [{**LOG, "data": f"0x{salt:02x}"}]
    if kind == "receipt":
        return {**RECEIPT, "status": "0x0", "gasUsed": hex(salt + 1)}
    if kind == "block":
        return {**(HonestChain().block(50) or {}), "timestamp": hex(salt + 1)}
    assert isinstance(value, str)
    return value[:-2] + f"{salt + 16:02x}"


@pytest.mark.parametrize("kind", LIES)
@pytest.mark.parametrize("liar", [0, 1, 2])
async def test_one_liar_of_three_changes_nothing(make: Make, kind: str, liar: int) -> None:
    """REL-R4, F14 with k = 2: the honest answer, and the liar is named and benched when it goes on."""
    rig = await make(agreement=2)
    method = LIES[kind][0]
    for each in rig.nodes:
        each.chain.values = dict(HONEST)
    honest = HonestChain(values=dict(HONEST)).result(method, PARAMS[method])
    rig.nodes[liar].twist = lie(method, _false(kind, 1))
    for _ in range(4):
        assert await rig.providers.read(method, PARAMS[method]) == honest
    await until(lambda: not rig.usable[liar])  # its answers may come after those that agreed
    assert rig.usable.count(True) == 2
    told = "\n".join(rig.told)
    assert rig.nodes[liar].node.url in told
    assert "contradicted" in told
    assert KEY not in told


@pytest.mark.parametrize("kind", LIES)
@pytest.mark.parametrize("alike", [True, False])
async def test_two_liars_of_three_lead_to_hold(make: Make, kind: str, alike: bool) -> None:
    """REL-R4, F14: lies that differ never get two votes; lies that are alike never get three."""
    rig = await make(agreement=3 if alike else 2)
    method = LIES[kind][0]
    for each in rig.nodes:
        each.chain.values = dict(HONEST)
    rig.nodes[0].twist = lie(method, _false(kind, 1))
    rig.nodes[2].twist = lie(method, _false(kind, 1 if alike else 2))
    for _ in range(3):
        with pytest.raises(StaleDataError, match="providers disagree"):
            await rig.providers.read(method, PARAMS[method])
    assert any("disagree" in each for each in rig.told)


async def test_the_spelling_of_an_answer_is_no_dissent(make: Make) -> None:
    rig = await make(agreement=3)
    await rig.head()
    rig.nodes[0].twist = lie("eth_getStorageAt", "0x07")
    rig.nodes[1].twist = lie("eth_getStorageAt", "0x" + "00" * 31 + "07")
    rig.nodes[2].twist = lie("eth_getStorageAt", "0x0007")
    assert await rig.providers.read("eth_getStorageAt", PARAMS["eth_getStorageAt"])
    rig.nodes[0].twist = lie(
        "eth_getTransactionReceipt", {**RECEIPT, "extra": 1, "blockHash": RECEIPT["blockHash"]}
    )
    rig.nodes[1].twist = rig.nodes[2].twist = lie("eth_getTransactionReceipt", RECEIPT)
    assert await rig.providers.read("eth_getTransactionReceipt", PARAMS["eth_getTransactionReceipt"])
    assert rig.told == []


async def test_not_knowing_is_no_dissent(make: Make) -> None:
    """A lagging node among three: two that know the block suffice, one does not and says so."""
    rig = await make(agreement=2)
    for each in rig.nodes:
        each.chain.values = dict(HONEST)
    await rig.head()
    unknown = refuse("eth_call", {"code": -32000, "message": "header not found"})
    pinned = [{}, {"blockHash": HonestChain().hash_of(50)}]
    rig.nodes[0].twist = unknown
    assert await rig.providers.read("eth_call", pinned) == HONEST["eth_call"]
    rig.nodes[1].twist = unknown
    with pytest.raises(RpcError, match="header not found"):
        await rig.providers.read("eth_call", pinned)
    assert rig.told == []
    assert rig.usable == [True, True, True]


@pytest.mark.parametrize("fee", [hex(10**30), None, "0x8"])
async def test_the_fee_that_l1_took_is_put_to_the_vote(make: Make, fee: str | None) -> None:
    """REL-R4: it is booked and counts against budgets, so that no one alone may name it."""
    rig = await make(agreement=2)
    honest = RECEIPT if fee == hex(10**30) else {**RECEIPT, "l1Fee": "0x7"}
    for each in rig.nodes:
        each.chain.values["eth_getTransactionReceipt"] = honest
    rig.nodes[0].twist = lie("eth_getTransactionReceipt", {**RECEIPT, "l1Fee": fee})
    for _ in range(3):
        asked = PARAMS["eth_getTransactionReceipt"]
        assert await rig.providers.read("eth_getTransactionReceipt", asked) == honest
    await asyncio.sleep(0.05)
    assert "contradicted" in "\n".join(rig.told)


async def test_no_fee_of_l1_and_one_of_nothing_are_the_same(make: Make) -> None:
    """Nodes differ in whether they say it of a transaction that pays none."""
    rig = await make(2, agreement=2)
    for each, fee in zip(rig.nodes, ("0x0", None), strict=True):
        each.chain.values["eth_getTransactionReceipt"] = {**RECEIPT, "l1Fee": fee}
    assert await rig.providers.read("eth_getTransactionReceipt", PARAMS["eth_getTransactionReceipt"])
    assert rig.told == []


async def test_a_receipt_that_only_one_has_is_not_there_yet(make: Make) -> None:
    """REL-F15: k must have it; a made-up receipt is none."""
    rig = await make(agreement=2)
    for each in rig.nodes:
        each.chain.values["eth_getTransactionReceipt"] = None
    rig.nodes[1].twist = lie("eth_getTransactionReceipt", RECEIPT)
    assert await rig.providers.read("eth_getTransactionReceipt", PARAMS["eth_getTransactionReceipt"]) is None


async def test_reverts_are_put_to_the_vote_too(make: Make) -> None:
    rig = await make(agreement=2)
    await rig.head()
    for each in rig.nodes[:2]:
        each.twist = refuse("eth_call", {"code": 3, "message": "execution reverted", "data": "0x1234"})
    with pytest.raises(RevertError):
        await rig.providers.read("eth_call", PARAMS["eth_call"])


async def test_too_few_voices_are_no_agreement(make: Make) -> None:
    rig = await make(agreement=2, timeout_s=0.5)
    await rig.head()
    rig.nodes[0].fault = rig.nodes[1].fault = cut
    for _ in range(3):
        with pytest.raises(TransientError):
            await rig.providers.request("eth_call", PARAMS["eth_call"])


async def test_latest_means_the_agreed_head(make: Make) -> None:
    """Providers that are a block apart are asked about the same block."""
    rig = await make(agreement=2)
    rig.nodes[0].chain.head = 101
    for each in rig.nodes:
        each.chain.values["eth_call"] = lambda params: "0x" + "00" * 31 + params[1][2:]
    assert await rig.providers.read("eth_call", PARAMS["eth_call"]) == "0x" + "00" * 31 + "64"
    items = await rig.providers.batch(
        [("eth_getBlockByNumber", ["latest", False]), ("eth_call", PARAMS["eth_call"]), ("eth_chainId", [])]
    )
    assert items[0]["number"] == "0x64"
    assert items[1:] == ["0x" + "00" * 31 + "64", "0x1"]
    assert rig.told == []


async def test_nobody_alone_raises_or_lowers_the_pending_nonce(make: Make) -> None:
    """REL-E9."""
    rig = await make(agreement=2)
    await rig.head()
    for each, value in zip(rig.nodes, ("0x63", "0x5", "0x6"), strict=True):
        each.twist = lie("eth_getTransactionCount", value)
    assert await rig.providers.read("eth_getTransactionCount", ["0x" + "aa" * 20, "pending"]) == "0x6"


FEES = {"oldestBlock": "0x1", "baseFeePerGas": ["0x64", "0x64"], "gasUsedRatio": [0.5], "reward": [["0x2"]]}
ESTIMATES = {
    "eth_estimateGas": ("0x5208", ["0x0", hex(10**9)]),
    "eth_feeHistory": (FEES, [{**FEES, "baseFeePerGas": ["0x64", base]} for base in ("0x0", hex(10**18))]),
}
NO_ESTIMATE = {"code": 3, "message": "execution reverted", "data": "0x1234"}


@pytest.mark.parametrize("liar", [0, 1, 2])
@pytest.mark.parametrize("method", ESTIMATES)
async def test_one_of_three_moves_no_estimate(make: Make, method: str, liar: int) -> None:
    """REL-R4: nor makes one fail, nor is told, for honest nodes differ there too."""
    rig = await make(agreement=2)
    honest, lies = ESTIMATES[method]
    for each in rig.nodes:
        each.chain.values[method] = honest
    tipped = {**FEES, "reward": [[hex(10**15)]]}
    for said in [*lies, *([tipped] if honest is FEES else [])]:
        rig.nodes[liar].twist = lie(method, said)
        assert await rig.providers.read(method, []) == honest
    for error in (NO_ESTIMATE, {"code": -32000, "message": "no"}, {"code": -32005, "message": "slow down"}):
        rig.nodes[liar].twist = refuse(method, error)
        assert await rig.providers.request(method, []) == honest
        assert await rig.providers.batch([(method, [])]) == [honest]
    assert rig.told == []


async def test_of_estimates_that_differ_honestly_the_middle_stands(make: Make) -> None:
    rig = await make(agreement=2, timeout_s=5.0)
    await rig.head()
    for each, value in zip(rig.nodes, ("0x99", "0x5208", "0x5300"), strict=True):
        each.chain.values["eth_estimateGas"] = value
    assert await rig.providers.request("eth_estimateGas", []) == "0x5208"
    rig.nodes[1].fault = hang  # it is not waited for: all of a request has those 5 s
    assert await rig.providers.request("eth_estimateGas", []) == "0x5300"


async def test_an_estimate_that_a_majority_refuses_is_refused(make: Make) -> None:
    rig = await make(agreement=2)
    unknown = {"code": -32000, "message": "header not found"}
    for error, words in ((NO_ESTIMATE, "revert"), (unknown, "header not found")):
        for each in rig.nodes[:2]:
            each.twist = refuse("eth_estimateGas", error)
        with pytest.raises(RpcError, match=words) as caught:
            await rig.providers.request("eth_estimateGas", [])
        assert isinstance(caught.value, RevertError) is (error is NO_ESTIMATE)
    rig.nodes[0].twist = refuse("eth_estimateGas", NO_ESTIMATE)  # one reverts, one does not know, one says 1
    with pytest.raises(TransientError, match=r"1 of the 2 providers needed gave one: .*header not found"):
        await rig.providers.request("eth_estimateGas", [])


async def test_a_provider_on_a_fork_cannot_drag_the_head(make: Make) -> None:
    """REL-F12 with k = 2: the others' chain goes on, the fork is named and benched."""
    rig = await make(agreement=2)
    rig.nodes[0].chain = HonestChain(salt=9, forked_at=99, head=102)
    for _ in range(4):
        block = await rig.providers.request("eth_getBlockByNumber", ["latest", False])
        assert block["hash"] == HonestChain().hash_of(100)
    await until(lambda: rig.usable == [False, True, True])


async def test_two_chains_and_no_majority_is_hold(make: Make) -> None:
    """REL-F12: 0 decisions while all differ."""
    rig = await make(agreement=2)
    for salt, each in enumerate(rig.nodes):
        each.chain = HonestChain(salt=salt, forked_at=90)
    with pytest.raises(StaleDataError, match="providers disagree"):
        await rig.head()
    assert rig.told


async def test_a_tip_that_differs_steps_back_to_what_is_common(make: Make) -> None:
    rig = await make(2, agreement=2)
    rig.nodes[1].chain = HonestChain(salt=3, forked_at=100)
    assert await rig.head() == 99


async def test_a_fork_without_agreement_is_told(make: Make) -> None:
    rig = await make(2)
    rig.nodes[1].chain = HonestChain(salt=3, forked_at=100)
    block = await rig.providers.request("eth_getBlockByNumber", ["latest", False])
    assert block["hash"] == HonestChain().hash_of(100)
    assert "providers differ at block 100" in rig.told[0]


async def test_finalized_is_agreed_on_too(make: Make) -> None:
    rig = await make(agreement=2)
    rig.nodes[0].chain.head = 103
    block = await rig.providers.request("eth_getBlockByNumber", ["finalized", False])
    assert block["number"] == hex(36)


async def test_an_agreed_answer_waits_for_nobody_else(make: Make) -> None:
    rig = await make(agreement=2, timeout_s=5.0)
    for each in rig.nodes:
        each.chain.values = dict(HONEST)
    await rig.head()
    rig.nodes[1].fault = hang

    async def one_read() -> None:
        assert await rig.providers.read("eth_getBalance", ["0x" + "aa" * 20, "0x32"]) == "0x64"

    assert await at_best(1.0, one_read)


async def test_no_random_lie_of_one_ever_stands() -> None:
    """REL-R4: 0 wrong answers in 1,000 rounds, seeded; with k = 2 of 3 only two that lie alike could."""
    draw = random.Random(11)
    held = 0
    for _ in range(1_000):
        ballot = Ballot("eth_getBalance", 2)
        voices: list[object] = ["0x64", "0x64", draw.choice(["0x65", None, "0x0", TransientError("x")])]
        if draw.random() < 0.3:  # one of the honest is away
            voices[0] = draw.choice([None, TransientError("down")])
        draw.shuffle(voices)
        for number, voice in enumerate(voices):
            ballot.add(str(number), voice)
        try:
            assert ballot.outcome() in ("0x64", None)
        except (StaleDataError, TransientError):
            held += 1
    assert 0 < held < 500


@given(
    st.lists(st.sampled_from(["0x1", "0x2", "0x3", None, "down", "unknown block"]), min_size=3, max_size=5),
    st.integers(2, 5),
)
def test_what_stands_has_the_votes(voices: list[str | None], needed: int) -> None:
    assume(len(voices) // 2 < needed <= len(voices))
    ballot = Ballot("eth_getBalance", needed)
    for number, voice in enumerate(voices):
        errors = {"down": TransientError("down"), "unknown block": RpcError(-32000, "unknown block")}
        ballot.add(str(number), errors.get(voice, voice) if voice else None)
    try:
        answer = ballot.outcome()
    except StaleDataError:
        assert len({voice for voice in voices if voice in ("0x1", "0x2", "0x3")}) > 1
        return
    except TransientError:
        return
    if answer is None:
        assert sum(voice in (None, "unknown block") for voice in voices) >= needed
    else:
        assert voices.count(answer) >= needed


# --- sends

ACCEPT, REJECT, HANG = "accept", "reject", "hang"


@pytest.mark.parametrize("outcomes", list(itertools.product([ACCEPT, REJECT, HANG], repeat=3)))
async def test_a_send_goes_to_all_and_one_that_takes_it_is_enough(
    make: Make, outcomes: tuple[str, str, str]
) -> None:
    """REL-R11: all 27 combinations."""
    rig = await make(timeout_s=1.5, patience_s=0.3)
    await rig.head()
    rig.forget()
    for each, outcome in zip(rig.nodes, outcomes, strict=True):
        if outcome == ACCEPT:
            each.twist = lie("eth_sendRawTransaction", _hash_of(RAW))
        elif outcome == REJECT:
            each.twist = refuse("eth_sendRawTransaction", {"code": -32000, "message": "insufficient funds"})
        else:
            each.fault = hang
    if ACCEPT in outcomes:
        assert await rig.providers.request("eth_sendRawTransaction", [RAW], send=True) == _hash_of(RAW)
        assert bool(rig.told) == (REJECT in outcomes)
    else:
        with pytest.raises(TransientError) as caught:
            await rig.providers.request("eth_sendRawTransaction", [RAW], send=True)
        assert isinstance(caught.value, RpcError) == (HANG not in outcomes), "ambiguity is never failure"
    sent = [each.methods.count("eth_sendRawTransaction") for each in rig.nodes]
    assert sent == [1, 1, 1], "each once, and never again"


@pytest.mark.parametrize(
    ("messages", "raised"),
    [
        (("already known", "insufficient funds"), None),
        (("insufficient funds", "nonce too low"), "nonce too low"),
        (("nonce too low", "something new"), "something new"),
        (("insufficient funds", "invalid sender"), "insufficient funds"),
    ],
)
async def test_the_most_doubtful_word_counts(
    make: Make, messages: tuple[str, str], raised: str | None
) -> None:
    rig = await make(2)
    for each, message in zip(rig.nodes, messages, strict=True):
        each.twist = refuse("eth_sendRawTransaction", {"code": -32000, "message": message})
    if raised is None:
        assert await rig.providers.request("eth_sendRawTransaction", [RAW], send=True) == _hash_of(RAW)
    else:
        with pytest.raises(RpcError, match=raised):
            await rig.providers.request("eth_sendRawTransaction", [RAW], send=True)


async def test_another_hash_than_that_of_the_bytes_proves_nothing(make: Make) -> None:
    rig = await make(2)
    rig.nodes[0].twist = lie("eth_sendRawTransaction", "0x" + "99" * 32)
    rig.nodes[1].twist = refuse("eth_sendRawTransaction", {"code": -32000, "message": "insufficient funds"})
    with pytest.raises(TransientError, match="answered with another hash") as caught:
        await rig.providers.request("eth_sendRawTransaction", [RAW], send=True)
    assert not isinstance(caught.value, RpcError)


def _hash_of(raw: str) -> str:
    return "0x" + keccak(hexstr=raw).hex()


# --- a real node behind two of three


@pytest.mark.devnet
async def test_a_transaction_over_three_providers_has_one_effect(
    node: Rpc, node_url: str, journal: SqlJournal
) -> None:
    """REL-E4, R11: one provider takes no request to its end; journal and chain agree on one effect."""
    journal.open_leg(send_builders.leg(), at_s=1.0)
    async with faulty_node() as broken:
        broken.answer = cut
        urls = [broken.url, node_url, node_url.replace("127.0.0.1", "localhost")]
        async with Providers(
            [Rpc(url) for url in urls], chain_id=send_builders.CHAIN_ID, agreement=2, patience_s=0.2
        ) as providers:
            sender = send_builders.manager(providers, journal, deadline_s=30.0)
            receipts = await asyncio.gather(*(sender.send(send_builders.request()) for _ in range(3)))
    assert len({receipt.tx_hash for receipt in receipts}) == 1
    assert receipts[0].succeeded
    assert await send_builders.count(node, 1) == 1
    assert await send_builders.nonce(node) == 1


@pytest.mark.devnet
@pytest.mark.parametrize("liar", [0, 1])
async def test_a_liar_about_gas_and_fees_neither_stops_an_order_nor_spoils_it(
    node: Rpc, node_url: str, journal: SqlJournal, liar: int
) -> None:
    """What is signed is what the other two say: it fits into the next block, and pays no more than that."""
    journal.open_leg(send_builders.leg(), at_s=1.0)
    history = await node.request("eth_feeHistory", ["0x1", "latest", [50]])

    def bases(wei: int) -> Any:
        return {**history, "baseFeePerGas": [hex(wei)] * 2}

    no = {"code": 3, "message": "execution reverted", "data": "0x"}
    lies = (
        ("eth_estimateGas", "error", no),
        ("eth_estimateGas", "result", hex(10**9)),
        ("eth_estimateGas", "result", "0x1"),
        ("eth_feeHistory", "result", bases(10**15)),
        ("eth_feeHistory", "result", bases(1)),
    )
    for number, (method, field, value) in enumerate(lies, 1):

        def after(call: Any, reply: Any, said: Any = (method, field, value)) -> Any:
            told = {"jsonrpc": "2.0", "id": call["id"], said[1]: said[2]}
            return told if call["method"] == said[0] else None

        async with send_builders.Proxy(node_url, after=after) as proxy:
            urls = [node_url, node_url.replace("127.0.0.1", "localhost")]
            urls.insert(liar, proxy.url)
            async with Providers(
                [Rpc(url) for url in urls], chain_id=send_builders.CHAIN_ID, agreement=2, patience_s=2.0
            ) as providers:
                receipt = await send_builders.manager(providers, journal).send(send_builders.request(number))
        assert receipt.succeeded
    raws = [decode_raw(event.raw) for event in journal.intents() if event.raw]
    assert len(raws) == len(lies)
    assert all(raw.gas < 10**5 and raw.fees.max_fee_wei < 10 * GWEI for raw in raws)


@pytest.mark.devnet
async def test_a_liar_beside_a_real_node(devnet: Devnet, rpc: Rpc) -> None:
    """REL-R4 on real contracts: the honest two stand on one anvil, over a host name each."""
    async with faulty_node() as node:
        liar = Provider(node, HonestChain(chain_id=31337, head=int(await rpc.request("eth_blockNumber"), 16)))
        urls = [devnet.rpc_url, devnet.rpc_url.replace("127.0.0.1", "localhost"), node.url]
        told: list[str] = []
        async with Providers(
            [Rpc(url, timeout_s=30) for url in urls],
            chain_id=31337,
            agreement=2,
            on_trouble=lambda error: told.append(str(error)),
            patience_s=2.0,
        ) as providers:
            chain = await JsonRpcReader.connect(
                providers, chain_id=31337, multicall3=devnet.deployment.multicall3
            )
            head = await chain.head()
            assert head.hash == (await rpc.request("eth_getBlockByNumber", ["latest", False]))["hash"]
            assert await chain.has_code(devnet.deployment.usdc, block=head)
        assert liar.methods
        assert told


# A contract that answers how much gas is left: each node has a cap of its own for eth_call.
ANSWERS_BY_NODE, ODD = "0x5a5f5260205ff3", "0x" + "0bad" * 10


@dataclass
class Asks:
    """A watcher that asks one contract one thing."""

    target: str
    name: str

    @property
    def series(self) -> tuple[SeriesKey, ...]:
        return (SeriesKey(Metric.PRICE_USD, self.name, "test"),)

    async def read(self, chain: ChainReader, *, block: Block, read_at_s: float) -> list[Observation]:
        call = Call(self.target, keccak(text=f"{self.name}()")[:4], ("uint256",))
        (row,) = await chain.read([call], block=block)
        (key,) = self.series
        known = math.nan if row is None else float(row[0])
        return [
            Observation(
                metric=key.metric,
                subject=key.subject,
                source=key.source,
                value=known,
                observed_at_s=block.timestamp_s,
                read_at_s=read_at_s,
                block_number=block.number,
            )
        ]


@pytest.mark.devnet
async def test_a_contract_that_answers_each_node_otherwise_is_the_only_one_unknown(
    devnet: Devnet, rpc: Rpc
) -> None:
    """REL-R4: of 50 things that a step reads one has no agreed answer; it is told, and the step is done."""
    names = [f"thing{number}" for number in range(50)]
    await rpc.request("anvil_setCode", [ODD, ANSWERS_BY_NODE])
    await rpc.request("anvil_setCode", [ODD[:-1] + "e", "0x60075f5260205ff3"])  # seven, to everybody
    watchers = [Asks(ODD if name == "thing7" else ODD[:-1] + "e", name) for name in names]
    keys = [key for item in watchers for key in item.series]
    told: list[BotError] = []
    async with faulty_node() as other, ClientSession() as session:

        async def capped(_: web.Request, body: Any) -> web.Response:
            """The same node with another cap of gas."""
            if body["method"] == "eth_call":
                body["params"][0]["gas"] = hex(20_000_000)
            async with session.post(devnet.rpc_url, json=body) as reply:
                return web.json_response(await reply.json())

        other.answer = capped
        rpcs = [Rpc(url, timeout_s=30) for url in (devnet.rpc_url, other.url)]
        async with Providers(rpcs, chain_id=31337, agreement=2, patience_s=2.0) as providers:
            chain = await JsonRpcReader.connect(
                providers, chain_id=31337, multicall3=devnet.deployment.multicall3
            )
            source = LiveSource(
                chain=chain,
                watchers=watchers,
                positions=[],
                history=History(keys),
                clock=chain_clock,
                on_trouble=told.append,
            )
            head = await chain.head()
            moment = await source.cut(head, now_s=float(head.timestamp_s))
    found = {key.subject: moment.columns[key].values[-1] for key in keys}
    assert [name for name, value in found.items() if math.isnan(value)] == ["thing7"]
    assert {value for name, value in found.items() if name != "thing7"} == {7.0}
    assert [type(error) for error in told] == [DisagreementError]
