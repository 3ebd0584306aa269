"""A person's orders and pause reach a running bot through files, each order once (REL-L2, REL-O3)."""

import json
import stat
from dataclasses import replace
from pathlib import Path

import pytest
from pipeline_builders import FakeVenue, ListJournal, decide_once, filled, leg, moment, position

from bot.chain.pause import Pause, end_pause, write_pause
from bot.errors import ConfigError, OutcomeUnknown
from bot.model.hedge import Layer, LegStatus, Side
from bot.pipeline.desk import Desk, Request
from bot.pipeline.loop import Pipeline
from bot.settings import PolicySettings, load_policy

BUY = replace(leg(11), key="manual.1-ETH.USDC-MID-0")
SALE = replace(leg(12, side=Side.SELL, position_id="p0"), key="manual.1-ETH.USDC-MID-1", only_after=BUY.key)
ROLL = Request(legs=(BUY, SALE), by="someone")


def pipeline(tmp_path: Path, journal, venue, plans=None, seen=None) -> Pipeline:
    return Pipeline(
        mode="test",
        policy=load_policy(PolicySettings()),
        decide=decide_once(plans or {}, seen if seen is not None else []),
        venues={"fake": venue},
        journal=journal,
        desk=Desk(tmp_path, mode="test"),
    )


async def test_an_order_left_by_a_person_is_done_at_the_next_step_and_its_file_goes(tmp_path: Path):
    journal, venue = ListJournal(), FakeVenue()
    loop = pipeline(tmp_path, journal, venue)
    path = Desk(tmp_path, mode="test").leave(ROLL)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    record = await loop.step(moment(1))
    assert [item.leg.key for item in record.outcomes] == [BUY.key, SALE.key]
    assert not path.exists()
    assert (await loop.step(moment(2))).outcomes == ()


async def test_the_plan_of_that_step_waits_for_the_next(tmp_path: Path):
    journal, venue = ListJournal(), FakeVenue()
    plans = {moment(1).now_s: (leg(1),), moment(2).now_s: (leg(2),)}
    loop = pipeline(tmp_path, journal, venue, plans)
    Desk(tmp_path, mode="test").leave(ROLL)
    assert [item.leg.key for item in (await loop.step(moment(1))).outcomes] == [BUY.key, SALE.key]
    assert [item.leg.key for item in (await loop.step(moment(2))).outcomes] == ["plan-2"]


async def test_a_restart_goes_on_with_the_leg_that_was_not_begun(tmp_path: Path):
    """Killed after the purchase of a roll: the sale follows, the purchase is not repeated."""
    journal, venue = ListJournal(), FakeVenue()
    desk = Desk(tmp_path, mode="test")
    desk.leave(ROLL)
    journal.open_leg(BUY, at_s=0.0)
    journal.close_leg(filled(BUY))
    record = await pipeline(tmp_path, journal, venue).step(moment(1))
    assert [item.leg.key for item in record.outcomes] == [SALE.key]
    assert desk.requests() == ()


async def test_a_sale_whose_purchase_was_refused_before_a_restart_is_not_made(tmp_path: Path):
    journal, venue = ListJournal(), FakeVenue()
    desk = Desk(tmp_path, mode="test")
    desk.leave(ROLL)
    journal.open_leg(BUY, at_s=0.0)
    journal.close_leg(replace(filled(BUY), status=LegStatus.REJECTED, filled_size=0.0))
    assert (await pipeline(tmp_path, journal, venue).step(moment(1))).outcomes == ()
    assert desk.requests() == ()


async def test_an_order_waits_while_a_leg_of_its_layer_is_open(tmp_path: Path):
    journal = ListJournal()
    venue = FakeVenue(fail_execute=OutcomeUnknown("buy", "plan-1"))
    loop = pipeline(tmp_path, journal, venue, {moment(1).now_s: (leg(),)})
    await loop.step(moment(1))
    desk = Desk(tmp_path, mode="test")
    desk.leave(ROLL)
    venue.fail_execute = None
    await loop.step(moment(2))
    assert len(desk.requests()) == 1
    venue.truth["plan-1"] = filled(leg())
    assert [item.leg.key for item in (await loop.step(moment(3))).outcomes] == ["plan-1", BUY.key, SALE.key]
    assert desk.requests() == ()


async def test_an_order_whose_end_is_unknown_keeps_its_file_and_is_reconciled(tmp_path: Path):
    journal, venue = ListJournal(), FakeVenue(fail_execute=OutcomeUnknown("buy", BUY.key))
    loop = pipeline(tmp_path, journal, venue)
    desk = Desk(tmp_path, mode="test")
    desk.leave(replace(ROLL, legs=(BUY,)))
    await loop.step(moment(1))
    assert len(desk.requests()) == 1
    venue.truth[BUY.key] = filled(BUY)
    record = await loop.step(moment(2))
    assert [item.status for item in record.outcomes] == [LegStatus.FILLED]
    assert venue.asked.count(f"execute {BUY.key}") == 1
    assert desk.requests() == ()


@pytest.mark.parametrize(
    "text", ["", "{", "[]", '{"by": "x"}', '{"by": "x", "legs": ["{}"]}', "[" * 90_000, "\x00"], ids=repr
)
async def test_a_file_that_cannot_be_read_stops_opening_and_is_kept(tmp_path: Path, text: str):
    seen: list = []
    loop = pipeline(tmp_path, ListJournal(), FakeVenue(), seen=seen)
    folder = tmp_path / "orders-test"
    folder.mkdir()
    (folder / "a.json").write_text(text)
    await loop.step(moment(1))
    assert "a.json cannot be read" in seen[-1].holds[0]
    assert (folder / "a.json").read_text() == text


async def test_a_file_under_way_is_not_an_order_yet(tmp_path: Path):
    folder = tmp_path / "orders-test"
    folder.mkdir()
    (folder / ".tmp").write_text("{")
    assert Desk(tmp_path, mode="test").requests() == ()


async def test_a_pause_is_a_hold_until_it_is_ended_and_closing_goes_on(tmp_path: Path):
    seen: list = []
    loop = pipeline(tmp_path, ListJournal(), FakeVenue(positions=(position(),)), seen=seen)
    write_pause(tmp_path, Pause(who="someone", at_s=0.0, why="a look"))
    sale = replace(SALE, only_after="", position_id="p1")
    Desk(tmp_path, mode="test").leave(Request(legs=(sale,), by="someone"))
    record = await loop.step(moment(1))
    assert "paused by someone" in seen[-1].holds[0]
    assert "a look" in seen[-1].holds[0]
    assert [item.leg.key for item in record.outcomes] == [sale.key]
    end_pause(tmp_path)
    await loop.step(moment(2))
    assert seen[-1].holds == ()


def test_an_order_that_cannot_be_left_is_refused(tmp_path: Path):
    (tmp_path / "orders-test").write_text("a file where the folder should be")
    with pytest.raises(ConfigError, match="cannot be left"):
        Desk(tmp_path, mode="test").leave(ROLL)


def test_an_order_is_read_back_as_it_was_left(tmp_path: Path):
    desk = Desk(tmp_path, mode="test")
    path = desk.leave(ROLL)
    assert desk.requests() == ((path, ROLL),)
    assert json.loads(path.read_text())["by"] == "someone"
    assert Layer.MID in {item.layer for item in ROLL.legs}


@pytest.mark.parametrize("status", [LegStatus.PROPOSED, LegStatus.WAITING])
async def test_what_others_must_act_on_stays_open_and_is_told_once(tmp_path: Path, status: LegStatus):
    journal, venue = ListJournal(), FakeVenue()
    pending = replace(filled(leg()), status=status, filled_size=0.0, premium_usd=0.0, because="one of two")
    venue.answers["plan-1"] = pending
    seen: list = []
    loop = pipeline(tmp_path, journal, venue, {moment(1).now_s: (leg(), leg(2))}, seen)
    record = await loop.step(moment(1))
    assert [item.status for item in record.outcomes] == [status]  # and nothing was sent after it
    venue.truth["plan-1"] = pending
    assert [item.status for item in (await loop.step(moment(2))).outcomes] == [status]
    assert (await loop.step(moment(3))).outcomes == ()
    assert [spend.usd for spend in seen[-1].spends] == [110.0]
    venue.truth["plan-1"] = replace(pending, because="two of two")
    assert [item.because for item in (await loop.step(moment(4))).outcomes] == ["two of two"]
    venue.truth["plan-1"] = filled(leg())
    assert [item.status for item in (await loop.step(moment(5))).outcomes] == [LegStatus.FILLED]
    assert journal.open_legs() == ()
