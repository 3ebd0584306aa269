"""The registry as the bot follows it: read at the pinned block, the last good state kept, nothing guessed."""

from pathlib import Path
from typing import Any

import pytest
from fake_chain import BLOCK, FakeChain
from safe_builders import OWNERS, make_safe

from bot.chain.policy_registry import REGISTRY, RegistryWatch, read_registry
from bot.chain.reader import JsonRpcReader
from bot.chain.rpc import RevertError, Rpc
from bot.chain.safe import SafeTx
from bot.devnet.deploy_bench import Bench
from bot.devnet.deploy_governance import Governance, deploy_governance
from bot.devnet.deployment import CHAIN_ID
from bot.devnet.node import Devnet
from bot.devnet.packages import fetch
from bot.engine.policy_vote import refusal, under_vote
from bot.errors import BotError, DisagreementError, TransientError
from bot.model.hedge import Layer
from bot.settings import named_policy

POLICY = named_policy("classic")
AT = "0x" + "11" * 20
GOOD = (bytes.fromhex(POLICY.hash), 4500, 3500, 2000, 4, 1_700_000_000)


def chain(row: tuple[Any, ...] | None) -> FakeChain:
    return FakeChain({REGISTRY.encode("currentPolicy"): row})


class Watched:
    """A watch over the classic policy, and what it told."""

    def __init__(self) -> None:
        self.told: list[BotError] = []
        self.watch = RegistryWatch(
            address=AT, refusal=lambda vote: refusal(POLICY, vote), on_trouble=self.told.append
        )

    async def at(self, row: tuple[Any, ...] | None) -> Any:
        return await self.watch.at(chain(row), BLOCK)


def changed(**fields: Any) -> tuple[Any, ...]:
    names = ("policy_hash", "near", "mid", "tail", "sequence", "changed_at")
    return tuple({**dict(zip(names, GOOD, strict=True)), **fields}.values())


async def test_the_state_at_a_block() -> None:
    vote = await read_registry(chain(GOOD), AT, block=BLOCK)
    assert (vote.near_bps, vote.mid_bps, vote.tail_bps) == (4500, 3500, 2000)
    assert (vote.policy_hash, vote.sequence, vote.block_number) == (POLICY.hash, 4, BLOCK.number)


async def test_what_no_registry_can_say_is_refused() -> None:
    with pytest.raises(TransientError, match="does not answer"):
        await read_registry(chain(None), AT, block=BLOCK)
    for broken in (changed(near=4501), changed(near=0, mid=0, tail=0)):
        with pytest.raises(DisagreementError, match="sum to 10000"):
            await read_registry(chain(broken), AT, block=BLOCK)


BAD = {
    "unreadable": (None, "does not answer", False),
    "no whole": (changed(sequence=5, near=1), "sum to 10000", False),
    "older": (changed(sequence=3), "sequence 3 is lower than 4", True),
    "another policy": (changed(sequence=5, policy_hash=b"\x12" * 32), "did not decide on it", True),
    "out of bounds": (changed(sequence=5, near=9000, mid=500, tail=500), "voted weights are refused", True),
}


@pytest.mark.parametrize("name", BAD)
async def test_a_bad_state_keeps_the_last_good_one_and_is_told_once(name: str) -> None:
    """R22: never guessed. What the owners did not decide on opens nothing until they did."""
    row, why, holds = BAD[name]
    watched = Watched()
    good = (await watched.at(GOOD)).vote
    assert good is not None
    for _ in range(3):
        mandate = await watched.at(row)
        assert mandate.vote == good
        assert (why in mandate.hold) is holds
    (told,) = watched.told
    assert why in str(told)
    mandate = await watched.at(changed(sequence=6, near=4000, mid=4000))
    assert (mandate.hold, mandate.vote.near_bps) == ("", 4000)
    await watched.at(row)
    assert len(watched.told) == 2


@pytest.mark.parametrize("name", [name for name in BAD if name != "older"])
async def test_without_any_good_state_nothing_opens(name: str) -> None:
    row, why, _ = BAD[name]
    mandate = await Watched().at(row)
    assert mandate.vote is None
    assert why in mandate.hold


async def test_the_state_of_an_earlier_run_is_the_last_good_one() -> None:
    """A restart in front of an unreadable registry goes on with what was in force."""
    good = await read_registry(chain(GOOD), AT, block=BLOCK)
    watch = RegistryWatch(address=AT, refusal=lambda vote: refusal(POLICY, vote), last=good)
    mandate = await watch.at(chain(None), BLOCK)
    assert (mandate.vote, mandate.hold) == (good, "")


async def test_reading_the_same_again_keeps_the_block_of_the_change() -> None:
    """So that a record does not differ from the one before when nothing did."""
    watched = Watched()
    first = (await watched.at(GOOD)).vote
    assert (await watched.at(GOOD)).vote is first


@pytest.mark.devnet
async def test_a_vote_on_the_devnet_is_in_force_from_its_block_on(
    devnet: Devnet, rpc: Rpc, cache_dir: Path
) -> None:
    """At the blocks before the execution the old weights decide, whenever they are read."""
    at = devnet.deployment
    bench = Bench(rpc, fetch(cache_dir), at.accounts)
    votes: Governance = await deploy_governance(
        bench, voters=at.accounts[5:8], policy_hash=POLICY.hash, weights_bps=(4000, 4000, 2000)
    )
    reader = await JsonRpcReader.connect(rpc, chain_id=CHAIN_ID, multicall3=at.multicall3)
    before = await reader.head()
    number = await votes.propose(POLICY.hash, (3000, 4000, 3000), why="more tail")
    await votes.decide(number, in_favour=2)
    after = await reader.head()
    watch = RegistryWatch(address=votes.registry.address, refusal=lambda vote: refusal(POLICY, vote))
    weights = []
    for block in (before, after):
        decides = under_vote(POLICY, (await watch.at(reader, block)).vote)
        weights.append(tuple(decides.sizing.weights.of(layer) for layer in Layer))
    assert weights == [(40.0, 40.0, 20.0), (30.0, 40.0, 30.0)]


@pytest.mark.devnet
async def test_a_safe_may_own_the_registry(devnet: Devnet, rpc: Rpc, cache_dir: Path) -> None:
    """R22: the owners' Safe in place of a vote; one signature changes nothing."""
    world = await make_safe(rpc, cache_dir, devnet.deployment)
    weights = (4000, 4000, 2000)
    registry = await world.bench.deploy_own(
        "PolicyRegistry", world.address, bytes.fromhex(POLICY.hash), *weights
    )
    data = REGISTRY.encode("setPolicy", bytes.fromhex(POLICY.hash), 3500, 4000, 2500)
    tx = SafeTx(to=registry.address, data=data, nonce=0)
    with pytest.raises(RevertError, match="GS020"):
        await world.signed(tx, OWNERS[:1])
    await world.signed(tx)
    vote = await read_registry(world.reader, registry.address, block=await world.reader.head())
    assert (vote.near_bps, vote.mid_bps, vote.tail_bps, vote.sequence) == (3500, 4000, 2500, 2)
