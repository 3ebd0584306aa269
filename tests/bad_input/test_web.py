"""The bad-input list of the web surface, item by item (reliability.md section 4, W1 to W5).

Every line of it is asked of a dashboard that serves: refused with a page of ours or ignored, nothing changed,
no stack, no path, no secret in the answer.
"""

import re
import socket
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from urllib.parse import quote, urlsplit

import pytest
from dashboard_builders import (
    TOKEN,
    Running,
    ask,
    serving,
    settings_in,
    signed_in,
    write_steps,
    writer,
)
from presented import stressed_record, troubled_record

from bot.chain.pause import read_pause
from bot.dashboard.access import FREE_FAILURES
from bot.dashboard.app import MOST_BODY_BYTES
from bot.dashboard.routes import ROUTES, Needs
from bot.model.record import StepRecord

HOSTILE = "<script>alert(1)</script>\u202egnp.eteled\u200f"
MEGABYTE = "M" * 1_000_000


@pytest.fixture(scope="module")
def state(tmp_path_factory) -> Path:
    """A journal whose names, reasons and hashes were chosen by a stranger."""
    folder = tmp_path_factory.mktemp("hostile")
    with writer(folder) as journal:
        write_steps(journal, [hostile(troubled_record(), 1), hostile(stressed_record(), 2)])
    return folder


def hostile(record: StepRecord, sequence: int) -> StepRecord:
    decision = record.decision
    readings = tuple(
        replace(
            item,
            subject=f"{HOSTILE}{'' if number else MEGABYTE}",
            because=f'"><img src=x onerror=alert(1)>{HOSTILE}',
        )
        for number, item in enumerate(decision.readings)
    )
    groups = tuple(replace(item, because=f"{HOSTILE} {MEGABYTE}") for item in decision.groups)
    decision = replace(
        decision, now_s=decision.now_s + sequence, readings=readings, groups=groups, holds=(HOSTILE,)
    )
    outcomes = tuple(
        replace(
            item,
            leg=replace(item.leg, key=f"{sequence}-{item.leg.key}"),
            because=f"javascript:alert(1) {HOSTILE}",
            tx_hash='0x"onmouseover="alert(1)',
        )
        for item in record.outcomes
    )
    return replace(record, sequence=sequence, decision=decision, outcomes=outcomes)


@pytest.fixture(scope="module")
def running(state) -> Iterator[Running]:
    with serving(settings_in(state)) as found:
        yield found


@pytest.fixture(scope="module")
def session(running) -> tuple[str, str]:
    return signed_in(running.url)


PATHS = ("/", "/signals", "/positions", "/orders", "/runs", "/health", "/pause", "/leave", "/charts/timeline")


# W2: names of this machine that are not this server's, and origins that are not its own

HOSTS = (
    "evil.com", "evil.com:{port}", "127.0.0.1.nip.io:{port}", "127.0.0.1.nip.io", "localhost.evil.com:{port}",
    "0.0.0.0:{port}", "0:{port}", "[::]:{port}", "127.1:{port}", "2130706433:{port}", "0x7f000001:{port}",
    "0177.0.0.1:{port}", "127.0.0.2:{port}", "127.0.0.1", "localhost", "[::1]", "127.0.0.1:80",
    "localhost:443", "127.0.0.1:{port}0", "127.0.0.1:0{port}", "127.0.0.1:", ":{port}", "", " ",
    "127.0.0.1:{port}.", "localhost.:{port}", "127.0.0.1:{port},evil.com", "evil.com,127.0.0.1:{port}",
    "127.0.0.1:{port} evil.com", "user@127.0.0.1:{port}", "http://127.0.0.1:{port}", "//127.0.0.1:{port}",
    "127.0.0.1:{port}/", "127.0.0.1:{port}#", "127.0.0.1:{port}?x", "[::1%lo]:{port}",
    "[::ffff:127.0.0.1]:{port}",
    "lоcalhost:{port}", "１２７.0.0.1:{port}", "192.168.0.1:{port}", "10.0.0.1:{port}", "null",
)  # fmt: skip


@pytest.mark.parametrize("number", range(len(HOSTS)))
def test_a_host_that_is_not_this_server_is_refused(running, session, number):
    host = HOSTS[number].format(port=urlsplit(running.url).port)
    given = host.encode("utf-8").decode("latin-1")
    for path in ("/", "/login", "/health"):
        answer = ask(running.url, path, headers=[session, ("Host", given)])
        assert answer.status in (400, 403), (host, path, answer.status)
        assert "ELEVATED" not in answer.text


def test_names_of_this_machine_are_answered(running, session):
    port = urlsplit(running.url).port
    for host in ("127.0.0.1", "localhost", "LOCALHOST", "[::1]"):
        assert ask(running.url, "/", headers=[session, ("Host", f"{host}:{port}")]).status == 200, host


def test_two_hosts_and_none_are_refused(running, session):
    port = urlsplit(running.url).port
    own = f"127.0.0.1:{port}"
    assert ask(running.url, "/", headers=[session, ("Host", own), ("Host", "evil.com")]).status in (400, 403)
    for version in (b"1.0", b"1.1"):
        assert raw(running, b"GET /health HTTP/" + version + b"\r\n\r\n")[8:11] == b" 40"


ORIGINS = (
    "null", "http://evil.com", "https://evil.com", "http://127.0.0.1", "http://localhost:1",
    "http://127.0.0.1:{port}.evil.com", "http://evil.com:{port}", "file://", "", "*", "127.0.0.1:{port}",
    "ftp://127.0.0.1:{port}", "http://127.0.0.1:{port}/", "http://user@127.0.0.1:{port}",
    "http://localhost:{port}", "chrome-extension://abc", "HTTP//127.0.0.1:{port}",
)  # fmt: skip


@pytest.mark.parametrize("number", range(len(ORIGINS)))
@pytest.mark.parametrize("method", ["GET", "HEAD", "POST"])
def test_another_origin_is_refused_with_every_method(running, session, number, method):
    origin = ORIGINS[number].format(port=urlsplit(running.url).port)
    headers = [session, ("Origin", origin), ("Content-Type", "application/x-www-form-urlencoded")]
    path = "/pause" if method == "POST" else "/"
    answer = ask(running.url, path, method=method, headers=headers, body=b"" if method == "POST" else None)
    assert answer.status == 403, origin


@pytest.mark.parametrize("site", ["cross-site", "same-site", "", "Same-Origin", "none,cross-site", "evil"])
def test_a_request_that_another_site_caused_is_refused(running, session, site):
    """An image, a script, a no-cors fetch, a link: GET has no exception."""
    for mode in ("no-cors", "navigate", "websocket", "cors"):
        headers = [session, ("Sec-Fetch-Site", site), ("Sec-Fetch-Mode", mode)]
        for path in PATHS:
            assert ask(running.url, path, headers=headers).status == 403, (site, mode, path)


def test_a_form_without_an_origin_is_refused(running, session, state):
    kinds = ("application/x-www-form-urlencoded", "text/plain", "multipart/form-data; boundary=x")
    for kind in kinds:
        headers = [session, ("Content-Type", kind)]
        answer = ask(running.url, "/pause", method="POST", headers=headers, body=b"nonce=x")
        assert answer.status == 403
    assert read_pause(state) is None


@pytest.mark.parametrize(
    "kind", ["text/plain", "application/json", "multipart/form-data; boundary=x", "", "x"]
)
def test_only_a_form_is_taken(running, session, state, kind):
    own = running.url.rstrip("/")
    for path in ("/pause", "/leave", "/login"):
        headers = [session, ("Origin", own), ("Content-Type", kind)]
        assert ask(running.url, path, method="POST", headers=headers, body=b'{"a": 1}').status == 415
    assert read_pause(state) is None


# methods

METHODS = ("PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "CONNECT", "PROPFIND", "LOCK", "get", "FOO")


@pytest.mark.parametrize("method", METHODS)
def test_other_methods_are_not_known(running, session, method):
    for path in ("/", "/pause", "/nothing"):
        answer = ask(running.url, path, method=method, headers=[session])
        assert answer.status in (400, 404, 405), (method, path, answer.status)


def test_a_method_is_not_overridden(running, session, state):
    headers = [session, ("X-HTTP-Method-Override", "POST"), ("X-HTTP-Method", "POST")]
    assert (
        ask(running.url, "/pause?_method=POST&nonce=x", headers=headers).status == 200
    )  # it asks, and no more
    assert read_pause(state) is None


def test_a_page_that_takes_no_form_refuses_one(running, session):
    for path in ("/", "/signals", "/orders", "/health", "/charts/timeline"):
        assert ask(running.url, path, method="POST", headers=[session], form={}).status == 405, path


def test_a_get_and_a_head_change_nothing(running, session, state):
    before = {path: path.read_bytes() for path in state.rglob("*") if path.is_file()}
    for path in PATHS:
        for method in ("GET", "HEAD"):
            assert ask(running.url, path, method=method, headers=[session]).status == 200, (method, path)
    assert {path: path.read_bytes() for path in state.rglob("*") if path.is_file()} == before


# W3: what there is to ask, and what each needs


def test_no_route_can_sign_and_every_change_needs_session_and_nonce():
    changing = {item.path for item in ROUTES if item.method != "GET"}
    assert changing == {"/pause", "/leave", "/login"}
    assert {item.path for item in ROUTES if item.needs is Needs.CONFIRMED} == {"/pause", "/leave"}
    open_paths = {item.path for item in ROUTES if item.needs is Needs.NOTHING}
    assert open_paths == {"/login", "/static/{version}/{name}"}


def test_every_route_that_needs_a_session_has_none_without(running, state):
    for item in ROUTES:
        if item.needs is Needs.NOTHING:
            continue
        path = item.path.replace("{name:.+}", "crash.html").replace("{name}", "timeline")
        form = {"nonce": "x"} if item.method == "POST" else None
        answer = ask(running.url, path, method=item.method, form=form)
        assert answer.status in (303, 401), path
        assert answer.headers.get("Location", "/login") == "/login"
        assert "ELEVATED" not in answer.text
    assert read_pause(state) is None


TOKENS = (
    [], [("Authorization", "")], [("Authorization", "Bearer")], [("Authorization", f"Bearer {TOKEN}")],
    [("Authorization", f"bearer {TOKEN}")], [("Authorization", f"Basic {TOKEN}")],
    [("Authorization", f"Bearer {TOKEN}"), ("Authorization", "Bearer x")], [("Cookie", f"token={TOKEN}")],
    [("Cookie", "alvh_session=")], [("Cookie", f"alvh_session_1={TOKEN}")], [("X-Token", TOKEN)],
)  # fmt: skip


@pytest.mark.parametrize("number", range(len(TOKENS)))
def test_only_a_session_lets_in(running, number):
    name = f"alvh_session_{urlsplit(running.url).port}"
    for extra in ([], [("Cookie", f"{name}={TOKEN}")], [("Cookie", f"{name}=")]):
        for path in ("/", f"/?token={TOKEN}", f"/health?token={TOKEN}&session={TOKEN}"):
            assert ask(running.url, path, headers=[*TOKENS[number], *extra]).status == 303


# W4: guessing, replaying, twice at once


def test_after_ten_wrong_tokens_the_right_one_waits_too(state):
    with serving(settings_in(state)) as own:
        for _ in range(FREE_FAILURES):
            answer = ask(own.url, "/login", method="POST", form={"token": "wrong"})
        assert answer.status == 429
        answer = ask(own.url, "/login", method="POST", form={"token": TOKEN})
        assert answer.status == 429
        assert not answer.cookies
        assert "Try again in" in answer.text
        assert TOKEN not in answer.text


def test_a_session_is_new_with_each_login_and_ends_the_one_before(running):
    first = signed_in(running.url)
    answer = ask(running.url, "/login", method="POST", headers=[first], form={"token": TOKEN})
    (name, value), *_ = answer.cookies.items()
    second = ("Cookie", f"{name}={value}")
    assert second != first
    assert ask(running.url, "/health", headers=[first]).status == 303
    assert ask(running.url, "/health", headers=[second]).status == 200
    flags = answer.headers["Set-Cookie"].lower()
    assert "httponly" in flags
    assert "samesite=strict" in flags


def nonce_of(running: Running, session: tuple[str, str], path: str) -> str:
    text = ask(running.url, path, headers=[session]).text
    return re.findall(r'name="nonce" value="([^"]+)"', text)[0]


def test_a_confirmation_counts_once_for_its_own_purpose_and_session(running, state):
    one, other = signed_in(running.url), signed_in(running.url)
    nonce = nonce_of(running, one, "/leave")
    for session, path, given in (
        (other, "/leave", nonce),  # of another session
        (one, "/pause", nonce),  # for another purpose
        (one, "/leave", ""),
        (one, "/leave", nonce[:-1]),
        (one, "/leave", f"{nonce}x"),
    ):
        assert ask(running.url, path, method="POST", headers=[session], form={"nonce": given}).status == 403
    assert ask(running.url, "/leave", method="POST", headers=[one], form={"nonce": nonce}).status == 303
    assert ask(running.url, "/leave", method="POST", headers=[one], form={"nonce": nonce}).status in (
        303,
        401,
    )
    assert ask(running.url, "/health", headers=[one]).status == 303
    assert read_pause(state) is None


def test_a_pause_that_is_clicked_twice_or_replayed_is_written_once(tmp_path):
    with writer(tmp_path) as journal:
        write_steps(journal, [stressed_record()])
    with serving(settings_in(tmp_path)) as own:
        session = signed_in(own.url)
        nonce = nonce_of(own, session, "/pause")
        form = {"nonce": nonce, "why": "one"}
        answers = [ask(own.url, "/pause", method="POST", headers=[session], form=form) for _ in range(2)]
        assert [item.status for item in answers] == [303, 403]
        again = {"nonce": nonce_of_any(own, session), "why": "two"}
        assert ask(own.url, "/pause", method="POST", headers=[session], form=again).status == 403
        assert (pause := read_pause(tmp_path)) is not None
        assert pause.why == "one"


def nonce_of_any(running: Running, session: tuple[str, str]) -> str:
    """A page that is paused already offers no nonce; one of another purpose does not count."""
    assert 'name="nonce"' not in ask(running.url, "/pause", headers=[session]).text
    return nonce_of(running, session, "/leave")


# paths, sizes, encodings

ODD_PATHS = (
    "//", "//health", "///", "/./health", "/health/", "/..", "/../etc/passwd", "/..%2f..%2fetc%2fpasswd",
    "/%2e%2e/%2e%2e/etc/passwd", "/runs/../../alvh.toml", "/runs/..%2f..%2falvh.toml",
    "/runs/%2e%2e/alvh.toml",
    "/runs//etc/passwd", "/runs/%2fetc%2fpasswd", "/health%00", "/%00", "/runs/crash.html%00.json",
    "/%c0%ae%c0%ae/", "/%c0%af", "/%ff%fe", "/static/x/dashboard.css", "/static/../dashboard.css",
    "/static/%2e%2e/%2e%2e/app.py", "/charts/..", "/charts/nothing", "/charts/payoff?group=%3Cscript%3E",
    "/charts/signal", "/charts/signal?signal=S1", "/charts/signal?signal=%00&subject=%ff&source=__proto__",
    "/index.php", "/.git/config", "/dashboard-token", "/journal-dry-run.sqlite",
    "/runs/journal-dry-run.sqlite",
    "/metrics", "/api", "/resume", "/sign", "/close", "/%3Cscript%3E", "/a" * 1_000,
)  # fmt: skip


@pytest.mark.parametrize("number", range(len(ODD_PATHS)))
def test_an_odd_path_is_no_page_and_shows_nothing(running, session, state, number):
    answer = ask(running.url, ODD_PATHS[number], headers=[session])
    assert answer.status in (400, 404), (ODD_PATHS[number], answer.status)
    assert_tells_nothing(answer.text, state)


def assert_tells_nothing(text: str, state: Path) -> None:
    assert "Traceback" not in text
    assert 'File "' not in text
    assert "aiohttp" not in text
    assert str(state) not in text
    assert TOKEN not in text
    assert "<script>alert" not in text


@pytest.mark.parametrize(
    "page",
    [
        "-1",
        "0",
        "1000000000",
        "1001",
        "9" * 5_000,
        "1e3",
        "NaN",
        "x' OR 1=1 --",
        "１２",
        "٣",
        "",
        "1.0",
        " 1",
    ],
)
def test_a_page_number_that_is_none_is_said(running, session, page):
    answer = ask(running.url, f"/orders?page={quote(page)}", headers=[session])
    assert answer.status == 400
    assert "page must be a whole number from 1 to 1000" in answer.text or len(page) > 4_000


def test_unknown_keys_of_an_address_are_shown_to_nobody_unescaped(running, session):
    odd = "/orders?sort=%3Cscript%3Ealert(1)%3C/script%3E&__proto__=1&date=9999&seen=x&to=https://evil.com"
    answer = ask(running.url, odd, headers=[session])
    assert answer.status == 200
    assert "<script>alert" not in answer.text


def test_there_is_no_redirect_to_elsewhere(running, session):
    for path in ("/login?next=https://evil.com", "/?url=//evil.com", "/leave?to=https://evil.com"):
        answer = ask(running.url, path, headers=[session])
        assert "Location" not in answer.headers
        assert 'href="https://evil.com' not in answer.text


def test_a_body_that_is_too_large_is_refused(running, session, state):
    own = running.url.rstrip("/")
    headers = [session, ("Origin", own), ("Content-Type", "application/x-www-form-urlencoded")]
    for size in (MOST_BODY_BYTES + 1, 10_000_000):
        try:
            answer = ask(running.url, "/pause", method="POST", headers=headers, body=b"a" * size)
        except OSError:
            continue  # cut while it was sent
        assert answer.status == 413
    assert read_pause(state) is None


@pytest.mark.parametrize(
    "body",
    [
        b"nonce=%ff%fe",
        b"\xff\xfe=1",
        b"nonce",
        b"&&&",
        b"nonce=a&nonce=b",
        b"__proto__=1",
        b"a[" * 4_000,
        b"\x00",
    ],
    ids=["percent", "latin", "bare", "empty", "twice", "proto", "nested", "nul"],
)
def test_a_form_that_is_no_form_confirms_nothing(running, session, state, body):
    own = running.url.rstrip("/")
    headers = [session, ("Origin", own), ("Content-Type", "application/x-www-form-urlencoded")]
    answer = ask(running.url, "/pause", method="POST", headers=headers, body=body)
    assert answer.status in (400, 403), answer.status
    assert_tells_nothing(answer.text, state)
    assert read_pause(state) is None


def raw(running: Running, request: bytes, *, wait_s: float = 3.0) -> bytes:
    """Send bytes as they are and return all that comes back."""
    with socket.create_connection(("127.0.0.1", urlsplit(running.url).port), timeout=wait_s) as connection:
        connection.sendall(request)
        found = b""
        try:
            while part := connection.recv(65_536):
                found += part
        except (TimeoutError, ConnectionResetError):
            pass
        return found


SMUGGLED = (
    b"Transfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n0\r\n\r\nGET /health HTTP/1.1\r\n\r\n",
    b"Content-Length: 3\r\nContent-Length: 4\r\n\r\nabcd",
    b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
    b"Transfer-Encoding: chunked\r\n\r\nzz\r\nabc\r\n",
    b"Content-Length: -1\r\n\r\n",
    b"Content-Length: 0x10\r\n\r\n",
    b"Bad Header: x\r\n\r\n",
    b"X: " + b"a" * 20_000 + b"\r\n\r\n",
    b"".join(b"X%d: a\r\n" % number for number in range(200)) + b"\r\n",
)


@pytest.mark.parametrize("number", range(len(SMUGGLED)))
def test_a_request_that_could_be_read_two_ways_is_refused(running, session, state, number):
    port = urlsplit(running.url).port
    head = f"POST /pause HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nOrigin: {running.url[:-1]}\r\n"
    head += f"{session[0]}: {session[1]}\r\nContent-Type: application/x-www-form-urlencoded\r\n"
    head += "Connection: close\r\n"
    answer = raw(running, head.encode() + SMUGGLED[number], wait_s=8.0)
    assert re.match(rb"HTTP/1.[01] 4\d\d ", answer), answer[:80]
    assert_tells_nothing(answer.decode("latin-1"), state)
    assert read_pause(state) is None


def test_a_websocket_is_not_opened(running, session):
    headers = [
        session, ("Upgrade", "websocket"), ("Connection", "Upgrade"), ("Sec-WebSocket-Version", "13"),
        ("Sec-WebSocket-Key", "AAAAAAAAAAAAAAAAAAAAAA=="), ("Origin", running.url[:-1]),
    ]  # fmt: skip
    assert ask(running.url, "/health", headers=headers).status in (200, 400)


# W5: text that a stranger chose


@pytest.mark.parametrize("path", ["/", "/signals", "/positions", "/orders", "/health"])
def test_what_came_from_a_chain_is_text_and_nothing_more(running, session, path):
    answer = ask(running.url, path, headers=[session])
    assert answer.status == 200
    assert "<script>alert" not in answer.text
    assert "<img" not in answer.text
    assert not re.search(r"<[^>]*\son\w+=", answer.text)
    assert 'href="javascript:' not in answer.text
    assert "\u202e" not in answer.text
    assert "\u200f" not in answer.text
    assert len(answer.text) < 600_000  # a megabyte of name is cut
    assert "M" * 1_000 not in answer.text


def test_a_stranger_s_text_is_shown_escaped(running, session):
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in ask(running.url, "/", headers=[session]).text


def test_every_answer_has_its_rules_and_nothing_is_kept(running, session):
    for path, status in (("/", 200), ("/login", 200), ("/nothing", 404), ("/orders?page=x", 400)):
        answer = ask(running.url, path, headers=[session])
        assert answer.status == status
        rules = dict(
            part.strip().split(" ", 1) for part in answer.headers["Content-Security-Policy"].split(";")
        )
        assert rules["script-src"] == rules["style-src"] == "'self'"
        assert rules["default-src"] == rules["frame-ancestors"] == rules["base-uri"] == "'none'"
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert answer.headers["X-Frame-Options"] == "DENY"
        assert answer.headers["Cache-Control"] == "no-store"
        assert answer.headers.get_all("Server") == ["alvh"]
        assert "<script>" not in answer.text
        assert " style=" not in answer.text
        assert not re.search(r"<script(?![^>]* src=)", answer.text)


def test_a_report_has_no_right_in_its_own_headers(running, session, state):
    (state / "reports").mkdir(exist_ok=True)
    (state / "reports" / "one.html").write_text("<title>One</title><script>1</script>")
    (state / "reports" / "link.html").symlink_to(state / "alvh.toml")
    for _ in range(120):
        answer = ask(running.url, "/runs/one.html", headers=[session])
        if answer.status == 200:
            break
        time.sleep(0.1)
    assert answer.status == 200
    assert answer.headers["Content-Security-Policy"].startswith("sandbox allow-scripts; default-src 'none'")
    assert "allow-same-origin" not in answer.headers["Content-Security-Policy"]
    assert ask(running.url, "/runs/link.html", headers=[session]).status == 404
