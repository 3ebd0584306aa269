"""The program itself over a Safe: its signer's process signs, another owner signs, the bot executes."""

import json
from pathlib import Path

import pytest
from commands import KEYSTORE_ROUNDS, Home
from eth_account import Account
from safe_builders import OWNERS, safe_bench

from bot.app.live import Bot, open_bot
from bot.app.safe_owners import open_owners
from bot.chain.rpc import Rpc
from bot.devnet.config import PASSWORD as ACCOUNT_PASSWORD
from bot.devnet.deploy_bench import Contract
from bot.devnet.deploy_safe import create_safe, deploy_safe_system
from bot.devnet.node import Devnet
from bot.errors import ConfigError
from bot.model.hedge import HedgeLeg, Layer, LegStatus, OptionType, Side
from bot.pipeline.loop import view_of
from bot.ports import MarketView
from bot.settings import load_settings

pytestmark = pytest.mark.devnet
PASSWORD = "a long password of an owner"


@pytest.fixture
async def safe(
    devnet: Devnet, rpc: Rpc, cache_dir: Path, home: Home, monkeypatch: pytest.MonkeyPatch
) -> Contract:
    """A 2-of-3 Safe of the configured account and two more, with USDC, in the configuration."""
    at = devnet.deployment
    bench = safe_bench(rpc, cache_dir, at.accounts)
    system = await deploy_safe_system(bench)
    owners = [at.user, OWNERS[0].address, OWNERS[1].address]
    found = await create_safe(bench, system, owners=owners, threshold=2)
    await bench.at("TestERC20SetDecimals", at.usdc).send("mint", found.address, 10_000 * 10**6)
    with home.config.open("a") as file:
        file.write(f'\n[safe]\naddress = "{found.address}"\nmulti_send = "{system.multi_send.address}"\n')
    monkeypatch.setenv("ALVH_KEYSTORE_PASSWORD", ACCOUNT_PASSWORD)
    return found


async def view(bot: Bot) -> MarketView:
    head = await bot.reader.head()
    return view_of(await bot.source.cut(head, now_s=float(head.timestamp_s)))


async def a_put(bot: Bot, at: MarketView) -> HedgeLeg:
    quotes = await bot.pipeline.venues["lyra"].quotes(at, underlying="ETH", size=1.0)
    puts = [item for item in quotes if item.instrument.option_type is OptionType.PUT]
    quote = min(puts, key=lambda item: abs(item.delta + 0.25))
    return HedgeLeg(
        key="plan/0",
        group="ETH/USDC",
        layer=Layer.MID,
        side=Side.BUY,
        instrument=quote.instrument,
        size=quote.size,
        limit_usd=quote.premium_usd * 1.05,
        expected_usd=quote.premium_usd,
        valid_until_s=at.now_s + 3_600.0,
    )


async def test_an_order_of_the_bot_through_its_safe(home: Home, safe: Contract, tmp_path: Path) -> None:
    keystore = tmp_path / "owner.json"
    fields = Account.encrypt(OWNERS[0].key, PASSWORD, kdf="pbkdf2", iterations=KEYSTORE_ROUNDS)
    keystore.write_text(json.dumps(fields))
    keystore.chmod(0o600)
    settings = load_settings(home.config)
    async with open_bot(settings, mode="live") as bot:
        venue, journal = bot.pipeline.venues["lyra"], bot.pipeline.journal
        now = await view(bot)
        leg = await a_put(bot, now)
        journal.open_leg(leg, at_s=now.now_s)
        outcome = await venue.execute(leg, view=now)
        assert outcome.status is LegStatus.PROPOSED, outcome.because
        async with open_owners(settings) as owners:
            (shown,) = (await owners.look()).shown
            assert (shown.problem, shown.would_fail) == ("", "")
            await owners.sign(
                shown.proposal.tx_hash, owner=OWNERS[0].address, keystore=keystore, password=PASSWORD
            )
        outcome = await venue.reconcile(leg, view=await view(bot))
        assert outcome.status is LegStatus.FILLED, outcome.because
        (held,) = await venue.held(await view(bot))
        assert held.id == outcome.position_id


async def test_code_that_safe_did_not_publish_is_refused_at_the_start(
    devnet: Devnet, home: Home, safe: Contract
) -> None:
    home.change(r'multi_send = "0x\w+"', f'multi_send = "{devnet.deployment.usdc}"')
    with pytest.raises(ConfigError, match="which Safe did not publish"):
        async with open_bot(load_settings(home.config), mode="live"):
            pass


async def test_a_safe_of_others_is_refused_at_the_start(
    rpc: Rpc, cache_dir: Path, devnet: Devnet, home: Home, safe: Contract
) -> None:
    bench = safe_bench(rpc, cache_dir, devnet.deployment.accounts)
    owners = [owner.address for owner in OWNERS]
    other = await create_safe(bench, await deploy_safe_system(bench), owners=owners, threshold=1)
    home.change(f'address = "{safe.address}"', f'address = "{other.address}"')
    with pytest.raises(ConfigError, match="is no owner of Safe"):
        async with open_bot(load_settings(home.config), mode="live"):
            pass
