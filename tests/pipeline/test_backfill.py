"""History is filled from old blocks: only what is missing, one row for each bar, and it can go on later."""

import math
from dataclasses import replace

import numpy as np
import pytest
from fake_chain import FakeChain
from pipeline_builders import START_S, price

from bot.errors import StaleDataError, TransientError
from bot.model.market import Block, Metric, SeriesKey
from bot.model.units import DAY_S, HOUR_S
from bot.pipeline.backfill import Backfill, BlockFinder, LookBack, look_backs
from bot.pipeline.cadence import Scheduled
from bot.pipeline.history import History
from bot.quant.bars import closed_bars

KEY = SeriesKey(Metric.PRICE_USD, "ETH", "chainlink:ETH/USD")
FUNDING = SeriesKey(Metric.FUNDING_APR, "ETH", "hyperliquid")
END_S = START_S + 30 * DAY_S


class Archive(FakeChain):
    """A chain of blocks every ``block_s`` that counts how often it is asked."""

    def __init__(self, *, block_s=12.0, began_s=START_S - 400 * DAY_S, state_since_s=-math.inf, at=None):
        super().__init__({})
        self.began_s, self.block_s, self.state_since_s = began_s, block_s, state_since_s
        self.at = at or (lambda number: began_s + block_s * number)
        self.asked = 0

    def number_at(self, at_s):
        return int((at_s - self.began_s) // self.block_s)

    async def block(self, number):
        self.asked += 1
        if number < 0:
            raise StaleDataError(f"no block {number}")
        return Block(
            chain_id=31337,
            number=number,
            hash=f"0x{number:064x}",
            parent_hash=f"0x{number - 1:064x}",
            timestamp_s=int(self.at(number)),
        )

    async def at_time(self, at_s):
        return await self.block(self.number_at(at_s))


class Price:
    """A watcher whose value is the time of the block."""

    name, series = "chainlink ETH/USD", (KEY,)

    def __init__(self, fail=None):
        self.read_at, self.fail = [], fail

    async def read(self, chain, *, block, read_at_s):
        self.read_at.append(block.timestamp_s)
        if self.fail:
            raise self.fail
        if block.timestamp_s < chain.state_since_s:
            raise TransientError("missing trie node 0xab (path )")
        return [replace(price(block.timestamp_s, float(block.timestamp_s)), block_number=block.number)]


def backfill(history, *, span_s=10 * DAY_S, **more):
    return Backfill(history=history, wanted=[LookBack(span_s=span_s, step_s=HOUR_S)], deadline_s=5.0, **more)


@pytest.mark.parametrize("block_s", [0.25, 12.0, 900.0])
async def test_the_block_before_a_time_is_found_in_few_reads(block_s):
    chain = Archive(block_s=block_s)
    finder = BlockFinder(chain, await chain.at_time(END_S))
    for hours in range(24 * 20):
        found = await finder.last_before(END_S - hours * HOUR_S)
        after = await Archive(block_s=block_s).block(found.number + 1)
        assert found.timestamp_s < END_S - hours * HOUR_S <= after.timestamp_s
    assert chain.asked <= 5 * 24 * 20


async def test_the_block_before_a_time_is_found_when_block_times_are_very_uneven():
    chain = Archive(at=lambda number: START_S - 50 * DAY_S + number**2)
    head = await chain.block(2_000)
    finder = BlockFinder(chain, head)
    for at_s in (head.timestamp_s, head.timestamp_s - 1, START_S - 49 * DAY_S, START_S - 50 * DAY_S + 1):
        found = await finder.last_before(at_s)
        assert found.timestamp_s < at_s <= (await chain.block(found.number + 1)).timestamp_s
    assert await finder.last_before(START_S - 50 * DAY_S) is None, "the chain began later"
    assert chain.asked < 120


async def test_every_closed_bar_gets_one_row_at_its_last_block():
    chain, history, watcher = Archive(), History([KEY]), Price()
    head = await chain.at_time(END_S + 1_234)
    found = await backfill(history).chain(chain, [Scheduled(watcher=watcher)], head=head)
    column = history.columns()[KEY]
    bars = closed_bars(column, bar_s=HOUR_S, now_s=head.timestamp_s, count=10 * 24)
    assert found.rows == column.times_s.size == 240
    assert bars.coverage == 1.0
    assert np.all(bars.times_s + HOUR_S - column.times_s <= 12.0)
    assert np.all(np.diff(column.times_s) > 0)


async def test_only_what_is_missing_is_asked_for_and_a_second_time_nothing():
    chain, history, watcher = Archive(), History([KEY]), Price()
    known = [price(END_S - hours * HOUR_S - 60, 1.0) for hours in range(240) if hours not in (3, 4, 100)]
    history.fill(known)
    head = await chain.at_time(END_S + 12)
    first = await backfill(history).chain(chain, [Scheduled(watcher=watcher)], head=head)
    second = await backfill(history).chain(chain, [Scheduled(watcher=watcher)], head=head)
    assert (first.rows, second.asked) == (3, 0)
    assert sorted(watcher.read_at, reverse=True) == watcher.read_at, "newest first"


async def test_it_stops_at_a_signal_and_the_next_start_goes_on(tmp_path):
    chain, path, done = Archive(), tmp_path / "history.sqlite", []
    head = await chain.at_time(END_S + 12)
    first = History([KEY], path=path)
    part = await backfill(
        first, progress=lambda *said: done.append(said), should_stop=lambda: len(done) >= 5
    ).chain(chain, [Scheduled(watcher=Price())], head=head)
    first.close()
    assert (part.rows, done[-1]) == (30, (30, 240, "chain 31337"))
    second = History([KEY], path=path)
    rest = await backfill(second).chain(chain, [Scheduled(watcher=Price())], head=head)
    whole = History([KEY])
    await backfill(whole).chain(chain, [Scheduled(watcher=Price())], head=head)
    assert rest.rows == 210
    np.testing.assert_array_equal(second.columns()[KEY].times_s, whole.columns()[KEY].times_s)
    second.close()


async def test_a_node_without_old_states_is_named_and_left_alone():
    chain, history = Archive(state_since_s=END_S - DAY_S), History([KEY])
    head = await chain.at_time(END_S + 12)
    found = await backfill(history).chain(chain, [Scheduled(watcher=Price())], head=head)
    assert found.rows == 24
    assert found.asked <= 30
    (problem,) = found.problems
    assert "210 samples were not asked for" in str(problem)
    assert "missing trie node" in str(problem)
    assert np.all(np.isfinite(history.columns()[KEY].values)), "nothing is made up, and nothing marked failed"


async def test_what_a_watcher_does_not_know_at_an_old_block_is_a_row_and_is_not_asked_for_again():
    chain, history, watcher = Archive(), History([KEY]), Price(ValueError("no code there then"))
    head = await chain.at_time(END_S + 12)
    first = await backfill(history, span_s=DAY_S).chain(chain, [Scheduled(watcher=watcher)], head=head)
    second = await backfill(history, span_s=DAY_S).chain(chain, [Scheduled(watcher=watcher)], head=head)
    assert (first.asked, second.asked) == (24, 0)
    assert np.all(np.isnan(history.columns()[KEY].values))


async def test_a_bar_in_which_the_chain_had_no_block_stays_empty():
    chain = Archive(at=lambda number: START_S + (0 if number < 5 else 10 * HOUR_S) + number)
    history, watcher = History([KEY]), Price()
    head = await chain.block(100)
    await backfill(history, span_s=9 * HOUR_S).chain(chain, [Scheduled(watcher=watcher)], head=head)
    assert history.columns()[KEY].times_s.size == 0
    assert watcher.read_at == []


async def test_a_gap_is_filled_only_from_where_it_began():
    chain, history, watcher = Archive(), History([KEY]), Price()
    head = await chain.at_time(END_S + 12)
    found = await backfill(history).chain(
        chain, [Scheduled(watcher=watcher)], head=head, since_s=END_S - 5 * HOUR_S
    )
    assert found.rows == 5


async def test_the_var_gets_daily_closes_past_the_bars_of_the_signals():
    wanted = (
        *look_backs({Metric.PRICE_USD: 2.0 * DAY_S, Metric.VOL_INDEX: 3.0 * DAY_S}, step_s=HOUR_S),
        *look_backs({Metric.PRICE_USD: 11.0 * DAY_S}, step_s=DAY_S),
    )
    chain, history = Archive(), History([KEY])
    head = await chain.at_time(END_S + 12)
    await Backfill(history=history, wanted=wanted, deadline_s=5.0).chain(
        chain, [Scheduled(watcher=Price())], head=head
    )
    column = history.columns()[KEY]
    assert column.times_s.size == 48 + 9
    days = closed_bars(column, bar_s=DAY_S, now_s=head.timestamp_s, count=10)
    assert days.coverage == 1.0


class Funding:
    """A web source that still knows some of its past."""

    name, series, every_s = "hyperliquid", (FUNDING,), 3_600.0

    def __init__(self, *, fail=None, hours=240):
        self.asked, self.fail, self.hours = [], fail, hours

    async def history(self, web, *, since_s, until_s):
        self.asked.append((since_s, until_s))
        if self.fail:
            raise self.fail
        hours = [END_S - HOUR_S * back for back in range(self.hours)]
        return [self._row(at_s) for at_s in sorted(hours) if since_s <= at_s <= until_s]

    def _row(self, at_s):
        metric, subject, source = FUNDING
        return replace(price(at_s, 0.1), metric=metric, subject=subject, source=source)


async def test_http_sources_are_asked_once_for_all_that_is_missing_and_then_no_more():
    history, source = History([FUNDING]), Funding()
    first = await backfill(history).web([source], None, now_s=END_S + 60)
    second = await backfill(history).web([source], None, now_s=END_S + 60)
    assert first.rows == history.columns()[FUNDING].times_s.size == 239, "the open bar is watched live"
    assert (second.asked, len(source.asked)) == (0, 1)


@pytest.mark.parametrize("fail", [TransientError("429"), ValueError("no JSON")])
async def test_an_http_source_that_fails_is_named_and_the_next_is_asked(fail):
    history, bad, good = History([FUNDING]), Funding(fail=fail), Funding()
    bad.name = "other"
    found = await backfill(history).web([bad, good], None, now_s=END_S + 60)
    assert found.rows == 239
    assert [item.what for item in found.problems] == ["other"]


async def test_a_restart_a_replay_and_a_fresh_start_with_the_same_rows_have_the_same_columns(tmp_path):
    """Design: whoever has the same rows decides alike, however they came to be there."""
    chain = Archive()
    head = await chain.at_time(END_S + 12)
    live = [
        replace(price(END_S - 50 * HOUR_S + 600 * i, 3_000.0 + i), block_number=10_000_000 + i)
        for i in range(200)
    ]
    path = tmp_path / "history.sqlite"
    stored = History([KEY], path=path)
    stored.record()
    stored.append(live)
    await backfill(stored).chain(chain, [Scheduled(watcher=Price())], head=head)
    stored.cut(until_s=math.inf)
    replayed = History([KEY])
    for change in stored.changes():
        replayed.redo(change)
    stored.close()
    restarted = History([KEY], path=path)
    fresh = History([KEY])
    fresh.fill(live)
    await backfill(fresh).chain(chain, [Scheduled(watcher=Price())], head=head)
    for other in (replayed, restarted, fresh):
        np.testing.assert_array_equal(other.columns()[KEY].times_s, stored.columns()[KEY].times_s)
        np.testing.assert_array_equal(other.columns()[KEY].values, stored.columns()[KEY].values)
    restarted.close()


class FundingOnChain(Price):
    name, series = "funding", (FUNDING,)

    async def read(self, chain, *, block, read_at_s):
        (found,) = await super().read(chain, block=block, read_at_s=read_at_s)
        return [replace(found, metric=FUNDING.metric, source=FUNDING.source)]


async def test_one_watcher_that_fails_in_transit_keeps_no_other_from_being_filled():
    """Its bars stay open, so that the next start asks for them again; nothing is marked as read."""
    chain, history = Archive(), History([KEY, FUNDING])
    head = await chain.at_time(END_S + 12)
    bad, good = FundingOnChain(TransientError("HTTP 500")), Price()
    watchers = [Scheduled(watcher=bad), Scheduled(watcher=good)]
    found = await backfill(history, span_s=2 * DAY_S).chain(chain, watchers, head=head)
    assert history.columns()[KEY].times_s.size == 48
    assert history.columns()[FUNDING].times_s.size == 0
    assert {(item.what, item.why) for item in found.problems} == {
        ("funding", "HTTP 500; 48 samples are missing")
    }
    assert len(bad.read_at) <= 12, "it is not asked at every bar in vain"
    bad.fail = None
    again = await backfill(history, span_s=2 * DAY_S).chain(chain, watchers, head=head)
    assert (again.rows, len(good.read_at)) == (48, 48)


async def test_a_sample_on_a_block_that_goes_while_it_is_read_is_not_filled():
    """The reorg was heard of before these rows came, so nobody else would take them back."""

    class Reorganised(Archive):
        gone = 0

        async def block(self, number):
            found = await super().block(number)
            return replace(found, hash="0x" + "ee" * 32) if number >= self.gone > 0 else found

    chain, history = Reorganised(), History([KEY])
    head = await chain.at_time(END_S + 12)

    class Slow(Price):
        async def read(self, chain, *, block, read_at_s):
            chain.gone = head.number - 5
            return await super().read(chain, block=block, read_at_s=read_at_s)

    found = await backfill(history, span_s=3 * HOUR_S).chain(chain, [Scheduled(watcher=Slow())], head=head)
    assert history.columns()[KEY].times_s.size == 2
    assert "reorganised" in found.problems[0].why
