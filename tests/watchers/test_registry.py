"""Laws that every watcher keeps (REL-R7)."""

import math
from dataclasses import fields, is_dataclass
from typing import Any

import pytest
from watcher_sites import SITES, Site

from bot.chain.reader import JsonRpcReader
from bot.devnet.deploy_bench import Bench
from bot.devnet.deployment import Deployment
from bot.model.market import Metric, Observation
from bot.watchers import WATCHERS

# Of contracts that nobody pauses, upgrades, hands over or attacks.
QUIET = {
    Metric.PAUSED,
    Metric.UPGRADED,
    Metric.OWNERSHIP_CHANGED,
    Metric.ROLE_CHANGED,
    Metric.SANDWICH_SHARE,
}
SHARES = {Metric.POOL_SHARE, Metric.UTILISATION}
WITHOUT_ADDRESS = {"gas"}  # reads the chain itself


@pytest.fixture
def site(at: Deployment, bench: Bench, send: Any) -> Site:
    return Site(at=at, bench=bench, send=send)


def _moved(value: Any, known: set[str], address: str) -> Any:
    """Return the same configuration with every contract address put elsewhere."""
    if isinstance(value, str):
        return address if value in known else value
    if isinstance(value, tuple):
        return tuple(_moved(item, known, address) for item in value)
    if is_dataclass(value) and not isinstance(value, type):
        kept = ("base_token", "quote_token")  # a pool of other tokens is another test
        changed = {
            field.name: getattr(value, field.name)
            if field.name in kept
            else _moved(getattr(value, field.name), known, address)
            for field in fields(value)
        }
        return type(value)(**changed)
    return value


def _check_value(row: Observation) -> None:
    """Check the sign, and the bounds where there are any."""
    if row.metric in QUIET:
        assert row.value == 0.0
    elif row.metric is Metric.FUNDING_APR:
        assert row.value != 0.0
    elif row.metric is Metric.SEQUENCER_UP:
        assert row.value == 1.0
    else:
        assert row.value > 0.0
    assert row.value < 1.0 or row.metric not in SHARES


def test_every_watcher_is_tried_here() -> None:
    assert SITES.keys() == WATCHERS.keys()


@pytest.mark.devnet
@pytest.mark.parametrize("kind", WATCHERS)
async def test_on_the_real_contracts_every_series_has_a_value(
    kind: str, chain: JsonRpcReader, site: Site
) -> None:
    watcher = WATCHERS[kind](**await SITES[kind](site))
    block = await chain.head()
    rows = await watcher.read(chain, block=block, read_at_s=5.0)
    assert rows
    assert tuple(row.key for row in rows) == watcher.series
    assert watcher.name
    for row in rows:
        assert math.isfinite(row.value), row.why_unknown
        assert row.why_unknown == ""
        _check_value(row)
        assert (row.observed_at_s, row.read_at_s, row.block_number) == (block.timestamp_s, 5.0, block.number)


@pytest.mark.devnet
@pytest.mark.parametrize("kind", [kind for kind in WATCHERS if kind not in WITHOUT_ADDRESS])
@pytest.mark.parametrize("where", ["account", "other_contract", "reverting"])
async def test_a_contract_that_does_not_answer_is_unknown_and_says_why(
    kind: str, where: str, chain: JsonRpcReader, site: Site, rpc: Any
) -> None:
    at, arguments = site.at, await SITES[kind](site)
    reverting = "0x00000000000000000000000000000000000000cc"
    await rpc.request("anvil_setCode", [reverting, "0x5f5ffd"])  # PUSH0 PUSH0 REVERT
    await rpc.request("evm_mine")
    address = {"account": at.user, "other_contract": at.lyra_option_token, "reverting": reverting}[where]
    configured = (getattr(at, field.name) for field in fields(at))
    known = {value for value in configured if isinstance(value, str)} | set(site.more)
    moved = {key: _moved(value, known, address) for key, value in arguments.items()}
    assert moved != arguments
    watcher = WATCHERS[kind](**moved)
    rows = await watcher.read(chain, block=await chain.head(), read_at_s=5.0)
    assert tuple(row.key for row in rows) == watcher.series
    for row in rows:
        assert math.isnan(row.value)
        assert row.why_unknown


@pytest.mark.devnet
@pytest.mark.parametrize("kind", WATCHERS)
async def test_reading_twice_at_one_block_gives_the_same(
    kind: str, chain: JsonRpcReader, site: Site, rpc: Any
) -> None:
    """R25: later blocks change nothing of what is read at an earlier one."""
    watcher = WATCHERS[kind](**await SITES[kind](site))
    block = await chain.head()
    first = await watcher.read(chain, block=block, read_at_s=5.0)
    await rpc.request("anvil_mine", ["0x3", "0x3c"])
    assert await watcher.read(chain, block=block, read_at_s=5.0) == first
