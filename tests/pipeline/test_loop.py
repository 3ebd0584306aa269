"""The one loop: reconcile, look, decide, act, record."""

import pytest
from pipeline_builders import (
    FakeVenue,
    ListJournal,
    decide_once,
    filled,
    leg,
    moment,
    position,
)

from bot.errors import InvariantError, OutcomeUnknown, StaleDataError, TransientError, VenueRejected
from bot.model.hedge import LegStatus
from bot.pipeline.loop import Pipeline


def pipeline(journal, venue, plans=None, seen=None):
    return Pipeline(
        mode="test",
        policy=None,
        decide=decide_once(plans or {}, seen if seen is not None else []),
        venues={"fake": venue},
        journal=journal,
    )


async def test_a_leg_is_opened_before_and_closed_after_it_is_executed():
    journal, venue = ListJournal(), FakeVenue()
    record = await pipeline(journal, venue, {moment(1).now_s: (leg(),)}).step(moment(1))
    assert [outcome.status for outcome in record.outcomes] == [LegStatus.FILLED]
    assert journal.open_legs() == ()
    assert journal.outcomes() == record.outcomes
    assert venue.asked[-1] == "execute plan-1"


async def test_an_unknown_outcome_stays_open_holds_its_budget_and_is_reconciled_not_resent():
    journal = ListJournal()
    venue = FakeVenue(fail_execute=OutcomeUnknown("buy", "plan-1"))
    seen = []
    loop = pipeline(journal, venue, {moment(1).now_s: (leg(),)}, seen)
    record = await loop.step(moment(1))
    assert [outcome.status for outcome in record.outcomes] == [LegStatus.UNKNOWN]
    await loop.step(moment(2))  # still unknown
    assert seen[-1].open_legs == ("plan-1",)
    assert [spend.usd for spend in seen[-1].spends] == [110.0]
    venue.truth["plan-1"] = filled(leg())
    record = await loop.step(moment(3))
    assert [outcome.status for outcome in record.outcomes] == [LegStatus.FILLED]
    assert seen[-1].open_legs == ()
    assert [spend.usd for spend in seen[-1].spends] == [103.0]
    assert venue.asked.count("execute plan-1") == 1


async def test_a_restart_has_the_book_of_the_journal():
    journal, venue, seen = ListJournal(), FakeVenue(), []
    await pipeline(journal, venue, {moment(1).now_s: (leg(),)}).step(moment(1))
    venue.positions = (position(),)
    await pipeline(journal, venue, {}, seen).step(moment(2))
    (hedge,) = seen[-1].held
    assert hedge.cost_usd == 103.0
    assert journal.last_step().sequence == 2
    assert journal.last_step().hedge_value_usd == 80.0


@pytest.mark.parametrize("kind", [TransientError, StaleDataError, VenueRejected])
async def test_a_venue_that_cannot_be_read_is_a_hold_not_an_empty_book(kind):
    seen = []
    venue = FakeVenue(fail_held=kind("node is gone"))
    await pipeline(ListJournal(), venue, {}, seen).step(moment(1))
    assert seen[-1].holds == ("venue fake could not be read: node is gone",)


async def test_a_moment_that_is_not_later_than_the_journal_is_refused():
    journal = ListJournal()
    await pipeline(journal, FakeVenue()).step(moment(2))
    with pytest.raises(InvariantError, match="later than the journal's last"):
        await pipeline(journal, FakeVenue()).step(moment(2))


async def test_a_quiet_step_within_the_hour_is_a_heartbeat():
    journal = ListJournal()
    loop = pipeline(journal, FakeVenue())
    await loop.step(moment(1))
    quiet = moment(1)
    later = type(quiet)(
        now_s=quiet.now_s + 60.0, blocks=quiet.blocks, columns=quiet.columns, exposures=quiet.exposures
    )
    assert (await loop.step(later)).is_heartbeat
    assert not (await loop.step(moment(3))).is_heartbeat


async def test_quotes_are_asked_for_three_tenths_of_the_exposure():
    venue = FakeVenue()
    await pipeline(ListJournal(), venue).step(moment(0))
    assert venue.asked == ["quotes ETH 12.000"]  # 100,000 USD at 2,500 is 40 ETH


async def test_a_filled_leg_that_the_pinned_block_does_not_show_yet_is_a_hold_not_a_second_purchase():
    seen = []
    loop = pipeline(ListJournal(), FakeVenue(), {moment(1).now_s: (leg(),)}, seen)
    await loop.step(moment(1))
    await loop.step(moment(2))  # the venue still shows the block before the fill
    assert "position p1 at fake" in seen[-1].holds[0]
