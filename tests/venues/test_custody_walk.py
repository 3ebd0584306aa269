"""Random walks over all that can happen to a Safe's orders; then an auditor reads the chain alone."""

import random
from pathlib import Path

import pytest
from safe_builders import signature, signatures

from bot.chain.safe import is_rejection, rejection
from bot.errors import TransientError
from bot.model.hedge import OPEN_STATUSES, LegOutcome, LegStatus

from .conftest import World
from .safe_desk import SAFE_USDC, Custody, Killed, Process, Started, make_custody, order, runs

pytestmark = pytest.mark.devnet
STEPS, SEEDS = 14, 5
SPOTS = (2_800.0, 2_760.0, 2_840.0, 2_650.0)


class Walk:
    """One Safe, one program that is started again and again, and what it booked."""

    def __init__(self, custody: Custody, start: Started, chance: random.Random) -> None:
        self.custody, self.start, self.chance = custody, start, chance
        self.process: Process = start()
        self.booked: list[LegOutcome] = []
        self.orders = 0
        self.dies_at = ""

    async def step(self) -> None:
        """Let one thing happen."""
        happening = self.chance.choice(
            (self.decide, self.decide, self.owner_signs, self.owner_signs, self.owner_rejects,
             self.owner_executes, self.owner_uses_nonce, self.market_moves, self.time_passes, self.dies)
        )  # fmt: skip
        await happening()
        await self.custody.world.rpc.request("anvil_mine", [1])

    async def decide(self) -> None:
        """What the loop does at a block: look at the open order, else give a new one."""
        try:
            if self.process.journal.open_legs():
                outcome = await self.process.reconcile()
            else:
                self.orders += 1
                outcome = await self.process.execute(await order(self.custody, key=f"plan/{self.orders}"))
        except Killed:
            self.restart()
            return
        if outcome.status not in OPEN_STATUSES:
            self.booked.append(outcome)

    async def owner_signs(self) -> None:
        for proposal in await self.custody.waiting():
            await self.custody.sign(proposal, owner=self.chance.choice((1, 2)))

    async def owner_rejects(self) -> None:
        for proposal in (await self.custody.waiting())[:1]:
            process, leg = self.process, next(iter(self.process.journal.open_legs()), None)
            if leg is not None and not is_rejection(proposal.tx, self.custody.address):
                try:
                    await process.proposer.withdraw(leg.key, because="a person said so")
                except (Killed, TransientError):
                    self.restart()

    async def owner_executes(self) -> None:
        """Somebody else executes whatever waits, if it still would succeed."""
        for proposal in (await self.custody.waiting())[:1]:
            signed = {owner.address: signature(owner, proposal.digest) for owner in self.custody.owners[1:]}
            try:
                await self.custody.safes.execute(proposal.tx, signed, sender=self.custody.world.at.whale)
            except TransientError:
                continue  # the market is beyond its bound

    async def owner_uses_nonce(self) -> None:
        if self.chance.random() < 0.5:
            return
        state = await self.custody.safes.state()
        void = rejection(self.custody.address, state.nonce)
        given = signatures(self.custody.safes.hash_of(void), self.custody.owners[1:])
        await self.custody.safes.execute(void, given, sender=self.custody.world.at.whale)

    async def market_moves(self) -> None:
        await self.custody.world.set_spot(self.chance.choice(SPOTS))

    async def time_passes(self) -> None:
        head = await self.custody.world.reader.head()
        await self.custody.world.warp(head.timestamp_s + self.chance.choice((600, 1_800, 4_000)))

    async def dies(self) -> None:
        self.dies_at = self.chance.choice(("put", "left", "send", "sent"))
        self.restart()

    def restart(self) -> None:
        """Start again; a run that is to die does so at the next time it comes to that point."""
        point, self.dies_at = self.dies_at, ""
        dead: list[str] = []

        def die(at: str) -> bool:
            if at == point and not dead:
                dead.append(at)
                return True
            return False

        self.process = self.start(die_before=die)

    async def settle(self) -> None:
        """Owners sign all that waits until nothing is open."""
        self.dies_at = ""
        self.restart()
        for _ in range(12):
            if not self.process.journal.open_legs():
                return
            await self.owner_signs()
            await self.decide()
            await self.custody.world.rpc.request("anvil_mine", [1])
        raise AssertionError("an order never came to its end")


@pytest.mark.parametrize("seed", range(SEEDS))
async def test_no_order_is_lost_or_doubled(world: World, cache_dir: Path, tmp_path: Path, seed: int) -> None:
    """Law: positions and booked purchases are the same, nothing stays allowed, no limit is passed."""
    custody = await make_custody(world, cache_dir, tmp_path)
    with runs(custody) as start:
        walk = Walk(custody, start, random.Random(seed))
        for _ in range(STEPS):
            await walk.step()
        await walk.settle()
        filled = [item for item in walk.booked if item.status is LegStatus.FILLED]
        held = await walk.process.venue.held(await world.view())
    assert sorted(item.id for item in held) == sorted(item.position_id for item in filled)
    assert {item.leg.key for item in walk.booked} == {f"plan/{n}" for n in range(1, walk.orders + 1)}
    assert len({item.leg.key for item in walk.booked}) == len(walk.booked)
    assert await custody.allowances() == {0}
    spent_usd = SAFE_USDC - await custody.safes.balance(world.at.usdc) / 1e6
    assert spent_usd <= sum(item.leg.limit_usd for item in filled) * 1.01
    assert (spent_usd > 0.0) is bool(filled)
