"""The LP monitor: what LP positions hold, are worth and earn, on several chains. No key, no state."""

import asyncio
import math
from collections.abc import AsyncIterator, Callable, Collection, Iterable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from typing import Any

from bot.app.lp_chain import (
    LpChain,
    UsdPrices,
    blind_spot,
    chain_name,
    configured_chains,
    contracts_of,
    priced,
    usd_prices,
)
from bot.app.lp_deposits import DepositBook
from bot.app.lp_request import LpRequest, parse_address, parse_request
from bot.chain.heads import HeadFollower
from bot.chain.node_url import checked_url
from bot.chain.reader import JsonRpcReader
from bot.chain.rpc import Rpc, quantity
from bot.errors import BotError, ConfigError, NotFoundError, StaleDataError, TransientError
from bot.model.lp_position import Deposits, LpPosition
from bot.model.market import Block
from bot.quant.lp_figures import LpFigures, figures_of
from bot.watchers.positions.finder import LpContracts, LpFinder, NamedPosition, V4Contracts
from bot.watchers.positions.history import deposits_at, deposits_of
from bot.watchers.positions.reading import LpReader, read_positions

__all__ = ["LpChain", "LpRequest", "LpRow", "LpView", "configured_chains", "node_chains", "parse_request"]


@dataclass(frozen=True, slots=True, kw_only=True)
class LpRow:
    """One position with its figures."""

    position: LpPosition
    figures: LpFigures


@dataclass(frozen=True, slots=True, kw_only=True)
class ChainLp:
    """The positions of one chain at one block. ``trouble`` says why a chain could not be read."""

    chain_id: int | None
    name: str
    block: Block | None = None
    rows: tuple[LpRow, ...] = ()
    left_out: tuple[str, ...] = ()
    trouble: str = ""

    @property
    def value_usd(self) -> float:
        """Sum of the positions that have a USD price; NaN when there are positions and none has."""
        return _sum(row.position.value_usd for row in self.rows)


@dataclass(frozen=True, slots=True, kw_only=True)
class LpView:
    """Everything that is watched, as of now. Sums are of what is known; ``unknown`` says what they lack."""

    wallet: str | None
    chains: tuple[ChainLp, ...]

    @property
    def rows(self) -> tuple[LpRow, ...]:
        return tuple(row for chain in self.chains for row in chain.rows)

    @property
    def value_usd(self) -> float:
        return _sum(row.position.value_usd for row in self.rows)

    @property
    def fees_usd(self) -> float:
        return _sum(row.position.fees_usd for row in self.rows)

    @property
    def loss_hold_usd(self) -> float:
        return _sum(row.figures.loss_hold * row.position.quote_usd for row in self.rows)

    @property
    def unknown(self) -> tuple[str, ...]:
        """Return one line on everything that the sums leave out."""
        lines = [f"{chain.name}: {chain.trouble}" for chain in self.chains if chain.trouble]
        parts: dict[str, list[str]] = {}
        for row in self.rows:
            item = row.position
            if math.isnan(item.value_usd):
                parts.setdefault(f"has no USD value: {item.usd_source}", []).append(item.id)
            if math.isnan(item.fees):
                parts.setdefault(f"has unknown fees: {item.why_no_fees}", []).append(item.id)
        return (*lines, *(f"{', '.join(ids)} {why}" for why, ids in parts.items()))


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
    """Read everything once, deposits included.

    Raises NotFoundError when there is no position at all; what the only chain raises.
    """
    async with AsyncExitStack() as stack:
        monitors = await _open(stack, chains, request)
        parts = await asyncio.gather(*(_once(item, raises=len(monitors) == 1) for item in monitors))
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

    A chain that fails keeps its last state and says so. Raises ConfigError at the start.
    """
    async with AsyncExitStack() as stack:
        monitors = await _open(stack, chains, request)
        latest: list[ChainLp | None] = [None] * len(monitors)
        changed = asyncio.Event()

        def put(index: int, part: ChainLp) -> None:
            latest[index] = part
            changed.set()

        stack.callback(_close, monitors)
        tasks: set[asyncio.Task[Any]] = {
            asyncio.create_task(_follow(item, index, put, on_trouble)) for index, item in enumerate(monitors)
        }
        ending = asyncio.create_task(stop.wait())
        stack.push_async_callback(_cancel, {*tasks, ending})
        while await _is_news(changed, ending, tasks):
            changed.clear()
            parts = tuple(part for part in latest if part is not None)
            if len(parts) == len(monitors):
                yield LpView(wallet=request.wallet, chains=parts)


class ChainMonitor:
    """Reads the positions of one chain."""

    def __init__(
        self, reader: JsonRpcReader, plan: LpChain, request: LpRequest, named: Sequence[NamedPosition]
    ) -> None:
        self.reader = reader
        self.chain_id = reader.chain_id
        self.name = chain_name(reader.chain_id)
        self.poll_s = plan.poll_s
        self._request = request
        self._named = tuple(named)
        self._contracts: LpContracts = contracts_of(self.chain_id, plan)
        self._prices: UsdPrices = usd_prices(self.chain_id, plan.settings)
        self._finder = LpFinder(reader, self._contracts, self._prices.tokens, look_back=request.look_back)
        self._books: dict[str, DepositBook] = {}
        self._blind = blind_spot(self._contracts, self.chain_id)
        if request.wallet is not None and self._blind and not (named or self._contracts.pairs):
            raise ConfigError(self._blind)

    async def read(self, block: Block, *, whole: bool) -> ChainLp:
        """Return the positions at a block. ``whole`` waits for deposits, else they come when they are read.

        Raises ConfigError, TransientError, StaleDataError, NotFoundError (too many NFTs).
        """
        readers, left_out = await self._readers(block)
        found, prices = await asyncio.gather(
            read_positions(self.reader, readers, block=block), self._prices.read(self.reader, block=block)
        )
        rows = []
        for reader, item in zip(readers, found, strict=True):
            if isinstance(item, BotError):
                left_out.append(str(item) if reader.what in str(item) else f"{reader.what}: {item}")
                continue
            usd, source = priced(item, prices)
            item = replace(item, quote_usd=usd, usd_source=source)
            item = replace(item, deposits=await self._deposits(item, block, whole=whole))
            rows.append(LpRow(position=item, figures=figures_of(item)))
        return ChainLp(
            chain_id=self.chain_id, name=self.name, block=block, rows=tuple(rows), left_out=tuple(left_out)
        )

    async def _readers(self, block: Block) -> tuple[list[LpReader], list[str]]:
        wallet = self._request.wallet
        readers: dict[str, LpReader] = {}
        left_out: list[str] = []
        if wallet is not None:
            found, left_out = await self._finder.wallet(wallet, block=block)
            readers = {item.what: item for item in found}
            left_out += [self._blind] if self._blind else []
        for named in self._named:
            try:
                reader = await self._finder.named(named, wallet=wallet, block=block)
            except (NotFoundError, ConfigError, TransientError) as error:
                left_out.append(str(error))
                continue
            readers[reader.what if reader.what not in readers else named.text] = reader
        return list(readers.values()), left_out

    async def _deposits(self, position: LpPosition, block: Block, *, whole: bool) -> Deposits:
        price = self._request.entry_price(position)
        if price is not None:
            return deposits_at(position, price)
        book = self._books.setdefault(f"{position.id} {position.owner}", DepositBook())
        if book.task is None and not book.is_good(position, block):
            book.start(position, block, self._look(position, block))
        if book.task is not None and (whole or book.task.done()):
            await book.take()
        return book.deposits

    async def _look(self, position: LpPosition, block: Block) -> Deposits:
        return await deposits_of(
            self.reader,
            position,
            manager=self._contracts.v3_manager,
            oldest=max(block.number - self._request.look_back, 0),
            block=block,
        )

    def close(self) -> None:
        """Stop looking for deposits."""
        for book in self._books.values():
            if book.task is not None:
                book.task.cancel()


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


def _close(monitors: Sequence["ChainMonitor"]) -> None:
    for item in monitors:
        item.close()


async def _open(stack: AsyncExitStack, chains: Sequence[LpChain], request: LpRequest) -> list[ChainMonitor]:
    readers = [(plan, await _connect(stack, plan)) for plan in chains]
    ids = [reader.chain_id for _, reader in readers]
    twice = next((number for number in ids if ids.count(number) > 1), None)
    if twice is not None:
        raise ConfigError(f"two nodes are on chain {twice}; name one --rpc-url per chain")
    for item in request.positions:
        if item.chain_id is None and len(ids) > 1:
            raise ConfigError(
                f"--position {item.text!r}: on which chain? Write {ids[0]}/{item.text}; "
                f"there are {', '.join(map(str, ids))}"
            )
        if item.chain_id is not None and item.chain_id not in ids:
            raise ConfigError(
                f"--position {item.text!r}: chain {item.chain_id} is not watched; "
                f"there are {', '.join(map(str, ids))}"
            )
    return [
        ChainMonitor(
            reader,
            plan,
            request,
            [item for item in request.positions if item.chain_id in (None, reader.chain_id)],
        )
        for plan, reader in readers
    ]


async def _connect(stack: AsyncExitStack, plan: LpChain) -> JsonRpcReader:
    rpc = await stack.enter_async_context(Rpc(plan.url, timeout_s=plan.timeout_s))
    chain_id = plan.chain_id
    if chain_id is None:
        chain_id = quantity(await rpc.read("eth_chainId"))
    return await JsonRpcReader.connect(rpc, chain_id=chain_id, multicall3=plan.multicall3)


async def _once(monitor: ChainMonitor, *, raises: bool) -> ChainLp:
    try:
        return await monitor.read(await monitor.reader.head(), whole=True)
    except BotError as error:
        if raises:
            raise
        return ChainLp(chain_id=monitor.chain_id, name=monitor.name, trouble=str(error))


async def _follow(
    monitor: ChainMonitor,
    index: int,
    put: Callable[[int, ChainLp], None],
    on_trouble: Callable[[BotError], None],
) -> None:
    last = ChainLp(chain_id=monitor.chain_id, name=monitor.name)

    def trouble(error: BotError) -> None:
        on_trouble(error)
        put(index, replace(last, trouble=str(error)))

    follower = HeadFollower(monitor.reader, poll_s=monitor.poll_s, on_trouble=trouble)
    async for block in follower.heads():
        try:
            await monitor.reader.check_chain()
            last = await monitor.read(block, whole=False)
        except (TransientError, StaleDataError, NotFoundError) as error:
            trouble(error)
        else:
            put(index, last)


def _nothing(request: LpRequest, view: LpView) -> str:
    lines = [line for part in view.chains for line in part.left_out]
    if lines:
        return "; ".join(lines)
    where = ", ".join(part.name for part in view.chains)
    return (
        f"wallet {request.wallet} holds no v3 or v4 position on {where}, nor LP tokens of a configured pair; "
        "a v2 position is named as v2:PAIR, a staked one as v3:TOKEN_ID@STAKER"
    )


def _sum(values: Iterable[float]) -> float:
    known = [value for value in values if math.isfinite(value)]
    return math.fsum(known) if known else math.nan
