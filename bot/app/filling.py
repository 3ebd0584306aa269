"""What quotes and fills in each mode: venues that sign, or those that only quote."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace

from bot.app.follow import Listener
from bot.app.quoting import Market, open_quoting
from bot.app.signer_link import open_signer
from bot.app.trading import cover_venue, open_trading
from bot.chain.reader import JsonRpcReader
from bot.chain.rpc import Node
from bot.chain.transactions import TransactionManager
from bot.engine.policy import Policy
from bot.pipeline.journal import SqlJournal
from bot.pipeline.recorded_venue import RecordedPerpetualVenue, RecordedVenue
from bot.ports import AccountVenue, CoverVenue, WebReader
from bot.settings import Settings

SIGNING_MODES = ("live", "demo")


@dataclass(frozen=True, slots=True, kw_only=True)
class Fills:
    """What quotes and fills in a mode; without ``accounts`` nothing is done with positions and loans."""

    market: Market
    covers: CoverVenue | None
    accounts: AccountVenue | None = None
    transactor: TransactionManager | None = None


@asynccontextmanager
async def open_fills(
    settings: Settings,
    node: Node,
    reader: JsonRpcReader,
    web: WebReader,
    policy: Policy,
    journal: SqlJournal,
    listener: Listener,
    *,
    mode: str,
) -> AsyncIterator[Fills]:
    """Open the venues that sign where the mode does, else those that only quote."""
    if mode not in SIGNING_MODES:
        async with open_quoting(settings, reader, web, policy) as market:
            yield Fills(market=market, covers=cover_venue(settings, reader, custody=None))
        return
    async with (
        open_signer(settings, policy_hash=policy.hash, who=f"alvh {mode}") as signer,
        open_trading(
            settings, node, reader, policy, journal, signer=signer, on_trouble=listener.on_trouble
        ) as trading,
    ):
        yield Fills(
            market=Market(options=trading.options, perpetual=trading.perpetual, pairs=trading.pairs),
            covers=trading.covers,
            accounts=trading.accounts,
            transactor=trading.transactor,
        )


def recorded(fills: Fills) -> tuple[Fills, list[RecordedVenue | RecordedPerpetualVenue]]:
    """Return them with every answer of the market kept, and who keeps them."""
    market = fills.market
    options = [RecordedVenue(item) for item in market.options]
    pairs = [RecordedVenue(item) for item in market.pairs]
    perpetual = RecordedPerpetualVenue(market.perpetual) if market.perpetual is not None else None
    kept: list[RecordedVenue | RecordedPerpetualVenue] = [
        *options,
        *pairs,
        *((perpetual,) if perpetual else ()),
    ]
    market = replace(market, options=options, perpetual=perpetual, pairs=pairs)
    return replace(fills, market=market), kept
