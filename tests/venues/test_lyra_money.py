"""LyraVenue over the real transaction manager, signer and journal: what a leg does survives the process."""

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest

from bot.model.hedge import HedgeLeg, Layer, LegOutcome, LegStatus, Side
from bot.ports import MarketView
from bot.venues.lyra import lyra_venue

from .conftest import World, buy_leg
from .mortal import Killed, MortalAccount

pytestmark = pytest.mark.devnet


class Process(MortalAccount):
    """One run of the program with Lyra."""

    def __init__(self, world: World, path: Path, die_at: tuple[str, bool] | None = None) -> None:
        watching = lyra_venue(reader=world.reader, contracts=world.contracts, swap=world.swap)
        super().__init__(world.rpc, path, watching, die_at)
        assert self.address == world.at.user
        self.venue = lyra_venue(reader=world.reader, contracts=world.contracts, swap=world.swap, custody=self)

    async def run(self, leg: HedgeLeg, *, view: MarketView) -> LegOutcome:
        """What the loop does with a leg."""
        self.journal.open_leg(leg, at_s=view.now_s)
        outcome = await self.venue.execute(leg, view=view)
        self.journal.close_leg(outcome)
        return outcome


async def in_time(world: World, leg: HedgeLeg) -> HedgeLeg:
    return replace(leg, valid_until_s=(await world.view()).now_s + 600.0)


async def test_buy_and_sell_under_the_signers_rules(world: World, tmp_path: Path):
    process = Process(world, tmp_path / "journal.db")
    leg = await in_time(world, buy_leg(await world.put_near_delta(0.25, size=1.0)))
    bought = await process.run(leg, view=await world.view())
    assert bought.status is LegStatus.FILLED, bought.because
    assert bought.gas_usd > 0.0
    sale = replace(leg, key="plan/1", side=Side.SELL, limit_usd=0.0, position_id=bought.position_id)
    sold = await process.run(sale, view=await world.view())
    assert sold.status is LegStatus.FILLED, sold.because
    assert await process.venue.held(await world.view()) == ()
    assert await world.balance(world.at.susd) == 0
    assert await world.allowances() == (0, 0, 0, 0)


async def test_settle_under_the_signers_rules(world: World, tmp_path: Path):
    process = Process(world, tmp_path / "journal.db")
    leg = await in_time(world, buy_leg(await world.put_near_delta(0.25, size=1.0)))
    bought = await process.run(leg, view=await world.view())
    await world.warp(leg.instrument.expiry_s + 60)
    await world.set_spot(leg.instrument.strike_usd - 100.0)
    due = replace(leg, key="plan/1", side=Side.SETTLE, limit_usd=0.0, position_id=bought.position_id)
    settled = await process.run(await in_time(world, due), view=await world.view())
    assert settled.status is LegStatus.FILLED, settled.because
    assert settled.premium_usd == pytest.approx(100.0)
    process.journal.close()


POINTS = [
    (purpose, after)
    for purpose in ("approve-swap-in", "swap-in", "approve-trade", "open", "revoke")
    for after in (False, True)
]


@pytest.mark.parametrize(("purpose", "after"), POINTS)
async def test_killed_while_buying(world: World, tmp_path: Path, purpose: str, after: bool):
    """K1-K14: a new process finds out by the journal and the chain; nothing is bought twice or lost."""
    path = tmp_path / "journal.db"
    leg = await in_time(world, buy_leg(await world.put_near_delta(0.25, size=1.0)))
    first = Process(world, path, die_at=(purpose, after))
    with pytest.raises(Killed):
        await first.run(leg, view=await world.view())
    first.journal.close()
    second = Process(world, path)
    (found,) = second.journal.open_legs()
    outcome = await second.venue.reconcile(found, view=await world.view())
    opened = (purpose, after) in (("open", True), ("revoke", False), ("revoke", True))
    assert outcome.status is (LegStatus.FILLED if opened else LegStatus.REJECTED), outcome.because
    held = await second.venue.held(await world.view())
    assert [item.id for item in held] == ([outcome.position_id] if opened else [])
    assert await world.allowances() == (0, 0, 0, 0)
    assert (await second.venue.loose_settlement_usd(await world.view()) > 0.0) == (
        POINTS.index((purpose, after)) >= POINTS.index(("swap-in", True))
    )
    second.journal.close_leg(outcome)
    assert second.journal.open_legs() == ()
    again = await second.run(replace(leg, key="plan/2"), view=await world.view())
    assert again.status is LegStatus.FILLED, again.because  # and the account can trade on
    second.journal.close()


@pytest.mark.parametrize(
    ("purpose", "after", "done"),
    [
        ("close", False, False),
        ("close", True, True),
        ("approve-swap-out", True, True),
        ("swap-out", True, True),
    ],
)
async def test_killed_while_selling(world: World, tmp_path: Path, purpose: str, after: bool, done: bool):
    path = tmp_path / "journal.db"
    leg = await in_time(world, buy_leg(await world.put_near_delta(0.25, size=1.0)))
    first = Process(world, path)
    bought = await first.run(leg, view=await world.view())
    sale = replace(leg, key="plan/1", side=Side.SELL, limit_usd=0.0, position_id=bought.position_id)
    first.die_at = (purpose, after)
    with pytest.raises(Killed):
        await first.run(sale, view=await world.view())
    first.journal.close()
    second = Process(world, path)
    outcome = await second.venue.reconcile(sale, view=await world.view())
    assert outcome.status is (LegStatus.FILLED if done else LegStatus.REJECTED)
    assert (await second.venue.held(await world.view()) == ()) == done
    assert await world.allowances() == (0, 0, 0, 0)
    assert outcome.premium_usd > 0.0 or not done
    second.journal.close()


async def test_two_legs_at_once_are_sent_one_after_the_other(world: World, tmp_path: Path):
    """Allowances of one leg must not be taken for another's: the loop runs legs in turn, and so do we."""
    process = Process(world, tmp_path / "journal.db")
    quote = await world.put_near_delta(0.25, size=1.0)
    legs = [
        await in_time(world, buy_leg(quote, key=f"plan/{layer}", limit=1.2, layer=layer))
        for layer in (Layer.MID, Layer.TAIL)
    ]
    view = await world.view()
    outcomes = await asyncio.gather(*(process.run(leg, view=view) for leg in legs))
    assert {item.status for item in outcomes} == {LegStatus.FILLED}, [item.because for item in outcomes]
    assert len(await process.venue.held(await world.view())) == 2
    assert await world.allowances() == (0, 0, 0, 0)
