"""Reads that several callers ask for in one turn of the event loop, put together into few requests."""

import asyncio
from collections.abc import Callable, Coroutine, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from bot.errors import BotError, DisagreementError
from bot.model.market import Block
from bot.ports import Call

Answers = list[bytes | None]
Fetch = Callable[[Sequence[Call], Block], Coroutine[Any, Any, Answers]]
Cut = Callable[[Sequence[Call]], Iterator[Sequence[Call]]]


@dataclass(slots=True, eq=False)
class _Part:
    """One request under way."""

    task: "asyncio.Task[Answers]"
    waiting: int = 0  # callers that want its answers

    def leave(self) -> None:
        self.waiting -= 1
        if self.waiting == 0:
            self.task.cancel()  # does nothing to a task that is done


@dataclass(slots=True, eq=False)
class _Turn:
    """What was asked for of one block since the last request went out."""

    block: Block
    sent: "asyncio.Future[None]"
    calls: dict[Call, None] = field(default_factory=dict)  # who asks the same shares the answer
    places: dict[Call, tuple[_Part, int]] = field(default_factory=dict)
    callers: int = 0


class SharedReads:
    """Merges the calls that are asked for in the same turn of the event loop, block by block.

    ``fetch`` reads one request's calls, None where a call failed; ``cut`` says what goes into one request.
    An error of a request reaches the callers that have a call in it and no others.
    """

    def __init__(self, fetch: Fetch, cut: Cut) -> None:
        self._fetch = fetch
        self._cut = cut
        self._turns: dict[str, _Turn] = {}

    async def ask(self, calls: Sequence[Call], block: Block) -> Answers:
        """Return what each call answered, None where it failed.

        A call that failed beside those of another caller is asked again without them: one that burns all
        the gas of a request makes others fail that are in order. So is all of a request on which providers
        disagree: a contract that answers each node otherwise concerns those who asked it.
        """
        turn = self._join(calls, block)
        try:
            answers = await self._shared(turn, calls)
        except DisagreementError:
            if turn.callers == 1:
                raise
            return await self._alone(calls, block)
        failed = [index for index, answer in enumerate(answers) if answer is None]
        if failed and turn.callers > 1:
            again = await self._alone([calls[index] for index in failed], block)
            for index, answer in zip(failed, again, strict=True):
                answers[index] = answer
        return answers

    async def _shared(self, turn: _Turn, calls: Sequence[Call]) -> Answers:
        """Return what the requests of a turn say of some of its calls."""
        await asyncio.shield(turn.sent)
        places = [turn.places[call] for call in calls]
        parts = dict.fromkeys(part for part, _ in places)
        for part in parts:
            part.waiting += 1
        try:
            if len(parts) == 1:  # as nearly always, and at half the cost
                await asyncio.shield(next(iter(parts)).task)
            else:
                await asyncio.gather(*(asyncio.shield(part.task) for part in parts))
        finally:
            for part in parts:
                part.leave()
        return [part.task.result()[index] for part, index in places]

    async def _alone(self, calls: Sequence[Call], block: Block) -> Answers:
        parts = await asyncio.gather(*(self._fetch(part, block) for part in self._cut(calls)))
        return [answer for part in parts for answer in part]

    def _join(self, calls: Sequence[Call], block: Block) -> _Turn:
        turn = self._turns.get(block.hash)
        if turn is None:
            loop = asyncio.get_running_loop()
            turn = self._turns[block.hash] = _Turn(block, loop.create_future())
            loop.call_soon(self._send, turn)
        turn.calls.update(dict.fromkeys(calls))
        turn.callers += 1
        return turn

    def _send(self, turn: _Turn) -> None:
        """Runs when every task that was ready in this turn has asked for what it needs."""
        del self._turns[turn.block.hash]
        try:
            cuts = list(self._cut(list(turn.calls)))
        except BotError as error:  # of no use to the event loop: it belongs to the callers
            turn.sent.set_exception(error)
            return
        for calls in cuts:
            part = _Part(asyncio.create_task(self._fetch(calls, turn.block)))
            part.task.add_done_callback(_seen)
            for index, call in enumerate(calls):
                turn.places[call] = part, index
        turn.sent.set_result(None)


def _seen(task: "asyncio.Task[Answers]") -> None:
    """An error that no caller is left to hear is no error."""
    if not task.cancelled():
        task.exception()
