"""``scripts/bench reaction``: block mined, head, frame, decision on the devnet, beside AsyncWeb3.

Ours is what ``alvh run`` is made of: the websocket waker, the head follower, the source with its history, and
``decide``. The other side hears of the head by AsyncWeb3's websocket, makes the same reads as gathered
contract calls at that block, and decides on a frame of the same size. Both take turns on one node. The clock
starts when the node first tells of the block, which a bare websocket beside both sides stamps; what passes
from the request to mine it until the decision is printed too, and so is the processor time of that. Nothing
is signed. Quotes are handed in: a venue's own reading is measured by ``quotes_ms_p50``.
"""

import asyncio
import socket
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field, replace
from typing import Any

import aiohttp
import numpy as np
from bench_functions import abi_functions, entry_of
from bench_timers import Figures

from bot.chain.abi import FixedCall
from bot.chain.heads import HeadFollower, NewHead
from bot.chain.reader import JsonRpcReader
from bot.chain.rpc import Rpc
from bot.chain.wake import HeadWaker
from bot.devnet.deployment import CHAIN_ID, Deployment
from bot.devnet.node import start_devnet
from bot.engine.policy import Policy
from bot.engine.step import decide
from bot.errors import InvariantError
from bot.model.hedge import Instrument, OptionType, Quote
from bot.model.market import Block, Frame, Metric, Observation, SeriesKey
from bot.model.record import EngineState
from bot.model.units import DAY_S, HOUR_S
from bot.pipeline.history import History
from bot.pipeline.loop import Moment
from bot.pipeline.sources import LiveSource, chain_clock
from bot.ports import Call, ChainReader
from bot.quant import options
from bot.settings import PolicySettings, cache_dir, load_policy
from bot.watchers.chainlink import ChainlinkWatcher
from bot.watchers.pools import Pool
from bot.watchers.positions import V2PositionReader
from bot.watchers.uniswap_v2 import UniswapV2Watcher
from bot.watchers.uniswap_v3 import UniswapV3StableWatcher

_ROUNDS, _WARM = 60, 5
_GAP_S = 0.07  # between blocks, except back to back
_DAYS = 35
_POLL_S = 5.0  # so long that only the websocket can have been the one that woke us
_ANSWER_S = 10.0


async def bench_reaction() -> Figures:
    """Return medians and percentiles of both sides, and what each part of ours takes."""
    async with AsyncExitStack() as stack:
        devnet = await stack.enter_async_context(await start_devnet(cache_dir()))
        rpc = await stack.enter_async_context(Rpc(devnet.rpc_url))
        at, socket_url = devnet.deployment, devnet.rpc_url.replace("http://", "ws://")
        reader = await JsonRpcReader.connect(rpc, chain_id=CHAIN_ID, multicall3=at.multicall3)
        session = await stack.enter_async_context(aiohttp.ClientSession())
        miner = await stack.enter_async_context(Miner(session, devnet.rpc_url, socket_url))
        waker = await stack.enter_async_context(HeadWaker(socket_url))
        ours = await Ours.start(reader, at, waker)
        await ours.round(miner)
        peer = await stack.enter_async_context(Peer(socket_url, await ours.calls(), ours))
        taken: dict[str, list[float]] = {"ours": [], "peer": []}
        for number in range(_WARM + _ROUNDS):
            for name, side in (("ours", ours), ("peer", peer)):
                seconds = await side.round(miner)
                if number >= _WARM:
                    taken[name].append(seconds)
        parts = ours.part_figures(_ROUNDS)

        back_to_back = [await ours.round(miner, gap_s=0.0) for _ in range(_WARM + _ROUNDS)][_WARM:]
    ratios = np.array(taken["ours"]) / np.array(taken["peer"])
    return {
        "reaction_over_asyncweb3": float(np.median(ratios)),
        "reaction_ms_p50": float(np.median(taken["ours"])) * 1e3,
        "reaction_ms_p95": float(np.percentile(taken["ours"], 95)) * 1e3,
        "reaction_asyncweb3_ms_p50": float(np.median(taken["peer"])) * 1e3,
        "reaction_back_to_back_ms_p50": float(np.median(back_to_back)) * 1e3,
        "reaction_back_to_back_ms_p95": float(np.percentile(back_to_back, 95)) * 1e3,
        "reaction_calls": float(len(peer.calls)),
        "reaction_mining_ms_p50": float(np.median(miner.mining)) * 1e3,
        **parts,
    }


@dataclass(slots=True)
class Miner:
    """Mines one block on its own connection, and stamps when a bare websocket hears of it."""

    session: aiohttp.ClientSession
    url: str
    socket_url: str
    asked_at: float = 0.0
    announced_at: float = 0.0
    mining: list[float] = field(default_factory=list)
    _task: "asyncio.Task[None] | None" = None

    async def __aenter__(self) -> "Miner":
        link = await self.session.ws_connect(self.socket_url)
        await link.send_json({"jsonrpc": "2.0", "id": 1, "method": "eth_subscribe", "params": ["newHeads"]})
        await link.receive()
        self._task = asyncio.create_task(self._listen(link))
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _listen(self, link: aiohttp.ClientWebSocketResponse) -> None:
        async for _ in link:
            self.announced_at = time.perf_counter()
            acknowledge_at_once(link)

    async def mine(self) -> None:
        body = {"jsonrpc": "2.0", "id": 1, "method": "evm_mine", "params": []}
        self.asked_at = time.perf_counter()
        async with self.session.post(self.url, json=body) as response:
            await response.read()

    def since_announced(self, done_at: float) -> float:
        """Return seconds from the node's telling of the block to ``done_at``."""
        if self.announced_at < self.asked_at:
            raise InvariantError("a decision was made on a block that the bare websocket has not heard of")
        self.mining.append(self.announced_at - self.asked_at)
        return done_at - self.announced_at


def acknowledge_at_once(link: aiohttp.ClientWebSocketResponse) -> None:
    """As the program's own waker does: or the kernel's delayed acknowledgement is what is measured."""
    found = link.get_extra_info("socket")
    if found is not None and hasattr(socket, "TCP_QUICKACK"):
        found.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)


@dataclass(slots=True)
class Ours:
    """The program's own parts from head to decision, with a stamp after each."""

    reader: JsonRpcReader
    source: LiveSource
    follower: HeadFollower
    policy: Policy
    quotes: tuple[Quote, ...]
    moments: AsyncIterator[Moment] = field(init=False)
    state: EngineState = field(default_factory=EngineState)
    frame: Frame | None = None
    head_at: float = 0.0
    parts: list[tuple[float, ...]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.moments = self.source.moments(self._heads(), after_s=float("-inf"))

    @classmethod
    async def start(cls, reader: JsonRpcReader, at: Deployment, waker: HeadWaker) -> "Ours":
        watchers = _watchers(at)
        history = History(key for watcher in watchers for key in watcher.series)
        head = await reader.head()
        source = LiveSource(
            chain=reader,
            watchers=watchers,
            positions=[V2PositionReader(holder=at.user, pool=watchers[1].pool)],
            history=history,
            clock=chain_clock,
            deadline_s=_ANSWER_S,
            guard=reader.check_chain,
        )
        first = await source.cut(head, now_s=float(head.timestamp_s))
        history.fill(_past(first, head))
        follower = HeadFollower(reader, poll_s=_POLL_S, wake=waker)
        policy = load_policy(PolicySettings())
        return cls(reader, source, follower, policy, _quotes(first, head))

    async def _heads(self) -> AsyncIterator[NewHead]:
        async for event in self.follower.events():
            self.head_at = time.perf_counter()
            yield event

    async def round(self, miner: Miner, *, gap_s: float = _GAP_S) -> float:
        """Wait for a new head, mine it after ``gap_s``; return seconds from then until it is decided on."""
        await self._catch_up()
        coming = asyncio.ensure_future(anext(self.moments))
        await asyncio.sleep(gap_s)
        spent_before = time.process_time()
        mining = asyncio.create_task(miner.mine())
        moment = await coming
        framed = time.perf_counter()
        self.decide(moment)
        done, spent = time.perf_counter(), time.process_time() - spent_before
        await mining
        seconds = miner.since_announced(done)
        self.parts.append(
            (
                self.head_at - miner.announced_at,
                framed - self.head_at,
                done - framed,
                done - miner.asked_at,
                spent,
            )
        )
        return seconds

    async def _catch_up(self) -> None:
        """Take the head that the other side mined, so that the next one to come is our own."""
        head = await self.reader.head()
        while self.frame is None or self.frame.blocks[CHAIN_ID].number < head.number:
            self.decide(await anext(self.moments))

    def decide(self, moment: Moment) -> None:
        self.frame = Frame(
            now_s=moment.now_s,
            blocks=moment.blocks,
            columns=moment.columns,
            exposures=moment.exposures,
            quotes=self.quotes,
            holds=moment.holds,
        )
        if len(self.frame.exposures) != 1:
            raise InvariantError(f"expected one exposure, found {len(self.frame.exposures)}: {moment.holds}")
        self.state, _ = decide(self.policy, self.state, self.frame)

    async def calls(self) -> list[Call]:
        """Return the view calls that a frame makes once everything that never changes is known."""
        recording = _Recording(self.reader)
        head = await self.reader.head()
        watchers = [item.watcher for item in self.source.schedule]
        for reads in watchers:
            await reads.read(recording, block=head, read_at_s=0.0)
        for position in self.source.positions:
            await position.read(recording, block=head)
        return [call for call in dict.fromkeys(recording.found) if not isinstance(call, FixedCall)]

    def part_figures(self, rounds: int) -> Figures:
        names = ("head", "frame", "decide", "from_request", "cpu")
        found = np.median(np.array(self.parts[-rounds:]), axis=0) * 1e3
        return {f"reaction_{name}_ms_p50": float(value) for name, value in zip(names, found, strict=True)}


class _Recording:
    """A chain reader that keeps the calls it is asked for."""

    def __init__(self, chain: ChainReader) -> None:
        self._chain = chain
        self.found: list[Call] = []

    async def read(self, calls: Sequence[Call], *, block: Block) -> list[tuple[Any, ...] | None]:
        self.found.extend(calls)
        return await self._chain.read(calls, block=block)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._chain, name)


class Peer:
    """The same program written with AsyncWeb3."""

    def __init__(self, url: str, calls: Sequence[Call], ours: Ours) -> None:
        self._url = url
        self.calls = calls
        self._ours = ours

    async def __aenter__(self) -> "Peer":
        from web3 import AsyncWeb3, WebSocketProvider

        self._node = await AsyncWeb3(WebSocketProvider(self._url))
        await self._node.eth.subscribe("newHeads")
        self._heads = aiter(self._node.socket.process_subscriptions())
        self._functions = [bound(self._node, call) for call in self.calls]
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._node.provider.disconnect()

    async def round(self, miner: Miner) -> float:
        number = await self._node.eth.block_number
        await asyncio.sleep(_GAP_S)
        mining = asyncio.create_task(miner.mine())
        head: dict[str, Any] = {"number": 0}
        while head["number"] <= number:  # heads that ours mined lie in the queue
            head = (await anext(self._heads))["result"]
        block_hash = head["hash"]
        await asyncio.gather(*(function.call(block_identifier=block_hash) for function in self._functions))
        if self._ours.frame is None:
            raise InvariantError("there is no frame to decide on")
        frame = replace(self._ours.frame, now_s=float(head["timestamp"]))
        decide(self._ours.policy, self._ours.state, frame)
        done = time.perf_counter()
        await mining
        return miner.since_announced(done)


def bound(node: Any, call: Call) -> Any:
    """Return a view call as ``contract.functions.name(*args)``."""
    entry, arguments = entry_of(abi_functions(), call), call.data[4:]
    types = [item["type"] for item in entry["inputs"]]
    given = [
        node.to_checksum_address(value) if kind == "address" else value
        for kind, value in zip(types, node.codec.decode(types, arguments), strict=True)
    ]
    contract = node.eth.contract(address=node.to_checksum_address(call.target), abi=[entry])
    return contract.get_function_by_name(entry["name"])(*given)


def _watchers(at: Deployment) -> list[Any]:
    def pool(label: str, address: str, base: str, base_token: str) -> Pool:
        return Pool(
            label=label, address=address, base=base, quote="USDC", base_token=base_token,
            quote_token=at.usdc, base_decimals=18, quote_decimals=6,
        )  # fmt: skip

    return [
        ChainlinkWatcher(label="ETH/USD", underlying="ETH", address=at.feed_eth_usd, heartbeat_s=DAY_S),
        UniswapV2Watcher(pool=pool("v2:ETH/USDC", at.v2_pair, "ETH", at.weth)),
        UniswapV3StableWatcher(pool=pool("v3:USDC/sUSD", at.stable_pool, "sUSD", at.susd)),
    ]


def _past(first: Moment, head: Block) -> list[Observation]:
    """Return hourly rows of every series before the head, at its level, moving a little."""
    random = np.random.default_rng(3)
    rows = []
    for key, column in first.columns.series.items():
        level = float(column.values[-1]) if column.values.size else float("nan")
        noise = level * (1.0 + 0.003 * random.standard_normal(_DAYS * 24))
        for hour, value in enumerate(noise):
            at_s = float(head.timestamp_s - HOUR_S * (_DAYS * 24 - hour))
            rows.append(_row(key, at_s, float(value)))
    return rows


def _row(key: SeriesKey, at_s: float, value: float) -> Observation:
    return Observation(
        metric=key.metric,
        subject=key.subject,
        source=key.source,
        value=value,
        observed_at_s=at_s,
        read_at_s=at_s,
    )


def _quotes(first: Moment, head: Block) -> tuple[Quote, ...]:
    """Return three puts, one for each layer."""
    spot, _ = first.columns.latest(Metric.PRICE_USD, "ETH")
    return tuple(
        _quote(spot, part, days, now_s=float(head.timestamp_s))
        for part, days in ((0.97, 5.0), (0.88, 30.0), (0.7, 75.0))
    )


def _quote(spot: float, part: float, days: float, *, now_s: float) -> Quote:
    instrument = Instrument(
        venue="bench",
        id=f"put:{part}:{days}",
        underlying="ETH",
        option_type=OptionType.PUT,
        strike_usd=part * spot,
        expiry_s=int(now_s + days * DAY_S),
        settlement="sUSD",
    )
    years, size, iv = days / 365.0, 10.0, 0.7
    model = float(options.price(spot, instrument.strike_usd, years, iv, is_put=True)) * size
    return Quote(
        instrument=instrument,
        size=size,
        premium_usd=1.1 * model,
        fee_usd=0.02 * model,
        gas_usd=2.0,
        swap_usd=0.001 * model,
        iv=iv,
        delta=float(options.delta(spot, instrument.strike_usd, years, iv, is_put=True)),
        model_usd=model,
        min_size=0.01,
        lot=0.01,
        liquidity=10_000.0,
        valid_until_s=now_s + DAY_S,
        block_number=1,
    )
