"""A state folder as a run leaves it, and a dashboard over it: what the tests of the pages share."""

import asyncio
import os
import secrets
import shutil
from collections.abc import Coroutine, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from http.client import HTTPConnection, HTTPMessage
from pathlib import Path
from threading import Event, Thread
from typing import Any, TypeVar
from urllib.parse import urlencode, urlsplit

from bot.app.dashboard import Served, serve
from bot.model.intent import IntentEvent, IntentState
from bot.model.record import StepRecord
from bot.pipeline.journal import JournalIdentity, SqlJournal
from bot.settings import Settings, load_settings

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
T = TypeVar("T")
CHAIN = 31337
TOKEN = "a-token-that-tests-know-0123456789"
CONFIG = """\
state_dir = "{state}"

[chain]
id = 31337
rpc_url = "http://127.0.0.1:1"

[dashboard]
token = "{token}"
{more}
"""
EXPLORER = '[dashboard.explorers]\n31337 = "https://explorer.test/"\n'


def settings_in(folder: Path, *, more: str = "") -> Settings:
    """Return the settings of a state folder that need no chain."""
    path = folder / "alvh.toml"
    path.write_text(CONFIG.format(state=folder, token=TOKEN, more=more))
    return load_settings(path)


def writer(folder: Path, *, mode: str = "dry-run") -> SqlJournal:
    identity = JournalIdentity(mode=mode, chain_id=CHAIN, account="")
    return SqlJournal(folder / f"journal-{mode}.sqlite", identity=identity)


def write_steps(journal: SqlJournal, records: Sequence[StepRecord], *, mode: str = "dry-run") -> None:
    """Write steps with their orders, as a run would: opened, sent, closed, then the step."""
    for record in records:
        for number, outcome in enumerate(record.outcomes):
            journal.open_leg(outcome.leg, at_s=outcome.at_s)
            tx_hash = f"0x{record.sequence:032x}{number:032x}"
            for event in life_of(outcome.leg.key, outcome.at_s, record.sequence * 8 + number, tx_hash):
                journal.append_intent(event)
            journal.close_leg(replace(outcome, tx_hash=tx_hash))
        for traded in record.perpetuals:
            journal.open_perpetual(traded.order, at_s=traded.at_s)
            journal.close_perpetual(traded)
        journal.append_step(replace(record, mode=mode))


def life_of(leg_key: str, at_s: float, nonce: int, tx_hash: str) -> Iterator[IntentEvent]:
    """Yield what becomes of one transaction."""
    event = IntentEvent(
        key=f"{leg_key}/0-open",
        leg_key=leg_key,
        purpose="open",
        state=IntentState.RESERVED,
        at_s=at_s,
        chain_id=CHAIN,
        sender="0x" + "11" * 20,
        nonce=nonce,
        to="0x" + "22" * 20,
        data="0x",
    )
    yield event
    signed = replace(event, state=IntentState.SIGNED, raw="0x00", tx_hash=tx_hash)
    for state in (IntentState.SIGNED, IntentState.SENT, IntentState.MINED, IntentState.FINAL):
        yield replace(signed, state=state, block_number=7 if state is IntentState.FINAL else 0)


@dataclass(slots=True, kw_only=True)
class Running:
    """A dashboard that serves in a thread of its own."""

    served: Served
    settings: Settings

    @property
    def url(self) -> str:
        return self.served.url


@contextmanager
def serving(settings: Settings, *, mode: str = "dry-run") -> Iterator[Running]:
    """Serve the dashboard on a free port until the block ends."""
    ready, found = Event(), list[Served]()
    loop = asyncio.new_event_loop()
    stop = asyncio.Event()

    async def run() -> None:
        async with serve(settings, mode=mode, port=0) as served:
            found.append(served)
            ready.set()
            await stop.wait()

    thread = Thread(target=lambda: loop.run_until_complete(run()), name=f"dashboard {secrets.token_hex(2)}")
    thread.start()
    try:
        assert ready.wait(30.0), "the dashboard did not start"
        yield Running(served=found[0], settings=settings)
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join(10.0)
        loop.close()


def in_a_thread(work: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine to its end; playwright has a loop in the thread of the tests."""
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(asyncio.run, work).result()


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What came back for one request."""

    status: int
    headers: HTTPMessage
    text: str

    @property
    def cookies(self) -> dict[str, str]:
        """Name and value of each cookie that was set."""
        pairs = [item.partition(";")[0].partition("=") for item in self.headers.get_all("Set-Cookie", [])]
        return {name: value for name, _, value in pairs}


def ask(
    url: str,
    path: str = "/",
    *,
    method: str = "GET",
    headers: Sequence[tuple[str, str]] = (),
    form: dict[str, str] | None = None,
    body: bytes | None = None,
) -> Answer:
    """Ask with exactly these headers, a form's own and a Host that is right unless another is given."""
    parts = urlsplit(url)
    connection = HTTPConnection(parts.hostname or "", parts.port, timeout=10.0)
    given = list(headers)
    if not any(name == "Host" for name, _ in given):
        given.append(("Host", parts.netloc))
    if form is not None:
        body = urlencode(form).encode()
        given += [("Content-Type", "application/x-www-form-urlencoded"), ("Origin", f"http://{parts.netloc}")]
    connection.putrequest(method, path, skip_host=True, skip_accept_encoding=True)
    for name, value in given:
        connection.putheader(name, value)
    if body is not None and not any(name == "Content-Length" for name, _ in given):
        connection.putheader("Content-Length", str(len(body)))
    connection.endheaders(body)
    try:
        answer = connection.getresponse()
        return Answer(
            status=answer.status, headers=answer.headers, text=answer.read().decode("utf-8", "replace")
        )
    finally:
        connection.close()


def signed_in(url: str) -> tuple[str, str]:
    """Return the header of a session that the token opened."""
    answer = ask(url, "/login", method="POST", form={"token": TOKEN})
    assert answer.status == 303, answer
    name, value = next(iter(answer.cookies.items()))
    return "Cookie", f"{name}={value}"


def screenshots_folder(fallback: Path) -> Path:
    """Return where pictures of the pages go: ALVH_SCREENSHOTS names it."""
    folder = Path(os.environ.get("ALVH_SCREENSHOTS") or fallback)
    folder.mkdir(parents=True, exist_ok=True)
    return folder
