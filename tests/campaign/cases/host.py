"""H5 to H8: clocks, a loop that stands still, a long run, networks that lie. The disks: disk.py."""

import json
import math
import time
from collections.abc import Mapping
from contextlib import AsyncExitStack

from campaign import soak
from campaign.case import Case, Outcome, both, rigged, unless
from campaign.cases import disk
from campaign.process_faults import said_by
from campaign.purchase import bought
from campaign.rig import Rig
from campaign.tls_sites import certificate, site
from faults.proxy import fault_proxy

from bot.chain.rpc import quantity

# H5


async def _chain_ahead_s(rig: Rig) -> float:
    """Return how far the devnet's newest block is ahead of this machine's clock, in seconds."""
    return await rig.now_s() - time.time()


async def jumped(rig: Rig) -> Outcome:
    """H5: the host's clock jumps in an order whose time is the chain's: the order ends as if it had not."""
    shift = rig.home.folder.parent / "shift"
    shift.write_text("0")
    jump_s = rig.random.choice((3_600.0, -3_600.0, 10 * 365 * 86_400.0, 61.0, -1.0))
    clock = [["campaign.process_faults:arm_clock", str(shift)]]
    await rig.start_signer(arm=clock)
    await rig.warm(arm=clock, starts_signer=False)
    rig.resume()
    await rig.mine()
    wanted = rig.random.randrange(5)
    await rig.until(lambda: len(rig.pool.seen) >= wanted, within_s=10.0)
    shift.write_text(str(jump_s))
    wrong = await bought(rig)
    wrong += await _late_deadlines(rig)
    await rig.end("bot")
    await rig.start_bot(arm=clock)
    wrong += unless(
        await rig.step(2), f"it does not start with a clock off by {jump_s:.0f} s: {said_by(rig)}"
    )
    wrong += unless(rig.filled() == 1, f"the jump let it buy again: {rig.outcomes()}")
    return Outcome(wrong=wrong, note=f"{jump_s:+.0f} s after {wanted} sends")


async def _late_deadlines(rig: Rig) -> tuple[str, ...]:
    """Return swaps whose deadline was over in the block that they are in, or lies a week away."""
    wrong: list[str] = []
    for item in rig.pool.seen:
        if item.data[:10] in ("0x414bf389", "0xdb3e2198"):  # exactInputSingle, exactOutputSingle
            deadline_s = int(item.data[10 + 4 * 64 : 10 + 5 * 64], 16)
            receipt = await rig.chain.request("eth_getTransactionReceipt", [item.hash])
            if receipt is None:
                continue
            block = await rig.chain.request("eth_getBlockByNumber", [receipt["blockNumber"], False])
            at_s = quantity(block["timestamp"])
            if not at_s <= deadline_s < at_s + 7 * 86_400:
                wrong.append(f"{item.hash}: deadline {deadline_s}, its block {at_s}")
    return tuple(wrong)


async def skewed(rig: Rig) -> Outcome:
    """H5: a clock of the wall. Apart from the chain's by more than a minute: a hold; within it: it buys."""
    shift = rig.home.folder.parent / "shift"
    off_s = rig.random.choice((-3_600.0, -300.0, 300.0, 3_600.0, 40_000.0, 10 * 365 * 86_400.0))
    away_s = await _chain_ahead_s(rig)
    shift.write_text(str(away_s + off_s))
    rig.home.change(r'clock = "chain"', 'clock = "wall"')
    clock = [["campaign.process_faults:arm_clock", str(shift)]]
    await rig.start_signer(arm=clock)
    fault_s = time.monotonic()
    await rig.start_bot(arm=clock)
    if off_s < 0.0:  # a chain ahead of our clock is believed from its second head on
        await rig.mine()
        await rig.until(lambda: "once the next one is ahead too" in rig.bot.err, within_s=20.0)
    stepped = await rig.step(3)
    wrong = unless(stepped, f"it took no step: {said_by(rig)}")
    wrong += unless(not rig.pool.seen, f"{len(rig.pool.seen)} sends with a clock off by {off_s:+.0f} s")
    wrong += unless(disk.holds(rig), f"no hold with a clock off by {off_s:+.0f} s")
    told_s = rig.heard(fault_s)
    wrong += unless(not math.isnan(told_s), "nobody was told of the skew")
    shift.write_text(str(await _chain_ahead_s(rig) + 5.0))
    for _ in range(15):
        shift.write_text(str(await _chain_ahead_s(rig) + 14.0))  # the next block comes 12 s later
        await rig.step(within_s=5.0)
        if (rig.filled() and not rig.open_work()) or not rig.bot.is_alive:
            break
    wrong += unless(rig.filled() == 1, f"with the clock set: {_reasons(rig)}; {said_by(rig)}")
    return Outcome(wrong=wrong, to_alarm_s=told_s, note=f"{off_s:+.0f} s")


def _reasons(rig: Rig) -> list[str]:
    return rig.journalled(lambda journal: [f"{i.status}: {i.because}" for i in journal.outcomes()], [])


# H6


async def stalled(rig: Rig) -> Outcome:
    """H6: the loop is blocked. Told within 5 s, while it stands; what came meanwhile is not decided on."""
    order = rig.home.folder.parent / "stall"
    await rig.warm(arm=[["campaign.process_faults:arm_stall", str(order)]])
    seconds = rig.random.choice((4.0, 6.0, 9.0))
    order.write_text(str(seconds))
    await rig.until(lambda: not order.exists(), within_s=5.0)
    fault_s = time.monotonic()
    rig.resume()
    blocks = rig.random.randint(2, 6)
    await rig.mine(blocks)
    await rig.until(lambda: rig.alarms.since(fault_s, "stall"), within_s=5.5)
    told_s = rig.heard(fault_s, "stall")
    wrong = unless(told_s <= 5.0, f"a loop that stands still was told after {told_s:.1f} s, allowed 5 s")
    head = await rig.head()
    await rig.until(lambda: _decided_at(rig) >= head, within_s=seconds + 10.0)
    wrong += unless(_decided_at(rig) >= head, f"it went on at block {_decided_at(rig)}, the head is {head}")
    wrong += await bought(rig)
    return Outcome(wrong=wrong, to_alarm_s=told_s, note=f"{seconds:.0f} s, {blocks} blocks meanwhile")


def _decided_at(rig: Rig) -> int:
    last = rig.last()
    return 0 if last is None else max(last.decision.blocks.values())


# H7


async def long_run(rig: Rig) -> Outcome:
    """H7: polls with faults and restarts; memory, handles and logs stay flat, and no head is lost."""
    figures = await soak.soaked(rig, minutes=0.4)
    wrong = unless(figures["soak_fds_grown"] <= 4, f"{figures['soak_fds_grown']} handles more")
    wrong += unless(figures["soak_heads_lost"] == 0, f"{figures['soak_heads_lost']} heads lost")
    wrong += unless(figures["soak_rss_mib_grown"] < 30.0, f"{figures['soak_rss_mib_grown']:.1f} MiB more")
    return Outcome(wrong=wrong, note=f"{figures['soak_polls']} polls")


# H8


async def networks(rig: Rig) -> Outcome:
    """H8: of the providers one has no name, one an old certificate, one that of another host, one speaks IPv6
    alone; the environment names a proxy. Those of TLS and the proxy get not one byte of a request."""
    folder = rig.home.folder.parent
    old, old_file = await certificate(folder, name="old", host="127.0.0.1", days=-1)
    other, other_file = await certificate(folder, name="other", host="example.org", days=30)
    async with AsyncExitStack() as stack:
        expired = await stack.enter_async_context(site(old))
        elsewhere = await stack.enter_async_context(site(other))
        proxy = await stack.enter_async_context(site())
        more = [
            await stack.enter_async_context(fault_proxy(rig.rpc_url, seed=number, host=host))
            for number, host in ((4, "127.0.0.1"), (5, "::1"))
        ]
        for item in more:
            item.pool = rig.pool
        good = [item.url for item in (*rig.proxies, *more)]
        bad = [
            f"{expired.url}/key-1-canary",
            f"{elsewhere.url}/key-1-canary",
            "https://no-such-host.invalid/key-1-canary",
        ]
        urls = [*good, *bad]  # eight, of which five are a majority
        rig.random.shuffle(urls)
        rig.home.change(
            r"rpc_urls = \[[^\]]*\]\nagreement = 2", f"rpc_urls = {json.dumps(urls)}\nagreement = 5"
        )
        names = ("http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY")
        rig.home.env |= dict.fromkeys(names, proxy.url)
        await rig.warm(arm=[["campaign.process_faults:arm_trust", str(old_file), str(other_file)]])
        rig.resume()
        wrong = await bought(rig)
        await rig.end("bot")
    wrong += unless(more[-1].asked.total(), "the provider that speaks IPv6 alone was not asked")
    wrong += unless(expired.links and elsewhere.links, "the providers of TLS were not tried")
    wrong += unless(not expired.requests, "a request went to a provider whose certificate is over")
    wrong += unless(not elsewhere.requests, "a request went to a provider with the certificate of another")
    wrong += unless(not proxy.links, f"{proxy.links} connections to the proxy of the environment")
    return Outcome(wrong=wrong, note=f"{expired.links + elsewhere.links} handshakes refused")


CASES: Mapping[str, Case] = {
    **disk.CASES,
    "H5": both(rigged(jumped), rigged(skewed)),
    "H6": rigged(stalled),
    "H7": rigged(long_run),
    "H8": rigged(networks),
}
