"""The Balancer v2 watcher on the real Vault, a composable stable pool and a weighted pool."""

import math
from dataclasses import replace
from typing import Any

import pytest
from balancer_builders import (
    FEE,
    SUSD_RAW,
    USDC_RAW,
    ZERO,
    Balancer,
    create_pool,
    deploy_balancer,
    join_pool,
)
from fake_chain import BLOCK, FakeChain
from hypothesis import given, settings
from hypothesis import strategies as st

from bot.chain.reader import JsonRpcReader
from bot.devnet.deploy_bench import Bench
from bot.devnet.deploy_tokens import UNLIMITED
from bot.devnet.deployment import Deployment
from bot.errors import ConfigError
from bot.model.market import Metric, Observation
from bot.watchers.balancer_rows import PoolToken
from bot.watchers.balancer_v2 import POOL, VAULT, BalancerV2Watcher
from bot.watchers.pools import ERC20

NOBODY = "0x" + "00" * 19 + "aa"


@pytest.fixture
async def balancer(bench: Bench, at: Deployment) -> Balancer:
    return await deploy_balancer(bench, at)


async def _rows(chain: JsonRpcReader, watcher: BalancerV2Watcher) -> dict[str, Observation]:
    rows = await watcher.read(chain, block=await chain.head(), read_at_s=0.0)
    assert tuple(row.key for row in rows) == watcher.series
    return {f"{row.metric} {row.subject}": row for row in rows}


@pytest.mark.devnet
async def test_composable_pool_without_its_own_bpt(chain: JsonRpcReader, balancer: Balancer) -> None:
    """Value shares use the rate provider's rate: 3.0 of 5.5 million; the supply is what is held."""
    rows = await _rows(chain, balancer.watcher)
    found = {key: row.value for key, row in rows.items()}
    supply = await balancer.pool.call("getActualSupply")
    assert found == {
        "token_units b/sUSD": 2_000_000,
        "token_units b/USDC": 3_000_000,
        "pool_share b/sUSD": pytest.approx(2.5 / 5.5),
        "pool_share b/USDC": pytest.approx(3.0 / 5.5),
        "virtual_price b": pytest.approx(1.0, abs=1e-6),
        "pool_liquidity b": pytest.approx(supply / 1e18),
        "paused b": 0.0,
    }
    assert await balancer.pool.call("totalSupply") > 10**6 * supply, "most BPT are minted in advance"


@pytest.mark.devnet
async def test_a_swap_moves_the_shares(
    chain: JsonRpcReader, balancer: Balancer, bench: Bench, at: Deployment
) -> None:
    await bench.at("TestERC20SetDecimals", at.usdc).send(
        "approve", balancer.vault.address, UNLIMITED, sender=at.trader
    )
    pool_id = await balancer.pool.call("getPoolId")
    swap = (pool_id, 0, at.usdc, at.susd, 10**12, b"")
    funds = (at.trader, False, at.trader, False)
    await balancer.vault.send("swap", swap, funds, 0, 2**40, sender=at.trader)
    found = {key: row.value for key, row in (await _rows(chain, balancer.watcher)).items()}
    assert found["token_units b/USDC"] == 4_000_000
    assert found["pool_share b/USDC"] == pytest.approx(4.0 / 5.5, abs=2e-3)
    assert found["virtual_price b"] > 1.0, "the fee stays in the pool"


@pytest.mark.devnet
@pytest.mark.parametrize("what", ["recovery", "pool", "vault"])
async def test_pauses_and_recovery_mode(
    what: str, chain: JsonRpcReader, balancer: Balancer, bench: Bench
) -> None:
    contract, function, arguments = {
        "recovery": (balancer.pool, "enableRecoveryMode", ()),
        "pool": (balancer.pool, "pause", ()),
        "vault": (balancer.vault, "setPaused", (True,)),
    }[what]
    action = await contract.call("getActionId", contract.artifact.abi.function(function).selector)
    await balancer.authorizer.send("grantRole", action, bench.deployer)
    await contract.send(function, *arguments)
    rows = await _rows(chain, balancer.watcher)
    assert rows["paused b"].value == 1.0
    assert rows["token_units b/USDC"].value == 3_000_000


@pytest.mark.devnet
async def test_weighted_pool_has_amounts_and_supply_only(
    chain: JsonRpcReader, balancer: Balancer, bench: Bench, at: Deployment
) -> None:
    factory = await bench.deploy(
        "WeightedPoolFactory", balancer.vault.address, balancer.fees.address, "f", "p"
    )
    tokens = sorted((at.usdc, at.susd), key=lambda token: int(token, 16))
    weights = [8 * 10**17 if token == at.susd else 2 * 10**17 for token in tokens]
    pool = bench.at(
        "WeightedPool",
        await create_pool(bench, factory, ("W", "W", tokens, weights, [ZERO, ZERO], FEE, bench.deployer)),
    )
    pool_id = await pool.call("getPoolId")
    await join_pool(bench, balancer.vault, pool_id, {at.usdc: USDC_RAW, at.susd: SUSD_RAW}, owner=at.whale)
    watcher = replace(balancer.watcher, pool_id="0x" + pool_id.hex(), stable=False)
    found = {key: row.value for key, row in (await _rows(chain, watcher)).items()}
    assert found == {
        "token_units b/sUSD": 2_000_000,
        "token_units b/USDC": 3_000_000,
        "pool_liquidity b": pytest.approx(await pool.call("getActualSupply") / 1e18),
        "paused b": 0.0,
    }


@pytest.mark.devnet
async def test_a_wrong_configuration_is_named(
    chain: JsonRpcReader, balancer: Balancer, at: Deployment
) -> None:
    tokens = balancer.watcher.tokens
    wrong = (
        ({"tokens": (tokens[0], replace(tokens[1], address=at.weth))}, "configured are"),
        ({"tokens": (tokens[0], replace(tokens[1], decimals=18))}, "has 6 decimals"),
        ({"vault": NOBODY}, "check the address"),
        ({"pool_id": balancer.watcher.pool_id[:-4] + "ffff"}, "another pool id"),
        ({"pool_id": "0x" + "12" * 32}, "check the address"),
    )
    for changes, why in wrong:
        for row in (await _rows(chain, replace(balancer.watcher, **changes))).values():
            assert math.isnan(row.value)
            assert why in row.why_unknown


# -- without a chain --------------------------------------------------------------------------------------

A, B = "0x" + "11" * 20, "0x" + "22" * 20
BPT = "0x" + "99" * 20
WATCHER = BalancerV2Watcher(
    label="b",
    pool_id=BPT + "00" * 12,
    tokens=(
        PoolToken(symbol="A", address=A, decimals=18),
        PoolToken(symbol="B", address=B, decimals=18),
    ),
)


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"pool_id": BPT}, "64 hex digits"),
        ({"pool_id": "0x" + "gg" * 32}, "64 hex digits"),
        ({"tokens": WATCHER.tokens[:1]}, "two or more tokens"),
        ({"tokens": (WATCHER.tokens[0],) * 2}, "each once"),
    ],
)
def test_what_cannot_be_is_refused(changes: dict[str, Any], why: str) -> None:
    with pytest.raises(ConfigError, match=why):
        replace(WATCHER, **changes)


def test_the_pool_id_begins_with_the_address() -> None:
    assert WATCHER.pool == BPT


@given(data=st.data())
@settings(max_examples=200, deadline=None)
async def test_broken_answers_are_unknown_never_another_number(data: st.DataObject) -> None:
    answers: dict[bytes, Any] = {
        POOL.encode("getPoolId"): (bytes.fromhex(WATCHER.pool_id[2:]),),
        VAULT.encode("getPoolTokens", bytes.fromhex(WATCHER.pool_id[2:])): (
            (A, BPT, B), (4 * 10**24, 2**111, 10**24), 5,
        ),
        POOL.encode("getActualSupply"): (5 * 10**24,),
        POOL.encode("getRate"): (10**18,),
        POOL.encode("getScalingFactors"): ((10**18, 10**18, 2 * 10**18),),
        POOL.encode("getPausedState"): (False, 0, 0),
        POOL.encode("inRecoveryMode"): (False,),
        ERC20.encode("decimals"): (18,),
    }  # fmt: skip
    whole = await WATCHER.read(FakeChain(answers), block=BLOCK, read_at_s=0.0)
    assert [row.value for row in whole[:4]] == [4e6, 1e6, pytest.approx(4 / 6), pytest.approx(2 / 6)]
    call = data.draw(st.sampled_from(sorted(answers)))
    answers[call] = data.draw(st.sampled_from(_wrong(answers[call])))
    broken = await WATCHER.read(FakeChain(answers), block=BLOCK, read_at_s=0.0)
    for row, before in zip(broken, whole, strict=True):
        assert row.value == before.value or (math.isnan(row.value) and row.why_unknown)


def _wrong(answer: tuple[Any, ...]) -> list[tuple[Any, ...] | None]:
    first = answer[0]
    if isinstance(first, bool):
        return [None]
    if isinstance(first, bytes):
        return [None, (bytes(32),)]
    if isinstance(first, int):
        return [None, (2**256 - 1,)]
    if isinstance(first[0], str):
        return [
            None, ((), (), 0), ((A, B), (1, 2, 3), 5), (first, (2**256 - 1,) * 3, 5),
            ((A, A, B), (1, 1, 1), 5),
        ]  # fmt: skip
    return [None, ((),), ((10**18, 10**18),), ((2**256 - 1,) * 3,), ((0, 0, 0),)]


async def test_a_set_pause_counts_although_another_flag_is_unknown() -> None:
    answers = {POOL.encode("inRecoveryMode"): (True,)}
    chain = FakeChain(
        answers
        | {
            POOL.encode("getPoolId"): (bytes.fromhex(WATCHER.pool_id[2:]),),
            VAULT.encode("getPoolTokens", bytes.fromhex(WATCHER.pool_id[2:])): ((A, B), (1, 1), 5),
            ERC20.encode("decimals"): (18,),
        }
    )
    rows = await WATCHER.read(chain, block=BLOCK, read_at_s=0.0)
    paused = next(row for row in rows if row.metric is Metric.PAUSED)
    assert paused.value == 1.0
