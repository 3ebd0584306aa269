"""An order that is half done ends filled, and once, whatever became of the first try at its last step.

The manager, the signer's desk and the journal are real: what they remember of the first try is what the next
one meets.
"""

import itertools
from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from send_builders import Proxy, error, result

from bot.chain.rpc import Rpc
from bot.chain.send_state import fold
from bot.devnet.deploy_opyn import DISPUTE_S, LOCKING_S
from bot.devnet.node import Devnet
from bot.errors import OutcomeUnknown
from bot.model.hedge import HedgeLeg, Layer, LegOutcome, LegStatus, Side
from bot.model.intent import IntentState as S
from bot.venues.opyn import opyn_venue

from .mortal import MortalAccount
from .opyn_world import OpynWorld, closing, contracts_of, make_world
from .test_panoptic import Market, closing_leg, market

__all__ = ("market",)  # a fixture
pytestmark = pytest.mark.devnet


@dataclass
class HalfDone:
    """A redemption whose price was pushed by the order itself; what it lacks can be sent now."""

    world: OpynWorld
    account: MortalAccount
    leg: HedgeLeg
    proxy: Proxy
    had: int

    async def again(self) -> LegOutcome:
        return await self.world.venue.reconcile(self.leg, view=await self.world.view())

    def redeems(self) -> list[S]:
        found = fold(self.account.journal.intents()).values()
        return [item.state for item in found if item.purpose.partition("@")[0] == "redeem"]

    async def ends_filled_once(self, outcome: LegOutcome) -> None:
        assert outcome.status is LegStatus.FILLED, outcome.because
        assert outcome.premium_usd == 600.0
        assert await self.world.money() - self.had == 600 * 10**6
        assert Counter(self.redeems())[S.FINAL] == 1


@pytest.fixture
async def half(devnet: Devnet, rpc: Rpc, cache_dir: Path, tmp_path: Path) -> Any:
    world = await make_world(devnet, rpc, cache_dir)
    opened = await world.bought()
    await world.expire(2400.0)
    await world.bench.set_time(world.put.series.expiry_s + LOCKING_S + 1)
    leg = closing(opened, Side.SETTLE, valid_until_s=(await world.view()).now_s + 600.0)
    async with Proxy(devnet.rpc_url) as proxy, Rpc(proxy.url, timeout_s=10) as link:
        account = MortalAccount(link, tmp_path / "journal.db", world.venue, deadline_s=3.0)
        account.journal.open_leg(leg, at_s=1.0)
        contracts = contracts_of(world.opyn, world.at)
        world = replace(world, venue=opyn_venue(reader=world.reader, contracts=contracts, custody=account))
        waiting = await world.venue.execute(leg, view=await world.view())
        assert waiting.status is LegStatus.WAITING, waiting.because
        await world.bench.set_time(await world.bench.now_s() + DISPUTE_S + 1)
        yield HalfDone(world, account, leg, proxy, await world.money())
        account.journal.close()


def silent(account: MortalAccount, *turns: int) -> None:
    """Let the signer give no answer to these of its next calls, and remember nothing of them."""
    sign, count = account.signer.sign, itertools.count()

    async def maybe(unsigned: Any, *, now_s: float) -> Any:
        if next(count) in turns:
            raise OutcomeUnknown("an answer of the signer", str(unsigned.nonce))
        return await sign(unsigned, now_s=now_s)

    account.signer.sign = maybe  # type: ignore[method-assign]


async def test_a_signer_that_was_silent_twice_is_asked_a_third_time(half: HalfDone) -> None:
    silent(half.account, 0, 1)
    for _ in range(2):
        outcome = await half.again()
        assert outcome.status is LegStatus.UNKNOWN
        assert "an answer of the signer" in outcome.because
    await half.ends_filled_once(await half.again())
    assert half.redeems() == [S.RELEASED, S.RELEASED, S.FINAL]


async def test_after_its_own_cancel_the_step_is_sent_anew(half: HalfDone) -> None:
    """It was valid for an hour in which no pool took it, twice; the gas of both cancels is booked."""
    for _ in range(2):
        half.proxy.before = lambda call: (
            error(call, "txpool is full") if call["method"] == "eth_sendRawTransaction" else None
        )
        assert (await half.again()).status is LegStatus.UNKNOWN
        half.proxy.before = None
        await half.world.bench.set_time(await half.world.bench.now_s() + 7_200)
        await half.account.resume(half.leg.key)
    outcome = await half.again()
    await half.ends_filled_once(outcome)
    assert half.redeems() == [S.CANCELLED, S.CANCELLED, S.FINAL]
    paid = sum(item.gas_cost_wei for item in fold(half.account.journal.intents()).values())
    assert outcome.gas_usd == pytest.approx(paid / 1e18 * 2400.0, rel=1e-9)


async def test_a_redemption_that_was_mined_without_effect_is_sent_anew(half: HalfDone) -> None:
    starved = iter([True, True])

    def after(call: dict[str, Any], reply: dict[str, Any]) -> Any:
        is_asked = call["method"] == "eth_estimateGas" and next(starved, False)
        return result(call, hex(40_000)) if is_asked else None

    half.proxy.after = after
    for _ in range(2):
        outcome = await half.again()
        assert outcome.status is LegStatus.WAITING, outcome.because
        assert "was reverted" in outcome.because
    await half.ends_filled_once(await half.again())
    assert half.redeems() == [S.REVERTED, S.REVERTED, S.FINAL]


async def test_a_withdrawal_whose_amount_grew_meanwhile_is_asked_for_anew(
    market: Market, rpc: Rpc, tmp_path: Path
) -> None:
    """That makes it another transaction: the key of the first try must not stand in its way."""
    bought = await market.buy()
    assert bought.status is LegStatus.FILLED, bought.because
    await market.desk.swap_to(2500)
    await market.desk.calm()
    (position,) = await market.held()
    account = MortalAccount(rpc, tmp_path / "journal.db", market.venue)
    leg = closing_leg(position, limit_usd=0.0, layer=Layer.MID)
    account.journal.open_leg(leg, at_s=1.0)
    market.transactor = account  # type: ignore[assignment]
    at = market.desk.at
    silent(account, 2, 3)  # after the close and the withdrawal of the underlying
    outcome = await market.venue.execute(leg, view=await market.view())
    for _ in range(2):
        await at.tokens[1 - at.unit].send("mint", at.seller, 10**6)
        tracker = market.desk.usdc_tracker
        await at.tokens[1 - at.unit].send("approve", tracker.address, 10**6, sender=at.seller)
        await tracker.send("deposit", 10**6, market.desk.me, sender=at.seller)
        await market.desk.bench.set_time(await market.desk.bench.now_s() + 60)  # a block later, as blocks go
        outcome = await market.venue.reconcile(leg, view=await market.view())
    assert outcome.status is LegStatus.FILLED, outcome.because
    assert outcome.premium_usd == pytest.approx(position.liquidation_usd, rel=0.05)
    assert await market.pool_usd() < 0.1
    found = fold(account.journal.intents()).values()
    states = Counter((item.purpose, item.state) for item in found if item.purpose.startswith("withdraw-cash"))
    assert states == {("withdraw-cash", S.RELEASED): 2, ("withdraw-cash", S.FINAL): 1}
    account.journal.close()
