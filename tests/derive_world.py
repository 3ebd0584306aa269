"""One subaccount at the reference Derive exchange, with the venue, a journal and a signing desk over it."""

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from derive_exchange import DeriveExchange
from derive_server import DeriveServer, derive_server
from derive_verify import CHAIN_ID, MATCHING, OPTION_ASSET, RFQ_MODULE, TRADE_MODULE

from bot.chain.derive_actions import DeriveAction, DeriveActionRule, DeriveDomain, SignedAction
from bot.chain.signing.derive import DeriveDesk
from bot.chain.signing.keys import LocalKey
from bot.chain.signing.memory import SignerMemory
from bot.model.hedge import HedgeLeg, Layer, LegOutcome, Quote, Side
from bot.model.market import Block, Columns
from bot.pipeline.memory_journal import MemoryJournal
from bot.ports import Journal, MarketView
from bot.venues.derive import derive_venue
from bot.venues.derive_account import DeriveAccount
from bot.venues.derive_client import DeriveClient
from bot.venues.derive_messenger import DeriveMessenger
from bot.venues.derive_orders import DeriveTerms
from bot.venues.derive_replies import instrument_named
from bot.venues.derive_signing import NonceSource
from bot.venues.planned import PlannedVenue

KEY = bytes([0x11]) * 32
OWNER = "0x" + "22" * 20
SUBACCOUNT = 7
NOW_S = int(datetime(2026, 11, 20, 12, tzinfo=UTC).timestamp())
EXPIRY_S = int(datetime(2026, 11, 27, 8, tzinfo=UTC).timestamp())
PUT = "ETH-20261127-2800-P"
CALL = "ETH-20261127-3200-C"
FRACTIONAL = "ETH-20261127-2850_5-P"
DOMAIN = DeriveDomain(chain_id=CHAIN_ID, matching=MATCHING, trade_module=TRADE_MODULE, rfq_module=RFQ_MODULE)


def rule(**changes: Any) -> DeriveActionRule:
    fields: dict[str, Any] = {
        "domain": DOMAIN,
        "owner": OWNER,
        "session_key": LocalKey(KEY).address,
        "subaccount_id": SUBACCOUNT,
        "assets": frozenset({OPTION_ASSET}),
        "max_order_usd": 5_000.0,
        "max_notional_usd": 20_000.0,
        "max_fee_usd": 200.0,
        "max_day_usd": 20_000.0,
        "max_uncovered_contracts": 10.0,  # a sale that a crash cut off is tried again
    }
    return DeriveActionRule(**{**fields, **changes})


@dataclass
class LocalSigner:
    """The desk without the socket between: what the client of the signer's process offers."""

    desk: DeriveDesk
    error: Exception | None = None  # what its next answer is instead

    @property
    def address(self) -> str:
        return self.desk.address

    async def sign_derive_action(self, action: DeriveAction) -> SignedAction:
        if self.error is not None:
            raise self.error
        return self.desk.sign_derive_action(action)

    async def sign_derive_login(self, timestamp_ms: int) -> str:
        return self.desk.sign_derive_login(timestamp_ms)


@dataclass
class Head:
    """A chain that only has a head: no call of this venue goes to one."""

    world: "World"
    chain_id: int = CHAIN_ID

    async def head(self) -> Block:
        return self.world.block

    def __getattr__(self, name: str) -> Any:
        raise AssertionError(f"a chain was asked for {name}")


@dataclass
class World:
    exchange: DeriveExchange
    server: DeriveServer
    client: DeriveClient
    signer: LocalSigner
    nonces: NonceSource
    journal: Journal
    venue: PlannedVenue = field(init=False)
    messenger: DeriveMessenger = field(init=False)
    terms: DeriveTerms = field(default_factory=DeriveTerms)
    legs: int = 0

    @property
    def clock(self) -> Callable[[], float]:
        return lambda: self.exchange.now_s

    @property
    def block(self) -> Block:
        return Block(
            chain_id=CHAIN_ID,
            number=100,
            hash="0x" + "ab" * 32,
            parent_hash="0x" + "aa" * 32,
            timestamp_s=int(self.exchange.now_s),
            base_fee_wei=1,
        )

    def restart(self) -> None:
        """Build everything that is in memory anew, over the same journal, nonces and signer."""
        account = DeriveAccount(self.client, SUBACCOUNT)
        self.messenger = DeriveMessenger(
            client=self.client,
            account=account,
            signer=self.signer,
            journal=self.journal,
            nonces=self.nonces,
            domain=DOMAIN,
            owner=OWNER,
            clock=self.clock,
        )
        self.venue = derive_venue(
            reader=Head(self),  # type: ignore[arg-type]
            client=self.client,
            account=account,
            messenger=self.messenger,
            terms=self.terms,
        )

    def view(self, *, spot: float | None = None, usdc: float = 1.0) -> MarketView:
        index = float(self.exchange.index["ETH"]) if spot is None else spot
        return MarketView(
            now_s=self.exchange.now_s,
            block=self.block,
            columns=Columns(series={}),
            spot_usd={"ETH": index},
            stable_usd={"USDC": usdc},
        )

    def leg(
        self, side: Side, *, name: str = PUT, size: float = 1.0, limit_usd: float = 100.0, **more: Any
    ) -> HedgeLeg:
        self.legs += 1
        fields: dict[str, Any] = {
            "key": f"plan/{self.legs}",
            "group": "ETH",
            "layer": Layer.NEAR,
            "side": side,
            "instrument": instrument_named(name),
            "size": size,
            "limit_usd": limit_usd,
            "expected_usd": limit_usd,
            "valid_until_s": self.exchange.now_s + 600.0,
            "position_id": "" if side is Side.BUY else name,
        }
        return HedgeLeg(**{**fields, **more})

    async def do(self, leg: HedgeLeg, **view: Any) -> LegOutcome:
        """Execute a leg as the loop does: opened in the journal before, closed after."""
        self.journal.open_leg(leg, at_s=self.exchange.now_s)
        outcome = await self.venue.execute(leg, view=self.view(**view))
        self.journal.close_leg(outcome)
        return outcome

    async def find_out(self, leg: HedgeLeg) -> LegOutcome:
        """Reconcile a leg that was left open."""
        outcome = await self.venue.reconcile(leg, view=self.view())
        self.journal.close_leg(outcome)
        return outcome

    async def quotes(self, *, size: float = 1.0, **view: Any) -> Mapping[str, Quote]:
        found: Sequence[Quote] = await self.venue.quotes(self.view(**view), underlying="ETH", size=size)
        return {quote.instrument.id: quote for quote in found}


def _list_options(exchange: DeriveExchange) -> None:
    exchange.list_option(
        PUT,
        strike="2800",
        expiry_s=EXPIRY_S,
        is_put=True,
        asks=[(40, 2), (41, 3), (45, 10)],
        bids=[(38, 2), (37, 3), (30, 10)],
    )
    exchange.list_option(CALL, strike="3200", expiry_s=EXPIRY_S, is_put=False, asks=[(50, 5)], bids=[(48, 5)])
    exchange.list_option(FRACTIONAL, strike="2850.5", expiry_s=EXPIRY_S, is_put=True, asks=[(60, 5)], bids=[])


@asynccontextmanager
async def derive_site(
    folder: Path,
    exchange: DeriveExchange,
    server: DeriveServer,
    *,
    journal: Journal | None = None,
    **terms: Any,
) -> AsyncIterator[World]:
    """Run the venue, with its signer and its nonces in a folder, over a server that is there."""
    memory = SignerMemory(folder / "signer")
    desk = DeriveDesk(LocalKey(KEY), rule(), memory, clock=lambda: exchange.now_s)
    signer = LocalSigner(desk)
    nonces = NonceSource(folder / "nonces", clock_ns=lambda: int(exchange.now_s * 1e9))
    client = DeriveClient(
        base_url=server.url,
        ws_url=server.ws_url,
        owner=OWNER,
        signer=signer,
        timeout_s=2.0,
        clock=lambda: exchange.now_s,
    )
    async with client:
        made = World(
            exchange=exchange,
            server=server,
            client=client,
            signer=signer,
            nonces=nonces,
            journal=journal or MemoryJournal(),
            terms=DeriveTerms(**terms),
        )
        made.restart()
        yield made
    nonces.close()
    memory.close()


@asynccontextmanager
async def derive_world(folder: Path, **terms: Any) -> AsyncIterator[World]:
    """Run an exchange with three options, a subaccount with 100,000 USDC, and the venue over it."""
    exchange = DeriveExchange(
        owner=OWNER, subaccount_id=SUBACCOUNT, session_key=LocalKey(KEY).address, now_s=float(NOW_S)
    )
    _list_options(exchange)
    async with derive_server(exchange) as server, derive_site(folder, exchange, server, **terms) as made:
        yield made
