"""What every HTTP client rests on: one session, bounded bodies, failures that hold no URL."""

import time
from email.utils import formatdate

import aiohttp
import pytest

from bot.chain.http_session import Closeable, HttpSession, retry_after_s, short
from bot.errors import InvariantError


async def test_a_session_opens_once_and_never_after_it_was_closed():
    http = HttpSession("https://host/…", headers={"Accept": "x"}, connections=3, per_host=2)
    session = http.open()
    assert http.open() is session
    assert (session.connector.limit, session.connector.limit_per_host) == (3, 2)
    assert session.timeout.total is None, "asyncio.timeout around each call is the one"
    await http.close()
    assert session.closed
    with pytest.raises(InvariantError, match="the connection to https://host/… was closed"):
        http.open()
    await http.close()


async def test_what_never_opened_closes_without_a_session():
    http = HttpSession("here", headers={}, connections=1)
    await http.close()
    with pytest.raises(InvariantError, match="was closed"):
        http.open()


class Client(Closeable):
    closed = 0

    async def close(self) -> None:
        self.closed += 1


async def failing(client: Client) -> None:
    async with client as inside:
        assert inside is client
        raise ValueError("inside")


async def test_leaving_the_context_closes_also_after_an_error():
    client = Client()
    with pytest.raises(ValueError, match="inside"):
        await failing(client)
    assert client.closed == 1


@pytest.mark.parametrize(
    ("header", "pause_s"),
    [
        ("", 7.0),
        ("  ", 7.0),
        ("120", 120.0),
        (" 2.5 ", 2.5),
        ("-3", -3.0),  # bounded by who asks
        ("1e400", float("inf")),
        ("nan", 7.0),
        ("soon", 7.0),
        ("Fri, 31 Dec 99999 23:59:59 GMT", 7.0),
    ],
)
def test_a_pause_is_what_was_asked_for(header: str, pause_s: float):
    assert retry_after_s(header, unsaid_s=7.0) == pause_s


def test_a_pause_until_a_date():
    assert retry_after_s(formatdate(time.time() + 90.0, usegmt=True), unsaid_s=7.0) == pytest.approx(
        90.0, abs=2
    )
    assert retry_after_s("Thu, 01 Jan 1970 00:00:00 GMT", unsaid_s=7.0) < -1e9


def test_an_error_of_the_transport_is_named_without_its_text():
    key = aiohttp.ClientConnectorError
    assert short(ValueError("https://host/secret")) == "ValueError"
    assert short(OSError(111, "Connection refused")) == "ConnectionRefusedError (Connection refused)"
    wrapped = key(type("Key", (), {"ssl": None, "host": "h", "port": 1})(), OSError(113, "No route to host"))
    assert short(wrapped) == "ClientConnectorError (No route to host)"
