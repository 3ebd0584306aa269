"""Silence is told, trouble ends with the next step, and a stop is told on the way out."""

import asyncio
from dataclasses import replace

import pytest
from alerts.outbox import Clock, Outbox, desk, titles
from pipeline_builders import EXPOSURE, moment, record_of

from bot.alerts.condition import Severity
from bot.alerts.conditions import Limits
from bot.app.alerting import Alerting
from bot.app.follow import Listener
from bot.errors import (
    ConfigError,
    DisagreementError,
    InvariantError,
    NoSpaceError,
    OutcomeUnknown,
    TransientError,
)
from bot.model.exposure import LpShape
from bot.model.tier import Tier


@pytest.fixture
def clock():
    return Clock(100.0)


@pytest.fixture
def outbox():
    return Outbox()


@pytest.fixture
def alerting(tmp_path, clock, outbox):
    return Alerting(desk=desk(tmp_path, outbox), limits=Limits(), silent_after_s=60.0, clock=clock)


async def sent(alerting, outbox):
    await alerting.desk.flush()
    return titles(outbox.sent)


async def test_silence_is_told_once_with_the_last_trouble_and_ends_with_a_step(alerting, clock, outbox):
    alerting.trouble(TransientError("the node refused the connection"))
    clock.now_s += 59.0
    alerting.check_silence()
    assert await sent(alerting, outbox) == []
    clock.now_s += 2.0
    alerting.check_silence()
    alerting.check_silence()
    assert await sent(alerting, outbox) == ["silence: the bot decides nothing"]
    assert outbox.sent[0].severity is Severity.CRITICAL
    assert "refused the connection" in outbox.sent[0].text
    assert "61 s" in outbox.sent[0].text
    alerting.step(record_of(), moment(1))
    assert (await sent(alerting, outbox))[1:] == ["over: silence: the bot decides nothing"]


async def test_sources_that_disagree_are_told_at_once(alerting, outbox):
    alerting.trouble(DisagreementError("two nodes, two answers"))
    assert await sent(alerting, outbox) == ["sources disagree"]


async def test_a_full_disk_is_told_at_once_and_over_with_the_next_step(alerting, outbox):
    """REL-H1."""
    alerting.trouble(NoSpaceError("step 3 could not be written: database or disk is full"))
    assert await sent(alerting, outbox) == ["the disk is full: nothing is decided"]
    assert outbox.sent[0].severity is Severity.CRITICAL
    alerting.step(record_of(), moment(1))
    assert (await sent(alerting, outbox))[1:] == ["over: the disk is full: nothing is decided"]


async def test_a_transaction_that_is_held_up_is_told_at_once(alerting, outbox):
    """REL-C8, T9: the step that waits for it may take minutes."""
    for _ in range(2):
        alerting.trouble(OutcomeUnknown("open with nonce 4, gas is too dear", "leg/3-open"))
    alerting.step(record_of(), moment(1))
    assert await sent(alerting, outbox) == ["a transaction is held up"] * 2
    assert "open with nonce 4, gas is too dear" in outbox.sent[0].text
    assert outbox.sent[0].severity is Severity.WARNING


async def test_one_failed_poll_is_no_alert(alerting, outbox):
    alerting.trouble(TransientError("timeout"))
    alerting.step(record_of(), moment(1))
    assert await sent(alerting, outbox) == []


async def test_a_step_tells_its_tier(alerting, outbox):
    alerting.step(record_of(tier=Tier.SEVERE), moment(1))
    assert await sent(alerting, outbox) == ["SEVERE for ETH/USDC"]


async def test_a_stop_is_told_on_the_way_out(alerting, outbox):
    alerting.step(record_of(), moment(1))
    with pytest.raises(InvariantError):
        async with alerting:
            raise InvariantError("the journal was changed")
    assert titles(outbox.sent) == ["the bot has stopped"]
    assert "journal was changed" in outbox.sent[0].text


async def test_a_bug_is_told_as_a_stop_by_its_place_alone(alerting, outbox):
    """What it says may hold the key of a node."""
    alerting.step(record_of(), moment(1))
    with pytest.raises(ValueError, match="s3cr3t"):
        async with alerting:
            raise ValueError("https://node.example/s3cr3t")
    assert titles(outbox.sent) == ["the bot has stopped"]
    assert "ValueError at test_alerting.py:" in outbox.sent[0].text
    assert "s3cr3t" not in outbox.sent[0].text


async def test_starts_that_fail_alike_are_told_once_and_over_with_the_first_decision(tmp_path, clock, outbox):
    def anew():
        """Return the alerts of the next start, as a supervisor tries every few seconds."""
        return Alerting(desk=desk(tmp_path, outbox), limits=Limits(), silent_after_s=60.0, clock=clock)

    for _ in range(3):
        await anew().tell_failed_start(TransientError("the node refused the connection"))
    with pytest.raises(TransientError):
        async with anew():  # it was opened, and the first block could not be read
            raise TransientError("the node refused the connection")
    assert titles(outbox.sent) == ["the bot cannot start"]
    assert "refused the connection" in outbox.sent[0].text
    await anew().tell_failed_start(ConfigError("no policy"))  # worse: no supervisor tries again
    assert titles(outbox.sent)[1:] == ["the bot cannot start"]
    alerting = anew()
    alerting.step(record_of(), moment(1))
    assert (await sent(alerting, outbox))[2:] == ["over: the bot cannot start"]


async def test_a_start_on_a_full_disk_is_told_as_that(alerting, outbox):
    await alerting.tell_failed_start(NoSpaceError("journal cannot be used: database or disk is full"))
    alerting.trouble(NoSpaceError("journal cannot be used: database or disk is full"))
    assert await sent(alerting, outbox) == ["the disk is full: nothing is decided"]


async def test_a_quiet_end_is_not_told(alerting, outbox):
    async with alerting:
        pass
    assert outbox.sent == []


async def test_a_hold_that_lasts_is_told_once_while_its_age_grows(alerting, outbox):
    for number in range(5):
        alerting.step(record_of(holds=(f"price of ETH is {70 + 12 * number} s old",)), moment(number))
    assert await sent(alerting, outbox) == ["HOLD: nothing new is opened"]
    alerting.step(record_of(), moment(6))
    assert (await sent(alerting, outbox))[1:] == ["over: HOLD: nothing new is opened"]


async def test_a_disagreement_lasts_until_it_was_not_heard_of_for_a_while(alerting, clock, outbox):
    """The providers tell of it once a minute, and steps go on between."""
    for minute in range(3):
        alerting.trouble(DisagreementError(f"two nodes, two answers {minute}"))
        for _ in range(5):
            clock.now_s += 12.0
            alerting.step(record_of(), moment(1))
    assert await sent(alerting, outbox) == ["sources disagree"]
    clock.now_s += 180.0
    alerting.step(record_of(), moment(1))
    assert (await sent(alerting, outbox))[1:] == ["over: sources disagree"]


async def test_what_is_out_of_sight_has_not_ended(alerting, outbox):
    """After a restart, or while a chain is down, positions and groups may be missing: that is no recovery."""
    outside = replace(EXPOSURE, spot_usd=1.0, shape=LpShape(liquidity=1.0, lower_usd=2.0, upper_usd=3.0))
    alerting.step(record_of(tier=Tier.SEVERE), replace(moment(1), exposures=(outside,)))
    before = await sent(alerting, outbox)
    assert len(before) == 2
    blind = record_of(holds=("chain 10 is not read: refused",))
    blind = replace(blind, decision=replace(blind.decision, groups=()))
    alerting.step(blind, replace(moment(2), exposures=()))
    assert (await sent(alerting, outbox))[2:] == ["HOLD: nothing new is opened"]
    gone = record_of()
    alerting.step(replace(gone, decision=replace(gone.decision, groups=())), replace(moment(3), exposures=()))
    assert len(await sent(alerting, outbox)) == 6, "with nothing held back, what is gone has ended"


async def test_the_watch_over_silence_outlives_a_full_disk(alerting, clock, outbox, tmp_path):
    heard, came = [], asyncio.Event()

    def hear(error):
        heard.append(error)
        came.set()

    alerting.desk.on_trouble = hear
    path = alerting.desk.path
    alerting.desk.path = tmp_path / "missing" / "a.json"
    clock.now_s += 61.0
    async with alerting:
        alerting._last_step_s -= 61.0
        await asyncio.wait_for(came.wait(), 10.0)
        assert isinstance(heard[0], InvariantError)
        alerting.desk.path = path
        assert not any(task.done() for task in alerting._tasks)


async def test_while_the_history_is_filled_the_bot_is_not_silent(alerting, clock, outbox):
    done, heard = [], []
    listener = Listener(on_trouble=heard.append, on_progress=lambda *step: done.append(step))
    listener = alerting.beside(listener)
    for part in range(4):
        clock.now_s += 50.0
        listener.on_progress(part, 4, "chain 1")
        alerting.check_silence()
    assert await sent(alerting, outbox) == []
    listener.on_trouble(TransientError("the node went away"))
    clock.now_s += 61.0
    alerting.check_silence()
    assert await sent(alerting, outbox) == ["silence: the bot decides nothing"]
    assert (len(done), len(heard)) == (4, 1)
    assert "went away" in outbox.sent[0].text


async def test_alerts_that_died_are_started_anew_and_said(alerting, outbox):
    """A sender that breaks in a way nobody foresaw must not leave the rest of the run without alerts."""
    heard, real = [], outbox.send

    async def broken(message):
        outbox.send = real
        raise RuntimeError("a bug")

    outbox.send = broken
    alerting.desk.on_trouble = heard.append
    async with alerting:
        alerting.step(record_of(tier=Tier.SEVERE), moment(1))
        for _ in range(10):
            await asyncio.sleep(0)
        assert outbox.sent == []
        alerting.step(record_of(tier=Tier.SEVERE), moment(2))
        await asyncio.wait_for(outbox.first.wait(), 5.0)
    assert titles(outbox.sent) == ["SEVERE for ETH/USDC"]
    assert "started anew" in str(heard[0])
