"""What the dashboard reads and how it starts: no journal yet, a strange one, tokens, ports, a run beside."""

import asyncio
import socket
import stat
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
from dashboard_builders import TOKEN, settings_in, write_steps, writer
from presented import stressed_record

from bot.alerts.condition import Severity
from bot.alerts.news import Standing
from bot.alerts.state import AlertState, TargetState, alert_state_path, write_alert_state
from bot.app.dashboard import serve, token_of
from bot.app.dashboard_beside import dashboard_beside
from bot.app.dashboard_desk import open_desk
from bot.app.stores import history_place, open_journal
from bot.dashboard.states import notices
from bot.errors import BotError, ConfigError
from bot.model.market import Block
from bot.pipeline.history import History
from bot.pipeline.history_store import HistoryStore
from bot.pipeline.journal import JournalIdentity, SqlJournal
from bot.settings import load_settings


@pytest.fixture
def record():
    return stressed_record()


async def test_a_folder_without_a_run_is_empty_until_one_begins(tmp_path, record):
    desk = open_desk(settings_in(tmp_path), mode="dry-run")
    await desk.refresh()
    empty = desk.look()
    assert (empty.last, empty.problem, empty.running) == (None, "", False)
    with writer(tmp_path) as journal:
        write_steps(journal, [record])
        await desk.refresh()
        assert desk.look().last.sequence == record.sequence
        assert desk.look().running
        assert desk.look().version != empty.version
        before = desk.look().version
        await desk.refresh()
        assert desk.look().version == before  # nothing to send again
        write_steps(journal, [later(record, 2)])
        await desk.refresh()
        assert desk.look().last.sequence == 2
        assert desk.look().version != before
        assert len(desk.look().orders.outcomes) == 2 * len(record.outcomes)
    await desk.refresh()
    assert not desk.look().running
    desk.close()


def later(record, sequence):
    outcomes = tuple(
        replace(item, leg=replace(item.leg, key=f"{sequence}-{item.leg.key}")) for item in record.outcomes
    )
    decision = replace(record.decision, now_s=record.decision.now_s + sequence)
    return replace(record, sequence=sequence, outcomes=outcomes, decision=decision)


async def test_steps_of_before_are_in_the_past_and_heartbeats_count_as_they_come(tmp_path, record):
    with writer(tmp_path) as journal:
        write_steps(journal, [record, later(record, 2)])
        desk = open_desk(settings_in(tmp_path), mode="dry-run")
        await desk.refresh()
        assert desk.look().past.steps == 2
        beat = replace(later(record, 3), is_heartbeat=True, outcomes=())
        journal.append_step(beat)
        await desk.refresh()
        assert desk.look().past.steps == 3
        assert desk.look().last.sequence == 3
        assert desk.look().full.sequence == 2
        desk.close()


async def test_a_journal_put_in_the_place_of_another_is_a_new_one(tmp_path, record):
    desk = open_desk(settings_in(tmp_path), mode="dry-run")
    with writer(tmp_path) as journal:
        write_steps(journal, [record, later(record, 2)])
    await desk.refresh()
    assert desk.look().past.steps == 2
    for item in tmp_path.glob("journal-*"):
        item.rename(tmp_path / f"old-{item.name}")
    await desk.refresh()
    with writer(tmp_path) as journal:
        write_steps(journal, [later(record, 1)])
        await desk.refresh()
    assert desk.look().last.sequence == 1
    assert desk.look().past.steps == 1
    assert len(desk.look().orders.outcomes) == len(record.outcomes)
    desk.close()


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda path: path.write_bytes(b"this is no database at all" * 100), "cannot be used"),
        (lambda path: path.mkdir(), "is a folder"),
        (lambda path: SqlJournal(path, identity=foreign()).close(), "chain_id"),
    ],
    ids=["damaged", "folder", "of another chain"],
)
async def test_a_journal_that_is_not_ours_is_said_and_looked_at_again(tmp_path, record, make, words):
    path = tmp_path / "journal-dry-run.sqlite"
    make(path)
    desk = open_desk(settings_in(tmp_path), mode="dry-run")
    await desk.refresh()
    assert words in desk.look().problem
    assert desk.look().last is None
    path.rmdir() if path.is_dir() else [item.unlink() for item in tmp_path.glob("journal-*")]
    with writer(tmp_path) as journal:
        write_steps(journal, [record])
    await desk.refresh()
    assert desk.look().problem == ""
    assert desk.look().last is not None
    desk.close()


async def test_a_journal_and_a_history_in_postgresql_are_looked_at_as_files_are(
    tmp_path, record, postgres_url
):
    settings = settings_in(tmp_path, more=f'[storage]\nurl = "{postgres_url}"\n')
    desk = open_desk(settings, mode="dry-run")
    await desk.refresh()
    assert desk.look().last is None
    head = Block(chain_id=31337, number=7, hash="0x1", parent_hash="0x0", timestamp_s=1_700_000_000)
    with open_journal(settings, mode="dry-run") as journal:
        write_steps(journal, [record])
        with closing(History(store=HistoryStore(history_place(settings)))) as history:
            history.add_head(head)
            history.flush()
        await desk.refresh()
        seen = desk.look()
    assert (seen.problem, seen.running) == ("", True)
    assert seen.last is not None
    assert seen.last.sequence == record.sequence
    assert seen.heads == {31337: head}
    desk.close()


async def test_a_history_that_cannot_be_read_hides_no_journal(tmp_path, record):
    with writer(tmp_path) as journal:
        write_steps(journal, [record])
    settings = settings_in(tmp_path)
    path = history_place(settings).path
    path.write_bytes(b"this is no database at all" * 100)
    desk = open_desk(settings, mode="dry-run")
    await desk.refresh()
    assert desk.look().last is not None
    assert desk.look().problem == ""
    assert "history" in desk.look().history_problem
    words = [item.word for item in notices(desk.place, desk.look())]
    assert "HISTORY UNREADABLE" in words
    assert "JOURNAL UNREADABLE" not in words
    path.unlink()
    await desk.refresh()
    assert desk.look().history_problem == ""
    desk.close()


def foreign() -> JournalIdentity:
    return JournalIdentity(mode="dry-run", chain_id=1, account="")


async def test_alert_state_is_shown_and_a_newer_one_is_said(tmp_path):
    desk = open_desk(settings_in(tmp_path), mode="dry-run")
    path = alert_state_path(tmp_path, mode="dry-run")
    held = Standing(
        severity=Severity.WARNING, level=0, title="HOLD: price is old", since_s=1.0, told_at_s=1.0
    )
    target = TargetState(name="1 e-mail", failing_since_s=2.0, why="refused")
    write_alert_state(path, AlertState(standing={"hold:price is old": held}, targets={"1": target}))
    await desk.refresh()
    state = desk.look().alerts.state
    assert [item.title for item in state.standing.values()] == ["HOLD: price is old"]
    assert [item.why for item in state.targets.values()] == ["refused"]
    for odd in ("", "[]", "{", '{"standing": 1, "waiting": 2}', "[" * 100_000, "null"):
        path.write_text(odd)
        await desk.refresh()
        assert desk.look().alerts.state == AlertState()
    path.write_text('{"version": 99}')
    await desk.refresh()
    assert "version 99" in desk.look().alerts.problem
    desk.close()


def test_a_token_is_made_once_for_this_person_alone(tmp_path):
    settings = without_token(tmp_path)
    token, path = token_of(settings)
    assert path == tmp_path / "dashboard-token"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert len(token) >= 40
    assert token_of(settings) == (token, path)


def without_token(folder: Path, more: str = ""):
    settings_in(folder)
    path = folder / "alvh.toml"
    path.write_text(path.read_text().replace(f'token = "{TOKEN}"\n', "") + more)
    return load_settings(path)


def test_a_token_that_others_can_read_or_that_is_short_is_refused(tmp_path):
    settings = without_token(tmp_path)
    path = tmp_path / "dashboard-token"
    path.write_text("short\n")
    path.chmod(0o600)
    with pytest.raises(ConfigError, match="has 5 characters"):
        token_of(settings)
    path.write_text("x" * 40)
    path.chmod(0o644)
    with pytest.raises(ConfigError, match="can be read by others: chmod 600"):
        token_of(settings)
    path.write_bytes(b"\xff" * 40)
    path.chmod(0o600)
    with pytest.raises(ConfigError, match="not UTF-8"):
        token_of(settings)


async def test_a_port_that_is_taken_is_said(tmp_path):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(ConfigError, match=f"cannot listen on 127.0.0.1 port {port}: .*--port"):
            async with serve(settings_in(tmp_path), mode="dry-run", port=port):
                raise AssertionError("it served")


async def test_a_look_that_dies_ends_the_server(tmp_path, monkeypatch):
    async def served_until_it_dies() -> None:
        async with serve(settings_in(tmp_path), mode="dry-run", port=0) as served:
            monkeypatch.setattr(served.site.desk, "_read", lambda: 1 / 0)
            await asyncio.sleep(30.0)

    with pytest.raises(ExceptionGroup) as ended:
        await served_until_it_dies()
    assert isinstance(ended.value.exceptions[0], ZeroDivisionError)


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ('host = "0.0.0.0"', "needs tls_cert, tls_key and a token"),
        ('host = "192.168.1.5"\nallowed_hosts = ["a.example"]', "needs tls_cert"),
        ('host = "::"\ntls_cert = "c"\ntls_key = "k"', "list them in allowed_hosts"),
        ('tls_cert = "c"', "belong together"),
        ('token_file = "t"', "keep one of them"),
        ('allowed_hosts = ["evil/path"]', "allowed_hosts"),
        ('allowed_hosts = ["*"]', "allowed_hosts"),
        ("port = 70000", "port"),
        ('[dashboard.explorers]\n1 = "javascript:alert(1)"', "explorers.1 must be like"),
        ('[dashboard.explorers]\none = "https://etherscan.io"', "explorers"),
        ("prot = 1", "port"),
    ],
)
def test_settings_that_would_open_it_to_others_are_refused(tmp_path, more, words):
    with pytest.raises(ConfigError) as refused:
        settings_in(tmp_path, more=more)
    assert words in str(refused.value)
    assert TOKEN not in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_short_token_is_refused_without_being_shown(tmp_path):
    path = tmp_path / "alvh.toml"
    settings_in(tmp_path)
    path.write_text(path.read_text().replace(TOKEN, "hunter2hunter2"))
    with pytest.raises(ConfigError) as refused:
        load_settings(path)
    assert "14 characters" in str(refused.value)
    assert "hunter2" not in str(refused.value)


async def test_beside_a_run_it_ends_with_it_and_its_end_is_no_trouble(tmp_path):
    troubles: list[BotError] = []
    settings = without_token(tmp_path, "port = 0\n")
    async with dashboard_beside(settings, mode="dry-run", on_trouble=troubles.append) as found:
        port = int(found.url.partition("127.0.0.1:")[2].strip("/"))
        assert "#token=" in found.sign_in
        _, end = await asyncio.open_connection("127.0.0.1", port)
        end.close()
        await end.wait_closed()
    with pytest.raises(OSError, match="onnect"):
        await asyncio.open_connection("127.0.0.1", port)
    assert troubles == []


async def test_a_dashboard_that_cannot_start_stops_the_run_before_it_begins(tmp_path):
    settings = without_token(tmp_path)
    (tmp_path / "dashboard-token").write_text("short")
    (tmp_path / "dashboard-token").chmod(0o600)
    with pytest.raises(ConfigError, match=r"did not start: dashboard token .* has 5 characters"):
        async with dashboard_beside(settings, mode="dry-run", on_trouble=print):
            raise AssertionError("it started")
