"""``alvh exit, top-up, repay`` on real Uniswap and Aave (R21, R29), through signer and journal."""

import asyncio
import math
import os
import signal
from collections.abc import Callable, Coroutine
from fractions import Fraction
from typing import Any

import pytest
from commands import Home, Running, strict_json

from bot.chain.abi import Abi
from bot.chain.rpc import Rpc
from bot.devnet.deploy_bench import UnlockedWriter
from bot.devnet.node import Devnet

pytestmark = pytest.mark.devnet
LIVE = ("--mode", "live", "--json")
ADDRESSES = Abi.load("PoolAddressesProvider")
DATA = Abi.load("AaveProtocolDataProvider")
ERC20 = Abi.load("ERC20")
MANAGER = Abi.load("NonfungiblePositionManager")
POOL = Abi.load("UniswapV3Pool")


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


@pytest.mark.usefixtures("signer")
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


@pytest.mark.usefixtures("signer")
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
def test_a_bot_pays_for_a_loan_alone_where_the_policy_says_so(
    home: Home, devnet: Devnet, start_signer: Callable[[], None], consent: str
):
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
    start_signer()
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


async def call(node: Rpc, abi: Abi, name: str, to: str, *args: object, block: str = "latest") -> tuple:
    """Return what a contract answers at a block."""
    data = "0x" + abi.encode(name, *args).hex()
    return abi.decode(
        name, bytes.fromhex((await node.request("eth_call", ({"to": to, "data": data}, block)))[2:])
    )


async def send(node: Rpc, sender: str, to: str, data: bytes) -> None:
    """Send as one of the node's own accounts, and wait until it is mined."""
    await UnlockedWriter(node).transact("a test", to=to, data="0x" + data.hex(), sender=sender, value_wei=0)


async def push_pool(devnet: Devnet, *, usdc: int) -> None:
    """Somebody buys ETH in the v3 pool with so much USDC: its price leaves its mean behind."""
    at = devnet.deployment
    async with Rpc(devnet.rpc_url, timeout_s=30) as node:
        (fee,) = await call(node, POOL, "fee", at.v3_pool)
        swap = (at.usdc, at.weth, fee, at.trader, 2**40, usdc, 0, 0)
        await send(node, at.trader, at.usdc, ERC20.encode("approve", at.v3_router, usdc))
        await send(node, at.trader, at.v3_router, Abi.load("SwapRouter").encode("exactInputSingle", swap))


async def pause_house(devnet: Devnet) -> None:
    """Its owner pauses Perp v2's clearing house."""
    at = devnet.deployment
    async with Rpc(devnet.rpc_url, timeout_s=30) as node:
        await send(node, at.deployer, at.perp_clearing_house, bytes.fromhex("8456cb59"))  # pause()


async def v3_liquidity(devnet: Devnet) -> int:
    at = devnet.deployment
    async with Rpc(devnet.rpc_url, timeout_s=30) as node:
        return int((await call(node, MANAGER, "positions", at.v3_position_manager, at.user_v3_token_id))[7])


Floors = tuple[float, float]


async def withdrawal_as_mined(devnet: Devnet, tx_hash: str) -> tuple[tuple[int, int, int], Floors, Floors]:
    """Return its liquidity and floors, and what floors the pool's mean price and its price then would give.

    A range of ticks [a, b] holds liquidity (1 / sqrt(p) - 1 / sqrt(b)) of token 0 and (sqrt(p) - sqrt(a)) of
    token 1; each floor is at the end of +-2 % (exit.max_deviation_bps) that gives less, less 0.5 %.
    """
    at = devnet.deployment
    async with Rpc(devnet.rpc_url, timeout_s=30) as node:
        sent = await node.request("eth_getTransactionByHash", [tx_hash])
        assert sent["to"].lower() == at.v3_position_manager.lower()
        name, given = MANAGER.decode_input(bytes.fromhex(sent["input"][2:]))
        assert name.startswith("decreaseLiquidity(")
        before = hex(int(sent["blockNumber"], 16) - 1)
        ids = at.v3_position_manager, at.user_v3_token_id
        low, high = (await call(node, MANAGER, "positions", *ids, block=before))[5:7]
        (ticks, _) = await call(node, POOL, "observe", at.v3_pool, [1_800, 0], block=before)
        (root_x96, *_) = await call(node, POOL, "slot0", at.v3_pool, block=before)
    token_id, liquidity, least0, least1, _ = given["params"]
    assert token_id == at.user_v3_token_id

    def floors(price: float) -> Floors:
        a, b = 1.0001 ** (low / 2), 1.0001 ** (high / 2)
        above, below = (min(max(math.sqrt(price * each), a), b) for each in (1.02, 1.0 / 1.02))
        return 0.995 * liquidity * (1.0 / above - 1.0 / b), 0.995 * liquidity * (below - a)

    mean = 1.0001 ** ((ticks[1] - ticks[0]) / 1_800)
    return (liquidity, least0, least1), floors(mean), floors((root_x96 / 2**96) ** 2)


async def granted(devnet: Devnet) -> list[int]:
    """Return every right over the user's money and position that a withdrawal could have left to others."""
    at = devnet.deployment
    manager = at.v3_position_manager
    approved = "0x081812fc" + at.user_v3_token_id.to_bytes(32, "big").hex()  # getApproved(uint256)
    async with Rpc(devnet.rpc_url, timeout_s=30) as node:
        spender = await node.request("eth_call", ({"to": manager, "data": approved}, "latest"))
        logs = await node.request(
            "eth_getLogs",
            [
                {
                    "address": manager,
                    "topics": [MANAGER.topic("ApprovalForAll"), "0x" + at.user[2:].lower().rjust(64, "0")],
                    "fromBlock": "0x0",
                }
            ],
        )
        allowances = [
            (await call(node, ERC20, "allowance", token, at.user, each))[0]
            for token in (at.weth, at.usdc)
            for each in (manager, at.v3_pool, at.v3_router)
        ]
    return [int(spender, 16), len(logs), *allowances]


def first_step(running: Running) -> dict[str, Any]:
    running.until(lambda: running.out.count("\n") >= 1, within_s=60.0)
    return strict_json(running.out.splitlines()[0])


def step_after(running: Running, change: Coroutine[Any, Any, None]) -> dict[str, Any]:
    """Return the next step of a bot after something was mined."""
    known = running.out.count("\n")
    asyncio.run(change)
    running.until(lambda: running.out.count("\n") > known, within_s=60.0)
    return strict_json(running.out.splitlines()[-1])


@pytest.mark.parametrize("consent", ["withdraw without asking", "ask"])
def test_a_running_bot_withdraws_alone_where_the_policy_says_so(
    home: Home, devnet: Devnet, start_signer: Callable[[], None], consent: str
):
    """R29: the policy's part, once in a session, for no less than the pool's mean price gives (REL-R13).

    The policy calls Perp v2's clearing house a part of uniswap-v3; its owner pauses it while the bot runs.
    """
    at = devnet.deployment
    (home.folder / "mine.toml").write_text(
        f'''name = "mine"
extends = "classic"
exit.part = "40 %"
exit.consent = "{consent}"
dependencies.uniswap-v3 = ["house"]
'''
    )
    home.change('preset = "classic"', 'file = "mine.toml"')
    home.config.write_text(
        home.config.read_text()
        + f"""
[[watch]]
kind = "admin_events"
label = "house"
address = "{at.perp_clearing_house}"
window_blocks = 20
"""
    )
    start_signer()
    asyncio.run(push_pool(devnet, usdc=100_000 * 10**6))
    held, rights = asyncio.run(v3_liquidity(devnet)), asyncio.run(granted(devnet))
    name = v3(devnet)
    running = home.start("run", "--live", "--json")
    try:
        steps = [first_step(running)]
        assert steps[0]["account_orders"] == []
        steps.append(step_after(running, pause_house(devnet)))
        steps += [step_after(running, mine(devnet)) for _ in range(3)]
    finally:
        os.kill(running.pid, signal.SIGINT)
        ended = running.wait()
    assert ended.code == 0, ended.err
    asyncio.run(mine(devnet))
    steps.append(home.alvh("run", "--live", "--once", "--json").document)  # another process, the same journal

    wanted = [item for step in steps for item in step["proposals"] if item["subject"] == name]
    assert wanted, steps
    assert {(item["action"], item["rule"]) for item in wanted} == {("withdraw", "R29")}
    assert all("house is paused" in item["because"] for item in wanted)
    orders = [item for step in steps for item in step["account_orders"]]
    left = asyncio.run(v3_liquidity(devnet))
    if consent == "ask":
        assert orders == []
        assert left == held
        return
    (done,) = orders
    assert (done["status"], done["subject"], done["part"]) == ("filled", name, 0.4)
    assert done["key"].startswith("alone.")
    (liquidity, *least), by_mean, by_price = asyncio.run(withdrawal_as_mined(devnet, done["tx_hash"]))
    assert liquidity == held - left == int(held * Fraction(0.4))
    assert least == pytest.approx(by_mean, rel=1e-3)
    for floor, other in zip(least, by_price, strict=True):
        assert floor != pytest.approx(other, rel=3e-3)  # the pool's own price is not asked
    moved = {item["asset"]: item["units"] for item in done["moved"]}
    raw = {at.weth.lower(): moved["ETH"] * 10**18, at.usdc.lower(): moved["USDC"] * 10**6}
    for floor, token in zip(least, sorted(raw), strict=True):
        assert raw[token] >= floor > 0
    assert asyncio.run(granted(devnet)) == rights == [0] * len(rights)


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
