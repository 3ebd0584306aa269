"""A vote with a timelock that owns a policy registry: both our own contracts."""

from collections.abc import Sequence
from dataclasses import dataclass

from bot.chain.abi import Abi
from bot.devnet.deploy_bench import Bench, Contract

VOTING_PERIOD_S, DELAY_S, GRACE_S = 3 * 86_400, 2 * 86_400, 14 * 86_400
_REGISTRY = Abi.load("PolicyRegistry")


@dataclass(frozen=True, slots=True, kw_only=True)
class Governance:
    """Where votes are held and what they change."""

    timelock: Contract
    registry: Contract
    voters: tuple[str, ...]

    async def propose(self, policy_hash: str, weights_bps: Sequence[int], *, why: str) -> int:
        """Ask the voters for other weights; return the proposal's number."""
        data = _REGISTRY.encode("setPolicy", bytes.fromhex(policy_hash), *weights_bps)
        await self.timelock.send("propose", self.registry.address, data, why, sender=self.voters[0])
        return int(await self.timelock.call("proposal_count"))

    async def decide(self, number: int, *, in_favour: int) -> None:
        """Let so many voters agree and the others not, then queue and execute after the delay."""
        bench = self.timelock.bench
        for place, voter in enumerate(self.voters):
            await self.timelock.send("castVote", number, place < in_favour, sender=voter)
        await bench.set_time(await bench.now_s() + VOTING_PERIOD_S)
        await self.timelock.send("queue", number)
        await bench.set_time(await bench.now_s() + DELAY_S)
        await self.timelock.send("execute", number)


async def deploy_governance(
    bench: Bench, *, voters: Sequence[str], policy_hash: str, weights_bps: Sequence[int]
) -> Governance:
    """Deploy both. Each voter has one vote, more than half of them decide."""
    quorum = len(voters) // 2 + 1
    timelock = await bench.deploy_own(
        "VotedTimelock", list(voters), [1] * len(voters), quorum, VOTING_PERIOD_S, DELAY_S, GRACE_S
    )
    registry = await bench.deploy_own(
        "PolicyRegistry", timelock.address, bytes.fromhex(policy_hash), *weights_bps
    )
    return Governance(timelock=timelock, registry=registry, voters=tuple(voters))
