"""Proposals of a Safe as intents of the journal: the account is the Safe, the nonce is the Safe's.

So the journal's own rules hold for them: one nonce belongs to one order, one proposal is open per Safe, an
order cannot be closed while its proposal is open. An attempt's hash is the hash that owners sign; a rejection
is the cancel of its nonce. What executes it is an intent of its own, of the account that pays the gas.
"""

from collections.abc import Iterator, Sequence

from bot.chain.address import checksummed
from bot.chain.intent_book import IntentBook
from bot.chain.safe import Operation, SafeTx, rejection
from bot.chain.safe_executed import Executed
from bot.chain.safe_proposal import Proposal, proposal_of
from bot.chain.send_state import Intent
from bot.model.intent import IntentEvent, IntentState, TxRequest
from bot.model.market import Block
from bot.ports import Journal

_BETWEEN_PURPOSES = "+"


class SafeIntents:
    """The proposals of one Safe. ``proposer`` is the owner that signs here."""

    def __init__(self, journal: Journal, *, chain_id: int, safe: str, proposer: str) -> None:
        self._journal, self._book = journal, IntentBook(journal)
        self._chain_id, self._safe, self._proposer = chain_id, safe, proposer
        self._account = safe.lower()

    def get(self, key: str) -> Intent | None:
        return self._book.get(key)

    def __getitem__(self, key: str) -> Intent:
        return self._book[key]

    def keys_of(self, leg_key: str) -> list[str]:
        """Return the keys of an order's proposals in the order they began."""
        return [key for key in self._book.keys_of(leg_key) if self._book[key].sender == self._account]

    def open(self) -> Iterator[Intent]:
        mine = self._book.of_account(self._chain_id, self._account)
        return (intent for intent in mine if intent.is_open)

    # what an intent stands for

    def order_tx(self, intent: Intent) -> SafeTx:
        """Return the batch that was decided on."""
        return SafeTx(
            to=checksummed(intent.to),
            data=bytes.fromhex(intent.data[2:]),
            nonce=intent.nonce,
            operation=Operation.DELEGATE_CALL,
        )

    def proposal(self, intent: Intent, *, reject: bool) -> Proposal:
        """Return the batch, or the rejection of its nonce, without signatures."""
        return proposal_of(
            rejection(self._safe, intent.nonce) if reject else self.order_tx(intent),
            chain_id=self._chain_id,
            safe=self._safe,
            origin=f"order {intent.leg_key}",
            proposer=self._proposer,
        )

    def hashes(self, intent: Intent) -> list[str]:
        """Return all hashes that may have been executed, that of a batch which is only reserved too."""
        own = self.proposal(intent, reject=False).tx_hash
        return list(dict.fromkeys([own, *(attempt.tx_hash for attempt in intent.attempts)]))

    def reserved_block(self, intent: Intent) -> int:
        """Return the block at which it was proposed: nothing of it was executed before."""
        events = self._journal.intents(intent.leg_key)
        return next(event.block_number for event in events if event.key == intent.key)

    def executions(self, intent: Intent) -> tuple[TxRequest, ...]:
        """Return every transaction that was to execute an intent, as it was asked for, in order."""
        found: dict[str, TxRequest] = {}
        for event in self._journal.intents(intent.leg_key):
            if event.key.startswith(f"{intent.key}/"):
                found.setdefault(event.key, _request(event))
        return tuple(found.values())

    def sent_by_us(self, leg_key: str) -> frozenset[str]:
        """Return the hashes of transactions that our own account sent for an order, and paid."""
        events = self._journal.intents(leg_key)
        return frozenset(event.tx_hash for event in events if event.sender != self._account)

    # what is written

    def reserve(self, key: str, requests: Sequence[TxRequest], tx: SafeTx, *, head: Block) -> Intent:
        """Journal that an order got a Safe nonce, before anything is signed for it."""
        event = IntentEvent(
            key=key,
            leg_key=requests[0].leg_key,
            purpose=_BETWEEN_PURPOSES.join(request.purpose for request in requests),
            state=IntentState.RESERVED,
            at_s=head.timestamp_s,
            chain_id=self._chain_id,
            sender=self._account,
            nonce=tx.nonce,
            to=tx.to.lower(),
            data="0x" + tx.data.hex(),
            valid_until_s=min(request.valid_until_s for request in requests),
            block_number=head.number,
        )
        return self._book.write(event)

    def signed(self, intent: Intent, proposal: Proposal, *, head: Block, because: str = "") -> Intent:
        """Journal our signature of the batch or of its rejection."""
        return self._book.record(
            intent,
            IntentState.SIGNED,
            head.timestamp_s,
            to=proposal.tx.to.lower(),
            data="0x" + proposal.tx.data.hex(),
            raw="0x" + proposal.signatures.get(self._proposer, b"").hex(),
            tx_hash=proposal.tx_hash,
            valid_until_s=intent.valid_until_s,
            because=because,
        )

    def record(self, intent: Intent, state: IntentState, *, head: Block, because: str) -> Intent:
        return self._book.record(intent, state, head.timestamp_s, because=because)

    def mined(self, intent: Intent, state: IntentState, found: Executed, *, head: Block) -> Intent:
        """Journal an execution, or the end that it is once it is deep enough."""
        block = (found.log.block_number, found.log.block_hash)
        if state is intent.state and block == (intent.block_number, intent.block_hash):
            return intent
        return self._book.record(
            intent,
            state,
            head.timestamp_s,
            tx_hash=found.tx_hash,
            block_number=found.log.block_number,
            block_hash=found.log.block_hash,
            because=intent.because or f"executed by {found.log.tx_hash}",
        )


def purposes_of(intent: Intent) -> tuple[str, ...]:
    """Return the purposes of the steps that a batch holds."""
    return tuple(intent.purpose.split(_BETWEEN_PURPOSES))


def _request(event: IntentEvent) -> TxRequest:
    return TxRequest(
        key=event.key,
        leg_key=event.leg_key,
        purpose=event.purpose,
        to=event.to,
        data=bytes.fromhex(event.data[2:]),
        valid_until_s=event.valid_until_s,
        gas_ceiling=0,  # it was sent: it is only followed
    )
