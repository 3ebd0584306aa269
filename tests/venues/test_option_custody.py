"""Opyn and Hegic held by a Safe: every order is one batch, and what it did is read from its events alone."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from safe_builders import OWNERS, make_safe

from bot.chain.rpc import Rpc
from bot.devnet.deploy_opyn import DISPUTE_S, LOCKING_S, push_expiry_price
from bot.devnet.node import Devnet
from bot.model.hedge import Side
from bot.ports import Proposer
from bot.venues.hegic import hegic_venue
from bot.venues.opyn import opyn_venue

from . import hegic_world, opyn_world
from .conftest import buy_leg
from .option_world import filled
from .safe_batch import SignedAtOnce

pytestmark = pytest.mark.devnet


@pytest.fixture
async def custody(devnet: Devnet, rpc: Rpc, cache_dir: Path) -> SignedAtOnce:
    found = SignedAtOnce(await make_safe(rpc, cache_dir, devnet.deployment))
    assert isinstance(found, Proposer)
    assert len(OWNERS) == 3
    return found


async def test_an_otoken_is_bought_sold_and_redeemed_by_a_safe(
    devnet: Devnet, rpc: Rpc, cache_dir: Path, custody: SignedAtOnce
):
    world: Any = await opyn_world.make_world(devnet, rpc, cache_dir)
    contracts = opyn_world.contracts_of(world.opyn, world.at)
    world = replace(world, venue=opyn_venue(reader=world.reader, contracts=contracts, custody=custody))
    safes, usdc = custody.safes, world.at.usdc
    had = await safes.balance(usdc)
    opened = await world.bought()
    assert opened.premium_usd == (had - await safes.balance(usdc)) / 1e6
    assert await safes.balance(world.put.address) == 2 * opyn_world.ONE
    assert await safes.allowance(usdc, world.at.v3_router) == 0  # what the buffer left was taken back
    had = await safes.balance(usdc)
    sold = filled(await world.close(opened, Side.SELL, size=0.5, limit_usd=1.0, key="plan/1"))
    assert sold.premium_usd == (await safes.balance(usdc) - had) / 1e6
    assert await safes.allowance(world.put.address, world.at.v3_router) == 0
    number = await world.expire(2400.0)
    await world.bench.set_time(world.put.series.expiry_s + LOCKING_S + 1)
    await push_expiry_price(world.opyn, expiry_s=world.put.series.expiry_s, round_id=number)
    await world.bench.set_time(await world.bench.now_s() + DISPUTE_S + 1)
    redeemed = filled(await world.close(opened, Side.SETTLE, size=1.5, key="plan/2"))
    assert (redeemed.premium_usd, redeemed.filled_size) == (450.0, 1.5)
    assert await world.held() == ()
    buy, sale = (("approve-trade", purpose, "revoke-trade") for purpose in ("open", "close"))
    assert custody.proposed == [buy, sale, ("redeem",)]


async def test_a_hegic_option_is_bought_and_exercised_by_a_safe(
    devnet: Devnet, rpc: Rpc, cache_dir: Path, custody: SignedAtOnce
):
    """Its option is an ERC-721 that the Safe takes by its fallback handler."""
    world: Any = await hegic_world.make_world(devnet, rpc, cache_dir)
    contracts = hegic_world.contracts_of(world.hegic, world.at.usdc)
    world = replace(world, venue=hegic_venue(reader=world.reader, contracts=contracts, custody=custody))
    safes, usdc = custody.safes, world.at.usdc
    had = await safes.balance(usdc)
    quote = await world.quote()
    opened = filled(await world.venue.execute(buy_leg(quote), view=await world.view()))
    assert opened.premium_usd == (had - await safes.balance(usdc)) / 1e6 == quote.premium_usd
    assert await world.hegic.manager.call("ownerOf", 0) == custody.address.lower()
    assert await safes.allowance(usdc, world.hegic.treasury.address) == 0
    await world.publish(2500.0)
    had = await safes.balance(usdc)
    exercised = filled(await world.settle(opened))
    assert exercised.premium_usd == (await safes.balance(usdc) - had) / 1e6 == 880.0
    assert custody.proposed == [("approve-trade", "open", "revoke-trade"), ("exercise",)]
