"""The intents of a journal, folded in memory: each event is checked, then journalled, then believed."""

from collections.abc import Iterator
from dataclasses import replace
from itertools import count
from typing import Any

from bot.chain.send_state import Intent, advance, fold, next_nonce
from bot.model.intent import WITHOUT_EFFECT, IntentEvent, IntentState, TxRequest
from bot.ports import Journal


class IntentBook:
    """Read at first use; stays true because the journal's lock keeps other writers out."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self._intents: dict[str, Intent] | None = None

    def _all(self) -> dict[str, Intent]:
        if self._intents is None:
            self._intents = fold(self._journal.intents())
        return self._intents

    def get(self, key: str) -> Intent | None:
        return self._all().get(key)

    def __getitem__(self, key: str) -> Intent:
        return self._all()[key]

    def newest_try(self, request: TxRequest) -> TxRequest:
        """Return a request by the key of its newest try: the first that may have an effect, or is not begun.

        Only one that is sent again has more than one: "key", "key~1", "key~2".
        """
        if not request.again:
            return request
        keys = (f"{request.key}~{number}" if number else request.key for number in count())
        key = next(key for key in keys if not self._is_without_effect(key))
        return replace(request, key=key)

    def _is_without_effect(self, key: str) -> bool:
        known = self.get(key)
        return known is not None and known.state in WITHOUT_EFFECT

    def keys_of(self, leg_key: str) -> list[str]:
        """Return the keys of a leg's intents in the order they began."""
        return [intent.key for intent in self._all().values() if intent.leg_key == leg_key]

    def of_account(self, chain_id: int, sender: str) -> Iterator[Intent]:
        for intent in self._all().values():
            if (intent.chain_id, intent.sender) == (chain_id, sender):
                yield intent

    def next_nonce(self, chain_id: int, sender: str) -> int | None:
        return next_nonce(self._all().values(), chain_id=chain_id, sender=sender)

    def reserve(self, request: TxRequest, *, chain_id: int, sender: str, nonce: int, at_s: float) -> Intent:
        """Journal that a request got a nonce, before anything is signed for it."""
        to, data = target_of(request)
        event = IntentEvent(
            key=request.key,
            leg_key=request.leg_key,
            purpose=request.purpose,
            state=IntentState.RESERVED,
            at_s=at_s,
            chain_id=chain_id,
            sender=sender,
            nonce=nonce,
            to=to,
            data=data,
            valid_until_s=request.valid_until_s,
            max_gas_cost_wei=request.max_gas_cost_wei,
        )
        return self.write(event)

    def write(self, event: IntentEvent) -> Intent:
        """Journal an event; raises InvariantError when it may not follow, and then writes nothing."""
        intent = advance(self.get(event.key), event)
        self._journal.append_intent(event)
        self._all()[event.key] = intent
        return intent

    def record(self, intent: Intent, state: IntentState, at_s: float, **fields: Any) -> Intent:
        """Journal a further state of a known intent; ``fields`` are those of IntentEvent."""
        event = IntentEvent(
            key=intent.key,
            leg_key=intent.leg_key,
            purpose=intent.purpose,
            state=state,
            at_s=at_s,
            chain_id=intent.chain_id,
            sender=intent.sender,
            nonce=intent.nonce,
            **fields,
        )
        return self.write(event)


def target_of(request: TxRequest) -> tuple[str, str]:
    """Return where a request goes and what it says, in the journal's form."""
    return request.to.lower(), "0x" + request.data.hex()
