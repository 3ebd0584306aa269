"""Signs actions of Derive with a session key, inside the signer's process, within a DeriveActionRule.

The order is that of the desk for transactions: check, keep on disk, sign. The digest is built here from
checked fields. A nonce is used once: asking again for the same action gives the same bytes.
"""

import time
from collections.abc import Callable
from typing import Any

from eth_utils.crypto import keccak

from bot.chain.derive_actions import (
    ACTION_KIND,
    E18,
    LOGIN_KIND,
    DeriveAction,
    DeriveActionRule,
    SignedAction,
    action_from_fields,
    check_action,
    login_preimage,
    preimage_of,
)
from bot.chain.signer_wire import Fields
from bot.chain.signing.keys import Key
from bot.chain.signing.memory import Entry, Payload, SignerMemory, Uptime, uptime
from bot.chain.signing.server import Service
from bot.errors import ConfigError, InvariantError, VenueRejected

LOGIN_WINDOW_S = 60.0
_USD = "derive-usd"  # stands for money at the exchange among the tokens of the memory; 1e-18 USD
_UNCOVERED = "derive-uncovered"  # and this for contracts sold that no signed purchase covers; 1e-18


class DeriveDesk:
    """One session key. Its memory is a file of its own, whose lock keeps a second signer from the key."""

    def __init__(
        self,
        key: Key,
        rule: DeriveActionRule,
        memory: SignerMemory,
        *,
        clock: Callable[[], float] = time.time,
        up: Callable[[], Uptime] = uptime,
    ) -> None:
        if key.address.lower() != rule.session_key.lower():
            raise ConfigError(
                f"the key is of {key.address}, the settings name {rule.session_key} as Derive session key"
            )
        self.address = key.address
        self._key, self._rule, self._memory = key, rule, memory
        self._clock, self._up = clock, up
        self._space = f"{rule.owner.lower()}/{rule.subaccount_id}"

    def __repr__(self) -> str:
        return f"DeriveDesk({self.address})"

    def sign_derive_action(self, action: DeriveAction, *, paused: str = "") -> SignedAction:
        """Sign or refuse. ``paused`` says why nothing that opens is signed, or "".

        Raises as ``check_action``; VenueRejected for the cap of a day, InvariantError for a nonce that was
        signed for something else.
        """
        now_s = self._clock()
        check_action(action, self._rule, now_s=now_s, paused=paused)
        preimage = preimage_of(action, self._rule.domain)
        payload = (action.data.asset.lower(), keccak(preimage).hex(), 0)
        if not self._was_signed(action.nonce, payload):
            self._keep(action, payload, now_s)
        signature = self._key.signature(preimage)
        return SignedAction(
            action=action, digest="0x" + keccak(preimage).hex(), signature="0x" + signature.hex()
        )

    def sign_derive_login(self, timestamp_ms: int) -> str:
        """Sign the time for a login header, 0x hex. Raises VenueRejected for another time than now."""
        if not abs(timestamp_ms / 1e3 - self._clock()) <= LOGIN_WINDOW_S:
            raise VenueRejected(f"login time {timestamp_ms} ms is not within {LOGIN_WINDOW_S:.0f} s of now")
        return "0x" + self._key.signature(login_preimage(timestamp_ms)).hex()

    def _was_signed(self, nonce: int, payload: Payload) -> bool:
        chain_id = self._rule.domain.chain_id
        highest = self._memory.highest(chain_id, self._space)
        if nonce > highest:
            return False
        if self._memory.payload(chain_id, self._space, nonce) == payload:
            return True
        raise InvariantError(
            f"Derive nonce {nonce} is not above {highest}, which was signed for another action"
        )

    def _keep(self, action: DeriveAction, payload: Payload, now_s: float) -> None:
        chain_id, data = self._rule.domain.chain_id, action.data
        instrument = f"{data.asset.lower()}/{data.sub_id}"
        up = self._up()
        now_s = self._memory.counted_s(now_s, up)
        if data.is_bid:
            contracts, spends = data.amount_e18, (_USD, data.worst_usd_e18)
        else:
            covered = min(data.amount_e18, self._memory.contracts(chain_id, self._space, instrument))
            contracts, spends = -covered, (_UNCOVERED, data.amount_e18 - covered)
        self._check_day(*spends, now_s=now_s)
        self._memory.append(
            Entry(
                chain_id=chain_id,
                space=self._space,
                nonce=action.nonce,
                payload=payload,
                is_cancel=False,
                at_s=now_s,
                uptime=up,
                spends=(spends,) if spends[1] else (),
                contracts=((instrument, contracts),) if contracts else (),
            )
        )

    def _check_day(self, token: str, raw_e18: int, *, now_s: float) -> None:
        """Refuse what passes the day's cap of money, or of contracts that no purchase covers."""
        rule, day_e18 = self._rule, raw_e18
        day_e18 += self._memory.spent(rule.domain.chain_id, token, now_s=now_s)
        if token == _USD and day_e18 > int(rule.max_day_usd * E18):
            raise VenueRejected(
                f"purchases at Derive would reach {day_e18 / E18:,.2f} USD in 24 hours, "
                f"the signer allows {rule.max_day_usd:,.2f}"
            )
        if token == _UNCOVERED and raw_e18 and day_e18 > int(rule.max_uncovered_contracts * E18):
            raise VenueRejected(
                f"sales at Derive would reach {day_e18 / E18:g} contracts in 24 hours beyond those that the "
                f"signer signed purchases of, it allows {rule.max_uncovered_contracts:g} "
                "(derive.account.max_uncovered_contracts)"
            )


def services_of(desk: DeriveDesk) -> dict[str, Service]:
    """Return the kinds of request that a session key answers, for ``SignerServer``."""

    def action(given: Any, paused: str) -> dict[str, Any]:
        Fields(given, "action")
        signed = desk.sign_derive_action(action_from_fields(given["action"]), paused=paused)
        return {"signature": signed.signature}

    def login(given: Any, _paused: str) -> dict[str, Any]:
        return {"signature": desk.sign_derive_login(Fields(given, "timestamp_ms").integer("timestamp_ms"))}

    return {ACTION_KIND: action, LOGIN_KIND: login}
