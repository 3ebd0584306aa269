"""Moments of a live chain: what cannot be read is unknown or as last seen, never zero (R2, I6)."""

import math

import pytest
from pipeline_builders import EXPOSURE, START_S, block, price

from bot.errors import ConfigError, NotFoundError, StaleDataError, TransientError
from bot.model.market import Metric, SeriesKey
from bot.pipeline.history import History
from bot.pipeline.sources import LiveSource, chain_clock

KEY = SeriesKey(Metric.PRICE_USD, "ETH", "chainlink:ETH/USD")


class Watch:
    """A watcher of one price that fails as it is told."""

    name = "watch"
    series = (KEY,)

    def __init__(self, fail=None):
        self.fail = fail

    async def read(self, chain, *, block, read_at_s):
        if self.fail:
            raise self.fail
        return [price(block.timestamp_s, 2_500.0)]


class Position:
    """A position reader that fails as it is told."""

    def __init__(self, fail=None):
        self.fail = fail

    async def read(self, chain, *, block):
        if self.fail:
            raise self.fail
        return (EXPOSURE,)


async def heads(*blocks):
    for item in blocks:
        yield item


def source(*, watch=None, position=None, clock=chain_clock, heard=None):
    return LiveSource(
        chain=None,
        watchers=[watch or Watch()],
        positions=[position or Position()],
        history=History([KEY]),
        clock=clock,
        on_trouble=(heard if heard is not None else []).append,
    )


async def moments(live, *blocks, after_s=-math.inf):
    return [moment async for moment in live.moments(heads(*blocks), after_s=after_s)]


async def test_a_failing_watcher_is_unknown_with_its_reason_and_stops_nobody():
    (moment,) = await moments(source(watch=Watch(TransientError("gone"))), block(1, START_S))
    assert math.isnan(moment.columns.latest(Metric.PRICE_USD, "ETH")[0])
    assert moment.columns[KEY].times_s.tolist() == [START_S]
    assert moment.exposures == (EXPOSURE,)


@pytest.mark.parametrize("kind", [TransientError, NotFoundError])
async def test_a_position_that_cannot_be_read_stands_as_it_was_last_seen_and_holds(kind):
    position = Position()
    live = source(position=position)
    await moments(live, block(1, START_S))
    position.fail = kind("no answer")
    (moment,) = await moments(live, block(2, START_S + 12))
    assert moment.exposures == (EXPOSURE,)
    assert moment.holds == ("a position could not be read: no answer",)


async def test_with_a_clock_that_is_off_the_moment_has_chain_time_and_holds():
    live = source(clock=lambda item: item.timestamp_s + 3_600.0)
    (moment,) = await moments(live, block(1, START_S))
    assert moment.now_s == START_S
    assert moment.holds == ("chain 31337 is 3600 s behind our clock, allowed 60 s",)


async def test_a_journal_that_is_ahead_of_the_chain_is_refused_in_one_line():
    with pytest.raises(ConfigError, match="it is the journal of another chain; name another state_dir"):
        await moments(source(), block(1, START_S), after_s=START_S + 3_600.0)


async def test_heads_that_were_decided_on_are_skipped():
    found = await moments(source(), block(1, START_S), block(2, START_S + 12), after_s=START_S)
    assert [moment.blocks[31337].number for moment in found] == [2]


async def test_a_block_that_goes_while_it_is_read_is_skipped_and_said():
    heard = []
    live = source(watch=Watch(StaleDataError("block 1 is gone")), heard=heard)
    assert await moments(live, block(1, START_S)) == []
    assert [str(error) for error in heard] == ["block 1 is gone"]
