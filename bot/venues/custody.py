"""Custody by a Safe: a whole plan becomes one batch that the owners sign, and that is sent once.

Nothing that a service says decides: owners, nonce and outcome are the chain's, hashes are computed here.
Order of writes: reserve the Safe nonce, sign, leave it with the owners, journal; a restart goes on with the
same bytes. What is no longer wanted is replaced by a rejection at the same nonce, and stays open until one of
the two was executed. (Custody by an account of one key is ``bot.chain.transactions``.)
"""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from bot.chain.account_view import AccountView
from bot.chain.address import checksummed
from bot.chain.rpc import Node
from bot.chain.safe import SafeOutcome, SafeTx, execution
from bot.chain.safe_batch import InnerCall, batch_tx
from bot.chain.safe_control import SafeControl
from bot.chain.safe_executed import Executed, find_executed, receipt_of
from bot.chain.safe_intents import SafeIntents, purposes_of
from bot.chain.safe_proposal import Gathered, Proposal, ProposalStore, gather
from bot.chain.safe_state import SafeState, approved, check_code, read_safe
from bot.chain.send_state import Intent
from bot.chain.signer import Signer
from bot.errors import (
    AwaitingSignatures,
    BotError,
    ConfigError,
    OutcomeUnknown,
    StaleDataError,
    TransientError,
    VenueRejected,
)
from bot.model.intent import IntentState, Receipt, TxRequest
from bot.model.market import Block
from bot.ports import ChainReader, Journal, Transactor

REJECTION_VALID_S = 3_600.0
_THRESHOLD_SLOT = 4  # of the Safe's storage, in 1.3.0 and 1.4.1
_SECOND_LOOK = 1  # blocks after which a nonce used by others is believed: logs may come late
_OPEN_ROUNDS = 2  # looks at an open proposal: one more after an execution of ours


@dataclass(frozen=True, slots=True, kw_only=True)
class SafeTerms:
    """Which Safe, and how it is driven. Addresses are checksummed."""

    chain_id: int
    safe: str
    multi_send: str  # MultiSendCallOnly
    gas_ceiling: int  # of one execution
    confirmations: int = 1


class SafeProposer:
    """ports.Proposer for one Safe of which the signer's account is an owner; that account pays the gas."""

    def __init__(
        self,
        terms: SafeTerms,
        *,
        reader: ChainReader,
        rpc: Node,
        journal: Journal,
        signer: Signer,
        transactor: Transactor,
        store: ProposalStore,
        control: SafeControl,
    ) -> None:
        self._terms, self._reader = terms, reader
        self._signer, self._transactor = signer, transactor
        self._store, self._control = store, control
        self._intents = SafeIntents(
            journal, chain_id=terms.chain_id, safe=terms.safe, proposer=signer.address
        )
        self._view = AccountView(rpc, chain_id=terms.chain_id, sender=terms.safe.lower())
        self._lock = asyncio.Lock()
        self._known_singleton = ""
        self._overtaken_at: dict[str, int] = {}  # intent key -> block at which its nonce was seen used

    @property
    def address(self) -> str:
        return self._terms.safe

    async def check(self) -> SafeState:
        """Return the Safe as it is, for the start of a run. Raises ConfigError: no Safe, or unknown code."""
        return await self._state(await self._reader.head())

    async def propose(self, requests: Sequence[TxRequest]) -> Mapping[str, Receipt]:
        """See ports.Proposer."""
        async with self._lock:
            key = f"{requests[0].key}/safe"
            if self._intents.get(key) is None:
                await self._begin(key, requests)
            return await self._advance(key)

    async def resume(self, leg_key: str) -> Mapping[str, Receipt]:
        """See ports.Proposer. Executes what has its signatures and would still succeed.

        Raises VenueRejected once, when an order is found to have ended without effect.
        """
        async with self._lock:
            receipts: dict[str, Receipt] = {}
            for key in self._intents.keys_of(leg_key):
                receipts |= await self._advance(key)
            return receipts

    async def withdraw(self, leg_key: str, *, because: str) -> None:
        """See ports.Proposer. The order stays open until either transaction has used the Safe nonce."""
        async with self._lock:
            for key in self._intents.keys_of(leg_key):
                intent = self._intents[key]
                if intent.state in (IntentState.SIGNED, IntentState.SENT):
                    await self._reject(intent, await self._reader.head(), because)

    # from requests to a proposal that the owners can find

    async def _begin(self, key: str, requests: Sequence[TxRequest]) -> None:
        head = await self._reader.head()
        state = await self._checked_state(head)
        until_s = min(request.valid_until_s for request in requests)
        if until_s <= head.timestamp_s:
            raise VenueRejected(f"valid until {until_s:.0f}, the chain is at {head.timestamp_s}")
        calls = [
            InnerCall(to=checksummed(item.to), data=item.data, value_wei=item.value_wei) for item in requests
        ]
        tx = batch_tx(calls, multi_send=self._terms.multi_send, nonce=state.nonce)
        await self._rehearse(tx, head)
        await self._publish(self._intents.reserve(key, requests, tx, head=head), head)

    async def _checked_state(self, head: Block) -> SafeState:
        """Return the Safe as it is. Raises VenueRejected where nothing may be proposed to it now."""
        for other in self._intents.open():
            raise VenueRejected(
                f"Safe {self.address} has an open proposal, nonce {other.nonce} of order {other.leg_key}, "
                "and one is open at a time; nothing was proposed"
            )
        try:
            state = await self._state(head)
        except ConfigError as error:
            raise VenueRejected(f"{error}; nothing was proposed") from None
        if change := self._control.check(state):
            raise VenueRejected(f"{change}; nothing was proposed")
        if self._signer.address not in state.owners:
            raise VenueRejected(
                f"{self._signer.address} cannot propose to Safe {self.address}: its owners are "
                f"{', '.join(state.owners)}; nothing was proposed"
            )
        return state

    async def _state(self, head: Block) -> SafeState:
        state = await read_safe(self._reader, self.address, block=head)
        if state.singleton != self._known_singleton:
            await check_code(self._reader, state, multi_send=self._terms.multi_send, block=head)
            self._known_singleton = state.singleton
        return state

    async def _rehearse(self, tx: SafeTx, head: Block) -> None:
        """Run the batch as the Safe would, one signature taken for enough. Raises VenueRejected."""
        own = self._signer.address
        approval = bytes(12) + bytes.fromhex(own[2:]) + bytes(32) + b"\1"  # valid where its owner sends
        slot, one = f"0x{_THRESHOLD_SLOT:064x}", f"0x{1:064x}"
        overrides = {self.address: {"stateDiff": {slot: one}}}
        data = execution(tx, {own: approval})
        try:
            await self._reader.simulate(
                to=self.address, data=data, block=head, sender=own, overrides=overrides
            )
        except VenueRejected as refusal:
            raise VenueRejected(f"the batch would fail: {refusal}; nothing was proposed") from None

    async def _publish(self, intent: Intent, head: Block) -> None:
        """Sign a reserved batch and leave it with the owners; what surely was not left is released."""
        unknown: OutcomeUnknown | None = None
        try:
            proposal = await self._signed(intent, head, reject=False, until_s=intent.valid_until_s)
            try:
                await self._store.put(proposal)
            except OutcomeUnknown as error:  # it may be there: it is left again when it is looked for
                unknown = error
        except BotError as error:
            self._intents.record(intent, IntentState.RELEASED, head=head, because=str(error))
            raise
        intent = self._intents.signed(intent, proposal, head=head)
        if unknown is not None:
            raise unknown
        self._intents.record(intent, IntentState.SENT, head=head, because="")

    async def _reject(self, intent: Intent, head: Block, because: str) -> None:
        """Sign a rejection at the same nonce, journal it, leave it with the owners. Raises OutcomeUnknown."""
        if intent.is_cancelling:
            return
        until_s = head.timestamp_s + REJECTION_VALID_S
        proposal = await self._signed(intent, head, reject=True, until_s=until_s)
        await self._leave(self._intents.signed(intent, proposal, head=head, because=because), proposal, head)

    async def _leave(self, intent: Intent, proposal: Proposal, head: Block) -> None:
        """Leave what is journalled as signed, again where it was lost."""
        try:
            await self._store.put(proposal)
        except VenueRejected as refusal:
            raise TransientError(f"{_name(intent)} could not be left: {refusal}") from None
        if intent.state is IntentState.SIGNED:
            self._intents.record(intent, IntentState.SENT, head=head, because=intent.because)

    async def _signed(self, intent: Intent, head: Block, *, reject: bool, until_s: float) -> Proposal:
        proposal = self._intents.proposal(intent, reject=reject)
        signature = await self._signer.sign_safe(
            proposal.tx,
            chain_id=self._terms.chain_id,
            safe=self.address,
            valid_until_s=until_s,
            now_s=head.timestamp_s,
        )
        return replace(proposal, signatures={self._signer.address: signature})

    # from a proposal to a closing fact

    async def _advance(self, key: str) -> dict[str, Receipt]:
        """Do what can be done for one proposal now; raise AwaitingSignatures while it is open."""
        if not self._intents[key].is_open:
            return await self._closed(self._intents[key])
        await self._follow_executions(self._intents[key])
        for _ in range(_OPEN_ROUNDS):
            intent, head = self._intents[key], await self._reader.head()
            try:
                state = await read_safe(self._reader, self.address, block=head)
            except ConfigError as error:  # it was one when the order was proposed
                raise StaleDataError(f"{_name(intent)}: {error}") from None
            if state.nonce != intent.nonce:
                return await self._settle(intent, state, head)
            await self._collect(await self._standing(intent, head), state, head)
        raise OutcomeUnknown(f"{_name(intent)}, sent, and the Safe's nonce has not moved", key)

    async def _standing(self, intent: Intent, head: Block) -> Intent:
        """Bring what an earlier run left half-way, or a reorg took back, to where owners sign."""
        if intent.state is IntentState.RESERVED:
            await self._republish(intent, head)
        elif intent.state is IntentState.MINED:
            because = "a reorg took its execution back"
            self._intents.record(intent, IntentState.SENT, head=head, because=because)
        return self._intents[intent.key]

    async def _republish(self, intent: Intent, head: Block) -> None:
        """Go on where an earlier run stopped between reserving and journalling its signature."""
        if head.timestamp_s <= intent.valid_until_s:
            await self._publish(intent, head)
            return
        found = await self._store.get(self._intents.proposal(intent, reject=False).tx_hash)
        if found is None or self._signer.address not in found.signatures:
            why = "its time passed before it was left with the owners"
            self._intents.record(intent, IntentState.RELEASED, head=head, because=why)
            raise VenueRejected(f"{_name(intent)}: {why}")
        self._intents.signed(intent, found, head=head)

    async def _collect(self, intent: Intent, state: SafeState, head: Block) -> None:
        """Execute what has its signatures; return when that was sent. Raises AwaitingSignatures."""
        change = self._control.check(state)
        if await self._is_rejected_by_an_owner(intent, state):
            await self._reject(intent, head, "an owner proposed its rejection")
            intent = self._intents[intent.key]
        proposal, gathered = await self._gathered(intent, state, head)
        count = f"{len(gathered.signatures)} of {state.threshold} signatures"
        said = "; ".join(filter(None, (count, change, intent.because, *gathered.refused)))
        if change or not gathered.reached(state):
            raise AwaitingSignatures(f"{_name(intent)} ({said})", proposal.tx_hash)
        if not intent.newest.is_cancel and head.timestamp_s > intent.valid_until_s:
            raise AwaitingSignatures(f"{_name(intent)} (too late: {said})", proposal.tx_hash)
        chosen = dict(sorted(gathered.signatures.items())[: state.threshold])
        data = execution(proposal.tx, chosen)
        try:
            await self._reader.simulate(
                to=self.address, data=data, block=head, sender=self._transactor.address
            )
        except VenueRejected as refusal:
            why = f"its last signature came, and within its bound it would fail now: {refusal}"
            await self._reject(intent, head, why)
            raise AwaitingSignatures(f"{_name(intent)} ({why})", proposal.tx_hash) from None
        await self._execute(intent, data, head)

    async def _is_rejected_by_an_owner(self, intent: Intent, state: SafeState) -> bool:
        if intent.is_cancelling:
            return False
        found = await self._store.get(self._intents.proposal(intent, reject=True).tx_hash)
        return found is not None and bool(gather(found, state).signatures)

    async def _gathered(self, intent: Intent, state: SafeState, head: Block) -> tuple[Proposal, Gathered]:
        """Return the newest attempt with its signatures; what was lost or never arrived is left again."""
        newest = intent.newest
        own = self._intents.proposal(intent, reject=newest.is_cancel)
        own = replace(own, signatures={self._signer.address: bytes.fromhex(newest.raw[2:])})
        found = await self._store.get(own.tx_hash)
        if found is None or intent.state is IntentState.SIGNED:
            await self._leave(intent, own, head)
        signatures = {**(found.signatures if found else {}), **own.signatures}
        approvers = await approved(self._reader, state, own.digest, block=head)
        return own, gather(replace(own, signatures=signatures), state, approvers=approvers)

    async def _execute(self, intent: Intent, data: bytes, head: Block) -> None:
        is_cancel = intent.newest.is_cancel
        purpose = "safe-reject" if is_cancel else "safe-execute"
        request = TxRequest(
            key=f"{intent.key}/{len(self._intents.executions(intent))}-{purpose}",
            leg_key=intent.leg_key,
            purpose=purpose,
            to=self.address,
            data=data,
            valid_until_s=head.timestamp_s + REJECTION_VALID_S if is_cancel else intent.valid_until_s,
            gas_ceiling=self._terms.gas_ceiling,
        )
        try:
            await self._transactor.send(request)
        except VenueRejected as refusal:
            what = f"{_name(intent)} (it has its signatures, and was not executed: {refusal})"
            raise AwaitingSignatures(what, intent.newest.tx_hash) from None

    async def _follow_executions(self, intent: Intent) -> None:
        """Follow what an earlier run sent, by the bytes on disk; what came of it is read from the Safe."""
        for request in self._intents.executions(intent):
            try:
                await self._transactor.send(request)
            except VenueRejected:
                continue  # it ended without effect

    async def _settle(self, intent: Intent, state: SafeState, head: Block) -> dict[str, Receipt]:
        """Close a proposal whose Safe nonce was used, by the Safe's own event at depth."""
        if state.nonce < intent.nonce:
            raise TransientError(
                f"Safe {self.address} is at nonce {state.nonce}, an order holds {intent.nonce}: the node lags"
            )
        found = await find_executed(
            self._reader,
            safe=self.address,
            hashes=self._intents.hashes(intent),
            from_block=self._intents.reserved_block(intent),
            head=head,
        )
        return self._lost(intent, head) if found is None else await self._executed(intent, found, head)

    async def _executed(self, intent: Intent, found: Executed, head: Block) -> dict[str, Receipt]:
        if all(attempt.tx_hash != found.tx_hash for attempt in intent.attempts):
            # Left with the owners, and the program stopped before its signature was in the journal.
            intent = self._intents.signed(intent, self._intents.proposal(intent, reject=False), head=head)
        intent = self._intents.mined(intent, IntentState.MINED, found, head=head)
        if found.log.block_number > head.number - self._terms.confirmations + 1:
            raise OutcomeUnknown(f"{_name(intent)}, executed in block {found.log.block_number}", intent.key)
        is_cancel = next(item.is_cancel for item in intent.attempts if item.tx_hash == found.tx_hash)
        end = IntentState.CANCELLED if is_cancel else IntentState.FINAL
        if found.outcome is SafeOutcome.FAILED and not is_cancel:
            end = IntentState.REVERTED
        intent = self._intents.mined(intent, end, found, head=head)
        if end is IntentState.FINAL:
            return await self._closed(intent)
        raise VenueRejected(f"{_name(intent)} was {end}: {intent.because}")

    def _lost(self, intent: Intent, head: Block) -> dict[str, Receipt]:
        """Close a proposal whose Safe nonce the owners used for something else, once that is deep enough."""
        why = f"the owners used nonce {intent.nonce} of Safe {self.address} for another transaction"
        first = self._overtaken_at.setdefault(intent.key, head.number)
        if head.number - first < max(self._terms.confirmations - 1, _SECOND_LOOK):
            raise OutcomeUnknown(f"{_name(intent)} ({why})", intent.key)
        if intent.state is IntentState.MINED:  # a reorg put another in its place
            intent = self._intents.record(intent, IntentState.SENT, head=head, because=why)
        end = IntentState.LOST if intent.attempts else IntentState.RELEASED
        self._intents.record(intent, end, head=head, because=why)
        raise VenueRejected(f"{_name(intent)}: {why}")

    async def _closed(self, intent: Intent) -> dict[str, Receipt]:
        """Return the receipts of a closed proposal by purpose; gas that others paid is none of ours."""
        if not intent.tx_hash:
            return {}
        found = await find_executed(
            self._reader,
            safe=self.address,
            hashes=[intent.tx_hash],
            from_block=intent.block_number,
            head=await self._reader.head(),
        )
        receipt = await receipt_of(self._view, intent, found.log.tx_hash) if found else None
        if receipt is None:
            words = f"{_name(intent)}, by the journal {intent.state}, and not found again"
            raise OutcomeUnknown(words, intent.key)
        if receipt.tx_hash not in self._intents.sent_by_us(intent.leg_key):
            receipt = replace(receipt, gas_cost_wei=0)
        if intent.state is IntentState.CANCELLED:
            return {f"{purposes_of(intent)[0]}-cancelled": receipt}
        receipt = replace(receipt, succeeded=intent.state is IntentState.FINAL)
        return dict.fromkeys(purposes_of(intent), receipt)


def _name(intent: Intent) -> str:
    return f"Safe transaction {intent.nonce} for order {intent.leg_key}"
