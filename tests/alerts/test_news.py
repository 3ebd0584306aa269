"""What a real change is: worse than what was told, or better for long enough; a storm gives one each."""

import math
import random
from dataclasses import replace

import pytest
from alerts.outbox import Clock, Outbox, condition, desk, titles

from bot.alerts.condition import Severity
from bot.alerts.news import News, Turn

LEVELS = [
    None,
    condition(level=2),
    condition(Severity.CRITICAL, level=3),
    condition(Severity.CRITICAL, level=4),
]


def turns(news, states, *, step_s):
    """Feed a state each ``step_s`` seconds; return (turn, index) of each change."""
    found = []
    for index, state in enumerate(states):
        seen = [] if LEVELS[state] is None else [LEVELS[state]]
        found += [(change.turn, index) for change in news.take(seen, now_s=index * step_s)]
    return found


async def test_a_storm_of_1000_flaps_gives_one_message_per_real_change(tmp_path):
    """Between two blocks each: one when it rises, one when it has stayed down for a minute."""
    clock, outbox = Clock(), Outbox()
    one = desk(tmp_path, outbox, clock=clock, settle_s=60.0)
    for flap in range(1_000):
        one.observe([condition()] if flap % 2 == 0 else [])
        clock.now_s += 12.0
    assert await one.flush()
    assert titles(outbox.sent) == ["ELEVATED"]
    for _ in range(10):
        one.observe([])
        clock.now_s += 12.0
    await one.flush()
    assert titles(outbox.sent) == ["ELEVATED", "over: ELEVATED"]


def test_in_a_storm_each_rise_over_what_was_told_is_told_at_once():
    news = News(settle_s=60.0)
    states = [1, 0] * 100 + [2, 1] * 100 + [0, 3] * 100 + [0] * 10
    assert turns(news, states, step_s=12.0) == [
        (Turn.NEW, 0),
        (Turn.WORSE, 200),
        (Turn.WORSE, 401),
        (Turn.OVER, 605),
    ]


def real_changes(states, *, step_s, settle_s):
    """The definition once more, by looking back over the whole list at every step."""
    told, told_at, found = 0, -1, []
    for index, state in enumerate(states):
        if state > told:
            found.append(((told and "worse") or "new", index))
            told, told_at = state, index
            continue
        start = index
        while start - 1 > told_at and states[start - 1] < told:
            start -= 1
        window = states[start : index + 1]
        if told and max(window) < told and (index - start) * step_s >= settle_s:
            worst = max(window)
            found.append(("eased" if worst else "over", index))
            told, told_at = worst, index
    return found


@pytest.mark.parametrize("seed", range(8))
def test_every_change_is_real_and_none_is_missed(seed):
    """1,000 random states of which some last, against the definition read from the whole list."""
    choose = random.Random(seed)
    states = []
    while len(states) < 1_000:
        states += [choose.randrange(4)] * choose.choice([1, 1, 1, 2, 7, 20])
    found = turns(News(settle_s=60.0), states, step_s=12.0)
    assert [(turn.value, index) for turn, index in found] == real_changes(states, step_s=12.0, settle_s=60.0)


def test_what_is_not_known_goes_on_standing_and_a_clock_that_goes_back_ends_nothing_early():
    news = News(settle_s=60.0)
    news.take([condition()], now_s=1_000.0)
    assert news.take([], now_s=2_000.0, unsure=bool) == ()
    assert news.take([], now_s=2_000.0) == ()
    assert news.take([], now_s=1_500.0) == ()
    assert news.take([], now_s=1_559.0) == ()
    (over,) = news.take([], now_s=1_560.0)
    assert (over.turn, over.severity, over.about) == (Turn.OVER, Severity.INFO, Severity.WARNING)
    assert not math.isnan(over.stood_s)


def test_a_gap_is_told_with_the_rise_where_it_is_worse_now():
    news = News(gap_s=600.0)
    news.take([condition(level=2), condition(key="range:a")], now_s=0.0)
    found = news.take([condition(Severity.CRITICAL, level=3)], now_s=5_000.0)
    assert {(item.turn, item.key) for item in found} == {
        (Turn.WORSE, "tier:ETH/USDC"),
        (Turn.OVER, "range:a"),
    }


@pytest.mark.parametrize("seed", range(4))
async def test_restarts_and_a_failing_channel_in_a_storm_repeat_and_lose_nothing(tmp_path, seed):
    """400 random states; the program ends and starts anew at random, the target works at random."""
    choose = random.Random(seed)
    states = [choose.randrange(4) for _ in range(400)] + [0] * 10
    told = []
    for is_calm in (True, False):
        clock, outbox, path = Clock(), Outbox(), tmp_path / f"{is_calm}.json"
        one = desk(tmp_path, outbox, path=path, clock=clock, settle_s=60.0, max_per_hour=1_000)
        for state in states:
            seen = [] if LEVELS[state] is None else [replace(LEVELS[state], title=f"level {state}")]
            if not is_calm and choose.random() < 0.2:
                one = desk(tmp_path, outbox, path=path, clock=clock, settle_s=60.0, max_per_hour=1_000)
            outbox.works = is_calm or choose.random() < 0.3
            one.observe(seen)
            await one.flush()
            one.tick()
            clock.now_s += 12.0
        outbox.works = True
        clock.now_s += 3_600.0
        one.tick()
        assert await one.flush()
        told.append([item.title for item in outbox.sent])
        assert len({item.id for item in outbox.sent}) == len(outbox.sent)
    assert told[0] == told[1]
    assert len(told[0]) >= 2
