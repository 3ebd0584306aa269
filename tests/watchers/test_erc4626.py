"""The vault watcher on OpenZeppelin's vault and on a pausable one that keeps its assets elsewhere."""

import math
from dataclasses import replace
from typing import Any

import pytest
from fake_chain import BLOCK, FakeChain
from hypothesis import given, settings
from hypothesis import strategies as st
from reference_contracts import deploy_reference

from bot.chain.reader import JsonRpcReader
from bot.devnet.deploy_bench import Bench
from bot.devnet.deploy_vault import USER_USDC, WHALE_USDC, VaultDeployment, deposit, withdraw
from bot.devnet.deployment import Deployment
from bot.errors import ConfigError
from bot.model.market import Metric, Observation
from bot.watchers.erc4626 import VAULT, Erc4626Watcher
from bot.watchers.pools import ERC20

ALL = WHALE_USDC + USER_USDC
ASSET, ADDRESS, HOLDER = "0x" + "11" * 20, "0x" + "22" * 20, "0x" + "33" * 20
WATCHER = Erc4626Watcher(
    label="v", vault=ADDRESS, share="sDAI", share_decimals=18, asset="DAI", asset_token=ASSET,
    asset_decimals=18, pausable=True,
)  # fmt: skip


async def _rows(chain: JsonRpcReader, watcher: Erc4626Watcher) -> dict[Metric, Observation]:
    rows = await watcher.read(chain, block=await chain.head(), read_at_s=0.0)
    assert tuple(row.key for row in rows) == watcher.series
    return {row.metric: row for row in rows}


async def _values(chain: JsonRpcReader, watcher: Erc4626Watcher) -> dict[Metric, float]:
    return {metric: row.value for metric, row in (await _rows(chain, watcher)).items()}


@pytest.mark.devnet
async def test_deposits_withdrawals_and_yield(
    chain: JsonRpcReader, vault: VaultDeployment, bench: Bench, at: Deployment
) -> None:
    """Assets follow deposits, the rate does not; what is sent to the vault raises both."""
    watcher = vault.watcher
    first = await _values(chain, watcher)
    assert first == {
        Metric.TOKEN_UNITS: ALL, Metric.EXCHANGE_RATE: 1.0, Metric.IDLE_UNITS: ALL
    }  # fmt: skip
    await withdraw(bench, vault, owner=at.whale, amount_raw=5_000_000 * 10**6)
    await deposit(bench, vault, owner=at.user, amount_raw=10_000 * 10**6)
    assert (await _values(chain, watcher))[Metric.TOKEN_UNITS] == ALL - 4_990_000
    held = ALL - 4_990_000
    await bench.at("TestERC20SetDecimals", at.usdc).send("mint", vault.vault, 150_600 * 10**6)
    grown = await _values(chain, watcher)
    assert grown[Metric.TOKEN_UNITS] == held + 150_600
    assert grown[Metric.EXCHANGE_RATE] == pytest.approx(1 + 150_600 / held, abs=2e-6)
    (keys,) = ([key.subject for key in watcher.series],)
    assert keys == ["vault:USDC/USDC", "vUSDC/USDC", "vault:USDC/USDC"]


@pytest.mark.devnet
async def test_idle_of_a_holder_is_what_it_may_withdraw(
    chain: JsonRpcReader, vault: VaultDeployment, at: Deployment
) -> None:
    found = await _values(chain, replace(vault.watcher, holder=at.user))
    assert found[Metric.IDLE_UNITS] == USER_USDC


@pytest.mark.devnet
async def test_assets_elsewhere_other_decimals_and_a_pause(
    chain: JsonRpcReader, bench: Bench, at: Deployment
) -> None:
    """18-decimal shares over USDC; the vault itself holds nothing, its holder may take what is liquid."""
    contract = await deploy_reference(bench, "PausableVault", at.usdc)
    await contract.send("set_state", 1_100_000 * 10**6, 10**6 * 10**18, 250_000 * 10**6, False)
    watcher = Erc4626Watcher(
        label="v", vault=contract.address, share="vUSDC", share_decimals=18, asset="USDC",
        asset_token=at.usdc, asset_decimals=6, holder=at.whale, pausable=True,
    )  # fmt: skip
    found = await _values(chain, watcher)
    assert found == {
        Metric.TOKEN_UNITS: 1_100_000.0, Metric.EXCHANGE_RATE: 1.1, Metric.IDLE_UNITS: 250_000.0,
        Metric.PAUSED: 0.0,
    }  # fmt: skip
    assert (await _values(chain, replace(watcher, holder=None)))[Metric.IDLE_UNITS] == 0
    await contract.send("set_state", 1_100_000 * 10**6, 10**6 * 10**18, 250_000 * 10**6, True)
    paused = await _values(chain, watcher)
    assert (paused[Metric.PAUSED], paused[Metric.IDLE_UNITS]) == (1.0, 0.0)
    await contract.send("set_state", 10**6, 0, 0, False)
    empty = await _rows(chain, watcher)
    assert "convertToAssets" in empty[Metric.EXCHANGE_RATE].why_unknown
    assert empty[Metric.TOKEN_UNITS].value == 1.0


@pytest.mark.devnet
@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"share_decimals": 18}, "has 6 decimals, configured are 18"),
        ({"asset_decimals": 18}, "has 6 decimals, configured are 18"),
        ({"vault": HOLDER}, "check the address"),
    ],
)
async def test_a_wrong_configuration_is_named(
    changes: dict[str, Any], why: str, chain: JsonRpcReader, vault: VaultDeployment
) -> None:
    for row in (await _rows(chain, replace(vault.watcher, **changes))).values():
        assert math.isnan(row.value)
        assert why in row.why_unknown


@pytest.mark.devnet
async def test_another_asset_and_a_missing_pause_are_named(
    chain: JsonRpcReader, vault: VaultDeployment, at: Deployment
) -> None:
    for row in (await _rows(chain, replace(vault.watcher, asset_token=at.susd))).values():
        assert "configured as USDC is" in row.why_unknown
    rows = await _rows(chain, replace(vault.watcher, pausable=True))
    assert "it may have none" in rows[Metric.PAUSED].why_unknown
    assert math.isfinite(rows[Metric.TOKEN_UNITS].value)


@pytest.mark.parametrize("decimals", [-1, 37])
def test_decimals_that_cannot_be(decimals: int) -> None:
    with pytest.raises(ConfigError, match=r"share_decimals must be 0\.\.36"):
        replace(WATCHER, share_decimals=decimals)


@given(data=st.data(), holder=st.sampled_from([None, HOLDER]))
@settings(max_examples=150, deadline=None)
async def test_broken_answers_are_unknown_never_another_number(
    data: st.DataObject, holder: str | None
) -> None:
    watcher = replace(WATCHER, holder=holder)
    answers: dict[bytes, Any] = {
        VAULT.encode("asset"): (ASSET,),
        VAULT.encode("decimals"): (18,),
        VAULT.encode("totalAssets"): (5 * 10**24,),
        VAULT.encode("convertToAssets", 10**18): (11 * 10**17,),
        VAULT.encode("paused"): (False,),
        VAULT.encode("maxWithdraw", HOLDER): (10**23,),
        ERC20.encode("balanceOf", ADDRESS): (10**22,),
    }
    whole = await watcher.read(FakeChain(answers), block=BLOCK, read_at_s=0.0)
    assert all(math.isfinite(row.value) for row in whole)
    call = data.draw(st.sampled_from(sorted(answers)))
    wrong = [None, (HOLDER,)] if call == VAULT.encode("asset") else [None, (2**256 - 1,)]
    if call == VAULT.encode("paused"):
        wrong = [None]
    if call == VAULT.encode("convertToAssets", 10**18):
        wrong += [(0,), (10**30,)]
    answers[call] = data.draw(st.sampled_from(wrong))
    broken = await watcher.read(FakeChain(answers), block=BLOCK, read_at_s=0.0)
    for row, before in zip(broken, whole, strict=True):
        assert row.value == before.value or (math.isnan(row.value) and row.why_unknown)
