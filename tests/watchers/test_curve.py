"""The Curve watcher on reference pools of the three interfaces (S1, S3, S4, S5)."""

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
from bot.model.market import Metric, Observation, SeriesKey
from bot.watchers.curve import COIN, CURVE, CurveCoin, CurveWatcher
from bot.watchers.pools import ERC20

A, FEE = 200, 4 * 10**6  # 0.04 %
USDC_RAW, SUSD_RAW = 40_000_000 * 10**6, 60_000_000 * 10**18
POOL = "0x" + "77" * 20


@pytest.fixture
def coins(at: Deployment) -> tuple[CurveCoin, CurveCoin]:
    return (
        CurveCoin(symbol="USDC", address=at.usdc, decimals=6),
        CurveCoin(symbol="sUSD", address=at.susd, decimals=18),
    )


async def _stable(bench: Bench, at: Deployment, name: str) -> Contract:
    pool = await deploy_reference(bench, name, [at.usdc, at.susd], [10**30, 10**18], A, FEE)
    await pool.send("set_balances", [USDC_RAW, SUSD_RAW])
    return pool


async def _rows(chain: JsonRpcReader, watcher: CurveWatcher) -> dict[str, Observation]:
    rows = await watcher.read(chain, block=await chain.head(), read_at_s=0.0)
    assert tuple(row.key for row in rows) == watcher.series
    return {f"{row.metric} {row.subject}": row for row in rows}


async def _values(chain: JsonRpcReader, watcher: CurveWatcher) -> dict[str, float]:
    return {key: row.value for key, row in (await _rows(chain, watcher)).items()}


@pytest.mark.devnet
@pytest.mark.parametrize("name", ["CurveStableSwapOld", "CurveStableSwapNG"])
async def test_both_index_types_give_the_same_pool(
    name: str, chain: JsonRpcReader, bench: Bench, at: Deployment, coins: tuple[CurveCoin, ...]
) -> None:
    pool = await _stable(bench, at, name)
    found = await _values(
        chain, CurveWatcher(label="p", pool=pool.address, coins=coins, quote="USDC", quote_is_usd=True)
    )
    assert found["token_units p/USDC"] == 40e6
    assert found["token_units p/sUSD"] == 60e6
    assert found["pool_share p/USDC"] == pytest.approx(0.4)
    assert found["pool_share p/sUSD"] == pytest.approx(0.6)
    assert found["virtual_price p"] == 1.0
    assert set(found) == {
        "token_units p/USDC", "token_units p/sUSD", "pool_share p/USDC", "pool_share p/sUSD",
        "virtual_price p", "pool_depth_usd p",
    }  # fmt: skip


@pytest.mark.devnet
@pytest.mark.parametrize("name", ["CurveStableSwapOld", "CurveStableSwapNG"])
async def test_depth_is_where_the_pools_own_marginal_price_has_fallen_2_percent(
    name: str, chain: JsonRpcReader, bench: Bench, at: Deployment, coins: tuple[CurveCoin, ...]
) -> None:
    """sUSD is in excess: selling more of it is the cheaper direction; checked by get_dy around the size."""
    pool = await _stable(bench, at, name)
    watcher = CurveWatcher(label="p", pool=pool.address, coins=coins, quote="USDC", quote_is_usd=True)
    depth = (await _values(chain, watcher))["pool_depth_usd p"]

    async def price(size: float) -> float:
        low, high = (round(size * factor * 10**18) for factor in (0.9999, 1.0001))
        paid = [await pool.call("get_dy", 1, 0, dx) for dx in (low, high)]
        return float((paid[1] - paid[0]) * 10**12 / (high - low))

    assert await price(depth) / await price(100.0) == pytest.approx(0.98, abs=4e-4)
    turned = CurveWatcher(label="p", pool=pool.address, coins=coins, quote="sUSD", quote_is_usd=True)
    assert (await _values(chain, turned))["pool_depth_usd p"] == pytest.approx(depth)
    await pool.send("set_balances", [USDC_RAW // 4, SUSD_RAW + 30_000_000 * 10**18])
    assert (await _values(chain, watcher))["pool_depth_usd p"] < depth / 3


@pytest.mark.devnet
async def test_prices_come_from_the_ema_and_rates_count(
    chain: JsonRpcReader, bench: Bench, at: Deployment, coins: tuple[CurveCoin, ...]
) -> None:
    """A coin with a rate of 1.25 whose scaled price is 0.9 is worth 1.125; virtual price as it is."""
    pool = await _stable(bench, at, "CurveStableSwapNG")
    await pool.send("set_rates", [10**30, 1_250_000_000_000_000_000])
    await pool.send("set_prices", 1_010_000_000_000_000_000, 900_000_000_000_000_000)
    watcher = CurveWatcher(
        label="p",
        pool=pool.address,
        coins=coins,
        value_by="rates",
        has_oracle=True,
        quote="USDC",
        quote_is_usd=True,
    )
    rows = await _rows(chain, watcher)
    assert rows["pool_share p/USDC"].value == pytest.approx(40 / 115)
    assert rows["price_usd sUSD"].value == pytest.approx(1.125)
    assert rows["price_usd sUSD"].source == "curve:p"
    assert rows["virtual_price p"].value == pytest.approx(1.01)
    other = await _values(chain, replace(watcher, quote="sUSD", quote_is_usd=False))
    assert other["exchange_rate USDC/sUSD"] == pytest.approx(1 / 1.125)
    assert "pool_depth_usd p" not in other


@pytest.mark.devnet
async def test_rates_as_an_array_of_fixed_length(
    chain: JsonRpcReader, bench: Bench, at: Deployment, coins: tuple[CurveCoin, ...]
) -> None:
    """As pools of before StableSwap-NG return them."""
    pool = await _stable(bench, at, "CurveStableSwapOld")
    watcher = CurveWatcher(label="p", pool=pool.address, coins=coins, value_by="rates")
    await pool.send("set_rates", [10**30, 2 * 10**18])
    assert (await _values(chain, watcher))["pool_share p/USDC"] == pytest.approx(40 / 160)


@pytest.mark.devnet
async def test_crypto_pool_counts_by_its_oracle(chain: JsonRpcReader, bench: Bench, at: Deployment) -> None:
    """x y = k: a 2 % fall of the marginal price takes 1 / sqrt(0.98) - 1 of the reserve, fee aside."""
    pool = await deploy_reference(bench, "CurveCryptoSwap", [at.usdc, at.weth], 10**7)
    await pool.send("set_balances", [30_000_000 * 10**6, 10_000 * 10**18])
    await pool.send("set_prices", 1_200_000_000_000_000_000, 3_000 * 10**18)
    coins = (
        CurveCoin(symbol="USDC", address=at.usdc, decimals=6),
        CurveCoin(symbol="ETH", address=at.weth, decimals=18),
    )
    watcher = CurveWatcher(
        label="c",
        pool=pool.address,
        coins=coins,
        value_by="oracle",
        has_oracle=True,
        quote="USDC",
        quote_is_usd=True,
    )
    found = await _values(chain, watcher)
    assert found["price_usd ETH"] == 3_000.0
    assert found["pool_share c/ETH"] == pytest.approx(0.5)
    assert found["pool_depth_usd c"] == pytest.approx(30e6 * (1 / math.sqrt(0.98) - 1), rel=5e-3)


@pytest.mark.devnet
async def test_a_wrong_pool_is_named(
    chain: JsonRpcReader, bench: Bench, at: Deployment, coins: tuple[CurveCoin, ...]
) -> None:
    pool = await _stable(bench, at, "CurveStableSwapNG")
    turned = CurveWatcher(label="p", pool=pool.address, coins=coins[::-1], quote="USDC", quote_is_usd=True)
    lying = CurveWatcher(label="p", pool=pool.address, coins=(replace(coins[0], decimals=8), coins[1]))
    nobody = CurveWatcher(label="p", pool=at.user, coins=coins, quote="USDC", quote_is_usd=True)
    for watcher, why in ((turned, "configured as sUSD"), (lying, "has 6 decimals"), (nobody, "check the")):
        for row in (await _rows(chain, watcher)).values():
            assert math.isnan(row.value)
            assert why in row.why_unknown
    await pool.send("set_balances", [0, 0])
    found = await _rows(
        chain, CurveWatcher(label="p", pool=pool.address, coins=coins, quote="USDC", quote_is_usd=True)
    )
    assert found["token_units p/USDC"].value == 0, "an empty pool holds nothing: that is known"
    assert found["virtual_price p"].value == 1
    assert "is empty" in found["pool_share p/USDC"].why_unknown
    assert "too little" in found["pool_depth_usd p"].why_unknown


@pytest.mark.devnet
async def test_without_an_oracle_the_price_is_unknown_not_spot(
    chain: JsonRpcReader, bench: Bench, at: Deployment, coins: tuple[CurveCoin, ...]
) -> None:
    pool = await _stable(bench, at, "CurveStableSwapOld")
    watcher = CurveWatcher(
        label="p", pool=pool.address, coins=coins, has_oracle=True, quote="USDC", quote_is_usd=True
    )
    rows = await _rows(chain, watcher)
    assert math.isnan(rows["price_usd sUSD"].value)
    assert "price_oracle" in rows["price_usd sUSD"].why_unknown
    assert all(math.isfinite(row.value) for key, row in rows.items() if key != "price_usd sUSD")


# -- without a chain --------------------------------------------------------------------------------------

USDC = CurveCoin(symbol="USDC", address="0x" + "11" * 20, decimals=6)
ETH = CurveCoin(symbol="ETH", address=COIN, decimals=18)


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"coins": (USDC,)}, "two or more coins"),
        ({"coins": (USDC, USDC)}, "each once"),
        ({"quote": "DAI"}, "is no coin of"),
        ({"value_by": "oracle"}, "needs has_oracle"),
        ({"coins": (USDC, replace(ETH, decimals=8))}, "has 18 decimals"),
    ],
)
def test_what_cannot_be_is_refused(changes: dict[str, Any], why: str) -> None:
    with pytest.raises(ConfigError, match=why):
        CurveWatcher(**({"label": "p", "pool": POOL, "coins": (USDC, ETH)} | changes))


class PoolChain(FakeChain):
    """A pool of 3,000,000 USDC and 1,000 ETH that trades by x y = k; ``broken`` answers override."""

    def __init__(self, broken: dict[bytes, tuple[Any, ...] | None]) -> None:
        answers: dict[bytes, tuple[Any, ...] | None] = {
            CURVE.encode("get_virtual_price"): (10**18,),
            CURVE.encode("price_oracle(uint256)", 0): (3_000 * 10**18,),
            CURVE.encode("stored_rates"): ((10**30, 10**18),),
            ERC20.encode("decimals"): (6,),
        }
        for index, (coin, held) in enumerate(((USDC, 3 * 10**12), (ETH, 10**21))):
            answers[CURVE.encode("coins(uint256)", index)] = (coin.address,)
            answers[CURVE.encode("balances(uint256)", index)] = (held,)
        super().__init__(answers | broken)
        self.dy_broken: Any = None

    async def read(self, calls: Any, *, block: Any) -> list[tuple[Any, ...] | None]:
        return [self._get_dy(call.data) or self.answers.get(call.data) for call in calls]

    def _get_dy(self, data: bytes) -> tuple[Any, ...] | None:
        if data[:4] != CURVE.function("get_dy(uint256,uint256,uint256)").selector:
            return None
        sold, bought, dx = (int.from_bytes(data[at : at + 32], "big") for at in (4, 36, 68))
        held = (3 * 10**12, 10**21)
        paid = held[bought] * dx // (held[sold] + dx)
        return (paid,) if self.dy_broken is None else self.dy_broken(dx, paid)


def test_a_quote_is_no_dollar_unless_it_is_said_so() -> None:
    keys = CurveWatcher(
        label="c", pool=POOL, coins=(USDC, ETH), value_by="oracle", has_oracle=True, quote="ETH"
    ).series
    assert {key.subject for key in keys if key.metric is Metric.EXCHANGE_RATE} == {"USDC/ETH"}
    assert not {key.metric for key in keys} & {Metric.PRICE_USD, Metric.POOL_DEPTH_USD}


WATCHER = CurveWatcher(
    label="c",
    pool=POOL,
    coins=(USDC, ETH),
    value_by="oracle",
    has_oracle=True,
    quote="USDC",
    quote_is_usd=True,
)
HUGE, NOTHING = (2**256 - 1,), (0,)


async def _read(chain: FakeChain, watcher: CurveWatcher = WATCHER) -> dict[SeriesKey, Observation]:
    return {row.key: row for row in await watcher.read(chain, block=BLOCK, read_at_s=0.0)}


@given(data=st.data(), value_by=st.sampled_from(["par", "rates", "oracle"]))
@settings(max_examples=200, deadline=None)
async def test_broken_answers_are_unknown_never_another_number(data: st.DataObject, value_by: Any) -> None:
    watcher = replace(WATCHER, value_by=value_by)
    whole = await _read(PoolChain({}), watcher)
    assert all(math.isfinite(row.value) for row in whole.values())
    healthy = PoolChain({})
    call = data.draw(st.sampled_from(sorted(healthy.answers)))
    answer = healthy.answers[call]
    assert answer is not None
    wrong: list[Any] = [None, HUGE, (-1,)] if isinstance(answer[0], int) else [None]
    if isinstance(answer[0], tuple):
        wrong += [((),), ((10**30,),), ((0, 0),), ((2**255, 2**255),)]
    if isinstance(answer[0], str):
        wrong += [(POOL,)]
    rows = await _read(PoolChain({call: data.draw(st.sampled_from(wrong))}), watcher)
    for key, row in rows.items():
        assert row.value == whole[key].value or (math.isnan(row.value) and row.why_unknown)


@pytest.mark.parametrize(
    "broken",
    [
        lambda _dx, _paid: None,
        lambda _dx, _paid: NOTHING,
        lambda _dx, _paid: HUGE,
        lambda dx, _paid: (dx,),
        lambda dx, paid: (paid,) if dx < 10**10 else None,
        lambda _dx, paid: (min(paid, 10**6),),
    ],
)
async def test_absurd_get_dy_leaves_only_the_depth_unknown(broken: Any) -> None:
    chain = PoolChain({})
    chain.dy_broken = broken
    rows = await _read(chain)
    for key, row in rows.items():
        if key.metric is Metric.POOL_DEPTH_USD:
            assert math.isnan(row.value), row.value
            assert "get_dy" in row.why_unknown
        else:
            assert math.isfinite(row.value)
