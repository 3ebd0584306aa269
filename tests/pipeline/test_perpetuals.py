"""The loop trades perpetuals with the guarantees of legs (R27, REL-K): journal first, one open."""

from dataclasses import replace
from pathlib import Path

import pytest
from perpetual_builders import (
    PERP,
    FakePerpetuals,
    perpetual_order,
    perpetual_position,
    reduction,
    traded,
)
from pipeline_builders import FakeVenue, decision, leg, moment

from bot.engine.plan import PAUSED
from bot.errors import InvariantError, NotFoundError, OutcomeUnknown, TransientError
from bot.model.hedge import LegStatus
from bot.model.intent import IntentEvent, IntentState
from bot.model.perpetual import PerpetualAction, PerpetualEnd
from bot.model.record import EngineState, StepRecord
from bot.pipeline import codec
from bot.pipeline.journal import JournalIdentity, SqlJournal
from bot.pipeline.loop import Pipeline
from bot.pipeline.memory_journal import MemoryJournal
from bot.settings import PolicySettings, load_policy

IDENTITY = JournalIdentity(mode="test", chain_id=31337, account="")


@pytest.fixture(params=["sqlite", "memory"])
def journal(request, tmp_path: Path):
    if request.param == "memory":
        yield MemoryJournal()
        return
    with SqlJournal(tmp_path / "journal.db", identity=IDENTITY) as found:
        yield found


def pipeline(journal, venue, orders=None, seen=None, legs=None, options=None):
    plans = orders or {}

    def decide(policy, state, frame):
        if seen is not None:
            seen.append(frame)
        made = decision(frame.now_s, (legs or {}).get(frame.now_s, ()))
        found = plans.get(frame.now_s, ())
        return EngineState(), replace(made, holds=frame.holds, perpetuals=found)

    return Pipeline(
        mode="test",
        policy=load_policy(PolicySettings()),
        decide=decide,
        venues={"fake": options or FakeVenue()},
        journal=journal,
        perpetual_venues={venue.name: venue},
    )


AT_1 = moment(1).now_s


async def test_an_order_is_opened_before_and_closed_after_it_is_executed(journal):
    venue = FakePerpetuals()
    record = await pipeline(journal, venue, {AT_1: (perpetual_order(),)}).step(moment(1))
    assert [item.status for item in record.perpetuals] == [LegStatus.FILLED]
    assert journal.open_perpetuals() == ()
    assert journal.perpetual_outcomes() == record.perpetuals
    assert (journal.open_legs(), journal.outcomes()) == ((), ())  # rows of options stay their own
    assert not record.is_heartbeat


async def test_the_frame_holds_what_the_book_and_the_venue_know(journal):
    venue, seen = FakePerpetuals(), []
    loop = pipeline(journal, venue, {AT_1: (perpetual_order(),)}, seen)
    await loop.step(moment(1))
    venue.positions = (perpetual_position(),)
    record = await loop.step(moment(2))
    (held,) = seen[-1].perpetuals
    assert (held.group, held.size, held.entry_usd) == ("ETH/USDC", -10.0, 2_500.0)
    (quote,) = {item.perpetual for item in seen[-1].perpetual_quotes}
    assert quote == PERP
    assert [item.usd for item in seen[-1].spends] == [12.0]  # fee and gas; margin is not spent
    assert record.cash_flow_usd == -12.0
    assert record.hedge_value_usd == 10.0 * 100.0 + 3.0
    assert seen[-1].holds == ()


async def test_an_unknown_end_stays_open_and_is_reconciled_not_sent_again(journal):
    venue, seen = FakePerpetuals(fail=OutcomeUnknown("short", "k")), []
    order = perpetual_order()
    loop = pipeline(journal, venue, {AT_1: (order, reduction(1, 2.0))}, seen)
    record = await loop.step(moment(1))
    assert [item.status for item in record.perpetuals] == [LegStatus.UNKNOWN]  # and nothing after it
    await loop.step(moment(2))
    assert seen[-1].open_legs == (order.key,)
    assert [item.usd for item in seen[-1].spends] == [order.expected_usd]
    venue.truth[order.key] = traded(order)
    record = await loop.step(moment(3))
    assert [(item.status, item.reconciled) for item in record.perpetuals] == [(LegStatus.FILLED, True)]
    assert venue.asked.count(f"execute {order.key}") == 1


async def test_a_restart_goes_on_where_the_journal_stopped(journal):
    """Crash: the process dies within an order, the next one finds it open, and its book when it is closed."""
    order, venue = perpetual_order(), FakePerpetuals(fail=KeyboardInterrupt())
    with pytest.raises(KeyboardInterrupt):
        await pipeline(journal, venue, {AT_1: (order,)}).step(moment(1))
    assert journal.open_perpetuals() == (order,)
    seen: list = []
    again = FakePerpetuals(truth={order.key: traded(order)}, positions=(perpetual_position(),))
    await pipeline(journal, again, {}, seen).step(moment(2))
    assert [item.size for item in seen[-1].perpetuals] == [-10.0]
    third: list = []
    await pipeline(journal, again, {}, third).step(moment(3))
    assert [item.entry_usd for item in third[-1].perpetuals] == [2_500.0]


async def test_a_venue_that_cannot_be_read_is_a_hold_and_not_an_empty_book(journal):
    seen: list = []
    venue = FakePerpetuals(fail_held=TransientError("node is gone"))
    record = await pipeline(journal, venue, {}, seen).step(moment(1))
    assert seen[-1].holds == ("venue perp-v2 could not be read: node is gone",)
    assert record.hedge_value_usd != record.hedge_value_usd  # NaN


async def test_a_position_the_journal_does_not_know_opens_nothing(journal):
    seen: list = []
    await pipeline(journal, FakePerpetuals(positions=(perpetual_position(-3.0),)), {}, seen).step(moment(1))
    assert "-3 at the venue" in seen[-1].holds[0]
    assert seen[-1].perpetuals == ()


async def test_a_liquidation_that_the_venue_proves_is_booked_once(journal):
    venue, seen = FakePerpetuals(), []
    loop = pipeline(journal, venue, {AT_1: (perpetual_order(),)}, seen)
    await loop.step(moment(1))
    venue.positions = ()
    venue.end = PerpetualEnd(size=-10.0, price_usd=2_900.0, fee_usd=700.0, because="liquidated")
    record = await loop.step(moment(2))
    (end,) = record.perpetuals
    assert (end.order.action, end.status, end.filled_size) == (PerpetualAction.ENDED, LegStatus.FILLED, 10.0)
    assert record.cash_flow_usd == -12.0 - 10.0 * 400.0 - 700.0
    assert (seen[-1].holds, seen[-1].perpetuals) == ((), ())
    record = await loop.step(moment(3))
    assert record.perpetuals == ()


async def test_without_proof_it_stays_a_hold(journal):
    venue, seen = FakePerpetuals(), []
    loop = pipeline(journal, venue, {AT_1: (perpetual_order(),)}, seen)
    await loop.step(moment(1))
    await loop.step(moment(2))
    assert "-10 in the journal and +0 at the venue" in seen[-1].holds[0]
    assert "ended -10" in venue.asked


async def test_what_was_traded_after_the_pinned_block_is_no_disagreement(journal):
    venue, seen = FakePerpetuals(), []
    order = perpetual_order()
    loop = pipeline(journal, venue, {AT_1: (order,)}, seen)
    venue_execute = venue.execute

    async def later(item, *, view):
        return replace(await venue_execute(item, view=view), block_number=view.block.number + 5)

    venue.execute = later
    await loop.step(moment(1))
    await loop.step(moment(2))
    assert seen[-1].holds == ()
    assert order.key in seen[-1].open_legs  # its group waits until the block is reached


async def test_openings_that_are_refused_in_a_row_wait_while_the_rest_goes_on(journal):
    venue, seen = FakePerpetuals(refuses="the market is paused"), []
    orders = {moment(n).now_s: (perpetual_order(n),) for n in (1, 2)}
    loop = pipeline(journal, venue, orders, seen)
    await loop.step(moment(1))
    await loop.step(replace(moment(2), now_s=AT_1 + 1.0))
    await loop.step(replace(moment(3), now_s=AT_1 + 2.0))
    assert seen[-1].open_legs == ()  # one refusal may be chance
    orders[AT_1 + 3.0] = (perpetual_order(3),)
    await loop.step(replace(moment(3), now_s=AT_1 + 3.0))
    await loop.step(replace(moment(3), now_s=AT_1 + 4.0))
    assert seen[-1].open_legs == (f"{PAUSED}{perpetual_order(3).key}",)


async def test_an_order_of_a_venue_that_is_not_configured_stops_by_name(journal):
    order = perpetual_order(perpetual=replace(PERP, venue="other"))
    with pytest.raises(NotFoundError, match="other"):
        await pipeline(journal, FakePerpetuals(), {AT_1: (order,)}).step(moment(1))


async def test_money_that_is_not_known_is_never_booked(journal):
    venue = FakePerpetuals()
    order = perpetual_order()
    real = venue.execute

    async def strange(item, *, view):
        return replace(await real(item, view=view), fee_usd=float("nan"))

    venue.execute = strange
    record = await pipeline(journal, venue, {AT_1: (order,)}).step(moment(1))
    assert record.perpetuals[0].status is LegStatus.UNKNOWN
    assert journal.open_perpetuals() == (order,)


def test_the_journal_keeps_one_open_order_per_group_and_each_key_once(journal):
    first, second = perpetual_order(0), perpetual_order(1)
    journal.open_perpetual(first, at_s=1.0)
    with pytest.raises(InvariantError, match="still open"):
        journal.open_perpetual(second, at_s=1.0)
    journal.open_perpetual(replace(second, group="ETH/DAI"), at_s=1.0)
    journal.open_leg(leg(), at_s=1.0)  # a layer of the same group stands beside it
    with pytest.raises(InvariantError, match="not open"):
        journal.close_perpetual(traded(perpetual_order(7)))
    journal.close_perpetual(traded(first))
    with pytest.raises(InvariantError, match="in the journal already"):
        journal.open_perpetual(first, at_s=1.0)
    assert [item.key for item in journal.open_perpetuals()] == [second.key]
    assert [item.order for item in journal.perpetual_outcomes()] == [first]
    assert journal.open_legs() == (leg(),)


def test_a_transaction_belongs_to_an_open_order_and_keeps_it_open(journal):
    order = perpetual_order()
    event = IntentEvent(
        key=f"{order.key}/0-trade",
        leg_key=order.key,
        purpose="trade",
        state=IntentState.RESERVED,
        at_s=1.0,
        chain_id=31337,
        sender="0x" + "aa" * 20,
        nonce=0,
    )
    with pytest.raises(InvariantError, match="not open"):
        journal.append_intent(event)
    journal.open_perpetual(order, at_s=1.0)
    journal.append_intent(event)
    with pytest.raises(InvariantError, match="transaction"):
        journal.close_perpetual(traded(order))
    journal.append_intent(replace(event, state=IntentState.RELEASED))
    journal.close_perpetual(traded(order))


async def test_records_and_orders_of_an_older_program_are_read(journal):
    """Fields that came later have defaults: nothing of an old journal is lost."""
    record = await pipeline(journal, FakePerpetuals(), {AT_1: (perpetual_order(),)}).step(moment(1))
    assert codec.loads(StepRecord, codec.dumps(record)) == record
    old = codec.dumps(replace(record, perpetuals=())).replace(',"perpetuals":[]', "")
    assert codec.loads(StepRecord, old).perpetuals == ()
    text = codec.dumps(perpetual_order()).replace(',"release_usd":0.0', "")
    assert codec.loads(type(perpetual_order()), text) == perpetual_order()
