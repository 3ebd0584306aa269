"""The Balancer v3 watcher on a reference Vault, and on what no Vault would answer."""

import math
from dataclasses import replace
from typing import Any

import pytest
from fake_chain import BLOCK, FakeChain
from hypothesis import given, settings
from hypothesis import strategies as st
from reference_contracts import deploy_reference

from bot.chain.reader import JsonRpcReader
from bot.devnet.deploy_bench import Bench, Contract
from bot.devnet.deployment import Deployment
from bot.errors import ConfigError
from bot.model.market import Observation
from bot.watchers.balancer_rows import PoolToken
from bot.watchers.balancer_v3 import VAULT, BalancerV3Watcher
from bot.watchers.pools import ERC20

A, B, POOL = "0x" + "11" * 20, "0x" + "22" * 20, "0x" + "99" * 20
NOBODY = "0x" + "00" * 19 + "aa"
WATCHER = BalancerV3Watcher(
    label="b",
    pool=POOL,
    tokens=(
        PoolToken(symbol="A", address=A, decimals=18),
        PoolToken(symbol="B", address=B, decimals=18),
    ),
)


@pytest.fixture
async def vault(bench: Bench, at: Deployment) -> Contract:
    """sUSD at a rate of 1.25 and USDC, in the Vault's order, not in that of the configuration."""
    found = await deploy_reference(bench, "BalancerV3Vault")
    raw, live = [3_000_000 * 10**6, 2_000_000 * 10**18], [3_000_000 * 10**18, 2_500_000 * 10**18]
    await found.send("set_balances", [at.usdc, at.susd], raw, live)
    await found.send("set_supply", 5_400_000 * 10**18, 1_010_000_000_000_000_000)
    return found


@pytest.fixture
def watcher(vault: Contract, at: Deployment) -> BalancerV3Watcher:
    return BalancerV3Watcher(
        label="b",
        pool=vault.address,
        vault=vault.address,
        tokens=(
            PoolToken(symbol="sUSD", address=at.susd, decimals=18),
            PoolToken(symbol="USDC", address=at.usdc, decimals=6),
        ),
    )


async def _rows(chain: JsonRpcReader, watcher: BalancerV3Watcher) -> dict[str, Observation]:
    rows = await watcher.read(chain, block=await chain.head(), read_at_s=0.0)
    assert tuple(row.key for row in rows) == watcher.series
    return {f"{row.metric} {row.subject}": row for row in rows}


@pytest.mark.devnet
async def test_values(chain: JsonRpcReader, watcher: BalancerV3Watcher) -> None:
    found = {key: row.value for key, row in (await _rows(chain, watcher)).items()}
    assert found == {
        "token_units b/sUSD": 2_000_000,
        "token_units b/USDC": 3_000_000,
        "pool_share b/sUSD": pytest.approx(2.5 / 5.5),
        "pool_share b/USDC": pytest.approx(3.0 / 5.5),
        "virtual_price b": 1.01,
        "pool_liquidity b": 5_400_000,
        "paused b": 0.0,
    }
    assert set(await _rows(chain, replace(watcher, stable=False))) == {
        "token_units b/sUSD", "token_units b/USDC", "pool_liquidity b", "paused b",
    }  # fmt: skip


@pytest.mark.devnet
@pytest.mark.parametrize("flags", [(True, False, False), (False, True, False), (False, False, True)])
async def test_pauses(
    flags: tuple[bool, ...], chain: JsonRpcReader, watcher: BalancerV3Watcher, vault: Contract
) -> None:
    await vault.send("set_pauses", *flags)
    assert (await _rows(chain, watcher))["paused b"].value == 1.0


@pytest.mark.devnet
async def test_a_wrong_configuration_is_named(
    chain: JsonRpcReader, watcher: BalancerV3Watcher, at: Deployment
) -> None:
    first, second = watcher.tokens
    wrong = (
        ({"pool": at.usdc}, "getPoolTokenInfo"),
        ({"vault": NOBODY}, "check the address"),
        ({"tokens": (first, replace(second, address=at.weth))}, "configured are"),
        ({"tokens": (first, replace(second, decimals=18))}, "has 6 decimals"),
    )
    for changes, why in wrong:
        for row in (await _rows(chain, replace(watcher, **changes))).values():
            assert math.isnan(row.value)
            assert why in row.why_unknown


def test_one_token_is_no_pool() -> None:
    with pytest.raises(ConfigError, match="two or more tokens"):
        replace(WATCHER, tokens=WATCHER.tokens[:1])


@given(data=st.data())
@settings(max_examples=200, deadline=None)
async def test_broken_answers_are_unknown_never_another_number(data: st.DataObject) -> None:
    info = ((1, NOBODY, True),) * 2
    answers: dict[bytes, Any] = {
        VAULT.encode("getPoolTokenInfo", POOL): ((A, B), info, (10**24, 3 * 10**24), (10**24, 3 * 10**24)),
        VAULT.encode("getCurrentLiveBalances", POOL): ((10**24, 3 * 10**24),),
        VAULT.encode("getBptRate", POOL): (10**18,),
        VAULT.encode("isVaultPaused"): (False,),
        VAULT.encode("isPoolPaused", POOL): (False,),
        VAULT.encode("isPoolInRecoveryMode", POOL): (False,),
        ERC20.encode("totalSupply"): (4 * 10**24,),
        ERC20.encode("decimals"): (18,),
    }
    whole = await WATCHER.read(FakeChain(answers), block=BLOCK, read_at_s=0.0)
    assert [row.value for row in whole] == [1e6, 3e6, 0.25, 0.75, 1.0, 4e6, 0.0]
    call = data.draw(st.sampled_from(sorted(answers)))
    answers[call] = data.draw(st.sampled_from(_wrong(answers[call])))
    broken = await WATCHER.read(FakeChain(answers), block=BLOCK, read_at_s=0.0)
    for row, before in zip(broken, whole, strict=True):
        assert row.value == before.value or (math.isnan(row.value) and row.why_unknown)


def _wrong(answer: tuple[Any, ...]) -> list[tuple[Any, ...] | None]:
    first = answer[0]
    if isinstance(first, bool):
        return [None]
    if isinstance(first, int):
        return [None, (2**256 - 1,)]
    if isinstance(first[0], str):
        return [None, ((), (), (), ()), (first, (), (1,), ()), (first, (), (2**256 - 1,) * 2, ())]
    return [None, ((),), ((10**18,),), ((2**256 - 1,) * 2,), ((0, 0),)]
