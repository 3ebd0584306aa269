"""No order at Derive is lost or doubled: lost answers, crashes, refusals, lies (REL-E, REL-K)."""

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from derive_server import Fault
from derive_world import CALL, OWNER, PUT, World, derive_world

from bot.errors import InvariantError, OutcomeUnknown, TransientError, VenueRejected
from bot.model.hedge import LegStatus, Side
from bot.model.intent import IntentState

ORDER, DRY_RUN = "private/order", "private/order_quote"


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    async with derive_world(tmp_path) as made:
        yield made


def states(world: World) -> list[IntentState]:
    return [event.state for event in world.journal.intents()]


async def test_the_order_of_writes(world: World) -> None:
    """Nonce, signature and answer are each on disk before the next thing happens (design.md, money rules)."""
    seen: list[tuple[str, list[IntentState]]] = []

    def note(name: str) -> Any:
        def tamper(result: Any) -> Any:
            seen.append((name, states(world)))
            return result

        return tamper

    world.server.faults[DRY_RUN] = Fault(tamper=note("dry run"))
    world.server.faults[ORDER] = Fault(tamper=note("order"))
    await world.do(world.leg(Side.BUY, limit_usd=60.0))
    reserved, signed, sent = IntentState.RESERVED, IntentState.SIGNED, IntentState.SENT
    assert seen == [("dry run", [reserved, signed]), ("order", [reserved, signed, sent])]
    assert states(world)[3:] == [IntentState.MINED, IntentState.FINAL]
    raw = bytes.fromhex(world.journal.intents()[1].raw.removeprefix("0x"))
    assert json.loads(raw) == next(body for name, body in world.server.asked if name == ORDER)


@pytest.mark.parametrize(
    "fault",
    [
        Fault(after=True),
        Fault(delay_s=3.0),
        Fault(error=(9000, "Order confirmation timeout")),
        Fault(error=(-32603, "Internal error")),
        Fault(error=(11017, "Non unique nonce")),
        Fault(error=(99_999, "never seen before")),
        Fault(body=b"<html>", status=502),
        Fault(body=b'{"result": NaN}'),
        Fault(body=b'{"id": 1}'),
        Fault(tamper=lambda result: {**result, "order": {**result["order"], "filled_amount": "NaN"}}),
        Fault(tamper=lambda _: []),
    ],
    ids=[
        "cut",
        "slow",
        "9000",
        "-32603",
        "11017",
        "unknown code",
        "502",
        "no JSON",
        "no result",
        "NaN",
        "list",
    ],
)
async def test_a_lost_answer_is_looked_up_and_never_sent_again(world: World, fault: Fault) -> None:
    acted = fault.after or fault.tamper is not None
    world.server.faults[ORDER] = fault
    leg = world.leg(Side.BUY, size=2.0, limit_usd=120.0)
    outcome = await world.do(leg)
    assert outcome.status is LegStatus.UNKNOWN, outcome.because
    assert world.server.count(ORDER) == 1
    if not acted:
        # No trace of it, and its signature still lives: nothing is known until that has expired.
        assert (await world.find_out(leg)).status is LegStatus.UNKNOWN
        world.exchange.now_s += 400.0
    world.restart()
    found = await world.find_out(leg)
    assert world.server.count(ORDER) == 1
    if world.exchange.orders:
        assert (found.status, found.filled_size) == (LegStatus.FILLED, 2.0)
        assert found.premium_usd == pytest.approx(80 + 0.5 + 1.8)
    else:
        assert found.status is LegStatus.REJECTED
        assert states(world)[-1] is IntentState.REVERTED


async def test_a_cut_before_the_exchange_heard_of_it_ends_when_the_signature_does(world: World) -> None:
    world.server.faults[ORDER] = Fault(before=True)
    leg = world.leg(Side.BUY, limit_usd=60.0)
    assert (await world.do(leg)).status is LegStatus.UNKNOWN
    world.exchange.now_s += 80.0
    assert (await world.find_out(leg)).status is LegStatus.UNKNOWN
    world.exchange.now_s += 20.0
    found = await world.find_out(leg)
    assert found.status is LegStatus.REJECTED
    assert world.server.count(ORDER) == 1
    assert not world.exchange.orders


async def test_a_late_order_is_refused_by_the_exchange(world: World) -> None:
    """reject_timestamp is the valid-until time of the order."""
    world.server.faults[DRY_RUN] = Fault(tamper=lambda result: _late(world, result))
    outcome = await world.do(world.leg(Side.BUY, limit_usd=60.0, valid_until_s=world.exchange.now_s + 30.0))
    assert outcome.status is LegStatus.REJECTED
    assert "11022" in outcome.because
    body = next(body for name, body in world.server.asked if name == ORDER)
    assert body["reject_timestamp"] == int((world.exchange.now_s - 1.0) * 1e3)


def _late(world: World, result: Any) -> Any:
    world.exchange.now_s += 31.0
    return result


@pytest.mark.parametrize(
    ("error", "name"),
    [
        ((11009, "Zero liquidity"), ORDER),
        ((11023, "Max fee too low"), ORDER),
        ((-32000, "Rate limit"), ORDER),
    ],
)
async def test_a_plain_no_closes_the_leg(world: World, error: tuple[int, str], name: str) -> None:
    world.server.faults[name] = Fault(error=error)
    outcome = await world.do(world.leg(Side.BUY, limit_usd=60.0))
    assert outcome.status is LegStatus.REJECTED
    assert str(error[0]) in outcome.because
    assert states(world)[-1] is IntentState.REVERTED


@pytest.mark.parametrize(
    "fault",
    [
        Fault(error=(-32603, "Internal error")),
        Fault(error=(11000, "Insufficient funds")),
        Fault(tamper=lambda result: {**result, "is_valid": False, "invalid_reason": "why not"}),
        Fault(tamper=lambda result: {**result, "estimated_fill_amount": "0"}),
        Fault(tamper=lambda result: {**result, "is_valid": "yes"}),
    ],
    ids=["error", "refused", "invalid", "nothing", "garbled"],
)
async def test_nothing_is_ordered_after_a_dry_run_that_fails(world: World, fault: Fault) -> None:
    world.server.faults[DRY_RUN] = fault
    outcome = await world.do(world.leg(Side.BUY, limit_usd=60.0))
    assert outcome.status is LegStatus.REJECTED
    assert world.server.count(ORDER) == 0
    assert not world.exchange.orders


class Crash(BaseException):
    """The process dies here."""


@pytest.mark.parametrize("state", ["reserved", "signed", "sent", "mined", "final"])
@pytest.mark.parametrize("side", [Side.BUY, Side.SELL])
async def test_a_crash_at_every_write_loses_and_doubles_nothing(
    world: World, state: str, side: Side, monkeypatch: pytest.MonkeyPatch
) -> None:
    """K rows: after each row of the journal the process ends; the next run finds out and sends nothing."""
    if side is Side.SELL:
        await world.do(world.leg(Side.BUY, size=2.0, limit_usd=120.0))
    before, orders = dict(world.exchange.positions), len(world.exchange.orders)
    append = world.journal.append_intent

    def crashing(event: Any) -> None:
        append(event)
        if event.state.value == state:
            raise Crash

    monkeypatch.setattr(world.journal, "append_intent", crashing)
    leg = world.leg(side, size=2.0, limit_usd=120.0 if side is Side.BUY else 60.0)
    with pytest.raises(Crash):
        await world.do(leg)
    monkeypatch.setattr(world.journal, "append_intent", append)
    world.restart()
    posts = world.server.count(ORDER)
    found = await world.find_out(leg)
    if found.status is LegStatus.UNKNOWN:
        world.exchange.now_s += 400.0
        found = await world.find_out(leg)
    assert world.server.count(ORDER) == posts  # looked up, not sent
    reached = state in ("mined", "final")
    assert len(world.exchange.orders) - orders == int(reached)
    assert found.status is (LegStatus.FILLED if reached else LegStatus.REJECTED)
    if not reached:
        assert world.exchange.positions == before
    # And the next order has a nonce of its own.
    again = await world.do(world.leg(side, size=1.0, limit_usd=60.0 if side is Side.BUY else 20.0))
    nonces = [event.nonce for event in world.journal.intents() if event.state is IntentState.RESERVED]
    assert nonces == sorted(set(nonces))
    assert again.status is (LegStatus.REJECTED if side is Side.SELL and reached else LegStatus.FILLED)


async def test_a_crash_between_the_exchange_and_the_answer_is_found_by_nonce(world: World) -> None:
    world.server.faults[ORDER] = Fault(after=True)
    leg = world.leg(Side.BUY, size=20.0, limit_usd=1_200.0)
    await world.do(leg)
    world.restart()
    found = await world.find_out(leg)
    assert (found.status, found.filled_size) == (LegStatus.PARTIAL, 15.0)


async def test_an_order_whose_nonce_is_ahead_of_its_time_is_found(world: World) -> None:
    """The clock was set back: nonces go on rising, and an order is older than its own nonce says."""
    await world.do(world.leg(Side.BUY, limit_usd=60.0))
    world.exchange.now_s -= 150.0
    world.server.faults[ORDER] = Fault(after=True)
    leg = world.leg(Side.BUY, limit_usd=60.0)
    assert (await world.do(leg)).status is LegStatus.UNKNOWN
    assert (await world.find_out(leg)).status is LegStatus.FILLED


async def test_the_history_may_list_a_fill_twice_or_lag(world: World) -> None:
    world.server.faults[ORDER] = Fault(after=True)
    leg = world.leg(Side.BUY, size=3.0, limit_usd=150.0)
    await world.do(leg)

    def doubled(page: Any) -> Any:
        return {**page, "trades": page["trades"] * 2}

    world.server.faults["private/get_trade_history"] = Fault(tamper=doubled)
    found = await world.find_out(leg)
    assert found.filled_size == 3.0
    assert found.premium_usd == pytest.approx(121 + 0.5 + 2.7)


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"filled_amount": "1.5"}, "signed was 1"),
        ({"amount": "2"}, "signed was 1"),
        ({"average_price": "55"}, "the limit that was signed"),
        ({"order_fee": "30"}, "fees"),
        ({"instrument_name": CALL}, "signed was a buy of"),
        ({"direction": "sell"}, "signed was a buy of"),
    ],
)
async def test_a_fill_worse_than_signed_stops_the_bot(
    world: World, change: dict[str, str], match: str
) -> None:
    def lie(result: Any) -> Any:
        return {"order": {**result["order"], **change}, "trades": []}

    world.server.faults[ORDER] = Fault(tamper=lie)
    leg = world.leg(Side.BUY, limit_usd=60.0)
    with pytest.raises(InvariantError, match=match):
        await world.do(leg)
    assert states(world)[-1] is IntentState.MINED  # what it said is kept, and the leg stays open
    world.restart()
    with pytest.raises(InvariantError, match=match):
        await world.find_out(leg)


async def test_trades_that_say_more_than_the_order_stop_the_bot(world: World) -> None:
    def lie(result: Any) -> Any:
        trade = {**result["trades"][0], "trade_amount": "7"}
        return {**result, "trades": [trade]}

    world.server.faults[ORDER] = Fault(tamper=lie)
    with pytest.raises(InvariantError, match="its trades say"):
        await world.do(world.leg(Side.BUY, limit_usd=60.0))


async def test_a_settlement_that_pays_too_little_stops_the_bot(world: World) -> None:
    await world.do(world.leg(Side.BUY, limit_usd=60.0))
    world.exchange.warp(world.exchange.options[PUT].expiry_s + 5.0, ETH="2700")
    world.exchange.settlements[0]["settlement_value"] = "1"
    with pytest.raises(InvariantError, match="owes"):
        await world.do(world.leg(Side.SETTLE, limit_usd=0.0))


async def test_a_settlement_listed_twice_pays_once(world: World) -> None:
    await world.do(world.leg(Side.BUY, limit_usd=60.0))
    world.exchange.warp(world.exchange.options[PUT].expiry_s + 5.0, ETH="2700")
    world.exchange.settlements *= 2
    outcome = await world.do(world.leg(Side.SETTLE, limit_usd=0.0))
    assert outcome.premium_usd == pytest.approx(100.0)


async def test_a_clock_that_is_off_holds_every_order(world: World) -> None:
    world.server.skew_s = 90.0
    outcome = await world.do(world.leg(Side.BUY, limit_usd=60.0))
    assert outcome.status is LegStatus.REJECTED
    assert "clock of Derive is +90.0 s" in outcome.because
    assert world.journal.intents() == ()


@pytest.mark.parametrize(
    "error", [TransientError("gone"), OutcomeUnknown("signature", "k"), VenueRejected("paused")]
)
async def test_without_a_signature_nothing_is_sent(world: World, error: Exception) -> None:
    world.signer.error = error
    outcome = await world.do(world.leg(Side.BUY, limit_usd=60.0))
    assert outcome.status is LegStatus.REJECTED
    assert world.server.count(DRY_RUN) == world.server.count(ORDER) == 0
    assert states(world) == [IntentState.RESERVED, IntentState.RELEASED]


async def test_no_secret_is_in_an_error_or_an_outcome(world: World) -> None:
    world.server.faults[ORDER] = Fault(after=True)
    outcome = await world.do(world.leg(Side.BUY, limit_usd=60.0))
    body = next(body for name, body in world.server.asked if name == ORDER)
    assert body["signature"] not in outcome.because
    assert OWNER not in outcome.because


async def test_an_answer_for_another_subaccount_is_not_believed(world: World) -> None:
    world.server.faults["private/get_positions"] = Fault(tamper=lambda page: {**page, "subaccount_id": 8})
    with pytest.raises(TransientError, match="another subaccount"):
        await world.venue.held(world.view())


async def test_an_order_that_rests_against_its_terms_stays_unknown_until_it_ends(world: World) -> None:
    """An IOC order never rests; one that says so is looked up until its signature ends it."""
    resting: dict[str, Any] = {"order_status": "open", "filled_amount": "0"}

    def rest(result: Any) -> Any:
        order = {**result["order"], **resting}
        world.exchange.orders[order["order_id"]] = order
        return {"order": order, "trades": []}

    world.server.faults[ORDER] = Fault(tamper=rest)
    leg = world.leg(Side.BUY, limit_usd=60.0)
    outcome = await world.do(leg)
    assert outcome.status is LegStatus.UNKNOWN
    assert "still on the book" in outcome.because
    assert (await world.find_out(leg)).status is LegStatus.UNKNOWN
    (order,) = world.exchange.orders.values()
    order.update(order_status="expired", filled_amount="1")
    found = await world.find_out(leg)
    assert (found.status, found.filled_size) == (LegStatus.FILLED, 1.0)


async def test_an_answer_for_another_order_stops_the_bot(world: World) -> None:
    def other(result: Any) -> Any:
        return {**result, "order": {**result["order"], "nonce": "1"}}

    world.server.faults[ORDER] = Fault(tamper=other)
    with pytest.raises(InvariantError, match="answers for 1"):
        await world.do(world.leg(Side.BUY, limit_usd=60.0))


async def test_a_signer_that_breaks_its_promise_stops_the_bot(world: World) -> None:
    world.signer.error = InvariantError("not allowed")
    with pytest.raises(InvariantError):
        await world.do(world.leg(Side.BUY, limit_usd=60.0))
    assert states(world) == [IntentState.RESERVED, IntentState.RELEASED]
    assert world.server.count(DRY_RUN) == 0
