"""The bot's end for a Derive session key: asks the signer's process, and holds no key itself."""

import time
from collections.abc import Callable

from bot.chain.derive_actions import (
    ACTION_KIND,
    LOGIN_KIND,
    DeriveAction,
    DeriveDomain,
    SignedAction,
    action_fields,
    digest_of,
)
from bot.chain.signer_client import SignerClient


class DeriveSignerClient:
    """Signs for one session key over the socket of the signer's process.

    Whether a signature is by that key is for the caller to check, which knows what it asked for.
    """

    def __init__(
        self,
        client: SignerClient,
        *,
        address: str,
        domain: DeriveDomain,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """``address`` is that of the session key."""
        self.address = address
        self._client, self._domain, self._clock = client, domain, clock

    async def sign_derive_action(self, action: DeriveAction) -> SignedAction:
        """Raises as ``Signer.sign``; after OutcomeUnknown asking again brings the same bytes."""
        found = await self._client.ask(ACTION_KIND, {"action": action_fields(action)}, now_s=self._clock())
        digest = "0x" + digest_of(action, self._domain).hex()
        return SignedAction(action=action, digest=digest, signature=str(found.get("signature")))

    async def sign_derive_login(self, timestamp_ms: int) -> str:
        found = await self._client.ask(LOGIN_KIND, {"timestamp_ms": timestamp_ms}, now_s=self._clock())
        return str(found.get("signature"))
