"""``alvh cover``: quoted, bought, listed and claimed on the reference mutual, through signer and journal."""

import asyncio
import os
import signal
from pathlib import Path

import pytest
from commands import Home

from bot.chain.rpc import Rpc
from bot.devnet.config import cover_section
from bot.devnet.node import Devnet
from bot.model.units import DAY_S

pytestmark = pytest.mark.devnet
LIVE = ("--mode", "live", "--json")
COVER = ("uniswap-v3", "--usd", "50000")


@pytest.fixture
def home(home: Home, devnet: Devnet) -> Home:
    """The devnet's user, with the mutual."""
    home.config.write_text(home.config.read_text() + cover_section(devnet.deployment))
    home.change(r"\[nexus\]", f'[exit]\nv2_router = "{devnet.deployment.v2_router}"\n\n[nexus]')
    return home


async def _ask(devnet: Devnet, method: str, *params: object) -> None:
    async with Rpc(devnet.rpc_url, timeout_s=30) as connection:
        await connection.request(method, list(params))


def warp(devnet: Devnet, days: float) -> None:
    """Set the time so many days after the deployment."""
    at_s = devnet.deployment.deployed_at_s + round(days * DAY_S)
    asyncio.run(_ask(devnet, "evm_setNextBlockTimestamp", at_s))
    asyncio.run(_ask(devnet, "evm_mine"))


@pytest.mark.usefixtures("signer")
def test_the_life_of_a_cover_from_the_quote_to_its_last_day(home: Home, devnet: Devnet, tmp_path: Path):
    quote = home.alvh("cover", "quote", *COVER, "--days", "90", "--json").document
    assert quote["premium_usd"] == pytest.approx(50_000 * 0.03 * 90 / 365, rel=1e-3)
    assert (quote["protocol"], quote["name"], quote["grace_days"]) == ("uniswap-v3", "Uniswap v3", 35.0)
    assert quote["capacity_usd"] == pytest.approx(1_800_000.0)
    said = home.alvh("cover", "quote", *COVER).out
    assert "A fall of the price is not covered" in " ".join(said.split())
    assert max(map(len, said.splitlines())) <= 80

    asked = home.alvh("cover", "buy", *COVER, *LIVE)  # nobody said yes
    assert (asked.code, "--yes" in asked.err, "for at most $" in asked.err) == (4, True, True)
    home.alvh("history", "--mode", "live").refused(2)

    bought = home.alvh("cover", "buy", *COVER, "--yes", *LIVE)
    assert bought.code == 0, bought
    done = bought.document["order"]
    assert (done["status"], done["cover"]) == ("filled", "1")
    assert done["premium_usd"] == pytest.approx(quote["premium_usd"], rel=1e-3)
    assert done["premium_usd"] <= bought.document["asked"]["limit_usd"]
    assert done["gas_usd"] > 0.0
    (held,) = home.alvh("cover", "list", "--json").document["covers"]
    assert (held["cover"], held["alive"], held["claim"]) == ("1", True, "none")
    assert home.alvh("positions", *LIVE).document["covers"] == [held]

    # The books, R9 and R20 know it, though no bot ran when it was bought.
    step = home.alvh("run", "--live", "--once", "--json").document
    assert step["cash_flow_usd"] == pytest.approx(-done["premium_usd"] - done["gas_usd"])
    assert step["limits"]["session_used_usd"] == pytest.approx(done["premium_usd"] + done["gas_usd"])
    proposed = {item["subject"] for item in step["proposals"] if item["rule"] == "R20"}
    assert proposed == {"uniswap-v2"}
    told = home.alvh("history", *LIVE).document
    assert [item["cover"] for item in told["cover_orders"]] == ["1"]
    assert told["open_cover_orders"] == []
    report = home.alvh("report", str(tmp_path / "report.html"), "--mode", "live")
    assert "cover of uniswap-v3, $50,000 for 90 days: filled" in " ".join(report.out.split())
    assert f"covers ${done['premium_usd']:,.0f}" in report.out
    assert "Premium of covers" in (tmp_path / "report.html").read_text()

    # A claim is made ready, nothing is sent.
    draft = home.alvh("cover", "claim", "1", "--usd", "20000", "--json").document
    assert (draft["purpose"], draft["value_wei"]) == ("submit", str(5 * 10**16))
    assert any("KYC" in item for item in draft["needs"])
    home.alvh("cover", "claim", "9").refused(2, "cover '9'", "held are: 1")

    warp(devnet, 80)
    assert "renew it with alvh cover buy uniswap-v3" in " ".join(home.alvh("cover", "list").out.split())
    warp(devnet, 91)
    assert "can be claimed until" in " ".join(home.alvh("cover", "list").out.split())
    warp(devnet, 126)
    assert home.alvh("cover", "list", "--json").document["covers"] == []


SENSELESS = (
    (("quote", "nobody", "--usd", "50"), 1, ("no cover of 'nobody'", "uniswap-v3")),
    (("quote", "uniswap-v3", "--usd", "0"), 4, ("--usd",)),
    (("quote", "uniswap-v3", "--usd", "50", "--days", "0"), 4, ("--days",)),
    (("quote", "uniswap-v3", "--usd", "50", "--days", "20"), 1, ("28 to 365 days",)),
    (("buy", *COVER, "--yes"), 4, ("a dry run covers nothing",)),
    (("buy", *COVER, "--yes", "--mode", "live", "--most", "5"), 4, ("--most 5", "premium")),
    (
        ("buy", "uniswap-v3", "--usd", "1500000", "--days", "365", "--yes", "--mode", "live"),
        4,
        ("(R9)", "leaves"),
    ),
    (("claim", "1"), 2, ("cover '1'", "none")),
)


@pytest.mark.parametrize(("command", "code", "words"), SENSELESS, ids=lambda item: str(item)[:40])
def test_what_makes_no_sense_is_refused_before_anything_is_sent(
    home: Home, command: tuple[str, ...], code: int, words: tuple[str, ...]
):
    home.alvh("cover", *command).refused(code, *words)


def test_a_pause_and_a_cap_of_the_signer_stop_a_purchase(home: Home, devnet: Devnet):
    home.alvh("pause", "--why", "a look")
    home.alvh("cover", "buy", *COVER, "--yes", "--mode", "live").refused(4, "a look", "alvh resume")
    home.alvh("resume", "--yes")
    token = devnet.deployment.usdc
    caps = f'\n[[signer.caps]]\ntoken = "{token}"\ndecimals = 6\nper_transaction = 100\nper_day = 100\n'
    home.config.write_text(home.config.read_text() + caps)
    refused = home.alvh("cover", "buy", *COVER, "--yes", *LIVE)
    assert refused.code == 1, refused
    assert refused.document["order"]["status"] == "rejected"
    assert "cap" in refused.document["order"]["because"]
    assert home.alvh("cover", "list", "--json").document["covers"] == []


@pytest.mark.parametrize("point", ["after 1", "before 5", "after 7", "before 9", "after 9"])
def test_killed_at_a_write_the_next_start_finds_out_what_became_of_it(home: Home, devnet: Devnet, point: str):
    """REL-K1: whatever was sent is found again; nothing is bought twice, and no order stays open."""
    with home.signer():
        assert home.alvh("cover", "buy", *COVER, "--yes", "--mode", "live", die=point).code == -9
        asyncio.run(_ask(devnet, "evm_mine"))
        step = home.alvh("run", "--live", "--once", "--json")
        assert step.code == 0, step
        (ended,) = step.document["cover_orders"]
        told = home.alvh("history", *LIVE).document
    assert told["open_cover_orders"] == []
    assert [item["key"] for item in told["cover_orders"]] == [ended["key"]]
    assert ended["status"] in ("filled", "rejected")
    covers = home.alvh("cover", "list", "--json").document["covers"]
    assert [item["cover"] for item in covers] == (["1"] if ended["status"] == "filled" else [])


def test_without_a_mutual_it_says_what_to_add(home: Home):
    text = home.config.read_text()
    home.config.write_text(text[: text.index("[nexus]")])
    home.alvh("cover", "list").refused(4, "[nexus]")


def test_a_running_bot_buys_and_a_replay_of_its_recording_decides_alike(home: Home, devnet: Devnet):
    running = home.start("run", "--live", "--json", "--record", str(home.folder / "recording"))
    running.until(lambda: running.out.count("\n") >= 1, within_s=60.0)
    for command, waits in (
        (("cover", "buy", *COVER, "--yes", *LIVE), '"cover": "1"'),
        (("exit", "v2:ETH/USDC", "--part", "50%", "--yes", *LIVE), '"action": "withdraw"'),
    ):
        asked = home.start(*command)
        asked.until(lambda: list((home.folder / "orders-live").glob("manual.*.json")), within_s=60.0)
        asyncio.run(_ask(devnet, "evm_mine"))  # no block comes to this chain by itself
        done = asked.wait()
        assert done.code == 0, done
        assert done.document["order"]["status"] == "filled"
        running.until(lambda words=waits: words in running.out, within_s=60.0)
    before = running.out.count("\n")
    asyncio.run(_ask(devnet, "evm_mine"))
    running.until(lambda: running.out.count("\n") > before, within_s=60.0)
    os.kill(running.pid, signal.SIGINT)
    assert running.wait().code == 0, running.err
    again = home.alvh("replay", "--recording", str(home.folder / "recording"), "--json").document
    assert again["steps"] >= 3
    assert again["differences"] == []
