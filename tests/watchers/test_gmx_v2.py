"""Funding of GMX v2 markets from the DataStore, against a reference store (S10)."""

import math
from typing import Any

import pytest
from eth_abi.abi import encode
from eth_utils.crypto import keccak
from fake_chain import FakeChain
from reference_contracts import GMX_HOURLY as HOURLY
from reference_contracts import GMX_LONG as LONG
from reference_contracts import GMX_MARKET as MARKET
from reference_contracts import GMX_SHORT as SHORT
from reference_contracts import deploy_gmx

from bot.chain.reader import JsonRpcReader
from bot.devnet.deploy_bench import Bench, Contract
from bot.devnet.deployment import Deployment
from bot.errors import ConfigError
from bot.model.market import Observation
from bot.watchers.gmx_v2 import STORE, GmxV2Watcher, key, token_key

FLOAT = 10**30


def _watcher(store: str, **changes: Any) -> GmxV2Watcher:
    return GmxV2Watcher(**{"underlying": "ETH", "data_store": store, "market": MARKET, **changes})


async def _row(chain: Any, watcher: GmxV2Watcher) -> Observation:
    (row,) = await watcher.read(chain, block=await chain.head(), read_at_s=0.0)
    assert row.key == watcher.series[0]
    return row


def test_keys_are_those_of_keys_sol() -> None:
    """Written out once more as Solidity has them: keccak256(abi.encode(...))."""
    root = keccak(encode(["string"], ["OPEN_INTEREST"]))
    packed = encode(["bytes32", "address", "address", "bool"], [root, MARKET, LONG, True])
    assert key("OPEN_INTEREST", MARKET, LONG, is_long=True) == keccak(packed)
    assert key("MARKET_LIST") == keccak(encode(["string"], ["MARKET_LIST"]))
    inner = keccak(encode(["string"], ["LONG_TOKEN"]))
    assert token_key(MARKET, "LONG_TOKEN") == keccak(encode(["address", "bytes32"], [MARKET, inner]))


@pytest.fixture
async def store(bench: Bench) -> Contract:
    return await deploy_gmx(bench)


@pytest.mark.devnet
async def test_the_sign_is_who_pays_and_the_bounds_hold(chain: JsonRpcReader, store: Contract) -> None:
    watcher, saved = _watcher(store.address), key("SAVED_FUNDING_FACTOR_PER_SECOND", MARKET)
    year = 0.0001 * 24 * 365
    assert (await _row(chain, watcher)).value == pytest.approx(year, rel=1e-12)
    await store.send("setInt", saved, -HOURLY)
    assert (await _row(chain, watcher)).value == pytest.approx(-year, rel=1e-12)
    await store.send("setInt", saved, -5 * HOURLY)
    assert (await _row(chain, watcher)).value == pytest.approx(-2 * year, rel=1e-12)
    await store.send("setUint", key("MIN_FUNDING_FACTOR_PER_SECOND", MARKET), HOURLY)
    await store.send("setInt", saved, 1)
    assert (await _row(chain, watcher)).value == pytest.approx(year, rel=1e-12)


@pytest.mark.devnet
async def test_a_market_that_funds_nothing_is_unknown(
    chain: JsonRpcReader, store: Contract, at: Deployment
) -> None:
    watcher = _watcher(store.address)
    for token in (LONG, SHORT):
        await store.send("setUint", key("OPEN_INTEREST", MARKET, token, is_long=False), 0)
    assert "one side holds nothing" in (await _row(chain, watcher)).why_unknown
    await store.send("setBool", key("IS_MARKET_DISABLED", MARKET), True)
    assert "is disabled" in (await _row(chain, watcher)).why_unknown
    assert "is not listed" in (await _row(chain, _watcher(store.address, market=at.weth))).why_unknown
    for address in (at.user, at.usdc):
        row = await _row(chain, _watcher(address))
        assert math.isnan(row.value)
        assert "failed or returned nothing" in row.why_unknown


GOOD: dict[str, tuple | None] = {
    "listed": (True,),
    "disabled": (False,),
    "long": (LONG,),
    "short": (SHORT,),
    "longs": (5,),
    "shorts": (5,),
    "saved": (HOURLY,),
    "increase": (1,),
    "least": (0,),
    "most": (2 * HOURLY,),
}


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({}, ""),
        *(({name: None}, "failed or returned nothing") for name in GOOD),
        ({"longs": (0,)}, "one side holds nothing"),
        ({"increase": (0,)}, "adaptive funding"),
        ({"least": (9 * HOURLY,)}, "no range"),
        ({"saved": (2**255 - 1,), "most": (2**256 - 1,)}, "allowed is up to 50"),
    ],
)
async def test_what_cannot_be_is_unknown(change: dict[str, tuple | None], words: str) -> None:
    answers = {**GOOD, **change}
    chain = FakeChain(
        {
            STORE.encode("containsAddress", key("MARKET_LIST"), MARKET): answers["listed"],
            STORE.encode("getBool", key("IS_MARKET_DISABLED", MARKET)): answers["disabled"],
            STORE.encode("getAddress", token_key(MARKET, "LONG_TOKEN")): answers["long"],
            STORE.encode("getAddress", token_key(MARKET, "SHORT_TOKEN")): answers["short"],
            STORE.encode("getInt", key("SAVED_FUNDING_FACTOR_PER_SECOND", MARKET)): answers["saved"],
            STORE.encode("getUint", key("FUNDING_INCREASE_FACTOR_PER_SECOND", MARKET)): answers["increase"],
            STORE.encode("getUint", key("MIN_FUNDING_FACTOR_PER_SECOND", MARKET)): answers["least"],
            STORE.encode("getUint", key("MAX_FUNDING_FACTOR_PER_SECOND", MARKET)): answers["most"],
        }
        | {
            STORE.encode("getUint", key("OPEN_INTEREST", MARKET, token, is_long=is_long)): answers[side]
            for side, is_long in (("longs", True), ("shorts", False))
            for token in (LONG, SHORT)
        }
    )
    row = await _row(chain, _watcher("0x" + "11" * 20))
    assert math.isnan(row.value) is bool(words)
    assert words in row.why_unknown


def test_settings_are_checked_at_the_start() -> None:
    with pytest.raises(ConfigError, match="highest_apr must be > 0"):
        _watcher("0x" + "11" * 20, highest_apr=-1.0)
