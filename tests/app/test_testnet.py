"""`alvh testnet` on a chain with Sepolia's id: killed on its way, one system, and the bot uses it."""

import asyncio
import json
import os
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from commands import CommandServer, Ended
from testnet_chain import PASSWORD, PublicChain, new_keystore, public_chain

from bot.app import testnet as app
from bot.app import testnet_upkeep as upkeep
from bot.app.nodes import open_chain
from bot.app.testnet_site import BOT_KEYSTORE, CONFIG, DEPLOYMENT, STATE, Site
from bot.chain.rpc import Rpc, quantity
from bot.devnet.boards import DAY_S
from bot.devnet.deploy_bench import Bench
from bot.devnet.deploy_lyra import SETH_KEY
from bot.devnet.packages import fetch
from bot.devnet.testnet import (
    BOARDS_GAS,
    BOARDS_TRANSACTIONS,
    DEPLOY_GAS,
    DEPLOY_TRANSACTIONS,
    LARGEST_GAS,
    TestnetDeployment,
)
from bot.devnet.testnet_log import DeployLog
from bot.devnet.testnet_log import Ended as EndedStep
from bot.devnet.testnet_sender import Pace
from bot.devnet.testnet_upkeep import live_boards, published_price_usd
from bot.devnet.testnet_view import created_address, is_creation
from bot.errors import ConfigError, InvariantError, VenueRejected
from bot.model.units import HOUR_S
from bot.settings import cache_dir, load_settings

pytestmark = [pytest.mark.devnet, pytest.mark.xdist_group("testnet")]  # one chain for the module

DRIVER = Path(__file__).with_name("testnet_driver.py")
PRICE_USD = 2940.0
# Of each run, in a row: nothing on the chain yet, a library, the middle of Lyra, its first call, the end.
KILLS = (
    "before signed 1",
    "after send 9",
    "after signed 17",
    "before ended 20",
    "before send 16",
    "after ended 33",
)
IV = 0.7


@dataclass(frozen=True, kw_only=True)
class Deployed:
    """The finished system of this module's chain."""

    chain: PublicChain
    site: Site
    codes: tuple[int, ...]  # how the runs ended
    gas_used: int


@pytest.fixture(scope="module")
def chain(cache_dir: Path) -> Iterator[PublicChain]:
    with public_chain(cache_dir, block_s=0.1, behind_s=3_600) as running:
        yield running


@pytest.fixture(scope="module")
def deployed(chain: PublicChain, tmp_path_factory: pytest.TempPathFactory) -> Deployed:
    """Deploy with a kill in every run but the last."""
    folder = tmp_path_factory.mktemp("testnet")
    keystore = folder / "deployer.json"
    asyncio.run(chain.fund(new_keystore(keystore), 1.0))
    site = site_of(chain, folder / "site", keystore)
    codes = [drive(site, die=die) for die in (*KILLS, "")]
    asyncio.run(chain.catch_up())  # the pools now remember half an hour
    with DeployLog.open(site.folder / STATE) as log:
        gas_used = log.gas_used
    return Deployed(chain=chain, site=site, codes=tuple(codes), gas_used=gas_used)


def site_of(chain: PublicChain, folder: Path, keystore: Path, **changes: Any) -> Site:
    site = Site(
        folder=folder,
        chain_id=chain.chain_id,
        rpc_url=chain.rpc_url,
        keystore=keystore,
        password=PASSWORD,
        pace=Pace(poll_s=0.02),
    )
    return replace(site, **changes)


def drive(site: Site, *, die: str) -> int:
    """Run the deployment as a process; return its exit code, negative for a signal."""
    wanted = {
        "folder": str(site.folder),
        "chain_id": site.chain_id,
        "rpc_url": site.rpc_url,
        "keystore": str(site.keystore),
        "password": site.password,
        "price_usd": PRICE_USD,
        "die": die,
    }
    done = subprocess.run(
        [sys.executable, str(DRIVER), json.dumps(wanted)],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        env={**os.environ, "PYTHONPATH": str(Path(app.__file__).parents[2])},
    )
    assert done.returncode in (0, -9), done.stderr[-2000:]
    return done.returncode


async def run(site: Site, wish: app.Wish | None = None, *, agree: bool = True) -> list[app.Cost]:
    """Run the deployment here; return what was to be confirmed."""
    shown: list[app.Cost] = []

    def confirm(cost: app.Cost) -> bool:
        shown.append(cost)
        return agree

    await app.deploy(site, wish or app.Wish(price_usd=PRICE_USD), confirm=confirm, on_step=lambda *_: None)
    return shown


def system_of(deployed: Deployed) -> TestnetDeployment:
    return TestnetDeployment.load(deployed.site.folder / DEPLOYMENT)


async def nonce_of(chain: PublicChain, address: str) -> int:
    return quantity(await chain.ask("eth_getTransactionCount", address, "latest"))


# one system, whatever happened on the way


async def test_killed_six_times_it_is_one_system(deployed: Deployed, chain: PublicChain) -> None:
    """REL-K1-K9: an auditor that reads only the chain finds every contract once and every nonce used once."""
    assert deployed.codes == (-9,) * len(KILLS) + (0,)
    system = system_of(deployed)
    # Every nonce carries one step of the script: with two systems there would be twice as many.
    assert await nonce_of(chain, system.deployer) == DEPLOY_TRANSACTIONS + BOARDS_TRANSACTIONS
    with DeployLog.open(deployed.site.folder / STATE) as log:
        assert len(log.steps) == DEPLOY_TRANSACTIONS
        creations = [item for item in log.signed() if is_creation(item)]
        assert all(isinstance(log.closed(step), EndedStep) for step in log.steps)
        assert sorted({item.nonce for item in log.signed()}) == list(range(DEPLOY_TRANSACTIONS))
    made_of = Counter(item.what.removeprefix("creation of ") for item in creations)
    assert {name: count for name, count in made_of.items() if count > 1} == {
        "TestERC20SetDecimals": 2,  # WETH, USDC
        "TestERC20Fail": 2,  # sUSD, sETH
    }
    made = {created_address(system.deployer, item.nonce) for item in creations}
    named = {
        getattr(system, field)
        for field in TestnetDeployment.__dataclass_fields__
        if field.startswith(("lyra_", "v3_", "feed_")) and field != "v3_pool"
    }
    assert named <= made


async def test_the_cost_that_is_shown_is_what_it_costs(deployed: Deployed) -> None:
    assert DEPLOY_GAS * 0.95 < deployed.gas_used <= DEPLOY_GAS
    with DeployLog.open(deployed.site.folder / STATE) as log:
        most = max(item.gas_used for item in (log.closed(step) for step in log.steps) if item)
    assert most < LARGEST_GAS
    assert LARGEST_GAS * 5 // 4 < 2**24  # also with its margin under what EIP-7825 allows


async def test_run_again_it_sends_nothing(deployed: Deployed, chain: PublicChain) -> None:
    await run(deployed.site)  # the feed may have become old meanwhile: its price is published again
    before = await nonce_of(chain, system_of(deployed).deployer)
    (cost,) = await run(deployed.site)
    assert (cost.done, cost.user_wei) == (DEPLOY_TRANSACTIONS, 0)
    assert await nonce_of(chain, system_of(deployed).deployer) == before


async def test_asked_for_something_else_it_does_not_go_on(deployed: Deployed) -> None:
    with pytest.raises(ConfigError, match=r"begun with price_usd 2940.0, asked for is 3000.0"):
        await run(deployed.site, app.Wish(price_usd=3000.0))


async def test_the_configuration_it_wrote_is_whole(deployed: Deployed) -> None:
    path = deployed.site.folder / CONFIG
    assert path.stat().st_mode & 0o777 == 0o600
    settings = load_settings(path)
    async with open_chain(settings):  # every address has code
        pass
    assert settings.account is not None
    assert settings.account.address == system_of(deployed).user
    assert settings.account.keystore.stat().st_mode & 0o777 == 0o600
    assert PASSWORD not in path.read_text()


async def test_a_configuration_that_a_person_changed_is_kept(deployed: Deployed) -> None:
    path = deployed.site.folder / CONFIG
    path.write_text(path.read_text() + "# mine\n")
    await run(deployed.site)
    assert path.read_text().endswith("# mine\n")


# price and boards


async def test_a_price_moves_feed_lyra_and_pool_and_leaves_no_allowance(
    deployed: Deployed, cache_dir: Path
) -> None:
    system = system_of(deployed)
    async with bench_of(deployed, cache_dir) as bench:
        for price in (2500.0, 3100.0, PRICE_USD):
            (done,) = [item async for item in publish(deployed.site, price)]
            assert done.pool_moved
            assert (await published_price_usd(bench, system))[0] == price
            rate, invalid = await bench.at("TestExchangeRates", system.lyra_exchange_rates).call(
                "rateAndInvalid", SETH_KEY
            )
            assert (rate, invalid) == (round(price) * 10**18, False)
            sqrt = (await bench.at("UniswapV3Pool", system.v3_pool).call("slot0"))[0] / 2**96
            raw = sqrt**2 if int(system.weth, 16) < int(system.usdc, 16) else 1 / sqrt**2
            assert raw * 10**12 == pytest.approx(price, rel=1e-6)
            for token in (system.weth, system.usdc):
                erc20 = bench.at("TestERC20SetDecimals", token)
                assert await erc20.call("allowance", system.deployer, system.v3_router) == 0
        (done,) = [item async for item in publish(deployed.site, PRICE_USD)]
        assert not done.pool_moved


async def test_a_price_is_published_again_and_again(deployed: Deployed, cache_dir: Path) -> None:
    system, rounds = system_of(deployed), 0
    async with bench_of(deployed, cache_dir) as bench:
        feed = bench.own_at("ChainlinkFeed", system.feed_eth_usd)
        before = (await feed.call("latestRoundData"))[0]
        async for done in publish(deployed.site, PRICE_USD, every_s=0.01):
            assert done.trouble == ""
            rounds += 1
            if rounds == 3:
                break
        assert (await feed.call("latestRoundData"))[0] == before + 3


async def test_a_price_out_of_range_and_one_that_nobody_knows_are_refused(deployed: Deployed) -> None:
    with pytest.raises(ConfigError, match=r"price must be 100 to 1,000,000 USD, was 3.0"):
        _ = [item async for item in publish(deployed.site, 3.0)]
    with pytest.raises(ConfigError, match="does not answer on this chain: give the price"):
        _ = [item async for item in publish(deployed.site, None)]


async def test_boards_are_listed_when_they_are_due_and_settled_when_they_expired(
    deployed: Deployed, chain: PublicChain, cache_dir: Path, tmp_path: Path
) -> None:
    system = system_of(deployed)
    system.save(tmp_path / DEPLOYMENT)
    site = replace(deployed.site, folder=tmp_path)  # the chain is put back after this, its file is not
    nothing = await upkeep.boards(site, iv=IV, on_step=lambda *_: None)
    assert (nothing.listed, nothing.settled) == ((), ())
    undo = await chain.ask("evm_snapshot")
    async with bench_of(deployed, cache_dir) as bench:
        before = await live_boards(bench, system)
        assert [round(board.expiry_s / DAY_S % 1 * 24, 6) for board in before] == [8.0] * 3  # 08:00 UTC
        past_s = before[0].expiry_s + HOUR_S - await bench.now_s()  # the same hour whenever this runs
        await chain.ask("evm_increaseTime", int(past_s))
        await chain.ask("evm_mine")
        gas: list[int] = []
        done = await upkeep.boards(site, iv=IV, on_step=lambda _, ended: gas.append(ended.gas_used))
        assert done.settled == (before[0].id,)
        assert len(done.listed) == 1
        assert len(done.boards) == 3
        assert done.boards[0].dte(await bench.now_s()) < 8
        assert max(gas) < LARGEST_GAS
    assert await chain.ask("evm_revert", undo)


def publish(site: Site, price: float | None, every_s: float | None = None) -> Any:
    return upkeep.prices(site, price_usd=price, every_s=every_s, iv=None, on_step=lambda *_: None)


class bench_of:
    """Reads of the deployed system."""

    def __init__(self, deployed: Deployed, cache_dir: Path) -> None:
        self._rpc = Rpc(deployed.chain.rpc_url, timeout_s=30)
        self._bench = Bench(self._rpc, fetch(cache_dir), (system_of(deployed).deployer,))

    async def __aenter__(self) -> Bench:
        return self._bench

    async def __aexit__(self, *_: object) -> None:
        await self._rpc.close()


# the bot on it, by its command line


def test_the_bot_opens_a_hedge_there(deployed: Deployed, server: CommandServer) -> None:
    """`alvh testnet price`, then `alvh run --live --network sepolia`: one put, bought on that Lyra."""
    site, env = deployed.site, {"ALVH_KEYSTORE_PASSWORD": PASSWORD}

    def alvh(*arguments: str) -> Ended:
        return server.start(*arguments, cwd=site.folder, env=env).wait()

    where = ("--network", "sepolia", "--rpc-url", site.rpc_url, "--keystore", str(site.keystore))
    priced = alvh("testnet", "price", str(PRICE_USD), *where, "--dir", str(site.folder), "--poll", "0.05")
    assert priced.code == 0, priced
    assert priced.out.startswith("published 2,940.00 USD"), priced
    bought = alvh("run", "--live", "--network", "sepolia", "--once", "--json")
    assert bought.code == 0, bought
    (order,) = bought.document["orders"]
    assert (order["layer"], order["side"], order["status"]) == ("TAIL", "buy", "filled")
    assert order["premium_usd"] > 0.0
    held = asyncio.run(_positions(deployed))
    assert len(held) == 1
    assert held[0] == pytest.approx(order["size"])


async def _positions(deployed: Deployed) -> list[float]:
    system = system_of(deployed)
    async with bench_of(deployed, cache_dir()) as bench:
        token = bench.at("OptionToken", system.lyra_option_token)
        return [item[3] / 10**18 for item in await token.call("getOwnerPositions", system.user)]


# refused by name, nothing sent


@pytest.fixture
def fresh(chain: PublicChain, tmp_path: Path) -> Site:
    """A folder and an account of its own, funded."""
    keystore = tmp_path / "deployer.json"
    asyncio.run(chain.fund(new_keystore(keystore), 1.0))
    return site_of(chain, tmp_path / "site", keystore)


async def refused(site: Site, error: type[Exception], words: str, wish: app.Wish | None = None) -> None:
    with pytest.raises(error, match=words) as caught:
        await run(site, wish)
    assert "\n" not in str(caught.value)
    assert not (site.folder / STATE).exists() or (site.folder / STATE).read_bytes() == b""


async def test_a_chain_with_real_money_is_refused_before_anything_else(fresh: Site) -> None:
    for chain_id in (1, 10, 42161, 8453, 999_999):
        await refused(replace(fresh, chain_id=chain_id), ConfigError, f"chain {chain_id} is not a test chain")


async def test_a_node_of_another_chain_is_refused(fresh: Site) -> None:
    await refused(
        replace(fresh, chain_id=84532),
        ConfigError,
        r"serves chain 11155111, asked for is 84532 \(Base Sepolia\)",
    )


async def test_an_account_without_money_is_told_how_much_it_lacks(fresh: Site, chain: PublicChain) -> None:
    (cost,) = await run(fresh, agree=False)
    await chain.fund(cost.deployer, 0.001)
    await refused(
        fresh, VenueRejected, r"need about \d+\.\d{4} of the chain's coin, 0x\w+ holds 0\.0010: send it"
    )
    await chain.fund(cost.deployer, 1.0)
    (enough,) = await run(fresh, agree=False)
    assert enough.missing_wei == 0
    assert enough.transactions == DEPLOY_TRANSACTIONS + BOARDS_TRANSACTIONS
    assert enough.gas == DEPLOY_GAS + BOARDS_GAS
    assert await nonce_of(chain, cost.deployer) == 0


async def test_whoever_declines_sends_nothing(fresh: Site, chain: PublicChain) -> None:
    (cost,) = await run(fresh, agree=False)
    assert await nonce_of(chain, cost.deployer) == 0


@pytest.mark.parametrize("fault", ["password", "readable", "plain key", "other address", "missing"])
async def test_a_keystore_that_is_not_right_is_refused(fresh: Site, fault: str) -> None:
    if fault == "password":
        await refused(replace(fresh, password="wrong"), ConfigError, "cannot be opened with this password")
    elif fault == "readable":
        fresh.keystore.chmod(0o644)
        await refused(fresh, ConfigError, "others could read it: run chmod 600")
    elif fault == "plain key":
        fresh.keystore.write_text("11" * 32)
        await refused(fresh, ConfigError, "is no keystore of version 3")
    elif fault == "other address":
        fields = json.loads(fresh.keystore.read_text())
        fresh.keystore.write_text(json.dumps(fields | {"address": "22" * 20}))
        await refused(fresh, ConfigError, "holds the key of 0x")
    else:
        fresh.keystore.unlink()
        await refused(fresh, ConfigError, "cannot be opened: No such file")


async def test_the_deployer_is_not_the_bot(fresh: Site) -> None:
    wish = app.Wish(price_usd=PRICE_USD, user_keystore=fresh.keystore)
    await refused(fresh, ConfigError, "the bot stops when its key is used elsewhere", wish)


async def test_begun_for_one_bot_it_does_not_go_on_for_another(deployed: Deployed, tmp_path: Path) -> None:
    (tmp_path / STATE).write_bytes((deployed.site.folder / STATE).read_bytes())
    site = replace(deployed.site, folder=tmp_path)
    with pytest.raises(ConfigError, match=r"begun for the bot's account 0x\w+, .* is not its keystore"):
        await run(site)
    other = tmp_path / "other.json"
    new_keystore(other)
    with pytest.raises(ConfigError, match="begun with user 0x"):
        await run(site, app.Wish(user_keystore=other))


async def test_a_price_is_needed_where_no_feed_answers(fresh: Site) -> None:
    await refused(fresh, ConfigError, "does not answer on this chain: give the price", app.Wish())


async def test_a_given_token_that_the_deployer_does_not_hold_is_refused(
    fresh: Site, deployed: Deployed
) -> None:
    wish = app.Wish(price_usd=PRICE_USD, usdc=system_of(deployed).usdc)
    await refused(fresh, VenueRejected, "holds 0 of the token", wish)


async def test_blocks_that_are_too_small_are_refused(tmp_path: Path, cache_dir: Path) -> None:
    keystore = tmp_path / "deployer.json"
    address = new_keystore(keystore)
    with public_chain(cache_dir, gas_limit=8_000_000) as small:
        await small.fund(address, 1.0)
        site = site_of(small, tmp_path / "site", keystore)
        await refused(site, ConfigError, "may have 8,000,000 gas, the largest contract needs 8,500,000")


async def test_a_state_file_that_was_edited_is_refused(deployed: Deployed, tmp_path: Path) -> None:
    site = replace(deployed.site, folder=tmp_path)
    lines = (deployed.site.folder / STATE).read_bytes().splitlines(keepends=True)
    lines[9] = lines[9].replace(b"creation", b"Creation").replace(b'"nonce":', b'"nonce":1')
    (tmp_path / STATE).write_bytes(b"".join(lines))
    with pytest.raises(ConfigError, match=r"line 10 of state file .* is not as it was written"):
        await run(site)


async def test_a_state_file_of_which_the_end_is_missing_does_not_deploy_twice(
    deployed: Deployed, tmp_path: Path, chain: PublicChain
) -> None:
    before = await nonce_of(chain, system_of(deployed).deployer)
    lines = (deployed.site.folder / STATE).read_bytes().splitlines(keepends=True)
    (tmp_path / STATE).write_bytes(b"".join(lines[:61]))
    shutil.copy(deployed.site.folder / BOT_KEYSTORE, tmp_path)
    with pytest.raises(InvariantError, match=r"made a contract at 0x.* older copy of the file restored"):
        await run(replace(deployed.site, folder=tmp_path))
    assert await nonce_of(chain, system_of(deployed).deployer) == before


async def test_boards_and_prices_need_the_owner_and_a_deployment(deployed: Deployed, fresh: Site) -> None:
    with pytest.raises(ConfigError, match=r"cannot be read .*`alvh testnet deploy` writes it"):
        await upkeep.boards(fresh, iv=IV, on_step=lambda *_: None)
    stranger = replace(deployed.site, keystore=fresh.keystore)
    with pytest.raises(ConfigError, match=r"belongs to 0x.*name the keystore that deployed it"):
        await upkeep.boards(stranger, iv=IV, on_step=lambda *_: None)


def test_a_script_without_yes_is_refused(fresh: Site, server: CommandServer) -> None:
    arguments = (
        "testnet", "deploy", "--network", "sepolia", "--rpc-url", fresh.rpc_url, "--keystore",
        str(fresh.keystore), "--dir", str(fresh.folder), "--price", "2940",
    )  # fmt: skip
    fresh.folder.mkdir()
    ended = server.start(*arguments, cwd=fresh.folder, env={"ALVH_KEYSTORE_PASSWORD": PASSWORD}).wait()
    assert ended.code == 4, ended
    assert "a deployment asks before it sends; give --yes in a script" in ended.err
    assert "gwei =" in ended.err
    without = server.start(*arguments, "--yes", cwd=fresh.folder).wait()
    without.refused(4, "the password of", "ALVH_KEYSTORE_PASSWORD")
    password = fresh.folder / "password"
    password.write_text(PASSWORD)
    password.chmod(0o644)
    shared = server.start(*arguments, "--yes", "--password-file", str(password), cwd=fresh.folder).wait()
    shared.refused(4, "password file", "others could read it")
    unknown = server.start(
        *(item.replace("sepolia", "sepola") for item in arguments), cwd=fresh.folder
    ).wait()
    unknown.refused(4, "network 'sepola' is not known; did you mean sepolia")
    mainnet = server.start(
        *(item.replace("sepolia", "ethereum") for item in arguments), cwd=fresh.folder
    ).wait()
    mainnet.refused(4, "chain 1 is not a test chain")
