"""The configuration of a devnet: what it watches answers; a scenario watches only what it moves."""

import math
from dataclasses import replace
from pathlib import Path

import pytest
from commands import Home

from bot.chain.reader import JsonRpcReader
from bot.chain.rpc import Rpc
from bot.devnet.config import write_config
from bot.devnet.deploy_watched import USER_AAVE_DEBT_USDC, USER_AAVE_WETH, WHALE_AAVE_USDC
from bot.devnet.deployment import CHAIN_ID, Deployment
from bot.devnet.node import Devnet
from bot.errors import ConfigError
from bot.model.market import Metric
from bot.settings import Settings, load_policy, load_settings, named_policy

pytestmark = pytest.mark.devnet


@pytest.fixture(scope="module")
def settings(devnet_process: Devnet, tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """What `alvh devnet up` writes."""
    folder, at = tmp_path_factory.mktemp("up"), devnet_process.deployment
    return load_settings(write_config(at, rpc_url=devnet_process.rpc_url, directory=folder, whole=True))


def test_a_scenario_watches_only_what_it_moves(home: Home) -> None:
    assert load_settings(home.config).watch == ()


def test_a_scenario_of_a_protocol_watches_what_stands_for_it(devnet: Devnet, tmp_path: Path) -> None:
    """R1, R2: the market with a guard is part of what the positions lie in; a preset stays what it is."""
    at = devnet.deployment
    url = "http://127.0.0.1:1"
    config = write_config(at, rpc_url=url, directory=tmp_path, policy="steward", protocol=True)
    settings = load_settings(config)
    assert [item.source.name for item in settings.watch]
    assert settings.perp_v2 is not None, "steward hedges NEAR with it"
    policy, steward = load_policy(settings.policy), named_policy("steward")
    assert dict(policy.dependencies) == {"uniswap-v2": ("aave",), "uniswap-v3": ("aave",)}
    assert replace(policy, name="steward", dependencies=()) == steward
    with pytest.raises(ConfigError, match="name a preset"):
        write_config(at, rpc_url="", directory=tmp_path, policy="own.toml", protocol=True)


async def test_what_is_watched_beside_it_answers(devnet: Devnet, rpc: Rpc, settings: Settings) -> None:
    at = devnet.deployment
    chain = await JsonRpcReader.connect(rpc, chain_id=CHAIN_ID, multicall3=at.multicall3)
    await pay_with_tips(rpc, at, blocks=5)
    block = await chain.head()
    found = {
        (row.metric, row.subject): row
        for item in settings.watch
        for row in await item.source.read(chain, block=block, read_at_s=0.0)
    }
    vol = found.pop((Metric.REALISED_VOL, "ETH"))
    assert "nobody trades there" in vol.why_unknown
    assert {key: row.why_unknown for key, row in found.items() if math.isnan(row.value)} == {}
    values = {key: row.value for key, row in found.items()}
    assert values[Metric.PRIORITY_FEE_GWEI, str(CHAIN_ID)] == 2.0
    assert values[Metric.POOL_PRICE_USD, "v4:ETH/USDC"] == pytest.approx(at.start_price_usd, rel=1e-9)
    assert values[Metric.IDLE_UNITS, "aave/USDC"] == WHALE_AAVE_USDC - USER_AAVE_DEBT_USDC
    health = USER_AAVE_WETH * at.start_price_usd * 0.825 / USER_AAVE_DEBT_USDC
    assert values[Metric.HEALTH_FACTOR, "loan"] == pytest.approx(health, rel=1e-3)
    changes = (Metric.UPGRADED, Metric.OWNERSHIP_CHANGED, Metric.ROLE_CHANGED)
    assert [values[metric, "Lyra option market"] for metric in changes] == [0.0, 0.0, 0.0]


async def pay_with_tips(rpc: Rpc, at: Deployment, *, blocks: int) -> None:
    """Mine blocks with a payment in each that tips 2 gwei."""
    tip, cap = hex(2 * 10**9), hex(100 * 10**9)
    payment = {"from": at.trader, "to": at.user, "value": "0x1", "gas": hex(21_000)}
    for _ in range(blocks):
        body = payment | {"maxPriorityFeePerGas": tip, "maxFeePerGas": cap}
        await rpc.request("eth_sendTransaction", [body], send=True)
        await rpc.request("evm_mine")  # the node may not have mined the payment yet


def test_each_has_a_pace_of_its_own(settings: Settings) -> None:
    """A block comes every other second; none of these is read at each."""
    watched = settings.watch
    assert {item.kind for item in watched} == {
        "gas", "uniswap_v4", "erc4626", "aave_v3", "admin_events", "twap_vol",
    }  # fmt: skip
    assert all(item.every_s is not None and item.every_s >= 10.0 for item in watched)
