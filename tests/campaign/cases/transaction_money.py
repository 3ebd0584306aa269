"""T8 to T14: gas, money, allowances, code, and what lies around a transaction of ours.

The seed says which of the variants of a row is run, which step is hit, and how much.
"""

import asyncio
import signal
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from campaign.case import Case, Outcome, both, rigged, tested, unless
from campaign.pool import Client
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
    same_bytes,
    told,
)
from campaign.rig import Rig
from campaign.world import (
    balance_raw,
    boards_frozen,
    fund_trader,
    pool_moves,
    quoted_raw,
    received_raw,
    take_tokens,
)
from faults.proxy import Fault, FaultProxy

GWEI = 10**9
SLIPPAGE = 0.003  # execution.max_swap_slippage_bps, as the devnet's configuration leaves it
INTRINSIC: Mapping[Client, str] = {
    Client.GETH: "intrinsic gas too low: gas 21000, minimum needed 46000",
    Client.ERIGON: "intrinsic gas too low",
    Client.BESU: "Intrinsic gas exceeds gas limit",
    Client.NETHERMIND: "intrinsic gas too low",
    Client.ANVIL: "intrinsic gas too low -- CallGasCostMoreThanGasLimit",
    Client.ARBITRUM: "intrinsic gas too low",
}


@dataclass(frozen=True, kw_only=True)
class LowEstimates(Fault):
    """Estimates of calls to one contract are a part of what they use."""

    methods: frozenset[str] | None = frozenset({"eth_estimateGas"})
    target: str
    share: float

    async def reply(self, call: dict[str, Any], reply: dict[str, Any], proxy: FaultProxy) -> Any:
        if call["params"][0]["to"].lower() != self.target.lower() or "result" not in reply:
            return reply
        return reply | {"result": hex(int(int(reply["result"], 16) * self.share))}


async def t8(rig: Rig) -> Outcome:
    """Out of gas in a block, by estimates that are too low; or refused by the pool in six clients' words."""
    if rig.seed % 2:
        return await _out_of_gas(rig)
    nonce = await rig.warm(arm=[HURRY])
    hit = nonce + rig.random.randrange(len(STEPS))
    client = rig.random.choice(list(INTRINSIC))
    rig.pool.says[hit] = INTRINSIC[client]
    rig.resume()
    await rig.mine()
    await offered(rig, hit, times=2)
    await asyncio.sleep(rig.random.random())
    rig.pool.says.clear()
    wrong = await bought(rig)
    limits = [item.gas for item in rig.pool.of(hit)]
    return Outcome(
        wrong=(
            *wrong,
            *unless(len(set(limits)) <= 2, f"it was estimated anew again and again: limits {limits}"),
            *unless(max(limits) <= 2 * limits[0], f"limits {limits} are not within twice the first"),
        ),
        note=f"{client}, {STEPS[hit - nonce]}, limits {limits}",
    )


async def _out_of_gas(rig: Rig) -> Outcome:
    nonce = await rig.warm()
    hit, target = rig.random.choice(((1, rig.at.v3_router), (3, rig.at.lyra_option_market)))
    rig.fail(LowEstimates(target=target, share=0.45 + 0.2 * rig.random.random()))
    rig.resume()
    await rig.mine()
    await offered(rig, nonce + hit)
    done = await rig.until(lambda: outcomes(rig), within_s=20.0)
    rig.fail(None)
    state, _, because = intents(rig)[nonce + hit]
    first = outcomes(rig)[0] if done else None
    wrong = [
        *unless((state, "out of gas" in because) == ("reverted", True), f"booked as {state}: {because}"),
        *unless(first and first.gas_usd > 0.0, "the gas of the order is not booked"),
        *same_bytes(rig, nonce + hit),
    ]
    return Outcome(wrong=(*wrong, *await bought(rig)), note=f"{STEPS[hit]}: {because}")


async def t9(rig: Rig) -> Outcome:
    """No coin for gas while an order is under way; too few tokens before it, or in the middle of it."""
    return await (_no_coin, _short_before, _short_meanwhile)[rig.seed % 3](rig)


async def _no_coin(rig: Rig) -> Outcome:
    nonce = await rig.warm(arm=[HURRY])
    hit = nonce + rig.random.randrange(len(STEPS))
    await held(rig, hit)
    had = await rig.chain.request("eth_getBalance", [rig.at.user, "latest"])
    await rig.chain.request("anvil_setBalance", [rig.at.user, "0x0"])
    rig.pool.held.clear()
    rig.pool.at.clear()
    await asyncio.sleep(1.5 + rig.random.random())  # sent again and refused, more than once
    tried = sum(item.nonce == hit for item in rig.pool.seen)
    await rig.chain.request("anvil_setBalance", [rig.at.user, had])
    wrong = await bought(rig)
    return Outcome(
        wrong=(
            *wrong,
            *same_bytes(rig, hit),
            *unless(tried > 3, "it was not sent again while there was none"),
        ),
        note=f"{STEPS[hit - nonce]}, offered {tried} times without coin",
    )


async def _short_before(rig: Rig) -> Outcome:
    nonce = await rig.warm()
    left = rig.random.randrange(1, 3_000 * 10**6)
    give_back = await take_tokens(rig, rig.at.usdc, await balance_raw(rig, rig.at.usdc) - left)
    start_s = time.monotonic()
    rig.resume()
    await rig.step(within_s=30.0)  # once: after two refusals a layer waits for minutes
    wrong = [
        *unless(not rig.pool.seen, "something was sent without the money for it"),
        *await told(rig, start_s),
        *unless(await rig.nonce() == nonce, "something was mined"),
    ]
    told_s = rig.heard(start_s)
    await rig.send(give_back)
    return Outcome(wrong=(*wrong, *await bought(rig)), to_alarm_s=told_s, note=f"{left / 1e6:.2f} USDC left")


async def _short_meanwhile(rig: Rig) -> Outcome:
    nonce = await rig.warm()
    hit, token = rig.random.choice(((1, rig.at.usdc), (3, rig.at.susd)))
    await held(rig, nonce + hit)
    give_back = await take_tokens(rig, token, await balance_raw(rig, token))
    await let_go(rig, nonce + hit)
    await rig.until(lambda: outcomes(rig), within_s=20.0)
    state = intents(rig)[nonce + hit][0]
    await rig.send(give_back)
    return Outcome(
        wrong=(*unless(state == "reverted", f"booked as {state}"), *await bought(rig)),
        note=reasons(rig)[:150],
    )


async def t10(rig: Rig) -> Outcome:
    """Approved, and the purchase fails; or the bot is killed while an approval is pending."""
    if rig.seed % 2:
        return await _killed_while_approving(rig)
    nonce = await rig.warm()
    await held(rig, nonce + 3)
    for move in await boards_frozen(rig, True):
        await rig.send(move)
    await let_go(rig, nonce + 3)
    await rig.until(lambda: outcomes(rig), within_s=20.0)
    left = (await rig.audit(is_at_rest=True))["I9"]
    for move in await boards_frozen(rig, False):
        await rig.send(move)
    return Outcome(wrong=(*left, *await bought(rig)), note=reasons(rig)[:150])


async def _killed_while_approving(rig: Rig) -> Outcome:
    nonce = await rig.warm()
    hit = nonce + rig.random.choice((0, 2))
    await held(rig, hit)
    await rig.end("bot", signal.SIGKILL)
    is_mined_meanwhile = rig.random.random() < 0.5
    if is_mined_meanwhile:
        await let_go(rig, hit)
    await rig.start_bot()
    await rig.mine()
    await asyncio.sleep(2.0 * rig.random.random())
    await let_go(rig, hit)
    wrong = await bought(rig)
    when = "was mined before its restart" if is_mined_meanwhile else "was pending still"
    return Outcome(wrong=(*wrong, *same_bytes(rig, hit)), note=f"{STEPS[hit - nonce]} {when}")


async def t11(rig: Rig) -> Outcome:
    """A swap that fills just inside of its bound: what is booked is what the chain moved."""
    nonce = await rig.warm()
    await fund_trader(rig)
    swap = await held(rig, nonce + 1)
    out, _ = await pool_moves(rig, (0.6 + 0.3 * rig.random.random()) * SLIPPAGE)
    before = {token: await balance_raw(rig, token) for token in (rig.at.usdc, rig.at.susd)}
    await rig.send(out)
    await let_go(rig, nonce + 1)
    wrong = await bought(rig)
    paid = (before[rig.at.usdc] - await balance_raw(rig, rig.at.usdc)) / 1e6
    kept = (await balance_raw(rig, rig.at.susd) - before[rig.at.susd]) / 1e18
    (order,) = outcomes(rig)
    booked = order.premium_usd + order.swap_usd
    return Outcome(
        wrong=(
            *wrong,
            *unless(intents(rig)[swap.nonce][0] == "final", "the swap did not fill inside of its bound"),
            *unless(abs(booked - (paid - kept)) < 0.02, f"paid {paid - kept:.2f} USD, booked {booked:.2f}"),
        ),
        note=f"paid {paid:.2f} USDC, kept {kept:.2f} sUSD",
    )


async def t12(rig: Rig) -> Outcome:
    """The code of a contract that is called changes, before an order or in the middle of one."""
    nonce = await rig.warm()
    name = rig.random.choice(("lyra_option_market", "v3_router"))
    target = getattr(rig.at, name)
    first = {"lyra_option_market": 3, "v3_router": 1}[name]
    is_meanwhile = rig.random.random() < 0.5
    if is_meanwhile:  # its allowance is given, and what calls it is still to be signed
        await held(rig, nonce + first - 1)
    code = await rig.chain.request("eth_getCode", [target, "latest"])
    changed = "0x" if rig.random.random() < 0.3 else code + "00"
    start_s = time.monotonic()
    await rig.chain.request("anvil_setCode", [target, changed])
    rig.resume()
    await let_go(rig, nonce + first - 1)
    await rig.step(3, within_s=30.0)
    calls = [item for item in rig.pool.seen if item.to.lower() == target.lower()]
    wrong = [
        *unless(not calls, f"{len(calls)} transactions to {name} were signed"),
        *unless(not rig.filled(), f"booked are {rig.outcomes()}"),
        *await told(rig, start_s),
        *unless(not rig.open_work(), f"open: {rig.open_work()}"),
    ]
    how = "without code" if changed == "0x" else "with other code"
    told_s = rig.heard(start_s)
    return Outcome(wrong=tuple(wrong), to_alarm_s=told_s, note=f"{name} {how}: {reasons(rig)[:150]}")


async def t13(rig: Rig) -> Outcome:
    """A sandwich in one block: the pool is moved before our swap, and back after it."""
    nonce = await rig.warm()
    await fund_trader(rig)
    swap = await held(rig, nonce + 1)
    shift = SLIPPAGE * (0.3 + 2.0 * rig.random.random())
    front, back = await pool_moves(rig, shift)
    fair_raw = await quoted_raw(rig, swap)
    await rig.chain.request("evm_setAutomine", [False])
    await rig.send(front, price_wei=50 * GWEI)
    await let_go(rig, nonce + 1)
    await rig.send(back, price_wei=10**6)
    await rig.mine()
    await rig.chain.request("evm_setAutomine", [True])
    receipt = await rig.chain.request("eth_getTransactionReceipt", [swap.hash])
    loss = 1.0 - received_raw(rig, receipt) / fair_raw
    is_done = receipt["status"] == "0x1"
    place = int(receipt["transactionIndex"], 16)
    wrong = [
        *unless(place == 1, f"our swap lay at place {place} of its block, not in the middle"),
        *unless(not is_done or loss <= SLIPPAGE + 1e-6, f"it lost {loss:.3%} of what was fair"),
        *unless(is_done or shift > 0.9 * SLIPPAGE, f"it failed at a move of {shift:.3%}"),
    ]
    note = f"moved by {shift:.2%}: {f'lost {loss:.3%}' if is_done else 'reverted'}"
    return Outcome(wrong=(*wrong, *await bought(rig)), note=note)


async def t14(rig: Rig) -> Outcome:
    """An earlier run left a transaction three nonces on: named, met, or filled up to, as is configured."""
    return await (_named, _filled, _met)[rig.seed % 3](rig)


async def _named(rig: Rig) -> Outcome:
    rig.home.change(r"\[chain\]", "[chain]\nlook_in_pool = true")
    nonce = await rig.warm()
    await rig.send_as_user(nonce + 3)
    start_s = time.monotonic()
    rig.resume()
    code = await halted(rig)
    wrong = [
        *unless(code > 0, f"it ended with {code}"),
        *unless(str(nonce + 3) in rig.said[-1], f"the nonce is not named: {rig.said[-1][-300:]}"),
        *unless(not rig.pool.seen, "something was sent"),
    ]
    told_s = rig.heard(start_s, "stopped")
    wrong += unless(told_s < 30.0, f"told after {told_s:.0f} s")
    _accept(rig, nonce + 4)
    await rig.start_bot()
    return Outcome(wrong=(*wrong, *await bought(rig)), to_alarm_s=told_s, note="named, then filled")


async def _filled(rig: Rig) -> Outcome:
    rig.home.change(r"\[chain\]", "[chain]\nlook_in_pool = true")
    nonce = await rig.nonce()
    await rig.send_as_user(nonce + 3)
    _accept(rig, nonce + 4)
    await rig.warm()
    start_s = time.monotonic()
    rig.resume()
    await rig.mine()
    await offered(rig, nonce + 4)
    healed_s = time.monotonic() - start_s
    wrong = unless(healed_s < 30.0, f"healed after {healed_s:.0f} s")
    return Outcome(wrong=(*wrong, *await bought(rig)), note=f"filled within {healed_s:.1f} s")


async def _met(rig: Rig) -> Outcome:
    """Without that look it is met on the way: the foreign one is mined, and that is a halt."""
    nonce = await rig.warm()
    await rig.send_as_user(nonce + 3)
    start_s = time.monotonic()
    rig.resume()
    code = await halted(rig)
    wrong = [
        *unless(code > 0, f"it ended with {code}"),
        *unless("accept_nonce" in rig.said[-1], f"nobody is told what to do: {rig.said[-1][-300:]}"),
    ]
    told_s = rig.heard(start_s, "stopped")
    wrong += unless(told_s < 30.0, f"told after {told_s:.0f} s")
    _accept(rig, nonce + 4)
    await rig.start_bot()
    return Outcome(wrong=(*wrong, *await bought(rig)), to_alarm_s=told_s, note="met on the way")


def _accept(rig: Rig, nonce: int) -> None:
    text = f"[execution]\naccept_nonce = {nonce}\nfill_nonces = true\n\n[policy]"
    rig.home.change(r"\[policy\]", text)


CASES: Mapping[str, Case] = {
    "T8": rigged(t8),
    "T9": rigged(t9),
    "T10": rigged(t10),
    "T11": both(
        rigged(t11),
        tested(
            "venues/test_opyn.py::test_a_stable_that_takes_a_fee_or_answers_false_is_refused",
            "venues/test_opyn.py::test_an_otoken_whose_code_takes_a_fee_is_refused",
            "bad_input/test_on_chain.py::test_only_the_token_itself_says_what_a_trade_moved",
        ),
    ),
    "T12": rigged(t12),
    "T13": rigged(t13),
    "T14": rigged(t14),
}
