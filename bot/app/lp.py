"""The LP monitor: what LP positions hold, are worth and earn, on several chains. No key, no state."""

import asyncio
from collections.abc import AsyncIterator, Callable, Collection, Sequence
from contextlib import AsyncExitStack
from dataclasses import replace
from typing import Any

from bot.app.lp_chain import LpChain, configured_chains
from bot.app.lp_links import Link, connect_again, open_links
from bot.app.lp_monitor import ChainMonitor
from bot.app.lp_request import LpRequest, parse_address, parse_request
from bot.app.lp_view import ChainLp, LpRow, LpView
from bot.chain.heads import HeadFollower
from bot.chain.node_url import checked_url
from bot.errors import BotError, ConfigError, NotFoundError, StaleDataError, TransientError
from bot.watchers.positions.finder import V4Contracts

__all__ = [
    "ChainLp",
    "LpChain",
    "LpRequest",
    "LpRow",
    "LpView",
    "configured_chains",
    "lp_now",
    "node_chains",
    "parse_request",
    "watch_lp",
]


_PATIENCE_S = 2.0  # the first view waits so long for chains that are slower than the first to answer


def node_chains(
    urls: Sequence[str],
    *,
    poll_s: float,
    v3_manager: str | None = None,
    v4_manager: str | None = None,
    state_view: str | None = None,
) -> tuple[LpChain, ...]:
    """Return the chains of plain node URLs; each node says which chain it is on.

    The contracts are for a chain of which none are known. Raises ConfigError.
    """
    if (v3_manager or v4_manager) and len(urls) > 1:
        raise ConfigError("--v3-manager and --v4-manager are of one chain; give one --rpc-url")
    if state_view is not None and v4_manager is None:
        raise ConfigError("--state-view needs --v4-manager beside it")
    return tuple(
        LpChain(
            url=checked_url(url, schemes=("http", "https"), allow_plain=False, what="--rpc-url"),
            poll_s=poll_s,
            v3_manager=parse_address(v3_manager, "--v3-manager"),
            v4=_named_v4(v4_manager, state_view),
        )
        for url in urls
    )


def _named_v4(manager: str | None, state_view: str | None) -> V4Contracts | None:
    address = parse_address(manager, "--v4-manager")
    if address is None:
        return None
    return V4Contracts(position_manager=address, state_view=parse_address(state_view, "--state-view"))


async def lp_now(chains: Sequence[LpChain], request: LpRequest) -> LpView:
    """Read everything once, deposits included. A chain that does not answer says so.

    Raises NotFoundError when there is no position at all; what the only chain raises, or the first of
    several when none answers.
    """
    async with AsyncExitStack() as stack:
        links = await open_links(stack, chains, request)
        parts = await asyncio.gather(*(_once(item, raises=len(links) == 1) for item in links))
    view = LpView(wallet=request.wallet, chains=tuple(parts))
    if not view.rows and not any(part.trouble for part in parts):
        raise NotFoundError(_nothing(request, view))
    return view


async def watch_lp(
    chains: Sequence[LpChain],
    request: LpRequest,
    *,
    stop: asyncio.Event,
    on_trouble: Callable[[BotError], None] = lambda _: None,
) -> AsyncIterator[LpView]:
    """Yield the view at every new block of every chain, until ``stop`` is set.

    A chain that fails keeps its last state and says so; one that does not answer at the start is tried
    again. Raises ConfigError for a fault of configuration, and what the first chain raises when none answers.
    """
    async with AsyncExitStack() as stack:
        links = await open_links(stack, chains, request, on_trouble, patience_s=_PATIENCE_S)
        latest: list[ChainLp | None] = [None] * len(links)
        changed = asyncio.Event()

        def put(index: int, part: ChainLp) -> None:
            latest[index] = part
            changed.set()

        stack.callback(_close, links)
        tasks: set[asyncio.Task[Any]] = {
            asyncio.create_task(_follow(links, index, request, put, on_trouble))
            for index in range(len(links))
        }
        ending = asyncio.create_task(stop.wait())
        stack.push_async_callback(_cancel, {*tasks, ending})
        while await _is_news(changed, ending, tasks):
            changed.clear()
            parts = tuple(part for part in latest if part is not None)
            if len(parts) == len(links):
                yield LpView(wallet=request.wallet, chains=parts)


async def _is_news(
    changed: asyncio.Event, ending: asyncio.Task[bool], tasks: Collection[asyncio.Task[Any]]
) -> bool:
    """Wait for something new; False at the end. Raises what ended a task: a fault of configuration."""
    news = asyncio.create_task(changed.wait())
    await asyncio.wait({news, ending, *tasks}, return_when=asyncio.FIRST_COMPLETED)
    for task in tasks:
        if task.done():
            task.result()
    if not news.done():
        news.cancel()
    return not ending.done()


async def _cancel(tasks: Collection[asyncio.Task[Any]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


def _close(links: Sequence["Link"]) -> None:
    for item in links:
        if item.monitor is not None:
            item.monitor.close()


async def _once(link: Link, *, raises: bool) -> ChainLp:
    if link.monitor is None:
        return link.empty
    try:
        return await link.monitor.read(await link.monitor.reader.head(), whole=True)
    except BotError as error:
        if raises:
            raise
        return replace(link.empty, trouble=str(error))


async def _follow(
    links: Sequence[Link],
    index: int,
    request: LpRequest,
    put: Callable[[int, ChainLp], None],
    on_trouble: Callable[[BotError], None],
) -> None:
    link = links[index]
    async with AsyncExitStack() as stack:
        while link.monitor is None:
            if link.trouble is not None:
                on_trouble(link.trouble)
            put(index, link.empty)
            await asyncio.sleep(link.plan.poll_s)
            await connect_again(stack, links, index, request, on_trouble)
        await _follow_blocks(link.monitor, link.empty, lambda part: put(index, part), on_trouble)


async def _follow_blocks(
    monitor: ChainMonitor,
    last: ChainLp,
    put: Callable[[ChainLp], None],
    on_trouble: Callable[[BotError], None],
) -> None:
    def trouble(error: BotError) -> None:
        on_trouble(error)
        put(replace(last, trouble=str(error)))

    follower = HeadFollower(monitor.reader, poll_s=monitor.poll_s, on_trouble=trouble)
    async for block in follower.heads():
        try:
            await monitor.reader.check_chain()
            last = await monitor.read(block, whole=False)
        except (TransientError, StaleDataError, NotFoundError) as error:
            trouble(error)
        else:
            put(last)


def _nothing(request: LpRequest, view: LpView) -> str:
    lines = [line for part in view.chains for line in part.left_out]
    if lines:
        return "; ".join(lines)
    where = ", ".join(part.name for part in view.chains)
    return (
        f"wallet {request.wallet} holds no v3 or v4 position on {where}, nor LP tokens of a known pair; "
        "a v2 position is named as v2:PAIR, a staked one as v3:TOKEN_ID@STAKER"
    )
