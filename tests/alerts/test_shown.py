"""What stands and which target fails, as a person reads it in alvh status and a program in its document."""

import io
import math

from alerts.outbox import Clock, Outbox, condition, desk
from rich.console import Console

from bot.alerts.condition import Severity
from bot.alerts.state import AlertState, HeartbeatState, TargetState, read_alert_state
from bot.alerts_document import alerts_document
from bot.terminal.alerts import alert_lines


def shown(state, width=80):
    console = Console(width=width, file=io.StringIO(), color_system=None)
    for line in alert_lines(state):
        console.print(line)
    return console.file.getvalue()


async def test_a_target_that_fails_is_shown_with_why_and_how_many_wait(tmp_path):
    bad = Outbox("2 bad")
    bad.works = False
    one = desk(tmp_path, Outbox("1 good"), bad, clock=Clock())
    one.observe([condition(Severity.CRITICAL, title="SEVERE for ETH/USDC")])
    await one.flush()
    state = read_alert_state(tmp_path / "alerts.json")
    text = " ".join(shown(state).split())
    assert "ALERT SEVERE for ETH/USDC, told 2027-01-15 08:00 UTC" in text
    assert "2 bad takes nothing since 2027-01-15 08:00 UTC: down; 1 messages wait for it" in text
    assert "1 good" not in text
    document = alerts_document(state)
    assert document["standing"][0]["severity"] == "critical"
    assert document["waiting"] == 1
    good, failing = document["targets"]
    assert (good["delivered"], good["failing_since"], good["last_success"]) == (
        1,
        None,
        "2027-01-15T08:00:00Z",
    )
    assert (failing["why"], failing["failures"], failing["last_success"]) == ("down", 1, None)


def test_what_was_dropped_and_a_heartbeat_that_fails_are_shown_in_any_width():
    state = AlertState(
        targets={"a": TargetState(name="1 JSON", dropped=7)},
        heartbeat=HeartbeatState(failing_since_s=0.0, why="it answered with status 503"),
    )
    for width in (80, 45):
        text = shown(state, width)
        assert all(len(line) <= width for line in text.splitlines())
        assert "7 messages to 1 JSON were dropped" in " ".join(text.split())
        assert "status 503" in " ".join(text.split())
    assert alerts_document(state)["heartbeat"]["why"] == "it answered with status 503"


def test_where_nothing_stands_nothing_is_said(tmp_path):
    state = read_alert_state(tmp_path / "none.json")
    assert shown(state) == ""
    assert math.isnan(state.watched_at_s)
    assert alerts_document(state) == {"standing": [], "waiting": 0, "targets": [], "heartbeat": None}
