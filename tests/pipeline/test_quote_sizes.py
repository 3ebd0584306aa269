"""How many contracts venues are asked for: options on a factor may stand in for a token's (R8)."""

import math

import pytest

from bot.model.exposure import Exposure, ExposureKind, LpShape
from bot.model.market import Columns
from bot.pipeline.loop import quote_sizes
from bot.ports import MarketView
from bot.settings import PolicySettings, load_policy

POLICY = load_policy(PolicySettings())
PRICES = {"ETH": 2_000.0, "BTC": 40_000.0, "UNI": 8.0}


def lp(underlying: str, value_usd: float) -> Exposure:
    return Exposure(
        id=underlying,
        kind=ExposureKind.UNISWAP_V2,
        protocol="uniswap-v2",
        chain_id=1,
        pool=f"{underlying}/USDC",
        underlying=underlying,
        stable="USDC",
        shape=LpShape(liquidity=1.0),
        spot_usd=PRICES[underlying],
        value_usd=value_usd,
    )


@pytest.mark.parametrize(
    ("exposures", "prices", "usd"),
    [
        ((), PRICES, {}),
        ((lp("ETH", 1e6),), PRICES, {"ETH": 1e6}),  # nothing of BTC is asked for
        ((lp("ETH", 1e6), lp("BTC", 5e5)), PRICES, {"ETH": 1e6, "BTC": 5e5}),
        ((lp("UNI", 1e5),), PRICES, {"UNI": 1e5, "ETH": 1e5, "BTC": 1e5}),
        ((lp("UNI", 1e5), lp("ETH", 1e6)), PRICES, {"UNI": 1e5, "ETH": 1.1e6, "BTC": 1e5}),
        ((lp("UNI", 1e5),), {"UNI": 8.0, "ETH": 2_000.0}, {"UNI": 1e5, "ETH": 1e5}),
        ((lp("UNI", 1e5),), {"UNI": 8.0, "ETH": math.nan}, {"UNI": 1e5}),
        ((lp("UNI", 0.0),), PRICES, {}),
    ],
)
def test_quotes_are_asked_for_what_may_hedge(exposures, prices, usd):
    view = MarketView(now_s=0.0, block=None, columns=Columns(series={}), spot_usd=prices)
    share = POLICY.orders.quote_share
    expected = {name: pytest.approx(share * value / prices[name]) for name, value in usd.items()}
    assert quote_sizes(POLICY, exposures, view) == expected
