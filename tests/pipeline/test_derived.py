"""What the loop derives of a frame: the series behind S21 and S22, the same in every mode (R25)."""

import math
from dataclasses import dataclass, replace

import numpy as np
import pytest
from pipeline_builders import (
    EXPOSURE,
    PUT,
    START_S,
    FakeVenue,
    ListJournal,
    block,
    decide_once,
    filled,
    leg,
    position,
    price,
)
from scipy.optimize import brentq

from bot.errors import TransientError
from bot.model.hedge import OptionType, ParityTerms, Quote, Side
from bot.model.market import Metric, SeriesKey, columns_from
from bot.model.tier import Quality
from bot.model.units import DAY_S, HOUR_S
from bot.pipeline.derived import BOOK, Figures, figures_history, keep_figures_s, parity_ratio
from bot.pipeline.history import History
from bot.pipeline.loop import Moment, Pipeline
from bot.pipeline.playback import PlaybackVenue, journal_of, read_part
from bot.pipeline.recorded_venue import RecordedVenue
from bot.pipeline.recording import Recorder, parts
from bot.settings import PolicySettings, load_policy
from bot.signals import SIGNALS

GROUP = "ETH/USDC"
FEES = SeriesKey(Metric.LP_FEE_APR, GROUP, BOOK)
MARK = SeriesKey(Metric.HEDGE_MARK_USD, GROUP, BOOK)
COST = SeriesKey(Metric.HEDGE_COST_APR, GROUP, BOOK)
IRR = SeriesKey(Metric.HEDGED_IRR, GROUP, BOOK)
PARITY = SeriesKey(Metric.PARITY_GAP, "ETH", "fake")
VALUE_USD = 100_000.0
INCOME_USD = 600.0  # in 30 days
POLICY = load_policy(PolicySettings())
LONG_PUT = replace(PUT, expiry_s=int(START_S) + 300 * DAY_S)


def at(now_s, *, income_usd=INCOME_USD, **changes):
    """Return a moment with one exposure of VALUE_USD."""
    exposure = replace(EXPOSURE, value_usd=VALUE_USD, fee_income_30d_usd=income_usd)
    made = Moment(
        now_s=now_s,
        blocks={31337: block(int(now_s - START_S) // 12 + 1, now_s)},
        columns=columns_from([price(now_s, 2_500.0)]),
        exposures=(exposure,),
    )
    return replace(made, **changes)


@dataclass
class Quoting(FakeVenue):
    """A venue with the quotes that it is given."""

    shown: tuple[Quote, ...] = ()
    fail: Exception | None = None

    async def quotes(self, view, *, underlying, size):
        if self.fail:
            raise self.fail
        return self.shown


class Run:
    """A pipeline whose frames are kept."""

    def __init__(self, *, venue=None, plans=None, journal=None, figures=None, **more):
        self.seen, self.venue = [], venue or Quoting()
        self.journal = journal or ListJournal()
        self.pipeline = Pipeline(
            mode="test",
            policy=POLICY,
            decide=decide_once(plans or {}, self.seen),
            venues={"fake": self.venue},
            journal=self.journal,
            figures=figures,
            **more,
        )

    async def step(self, now_s, **changes):
        await self.pipeline.step(at(now_s, **changes))
        return self.seen[-1].columns

    async def days(self, first, last):
        """Do one step at every midnight of a range of days, both ends included."""
        for day in range(first, last + 1):
            columns = await self.step(START_S + day * DAY_S)
        return columns


def s21(columns, now_s):
    return SIGNALS["S21"].read(columns, now_s=now_s, policy=POLICY.signals)


async def test_fee_income_over_value_is_there_at_once_and_a_group_without_it_has_no_series():
    columns = await Run().step(START_S)
    assert columns[FEES].values.tolist() == [pytest.approx(INCOME_USD / VALUE_USD * 365.0 / 30.0)]
    assert columns[MARK].values.tolist() == [0.0]
    unknown = await Run().step(START_S, income_usd=math.nan)
    assert FEES not in unknown.series
    assert [item.quality for item in s21(unknown, START_S)] == [Quality.ABSENT]


async def test_a_row_is_written_at_the_first_frame_of_a_bar():
    run = Run()
    for offset_s in (0.0, 12.0, HOUR_S - 12.0, HOUR_S + 60.0, 2.0 * HOUR_S):
        columns = await run.step(START_S + offset_s)
    assert (columns[FEES].times_s - START_S).tolist() == [0.0, HOUR_S + 60.0, 2.0 * HOUR_S]


async def hedged(**more):
    """Return a run that buys for 103 USD on day 1 what is worth 80 USD from day 2 on, and has seen day 30."""
    order = replace(leg(), instrument=LONG_PUT)
    run = Run(plans={START_S + DAY_S: (order,)}, **more)
    run.venue.answers[order.key] = replace(filled(order), at_s=START_S + DAY_S)
    await run.days(0, 1)
    run.venue.positions = (replace(position(), instrument=LONG_PUT),)
    await run.days(2, 29)
    return run


async def test_a_group_is_warming_until_the_marks_of_30_days_ago_are_known():
    run = await hedged()
    before = run.seen[-1].columns
    assert COST not in before.series
    assert IRR not in before.series
    (reading,) = s21(before, START_S + 29 * DAY_S)
    assert reading.quality is Quality.WARMING
    assert reading.warm_at_s == START_S + 30 * DAY_S
    assert "no mark of 30 days ago, the first is 2022-05-05T00:00:00Z" in reading.because
    after = await run.days(30, 30)
    assert {item.quality for item in s21(after, START_S + 30 * DAY_S)} == {Quality.LIVE}


async def test_hedge_cost_is_what_was_paid_less_what_it_is_worth():
    """103 paid, 80 left of it: 23 USD in 30 days."""
    run = await hedged()
    columns = await run.days(30, 30)
    cost = 23.0 / VALUE_USD * 365.0 / 30.0
    assert columns[COST].values.tolist() == [pytest.approx(cost)]
    # On day 40 the purchase is over 30 days ago, and so is the mark of then, 80: nothing was paid since.
    columns = await run.days(31, 40)
    assert columns[COST].values[-1] == pytest.approx(0.0, abs=1e-12)
    carry, irr = s21(columns, START_S + 40 * DAY_S)
    assert carry.value == pytest.approx(INCOME_USD / VALUE_USD * 365.0 / 30.0)
    assert irr.source == "book/irr"


async def test_the_irr_is_the_rate_at_which_the_flows_are_worth_nothing():
    run = await hedged()
    columns = await run.days(30, 30)
    flows = [(0, -VALUE_USD), (1, -103.0), (30, INCOME_USD + VALUE_USD + 80.0)]

    def worth(rate):
        return sum(usd * (1.0 + rate) ** (-day / 365.0) for day, usd in flows)

    assert columns[IRR].values.tolist() == [pytest.approx(brentq(worth, -0.5, 1.0))]


async def test_the_decision_of_a_frame_does_not_see_its_own_orders():
    run = await hedged()
    now_s = START_S + 30 * DAY_S
    run.pipeline.decide = decide_once({now_s: (replace(leg(2), instrument=LONG_PUT),)}, run.seen)
    columns = await run.step(now_s)
    assert columns[COST].values.tolist() == [pytest.approx(23.0 / VALUE_USD * 365.0 / 30.0)]


async def test_what_no_journal_knows_is_no_income():
    run = Run(venue=Quoting(positions=(position(),)))
    assert (await run.step(START_S))[MARK].values.tolist() == [0.0]


async def test_a_mark_that_is_not_known_is_not_written():
    run = await hedged()
    run.venue.positions = (replace(run.venue.positions[0], liquidation_usd=math.nan, model_usd=math.nan),)
    columns = await run.days(30, 30)
    assert columns[MARK].times_s[-1] == START_S + 29 * DAY_S
    assert COST not in columns.series, "nothing was ever written"


@pytest.mark.parametrize("doubt", ["unread", "size", "unseen"])
async def test_nothing_is_written_while_book_and_venues_disagree_and_a_row_is_then_held(doubt):
    run = await hedged()
    await run.days(30, 30)
    now_s, changes = START_S + 30 * DAY_S + HOUR_S, {}
    if doubt == "unread":
        run.venue.fail_held = TransientError("node is gone")
    elif doubt == "size":
        run.venue.positions = (replace(run.venue.positions[0], size=1.0),)
    else:
        changes["unseen"] = ("v3:7",)
    columns = await run.step(now_s, **changes)
    assert columns[MARK].times_s[-1] == columns[COST].times_s[-1] == START_S + 30 * DAY_S
    fees_s = START_S + 30 * DAY_S if doubt == "unseen" else now_s
    assert columns[FEES].times_s[-1] == fees_s


async def test_a_purchase_that_the_block_does_not_show_yet_is_no_cost():
    """Executed in block N + 1: the venue lists the position from then on, the spend is booked at once."""
    run = await hedged()
    now_s = START_S + 30 * DAY_S
    late = replace(leg(2), instrument=LONG_PUT)
    height = at(now_s + HOUR_S).blocks[31337].number
    run.venue.answers["plan-2"] = replace(filled(late, position_id="p2"), block_number=height + 1, at_s=now_s)
    run.pipeline.decide = decide_once({now_s: (late,)}, run.seen)
    await run.step(now_s)
    columns = await run.step(now_s + HOUR_S)
    assert columns[COST].times_s.tolist() == [now_s]


async def test_a_sale_is_income():
    run = await hedged()
    now_s = START_S + 29.5 * DAY_S
    sale = replace(leg(2, side=Side.SELL, position_id="p1"), instrument=LONG_PUT)
    run.venue.answers["plan-2"] = replace(filled(sale, premium_usd=90.0), at_s=now_s)
    run.pipeline.decide = decide_once({now_s: (sale,)}, run.seen)
    await run.step(now_s)
    run.venue.positions = ()
    columns = await run.days(30, 30)
    cost_usd = 103.0 - (90.0 - 1.0 - 2.0)  # swap and gas of the sale are paid from it
    assert columns[COST].values.tolist() == [pytest.approx(cost_usd / VALUE_USD * 365.0 / 30.0)]
    # Paid, received, and then nothing but the fees: the flows change sign once only if bought before sold.
    assert math.isfinite(columns[IRR].values[-1])


async def test_after_a_time_without_marks_a_group_warms_again():
    """The program was off from day 2 to day 20: on day 40 no mark of day 10 is known."""
    run = Run()
    await run.days(0, 2)
    await run.days(20, 39)
    columns = await run.days(40, 40)
    assert COST not in columns.series
    (reading,) = s21(columns, START_S + 40 * DAY_S)
    assert (reading.quality, reading.warm_at_s) == (Quality.WARMING, START_S + 50 * DAY_S)


async def test_a_group_that_left_is_no_longer_shown():
    run = await hedged()
    columns = await run.step(START_S + 30 * DAY_S, exposures=())
    assert not columns.find(Metric.LP_FEE_APR)
    assert not columns.find(Metric.HEDGE_MARK_USD)


# Put-call parity (S22)


def quote(kind, *, mid_usd, premium_usd=None, strike_usd=2_000.0, size=2.0, forward_usd=2_100.0, **terms):
    parity = ParityTerms(
        mid_usd=mid_usd, forward_usd=forward_usd, discount=1.0, forward_cost_usd=2.0, **terms
    )
    return Quote(
        instrument=replace(PUT, option_type=kind, strike_usd=strike_usd),
        size=size,
        premium_usd=size * (mid_usd + 3.0) if premium_usd is None else premium_usd,
        fee_usd=0.0,
        gas_usd=0.0,
        swap_usd=0.0,
        iv=0.8,
        delta=0.5,
        model_usd=size * mid_usd,
        min_size=0.1,
        lot=0.1,
        liquidity=10.0,
        valid_until_s=START_S + 1e9,
        block_number=1,
        parity=parity,
    )


CALL = quote(OptionType.CALL, mid_usd=140.0)
BESIDE = quote(OptionType.PUT, mid_usd=24.0)


def test_the_gap_is_counted_in_its_whole_cost():
    """C - P = 116, F - K = 100: 16 over; 3 + 3 for the options and 2 for the forward: two costs."""
    assert parity_ratio([CALL, BESIDE]) == pytest.approx(2.0)
    assert parity_ratio([quote(OptionType.CALL, mid_usd=108.0), BESIDE]) == pytest.approx(-2.0)
    assert math.isnan(parity_ratio([BESIDE]))


async def test_parity_is_of_the_venue_that_shows_a_call_beside_a_put():
    run = Run(venue=Quoting(shown=(CALL, BESIDE)))
    columns = await run.step(START_S)
    assert columns[PARITY].values.tolist() == [pytest.approx(2.0)]
    (reading,) = SIGNALS["S22"].read(
        await run.step(START_S + HOUR_S), now_s=START_S + HOUR_S, policy=POLICY.signals
    )
    assert (reading.quality, reading.score) == (Quality.LIVE, pytest.approx(1.0))


@pytest.mark.parametrize(
    "shown",
    [
        (BESIDE,),
        (CALL,),
        (CALL, replace(BESIDE, parity=None)),
        (CALL, quote(OptionType.PUT, mid_usd=24.0, strike_usd=1_900.0)),
        (),
    ],
    ids=["puts alone", "calls alone", "no bid", "another strike", "nothing"],
)
async def test_without_a_pair_there_is_no_source(shown):
    run = Run(venue=Quoting(shown=shown))
    assert not (await run.step(START_S)).find(Metric.PARITY_GAP)
    # Nor is one missed that was there before: the venue was asked and shows none.
    run.venue.shown = (CALL, BESIDE)
    assert (await run.step(START_S + HOUR_S)).find(Metric.PARITY_GAP)
    run.venue.shown = shown
    assert not (await run.step(START_S + 2 * HOUR_S)).find(Metric.PARITY_GAP)


async def test_a_venue_that_cannot_be_read_leaves_the_gap_unknown_and_then_missing():
    run = Run(venue=Quoting(shown=(CALL, BESIDE)))
    for hour in range(3):
        await run.step(START_S + hour * HOUR_S)
    run.venue.fail = TransientError("gone")
    qualities = []
    for hour in range(3, 9):
        columns = await run.step(START_S + hour * HOUR_S)
        (reading,) = SIGNALS["S22"].read(columns, now_s=START_S + hour * HOUR_S, policy=POLICY.signals)
        qualities.append(reading.quality)
    assert qualities[0] is Quality.LIVE
    assert qualities[-1] is Quality.MISSING


# The same in every mode (R25)


def same(left, right):
    assert set(left.series) == set(right.series)
    for key, column in left.series.items():
        np.testing.assert_array_equal(column.times_s, right.series[key].times_s, err_msg=str(key))
        np.testing.assert_array_equal(column.values, right.series[key].values, err_msg=str(key))


def stored(path):
    history = History(path=path, keep_s=keep_figures_s(POLICY), load_all=True)
    return Figures(history, bar_s=POLICY.signals.bar_s)


async def test_a_restart_goes_on_as_if_there_was_none(tmp_path):
    whole = await hedged()
    figures = stored(tmp_path / "figures.sqlite")
    first = await hedged(figures=figures)
    figures.close()
    figures = stored(tmp_path / "figures.sqlite")
    again = Run(venue=first.venue, journal=first.journal, figures=figures)
    for run in (whole, again):
        await run.step(START_S + 29 * DAY_S + 60.0)  # in a bar that has its rows
        await run.days(30, 75)  # past what is kept
    figures.close()
    same(again.seen[-1].columns, whole.seen[-1].columns)
    kept = again.seen[-1].columns[MARK].times_s
    assert START_S + 75 * DAY_S - kept[0] < keep_figures_s(POLICY) + 2 * DAY_S


async def test_a_recording_decided_again_derives_the_same(tmp_path):
    """Each day is a part of its own; the second run begins with figures of the first."""
    history = History([SeriesKey(Metric.PRICE_USD, "ETH", "chainlink:ETH/USD")])
    first = await hedged(figures=stored(tmp_path / "figures.sqlite"))
    first.pipeline.figures.close()
    figures = stored(tmp_path / "figures.sqlite")
    venue = RecordedVenue(Quoting(positions=first.venue.positions, shown=(CALL, BESIDE)))
    recorder = Recorder(
        folder=tmp_path / "recording",
        mode="live",
        policy=POLICY,
        history=history,
        journal=first.journal,
        venues=[venue],
        figures=figures,
    )
    run = Run(venue=venue, journal=first.journal, figures=figures, before_record=recorder.write)
    for hour in range(24 * 30 - 3, 24 * 31 + 3):
        now_s = START_S + hour * HOUR_S
        history.append([price(now_s, 2_500.0 + hour)])
        await run.step(now_s, columns=history.cut(until_s=now_s))
    recorder.close()
    figures.close()
    assert len(parts(tmp_path / "recording")) == 3

    again, playback = None, PlaybackVenue("fake")
    for path in parts(tmp_path / "recording"):
        part = read_part(path)
        if again is None:
            again = Run(venue=playback, journal=journal_of(part), figures=part.figures(POLICY))
        for step in part.steps(part.history()):
            assert not step.moment.columns.find(Metric.LP_FEE_APR), "derived anew, not read back"
            playback.at(step)
            record = await again.pipeline.step(step.moment)
            assert record.frame_hash == step.record.frame_hash
    for now, was in zip(again.seen, run.seen, strict=True):
        same(now.columns, was.columns)
    assert {FEES, MARK, COST, IRR, PARITY} <= set(again.seen[-1].columns.series)


async def test_figures_of_a_book_that_begins_now_are_empty():
    run = Run(figures=Figures(figures_history(POLICY), bar_s=POLICY.signals.bar_s))
    assert (await run.step(START_S))[MARK].times_s.tolist() == [START_S]
