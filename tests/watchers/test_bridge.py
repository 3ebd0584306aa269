"""Lockboxes and minted supplies on real tokens, and the share that is backed."""

import math
from dataclasses import replace
from typing import Any

import pytest
from fake_chain import BLOCK, FakeChain

from bot.chain.reader import JsonRpcReader
from bot.devnet.deploy_bench import Bench
from bot.devnet.deployment import Deployment
from bot.errors import ConfigError
from bot.model.market import Observation, columns_from
from bot.quant.bridges import coverage
from bot.watchers.bridge import MULTICALL, BridgeLockWatcher, BridgeSupplyWatcher
from bot.watchers.pools import ERC20

BOXES = ("0x" + "00" * 19 + "b1", "0x" + "00" * 19 + "b2")
TOKEN = "0x" + "11" * 20
LOCK = BridgeLockWatcher(bridge="l2", token="USDC", token_address=TOKEN, decimals=6, lockboxes=BOXES)
SUPPLY = BridgeSupplyWatcher(bridge="l2", token="USDC", token_address=TOKEN, decimals=18)


async def _one(chain: Any, watcher: BridgeLockWatcher | BridgeSupplyWatcher) -> Observation:
    block = BLOCK if isinstance(chain, FakeChain) else await chain.head()
    (row,) = await watcher.read(chain, block=block, read_at_s=0.0)
    assert (row.key,) == watcher.series
    return row


@pytest.mark.devnet
async def test_locked_against_minted(chain: JsonRpcReader, bench: Bench, at: Deployment) -> None:
    """USDC in two lockboxes backs another token of 18 decimals; then a part of it is taken away."""
    usdc = bench.at("TestERC20SetDecimals", at.usdc)
    minted = await bench.deploy("TestERC20SetDecimals", "Bridged", "USDC.e", 18)
    await minted.send("permitMint", bench.deployer, True)
    await minted.send("mint", at.user, 1_000_000 * 10**18)
    await usdc.send("mint", BOXES[0], 600_000 * 10**6)
    await usdc.send("mint", at.whale, 400_000 * 10**6)
    lock = replace(LOCK, token_address=at.usdc, lockboxes=(BOXES[0], at.whale))
    supply = replace(SUPPLY, token_address=minted.address)
    before = await usdc.call("balanceOf", at.whale) / 1e6 - 400_000
    locked, owed = await _one(chain, lock), await _one(chain, supply)
    assert (locked.value, owed.value) == (1_000_000 + before, 1_000_000)
    assert (locked.subject, owed.subject) == ("l2/USDC", "l2/USDC")
    single = replace(lock, lockboxes=BOXES[:1])
    columns = columns_from([await _one(chain, single), owed])
    backed = coverage(columns, bridge="l2", token="USDC", max_lag_s=60)
    assert backed.values.tolist() == [0.6]


@pytest.mark.devnet
async def test_the_chains_own_coin(chain: JsonRpcReader, bench: Bench, at: Deployment) -> None:
    """WETH wraps ETH one to one on one chain: both watchers there, fully backed."""
    lock = BridgeLockWatcher(
        bridge="weth", token="ETH", decimals=18, lockboxes=(at.weth,), multicall3=at.multicall3
    )
    supply = BridgeSupplyWatcher(bridge="weth", token="ETH", token_address=at.weth, decimals=18)
    columns = columns_from([await _one(chain, lock), await _one(chain, supply)])
    assert coverage(columns, bridge="weth", token="ETH", max_lag_s=0).values.tolist() == [1.0]


@pytest.mark.devnet
async def test_a_wrong_token_is_named(chain: JsonRpcReader, at: Deployment) -> None:
    for watcher, why in (
        (replace(LOCK, token_address=at.susd), "has 18 decimals, configured are 6"),
        (replace(LOCK, token_address=at.user), "check the address"),
        (replace(LOCK, token_address=None, decimals=18, multicall3=at.user), "check the address"),
        (replace(SUPPLY, token_address=at.usdc), "has 6 decimals, configured are 18"),
        (replace(SUPPLY, token_address=at.user), "check the address"),
    ):
        row = await _one(chain, watcher)
        assert math.isnan(row.value)
        assert why in row.why_unknown


@pytest.mark.parametrize("broken", [None, (2**256 - 1,)])
@pytest.mark.parametrize("at", [0, 1, 2])
async def test_one_lockbox_that_does_not_answer_makes_the_sum_unknown(broken: Any, at: int) -> None:
    answers: list[Any] = [(10**12,), (10**12,), (6,)]
    calls = [ERC20.encode("balanceOf", box) for box in BOXES] + [ERC20.encode("decimals")]
    assert (await _one(FakeChain(dict(zip(calls, answers, strict=True))), LOCK)).value == 2e6
    answers[at] = broken
    row = await _one(FakeChain(dict(zip(calls, answers, strict=True))), LOCK)
    assert math.isnan(row.value)
    assert row.why_unknown


@pytest.mark.parametrize("broken", [None, (2**256 - 1,)])
@pytest.mark.parametrize("at", [0, 1])
async def test_broken_supplies_and_coins_are_unknown(broken: Any, at: int) -> None:
    answers: list[Any] = [(10**24,), (18,)]
    answers[at] = broken
    calls = [ERC20.encode("totalSupply"), ERC20.encode("decimals")]
    row = await _one(FakeChain(dict(zip(calls, answers, strict=True))), SUPPLY)
    assert math.isnan(row.value)
    assert row.why_unknown
    coin = replace(LOCK, token_address=None, decimals=18, lockboxes=BOXES[:1])
    row = await _one(FakeChain({MULTICALL.encode("getEthBalance", BOXES[0]): broken}), coin)
    assert math.isnan(row.value)
    assert row.why_unknown


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"lockboxes": ()}, "each lockbox"),
        ({"lockboxes": (BOXES[0], BOXES[0])}, "each lockbox"),
        ({"token_address": None}, "coin has 18 decimals"),
    ],
)
def test_what_cannot_be_is_refused(changes: dict[str, Any], why: str) -> None:
    with pytest.raises(ConfigError, match=why):
        replace(LOCK, **changes)
