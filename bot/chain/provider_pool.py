"""Several nodes of one chain: who may be asked, in which order, and what their answers say of them.

A provider is asked only after its chain id was seen to be right: at first use, after every pause, and with
every head (REL-R1). Failures, a refused key and dissent bench it for pauses that grow; a head that is behind
the others benches it until a later head has caught up (REL-R2).
"""

import asyncio
import time
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from bot.chain.node_errors import (
    HttpStatusError,
    RateLimitedError,
    ReplyTooLargeError,
    RevertError,
    RpcError,
    is_rate_limit,
)
from bot.chain.provider_health import FIRST_PAUSE_S, Bench, ProviderHealth
from bot.chain.replies import quantity
from bot.chain.rpc import Rpc
from bot.errors import ConfigError, DisagreementError, InvariantError, StaleDataError, TransientError

Trouble = Callable[[TransientError | StaleDataError], None]
Take = Callable[["Member", Any], bool]  # hears one answer; true ends the asking

_INTERNAL_ERROR = -32603
_TOLD_AGAIN_AFTER_S = 60.0
_MAY_BE_LARGE = frozenset({"eth_call", "eth_getLogs", "eth_getBlockReceipts", "batch"})


@dataclass(slots=True, eq=False)
class Member:
    """One provider of the pool."""

    rpc: Rpc
    rank: int  # its place in the configuration; the first is preferred
    health: ProviderHealth = field(default_factory=ProviderHealth)
    probe: "asyncio.Task[None] | None" = None
    overdue: set["asyncio.Task[Any]"] = field(default_factory=set)  # calls that others were asked in place of

    @property
    def where(self) -> str:
        return self.rpc.where


class ProviderStatus(NamedTuple):
    """How one provider stands, for a person."""

    where: str
    usable: bool
    because: str  # why it is not usable
    head: int | None
    latency_s: float  # running mean, NaN when it has not answered yet
    benched: bool = False  # out for a reason that a person should know; a pause that it asked for is none
    failures: int = 0  # in a row, up to now


class ProviderPool:
    """Asks providers and remembers how each behaved. Answers come back as values, errors included."""

    def __init__(
        self,
        rpcs: Sequence[Rpc],
        *,
        chain_id: int,
        max_head_lag: int,
        patience_s: float,
        on_trouble: Trouble,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.members = tuple(Member(rpc, rank) for rank, rpc in enumerate(rpcs))
        self._chain_id = chain_id
        self._max_head_lag = max_head_lag
        self._patience_s = patience_s
        self._on_trouble = on_trouble
        self._clock = clock
        self._late: set[asyncio.Task[Any]] = set()
        self._closed = False
        self._told_at_s: dict[str, float] = {}
        self._was_right = False  # whether any provider ever served the configured chain
        self._head = 0  # the newest height that the last round believed

    async def close(self) -> None:
        self._closed = True
        tasks = [*self._late, *(member.probe for member in self.members if member.probe)]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await asyncio.gather(*(member.rpc.close() for member in self.members))

    def status(self) -> tuple[ProviderStatus, ...]:
        now_s = self._clock()
        return tuple(
            ProviderStatus(
                member.where,
                member.health.is_usable(now_s),
                self._why_not(member, now_s),
                member.health.head,
                member.health.latency_s,
                member.health.bench is not None,
                member.health.failures,
            )
            for member in self.members
        )

    def tell(self, what: TransientError | StaleDataError, *, topic: str = "") -> None:
        """Tell a person; of one ``topic`` at most once in a minute, for it is asked about in every block."""
        now_s = self._clock()
        if topic and now_s - self._told_at_s.get(topic, float("-inf")) < _TOLD_AGAIN_AFTER_S:
            return
        if topic:
            self._told_at_s[topic] = now_s
        self._on_trouble(what)

    async def usable(self, needed: int) -> list[Member]:
        """Return who may be asked, the preferred first. Raises when they are fewer than ``needed``."""
        if self._closed:
            raise InvariantError("the providers were closed")
        found = self._ready()
        self._probe(in_need=len(found) < needed)
        if len(found) >= needed:
            return found
        waiting = {member.probe for member in self.members if member.probe}
        while waiting:
            patience_s = self._patience_s if len(found) >= needed else None
            done, waiting = await asyncio.wait(
                waiting, timeout=patience_s, return_when=asyncio.FIRST_COMPLETED
            )
            found = self._ready()
            if not done:
                break
        if len(found) < needed:
            raise self._too_few(len(found), needed)
        return found

    async def reachable(self, needed: int) -> list[Member]:
        """Return who may be asked for its head, or be given a transaction: also who lags."""
        now_s = self._clock()
        lagging = [
            member
            for member in self.members
            if member.health.bench is Bench.OFF_HEAD and not member.health.is_quiet(now_s)
        ]
        return [*await self.usable(max(needed - len(lagging), 0 if lagging else 1)), *lagging]

    async def ask(self, member: Member, method: str, params: Sequence[Any]) -> Any:
        """Ask one provider once. Returns its answer, or the error in its place."""
        return await self._noted(member, method, member.rpc.request(method, params, send=False))

    async def ask_batch(self, member: Member, calls: Sequence[tuple[str, Sequence[Any]]]) -> Any:
        answer = await self._noted(member, "batch", member.rpc.batch(calls))
        if isinstance(answer, list):
            for (method, _), item in zip(calls, answer, strict=True):
                if method == "eth_chainId" and (wrong := self._wrong_chain(member, item)):
                    return wrong
        return answer

    async def ask_head(self, member: Member, tag: str, *, is_probe: bool = False) -> Any:
        """Return the header behind a tag of a provider that is still on the chain, or an error."""
        chain_id, block = await asyncio.gather(
            self.ask(member, "eth_chainId", ()), self.ask(member, "eth_getBlockByNumber", (tag, False))
        )
        if isinstance(chain_id, TransientError):
            return chain_id
        member.health.proved_chain(self._clock(), is_probe=is_probe)
        self._was_right = True
        return TransientError(f"{member.where} knows no {tag} block") if block is None else block

    async def gather(
        self,
        members: Iterable[Member],
        ask: Callable[[Member], Awaitable[Any]],
        take: Take,
        *,
        width: int,
        enough: Callable[[], bool] = lambda: False,
    ) -> None:
        """Ask ``width`` providers at once, one more for each answer that did not do or is slow to come.

        Ends when ``take`` says so, when all were heard, or when ``enough`` is true and nothing came for
        the pool's patience. ``take`` also hears answers that come after the end.
        """
        queue = deque(members)
        pending: dict[asyncio.Task[Any], Member] = {}

        def launch(count: int) -> None:
            for _ in range(min(count, len(queue))):
                member = queue.popleft()
                pending[asyncio.ensure_future(ask(member))] = member

        try:
            launch(width)
            while pending:
                idle_s = self._patience_s if queue or enough() else None
                done, _ = await asyncio.wait(pending, timeout=idle_s, return_when=asyncio.FIRST_COMPLETED)
                if not done and enough():
                    return
                if not done:
                    _mark_overdue(pending)
                answers = [(pending.pop(task), task.result()) for task in done]
                if any([take(member, answer) for member, answer in answers]):
                    return
                launch(max(len(done), 1))
        finally:
            for task, member in pending.items():
                self._let_run(task, member, take)

    def judge_heads(self, heads: dict[Member, int], *, support: int) -> None:
        """Bench who is off the head that ``support`` providers reach, and admit who has caught up."""
        reference = sorted(heads.values(), reverse=True)[min(support, len(heads)) - 1]
        self._head = reference
        for member, number in heads.items():
            problem = ""
            if number < reference - self._max_head_lag:
                problem = f"its head {number} is {reference - number} blocks behind that of the others"
            elif number > reference + self._max_head_lag:
                problem = f"its head {number} is {number - reference} blocks ahead of all others"
            if member.health.showed_head(number, problem=problem):
                self.tell(StaleDataError(f"{member.where} is not used: {problem}"))

    def dissents(self, members: Iterable[Member], what: str) -> None:
        """Count a contradicted answer against who gave it."""
        for member in members:
            benched = member.health.dissented("others contradict its answers", self._clock())
            more = "; it is benched" if benched else ""
            self.tell(DisagreementError(f"{member.where} is contradicted{more}: {what}"))

    async def _noted(self, member: Member, method: str, call: Awaitable[Any]) -> Any:
        started_s = self._clock()
        try:
            answer = await call
        except RevertError as error:
            answer = error
        except TransientError as error:
            self._note_failure(member, method, error)
            return error
        member.health.answered(self._clock() - started_s)
        if method == "eth_chainId" and (wrong := self._wrong_chain(member, answer)):
            return wrong
        return answer

    def _wrong_chain(self, member: Member, answer: Any) -> TransientError | None:
        if isinstance(answer, TransientError) or quantity(answer) == self._chain_id:
            return None
        problem = f"it serves chain {quantity(answer)}, configured is {self._chain_id}"
        error = TransientError(f"{member.where} is not used: {problem}")
        if member.health.put_out(Bench.WRONG_CHAIN, problem, self._clock()):
            self.tell(error)
        return error

    def _note_failure(self, member: Member, method: str, error: TransientError) -> None:
        now_s = self._clock()
        health = member.health
        if is_rate_limit(error):
            pause_s = error.retry_after_s if isinstance(error, RateLimitedError) else FIRST_PAUSE_S
            health.asked_for_pause(pause_s, now_s)
            return
        if isinstance(error, RpcError) and error.code != _INTERNAL_ERROR:
            return  # an answer of a node that works, about this request
        if isinstance(error, ReplyTooLargeError) and method in _MAY_BE_LARGE:
            return
        if isinstance(error, HttpStatusError) and error.is_refusal:
            is_news = health.put_out(Bench.REFUSES, str(error), now_s)
        else:
            is_news = health.failed(str(error), now_s)
        if is_news:
            self.tell(TransientError(f"{member.where} is not used for now: {error}"))

    def _ready(self) -> list[Member]:
        now_s = self._clock()
        ready = [member for member in self.members if member.health.is_usable(now_s)]
        return sorted(ready, key=lambda each: (bool(each.overdue), each.health.failures > 0, each.rank))

    def _probe(self, *, in_need: bool) -> None:
        now_s = self._clock()
        for member in self.members:
            if member.probe is None and member.health.may_be_probed(now_s, in_need=in_need):
                member.probe = asyncio.ensure_future(self._admit(member))

    async def _admit(self, member: Member) -> None:
        """Ask who it is and where its head stands; it is usable afterwards when both are right."""
        try:
            block = await self.ask_head(member, "latest", is_probe=True)
            if isinstance(block, dict):
                number = quantity(block["number"])
                behind = self._head - number
                problem = f"its head {number} is {behind} blocks behind that of the others"
                member.health.showed_head(number, problem=problem if behind > self._max_head_lag else "")
            elif member.health.bench is None and not member.health.is_quiet(self._clock()):
                member.health.failed(str(block), self._clock())
        finally:
            member.probe = None

    def _let_run(self, task: "asyncio.Task[Any]", member: Member, take: Take) -> None:
        def finished(done: "asyncio.Task[Any]") -> None:
            self._late.discard(done)
            if not done.cancelled() and done.exception() is None:
                take(member, done.result())

        self._late.add(task)
        task.add_done_callback(finished)

    def _too_few(self, found: int, needed: int) -> TransientError | ConfigError:
        now_s = self._clock()
        said = "; ".join(f"{member.where}: {self._why_not(member, now_s)}" for member in self.members)
        wrong = all(member.health.bench is Bench.WRONG_CHAIN for member in self.members)
        if wrong and not self._was_right:
            return ConfigError(
                f"no provider serves the configured chain: {said}; change chain.id or the URLs"
            )
        return TransientError(f"{found} of the {needed} providers needed can be used: {said}")

    def _why_not(self, member: Member, now_s: float) -> str:
        health = member.health
        if health.bench is not None:
            return health.because
        if health.is_quiet(now_s):
            return f"it asked for a pause of {health.quiet_until_s - now_s:.1f} s more"
        return "" if health.checked_at_s is not None else "it was not checked yet"


def _mark_overdue(pending: "dict[asyncio.Task[Any], Member]") -> None:
    for task, member in pending.items():
        if task not in member.overdue:
            member.overdue.add(task)
            task.add_done_callback(member.overdue.discard)
