"""A position on a chain without an option market: premiums of a public book, marked wherever they show."""

import asyncio
import sqlite3
from collections.abc import AsyncIterator

import pytest
from chain_facts import nonce
from commands import Ended, Home
from web_server import Sources, reply, sources_at

from bot.chain.rpc import Rpc
from bot.devnet.node import Devnet

pytestmark = [pytest.mark.devnet, pytest.mark.xdist_group("cli")]

ONCE = ("--once", "--json")


@pytest.fixture
async def book(rpc: Rpc) -> AsyncIterator[Sources]:
    """A Deribit of the devnet's own time, whose asks are near its vols."""
    block = await rpc.request("eth_getBlockByNumber", ["latest", False])
    async with sources_at(float(int(block["timestamp"], 16))) as served:
        served.fair_asks = True
        yield served


@pytest.fixture
async def watched(home: Home, book: Sources, rpc: Rpc, devnet: Devnet) -> AsyncIterator[Home]:
    """A home without an option market of its own, from which nothing is sent."""
    before = await nonce(rpc, devnet.deployment.user, "pending")
    home.change(r"\[lyra\].*?\n\n", section(book))
    yield home
    assert await nonce(rpc, devnet.deployment.user, "pending") == before


def section(book: Sources, **changes: str) -> str:
    keys = {"venue": '"deribit"', "base_url": f'"{book.url}/api/v2"', **changes}
    return "[indicative]\n" + "".join(f"{key} = {value}\n" for key, value in keys.items()) + "\n"


async def alvh(home: Home, *arguments: str) -> Ended:
    """Run a command beside the server, which is in this loop."""
    return await asyncio.to_thread(home.alvh, *arguments)


async def test_a_plan_shows_premiums_of_the_book(watched: Home):
    document = (await alvh(watched, "plan", "--json")).document
    crisis = document["protections"][-1]
    assert crisis["indicative"] is True
    assert {leg["layer"] for leg in crisis["legs"]} == {"NEAR", "MID", "TAIL"}
    for leg in crisis["legs"]:
        assert (leg["venue"], leg["indicative"]) == ("deribit", True)
        assert leg["premium_usd"] > 0.0


async def test_a_plan_for_a_person_marks_every_premium(watched: Home):
    ended = await alvh(watched, "plan")
    assert (ended.code, ended.err) == (0, ""), ended
    assert "would cost ~$" in " ".join(ended.out.split())
    assert "Sums with ~ are indicative" in " ".join(ended.out.split())
    assert max(map(len, ended.out.splitlines())) <= 80


async def test_a_dry_run_fills_on_paper_and_says_so(watched: Home, rpc: Rpc):
    first = (await alvh(watched, "run", *ONCE)).document
    (order,) = first["orders"]
    assert (order["venue"], order["layer"], order["side"]) == ("deribit", "TAIL", "buy")
    assert (order["status"], order["indicative"]) == ("filled", True)
    assert order["because"].startswith("paper: filled at the quote, indicative: public book of deribit")
    assert order["position_id"] == "paper-deribit-1"
    assert first["indicative"] is True
    await rpc.request("evm_mine")
    second = (await alvh(watched, "run", *ONCE)).document
    assert second["orders"] == []
    assert second["indicative"] is True
    assert second["hedge_value_usd"] > 0.5 * order["premium_usd"]
    assert second["cash_flow_usd"] == pytest.approx(-order["premium_usd"])
    with sqlite3.connect(watched.journal("dry-run")) as journal:
        dump = "\n".join(journal.iterdump())
    journal.close()
    assert '"indicative":true' in dump.replace(" ", "")


async def test_the_terminal_marks_orders_and_sums(watched: Home):
    ran = await alvh(watched, "run", "--once")
    assert ran.code == 0, ran
    words = " ".join(ran.out.split())
    assert "for ~$" in words
    assert "on paper at indicative prices of deribit" in words
    assert "in this step ~$" in words
    assert "Sums with ~ are indicative" in words
    status = await alvh(watched, "status")
    assert "Sums with ~ are indicative" in " ".join(status.out.split())
    explained = await alvh(watched, "explain")
    assert "indicative ~" in " ".join(explained.out.split())
    for ended in (ran, status, explained):
        assert max(map(len, ended.out.splitlines())) <= 80


@pytest.mark.parametrize(
    ("path", "answer", "words"),
    [
        ("/api/v2/public/get_book_summary_by_currency", reply({}, status=500), "500"),
        ("/api/v2/public/get_index_price", reply({"result": {"index_price": 2_000.0}}), "index is 2000.00"),
    ],
    ids=["failing", "off our price"],
)
async def test_a_bad_book_is_unread_and_stops_nothing(watched: Home, book: Sources, path, answer, words):
    book.faults[path] = answer
    ended = await alvh(watched, "run", *ONCE)
    assert ended.code == 0, ended
    (hold,) = [item for item in ended.document["holds"] if "deribit" in item]
    assert hold.startswith("venue deribit could not be read: ")
    assert words in hold
    assert ended.document["orders"] == []
    assert ended.document["indicative"] is False


async def test_a_bad_book_alone_leaves_no_plan(watched: Home, book: Sources):
    book.faults["/api/v2/*"] = reply({}, status=500)
    ended = await alvh(watched, "plan")
    ended.refused(1, "quotes of deribit", "500")


async def test_beside_a_market_a_bad_book_is_only_left_out(home: Home, book: Sources):
    home.change(r"\[lyra\]", section(book) + "[lyra]")
    beside = (await alvh(home, "plan", "--json")).document
    assert beside["left_out"] == []
    book.faults["/api/v2/*"] = reply({}, status=500)
    document = (await alvh(home, "plan", "--json")).document
    assert {leg["venue"] for item in document["protections"] for leg in item["legs"]} == {"lyra"}
    assert not any(item["indicative"] for item in document["protections"])
    (left,) = document["left_out"]
    assert left.startswith("quotes of deribit: ")


async def test_live_never_reads_the_book(home: Home, book: Sources):
    home.change(r"\[lyra\]", section(book) + "[lyra]")
    document = (await alvh(home, "run", "--live", *ONCE)).document
    assert [order["venue"] for order in document["orders"]] == ["lyra"]
    assert document["indicative"] is False
    assert book.asked == []


async def test_live_without_a_market_is_refused(watched: Home, book: Sources):
    (await alvh(watched, "run", "--live", *ONCE)).refused(4, "[lyra]")
    assert book.asked == []
