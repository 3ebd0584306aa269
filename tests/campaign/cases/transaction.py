"""T1 to T14: what can become of a transaction that was sent."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from aiohttp import web
from campaign.case import Case, Outcome, rigged, unless
from campaign.pool import Mode
from campaign.rig import Rig
from faults.proxy import Fault, FaultProxy

SEND = frozenset({"eth_sendRawTransaction"})


@dataclass(frozen=True, kw_only=True)
class CutAfterSend(Fault):
    """T1: the node takes the transaction, and the connection is cut before its reply."""

    methods: frozenset[str] | None = SEND

    async def http(self, request: web.Request, body: Any, proxy: FaultProxy) -> web.StreamResponse:
        for call in body if isinstance(body, list) else [body]:
            await proxy.answer(call)
        assert request.transport is not None
        request.transport.abort()
        return web.Response()


async def warm(rig: Rig, *, polls: int = 2) -> None:
    """Start signer and bot, and let it look without trading."""
    rig.pause()
    await rig.start_signer()
    await rig.start_bot()
    if not await rig.step(polls):
        raise AssertionError(f"the bot did not begin: {rig.bot.err}")


async def t1(rig: Rig) -> Outcome:
    await warm(rig)
    rig.fail(CutAfterSend())
    rig.resume()
    await rig.step(2)
    rig.fail(None)
    done = await rig.settle()
    return Outcome(
        wrong=(
            *unless(done, f"orders are open still: {rig.open_work()}"),
            *unless(rig.filled() == 1, f"one purchase was wanted, booked are {rig.outcomes()}"),
        )
    )


async def t2(rig: Rig) -> Outcome:
    await warm(rig)
    rig.pool.mode = Mode.DROP
    rig.resume()
    await rig.mine()
    await rig.until(lambda: rig.pool.seen, within_s=10.0)
    await asyncio.sleep(0.5 + rig.random.random())
    rig.pool.mode = Mode.PASS
    done = await rig.settle()
    first = {item.nonce for item in rig.pool.seen[:1]}
    payloads = {item.hash for item in rig.pool.seen if item.nonce in first}
    return Outcome(
        wrong=(
            *unless(done, f"orders are open still: {rig.open_work()}"),
            *unless(rig.filled() == 1, f"one purchase was wanted, booked are {rig.outcomes()}"),
            *unless(len(payloads) == 1, f"other bytes were sent for nonce {first}: {payloads}"),
        )
    )


CASES: Mapping[str, Case] = {"T1": rigged(t1), "T2": rigged(t2)}
