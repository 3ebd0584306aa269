"""What looks on at a run: health from start to silence, a loop that stands still, an unfed watchdog."""

import asyncio
import threading

import pytest
from alerts.outbox import Outbox, desk, titles
from pipeline_builders import moment, record_of
from settings_texts import GOOD, write

from bot.alerts.conditions import Limits
from bot.app.alerting import Alerting
from bot.app.follow import Listener
from bot.app.observing import Observing
from bot.errors import TransientError
from bot.model.tier import Tier
from bot.settings import load_settings


@pytest.fixture
def outbox():
    return Outbox()


@pytest.fixture
def troubles():
    return []


@pytest.fixture
def observing(tmp_path, outbox, troubles):
    settings = load_settings(write(tmp_path, f'state_dir = "{tmp_path}"\n{GOOD}'))
    alerting = Alerting(desk=desk(tmp_path, outbox), limits=Limits(), silent_after_s=60.0)
    listener = Listener(on_trouble=troubles.append)
    made = Observing(settings=settings, mode="dry-run", listener=listener, alerting=alerting)
    made._stalls = object()  # no thread here; test_supervisor.py has it
    return made


def test_health_goes_from_starting_to_deciding_to_silent(observing):
    assert (observing.health().state, observing.health().is_well) == ("starting", False)
    record = record_of(tier=Tier.ELEVATED, holds=("no price of ETH is known",))
    observing.step(record, moment(1))
    found = observing.health()
    assert (found.state, found.is_well, found.holds) == ("deciding", True, ("no price of ETH is known",))
    assert "ELEVATED ETH/USDC; HOLD" in found.sentence
    observing._last_step_s -= 61.0
    assert observing.health().state == "silent"


def test_a_disk_that_is_gone_is_not_healthy(observing, tmp_path):
    observing.step(record_of(), moment(1))
    observing.settings = observing.settings.model_copy(update={"state_dir": tmp_path / "gone"})
    assert observing.health().state == "unwritable"
    assert b"alvh_journal_writable 0.0" in observing.text()


async def test_metrics_show_targets_that_fail_and_what_stands(observing, outbox):
    outbox.works = False
    observing.step(record_of(tier=Tier.SEVERE), moment(1))
    assert not await observing.alerting.desk.flush()
    text = observing.text().decode()
    assert 'alvh_alerts_standing{severity="critical"} 1.0' in text
    assert 'alvh_alerts_waiting{target="1 test"} 1.0' in text
    assert 'alvh_alerts_delivery_failures{target="1 test"} 1.0' in text
    assert observing.health().alerts[0]["waiting"] == 1


def test_troubles_are_counted_by_class_and_told_on(observing, troubles):
    listener = observing.beside()
    listener.on_trouble(TransientError("the node refused"))
    assert len(troubles) == 1
    assert b'alvh_troubles_total{kind="TransientError"} 1.0' in observing.text()


async def test_a_loop_that_stands_is_told_to_targets_from_another_thread_and_once_more_at_its_end(
    observing, outbox, troubles, capsys
):
    """REL-H6: while it stands nothing in it can send."""
    thread = threading.Thread(target=observing._stalled, args=(3.2, "db.py:7 write"))
    thread.start()
    thread.join()  # the loop stands still meanwhile
    assert titles(outbox.sent) == ["the program stands still for 3 s"]
    assert "db.py:7 write" in outbox.sent[0].text
    assert "stands still for 3 s" in capsys.readouterr().err
    observing._went_on(12.0, "db.py:7 write")
    await observing.alerting.desk.flush()
    assert titles(outbox.sent)[1:] == ["the program stood still for 12 s"]
    assert "stood still for 12.0 s" in str(troubles[0])
    assert b"alvh_event_loop_stalled_seconds_total 12.0" in observing.text()


def test_the_watchdog_is_fed_while_stages_end_and_something_is_heard(observing):
    assert observing.is_alive()
    with observing.span("execute"):
        assert observing.is_alive()
        observing._stages[-1] -= 3.0 * observing.settings.execution.wait_s + 1.0
        assert not observing.is_alive(), "a stage hangs"
    assert observing.is_alive()
    observing._sign_s -= 3_601.0
    assert not observing.is_alive(), "nothing was heard of the chain for an hour"
    observing.beside().on_trouble(TransientError("a poll that failed is a sign of life"))
    assert observing.is_alive()


async def test_a_stage_that_fails_is_timed_and_over(observing):
    with pytest.raises(asyncio.CancelledError), observing.span("quote"):
        raise asyncio.CancelledError
    assert observing._stages == []
