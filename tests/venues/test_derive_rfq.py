"""Sizes over the depth of Derive's book: makers are asked, and a quote is taken whole or not at all."""

from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from derive_server import Fault
from derive_world import CALL, PUT, World, derive_world

from bot.errors import InvariantError
from bot.model.hedge import LegStatus, Side

EXECUTE = "private/execute_quote"
ASKING: dict[str, Any] = {"rfq": True, "rfq_wait_s": 0.2, "rfq_poll_s": 0.05}


class Crash(BaseException):
    """The process dies here."""


async def test_over_the_depth_of_the_book_a_maker_is_asked(tmp_path: Path) -> None:
    async with derive_world(tmp_path, rfq=True, rfq_wait_s=0.2, rfq_poll_s=0.05) as world:
        world.exchange.maker_prices[f"{PUT}:sell"] = Decimal("42.5")
        quote = (await world.quotes(size=40.0))[PUT]
        assert quote.size == 40.0
        assert "estimate" in quote.because
        outcome = await world.do(world.leg(Side.BUY, size=40.0, limit_usd=1_800.0))
        assert outcome.status is LegStatus.FILLED, outcome.because
        assert outcome.filled_size == 40.0
        assert outcome.premium_usd == pytest.approx(40 * 42.5 + 0.5 + 40 * 0.9)
        assert world.server.count("private/order") == 0
        outcome = await world.do(world.leg(Side.SELL, size=40.0, limit_usd=1_600.0))
        assert outcome.status is LegStatus.REJECTED  # no maker bids, the book brings too little
        world.exchange.maker_prices[f"{PUT}:buy"] = Decimal("36")
        outcome = await world.do(world.leg(Side.SELL, size=40.0, limit_usd=1_300.0))
        assert (outcome.status, outcome.filled_size) == (LegStatus.FILLED, 40.0)
        assert outcome.premium_usd == pytest.approx(40 * 36 - 0.5 - 40 * 0.9)


async def test_makers_over_the_limit_leave_the_book(tmp_path: Path) -> None:
    async with derive_world(tmp_path, rfq=True, rfq_wait_s=0.1, rfq_poll_s=0.05) as world:
        world.exchange.maker_prices[f"{PUT}:sell"] = Decimal("60")
        outcome = await world.do(world.leg(Side.BUY, size=40.0, limit_usd=1_900.0))
        assert (outcome.status, outcome.filled_size) == (LegStatus.PARTIAL, 15.0)
        assert world.server.count("private/execute_quote") == 0


async def test_a_quote_that_was_executed_without_an_answer_is_found(tmp_path: Path) -> None:
    async with derive_world(tmp_path, rfq=True, rfq_wait_s=0.2, rfq_poll_s=0.05) as world:
        world.exchange.maker_prices[f"{PUT}:sell"] = Decimal("42.5")
        world.server.faults["private/execute_quote"] = Fault(after=True)
        leg = world.leg(Side.BUY, size=40.0, limit_usd=1_900.0)
        assert (await world.do(leg)).status is LegStatus.UNKNOWN
        world.restart()
        found = await world.find_out(leg)
        assert (found.status, found.filled_size) == (LegStatus.FILLED, 40.0)
        assert found.premium_usd == pytest.approx(40 * 42.5 + 0.5 + 36)
        assert world.server.count("private/execute_quote") == 1


@pytest.mark.parametrize("state", ["reserved", "signed", "sent", "mined", "final"])
async def test_a_crash_while_a_quote_is_taken_loses_nothing(
    tmp_path: Path, state: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with derive_world(tmp_path, rfq=True, rfq_wait_s=0.2, rfq_poll_s=0.05) as world:
        world.exchange.maker_prices[f"{PUT}:sell"] = Decimal("42.5")
        append = world.journal.append_intent

        def crashing(event: Any) -> None:
            append(event)
            if event.state.value == state:
                raise Crash

        leg = world.leg(Side.BUY, size=40.0, limit_usd=1_900.0)
        monkeypatch.setattr(world.journal, "append_intent", crashing)
        with pytest.raises(Crash):
            await world.do(leg)
        monkeypatch.setattr(world.journal, "append_intent", append)
        world.restart()
        world.exchange.now_s += 100.0
        found = await world.find_out(leg)
        reached = state in ("mined", "final")
        assert found.status is (LegStatus.FILLED if reached else LegStatus.REJECTED)
        assert found.filled_size == float(world.exchange.positions.get(PUT, [Decimal(0)])[0])


@pytest.mark.parametrize(
    "change",
    [
        {"direction": "buy"},
        {"status": "expired"},
        {"rfq_id": "another"},
        {"legs": [{"instrument_name": CALL, "direction": "buy", "amount": "40", "price": "1"}]},
        {"legs": [{"instrument_name": PUT, "direction": "sell", "amount": "40", "price": "1"}]},
        {"legs": [{"instrument_name": PUT, "direction": "buy", "amount": "4000", "price": "1"}]},
        {"legs": [{"instrument_name": PUT, "direction": "buy", "amount": "40", "price": "0"}]},
        {"legs": [{"instrument_name": PUT, "direction": "buy", "amount": "40", "price": "1.0000000000001"}]},
        {"legs": []},
    ],
)
async def test_a_quote_for_anything_else_is_not_taken(tmp_path: Path, change: dict[str, Any]) -> None:
    async with derive_world(tmp_path, **ASKING) as world:
        world.exchange.maker_prices[f"{PUT}:sell"] = Decimal("42.5")

        def other(page: Any) -> Any:
            return {**page, "quotes": [{**row, **change} for row in page["quotes"]]}

        world.server.faults["private/poll_quotes"] = Fault(tamper=other)
        outcome = await world.do(world.leg(Side.BUY, size=40.0, limit_usd=1_900.0))
        assert (outcome.status, outcome.filled_size) == (LegStatus.PARTIAL, 15.0)  # of the book
        assert world.server.count(EXECUTE) == 0


@pytest.mark.parametrize("method", ["private/send_rfq", "private/poll_quotes"])
@pytest.mark.parametrize(
    "fault", [Fault(before=True), Fault(error=(11111, "RFQ disabled")), Fault(body=b"?")]
)
async def test_without_an_answer_of_makers_the_book_is_left(
    tmp_path: Path, method: str, fault: Fault
) -> None:
    async with derive_world(tmp_path, **ASKING) as world:
        world.exchange.maker_prices[f"{PUT}:sell"] = Decimal("42.5")
        world.server.faults[method] = fault
        outcome = await world.do(world.leg(Side.BUY, size=40.0, limit_usd=1_900.0))
        assert (outcome.status, outcome.filled_size) == (LegStatus.PARTIAL, 15.0)


async def test_the_best_of_several_makers_is_taken(tmp_path: Path) -> None:
    async with derive_world(tmp_path, **ASKING) as world:
        world.exchange.maker_prices[f"{PUT}:sell"] = Decimal("42.5")

        def dearer(page: Any) -> Any:
            more = [_at(row, "44") for row in page["quotes"]]
            return {**page, "quotes": [*more, *page["quotes"]]}

        world.server.faults["private/poll_quotes"] = Fault(tamper=dearer)
        outcome = await world.do(world.leg(Side.BUY, size=40.0, limit_usd=1_900.0))
        assert outcome.status is LegStatus.FILLED, outcome.because
        assert outcome.premium_usd == pytest.approx(40 * 42.5 + 0.5 + 36)


def _at(row: Any, price: str) -> Any:
    return {**row, "quote_id": "dear", "legs": [{**row["legs"][0], "price": price}]}


async def test_what_fits_the_book_asks_no_maker(tmp_path: Path) -> None:
    async with derive_world(tmp_path, **ASKING) as world:
        await world.do(world.leg(Side.BUY, size=2.0, limit_usd=120.0))
        assert world.server.count("private/send_rfq") == 0


async def _taken(world: World) -> None:
    world.exchange.maker_prices[f"{PUT}:sell"] = Decimal("42.5")
    await world.do(world.leg(Side.BUY, size=40.0, limit_usd=1_900.0))


@pytest.mark.parametrize(
    ("change", "match"),
    [({"trade_price": "60"}, "limit"), ({"trade_fee": "500"}, "fees"), ({"trade_amount": "80"}, "contracts")],
)
async def test_a_quote_executed_worse_than_signed_stops_the_bot(
    tmp_path: Path, change: dict[str, str], match: str
) -> None:
    async with derive_world(tmp_path, **ASKING) as world:

        def lie(page: Any) -> Any:
            return {**page, "trades": [{**row, **change} for row in page["trades"]]}

        world.server.faults["private/get_trade_history"] = Fault(tamper=lie)
        with pytest.raises(InvariantError, match=match):
            await _taken(world)


async def test_a_quote_whose_trades_are_not_listed_yet_is_booked_as_signed(tmp_path: Path) -> None:
    async with derive_world(tmp_path, **ASKING) as world:
        world.server.faults["private/get_trade_history"] = Fault(tamper=lambda page: {**page, "trades": []})
        world.exchange.maker_prices[f"{PUT}:sell"] = Decimal("42.5")
        outcome = await world.do(world.leg(Side.BUY, size=40.0, limit_usd=1_900.0))
        assert outcome.premium_usd == pytest.approx(40 * 42.5 + 0.5 + 36)
