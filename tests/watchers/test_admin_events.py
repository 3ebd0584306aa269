"""Admin powers in use (S9), on the real contracts of Perp v2 and Aave v3."""

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
from fake_chain import BLOCK, FakeChain
from hypothesis import given
from hypothesis import strategies as st

from bot.chain.reader import JsonRpcReader
from bot.chain.rpc import Rpc
from bot.devnet.deploy_aave import AaveMarket
from bot.devnet.deploy_bench import Bench, Contract
from bot.devnet.deployment import Deployment
from bot.errors import ConfigError, StaleDataError, TransientError
from bot.model.intent import Log
from bot.model.market import Block, Metric
from bot.ports import BlockLog
from bot.watchers.admin_events import ADMIN, IMPLEMENTATION_SLOT, AdminEventsWatcher

NOTHING = {
    Metric.PAUSED: 0.0,
    Metric.UPGRADED: 0.0,
    Metric.OWNERSHIP_CHANGED: 0.0,
    Metric.ROLE_CHANGED: 0.0,
}


async def _read(
    chain: Any, watcher: AdminEventsWatcher, *, block: Block | None = None
) -> dict[Metric, float]:
    rows = await watcher.read(chain, block=block or await chain.head(), read_at_s=0.0)
    assert tuple(row.key for row in rows) == watcher.series
    assert all((row.why_unknown == "") is math.isfinite(row.value) for row in rows)
    return {row.metric: row.value for row in rows}


@pytest.fixture
def house(bench: Bench, at: Deployment) -> Contract:
    """Perp v2's ClearingHouse: OpenZeppelin's Pausable, and an owner that is handed over in two steps."""
    return bench.at("ClearingHouse", at.perp_clearing_house)


@pytest.mark.devnet
@pytest.mark.parametrize("paused_from", ["call", "events"])
async def test_a_pause_is_a_state(paused_from: str, chain: JsonRpcReader, house: Contract, rpc: Rpc) -> None:
    """From the view and from the logs alike; it stays after its event has left the window."""
    deployed = {"deployed_block": 0} if paused_from == "events" else {}
    watcher = AdminEventsWatcher(
        label="perp", address=house.address, window_blocks=5, paused_from=paused_from, **deployed
    )
    assert await _read(chain, watcher) == NOTHING
    await house.send("pause")
    assert (await _read(chain, watcher))[Metric.PAUSED] == 1.0
    await rpc.request("anvil_mine", [hex(20)])
    assert (await _read(chain, watcher))[Metric.PAUSED] == 1.0
    await house.send("unpause")
    assert await _read(chain, watcher) == NOTHING


@pytest.mark.devnet
async def test_a_new_owner_counts_in_the_window_and_longer_where_one_is_expected(
    chain: JsonRpcReader, house: Contract, at: Deployment, rpc: Rpc
) -> None:
    events = AdminEventsWatcher(label="perp", address=house.address, window_blocks=10)
    state = replace(events, expected_owner=at.deployer)
    await house.send("setOwner", at.whale)
    assert (await _read(chain, state))[Metric.OWNERSHIP_CHANGED] == 0.0
    await house.send("updateOwner", sender=at.whale)
    assert (await _read(chain, events))[Metric.OWNERSHIP_CHANGED] == 1.0
    assert (await _read(chain, state))[Metric.OWNERSHIP_CHANGED] == 2.0
    await rpc.request("anvil_mine", [hex(9)])
    assert (await _read(chain, events))[Metric.OWNERSHIP_CHANGED] == 1.0  # the window's first block
    await rpc.request("anvil_mine", [hex(1)])
    assert (await _read(chain, events))[Metric.OWNERSHIP_CHANGED] == 0.0
    assert (await _read(chain, state))[Metric.OWNERSHIP_CHANGED] == 1.0
    known = replace(state, expected_owner=at.whale)
    assert (await _read(chain, known))[Metric.OWNERSHIP_CHANGED] == 0.0


@pytest.mark.devnet
async def test_polls_less_than_a_window_apart_miss_no_event(
    chain: JsonRpcReader, house: Contract, at: Deployment, rpc: Rpc
) -> None:
    """Five hand-overs at uneven distances, read every 20 blocks with a window of 20: all five are seen."""
    watcher = AdminEventsWatcher(label="perp", address=house.address, window_blocks=20)
    start = (await chain.head()).number
    owner, other, seen = at.deployer, at.whale, 0.0
    for gap in (1, 5, 13, 2, 30):
        await rpc.request("anvil_mine", [hex(gap)])
        await house.send("setOwner", other, sender=owner)
        await house.send("updateOwner", sender=other)
        owner, other = other, owner
    await rpc.request("anvil_mine", [hex(20)])
    for number in range(start + 20, (await chain.head()).number + 1, 20):
        found = await _read(chain, watcher, block=await chain.block(number))
        seen += found[Metric.OWNERSHIP_CHANGED]
    assert seen == 5


@pytest.mark.devnet
async def test_an_upgrade_of_the_real_aave_pool(chain: JsonRpcReader, aave: AaveMarket, rpc: Rpc) -> None:
    watcher = AdminEventsWatcher(
        label="aave pool",
        address=aave.pool.address,
        window_blocks=5,
        paused_from="nowhere",
        expected_implementation=aave.pool_implementation,
        also=(aave.provider.address,),
    )
    await rpc.request("anvil_mine", [hex(20)])
    assert (await _read(chain, watcher))[Metric.UPGRADED] == 0.0
    implementation = await aave.upgrade_pool()
    # the proxy's Upgraded, the provider's PoolUpdated, and an implementation that is not the expected one
    assert (await _read(chain, watcher))[Metric.UPGRADED] == 3.0
    await rpc.request("anvil_mine", [hex(20)])
    assert (await _read(chain, watcher))[Metric.UPGRADED] == 1.0
    assert (await _read(chain, replace(watcher, expected_implementation=implementation)))[
        Metric.UPGRADED
    ] == 0.0


@pytest.mark.devnet
async def test_roles_and_ownership_of_the_real_aave_market(
    chain: JsonRpcReader, aave: AaveMarket, at: Deployment, rpc: Rpc
) -> None:
    roles = AdminEventsWatcher(
        label="acl", address=aave.acl_manager.address, window_blocks=5, paused_from="nowhere"
    )
    provider = AdminEventsWatcher(
        label="provider",
        address=aave.provider.address,
        window_blocks=5,
        paused_from="nowhere",
        expected_owner=at.deployer,
    )
    await rpc.request("anvil_mine", [hex(20)])
    await aave.acl_manager.send("addEmergencyAdmin", at.whale)
    await aave.acl_manager.send("removeEmergencyAdmin", at.whale)
    await aave.provider.send("transferOwnership", at.whale)
    assert (await _read(chain, roles))[Metric.ROLE_CHANGED] == 2.0
    assert (await _read(chain, provider))[Metric.OWNERSHIP_CHANGED] == 2.0


ADDRESS, OTHER = "0x" + "11" * 20, "0x" + "22" * 20
EXPECTED_WORD = bytes(12) + bytes.fromhex(OTHER[2:])


class AdminChain(FakeChain):
    """A contract with paused() and owner(), whose logs and slots are given."""

    def __init__(
        self,
        *,
        paused: tuple | None = (False,),
        owner: tuple | None = (OTHER,),
        code: bool = True,
        word: bytes = EXPECTED_WORD,
        logs: list[BlockLog] | Exception = [],  # noqa: B006 - never changed
    ) -> None:
        super().__init__({ADMIN.encode("paused"): paused, ADMIN.encode("owner"): owner}, code=code)
        self.word, self.found = word, logs

    async def storage_at(self, address: str, slot: int, *, block: Block) -> bytes:
        assert slot == IMPLEMENTATION_SLOT
        return self.word

    async def logs(
        self, *, addresses: Sequence[str], topics: Sequence[Sequence[str]], from_block: int, to: Block
    ) -> list[BlockLog]:
        if isinstance(self.found, Exception):
            raise self.found
        return self.found


def _log(topic: str, address: str = ADDRESS) -> BlockLog:
    return BlockLog(
        Log(address=address, topics=(topic,) if topic else (), data=b""), 7, BLOCK.hash, "0x01", 0, 0
    )


FULL = AdminEventsWatcher(
    label="it", address=ADDRESS, window_blocks=5, expected_owner=OTHER, expected_implementation=OTHER
)


async def test_the_made_up_contract_is_whole() -> None:
    assert await _read(AdminChain(), FULL, block=BLOCK) == NOTHING
    upper = AdminChain(logs=[_log(ADMIN.topic("Upgraded"), ADDRESS.upper().replace("X", "x"))])
    assert (await _read(upper, FULL, block=BLOCK))[Metric.UPGRADED] == 1.0


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        ({"code": False}, "has no code"),
        ({"paused": None}, "paused() of it"),
        ({"owner": None}, "owner() of it"),
        ({"word": bytes(32)}, "no EIP-1967 implementation"),
        ({"word": b""}, "no EIP-1967 implementation"),
        ({"word": b"\1" * 32}, "no EIP-1967 implementation"),
        ({"logs": TransientError("range too wide")}, "range too wide"),
        ({"logs": [_log("")]}, "not asked for"),
        ({"logs": [_log("0x" + "00" * 32)]}, "not asked for"),
        ({"logs": [_log(ADMIN.topic("Upgraded"), OTHER)]}, "not asked for"),
    ],
)
async def test_what_cannot_be_is_unknown(fault: dict[str, Any], words: str) -> None:
    rows = await FULL.read(AdminChain(**fault), block=BLOCK, read_at_s=0.0)
    for row in rows:
        assert math.isnan(row.value)
        assert words in row.why_unknown


@given(st.lists(st.sampled_from([*(ADMIN.topic(name) for name in ("Upgraded", "RoleGranted"))]), max_size=9))
async def test_each_event_counts_once(topics: list[str]) -> None:
    found = await _read(AdminChain(logs=[_log(topic) for topic in topics]), FULL, block=BLOCK)
    assert found[Metric.UPGRADED] + found[Metric.ROLE_CHANGED] == len(topics)


async def test_a_block_that_was_reorganised_away_is_not_swallowed() -> None:
    with pytest.raises(StaleDataError):
        await FULL.read(AdminChain(logs=StaleDataError("gone")), block=BLOCK, read_at_s=0.0)


@pytest.mark.parametrize("fault", [{"window_blocks": 0}, {"paused_from": "events"}, {"deployed_block": 5}])
def test_settings_are_checked_at_the_start(fault: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match="admin of it"):
        AdminEventsWatcher(**{"label": "it", "address": ADDRESS, "window_blocks": 5, **fault})


def test_topics_are_the_published_ones() -> None:
    """Of Ownable and AccessControl, as on every explorer."""
    assert ADMIN.topic("OwnershipTransferred") == (
        "0x8be0079c531659141344cd1fd0a4f28419497f9722a3daafe3b4186f6b6457e0"
    )
    assert ADMIN.topic("RoleGranted") == (
        "0x2f8788117e7eff1d82e926ec794901d17c78024a50270940304540a733656f0d"
    )
