"""Reorganisations of a real node: three kinds of pools, depths up to 20, and below ours (REL-E10, C1-C6)."""

import asyncio

import pytest
from send_builders import Proxy, count, error, leg, manager, nonce, request, result
from send_tools import foreign_transfer, until

from bot.chain.rpc import Rpc, RpcError
from bot.chain.send_state import fold
from bot.errors import InvariantError, TransientError
from bot.model.intent import IntentState as S

pytestmark = pytest.mark.devnet
DEPTHS = (1, 2, 3, 5, 8, 13, 20)
CONFIRMATIONS = 22


@pytest.fixture(autouse=True)
def open_leg(journal):
    journal.open_leg(leg(), at_s=1.0)


def states(journal) -> list[S]:
    return [event.state for event in journal.intents()]


async def _mined(node, journal, depth: int) -> asyncio.Task:
    """Send, and let ``depth`` blocks be mined from the transaction's own on."""
    await node.request("anvil_mine", ["0x19"])
    sender = manager(node, journal, confirmations=CONFIRMATIONS, deadline_s=20.0)
    task = asyncio.create_task(sender.send(request()))
    await until(lambda: S.MINED in states(journal))
    if depth > 1:
        await node.request("anvil_mine", [hex(depth - 1)])
    return task


@pytest.mark.parametrize("depth", DEPTHS)
@pytest.mark.parametrize("pool", ["dropped", "put back"])
async def test_a_transaction_that_a_reorg_removes_takes_effect_once(node, journal, depth, pool):
    """C2: the pool lost it, we send the same bytes. C3: the node put it back, we find it there."""
    task = await _mined(node, journal, depth)
    (raw,) = [event.raw for event in journal.intents() if event.raw]
    await node.request("anvil_reorg", [depth, []])
    if pool == "put back":
        try:
            await node.request("eth_sendRawTransaction", [raw], send=True)
        except RpcError:
            assert S.SENT in states(journal)[3:]  # it was we who were first
    await until(lambda: states(journal).count(S.MINED) >= 2)
    await node.request("anvil_mine", [hex(CONFIRMATIONS)])
    assert (await task).succeeded
    assert len([event for event in journal.intents() if event.raw]) == 1
    assert (await count(node, 1), await nonce(node)) == (1, 1)


@pytest.mark.parametrize("depth", DEPTHS)
async def test_a_nonce_that_a_reorg_gave_to_another_is_lost_at_depth_only(node, journal, depth):
    """C4: until the other one is deep enough, nothing is concluded."""
    task = await _mined(node, journal, depth)
    await node.request("anvil_reorg", [depth, [[foreign_transfer(), 0]]])
    await until(lambda: states(journal)[-1] is S.SENT)
    await asyncio.sleep(0.1)
    assert not task.done()
    await node.request("anvil_mine", [hex(CONFIRMATIONS)])
    with pytest.raises(InvariantError, match="not ours"):
        await task
    assert states(journal)[-1] is S.LOST
    assert await count(node, 1) == 0


async def test_blocks_that_alternate_are_followed(node, journal):
    """C5: mined, gone, mined in another block, gone, mined: one effect, the receipt of the last."""
    task = await _mined(node, journal, 2)
    for times in (2, 3):
        await node.request("anvil_reorg", [2, []])
        await until(lambda times=times: states(journal).count(S.MINED) == times)
        await node.request("anvil_mine", ["0x1"])
    await node.request("anvil_mine", [hex(CONFIRMATIONS)])
    receipt = await task
    mined = [event.block_hash for event in journal.intents() if event.state is S.MINED]
    assert len(set(mined)) == 3
    assert receipt.block_hash == mined[-1]
    assert await count(node, 1) == 1


@pytest.mark.parametrize("depth", [3, 7])
async def test_a_reorg_below_our_depth_halts_and_sends_nothing(node, journal, depth):
    """REL-E11, REL-C6: what was final is gone. The bot neither sends it anew nor goes on beside it."""
    await node.request("anvil_mine", ["0x19"])
    sender = manager(node, journal, confirmations=2)
    task = asyncio.create_task(sender.send(request()))
    await until(lambda: S.MINED in states(journal))
    await node.request("anvil_mine", [hex(depth - 1)])
    await task
    await node.request("anvil_reorg", [depth, []])
    with pytest.raises(InvariantError, match="below our depth: open with nonce 0 was final in block"):
        await sender.send(request(2))
    assert await nonce(node, "pending") == 0
    assert len(fold(journal.intents())) == 1


async def test_what_a_node_calls_final_may_be_asked_for_as_well(node_url, journal, node):
    """REL-E11: at depth, but the finalized tag is behind it."""
    behind = True

    def before(call):
        if behind and call["method"] == "eth_getBlockByNumber" and call["params"][0] == "finalized":
            zero = "0x" + "00" * 32
            block = {"number": "0x0", "hash": zero, "parentHash": zero, "timestamp": "0x1"}
            return result(call, block)
        return None

    async with Proxy(node_url, before=before) as proxy, Rpc(proxy.url, timeout_s=2) as rpc:
        sender = manager(rpc, journal, final_tag="finalized")
        task = asyncio.create_task(sender.send(request()))
        await until(lambda: S.MINED in states(journal))
        await asyncio.sleep(0.1)
        assert not task.done()
        behind = False
        await node.request("anvil_mine", ["0x60"])
        assert (await task).succeeded


async def test_a_node_without_the_tag_never_makes_a_receipt_final(node_url, journal):
    def before(call):
        tagged = call["method"] == "eth_getBlockByNumber" and call["params"][0] == "safe"
        return error(call, "safe block not found") if tagged else None

    async with Proxy(node_url, before=before) as proxy, Rpc(proxy.url, timeout_s=2) as rpc:
        with pytest.raises(TransientError, match="safe block"):
            await manager(rpc, journal, final_tag="safe").send(request())
    assert journal.intents() == ()
