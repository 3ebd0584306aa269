"""The Derive venue as the app puts it together: keystore, signer's socket, database journal, real clocks."""

import threading
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from decimal import Decimal
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from derive_exchange import DeriveExchange
from derive_server import Fault, derive_server
from derive_verify import OPTION_ASSET
from derive_world import OWNER, SUBACCOUNT
from eth_account import Account

from bot.app.derive import quoting_derive, session_key_services, trading_derive
from bot.chain.signer_client import SignerClient
from bot.chain.signing.desk import SigningDesk
from bot.chain.signing.keys import LocalKey
from bot.chain.signing.memory import SignerMemory
from bot.chain.signing.rules import SigningRules
from bot.chain.signing.server import SignerServer
from bot.errors import ConfigError
from bot.model.hedge import HedgeLeg, Layer, LegStatus, Side
from bot.model.market import Block, Columns
from bot.pipeline.journal import JournalIdentity, SqlJournal
from bot.ports import MarketView
from bot.settings import SignerSettings
from bot.settings.derive import DeriveSettings
from bot.venues.derive_replies import instrument_named
from bot.venues.planned import PlannedVenue

SESSION = bytes([0x11]) * 32
MAIN = LocalKey(bytes([0x44]) * 32)
DAY_S = 86_400
BESIDE = SignerSettings()  # the signer keeps its state beside the bot's


class Reader:
    """A chain with nothing but a head: this venue asks it for no more."""

    chain_id = 11155111

    async def head(self) -> Block:
        return Block(chain_id=11155111, number=1, hash="0x1", parent_hash="0x0", timestamp_s=int(time.time()))


def named(expiry_s: int) -> str:
    return f"ETH-{time.strftime('%Y%m%d', time.gmtime(expiry_s))}-2800-P"


@asynccontextmanager
async def running(folder: Path) -> AsyncIterator[tuple[Any, PlannedVenue, SqlJournal, SimpleNamespace]]:
    expiry_s = (int(time.time()) // DAY_S + 7) * DAY_S + 8 * 3_600
    exchange = DeriveExchange(
        owner=OWNER, subaccount_id=SUBACCOUNT, session_key=LocalKey(SESSION).address, now_s=time.time()
    )
    exchange.list_option(
        named(expiry_s), strike="2800", expiry_s=expiry_s, is_put=True, asks=[(40, 5)], bids=[(38, 5)]
    )
    keystore = folder / "session.json"
    _write_keystore(keystore)
    (folder / "password").write_text("right")
    (folder / "password").chmod(0o600)
    async with derive_server(exchange) as server:
        derive = DeriveSettings(
            network="testnet",
            base_url=server.url,
            ws_url=server.ws_url,
            timeout_s=2.0,
            account={  # type: ignore[arg-type]
                "owner": OWNER,
                "subaccount_id": SUBACCOUNT,
                "session_key": LocalKey(SESSION).address,
                "keystore": keystore,
                "password_file": folder / "password",
                "assets": [OPTION_ASSET],
                "max_order_usd": 500.0,
                "max_day_usd": 2_000.0,
                "max_sale_usd": 5_000.0,
                "max_fee_usd": 50.0,
                "max_uncovered_contracts": 10.0,
            },
        )
        settings: Any = SimpleNamespace(
            state_dir=folder, account=SimpleNamespace(address=MAIN.address), signer=BESIDE
        )
        identity = JournalIdentity(mode="live", chain_id=11155111, account=MAIN.address)
        with (
            SqlJournal(folder / "journal.db", identity=identity) as journal,
            session_key_services(settings, derive, ask=lambda: None) as services,
        ):
            memory = SignerMemory(folder / "signer.log")
            desk = SigningDesk(MAIN, SigningRules(chains=()), memory)
            signer = SignerServer(desk, memory, folder / "signer.sock", services=services)
            threading.Thread(target=signer.serve, daemon=True).start()
            client = SignerClient(folder / "signer.sock", address=MAIN.address, who="a test")
            try:
                await client.connect()
                reader: Any = Reader()
                async with trading_derive(
                    settings, derive, reader=reader, signer=client, journal=journal
                ) as venue:
                    site = SimpleNamespace(
                        server=server, derive=derive, settings=settings, name=named(expiry_s)
                    )
                    site.reader, site.client = reader, client
                    yield exchange, venue, journal, site
            finally:
                await client.close()
                signer.close()
                memory.close()


def _write_keystore(path: Path) -> None:
    import json

    fields = Account.encrypt(SESSION, "right", kdf="scrypt", iterations=2**18)
    path.write_text(json.dumps(fields))
    path.chmod(0o600)


def view(exchange: DeriveExchange) -> MarketView:
    exchange.now_s = time.time()
    return MarketView(
        now_s=exchange.now_s,
        block=None,
        columns=Columns(series={}),
        spot_usd={"ETH": float(exchange.index["ETH"])},
        stable_usd={"USDC": 1.0},
    )


def leg(name: str, side: Side, *, key: str, limit_usd: float) -> HedgeLeg:
    return HedgeLeg(
        key=key,
        group="ETH",
        layer=Layer.NEAR,
        side=side,
        instrument=instrument_named(name),
        size=2.0,
        limit_usd=limit_usd,
        expected_usd=limit_usd,
        valid_until_s=time.time() + 120.0,
        position_id="" if side is Side.BUY else name,
    )


async def test_bought_and_sold_through_the_signers_process_and_the_database(tmp_path: Path) -> None:
    async with running(tmp_path) as (exchange, venue, journal, site):
        (quote,) = await venue.quotes(view(exchange), underlying="ETH", size=2.0)
        buy = leg(site.name, Side.BUY, key="plan/1", limit_usd=quote.premium_usd * 1.05)
        journal.open_leg(buy, at_s=time.time())
        bought = await venue.execute(buy, view=view(exchange))
        journal.close_leg(bought)
        assert bought.status is LegStatus.FILLED, bought.because
        assert bought.premium_usd == pytest.approx(quote.premium_usd)
        # A sale whose answer is lost is found by its nonce.
        site.server.faults["private/order"] = Fault(after=True)
        sell = leg(site.name, Side.SELL, key="plan/2", limit_usd=60.0)
        journal.open_leg(sell, at_s=time.time())
        lost = await venue.execute(sell, view=view(exchange))
        assert lost.status is LegStatus.UNKNOWN
        journal.close_leg(lost)
        found = await venue.reconcile(sell, view=view(exchange))
        journal.close_leg(found)
        assert (found.status, found.filled_size) == (LegStatus.FILLED, 2.0)
        assert exchange.positions == {}
        assert site.server.count("private/order") == 2
        # Another process with the same subaccount is refused by name.
        with pytest.raises(ConfigError, match="one process only"):
            async with trading_derive(
                site.settings, site.derive, reader=site.reader, signer=site.client, journal=journal
            ):
                pass
        with (
            pytest.raises(ConfigError, match="in use"),
            session_key_services(site.settings, site.derive, ask=lambda: None),
        ):
            pass
        # Public quotes need no key.
        async with quoting_derive(site.derive, reader=site.reader) as shown:
            assert len(await shown.quotes(view(exchange), underlying="ETH", size=1.0)) == 1
            refused = await shown.execute(buy, view=view(exchange))
            assert refused.status is LegStatus.REJECTED
        assert exchange.cash < Decimal(100_000)


async def test_the_session_key_is_not_the_accounts_own(tmp_path: Path) -> None:
    async with running(tmp_path) as (_, _, journal, site):
        settings: Any = SimpleNamespace(
            state_dir=tmp_path / "other",
            account=SimpleNamespace(address=LocalKey(SESSION).address),
            signer=BESIDE,
        )
        with pytest.raises(ConfigError, match="register another"):
            async with trading_derive(
                settings, site.derive, reader=site.reader, signer=site.client, journal=journal
            ):
                pass


def test_without_an_account_the_signer_has_no_more_to_answer(tmp_path: Path) -> None:
    settings: Any = SimpleNamespace(state_dir=tmp_path, signer=BESIDE)
    for derive in (None, DeriveSettings(network="mainnet")):
        with session_key_services(settings, derive, ask=lambda: None) as services:
            assert services == {}


def test_a_wrong_password_is_refused(tmp_path: Path) -> None:
    _write_keystore(tmp_path / "session.json")
    derive = DeriveSettings(
        network="testnet",
        account={  # type: ignore[arg-type]
            "owner": OWNER,
            "subaccount_id": SUBACCOUNT,
            "session_key": LocalKey(SESSION).address,
            "keystore": tmp_path / "session.json",
            "assets": [OPTION_ASSET],
            "max_order_usd": 500.0,
            "max_day_usd": 2_000.0,
            "max_sale_usd": 5_000.0,
            "max_fee_usd": 50.0,
            "max_uncovered_contracts": 10.0,
        },
    )
    settings: Any = SimpleNamespace(state_dir=tmp_path, signer=BESIDE)
    for ask, match in ((lambda: "wrong", "cannot be opened"), (lambda: None, "password_file")):
        with pytest.raises(ConfigError, match=match), session_key_services(settings, derive, ask=ask):
            pass
