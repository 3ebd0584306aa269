"""Who reads along has the columns of who writes, whatever was done to them; one process writes a series."""

import math
import random
from contextlib import closing
from dataclasses import replace

import numpy as np
import pytest
from pipeline_builders import START_S, block, price
from postgres_server import empty_postgres

from bot.chain.heads import MAX_REORG
from bot.errors import ConfigError, InvariantError, TransientError
from bot.model.market import Metric, SeriesKey
from bot.pipeline.gaps import BETWEEN_POLLS, Gap, Halt
from bot.pipeline.history import History
from bot.pipeline.history_place import HistoryPlace
from bot.pipeline.history_store import HistoryStore
from bot.pipeline.store_feed import StoreFeed

ETH = SeriesKey(Metric.PRICE_USD, "ETH", "chainlink:ETH/USD")
BTC = SeriesKey(Metric.PRICE_USD, "BTC", "http")
CHAIN = 31337
DAY_S = 86_400.0


@pytest.fixture
def place(postgres_url) -> HistoryPlace:
    empty_postgres(postgres_url)
    return HistoryPlace(url=postgres_url, schema="alvh_history_31337")


def watcher(place, *keys, name="chain 31337", keep_s=math.inf):
    return History(keys, store=HistoryStore(place, writer=name, own=keys), keep_s=keep_s)


def reader(place, *keys):
    store = HistoryStore(place, own=keys, elsewhere=keys)
    return History(keys, store=store, keep_s=10 * DAY_S)


def feed(place, history, *keys, home=1, wait_s=0.0):
    found = StoreFeed(
        place=place, history=history, chains={CHAIN: keys}, home=home, lag_limit_s=60.0, wait_s=wait_s
    )
    found.begin()
    return found


def eth(at_s, value, number):
    return replace(price(START_S + at_s, value), block_number=number)


def btc(at_s, value):
    return replace(price(START_S + at_s, value), subject="BTC", source="http", block_number=None)


def stored(place):
    """Return how many rows the database holds."""
    engine = place.open_reader()
    with engine.connect() as connection:
        found = connection.exec_driver_sql("SELECT COUNT(*) FROM observation").scalar()
    engine.dispose()
    return found


def rows(history, key):
    column = history.columns()[key]
    return list(zip((column.times_s - START_S).tolist(), column.values.tolist(), strict=True))


def act(history, random_, number):
    """Do one of the things that are done to a history: read, fill, late answers, failures, reorgs."""
    kind = random_.choice(["read", "read", "read", "fill", "late", "unknown", "reorg", "again"])
    at_s = 12.0 * number
    if kind == "fill":
        history.fill([eth(at_s - random_.choice([6, 30, 90]), float(number), number - 1)])
    elif kind == "late":
        history.append([btc(at_s - random_.choice([0, 5, 40]), random_.random())])
    elif kind == "unknown":
        history.append([replace(btc(at_s, math.nan), why_unknown="no answer")])
    elif kind == "reorg":
        history.orphan([ETH, BTC], chain_id=CHAIN, from_block=max(number - random_.randint(0, 4), 0))
    else:
        history.append([eth(at_s - (6 if kind == "again" else 0), float(number), number)])
    history.add_head(block(number, START_S + at_s))
    history.flush()


async def test_whatever_a_writer_does_who_reads_along_has_the_same_columns(place):
    """Also one that begins in the middle, and one that looks seldom."""
    random_ = random.Random(7)
    with closing(watcher(place, ETH, BTC)) as writes:
        writes.append([eth(0, 1.0, 0)])
        writes.flush()
        early = reader(place, ETH, BTC)
        early.record()
        feeds = [(early, feed(place, early, ETH, BTC))]
        for number in range(1, 120):
            act(writes, random_, number)
            now = block(number, START_S + 12.0 * number)
            if number == 60:
                late = reader(place, ETH, BTC)
                feeds.append((late, feed(place, late, ETH, BTC)))
            for index, (history, fed) in enumerate(feeds):
                if index or number % 7 == 0:
                    found = await fed.take(now, now_s=float(now.timestamp_s))
                    assert found.holds == ()
                    assert found.blocks == {CHAIN: now}
                    for key in (ETH, BTC):
                        assert repr(rows(history, key)) == repr(rows(writes, key)), (number, key)
        assert len(rows(writes, ETH)) > 30
        for history, fed in feeds:
            fed.close()
            history.close()


async def test_what_was_taken_is_not_written_twice_and_is_there_after_a_restart(place):
    with closing(watcher(place, ETH)) as writes:
        writes.append([eth(0, 1.0, 0)])
        writes.add_head(block(0, START_S))
        writes.flush()
        for _ in range(2):
            history = reader(place, ETH)
            history.record()
            fed = feed(place, history, ETH)
            await fed.take(block(0, START_S), now_s=START_S)
            assert rows(history, ETH) == [(0.0, 1.0)]
            history.flush()
            fed.close()
            history.close()
    assert stored(place) == 1


async def test_a_watcher_that_falls_silent_is_a_hold_and_its_series_are_unknown_once(place):
    with closing(watcher(place, ETH)) as writes, closing(reader(place, ETH)) as history:
        writes.append([eth(0, 1.0, 0)])
        writes.add_head(block(0, START_S))
        writes.flush()
        fed = feed(place, history, ETH)
        assert (await fed.take(block(5, START_S), now_s=START_S + 60.0)).holds == ()
        for late_s in (61.0, 75.0):
            found = await fed.take(block(6, START_S), now_s=START_S + late_s)
            assert found.holds == (
                "alvh watch chain 31337 last read its block of 2022-05-05T00:00:00Z, older than 60 s; "
                "see whether it runs",
            )
        assert repr(rows(history, ETH)) == "[(0.0, 1.0), (61.0, nan)]"
        writes.append([eth(48, 2.0, 4)])
        writes.add_head(block(4, START_S + 48))
        writes.flush()
        found = await fed.take(block(7, START_S), now_s=START_S + 76.0)
        assert (found.holds, found.blocks[CHAIN].number) == ((), 4)
        assert rows(history, ETH) == [(0.0, 1.0), (48.0, 2.0)]
        fed.close()


async def test_series_that_nobody_writes_are_a_hold_from_the_first_moment_on(place):
    with closing(reader(place, ETH)) as history:
        fed = feed(place, history, ETH)
        found = await fed.take(block(1, START_S), now_s=START_S)
        assert found.holds == (
            "chain 31337 is watched_elsewhere, and nobody has written some of its series: start alvh watch",
        )
        assert math.isnan(history.columns()[ETH].values[-1])
        fed.close()


async def test_a_block_of_the_home_chain_is_waited_for_and_not_for_ever(place):
    with closing(watcher(place, ETH)) as writes, closing(reader(place, ETH)) as history:
        writes.append([eth(0, 1.0, 0)])
        writes.add_head(block(0, START_S))
        writes.flush()
        fed = feed(place, history, ETH, home=CHAIN, wait_s=0.2)
        found = await fed.take(block(1, START_S + 12), now_s=START_S + 12)
        assert (found.blocks, found.holds, rows(history, ETH)) == ({}, (), [(0.0, 1.0)])
        other = replace(block(1, START_S + 12), hash="0xother")
        writes.add_head(other)
        writes.flush()
        assert not fed._has_read(block(1, START_S + 12)), "another block of that height"
        fed.close()


async def test_a_halt_of_a_watcher_holds_the_engine_too(place):
    with closing(watcher(place, ETH)) as writes, closing(reader(place, ETH)) as history:
        writes.add_head(block(0, START_S))
        writes.flush()
        fed = feed(place, history, ETH)
        writes.add_halt(Halt(CHAIN, START_S, "deep"))
        writes.flush()
        await fed.take(block(0, START_S), now_s=START_S)
        await fed.take(block(0, START_S), now_s=START_S)
        assert [item.why for item in history.halts()] == ["deep"]
        fed.close()


def test_one_process_writes_a_series_and_the_second_is_told_who(place):
    with closing(watcher(place, ETH, name="chain 31337 1/2")):
        with pytest.raises(ConfigError, match=r"is written by alvh watch chain 31337 1/2, process \d+: stop"):
            watcher(place, ETH, BTC, name="chain 31337 1/3")
        with pytest.raises(ConfigError, match="watched_elsewhere"):
            HistoryStore(place, own=[ETH])
        watcher(place, BTC, name="chain 31337 2/2").close()
    bots = [HistoryStore(place, own=[ETH]), HistoryStore(place, own=[ETH])]
    with pytest.raises(ConfigError, match="is written by"):
        watcher(place, ETH)
    for bot in bots:
        bot.close()
    watcher(place, ETH).close()


async def test_rows_on_the_newest_blocks_of_another_writer_leave_when_a_series_changes_hands(place):
    """Nobody knows any more on which blocks they stood; who reads along takes them back too."""
    with closing(watcher(place, ETH, name="1/2")) as first:
        first.append([eth(12 * number, float(number), number) for number in range(100)])
        first.flush()
    with closing(reader(place, ETH)) as history:
        fed = feed(place, history, ETH)
        assert len(rows(history, ETH)) == 100
        with closing(watcher(place, ETH, name="1/2")) as same:
            assert len(rows(same, ETH)) == 100
        with closing(watcher(place, ETH, name="1/3")) as other:
            assert len(rows(other, ETH)) == 99 - MAX_REORG
            other.append([eth(1_200, 7.0, 100)])
            other.add_head(block(100, START_S + 1_200))
            other.flush()
            await fed.take(block(100, START_S + 1_200), now_s=START_S + 1_200)
            assert rows(history, ETH) == rows(other, ETH)
        fed.close()


def test_each_writer_has_its_own_heads_and_gaps(place):
    gap = Gap(CHAIN, 1, 2, START_S, START_S + 24, BETWEEN_POLLS)
    with closing(watcher(place, ETH, name="1/2")) as one, closing(watcher(place, BTC, name="2/2")) as two:
        for number in range(5):
            one.add_head(block(number, START_S + 12 * number))
        two.add_head(block(9, START_S + 108))
        two.add_gap(gap)
        one.orphan([ETH], chain_id=CHAIN, from_block=3)
        two.orphan([BTC], chain_id=CHAIN, from_block=100)
        one.flush()
        two.flush()
    with closing(watcher(place, ETH, name="1/2")) as one, closing(watcher(place, BTC, name="2/2")) as two:
        assert [[head.number for head in item.last_heads(CHAIN)] for item in (one, two)] == [[0, 1, 2], [9]]
        assert (one.gaps(), two.gaps()) == ((), (gap,))


def test_each_process_lets_its_own_old_rows_leave_and_no_others(place):
    with closing(watcher(place, ETH, keep_s=DAY_S)) as writes:
        writes.append([eth(day * DAY_S, 1.0, day) for day in range(5)])
        for _ in range(3):
            writes.flush()
        store = HistoryStore(place, own=[ETH, BTC], elsewhere=[ETH])
        with closing(History([ETH, BTC], store=store, keep_s=60.0)) as history:
            history.append([btc(9 * DAY_S, 1.0)])
            history.flush()
        assert stored(place) == 3


def test_a_retention_shorter_than_the_look_back_has_no_effect(tmp_path):
    path = tmp_path / "history.sqlite"
    store = HistoryStore(HistoryPlace(path=path))
    with closing(History([ETH], store=store, keep_s=3 * DAY_S, stored_s=DAY_S)) as history:
        history.append([eth(day * DAY_S, 1.0, day) for day in range(6)])
        for _ in range(3):
            history.flush()
        assert len(rows(history, ETH)) == 4
    with closing(History([ETH], path=path)) as whole:
        assert len(rows(whole, ETH)) == 4


def test_a_longer_retention_keeps_rows_for_a_person_and_not_for_decisions(tmp_path):
    path = tmp_path / "history.sqlite"
    store = HistoryStore(HistoryPlace(path=path))
    with closing(History([ETH], store=store, keep_s=DAY_S, stored_s=3 * DAY_S)) as history:
        history.append([eth(day * DAY_S, 1.0, day) for day in range(6)])
        for _ in range(3):
            history.flush()
        assert len(rows(history, ETH)) == 2
    with closing(History([ETH], path=path)) as whole:
        np.testing.assert_array_equal(whole.columns()[ETH].times_s, START_S + DAY_S * np.arange(2, 6))


async def test_a_server_that_stops_is_trouble_for_readers_and_the_end_for_writers(place, postgres_server):
    writes, history = watcher(place, ETH), reader(place, BTC)
    writes.append([eth(0, 1.0, 0)])
    writes.add_head(block(0, START_S))
    writes.flush()
    fed = StoreFeed(place=place, history=history, chains={CHAIN: [ETH]}, home=1, lag_limit_s=60.0, wait_s=0.0)
    fed.begin()
    postgres_server.stop()
    try:
        with pytest.raises(TransientError, match="cannot be read"):
            await fed.take(block(0, START_S), now_s=START_S)
        writes.append([eth(12, 2.0, 1)])
        with pytest.raises(InvariantError, match=r"could not be written.*see to the server and start again"):
            writes.flush()
    finally:
        postgres_server.start()
    found = await fed.take(block(0, START_S), now_s=START_S)
    assert (found.holds, rows(history, ETH)) == ((), [(0.0, 1.0)])
    with pytest.raises(InvariantError, match="start again"):  # its lease is gone: another may write by now
        writes.flush()
    with closing(watcher(place, ETH)) as again:
        assert rows(again, ETH) == [(0.0, 1.0)]
    fed.close()
    for item in (writes, history):
        item._store.close()
