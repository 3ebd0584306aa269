"""What of the settings is followed: heads of every chain, HTTP sources, the history before a start."""

import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

from bot.app.parts import open_chain, position_readers, scheduled, web_client, web_sources
from bot.chain.heads import FinalityError, HeadFollower, NewHead, final_block_of
from bot.chain.providers import Providers
from bot.chain.reader import JsonRpcReader
from bot.chain.rpc import Node
from bot.chain.wake import HeadWaker
from bot.engine.policy import Policy
from bot.errors import BotError
from bot.pipeline.backfill import Backfill, Filled, LookBack, look_backs
from bot.pipeline.cadence import ChainObserver
from bot.pipeline.gaps import BETWEEN_POLLS, Gap
from bot.pipeline.history import History
from bot.pipeline.side_chains import Link, SideChain
from bot.pipeline.web_feeds import WebFeeds
from bot.settings import ChainSettings, Settings
from bot.signals import lookback_s

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
        for problem in found.problems[:_PROBLEMS_SAID]:
            self.on_notice(f"history: {problem}")
        if len(found.problems) > _PROBLEMS_SAID:
            self.on_notice(f"history: {found.problems[-1]} ({len(found.problems)} problems in all)")


def wanted_history(policy: Policy) -> tuple[LookBack, ...]:
    """Return the look-backs of a policy."""
    return look_backs(
        signals_s=lookback_s(policy.signals),
        bar_s=policy.signals.bar_s,
        daily_closes=policy.sizing.history_days,
    )


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
            reader, poll_s=chain.poll_s, on_trouble=on_trouble, wake=waker, final=final_block_of(node)
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
    """Return what follows every chain beside the home chain."""
    return tuple(_side_chain(settings, chain, policy, history, listener) for chain in settings.chains)


def _side_chain(
    settings: Settings, chain: ChainSettings, policy: Policy, history: History, listener: Listener
) -> SideChain:
    observer = ChainObserver(
        chain=None,
        watchers=scheduled(settings, chain.id),
        positions=position_readers(settings, chain.id),
        deadline_s=chain.timeout_s,
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
        listener.filled(await backfill.chain(link.chain, observer.schedule, head=await link.chain.head()))

    side = SideChain(
        chain_id=chain.id,
        observer=observer,
        connect=connect,
        history=history,
        clock=time.time,
        lag_limit_s=policy.holds.clock_skew,
        again_s=chain.poll_s,
        on_link=fill,
        on_trouble=listener.on_trouble,
        on_gap=listener.gap,
    )
    return side


@asynccontextmanager
async def web_feeds(settings: Settings, listener: Listener) -> AsyncIterator[WebFeeds | None]:
    """Return what reads the configured HTTP sources, None when there are none."""
    sources = web_sources(settings)
    if not sources:
        yield None
        return
    async with web_client(settings) as web:
        yield WebFeeds(
            sources=sources, web=web, deadline_s=settings.web.timeout_s, on_trouble=listener.on_trouble
        )
