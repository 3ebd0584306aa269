"""Monitor, dry run and live run, and what is read from their journals."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace

from bot.app.parts import lyra_venue, open_chain, position_readers, watchers
from bot.chain.fees import GWEI, FeePolicy
from bot.chain.heads import HeadFollower
from bot.chain.reader import JsonRpcReader
from bot.chain.rpc import Rpc
from bot.chain.signer import KeystoreSigner, SigningRules
from bot.chain.transactions import TransactionManager
from bot.engine.policy import Policy
from bot.engine.step import decide
from bot.errors import BotError, ConfigError, TransientError
from bot.model.market import Block, Frame, SeriesKey
from bot.model.record import Decision, EngineState, StepRecord
from bot.pipeline.history import History
from bot.pipeline.journal import JournalIdentity, SqlJournal
from bot.pipeline.loop import Pipeline
from bot.pipeline.sources import LiveSource, chain_clock
from bot.ports import Venue
from bot.settings import Settings, load_policy
from bot.venues.lyra import LyraVenue
from bot.venues.paper import PaperVenue

SIGNING_MODES = ("live", "demo")
TEST_CHAINS = {  # coins on them are worth nothing
    1337: "local",
    31337: "local devnet",
    17000: "Holesky",
    84532: "Base Sepolia",
    421614: "Arbitrum Sepolia",
    560048: "Hoodi",
    11155111: "Sepolia",
    11155420: "OP Sepolia",
}


@dataclass(slots=True, kw_only=True)
class Bot:
    """One running pipeline over one chain."""

    reader: JsonRpcReader
    source: LiveSource
    pipeline: Pipeline

    async def step_at(self, block: Block) -> StepRecord:
        """Cut a moment at a block and do one step."""
        moment = await self.source.cut(block, now_s=self.source.clock(block))
        return await self.pipeline.step(moment)

    async def records(self, heads: AsyncIterator[Block]) -> AsyncIterator[StepRecord]:
        """Do one step per head."""
        last = self.pipeline.last
        after_s = last.decision.now_s if last else float("-inf")
        async for moment in self.source.moments(heads, after_s=after_s):
            yield await self.pipeline.step(moment)


@asynccontextmanager
async def open_bot(
    settings: Settings, *, mode: str, password: str | None = None, policy: Policy | None = None
) -> AsyncIterator[Bot]:
    """Put a bot together. ``mode`` live and demo sign; dry-run fills on paper; monitor fills nothing."""
    if mode in SIGNING_MODES:
        refuse_real_money(settings)
    policy = policy or load_policy(settings.policy)
    async with AsyncExitStack() as stack:
        rpc, reader = await stack.enter_async_context(open_chain(settings))
        journal = stack.enter_context(open_journal(settings, mode=mode))
        history = History(_series(settings), path=settings.state_dir / f"history-{settings.chain.id}.sqlite")
        stack.callback(history.close)
        venue = lyra_venue(settings, reader, policy, transactor=None)
        if mode in SIGNING_MODES:
            signer = await _signer(settings, venue, password)
            transactor = _transactor(settings, rpc, signer, journal)
            venue = lyra_venue(settings, reader, policy, transactor=transactor)
        pipeline = Pipeline(
            mode=mode,
            policy=policy,
            decide=_decide_only if mode == "monitor" else decide,
            venues=_venues(venue, journal, mode=mode),
            journal=journal,
            max_price_age_s=policy.holds.price_max_age,
        )
        source = LiveSource(
            chain=reader,
            watchers=watchers(settings),
            positions=position_readers(settings),
            history=history,
            clock=chain_clock if settings.chain.clock == "chain" else _wall_clock,
        )
        yield Bot(reader=reader, source=source, pipeline=pipeline)


async def run(
    settings: Settings,
    *,
    mode: str,
    password: str | None,
    stop: asyncio.Event,
    on_trouble: Callable[[BotError], None] = lambda _: None,
) -> AsyncIterator[StepRecord]:
    """Yield a record per block until ``stop`` is set; the step under way is finished first.

    ``on_trouble`` hears of every poll for a new block that failed; the next poll tries again.
    """
    async with open_bot(settings, mode=mode, password=password) as bot:
        bot.source.on_trouble = on_trouble
        follower = HeadFollower(bot.reader, poll_s=settings.chain.poll_s, on_trouble=on_trouble)
        heads = _same_chain(_until(follower.heads(), stop), bot.reader, on_trouble)
        async for record in bot.records(heads):
            yield record


def refuse_real_money(settings: Settings) -> None:
    """Raise ConfigError unless the configured chain is a known test chain: an allow list, not a deny list."""
    if settings.chain.id not in TEST_CHAINS:
        known = ", ".join(f"{number} {name}" for number, name in sorted(TEST_CHAINS.items()))
        raise ConfigError(
            f"chain.id {settings.chain.id} is not a test chain, and only those are signed for: {known}; "
            "run without --live"
        )


def open_journal(settings: Settings, *, mode: str, read_only: bool = False) -> SqlJournal:
    """Open the journal of a mode. Raises ConfigError when another process holds or owns it."""
    if not read_only:
        _make_state_dir(settings)
    path = settings.state_dir / f"journal-{mode}.sqlite"
    identity = JournalIdentity(
        mode=mode,
        chain_id=settings.chain.id,
        account=settings.account.address if settings.account and mode in ("live", "demo") else "",
    )
    return SqlJournal(settings.journal_url.get_secret_value() or path, identity=identity, read_only=read_only)


def _make_state_dir(settings: Settings) -> None:
    try:
        settings.state_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(
            f"state_dir {settings.state_dir} cannot be made: {error.strerror}; name another folder"
        ) from None


async def _signer(settings: Settings, venue: LyraVenue | None, password: str | None) -> KeystoreSigner:
    account = settings.account
    if account is None or password is None:
        raise ConfigError("signing needs an [account] with address and keystore, and its password")
    if venue is None:
        raise ConfigError("signing needs a venue to trade on; add a [lyra] section to the configuration")
    if settings.execution.gas_ceiling < venue.least_gas_ceiling:
        raise ConfigError(
            f"execution.gas_ceiling is {settings.execution.gas_ceiling:,}, a trade on {venue.name} can need "
            f"{venue.least_gas_ceiling:,}; raise it, or every purchase would fail after its swap"
        )
    rules = SigningRules(
        chain_ids=frozenset({settings.chain.id}),
        calls=frozenset(venue.permissions()),
        gas_ceiling=settings.execution.gas_ceiling,
        max_fee_wei=2 * int(settings.execution.max_fee_gwei * GWEI),
    )
    return await asyncio.to_thread(
        KeystoreSigner.open, account.keystore, password, address=account.address, rules=rules
    )


def _transactor(
    settings: Settings, rpc: Rpc, signer: KeystoreSigner, journal: SqlJournal
) -> TransactionManager:
    return TransactionManager(
        rpc,
        signer,
        journal,
        chain_id=settings.chain.id,
        confirmations=settings.chain.confirmations,
        poll_s=min(1.0, settings.chain.poll_s / 2),
        deadline_s=settings.execution.wait_s,
        accept_nonce=settings.execution.accept_nonce,
        fees=FeePolicy(max_fee_cap_wei=int(settings.execution.max_fee_gwei * GWEI)),
    )


def _venues(venue: LyraVenue | None, journal: SqlJournal, *, mode: str) -> dict[str, Venue]:
    if venue is None:
        return {}
    if mode != "dry-run":
        return {venue.name: venue}
    paper = PaperVenue(venue, earlier=journal.outcomes())
    return {paper.name: paper}


def _decide_only(policy: Policy, state: EngineState, frame: Frame) -> tuple[EngineState, Decision]:
    """Decide as always and trade nothing."""
    state, decision = decide(policy, state, frame)
    return state, replace(decision, plan=replace(decision.plan, legs=()))


def _series(settings: Settings) -> list[SeriesKey]:
    return [key for watcher in watchers(settings) for key in watcher.series]


def _wall_clock(_: Block) -> float:
    return time.time()


async def _same_chain(
    heads: AsyncIterator[Block], reader: JsonRpcReader, on_trouble: Callable[[BotError], None]
) -> AsyncIterator[Block]:
    """Yield heads of a node that is still on its chain. Raises ConfigError when it is on another (REL-R1)."""
    async for block in heads:
        try:
            await reader.check_chain()
        except TransientError as error:
            on_trouble(error)
            continue
        yield block


async def _until(heads: AsyncIterator[Block], stop: asyncio.Event) -> AsyncIterator[Block]:
    """Yield heads until ``stop`` is set; a wait for the next head ends at once then."""
    stopped = asyncio.ensure_future(stop.wait())
    try:
        while not stop.is_set():
            head = asyncio.ensure_future(anext(heads))
            await asyncio.wait({head, stopped}, return_when=asyncio.FIRST_COMPLETED)
            if not head.done():
                head.cancel()
                return
            yield head.result()
    finally:
        stopped.cancel()
