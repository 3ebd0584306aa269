"""How a position on Perp v2 ended without an order of ours: proved by the contracts' own events (REL-I8)."""

import pytest

from bot.chain.abi import Abi
from bot.chain.reader import JsonRpcReader
from bot.chain.rpc import Rpc
from bot.devnet.deployment import CHAIN_ID
from bot.devnet.moves.wire import calldata
from bot.devnet.node import Devnet

from .perp_world import TERMS, PerpWorld, make_perp_world, shorted

pytestmark = pytest.mark.devnet


@pytest.fixture
async def world(devnet: Devnet, rpc: Rpc) -> PerpWorld:
    at = devnet.deployment
    reader = await JsonRpcReader.connect(rpc, chain_id=CHAIN_ID, multicall3=at.multicall3)
    return make_perp_world(rpc, reader, at)


async def test_a_liquidation_is_proved_by_the_venues_events(world: PerpWorld):
    """Somebody takes the position over: it is not held any more, and events say at which price (REL-I8)."""
    opened = await shorted(world, margin_usd=3_500.0)
    await world.fund_trader()
    await world.move_market(3_170.0)
    await world.move_index(3_170.0)
    await world.wait(3_600)
    house, base = world.at.perp_clearing_house, world.base
    since = opened.block_number
    assert await world.venue.ended(TERMS.perpetual, -10.0, view=await world.view(), since_block=since) is None
    data = "liquidate(address,address,int256)"
    call = calldata(data, world.at.user, base, -(10 * 10**18))
    await world.send(world.at.trader, house, bytes.fromhex(call[2:]))
    left = await world.venue.held_perpetuals(await world.view())
    taken = -10.0 - sum(item.size for item in left)
    assert taken < 0.0
    end = await world.venue.ended(TERMS.perpetual, taken, view=await world.view(), since_block=since)
    assert end is not None
    assert end.size == taken
    assert end.price_usd == pytest.approx(await world.mark(), rel=0.05)
    assert end.fee_usd > 0.0
    assert world.at.trader.lower() in end.because
    other = await world.venue.ended(TERMS.perpetual, taken / 2, view=await world.view(), since_block=since)
    assert other is None  # another size is no proof


async def test_what_a_person_closed_is_proved_by_events_too(world: PerpWorld):
    opened = await shorted(world)
    since = opened.block_number
    house = Abi.load("ClearingHouse")
    params = (world.base, True, True, 2 * 10**18, 1, 2**40, 0, b"\0" * 32)  # 2 more, then all of it
    await world.send(world.at.user, world.at.perp_clearing_house, house.encode("openPosition", params))
    view = await world.view()
    assert await world.venue.ended(TERMS.perpetual, -10.0, view=view, since_block=since) is None
    data = house.encode("closePosition", (world.base, 0, 2**126, 2**40, b"\0" * 32))
    await world.send(world.at.user, world.at.perp_clearing_house, data)
    view = await world.view()
    end = await world.venue.ended(TERMS.perpetual, -10.0, view=view, since_block=since)
    assert end is not None
    assert (end.size, end.because) == (-10.0, "traded by hand")
    assert end.price_usd == pytest.approx(await world.mark(), rel=0.01)
    assert end.fee_usd > 0.0
