"""Several nodes that answer as one: fail-over, checked heads, agreement, broadcast."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, TypeVar

from eth_utils.crypto import keccak

from bot.chain.agreement import Ballot, Estimates, at_block, is_agreed, is_estimate, is_latest, kth_highest
from bot.chain.answers import best_answer, better_elsewhere, misses_in
from bot.chain.http_session import Closeable
from bot.chain.node_errors import RevertError, RpcError
from bot.chain.provider_pool import Member, ProviderPool, ProviderStatus, Trouble
from bot.chain.replies import is_data, quantity
from bot.chain.rpc import SEND_METHODS, Rpc, read_again
from bot.chain.send_outcome import Sent, sent_outcome
from bot.errors import (
    ConfigError,
    DeadlineError,
    DisagreementError,
    InvariantError,
    StaleDataError,
    TransientError,
)

_T = TypeVar("_T")
_BY_NUMBER = "eth_getBlockByNumber"
_HEAD_TAGS = frozenset({"latest", "safe", "finalized"})
_NULL_IS_UNKNOWING = frozenset(
    {_BY_NUMBER, "eth_getBlockByHash", "eth_getBlockReceipts", "eth_getTransactionReceipt"}
)


class Providers(Closeable):
    """One to many providers of one chain behind the surface of ``Rpc`` (the protocol ``Node``).

    Reads go to the first provider in configured order that works, and to the next one when it fails or is
    silent for ``patience_s``; all within the timeout of one call. What the EVM reverts is an answer.
    The ``latest`` block is asked of everybody: the newest head that is not suspect is used, and a provider
    more than ``max_head_lag`` blocks away from the others is not used until it has caught up.

    With ``agreement`` = k > 1, whatever a decision rests on (state, code, balances, nonces, logs, blocks,
    receipts) is asked of all, and k equal answers are needed: StaleDataError, which is HOLD, when there are
    none. k - 1 providers that lie alike change nothing; k of them do, so that k equal to the number of
    providers means "hold when anyone dissents". The head is the newest block of which k have the same hash,
    and ``latest`` in another call means that block. Estimates (gas, fees) are not put to the vote, for honest
    nodes differ there: the middle of all answers stands, and ceilings bound it where it is used.

    Sends go to all at once and are never repeated here; see ``send_outcome``.
    """

    def __init__(
        self,
        rpcs: Sequence[Rpc],
        *,
        chain_id: int,
        agreement: int = 1,
        max_head_lag: int = 3,
        on_trouble: Trouble = lambda _: None,
        patience_s: float = 0.5,
    ) -> None:
        _check_independence(rpcs, agreement)
        if max_head_lag < 0 or not patience_s > 0:
            raise ConfigError(
                f"max_head_lag must be >= 0 and patience > 0, were {max_head_lag}, {patience_s}"
            )
        self.where = ", ".join(rpc.where for rpc in rpcs)
        self.timeout_s = max(rpc.timeout_s for rpc in rpcs)
        self._agreement = agreement
        self._max_head_lag = max_head_lag
        self._pool = ProviderPool(
            rpcs,
            chain_id=chain_id,
            max_head_lag=max_head_lag,
            patience_s=patience_s,
            on_trouble=on_trouble,
        )

    def __repr__(self) -> str:
        return f"Providers({self.where}; agreement {self._agreement})"

    async def close(self) -> None:
        await self._pool.close()

    def status(self) -> tuple[ProviderStatus, ...]:
        """Return how each provider stands, in configured order."""
        return self._pool.status()

    async def request(self, method: str, params: Sequence[Any] = (), *, send: bool = False) -> Any:
        """Do one call; see ``Rpc.request``. A send is given to all providers."""
        if (method in SEND_METHODS) != send:
            raise InvariantError(f"{method} called with send={send}")
        return await self._in_time(method, self._send(method, params) if send else self._one(method, params))

    async def read(self, method: str, params: Sequence[Any] = (), *, deadline_s: float | None = None) -> Any:
        """Do one idempotent read, again with growing pauses while it fails; see ``Rpc.read``."""
        limit_s = 2 * self.timeout_s if deadline_s is None else deadline_s
        return await read_again(self, method, params, limit_s=limit_s)

    async def batch(self, calls: Sequence[tuple[str, Sequence[Any]]]) -> list[Any]:
        """Do several reads; a call's own error stands in its place as an RpcError. See ``Rpc.batch``."""
        if not calls:
            return []
        if any(method in SEND_METHODS for method, _ in calls):
            raise InvariantError("a batch carries reads only, found a send")
        if self._agreement == 1:
            return await self._in_time("batch", self._first_batch(calls))
        return await self._in_time("batch", self._agreed_batch(calls))

    async def _in_time(self, method: str, call: Awaitable[_T]) -> _T:
        try:
            async with asyncio.timeout(self.timeout_s):
                return await call
        except TimeoutError:
            pass
        raise DeadlineError(f"{method} at {self.where}: no answer within {self.timeout_s:g} s")

    async def _one(self, method: str, params: Sequence[Any]) -> Any:
        if method == _BY_NUMBER and params and params[0] in _HEAD_TAGS:
            if params[0] == "latest" or self._agreement > 1:
                block = await self._head(params[0])
                full = len(params) > 1 and params[1] is True
                return await self._one("eth_getBlockByHash", (block["hash"], True)) if full else block
        elif method == "eth_blockNumber" and self._agreement > 1:
            return (await self._head("latest"))["number"]
        if self._agreement > 1 and is_estimate(method):
            return await self._estimated(method, params)
        if self._agreement == 1 or not is_agreed(method):
            return await self._first(method, params)
        if method == "eth_getTransactionCount" and len(params) > 1 and params[1] == "pending":
            return await self._pending_count(params)
        return await self._agreed(method, await self._pinned(method, params))

    async def _first(self, method: str, params: Sequence[Any]) -> Any:
        """Return the first answer that anyone gives, in order of preference."""
        seen: list[Any] = []

        def take(_: Member, answer: Any) -> bool:
            seen.append(answer)
            if answer is None:
                return method not in _NULL_IS_UNKNOWING
            return isinstance(answer, RevertError) or not isinstance(answer, TransientError)

        members = await self._pool.usable(1)
        await self._pool.gather(members, lambda each: self._pool.ask(each, method, params), take, width=1)
        return best_answer(seen)

    async def _first_batch(self, calls: Sequence[tuple[str, Sequence[Any]]]) -> list[Any]:
        seen: list[Any] = []

        def take(_: Member, answer: Any) -> bool:
            seen.append(answer)
            return isinstance(answer, list) and not any(better_elsewhere(item) for item in answer)

        members = await self._pool.usable(1)
        await self._pool.gather(members, lambda each: self._pool.ask_batch(each, calls), take, width=1)
        answers: list[Any] = best_answer(sorted(seen, key=misses_in))
        return answers

    async def _agreed_batch(self, calls: Sequence[tuple[str, Sequence[Any]]]) -> list[Any]:
        """Put every item to the vote by itself, all of ``latest`` at the same head."""
        head: dict[str, Any] = {}
        if any(is_latest(method, params) for method, params in calls):
            head = await self._head("latest")

        async def item(method: str, params: Sequence[Any]) -> Any:
            if method == _BY_NUMBER and params and params[0] == "latest":
                return head
            try:
                return await self._one(method, at_block(method, params, head.get("number")))
            except RpcError as error:
                return error

        return list(await asyncio.gather(*(item(method, params) for method, params in calls)))

    async def _agreed(self, method: str, params: Sequence[Any]) -> Any:
        """Return what k providers answer alike; see ``Ballot``."""
        members = await self._pool.usable(self._agreement)
        return await self._vote(method, members, lambda each: self._pool.ask(each, method, params))

    async def _estimated(self, method: str, params: Sequence[Any]) -> Any:
        """Return the middle of what all say; see ``Estimates``."""
        estimates = Estimates(method, self._agreement)

        def take(_: Member, answer: Any) -> bool:
            estimates.add(answer)
            return estimates.is_settled

        members = await self._pool.usable(self._agreement)
        await self._pool.gather(
            members,
            lambda each: self._pool.ask(each, method, params),
            take,
            width=len(members),
            enough=lambda: len(estimates.found) >= self._agreement,
        )
        return estimates.outcome()

    async def _vote(
        self, method: str, members: Sequence[Member], ask: Callable[[Member], Awaitable[Any]]
    ) -> Any:
        ballot = Ballot(method, self._agreement)
        by_where = {f"{member.where}#{member.rank}": member for member in members}
        names = {member: name for name, member in by_where.items()}
        blamed: set[str] = set()

        def take(member: Member, answer: Any) -> bool:
            ballot.add(names[member], answer)
            decided = ballot.winner is not None
            new = [name for name in ballot.dissenters if name not in blamed]
            if new:  # also those whose answer comes late
                blamed.update(new)
                self._pool.dissents([by_where[name] for name in new], f"{method}: {ballot.shown()}")
            return decided

        def enough() -> bool:
            return not ballot.votes and len(ballot.unknowing) >= self._agreement

        await self._pool.gather(members, ask, take, width=len(members), enough=enough)
        try:
            return ballot.outcome()
        except StaleDataError as error:
            self._pool.tell(error, topic=method)
            raise

    async def _pinned(self, method: str, params: Sequence[Any]) -> Sequence[Any]:
        """Return the parameters with the agreed head in place of ``latest``."""
        if not is_latest(method, params):
            return params
        return at_block(method, params, (await self._head("latest"))["number"])

    async def _pending_count(self, params: Sequence[Any]) -> str:
        """Return the highest pending nonce that k providers reach: pools differ, and no one may raise it."""
        found: list[str] = []

        def take(_: Member, answer: Any) -> bool:
            if isinstance(answer, str):
                found.append(answer)
            return False

        members = await self._pool.usable(self._agreement)
        await self._pool.gather(
            members,
            lambda each: self._pool.ask(each, "eth_getTransactionCount", params),
            take,
            width=len(members),
            enough=lambda: len(found) >= self._agreement,
        )
        if len(found) < self._agreement:
            raise TransientError(
                f"eth_getTransactionCount: {len(found)} of the {self._agreement} providers needed answered"
            )
        return kth_highest(found, self._agreement)

    async def _head(self, tag: str) -> dict[str, Any]:
        """Return the block behind a tag, as one provider or k of them have it; also judges the heads."""
        blocks: dict[Member, dict[str, Any]] = {}
        failed: list[TransientError] = []

        def take(member: Member, answer: Any) -> bool:
            if isinstance(answer, dict):
                blocks[member] = answer
            elif isinstance(answer, TransientError):
                failed.append(answer)
            return False

        await self._pool.gather(
            await self._pool.reachable(self._agreement),
            lambda each: self._pool.ask_head(each, tag),
            take,
            width=len(self._pool.members),
            enough=lambda: len(blocks) >= self._agreement,
        )
        if len(blocks) < self._agreement:
            said = "; ".join(str(error) for error in failed)
            raise TransientError(
                f"{len(blocks)} of the {self._agreement} providers needed have a {tag} block: {said}"
            )
        heads = {member: quantity(block["number"]) for member, block in blocks.items()}
        if tag == "latest":
            self._pool.judge_heads(heads, support=self._support(len(heads)))
        if self._agreement == 1:
            return self._newest(blocks, heads)
        return await self._agreed_head(blocks, heads, steps=self._max_head_lag if tag == "latest" else 0)

    def _support(self, voices: int) -> int:
        """How many must have reached a height for it to count; of three or more, one may be far ahead."""
        return self._agreement if self._agreement > 1 else 2 if voices > 2 else 1

    def _newest(self, blocks: Mapping[Member, dict[str, Any]], heads: Mapping[Member, int]) -> dict[str, Any]:
        good = [member for member in heads if member.health.bench is None]
        best = max(good or heads, key=lambda member: (heads[member], -member.rank))
        others = [
            member
            for member in good
            if heads[member] == heads[best] and blocks[member]["hash"] != blocks[best]["hash"]
        ]
        if others:
            said = ", ".join(f"{member.where} has {blocks[member]['hash']}" for member in [best, *others])
            self._pool.tell(
                DisagreementError(f"providers differ at block {heads[best]}: {said}; the first is used"),
                topic="heads",
            )
        return blocks[best]

    async def _agreed_head(
        self, blocks: Mapping[Member, dict[str, Any]], heads: Mapping[Member, int], *, steps: int
    ) -> dict[str, Any]:
        """Return the newest block of which k providers have the same hash, at most ``steps`` lower down."""
        highest = sorted(heads.values(), reverse=True)[self._agreement - 1]
        problem: StaleDataError | TransientError | None = None
        for number in range(highest, max(highest - steps, 0) - 1, -1):

            async def at_height(member: Member, number: int = number) -> Any:
                if heads[member] == number:
                    return blocks[member]
                return await self._pool.ask(member, _BY_NUMBER, (hex(number), False))

            members = [member for member, head in heads.items() if head >= number]
            try:
                found = await self._vote(_BY_NUMBER, members, at_height)
            except (StaleDataError, TransientError) as error:
                problem = problem or error
                continue
            if found is not None:
                block: dict[str, Any] = found
                return block
        raise problem or TransientError(f"no block near {highest} is known to {self._agreement} providers")

    async def _send(self, method: str, params: Sequence[Any]) -> Any:
        """Give a transaction to every provider, once; success when one takes it."""
        answers: dict[Member, str | TransientError] = {}
        raw = params[0] if method == "eth_sendRawTransaction" and params else ""
        expected = "0x" + keccak(hexstr=raw).hex() if is_data(raw) else ""

        async def ask(member: Member) -> Any:
            try:
                return await member.rpc.request(method, params, send=True)
            except TransientError as error:
                return error

        def take(member: Member, answer: Any) -> bool:
            answers[member] = answer
            return False

        def judged() -> Sent:
            by_rank = sorted(answers.items(), key=lambda pair: pair[0].rank)
            outcomes = {f"{member.where}#{member.rank}": answer for member, answer in by_rank}
            return sent_outcome(outcomes, expected_hash=expected)

        members = await self._pool.reachable(1)
        await self._pool.gather(
            members, ask, take, width=len(members), enough=lambda: judged().tx_hash is not None
        )
        sent = judged()
        if sent.trouble:
            self._pool.tell(TransientError(sent.trouble))
        if sent.error is not None:
            raise sent.error
        return sent.tx_hash


def _check_independence(rpcs: Sequence[Rpc], agreement: int) -> None:
    if not rpcs:
        raise ConfigError("no provider is configured; give chain.rpc_url or chain.rpc_urls")
    seen: set[object] = set()
    for rpc in rpcs:
        # Two keys at one host are one provider: they fail together, and they lie alike.
        identity = rpc.endpoint[:2] if agreement > 1 else rpc.endpoint
        if identity in seen:
            kind = "host" if agreement > 1 else "address"
            raise ConfigError(f"provider {rpc.where} is given more than once (same {kind}); give each once")
        seen.add(identity)
    if not 1 <= agreement <= len(rpcs):
        raise ConfigError(f"agreement must be 1 to {len(rpcs)}, the number of providers, was {agreement}")
    if agreement > 1 and 2 * agreement <= len(rpcs):
        raise ConfigError(
            f"agreement of {agreement} among {len(rpcs)} providers is no majority, so that two answers could "
            f"both have it; use at least {len(rpcs) // 2 + 1}"
        )
