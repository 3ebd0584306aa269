"""The desk: once per change, again only when worse, a notice at the end, nothing lost, nothing repeated."""

import asyncio
import json

import pytest
from aiohttp import web
from alerts.outbox import Outbox, titles

from bot.alerts.conditions import Condition, Severity
from bot.alerts.desk import MAX_WAITING, AlertDesk
from bot.alerts.sender import AppriseSender
from bot.errors import ConfigError, InvariantError, TransientError


def condition(severity=Severity.WARNING, *, key="tier:ETH/USDC", level=0, once=False):
    return Condition(key=key, severity=severity, title="ELEVATED", text="why", level=level, once=once)


def desk(tmp_path, sender=None, **changes):
    return AlertDesk(sender=sender or Outbox(), path=tmp_path / "alerts.json", mode="dry-run", **changes)


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
    one.observe([condition(), condition(key="trouble:rpc")])
    assert titles(one.observe([], about="trouble:")) == ["over: ELEVATED"]
    assert one.active == {"tier:ETH/USDC"}


def test_a_restart_repeats_nothing(tmp_path):
    desk(tmp_path).observe([condition()])
    again = desk(tmp_path)
    assert again.observe([condition()]) == ()
    assert len(again.observe([])) == 1


@pytest.mark.parametrize("text", ["", "[]", "{", '{"a": 1}', '{"a": [9, 0, "x"]}'])
def test_damaged_state_tells_once_more(tmp_path, text):
    (tmp_path / "alerts.json").write_text(text)
    assert len(desk(tmp_path).observe([condition()])) == 1


def test_state_that_cannot_be_written_is_named(tmp_path):
    one = desk(tmp_path / "missing")
    with pytest.raises(InvariantError, match="could not be written"):
        one.observe([condition()])


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


async def test_what_waits_at_a_crash_is_sent_by_the_next_run(tmp_path):
    outbox = Outbox()
    outbox.works = False
    one = desk(tmp_path, outbox)
    one.observe([condition(), condition(key="leg:1", once=True)])
    assert not await one.flush()
    again = desk(tmp_path, Outbox())
    assert await again.flush()
    assert titles(again.sender.sent) == ["ELEVATED", "ELEVATED"]
    last = desk(tmp_path, Outbox())
    assert await last.flush()
    assert last.sender.sent == [], "what was sent is not sent again"
    assert last.active == {"tier:ETH/USDC"}


async def test_waiting_is_bounded_and_what_is_dropped_is_said(tmp_path):
    troubles = []
    one = desk(tmp_path, on_trouble=troubles.append)
    one.observe([condition(key=f"leg:{n}", once=True) for n in range(MAX_WAITING + 5)])
    assert isinstance(troubles[0], TransientError)
    assert "5 alerts were dropped" in str(troubles[0])


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


@pytest.fixture
async def webhook():
    """A real HTTP target for apprise's json:// service; ``status`` is what it answers."""
    got = []

    async def take(request):
        got.append(json.loads(await request.text()))
        return web.Response(status=int(request.query.get("status", 200)))

    app = web.Application()
    app.router.add_post("/{tail:.*}", take)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    port = runner.addresses[0][1]
    yield f"127.0.0.1:{port}", got
    await runner.cleanup()


async def test_apprise_delivers_to_each_target_on_its_own(webhook, tmp_path):
    host, got = webhook
    sender = AppriseSender([f"json://{host}/ok", "json://127.0.0.1:1/refused"])
    one = desk(tmp_path, sender, on_trouble=(troubles := []).append)
    one.observe([condition(Severity.CRITICAL)])
    assert await one.flush(), "one target took it"
    assert got[0]["title"] == "[alvh dry-run] ELEVATED"
    assert got[0]["message"] == "why"
    assert got[0]["type"] == "failure"
    assert "2 JSON" in str(troubles[0])


@pytest.mark.parametrize("url", ["", "nonsense", "nosuch://token@host", "http//x"])
def test_an_address_that_apprise_does_not_know_is_refused_without_showing_it(url):
    with pytest.raises(ConfigError, match=r"alerts.urls entry 2") as refused:
        AppriseSender(["json://127.0.0.1/x", url])
    assert "token@host" not in str(refused.value)
