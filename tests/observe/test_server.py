"""/metrics and /health: who may ask, what is answered, a port that is taken."""

import socket

import aiohttp
import pytest

from bot.errors import ConfigError
from bot.observe.health import Health, state_of
from bot.observe.server import host_of, serving

NAN = float("nan")


def health(state="deciding", **changes):
    fields = {
        "mode": "dry-run", "state": state, "last_decision_age_s": 2.0, "fresh_within_s": 60.0, "sequence": 7,
        "holds": ("no price",), "journal_writable": True, "alerts": [], "sentence": "all is well",
    }  # fmt: skip
    return Health(**{**fields, **changes})


@pytest.fixture
async def site():
    """A server; ``shown`` is what its health is."""
    shown = [health()]
    async with (
        serving(
            host="127.0.0.1", port=0, hosts=("alvh.lan",), metrics=lambda: b"a 1\n", health=lambda: shown[0]
        ) as port,
        aiohttp.ClientSession() as session,
    ):

        async def ask(path, method="GET", **headers):
            async with session.request(method, f"http://127.0.0.1:{port}{path}", headers=headers) as answer:
                return answer.status, await answer.text(), answer.headers

        yield ask, shown


async def test_metrics_and_health_are_answered(site):
    ask, shown = site
    status, text, headers = await ask("/metrics")
    assert (status, text) == (200, "a 1\n")
    assert headers["Content-Type"].startswith("text/plain; version=")
    status, text, _ = await ask("/health")
    assert status == 200
    assert '"healthy": true' in text
    for state in ("starting", "silent", "unwritable"):
        shown[0] = health(state, last_decision_age_s=NAN)
        status, text, _ = await ask("/health")
        assert (status, '"last_decision_age_s": null' in text) == (503, True)


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1:9100", "[::1]:9100", "ALVH.lan", "alvh.lan:80"])
async def test_hosts_that_may_be_asked_for(site, host):
    assert (await site[0]("/metrics", Host=host))[0] == 200


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "127.0.0.1.evil.example",
        "localhost.evil.example",
        "10.0.0.1",
        "",
        "[::1",
        "alvh.lan:x",
        "a:b:c",
    ],
)
async def test_a_page_that_was_led_here_by_its_own_name_is_refused(site, host):
    status, text, _ = await site[0]("/metrics", Host=host)
    assert status == 403
    assert "a 1" not in text


@pytest.mark.parametrize(
    ("path", "method", "status"), [("/", "GET", 404), ("/health", "POST", 405), ("/metrics", "DELETE", 405)]
)
async def test_nothing_else_is_there(site, path, method, status):
    assert (await site[0](path, method=method))[0] == status


async def test_a_port_that_is_taken_is_refused_in_one_line():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(ConfigError, match=rf"127.0.0.1:{port}: another program uses it"):
            async with serving(host="127.0.0.1", port=port, hosts=(), metrics=bytes, health=health):
                pass


@pytest.mark.parametrize(
    ("age_s", "writable", "state"),
    [(NAN, True, "starting"), (59.0, True, "deciding"), (60.0, True, "silent"), (1.0, False, "unwritable")],
)
def test_the_state_of_a_run(age_s, writable, state):
    assert state_of(age_s=age_s, fresh_within_s=60.0, journal_writable=writable) == state
    assert host_of("LOCALHOST:1") == "localhost"
