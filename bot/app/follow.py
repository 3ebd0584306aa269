"""What of the settings is followed: heads of every chain, HTTP sources, the history before a start."""

import math
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field

from bot.app.parts import open_chain, own_watchers, position_readers, web_sources
from bot.chain.heads import FinalityError, HeadFollower, NewHead, final_block_of
from bot.chain.provider_pool import ProviderStatus
from bot.chain.providers import Providers
from bot.chain.reader import JsonRpcReader
from bot.chain.rpc import Node
from bot.chain.wake import HeadWaker
from bot.engine.policy import Policy
from bot.errors import BotError, TransientError
from bot.model.market import Metric
from bot.model.record import StepRecord
from bot.model.tier import Family, Quality, Reading
from bot.model.units import DAY_S
from bot.pipeline.backfill import Backfill, Filled, LookBack, Problem, lacks_state, look_backs
from bot.pipeline.cadence import ChainObserver, Scheduled
from bot.pipeline.gaps import BETWEEN_POLLS, Gap
from bot.pipeline.history import History
from bot.pipeline.side_chains import Link, SideChain
from bot.pipeline.sources import MAX_AHEAD_S
from bot.pipeline.web_feeds import WebFeeds
from bot.ports import PositionReader, WebReader
from bot.settings import ChainSettings, Settings
from bot.signals import metric_lookbacks_s
from bot.signals.macd import regime_lookback_s
from bot.simulation.wording import when

_PROBLEMS_SAID = 3  # of one backfill; the rest is counted


@dataclass(frozen=True, slots=True, kw_only=True)
class Listener:
    """Who hears what happens beside the decisions."""

    on_trouble: Callable[[BotError], None] = lambda _: None  # a read that failed; it is tried again
    on_notice: Callable[[str], None] = lambda _: None  # something that a person should know once
    on_progress: Callable[[int, int, str], None] = lambda _done, _total, _what: None  # of the backfill

    def gap(self, gap: Gap) -> None:
        """Say that heads were not observed. What lies between two polls is recorded and not said."""
        if gap.why != BETWEEN_POLLS:
            self.on_notice(str(gap))

    def filled(self, found: Filled) -> None:
        """Say what a backfill could not read, in a few lines."""
        lines = list(dict.fromkeys(map(_unfilled, found.problems)))
        for line in lines[:_PROBLEMS_SAID]:
            self.on_notice(f"history: {line}")
        if len(lines) > _PROBLEMS_SAID:
            self.on_notice(f"history: {lines[-1]} ({len(found.problems)} problems in all)")


@dataclass(slots=True, kw_only=True)
class StepNews:
    """Says what a person should hear once of a run: what warms, and which providers come and go."""

    node: Node
    listener: Listener
    _is_first: bool = field(default=True, init=False)
    _benched: frozenset[int] = field(default=frozenset(), init=False)

    def look(self, record: StepRecord) -> None:
        """Look after a step."""
        if self._is_first:
            self._is_first = False
            if text := warming_notice(record.decision.readings):
                self.listener.on_notice(text)
        if isinstance(self.node, Providers):
            self._look_at(self.node.status())

    def _look_at(self, providers: Sequence[ProviderStatus]) -> None:
        benched = frozenset(place for place, item in enumerate(providers) if item.benched)
        for place in sorted(benched - self._benched):
            item = providers[place]
            self.listener.on_trouble(TransientError(f"{item.where} is not used: {item.because}"))
        for place in sorted(self._benched - benched):
            self.listener.on_notice(f"{providers[place].where} is used again")
        self._benched = benched


def warming_notice(readings: Sequence[Reading]) -> str:
    """Say how many signals have too little history to vote, and until when at the latest; empty for none."""
    ends_s: dict[str, float] = {}
    for item in readings:
        if item.quality is Quality.WARMING:
            ends_s[item.signal] = max(item.warm_at_s, ends_s.get(item.signal, -math.inf))
    if not ends_s:
        return ""
    many = f"{len(ends_s)} signals are" if len(ends_s) > 1 else "1 signal is"
    return f"{many} warming, the last until {when(max(ends_s.values()))} UTC"


def _unfilled(problem: Problem) -> str:
    if not lacks_state(problem.why):
        return str(problem)
    where, _, _ = problem.what.partition(" before ")
    who = f"{where}: " if where.startswith("chain ") else ""  # one watcher's old state is the node's
    return f"{who}the node keeps no old states; signals warm up from now on"


def wanted_history(policy: Policy) -> tuple[LookBack, ...]:
    """Return the look-backs of a policy.

    TECHNICAL and ONCHAIN signals stand on bars; FUNDAMENTAL ones, the regime of MACD and the value at risk
    (R8) on daily values.
    """
    signals = policy.signals
    daily = metric_lookbacks_s(signals, Family.FUNDAMENTAL)
    prices_s = max(float((policy.sizing.history_days + 1) * DAY_S), regime_lookback_s(signals))
    daily[Metric.PRICE_USD] = max(daily.get(Metric.PRICE_USD, 0.0), prices_s)
    bars = metric_lookbacks_s(signals, Family.TECHNICAL, Family.ONCHAIN)
    return (*look_backs(bars, step_s=signals.bar_s), *look_backs(daily, step_s=DAY_S))


def backfill_of(
    settings: Settings,
    policy: Policy,
    history: History,
    listener: Listener,
    *,
    should_stop: Callable[[], bool] = lambda: False,
) -> Backfill:
    """Return what fills the history; ``should_stop`` ends it at once."""
    return Backfill(
        history=history,
        wanted=wanted_history(policy),
        deadline_s=max(settings.web.timeout_s, *(chain.timeout_s for chain in settings.all_chains)),
        progress=listener.on_progress,
        should_stop=should_stop,
    )


@asynccontextmanager
async def heads_of(
    chain: ChainSettings,
    node: Node,
    reader: JsonRpcReader,
    *,
    on_trouble: Callable[[BotError], None],
    on_breach: Callable[[BotError], None],
) -> AsyncIterator[AsyncIterator[NewHead]]:
    """Follow the heads of a chain for ever. ``on_breach`` hears when a final block was replaced (REL-C6)."""
    async with AsyncExitStack() as stack:
        waker = None
        if chain.ws_url is not None:
            waker = HeadWaker(
                chain.ws_url.get_secret_value(),
                block_time_s=chain.poll_s,
                allow_plain_ws=chain.allow_plain_http,
                on_trouble=on_trouble,
            )
            await stack.enter_async_context(waker)
        follower = HeadFollower(
            reader,
            poll_s=chain.poll_s,
            on_trouble=on_trouble,
            wake=waker,
            wake_gap_s=chain.wake_gap_s if chain.clock == "wall" else 0.0,
            final=final_block_of(node),
        )
        yield _past_breaches(follower, on_breach)


async def _past_breaches(
    follower: HeadFollower, on_breach: Callable[[BotError], None]
) -> AsyncIterator[NewHead]:
    """Go on watching after a breach of finality: nothing is opened until a person releases the halt."""
    while True:
        try:
            async for event in follower.events():
                yield event
        except FinalityError as error:
            on_breach(error)
            follower.release()


def guard_of(node: Node, reader: JsonRpcReader) -> Callable[[], Awaitable[None]] | None:
    """Return what checks the chain id beside each reading, None where the providers do (REL-R1)."""
    return None if isinstance(node, Providers) else reader.check_chain


def side_chains(
    settings: Settings, policy: Policy, history: History, listener: Listener
) -> tuple[SideChain, ...]:
    """Return what follows every chain beside the home chain; one of which others give all needs nothing."""
    found = []
    for chain in settings.chains:
        positions = position_readers(settings, chain.id, with_deposits=True)
        if positions or not chain.watched_elsewhere:
            watched = own_watchers(settings, chain.id)
            found.append(follow_chain(settings, chain, policy, history, listener, watched, positions))
    return tuple(found)


def follow_chain(
    settings: Settings,
    chain: ChainSettings,
    policy: Policy,
    history: History,
    listener: Listener,
    watchers: Sequence[Scheduled],
    positions: Sequence[PositionReader] = (),
) -> SideChain:
    """Return what follows one chain by itself and fills what its look-back lacks."""
    observer = ChainObserver(
        chain=None,
        watchers=watchers,
        positions=positions,
        deadline_s=chain.timeout_s,
        on_trouble=listener.on_trouble,
    )

    @asynccontextmanager
    async def connect() -> AsyncIterator[Link]:
        async with (
            open_chain(settings, chain.id, on_trouble=side.trouble) as (node, reader),
            heads_of(chain, node, reader, on_trouble=side.trouble, on_breach=side.halt) as events,
        ):
            observer.guard = guard_of(node, reader)
            yield Link(reader, events)

    async def fill(link: Link) -> None:
        backfill = backfill_of(settings, policy, history, Listener(on_notice=listener.on_notice))
        head = await link.chain.head()
        listener.filled(await backfill.chain(link.chain, observer.schedule, head=head))
        await side.check_filled(link, head)

    side = SideChain(
        chain_id=chain.id,
        observer=observer,
        connect=connect,
        history=history,
        clock=time.time,
        lag_limit_s=policy.holds.clock_skew,
        again_s=chain.poll_s,
        ahead_limit_s=MAX_AHEAD_S if settings.chain.clock == "wall" else math.inf,
        on_link=fill,
        on_trouble=listener.on_trouble,
        on_gap=listener.gap,
    )
    return side


def web_feeds(settings: Settings, web: WebReader, listener: Listener) -> WebFeeds | None:
    """Return what reads the configured HTTP sources, None when there are none."""
    sources = web_sources(settings)
    if not sources:
        return None
    return WebFeeds(
        sources=sources, web=web, deadline_s=settings.web.timeout_s, on_trouble=listener.on_trouble
    )
