"""A person's orders for perpetuals reach the loop through the desk and are done once (R27, REL-K)."""

from dataclasses import replace
from pathlib import Path

import pytest
from perpetual_builders import FakePerpetuals, perpetual_order, perpetual_position, reduction, traded
from pipeline_builders import FakeVenue, decision, moment

from bot.errors import OutcomeUnknown
from bot.model.hedge import LegStatus
from bot.model.record import EngineState
from bot.pipeline.desk import Desk, Request
from bot.pipeline.loop import Pipeline
from bot.pipeline.memory_journal import MemoryJournal
from bot.settings import PolicySettings, load_policy

OPENED = perpetual_order()
CLOSING = reduction(9, 10.0, key="manual.1-ETH.USDC-PERPETUAL-0")
ASKED = Request(legs=(), by="ana", perpetuals=(CLOSING,))


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path, mode="test")


def pipeline(journal, venue, desk, orders=None):
    def decide(policy, state, frame):
        made = decision(frame.now_s, ())
        return EngineState(), replace(made, perpetuals=(orders or {}).get(frame.now_s, ()))

    return Pipeline(
        mode="test",
        policy=load_policy(PolicySettings()),
        decide=decide,
        venues={"fake": FakeVenue()},
        journal=journal,
        perpetual_venues={venue.name: venue},
        desk=desk,
    )


def test_a_request_comes_back_from_its_file_as_it_was_left(desk):
    desk.leave(ASKED)
    ((path, found),) = desk.asked().requests
    assert found == ASKED
    assert path.name == f"{CLOSING.key}.json"


async def test_it_is_done_before_the_plan_and_never_again(desk):
    journal, venue = MemoryJournal(), FakePerpetuals()
    planned = reduction(1, 2.0)
    loop = pipeline(journal, venue, desk, {moment(1).now_s: (OPENED,), moment(2).now_s: (planned,)})
    await loop.step(moment(1))
    venue.positions = (perpetual_position(),)
    desk.leave(ASKED)
    record = await loop.step(moment(2))
    assert [(item.order.key, item.status) for item in record.perpetuals] == [(CLOSING.key, LegStatus.FILLED)]
    assert journal.perpetual_outcomes()[-1] == record.perpetuals[0]
    assert desk.requests() == ()
    desk.leave(ASKED)  # as after a crash between the journal and the file
    venue.positions = ()
    assert (await loop.step(moment(3))).perpetuals == ()
    assert venue.asked.count(f"execute {CLOSING.key}") == 1
    assert f"execute {planned.key}" not in venue.asked  # decided anew after it
    assert desk.requests() == ()


async def test_it_waits_for_an_order_of_the_group_whose_end_is_unknown(desk):
    journal, venue = MemoryJournal(), FakePerpetuals(fail=OutcomeUnknown("short", "k"))
    loop = pipeline(journal, venue, desk, {moment(1).now_s: (OPENED,)})
    await loop.step(moment(1))
    venue.fail = None
    desk.leave(ASKED)
    await loop.step(moment(2))
    assert f"execute {CLOSING.key}" not in venue.asked
    assert len(desk.requests()) == 1
    venue.truth[OPENED.key] = traded(OPENED)
    venue.positions = (perpetual_position(),)
    record = await loop.step(moment(3))
    assert [item.order.key for item in record.perpetuals] == [OPENED.key, CLOSING.key]
    assert desk.requests() == ()


async def test_one_whose_end_is_unknown_keeps_its_file_and_is_looked_up_not_sent_again(desk):
    journal, venue = MemoryJournal(), FakePerpetuals()
    loop = pipeline(journal, venue, desk, {moment(1).now_s: (OPENED,)})
    await loop.step(moment(1))
    venue.positions, venue.fail = (perpetual_position(),), OutcomeUnknown("close", "k")
    desk.leave(ASKED)
    record = await loop.step(moment(2))
    assert [item.status for item in record.perpetuals] == [LegStatus.UNKNOWN]
    assert len(desk.requests()) == 1
    venue.truth[CLOSING.key] = traded(CLOSING)
    venue.positions = ()
    record = await loop.step(moment(3))
    assert [(item.status, item.reconciled) for item in record.perpetuals] == [(LegStatus.FILLED, True)]
    assert venue.asked.count(f"execute {CLOSING.key}") == 1
    assert desk.requests() == ()


async def test_where_no_bot_runs_it_is_done_alone_after_what_is_open_was_looked_up(desk):
    journal, venue = MemoryJournal(), FakePerpetuals(fail=OutcomeUnknown("short", "k"))
    await pipeline(journal, venue, desk, {moment(1).now_s: (OPENED,)}).step(moment(1))
    again = FakePerpetuals(truth={OPENED.key: traded(OPENED)}, positions=(perpetual_position(),))
    loop = pipeline(journal, again, desk)
    assert await loop.order(ASKED, moment(2)) == ()  # no leg of an option
    assert [item.order.key for item in loop.perpetuals.news()] == [CLOSING.key]
    assert [item.order.key for item in journal.perpetual_outcomes()] == [OPENED.key, CLOSING.key]
    assert loop.perpetuals.news() == ()
