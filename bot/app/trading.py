"""The venues that orders can go to, all of them in one place: a new venue is one line here."""

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace

from bot.app.account_parts import planned_account
from bot.app.derive import trading_derive
from bot.app.option_venues import Where, nexus_venue, option_venues
from bot.app.perp_v2 import pair_venues, perpetual_venue
from bot.app.safe import open_custody
from bot.chain.code_pins import CodePins, kept_pins
from bot.chain.fees import GWEI, FeePolicy
from bot.chain.reader import JsonRpcReader
from bot.chain.rpc import Node, Rpc
from bot.chain.send_route import SendRoute
from bot.chain.signer import Signer
from bot.chain.signer_client import SignerClient
from bot.chain.transactions import SendTerms, TransactionManager
from bot.engine.policy import Policy
from bot.errors import BotError
from bot.model.signing import CallRule, Permission
from bot.ports import ChainReader, Journal, Proposer, Transactor
from bot.settings import ChainSettings, Settings
from bot.venues.paired import PairVenue
from bot.venues.planned import PlannedVenue
from bot.venues.planned_account import PlannedAccount
from bot.venues.planned_cover import PlannedCoverVenue
from bot.venues.planned_perpetual import PlannedPerpetualVenue


@dataclass(frozen=True, slots=True, kw_only=True)
class Trading:
    """What is configured on the home chain, over one custody."""

    options: tuple[PlannedVenue, ...]
    perpetual: PlannedPerpetualVenue | None
    covers: PlannedCoverVenue | None
    pairs: tuple[PairVenue, ...] = ()  # fill an option in two parts (R27)
    accounts: PlannedAccount | None = None  # acts on positions and loans
    transactor: TransactionManager | None = None  # what sends; None where nothing is signed

    @property
    def all(self) -> Sequence[PlannedVenue | PlannedPerpetualVenue | PlannedCoverVenue | PlannedAccount]:
        beside = (self.perpetual, self.covers, self.accounts)
        return (*self.options, *(item for item in beside if item is not None))

    def permissions(self) -> tuple[Permission, ...]:
        """Return every call and allowance that any of their plans may hold."""
        return tuple(rule for venue in self.all for rule in venue.permissions())


def trading_venues(
    settings: Settings,
    reader: JsonRpcReader,
    policy: Policy,
    *,
    custody: Transactor | Proposer | None,
) -> Trading:
    """Return the venues of the home chain. Without ``custody`` they quote and mark what the account holds."""
    account = account_of(settings)
    where = Where(reader=reader, custody=custody, account=account)
    return Trading(
        options=option_venues(settings, policy, where),
        perpetual=perpetual_venue(settings.perp_v2, reader, custody=custody, account=account),
        covers=cover_venue(settings, reader, custody=custody),
        accounts=planned_account(settings, reader, policy, custody=custody, account=account),
    )


def cover_venue(
    settings: Settings, reader: ChainReader, *, custody: Transactor | Proposer | None
) -> PlannedCoverVenue | None:
    """Return the configured mutual. Without ``custody`` it quotes and reads what the account holds."""
    if settings.nexus is None:
        return None
    return nexus_venue(settings.nexus, reader, custody=custody, account=account_of(settings))


def account_of(settings: Settings) -> str | None:
    """Return whose money and positions it is: the Safe's where one is configured, else the account's."""
    if settings.safe is not None:
        return settings.safe.address
    return settings.account.address if settings.account else None


@asynccontextmanager
async def open_trading(
    settings: Settings,
    node: Node,
    reader: JsonRpcReader,
    policy: Policy,
    journal: Journal,
    *,
    signer: SignerClient,
    on_trouble: Callable[[BotError], None] = lambda _: None,
) -> AsyncIterator[Trading]:
    """Open the venues that orders are sent to, from the account or through its Safe.

    ``on_trouble`` hears what keeps a transaction out of blocks. Raises ConfigError: no venue is configured,
    or the Safe is not one of the account's.
    """
    async with AsyncExitStack() as stack:
        route = await stack.enter_async_context(_open_route(settings.chain, node))
        rules = trading_venues(settings, reader, policy, custody=None).permissions()
        pins = await kept_pins(
            node, sorted(targets_of(rules)), settings.state_dir / f"pins-{settings.chain.id}.json"
        )
        transactor = _transactor(
            settings, node, signer, journal, route=route, pins=pins, on_trouble=on_trouble
        )
        custody: Transactor | Proposer = transactor
        if settings.safe is not None:
            custody = await stack.enter_async_context(
                open_custody(
                    settings,
                    node=node,
                    reader=reader,
                    journal=journal,
                    signer=signer,
                    transactor=transactor,
                )
            )
        found = trading_venues(settings, reader, policy, custody=custody)
        if settings.derive is not None and settings.derive.account is not None:
            derive = await stack.enter_async_context(
                trading_derive(settings, settings.derive, reader=reader, signer=signer, journal=journal)
            )
            found = replace(found, options=(*found.options, derive))
        pairs = pair_venues(found.options, found.perpetual, reader, custody=custody)
        yield replace(found, transactor=transactor, pairs=pairs)


@asynccontextmanager
async def _open_route(chain: ChainSettings, node: Node) -> AsyncIterator[SendRoute]:
    """Give the way of signed bytes: to the chain's nodes, or to its private relay."""
    if chain.send_url is None:
        yield SendRoute(public=node)
        return
    relay = Rpc(
        chain.send_url.get_secret_value(), timeout_s=chain.timeout_s, allow_plain_http=chain.allow_plain_http
    )
    try:
        yield SendRoute(public=node, private=relay, public_after_blocks=chain.public_after_blocks)
    finally:
        await relay.close()


def targets_of(rules: Sequence[Permission]) -> frozenset[str]:
    """Return the contracts that may be called: whose code must stay what it was (REL-T12)."""
    return frozenset(rule.target for rule in rules if isinstance(rule, CallRule))


def _transactor(
    settings: Settings,
    rpc: Node,
    signer: Signer,
    journal: Journal,
    *,
    route: SendRoute,
    pins: CodePins,
    on_trouble: Callable[[BotError], None],
) -> TransactionManager:
    return TransactionManager(
        rpc,
        signer,
        journal,
        chain_id=settings.chain.id,
        route=route,
        pins=pins,
        on_trouble=on_trouble,
        terms=SendTerms(
            confirmations=settings.chain.depth,
            final_tag=settings.chain.final_tag,
            poll_s=min(1.0, settings.chain.poll_s / 2),
            deadline_s=settings.execution.wait_s,
            fees=FeePolicy(max_fee_cap_wei=int(settings.execution.max_fee_gwei * GWEI)),
            accept_nonce=settings.execution.accept_nonce,
            fill_nonces=settings.execution.fill_nonces,
            look_in_pool=settings.chain.look_in_pool,
        ),
    )
