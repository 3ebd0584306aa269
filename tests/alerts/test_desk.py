"""The desk: once per change, again only when worse, a notice at the end, nothing lost, nothing repeated."""

import asyncio
import json
from zoneinfo import ZoneInfo

import pytest
from alerts.outbox import Clock, Outbox, condition, desk, titles

from bot.alerts.condition import Severity
from bot.alerts.delivery import MAX_WAITING
from bot.alerts.message import Message, Target
from bot.alerts.schedule import Daily, Every, Quiet, time_of
from bot.alerts.state import read_alert_state
from bot.alerts.templates import Template, Templates
from bot.errors import ConfigError, InvariantError, TransientError


@pytest.fixture
def clock():
    return Clock()


def test_a_condition_is_told_once_while_it_stands(tmp_path):
    one = desk(tmp_path)
    assert titles(one.observe([condition()])) == ["ELEVATED"]
    assert one.observe([condition()]) == ()


def test_worse_is_told_and_so_is_easing_and_the_end(tmp_path):
    one = desk(tmp_path)
    one.observe([condition(level=2)])
    assert titles(one.observe([condition(Severity.CRITICAL, level=3)])) == ["ELEVATED"]
    assert titles(one.observe([condition(Severity.CRITICAL, level=4)])) == ["ELEVATED"]
    assert titles(one.observe([condition(level=2)])) == ["eased: ELEVATED"]
    assert titles(one.observe([])) == ["over: ELEVATED"]
    assert one.observe([]) == ()
    assert titles(one.observe([condition()])) == ["ELEVATED"], "it is armed again"


def test_an_event_is_told_and_has_no_end(tmp_path):
    one = desk(tmp_path)
    assert len(one.observe([condition(once=True, key="leg:1")])) == 1
    assert one.observe([]) == ()


def test_what_is_under_the_least_severity_is_not_told(tmp_path):
    assert desk(tmp_path).observe([condition(Severity.INFO)]) == ()


def test_a_caller_that_sees_a_part_ends_only_that_part(tmp_path):
    one = desk(tmp_path)
    one.observe([condition(), condition(key="silence")])
    assert titles(one.observe([], about="silence")) == ["over: ELEVATED"]
    assert one.active == {"tier:ETH/USDC"}


def test_a_restart_repeats_nothing(tmp_path, clock):
    desk(tmp_path, clock=clock, gap_s=600.0).observe([condition()])
    clock.now_s += 590.0
    again = desk(tmp_path, clock=clock, gap_s=600.0)
    assert again.observe([condition()]) == ()
    assert len(again.observe([])) == 1


def test_after_a_gap_what_stands_is_told_once_more_for_it_may_have_ended_meanwhile(tmp_path, clock):
    desk(tmp_path, clock=clock, gap_s=600.0).observe([condition()])
    clock.now_s += 3_600.0
    again = desk(tmp_path, clock=clock, gap_s=600.0)
    (told,) = again.observe([condition()])
    assert titles([told]) == ["again or still: ELEVATED"]
    assert "nothing was watched for 60 min" in told.text
    assert again.observe([condition()]) == ()


@pytest.mark.parametrize("text", ["", "[]", "{", '{"a": 1}', '{"version": 2}', '{"a": [9, 0, "x"]}'])
def test_damaged_state_tells_once_more(tmp_path, text):
    (tmp_path / "alerts.json").write_text(text)
    assert len(desk(tmp_path).observe([condition()])) == 1


def test_state_of_a_newer_program_is_refused(tmp_path):
    (tmp_path / "alerts.json").write_text('{"version": 3}')
    with pytest.raises(ConfigError, match="version 3, this program knows 2"):
        desk(tmp_path)


async def test_state_of_the_first_version_is_taken_over(tmp_path, clock):
    standing = {"tier:ETH/USDC": [1, 0, "ELEVATED"], "trouble:silence": [2, 0, "a kind that is no more"]}
    old = {"standing": standing, "waiting": [[2, "SEVERE", "why"]]}
    (tmp_path / "alerts.json").write_text(json.dumps(old))
    outbox = Outbox()
    one = desk(tmp_path, outbox, clock=clock)
    assert one.observe([condition()]) == ()
    assert await one.flush()
    assert titles(outbox.sent) == ["SEVERE"]
    assert titles(one.observe([])) == ["over: ELEVATED"]


def test_state_that_cannot_be_written_is_said_and_stops_nothing(tmp_path):
    troubles = []
    one = desk(tmp_path / "missing", on_trouble=troubles.append)
    assert len(one.observe([condition()])) == 1
    assert isinstance(troubles[0], InvariantError)
    assert "could not be written" in str(troubles[0])


async def test_what_no_target_took_waits_and_is_sent_later(tmp_path):
    outbox, troubles = Outbox(), []
    outbox.works = False
    one = desk(tmp_path, outbox, on_trouble=troubles.append)
    one.observe([condition()])
    assert not await one.flush()
    assert "down" in str(troubles[0])
    outbox.works = True
    assert await one.flush()
    assert titles(outbox.sent) == ["ELEVATED"]


async def test_what_waits_at_a_crash_is_sent_by_the_next_run_and_only_once(tmp_path):
    outbox = Outbox()
    outbox.works = False
    one = desk(tmp_path, outbox)
    one.observe([condition(), condition(key="leg:1", once=True)])
    assert not await one.flush()
    outbox.works = True
    again = desk(tmp_path, outbox)
    assert await again.flush()
    assert titles(outbox.sent) == ["ELEVATED", "ELEVATED"]
    last = desk(tmp_path, outbox)
    assert await last.flush()
    assert len(outbox.sent) == 2, "what was sent is not sent again"
    assert last.active == {"tier:ETH/USDC"}


async def test_a_target_that_fails_loses_nothing_that_another_took(tmp_path, clock):
    good, bad = Outbox("1 good"), Outbox("2 bad")
    bad.works = False
    one = desk(tmp_path, good, bad, clock=clock)
    for number in range(3):
        one.observe([condition(key=f"leg:{number}", once=True, title=f"order {number}")])
        await one.flush()
    assert titles(good.sent) == ["order 0", "order 1", "order 2"]
    bad.works = True
    again = desk(tmp_path, good, bad, clock=clock)
    assert await again.flush()
    assert titles(bad.sent) == titles(good.sent)
    assert len(good.sent) == 3


async def test_a_channel_that_fails_for_an_hour_loses_nothing_and_says_so(tmp_path, clock):
    """Ten changes in an hour; the other target hears of the failure, the state shows it, order is kept."""
    good, bad = Outbox("1 good"), Outbox("2 bad")
    bad.works = False
    one = desk(tmp_path, good, bad, clock=clock)
    for minute in range(60):
        if minute % 6 == 0:
            event = condition(Severity.CRITICAL, key=f"leg:{minute}", once=True, title=f"order {minute}")
            one.observe([event], about="leg:")
        await one.flush()
        one.tick()
        clock.now_s += 60.0
    shown = read_alert_state(tmp_path / "alerts.json").targets["2 bad"]
    assert (shown.is_failing, shown.why, len(shown.waiting)) == (True, "down", 10)
    assert "2 bad takes no alerts" in titles(good.sent)
    assert "down" in next(item.text for item in good.sent if "takes no" in item.title)
    bad.works = True
    assert await one.flush()
    assert titles(bad.sent) == [f"order {minute}" for minute in range(0, 60, 6)]
    assert "Delayed by 60 min" in bad.sent[0].text
    assert "took nothing since" in bad.sent[0].text
    assert "(down)" in bad.sent[0].text
    one.tick()
    await one.flush()
    assert titles(good.sent)[-1] == "over: 2 bad takes no alerts"
    assert "takes no alerts" not in str(titles(bad.sent)), "it is not told of itself"
    shown = read_alert_state(tmp_path / "alerts.json").targets["2 bad"]
    assert (shown.is_failing, shown.waiting, shown.delivered) == (False, [], 10)


async def test_waiting_is_bounded_critical_ones_are_kept_longest_and_what_is_dropped_is_told(tmp_path):
    outbox, troubles = Outbox(), []
    one = desk(tmp_path, outbox, on_trouble=troubles.append, max_per_hour=10_000)
    one.observe([condition(Severity.CRITICAL, key="leg:first", once=True, title="first")])
    one.observe([condition(key=f"leg:{n}", once=True) for n in range(MAX_WAITING + 4)])
    assert isinstance(troubles[0], TransientError)
    assert "5 alerts were dropped" in str(troubles[-1])
    assert await one.flush()
    assert len(outbox.sent) == MAX_WAITING
    assert titles(outbox.sent)[0] == "first"
    assert "5 older messages were dropped" in outbox.sent[0].text


async def test_a_renewed_token_takes_over_what_waited_for_the_old_one(tmp_path, clock):
    old, new, troubles = Outbox("1 old"), Outbox("1 new"), []
    old.works = False
    one = desk(tmp_path, old, clock=clock)
    one.observe([condition()])
    assert not await one.flush()
    again = desk(tmp_path, new, clock=clock, on_trouble=troubles.append)
    assert await again.flush()
    assert titles(new.sent) == ["ELEVATED"]
    assert troubles == []


async def test_delivery_runs_beside_the_loop(tmp_path):
    outbox = Outbox()
    one = desk(tmp_path, outbox)
    task = asyncio.create_task(one.run())
    one.observe([condition()])
    await asyncio.wait_for(outbox.first.wait(), 5.0)
    assert titles(outbox.sent) == ["ELEVATED"]
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


def test_each_target_hears_its_kinds_from_its_severity_on_and_the_end_of_what_it_heard(tmp_path):
    pager = Target(sender=Outbox("pager"), least=Severity.CRITICAL, kinds=("tier", "silence"))
    one = desk(tmp_path, targets=[Target(sender=Outbox(), least=Severity.INFO), pager])
    pager_hears = pager.wants
    (worst,) = one.observe([condition(Severity.CRITICAL)], about="none")
    assert pager_hears(worst)
    (eased,) = one.observe([condition(Severity.INFO)], about="none")
    assert eased.severity is Severity.INFO
    assert pager_hears(eased), "it heard the start"
    (over,) = one.observe([])
    assert not pager_hears(over), "it was told that it eased to what it does not hear"
    (other,) = one.observe([condition(Severity.CRITICAL, key="health:aave")])
    assert not pager_hears(other)


def flush_titles(outbox):
    sent, outbox.sent = titles(outbox.sent), []
    return sent


async def test_information_is_gathered_for_the_digest_and_warnings_are_not(tmp_path, clock):
    outbox = Outbox()
    one = desk(tmp_path, outbox, least=Severity.INFO, clock=clock, digest=Every(seconds=3_600.0))
    one.observe([condition(Severity.INFO, key=f"leg:{n}", once=True, title=f"order {n}") for n in range(3)])
    one.observe([condition()], about="tier")
    one.tick()
    assert await one.flush()
    assert flush_titles(outbox) == ["ELEVATED"]
    clock.now_s += 3_600.0
    one.tick()
    assert await one.flush()
    (digest,) = outbox.sent
    assert digest.title.startswith("[alvh dry-run] 3 changes since 2027-01-15 08:00 UTC")
    assert [f"order {n}" in digest.text for n in range(3)] == [True] * 3
    assert "Runbook: docs/runbook.md#alert-digest" in digest.text


async def test_a_large_digest_comes_in_parts_that_services_take_and_loses_no_line(tmp_path, clock):
    outbox = Outbox()
    one = desk(tmp_path, outbox, least=Severity.INFO, clock=clock, digest=Every(seconds=3_600.0))
    one.observe(
        [
            condition(Severity.INFO, key=f"leg:{n}", once=True, title=f"order {n:04d} " + "x" * 100)
            for n in range(90)
        ]
    )
    clock.now_s += 3_600.0
    one.tick()
    await one.flush()
    assert len(outbox.sent) > 1
    assert all(len(item.text) < 4_096 for item in outbox.sent)
    text = "".join(item.text for item in outbox.sent)
    assert all(f"order {n:04d} " in text for n in range(90))


async def test_what_repeats_is_gathered_after_three_messages_an_hour(tmp_path, clock):
    outbox = Outbox()
    one = desk(tmp_path, outbox, clock=clock)
    for _ in range(5):
        one.observe([condition()])
        one.observe([])
        clock.now_s += 60.0
    await one.flush()
    assert len(outbox.sent) == 3
    clock.now_s += 3_600.0
    one.tick()
    await one.flush()
    assert titles(outbox.sent[3:])[0].startswith("7 changes since")


async def test_more_than_so_many_messages_an_hour_are_gathered_and_critical_ones_pass(tmp_path, clock):
    outbox = Outbox()
    one = desk(tmp_path, outbox, clock=clock, max_per_hour=5)
    one.observe([condition(key=f"range:{n}") for n in range(9)])
    one.observe([condition(Severity.CRITICAL, key="health:a", title="HEALTH")], about="health")
    await one.flush()
    assert titles(outbox.sent) == ["ELEVATED"] * 5 + ["HEALTH"]


BERLIN = ZoneInfo("Europe/Berlin")
QUIET = Quiet(begins=Daily(at=time_of("22:00"), zone=BERLIN), ends=Daily(at=time_of("07:00"), zone=BERLIN))


async def test_quiet_hours_let_only_critical_through_and_end_with_one_digest(tmp_path):
    """Over the night in which clocks are set forward: 22:00 CET to 07:00 CEST is eight hours long."""
    begins_s = 1_774_731_600.0  # 2026-03-28 22:00 CET
    clock, outbox = Clock(begins_s), Outbox()
    one = desk(tmp_path, outbox, clock=clock, quiet=QUIET, zone=BERLIN)
    hours = 0
    while QUIET.until_s(clock.now_s) is not None:
        one.observe([condition(key=f"range:{hours}")], about="none")
        one.tick()
        hours += 1
        clock.now_s += 3_600.0
    assert hours == 8
    await one.flush()
    assert outbox.sent == []
    clock.now_s -= 3_600.0
    one.observe([condition(Severity.CRITICAL, key="health:a", title="HEALTH")], about="none")
    await one.flush()
    assert flush_titles(outbox) == ["HEALTH"]
    clock.now_s += 3_600.0
    again = desk(tmp_path, outbox, clock=clock, quiet=QUIET, zone=BERLIN)  # and a restart in between
    again.tick()
    await again.flush()
    (digest,) = outbox.sent
    assert titles([digest])[0] == "8 changes since 2026-03-28 22:00 CET"
    again.tick()
    await again.flush()
    assert len(outbox.sent) == 1


async def test_templates_give_a_kind_its_own_words_and_the_rest_keeps_the_built_in_ones(tmp_path):
    words = Templates(
        by_kind={"tier": Template(title="{severity}! {title}", body="{happened} ({kind}) {{x}}")}
    )
    one = desk(tmp_path, templates=words)
    tier, health = one.observe([condition(), condition(key="health:a")])
    assert (tier.title, tier.text) == ("warning! ELEVATED", "why (tier) {x}")
    assert health.title == "[alvh dry-run] ELEVATED"


def test_marks_that_came_from_a_chain_do_not_reach_a_reader(tmp_path):
    name = "ETH\u202e/CDSU\x1b[31m\nsecond"
    (told,) = desk(tmp_path).observe([condition(title=name)])
    assert told.title == "[alvh dry-run] ETH /CDSU [31m second"
    assert Message(severity=Severity.INFO, title="a", text="b\u2066c\nd").text == "b c\nd"


async def test_the_daily_word_comes_once_a_day(tmp_path, clock):
    alive = Daily(at=time_of("09:00"), zone=ZoneInfo("UTC"))  # it is 08:00
    one = desk(tmp_path, clock=clock, alive=alive)
    said = []
    for _ in range(48):
        one = desk(tmp_path, clock=clock, alive=alive) if len(said) == 1 else one
        if one.alive_due():
            said.append(clock.now_s)
        one.observe([])
        clock.now_s += 3_600.0
    assert [at % 86_400 for at in said] == [9 * 3_600.0] * 2
