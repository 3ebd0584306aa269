"""Perpetuals in a recording: what the venue said and did comes back, and a run decides alike over it."""

from dataclasses import replace

import pytest
from perpetual_builders import PERP, FakePerpetuals, perpetual_order
from pipeline_builders import FakeVenue, decision, moment

from bot.errors import TransientError
from bot.model.perpetual import PerpetualEnd
from bot.model.record import EngineState
from bot.pipeline.history import History
from bot.pipeline.loop import Pipeline, view_of
from bot.pipeline.memory_journal import MemoryJournal
from bot.pipeline.playback import PlaybackPerpetualVenue, journal_of, read_part
from bot.pipeline.recorded_venue import RecordedPerpetualVenue, RecordedVenue
from bot.pipeline.recording import Recorder, parts
from bot.settings import PolicySettings, load_policy

POLICY = load_policy(PolicySettings())


async def record(folder, venue, orders, numbers):
    journal, history = MemoryJournal(), History()
    options, recorded = RecordedVenue(FakeVenue()), RecordedPerpetualVenue(venue)
    recorder = Recorder(
        folder=folder, mode="live", policy=POLICY, history=history, journal=journal,
        venues=[options, recorded],
    )  # fmt: skip
    loop = Pipeline(
        mode="live",
        policy=POLICY,
        decide=decides(orders),
        venues={"fake": options},
        journal=journal,
        before_record=recorder.write,
        perpetual_venues={recorded.name: recorded},
    )
    records = [await loop.step(moment(number)) for number in numbers]
    recorder.close()
    return records


def decides(orders):
    def decide(policy, state, frame):
        made = decision(frame.now_s)
        return EngineState(), replace(made, holds=frame.holds, perpetuals=orders.get(frame.now_s, ()))

    return decide


def steps_of(folder):
    (part,) = parts(folder)
    found = read_part(part)
    return found, list(found.steps(found.history()))


async def test_quotes_positions_fills_and_a_liquidation_come_back(tmp_path):
    venue = FakePerpetuals(end=PerpetualEnd(size=-10.0, price_usd=2_900.0, fee_usd=70.0, because="gone"))
    order = perpetual_order()
    records = await record(tmp_path, venue, {moment(1).now_s: (order,)}, (1, 2))
    assert records[1].perpetuals[0].price_usd == 2_900.0
    _, steps = steps_of(tmp_path)
    played = PlaybackPerpetualVenue("perp-v2")
    view = view_of(steps[0].moment)
    played.at(steps[0])
    (answer,) = [item for item in steps[0].answers if item.perpetual_quotes]
    assert answer.perpetual_quotes == await played.perpetual_quotes(view, underlying="ETH", size=answer.size)
    (other,) = await played.perpetual_quotes(view, underlying="ETH", size=answer.size * 2.0)
    assert other.indicative
    assert await played.execute(order, view=view) == records[0].perpetuals[0]
    assert "no such order" in (await played.execute(perpetual_order(9), view=view)).because
    with pytest.raises(TransientError, match="no news of order"):  # so that it stays open, as in the run
        await played.reconcile(perpetual_order(9), view=view)
    assert await played.ended(PERP, -10.0, view=view, since_block=0) is None
    played.at(steps[1])
    assert await played.held_perpetuals(view) == ()
    assert (await played.ended(PERP, -10.0, view=view, since_block=0)).price_usd == 2_900.0


async def test_a_run_over_the_recording_books_the_same(tmp_path):
    """The played venues drive the same loop to the same records."""
    venue = FakePerpetuals(positions=())
    order = perpetual_order()
    orders = {moment(1).now_s: (order,)}
    venue.end = PerpetualEnd(size=-10.0, price_usd=2_900.0, fee_usd=70.0, because="gone")
    records = await record(tmp_path, venue, orders, (1, 2, 3))
    found, steps = steps_of(tmp_path)
    played = PlaybackPerpetualVenue("perp-v2")
    loop = Pipeline(
        mode="live",
        policy=POLICY,
        decide=decides(orders),
        venues={"fake": FakeVenue()},
        journal=journal_of(found),
        perpetual_venues={"perp-v2": played},
    )
    for step, expected in zip(steps, records, strict=True):
        played.at(step)
        again = await loop.step(step.moment)
        assert again.perpetuals == expected.perpetuals
        assert again.cash_flow_usd == expected.cash_flow_usd


async def test_a_part_begins_with_the_orders_of_its_run(tmp_path):
    venue = FakePerpetuals()
    order = perpetual_order()
    await record(tmp_path / "a", venue, {moment(1).now_s: (order,)}, (1, 30))  # the second on another day
    second = sorted(parts(tmp_path / "a"))[1]
    journal = journal_of(read_part(second))
    assert [item.order for item in journal.perpetual_outcomes()] == [order]


async def test_a_venue_that_failed_fails_alike(tmp_path):
    await record(tmp_path, FakePerpetuals(fail_held=TransientError("node is gone")), {}, (1,))
    _, (step,) = steps_of(tmp_path)
    played = PlaybackPerpetualVenue("perp-v2")
    played.at(step)
    with pytest.raises(TransientError, match="node is gone"):
        await played.held_perpetuals(view_of(step.moment))
