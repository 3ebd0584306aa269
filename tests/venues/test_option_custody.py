"""Opyn and Hegic held by a Safe: every order is one batch, and what it did is read from its events alone."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
from safe_builders import OWNERS, SafeWorld, make_safe

from bot.chain.address import checksummed
from bot.chain.rpc import Rpc
from bot.chain.safe_batch import InnerCall, batch_tx
from bot.devnet.deploy_opyn import DISPUTE_S, LOCKING_S, push_expiry_price
from bot.devnet.node import Devnet
from bot.model.hedge import LegOutcome, LegStatus, Side
from bot.model.intent import Receipt, TxRequest
from bot.ports import Proposer
from bot.venues.hegic import hegic_venue
from bot.venues.opyn import opyn_venue

from . import hegic_world, opyn_world
from .conftest import buy_leg

pytestmark = pytest.mark.devnet


@dataclass
class SignedAtOnce:
    """ports.Proposer over a real 2-of-3 Safe whose owners sign whatever is proposed, at once."""

    safes: SafeWorld
    batches: list[list[str]] = field(default_factory=list)  # purposes
    receipts: dict[str, dict[str, Receipt]] = field(default_factory=dict)

    @property
    def address(self) -> str:
        return self.safes.address

    async def propose(self, requests: Sequence[TxRequest]) -> Mapping[str, Receipt]:
        calls = [InnerCall(to=checksummed(item.to), data=item.data) for item in requests]
        nonce = (await self.safes.state()).nonce
        receipt = await self.safes.signed(batch_tx(calls, multi_send=self.safes.multi_send, nonce=nonce))
        self.batches.append([item.purpose.partition("-")[0] for item in requests])
        found = {item.purpose: receipt for item in requests}
        self.receipts.setdefault(requests[0].leg_key, {}).update(found)
        return found

    async def withdraw(self, leg_key: str, *, because: str) -> None:
        raise AssertionError(f"{leg_key} was never open: {because}")

    async def resume(self, leg_key: str) -> Mapping[str, Receipt]:
        return self.receipts.get(leg_key, {})


@pytest.fixture
async def custody(devnet: Devnet, rpc: Rpc, cache_dir: Path) -> SignedAtOnce:
    found = SignedAtOnce(await make_safe(rpc, cache_dir, devnet.deployment))
    assert isinstance(found, Proposer)
    assert len(OWNERS) == 3
    return found


def filled(outcome: LegOutcome) -> LegOutcome:
    assert outcome.status is LegStatus.FILLED, outcome.because
    return outcome


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
    assert custody.batches == [["approve", "open", "revoke"], ["approve", "close", "revoke"], ["redeem"]]


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
    assert custody.batches == [["approve", "open", "revoke"], ["exercise"]]
