"""C1 to C9: what a chain does to those who watch it and trade on it."""

import asyncio
import math
import time
from collections.abc import Mapping

from campaign.case import RESUME_WITHIN_POLLS, Case, Outcome, both, rigged, tested, unless
from campaign.outage import heights, orders_since, recovered
from campaign.pool import Mode, Pooled
from campaign.purchase import HURRY, STEPS, bought, held, let_go, replacements
from campaign.rig import BLOCK_S, Rig
from campaign.user_key import user_key
from eth_account import Account

from bot.devnet.deploy_bench import Bench, Contract
from bot.devnet.deployment import CHAIN_ID
from bot.devnet.packages import fetch, read_lock
from bot.settings import cache_dir

DEPTHS = (1, 2, 3, 5, 8, 13, 20)
DEEP = 22  # confirmations: deeper than any reorganisation of a case
GWEI = 10**9
CAP_WEI = 500 * GWEI  # execution.max_fee_gwei, as the devnet's configuration leaves it
_TOLD_WITHIN_S = 60.0
_GRACE_S = 3_600
_SEQUENCER = """
[[watch]]
kind = "sequencer"
feed = "{address}"
"""


def _confirmations(rig: Rig, blocks: int) -> None:
    rig.home.change("confirmations = 1", f"confirmations = {blocks}")


async def reorganise(rig: Rig, depth: int, *raws: str) -> None:
    """Replace the newest blocks by as many others: the first holds these transactions and a stranger's.

    Without the stranger's, blocks that were empty would come out with the same hashes: no reorganisation.
    """
    first = await rig.head() - depth + 1
    before = await rig.chain.request("eth_getBlockByNumber", [hex(first), False])
    stranger = {"from": rig.at.deployer, "to": rig.at.trader, "value": hex(rig.random.randint(1, 10**9))}
    await rig.chain.request("anvil_setBlockTimestampInterval", [BLOCK_S])
    try:
        await rig.chain.request("anvil_reorg", [depth, [[item, 0] for item in (*raws, stranger)]])
    finally:
        await rig.chain.request("anvil_setBlockTimestampInterval", [1])  # a devnet's own
    after = await rig.chain.request("eth_getBlockByNumber", [hex(first), False])
    if after["hash"] == before["hash"]:
        raise AssertionError(f"block {first} is what it was: nothing was reorganised")


async def _mined_of_ours(rig: Rig) -> Pooled:
    """Want the purchase; return the first of its transactions once it is in a block.

    One that was offered is in none yet: a depth that was counted then would leave it where it is.
    """
    rig.resume()
    await rig.mine()
    end_s = time.monotonic() + 15.0
    while time.monotonic() < end_s:
        for first in rig.pool.seen[:1]:
            if await rig.chain.request("eth_getTransactionReceipt", [first.hash]) is not None:
                return first
        await asyncio.sleep(0.02)
    raise AssertionError(f"nothing of it is in a block after 15 s; {len(rig.pool.seen)} were offered")


async def c1(rig: Rig) -> Outcome:
    """Before anything of ours: observed anew, then one purchase on the new chain."""
    await rig.warm()
    await rig.mine(25)
    await rig.step(2)
    depth = rig.random.choice(DEPTHS)
    await reorganise(rig, depth)
    rig.resume()
    polls = await recovered(rig)
    wrong = await bought(rig)
    return Outcome(wrong=wrong, to_recover_polls=polls, note=f"depth {depth}")


async def _removed(rig: Rig, *, puts_back: bool) -> Outcome:
    """A block with a transaction of ours goes, at a depth below the confirmations that are asked for."""
    _confirmations(rig, DEEP)
    await rig.warm()
    await rig.mine(25)
    first = await _mined_of_ours(rig)
    deeper = rig.random.randrange(6)
    await rig.mine(deeper)
    await asyncio.sleep(0.2)
    await reorganise(rig, deeper + 1)
    gone = await rig.chain.request("eth_getTransactionReceipt", [first.hash]) is None
    wrong = unless(gone, "the reorganisation left our transaction where it was")
    if puts_back:
        await rig.pool.put_back()
    wrong += await _deepened(rig)
    payloads = {item.hash for item in rig.pool.seen if item.nonce == first.nonce}
    wrong += unless(len(payloads) == 1, f"other bytes were signed for nonce {first.nonce}: {payloads}")
    return Outcome(wrong=wrong, note=f"depth {deeper + 1}, {'put back' if puts_back else 'forgotten'}")


async def _deepened(rig: Rig, *, within_s: float = 35.0) -> tuple[str, ...]:
    """Let blocks pass at once, as each transaction waits for its depth, until the purchase is booked."""
    end_s = time.monotonic() + within_s
    while not (rig.filled() and not rig.open_work()):
        if not await rig.supervised():
            return (f"the bot ended: {rig.bot.err[-800:]}",)
        if time.monotonic() > end_s:
            break
        await rig.mine(4, every_s=1)
        await asyncio.sleep(0.05)
    return await bought(rig, blocks=3)


async def c2(rig: Rig) -> Outcome:
    return await _removed(rig, puts_back=False)


async def c3(rig: Rig) -> Outcome:
    return await _removed(rig, puts_back=True)


async def _foreign(rig: Rig, nonce: int) -> str:
    """Sign a transfer with the account's key outside of the bot; return its bytes."""
    account = Account.from_key(user_key())
    fields = {
        "type": 2, "chainId": CHAIN_ID, "nonce": nonce, "to": rig.at.trader, "value": 1, "gas": 21_000,
        "maxFeePerGas": 100 * GWEI, "maxPriorityFeePerGas": GWEI,
    }  # fmt: skip
    signed = account.sign_transaction(fields)
    rig.foreign.append("0x" + bytes(signed.hash).hex())
    return "0x" + bytes(signed.raw_transaction).hex()


async def c4(rig: Rig) -> Outcome:
    """Another transaction of the same nonce takes its place: nothing is concluded before it is deep."""
    confirmations = 6
    _confirmations(rig, confirmations)
    await rig.warm()
    await rig.mine(25)
    first, deeper = await _mined_of_ours(rig), rig.random.randrange(3)
    await rig.mine(deeper)
    start_s = time.monotonic()
    await reorganise(rig, deeper + 1, await _foreign(rig, first.nonce))
    await asyncio.sleep(0.3)
    early = rig.bot.is_alive
    wrong = unless(early, f"it concluded at depth {deeper + 1} of {confirmations}: {rig.bot.err[-300:]}")
    for _ in range(3 * confirmations):
        await rig.mine(every_s=1)
        if await rig.until(lambda: not rig.bot.is_alive, within_s=0.5):
            break
    wrong += unless(not rig.bot.is_alive, "a foreign transaction took its nonce, and it went on")
    told_s = rig.heard(start_s, "stopped", says="accept_nonce")
    wrong += unless(not math.isnan(told_s), f"nobody was told: {rig.alarms.since(start_s)}")
    sent = [item for item in rig.pool.seen if item.nonce > first.nonce]
    wrong += unless(not sent, f"it went on with later nonces: {sent}")
    return Outcome(wrong=wrong, to_alarm_s=told_s, note=f"depth {deeper + 1}")


async def c5(rig: Rig) -> Outcome:
    """A, B, A: mined, gone, mined elsewhere, gone, mined: one effect, and the journal has the last."""
    _confirmations(rig, DEEP)
    await rig.warm()
    await rig.mine(25)
    raw = (await _mined_of_ours(rig)).raw
    for times in range(2 + rig.random.randrange(3)):
        await asyncio.sleep(0.1)
        depth = 1 + rig.random.randrange(3)
        await rig.mine(depth, every_s=1)
        await reorganise(rig, depth + 1, *([raw] if times % 2 else []))
        await rig.pool.put_back()
    return Outcome(wrong=await _deepened(rig))


async def c6(rig: Rig) -> Outcome:
    """A final block is replaced: nothing is opened, also after a restart, until a person releases it."""
    await rig.warm()
    await rig.mine(100)  # anvil calls the 64th below its head final
    await rig.step(2)
    start_s = time.monotonic()
    await reorganise(rig, 66 + rig.random.randrange(20))
    rig.resume()
    first = await rig.head()
    for _ in range(RESUME_WITHIN_POLLS):
        await rig.step(within_s=5.0)
    to_alarm_s = rig.heard(start_s, says="final")
    held = not math.isnan(to_alarm_s)
    wrong = unless(held, f"nobody was told of a final block that went: {rig.alarms.since(start_s)}")
    await rig.end("bot")
    await rig.start_bot()
    await rig.step(3)
    wrong += unless(not orders_since(rig, first), "a restart was taken for a release")
    wrong += unless(not rig.pool.seen, "it sent under the halt")
    await rig.end("bot")
    released = await rig.ended(rig.home.start("release"))
    wrong += unless(released == 0, f"alvh release ended with {released}: {rig.said[-1]}")
    await rig.start_bot()
    wrong += await bought(rig)
    return Outcome(wrong=wrong, to_alarm_s=to_alarm_s)


async def c7(rig: Rig) -> Outcome:
    """Ten blocks a second, an hour without one, five hundred at once, full ones."""
    await rig.warm()
    for _ in range(20):
        await rig.mine(every_s=1)
        await asyncio.sleep(0.1)
    polls = await recovered(rig)
    start_s = time.monotonic()
    wrong = unless(
        await rig.until(lambda: rig.heard(start_s, "silence") < 60.0, within_s=15.0),
        "no block came, and nobody was told",
    )
    to_alarm_s = rig.heard(start_s, "silence")
    await _later(rig, 3_600)
    polls = max(polls, await recovered(rig))
    await rig.chain.request("anvil_mine", [hex(500), hex(12)])
    await rig.move_feed(await _spot(rig))
    polls = max(polls, await recovered(rig))
    rig.pool.mode = Mode.HOLD  # blocks are full: ours stay out of them
    rig.resume()
    await rig.mine()
    sent = await rig.until(lambda: rig.pool.seen, within_s=10.0)
    wrong += unless(sent, f"it sent nothing: {rig.bot.err[-300:]}")
    await rig.mine(2 + rig.random.randrange(3))
    await asyncio.sleep(0.3)
    rig.pool.mode = Mode.PASS
    await rig.pool.release()
    wrong += await bought(rig)
    seen = heights(rig)
    wrong += unless(seen == sorted(seen), "the height went back")
    return Outcome(wrong=wrong, to_alarm_s=to_alarm_s, to_recover_polls=polls)


async def _spot(rig: Rig) -> float:
    """Return what the feed says now."""
    call = {"to": rig.at.feed_eth_usd, "data": "0xfeaf968c"}  # latestRoundData()
    return int((await rig.chain.request("eth_call", [call, "latest"]))[2 + 64 : 2 + 128], 16) / 1e8


async def c8(rig: Rig) -> Outcome:
    """The base fee rises a hundredfold under a transaction: bumped to the cap, told, then done."""
    nonce = await rig.warm(arm=[HURRY])
    hit = nonce + rig.random.randrange(len(STEPS))
    victim = await held(rig, hit)
    block = await rig.chain.request("eth_getBlockByNumber", ["latest", False])
    low_wei = int(block["baseFeePerGas"], 16)
    high_wei = max(100 * low_wei, rig.random.randint(2_000, 9_000) * GWEI)
    start_s = time.monotonic()
    for step in range(1, 11):
        await _base_fee(rig, round(low_wei * (high_wei / low_wei) ** (step / 10)))
        await asyncio.sleep(0.2)
    told_s = math.nan
    while math.isnan(told_s) and time.monotonic() - start_s < _TOLD_WITHIN_S:
        await _base_fee(rig, high_wei)
        await asyncio.sleep(0.3)
        told_s = rig.heard(start_s, says="too dear")
    signed = rig.pool.of(hit)
    wrong = [
        *unless(not math.isnan(told_s), f"nobody was told that it is too dear: {rig.bot.err[-500:]}"),
        *unless(rig.filled() == 0, "it bought at a hundred times the fee"),
        *unless(len(signed) > 1, f"it was not bumped: {victim.max_fee_wei} wei"),
        *unless(max(item.max_fee_wei for item in signed) <= CAP_WEI, f"bumped over the cap: {signed[-1]}"),
        *replacements(rig, hit),
    ]
    await _base_fee(rig, low_wei)
    await let_go(rig, hit)
    polls = await recovered(rig)
    wrong += await bought(rig)
    note = f"{STEPS[hit - nonce]}, {len(signed)} signed, the last at {signed[-1].max_fee_wei / GWEI:.0f} gwei"
    return Outcome(wrong=tuple(wrong), to_alarm_s=told_s, to_recover_polls=polls, note=note)


async def _base_fee(rig: Rig, wei: int) -> None:
    """Mine a block of this base fee, and have the next one ask the same."""
    await rig.chain.request("anvil_setNextBlockBaseFeePerGas", [hex(wei)])
    await rig.mine()
    await rig.chain.request("anvil_setNextBlockBaseFeePerGas", [hex(wei)])


async def c9(rig: Rig) -> Outcome:
    """The sequencer is down, then up for less than its grace: held in both; then it buys."""
    bench = Bench(rig.chain, fetch(cache_dir(), packages=read_lock()), rig.at.accounts)
    feed = await bench.deploy_own("ChainlinkFeed", 0, "sequencer", 0)
    text = rig.home.config.read_text("utf-8")
    rig.home.config.write_text(text + _SEQUENCER.format(address=feed.address), "utf-8")
    await _later(rig, 2 * _GRACE_S)
    await rig.warm()
    start_s, first = time.monotonic(), await rig.head()
    await _sequencer(rig, feed, is_up=False)
    rig.resume()
    wrong = unless(await rig.step(1 + rig.random.randrange(3)), "it took no step")
    await rig.until(lambda: rig.alarms.since(start_s, "hold", says="sequencer"), within_s=20.0)
    to_alarm_s = rig.heard(start_s, "hold", says="sequencer")
    wrong += unless(not math.isnan(to_alarm_s), "the sequencer is down, and nobody was told")
    await _sequencer(rig, feed, is_up=True)
    await _later(rig, rig.random.randint(1, _GRACE_S - 600))
    wrong += unless(await rig.step(2), "it took no step")
    wrong += unless(not rig.pool.seen, f"it sent {len(rig.pool.seen)} times, down or within the grace")
    wrong += unless(not orders_since(rig, first), f"it decided: {orders_since(rig, first)}")
    await _later(rig, _GRACE_S)
    return Outcome(wrong=wrong + await bought(rig), to_alarm_s=to_alarm_s)


async def _later(rig: Rig, seconds: int) -> None:
    """Let time pass without a block, and the feed be fresh after it."""
    before_s = await rig.now_s()
    await rig.chain.request("evm_setNextBlockTimestamp", [int(before_s) + seconds])
    await rig.chain.request("evm_mine")
    if await rig.now_s() != before_s + seconds:  # evm_increaseTime is ignored under a block interval
        raise AssertionError(f"{seconds} s were to pass, {await rig.now_s() - before_s:.0f} s did")
    await rig.move_feed(await _spot(rig))


async def _sequencer(rig: Rig, feed: Contract, *, is_up: bool) -> None:
    await feed.send("setAnswer", int(not is_up), int(await rig.now_s()))


CASES: Mapping[str, Case] = {
    "C1": rigged(c1),
    "C2": rigged(c2),
    "C3": rigged(c3),
    "C4": rigged(c4, at_rest=False),
    "C5": rigged(c5),
    "C6": rigged(c6),
    "C7": rigged(c7),
    "C8": rigged(c8),
    "C9": both(rigged(c9), tested("watchers/test_sequencer.py")),
}
