"""Monitor, dry run and live run, and what is read from their journals."""

import asyncio
import math
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, closing
from dataclasses import dataclass, field, replace
from pathlib import Path

from bot.app.account_parts import with_withdrawals
from bot.app.catching_up import catching_up
from bot.app.follow import (
    Listener,
    StepNews,
    backfill_of,
    guard_of,
    heads_of,
    side_chains,
    web_feeds,
)
from bot.app.observing import open_observing
from bot.app.parts import open_chain, own_watchers, position_readers, web_client
from bot.app.policy_vote import registry_watch
from bot.app.quoting import Market, open_quoting
from bot.app.room import outlive_full_disk
from bot.app.signer_link import open_signer
from bot.app.signer_place import pause_folders
from bot.app.stores import open_figures, open_history, open_journal, store_feed
from bot.app.trading import cover_venue, open_trading
from bot.chain.account_view import Head
from bot.chain.heads import NewHead
from bot.chain.reader import JsonRpcReader
from bot.chain.rpc import Node
from bot.chain.transactions import TransactionManager
from bot.engine.policy import Policy
from bot.engine.step import decide
from bot.errors import BotError, ConfigError, NoSpaceError, StaleDataError, TransientError
from bot.model.market import Block, Frame
from bot.model.record import Decision, EngineState, StepRecord
from bot.pipeline.breaker_desk import Breakers
from bot.pipeline.derived import Figures
from bot.pipeline.desk import Desk
from bot.pipeline.gaps import Gap
from bot.pipeline.history import History
from bot.pipeline.journal import SqlJournal
from bot.pipeline.loop import Moment, Pipeline, Step
from bot.pipeline.recorded_venue import RecordedPerpetualVenue, RecordedVenue
from bot.pipeline.recording import Recorder
from bot.pipeline.sources import LiveSource, chain_clock, until, with_stalls
from bot.pipeline.store_feed import StoreFeed
from bot.ports import AccountVenue, CoverVenue, WebReader
from bot.settings import Settings, load_policy

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
    """One running pipeline: a home chain whose blocks drive it, and what is watched beside it."""

    settings: Settings
    node: Node
    reader: JsonRpcReader
    source: LiveSource
    pipeline: Pipeline
    listener: Listener = field(default_factory=Listener)
    on_step: Callable[[StepRecord, Moment], None] = lambda _record, _moment: None
    transactor: TransactionManager | None = None  # what sends; None: nothing is signed

    async def step_at(self, block: Block) -> StepRecord:
        """Cut a moment at a block and do one step."""
        moment = await self.source.cut(block, now_s=self.source.clock(block))
        return await self.pipeline.step(moment)

    async def prepare(self, stop: asyncio.Event) -> None:
        """Fill the history that the signals look back on, as far as sources have it.

        A signal to stop ends it; the next start goes on from there.
        """
        source, policy = self.source, self.pipeline.policy
        await source.check_stored(self.reader)
        head = await self.reader.head()
        backfill = backfill_of(self.settings, policy, source.history, self.listener, should_stop=stop.is_set)
        self.listener.filled(await backfill.chain(self.reader, source.schedule, head=head))
        if source.web is not None and not stop.is_set():
            feeds = source.web
            self.listener.filled(await backfill.web(feeds.sources, feeds.web, now_s=source.clock(head)))
        await source.check_filled(self.reader, head)
        last = self.pipeline.last
        if last is not None and source.clock(head) <= last.decision.now_s:
            self.listener.on_notice(f"block {head.number} was decided at before; waiting for the next one")

    async def catch_up(self, gap: Gap) -> None:
        """Fill the bars that closed in a gap. What cannot be filled stays a hole with a reason."""
        backfill = backfill_of(self.settings, self.pipeline.policy, self.source.history, self.listener)
        try:
            head = await self.reader.head()
            self.listener.filled(
                await backfill.chain(self.reader, self.source.schedule, head=head, since_s=gap.from_s)
            )
        except BotError as error:  # nobody awaits this task: what it says would be lost
            self.listener.on_trouble(error)

    async def records(
        self, heads: AsyncIterator[Block] | AsyncIterator[NewHead]
    ) -> AsyncIterator[StepRecord]:
        """Do one step per head."""
        last = self.pipeline.last
        after_s = last.decision.now_s if last else float("-inf")
        async for moment in self.source.moments(heads, after_s=after_s):
            block = moment.blocks.get(self.settings.chain.id)
            if block is not None and self.transactor is not None:
                self.transactor.heard(Head(block.number, float(block.timestamp_s), block.hash))
            record = await self.pipeline.step(moment)
            self.on_step(record, moment)
            yield record
            await self._check_account()

    async def _check_account(self) -> None:
        """Stop, after a step and with InvariantError, when the key was used by something else (REL-P9)."""
        if self.transactor is not None:
            try:
                await self.transactor.check_account()
            except (TransientError, StaleDataError) as error:  # a dissent holds, and ends nothing (ADR 0006)
                self.listener.on_trouble(error)  # at the next block it looks again


@asynccontextmanager
async def open_bot(
    settings: Settings,
    *,
    mode: str,
    policy: Policy | None = None,
    listener: Listener | None = None,
    record: Path | None = None,  # a folder in which every step is recorded
) -> AsyncIterator[Bot]:
    """Put a bot together. ``mode`` live and demo sign; dry-run fills on paper; monitor fills nothing."""
    if mode in SIGNING_MODES:
        refuse_real_money(settings)
    policy, listener = policy or load_policy(settings.policy), listener or Listener()
    async with AsyncExitStack() as stack:
        node, reader = await stack.enter_async_context(open_chain(settings, on_trouble=listener.on_trouble))
        journal = stack.enter_context(open_journal(settings, mode=mode))
        history = stack.enter_context(closing(open_history(settings, policy)))
        fed = stack.enter_context(store_feed(settings, policy, history))
        figures = stack.enter_context(closing(open_figures(settings, policy, journal, mode=mode)))
        web = await stack.enter_async_context(web_client(settings))
        fills = await stack.enter_async_context(
            _open_fills(settings, node, reader, web, policy, journal, listener, mode=mode)
        )
        recorder = None
        if record is not None:
            fills, kept = _recorded(fills)
            recorder = _recorder(record, history, figures, journal, kept, mode=mode, policy=policy)
            stack.callback(recorder.close)
        yield Bot(
            settings=settings,
            node=node,
            reader=reader,
            source=_live_source(settings, policy, node, reader, web, history, listener, journal, fed),
            pipeline=_live_pipeline(
                settings, policy, fills, journal, figures, _before_record(history, recorder), mode=mode
            ),
            listener=listener,
            transactor=fills.transactor,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Fills:
    """What quotes and fills in a mode; without ``accounts`` nothing is done with positions and loans."""

    market: Market
    covers: CoverVenue | None
    accounts: AccountVenue | None = None
    transactor: TransactionManager | None = None


@asynccontextmanager
async def _open_fills(
    settings: Settings,
    node: Node,
    reader: JsonRpcReader,
    web: WebReader,
    policy: Policy,
    journal: SqlJournal,
    listener: Listener,
    *,
    mode: str,
) -> AsyncIterator[_Fills]:
    """Open the venues that sign where the mode does, else those that only quote."""
    if mode not in SIGNING_MODES:
        async with open_quoting(settings, reader, web, policy) as market:
            yield _Fills(market=market, covers=cover_venue(settings, reader, custody=None))
        return
    async with (
        open_signer(settings, policy_hash=policy.hash, who=f"alvh {mode}") as signer,
        open_trading(
            settings, node, reader, policy, journal, signer=signer, on_trouble=listener.on_trouble
        ) as trading,
    ):
        yield _Fills(
            market=Market(options=trading.options, perpetual=trading.perpetual, pairs=trading.pairs),
            covers=trading.covers,
            accounts=trading.accounts,
            transactor=trading.transactor,
        )


def _recorded(fills: _Fills) -> tuple[_Fills, list[RecordedVenue | RecordedPerpetualVenue]]:
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


def _recorder(
    folder: Path,
    history: History,
    figures: Figures,
    journal: SqlJournal,
    venues: Sequence[RecordedVenue | RecordedPerpetualVenue],
    *,
    mode: str,
    policy: Policy,
) -> Recorder:
    return Recorder(
        folder=folder,
        mode=mode,
        policy=policy,
        history=history,
        journal=journal,
        venues=venues,
        figures=figures,
    )


def _live_source(
    settings: Settings,
    policy: Policy,
    node: Node,
    reader: JsonRpcReader,
    web: WebReader,
    history: History,
    listener: Listener,
    journal: SqlJournal,
    fed: StoreFeed | None,
) -> LiveSource:
    return LiveSource(
        chain=reader,
        watchers=own_watchers(settings, settings.chain.id),
        positions=with_withdrawals(
            settings, position_readers(settings, with_deposits=True), journal.account_outcomes
        ),
        history=history,
        clock=chain_clock if settings.chain.clock == "chain" else _wall_clock,
        on_trouble=listener.on_trouble,
        on_gap=listener.gap,
        others=side_chains(settings, policy, history, listener),
        web=web_feeds(settings, web, listener),
        fed=fed,
        base=settings.base,
        registry=registry_watch(settings, policy, listener, last=journal.last_step()),
        deadline_s=settings.chain.timeout_s,
        guard=guard_of(node, reader),
    )


def _live_pipeline(
    settings: Settings,
    policy: Policy,
    fills: _Fills,
    journal: SqlJournal,
    figures: Figures,
    before_record: Callable[[Step], None],
    *,
    mode: str,
) -> Pipeline:
    venues, perpetuals = fills.market.named(journal, mode=mode)
    return Pipeline(
        mode=mode,
        policy=policy,
        decide=decide_only if mode == "monitor" else decide,
        venues=venues,
        perpetual_venues=perpetuals,
        journal=journal,
        max_price_age_s=policy.holds.price_max_age,
        before_record=before_record,
        figures=figures,
        desk=Desk(settings.state_dir, mode=mode, pauses=pause_folders(settings)),
        breakers=_breakers(settings, journal, mode=mode) if mode in SIGNING_MODES else None,
        account_venue=fills.accounts,
        cover_venue=fills.covers,
    )


def _breakers(settings: Settings, journal: SqlJournal, *, mode: str) -> Breakers:
    """Return what pauses when money goes wrong; it hears of every order that ends."""
    found = Breakers(terms=settings.breakers.terms, journal=journal, state_dir=settings.state_dir, mode=mode)
    journal.on_closed = found.closed
    return found


async def run(
    settings: Settings,
    *,
    mode: str,
    stop: asyncio.Event,
    listener: Listener | None = None,
    record: Path | None = None,
    once: bool = False,
) -> AsyncIterator[StepRecord]:
    """Yield a record per block until ``stop`` is set; the step under way is finished first.

    On a full disk nothing is decided; once there is room all is opened anew, as after a restart. ``once``:
    somebody waits for one step, and hears of a disk that is full at the start by NoSpaceError.
    """
    over = asyncio.Event()  # not set: the disk was full, and has room again
    while not over.is_set():
        over.set()
        run = _followed(
            settings, mode=mode, stop=stop, over=over, listener=listener, record=record, once=once
        )
        async for step in run:
            yield step


async def _followed(
    settings: Settings,
    *,
    mode: str,
    stop: asyncio.Event,
    over: asyncio.Event,
    listener: Listener | None,
    record: Path | None,
    once: bool,
) -> AsyncIterator[StepRecord]:
    """Yield records until ``stop``, or until a full disk has room: ``over`` is cleared then."""
    async with AsyncExitStack() as stack:
        observing = stack.enter_context(open_observing(settings, mode=mode, listener=listener or Listener()))
        listener = observing.beside()
        reader: JsonRpcReader | None = None
        try:
            async with observing.starting():
                opened = open_bot(settings, mode=mode, listener=listener, record=record)
                bot = await stack.enter_async_context(opened)
            reader = bot.reader
            await stack.enter_async_context(observing.around(bot))
            async for step in _stepped(bot, stop, listener):
                yield step
        except NoSpaceError as error:
            if once and reader is None:
                raise
            if await outlive_full_disk(
                error, settings.state_dir, reader, stop=stop, on_trouble=listener.on_trouble
            ):
                over.clear()


async def _stepped(bot: Bot, stop: asyncio.Event, listener: Listener) -> AsyncIterator[StepRecord]:
    settings = bot.settings
    async with AsyncExitStack() as stack:
        await bot.prepare(stop)
        events = await stack.enter_async_context(
            heads_of(
                settings.chain,
                bot.node,
                bot.reader,
                on_trouble=bot.source.trouble,
                on_breach=bot.source.halt,
            )
        )
        bot.source.on_gap = await stack.enter_async_context(catching_up(bot))
        await stack.enter_async_context(bot.source.running(first_within_s=settings.chain.timeout_s))
        quiet_s = bot.pipeline.policy.holds.clock_skew if settings.chain.clock == "wall" else math.inf
        heads = until(with_stalls(events, limit_s=quiet_s, on_stall=listener.on_trouble), stop)
        news = StepNews(node=bot.node, listener=listener)
        async for step in bot.records(heads):
            news.look(step)
            yield step


def refuse_real_money(settings: Settings) -> None:
    """Raise ConfigError unless the configured chain is a known test chain: an allow list, not a deny list."""
    if settings.chain.id not in TEST_CHAINS:
        known = ", ".join(f"{number} {name}" for number, name in sorted(TEST_CHAINS.items()))
        raise ConfigError(
            f"chain.id {settings.chain.id} is not a test chain, and only those are signed for: {known}; "
            "run without --live"
        )


def decide_only(policy: Policy, state: EngineState, frame: Frame) -> tuple[EngineState, Decision]:
    """Decide as always and trade nothing."""
    state, decision = decide(policy, state, frame)
    return state, replace(decision, plan=replace(decision.plan, legs=()), perpetuals=())


def _wall_clock(_: Block) -> float:
    return time.time()


def _before_record(history: History, recorder: Recorder | None) -> Callable[[Step], None]:
    """Put what a record cites on disk before the record: the rows, and the recording."""

    def write(step: Step) -> None:
        history.flush()
        if recorder is not None:
            recorder.write(step)

    return write
