"""Silence is told, trouble ends with the next step, and a stop is told on the way out."""

import pytest
from alerts.outbox import Outbox, titles
from pipeline_builders import moment, record_of

from bot.alerts.conditions import Limits, Severity
from bot.alerts.desk import AlertDesk
from bot.app.alerting import Alerting
from bot.errors import DisagreementError, InvariantError, TransientError
from bot.model.tier import Tier


class Clock:
    now_s = 100.0

    def __call__(self):
        return self.now_s


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def outbox():
    return Outbox()


@pytest.fixture
def alerting(tmp_path, clock, outbox):
    desk = AlertDesk(sender=outbox, path=tmp_path / "a.json", mode="dry-run", least=Severity.WARNING)
    return Alerting(desk=desk, limits=Limits(), silent_after_s=60.0, clock=clock)


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
    assert await sent(alerting, outbox) == ["trouble: silence"]
    assert outbox.sent[0].severity is Severity.CRITICAL
    assert "refused the connection" in outbox.sent[0].text
    assert "61 s" in outbox.sent[0].text
    alerting.step(record_of(), moment(1))
    assert (await sent(alerting, outbox))[1:] == ["over: trouble: silence"]


async def test_sources_that_disagree_are_told_at_once(alerting, outbox):
    alerting.trouble(DisagreementError("two nodes, two answers"))
    assert await sent(alerting, outbox) == ["trouble: sources disagree"]


async def test_one_failed_poll_is_no_alert(alerting, outbox):
    alerting.trouble(TransientError("timeout"))
    alerting.step(record_of(), moment(1))
    assert await sent(alerting, outbox) == []


async def test_a_step_tells_its_tier(alerting, outbox):
    alerting.step(record_of(tier=Tier.SEVERE), moment(1))
    assert await sent(alerting, outbox) == ["SEVERE for ETH/USDC"]


async def test_a_stop_is_told_on_the_way_out(alerting, outbox):
    with pytest.raises(InvariantError):
        async with alerting:
            raise InvariantError("the journal is full")
    assert titles(outbox.sent) == ["the bot has stopped"]
    assert "journal is full" in outbox.sent[0].text


async def test_a_quiet_end_is_not_told(alerting, outbox):
    async with alerting:
        pass
    assert outbox.sent == []
