"""The one loop: reconcile, look, decide, act, record."""

import math
from dataclasses import replace

import pytest
from pipeline_builders import (
    FakeVenue,
    ListJournal,
    decide_once,
    decision,
    filled,
    leg,
    moment,
    position,
)

from bot.errors import InvariantError, OutcomeUnknown, StaleDataError, TransientError, VenueRejected
from bot.model.base_layers import Action, BaseLayer, Proposal
from bot.model.hedge import LegStatus, Side
from bot.model.tier import RuleFinding
from bot.pipeline.loop import Pipeline, view_of
from bot.pipeline.pauses import Pauses
from bot.settings import PolicySettings, load_policy


def pipeline(journal, venue, plans=None, seen=None):
    return Pipeline(
        mode="test",
        policy=load_policy(PolicySettings()),
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
    quiet = await loop.step(later)
    assert quiet.is_heartbeat
    assert (quiet.exposures, quiet.held) == ((), ())
    whole = await loop.step(moment(3))
    assert not whole.is_heartbeat
    assert whole.exposures == moment(3).exposures  # what the payoff is drawn of


async def test_another_alarm_is_news_and_its_figures_are_not():
    """A health factor that falls under its limit is in the journal at once, not with the next hour."""

    def low(*values):
        return tuple(RuleFinding(rule="R2", fired=value < 1.25, because=f"{value}") for value in values)

    said = [low(1.3, 1.4), low(1.2, 1.4), low(1.1, 1.3), low(1.1, 1.2), low(1.3, 1.3)]

    def find(_policy, state, at):
        minute = round((at.now_s - moment(1).now_s) / 60.0)
        return state, replace(decision(at.now_s), findings=said[minute])

    loop = replace(pipeline(ListJournal(), FakeVenue()), decide=find)
    moments = [replace(moment(1), now_s=moment(1).now_s + 60.0 * minute) for minute in range(5)]
    records = [await loop.step(item) for item in moments]
    assert [item.is_heartbeat for item in records] == [False, False, True, False, False]


async def test_another_proposal_is_news_and_its_figures_are_not():
    def proposal(subject, amount_usd):
        return Proposal(
            rule="R29",
            layer=BaseLayer.EXIT,
            action=Action.WITHDRAW,
            subject=subject,
            amount_usd=amount_usd,
            because=f"{amount_usd} USD",
        )

    said = [(proposal("a", 1.0),), (proposal("a", 2.0),), (proposal("a", 2.0), proposal("b", 1.0)), ()]

    def propose(_policy, state, at):
        minute = round((at.now_s - moment(1).now_s) / 60.0)
        return state, replace(decision(at.now_s), proposals=said[minute])

    loop = replace(pipeline(ListJournal(), FakeVenue()), decide=propose)
    moments = [replace(moment(1), now_s=moment(1).now_s + 60.0 * minute) for minute in range(4)]
    records = [await loop.step(item) for item in moments]
    assert [item.is_heartbeat for item in records] == [False, True, False, False]
    assert [len(item.decision.proposals) for item in records] == [1, 0, 2, 0]


async def test_the_age_of_a_hold_is_no_news():
    loop = pipeline(ListJournal(), FakeVenue())
    held = [
        replace(moment(1), now_s=moment(1).now_s + 60.0 * minute, holds=(f"price is {age} s old",))
        for minute, age in enumerate((4_000, 4_060))
    ]
    other = replace(held[1], now_s=held[1].now_s + 60.0, holds=("no price of ETH is known",))
    records = [await loop.step(item) for item in (*held, other)]
    assert [item.is_heartbeat for item in records] == [False, True, False]


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


async def test_a_sale_found_after_the_pinned_block_keeps_its_layer_waiting_until_the_block_shows_it():
    """Else half of a position is sold again from what the old block says of it."""
    journal, seen = ListJournal(), []
    sale = leg(2, side=Side.SELL, size=1.0, position_id="p1")
    venue = FakeVenue(positions=(position(),), fail_execute=OutcomeUnknown("sale", "plan-2"))
    await pipeline(journal, venue, {moment(1).now_s: (sale,)}).step(moment(1))
    venue.truth["plan-2"] = replace(filled(sale), block_number=3)
    for restart_at in (2, 3):
        await pipeline(journal, venue, {}, seen).step(moment(restart_at))
    assert [frame.open_legs for frame in seen] == [("plan-2",), ()]
    assert [spend.usd for spend in seen[0].spends] == [-97.0]  # booked, not reserved as well


async def test_a_position_settled_after_the_pinned_block_is_not_held_any_more():
    """Else it would be settled, and its proceeds booked, a second time."""
    journal, seen = ListJournal(), []
    bought, settle = leg(1), leg(2, side=Side.SETTLE, position_id="p1")
    venue = FakeVenue(positions=(position(),))
    await pipeline(journal, venue, {moment(1).now_s: (bought,)}).step(moment(1))
    venue.fail_execute = OutcomeUnknown("settlement", "plan-2")
    await pipeline(journal, venue, {moment(2).now_s: (settle,)}).step(moment(2))
    venue.truth["plan-2"] = replace(filled(settle), block_number=4)
    await pipeline(journal, venue, {}, seen).step(moment(3))  # the venue still lists it at this block
    assert seen[-1].held == ()
    assert seen[-1].holds == ()
    assert seen[-1].open_legs == ("plan-2",)


async def test_after_a_leg_of_unknown_end_no_other_is_started():
    journal = ListJournal()
    venue = FakeVenue(fail_execute=OutcomeUnknown("sell", "plan-1"))
    legs = (leg(1), leg(2))
    await pipeline(journal, venue, {moment(1).now_s: legs}).step(moment(1))
    assert [item.key for item in journal.open_legs()] == ["plan-1"]
    assert "execute plan-2" not in venue.asked


async def test_the_sale_of_a_roll_waits_for_its_replacement():
    refused = filled(leg(1))
    refused = type(refused)(leg=refused.leg, status=LegStatus.REJECTED, at_s=refused.at_s, because="no")
    part = replace(filled(leg(1)), status=LegStatus.PARTIAL, filled_size=0.1)  # a tenth of it
    sale = replace(leg(2, side=Side.SELL, position_id="p1"), only_after="plan-1")
    for answer, expected in ((refused, 1), (part, 1), (filled(leg(1)), 2)):
        journal, venue = ListJournal(), FakeVenue()
        venue.answers["plan-1"] = answer
        record = await pipeline(journal, venue, {moment(1).now_s: (leg(1), sale)}).step(moment(1))
        assert len(record.outcomes) == expected


async def test_an_outcome_with_unknown_money_is_not_booked():
    journal, venue = ListJournal(), FakeVenue()
    venue.answers["plan-1"] = replace(filled(leg(1)), gas_usd=math.nan)
    record = await pipeline(journal, venue, {moment(1).now_s: (leg(1),)}).step(moment(1))
    assert [outcome.status for outcome in record.outcomes] == [LegStatus.UNKNOWN]
    assert [item.key for item in journal.open_legs()] == ["plan-1"]
    assert journal.outcomes() == ()


async def test_a_price_that_is_too_old_is_unknown_to_venues():
    quiet = moment(1)
    late = replace(quiet, now_s=quiet.now_s + 7_200.0)
    assert view_of(late, max_age_s=3_960.0).spot_usd["ETH"] != view_of(late).spot_usd["ETH"]
    assert math.isnan(view_of(late, max_age_s=3_960.0).spot_usd["ETH"])


REFUSED = replace(filled(leg(1)), status=LegStatus.REJECTED, position_id="", premium_usd=0.0)


def test_a_layer_waits_twice_as_long_with_each_refusal_after_the_first():
    pauses = Pauses(first_s=60.0, longest_s=6 * 3_600.0)
    pauses.note([REFUSED])
    assert pauses.keys(REFUSED.at_s) == ()
    pauses.note([replace(REFUSED, leg=leg(2))])
    assert pauses.keys(REFUSED.at_s + 59.0) == ("plan-2",)
    assert pauses.keys(REFUSED.at_s + 60.0) == ()
    pauses.note([replace(REFUSED, leg=leg(3))])
    assert pauses.keys(REFUSED.at_s + 119.0) == ("plan-3",)
    pauses.note([REFUSED] * 40)
    assert pauses.keys(REFUSED.at_s + 6 * 3_600.0) == ()
    assert pauses.keys(REFUSED.at_s + 6 * 3_600.0 - 1.0) == ("plan-1",)
    pauses.note([filled(leg(4))])
    assert pauses.keys(REFUSED.at_s) == ()
    pauses.note([replace(REFUSED, reconciled=True)] * 3)
    assert pauses.keys(REFUSED.at_s) == (), "a restart that abandoned a leg refused nothing"


async def test_a_restart_remembers_refusals():
    journal, seen = ListJournal(), []
    journal.closed = [replace(REFUSED, at_s=moment(1).now_s - 1.0)] * 2
    await pipeline(journal, FakeVenue(), {}, seen).step(moment(1))
    assert seen[-1].open_legs == ("plan-1",)
