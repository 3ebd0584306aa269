"""Signs one intent's attempts and has each on disk before it can go out."""

import asyncio
from dataclasses import dataclass, field

from bot.chain.account_view import AccountView, Head
from bot.chain.fees import FeeMarket, FeePolicy, Fees, bumped, fee_cap_wei, first_fees
from bot.chain.intent_book import IntentBook
from bot.chain.preflight import Preflight
from bot.chain.raw_transaction import RawTransaction, checked_raw, decode_raw
from bot.chain.send_state import Intent
from bot.chain.signer import Signed, Signer, Unsigned
from bot.errors import BotError, InvariantError, OutcomeUnknown, TransientError, VenueRejected
from bot.model.intent import IntentState

_FREE = FeeMarket(next_base_wei=0, median_tip_wei=0)


@dataclass(slots=True, kw_only=True)
class Attempts:
    """First attempts, replacements and cancels of one account; ``refused`` are hashes whose replacement the
    signer would not sign."""

    signer: Signer
    book: IntentBook
    view: AccountView
    chain_id: int
    sender: str
    policy: FeePolicy
    refused: set[str] = field(default_factory=set)

    async def first(self, ready: Preflight, nonce: int, head: Head) -> Intent:
        """Reserve a nonce and sign for it. The reservation reaches the disk while the signer works.

        That is safe: no byte is sent before the SIGNED row, which is written after both. A signature whose
        reservation was lost in a crash is one that the signer remembers: its nonce is used up before the
        first transaction of the next process (see ``TransactionManager``).
        """
        request = ready.request
        unsigned = Unsigned(
            chain_id=self.chain_id,
            nonce=nonce,
            to=request.to,
            data=request.data,
            value_wei=request.value_wei,
            gas=ready.gas,
            fees=ready.fees,
            valid_until_s=request.valid_until_s,
        )
        reserving = asyncio.ensure_future(
            asyncio.to_thread(
                self.book.reserve,
                request,
                chain_id=self.chain_id,
                sender=self.sender,
                nonce=nonce,
                at_s=head.time_s,
            )
        )
        answer: Signed | BotError
        try:
            answer = await self.signer.sign(unsigned, now_s=head.time_s)
        except BotError as error:
            answer = error
        finally:
            intent = await reserving
        if isinstance(answer, Signed):
            return self._journal(intent, unsigned, answer, head, because="")
        raise await self._refused(intent, answer, head)

    async def _refused(self, intent: Intent, error: BotError, head: Head) -> BotError:
        """Journal that nothing was signed, when the signer says so. Until then its nonce stays reserved."""
        if await self._may_be_signed(intent):
            return OutcomeUnknown(
                f"the signature of {intent.purpose}, nonce {intent.nonce}: {error}", intent.key
            )
        self.book.record(intent, IntentState.RELEASED, head.time_s, because=str(error))
        return error

    async def _may_be_signed(self, intent: Intent) -> bool:
        try:
            return await self.signer.has_signed(intent.chain_id, intent.nonce)
        except TransientError:
            return True

    async def replace(self, intent: Intent, head: Head, *, cancel: bool, because: str, gas: int = 0) -> None:
        """Sign the newest attempt with higher fees, or a transfer of nothing to ourselves, same nonce.

        ``gas`` is another gas limit than that of the newest attempt. Raises TransientError when a cap or the
        signer forbids it: what is in the pool stays as it is.
        """
        old = checked_raw(intent.newest.raw, tx_hash=intent.newest.tx_hash, intent=intent)
        cancel = cancel or intent.newest.is_cancel
        fees = self._bumped(intent, old, await self.view.market(), cancel=cancel, gas=gas or old.gas)
        if fees is None:
            raise TransientError(f"the fee cap forbids a replacement of {intent.newest.tx_hash}")
        if cancel and not intent.newest.is_cancel:
            gas = await self.view.cancel_gas()
        await self._sign_again(
            intent,
            Unsigned(
                chain_id=self.chain_id,
                nonce=intent.nonce,
                to=self.sender if cancel else old.to,
                data=b"" if cancel else old.data,
                value_wei=0 if cancel else old.value_wei,
                gas=gas or old.gas,
                fees=fees,
                valid_until_s=intent.valid_until_s,
            ),
            head,
            because=because,
        )

    async def use_up(self, intent: Intent, head: Head, *, because: str) -> Intent:
        """Sign a transfer of nothing to ourselves for a nonce of which no signed bytes are known."""
        market, gas = await asyncio.gather(self.view.market(), self.view.cancel_gas())
        unsigned = Unsigned(
            chain_id=self.chain_id,
            nonce=intent.nonce,
            to=self.sender,
            data=b"",
            value_wei=0,
            gas=gas,
            fees=first_fees(market, self.policy, cap_wei=self.policy.cancel_cap_wei),
            valid_until_s=intent.valid_until_s,
        )
        signed = await self.signer.sign(unsigned, now_s=head.time_s)
        return self._journal(intent, unsigned, signed, head, because=because)

    def can_replace(self, intent: Intent) -> bool:
        """Say whether the caps leave room for a replacement of the newest attempt."""
        newest = intent.newest
        old = decode_raw(newest.raw)
        fees = self._bumped(intent, old, _FREE, cancel=newest.is_cancel, gas=old.gas)
        return fees is not None and newest.tx_hash not in self.refused

    def _bumped(
        self, intent: Intent, old: RawTransaction, market: FeeMarket, *, cancel: bool, gas: int
    ) -> Fees | None:
        cap_wei = fee_cap_wei(self.policy, max_gas_cost_wei=intent.max_gas_cost_wei, gas=gas)
        return bumped(old.fees, market, self.policy, cancel=cancel, cap_wei=cap_wei)

    async def _sign_again(self, intent: Intent, unsigned: Unsigned, head: Head, *, because: str) -> None:
        try:
            signed = await self.signer.sign(unsigned, now_s=head.time_s)
        except VenueRejected as error:
            # The signer's own limit is lower than ours.
            self.refused.add(intent.newest.tx_hash)
            raise TransientError(f"no replacement: {error}") from None
        except OutcomeUnknown as error:
            # Its answer is lost, and so are the bytes: it may sign the same again.
            raise TransientError(f"no replacement: {error}") from None
        self._journal(intent, unsigned, signed, head, because=because)

    def _journal(
        self, intent: Intent, unsigned: Unsigned, signed: Signed, head: Head, *, because: str
    ) -> Intent:
        found = checked_raw(signed.raw, tx_hash=signed.tx_hash, intent=intent)
        asked = (unsigned.to.lower(), unsigned.data, unsigned.value_wei, unsigned.gas, unsigned.fees)
        if (found.to, found.data, found.value_wei, found.gas, found.fees) != asked:
            raise InvariantError(f"intent {intent.key}: the signer signed another transaction than asked")
        return self.book.record(
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
