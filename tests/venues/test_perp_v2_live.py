"""A perpetual's whole way: engine, loop, journal, signer, transactions, real contracts (R27, R9, R10)."""

from pathlib import Path

import numpy as np
import pytest
from engine.factory import GROUP, calm_columns, exposure, set_last

from bot.chain.reader import JsonRpcReader
from bot.chain.rpc import Rpc
from bot.devnet.deployment import CHAIN_ID
from bot.devnet.moves.wire import calldata
from bot.devnet.node import Devnet
from bot.engine.group import read_group
from bot.engine.limits import spot_grid
from bot.engine.perpetual import perpetual_gains, stress_price
from bot.engine.step import decide as engine_decide
from bot.model.hedge import LegStatus
from bot.model.market import Column, Columns, Metric, SeriesKey
from bot.model.perpetual import PerpetualAction
from bot.model.record import EngineState, GroupState
from bot.model.tier import Tier
from bot.pipeline.loop import Moment, Pipeline
from bot.settings import named_policy
from bot.venues.perp_v2 import perp_v2_venue

from .mortal import Killed, MortalAccount
from .perp_world import TERMS, PerpWorld, make_perp_world, perp_contracts

pytestmark = pytest.mark.devnet
VALUE_USD = 100_000.0
POLICY = named_policy("steward")
POINTS = [
    (purpose, after)
    for purpose in ("approve-trade", "deposit", "trade", "withdraw")
    for after in (False, True)
]


class Process(MortalAccount):
    """One run of the program with a perpetual."""

    def __init__(self, world: PerpWorld, path: Path, die_at: tuple[str, bool] | None = None) -> None:
        watching = perp_v2_venue(reader=world.reader, contracts=perp_contracts(world.at))
        super().__init__(world.rpc, path, watching, die_at)
        self.world = world
        venue = perp_v2_venue(reader=world.reader, contracts=perp_contracts(world.at), custody=self)
        self.tier, self.frames = Tier.SEVERE, []
        self.pipeline = Pipeline(
            mode="test",
            policy=POLICY,
            decide=self.decide,
            venues={},
            journal=self.journal,
            perpetual_venues={venue.name: venue},
        )

    def decide(self, policy, state, frame):
        """The engine, at the tier that the test wants."""
        self.frames.append(frame)
        held = GroupState(tier=self.tier, last_needed_s=frame.now_s)
        return engine_decide(policy, EngineState(groups={GROUP: held}), frame)

    async def step(self):
        """One step at the newest block."""
        head = await self.world.reader.head()
        mark = await self.world.mark()
        columns = calm_columns(float(head.timestamp_s), spot=mark)
        for key in [key for key in columns if key.metric is Metric.PRICE_USD and key.subject == "ETH"]:
            columns[key] = set_last(columns[key], mark, hours=1)
        usdc = SeriesKey(Metric.PRICE_USD, "USDC", "feed")
        columns[usdc] = Column(times_s=np.array([head.timestamp_s - 1.0]), values=np.array([1.0]))
        moment = Moment(
            now_s=float(head.timestamp_s),
            blocks={CHAIN_ID: head},
            columns=Columns(series=columns),
            exposures=(exposure(VALUE_USD, spot=mark),),
        )
        return await self.pipeline.step(moment)


@pytest.fixture
async def world(devnet: Devnet, rpc: Rpc) -> PerpWorld:
    at = devnet.deployment
    reader = await JsonRpcReader.connect(rpc, chain_id=CHAIN_ID, multicall3=at.multicall3)
    return make_perp_world(rpc, reader, at)


async def test_the_engine_opens_resets_and_closes_a_short_within_its_limits(world: PerpWorld, tmp_path: Path):
    process = Process(world, tmp_path / "journal.db")
    before = await world.usdc()
    record = await process.step()
    (opened,) = record.perpetuals
    assert opened.status is LegStatus.FILLED, opened.because
    mark = await world.mark()
    delta = VALUE_USD / 2.0 / mark
    assert -opened.filled_size == pytest.approx(0.40 * delta, rel=0.02)  # SEVERE's share (R12)
    await world.wait(30)
    record = await process.step()
    frame = process.frames[-1]
    (held,) = frame.perpetuals
    assert held.size == opened.filled_size
    assert record.perpetuals == ()  # inside its band: nothing is changed
    group = read_group(POLICY, frame, GROUP)
    # R27: liquidation lies beyond the stress price; R9: notional and margin within the policy's shares.
    assert held.liquidation_usd >= stress_price(POLICY, group, mark) * 0.99
    assert -held.size * mark <= POLICY.perpetual.max_notional * VALUE_USD
    assert held.margin_usd <= POLICY.perpetual.max_margin * VALUE_USD
    # R10: at no price does it gain more than the position loses, tolerance and one lot left out.
    spots = spot_grid(POLICY.sizing, group.spot_usd)
    gains = np.maximum(perpetual_gains(group, spots, short=-held.size), 0.0)
    losses = np.maximum(VALUE_USD * (1.0 - np.sqrt(spots / group.spot_usd)), 0.0)
    assert np.all(gains <= 1.05 * losses + 0.01 * np.abs(spots - group.spot_usd) + 1e-6)
    process.tier = Tier.CALM
    await world.wait(30)
    record = await process.step()
    (closed,) = record.perpetuals
    assert (closed.order.action, closed.status) == (PerpetualAction.REDUCE, LegStatus.FILLED), closed.because
    assert await world.venue.held_perpetuals(await world.view()) == ()
    assert (await world.in_vault(), await world.allowance()) == (pytest.approx(0.0, abs=1e-6), 0)
    await world.wait(30)
    record = await process.step()
    lost = before - await world.usdc()
    gas_usd = opened.gas_usd + closed.gas_usd
    assert record.cash_flow_usd == pytest.approx(-lost - gas_usd, abs=0.02)
    assert record.hedge_value_usd == 0.0
    process.journal.verify()
    process.journal.close()


@pytest.mark.parametrize(("purpose", "after"), POINTS)
async def test_killed_at_any_point_the_next_run_ends_with_one_position_or_none(
    world: PerpWorld, tmp_path: Path, purpose: str, after: bool
):
    """REL-K: the process dies at a transaction; what the journal then says is what the chain holds."""
    path = tmp_path / "journal.db"
    first = Process(world, path)
    if purpose == "withdraw":
        await first.step()
        first.tier = Tier.CALM
        await world.wait(30)
    first.die_at = (purpose, after)
    with pytest.raises(Killed):
        await first.step()
    first.journal.close()
    await world.wait(30)
    second = Process(world, path)
    second.tier = Tier.CALM if purpose == "withdraw" else Tier.SEVERE
    record = await second.step()
    assert second.journal.open_perpetuals() == ()
    assert [item.reconciled for item in record.perpetuals][:1] == [True]
    await world.wait(30)
    record = await second.step()
    assert second.frames[-1].holds == ()
    booked = second.pipeline.perpetuals.book.size_of(TERMS.perpetual)
    held = await world.venue.held_perpetuals(await world.view())
    assert sum(item.size for item in held) == pytest.approx(booked)
    assert len(held) == (0 if purpose == "withdraw" else 1)  # and no second one was opened
    assert await world.allowance() == 0
    second.journal.verify()
    second.journal.close()


async def test_a_position_that_was_liquidated_is_booked_and_hedged_anew(world: PerpWorld, tmp_path: Path):
    """The venue's events prove it: the journal closes what was taken, and nothing is a hold any more."""
    process = Process(world, tmp_path / "journal.db")
    record = await process.step()
    (opened,) = record.perpetuals
    await world.fund_trader()
    liquidation = (await world.position()).liquidation_usd
    await world.move_market(liquidation * 1.02)
    await world.move_index(liquidation * 1.02)
    await world.wait(3_600)
    size = -round(-opened.filled_size * 1e18)
    call = calldata("liquidate(address,address,int256)", world.at.user, world.base, size)
    await world.send(world.at.trader, world.at.perp_clearing_house, bytes.fromhex(call[2:]))
    process.tier = Tier.CALM
    await world.wait(30)
    record = await process.step()
    ended = [item for item in record.perpetuals if item.order.action is PerpetualAction.ENDED]
    left = await world.venue.held_perpetuals(await world.view())
    assert [item.status for item in ended] == [LegStatus.FILLED]
    assert ended[0].fee_usd > 0.0
    assert "liquidated by" in ended[0].because
    assert process.frames[-1].holds == ()
    assert process.pipeline.perpetuals.book.size_of(TERMS.perpetual) == pytest.approx(
        sum(item.size for item in left), abs=1e-9
    )
    process.journal.close()
