"""F1 to F20: what providers answer, and do not."""

import asyncio
import math
import time
from collections.abc import Mapping

from campaign.case import Case, Outcome, both, rigged, tested, unless
from campaign.heads_link import KINDS as LINKS
from campaign.heads_link import heads_link
from campaign.outage import blackout, heights, outage, recovered, spoiled
from campaign.purchase import bought
from campaign.rig import PROVIDERS, Rig
from faults import faults as f
from faults.lies import Lie, word
from faults.proxy import Fault

WRONG_TYPES = ("0x", "0xZZ", "12", "-0x1", hex(10**80), True, {"a": {}}, [[]], 1e400)
METHODS = (  # of a purchase, and of the watching before it
    "eth_blockNumber", "eth_call", "eth_chainId", "eth_estimateGas", "eth_feeHistory", "eth_getBalance",
    "eth_getBlockByHash", "eth_getBlockByNumber", "eth_getCode", "eth_getLogs", "eth_getTransactionByHash",
    "eth_getTransactionCount", "eth_getTransactionReceipt", "eth_sendRawTransaction",
)  # fmt: skip
TEN_MINUTES = 50  # in blocks
_ASKED_AT_REST = 3  # methods, by a bot that only watches
_ALONE = ("silence", "disagreement", "stall", "stopped")


async def f1(rig: Rig) -> Outcome:
    """One provider refuses: each block has its step, the purchase is made, nobody is called out of bed."""
    await rig.warm()
    start_s = time.monotonic()
    (down,) = rig.random.sample(range(PROVIDERS), 1)
    rig.fail(f.Refused(), of=[down])
    wrong = unless(await rig.step(2), "a poll was lost though two providers answer")
    rig.resume()
    wrong += await bought(rig)
    storm = [alarm.text for alarm in rig.alarms.since(start_s, *_ALONE)]
    rig.fail(None)
    polls = await recovered(rig)
    return Outcome(wrong=wrong + unless(len(storm) <= 1, f"a storm: {storm}"), to_recover_polls=polls)


async def f8(rig: Rig) -> Outcome:
    """Null for one method after the other: the first while a purchase is wanted and made."""
    await rig.warm()
    order = rig.random.sample(METHODS, len(METHODS))
    rig.fail(f.Result(methods=frozenset({order[0]})))
    rig.resume()
    for _ in range(3):
        await rig.step(within_s=1.0)
    wrong = unless(rig.hits(), f"nobody asked for {order[0]}: nothing was spoiled")
    rig.fail(None)
    polls = await recovered(rig)
    wrong += await bought(rig)
    asked = 0
    for method in order[1:]:
        hits = rig.hits()
        rig.fail(f.Result(methods=frozenset({method})))
        await rig.step(within_s=1.0)
        rig.fail(None)
        polls = max(polls, await recovered(rig))
        asked += rig.hits() > hits
    wrong += unless(asked >= _ASKED_AT_REST, f"{asked} of the methods were asked while it watched")
    wrong += unless(rig.filled() == 1, f"booked are {rig.outcomes()}")
    note = f"{order[0]} in the purchase; {asked} methods were asked after it"
    return Outcome(wrong=wrong, to_recover_polls=polls, note=note)


async def f10(rig: Rig) -> Outcome:
    """All limit their rate: none is asked within the window that it named; then as after any outage."""
    await rig.warm()
    window_s = rig.random.choice((2, 4))
    statuses = [(429, str(window_s)), (429, None), (402, None), (403, None)]
    first, second = rig.random.sample(statuses, 2)
    rig.fail(f.Limited(status=429, retry_after=str(window_s)))
    await rig.mine()
    await asyncio.sleep(1.0)  # so long may calls be under way
    asked = [proxy.asked.total() for proxy in rig.proxies]
    await rig.mine(2)
    await asyncio.sleep(window_s - 1.5)
    more = [proxy.asked.total() - before for proxy, before in zip(rig.proxies, asked, strict=True)]
    rig.fail(None)
    await recovered(rig)
    order = rig.random.sample(range(PROVIDERS), PROVIDERS)
    rig.fail(f.Limited(status=first[0], retry_after=first[1]), of=order[:1])
    seen = await blackout(rig, f.Limited(status=second[0], retry_after=second[1]), of=order[1:])
    rig.pause()  # or the purchase would be in the time that it takes to recover
    rig.fail(None, of=order[1:])
    polls = await recovered(rig)
    rig.resume()
    wrong = seen.wrong + await bought(rig)
    wrong += unless(not any(more), f"{more} calls in a window of {window_s} s that it had asked for")
    return Outcome(
        wrong=wrong, to_alarm_s=seen.to_alarm_s, to_recover_polls=polls, note=f"{first}, then {second}"
    )


async def f11(rig: Rig) -> Outcome:
    outcome = await outage(_off_head)(rig)
    found = heights(rig)
    return Outcome(
        wrong=(*outcome.wrong, *unless(found == sorted(found), f"the height went back: {found}")),
        to_alarm_s=outcome.to_alarm_s,
        to_recover_polls=outcome.to_recover_polls,
    )


def _off_head(rig: Rig) -> Fault:
    kind = rig.random.choice(("frozen", "behind", "ahead"))
    if kind == "frozen":
        return f.Frozen(number=max(rig.proxies[0].served))
    lag = rig.random.randint(20, 50)
    return f.Head(lag=lag) if kind == "behind" else f.Head(jump=10_000)


async def f13(rig: Rig) -> Outcome:
    """Another chain: all at the start, one at the start, one on its return, all in mid-session."""
    other = f.Chain(chain_id=rig.random.choice((1, 10, 8453, 42161)))
    rig.pause()
    await rig.start_signer()
    rig.fail(other)
    refused = await rig.ended(await rig.start_bot())
    wrong = unless(refused not in (0, -9), f"on another chain alone it ended with {refused}: {rig.said[-1]}")
    rig.fail(None)
    first, second, _ = order = rig.random.sample(range(PROVIDERS), PROVIDERS)
    rig.fail(other, of=[first])
    await warm_bot(rig)
    wrong += unless(not rig.proxies[first].asked["eth_call"], "a provider of another chain was asked")
    rig.fail(None)
    await rig.step(2)
    rig.fail(f.Refused(), of=[second])
    await rig.step(2)
    rig.fail(other, of=[second])
    asked = rig.proxies[second].asked["eth_call"]
    await rig.step(2)
    wrong += unless(
        rig.proxies[second].asked["eth_call"] == asked, "it came back as another chain, and was used"
    )
    seen = await blackout(rig, other, of=order)
    rig.pause()
    rig.fail(None)
    rig.fail(other, of=[first])
    polls = await recovered(rig)
    rig.resume()
    wrong += seen.wrong + await bought(rig)
    return Outcome(wrong=wrong, to_alarm_s=seen.to_alarm_s, to_recover_polls=polls)


async def warm_bot(rig: Rig) -> None:
    await rig.start_bot()
    if not await rig.step(2):
        raise AssertionError(f"the bot did not begin: {rig.bot.err}")


async def f14(rig: Rig) -> Outcome:
    """One of three lies: the purchase is made as if it did not. Two lie: nothing is bought, and it is told.

    Two that lie alike are the majority where two must agree, so that it is ``agreement = 3`` that holds
    (docs/adr/0006); two that lie each in its own way have no majority anywhere.
    """
    alike = rig.random.random() < 0.5
    if alike:
        rig.home.change("agreement = 2", "agreement = 3")
    await rig.warm()
    kind = rig.random.choice(("price", "balance", "nonce", "receipt", "block"))
    price = await _price_word(rig)
    order = rig.random.sample(range(PROVIDERS), PROVIDERS)
    start_s = time.monotonic()
    for number in order[:2]:
        rig.fail(_lie(kind, price, salt=7 if alike else number), of=[number])
    rig.resume()
    wrong: tuple[str, ...] = ()
    while math.isnan(to_alarm_s := rig.heard(start_s, "disagreement", "silence")):
        await rig.step(within_s=1.0)
        if time.monotonic() - start_s > 60.0:
            break
    wrong += unless(not math.isnan(to_alarm_s), f"two of three lied about the {kind} and nobody was told")
    wrong += unless(rig.filled() == 0, f"two of three lied about the {kind} and it bought {rig.outcomes()}")
    rig.pause()
    rig.fail(None, of=order[1:] if not alike else order)
    polls = await recovered(rig)
    rig.resume()
    wrong += await bought(rig)
    return Outcome(
        wrong=wrong, to_alarm_s=to_alarm_s, to_recover_polls=polls,
        note=f"{kind}, {'alike, agreement 3' if alike else 'each its own, then one alone'}",
    )  # fmt: skip


async def _price_word(rig: Rig) -> str:
    call = {"to": rig.at.feed_eth_usd, "data": "0xfeaf968c"}  # latestRoundData()
    return (await rig.chain.request("eth_call", [call, "latest"]))[2 + 64 : 2 + 128]


def _lie(kind: str, price: str, *, salt: int) -> Lie:
    factor = (0.4, 0.7, 1.5)[salt % 3]
    words = {price: word(int(int(price, 16) * factor) + salt)} if kind == "price" else {}
    return Lie(kind=kind, salt=salt, words=words)


async def f17(rig: Rig) -> Outcome:
    """Parts of a multicall fail, the price among them; or the whole of it comes back spoiled."""
    kind, price = rig.random.choice(("some", "empty", "short", "reverted")), await _price_word(rig)
    return await outage(lambda rig: f.Subcalls(kind=kind, word=price, salt=rig.seed), blind=False)(rig)


async def f19(rig: Rig) -> Outcome:
    """Heads are announced over a websocket that fails in every way: no block is without its step."""
    async with heads_link(rig.random) as link:
        rig.home.change("agreement = 2", f'agreement = 2\nws_url = "{link.url}"')
        await rig.warm()
        first = await rig.head()
        wrong = unless(link.subscribed == 1, f"it subscribed {link.subscribed} times")
        for kind in ("", *rig.random.sample(LINKS, len(LINKS))):
            link.kind = kind
            for _ in range(2):
                wrong += await _announced(rig, link)
        link.kind = ""
        rig.resume()
        wrong += await bought(rig)
        last, seen = await rig.head(), set(heights(rig))
        missed = [number for number in range(first, last + 1) if number not in seen]
        empty = [number for number in missed if not await _has_transactions(rig, number)]
        wrong += unless(not empty, f"blocks without a step: {empty}")
    return Outcome(wrong=wrong)


async def _announced(rig: Rig, link) -> tuple[str, ...]:
    before = rig.sequence()
    await rig.mine()
    head = await rig.chain.request("eth_getBlockByNumber", ["latest", False])
    await link.announce(int(head["number"], 16), head["hash"])
    came = await rig.until(lambda: rig.sequence() > before, within_s=5.0)
    return unless(came, f"a block had no step while its link was {link.kind or 'well'}")


async def _has_transactions(rig: Rig, number: int) -> bool:
    """Whether a block holds a transaction: the devnet mines each at once, between two polls."""
    return bool((await rig.chain.request("eth_getBlockByNumber", [hex(number), False]))["transactions"])


def _rubbish(rig: Rig) -> Fault:
    return f.Rubbish(kind=rig.random.choice(f.RUBBISH))


def _absurd_fees(rig: Rig) -> Fault:
    return f.Fees(kind=rig.random.choice(("low", "high", "zero", "tip", "empty")))


def _proven(*names: str) -> Case:
    """Return the half of a row in which the suite tries every kind against one provider, and several."""
    return tested(*(f"faults/test_faults.py::{name}" for name in names))


_TAKEN, _STAND_IN = (
    "test_f5_to_f10_a_spoiled_answer_is_never_taken",
    "test_f5_to_f10_another_provider_stands_in",
)

CASES: Mapping[str, Case] = {
    "F1": rigged(f1),
    "F2": rigged(outage(lambda _: f.Refused(), blocks=TEN_MINUTES)),
    "F3": both(
        rigged(
            outage(
                lambda rig: f.Late(delay_s=rig.random.choice((2.0, 5.0, 30.0)), spread_s=1.0),
                beside=lambda _: f.Late(delay_s=0.05, spread_s=0.1),
            )
        ),
        _proven("test_f3_latency_is_bounded_by_one_deadline"),
    ),
    "F4": both(
        rigged(outage(lambda rig: f.Drip(silent=rig.random.random() < 0.5))),
        _proven("test_f4_a_hang_after_headers_ends_at_the_deadline"),
    ),
    "F5": rigged(outage(lambda rig: f.CutBody(reset=rig.random.random() < 0.5))),
    "F6": both(
        rigged(outage(_rubbish)),
        _proven(*(f"{_TAKEN}[F6-{kind}]" for kind in f.RUBBISH)),
        tested("chain/test_rpc.py::test_a_huge_body_is_not_read"),
    ),
    "F7": both(
        rigged(outage(lambda rig: f.Ids(kind=rig.random.choice(("wrong", "none", "text"))))),
        _proven("test_f7_a_batch_is_taken_by_its_ids_or_not_at_all"),
    ),
    "F8": both(rigged(f8), _proven("test_f8_null_for_each_method_in_turn_is_unknown_not_zero")),
    "F9": both(
        rigged(outage(lambda rig: f.Result(value=rig.random.choice(WRONG_TYPES)))),
        _proven(_TAKEN, _STAND_IN),
    ),
    "F10": rigged(f10),
    "F11": both(
        rigged(f11),
        _proven(
            "test_f11_a_frozen_head_is_benched_and_another_leads",
            "test_f11_a_lagging_head_never_takes_the_height_back",
            "test_f11_a_head_far_ahead_is_not_followed",
        ),
    ),
    "F12": rigged(outage(lambda _: f.Forked(alike=False), dark=2, tells=("disagreement",))),
    "F13": rigged(f13),
    "F14": both(
        rigged(f14),
        _proven(
            "test_f14_one_liar_of_three_changes_no_value", "test_f14_two_different_liars_of_three_are_hold"
        ),
    ),
    "F15": rigged(
        spoiled(lambda rig: f.Receipt(bare=rig.random.random() < 0.5), tells=("leg", "stuck"), blind=True)
    ),
    "F16": both(
        rigged(spoiled(lambda rig: f.ShortLogs(too_wide=rig.random.random() < 0.5), asks=False)),
        tested("chain/test_logs.py"),
    ),
    "F17": rigged(f17),
    "F18": both(
        rigged(outage(lambda _: f.Unpinned(), blind=False)),
        _proven("test_f18_a_pinned_read_of_a_lagging_node_is_dropped_not_mixed"),
    ),
    "F19": rigged(f19),
    "F20": rigged(spoiled(_absurd_fees)),
}
