"""Laws that every watcher keeps (REL-R7)."""

import math
from dataclasses import fields, is_dataclass
from typing import Any

import pytest

from bot.chain.reader import JsonRpcReader
from bot.devnet.deployment import Deployment
from bot.model.market import Metric
from bot.watchers import WATCHERS
from bot.watchers.pools import Pool
from bot.watchers.tvl import Token

pytestmark = pytest.mark.devnet


def _arguments(at: Deployment) -> dict[str, dict[str, Any]]:
    pool = {
        "base": "ETH",
        "quote": "USDC",
        "base_token": at.weth,
        "quote_token": at.usdc,
        "base_decimals": 18,
        "quote_decimals": 6,
    }
    stable = {**pool, "base": "sUSD", "base_token": at.susd}
    usdc = Token(symbol="USDC", address=at.usdc, decimals=6)
    return {
        "uniswap_v2": {"pool": Pool(label="v2:ETH/USDC", address=at.v2_pair, **pool)},
        "uniswap_v3": {
            "pool": Pool(label="v3:ETH/USDC", address=at.v3_pool, **pool),
            "tick_lens": at.v3_tick_lens,
        },
        "uniswap_v3_stable": {"pool": Pool(label="v3:USDC/sUSD", address=at.stable_pool, **stable)},
        "tvl": {"label": "v3:ETH/USDC", "holder": at.v3_pool, "tokens": (usdc,)},
        "chainlink": {
            "label": "ETH/USD",
            "underlying": "ETH",
            "address": at.feed_eth_usd,
            "heartbeat_s": 3_600,
        },
        "perp_v2_funding": {
            "underlying": "ETH",
            "exchange": at.perp_exchange,
            "base_token": at.perp_base_token,
            "config": at.perp_clearing_house_config,
        },
        "lyra_iv": {
            "underlying": "ETH",
            "option_market": at.lyra_option_market,
            "pricer": at.lyra_pricer,
            "synthetix_adapter": at.lyra_synthetix_adapter,
        },
    }


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


def test_every_watcher_is_tried_here(at: Deployment) -> None:
    assert _arguments(at).keys() == WATCHERS.keys()


@pytest.mark.parametrize("name", WATCHERS)
async def test_on_the_real_contracts_every_series_has_a_value(
    name: str, chain: JsonRpcReader, at: Deployment
) -> None:
    watcher = WATCHERS[name](**_arguments(at)[name])
    block = await chain.head()
    rows = await watcher.read(chain, block=block, read_at_s=5.0)
    assert tuple(row.key for row in rows) == watcher.series
    assert watcher.name
    for row in rows:
        assert math.isfinite(row.value), row.why_unknown
        assert row.value > 0 or row.metric is Metric.FUNDING_APR
        assert row.why_unknown == ""
        assert (row.observed_at_s, row.read_at_s, row.block_number) == (block.timestamp_s, 5.0, block.number)


@pytest.mark.parametrize("name", WATCHERS)
@pytest.mark.parametrize("where", ["account", "other_contract", "reverting"])
async def test_a_contract_that_does_not_answer_is_unknown_and_says_why(
    name: str, where: str, chain: JsonRpcReader, at: Deployment, rpc: Any
) -> None:
    reverting = "0x00000000000000000000000000000000000000cc"
    await rpc.request("anvil_setCode", [reverting, "0x5f5ffd"])  # PUSH0 PUSH0 REVERT
    await rpc.request("evm_mine")
    address = {"account": at.user, "other_contract": at.lyra_option_token, "reverting": reverting}[where]
    configured = (getattr(at, field.name) for field in fields(at))
    known = {value for value in configured if isinstance(value, str)}
    arguments = {key: _moved(value, known, address) for key, value in _arguments(at)[name].items()}
    watcher = WATCHERS[name](**arguments)
    rows = await watcher.read(chain, block=await chain.head(), read_at_s=5.0)
    assert tuple(row.key for row in rows) == watcher.series
    for row in rows:
        assert math.isnan(row.value)
        assert row.why_unknown


@pytest.mark.parametrize("name", WATCHERS)
async def test_reading_twice_at_one_block_gives_the_same(
    name: str, chain: JsonRpcReader, at: Deployment, rpc: Any
) -> None:
    """R25: later blocks change nothing of what is read at an earlier one."""
    watcher = WATCHERS[name](**_arguments(at)[name])
    block = await chain.head()
    first = await watcher.read(chain, block=block, read_at_s=5.0)
    await rpc.request("anvil_mine", ["0x3", "0x3c"])
    assert await watcher.read(chain, block=block, read_at_s=5.0) == first
