"""Sends transactions under the money rules: one nonce per intent, bytes on disk before they go out.

The order of writes is: reserve nonce, sign, journal the bytes (fsync), broadcast, receipt, depth. A restart
sends the same bytes again; it never decides or signs anew for an intent whose fate is not known.
What to do next is decided by the pure `send_state`; `following` asks the node and does it.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Container, Mapping
from dataclasses import dataclass, field

from bot.chain.account_view import AccountView, Head
from bot.chain.attempts import Attempts
from bot.chain.chain_traits import FeeParts, traits_of
from bot.chain.code_pins import CodePins
from bot.chain.fees import FeePolicy
from bot.chain.following import Follower, Outcome
from bot.chain.intent_book import IntentBook, target_of
from bot.chain.node_errors import says_unknown_block
from bot.chain.nonces import NonceDesk
from bot.chain.preflight import Inspector, Preflight
from bot.chain.raw_transaction import decode_raw
from bot.chain.rpc import Node, RpcError
from bot.chain.send_route import SendRoute
from bot.chain.send_state import Intent, SendPolicy
from bot.chain.signer import Signer
from bot.errors import BotError, InvariantError, OutcomeUnknown, TransientError, VenueRejected
from bot.model.intent import IntentState, Receipt, TxRequest
from bot.ports import Journal

_LAG_POLLS = 10  # how long a node may show fewer transactions than the journal knows to be final
_FILL_GAS_CEILING = 1_000_000  # of a transfer to ourselves; Arbitrum counts its L1 share as gas


@dataclass(frozen=True, slots=True, kw_only=True)
class SendTerms:
    """When a receipt counts, how long is waited, what is paid, and what a person says of nonces."""

    confirmations: int | None = None  # blocks, its own included; none: those of the chain (chain_traits)
    final_tag: str = ""  # "safe" or "finalized": a receipt counts only up to the node's block of it as well
    poll_s: float = 1.0
    deadline_s: float = 180.0  # for one transaction; past it its outcome is unknown
    # For ``resume``, two polls unless said: who resumes comes again, and one transaction that is stuck must
    # not hold up all else.
    resume_wait_s: float | None = None
    resend_after_s: float = 4.0
    bump_after_s: float = 30.0
    fees: FeePolicy = field(default_factory=FeePolicy)
    fee_parts: FeeParts | None = None  # none: that of the chain
    accept_nonce: int = 0  # a person knows all transactions below it, although the journal did not send them
    fill_nonces: bool = False  # use up those of them that nobody used
    look_in_pool: bool = False  # for what an earlier run left; the node must answer txpool_contentFrom

    def patience_s(self) -> float:
        """Return how long ``resume`` waits."""
        wanted_s = 2 * self.poll_s if self.resume_wait_s is None else self.resume_wait_s
        return min(self.deadline_s, wanted_s)

    def policy(self, depth: int) -> SendPolicy:
        """Return what the pure send state keeps to; ``depth`` is the chain's own."""
        return SendPolicy(
            confirmations=depth if self.confirmations is None else self.confirmations,
            resend_after_s=self.resend_after_s,
            bump_after_s=self.bump_after_s,
        )


class TransactionManager:
    """Implements ``ports.Transactor`` for one account on one chain. Sends one at a time."""

    def __init__(
        self,
        rpc: Node,
        signer: Signer,
        journal: Journal,
        *,
        chain_id: int,
        terms: SendTerms | None = None,
        route: SendRoute | None = None,
        pins: CodePins | None = None,
        on_trouble: Callable[[BotError], None] = lambda _: None,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        """``route``: every provider unless given. ``pins``: the code that targets must have, where pinned.

        ``on_trouble`` hears, as OutcomeUnknown, what keeps a transaction that is waited for out of blocks.
        """
        self._terms = terms = terms or SendTerms()
        self._signer, self._chain_id, self._sleep = signer, chain_id, sleep
        self._sender = signer.address.lower()
        self._lock, self._signer_asked = asyncio.Lock(), False
        self._heard: Head | None = None
        self._book = book = IntentBook(journal)
        traits, sender = traits_of(chain_id), self._sender
        self._view = view = AccountView(
            rpc, chain_id=chain_id, sender=sender, final_tag=terms.final_tag, parts=terms.fee_parts
        )
        self._nonces = NonceDesk(
            view, book, chain_id=chain_id, sender=sender, accept_nonce=terms.accept_nonce
        )
        self._inspector = Inspector(
            node=rpc,
            chain_id=chain_id,
            sender=sender,
            policy=terms.fees,
            parts=terms.fee_parts or traits.fees,
            pins=pins,
        )
        self._attempts = Attempts(
            signer=signer, book=book, view=view, chain_id=chain_id, sender=sender, policy=terms.fees
        )
        self._follower = Follower(
            signer=signer,
            book=book,
            view=view,
            attempts=self._attempts,
            route=route or SendRoute(public=rpc),
            policy=terms.policy(traits.depth),
            poll_s=terms.poll_s,
            clock=clock,
            sleep=sleep,
            on_trouble=on_trouble,
        )

    @property
    def address(self) -> str:
        return self._signer.address

    def heard(self, head: Head) -> None:
        """Take the newest block from who follows the chain, so that the next transaction need not ask for it.

        Whether it is still the newest is asked in the same request as all else.
        """
        self._heard = head

    async def check_account(self) -> None:
        """Look whether something else used the key, also while there is nothing to send (REL-P9).

        Raises InvariantError then, TransientError where the node does not answer, and StaleDataError where
        nodes disagree. While a transaction of ours is on its way, who follows it looks.
        """
        async with self._lock:
            for intent in self._book.of_account(self._chain_id, self._sender):
                self._halt_if_lost(intent)
                if intent.is_open:
                    return
            (latest,) = await self._view.nonces("latest")
            self._nonces.free(latest, latest)

    async def send(self, request: TxRequest) -> Receipt:
        """See ports.Transactor. A key that was sent before is followed, never sent a second time.

        Of a request that is sent ``again`` that is the newest try, unless no try can take effect any more.

        An earlier transaction of the account that is still open is followed to its close first, for as long
        as ``resume`` waits. Also raises TransientError (nothing was signed), OutcomeUnknown when that
        transaction stays open, and InvariantError when the key was used outside of this journal.
        """
        async with self._lock:
            request = self._book.newest_try(request)
            known = self._book.get(request.key)
            if known is not None:
                _check_same(known, request)
            else:
                await self._begin(request)
            return self._success(await self._followed(request.key, self._terms.deadline_s))

    async def resume(self, leg_key: str) -> Mapping[str, Receipt]:
        """See ports.Transactor. Takes a look at least, and waits for ``resume_wait_s`` at most.

        Receipts of reverted transactions are among them (``succeeded`` False).
        """
        async with self._lock:
            receipts: dict[str, Receipt] = {}
            for key in self._book.keys_of(leg_key):
                intent, receipt = await self._followed(key, self._terms.patience_s())
                if receipt is not None:
                    receipts[_name_of(intent, taken=receipts)] = receipt
            return receipts

    # from a request to signed bytes that were sent

    async def _begin(self, request: TxRequest) -> None:
        """Check at one block, reserve, sign, send; a new transaction needs no look before it is sent."""
        await self._close_earlier(request)
        if self._terms.look_in_pool:
            await self._nonces.check_pool()
        ready, head, nonce = await self._ready(request)
        intent = await self._attempts.first(ready, nonce, head)
        await self._follower.broadcast(intent, head)

    async def _ready(self, request: TxRequest) -> tuple[Preflight, Head, int]:
        """Return what to sign with; ask again while its block goes away or the node lags the journal."""
        trouble = TransientError("the newest block changes faster than it can be asked about")
        for _ in range(_LAG_POLLS):
            given, self._heard = self._heard, None
            head = given or await self._view.head()
            if request.valid_until_s <= head.time_s:
                raise VenueRejected(
                    f"{request.purpose}: valid until {request.valid_until_s:.0f}, "
                    f"the chain is at {head.time_s:.0f}"
                )
            try:
                ready = await self._inspector.inspect(request, head)
            except RpcError as error:
                if not says_unknown_block(error):
                    raise
                trouble = error
                continue  # a newer block took its place
            if given is not None and ready.newest_hash != given.hash:
                continue
            nonce = self._nonces.free(ready.latest_nonce, ready.pending_nonce)
            if nonce is not None and await self._is_unsigned(nonce):
                return ready, head, nonce
            if nonce is not None:
                await self._fill(request, nonce, head, because="it was signed for something that is lost")
                trouble = TransientError(f"nonce {nonce} was used up: the signer remembers what is lost")
                continue
            trouble = await self._behind(request, ready.latest_nonce, head)
            await self._sleep(self._terms.poll_s)
        raise trouble

    async def _is_unsigned(self, nonce: int) -> bool:
        """Ask the signer, once in this process, whether it remembers a nonce that the journal does not."""
        if self._signer_asked:
            return True
        if await self._signer.has_signed(self._chain_id, nonce):
            return False
        last = nonce - 1
        if self._nonces.is_forgotten(last) and await self._signer.has_signed(self._chain_id, last):
            raise InvariantError(self._nonces.drift(nonce, 0))
        self._signer_asked = True
        return True

    async def _behind(self, request: TxRequest, latest: int, head: Head) -> TransientError:
        """Do what can be done while the account has fewer transactions than are accounted for; say why."""
        await self._nonces.check_reorganised(latest)
        gap = self._nonces.gap(latest)
        if gap and self._terms.fill_nonces:
            await self._fill(request, gap[0], head, because="nobody used it")
            return TransientError(f"nonce {gap[0]} was used up; more are left")
        if gap:
            return TransientError(
                f"the node shows {latest} transactions of {self._sender}, accept_nonce is {gap[-1] + 1}: it "
                f"lags, or nobody used nonces {gap[0]} to {gap[-1]}; then set execution.fill_nonces = true"
            )
        return TransientError(
            f"the node shows {latest} transactions of {self._sender}, the journal knows "
            f"{self._nonces.known}: it lags, or it serves another chain of the same id"
        )

    async def _fill(self, request: TxRequest, nonce: int, head: Head, *, because: str) -> None:
        """Use up a nonce by a transfer of nothing to ourselves, as a part of the leg that needs the next."""
        leg_key = request.leg_key
        purpose = f"fill-{nonce}"
        transfer = TxRequest(
            key=f"{leg_key}/{len(self._book.keys_of(leg_key))}-{purpose}",
            leg_key=leg_key,
            purpose=purpose,
            to=self._sender,
            data=b"",
            valid_until_s=request.valid_until_s,
            gas_ceiling=_FILL_GAS_CEILING,
        )
        intent = self._book.reserve(
            transfer, chain_id=self._chain_id, sender=self._sender, nonce=nonce, at_s=head.time_s
        )
        intent = await self._attempts.use_up(intent, head, because=because)
        await self._follower.broadcast(intent, head)
        await self._followed(transfer.key, self._terms.deadline_s)

    async def _close_earlier(self, request: TxRequest) -> None:
        """Drive what is still open to its close first: one transaction of the account at a time."""
        for earlier in tuple(self._book.of_account(self._chain_id, self._sender)):
            self._halt_if_lost(earlier)
            if not earlier.is_open:
                continue
            try:
                closed = await self._follower.drive(earlier.key, self._terms.patience_s())
            except OutcomeUnknown as error:
                raise OutcomeUnknown(
                    f"an earlier transaction, {error.what}; {request.key} waits until it is resolved",
                    earlier.key,
                ) from None
            self._halt_if_lost(closed.intent)

    # from signed bytes to a closing fact

    async def _followed(self, key: str, wait_s: float) -> Outcome:
        """Drive an intent to its close; add the receipt when an earlier run closed it."""
        intent, receipt = await self._follower.drive(key, wait_s)
        self._halt_if_lost(intent)
        if receipt is not None or not intent.tx_hash:
            return Outcome(intent, receipt)
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
        return Outcome(intent, receipt)

    # results

    def _success(self, outcome: Outcome) -> Receipt:
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
        if intent.state is IntentState.LOST and not self._nonces.is_accepted(intent.nonce):
            raise InvariantError(
                f"intent {intent.key} lost nonce {intent.nonce} of {intent.sender} to a transaction that is "
                "not ours: find out who else holds the key; then allow it with "
                f"accept_nonce = {intent.nonce + 1}"
            )


def _name_of(intent: Intent, *, taken: Container[str]) -> str:
    """Name a receipt by its purpose; each cancel of a step that was sent again has a name of its own."""
    if intent.state is not IntentState.CANCELLED:
        return intent.purpose
    name = f"{intent.purpose}-cancelled"
    return f"{name}-{intent.nonce}" if name in taken else name


def _check_same(known: Intent, request: TxRequest) -> None:
    """Refuse a key that was journalled for something else."""
    sent = next((item for item in known.attempts if not item.is_cancel), None)
    value_wei = request.value_wei if sent is None else decode_raw(sent.raw).value_wei
    if (known.to, known.data, value_wei) != (*target_of(request), request.value_wei):
        raise InvariantError(f"intent {request.key} was journalled for another transaction")
