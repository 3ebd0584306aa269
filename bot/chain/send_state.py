"""What is known of one transaction, and what to do next. Pure: events and facts in, one action out.

An intent owns one nonce. It is closed by facts of the chain alone: the final receipt of one of its own
hashes, or a final block in which its nonce was used by something else. An error of a send, a timeout or a
missing transaction closes nothing.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum

from bot.chain.send_errors import SendResult
from bot.errors import InvariantError
from bot.model.intent import CLOSED_STATES, IntentEvent, IntentState, Receipt

S = IntentState
NOTHING_SIGNED = "nothing was signed for this nonce"
TOO_DEAR = (
    "gas is too dear: it was not mined in time, and execution.max_fee_gwei or the order's own bound forbids "
    "to pay more"
)

REFUSED = "every node refuses it as it is, and more gas would not help"
# A higher fee cures none of these, and with too little money it makes them worse: the same bytes wait.
_NOT_FOR_FEES = frozenset({SendResult.NO_FUNDS, SendResult.NONCE_TOO_HIGH, SendResult.REFUSED})

ALLOWED: Mapping[IntentState | None, frozenset[IntentState]] = {
    None: frozenset({S.RESERVED}),
    S.RESERVED: frozenset({S.SIGNED, S.RELEASED}),
    # SIGNED again is a replacement at the same nonce: a fee bump or a cancel.
    S.SIGNED: frozenset({S.SIGNED, S.SENT, S.MINED, S.LOST}),
    S.SENT: frozenset({S.SIGNED, S.MINED, S.LOST}),
    # SENT after MINED is a reorg that took the receipt away; MINED again is another block.
    S.MINED: frozenset({S.MINED, S.SENT, S.FINAL, S.REVERTED, S.CANCELLED}),
    **{state: frozenset() for state in CLOSED_STATES},
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """One signed transaction that may be in the world."""

    tx_hash: str
    raw: str
    is_cancel: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Intent:
    """All that the journal knows of one intent, folded from its events."""

    key: str
    leg_key: str
    purpose: str
    chain_id: int
    sender: str
    nonce: int
    to: str
    data: str
    valid_until_s: float
    state: IntentState
    max_gas_cost_wei: int = 0
    attempts: tuple[Attempt, ...] = ()
    tx_hash: str = ""  # of the attempt that was mined, while state is MINED or closed by it
    block_number: int = 0
    block_hash: str = ""
    gas_cost_wei: int = 0
    because: str = ""

    @property
    def is_open(self) -> bool:
        return self.state not in CLOSED_STATES

    @property
    def newest(self) -> Attempt:
        return self.attempts[-1]

    @property
    def is_cancelling(self) -> bool:
        return any(attempt.is_cancel for attempt in self.attempts)


def fold(events: Iterable[IntentEvent]) -> dict[str, Intent]:
    """Return every intent by key, in the order they began. Raises InvariantError on an illegal event."""
    intents: dict[str, Intent] = {}
    for event in events:
        intents[event.key] = advance(intents.get(event.key), event)
    return intents


def advance(intent: Intent | None, event: IntentEvent) -> Intent:
    """Return the intent after one more event; raises InvariantError when the event cannot follow."""
    before = intent.state if intent is not None else None
    if event.state not in ALLOWED[before]:
        raise InvariantError(f"intent {event.key}: {event.state} cannot follow {before or 'nothing'}")
    if intent is None:
        return Intent(
            key=event.key,
            leg_key=event.leg_key,
            purpose=event.purpose,
            chain_id=event.chain_id,
            sender=event.sender,
            nonce=event.nonce,
            to=event.to,
            data=event.data,
            valid_until_s=event.valid_until_s,
            state=event.state,
            max_gas_cost_wei=event.max_gas_cost_wei,
            because=event.because,
        )
    if (event.chain_id, event.sender, event.nonce) != (intent.chain_id, intent.sender, intent.nonce):
        raise InvariantError(
            f"intent {event.key} owns nonce {intent.nonce} of {intent.sender} on chain {intent.chain_id}, "
            f"an event names nonce {event.nonce} of {event.sender} on chain {event.chain_id}"
        )
    return _STEPS[event.state](intent, event)


def _signed(intent: Intent, event: IntentEvent) -> Intent:
    if not event.raw or not event.tx_hash:
        raise InvariantError(f"intent {event.key}: a signed event without its bytes and hash")
    if any(attempt.tx_hash == event.tx_hash for attempt in intent.attempts):
        raise InvariantError(f"intent {event.key}: {event.tx_hash} was signed twice")
    is_cancel = event.to == event.sender and event.data in ("", "0x")
    if not is_cancel and (event.to, event.data) != (intent.to, intent.data):
        raise InvariantError(f"intent {event.key}: a replacement may change fees only, or be a cancel")
    if intent.is_cancelling and not is_cancel:
        raise InvariantError(f"intent {event.key}: it is being cancelled and cannot be sent again")
    attempt = Attempt(tx_hash=event.tx_hash, raw=event.raw, is_cancel=is_cancel)
    return replace(intent, state=event.state, attempts=(*intent.attempts, attempt), because=event.because)


def _sent(intent: Intent, event: IntentEvent) -> Intent:
    return replace(
        intent, state=event.state, tx_hash="", block_number=0, block_hash="", because=event.because
    )


def _mined(intent: Intent, event: IntentEvent) -> Intent:
    if all(attempt.tx_hash != event.tx_hash for attempt in intent.attempts):
        raise InvariantError(f"intent {event.key}: {event.tx_hash} was mined but never signed here")
    return replace(
        intent,
        state=event.state,
        tx_hash=event.tx_hash,
        block_number=event.block_number,
        block_hash=event.block_hash,
        gas_cost_wei=event.gas_cost_wei,
        because=event.because,
    )


def _closed_by_receipt(intent: Intent, event: IntentEvent) -> Intent:
    if (event.tx_hash, event.block_hash) != (intent.tx_hash, intent.block_hash):
        raise InvariantError(f"intent {event.key}: {event.state} names another receipt than was mined")
    is_cancel = next(item.is_cancel for item in intent.attempts if item.tx_hash == intent.tx_hash)
    if is_cancel is not (event.state is S.CANCELLED):
        raise InvariantError(f"intent {event.key}: {event.state} does not fit the transaction that was mined")
    return _mined(intent, event)


def _closed_without(intent: Intent, event: IntentEvent) -> Intent:
    return replace(intent, state=event.state, because=event.because)


_STEPS = {
    S.SIGNED: _signed,
    S.SENT: _sent,
    S.MINED: _mined,
    S.FINAL: _closed_by_receipt,
    S.REVERTED: _closed_by_receipt,
    S.CANCELLED: _closed_by_receipt,
    S.LOST: _closed_without,
    S.RELEASED: _closed_without,
}


def next_nonce(intents: Iterable[Intent], *, chain_id: int, sender: str) -> int | None:
    """Return the nonce after the last one that was ever signed for, None before the first."""
    used = [
        intent.nonce
        for intent in intents
        if (intent.chain_id, intent.sender) == (chain_id, sender) and intent.state is not S.RELEASED
    ]
    return max(used) + 1 if used else None


# what to do next


@dataclass(frozen=True, slots=True, kw_only=True)
class Mined:
    """A receipt of one of our hashes whose block was checked to be canonical."""

    tx_hash: str
    succeeded: bool
    block_number: int
    block_hash: str
    gas_cost_wei: int
    gas_used: int = 0

    @classmethod
    def of(cls, receipt: Receipt) -> "Mined":
        return cls(
            tx_hash=receipt.tx_hash,
            succeeded=receipt.succeeded,
            block_number=receipt.block_number,
            block_hash=receipt.block_hash,
            gas_cost_wei=receipt.gas_cost_wei,
            gas_used=receipt.gas_used,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What one poll learned. Nonces were read before the receipts, at or below the same head."""

    head_number: int
    head_time_s: float
    nonce: int  # of the account at the head
    final_nonce: int  # of the account at confirmation depth
    receipts: tuple[Mined, ...] = ()
    newest_known: bool = False  # the node knows the newest attempt
    since_broadcast_s: float | None = None  # monotonic, newest attempt; None: not sent by this process
    since_signed_s: float = 0.0  # monotonic, since this process first handled the newest attempt
    last_result: SendResult | None = None  # of the newest attempt's last broadcast
    can_bump: bool = True  # the fee cap leaves room for a replacement
    stranger: str = ""  # the transaction at depth that used the nonce and is none of ours, by its receipt
    final_block: int | None = None  # newest block that the node calls final, None where depth alone decides
    may_be_signed: bool = False  # of a reserved intent: the signer gave, or may have given, a signature


@dataclass(frozen=True, slots=True, kw_only=True)
class SendPolicy:
    """Depth and pace. ``confirmations`` 1 means: mined in the head block is final."""

    confirmations: int = 1
    resend_after_s: float = 4.0  # same bytes again when the node does not know them
    bump_after_s: float = 30.0  # replacement when it is known but not mined
    foreign_polls: int = 5  # in a row with the nonce used and no receipt: then who used it is looked for

    def __post_init__(self) -> None:
        if self.confirmations < 1 or self.foreign_polls < 1:
            raise InvariantError(
                "confirmations and foreign_polls must be >= 1, were "
                f"{self.confirmations}, {self.foreign_polls}"
            )
        if not (self.resend_after_s > 0 and self.bump_after_s > 0):
            raise InvariantError(
                "resend_after_s and bump_after_s must be > 0, were "
                f"{self.resend_after_s}, {self.bump_after_s}"
            )


class Do(StrEnum):
    NOTHING = "nothing"  # closed
    WAIT = "wait"
    BROADCAST = "broadcast"  # the newest attempt's bytes
    BUMP = "bump"  # sign the newest attempt again with higher fees
    REGAS = "regas"  # as BUMP, with a gas limit that is estimated anew
    CANCEL = "cancel"  # sign a transfer of nothing to ourselves at the same nonce
    RECORD = "record"  # journal `state` and go on
    CLOSE = "close"  # journal the closed `state`


@dataclass(frozen=True, slots=True, kw_only=True)
class Action:
    do: Do
    state: IntentState | None = None  # RECORD and CLOSE
    mined: Mined | None = None
    because: str = field(default="", compare=False)
    is_stuck: bool = field(default=False, compare=False)  # it waits for what a person can mend: tell one


def next_action(intent: Intent, facts: Facts, policy: SendPolicy) -> Action:
    """Return the one thing to do now. Total: every state and every fact has an answer."""
    if not intent.is_open:
        return Action(do=Do.NOTHING)
    if intent.state is S.RESERVED and facts.may_be_signed:
        return Action(do=Do.CANCEL, because="its signature was lost: the nonce is used up")
    if intent.state is S.RESERVED:
        return Action(do=Do.CLOSE, state=S.RELEASED, because=NOTHING_SIGNED)
    ours = {attempt.tx_hash for attempt in intent.attempts}
    mined = next((receipt for receipt in facts.receipts if receipt.tx_hash in ours), None)
    if mined is not None:
        return _with_receipt(intent, mined, facts, policy)
    if intent.state is S.MINED:
        return Action(do=Do.RECORD, state=S.SENT, because=f"its block {intent.block_hash} is not canonical")
    if facts.nonce > intent.nonce:
        return _nonce_used(intent, facts, policy)
    return _unmined(intent, facts, policy)


def _with_receipt(intent: Intent, mined: Mined, facts: Facts, policy: SendPolicy) -> Action:
    seen = intent.state is S.MINED and intent.tx_hash == mined.tx_hash
    if not seen or intent.block_hash != mined.block_hash:
        return Action(do=Do.RECORD, state=S.MINED, mined=mined)
    if facts.head_number - mined.block_number + 1 < policy.confirmations:
        return Action(do=Do.WAIT, because="mined, not yet at depth")
    if facts.final_block is not None and mined.block_number > facts.final_block:
        return Action(do=Do.WAIT, because="mined, not yet final by the node's word")
    cancel = next(attempt.is_cancel for attempt in intent.attempts if attempt.tx_hash == mined.tx_hash)
    if cancel:
        return Action(do=Do.CLOSE, state=S.CANCELLED, mined=mined, because="past its valid-until time")
    return Action(do=Do.CLOSE, state=S.FINAL if mined.succeeded else S.REVERTED, mined=mined)


def _nonce_used(intent: Intent, facts: Facts, policy: SendPolicy) -> Action:
    if facts.final_nonce > intent.nonce and facts.stranger:
        return Action(
            do=Do.CLOSE,
            state=S.LOST,
            because=f"nonce {intent.nonce} of {intent.sender} was used by {facts.stranger}, not by us",
        )
    is_overdue = facts.since_signed_s >= policy.bump_after_s
    return Action(do=Do.WAIT, because="the nonce is used; looking for the receipt", is_stuck=is_overdue)


def _unmined(intent: Intent, facts: Facts, policy: SendPolicy) -> Action:
    if facts.head_time_s > intent.valid_until_s and not intent.is_cancelling:
        return Action(do=Do.CANCEL, because="past its valid-until time")
    if facts.since_broadcast_s is None:
        return Action(do=Do.BROADCAST)
    is_refused = not facts.newest_known and facts.last_result in _NOT_FOR_FEES
    is_underpriced = not facts.newest_known and facts.last_result is SendResult.UNDERPRICED
    is_overdue = facts.since_signed_s >= policy.bump_after_s
    is_late = is_overdue and not is_refused
    if facts.can_bump and is_underpriced:
        return Action(do=Do.BUMP, because="a node called it underpriced")
    if facts.last_result is SendResult.GAS_LIMIT and not facts.newest_known and _may_regas(intent, facts):
        return Action(do=Do.REGAS, because="its gas limit does not fit")
    if facts.can_bump and is_late:
        return Action(do=Do.BUMP, because="not mined in time")
    stuck = TOO_DEAR if is_late or is_underpriced else REFUSED if is_overdue else ""
    if not facts.newest_known and facts.since_broadcast_s >= policy.resend_after_s:
        because = stuck or "the node does not know it"
        return Action(do=Do.BROADCAST, because=because, is_stuck=bool(stuck))
    return Action(do=Do.WAIT, because=stuck, is_stuck=bool(stuck))


def _may_regas(intent: Intent, facts: Facts) -> bool:
    """The gas limit is estimated anew once in the life of an intent: a second time proves nothing more."""
    return facts.can_bump and len(intent.attempts) == 1 and not intent.is_cancelling
