"""The F rows of reliability.md, each with its expected behaviour and invariants I5, I6 and I13.

A real devnet, three proxies in front of it, and the program's own providers, reader, heads, source and
decision. In every case: warm up, fail, recover; then the chain itself is asked what was true.
"""

import asyncio
import time
from contextlib import AsyncExitStack

import pytest
from faults import faults as f
from faults.proxy import FaultProxy, fault_proxy
from faults.watch import TIMEOUT_S, Watch, open_watch

from bot.devnet.config import write_config
from bot.errors import StaleDataError, TransientError
from bot.model.record import StepRecord
from bot.settings import Settings, load_settings

pytestmark = pytest.mark.devnet


@pytest.fixture
def settings(devnet, tmp_path) -> Settings:
    return load_settings(write_config(devnet.deployment, rpc_url=devnet.rpc_url, directory=tmp_path))


@pytest.fixture
async def rig(devnet, settings):
    """Return (how to open a watch, the proxies)."""
    async with AsyncExitStack() as stack:
        proxies = [
            await stack.enter_async_context(fault_proxy(devnet.rpc_url, seed=number)) for number in (1, 2, 3)
        ]

        async def opened(count: int = 1, *, agreement: int = 1) -> Watch:
            watch = await open_watch(
                [proxy.url for proxy in proxies[:count]], settings, devnet.rpc_url, agreement=agreement
            )
            stack.push_async_callback(watch.node.close)
            stack.push_async_callback(watch.chain.close)
            return watch

        yield opened, proxies


async def audited(watch: Watch, proxies: list[FaultProxy], *, resumed_within: int = 2) -> None:
    """Check recovery within two polls (I13), every head accounted for (I5), every value true (I6)."""
    found = await watch.polls(resumed_within)
    assert any(record is not None for record in found), "it did not resume"
    assert await watch.check_rows() > 0
    heads = {}
    for block in watch.heads:
        raw = await watch.chain.read("eth_getBlockByNumber", [hex(block.number), False])
        heads[block.number] = raw["hash"]
    watch.check_hashes(heads)
    served = {number: hash_ for proxy in proxies for number, hash_ in proxy.served.items()}
    watch.check_heads({number: hash_ for number, hash_ in served.items() if heads.get(number) == hash_})


async def test_f1_one_provider_down_the_next_answers_within_the_poll(rig):
    opened, proxies = rig
    watch = await opened(3)
    assert None not in await watch.polls(2)
    with proxies[0].failing(f.Refused()):
        assert None not in await watch.polls(5), "no poll is lost"
    assert len(watch.troubles) <= 2, "one down provider is no storm of alarms"
    await audited(watch, proxies)


async def test_f2_all_down_is_a_recorded_gap_and_no_decision(rig):
    opened, proxies = rig
    watch = await opened(3)
    await watch.polls(2)
    decided = len(watch.records)
    for proxy in proxies:
        proxy.fault = f.Refused()
    assert await watch.polls(4) == [None] * 4
    for proxy in proxies:
        proxy.fault = None
    assert len(watch.records) == decided
    await asyncio.sleep(1.1)  # the pause of a provider that failed
    await audited(watch, proxies)
    (gap,) = [gap for gap in watch.source.history.gaps() if gap.to_number - gap.from_number >= 3]
    assert "127.0.0.1" in gap.why
    assert gap.from_s < gap.to_s


@pytest.mark.parametrize("delay_s", [0.1, 0.4, 30.0])
async def test_f3_latency_is_bounded_by_one_deadline(rig, delay_s):
    fault = f.Late(delay_s=delay_s, spread_s=0.1 * delay_s)
    # Head, then everything at its hash: two rounds, each within twice the timeout of one call.
    await polled_within(4 * TIMEOUT_S + 0.5, rig, fault)


@pytest.mark.parametrize("silent", [True, False])
async def test_f4_a_hang_after_headers_ends_at_the_deadline(rig, silent):
    found = await polled_within(2 * TIMEOUT_S + 0.5, rig, f.Drip(silent=silent))
    assert all(record is None for record in found)


async def polled_within(limit_s: float, rig, fault: f.Fault, *, tries: int = 3) -> list[StepRecord | None]:
    """Return what polls under a fault decide, each by a watch of its own; one must keep the limit."""
    opened, proxies = rig
    found = []
    for _ in range(tries):
        watch = await opened(1)
        await watch.polls(2)
        with proxies[0].failing(fault):
            await watch.mine()
            began_s = time.monotonic()
            found.append(await watch.poll())
            took_s = time.monotonic() - began_s
        await audited(watch, proxies)
        if took_s < limit_s:
            return found
    raise AssertionError(f"no poll of {tries} took less than {limit_s} s")


SPOILED = [
    pytest.param(f.CutBody(reset=True), id="F5-reset"),
    pytest.param(f.CutBody(reset=False), id="F5-truncated"),
    *(
        pytest.param(f.Rubbish(kind=kind), id=f"F6-{kind}")
        for kind in ("html", "empty", "text", "bomb", "huge")
    ),
    *(pytest.param(f.Ids(kind=kind), id=f"F7-id-{kind}") for kind in ("wrong", "none", "text")),
    pytest.param(f.Result(), id="F8-null"),
    *(
        pytest.param(f.Result(value=value), id=f"F9-{value!r:.12}")
        for value in ("0x", "0xZZ", "12", "-0x1", hex(10**80), True, {"a": {}}, [[]], 1e400)
    ),
    pytest.param(f.Limited(status=403), id="F10-403"),
    pytest.param(f.Limited(status=402), id="F10-402"),
]


@pytest.mark.parametrize("fault", SPOILED)
async def test_f5_to_f10_a_spoiled_answer_is_never_taken(rig, fault):
    opened, proxies = rig
    watch = await opened(1)
    await watch.polls(2)
    with proxies[0].failing(fault):
        await watch.mine()
        assert await watch.poll() is None
    assert watch.troubles
    assert all("key-1" not in str(trouble) for trouble in watch.troubles), "I4: no key in an error"
    await asyncio.sleep(1.1)  # the pause of a provider that failed
    await audited(watch, proxies)


@pytest.mark.parametrize("fault", SPOILED)
async def test_f5_to_f10_another_provider_stands_in(rig, fault):
    opened, proxies = rig
    watch = await opened(2)
    await watch.polls(1)
    with proxies[0].failing(fault):
        assert None not in await watch.polls(2)
    await audited(watch, proxies)


METHODS = ("eth_getBlockByNumber", "eth_call", "eth_getBlockByHash", "eth_chainId")


@pytest.mark.parametrize("method", METHODS)
async def test_f8_null_for_each_method_in_turn_is_unknown_not_zero(rig, method):
    opened, proxies = rig
    watch = await opened(1)
    await watch.polls(2)
    with proxies[0].failing(f.Result(methods=frozenset({method}))):
        await watch.polls(2)
    assert all(row.value != 0.0 for row in watch.rows if row.metric == "price_usd")
    await audited(watch, proxies)


@pytest.mark.parametrize("kind", ["reordered", "short", "twice"])
async def test_f7_a_batch_is_taken_by_its_ids_or_not_at_all(rig, kind):
    _, proxies = rig
    calls = [("eth_chainId", []), ("eth_blockNumber", []), ("eth_gasPrice", [])]
    from bot.chain.rpc import Rpc

    async with Rpc(proxies[0].url, timeout_s=2.0) as rpc:
        expected = await rpc.batch(calls)
        with proxies[0].failing(f.Batch(kind=kind)):
            if kind == "reordered":
                assert await rpc.batch(calls) == expected
            else:
                with pytest.raises(TransientError, match="ids"):
                    await rpc.batch(calls)


async def test_f10_nothing_is_sent_inside_the_window_that_was_asked_for(rig):
    opened, proxies = rig
    watch = await opened(1)
    await watch.polls(2)
    with proxies[0].failing(f.Limited(status=429, retry_after="4")):
        await watch.mine()
        await watch.poll()
        asked = proxies[0].asked.total()
        start = time.monotonic()
        while time.monotonic() - start < 0.5:  # no wait fits into the deadline of a read, so none is made
            await watch.poll()
        assert proxies[0].asked.total() == asked, "0 calls in the window"
        await asyncio.sleep(4.0 - (time.monotonic() - start))
    await audited(watch, proxies)


async def test_f11_a_frozen_head_is_benched_and_another_leads(rig):
    opened, proxies = rig
    watch = await opened(2)
    await watch.polls(2)
    with proxies[0].failing(f.Frozen(number=watch.heads[-1].number)):
        found = await watch.polls(6)
        assert found.count(None) <= 2, "benched within two polls"
    await audited(watch, proxies)


@pytest.mark.parametrize("lag", [1, 5, 50])
async def test_f11_a_lagging_head_never_takes_the_height_back(rig, lag):
    opened, proxies = rig
    watch = await opened(1)
    await watch.mine(60)
    await watch.polls(2)
    with proxies[0].failing(f.Head(lag=lag)):
        await watch.polls(3)
    numbers = [block.number for block in watch.heads]
    assert numbers == sorted(numbers)
    await audited(watch, proxies)


async def test_f11_a_head_far_ahead_is_not_followed(rig):
    opened, proxies = rig
    watch = await opened(3)
    await watch.polls(2)
    with proxies[0].failing(f.Head(jump=10_000)):
        await watch.polls(4)
    assert max(block.number for block in watch.heads) < 10_000
    await audited(watch, proxies)


async def test_f12_a_provider_on_a_fork_is_never_decided_on(rig):
    opened, proxies = rig
    watch = await opened(3, agreement=2)
    await watch.polls(2)
    with proxies[0].failing(f.Forked()):
        assert None not in await watch.polls(4)
    await audited(watch, proxies)


async def test_f12_two_providers_on_different_chains_are_hold(rig):
    opened, proxies = rig
    watch = await opened(2, agreement=2)
    await watch.polls(2)
    with proxies[0].failing(f.Forked()):
        assert await watch.polls(3) == [None] * 3, "0 decisions"
    assert any(isinstance(trouble, StaleDataError) for trouble in watch.troubles)
    await asyncio.sleep(0.1)
    watch.records.clear()


@pytest.mark.parametrize("when", ["mid-session"])
async def test_f13_another_chain_behind_the_url_is_quarantined(rig, when):
    opened, proxies = rig
    watch = await opened(2)
    await watch.polls(2)
    before = proxies[0].asked["eth_call"]
    with proxies[0].failing(f.Chain(chain_id=1)):
        with proxies[1].failing(f.Refused()):  # so that it is asked who it is
            await watch.polls(3)
        await watch.polls(1)
    assert proxies[0].asked["eth_call"] - before <= 4 * len(watch.source.watchers)
    await asyncio.sleep(1.1)
    await audited(watch, proxies)


@pytest.mark.parametrize("liar", [f.Liar(), f.Flipped()], ids=["old state", "a flipped digit"])
async def test_f14_one_liar_of_three_changes_no_value(rig, liar):
    opened, proxies = rig
    watch = await opened(3, agreement=2)
    await watch.mine(25)
    await watch.polls(2)
    with proxies[1].failing(liar):
        assert None not in await watch.polls(5)
    await audited(watch, proxies)


@pytest.mark.parametrize("liar", [f.Liar(), f.Flipped()], ids=["old state", "a flipped digit"])
async def test_f14_two_different_liars_of_three_are_hold(rig, liar):
    opened, proxies = rig
    watch = await opened(3, agreement=3)
    await watch.mine(25)
    await watch.polls(2)
    decided = len(watch.records)
    with proxies[1].failing(liar), proxies[2].failing(liar):
        await watch.polls(3)
    assert len(watch.records) == decided, "0 decisions"
    await asyncio.sleep(0.1)
    assert await watch.check_rows() > 0


async def test_f18_a_pinned_read_of_a_lagging_node_is_dropped_not_mixed(rig):
    opened, proxies = rig
    watch = await opened(1)
    await watch.polls(2)
    with proxies[0].failing(f.Unpinned()):
        await watch.polls(2)
    await audited(watch, proxies)


@pytest.mark.parametrize("depth", [1, 2, 3, 5, 8, 13, 20])
async def test_c1_a_reorg_is_observed_again(rig, depth):
    opened, proxies = rig
    watch = await opened(1)
    await watch.mine(25)
    await watch.polls(3)
    gone = watch.heads[-1]
    sender, receiver = (await watch.chain.request("eth_accounts"))[:2]
    stranger = {"from": sender, "to": receiver, "value": "0x1"}  # empty blocks would come out as they were
    await watch.chain.request("anvil_reorg", [depth, [[stranger, 0]]])
    there = await watch.chain.request("eth_getBlockByNumber", [hex(gone.number), False])
    assert there["hash"] != gone.hash
    watch.heads = [b for b in watch.heads if b.number <= watch.heads[-1].number - depth]
    orphaned = {row.block_number for row in watch.rows}
    watch.rows.clear()
    await audited(watch, proxies)
    assert orphaned


async def test_c7_a_burst_of_blocks_is_one_decision_and_a_gap(rig):
    opened, proxies = rig
    watch = await opened(1)
    await watch.polls(2)
    await watch.chain.request("anvil_mine", [hex(500), hex(12)])
    watch.time_s = 0
    record = await watch.poll()
    assert record is not None
    await audited(watch, proxies)
    assert sum(gap.to_number - gap.from_number + 1 for gap in watch.source.history.gaps()) >= 499
