"""T1 to T7: what can become of a transaction that was sent. The money around it: transaction_money.py.

The seed says which of the purchase's five transactions is hit, how often and for how long.
"""

import asyncio
import time
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import product
from typing import Any

from aiohttp import web
from campaign.case import Case, Outcome, both, rigged, tested, unless
from campaign.cases import transaction_money
from campaign.pool import WORDS, Client, Mode, Pooled, Refusal
from campaign.purchase import (
    HURRY,
    STEPS,
    bought,
    halted,
    held,
    intents,
    let_go,
    offered,
    outcomes,
    reasons,
    replacements,
    same_bytes,
    told,
)
from campaign.rig import PROVIDERS, Rig
from campaign.world import boards_frozen, feed_price, fund_trader, pool_moves
from faults.proxy import Fault, FaultProxy

from bot.devnet.moves import lyra
from bot.devnet.moves.wire import Tx

SEND = frozenset({"eth_sendRawTransaction"})
GWEI = 10**9


@dataclass(frozen=True, kw_only=True)
class CutAfterSend(Fault):
    """T1: the node takes the transaction, and the connection is cut before its reply."""

    methods: frozenset[str] | None = SEND
    nonce: int  # from which on

    def concerns(self, call: dict[str, Any]) -> bool:
        return super().concerns(call) and Pooled.of(call["params"][0]).nonce >= self.nonce

    async def http(self, request: web.Request, body: Any, proxy: FaultProxy) -> web.StreamResponse:
        for call in body if isinstance(body, list) else [body]:
            await proxy.answer(call)
        assert request.transport is not None
        request.transport.abort()
        return web.Response()


async def t1(rig: Rig) -> Outcome:
    """All providers cut at one of the five, or at it and all that follow."""
    nonce = await rig.warm()
    hit = rig.random.randrange(len(STEPS))
    rig.fail(CutAfterSend(nonce=nonce + hit))
    rig.resume()
    await rig.mine()
    await offered(rig, nonce + hit)
    is_once = rig.random.random() < 0.5
    if is_once:
        await rig.until(lambda: rig.hits() >= PROVIDERS, within_s=5.0)
        rig.fail(None)
    wrong = await bought(rig)
    rig.fail(None)
    wrong += unless(rig.hits(), "no connection was cut")
    every = range(nonce, nonce + len(STEPS))
    note = f"{STEPS[hit]}{'' if is_once else ' and all after it'}, {rig.hits()} connections cut"
    return Outcome(wrong=(*wrong, *same_bytes(rig, *every)), note=note)


async def t2(rig: Rig) -> Outcome:
    """A hash is answered for one of the five, and the pool never has it."""
    nonce = await rig.warm()
    first = rig.random.randrange(len(STEPS))
    rig.pool.at[nonce + first] = Mode.DROP
    rig.resume()
    await rig.mine()
    await offered(rig, nonce + first)
    await asyncio.sleep(0.5 + rig.random.random())
    rig.pool.at.clear()
    wrong = await bought(rig)
    every = range(nonce, nonce + len(STEPS))
    return Outcome(wrong=(*wrong, *same_bytes(rig, *every)), note=f"{STEPS[first]} dropped")


async def t3(rig: Rig) -> Outcome:
    """Evicted: forgotten by the pool, or priced out by a base fee that rose; nobody says so."""
    nonce = await rig.warm()
    hit = nonce + rig.random.randrange(len(STEPS))
    is_priced_out = rig.random.random() < 0.5
    victim = await held(rig, hit)
    if is_priced_out:
        await rig.chain.request("evm_setAutomine", [False])
        await let_go(rig, hit)
        await rig.chain.request("anvil_setNextBlockBaseFeePerGas", [hex(rig.random.randrange(1, 8) * GWEI)])
        await rig.mine()
        await rig.chain.request("evm_setAutomine", [True])
    else:
        await asyncio.sleep(rig.random.random())
        rig.pool.held.clear()
        rig.pool.at.clear()
    gone = await rig.chain.request("eth_getTransactionReceipt", [victim.hash]) is None
    wrong = await bought(rig)
    others = [n for n in range(nonce, nonce + len(STEPS)) if n != hit]
    own = replacements(rig, hit) if is_priced_out else same_bytes(rig, hit)
    return Outcome(
        wrong=(*wrong, *unless(gone, "nothing was evicted"), *own, *same_bytes(rig, *others)),
        note=f"{STEPS[hit - nonce]} {'priced out' if is_priced_out else 'forgotten'}",
    )


UNKNOWN = ("txpool is having a bad day", "E_42", "")
REFUSALS = (*Refusal, None)  # None: words that nobody knows
_RAISES_FEES = {Refusal.REPLACEMENT, Refusal.UNDERPRICED}


async def t4(rig: Rig) -> Outcome:
    """Each of the five is refused in other words, again and again, before it is taken."""
    nonce = await rig.warm(arm=[HURRY])
    pairs = list(product(Client, REFUSALS))
    start = rig.seed * len(STEPS)
    chosen = [pairs[(start + step) % len(pairs)] for step in range(len(STEPS))]
    for step, (client, refusal) in enumerate(chosen):
        words = rig.random.choice(UNKNOWN) if refusal is None else WORDS[client][refusal]
        rig.pool.says[nonce + step] = words.format(next=nonce + step, nonce=nonce + step)
    rig.resume()
    await rig.mine()
    wrong: list[str] = []
    for step, (client, refusal) in enumerate(chosen):
        await offered(rig, nonce + step)
        await asyncio.sleep(0.1 + 0.3 * rig.random.random())
        rig.pool.says.pop(nonce + step)
        await rig.until(lambda at=nonce + step: intents(rig).get(at, ("",))[0] == "final", within_s=10.0)
        raises = refusal in _RAISES_FEES
        found = replacements(rig, nonce + step) if raises else same_bytes(rig, nonce + step)
        wrong += [f"{client}, {refusal}: {text}" for text in found]
        if raises and len(rig.pool.of(nonce + step)) < 2:
            wrong.append(f"{client}, {refusal}: its fees were not raised")
    said = ", ".join(f"{client}: {refusal or 'unknown words'}" for client, refusal in chosen)
    return Outcome(wrong=(*await bought(rig), *wrong), note=said)


async def t5(rig: Rig) -> Outcome:
    """The world changes between simulation and block: mined without effect, once, and its gas is booked."""
    nonce = await rig.warm()
    hit = rig.random.choice((1, 3))  # the swap, or the purchase itself
    victim = await held(rig, nonce + hit)
    undo = await (_move_pool(rig) if hit == 1 else _spoil_market(rig))
    await let_go(rig, nonce + hit)
    for _ in range(2 + rig.random.randrange(2)):  # the world stays so: it is not tried blindly
        await rig.step(within_s=30.0)
    mined = [item for item in intents(rig).values() if item[0] == "reverted"]
    rejected = outcomes(rig)
    wrong = [
        *unless(len(mined) == 1, f"{len(mined)} transactions were mined without effect, one was wanted"),
        *unless(intents(rig)[victim.nonce][0] == "reverted", f"booked as {intents(rig)[victim.nonce]}"),
        *unless(rejected and rejected[0].gas_usd > 0.0, "the gas of the order is not booked"),
        *unless(rejected and rejected[0].because, "nobody is told why"),
    ]
    for move in undo:
        await rig.send(move)
    return Outcome(wrong=(*wrong, *await bought(rig)), note=reasons(rig)[:200])


async def _move_pool(rig: Rig) -> list[Tx]:
    """Let the swap's pool be worse than the bound of a swap that is under way; return what puts it back."""
    await fund_trader(rig)
    out, back = await pool_moves(rig, 0.004 + 0.01 * rig.random.random())
    await rig.send(out)
    return [back]


async def _spoil_market(rig: Rig) -> list[Tx]:
    """Freeze the boards, or make their puts dearer than any bound; return what puts it back."""
    price = await feed_price(rig)
    if rig.random.random() < 0.5:
        await rig.send(lyra.spot_update(rig.at, price=price * (0.80 + 0.1 * rig.random.random())))
        return [lyra.spot_update(rig.at, price=price)]
    for move in await boards_frozen(rig, True):
        await rig.send(move)
    return await boards_frozen(rig, False)


async def t6(rig: Rig) -> Outcome:
    """Our bump replaces it in the pool, once or thrice, and the first of them is mined all the same."""
    nonce = await rig.warm(arm=[HURRY])
    hit = nonce + rig.random.randrange(len(STEPS))
    first = await held(rig, hit)
    await offered(rig, hit, times=2 + rig.random.randrange(3), within_s=20.0)
    await rig.chain.request("eth_sendRawTransaction", [first.raw], send=True)
    rig.pool.held.clear()
    rig.pool.at.clear()
    wrong = await bought(rig)
    state, won, _ = intents(rig)[hit]
    return Outcome(
        wrong=(
            *wrong,
            *unless((state, won) == ("final", first.hash), f"{first.hash} was mined, booked: {state} {won}"),
            *replacements(rig, hit),
        ),
        note=f"{STEPS[hit - nonce]}, {len(rig.pool.of(hit))} were signed",
    )


async def t7(rig: Rig) -> Outcome:
    """A foreign transaction of our key takes the nonce: halt, until a person says that it is known."""
    nonce = await rig.warm()
    hit = nonce + rig.random.randrange(len(STEPS))
    await held(rig, hit)
    start_s = time.monotonic()
    await rig.send_as_user(hit)
    rig.pool.held.clear()
    codes = [await halted(rig)]
    sent = len(rig.pool.first_s)
    await rig.start_bot()
    codes.append(await halted(rig))
    wrong = [
        *unless(min(codes) > 0, f"it went on: it and its restart ended with {codes}"),
        *unless("accept_nonce" in rig.said[-1], f"nobody is told what to do: {rig.said[-1][-300:]}"),
        *await told(rig, start_s, "stopped"),
        *unless(len(rig.pool.first_s) == sent, "something was signed after the halt"),
    ]
    rig.home.change(r"\[policy\]", f"[execution]\naccept_nonce = {hit + 1}\n\n[policy]")
    rig.pool.at.clear()
    await rig.start_bot()
    wrong += await bought(rig)
    told_s = rig.heard(start_s, "stopped")
    return Outcome(wrong=tuple(wrong), to_alarm_s=told_s, note=f"at {STEPS[hit - nonce]}")


CASES: Mapping[str, Case] = {
    "T1": rigged(t1),
    "T2": rigged(t2),
    "T3": rigged(t3),
    "T4": both(rigged(t4), tested("chain/test_send_errors.py")),
    "T5": rigged(t5),
    "T6": rigged(t6),
    "T7": rigged(t7),
    **transaction_money.CASES,
}
