"""Delivery to real servers on this machine: HTTP, signed webhooks, e-mail; and addresses that are refused."""

import hmac
import json
import socket
from email import message_from_bytes
from hashlib import sha256

import pytest
from aiohttp import web
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import AuthResult
from alerts.outbox import Clock, condition, desk

from bot.alerts.condition import Severity
from bot.alerts.heartbeat import Heartbeat
from bot.alerts.message import Message
from bot.alerts.sender import AppriseSender
from bot.alerts.web_address import GuardedResolver, checked_address, refuse_unsafe
from bot.alerts.webhook import WebhookSender
from bot.app.alert_parts import send_test, targets_of
from bot.errors import ConfigError
from bot.settings.alerts import AlertSettings, TargetSettings

SECRET = "a secret of some length"
WARNED = Message(severity=Severity.WARNING, title="ELEVATED", text="why\nRunbook: …", kind="tier", at_s=0.0)


@pytest.fixture
async def webhook():
    """A real HTTP target; ``status`` in the query is what it answers."""
    got = []

    async def take(request):
        got.append((request.method, request.path, dict(request.headers), await request.read()))
        status = int(request.query.get("status", 200))
        return web.Response(
            status=status, headers={"Location": "http://127.0.0.1:1/"} if status == 302 else {}
        )

    app = web.Application()
    app.router.add_route("*", "/{tail:.*}", take)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    yield f"127.0.0.1:{runner.addresses[0][1]}", got
    await runner.cleanup()


@pytest.fixture
def mailbox():
    """A real SMTP server; its letters, and where it listens."""
    letters = []

    class Box:
        async def handle_DATA(self, server, session, envelope):
            letters.append(envelope)
            return "250 OK"

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    controller = Controller(
        Box(),
        hostname="127.0.0.1",
        port=port,
        authenticator=lambda *_: AuthResult(success=True),
        auth_require_tls=False,
    )
    controller.start()
    yield f"127.0.0.1:{port}", letters
    controller.stop()


async def test_apprise_delivers_to_each_target_on_its_own(webhook, tmp_path):
    host, got = webhook
    urls = (f"json://{host}/ok", "json://127.0.0.1:1/refused")
    senders = [AppriseSender.of(url, number=n, where="urls") for n, url in enumerate(urls, start=1)]
    one = desk(tmp_path, *senders, on_trouble=(troubles := []).append)
    one.observe([condition(Severity.CRITICAL)])
    assert not await one.flush(), "one of them did not take it"
    body = json.loads(got[0][3])
    assert body["title"] == "[alvh dry-run] ELEVATED"
    assert body["message"].startswith("why\nThe bot: did")
    assert body["type"] == "failure"
    assert "2 JSON" in str(troubles[0])
    assert "refused" not in str(troubles), "no part of an address is shown"
    again = desk(tmp_path, *senders)
    assert not await again.flush()
    assert len(got) == 1, "who took it does not get it again"


async def test_a_letter_comes_by_a_real_mail_server_with_title_text_and_the_delay(mailbox, tmp_path):
    host, letters = mailbox
    url = f"mailto://bot:password@{host}?from=bot@example.org&to=lp@example.org&mode=insecure&format=text"
    sender = AppriseSender.of(url, number=1, where="urls")
    clock = Clock()
    one = desk(tmp_path, sender, clock=clock)
    one.observe([condition()])
    clock.now_s += 3_600.0
    assert await one.flush()
    (envelope,) = letters
    assert envelope.rcpt_tos == ["lp@example.org"]
    letter = message_from_bytes(envelope.content)
    assert "ELEVATED" in letter["Subject"]
    part = next(item for item in letter.walk() if item.get_content_type() == "text/plain")
    text = part.get_payload(decode=True).decode()
    assert "To do: act" in text
    assert "Delayed by 60 min" in text


async def test_a_signed_webhook_can_be_checked_by_its_receiver(webhook):
    host, got = webhook
    sender = WebhookSender.of(f"http://{host}/hook?token=x", secret=SECRET, number=3, where="targets")
    assert (await sender.send(WARNED)).ok
    ((method, path, headers, body),) = got
    assert (method, path) == ("POST", "/hook")
    stamp = headers["X-Alvh-Timestamp"]
    expected = hmac.new(SECRET.encode(), f"{stamp}.".encode() + body, sha256).hexdigest()
    assert headers["X-Alvh-Signature"] == f"sha256={expected}"
    assert headers["X-Alvh-Id"] == WARNED.id == json.loads(body)["id"]
    assert json.loads(body)["severity"] == "warning"
    assert json.loads(body)["at"] == "1970-01-01T00:00:00Z"


@pytest.mark.parametrize(("status", "why"), [(500, "status 500"), (302, "status 302"), (404, "status 404")])
async def test_a_webhook_that_does_not_take_it_is_said_and_no_redirect_is_followed(webhook, status, why):
    host, got = webhook
    url = f"http://{host}/secret-path?status={status}"
    found = await WebhookSender.of(url, secret=SECRET, number=1, where="x").send(WARNED)
    assert (found.ok, why in found.why, len(got)) == (False, True, 1)
    nobody = WebhookSender.of("http://127.0.0.1:1/secret-path", secret=SECRET, number=1, where="x")
    gone = await nobody.send(WARNED)
    assert not gone.ok
    assert "secret" not in f"{gone.why} {found.why} {gone.target}"


async def test_the_heartbeat_asks_its_address_and_says_once_when_that_fails(webhook):
    host, got = webhook
    clock, troubles = Clock(), []
    beat = Heartbeat(url=f"http://{host}/ping", every_s=60.0, clock=clock, on_trouble=troubles.append)
    assert await beat.ping()
    assert (got[0][0], got[0][1], beat.state.last_success_s) == ("GET", "/ping", clock.now_s)
    beat.url = f"http://{host}/ping?status=503"
    assert not await beat.ping()
    assert not await beat.ping()
    assert (len(troubles), beat.state.why) == (1, "it answered with status 503")
    assert beat.state.failing_since_s == clock.now_s


@pytest.mark.parametrize(
    "url",
    [
        "http://169.254.169.254/latest",
        "https://169.254.169.254/latest",
        "https://2852039166/",
        "https://0xA9FEA9FE/",
        "https://0251.0376.0251.0376/",
        "https://[fe80::1]/",
        "https://[fd00:ec2::254]/",
        "https://[::ffff:169.254.169.254]/",
        "https://metadata.google.internal/computeMetadata",
        "https://metadata.google.internal./",
    ],
)
def test_metadata_services_are_refused_however_they_are_written(url):
    with pytest.raises(ConfigError, match=r"metadata service"):
        checked_address(url, what="heartbeat_url")
    with pytest.raises(ConfigError, match=r"metadata service"):
        refuse_unsafe(url.replace("https://", "jsons://").replace("http://", "json://"), what="urls entry 1")


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("http://example.org/secret-path", "use https://"),
        ("http://10.0.0.1/secret-path", "use https://"),
        ("json://example.org/secret-path", "use jsons://"),
        ("ftp://example.org/secret-path", "must be https://"),
        ("https:///secret-path", "must be https://"),
        ("https://example.org/secret path", "unprintable"),
        ("https://example.org:port/secret-path", "malformed"),
    ],
)
def test_plain_or_broken_addresses_are_refused_without_showing_them(url, words):
    with pytest.raises(ConfigError, match=words) as refused:
        refuse_unsafe(url, what="it") if url.startswith("json:") else checked_address(url, what="it")
    assert "secret" not in str(refused.value)


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1:8080/x", "http://localhost/x", "http://[::1]/x", "https://a.b/x"]
)
def test_loopback_may_be_plain_and_the_rest_is_encrypted(url):
    assert checked_address(url, what="it") == url


async def test_a_name_that_leads_to_a_metadata_service_is_refused_when_it_is_looked_up(monkeypatch):
    """The zone of a name may change after it was configured."""

    async def answers(self, host, port=0, family=0):
        found = {"hostname": host, "host": "169.254.169.254", "port": port}
        return [{**found, "family": 2, "proto": 0, "flags": 0}]

    monkeypatch.setattr("aiohttp.ThreadedResolver.resolve", answers)
    assert GuardedResolver.__mro__[1].resolve is answers
    found = await WebhookSender.of("https://hooks.example/x", secret=SECRET, number=1, where="x").send(WARNED)
    assert not found.ok
    assert "cannot be reached" in found.why


@pytest.mark.parametrize("url", ["", "nonsense", "nosuch://token@host", "http//x"])
def test_an_address_that_apprise_does_not_know_is_refused_without_showing_it(url, capsys):
    with pytest.raises(ConfigError, match=r"alerts.urls entry 2") as refused:
        targets_of(AlertSettings(urls=("json://127.0.0.1/x", url)))
    assert "token@host" not in str(refused.value)
    assert capsys.readouterr() == ("", ""), "nor does the library show it"


def test_targets_of_both_spellings_are_numbered_through_each_with_its_own_severity():
    found = targets_of(
        AlertSettings(
            urls=("json://127.0.0.1/a",),
            targets=(
                TargetSettings(url="http://127.0.0.1/b", secret=SECRET, least="critical", kinds=("tier",)),
                TargetSettings(url="tgram://123456789:abcdefg_hijklmnop/chat"),
            ),
            least="info",
        )
    )
    assert [item.sender.name for item in found] == ["1 JSON", "2 signed webhook", "3 Telegram"]
    assert [item.least.name for item in found] == ["INFO", "CRITICAL", "INFO"]
    assert found[1].kinds == ("tier",)
    assert SECRET not in repr(found)
    assert "abcdefg" not in repr([item.sender.id for item in found])


@pytest.mark.parametrize(
    ("targets", "words"),
    [
        ([{"url": "http://127.0.0.1/b", "secret": "short"}], "at least 16 characters"),
        ([{"url": "http://10.1.2.3/b", "secret": SECRET}], "use https://"),
        ([{"url": "https://hooks.example/b"}], "see docs/alerts.md"),
        ([{"url": "json://127.0.0.1/a"}] * 2, "target 2 is the same address"),
    ],
)
def test_targets_that_cannot_be_are_refused(targets, words):
    with pytest.raises(ConfigError, match=words):
        targets_of(AlertSettings(targets=[TargetSettings(**item) for item in targets]))


async def test_a_test_goes_to_each_target(webhook):
    host, got = webhook
    own = TargetSettings(url=f"http://{host}/b", secret=SECRET, least="critical", kinds=("tier",))
    found = await send_test(AlertSettings(urls=(f"json://{host}/a", "json://127.0.0.1:1/c"), targets=(own,)))
    assert [(item.target, item.ok) for item in found] == [
        ("1 JSON", True),
        ("2 JSON", False),
        ("3 signed webhook", True),
    ]
    assert len(got) == 2
