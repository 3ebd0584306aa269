"""Funding of the real Perp v2: size, sign and cap (S10)."""

import math

import pytest
from eth_utils.crypto import keccak
from fake_chain import BLOCK, FakeChain

from bot.chain.abi import Abi
from bot.chain.reader import JsonRpcReader
from bot.devnet.deployment import Deployment
from bot.errors import ConfigError
from bot.watchers.perp_v2_funding import BASE_TOKEN, CONFIG, EXCHANGE, PerpV2FundingWatcher
from bot.watchers.pools import V3_POOL

HOUSE = Abi.load("ClearingHouse")
VAULT = Abi.load("Vault")
ERC20 = Abi.load("ERC20")


def _watcher(at: Deployment) -> PerpV2FundingWatcher:
    return PerpV2FundingWatcher(
        underlying="ETH",
        exchange=at.perp_exchange,
        base_token=at.perp_base_token,
        config=at.perp_clearing_house_config,
    )


async def _apr(chain: JsonRpcReader, at: Deployment) -> float:
    (row,) = await _watcher(at).read(chain, block=await chain.head(), read_at_s=0.0)
    assert row.why_unknown == ""
    return row.value


async def _set_index(chain: JsonRpcReader, at: Deployment, send, price: float) -> None:
    """Publish an index price and let it fill the TWAP window."""
    now_s = (await chain.head()).timestamp_s
    words = round(price * 1e8).to_bytes(32, "big") + now_s.to_bytes(32, "big")
    await send(at.deployer, at.perp_feed, _selector("setAnswer(int256,uint256)") + words)
    await send(at.deployer, at.perp_price_dispatcher, _selector("dispatchPrice(uint256)") + bytes(32))
    await send.wait(1_000)


def _selector(signature: str) -> bytes:
    return keccak(text=signature)[:4]


@pytest.mark.devnet
@pytest.mark.parametrize("premium", [-0.03, -0.005, 0.005, 0.03])
async def test_rate_is_the_premium_a_day(premium: float, chain: JsonRpcReader, at: Deployment, send) -> None:
    (slot0,) = await chain.read([V3_POOL.call("slot0", at.perp_pool)], block=await chain.head())
    market = (slot0[0] / 2**96) ** 2
    await _set_index(chain, at, send, market / (1 + premium))
    # The mean tick of the TWAP is rounded down to a basis point of price, which is 3.65 % a year.
    assert await _apr(chain, at) == pytest.approx(premium * 365, abs=0.04)


@pytest.mark.devnet
@pytest.mark.parametrize(("premium", "sign"), [(0.5, 1), (-0.4, -1)])
async def test_rate_is_capped_as_the_contract_caps_it(
    premium: float, sign: int, chain: JsonRpcReader, at: Deployment, send
) -> None:
    (slot0, most) = await chain.read(
        [
            V3_POOL.call("slot0", at.perp_pool),
            CONFIG.call("getMaxFundingRate", at.perp_clearing_house_config),
        ],
        block=await chain.head(),
    )
    await _set_index(chain, at, send, (slot0[0] / 2**96) ** 2 / (1 + premium))
    assert await _apr(chain, at) == pytest.approx(sign * most[0] / 1e6 * 365)


@pytest.mark.devnet
async def test_a_long_pays_what_the_rate_says(chain: JsonRpcReader, at: Deployment, send) -> None:
    """The contract's own pending payment of a long, over six hours: sign and size."""
    (slot0,) = await chain.read([V3_POOL.call("slot0", at.perp_pool)], block=await chain.head())
    await _set_index(chain, at, send, (slot0[0] / 2**96) ** 2 / 1.02)
    collateral = 100_000 * 10**6
    mint = _selector("mint(address,uint256)") + bytes(12) + bytes.fromhex(at.trader[2:])
    await send(at.deployer, at.usdc, mint + collateral.to_bytes(32, "big"))
    await send(at.trader, at.usdc, ERC20.encode("approve", at.perp_vault, collateral))
    await send(at.trader, at.perp_vault, VAULT.encode("deposit", at.usdc, collateral))
    order = (at.perp_base_token, False, False, 10**18, 0, 2**255, 0, bytes(32))  # buy exactly 1 ETH
    await send(at.trader, at.perp_clearing_house, HOUSE.encode("openPosition", order))
    await send.wait(1_000)
    apr = await _apr(chain, at)
    pending = EXCHANGE.call("getPendingFundingPayment", at.perp_exchange, at.trader, at.perp_base_token)
    index = BASE_TOKEN.call("getIndexPrice", at.perp_base_token, 900)
    start, _ = await chain.read([pending, index], block=await chain.head())
    await send.wait(6 * 3_600)
    end, price = await chain.read([pending, index], block=await chain.head())
    paid = (end[0] - start[0]) / 1e18
    assert paid > 0, "a long pays a positive rate"
    assert paid == pytest.approx(apr / 365 / 4 * price[0] / 1e18, rel=0.02)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"isOpen": (False,)}, "paused or closed"),
        ({"isOpen": None}, "isOpen failed"),
        ({"market": None}, "does not remember it"),
        ({"market": (0,)}, "must be > 0"),
        ({"index": (0,)}, "must be > 0"),
        ({"most": None}, "getMaxFundingRate"),
        ({"market": (2**96 * 10,), "most": (2**24 - 1,)}, "allowed is up to 50"),
        ({"interval": (3_600,)}, "TWAP of 3600 s, configured is 900 s"),
    ],
)
async def test_what_cannot_be_is_unknown(change: dict[str, tuple | None], words: str) -> None:
    answers = {
        "market": (2**96,),
        "index": (10**18,),
        "most": (100_000,),
        "interval": (900,),
        "isOpen": (True,),
        **change,
    }
    base = "0x" + "88" * 20
    calls = {
        "market": EXCHANGE.encode("getSqrtMarketTwapX96", base, 900),
        "index": BASE_TOKEN.encode("getIndexPrice", 900),
        "most": CONFIG.encode("getMaxFundingRate"),
        "interval": CONFIG.encode("getTwapInterval"),
        "isOpen": BASE_TOKEN.encode("isOpen"),
    }
    chain = FakeChain({calls[name]: answer for name, answer in answers.items()})
    watcher = PerpV2FundingWatcher(
        underlying="ETH", exchange="0x" + "99" * 20, base_token=base, config="0x" + "aa" * 20
    )
    (row,) = await watcher.read(chain, block=BLOCK, read_at_s=0.0)
    assert math.isnan(row.value)
    assert words in row.why_unknown


@pytest.mark.parametrize("fault", [{"twap_s": 0}, {"highest_apr": 0.0}])
def test_settings_are_checked_at_the_start(fault: dict[str, float]) -> None:
    address = "0x" + "88" * 20
    places = {"exchange": address, "base_token": address, "config": address}
    with pytest.raises(ConfigError, match="Perp v2 ETH"):
        PerpV2FundingWatcher(**{"underlying": "ETH", **places, **fault})
