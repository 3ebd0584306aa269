"""The program's own watching over proxies, poll by poll, and what the chain itself says in the end."""

import math
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from typing import Any

from bot.app.parts import position_readers, watchers
from bot.chain.heads import HeadFollower, NewHead
from bot.chain.providers import Providers
from bot.chain.reader import JsonRpcReader
from bot.chain.rpc import Rpc
from bot.engine.step import decide
from bot.errors import BotError, StaleDataError, TransientError
from bot.model.market import Block, Observation
from bot.model.record import StepRecord
from bot.pipeline.gaps import Gap
from bot.pipeline.history import History
from bot.pipeline.loop import Pipeline
from bot.pipeline.memory_journal import MemoryJournal
from bot.pipeline.sources import LiveSource, chain_clock
from bot.settings import PolicySettings, Settings, load_policy

BLOCK_S = 12
TIMEOUT_S = 1.0


class ListHistory(History):
    """A history that also keeps every row it was given."""

    def __init__(self, *arguments: Any, **named: Any) -> None:
        self.given: list[Observation] = []
        super().__init__(*arguments, **named)

    def append(self, observations: Any) -> int:
        rows = list(observations)
        self.given.extend(rows)
        return super().append(rows)


@dataclass
class Watch:
    """Providers, heads, source, history and decision as `alvh monitor` has them; the test is the clock."""

    node: Any
    reader: JsonRpcReader
    follower: HeadFollower
    source: LiveSource
    pipeline: Pipeline
    truth: JsonRpcReader
    chain: Rpc
    settings: Settings
    time_s: int = 0  # of the newest block
    records: list[StepRecord] = field(default_factory=list)
    heads: list[Block] = field(default_factory=list)
    gaps: list[Gap] = field(default_factory=list)
    troubles: list[BotError] = field(default_factory=list)

    async def mine(self, blocks: int = 1) -> None:
        """Mine blocks, each BLOCK_S after the last, also across a reorg."""
        if not self.time_s:
            head = await self.chain.read("eth_getBlockByNumber", ["latest", False])
            self.time_s = int(head["timestamp"], 16)
        for _ in range(blocks):
            self.time_s += BLOCK_S
            await self.chain.request("evm_setNextBlockTimestamp", [self.time_s])
            await self.chain.request("evm_mine")

    async def poll(self) -> StepRecord | None:
        """Look once for a new head and decide on it. Every error that the loop survives is kept."""
        try:
            event = await self.follower.poll()
        except (TransientError, StaleDataError) as error:
            self.source.trouble(error)
            self.troubles.append(error)
            return None
        if event is None:
            return None
        last_s = self.records[-1].decision.now_s if self.records else -math.inf
        async for moment in self.source.moments(_one(event), after_s=last_s):
            self.heads.append(event.block)
            self.records.append(await self.pipeline.step(moment))
            return self.records[-1]
        return None

    async def polls(self, count: int, *, blocks: int = 1) -> list[StepRecord | None]:
        """Mine and poll ``count`` times."""
        found = []
        for _ in range(count):
            await self.mine(blocks)
            found.append(await self.poll())
        return found

    @property
    def rows(self) -> list[Observation]:
        history = self.source.history
        assert isinstance(history, ListHistory)
        return history.given

    async def check_rows(self) -> int:
        """Check that every value that was taken is the chain's own at that block (I6). Returns how many."""
        wanted: dict[int, list[Observation]] = {}
        for row in self.rows:
            if math.isfinite(row.value) and row.block_number is not None:
                wanted.setdefault(row.block_number, []).append(row)
        checked = 0
        for number, rows in wanted.items():
            block = await self.truth.block(number)
            found = {}
            for watcher in watchers(self.settings):
                answers = await watcher.read(self.truth, block=block, read_at_s=0.0)
                found.update({answer.key: answer.value for answer in answers})
            for row in rows:
                assert row.value == found[row.key], (row, found[row.key])
                checked += 1
        return checked

    def check_heads(self, served: dict[int, str]) -> None:
        """Check that each head that was served is observed or in a recorded gap with a reason (I5)."""
        seen = {block.number for block in self.heads}
        gaps = self.source.history.gaps()
        first, last = min(seen), max(seen)
        for number in served:
            if first <= number <= last and number not in seen:
                assert any(gap.from_number <= number <= gap.to_number and gap.why for gap in gaps), number

    def check_hashes(self, canonical: dict[int, str]) -> None:
        """Check that no head that was acted on was another chain's."""
        for block in self.heads:
            assert block.hash == canonical[block.number], block


async def open_watch(
    urls: Sequence[str | Rpc],
    settings: Settings,
    truth_url: str,
    *,
    agreement: int = 1,
    timeout_s: float = TIMEOUT_S,
) -> Watch:
    """Put the parts together as the program does, on ``urls`` as its providers."""
    troubles: list[BotError] = []
    node = Providers(
        [url if isinstance(url, Rpc) else Rpc(url, timeout_s=timeout_s) for url in urls],
        chain_id=settings.chain.id,
        agreement=agreement,
        max_head_lag=3,
        on_trouble=troubles.append,
        patience_s=0.2,
    )
    chain = Rpc(truth_url, timeout_s=30.0)
    at = {"chain_id": settings.chain.id, "multicall3": settings.chain.multicall3}
    async with AsyncExitStack() as opened:  # what cannot connect leaves nothing open
        await opened.enter_async_context(node)
        await opened.enter_async_context(chain)
        reader = await JsonRpcReader.connect(node, **at)
        truth = await JsonRpcReader.connect(chain, **at)
        opened.pop_all()
    policy = load_policy(PolicySettings())
    watched = watchers(settings)
    history = ListHistory([key for watcher in watched for key in watcher.series])
    gaps: list[Gap] = []
    source = LiveSource(
        chain=reader,
        watchers=watched,
        positions=position_readers(settings),
        history=history,
        clock=chain_clock,
        on_trouble=troubles.append,
        on_gap=gaps.append,
        deadline_s=2 * timeout_s,
    )
    pipeline = Pipeline(mode="monitor", policy=policy, decide=decide, venues={}, journal=MemoryJournal())
    follower = HeadFollower(reader, poll_s=0.05, on_trouble=troubles.append)
    return Watch(
        node=node,
        reader=reader,
        follower=follower,
        source=source,
        pipeline=pipeline,
        truth=truth,
        chain=chain,
        settings=settings,
        gaps=gaps,
        troubles=troubles,
    )


async def _one(event: NewHead) -> Any:
    yield event
