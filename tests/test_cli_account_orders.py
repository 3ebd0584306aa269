"""``alvh exit, top-up, repay`` on real Uniswap and Aave (R21, R29), through signer and journal."""

import asyncio
import os
import signal

import pytest
from commands import Home

from bot.chain.abi import Abi
from bot.chain.rpc import Rpc
from bot.devnet.node import Devnet

pytestmark = pytest.mark.devnet
LIVE = ("--mode", "live", "--json")
ADDRESSES = Abi.load("PoolAddressesProvider")
DATA = Abi.load("AaveProtocolDataProvider")


@pytest.fixture
def home(home: Home, devnet: Devnet) -> Home:
    """The devnet's user, with the way out of v2, a v4 position, and where the loan is paid."""
    at = devnet.deployment
    home.change("v4_position_manager = ", f'v4_pool_manager = "{at.v4_pool_manager}"\nv4_position_manager = ')
    home.config.write_text(
        home.config.read_text()
        + f"""
[exit]
v2_router = "{at.v2_router}"

[[pools]]
label = "v4:ETH/USDC"
kind = "uniswap_v4"
base = "0x{"00" * 20}"
quote = "{at.usdc}"
base_decimals = 18
quote_decimals = 6
fee = {at.v4_pool_fee}
tick_spacing = {at.v4_tick_spacing}

[[positions]]
kind = "uniswap_v4"
pool = "v4:ETH/USDC"
token_id = {at.user_v4_token_id}

[[loans]]
position = "loan"
debt_asset = "USDC"
debt_units = 5_000
pool = "{at.aave_pool}"
debt_token = "{at.usdc}"
debt_decimals = 6
top_up_asset = "ETH"
top_up_token = "{at.weth}"
top_up_decimals = 18
"""
    )
    return home


def v3(devnet: Devnet) -> str:
    return f"v3:{devnet.deployment.user_v3_token_id}"


def test_positions_leave_and_a_loan_is_repaid_by_hand_while_paused(home: Home, devnet: Devnet):
    assert home.alvh("run", "--live", "--once", "--json").code == 0
    home.alvh("pause", "--why", "a look at the market")
    name = v3(devnet)
    left = home.alvh("exit", name, "--part", "40%", "--yes", *LIVE)
    assert left.code == 0, left
    assert f"withdraw 40.0 % of {name} for at least" in " ".join(left.err.split())
    asked, done = left.document["asked"], left.document["order"]
    assert (done["status"], done["part"], done["group"]) == ("filled", 0.4, "ETH/USDC")
    moved = {item["asset"]: item["units"] for item in done["moved"]}
    assert moved["ETH"] > 0.0
    assert moved["USDC"] > 0.0
    assert asked["least_usd"] > 10_000.0
    assert done["gas_usd"] > 0.0

    paid = home.alvh("repay", "loan", "--usd", "600", "--yes", *LIVE).document["order"]
    assert paid["status"] == "filled"
    assert paid["moved"] == [{"asset": "USDC", "units": -600.0}]

    added = home.alvh("top-up", "loan", "--usd", "600", "--yes", *LIVE).document["order"]
    assert added["status"] == "filled"
    assert [item["asset"] for item in added["moved"]] == ["ETH"]
    lacking = home.alvh("top-up", "loan", "--usd", "1000000", "--yes", *LIVE)
    assert lacking.code == 1, lacking
    assert lacking.document["order"]["status"] == "rejected"
    assert "the account lacks" in lacking.document["order"]["because"]

    whole = home.alvh("exit", f"v4:{devnet.deployment.user_v4_token_id}", "--yes", *LIVE).document["order"]
    assert whole["status"] == "filled"
    coin = next(item for item in whole["moved"] if item["asset"] == "ETH")
    assert coin["units"] is None  # the chain's own coin leaves no event

    told = home.alvh("history", *LIVE).document
    assert [item["status"] for item in told["account_orders"]] == [
        "filled",
        "filled",
        "filled",
        "rejected",
        "filled",
    ]
    assert told["open_account_orders"] == told["waiting"] == []
    said = home.alvh("history", "--mode", "live").out
    assert "withdraw 40.0 %" in said
    assert "repay loan, $600" in said

    # What left whole is gone, and no position that cannot be read.
    step = home.alvh("run", "--live", "--once", "--json").document
    assert set(step["exposure_value_usd"]) == {name, "v2:ETH/USDC"}
    assert [hold for hold in step["holds"] if "a look at the market" not in hold] == []
    assert step["cash_flow_usd"] < 0.0


async def mine(devnet: Devnet) -> None:
    async with Rpc(devnet.rpc_url, timeout_s=30) as connection:
        await connection.request("evm_mine", [])


def test_a_running_bot_does_the_order_itself(home: Home, devnet: Devnet):
    running = home.start("run", "--live", "--json")
    running.until(lambda: running.out.count("\n") >= 1, within_s=60.0)
    asked = home.start("exit", "v2:ETH/USDC", "--part", "50%", "--yes", *LIVE)
    asked.until(lambda: list((home.folder / "orders-live").glob("manual.*.json")), within_s=60.0)
    asyncio.run(mine(devnet))  # no block comes to this chain by itself
    left = asked.wait()
    assert left.code == 0, left
    assert left.document["order"]["status"] == "filled"
    running.until(lambda: '"action": "withdraw"' in running.out, within_s=60.0)
    os.kill(running.pid, signal.SIGINT)
    assert running.wait().code == 0, running.err
    assert running.out.count('"action": "withdraw"') == 1


async def debt_token(devnet: Devnet) -> str:
    """Return the token that the user's debt of USDC is counted in."""
    at = devnet.deployment
    asks = (
        (at.aave_addresses_provider, ADDRESSES.encode("getPoolDataProvider")),
        ("", DATA.encode("getReserveTokensAddresses", at.usdc)),
    )
    target, answer = "", ""
    async with Rpc(devnet.rpc_url, timeout_s=30) as connection:
        for given, data in asks:
            target = given or "0x" + answer[-40:]
            answer = await connection.request(
                "eth_call", ({"to": target, "data": "0x" + data.hex()}, "latest")
            )
    return "0x" + answer[-40:]  # the last of three: aToken, stable debt, variable debt


@pytest.mark.parametrize("consent", ["pay without asking", "ask"])
def test_a_bot_pays_for_a_loan_alone_where_the_policy_says_so(home: Home, devnet: Devnet, consent: str):
    """R21: RESERVE's USDC, once in a session; health, debt and USDC are those of the chain."""
    at = devnet.deployment
    (home.folder / "mine.toml").write_text(
        f'''name = "mine"
extends = "classic"
hard_triggers.hf_min = 10.0
reserve.hf_target = 12.0
reserve.consent = "{consent}"
'''
    )
    home.change('preset = "classic"', 'file = "mine.toml"')
    home.change("debt_units = 5_000", 'watched = "me/debt"')
    home.config.write_text(
        home.config.read_text()
        + f"""
[[reserves]]
asset = "USDC"
watched = "me/USDC"

[[watch]]
kind = "aave_v3"
label = "aave"
addresses_provider = "{at.aave_addresses_provider}"
reserves = [{{symbol = "USDC", address = "{at.usdc}", decimals = 6}}]
accounts = [{{label = "loan", address = "{at.user}"}}]

[[watch]]
kind = "tvl"
label = "me"
holder = "{at.user}"
tokens = [
  {{symbol = "USDC", address = "{at.usdc}", decimals = 6}},
  {{symbol = "debt", address = "{asyncio.run(debt_token(devnet))}", decimals = 6}},
]
"""
    )
    first = home.alvh("run", "--live", "--once", "--json").document
    (wanted,) = [item for item in first["proposals"] if item["subject"] == "loan"]
    paid_usd = wanted["from_reserve_usd"]
    assert (wanted["action"], wanted["amount_usd"]) == ("repay", paid_usd)
    assert 3_000.0 < paid_usd < 5_000.0
    asyncio.run(mine(devnet))
    second = home.alvh("run", "--live", "--once", "--json").document
    if consent == "ask":
        assert first["account_orders"] == second["account_orders"] == []
        return
    (done,) = first["account_orders"]
    assert (done["status"], done["subject"], done["action"]) == ("filled", "loan", "repay")
    assert done["moved"] == [{"asset": "USDC", "units": -paid_usd}]
    assert second["account_orders"] == []
    healths = [item["because"] for item in second["findings"] if "health factor of loan" in item["because"]]
    assert any("12.00" in words or "11.99" in words for words in healths), healths


SENSELESS = (
    (("exit", "v3:99999"), "live", 2, ("v3:99999",)),
    (("exit", "v2:ETH/USDC", "--part", "0%"), "live", 4, ("--part", "over 0%")),
    (("exit", "v2:ETH/USDC", "--part", "101%"), "live", 4, ("--part",)),
    (("exit", "v2:ETH/USDC", "--part", "half"), "live", 4, ("--part",)),
    (("repay", "loan", "--usd", "0"), "live", 4, ("--usd",)),
    (("repay", "nobody", "--usd", "5"), "live", 2, ("nobody",)),
    (("exit", "v2:ETH/USDC"), "dry-run", 4, ("a dry run withdraws nothing",)),
    (("repay", "loan", "--usd", "5"), "dry-run", 4, ("a dry run pays nothing",)),
    (("top-up", "loan", "--usd", "5"), "monitor", 4, ("a monitor pays nothing",)),
)


@pytest.mark.parametrize(("command", "mode", "code", "words"), SENSELESS, ids=lambda item: str(item)[:40])
def test_an_order_that_makes_no_sense_is_refused_before_anything_is_sent(
    home: Home, command: tuple[str, ...], mode: str, code: int, words: tuple[str, ...]
):
    home.alvh(*command, "--yes", "--mode", mode).refused(code, *words)


def test_without_a_yes_it_shows_what_would_be_asked_for_and_does_nothing(home: Home):
    asked = home.alvh("exit", "v2:ETH/USDC", "--mode", "live")
    assert asked.code == 4
    assert "for at least" in asked.err
    assert "--yes" in asked.err
    home.alvh("history", "--mode", "live").refused(2)


def test_a_staked_position_and_one_of_somebody_else_are_refused_by_name(home: Home, devnet: Devnet):
    at = devnet.deployment
    home.change(rf"holder = .{at.user}.", f'holder = "{at.whale}"')
    refused = home.alvh("exit", "v2:ETH/USDC", "--yes", "--mode", "live")
    assert refused.code == 1, refused
    assert f"belongs to {at.whale}" in refused.err
    assert "nothing was sent" in refused.err
