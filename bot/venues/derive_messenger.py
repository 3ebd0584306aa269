"""Gives signed orders to Derive, each once, and finds out what became of them.

The order of writes is that of a transaction: nonce reserved, signed, on disk with its signature, given to the
exchange, answer on disk, closed. A lost answer is looked up by nonce; nothing is sent again, under this nonce
or another. Only a signature that has expired without a trace proves that an order was never taken.
"""

import asyncio
import json
import math
import time
from collections.abc import Callable, Mapping
from typing import Any

from bot.chain.derive_actions import DeriveAction, DeriveDomain, SignedAction
from bot.chain.intent_book import IntentBook
from bot.chain.send_state import Intent
from bot.errors import (
    BotError,
    InvariantError,
    OutcomeUnknown,
    StaleDataError,
    TransientError,
    VenueRejected,
)
from bot.model.execution import SignedMessage
from bot.model.intent import IntentEvent, IntentState, Log, Receipt
from bot.ports import Journal
from bot.venues.derive_account import DeriveAccount
from bot.venues.derive_client import DeriveClient
from bot.venues.derive_fills import fill_of, is_resting
from bot.venues.derive_orders import DeriveOrder, order_from
from bot.venues.derive_replies import dry_run_of, order_of
from bot.venues.derive_signing import DeriveSigner, NonceSource, checked_signature, decimal_e18, signed_fields

ORDER = "private/order"
EXECUTE_QUOTE = "private/execute_quote"
LAG_S = 30.0  # a history may show an order this much later than it was taken
_S = IntentState


class DeriveMessenger:
    """Implements ``ports.Messenger`` for one subaccount. ``clock`` is this machine's wall clock.

    ``signature_life_s`` is how long a signature is valid, at least 10 s at the exchange: an order without an
    answer stays unknown that long. The dry run carries the signature too, since the exchange asks for one; it
    is on disk before that as well.
    """

    def __init__(
        self,
        *,
        client: DeriveClient,
        account: DeriveAccount,
        signer: DeriveSigner,
        journal: Journal,
        nonces: NonceSource,
        domain: DeriveDomain,
        owner: str,
        order_life_s: float = 30.0,
        signature_life_s: float = 60.0,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._client, self._account, self._signer = client, account, signer
        self._book, self._journal, self._nonces = IntentBook(journal), journal, nonces
        self._domain, self.owner = domain, owner
        self._order_life_s, self._signature_life_s = order_life_s, signature_life_s
        self._clock = clock
        self._one = asyncio.Lock()

    async def send(self, message: SignedMessage, *, leg_key: str, valid_until_s: float) -> Receipt:
        """See ports.Messenger. The receipt's log holds what was signed beside the exchange's answer."""
        key = f"{leg_key}/message-{message.purpose}"
        if message.endpoint not in (ORDER, EXECUTE_QUOTE):
            raise InvariantError(f"{key}: Derive takes no message at {message.endpoint!r:.60}")
        async with self._one:
            if self._book.get(key) is not None:
                raise InvariantError(f"{key} was signed before; its end is looked up, it is never sent again")
            return await self._send(key, message, leg_key, valid_until_s)

    async def resume(self, leg_key: str) -> Mapping[str, Receipt]:
        """See ports.Messenger. Raises OutcomeUnknown while a signature may still be used without a trace."""
        async with self._one:
            receipts: dict[str, Receipt] = {}
            for key in self._book.keys_of(leg_key):
                intent = self._book[key]
                if self._is_ours(intent) and (receipt := await self._followed(intent)) is not None:
                    receipts[intent.purpose] = receipt
            return receipts

    def _is_ours(self, intent: Intent) -> bool:
        return (intent.chain_id, intent.sender) == (self._domain.chain_id, self._signer.address.lower())

    # sending

    async def _send(self, key: str, message: SignedMessage, leg_key: str, valid_until_s: float) -> Receipt:
        order = order_from(message.payload)
        try:
            now_s = self._clock() + await self._client.check_clock()
        except (TransientError, StaleDataError) as error:
            raise VenueRejected(f"{error}; nothing was sent") from None
        if not valid_until_s > now_s:
            raise VenueRejected(f"valid until {valid_until_s:.0f}, it is {now_s:.0f} at Derive: not sent")
        intent = self._reserve(key, message, leg_key, valid_until_s)
        signed = await self._signed(intent, order, now_s)
        until_s = min(valid_until_s, now_s + self._order_life_s)
        body = self._body(message.endpoint, order, signed, until_s)
        intent = self._record_signed(intent, signed, body)
        if message.endpoint == ORDER:
            await self._dry_run(intent, order, body)
        intent = self._book.record(intent, _S.SENT, self._clock())
        try:
            reply = await self._client.send(message.endpoint, body, key=key)
        except VenueRejected as refusal:
            self._refused(intent, str(refusal))
            raise
        return await self._closed(intent, order, self._as_found(order, reply))

    def _reserve(self, key: str, message: SignedMessage, leg_key: str, valid_until_s: float) -> Intent:
        return self._book.write(
            IntentEvent(
                key=key,
                leg_key=leg_key,
                purpose=message.purpose,
                state=_S.RESERVED,
                at_s=self._clock(),
                chain_id=self._domain.chain_id,
                sender=self._signer.address.lower(),
                nonce=self._nonces.next(),
                to=message.endpoint,
                data=_hex(message.payload),
                valid_until_s=valid_until_s,
            )
        )

    async def _signed(self, intent: Intent, order: DeriveOrder, now_s: float) -> SignedAction:
        action = DeriveAction(
            subaccount_id=self._account.subaccount_id,
            nonce=intent.nonce,
            expiry_s=math.ceil(now_s + self._signature_life_s),
            owner=self.owner,
            signer=self._signer.address,
            data=order.data(self._account.subaccount_id),
        )
        try:
            signed = await self._signer.sign_derive_action(action)
            return checked_signature(signed, action, self._domain)
        except BotError as error:
            self._book.record(intent, _S.RELEASED, self._clock(), because=str(error))
            if isinstance(error, TransientError | OutcomeUnknown):  # a signature nobody got does nothing
                raise VenueRejected(f"the signer gave no signature ({error}); nothing was sent") from None
            raise

    def _body(
        self, endpoint: str, order: DeriveOrder, signed: SignedAction, until_s: float
    ) -> dict[str, Any]:
        label = _label(signed.action.nonce)
        fields = signed_fields(signed) | {"label": label}
        if endpoint == ORDER:
            return fields | {
                "instrument_name": order.name,
                "order_type": "limit",
                "time_in_force": "ioc",
                "reduce_only": order.reduce_only,
                "mmp": False,
                "reject_timestamp": int(until_s * 1e3),
            }
        leg = {
            "instrument_name": order.name,
            "direction": "buy",
            "amount": decimal_e18(order.amount_e18),
            "price": decimal_e18(order.price_e18),
        }
        return fields | {"rfq_id": order.rfq_id, "quote_id": order.quote_id, "legs": [leg]}

    def _record_signed(self, intent: Intent, signed: SignedAction, body: Mapping[str, Any]) -> Intent:
        return self._book.record(
            intent,
            _S.SIGNED,
            self._clock(),
            to=intent.to,
            data=intent.data,
            raw=_hex(_canonical(body)),
            tx_hash=signed.digest,
            valid_until_s=float(signed.action.expiry_s),
        )

    async def _dry_run(self, intent: Intent, order: DeriveOrder, body: Mapping[str, Any]) -> None:
        """Ask what the order would do. Raises VenueRejected, the intent closed, unless it would trade."""
        try:
            found = dry_run_of(await self._client.read("private/order_quote", body))
        except (TransientError, VenueRejected) as error:
            because = f"not ordered, the dry run failed: {error}"
        else:
            because = f"the dry run is refused: {found.refused}" if found.refused else ""
            if not because and found.filled_e18 == 0:
                because = "the dry run fills nothing within the limit"
        if because:
            self._refused(intent, because)
            raise VenueRejected(f"{order.name}: {because}; nothing was ordered")

    # what became of it

    async def _followed(self, intent: Intent) -> Receipt | None:
        """Bring one intent to its end. Raises OutcomeUnknown when it cannot be known now."""
        order = order_from(_text(intent.data))
        if intent.state is _S.RELEASED:
            return None
        if intent.state is _S.RESERVED:
            self._book.record(intent, _S.RELEASED, self._clock(), because="not signed before the bot ended")
            return None
        if intent.state in (_S.MINED, _S.FINAL, _S.REVERTED):
            return await self._closed(intent, order, self._answer(intent))
        try:
            asked_s = self._clock() + await self._client.check_clock()  # before the look, not after it
            found = await self._found(intent, order)
        except (TransientError, StaleDataError, VenueRejected) as error:
            what = f"{intent.purpose} of {order.name} at Derive ({error})"
            raise OutcomeUnknown(what, intent.key) from None
        if found is not None:
            return await self._closed(intent, order, found)
        left_s = self._expiry_s(intent) + LAG_S - asked_s
        if left_s > 0.0:
            raise OutcomeUnknown(
                f"{intent.purpose} of {order.name} at Derive: no trace of it, its signature is valid for "
                f"{left_s:.0f} s more",
                intent.key,
            )
        return self._refused(intent, "its signature expired and the exchange knows nothing of it")

    async def _found(self, intent: Intent, order: DeriveOrder) -> Mapping[str, Any] | None:
        if order.quote_id:
            return await self._account.found_quote(order, nonce=intent.nonce)
        return await self._account.found_order(order, nonce=intent.nonce, label=_label(intent.nonce))

    def _expiry_s(self, intent: Intent) -> float:
        body = json.loads(_text(intent.newest.raw))
        return float(body["signature_expiry_sec"])

    def _as_found(self, order: DeriveOrder, reply: Any) -> Mapping[str, Any]:
        if not isinstance(reply, dict):
            raise OutcomeUnknown(f"order of {order.name} at Derive, answered with no object", order.name)
        return {"quote": reply, "trades": []} if order.quote_id else reply

    async def _closed(self, intent: Intent, order: DeriveOrder, reply: Mapping[str, Any]) -> Receipt:
        """Hold an answer to what was signed, journal it, and close the intent by it.

        A lie is journalled too, and raised as InvariantError; the intent then stays open for a person to see.
        """
        if order.quote_id and not reply.get("trades") and intent.state is _S.SENT:
            reply = await self._with_trades(order, reply)
        what = f"{intent.purpose} of {order.name} at Derive"
        try:
            if is_resting(reply):
                raise OutcomeUnknown(f"{what}, still on the book", intent.key)
            _check_nonce(intent, reply)
            fill = fill_of(order, reply)
        except InvariantError:
            self._answered(intent, reply)
            raise
        except (TransientError, KeyError, TypeError, AttributeError) as error:
            raise OutcomeUnknown(f"{what}, answered in an unknown form ({error})", intent.key) from None
        if intent.is_open:
            intent = self._answered(intent, reply)
            state = _S.REVERTED if fill is None else _S.FINAL
            self._book.record(intent, state, self._clock(), tx_hash=intent.tx_hash)
        return self._receipt(intent, order, reply, id="" if fill is None else fill.id)

    def _answered(self, intent: Intent, reply: Mapping[str, Any]) -> Intent:
        if intent.state is _S.MINED:
            return intent
        digest, data = intent.newest.tx_hash, _hex(_canonical(reply))
        return self._book.record(intent, _S.MINED, self._clock(), tx_hash=digest, data=data)

    async def _with_trades(self, order: DeriveOrder, reply: Mapping[str, Any]) -> Mapping[str, Any]:
        """Add the fills of a quote, which its reply does not list; without them its signed terms count."""
        try:
            found = await self._account.found_quote(order, nonce=-1)
        except (TransientError, VenueRejected):
            return reply
        return {**reply, "trades": found["trades"] if found else []}

    def _refused(self, intent: Intent, because: str) -> Receipt:
        """Close an intent that took no effect, and keep why."""
        digest, reply = intent.newest.tx_hash, {"refused": because}
        intent = self._book.record(
            intent, _S.MINED, self._clock(), tx_hash=digest, because=because, data=_hex(_canonical(reply))
        )
        self._book.record(intent, _S.REVERTED, self._clock(), tx_hash=digest, because=because)
        order = order_from(_text(intent.data))
        return self._receipt(intent, order, reply, id="")

    def _answer(self, intent: Intent) -> Mapping[str, Any]:
        """Return the answer that was journalled."""
        events = self._journal.intents(intent.leg_key)
        rows = [row for row in events if row.key == intent.key and row.state is _S.MINED]
        found: Mapping[str, Any] = json.loads(_text(rows[-1].data))
        return found

    def _receipt(self, intent: Intent, order: DeriveOrder, reply: Mapping[str, Any], *, id: str) -> Receipt:
        """Return the receipt; ``id`` is that of what was traded, "" for nothing."""
        text = _canonical({"order": json.loads(order.payload()), "reply": reply})
        return Receipt(
            tx_hash=id or f"derive-{intent.nonce}",
            succeeded=bool(id),
            block_number=0,
            block_hash="",
            gas_used=0,
            gas_cost_wei=0,
            logs=(Log(address=self.owner.lower(), topics=(), data=text.encode()),),
        )


def said_by(receipt: Receipt) -> tuple[DeriveOrder, Mapping[str, Any]]:
    """Return what was signed and what the exchange answered, from a receipt of the messenger."""
    fields = json.loads(receipt.logs[0].data)
    return order_from(json.dumps(fields["order"])), fields["reply"]


def _check_nonce(intent: Intent, reply: Mapping[str, Any]) -> None:
    """Raise InvariantError where the exchange answers with another order than was sent."""
    row = reply.get("order")
    if row is not None and (found := order_of(row).nonce) != intent.nonce:
        raise InvariantError(f"{intent.key} was sent with nonce {intent.nonce}, Derive answers for {found}")


def _label(nonce: int) -> str:
    return f"alvh-{nonce}"


def _canonical(value: Any) -> str:
    return json.dumps(value, sort_keys=True, separators=(",", ":"))


def _hex(text: str) -> str:
    return "0x" + text.encode().hex()


def _text(data: str) -> str:
    return bytes.fromhex(data.removeprefix("0x")).decode()
