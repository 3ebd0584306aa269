"""Sends transactions under the money rules: one nonce per intent, bytes on disk before they go out.

The order of writes is: reserve nonce, sign, journal the bytes (fsync), broadcast, receipt, depth. A restart
sends the same bytes again; it never decides or signs anew for an intent whose fate is not known.
What to do next is decided by the pure `send_state`; this file asks the node and does it.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from bot.chain.account_view import AccountView, Head
from bot.chain.fees import FeeMarket, FeePolicy, Fees, bumped, fee_cap_wei
from bot.chain.intent_book import IntentBook, target_of
from bot.chain.raw_transaction import RawTransaction, checked_raw, decode_raw
from bot.chain.rpc import Node, RpcError
from bot.chain.send_errors import DEFINITE, SendResult, classify_send_error
from bot.chain.send_state import NOTHING_SIGNED, Action, Do, Facts, Intent, Mined, SendPolicy, next_action
from bot.chain.signer import Signer, Unsigned
from bot.errors import BotError, InvariantError, OutcomeUnknown, TransientError, VenueRejected
from bot.model.intent import IntentState, Receipt, TxRequest
from bot.ports import Journal

_LAG_POLLS = 10  # how long a node may show fewer transactions than the journal knows to be final


@dataclass(slots=True)
class _Pace:
    """What this process did with one attempt, on the monotonic clock."""

    first_seen_s: float
    broadcast_s: float | None = None
    result: SendResult | None = None
    words: str = ""
    signer_refused: bool = False  # to replace it


class _Outcome(NamedTuple):
    intent: Intent
    receipt: Receipt | None


class TransactionManager:
    """Implements ``ports.Transactor`` for one account on one chain. Sends one at a time."""

    def __init__(
        self,
        rpc: Node,
        signer: Signer,
        journal: Journal,
        *,
        chain_id: int,
        confirmations: int = 1,
        poll_s: float = 1.0,
        deadline_s: float = 180.0,
        resend_after_s: float = 4.0,
        bump_after_s: float = 30.0,
        fees: FeePolicy | None = None,
        accept_nonce: int = 0,
        resume_wait_s: float | None = None,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        """``deadline_s`` bounds the wait for one transaction; past it the outcome is unknown.

        ``resume_wait_s`` is that bound for ``resume``, two polls unless said: who resumes comes again, and
        one transaction that is stuck must not hold up all else.

        ``accept_nonce`` is a person's word that all transactions of the account below that nonce are
        known to them, although the journal did not send them.
        """
        self._rpc = rpc
        self._signer = signer
        self._chain_id = chain_id
        self._policy = SendPolicy(
            confirmations=confirmations, resend_after_s=resend_after_s, bump_after_s=bump_after_s
        )
        self._fees = fees or FeePolicy()
        self._poll_s, self._deadline_s = poll_s, deadline_s
        self._resume_wait_s = min(deadline_s, 2 * poll_s if resume_wait_s is None else resume_wait_s)
        self._accept_nonce = accept_nonce
        self._clock, self._sleep = clock, sleep
        self._sender = signer.address.lower()
        self._view = AccountView(rpc, chain_id=chain_id, sender=self._sender)
        self._lock = asyncio.Lock()
        self._book = IntentBook(journal)
        self._paces: dict[str, _Pace] = {}
        self._foreign_polls: dict[str, int] = {}  # in a row, by intent; they go on from call to call

    @property
    def address(self) -> str:
        return self._signer.address

    async def send(self, request: TxRequest) -> Receipt:
        """See ports.Transactor. A key that was sent before is followed, never sent a second time.

        Also raises TransientError (nothing was signed), OutcomeUnknown when an earlier transaction of
        the account is still open, and InvariantError when the key was used outside of this journal.
        """
        async with self._lock:
            known = self._book.get(request.key)
            if known is not None:
                if (known.to, known.data) != target_of(request):
                    raise InvariantError(f"intent {request.key} was journalled for another transaction")
            else:
                await self._begin(request)
            return self._success(await self._followed(request.key, self._deadline_s))

    async def resume(self, leg_key: str) -> Mapping[str, Receipt]:
        """See ports.Transactor. Takes a look at least, and waits for ``resume_wait_s`` at most.

        Receipts of reverted transactions are among them (``succeeded`` False).
        """
        async with self._lock:
            receipts: dict[str, Receipt] = {}
            for key in self._book.keys_of(leg_key):
                intent, receipt = await self._followed(key, self._resume_wait_s)
                if receipt is not None:
                    cancelled = intent.state is IntentState.CANCELLED
                    receipts[intent.purpose + "-cancelled" * cancelled] = receipt
            return receipts

    # from a request to signed bytes on disk

    async def _begin(self, request: TxRequest) -> None:
        """Check, reserve and sign. Between the two journal rows nothing is awaited."""
        self._refuse_while_open(request)
        head = await self._view.head()
        if request.valid_until_s <= head.time_s:
            raise VenueRejected(
                f"{request.purpose}: valid until {request.valid_until_s:.0f}, "
                f"the chain is at {head.time_s:.0f}"
            )
        gas = await self._view.simulated_gas(request)
        fees = await self._view.affordable_fees(request, self._fees, gas=gas)
        nonce = await self._free_nonce()
        intent = self._book.reserve(
            request, chain_id=self._chain_id, sender=self._sender, nonce=nonce, at_s=head.time_s
        )
        unsigned = Unsigned(
            chain_id=self._chain_id,
            nonce=nonce,
            to=request.to,
            data=request.data,
            value_wei=request.value_wei,
            gas=gas,
            fees=fees,
            valid_until_s=request.valid_until_s,
        )
        try:
            self._sign(intent, unsigned, head, because="")
        except BotError as error:
            if self._book[request.key].state is IntentState.RESERVED:
                self._book.record(intent, IntentState.RELEASED, head.time_s, because=str(error))
            raise

    def _refuse_while_open(self, request: TxRequest) -> None:
        for intent in self._book.of_account(self._chain_id, self._sender):
            self._halt_if_lost(intent)
            if not intent.is_open:
                continue
            raise OutcomeUnknown(
                f"an earlier transaction ({intent.purpose}, nonce {intent.nonce}); "
                f"{request.key} waits until it is resolved",
                intent.key,
            )

    def _sign(self, intent: Intent, unsigned: Unsigned, head: Head, *, because: str) -> Intent:
        signed = self._signer.sign(unsigned, now_s=head.time_s)
        found = checked_raw(signed.raw, tx_hash=signed.tx_hash, intent=intent)
        asked = (unsigned.to.lower(), unsigned.data, unsigned.value_wei)
        if (found.to, found.data, found.value_wei) != asked:
            raise InvariantError(f"intent {intent.key}: the signer signed another transaction than asked")
        return self._book.record(
            intent,
            IntentState.SIGNED,
            head.time_s,
            to=found.to,
            data="0x" + found.data.hex(),
            raw=signed.raw,
            tx_hash=signed.tx_hash,
            valid_until_s=intent.valid_until_s,
            because=because,
        )

    async def _free_nonce(self) -> int:
        """Return the nonce the next intent gets; refuses when chain and journal disagree (REL-P9)."""
        ours = self._book.next_nonce(self._chain_id, self._sender)
        for _ in range(_LAG_POLLS):
            latest, pending = await self._view.nonces("latest", "pending")
            expected = latest if ours is None else max(ours, self._accept_nonce)
            if latest > expected or (latest == expected and pending > latest):
                raise InvariantError(self._drift(max(latest, pending), expected))
            if latest == expected:
                return expected
            await self._sleep(self._poll_s)
        raise TransientError(
            f"the node shows {latest} transactions of {self._sender}, the journal knows {expected}: "
            "it lags, or it serves another chain of the same id"
        )

    def _drift(self, found: int, expected: int) -> str:
        return (
            f"account {self._sender} has nonce {found} on chain {self._chain_id}, the journal accounts for "
            f"{expected}: something else used the key, or an old journal was restored. "
            f"Find out what was sent; then allow it with accept_nonce = {found}"
        )

    # from signed bytes to a closing fact

    async def _followed(self, key: str, wait_s: float) -> _Outcome:
        """Drive an intent to its close; add the receipt when an earlier run closed it."""
        intent, receipt = await self._drive(key, wait_s)
        self._halt_if_lost(intent)
        if receipt is not None or not intent.tx_hash:
            return _Outcome(intent, receipt)
        trouble = "the node lags or the chain was reorganised below our depth"
        try:
            receipt = (await self._view.sighting(intent)).receipts.get(intent.tx_hash)
        except TransientError as error:
            trouble = str(error)
        if receipt is None:
            raise OutcomeUnknown(
                f"{intent.purpose}, by the journal {intent.state} in block {intent.block_number}, but its "
                f"receipt cannot be read: {trouble}",
                intent.key,
            )
        return _Outcome(intent, receipt)

    async def _drive(self, key: str, wait_s: float) -> _Outcome:
        """Follow one intent until it is closed. Raises OutcomeUnknown when ``wait_s`` passes first."""
        end_s = self._clock() + wait_s
        trouble = ""
        while True:
            intent = self._book[key]
            if not intent.is_open:
                return _Outcome(intent, None)
            try:
                action, head, receipts = await self._look(intent)
                trouble = action.because or trouble
                pause = await self._perform(intent, action, head)
            except TransientError as error:
                trouble, pause = str(error), True
            else:
                if action.do is Do.CLOSE:
                    found = receipts.get(action.mined.tx_hash) if action.mined else None
                    return _Outcome(self._book[key], found)
            if not pause:
                continue
            if self._clock() >= end_s:
                raise OutcomeUnknown(self._unknown(intent, trouble or f"after {wait_s:.0f} s"), key)
            await self._sleep(self._poll_s)

    def _unknown(self, intent: Intent, trouble: str) -> str:
        """Return what is not known, with the node's last words on it."""
        words = self._pace(intent.newest.tx_hash).words if intent.attempts else ""
        said = f"; the node said: {words[:200]}" if words else ""
        return f"{intent.purpose} with nonce {intent.nonce}, {trouble}{said}"

    async def _look(self, intent: Intent) -> tuple[Action, Head, dict[str, Receipt]]:
        """Gather the facts of one poll, nonces before receipts, and decide on them."""
        head = await self._view.head()
        if intent.state is IntentState.RESERVED:
            return Action(do=Do.CLOSE, state=IntentState.RELEASED, because=NOTHING_SIGNED), head, {}
        final_block = max(0, head.number - self._policy.confirmations + 1)
        nonce, final_nonce = await self._view.nonces(head.number, final_block)
        receipts, newest_known = await self._view.sighting(intent)
        foreign = nonce > intent.nonce and not receipts
        self._foreign_polls[intent.key] = self._foreign_polls.get(intent.key, 0) + 1 if foreign else 0
        pace = self._pace(intent.newest.tx_hash)
        now_s = self._clock()
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
            can_bump=self._can_bump(intent),
            foreign_polls=self._foreign_polls[intent.key],
        )
        return next_action(intent, facts, self._policy), head, receipts

    async def _perform(self, intent: Intent, action: Action, head: Head) -> bool:
        """Do what was decided; return whether to pause before the next look."""
        if action.do is Do.BROADCAST:
            return await self._broadcast(intent, head)
        if action.do in (Do.BUMP, Do.CANCEL):
            await self._replace(intent, head, cancel=action.do is Do.CANCEL, because=action.because)
            return False
        if action.do in (Do.RECORD, Do.CLOSE) and action.state is not None:
            await self._settle(intent, action, head)
            return action.state is IntentState.SENT
        return True

    async def _settle(self, intent: Intent, action: Action, head: Head) -> None:
        because = action.because
        if action.state is IntentState.REVERTED and action.mined is not None:
            because = await self._view.revert_reason(intent, action.mined.block_number)
        fields: dict[str, Any] = {}
        if action.mined is not None:
            fields = {
                "tx_hash": action.mined.tx_hash,
                "block_number": action.mined.block_number,
                "block_hash": action.mined.block_hash,
                "gas_cost_wei": action.mined.gas_cost_wei,
            }
        self._book.record(intent, action.state or intent.state, head.time_s, because=because, **fields)

    async def _broadcast(self, intent: Intent, head: Head) -> bool:
        """Send the newest bytes once. No answer of the node closes the intent."""
        attempt = intent.newest
        checked_raw(attempt.raw, tx_hash=attempt.tx_hash, intent=intent)
        pace = self._pace(attempt.tx_hash)
        pace.broadcast_s = self._clock()
        try:
            reply = await self._rpc.request("eth_sendRawTransaction", [attempt.raw], send=True)
            pace.result, pace.words = SendResult.TAKEN, ""
            if reply.lower() != attempt.tx_hash:
                pace.result, pace.words = SendResult.AMBIGUOUS, "the node answered with another hash"
        except RpcError as error:
            pace.result, pace.words = classify_send_error(error.message), error.message
        except TransientError as error:
            pace.result, pace.words = SendResult.AMBIGUOUS, str(error)
        if intent.state is IntentState.SIGNED and pace.result not in DEFINITE:
            self._book.record(
                intent, IntentState.SENT, head.time_s, tx_hash=attempt.tx_hash, because=pace.words[:200]
            )
        return pace.result is not SendResult.TAKEN

    async def _replace(self, intent: Intent, head: Head, *, cancel: bool, because: str) -> None:
        """Sign the newest attempt with higher fees, or a transfer of nothing to ourselves, same nonce."""
        old = checked_raw(intent.newest.raw, tx_hash=intent.newest.tx_hash, intent=intent)
        cancel = cancel or intent.newest.is_cancel
        fees = self._bumped(intent, old, await self._view.market(), cancel=cancel)
        if fees is None:
            raise TransientError(f"the fee cap forbids a replacement of {intent.newest.tx_hash}")
        gas = await self._view.cancel_gas() if cancel and not intent.newest.is_cancel else old.gas
        unsigned = Unsigned(
            chain_id=self._chain_id,
            nonce=intent.nonce,
            to=self._sender if cancel else old.to,
            data=b"" if cancel else old.data,
            value_wei=0 if cancel else old.value_wei,
            gas=gas,
            fees=fees,
            valid_until_s=intent.valid_until_s,
        )
        try:
            self._sign(intent, unsigned, head, because=because)
        except VenueRejected as error:
            # The signer's own limit is lower than ours: what is in the pool stays as it is.
            self._pace(intent.newest.tx_hash).signer_refused = True
            raise TransientError(f"no replacement: {error}") from None

    def _can_bump(self, intent: Intent) -> bool:
        free = FeeMarket(next_base_wei=0, median_tip_wei=0)
        old, cancel = decode_raw(intent.newest.raw), intent.newest.is_cancel
        allowed = self._bumped(intent, old, free, cancel=cancel) is not None
        return allowed and not self._pace(intent.newest.tx_hash).signer_refused

    def _bumped(self, intent: Intent, old: RawTransaction, market: FeeMarket, *, cancel: bool) -> Fees | None:
        cap_wei = fee_cap_wei(self._fees, max_gas_cost_wei=intent.max_gas_cost_wei, gas=old.gas)
        return bumped(old.fees, market, self._fees, cancel=cancel, cap_wei=cap_wei)

    # results

    def _success(self, outcome: _Outcome) -> Receipt:
        """Return the receipt of a final intent; raise what its other ends mean to a sender."""
        intent, receipt = outcome
        if intent.state is IntentState.FINAL and receipt is not None:
            return receipt
        where = f" in block {intent.block_number}" if intent.block_number else ""
        raise VenueRejected(
            f"{intent.purpose} transaction with nonce {intent.nonce} was {intent.state}{where}: "
            f"{intent.because or 'no reason known'}"
        )

    def _halt_if_lost(self, intent: Intent) -> None:
        """Stop when someone else used the nonce, until a person has said that it is known to them."""
        if intent.state is IntentState.LOST and intent.nonce >= self._accept_nonce:
            raise InvariantError(
                f"intent {intent.key} lost nonce {intent.nonce} of {intent.sender} to a transaction that is "
                "not ours: find out who else holds the key; then allow it with "
                f"accept_nonce = {intent.nonce + 1}"
            )

    def _pace(self, tx_hash: str) -> _Pace:
        return self._paces.setdefault(tx_hash, _Pace(first_seen_s=self._clock()))
