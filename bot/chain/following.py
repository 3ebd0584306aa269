"""Drives one signed intent to a closing fact: asks the node, lets the pure `send_state` decide, does it."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from bot.chain.account_view import AccountView, Head
from bot.chain.attempts import Attempts
from bot.chain.intent_book import IntentBook
from bot.chain.raw_transaction import checked_raw, decode_raw
from bot.chain.send_errors import DEFINITE, SendResult
from bot.chain.send_route import SendRoute
from bot.chain.send_state import Action, Do, Facts, Intent, Mined, SendPolicy, next_action
from bot.chain.signer import Signer
from bot.errors import BotError, OutcomeUnknown, TransientError
from bot.model.intent import IntentState, Receipt


@dataclass(slots=True)
class _Pace:
    """What this process did with one attempt, on the monotonic clock."""

    first_seen_s: float
    broadcast_s: float | None = None
    result: SendResult | None = None
    words: str = ""


class Outcome(NamedTuple):
    intent: Intent
    receipt: Receipt | None


@dataclass(slots=True, kw_only=True)
class Follower:
    """Follows intents of one account, one at a time. It remembers what this process did with each."""

    signer: Signer
    book: IntentBook
    view: AccountView
    attempts: Attempts
    route: SendRoute
    policy: SendPolicy
    poll_s: float
    clock: Callable[[], float]  # monotonic
    sleep: Callable[[float], Awaitable[None]]
    on_trouble: Callable[[BotError], None] = lambda _: None  # hears once of each thing that holds one up
    _told: set[tuple[str, str]] = field(default_factory=set)  # intent, what holds it up
    _paces: dict[str, _Pace] = field(default_factory=dict)  # by transaction hash
    _first_blocks: dict[str, int] = field(default_factory=dict)  # by intent: the head at its first send
    # In a row, by intent; they go on from call to call.
    _foreign_polls: dict[str, int] = field(default_factory=dict)

    async def drive(self, key: str, wait_s: float) -> Outcome:
        """Follow one intent until it is closed. Raises OutcomeUnknown when ``wait_s`` passes first."""
        end_s = self.clock() + wait_s
        trouble = ""
        while True:
            intent = self.book[key]
            if not intent.is_open:
                return Outcome(intent, None)
            try:
                action, head, receipts = await self._look(intent)
                if action.is_stuck:
                    self._tell(intent, action.because)
                trouble = action.because or trouble
                pause = await self._perform(intent, action, head)
            except TransientError as error:
                trouble, pause = str(error), True
            else:
                if action.do is Do.CLOSE:
                    found = receipts.get(action.mined.tx_hash) if action.mined else None
                    return Outcome(self.book[key], found)
            if not pause:
                continue
            if self.clock() >= end_s:
                raise OutcomeUnknown(self._unknown(intent, trouble or f"after {wait_s:.0f} s"), key)
            await self.sleep(self.poll_s)

    def _tell(self, intent: Intent, why: str, *, words: str = "") -> None:
        """Say once what holds a transaction up: the step that waits for it may take minutes."""
        if (intent.key, why) not in self._told:
            self._told.add((intent.key, why))
            self.on_trouble(OutcomeUnknown(self._unknown(intent, why + words), intent.key))

    def _unknown(self, intent: Intent, trouble: str) -> str:
        """Return what is not known, with the node's last words on it."""
        words = self._pace(intent.newest.tx_hash).words if intent.attempts else ""
        said = f"; the node said: {words[:200]}" if words else ""
        return f"{intent.purpose} with nonce {intent.nonce}, {trouble}{said}"

    async def _look(self, intent: Intent) -> tuple[Action, Head, dict[str, Receipt]]:
        """Gather the facts of one poll, nonces before receipts, and decide on them."""
        head, tagged = await self.view.heads()
        if intent.state is IntentState.RESERVED:
            return await self._look_reserved(intent, head), head, {}
        deep = max(0, head.number - self.policy.confirmations + 1)
        deep = deep if tagged is None else min(deep, tagged)
        nonce, final_nonce = await self.view.nonces(head.number, deep)
        receipts, newest_known = await self.view.sighting(intent)
        foreign = nonce > intent.nonce and not receipts
        self._foreign_polls[intent.key] = self._foreign_polls.get(intent.key, 0) + 1 if foreign else 0
        stranger = await self._stranger(intent, by=deep) if foreign and final_nonce > intent.nonce else ""
        pace = self._pace(intent.newest.tx_hash)
        now_s = self.clock()
        facts = Facts(
            head_number=head.number,
            head_time_s=head.time_s,
            nonce=nonce,
            final_nonce=final_nonce,
            receipts=tuple(map(Mined.of, receipts.values())),
            newest_known=newest_known,
            since_broadcast_s=None if pace.broadcast_s is None else now_s - pace.broadcast_s,
            since_signed_s=now_s - pace.first_seen_s,
            last_result=pace.result,
            can_bump=self.attempts.can_replace(intent),
            stranger=stranger,
            final_block=tagged,
        )
        return next_action(intent, facts, self.policy), head, receipts

    async def _stranger(self, intent: Intent, *, by: int) -> str:
        """Look for who used the nonce, once several polls in a row found no receipt of ours."""
        if self._foreign_polls[intent.key] < self.policy.foreign_polls:
            return ""
        try:
            return await self.view.stranger(intent, by=by)
        except TransientError as error:
            why = "the nonce is used, and by what cannot be looked up"
            if self.clock() - self._pace(intent.newest.tx_hash).first_seen_s >= self.policy.bump_after_s:
                self._tell(intent, why, words=f": {error}")
            raise TransientError(f"{why}: {error}") from None

    async def _look_reserved(self, intent: Intent, head: Head) -> Action:
        """Ask the signer what it did for a nonce of which no signed bytes reached the disk."""
        facts = Facts(
            head_number=head.number,
            head_time_s=head.time_s,
            nonce=intent.nonce,
            final_nonce=intent.nonce,
            may_be_signed=await self.signer.has_signed(intent.chain_id, intent.nonce),
        )
        return next_action(intent, facts, self.policy)

    async def _perform(self, intent: Intent, action: Action, head: Head) -> bool:
        """Do what was decided; return whether to pause before the next look."""
        if action.do is Do.BROADCAST:
            return await self.broadcast(intent, head)
        if action.do is Do.CANCEL and not intent.attempts:
            await self.attempts.use_up(intent, head, because=action.because)
            return False
        if action.do in (Do.BUMP, Do.CANCEL, Do.REGAS):
            gas = await self.view.gas_anew(decode_raw(intent.newest.raw)) if action.do is Do.REGAS else 0
            await self.attempts.replace(
                intent, head, cancel=action.do is Do.CANCEL, because=action.because, gas=gas
            )
            return False
        if action.do in (Do.RECORD, Do.CLOSE) and action.state is not None:
            await self._settle(intent, action, head)
            return action.state is IntentState.SENT
        return True

    async def _settle(self, intent: Intent, action: Action, head: Head) -> None:
        because = action.because
        if action.state is IntentState.REVERTED and action.mined is not None:
            because = await self._reason(intent, action.mined)
        fields: dict[str, Any] = {}
        if action.mined is not None:
            fields = {
                "tx_hash": action.mined.tx_hash,
                "block_number": action.mined.block_number,
                "block_hash": action.mined.block_hash,
                "gas_cost_wei": action.mined.gas_cost_wei,
            }
        self.book.record(intent, action.state or intent.state, head.time_s, because=because, **fields)

    async def _reason(self, intent: Intent, mined: Mined) -> str:
        """Say why it was mined without effect: out of gas by the figures, else by a replay, a guess."""
        attempt = next(item for item in intent.attempts if item.tx_hash == mined.tx_hash)
        raw = decode_raw(attempt.raw)
        if mined.gas_used >= raw.gas:
            return f"out of gas: it used all of its {raw.gas}"
        return await self.view.revert_reason(intent, mined.block_number, mined=raw)

    async def broadcast(self, intent: Intent, head: Head) -> bool:
        """Send the newest bytes once. No answer of the node closes the intent."""
        attempt = intent.newest
        checked_raw(attempt.raw, tx_hash=attempt.tx_hash, intent=intent)
        first_block = self._first_blocks.setdefault(intent.key, head.number)
        pace = self._pace(attempt.tx_hash)
        pace.broadcast_s = self.clock()
        pace.result, pace.words = await self.route.send(
            attempt.raw,
            attempt.tx_hash,
            waited_blocks=head.number - first_block,
            is_cancel=attempt.is_cancel,
        )
        if intent.state is IntentState.SIGNED and pace.result not in DEFINITE:
            self.book.record(
                intent, IntentState.SENT, head.time_s, tx_hash=attempt.tx_hash, because=pace.words[:200]
            )
        return pace.result is not SendResult.TAKEN

    def _pace(self, tx_hash: str) -> _Pace:
        return self._paces.setdefault(tx_hash, _Pace(first_seen_s=self.clock()))
