"""A recording stands by itself, survives crashes, and stays under its size."""

import json
import math
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
import pytest
from pipeline_builders import EXPOSURE, PUT, START_S, FakeVenue, ListJournal, block, decide_once, leg, price

from bot.engine.policy import Policy
from bot.errors import ConfigError, InvariantError, StaleDataError, TransientError
from bot.model.base_layers import BaseHoldings, Cover, Loan, ReserveHolding
from bot.model.hedge import Quote
from bot.model.market import Columns, Metric, SeriesKey
from bot.model.units import DAY_S
from bot.pipeline.codec import dumps
from bot.pipeline.derived import BOOK
from bot.pipeline.history import History
from bot.pipeline.loop import Moment, Pipeline
from bot.pipeline.playback import PlaybackVenue, journal_of, read_part
from bot.pipeline.recorded_venue import RecordedVenue
from bot.pipeline.recording import START, TAIL, Recorder, close_tail, parts
from bot.ports import MarketView
from bot.settings import PolicySettings, load_policy

KEY = SeriesKey(Metric.PRICE_USD, "ETH", "chainlink:ETH/USD")
EMPTY = SeriesKey(Metric.VOL_INDEX, "ETH", "deribit")


def quote(size, premium_usd=100.0):
    return Quote(
        instrument=PUT,
        size=size,
        premium_usd=premium_usd * size,
        fee_usd=size,
        gas_usd=2.0,
        swap_usd=3.0 * size,
        iv=0.8,
        delta=-0.3,
        model_usd=95.0 * size,
        min_size=0.1,
        lot=0.1,
        liquidity=10_000.0,
        valid_until_s=START_S + 1e9,
        block_number=1,
    )


@dataclass
class Quoting(FakeVenue):
    """A venue that quotes one put, or fails as it is told."""

    fail: Exception | None = None

    async def quotes(self, view, *, underlying, size):
        if self.fail:
            raise self.fail
        return (quote(size),)


@pytest.fixture
def policy() -> Policy:
    return load_policy(PolicySettings())


class Run:
    """A pipeline over a history that is recorded."""

    def __init__(self, folder, policy, *, venue=None, plans=None, **more):
        self.history = History([KEY, EMPTY])
        self.journal, self.venue = ListJournal(), RecordedVenue(venue or Quoting())
        self.recorder = Recorder(
            folder=folder,
            mode="live",
            policy=policy,
            history=self.history,
            journal=self.journal,
            venues=[self.venue],
            **more,
        )
        self.seen = []
        self.pipeline = Pipeline(
            mode="live",
            policy=policy,
            decide=decide_once(plans or {}, self.seen),
            venues={"fake": self.venue},
            journal=self.journal,
            before_record=self.recorder.write,
        )

    async def step(self, number, now_s=None, **changes):
        now_s = START_S + 12.0 * number if now_s is None else now_s
        self.history.append([replace(price(now_s, 2_500.0 + number), block_number=number)])
        moment = Moment(
            now_s=now_s,
            blocks={31337: block(number, now_s), 10: replace(block(number, now_s), chain_id=10)},
            columns=self.history.cut(until_s=now_s),
            exposures=(EXPOSURE,),
            holds=("a reason",),
            **changes,
        )
        # What comes after the cut is of the next moment.
        self.history.append([replace(price(now_s, 0.5), metric=EMPTY.metric, source=EMPTY.source)])
        return await self.pipeline.step(moment)


@pytest.fixture
def begin(policy):
    """Begin runs that end as by a crash: nothing is closed in order."""
    runs = []

    def start(folder, **more):
        runs.append(Run(folder, policy, **more))
        return runs[-1]

    yield start
    for run in runs:
        if run.recorder._tail is not None:
            run.recorder._tail.close()


def read_back(folder):
    found = []
    for path in parts(folder):
        part = read_part(path)
        found.extend(part.steps(part.history()))
    return found


def observed(columns):
    """Leave out what the loop derives: a replay derives it anew."""
    return Columns(series={key: item for key, item in columns.series.items() if key.source != BOOK})


def same_columns(left, right):
    assert set(left.series) == set(right.series)
    for key, column in left.series.items():
        np.testing.assert_array_equal(column.times_s, right.series[key].times_s)
        np.testing.assert_array_equal(column.values, right.series[key].values)


async def test_every_step_comes_back_as_it_was(tmp_path, begin):
    run = begin(tmp_path, steps_per_file=4)
    records = [await run.step(number) for number in range(1, 11)]
    assert len(list(parts(tmp_path)[0].glob("steps-*.parquet"))) == 2
    found = read_back(tmp_path)
    assert [item.record for item in found] == records
    for item, frame in zip(found, run.seen, strict=True):
        same_columns(item.moment.columns, observed(frame.columns))
        assert item.moment.blocks == frame.blocks
        assert list(item.moment.blocks) == [31337, 10], "the home chain stays first"
        assert item.moment.exposures == frame.exposures
        assert item.moment.holds == ("a reason",)
        assert item.answers[-1].quotes == frame.quotes


async def test_what_is_stated_of_the_base_layers_comes_back(tmp_path, begin):
    """A replay must propose what the run did (R25), whatever the configuration says by then."""
    stated = BaseHoldings(
        reserves=(ReserveHolding(asset="USDC", units=25.5), ReserveHolding(asset="DAI", watched="safe/DAI")),
        covers=(Cover(id="c1", protocol="curve", amount_usd=1e4, expires_s=START_S + 9e6),),
        loans=(Loan(position="loan", debt_asset="USDC", debt_units=8e3),),
    )
    run = begin(tmp_path, steps_per_file=2)
    await run.step(1, base=stated)
    await run.step(2)
    await run.step(3, base=stated)  # in the tail
    assert [frame.base for frame in run.seen] == [stated, BaseHoldings(), stated]
    found = [item.moment.base for item in read_back(tmp_path)]
    assert list(map(dumps, found)) == list(map(dumps, [stated, BaseHoldings(), stated]))


async def test_a_tail_of_an_older_program_states_nothing_of_the_base_layers(tmp_path, begin):
    run = begin(tmp_path)
    await run.step(1)
    (tail,) = tmp_path.glob("*/tail.jsonl")
    line = json.loads(tail.read_text())
    del line["base"]
    tail.write_text(json.dumps(line) + "\n")
    assert [item.moment.base for item in read_back(tmp_path)] == [BaseHoldings()]
    close_tail(tail.parent)
    assert [item.moment.base for item in read_back(tmp_path)] == [BaseHoldings()]


async def test_reorgs_and_fills_come_back_too(tmp_path, begin):
    run = begin(tmp_path)
    for number in range(1, 6):
        await run.step(number)
    run.history.orphan([KEY], chain_id=31337, from_block=4)
    run.history.fill([price(START_S + 6.0, 1.0)])
    await run.step(4, now_s=START_S + 100.0)
    same_columns(read_back(tmp_path)[-1].moment.columns, observed(run.seen[-1].columns))


async def test_a_torn_tail_is_read_as_far_as_it_is_whole_and_closed_by_the_next_run(tmp_path, begin):
    run = begin(tmp_path)
    for number in range(1, 4):
        await run.step(number)
    (part,) = parts(tmp_path)
    whole = (part / TAIL).read_text()
    (part / TAIL).write_text(whole[:-40])
    assert [item.record.sequence for item in read_back(tmp_path)] == [1, 2]
    begin(tmp_path)
    assert not (part / TAIL).exists()
    assert [item.record.sequence for item in read_back(tmp_path)] == [1, 2]


async def test_a_crash_between_the_table_and_the_tail_counts_no_step_twice(tmp_path, begin):
    run = begin(tmp_path)
    for number in range(1, 4):
        await run.step(number)
    (part,) = parts(tmp_path)
    tail = (part / TAIL).read_text()
    run.recorder.close()
    (part / TAIL).write_text(tail)  # its lines are in the table already
    assert [item.record.sequence for item in read_back(tmp_path)] == [1, 2, 3]
    close_tail(part)
    assert [item.record.sequence for item in read_back(tmp_path)] == [1, 2, 3]


async def test_each_day_is_a_part_that_stands_by_itself_and_the_oldest_leave_for_room(tmp_path, begin):
    run = begin(tmp_path, steps_per_file=2, max_bytes=1)
    for day in range(3):
        for number in range(3):
            await run.step(10 * day + number, now_s=START_S + day * DAY_S + 12.0 * number)
        run.recorder.close()
        assert len(parts(tmp_path)) <= 2
    (newest,) = parts(tmp_path)
    found = read_back(tmp_path)
    assert newest.name.startswith("20220507T000000Z")
    assert [item.record.sequence for item in found] == [7, 8, 9]
    for item, frame in zip(found, run.seen[6:], strict=True):
        same_columns(item.moment.columns, observed(frame.columns))
    part = read_part(newest)
    assert part.last is not None
    assert part.last.sequence == 6
    assert part.run == "20220505T000000Z"


async def test_a_part_begins_with_the_book_and_state_of_its_run(tmp_path, begin):
    at_s = START_S + 12.0
    run = begin(tmp_path, plans={at_s: (leg(1),), START_S + DAY_S: ()})
    await run.step(1)
    await run.step(2, now_s=START_S + DAY_S)
    journal = journal_of(read_part(parts(tmp_path)[1]))
    assert [item.leg.key for item in journal.outcomes()] == ["plan-1"]
    assert journal.last_step().sequence == 1


async def test_a_venue_that_failed_fails_alike(tmp_path, begin):
    run = begin(tmp_path, venue=Quoting(fail=StaleDataError("block gone"), fail_held=None))
    await run.step(1)
    (step,) = read_back(tmp_path)
    venue = PlaybackVenue("fake")
    venue.at(step)
    view = MarketView(now_s=START_S, block=None, columns=step.moment.columns, spot_usd={})
    assert await venue.held(view) == ()
    with pytest.raises(StaleDataError, match="block gone"):
        await venue.quotes(view, underlying="ETH", size=1.0)
    with pytest.raises(TransientError, match="nobody asked fake for quotes of BTC"):
        await venue.quotes(view, underlying="BTC", size=1.0)


async def test_a_size_that_nobody_asked_for_is_in_proportion_and_marked(tmp_path, begin):
    run = begin(tmp_path)
    await run.step(1)
    (step,) = read_back(tmp_path)
    venue = PlaybackVenue("fake")
    venue.at(step)
    asked = step.answers[-1].size
    view = MarketView(now_s=START_S, block=None, columns=step.moment.columns, spot_usd={})
    (exact,) = await venue.quotes(view, underlying="ETH", size=asked)
    (double,) = await venue.quotes(view, underlying="ETH", size=2 * asked)
    assert not exact.indicative
    assert double.indicative
    lots = math.floor(2 * asked / exact.lot)  # a venue sells whole ones
    assert double.size == pytest.approx(lots * exact.lot)
    assert double.premium_usd == pytest.approx(exact.premium_usd * double.size / exact.size)
    assert double.model_usd == pytest.approx(exact.model_usd * double.size / exact.size)
    assert double.gas_usd == exact.gas_usd
    (most,) = await venue.quotes(view, underlying="ETH", size=3 * exact.liquidity)
    assert most.size == pytest.approx(exact.liquidity)


async def test_tables_are_plain_and_hold_unknowns_as_such(tmp_path, begin):
    run = begin(tmp_path)
    await run.step(1)
    run.history.append(
        [replace(price(START_S + 20.0, math.nan), block_number=2, why_unknown="feed is stale")]
    )
    await run.step(3)
    run.recorder.close()
    (part,) = parts(tmp_path)
    rows = pd.read_parquet(part / "rows-0001.parquet")
    unknown = rows[rows["why_unknown"] == "feed is stale"]
    assert np.isnan(unknown["value"].item())
    assert read_back(tmp_path)[1].moment.columns[KEY].values.tolist()[:1] == [2_501.0]


def test_a_folder_that_cannot_be_used_is_refused_by_name(tmp_path, policy):
    path = tmp_path / "file"
    path.write_text("")
    with pytest.raises(ConfigError, match=r"recording .*file cannot be used"):
        Recorder(folder=path, mode="live", policy=policy, history=History(), journal=ListJournal())


async def test_a_folder_that_goes_away_ends_the_run_in_one_line(tmp_path, begin):
    run = begin(tmp_path / "gone", steps_per_file=1)
    await run.step(1)
    for path in parts(tmp_path / "gone"):
        for item in path.iterdir():
            item.unlink()
        path.rmdir()
    with pytest.raises(InvariantError, match="could not be written: No such file"):
        await run.step(2)


def test_a_recording_of_a_newer_program_is_refused(tmp_path):
    part = tmp_path / "20220505T000000Z"
    part.mkdir()
    (part / START).write_text(json.dumps({"schema": 99}))
    with pytest.raises(ConfigError, match="has schema 99, this program reads 1"):
        read_part(part)
