"""The HTTP client against a server that misbehaves (R8, R9)."""

import asyncio
import gzip
import time

import pytest
from aiohttp import web as server
from at_best import at_best
from web_server import Sources, html, in_turn, limited, raw, reply

from bot.errors import ConfigError, DeadlineError, InvariantError, TransientError
from bot.watchers.web.client import PausedError, RefusedError, WebClient, check_url, rates_of
from bot.watchers.web.hyperliquid import HyperliquidSource

SECRET = "s3cr3t-key-0123456789"


async def test_json_and_text_are_returned(served: Sources, web: WebClient):
    served.faults["/x"] = reply({"a": [1, 2.5, "z"]})
    assert await web.get(f"{served.url}/x", params={"q": "1"}) == {"a": [1, 2.5, "z"]}
    served.faults["/t"] = raw("date,value\n2026-01-01,1\n", kind="text/csv")
    assert (await web.text(f"{served.url}/t")).startswith("date,")
    served.faults["/p"] = reply({"ok": True})
    assert await web.post(f"{served.url}/p", body={"type": "x"}) == {"ok": True}
    assert served.asked[0] == ("/x", {"q": "1"})
    assert served.asked[-1] == ("/p", {"type": "x"})


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (html(), "a web page"),
        (raw('{"a": [1, 2'), "no JSON"),
        (raw('{"a": NaN}'), "no JSON"),
        (raw('{"a": Infinity}'), "no JSON"),
        (raw(""), "0 bytes"),
        (raw("gone", status=404), "HTTP 404; check the name"),
        (raw("no", status=403), "HTTP 403; it refuses this client"),
        (raw("no", status=451), "closed to your region"),
    ],
)
async def test_what_is_no_json_is_refused_once(served: Sources, web: WebClient, answer, words):
    served.faults["/x"] = answer
    with pytest.raises(RefusedError, match=words):
        await web.get(f"{served.url}/x")
    assert len(served.asked) == 1


async def test_a_server_error_is_tried_again(served: Sources, web: WebClient):
    served.faults["/x"] = in_turn(raw("oops", status=500), raw("oops", status=502), reply([1]))
    assert await web.get(f"{served.url}/x") == [1]
    assert len(served.asked) == 3


async def test_a_lasting_server_error_ends_in_one_line(served: Sources, web: WebClient):
    served.faults["/x"] = raw(f"trace with {SECRET}", status=500)
    with pytest.raises(TransientError, match="HTTP 500") as caught:
        await web.get(f"{served.url}/x")
    assert SECRET not in str(caught.value)
    assert len(served.asked) <= 4


@pytest.mark.parametrize(
    ("answer", "status"), [(limited("2"), 429), (raw("", status=503, headers={"Retry-After": "2"}), 503)]
)
async def test_nothing_is_sent_inside_a_pause(served: Sources, answer, status):
    now = [100.0]
    async with WebClient(timeout_s=5.0, clock=lambda: now[0]) as web:
        served.faults["/x"] = in_turn(answer, reply([1]))
        with pytest.raises(PausedError) as caught:
            await web.get(f"{served.url}/x")
        assert caught.value.retry_after_s == 2.0
        for passed in (0.1, 1.9):
            now[0] = 100.0 + passed
            with pytest.raises(PausedError, match="not asked"):
                await web.get(f"{served.url}/other")  # of the same host, whatever is asked
        assert len(served.asked) == 1
        now[0] = 102.1
        assert await web.get(f"{served.url}/x") == [1]


async def test_a_pause_as_a_date_or_nonsense_is_bounded(served: Sources):
    async with WebClient(timeout_s=5.0) as web:
        served.faults["/x"] = limited("Wed, 21 Oct 2099 07:28:00 GMT")
        with pytest.raises(PausedError) as caught:
            await web.get(f"{served.url}/x")
        assert caught.value.retry_after_s == 3_600.0
    async with WebClient(timeout_s=5.0) as web:
        served.faults["/x"] = limited("soon")
        with pytest.raises(PausedError) as caught:
            await web.get(f"{served.url}/x")
        assert caught.value.retry_after_s == 30.0


async def test_the_rate_of_a_host_is_kept(served: Sources):
    served.faults["/x"] = reply([1])
    host = served.url.removeprefix("http://")
    async with WebClient(timeout_s=10.0, rates={host: 20.0}) as web:
        start = time.monotonic()
        await asyncio.gather(*(web.get(f"{served.url}/x") for _ in range(13)))
        took = time.monotonic() - start
    assert took >= 10 / 20.0 - 0.02  # three at once, then 20 a second
    assert len(served.asked) == 13


async def test_a_queue_longer_than_the_deadline_is_refused_at_once(served: Sources):
    served.faults["/x"] = reply([1])
    host = served.url.removeprefix("http://")
    async with WebClient(timeout_s=5.0, rates={host: 0.05}) as web:
        for _ in range(3):
            await web.get(f"{served.url}/x")
        start = time.monotonic()
        with pytest.raises(PausedError, match="of its rate are taken"):
            await web.get(f"{served.url}/x")
        assert time.monotonic() - start < 2.5


async def _hang(_request: server.Request) -> server.StreamResponse:
    await asyncio.sleep(30)
    return server.Response()


async def _drip(request: server.Request) -> server.StreamResponse:
    response = server.StreamResponse()
    await response.prepare(request)
    for _ in range(60):
        await response.write(b" ")
        await asyncio.sleep(0.5)
    return response


async def _flood(request: server.Request) -> server.StreamResponse:
    response = server.StreamResponse()
    await response.prepare(request)
    for _ in range(2_000):
        await response.write(b" " * 100_000)
    return response


async def _bomb(_request: server.Request) -> server.StreamResponse:
    return server.Response(body=gzip.compress(b" " * 30_000_000), headers={"Content-Encoding": "gzip"})


async def _moved(request: server.Request) -> server.StreamResponse:
    return server.Response(status=302, headers={"Location": request.query["to"]})


_SENT_TAGS: list[str | None] = []


async def _round(_request: server.Request) -> server.StreamResponse:
    return server.Response(status=307, headers={"Location": "/round"})


async def _tagged(request: server.Request) -> server.StreamResponse:
    _SENT_TAGS.append(request.headers.get("If-None-Match"))
    if request.headers.get("If-None-Match") == '"v1"':
        return server.Response(status=304)
    return server.json_response({"tvl": 1}, headers={"ETag": '"v1"'})


async def _agent(request: server.Request) -> server.StreamResponse:
    return server.json_response({"agent": request.headers["User-Agent"]})


@pytest.fixture
async def odd_url():
    application = server.Application()
    for path, handler in (
        ("/hang", _hang), ("/drip", _drip), ("/flood", _flood), ("/bomb", _bomb), ("/moved", _moved),
        ("/round", _round), ("/tagged", _tagged), ("/agent", _agent),
    ):  # fmt: skip
        application.router.add_get(path, handler)
    runner = server.AppRunner(application, shutdown_timeout=0.1)
    await runner.setup()
    await server.TCPSite(runner, "127.0.0.1", 0).start()
    yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    await runner.cleanup()


@pytest.mark.parametrize("path", ["hang", "drip"])
async def test_every_wait_ends_at_the_deadline(odd_url: str, path: str):
    async with WebClient(timeout_s=0.6) as web:

        async def ask():
            with pytest.raises(DeadlineError, match=r"no answer within 0.6 s"):
                await web.get(f"{odd_url}/{path}")

        assert await at_best(1.1, ask)


@pytest.mark.parametrize("path", ["flood", "bomb"])
async def test_a_body_past_the_cap_is_refused(odd_url: str, path: str):
    async with WebClient(timeout_s=10.0) as web:
        with pytest.raises(RefusedError, match="larger than 20000000 bytes"):
            await web.get(f"{odd_url}/{path}")


async def test_redirects_stay_on_the_host(odd_url: str):
    async with WebClient(timeout_s=5.0, rates={odd_url.removeprefix("http://"): 100.0}) as web:
        assert "alvh" in (await web.get(f"{odd_url}/moved", params={"to": "/agent"}))["agent"]
        for target in ("http://localhost:1/x", "https://example.com/x", "ftp://127.0.0.1/x"):
            with pytest.raises(RefusedError, match="redirects elsewhere"):
                await web.get(f"{odd_url}/moved", params={"to": target})
        with pytest.raises(RefusedError, match="more than 3 redirects"):
            await web.get(f"{odd_url}/round")


async def test_an_unchanged_body_is_not_sent_again(odd_url: str):
    async with WebClient(timeout_s=5.0) as web:
        _SENT_TAGS.clear()
        for _ in range(2):
            assert await web.get(f"{odd_url}/tagged") == {"tvl": 1}
        assert _SENT_TAGS == [None, '"v1"']


async def test_the_contact_is_in_the_user_agent(odd_url: str):
    async with WebClient(timeout_s=5.0, contact="me@example.org") as web:
        agent = (await web.get(f"{odd_url}/agent"))["agent"]
    assert agent.startswith("alvh-bot/")
    assert agent.endswith("(me@example.org)")
    with pytest.raises(ConfigError):
        WebClient(contact="a\r\nX-Bad: 1")


async def test_no_key_is_in_an_error():
    async with WebClient(timeout_s=1.0) as web:
        with pytest.raises(TransientError) as caught:
            await web.get(f"http://user:{SECRET}@127.0.0.1:9/{SECRET}", params={"api_key": SECRET})
    assert SECRET not in str(caught.value)
    assert "http://127.0.0.1:9/…" in str(caught.value)
    assert caught.value.__context__ is None or SECRET not in repr(caught.value.__context__)


@pytest.mark.parametrize(
    "url",
    ["http://api.example.org/x", "ftp://127.0.0.1/x", "https://", " https://a.org", "a.org", "http://[::1"],
)
def test_only_https_or_this_machine_is_read(url: str):
    with pytest.raises(ConfigError) as caught:
        check_url(url, what="base_url")
    assert "base_url" in str(caught.value)


def test_loopback_and_https_are_allowed():
    for url in (
        "https://api.example.org/v1",
        "http://127.0.0.1:8080/x",
        "http://localhost/x",
        "http://[::1]/x",
    ):
        assert check_url(url, what="URL") == url


def test_rates_come_from_the_sources():
    sources = (HyperliquidSource(), HyperliquidSource(base_url="https://other.example:8443/x"))
    assert rates_of(sources) == {"api.hyperliquid.xyz": 0.5, "other.example:8443": 0.5}


async def test_a_closed_client_is_a_bug():
    web = WebClient()
    await web.close()
    with pytest.raises(InvariantError):
        await web.get("https://example.org")
