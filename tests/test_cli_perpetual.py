"""``alvh positions, close, history`` for perpetuals (R27) on the devnet's Perp v2, through the signer."""

import asyncio
from pathlib import Path
from typing import Any

import pytest
from commands import Home

from bot.app.live import open_bot
from bot.devnet.config import perpetual_section
from bot.devnet.node import Devnet
from bot.model.hedge import LegStatus
from bot.model.perpetual import Perpetual, PerpetualAction, PerpetualOrder
from bot.pipeline.moments import view_of
from bot.settings import load_settings

pytestmark = pytest.mark.devnet
LIVE = ("--mode", "live", "--json")
NAME = "perp-v2:vETH"
PERP = Perpetual(venue="perp-v2", id="vETH", underlying="ETH", settlement="USDC")
SIZE, MARGIN_USD = 2.0, 2_000.0


@pytest.fixture
def home(home: Home, devnet: Devnet) -> Home:
    """The devnet's user with the perpetual market, as ``alvh devnet up`` writes it; it holds a short."""
    home.config.write_text(home.config.read_text() + perpetual_section(devnet.deployment))
    asyncio.run(sell(home.config))
    return home


async def sell(config: Path) -> None:
    """Open a short as the bot does: the market is calm, so that no policy would."""
    async with open_bot(load_settings(config), mode="live") as bot:
        block = await bot.reader.head()
        moment = await bot.source.cut(block, now_s=bot.source.clock(block))
        order = PerpetualOrder(
            key="plan.1-ETH.USDC-PERPETUAL-0",
            group="ETH/USDC",
            action=PerpetualAction.OPEN,
            perpetual=PERP,
            size=-SIZE,
            margin_usd=MARGIN_USD,
            limit_usd=1_000.0,
            expected_usd=12.0,
            valid_until_s=moment.now_s + 600.0,
        )
        (done,) = await bot.pipeline.perpetuals.execute([order], view_of(moment))
    assert done.status is LegStatus.FILLED, done.because


def held(home: Home) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = home.alvh("positions", *LIVE).document["perpetuals"]
    return found


@pytest.mark.usefixtures("signer")
def test_a_short_is_shown_and_closed_by_hand_in_part_and_whole_while_paused(home: Home):
    (short,) = held(home)
    assert (short["position"], short["group"], short["size"]) == (NAME, "ETH/USDC", -SIZE)
    assert short["margin_usd"] == pytest.approx(MARGIN_USD, rel=0.01)
    assert short["liquidation_usd"] > short["mark_usd"] > 0.0
    assert short["funding_usd"] is not None
    shown = home.alvh("positions", "--mode", "live").out
    for word in (NAME, "-2.00", "margin", "funding"):
        assert word in shown

    part = home.alvh("close", NAME, "--size", "0.5", "--yes", *LIVE)
    assert part.code == 0, part
    (asked,), (done,) = part.document["asked"], part.document["orders"]
    assert (asked["action"], asked["size"], asked["reduce_only"]) == ("reduce", 0.5, True)
    assert (done["status"], done["filled_size"]) == ("filled", 0.5)
    assert 0.0 < done["price_usd"] <= asked["limit_usd"]
    assert done["margin_moved_usd"] == pytest.approx(-MARGIN_USD / 4, rel=0.05)
    assert held(home)[0]["size"] == pytest.approx(-1.5)

    home.alvh("pause", "--why", "a look at the market")
    # To the signer a trade of a part, the other way, may be an opening; closing the whole never is.
    refused = home.alvh("close", NAME, "--size", "0.5", "--yes", *LIVE)
    assert refused.code == 1, refused
    assert refused.document["orders"][0]["status"] == "rejected"
    assert "paused" in refused.document["orders"][0]["because"]
    whole = home.alvh("close", "vETH", "--yes", *LIVE)
    assert whole.code == 0, whole
    assert whole.document["orders"][0]["filled_size"] == pytest.approx(1.5)
    assert held(home) == []

    told = home.alvh("history", *LIVE).document
    assert [(item["action"], item["status"]) for item in told["perpetual_orders"]] == [
        ("open", "filled"),
        ("reduce", "filled"),
        ("reduce", "rejected"),
        ("reduce", "filled"),
    ]
    assert told["open_perpetual_orders"] == told["waiting"] == []
    assert "PERP reduce at perp-v2: filled" in " ".join(home.alvh("history", "--mode", "live").out.split())


SENSELESS = (
    (("close", NAME, "--size", "5"), 4, ("--size 5", "has 2 units")),
    (("close", NAME, "--size", "0"), 4, ("--size",)),
    (("close", NAME, "--least", "10"), 4, ("--least", "--price")),
    (("close", NAME, "--price", "0"), 4, ("--price",)),
    (("roll", NAME), 4, (NAME, "alvh close")),
    (("exercise", NAME), 4, (NAME, "alvh close")),
    (("close", "perp-v2:vBTC"), 2, ("perp-v2:vBTC", "held are", NAME)),
)


def test_what_makes_no_sense_is_refused_and_a_bound_that_cannot_be_had_too(home: Home):
    for command, code, words in SENSELESS:
        home.alvh(*command, "--yes", "--mode", "live").refused(code, *words)
    low = home.alvh("close", NAME, "--price", "100", "--yes", *LIVE)
    assert low.code == 1, low
    assert "the order's limit is 100.00" in low.document["orders"][0]["because"]
    assert held(home)[0]["size"] == -SIZE
