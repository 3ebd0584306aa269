"""Connections of the LP monitor: one per chain, tried again where a chain does not answer."""

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Any

from bot.app.lp_chain import LpChain
from bot.app.lp_monitor import ChainMonitor
from bot.app.lp_request import LpRequest
from bot.app.lp_view import ChainLp
from bot.chain.reader import JsonRpcReader
from bot.chain.rpc import quantity
from bot.errors import BotError, ConfigError, StaleDataError, TransientError


@dataclass(slots=True, kw_only=True)
class Link:
    """One chain to watch. ``monitor`` is None until it answers, and ``trouble`` says why it did not."""

    plan: LpChain
    monitor: ChainMonitor | None = None
    trouble: BotError | None = None

    @property
    def chain_id(self) -> int | None:
        """None for a plain node that never answered."""
        return self.monitor.chain_id if self.monitor is not None else self.plan.chain_id

    @property
    def empty(self) -> ChainLp:
        """What is shown of a chain of which nothing was read."""
        name = self.monitor.name if self.monitor is not None else self.plan.name
        return ChainLp(chain_id=self.chain_id, name=name, trouble=str(self.trouble or ""))


async def open_links(
    stack: AsyncExitStack,
    chains: Sequence[LpChain],
    request: LpRequest,
    on_trouble: Callable[[BotError], None] = lambda _: None,
    *,
    patience_s: float | None = None,
) -> list[Link]:
    """Connect to every chain.

    ``patience_s`` is how long the others are waited for once one chain answered; None until each answered or
    failed. Raises ConfigError, and what the first chain raised when none answers.
    """
    found = await _answers([_try(stack, plan, on_trouble) for plan in chains], patience_s)
    faults = [item for item in found if isinstance(item, BotError)]
    for fault in faults:
        if len(faults) == len(chains) or not isinstance(fault, TransientError | StaleDataError):
            raise fault
    _check_chains(
        [
            plan.chain_id if isinstance(item, BotError) else item.chain_id
            for plan, item in zip(chains, found, strict=True)
        ],
        request,
    )
    return [
        Link(plan=plan, trouble=item)
        if isinstance(item, BotError)
        else Link(plan=plan, monitor=_monitor(item, plan, request))
        for plan, item in zip(chains, found, strict=True)
    ]


async def _answers(
    work: Sequence[Coroutine[Any, Any, JsonRpcReader | BotError]], patience_s: float | None
) -> list[JsonRpcReader | BotError]:
    tasks = [asyncio.create_task(item) for item in work]
    waiting = set(tasks)
    try:
        while waiting:
            done, waiting = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
            if patience_s is not None and any(isinstance(task.result(), JsonRpcReader) for task in done):
                if waiting:
                    await asyncio.wait(waiting, timeout=patience_s)
                break
        late = [not task.done() for task in tasks]
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    return [
        TransientError("it has not answered yet") if is_late else task.result()
        for task, is_late in zip(tasks, late, strict=True)
    ]


def _check_chains(ids: Sequence[int | None], request: LpRequest) -> None:
    """Raise ConfigError for a chain that is there twice, and a position whose chain is not clear.

    A plain node that did not answer yet may be on any chain.
    """
    known = [number for number in ids if number is not None]
    twice = next((number for number in known if known.count(number) > 1), None)
    if twice is not None:
        raise ConfigError(f"two nodes are on chain {twice}; name one --rpc-url per chain")
    for item in request.positions:
        if item.chain_id is None and len(ids) > 1:
            raise ConfigError(
                f"--position {item.text!r}: on which chain? Write {known[0]}/{item.text}; "
                f"there are {', '.join(map(str, known))}"
            )
        if item.chain_id is not None and item.chain_id not in ids and None not in ids:
            raise ConfigError(
                f"--position {item.text!r}: chain {item.chain_id} is not watched; "
                f"there are {', '.join(map(str, known))}"
            )


def _monitor(reader: JsonRpcReader, plan: LpChain, request: LpRequest) -> ChainMonitor:
    named = [item for item in request.positions if item.chain_id in (None, reader.chain_id)]
    return ChainMonitor(reader, plan, request, named)


async def _try(
    stack: AsyncExitStack, plan: LpChain, on_trouble: Callable[[BotError], None]
) -> JsonRpcReader | BotError:
    try:
        return await _connect(stack, plan, on_trouble)
    except BotError as error:
        return error


async def _connect(
    stack: AsyncExitStack, plan: LpChain, on_trouble: Callable[[BotError], None]
) -> JsonRpcReader:
    """Connect to a chain; ``stack`` closes what was opened, unless it failed."""
    async with AsyncExitStack() as own:
        node = plan.open(on_trouble=on_trouble)
        own.push_async_callback(node.close)
        chain_id = plan.chain_id
        if chain_id is None:
            chain_id = quantity(await node.read("eth_chainId"))
        reader = await JsonRpcReader.connect(node, chain_id=chain_id, multicall3=plan.multicall3)
        stack.push_async_exit(own.pop_all())
        return reader


async def connect_again(
    stack: AsyncExitStack,
    links: Sequence[Link],
    index: int,
    request: LpRequest,
    on_trouble: Callable[[BotError], None],
) -> None:
    """Try to connect to a chain that did not answer. Raises ConfigError as at the start."""
    link = links[index]
    try:
        reader = await _connect(stack, link.plan, on_trouble)
    except (TransientError, StaleDataError) as error:
        link.trouble = error
        return
    others = [item.chain_id for number, item in enumerate(links) if number != index]
    _check_chains([*others, reader.chain_id], request)
    link.monitor, link.trouble = _monitor(reader, link.plan, request), None
